/* attn_neon.c: one page of attention for many rows; the order and so the bits are those of ref/attn_impl.h.
 *
 * Rows go in tiles of 4, 2 or 1: what is loaded from the page serves the whole tile. 16 positions x 4 rows of scores are in
 * registers at a time, or 32 x 2, or 32 x 1; of values as many dimensions. What
 * a row may not see is not even multiplied by zero, for it could be NaN. */
#include "kernels/arm/isa_neon.h"
#include "kernels/ref/attn_impl.h"

enum { ACCS = 16, MOST_ROWS = 4 };

typedef myna__attn_tile attn_tile;

/* n vectors of F32 or F16 elements from `at` on, in elements. */
INLINE void load_kv(vf *v, int n, const uint8_t *p, int64_t at, int kind) {
  UNROLL for (int i = 0; i < n; i++) {
    if (kind == MYNA__KV_F32)
      v[i] = vi_as_f32(vi_load(p + 4 * (at + 4 * i)));
    else
      v[i] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 2 * (at + 4 * i))));
  }
}

/* Vectors of positions or dimensions that a tile of R rows takes at a time: what is loaded must fit beside the sums. */
INLINE int tile_width(int R) { return R == 1 ? 8 : 16 / R; }

/* ---- scores: R rows, n vectors of positions from 4 * g0 on ---- */

/* Dimension d, of pairs also d + 1 unless it is `last`. */
INLINE void add_scores(vf acc[MOST_ROWS][ACCS], const attn_tile *t, int first, int R, int n, int g0, int64_t d,
                       bool last, int kind) {
  const int64_t dim = t->p->dim_k;
  vf x[MOST_ROWS], y[MOST_ROWS];
  UNROLL for (int r = 0; r < R; r++) {
    const float *q = t->row[first + r].q;
    x[r] = vf_set(q[d]);
    y[r] = last ? vf_zero() : vf_set(q[d + 1]);
  }
  UNROLL for (int i = 0; i < n; i++) { /* 16 positions are together */
    const int64_t g = (g0 + i) / 4, lane = (g0 + i) % 4 * 4;
    vf k[2];
    if (kind == MYNA__KV_BF16)
      widen_bf16_pair(&k[0], &k[1], vi_load(t->p->k + 4 * ((g * ((dim + 1) / 2) + d / 2) * 16 + lane)));
    else
      load_kv(k, 1, t->p->k, (g * dim + d) * 16 + lane, kind);
    UNROLL for (int r = 0; r < R; r++) {
      acc[r][i] = vf_fma(x[r], k[0], acc[r][i]);
      if (kind == MYNA__KV_BF16) acc[r][i] = vf_fma(y[r], k[1], acc[r][i]);
    }
  }
}
INLINE void scores(attn_tile *t, int first, int R, int n, int g0, int kind) {
  const int64_t dim = t->p->dim_k;
  vf acc[MOST_ROWS][ACCS];
  int64_t d = 0;
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++) acc[r][i] = vf_zero();
  if (kind == MYNA__KV_BF16) {
    for (; d + 2 <= dim; d += 2) add_scores(acc, t, first, R, n, g0, d, false, kind);
    if (d < dim) add_scores(acc, t, first, R, n, g0, d, true, kind);
  } else {
    for (; d < dim; d++) add_scores(acc, t, first, R, n, g0, d, true, kind);
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      vf_store(t->s[first + r] + 4 * (g0 + i), acc[r][i]);
}

/* ---- values: R rows, n vectors of dimensions from d on ---- */

/* Positions 2 j and 2 j + 1; what is not seen may be NaN. */
INLINE void add_value_pairs(vf acc[MOST_ROWS][ACCS], const attn_tile *t, int first, int R, int n, int64_t d, int j,
                            bool low, bool high) {
  UNROLL for (int i = 0; i < n; i++) {
    vf a, b;
    widen_bf16_pair(&a, &b, vi_load(t->p->v + 4 * (j * t->p->dim_v + d + 4 * i)));
    if (!low) a = vf_zero();
    if (!high) b = vf_zero();
    UNROLL for (int r = 0; r < R; r++) {
      const float *w = t->s[first + r] + 2 * j;
      acc[r][i] = vf_fma(vf_set(w[1]), b, vf_fma(vf_set(w[0]), a, acc[r][i]));
    }
  }
}
INLINE void values(const attn_tile *t, int first, int R, int n, int64_t d, int kind) {
  const int64_t dim = t->p->dim_v;
  const int lo = t->row[first].lo, hi = t->row[first].hi;
  vf acc[MOST_ROWS][ACCS];
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++) acc[r][i] =
      vf_load(t->row[first + r].o + d + 4 * i);
  if (kind == MYNA__KV_BF16) {
    int j = lo / 2;
    if (lo % 2) {
      add_value_pairs(acc, t, first, R, n, d, j, false, 2 * j + 1 < hi);
      j++;
    }
    for (; 2 * j + 1 < hi; j++) add_value_pairs(acc, t, first, R, n, d, j, true, true);
    if (2 * j < hi) add_value_pairs(acc, t, first, R, n, d, j, true, false);
  } else {
    for (int j = lo; j < hi; j++) {
      vf v[ACCS];
      load_kv(v, n, t->p->v, j * dim + d, kind);
      UNROLL for (int r = 0; r < R; r++) {
        vf w = vf_set(t->s[first + r][j]);
        UNROLL for (int i = 0; i < n; i++) acc[r][i] = vf_fma(w, v[i], acc[r][i]);
      }
    }
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      vf_store(t->row[first + r].o + d + 4 * i, acc[r][i]);
}

/* All dimensions of R rows that see the same positions. */
INLINE void all_values(const attn_tile *t, int first, int R, int kind) {
  const myna__attn_page *p = t->p;
  const int wide = tile_width(R);
  int64_t d = 0;
  for (; d + 4 * wide <= p->dim_v; d += 4 * wide) values(t, first, R, wide, d, kind);
  for (; d + 4 <= p->dim_v; d += 4) values(t, first, R, 1, d, kind);
  if (d == p->dim_v) return;
  const myna_dtype type = kind == MYNA__KV_F32 ? MYNA_F32 : kind == MYNA__KV_F16 ? MYNA_F16 : MYNA_BF16;
  for (int r = first; r < first + R; r++)
    myna__page_values_tail(p, t->s[r], t->row[r].lo, t->row[r].hi, t->row[r].o, d, type);
}

/* ---- all rows of a tile, 4, 2 or 1 at a time ---- */

INLINE void score_rows(attn_tile *t, int first, int R, int kind) {
  for (int g = 0; g < 16; g += tile_width(R)) scores(t, first, R, tile_width(R), g, kind);
}
INLINE void tile_scores(attn_tile *t, int n, int kind) {
  int r = 0;
  for (; r + 4 <= n; r += 4) SEPARATE(score_rows(t, r, 4, kind));
  for (; r + 2 <= n; r += 2) SEPARATE(score_rows(t, r, 2, kind));
  if (r < n) SEPARATE(score_rows(t, r, 1, kind));
}
INLINE void tile_values(const attn_tile *t, int first, int n, int kind) {
  const int end = first + n;
  for (; first + 4 <= end; first += 4) SEPARATE(all_values(t, first, 4, kind));
  for (; first + 2 <= end; first += 2) SEPARATE(all_values(t, first, 2, kind));
  if (first < end) SEPARATE(all_values(t, first, 1, kind));
}

static void scores_f32(attn_tile *t, int n) { tile_scores(t, n, MYNA__KV_F32); }
static void scores_f16(attn_tile *t, int n) { tile_scores(t, n, MYNA__KV_F16); }
static void scores_bf16(attn_tile *t, int n) { tile_scores(t, n, MYNA__KV_BF16); }
static void values_f32(const attn_tile *t, int first, int n) { tile_values(t, first, n, MYNA__KV_F32); }
static void values_f16(const attn_tile *t, int first, int n) { tile_values(t, first, n, MYNA__KV_F16); }
static void values_bf16(const attn_tile *t, int first, int n) { tile_values(t, first, n, MYNA__KV_BF16); }

void myna__fill_attn_neon(myna__ktable *t) {
  t->attn_scores[MYNA__KV_F32] = scores_f32;
  t->attn_scores[MYNA__KV_F16] = scores_f16;
  t->attn_scores[MYNA__KV_BF16] = scores_bf16;
  t->attn_values[MYNA__KV_F32] = values_f32;
  t->attn_values[MYNA__KV_F16] = values_f16;
  t->attn_values[MYNA__KV_BF16] = values_bf16;
}
