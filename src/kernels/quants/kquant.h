/* kquant.h: what the k-quants share: 256 weights, integer sub-scales per group of 16 (or 32 = two equal 16s):
 *
 *   w[j] = (d * scale[j/16]) * c[j] - dmin * min[j/16]
 *
 * A type supplies `unpack`, which lays a block out as this panel with the code's offset already taken off.
 * Bounds of the int32 sums, for activation codes of any int8 value (|q| <= 128):
 *   one group of 16  |sum c*q| <= 16 * 128 * 128 = 2^18
 *   times scale      |scale| <= 128: 2^25
 *   16 groups        2^29 < 2^31
 *   mins             16 * 63 * (16 * 128) < 2^21
 * Every type stays below these; its own file says by how much where it matters. */
#ifndef MYNA__QUANTS_KQUANT_H
#define MYNA__QUANTS_KQUANT_H

#include "kernels/quants/act_row.h"
#include "kernels/quants/util.h"

typedef struct myna__kpanel {
  float d, dmin;
  int8_t scale[16];
  uint8_t min[16];
  int8_t c[256];
} myna__kpanel;
typedef void myna__kpanel_unpack(myna__kpanel *o, const uint8_t *block);

MYNA__INLINE void myna__kpanel_to_f32(float *y, const uint8_t *p, int64_t n, int bytes, bool with_min,
                                      myna__kpanel_unpack *unpack) {
  for (int64_t k = 0; k < n; k += 256, p += bytes) {
    myna__kpanel b;
    unpack(&b, p);
    for (int j = 0; j < 256; j++) {
      y[k + j] = b.d * (float)b.scale[j / 16] * (float)b.c[j];
      if (with_min) y[k + j] -= b.dmin * (float)b.min[j / 16];
    }
  }
}

MYNA__INLINE float myna__kpanel_dot(const uint8_t *p, const void *act, int64_t n, int bytes, bool with_min,
                                    myna__kpanel_unpack *unpack) {
  myna__act_q8 a = myna__act_q8_row(MYNA__ACT_Q8_256, act, n);
  float acc = 0;
  for (int64_t k = 0; k < n; k += 256, p += bytes) {
    myna__kpanel b;
    unpack(&b, p);
    int32_t codes = 0, mins = 0;
    for (int g = 0; g < 16; g++) {
      int32_t i = 0;
      for (int j = 16 * g; j < 16 * g + 16; j++) i += b.c[j] * a.q[k + j];
      codes += b.scale[g] * i;
      mins += b.min[g] * a.sum[k / 16 + g];
    }
    float da = a.d[k / 256];
    acc = fmaf((float)codes, b.d * da, acc);
    if (with_min) acc = fmaf((float)mins, -(b.dmin * da), acc);
  }
  return acc;
}

/* Two-bit fields of Q2_K and Q3_K: code j in byte 32 * (j/128) + j%32, bits 2 * (j/32 % 4). */
MYNA__INLINE uint8_t myna__crumb(const uint8_t qs[64], int j) {
  return qs[j / 128 * 32 + j % 32] >> j / 32 % 4 * 2 & 3;
}
MYNA__INLINE void myna__put_crumbs(uint8_t qs[64], const uint8_t c[256]) {
  memset(qs, 0, 64);
  for (int j = 0; j < 256; j++) qs[j / 128 * 32 + j % 32] |= (uint8_t)((c[j] & 3) << j / 32 % 4 * 2);
}

/* Nibbles of Q4_K and Q5_K: code j in byte 32 * (j/64) + j%32, low half for j%64 < 32. */
MYNA__INLINE uint8_t myna__knibble(const uint8_t qs[128], int j) {
  return qs[j / 64 * 32 + j % 32] >> j / 32 % 2 * 4 & 15;
}
MYNA__INLINE void myna__put_knibbles(uint8_t qs[128], const uint8_t c[256]) {
  memset(qs, 0, 128);
  for (int j = 0; j < 256; j++) qs[j / 64 * 32 + j % 32] |= (uint8_t)((c[j] & 15) << j / 32 % 2 * 4);
}

/* Eight 6-bit scales and eight 6-bit mins in 12 bytes (Q4_K, Q5_K):
 *
 *   byte   0..3                    4..7                    8..11
 *   bits   7 6 | 5 4 3 2 1 0       7 6 | 5 4 3 2 1 0       7 6 5 4   | 3 2 1 0
 *          s[4+i] | s[i]           m[4+i] | m[i]           m[4+i]    | s[4+i]
 *          top 2                   top 2                   low 4       low 4      */
MYNA__INLINE void myna__k6_scales(uint8_t s[8], uint8_t m[8], const uint8_t p[12]) {
  for (int i = 0; i < 4; i++) {
    s[i] = p[i] & 63;
    m[i] = p[4 + i] & 63;
    s[4 + i] = (uint8_t)((p[8 + i] & 15) | p[i] >> 6 << 4);
    m[4 + i] = (uint8_t)(p[8 + i] >> 4 | p[4 + i] >> 6 << 4);
  }
}
/* The same, spread to the panel's groups of 16. */
MYNA__INLINE void myna__k6_panel(myna__kpanel *o, const uint8_t p[12]) {
  uint8_t s[8], m[8];
  myna__k6_scales(s, m, p);
  for (int g = 0; g < 16; g++) {
    o->scale[g] = (int8_t)s[g / 2];
    o->min[g] = m[g / 2];
  }
}
MYNA__INLINE void myna__put_k6_scales(uint8_t p[12], const uint8_t s[8], const uint8_t m[8]) {
  for (int i = 0; i < 4; i++) {
    p[i] = (uint8_t)(s[i] | s[4 + i] >> 4 << 6);
    p[4 + i] = (uint8_t)(m[i] | m[4 + i] >> 4 << 6);
    p[8 + i] = (uint8_t)((s[4 + i] & 15) | (m[4 + i] & 15) << 4);
  }
}

#endif
