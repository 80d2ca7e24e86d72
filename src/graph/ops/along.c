/* along.c: take_along_axis and its transpose: index arrays of the array's own rank, one index per element.
 *
 * Layout: a [outer, n, inner], indices, result and updates [outer, count, inner], all contiguous. */
#include "graph/build.h"

typedef struct along_params {
  int axis; /* from the front */
} along_params;

static int take_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  int axis = ((const along_params *)n->params)->axis;
  const myna__spec *a = &n->in[0]->spec, *i = &n->in[1]->spec;
  char ta[128], ti[128];
  if (!myna__dtype_is_int(i->type))
    return myna__err(err, MYNA_E_DTYPE, "indices are %s, integers are needed", myna_dtype_name(i->type));
  bool fits = a->n_dims == i->n_dims;
  for (int d = 0; d < a->n_dims && fits; d++) fits = d == axis || a->dims[d] == i->dims[d];
  if (!fits)
    return myna__err(err, MYNA_E_SHAPE, "indices are %s, the array %s: only axis %d may differ",
                     myna__spec_text(i, ti, sizeof ti), myna__spec_text(a, ta, sizeof ta), axis);
  out[0] = *i;
  out[0].type = a->type;
  return 0;
}

static int add_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  TRY(take_shape(n, out, err));
  const myna__spec *u = &n->in[2]->spec;
  if (!myna__spec_same_dims(u, &out[0]) || u->type != out[0].type)
    return myna__err(err, MYNA_E_SHAPE, "updates do not have the shape of the indices");
  out[0] = n->in[0]->spec;
  return 0;
}

/* Calls per element: its place in the indices and the place in a, -1 when out of range. */
typedef struct places {
  int64_t n, inner, count, size;
  const myna__tensor *indices;
} places;

static places make_places(const myna__run *r) {
  int axis = ((const along_params *)r->params)->axis;
  const myna__tensor *a = &r->in[0], *i = &r->in[1];
  return (places){.n = a->shape[axis],
                  .inner = myna__shape_size(a->shape + axis + 1, a->n_dims - axis - 1),
                  .count = i->shape[axis],
                  .size = myna__tensor_size(i),
                  .indices = i};
}

static int64_t place(const places *p, int64_t k) {
  int64_t bytes = myna_dtype_bytes(p->indices->type), v;
  myna__load(MYNA__CLASS_I64, &v, p->indices->data + k * bytes, bytes, p->indices->type, 1);
  if (v < 0) v += p->n;
  if (v < 0 || v >= p->n) return -1;
  return (k / (p->count * p->inner) * p->n + v) * p->inner + k % p->inner;
}

static void take_run(const myna__run *r) {
  places p = make_places(r);
  int64_t bytes = myna_dtype_bytes(r->out[0].type);
  for (int64_t k = 0; k < p.size; k++) {
    int64_t from = place(&p, k);
    uint8_t *y = r->out[0].data + k * bytes;
    if (from < 0)
      memset(y, 0, (size_t)bytes);
    else
      memcpy(y, r->in[0].data + from * bytes, (size_t)bytes);
  }
}

static void add_run(const myna__run *r) {
  places p = make_places(r);
  myna_dtype t = r->out[0].type;
  int64_t bytes = myna_dtype_bytes(t);
  myna__elements_copy(&r->out[0], &r->in[0], r->pool);
  for (int64_t k = 0; k < p.size; k++) {
    int64_t to = place(&p, k);
    if (to < 0) continue;
    double sum[2];
    myna__load(MYNA__CLASS_F64, &sum[0], r->out[0].data + to * bytes, bytes, t, 1);
    myna__load(MYNA__CLASS_F64, &sum[1], r->in[2].data + k * bytes, bytes, t, 1);
    sum[0] += sum[1];
    myna__store(r->out[0].data + to * bytes, bytes, t, MYNA__CLASS_F64, sum, 1);
  }
}

static myna_array *add_along(myna_ctx *c, myna_array *a, myna_array *indices, myna_array *updates, int axis);

static int take_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  int axis = ((const along_params *)n->params)->axis;
  if (want[0]) grads[0] = add_along(c, myna__zeros_like(c, n->in[0]), n->in[1], cot[0], axis);
  return c->err.code;
}

static int add_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  int axis = ((const along_params *)n->params)->axis;
  if (want[0]) grads[0] = cot[0];
  if (want[2]) grads[2] = myna_take_along_axis(c, cot[0], n->in[1], axis);
  return c->err.code;
}

const myna__op myna__op_take_along_axis = {
    .name = "take_along_axis", .flags = MYNA__OP_DENSE, .shape = take_shape, .run = take_run, .vjp = take_vjp};
/* Not public: the gradient of take_along_axis. */
const myna__op myna__op_add_along_axis = {
    .name = "add_along_axis", .flags = MYNA__OP_DENSE, .shape = add_shape, .run = add_run, .vjp = add_vjp};

static myna_array *add_along(myna_ctx *c, myna_array *a, myna_array *indices, myna_array *updates, int axis) {
  along_params p = {axis};
  return myna__apply1(c, &myna__op_add_along_axis, (myna_array *[]){a, indices, updates}, 3, &p, sizeof p);
}

/* a broadcast to `dims`, its own size along axis. */
static myna_array *widen(myna_ctx *c, myna_array *a, myna__spec to, int axis) {
  to.dims[axis] = a->spec.dims[axis];
  return myna__spec_same_dims(&a->spec, &to) ? a : myna_broadcast_to(c, a, to.dims, to.n_dims);
}

/* Axes other than `axis` broadcast. */
myna_array *myna_take_along_axis(myna_ctx *c, myna_array *a, myna_array *indices, int axis) {
  along_params p = {0};
  myna_err err = {0};
  if (a && indices) {
    p.axis = myna__axis(axis, a->spec.n_dims, &err);
    if (p.axis < 0) return myna__fail(c, err.code, "take_along_axis", "%s", err.msg);
  }
  if (a && indices && a->spec.n_dims == indices->spec.n_dims) {
    myna__spec x = a->spec, y = indices->spec, both = {0};
    x.dims[p.axis] = y.dims[p.axis] = 1;
    if (myna__spec_broadcast(&x, &y, &both, NULL) == 0) {
      a = widen(c, a, both, p.axis);
      indices = widen(c, indices, both, p.axis);
    }
  }
  return myna__apply1(c, &myna__op_take_along_axis, (myna_array *[]){a, indices}, 2, &p, sizeof p);
}
