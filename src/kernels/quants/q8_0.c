/* q8_0.c: Q8_0: 32 weights of 8 bits, one scale: w = d * q.
 *
 *   byte  0    2                                33
 *         +----+--------------------------------+
 *         | d  | qs[32]                         |      d: f16, qs[j] = q[j] signed
 *         +----+--------------------------------+
 *
 * Source: ggml's Q8_0; from_f32 gives ggml's bits (an importance matrix changes nothing). */
#include "kernels/quants/block32.h"
#include "kernels/quants/search.h"

static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q8_0 *b = (const myna__block_q8_0 *)w->p[0] + k / 32;
  memcpy(o->c, b->qs, 32);
  o->d = myna__f16_to_f32(b->d);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) { myna__block32_to_f32(y, w, n, false, unpack); }

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  myna__block_q8_0 *b = blocks;
  for (int64_t k = 0; k < n; k += 32, b++) b->d = myna__f32_to_f16(myna__fit32_q8(b->qs, x + k));
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__block32_dot(w, act, n, false, unpack);
}

const myna__quant myna__quant_Q8_0 = {MYNA_Q8_0, MYNA__ACT_Q8_32, to_f32, from_f32, dot, .open32 = unpack};
