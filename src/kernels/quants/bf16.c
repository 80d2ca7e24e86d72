/* bf16.c: BF16: the top half of IEEE binary32, plain arrays of any length; from_f32 rounds to nearest even. */
#include "kernels/quants/util.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  for (int64_t k = 0; k < n; k++) y[k] = myna__bf16_to_f32(myna__load_u16(w->p[0] + 2 * k));
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  for (int64_t k = 0; k < n; k++) myna__store_u16((uint8_t *)blocks + 2 * k, myna__f32_to_bf16(x[k]));
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  const uint8_t *x = act;
  float acc = 0;
  for (int64_t k = 0; k < n; k++)
    acc = fmaf(myna__bf16_to_f32(myna__load_u16(w->p[0] + 2 * k)), myna__bf16_to_f32(myna__load_u16(x + 2 * k)), acc);
  return acc;
}

const myna__quant myna__quant_BF16 = {MYNA_BF16, MYNA__ACT_BF16, to_f32, from_f32, dot};
