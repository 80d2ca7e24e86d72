/* q8_k.c: Q8_K: 256 weights of 8 bits, one f32 scale: w = d * q. ggml's activation format of the k-quants.
 *
 *   byte  0    4               260               291
 *         +----+---------------+-----------------+
 *         | d  | qs[256]       | bsums[16]       |      d: f32, bsums[g]: int16 sum of q[16 g .. 16 g + 15]
 *         +----+---------------+-----------------+      (not read when it is a weight)
 *
 * Dot: |sum of codes| <= 256 * 128 * 128 = 2^22.
 * Source: ggml's Q8_K; from_f32 gives ggml's bits: the extreme value becomes -127. */
#include "kernels/quants/kquant.h"

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q8_k *b = (const void *)block;
  o->d = b->d;
  memset(o->scale, 1, 16);
  memset(o->min, 0, 16);
  memcpy(o->c, b->qs, 256);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  myna__kpanel_to_f32(y, w->p[0], n, sizeof(myna__block_q8_k), false, unpack);
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  myna__block_q8_k *b = blocks;
  for (int64_t k = 0; k < n; k += 256, b++) {
    memset(b, 0, sizeof *b);
    float extreme = myna__extreme(x + k, 256);
    if (extreme == 0.0f) continue;
    float inverse = -127.0f / extreme;
    for (int j = 0; j < 256; j++) {
      b->qs[j] = (int8_t)myna__code_rne(inverse * x[k + j], -128, 127);
      b->bsums[j / 16] = (int16_t)(b->bsums[j / 16] + b->qs[j]);
    }
    b->d = 1.0f / inverse;
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_q8_k), false, unpack);
}

const myna__quant myna__quant_Q8_K = {MYNA_Q8_K, MYNA__ACT_Q8_256, to_f32, from_f32, dot, .open256 = unpack};
