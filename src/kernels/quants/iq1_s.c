/* iq1_s.c: IQ1_S: 256 weights, 1.56 bits each: w = d * (2 s + 1) * (entry + delta), delta = +-1/8.
 *
 *   byte  0    2              34          49
 *         +----+--------------+-----------+
 *         | d  | qs[32]       | qh[8]:u16 |      d: f16
 *         +----+--------------+-----------+
 *   weights 8 i .. 8 i + 7: qs[i] and bits 3 * (i%4) .. + 2 of qh[i/4] above it index a codebook of 2048 entries
 *   of 8 in {-1, 0, 1}; bits 12-14 of qh: s; bit 15: delta is negative
 *
 * Source: ggml's IQ1_S. No quantizer yet. */
#include "kernels/quants/iq.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq1_s *b = (const void *)w->p[0];
  for (; n > 0; n -= 256, b++) {
    float d = myna__f16_to_f32(b->d);
    for (int i = 0; i < 32; i++) {
      unsigned qh = b->qh[i / 4], index = b->qs[i] | (qh >> i % 4 * 3 & 7) << 8;
      y = myna__put_shifted(y, d * (float)(2 * (qh >> 12 & 7) + 1), grids->iq1[index], qh & 0x8000);
    }
  }
}

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__grids *grids = myna__grids_get();
  const myna__block_iq1_s *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d) * 0.125f;
  for (int i = 0; i < 32; i++) {
    unsigned qh = b->qh[i / 4], index = b->qs[i] | (qh >> i % 4 * 3 & 7) << 8;
    o->scale[i / 2] = (int8_t)(2 * (qh >> 12 & 7) + 1);
    myna__shifted_codes(o->c + 8 * i, grids->iq1[index], qh & 0x8000);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_iq1_s), false, unpack);
}

const myna__quant myna__quant_IQ1_S = {MYNA_IQ1_S, MYNA__ACT_Q8_256, to_f32, NULL, dot, .open256 = unpack};
