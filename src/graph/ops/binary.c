/* binary.c: element-wise functions of two arrays, broadcast: one row each.
 *
 * The double function is the specification; `fast` is the same on F32 arrays. A row computes in the promoted type of
 * its operands. A new function: its name in MYNA_BINARY_LIST (myna_array.h) and a row here. */
#include "graph/build.h"
#include <math.h>

/* ---- in double ---- */

static double add_f64(double a, double b) { return a + b; }
static double sub_f64(double a, double b) { return a - b; }
static double mul_f64(double a, double b) { return a * b; }
static double div_f64(double a, double b) { return a / b; }
static double max_f64(double a, double b) { return a > b || a != a ? a : b; } /* NaN stays */
static double min_f64(double a, double b) { return a < b || a != a ? a : b; }
static double eq_f64(double a, double b) { return a == b; }
static double ne_f64(double a, double b) { return a != b; }
static double lt_f64(double a, double b) { return a < b; }
static double le_f64(double a, double b) { return a <= b; }
static double gt_f64(double a, double b) { return a > b; }
static double ge_f64(double a, double b) { return a >= b; }
static double and_f64(double a, double b) { return a != 0 && b != 0; }
static double or_f64(double a, double b) { return a != 0 || b != 0; }
static double remainder_f64(double a, double b) { /* the sign of b */
  double r = fmod(a, b);
  if (r == 0) return copysign(0, b);
  return (r < 0) != (b < 0) ? r + b : r;
}

/* ---- integers: the arithmetic wraps, division by zero gives zero ---- */

static int64_t add_i64(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static int64_t sub_i64(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }
static int64_t mul_i64(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }
static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t eq_i64(int64_t a, int64_t b) { return a == b; }
static int64_t ne_i64(int64_t a, int64_t b) { return a != b; }
static int64_t lt_i64(int64_t a, int64_t b) { return a < b; }
static int64_t le_i64(int64_t a, int64_t b) { return a <= b; }
static int64_t gt_i64(int64_t a, int64_t b) { return a > b; }
static int64_t ge_i64(int64_t a, int64_t b) { return a >= b; }
static int64_t and_i64(int64_t a, int64_t b) { return a && b; }
static int64_t or_i64(int64_t a, int64_t b) { return a || b; }
static int64_t remainder_i64(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;
  int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static int64_t pow_i64(int64_t a, int64_t b) { /* a negative exponent: what is left of 1 / a^-b */
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
  uint64_t y = 1, x = (uint64_t)a;
  for (; b; b >>= 1, x *= x)
    if (b & 1) y *= x;
  return (int64_t)y;
}

/* ---- F32 arrays ---- */

static void add_f32(float *y, const float *a, const float *b, int64_t n) { myna__add(y, a, b, n); }
static void sub_f32(float *y, const float *a, const float *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] - b[i];
}
static void mul_f32(float *y, const float *a, const float *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}
static void div_f32(float *y, const float *a, const float *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] / b[i];
}
static void max_f32(float *y, const float *a, const float *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] > b[i] || a[i] != a[i] ? a[i] : b[i];
}
static void min_f32(float *y, const float *a, const float *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] < b[i] || a[i] != a[i] ? a[i] : b[i];
}

/* ---- gradients: cotangents of a and b in g[0] and g[1], not yet summed to their shapes ---- */

typedef struct operands {
  myna_array *a, *b, *y, *cot;
  const bool *want;
} operands;
typedef void gradient(myna_ctx *c, const operands *o, myna_array **g);

static void add_grad(myna_ctx *c, const operands *o, myna_array **g) {
  (void)c;
  g[0] = g[1] = o->cot;
}
static void sub_grad(myna_ctx *c, const operands *o, myna_array **g) {
  g[0] = o->cot;
  if (o->want[1]) g[1] = myna_neg(c, o->cot);
}
static void mul_grad(myna_ctx *c, const operands *o, myna_array **g) {
  if (o->want[0]) g[0] = myna_mul(c, o->cot, o->b);
  if (o->want[1]) g[1] = myna_mul(c, o->cot, o->a);
}
static void div_grad(myna_ctx *c, const operands *o, myna_array **g) {
  if (o->want[0]) g[0] = myna_div(c, o->cot, o->b);
  if (o->want[1]) g[1] = myna_neg(c, myna_div(c, myna_mul(c, o->cot, o->y), o->b));
}
/* b a^(b-1), which is 0 for b = 0 whatever a is; log(a) a^b, taken as 0 for a <= 0. */
static void pow_grad(myna_ctx *c, const operands *o, myna_array **g) {
  if (o->want[0]) {
    myna_array *zero = myna__scalar_like(c, o->b, 0),
               *slope = myna_mul(c, o->b, myna_pow(c, o->a, myna_offset(c, o->b, -1)));
    slope = myna_where(c, myna_eq(c, o->b, zero), myna__scalar_like(c, slope, 0), slope);
    g[0] = myna_mul(c, o->cot, slope);
  }
  if (o->want[1]) {
    myna_array *positive = myna_gt(c, o->a, myna__scalar_like(c, o->a, 0)),
               *safe = myna_where(c, positive, o->a, myna__scalar_like(c, o->a, 1));
    g[1] = myna_mul(c, o->cot, myna_mul(c, o->y, myna_log(c, safe)));
  }
}
/* All to the operand that won, to a where both are equal. */
static void extreme_grad(myna_ctx *c, const operands *o, myna_array *first, myna_array **g) {
  myna_array *zero = myna__scalar_like(c, o->cot, 0);
  if (o->want[0]) g[0] = myna_where(c, first, o->cot, zero);
  if (o->want[1]) g[1] = myna_where(c, first, zero, o->cot);
}
static void max_grad(myna_ctx *c, const operands *o, myna_array **g) { extreme_grad(c, o, myna_ge(c, o->a, o->b), g); }
static void min_grad(myna_ctx *c, const operands *o, myna_array **g) { extreme_grad(c, o, myna_le(c, o->a, o->b), g); }
static void remainder_grad(myna_ctx *c, const operands *o, myna_array **g) {
  g[0] = o->cot;
  if (o->want[1]) g[1] = myna_neg(c, myna_mul(c, o->cot, myna_floor(c, myna_div(c, o->a, o->b))));
}

/* ---- the table ---- */

enum { SMOOTH = 0, FLAT = MYNA__OP_NOGRAD };
typedef enum result { NUMBER, FLOATING, TRUTH } result; /* type of the result: promoted; promoted and float; BOOL */

/* clang-format off */
/* name, in double, F32 arrays or NULL, integers or NULL, gradient, result, flags */
#define ROWS(X)                                                                     \
  X(add, add_f64, add_f32, add_i64, add_grad, NUMBER, SMOOTH)                       \
  X(sub, sub_f64, sub_f32, sub_i64, sub_grad, NUMBER, SMOOTH)                       \
  X(mul, mul_f64, mul_f32, mul_i64, mul_grad, NUMBER, SMOOTH)                       \
  X(div, div_f64, div_f32, NULL, div_grad, FLOATING, SMOOTH)                        \
  X(pow, pow, NULL, pow_i64, pow_grad, NUMBER, SMOOTH)                              \
  X(maximum, max_f64, max_f32, max_i64, max_grad, NUMBER, SMOOTH)                   \
  X(minimum, min_f64, min_f32, min_i64, min_grad, NUMBER, SMOOTH)                   \
  X(remainder, remainder_f64, NULL, remainder_i64, remainder_grad, NUMBER, SMOOTH)  \
  X(eq, eq_f64, NULL, eq_i64, NULL, TRUTH, FLAT)                                    \
  X(ne, ne_f64, NULL, ne_i64, NULL, TRUTH, FLAT)                                    \
  X(lt, lt_f64, NULL, lt_i64, NULL, TRUTH, FLAT)                                    \
  X(le, le_f64, NULL, le_i64, NULL, TRUTH, FLAT)                                    \
  X(gt, gt_f64, NULL, gt_i64, NULL, TRUTH, FLAT)                                    \
  X(ge, ge_f64, NULL, ge_i64, NULL, TRUTH, FLAT)                                    \
  X(logical_and, and_f64, NULL, and_i64, NULL, TRUTH, FLAT)                         \
  X(logical_or, or_f64, NULL, or_i64, NULL, TRUTH, FLAT)
/* clang-format on */

typedef struct row {
  double (*f64)(double, double);
  void (*f32)(float *y, const float *a, const float *b, int64_t n);
  int64_t (*i64)(int64_t, int64_t);
  gradient *grad;
  result result;
} row;

enum id {
#define X(name, f64, f32, i64, grad, result, flags) ROW_##name,
  ROWS(X)
#undef X
};

static const row rows[] = {
#define X(name, f64, f32, i64, grad, result, flags) {f64, f32, i64, grad, result},
    ROWS(X)
#undef X
};

typedef struct binary_params {
  enum id id;
} binary_params;

static const row *row_of(const void *params) { return &rows[((const binary_params *)params)->id]; }

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *a = &n->in[0]->spec, *b = &n->in[1]->spec;
  TRY(myna__spec_broadcast(a, b, &out[0], err));
  result kind = row_of(n->params)->result;
  myna_dtype t = myna__dtype_number(myna__dtype_promote(a->type, b->type));
  out[0].type = kind == TRUTH ? MYNA_BOOL : kind == FLOATING ? myna__dtype_floating(t) : t;
  return 0;
}

static void loop_f32(const void *params, void *y, const void *const *x, int64_t n) {
  const row *r = row_of(params);
  const float *a = x[0], *b = x[1];
  float *out = y;
  if (r->f32)
    r->f32(out, a, b, n);
  else
    for (int64_t i = 0; i < n; i++) out[i] = (float)r->f64((double)a[i], (double)b[i]);
}

static void loop_f64(const void *params, void *y, const void *const *x, int64_t n) {
  const row *r = row_of(params);
  const double *a = x[0], *b = x[1];
  double *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = r->f64(a[i], b[i]);
}

static void loop_i64(const void *params, void *y, const void *const *x, int64_t n) {
  const row *r = row_of(params);
  const int64_t *a = x[0], *b = x[1];
  int64_t *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = r->i64(a[i], b[i]);
}

static void run(const myna__run *r) {
  static const myna__each_fn loops[] = {loop_f32, loop_f64, loop_i64};
  myna_dtype t = myna__dtype_promote(r->in[0].type, r->in[1].type);
  if (row_of(r->params)->result == FLOATING) t = r->out[0].type;
  myna__class k = myna__class_of(myna__dtype_number(t));
  myna__each e = {.out = &r->out[0],
                  .in = {&r->in[0], &r->in[1]},
                  .n_in = 2,
                  .out_class = k,
                  .in_class = {k, k},
                  .fn = loops[k],
                  .params = r->params};
  myna__each_run(&e, r->pool);
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  operands o = {n->in[0], n->in[1], n->out[0], cot[0], want};
  gradient *grad = row_of(n->params)->grad;
  myna_array *g[2] = {NULL, NULL};
  if (grad) grad(c, &o, g);
  for (int i = 0; i < 2; i++)
    if (want[i] && g[i]) grads[i] = myna__unbroadcast(c, g[i], &n->in[i]->spec);
  return c->err.code;
}

static myna_array *apply(myna_ctx *c, const myna__op *op, enum id id, myna_array *a, myna_array *b) {
  binary_params p = {id};
  return myna__apply1(c, op, (myna_array *[]){a, b}, 2, &p, sizeof p);
}

enum { FLAGS = MYNA__OP_INPLACE | MYNA__OP_STRIDED };

/* The wrappers are one line each and differ in nothing but the name: the list writes them. */
#define X(fn, f64, f32, i64, grad, result, flag)                                                               \
  const myna__op myna__op_##fn = {.name = #fn, .flags = FLAGS | flag, .shape = shape, .run = run, .vjp = vjp}; \
  myna_array *myna_##fn(myna_ctx *c, myna_array *a, myna_array *b) { return apply(c, &myna__op_##fn, ROW_##fn, a, b); }
ROWS(X)
#undef X
