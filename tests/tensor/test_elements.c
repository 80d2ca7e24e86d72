/* Storage types read and written as computing types, against conversions written out here; the loop over strided arrays
 * of one shape against index arithmetic, alone and over a pool. */
#include "test.h"
#include "tensor/elements.h"
#include <math.h>

static const myna_dtype types[] = {MYNA_F32, MYNA_F16, MYNA_BF16, MYNA_F64, MYNA_I8,  MYNA_I16, MYNA_I32,
                                   MYNA_I64, MYNA_U8,  MYNA_U16,  MYNA_U32, MYNA_U64, MYNA_BOOL};
enum { N_TYPES = (int)MYNA__COUNT(types), N_MAX = 1200 };

static bool is_float(myna_dtype t) { return t == MYNA_F32 || t == MYNA_F16 || t == MYNA_BF16 || t == MYNA_F64; }

/* ---- one element, written out ---- */

typedef struct number {
  double f;
  int64_t i; /* of integers: all bits */
} number;

static number from_int(int64_t i) { return (number){(double)i, i}; }

static number read_one(myna_dtype t, const uint8_t *p) {
  union {
    float f;
    double d;
    uint16_t h;
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
  } v;
  memcpy(&v, p, (size_t)myna_dtype_bytes(t));
  switch (t) {
  case MYNA_F32: return (number){(double)v.f, 0};
  case MYNA_F64: return (number){v.d, 0};
  case MYNA_F16: return (number){(double)myna__f16_to_f32(v.h), 0};
  case MYNA_BF16: return (number){(double)myna__bf16_to_f32(v.h), 0};
  case MYNA_I8: return from_int(v.i8);
  case MYNA_I16: return from_int(v.i16);
  case MYNA_I32: return from_int(v.i32);
  case MYNA_I64: return from_int(v.i64);
  case MYNA_U8: return from_int(v.u8);
  case MYNA_U16: return from_int(v.u16);
  case MYNA_U32: return from_int(v.u32);
  case MYNA_U64: return (number){(double)v.u64, v.i64};
  default: return from_int(v.u8 != 0);
  }
}

/* Towards zero, into [lo, hi], NaN to 0. */
static int64_t cut(double v, double lo, double hi) {
  if (isnan(v)) return 0;
  return v < lo ? (int64_t)lo : v > hi ? (int64_t)hi : (int64_t)v;
}
static const double I64_LO = -0x1p63, I64_HI = 0x1p63 - 1024; /* the largest double below 2^63 */

static void expect_load(myna__class k, void *y, int64_t i, myna_dtype t, const uint8_t *p) {
  number v = read_one(t, p);
  switch (k) {
  case MYNA__CLASS_F32: ((float *)y)[i] = is_float(t) || t == MYNA_U64 ? (float)v.f : (float)v.i; break;
  case MYNA__CLASS_F64: ((double *)y)[i] = v.f; break;
  case MYNA__CLASS_I64: ((int64_t *)y)[i] = is_float(t) ? cut(v.f, I64_LO, I64_HI) : v.i; break;
  case MYNA__CLASS_BOOL: ((uint8_t *)y)[i] = v.f != 0; break;
  }
}

static int64_t from_double(myna_dtype t, double v) {
  switch (t) {
  case MYNA_I8: return cut(v, -128, 127);
  case MYNA_I16: return cut(v, -32768, 32767);
  case MYNA_I32: return cut(v, -0x1p31, 0x1p31 - 1);
  case MYNA_I64: return cut(v, I64_LO, I64_HI);
  case MYNA_U8: return cut(v, 0, 255);
  case MYNA_U16: return cut(v, 0, 65535);
  case MYNA_U32: return cut(v, 0, 0x1p32 - 1);
  case MYNA_U64: return v >= 0x1p64 ? -1 : v > 0 ? (int64_t)(uint64_t)v : 0;
  default: return v != 0;
  }
}

static void expect_store(uint8_t *p, myna_dtype t, myna__class k, const void *x, int64_t n) {
  double f = k == MYNA__CLASS_F32   ? (double)((const float *)x)[n]
             : k == MYNA__CLASS_F64 ? ((const double *)x)[n]
             : k == MYNA__CLASS_I64 ? (double)((const int64_t *)x)[n]
                                    : ((const uint8_t *)x)[n] != 0;
  int64_t i = k == MYNA__CLASS_I64 ? ((const int64_t *)x)[n] : from_double(t, f);
  float single = (float)f;
  uint16_t half = t == MYNA_F16 ? myna__f32_to_f16(single) : myna__f32_to_bf16(single);
  if (t == MYNA_BOOL) i = k == MYNA__CLASS_I64 ? i != 0 : f != 0;
  if (t == MYNA_F32)
    memcpy(p, &single, 4);
  else if (t == MYNA_F64)
    memcpy(p, &f, 8);
  else if (is_float(t))
    memcpy(p, &half, 2);
  else /* low bytes; the tests run on little-endian machines, as the engine does */
    memcpy(p, &i, (size_t)myna_dtype_bytes(t));
}

/* ---- numbers that matter ---- */

static double special(test_rng *r) {
  static const double ends[] = {0,           -0.0,   0.5,        -0.5,   1,      -1,      126,        127,
                                128,         -128,   -129,       254.9,  255,    256,     32767,      32768,
                                -32768,      -32769, 65535,      65536,  0x1p24, 0x1p31,  0x1p31 - 1, -0x1p31,
                                -0x1p31 - 1, 0x1p32, 0x1p32 - 1, 0x1p53, 0x1p63, -0x1p63, 0x1p64,     0x1p63 - 1024,
                                1e300,       -1e300, 1e-300,     65504,  65520};
  int64_t k = test_int(r, (int64_t)MYNA__COUNT(ends) + 12);
  if (k < (int64_t)MYNA__COUNT(ends)) return ends[k];
  if (k == (int64_t)MYNA__COUNT(ends)) return (double)NAN;
  if (k == (int64_t)MYNA__COUNT(ends) + 1) return test_int(r, 2) ? (double)INFINITY : -(double)INFINITY;
  return (double)test_float(r) * exp2((double)test_int(r, 70) - 5);
}

/* Bits of an element of type t: special values or any bits; a bool is any byte. */
static void random_element(test_rng *r, myna_dtype t, uint8_t *p) {
  uint64_t bits = test_u64(r);
  double v = special(r);
  if (is_float(t) || test_int(r, 2))
    expect_store(p, t, MYNA__CLASS_F64, &v, 0);
  else
    memcpy(p, &bits, (size_t)myna_dtype_bytes(t));
}

static size_t class_size(myna__class k) { return k == MYNA__CLASS_F32 ? 4 : k == MYNA__CLASS_BOOL ? 1 : 8; }

static bool same(myna__class k, const void *a, const void *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) { /* any NaN is as good as another */
    size_t at = (size_t)i * class_size(k);
    if (k == MYNA__CLASS_F32 && isnan(((const float *)a)[i]) && isnan(((const float *)b)[i])) continue;
    if (k == MYNA__CLASS_F64 && isnan(((const double *)a)[i]) && isnan(((const double *)b)[i])) continue;
    if (k == MYNA__CLASS_BOOL && !((const uint8_t *)a)[i] == !((const uint8_t *)b)[i]) continue; /* 0 or not */
    if (memcmp((const uint8_t *)a + at, (const uint8_t *)b + at, class_size(k)) != 0) return false;
  }
  return true;
}

static void test_load(void **state) {
  (void)state;
  static uint8_t memory[2 * N_MAX * 24 + 64];
  static double got[N_MAX + 1], want[N_MAX + 1];
  static const int64_t sizes[] = {0, 1, 2, 3, 5, 16, 100, 513};
  test_rng r = test_rng_new(1);
  uint8_t *middle = memory + N_MAX * 24;
  for (int ti = 0; ti < N_TYPES; ti++) {
    myna_dtype t = types[ti];
    int64_t bytes = myna_dtype_bytes(t), steps[] = {bytes, 0, bytes + 1, 3 * bytes, -bytes, -bytes - 3};
    for (int k = 0; k < 4; k++)
      for (size_t s = 0; s < MYNA__COUNT(steps); s++)
        for (size_t z = 0; z < MYNA__COUNT(sizes); z++) {
          int64_t n = sizes[z];
          for (int64_t i = 0; i < (n ? n : 1); i++) random_element(&r, t, middle + 1 + i * steps[s]);
          memset(got, 0xAA, sizeof got);
          memset(want, 0xAA, sizeof want);
          myna__load((myna__class)k, got, middle + 1, steps[s], t, n);
          for (int64_t i = 0; i < n; i++) expect_load((myna__class)k, want, i, t, middle + 1 + i * steps[s]);
          if (!same((myna__class)k, got, want, n) ||
              memcmp((uint8_t *)got + (size_t)n * class_size((myna__class)k),
                     (uint8_t *)want + (size_t)n * class_size((myna__class)k), 8) != 0)
            fail_msg("%s as class %d, %lld elements %lld bytes apart", myna_dtype_name(t), k, (long long)n,
                     (long long)steps[s]);
        }
  }
}

static void test_store(void **state) {
  (void)state;
  static uint8_t got[2 * N_MAX * 24 + 64], want[sizeof got];
  static const int64_t sizes[] = {0, 1, 2, 7, 64, 513};
  test_rng r = test_rng_new(2);
  for (int ti = 0; ti < N_TYPES; ti++) {
    myna_dtype t = types[ti];
    int64_t bytes = myna_dtype_bytes(t), steps[] = {bytes, bytes + 1, 3 * bytes, -bytes};
    for (int k = 0; k < 4; k++)
      for (size_t s = 0; s < MYNA__COUNT(steps); s++)
        for (size_t z = 0; z < MYNA__COUNT(sizes); z++) {
          double x[N_MAX];
          int64_t n = sizes[z], at = N_MAX * 24 + 1;
          for (int64_t i = 0; i < n; i++) {
            double v = special(&r);
            if (k == MYNA__CLASS_F32) ((float *)x)[i] = isnan(v) ? NAN : (float)v;
            if (k == MYNA__CLASS_F64) x[i] = v;
            if (k == MYNA__CLASS_I64)
              ((int64_t *)x)[i] = test_int(&r, 2) ? (int64_t)test_u64(&r) : cut(v, I64_LO, I64_HI);
            if (k == MYNA__CLASS_BOOL) ((uint8_t *)x)[i] = (uint8_t)(test_int(&r, 3) * 100);
          }
          memset(got, 0xAA, sizeof got);
          memset(want, 0xAA, sizeof want);
          myna__store(got + at, steps[s], t, (myna__class)k, x, n);
          for (int64_t i = 0; i < n; i++) {
            expect_store(want + at + i * steps[s], t, (myna__class)k, x, i);
            if (is_float(t) && isnan(read_one(t, want + at + i * steps[s]).f)) { /* NaN: which one is free */
              assert_true(isnan(read_one(t, got + at + i * steps[s]).f));
              memcpy(want + at + i * steps[s], got + at + i * steps[s], (size_t)bytes);
            }
          }
          if (memcmp(got, want, sizeof got) != 0)
            fail_msg("%s from class %d, %lld elements %lld bytes apart", myna_dtype_name(t), k, (long long)n,
                     (long long)steps[s]);
        }
  }
}

static void test_classes(void **state) {
  (void)state;
  for (int i = 0; i < N_TYPES; i++) {
    myna__class want = types[i] == MYNA_F64    ? MYNA__CLASS_F64
                       : is_float(types[i])    ? MYNA__CLASS_F32
                       : types[i] == MYNA_BOOL ? MYNA__CLASS_BOOL
                                               : MYNA__CLASS_I64;
    assert_int_equal(myna__class_of(types[i]), want);
  }
}

/* ---- the loop ---- */

enum { SPACE = 1 << 23 };
static uint8_t *space; /* [1 + EACH_MAX][SPACE], data in the middle of each */
static myna__pool *pool;

static int make_pool(void **state) {
  (void)state;
  space = malloc((size_t)(1 + MYNA__EACH_MAX) * SPACE);
  return space ? myna__pool_new(&pool, 3, false, NULL) : -1;
}

static int free_pool(void **state) {
  (void)state;
  myna__pool_free(pool);
  free(space);
  return 0;
}

static uint8_t *element(const myna__tensor *t, const myna__tensor *out, int64_t k) {
  uint8_t *p = t->data;
  for (int d = out->n_dims - 1; d >= 0; d--) {
    int i = d - (out->n_dims - t->n_dims);
    if (i >= 0 && t->shape[i] != 1) p += k % out->shape[d] * t->stride[i];
    k /= out->shape[d];
  }
  return p;
}

/* y = 3 a - b + 2 c, of as many as there are */
static void mix(const void *params, void *y, const void *const *x, int64_t n) {
  static const float by[] = {3, -1, 2};
  int n_in = *(const int *)params;
  assert_true(n >= 1 && n <= MYNA__CHUNK);
  for (int64_t i = 0; i < n; i++) {
    float v = 1;
    for (int k = 0; k < n_in; k++) v += by[k] * ((const float *)x[k])[i];
    ((float *)y)[i] = v;
  }
}

/* A tensor that broadcasts to `out` (itself when out is NULL), strides random, elements apart. */
static void random_tensor(test_rng *r, myna__tensor *t, int slot, const myna__tensor *out, myna_dtype type,
                          bool large) {
  int64_t bytes = myna_dtype_bytes(type);
  *t = (myna__tensor){.type = type, .n_dims = (int)test_int(r, out ? out->n_dims + 1 : large ? 4 : 6)};
  for (int d = 0; d < t->n_dims; d++) {
    t->shape[d] = out ? out->shape[d + out->n_dims - t->n_dims] : 1 + test_int(r, large ? 2 : 5);
    if (out && test_int(r, 4) == 0) t->shape[d] = 1;
  }
  if (!out && large && t->n_dims) t->shape[test_int(r, t->n_dims)] = 500 + test_int(r, 60);
  if (!out && large && t->n_dims > 1) t->shape[t->n_dims - 1] = 100 + test_int(r, 100);
  /* axes in any order, gaps between, some backwards */
  int order[MYNA__MAX_DIMS] = {0, 1, 2, 3, 4, 5, 6, 7};
  for (int d = 0; d < t->n_dims && test_int(r, 2); d++) {
    int j = (int)test_int(r, t->n_dims), swap = order[d];
    order[d] = order[j];
    order[j] = swap;
  }
  int64_t step = bytes + (test_int(r, 3) == 0 ? test_int(r, 3) : 0);
  for (int d = t->n_dims - 1; d >= 0; d--) {
    int axis = order[d];
    t->stride[axis] = test_int(r, 4) ? step : -step;
    step *= t->shape[axis];
    if (test_int(r, 4) == 0) step += bytes;
  }
  t->data = space + (size_t)slot * SPACE + SPACE / 2 + (test_int(r, 3) ? 0 : 1);
  assert_true(step < SPACE / 2);
}

static void check_each(test_rng *r, int round, bool large) {
  static const myna_dtype floats[] = {MYNA_F32, MYNA_F32, MYNA_F16, MYNA_I8};
  myna__tensor out, in[MYNA__EACH_MAX];
  int n_in = (int)test_int(r, 4);
  myna__each e = {.out = &out, .n_in = n_in, .out_class = MYNA__CLASS_F32, .fn = mix, .params = &n_in};
  random_tensor(r, &out, 0, NULL, floats[test_int(r, 4)], large);
  for (int k = 0; k < n_in; k++) {
    random_tensor(r, &in[k], 1 + k, &out, floats[test_int(r, 4)], large);
    e.in[k] = &in[k];
    e.in_class[k] = MYNA__CLASS_F32;
    for (int64_t i = 0; i < myna__tensor_size(&in[k]); i++) {
      double v = (double)test_int(r, 9) - 4;
      expect_store(element(&in[k], &in[k], i), in[k].type, MYNA__CLASS_F64, &v, 0);
    }
  }
  int64_t n = myna__tensor_size(&out);
  for (int64_t i = 0; i < n; i++) memset(element(&out, &out, i), 0x55, (size_t)myna_dtype_bytes(out.type));
  myna__each_run(&e, pool);
  for (int64_t i = 0; i < n; i++) {
    double want = 1;
    for (int k = 0; k < n_in; k++)
      want += (k == 0 ? 3 : k == 1 ? -1 : 2) * read_one(in[k].type, element(&in[k], &out, i)).f;
    if (read_one(out.type, element(&out, &out, i)).f != want)
      fail_msg("round %d: element %lld of %lld is %g, not %g", round, (long long)i, (long long)n,
               read_one(out.type, element(&out, &out, i)).f, want);
  }
}

static void test_each(void **state) {
  (void)state;
  test_rng r = test_rng_new(3);
  for (int round = 0; round < 1500; round++) check_each(&r, round, false);
  for (int round = 0; round < 30; round++) check_each(&r, round, true);
  /* of nothing */
  int n_in = 0;
  myna__tensor none = {.data = NULL, .type = MYNA_F32, .n_dims = 2, .shape = {3, 0}, .stride = {0, 4}};
  myna__each_run(&(myna__each){.out = &none, .fn = mix, .params = &n_in}, pool);
}

static void test_copies(void **state) {
  (void)state;
  test_rng r = test_rng_new(4);
  for (int round = 0; round < 1500; round++) {
    myna_dtype t = types[test_int(&r, N_TYPES)];
    size_t bytes = (size_t)myna_dtype_bytes(t);
    myna__tensor to, from;
    random_tensor(&r, &to, 0, NULL, t, round % 50 == 0);
    random_tensor(&r, &from, 1, &to, t, false);
    for (int64_t i = 0; i < myna__tensor_size(&from); i++) random_element(&r, t, element(&from, &from, i));
    myna__elements_copy(&to, &from, pool);
    for (int64_t i = 0; i < myna__tensor_size(&to); i++)
      if (memcmp(element(&to, &to, i), element(&from, &to, i), bytes) != 0)
        fail_msg("round %d: element %lld of %s", round, (long long)i, myna_dtype_name(t));
  }
}

/* Few elements are not worth a parallel region; many are, and stay one. */
static void test_regions(void **state) {
  (void)state;
  int n_in = 0;
  myna__tensor y = {.data = space, .type = MYNA_F32, .n_dims = 1, .shape = {4096}, .stride = {4}};
  myna__each e = {.out = &y, .fn = mix, .params = &n_in, .out_class = MYNA__CLASS_F32};
  int64_t before = myna__pool_regions(pool);
  myna__each_run(&e, pool);
  assert_int_equal(myna__pool_regions(pool) - before, 0);
  y.shape[0] = 1000000;
  myna__each_run(&e, pool);
  assert_int_equal(myna__pool_regions(pool) - before, 1);
  for (int i = 0; i < 1000000; i++) assert_true(((const float *)(const void *)space)[i] == 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_load), cmocka_unit_test(test_store),  cmocka_unit_test(test_classes),
      cmocka_unit_test(test_each), cmocka_unit_test(test_copies), cmocka_unit_test(test_regions),
  };
  return cmocka_run_group_tests(tests, make_pool, free_pool);
}
