/* expert_linear.c: each token's row times the matrices of the experts it was routed to; the expert sum. */
#include "graph/linear.h"

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__linear_params *p = n->params;
  const myna__spec *x = &n->in[0]->spec, *ids = &n->in[1 + p->n_w]->spec;
  if (x->type != MYNA_F32 || ids->type != MYNA_I32) return myna__err(err, MYNA_E_DTYPE, "x must be F32 and ids I32");
  if (ids->n_dims != 2 || x->n_dims < 2 || x->n_dims > 3 || x->dims[0] != ids->dims[0] ||
      (x->n_dims == 3 && x->dims[1] != ids->dims[1]))
    return myna__err(err, MYNA_E_SHAPE, "x must be [n_tok, n_in] or [n_tok, k, n_in] and ids [n_tok, k]");
  for (int i = 0; i < p->n_w; i++) {
    const myna__spec *w = &n->in[1 + i]->spec;
    if (w->n_dims != 3 || w->dims[2] != x->dims[x->n_dims - 1])
      return myna__err(err, MYNA_E_SHAPE, "weight %d is not [n_expert, n_out, n_in]", i);
    out[i] = (myna__spec){MYNA_F32, 3, {ids->dims[0], ids->dims[1], w->dims[1]}};
  }
  return 0;
}

static void fill(const myna__run *r, myna__linear_args *a, myna__weight *w) {
  const myna__linear_params *p = r->params;
  const myna__tensor *x = &r->in[0], *ids = &r->in[1 + p->n_w];
  *a = (myna__linear_args){
      .n_w = p->n_w, .exact = r->exact, .gate = p->gate, .n_tok = x->shape[0], .n_used = ids->shape[1]};
  a->x = (const float *)(const void *)x->data;
  a->x_per_slot = x->n_dims == 3;
  int64_t rows, cols, stride;
  myna__tensor_rows(x, &rows, &cols, &stride); /* rows per token, or per (token, slot) */
  a->ldx = stride / 4;
  a->expert_ids = (const int32_t *)(const void *)ids->data;
  for (int i = 0; i < p->n_w; i++) {
    w[i] = myna__linear_weight(&r->in[1 + i]);
    a->w[i] = &w[i];
    a->y[i] = (float *)(void *)r->out[i < r->n_out ? i : 0].data;
    a->ldy[i] = w[i].n_out;
  }
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

/* Gathers each slot's matrix: the oracle, and the gradient. */
static int compose(myna_ctx *c, const myna__node *n, myna_array **out) {
  const myna__linear_params *p = n->params;
  myna_array *x = n->in[0], *ids = myna__linear_ids(c, n->in[1 + p->n_w], n->in[1]->spec.dims[0]);
  x = myna_expand_dims(c, x, -1);                       /* [n_tok, (k,) n_in, 1] */
  if (myna_ndim(x) == 3) x = myna_expand_dims(c, x, 1); /* [n_tok, 1, n_in, 1] */
  for (int i = 0; i < p->n_w; i++) {
    myna_array *w = myna__linear_floats(c, n->in[1 + i]);
    out[i] = myna_squeeze(c, myna_matmul(c, myna_take(c, w, ids, 0), x), -1);
  }
  return c->err.code;
}

static void print(const void *params, myna__buf *b) {
  static const char *const gates[] = {"", " +silu*", " +gelu_tanh*", " +gelu*", " +relu*"};
  myna__buf_str(b, gates[((const myna__linear_params *)params)->gate]);
}

const myna__op myna__op_expert_linear = {.name = "expert_linear",
                                         .flags = MYNA__OP_WEIGHTS,
                                         .shape = shape,
                                         .run = run,
                                         .scratch = scratch,
                                         .compose = compose,
                                         .print = print};

int myna_expert_linear_list(myna_ctx *c, myna_array *x, myna_array *const *w, int n, myna_array *ids,
                            myna_array **out) {
  for (int i = 0; i < n; i++) out[i] = NULL;
  if (n < 1 || n > MYNA__LINEAR_MAX) return myna__fail(c, MYNA_E_ARG, "expert_linear", "%d weights", n), MYNA_E_ARG;
  myna__linear_params p = {.n_w = n};
  myna_array *in[MYNA__MAX_IN] = {x};
  for (int i = 0; i < n; i++) in[1 + i] = w[i];
  in[1 + n] = ids;
  return myna__apply(c, &myna__op_expert_linear, in, n + 2, 0, &p, sizeof p, out, n);
}
