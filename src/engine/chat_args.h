/* chat_args.h: the rules of a function's arguments, for chat_tools.c. */
#ifndef MYNA__CHAT_ARGS_H
#define MYNA__CHAT_ARGS_H

#include "text/chat_format.h"

struct myna__args_maker {
  const struct myna__chat_format *f;
  myna__buf b; /* the grammar so far */
  myna_err *err;
  int tool;     /* index in the caller's list, for messages */
  int n_values; /* rules of single values made so far: their names are counted */
};

/* Appends s as a literal of GBNF and a space. */
void myna__args_lit(myna__buf *b, const char *s);
/* Rule tI-args: the arguments of this function in the format's spelling, JSON as one object, else the parameters up to what ends the call. */
int myna__args_rules(struct myna__args_maker *m, int i, const json_t *function);

#endif
