/* Ops on arrays longer than the chunks that they work in, against plain loops over small integers: exact in every type. */
#include "test.h"
#include "graph/graph.h"
#include <math.h>

#define D(...) (int64_t[]){__VA_ARGS__}, (int)MYNA__COUNT(((int64_t[]){__VA_ARGS__}))
enum { MAX = 1 << 18 };

static myna_ctx *c;
static test_rng rng;
static test_failing watched; /* never fails: it watches what lies behind every block */
static const myna_dtype types[] = {MYNA_F32, MYNA_F64, MYNA_I32, MYNA_I8, MYNA_U8, MYNA_BF16, MYNA_I64};

static int make_ctx(void **state) {
  (void)state;
  rng = test_rng_new(31);
  test_fail_at(&watched, 0);
  return myna_ctx_new(&c, &(myna_ctx_options){.n_threads = 3}, NULL);
}

static int free_ctx(void **state) {
  (void)state;
  myna_ctx_free(c);
  test_fail_off();
  return watched.live == 0 ? 0 : -1;
}

/* [lo, hi) integers as a leaf of type t; `keep` gets them. */
static myna_array *ints(myna_dtype t, const int64_t *dims, int n_dims, int64_t lo, int64_t hi, int32_t *keep) {
  int64_t n = myna__shape_size(dims, n_dims);
  myna_err err = {0};
  assert_true(n <= MAX);
  for (int64_t i = 0; i < n; i++) keep[i] = (int32_t)(lo + test_int(&rng, hi - lo));
  myna_array *a = myna_astype(c, myna_from(c, MYNA_I32, dims, n_dims, keep), t);
  ASSERT_OK_ERR(myna_eval(c, &a, 1, &err), &err);
  return a;
}

static const double *values(myna_array *a) {
  myna_err err = {0};
  if (!a) myna_ctx_error(c, &err);
  const double *p = a ? myna_data(myna_astype(c, a, MYNA_F64), &err) : NULL;
  if (!p) fail_msg("%s", err.msg);
  return p;
}

static int32_t x[MAX], y[MAX], index_of[MAX];

/* ---- reductions ---- */

typedef struct best {
  double sum, max, min, prod;
  int64_t argmax, argmin;
} best;

static void check_reduced(myna_dtype t, const int64_t *dims, int n_dims, unsigned mask) {
  static best want[MAX];
  int64_t n = myna__shape_size(dims, n_dims), n_out = 1, n_in = 1;
  int axes[8], n_axes = 0;
  for (int d = 0; d < n_dims; d++)
    if (mask >> d & 1)
      axes[n_axes++] = d, n_in *= dims[d];
    else
      n_out *= dims[d];
  bool is_signed = t != MYNA_U8;
  myna_array *a = ints(t, dims, n_dims, is_signed ? -3 : 0, 4, x);
  for (int64_t i = 0; i < n_out; i++) want[i] = (best){0, -1e9, 1e9, 1, -1, -1};
  for (int64_t i = 0; i < n; i++) {
    int64_t rest = i, at = 0, step = 1, inner = 0, inner_step = 1;
    for (int d = n_dims - 1; d >= 0; d--) {
      int64_t k = rest % dims[d];
      rest /= dims[d];
      if (mask >> d & 1)
        inner += k * inner_step, inner_step *= dims[d];
      else
        at += k * step, step *= dims[d];
    }
    best *w = &want[at];
    double v = x[i];
    w->sum += v;
    if (v > w->max) w->max = v, w->argmax = inner;
    if (v < w->min) w->min = v, w->argmin = inner;
  }
  for (int keep = 0; keep < 2; keep++) {
    myna_array *s = myna_sum(c, a, axes, n_axes, keep);
    assert_int_equal(myna_ndim(s), keep ? n_dims : n_dims - n_axes);
    const double *sum = values(s), *max = values(myna_max(c, a, axes, n_axes, keep)),
                 *min = values(myna_min(c, a, axes, n_axes, keep));
    const double *mean = t == MYNA_F64 ? values(myna_mean(c, a, axes, n_axes, keep)) : NULL;
    for (int64_t i = 0; i < n_out; i++) {
      double rounded = t == MYNA_BF16 ? (double)myna__bf16_to_f32(myna__f32_to_bf16((float)want[i].sum)) : want[i].sum;
      if (sum[i] != rounded || max[i] != want[i].max || min[i] != want[i].min)
        fail_msg("%s, axes %x: output %lld", myna_dtype_name(t), mask, (long long)i);
      if (mean && fabs(mean[i] - want[i].sum / (double)n_in) > 1e-12) fail_msg("mean %lld", (long long)i);
    }
    if (n_axes != 1) continue;
    const double *hi = values(myna_argmax(c, a, axes[0], keep)), *lo = values(myna_argmin(c, a, axes[0], keep));
    for (int64_t i = 0; i < n_out; i++)
      if (hi[i] != (double)want[i].argmax || lo[i] != (double)want[i].argmin)
        fail_msg("%s, axis %d: place %lld", myna_dtype_name(t), axes[0], (long long)i);
  }
}

static void test_reduce(void **state) {
  (void)state;
  for (size_t t = 0; t < MYNA__COUNT(types); t++) {
    myna_scope_begin(c);
    check_reduced(types[t], D(5, 1300), 1);
    check_reduced(types[t], D(5, 1300), 2);
    check_reduced(types[t], D(1300), 1);
    for (unsigned mask = 1; mask < 8; mask++) check_reduced(types[t], D(3, 700, 4), mask);
    myna_scope_end(c);
  }
  myna_scope_begin(c);
  for (unsigned mask = 1; mask < 8; mask++) check_reduced(MYNA_F32, D(2, 90, 1100), mask); /* in parallel */
  for (unsigned mask = 1; mask < 16; mask++) check_reduced(MYNA_I32, D(7, 1, 130, 33), mask);
  check_reduced(MYNA_F32, D(200000), 1);
  check_reduced(MYNA_I64, D(65537, 2), 1);
  myna_scope_end(c);
}

static void test_prod(void **state) {
  (void)state;
  static const myna_dtype wide[] = {MYNA_F32, MYNA_F64, MYNA_I64};
  for (size_t t = 0; t < MYNA__COUNT(wide); t++) {
    myna_array *a = ints(wide[t], D(1100, 3), 0, 2, x);
    double want[3] = {1, 1, 1};
    for (int i = 0; i < 3300; i++) {
      int v = i % 37 == 0 && i / 3 < 60 ? 2 : x[i] ? 1 : -1;
      x[i] = v;
      want[i % 3] *= v;
    }
    a = myna_astype(c, myna_from(c, MYNA_I32, D(1100, 3), x), wide[t]);
    const double *got = values(myna_prod(c, a, (int[]){0}, 1, false));
    for (int i = 0; i < 3; i++) assert_true(got[i] == want[i]);
    assert_true(values(myna_prod(c, a, NULL, 0, false))[0] == want[0] * want[1] * want[2]);
    got = values(myna_prod(c, myna_contiguous(c, myna_transpose(c, a, NULL)), (int[]){1}, 1, true));
    for (int i = 0; i < 3; i++) assert_true(got[i] == want[i]);
  }
}

static void test_cumsum(void **state) {
  (void)state;
  for (size_t t = 0; t < MYNA__COUNT(types); t++) {
    if (types[t] == MYNA_I8 || types[t] == MYNA_U8 || types[t] == MYNA_BF16) continue;
    for (int axis = 0; axis < 2; axis++) {
      int64_t dims[2] = {axis ? 3 : 1201, axis ? 1201 : 3};
      myna_array *a = ints(types[t], dims, 2, -5, 6, x);
      const double *got = values(myna_cumsum(c, a, axis));
      for (int line = 0; line < 3; line++) {
        double sum = 0;
        for (int k = 0; k < 1201; k++) {
          int at = axis ? line * 1201 + k : k * 3 + line;
          sum += x[at];
          if (got[at] != sum) fail_msg("%s axis %d: element %d", myna_dtype_name(types[t]), axis, at);
        }
      }
    }
  }
  /* its gradient sums from the end */
  myna_array *a = ints(MYNA_F32, D(1201), 0, 5, x), *w = ints(MYNA_F32, D(1201), -4, 5, y), *g;
  assert_int_equal(myna_grad(c, myna_sum(c, myna_mul(c, w, myna_cumsum(c, a, 0)), NULL, 0, false), &a, 1, &g), 0);
  const double *got = values(g);
  double sum = 0;
  for (int k = 1200; k >= 0; k--) {
    sum += y[k];
    assert_true(got[k] == sum);
  }
}

/* ---- taking and writing rows ---- */

static void check_rows(myna_dtype t, int64_t outer, int64_t n, int64_t inner, int64_t count, bool add) {
  static double want[MAX];
  myna_array *a = ints(t, D(outer, n, inner), 0, 5, x);
  myna_array *i = ints(MYNA_I32, D(count), -n - 1, n + 1, index_of);
  for (int64_t k = 0; k < count; k++)
    if (index_of[k] < 0) index_of[k] += (int32_t)n; /* what is still outside is ignored, or zeros */
  const double *got = values(myna_take(c, a, i, 1));
  for (int64_t o = 0; o < outer; o++)
    for (int64_t k = 0; k < count; k++)
      for (int64_t e = 0; e < inner; e++) {
        bool in = index_of[k] >= 0 && index_of[k] < n;
        double v = in ? x[(o * n + index_of[k]) * inner + e] : 0;
        if (got[(o * count + k) * inner + e] != v)
          fail_msg("take of %s: %lld %lld %lld", myna_dtype_name(t), (long long)o, (long long)k, (long long)e);
      }
  myna_array *u = ints(t, D(outer, count, inner), 0, 5, y);
  got = values(add ? myna_scatter_add(c, a, i, u, 1) : myna_scatter(c, a, i, u, 1));
  for (int64_t k = 0; k < outer * n * inner; k++) want[k] = x[k];
  for (int64_t o = 0; o < outer; o++)
    for (int64_t k = 0; k < count; k++)
      for (int64_t e = 0; e < inner && index_of[k] >= 0 && index_of[k] < n; e++) {
        double *w = &want[(o * n + index_of[k]) * inner + e], v = y[(o * count + k) * inner + e];
        *w = add ? *w + v : v;
      }
  for (int64_t k = 0; k < outer * n * inner; k++)
    if (got[k] != want[k])
      fail_msg("scatter of %s: element %lld is %g, not %g", myna_dtype_name(t), (long long)k, got[k], want[k]);
}

static void test_rows(void **state) {
  (void)state;
  for (size_t t = 0; t < MYNA__COUNT(types); t++)
    for (int add = 0; add < 2; add++) {
      myna_scope_begin(c);
      check_rows(types[t], 2, 5, 1300, 7, add); /* rows of several chunks */
      check_rows(types[t], 1, 40, 3, 600, false);
      myna_scope_end(c);
    }
  check_rows(MYNA_F32, 3, 300, 70, 900, true); /* in parallel */
}

/* ---- sorting ---- */

static int by_value(const void *a, const void *b) {
  int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
  if (x[i] != x[j]) return x[i] < x[j] ? -1 : 1;
  return (i > j) - (i < j);
}

static int by_value_down(const void *a, const void *b) {
  int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
  if (x[i] != x[j]) return x[i] > x[j] ? -1 : 1;
  return (i > j) - (i < j);
}

static void test_sorting(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 2, 3, 5, 31, 64, 1000, 5000};
  for (size_t t = 0; t < MYNA__COUNT(types); t++)
    for (size_t s = 0; s < MYNA__COUNT(sizes); s++) {
      int64_t rows = sizes[s] < 100 ? 9 : 3, n = sizes[s], ks[] = {1, 2, (n + 1) / 2, n};
      myna_scope_begin(c);
      myna_array *a = ints(types[t], D(rows, n), 0, 1 + n / 2 % 100, x), *v, *i;
      const double *got = values(myna_argsort(c, a, 1)), *sorted = values(myna_sort(c, a, -1));
      for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < n; k++) index_of[k] = (int32_t)(r * n + k);
        qsort(index_of, (size_t)n, sizeof *index_of, by_value);
        for (int64_t k = 0; k < n; k++)
          if (got[r * n + k] != (double)(index_of[k] - r * n) || sorted[r * n + k] != (double)x[index_of[k]])
            fail_msg("argsort of %lld: row %lld place %lld", (long long)n, (long long)r, (long long)k);
      }
      for (size_t q = 0; q < MYNA__COUNT(ks); q++) {
        if (ks[q] > n) continue;
        assert_int_equal(myna_topk(c, a, ks[q], &v, &i), 0);
        const double *best_v = values(v), *best_i = values(i);
        for (int64_t r = 0; r < rows; r++) {
          for (int64_t k = 0; k < n; k++) index_of[k] = (int32_t)(r * n + k);
          qsort(index_of, (size_t)n, sizeof *index_of, by_value_down);
          for (int64_t k = 0; k < ks[q]; k++)
            if (best_i[r * ks[q] + k] != (double)(index_of[k] - r * n) ||
                best_v[r * ks[q] + k] != (double)x[index_of[k]])
              fail_msg("topk %lld of %lld: row %lld place %lld", (long long)ks[q], (long long)n, (long long)r,
                       (long long)k);
        }
      }
      myna_scope_end(c);
    }
}

/* NaN comes last, in either direction; infinities have their places. */
static void test_nan(void **state) {
  (void)state;
  float f[6] = {NAN, 1, INFINITY, NAN, -INFINITY, 0};
  myna_array *a = myna_from(c, MYNA_F32, D(6), f), *v, *i;
  const double *up = values(myna_argsort(c, a, 0));
  static const double want_up[] = {4, 5, 1, 2, 0, 3}, want_down[] = {2, 1, 5, 4, 0, 3};
  for (int k = 0; k < 6; k++) assert_true(up[k] == want_up[k]);
  for (int64_t k = 1; k <= 6; k++) {
    assert_int_equal(myna_topk(c, a, k, &v, &i), 0);
    const double *down = values(i);
    for (int64_t j = 0; j < k; j++) assert_true(down[j] == want_down[j]);
  }
  assert_true(values(myna_argmax(c, a, 0, false))[0] == values(myna_argmin(c, a, 0, false))[0]); /* the first NaN */
  assert_true(isnan(values(myna_max(c, a, NULL, 0, false))[0]) && isnan(values(myna_min(c, a, NULL, 0, false))[0]));
  assert_true(isnan(values(myna_softmax(c, a, 0))[1]));
}

/* ---- rows of softmax, longer than a chunk, from exact powers of two ---- */

static void test_softmax(void **state) {
  (void)state;
  for (int64_t n = 1; n <= 5000; n = n * 3 + 1) {
    myna_array *a = ints(MYNA_F64, D(2, n), -3, 4, x);
    const double *got = values(myna_softmax(c, a, 1)), *logs = values(myna_log_softmax(c, a, 1)),
                 *lse = values(myna_logsumexp(c, a, (int[]){1}, 1, false));
    for (int r = 0; r < 2; r++) {
      double sum = 0;
      for (int64_t i = 0; i < n; i++) sum += exp(x[r * n + i]);
      assert_true(fabs(lse[r] - log(sum)) < 1e-12 * (1 + fabs(log(sum))));
      for (int64_t i = 0; i < n; i++) {
        double p = exp(x[r * n + i]) / sum;
        if (fabs(got[r * n + i] - p) > 1e-12 * p || fabs(logs[r * n + i] - log(p)) > 1e-12 * (1 + fabs(log(p))))
          fail_msg("softmax of %lld: element %lld", (long long)n, (long long)i);
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reduce),  cmocka_unit_test(test_prod),    cmocka_unit_test(test_cumsum),
      cmocka_unit_test(test_rows),    cmocka_unit_test(test_sorting), cmocka_unit_test(test_nan),
      cmocka_unit_test(test_softmax),
  };
  return cmocka_run_group_tests(tests, make_ctx, free_ctx);
}
