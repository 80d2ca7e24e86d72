/* tile_avx512.h: what the multiply files of the AVX-512 levels share: the shape of a tile and the sweep over columns. */
#ifndef MYNA__TILE_AVX512_H
#define MYNA__TILE_AVX512_H

#include "kernels/table.h"
#include "kernels/x86/pieces_avx512.h"


/* Borders that the compiler does not move loads, stores or tile arithmetic across; no instructions. Without them it
 * keeps copies of sums and accumulators across groups, mixes the phases of a tile and spills its registers. What a
 * tile needs from memory again and again must be in locals. */
#define BORDER() __asm__ volatile("" : : : "memory")

enum { R_MAX = MYNA__GRAIN, C_MAX = 8, C_INT = 4 };

/* All of i is computed here, not later. */
INLINE void settle(__m512i i[R_MAX][C_MAX], int R, int C) {
  UNROLL for (int c = 0; c < C; c++)
    UNROLL for (int r = 0; r < R; r++) __asm__ volatile("" : "+v"(i[r][c]));
  BORDER();
}

/* What a tile needs, with addresses of its columns. */
typedef struct tile {
  const myna__mul *m;
  const uint8_t *panel;      /* of the first strip; the next block's is m->n_strip panels further */
  const uint8_t *row[C_MAX]; /* activation rows */
  float *acc;                /* acc[c * ld + 16 r] */
} tile;

INLINE int32_t load32(const uint8_t *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return v;
}
INLINE float load_float(const uint8_t *p) {
  float v;
  memcpy(&v, p, 4);
  return v;
}

/* ---- all columns of all strips ---- */

typedef void tile_fn(const tile *t, int R, int C);

/* `top`: columns of the widest tile: 8 for floats; 4 for integers, where phases of short tiles overlap in the
 * out-of-order window (48 x 8 lost 4 % in L1 and 10 % in whole matrices against 48 x 4). */
INLINE void columns(const myna__mul *m, int strip, int R, int top, tile_fn *f) {
  tile t = {.m = m, .panel = m->panel + (size_t)strip * myna__panel_bytes(m->type->form)};
  int64_t left = m->n_col;
  const uint8_t *row = m->act.row;
  t.acc = m->acc + strip * MYNA__STRIP;
  while (left > 0) {
    int n = (int)MYNA__MIN(left, top);
    if (n > 4 && n < 8) n = 4;
    for (int c = 0; c < n; c++) t.row[c] = row + (size_t)c * m->act.stride;
    switch (n) {
    case 8:
      if (top == 8) f(&t, R, 8);
      break;
    case 4: f(&t, R, 4); break;
    case 3: f(&t, R, 3); break;
    case 2: f(&t, R, 2); break;
    default: f(&t, R, 1); break;
    }
    left -= n;
    row += (size_t)n * m->act.stride;
    t.acc += n * m->ld_acc;
  }
}

INLINE void sweep(const myna__mul *m, int top, tile_fn *f) {
  if (m->n_strip == R_MAX) {
    columns(m, 0, R_MAX, top, f);
    return;
  }
  for (int s = 0; s < m->n_strip; s++) columns(m, s, 1, top, f);
}

#endif
