/* costs.h: how long a step with so many rows takes: learned from every step that was timed; where none was, a shape that common machines share. Knows
 * nothing of models: rows and seconds in, ratios out. */
#ifndef MYNA__COSTS_H
#define MYNA__COSTS_H

#include "base/base.h"

enum { MYNA__COST_KNOTS = 14 };

typedef struct myna__costs {
  bool fixed;   /* nothing is taken in: the shape holds (tests) */
  double fresh; /* of a mixture of experts: share of the experts that a token does not use; 0 elsewhere */
  double speed; /* log of the seconds of a step of one row, now */
  double over[MYNA__COST_KNOTS];   /* log of what a step takes longer than speed and shape say; of one row 0 */
  int64_t n, of[MYNA__COST_KNOTS]; /* samples, of each knot */
  int idle[MYNA__COST_KNOTS];      /* samples of others since */
} myna__costs;

/* A step of so many rows, each with logits, took this long. Steps of more than 64 rows are not taken in. */
void myna__costs_add(myna__costs *c, int64_t rows, double seconds);
static inline bool myna__costs_known(const myna__costs *c) { return c->n > 0; }
/* Seconds of a step of so many rows (before anything is known: of a step of one row) and the same in steps of one row; 0 for 0 rows. */
double myna__costs_seconds(const myna__costs *c, int64_t rows);
double myna__costs_of(const myna__costs *c, int64_t rows);

#endif
