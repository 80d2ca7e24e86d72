/* Every primitive against NumPy: the table of numpy_cases.bin (make_numpy_cases.py), each case with its inputs as plain
 * arrays, as transposed views and as two kinds of slices of larger arrays; and large arrays, which run in parallel, against one thread. */
#include "test.h"
#include "graph/graph.h"
#include <math.h>

enum { MAX_IN = 32, MAX_INTS = 32 };

static const myna_dtype TYPES[] = {MYNA_F32, MYNA_F16, MYNA_BF16, MYNA_F64, MYNA_I8,  MYNA_I16, MYNA_I32,
                                   MYNA_I64, MYNA_U8,  MYNA_U16,  MYNA_U32, MYNA_U64, MYNA_BOOL};

typedef struct one {
  char name[32];
  int n_ints, n_doubles, n_in, n_out;
  int64_t ints[MAX_INTS];
  double doubles[8], tol;
  myna_array *in[MAX_IN], *want[4];
} one;

/* ---- reading ---- */

typedef struct reader {
  uint8_t *data;
  size_t n, at;
} reader;

static const uint8_t *get(reader *r, size_t n) {
  if (n > r->n - r->at) fail_msg("numpy_cases.bin ends at %zu", r->at);
  r->at += n;
  return r->data + r->at - n;
}

static int get_u8(reader *r) { return *get(r, 1); }

static reader open_cases(void) {
  char path[512];
  FILE *f = fopen(test_path(path, "tests/graph/numpy_cases.bin"), "rb");
  if (!f) fail_msg("cannot open %s", path);
  reader r = {.data = malloc(1 << 20)};
  r.n = fread(r.data, 1, 1 << 20, f);
  fclose(f);
  if (memcmp(get(&r, 8), "MYNACASE", 8) != 0) fail_msg("%s is no case file", path);
  return r;
}

static myna_array *get_array(reader *r, myna_ctx *c) {
  myna_dtype t = TYPES[get_u8(r)];
  int n_dims = get_u8(r);
  int64_t dims[8], n = myna_dtype_bytes(t);
  for (int i = 0; i < n_dims; i++) {
    uint32_t d;
    memcpy(&d, get(r, 4), 4);
    n *= dims[i] = d;
  }
  return myna_from(c, t, dims, n_dims, get(r, (size_t)n));
}

static void get_case(reader *r, myna_ctx *c, one *o) {
  *o = (one){0};
  int n = get_u8(r);
  memcpy(o->name, get(r, (size_t)n), (size_t)n);
  o->n_ints = get_u8(r);
  memcpy(o->ints, get(r, 8 * (size_t)o->n_ints), 8 * (size_t)o->n_ints);
  o->n_doubles = get_u8(r);
  memcpy(o->doubles, get(r, 8 * (size_t)o->n_doubles), 8 * (size_t)o->n_doubles);
  o->n_in = get_u8(r);
  for (int i = 0; i < o->n_in; i++) o->in[i] = get_array(r, c);
  o->n_out = get_u8(r);
  for (int i = 0; i < o->n_out; i++) o->want[i] = get_array(r, c);
  memcpy(&o->tol, get(r, 8), 8);
}

/* ---- calling ---- */

typedef myna_array *call(myna_ctx *c, const one *o, myna_array *const *in);

#define X(fn)                                                                      \
  static myna_array *call_##fn(myna_ctx *c, const one *o, myna_array *const *in) { \
    return (void)o, myna_##fn(c, in[0]);                                           \
  }
MYNA_UNARY_LIST(X)
#undef X
#define X(fn)                                                                      \
  static myna_array *call_##fn(myna_ctx *c, const one *o, myna_array *const *in) { \
    return (void)o, myna_##fn(c, in[0], in[1]);                                    \
  }
MYNA_BINARY_LIST(X)
#undef X
/* ints: axes, then keep */
#define REDUCTIONS(X) X(sum) X(mean) X(max) X(min) X(prod) X(logsumexp)
#define X(fn)                                                                      \
  static myna_array *call_##fn(myna_ctx *c, const one *o, myna_array *const *in) { \
    int axes[8], n = o->n_ints - 1;                                                \
    for (int i = 0; i < n; i++) axes[i] = (int)o->ints[i];                         \
    return myna_##fn(c, in[0], axes, n, o->ints[n] != 0);                          \
  }
REDUCTIONS(X)
#undef X
#define AXIS_OPS(X) X(cumsum) X(softmax) X(log_softmax) X(sort) X(argsort) X(expand_dims) X(squeeze)
#define X(fn)                                                                      \
  static myna_array *call_##fn(myna_ctx *c, const one *o, myna_array *const *in) { \
    return myna_##fn(c, in[0], (int)o->ints[0]);                                   \
  }
AXIS_OPS(X)
#undef X

#define CALL(fn, expr) \
  static myna_array *call_##fn(myna_ctx *c, const one *o, myna_array *const *in) { return (void)o, (void)in, expr; }
CALL(argmax, myna_argmax(c, in[0], (int)o->ints[0], o->ints[1] != 0))
CALL(argmin, myna_argmin(c, in[0], (int)o->ints[0], o->ints[1] != 0))
CALL(scale, myna_scale(c, in[0], o->doubles[0]))
CALL(offset, myna_offset(c, in[0], o->doubles[0]))
CALL(where, myna_where(c, in[0], in[1], in[2]))
CALL(astype, myna_astype(c, in[0], TYPES[o->ints[0]]))
CALL(stop_gradient, myna_stop_gradient(c, in[0]))
CALL(contiguous, myna_contiguous(c, in[0]))
CALL(matmul, myna_matmul(c, in[0], in[1]))
CALL(reshape, myna_reshape(c, in[0], o->ints, o->n_ints))
CALL(swapaxes, myna_swapaxes(c, in[0], (int)o->ints[0], (int)o->ints[1]))
CALL(broadcast_to, myna_broadcast_to(c, in[0], o->ints, o->n_ints))
CALL(slice, myna_slice(c, in[0], o->ints, o->ints + o->n_ints / 3, o->ints + 2 * (o->n_ints / 3)))
CALL(slice_axis, myna_slice_axis(c, in[0], (int)o->ints[0], o->ints[1], o->ints[2]))
CALL(slice_update, myna_slice_update(c, in[0], in[1], o->ints))
CALL(concat, myna_concat(c, in, o->n_in, (int)o->ints[0]))
CALL(stack, myna_stack(c, in, o->n_in, (int)o->ints[0]))
CALL(pad, myna_pad(c, in[0], o->ints, o->ints + o->n_ints / 2, o->doubles[0]))
CALL(repeat, myna_repeat(c, in[0], o->ints[0], (int)o->ints[1]))
CALL(take, myna_take(c, in[0], in[1], (int)o->ints[0]))
CALL(take_along_axis, myna_take_along_axis(c, in[0], in[1], (int)o->ints[0]))
CALL(scatter_add, myna_scatter_add(c, in[0], in[1], in[2], (int)o->ints[0]))
CALL(scatter, myna_scatter(c, in[0], in[1], in[2], (int)o->ints[0]))
CALL(full, myna_full(c, TYPES[o->ints[0]], o->ints + 1, o->n_ints - 1, o->doubles[0]))
CALL(arange, myna_arange(c, TYPES[o->ints[0]], o->doubles[0], o->doubles[1], o->doubles[2]))
CALL(random_uniform,
     myna_random_uniform(c, (uint64_t)o->ints[0], o->ints + 1, o->n_ints - 1, o->doubles[0], o->doubles[1]))
CALL(random_normal,
     myna_random_normal(c, (uint64_t)o->ints[0], o->ints + 1, o->n_ints - 1, o->doubles[0], o->doubles[1]))
CALL(random_categorical, myna_random_categorical(c, (uint64_t)o->ints[0], in[0]))

static myna_array *call_transpose(myna_ctx *c, const one *o, myna_array *const *in) {
  int perm[8];
  for (int i = 0; i < o->n_ints; i++) perm[i] = (int)o->ints[i];
  return myna_transpose(c, in[0], perm);
}

static const struct entry {
  const char *name;
  call *fn;
} entries[] = {
/* clang-format off */
#define X(fn) {#fn, call_##fn},
    MYNA_UNARY_LIST(X) MYNA_BINARY_LIST(X) REDUCTIONS(X) AXIS_OPS(X) X(argmax) X(argmin) X(scale) X(offset) X(where) X(astype)
    X(stop_gradient) X(contiguous) X(matmul) X(reshape) X(transpose) X(swapaxes) X(broadcast_to) X(slice) X(slice_axis)
    X(slice_update) X(concat) X(stack) X(pad) X(repeat) X(take) X(take_along_axis) X(scatter_add) X(scatter) X(full) X(arange)
    X(random_uniform) X(random_normal) X(random_categorical)
#undef X
    /* clang-format on */
};
static int used[MYNA__COUNT(entries)];

static int apply(myna_ctx *c, const one *o, myna_array *const *in, myna_array **out) {
  if (strcmp(o->name, "topk") == 0) return myna_topk(c, in[0], o->ints[0], &out[0], &out[1]), 0;
  for (size_t i = 0; i < MYNA__COUNT(entries); i++)
    if (strcmp(entries[i].name, o->name) == 0) {
      used[i]++;
      out[0] = entries[i].fn(c, o, in);
      return 0;
    }
  fail_msg("no function for case %s", o->name);
  return -1;
}

/* ---- comparing ---- */

static double element(myna_array *flat, int64_t i) {
  const uint8_t *p = (const uint8_t *)myna_data(flat, NULL);
  myna__tensor t = {.type = myna_type(flat)};
  double x;
  int64_t at = i * myna_dtype_bytes(t.type);
  switch (t.type) {
  case MYNA_F32: return (double)((const float *)(const void *)p)[i];
  case MYNA_F64: memcpy(&x, p + at, 8); return x;
  case MYNA_F16: return (double)myna__f16_to_f32(((const uint16_t *)(const void *)p)[i]);
  case MYNA_BF16: return (double)myna__bf16_to_f32(((const uint16_t *)(const void *)p)[i]);
  default: return 0;
  }
}

static bool same(double a, double b, double tol) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (a == b) return true;
  return fabs(a - b) <= tol * (fabs(b) + (fabs(b) < 1 ? 0.1 : 0));
}

static void compare(const one *o, int number, const char *how, myna_array *got, myna_array *want) {
  myna_err err = {0};
  char text[1024], a[128], b[128];
  if (!got) {
    myna_ctx_error(want->ctx, &err);
    fail_msg("case %d %s (%s): %s", number, o->name, how, myna_error_format(&err, text, sizeof text));
  }
  if (myna_type(got) != myna_type(want) || !myna__spec_same_dims(&got->spec, &want->spec))
    fail_msg("case %d %s (%s): %s, not %s", number, o->name, how, myna__spec_text(&got->spec, a, sizeof a),
             myna__spec_text(&want->spec, b, sizeof b));
  const void *p = myna_data(got, &err), *q = myna_data(want, &err);
  if (!p) fail_msg("case %d %s (%s): %s", number, o->name, how, myna_error_format(&err, text, sizeof text));
  if (!myna__dtype_is_float(myna_type(want))) {
    if (memcmp(p, q, (size_t)(myna_size(want) * myna_dtype_bytes(myna_type(want)))) != 0)
      fail_msg("case %d %s (%s): differs", number, o->name, how);
    return;
  }
  for (int64_t i = 0; i < myna_size(want); i++)
    if (!same(element(got, i), element(want, i), o->tol))
      fail_msg("case %d %s (%s): element %lld is %.9g, not %.9g", number, o->name, how, (long long)i, element(got, i),
               element(want, i));
}

/* The same values as a view of an array that lies the other way round. */
static myna_array *turned(myna_ctx *c, myna_array *a) {
  return myna_ndim(a) < 2 ? a : myna_transpose(c, myna_contiguous(c, myna_transpose(c, a, NULL)), NULL);
}

/* The same values inside a larger array, every by-th one along the last axis. */
static myna_array *inside(myna_ctx *c, myna_array *a, int by) {
  int n = myna_ndim(a);
  if (n == 0) return a;
  int64_t before[8], after[8], start[8], stop[8], step[8];
  for (int i = 0; i < n; i++) before[i] = 1, after[i] = 2, start[i] = 1, stop[i] = 1 + myna_dim(a, i), step[i] = 1;
  if (myna_dim(a, n - 1) > 0) a = myna_repeat(c, a, by, n - 1);
  stop[n - 1] = 1 + myna_dim(a, n - 1);
  step[n - 1] = by;
  return myna_slice(c, myna_pad(c, a, before, after, 99), start, stop, step);
}

static void test_numpy(void **state) {
  (void)state;
  static const char *const ways[] = {"plain", "turned", "rows of a larger array", "every second of a larger array"};
  int64_t before = myna__mem_in_use();
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, NULL, &err), &err);
  reader r = open_cases();
  uint32_t n;
  memcpy(&n, get(&r, 4), 4);
  for (uint32_t k = 0; k < n; k++) {
    one o;
    myna_scope_begin(c);
    get_case(&r, c, &o);
    for (int way = 0; way < 4; way++) {
      myna_array *in[MAX_IN], *out[4] = {0};
      for (int i = 0; i < o.n_in; i++)
        in[i] = way == 0 ? o.in[i] : way == 1 ? turned(c, o.in[i]) : inside(c, o.in[i], way - 1);
      apply(c, &o, in, out);
      for (int i = 0; i < o.n_out; i++) compare(&o, (int)k, ways[way], out[i], o.want[i]);
    }
    myna_scope_end(c);
  }
  assert_int_equal(r.at, r.n);
  for (size_t i = 0; i < MYNA__COUNT(entries); i++)
    if (!used[i]) fail_msg("no case for %s", entries[i].name);
  free(r.data);
  myna_ctx_free(c);
  assert_int_equal(myna__mem_in_use(), before);
}

/* ---- large arrays: any number of threads gives the same bits ---- */

static myna_array *large(myna_ctx *c, int which) {
  int64_t dims[2] = {700, 300}, flat = 210000;
  myna_array *x = myna_random_normal(c, 5, dims, 2, 0, 1), *row = myna_random_uniform(c, 6, dims + 1, 1, -1, 1);
  myna_array *index = myna_astype(c, myna_scale(c, myna_random_uniform(c, 8, dims, 1, 0, 1), 700), MYNA_I32);
  int axis0 = 0, axis1 = 1;
  switch (which) {
  case 0: return myna_add(c, myna_mul(c, myna_silu(c, x), row), myna_tanh(c, x));
  case 1: return myna_contiguous(c, myna_exp(c, myna_transpose(c, x, NULL)));
  case 2: return myna_sum(c, x, &axis0, 1, false);
  case 3: return myna_logsumexp(c, x, &axis1, 1, false);
  case 4: return myna_sum(c, myna_square(c, x), NULL, 0, false);
  case 5: return myna_softmax(c, x, 0);
  case 6: return myna_log_softmax(c, x, 1);
  case 7: return myna_sort(c, x, 1);
  case 8: return myna_take(c, x, index, 0);
  case 9: return myna_cumsum(c, myna_reshape(c, x, &flat, 1), 0);
  case 10: return myna_matmul(c, x, myna_transpose(c, x, NULL));
  case 11: return myna_argmax(c, x, 0, false);
  case 12: return myna_random_categorical(c, 3, x);
  case 13: return myna_astype(c, myna_mul(c, myna_astype(c, x, MYNA_BF16), myna_astype(c, row, MYNA_F16)), MYNA_F16);
  case 14: return myna_where(c, myna_gt(c, x, row), x, row);
  case 15: return myna_scatter_add(c, x, index, x, 0);
  default: return NULL;
  }
}

static void test_large(void **state) {
  (void)state;
  for (int which = 0; which < 16; which++) {
    void *first = NULL;
    for (int threads = 1; threads <= 5; threads += 2) {
      myna_ctx *c;
      myna_err err = {0};
      ASSERT_OK_ERR(myna_ctx_new(&c, &(myna_ctx_options){.n_threads = threads}, &err), &err);
      myna_array *a = large(c, which);
      const void *p = myna_data(a, &err);
      if (!p) fail_msg("large case %d: %s", which, err.msg);
      size_t bytes = (size_t)(myna_size(a) * myna_dtype_bytes(myna_type(a)));
      if (!first) memcpy(first = malloc(bytes), p, bytes);
      if (memcmp(first, p, bytes) != 0) fail_msg("large case %d: %d threads differ from one", which, threads);
      myna_ctx_free(c);
    }
    free(first);
  }
}

/* One large case against plain C, with known values. */
static void test_large_value(void **state) {
  (void)state;
  enum { N = 300000 };
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, NULL, &err), &err);
  myna_array *i = myna_arange(c, MYNA_F32, 0, N, 1), *y = myna_sub(c, myna_scale(c, i, 2), myna_scalar(c, 1));
  const float *p = myna_data(y, &err);
  for (int k = 0; k < N; k++)
    if (p[k] != 2.0f * (float)k - 1.0f) fail_msg("element %d is %g", k, (double)p[k]);
  double n = N;
  assert_true(myna_item(myna_sum(c, myna_astype(c, i, MYNA_F64), NULL, 0, false), &err) == n * (n - 1) / 2);
  assert_true(myna_item(myna_sum(c, myna_astype(c, i, MYNA_I64), NULL, 0, false), &err) == n * (n - 1) / 2);
  myna_ctx_free(c);
}

/* Moments of the generators; keys and positions are independent. */
static void test_random(void **state) {
  (void)state;
  enum { N = 1 << 20 };
  myna_ctx *c;
  myna_err err = {0};
  int64_t n = N;
  ASSERT_OK_ERR(myna_ctx_new(&c, &(myna_ctx_options){.seed = 11}, &err), &err);
  myna_array *x = myna_random_normal(c, 1, &n, 1, 0, 1), *y = myna_random_normal(c, 2, &n, 1, 0, 1),
             *u = myna_random_uniform(c, 3, &n, 1, 0, 1);
  double mean = myna_item(myna_mean(c, x, NULL, 0, false), &err),
         var = myna_item(myna_mean(c, myna_square(c, x), NULL, 0, false), &err);
  double cross = myna_item(myna_mean(c, myna_mul(c, x, y), NULL, 0, false), &err);
  double fourth = myna_item(myna_mean(c, myna_square(c, myna_square(c, x)), NULL, 0, false), &err);
  assert_true(fabs(mean) < 0.005 && fabs(var - 1) < 0.007 && fabs(cross) < 0.005 && fabs(fourth - 3) < 0.05);
  assert_true(fabs(myna_item(myna_mean(c, u, NULL, 0, false), &err) - 0.5) < 0.0015);
  assert_true(myna_item(myna_max(c, u, NULL, 0, false), &err) < 1 &&
              myna_item(myna_min(c, u, NULL, 0, false), &err) >= 0);
  /* key 0: a fresh one each time, the same again for the same seed */
  double a = myna_item(myna_random_uniform(c, 0, NULL, 0, 0, 1), &err),
         b = myna_item(myna_random_uniform(c, 0, NULL, 0, 0, 1), &err);
  myna_ctx *d;
  ASSERT_OK_ERR(myna_ctx_new(&d, &(myna_ctx_options){.seed = 11}, &err), &err);
  assert_true(a != b && myna_item(myna_random_uniform(d, 0, NULL, 0, 0, 1), &err) == a);
  assert_int_equal(err.code, 0);
  myna_ctx_free(d);
  myna_ctx_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numpy),
      cmocka_unit_test(test_large),
      cmocka_unit_test(test_large_value),
      cmocka_unit_test(test_random),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
