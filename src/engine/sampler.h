/* sampler.h: llama.cpp's sampler chain on our own terms: state depends only on accepted tokens and can roll back; random
 * numbers are counter-based: number i of token n depends on (seed, n, i) only. */
#ifndef MYNA__SAMPLER_H
#define MYNA__SAMPLER_H

#include "engine/model.h"

typedef struct myna__cand {
  int32_t id;
  float logit, p;
} myna__cand;

typedef struct myna__sampler myna__sampler;
/* s: as in myna.h (not `set`: defaults; may be NULL). m gives end tokens and token texts for DRY breakers; NULL, or a file without
 * tokenizer, has neither. Validates ranges and order letters: MYNA_E_ARG naming field and value. Nothing of s is kept. Windows of the past
 * are cut at n_ctx tokens. */
int myna__sampler_new(myna__sampler **out, const myna_sampling *s, myna_model *m, int64_t n_vocab, int64_t n_ctx,
                      myna_err *err);
void myna__sampler_free(myna__sampler *p);
/* Prompt (before anything generated) and accepted tokens feed penalties and DRY; a generated one moves mirostat's mu when it was a candidate of the
 * last draw. MYNA_E_ARG for an id outside the vocabulary. */
int myna__sampler_accept(myna__sampler *p, int32_t id, bool generated);
/* Forgets the last n accepted tokens (mirostat's mu included): everything is as it was before them. n <= n_ctx and what was accepted. */
void myna__sampler_rollback(myna__sampler *p, int64_t n);
/* The next token from logits [n_vocab] (not modified); depends on the number of generated tokens accepted so far. Returns the id or a
 * negative code (a NaN, or nothing possible: MYNA_E_INTERNAL naming it). No allocation after creation. */
int32_t myna__sampler_sample(myna__sampler *p, const float *logits, myna_err *err);
/* The same among the tokens whose bits are set in allowed [(n_vocab + 63) / 64], n_allowed of them; the others count as impossible. */
int32_t myna__sampler_sample_allowed(myna__sampler *p, const float *logits, const uint64_t *allowed, int64_t n_allowed,
                                     myna_err *err);
/* Whether a draw is the best token and nothing else: then it is the best of any set of tokens that it is in. */
bool myna__sampler_is_greedy(const myna__sampler *p);
/* Candidates after the whole chain, sorted by p descending, for tests: fills at most cap, returns the number. */
int64_t myna__sampler_probs(myna__sampler *p, const float *logits, myna__cand *out, int64_t cap, myna_err *err);
/* Of the draw whose token `id` was just accepted: its log-probability and those of the n most likely, best first; returns how many there were. A token
 * that was not drawn (forced) was the only one. top: room for n. */
int myna__sampler_last(const myna__sampler *p, int32_t id, float *logprob, int n, int32_t *ids, float *logprobs,
                       myna__cand *top);
/* The random number of generated token `index`, in [0, 1). purpose 0: the draw; 1 + place in the order: a sampler's own. */
double myna__random(uint64_t seed, uint64_t index, uint32_t purpose);
/* Ten rounds on counter x, in place. */
void myna__philox(const uint32_t key[2], uint32_t x[4]);
enum { MYNA__LOGPROBS_MAX = 64 };
/* Log-softmax of the unmodified logits: of `id`, and the n <= MYNA__LOGPROBS_MAX most likely (ids, logprobs; where
 * there are fewer: -1, -inf). */
void myna__logprobs(const float *logits, int64_t n_vocab, int32_t id, float *logprob, int n, int32_t *ids,
                    float *logprobs);
/* The same for any n; top: room for n, at least 1. */
void myna__logprobs_in(const float *logits, int64_t n_vocab, int32_t id, float *logprob, int n, int32_t *ids,
                       float *logprobs, myna__cand *top);

#endif
