/* block32.h: what types of 32 weights with one float scale share: w[j] = d * c[j], or d * c[j] + m.
 *
 * A type supplies `unpack`: 32 weights of its row as integer codes (offset already taken off) and floats. The two loops
 * below are inlined into its file with that function as a constant.
 * Exactness: sum (q - offset) * a and sum q * a - offset * sum a are the same int32. */
#ifndef MYNA__QUANTS_BLOCK32_H
#define MYNA__QUANTS_BLOCK32_H

#include "kernels/quants/act_row.h"
#include "kernels/quants/util.h"

typedef struct myna__block32 {
  int8_t c[32];
  float d, m;
} myna__block32;
typedef void myna__block32_unpack(myna__block32 *o, const myna__wrow *w, int64_t k);

/* Two roundings, as ggml does it: no fma. */
MYNA__INLINE void myna__block32_to_f32(float *y, const myna__wrow *w, int64_t n, bool with_min,
                                       myna__block32_unpack *unpack) {
  for (int64_t k = 0; k < n; k += 32) {
    myna__block32 b;
    unpack(&b, w, k);
    for (int j = 0; j < 32; j++) {
      y[k + j] = b.d * (float)b.c[j];
      if (with_min) y[k + j] += b.m;
    }
  }
}

/* One block of the Q8_32 dot. |sum| <= 32 * 128 * 128 = 2^19. */
MYNA__INLINE float myna__block32_add_dot(float acc, const myna__block32 *b, const myna__act_q8 *a, int64_t k,
                                         bool with_min) {
  int32_t i = 0;
  for (int j = 0; j < 32; j++) i += b->c[j] * a->q[k + j];
  float da = a->d[k / 32];
  acc = fmaf((float)i, b->d * da, acc);
  return with_min ? fmaf((float)a->sum[k / 32], b->m * da, acc) : acc;
}

MYNA__INLINE float myna__block32_dot(const myna__wrow *w, const void *act, int64_t n, bool with_min,
                                     myna__block32_unpack *unpack) {
  myna__act_q8 a = myna__act_q8_row(MYNA__ACT_Q8_32, act, n);
  float acc = 0;
  for (int64_t k = 0; k < n; k += 32) {
    myna__block32 b;
    unpack(&b, w, k);
    acc = myna__block32_add_dot(acc, &b, &a, k, with_min);
  }
  return acc;
}

#endif
