/* direct_avx512.h: the loop that direct kernels share; see direct_avx512.c. */
#ifndef MYNA__DIRECT_AVX512_H
#define MYNA__DIRECT_AVX512_H

#include "kernels/x86/pieces_avx512.h"

enum { C_DIRECT = MYNA__DIRECT_COLS };

INLINE __m512 broadcast_f32(const uint8_t *p) {
  float f;
  memcpy(&f, p, 4);
  return _mm512_set1_ps(f);
}
INLINE __m512i broadcast_i32(const uint8_t *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return _mm512_set1_epi32(v);
}

/* acc[0..C) += the 32 bytes in q (from k on) times C activation rows. */
typedef void step_fn(__m512 *acc, const __m512i q[8], const uint8_t *const *x, int64_t k, int C);

INLINE int64_t direct_columns(const myna__direct *d, int size, int C, step_fn *step) {
  const int per = 32 / size;
  __m512 acc[C_DIRECT];
  const uint8_t *x[C_DIRECT], *next = d->next;
  UNROLL for (int c = 0; c < C; c++) x[c] = d->act.row + (size_t)c * d->act.stride;
  UNROLL for (int c = 0; c < C; c++) acc[c] = _mm512_setzero_ps();
  int64_t k = 0;
  for (; k + per <= d->n; k += per, next += 32 * MYNA__STRIP) {
    __m512i q[8];
    prefetch_part(next, 32, 0, 1);
    piece32(q, &d->rows, 0, size * k);
    step(acc, q, x, k, C);
  }
  UNROLL for (int c = 0; c < C; c++) _mm512_store_ps(d->acc + c * d->ld_acc, acc[c]);
  return k;
}

INLINE int64_t direct(const myna__direct *d, int size, step_fn *step) {
  switch (d->n_col) {
  case 1: return direct_columns(d, size, 1, step);
  case 2: return direct_columns(d, size, 2, step);
  case 3: return direct_columns(d, size, 3, step);
  case 4: return direct_columns(d, size, 4, step);
  case 5: return direct_columns(d, size, 5, step);
  case 6: return direct_columns(d, size, 6, step);
  case 7: return direct_columns(d, size, 7, step);
  default: return direct_columns(d, size, 8, step);
  }
}

#endif
