/* Gradients of every differentiable primitive, first and second order, against central differences in F64; the same
 * gradients in F32, F16 and BF16 against F64; rules of myna_grad. */
#include "test.h"
#include "graph/graph.h"
#include <math.h>

enum { MAX_IN = 3, MAX_SIZE = 64 };

typedef struct input {
  int n_dims;
  int64_t dims[4];
  double lo, hi; /* both 0: absent */
} input;

typedef myna_array *build(myna_ctx *c, myna_array *const *in);

typedef struct row {
  const char *name;
  build *fn;
  input in[MAX_IN];
  bool rough; /* F16 and BF16 make no sense: order decides, or the values cancel */
} row;

/* ---- what is differentiated ---- */

#define X(fn) \
  static myna_array *do_##fn(myna_ctx *c, myna_array *const *in) { return myna_##fn(c, in[0]); }
MYNA_UNARY_LIST(X)
#undef X
#define X(fn) \
  static myna_array *do_##fn(myna_ctx *c, myna_array *const *in) { return myna_##fn(c, in[0], in[1]); }
MYNA_BINARY_LIST(X)
#undef X
#define DO(name, ...) \
  static myna_array *do_##name(myna_ctx *c, myna_array *const *in) { return __VA_ARGS__; }

static myna_array *ids(myna_ctx *c, int n, const int32_t *v) { return myna_from(c, MYNA_I32, (int64_t[]){n}, 1, v); }
static myna_array *mask(myna_ctx *c) { return myna_from(c, MYNA_BOOL, (int64_t[]){3}, 1, (uint8_t[]){1, 0, 1}); }
static myna_array *index_23(myna_ctx *c) {
  return myna_reshape(c, ids(c, 6, (int32_t[]){2, 0, 2, -1, 9, 1}), (int64_t[]){2, 3}, 2);
}

/* clang-format off */
DO(where, myna_where(c, mask(c), in[0], in[1]))
DO(scale, myna_scale(c, in[0], -1.5))
DO(offset, myna_offset(c, in[0], 0.7))
DO(astype, myna_astype(c, in[0], MYNA_F64))
DO(contiguous, myna_contiguous(c, myna_transpose(c, in[0], NULL)))
DO(sum_all, myna_sum(c, in[0], NULL, 0, false))
DO(sum_0, myna_sum(c, in[0], (int[]){0}, 1, false))
DO(sum_keep, myna_sum(c, in[0], (int[]){-1, 0}, 2, true))
DO(mean, myna_mean(c, in[0], (int[]){1}, 1, false))
DO(max_1, myna_max(c, in[0], (int[]){1}, 1, false))
DO(min_0, myna_min(c, in[0], (int[]){0}, 1, true))
DO(prod_1, myna_prod(c, in[0], (int[]){1}, 1, false))
DO(prod_all, myna_prod(c, in[0], NULL, 0, true))
DO(logsumexp, myna_logsumexp(c, in[0], (int[]){1}, 1, false))
DO(cumsum, myna_cumsum(c, in[0], 0))
DO(softmax_1, myna_softmax(c, in[0], 1))
DO(softmax_0, myna_softmax(c, in[0], 0))
DO(log_softmax, myna_log_softmax(c, in[0], -1))
DO(sort, myna_sort(c, in[0], 0))
DO(matmul, myna_matmul(c, in[0], in[1]))
DO(reshape, myna_reshape(c, in[0], (int64_t[]){3, -1}, 2))
DO(transpose, myna_transpose(c, in[0], (int[]){1, 2, 0}))
DO(swapaxes, myna_swapaxes(c, in[0], 0, 1))
DO(expand_dims, myna_expand_dims(c, in[0], 1))
DO(squeeze, myna_squeeze(c, in[0], 1))
DO(broadcast_to, myna_broadcast_to(c, in[0], (int64_t[]){2, 3, 4}, 3))
DO(slice, myna_slice(c, in[0], (int64_t[]){3, 0}, (int64_t[]){INT64_MAX, 3}, (int64_t[]){-2, 1}))
DO(slice_back, myna_slice(c, in[0], (int64_t[]){3, 2}, (int64_t[]){INT64_MAX, INT64_MAX}, (int64_t[]){-1, -2}))
DO(slice_axis, myna_slice_axis(c, in[0], 1, 1, 3))
DO(slice_update, myna_slice_update(c, in[0], in[1], (int64_t[]){1, 1}))
DO(concat, myna_concat(c, in, 3, 1))
DO(stack, myna_stack(c, in, 2, 1))
DO(pad, myna_pad(c, in[0], (int64_t[]){1, 0}, (int64_t[]){0, 2}, 3))
DO(repeat, myna_repeat(c, in[0], 2, 1))
DO(take, myna_take(c, in[0], index_23(c), 1))
DO(take_0, myna_take(c, in[0], ids(c, 3, (int32_t[]){1, 1, -1}), 0))
DO(take_along, myna_take_along_axis(c, in[0], index_23(c), 1))
DO(take_along_wide, myna_take_along_axis(c, in[0], myna_expand_dims(c, ids(c, 3, (int32_t[]){2, 0, 2}), 0), 1))
DO(scatter_add, myna_scatter_add(c, in[0], ids(c, 3, (int32_t[]){1, 1, -1}), in[1], 0))
DO(scatter, myna_scatter(c, in[0], ids(c, 4, (int32_t[]){1, 1, -1, 9}), in[1], 0))
DO(scatter_1, myna_scatter(c, in[0], ids(c, 4, (int32_t[]){1, 1, -1, 9}), in[1], 1))

/* clang-format on */
static myna_array *do_topk(myna_ctx *c, myna_array *const *in) {
  myna_array *v = NULL;
  myna_topk(c, in[0], 2, &v, NULL);
  return v;
}

/* A value used many times, through views and through itself. */
static myna_array *do_diamond(myna_ctx *c, myna_array *const *in) {
  myna_array *x = in[0], *t = myna_transpose(c, x, NULL), *y = myna_add(c, x, t);
  for (int i = 0; i < 3; i++) y = myna_add(c, myna_mul(c, y, t), myna_mul(c, y, myna_scale(c, y, 0.1)));
  return y;
}

/* clang-format off */
#define U(fn, lo, hi) {#fn, do_##fn, {{2, {3, 2}, lo, hi}}}
#define B(fn) {#fn, do_##fn, {{2, {2, 3}, 0.3, 2}, {1, {3}, 0.6, 1.6}}}, {#fn, do_##fn, {{2, {3, 1}, 0.3, 2}, {2, {1, 2}, 0.6, 1.6}}}
#define S23 {2, {2, 3}, -1.5, 1.5}

static const row rows[] = {
    U(neg, -1, 1), U(abs, 0.1, 1), U(abs, -1, -0.1), U(sign, 0.1, 1), U(exp, -1, 1), U(expm1, -1, 1), U(log, 0.5, 2), U(log1p, -0.4, 2), U(sqrt, 0.3, 2),
    U(rsqrt, 0.5, 2), U(square, -2, 2), U(reciprocal, 0.5, 2), U(sin, -3, 3), U(cos, -3, 3), U(tanh, -1.5, 1.5), U(sigmoid, -3, 3), U(erf, -1.5, 1.5),
    U(floor, 0.1, 0.9), U(ceil, 0.1, 0.9), U(round, 0.6, 0.9), U(logical_not, 0.1, 1), U(relu, 0.1, 1), U(relu, -1, -0.1), U(silu, -3, 3), U(gelu, -2, 2),
    U(gelu_tanh, -2, 2), U(softplus, -3, 3),
    B(add), B(sub), B(mul), B(div), B(pow), B(maximum), B(minimum), {"remainder", do_remainder, {{2, {2, 3}, 0.3, 2}, {1, {3}, 0.6, 1.6}}, true},
    B(eq), B(ne), B(lt), B(le), B(gt), B(ge), B(logical_and), B(logical_or),
    {"where", do_where, {S23, {1, {3}, 0.1, 1}}}, {"scale", do_scale, {S23}}, {"offset", do_offset, {S23}}, {"astype", do_astype, {S23}},
    {"contiguous", do_contiguous, {S23}}, {"sum", do_sum_all, {S23}}, {"sum", do_sum_0, {S23}}, {"sum", do_sum_keep, {{3, {2, 3, 2}, -1, 1}}},
    {"mean", do_mean, {S23}}, {"max", do_max_1, {S23}, true}, {"min", do_min_0, {S23}, true}, {"prod", do_prod_1, {S23}}, {"prod", do_prod_all, {{1, {4}, 0.5, 1.5}}},
    {"logsumexp", do_logsumexp, {S23}}, {"cumsum", do_cumsum, {{2, {4, 2}, -1, 1}}}, {"softmax", do_softmax_1, {S23}}, {"softmax", do_softmax_0, {S23}},
    {"log_softmax", do_log_softmax, {S23}}, {"sort", do_sort, {{2, {5, 2}, -1, 1}}, true}, {"topk", do_topk, {{2, {2, 5}, -1, 1}}, true},
    {"matmul", do_matmul, {{2, {2, 3}, -1, 1}, {2, {3, 4}, -1, 1}}}, {"matmul", do_matmul, {{3, {2, 2, 3}, -1, 1}, {2, {3, 2}, -1, 1}}},
    {"matmul", do_matmul, {{4, {2, 1, 2, 3}, -1, 1}, {3, {2, 3, 2}, -1, 1}}}, {"matmul", do_matmul, {{1, {3}, -1, 1}, {1, {3}, -1, 1}}},
    {"matmul", do_matmul, {{1, {3}, -1, 1}, {3, {2, 3, 2}, -1, 1}}}, {"matmul", do_matmul, {{3, {2, 2, 3}, -1, 1}, {1, {3}, -1, 1}}},
    {"reshape", do_reshape, {S23}}, {"transpose", do_transpose, {{3, {2, 3, 2}, -1, 1}}}, {"swapaxes", do_swapaxes, {S23}}, {"expand_dims", do_expand_dims, {S23}},
    {"squeeze", do_squeeze, {{3, {2, 1, 3}, -1, 1}}}, {"broadcast_to", do_broadcast_to, {{2, {3, 1}, -1, 1}}}, {"slice", do_slice, {{2, {4, 4}, -1, 1}}},
    {"slice", do_slice_back, {{2, {4, 3}, -1, 1}}}, {"slice_axis", do_slice_axis, {{2, {2, 4}, -1, 1}}}, {"slice_update", do_slice_update, {{2, {3, 4}, -1, 1}, {2, {2, 2}, -1, 1}}},
    {"concat", do_concat, {S23, {2, {2, 1}, -1, 1}, S23}}, {"stack", do_stack, {S23, S23}}, {"pad", do_pad, {S23}}, {"repeat", do_repeat, {S23}},
    {"take", do_take, {S23}}, {"take", do_take_0, {S23}}, {"take_along_axis", do_take_along, {S23}}, {"take_along_axis", do_take_along_wide, {S23}},
    {"scatter_add", do_scatter_add, {S23, {2, {3, 3}, -1, 1}}}, {"scatter", do_scatter, {S23, {2, {4, 3}, -1, 1}}}, {"scatter", do_scatter_1, {S23, {2, {2, 4}, -1, 1}}},
    {"diamond", do_diamond, {{2, {2, 2}, -1, 1}}},
};

/* clang-format on */
/* ---- numbers ---- */

typedef struct point {
  int n_in;
  int64_t size[MAX_IN];
  double x[MAX_IN][MAX_SIZE];
} point;

static point random_point(const row *r, test_rng *rng) {
  point p = {0};
  for (; p.n_in < MAX_IN && (r->in[p.n_in].lo != 0 || r->in[p.n_in].hi != 0); p.n_in++) {
    const input *in = &r->in[p.n_in];
    p.size[p.n_in] = myna__shape_size(in->dims, in->n_dims);
    for (int64_t i = 0; i < p.size[p.n_in]; i++)
      p.x[p.n_in][i] = in->lo + (in->hi - in->lo) * (0.5 + 0.5 * (double)test_float(rng));
  }
  return p;
}

static void make_inputs(myna_ctx *c, const row *r, const point *p, myna_dtype t, myna_array **in) {
  for (int i = 0; i < p->n_in; i++)
    in[i] = myna_astype(c, myna_from(c, MYNA_F64, r->in[i].dims, r->in[i].n_dims, p->x[i]), t);
}

/* sum(a * w), w fixed and different everywhere. */
static myna_array *weighed(myna_ctx *c, myna_array *a) {
  if (!a) return NULL;
  int64_t n = myna_size(a);
  myna_array *w = myna_sin(c, myna_offset(c, myna_scale(c, myna_arange(c, MYNA_F64, 0, (double)n, 1), 1.7), 0.4));
  return myna_sum(c, myna_mul(c, myna_reshape(c, w, a->spec.dims, a->spec.n_dims), a), NULL, 0, false);
}

/* order 1: weighed(f(x)). order 2: the sum of weighed gradients of that. */
static myna_array *value(myna_ctx *c, const row *r, myna_array *const *in, int n_in, int order) {
  myna_array *v = weighed(c, r->fn(c, in));
  if (order == 1) return v;
  myna_array *grads[MAX_IN], *total = NULL;
  if (myna_grad(c, v, in, n_in, grads) < 0) return NULL;
  for (int i = 0; i < n_in; i++) total = total ? myna_add(c, total, weighed(c, grads[i])) : weighed(c, grads[i]);
  return total;
}

static void die(myna_ctx *c, const row *r, const char *what, const myna_err *err) {
  myna_err sticky = {0};
  char text[1024];
  myna_ctx_error(c, &sticky);
  fail_msg("%s (%s): %s", r->name, what, myna_error_format(err && err->code ? err : &sticky, text, sizeof text));
}

static double number(myna_ctx *c, const row *r, const point *p, int order) {
  myna_array *in[MAX_IN];
  myna_err err = {0};
  myna_scope_begin(c);
  make_inputs(c, r, p, MYNA_F64, in);
  myna_array *v = value(c, r, in, p->n_in, order);
  if (!v) die(c, r, "value", NULL);
  double x = myna_item(v, &err);
  if (err.code) die(c, r, "value", &err);
  myna_scope_end(c);
  return x;
}

static void differences(myna_ctx *c, const row *r, point *p, int order, double (*g)[MAX_SIZE]) {
  const double h = order == 1 ? 1e-5 : 1e-4;
  for (int i = 0; i < p->n_in; i++)
    for (int64_t k = 0; k < p->size[i]; k++) {
      double x = p->x[i][k];
      p->x[i][k] = x + h;
      double up = number(c, r, p, order);
      p->x[i][k] = x - h;
      double down = number(c, r, p, order);
      p->x[i][k] = x;
      g[i][k] = (up - down) / (2 * h);
    }
}

/* Gradients in type t, as doubles. Each input alone gives the same as all together. */
static void gradients(myna_ctx *c, const row *r, const point *p, myna_dtype t, int order, double (*g)[MAX_SIZE]) {
  myna_array *in[MAX_IN], *grads[MAX_IN], *alone;
  myna_err err = {0};
  myna_scope_begin(c);
  make_inputs(c, r, p, t, in);
  if (myna_grad(c, value(c, r, in, p->n_in, order), in, p->n_in, grads) < 0) die(c, r, "gradient", NULL);
  for (int i = 0; i < p->n_in; i++) {
    if (myna_type(grads[i]) != t || !myna__spec_same_dims(&grads[i]->spec, &in[i]->spec))
      fail_msg("%s: gradient %d has another type or shape", r->name, i);
    const double *all = myna_data(myna_astype(c, grads[i], MYNA_F64), &err);
    if (!all) die(c, r, "gradient", &err);
    memcpy(g[i], all, (size_t)p->size[i] * sizeof(double));
    if (order == 2) continue;
    if (myna_grad(c, value(c, r, in, p->n_in, order), &in[i], 1, &alone) < 0) die(c, r, "gradient of one", NULL);
    const double *one = myna_data(myna_astype(c, alone, MYNA_F64), &err);
    if (!one) die(c, r, "gradient of one", &err);
    if (memcmp(one, g[i], (size_t)p->size[i] * sizeof(double)) != 0)
      fail_msg("%s: gradient %d alone differs", r->name, i);
  }
  myna_scope_end(c);
}

static void compare(const row *r, const point *p, const char *what, double (*got)[MAX_SIZE], double (*want)[MAX_SIZE],
                    double tol) {
  double scale = 1;
  for (int i = 0; i < p->n_in; i++)
    for (int64_t k = 0; k < p->size[i]; k++) scale = fmax(scale, fabs(want[i][k]));
  for (int i = 0; i < p->n_in; i++)
    for (int64_t k = 0; k < p->size[i]; k++)
      if (!(fabs(got[i][k] - want[i][k]) <= tol * scale))
        fail_msg("%s (%s): gradient %d element %lld is %.9g, not %.9g", r->name, what, i, (long long)k, got[i][k],
                 want[i][k]);
}

static myna_ctx *new_ctx(void) {
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, &(myna_ctx_options){.n_threads = 1}, &err), &err);
  return c;
}

static void test_differences(void **state) {
  (void)state;
  int64_t before = myna__mem_in_use();
  test_rng rng = test_rng_new(3);
  myna_ctx *c = new_ctx();
  for (size_t k = 0; k < MYNA__COUNT(rows); k++) {
    double got[MAX_IN][MAX_SIZE], want[MAX_IN][MAX_SIZE], typed[MAX_IN][MAX_SIZE];
    point p = random_point(&rows[k], &rng);
    for (int order = 1; order <= 2; order++) {
      gradients(c, &rows[k], &p, MYNA_F64, order, got);
      differences(c, &rows[k], &p, order, want);
      compare(&rows[k], &p, order == 1 ? "F64" : "second order", got, want, order == 1 ? 1e-8 : 1e-6);
      if (order == 2) continue;
      gradients(c, &rows[k], &p, MYNA_F32, 1, typed);
      compare(&rows[k], &p, "F32", typed, got, 2e-6);
      if (rows[k].rough) continue;
      gradients(c, &rows[k], &p, MYNA_F16, 1, typed);
      compare(&rows[k], &p, "F16", typed, got, 1e-2);
      gradients(c, &rows[k], &p, MYNA_BF16, 1, typed);
      compare(&rows[k], &p, "BF16", typed, got, 8e-2);
    }
  }
  myna_ctx_free(c);
  assert_int_equal(myna__mem_in_use(), before);
}

/* Every op of the list is differentiated above, is fused (test_fused.c), or has no gradient by nature. */
static void test_all_covered(void **state) {
  (void)state;
  static const char *const elsewhere[] = {"add_along_axis", "dequantize",
                                          "attention_paged"}; /* second order; test_fused.c; none */
  for (int i = 0; myna__op_at(i); i++) {
    const myna__op *op = myna__op_at(i);
    bool found = op->flags & (MYNA__OP_NOGRAD | MYNA__OP_EFFECT) || op->compose != NULL;
    for (size_t k = 0; k < MYNA__COUNT(rows); k++) found |= strcmp(rows[k].name, op->name) == 0;
    for (size_t k = 0; k < MYNA__COUNT(elsewhere); k++) found |= strcmp(elsewhere[k], op->name) == 0;
    if (!found) fail_msg("no gradient test for %s", op->name);
  }
}

/* ---- special points ---- */

static double grad_at(myna_ctx *c, build *fn, int which, int n, const double *x) {
  myna_array *in[MAX_IN] = {0}, *g;
  myna_err err = {0};
  for (int i = 0; i < n; i++) in[i] = myna_full(c, MYNA_F64, NULL, 0, x[i]);
  if (myna_grad(c, fn(c, in), &in[which], 1, &g) < 0) fail_msg("no gradient");
  return myna_item(g, &err);
}

static void test_points(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  double zero = 0;
  assert_true(grad_at(c, do_relu, 0, 1, &zero) == 0);
  assert_true(grad_at(c, do_abs, 0, 1, &zero) == 0);
  assert_true(grad_at(c, do_silu, 0, 1, &zero) == 0.5);
  assert_true(grad_at(c, do_softplus, 0, 1, (double[]){100}) == 1);
  assert_true(grad_at(c, do_sigmoid, 0, 1, (double[]){-1000}) == 0);
  assert_true(grad_at(c, do_maximum, 0, 2, (double[]){1, 1}) == 1 &&
              grad_at(c, do_maximum, 1, 2, (double[]){1, 1}) == 0);
  assert_true(grad_at(c, do_pow, 0, 2, (double[]){0, 0}) == 0); /* not NaN */
  assert_true(grad_at(c, do_pow, 0, 2, (double[]){0, 2}) == 0);
  assert_true(grad_at(c, do_pow, 0, 2, (double[]){-3, 2}) == -6);
  assert_true(grad_at(c, do_pow, 1, 2, (double[]){0, 2}) == 0);
  assert_true(grad_at(c, do_pow, 1, 2, (double[]){-3, 2}) == 0);
  /* prod with one and with two zeros; max with ties */
  myna_err err = {0};
  const double x[] = {2, 0, 3, 0, 0, 5}, want[] = {0, 6, 0, 0, 0, 0}, ties[] = {1, 4, 4, 7, 7, 7};
  const double shared[] = {0, 0.5, 0.5, 1.0 / 3, 1.0 / 3, 1.0 / 3};
  int axis = 1;
  myna_array *a = myna_from(c, MYNA_F64, (int64_t[]){2, 3}, 2, x),
             *b = myna_from(c, MYNA_F64, (int64_t[]){2, 3}, 2, ties), *g;
  assert_int_equal(myna_grad(c, myna_sum(c, myna_prod(c, a, &axis, 1, false), NULL, 0, false), &a, 1, &g), 0);
  assert_memory_equal(myna_data(g, &err), want, sizeof want);
  assert_int_equal(myna_grad(c, myna_sum(c, myna_max(c, b, &axis, 1, false), NULL, 0, false), &b, 1, &g), 0);
  assert_memory_equal(myna_data(g, &err), shared, sizeof shared);
  /* the side that where() does not take may be infinite */
  double at_zero = 0;
  myna_array *z = myna_from(c, MYNA_F64, NULL, 0, &at_zero);
  myna_array *v =
      myna_where(c, myna_gt(c, z, myna_full(c, MYNA_F64, NULL, 0, 0)), myna_div(c, z, myna_square(c, z)), z);
  assert_int_equal(myna_grad(c, v, &v, 1, &g), 0);
  assert_true(myna_item(v, &err) == 0 && myna_item(g, &err) == 1);
  myna_ctx_free(c);
}

/* ---- rules ---- */

static void test_rules(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  int64_t n = 3;
  myna_array *x = myna_ones(c, MYNA_F32, &n, 1), *y = myna_ones(c, MYNA_F32, &n, 1), *g[2];
  /* no dependence: zeros; the value itself: one; the same argument twice */
  myna_array *v = myna_sum(c, myna_square(c, x), NULL, 0, false);
  assert_int_equal(myna_grad(c, v, (myna_array *[]){y, x}, 2, g), 0);
  assert_true(myna_item(g[0], &err) == 0 && myna_item(g[1], &err) == 2);
  assert_int_equal(myna_grad(c, v, (myna_array *[]){v, x}, 2, g), 0);
  assert_true(myna_item(g[0], &err) == 1);
  assert_int_equal(myna_grad(c, v, (myna_array *[]){x, x}, 2, g), 0);
  assert_true(myna_item(g[0], &err) == 2 && myna_item(g[1], &err) == 2);
  /* stop_gradient, integers and comparisons cut */
  v = myna_sum(c, myna_mul(c, x, myna_stop_gradient(c, myna_scale(c, x, 3))), NULL, 0, false);
  assert_int_equal(myna_grad(c, v, &x, 1, g), 0);
  assert_true(myna_item(g[0], &err) == 3);
  v = myna_sum(c, myna_astype(c, myna_astype(c, myna_scale(c, x, 3), MYNA_I32), MYNA_F32), NULL, 0, false);
  assert_int_equal(myna_grad(c, v, &x, 1, g), 0);
  assert_true(myna_item(g[0], &err) == 0);
  /* mixed types: each gradient has its argument's */
  myna_array *h = myna_ones(c, MYNA_F16, &n, 1), *d = myna_ones(c, MYNA_F64, &n, 1);
  assert_int_equal(myna_grad(c, myna_sum(c, myna_mul(c, h, d), NULL, 0, false), (myna_array *[]){h, d}, 2, g), 0);
  assert_true(myna_type(g[0]) == MYNA_F16 && myna_type(g[1]) == MYNA_F64);
  /* errors */
  assert_int_equal(myna_grad(c, x, &x, 1, g), MYNA_E_SHAPE);
  assert_null(g[0]);
  myna_ctx_clear(c);
  assert_int_equal(myna_grad(c, NULL, &x, 1, g), MYNA_E_SHAPE);
  myna_ctx_clear(c);
  assert_int_equal(myna_grad(c, v, (myna_array *[]){NULL}, 1, g), MYNA_E_ARG);
  myna_ctx_clear(c);
  myna_array *i = myna_ones(c, MYNA_I32, &n, 1);
  assert_int_equal(myna_grad(c, v, &i, 1, g), MYNA_E_DTYPE);
  myna_ctx_clear(c);
  v = myna_sum(c, x, NULL, 0, false);
  assert_int_equal(myna_eval(c, &v, 1, &err), 0);
  assert_int_equal(myna_grad(c, v, &x, 1, g), MYNA_E_STATE);
  myna_ctx_clear(c);
  assert_int_equal(err.code, 0);
  myna_ctx_free(c);
}

static myna_array *loss(myna_ctx *c, void *user, myna_array *const *args, int n) {
  (void)n;
  myna_array *y = myna_mul(c, args[0], args[1]);
  if (user) myna_eval(c, &y, 1, NULL); /* looking inside does not cut the graph */
  return myna_sum(c, myna_square(c, y), NULL, 0, false);
}

static void test_value_and_grad(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  for (int look = 0; look < 2; look++) {
    myna_array *args[2] = {myna_scalar(c, 3), myna_scalar(c, 2)}, *g[2];
    myna_array *v = myna_value_and_grad(c, loss, look ? c : NULL, args, 2, g);
    assert_non_null(v);
    assert_true(myna_item(v, &err) == 36 && myna_item(g[0], &err) == 24 && myna_item(g[1], &err) == 36);
  }
  myna_ctx_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_differences), cmocka_unit_test(test_all_covered),    cmocka_unit_test(test_points),
      cmocka_unit_test(test_rules),       cmocka_unit_test(test_value_and_grad),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
