/* route.c: expert routing: the k best experts of each token and their weights. */
#include "graph/graph.h"
#include <math.h>

typedef struct route_params {
  int64_t k;
  myna_router router;
  bool normalise;
  float scale;
} route_params;

/* logits, bias */
static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const route_params *p = n->params;
  const myna__spec *x = &n->in[0]->spec;
  if (x->type != MYNA_F32 || x->n_dims != 2)
    return myna__err(err, MYNA_E_SHAPE, "logits must be F32 [n_tok, n_expert]");
  if (p->k < 1 || p->k > x->dims[1])
    return myna__err(err, MYNA_E_ARG, "%lld of %lld experts", (long long)p->k, (long long)x->dims[1]);
  if (n->in[1] &&
      (n->in[1]->spec.type != MYNA_F32 || n->in[1]->spec.n_dims != 1 || n->in[1]->spec.dims[0] != x->dims[1]))
    return myna__err(err, MYNA_E_SHAPE, "bias must be F32 [n_expert]");
  out[0] = (myna__spec){MYNA_I32, 2, {x->dims[0], p->k}};
  out[1] = (myna__spec){MYNA_F32, 2, {x->dims[0], p->k}};
  return 0;
}

/* Scores of all experts: what is selected by (plus bias) and, but for SOFTMAX_SELECTED, the weights. */
static float score(const route_params *p, float x, float max, float sum) {
  if (p->router == MYNA_ROUTER_SIGMOID) return 1.0f / (1.0f + expf(-x));
  return p->router == MYNA_ROUTER_SOFTMAX ? expf(x - max) / sum : x;
}

static void one(const route_params *p, const float *x, const float *bias, int64_t n, int32_t *ids, float *w) {
  float max = -INFINITY, sum = 0, total = 0;
  for (int64_t i = 0; i < n; i++) max = fmaxf(max, x[i]);
  for (int64_t i = 0; i < n && p->router == MYNA_ROUTER_SOFTMAX; i++) sum += expf(x[i] - max);
  for (int64_t s = 0; s < p->k; s++) { /* selection: k passes, ties by lower index */
    float best = -INFINITY;
    int64_t at = -1;
    for (int64_t i = 0; i < n; i++) {
      bool taken = false;
      for (int64_t j = 0; j < s; j++) taken |= ids[j] == i;
      float v = score(p, x[i], max, sum) + (bias ? bias[i] : 0);
      if (!taken && (at < 0 || v > best)) best = v, at = i;
    }
    ids[s] = (int32_t)at;
    w[s] = p->router == MYNA_ROUTER_SOFTMAX_SELECTED ? expf(x[at] - max) : score(p, x[at], max, sum);
    total += w[s];
  }
  bool norm = p->normalise || p->router == MYNA_ROUTER_SOFTMAX_SELECTED;
  for (int64_t s = 0; s < p->k; s++) w[s] = (norm ? w[s] / total : w[s]) * p->scale;
}

static void run(const myna__run *r) {
  const myna__tensor *x = &r->in[0];
  const route_params *p = r->params;
  for (int64_t t = 0; t < x->shape[0]; t++)
    one(p, (const float *)(const void *)(x->data + t * x->stride[0]), (const float *)(const void *)r->in[1].data,
        x->shape[1], (int32_t *)(void *)r->out[0].data + t * p->k, (float *)(void *)r->out[1].data + t * p->k);
}

static int compose(myna_ctx *c, const myna__node *n, myna_array **out) {
  const route_params *p = n->params;
  int last = -1;
  myna_array *x = n->in[0], *s = x, *w;
  if (p->router == MYNA_ROUTER_SOFTMAX) s = myna_softmax(c, x, -1);
  if (p->router == MYNA_ROUTER_SIGMOID) s = myna_sigmoid(c, x);
  myna_topk(c, n->in[1] ? myna_add(c, s, n->in[1]) : s, p->k, NULL, &out[0]);
  w = myna_take_along_axis(c, s, out[0], -1);
  if (p->router == MYNA_ROUTER_SOFTMAX_SELECTED)
    w = myna_softmax(c, w, -1);
  else if (p->normalise)
    w = myna_div(c, w, myna_sum(c, w, &last, 1, true));
  out[1] = myna_scale(c, w, (double)p->scale);
  return c->err.code;
}

const myna__op myna__op_route = {.name = "route", .shape = shape, .run = run, .compose = compose};

int myna_route(myna_ctx *c, myna_array *logits, myna_array *bias, int64_t k, myna_router router, bool normalise,
               double scale, myna_array **ids, myna_array **weights) {
  route_params p = {k, router, normalise, scale != 0 ? (float)scale : 1.0f};
  myna_array *out[2];
  int rc = myna__apply(c, &myna__op_route, (myna_array *[]){logits, bias}, 2, 2, &p, sizeof p, out, 2);
  *ids = out[0];
  *weights = out[1];
  return rc;
}
