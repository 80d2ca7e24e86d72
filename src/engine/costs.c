/* costs.c: the time of steps. Machines change their speed while they run (clocks, neighbours, a longer cache), so a sample says two things: how fast the
 * machine is now, for all numbers of rows, and what this number of rows costs beyond that. The first is followed quickly, the second slowly, both
 * with what is far off cut to a quarter, so that one step that was interrupted does no harm. What is not measured again fades: numbers of rows that
 * seemed too dear are tried again.
 *
 * A sample counts for the knot next to its number of rows, divided by the shape's value, so that 7 and 9 rows say the same of 8. */
#include "engine/costs.h"
#include <math.h>

enum { MANY = 32, MOST = 64, IDLE = 64 }; /* samples of others before a knot begins to fade */
static const double FOLLOW = 0.3, LEARN = 0.2, FAR = 0.25, FORGET = 0.998;

/* Extra time of row m + 1 of a step as a share of a step of one row: the weights are read once for all, then arithmetic shows (llama 1B Q4_K, two
 * AVX-512 threads: 4, 8, 16, 32 rows take 1.18, 1.6, 2.7, 4.1). */
static const double extra_cost[] = {1, 0.07, 0.06, 0.05, 0.11, 0.1, 0.1, 0.11, 0.13};
static const double many_cost = 0.07; /* as in prompts */
/* Of the weights that a token of a mixture of experts is multiplied with, about so much are experts' (Mixtral 0.9, Qwen3-30B-A3B 0.8). */
static const double EXPERT_SHARE = 0.85;
static const int knots[MYNA__COST_KNOTS] = {1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 64};

static double extra(int64_t rows, double fresh) {
  double dense = rows < MANY ? extra_cost[MYNA__MIN(rows, (int64_t)MYNA__COUNT(extra_cost) - 1)] : many_cost;
  /* A row's experts that no row before it used are weights to be read. */
  return MYNA__MAX(dense, rows > 0 ? EXPERT_SHARE * pow(fresh, (double)rows) : 0);
}

static double shape(int64_t rows, double fresh) {
  double cost = 0;
  for (int64_t i = 0; i < MYNA__MIN(rows, MOST); i++) cost += extra(i, fresh);
  return cost + (rows > MOST ? (double)(rows - MOST) * extra(rows, fresh) : 0); /* beyond, every row costs the same */
}

/* The knot next to so many rows, the lower one of two. */
static int knot_of(int64_t rows) {
  int k = 0;
  while (k + 1 < MYNA__COST_KNOTS && 2 * rows > knots[k] + knots[k + 1]) k++;
  return k;
}

/* Knots without samples lie on the line between their neighbours, or are as the last one. The one of one row is always known: 0. */
static void fill(myna__costs *c) {
  int before = 0;
  for (int k = 1; k < MYNA__COST_KNOTS; k++) {
    if (c->of[k] == 0) continue;
    for (int i = before + 1; i < k; i++) {
      double at = (double)(knots[i] - knots[before]) / (double)(knots[k] - knots[before]);
      c->over[i] = at * c->over[k] + (1 - at) * c->over[before];
    }
    before = k;
  }
  for (int i = before + 1; i < MYNA__COST_KNOTS; i++) c->over[i] = c->over[before];
}

void myna__costs_add(myna__costs *c, int64_t rows, double seconds) {
  if (c->fixed || rows < 1 || rows > MOST || !(seconds > 0)) return;
  int k = knot_of(rows);
  double off = log(seconds / shape(rows, c->fresh)) - c->speed - c->over[k];
  if (c->n++ == 0) {
    c->speed += off;
    return;
  }
  off = MYNA__MAX(-FAR, MYNA__MIN(FAR, off));
  c->speed += FOLLOW * off;
  for (int i = 1; i < MYNA__COST_KNOTS; i++) {
    c->idle[i] = i == k ? 0 : MYNA__MIN(c->idle[i] + 1, IDLE + 1);
    if (c->idle[i] > IDLE) c->over[i] *= FORGET;
  }
  if (k > 0) {
    double first = 0.3 / (double)(1 + c->of[k]++);
    c->over[k] += MYNA__MAX(LEARN, first) * off;
  }
  fill(c);
}

double myna__costs_seconds(const myna__costs *c, int64_t rows) {
  return rows < 1 ? 0 : shape(rows, c->fresh) * exp(c->speed + c->over[knot_of(rows)]);
}

double myna__costs_of(const myna__costs *c, int64_t rows) {
  return rows < 1 ? 0 : shape(rows, c->fresh) * exp(c->over[knot_of(rows)]);
}
