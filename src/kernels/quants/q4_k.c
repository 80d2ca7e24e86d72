/* q4_k.c: Q4_K: 256 weights of 4 bits in 8 groups of 32, each with a 6-bit scale and minimum:
 *   w = (d * s) * q - dmin * m.
 *
 *   byte  0    2      4            16                     143
 *         +----+------+------------+------------------------+
 *         | d  | dmin | scales[12] | qs[128]                |      d, dmin: f16
 *         +----+------+------------+------------------------+
 *   scales: see myna__k6_scales; qs: nibbles, see myna__knibble
 *
 * Dot: |sum of codes| <= 8 * 63 * (32 * 15 * 128) < 2^25.
 * Source: ggml's Q4_K. */
#include "kernels/quants/kquant.h"
#include "kernels/quants/search.h"

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q4_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  o->dmin = myna__f16_to_f32(b->dmin);
  myna__k6_panel(o, b->scales);
  for (int j = 0; j < 256; j++) o->c[j] = (int8_t)myna__knibble(b->qs, j);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  myna__kpanel_to_f32(y, w->p[0], n, sizeof(myna__block_q4_k), true, unpack);
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  static const myna__kspec spec = {.group = 32, .code_hi = 15, .scale_hi = 63, .min_hi = 63};
  myna__block_q4_k *b = blocks;
  for (int64_t k = 0; k < n; k += 256, b++) {
    myna__kfit f;
    myna__kfit_block(&f, &spec, x + k, imatrix ? imatrix + k : NULL);
    b->d = f.d;
    b->dmin = f.dmin;
    myna__put_k6_scales(b->scales, (const uint8_t *)f.scale, f.min);
    myna__put_knibbles(b->qs, f.c);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_q4_k), true, unpack);
}

const myna__quant myna__quant_Q4_K = {MYNA_Q4_K, MYNA__ACT_Q8_256, to_f32, from_f32, dot, .open256 = unpack};
