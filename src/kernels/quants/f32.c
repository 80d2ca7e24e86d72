/* f32.c: F32: IEEE binary32, plain arrays of any length. */
#include "kernels/quants/util.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) { memcpy(y, w->p[0], (size_t)n * 4); }

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  memcpy(blocks, x, (size_t)n * 4);
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__quant_dot_f32(&myna__quant_F32, w, act, n);
}

const myna__quant myna__quant_F32 = {MYNA_F32, MYNA__ACT_F32, to_f32, from_f32, dot};
