/* create.c: arrays from nothing: full (zeros, ones, scalar) and arange. They are nodes, made where they are needed. */
#include "graph/build.h"
#include <math.h>

/* ---- full ---- */

typedef struct full_params {
  myna__spec spec;
  double value;
} full_params;

static int full_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  (void)err;
  out[0] = ((const full_params *)n->params)->spec;
  return 0;
}

static void full_run(const myna__run *r) {
  const full_params *p = r->params;
  const myna__tensor *y = &r->out[0];
  int64_t bytes = myna_dtype_bytes(y->type), size = myna__tensor_size(y);
  myna__store(y->data, bytes, y->type, MYNA__CLASS_F64, &p->value, 1);
  for (int64_t have = 1; have < size; have *= 2)
    memcpy(y->data + have * bytes, y->data, (size_t)(MYNA__MIN(have, size - have) * bytes));
}

static void full_print(const void *params, myna__buf *b) {
  myna__buf_printf(b, " %g", ((const full_params *)params)->value);
}

const myna__op myna__op_full = {
    .name = "full", .flags = MYNA__OP_NOGRAD, .shape = full_shape, .run = full_run, .print = full_print};

myna_array *myna__full_spec(myna_ctx *c, const myna__spec *s, double value) {
  full_params p = {*s, value};
  return myna__apply1(c, &myna__op_full, NULL, 0, &p, sizeof p);
}

myna_array *myna_full(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims, double value) {
  myna__spec s;
  if (!myna__check_shape(c, "full", t, shape, n_dims, false, &s)) return NULL;
  if (myna__dtype_is_packed(t)) return myna__fail(c, MYNA_E_DTYPE, "full", "packed type %s", myna_dtype_name(t));
  return myna__full_spec(c, &s, value);
}

myna_array *myna_zeros(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims) {
  return myna_full(c, t, shape, n_dims, 0);
}

myna_array *myna_ones(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims) {
  return myna_full(c, t, shape, n_dims, 1);
}

myna_array *myna_scalar(myna_ctx *c, double value) { return myna_full(c, MYNA_F32, NULL, 0, value); }

myna_array *myna__zeros_like(myna_ctx *c, const myna_array *a) { return a ? myna__full_spec(c, &a->spec, 0) : NULL; }

myna_array *myna__scalar_like(myna_ctx *c, const myna_array *a, double value) {
  return a ? myna_full(c, a->spec.type, NULL, 0, value) : NULL;
}

/* ---- arange ---- */

typedef struct arange_params {
  myna_dtype type;
  int64_t n;
  double start, step;
} arange_params;

static int arange_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const arange_params *p = n->params;
  (void)err;
  out[0] = (myna__spec){.type = p->type, .n_dims = 1, .dims = {p->n}};
  return 0;
}

/* start + i * step, rounded once; never a running sum. */
static void arange_run(const myna__run *r) {
  const arange_params *p = r->params;
  const myna__tensor *y = &r->out[0];
  double chunk[MYNA__CHUNK];
  int64_t bytes = myna_dtype_bytes(y->type);
  for (int64_t at = 0; at < p->n; at += MYNA__CHUNK) {
    int64_t m = MYNA__MIN(p->n - at, (int64_t)MYNA__CHUNK);
    for (int64_t i = 0; i < m; i++) chunk[i] = p->start + (double)(at + i) * p->step;
    myna__store(y->data + at * bytes, bytes, y->type, MYNA__CLASS_F64, chunk, m);
  }
}

const myna__op myna__op_arange = {.name = "arange", .flags = MYNA__OP_NOGRAD, .shape = arange_shape, .run = arange_run};

myna_array *myna_arange(myna_ctx *c, myna_dtype t, double start, double stop, double step) {
  double n = ceil((stop - start) / step);
  if ((unsigned)t >= MYNA_DTYPE_COUNT || myna__dtype_is_packed(t))
    return myna__fail(c, MYNA_E_DTYPE, "arange", "type %d holds no numbers", (int)t);
  if (!(step != 0) || !(n < 1e15)) /* also NaN */
    return myna__fail(c, MYNA_E_ARG, "arange", "no range from %g to %g by %g", start, stop, step);
  arange_params p = {t, n > 0 ? (int64_t)n : 0, start, step};
  return myna__apply1(c, &myna__op_arange, NULL, 0, &p, sizeof p);
}
