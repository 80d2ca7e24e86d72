/* open_q32_impl.h: the types of 32 weights with one float scale: how their codes come out of their blocks. Layouts are
 * drawn in quants/NAME.c; offsets, groups and mins are those of panels.inc. */
#ifndef MYNA__OPEN_Q32_IMPL_H
#define MYNA__OPEN_Q32_IMPL_H

#include "kernels/quants/grids.h"
#include "kernels/x86/open_impl.h"

/* The f16 at `at`, and the one after it where there is one. */
INLINE vf half_at(const source *s, int64_t at) { return part_floats(s->rows, 0, s->part, at, MYNA_F16); }
INLINE void two_halves(vf *first, vf *second, const source *s, int64_t at) {
  vi h[4];
  piece_small(h, s->rows, 0, s->part, at, 4);
  *first = low_f16(h[0]);
  *second = low_f16(vi_srl32(h[0], 16));
}

/* 16 bytes of nibbles at `at`: w[0..4) the low ones, w[4..8) the high ones. */
INLINE void open_nibbles(vi w[8], const source *s, int64_t at, ahead a) {
  vi q[4];
  piece16(q, s->rows, 0, s->part, at, a);
  UNROLL for (int i = 0; i < 4; i++) w[i] = low_nibbles(q[i]), w[4 + i] = high_nibbles(q[i]);
}

/* Bits 4 i to 4 i + 3 of each dword, for its four bytes: the byte they are in, and which of its bits each wants. */
INLINE vi byte_of_bits(vi bits, int i) { return vi_pick_bytes(bits, 0x01010101u * (uint32_t)(i / 2)); }
INLINE vi mask_of_bits(int i) { return vi_set32(i % 2 ? (int)0x80402010 : 0x08040201); }
/* w + value in byte j where bit 4 i + j of the dword is set. */
INLINE vi add_at_bits(vi w, vi bits, int i, int value) {
  return vi_add8_where(w, byte_of_bits(bits, i), mask_of_bits(i), value);
}

INLINE void open_q4_1(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to) {
  vi w[8];
  vf d, m;
  two_halves(&d, &m, s, at);
  open_nibbles(w, s, at + 4, a);
  put(to, g, w, d, m);
}

/* Fifth bits in the dword at `bits_at`, nibbles after it. */
INLINE void open_fives(vi w[8], const source *s, int64_t bits_at, ahead a) {
  vi h[4];
  piece_small(h, s->rows, 0, s->part, bits_at, 4);
  open_nibbles(w, s, bits_at + 4, a);
  UNROLL for (int i = 0; i < 8; i++) w[i] = add_at_bits(w[i], h[0], i, 16);
}
INLINE void open_q5_0(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to) {
  vi w[8];
  open_fives(w, s, at + 2, a);
  put(to, g, w, half_at(s, at), vf_zero());
}
INLINE void open_q5_1(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to) {
  vi w[8];
  vf d, m;
  two_halves(&d, &m, s, at);
  open_fives(w, s, at + 4, a);
  put(to, g, w, d, m);
}

INLINE void open_q8_1(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to) {
  vi w[8];
  piece32(w, s->rows, 0, s->part, at + 4, a);
  UNROLL for (int i = 0; i < 8; i++) w[i] = vi_xor(w[i], vi_set8(-128));
  put(to, g, w, half_at(s, at), vf_zero());
}

/* Levels of a table, offset to be unsigned. */
INLINE void look_up(vi w[8], const int8_t levels[16], int offset) {
  vi table = vi_add8(vi_table(levels), vi_set8(offset));
  UNROLL for (int i = 0; i < 8; i++) w[i] = vi_look_up(table, w[i]);
}

INLINE void open_iq4_nl(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to) {
  vi w[8];
  open_nibbles(w, s, at + 2, a);
  look_up(w, myna__levels_iq4, -128);
  put(to, g, w, half_at(s, at), vf_zero());
}

/* The scale 2^(e - 128), whose exponent field is e - 1; below 1 it is subnormal, which counts as zero. */
INLINE void open_mxfp4(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to) {
  vi w[8], e[4];
  piece_small(e, s->rows, 0, s->part, at, 4);
  vi exponent = vi_max32u(vi_and(e[0], vi_set32(255)), vi_set32(1));
  vf d = vi_as_f32(vi_sll32(vi_add32(exponent, vi_set32(-1)), 23));
  open_nibbles(w, s, at + 1, a);
  look_up(w, myna__levels_e2m1, 16);
  put(to, g, w, d, vf_zero());
}

/* Half the E4M3 in byte i of each dword: as an f16 of the same bits it is 2^-7 of that. The sign is not read, NaN is 0. */
INLINE vf half_e4m3(vi v, int i) {
  vi bits = vi_zero_where32(byte_of(v, i), 0x7f);
  return vf_mul(low_f16(vi_sll32(vi_and(bits, vi_set32(0x7f)), 7)), vf_set(128.0f));
}
INLINE void open_nvfp4(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to) {
  vi q[8], d[4];
  piece_small(d, s->rows, 0, s->part, at, 4);
  piece32(q, s->rows, 0, s->part, at + 4, a);
  UNROLL for (int i = 0; i < 2; i++) { /* each 8 bytes: 8 low nibbles, then 8 high ones */
    vi w[8];
    UNROLL for (int j = 0; j < 2; j++) {
      w[j] = low_nibbles(q[4 * i + j]), w[2 + j] = high_nibbles(q[4 * i + j]);
      w[4 + j] = low_nibbles(q[4 * i + 2 + j]), w[6 + j] = high_nibbles(q[4 * i + 2 + j]);
    }
    look_up(w, myna__levels_e2m1, 16);
    put(to, g + i, w, half_e4m3(d[0], 2 * i), half_e4m3(d[0], 2 * i + 1));
  }
}

/* A bit per weight: codes 0 and 2. */
INLINE void open_q1_0(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to) {
  vi q[4], w[8];
  vf d = half_at(s, at);
  piece16(q, s->rows, 0, s->part, at + 2, a);
  UNROLL for (int i = 0; i < 4; i++) {
    UNROLL for (int j = 0; j < 8; j++) w[j] = add_at_bits(vi_zero(), q[i], j, 2);
    put(to, g + i, w, d, vf_zero());
  }
}

/* The four 2-bit fields of byte i of each dword, one per byte: two stay where they are and two come down by four, then a
 * table takes 0..3 and 0, 4, 8, 12 to 0..3. */
INLINE vi spread_crumbs(vi v, int i, vi table) {
  vi b = vi_pick_bytes(v, 0x01010101u * (uint32_t)i);
  b = vi_select(vi_set32(0xffff), b, vi_srl32(b, 4));
  return vi_look_up(table, vi_and(b, vi_set32(0x0c030c03)));
}
INLINE void open_q2_0(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to) {
  static const int8_t down[16] = {[1] = 1, [2] = 2, [3] = 3, [4] = 1, [8] = 2, [12] = 3};
  vi q[4], w[8], table = vi_table(down);
  vf d = half_at(s, at);
  piece16(q, s->rows, 0, s->part, at + 2, a);
  UNROLL for (int i = 0; i < 2; i++) {
    UNROLL for (int j = 0; j < 8; j++) w[j] = spread_crumbs(q[2 * i + j / 4], j % 4, table);
    put(to, g + i, w, d, vf_zero());
  }
}

/* ---- by type ---- */

/* clang-format off */
/* see KERNELS32 */
#define Q32_ROWS(X)           \
  X(Q4_1, q4_1, DOT_4BIT)     \
  X(Q5_0, q5_0, DOT_5BIT)     \
  X(Q5_1, q5_1, DOT_5BIT)     \
  X(Q8_1, q8_1, DOT_8BIT)     \
  X(IQ4_NL, iq4_nl, DOT_8BIT) \
  X(MXFP4, mxfp4, DOT_5BIT)   \
  X(NVFP4, nvfp4, DOT_5BIT)   \
  X(Q1_0, q1_0, DOT_4BIT)     \
  X(Q2_0, q2_0, DOT_4BIT)
/* clang-format on */

Q32_ROWS(KERNELS32)
INLINE void fill_open_q32(myna__ktable *t) {
  Q32_ROWS(SET_UNPACK)
  Q32_ROWS(SET_DIRECT)
}

#endif
