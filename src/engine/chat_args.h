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

/* ---- between chat_args.c and chat_values.c ---- */

enum { MYNA__RULE_NAME = 48, MYNA__ARGS_DEPTH = 24 };

/* What is the same for all values of one function. */
typedef struct myna__args {
  struct myna__args_maker *m;
  const json_t *root; /* the parameters' schema: references lead into it */
  const char *key;    /* of the parameter, for messages */
  bool strict;        /* what cannot be kept is an error, else it is left open */
  bool vague;         /* the schema as a whole cannot be kept: references are not followed */
  int i;              /* rules are named tI-.. */
  struct {
    const json_t *s;
    char name[MYNA__RULE_NAME];
  } seen[64]; /* rules of what references lead to, which may lead back */
  int n_seen;
} myna__args;

/* Which values of a schema: all, or where their spelling tells strings apart, these or the others. */
typedef enum myna__args_part { MYNA__PART_ALL, MYNA__PART_TEXT, MYNA__PART_REST } myna__args_part;

/* Makes a rule of a value of s with `end` (as it stands in the answer) behind it, and its name. MYNA_E_NOTFOUND: no value can be written so. */
typedef int myna__args_value(myna__args *c, const json_t *s, const char *end, myna__args_part part, int depth,
                             char name[MYNA__RULE_NAME]);
myna__args_value myna__args_xml, myna__args_nested, myna__args_python, myna__args_gemma;

/* Rule `name`: the members of an object, without what stands around them. */
int myna__args_members(myna__args *c, const json_t *schema, int depth, char name[MYNA__RULE_NAME]);
void myna__args_name(myna__args *c, char name[MYNA__RULE_NAME]);
int myna__args_nomem(struct myna__args_maker *m);
/* The failure of a strict tool, with its place. */
int myna__args_fail(myna__args *c, int code, const char *msg);
/* The first keyword that the spellings' own signs for objects and lists do not keep, NULL where there is none. */
const char *myna__args_beyond(const json_t *s);

#endif
