/* cross_entropy.c: mean negative log-likelihood of targets; rows with a negative target do not count. */
#include "graph/graph.h"
#include <math.h>

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *x = &n->in[0]->spec, *t = &n->in[1]->spec;
  if (x->type != MYNA_F32 || x->n_dims != 2 || t->type != MYNA_I32 || t->n_dims != 1 || t->dims[0] != x->dims[0])
    return myna__err(err, MYNA_E_SHAPE, "logits must be F32 [n, n_vocab] and targets I32 [n]");
  out[0] = (myna__spec){.type = MYNA_F32};
  return 0;
}

static void run(const myna__run *r) {
  const myna__tensor *x = &r->in[0];
  const int32_t *target = (const int32_t *)(const void *)r->in[1].data;
  double total = 0;
  int64_t counted = 0, n = x->shape[1];
  for (int64_t t = 0; t < x->shape[0]; t++) {
    const float *row = (const float *)(const void *)(x->data + t * x->stride[0]);
    if (target[t] < 0 || target[t] >= n) continue;
    float max = row[0];
    double sum = 0;
    for (int64_t i = 1; i < n; i++) max = fmaxf(max, row[i]);
    for (int64_t i = 0; i < n; i++) sum += (double)expf(row[i] - max);
    total += log(sum) + (double)max - (double)row[target[t]];
    counted++;
  }
  *(float *)(void *)r->out[0].data = counted ? (float)(total / (double)counted) : 0.0f;
}

static int compose(myna_ctx *c, const myna__node *n, myna_array **out) {
  myna_array *target = n->in[1], *zero = myna_full(c, MYNA_I32, NULL, 0, 0),
             *size = myna_full(c, MYNA_I32, NULL, 0, (double)myna_dim(n->in[0], 1));
  myna_array *counts = myna_logical_and(c, myna_ge(c, target, zero), myna_lt(c, target, size));
  myna_array *index = myna_expand_dims(c, myna_where(c, counts, target, zero), -1);
  myna_array *nll =
      myna_neg(c, myna_squeeze(c, myna_take_along_axis(c, myna_log_softmax(c, n->in[0], -1), index, -1), -1));
  myna_array *weight = myna_astype(c, counts, MYNA_F32);
  myna_array *total = myna_sum(c, myna_mul(c, nll, weight), NULL, 0, false);
  out[0] = myna_div(c, total, myna_maximum(c, myna_sum(c, weight, NULL, 0, false), myna_scalar(c, 1)));
  return c->err.code;
}

const myna__op myna__op_cross_entropy = {.name = "cross_entropy", .shape = shape, .run = run, .compose = compose};

myna_array *myna_cross_entropy(myna_ctx *c, myna_array *logits, myna_array *targets) {
  return myna__apply1(c, &myna__op_cross_entropy, (myna_array *[]){logits, targets}, 2, NULL, 0);
}
