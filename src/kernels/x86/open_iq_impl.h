/* open_iq_impl.h: the codebook types. Their codes are looked up row by row into bytes in L1 and transposed from there:
 * gathers in transposed order would cost a cycle or more per dword on every CPU. Layouts are drawn in quants/NAME.c; every
 * index is masked to its codebook's size by how it is put together. */
#ifndef MYNA__OPEN_IQ_IMPL_H
#define MYNA__OPEN_IQ_IMPL_H

#include "kernels/x86/open_q32_impl.h"

INLINE uint64_t load64(const void *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}
INLINE uint32_t load16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }

/* ---- one row ---- */

/* -v where a bit is set, 32 bytes. */
INLINE __m256i negate_where(__m256i v, uint32_t bits) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  return _mm256_mask_sub_epi8(v, bits, _mm256_setzero_si256(), v);
#else
  const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201);
  __m256i mask = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)bits), byte);
  mask = _mm256_cmpeq_epi8(_mm256_and_si256(mask, bit), bit);
  return _mm256_sub_epi8(_mm256_xor_si256(v, mask), mask);
#endif
}
/* Codes as they go into panels: + 2^shift. */
INLINE void store_codes(uint8_t *to, __m256i v, int offset) {
  _mm256_store_si256((void *)to, _mm256_add_epi8(v, _mm256_set1_epi8((char)offset)));
}

/* Signs of 7 in the low bits of each byte: bit 7 makes their number even. */
INLINE uint32_t even_signs(uint32_t s) {
  uint32_t p = s ^ s >> 4; /* bits 0..3 of each byte are its own */
  p ^= p >> 2;
  p ^= p >> 1;
  return s | (p & 0x01010101) << 7;
}
/* Four times 7 signs from bit 0 on. */
INLINE uint32_t signs28(uint32_t v) {
  return even_signs((v & 0x7f) | (v << 1 & 0x7f00) | (v << 2 & 0x7f0000) | (v << 3 & 0x7f000000));
}

typedef const uint8_t book8[8];
INLINE __m256i four_of_8(book8 *book, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return _mm256_setr_epi64x((int64_t)load64(book[a]), (int64_t)load64(book[b]), (int64_t)load64(book[c]),
                            (int64_t)load64(book[d]));
}
typedef const uint8_t book4[4];
INLINE __m256i eight_of_4(book4 *book, const uint32_t i[8]) {
  return _mm256_setr_epi32(load32(book[i[0]]), load32(book[i[1]]), load32(book[i[2]]), load32(book[i[3]]),
                           load32(book[i[4]]), load32(book[i[5]]), load32(book[i[6]]), load32(book[i[7]]));
}

/* A row's block of 256 codes. */
typedef void row_fn(uint8_t to[256], const uint8_t *block, const myna__grids *grids);

INLINE void row_iq2_xxs(uint8_t to[256], const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    const uint8_t *i = block + 2 + 8 * g;
    __m256i v = four_of_8(grids->iq2_xxs, i[0], i[1], i[2], i[3]);
    store_codes(to + 32 * g, negate_where(v, signs28((uint32_t)load32(i + 4))), 64);
  }
}
INLINE void row_iq2_xs(uint8_t to[256], const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    uint64_t q = load64(block + 2 + 8 * g); /* 4 times 9 bits of index and 7 of signs */
    __m256i v = four_of_8(grids->iq2_xs, q & 511, q >> 16 & 511, q >> 32 & 511, q >> 48 & 511);
    uint64_t s = (q >> 9 & 0x7f) | (q >> 17 & 0x7f00) | (q >> 25 & 0x7f0000) | (q >> 33 & 0x7f000000);
    store_codes(to + 32 * g, negate_where(v, even_signs((uint32_t)s)), 64);
  }
}
INLINE void row_iq2_s(uint8_t to[256], const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    const uint8_t *i = block + 2 + 4 * g;
    uint32_t h = (uint32_t)block[66 + g] << 8;
    __m256i v = four_of_8(grids->iq2_s, i[0] | (h & 0x300), i[1] | (h >> 2 & 0x300), i[2] | (h >> 4 & 0x300),
                          i[3] | (h >> 6 & 0x300));
    store_codes(to + 32 * g, negate_where(v, (uint32_t)load32(block + 34 + 4 * g)), 64);
  }
}
INLINE void row_iq3_xxs(uint8_t to[256], const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    uint32_t i[8];
    UNROLL for (int j = 0; j < 8; j++) i[j] = block[2 + 8 * g + j];
    uint32_t signs = signs28((uint32_t)load32(block + 66 + 4 * g));
    store_codes(to + 32 * g, negate_where(eight_of_4(grids->iq3_xxs, i), signs), 64);
  }
}
INLINE void row_iq3_s(uint8_t to[256], const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    uint32_t i[8], h = (uint32_t)block[66 + g] << 8;
    UNROLL for (int j = 0; j < 8; j++) i[j] = block[2 + 8 * g + j] | (h >> j & 0x100);
    store_codes(to + 32 * g, negate_where(eight_of_4(grids->iq3_s, i), (uint32_t)load32(block + 74 + 4 * g)), 16);
  }
}

/* 8 * entry + delta: entries are -1, 0 and 1, so shifting their bits up keeps them. */
INLINE __m256i eightfold(__m256i entries) {
  return _mm256_and_si256(_mm256_slli_epi64(entries, 3), _mm256_set1_epi8((char)0xf8));
}
INLINE void row_iq1_s(uint8_t to[256], const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    const uint8_t *i = block + 2 + 4 * g;
    uint32_t h = load16(block + 34 + 2 * g);
    __m256i v = four_of_8((book8 *)grids->iq1, i[0] | (h << 8 & 0x700), i[1] | (h << 5 & 0x700),
                          i[2] | (h << 2 & 0x700), i[3] | (h >> 1 & 0x700));
    store_codes(to + 32 * g, eightfold(v), h & 0x8000 ? 15 : 17);
  }
}
INLINE void row_iq1_m(uint8_t to[256], const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    const uint8_t *i = block + 4 * g;
    uint32_t h = load16(block + 32 + 2 * g);
    __m256i v = four_of_8((book8 *)grids->iq1, i[0] | (h << 8 & 0x700), i[1] | (h << 4 & 0x700), i[2] | (h & 0x700),
                          i[3] | (h >> 4 & 0x700));
    uint32_t minus = (h >> 3 & 1) | (h << 1 & 0x100) | (h << 5 & 0x10000) | (h << 9 & 0x1000000); /* one bit per 8 */
    __m256i delta = negate_where(_mm256_set1_epi8(1), 255 * minus);
    store_codes(to + 32 * g, _mm256_add_epi8(eightfold(v), delta), 16);
  }
}

INLINE void open_rows(const source *s, int64_t at, int bytes, put256_fn *put, void *to, row_fn *row) {
  _Alignas(64) uint8_t code[LANES][256];
  const myna__grids *grids = myna__grids_get();
  for (int r = 0; r < LANES; r++) {
    ahead a = share_of(s, bytes, r, LANES);
    UNROLL for (int j = 0; j < 4; j++) prefetch_quarter(a, j);
    row(code[r], row_at(s->rows, 0, LANES * s->part + r, at), grids);
  }
  const myna__rows rows = {.p = {code[0]}, .stride = {sizeof code[0]}};
  for (int g = 0; g < 8; g++) {
    vi w[8];
    piece32(w, &rows, 0, 0, 32 * g, nothing);
    put(to, g, w);
  }
}
INLINE void open_iq2_xxs(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  open_rows(s, at, MYNA__BYTES_IQ2_XXS, put, to, row_iq2_xxs);
}
INLINE void open_iq2_xs(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  open_rows(s, at, MYNA__BYTES_IQ2_XS, put, to, row_iq2_xs);
}
INLINE void open_iq2_s(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  open_rows(s, at, MYNA__BYTES_IQ2_S, put, to, row_iq2_s);
}
INLINE void open_iq3_xxs(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  open_rows(s, at, MYNA__BYTES_IQ3_XXS, put, to, row_iq3_xxs);
}
INLINE void open_iq3_s(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  open_rows(s, at, MYNA__BYTES_IQ3_S, put, to, row_iq3_s);
}
INLINE void open_iq1_s(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  open_rows(s, at, MYNA__BYTES_IQ1_S, put, to, row_iq1_s);
}
INLINE void open_iq1_m(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  open_rows(s, at, MYNA__BYTES_IQ1_M, put, to, row_iq1_m);
}

/* ---- scales: 2 s + 1, the power of two in d ---- */

/* 2 s + 1 for s in `bits` bits from bit `at` on. */
INLINE vi odd_scale(vi v, int at, int bits) {
  return vi_or(vi_and(shift32(v, 1 - at), vi_set32((2 << bits) - 2)), vi_set32(1));
}
INLINE void head_iq2_xxs(head256 *h, const source *s, int64_t at) {
  UNROLL for (int half = 0; half < 2; half++) {
    vi v[8]; /* pairs of four indices and the dword with the scale on top */
    piece32(v, s->rows, 0, s->part, at + 2 + 32 * half, nothing);
    UNROLL for (int i = 0; i < 4; i++) h->scale[4 * half + i] = odd_scale(v[2 * i + 1], 28, 4);
  }
  h->d = vf_mul(half_at(s, at), vf_set(0.125f));
}
/* n nibbles, low ones first, at `at`. */
INLINE void nibble_scales(head256 *h, const source *s, int64_t at, int n) {
  vi v[4];
  piece_small(v, s->rows, 0, s->part, at, n / 2);
  UNROLL for (int g = 0; g < n; g++) h->scale[g] = odd_scale(v[g / 8], g % 8 * 4, 4);
}
INLINE void head_iq2_xs(head256 *h, const source *s, int64_t at) {
  nibble_scales(h, s, at + 66, 16);
  h->d = vf_mul(half_at(s, at), vf_set(0.125f));
}
INLINE void head_iq2_s(head256 *h, const source *s, int64_t at) {
  nibble_scales(h, s, at + 74, 16);
  h->d = vf_mul(half_at(s, at), vf_set(0.125f));
}
INLINE void head_iq3_xxs(head256 *h, const source *s, int64_t at) {
  vi v[8];
  piece32(v, s->rows, 0, s->part, at + 66, nothing);
  UNROLL for (int g = 0; g < 8; g++) h->scale[g] = odd_scale(v[g], 28, 4);
  h->d = vf_mul(half_at(s, at), vf_set(0.25f));
}
INLINE void head_iq3_s(head256 *h, const source *s, int64_t at) {
  nibble_scales(h, s, at + 106, 8);
  h->d = half_at(s, at);
}
INLINE void head_iq1_s(head256 *h, const source *s, int64_t at) {
  vi v[4];
  piece16(v, s->rows, 0, s->part, at + 34, nothing);
  UNROLL for (int g = 0; g < 8; g++) h->scale[g] = odd_scale(v[g / 2], g % 2 * 16 + 12, 3);
  h->d = vf_mul(half_at(s, at), vf_set(0.125f));
}
INLINE void head_iq1_m(head256 *h, const source *s, int64_t at) {
  vi v[4]; /* four times 12 bits of scales below a nibble of d */
  piece_small(v, s->rows, 0, s->part, at + 48, 8);
  UNROLL for (int g = 0; g < 16; g++) h->scale[g] = odd_scale(v[g / 8], g / 4 % 2 * 16 + g % 4 * 3, 3);
  vi low = vi_or(vi_and(vi_srl32(v[0], 12), vi_set32(0xf)), vi_and(vi_srl32(v[0], 24), vi_set32(0xf0)));
  vi high = vi_or(vi_and(vi_srl32(v[1], 4), vi_set32(0xf00)), vi_and(vi_srl32(v[1], 16), vi_set32(0xf000)));
  h->d = vf_mul(low_f16(vi_or(low, high)), vf_set(0.125f));
}

/* ---- by type ---- */

static void unpack_iq1_s(void *p, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                         const uint8_t *next) {
  unpack_q256(p, rows, k0, next, MYNA__BYTES_IQ1_S, 8, false, head_iq1_s, open_iq1_s);
}
INLINE void block_iq1_s(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  to_sums256 t = {.in = in, .k = k, .C = C, .groups = 8, .shift = 4, .mode = DOT_6BIT};
  sum_q256(acc, &t, part, next, MYNA__BYTES_IQ1_S, false, head_iq1_s, open_iq1_s);
}
static int64_t direct_iq1_s(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_IQ1_S, 256, block_iq1_s); }

static void unpack_iq1_m(void *p, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                         const uint8_t *next) {
  unpack_q256(p, rows, k0, next, MYNA__BYTES_IQ1_M, 16, false, head_iq1_m, open_iq1_m);
}
INLINE void block_iq1_m(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  to_sums256 t = {.in = in, .k = k, .C = C, .groups = 16, .shift = 4, .mode = DOT_6BIT};
  sum_q256(acc, &t, part, next, MYNA__BYTES_IQ1_M, false, head_iq1_m, open_iq1_m);
}
static int64_t direct_iq1_m(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_IQ1_M, 256, block_iq1_m); }

static void unpack_iq2_xxs(void *p, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                           const uint8_t *next) {
  unpack_q256(p, rows, k0, next, MYNA__BYTES_IQ2_XXS, 8, false, head_iq2_xxs, open_iq2_xxs);
}
INLINE void block_iq2_xxs(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  to_sums256 t = {.in = in, .k = k, .C = C, .groups = 8, .shift = 6, .mode = DOT_7BIT};
  sum_q256(acc, &t, part, next, MYNA__BYTES_IQ2_XXS, false, head_iq2_xxs, open_iq2_xxs);
}
static int64_t direct_iq2_xxs(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_IQ2_XXS, 256, block_iq2_xxs); }

static void unpack_iq2_xs(void *p, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                          const uint8_t *next) {
  unpack_q256(p, rows, k0, next, MYNA__BYTES_IQ2_XS, 16, false, head_iq2_xs, open_iq2_xs);
}
INLINE void block_iq2_xs(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  to_sums256 t = {.in = in, .k = k, .C = C, .groups = 16, .shift = 6, .mode = DOT_7BIT};
  sum_q256(acc, &t, part, next, MYNA__BYTES_IQ2_XS, false, head_iq2_xs, open_iq2_xs);
}
static int64_t direct_iq2_xs(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_IQ2_XS, 256, block_iq2_xs); }

static void unpack_iq2_s(void *p, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                         const uint8_t *next) {
  unpack_q256(p, rows, k0, next, MYNA__BYTES_IQ2_S, 16, false, head_iq2_s, open_iq2_s);
}
INLINE void block_iq2_s(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  to_sums256 t = {.in = in, .k = k, .C = C, .groups = 16, .shift = 6, .mode = DOT_7BIT};
  sum_q256(acc, &t, part, next, MYNA__BYTES_IQ2_S, false, head_iq2_s, open_iq2_s);
}
static int64_t direct_iq2_s(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_IQ2_S, 256, block_iq2_s); }

static void unpack_iq3_xxs(void *p, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                           const uint8_t *next) {
  unpack_q256(p, rows, k0, next, MYNA__BYTES_IQ3_XXS, 8, false, head_iq3_xxs, open_iq3_xxs);
}
INLINE void block_iq3_xxs(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  to_sums256 t = {.in = in, .k = k, .C = C, .groups = 8, .shift = 6, .mode = DOT_7BIT};
  sum_q256(acc, &t, part, next, MYNA__BYTES_IQ3_XXS, false, head_iq3_xxs, open_iq3_xxs);
}
static int64_t direct_iq3_xxs(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_IQ3_XXS, 256, block_iq3_xxs); }

static void unpack_iq3_s(void *p, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                         const uint8_t *next) {
  unpack_q256(p, rows, k0, next, MYNA__BYTES_IQ3_S, 8, false, head_iq3_s, open_iq3_s);
}
INLINE void block_iq3_s(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  to_sums256 t = {.in = in, .k = k, .C = C, .groups = 8, .shift = 4, .mode = DOT_6BIT};
  sum_q256(acc, &t, part, next, MYNA__BYTES_IQ3_S, false, head_iq3_s, open_iq3_s);
}
static int64_t direct_iq3_s(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_IQ3_S, 256, block_iq3_s); }

INLINE void fill_open_iq(myna__ktable *t) {
  t->unpack[MYNA_IQ1_S] = unpack_iq1_s;
  t->unpack[MYNA_IQ1_M] = unpack_iq1_m;
  t->unpack[MYNA_IQ2_XXS] = unpack_iq2_xxs;
  t->unpack[MYNA_IQ2_XS] = unpack_iq2_xs;
  t->unpack[MYNA_IQ2_S] = unpack_iq2_s;
  t->unpack[MYNA_IQ3_XXS] = unpack_iq3_xxs;
  t->unpack[MYNA_IQ3_S] = unpack_iq3_s;
  t->direct[MYNA_IQ1_S] = direct_iq1_s;
  t->direct[MYNA_IQ1_M] = direct_iq1_m;
  t->direct[MYNA_IQ2_XXS] = direct_iq2_xxs;
  t->direct[MYNA_IQ2_XS] = direct_iq2_xs;
  t->direct[MYNA_IQ2_S] = direct_iq2_s;
  t->direct[MYNA_IQ3_XXS] = direct_iq3_xxs;
  t->direct[MYNA_IQ3_S] = direct_iq3_s;
}

#endif
