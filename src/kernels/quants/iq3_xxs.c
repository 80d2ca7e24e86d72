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

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq3_xxs *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d) * 0.25f;
  for (int i = 0; i < 32; i++) {
    uint32_t aux = myna__load_u32(b->aux + i / 4 * 4);
    unsigned signs = myna__signs7(aux >> i % 4 * 7);
    o->scale[i / 2] = (int8_t)(2 * (aux >> 28) + 1);
    myna__signed_codes(o->c + 8 * i, grids->iq3_xxs[b->qs[2 * i]], 4, signs);
    myna__signed_codes(o->c + 8 * i + 4, grids->iq3_xxs[b->qs[2 * i + 1]], 4, signs >> 4);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_iq3_xxs), false, unpack);
}

const myna__quant myna__quant_IQ3_XXS = {MYNA_IQ3_XXS, MYNA__ACT_Q8_256, to_f32, NULL, dot, .open256 = unpack};
