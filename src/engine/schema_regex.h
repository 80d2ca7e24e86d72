/* schema_regex.h: a regular expression of a schema while it becomes an automaton: schema_regex.c parses it into nodes, schema_regex_dfa.c makes them
 * deterministic. */
#ifndef MYNA__SCHEMA_REGEX_H
#define MYNA__SCHEMA_REGEX_H

#include "engine/schema.h"

typedef enum myna__rkind {
  MYNA__R_EMPTY,
  MYNA__R_CHARS, /* one of ranges[set..set + n_set) */
  MYNA__R_BEGIN,
  MYNA__R_END,
  MYNA__R_LOOK /* the rest of the text is one of looks[set] */
} myna__rkind;
typedef struct myna__rnode {
  myna__rkind kind;
  int out, out2; /* -1 none */
  int set, n_set;
} myna__rnode;
typedef struct myna__rrange {
  uint32_t lo, hi;
} myna__rrange;
/* A lookahead. Its automata are of what may follow to the end of the text: at the text's beginning, and elsewhere. */
typedef struct myna__rlook {
  myna__str body;
  bool negative;
  myna__dfa dfa[2];
  uint8_t *live[2], *open[2]; /* [n] whether a text, and whether not every text, leads to what accepts */
} myna__rlook;
typedef struct myna__regex {
  myna__sc *c;
  const char *p, *end;
  myna__rnode *nodes;
  int n, cap;
  myna__rrange *ranges;
  int n_ranges, cap_ranges, depth;
  myna__rlook *looks;
  int n_looks, cap_looks;
  bool wide;
  int start, after, final; /* nodes of the whole, once it was parsed; from after every text is one */
} myna__regex;

enum { MYNA__R_NODES = 20000, MYNA__R_DEPTH = 100 };

/* The expression in r->p..end: any text that has a match in it; with `here` that begins with one. */
int myna__regex_nodes(myna__regex *r, bool here);
/* Its automaton; begin: the text's beginning is where it starts. */
int myna__regex_dfa(myna__regex *r, bool begin, myna__dfa *out);

#endif
