/* unary.c: element-wise functions of one array: one row each.
 *
 * The double function is the specification; `fast` is the same on F32 arrays, for those that matter (exp and the
 * activations are the kernels' own, so that they have the bits of the fused ops). Functions without an integer form
 * give F32 for integers. A new function: its name in MYNA_UNARY_LIST (myna_array.h) and a row here. */
#include "graph/build.h"
#include <math.h>

static const double SQRT_HALF = 0.70710678118654752440, INV_SQRT_2PI = 0.39894228040143267794;
static const double GELU_C = 0.79788456080286535588, GELU_A = 0.044715; /* sqrt(2/pi) */

/* ---- in double ---- */

static double neg_f64(double x) { return -x; }
static double sign_f64(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
static double rsqrt_f64(double x) { return 1 / sqrt(x); }
static double square_f64(double x) { return x * x; }
static double reciprocal_f64(double x) { return 1 / x; }
static double sigmoid_f64(double x) { return 1 / (1 + exp(-x)); }
static double relu_f64(double x) { return x < 0 ? 0 : x; }
static double silu_f64(double x) { return x / (1 + exp(-x)); }
static double gelu_f64(double x) { return 0.5 * x * erfc(-x * SQRT_HALF); }
static double gelu_tanh_f64(double x) { return 0.5 * x * (1 + tanh(GELU_C * (x + GELU_A * x * x * x))); }
static double softplus_f64(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double not_f64(double x) { return x == 0; }

/* ---- integers: the arithmetic wraps ---- */

static int64_t neg_i64(int64_t x) { return (int64_t)(0 - (uint64_t)x); }
static int64_t abs_i64(int64_t x) { return x < 0 ? neg_i64(x) : x; }
static int64_t sign_i64(int64_t x) { return (x > 0) - (x < 0); }
static int64_t square_i64(int64_t x) { return (int64_t)((uint64_t)x * (uint64_t)x); }
static int64_t same_i64(int64_t x) { return x; }
static int64_t relu_i64(int64_t x) { return x < 0 ? 0 : x; }
static int64_t not_i64(int64_t x) { return x == 0; }

/* ---- F32 arrays ---- */

static void neg_f32(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = -x[i];
}
static void abs_f32(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = fabsf(x[i]);
}
static void sqrt_f32(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = sqrtf(x[i]);
}
static void rsqrt_f32(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = 1.0f / sqrtf(x[i]);
}
static void square_f32(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] * x[i];
}
static void reciprocal_f32(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = 1.0f / x[i];
}
static void relu_f32(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}
static void exp_f32(float *y, const float *x, int64_t n) { myna__unary(MYNA__FN_EXP, y, x, n); }
static void tanh_f32(float *y, const float *x, int64_t n) { myna__unary(MYNA__FN_TANH, y, x, n); }
static void sigmoid_f32(float *y, const float *x, int64_t n) { myna__unary(MYNA__FN_SIGMOID, y, x, n); }
static void silu_f32(float *y, const float *x, int64_t n) { myna__unary(MYNA__FN_SILU, y, x, n); }
static void gelu_f32(float *y, const float *x, int64_t n) { myna__unary(MYNA__FN_GELU_ERF, y, x, n); }
static void gelu_tanh_f32(float *y, const float *x, int64_t n) { myna__unary(MYNA__FN_GELU_TANH, y, x, n); }

/* ---- gradients: g * f'(x), y = f(x) ---- */

typedef myna_array *gradient(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g);

static myna_array *one_minus(myna_ctx *c, myna_array *a) { return myna_offset(c, myna_neg(c, a), 1); }

static myna_array *neg_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) { return myna_neg(c, g); }
static myna_array *abs_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, g, myna_sign(c, x));
}
static myna_array *exp_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) { return myna_mul(c, g, y); }
static myna_array *expm1_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, g, myna_offset(c, y, 1));
}
static myna_array *log_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) { return myna_div(c, g, x); }
static myna_array *log1p_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_div(c, g, myna_offset(c, x, 1));
}
static myna_array *sqrt_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_div(c, myna_scale(c, g, 0.5), y);
}
static myna_array *rsqrt_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, myna_scale(c, g, -0.5), myna_mul(c, y, myna_square(c, y)));
}
static myna_array *square_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, g, myna_scale(c, x, 2));
}
static myna_array *reciprocal_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, myna_neg(c, g), myna_square(c, y));
}
static myna_array *sin_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, g, myna_cos(c, x));
}
static myna_array *cos_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, myna_neg(c, g), myna_sin(c, x));
}
static myna_array *tanh_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, g, one_minus(c, myna_square(c, y)));
}
static myna_array *sigmoid_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, g, myna_mul(c, y, one_minus(c, y)));
}
static myna_array *erf_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  myna_array *bell = myna_exp(c, myna_neg(c, myna_square(c, x)));
  return myna_mul(c, myna_scale(c, g, 2 * SQRT_HALF * GELU_C), bell); /* 2 / sqrt(pi) */
}
static myna_array *relu_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  myna_array *zero = myna__scalar_like(c, x, 0);
  return myna_where(c, myna_gt(c, x, zero), g, zero);
}
static myna_array *silu_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  myna_array *s = myna_sigmoid(c, x); /* s + y (1 - s) */
  return myna_mul(c, g, myna_add(c, s, myna_mul(c, y, one_minus(c, s))));
}
static myna_array *gelu_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  myna_array *area = myna_offset(c, myna_scale(c, myna_erf(c, myna_scale(c, x, SQRT_HALF)), 0.5), 0.5);
  myna_array *bell = myna_scale(c, myna_exp(c, myna_scale(c, myna_square(c, x), -0.5)), INV_SQRT_2PI);
  return myna_mul(c, g, myna_add(c, area, myna_mul(c, x, bell)));
}
static myna_array *gelu_tanh_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  myna_array *x2 = myna_square(c, x); /* u = C (x + A x^3); 0.5 (1 + t) + 0.5 x (1 - t^2) u' */
  myna_array *u = myna_mul(c, myna_scale(c, x, GELU_C), myna_offset(c, myna_scale(c, x2, GELU_A), 1));
  myna_array *du = myna_scale(c, myna_offset(c, myna_scale(c, x2, 3 * GELU_A), 1), GELU_C);
  myna_array *t = myna_tanh(c, u), *rest = myna_mul(c, one_minus(c, myna_square(c, t)), du);
  return myna_mul(c, g, myna_scale(c, myna_add(c, myna_offset(c, t, 1), myna_mul(c, x, rest)), 0.5));
}
static myna_array *softplus_grad(myna_ctx *c, myna_array *x, myna_array *y, myna_array *g) {
  return myna_mul(c, g, myna_sigmoid(c, x));
}

/* ---- the table ---- */

enum { SMOOTH = 0, FLAT = MYNA__OP_NOGRAD }; /* FLAT: the gradient is zero wherever there is one */

/* clang-format off */
/* name, in double, F32 arrays or NULL, integers or NULL, gradient, flags */
#define ROWS(X)                                                                           \
  X(neg, neg_f64, neg_f32, neg_i64, neg_grad, SMOOTH)                                     \
  X(abs, fabs, abs_f32, abs_i64, abs_grad, SMOOTH)                                        \
  X(sign, sign_f64, NULL, sign_i64, NULL, FLAT)                                           \
  X(exp, exp, exp_f32, NULL, exp_grad, SMOOTH)                                            \
  X(expm1, expm1, NULL, NULL, expm1_grad, SMOOTH)                                         \
  X(log, log, NULL, NULL, log_grad, SMOOTH)                                               \
  X(log1p, log1p, NULL, NULL, log1p_grad, SMOOTH)                                         \
  X(sqrt, sqrt, sqrt_f32, NULL, sqrt_grad, SMOOTH)                                        \
  X(rsqrt, rsqrt_f64, rsqrt_f32, NULL, rsqrt_grad, SMOOTH)                                \
  X(square, square_f64, square_f32, square_i64, square_grad, SMOOTH)                      \
  X(reciprocal, reciprocal_f64, reciprocal_f32, NULL, reciprocal_grad, SMOOTH)            \
  X(sin, sin, NULL, NULL, sin_grad, SMOOTH)                                               \
  X(cos, cos, NULL, NULL, cos_grad, SMOOTH)                                               \
  X(tanh, tanh, tanh_f32, NULL, tanh_grad, SMOOTH)                                        \
  X(sigmoid, sigmoid_f64, sigmoid_f32, NULL, sigmoid_grad, SMOOTH)                        \
  X(erf, erf, NULL, NULL, erf_grad, SMOOTH)                                               \
  X(floor, floor, NULL, same_i64, NULL, FLAT)                                             \
  X(ceil, ceil, NULL, same_i64, NULL, FLAT)                                               \
  X(round, rint, NULL, same_i64, NULL, FLAT)                                              \
  X(logical_not, not_f64, NULL, not_i64, NULL, FLAT)                                      \
  X(relu, relu_f64, relu_f32, relu_i64, relu_grad, SMOOTH)                                \
  X(silu, silu_f64, silu_f32, NULL, silu_grad, SMOOTH)                                    \
  X(gelu, gelu_f64, gelu_f32, NULL, gelu_grad, SMOOTH)                                    \
  X(gelu_tanh, gelu_tanh_f64, gelu_tanh_f32, NULL, gelu_tanh_grad, SMOOTH)                \
  X(softplus, softplus_f64, NULL, NULL, softplus_grad, SMOOTH)
/* clang-format on */

typedef struct row {
  double (*f64)(double);
  void (*f32)(float *y, const float *x, int64_t n);
  int64_t (*i64)(int64_t);
  gradient *grad;
} row;

enum id {
#define X(name, f64, f32, i64, grad, flags) ROW_##name,
  ROWS(X)
#undef X
};

static const row rows[] = {
#define X(name, f64, f32, i64, grad, flags) {f64, f32, i64, grad},
    ROWS(X)
#undef X
};

typedef struct unary_params {
  enum id id;
} unary_params;

static const row *row_of(const void *params) { return &rows[((const unary_params *)params)->id]; }

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  out[0] = n->in[0]->spec;
  if (((const unary_params *)n->params)->id == ROW_logical_not)
    out[0].type = MYNA_BOOL;
  else if (row_of(n->params)->i64)
    out[0].type = myna__dtype_number(out[0].type);
  else
    out[0].type = myna__dtype_floating(out[0].type);
  return 0;
}

static void loop_f32(const void *params, void *y, const void *const *x, int64_t n) {
  const row *r = row_of(params);
  const float *a = x[0];
  float *out = y;
  if (r->f32)
    r->f32(out, a, n);
  else
    for (int64_t i = 0; i < n; i++) out[i] = (float)r->f64((double)a[i]);
}

static void loop_f64(const void *params, void *y, const void *const *x, int64_t n) {
  const row *r = row_of(params);
  const double *a = x[0];
  double *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = r->f64(a[i]);
}

static void loop_i64(const void *params, void *y, const void *const *x, int64_t n) {
  const row *r = row_of(params);
  const int64_t *a = x[0];
  int64_t *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = r->i64(a[i]);
}

static void run(const myna__run *r) {
  static const myna__each_fn loops[] = {loop_f32, loop_f64, loop_i64};
  myna__class k = myna__class_of(r->out[0].type);
  if (k == MYNA__CLASS_BOOL) /* logical_not computes as its operand does */
    k = myna__dtype_is_float(r->in[0].type) ? MYNA__CLASS_F64 : MYNA__CLASS_I64;
  myna__each e = {.out = &r->out[0],
                  .in = {&r->in[0]},
                  .n_in = 1,
                  .out_class = k,
                  .in_class = {k},
                  .fn = loops[k],
                  .params = r->params};
  myna__each_run(&e, r->pool);
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  gradient *grad = row_of(n->params)->grad;
  if (want[0] && grad) grads[0] = grad(c, n->in[0], n->out[0], cot[0]);
  return c->err.code;
}

static myna_array *apply(myna_ctx *c, const myna__op *op, enum id id, myna_array *a) {
  unary_params p = {id};
  return myna__apply1(c, op, &a, 1, &p, sizeof p);
}

enum { FLAGS = MYNA__OP_INPLACE | MYNA__OP_STRIDED };

/* The wrappers are one line each and differ in nothing but the name: the list writes them. */
#define X(fn, f64, f32, i64, grad, flag)                                                                       \
  const myna__op myna__op_##fn = {.name = #fn, .flags = FLAGS | flag, .shape = shape, .run = run, .vjp = vjp}; \
  myna_array *myna_##fn(myna_ctx *c, myna_array *a) { return apply(c, &myna__op_##fn, ROW_##fn, a); }
ROWS(X)
#undef X
