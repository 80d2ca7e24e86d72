/* sampler_rows.c: the samplers, one function and one row each. What they compute is what llama.cpp's samplers of the same name compute; sums
 * are in double here. Rows change logits, cut the list, or do nothing when they are off. */
#include "engine/sampler_state.h"
#include <math.h>

/* ---- penalties ---- */

static bool penalties_on(const myna__sampler *p) {
  return p->s.repeat_last_n != 0 &&
         (p->s.repeat_penalty != 1 || p->s.frequency_penalty != 0 || p->s.presence_penalty != 0);
}

/* Dividing a negative logit would reward the token. */
static float penalised(const myna__sampler *p, float logit, int32_t count) {
  logit = logit <= 0 ? logit * p->s.repeat_penalty : logit / p->s.repeat_penalty;
  return logit - ((float)count * p->s.frequency_penalty + p->s.presence_penalty);
}

static void penalties(myna__sampler *p, int at) {
  int64_t n = myna__window(p, p->s.repeat_last_n);
  for (int64_t i = 0; i < n; i++) p->mark[myna__recent(p, i)]++;
  if (!p->dense)
    for (int64_t i = 0; i < p->n; i++)
      if (p->mark[p->list[i].id]) p->list[i].logit = penalised(p, p->list[i].logit, p->mark[p->list[i].id]);
  for (int64_t i = 0; i < n; i++) {
    int32_t id = myna__recent(p, i);
    if (p->dense && p->mark[id]) p->dense_logits[id] = penalised(p, p->dense_logits[id], p->mark[id]);
    p->mark[id] = 0;
  }
  p->sorted = false;
}

/* ---- DRY (sampler_dry.c) ---- */

static bool dry_on(const myna__sampler *p) {
  return p->s.dry_multiplier != 0 && p->s.dry_base >= 1 && p->s.dry_penalty_last_n != 0;
}
static void dry(myna__sampler *p, int at) { myna__dry_apply(p); }

/* ---- cutting by logits ---- */

static bool sigma_on(const myna__sampler *p) { return p->s.top_n_sigma > 0; }

/* Keeps what lies within n standard deviations of the best logit; the others stay as impossible. */
static void sigma(myna__sampler *p, int at) {
  myna__list_expand(p);
  float max = -INFINITY;
  double sum = 0, square = 0, count = 0;
  for (int64_t i = 0; i < p->n; i++) {
    float x = p->list[i].logit;
    if (x == -INFINITY) continue;
    max = fmaxf(max, x);
    sum += (double)x;
    count++;
  }
  if (p->n <= 1 || count == 0) return;
  for (int64_t i = 0; i < p->n; i++) {
    double d = (double)p->list[i].logit - sum / count;
    if (p->list[i].logit != -INFINITY) square += d * d;
  }
  float floor = max - p->s.top_n_sigma * (float)sqrt(square / count);
  for (int64_t i = 0; i < p->n; i++)
    if (p->list[i].logit < floor) p->list[i].logit = -INFINITY;
}

static bool top_k_on(const myna__sampler *p) { return p->s.top_k > 0; }

static void top_k(myna__sampler *p, int at) {
  int64_t k = p->s.top_k;
  if (p->dense) {
    p->n = myna__top_logits(p->dense_logits, p->n_vocab, k, p->list);
    p->dense = false;
  } else {
    myna__list_sort(p, k);
    p->n = MYNA__MIN(p->n, k);
  }
  p->sorted = true;
}

static bool min_p_on(const myna__sampler *p) { return p->s.min_p > 0; }

static void min_p(myna__sampler *p, int at) {
  myna__list_expand(p);
  int64_t best = myna__list_best(p), kept = 0;
  if (best < 0) return;
  float floor = p->list[best].logit + logf(p->s.min_p);
  for (int64_t i = 0; i < p->n; i++) kept += p->list[i].logit >= floor;
  int64_t want = MYNA__MIN(MYNA__MAX(p->s.min_keep, 1), p->n);
  if (kept < want) { /* the best ones then, whatever their probability */
    myna__list_sort(p, want);
    p->n = want;
    p->sorted = true;
    return;
  }
  kept = 0;
  for (int64_t i = 0; i < p->n; i++)
    if (p->list[i].logit >= floor) p->list[kept++] = p->list[i];
  p->n = kept;
}

/* ---- cutting by probability ---- */

static bool top_p_on(const myna__sampler *p) { return p->s.top_p < 1; }

/* Drops what cannot be in the nucleus: all below (1 - top_p) / n together weigh less than what may be missing (half of it, for rounding). */
static void drop_tail(myna__sampler *p) {
  float floor = (1 - p->s.top_p) / (2 * (float)p->n);
  int64_t kept = 0;
  for (int64_t i = 0; i < p->n; i++) kept += p->list[i].p >= floor;
  if (kept < p->s.min_keep || kept == 0) return;
  kept = 0;
  for (int64_t i = 0; i < p->n; i++)
    if (p->list[i].p >= floor) p->list[kept++] = p->list[i];
  p->n = kept;
}

/* The shortest list of the most likely whose probabilities reach top_p. Sorts only as far as it looks. */
static void top_p(myna__sampler *p, int at) {
  myna__list_softmax(p);
  drop_tail(p);
  double sum = 0;
  int64_t done = 0;
  for (int64_t k = 256;; k *= 8) {
    myna__list_sort(p, k);
    int64_t end = MYNA__MIN(k, p->n);
    if (p->sorted) end = p->n;
    for (; done < end; done++) {
      sum += (double)p->list[done].p;
      if ((float)sum < p->s.top_p || done + 1 < p->s.min_keep) continue;
      p->n = done + 1;
      p->sorted = true;
      return;
    }
    if (done == p->n) break;
  }
  p->sorted = true;
}

static bool typical_on(const myna__sampler *p) { return p->s.typical_p < 1; }

/* Locally typical sampling (Meister et al. 2022): those whose surprise is nearest to the expected surprise. */
static void typical(myna__sampler *p, int at) {
  myna__list_softmax(p);
  myna__list_sort(p, p->n);
  double entropy = 0, sum = 0;
  for (int64_t i = 0; i < p->n; i++)
    if (p->list[i].p > 0) entropy -= (double)p->list[i].p * log((double)p->list[i].p);
  myna__cand *all = p->list, *order = p->spare;
  int64_t n = p->n, kept = 0;
  for (int64_t i = 0; i < n; i++) {
    float distance = all[i].p > 0 ? fabsf(-logf(all[i].p) - (float)entropy) : INFINITY;
    order[i] = (myna__cand){.id = (int32_t)i, .logit = -distance, .p = all[i].p};
  }
  p->list = order;
  p->sorted = false;
  myna__list_sort(p, n);
  while (kept < n) {
    sum += (double)order[kept++].p;
    if ((float)sum > p->s.typical_p && kept >= p->s.min_keep) break;
  }
  for (int64_t i = 0; i < kept; i++) order[i] = all[order[i].id];
  p->spare = all;
  p->n = kept;
  p->sorted = false;
}

static bool xtc_on(const myna__sampler *p) { return p->s.xtc_probability > 0 && p->s.xtc_threshold <= 0.5f; }

/* Exclude top choices: with the given probability, of all that reach the threshold only the least likely stays. */
static void xtc(myna__sampler *p, int at) {
  if (p->dense ? p->n_vocab < 2 : p->n < 2) return;
  if (myna__random(p->s.seed, (uint64_t)p->n_gen, 1 + (uint32_t)at) > (double)p->s.xtc_probability) return;
  myna__list_softmax(p);
  myna__list_sort(p, p->n);
  int64_t last = 0;
  while (last + 1 < p->n && p->list[last + 1].p >= p->s.xtc_threshold) last++;
  if (last == 0 || p->list[0].p < p->s.xtc_threshold || p->n - last < p->s.min_keep) return;
  memmove(p->list, p->list + last, (size_t)(p->n - last) * sizeof *p->list);
  p->n -= last;
}

/* ---- temperature ---- */

static bool temperature_on(const myna__sampler *p) { return p->s.temperature != 1 || p->s.dynatemp_range > 0; }

static void scale(myna__sampler *p, float t) {
  int64_t best = t <= 0 ? myna__list_best(p) : -1;
  for (int64_t i = 0; i < p->n; i++) {
    if (t > 0)
      p->list[i].logit /= t;
    else if (i != best)
      p->list[i].logit = -INFINITY;
  }
}

/* Temperature between range ends by the entropy of the candidates relative to the most that many could have. */
static float dynamic_temperature(myna__sampler *p) {
  float low = fmaxf(0, p->s.temperature - p->s.dynatemp_range), high = p->s.temperature + p->s.dynatemp_range;
  double entropy = 0;
  myna__list_softmax(p);
  for (int64_t i = 0; i < p->n; i++)
    if (p->list[i].p > 0) entropy -= (double)p->list[i].p * log((double)p->list[i].p);
  return low + (high - low) * powf((float)(entropy / log((double)p->n)), p->s.dynatemp_exponent);
}

static void temperature(myna__sampler *p, int at) {
  myna__list_expand(p);
  if (p->s.dynatemp_range <= 0)
    scale(p, p->s.temperature);
  else if (p->n > 1)
    scale(p, dynamic_temperature(p));
}

/* ---- mirostat (Basu et al. 2021): replaces the whole order ---- */

/* Version 1: a top-k from the Zipf exponent that the 100 most likely show and the surprise wanted. */
static int64_t mirostat_k(const myna__sampler *p, int64_t n) {
  double ti_bi = 0, ti_sq = 0;
  for (int64_t i = 0; i + 1 < n; i++) {
    double t = log((double)(i + 2) / (double)(i + 1)), b = (double)p->list[i].logit - (double)p->list[i + 1].logit;
    if (!isfinite(b)) break;
    ti_bi += t * b;
    ti_sq += t * t;
  }
  if (ti_sq == 0) return 1;
  double s = ti_bi / ti_sq, eps = s - 1, mu = (double)p->mu[p->n_gen & (p->n_ring - 1)];
  double k = pow(eps * exp2(mu) / (1 - pow((double)p->n_vocab, -eps)), 1 / s);
  return k >= 1 ? (k < (double)p->n ? (int64_t)k : p->n) : 1;
}

void myna__mirostat_apply(myna__sampler *p) {
  myna__list_expand(p);
  if (p->s.temperature != 1) scale(p, p->s.temperature);
  if (p->s.mirostat == 1) {
    enum { M = 100 };
    myna__list_sort(p, M);
    int64_t k = mirostat_k(p, MYNA__MIN(M, p->n));
    myna__list_sort(p, k);
    p->n = MYNA__MIN(p->n, k);
  } else {
    float mu = p->mu[p->n_gen & (p->n_ring - 1)];
    myna__list_softmax(p);
    myna__cand best = p->list[myna__list_best(p)];
    int64_t kept = 0;
    for (int64_t i = 0; i < p->n; i++)
      if (!(-log2f(p->list[i].p) > mu)) p->list[kept++] = p->list[i];
    if (kept == 0) p->list[kept++] = best;
    p->n = kept;
  }
}

float myna__mirostat_mu(const myna__sampler *p, float surprise) {
  return p->mu[p->n_gen & (p->n_ring - 1)] - p->s.mirostat_eta * (surprise - p->s.mirostat_tau);
}

/* ---- the table ---- */

static const myna__sampler_row rows[] = {
    {'e', "penalties", penalties_on, penalties, true}, /* it changes which is best, and keeps that */
    {'d', "dry", dry_on, dry, true},
    {'s', "top_n_sigma", sigma_on, sigma, true},
    {'k', "top_k", top_k_on, top_k, true},
    {'y', "typ_p", typical_on, typical, false},
    {'p', "top_p", top_p_on, top_p, true},
    {'m', "min_p", min_p_on, min_p, true},
    {'x', "xtc", xtc_on, xtc, false},
    {'t', "temperature", temperature_on, temperature, true},
};

const myna__sampler_row *myna__sampler_row_find(char letter) {
  for (size_t i = 0; i < MYNA__COUNT(rows); i++)
    if (rows[i].letter == letter) return &rows[i];
  return NULL;
}
