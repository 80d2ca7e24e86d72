/* expert_sum.c: y[t] = sum over slots, ascending, of y[t, s] * weight[t, s]: the token's top-k order. */
#include "graph/graph.h"
#include <math.h>

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *y = &n->in[0]->spec, *w = &n->in[1]->spec;
  if (y->type != MYNA_F32 || w->type != MYNA_F32) return myna__err(err, MYNA_E_DTYPE, "operands must be F32");
  if (y->n_dims != 3 || w->n_dims != 2 || y->dims[0] != w->dims[0] || y->dims[1] != w->dims[1])
    return myna__err(err, MYNA_E_SHAPE, "y must be [n_tok, k, n] and weights [n_tok, k]");
  out[0] = (myna__spec){MYNA_F32, 2, {y->dims[0], y->dims[2]}};
  return 0;
}

static void run(const myna__run *r) {
  const myna__tensor *y = &r->in[0], *w = &r->in[1];
  int64_t k = y->shape[1], n = y->shape[2];
  for (int64_t t = 0; t < y->shape[0]; t++) {
    float *o = (float *)(void *)r->out[0].data + t * n;
    const float *wt = (const float *)(const void *)(w->data + t * w->stride[0]);
    for (int64_t s = 0; s < k; s++) {
      const float *ys = (const float *)(const void *)(y->data + t * y->stride[0] + s * y->stride[1]);
      for (int64_t i = 0; i < n; i++) o[i] = s ? o[i] + ys[i] * wt[s] : ys[i] * wt[s];
    }
  }
}

static int compose(myna_ctx *c, const myna__node *n, myna_array **out) {
  int axis = 1;
  out[0] = myna_sum(c, myna_mul(c, n->in[0], myna_expand_dims(c, n->in[1], -1)), &axis, 1, false);
  return c->err.code;
}

const myna__op myna__op_expert_sum = {
    .name = "expert_sum", .flags = MYNA__OP_OUTER, .shape = shape, .run = run, .compose = compose};

myna_array *myna_expert_sum(myna_ctx *c, myna_array *y, myna_array *weights) {
  return myna__apply1(c, &myna__op_expert_sum, (myna_array *[]){y, weights}, 2, NULL, 0);
}
