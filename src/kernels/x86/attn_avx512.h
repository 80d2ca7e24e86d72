/* attn_avx512.h: one page of attention for many rows: what the AVX-512 levels share.
 *
 * Rows go in tiles of up to 6: 6 rows x 4 vectors of 16 make 24 accumulators, so that each vector loaded from the page serves the
 * whole tile. Per tile: scores of all 64 positions, softmax row by row, then o += p v, 64 dimensions at a time. On a page that
 * some rows see only in part the values are added in runs of rows that see the same positions [lo, hi): what a row may not see
 * is not even multiplied by zero, for it could be NaN. A row's sums do not depend on its tile. */
#ifndef MYNA__ATTN_AVX512_H
#define MYNA__ATTN_AVX512_H

#include "kernels/table.h"
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#pragma clang diagnostic ignored "-Wpass-failed" /* below -O2 nothing is unrolled */
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE int32_t load32(const void *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return v;
}

enum { A_ROWS = 6 };

typedef struct attn_tile {
  _Alignas(64) float s[A_ROWS][64]; /* scores, then weights: floats, or 64 bf16 */
  const myna__attn_page *p;
  myna__attn_row *row;
} attn_tile;

typedef void attn_scores(attn_tile *t, int R);
typedef void attn_softmax(attn_tile *t, int r);
/* o[d..] of rows [first, first + R): n vectors, the last masked. */
typedef void attn_values(const attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask);

/* ---- accumulators: o in registers ---- */

INLINE void load_o(__m512 acc[A_ROWS][4], const attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++) acc[r][i] =
      _mm512_maskz_loadu_ps(i == n - 1 ? mask : 0xffff, t->row[first + r].o + d + 16 * i);
}
INLINE void store_o(__m512 acc[A_ROWS][4], const attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      _mm512_mask_storeu_ps(t->row[first + r].o + d + 16 * i, i == n - 1 ? mask : 0xffff, acc[r][i]);
}

/* ---- the walk ---- */

INLINE void all_values(const attn_tile *t, int first, int R, attn_values *f) {
  int64_t d = 0, dim = t->p->dim_v;
  for (; d + 64 <= dim; d += 64) f(t, first, R, d, 4, 0xffff);
  if (d + 32 <= dim) f(t, first, R, d, 2, 0xffff), d += 32;
  for (; d < dim; d += 16) f(t, first, R, d, 1, dim - d >= 16 ? 0xffff : (__mmask16)((1u << (dim - d)) - 1));
}

/* Rows that share a tile: 6 at a time, the rest evenly. */
INLINE int tile_rows(int left) { return left >= 9 || left == 6 ? 6 : left >= 7 ? 4 : left == 5 ? 3 : left; }

INLINE void run_values(const attn_tile *t, int first, int n, attn_values *f) {
  for (int R; n > 0; first += R, n -= R) switch (R = tile_rows(n)) {
    case 6: all_values(t, first, 6, f); break;
    case 4: all_values(t, first, 4, f); break;
    case 3: all_values(t, first, 3, f); break;
    case 2: all_values(t, first, 2, f); break;
    default: all_values(t, first, 1, f); break;
    }
}

/* The functions come one by one: in a struct they would be inlined too late, after the cases of a switch were merged. */
INLINE void attn_page(const myna__attn_page *p, attn_scores *scores, attn_softmax *softmax, attn_values *values) {
  attn_tile t;
  t.p = p;
  for (int i = 0, R; i < p->n_row; i += R) {
    t.row = p->row + i;
    switch (R = tile_rows(p->n_row - i)) {
    case 6: scores(&t, 6); break;
    case 4: scores(&t, 4); break;
    case 3: scores(&t, 3); break;
    case 2: scores(&t, 2); break;
    default: scores(&t, 1); break;
    }
    for (int r = 0; r < R; r++)
      if (t.row[r].lo < t.row[r].hi) softmax(&t, r);
    for (int from = 0, to; from < R; from = to) {
      for (to = from + 1; to < R && t.row[to].lo == t.row[from].lo && t.row[to].hi == t.row[from].hi;) to++;
      if (t.row[from].lo < t.row[from].hi) run_values(&t, from, to - from, values);
    }
  }
}

#endif
