/* attn_values_avx2.h: weighted sums of a page's values for R rows that see the same positions; the order and so the bits are those of ref/attn_impl.h.
 *
 * Elements of 16 bits are widened by each tile of few rows, on ports that multiplications leave free. Many rows have 16 dimensions opened to floats once for all. */
#ifndef MYNA__ATTN_VALUES_AVX2_H
#define MYNA__ATTN_VALUES_AVX2_H

#include "kernels/x86/attn_avx2.h"

/* 8 n values of codes at dims d.. of position j; n > 1: of one half of a group, n > 2: of whole groups. */
INLINE void open_codes(__m256 *v, const uint8_t *c, const float *scale, int64_t d, int n, int bits) {
  const __m128i nibble = _mm_set1_epi8(15), offset = _mm_set1_epi8(8);
  UNROLL for (int i = 0; i < n; i += 2) {
    __m128i x, y;
    const int64_t at = d + 8 * i;
    if (bits == 8) {
      x = _mm_loadl_epi64((const void *)(c + at));
      y = n > 1 ? _mm_loadl_epi64((const void *)(c + at + 8)) : x;
    } else {
      const uint8_t *from = c + at / 32 * 16 + (n == 1 ? at % 16 : 0);
      bool high = n > 2 ? i % 4 == 2 : at % 32 >= 16;
      x = n == 1 ? _mm_loadl_epi64((const void *)from) : _mm_loadu_si128((const void *)from);
      x = _mm_sub_epi8(_mm_and_si128(high ? _mm_srli_epi16(x, 4) : x, nibble), offset);
      y = _mm_srli_si128(x, 8);
    }
    __m256 by = _mm256_broadcast_ss(scale + at / 32);
    v[i] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)), by);
    if (n > 1) v[i + 1] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(y)), by);
  }
}

/* BF16: positions 2 j and 2 j + 1, of which some are seen; what is not may be NaN. */
INLINE void add_all_pairs(sums acc, const float *const *w, tile *t, int64_t d, int R, int n) {
  const int64_t row = t->p->dim_v * 4, pace = t->pace;
  const int lo = t->row->lo, hi = t->row->hi;
  const uint8_t *at = t->p->v + 4 * d, *ahead = t->ahead;
  int j = lo / 2;
  if (lo % 2) add_pairs(acc, w, 2 * j, at + j * row, 64, false, 2 * j + 1 < hi, R, n), j++;
  for (; 2 * j + 1 < hi; j++) {
    ahead = fetch(ahead, pace, MYNA__MAX(n / 2, 1));
    add_pairs(acc, w, 2 * j, at + j * row, 64, true, true, R, n);
  }
  if (2 * j < hi) add_pairs(acc, w, 2 * j, at + j * row, 64, true, false, R, n);
  t->ahead = ahead;
}

/* Values of position j. */
INLINE void load_values(__m256 *v, const tile *t, int j, int64_t d, int n, int kind) {
  const int64_t dim = t->p->dim_v;
  const int bits = kind == MYNA__KV_Q8_0 ? 8 : 4;
  if (kind != MYNA__KV_Q8_0 && kind != MYNA__KV_Q4_0) {
    UNROLL for (int i = 0; i < n; i++) v[i] = load_kv(t->p->v, j * dim + d + 8 * i, kind);
    return;
  }
  const uint8_t *c = t->p->v + myna__kv_scales(dim) + j * myna__v_codes(dim, bits);
  open_codes(v, c, t->scale + j * myna__kv_groups(dim), d, n, bits);
}

/* R rows, n vectors of dimensions from d on. */
INLINE void values_part(tile *t, int R, int n, int64_t d, int kind) {
  const float *w[A_ROWS];
  sums acc;
  __m256 v[A_VECTORS];
  UNROLL for (int r = 0; r < R; r++) {
    w[r] = t->s[r];
    UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm256_loadu_ps(t->row[r].o + d + 8 * i);
  }
  if (kind == MYNA__KV_BF16)
    add_all_pairs(acc, w, t, d, R, n);
  else
    for (int j = t->row->lo; j < t->row->hi; j++) {
      t->ahead = fetch(t->ahead, t->pace, kind == MYNA__KV_F32 ? MYNA__MAX(n / 2, 1) : (n + 3) / 4);
      load_values(v, t, j, d, n, kind);
      add_products(acc, w, j, v, R, n);
    }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      _mm256_storeu_ps(t->row[r].o + d + 8 * i, acc[r][i]);
}

/* Dimensions [d, end) of R rows; rows that take more at a time: all dimensions. */
INLINE void values(tile *t, int R, int64_t d, int64_t end, int kind) {
  const int wide = tile_width(R);
  if (wide > A_WIDE) d = 0, end = t->p->dim_v / 8 * 8;
  for (; d + 8 * wide <= end; d += 8 * wide) values_part(t, R, wide, d, kind);
  for (; d + 8 <= end; d += 8) values_part(t, R, 1, d, kind);
}
/* Innermost steps of all dimensions of a page by R rows. */
static inline int64_t value_steps(int64_t dim, int R, int kind) {
  return dim / 8 / tile_width(R) * (kind == MYNA__KV_BF16 ? MYNA__PAGE / 2 : MYNA__PAGE);
}

/* R rows, 16 dims that were opened for all tiles. */
INLINE void values_opened(tile *t, int R, int64_t d) {
  const float *w[A_ROWS], *x = t->opened;
  const int64_t pace = t->pace;
  const uint8_t *ahead = t->ahead;
  sums acc;
  __m256 v[A_WIDE];
  UNROLL for (int r = 0; r < R; r++) {
    w[r] = t->s[r];
    UNROLL for (int i = 0; i < A_WIDE; i++) acc[r][i] = _mm256_loadu_ps(t->row[r].o + d + 8 * i);
  }
  for (int j = t->row->lo; j < t->row->hi; j++) {
    ahead = fetch(ahead, pace, 1);
    UNROLL for (int i = 0; i < A_WIDE; i++) v[i] = _mm256_loadu_ps(x + 16 * j + 8 * i);
    add_products(acc, w, j, v, R, A_WIDE);
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < A_WIDE; i++)
      _mm256_storeu_ps(t->row[r].o + d + 8 * i, acc[r][i]);
  t->ahead = ahead;
}

/* 16 dims of the positions that the rows see: x[pos][16]. */
INLINE void open_values(float *x, const tile *t, int64_t d, int kind) {
  const int lo = t->row->lo, hi = t->row->hi;
  for (int j = lo / 2; kind == MYNA__KV_BF16 && j < (hi + 1) / 2; j++) {
    const uint8_t *v = t->p->v + (j * t->p->dim_v + d) * 4;
    UNROLL for (int i = 0; i < 2; i++) {
      __m256i pairs = _mm256_loadu_si256((const void *)(v + 32 * i));
      _mm256_store_ps(x + 32 * j + 8 * i, low_half(pairs));
      _mm256_store_ps(x + 32 * j + 16 + 8 * i, high_half(pairs));
    }
  }
  for (int j = lo; kind != MYNA__KV_BF16 && j < hi; j++) {
    __m256 v[2];
    load_values(v, t, j, d, 2, kind);
    UNROLL for (int i = 0; i < 2; i++) _mm256_store_ps(x + 16 * j + 8 * i, v[i]);
  }
}

/* The dimensions that do not fill a vector. */
static void tail_values(const tile *t, int n, int64_t d, int kind) {
  const myna__attn_page *p = t->p;
  const myna_dtype type = kind == MYNA__KV_F32 ? MYNA_F32 : kind == MYNA__KV_F16 ? MYNA_F16 : MYNA_BF16;
  for (int r = 0; r < n; r++) {
    const myna__attn_row *row = &t->row[r];
    if (!myna__kv_facts[kind].groups)
      myna__page_values_tail(p, t->s[r], row->lo, row->hi, row->o, d, type);
    else
      for (int64_t k = d; k < p->dim_v; k++)
        for (int j = row->lo; j < row->hi; j++) {
          const uint8_t *c =
              p->v + myna__kv_scales(p->dim_v) + j * myna__v_codes(p->dim_v, kind == MYNA__KV_Q8_0 ? 8 : 4);
          int code = kind == MYNA__KV_Q8_0 ? (int8_t)c[k] : (c[k / 32 * 16 + k % 16] >> (k / 16 % 2 * 4) & 15) - 8;
          row->o[k] = fmaf(t->s[r][j], (float)code * t->scale[j * myna__kv_groups(p->dim_v) + k / 32], row->o[k]);
        }
  }
}

#endif
