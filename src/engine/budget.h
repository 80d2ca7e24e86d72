/* budget.h: how many prompt tokens a step may take beside those that decode. A step's budget is time: what others wait for their next token and what the prompt
 * loses against being read alone are weighed, by what steps were measured to take. Results do not depend on it. */
#ifndef MYNA__BUDGET_H
#define MYNA__BUDGET_H

#include "engine/costs.h"

enum { MYNA__BUDGET_KNOTS = 13 };

/* Zero: nothing is known. */
typedef struct myna__budget {
  double each[MYNA__BUDGET_KNOTS]; /* seconds of a token in steps with prompts, by their length, at position 0 */
  double late;  /* what a token takes longer per position before it, in times of `each` of long steps */
  double usual; /* each, over long times */
  /* Of steps, the latest count most: number, mean position x, x * x, time per token over usual y, x * y. */
  double sum[5];
  int rest;   /* steps that belong to the streams alone, before prompts go on */
  int in_row; /* steps with both since there was one for the streams alone */
} myna__budget;

/* What a step could be. */
typedef struct myna__budget_ask {
  int64_t n_decode;     /* sequences that decode */
  double decode_before; /* sum of their positions */
  int64_t most;         /* prompt tokens that fit */
  int64_t left;         /* prompt tokens that wait */
  double before;        /* mean position of the next ones */
} myna__budget_ask;

/* A step of n tokens, few of them with logits, whose positions sum to `before`, took this long. */
void myna__budget_add(myna__budget *b, const myna__costs *c, int64_t n, double before, double seconds);
/* Seconds of such a step; before anything was measured, as c's shape says. */
double myna__budget_seconds(const myna__budget *b, const myna__costs *c, int64_t n, double before);
/* Prompt tokens for the next step; 0: it belongs to the streams. To be asked once per step. */
int64_t myna__budget_tokens(myna__budget *b, const myna__costs *c, const myna__budget_ask *a);

/* The same step's tokens stood at this mean position: attention makes late ones dearer. */
void myna__budget_add_late(myna__budget *b, int64_t n, double position, double seconds);
/* What a token takes longer per position before it, in times of one at position 0: as measured, near `prior` as long as little was. */
double myna__budget_late(const myna__budget *b, double prior);

#endif
