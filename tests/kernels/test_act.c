/* Activation quantizers: the rule written out in double, ties, padding, sums, tiny and non-finite groups. */
#include "test.h"
#include "kernels/quants.h"
#include <float.h>
#include <math.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef struct q8 {
  const int8_t *q;
  const float *d;
  const int16_t *sum;
  uint8_t *row;
} q8;

/* The row is followed by a canary. */
static q8 quantize(myna__act a, const float *x, int64_t n) {
  size_t size = myna__act_bytes(a, n);
  uint8_t *row = aligned_alloc(64, size + 64);
  memset(row, 0xa5, size + 64);
  myna__act_from_f32(a, row, x, n);
  for (int i = 0; i < 64; i++) assert_int_equal(row[size + (size_t)i], 0xa5);
  return (q8){(int8_t *)row, (float *)(void *)(row + myna__act_d_offset(n)),
              (int16_t *)(void *)(row + myna__act_sum_offset(a, n)), row};
}

static const struct {
  myna__act a;
  int group, sum_group;
} formats[] = {{MYNA__ACT_Q8_32, 32, 32}, {MYNA__ACT_Q8_256, 256, 16}};

static void test_layout(void **state) {
  assert_int_equal(myna__act_pad(0), 0);
  assert_int_equal(myna__act_pad(1), 256);
  assert_int_equal(myna__act_pad(256), 256);
  assert_int_equal(myna__act_pad(257), 512);
  for (int64_t n = 1; n < 3000; n += 37) {
    int64_t pad = myna__act_pad(n);
    assert_true((int64_t)myna__act_bytes(MYNA__ACT_F32, n) == pad * 4);
    assert_true((int64_t)myna__act_bytes(MYNA__ACT_BF16, n) == pad * 2);
    for (size_t i = 0; i < MYNA__COUNT(formats); i++) {
      size_t end = myna__act_sum_offset(formats[i].a, n) + (size_t)(pad / formats[i].sum_group) * 2;
      size_t size = myna__act_bytes(formats[i].a, n);
      assert_true(size >= end && size < end + 64 && size % 64 == 0);
      assert_int_equal(myna__act_sum_offset(formats[i].a, n),
                       myna__act_d_offset(n) + (size_t)(pad / formats[i].group) * 4);
    }
  }
}

/* Every group of a row against the rule, whose two divisions and one product are floats. */
static void check_row(size_t f, const float *x, int64_t n) {
  int group = formats[f].group, sum_group = formats[f].sum_group;
  q8 r = quantize(formats[f].a, x, n);
  for (int64_t k = 0; k < myna__act_pad(n); k += group) {
    float amax = 0;
    for (int64_t j = k; j < MYNA__MIN(k + group, n); j++) amax = fmaxf(amax, fabsf(x[j]));
    assert_true(r.d[k / group] == (amax < 0x1p-119f ? 0.0f : amax / 127.0f));
    for (int64_t j = k; j < k + group; j++) {
      double want = j < n && amax >= 0x1p-119f ? x[j] * (127.0 / amax) : 0;
      if (!(fabs(r.q[j] - want) <= 0.5 + 1e-4))
        fail_msg("n %lld, %lld: %d for %g", (long long)n, (long long)j, r.q[j], want);
    }
  }
  for (int64_t k = 0; k < myna__act_pad(n); k += sum_group) {
    int s = 0;
    for (int64_t j = k; j < k + sum_group; j++) s += r.q[j];
    assert_int_equal(r.sum[k / sum_group], s);
  }
  free(r.row);
}

static void test_rule(void **state) {
  test_rng rng = test_rng_new(21);
  const int64_t lengths[] = {1, 31, 32, 33, 172, 255, 256, 257, 1000, 2048};
  for (size_t i = 0; i < MYNA__COUNT(lengths); i++) {
    for (int kind = 0; kind < 6; kind++) {
      int64_t n = lengths[i];
      float *x = calloc((size_t)n, sizeof *x);
      for (int64_t k = 0; k < n; k++) {
        const float v[] = {
            test_normal(&rng),         test_normal(&rng) * 1e30f, test_normal(&rng) * 1e-35f, k % 64 ? 0 : -3.0f, 0,
            FLT_MAX * test_float(&rng)};
        x[k] = v[kind];
      }
      for (size_t f = 0; f < MYNA__COUNT(formats); f++) check_row(f, x, n);
      free(x);
    }
  }
}

/* amax 127 makes the factor 1: values round as they are, ties to even. */
static void test_ties(void **state) {
  const float x[] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.49999997f, -126.5f, 125.5f, 3.0f, -127, 0.50000006f};
  const int want[] = {127, 0, 2, 2, 0, -2, -2, 0, -126, 126, 3, -127, 1};
  for (size_t f = 0; f < MYNA__COUNT(formats); f++) {
    q8 r = quantize(formats[f].a, x, MYNA__COUNT(x));
    assert_true(r.d[0] == 1.0f);
    for (size_t k = 0; k < MYNA__COUNT(x); k++) assert_int_equal(r.q[k], want[k]);
    free(r.row);
  }
}

static void test_not_finite(void **state) {
  test_rng rng = test_rng_new(22);
  enum { N = 600 };
  float x[N];
  const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
  for (size_t b = 0; b < MYNA__COUNT(bad); b++) {
    for (size_t f = 0; f < MYNA__COUNT(formats); f++) {
      int group = formats[f].group, sum_group = formats[f].sum_group, hit = 290;
      for (int k = 0; k < N; k++) x[k] = test_normal(&rng);
      x[hit] = bad[b];
      q8 r = quantize(formats[f].a, x, N);
      for (int g = 0; g < N / group; g++) assert_int_equal(isnan(r.d[g]), g == hit / group);
      for (int k = hit / group * group; k < hit / group * group + group; k++) {
        assert_int_equal(r.q[k], 0);
        assert_int_equal(r.sum[k / sum_group], 0);
      }
      assert_int_not_equal(r.sum[0], 0);
      free(r.row);
    }
  }
}

/* The edge of the tiny rule, and the same bits when subnormals count as zero. */
static void test_tiny(void **state) {
  const float sizes[] = {0x1p-119f, 0x1.fffffep-120f, 0x1p-126f, 0x1p-149f, 0x1p-118f, 1e-37f};
  for (size_t i = 0; i < MYNA__COUNT(sizes); i++) {
    float x[256];
    for (int k = 0; k < 256; k++) x[k] = sizes[i] * (float)(k % 5 - 2) / 2;
    for (size_t f = 0; f < MYNA__COUNT(formats); f++) {
      q8 r = quantize(formats[f].a, x, 256);
      bool zero = sizes[i] < 0x1p-119f;
      assert_int_equal(r.d[0] == 0, zero);
      assert_int_equal(r.q[4], zero ? 0 : 127);
      if (!zero) assert_true(isnormal(r.d[0]));
#if defined(__x86_64__)
      unsigned mode = _mm_getcsr();
      _mm_setcsr(mode | 0x8040); /* FTZ, DAZ */
      q8 z = quantize(formats[f].a, x, 256);
      _mm_setcsr(mode);
      assert_memory_equal(r.row, z.row, 256 + 4);
      free(z.row);
#endif
      free(r.row);
    }
  }
}

static void test_floats(void **state) {
  test_rng rng = test_rng_new(23);
  enum { N = 172 };
  float x[N];
  for (int k = 0; k < N; k++) x[k] = test_normal(&rng);
  q8 r = quantize(MYNA__ACT_F32, x, N);
  const float *y = (const float *)(const void *)r.row;
  assert_memory_equal(y, x, sizeof x);
  for (int k = N; k < 256; k++) assert_true(y[k] == 0);
  free(r.row);
  r = quantize(MYNA__ACT_BF16, x, N);
  const uint16_t *h = (const uint16_t *)(const void *)r.row;
  for (int k = 0; k < 256; k++) assert_int_equal(h[k], k < N ? myna__f32_to_bf16(x[k]) : 0);
  free(r.row);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layout),     cmocka_unit_test(test_rule), cmocka_unit_test(test_ties),
      cmocka_unit_test(test_not_finite), cmocka_unit_test(test_tiny), cmocka_unit_test(test_floats),
  };
  return cmocka_run_group_tests_name("act", tests, NULL, NULL);
}
