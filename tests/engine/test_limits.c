/* Options at their limits and one step beyond: sampling, requests, engines and their memory; shapes as letters; what else
 * promises 0. */
#include "fixture.h"
#include "engine/kv.h"
#include "engine/sampler_state.h"
#include <math.h>

/* ---- sampling ---- */

static int try_sampling(const myna_sampling *s, int64_t n_vocab, int64_t n_ctx, myna_err *err) {
  myna__sampler *p = (myna__sampler *)err;
  int rc = myna__sampler_new(&p, s, NULL, n_vocab, n_ctx, err);
  if ((rc == 0) != (p != NULL)) fail_msg("returned %d with %p", rc, (void *)p);
  myna__sampler_free(p);
  return rc;
}

static void test_sampling(void **state) {
  (void)state;
  myna_err err;
  myna_sampling s;
  const char *breakers[] = {"a", NULL};
  myna_logit_bias bias[2] = {{0, 1}, {9, -INFINITY}};
#define CASE(rc, ...)                                                                  \
  do {                                                                                 \
    myna_sampling_default(&s);                                                         \
    err = (myna_err){0};                                                               \
    __VA_ARGS__;                                                                       \
    int rc_ = try_sampling(&s, 10, 64, &err);                                          \
    if (rc_ != (rc)) fail_msg("%s: %d, not %d: %s", #__VA_ARGS__, rc_, (rc), err.msg); \
  } while (0)
#define ENDS(field, lo, hi, below, above) \
  do {                                    \
    CASE(0, s.field = lo);                \
    CASE(0, s.field = hi);                \
    CASE(MYNA_E_ARG, s.field = below);    \
    CASE(MYNA_E_ARG, s.field = above);    \
  } while (0)
  ENDS(temperature, -3, 3e38f, -INFINITY, INFINITY);
  ENDS(dynatemp_range, 0, 1, -0.001f, INFINITY);
  ENDS(dynatemp_exponent, -1, 1, -INFINITY, NAN);
  ENDS(top_p, 0, 1, -0.001f, 1.001f);
  ENDS(min_p, 0, 2, -0.001f, NAN);
  ENDS(typical_p, 0, 1, -0.001f, 1.001f);
  ENDS(top_n_sigma, -1, 100, -INFINITY, INFINITY);
  ENDS(xtc_probability, 0, 1, -0.001f, 1.001f);
  ENDS(xtc_threshold, 0, 1, -0.001f, NAN);
  ENDS(repeat_penalty, 0.001f, 1e30f, 0, INFINITY);
  ENDS(repeat_penalty, 1, 2, -1, 1e-39f); /* what divides by it would overflow */
  ENDS(frequency_penalty, -2, 2, -INFINITY, NAN);
  ENDS(presence_penalty, -2, 2, -INFINITY, NAN);
  ENDS(dry_multiplier, 0, 2, -0.001f, NAN);
  ENDS(dry_base, 0, 4, -0.001f, NAN);
  ENDS(mirostat_tau, 0, 10, -0.001f, NAN);
  ENDS(mirostat_eta, 0, 1, -0.001f, NAN);
  ENDS(mirostat, 0, 2, -1, 3);
  CASE(0, s.top_k = -5);
  CASE(0, s.top_k = INT32_MAX);
  CASE(0, s.min_keep = INT32_MAX);
  CASE(MYNA_E_ARG, s.min_keep = -1);
  CASE(0, s.repeat_last_n = -1);
  CASE(MYNA_E_ARG, s.repeat_last_n = -2);
  CASE(0, s.dry_penalty_last_n = -1);
  CASE(MYNA_E_ARG, s.dry_penalty_last_n = -2);
  CASE(0, s.dry_allowed_length = 0);
  CASE(MYNA_E_ARG, s.dry_allowed_length = -1);
  CASE(0, s.order = "");
  CASE(0, s.order = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"); /* 31 */
  CASE(MYNA_E_ARG, s.order = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk");
  CASE(MYNA_E_ARG, s.order = "K");
  CASE(0, (s.bias = bias, s.n_bias = 2));
  CASE(MYNA_E_ARG, (s.bias = bias, s.n_bias = -1));
  CASE(MYNA_E_ARG, (bias[0].id = -1, s.bias = bias, s.n_bias = 2));
  CASE(MYNA_E_ARG, (bias[0].id = 10, s.bias = bias, s.n_bias = 2));
  CASE(MYNA_E_ARG, (bias[0] = (myna_logit_bias){0, INFINITY}, s.bias = bias, s.n_bias = 1));
  CASE(0, (s.dry_breakers = breakers, s.n_dry_breakers = 1));
  CASE(0, s.n_dry_breakers = 1000);
  CASE(MYNA_E_ARG, s.n_dry_breakers = 1001);
  CASE(MYNA_E_ARG, s.n_dry_breakers = -1);
  CASE(MYNA_E_ARG, (s.dry_breakers = breakers, s.n_dry_breakers = 2));
  err = (myna_err){0};
  assert_int_equal(try_sampling(NULL, 1, 1, &err), 0);
  assert_int_equal(try_sampling(&(myna_sampling){0}, 10, 64, &err), 0);
  ASSERT_FAILS(try_sampling(NULL, 0, 64, &err), MYNA_E_ARG, &err, "n_vocab is 0");
  err = (myna_err){0};
  ASSERT_FAILS(try_sampling(NULL, 1ll << 31, 64, &err), MYNA_E_ARG, &err, "n_vocab is 2147483648");
  err = (myna_err){0};
  ASSERT_FAILS(try_sampling(NULL, 10, 0, &err), MYNA_E_ARG, &err, "n_ctx is 0");
  err = (myna_err){0};
  ASSERT_FAILS(try_sampling(NULL, 10, 1ll << 31, &err), MYNA_E_ARG, &err, "n_ctx is 2147483648");
#undef CASE
#undef ENDS
}

/* The best of any length, in any order of what comes in, against sorting; blocks are skipped only when nothing is in them. */
static void test_best_logits(void **state) {
  (void)state;
  enum { N = 700 };
  test_rng r = test_rng_new(3);
  for (int round = 0; round < 600; round++) {
    float x[N];
    bool taken[N] = {false};
    myna__cand got[N];
    int64_t n = 1 + test_int(&r, N), k = 1 + test_int(&r, round % 2 ? 5 : n), have = 0;
    for (int64_t i = 0; i < n; i++)
      x[i] = round % 3 == 0 ? (float)i : round % 3 == 1 ? -(float)i / 4 : (float)test_int(&r, 50) - 25;
    for (int i = 0; i < 3; i++) x[test_int(&r, n)] = i ? (float)test_int(&r, 2000) : NAN;
    have = myna__top_logits(x, n, k, got);
    for (int64_t i = 0; i < have; i++) {
      int64_t best = -1;
      for (int64_t j = 0; j < n; j++)
        if (!taken[j] && !isnan(x[j]) && (best < 0 || x[j] > x[best])) best = j;
      assert_true(best >= 0);
      if (got[i].id != best || got[i].logit != x[best])
        fail_msg("round %d: place %lld of %lld in %lld is %d, not %lld", round, (long long)i, (long long)k,
                 (long long)n, got[i].id, (long long)best);
      taken[best] = true;
    }
    int64_t numbers = 0;
    for (int64_t j = 0; j < n; j++) numbers += !isnan(x[j]);
    assert_int_equal(have, MYNA__MIN(k, numbers));
  }
  myna__cand none;
  assert_int_equal(myna__top_logits((float[]){1}, 1, 0, &none), 0);
  assert_int_equal(myna__top_logits((float[]){1}, 1, -1, &none), 0);
}

/* Log-probabilities of small and large requests sum to one and keep their order; what is not there says so. */
static void test_logprobs(void **state) {
  (void)state;
  enum { N = 100 };
  float x[N], p[N + 1], lp = 7;
  int32_t ids[N + 1];
  double sum = 0;
  for (int i = 0; i < N; i++) x[i] = (float)((i * 37) % N) / 9;
  myna__logprobs(x, N, 5, &lp, 64, ids, p);
  for (int i = 0; i < N; i++) sum += exp((double)x[i]);
  assert_true(fabs((double)lp - ((double)x[5] - log(sum))) < 1e-5);
  for (int i = 0; i < 64; i++) {
    assert_true(fabs((double)p[i] - ((double)x[ids[i]] - log(sum))) < 1e-5);
    assert_int_equal((ids[i] * 37) % N, N - 1 - i);
  }
  ids[64] = 77;
  myna__logprobs(x, N, 5, &lp, 65, ids, p); /* no more than 64 are told */
  assert_int_equal(ids[64], 77);
  lp = 7;
  myna__logprobs(x, N, -1, &lp, 0, NULL, NULL);
  myna__logprobs(x, N, N, &lp, 0, NULL, NULL);
  assert_true(lp == 7);
  myna__logprobs(x, N, N - 1, NULL, 1, ids, p);
  myna__logprobs(x, 3, 0, &lp, 5, ids, p);
  assert_true(ids[3] == -1 && ids[4] == -1 && p[3] == -INFINITY && ids[2] >= 0);
}

/* ---- requests ---- */

static void test_requests(void **state) {
  (void)state;
  myna_model *m = fx_open("llama");
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 64, .n_seq = 1});
  static fx_result result;
  int32_t prompt[64] = {1, 2, 3}, edge[2] = {0, (int32_t)(m->cfg.n_vocab - 1)}, bad = -1;
  int64_t id;
  myna_err err = {0};
  myna_request r = fx_greedy(prompt, 64, 1); /* the whole context */
  fx_run(e, &r, &result);
  assert_int_equal(result.n, 1);
  r = fx_greedy(edge, 2, 2);
  r.forced = edge;
  r.n_forced = 2;
  r.n_probs = 20;
  r.n_keep = 63;
  fx_run(e, &r, &result);
  assert_true(result.n == 2 && result.ids[0] == edge[0] && result.ids[1] == edge[1]);
  assert_int_equal(result.finish, MYNA_FINISH_LENGTH);
  r.max_tokens = -1; /* until the context is full */
  fx_run(e, &r, &result);
  assert_int_equal(result.n, 63);
  assert_int_equal(result.finish, MYNA_FINISH_CONTEXT);
#define REFUSED(part, change)                                            \
  do {                                                                   \
    r = fx_greedy(prompt, 3, 1);                                         \
    err = (myna_err){0};                                                 \
    change;                                                              \
    ASSERT_FAILS(myna_submit(e, &r, &id, &err), MYNA_E_ARG, &err, part); \
  } while (0)
  REFUSED("n_probs is -1", r.n_probs = -1);
  REFUSED("n_stop is -1", r.n_stop = -1);
  REFUSED("n_stop is 2, stop is NULL", r.n_stop = 2);
  REFUSED("n_forced is 1, forced is NULL", r.n_forced = 1);
  REFUSED("forced token 0 is -1", (r.forced = &bad, r.n_forced = 1));
  REFUSED("prompt token 0 is -1", r.tokens = &bad);
  r = fx_greedy(prompt, 3, 1);
  assert_int_equal(myna_submit(e, &r, &id, &err), 0);
  assert_true(id > 0);
  assert_int_equal(myna_cancel(e, id + 1), MYNA_E_NOTFOUND);
  myna_event ev;
  do assert_int_equal(myna_next_event(e, 60000, &ev), 1);
  while (ev.kind != MYNA_EVENT_DONE);
  assert_int_equal(ev.id, id);
  assert_int_equal(myna_next_event(e, 1, &ev), 0);
  myna_engine_free(e);
  myna_model_close(m);
}

#undef REFUSED

/* ---- engines ---- */

static void test_engines(void **state) {
  (void)state;
  myna_model *m = fx_open("llama");
  myna_memory a, b;
  myna_err err = {0};
#define REFUSED(code, part, ...)                                                                        \
  do {                                                                                                  \
    err = (myna_err){0};                                                                                \
    ASSERT_FAILS(myna_memory_plan(m, &(myna_engine_options){__VA_ARGS__}, &a, &err), code, &err, part); \
  } while (0)
  REFUSED(MYNA_E_ARG, "n_ctx is 2147483648", .n_ctx = 1ll << 31);
  REFUSED(MYNA_E_ARG, "n_ctx is -1", .n_ctx = -1);
  REFUSED(MYNA_E_ARG, "n_batch is 1048577", .n_batch = (1 << 20) + 1);
  REFUSED(MYNA_E_ARG, "n_seq is 65537", .n_seq = (1 << 16) + 1);
  REFUSED(MYNA_E_UNSUPPORTED, "no cache layout for keys of type Q4_K", .kv_type = MYNA_Q4_K, .kv_type_set = true);
  REFUSED(MYNA_E_UNSUPPORTED, "no cache layout for values of type Q5_0", .kv_type_v = MYNA_Q5_0, .kv_type_v_set = true);
  REFUSED(MYNA_E_ARG, "kv_tokens 64 holds less than one context of 65", .n_ctx = 65, .kv_tokens = 64);
  /* no options, and options that are all zero, are the same; zeros stand for these */
  assert_int_equal(myna_memory_plan(m, NULL, &a, &err), 0);
  assert_int_equal(myna_memory_plan(m, &(myna_engine_options){0}, &b, &err), 0);
  assert_memory_equal(&a, &b, sizeof a);
  myna_engine_options same = {.n_seq = 8, .n_batch = 512, .n_ctx = MYNA__MIN(m->cfg.n_ctx_train, 4096)};
  assert_int_equal(myna_memory_plan(m, &same, &b, &err), 0);
  assert_memory_equal(&a, &b, sizeof a);
  same.n_batch = 3; /* but every sequence decodes in every step */
  assert_int_equal(myna_memory_plan(m, &same, &a, &err), 0);
  same.n_batch = 8;
  assert_int_equal(myna_memory_plan(m, &same, &b, &err), 0);
  assert_memory_equal(&a, &b, sizeof a);
  same.kv_type_set = true; /* exact keeps F32 whatever is asked */
  same.kv_type = MYNA_BF16;
  same.exact = true;
  assert_int_equal(myna_memory_plan(m, &same, &b, &err), 0);
  assert_int_equal(a.kv, b.kv);
  assert_true(a.limit == 0 && a.compute > 0 && a.tokenizer > 0 && a.other > 0);
  /* what is told of a running engine */
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 130, .n_seq = 3, .n_batch = 16});
  myna_engine_stats st;
  myna_engine_get_stats(e, &st);
  assert_true(st.n_threads == 1 && st.n_ctx == 130 && st.n_seq == 3 && st.n_batch == 16);
  assert_int_equal(st.pages_total, 3 * 3 + 1);
  assert_string_equal(st.kv_type, "F32");
  assert_string_equal(st.cpu_level, myna_cpu_level(NULL));
  assert_true(st.n_steps == 0 && st.n_running == 0 && st.n_queued == 0 && st.pages_used == 0);
  myna_engine_free(e);
  myna_model_close(m);
  /* weights of 16 bits get an F16 cache */
  m = fx_open("llama-16-f16");
  e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 64, .n_seq = 1});
  myna_engine_get_stats(e, &st);
  assert_string_equal(st.kv_type, "F16");
  myna_engine_free(e);
  /* a header cannot run */
  char path[512];
  myna_model *header;
  test_path(path, "tests/fixtures/models/llama.gguf");
  err = (myna_err){0};
  assert_int_equal(myna_model_open(&header, path, &(myna_model_options){.header_only = true}, &err), 0);
  ASSERT_FAILS(myna_memory_plan(header, NULL, &a, &err), MYNA_E_UNSUPPORTED, &err, "opened for its header only");
  err = (myna_err){0};
  ASSERT_FAILS((int)myna_model_print_plan(header, NULL, 0, &err), MYNA_E_UNSUPPORTED, &err, "header only");
  myna_model_close(header);
  myna_model_close(m);
}

/* ---- shapes as letters ---- */

static void test_shapes(void **state) {
  (void)state;
  const myna__config g = {.n_embd = 3,
                          .n_vocab = 5,
                          .n_head = 7,
                          .n_head_kv = 11,
                          .dim_k = 13,
                          .dim_v = 17,
                          .n_ff = 19,
                          .n_expert = 23,
                          .n_ff_exp = 29,
                          .n_rot = 62};
  static const struct {
    const char *text;
    int n;
    int64_t dims[4];
  } rows[] = {{"E", 1, {3}},         {"V,E", 2, {5, 3}},
              {"H*D,E", 2, {91, 3}}, {"H*D+G*D+G*C,E", 2, {91 + 143 + 187, 3}},
              {"2*F,E", 2, {38, 3}}, {"X,M,E", 3, {23, 29, 3}},
              {"R", 1, {31}},        {"12,1,2,34", 4, {12, 1, 2, 34}},
              {"1+2*3", 1, {7}}};
  int64_t dims[4];
  int n;
  myna_err err = {0};
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    assert_int_equal(myna__model_shape(&g, rows[i].text, dims, &n, &err), 0);
    assert_int_equal(n, rows[i].n);
    for (int d = 0; d < n; d++) assert_int_equal(dims[d], rows[i].dims[d]);
  }
  ASSERT_FAILS(myna__model_shape(&g, "E,Q", dims, &n, &err), MYNA_E_INTERNAL, &err, "shape E,Q: unknown letter Q");
  err = (myna_err){0};
  ASSERT_FAILS(myna__model_shape(&g, "1,2,3,4,5", dims, &n, &err), MYNA_E_INTERNAL, &err, "more than 4 dimensions");
}

/* ---- pages: a success is 0 ---- */

static void test_pages(void **state) {
  (void)state;
  int32_t table[8], t[130] = {0};
  myna__kv *kv;
  myna_err err = {0};
  assert_int_equal(
      myna__kv_new(&kv, &(myna__kv_options){.n_pages = 5, .n_seq = 2, .table_len = 4, .table = table}, &err), 0);
  assert_int_equal(myna__kv_reserve(kv, 0, 0, 130, &err), 0);
  assert_int_equal(myna__kv_reserve(kv, 0, 0, 130, &err), 0); /* is already */
  assert_int_equal(myna__kv_reserve(kv, 0, 130, 130, &err), 0);
  assert_int_equal(myna__kv_fork(kv, 0, 1, 128, &err), 0);
  assert_true(table[4] == table[0] && table[5] == table[1] && table[6] == -1);
  myna__kv_stats s;
  myna__kv_get_stats(kv, &s);
  assert_true(s.total == 5 && s.used == 3 && s.shared == 2 && s.cached == 0 && s.free == 2);
  ASSERT_FAILS(myna__kv_fork(kv, 0, 1, 64, &err), MYNA_E_STATE, &err, "sequence 1 is not empty");
  myna__kv_release(kv, 1, t, 128, true);
  myna__kv_release(kv, 0, t, 130, true);
  myna__kv_get_stats(kv, &s);
  assert_true(s.used == 0 && s.cached == 3 && s.free == 2);
  myna__kv_free(kv);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sampling), cmocka_unit_test(test_best_logits), cmocka_unit_test(test_logprobs),
      cmocka_unit_test(test_requests), cmocka_unit_test(test_engines),     cmocka_unit_test(test_shapes),
      cmocka_unit_test(test_pages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
