/* open_q256_impl.h: types of 256 weights with integer scales whose codes come out of their bits: Q2_K, Q3_K, Q8_K, the
 * ternary types and IQ4_XS. Layouts are drawn in quants/NAME.c; offsets and groups are those of panels.inc. */
#ifndef MYNA__OPEN_Q256_IMPL_H
#define MYNA__OPEN_Q256_IMPL_H

#include "kernels/x86/open_q32_impl.h"

INLINE vi crumbs(vi v, int i) { return vi_and(vi_srl32(v, 2 * i), vi_set8(3)); }

/* Scales in both halves of dwords: one multiply takes two codes of 2 bits to bytes (3 * 15), the tile then needs none. */
INLINE void head_q2_k(head256 *h, const source *s, int64_t at) {
  vi b[4];
  piece16(b, s->rows, 0, s->part, at, nothing);
  UNROLL for (int t = 0; t < 4; t++) {
    vi low = low_nibbles(b[t]), high = high_nibbles(b[t]);
    UNROLL for (int i = 0; i < 4; i++) h->scale[4 * t + i] = vi_pick_bytes(low, 0x80008000u | 0x10001u * (uint32_t)i);
    UNROLL for (int i = 0; i < 2; i++) h->min[2 * t + i] = byte_pair(high, 2 * i);
  }
  two_halves(&h->d, &h->dmin, s, at + 80);
}
INLINE void open_q2_k(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  for (int half = 0; half < 2; half++) {
    vi q[8], w[8];
    piece32(q, s->rows, 0, s->part, at + 16 + 32 * half, share_of(s, MYNA__BYTES_Q2_K, half, 2));
    UNROLL for (int j = 0; j < 4; j++) {
      const int g = 4 * half + j;
      UNROLL for (int i = 0; i < 8; i++) w[i] = vi_mul16(crumbs(q[i], j), h->scale[2 * g + i / 4]);
      put(to, g, w);
    }
  }
}

/* Scales: nibbles of 8 bytes, two more bits in the 4 bytes after them. */
INLINE void head_q3_k(head256 *h, const source *s, int64_t at) {
  vi low[4], high[4];
  piece_small(low, s->rows, 0, s->part, at + 96, 8);
  piece_small(high, s->rows, 0, s->part, at + 104, 4);
  UNROLL for (int t = 0; t < 4; t++) {
    vi v = nibble_and_bits(vi_srl32(low[t % 2], t / 2 * 4), shift32(high[0], 4 - 2 * t), 0x30);
    UNROLL for (int i = 0; i < 4; i++) h->scale[4 * t + i] = vi_add32(byte_of(v, i), vi_set32(-32));
  }
  h->d = half_at(s, at + 108);
}
INLINE void open_q3_k(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  vi top[8];
  piece32(top, s->rows, 0, s->part, at, share_of(s, MYNA__BYTES_Q3_K, 0, 3)); /* bit g: the third bit in group g */
  for (int half = 0; half < 2; half++) {
    vi q[8], w[8];
    piece32(q, s->rows, 0, s->part, at + 32 + 32 * half, share_of(s, MYNA__BYTES_Q3_K, 1 + half, 3));
    UNROLL for (int j = 0; j < 4; j++) {
      UNROLL for (int i = 0; i < 8; i++) w[i] = vi_or(crumbs(q[i], j), vi_and(shift32(top[i], 2 - j), vi_set8(4)));
      put(to, 4 * half + j, w);
    }
    UNROLL for (int i = 0; i < 8; i++) top[i] = vi_srl32(top[i], 4);
  }
}

INLINE void head_q8_k(head256 *h, const source *s, int64_t at) {
  vi d[4];
  piece_small(d, s->rows, 0, s->part, at, 4);
  h->d = vi_as_f32(d[0]);
}
INLINE void open_q8_k(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  for (int g = 0; g < 8; g++) {
    vi w[8];
    piece32(w, s->rows, 0, s->part, at + 4 + 32 * g, share_of(s, MYNA__BYTES_Q8_K, g, 8));
    UNROLL for (int i = 0; i < 8; i++) w[i] = vi_xor(w[i], vi_set8(-128));
    put(to, g, w);
  }
}

INLINE void head_tq2_0(head256 *h, const source *s, int64_t at) { h->d = half_at(s, at + 64); }
INLINE void open_tq2_0(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  for (int half = 0; half < 2; half++) {
    vi q[8], w[8];
    piece32(q, s->rows, 0, s->part, at + 32 * half, share_of(s, MYNA__BYTES_TQ2_0, half, 2));
    UNROLL for (int j = 0; j < 4; j++) {
      UNROLL for (int i = 0; i < 8; i++) w[i] = crumbs(q[i], j);
      put(to, 4 * half + j, w);
    }
  }
}

/* The whole part of 3 f / 256 per byte: how many of 86 and 171 f reaches. Then f becomes the fraction, 3 f mod 256. */
INLINE vi next_digit(vi *f) {
  vi one = vi_set8(1);
  vi digit = vi_add8(vi_min8u(vi_subs8u(*f, vi_set8(85)), one), vi_min8u(vi_subs8u(*f, vi_set8(170)), one));
  *f = vi_add8(vi_add8(*f, *f), *f);
  return digit;
}
INLINE void head_tq1_0(head256 *h, const source *s, int64_t at) { h->d = half_at(s, at + 52); }
INLINE void open_tq1_0(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  vi f[8], w[8], last[4];
  piece32(f, s->rows, 0, s->part, at, share_of(s, MYNA__BYTES_TQ1_0, 0, 1));
  UNROLL for (int g = 0; g < 5; g++) {
    UNROLL for (int i = 0; i < 8; i++) w[i] = next_digit(&f[i]);
    put(to, g, w);
  }
  piece16(f, s->rows, 0, s->part, at + 32, nothing); /* five digits of 16 bytes, four of 4 */
  piece_small(last, s->rows, 0, s->part, at + 48, 4);
  UNROLL for (int g = 5; g < 8; g++) {
    UNROLL for (int i = 0; i < 4; i++) w[i] = next_digit(&f[i]);
    UNROLL for (int i = 4; i < 8; i++) w[i] = next_digit(g < 7 ? &f[i - 4] : &last[0]);
    put(to, g, w);
  }
}

INLINE void head_iq4_xs(head256 *h, const source *s, int64_t at) {
  vi v[4]; /* d and the scales' top bits; low nibbles */
  piece_small(v, s->rows, 0, s->part, at, 8);
  h->d = low_f16(v[0]);
  UNROLL for (int g = 0; g < 8; g++) {
    vi low = vi_and(vi_srl32(v[1], 4 * g), vi_set32(15)), high = vi_and(shift32(v[0], -12 - 2 * g), vi_set32(48));
    h->scale[g] = vi_add32(vi_or(low, high), vi_set32(-32));
  }
}
INLINE void open_iq4_xs(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) {
  for (int g = 0; g < 8; g++) {
    vi w[8];
    open_nibbles(w, s, at + 8 + 16 * g, share_of(s, MYNA__BYTES_IQ4_XS, g, 8));
    look_up(w, myna__levels_iq4, -128);
    put(to, g, w);
  }
}

/* ---- by type ---- */

/* clang-format off */
/* see KERNELS256 */
#define Q256_ROWS(X)          \
  X(Q2_K, q2_k, DOT_6BIT)     \
  X(Q3_K, q3_k, DOT_4BIT)     \
  X(Q8_K, q8_k, DOT_8BIT)     \
  X(TQ1_0, tq1_0, DOT_4BIT)   \
  X(TQ2_0, tq2_0, DOT_4BIT)   \
  X(IQ4_XS, iq4_xs, DOT_8BIT)
/* clang-format on */

Q256_ROWS(KERNELS256)
INLINE void fill_open_q256(myna__ktable *t) {
  Q256_ROWS(SET_UNPACK)
  Q256_ROWS(SET_DIRECT)
}

#endif
