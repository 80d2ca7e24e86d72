/* q2_0.c: Q2_0: 64 weights of 2 bits, one scale: w = d * (q - 1).
 *
 *   byte  0    2                17
 *         +----+----------------+
 *         | d  | qs[16]         |      d: f16; q[j]: bits 2 * (j%4) of qs[j/4]
 *         +----+----------------+
 *
 * Source: ggml's Q2_0, whose bits from_f32 gives: ternary, d is the largest magnitude, code 3 is not used. */
#include "kernels/quants/block32.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__block_q2_0 *b = (const void *)w->p[0];
  for (; n > 0; n -= 64, b++, y += 64) {
    float d = myna__f16_to_f32(b->d);
    for (int j = 0; j < 64; j++) y[j] = (float)((b->qs[j / 4] >> j % 4 * 2 & 3) - 1) * d;
  }
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  myna__block_q2_0 *b = blocks;
  for (; n > 0; n -= 64, b++, x += 64) {
    float d = myna__amax(x, 64), inverse = myna__inverse(d);
    b->d = myna__f32_to_f16(d);
    memset(b->qs, 0, sizeof b->qs);
    for (int j = 0; j < 64; j++) {
      int q = myna__code_away(x[j] * inverse, -1, 2) + 1;
      b->qs[j / 4] |= (uint8_t)(q << j % 4 * 2);
    }
  }
}

static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q2_0 *b = (const myna__block_q2_0 *)w->p[0] + k / 64;
  o->d = myna__f16_to_f32(b->d);
  for (int j = 0; j < 32; j++) o->c[j] = (int8_t)((b->qs[k % 64 / 4 + j / 4] >> j % 4 * 2 & 3) - 1);
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__block32_dot(w, act, n, false, unpack);
}

const myna__quant myna__quant_Q2_0 = {MYNA_Q2_0, MYNA__ACT_Q8_32, to_f32, from_f32, dot, .open32 = unpack};
