/* fixture.h: what the engine's tests share: fixture models with their oracle's tokens and logits, steps of a plan by hand, and requests run to
 * their end. Everything fails the test when it cannot. */
#ifndef MYNA__TEST_FIXTURE_H
#define MYNA__TEST_FIXTURE_H

#include "engine/lm.h"
#include "test.h"

enum { FX_MAX = 64 };

/* Names of tests/fixtures/models/index.tsv; returns how many. */
int fx_names(char names[FX_MAX][48]);
/* "llama" or a path that contains a slash. */
myna_model *fx_open(const char *name);
/* Sequence k (0..2) of a fixture: free() both. logits may be NULL. */
int32_t *fx_tokens(const char *name, int k, int64_t *n);
float *fx_logits(const char *name, int k, int64_t n_vocab);
/* Mean squared difference over mean square. */
double fx_nmse(const float *x, const float *want, int64_t n);

typedef struct fx_lm_options {
  int n_threads;            /* 0: no pool */
  myna_dtype kv_type, kv_v; /* kv_v: of values, F32 (0): as keys */
  bool exact;
  int64_t n_ctx, n_tok, n_seq;
} fx_lm_options;
/* A plan whose sequences own their pages, in an order that is not the natural one. Free with fx_lm_free. */
myna__lm *fx_lm(myna_model *m, const fx_lm_options *o);
void fx_lm_free(myna__lm *lm);

/* Positions [from, to) of a sequence in one step; every row's logits go to out + (p - from0) * n_vocab for position p. */
typedef struct fx_part {
  int seq;
  int64_t from, to;
  const int32_t *tokens; /* [to] from position 0 */
  float *out;            /* [to, n_vocab] from position 0, or NULL: no logits */
} fx_part;
void fx_step(myna__lm *lm, const fx_part *parts, int n);

/* A request run to its end on an engine that nobody else uses. */
typedef struct fx_result {
  int64_t n;
  int32_t ids[4096];
  char text[16384];
  myna_finish finish;
  myna_timings timings;
  myna_err err;
} fx_result;
void fx_run(myna_engine *e, const myna_request *r, fx_result *out);
/* All requests at once; result i is request i's. */
void fx_run_all(myna_engine *e, const myna_request *r, int n, fx_result *out);
myna_engine *fx_engine(myna_model *m, const myna_engine_options *o);
/* Greedy request of max_tokens without text. */
myna_request fx_greedy(const int32_t *tokens, int64_t n, int64_t max_tokens);

#endif
