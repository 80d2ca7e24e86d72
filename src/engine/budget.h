/* budget.h: how many prompt tokens a step may take beside those that decode. A step's budget is time: what others wait for their next token and what the prompt
 * loses against being read alone are weighed, by what steps were measured to take. Results do not depend on it. */
#ifndef MYNA__BUDGET_H
#define MYNA__BUDGET_H

#include "engine/costs.h"

enum { MYNA__BUDGET_KNOTS = 8 };

/* Seconds of a token in steps of prompts, by their length. Zero: nothing is known. */
typedef struct myna__budget {
  double each[MYNA__BUDGET_KNOTS];
  double usual; /* each, over long times */
  /* Of steps, the latest count most: number, mean position x, x * x, time per token over usual y, x * y. */
  double sum[5];
} myna__budget;

/* A step of n tokens, few of them with logits, took this long. */
void myna__budget_add(myna__budget *b, int64_t n, double seconds);
/* Seconds of such a step; before anything was measured, as c's shape says. */
double myna__budget_seconds(const myna__budget *b, const myna__costs *c, int64_t n);
/* Prompt tokens for a step in which n_decode sequences decode: a multiple of 16 unless it is `most`. */
int64_t myna__budget_tokens(const myna__budget *b, const myna__costs *c, int64_t n_decode, int64_t most);

/* The same step's tokens stood at this mean position: attention makes late ones dearer. Before myna__budget_add of the step. */
void myna__budget_add_late(myna__budget *b, int64_t n, double position, double seconds);
/* What a token takes longer per position before it, in times of one at position 0: as measured, near `prior` as long as little was. */
double myna__budget_late(const myna__budget *b, double prior);

#endif
