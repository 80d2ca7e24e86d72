/* act_row.h: the planes of one activation row of integer format (Q8_32, Q8_256; see quants.h). */
#ifndef MYNA__QUANTS_ACT_ROW_H
#define MYNA__QUANTS_ACT_ROW_H

#include "kernels/quants.h"

typedef struct myna__act_q8 {
  const int8_t *q;    /* [pad(n)] */
  const float *d;     /* one per 32 or 256 */
  const int16_t *sum; /* one per 32 or 16 */
} myna__act_q8;

static inline myna__act_q8 myna__act_q8_row(myna__act a, const void *row, int64_t n) {
  const uint8_t *p = row;
  return (myna__act_q8){(const int8_t *)p, (const float *)(const void *)(p + myna__act_d_offset(n)),
                        (const int16_t *)(const void *)(p + myna__act_sum_offset(a, n))};
}

#endif
