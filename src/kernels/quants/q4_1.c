/* q4_1.c: Q4_1: 32 weights of 4 bits, a scale and a minimum: w = d * q + m.
 *
 *   byte  0    2    4                19
 *         +----+----+----------------+
 *         | d  | m  | qs[16]         |      d, m: f16
 *         +----+----+----------------+      qs[j]: low nibble q[j], high nibble q[j + 16]
 *
 * Source: ggml's Q4_1; from_f32 gives ggml's bits without an importance matrix. */
#include "kernels/quants/block32.h"
#include "kernels/quants/search.h"

static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q4_1 *b = (const myna__block_q4_1 *)w->p[0] + k / 32;
  myna__nibbles((uint8_t *)o->c, b->qs);
  o->d = myna__f16_to_f32(b->d);
  o->m = myna__f16_to_f32(b->m);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) { myna__block32_to_f32(y, w, n, true, unpack); }

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  float mean_square = myna__mean_square(x, n);
  myna__block_q4_1 *b = blocks;
  for (int64_t k = 0; k < n; k += 32, b++) {
    uint8_t c[32];
    float m;
    b->d = myna__f32_to_f16(myna__fit32_affine(c, &m, x + k, imatrix ? imatrix + k : NULL, mean_square, 15));
    b->m = myna__f32_to_f16(m);
    myna__put_nibbles(b->qs, c);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) { return myna__block32_dot(w, act, n, true, unpack); }

const myna__quant myna__quant_Q4_1 = {MYNA_Q4_1, MYNA__ACT_Q8_32, to_f32, from_f32, dot, .open32 = unpack};
