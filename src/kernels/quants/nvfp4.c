/* nvfp4.c: NVFP4: 64 weights of 4-bit floats E2M1, one E4M3 scale per 16: w = s * v.
 *
 *   byte  0      4                                35
 *         +------+--------------------------------+
 *         | d[4] | qs[32]                         |      d[g]: unsigned E4M3 (sign bit not read)
 *         +------+--------------------------------+      qs[8 g + j]: low nibble q[16 g + j], high q[16 g + j + 8]
 *
 * The table holds 2 v, so the scale is halved. The scale's NaN code 0x7f decodes to 0 as in ggml. A file's
 * second, per-tensor scale is a tensor of its own and the model's business.
 * Source: ggml's NVFP4, whose bits from_f32 gives, but for scales from 256 to 448: ggml makes all of them 448, we
 * round to the nearest as below 256. */
#include "kernels/quants/block32.h"
#include "kernels/quants/e2m1.h"

static float half_scale(uint8_t s) {
  int exp = s >> 3 & 15, man = s & 7;
  if (s == 0x7f) return 0;
  return exp ? ldexpf((float)(8 + man), exp - 11) : ldexpf((float)man, -10);
}

static int8_t code_of(const myna__block_nvfp4 *b, int j) {
  return myna__levels_e2m1[b->qs[j / 16 * 8 + j % 8] >> j / 8 % 2 * 4 & 15];
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) {
  const myna__block_nvfp4 *b = (const void *)w->p[0];
  for (; n > 0; n -= 64, b++, y += 64) {
    for (int j = 0; j < 64; j++) y[j] = half_scale(b->d[j / 16]) * (float)code_of(b, j);
  }
}

/* The scale nearest to f, ties up; 0 for what is not positive; at most 448. */
static uint8_t scale_from(float f) {
  if (!(f > 0)) return 0;
  if (f > 448) f = 448;
  if (f < 0x1p-6f) return (uint8_t)MYNA__MIN((int)(f * 512 + 0.5f), 7); /* subnormal: units of 2^-9; ggml stops at 7 */
  int exp;
  float man = frexpf(f, &exp); /* f = man * 2^exp, man in [1/2, 1) */
  int code = 8 * (exp + 6) + (int)(man * 16 + 0.5f) - 8;
  return (uint8_t)MYNA__MIN(code, 0x7e);
}

static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  myna__block_nvfp4 *b = blocks;
  for (; n > 0; n -= 64, b++, x += 64) {
    memset(b->qs, 0, sizeof b->qs);
    for (int g = 0; g < 4; g++) b->d[g] = scale_from(myna__amax(x + 16 * g, 16) / 6.0f);
    for (int j = 0; j < 64; j++) {
      int q = myna__nearest_e2m1(x[j], half_scale(b->d[j / 16]));
      b->qs[j / 16 * 8 + j % 8] |= (uint8_t)(q << j / 8 % 2 * 4);
    }
  }
}

/* With two scales: d of the first 16, m of the others. */
static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_nvfp4 *b = (const myna__block_nvfp4 *)w->p[0] + k / 64;
  const int first = (int)(k % 64);
  o->d = half_scale(b->d[first / 16]);
  o->m = half_scale(b->d[first / 16 + 1]);
  for (int j = 0; j < 32; j++) o->c[j] = code_of(b, first + j);
}

/* |sum| <= 16 * 12 * 128. */
static int32_t sum16(const int8_t *c, const int8_t *q) {
  int32_t i = 0;
  for (int j = 0; j < 16; j++) i += c[j] * q[j];
  return i;
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  myna__act_q8 a = myna__act_q8_row(MYNA__ACT_Q8_32, act, n);
  float acc = 0;
  for (int64_t k = 0; k < n; k += 32) {
    myna__block32 b;
    unpack(&b, w, k);
    acc = fmaf((float)sum16(b.c, a.q + k), b.d * a.d[k / 32], acc);
    acc = fmaf((float)sum16(b.c + 16, a.q + k + 16), b.m * a.d[k / 32], acc);
  }
  return acc;
}

const myna__quant myna__quant_NVFP4 = {MYNA_NVFP4, MYNA__ACT_Q8_32, to_f32, from_f32, dot, .open32 = unpack};
