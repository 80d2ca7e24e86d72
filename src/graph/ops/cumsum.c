/* cumsum.c: running sums along an axis, in double or int64. The gradient is the running sum from the other end. */
#include "graph/build.h"

typedef struct cumsum_params {
  int axis;
  bool reverse;
} cumsum_params;

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  TRY_N(myna__axis_fixed(&n->in[0]->spec, ((const cumsum_params *)n->params)->axis, err));
  out[0] = n->in[0]->spec;
  out[0].type = myna__dtype_number(out[0].type);
  return 0;
}

static void line(const uint8_t *x, int64_t x_step, myna_dtype from, uint8_t *y, int64_t y_step, myna_dtype to,
                 int64_t n) {
  bool ints = !myna__dtype_is_float(to);
  double f[MYNA__CHUNK], sum_f = 0;
  int64_t i64[MYNA__CHUNK];
  uint64_t sum_i = 0;
  for (int64_t at = 0; at < n; at += MYNA__CHUNK) {
    int64_t m = MYNA__MIN(n - at, (int64_t)MYNA__CHUNK);
    if (ints) {
      myna__load(MYNA__CLASS_I64, i64, x + at * x_step, x_step, from, m);
      for (int64_t i = 0; i < m; i++) i64[i] = (int64_t)(sum_i += (uint64_t)i64[i]);
      myna__store(y + at * y_step, y_step, to, MYNA__CLASS_I64, i64, m);
    } else {
      myna__load(MYNA__CLASS_F64, f, x + at * x_step, x_step, from, m);
      for (int64_t i = 0; i < m; i++) f[i] = sum_f += f[i];
      myna__store(y + at * y_step, y_step, to, MYNA__CLASS_F64, f, m);
    }
  }
}

static void unit(void *arg, int64_t u, int worker) {
  const myna__run *r = arg;
  const cumsum_params *p = r->params;
  const myna__tensor *a = &r->in[0], *b = &r->out[0];
  int axis = myna__axis(p->axis, a->n_dims, NULL);
  const uint8_t *x = a->data;
  uint8_t *y = b->data;
  (void)worker;
  for (int d = a->n_dims - 1; d >= 0; d--) {
    if (d == axis) continue;
    x += u % a->shape[d] * a->stride[d];
    y += u % a->shape[d] * b->stride[d];
    u /= a->shape[d];
  }
  int64_t n = a->shape[axis], x_step = a->stride[axis], y_step = b->stride[axis];
  if (p->reverse)
    line(x + (n - 1) * x_step, -x_step, a->type, y + (n - 1) * y_step, -y_step, b->type, n);
  else
    line(x, x_step, a->type, y, y_step, b->type, n);
}

static void run(const myna__run *r) {
  int64_t size = myna__tensor_size(&r->in[0]);
  int64_t n = r->in[0].shape[myna__axis(((const cumsum_params *)r->params)->axis, r->in[0].n_dims, NULL)];
  myna__pool_run(size <= MYNA__FEW ? NULL : r->pool, size / n, unit, (void *)(uintptr_t)r);
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  const cumsum_params *p = n->params;
  if (want[0]) grads[0] = myna__cumsum(c, cot[0], p->axis, !p->reverse);
  return c->err.code;
}

const myna__op myna__op_cumsum = {.name = "cumsum", .flags = MYNA__OP_STRIDED, .shape = shape, .run = run, .vjp = vjp};

myna_array *myna__cumsum(myna_ctx *c, myna_array *a, int axis, bool reverse) {
  cumsum_params p = {axis, reverse};
  return myna__apply1(c, &myna__op_cumsum, &a, 1, &p, sizeof p);
}

myna_array *myna_cumsum(myna_ctx *c, myna_array *a, int axis) { return myna__cumsum(c, a, axis, false); }
