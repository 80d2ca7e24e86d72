/* build.h: what the files of ops share when they check shapes and build gradients. */
#ifndef MYNA__BUILD_H
#define MYNA__BUILD_H

#include "graph/graph.h"
#include "tensor/elements.h"

/* An axis that is not symbolic; negative code with a message otherwise. */
int myna__axis_fixed(const myna__spec *s, int axis, myna_err *err);
/* The type of arithmetic on t: BOOL counts as I32. */
myna_dtype myna__dtype_number(myna_dtype t);
/* The float type of t: itself, or F32 for integers. */
myna_dtype myna__dtype_floating(myna_dtype t);

/* `value` everywhere; dims may be symbolic (they come from another array). */
myna_array *myna__full_spec(myna_ctx *c, const myna__spec *s, double value);
myna_array *myna__zeros_like(myna_ctx *c, const myna_array *a);
/* A scalar of a's type. */
myna_array *myna__scalar_like(myna_ctx *c, const myna_array *a, double value);
/* The gradient of something of shape and type `to` that was broadcast to g's shape: sums and casts. */
myna_array *myna__unbroadcast(myna_ctx *c, myna_array *g, const myna__spec *to);

/* Gradients of a fused node through its composition: what grad does for ops without a vjp. */
int myna__grad_composed(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads);

/* a with a[start : start + step * update.shape : step] = update. */
myna_array *myna__slice_put(myna_ctx *c, myna_array *a, myna_array *update, const int64_t *start, const int64_t *step);
/* cumsum from the end when `reverse`. */
myna_array *myna__cumsum(myna_ctx *c, myna_array *a, int axis, bool reverse);

#endif
