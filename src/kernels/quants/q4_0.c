/* q4_0.c: Q4_0: 32 weights of 4 bits, one scale: w = d * (q - 8).
 *
 *   byte  0    2                17
 *         +----+----------------+
 *         | d  | qs[16]         |      d: f16
 *         +----+----------------+      qs[j]: low nibble q[j], high nibble q[j + 16]
 *
 * Source: ggml's Q4_0. Without an importance matrix from_f32 gives ggml's bits: the extreme value becomes
 * code 0, which is one step further from zero than code 15. */
#include "kernels/quants/block32.h"
#include "kernels/quants/search.h"

static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q4_0 *b = (const myna__block_q4_0 *)w->p[0] + k / 32;
  uint8_t c[32];
  myna__nibbles(c, b->qs);
  for (int j = 0; j < 32; j++) o->c[j] = (int8_t)(c[j] - 8);
  o->d = myna__f16_to_f32(b->d);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) { myna__block32_to_f32(y, w, n, false, unpack); }

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  float mean_square = myna__mean_square(x, n);
  myna__block_q4_0 *b = blocks;
  for (int64_t k = 0; k < n; k += 32, b++) {
    uint8_t c[32];
    b->d = myna__f32_to_f16(myna__fit32_symmetric(c, x + k, imatrix ? imatrix + k : NULL, mean_square, 8));
    myna__put_nibbles(b->qs, c);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__block32_dot(w, act, n, false, unpack);
}

const myna__quant myna__quant_Q4_0 = {MYNA_Q4_0, MYNA__ACT_Q8_32, to_f32, from_f32, dot, .open32 = unpack};
