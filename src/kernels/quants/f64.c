/* f64.c: F64: IEEE binary64, plain arrays of any length; to_f32 rounds to nearest even. */
#include "kernels/quants/util.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  for (int64_t k = 0; k < n; k++) {
    double v;
    memcpy(&v, w->p[0] + 8 * k, 8);
    y[k] = (float)v;
  }
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  for (int64_t k = 0; k < n; k++) {
    double v = x[k];
    memcpy((uint8_t *)blocks + 8 * k, &v, 8);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__quant_dot_f32(&myna__quant_F64, w, act, n);
}

const myna__quant myna__quant_F64 = {MYNA_F64, MYNA__ACT_F32, to_f32, from_f32, dot};
