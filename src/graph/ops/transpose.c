/* transpose.c: axes in another order: always a view. */
#include "graph/build.h"

typedef struct transpose_params {
  int n;
  int perm[MYNA__MAX_DIMS]; /* axis of the input */
} transpose_params;

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const transpose_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec;
  uint32_t seen = 0;
  *out = (myna__spec){.type = a->type, .n_dims = a->n_dims};
  for (int d = 0; d < a->n_dims; d++) {
    int from = myna__axis(p->perm[d], a->n_dims, err);
    TRY_N(from);
    if (seen >> from & 1) return myna__err(err, MYNA_E_SHAPE, "axis %d is given twice", p->perm[d]);
    seen |= 1u << from;
    out->dims[d] = a->dims[from];
  }
  return 0;
}

static bool view(const void *params, const myna__tensor *in, myna__tensor *out) {
  const transpose_params *p = params;
  out->data = in->data;
  for (int d = 0; d < in->n_dims; d++) out->stride[d] = in->stride[myna__axis(p->perm[d], in->n_dims, NULL)];
  return true;
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  const transpose_params *p = n->params;
  int back[MYNA__MAX_DIMS] = {0};
  for (int d = 0; d < p->n; d++) back[myna__axis(p->perm[d], p->n, NULL)] = d;
  if (want[0]) grads[0] = myna_transpose(c, cot[0], back);
  return c->err.code;
}

static void print(const void *params, myna__buf *b) {
  const transpose_params *p = params;
  for (int d = 0; d < p->n; d++) myna__buf_printf(b, "%s%d", d ? "," : " ", p->perm[d]);
}

const myna__op myna__op_transpose = {
    .name = "transpose", .flags = MYNA__OP_VIEW, .shape = shape, .view = view, .vjp = vjp, .print = print};

myna_array *myna_transpose(myna_ctx *c, myna_array *a, const int *perm) {
  transpose_params p = {.n = myna_ndim(a)};
  for (int d = 0; d < p.n; d++) p.perm[d] = perm ? perm[d] : p.n - 1 - d;
  return myna__apply1(c, &myna__op_transpose, &a, 1, &p, sizeof p);
}

myna_array *myna_swapaxes(myna_ctx *c, myna_array *a, int axis1, int axis2) {
  int perm[MYNA__MAX_DIMS] = {0};
  myna_err err = {0};
  if (!a) return myna_transpose(c, a, NULL);
  int i = myna__axis(axis1, a->spec.n_dims, &err), j = myna__axis(axis2, a->spec.n_dims, &err);
  if (i < 0 || j < 0) return myna__fail(c, err.code, "swapaxes", "%s", err.msg);
  for (int d = 0; d < a->spec.n_dims; d++) perm[d] = d == i ? j : d == j ? i : d;
  return myna_transpose(c, a, perm);
}
