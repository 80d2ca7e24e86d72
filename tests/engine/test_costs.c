/* test_costs.c: the time of steps: the shape, and what is learned of a machine that is not like it. */
#include "engine/costs.h"
#include "test.h"
#include <math.h>

static void test_shape(void **state) {
  for (int k = 0; k < 4; k++) {
    myna__costs c = {.fresh = k * 0.3}, dense = {0};
    assert_float_equal((float)myna__costs_of(&c, 1), 1, 1e-6f);
    assert_float_equal((float)myna__costs_of(&c, 0), 0, 0);
    for (int64_t i = 1; i < 300; i++) {
      double more = myna__costs_of(&c, i + 1) - myna__costs_of(&c, i);
      assert_true(more > 0 && more < 1);
      assert_true(myna__costs_of(&c, i) >= myna__costs_of(&dense, i));
    }
  }
}

/* A machine whose rows cost `each` of a step. */
static double machine(int64_t rows, double each) { return 0.02 * (1 + each * (double)(rows - 1)); }

static void teach(myna__costs *c, int n, double each, double slow) {
  static const int rows[] = {1, 4, 8, 1, 2, 16};
  for (int i = 0; i < n; i++) {
    int64_t r = rows[i % 6];
    myna__costs_add(c, r, slow * machine(r, each) * (i % 2 ? 1.02 : 0.98));
  }
}

static void is_near(const myna__costs *c, double each, double within) {
  static const int rows[] = {1, 2, 4, 8, 16};
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    double want = machine(rows[i], each) / machine(1, each), got = myna__costs_of(c, rows[i]);
    if (fabs(got / want - 1) > within) fail_msg("%d rows: %.3f, not %.3f", rows[i], got, want);
  }
}

static void test_learns(void **state) {
  for (int k = 1; k < 8; k++) {
    double each = 0.06 * k;
    myna__costs c = {0};
    assert_true(!myna__costs_known(&c));
    teach(&c, 400, each, 1);
    assert_true(myna__costs_known(&c));
    is_near(&c, each, 0.13);
    assert_true(fabs(myna__costs_seconds(&c, 1) / 0.02 - 1) < 0.06);
    /* Between what was measured, and beyond it: of the same kind. */
    assert_true(myna__costs_of(&c, 6) > myna__costs_of(&c, 4) && myna__costs_of(&c, 6) < myna__costs_of(&c, 8));
    assert_true(myna__costs_of(&c, 12) > myna__costs_of(&c, 8) && myna__costs_of(&c, 12) < myna__costs_of(&c, 16));
    assert_true(myna__costs_of(&c, 24) > myna__costs_of(&c, 16));
    /* The machine becomes three times as slow, for all: known soon, and nothing seems dearer than it is. */
    teach(&c, 12, each, 3);
    is_near(&c, each, 0.25);
    teach(&c, 100, each, 3);
    is_near(&c, each, 0.13);
    assert_true(fabs(myna__costs_seconds(&c, 1) / 0.06 - 1) < 0.08);
  }
}

static void test_interrupted(void **state) {
  myna__costs c = {0};
  teach(&c, 60, 0.1, 1);
  double before = myna__costs_of(&c, 4), seconds = myna__costs_seconds(&c, 1);
  myna__costs_add(&c, 4, 100);
  assert_true(fabs(myna__costs_of(&c, 4) / before - 1) < 0.08);
  assert_true(fabs(myna__costs_seconds(&c, 1) / seconds - 1) < 0.1);
  /* What is not measured again fades towards the shape. */
  myna__costs d = {0}, none = {0};
  teach(&d, 300, 0.5, 1);
  double dear = myna__costs_of(&d, 16);
  for (int i = 0; i < 300; i++) myna__costs_add(&d, 1, 0.02);
  assert_true(myna__costs_of(&d, 16) < dear * 0.75 && myna__costs_of(&d, 16) > myna__costs_of(&none, 16));
}

static void test_ignored(void **state) {
  myna__costs c = {.fixed = true}, none = {0};
  teach(&c, 60, 0.5, 1);
  assert_true(!myna__costs_known(&c));
  assert_true(myna__costs_of(&c, 8) == myna__costs_of(&none, 8));
  c.fixed = false;
  myna__costs_add(&c, 0, 1);
  myna__costs_add(&c, 65, 1);
  myna__costs_add(&c, 1, 0);
  myna__costs_add(&c, 1, NAN);
  assert_true(!myna__costs_known(&c));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shape),
      cmocka_unit_test(test_learns),
      cmocka_unit_test(test_interrupted),
      cmocka_unit_test(test_ignored),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
