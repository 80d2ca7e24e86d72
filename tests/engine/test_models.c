/* test_models.c: every fixture model against its oracle's logits, whatever the steps; plans as text; what a step may cost.
 *
 *   test_engine_models --update-plans   writes tests/fixtures/plans/ anew */
#include "fixture.h"
#include <unistd.h>

/* Longrope chooses its factors by the context: the oracle took the short ones for the short sequences. */
static int64_t context_of(const char *name, int64_t n) {
  return strcmp(name, "phi3-longrope") == 0 && n <= 32 ? 32 : 64;
}

static float *space(int64_t n_tok, const myna__lm *lm) {
  return calloc((size_t)(n_tok * lm->cfg.n_vocab), sizeof(float));
}

static void same_bits(const char *what, const char *name, const float *x, const float *want, int64_t n_tok, int64_t v) {
  for (int64_t i = 0; i < n_tok; i++)
    if (memcmp(x + i * v, want + i * v, (size_t)v * sizeof *x))
      fail_msg("%s: %s: row %lld differs", name, what, (long long)i);
}

/* One shot within the oracle's tolerance; token by token, and cut at every place, the same bits. */
static void check_fixture(const char *name, int k) {
  int64_t n;
  int32_t *tokens = fx_tokens(name, k, &n);
  myna_model *m = fx_open(name);
  fx_lm_options o = {.kv_type = MYNA_F32, .exact = true, .n_ctx = context_of(name, n), .n_tok = 64, .n_seq = 2};
  myna__lm *lm = fx_lm(m, &o);
  int64_t v = lm->cfg.n_vocab;
  float *want = fx_logits(name, k, v), *all = space(n, lm), *out = space(n, lm);
  fx_step(lm, &(fx_part){.seq = 1, .to = n, .tokens = tokens, .out = all}, 1);
  double e = fx_nmse(all, want, n * v);
  if (!(e <= 1e-6)) fail_msg("%s sequence %d: NMSE %g", name, k, e);
  for (int64_t i = 0; i < n; i++)
    fx_step(lm, &(fx_part){.seq = 0, .from = i, .to = i + 1, .tokens = tokens, .out = out}, 1);
  same_bits("token by token", name, out, all, n, v);
  for (int64_t cut = 1; cut < n; cut += k ? 5 : 3) {
    fx_step(lm, &(fx_part){.seq = 0, .to = cut, .tokens = tokens, .out = out}, 1);
    fx_step(lm, &(fx_part){.seq = 0, .from = cut, .to = n, .tokens = tokens, .out = out}, 1);
    same_bits("cut in two", name, out, all, n, v);
  }
  free(tokens);
  free(want);
  free(all);
  free(out);
  fx_lm_free(lm);
  myna_model_close(m);
}

static void test_oracles(void **state) {
  static char names[FX_MAX][48];
  int n = fx_names(names);
  assert_true(n >= 20);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < 3; k++) check_fixture(names[i], k);
}

/* Three sequences of unequal length in random chunks of common steps, without logits in between where nobody asked. */
static void test_mixed_batches(void **state) {
  static char names[FX_MAX][48];
  test_rng r = test_rng_new(1);
  int n_names = fx_names(names);
  for (int i = 0; i < n_names; i++) {
    if (strcmp(names[i], "phi3-longrope") == 0) continue; /* one context for all would choose other factors */
    myna_model *m = fx_open(names[i]);
    fx_lm_options o = {.kv_type = MYNA_F32, .exact = true, .n_ctx = 64, .n_tok = 64, .n_seq = 3, .n_threads = 2};
    myna__lm *lm = fx_lm(m, &o);
    int32_t *tokens[3];
    float *want[3], *out[3];
    int64_t n[3], done[3] = {0}, v = lm->cfg.n_vocab;
    for (int k = 0; k < 3; k++) {
      tokens[k] = fx_tokens(names[i], k, &n[k]);
      want[k] = fx_logits(names[i], k, v);
      out[k] = space(n[k], lm);
    }
    while (done[0] < n[0] || done[1] < n[1] || done[2] < n[2]) {
      fx_part parts[3];
      int used = 0;
      for (int k = 0; k < 3; k++) {
        int64_t want_n = test_int(&r, 12), take = MYNA__MIN(want_n, n[k] - done[k]);
        if (take == 0) continue;
        parts[used++] = (fx_part){.seq = k, .from = done[k], .to = done[k] + take, .tokens = tokens[k], .out = out[k]};
        done[k] += take;
      }
      if (used) fx_step(lm, parts, used);
    }
    for (int k = 0; k < 3; k++) {
      double e = fx_nmse(out[k], want[k], n[k] * v);
      if (!(e <= 1e-6)) fail_msg("%s sequence %d in a batch: NMSE %g", names[i], k, e);
      free(tokens[k]);
      free(want[k]);
      free(out[k]);
    }
    fx_lm_free(lm);
    myna_model_close(m);
  }
}

/* ---- decision 7: the same bits alone, in a batch of 7, cut anywhere, with any number of threads ---- */

enum { LONG = 90, BATCH = 7 };

typedef struct seven {
  const char *name;
  myna_model *m;
  myna_dtype kv, kv_v;
  int32_t tokens[BATCH][LONG]; /* sequence 3 is the one looked at */
  float *want, *out;
} seven;

/* Sequence 3 in chunks that end at `cuts` (ended by LONG), beside `others` more sequences of other lengths. */
static void run_seven(seven *s, int n_threads, bool others, const int *cuts, const char *what) {
  fx_lm_options o = {
      .kv_type = s->kv, .kv_v = s->kv_v, .n_ctx = 128, .n_tok = 256, .n_seq = BATCH, .n_threads = n_threads};
  myna__lm *lm = fx_lm(s->m, &o);
  int64_t at = 0, v = lm->cfg.n_vocab;
  memset(s->out, 0, (size_t)(LONG * v) * sizeof *s->out);
  for (int i = 0; at < LONG; at = cuts[i++]) {
    fx_part parts[BATCH];
    int n = 0;
    for (int k = 0; k < BATCH; k++) {
      int64_t len = k == 3 ? cuts[i] - at : MYNA__MIN(1 + (k * 5 + i) % 11, LONG - 11 * i);
      if (k != 3 && (!others || len <= 0)) continue;
      int64_t from = k == 3 ? at : 11 * i;
      parts[n++] =
          (fx_part){.seq = k, .from = from, .to = from + len, .tokens = s->tokens[k], .out = k == 3 ? s->out : NULL};
    }
    fx_step(lm, parts, n);
  }
  if (n_threads == 0) memcpy(s->want, s->out, (size_t)(LONG * v) * sizeof *s->out);
  char text[128];
  snprintf(text, sizeof text, "%s, KV %s/%s, %d threads", what, myna_dtype_name(s->kv), myna_dtype_name(s->kv_v),
           n_threads);
  same_bits(text, s->name, s->out, s->want, LONG, v);
  fx_lm_free(lm);
}

static void check_seven(const char *name, myna_dtype kv, myna_dtype kv_v) {
  static const int once[] = {LONG}, twice[] = {37, LONG}, page[] = {63, 64, 65, LONG},
                   many[] = {1, 2, 9, 33, 34, 66, 89, LONG};
  static const int all[] = {1, 2, 3, 4, 5, 6, 7, 8, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, LONG};
  test_rng r = {3};
  seven s = {.name = name, .m = fx_open(name), .kv = kv, .kv_v = kv_v};
  myna_model_info info;
  myna_model_get_info(s.m, &info);
  for (int k = 0; k < BATCH; k++)
    for (int i = 0; i < LONG; i++) s.tokens[k][i] = (int32_t)test_int(&r, info.n_vocab);
  s.want = malloc((size_t)(LONG * info.n_vocab) * sizeof(float));
  s.out = malloc((size_t)(LONG * info.n_vocab) * sizeof(float));
  run_seven(&s, 0, false, once, "alone");
  for (int t = 1; t <= 3; t++) {
    run_seven(&s, t, false, once, "alone");
    run_seven(&s, t, true, once, "in a batch of 7");
    run_seven(&s, t, true, many, "in a batch of 7, in many pieces");
  }
  run_seven(&s, 2, false, twice, "in two");
  run_seven(&s, 1, true, page, "cut at a page");
  run_seven(&s, 3, false, all, "in single tokens");
  free(s.want);
  free(s.out);
  myna_model_close(s.m);
}

static void test_decision_7(void **state) {
  static const char *const names[] = {"llama",          "llama-16-bf16", "llama-16-f16", "llama-256-q8_0",
                                      "llama-256-q4_0", "llama-256-k",   "llama-256-i",  "llama-hd80",
                                      "gemma3",         "phi3",          "mixtral",      "qwen3moe"};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    check_seven(names[i], MYNA_F32, MYNA_F32);
    check_seven(names[i], MYNA_BF16, MYNA_BF16);
    if (i % 3 == 0) check_seven(names[i], MYNA_F16, MYNA_F16);
    if (i % 3 == 1) check_seven(names[i], MYNA_Q8_0, MYNA_Q8_0);
    if (i % 3 == 2) check_seven(names[i], MYNA_Q4_0, MYNA_Q4_0);
    if (i % 4 == 3) check_seven(names[i], MYNA_Q8_0, MYNA_Q4_0);
    if (i % 4 == 0) check_seven(names[i], MYNA_BF16, MYNA_Q8_0);
  }
}

/* The types that the promise is made for are in the fixtures. */
static void test_types_present(void **state) {
  myna_model *m = fx_open("llama-256-k");
  bool q4 = false, q6 = false;
  for (int64_t i = 0; i < m->n_bound; i++) {
    if (!m->bound[i].present || m->bound[i].n_dims < 2) continue;
    q4 |= m->bound[i].w.type == MYNA_Q4_K;
    q6 |= m->bound[i].w.type == MYNA_Q6_K;
  }
  assert_true(q4 && q6);
  myna_model_close(m);
}

/* ---- what a step may cost ---- */

static void test_no_allocation(void **state) {
  static const char *const names[] = {"llama", "llama-256-k", "gemma3", "qwen3moe"};
  static const int64_t sizes[] = {1, 3, 33, 512};
  static int32_t tokens[1024];
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    myna_model *m = fx_open(names[i]);
    fx_lm_options o = {.kv_type = MYNA_BF16, .n_ctx = 1024, .n_tok = 512, .n_seq = 1, .n_threads = 2};
    myna__lm *lm = fx_lm(m, &o);
    int64_t at = 0;
    for (size_t k = 0; k < MYNA__COUNT(sizes); k++) {
      myna__guard_begin();
      fx_step(lm, &(fx_part){.seq = 0, .from = at, .to = at + sizes[k], .tokens = tokens}, 1);
      int64_t n = myna__guard_end();
      if (n) fail_msg("%s: a step of %lld tokens allocates %lld times", names[i], (long long)sizes[k], (long long)n);
      at += sizes[k];
    }
    fx_lm_free(lm);
    myna_model_close(m);
  }
}

/* Barriers at one token: the dense families stay within 6 per layer. */
static void test_regions(void **state) {
  static const char *const names[] = {"llama", "llama-256-k", "llama-256-q8_0", "phi3", "qwen2"};
  int32_t tokens[4] = {1, 2, 3, 4};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    myna_model *m = fx_open(names[i]);
    fx_lm_options o = {.kv_type = MYNA_BF16, .n_ctx = 64, .n_tok = 64, .n_seq = 1, .n_threads = 2};
    myna__lm *lm = fx_lm(m, &o);
    float *out = space(4, lm);
    for (int64_t p = 0; p < 4; p++)
      fx_step(lm, &(fx_part){.seq = 0, .from = p, .to = p + 1, .tokens = tokens, .out = out}, 1);
    double per_layer = (double)myna_plan_regions(lm->plan) / (double)lm->cfg.n_layer;
    print_message("%s: %.1f regions per layer\n", names[i], per_layer);
    assert_true(per_layer <= 6);
    free(out);
    fx_lm_free(lm);
    myna_model_close(m);
  }
}

/* ---- golden plans ---- */

static bool update_plans;

static void test_plans(void **state) {
  static const char *const names[] = {"llama",  "llama-bias", "llama-rope3",   "llama-256-k", "qwen2",   "qwen3",
                                      "gemma3", "phi3",       "phi3-longrope", "mixtral",     "qwen3moe"};
  int differ = 0;
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    static char text[1 << 18], want[1 << 18], path[512];
    myna_model *m = fx_open(names[i]);
    myna_err err = {0};
    int64_t n = myna_model_print_plan(m, text, sizeof text, &err);
    if (n < 0 || n > (int64_t)sizeof text) fail_msg("%s: %s", names[i], err.msg);
    myna_model_close(m);
    snprintf(path, sizeof path, "%s/tests/fixtures/plans/%s.txt", MYNA_ROOT, names[i]);
    FILE *f = fopen(path, update_plans ? "wb" : "rb");
    if (!f) fail_msg("cannot open %s", path);
    if (update_plans) {
      fwrite(text, 1, (size_t)n, f);
    } else if (fread(want, 1, sizeof want, f) != (size_t)n || memcmp(want, text, (size_t)n)) {
      print_message("%s: the plan is not that of %s\n%.*s", names[i], path, (int)n, text);
      differ++;
    }
    fclose(f);
  }
  if (differ) fail_msg("%d plans differ: see whether they got better, then run this test with --update-plans", differ);
}

int main(int argc, char **argv) {
  update_plans = argc > 1 && strcmp(argv[1], "--update-plans") == 0;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_oracles),       cmocka_unit_test(test_mixed_batches), cmocka_unit_test(test_decision_7),
      cmocka_unit_test(test_types_present), cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_regions),
      cmocka_unit_test(test_plans),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
