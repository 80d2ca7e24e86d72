/* attn_avx2.h: what the tiles of AVX2 attention are made of: rows over a page, loads that widen, and fetching ahead.
 *
 * What is loaded from the page serves the whole tile: 6 rows x 2 vectors of positions (scores) or dimensions (values) are 12 accumulators, which leaves registers for
 * two vectors of the page and one of the row. Fewer rows take more vectors, so that there are always enough sums to hide the latency of a multiply-add.
 *
 * Few rows wait for memory, so what comes next is fetched at a steady pace and in the order of memory: this page's V while K is read, the next page's K while V is; of small
 * pages K while K is read and V while V is. Either is about 16 KB, which stay in L1 beside what is being read and are far enough. */
#ifndef MYNA__ATTN_AVX2_H
#define MYNA__ATTN_AVX2_H

#include "kernels/x86/attn_x86.h"

enum { A_VECTORS = 8, A_WIDE = 2 /* vectors of a tile of 3 rows and more */, A_NEAR = 20 << 10 /* bytes */ };
typedef __m256 sums[A_ROWS][A_VECTORS];

/* Some rows over a page. */
typedef struct tile {
  const myna__attn_page *p;
  myna__attn_row *row;
  float (*s)[MYNA__PAGE];
  const float *scale;       /* of values of codes: [pos][dim / 32] */
  const float *opened;      /* 16 dims of values: [pos][16] */
  int64_t bytes_k, bytes_v; /* of the page */
  const uint8_t *ahead;     /* what is fetched next, */
  int64_t pace;             /* and how many bytes with each step of the innermost loop; 0: nothing new */
} tile;

/* Vectors of 8 positions or dimensions that R rows take at a time. */
INLINE int tile_width(int R) { return R == 1 ? 8 : R == 2 ? 4 : A_WIDE; }

/* Is what is fetched a whole page ahead rather than half of one? */
static inline bool whole_ahead(const tile *t) { return t->bytes_k + t->bytes_v <= A_NEAR; }
/* One step of fetching, of n lines at most. */
INLINE const uint8_t *fetch(const uint8_t *at, int64_t pace, int n) {
  UNROLL for (int i = 0; i < n; i++) _mm_prefetch((const char *)at + i * 64, _MM_HINT_T0);
  return at + pace;
}
/* Bytes per step such that `steps` of them fetch `bytes`. */
static inline int64_t pace_of(int64_t bytes, int64_t steps) { return steps > 0 && bytes > 0 ? bytes / steps : 0; }

/* 8 elements from `at` on, in elements. */
INLINE __m256 load_kv(const uint8_t *p, int64_t at, int kind) {
  if (kind == MYNA__KV_F32) return _mm256_loadu_ps((const float *)(const void *)p + at);
  return _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 2 * at)));
}
/* The two bf16 of 8 pairs. */
INLINE __m256 low_half(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
INLINE __m256 high_half(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000u)));
}
/* What lies there is loaded again rather than kept: in registers that the sums want. */
INLINE void again(const uint8_t **p) { __asm__("" : "+r"(*p)); }

INLINE __m256i broadcast32(const uint8_t *p) {
  int32_t x;
  memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
}
/* acc[r][i] += x[r][at] * v[i] */
INLINE void add_products(sums acc, const float *const *x, int64_t at, const __m256 *v, int R, int n) {
  UNROLL for (int r = 0; r < R; r++) {
    __m256 b = _mm256_broadcast_ss(x[r] + at);
    UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm256_fmadd_ps(b, v[i], acc[r][i]);
  }
}

/* acc[r][i] += x[r][at] * low half of pair i, then x[r][at + 1] * high half: vectors i and i + 1 of each 64 bytes, which lie `apart` from each other. high: is there a second one? */
INLINE void add_pairs(sums acc, const float *const *x, int64_t at, const uint8_t *pairs, int64_t apart, bool low,
                      bool high, int R, int n) {
  __m256 v[A_VECTORS], b[A_ROWS], c[A_ROWS];
  if (R <= 2) { /* many vectors: rows stay in registers, each pair is opened where it is used */
    UNROLL for (int r = 0; r < R; r++) {
      b[r] = _mm256_broadcast_ss(x[r] + at);
      c[r] = high ? _mm256_broadcast_ss(x[r] + at + 1) : b[r];
    }
    UNROLL for (int i = 0; i < n; i++) {
      __m256i both = _mm256_loadu_si256((const void *)(pairs + i / 2 * apart + i % 2 * 32));
      __m256 l = low_half(both), h = high_half(both);
      UNROLL for (int r = 0; low && r < R; r++) acc[r][i] = _mm256_fmadd_ps(b[r], l, acc[r][i]);
      UNROLL for (int r = 0; high && r < R; r++) acc[r][i] = _mm256_fmadd_ps(c[r], h, acc[r][i]);
    }
    return;
  }
  if (low) {
    UNROLL for (int i = 0; i < n; i++) v[i] =
        low_half(_mm256_loadu_si256((const void *)(pairs + i / 2 * apart + i % 2 * 32)));
    add_products(acc, x, at, v, R, n);
  }
  if (high) {
    if (R != 4) again(&pairs);
    UNROLL for (int i = 0; i < n; i++) v[i] =
        high_half(_mm256_loadu_si256((const void *)(pairs + i / 2 * apart + i % 2 * 32)));
    add_products(acc, x, at + 1, v, R, n);
  }
}

#endif
