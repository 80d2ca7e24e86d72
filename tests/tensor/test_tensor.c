/* Strided views: sizes and strides, what counts as contiguous or as rows, walks and copies against index arithmetic. */
#include "test.h"
#include "tensor/tensor.h"

enum { MEMORY = 4096 };
static uint8_t memory[MEMORY];

static int fill(void **state) {
  (void)state;
  for (int i = 0; i < MEMORY; i++) memory[i] = (uint8_t)(i * 7 + i / 256);
  return 0;
}

static myna__tensor make(myna_dtype t, int n_dims, const int64_t *shape, const int64_t *stride) {
  myna__tensor x = {.data = memory + MEMORY / 2, .type = t, .n_dims = n_dims};
  if (n_dims) memcpy(x.shape, shape, sizeof *shape * (size_t)n_dims);
  if (n_dims) memcpy(x.stride, stride, sizeof *stride * (size_t)n_dims);
  return x;
}
#define T(type, shape, ...)                                              \
  make(MYNA_##type, (int)MYNA__COUNT(((int64_t[]){__VA_ARGS__})), shape, \
       (int64_t[]){__VA_ARGS__}) /* the strides say how many dimensions */
#define S(...) \
  (int64_t[]) { __VA_ARGS__ }

static void test_sizes(void **state) {
  (void)state;
  int64_t stride[4];
  assert_int_equal(myna__shape_size(NULL, 0), 1);
  assert_int_equal(myna__shape_size(S(3), 1), 3);
  assert_int_equal(myna__shape_size(S(3, 5, 2), 3), 30);
  assert_int_equal(myna__shape_size(S(3, 0, 2), 3), 0);
  assert_int_equal(myna__shape_size(S(1ll << 31, 1ll << 31), 2), 1ll << 62);
  assert_int_equal(myna__shape_size(S(1ll << 32, 1ll << 32), 2), -1);
  assert_int_equal(myna__shape_size(S(3, INT64_MAX / 2), 2), -1);
  myna__shape_strides(S(3, 5, 2, 7), 4, 4, stride);
  assert_memory_equal(stride, S(280, 56, 28, 4), sizeof stride);
  myna__shape_strides(S(9), 1, 8, stride);
  assert_int_equal(stride[0], 8);
  myna__tensor t = T(F32, S(3, 5), 20, 4);
  assert_int_equal(myna__tensor_size(&t), 15);
}

static void test_contiguous(void **state) {
  (void)state;
  const struct {
    myna__tensor t;
    bool is;
  } rows[] = {
      {make(MYNA_F32, 0, NULL, NULL), true},
      {T(F32, S(5), 4), true},
      {T(F32, S(5), 8), false},
      {T(F64, S(5), 8), true},
      {T(F32, S(5), -4), false},
      {T(F32, S(1), 77), true},
      {T(F32, S(3, 5), 20, 4), true},
      {T(F32, S(3, 5), 24, 4), false},
      {T(F32, S(3, 5), 20, 8), false},
      {T(F32, S(1, 5), 99, 4), true},
      {T(F32, S(3, 1), 4, 99), true},
      {T(F32, S(3, 1, 2), 8, 0, 4), true},
      {T(F32, S(3, 2, 2), 8, 8, 4), false},
      {T(U8, S(2, 3, 4), 12, 4, 1), true},
      {T(F32, S(3, 5), 0, 4), false},
      {T(F32, S(2, 3, 4), 48, 16, 4), true},
      {T(F32, S(2, 3, 4), 16, 32, 4), false},
  };
  for (size_t i = 0; i < MYNA__COUNT(rows); i++)
    if (myna__tensor_contiguous(&rows[i].t) != rows[i].is) fail_msg("row %zu", i);
}

static void test_rows(void **state) {
  (void)state;
  const struct {
    myna__tensor t;
    bool is;
    int64_t rows, n, stride;
  } rows[] = {
      {make(MYNA_F32, 0, NULL, NULL), true, 1, 1, 4},
      {T(F32, S(5), 4), true, 1, 5, 20},
      {T(F32, S(5), 8), false, 0, 0, 0},
      {T(F32, S(1), 8), true, 1, 1, 4},
      {T(F32, S(3, 5), 20, 4), true, 3, 5, 20},
      {T(F32, S(3, 5), 64, 4), true, 3, 5, 64},
      {T(F32, S(3, 5), 64, 8), false, 0, 0, 0},
      {T(F32, S(1, 5), 64, 4), true, 1, 5, 20}, /* one row: its stride is nobody's */
      {T(F32, S(2, 3, 5), 192, 64, 4), true, 6, 5, 64},
      {T(F32, S(2, 3, 5), 200, 64, 4), false, 0, 0, 0},
      {T(F32, S(2, 1, 5), 200, 64, 4), true, 2, 5, 200},
      {T(F32, S(2, 3, 1), 192, 64, 64), true, 6, 1, 64},
      {T(F32, S(4, 2, 3, 5), 384, 192, 64, 4), true, 24, 5, 64},
      {T(F32, S(4, 2, 3, 5), 400, 192, 64, 4), false, 0, 0, 0},
      {T(F32, S(4, 1, 3, 5), 192, 1, 64, 4), true, 12, 5, 64},
      {T(F32, S(3, 5), 0, 4), true, 3, 5, 0},
      {T(F32, S(3, 5), -20, 4), true, 3, 5, -20},
      {T(F64, S(3, 5), 40, 8), true, 3, 5, 40},
      {T(F32, S(0, 5), 20, 4), true, 0, 5, 20},
  };
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    int64_t r, n, stride;
    bool is = myna__tensor_rows(&rows[i].t, &r, &n, &stride);
    if (is != rows[i].is) fail_msg("row %zu", i);
    if (is && (r != rows[i].rows || n != rows[i].n || stride != rows[i].stride))
      fail_msg("row %zu: %lld rows of %lld, %lld apart", i, (long long)r, (long long)n, (long long)stride);
  }
}

/* Element (index k in row-major order) of t. */
static const uint8_t *element(const myna__tensor *t, int64_t k) {
  const uint8_t *p = t->data;
  for (int d = t->n_dims - 1; d >= 0; d--) {
    p += k % t->shape[d] * t->stride[d];
    k /= t->shape[d];
  }
  return p;
}

static void random_tensor(test_rng *r, myna__tensor *t, const myna__tensor *like) {
  static const myna_dtype types[] = {MYNA_U8, MYNA_F16, MYNA_F32, MYNA_F64};
  *t = (myna__tensor){.data = memory + MEMORY / 2, .type = types[test_int(r, 4)], .n_dims = (int)test_int(r, 5)};
  if (like) t->n_dims = like->n_dims;
  int64_t bytes = myna_dtype_bytes(t->type);
  bool plain = test_int(r, 4) == 0;
  for (int d = 0; d < t->n_dims; d++) {
    t->shape[d] = like ? like->shape[d] : test_int(r, 12) ? 1 + test_int(r, 4) : 0;
    t->stride[d] = (test_int(r, 17) - 8) * (test_int(r, 2) ? bytes : 5);
  }
  if (t->n_dims && test_int(r, 2)) t->stride[t->n_dims - 1] = bytes;
  if (plain) myna__shape_strides(t->shape, t->n_dims, bytes, t->stride);
}

static void test_copy(void **state) {
  (void)state;
  test_rng r = test_rng_new(11);
  for (int round = 0; round < 3000; round++) {
    myna__tensor t;
    uint8_t got[256 * 8 + 16];
    random_tensor(&r, &t, NULL);
    int64_t n = myna__tensor_size(&t), bytes = myna_dtype_bytes(t.type);
    memset(got, 0xAA, sizeof got);
    myna__tensor_copy(got, &t);
    for (int64_t k = 0; k < n; k++)
      if (memcmp(got + k * bytes, element(&t, k), (size_t)bytes) != 0)
        fail_msg("round %d, element %lld", round, (long long)k);
    for (int64_t i = n * bytes; i < n * bytes + 16; i++) assert_int_equal(got[i], 0xAA);
  }
}

typedef struct seen {
  const myna__tensor *const *t;
  int n_t;
  int64_t at; /* elements walked */
} seen;

static void look(void *arg, const myna__walk *w) {
  seen *s = arg;
  for (int64_t i = 0; i < w->n; i++, s->at++)
    for (int k = 0; k < s->n_t; k++) assert_ptr_equal(w->ptr[k] + i * w->step[k], element(s->t[k], s->at));
}

static void test_walk(void **state) {
  (void)state;
  test_rng r = test_rng_new(12);
  for (int round = 0; round < 2000; round++) {
    myna__tensor t[4];
    int n_t = 1 + (int)test_int(&r, 4);
    for (int k = 0; k < n_t; k++) random_tensor(&r, &t[k], k ? &t[0] : NULL);
    seen s = {(const myna__tensor *[]){&t[0], &t[1], &t[2], &t[3]}, n_t, 0};
    myna__tensor_walk(s.t, n_t, look, &s);
    assert_int_equal(s.at, myna__tensor_size(&t[0]));
  }
}

static void test_device(void **state) {
  (void)state;
  const myna__device *d = myna__device_cpu();
  int64_t before = myna__mem_in_use();
  assert_string_equal(d->name, "cpu");
  void *p = d->alloc(d, 100);
  assert_non_null(p);
  assert_int_equal(myna__mem_in_use(), before + 100);
  assert_int_equal(d->copy(d, p, memory, 100), 0);
  assert_memory_equal(p, memory, 100);
  d->free(d, p, 100);
  assert_int_equal(myna__mem_in_use(), before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes), cmocka_unit_test(test_contiguous), cmocka_unit_test(test_rows),
      cmocka_unit_test(test_copy),  cmocka_unit_test(test_walk),       cmocka_unit_test(test_device),
  };
  return cmocka_run_group_tests(tests, fill, NULL);
}
