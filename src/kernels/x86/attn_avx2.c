/* attn_avx2.c: attention over pages for avx2, in tiles of rows; the order and so the bits are those of ref/attn_impl.h.
 *
 * What is loaded from the page serves the whole tile: 6 rows x 2 vectors of positions (scores) or dimensions (values) are 12 accumulators, which leaves registers for
 * two vectors of the page and one of the row. Fewer rows take more vectors, so that there are always enough sums to hide the latency of a multiply-add.
 * Integer scores in pairs of int16. */
#include "kernels/x86/attn_x86.h"

enum { A_VECTORS = 8 };
typedef __m256 sums[A_ROWS][A_VECTORS];

/* Vectors of 8 positions or dimensions that R rows take at a time. */
INLINE int tile_width(int R) { return R == 1 ? 8 : R <= 3 ? 4 : 2; }

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
/* acc[r][i] += x[r][at] * v[i] */
INLINE void add_products(sums acc, const float *const *x, int64_t at, const __m256 *v, int R, int n) {
  UNROLL for (int r = 0; r < R; r++) {
    __m256 b = _mm256_broadcast_ss(x[r] + at);
    UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm256_fmadd_ps(b, v[i], acc[r][i]);
  }
}

/* ---- scores: R rows, n vectors of positions from 8 * g on ---- */

INLINE void scores(myna__attn_tile *t, int R, int n, int g, int kind) {
  const int64_t dim = t->p->dim_k, half = (dim + 1) / 2;
  const uint8_t *k = t->p->k;
  const int64_t ahead = t->p->next_k - k;
  const float *q[A_ROWS];
  sums acc;
  __m256 v[A_VECTORS];
  UNROLL for (int r = 0; r < R; r++) {
    q[r] = t->row[r].q;
    UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm256_setzero_ps();
  }
  for (int64_t d = 0; kind == MYNA__KV_BF16 && d < half; d++) {
    const uint8_t *at[A_VECTORS]; /* 16 positions are together */
    UNROLL for (int i = 0; i < n; i++) {
      at[i] = k + ((g + i) / 2 * half + d) * 64 + (g + i) % 2 * 32;
      if (i % 2 == 0) fetch_next(at[i] + ahead, R);
      v[i] = low_half(_mm256_loadu_si256((const void *)at[i]));
    }
    add_products(acc, q, 2 * d, v, R, n);
    if (2 * d + 1 == dim) break; /* an odd dim is padded */
    UNROLL for (int i = 0; i < n; i++) v[i] = high_half(_mm256_loadu_si256((const void *)at[i]));
    add_products(acc, q, 2 * d + 1, v, R, n);
  }
  for (int64_t d = 0; kind != MYNA__KV_BF16 && d < dim; d++) {
    UNROLL for (int i = 0; i < n; i++) {
      int64_t at = ((g + i) / 2 * dim + d) * 16 + (g + i) % 2 * 8;
      if (kind == MYNA__KV_F32 ? i % 2 == 0 : i % 4 == 0)
        fetch_next(k + ahead + (kind == MYNA__KV_F32 ? 4 : 2) * at, R);
      v[i] = load_kv(k, at, kind);
    }
    add_products(acc, q, d, v, R, n);
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      _mm256_store_ps(t->s[r] + 8 * (g + i), acc[r][i]);
}

INLINE void row_scores(myna__attn_tile *t, int R, int kind) {
  for (int g = 0; g < 8; g += tile_width(R)) scores(t, R, tile_width(R), g, kind);
}
INLINE void tile_scores(myna__attn_tile *t, int n, int kind) {
  switch (n) {
  case 6: row_scores(t, 6, kind); break;
  case 4: row_scores(t, 4, kind); break;
  case 3: row_scores(t, 3, kind); break;
  case 2: row_scores(t, 2, kind); break;
  default: row_scores(t, 1, kind); break;
  }
}

/* ---- softmax ---- */

/* myna__exp of x <= 0 or NaN: its bits. */
INLINE __m256 exp8(__m256 x) {
  const __m256 magic = _mm256_set1_ps(12582912.0f);
  __m256 z = _mm256_fmadd_ps(x, _mm256_set1_ps(1.44269504f), magic), n = _mm256_sub_ps(z, magic);
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0.693359375f), x);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), r);
  __m256 y = _mm256_set1_ps(1.9875691500e-4f);
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.3981999507e-3f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(8.3334519073e-3f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(4.1665795894e-2f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.6666665459e-1f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(5.0000001201e-1f));
  y = _mm256_add_ps(_mm256_fmadd_ps(y, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
  __m256i bits = _mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_castps_si256(z), 23));
  y = _mm256_and_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-87.336540f), _CMP_NLT_UQ), _mm256_castsi256_ps(bits));
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

/* Positions outside [lo, hi) of a row become -inf. */
static __attribute__((noinline)) void hide(float *s, int lo, int hi) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i below = _mm256_set1_epi32(lo - 1), above = _mm256_set1_epi32(hi);
  for (int g = 0; g < 8; g++) {
    __m256i j = _mm256_add_epi32(lane, _mm256_set1_epi32(8 * g));
    __m256i seen = _mm256_and_si256(_mm256_cmpgt_epi32(j, below), _mm256_cmpgt_epi32(above, j));
    __m256 x = _mm256_load_ps(s + 8 * g);
    _mm256_store_ps(s + 8 * g, _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), x, _mm256_castsi256_ps(seen)));
  }
}

INLINE float largest(__m256 x) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* myna__page_softmax, in registers. */
static void soften_avx2(myna__attn_tile *t, int r) {
  myna__attn_row *row = &t->row[r];
  float *s = t->s[r];
  __m256 x[8], max = _mm256_set1_ps(-INFINITY), scale = _mm256_set1_ps(t->p->scale);
  UNROLL for (int g = 0; g < 8; g++) x[g] = _mm256_mul_ps(_mm256_load_ps(s + 8 * g), scale);
  if (t->p->softcap != 0.0f || row->lo > 0 || row->hi < 64) {
    UNROLL for (int g = 0; g < 8; g++) _mm256_store_ps(s + 8 * g, x[g]);
    if (t->p->softcap != 0.0f) cap_scores(s, t->p->softcap);
    hide(s, row->lo, row->hi);
    UNROLL for (int g = 0; g < 8; g++) x[g] = _mm256_load_ps(s + 8 * g);
  }
  UNROLL for (int g = 0; g < 8; g++) max = _mm256_max_ps(x[g], max); /* the second operand if one is NaN */
  float top = largest(max);
  if (top > row->m) rescale(row, top, t->p->dim_v);
  __m256 m = _mm256_set1_ps(row->m == -INFINITY ? 0.0f : row->m), l[2];
  UNROLL for (int i = 0; i < 2; i++) l[i] = _mm256_loadu_ps(row->l + 8 * i);
  UNROLL for (int g = 0; g < 8; g++) {
    __m256 w = exp8(_mm256_sub_ps(x[g], m));
    l[g % 2] = _mm256_add_ps(l[g % 2], w);
    _mm256_store_ps(s + 8 * g, w);
  }
  UNROLL for (int i = 0; i < 2; i++) _mm256_storeu_ps(row->l + 8 * i, l[i]);
}

/* ---- values: R rows that see the same positions, n vectors of dimensions from d on ---- */

/* Positions 2 j and 2 j + 1, of which some are seen; what is not may be NaN. */
INLINE void add_pairs(sums acc, const float *const *w, const uint8_t *v, int64_t ahead, int j, bool low, bool high,
                      int R, int n) {
  __m256 x[A_VECTORS];
  UNROLL for (int i = 0; i < n; i += 2) fetch_next(v + ahead + 32 * i, R);
  if (low) {
    UNROLL for (int i = 0; i < n; i++) x[i] = low_half(_mm256_loadu_si256((const void *)(v + 32 * i)));
    add_products(acc, w, 2 * j, x, R, n);
  }
  if (high) {
    UNROLL for (int i = 0; i < n; i++) x[i] = high_half(_mm256_loadu_si256((const void *)(v + 32 * i)));
    add_products(acc, w, 2 * j + 1, x, R, n);
  }
}

INLINE void values(const myna__attn_tile *t, int first, int R, int n, int64_t d, int kind) {
  const int64_t dim = t->p->dim_v, ahead = t->p->next_v - t->p->v;
  const int lo = t->row[first].lo, hi = t->row[first].hi;
  const float *w[A_ROWS];
  sums acc;
  __m256 v[A_VECTORS];
  UNROLL for (int r = 0; r < R; r++) {
    w[r] = t->s[first + r];
    UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm256_loadu_ps(t->row[first + r].o + d + 8 * i);
  }
  if (kind == MYNA__KV_BF16) {
    const uint8_t *at = t->p->v + 4 * d;
    int j = lo / 2;
    if (lo % 2) add_pairs(acc, w, at + j * dim * 4, ahead, j, false, 2 * j + 1 < hi, R, n), j++;
    for (; 2 * j + 1 < hi; j++) add_pairs(acc, w, at + j * dim * 4, ahead, j, true, true, R, n);
    if (2 * j < hi) add_pairs(acc, w, at + j * dim * 4, ahead, j, true, false, R, n);
  } else {
    for (int j = lo; j < hi; j++) {
      UNROLL for (int i = 0; i < n; i++) {
        int64_t at = j * dim + d + 8 * i;
        if (kind == MYNA__KV_F32 ? i % 2 == 0 : i % 4 == 0)
          fetch_next(t->p->v + ahead + (kind == MYNA__KV_F32 ? 4 : 2) * at, R);
        v[i] = load_kv(t->p->v, at, kind);
      }
      add_products(acc, w, j, v, R, n);
    }
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      _mm256_storeu_ps(t->row[first + r].o + d + 8 * i, acc[r][i]);
}

/* All dimensions of R rows. */
INLINE void row_values(const myna__attn_tile *t, int first, int R, int kind) {
  const myna__attn_page *p = t->p;
  const int wide = tile_width(R);
  int64_t d = 0;
  for (; d + 8 * wide <= p->dim_v; d += 8 * wide) values(t, first, R, wide, d, kind);
  for (; d + 8 <= p->dim_v; d += 8) values(t, first, R, 1, d, kind);
  if (d == p->dim_v) return;
  const myna_dtype type = kind == MYNA__KV_F32 ? MYNA_F32 : kind == MYNA__KV_F16 ? MYNA_F16 : MYNA_BF16;
  for (int r = first; r < first + R; r++)
    myna__page_values_tail(p, t->s[r], t->row[r].lo, t->row[r].hi, t->row[r].o, d, type);
}
INLINE void tile_values(const myna__attn_tile *t, int first, int n, int kind) {
  for (int R; n > 0; first += R, n -= R) switch (R = myna__attn_tile_rows(n)) {
    case 6: row_values(t, first, 6, kind); break;
    case 4: row_values(t, first, 4, kind); break;
    case 3: row_values(t, first, 3, kind); break;
    case 2: row_values(t, first, 2, kind); break;
    default: row_values(t, first, 1, kind); break;
    }
}

/* ---- scores of codes ---- */

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

/* ---- opening: 16-bit pages for many rows, the values that the tiles would widen themselves ---- */

static void open_k_bf16(float *to, const myna__attn_page *p, int lo, int hi) {
  const int64_t dim = p->dim_k, half = (dim + 1) / 2;
  (void)lo, (void)hi;
  for (int64_t g = 0; g < 4; g++)
    for (int64_t d = 0; d < half; d++)
      for (int64_t i = 0; i < 2; i++) {
        __m256i x = _mm256_loadu_si256((const void *)(p->k + (g * half + d) * 64 + 32 * i));
        float *y = to + (g * dim + 2 * d) * 16 + 8 * i;
        _mm256_storeu_ps(y, low_half(x));
        if (2 * d + 1 < dim) _mm256_storeu_ps(y + 16, high_half(x));
      }
}
static void open_v_bf16(float *to, const myna__attn_page *p, int lo, int hi) {
  const int64_t dim = p->dim_v;
  for (int64_t j = lo / 2; j < (hi + 1) / 2; j++) {
    const uint8_t *v = p->v + j * dim * 4;
    float *y = to + 2 * j * dim;
    int64_t d = 0;
    for (; d + 8 <= dim; d += 8) {
      __m256i x = _mm256_loadu_si256((const void *)(v + 4 * d));
      _mm256_storeu_ps(y + d, low_half(x));
      _mm256_storeu_ps(y + dim + d, high_half(x));
    }
    for (; d < dim; d++) {
      uint32_t x;
      memcpy(&x, v + 4 * d, 4);
      y[d] = myna__float(x << 16);
      y[dim + d] = myna__float(x & 0xffff0000u);
    }
  }
}
static void widen_f16(float *to, const uint8_t *h, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(to + i, load_kv(h, i, MYNA__KV_F16));
  for (; i < n; i++) {
    uint16_t x;
    memcpy(&x, h + 2 * i, 2);
    to[i] = myna__f16_to_f32(x);
  }
}
static void open_k_f16(float *to, const myna__attn_page *p, int lo, int hi) {
  (void)lo, (void)hi;
  widen_f16(to, p->k, MYNA__PAGE * p->dim_k);
}
static void open_v_f16(float *to, const myna__attn_page *p, int lo, int hi) {
  widen_f16(to + lo * p->dim_v, p->v + 2 * lo * p->dim_v, (hi - lo) * p->dim_v);
}

/* ---- one instance per type ---- */

static void scores_f32_avx2(myna__attn_tile *t, int n) { tile_scores(t, n, MYNA__KV_F32); }
static void scores_f16_avx2(myna__attn_tile *t, int n) { tile_scores(t, n, MYNA__KV_F16); }
static void scores_bf16_avx2(myna__attn_tile *t, int n) { tile_scores(t, n, MYNA__KV_BF16); }
static void values_f32_avx2(const myna__attn_tile *t, int first, int n) { tile_values(t, first, n, MYNA__KV_F32); }
static void values_f16_avx2(const myna__attn_tile *t, int first, int n) { tile_values(t, first, n, MYNA__KV_F16); }
static void values_bf16_avx2(const myna__attn_tile *t, int first, int n) { tile_values(t, first, n, MYNA__KV_BF16); }

void myna__fill_attn_avx2(myna__ktable *t) {
  myna__fill_attn_level(t);
  t->attn_scores[MYNA__KV_F32] = scores_f32_avx2;
  t->attn_scores[MYNA__KV_F16] = scores_f16_avx2;
  t->attn_scores[MYNA__KV_BF16] = scores_bf16_avx2;
  for (int k = 0; k < MYNA__KV_KINDS; k++) t->attn_soften[k] = soften_avx2;
  t->attn_values[MYNA__KV_F32] = values_f32_avx2;
  t->attn_values[MYNA__KV_F16] = values_f16_avx2;
  t->attn_values[MYNA__KV_BF16] = values_bf16_avx2;
  t->attn_open_k[MYNA__KV_BF16] = open_k_bf16;
  t->attn_open_v[MYNA__KV_BF16] = open_v_bf16;
  t->attn_open_k[MYNA__KV_F16] = open_k_f16;
  t->attn_open_v[MYNA__KV_F16] = open_v_f16;
  t->attn_scores[MYNA__KV_Q8_0] = scores_q8_0_avx2;
  t->attn_scores[MYNA__KV_Q4_0] = scores_q4_0_avx2;
}
