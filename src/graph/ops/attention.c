/* attention.c: dense scaled dot-product attention for training and oracles: GQA, causal, window, softcap, mask and
 * sinks. Inference uses attention_paged. */
#include "graph/graph.h"
#include <math.h>

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *q = &n->in[0]->spec, *k = &n->in[1]->spec, *v = &n->in[2]->spec;
  for (int i = 0; i < 3; i++)
    if (n->in[i]->spec.type != MYNA_F32 || n->in[i]->spec.n_dims != 4)
      return myna__err(err, MYNA_E_SHAPE, "q, k and v must be F32 with 4 dimensions");
  if (q->dims[0] != k->dims[0] || k->dims[0] != v->dims[0] || k->dims[1] != v->dims[1] || k->dims[2] != v->dims[2] ||
      q->dims[3] != k->dims[3] || k->dims[2] < 1 || q->dims[2] % k->dims[2])
    return myna__err(err, MYNA_E_SHAPE,
                     "q [n_batch, n_q, n_head, dim_k], k and v [n_batch, n_k, n_kv_head, dim] do not fit");
  const myna_array *mask = n->in[3], *sinks = n->in[4];
  if (mask && (mask->spec.type != MYNA_BOOL || mask->spec.n_dims != 3 ||
               (mask->spec.dims[0] != 1 && mask->spec.dims[0] != q->dims[0]) || mask->spec.dims[1] != q->dims[1] ||
               mask->spec.dims[2] != k->dims[1]))
    return myna__err(err, MYNA_E_SHAPE, "mask must be BOOL [n_batch or 1, n_q, n_k]");
  if (sinks && (sinks->spec.type != MYNA_F32 || sinks->spec.n_dims != 1 || sinks->spec.dims[0] != q->dims[2]))
    return myna__err(err, MYNA_E_SHAPE, "sinks must be F32 [n_head]");
  out[0] = *q;
  out[0].dims[3] = v->dims[3];
  return 0;
}

static bool seen(const myna_attention_options *o, int64_t i, int64_t j, int64_t n_q, int64_t n_k) {
  int64_t at = i + n_k - n_q;
  if (o->causal && j > at) return false;
  return !(o->window > 0 && j <= at - o->window);
}

static const float *row(const myna__tensor *t, int64_t b, int64_t i, int64_t h) {
  return (const float *)(const void *)(t->data + b * t->stride[0] + i * t->stride[1] + h * t->stride[2]);
}

/* One (batch, query): all heads, one pass with a running maximum. */
static void unit(void *arg, int64_t u, int worker) {
  const myna__run *r = arg;
  (void)worker;
  const myna_attention_options *o = r->params;
  const myna__tensor *q = &r->in[0], *k = &r->in[1], *v = &r->in[2], *mask = &r->in[3];
  int64_t n_q = q->shape[1], n_k = k->shape[1], b = u / n_q, i = u % n_q, group = q->shape[2] / k->shape[2],
          dk = q->shape[3], dv = v->shape[3];
  float scale = o->scale != 0 ? (float)o->scale : 1.0f / sqrtf((float)dk);
  const uint8_t *seen_row =
      mask->data ? mask->data + (mask->shape[0] == 1 ? 0 : b * mask->stride[0]) + i * mask->stride[1] : NULL;
  for (int64_t h = 0; h < q->shape[2]; h++) {
    float *out = (float *)(void *)r->out[0].data + (u * q->shape[2] + h) * dv;
    float m = r->in[4].data ? ((const float *)(const void *)r->in[4].data)[h] : -INFINITY,
          sum = r->in[4].data ? 1.0f : 0.0f;
    memset(out, 0, (size_t)dv * sizeof *out);
    for (int64_t j = 0; j < n_k; j++) {
      if (!seen(o, i, j, n_q, n_k) || (seen_row && !seen_row[j * mask->stride[2]])) continue;
      const float *qr = row(q, b, i, h), *kr = row(k, b, j, h / group), *vr = row(v, b, j, h / group);
      float s = 0;
      for (int64_t d = 0; d < dk; d++) s += qr[d] * kr[d];
      s *= scale;
      if (o->softcap != 0) s = (float)o->softcap * tanhf(s / (float)o->softcap);
      if (s > m) {
        float f = expf(m - s);
        for (int64_t d = 0; d < dv; d++) out[d] *= f;
        sum *= f;
        m = s;
      }
      float w = expf(s - m);
      sum += w;
      for (int64_t d = 0; d < dv; d++) out[d] += w * vr[d];
    }
    for (int64_t d = 0; d < dv && sum > 0; d++) out[d] /= sum;
  }
}

static void run(const myna__run *r) {
  myna__pool_run(r->pool, r->in[0].shape[0] * r->in[0].shape[1], unit, (void *)(uintptr_t)r);
}

/* [n_q, n_k] BOOL of what causality and window allow. */
static myna_array *allowed(myna_ctx *c, const myna_attention_options *o, int64_t n_q, int64_t n_k) {
  myna_array *i = myna_expand_dims(c, myna_arange(c, MYNA_I32, (double)(n_k - n_q), (double)n_k, 1), -1),
             *j = myna_arange(c, MYNA_I32, 0, (double)n_k, 1);
  myna_array *ok = NULL;
  if (o->causal) ok = myna_le(c, j, i);
  if (o->window > 0) {
    myna_array *near = myna_gt(c, myna_add(c, j, myna_full(c, MYNA_I32, NULL, 0, (double)o->window)), i);
    ok = ok ? myna_logical_and(c, ok, near) : near;
  }
  return ok;
}

static int compose(myna_ctx *c, const myna__node *n, myna_array **out) {
  const myna_attention_options *o = n->params;
  myna_array *q = n->in[0], *k = n->in[1], *v = n->in[2];
  int64_t nb = myna_dim(q, 0), n_q = myna_dim(q, 1), heads = myna_dim(q, 2), dk = myna_dim(q, 3), n_k = myna_dim(k, 1),
          kv = myna_dim(k, 2), dv = myna_dim(v, 3);
  int64_t group = heads / kv;
  double scale = o->scale != 0 ? o->scale : 1.0 / sqrt((double)dk);
  static const int perm5[] = {0, 2, 3, 1, 4}, perm4[] = {0, 2, 1, 3}, back[] = {0, 3, 1, 2, 4};
  q = myna_transpose(c, myna_reshape(c, q, (int64_t[]){nb, n_q, kv, group, dk}, 5),
                     perm5);                               /* [nb, kv, group, n_q, dk] */
  k = myna_expand_dims(c, myna_transpose(c, k, perm4), 2); /* [nb, kv, 1, n_k, dk] */
  v = myna_expand_dims(c, myna_transpose(c, v, perm4), 2);
  myna_array *s = myna_scale(c, myna_matmul(c, q, myna_swapaxes(c, k, -1, -2)), scale);
  if (o->softcap != 0) s = myna_scale(c, myna_tanh(c, myna_scale(c, s, 1 / o->softcap)), o->softcap);
  myna_array *ok = allowed(c, o, n_q, n_k), *mask = n->in[3];
  if (mask) {
    mask = myna_expand_dims(c, myna_expand_dims(c, mask, 1), 1);
    ok = ok ? myna_logical_and(c, ok, mask) : mask;
  }
  if (ok) s = myna_where(c, ok, s, myna_scalar(c, -1e30));
  if (n->in[4]) {
    myna_array *sink = myna_reshape(c, n->in[4], (int64_t[]){1, kv, group, 1, 1}, 5);
    myna_array *both[2] = {s, myna_broadcast_to(c, sink, (int64_t[]){nb, kv, group, n_q, 1}, 5)};
    s = myna_slice_axis(c, myna_softmax(c, myna_concat(c, both, 2, 4), 4), 4, 0, n_k);
  } else {
    s = myna_softmax(c, s, 4);
  }
  if (ok) s = myna_where(c, ok, s, myna_scalar(c, 0)); /* a row that sees nothing gives zeros */
  out[0] = myna_reshape(c, myna_transpose(c, myna_matmul(c, s, v), back), (int64_t[]){nb, n_q, heads, dv}, 4);
  return c->err.code;
}

const myna__op myna__op_attention = {
    .name = "attention", .flags = MYNA__OP_STRIDED, .shape = shape, .run = run, .compose = compose};

/* The last axis must be contiguous for row(); other strides are free. */
static myna_array *dense_last(myna_ctx *c, myna_array *a) {
  return a && a->node && a->node->op->flags & MYNA__OP_VIEW ? myna_contiguous(c, a) : a;
}

myna_array *myna_attention(myna_ctx *c, myna_array *q, myna_array *k, myna_array *v, myna_array *mask,
                           myna_array *sinks, const myna_attention_options *o) {
  myna_attention_options p = o ? *o : (myna_attention_options){0};
  myna_array *out;
  myna__apply(c, &myna__op_attention,
              (myna_array *[]){dense_last(c, q), dense_last(c, k), dense_last(c, v), mask, sinks}, 5, 24, &p, sizeof p,
              &out, 1);
  return out;
}
