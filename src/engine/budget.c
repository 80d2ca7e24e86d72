/* budget.c: the time of steps with prompts, and what follows for their size.
 *
 * Two wishes: a step beside n streams takes at most WAIT times what it takes without prompt, and a prompt's token takes at most SLOW times what it takes in the
 * longest steps. Where arithmetic is dear beside reading the weights (few threads) not both can be had: then the size is taken at which the wish that is
 * missed by more is missed by least. */
#include "engine/budget.h"

static const double WAIT = 2, SLOW = 1.5, FOLLOW = 0.25, FAR = 1.5;
static const int64_t knots[MYNA__BUDGET_KNOTS] = {16, 32, 64, 128, 256, 512, 1024, 2048};
enum { GRAIN = 16 };

static int knot_of(int64_t n) {
  int k = 0;
  while (k + 1 < MYNA__BUDGET_KNOTS && 2 * n > knots[k] + knots[k + 1]) k++;
  return k;
}

void myna__budget_add(myna__budget *b, int64_t n, double seconds) {
  if (n < GRAIN / 2 || !(seconds > 0)) return;
  double each = seconds / (double)n, *at = &b->each[knot_of(n)];
  if (*at > 0) each = MYNA__MAX(*at / FAR, MYNA__MIN(*at * FAR, each)); /* one that was interrupted does no harm */
  *at += (*at > 0 ? FOLLOW : 1) * (each - *at);
}

void myna__budget_add_late(myna__budget *b, int64_t n, double position, double seconds) {
  static const double KEEP = 0.98;
  if (n < 4 * GRAIN || !(seconds > 0) || !(position >= 0)) return; /* in small steps the weights are what takes time */
  double each = seconds / (double)n;
  if (!(b->usual > 0)) b->usual = each;
  double y = each / b->usual;
  if (!(y > 1 / (2 * FAR) && y < 2 * FAR)) y = y < 1 ? 1 / (2 * FAR) : 2 * FAR; /* it may have been interrupted */
  b->usual += (1 - KEEP) / 2 * (y - 1) * b->usual;
  const double of[] = {1, position, position * position, y, position * y};
  for (int i = 0; i < 5; i++) b->sum[i] = KEEP * b->sum[i] + of[i];
}

/* A line through what was measured and two points of the prior's. */
double myna__budget_late(const myna__budget *b, double prior) {
  enum { AT = 4096 };
  double w = b->sum[0] + 2, x = b->sum[1] + AT, xx = b->sum[2] + (double)AT * AT;
  double y = b->sum[3] + 2 + prior * AT, xy = b->sum[4] + AT * (1 + prior * AT);
  double slope = (w * xy - x * y) / (w * xx - x * x), base = (y - slope * x) / w;
  if (!(base > 0)) return prior;
  return MYNA__MAX(0, MYNA__MIN(slope / base, 8 * prior));
}

/* Knots that were not measured are as the next one that was, the shape's relation kept. */
static double each_of(const myna__budget *b, const myna__costs *c, int k) {
  double shape = myna__costs_seconds(c, knots[k]) / (double)knots[k];
  for (int d = 0; d < MYNA__BUDGET_KNOTS; d++)
    for (int side = -1; side <= 1; side += 2) {
      int i = k + side * d;
      if (i < 0 || i >= MYNA__BUDGET_KNOTS || !(b->each[i] > 0)) continue;
      return b->each[i] * shape / (myna__costs_seconds(c, knots[i]) / (double)knots[i]);
    }
  return shape;
}

double myna__budget_seconds(const myna__budget *b, const myna__costs *c, int64_t n) {
  int k = 0;
  while (k + 1 < MYNA__BUDGET_KNOTS && n > knots[k + 1]) k++;
  if (n < knots[0]) return each_of(b, c, 0) * (double)knots[0]; /* not for less */
  if (n >= knots[MYNA__BUDGET_KNOTS - 1]) return each_of(b, c, MYNA__BUDGET_KNOTS - 1) * (double)n;
  double lo = each_of(b, c, k) * (double)knots[k], hi = each_of(b, c, k + 1) * (double)knots[k + 1];
  return lo + (hi - lo) * (double)(n - knots[k]) / (double)(knots[k + 1] - knots[k]);
}

int64_t myna__budget_tokens(const myna__budget *b, const myna__costs *c, int64_t n_decode, int64_t most) {
  if (n_decode <= 0 || most <= GRAIN) return most;
  double without = myna__costs_seconds(c, n_decode), alone = myna__budget_seconds(b, c, most) / (double)most;
  double best = 0;
  int64_t n_best = most;
  for (int64_t n = GRAIN;; n = MYNA__MIN(most, n < 8 * GRAIN ? n + GRAIN : (n + n / 4) / GRAIN * GRAIN)) {
    double t = myna__budget_seconds(b, c, n + n_decode);
    double missed = MYNA__MAX(t / (WAIT * without), t / (double)n / (SLOW * alone));
    if (n == GRAIN || missed < best) best = missed, n_best = n;
    if (n == most) return n_best;
  }
}
