/* speculate.c: see speculate.h. */
#include "speculate.h"

myna_engine *engine_with(myna_model *m, const myna_engine_options *o) {
  myna_engine *e = fx_engine(m, o);
  e->costs.fixed = true;
  if (e->draft) myna__draft_fix_costs(e->draft, 0.1);
  return e;
}
myna_engine *engine_of(myna_model *m, int64_t n_ctx, int64_t n_seq) {
  return engine_with(m, &(myna_engine_options){.n_threads = 1, .n_ctx = n_ctx, .n_seq = n_seq});
}

prompt prompt_of(const char *name) {
  prompt p;
  p.t = fx_tokens(name, 0, &p.n);
  return p;
}

void same_result(const fx_result *got, const fx_result *want, const char *what) {
  if (got->n != want->n)
    fail_msg("%s: %lld tokens, not %lld (finish %d %s)", what, (long long)got->n, (long long)want->n, got->finish,
             got->err.msg);
  for (int64_t i = 0; i < want->n; i++)
    if (got->ids[i] != want->ids[i])
      fail_msg("%s: token %lld is %d, not %d", what, (long long)i, got->ids[i], want->ids[i]);
  if (strcmp(got->text, want->text) != 0) fail_msg("%s: \"%s\", not \"%s\"", what, got->text, want->text);
  assert_int_equal(got->finish, want->finish);
  assert_int_equal(got->timings.n_gen, want->timings.n_gen);
  assert_int_equal(got->timings.n_prompt, want->timings.n_prompt);
  assert_int_equal(want->timings.n_drafted, 0);
  assert_in_range(got->timings.n_accepted, 0, got->timings.n_drafted);
}

void sampling_of(myna_sampling *s, int k, const int32_t *ids) {
  static myna_logit_bias bias[3];
  for (int i = 0; i < 3; i++) bias[i] = (myna_logit_bias){ids[i], 100};
  myna_sampling_default(s);
  if (k < 5) s->bias = bias, s->n_bias = 3;
  s->ignore_eos = true;
  s->seed = (uint64_t)(7 * k);
  s->temperature = k % 2 ? 0.7f : 0;
  if (k == 1) s->mirostat = 2;
  if (k == 2) s->repeat_penalty = 1.1f;
  if (k == 3) s->mirostat = 1;
  if (k == 4) s->dry_multiplier = 0.8f;
  if (k == 5) s->frequency_penalty = 0.3f, s->xtc_probability = 0.3f, s->top_k = 5;
}
