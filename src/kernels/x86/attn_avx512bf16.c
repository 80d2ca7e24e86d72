/* attn_avx512bf16.c: attention over BF16 pages with VDPBF16PS: two dimensions or two positions per lane and instruction.
 *
 * Queries (scaled) and weights are rounded to bf16; l sums the rounded weights, so that they still add up to one. The rounding
 * of the sums is the instruction's; this level's bits differ from the others'. Small tiles, which wait for memory, fetch the next
 * page while they work on this one: 1.45 times the bandwidth in decode. */
#include "kernels/x86/attn_avx512.h"

/* q * scale as bf16 pairs. */
static void query_bf16(void *to, const float *q, int64_t dim, float scale) {
  uint16_t *h = to;
  int64_t d = 0;
  for (; d < dim; d += 16) {
    __mmask16 m = dim - d >= 16 ? 0xffff : (__mmask16)((1u << (dim - d)) - 1);
    __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, q + d), _mm512_set1_ps(scale));
    _mm256_storeu_si256((void *)(h + d),
                        (__m256i)_mm512_cvtneps_pbh(x)); /* the padding of the row takes what is past dim */
  }
}

INLINE __m512bh load_bf(const uint16_t *p) { return (__m512bh)_mm512_loadu_si512(p); }

INLINE void tile_bf16(myna__attn_tile *t, int R) {
  int64_t half = (t->p->dim_k + 1) / 2;
  const uint16_t *k[4] = {(const void *)t->p->k};
  const uint8_t *q[A_ROWS], *next = t->p->next_k;
  __m512 acc[A_ROWS][4];
  UNROLL for (int g = 1; g < 4; g++) k[g] = k[0] + g * half * 32;
  UNROLL for (int r = 0; r < R; r++) {
    q[r] = t->row[r].q;
    UNROLL for (int g = 0; g < 4; g++) acc[r][g] = _mm512_setzero_ps();
  }
  for (int64_t d = 0; d < half; d++) {
    __m512bh v[4];
    UNROLL for (int g = 0; g < 4; g++) v[g] = load_bf(k[g] + d * 32);
    UNROLL for (int g = 0; g < 4; g++) fetch_next(next + (d * 4 + g) * 64, R);
    UNROLL for (int r = 0; r < R; r++) {
      __m512bh x = (__m512bh)_mm512_set1_epi32(load32(q[r] + 4 * d));
      UNROLL for (int g = 0; g < 4; g++) acc[r][g] = _mm512_dpbf16_ps(acc[r][g], v[g], x);
    }
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int g = 0; g < 4; g++) _mm512_store_ps(t->s[r] + 16 * g, acc[r][g]);
}

/* e^x for x <= 0, relative error 8e-5 (bf16 keeps 2e-3): 2^n times a polynomial of t - n, n = t to nearest, t = x log2 e. As
 * myna__exp, but short. What underflows becomes 1e-38, which is less than any sum can hold. */
INLINE __m512 exp_low(__m512 x) {
  const __m512 log2e = _mm512_set1_ps(1.44269504f), magic = _mm512_set1_ps(12582912.0f);
  x = _mm512_max_ps(_mm512_set1_ps(-87.0f), x); /* the second operand if it is NaN */
  __m512 z = _mm512_fmadd_ps(x, log2e, magic), f = _mm512_fmsub_ps(x, log2e, _mm512_sub_ps(z, magic));
  __m512 y = _mm512_set1_ps(5.517166907e-02f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.426111222e-01f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.932609855e-01f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.999280735e-01f));
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), _mm512_slli_epi32(_mm512_castps_si512(z), 23)));
}

INLINE void soften_dot(myna__attn_tile *t, int r) {
  myna__attn_row *row = &t->row[r];
  float *s = t->s[r];
  __m512 x[4], max = _mm512_set1_ps(-INFINITY);
  capped(x, t, r);
  UNROLL for (int g = 0; g < 4; g++) max = _mm512_max_ps(x[g], max); /* the second operand if one is NaN */
  if (_mm512_cmp_ps_mask(max, _mm512_set1_ps(row->m), _CMP_GT_OQ)) rescale(row, _mm512_reduce_max_ps(max), t->p->dim_v);
  __m512 m = _mm512_set1_ps(row->m == -INFINITY ? 0.0f : row->m), l = _mm512_loadu_ps(row->l);
  UNROLL for (int g = 0; g < 4; g += 2) {
    __m512bh w = _mm512_cvtne2ps_pbh(exp_low(_mm512_sub_ps(x[g + 1], m)), exp_low(_mm512_sub_ps(x[g], m)));
    l = _mm512_dpbf16_ps(l, w, (__m512bh)_mm512_set1_epi32(0x3f803f80)); /* ones */
    _mm512_store_si512((char *)s + 32 * g, (__m512i)w);
  }
  _mm512_storeu_ps(row->l, l);
}

/* The pair of positions 2j, 2j + 1; seen: which of the two. */
INLINE void values_pair(__m512 acc[A_ROWS][4], const myna__attn_tile *t, const uint16_t *v, int64_t j, int first, int R,
                        int n, __mmask16 mask, uint32_t seen) {
  __m512i x[4];
  int64_t ahead = t->p->next_v - t->p->v;
  v += j * t->p->dim_v * 2;
  UNROLL for (int i = 0; i < n; i++) fetch_next((const uint8_t *)v + ahead + 64 * i, R);
  UNROLL for (int i = 0; i < n; i++) x[i] =
      i == n - 1 && n == 1 ? _mm512_maskz_loadu_epi32(mask, v) : _mm512_loadu_si512(v + 32 * i);
  if (seen != ~0u) UNROLL for (int i = 0; i < n; i++) x[i] = _mm512_and_si512(x[i], _mm512_set1_epi32((int)seen));
  UNROLL for (int r = 0; r < R; r++) {
    __m512bh w = (__m512bh)_mm512_set1_epi32(load32((const uint8_t *)t->s[first + r] + 4 * j));
    UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm512_dpbf16_ps(acc[r][i], (__m512bh)x[i], w);
  }
}

INLINE void run_bf16(const myna__attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask) {
  const uint16_t *v = (const uint16_t *)(const void *)t->p->v + d * 2;
  int lo = t->row[first].lo, hi = t->row[first].hi, to = hi / 2, j = (lo + 1) / 2;
  uint32_t low = 0x0000ffffu, high = 0xffff0000u;
  __m512 acc[A_ROWS][4];
  load_o(acc, t, first, R, d, n, mask);
  if (lo % 2) values_pair(acc, t, v, lo / 2, first, R, n, mask, high);
  for (; j < to; j++) values_pair(acc, t, v, j, first, R, n, mask, ~0u);
  if (hi % 2) values_pair(acc, t, v, to, first, R, n, mask, low);
  store_o(acc, t, first, R, d, n, mask);
}

static void scores_bf16_dot(myna__attn_tile *t, int n) { tile_scores(t, n, tile_bf16); }
static void soften_bf16_dot(myna__attn_tile *t, int r) { soften_dot(t, r); }
static void values_bf16_dot(const myna__attn_tile *t, int first, int n) { tile_values(t, first, n, run_bf16); }

void myna__fill_attn_avx512bf16(myna__ktable *t) {
  if (!t->bf16_dot) return; /* VDPBF16PS would be slower than the float tiles of avx512 */
  t->attn_scores[MYNA__KV_BF16] = scores_bf16_dot;
  t->attn_query[MYNA__KV_BF16] = query_bf16;
  t->attn_soften[MYNA__KV_BF16] = soften_bf16_dot;
  t->attn_values[MYNA__KV_BF16] = values_bf16_dot;
  t->attn_open_k[MYNA__KV_BF16] = t->attn_open_v[MYNA__KV_BF16] = NULL;
}
