/* math.h: elementary functions, one branch-free source for every CPU level.
 *
 * Written with fmaf and without contraction (-ffp-contract=off), so the same file compiled for any instruction
 * set, scalar or vectorized by the compiler, gives the same bits; levels without fma instructions call libm's
 * fmaf, which is exact too. Callers run them over arrays; loops of these vectorize (verified by objdump).
 * Errors against double over all floats are asserted in tests/kernels/test_linear.c.
 * Sources: Cephes (expf, tanhf coefficients); N. Juffa's erff (public answer), minimax on two ranges. */
#ifndef MYNA__MATH_H
#define MYNA__MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define MYNA__FN static inline __attribute__((always_inline))

MYNA__FN uint32_t myna__bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
MYNA__FN float myna__float(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

/* e^x. Below ln(2^-126) gives 0 (results are flushed anyway), above ln(FLT_MAX) infinity; NaN stays NaN.
 * x = n ln2 + r; adding 1.5 * 2^23 rounds n to nearest and leaves it in the low mantissa bits. */
MYNA__FN float myna__exp(float x) {
  float z = fmaf(x, 1.44269504f, 12582912.0f), n = z - 12582912.0f;
  float r = fmaf(n, -0.693359375f, x);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = fmaf(p, r, 1.3981999507e-3f);
  p = fmaf(p, r, 8.3334519073e-3f);
  p = fmaf(p, r, 4.1665795894e-2f);
  p = fmaf(p, r, 1.6666665459e-1f);
  p = fmaf(p, r, 5.0000001201e-1f);
  p = fmaf(p, r * r, r) + 1.0f;
  float y = myna__float(myna__bits(p) + (myna__bits(z) << 23)); /* p * 2^n */
  y = x < -87.336540f ? 0.0f : y;
  y = x > 88.722839f ? INFINITY : y;
  return x != x ? x : y;
}

MYNA__FN float myna__sigmoid(float x) { return 1.0f / (1.0f + myna__exp(-x)); }
MYNA__FN float myna__silu(float x) { return x / (1.0f + myna__exp(-x)); }

/* 0.5 x (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3). For very negative x: -0. */
MYNA__FN float myna__gelu_tanh(float x) {
  float u = x * fmaf(x * x, 0.044715f, 1.0f);
  return x / (1.0f + myna__exp(-1.5957691216f * u));
}

MYNA__FN float myna__erf(float x) {
  float t = fabsf(x), s = x * x;
  float a = fmaf(-1.72853470e-5f, t, 3.83197126e-4f);
  a = fmaf(a, s, fmaf(-3.88396438e-3f, t, 2.42546219e-2f));
  a = fmaf(a, t, -1.06777877e-1f);
  a = fmaf(a, t, -6.34846687e-1f);
  a = fmaf(a, t, -1.28717512e-1f);
  a = fmaf(a, t, -t);
  a = copysignf(1.0f - myna__exp(a), x);
  float b = -5.96761703e-4f;
  b = fmaf(b, s, 4.99119423e-3f);
  b = fmaf(b, s, -2.67681349e-2f);
  b = fmaf(b, s, 1.12819925e-1f);
  b = fmaf(b, s, -3.76125336e-1f);
  b = fmaf(b, s, 1.28379166e-1f);
  b = fmaf(b, x, x);
  float y = t > 0.927734375f ? a : b;
  y = t > 3.9f ? copysignf(1.0f, x) : y;
  return x != x ? x : y;
}
MYNA__FN float myna__gelu_erf(float x) { return 0.5f * x * (1.0f + myna__erf(x * 0.70710678f)); }

MYNA__FN float myna__tanh(float x) {
  float t = fabsf(x), s = x * x;
  float a = copysignf(1.0f - 2.0f / (1.0f + myna__exp(t + t)), x);
  float b = -5.70498872745e-3f;
  b = fmaf(b, s, 2.06390887954e-2f);
  b = fmaf(b, s, -5.37397155531e-2f);
  b = fmaf(b, s, 1.33314422036e-1f);
  b = fmaf(b, s, -3.33332819422e-1f);
  b = fmaf(b * s, x, x);
  float y = t > 0.625f ? a : b;
  return x != x ? x : y;
}

#endif
