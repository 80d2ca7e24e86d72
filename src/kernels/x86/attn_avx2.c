/* attn_avx2.c: attention over pages for avx2, in tiles of rows; the order and so the bits are those of ref/attn_impl.h.
 *
 * Rows that fill several tiles take 16 positions of the keys, then 16 dimensions of the values, tile after tile: what all of them read stays in L1. Tiles of fewer than
 * 4 rows stand at the end and take all positions or dimensions at once. */
#include "kernels/x86/attn_scores_avx2.h"
#include "kernels/x86/attn_values_avx2.h"

enum {
  A_MOST = 48 /* rows at a time */,
  A_OPEN = 12 /* rows from which on values are opened for all */
};

/* ---- tiles ---- */

typedef enum tile_work { SCORES, VALUES, OPENED } tile_work;

INLINE void do_tile(tile *t, tile_work what, int R, int64_t at, int64_t end, int kind) {
  if (what == SCORES)
    scores(t, R, at, kind);
  else if (what == OPENED)
    values_opened(t, R, at);
  else
    values(t, R, at, end, kind);
}
/* The one place where the rows of a tile become a constant. */
INLINE void some_rows(tile *t, tile_work what, int R, int64_t at, int64_t end, int kind) {
  switch (R) {
  case 6: do_tile(t, what, 6, at, end, kind); break;
  case 4: do_tile(t, what, 4, at, end, kind); break;
  case 3: do_tile(t, what, 3, at, end, kind); break;
  case 2: do_tile(t, what, 2, at, end, kind); break;
  default: do_tile(t, what, 1, at, end, kind); break;
  }
}

INLINE bool of_codes(int kind) { return kind == MYNA__KV_Q8_0 || kind == MYNA__KV_Q4_0; }
INLINE bool takes_all(int R) { return tile_width(R) > A_WIDE; }
/* Rows of the tile that begins where `left` are left. */
INLINE int rows_of(int left, bool codes) { return codes ? MYNA__MIN(left, 4) : myna__attn_tile_rows(left); }
/* Tiles that n rows fill, but for one that takes all at once behind others. */
static inline int tiles_of(int n, bool codes) {
  int tiles = 0;
  for (int i = 0, R; i < n; i += R) {
    R = rows_of(n - i, codes);
    tiles += i == 0 || codes || !takes_all(R);
  }
  return tiles;
}

static inline tile tile_at(const tile *t, int first, bool fetches) {
  tile x = *t;
  x.row += first, x.s += first;
  if (!fetches) x.pace = 0;
  return x;
}

INLINE void all_scores(tile *t, int n, int kind) {
  const bool codes = of_codes(kind);
  const int64_t steps = score_steps(t->p->dim_k, rows_of(n, codes), kind) * tiles_of(n, codes);
  t->ahead = whole_ahead(t) ? t->p->next_k : t->p->v;
  t->pace = pace_of(whole_ahead(t) ? t->bytes_k : t->bytes_v, steps);
  for (int64_t g = 0; g < 4; g++)
    for (int i = 0, R; i < n; i += R) {
      R = rows_of(n - i, codes);
      if (takes_all(R) && !codes && g > 0) continue;
      tile x = tile_at(t, i, i == 0 || codes || !takes_all(R));
      some_rows(&x, SCORES, R, g, 0, kind);
      t->ahead = x.ahead;
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
  return _mm256_max_ps(y, x); /* x if it is NaN, for then the second operand counts; else y >= x */
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

/* ---- values ---- */

/* n rows that see the same positions. */
INLINE void run_values(tile *t, int n, int kind) {
  const int64_t dim = t->p->dim_v, all = dim / 8 * 8;
  _Alignas(64) float x[MYNA__PAGE * 16];
  for (int64_t d = 0; d < all; d += 16) {
    const int64_t end = MYNA__MIN(d + 16, all);
    const bool opens = n >= A_OPEN && end == d + 16;
    if (opens) open_values(x, t, d, kind);
    for (int i = 0, R; i < n; i += R) {
      R = myna__attn_tile_rows(n - i);
      if (takes_all(R) && d > 0) continue;
      tile u = tile_at(t, i, i == 0 || !takes_all(R));
      u.opened = x;
      if (opens && !takes_all(R))
        some_rows(&u, OPENED, R, d, end, kind);
      else
        some_rows(&u, VALUES, R, d, end, kind);
      t->ahead = u.ahead;
    }
  }
  if (all < dim) tail_values(t, n, all, kind);
}

INLINE void all_values(tile *t, int n, int kind) {
  const int64_t dim = t->p->dim_v,
                steps = n < A_OPEN ? value_steps(dim, rows_of(n, false), kind) : dim / 16 * MYNA__PAGE;
  t->ahead = whole_ahead(t) ? t->p->next_v : t->p->next_k;
  t->pace = pace_of(whole_ahead(t) ? t->bytes_v : t->bytes_k, steps * tiles_of(n, false));
  for (int from = 0, to; from < n; from = to) {
    for (to = from + 1; to < n && t->row[to].lo == t->row[from].lo && t->row[to].hi == t->row[from].hi;) to++;
    if (t->row[from].lo >= t->row[from].hi) continue;
    tile x = tile_at(t, from, true);
    run_values(&x, to - from, kind);
    t->ahead = x.ahead;
  }
}

/* ---- one instance per type ---- */

typedef void rows_fn(tile *t, int n);
static void scores_f32_avx2(tile *t, int n) { all_scores(t, n, MYNA__KV_F32); }
static void scores_f16_avx2(tile *t, int n) { all_scores(t, n, MYNA__KV_F16); }
static void scores_bf16_avx2(tile *t, int n) { all_scores(t, n, MYNA__KV_BF16); }
static void scores_q8_0_avx2(tile *t, int n) { all_scores(t, n, MYNA__KV_Q8_0); }
static void scores_q4_0_avx2(tile *t, int n) { all_scores(t, n, MYNA__KV_Q4_0); }
static void values_f32_avx2(tile *t, int n) { all_values(t, n, MYNA__KV_F32); }
static void values_f16_avx2(tile *t, int n) { all_values(t, n, MYNA__KV_F16); }
static void values_bf16_avx2(tile *t, int n) { all_values(t, n, MYNA__KV_BF16); }
static void values_q8_0_avx2(tile *t, int n) { all_values(t, n, MYNA__KV_Q8_0); }
static void values_q4_0_avx2(tile *t, int n) { all_values(t, n, MYNA__KV_Q4_0); }

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

static void query_q8_0_avx2(void *to, const float *q, int64_t dim, float scale) { prepare_query(to, q, dim, scale, 8); }
static void query_q4_0_avx2(void *to, const float *q, int64_t dim, float scale) { prepare_query(to, q, dim, scale, 4); }

static void widen_f16(float *to, const uint8_t *h, int64_t n) {
  for (int64_t i = 0; i < n; i += 8) _mm256_storeu_ps(to + i, load_kv(h, i, MYNA__KV_F16));
}

/* scratch: [64][dim_v] floats. */
static void walk_avx2(const myna__attn_page *p, myna__attn_row *row, int n, int kind_k, int kind_v, float *scratch) {
  _Alignas(64) float s[A_MOST][MYNA__PAGE];
  if (myna__kv_facts[kind_v].groups) widen_f16(scratch, p->v, MYNA__PAGE * myna__kv_groups(p->dim_v));
  for (int first = 0, R; first < n; first += R) {
    R = MYNA__MIN(n - first, A_MOST);
    tile t = {.p = p,
              .row = row + first,
              .s = s,
              .scale = scratch,
              .bytes_k = myna__page_k(p->dim_k, kind_k),
              .bytes_v = myna__page_v(p->dim_v, kind_v)};
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
