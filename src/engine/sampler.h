/* sampler.h: llama.cpp's sampler chain on our own terms: state depends only on accepted tokens and can roll back; random
 * numbers are counter-based: number i of token n depends on (seed, n, i) only. */
#ifndef MYNA__SAMPLER_H
#define MYNA__SAMPLER_H

#include "engine/model.h"

typedef struct myna__cand { int32_t id; float logit, p; } myna__cand;

typedef struct myna__sampler myna__sampler;
/* s: as in myna.h (not `set`: defaults). The model gives n_vocab, end tokens, and token texts for DRY breakers (may be NULL for files without
 * tokenizer). Validates: order letters, ranges (top_p in (0, 1] ...), naming the field. Strings of s are copied. */
int myna__sampler_new(myna__sampler **out, const myna_sampling *s, myna_model *m, int64_t n_vocab, int64_t n_ctx, myna_err *err);
void myna__sampler_free(myna__sampler *p);
/* Prompt and accepted tokens feed penalties and DRY. */
int myna__sampler_accept(myna__sampler *p, int32_t id, bool generated);
/* Forgets the last n accepted tokens (mirostat's mu included). */
void myna__sampler_rollback(myna__sampler *p, int64_t n);
/* The next token from logits [n_vocab] (not modified); depends on the number of generated tokens accepted so far. Returns the id or a
 * negative code (all logits -inf or NaN: MYNA_E_INTERNAL naming it). No allocation after creation. */
int32_t myna__sampler_sample(myna__sampler *p, const float *logits, myna_err *err);
/* Candidates after the whole chain, sorted by p descending, for tests: fills at most cap, returns the number. */
int64_t myna__sampler_probs(myna__sampler *p, const float *logits, myna__cand *out, int64_t cap, myna_err *err);
/* Log-softmax of the unmodified logits: of `id`, and the n most likely (ids, logprobs). */
void myna__logprobs(const float *logits, int64_t n_vocab, int32_t id, float *logprob, int n, int32_t *ids, float *logprobs);

#endif
