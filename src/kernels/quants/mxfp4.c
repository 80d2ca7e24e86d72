/* mxfp4.c: MXFP4 (OCP Microscaling): 32 weights of 4-bit floats E2M1, one power-of-two scale: w = 2^(e-127) * v.
 *
 *   byte  0    1                16
 *         +----+----------------+
 *         | e  | qs[16]         |      qs[j]: low nibble q[j], high nibble q[j + 16]
 *         +----+----------------+
 *
 * The table holds 2 v, so the scale is halved: 2^(e-128), subnormal for e < 2. e = 255 (NaN in the OCP text)
 * is 2^128 as in ggml.
 * Source: OCP Microscaling Formats 1.0 and ggml's MXFP4, whose bits from_f32 gives. */
#include "kernels/quants/block32.h"
#include "kernels/quants/e2m1.h"

static float half_scale(uint8_t e) {
  uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_mxfp4 *b = (const myna__block_mxfp4 *)w->p[0] + k / 32;
  myna__levels32(o->c, b->qs, myna__levels_e2m1);
  o->d = half_scale(b->e);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) { myna__block32_to_f32(y, w, n, false, unpack); }

/* The exponent puts amax in [4, 8), the binade of E2M1's largest value, 6. */
static void from_f32(void *blocks, const float *x, const float *imatrix, int64_t n) {
  myna__block_mxfp4 *b = blocks;
  for (int64_t k = 0; k < n; k += 32, b++) {
    uint8_t q[32];
    float amax = myna__amax(x + k, 32);
    b->e = amax > 0 ? (uint8_t)myna__code_trunc(floorf(log2f(amax)) + 125, 0, 254) : 0;
    for (int j = 0; j < 32; j++) q[j] = myna__nearest_e2m1(x[k + j], half_scale(b->e));
    myna__put_nibbles(b->qs, q);
  }
}

static float dot(const myna__wrow *w, const void *act, int64_t n) {
  return myna__block32_dot(w, act, n, false, unpack);
}

const myna__quant myna__quant_MXFP4 = {MYNA_MXFP4, MYNA__ACT_Q8_32, to_f32, from_f32, dot, .open32 = unpack};
