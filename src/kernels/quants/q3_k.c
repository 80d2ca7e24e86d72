/* q3_k.c: Q3_K: 256 weights of 3 bits in 16 groups of 16, each with a 6-bit scale: w = (d * (s - 32)) * (q - 4).
 *
 *   byte  0           32                 96           108  109
 *         +-----------+------------------+------------+----+
 *         | hmask[32] | qs[64]           | scales[12] | d  |      d: f16
 *         +-----------+------------------+------------+----+
 *   q[j]      low 2 bits in qs (see myna__crumb), bit 2 is bit j/32 of hmask[j % 32]
 *   s[g]      byte g%8: low nibble for g < 8, high nibble for g >= 8: the low 4 bits;
 *             byte 8 + g%4, bits 2 * (g/4): the top 2 bits
 *
 * Source: ggml's Q3_K. */
#include "kernels/quants/kquant.h"
#include "kernels/quants/search.h"

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q3_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  for (int g = 0; g < 16; g++) {
    int low = b->scales[g % 8] >> g / 8 * 4 & 15, high = b->scales[8 + g % 4] >> g / 4 * 2 & 3;
    o->scale[g] = (int8_t)((low | high << 4) - 32);
    o->min[g] = 0;
  }
  for (int j = 0; j < 256; j++) o->c[j] = (int8_t)((myna__crumb(b->qs, j) | (b->hmask[j % 32] >> j / 32 & 1) << 2) - 4);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  myna__kpanel_to_f32(y, w->p[0], n, sizeof(myna__block_q3_k), false, unpack);
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  static const myna__kspec spec = {.group = 16, .code_lo = -4, .code_hi = 3, .scale_lo = -32, .scale_hi = 31};
  myna__block_q3_k *b = blocks;
  for (int64_t k = 0; k < n; k += 256, b++) {
    myna__kfit f;
    myna__kfit_block(&f, &spec, x + k, imatrix ? imatrix + k : NULL);
    b->d = f.d;
    memset(b->scales, 0, sizeof b->scales);
    for (int g = 0; g < 16; g++) {
      int s = f.scale[g] + 32;
      b->scales[g % 8] |= (uint8_t)((s & 15) << g / 8 * 4);
      b->scales[8 + g % 4] |= (uint8_t)(s >> 4 << g / 4 * 2);
    }
    myna__put_crumbs(b->qs, f.c);
    memset(b->hmask, 0, sizeof b->hmask);
    for (int j = 0; j < 256; j++) b->hmask[j % 32] |= (uint8_t)((f.c[j] >> 2 & 1) << j / 32);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_q3_k), false, unpack);
}

const myna__quant myna__quant_Q3_K = {MYNA_Q3_K, MYNA__ACT_Q8_256, to_f32, from_f32, dot, .open256 = unpack};
