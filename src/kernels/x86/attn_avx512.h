/* attn_avx512.h: parts of attention over one page for tiles of rows: what the AVX-512 levels share.
 *
 * 6 rows x 4 vectors of 16 make 24 accumulators, so that each vector loaded from the page serves the whole tile. Values are added
 * 64 dimensions at a time, for rows that see the same positions [lo, hi): what a row may not see is not even multiplied by zero,
 * for it could be NaN. A row's sums do not depend on its tile. */
#ifndef MYNA__ATTN_AVX512_H
#define MYNA__ATTN_AVX512_H

#include "kernels/x86/attn_x86.h"
#include <immintrin.h>

INLINE int32_t load32(const void *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return v;
}

INLINE uint16_t load16(const void *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}

typedef void attn_scores(myna__attn_tile *t, int R);
/* o[d..] of rows [first, first + R): n vectors, the last masked. */
typedef void attn_values(const myna__attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask);

INLINE __mmask16 mask_of(int64_t n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1); }

/* ---- accumulators: o in registers ---- */

INLINE void load_o(__m512 acc[A_ROWS][4], const myna__attn_tile *t, int first, int R, int64_t d, int n,
                   __mmask16 mask) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++) acc[r][i] =
      _mm512_maskz_loadu_ps(i == n - 1 ? mask : 0xffff, t->row[first + r].o + d + 16 * i);
}
INLINE void store_o(__m512 acc[A_ROWS][4], const myna__attn_tile *t, int first, int R, int64_t d, int n,
                    __mmask16 mask) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      _mm512_mask_storeu_ps(t->row[first + r].o + d + 16 * i, i == n - 1 ? mask : 0xffff, acc[r][i]);
}

/* ---- softmax ---- */

/* Scores of a row, scaled, capped, and -inf where it may not see. */
INLINE void capped(__m512 x[4], myna__attn_tile *t, int r) {
  const myna__attn_row *row = &t->row[r];
  float *s = t->s[r];
  __m512 scale = _mm512_set1_ps(t->p->scale);
  UNROLL for (int g = 0; g < 4; g++) x[g] = _mm512_mul_ps(_mm512_load_ps(s + 16 * g), scale);
  if (t->p->softcap != 0.0f) {
    UNROLL for (int g = 0; g < 4; g++) _mm512_store_ps(s + 16 * g, x[g]);
    cap_scores(s, t->p->softcap);
    UNROLL for (int g = 0; g < 4; g++) x[g] = _mm512_load_ps(s + 16 * g);
  }
  if (row->lo == 0 && row->hi == 64) return;
  uint64_t seen = (~(uint64_t)0 << row->lo) & (~(uint64_t)0 >> (64 - row->hi));
  UNROLL for (int g = 0; g < 4; g++) x[g] =
      _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), (__mmask16)(seen >> (16 * g)), x[g]);
}

/* ---- tiles ---- */

/* The function is a constant where this is inlined. */
INLINE void tile_scores(myna__attn_tile *t, int n, attn_scores *f) {
  switch (n) {
  case 6: f(t, 6); break;
  case 4: f(t, 4); break;
  case 3: f(t, 3); break;
  case 2: f(t, 2); break;
  default: f(t, 1); break;
  }
}

INLINE void all_values(const myna__attn_tile *t, int first, int R, attn_values *f) {
  int64_t d = 0, dim = t->p->dim_v;
  for (; d + 64 <= dim; d += 64) f(t, first, R, d, 4, 0xffff);
  if (d + 32 <= dim) f(t, first, R, d, 2, 0xffff), d += 32;
  for (; d < dim; d += 16) f(t, first, R, d, 1, mask_of(dim - d));
}

INLINE void tile_values(const myna__attn_tile *t, int first, int n, attn_values *f) {
  for (int R; n > 0; first += R, n -= R) switch (R = myna__attn_tile_rows(n)) {
    case 6: all_values(t, first, 6, f); break;
    case 4: all_values(t, first, 4, f); break;
    case 3: all_values(t, first, 3, f); break;
    case 2: all_values(t, first, 2, f); break;
    default: all_values(t, first, 1, f); break;
    }
}

#endif
