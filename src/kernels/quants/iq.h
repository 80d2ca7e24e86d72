/* iq.h: what the codebook types share: an entry of the codebook becomes 4 or 8 weights.
 *
 * Dots are those of kquant.h: (s + 1/2) / 4 is (2 s + 1) / 8, so the group scale is the integer 2 s + 1 <= 31 and d takes
 * the power of two. Codes are the signed entries, |c| <= 62; IQ1's are 8 * entry +- 1, |c| <= 9.
 * |sum| <= 256 * 31 * 62 * 128 < 2^26. */
#ifndef MYNA__QUANTS_IQ_H
#define MYNA__QUANTS_IQ_H

#include "kernels/quants/grids.h"
#include "kernels/quants/kquant.h"

/* y[j] = +-d * entry[j], bit j of `signs` for minus. Returns y + n. */
MYNA__INLINE float *myna__put_signed(float *y, float d, const uint8_t *entry, int n, unsigned signs) {
  for (int j = 0; j < n; j++) y[j] = d * (float)entry[j] * (signs >> j & 1 ? -1.0f : 1.0f);
  return y + n;
}

/* y[j] = d * (entry[j] +- 1/8) for 8 weights (IQ1). Returns y + 8. */
MYNA__INLINE float *myna__put_shifted(float *y, float d, const int8_t entry[8], bool minus) {
  for (int j = 0; j < 8; j++) y[j] = d * ((float)entry[j] + (minus ? -0.125f : 0.125f));
  return y + 8;
}

/* The same as integers for a dot: sign * entry, and 8 * entry +- 1. */
MYNA__INLINE void myna__signed_codes(int8_t *c, const uint8_t *entry, int n, unsigned signs) {
  for (int j = 0; j < n; j++) c[j] = (int8_t)(signs >> j & 1 ? -entry[j] : entry[j]);
}
MYNA__INLINE void myna__shifted_codes(int8_t *c, const int8_t entry[8], bool minus) {
  for (int j = 0; j < 8; j++) c[j] = (int8_t)(8 * entry[j] + (minus ? -1 : 1));
}

#endif
