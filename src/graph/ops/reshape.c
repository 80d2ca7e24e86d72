/* reshape.c: reshape, expand_dims, squeeze: views where strides allow it, else of a contiguous copy. */
#include "graph/build.h"
#include <stdio.h>

/* ---- reshape ---- */

typedef struct reshape_params {
  int n_dims;
  int64_t dims[MYNA__MAX_DIMS]; /* as given: -1 is inferred, or symbol 0 */
} reshape_params;

static int refuse(const myna__spec *a, const reshape_params *p, myna_err *err) {
  char ta[128], to[128] = "";
  size_t at = 0;
  for (int d = 0; d < p->n_dims && at < sizeof to; d++)
    at += (size_t)snprintf(to + at, sizeof to - at, "%s%lld", d ? "," : "", (long long)p->dims[d]);
  return myna__err(err, MYNA_E_SHAPE, "%s to [%s]", myna__spec_text(a, ta, sizeof ta), to);
}

static int reshape_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const reshape_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec;
  int first = 0, hole = -1;
  for (int d = 0; d < a->n_dims; d++) {
    if (a->dims[d] >= 0) continue;
    if (d > 0 || p->n_dims == 0 || p->dims[0] != a->dims[0]) return refuse(a, p, err); /* a symbol stays outermost */
    first = 1;
  }
  int64_t have = myna__shape_size(a->dims + first, a->n_dims - first), rest = 1;
  out[0] = (myna__spec){.type = a->type, .n_dims = p->n_dims};
  memcpy(out[0].dims, p->dims, sizeof out[0].dims);
  for (int d = first; d < p->n_dims; d++) {
    if (p->dims[d] == -1 && hole < 0)
      hole = d;
    else if (p->dims[d] < 0 || !myna__mul_ok(rest, p->dims[d], &rest))
      return refuse(a, p, err);
  }
  if (hole < 0) return have == rest ? 0 : refuse(a, p, err);
  if (rest == 0 || have % rest) return refuse(a, p, err);
  out[0].dims[hole] = have / rest;
  return 0;
}

/* Groups of axes of equal size on both sides; inside a group the old axes must lie as one. Axes of size 1 are free. */
static bool reshape_view(const void *params, const myna__tensor *in, myna__tensor *out) {
  int64_t shape[MYNA__MAX_DIMS] = {0}, stride[MYNA__MAX_DIMS] = {0};
  int n = 0;
  (void)params;
  for (int d = 0; d < in->n_dims; d++)
    if (in->shape[d] != 1) shape[n] = in->shape[d], stride[n++] = in->stride[d];
  out->data = in->data;
  myna__shape_strides(out->shape, out->n_dims, myna_dtype_bytes(in->type), out->stride);
  if (myna__tensor_size(in) == 0) return true;
  for (int i = 0, o = 0; i < n;) {
    while (out->shape[o] == 1) o++;
    int64_t left = shape[i], right = out->shape[o];
    int i_end = i + 1, o_end = o + 1;
    while (left != right) {
      if (left < right)
        left *= shape[i_end++];
      else
        right *= out->shape[o_end++];
    }
    for (int d = i; d + 1 < i_end; d++)
      if (stride[d] != stride[d + 1] * shape[d + 1]) return false;
    int64_t step = stride[i_end - 1];
    for (int d = o_end - 1; d >= o; d--) {
      out->stride[d] = step;
      step *= out->shape[d];
    }
    i = i_end;
    o = o_end;
  }
  return true;
}

static int reshape_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  if (want[0]) grads[0] = myna_reshape(c, cot[0], n->in[0]->spec.dims, n->in[0]->spec.n_dims);
  return c->err.code;
}

const myna__op myna__op_reshape = {
    .name = "reshape", .flags = MYNA__OP_VIEW, .shape = reshape_shape, .view = reshape_view, .vjp = reshape_vjp};

myna_array *myna_reshape(myna_ctx *c, myna_array *a, const int64_t *shape, int n_dims) {
  reshape_params p = {.n_dims = n_dims};
  if (n_dims < 0 || n_dims > MYNA__MAX_DIMS)
    return myna__fail(c, MYNA_E_SHAPE, "reshape", "%d dimensions, at most %d are allowed", n_dims, MYNA__MAX_DIMS);
  for (int i = 0; i < n_dims; i++) p.dims[i] = shape[i];
  return myna__apply1(c, &myna__op_reshape, &a, 1, &p, sizeof p);
}

/* ---- expand_dims, squeeze ---- */

typedef struct axis_params {
  int axis;
} axis_params;

static int expand_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *a = &n->in[0]->spec;
  if (a->n_dims == MYNA__MAX_DIMS) return myna__err(err, MYNA_E_SHAPE, "more than %d dimensions", MYNA__MAX_DIMS);
  int axis = myna__axis(((const axis_params *)n->params)->axis, a->n_dims + 1, err);
  TRY_N(axis);
  *out = (myna__spec){.type = a->type};
  for (int d = 0; d <= a->n_dims; d++) out->dims[out->n_dims++] = d == axis ? 1 : a->dims[d - (d > axis)];
  return 0;
}

static bool expand_view(const void *params, const myna__tensor *in, myna__tensor *out) {
  int axis = myna__axis(((const axis_params *)params)->axis, out->n_dims, NULL);
  out->data = in->data;
  for (int d = 0; d < out->n_dims; d++) out->stride[d] = d == axis ? 0 : in->stride[d - (d > axis)];
  return true;
}

static int expand_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  if (want[0]) grads[0] = myna_squeeze(c, cot[0], ((const axis_params *)n->params)->axis);
  return c->err.code;
}

const myna__op myna__op_expand_dims = {
    .name = "expand_dims", .flags = MYNA__OP_VIEW, .shape = expand_shape, .view = expand_view, .vjp = expand_vjp};

myna_array *myna_expand_dims(myna_ctx *c, myna_array *a, int axis) {
  axis_params p = {axis};
  return myna__apply1(c, &myna__op_expand_dims, &a, 1, &p, sizeof p);
}

static int squeeze_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *a = &n->in[0]->spec;
  int axis = myna__axis(((const axis_params *)n->params)->axis, a->n_dims, err);
  TRY_N(axis);
  char t[128];
  if (a->dims[axis] != 1)
    return myna__err(err, MYNA_E_SHAPE, "axis %d of %s is not 1", axis, myna__spec_text(a, t, sizeof t));
  *out = (myna__spec){.type = a->type};
  for (int d = 0; d < a->n_dims; d++)
    if (d != axis) out->dims[out->n_dims++] = a->dims[d];
  return 0;
}

static bool squeeze_view(const void *params, const myna__tensor *in, myna__tensor *out) {
  int axis = myna__axis(((const axis_params *)params)->axis, in->n_dims, NULL);
  out->data = in->data;
  for (int d = 0; d < out->n_dims; d++) out->stride[d] = in->stride[d + (d >= axis)];
  return true;
}

static int squeeze_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  if (want[0]) grads[0] = myna_expand_dims(c, cot[0], ((const axis_params *)n->params)->axis);
  return c->err.code;
}

const myna__op myna__op_squeeze = {
    .name = "squeeze", .flags = MYNA__OP_VIEW, .shape = squeeze_shape, .view = squeeze_view, .vjp = squeeze_vjp};

myna_array *myna_squeeze(myna_ctx *c, myna_array *a, int axis) {
  axis_params p = {axis};
  return myna__apply1(c, &myna__op_squeeze, &a, 1, &p, sizeof p);
}
