/* search.c: scale searches of the quantizers: candidates, least squares, refinement.
 *
 * One idea throughout: a scale matters only through the codes it rounds to, and for given codes the best scale
 * (and minimum) solves a weighted least-squares problem. So: try a few scales, round, solve, keep the best; with
 * a minimum also alternate rounding and solving while that helps. k-quants then fit integers to their groups'
 * scales in the same way and try the neighbours of each.
 * Sums are double: errors near zero (weights that already lie on a grid) would drown in float cancellation. */
#include "kernels/quants/search.h"
#include "kernels/quants/util.h"
#include <float.h>

enum {
  TRIES = 9, /* candidates on each side of the plain scale, a tenth of a code apart at the extreme value */
  REFINE = 4 /* rounds of round-and-solve for scale and minimum: 1 to 2 % less error; nothing for a scale alone */
};

float myna__mean_square(const float *x, int64_t n) {
  double s = 0;
  for (int64_t j = 0; j < n; j++) s += (double)x[j] * x[j];
  return n ? (float)(s / (double)n) : 0.0f;
}

/* What least squares gives for one set of codes: x ~ d * c + m. gain is the part of sum w x^2 it explains. */
typedef struct solution {
  double d, m, gain;
} solution;

/* ---- one scale ---- */

static solution solve_scale(const float *x, const float *w, int n, float inverse, int lo, int hi) {
  double xc = 0, cc = 0;
  for (int j = 0; j < n; j++) {
    float c = (float)myna__code_rne(x[j] * inverse, lo, hi), wc = w[j] * c;
    xc += (double)wc * x[j];
    cc += (double)wc * c;
  }
  return cc > 0 ? (solution){.d = xc / cc, .gain = xc * xc / cc} : (solution){0};
}

/* x[j] ~ d * c[j], c in [lo, hi], lo <= 0 < hi; d is negative where that is better (lo < 0). Returns d. */
static float fit_scale(int8_t *c, const float *x, const float *w, int n, int lo, int hi) {
  float extreme = 0, magnitude = 0, inverse = 0; /* two variables: see myna__extreme */
  for (int j = 0; j < n; j++) {
    c[j] = 0;
    if (fabsf(x[j]) > magnitude && (lo < 0 || x[j] > 0)) {
      extreme = x[j];
      magnitude = fabsf(extreme);
    }
  }
  if (!(magnitude >= 1e-15f)) return 0;
  /* The extreme value lands near the code furthest from zero. */
  float anchor = (float)(-lo > hi ? lo : hi);
  solution best = {0};
  for (int k = -TRIES; k <= TRIES; k++) {
    float t = (anchor + 0.1f * (float)k) / extreme;
    solution s = solve_scale(x, w, n, t, lo, hi);
    if (s.gain > best.gain) best = s, inverse = t;
  }
  for (int j = 0; j < n; j++) c[j] = (int8_t)myna__code_rne(x[j] * inverse, lo, hi);
  return (float)best.d;
}

/* ---- scale and minimum ---- */

typedef struct affine {
  const float *x, *w; /* [n] */
  int n, hi;
  bool free_min; /* the minimum may be positive */
  double sum_w, sum_wx;
} affine;

static solution solve_affine(const affine *a, float inverse, float min) {
  double c1 = 0, c2 = 0, xc = 0;
  for (int j = 0; j < a->n; j++) {
    float c = (float)myna__code_rne((a->x[j] - min) * inverse, 0, a->hi), wc = a->w[j] * c;
    c1 += wc;
    c2 += (double)wc * c;
    xc += (double)wc * a->x[j];
  }
  if (!(c2 > 0)) return (solution){0};
  double det = a->sum_w * c2 - c1 * c1;
  solution s = {.d = (a->sum_w * xc - a->sum_wx * c1) / det, .m = (c2 * a->sum_wx - c1 * xc) / det};
  /* One code for all leaves the minimum open, and a positive one may be forbidden: then it is 0. */
  if (!(det > 1e-9 * a->sum_w * c2) || (s.m > 0 && !a->free_min)) s.m = 0, s.d = xc / c2;
  s.gain = s.d * xc + s.m * a->sum_wx;
  return s;
}

/* x[j] ~ d * c[j] + m, c in [0, hi], d >= 0. Returns d. */
static float fit_affine(int8_t *c, float *m, const float *x, const float *w, int n, int hi, bool free_min) {
  affine a = {.x = x, .w = w, .n = n, .hi = hi, .free_min = free_min};
  float min, max, inverse = 0;
  myna__range(x, n, &min, &max);
  if (min > 0 && !free_min) min = 0;
  for (int j = 0; j < n; j++) {
    c[j] = 0;
    a.sum_w += w[j];
    a.sum_wx += (double)w[j] * x[j];
  }
  *m = min;
  if (!(max > min)) return 0;
  solution best = {.gain = -DBL_MAX};
  float from = min; /* what the best codes were rounded from */
  for (int k = -TRIES; k <= TRIES; k++) {
    float t = ((float)hi + 0.1f * (float)k) / (max - min);
    solution s = solve_affine(&a, t, min);
    if (s.d > 0 && s.gain > best.gain) best = s, inverse = t;
  }
  for (int k = 0; k < REFINE && best.d > 0; k++) {
    float t = (float)(1 / best.d), at = (float)best.m;
    solution s = solve_affine(&a, t, at);
    if (!(s.d > 0 && s.gain > best.gain)) break;
    best = s, inverse = t, from = at;
  }
  if (!(best.d > 0)) return 0;
  for (int j = 0; j < n; j++) c[j] = (int8_t)myna__code_rne((x[j] - from) * inverse, 0, hi);
  *m = (float)best.m;
  return (float)best.d;
}

/* ---- weights ---- */

/* An importance matrix counts more where the value is large. The floor keeps blocks that no calibration text
 * reached from losing all their weights. */
static void importance(float *w, const float *x, const float *imatrix, int n, float mean_square) {
  for (int j = 0; j < n; j++) w[j] = fmaxf(imatrix[j], 1e-30f) * sqrtf(mean_square + x[j] * x[j]);
}

/* ---- blocks of 32 ---- */

float myna__fit32_symmetric(uint8_t c[32], const float *x, const float *imatrix, float mean_square, int half) {
  if (imatrix) {
    float w[32];
    int8_t code[32];
    importance(w, x, imatrix, 32, mean_square);
    float d = fit_scale(code, x, w, 32, -half, half - 1);
    for (int j = 0; j < 32; j++) c[j] = (uint8_t)(code[j] + half);
    return d;
  }
  float d = myna__extreme(x, 32) / (float)-half, inverse = myna__inverse(d);
  for (int j = 0; j < 32; j++) c[j] = (uint8_t)myna__code_trunc(x[j] * inverse + ((float)half + 0.5f), 0, 2 * half - 1);
  return d;
}

float myna__fit32_affine(uint8_t c[32], float *m, const float *x, const float *imatrix, float mean_square, int hi) {
  if (imatrix) {
    float w[32];
    importance(w, x, imatrix, 32, mean_square);
    return fit_affine((int8_t *)c, m, x, w, 32, hi, true);
  }
  float max;
  myna__range(x, 32, m, &max);
  float d = (max - *m) / (float)hi, inverse = myna__inverse(d);
  for (int j = 0; j < 32; j++) c[j] = (uint8_t)myna__code_trunc((x[j] - *m) * inverse + 0.5f, 0, hi);
  return d;
}

float myna__fit32_q8(int8_t c[32], const float *x) {
  float d = myna__amax(x, 32) / 127.0f, inverse = myna__inverse(d);
  for (int j = 0; j < 32; j++) c[j] = (int8_t)myna__code_away(x[j] * inverse, -128, 127);
  return d;
}

float myna__ternary(uint8_t c[256], const float *x) {
  float d = myna__amax(x, 256), inverse = myna__inverse(d);
  for (int j = 0; j < 256; j++) c[j] = (uint8_t)(myna__code_away(x[j] * inverse, -1, 1) + 1);
  return d;
}

/* ---- k-quants ---- */

/* Without an importance matrix: |x| plus the root mean square of the group. */
static void weigh(float w[256], const myna__kspec *s, const float *x, const float *imatrix) {
  if (imatrix) {
    importance(w, x, imatrix, 256, myna__mean_square(x, 256));
    return;
  }
  for (int at = 0; at < 256; at += s->group) {
    float rms = sqrtf(myna__mean_square(x + at, s->group));
    for (int j = at; j < at + s->group; j++) w[j] = rms + fabsf(x[j]);
  }
}

/* Fits every group alone, then super-scale and integer sub-scales to the groups' scales, each group counting by
 * how much an error of its scale (minimum) costs. mins[g] is the magnitude of the minimum. */
static void fit_groups(myna__kfit *f, const myna__kspec *s, const float *x, const float *w) {
  float scale[16] = {0}, min[16] = {0}, scale_weight[16] = {0}, min_weight[16] = {0};
  int8_t mins[16];
  int groups = 256 / s->group;
  for (int g = 0; g < groups; g++) {
    int8_t c[32];
    const float *xg = x + g * s->group, *wg = w + g * s->group;
    if (s->min_hi)
      scale[g] = fit_affine(c, &min[g], xg, wg, s->group, s->code_hi, false);
    else
      scale[g] = fit_scale(c, xg, wg, s->group, s->code_lo, s->code_hi);
    min[g] = -min[g];
    for (int j = 0; j < s->group; j++) {
      min_weight[g] += wg[j];
      scale_weight[g] += wg[j] * (float)(c[j] * c[j]);
    }
  }
  f->d = myna__f32_to_f16(fit_scale(f->scale, scale, scale_weight, groups, s->scale_lo, s->scale_hi));
  f->dmin = myna__f32_to_f16(s->min_hi ? fit_scale(mins, min, min_weight, groups, 0, s->min_hi) : 0);
  for (int g = 0; g < groups; g++) f->min[g] = s->min_hi ? (uint8_t)mins[g] : 0;
}

static double group_error(const myna__kspec *s, const float *x, const float *w, float d, float m) {
  float inverse = myna__inverse(d);
  double e = 0;
  for (int j = 0; j < s->group; j++) {
    float c = (float)myna__code_rne((x[j] + m) * inverse, s->code_lo, s->code_hi);
    float r = x[j] - (d * c - m);
    e += (double)(w[j] * r) * r;
  }
  return e;
}

/* The best of a group's integer scale and minimum and their neighbours, under the rounded d and dmin. */
static void choose_scale(myna__kfit *f, const myna__kspec *s, int g, const float *x, const float *w) {
  float d = myna__f16_to_f32(f->d), dmin = myna__f16_to_f32(f->dmin);
  int scale = f->scale[g], min = f->min[g];
  double best = DBL_MAX;
  for (int t = MYNA__MAX(scale - 1, s->scale_lo); t <= MYNA__MIN(scale + 1, s->scale_hi); t++) {
    for (int u = MYNA__MAX(min - 1, 0); u <= MYNA__MIN(min + 1, s->min_hi); u++) {
      double e = group_error(s, x, w, d * (float)t, dmin * (float)u);
      if (e < best) best = e, f->scale[g] = (int8_t)t, f->min[g] = (uint8_t)u;
    }
  }
}

void myna__kfit_block(myna__kfit *f, const myna__kspec *s, const float *x, const float *imatrix) {
  float w[256];
  weigh(w, s, x, imatrix);
  fit_groups(f, s, x, w);
  for (int at = 0; at < 256; at += s->group) {
    int g = at / s->group;
    choose_scale(f, s, g, x + at, w + at);
    float inverse = myna__inverse(myna__f16_to_f32(f->d) * (float)f->scale[g]);
    float m = myna__f16_to_f32(f->dmin) * (float)f->min[g];
    for (int j = at; j < at + s->group; j++)
      f->c[j] = (uint8_t)(myna__code_rne((x[j] + m) * inverse, s->code_lo, s->code_hi) - s->code_lo);
  }
}
