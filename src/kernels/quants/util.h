/* util.h: the few scalar helpers that every storage type uses.
 *
 * Invariants: no helper has undefined behaviour for any input, NaN and infinity included: codes come from
 * strangers' files, values from strangers' models. */
#ifndef MYNA__QUANTS_UTIL_H
#define MYNA__QUANTS_UTIL_H

#include "kernels/quants.h"
#include "kernels/quants/blocks.h"
#include <math.h>

/* Every type's row, for its own file's dot and for the table in quants.c. */
#define DTYPE(name, str, ggml_id, block, bytes, kind) extern const myna__quant myna__quant_##name;
#include "myna_dtypes.inc"
#undef DTYPE

#define MYNA__INLINE static inline __attribute__((always_inline))

/* Nearest integer, ties to even, of |v| < 2^22: adding 1.5 * 2^23 leaves the integer in the low mantissa bits. */
MYNA__INLINE int myna__rne(float v) {
  float shifted = v + 12582912.0f;
  int32_t bits;
  memcpy(&bits, &shifted, 4);
  return (bits & 0x7fffff) - 0x400000;
}

/* v held inside [lo, hi]; NaN gives lo. */
MYNA__INLINE float myna__clampf(float v, float lo, float hi) {
  v = v > lo ? v : lo;
  return v < hi ? v : hi;
}

/* Three ways to an integer code in [lo, hi], |lo|, |hi| < 2^22: ties to even, ties away from zero, towards zero. */
MYNA__INLINE int myna__code_rne(float v, int lo, int hi) { return myna__rne(myna__clampf(v, (float)lo, (float)hi)); }
MYNA__INLINE int myna__code_away(float v, int lo, int hi) { return (int)roundf(myna__clampf(v, (float)lo, (float)hi)); }
MYNA__INLINE int myna__code_trunc(float v, int lo, int hi) { return (int)myna__clampf(v, (float)lo, (float)hi); }

/* 1 / d, or 0 for d = 0. */
MYNA__INLINE float myna__inverse(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

/* Largest magnitude of x[0..n); NaN is passed over. */
MYNA__INLINE float myna__amax(const float *x, int n) {
  float m = 0;
  for (int j = 0; j < n; j++) m = fabsf(x[j]) > m ? fabsf(x[j]) : m;
  return m;
}

/* The first element of largest magnitude, with its sign. The magnitude has its own variable: clang 19 for arm64 compiles
 * `fabsf(x[j]) > fabsf(m) ? x[j] : m` wrongly at -O3 when it unrolls the loop. */
MYNA__INLINE float myna__extreme(const float *x, int n) {
  float m = 0, magnitude = 0;
  for (int j = 0; j < n; j++)
    if (fabsf(x[j]) > magnitude) {
      m = x[j];
      magnitude = fabsf(m);
    }
  return m;
}

/* Smallest and largest of x[0..n); the empty range [FLT_MAX, -FLT_MAX] when all are NaN. */
MYNA__INLINE void myna__range(const float *x, int n, float *lo, float *hi) {
  float a = 3.402823466e38f, b = -3.402823466e38f;
  for (int j = 0; j < n; j++) {
    a = x[j] < a ? x[j] : a;
    b = x[j] > b ? x[j] : b;
  }
  *lo = a;
  *hi = b;
}

/* 16 bytes of nibbles: c[j] low halves, c[j + 16] high halves: the split that all 32-blocks of ggml use. */
MYNA__INLINE void myna__nibbles(uint8_t c[32], const uint8_t qs[16]) {
  for (int j = 0; j < 16; j++) {
    c[j] = qs[j] & 15;
    c[j + 16] = qs[j] >> 4;
  }
}
MYNA__INLINE void myna__put_nibbles(uint8_t qs[16], const uint8_t c[32]) {
  for (int j = 0; j < 16; j++) qs[j] = (uint8_t)((c[j] & 15) | (c[j + 16] & 15) << 4);
}

/* 32 values of a table of 16, by nibble. */
MYNA__INLINE void myna__levels32(int8_t c[32], const uint8_t qs[16], const int8_t level[16]) {
  uint8_t q[32];
  myna__nibbles(q, qs);
  for (int j = 0; j < 32; j++) c[j] = level[q[j]];
}

/* 5-bit codes of Q5_0 and Q5_1: nibbles as above, bit 4 of c[j] is bit j of the little-endian qh. */
MYNA__INLINE void myna__fives(uint8_t c[32], const uint8_t qs[16], const uint8_t qh[4]) {
  myna__nibbles(c, qs);
  for (int j = 0; j < 32; j++) c[j] |= (uint8_t)((qh[j / 8] >> j % 8 & 1) << 4);
}
MYNA__INLINE void myna__put_fives(uint8_t qs[16], uint8_t qh[4], const uint8_t c[32]) {
  myna__put_nibbles(qs, c);
  memset(qh, 0, 4);
  for (int j = 0; j < 32; j++) qh[j / 8] |= (uint8_t)((c[j] >> 4 & 1) << j % 8);
}

MYNA__INLINE uint16_t myna__load_u16(const uint8_t *p) {
  uint16_t u;
  memcpy(&u, p, 2);
  return u;
}
MYNA__INLINE void myna__store_u16(uint8_t *p, uint16_t u) { memcpy(p, &u, 2); }
MYNA__INLINE uint32_t myna__load_u32(const uint8_t *p) {
  uint32_t u;
  memcpy(&u, p, 4);
  return u;
}

#endif
