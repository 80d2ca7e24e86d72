/* iq.h: what the codebook types share: an entry of the codebook becomes 4 or 8 weights. */
#ifndef MYNA__QUANTS_IQ_H
#define MYNA__QUANTS_IQ_H

#include "kernels/quants/grids.h"
#include "kernels/quants/util.h"

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

#endif
