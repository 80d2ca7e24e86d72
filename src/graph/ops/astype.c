/* astype.c: conversion between plain types; and stop_gradient, the same array without a past for grad. */
#include "graph/build.h"

typedef struct astype_params {
  myna_dtype type;
} astype_params;

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  myna_dtype t = ((const astype_params *)n->params)->type;
  if ((unsigned)t >= MYNA_DTYPE_COUNT || myna__dtype_is_packed(t))
    return myna__err(err, MYNA_E_DTYPE, "no conversion to type %s",
                     (unsigned)t < MYNA_DTYPE_COUNT ? myna_dtype_name(t) : "?");
  out[0] = n->in[0]->spec;
  out[0].type = t;
  return 0;
}

static void copy_f32(const void *params, void *y, const void *const *x, int64_t n) {
  (void)params;
  memcpy(y, x[0], (size_t)n * sizeof(float));
}

static void copy_64(const void *params, void *y, const void *const *x, int64_t n) {
  (void)params;
  memcpy(y, x[0], (size_t)n * 8);
}

static void copy_bool(const void *params, void *y, const void *const *x, int64_t n) {
  (void)params;
  memcpy(y, x[0], (size_t)n);
}

/* Through the computing type of the source, which holds all its values; U64 goes to floats through double. */
static void run(const myna__run *r) {
  static const myna__each_fn loops[] = {copy_f32, copy_64, copy_64, copy_bool};
  myna_dtype from = r->in[0].type, to = r->out[0].type;
  myna__class k = myna__class_of(from);
  if ((from == MYNA_U64 && myna__dtype_is_float(to)) || (to == MYNA_U64 && myna__dtype_is_float(from)))
    k = MYNA__CLASS_F64;
  myna__each e = {.out = &r->out[0], .in = {&r->in[0]}, .n_in = 1, .out_class = k, .in_class = {k}, .fn = loops[k]};
  myna__each_run(&e, r->pool);
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  if (want[0]) grads[0] = myna_astype(c, cot[0], n->in[0]->spec.type);
  return c->err.code;
}

const myna__op myna__op_astype = {.name = "astype", .flags = MYNA__OP_STRIDED, .shape = shape, .run = run, .vjp = vjp};

myna_array *myna_astype(myna_ctx *c, myna_array *a, myna_dtype t) {
  if (a && a->spec.type == t && !c->err.code) return a;
  astype_params p = {t};
  return myna__apply1(c, &myna__op_astype, &a, 1, &p, sizeof p);
}

/* ---- stop_gradient ---- */

static int stop_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  out[0] = n->in[0]->spec;
  return 0;
}

static bool stop_view(const void *params, const myna__tensor *in, myna__tensor *out) {
  (void)params;
  out->data = in->data;
  memcpy(out->stride, in->stride, sizeof out->stride);
  return true;
}

const myna__op myna__op_stop_gradient = {
    .name = "stop_gradient", .flags = MYNA__OP_VIEW | MYNA__OP_NOGRAD, .shape = stop_shape, .view = stop_view};

myna_array *myna_stop_gradient(myna_ctx *c, myna_array *a) {
  return myna__apply1(c, &myna__op_stop_gradient, &a, 1, NULL, 0);
}
