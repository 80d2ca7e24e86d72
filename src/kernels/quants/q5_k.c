/* q5_k.c: Q5_K: Q4_K with a fifth bit: 8 groups of 32: w = (d * s) * q - dmin * m.
 *
 *   byte  0    2      4            16       48                     175
 *         +----+------+------------+--------+------------------------+
 *         | d  | dmin | scales[12] | qh[32] | qs[128]                |      d, dmin: f16
 *         +----+------+------------+--------+------------------------+
 *   scales, qs as in Q4_K; bit 4 of q[j] is bit j/32 of qh[j % 32]
 *
 * Dot: |sum of codes| <= 8 * 63 * (32 * 31 * 128) < 2^26.
 * Source: ggml's Q5_K. */
#include "kernels/quants/kquant.h"
#include "kernels/quants/search.h"

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q5_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  o->dmin = myna__f16_to_f32(b->dmin);
  myna__k6_panel(o, b->scales);
  for (int j = 0; j < 256; j++) o->c[j] = (int8_t)(myna__knibble(b->qs, j) | (b->qh[j % 32] >> j / 32 & 1) << 4);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  myna__kpanel_to_f32(y, w->p[0], n, sizeof(myna__block_q5_k), true, unpack);
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  static const myna__kspec spec = {.group = 32, .code_hi = 31, .scale_hi = 63, .min_hi = 63};
  myna__block_q5_k *b = blocks;
  for (int64_t k = 0; k < n; k += 256, b++) {
    myna__kfit f;
    myna__kfit_block(&f, &spec, x + k, imatrix ? imatrix + k : NULL);
    b->d = f.d;
    b->dmin = f.dmin;
    myna__put_k6_scales(b->scales, (const uint8_t *)f.scale, f.min);
    myna__put_knibbles(b->qs, f.c);
    memset(b->qh, 0, sizeof b->qh);
    for (int j = 0; j < 256; j++) b->qh[j % 32] |= (uint8_t)((f.c[j] >> 4 & 1) << j / 32);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_q5_k), true, unpack);
}

const myna__quant myna__quant_Q5_K = {MYNA_Q5_K, MYNA__ACT_Q8_256, to_f32, from_f32, dot, .open256 = unpack};
