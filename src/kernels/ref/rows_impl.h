/* rows_impl.h: norms, softmax, element-wise functions and rotation of rows: one source, compiled once per level. Every sum has
 * a fixed order, so all levels give the same bits. */
#ifndef MYNA__ROWS_IMPL_H
#define MYNA__ROWS_IMPL_H

#include "kernels/kernels.h"
#include "kernels/ref/math.h"

/* 16 lanes, then a tree, as in linear_rows.h. */
MYNA__FN float myna__tree16(float *lane) {
  for (int w = 8; w > 0; w /= 2)
    for (int j = 0; j < w; j++) lane[j] += lane[j + w];
  return lane[0];
}

MYNA__FN float myna__sum_row(const float *x, int64_t n) {
  float lane[16] = {0};
  int64_t k = 0;
  for (; k + 16 <= n; k += 16)
    for (int j = 0; j < 16; j++) lane[j] += x[k + j];
  for (int j = 0; k + j < n; j++) lane[j] += x[k + j];
  return myna__tree16(lane);
}

MYNA__FN void myna__layer_row_inline(float *y, const float *x, const float *w, const float *b, float eps, int64_t n) {
  float mean = myna__sum_row(x, n) / (float)n, lane[16] = {0};
  int64_t k = 0;
  for (; k + 16 <= n; k += 16)
    for (int j = 0; j < 16; j++) lane[j] = fmaf(x[k + j] - mean, x[k + j] - mean, lane[j]);
  for (int j = 0; k + j < n; j++) lane[j] = fmaf(x[k + j] - mean, x[k + j] - mean, lane[j]);
  float r = 1.0f / sqrtf(myna__tree16(lane) / (float)n + eps);
  for (k = 0; k < n; k++) {
    float v = (x[k] - mean) * r;
    if (w) v *= w[k];
    y[k] = b ? v + b[k] : v;
  }
}

MYNA__FN void myna__softmax_row_inline(float *y, const float *x, float scale, int64_t n) {
  float max = -INFINITY, lane[16];
  int64_t k = 0;
  for (int j = 0; j < 16; j++) lane[j] = -INFINITY;
  for (; k + 16 <= n; k += 16)
    for (int j = 0; j < 16; j++) lane[j] = x[k + j] * scale > lane[j] ? x[k + j] * scale : lane[j];
  for (; k < n; k++) max = x[k] * scale > max ? x[k] * scale : max;
  for (int j = 0; j < 16; j++) max = lane[j] > max ? lane[j] : max, lane[j] = 0;
  if (max == -INFINITY) max = 0.0f; /* nothing seen: zeros over zero */
  for (k = 0; k < n; k++) y[k] = myna__exp(x[k] * scale - max);
  for (k = 0; k + 16 <= n; k += 16)
    for (int j = 0; j < 16; j++) lane[j] += y[k + j];
  for (int j = 0; k + j < n; j++) lane[j] += y[k + j];
  float r = 1.0f / myna__tree16(lane);
  for (k = 0; k < n; k++) y[k] *= r;
}

MYNA__FN void myna__unary_inline(myna__unary_fn f, float *y, const float *x, int64_t n) {
  switch (f) {
  case MYNA__FN_EXP:
    for (int64_t i = 0; i < n; i++) y[i] = myna__exp(x[i]);
    break;
  case MYNA__FN_SILU:
    for (int64_t i = 0; i < n; i++) y[i] = myna__silu(x[i]);
    break;
  case MYNA__FN_GELU_TANH:
    for (int64_t i = 0; i < n; i++) y[i] = myna__gelu_tanh(x[i]);
    break;
  case MYNA__FN_GELU_ERF:
    for (int64_t i = 0; i < n; i++) y[i] = myna__gelu_erf(x[i]);
    break;
  case MYNA__FN_SIGMOID:
    for (int64_t i = 0; i < n; i++) y[i] = myna__sigmoid(x[i]);
    break;
  case MYNA__FN_TANH:
    for (int64_t i = 0; i < n; i++) y[i] = myna__tanh(x[i]);
    break;
  case MYNA__FN_COUNT: break;
  }
}

/* One head: the first 2 * half values rotate by (c, s) [half]; in place is fine. */
MYNA__FN void myna__rotate_inline(float *y, const float *x, const float *c, const float *s, int64_t half,
                                  bool interleaved) {
  if (interleaved) {
    for (int64_t i = 0; i < half; i++) {
      float a = x[2 * i], b = x[2 * i + 1];
      y[2 * i] = a * c[i] - b * s[i];
      y[2 * i + 1] = a * s[i] + b * c[i];
    }
  } else {
    for (int64_t i = 0; i < half; i++) {
      float a = x[i], b = x[i + half];
      y[i] = a * c[i] - b * s[i];
      y[i + half] = a * s[i] + b * c[i];
    }
  }
}

#endif
