/* iq2_s.c: IQ2_S: 256 weights, 2.56 bits each: w = d * (s + 1/2) / 4 * sign * entry.
 *
 *   byte  0    2              34             66      74          81
 *         +----+--------------+--------------+-------+-----------+
 *         | d  | qs[32]       | signs[32]    | qh[8] | scales[8] |      d: f16
 *         +----+--------------+--------------+-------+-----------+
 *   weights 8 i .. 8 i + 7: qs[i] and two bits 2 * (i%4) of qh[i/4] above it index a codebook of 1024 entries of
 *   8; bit j of signs[i] negates the j-th; scales[g]: 4-bit s of the first and second 16 of each 32
 *
 * Source: ggml's IQ2_S. No quantizer yet. */
#include "kernels/quants/iq.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq2_s *b = (const void *)w->p[0];
  for (; n > 0; n -= 256, b++) {
    float d = myna__f16_to_f32(b->d);
    for (int i = 0; i < 32; i++) {
      int index = b->qs[i] | (b->qh[i / 4] >> i % 4 * 2 & 3) << 8;
      float dg = d * (0.5f + (float)(b->scales[i / 4] >> i / 2 % 2 * 4 & 15)) * 0.25f;
      y = myna__put_signed(y, dg, grids->iq2_s[index], 8, b->signs[i]);
    }
  }
}

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq2_s *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d) * 0.125f;
  for (int g = 0; g < 16; g++) o->scale[g] = (int8_t)(2 * (b->scales[g / 2] >> g % 2 * 4 & 15) + 1);
  for (int i = 0; i < 32; i++) {
    int index = b->qs[i] | (b->qh[i / 4] >> i % 4 * 2 & 3) << 8;
    myna__signed_codes(o->c + 8 * i, grids->iq2_s[index], 8, b->signs[i]);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_iq2_s), false, unpack);
}

const myna__quant myna__quant_IQ2_S = {MYNA_IQ2_S, MYNA__ACT_Q8_256, to_f32, NULL, dot, .open256 = unpack};
