/* reduce.c: sum, max, min and prod over axes: one row each; mean and logsumexp are composed.
 *
 * Floats accumulate in double, in an order that depends on the shape alone, and are rounded once; integers accumulate
 * in int64. One thread makes an output. Two ways through memory: along the last axis when it is reduced (lanes, then
 * their fold), else a stretch of outputs along the last axis at a time. BOOL and integers narrower than 32 bits give
 * I32 or U32. */
#include "graph/build.h"
#include <math.h>

/* ---- acc[j] = acc[j] op x[j] ---- */

static void sum_f64(double *acc, const double *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) acc[i] += x[i];
}
static void prod_f64(double *acc, const double *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) acc[i] *= x[i];
}
static void max_f64(double *acc, const double *x, int64_t n) { /* NaN stays */
  for (int64_t i = 0; i < n; i++) acc[i] = x[i] > acc[i] || x[i] != x[i] ? x[i] : acc[i];
}
static void min_f64(double *acc, const double *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) acc[i] = x[i] < acc[i] || x[i] != x[i] ? x[i] : acc[i];
}
static void sum_i64(int64_t *acc, const int64_t *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) acc[i] = (int64_t)((uint64_t)acc[i] + (uint64_t)x[i]);
}
static void prod_i64(int64_t *acc, const int64_t *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) acc[i] = (int64_t)((uint64_t)acc[i] * (uint64_t)x[i]);
}
static void max_i64(int64_t *acc, const int64_t *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) acc[i] = MYNA__MAX(acc[i], x[i]);
}
static void min_i64(int64_t *acc, const int64_t *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) acc[i] = MYNA__MIN(acc[i], x[i]);
}

typedef enum reducer { SUM, PROD, MAX, MIN } reducer;

typedef struct row {
  void (*f64)(double *acc, const double *x, int64_t n);
  void (*i64)(int64_t *acc, const int64_t *x, int64_t n);
  double f64_start;
  int64_t i64_start;
  bool widens; /* the result may need more bits than the elements */
} row;

static const row rows[] = {
    [SUM] = {sum_f64, sum_i64, 0, 0, true},
    [PROD] = {prod_f64, prod_i64, 1, 1, true},
    [MAX] = {max_f64, max_i64, -INFINITY, INT64_MIN, false},
    [MIN] = {min_f64, min_i64, INFINITY, INT64_MAX, false},
};

typedef struct reduce_params {
  reducer op;
  uint32_t axes; /* bit per axis */
  bool keep;
} reduce_params;

/* ---- shape ---- */

static myna_dtype wide(myna_dtype t) {
  if (t == MYNA_BOOL || t == MYNA_I8 || t == MYNA_I16) return MYNA_I32;
  return t == MYNA_U8 || t == MYNA_U16 ? MYNA_U32 : t;
}

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const reduce_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec;
  *out = (myna__spec){.type = rows[p->op].widens ? wide(a->type) : a->type};
  for (int d = 0; d < a->n_dims; d++) {
    bool reduced = p->axes >> d & 1;
    if (reduced) TRY_N(myna__axis_fixed(a, d, err));
    if (reduced && a->dims[d] == 0 && !rows[p->op].widens)
      return myna__err(err, MYNA_E_SHAPE, "axis %d has no elements", d);
    if (!reduced || p->keep) out->dims[out->n_dims++] = reduced ? 1 : a->dims[d];
  }
  return 0;
}

/* ---- run ---- */

/* Axes of one kind, innermost first, neighbours merged. */
typedef struct axis_list {
  int n;
  int64_t shape[MYNA__MAX_DIMS], stride[MYNA__MAX_DIMS], size;
} axis_list;

typedef struct job {
  const myna__run *r;
  const row *row;
  axis_list kept, reduced;
  bool along; /* the innermost axis is reduced */
  bool ints;
  int64_t stretch, per_unit; /* outputs made together; outputs of a unit, a multiple of stretch */
} job;

static void add_axis(axis_list *a, int64_t n, int64_t stride, bool adjacent) {
  a->size *= n;
  if (n == 1) return;
  if (adjacent && a->n > 0 && stride == a->stride[a->n - 1] * a->shape[a->n - 1]) {
    a->shape[a->n - 1] *= n;
    return;
  }
  a->shape[a->n] = n;
  a->stride[a->n++] = stride;
}

static void make_job(job *j, const myna__run *r) {
  const reduce_params *p = r->params;
  const myna__tensor *a = &r->in[0];
  *j = (job){.r = r, .row = &rows[p->op], .ints = !myna__dtype_is_float(a->type), .kept.size = 1, .reduced.size = 1};
  int previous = -1; /* kind of the axis inside; axes of size 1 do not separate neighbours */
  for (int d = a->n_dims - 1; d >= 0; d--) {
    int kind = p->axes >> d & 1;
    add_axis(kind ? &j->reduced : &j->kept, a->shape[d], a->stride[d], kind == previous);
    if (a->shape[d] == 1) continue;
    if (previous < 0) j->along = kind;
    previous = kind;
  }
  if (previous < 0) j->along = true; /* one element */
}

static int64_t offset_of(const axis_list *a, int64_t index) {
  int64_t at = 0;
  for (int d = 0; d < a->n; d++) {
    at += index % a->shape[d] * a->stride[d];
    index /= a->shape[d];
  }
  return at;
}

typedef union lanes {
  double f[MYNA__CHUNK];
  int64_t i[MYNA__CHUNK];
} lanes;

static void start_lanes(const job *j, lanes *l, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (j->ints)
      l->i[i] = j->row->i64_start;
    else
      l->f[i] = j->row->f64_start;
}

static void add_lanes(const job *j, lanes *acc, const uint8_t *x, int64_t step, int64_t n) {
  lanes chunk;
  myna__load(j->ints ? MYNA__CLASS_I64 : MYNA__CLASS_F64, &chunk, x, step, j->r->in[0].type, n);
  if (j->ints)
    j->row->i64(acc->i, chunk.i, n);
  else
    j->row->f64(acc->f, chunk.f, n);
}

static void store_lanes(const job *j, const lanes *l, int64_t index, int64_t n) {
  const myna__tensor *y = &j->r->out[0];
  int64_t bytes = myna_dtype_bytes(y->type);
  myna__store(y->data + index * bytes, bytes, y->type, j->ints ? MYNA__CLASS_I64 : MYNA__CLASS_F64, l, n);
}

/* One output: its elements fall into lanes by their place along the innermost axis. */
static void reduce_along(const job *j, int64_t index) {
  const uint8_t *x = j->r->in[0].data + offset_of(&j->kept, index);
  int64_t n = j->reduced.n ? j->reduced.shape[0] : 1, step = j->reduced.n ? j->reduced.stride[0] : 0;
  int64_t used = MYNA__MIN(n, (int64_t)MYNA__CHUNK);
  lanes acc;
  start_lanes(j, &acc, MYNA__MAX(used, 1));
  for (int64_t outer = 0; outer < j->reduced.size; outer += n) {
    const uint8_t *from = x + offset_of(&j->reduced, outer);
    for (int64_t at = 0; at < n; at += MYNA__CHUNK)
      add_lanes(j, &acc, from + at * step, step, MYNA__MIN(n - at, (int64_t)MYNA__CHUNK));
  }
  for (; used > 1; used = (used + 1) / 2) { /* fold the upper half onto the lower */
    int64_t half = (used + 1) / 2;
    if (j->ints)
      j->row->i64(acc.i, acc.i + half, used - half);
    else
      j->row->f64(acc.f, acc.f + half, used - half);
  }
  store_lanes(j, &acc, index, 1);
}

/* `n` outputs along the innermost axis. */
static void reduce_across(const job *j, int64_t index, int64_t n) {
  const uint8_t *x = j->r->in[0].data + offset_of(&j->kept, index);
  int64_t step = j->kept.n ? j->kept.stride[0] : 0;
  lanes acc;
  start_lanes(j, &acc, n);
  for (int64_t k = 0; k < j->reduced.size; k++) add_lanes(j, &acc, x + offset_of(&j->reduced, k), step, n);
  store_lanes(j, &acc, index, n);
}

static void unit(void *arg, int64_t u, int worker) {
  const job *j = arg;
  (void)worker;
  int64_t from = u * j->per_unit, to = MYNA__MIN(from + j->per_unit, j->kept.size);
  while (from < to) {
    int64_t n = 1;
    if (j->along) {
      reduce_along(j, from);
    } else { /* not past the end of the innermost axis */
      n = MYNA__MIN(MYNA__MIN(to - from, j->kept.shape[0] - from % j->kept.shape[0]), (int64_t)MYNA__CHUNK);
      reduce_across(j, from, n);
    }
    from += n;
  }
}

static void run(const myna__run *r) {
  enum { PER_UNIT = 16 * 1024 }; /* elements read by a unit */
  job j;
  make_job(&j, r);
  int64_t each = MYNA__MAX(j.reduced.size, 1);
  bool few = j.kept.size * each <= MYNA__FEW;
  j.per_unit = few ? j.kept.size : MYNA__MAX(PER_UNIT / each, 1);
  if (!few && !j.along) j.per_unit = MYNA__MAX(j.per_unit, 64); /* whole cache lines */
  myna__pool_run(few ? NULL : r->pool, (j.kept.size + j.per_unit - 1) / j.per_unit, unit, &j);
}

/* ---- gradients ---- */

/* The shape of `a` with reduced axes 1, for an array that lost them. */
static myna_array *restore(myna_ctx *c, const myna__node *n, myna_array *g) {
  const reduce_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec;
  int64_t dims[MYNA__MAX_DIMS];
  for (int d = 0; d < a->n_dims; d++) dims[d] = p->axes >> d & 1 ? 1 : a->dims[d];
  return p->keep ? g : myna_reshape(c, g, dims, a->n_dims);
}

static myna_array *sum_again(myna_ctx *c, const reduce_params *like, reducer op, myna_array *a) {
  reduce_params p = {op, like->axes, true};
  static const myna__op *const ops[] = {&myna__op_sum, &myna__op_prod, &myna__op_max, &myna__op_min};
  return myna__apply1(c, ops[op], &a, 1, &p, sizeof p);
}

/* Shared equally among the elements that are the extreme. */
static myna_array *extreme_grad(myna_ctx *c, const myna__node *n, myna_array *g) {
  myna_array *x = n->in[0], *is = myna_astype(c, myna_eq(c, x, restore(c, n, n->out[0])), g->spec.type);
  return myna_div(c, myna_mul(c, is, g), sum_again(c, n->params, SUM, is));
}

/* The product of the others: without zeros y / x; beside one zero only that one gets any; beside two none. */
static myna_array *prod_grad(myna_ctx *c, const myna__node *n, myna_array *g) {
  myna_array *x = n->in[0], *zero = myna__scalar_like(c, x, 0), *one = myna__scalar_like(c, x, 1);
  myna_array *is_zero = myna_eq(c, x, zero), *safe = myna_where(c, is_zero, one, x);
  myna_array *others = sum_again(c, n->params, PROD, safe);
  myna_array *zeros = sum_again(c, n->params, SUM, myna_astype(c, is_zero, MYNA_I32));
  myna_array *at_zero = myna_where(c, myna_eq(c, zeros, myna__scalar_like(c, zeros, 1)), others, zero);
  myna_array *elsewhere =
      myna_where(c, myna_eq(c, zeros, myna__scalar_like(c, zeros, 0)), myna_div(c, others, safe), zero);
  return myna_mul(c, g, myna_where(c, is_zero, at_zero, elsewhere));
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  const reduce_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec;
  if (!want[0]) return 0;
  myna_array *g = restore(c, n, cot[0]);
  if (!g) return c->err.code;
  if (p->op == SUM)
    grads[0] = myna_broadcast_to(c, g, a->dims, a->n_dims);
  else
    grads[0] = p->op == PROD ? prod_grad(c, n, g) : extreme_grad(c, n, g);
  return c->err.code;
}

static void print(const void *params, myna__buf *b) {
  const reduce_params *p = params;
  for (int d = 0; d < MYNA__MAX_DIMS; d++)
    if (p->axes >> d & 1) myna__buf_printf(b, " axis=%d", d);
}

#define OPERATION(fn) \
  { .name = fn, .flags = MYNA__OP_STRIDED, .shape = shape, .run = run, .vjp = vjp, .print = print }
const myna__op myna__op_sum = OPERATION("sum");
const myna__op myna__op_prod = OPERATION("prod");
const myna__op myna__op_max = OPERATION("max");
const myna__op myna__op_min = OPERATION("min");
#undef OPERATION

/* ---- public ---- */

static bool axes_mask(myna_ctx *c, const char *op, const myna_array *a, const int *axes, int n_axes, uint32_t *mask) {
  *mask = n_axes == 0 ? (1u << a->spec.n_dims) - 1 : 0;
  for (int i = 0; i < n_axes; i++) {
    myna_err err = {0};
    int axis = myna__axis(axes[i], a->spec.n_dims, &err);
    if (axis < 0) return myna__fail(c, axis, op, "%s", err.msg), false;
    if (*mask >> axis & 1) return myna__fail(c, MYNA_E_ARG, op, "axis %d is given twice", axes[i]), false;
    *mask |= 1u << axis;
  }
  return true;
}

static myna_array *reduce(myna_ctx *c, const myna__op *op, reducer kind, myna_array *a, const int *axes, int n,
                          bool keep) {
  reduce_params p = {.op = kind, .keep = keep};
  if (a && !axes_mask(c, op->name, a, axes, n, &p.axes)) return NULL;
  return myna__apply1(c, op, &a, 1, &p, sizeof p);
}

myna_array *myna_sum(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep) {
  return reduce(c, &myna__op_sum, SUM, a, axes, n_axes, keep);
}

myna_array *myna_prod(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep) {
  return reduce(c, &myna__op_prod, PROD, a, axes, n_axes, keep);
}

myna_array *myna_max(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep) {
  return reduce(c, &myna__op_max, MAX, a, axes, n_axes, keep);
}

myna_array *myna_min(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep) {
  return reduce(c, &myna__op_min, MIN, a, axes, n_axes, keep);
}

myna_array *myna_mean(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep) {
  if (a) a = myna_astype(c, a, myna__dtype_floating(a->spec.type));
  myna_array *total = myna_sum(c, a, axes, n_axes, keep);
  if (!a || !total) return NULL;
  uint32_t mask;
  double n = 1;
  axes_mask(c, "mean", a, axes, n_axes, &mask);
  for (int d = 0; d < a->spec.n_dims; d++)
    if (mask >> d & 1) n *= (double)a->spec.dims[d];
  return myna_scale(c, total, 1 / n);
}

/* m + log(sum(exp(a - m))), m the maximum, or 0 where that is infinite. */
myna_array *myna_logsumexp(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep) {
  if (a) a = myna_astype(c, a, myna__dtype_floating(a->spec.type));
  myna_array *m = myna_stop_gradient(c, myna_max(c, a, axes, n_axes, true));
  if (!a || !m) return NULL;
  myna_array *infinite = myna_eq(c, myna_abs(c, m), myna__scalar_like(c, m, INFINITY));
  m = myna_where(c, infinite, myna__scalar_like(c, m, 0), m);
  myna_array *y = myna_add(c, m, myna_log(c, myna_sum(c, myna_exp(c, myna_sub(c, a, m)), axes, n_axes, true)));
  uint32_t mask;
  if (!y || !axes_mask(c, "logsumexp", a, axes, n_axes, &mask)) return NULL;
  for (int d = a->spec.n_dims - 1; d >= 0 && !keep; d--)
    if (mask >> d & 1) y = myna_squeeze(c, y, d);
  return y;
}
