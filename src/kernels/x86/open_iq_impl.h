/* open_iq_impl.h: the codebook types. Entries are copied row by row into bytes in L1 and transposed from there (gathers in
 * transposed order would cost a cycle or more per dword on every CPU), or where there is VBMI the smaller codebooks are
 * looked up in registers (open_iq_entries.h); signs are taken off 16 rows at a time after that.
 * Layouts are drawn in quants/NAME.c; every index is masked to its codebook's size by how it is put together. */
#ifndef MYNA__OPEN_IQ_IMPL_H
#define MYNA__OPEN_IQ_IMPL_H

#include "kernels/x86/open_q32_impl.h"

/* ---- entries of one row's block: 256 bytes ---- */

typedef void row_fn(uint8_t *to, const uint8_t *block, const myna__grids *grids);

INLINE uint32_t load16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }

INLINE void row_iq2_xxs(uint8_t *to, const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++)
    UNROLL for (int l = 0; l < 4; l++, to += 8) memcpy(to, grids->iq2_xxs[block[2 + 8 * g + l]], 8);
}
INLINE void row_iq2_xs(uint8_t *to, const uint8_t *block, const myna__grids *grids) {
  for (int i = 0; i < 32; i++, to += 8) memcpy(to, grids->iq2_xs[load16(block + 2 + 2 * i) & 511], 8);
}
INLINE void row_iq2_s(uint8_t *to, const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    uint32_t h = (uint32_t)block[66 + g] << 8;
    UNROLL for (int l = 0; l < 4; l++, to += 8)
        memcpy(to, grids->iq2_s[block[2 + 4 * g + l] | (h >> 2 * l & 0x300)], 8);
  }
}
INLINE void row_iq3_xxs(uint8_t *to, const uint8_t *block, const myna__grids *grids) {
  for (int i = 0; i < 64; i++, to += 4) memcpy(to, grids->iq3_xxs[block[2 + i]], 4);
}
INLINE void row_iq3_s(uint8_t *to, const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    uint32_t h = (uint32_t)block[66 + g] << 8;
    UNROLL for (int j = 0; j < 8; j++, to += 4) memcpy(to, grids->iq3_s[block[2 + 8 * g + j] | (h >> j & 0x100)], 4);
  }
}
INLINE void row_iq1_s(uint8_t *to, const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    uint32_t h = load16(block + 34 + 2 * g) << 8;
    UNROLL for (int l = 0; l < 4; l++, to += 8) memcpy(to, grids->iq1[block[2 + 4 * g + l] | (h >> 3 * l & 0x700)], 8);
  }
}
INLINE void row_iq1_m(uint8_t *to, const uint8_t *block, const myna__grids *grids) {
  for (int g = 0; g < 8; g++) {
    uint32_t h = load16(block + 32 + 2 * g) << 8;
    UNROLL for (int l = 0; l < 4; l++, to += 8) memcpy(to, grids->iq1[block[4 * g + l] | (h >> 4 * l & 0x700)], 8);
  }
}

/* ---- codes ---- */

/* Codes as they go into panels from entries and the signs of their group; dword i of 8. */
typedef vi finish_fn(vi entries, vi signs, int i);

INLINE vi finish_iq2(vi v, vi signs, int i) {
  return vi_add8(vi_negate8_where(v, byte_of_bits(signs, i), mask_of_bits(i)), vi_set8(64));
}
INLINE vi finish_iq3_s(vi v, vi signs, int i) {
  return vi_add8(vi_negate8_where(v, byte_of_bits(signs, i), mask_of_bits(i)), vi_set8(16));
}
/* 8 * entry +- 1 + 16: entries are -1, 0 and 1, so shifting their bits up keeps them. */
INLINE vi finish_iq1(vi v, vi signs, int i) {
  vi eightfold = vi_and(vi_sll32(v, 3), vi_set8(-8));
  return add_at_bits(vi_add8(eightfold, vi_set8(17)), signs, i, -2);
}

#ifdef __AVX512VBMI__
#include "kernels/x86/open_iq_entries.h"
#endif

INLINE void open_rows(const source *s, int64_t at, int bytes, const head256 *h, put256_fn *put, void *to, row_fn *row,
                      finish_fn *finish) {
  _Alignas(64) uint8_t entry[LANES][256];
  const myna__grids *grids = myna__grids_get();
  for (int r = 0; r < LANES; r++) {
    if (s->fetches) prefetch_row(s->rows, s->next, LANES * s->part + r, bytes);
    row(entry[r], row_at(s->rows, 0, LANES * s->part + r, at), grids);
  }
  const myna__rows rows = {.p = {entry[0]}, .stride = {sizeof entry[0]}};
  for (int g = 0; g < 8; g++) {
    vi w[8];
    piece32(w, &rows, 0, 0, 32 * g, nothing);
    UNROLL for (int i = 0; i < 8; i++) w[i] = finish(w[i], h->signs[g], i);
    put(to, g, w);
  }
}

/* ---- scales and signs ---- */

/* Signs of 7 in the low bits of each byte: bit 7 makes their number even. */
INLINE vi even_signs(vi s) {
  vi p = vi_xor(s, vi_srl32(s, 4)); /* bits 0..3 of each byte are its own */
  p = vi_xor(p, vi_srl32(p, 2));
  p = vi_xor(p, vi_srl32(p, 1));
  return vi_or(s, vi_sll32(vi_and(p, vi_set8(1)), 7));
}
INLINE vi field(vi v, int shift, int mask) { return vi_and(shift32(v, shift), vi_set32(mask)); }
/* Four times 7 signs from bit 0 of a dword on. */
INLINE vi signs28(vi v) {
  return even_signs(
      vi_or(vi_or(field(v, 0, 0x7f), field(v, 1, 0x7f00)), vi_or(field(v, 2, 0x7f0000), field(v, 3, 0x7f000000))));
}

/* 2 s + 1 for s in `bits` bits from bit `at` on; the power of two goes into d. */
INLINE vi odd_scale(vi v, int at, int bits) { return vi_or(field(v, 1 - at, (2 << bits) - 2), vi_set32(1)); }
/* n nibbles, low ones first, at `at`. */
INLINE void nibble_scales(head256 *h, const source *s, int64_t at, int n) {
  vi v[4];
  piece_small(v, s->rows, 0, s->part, at, n / 2);
  UNROLL for (int g = 0; g < n; g++) h->scale[g] = odd_scale(v[g / 8], g % 8 * 4, 4);
}
INLINE vf scaled_half(const source *s, int64_t at, float by) { return vf_mul(half_at(s, at), vf_set(by)); }

INLINE void head_iq2_xxs(head256 *h, const source *s, int64_t at) {
  UNROLL for (int half = 0; half < 2; half++) {
    vi v[8]; /* pairs of four indices and the dword with signs and, on top, the scale */
    piece32(v, s->rows, 0, s->part, at + 2 + 32 * half, nothing);
    UNROLL for (int i = 0; i < 4; i++) {
      h->scale[4 * half + i] = odd_scale(v[2 * i + 1], 28, 4);
      h->signs[4 * half + i] = signs28(v[2 * i + 1]);
      h->index[4 * half + i] = v[2 * i];
    }
  }
  h->d = scaled_half(s, at, 0.125f);
}
INLINE void head_iq2_xs(head256 *h, const source *s, int64_t at) {
  UNROLL for (int half = 0; half < 2; half++) {
    vi v[8]; /* pairs of 9 bits of index and 7 of signs */
    piece32(v, s->rows, 0, s->part, at + 2 + 32 * half, nothing);
    UNROLL for (int i = 0; i < 4; i++) {
      vi low = vi_or(field(v[2 * i], -9, 0x7f), field(v[2 * i], -17, 0x7f00));
      vi high = vi_or(field(v[2 * i + 1], 7, 0x7f0000), field(v[2 * i + 1], -1, 0x7f000000));
      h->signs[4 * half + i] = even_signs(vi_or(low, high));
      low = vi_or(field(v[2 * i], 0, 0xff), field(v[2 * i], -8, 0xff00));
      high = vi_or(field(v[2 * i + 1], 16, 0xff0000), field(v[2 * i + 1], 8, (int)0xff000000));
      h->index[4 * half + i] = vi_or(low, high);
      low = vi_or(field(v[2 * i], -8, 1), field(v[2 * i], -23, 2));
      high = vi_or(field(v[2 * i + 1], -6, 4), field(v[2 * i + 1], -21, 8));
      h->high[4 * half + i] = vi_or(low, high);
    }
  }
  nibble_scales(h, s, at + 66, 16);
  h->d = scaled_half(s, at, 0.125f);
}
INLINE void head_iq2_s(head256 *h, const source *s, int64_t at) {
  piece32(h->signs, s->rows, 0, s->part, at + 34, nothing);
  nibble_scales(h, s, at + 74, 16);
  h->d = scaled_half(s, at, 0.125f);
}
INLINE void head_iq3_xxs(head256 *h, const source *s, int64_t at) {
  vi v[8];
  piece32(v, s->rows, 0, s->part, at + 66, nothing);
  UNROLL for (int g = 0; g < 8; g++) h->scale[g] = odd_scale(v[g], 28, 4), h->signs[g] = signs28(v[g]);
  UNROLL for (int half = 0; half < 2; half++)
      piece32(h->index + 8 * half, s->rows, 0, s->part, at + 2 + 32 * half, nothing);
  h->d = scaled_half(s, at, 0.25f);
}
INLINE void head_iq3_s(head256 *h, const source *s, int64_t at) {
  piece32(h->signs, s->rows, 0, s->part, at + 74, nothing);
  nibble_scales(h, s, at + 106, 8);
  vi v[4];
  piece_small(v, s->rows, 0, s->part, at + 66, 8);
  UNROLL for (int g = 0; g < 8; g++) h->high[g] = shift32(v[g / 4], -(g % 4 * 8));
  UNROLL for (int half = 0; half < 2; half++)
      piece32(h->index + 8 * half, s->rows, 0, s->part, at + 2 + 32 * half, nothing);
  h->d = half_at(s, at);
}
/* IQ1: a sign is that of delta, per 32 in IQ1_S and per 8 in IQ1_M. */
INLINE void head_iq1_s(head256 *h, const source *s, int64_t at) {
  vi v[4];
  piece16(v, s->rows, 0, s->part, at + 34, nothing);
  UNROLL for (int g = 0; g < 8; g++) {
    h->scale[g] = odd_scale(v[g / 2], g % 2 * 16 + 12, 3);
    h->signs[g] = vi_sra32(shift32(v[g / 2], g % 2 ? 0 : 16), 31);
  }
  h->d = scaled_half(s, at, 0.125f);
}
INLINE void head_iq1_m(head256 *h, const source *s, int64_t at) {
  vi v[4], t[4]; /* v: four times 12 bits of scales below a nibble of d */
  piece_small(v, s->rows, 0, s->part, at + 48, 8);
  UNROLL for (int g = 0; g < 16; g++) h->scale[g] = odd_scale(v[g / 8], g / 4 % 2 * 16 + g % 4 * 3, 3);
  vi low = vi_or(field(v[0], -12, 0xf), field(v[0], -24, 0xf0)),
     high = vi_or(field(v[1], -4, 0xf00), field(v[1], -16, 0xf000));
  h->d = vf_mul(low_f16(vi_or(low, high)), vf_set(0.125f));
  piece16(t, s->rows, 0, s->part, at + 32, nothing);
  UNROLL for (int g = 0; g < 8; g++) { /* bit 3 of each nibble, to all bits of a byte */
    const int up = g % 2 ? -16 : 0;
    vi a = vi_or(field(t[g / 2], up - 3, 1), field(t[g / 2], up + 1, 0x100));
    vi b = vi_or(field(t[g / 2], up + 5, 0x10000), field(t[g / 2], up + 9, 0x1000000));
    h->signs[g] = vi_mul32(vi_or(a, b), vi_set32(255));
  }
}

/* ---- by type ---- */

/* The bodies of open_NAME: from codebooks in memory, and of small ones in registers where there is VBMI. */
#define MEMORY(NAME, name, finish) open_rows(s, at, MYNA__BYTES_##NAME, h, put, to, row_##name, finish)
#ifdef __AVX512VBMI__
#define SMALL(NAME, name, finish) \
  open_entries(s, MYNA__BYTES_##NAME, h, put, to, entries_##name, 1 << MYNA__SHIFT_##NAME)
#else
#define SMALL(NAME, name, finish) MEMORY(NAME, name, finish)
#endif

/* clang-format off */
/* see KERNELS256; then the size of the codebook and how entries become codes */
#define IQ_ROWS(X)                                 \
  X(IQ1_S, iq1_s, DOT_6BIT, MEMORY, finish_iq1)    \
  X(IQ1_M, iq1_m, DOT_6BIT, MEMORY, finish_iq1)    \
  X(IQ2_XXS, iq2_xxs, DOT_7BIT, SMALL, finish_iq2) \
  X(IQ2_XS, iq2_xs, DOT_7BIT, SMALL, finish_iq2)   \
  X(IQ2_S, iq2_s, DOT_7BIT, MEMORY, finish_iq2)    \
  X(IQ3_XXS, iq3_xxs, DOT_7BIT, SMALL, finish_iq2) \
  X(IQ3_S, iq3_s, DOT_6BIT, SMALL, finish_iq3_s)
/* clang-format on */

#define IQ_KERNELS(NAME, name, codes, codebook, finish)                                              \
  INLINE void open_##name(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to) { \
    codebook(NAME, name, finish);                                                                    \
  }                                                                                                  \
  KERNELS256(NAME, name, codes)
IQ_ROWS(IQ_KERNELS)
INLINE void fill_open_iq(myna__ktable *t) {
  IQ_ROWS(SET_UNPACK)
  IQ_ROWS(SET_DIRECT)
}

#endif
