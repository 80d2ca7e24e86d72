/* concat.c: arrays one after the other along an axis; stack. */
#include "graph/build.h"

typedef struct concat_params {
  int axis; /* from the front */
} concat_params;

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  int axis = ((const concat_params *)n->params)->axis;
  out[0] = n->in[0]->spec;
  for (int i = 0; i < n->n_in; i++) {
    const myna__spec *a = &n->in[i]->spec;
    char ta[128], tb[128];
    bool fits = a->n_dims == out[0].n_dims && a->type == out[0].type;
    for (int d = 0; d < a->n_dims && fits; d++) fits = d == axis || a->dims[d] == out[0].dims[d];
    if (!fits)
      return myna__err(err, MYNA_E_SHAPE, "operand %d is %s, operand 0 is %s", i, myna__spec_text(a, ta, sizeof ta),
                       myna__spec_text(&n->in[0]->spec, tb, sizeof tb));
    if (a->dims[axis] < 0) return myna__err(err, MYNA_E_SHAPE, "axis %d of operand %d is symbolic", axis, i);
    if (i > 0 && !myna__add_ok(out[0].dims[axis], a->dims[axis], &out[0].dims[axis]))
      return myna__err(err, MYNA_E_SHAPE, "too many elements");
  }
  return 0;
}

static void run(const myna__run *r) {
  int axis = ((const concat_params *)r->params)->axis;
  myna__tensor part = r->out[0];
  for (int i = 0; i < r->n_in; i++) {
    part.shape[axis] = r->in[i].shape[axis];
    myna__elements_copy(&part, &r->in[i], r->pool);
    part.data += part.shape[axis] * part.stride[axis];
  }
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  int axis = ((const concat_params *)n->params)->axis;
  int64_t at = 0;
  for (int i = 0; i < n->n_in; i++) {
    int64_t size = n->in[i]->spec.dims[axis];
    if (want[i]) grads[i] = myna_slice_axis(c, cot[0], axis, at, at + size);
    at += size;
  }
  return c->err.code;
}

const myna__op myna__op_concat = {.name = "concat", .flags = MYNA__OP_STRIDED, .shape = shape, .run = run, .vjp = vjp};

static myna_array *concat_some(myna_ctx *c, myna_array *const *arrays, int n, int axis) {
  concat_params p = {axis};
  return myna__apply1(c, &myna__op_concat, arrays, n, &p, sizeof p);
}

/* An op has at most MYNA__MAX_IN operands: more are joined in groups, and these again. */
static myna_array *concat_all(myna_ctx *c, myna_array *const *arrays, int n, int axis) {
  if (n <= MYNA__MAX_IN) return concat_some(c, arrays, n, axis);
  int n_group = 0, cap = (n + MYNA__MAX_IN - 1) / MYNA__MAX_IN;
  myna_array **groups = myna__alloc((size_t)cap * sizeof *groups);
  if (!groups) return myna__fail(c, MYNA_E_NOMEM, "concat", "no memory");
  for (int at = 0; at < n; at += MYNA__MAX_IN)
    groups[n_group++] = concat_some(c, arrays + at, MYNA__MIN(n - at, MYNA__MAX_IN), axis);
  myna_array *y = concat_all(c, groups, n_group, axis);
  myna__free(groups, (size_t)cap * sizeof *groups);
  return y;
}

/* Operands in their common type; axis among that of n_dims axes. */
static bool prepare(myna_ctx *c, const char *op, myna_array *const *arrays, int n, int extra, int *axis,
                    myna_dtype *type) {
  myna_err err = {0};
  if (n < 1) return myna__fail(c, MYNA_E_ARG, op, "no arrays"), false;
  for (int i = 0; i < n; i++)
    if (!arrays[i]) return myna__fail(c, MYNA_E_ARG, op, "operand %d is NULL", i), false;
  *axis = myna__axis(*axis, arrays[0]->spec.n_dims + extra, &err);
  if (*axis < 0) return myna__fail(c, err.code, op, "%s", err.msg), false;
  *type = arrays[0]->spec.type;
  for (int i = 1; i < n; i++) *type = myna__dtype_promote(*type, arrays[i]->spec.type);
  return true;
}

static myna_array *join(myna_ctx *c, const char *op, myna_array *const *arrays, int n, int axis, bool stack) {
  myna_dtype type;
  if (!prepare(c, op, arrays, n, stack, &axis, &type)) return NULL;
  myna_array **in = myna__alloc((size_t)n * sizeof *in);
  if (!in) return myna__fail(c, MYNA_E_NOMEM, op, "no memory");
  for (int i = 0; i < n; i++) {
    in[i] = myna_astype(c, arrays[i], type);
    if (stack) in[i] = myna_expand_dims(c, in[i], axis);
  }
  myna_array *y = concat_all(c, in, n, axis);
  myna__free(in, (size_t)n * sizeof *in);
  return y;
}

myna_array *myna_concat(myna_ctx *c, myna_array *const *arrays, int n, int axis) {
  return join(c, "concat", arrays, n, axis, false);
}

myna_array *myna_stack(myna_ctx *c, myna_array *const *arrays, int n, int axis) {
  return join(c, "stack", arrays, n, axis, true);
}
