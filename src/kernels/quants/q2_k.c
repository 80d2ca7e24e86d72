/* q2_k.c: Q2_K: 256 weights of 2 bits in 16 groups of 16, each with a 4-bit scale and minimum:
 *   w = (d * s) * q - dmin * m.
 *
 *   byte  0            16                 80   82   83
 *         +------------+------------------+----+------+
 *         | scales[16] | qs[64]           | d  | dmin |      scales[g]: low nibble s, high nibble m
 *         +------------+------------------+----+------+      qs: 2-bit fields, see myna__crumb; d, dmin: f16
 *
 * Source: ggml's Q2_K. */
#include "kernels/quants/kquant.h"
#include "kernels/quants/search.h"

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q2_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  o->dmin = myna__f16_to_f32(b->dmin);
  for (int g = 0; g < 16; g++) {
    o->scale[g] = b->scales[g] & 15;
    o->min[g] = b->scales[g] >> 4;
  }
  for (int j = 0; j < 256; j++) o->c[j] = (int8_t)myna__crumb(b->qs, j);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  myna__kpanel_to_f32(y, w->p[0], n, sizeof(myna__block_q2_k), true, unpack);
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  static const myna__kspec spec = {.group = 16, .code_hi = 3, .scale_hi = 15, .min_hi = 15};
  myna__block_q2_k *b = blocks;
  for (int64_t k = 0; k < n; k += 256, b++) {
    myna__kfit f;
    myna__kfit_block(&f, &spec, x + k, imatrix ? imatrix + k : NULL);
    b->d = f.d;
    b->dmin = f.dmin;
    for (int g = 0; g < 16; g++) b->scales[g] = (uint8_t)(f.scale[g] | f.min[g] << 4);
    myna__put_crumbs(b->qs, f.c);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_q2_k), true, unpack);
}

const myna__quant myna__quant_Q2_K = {MYNA_Q2_K, MYNA__ACT_Q8_256, to_f32, from_f32, dot, .open256 = unpack};
