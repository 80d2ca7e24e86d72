/* attn_avx2.c: attention over pages for avx2: the shared source, and integer scores in pairs of int16. */
#include "kernels/ref/attn_level.h"
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* acc[8 pos] += sum over 4 bytes of c[pos][4] * x[4]: even and odd bytes apart, for 255 * 127 * 2 does not fit int16. */
INLINE __m256i dot4(__m256i acc, __m256i c, __m256i x_even, __m256i x_odd) {
  __m256i even = _mm256_and_si256(c, _mm256_set1_epi16(255)), odd = _mm256_srli_epi16(c, 8);
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(even, x_even));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(odd, x_odd));
}

INLINE void dot_word(__m256i acc[2], __m256i c0, __m256i c1, const uint8_t *q) {
  int32_t w;
  memcpy(&w, q, 4);
  __m256i x = _mm256_set1_epi32(w), odd = _mm256_srai_epi16(x, 8), even = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
  acc[0] = dot4(acc[0], c0, even, odd);
  acc[1] = dot4(acc[1], c1, even, odd);
}

/* One row and 16 positions. */
INLINE void scores16(const myna__attn_page *p, const uint8_t *q, float *s, int64_t g, int bits) {
  int64_t dim = p->dim_k, n_word = myna__k_words(dim, bits), n_group = myna__kv_groups(dim);
  const uint8_t *codes = p->k + myna__kv_scales(dim) + g * n_word * 64;
  const uint8_t *dk = p->k + g * n_group * 32;
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int64_t i = 0; i < n_group; i++) {
    int32_t total;
    float dq;
    memcpy(&dq, q + myna__query_d(dim) + 4 * i, 4);
    memcpy(&total, q + myna__query_sum(dim) + 4 * i, 4);
    __m256i acc[2];
    acc[0] = acc[1] = _mm256_set1_epi32(-(1 << (bits - 1)) * total);
    for (int64_t w = i * bits; w < n_word && w < (i + 1) * bits; w++) {
      __m256i c0 = _mm256_loadu_si256((const void *)(codes + w * 64)),
              c1 = _mm256_loadu_si256((const void *)(codes + w * 64 + 32));
      if (bits == 8) {
        dot_word(acc, c0, c1, q + 4 * w);
        continue;
      }
      dot_word(acc, _mm256_and_si256(c0, nibble), _mm256_and_si256(c1, nibble), q + 8 * w);
      dot_word(acc, _mm256_and_si256(_mm256_srli_epi16(c0, 4), nibble),
               _mm256_and_si256(_mm256_srli_epi16(c1, 4), nibble), q + 8 * w + 4);
    }
    for (int h = 0; h < 2; h++) {
      __m256 d =
          _mm256_mul_ps(_mm256_cvtph_ps(_mm_loadu_si128((const void *)(dk + i * 32 + h * 16))), _mm256_set1_ps(dq));
      sum[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[h]), d, sum[h]);
    }
  }
  _mm256_storeu_ps(s, sum[0]);
  _mm256_storeu_ps(s + 8, sum[1]);
}

/* Rows innermost: 16 keys stay in L1 for all of them. */
INLINE void scores_codes(myna__attn_tile *t, int n, int bits) {
  for (int64_t g = 0; g < 4; g++)
    for (int r = 0; r < n; r++)
      if (t->row[r].lo < t->row[r].hi) scores16(t->p, t->row[r].q, t->s[r] + 16 * g, g, bits);
}
static void scores_q8_0_avx2(myna__attn_tile *t, int n) { scores_codes(t, n, 8); }
static void scores_q4_0_avx2(myna__attn_tile *t, int n) { scores_codes(t, n, 4); }

void myna__fill_attn_avx2(myna__ktable *t) {
  myna__fill_attn_level(t);
  t->attn_scores[MYNA__KV_Q8_0] = scores_q8_0_avx2;
  t->attn_scores[MYNA__KV_Q4_0] = scores_q4_0_avx2;
}
