/* isa_neon.h: the vector vocabulary of the shared kernel sources (kernels/x86/..._impl.h), 128 bits: a strip is four vectors.
 *
 * Same names as in kernels/x86/isa_avx512.h. Byte products are SDOT: both sides signed. Codes of up to 7 bits are the same
 * signed and unsigned; those of 8 bits go back to signed, which is what their offset was for. */
#ifndef MYNA__ISA_NEON_H
#define MYNA__ISA_NEON_H

#include "kernels/table.h"
#include <arm_neon.h>

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

typedef int32x4_t vi;
typedef float32x4_t vf;
enum {
  REGISTERS = 32,
  LANES = 4,
  PARTS = MYNA__STRIP / LANES,
  PAIRS16 = false,       /* MLA takes 32 bits in one step */
  SCALES_PAIRED = false, /* see isa_avx512.h */
  FILE_ORDER = false,
  C_INTS = 4, /* columns of direct kernels of integers */
};

/* Parts of a strip that a direct kernel of C columns takes together: four sums of floats at least, for each waits for the one
 * before it. Sums of integers start anew with every group. */
INLINE int parts_abreast(int C, bool floats) { return !floats || C > 2 ? 1 : 4 / C; }

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

/* The same bits as other elements. */
INLINE int8x16_t as_s8(vi v) { return vreinterpretq_s8_s32(v); }
INLINE uint8x16_t as_u8(vi v) { return vreinterpretq_u8_s32(v); }
INLINE int16x8_t as_s16(vi v) { return vreinterpretq_s16_s32(v); }
INLINE uint32x4_t as_u32(vi v) { return vreinterpretq_u32_s32(v); }
INLINE vi of_s8(int8x16_t v) { return vreinterpretq_s32_s8(v); }
INLINE vi of_u8(uint8x16_t v) { return vreinterpretq_s32_u8(v); }
INLINE vi of_s16(int16x8_t v) { return vreinterpretq_s32_s16(v); }
INLINE vi of_u32(uint32x4_t v) { return vreinterpretq_s32_u32(v); }

INLINE vi vi_load(const void *p) { return of_u8(vld1q_u8(p)); }
INLINE void vi_store(void *p, vi v) { vst1q_u8(p, as_u8(v)); }
INLINE vi vi_zero(void) { return vdupq_n_s32(0); }
INLINE vi vi_set32(int32_t v) { return vdupq_n_s32(v); }
INLINE vi vi_set16(int v) { return of_s16(vdupq_n_s16((int16_t)v)); }
INLINE vi vi_set8(int v) { return of_s8(vdupq_n_s8((int8_t)v)); }
INLINE vi vi_and(vi a, vi b) { return vandq_s32(a, b); }
INLINE vi vi_or(vi a, vi b) { return vorrq_s32(a, b); }
INLINE vi vi_xor(vi a, vi b) { return veorq_s32(a, b); }
INLINE vi vi_select(vi mask, vi a, vi b) { return vbslq_s32(as_u32(mask), a, b); }
/* Operators, not intrinsics: n is constant only after inlining. */
INLINE vi vi_sll32(vi v, int n) { return v << n; }
INLINE vi vi_srl32(vi v, int n) { return of_u32(as_u32(v) >> n); }
INLINE vi vi_sra32(vi v, int n) { return v >> n; }
INLINE vi vi_add32(vi a, vi b) { return vaddq_s32(a, b); }
INLINE vi vi_mul32(vi a, vi b) { return vmulq_s32(a, b); }
INLINE vi vi_mul16(vi a, vi b) { return of_s16(vmulq_s16(as_s16(a), as_s16(b))); }
INLINE vi vi_add8(vi a, vi b) { return of_s8(vaddq_s8(as_s8(a), as_s8(b))); }
INLINE vi vi_min8u(vi a, vi b) { return of_u8(vminq_u8(as_u8(a), as_u8(b))); }
INLINE vi vi_subs8u(vi a, vi b) { return of_u8(vqsubq_u8(as_u8(a), as_u8(b))); }
INLINE vi vi_max32u(vi a, vi b) { return of_u32(vmaxq_u32(as_u32(a), as_u32(b))); }
INLINE vf vi_to_f32(vi v) { return vcvtq_f32_s32(v); }
INLINE vf vi_as_f32(vi v) { return vreinterpretq_f32_s32(v); }

INLINE vi vi_pick_bytes(vi v, uint32_t which) { /* numbers above 15 give zero */
  const vi dword = {0, 0x04040404, 0x08080808, 0x0c0c0c0c};
  return of_u8(vqtbl1q_u8(as_u8(v), as_u8(vi_add8(dword, vi_set32((int32_t)which)))));
}
INLINE vi vi_table(const int8_t table[16]) { return of_s8(vld1q_s8(table)); }
INLINE vi vi_look_up(vi table, vi v) { return of_u8(vqtbl1q_u8(as_u8(table), as_u8(v))); }
INLINE vi vi_add8_where(vi v, vi bits, vi mask, int value) {
  vi where = of_u8(vtstq_u8(as_u8(bits), as_u8(mask)));
  return vi_add8(v, vi_and(where, vi_set8(value)));
}
INLINE vi vi_negate8_where(vi v, vi bits, vi mask) {
  vi where = of_u8(vtstq_u8(as_u8(bits), as_u8(mask)));
  return of_s8(vsubq_s8(as_s8(vi_xor(v, where)), as_s8(where)));
}
INLINE vi vi_zero_where32(vi v, int x) { return vbicq_s32(v, of_u32(vceqq_s32(v, vi_set32(x)))); }

INLINE vf vf_load(const float *p) { return vld1q_f32(p); }
INLINE void vf_store(float *p, vf v) { vst1q_f32(p, v); }
INLINE vf vf_zero(void) { return vdupq_n_f32(0); }
INLINE vf vf_set(float v) { return vdupq_n_f32(v); }
INLINE vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
INLINE vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
INLINE vf vf_from_f16(uint16x4_t h) { return vcvt_f32_f16(vreinterpret_f16_u16(h)); }
INLINE vf vf_from_bf16(uint16x4_t h) { return vreinterpretq_f32_u32(vshll_n_u16(h, 16)); }

INLINE void widen_bf16_pair(vf *even, vf *odd, vi v) {
  *even = vi_as_f32(vi_sll32(v, 16));
  *odd = vi_as_f32(vi_and(v, vi_set32((int32_t)0xffff0000)));
}
INLINE vf low_f16(vi v) { return vcvt_f32_f16(vreinterpret_f16_s16(vmovn_s32(v))); }
INLINE void widen_f16(vf *even, vf *odd, vi v) {
  *even = low_f16(v);
  *odd = vcvt_f32_f16(vreinterpret_f16_s16(vshrn_n_s32(v, 16)));
}

/* ---- products ---- */

typedef enum dot_mode { DOT_4BIT, DOT_5BIT, DOT_6BIT, DOT_7BIT, DOT_8BIT } dot_mode;
INLINE bool dot_needs_offset(dot_mode m) { return m != DOT_8BIT; }
INLINE vi vi_dot_pairs16(vi i, vi a, vi b) {
  int32x4_t low = vmull_s16(vget_low_s16(as_s16(a)), vget_low_s16(as_s16(b)));
  return vaddq_s32(i, vpaddq_s32(low, vmull_high_s16(as_s16(a), as_s16(b))));
}
/* Lane n of a, constant after unrolling. */
INLINE vi dot_lane(vi i, vi w, vi a, int n) {
  switch (n) {
  case 0: return vdotq_laneq_s32(i, as_s8(w), as_s8(a), 0);
  case 1: return vdotq_laneq_s32(i, as_s8(w), as_s8(a), 1);
  case 2: return vdotq_laneq_s32(i, as_s8(w), as_s8(a), 2);
  default: return vdotq_laneq_s32(i, as_s8(w), as_s8(a), 3);
  }
}
/* i[c] += w[0..n) x activations, 4 k per dword, from byte `at` of each row on; n a multiple of 4. */
INLINE void dot_dwords(vi *i, const vi *w, int n, const uint8_t *const *x, int64_t at, int C, dot_mode mode) {
  UNROLL for (int k = 0; k < n; k += 4) UNROLL for (int c = 0; c < C; c++) {
    vi a = vi_load(x[c] + at + 4 * k);
    UNROLL for (int j = 0; j < 4; j++) i[c] =
        dot_lane(i[c], mode == DOT_8BIT ? vi_xor(w[k + j], vi_set8(-128)) : w[k + j], a, j);
  }
}
INLINE vi minus_offset(const uint8_t *p, int shift, bool two) {
  vi s = vi_set32(load32(p));
  return vi_sll32(two ? vi_add32(s, vi_set32(load32(p + 4))) : s, shift);
}

/* ---- rows as lanes ---- */

/* v[j]: row j. out[i] lane r = dword i of row r. */
INLINE void transpose4(vi out[4], const vi v[4]) {
  int64x2_t a = vreinterpretq_s64_s32(vtrn1q_s32(v[0], v[1])), b = vreinterpretq_s64_s32(vtrn2q_s32(v[0], v[1]));
  int64x2_t c = vreinterpretq_s64_s32(vtrn1q_s32(v[2], v[3])), d = vreinterpretq_s64_s32(vtrn2q_s32(v[2], v[3]));
  out[0] = vreinterpretq_s32_s64(vzip1q_s64(a, c));
  out[1] = vreinterpretq_s32_s64(vzip1q_s64(b, d));
  out[2] = vreinterpretq_s32_s64(vzip2q_s64(a, c));
  out[3] = vreinterpretq_s32_s64(vzip2q_s64(b, d));
}

/* out[i] lane r = dword i of the 16 bytes at `at` of row 4 * part + r. */
INLINE void piece16(vi out[4], const myna__rows *rows, int plane, int part, int64_t at, ahead a) {
  vi v[4];
  UNROLL for (int j = 0; j < 4; j++) {
    prefetch_quarter(rows, a, j);
    v[j] = vi_load(row_at(rows, plane, 4 * part + j, at));
  }
  transpose4(out, v);
}
INLINE vi load_small(const uint8_t *p, int bytes) {
  uint64_t v = 0;
  memcpy(&v, p, (size_t)bytes);
  return vreinterpretq_s32_u64(vsetq_lane_u64(v, vdupq_n_u64(0), 0));
}
INLINE void piece_small(vi out[4], const myna__rows *rows, int plane, int part, int64_t at, int bytes) {
  vi v[4];
  UNROLL for (int j = 0; j < 4; j++) v[j] = load_small(row_at(rows, plane, 4 * part + j, at), bytes);
  transpose4(out, v);
}
/* The 16-bit values at `at` of the rows of a part. */
typedef uint16x4_t halves;
INLINE halves part_halves(const myna__rows *rows, int plane, int part, int64_t at) {
  return vcreate_u16(four16(rows, plane, 4 * part, at));
}
INLINE void piece32(vi out[8], const myna__rows *rows, int plane, int part, int64_t at, ahead a) {
  piece16(out, rows, plane, part, at, a);
  piece16(out + 4, rows, plane, part, at + 16, nothing);
}

#endif
