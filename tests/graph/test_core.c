/* Contexts: scopes and references, the sticky error and what it says, states, evaluation and what it keeps, deep graphs,
 * failing memory. */
#include "test.h"
#include "graph/graph.h"
#include <math.h>

static myna_ctx *new_ctx(void) {
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, &(myna_ctx_options){.n_threads = 1}, &err), &err);
  return c;
}

static myna_array *zeros(myna_ctx *c, int n_dims, ...) {
  int64_t dims[8];
  va_list ap;
  va_start(ap, n_dims);
  for (int i = 0; i < n_dims; i++) dims[i] = va_arg(ap, int);
  va_end(ap);
  return myna_zeros(c, MYNA_F32, dims, n_dims);
}

/* ---- scopes, references ---- */

static void test_scopes(void **state) {
  (void)state;
  int64_t start = myna__mem_in_use();
  myna_ctx *c = new_ctx();
  myna_array *outer = myna_scalar(c, 2);
  myna_scope_begin(c); /* grows the context's own lists once */
  for (int i = 0; i < 1000; i++) myna_scalar(c, i);
  myna_scope_end(c);
  int64_t before = myna__mem_in_use();
  for (int round = 0; round < 3; round++) {
    myna_err err = {0};
    myna_scope_begin(c);
    myna_array *y = outer;
    for (int i = 0; i < 100; i++) y = myna_add(c, y, outer);
    myna_scope_begin(c);
    myna_array *inner = myna_keep(myna_square(c, y)); /* kept out of two scopes, with the graph it needs */
    myna_scope_end(c);
    if (round == 1) assert_true(myna_item(y, &err) == 202);
    myna_scope_end(c);
    assert_true(myna_item(inner, &err) == 202.0 * 202.0);
    myna_release(inner);
    assert_int_equal(err.code, 0);
    assert_int_equal(myna__mem_in_use(), before);
  }
  myna_scope_begin(c); /* left open: freed with the context, kept or not */
  myna_keep(myna_exp(c, outer));
  myna_ctx_free(c);
  assert_int_equal(myna__mem_in_use(), start);
  myna_ctx_free(NULL);
  myna_release(NULL);
  assert_null(myna_keep(NULL));
}

/* An evaluated array drops what it was made of; a training loop does not grow. */
static void test_loop_does_not_grow(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  int64_t n = 100, steady = 0;
  myna_array *w = myna_keep(myna_random_normal(c, 1, &n, 1, 0, 1));
  for (int step = 0; step < 50; step++) {
    myna_array *g;
    myna_scope_begin(c);
    myna_array *v = myna_sum(c, myna_square(c, w), NULL, 0, false);
    assert_int_equal(myna_grad(c, v, &w, 1, &g), 0);
    myna_array *next = myna_sub(c, w, myna_scale(c, g, 0.1));
    ASSERT_OK_ERR(myna_eval(c, &next, 1, &err), &err);
    assert_null(next->node);
    myna_keep(next);
    myna_scope_end(c);
    myna_release(w);
    w = next;
    if (step == 10) steady = myna__mem_in_use();
  }
  assert_int_equal(myna__mem_in_use(), steady);
  myna_ctx_free(c);
}

static void test_eval_caches(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  int64_t n = 4;
  myna_array *x = myna_random_normal(c, 1, &n, 1, 0, 1), *y = myna_exp(c, x), *z = myna_add(c, y, y);
  const void *p = myna_data(y, &err);
  assert_non_null(p);
  assert_null(y->node);
  assert_ptr_equal(myna_data(y, &err), p);
  ASSERT_OK_ERR(myna_eval(c, (myna_array *[]){z, y, z}, 3, &err), &err); /* again, twice, and one that is done */
  assert_ptr_equal(myna_data(y, &err), p);
  myna__guard_begin();
  ASSERT_OK_ERR(myna_eval(c, &z, 0, &err), &err);
  assert_ptr_equal(myna_data(z, &err), myna_data(z, &err));
  myna__guard_end();
  /* many at once share what they have in common; a view of a leaf is copied */
  myna_array *all[3] = {myna_sum(c, z, NULL, 0, false), myna_reshape(c, x, (int64_t[]){2, 2}, 2), z};
  ASSERT_OK_ERR(myna_eval(c, all, 3, &err), &err);
  assert_true(myna_data(all[1], &err) != myna_data(x, &err));
  myna_ctx_free(c);
}

/* 100,000 nodes deep: building, evaluating, differentiating and freeing need no stack and no quadratic time. */
static void test_deep(void **state) {
  (void)state;
  enum { DEPTH = 100000 };
  int64_t start = myna__mem_in_use();
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  myna_array *x = myna_full(c, MYNA_F64, NULL, 0, 1), *g;
  for (int kind = 0; kind < 3; kind++) { /* in place, views between, everything alive to the end */
    myna_scope_begin(c);
    myna_array *y = x;
    for (int i = 0; i < DEPTH / (kind + 1); i++) {
      y = kind == 2 ? myna_cumsum(c, myna_expand_dims(c, y, 0), 0) : myna_offset(c, y, 1);
      if (kind == 1) y = myna_reshape(c, myna_reshape(c, y, (int64_t[]){1}, 1), NULL, 0);
      if (kind == 2) y = myna_squeeze(c, y, 0);
    }
    if (kind == 0) {
      assert_int_equal(myna_grad(c, y, &x, 1, &g), 0);
      assert_true(myna_item(g, &err) == 1);
    }
    assert_true(myna_item(y, &err) == 1 + (kind == 2 ? 0 : DEPTH / (kind + 1)));
    myna_scope_end(c);
  }
  assert_int_equal(err.code, 0);
  myna_ctx_free(c);
  assert_int_equal(myna__mem_in_use(), start);
}

/* ---- the sticky error ---- */

static void test_sticky(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0}, again = {0};
  myna_array *a = zeros(c, 2, 2, 3), *b = zeros(c, 1, 4);
  assert_null(myna_exp(c, myna_add(c, a, b)));
  assert_null(myna_neg(c, a)); /* nothing works until it is cleared */
  ASSERT_FAILS(myna_eval(c, &a, 1, &err), MYNA_E_SHAPE, &err, "add: F32[2,3] and F32[4] do not broadcast");
  assert_int_equal(myna_ctx_error(c, &again), MYNA_E_SHAPE);
  assert_string_equal(err.msg, again.msg);
  assert_int_equal(myna_ctx_error(c, NULL), MYNA_E_SHAPE);
  myna_ctx_clear(c);
  assert_int_equal(myna_ctx_error(c, NULL), 0);
  assert_non_null(myna_neg(c, a));
  myna_ctx *d = new_ctx();
  assert_null(myna_add(c, a, myna_scalar(d, 1)));
  err = (myna_err){0};
  ASSERT_FAILS(myna_ctx_error(c, &err), MYNA_E_ARG, &err, "add: operand 1 belongs to another context");
  myna_ctx_clear(c);
  err = (myna_err){0};
  ASSERT_FAILS(myna_eval(c, (myna_array *[]){a, NULL}, 2, &err), MYNA_E_ARG, &err, "array 1 is NULL");
  err = (myna_err){0};
  assert_null(myna_data(NULL, &err));
  assert_int_equal(err.code, MYNA_E_ARG);
  assert_true(isnan(myna_item(NULL, NULL)));
  assert_true(myna_size(NULL) == 0 && myna_ndim(NULL) == 0 && myna_dim(NULL, 0) == 0 && myna_dim(a, 2) == 0 &&
              myna_dim(a, -1) == 3);
  err = (myna_err){0};
  myna_array *input = myna_input(c, "tokens", MYNA_I32, (int64_t[]){MYNA_SYM(0)}, 1);
  myna_array *shifted = myna_offset(c, input, 1);
  ASSERT_FAILS(myna_eval(c, &shifted, 1, &err), MYNA_E_ARG, &err, "tokens");
  myna_scope_end(c);
  err = (myna_err){0};
  ASSERT_FAILS(myna_ctx_error(c, &err), MYNA_E_STATE, &err, "no scope is open");
  myna_ctx_free(d);
  myna_ctx_free(c);
}

/* ---- shape errors: every one names the op and what is wrong ---- */

typedef myna_array *bad(myna_ctx *c);
#define BAD(name, ...) \
  static myna_array *bad_##name(myna_ctx *c) { return __VA_ARGS__; }
#define Z(...) zeros(c, (int)MYNA__COUNT(((int[]){__VA_ARGS__})), __VA_ARGS__)
#define D(...) (int64_t[]){__VA_ARGS__}, (int)MYNA__COUNT(((int64_t[]){__VA_ARGS__}))
#define SYMBOLIC(...) myna_input(c, "x", MYNA_F32, D(__VA_ARGS__))
#define N MYNA_SYM(0)

/* clang-format off */
BAD(null, myna_mul(c, Z(2), NULL))
BAD(dims, myna_zeros(c, MYNA_F32, D(1, 2, 3, 4, 5, 6, 7, 8, 9)))
BAD(negative, myna_zeros(c, MYNA_F32, D(2, -3)))
BAD(huge, myna_zeros(c, MYNA_F32, D(1ll << 40, 1ll << 40)))
BAD(huge_product, myna_broadcast_to(c, Z(1, 1), D(1ll << 40, 1ll << 40)))
BAD(symbol_full, myna_zeros(c, MYNA_F32, D(N)))
BAD(packed_full, myna_zeros(c, MYNA_Q4_0, D(32)))
BAD(packed_input, myna_input(c, "w", MYNA_Q4_0, D(2, 32)))
BAD(arange, myna_arange(c, MYNA_F32, 0, 1, 0))
BAD(where, myna_where(c, Z(2), Z(2), Z(2)))
BAD(astype, myna_astype(c, Z(2), MYNA_Q8_0))
BAD(sum_axis, myna_sum(c, Z(2, 3), (int[]){2}, 1, false))
BAD(sum_twice, myna_sum(c, Z(2, 3), (int[]){1, -1}, 2, false))
BAD(max_empty, myna_max(c, Z(2, 0), (int[]){1}, 1, false))
BAD(argmax_empty, myna_argmax(c, Z(0), 0, false))
BAD(argmax_scalar, myna_argmax(c, myna_scalar(c, 1), 0, false))
BAD(softmax_axis, myna_softmax(c, Z(2, 3), -3))
BAD(cumsum_axis, myna_cumsum(c, Z(2), 1))
BAD(matmul_inner, myna_matmul(c, Z(2, 3), Z(4, 2)))
BAD(matmul_batch, myna_matmul(c, Z(2, 2, 3), Z(3, 3, 2)))
BAD(matmul_scalar, myna_matmul(c, Z(2), myna_scalar(c, 1)))
BAD(matmul_ints, myna_matmul(c, myna_ones(c, MYNA_I32, D(2, 2)), Z(2, 2)))
BAD(reshape, myna_reshape(c, Z(2, 3), D(4, 2)))
BAD(reshape_two_holes, myna_reshape(c, Z(2, 3), D(-1, -1)))
BAD(reshape_hole, myna_reshape(c, Z(2, 3), D(4, -1)))
BAD(reshape_zero_hole, myna_reshape(c, Z(2, 0), D(0, -1)))
BAD(transpose, myna_transpose(c, Z(2, 3), (int[]){0, 0}))
BAD(swapaxes, myna_swapaxes(c, Z(2, 3), 0, 2))
BAD(expand, myna_expand_dims(c, Z(2), 3))
BAD(squeeze, myna_squeeze(c, Z(2, 1), 0))
BAD(broadcast, myna_broadcast_to(c, Z(2, 3), D(2, 4)))
BAD(broadcast_fewer, myna_broadcast_to(c, Z(2, 3), D(3)))
BAD(slice_step, myna_slice(c, Z(2), (int64_t[]){0}, (int64_t[]){2}, (int64_t[]){0}))
BAD(slice_update, myna_slice_update(c, Z(2, 3), Z(2, 2), (int64_t[]){1, 0}))
BAD(slice_update_type, myna_slice_update(c, Z(2), myna_ones(c, MYNA_F64, D(1)), (int64_t[]){0}))
BAD(concat, myna_concat(c, (myna_array *[]){Z(2, 3), Z(2, 4)}, 2, 0))
BAD(concat_rank, myna_concat(c, (myna_array *[]){Z(2, 3), Z(2)}, 2, 0))
BAD(concat_none, myna_concat(c, NULL, 0, 0))
BAD(concat_null, myna_concat(c, (myna_array *[]){Z(2), NULL}, 2, 0))
BAD(concat_axis, myna_concat(c, (myna_array *[]){Z(2), Z(2)}, 2, 1))
BAD(stack_axis, myna_stack(c, (myna_array *[]){Z(2), Z(2)}, 2, 2))
BAD(repeat_axis, myna_repeat(c, Z(2), 2, 1))
BAD(argsort_axis, myna_argsort(c, Z(2), -2))
BAD(logsumexp_axis, myna_logsumexp(c, Z(2), (int[]){1}, 1, false))
BAD(slice_axis, myna_slice_axis(c, Z(2), 1, 0, 1))
BAD(take_along_axis, myna_take_along_axis(c, Z(2), myna_ones(c, MYNA_I32, D(2)), 1))
BAD(take_along_rank, myna_take_along_axis(c, Z(2, 2), myna_ones(c, MYNA_I32, D(2)), 1))
BAD(take_dims, myna_take(c, Z(1, 1, 1, 1, 1), myna_ones(c, MYNA_I32, D(1, 1, 1, 1, 1)), 0))
BAD(expand_dims, myna_expand_dims(c, Z(1, 1, 1, 1, 1, 1, 1, 1), 0))
BAD(dequantize, myna_dequantize(c, Z(1, 1, 1, 1)))
BAD(embed, myna_embed(c, Z(1, 1, 1), myna_ones(c, MYNA_I32, D(1))))
BAD(stack, myna_stack(c, (myna_array *[]){Z(2), Z(3)}, 2, 0))
BAD(pad, myna_pad(c, Z(2), (int64_t[]){-1}, (int64_t[]){0}, 0))
BAD(repeat, myna_repeat(c, Z(2), -1, 0))
BAD(take_float, myna_take(c, Z(2), Z(2), 0))
BAD(take_axis, myna_take(c, Z(2), myna_ones(c, MYNA_I32, D(1)), 1))
BAD(take_along, myna_take_along_axis(c, Z(2, 3), myna_ones(c, MYNA_I32, D(3, 3)), 1))
BAD(scatter, myna_scatter(c, Z(4), myna_ones(c, MYNA_I32, D(2)), Z(3), 0))
BAD(scatter_add_type, myna_scatter_add(c, Z(4), myna_ones(c, MYNA_I32, D(2)), myna_ones(c, MYNA_F64, D(2)), 0))
BAD(topk, (myna_topk(c, Z(2, 3), 4, NULL, NULL), NULL))
BAD(categorical, myna_random_categorical(c, 1, myna_ones(c, MYNA_I32, D(3))))
BAD(uniform, myna_random_uniform(c, 1, D(-1), 0, 1))
BAD(sym_sum, myna_sum(c, SYMBOLIC(N, 3), (int[]){0}, 1, false))
BAD(sym_sum_all, myna_mean(c, SYMBOLIC(N, 3), NULL, 0, false))
BAD(sym_softmax, myna_softmax(c, SYMBOLIC(N, 3), 0))
BAD(sym_inner, SYMBOLIC(3, N))
BAD(sym_two, myna_add(c, SYMBOLIC(N, 3), SYMBOLIC(MYNA_SYM(1), 3)))
BAD(sym_fixed, myna_add(c, SYMBOLIC(N, 3), Z(7, 3)))
BAD(sym_broadcast_inner, myna_add(c, Z(4, 1, 3), SYMBOLIC(N, 3)))
BAD(sym_reshape, myna_reshape(c, SYMBOLIC(N, 3), D(3, N)))
BAD(sym_reshape_merge, myna_reshape(c, SYMBOLIC(MYNA_SYM(1), 3), D(-1)))
BAD(sym_slice, myna_slice_axis(c, SYMBOLIC(N, 3), 0, 0, 2))
BAD(sym_concat, myna_concat(c, (myna_array *[]){SYMBOLIC(N, 3), Z(1, 3)}, 2, 0))
BAD(sym_matmul_k, myna_matmul(c, Z(2, 3), myna_transpose(c, SYMBOLIC(N, 3), NULL)))
BAD(sym_transposed, myna_neg(c, myna_transpose(c, SYMBOLIC(N, 3), NULL)))
BAD(sym_take_inner, myna_take(c, Z(3, 4), myna_input(c, "i", MYNA_I32, D(N)), 1))
BAD(sym_pad, myna_pad(c, SYMBOLIC(N, 3), (int64_t[]){1, 0}, (int64_t[]){0, 0}, 0))
BAD(sym_repeat, myna_repeat(c, SYMBOLIC(N, 3), 2, 0))
BAD(sym_argsort, myna_argsort(c, SYMBOLIC(N, 3), 0))
BAD(sym_cumsum, myna_cumsum(c, SYMBOLIC(N, 3), 0))
static myna_array *read_pages(myna_ctx *c, int64_t n_seq, int n_pos_dims, myna_dtype table) {
  static const myna_kv_layout l = {.type_k = MYNA_F32, .type_v = MYNA_F32, .n_kv_head = 1, .dim_k = 16, .dim_v = 16, .page_stride = 1 << 16};
  myna_array *pos = n_pos_dims == 1 ? myna_zeros(c, MYNA_I32, D(2)) : myna_zeros(c, MYNA_I32, D(2, 1));
  return myna_attention_paged(c, Z(2, 1, 16), myna_state(c, "kv", MYNA_U8, D(1 << 16)), myna_zeros(c, table, D(1, 1)), myna_zeros(c, MYNA_I32, &n_seq, 1), pos, NULL, &l, NULL);
}
BAD(pages_seq, read_pages(c, 3, 1, MYNA_I32))
BAD(pages_pos, read_pages(c, 2, 2, MYNA_I32))
BAD(pages_table, read_pages(c, 2, 1, MYNA_F32))
BAD(linear, myna_linear(c, Z(2, 3), Z(4, 2), NULL))
BAD(rms, myna_rms_norm(c, Z(2, 3), Z(4), 1e-5))
BAD(rope, myna_rope(c, Z(2, 1, 4), myna_ones(c, MYNA_I32, D(3)), NULL, NULL))
BAD(attention, myna_attention(c, Z(1, 2, 3, 4), Z(1, 2, 2, 4), Z(1, 2, 2, 4), NULL, NULL, NULL))

static const struct {
  bad *fn;
  int code;
  const char *says;
} bads[] = {
    {bad_null, MYNA_E_ARG, "mul: operand 1 is NULL"},
    {bad_dims, MYNA_E_SHAPE, "full: 9 dimensions"},
    {bad_negative, MYNA_E_SHAPE, "full: dimension 1 is -3"},
    {bad_huge, MYNA_E_SHAPE, "full: too many elements"},
    {bad_huge_product, MYNA_E_LIMIT, "broadcast_to: the result F32[1099511627776,1099511627776] has too many elements"},
    {bad_symbol_full, MYNA_E_SHAPE, "full: dimension 0 is -1"},
    {bad_packed_full, MYNA_E_DTYPE, "full: packed type Q4_0"},
    {bad_packed_input, MYNA_E_DTYPE, "input: packed type Q4_0"},
    {bad_arange, MYNA_E_ARG, "arange: no range"},
    {bad_where, MYNA_E_DTYPE, "where: the condition is F32"},
    {bad_astype, MYNA_E_DTYPE, "astype: no conversion to type Q8_0"},
    {bad_sum_axis, MYNA_E_SHAPE, "sum: axis 2 of an array of 2 dimensions"},
    {bad_sum_twice, MYNA_E_ARG, "sum: axis -1 is given twice"},
    {bad_max_empty, MYNA_E_SHAPE, "max: axis 1 has no elements"},
    {bad_argmax_empty, MYNA_E_SHAPE, "argmax: axis 0 has no elements"},
    {bad_argmax_scalar, MYNA_E_SHAPE, "argmax: axis 0 of an array of 0 dimensions"},
    {bad_softmax_axis, MYNA_E_SHAPE, "softmax: axis -3"},
    {bad_cumsum_axis, MYNA_E_SHAPE, "cumsum: axis 1"},
    {bad_matmul_inner, MYNA_E_SHAPE, "matmul: F32[2,3] times F32[4,2]: inner dimensions differ"},
    {bad_matmul_batch, MYNA_E_SHAPE, "matmul: "},
    {bad_matmul_scalar, MYNA_E_SHAPE, "matmul: operand 1 has no dimensions"},
    {bad_matmul_ints, MYNA_E_DTYPE, "matmul: operand 0 is I32"},
    {bad_reshape, MYNA_E_SHAPE, "reshape: F32[2,3] to [4,2]"},
    {bad_reshape_two_holes, MYNA_E_SHAPE, "reshape: "},
    {bad_reshape_hole, MYNA_E_SHAPE, "reshape: "},
    {bad_reshape_zero_hole, MYNA_E_SHAPE, "reshape: "},
    {bad_transpose, MYNA_E_SHAPE, "transpose: axis 0 is given twice"},
    {bad_swapaxes, MYNA_E_SHAPE, "swapaxes: axis 2"},
    {bad_expand, MYNA_E_SHAPE, "expand_dims: axis 3"},
    {bad_squeeze, MYNA_E_SHAPE, "squeeze: axis 0 of F32[2,1] is not 1"},
    {bad_broadcast, MYNA_E_SHAPE, "broadcast_to: F32[2,3] to F32[2,4]"},
    {bad_broadcast_fewer, MYNA_E_SHAPE, "broadcast_to: F32[2,3] to F32[3]"},
    {bad_slice_step, MYNA_E_ARG, "slice: step 0 along axis 0"},
    {bad_slice_update, MYNA_E_SHAPE, "slice_update: the update F32[2,2] does not lie inside F32[2,3]"},
    {bad_slice_update_type, MYNA_E_DTYPE, "slice_update: the update is F64"},
    {bad_concat, MYNA_E_SHAPE, "concat: operand 1 is F32[2,4], operand 0 is F32[2,3]"},
    {bad_concat_rank, MYNA_E_SHAPE, "concat: operand 1 is F32[2]"},
    {bad_concat_none, MYNA_E_ARG, "concat: no arrays"},
    {bad_concat_null, MYNA_E_ARG, "concat: operand 1 is NULL"},
    {bad_concat_axis, MYNA_E_SHAPE, "concat: axis 1 of an array of 1 dimensions"},
    {bad_stack_axis, MYNA_E_SHAPE, "stack: axis 2 of an array of 2 dimensions"},
    {bad_repeat_axis, MYNA_E_SHAPE, "repeat: axis 1 of an array of 1 dimensions"},
    {bad_argsort_axis, MYNA_E_SHAPE, "argsort: axis -2 of an array of 1 dimensions"},
    {bad_logsumexp_axis, MYNA_E_SHAPE, "max: axis 1 of an array of 1 dimensions"},
    {bad_slice_axis, MYNA_E_SHAPE, "slice: axis 1 of an array of 1 dimensions"},
    {bad_take_along_axis, MYNA_E_SHAPE, "take_along_axis: axis 1 of an array of 1 dimensions"},
    {bad_take_along_rank, MYNA_E_SHAPE, "take_along_axis: indices are I32[2], the array F32[2,2]: only axis 1 may differ"},
    {bad_take_dims, MYNA_E_SHAPE, "take: more than 8 dimensions"},
    {bad_expand_dims, MYNA_E_SHAPE, "expand_dims: more than 8 dimensions"},
    {bad_dequantize, MYNA_E_SHAPE, "dequantize: the weight has 4 dimensions"},
    {bad_embed, MYNA_E_SHAPE, "embed: the table has 3 dimensions"},
    {bad_stack, MYNA_E_SHAPE, "concat: operand 1 is F32[1,3]"},
    {bad_pad, MYNA_E_SHAPE, "pad: -1 before and 0 after axis 0"},
    {bad_repeat, MYNA_E_SHAPE, "repeat: -1 times"},
    {bad_take_float, MYNA_E_DTYPE, "take: indices are F32"},
    {bad_take_axis, MYNA_E_SHAPE, "take: axis 1"},
    {bad_take_along, MYNA_E_SHAPE, "take_along_axis: indices are I32[3,3], the array F32[2,3]"},
    {bad_scatter, MYNA_E_SHAPE, "scatter: updates are F32[3], F32[2] is needed"},
    {bad_scatter_add_type, MYNA_E_DTYPE, "scatter_add: updates are F64"},
    {bad_topk, MYNA_E_SHAPE, "topk: 4 of 3 elements"},
    {bad_categorical, MYNA_E_DTYPE, "random_categorical: logits are I32"},
    {bad_uniform, MYNA_E_SHAPE, "random_uniform: dimension 0 is -1"},
    {bad_sym_sum, MYNA_E_SHAPE, "sum: axis 0 is symbolic"},
    {bad_sym_sum_all, MYNA_E_SHAPE, "sum: axis 0 is symbolic"},
    {bad_sym_softmax, MYNA_E_SHAPE, "softmax: axis 0 is symbolic"},
    {bad_sym_inner, MYNA_E_SHAPE, "input: symbolic dimension 1 is not the outermost"},
    {bad_sym_two, MYNA_E_SHAPE, "add: F32[SYM0,3] and F32[SYM1,3] do not broadcast"},
    {bad_sym_fixed, MYNA_E_SHAPE, "add: F32[SYM0,3] and F32[7,3] do not broadcast"},
    {bad_sym_broadcast_inner, MYNA_E_SHAPE, "add: the result F32[4,SYM0,3] has a symbolic dimension"},
    {bad_sym_reshape, MYNA_E_SHAPE, "reshape: F32[SYM0,3] to [3,-1]"},
    {bad_sym_reshape_merge, MYNA_E_SHAPE, "reshape: F32[SYM1,3] to"},
    {bad_sym_slice, MYNA_E_SHAPE, "slice: axis 0 is symbolic"},
    {bad_sym_concat, MYNA_E_SHAPE, "concat: axis 0 of operand 0 is symbolic"},
    {bad_sym_matmul_k, MYNA_E_SHAPE, "matmul: F32[2,3] times F32[3,SYM0]"},
    {bad_sym_transposed, MYNA_E_SHAPE, "neg: the result F32[3,SYM0] has a symbolic dimension"},
    {bad_sym_take_inner, MYNA_E_SHAPE, "take: the result F32[3,SYM0] has a symbolic dimension"},
    {bad_sym_pad, MYNA_E_SHAPE, "pad: 1 before and 0 after axis 0"},
    {bad_sym_repeat, MYNA_E_SHAPE, "repeat: axis 0 is symbolic"},
    {bad_sym_argsort, MYNA_E_SHAPE, "argsort: axis 0 is symbolic"},
    {bad_sym_cumsum, MYNA_E_SHAPE, "cumsum: axis 0 is symbolic"},
    {bad_pages_seq, MYNA_E_SHAPE, "attention_paged: table must be [n_seq, table_len], seq and pos [n_tok]"},
    {bad_pages_pos, MYNA_E_SHAPE, "attention_paged: table must be"},
    {bad_pages_table, MYNA_E_DTYPE, "attention_paged: table, seq and pos must be I32"},
    {bad_linear, MYNA_E_SHAPE, "linear: weight 0 is F32[4,2], x is F32[2,3]"},
    {bad_rms, MYNA_E_SHAPE, "rms_norm: weight 1"},
    {bad_rope, MYNA_E_SHAPE, "rope: "},
    {bad_attention, MYNA_E_SHAPE, "attention: "},
};

/* clang-format on */
static void test_bad_shapes(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  for (size_t i = 0; i < MYNA__COUNT(bads); i++) {
    myna_err err = {0};
    myna_scope_begin(c);
    if (bads[i].fn(c)) fail_msg("row %zu (%s) gave an array", i, bads[i].says);
    if (myna_ctx_error(c, &err) != bads[i].code)
      fail_msg("row %zu: code %d, not %d: %s", i, err.code, bads[i].code, err.msg);
    if (strncmp(err.msg, bads[i].says, strlen(bads[i].says)) != 0)
      fail_msg("row %zu says \"%s\", not \"%s\"", i, err.msg, bads[i].says);
    myna_ctx_clear(c);
    myna_scope_end(c);
  }
  myna_ctx_free(c);
}

/* Every public op with NULL and after a failure: an error, never a crash. */
static void test_null_operands(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  int64_t one[8] = {1, 1, 1, 1, 1, 1, 1, 1}, zero[8] = {0};
  for (int sticky = 0; sticky < 2; sticky++) {
    int k = 0;
#define TRY_NULL(expr)                                                     \
  do {                                                                     \
    if (sticky) myna__fail(c, MYNA_E_ARG, "earlier", "failure");           \
    if (expr) fail_msg("%s gave an array", #expr);                         \
    if (myna_ctx_error(c, NULL) == 0) fail_msg("%s left no error", #expr); \
    myna_ctx_clear(c);                                                     \
    k++;                                                                   \
  } while (0)
/* clang-format off */
#define X(fn) TRY_NULL(myna_##fn(c, NULL));
    MYNA_UNARY_LIST(X)
#undef X
#define X(fn) TRY_NULL(myna_##fn(c, NULL, NULL)); TRY_NULL(myna_##fn(c, sticky ? NULL : myna_scalar(c, 1), NULL));
    MYNA_BINARY_LIST(X)
#undef X
#define X(fn) TRY_NULL(myna_##fn(c, NULL, NULL, 0, false));
    X(sum) X(mean) X(max) X(min) X(prod) X(logsumexp)
#undef X
#define X(fn) TRY_NULL(myna_##fn(c, NULL, 0));
    X(cumsum) X(softmax) X(log_softmax) X(sort) X(argsort) X(expand_dims) X(squeeze) X(scale) X(offset) X(astype)
#undef X
        /* clang-format on */
        TRY_NULL(myna_where(c, NULL, NULL, NULL));
    TRY_NULL(myna_stop_gradient(c, NULL));
    TRY_NULL(myna_contiguous(c, NULL));
    TRY_NULL(myna_argmax(c, NULL, 0, false));
    TRY_NULL(myna_argmin(c, NULL, 0, false));
    TRY_NULL((myna_topk(c, NULL, 1, NULL, NULL), NULL));
    TRY_NULL(myna_matmul(c, NULL, NULL));
    TRY_NULL(myna_reshape(c, NULL, one, 1));
    TRY_NULL(myna_transpose(c, NULL, NULL));
    TRY_NULL(myna_swapaxes(c, NULL, 0, 1));
    TRY_NULL(myna_broadcast_to(c, NULL, one, 1));
    TRY_NULL(myna_slice(c, NULL, zero, one, NULL));
    TRY_NULL(myna_slice_axis(c, NULL, 0, 0, 1));
    TRY_NULL(myna_slice_update(c, NULL, NULL, zero));
    TRY_NULL(myna_concat(c, (myna_array *[]){NULL}, 1, 0));
    TRY_NULL(myna_stack(c, (myna_array *[]){NULL}, 1, 0));
    TRY_NULL(myna_pad(c, NULL, zero, zero, 0));
    TRY_NULL(myna_repeat(c, NULL, 2, 0));
    TRY_NULL(myna_take(c, NULL, NULL, 0));
    TRY_NULL(myna_take_along_axis(c, NULL, NULL, 0));
    TRY_NULL(myna_scatter_add(c, NULL, NULL, NULL, 0));
    TRY_NULL(myna_scatter(c, NULL, NULL, NULL, 0));
    TRY_NULL(myna_random_categorical(c, 1, NULL));
    TRY_NULL(myna_rms_norm(c, NULL, NULL, 0));
    TRY_NULL(myna_layer_norm(c, NULL, NULL, NULL, 0));
    TRY_NULL(myna_rope(c, NULL, NULL, NULL, NULL));
    TRY_NULL(myna_attention(c, NULL, NULL, NULL, NULL, NULL, NULL));
    TRY_NULL(myna_linear(c, NULL, NULL, NULL));
    TRY_NULL(myna_gated(c, MYNA_ACT_SILU, NULL, NULL));
    TRY_NULL(myna_embed(c, NULL, NULL));
    TRY_NULL(myna_dequantize(c, NULL));
    TRY_NULL(myna_expert_sum(c, NULL, NULL));
    TRY_NULL(myna_cross_entropy(c, NULL, NULL));
    if (sticky) TRY_NULL(myna_scalar(c, 1));
    assert_true(k > 80);
  }
  myna_ctx_free(c);
}

/* ---- states ---- */

static const myna_kv_layout layout = {
    .type_k = MYNA_F32, .type_v = MYNA_F32, .n_kv_head = 1, .dim_k = 16, .dim_v = 16, .page_stride = 1 << 16};

static myna_array *write_kv(myna_ctx *c, myna_array *pool) {
  myna_array *kv = myna_zeros(c, MYNA_F32, D(2, 1, 16)), *seq = myna_zeros(c, MYNA_I32, D(2));
  return myna_kv_write(c, pool, kv, kv, myna_zeros(c, MYNA_I32, D(1, 1)), seq, seq, &layout);
}

static void test_states(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  myna_array *pool = myna_state(c, "kv pool", MYNA_U8, D(1 << 17)), *g;
  myna_array *seen = myna_slice_axis(c, pool, 0, 0, 4); /* a view of the old version */
  myna_array *next = write_kv(c, pool);
  assert_non_null(next);
  assert_null(write_kv(c, pool));
  ASSERT_FAILS(myna_ctx_error(c, &err), MYNA_E_STATE, &err, "kv_write: operand 0 is an old version of state kv pool");
  myna_ctx_clear(c);
  assert_null(myna_neg(c, pool));
  assert_int_equal(myna_ctx_error(c, NULL), MYNA_E_STATE);
  myna_ctx_clear(c);
  assert_non_null(write_kv(c, next));
  assert_null(write_kv(c, myna_zeros(c, MYNA_U8, D(1 << 17))));
  err = (myna_err){0};
  ASSERT_FAILS(myna_ctx_error(c, &err), MYNA_E_STATE, &err, "kv_write: operand 0 is not a state");
  myna_ctx_clear(c);
  /* reading the view after the write: found when the plan is made, where the order is known */
  myna_array *late = myna_neg(c, myna_astype(c, seen, MYNA_I32)), *out[2] = {next, late};
  myna_plan *p;
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_new(&p, c, &pool, 1, out, 2, NULL, &err), MYNA_E_STATE, &err,
               "astype: operand 0 is a view of an old version of state kv pool");
  out[1] = myna_neg(c, myna_astype(c, myna_expand_dims(c, seen, 0), MYNA_I32));
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_new(&p, c, &pool, 1, out, 2, NULL, &err), MYNA_E_STATE, &err,
               "expand_dims: operand 0 is a view");
  out[1] = seen;
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_new(&p, c, &pool, 1, out, 2, NULL, &err), MYNA_E_STATE, &err, "old version");
  /* a gradient through the write */
  myna_array *k = myna_ones(c, MYNA_F32, D(2, 1, 16)), *i = myna_zeros(c, MYNA_I32, D(2)),
             *table = myna_zeros(c, MYNA_I32, D(1, 1));
  myna_array *pool2 = myna_state(c, "pool 2", MYNA_U8, D(1 << 17));
  myna_array *after = myna_kv_write(c, pool2, k, k, table, i, i, &layout);
  myna_array *v = myna_sum(c, myna_astype(c, after, MYNA_F32), NULL, 0, false);
  assert_int_equal(myna_grad(c, v, &k, 1, &g), MYNA_E_UNSUPPORTED);
  err = (myna_err){0};
  ASSERT_FAILS(myna_ctx_error(c, &err), MYNA_E_UNSUPPORTED, &err, "kv_write changes state pool 2");
  myna_ctx_clear(c);
  myna_array *read = myna_attention_paged(c, k, after, table, i, i, NULL, &layout, NULL);
  assert_int_equal(myna_grad(c, myna_sum(c, read, NULL, 0, false), &k, 1, &g), MYNA_E_UNSUPPORTED);
  err = (myna_err){0};
  ASSERT_FAILS(myna_ctx_error(c, &err), MYNA_E_UNSUPPORTED, &err, "kv_write changes state pool 2");
  myna_ctx_clear(c);
  read = myna_attention_paged(c, k, myna_state(c, "pool 3", MYNA_U8, D(1 << 17)), table, i, i, NULL, &layout, NULL);
  assert_int_equal(myna_grad(c, myna_sum(c, read, NULL, 0, false), &k, 1, &g), MYNA_E_UNSUPPORTED);
  err = (myna_err){0};
  ASSERT_FAILS(myna_ctx_error(c, &err), MYNA_E_UNSUPPORTED, &err, "attention_paged has no gradient");
  myna_ctx_free(c);
}

/* ---- what leaves look like ---- */

static void test_leaves(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  float x[6] = {1, 2, 3, 4, 5, 6};
  myna_array *copy = myna_from(c, MYNA_F32, D(2, 3), x), *view = myna_view(c, MYNA_F32, D(2, 3), x);
  x[0] = 9;
  assert_true(myna_item(copy, &err) == 1 && myna_item(view, &err) == 9);
  assert_ptr_equal(myna_data(view, &err), x);
  assert_non_null(myna_data(myna_from(c, MYNA_F32, D(0, 3), NULL), &err)); /* zero bytes are no failure */
  int64_t big = (1ll << 53) + 1;
  assert_true(myna_item(myna_from(c, MYNA_I64, NULL, 0, &big), &err) == 0x1p53); /* as near as a double is */
  int64_t big24 = (1 << 24) + 1;
  assert_true(myna_item(myna_from(c, MYNA_I64, NULL, 0, &big24), &err) == (1 << 24) + 1);
  assert_true(isnan(myna_item(myna_from(c, MYNA_F32, D(0), NULL), &err)));
  /* odd addresses are read correctly */
  uint8_t bytes[32];
  for (int i = 0; i < 6; i++) memcpy(bytes + 1 + 4 * i, &x[i], 4);
  myna_array *odd = myna_view(c, MYNA_F32, D(6), bytes + 1);
  assert_true(myna_item(myna_sum(c, myna_mul(c, odd, odd), NULL, 0, false), &err) == 81 + 4 + 9 + 16 + 25 + 36);
  assert_int_equal(err.code, 0);
  myna_ctx_free(c);
}

/* ---- every allocation fails once ---- */

static int work(myna_err *err) {
  myna_ctx *c = NULL;
  int rc = myna_ctx_new(&c, &(myna_ctx_options){.n_threads = 1}, err);
  if (rc < 0) return rc;
  myna_scope_begin(c);
  myna_array *x = myna_random_normal(c, 1, D(4, 6), 0, 1), *w = myna_random_normal(c, 2, D(3, 6), 0, 1), *g[2],
             *parts[30];
  for (int i = 0; i < 30; i++) parts[i] = myna_slice_axis(c, x, 1, i % 6, i % 6 + 1);
  myna_array *y = myna_linear(c, myna_rms_norm(c, x, NULL, 1e-5), w, NULL), *v, *index, *values;
  myna_topk(c, y, 2, &values, &index);
  v = myna_add(c, myna_sum(c, values, NULL, 0, false), myna_sum(c, myna_concat(c, parts, 30, 1), NULL, 0, false));
  myna_keep(v);
  myna_grad(c, v, (myna_array *[]){x, w}, 2, g);
  rc = myna_eval(c, (myna_array *[]){v, g[0], g[1], index}, 4, err);
  if (rc == 0) {
    int64_t n = MYNA_SYM(0);
    myna_array *in = myna_input(c, "x", MYNA_F32, (int64_t[]){n, 6}, 2),
               *out = myna_softmax(c, myna_matmul(c, in, myna_transpose(c, w, NULL)), 1);
    myna_plan *p = NULL;
    float data[12] = {0};
    rc =
        out ? myna_plan_new(&p, c, &in, 1, &out, 1, &(myna_plan_options){.sym_max = {2}}, err) : myna_ctx_error(c, err);
    if (rc == 0) rc = myna_plan_run(p, (void *[]){data}, (int64_t[]){2}, err);
    myna_plan_free(p);
  }
  myna_scope_end(c);
  myna_release(v);
  myna_ctx_free(c);
  return rc;
}

static void test_failing_memory(void **state) {
  (void)state;
  test_failing f;
  int n = 1;
  for (;; n++) {
    myna_err err = {0};
    test_fail_at(&f, n);
    int rc = work(&err);
    test_fail_off();
    if (f.live != 0) fail_msg("allocation %d: %lld bytes leak", n, (long long)f.live);
    if (!f.failed) {
      if (rc < 0) fail_msg("%s", err.msg);
      break;
    }
    if (rc != MYNA_E_NOMEM || err.code != MYNA_E_NOMEM)
      fail_msg("allocation %d failed, the result is %d: %s", n, rc, err.msg);
  }
  print_message("%d allocations\n", n - 1);
  assert_true(n > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_scopes),        cmocka_unit_test(test_loop_does_not_grow),
      cmocka_unit_test(test_eval_caches),   cmocka_unit_test(test_deep),
      cmocka_unit_test(test_sticky),        cmocka_unit_test(test_bad_shapes),
      cmocka_unit_test(test_null_operands), cmocka_unit_test(test_states),
      cmocka_unit_test(test_leaves),        cmocka_unit_test(test_failing_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
