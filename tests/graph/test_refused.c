/* What ops refuse: every condition that a shape rule names, with one operand wrong and all others right, and the nearest
 * operands that are still accepted. The texts of test_core say what is wrong; here the code and who says it is enough. */
#include "test.h"
#include "graph/graph.h"
#include <math.h>

static myna_ctx *c;
static test_failing watched; /* never fails: nothing may be left in the end */

static int make_ctx(void **state) {
  (void)state;
  test_fail_at(&watched, 0);
  return myna_ctx_new(&c, &(myna_ctx_options){.n_threads = 1}, NULL);
}

static int free_ctx(void **state) {
  (void)state;
  myna_ctx_free(c);
  test_fail_off();
  return watched.live == 0 ? 0 : -1;
}

#define D(...) (int64_t[]){__VA_ARGS__}, (int)MYNA__COUNT(((int64_t[]){__VA_ARGS__}))
#define F(...) myna_zeros(c, MYNA_F32, D(__VA_ARGS__))
#define I(...) myna_zeros(c, MYNA_I32, D(__VA_ARGS__))
#define T(type, ...) myna_zeros(c, MYNA_##type, D(__VA_ARGS__))
#define IN(type, ...) myna_input(c, "in", MYNA_##type, D(__VA_ARGS__))
#define SYM MYNA_SYM(0)

/* One packed weight of four zero blocks a row: [n_out, 128] Q4_0. */
static myna_array *q4_0(int64_t n_out) {
  static const uint8_t blocks[1 << 12];
  return myna_weight(c, MYNA_Q4_0, D(n_out, 128), &(myna_planes){.plane = {blocks}});
}

static void refused(myna_array *got, const char *expr, int code, const char *says) {
  myna_err err = {0};
  if (got) fail_msg("%s gave an array", expr);
  if (myna_ctx_error(c, &err) != code) fail_msg("%s: code %d, not %d: %s", expr, err.code, code, err.msg);
  if (strncmp(err.msg, says, strlen(says)) != 0) fail_msg("%s says \"%s\", not \"%s\"", expr, err.msg, says);
  myna_ctx_clear(c);
}

static void accepted(myna_array *got, const char *expr) {
  myna_err err = {0};
  myna_ctx_error(c, &err);
  if (!got) fail_msg("%s: %s", expr, err.msg);
}

#define REFUSED(code, says, ...) refused(__VA_ARGS__, #__VA_ARGS__, MYNA_E_##code, says)
#define ACCEPTED(...) accepted(__VA_ARGS__, #__VA_ARGS__)

/* ---- leaves ---- */

static void test_leaves(void **state) {
  (void)state;
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  int64_t many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  REFUSED(SHAPE, "from: ", myna_from(c, MYNA_F32, NULL, 1, x));
  REFUSED(SHAPE, "from: ", myna_from(c, MYNA_F32, many, -1, x));
  REFUSED(SHAPE, "from: ", myna_from(c, MYNA_F32, many, 9, x));
  ACCEPTED(myna_from(c, MYNA_F32, many, 8, x));
  ACCEPTED(myna_from(c, MYNA_F32, NULL, 0, x));
  REFUSED(DTYPE, "from: unknown type", myna_from(c, MYNA_DTYPE_COUNT, many, 1, x));
  REFUSED(DTYPE, "from: unknown type", myna_from(c, (myna_dtype)-1, many, 1, x));
  REFUSED(DTYPE, "from: Q8_0 is packed", myna_from(c, MYNA_Q8_0, D(32), x));
  REFUSED(SHAPE, "view: ", myna_view(c, MYNA_F32, D(-1), x));
  REFUSED(DTYPE, "view: Q8_0 is packed", myna_view(c, MYNA_Q8_0, D(32), x));
  /* 2^63 / 64 elements are too many, the largest number below is not: nothing is allocated for a placeholder */
  REFUSED(SHAPE, "input: too many elements", IN(F32, INT64_MAX / 64 + 1));
  ACCEPTED(IN(F32, INT64_MAX / 64));
  REFUSED(SHAPE, "input: too many elements", IN(F32, 3, INT64_MAX / 2));
  ACCEPTED(IN(F32, MYNA_SYM(7), 2));
  REFUSED(SHAPE, "input: dimension 0 is ", IN(F32, MYNA_SYM(7) - 1, 2));
  REFUSED(SHAPE, "full: dimension 0 is -1", F(SYM));
  REFUSED(DTYPE, "full: packed type", T(Q4_0, 1, 32));
  REFUSED(DTYPE, "full: packed type", T(MLX4, 1, 64));
  REFUSED(DTYPE, "state: packed type", myna_state(c, "s", MYNA_Q4_0, D(32)));
  REFUSED(DTYPE, "arange: type", myna_arange(c, MYNA_Q4_0, 0, 4, 1));
  REFUSED(DTYPE, "arange: type", myna_arange(c, MYNA_DTYPE_COUNT, 0, 4, 1));
  REFUSED(ARG, "arange: ", myna_arange(c, MYNA_F32, 0, 4, NAN));
  REFUSED(ARG, "arange: ", myna_arange(c, MYNA_F32, 0, 1e300, 1));
}

static void test_weights(void **state) {
  (void)state;
  static const uint8_t data[4096];
  const void *experts[2] = {data, data};
  const myna_planes p = {.plane = {data}}, none = {{0}}, apart = {.expert_plane0 = experts};
  ACCEPTED(myna_weight(c, MYNA_Q4_0, D(2, 64), &p));
  ACCEPTED(myna_weight(c, MYNA_Q4_0, D(2, 2, 64), &p));
  ACCEPTED(myna_weight(c, MYNA_Q4_0, D(2, 2, 64), &apart));
  REFUSED(SHAPE, "weight: 1 dimensions, 2 or 3 are needed", myna_weight(c, MYNA_Q4_0, D(64), &p));
  REFUSED(SHAPE, "weight: 4 dimensions, 2 or 3 are needed", myna_weight(c, MYNA_Q4_0, D(1, 1, 2, 64), &p));
  REFUSED(SHAPE, "weight: dimension 0 is -2", myna_weight(c, MYNA_Q4_0, D(-2, 64), &p));
  REFUSED(SHAPE, "weight: rows of 48 are no multiple of the block of Q4_0", myna_weight(c, MYNA_Q4_0, D(2, 48), &p));
  REFUSED(ARG, "weight: no data", myna_weight(c, MYNA_Q4_0, D(2, 64), NULL));
  REFUSED(ARG, "weight: no data", myna_weight(c, MYNA_Q4_0, D(2, 64), &none));
  /* rows of a weight: any range inside it, also of none; experts have no rows of their own */
  myna_array *w = q4_0(5), *e = myna_weight(c, MYNA_Q4_0, D(2, 5, 64), &p);
  ACCEPTED(myna_weight_rows(c, w, 0, 5));
  ACCEPTED(myna_weight_rows(c, w, 3, 3));
  REFUSED(SHAPE, "weight_rows: rows -1 to 5 of 5", myna_weight_rows(c, w, -1, 5));
  REFUSED(SHAPE, "weight_rows: rows 0 to 6 of 5", myna_weight_rows(c, w, 0, 6));
  REFUSED(SHAPE, "weight_rows: rows 4 to 3 of 5", myna_weight_rows(c, w, 4, 3));
  REFUSED(SHAPE, "weight_rows: ", myna_weight_rows(c, e, 0, 1));
  REFUSED(ARG, "weight_rows: the weight is NULL", myna_weight_rows(c, NULL, 0, 1));
  myna__fail(c, MYNA_E_ARG, "earlier", "failure");
  REFUSED(ARG, "earlier: failure", myna_weight_rows(c, w, 0, 1));
  /* what is no weight is sliced */
  float x[6] = {1, 2, 3, 4, 5, 6};
  myna_array *part = myna_weight_rows(c, myna_from(c, MYNA_F32, D(3, 2), x), 1, 3);
  assert_int_equal(myna_dim(part, 0), 2);
  assert_memory_equal(myna_data(part, NULL), x + 2, 16);
  assert_int_equal(myna_type(w), MYNA_Q4_0);
  assert_int_equal(myna_type(NULL), MYNA_F32);
}

/* Packed types are only for the ops that say so, and have no elements to read. */
static void test_packed(void **state) {
  (void)state;
  myna_array *w = q4_0(2);
  myna_err err = {0};
  REFUSED(DTYPE, "contiguous: operand 0 is a weight of type Q4_0", myna_contiguous(c, w));
  REFUSED(DTYPE, "add: operand 1 is a weight of type Q4_0", myna_add(c, F(2, 128), w));
  assert_null(myna_data(w, &err));
  assert_int_equal(err.code, MYNA_E_DTYPE);
  assert_non_null(strstr(err.msg, "packed weight"));
  err = (myna_err){0};
  assert_null(myna_data(IN(F32, 2), &err));
  assert_int_equal(err.code, MYNA_E_DTYPE);
  assert_non_null(strstr(err.msg, "an input"));
  err = (myna_err){0};
  assert_null(myna_data(myna_neg(c, IN(F32, 2)), &err)); /* what depends on one cannot be evaluated either */
  assert_int_equal(err.code, MYNA_E_ARG);
}

/* ---- shape rules of moves ---- */

static void test_moves(void **state) {
  (void)state;
  const int64_t ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  REFUSED(SHAPE, "reshape: 9 dimensions, at most 8", myna_reshape(c, F(1), ones, 9));
  REFUSED(SHAPE, "reshape: -1 dimensions", myna_reshape(c, F(1), ones, -1));
  ACCEPTED(myna_reshape(c, F(1), ones, 8));
  REFUSED(SHAPE, "reshape: ", myna_reshape(c, F(4), D(-4)));
  REFUSED(SHAPE, "reshape: ", myna_reshape(c, F(4), D(-2, -2)));
  REFUSED(SHAPE, "reshape: ", myna_reshape(c, F(0), D(1ll << 40, 1ll << 40)));
  REFUSED(SHAPE, "reshape: F32[SYM0,3] to ", myna_reshape(c, IN(F32, SYM, 3), ones, 0));
  REFUSED(SHAPE, "broadcast_to: 9 dimensions, at most 8", myna_broadcast_to(c, F(1), ones, 9));
  REFUSED(SHAPE, "broadcast_to: -1 dimensions", myna_broadcast_to(c, F(1), ones, -1));
  ACCEPTED(myna_broadcast_to(c, F(1), ones, 8));
  REFUSED(SHAPE, "broadcast_to: dimension 0 is -9", myna_broadcast_to(c, F(1), D(MYNA_SYM(7) - 1)));
  ACCEPTED(myna_broadcast_to(c, F(1), D(MYNA_SYM(7))));
  REFUSED(SHAPE, "repeat: 2 times in 8 dimensions", myna_repeat(c, F(1, 1, 1, 1, 1, 1, 1, 1), 2, 0));
  ACCEPTED(myna_repeat(c, F(1, 1, 1, 1, 1, 1, 2), 0, 6));
  REFUSED(SHAPE, "repeat: too many elements", myna_repeat(c, F(1, 2), INT64_MAX / 2 + 1, 1));
  REFUSED(SHAPE, "transpose: axis 2", myna_transpose(c, F(2, 3), (int[]){0, 2}));
  REFUSED(SHAPE, "transpose: ", myna_transpose(c, F(2, 3), (int[]){-1, 1}));
  REFUSED(SHAPE, "swapaxes: axis -3", myna_swapaxes(c, F(2, 3), -3, 0));
  REFUSED(SHAPE, "squeeze: axis 2", myna_squeeze(c, F(1, 1), 2));
  REFUSED(SHAPE, "input: too many elements",
          IN(F32, 0, INT64_MAX / 2 + 1)); /* of nothing, but strides would overflow */
  REFUSED(LIMIT, "reshape: the result F32[0,", myna_reshape(c, F(0), D(0, 1ll << 62, 4)));
  REFUSED(SHAPE, "pad: ", myna_pad(c, F(2), (int64_t[]){INT64_MAX}, (int64_t[]){0}, 0));
  REFUSED(SHAPE, "pad: ", myna_pad(c, F(2), (int64_t[]){0}, (int64_t[]){INT64_MAX}, 0));
  REFUSED(SHAPE, "pad: 0 before and -1 after axis 1", myna_pad(c, F(2, 2), (int64_t[]){0, 0}, (int64_t[]){0, -1}, 0));
  REFUSED(SHAPE, "pad: 0 before and 1 after axis 0", myna_pad(c, IN(F32, SYM), (int64_t[]){0}, (int64_t[]){1}, 0));
  REFUSED(DTYPE, "pad: packed type", myna_pad(c, q4_0(2), (int64_t[]){0, 0}, (int64_t[]){1, 0}, 0));
  REFUSED(ARG, "slice: step -9223372036854775808",
          myna_slice(c, F(2), (int64_t[]){0}, (int64_t[]){2}, (int64_t[]){INT64_MIN}));
  REFUSED(SHAPE, "slice: axis 0 is symbolic", myna_slice_axis(c, IN(F32, SYM, 2), 0, 1, INT64_MAX));
  REFUSED(SHAPE, "slice: axis 0 is symbolic", myna_slice_axis(c, IN(F32, SYM, 2), 0, 0, 3));
  REFUSED(SHAPE, "slice: axis 0 is symbolic",
          myna_slice(c, IN(F32, SYM), (int64_t[]){0}, (int64_t[]){INT64_MAX}, (int64_t[]){2}));
  ACCEPTED(myna_slice_axis(c, IN(F32, SYM, 2), 0, 0, INT64_MAX));
}

static void test_parts(void **state) {
  (void)state;
  ACCEPTED(myna_slice_update(c, F(3, 4), F(1, 2), (int64_t[]){2, 2}));
  ACCEPTED(myna_slice_update(c, F(3, 4), F(1, 2), (int64_t[]){-1, -2}));
  ACCEPTED(myna_slice_update(c, F(3, 4), F(0, 2), (int64_t[]){9, 0})); /* nothing is written */
  REFUSED(SHAPE, "slice_update: ", myna_slice_update(c, F(3, 4), F(1, 2), (int64_t[]){3, 2}));
  REFUSED(SHAPE, "slice_update: ", myna_slice_update(c, F(3, 4), F(1, 2), (int64_t[]){2, 3}));
  REFUSED(SHAPE, "slice_update: ", myna_slice_update(c, F(3, 4), F(1, 2), (int64_t[]){-4, 0}));
  REFUSED(SHAPE, "slice_update: ", myna_slice_update(c, F(3, 4), F(2), (int64_t[]){0, 0}));
  myna_array *x = IN(F32, SYM, 4), *y = IN(F32, SYM, 2);
  ACCEPTED(myna_slice_update(c, x, y, (int64_t[]){0, 2}));
  REFUSED(SHAPE, "slice_update: ", myna_slice_update(c, x, y, (int64_t[]){1, 2}));
  REFUSED(SHAPE, "slice_update: ", myna_slice_update(c, x, IN(F32, MYNA_SYM(1), 2), (int64_t[]){0, 2}));
  REFUSED(SHAPE, "slice_update: ", myna_slice_update(c, x, F(1, 2), (int64_t[]){0, 2}));
  REFUSED(SHAPE, "slice_update: ", myna_slice_update(c, F(3, 4), y, (int64_t[]){0, 2}));
  REFUSED(DTYPE, "take_along_axis: indices are F32", myna_take_along_axis(c, F(2, 3), F(2, 3), 1));
  REFUSED(DTYPE, "take_along_axis: indices are BOOL", myna_take_along_axis(c, F(2, 3), T(BOOL, 2, 3), 1));
  REFUSED(DTYPE, "scatter: indices are F32", myna_scatter(c, F(4), F(2), F(2), 0));
  REFUSED(SHAPE, "scatter_add: more than 8", myna_scatter_add(c, F(1, 1, 1, 1, 1), I(1, 1, 1, 1, 1), F(1), 0));
  ACCEPTED(myna_take(c, F(1, 1, 1, 1, 1), I(1, 1, 1, 1), 2));
}

static void test_sorting(void **state) {
  (void)state;
  myna_array *v, *i;
  REFUSED(SHAPE, "topk: -1 of 3 elements", (myna_topk(c, F(2, 3), -1, &v, &i), v));
  assert_int_equal(myna_topk(c, F(2, 3), 3, &v, &i), 0);
  assert_int_equal(myna_topk(c, F(2, 3), 0, &v, &i), 0);
  REFUSED(SHAPE, "topk: axis -1 of an array of 0", (myna_topk(c, myna_scalar(c, 1), 0, &v, &i), v));
  REFUSED(LIMIT, "argsort: more than 2^31 - 1", myna_argsort(c, IN(F32, 1, 1ll << 31), 1));
  ACCEPTED(myna_argsort(c, IN(F32, 1, (1ll << 31) - 1), 1));
  REFUSED(SHAPE, "random_categorical: the last axis has no elements", myna_random_categorical(c, 1, F(2, 0)));
  REFUSED(SHAPE, "random_categorical: axis -1", myna_random_categorical(c, 1, myna_scalar(c, 1)));
  REFUSED(DTYPE, "softmax: I32 is not a float type",
          myna__apply1(c, &myna__op_softmax, (myna_array *[]){I(2, 3)}, 1, NULL, 0));
  REFUSED(DTYPE, "softmax: F16 is not", myna__apply1(c, &myna__op_softmax, (myna_array *[]){T(F16, 3)}, 1, NULL, 0));
}

static void test_matmul(void **state) {
  (void)state;
#define MATMUL(a, b) myna__apply1(c, &myna__op_matmul, (myna_array *[]){a, b}, 2, NULL, 0)
  ACCEPTED(MATMUL(F(2, 3), F(3, 4)));
  REFUSED(DTYPE, "matmul: operands are F32 and F64", MATMUL(F(2, 3), T(F64, 3, 4)));
  REFUSED(DTYPE, "matmul: operands are F64 and F32", MATMUL(T(F64, 2, 3), F(3, 4)));
  REFUSED(DTYPE, "matmul: operands are F16 and F16", MATMUL(T(F16, 2, 3), T(F16, 3, 4)));
  REFUSED(SHAPE, "matmul: operands need two dimensions", MATMUL(F(3), F(3, 4)));
  REFUSED(SHAPE, "matmul: operands need two dimensions", MATMUL(F(2, 3), F(3)));
  REFUSED(SHAPE, "matmul: operand 0 has no dimensions", myna_matmul(c, myna_scalar(c, 1), F(3)));
  REFUSED(SHAPE, "matmul: operand 1 has no dimensions", myna_matmul(c, F(3), myna_scalar(c, 1)));
  REFUSED(DTYPE, "matmul: operand 0 is I32", myna_matmul(c, I(2, 3), F(3, 4)));
  REFUSED(DTYPE, "matmul: operand 1 is I32", myna_matmul(c, F(2, 3), I(3, 4)));
  /* only rows of the first may be symbolic */
  ACCEPTED(myna_matmul(c, IN(F32, SYM, 3), F(3, 4)));
  REFUSED(SHAPE, "matmul: ", myna_matmul(c, F(2, 3), myna_transpose(c, IN(F32, SYM, 3), NULL)));
  REFUSED(SHAPE, "matmul: ", myna_matmul(c, myna_transpose(c, IN(F32, SYM, 3), NULL), IN(F32, SYM, 4)));
#undef MATMUL
}

/* ---- fused ops ---- */

static void test_attention(void **state) {
  (void)state;
#define ATTN(q, k, v, mask, sinks) myna_attention(c, q, k, v, mask, sinks, NULL)
  myna_array *q = F(2, 3, 4, 5), *k = F(2, 6, 2, 5), *v = F(2, 6, 2, 7);
  ACCEPTED(ATTN(q, k, v, NULL, NULL));
  ACCEPTED(ATTN(q, k, v, T(BOOL, 2, 3, 6), F(4)));
  ACCEPTED(ATTN(q, k, v, T(BOOL, 1, 3, 6), NULL));
  REFUSED(SHAPE, "attention: q, k and v must be F32 with 4", ATTN(T(F64, 2, 3, 4, 5), k, v, NULL, NULL));
  REFUSED(SHAPE, "attention: q, k and v must be F32 with 4", ATTN(q, T(F16, 2, 6, 2, 5), v, NULL, NULL));
  REFUSED(SHAPE, "attention: q, k and v must be F32 with 4", ATTN(q, k, T(I32, 2, 6, 2, 7), NULL, NULL));
  REFUSED(SHAPE, "attention: q, k and v must be F32 with 4", ATTN(F(3, 4, 5), k, v, NULL, NULL));
  REFUSED(SHAPE, "attention: q, k and v must be F32 with 4", ATTN(q, F(2, 6, 2, 5, 1), v, NULL, NULL));
  const char *fit = "attention: q [n_batch, n_q, n_head, dim_k], k and v";
  REFUSED(SHAPE, fit, ATTN(F(1, 3, 4, 5), k, v, NULL, NULL));
  REFUSED(SHAPE, fit, ATTN(q, k, F(1, 6, 2, 7), NULL, NULL));
  REFUSED(SHAPE, fit, ATTN(q, k, F(2, 5, 2, 7), NULL, NULL));
  REFUSED(SHAPE, fit, ATTN(q, k, F(2, 6, 1, 7), NULL, NULL));
  REFUSED(SHAPE, fit, ATTN(F(2, 3, 4, 6), k, v, NULL, NULL));
  REFUSED(SHAPE, fit, ATTN(F(2, 3, 3, 5), k, v, NULL, NULL));
  REFUSED(SHAPE, fit, ATTN(F(2, 3, 0, 5), F(2, 6, 0, 5), F(2, 6, 0, 7), NULL, NULL));
  const char *mask = "attention: mask must be BOOL";
  REFUSED(SHAPE, mask, ATTN(q, k, v, T(U8, 2, 3, 6), NULL));
  REFUSED(SHAPE, mask, ATTN(q, k, v, T(BOOL, 3, 6), NULL));
  REFUSED(SHAPE, mask, ATTN(q, k, v, T(BOOL, 3, 3, 6), NULL));
  REFUSED(SHAPE, mask, ATTN(q, k, v, T(BOOL, 2, 2, 6), NULL));
  REFUSED(SHAPE, mask, ATTN(q, k, v, T(BOOL, 2, 3, 5), NULL));
  const char *sinks = "attention: sinks must be F32 [n_head]";
  REFUSED(SHAPE, sinks, ATTN(q, k, v, NULL, T(F64, 4)));
  REFUSED(SHAPE, sinks, ATTN(q, k, v, NULL, F(4, 1)));
  REFUSED(SHAPE, sinks, ATTN(q, k, v, NULL, F(2)));
#undef ATTN
}

static const myna_kv_layout layout = {.type_k = MYNA_F32,
                                      .type_v = MYNA_F32,
                                      .n_kv_head = 2,
                                      .dim_k = 8,
                                      .dim_v = 16,
                                      .page_stride = 1 << 16,
                                      .layer_offset = 64};

static myna_kv_layout with(int64_t heads, int64_t dim_k, int64_t dim_v, int64_t offset, int64_t stride) {
  myna_kv_layout l = {MYNA_F32, MYNA_F32, heads, dim_k, dim_v, stride, offset};
  return l;
}

static void test_pages(void **state) {
  (void)state;
#define POOL myna_state(c, "pool", MYNA_U8, D(1 << 17))
#define WRITE(pool, k, v, table, seq, pos, l) myna_kv_write(c, pool, k, v, table, seq, pos, l)
#define READ(q, table, seq, pos, sinks, l) myna_attention_paged(c, q, POOL, table, seq, pos, sinks, l, NULL)
  myna_array *k = F(3, 2, 8), *v = F(3, 2, 16), *q = F(3, 4, 8), *t = I(1, 2), *i = I(3);
  ACCEPTED(WRITE(POOL, k, v, t, i, i, &layout));
  ACCEPTED(READ(q, t, i, i, NULL, &layout));
  ACCEPTED(READ(q, t, i, i, F(4), &layout));
  /* layouts */
  int64_t page = myna_kv_page_bytes(&layout);
  assert_true(page > 0 && page % 64 == 0 && page >= 64 * 2 * (8 + 16) * 4);
  myna_kv_layout fits = with(2, 8, 16, 64, 64 + page), packed = layout;
  ACCEPTED(WRITE(POOL, k, v, t, i, i, &fits));
  fits.page_stride--;
  REFUSED(ARG, "kv_write: bad layout", WRITE(POOL, k, v, t, i, i, &fits));
  REFUSED(ARG, "attention_paged: bad layout", READ(q, t, i, i, NULL, &fits));
  packed.type_v = MYNA_Q4_K;
  assert_int_equal(myna_kv_page_bytes(&packed), 0);
  REFUSED(DTYPE, "kv_write: no page layout for type Q4_K", WRITE(POOL, k, v, t, i, i, &packed));
  REFUSED(DTYPE, "attention_paged: no page layout for type Q4_K", READ(q, t, i, i, NULL, &packed));
  for (int bad = 0; bad < 4; bad++) {
    myna_kv_layout l = with(bad == 0 ? 0 : 2, bad == 1 ? 0 : 8, bad == 2 ? 0 : 16, bad == 3 ? -64 : 0, 1 << 16);
    if (WRITE(POOL, k, v, t, i, i, &l)) fail_msg("layout %d gave an array", bad);
    assert_true(myna_ctx_error(c, NULL) < 0);
    myna_ctx_clear(c);
  }
  /* the pool */
  REFUSED(DTYPE, "kv_write: the pool must be U8",
          WRITE(myna_state(c, "p", MYNA_I8, D(1 << 17)), k, v, t, i, i, &layout));
  REFUSED(DTYPE, "kv_write: the pool must be U8",
          WRITE(myna_state(c, "p", MYNA_U8, D(2, 1 << 16)), k, v, t, i, i, &layout));
  /* k, v, q */
  const char *kv = "kv_write: k and v must be F32";
  REFUSED(SHAPE, kv, WRITE(POOL, T(F64, 3, 2, 8), v, t, i, i, &layout));
  REFUSED(SHAPE, kv, WRITE(POOL, k, T(F64, 3, 2, 16), t, i, i, &layout));
  REFUSED(SHAPE, kv, WRITE(POOL, F(3, 16), v, t, i, i, &layout));
  REFUSED(SHAPE, kv, WRITE(POOL, F(3, 1, 8), v, t, i, i, &layout));
  REFUSED(SHAPE, kv, WRITE(POOL, F(3, 2, 9), v, t, i, i, &layout));
  REFUSED(SHAPE, kv, WRITE(POOL, k, F(3, 2, 15), t, i, i, &layout));
  REFUSED(SHAPE, kv, WRITE(POOL, k, F(3, 3, 16), t, i, i, &layout));
  const char *qs = "attention_paged: q must be F32";
  REFUSED(SHAPE, qs, READ(T(F64, 3, 4, 8), t, i, i, NULL, &layout));
  REFUSED(SHAPE, qs, READ(F(3, 32), t, i, i, NULL, &layout));
  REFUSED(SHAPE, qs, READ(F(3, 4, 9), t, i, i, NULL, &layout));
  REFUSED(SHAPE, qs, READ(F(3, 3, 8), t, i, i, NULL, &layout));
  REFUSED(SHAPE, qs, READ(F(3, 0, 8), t, i, i, NULL, &layout));
  /* tables */
  const char *types = "attention_paged: table, seq and pos must be I32", *shapes = "attention_paged: table must be";
  REFUSED(DTYPE, types, READ(q, T(I64, 1, 2), i, i, NULL, &layout));
  REFUSED(DTYPE, types, READ(q, t, T(I64, 3), i, NULL, &layout));
  REFUSED(DTYPE, types, READ(q, t, i, T(I64, 3), NULL, &layout));
  REFUSED(SHAPE, shapes, READ(q, I(2), i, i, NULL, &layout));
  REFUSED(SHAPE, shapes, READ(q, t, I(3, 1), i, NULL, &layout));
  REFUSED(SHAPE, shapes, READ(q, t, i, I(3, 1), NULL, &layout));
  REFUSED(SHAPE, shapes, READ(q, t, I(2), i, NULL, &layout));
  REFUSED(SHAPE, shapes, READ(q, t, i, I(4), NULL, &layout));
  REFUSED(SHAPE, "kv_write: table must be", WRITE(POOL, k, v, t, I(2), i, &layout));
  REFUSED(SHAPE, "kv_write: table must be", WRITE(POOL, k, v, t, i, I(2), &layout));
  const char *sinks = "attention_paged: sinks must be F32 [n_head]";
  REFUSED(SHAPE, sinks, READ(q, t, i, i, T(F64, 4), &layout));
  REFUSED(SHAPE, sinks, READ(q, t, i, i, F(4, 1), &layout));
  REFUSED(SHAPE, sinks, READ(q, t, i, i, F(2), &layout));
#undef POOL
#undef WRITE
#undef READ
}

static myna_array *linear_of(int n) {
  myna_array *w[MYNA__LINEAR_MAX + 1], *out[MYNA__LINEAR_MAX + 1];
  for (int i = 0; i <= MYNA__LINEAR_MAX; i++) w[i] = F(2, 4);
  return myna_linear_list(c, F(3, 4), w, NULL, n, out) == 0 ? out[0] : NULL;
}

static myna_array *experts_of(myna_array *x, myna_array *w, myna_array *ids, int n) {
  myna_array *list[MYNA__LINEAR_MAX + 1], *out[MYNA__LINEAR_MAX + 1] = {NULL};
  for (int i = 0; i <= MYNA__LINEAR_MAX; i++) list[i] = w;
  return myna_expert_linear_list(c, x, list, n, ids, out) == 0 ? out[0] : NULL;
}

static void test_linear(void **state) {
  (void)state;
  myna_array *x = F(3, 4), *w = F(2, 4);
  ACCEPTED(myna_linear(c, x, w, F(2)));
  ACCEPTED(linear_of(8));
  REFUSED(ARG, "linear: 9 weights, 1 to 8", linear_of(9));
  REFUSED(ARG, "linear: 0 weights, 1 to 8", linear_of(0));
  REFUSED(DTYPE, "linear: x is F64", myna_linear(c, T(F64, 3, 4), w, NULL));
  REFUSED(SHAPE, "linear: x has no dimensions", myna_linear(c, myna_scalar(c, 1), w, NULL));
  REFUSED(SHAPE, "linear: weight 0 is F32[4]", myna_linear(c, x, F(4), NULL));
  REFUSED(SHAPE, "linear: weight 0 is F32[2,2,4]", myna_linear(c, x, F(2, 2, 4), NULL));
  REFUSED(SHAPE, "linear: weight 0 is F32[SYM0,4]", myna_linear(c, x, IN(F32, SYM, 4), NULL));
  REFUSED(DTYPE, "linear: weight 0 is I32", myna_linear(c, x, I(2, 4), NULL));
  const char *bias = "linear: bias 0 does not fit its weight";
  REFUSED(SHAPE, bias, myna_linear(c, x, w, T(F16, 2)));
  REFUSED(SHAPE, bias, myna_linear(c, x, w, F(2, 1)));
  REFUSED(SHAPE, bias, myna_linear(c, x, w, F(4)));
  /* experts */
  myna_array *e = F(5, 2, 4), *ids = I(3, 2);
  ACCEPTED(experts_of(x, e, ids, 8));
  ACCEPTED(experts_of(F(3, 2, 4), e, ids, 1));
  REFUSED(ARG, "expert_linear: 9 weights", experts_of(x, e, ids, 9));
  REFUSED(ARG, "expert_linear: 0 weights", experts_of(x, e, ids, 0));
  REFUSED(DTYPE, "expert_linear: x must be F32 and ids I32", experts_of(T(F64, 3, 4), e, ids, 1));
  REFUSED(DTYPE, "expert_linear: x must be F32 and ids I32", experts_of(x, e, T(I64, 3, 2), 1));
  const char *shapes = "expert_linear: x must be [n_tok, n_in]";
  REFUSED(SHAPE, shapes, experts_of(x, e, I(3), 1));
  REFUSED(SHAPE, shapes, experts_of(F(4), e, ids, 1));
  REFUSED(SHAPE, shapes, experts_of(F(3, 2, 1, 4), e, ids, 1));
  REFUSED(SHAPE, shapes, experts_of(F(2, 4), e, ids, 1));
  REFUSED(SHAPE, shapes, experts_of(F(3, 3, 4), e, ids, 1));
  REFUSED(SHAPE, "expert_linear: weight 0 is not", experts_of(x, F(2, 4), ids, 1));
  REFUSED(SHAPE, "expert_linear: weight 0 is not", experts_of(x, F(5, 4, 2), ids, 1));
  /* the sum over slots */
  ACCEPTED(myna_expert_sum(c, F(3, 2, 4), F(3, 2)));
  REFUSED(DTYPE, "expert_sum: operands must be F32", myna_expert_sum(c, T(F64, 3, 2, 4), F(3, 2)));
  REFUSED(DTYPE, "expert_sum: operands must be F32", myna_expert_sum(c, F(3, 2, 4), T(F64, 3, 2)));
  REFUSED(SHAPE, "expert_sum: y must be", myna_expert_sum(c, F(3, 2), F(3, 2)));
  REFUSED(SHAPE, "expert_sum: y must be", myna_expert_sum(c, F(3, 2, 4), F(3, 2, 4)));
  REFUSED(SHAPE, "expert_sum: y must be", myna_expert_sum(c, F(3, 2, 4), F(2, 2)));
  REFUSED(SHAPE, "expert_sum: y must be", myna_expert_sum(c, F(3, 2, 4), F(3, 4)));
}

static myna_array *route(myna_array *logits, myna_array *bias, int64_t k) {
  myna_array *ids, *weights;
  return myna_route(c, logits, bias, k, MYNA_ROUTER_SOFTMAX, true, 1, &ids, &weights) == 0 ? ids : NULL;
}

static void test_rows(void **state) {
  (void)state;
  myna_array *x = F(3, 4);
  ACCEPTED(route(x, F(4), 4));
  ACCEPTED(route(x, NULL, 1));
  REFUSED(ARG, "route: 0 of 4 experts", route(x, NULL, 0));
  REFUSED(ARG, "route: 5 of 4 experts", route(x, NULL, 5));
  REFUSED(SHAPE, "route: logits must be", route(T(F64, 3, 4), NULL, 1));
  REFUSED(SHAPE, "route: logits must be", route(F(4), NULL, 1));
  REFUSED(SHAPE, "route: bias must be", route(x, T(F64, 4), 1));
  REFUSED(SHAPE, "route: bias must be", route(x, F(4, 1), 1));
  REFUSED(SHAPE, "route: bias must be", route(x, F(3), 1));
  REFUSED(DTYPE, "rms_norm: x must be F32", myna_rms_norm(c, T(F64, 4), NULL, 1e-5));
  REFUSED(DTYPE, "rms_norm: x must be F32", myna_rms_norm(c, myna_scalar(c, 1), NULL, 1e-5));
  REFUSED(SHAPE, "rms_norm: weight 1", myna_rms_norm(c, x, T(F64, 4), 1e-5));
  REFUSED(SHAPE, "rms_norm: weight 1", myna_rms_norm(c, x, F(4, 1), 1e-5));
  REFUSED(SHAPE, "rms_norm: weight 1", myna_rms_norm(c, x, F(3), 1e-5));
  REFUSED(SHAPE, "layer_norm: weight 2", myna_layer_norm(c, x, F(4), F(3), 1e-5));
  ACCEPTED(myna_layer_norm(c, x, NULL, F(4), 1e-5));
  ACCEPTED(myna_gated(c, MYNA_ACT_RELU, F(4), F(4)));
  REFUSED(ARG, "gated: unknown activation 0", myna_gated(c, (myna_act)0, x, x));
  REFUSED(ARG, "gated: unknown activation 5", myna_gated(c, (myna_act)5, x, x));
  REFUSED(DTYPE, "gated: operands must be F32", myna_gated(c, MYNA_ACT_SILU, T(F64, 4), F(4)));
  REFUSED(DTYPE, "gated: operands must be F32", myna_gated(c, MYNA_ACT_SILU, F(4), T(F64, 4)));
  REFUSED(SHAPE, "gated: operands differ", myna_gated(c, MYNA_ACT_SILU, F(4), F(1, 4)));
  REFUSED(SHAPE, "gated: operands differ", myna_gated(c, MYNA_ACT_SILU, myna_scalar(c, 1), myna_scalar(c, 1)));
  ACCEPTED(myna_cross_entropy(c, x, I(3)));
  REFUSED(SHAPE, "cross_entropy: ", myna_cross_entropy(c, T(F64, 3, 4), I(3)));
  REFUSED(SHAPE, "cross_entropy: ", myna_cross_entropy(c, F(1, 3, 4), I(3)));
  REFUSED(SHAPE, "cross_entropy: ", myna_cross_entropy(c, x, T(I64, 3)));
  REFUSED(SHAPE, "cross_entropy: ", myna_cross_entropy(c, x, I(3, 1)));
  REFUSED(SHAPE, "cross_entropy: ", myna_cross_entropy(c, x, I(4)));
  REFUSED(DTYPE, "embed: ids are I64", myna_embed(c, x, T(I64, 2)));
  REFUSED(SHAPE, "embed: ids have too many", myna_embed(c, x, I(1, 1, 1, 1, 1, 1, 1, 1)));
  ACCEPTED(myna_embed(c, x, I(1, 1, 1, 1, 1, 1, 1)));
  REFUSED(SHAPE, "embed: the table has 1", myna_embed(c, F(4), I(2)));
  REFUSED(SHAPE, "dequantize: the weight has 1", myna_dequantize(c, F(4)));
  ACCEPTED(myna_dequantize(c, F(1, 2, 3)));
}

static myna_array *rope(myna_array *x, myna_array *pos, myna_array *factors, int64_t n_rot) {
  return myna_rope(c, x, pos, factors, &(myna_rope_options){.n_rot = n_rot});
}

static void test_rope(void **state) {
  (void)state;
  myna_array *x = F(3, 2, 8), *pos = I(3);
  ACCEPTED(rope(x, pos, F(4), 0));
  ACCEPTED(rope(x, pos, F(3), 6));
  ACCEPTED(rope(x, pos, NULL, 8));
  REFUSED(DTYPE, "rope: x must be F32 and pos I32", rope(T(F64, 3, 2, 8), pos, NULL, 0));
  REFUSED(DTYPE, "rope: x must be F32 and pos I32", rope(x, T(I64, 3), NULL, 0));
  REFUSED(SHAPE, "rope: x must be", rope(F(3, 8), pos, NULL, 0));
  REFUSED(SHAPE, "rope: x must be", rope(x, I(3, 1), NULL, 0));
  REFUSED(SHAPE, "rope: x must be", rope(x, I(2), NULL, 0));
  REFUSED(ARG, "rope: 10 of 8 dimensions", rope(x, pos, NULL, 10));
  REFUSED(ARG, "rope: 5 of 8 dimensions", rope(x, pos, NULL, 5));
  REFUSED(ARG, "rope: -2 of 8 dimensions", rope(x, pos, NULL, -2));
  REFUSED(SHAPE, "rope: factors must be F32 [4]", rope(x, pos, F(8), 0));
  REFUSED(SHAPE, "rope: factors must be F32 [3]", rope(x, pos, F(4), 6));
  REFUSED(SHAPE, "rope: factors must be", rope(x, pos, T(F64, 4), 0));
  REFUSED(SHAPE, "rope: factors must be", rope(x, pos, F(4, 1), 0));
}

/* ---- gradients ---- */

static myna_array *nothing(myna_ctx *ctx, void *user, myna_array *const *args, int n) { return NULL; }
static myna_array *vector(myna_ctx *ctx, void *user, myna_array *const *args, int n) { return args[0]; }

static void test_grad(void **state) {
  (void)state;
  myna_array *x = myna_keep(F(2)), *g[2] = {x, x}, *v = myna_sum(c, myna_square(c, x), NULL, 0, false);
  myna_err err = {0};
  REFUSED(SHAPE, "grad: the value is not a scalar", (myna_grad(c, x, &x, 1, g), g[0]));
  REFUSED(SHAPE, "grad: the value is not a scalar", (myna_grad(c, NULL, &x, 1, g), g[0]));
  REFUSED(ARG, "grad: argument 1 is NULL", (myna_grad(c, v, (myna_array *[]){x, NULL}, 2, g), g[0]));
  REFUSED(DTYPE, "grad: argument 0 () has type I32", (myna_grad(c, v, (myna_array *[]){I(2)}, 1, g), g[0]));
  ASSERT_OK_ERR(myna_eval(c, &v, 1, &err), &err);
  REFUSED(STATE, "grad: the value was already evaluated", (myna_grad(c, v, &x, 1, g), g[0]));
  assert_int_equal(myna_grad(c, v, (myna_array *[]){x, v}, 2, g), 0); /* its own gradient is one */
  assert_true(myna_item(g[1], &err) == 1 && ((const float *)myna_data(g[0], &err))[1] == 0);
  /* a function that fails, or gives no scalar: no value, and the context keeps no trace of having traced */
  assert_null(myna_value_and_grad(c, nothing, NULL, &x, 1, g));
  REFUSED(SHAPE, "grad: the value is not a scalar", myna_value_and_grad(c, vector, NULL, &x, 1, g));
  assert_int_equal(c->tracing, 0);
  myna_release(x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_leaves), cmocka_unit_test(test_weights),   cmocka_unit_test(test_packed),
      cmocka_unit_test(test_moves),  cmocka_unit_test(test_parts),     cmocka_unit_test(test_sorting),
      cmocka_unit_test(test_matmul), cmocka_unit_test(test_attention), cmocka_unit_test(test_pages),
      cmocka_unit_test(test_linear), cmocka_unit_test(test_rows),      cmocka_unit_test(test_rope),
      cmocka_unit_test(test_grad),
  };
  return cmocka_run_group_tests(tests, make_ctx, free_ctx);
}
