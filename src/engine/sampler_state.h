/* sampler_state.h: what the files of the sampler share; tests look in as well. */
#ifndef MYNA__SAMPLER_STATE_H
#define MYNA__SAMPLER_STATE_H

#include "engine/sampler.h"

/* A restart sequence of DRY: this token, then tail. */
typedef struct myna__breaker {
  int32_t head, n_tail, tail; /* tail: index into breaker_tails */
} myna__breaker;

enum { MYNA__ORDER_MAX = 31 };

struct myna__sampler {
  myna_sampling s; /* effective: defaults filled in, pointers cleared */
  char order[MYNA__ORDER_MAX + 1];
  bool on[MYNA__ORDER_MAX + 1]; /* rows of the order that do anything */
  bool best_only;               /* greedy, and no active row can drop the best candidate */
  int64_t n_vocab, n_ctx;
  myna_logit_bias *bias; /* [n_bias], of the request and -inf for every end token when they are ignored */
  int64_t n_bias;

  /* Accepted tokens: a ring that holds the longest window and as much again to roll back. NULL when nothing looks back. */
  int32_t *ring; /* [n_ring], a power of two */
  float *mu;     /* [n_ring] mirostat's mu before generated token i; NULL without mirostat */
  int64_t n_ring, n_tokens, n_gen;
  int64_t drawn_at; /* n_gen when `list` was made by the last draw; -1 */

  /* Candidates. While `dense`, they are all tokens with logits `dense_logits`; else list[0..n). */
  bool dense, sorted;
  float *dense_logits; /* [n_vocab] */
  myna__cand *list;    /* [n_vocab] */
  int64_t n;
  myna__cand *spare; /* [n_vocab] for typical; NULL */
  int32_t *mark;     /* [n_vocab] zero between uses, for penalties and DRY; NULL */
  int32_t *repeat;   /* [n_ctx] for DRY; NULL */

  myna__breaker *breakers; /* sorted by head */
  int64_t n_breakers, cap_breakers;
  int32_t *breaker_tails;
  int64_t n_tails, cap_tails;
};

/* sampler_list.c */
void myna__list_expand(myna__sampler *p);          /* from dense to a list in order of ids */
void myna__list_sort(myna__sampler *p, int64_t k); /* the k best come first, in order: logit descending, id ascending */
void myna__list_softmax(myna__sampler *p);         /* fills p of all */
int64_t myna__list_best(const myna__sampler *p);   /* index of the best, -1 when empty */
/* The k best of x[0..n) in order; returns how many (NaN never is). */
int64_t myna__top_logits(const float *x, int64_t n, int64_t k, myna__cand *out);
/* The k likeliest of list[0..n) that are possible at all, in order: p descending, id ascending; returns how many. Their `logit` is their p too. */
int64_t myna__top_probs(const myna__cand *list, int64_t n, int64_t k, myna__cand *out);

/* sampler_rows.c: one row per sampler */
typedef struct myna__sampler_row {
  char letter;
  const char *name;
  bool (*active)(const myna__sampler *p);
  void (*apply)(myna__sampler *p, int at); /* at: place in the order */
  bool keeps_best;                         /* can never drop the best candidate */
} myna__sampler_row;
const myna__sampler_row *myna__sampler_row_find(char letter);
void myna__mirostat_apply(myna__sampler *p);
float myna__mirostat_mu(const myna__sampler *p, float surprise); /* next mu */

/* sampler_dry.c */
void myna__dry_apply(myna__sampler *p);
int myna__dry_add(myna__sampler *p, int32_t head, const int32_t *tail, int64_t n_tail, myna_err *err);
void myna__dry_sort(myna__sampler *p); /* after the last add */
int myna__dry_find_breakers(myna__sampler *p, const myna__tokenizer *tk, const char *const *breakers, int n,
                            myna_err *err);

/* The i-th accepted token from the end, 0 the last. */
static inline int32_t myna__recent(const myna__sampler *p, int64_t i) {
  return p->ring[(p->n_tokens - 1 - i) & (p->n_ring - 1)];
}
/* How many tokens a window of `last_n` (-1: the context) sees now. */
static inline int64_t myna__window(const myna__sampler *p, int32_t last_n) {
  int64_t n = last_n < 0 || last_n > p->n_ctx ? p->n_ctx : last_n;
  return MYNA__MIN(n, p->n_tokens);
}

#endif
