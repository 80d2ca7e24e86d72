/* attn_scores_avx2.h: scores of R rows over a page; the order and so the bits are those of ref/attn_impl.h.
 *
 * Keys of codes are multiplied as integers: bytes as even and odd int16, whose pairs fit int32 (255 * 127 * 2 does not fit int16); nibbles in int16, for a whole group fits
 * (8 * 2 * 15 * 127 = 30480). */
#ifndef MYNA__ATTN_SCORES_AVX2_H
#define MYNA__ATTN_SCORES_AVX2_H

#include "kernels/x86/attn_avx2.h"

/* R rows, n vectors of positions from 8 * g on. */
INLINE void scores_floats(tile *t, int R, int n, int g, int kind) {
  const int64_t dim = t->p->dim_k, half = (dim + 1) / 2, pace = t->pace;
  const uint8_t *k = t->p->k, *ahead = t->ahead;
  const float *q[A_ROWS];
  sums acc;
  __m256 v[A_VECTORS];
  UNROLL for (int r = 0; r < R; r++) {
    q[r] = t->row[r].q;
    UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm256_setzero_ps();
  }
  for (int64_t d = 0; kind == MYNA__KV_BF16 && d < half; d++) {
    ahead = fetch(ahead, pace, n / 2);
    add_pairs(acc, q, 2 * d, k + (g / 2 * half + d) * 64 + g % 2 * 32, half * 64, true, 2 * d + 1 < dim, R, n);
  }
  for (int64_t d = 0; kind != MYNA__KV_BF16 && d < dim; d++) {
    ahead = fetch(ahead, pace, kind == MYNA__KV_F32 ? n / 2 : (n + 3) / 4);
    UNROLL for (int i = 0; i < n; i++) v[i] = load_kv(k, ((g + i) / 2 * dim + d) * 16 + (g + i) % 2 * 8, kind);
    add_products(acc, q, d, v, R, n);
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      _mm256_storeu_ps(t->s[r] + 8 * (g + i), acc[r][i]);
  t->ahead = ahead;
}

/* ---- codes ---- */

/* Behind what every level keeps of a query: per word of 4 codes its even and odd bytes as int16 (Q8_0), then per group what the offset of the keys' codes adds up to. */
INLINE int64_t query_pairs(int64_t dim) { return myna__query_sum(dim) + 4 * myna__kv_groups(dim); }
INLINE int64_t query_offset(int64_t dim) { return query_pairs(dim) + 2 * myna__query_d(dim); }

INLINE void prepare_query(uint8_t *to, const float *q, int64_t dim, float scale, int bits) {
  myna__query_codes(to, q, dim, scale);
  const int8_t *c = (const int8_t *)to;
  int16_t pair[4];
  for (int64_t d = 0; bits == 8 && d < dim; d += 4) {
    for (int i = 0; i < 4; i++) pair[i / 2 + i % 2 * 2] = c[d + i];
    memcpy(to + query_pairs(dim) + 2 * d, pair, sizeof pair);
  }
  for (int64_t i = 0; i < myna__kv_groups(dim); i++) {
    int32_t sum;
    memcpy(&sum, to + myna__query_sum(dim) + 4 * i, 4);
    sum *= -(1 << (bits - 1));
    memcpy(to + query_offset(dim) + 4 * i, &sum, 4);
  }
}

typedef __m256i counts[4][2]; /* [row][8 positions] */

/* 4 dims: acc += c x. */
INLINE void dot_bytes(counts acc, const uint8_t *c, const uint8_t *const *q, int64_t w, int64_t at_pairs, int R) {
  __m256i even[2], odd[2];
  UNROLL for (int i = 0; i < 2; i++) {
    __m256i x = _mm256_loadu_si256((const void *)(c + 32 * i));
    even[i] = _mm256_and_si256(x, _mm256_set1_epi16(255));
    odd[i] = _mm256_srli_epi16(x, 8);
  }
  UNROLL for (int r = 0; r < R; r++) {
    __m256i x = broadcast32(q[r] + at_pairs + 8 * w), y = broadcast32(q[r] + at_pairs + 8 * w + 4);
    UNROLL for (int i = 0; i < 2; i++) {
      acc[r][i] = _mm256_add_epi32(acc[r][i], _mm256_madd_epi16(even[i], x));
      acc[r][i] = _mm256_add_epi32(acc[r][i], _mm256_madd_epi16(odd[i], y));
    }
  }
}
/* 8 dims, in int16. */
INLINE void dot_nibbles(counts acc, const uint8_t *c, const uint8_t *const *q, int64_t w, int R) {
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256i low[2], high[2];
  UNROLL for (int i = 0; i < 2; i++) {
    __m256i x = _mm256_loadu_si256((const void *)(c + 32 * i));
    low[i] = _mm256_and_si256(x, nibble);
    high[i] = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
  }
  UNROLL for (int r = 0; r < R; r++) {
    __m256i x = broadcast32(q[r] + 8 * w), y = broadcast32(q[r] + 8 * w + 4);
    UNROLL for (int i = 0; i < 2; i++) {
      acc[r][i] = _mm256_add_epi16(acc[r][i], _mm256_maddubs_epi16(low[i], x));
      acc[r][i] = _mm256_add_epi16(acc[r][i], _mm256_maddubs_epi16(high[i], y));
    }
  }
}

/* R <= 4 rows, 16 positions from 16 * g on. */
INLINE void scores_codes(tile *t, int R, int64_t g, int bits) {
  const int64_t dim = t->p->dim_k, n_word = myna__k_words(dim, bits), n_group = myna__kv_groups(dim), pace = t->pace,
                at_d = myna__query_d(dim), at_offset = query_offset(dim), at_pairs = query_pairs(dim);
  const uint8_t *codes = t->p->k + myna__kv_scales(dim) + g * n_word * 64, *dk = t->p->k + g * n_group * 32,
                *ahead = t->ahead, *q[4];
  __m256 s[4][2];
  UNROLL for (int r = 0; r < R; r++) q[r] = t->row[r].q, s[r][0] = s[r][1] = _mm256_setzero_ps();
  for (int64_t k = 0; k < n_group; k++) {
    const int64_t end = MYNA__MIN((k + 1) * bits, n_word);
    counts acc;
    UNROLL for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] =
        bits == 8 ? broadcast32(q[r] + at_offset + 4 * k) : _mm256_setzero_si256();
    for (int64_t w = k * bits; w < end; w++) {
      ahead = fetch(ahead, pace, 1);
      if (bits == 8)
        dot_bytes(acc, codes + 64 * w, q, w, at_pairs, R);
      else
        dot_nibbles(acc, codes + 64 * w, q, w, R);
    }
    UNROLL for (int i = 0; i < 2; i++) {
      __m256 d = _mm256_cvtph_ps(_mm_loadu_si128((const void *)(dk + 32 * k + 16 * i)));
      UNROLL for (int r = 0; r < R; r++) {
        __m256i sum = acc[r][i];
        if (bits == 4)
          sum = _mm256_add_epi32(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)), broadcast32(q[r] + at_offset + 4 * k));
        __m256 dq = _mm256_castsi256_ps(broadcast32(q[r] + at_d + 4 * k));
        s[r][i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(d, dq), s[r][i]);
      }
    }
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < 2; i++)
      _mm256_storeu_ps(t->s[r] + 16 * g + 8 * i, s[r][i]);
  t->ahead = ahead;
}

/* R rows, 16 positions from 16 * g on; rows that take more at a time: all positions. */
INLINE void scores(tile *t, int R, int64_t g, int kind) {
  if (kind == MYNA__KV_Q8_0 || kind == MYNA__KV_Q4_0)
    scores_codes(t, MYNA__MIN(R, 4), g, kind == MYNA__KV_Q8_0 ? 8 : 4);
  else if (tile_width(R) == A_WIDE)
    scores_floats(t, R, A_WIDE, 2 * (int)g, kind);
  else
    for (int i = 0; i < 8; i += tile_width(R)) scores_floats(t, R, tile_width(R), i, kind);
}

/* Innermost steps of all positions by R rows. */
static inline int64_t score_steps(int64_t dim, int R, int kind) {
  if (kind == MYNA__KV_Q8_0 || kind == MYNA__KV_Q4_0) return 4 * myna__k_words(dim, kind == MYNA__KV_Q8_0 ? 8 : 4);
  return 8 / tile_width(R) * (kind == MYNA__KV_BF16 ? (dim + 1) / 2 : dim);
}

#endif
