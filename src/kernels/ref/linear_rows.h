/* linear_rows.h: linear's per-row work: norm prologue, epilogue, gate: one source, compiled once per level.
 *
 * Included by ref/linear_ref.c and x86/linear_ISA.c; the loops vectorize and give the same bits everywhere
 * because every sum has a fixed order. */
#ifndef MYNA__LINEAR_ROWS_H
#define MYNA__LINEAR_ROWS_H

#include "kernels/kernels.h"
#include "kernels/ref/math.h"

/* Sum of squares: lane j sums k = j mod 16, ascending; lanes are then added in a tree 8, 4, 2, 1. */
MYNA__FN float myna__sum_squares(const float *x, int64_t n) {
  float lane[16] = {0};
  int64_t k = 0;
  for (; k + 16 <= n; k += 16)
    for (int j = 0; j < 16; j++) lane[j] = fmaf(x[k + j], x[k + j], lane[j]);
  for (int j = 0; k + j < n; j++) lane[j] = fmaf(x[k + j], x[k + j], lane[j]);
  for (int w = 8; w > 0; w /= 2)
    for (int j = 0; j < w; j++) lane[j] += lane[j + w];
  return lane[0];
}

/* y = (x * r) * w with r = 1 / sqrt(mean(x^2) + eps); w NULL: ones. */
MYNA__FN void myna__rms_row_inline(float *y, const float *x, const float *w, float eps, int64_t n) {
  float r = 1.0f / sqrtf(myna__sum_squares(x, n) / (float)n + eps);
  if (w)
    for (int64_t k = 0; k < n; k++) y[k] = x[k] * r * w[k];
  else
    for (int64_t k = 0; k < n; k++) y[k] = x[k] * r;
}

MYNA__FN void myna__epilogue_inline(float *y, const float *acc, const float *bias, const float *residual, int64_t n) {
  if (bias && residual)
    for (int64_t i = 0; i < n; i++) y[i] = acc[i] + bias[i] + residual[i];
  else if (bias)
    for (int64_t i = 0; i < n; i++) y[i] = acc[i] + bias[i];
  else if (residual)
    for (int64_t i = 0; i < n; i++) y[i] = acc[i] + residual[i];
  else
    memcpy(y, acc, (size_t)n * sizeof *y);
}

MYNA__FN void myna__gate_inline(float *restrict a, const float *restrict b, myna__gate g, int64_t n) {
  switch (g) {
  case MYNA__GATE_SILU:
    for (int64_t i = 0; i < n; i++) a[i] = myna__silu(a[i]) * b[i];
    break;
  case MYNA__GATE_GELU_TANH:
    for (int64_t i = 0; i < n; i++) a[i] = myna__gelu_tanh(a[i]) * b[i];
    break;
  case MYNA__GATE_GELU_ERF:
    for (int64_t i = 0; i < n; i++) a[i] = myna__gelu_erf(a[i]) * b[i];
    break;
  case MYNA__GATE_RELU:
    for (int64_t i = 0; i < n; i++) a[i] = (a[i] > 0.0f ? a[i] : 0.0f) * b[i];
    break;
  case MYNA__GATE_NONE: break;
  }
}

#endif
