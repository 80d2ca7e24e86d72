/* vec.h: 16 floats as one value, for sources that are compiled once per CPU level. */
#ifndef MYNA__VEC_H
#define MYNA__VEC_H

#include "kernels/ref/math.h"

/* Every function here is inlined: no vector crosses a call. */
#pragma GCC diagnostic ignored "-Wpsabi"

typedef float myna__v16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t myna__u16 __attribute__((vector_size(64), aligned(4), may_alias));

#ifndef __has_builtin
#define __has_builtin(x) 0
#endif

MYNA__FN myna__v16 myna__v16_set(float x) { return (myna__v16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

/* a * b + c, rounded once. */
MYNA__FN myna__v16 myna__v16_fma(myna__v16 a, myna__v16 b, myna__v16 c) {
#if __has_builtin(__builtin_elementwise_fma)
  return __builtin_elementwise_fma(a, b, c);
#else
  for (int i = 0; i < 16; i++) c[i] = fmaf(a[i], b[i], c[i]);
  return c;
#endif
}

#endif
