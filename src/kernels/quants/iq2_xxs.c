/* iq2_xxs.c: IQ2_XXS: 256 weights, 2.06 bits each: w = d * (s + 1/2) / 4 * sign * entry.
 *
 *   byte  0    2                                                               65
 *         +----+---------------------------------------------------------------+
 *         | d  | 8 x { index[4] | u32 }                                        |      d: f16
 *         +----+---------------------------------------------------------------+
 *   per 32 weights: four bytes index a codebook of 256 entries of 8; the u32 holds four times 7 signs (see
 *   myna__signs7) from bit 0 and the 4-bit scale s in bits 28-31
 *
 * Source: ggml's IQ2_XXS. No quantizer yet. */
#include "kernels/quants/iq.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq2_xxs *b = (const void *)w->p[0];
  for (; n > 0; n -= 256, b++) {
    float d = myna__f16_to_f32(b->d);
    for (int g = 0; g < 8; g++) {
      const uint8_t *index = (const uint8_t *)b->qs + 8 * g;
      uint32_t aux = myna__load_u32(index + 4);
      float dg = d * (0.5f + (float)(aux >> 28)) * 0.25f;
      for (int l = 0; l < 4; l++) y = myna__put_signed(y, dg, grids->iq2_xxs[index[l]], 8, myna__signs7(aux >> 7 * l));
    }
  }
}

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq2_xxs *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d) * 0.125f;
  for (int g = 0; g < 8; g++) {
    const uint8_t *index = (const uint8_t *)b->qs + 8 * g;
    uint32_t aux = myna__load_u32(index + 4);
    o->scale[2 * g] = o->scale[2 * g + 1] = (int8_t)(2 * (aux >> 28) + 1);
    for (int l = 0; l < 4; l++)
      myna__signed_codes(o->c + 32 * g + 8 * l, grids->iq2_xxs[index[l]], 8, myna__signs7(aux >> 7 * l));
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_iq2_xxs), false, unpack);
}

const myna__quant myna__quant_IQ2_XXS = {MYNA_IQ2_XXS, MYNA__ACT_Q8_256, to_f32, NULL, dot, .open256 = unpack};
