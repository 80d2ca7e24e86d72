/* iq3_s.c: IQ3_S: 256 weights, 3.44 bits each: w = d * (2 s + 1) * sign * entry.
 *
 *   byte  0    2                      66      74             106         109
 *         +----+----------------------+-------+--------------+-----------+
 *         | d  | qs[64]               | qh[8] | signs[32]    | scales[4] |      d: f16
 *         +----+----------------------+-------+--------------+-----------+
 *   weights 4 i .. 4 i + 3: qs[i] and bit i%8 of qh[i/8] above it index a codebook of 512 entries of 4; signs:
 *   one bit per weight; scales: 4-bit s per 32 weights, low nibble first
 *
 * Source: ggml's IQ3_S. No quantizer yet. */
#include "kernels/quants/iq.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq3_s *b = (const void *)w->p[0];
  for (; n > 0; n -= 256, b++) {
    float d = myna__f16_to_f32(b->d);
    for (int i = 0; i < 64; i++) {
      int index = b->qs[i] | (b->qh[i / 8] >> i % 8 & 1) << 8;
      float dg = d * (float)(1 + 2 * (b->scales[i / 16] >> i / 8 % 2 * 4 & 15));
      y = myna__put_signed(y, dg, grids->iq3_s[index], 4, (unsigned)b->signs[i / 2] >> i % 2 * 4);
    }
  }
}

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq3_s *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  for (int g = 0; g < 16; g++) o->scale[g] = (int8_t)(1 + 2 * (b->scales[g / 4] >> g / 2 % 2 * 4 & 15));
  for (int i = 0; i < 64; i++) {
    int index = b->qs[i] | (b->qh[i / 8] >> i % 8 & 1) << 8;
    myna__signed_codes(o->c + 4 * i, grids->iq3_s[index], 4, (unsigned)b->signs[i / 2] >> i % 2 * 4);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_iq3_s), false, unpack);
}

const myna__quant myna__quant_IQ3_S = {MYNA_IQ3_S, MYNA__ACT_Q8_256, to_f32, NULL, dot, .open256 = unpack};
