/* e2m1.h: the 4-bit float of MXFP4 and NVFP4. */
#ifndef MYNA__QUANTS_E2M1_H
#define MYNA__QUANTS_E2M1_H

#include "kernels/quants/grids.h"
#include "kernels/quants/util.h"

/* Code whose value times 2 * half_scale is nearest to x; ties and NaN go to the smaller magnitude; never -0. */
MYNA__INLINE uint8_t myna__nearest_e2m1(float x, float half_scale) {
  uint8_t code = 0;
  float best = fabsf(x);
  for (int i = 1; i < 8; i++) {
    float e = fabsf((float)myna__levels_e2m1[i] * half_scale - fabsf(x));
    if (e < best) best = e, code = (uint8_t)i;
  }
  return code && x < 0 ? code | 8 : code;
}

#endif
