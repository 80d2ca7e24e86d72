/* broadcast.c: broadcast_to (a view with strides of 0) and repeat; the sum that undoes broadcasting in gradients. */
#include "graph/build.h"

typedef struct broadcast_params {
  int n_dims;
  int64_t dims[MYNA__MAX_DIMS];
} broadcast_params;

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const broadcast_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec;
  *out = (myna__spec){.type = a->type, .n_dims = p->n_dims};
  memcpy(out->dims, p->dims, sizeof out->dims);
  bool fits = a->n_dims <= p->n_dims;
  for (int d = 0; d < a->n_dims && fits; d++) {
    int64_t to = p->dims[p->n_dims - a->n_dims + d];
    fits = a->dims[d] == to || a->dims[d] == 1;
  }
  char ta[128], tb[128];
  if (!fits)
    return myna__err(err, MYNA_E_SHAPE, "%s to %s", myna__spec_text(a, ta, sizeof ta),
                     myna__spec_text(out, tb, sizeof tb));
  return 0;
}

static bool view(const void *params, const myna__tensor *in, myna__tensor *out) {
  int extra = out->n_dims - in->n_dims;
  (void)params;
  out->data = in->data;
  for (int d = 0; d < out->n_dims; d++) {
    bool same = d >= extra && in->shape[d - extra] == out->shape[d];
    out->stride[d] = same ? in->stride[d - extra] : 0;
  }
  return true;
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  if (want[0]) grads[0] = myna__unbroadcast(c, cot[0], &n->in[0]->spec);
  return c->err.code;
}

const myna__op myna__op_broadcast_to = {
    .name = "broadcast_to", .flags = MYNA__OP_VIEW, .shape = shape, .view = view, .vjp = vjp};

myna_array *myna_broadcast_to(myna_ctx *c, myna_array *a, const int64_t *dims, int n_dims) {
  broadcast_params p = {.n_dims = n_dims};
  if (n_dims < 0 || n_dims > MYNA__MAX_DIMS)
    return myna__fail(c, MYNA_E_SHAPE, "broadcast_to", "%d dimensions, at most %d are allowed", n_dims, MYNA__MAX_DIMS);
  for (int d = 0; d < n_dims; d++) {
    p.dims[d] = dims[d];
    if (dims[d] < MYNA_SYM(7))
      return myna__fail(c, MYNA_E_SHAPE, "broadcast_to", "dimension %d is %lld", d, (long long)dims[d]);
  }
  return myna__apply1(c, &myna__op_broadcast_to, &a, 1, &p, sizeof p);
}

myna_array *myna__unbroadcast(myna_ctx *c, myna_array *g, const myna__spec *to) {
  int axes[MYNA__MAX_DIMS], n = 0;
  if (!g) return NULL;
  int extra = g->spec.n_dims - to->n_dims;
  for (int d = 0; d < g->spec.n_dims; d++)
    if (d < extra || (to->dims[d - extra] == 1 && g->spec.dims[d] != 1)) axes[n++] = d;
  if (n > 0) g = myna_sum(c, g, axes, n, true);
  if (extra > 0) g = myna_reshape(c, g, to->dims, to->n_dims);
  return myna_astype(c, g, to->type);
}

/* Each element n times: a new axis behind `axis`, broadcast and merged. */
myna_array *myna_repeat(myna_ctx *c, myna_array *a, int64_t n, int axis) {
  myna_err err = {0};
  if (!a) return myna_expand_dims(c, a, 0);
  axis = myna__axis_fixed(&a->spec, axis, &err);
  if (axis < 0) return myna__fail(c, axis, "repeat", "%s", err.msg);
  if (n < 0 || a->spec.n_dims == MYNA__MAX_DIMS)
    return myna__fail(c, MYNA_E_SHAPE, "repeat", "%lld times in %d dimensions", (long long)n, a->spec.n_dims);
  int64_t wide[MYNA__MAX_DIMS] = {0}, merged[MYNA__MAX_DIMS];
  for (int d = 0; d <= a->spec.n_dims; d++) wide[d] = d == axis + 1 ? n : a->spec.dims[d - (d > axis)];
  memcpy(merged, a->spec.dims, sizeof merged);
  if (!myna__mul_ok(merged[axis], n, &merged[axis])) return myna__fail(c, MYNA_E_SHAPE, "repeat", "too many elements");
  myna_array *y = myna_broadcast_to(c, myna_expand_dims(c, a, axis + 1), wide, a->spec.n_dims + 1);
  return myna_reshape(c, y, merged, a->spec.n_dims);
}
