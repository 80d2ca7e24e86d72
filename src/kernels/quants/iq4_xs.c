/* iq4_xs.c: IQ4_XS: 256 weights of 4 bits in 8 groups of 32: w = d * (s - 32) * level[q].
 *
 *   byte  0    2          4             8                        135
 *         +----+----------+-------------+------------------------+
 *         | d  | scales_h | scales_l[4] | qs[128]                |      d: f16
 *         +----+----------+-------------+------------------------+
 *   s[g]: low 4 bits in nibble g%2 of scales_l[g/2], top 2 bits at bits 2 g of scales_h (u16)
 *   qs: 16 bytes per group: low nibbles are its first 16 weights, high nibbles the others
 *
 * Dot: |sum| <= 256 * 32 * 127 * 128 < 2^27.
 * Source: ggml's IQ4_XS. No quantizer yet. */
#include "kernels/quants/iq.h"

static int scale_of(const myna__block_iq4_xs *b, int g) {
  return (b->scales_l[g / 2] >> g % 2 * 4 & 15) | (b->scales_h >> 2 * g & 3) << 4;
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__block_iq4_xs *b = (const void *)w->p[0];
  for (; n > 0; n -= 256, b++) {
    float d = myna__f16_to_f32(b->d);
    for (int g = 0; g < 8; g++, y += 32) {
      float dg = d * (float)(scale_of(b, g) - 32);
      uint8_t q[32];
      myna__nibbles(q, b->qs + 16 * g);
      for (int j = 0; j < 32; j++) y[j] = dg * (float)myna__levels_iq4[q[j]];
    }
  }
}

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__block_iq4_xs *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  for (int g = 0; g < 8; g++) {
    o->scale[2 * g] = o->scale[2 * g + 1] = (int8_t)(scale_of(b, g) - 32);
    myna__levels32(o->c + 32 * g, b->qs + 16 * g, myna__levels_iq4);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_iq4_xs), false, unpack);
}

const myna__quant myna__quant_IQ4_XS = {MYNA_IQ4_XS, MYNA__ACT_Q8_256, to_f32, NULL, dot, .open256 = unpack};
