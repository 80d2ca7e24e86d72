/* q6_k.c: Q6_K: 256 weights of 6 bits in 16 groups of 16, each with an int8 scale: w = (d * s) * (q - 32).
 *
 *   byte  0                128           192          208  209
 *         +----------------+-------------+------------+----+
 *         | ql[128]        | qh[64]      | scales[16] | d  |      d: f16
 *         +----------------+-------------+------------+----+
 *   in each half h = j/128, with l = j%128:
 *   ql[64 h + l%64]   low 4 bits: low nibble for l < 64, high nibble for l >= 64
 *   qh[32 h + l%32]   top 2 bits at bits 2 * (l/32)
 *
 * Dot: |sum of codes| <= 16 * 128 * (16 * 32 * 128) = 2^27.
 * Source: ggml's Q6_K. */
#include "kernels/quants/kquant.h"
#include "kernels/quants/search.h"

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q6_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  memcpy(o->scale, b->scales, 16);
  memset(o->min, 0, 16);
  for (int j = 0; j < 256; j++) {
    int low = b->ql[j / 128 * 64 + j % 64] >> j / 64 % 2 * 4 & 15, high = myna__crumb(b->qh, j);
    o->c[j] = (int8_t)((low | high << 4) - 32);
  }
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  myna__kpanel_to_f32(y, w->p[0], n, sizeof(myna__block_q6_k), false, unpack);
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  static const myna__kspec spec = {.group = 16, .code_lo = -32, .code_hi = 31, .scale_lo = -128, .scale_hi = 127};
  myna__block_q6_k *b = blocks;
  for (int64_t k = 0; k < n; k += 256, b++) {
    myna__kfit f;
    uint8_t high[256];
    myna__kfit_block(&f, &spec, x + k, imatrix ? imatrix + k : NULL);
    b->d = f.d;
    memcpy(b->scales, f.scale, 16);
    memset(b->ql, 0, sizeof b->ql);
    for (int j = 0; j < 256; j++) {
      b->ql[j / 128 * 64 + j % 64] |= (uint8_t)((f.c[j] & 15) << j / 64 % 2 * 4);
      high[j] = f.c[j] >> 4;
    }
    myna__put_crumbs(b->qh, high);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_q6_k), false, unpack);
}

const myna__quant myna__quant_Q6_K = {MYNA_Q6_K, MYNA__ACT_Q8_256, to_f32, from_f32, dot, .open256 = unpack};
