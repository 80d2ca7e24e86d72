/* softmax.c: softmax and log_softmax over the last axis; other axes are swapped there, other types go through F32 or
 * F64. F32 softmax is the kernels', so that it has the bits of the fused ops. */
#include "graph/build.h"
#include <math.h>

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *a = &n->in[0]->spec;
  if (a->type != MYNA_F32 && a->type != MYNA_F64)
    return myna__err(err, MYNA_E_DTYPE, "%s is not a float type", myna_dtype_name(a->type));
  TRY_N(myna__axis_fixed(a, -1, err));
  out[0] = *a;
  return 0;
}

static void softmax_f64(double *y, const double *x, int64_t n) {
  double max = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) max = x[i] > max || x[i] != x[i] ? x[i] : max;
  for (int64_t i = 0; i < n; i++) sum += y[i] = exp(x[i] - max);
  for (int64_t i = 0; i < n; i++) y[i] /= sum;
}

static void log_softmax_f64(double *y, const double *x, int64_t n) {
  double max = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) max = x[i] > max || x[i] != x[i] ? x[i] : max;
  for (int64_t i = 0; i < n; i++) sum += exp(x[i] - max);
  max += log(sum);
  for (int64_t i = 0; i < n; i++) y[i] = x[i] - max;
}

/* x - max - log(sum), the sum of the kernels' exponentials in double. */
static void log_softmax_f32(float *y, const float *x, int64_t n) {
  float e[MYNA__CHUNK], max = -INFINITY;
  double sum = 0;
  for (int64_t i = 0; i < n; i++) max = x[i] > max || x[i] != x[i] ? x[i] : max;
  for (int64_t at = 0; at < n; at += MYNA__CHUNK) {
    int64_t m = MYNA__MIN(n - at, (int64_t)MYNA__CHUNK);
    for (int64_t i = 0; i < m; i++) e[i] = x[at + i] - max;
    myna__unary(MYNA__FN_EXP, e, e, m);
    for (int64_t i = 0; i < m; i++) sum += (double)e[i];
  }
  float log_sum = (float)log(sum);
  for (int64_t i = 0; i < n; i++) y[i] = x[i] - max - log_sum;
}

typedef struct rows_job {
  const myna__run *r;
  int64_t n, stride;
  void (*f64)(double *y, const double *x, int64_t n);
} rows_job;

static void unit(void *arg, int64_t row, int worker) {
  const rows_job *j = arg;
  const uint8_t *x = j->r->in[0].data + row * j->stride;
  uint8_t *y = j->r->out[0].data + row * j->n * myna_dtype_bytes(j->r->out[0].type);
  (void)worker;
  if (j->f64)
    j->f64((double *)(void *)y, (const double *)(const void *)x, j->n);
  else
    log_softmax_f32((float *)(void *)y, (const float *)(const void *)x, j->n);
}

static void run_rows(const myna__run *r, void (*f64)(double *, const double *, int64_t)) {
  enum { FEW = 16 * 1024 };
  rows_job j = {.r = r, .f64 = r->in[0].type == MYNA_F64 ? f64 : NULL};
  int64_t rows;
  myna__tensor_rows(&r->in[0], &rows, &j.n, &j.stride);
  myna__pool_run(rows * j.n <= FEW ? NULL : r->pool, rows, unit, &j);
}

static void softmax_run(const myna__run *r) {
  int64_t rows, n, stride;
  if (r->in[0].type == MYNA_F64) {
    run_rows(r, softmax_f64);
    return;
  }
  myna__tensor_rows(&r->in[0], &rows, &n, &stride);
  myna__softmax((float *)(void *)r->out[0].data, n, (const float *)(const void *)r->in[0].data, stride / 4, 1.0f, rows,
                n, r->pool);
}

static void log_softmax_run(const myna__run *r) { run_rows(r, log_softmax_f64); }

/* y (g - sum(g y)) */
static int softmax_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  int last = -1;
  if (!want[0]) return 0;
  myna_array *gy = myna_mul(c, cot[0], n->out[0]);
  grads[0] = myna_sub(c, gy, myna_mul(c, n->out[0], myna_sum(c, gy, &last, 1, true)));
  return c->err.code;
}

/* g - softmax sum(g) */
static int log_softmax_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want,
                           myna_array **grads) {
  int last = -1;
  if (want[0]) grads[0] = myna_sub(c, cot[0], myna_mul(c, myna_exp(c, n->out[0]), myna_sum(c, cot[0], &last, 1, true)));
  return c->err.code;
}

const myna__op myna__op_softmax = {
    .name = "softmax", .flags = MYNA__OP_INPLACE, .shape = shape, .run = softmax_run, .vjp = softmax_vjp};
const myna__op myna__op_log_softmax = {
    .name = "log_softmax", .flags = MYNA__OP_INPLACE, .shape = shape, .run = log_softmax_run, .vjp = log_softmax_vjp};

/* op over `axis` of any type of numbers. */
static myna_array *over_axis(myna_ctx *c, const myna__op *op, myna_array *a, int axis) {
  myna_err err = {0};
  if (!a) return myna__apply1(c, op, &a, 1, NULL, 0);
  axis = myna__axis_fixed(&a->spec, axis, &err);
  if (axis < 0) return myna__fail(c, axis, op->name, "%s", err.msg);
  myna_dtype t = myna__dtype_floating(a->spec.type), computing = t == MYNA_F64 ? MYNA_F64 : MYNA_F32;
  a = myna_astype(c, a, computing);
  bool last = a && axis == a->spec.n_dims - 1;
  if (!last) a = myna_swapaxes(c, a, axis, -1);
  a = myna__apply1(c, op, &a, 1, NULL, 0);
  if (!last) a = myna_swapaxes(c, a, axis, -1);
  return myna_astype(c, a, t);
}

myna_array *myna_softmax(myna_ctx *c, myna_array *a, int axis) { return over_axis(c, &myna__op_softmax, a, axis); }
myna_array *myna_log_softmax(myna_ctx *c, myna_array *a, int axis) {
  return over_axis(c, &myna__op_log_softmax, a, axis);
}
