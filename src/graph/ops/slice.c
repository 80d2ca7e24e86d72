/* slice.c: parts of arrays as views; writing a part into a copy; padding. A symbolic axis is taken whole. */
#include "graph/build.h"

typedef struct slice_params {
  int n;
  int64_t start[MYNA__MAX_DIMS], stop[MYNA__MAX_DIMS], step[MYNA__MAX_DIMS]; /* as given */
} slice_params;

/* First index and number of elements along an axis of n, as in Python; stop INT64_MAX: to the end. */
static void range(int64_t n, int64_t start, int64_t stop, int64_t step, int64_t *first, int64_t *count) {
  int64_t lo = step > 0 ? 0 : -1, hi = step > 0 ? n : n - 1; /* limits of both ends */
  if (start < 0) start += n;
  start = MYNA__MAX(lo, MYNA__MIN(start, hi));
  if (stop == INT64_MAX) {
    stop = step > 0 ? n : -1;
  } else {
    if (stop < 0) stop += n;
    stop = MYNA__MAX(lo, MYNA__MIN(stop, hi));
  }
  int64_t span = step > 0 ? stop - start : start - stop, by = step > 0 ? step : -step;
  *count = span > 0 ? (span - 1) / by + 1 : 0;
  *first = *count ? start : 0;
}

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const slice_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec;
  out[0] = *a;
  for (int d = 0; d < a->n_dims; d++) {
    int64_t first;
    if (p->step[d] == 0 || p->step[d] == INT64_MIN)
      return myna__err(err, MYNA_E_ARG, "step %lld along axis %d", (long long)p->step[d], d);
    if (a->dims[d] >= 0)
      range(a->dims[d], p->start[d], p->stop[d], p->step[d], &first, &out[0].dims[d]);
    else if (p->start[d] != 0 || p->stop[d] != INT64_MAX || p->step[d] != 1)
      return myna__err(err, MYNA_E_SHAPE, "axis %d is symbolic: only all of it can be taken", d);
  }
  return 0;
}

static bool view(const void *params, const myna__tensor *in, myna__tensor *out) {
  const slice_params *p = params;
  bool empty = myna__tensor_size(out) == 0;
  out->data = in->data;
  for (int d = 0; d < in->n_dims; d++) {
    int64_t first, count;
    range(in->shape[d], p->start[d], p->stop[d], p->step[d], &first, &count);
    if (!empty) out->data += first * in->stride[d];
    out->stride[d] = in->stride[d] * p->step[d];
  }
  return true;
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  const slice_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec;
  int64_t first[MYNA__MAX_DIMS] = {0}, count;
  for (int d = 0; d < a->n_dims; d++)
    if (a->dims[d] >= 0) range(a->dims[d], p->start[d], p->stop[d], p->step[d], &first[d], &count);
  if (want[0]) grads[0] = myna__slice_put(c, myna__zeros_like(c, n->in[0]), cot[0], first, p->step);
  return c->err.code;
}

const myna__op myna__op_slice = {.name = "slice", .flags = MYNA__OP_VIEW, .shape = shape, .view = view, .vjp = vjp};

myna_array *myna_slice(myna_ctx *c, myna_array *a, const int64_t *start, const int64_t *stop, const int64_t *step) {
  slice_params p = {.n = start && stop ? myna_ndim(a) : 0};
  for (int d = 0; d < p.n; d++) {
    p.start[d] = start[d];
    p.stop[d] = stop[d];
    p.step[d] = step ? step[d] : 1;
  }
  return myna__apply1(c, &myna__op_slice, &a, 1, &p, sizeof p);
}

myna_array *myna_slice_axis(myna_ctx *c, myna_array *a, int axis, int64_t start, int64_t stop) {
  int64_t from[MYNA__MAX_DIMS] = {0}, to[MYNA__MAX_DIMS];
  myna_err err = {0};
  if (!a) return myna_slice(c, a, NULL, NULL, NULL);
  axis = myna__axis(axis, a->spec.n_dims, &err);
  if (axis < 0) return myna__fail(c, axis, "slice", "%s", err.msg);
  for (int d = 0; d < MYNA__MAX_DIMS; d++) to[d] = INT64_MAX;
  from[axis] = start;
  to[axis] = stop;
  return myna_slice(c, a, from, to, NULL);
}

/* ---- writing a part ---- */

typedef struct update_params {
  int64_t start[MYNA__MAX_DIMS], step[MYNA__MAX_DIMS]; /* start counted from 0 */
} update_params;

static int update_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const update_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec, *u = &n->in[1]->spec;
  if (a->type != u->type)
    return myna__err(err, MYNA_E_DTYPE, "the update is %s, the array %s", myna_dtype_name(u->type),
                     myna_dtype_name(a->type));
  bool fits = a->n_dims == u->n_dims;
  for (int d = 0; d < a->n_dims && fits; d++) {
    int64_t m = u->dims[d], last = p->start[d] + (m - 1) * p->step[d]; /* last index written */
    if (a->dims[d] < 0 || m < 0)
      fits = m == a->dims[d] && p->start[d] == 0 && p->step[d] == 1;
    else if (m > 0)
      fits = p->start[d] >= 0 && p->start[d] < a->dims[d] && last >= 0 && last < a->dims[d];
  }
  char ta[128], tu[128];
  if (!fits)
    return myna__err(err, MYNA_E_SHAPE, "the update %s does not lie inside %s", myna__spec_text(u, tu, sizeof tu),
                     myna__spec_text(a, ta, sizeof ta));
  out[0] = *a;
  return 0;
}

static void update_run(const myna__run *r) {
  const update_params *p = r->params;
  const myna__tensor *u = &r->in[1];
  myna__elements_copy(&r->out[0], &r->in[0], r->pool);
  if (myna__tensor_size(u) <= 0) return;
  myna__tensor part = r->out[0];
  for (int d = 0; d < part.n_dims; d++) {
    part.data += p->start[d] * part.stride[d];
    part.stride[d] *= p->step[d];
    part.shape[d] = u->shape[d];
  }
  myna__elements_copy(&part, u, r->pool);
}

static int update_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  const update_params *p = n->params;
  const myna__spec *u = &n->in[1]->spec;
  if (want[0]) grads[0] = myna__slice_put(c, cot[0], myna__zeros_like(c, n->in[1]), p->start, p->step);
  if (want[1]) {
    int64_t stop[MYNA__MAX_DIMS] = {0};
    for (int d = 0; d < u->n_dims; d++) {
      stop[d] = u->dims[d] < 0 ? INT64_MAX : p->start[d] + u->dims[d] * p->step[d];
      if (stop[d] < 0) stop[d] = INT64_MAX; /* backwards through index 0 */
    }
    grads[1] = myna_slice(c, cot[0], p->start, stop, p->step);
  }
  return c->err.code;
}

const myna__op myna__op_slice_update = {
    .name = "slice_update", .flags = MYNA__OP_STRIDED, .shape = update_shape, .run = update_run, .vjp = update_vjp};

myna_array *myna__slice_put(myna_ctx *c, myna_array *a, myna_array *update, const int64_t *start, const int64_t *step) {
  update_params p = {0};
  for (int d = 0; start && d < myna_ndim(a); d++) {
    p.start[d] = start[d];
    p.step[d] = step ? step[d] : 1;
  }
  return myna__apply1(c, &myna__op_slice_update, (myna_array *[]){a, update}, 2, &p, sizeof p);
}

myna_array *myna_slice_update(myna_ctx *c, myna_array *a, myna_array *update, const int64_t *start) {
  int64_t from[MYNA__MAX_DIMS] = {0};
  for (int d = 0; d < myna_ndim(a); d++)
    from[d] = start[d] < 0 && a->spec.dims[d] >= 0 ? start[d] + a->spec.dims[d] : start[d];
  return myna__slice_put(c, a, update, from, NULL);
}

/* ---- pad: a written into a larger array of `value` ---- */

myna_array *myna_pad(myna_ctx *c, myna_array *a, const int64_t *before, const int64_t *after, double value) {
  if (!a) return myna__slice_put(c, a, a, NULL, NULL);
  myna__spec s = a->spec;
  for (int d = 0; d < s.n_dims; d++) {
    bool ok = s.dims[d] < 0 ? before[d] == 0 && after[d] == 0
                            : before[d] >= 0 && after[d] >= 0 && myna__add_ok(s.dims[d], before[d], &s.dims[d]) &&
                                  myna__add_ok(s.dims[d], after[d], &s.dims[d]);
    if (!ok)
      return myna__fail(c, MYNA_E_SHAPE, "pad", "%lld before and %lld after axis %d", (long long)before[d],
                        (long long)after[d], d);
  }
  if (myna__dtype_is_packed(s.type))
    return myna__fail(c, MYNA_E_DTYPE, "pad", "packed type %s", myna_dtype_name(s.type));
  return myna__slice_put(c, myna__full_spec(c, &s, value), a, before, NULL);
}
