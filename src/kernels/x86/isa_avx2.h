/* isa_avx2.h: the vector vocabulary of the shared kernel sources (*_impl.h), 256 bits: a strip is two vectors.
 *
 * With -mavxvnni byte products use VPDPBUSD. Without, VPMADDUBSW adds two products in int16, which must not saturate:
 * 4-bit codes: 8 sums of two fit (8 * 2 * 15 * 128 = 30720), 5 bits: 4 (4 * 2 * 31 * 128 = 31744), 6 bits: 2
 * (2 * 2 * 63 * 128 = 32256), 7 bits: 1; 8-bit codes go back to signed, |w| times q with w's sign (2 * 128 * 127 = 32512). */
#ifndef MYNA__ISA_AVX2_H
#define MYNA__ISA_AVX2_H

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

typedef __m256i vi;
typedef __m256 vf;
enum {
  PAIRS16 = true,
  REGISTERS = 16,
  LANES = 8,
  PARTS = MYNA__STRIP / LANES,
  V_MAX = PARTS,
  C_MAX = 6,
  C_PAIR = 4,
  C_INT = 4,
  C_INTS = 4,
  C_HALF = 6,
  SCALES_PAIRED = true,
  FILE_ORDER = true
}; /* see isa_avx512.h */

/* As in isa_avx512.h. */
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

INLINE vi vi_load(const void *p) { return _mm256_load_si256(p); }
INLINE void vi_store(void *p, vi v) { _mm256_store_si256(p, v); }
INLINE vi vi_zero(void) { return _mm256_setzero_si256(); }
INLINE vi vi_set32(int32_t v) { return _mm256_set1_epi32(v); }
INLINE vi vi_set16(int v) { return _mm256_set1_epi16((short)v); }
INLINE vi vi_set8(int v) { return _mm256_set1_epi8((char)v); }
INLINE vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
INLINE vi vi_or(vi a, vi b) { return _mm256_or_si256(a, b); }
INLINE vi vi_xor(vi a, vi b) { return _mm256_xor_si256(a, b); }
INLINE vi vi_select(vi mask, vi a, vi b) { return vi_or(vi_and(mask, a), _mm256_andnot_si256(mask, b)); }
INLINE vi vi_sll32(vi v, int n) { return _mm256_slli_epi32(v, n); }
INLINE vi vi_srl32(vi v, int n) { return _mm256_srli_epi32(v, n); }
INLINE vi vi_sra32(vi v, int n) { return _mm256_srai_epi32(v, n); }
INLINE vi vi_add32(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi vi_mul32(vi a, vi b) { return _mm256_mullo_epi32(a, b); }
INLINE vi vi_mul16(vi a, vi b) { return _mm256_mullo_epi16(a, b); }
INLINE vi vi_add8(vi a, vi b) { return _mm256_add_epi8(a, b); }
INLINE vi vi_min8u(vi a, vi b) { return _mm256_min_epu8(a, b); }
INLINE vi vi_subs8u(vi a, vi b) { return _mm256_subs_epu8(a, b); }
INLINE vi vi_max32u(vi a, vi b) { return _mm256_max_epu32(a, b); }
INLINE vf vi_to_f32(vi v) { return _mm256_cvtepi32_ps(v); }
INLINE vf vi_as_f32(vi v) { return _mm256_castsi256_ps(v); }

INLINE vi vi_pick_bytes(vi v, uint32_t which) {
  vi dword = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
  return _mm256_shuffle_epi8(v, _mm256_add_epi8(dword, vi_set32((int32_t)which)));
}

INLINE vi vi_table(const int8_t table[16]) { return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table)); }
INLINE vi vi_look_up(vi table, vi v) { return _mm256_shuffle_epi8(table, v); }
INLINE vi vi_add8_where(vi v, vi bits, vi mask, int value) {
  return vi_add8(v, vi_and(_mm256_cmpeq_epi8(vi_and(bits, mask), mask), vi_set8(value)));
}
INLINE vi vi_negate8_where(vi v, vi bits, vi mask) {
  vi where = _mm256_cmpeq_epi8(vi_and(bits, mask), mask);
  return _mm256_sub_epi8(vi_xor(v, where), where);
}
INLINE vi vi_zero_where32(vi v, int x) { return _mm256_andnot_si256(_mm256_cmpeq_epi32(v, vi_set32(x)), v); }

INLINE vf vf_load(const float *p) { return _mm256_load_ps(p); }
INLINE void vf_store(float *p, vf v) { _mm256_store_ps(p, v); }
INLINE vf vf_zero(void) { return _mm256_setzero_ps(); }
INLINE vf vf_set(float v) { return _mm256_set1_ps(v); }
INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
INLINE vf vf_from_f16(__m128i h) { return _mm256_cvtph_ps(h); }
INLINE vf vf_from_bf16(__m128i h) { return vi_as_f32(vi_sll32(_mm256_cvtepu16_epi32(h), 16)); }

/* bf16 pairs (even k low, odd k high) to floats. */
INLINE void widen_bf16_pair(vf *even, vf *odd, vi v) {
  *even = vi_as_f32(vi_sll32(v, 16));
  *odd = vi_as_f32(vi_and(v, vi_set32((int32_t)0xffff0000)));
}
/* 16-bit halves of dwords in order: the low ones in the lower 128 bits, the high ones in the upper. */
INLINE vi split_halves(vi v) {
  vi s = _mm256_shuffle_epi8(v, _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4, 5, 8, 9,
                                                 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
  return _mm256_permute4x64_epi64(s, 0xD8);
}
INLINE vf low_f16(vi v) { return _mm256_cvtph_ps(_mm256_castsi256_si128(split_halves(v))); }
/* f16 pairs (even k low, odd k high) to floats. */
INLINE void widen_f16(vf *even, vf *odd, vi v) {
  vi s = split_halves(v);
  *even = _mm256_cvtph_ps(_mm256_castsi256_si128(s));
  *odd = _mm256_cvtph_ps(_mm256_extracti128_si256(s, 1));
}

/* Minus an offset's share of a sum of products, 2^shift times the nsum at p; `two`: with the one after it. */
INLINE vi minus_offset(const uint8_t *p, int shift, bool two) {
  vi s = vi_set32(load32(p));
  return vi_sll32(two ? vi_add32(s, vi_set32(load32(p + 4))) : s, shift);
}

/* ---- activation codes ---- */

INLINE vi vi_max32(vi a, vi b) { return _mm256_max_epi32(a, b); }
INLINE vi vi_loadu(const void *p) { return _mm256_loadu_si256(p); }
INLINE vi vi_swap_pairs32(vi v) { return _mm256_shuffle_epi32(v, 0xB1); }
INLINE vf vf_loadu(const float *p) { return _mm256_loadu_ps(p); }
INLINE vi vf_as_i32(vf v) { return _mm256_castps_si256(v); }
INLINE vi vf_round32(vf v) { return _mm256_cvtps_epi32(v); }
INLINE vi vi_untangle(vi v) { return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)); }
INLINE vi vi_pack_codes(vi a, vi b, vi c, vi d) {
  return vi_untangle(_mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)));
}
INLINE vi vi_sum4(vi q) { return _mm256_madd_epi16(_mm256_maddubs_epi16(vi_set8(1), q), vi_set16(1)); }
INLINE vi vi_abs8(vi v) { return _mm256_abs_epi8(v); }
INLINE vi vi_lane_sums(vi v) {
  v = vi_add32(v, _mm256_shuffle_epi32(v, 0x4E));
  return vi_add32(v, _mm256_shuffle_epi32(v, 0xB1));
}
INLINE __m128i vi_max_lanes(vi v) { return _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)); }
INLINE void vi_store16(void *p, vi v) { _mm_storeu_si128(p, _mm256_castsi256_si128(split_halves(v))); }

typedef enum dot_mode { DOT_4BIT, DOT_5BIT, DOT_6BIT, DOT_7BIT, DOT_8BIT } dot_mode;

#ifdef __AVXVNNI__
enum { C_SHORT = 4 };
INLINE bool dot_needs_offset(dot_mode m) { return true; }
INLINE vi vi_dot_pairs16(vi i, vi a, vi b) { return _mm256_dpwssd_avx_epi32(i, a, b); }
/* As in isa_avx512.h. */
INLINE void dot_step(vi *i, vi *pairs, vi w, vi a, int k, int steps, dot_mode mode) {
  *i = _mm256_dpbusd_avx_epi32(*i, w, a);
}
#else
#define PAIRS_OF_PRODUCTS /* mul_pairs_avx2.h */
enum { C_SHORT = 3 };
INLINE bool dot_needs_offset(dot_mode m) { return m != DOT_8BIT; }
/* Sums of two products that fit int16 together. */
INLINE int dot_chain(dot_mode mode) { return mode == DOT_4BIT ? 8 : mode == DOT_5BIT ? 4 : mode == DOT_6BIT ? 2 : 1; }
INLINE vi vi_dot_pairs16(vi i, vi a, vi b) { return vi_add32(i, _mm256_madd_epi16(a, b)); }
/* The same; *pairs holds sums of int16 until no more fit. */
INLINE void dot_step(vi *i, vi *pairs, vi w, vi a, int k, int steps, dot_mode mode) {
  const int chain = dot_chain(mode);
  vi s = vi_xor(w, vi_set8(-128));
  vi p =
      mode == DOT_8BIT ? _mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8(a, s)) : _mm256_maddubs_epi16(w, a);
  *pairs = k % chain == 0 ? p : _mm256_add_epi16(*pairs, p);
  if (k % chain == chain - 1 || k == steps - 1) *i = vi_add32(*i, _mm256_madd_epi16(*pairs, vi_set16(1)));
}
#endif

/* As in isa_avx512.h; the vectors are the parts of one strip. */
INLINE void dot_codes(vi i[V_MAX][C_MAX], const uint8_t *code, size_t panel_bytes, const uint8_t *const *row,
                      int64_t at, int steps, int V, int C, dot_mode mode) {
  vi pairs[V_MAX][C_MAX];
  UNROLL for (int k = 0; k < steps; k++) {
    vi w[V_MAX];
    UNROLL for (int v = 0; v < V; v++) w[v] = vi_load(code + 32 * v + 64 * k);
    UNROLL for (int c = 0; c < C; c++) {
      vi a = vi_set32(load32(row[c] + at + 4 * k));
      UNROLL for (int v = 0; v < V; v++) dot_step(&i[v][c], &pairs[v][c], w[v], a, k, steps, mode);
    }
  }
}

/* As in isa_avx512.h. */
INLINE void dot_dwords(vi *i, const vi *w, int n, const uint8_t *const *x, int64_t at, int C, dot_mode mode) {
  vi pairs[C_INTS];
  UNROLL for (int k = 0; k < n; k++) UNROLL for (int c = 0; c < C; c++)
      dot_step(&i[c], &pairs[c], w[k], vi_set32(load32(x[c] + at + 4 * k)), k, n, mode);
}

/* v[j]: rows j and 4 + j in 128-bit lanes. */
INLINE void transpose4(vi out[4], const vi v[4]) {
  vi ab0 = _mm256_unpacklo_epi32(v[0], v[1]), ab1 = _mm256_unpackhi_epi32(v[0], v[1]);
  vi cd0 = _mm256_unpacklo_epi32(v[2], v[3]), cd1 = _mm256_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm256_unpacklo_epi64(ab0, cd0);
  out[1] = _mm256_unpackhi_epi64(ab0, cd0);
  out[2] = _mm256_unpacklo_epi64(ab1, cd1);
  out[3] = _mm256_unpackhi_epi64(ab1, cd1);
}

/* out[i] lane r = dword i of the 16 bytes at `at` of row 8 * part + r. */
INLINE void piece16(vi out[4], const myna__rows *rows, int plane, int part, int64_t at, ahead a) {
  vi v[4];
  UNROLL for (int j = 0; j < 4; j++) {
    prefetch_quarter(rows, a, j);
    v[j] = _mm256_castsi128_si256(_mm_loadu_si128((const void *)row_at(rows, plane, 8 * part + j, at)));
    v[j] = _mm256_inserti128_si256(v[j], _mm_loadu_si128((const void *)row_at(rows, plane, 8 * part + 4 + j, at)), 1);
  }
  transpose4(out, v);
}
INLINE __m128i load_small(const uint8_t *p, int bytes) {
  return bytes == 4 ? _mm_cvtsi32_si128(load32(p)) : _mm_loadl_epi64((const void *)p);
}
INLINE void piece_small(vi out[4], const myna__rows *rows, int plane, int part, int64_t at, int bytes) {
  vi v[4];
  UNROLL for (int j = 0; j < 4; j++) {
    v[j] = _mm256_castsi128_si256(load_small(row_at(rows, plane, 8 * part + j, at), bytes));
    v[j] = _mm256_inserti128_si256(v[j], load_small(row_at(rows, plane, 8 * part + 4 + j, at), bytes), 1);
  }
  transpose4(out, v);
}
/* The 16-bit values at `at` of the rows of a part. */
typedef __m128i halves;
INLINE halves part_halves(const myna__rows *rows, int plane, int part, int64_t at) {
  const int r = 8 * part;
  return _mm_set_epi64x((int64_t)four16(rows, plane, r + 4, at), (int64_t)four16(rows, plane, r, at));
}
INLINE void piece32(vi out[8], const myna__rows *rows, int plane, int part, int64_t at, ahead a) {
  piece16(out, rows, plane, part, at, a);
  piece16(out + 4, rows, plane, part, at + 16, nothing);
}

#endif
