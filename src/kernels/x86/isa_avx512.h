/* isa_avx512.h: the vector vocabulary of the shared kernel sources (*_impl.h), 512 bits: a strip is one vector.
 *
 * vi: integers, vf: floats. Same names in isa_avx2.h. */
#ifndef MYNA__ISA_AVX512_H
#define MYNA__ISA_AVX512_H

#include "kernels/table.h"
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#pragma clang diagnostic ignored "-Wpass-failed" /* below -O2 nothing is unrolled */
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif
/* A case of a switch that inlines one function with different constants: the asm tells the cases apart, for clang 14 would
 * merge them into one call before it inlines. */
#define SEPARATE(call)                      \
  do {                                      \
    call;                                   \
    __asm__ volatile("" : : "i"(__LINE__)); \
  } while (0)

typedef __m512i vi;
typedef __m512 vf;
enum {
  PAIRS16 = true, /* a multiply-add of 16-bit pairs is cheaper than a multiply and an add */
  REGISTERS = 32,
  LANES = 16,
  PARTS = MYNA__STRIP / LANES, /* vectors per strip */
  V_MAX = MYNA__GRAIN,         /* vectors of a tile */
  C_MAX = 8,                   /* columns of the widest tile: F32 */
  C_PAIR = 8,                  /* BF16 */
  C_INT = 4,                   /* integers */
  C_SHORT = 4,                 /* those whose sums fit int16 for a few products only */
  SCALES_PAIRED = false,       /* panels hold the scales of codes with an offset in pairs too */
  FILE_ORDER = false,          /* see myna__ktable */
#ifdef __clang__
  C_INTS = 8, /* of direct kernels of integers */
#else
  C_INTS = 4, /* gcc takes minutes for more */
#endif
  C_HALF = 4, /* more columns than this take the wide tile only when it is full */
};

/* Parts of a strip that a direct kernel of C columns takes together. */
INLINE int parts_abreast(int C, bool floats) { return PARTS; }

#include "kernels/x86/ahead.h"

INLINE int32_t load32(const uint8_t *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return v;
}
INLINE float load_float(const uint8_t *p) {
  float v;
  memcpy(&v, p, 4);
  return v;
}

INLINE vi vi_load(const void *p) { return _mm512_load_si512(p); }
INLINE void vi_store(void *p, vi v) { _mm512_store_si512(p, v); }
INLINE vi vi_zero(void) { return _mm512_setzero_si512(); }
INLINE vi vi_set32(int32_t v) { return _mm512_set1_epi32(v); }
INLINE vi vi_set16(int v) { return _mm512_set1_epi16((short)v); }
INLINE vi vi_set8(int v) { return _mm512_set1_epi8((char)v); }
INLINE vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
INLINE vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
INLINE vi vi_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
INLINE vi vi_select(vi mask, vi a, vi b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xCA); } /* mask ? a : b */
INLINE vi vi_sll32(vi v, int n) { return _mm512_slli_epi32(v, (unsigned)n); }
INLINE vi vi_srl32(vi v, int n) { return _mm512_srli_epi32(v, (unsigned)n); }
INLINE vi vi_sra32(vi v, int n) { return _mm512_srai_epi32(v, (unsigned)n); }
INLINE vi vi_add32(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi vi_mul32(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
INLINE vi vi_mul16(vi a, vi b) { return _mm512_mullo_epi16(a, b); }
INLINE vi vi_add8(vi a, vi b) { return _mm512_add_epi8(a, b); }
INLINE vi vi_min8u(vi a, vi b) { return _mm512_min_epu8(a, b); }
INLINE vi vi_subs8u(vi a, vi b) { return _mm512_subs_epu8(a, b); }
INLINE vi vi_max32u(vi a, vi b) { return _mm512_max_epu32(a, b); }
INLINE vf vi_to_f32(vi v) { return _mm512_cvtepi32_ps(v); }
INLINE vf vi_as_f32(vi v) { return _mm512_castsi512_ps(v); }

/* Per dword, the bytes whose numbers are in `which`, lowest first; 0x80: zero. */
INLINE vi vi_pick_bytes(vi v, uint32_t which) {
  return _mm512_shuffle_epi8(
      v, _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0), vi_set32((int32_t)which)));
}

/* Per byte, table[v], v < 16. */
INLINE vi vi_table(const int8_t table[16]) { return _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)table)); }
INLINE vi vi_look_up(vi table, vi v) { return _mm512_shuffle_epi8(table, v); }
/* Per byte, v + value where bits & mask is not 0; the mask has one bit per byte. */
INLINE vi vi_add8_where(vi v, vi bits, vi mask, int value) {
  return _mm512_mask_add_epi8(v, _mm512_test_epi8_mask(bits, mask), v, vi_set8(value));
}
/* Per byte, -v there. */
INLINE vi vi_negate8_where(vi v, vi bits, vi mask) {
  return _mm512_mask_sub_epi8(v, _mm512_test_epi8_mask(bits, mask), vi_zero(), v);
}
/* Per dword, 0 where it equals x. */
INLINE vi vi_zero_where32(vi v, int x) { return _mm512_maskz_mov_epi32(_mm512_cmpneq_epi32_mask(v, vi_set32(x)), v); }

INLINE vf vf_load(const float *p) { return _mm512_load_ps(p); }
INLINE void vf_store(float *p, vf v) { _mm512_store_ps(p, v); }
INLINE vf vf_zero(void) { return _mm512_setzero_ps(); }
INLINE vf vf_set(float v) { return _mm512_set1_ps(v); }
INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a * b */
INLINE vf vf_from_f16(__m256i h) { return _mm512_cvtph_ps(h); }
INLINE vf vf_from_bf16(__m256i h) { return vi_as_f32(vi_sll32(_mm512_cvtepu16_epi32(h), 16)); }

/* bf16 pairs (even k low, odd k high) to floats. */
INLINE void widen_bf16_pair(vf *even, vf *odd, vi v) {
  *even = vi_as_f32(vi_sll32(v, 16));
  *odd = vi_as_f32(vi_and(v, vi_set32((int32_t)0xffff0000)));
}
/* Pairs (even k low, odd k high) to floats. */
INLINE void widen_f16(vf *even, vf *odd, vi v) {
  const __m512i split = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24, 22,
                                         20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  __m512i s = _mm512_permutexvar_epi16(split, v);
  *even = _mm512_cvtph_ps(_mm512_castsi512_si256(s));
  *odd = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(s, 1));
}
INLINE vf low_f16(vi v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }

/* Minus an offset's share of a sum of products, 2^shift times the nsum at p; `two`: with the one after it. */
INLINE vi minus_offset(const uint8_t *p, int shift, bool two) {
  vi s = vi_set32(load32(p));
  return vi_sll32(two ? vi_add32(s, vi_set32(load32(p + 4))) : s, shift);
}

/* ---- activation codes ---- */

INLINE vi vi_max32(vi a, vi b) { return _mm512_max_epi32(a, b); }
INLINE vi vi_loadu(const void *p) { return _mm512_loadu_si512(p); }
INLINE vi vi_swap_pairs32(vi v) { return _mm512_shuffle_epi32(v, 0xB1); }
INLINE vf vf_loadu(const float *p) { return _mm512_loadu_ps(p); }
INLINE vi vf_as_i32(vf v) { return _mm512_castps_si512(v); }
INLINE vi vf_round32(vf v) { return _mm512_cvtps_epi32(v); }
/* Dword j of 128-bit lane l to place LANES / 4 * j + l. */
INLINE vi vi_untangle(vi v) {
  return _mm512_permutexvar_epi32(_mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0), v);
}
/* Four vectors of codes as bytes, in order. */
INLINE vi vi_pack_codes(vi a, vi b, vi c, vi d) {
  return vi_untangle(_mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)));
}
/* Sums of four signed bytes per dword. */
INLINE vi vi_sum4(vi q) { return _mm512_dpbusd_epi32(vi_zero(), vi_set8(1), q); }
INLINE vi vi_abs8(vi v) { return _mm512_abs_epi8(v); }
/* The sum of each 128-bit lane's dwords in all of them. */
INLINE vi vi_lane_sums(vi v) {
  v = vi_add32(v, _mm512_shuffle_epi32(v, 0x4E));
  return vi_add32(v, _mm512_shuffle_epi32(v, 0xB1));
}
/* The maximum over the 128-bit lanes. */
INLINE __m128i vi_max_lanes(vi v) {
  __m256i h = _mm256_max_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  return _mm_max_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}
/* LANES dwords as 16 bits: truncated, and half the lanes after adding neighbours. */
INLINE void vi_store16(void *p, vi v) { _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(v)); }

/* ---- multiply-add: i + codes (unsigned bytes) x q (signed bytes), four products per dword ---- */

/* How products are summed. VNNI has one way for all codes. */
typedef enum dot_mode { DOT_4BIT, DOT_5BIT, DOT_6BIT, DOT_7BIT, DOT_8BIT } dot_mode;
/* Must an offset of 2^shift come off through the sums? */
INLINE bool dot_needs_offset(dot_mode m) { return true; }
/* Not the intrinsic: clang makes two instructions of it where that shortens a chain. */
INLINE vi vi_dot_pairs16(vi i, vi a, vi b) {
  __asm__("vpdpwssd %2, %1, %0" : "+v"(i) : "v"(a), "v"(b));
  return i;
}

/* i += codes x activations; k-th of `steps` such calls in a group. `pairs` is for levels that sum in int16 first. */
INLINE void dot_step(vi *i, vi *pairs, vi w, vi a, int k, int steps, dot_mode mode) {
  *i = _mm512_dpbusd_epi32(*i, w, a);
}

/* i[v][c] += codes x activations over `steps` dwords; vector v of the codes at code[v] + 64 step. */
INLINE void dot_codes(vi i[V_MAX][C_MAX], const uint8_t *code, size_t panel_bytes, const uint8_t *const *row,
                      int64_t at, int steps, int V, int C, dot_mode mode) {
  UNROLL for (int k = 0; k < steps; k++) {
    vi w[V_MAX];
    UNROLL for (int v = 0; v < V; v++) w[v] = vi_load(code + (size_t)v * panel_bytes + 64 * k);
    UNROLL for (int c = 0; c < C; c++) {
      vi a = vi_set32(load32(row[c] + at + 4 * k));
      UNROLL for (int v = 0; v < V; v++) i[v][c] = _mm512_dpbusd_epi32(i[v][c], w[v], a);
    }
  }
}

/* i[c] += w[0..n) x activations, 4 k per dword, from byte `at` of each row on. */
INLINE void dot_dwords(vi *i, const vi *w, int n, const uint8_t *const *x, int64_t at, int C, dot_mode mode) {
  vi pairs[C_INTS];
  UNROLL for (int k = 0; k < n; k++) UNROLL for (int c = 0; c < C; c++)
      dot_step(&i[c], &pairs[c], w[k], vi_set32(load32(x[c] + at + 4 * k)), k, n, mode);
}

/* ---- 16 rows as lanes ---- */

/* Rows in 128-bit lanes (row 4 * lane + j in v[j]) to dwords: out[i] lane r = dword i of row r. */
INLINE void transpose4(vi out[4], const vi v[4]) {
  vi ab0 = _mm512_unpacklo_epi32(v[0], v[1]), ab1 = _mm512_unpackhi_epi32(v[0], v[1]);
  vi cd0 = _mm512_unpacklo_epi32(v[2], v[3]), cd1 = _mm512_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm512_unpacklo_epi64(ab0, cd0);
  out[1] = _mm512_unpackhi_epi64(ab0, cd0);
  out[2] = _mm512_unpacklo_epi64(ab1, cd1);
  out[3] = _mm512_unpackhi_epi64(ab1, cd1);
}

/* out[i] lane r = dword i of the 16 bytes at `at` of row r (of part `part` of the strip). */
INLINE void piece16(vi out[4], const myna__rows *rows, int plane, int part, int64_t at, ahead a) {
  vi v[4];
  UNROLL for (int j = 0; j < 4; j++) {
    prefetch_quarter(rows, a, j);
    v[j] = _mm512_castsi128_si512(_mm_loadu_si128((const void *)row_at(rows, plane, j, at)));
    v[j] = _mm512_inserti32x4(v[j], _mm_loadu_si128((const void *)row_at(rows, plane, 4 + j, at)), 1);
    v[j] = _mm512_inserti32x4(v[j], _mm_loadu_si128((const void *)row_at(rows, plane, 8 + j, at)), 2);
    v[j] = _mm512_inserti32x4(v[j], _mm_loadu_si128((const void *)row_at(rows, plane, 12 + j, at)), 3);
  }
  transpose4(out, v);
}

INLINE __m128i load_small(const uint8_t *p, int bytes) {
  return bytes == 4 ? _mm_cvtsi32_si128(load32(p)) : _mm_loadl_epi64((const void *)p);
}
/* The same for 4 or 8 bytes: 1 or 2 vectors. */
INLINE void piece_small(vi out[4], const myna__rows *rows, int plane, int part, int64_t at, int bytes) {
  vi v[4];
  UNROLL for (int j = 0; j < 4; j++) {
    v[j] = _mm512_castsi128_si512(load_small(row_at(rows, plane, j, at), bytes));
    v[j] = _mm512_inserti32x4(v[j], load_small(row_at(rows, plane, 4 + j, at), bytes), 1);
    v[j] = _mm512_inserti32x4(v[j], load_small(row_at(rows, plane, 8 + j, at), bytes), 2);
    v[j] = _mm512_inserti32x4(v[j], load_small(row_at(rows, plane, 12 + j, at), bytes), 3);
  }
  transpose4(out, v);
}

INLINE __m128i eight16(const myna__rows *rows, int plane, int r, int64_t at) {
  return _mm_set_epi64x((int64_t)four16(rows, plane, r + 4, at), (int64_t)four16(rows, plane, r, at));
}
/* The 16-bit values at `at` of all rows (of a part). */
typedef __m256i halves;
INLINE halves part_halves(const myna__rows *rows, int plane, int part, int64_t at) {
  return _mm256_set_m128i(eight16(rows, plane, 8, at), eight16(rows, plane, 0, at));
}

INLINE vi load_halves(const myna__rows *rows, int plane, int r, int s, int64_t at) {
  vi v = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)row_at(rows, plane, r, at)));
  return _mm512_inserti64x4(v, _mm256_loadu_si256((const void *)row_at(rows, plane, s, at)), 1);
}

/* The same for 32 bytes: a fifth fewer cycles per byte than two 16s (half the loads, one shuffle for two inserts). */
INLINE void piece32(vi out[8], const myna__rows *rows, int plane, int part, int64_t at, ahead next) {
  vi lo[4], hi[4];
  UNROLL for (int j = 0; j < 4; j++) {
    prefetch_quarter(rows, next, j);
    vi a = load_halves(rows, plane, j, 8 + j, at), b = load_halves(rows, plane, 4 + j, 12 + j, at);
    lo[j] = _mm512_permutex2var_epi64(a, _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), b); /* lanes a0 b0 a2 b2 */
    hi[j] = _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2), b);
  }
  transpose4(out, lo);
  transpose4(out + 4, hi);
}

#endif
