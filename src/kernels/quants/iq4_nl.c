/* iq4_nl.c: IQ4_NL: 32 weights of 4 bits on 16 uneven levels: w = d * level[q].
 *
 *   byte  0    2                17
 *         +----+----------------+
 *         | d  | qs[16]         |      d: f16
 *         +----+----------------+      qs[j]: low nibble q[j], high nibble q[j + 16]
 *
 * Source: ggml's IQ4_NL. No quantizer yet. */
#include "kernels/quants/block32.h"
#include "kernels/quants/grids.h"

static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_iq4_nl *b = (const myna__block_iq4_nl *)w->p[0] + k / 32;
  myna__levels32(o->c, b->qs, myna__levels_iq4);
  o->d = myna__f16_to_f32(b->d);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) { myna__block32_to_f32(y, w, n, false, unpack); }

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__block32_dot(w, act, n, false, unpack);
}

const myna__quant myna__quant_IQ4_NL = {MYNA_IQ4_NL, MYNA__ACT_Q8_32, to_f32, NULL, dot, .open32 = unpack};
