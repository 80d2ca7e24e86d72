/* q1_0.c: Q1_0: 128 weights of one bit, one scale: w = d for bit 1, -d for bit 0.
 *
 *   byte  0    2                17
 *         +----+----------------+
 *         | d  | qs[16]         |      d: f16; bit j%8 of qs[j/8]
 *         +----+----------------+
 *
 * Source: ggml's Q1_0, whose bits from_f32 gives: d is the mean magnitude. */
#include "kernels/quants/block32.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__block_q1_0 *b = (const void *)w->p[0];
  for (; n > 0; n -= 128, b++, y += 128) {
    float d = myna__f16_to_f32(b->d);
    for (int j = 0; j < 128; j++) y[j] = b->qs[j / 8] >> j % 8 & 1 ? d : -d;
  }
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  myna__block_q1_0 *b = blocks;
  for (; n > 0; n -= 128, b++, x += 128) {
    float sum = 0;
    memset(b->qs, 0, sizeof b->qs);
    for (int j = 0; j < 128; j++) {
      sum += fabsf(x[j]);
      b->qs[j / 8] |= (uint8_t)((x[j] >= 0) << j % 8);
    }
    b->d = myna__f32_to_f16(sum / 128);
  }
}

static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q1_0 *b = (const myna__block_q1_0 *)w->p[0] + k / 128;
  o->d = myna__f16_to_f32(b->d);
  for (int j = 0; j < 32; j++) o->c[j] = b->qs[k % 128 / 8 + j / 8] >> j % 8 & 1 ? 1 : -1;
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__block32_dot(w, act, n, false, unpack);
}

const myna__quant myna__quant_Q1_0 = {MYNA_Q1_0, MYNA__ACT_Q8_32, to_f32, from_f32, dot, .open32 = unpack};
