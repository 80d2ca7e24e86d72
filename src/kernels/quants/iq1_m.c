/* iq1_m.c: IQ1_M: 256 weights, 1.75 bits each: w = d * (2 s + 1) * (entry + delta), delta = +-1/8.
 *
 *   byte  0              32           48             55
 *         +--------------+------------+--------------+
 *         | qs[32]       | qh[16]     | scales: 4xu16|
 *         +--------------+------------+--------------+
 *   weights 8 i .. 8 i + 7: nibble i%2 of qh[i/2]: three bits above qs[i] index the codebook of IQ1_S, the top
 *   bit makes delta negative; scales[t]: four 3-bit s from bit 0, of 16 weights each; bits 12-15 of
 *   scales[0..3] are the nibbles of d (f16), lowest first
 *
 * Source: ggml's IQ1_M. No quantizer yet. */
#include "kernels/quants/iq.h"

/* d, whose nibbles are the tops of the scales. */
static float scale_of(const myna__block_iq1_m *b) {
  unsigned half = 0;
  for (int t = 0; t < 4; t++) half |= (unsigned)(b->scales[t] >> 12) << 4 * t;
  return myna__f16_to_f32((uint16_t)half);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq1_m *b = (const void *)w->p[0];
  for (; n > 0; n -= 256, b++) {
    float d = scale_of(b);
    for (int i = 0; i < 32; i++) {
      unsigned high = b->qh[i / 2] >> i % 2 * 4 & 15, scale = b->scales[i / 8] >> i / 2 % 4 * 3 & 7;
      y = myna__put_shifted(y, d * (float)(2 * scale + 1), grids->iq1[b->qs[i] | (high & 7) << 8], high & 8);
    }
  }
}

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq1_m *b = (const void *)block;
  o->d = scale_of(b) * 0.125f;
  for (int g = 0; g < 16; g++) o->scale[g] = (int8_t)(2 * (b->scales[g / 4] >> g % 4 * 3 & 7) + 1);
  for (int i = 0; i < 32; i++) {
    unsigned high = b->qh[i / 2] >> i % 2 * 4 & 15;
    myna__shifted_codes(o->c + 8 * i, grids->iq1[b->qs[i] | (high & 7) << 8], high & 8);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_iq1_m), false, unpack);
}

const myna__quant myna__quant_IQ1_M = {MYNA_IQ1_M, MYNA__ACT_Q8_256, to_f32, NULL, dot, .open256 = unpack};
