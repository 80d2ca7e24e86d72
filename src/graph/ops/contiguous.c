/* contiguous.c: the same elements in row-major order. The planner inserts it where strides do not fit. */
#include "graph/graph.h"

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  if (myna__dtype_is_packed(n->in[0]->spec.type))
    return myna__err(err, MYNA_E_DTYPE, "packed type %s", myna_dtype_name(n->in[0]->spec.type));
  out[0] = n->in[0]->spec;
  return 0;
}

static void run(const myna__run *r) { myna__tensor_copy(r->out[0].data, &r->in[0]); }

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  (void)c;
  (void)n;
  (void)want;
  grads[0] = cot[0];
  return 0;
}

const myna__op myna__op_contiguous = {
    .name = "contiguous", .flags = MYNA__OP_STRIDED, .shape = shape, .run = run, .vjp = vjp};

myna_array *myna_contiguous(myna_ctx *c, myna_array *a) {
  return myna__apply1(c, &myna__op_contiguous, &a, 1, NULL, 0);
}
