/* budget.c: the time of steps with prompts, and what follows for their size.
 *
 * Three wishes: the mean time between a stream's tokens grows at most WAIT times by a prompt that is read, a prompt's token takes at most SLOW times what it
 * takes alone at the same position, and no step takes more than LONG times one without prompt. Of the sizes with which every step may have prompt
 * tokens the best is taken when it keeps all of them. Where arithmetic is dear beside reading the weights none does: small pieces slow the prompt,
 * large ones the streams. Then steps for the streams alone come between larger pieces, and where that is not enough either, the wish that is
 * missed by more is missed by least. */
#include "engine/budget.h"

static const double WAIT = 2, SLOW = 1.5, LONG = 12, FOLLOW = 0.25, FAR = 1.5, ALIKE = 1.02;
static const int64_t knots[MYNA__BUDGET_KNOTS] = {2, 4, 8, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 2048};
enum { MAX_REST = 16, LOOK_EVERY = 16, LATE_ROWS = 64 };

static int knot_of(int64_t n) {
  int k = 0;
  while (k + 1 < MYNA__BUDGET_KNOTS && 2 * n > knots[k] + knots[k + 1]) k++;
  return k;
}

/* What is known, each knot filled in. */
typedef struct costing {
  double each[MYNA__BUDGET_KNOTS];
  double before; /* seconds of a token for each position before it */
} costing;

static double shape(const myna__costs *c, int k) { return myna__costs_seconds(c, knots[k]) / (double)knots[k]; }

/* Knots that were not measured lie on the line between those that were, or are as the last one, the shape's relation kept. */
static double each_of(const myna__budget *b, const myna__costs *c, int k) {
  int lo = k, hi = k;
  while (lo >= 0 && !(b->each[lo] > 0)) lo--;
  while (hi < MYNA__BUDGET_KNOTS && !(b->each[hi] > 0)) hi++;
  if (lo == hi) return b->each[k];
  if (lo >= 0 && hi < MYNA__BUDGET_KNOTS) {
    double x = b->each[lo] * (double)knots[lo], y = b->each[hi] * (double)knots[hi];
    return (x + (y - x) * (double)(knots[k] - knots[lo]) / (double)(knots[hi] - knots[lo])) / (double)knots[k];
  }
  int i = lo >= 0 ? lo : hi;
  return i < MYNA__BUDGET_KNOTS ? b->each[i] * shape(c, k) / shape(c, i) : shape(c, k);
}

static costing costing_of(const myna__budget *b, const myna__costs *c) {
  costing s;
  for (int k = 0; k < MYNA__BUDGET_KNOTS; k++) s.each[k] = each_of(b, c, k);
  s.before = b->late * s.each[knot_of(512)];
  return s;
}

/* Of n tokens at position 0. */
static double flat(const costing *s, int64_t n) {
  enum { LAST = MYNA__BUDGET_KNOTS - 1 };
  int k = 0;
  if (n <= knots[0]) return s->each[0] * (double)knots[0]; /* not for less */
  if (n >= knots[LAST]) return s->each[LAST] * (double)n;
  while (n > knots[k + 1]) k++;
  double lo = s->each[k] * (double)knots[k], hi = s->each[k + 1] * (double)knots[k + 1];
  return lo + (hi - lo) * (double)(n - knots[k]) / (double)(knots[k + 1] - knots[k]);
}

double myna__budget_seconds(const myna__budget *b, const myna__costs *c, int64_t n, double before) {
  costing s = costing_of(b, c);
  return flat(&s, n) + s.before * before;
}

void myna__budget_add(myna__budget *b, const myna__costs *c, int64_t n, double before, double seconds) {
  if (n < knots[0] || !(seconds > 0) || !(before >= 0)) return;
  int k = knot_of(n);
  double each = each_of(b, c, k), off = seconds / myna__budget_seconds(b, c, n, before);
  if (b->each[k] > 0)
    off = 1 + FOLLOW * (MYNA__MAX(1 / FAR, MYNA__MIN(FAR, off)) - 1); /* one that was interrupted does no harm */
  b->each[k] = each * off;
}

void myna__budget_add_late(myna__budget *b, int64_t n, double position, double seconds) {
  static const double KEEP = 0.98;
  if (n < LATE_ROWS || !(seconds > 0) || !(position >= 0)) return; /* in small steps the weights are what takes time */
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

/* ---- how many ---- */

typedef struct choice {
  double missed, longest;
  int64_t n;
  int rest;
} choice;

/* Reading n tokens in a step and letting `rest` steps without prompt follow. A prompt that is read to its end does not wait for those. */
static choice weigh(const costing *s, const myna__budget_ask *a, int64_t n, int rest, double without, double alone) {
  double t = flat(s, n + a->n_decode) + s->before * ((double)n * a->before + a->decode_before);
  double cycle = t + rest * without, wait = cycle / (1 + rest) / (WAIT * without);
  double slow = (n >= a->left ? t : cycle) / (double)n / (SLOW * alone);
  return (choice){MYNA__MAX(MYNA__MAX(wait, slow), t / (LONG * without)), t, n, rest};
}

/* Tokens of a step: kernels take them by twos, fours, sixteens. */
static int64_t next_size(int64_t n) {
  return n < 8 ? n + 1 : n < 16 ? (n / 2 + 1) * 2 : n < 64 ? (n / 4 + 1) * 4 : (n + n / 4) / 16 * 16;
}

/* within 0: the one that misses least; else of those that miss no more the one with the shortest step. */
static bool improves(const choice *c, const choice *best, double within) {
  if (within > 0 && c->missed > within) return false;
  if (best->n == 0) return true;
  if (within > 0 && c->longest != best->longest) return c->longest < best->longest;
  return c->missed < best->missed;
}

static choice choose(const costing *s, const myna__budget_ask *a, int most_rest, double within, double without,
                     double alone) {
  choice best = {0};
  for (int64_t all = a->n_decode + 1;; all = next_size(all)) {
    int64_t n = MYNA__MIN(all - a->n_decode, a->most);
    for (int rest = 0; rest <= most_rest; rest++) {
      choice c = weigh(s, a, n, rest, without, alone);
      if (improves(&c, &best, within)) best = c;
    }
    if (n == a->most) return best;
  }
}

/* Everything that waits is read in one step, where that keeps the wishes. */
static bool at_once(const costing *s, const myna__budget_ask *a, double without, double alone, choice *out) {
  for (int rest = 0; rest <= MAX_REST && a->left <= a->most; rest++) {
    *out = weigh(s, a, a->left, rest, without, alone);
    if (out->missed <= 1) return true;
  }
  return false;
}

int64_t myna__budget_tokens(myna__budget *b, const myna__costs *c, const myna__budget_ask *a) {
  if (a->n_decode <= 0 || a->most <= 1) {
    b->rest = 0;
    return a->most;
  }
  if (b->rest > 0) {
    b->rest--;
    return 0;
  }
  if (!c->fixed && (!myna__costs_known(c) ||
                    ++b->in_row >= LOOK_EVERY)) { /* what the streams' own steps take is to be seen now and then */
    b->in_row = 0;
    return 0;
  }
  costing s = costing_of(b, c);
  int64_t piece = MYNA__MAX(1, MYNA__MIN(a->most, a->left));
  double without = myna__costs_seconds(c, a->n_decode), alone = flat(&s, piece) / (double)piece + s.before * a->before;
  choice best;
  if (!at_once(&s, a, without, alone, &best)) {
    best = choose(&s, a, 0, 0, without, alone);
    int most_rest = best.missed > 1 ? MAX_REST : 0;
    if (most_rest > 0) best = choose(&s, a, most_rest, 0, without, alone);
    best = choose(&s, a, most_rest, best.missed * ALIKE, without, alone);
  }
  b->rest = best.rest;
  if (best.rest > 0) b->in_row = 0;
  return best.n;
}
