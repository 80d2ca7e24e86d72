/* take.c: slices of an array at indices of any shape along an axis, and the two ways to write them back.
 *
 * Layout: a [outer, n, inner], indices [count], result and updates [outer, count, inner]. */
#include "graph/build.h"

typedef struct take_params {
  int axis; /* from the front */
  bool add; /* scatter_add */
} take_params;

static int check_indices(const myna__node *n, myna_err *err) {
  const myna__spec *i = &n->in[1]->spec;
  if (!myna__dtype_is_int(i->type))
    return myna__err(err, MYNA_E_DTYPE, "indices are %s, integers are needed", myna_dtype_name(i->type));
  return 0;
}

/* a with the indices' shape in place of `axis`. */
static int taken_spec(const myna__node *n, myna__spec *out, myna_err *err) {
  int axis = ((const take_params *)n->params)->axis;
  const myna__spec *a = &n->in[0]->spec, *i = &n->in[1]->spec;
  if (a->n_dims - 1 + i->n_dims > MYNA__MAX_DIMS)
    return myna__err(err, MYNA_E_SHAPE, "more than %d dimensions", MYNA__MAX_DIMS);
  *out = (myna__spec){.type = a->type};
  for (int d = 0; d < axis; d++) out->dims[out->n_dims++] = a->dims[d];
  for (int d = 0; d < i->n_dims; d++) out->dims[out->n_dims++] = i->dims[d];
  for (int d = axis + 1; d < a->n_dims; d++) out->dims[out->n_dims++] = a->dims[d];
  return 0;
}

static int take_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  TRY(check_indices(n, err));
  return taken_spec(n, out, err);
}

static int scatter_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *a = &n->in[0]->spec, *u = &n->in[2]->spec;
  myna__spec want;
  char tu[128], tw[128];
  TRY(check_indices(n, err));
  TRY(taken_spec(n, &want, err));
  if (u->type != a->type)
    return myna__err(err, MYNA_E_DTYPE, "updates are %s, the array %s", myna_dtype_name(u->type),
                     myna_dtype_name(a->type));
  if (!myna__spec_same_dims(u, &want))
    return myna__err(err, MYNA_E_SHAPE, "updates are %s, %s is needed", myna__spec_text(u, tu, sizeof tu),
                     myna__spec_text(&want, tw, sizeof tw));
  out[0] = *a;
  return 0;
}

/* ---- run: all contiguous but a of take, which may lie as rows ---- */

typedef struct job {
  const myna__run *r;
  int64_t outer, n, inner, count; /* inner in bytes */
  int64_t per_unit;               /* of outer * count */
  const uint8_t *x;
  uint8_t *y;
} job;

static job make_job(const myna__run *r, int axis) {
  const myna__tensor *a = &r->in[0];
  job j = {
      .r = r, .outer = myna__shape_size(a->shape, axis), .n = a->shape[axis], .count = myna__tensor_size(&r->in[1])};
  j.inner = myna__shape_size(a->shape + axis + 1, a->n_dims - axis - 1) * myna_dtype_bytes(a->type);
  return j;
}

/* Index i of the list from the front; -1 when it is out of range. */
static int64_t index_at(const job *j, int64_t i) {
  const myna__tensor *t = &j->r->in[1];
  int64_t bytes = myna_dtype_bytes(t->type), v;
  myna__load(MYNA__CLASS_I64, &v, t->data + i * bytes, bytes, t->type, 1);
  if (v < 0) v += j->n;
  return v >= 0 && v < j->n ? v : -1;
}

static void take_unit(void *arg, int64_t u, int worker) {
  const job *j = arg;
  int64_t end = MYNA__MIN((u + 1) * j->per_unit, j->outer * j->count);
  (void)worker;
  for (int64_t k = u * j->per_unit; k < end; k++) {
    int64_t o = k / j->count, from = index_at(j, k % j->count);
    uint8_t *y = j->y + k * j->inner;
    if (from < 0)
      memset(y, 0, (size_t)j->inner);
    else
      memcpy(y, j->x + (o * j->n + from) * j->inner, (size_t)j->inner);
  }
}

static void take_run(const myna__run *r) {
  enum { FEW = 128 * 1024, PER_UNIT = 32 * 1024 }; /* bytes */
  job j = make_job(r, ((const take_params *)r->params)->axis);
  j.x = r->in[0].data;
  j.y = r->out[0].data;
  int64_t all = j.outer * j.count, bytes = all * j.inner;
  j.per_unit = bytes <= FEW ? all : MYNA__MAX(PER_UNIT / MYNA__MAX(j.inner, 1), 1);
  myna__pool_run(bytes <= FEW ? NULL : r->pool, (all + j.per_unit - 1) / j.per_unit, take_unit, &j);
}

/* y += x, n elements of type t, in the computing type. */
static void add_elements(uint8_t *y, const uint8_t *x, myna_dtype t, int64_t n) {
  myna__class k = myna__class_of(myna__dtype_number(t));
  int64_t bytes = myna_dtype_bytes(t);
  union {
    float f[MYNA__CHUNK];
    double d[MYNA__CHUNK];
    int64_t i[MYNA__CHUNK];
  } a, b;
  for (int64_t at = 0; at < n; at += MYNA__CHUNK) {
    int64_t m = MYNA__MIN(n - at, (int64_t)MYNA__CHUNK);
    myna__load(k, &a, y + at * bytes, bytes, t, m);
    myna__load(k, &b, x + at * bytes, bytes, t, m);
    for (int64_t i = 0; i < m; i++) {
      if (k == MYNA__CLASS_F32)
        a.f[i] += b.f[i];
      else if (k == MYNA__CLASS_F64)
        a.d[i] += b.d[i];
      else
        a.i[i] = (int64_t)((uint64_t)a.i[i] + (uint64_t)b.i[i]);
    }
    myna__store(y + at * bytes, bytes, t, k, &a, m);
  }
}

/* In the order of the list, on the caller: the last write wins and sums do not depend on threads. */
static void scatter_run(const myna__run *r) {
  const take_params *p = r->params;
  job j = make_job(r, p->axis);
  int64_t bytes = myna_dtype_bytes(r->out[0].type);
  myna__elements_copy(&r->out[0], &r->in[0], r->pool);
  for (int64_t o = 0; o < j.outer; o++)
    for (int64_t i = 0; i < j.count; i++) {
      int64_t to = index_at(&j, i);
      if (to < 0) continue;
      uint8_t *y = r->out[0].data + (o * j.n + to) * j.inner;
      const uint8_t *x = r->in[2].data + (o * j.count + i) * j.inner;
      if (p->add)
        add_elements(y, x, r->out[0].type, j.inner / bytes);
      else
        memcpy(y, x, (size_t)j.inner);
    }
}

/* ---- gradients ---- */

static int take_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  int axis = ((const take_params *)n->params)->axis;
  if (want[0]) grads[0] = myna_scatter_add(c, myna__zeros_like(c, n->in[0]), n->in[1], cot[0], axis);
  return c->err.code;
}

/* BOOL, in the shape of the indices with 1s behind for the axes after `axis`: this update was not written over. */
static myna_array *survives(myna_ctx *c, const myna__node *n) {
  int axis = ((const take_params *)n->params)->axis;
  const myna__spec *a = &n->in[0]->spec, *i = &n->in[1]->spec;
  myna_array *order =
      myna_reshape(c, myna_arange(c, MYNA_I32, 0, (double)myna__shape_size(i->dims, i->n_dims), 1), i->dims, i->n_dims);
  myna_array *owner = myna_full(c, MYNA_I32, &a->dims[axis], 1, -1);
  owner = myna_take(c, myna_scatter(c, owner, n->in[1], order, 0), n->in[1], 0);
  myna_array *is = myna_eq(c, owner, order);
  for (int d = axis + 1; d < a->n_dims; d++) is = myna_expand_dims(c, is, -1);
  return is;
}

static int scatter_vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  const take_params *p = n->params;
  if (want[0]) grads[0] = p->add ? cot[0] : myna_scatter(c, cot[0], n->in[1], myna__zeros_like(c, n->in[2]), p->axis);
  if (want[2]) {
    grads[2] = myna_take(c, cot[0], n->in[1], p->axis);
    if (!p->add) grads[2] = myna_where(c, survives(c, n), grads[2], myna__scalar_like(c, cot[0], 0));
  }
  return c->err.code;
}

static void print(const void *params, myna__buf *b) {
  myna__buf_printf(b, " axis=%d", ((const take_params *)params)->axis);
}

const myna__op myna__op_take = {
    .name = "take", .flags = MYNA__OP_DENSE, .shape = take_shape, .run = take_run, .vjp = take_vjp, .print = print};
const myna__op myna__op_scatter_add = {.name = "scatter_add",
                                       .flags = MYNA__OP_DENSE,
                                       .shape = scatter_shape,
                                       .run = scatter_run,
                                       .vjp = scatter_vjp,
                                       .print = print};
const myna__op myna__op_scatter = {.name = "scatter",
                                   .flags = MYNA__OP_DENSE,
                                   .shape = scatter_shape,
                                   .run = scatter_run,
                                   .vjp = scatter_vjp,
                                   .print = print};

static myna_array *apply(myna_ctx *c, const myna__op *op, myna_array *const *in, int n_in, int axis, bool add) {
  myna_err err = {0};
  take_params p = {0, add};
  if (in[0]) {
    p.axis = myna__axis(axis, in[0]->spec.n_dims, &err);
    if (p.axis < 0) return myna__fail(c, err.code, op->name, "%s", err.msg);
  }
  return myna__apply1(c, op, in, n_in, &p, sizeof p);
}

myna_array *myna_take(myna_ctx *c, myna_array *a, myna_array *indices, int axis) {
  return apply(c, &myna__op_take, (myna_array *[]){a, indices}, 2, axis, false);
}

myna_array *myna_scatter_add(myna_ctx *c, myna_array *a, myna_array *indices, myna_array *updates, int axis) {
  return apply(c, &myna__op_scatter_add, (myna_array *[]){a, indices, updates}, 3, axis, true);
}

myna_array *myna_scatter(myna_ctx *c, myna_array *a, myna_array *indices, myna_array *updates, int axis) {
  return apply(c, &myna__op_scatter, (myna_array *[]){a, indices, updates}, 3, axis, false);
}
