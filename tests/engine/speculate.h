/* speculate.h: what the tests of drafts share: engines that do not look at the clock, prompts of fixtures, samplers of all kinds, equal results. */
#ifndef MYNA__TEST_SPECULATE_H
#define MYNA__TEST_SPECULATE_H

#include "engine/job.h"
#include "fixture.h"

/* An engine whose drafts do not depend on the clock. */
myna_engine *engine_with(myna_model *m, const myna_engine_options *o);
/* The same on one thread. */
myna_engine *engine_of(myna_model *m, int64_t n_ctx, int64_t n_seq);

typedef struct prompt {
  int32_t *t;
  int64_t n;
} prompt;
/* Of a fixture; free(p.t). */
prompt prompt_of(const char *name);

/* got has the tokens, the text and the end of want, which was computed without drafts. */
void same_result(const fx_result *got, const fx_result *want, const char *what);

enum { N_SAMPLINGS = 6 };
/* Sampler k of all kinds. Random weights do not repeat themselves: most of these have three tokens to choose from, ids[0..3). */
void sampling_of(myna_sampling *s, int k, const int32_t *ids);

#endif
