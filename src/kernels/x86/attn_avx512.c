/* attn_avx512.c: attention with float arithmetic in tiles of rows; the order and so the bits are those of ref/attn_impl.h. */
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

INLINE void scores(myna__attn_tile *t, int R, int kind) {
  int64_t dim = t->p->dim_k;
  const float *q[A_ROWS];
  __m512 acc[A_ROWS][4];
  UNROLL for (int r = 0; r < R; r++) {
    q[r] = t->row[r].q;
    UNROLL for (int g = 0; g < 4; g++) acc[r][g] = _mm512_setzero_ps();
  }
  for (int64_t d = 0; d < dim; d++) {
    __m512 k[4];
    UNROLL for (int g = 0; g < 4; g++) {
      int64_t at = (g * dim + d) * 16;
      k[g] = load_kv(t->p->k, at, kind);
      fetch_next(t->p->next_k + (kind == MYNA__KV_F32 ? 4 : 2) * at, R);
    }
    UNROLL for (int r = 0; r < R; r++) {
      __m512 x = _mm512_set1_ps(q[r][d]);
      UNROLL for (int g = 0; g < 4; g++) acc[r][g] = _mm512_fmadd_ps(x, k[g], acc[r][g]);
    }
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int g = 0; g < 4; g++) _mm512_store_ps(t->s[r] + 16 * g, acc[r][g]);
}

/* Pairs of bf16 take two registers each: 32 positions at a time. */
INLINE void scores_pairs(myna__attn_tile *t, int R) {
  int64_t dim = t->p->dim_k, half = (dim + 1) / 2, ahead = t->p->next_k - t->p->k;
  for (int g = 0; g < 4; g += 2) {
    const uint8_t *k = t->p->k + g * half * 64;
    __m512 acc[A_ROWS][2];
    UNROLL for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
    for (int64_t d = 0; d < half; d++) {
      __m512i a = _mm512_loadu_si512(k + d * 64), b = _mm512_loadu_si512(k + (half + d) * 64);
      fetch_next(k + ahead + d * 64, R);
      fetch_next(k + ahead + (half + d) * 64, R);
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

/* ---- scores of codes ---- */

/* 32 positions at a time: 12 integer and 12 float accumulators. Codes are unsigned, the query's signed: VPDPBUSD. */
INLINE void scores_codes(myna__attn_tile *t, int R, int bits) {
  const myna__attn_page *p = t->p;
  int64_t dim = p->dim_k, n_word = myna__k_words(dim, bits), n_group = myna__kv_groups(dim), ahead = p->next_k - p->k;
  int64_t at_d = myna__query_d(dim), at_sum = myna__query_sum(dim);
  const uint8_t *q[A_ROWS], *codes = p->k + myna__kv_scales(dim);
  const __m512i nibble = _mm512_set1_epi8(15);
  UNROLL for (int r = 0; r < R; r++) q[r] = t->row[r].q;
  for (int g = 0; g < 4; g += 2) {
    __m512 s[A_ROWS][2];
    const uint8_t *c = codes + g * n_word * 64;
    UNROLL for (int r = 0; r < R; r++) s[r][0] = s[r][1] = _mm512_setzero_ps();
    for (int64_t i = 0; i < n_group; i++) {
      __m512i acc[A_ROWS][2];
      const uint8_t *scale = p->k + (g * n_group + i) * 32;
      __m512 d0 = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)scale)),
             d1 = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(scale + n_group * 32)));
      fetch_next(scale + ahead, R);
      fetch_next(scale + ahead + n_group * 32, R);
      UNROLL for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] =
          _mm512_set1_epi32(-(1 << (bits - 1)) * load32(q[r] + at_sum + 4 * i));
      int64_t end = (i + 1) * bits < n_word ? (i + 1) * bits : n_word;
      for (int64_t w = i * bits; w < end; w++) {
        const uint8_t *at = c + w * 64;
        __m512i c0 = _mm512_loadu_si512(at), c1 = _mm512_loadu_si512(at + n_word * 64);
        fetch_next(at + ahead, R);
        fetch_next(at + ahead + n_word * 64, R);
        if (bits == 4) {
          __m512i h0 = _mm512_and_si512(_mm512_srli_epi16(c0, 4), nibble),
                  h1 = _mm512_and_si512(_mm512_srli_epi16(c1, 4), nibble);
          UNROLL for (int r = 0; r < R; r++) {
            __m512i x = _mm512_set1_epi32(load32(q[r] + 8 * w + 4));
            acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], h0, x);
            acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], h1, x);
          }
          c0 = _mm512_and_si512(c0, nibble), c1 = _mm512_and_si512(c1, nibble);
        }
        UNROLL for (int r = 0; r < R; r++) {
          __m512i x = _mm512_set1_epi32(load32(q[r] + (bits == 8 ? 4 : 8) * w));
          acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], c0, x);
          acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], c1, x);
        }
      }
      UNROLL for (int r = 0; r < R; r++) {
        __m512 d = _mm512_castsi512_ps(_mm512_set1_epi32(load32(q[r] + at_d + 4 * i)));
        s[r][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r][0]), _mm512_mul_ps(d0, d), s[r][0]);
        s[r][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r][1]), _mm512_mul_ps(d1, d), s[r][1]);
      }
    }
    UNROLL for (int r = 0; r < R; r++) {
      _mm512_store_ps(t->s[r] + 16 * g, s[r][0]);
      _mm512_store_ps(t->s[r] + 16 * g + 16, s[r][1]);
    }
  }
}

/* ---- softmax ---- */

/* myna__exp of x <= 0 or NaN: its bits. */
INLINE __m512 exp16(__m512 x) {
  const __m512 magic = _mm512_set1_ps(12582912.0f);
  __m512 z = _mm512_fmadd_ps(x, _mm512_set1_ps(1.44269504f), magic), n = _mm512_sub_ps(z, magic);
  __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0.693359375f), x);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
  __m512 y = _mm512_set1_ps(1.9875691500e-4f);
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.3981999507e-3f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(8.3334519073e-3f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(4.1665795894e-2f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.6666665459e-1f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(5.0000001201e-1f));
  y = _mm512_add_ps(_mm512_fmadd_ps(y, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  __m512i bits = _mm512_add_epi32(_mm512_castps_si512(y), _mm512_slli_epi32(_mm512_castps_si512(z), 23));
  y = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.336540f), _CMP_NLT_UQ), _mm512_castsi512_ps(bits));
  return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}

/* myna__page_softmax, in registers. */
static void soften_avx512(myna__attn_tile *t, int r) {
  myna__attn_row *row = &t->row[r];
  float *s = t->s[r];
  __m512 x[4], max = _mm512_set1_ps(-INFINITY);
  capped(x, t, r);
  UNROLL for (int g = 0; g < 4; g++) max = _mm512_max_ps(x[g], max); /* the second operand if one is NaN */
  if (_mm512_cmp_ps_mask(max, _mm512_set1_ps(row->m), _CMP_GT_OQ)) rescale(row, _mm512_reduce_max_ps(max), t->p->dim_v);
  __m512 m = _mm512_set1_ps(row->m == -INFINITY ? 0.0f : row->m), l = _mm512_loadu_ps(row->l);
  UNROLL for (int g = 0; g < 4; g++) {
    __m512 w = exp16(_mm512_sub_ps(x[g], m));
    l = _mm512_add_ps(l, w);
    _mm512_store_ps(s + 16 * g, w);
  }
  _mm512_storeu_ps(row->l, l);
}

/* ---- values ---- */

INLINE void values(const myna__attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask, int kind) {
  __m512 acc[A_ROWS][4];
  int64_t dim = t->p->dim_v;
  load_o(acc, t, first, R, d, n, mask);
  for (int j = t->row[first].lo; j < t->row[first].hi; j++) {
    __m512 v[4];
    int64_t at = (j * dim + d) * (kind == MYNA__KV_F32 ? 4 : 2);
    for (int i = 0; i < n; i += kind == MYNA__KV_F32 ? 1 : 2)
      fetch_next(t->p->next_v + at + (kind == MYNA__KV_F32 ? 64 : 32) * i, R);
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

INLINE void values_pairs(const myna__attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask) {
  __m512 acc[A_ROWS][4];
  int lo = t->row[first].lo, hi = t->row[first].hi;
  int64_t ahead = t->p->next_v - t->p->v;
  load_o(acc, t, first, R, d, n, mask);
  for (int j = lo / 2; j < (hi + 1) / 2; j++) {
    const uint8_t *v = t->p->v + (j * t->p->dim_v + d) * 4;
    UNROLL for (int i = 0; i < n; i++) fetch_next(v + ahead + 64 * i, R);
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

/* ---- opening ---- */

/* 16 values of codes; the whole of an even part of a row is a run of groups. */
INLINE __m512 open8(const uint8_t *c, __m512 d) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)c))), d);
}

static const float signed_nibble[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};

/* Whole groups: scale i belongs to codes [i * 4 bits, ...) and values [32 i, 32 i + 32). */
INLINE void open_groups(float *to, const uint8_t *scales, const uint8_t *codes, int64_t n, int64_t ahead, int bits) {
  const __m512 table = _mm512_loadu_ps(signed_nibble);
  for (int64_t i = 0; i < n; i += 16) {
    float d16[16];
    __mmask16 m = mask_of(n - i);
    _mm512_storeu_ps(d16, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, scales + 2 * i)));
    _mm_prefetch((const char *)scales + 2 * i + ahead, _MM_HINT_T0);
    for (int64_t k = i; k < n && k < i + 16; k++) {
      __m512 d = _mm512_set1_ps(d16[k - i]);
      const uint8_t *c = codes + k * 4 * bits;
      float *y = to + 32 * k;
      if (bits == 8 || k % 2 == 0) _mm_prefetch((const char *)c + ahead, _MM_HINT_T0);
      if (bits == 8) {
        _mm512_storeu_ps(y, open8(c, d));
        _mm512_storeu_ps(y + 16, open8(c + 16, d));
      } else {
        __m512i x = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)c));
        __m512 v = _mm512_mul_ps(table, d);
        _mm512_storeu_ps(y, _mm512_permutexvar_ps(x, v));
        _mm512_storeu_ps(y + 16, _mm512_permutexvar_ps(_mm512_srli_epi32(x, 4), v));
      }
    }
  }
}

INLINE void open_tail(float *to, const uint8_t *scale, const uint8_t *c, int n, int bits) {
  __m512 d = _mm512_cvtph_ps(_mm256_set1_epi16((short)load16(scale)));
  int n0 = n < 16 ? n : 16, n1 = n - n0;
  __m128i x0 = _mm_maskz_loadu_epi8(mask_of(n0), c);
  if (bits == 8) {
    __m128i x1 = _mm_maskz_loadu_epi8(mask_of(n1), c + 16);
    _mm512_mask_storeu_ps(to, mask_of(n0), _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x0)), d));
    _mm512_mask_storeu_ps(to + 16, mask_of(n1), _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x1)), d));
  } else {
    __m512i x = _mm512_cvtepu8_epi32(x0);
    __m512 v = _mm512_mul_ps(_mm512_loadu_ps(signed_nibble), d);
    _mm512_mask_storeu_ps(to, mask_of(n0), _mm512_permutexvar_ps(x, v));
    _mm512_mask_storeu_ps(to + 16, mask_of(n1), _mm512_permutexvar_ps(_mm512_srli_epi32(x, 4), v));
  }
}

INLINE void open_codes(float *to, const myna__attn_page *p, int lo, int hi, int bits) {
  int64_t dim = p->dim_v, n_group = myna__kv_groups(dim), row = myna__v_codes(dim, bits), ahead = p->next_v - p->v;
  const uint8_t *scales = p->v + lo * n_group * 2, *codes = p->v + myna__kv_scales(dim) + lo * row;
  to += lo * dim;
  if (dim % 32 == 0) {
    open_groups(to, scales, codes, (hi - lo) * n_group, ahead, bits);
    return;
  }
  for (int j = lo; j < hi; j++, to += dim, codes += row, scales += 2 * n_group) {
    open_groups(to, scales, codes, dim / 32, ahead, bits);
    open_tail(to + dim / 32 * 32, scales + dim / 32 * 2, codes + dim / 32 * 4 * bits, (int)(dim % 32), bits);
  }
}

/* 16-bit pages for many rows: the values that the tiles would widen themselves. */
static void open_k_bf16(float *to, const myna__attn_page *p, int lo, int hi) {
  int64_t dim = p->dim_k, half = (dim + 1) / 2;
  (void)lo, (void)hi;
  for (int64_t g = 0; g < 4; g++)
    for (int64_t d = 0; d < half; d++) {
      __m512i x = _mm512_loadu_si512(p->k + (g * half + d) * 64);
      float *y = to + (g * dim + 2 * d) * 16;
      _mm512_storeu_ps(y, low_half(x));
      if (2 * d + 1 < dim) _mm512_storeu_ps(y + 16, high_half(x));
    }
}
static void open_v_bf16(float *to, const myna__attn_page *p, int lo, int hi) {
  int64_t dim = p->dim_v;
  for (int64_t j = lo / 2; j < (hi + 1) / 2; j++)
    for (int64_t d = 0; d < dim; d += 16) {
      __mmask16 m = mask_of(dim - d);
      __m512i x = _mm512_maskz_loadu_epi32(m, p->v + (j * dim + d) * 4);
      _mm512_mask_storeu_ps(to + 2 * j * dim + d, m, low_half(x));
      _mm512_mask_storeu_ps(to + (2 * j + 1) * dim + d, m, high_half(x));
    }
}
INLINE void widen_f16(float *to, const uint8_t *h, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    __mmask16 m = mask_of(n - i);
    _mm512_mask_storeu_ps(to + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, h + 2 * i)));
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

INLINE void tile_f32(myna__attn_tile *t, int R) { scores(t, R, MYNA__KV_F32); }
INLINE void tile_f16(myna__attn_tile *t, int R) { scores(t, R, MYNA__KV_F16); }
INLINE void tile_q8_0(myna__attn_tile *t, int R) { scores_codes(t, R, 8); }
INLINE void tile_q4_0(myna__attn_tile *t, int R) { scores_codes(t, R, 4); }
INLINE void run_f32(const myna__attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask) {
  values(t, first, R, d, n, mask, MYNA__KV_F32);
}
INLINE void run_f16(const myna__attn_tile *t, int first, int R, int64_t d, int n, __mmask16 mask) {
  values(t, first, R, d, n, mask, MYNA__KV_F16);
}

static void scores_f32_avx512(myna__attn_tile *t, int n) { tile_scores(t, n, tile_f32); }
static void scores_f16_avx512(myna__attn_tile *t, int n) { tile_scores(t, n, tile_f16); }
static void scores_bf16_avx512(myna__attn_tile *t, int n) { tile_scores(t, n, scores_pairs); }
static void scores_q8_0_avx512(myna__attn_tile *t, int n) { tile_scores(t, n, tile_q8_0); }
static void scores_q4_0_avx512(myna__attn_tile *t, int n) { tile_scores(t, n, tile_q4_0); }
static void values_f32_avx512(const myna__attn_tile *t, int first, int n) { tile_values(t, first, n, run_f32); }
static void values_f16_avx512(const myna__attn_tile *t, int first, int n) { tile_values(t, first, n, run_f16); }
static void values_bf16_avx512(const myna__attn_tile *t, int first, int n) { tile_values(t, first, n, values_pairs); }
static void open_v_q8_0(float *to, const myna__attn_page *p, int lo, int hi) { open_codes(to, p, lo, hi, 8); }
static void open_v_q4_0(float *to, const myna__attn_page *p, int lo, int hi) { open_codes(to, p, lo, hi, 4); }

void myna__fill_attn_avx512(myna__ktable *t) {
  myna__fill_attn_level(t);
  t->attn_scores[MYNA__KV_F32] = scores_f32_avx512;
  t->attn_scores[MYNA__KV_F16] = scores_f16_avx512;
  t->attn_scores[MYNA__KV_BF16] = scores_bf16_avx512;
  t->attn_scores[MYNA__KV_Q8_0] = scores_q8_0_avx512;
  t->attn_scores[MYNA__KV_Q4_0] = scores_q4_0_avx512;
  for (int k = 0; k < MYNA__KV_KINDS; k++) t->attn_soften[k] = soften_avx512;
  t->attn_values[MYNA__KV_F32] = values_f32_avx512;
  t->attn_values[MYNA__KV_F16] = values_f16_avx512;
  t->attn_values[MYNA__KV_BF16] = values_bf16_avx512;
  t->attn_open_k[MYNA__KV_BF16] = open_k_bf16;
  t->attn_open_v[MYNA__KV_BF16] = open_v_bf16;
  t->attn_open_k[MYNA__KV_F16] = open_k_f16;
  t->attn_open_v[MYNA__KV_F16] = open_v_f16;
  t->attn_open_v[MYNA__KV_Q8_0] = open_v_q8_0;
  t->attn_open_v[MYNA__KV_Q4_0] = open_v_q4_0;
}
