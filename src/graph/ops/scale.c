/* scale.c: a * s and a + s with a number that is part of the op. An integer array stays one when s is integral. */
#include "graph/build.h"
#include <math.h>

typedef struct scale_params {
  double s;
} scale_params;

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  double s = ((const scale_params *)n->params)->s;
  out[0] = n->in[0]->spec;
  out[0].type = myna__dtype_number(out[0].type);
  if (s != floor(s) || fabs(s) > 0x1p53) out[0].type = myna__dtype_floating(out[0].type);
  return 0;
}

static void scale_f32(const void *params, void *y, const void *const *x, int64_t n) {
  const float *a = x[0];
  float s = (float)((const scale_params *)params)->s, *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = a[i] * s;
}

static void scale_f64(const void *params, void *y, const void *const *x, int64_t n) {
  const double *a = x[0], s = ((const scale_params *)params)->s;
  double *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = a[i] * s;
}

static void scale_i64(const void *params, void *y, const void *const *x, int64_t n) {
  const uint64_t *a = x[0]; /* wraps */
  uint64_t s = (uint64_t)(int64_t)((const scale_params *)params)->s, *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = a[i] * s;
}

static void offset_f32(const void *params, void *y, const void *const *x, int64_t n) {
  const float *a = x[0];
  float s = (float)((const scale_params *)params)->s, *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = a[i] + s;
}

static void offset_f64(const void *params, void *y, const void *const *x, int64_t n) {
  const double *a = x[0], s = ((const scale_params *)params)->s;
  double *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = a[i] + s;
}

static void offset_i64(const void *params, void *y, const void *const *x, int64_t n) {
  const uint64_t *a = x[0];
  uint64_t s = (uint64_t)(int64_t)((const scale_params *)params)->s, *out = y;
  for (int64_t i = 0; i < n; i++) out[i] = a[i] + s;
}

static void run(const myna__run *r, const myna__each_fn *loops) { /* [class] */
  myna__class k = myna__class_of(r->out[0].type);
  myna__each e = {.out = &r->out[0],
                  .in = {&r->in[0]},
                  .n_in = 1,
                  .out_class = k,
                  .in_class = {k},
                  .fn = loops[k],
                  .params = r->params};
  myna__each_run(&e, r->pool);
}

static void scale_run(const myna__run *r) {
  static const myna__each_fn loops[] = {scale_f32, scale_f64, scale_i64};
  run(r, loops);
}

static void offset_run(const myna__run *r) {
  static const myna__each_fn loops[] = {offset_f32, offset_f64, offset_i64};
  run(r, loops);
}

static int scale_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  if (want[0]) grads[0] = myna_scale(c, cot[0], ((const scale_params *)n->params)->s);
  return c->err.code;
}

static int offset_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  (void)n;
  if (want[0]) grads[0] = cot[0];
  return c->err.code;
}

static void print(const void *params, myna__buf *b) { myna__buf_printf(b, " %g", ((const scale_params *)params)->s); }

enum { FLAGS = MYNA__OP_INPLACE | MYNA__OP_STRIDED };

const myna__op myna__op_scale = {
    .name = "scale", .flags = FLAGS, .shape = shape, .run = scale_run, .vjp = scale_vjp, .print = print};
const myna__op myna__op_offset = {
    .name = "offset", .flags = FLAGS, .shape = shape, .run = offset_run, .vjp = offset_vjp, .print = print};

myna_array *myna_scale(myna_ctx *c, myna_array *a, double s) {
  scale_params p = {s};
  return myna__apply1(c, &myna__op_scale, &a, 1, &p, sizeof p);
}

myna_array *myna_offset(myna_ctx *c, myna_array *a, double s) {
  scale_params p = {s};
  return myna__apply1(c, &myna__op_offset, &a, 1, &p, sizeof p);
}
