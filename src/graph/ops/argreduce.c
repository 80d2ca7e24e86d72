/* argreduce.c: index of the first largest or smallest element along an axis; NaN counts as the extreme. */
#include "graph/build.h"

typedef struct arg_params {
  int axis;
  bool min, keep;
} arg_params;

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const arg_params *p = n->params;
  const myna__spec *a = &n->in[0]->spec;
  int axis = myna__axis_fixed(a, p->axis, err);
  TRY_N(axis);
  if (a->dims[axis] == 0) return myna__err(err, MYNA_E_SHAPE, "axis %d has no elements", p->axis);
  *out = (myna__spec){.type = MYNA_I32};
  for (int d = 0; d < a->n_dims; d++)
    if (d != axis || p->keep) out->dims[out->n_dims++] = d == axis ? 1 : a->dims[d];
  return 0;
}

static int64_t best_f64(const double *x, int64_t n, bool min, double *best, int64_t at, int64_t found) {
  for (int64_t i = 0; i < n; i++) {
    if (*best != *best) break; /* nothing comes before the first NaN */
    if (found < 0 || x[i] != x[i] || (min ? x[i] < *best : x[i] > *best)) *best = x[i], found = at + i;
  }
  return found;
}

static int64_t best_i64(const int64_t *x, int64_t n, bool min, int64_t *best, int64_t at, int64_t found) {
  for (int64_t i = 0; i < n; i++)
    if (found < 0 || (min ? x[i] < *best : x[i] > *best)) *best = x[i], found = at + i;
  return found;
}

static int64_t extreme(const uint8_t *x, int64_t step, myna_dtype t, int64_t n, bool min) {
  bool ints = !myna__dtype_is_float(t);
  double chunk_f[MYNA__CHUNK], best_f = 0;
  int64_t chunk_i[MYNA__CHUNK], best_i = 0, found = -1;
  for (int64_t at = 0; at < n; at += MYNA__CHUNK) {
    int64_t m = MYNA__MIN(n - at, (int64_t)MYNA__CHUNK);
    if (ints) {
      myna__load(MYNA__CLASS_I64, chunk_i, x + at * step, step, t, m);
      found = best_i64(chunk_i, m, min, &best_i, at, found);
    } else {
      myna__load(MYNA__CLASS_F64, chunk_f, x + at * step, step, t, m);
      found = best_f64(chunk_f, m, min, &best_f, at, found);
    }
  }
  return found;
}

typedef struct job {
  const myna__run *r;
  int axis;
} job;

/* One output: u is its index in row-major order over the other axes. */
static void unit(void *arg, int64_t u, int worker) {
  const job *j = arg;
  const arg_params *p = j->r->params;
  const myna__tensor *a = &j->r->in[0];
  const uint8_t *x = a->data;
  int64_t rest = u;
  (void)worker;
  for (int d = a->n_dims - 1; d >= 0; d--) {
    if (d == j->axis) continue;
    x += rest % a->shape[d] * a->stride[d];
    rest /= a->shape[d];
  }
  ((int32_t *)(void *)j->r->out[0].data)[u] =
      (int32_t)extreme(x, a->stride[j->axis], a->type, a->shape[j->axis], p->min);
}

static void run(const myna__run *r) {
  job j = {r, myna__axis(((const arg_params *)r->params)->axis, r->in[0].n_dims, NULL)};
  bool few = myna__tensor_size(&r->in[0]) <= MYNA__FEW;
  myna__pool_run(few ? NULL : r->pool, myna__tensor_size(&r->out[0]), unit, &j);
}

enum { FLAGS = MYNA__OP_STRIDED | MYNA__OP_NOGRAD };
const myna__op myna__op_argmax = {.name = "argmax", .flags = FLAGS, .shape = shape, .run = run};
const myna__op myna__op_argmin = {.name = "argmin", .flags = FLAGS, .shape = shape, .run = run};

myna_array *myna_argmax(myna_ctx *c, myna_array *a, int axis, bool keep) {
  arg_params p = {axis, false, keep};
  return myna__apply1(c, &myna__op_argmax, &a, 1, &p, sizeof p);
}

myna_array *myna_argmin(myna_ctx *c, myna_array *a, int axis, bool keep) {
  arg_params p = {axis, true, keep};
  return myna__apply1(c, &myna__op_argmin, &a, 1, &p, sizeof p);
}
