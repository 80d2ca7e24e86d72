/* where.c: cond ? a : b, broadcast. The gradient of the side that is not taken is zero, also where it is NaN. */
#include "graph/build.h"

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *cond = &n->in[0]->spec, *a = &n->in[1]->spec, *b = &n->in[2]->spec;
  if (cond->type != MYNA_BOOL)
    return myna__err(err, MYNA_E_DTYPE, "the condition is %s, BOOL is needed", myna_dtype_name(cond->type));
  myna__spec ab = {0};
  TRY(myna__spec_broadcast(a, b, &ab, err));
  TRY(myna__spec_broadcast(cond, &ab, &out[0], err));
  out[0].type = myna__dtype_promote(a->type, b->type);
  return 0;
}

static void pick_f32(const void *params, void *y, const void *const *x, int64_t n) {
  const uint8_t *cond = x[0];
  const float *a = x[1], *b = x[2];
  float *out = y;
  (void)params;
  for (int64_t i = 0; i < n; i++) out[i] = cond[i] ? a[i] : b[i];
}

static void pick_64(const void *params, void *y, const void *const *x, int64_t n) { /* doubles too: only bits move */
  const uint8_t *cond = x[0], *a = x[1], *b = x[2];
  uint8_t *out = y;
  (void)params;
  for (int64_t i = 0; i < n; i++) memmove(out + 8 * i, (cond[i] ? a : b) + 8 * i, 8);
}

static void pick_bool(const void *params, void *y, const void *const *x, int64_t n) {
  const uint8_t *cond = x[0], *a = x[1], *b = x[2];
  uint8_t *out = y;
  (void)params;
  for (int64_t i = 0; i < n; i++) out[i] = (cond[i] ? a[i] : b[i]) != 0;
}

static void run(const myna__run *r) {
  static const myna__each_fn loops[] = {pick_f32, pick_64, pick_64, pick_bool};
  myna__class k = myna__class_of(r->out[0].type);
  myna__each e = {.out = &r->out[0],
                  .in = {&r->in[0], &r->in[1], &r->in[2]},
                  .n_in = 3,
                  .out_class = k,
                  .in_class = {MYNA__CLASS_BOOL, k, k},
                  .fn = loops[k]};
  myna__each_run(&e, r->pool);
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  myna_array *zero = myna__scalar_like(c, cot[0], 0);
  for (int i = 1; i < 3; i++) {
    if (!want[i]) continue;
    myna_array *g = i == 1 ? myna_where(c, n->in[0], cot[0], zero) : myna_where(c, n->in[0], zero, cot[0]);
    grads[i] = myna__unbroadcast(c, g, &n->in[i]->spec);
  }
  return c->err.code;
}

const myna__op myna__op_where = {
    .name = "where", .flags = MYNA__OP_INPLACE | MYNA__OP_STRIDED, .shape = shape, .run = run, .vjp = vjp};

myna_array *myna_where(myna_ctx *c, myna_array *cond, myna_array *a, myna_array *b) {
  return myna__apply1(c, &myna__op_where, (myna_array *[]){cond, a, b}, 3, NULL, 0);
}
