/* unpack_avx512.c: 16 rows x 256 k of every common storage type into panels.
 *
 * Types whose codes lie as ggml lays them need no more
 * than shifts and masks after it, because 4 packed bytes of a row are 4 consecutive k in the low bits and 4 in the
 * high bits. Nothing beyond the bytes of the block is read. */
#include "kernels/quants/blocks.h"
#include "kernels/x86/pieces_avx512.h"

INLINE __m512i low_nibbles(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
INLINE __m512i high_nibbles(__m512i v) { return low_nibbles(_mm512_srli_epi32(v, 4)); }
/* Low 4 bits of each byte from a, the bits of `keep` above them from b. */
INLINE __m512i nibble_and_bits(__m512i a, __m512i b, int keep) {
  __m512i v = _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), a, b, 0xCA); /* mask ? a : b */
  return _mm512_and_si512(v, _mm512_set1_epi8((char)(keep | 15)));
}

/* ---- Q32 forms ---- */

static void unpack_q4_0(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  myna__panel_q32 *p = panel;
  int64_t at = k0 / 32 * MYNA__BYTES_Q4_0;
  for (int g = 0; g < n / 32; g++, at += MYNA__BYTES_Q4_0) {
    __m512i q[4];
    prefetch_part(next, 8 * MYNA__BYTES_Q4_0, g, 8);
    piece16(q, rows, 0, at + 2);
    UNROLL for (int i = 0; i < 4; i++) {
      _mm512_store_si512(p->code[8 * g + i], low_nibbles(q[i]));
      _mm512_store_si512(p->code[8 * g + 4 + i], high_nibbles(q[i]));
    }
    _mm512_store_ps(p->d[g], halves(rows, at));
  }
}

static void unpack_q8_0(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  myna__panel_q32 *p = panel;
  int64_t at = k0 / 32 * MYNA__BYTES_Q8_0;
  for (int g = 0; g < n / 32; g++, at += MYNA__BYTES_Q8_0) {
    __m512i q[8];
    prefetch_part(next, 8 * MYNA__BYTES_Q8_0, g, 8);
    piece32(q, rows, 0, at + 2);
    UNROLL for (int i = 0; i < 8; i++) _mm512_store_si512(p->code[8 * g + i], _mm512_xor_si512(q[i], _mm512_set1_epi8(-128)));
    _mm512_store_ps(p->d[g], halves(rows, at));
  }
}

/* ---- Q256 forms ---- */

/* Per dword, the bytes whose numbers are in `which`, lowest first; 0x80: zero. */
INLINE __m512i pick_bytes(__m512i v, uint32_t which) {
  __m512i dword = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
  return _mm512_shuffle_epi8(v, _mm512_add_epi8(dword, _mm512_set1_epi32((int)which)));
}
INLINE __m512i byte_of(__m512i v, int i) { return pick_bytes(v, 0x80808000u | (uint32_t)i); }
/* Bytes i and i + 1 as a pair of int16. */
INLINE __m512i byte_pair(__m512i v, int i) { return pick_bytes(v, 0x80008000u | (uint32_t)i | (uint32_t)(i + 1) << 16); }
INLINE __m512 low_half_to_f32(__m512i v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }

/* The 16 bytes that start Q4_K and Q5_K blocks: d, dmin, 8 scales and mins of 6 bits (see quants/kquant.h). */
INLINE void header_k6(myna__panel_q256 *p, const myna__rows *rows, int64_t at) {
  __m512i h[4];
  piece16(h, rows, 0, at);
  _mm512_store_ps(p->d, low_half_to_f32(h[0]));
  _mm512_store_ps(p->dmin, low_half_to_f32(_mm512_srli_epi32(h[0], 16)));
  __m512i m63 = _mm512_set1_epi8(63), m48 = _mm512_set1_epi8(48);
  __m512i scale[2], min[2];
  scale[0] = _mm512_and_si512(h[1], m63);
  min[0] = _mm512_and_si512(h[2], m63);
  scale[1] = _mm512_or_si512(low_nibbles(h[3]), _mm512_and_si512(_mm512_srli_epi32(h[1], 2), m48));
  min[1] = _mm512_or_si512(high_nibbles(h[3]), _mm512_and_si512(_mm512_srli_epi32(h[2], 2), m48));
  UNROLL for (int i = 0; i < 8; i++) _mm512_store_si512(p->scale[i], byte_of(scale[i / 4], i % 4));
  UNROLL for (int i = 0; i < 4; i++) _mm512_store_si512(p->min[i], byte_pair(min[i / 2], i % 2 * 2));
}

static void unpack_q4_k(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  myna__panel_q256 *p = panel;
  int64_t at = k0 / 256 * MYNA__BYTES_Q4_K;
  header_k6(p, rows, at);
  at += 16;
  for (int c = 0; c < 4; c++, at += 32) { /* 64 k: low nibbles, then high nibbles */
    __m512i q[8];
    prefetch_part(next, MYNA__BYTES_Q4_K, c, 4);
    piece32(q, rows, 0, at);
    UNROLL for (int i = 0; i < 8; i++) {
      _mm512_store_si512(p->code[16 * c + i], low_nibbles(q[i]));
      _mm512_store_si512(p->code[16 * c + 8 + i], high_nibbles(q[i]));
    }
  }
}

static void unpack_q5_k(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  myna__panel_q256 *p = panel;
  int64_t at = k0 / 256 * MYNA__BYTES_Q5_K;
  header_k6(p, rows, at);
  __m512i h[8]; /* bit g of each byte: top bit in group g */
  piece32(h, rows, 0, at + 16);
  at += 48;
  UNROLL for (int c = 0; c < 4; c++) {
    __m512i q[8];
    prefetch_part(next, MYNA__BYTES_Q5_K, c, 4);
    piece32(q, rows, 0, at + 32 * c);
    UNROLL for (int i = 0; i < 8; i++) {
      __m512i low = c <= 2 ? _mm512_slli_epi32(h[i], (unsigned)(4 - 2 * c)) : _mm512_srli_epi32(h[i], (unsigned)(2 * c - 4));
      __m512i high = c <= 1 ? _mm512_slli_epi32(h[i], (unsigned)(3 - 2 * c)) : _mm512_srli_epi32(h[i], (unsigned)(2 * c - 3));
      _mm512_store_si512(p->code[16 * c + i], nibble_and_bits(q[i], low, 0x10));
      _mm512_store_si512(p->code[16 * c + 8 + i], nibble_and_bits(_mm512_srli_epi32(q[i], 4), high, 0x10));
    }
  }
}

static void unpack_q6_k(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  myna__panel_q256 *p = panel;
  int64_t at = k0 / 256 * MYNA__BYTES_Q6_K;
  for (int half = 0; half < 2; half++) {
    __m512i h[8], q[8]; /* bits 2j, 2j + 1 of h: top bits of the j-th 32 codes */
    uint8_t(*code)[16][4] = p->code + 32 * half;
    prefetch_part(next, MYNA__BYTES_Q6_K, 2 * half, 4);
    piece32(h, rows, 0, at + 128 + 32 * half);
    piece32(q, rows, 0, at + 64 * half);
    UNROLL for (int i = 0; i < 8; i++) {
      _mm512_store_si512(code[i], nibble_and_bits(q[i], _mm512_slli_epi32(h[i], 4), 0x30));
      _mm512_store_si512(code[16 + i], nibble_and_bits(_mm512_srli_epi32(q[i], 4), h[i], 0x30));
    }
    prefetch_part(next, MYNA__BYTES_Q6_K, 2 * half + 1, 4);
    piece32(q, rows, 0, at + 64 * half + 32);
    UNROLL for (int i = 0; i < 8; i++) {
      _mm512_store_si512(code[8 + i], nibble_and_bits(q[i], _mm512_slli_epi32(h[i], 2), 0x30));
      _mm512_store_si512(code[24 + i], nibble_and_bits(_mm512_srli_epi32(q[i], 4), _mm512_srli_epi32(h[i], 2), 0x30));
    }
  }
  __m512i s[4];
  piece16(s, rows, 0, at + 192);
  UNROLL for (int g = 0; g < 16; g++)
    _mm512_store_si512(p->scale[g], _mm512_srai_epi32(_mm512_slli_epi32(s[g / 4], (unsigned)(24 - g % 4 * 8)), 24));
  _mm512_store_ps(p->d, halves(rows, at + 208));
}

/* ---- MLX: 8 consecutive k in the nibbles of a dword, scales and biases in planes of their own ---- */

/* Nibbles 4 half .. 4 half + 3 of every dword as bytes: each byte twice, then the upper copy's high nibble. */
INLINE __m512i spread_nibbles(__m512i v, int half) {
  __m512i b = pick_bytes(v, half ? 0x03030202 : 0x01010000);
  __m512i odd = _mm512_set1_epi16((short)0xff00);
  return low_nibbles(_mm512_ternarylogic_epi32(odd, _mm512_srli_epi16(b, 4), b, 0xCA)); /* odd ? b >> 4 : b */
}

/* Element i of a plane of floats of every row. */
INLINE __m512 plane_floats(const myna__rows *rows, int plane, int64_t i, myna_dtype t) {
  _Alignas(64) uint32_t f[MYNA__STRIP];
  _Alignas(32) uint16_t h[MYNA__STRIP];
  if (t == MYNA_F32) {
    UNROLL for (int r = 0; r < MYNA__STRIP; r++) memcpy(&f[r], row_at(rows, plane, r, 4 * i), 4);
    return _mm512_load_ps(f);
  }
  UNROLL for (int r = 0; r < MYNA__STRIP; r++) memcpy(&h[r], row_at(rows, plane, r, 2 * i), 2);
  __m256i v = _mm256_load_si256((const void *)h);
  return t == MYNA_F16 ? _mm512_cvtph_ps(v) : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

static void unpack_mlx4(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  myna__panel_q32 *p = panel;
  int group = rows->group;
  __m512 d = _mm512_setzero_ps(), m = d;
  for (int g = 0; g < n / 32; g++) {
    int64_t k = k0 + 32 * g;
    __m512i q[4];
    prefetch_part(next, MYNA__KBLOCK / 2, g, 8);
    piece16(q, rows, 0, k / 2);
    UNROLL for (int i = 0; i < 4; i++) {
      _mm512_store_si512(p->code[8 * g + 2 * i], spread_nibbles(q[i], 0));
      _mm512_store_si512(p->code[8 * g + 2 * i + 1], spread_nibbles(q[i], 1));
    }
    if (g == 0 || k % group == 0) {
      d = plane_floats(rows, 1, k / group, rows->scale_type);
      m = plane_floats(rows, 2, k / group, rows->scale_type);
    }
    _mm512_store_ps(p->d[g], d);
    _mm512_store_ps(p->m[g], m);
  }
}

/* ---- floats ---- */

/* One pass over a block of floats of `size` bytes: pieces of 32 bytes through `put`, then single elements. */
typedef void put_piece_fn(void *panel, const __m512i q[8], int k);
typedef void put_one_fn(void *panel, const myna__rows *rows, int64_t at, int k);

INLINE void unpack_floats(void *panel, const myna__rows *rows, int64_t k0, int n, const uint8_t *next, int size, put_piece_fn *put,
                          put_one_fn *one) {
  int64_t at = size * k0;
  int k = 0;
  for (; k + 32 / size <= n; k += 32 / size) {
    __m512i q[8];
    prefetch_part(next + k * size * MYNA__STRIP, 32, 0, 1);
    piece32(q, rows, 0, at + size * k);
    put(panel, q, k);
  }
  for (; k < n; k++) one(panel, rows, at + size * k, k);
}

/* 16-bit element at `at` of every row as float. */
INLINE __m512 bf16_halves(const myna__rows *rows, int64_t at) {
  _Alignas(32) uint16_t h[MYNA__STRIP];
  UNROLL for (int r = 0; r < MYNA__STRIP; r++) memcpy(&h[r], row_at(rows, 0, r, at), 2);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_load_si256((const void *)h)), 16));
}

INLINE void put_bf16(void *panel, const __m512i q[8], int k) {
  UNROLL for (int i = 0; i < 8; i++) _mm512_store_si512(((myna__panel_bf16 *)panel)->w[k / 2 + i], q[i]);
}
INLINE void put_bf16_one(void *panel, const myna__rows *rows, int64_t at, int k) {
  myna__panel_bf16 *p = panel;
  for (int r = 0; r < MYNA__STRIP; r++) memcpy(&p->w[k / 2][r][k & 1], row_at(rows, 0, r, at), 2);
}
static void unpack_bf16(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  if (n & 1) memset(((myna__panel_bf16 *)panel)->w[n / 2], 0, 64);
  unpack_floats(panel, rows, k0, n, next, 2, put_bf16, put_bf16_one);
}

INLINE void put_f32(void *panel, const __m512i q[8], int k) {
  UNROLL for (int i = 0; i < 8; i++) _mm512_store_si512(((myna__panel_f32 *)panel)->w[k + i], q[i]);
}
INLINE void put_f32_one(void *panel, const myna__rows *rows, int64_t at, int k) {
  for (int r = 0; r < MYNA__STRIP; r++) memcpy(&((myna__panel_f32 *)panel)->w[k][r], row_at(rows, 0, r, at), 4);
}
static void unpack_f32_f32(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  unpack_floats(panel, rows, k0, n, next, 4, put_f32, put_f32_one);
}

INLINE void put_f16(void *panel, const __m512i q[8], int k) {
  myna__panel_f32 *p = panel;
  UNROLL for (int i = 0; i < 8; i++) {
    __m512 even, odd;
    widen_f16(&even, &odd, q[i]);
    _mm512_store_ps(p->w[k + 2 * i], even);
    _mm512_store_ps(p->w[k + 2 * i + 1], odd);
  }
}
INLINE void put_f16_one(void *panel, const myna__rows *rows, int64_t at, int k) {
  _mm512_store_ps(((myna__panel_f32 *)panel)->w[k], halves(rows, at));
}
static void unpack_f32_f16(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  unpack_floats(panel, rows, k0, n, next, 2, put_f16, put_f16_one);
}

/* bf16 widened, for exact plans. */
INLINE void put_f32_bf16(void *panel, const __m512i q[8], int k) {
  myna__panel_f32 *p = panel;
  UNROLL for (int i = 0; i < 8; i++) {
    __m512 even, odd;
    widen_bf16(&even, &odd, q[i]);
    _mm512_store_ps(p->w[k + 2 * i], even);
    _mm512_store_ps(p->w[k + 2 * i + 1], odd);
  }
}
INLINE void put_f32_bf16_one(void *panel, const myna__rows *rows, int64_t at, int k) {
  _mm512_store_ps(((myna__panel_f32 *)panel)->w[k], bf16_halves(rows, at));
}
static void unpack_f32_bf16(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  unpack_floats(panel, rows, k0, n, next, 2, put_f32_bf16, put_f32_bf16_one);
}

/* Any other type: rows through to_f32, then transposed. */
static void unpack_f32_any(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n, const uint8_t *next) {
  _Alignas(64) float w[MYNA__STRIP][MYNA__KBLOCK];
  for (int r = 0; r < MYNA__STRIP; r++) {
    myna__wrow row = myna__rows_get(rows, r);
    row = myna__wrow_at(&row, t->type, k0);
    myna__quant_get(t->type)->to_f32(w[r], &row, n);
  }
  unpack_f32_f32(panel, t, &(myna__rows){.p = {(const uint8_t *)w}, .stride = {sizeof w[0]}}, 0, n, next);
}

void myna__fill_unpack_avx512(myna__ktable *t) {
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) t->unpack_f32[i] = unpack_f32_any;
  t->unpack_f32[MYNA_F32] = unpack_f32_f32;
  t->unpack_f32[MYNA_F16] = unpack_f32_f16;
  t->unpack_f32[MYNA_BF16] = unpack_f32_bf16;
  t->unpack[MYNA_BF16] = unpack_bf16;
  t->unpack[MYNA_Q4_0] = unpack_q4_0;
  t->unpack[MYNA_Q8_0] = unpack_q8_0;
  t->unpack[MYNA_MLX4] = unpack_mlx4;
  t->unpack[MYNA_Q4_K] = unpack_q4_k;
  t->unpack[MYNA_Q5_K] = unpack_q5_k;
  t->unpack[MYNA_Q6_K] = unpack_q6_k;
}
