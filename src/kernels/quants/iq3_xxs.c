/* iq3_xxs.c: IQ3_XXS: 256 weights, 3.06 bits each: w = d * (s + 1/2) / 2 * sign * entry.
 *
 *   byte  0    2                      66             97
 *         +----+----------------------+--------------+
 *         | d  | qs[64]               | aux: 8 x u32 |      d: f16
 *         +----+----------------------+--------------+
 *   qs[i] indexes a codebook of 256 entries of 4, weights 4 i .. 4 i + 3; per 32 weights a u32 holds four times
 *   7 signs of 8 (see myna__signs7) from bit 0 and the 4-bit scale s in bits 28-31
 *
 * Source: ggml's IQ3_XXS. No quantizer yet. */
#include "kernels/quants/iq.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq3_xxs *b = (const void *)w->p[0];
  for (; n > 0; n -= 256, b++) {
    float d = myna__f16_to_f32(b->d);
    for (int i = 0; i < 32; i++) {
      uint32_t aux = myna__load_u32(b->aux + i / 4 * 4);
      float dg = d * (0.5f + (float)(aux >> 28)) * 0.5f;
      unsigned signs = myna__signs7(aux >> i % 4 * 7);
      y = myna__put_signed(y, dg, grids->iq3_xxs[b->qs[2 * i]], 4, signs);
      y = myna__put_signed(y, dg, grids->iq3_xxs[b->qs[2 * i + 1]], 4, signs >> 4);
    }
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__quant_dot_f32(&myna__quant_IQ3_XXS, w, act, n);
}

const myna__quant myna__quant_IQ3_XXS = {MYNA_IQ3_XXS, MYNA__ACT_F32, to_f32, NULL, dot};
