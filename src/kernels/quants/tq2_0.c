/* tq2_0.c: TQ2_0: 256 ternary weights in 2-bit fields, one scale: w = d * (q - 1).
 *
 *   byte  0                      64  65
 *         +----------------------+----+
 *         | qs[64]               | d  |      d: f16; qs: 2-bit fields, see myna__crumb
 *         +----------------------+----+
 *
 * Source: ggml's TQ2_0, whose bits from_f32 gives: d is the largest magnitude. */
#include "kernels/quants/kquant.h"
#include "kernels/quants/search.h"

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__block_tq2_0 *b = (const void *)w->p[0];
  for (; n > 0; n -= 256, b++, y += 256) {
    float d = myna__f16_to_f32(b->d);
    for (int j = 0; j < 256; j++) y[j] = (float)(myna__crumb(b->qs, j) - 1) * d;
  }
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  myna__block_tq2_0 *b = blocks;
  for (; n > 0; n -= 256, b++, x += 256) {
    uint8_t q[256];
    b->d = myna__f32_to_f16(myna__ternary(q, x));
    myna__put_crumbs(b->qs, q);
  }
}

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__block_tq2_0 *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  memset(o->scale, 1, 16);
  for (int j = 0; j < 256; j++) o->c[j] = (int8_t)(myna__crumb(b->qs, j) - 1);
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_tq2_0), false, unpack);
}

const myna__quant myna__quant_TQ2_0 = {MYNA_TQ2_0, MYNA__ACT_Q8_256, to_f32, from_f32, dot, .open256 = unpack};
