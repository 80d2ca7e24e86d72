/* embed.c: rows of a table of any storage type as F32; dequantize: the whole table. */
#include "graph/linear.h"

static int shape_embed(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *w = &n->in[0]->spec, *ids = &n->in[1]->spec;
  if (w->n_dims != 2) return myna__err(err, MYNA_E_SHAPE, "the table has %d dimensions, 2 are needed", w->n_dims);
  if (ids->type != MYNA_I32)
    return myna__err(err, MYNA_E_DTYPE, "ids are %s, I32 is needed", myna_dtype_name(ids->type));
  if (ids->n_dims >= MYNA__MAX_DIMS) return myna__err(err, MYNA_E_SHAPE, "ids have too many dimensions");
  out[0] = *ids;
  out[0].type = MYNA_F32;
  out[0].dims[out[0].n_dims++] = w->dims[1];
  return 0;
}

static void run_embed(const myna__run *r) {
  myna__weight w = myna__linear_weight(&r->in[0]);
  const myna__tensor *ids = &r->in[1];
  myna__embed((float *)(void *)r->out[0].data, w.n_in, &w, (const int32_t *)(const void *)ids->data,
              myna__tensor_size(ids), 1.0f, r->pool);
}

static int compose_embed(myna_ctx *c, const myna__node *n, myna_array **out) {
  out[0] = myna_take(c, myna__linear_floats(c, n->in[0]), myna__linear_ids(c, n->in[1], n->in[0]->spec.dims[0]), 0);
  return c->err.code;
}

const myna__op myna__op_embed = {
    .name = "embed", .flags = MYNA__OP_WEIGHTS, .shape = shape_embed, .run = run_embed, .compose = compose_embed};

myna_array *myna_embed(myna_ctx *c, myna_array *w, myna_array *ids) {
  return myna__apply1(c, &myna__op_embed, (myna_array *[]){w, ids}, 2, NULL, 0);
}

static int shape_dequantize(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *w = &n->in[0]->spec;
  if (w->n_dims < 2 || w->n_dims > 3)
    return myna__err(err, MYNA_E_SHAPE, "the weight has %d dimensions, 2 or 3 are needed", w->n_dims);
  out[0] = *w;
  out[0].type = MYNA_F32;
  return 0;
}

static void run_dequantize(const myna__run *r) {
  myna__weight w = myna__linear_weight(&r->in[0]);
  const myna__quant *q = myna__quant_get(w.type);
  float *y = (float *)(void *)r->out[0].data;
  for (int64_t e = 0; e < MYNA__MAX(w.n_expert, 1); e++)
    for (int64_t i = 0; i < w.n_out; i++, y += w.n_in) {
      myna__wrow row = myna__weight_row(&w, e, i);
      q->to_f32(y, &row, w.n_in);
    }
}

static int vjp_dequantize(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want,
                          myna_array **grads) {
  if (want[0]) grads[0] = myna_astype(c, cot[0], n->in[0]->spec.type);
  return c->err.code;
}

const myna__op myna__op_dequantize = {.name = "dequantize",
                                      .flags = MYNA__OP_WEIGHTS,
                                      .shape = shape_dequantize,
                                      .run = run_dequantize,
                                      .vjp = vjp_dequantize};

myna_array *myna_dequantize(myna_ctx *c, myna_array *w) {
  return myna__apply1(c, &myna__op_dequantize, &w, 1, NULL, 0);
}

myna_array *myna__linear_floats(myna_ctx *c, myna_array *w) {
  bool plain = (w->spec.type == MYNA_F32 || w->spec.type == MYNA_F64) && !(w->weight && !w->data);
  return plain ? w : myna_dequantize(c, w);
}

myna_array *myna__linear_ids(myna_ctx *c, myna_array *ids, int64_t n) {
  myna_array *zero = myna_full(c, MYNA_I32, NULL, 0, 0), *out = myna_full(c, MYNA_I32, NULL, 0, (double)n);
  return myna_where(c, myna_lt(c, ids, zero), out, ids);
}
