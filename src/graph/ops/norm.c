/* norm.c: RMS norm and layer norm over the last axis. */
#include "graph/gated.h"

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *x = &n->in[0]->spec;
  if (x->type != MYNA_F32 || x->n_dims < 1)
    return myna__err(err, MYNA_E_DTYPE, "x must be F32 with at least one dimension");
  for (int i = 1; i < n->n_in; i++)
    if (n->in[i] && (n->in[i]->spec.type != MYNA_F32 || n->in[i]->spec.n_dims != 1 ||
                     n->in[i]->spec.dims[0] != x->dims[x->n_dims - 1]))
      return myna__err(err, MYNA_E_SHAPE, "weight %d must be F32 of the length of the last axis", i);
  out[0] = *x;
  return 0;
}

static void run_rms(const myna__run *r) {
  int64_t rows, n, stride;
  myna__tensor_rows(&r->in[0], &rows, &n, &stride);
  myna__rms_norm((float *)(void *)r->out[0].data, n, (const float *)(const void *)r->in[0].data, stride / 4,
                 (const float *)(const void *)r->in[1].data, ((const myna__norm_params *)r->params)->eps, rows, n,
                 r->pool);
}

static void run_layer(const myna__run *r) {
  int64_t rows, n, stride;
  myna__tensor_rows(&r->in[0], &rows, &n, &stride);
  myna__layer_norm((float *)(void *)r->out[0].data, n, (const float *)(const void *)r->in[0].data, stride / 4,
                   (const float *)(const void *)r->in[1].data, (const float *)(const void *)r->in[2].data,
                   ((const myna__norm_params *)r->params)->eps, rows, n, r->pool);
}

static myna_array *scaled(myna_ctx *c, myna_array *x, double eps) {
  int last = -1;
  return myna_mul(c, x, myna_rsqrt(c, myna_offset(c, myna_mean(c, myna_square(c, x), &last, 1, true), eps)));
}

static int compose_rms(myna_ctx *c, const myna__node *n, myna_array **out) {
  out[0] = scaled(c, n->in[0], (double)((const myna__norm_params *)n->params)->eps);
  if (n->in[1]) out[0] = myna_mul(c, out[0], n->in[1]);
  return c->err.code;
}

static int compose_layer(myna_ctx *c, const myna__node *n, myna_array **out) {
  int last = -1;
  myna_array *x = myna_sub(c, n->in[0], myna_mean(c, n->in[0], &last, 1, true));
  out[0] = scaled(c, x, (double)((const myna__norm_params *)n->params)->eps);
  if (n->in[1]) out[0] = myna_mul(c, out[0], n->in[1]);
  if (n->in[2]) out[0] = myna_add(c, out[0], n->in[2]);
  return c->err.code;
}

const myna__op myna__op_rms_norm = {
    .name = "rms_norm", .flags = MYNA__OP_INPLACE, .shape = shape, .run = run_rms, .compose = compose_rms};
const myna__op myna__op_layer_norm = {
    .name = "layer_norm", .flags = MYNA__OP_INPLACE, .shape = shape, .run = run_layer, .compose = compose_layer};

myna_array *myna_rms_norm(myna_ctx *c, myna_array *x, myna_array *w, double eps) {
  myna__norm_params p = {(float)eps};
  myna_array *out;
  myna__apply(c, &myna__op_rms_norm, (myna_array *[]){x, w}, 2, 2, &p, sizeof p, &out, 1);
  return out;
}

myna_array *myna_layer_norm(myna_ctx *c, myna_array *x, myna_array *w, myna_array *b, double eps) {
  myna__norm_params p = {(float)eps};
  myna_array *out;
  myna__apply(c, &myna__op_layer_norm, (myna_array *[]){x, w, b}, 3, 6, &p, sizeof p, &out, 1);
  return out;
}
