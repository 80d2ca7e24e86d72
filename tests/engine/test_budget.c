/* test_budget.c: prompt tokens of a step: both wishes where the machine allows it, the same miss where not. */
#include "engine/budget.h"
#include "engine/job.h"
#include "fixture.h"
#include <math.h>

/* A machine that needs `read` seconds for its weights, or `each` for every token if that is longer. */
typedef struct machine {
  double read, each;
} machine;

static double seconds(const machine *m, int64_t n) { return MYNA__MAX(m->read, m->each * (double)n); }

static void teach(const machine *m, myna__costs *c, myna__budget *b) {
  for (int i = 0; i < 300; i++) myna__costs_add(c, 1 + i % 8, seconds(m, 1 + i % 8));
  for (int64_t n = 16; n <= 512; n *= 2)
    for (int i = 0; i < 20; i++) myna__budget_add(b, n, seconds(m, n));
}

static void test_both_wishes(void **state) {
  (void)state;
  for (int fast = 16; fast <= 256; fast *= 2) { /* tokens that cost nothing beside the weights */
    machine m = {0.01, 0.01 / fast};
    myna__costs c = {0};
    myna__budget b = {0};
    teach(&m, &c, &b);
    for (int64_t n_decode = 1; n_decode <= 8; n_decode++) {
      int64_t n = myna__budget_tokens(&b, &c, n_decode, 512 - n_decode);
      assert_int_equal(n % 16, 0);
      double wait = seconds(&m, n + n_decode) / seconds(&m, n_decode), alone = seconds(&m, 512) / 512,
             slow = seconds(&m, n + n_decode) / (double)n / alone;
      if (wait > 2.7 || slow > 1.7)
        fail_msg("%d, %lld decode: %lld tokens, waits %.2f, slower %.2f", fast, (long long)n_decode, (long long)n, wait,
                 slow);
      if (fast >= 64 && (wait > 2.2 || slow > 1.55)) fail_msg("%d: waits %.2f, slower %.2f", fast, wait, slow);
    }
  }
}

/* Arithmetic as dear as the weights: the streams wait for no more than the smallest chunks. */
static void test_neither(void **state) {
  (void)state;
  machine m = {0.01, 0.01};
  myna__costs c = {0};
  myna__budget b = {0};
  teach(&m, &c, &b);
  assert_int_equal(myna__budget_tokens(&b, &c, 1, 511), 16);
  assert_int_equal(myna__budget_tokens(&b, &c, 0, 512), 512); /* nobody waits */
  assert_int_equal(myna__budget_tokens(&b, &c, 3, 7), 7);
  assert_int_equal(myna__budget_tokens(&b, &c, 1, 0), 0);
}

static void test_unknown(void **state) {
  (void)state;
  myna__costs c = {0};
  myna__budget b = {0};
  for (int64_t n_decode = 1; n_decode < 100; n_decode++)
    for (int64_t most = 1; most < 3000; most += 37) {
      int64_t n = myna__budget_tokens(&b, &c, n_decode, most);
      assert_true(n >= MYNA__MIN(most, 16) && n <= most && (n % 16 == 0 || n == most));
    }
  for (int64_t n = 1; n < 4096; n++)
    assert_true(myna__budget_seconds(&b, &c, n + 1) >= myna__budget_seconds(&b, &c, n));
}

/* Steps that were interrupted, and a machine that becomes slower. */
static void test_follows(void **state) {
  (void)state;
  machine m = {0.01, 0.0002}, slow = {0.03, 0.0006};
  myna__costs c = {0};
  myna__budget b = {0};
  teach(&m, &c, &b);
  double before = myna__budget_seconds(&b, &c, 512);
  assert_true(fabs(before / seconds(&m, 512) - 1) < 0.01);
  myna__budget_add(&b, 512, 100);
  assert_true(myna__budget_seconds(&b, &c, 512) < 1.2 * before);
  myna__budget_add(&b, 512, 0);
  myna__budget_add(&b, 512, NAN);
  myna__budget_add(&b, 0, 1);
  myna__budget_add(&b, 512, -1);
  teach(&slow, &c, &b);
  assert_true(fabs(myna__budget_seconds(&b, &c, 512) / seconds(&slow, 512) - 1) < 0.05);
}

/* Attention: what late positions cost is found, whatever was thought before, and nothing silly where nothing was measured. */
static void test_late(void **state) {
  (void)state;
  for (int k = 0; k < 4; k++) {
    double late = 0.0001 * k, prior = 0.0001;
    myna__budget b = {0};
    assert_true(fabs(myna__budget_late(&b, prior) / prior - 1) < 1e-6);
    for (int i = 0; i < 600; i++) {
      double at = 512 * (i % 16), t = 512 * 0.001 * (1 + late * at) * (i % 3 ? 1.03 : 0.97);
      myna__budget_add_late(&b, 512, at, t);
      myna__budget_add(&b, 512, t);
    }
    double got = myna__budget_late(&b, prior);
    if (fabs(got - late) > 0.35 * MYNA__MAX(late, prior)) fail_msg("%g, not %g", got, late);
    for (int i = 0; i < 10; i++) { /* no measurements */
      myna__budget_add_late(&b, 512, NAN, 1);
      myna__budget_add_late(&b, 512, 100, NAN);
      myna__budget_add_late(&b, 16, 100, 1);
    }
    assert_true(myna__budget_late(&b, prior) == got);
    myna__budget_add_late(&b, 512, 4000, 1000); /* interrupted */
    assert_true(fabs(myna__budget_late(&b, prior) - got) < 0.5 * prior);
  }
  myna__budget same = {0}; /* one position only says nothing of others */
  for (int i = 0; i < 300; i++) {
    myna__budget_add_late(&same, 512, 256, 0.5);
    myna__budget_add(&same, 512, 0.5);
  }
  double got = myna__budget_late(&same, 0.0001);
  assert_true(got > 0.00005 && got < 0.0002);
}

/* While a stream decodes, a long prompt is read in pieces: tokens come in between, and both answers are as alone. */
static void test_engine(void **state) {
  (void)state;
  enum { LONG = 1500 };
  static int32_t text[LONG];
  static fx_result alone[2], both[2];
  myna_model *m = fx_open("llama");
  for (int i = 0; i < LONG; i++) text[i] = (int32_t)((7 + i * 5 + i / 11) % m->cfg.n_vocab);
  const myna_engine_options o = {.n_threads = 1, .n_ctx = 2048, .n_seq = 2, .n_batch = 512};
  myna_engine *e = fx_engine(m, &o);
  myna_request r[2] = {fx_greedy(text + 3, 9, 400), fx_greedy(text, LONG, 5)};
  for (int i = 0; i < 2; i++) {
    r[i].no_prefix = true;
    fx_run(e, &r[i], &alone[i]);
  }
  myna_engine_stats before, after;
  myna_engine_get_stats(e, &before);
  fx_run_all(e, r, 2, both);
  myna_engine_get_stats(e, &after);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(both[i].n, alone[i].n);
    assert_memory_equal(both[i].ids, alone[i].ids, (size_t)alone[i].n * sizeof(int32_t));
  }
  assert_int_equal(after.n_prompt_tokens - before.n_prompt_tokens, LONG + 9);
  myna_engine_free(e);
  myna_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_wishes), cmocka_unit_test(test_neither),
                                     cmocka_unit_test(test_unknown),     cmocka_unit_test(test_follows),
                                     cmocka_unit_test(test_late),        cmocka_unit_test(test_engine)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
