/* sampler_list.c: the candidates of one draw. Selection keeps the k best in a heap whose root is the worst of them, so that a vocabulary is
 * scanned once and never sorted as a whole. Equal logits rank by id, so every order is reproducible. */
#include "engine/sampler_state.h"
#include <math.h>

static bool better(myna__cand a, myna__cand b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

/* Puts c into the hole at i of a heap of n whose children are better than their parent. */
static void sift(myna__cand *h, int64_t n, int64_t i, myna__cand c) {
  for (;;) {
    int64_t child = 2 * i + 1;
    if (child >= n) break;
    if (child + 1 < n && better(h[child], h[child + 1])) child++;
    if (!better(c, h[child])) break;
    h[i] = h[child];
    i = child;
  }
  h[i] = c;
}

static void heapify(myna__cand *h, int64_t n) {
  for (int64_t i = n / 2 - 1; i >= 0; i--) sift(h, n, i, h[i]);
}

/* Heap to descending order. */
static void heap_sort(myna__cand *h, int64_t n) {
  while (n > 1) {
    myna__cand worst = h[0], last = h[--n];
    sift(h, n, 0, last);
    h[n] = worst;
  }
}

enum { BLOCK = 64 };

/* Whether a value of x[0..BLOCK) is above `floor`; compiles to vector code. */
static bool any_above(const float *x, float floor) {
  int hits = 0;
  for (int i = 0; i < BLOCK; i++) hits |= x[i] > floor;
  return hits;
}

/* The k best of what is offered: a heap as soon as there are k. */
typedef struct chosen {
  myna__cand *list;
  int64_t n, k;
} chosen;

static void offer(chosen *c, myna__cand x) {
  if (c->n < c->k) {
    c->list[c->n++] = x;
    if (c->n == c->k) heapify(c->list, c->n);
  } else if (better(x, c->list[0])) {
    sift(c->list, c->n, 0, x);
  }
}

static int64_t in_order(chosen *c) {
  if (c->n < c->k) heapify(c->list, c->n);
  heap_sort(c->list, c->n);
  return c->n;
}

int64_t myna__top_logits(const float *x, int64_t n, int64_t k, myna__cand *out) {
  chosen c = {out, 0, k};
  if (k <= 0) return 0;
  for (int64_t i = 0;
       i < n;) { /* ids ascend, so an equal logit never replaces: a block without a larger one has none to offer */
    int64_t end = MYNA__MIN(n, i + BLOCK);
    if (c.n < k || end - i < BLOCK || any_above(x + i, out[0].logit))
      for (int64_t j = i; j < end; j++)
        if (!isnan(x[j])) offer(&c, (myna__cand){.id = (int32_t)j, .logit = x[j]});
    i = end;
  }
  return in_order(&c);
}

int64_t myna__top_probs(const myna__cand *list, int64_t n, int64_t k, myna__cand *out) {
  chosen best = {out, 0, k};
  for (int64_t i = 0; i < n && k > 0; i++) {
    myna__cand c = list[i];
    if (!(c.p > 0)) continue;
    c.logit = c.p;
    offer(&best, c);
  }
  return k > 0 ? in_order(&best) : 0;
}

void myna__list_expand(myna__sampler *p) {
  if (!p->dense) return;
  for (int64_t i = 0; i < p->n_vocab; i++) p->list[i] = (myna__cand){.id = (int32_t)i, .logit = p->dense_logits[i]};
  p->n = p->n_vocab;
  p->dense = p->sorted = false;
}

void myna__list_sort(myna__sampler *p, int64_t k) {
  myna__list_expand(p);
  if (p->sorted) return;
  k = MYNA__MIN(k, p->n);
  if (k <= 0) return;
  myna__cand *h = p->list;
  heapify(h, k);
  for (int64_t i = k; i < p->n; i++) {
    if (!better(h[i], h[0])) continue;
    myna__cand out = h[0], in = h[i];
    h[i] = out;
    sift(h, k, 0, in);
  }
  heap_sort(h, k);
  p->sorted = k == p->n;
}

int64_t myna__list_best(const myna__sampler *p) {
  int64_t best = p->n > 0 ? 0 : -1;
  for (int64_t i = 1; i < p->n; i++)
    if (better(p->list[i], p->list[best])) best = i;
  return best;
}

void myna__list_softmax(myna__sampler *p) {
  myna__list_expand(p);
  float max = -INFINITY;
  double sum = 0;
  for (int64_t i = 0; i < p->n; i++) max = fmaxf(max, p->list[i].logit);
  for (int64_t i = 0; i < p->n; i++) {
    /* An infinite maximum (a tiny temperature) takes everything. */
    float d = p->list[i].logit == max ? 0 : p->list[i].logit - max;
    p->list[i].p = expf(d);
    sum += (double)p->list[i].p;
  }
  for (int64_t i = 0; i < p->n; i++) p->list[i].p = (float)((double)p->list[i].p / sum);
}
