/* tq1_0.c: TQ1_0: 256 ternary weights, five to a byte, one scale: w = d * (q - 1), q in {0, 1, 2}.
 *
 *   byte  0                        52  53
 *         +------------------------+----+
 *         | qs[52]                 | d  |      d: f16
 *         +------------------------+----+
 *   A byte holds the fraction f = b/256 whose first base-3 digits are its codes, first weight first: digit i is
 *   the whole part of 3 * frac(3^i f); the encoder rounds up so that no digit is lost.
 *   weights   0..159   digit j/32 of qs[j%32]
 *           160..239   with l = j - 160: digit l/16 of qs[32 + l%16]
 *           240..255   with l = j - 240: digit l/4 of qs[48 + l%4], four digits
 *
 * Source: ggml's TQ1_0, whose bits from_f32 gives: d is the largest magnitude. */
#include "kernels/quants/kquant.h"
#include "kernels/quants/search.h"

/* Where weight j lies: which of the 52 bytes, which digit. */
static int byte_of(int j) { return j < 160 ? j % 32 : j < 240 ? 32 + j % 16 : 48 + j % 4; }
static int digit_of(int j) { return j < 160 ? j / 32 : j < 240 ? (j - 160) / 16 : (j - 240) / 4; }

static int8_t code_of(const myna__block_tq1_0 *b, int j) {
  static const uint8_t pow3[5] = {1, 3, 9, 27, 81};
  uint8_t fraction = (uint8_t)(b->qs[byte_of(j)] * pow3[digit_of(j)]);
  return (int8_t)((fraction * 3 >> 8) - 1);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__block_tq1_0 *b = (const void *)w->p[0];
  for (; n > 0; n -= 256, b++, y += 256) {
    float d = myna__f16_to_f32(b->d);
    for (int j = 0; j < 256; j++) y[j] = (float)code_of(b, j) * d;
  }
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  static const uint8_t weight[5] = {81, 27, 9, 3, 1};
  myna__block_tq1_0 *b = blocks;
  for (; n > 0; n -= 256, b++, x += 256) {
    uint8_t q[256];
    int digits[52] = {0};
    b->d = myna__f32_to_f16(myna__ternary(q, x));
    for (int j = 0; j < 256; j++) digits[byte_of(j)] += q[j] * weight[digit_of(j)];
    for (int i = 0; i < 52; i++) b->qs[i] = (uint8_t)((digits[i] * 256 + 242) / 243);
  }
}

static void unpack(myna__kpanel *o, const uint8_t *block) {
  const myna__block_tq1_0 *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  memset(o->scale, 1, 16);
  for (int j = 0; j < 256; j++) o->c[j] = code_of(b, j);
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__kpanel_dot(w->p[0], act, n, sizeof(myna__block_tq1_0), false, unpack);
}

const myna__quant myna__quant_TQ1_0 = {MYNA_TQ1_0, MYNA__ACT_Q8_256, to_f32, from_f32, dot, .open256 = unpack};
