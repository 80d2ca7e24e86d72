/* attn_avx2.c: attention over pages for avx2, in tiles of rows; the order and so the bits are those of ref/attn_impl.h.
 *
 * What is loaded from the page serves the whole tile: 6 rows x 2 vectors of positions (scores) or dimensions (values) are 12 accumulators, which leaves registers for
 * two vectors of the page and one of the row. Fewer rows take more vectors, so that there are always enough sums to hide the latency of a multiply-add.
 * Rows that fill several tiles take 16 positions of the keys, then 16 dimensions of the values, tile after tile: what all of them read stays in L1. Elements of 16 bits are
 * widened by each tile, on ports that multiplications leave free; values of codes by each tile of few rows, else once for all tiles.
 *
 * Integer scores: bytes as even and odd int16, whose pairs fit int32 (255 * 127 * 2 does not fit int16); nibbles in int16, for a whole group fits (8 * 2 * 15 * 127 = 30480). */
#include "kernels/x86/attn_x86.h"

enum { A_VECTORS = 8, A_MOST = 48 /* rows at a time */, A_WIDE = 2 /* vectors of a tile of 4 or 6 rows */ };
typedef __m256 sums[A_ROWS][A_VECTORS];

/* Some rows over a page. */
typedef struct tile {
  const myna__attn_page *p;
  myna__attn_row *row;
  float (*s)[MYNA__PAGE];
  const float *scale;       /* of values of codes: [pos][dim / 32] */
  int64_t ahead_k, ahead_v; /* what is fetched while this is read: the next page, or the same again */
} tile;

/* Vectors of 8 positions or dimensions that R rows take at a time. */
INLINE int tile_width(int R) { return R == 1 ? 8 : R <= 3 ? 4 : A_WIDE; }

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
/* Small tiles wait for memory: they fetch the next page while they work on this one. */
INLINE void fetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
/* What lies there is loaded again rather than kept: in registers that the sums want. */
INLINE void again(const uint8_t **p) { __asm__("" : "+r"(*p)); }
/* acc[r][i] += x[r][at] * v[i] */
INLINE void add_products(sums acc, const float *const *x, int64_t at, const __m256 *v, int R, int n) {
  UNROLL for (int r = 0; r < R; r++) {
    __m256 b = _mm256_broadcast_ss(x[r] + at);
    UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm256_fmadd_ps(b, v[i], acc[r][i]);
  }
}

/* ---- scores: R rows, n vectors of positions from 8 * g on ---- */

INLINE void scores(const tile *t, int R, int n, int g, int kind) {
  const int64_t dim = t->p->dim_k, half = (dim + 1) / 2, ahead = t->ahead_k;
  const uint8_t *k = t->p->k;
  const float *q[A_ROWS];
  sums acc;
  __m256 v[A_VECTORS];
  UNROLL for (int r = 0; r < R; r++) {
    q[r] = t->row[r].q;
    UNROLL for (int i = 0; i < n; i++) acc[r][i] = _mm256_setzero_ps();
  }
  for (int64_t d = 0; kind == MYNA__KV_BF16 && d < half; d++) {
    const uint8_t *at[A_VECTORS / 2]; /* of 16 positions */
    UNROLL for (int i = 0; i < n; i++) {
      if (i % 2 == 0) fetch((at[i / 2] = k + ((g + i) / 2 * half + d) * 64) + ahead);
      v[i] = low_half(_mm256_loadu_si256((const void *)(at[i / 2] + i % 2 * 32)));
    }
    add_products(acc, q, 2 * d, v, R, n);
    if (2 * d + 1 == dim) break; /* an odd dim is padded */
    if (R == A_ROWS) again(&at[0]);
    UNROLL for (int i = 0; i < n; i++) v[i] = high_half(_mm256_loadu_si256((const void *)(at[i / 2] + i % 2 * 32)));
    add_products(acc, q, 2 * d + 1, v, R, n);
  }
  for (int64_t d = 0; kind != MYNA__KV_BF16 && d < dim; d++) {
    UNROLL for (int i = 0; i < n; i++) {
      int64_t at = ((g + i) / 2 * dim + d) * 16 + (g + i) % 2 * 8;
      if (i % 2 == 0 && (kind == MYNA__KV_F32 || d % 2 == 0)) fetch(k + ahead + (kind == MYNA__KV_F32 ? 4 : 2) * at);
      v[i] = load_kv(k, at, kind);
    }
    add_products(acc, q, d, v, R, n);
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      _mm256_storeu_ps(t->s[r] + 8 * (g + i), acc[r][i]);
}

/* ---- scores of codes: R rows, 16 positions from 16 * g on ---- */

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
static void query_q8_0_avx2(void *to, const float *q, int64_t dim, float scale) { prepare_query(to, q, dim, scale, 8); }
static void query_q4_0_avx2(void *to, const float *q, int64_t dim, float scale) { prepare_query(to, q, dim, scale, 4); }

INLINE __m256i broadcast32(const uint8_t *p) {
  int32_t x;
  memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
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

INLINE void scores_codes(const tile *t, int R, int64_t g, int bits) {
  const int64_t dim = t->p->dim_k, n_word = myna__k_words(dim, bits), n_group = myna__kv_groups(dim),
                ahead = t->ahead_k, at_d = myna__query_d(dim), at_offset = query_offset(dim),
                at_pairs = query_pairs(dim);
  const uint8_t *codes = t->p->k + myna__kv_scales(dim) + g * n_word * 64, *dk = t->p->k + g * n_group * 32, *q[4];
  __m256 s[4][2];
  UNROLL for (int r = 0; r < R; r++) q[r] = t->row[r].q, s[r][0] = s[r][1] = _mm256_setzero_ps();
  for (int64_t k = 0; k < n_group; k++) {
    const int64_t end = MYNA__MIN((k + 1) * bits, n_word);
    counts acc;
    UNROLL for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] =
        bits == 8 ? broadcast32(q[r] + at_offset + 4 * k) : _mm256_setzero_si256();
    if (k % 2 == 0) fetch(dk + ahead + 32 * k);
    for (int64_t w = k * bits; w < end; w++) {
      fetch(codes + ahead + 64 * w);
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
}

/* ---- all scores of n rows ---- */

INLINE void row_scores(const tile *t, int R, int kind) {
  for (int g = 0; g < 8; g += tile_width(R)) scores(t, R, tile_width(R), g, kind);
}

/* Rows [i, i + R) of n, at step g of `steps`, fetch their share of the next page's V: evenly in time, for bursts wait for memory. */
static inline void fetch_share(const uint8_t *next, int64_t bytes, int64_t g, int64_t steps, int64_t i, int64_t R,
                               int64_t n) {
  int64_t at = bytes * (g * n + i) / (steps * n) / 64 * 64, end = bytes * (g * n + i + R) / (steps * n);
  for (; at < end; at += 64) _mm_prefetch((const char *)next + at, _MM_HINT_T1);
}

static inline tile part(const tile *t, int first, bool fetches) {
  tile x = *t;
  x.row += first, x.s += first;
  if (!fetches) x.ahead_k = x.ahead_v = 0;
  return x;
}

/* 16 positions at a time for tiles of 4 and 6 rows; smaller ones stand at the end and take all at once. */
INLINE void all_scores(const tile *t, int n, int kind) {
  for (int g = 0; g < 8; g += A_WIDE)
    for (int i = 0, R; i < n; i += R) {
      tile x = part(t, i, i == 0);
      switch (R = myna__attn_tile_rows(n - i)) {
      case 6: scores(&x, 6, A_WIDE, g, kind); break;
      case 4: scores(&x, 4, A_WIDE, g, kind); break;
      case 3:
        if (g == 0) row_scores(&x, 3, kind);
        break;
      case 2:
        if (g == 0) row_scores(&x, 2, kind);
        break;
      default:
        if (g == 0) row_scores(&x, 1, kind);
        break;
      }
    }
}
INLINE void all_scores_codes(const tile *t, int n, int bits) {
  for (int g = 0; g < 4; g++)
    for (int i = 0, R; i < n; i += R) {
      tile x = part(t, i, i == 0);
      switch (R = MYNA__MIN(n - i, 4)) {
      case 4: scores_codes(&x, 4, g, bits); break;
      case 3: scores_codes(&x, 3, g, bits); break;
      case 2: scores_codes(&x, 2, g, bits); break;
      default: scores_codes(&x, 1, g, bits); break;
      }
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
    __m256 x = _mm256_loadu_ps(s + 8 * g);
    _mm256_storeu_ps(s + 8 * g, _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), x, _mm256_castsi256_ps(seen)));
  }
}

INLINE float largest(__m256 x) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* myna__page_softmax in two parts, each over all rows before the next: what one row waits for, others do meanwhile. First scale, cap, hide and the new maximum. */
static void raise_max(const tile *t, int r) {
  myna__attn_row *row = &t->row[r];
  float *s = t->s[r];
  __m256 x[8], max[2], scale = _mm256_set1_ps(t->p->scale);
  UNROLL for (int g = 0; g < 8; g++)
      _mm256_storeu_ps(s + 8 * g, x[g] = _mm256_mul_ps(_mm256_loadu_ps(s + 8 * g), scale));
  if (t->p->softcap != 0.0f || row->lo > 0 || row->hi < 64) {
    if (t->p->softcap != 0.0f) cap_scores(s, t->p->softcap);
    hide(s, row->lo, row->hi);
    UNROLL for (int g = 0; g < 8; g++) x[g] = _mm256_loadu_ps(s + 8 * g);
  }
  max[0] = max[1] = _mm256_set1_ps(-INFINITY);
  UNROLL for (int g = 0; g < 8; g++) max[g % 2] =
      _mm256_max_ps(x[g], max[g % 2]); /* the second operand if one is NaN */
  float top = largest(_mm256_max_ps(max[0], max[1]));
  if (top > row->m) rescale(row, top, t->p->dim_v);
}
/* Then weights and their sums. */
static void weigh(const tile *t, int r) {
  myna__attn_row *row = &t->row[r];
  float *s = t->s[r];
  __m256 m = _mm256_set1_ps(row->m == -INFINITY ? 0.0f : row->m), l[2];
  UNROLL for (int i = 0; i < 2; i++) l[i] = _mm256_loadu_ps(row->l + 8 * i);
  UNROLL for (int g = 0; g < 8; g++) {
    __m256 w = exp8(_mm256_sub_ps(_mm256_loadu_ps(s + 8 * g), m));
    l[g % 2] = _mm256_add_ps(l[g % 2], w);
    _mm256_storeu_ps(s + 8 * g, w);
  }
  UNROLL for (int i = 0; i < 2; i++) _mm256_storeu_ps(row->l + 8 * i, l[i]);
}
static void soften_avx2(const tile *t, int n) {
  for (int r = 0; r < n; r++)
    if (t->row[r].lo < t->row[r].hi) raise_max(t, r);
  for (int r = 0; r < n; r++)
    if (t->row[r].lo < t->row[r].hi) weigh(t, r);
}

/* ---- values: R rows that see the same positions, n vectors of dimensions from d on ---- */

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

/* Positions 2 j and 2 j + 1 of BF16, of which some are seen; what is not may be NaN. */
INLINE void add_pairs(sums acc, const float *const *w, const uint8_t *v, int64_t ahead, int j, bool low, bool high,
                      int R, int n) {
  __m256 x[A_VECTORS];
  UNROLL for (int i = 0; i < n; i += 2) fetch(v + ahead + 32 * i);
  if (low) {
    UNROLL for (int i = 0; i < n; i++) x[i] = low_half(_mm256_loadu_si256((const void *)(v + 32 * i)));
    add_products(acc, w, 2 * j, x, R, n);
  }
  if (high) {
    if (R == A_ROWS) again(&v);
    UNROLL for (int i = 0; i < n; i++) x[i] = high_half(_mm256_loadu_si256((const void *)(v + 32 * i)));
    add_products(acc, w, 2 * j + 1, x, R, n);
  }
}
INLINE void add_all_pairs(sums acc, const float *const *w, const tile *t, int64_t d, int R, int n) {
  const int64_t row = t->p->dim_v * 4, ahead = t->ahead_v;
  const int lo = t->row->lo, hi = t->row->hi;
  const uint8_t *at = t->p->v + 4 * d;
  int j = lo / 2;
  if (lo % 2) add_pairs(acc, w, at + j * row, ahead, j, false, 2 * j + 1 < hi, R, n), j++;
  for (; 2 * j + 1 < hi; j++) add_pairs(acc, w, at + j * row, ahead, j, true, true, R, n);
  if (2 * j < hi) add_pairs(acc, w, at + j * row, ahead, j, true, false, R, n);
}

/* Values of position j. */
INLINE void load_values(__m256 *v, const tile *t, int j, int64_t d, int n, int kind) {
  const int64_t dim = t->p->dim_v, bits = kind == MYNA__KV_F32    ? 32
                                          : kind == MYNA__KV_F16  ? 16
                                          : kind == MYNA__KV_Q8_0 ? 8
                                                                  : 4;
  if (bits >= 16) {
    UNROLL for (int i = 0; i < n; i++) {
      int64_t at = j * dim + d + 8 * i;
      if (i % (bits == 32 ? 2 : 4) == 0) fetch(t->p->v + t->ahead_v + at * bits / 8);
      v[i] = load_kv(t->p->v, at, kind);
    }
    return;
  }
  const uint8_t *c = t->p->v + myna__kv_scales(dim) + j * myna__v_codes(dim, (int)bits);
  if (n > 2 || d % 64 == 0) fetch(c + t->ahead_v + d * bits / 8);
  open_codes(v, c, t->scale + j * myna__kv_groups(dim), d, n, (int)bits);
}

INLINE void values(const tile *t, int R, int n, int64_t d, int kind) {
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
      load_values(v, t, j, d, n, kind);
      add_products(acc, w, j, v, R, n);
    }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < n; i++)
      _mm256_storeu_ps(t->row[r].o + d + 8 * i, acc[r][i]);
}

/* R rows, 16 dims that were opened for all tiles: x[pos][16]. */
INLINE void values_opened(const tile *t, int R, const float *x, int64_t d) {
  const float *w[A_ROWS];
  sums acc;
  __m256 v[A_WIDE];
  UNROLL for (int r = 0; r < R; r++) {
    w[r] = t->s[r];
    UNROLL for (int i = 0; i < A_WIDE; i++) acc[r][i] = _mm256_loadu_ps(t->row[r].o + d + 8 * i);
  }
  for (int j = t->row->lo; j < t->row->hi; j++) {
    UNROLL for (int i = 0; i < A_WIDE; i++) v[i] = _mm256_loadu_ps(x + 16 * j + 8 * i);
    add_products(acc, w, j, v, R, A_WIDE);
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < A_WIDE; i++)
      _mm256_storeu_ps(t->row[r].o + d + 8 * i, acc[r][i]);
}

/* 16 dims of the positions that the rows see: x[pos][16]. */
INLINE void open_values(float *x, const tile *t, int64_t d, int kind) {
  const int lo = t->row->lo, hi = t->row->hi;
  for (int j = lo / 2; kind == MYNA__KV_BF16 && j < (hi + 1) / 2; j++) {
    const uint8_t *v = t->p->v + (j * t->p->dim_v + d) * 4;
    fetch(v + t->ahead_v);
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

/* Dimensions [d, end) of R rows. */
INLINE void row_values(const tile *t, int R, int64_t d, int64_t end, int kind) {
  const int wide = tile_width(R);
  for (; d + 8 * wide <= end; d += 8 * wide) values(t, R, wide, d, kind);
  for (; d + 8 <= end; d += 8) values(t, R, 1, d, kind);
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

/* n rows that see the same positions: 16 dims at a time for tiles of 4 and 6 rows; smaller ones stand at the end and take all at once. */
INLINE void run_values(const tile *t, int n, bool fetches, int kind) {
  const int64_t dim = t->p->dim_v, all = dim / 8 * 8;
  const bool opens = n >= 2 * A_ROWS;
  for (int64_t d = 0; d < all; d += 16) {
    int64_t end = MYNA__MIN(d + 16, all);
    _Alignas(64) float x[MYNA__PAGE * 16];
    if (opens && end == d + 16) {
      tile u = part(t, 0, false);
      open_values(x, &u, d, kind);
    }
    for (int i = 0, R; i < n; i += R) {
      tile u = part(t, i, fetches && n <= A_ROWS);
      R = myna__attn_tile_rows(n - i);
      if (fetches && n > A_ROWS) fetch_share(t->p->next_v, myna__page_v(dim, kind), d / 16, (all + 15) / 16, i, R, n);
      if (opens && end == d + 16 && R >= 4) {
        if (R == 6)
          values_opened(&u, 6, x, d);
        else
          values_opened(&u, 4, x, d);
        continue;
      }
      switch (R) {
      case 6: row_values(&u, 6, d, end, kind); break;
      case 4: row_values(&u, 4, d, end, kind); break;
      case 3:
        if (d == 0) row_values(&u, 3, 0, all, kind);
        break;
      case 2:
        if (d == 0) row_values(&u, 2, 0, all, kind);
        break;
      default:
        if (d == 0) row_values(&u, 1, 0, all, kind);
        break;
      }
    }
  }
  if (all < dim) tail_values(t, n, all, kind);
}

INLINE void all_values(const tile *t, int n, int kind) {
  bool fetches = true;
  for (int from = 0, to; from < n; from = to) {
    for (to = from + 1; to < n && t->row[to].lo == t->row[from].lo && t->row[to].hi == t->row[from].hi;) to++;
    if (t->row[from].lo >= t->row[from].hi) continue;
    tile x = part(t, from, true);
    run_values(&x, to - from, fetches, kind);
    fetches = false;
  }
}

/* ---- one instance per type ---- */

typedef void rows_fn(const tile *t, int n);
static void scores_f32_avx2(const tile *t, int n) { all_scores(t, n, MYNA__KV_F32); }
static void scores_f16_avx2(const tile *t, int n) { all_scores(t, n, MYNA__KV_F16); }
static void scores_bf16_avx2(const tile *t, int n) { all_scores(t, n, MYNA__KV_BF16); }
static void scores_q8_0_avx2(const tile *t, int n) { all_scores_codes(t, n, 8); }
static void scores_q4_0_avx2(const tile *t, int n) { all_scores_codes(t, n, 4); }
static void values_f32_avx2(const tile *t, int n) { all_values(t, n, MYNA__KV_F32); }
static void values_f16_avx2(const tile *t, int n) { all_values(t, n, MYNA__KV_F16); }
static void values_bf16_avx2(const tile *t, int n) { all_values(t, n, MYNA__KV_BF16); }
static void values_q8_0_avx2(const tile *t, int n) { all_values(t, n, MYNA__KV_Q8_0); }
static void values_q4_0_avx2(const tile *t, int n) { all_values(t, n, MYNA__KV_Q4_0); }

static rows_fn *const scores_of[MYNA__KV_KINDS] = {[MYNA__KV_F32] = scores_f32_avx2,
                                                   [MYNA__KV_F16] = scores_f16_avx2,
                                                   [MYNA__KV_BF16] = scores_bf16_avx2,
                                                   [MYNA__KV_Q8_0] = scores_q8_0_avx2,
                                                   [MYNA__KV_Q4_0] = scores_q4_0_avx2};
static rows_fn *const values_of[MYNA__KV_KINDS] = {[MYNA__KV_F32] = values_f32_avx2,
                                                   [MYNA__KV_F16] = values_f16_avx2,
                                                   [MYNA__KV_BF16] = values_bf16_avx2,
                                                   [MYNA__KV_Q8_0] = values_q8_0_avx2,
                                                   [MYNA__KV_Q4_0] = values_q4_0_avx2};

static void widen_f16(float *to, const uint8_t *h, int64_t n) {
  for (int64_t i = 0; i < n; i += 8) _mm256_storeu_ps(to + i, load_kv(h, i, MYNA__KV_F16));
}

/* scratch: [64][dim_v] floats. */
static void walk_avx2(const myna__attn_page *p, myna__attn_row *row, int n, int kind_k, int kind_v, float *scratch) {
  _Alignas(64) float s[A_MOST][MYNA__PAGE];
  if (myna__kv_facts[kind_v].groups) widen_f16(scratch, p->v, MYNA__PAGE * myna__kv_groups(p->dim_v));
  for (int first = 0, R; first < n; first += R) {
    R = MYNA__MIN(n - first, A_MOST);
    tile t = {p, row + first, s, scratch, p->next_k - p->k, p->next_v - p->v};
    scores_of[kind_k](&t, R);
    soften_avx2(&t, R);
    values_of[kind_v](&t, R);
  }
}

void myna__fill_attn_avx2(myna__ktable *t) {
  myna__fill_attn_level(t);
  t->attn_walk = walk_avx2;
  t->attn_query[MYNA__KV_Q8_0] = query_q8_0_avx2;
  t->attn_query[MYNA__KV_Q4_0] = query_q4_0_avx2;
}
