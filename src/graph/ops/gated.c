/* gated.c: act(a) * b, the gated activation of MLPs. The planner folds it into the linear that made a and b. */
#include "graph/linear.h"
#include "graph/gated.h"

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *a = &n->in[0]->spec, *b = &n->in[1]->spec;
  const myna__gated_params *p = n->params;
  if (myna__gate_of(p->act) == MYNA__GATE_NONE) return myna__err(err, MYNA_E_ARG, "unknown activation %d", (int)p->act);
  if (a->type != MYNA_F32 || b->type != MYNA_F32) return myna__err(err, MYNA_E_DTYPE, "operands must be F32");
  if (!myna__spec_same_dims(a, b) || a->n_dims < 1) return myna__err(err, MYNA_E_SHAPE, "operands differ in shape");
  out[0] = *a;
  return 0;
}

static void run(const myna__run *r) {
  int64_t rows, n, sa, sb;
  myna__tensor_rows(&r->in[0], &rows, &n, &sa);
  myna__tensor_rows(&r->in[1], &rows, &n, &sb);
  myna__gated((float *)(void *)r->out[0].data, n, (const float *)(const void *)r->in[0].data, sa / 4,
              (const float *)(const void *)r->in[1].data, sb / 4,
              myna__gate_of(((const myna__gated_params *)r->params)->act), rows, n, r->pool);
}

static int compose(myna_ctx *c, const myna__node *n, myna_array **out) {
  typedef myna_array *(*unary)(myna_ctx *, myna_array *);
  static const unary acts[] = {[MYNA_ACT_SILU] = myna_silu,
                               [MYNA_ACT_GELU_TANH] = myna_gelu_tanh,
                               [MYNA_ACT_GELU] = myna_gelu,
                               [MYNA_ACT_RELU] = myna_relu};
  out[0] = myna_mul(c, acts[((const myna__gated_params *)n->params)->act](c, n->in[0]), n->in[1]);
  return c->err.code;
}

const myna__op myna__op_gated = {
    .name = "gated", .flags = MYNA__OP_INPLACE, .shape = shape, .run = run, .compose = compose};

myna_array *myna_gated(myna_ctx *c, myna_act act, myna_array *a, myna_array *b) {
  myna__gated_params p = {act};
  return myna__apply1(c, &myna__op_gated, (myna_array *[]){a, b}, 2, &p, sizeof p);
}
