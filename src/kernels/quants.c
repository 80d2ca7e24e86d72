/* quants.c: the table of storage types, float conversions and the generic dot.
 *
 * Owns nothing but the table; a type's own numbers are in quants/NAME.c. */
#include "kernels/panel.h"
#include "kernels/quants/util.h"

/* Every kind but BOOL can be a weight's. */
#define WEIGHT_FLOAT(row) row
#define WEIGHT_INT(row) row
#define WEIGHT_QUANT(row) row
#define WEIGHT_PLANES(row) row
#define WEIGHT_BOOL(row) NULL

static const myna__quant *const types[MYNA_DTYPE_COUNT] = {
#define DTYPE(name, str, ggml_id, block, bytes, kind) [MYNA_##name] = WEIGHT_##kind(&myna__quant_##name),
#include "myna_dtypes.inc"
#undef DTYPE
};

const myna__quant *myna__quant_get(myna_dtype t) { return (unsigned)t < MYNA_DTYPE_COUNT ? types[t] : NULL; }

float myna__quant_dot_f32(const myna__quant *q, const myna__wrow *w, const void *act, int64_t n) {
  enum { CHUNK = 256 }; /* a multiple of every block and group */
  const float *x = act;
  float acc = 0, y[CHUNK];
  for (int64_t k = 0; k < n; k += CHUNK) {
    int64_t len = MYNA__MIN(n - k, CHUNK);
    myna__wrow r = myna__wrow_at(w, q->type, k);
    q->to_f32(y, &r, len);
    for (int64_t j = 0; j < len; j++) acc = fmaf(y[j], x[k + j], acc);
  }
  return acc;
}

static float float_of_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

static uint32_t bits_of_float(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

/* NaN keeps sign and payload and becomes quiet, as the F16C and NEON instructions do. */
float myna__f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3ff;
  if (exp == 31) return float_of_bits(sign | 0x7f800000 | man << 13 | (man ? 0x400000 : 0));
  if (exp == 0) return float_of_bits(sign | bits_of_float((float)man * 0x1p-24f));
  return float_of_bits(sign | (exp + 112) << 23 | man << 13);
}

/* Nearest, ties to even; 65520 and more give infinity. */
uint16_t myna__f32_to_f16(float f) {
  uint32_t bits = bits_of_float(f), u = bits & 0x7fffffff;
  uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
  if (u > 0x7f800000) return sign | 0x7e00 | (uint16_t)(u >> 13 & 0x3ff);
  if (u >= 0x477ff000) return sign | 0x7c00;
  /* Below 2^-14: 0.5 + |f| has units of 2^-24, those of a subnormal half. */
  if (u < 0x38800000) return sign | (uint16_t)(bits_of_float(0.5f + float_of_bits(u)) - 0x3f000000);
  u += 0xfff + (u >> 13 & 1);
  return sign | (uint16_t)((u >> 13) - (112u << 10));
}

uint16_t myna__f32_to_bf16(float f) {
  uint32_t u = bits_of_float(f);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
