/* attn_avx512.c: attention with float arithmetic in tiles of rows; the order and so the bits are those of ref/attn_impl.h. */
#include "kernels/ref/attn_impl.h"
#include "kernels/x86/attn_avx512.h"

/* Elements of 16 dimensions or positions from `at` (in elements). */
INLINE __m512 load_kv(const uint8_t *p, int64_t at, int kind) {
  if (kind == MYNA__KV_F32) return _mm512_loadu_ps(p + 4 * at);
  return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p + 2 * at)));
}
INLINE __m512 low_half(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
INLINE __m512 high_half(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
}

/* ---- scores ---- */

INLINE void scores(attn_tile *t, int R, int kind) {
  int64_t dim = t->p->dim_k;
  const float *q[A_ROWS];
  __m512 acc[A_ROWS][4];
  UNROLL for (int r = 0; r < R; r++) {
    q[r] = t->row[r].q;
    UNROLL for (int g = 0; g < 4; g++) acc[r][g] = _mm512_setzero_ps();
  }
  for (int64_t d = 0; d < dim; d++) {
    __m512 k[4];
    UNROLL for (int g = 0; g < 4; g++) k[g] = load_kv(t->p->k, (g * dim + d) * 16, kind);
    UNROLL for (int r = 0; r < R; r++) {
      __m512 x = _mm512_set1_ps(q[r][d]);
      UNROLL for (int g = 0; g < 4; g++) acc[r][g] = _mm512_fmadd_ps(x, k[g], acc[r][g]);
    }
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int g = 0; g < 4; g++) _mm512_store_ps(t->s[r] + 16 * g, acc[r][g]);
}

/* Pairs of bf16 take two registers each: 32 positions at a time. */
INLINE void scores_pairs(attn_tile *t, int R) {
  int64_t dim = t->p->dim_k, half = (dim + 1) / 2;
  for (int g = 0; g < 4; g += 2) {
    const uint8_t *k = t->p->k + g * half * 64;
    __m512 acc[A_ROWS][2];
    UNROLL for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
    for (int64_t d = 0; d < half; d++) {
      __m512i a = _mm512_loadu_si512(k + d * 64), b = _mm512_loadu_si512(k + (half + d) * 64);
      UNROLL for (int r = 0; r < R; r++) {
        const float *q = t->row[r].q;
        __m512 x = _mm512_set1_ps(q[2 * d]), y = _mm512_set1_ps(2 * d + 1 < dim ? q[2 * d + 1] : 0.0f);
        acc[r][0] = _mm512_fmadd_ps(y, high_half(a), _mm512_fmadd_ps(x, low_half(a), acc[r][0]));
        acc[r][1] = _mm512_fmadd_ps(y, high_half(b), _mm512_fmadd_ps(x, low_half(b), acc[r][1]));
      }
    }
    UNROLL for (int r = 0; r < R; r++) {
      _mm512_store_ps(t->s[r] + 16 * g, acc[r][0]);
      _mm512_store_ps(t->s[r] + 16 * g + 16, acc[r][1]);
    }
  }
}

static void softmax(attn_tile *t, int r) { myna__page_softmax(t->p, &t->row[r], t->s[r]); }

/* ---- values ---- */

INLINE void values(const attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask, int kind) {
  __m512 acc[A_ROWS][4];
  int64_t dim = t->p->dim_v;
  load_o(acc, t, first, R, d, n, mask);
  for (int j = t->row[first].lo; j < t->row[first].hi; j++) {
    __m512 v[4];
    if (n > 1)
      UNROLL for (int i = 0; i < n; i++) v[i] = load_kv(t->p->v, j * dim + d + 16 * i, kind);
    else if (kind == MYNA__KV_F32)
      v[0] = _mm512_maskz_loadu_ps(mask, t->p->v + 4 * (j * dim + d));
    else
      v[0] = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, t->p->v + 2 * (j * dim + d)));
    UNROLL for (int r = 0; r < R; r++) {
      __m512 w = _mm512_set1_ps(t->s[first + r][j]);
      UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm512_fmadd_ps(w, v[i], acc[r][i]);
    }
  }
  store_o(acc, t, first, R, d, n, mask);
}

INLINE void values_pairs(const attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask) {
  __m512 acc[A_ROWS][4];
  int lo = t->row[first].lo, hi = t->row[first].hi;
  load_o(acc, t, first, R, d, n, mask);
  for (int j = lo / 2; j < (hi + 1) / 2; j++) {
    const uint8_t *v = t->p->v + (j * t->p->dim_v + d) * 4;
    __mmask16 low = 2 * j >= lo ? 0xffff : 0, high = 2 * j + 1 < hi ? 0xffff : 0; /* what is not seen may be NaN */
    UNROLL for (int i = 0; i < n; i++) {
      __m512i x = n == 1 ? _mm512_maskz_loadu_epi32(mask, v) : _mm512_loadu_si512(v + 64 * i);
      __m512 a = _mm512_maskz_mov_ps(low, low_half(x)), b = _mm512_maskz_mov_ps(high, high_half(x));
      UNROLL for (int r = 0; r < R; r++) {
        const float *w = t->s[first + r] + 2 * j;
        acc[r][i] = _mm512_fmadd_ps(_mm512_set1_ps(w[1]), b, _mm512_fmadd_ps(_mm512_set1_ps(w[0]), a, acc[r][i]));
      }
    }
  }
  store_o(acc, t, first, R, d, n, mask);
}

/* ---- one instance per type ---- */

INLINE void scores_f32(attn_tile *t, int R) { scores(t, R, MYNA__KV_F32); }
INLINE void scores_f16(attn_tile *t, int R) { scores(t, R, MYNA__KV_F16); }
INLINE void values_f32(const attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask) {
  values(t, first, R, d, n, mask, MYNA__KV_F32);
}
INLINE void values_f16(const attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask) {
  values(t, first, R, d, n, mask, MYNA__KV_F16);
}

static void page_f32(const myna__attn_page *p) { attn_page(p, scores_f32, softmax, values_f32); }
static void page_f16(const myna__attn_page *p) { attn_page(p, scores_f16, softmax, values_f16); }
static void page_bf16(const myna__attn_page *p) { attn_page(p, scores_pairs, softmax, values_pairs); }

void myna__fill_attn_avx512(myna__ktable *t) {
  t->attn_page[MYNA__KV_F32] = page_f32;
  t->attn_page[MYNA__KV_F16] = page_f16;
  t->attn_page[MYNA__KV_BF16] = page_bf16;
}
