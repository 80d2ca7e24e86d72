/* linear.c: x times the transposes of a list of weights, with bias, and what the planner fuses into it: norm
 * before, gate and residual after. Packed weights run the inference format of activations unless the plan is exact. */
#include "graph/linear.h"

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__linear_params *p = n->params;
  const myna__spec *x = &n->in[0]->spec;
  if (x->type != MYNA_F32) return myna__err(err, MYNA_E_DTYPE, "x is %s, F32 is needed", myna_dtype_name(x->type));
  if (x->n_dims < 1) return myna__err(err, MYNA_E_SHAPE, "x has no dimensions");
  for (int i = 0; i < p->n_w; i++) {
    const myna__spec *w = &n->in[1 + i]->spec;
    if (w->n_dims != 2 || w->dims[1] != x->dims[x->n_dims - 1] || w->dims[0] < 0) {
      char a[128], b[128];
      return myna__err(err, MYNA_E_SHAPE, "weight %d is %s, x is %s", i, myna__spec_text(w, a, sizeof a),
                       myna__spec_text(x, b, sizeof b));
    }
    if (!myna__dtype_is_float(w->type) && !myna__dtype_is_packed(w->type))
      return myna__err(err, MYNA_E_DTYPE, "weight %d is %s", i, myna_dtype_name(w->type));
    const myna_array *bias = n->in[myna__linear_bias(p, i)];
    if (bias && (bias->spec.type != MYNA_F32 || bias->spec.n_dims != 1 || bias->spec.dims[0] != w->dims[0]))
      return myna__err(err, MYNA_E_SHAPE, "bias %d does not fit its weight", i);
    out[i] = *x;
    out[i].dims[x->n_dims - 1] = w->dims[0];
  }
  return 0;
}

myna__weight myna__linear_weight(const myna__tensor *t) {
  if (t->weight) return *t->weight;
  myna__weight w = {.type = t->type, .n_in = t->shape[t->n_dims - 1], .n_out = t->shape[t->n_dims - 2]};
  w.plane[0] = t->data;
  w.row_stride[0] = t->stride[t->n_dims - 2];
  if (t->n_dims == 3) {
    w.n_expert = t->shape[0];
    w.expert_stride[0] = t->stride[0];
  }
  return w;
}

myna__gate myna__gate_of(myna_act a) {
  static const myna__gate gates[] = {[MYNA_ACT_SILU] = MYNA__GATE_SILU,
                                     [MYNA_ACT_GELU_TANH] = MYNA__GATE_GELU_TANH,
                                     [MYNA_ACT_GELU] = MYNA__GATE_GELU_ERF,
                                     [MYNA_ACT_RELU] = MYNA__GATE_RELU};
  return (unsigned)a < MYNA__COUNT(gates) ? gates[a] : MYNA__GATE_NONE;
}

static void fill(const myna__run *r, myna__linear_args *a, myna__weight *w) {
  const myna__linear_params *p = r->params;
  int64_t n_in, stride;
  *a = (myna__linear_args){.n_w = p->n_w, .exact = r->exact, .gate = p->gate, .norm_eps = p->norm_eps};
  myna__tensor_rows(&r->in[0], &a->n_tok, &n_in, &stride);
  a->x = (const float *)(const void *)r->in[0].data;
  a->ldx = stride / 4;
  for (int i = 0; i < p->n_w; i++) {
    w[i] = myna__linear_weight(&r->in[1 + i]);
    a->w[i] = &w[i];
    a->bias[i] = (const float *)(const void *)r->in[myna__linear_bias(p, i)].data;
    int o = i < r->n_out ? i : 0;
    a->y[i] = (float *)(void *)r->out[o].data;
    a->ldy[i] = w[i].n_out;
  }
  const myna__tensor *res = &r->in[myna__linear_residual(p)];
  if (res->data) {
    int64_t rows, cols;
    myna__tensor_rows(res, &rows, &cols, &stride);
    a->residual = (const float *)(const void *)res->data;
    a->ldr = stride / 4;
  }
  if (p->norm) a->norm_w = (const float *)(const void *)r->in[myna__linear_norm(p)].data;
}

static void run(const myna__run *r) {
  myna__linear_args a;
  myna__weight w[MYNA__LINEAR_MAX];
  fill(r, &a, w);
  myna__linear(&a, r->scratch, r->pool);
}

static size_t scratch(const myna__run *r, int n_threads) {
  myna__linear_args a;
  myna__weight w[MYNA__LINEAR_MAX];
  fill(r, &a, w);
  return myna__linear_scratch(&a, a.n_tok, n_threads);
}

static int compose(myna_ctx *c, const myna__node *n, myna_array **out) {
  const myna__linear_params *p = n->params;
  for (int i = 0; i < p->n_w; i++) {
    myna_array *w = myna__linear_floats(c, n->in[1 + i]), *bias = n->in[myna__linear_bias(p, i)];
    out[i] = myna_matmul(c, n->in[0], myna_transpose(c, w, NULL));
    if (bias) out[i] = myna_add(c, out[i], bias);
  }
  return c->err.code;
}

static void print(const void *params, myna__buf *b) {
  static const char *const gates[] = {"", " +silu*", " +gelu_tanh*", " +gelu*", " +relu*"};
  const myna__linear_params *p = params;
  if (p->norm) myna__buf_str(b, " norm+");
  myna__buf_str(b, gates[p->gate]);
}

const myna__op myna__op_linear = {.name = "linear",
                                  .flags = MYNA__OP_WEIGHTS,
                                  .shape = shape,
                                  .run = run,
                                  .scratch = scratch,
                                  .compose = compose,
                                  .print = print};

int myna_linear_list(myna_ctx *c, myna_array *x, myna_array *const *w, myna_array *const *biases, int n,
                     myna_array **out) {
  for (int i = 0; i < n; i++) out[i] = NULL;
  if (n < 1 || n > MYNA__LINEAR_MAX)
    return myna__fail(c, MYNA_E_ARG, "linear", "%d weights, 1 to %d are possible", n, MYNA__LINEAR_MAX), MYNA_E_ARG;
  myna__linear_params p = {.n_w = n};
  myna_array *in[MYNA__MAX_IN] = {x};
  uint32_t optional = 0;
  for (int i = 0; i < n; i++) in[1 + i] = w[i];
  for (int i = 0; i < n; i++) in[myna__linear_bias(&p, i)] = biases ? biases[i] : NULL;
  for (int i = myna__linear_bias(&p, 0); i < myna__linear_n_in(&p); i++) optional |= 1u << i;
  return myna__apply(c, &myna__op_linear, in, myna__linear_n_in(&p), optional, &p, sizeof p, out, n);
}

myna_array *myna_linear(myna_ctx *c, myna_array *x, myna_array *w, myna_array *bias) {
  myna_array *out;
  myna_linear_list(c, x, &w, &bias, 1, &out);
  return out;
}
