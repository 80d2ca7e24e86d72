/* q5_0.c: Q5_0: 32 weights of 5 bits, one scale: w = d * (q - 16).
 *
 *   byte  0    2       6                21
 *         +----+-------+----------------+      d: f16
 *         | d  | qh[4] | qs[16]         |      qh: bit 4 of q[j] is bit j of the little-endian u32
 *         +----+-------+----------------+      qs[j]: low 4 bits of q[j], high nibble those of q[j + 16]
 *
 * Source: ggml's Q5_0; from_f32 gives ggml's bits without an importance matrix. */
#include "kernels/quants/block32.h"
#include "kernels/quants/search.h"

static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q5_0 *b = (const myna__block_q5_0 *)w->p[0] + k / 32;
  uint8_t c[32];
  myna__fives(c, b->qs, b->qh);
  for (int j = 0; j < 32; j++) o->c[j] = (int8_t)(c[j] - 16);
  o->d = myna__f16_to_f32(b->d);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) { myna__block32_to_f32(y, w, n, false, unpack); }

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  float mean_square = myna__mean_square(x, n);
  myna__block_q5_0 *b = blocks;
  for (int64_t k = 0; k < n; k += 32, b++) {
    uint8_t c[32];
    b->d = myna__f32_to_f16(myna__fit32_symmetric(c, x + k, imatrix ? imatrix + k : NULL, mean_square, 16));
    myna__put_fives(b->qs, b->qh, c);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__block32_dot(w, act, n, false, unpack);
}

const myna__quant myna__quant_Q5_0 = {MYNA_Q5_0, MYNA__ACT_Q8_32, to_f32, from_f32, dot, .open32 = unpack};
