/* q8_1.c: Q8_1: Q8_0 plus the sum of its weights: w = d * q.
 *
 *   byte  0    2    4                                35
 *         +----+----+--------------------------------+      d: f16
 *         | d  | s  | qs[32]                         |      s: f16, d * sum of q: an activation's field,
 *         +----+----+--------------------------------+         not read when it is a weight
 *
 * Source: ggml's Q8_1; from_f32 gives ggml's bits. */
#include "kernels/quants/block32.h"
#include "kernels/quants/search.h"

static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q8_1 *b = (const myna__block_q8_1 *)w->p[0] + k / 32;
  memcpy(o->c, b->qs, 32);
  o->d = myna__f16_to_f32(b->d);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) { myna__block32_to_f32(y, w, n, false, unpack); }

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  myna__block_q8_1 *b = blocks;
  for (int64_t k = 0; k < n; k += 32, b++) {
    float d = myna__fit32_q8(b->qs, x + k);
    int sum = 0;
    for (int j = 0; j < 32; j++) sum += b->qs[j];
    b->d = myna__f32_to_f16(d);
    b->s = myna__f32_to_f16((float)sum * d);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__block32_dot(w, act, n, false, unpack);
}

const myna__quant myna__quant_Q8_1 = {MYNA_Q8_1, MYNA__ACT_Q8_32, to_f32, from_f32, dot, .open32 = unpack};
