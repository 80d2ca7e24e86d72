/* unpack_impl.h: 16 rows x 256 k of every common storage type into panels, one source for every x86 level.
 *
 * Building blocks (isa_*.h): piece16() and piece32() read bytes at one offset of all rows and return dword i of every row
 * in vector i. Types whose codes lie as ggml lays them need no more than shifts and masks after that, because 4 packed
 * bytes of a row are 4 consecutive k in the low bits and 4 in the high bits. Nothing beyond a block's bytes is read. */
#ifndef MYNA__UNPACK_IMPL_H
#define MYNA__UNPACK_IMPL_H

#include "kernels/quants/blocks.h"

#define EACH_PART for (int part = 0; part < PARTS; part++)

INLINE vi low_nibbles(vi v) { return vi_and(v, vi_set8(15)); }
INLINE vi high_nibbles(vi v) { return low_nibbles(vi_srl32(v, 4)); }
/* Low 4 bits of each byte from a, the bits `keep` above them from b. */
INLINE vi nibble_and_bits(vi a, vi b, int keep) { return vi_or(low_nibbles(a), vi_and(b, vi_set8(keep))); }

/* Vectors of n dwords of codes from `code` on, one part. */
INLINE void store_codes(uint8_t code[][MYNA__STRIP][4], int part, const vi *w, int n) {
  uint8_t *to = code[0][LANES * part];
  OPAQUE(to);
  UNROLL for (int i = 0; i < n; i++) vi_store(to + 4 * MYNA__STRIP * i, w[i]);
}
/* The same from n dwords of nibbles: the low ones, then the high ones. */
INLINE void store_nibbles(uint8_t code[][MYNA__STRIP][4], int part, const vi *q, int n) {
  uint8_t *to = code[0][LANES * part];
  OPAQUE(to);
  UNROLL for (int i = 0; i < n; i++) {
    vi_store(to + 4 * MYNA__STRIP * i, low_nibbles(q[i]));
    vi_store(to + 4 * MYNA__STRIP * (n + i), high_nibbles(q[i]));
  }
}

/* 16-bit floats of one part as floats. */
INLINE vf part_floats(const myna__rows *rows, int plane, int part, int64_t at, myna_dtype t) {
  halves h = part_halves(rows, plane, part, at);
  return t == MYNA_F16 ? vf_from_f16(h) : vf_from_bf16(h);
}
INLINE void store_floats(float *to, const myna__rows *rows, int plane, int64_t at, myna_dtype t) {
  EACH_PART vf_store(to + LANES * part, part_floats(rows, plane, part, at, t));
}

/* ---- Q32 forms ---- */

static void unpack_q4_0(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  myna__panel_q32 *p = panel;
  int64_t at = k0 / 32 * MYNA__BYTES_Q4_0;
  for (int g = 0; g < n / 32; g++, at += MYNA__BYTES_Q4_0) {
    EACH_PART {
      vi q[4];
      piece16(q, rows, 0, part, at + 2, nothing);
      store_nibbles(p->code + 8 * g, part, q, 4);
    }
    store_floats(p->d[g], rows, 0, at, MYNA_F16);
  }
}

static void unpack_q8_0(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  myna__panel_q32 *p = panel;
  int64_t at = k0 / 32 * MYNA__BYTES_Q8_0;
  for (int g = 0; g < n / 32; g++, at += MYNA__BYTES_Q8_0) {
    EACH_PART {
      vi q[8];
      piece32(q, rows, 0, part, at + 2, nothing);
      UNROLL for (int i = 0; i < 8; i++) q[i] = vi_xor(q[i], vi_set8(-128));
      store_codes(p->code + 8 * g, part, q, 8);
    }
    store_floats(p->d[g], rows, 0, at, MYNA_F16);
  }
}

/* ---- Q256 forms ---- */

/* Scales of one part in vectors of int32, `narrow` ones without their sign. With an offset of the codes also in pairs of groups,
 * as mins: what multiplies of pairs (mul_pairs_avx2.h) take it off with. */
INLINE void store_scales(myna__panel_q256 *p, const vi *scale, int part, int groups, bool narrow, bool offset) {
  const vi low = vi_set32(0xffff);
  UNROLL for (int g = 0; g < groups; g++)
      vi_store(&p->scale[g][LANES * part], narrow ? vi_and(scale[g], low) : scale[g]);
  if (SCALES_PAIRED && offset)
    UNROLL for (int i = 0; i < groups / 2; i++)
        vi_store(p->min[i][LANES * part], vi_or(vi_and(scale[2 * i], low), vi_sll32(scale[2 * i + 1], 16)));
}

INLINE vi byte_of(vi v, int i) { return vi_pick_bytes(v, 0x80808000u | (uint32_t)i); }
/* Byte i of every dword, sign-extended. */
INLINE vi signed_byte(vi v, int i) { return vi_sra32(vi_sll32(v, 24 - 8 * i), 24); }
/* Bytes i and i + 1 as a pair of int16. */
INLINE vi byte_pair(vi v, int i) { return vi_pick_bytes(v, 0x80008000u | (uint32_t)i | (uint32_t)(i + 1) << 16); }

/* The 16 bytes that start Q4_K and Q5_K blocks: d, dmin, 8 scales and mins of 6 bits (see quants/kquant.h). */
typedef struct header_k6 {
  vf d, dmin;
  vi scale[2], min[2]; /* bytes, four groups per dword */
} header_k6;

INLINE header_k6 read_k6(const myna__rows *rows, int part, int64_t at) {
  vi h[4], m63 = vi_set8(63), m48 = vi_set8(48);
  header_k6 o;
  piece16(h, rows, 0, part, at, nothing);
  o.d = low_f16(h[0]);
  o.dmin = low_f16(vi_srl32(h[0], 16));
  o.scale[0] = vi_and(h[1], m63);
  o.min[0] = vi_and(h[2], m63);
  o.scale[1] = vi_or(low_nibbles(h[3]), vi_and(vi_srl32(h[1], 2), m48));
  o.min[1] = vi_or(high_nibbles(h[3]), vi_and(vi_srl32(h[2], 2), m48));
  return o;
}
INLINE vi scale_k6(const header_k6 *h, int g) { return byte_of(h->scale[g / 4], g % 4); }
INLINE vi min_pair_k6(const header_k6 *h, int i) { return byte_pair(h->min[i / 2], i % 2 * 2); }

INLINE void unpack_k6(myna__panel_q256 *p, const myna__rows *rows, int part, int64_t at) {
  header_k6 h = read_k6(rows, part, at);
  vf_store(p->d + LANES * part, h.d);
  vf_store(p->dmin + LANES * part, h.dmin);
  vi scale[8];
  UNROLL for (int i = 0; i < 8; i++) scale[i] = scale_k6(&h, i);
  store_scales(p, scale, part, 8, false, false);
  UNROLL for (int i = 0; i < 4; i++) vi_store(p->min[i][LANES * part], min_pair_k6(&h, i));
}

static void unpack_q4_k(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  myna__panel_q256 *p = panel;
  int64_t at = k0 / 256 * MYNA__BYTES_Q4_K;
  EACH_PART unpack_k6(p, rows, part, at);
  at += 16;
  for (int c = 0; c < 4; c++, at += 32) EACH_PART { /* 64 k: low nibbles, then high nibbles */
      vi q[8];
      piece32(q, rows, 0, part, at, nothing);
      store_nibbles(p->code + 16 * c, part, q, 8);
    }
}

/* v shifted left by n, right by -n. */
INLINE vi shift32(vi v, int n) { return n >= 0 ? vi_sll32(v, n) : vi_srl32(v, -n); }

/* Dwords of rows that are opened together: with them go as many of their upper bits. */
enum { OPENED = REGISTERS > 16 ? 8 : 4 };
INLINE void piece_opened(vi out[OPENED], const myna__rows *rows, int part, int64_t at) {
  if (OPENED == 8)
    piece32(out, rows, 0, part, at, nothing);
  else
    piece16(out, rows, 0, part, at, nothing);
}

static void unpack_q5_k(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  myna__panel_q256 *p = panel;
  const int64_t at = k0 / 256 * MYNA__BYTES_Q5_K;
  EACH_PART unpack_k6(p, rows, part, at);
  EACH_PART for (int i = 0; i < 8; i += OPENED) {
    vi h[OPENED], q[OPENED], w[OPENED]; /* bit g of each byte of h: top bit in group g */
    piece_opened(h, rows, part, at + 16 + 4 * i);
    UNROLL for (int c = 0; c < 4; c++) {
      uint8_t(*code)[MYNA__STRIP][4] = p->code + 16 * c + i;
      piece_opened(q, rows, part, at + 48 + 32 * c + 4 * i);
      UNROLL for (int d = 0; d < OPENED; d++) w[d] = nibble_and_bits(q[d], shift32(h[d], 4 - 2 * c), 0x10);
      store_codes(code, part, w, OPENED);
      UNROLL for (int d = 0; d < OPENED; d++) w[d] = nibble_and_bits(vi_srl32(q[d], 4), shift32(h[d], 3 - 2 * c), 0x10);
      store_codes(code + 8, part, w, OPENED);
    }
  }
}

static void unpack_q6_k(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  myna__panel_q256 *p = panel;
  const int64_t at = k0 / 256 * MYNA__BYTES_Q6_K;
  for (int half = 0; half < 2; half++) EACH_PART for (int i = 0; i < 8; i += OPENED) {
      vi h[OPENED], q[OPENED], w[OPENED]; /* bits 2j, 2j + 1 of each byte of h: top bits of the j-th 32 codes */
      piece_opened(h, rows, part, at + 128 + 32 * half + 4 * i);
      UNROLL for (int j = 0; j < 2; j++) {
        uint8_t(*code)[MYNA__STRIP][4] = p->code + 32 * half + 8 * j + i;
        piece_opened(q, rows, part, at + 64 * half + 32 * j + 4 * i);
        UNROLL for (int d = 0; d < OPENED; d++) w[d] = nibble_and_bits(q[d], vi_sll32(h[d], 4 - 2 * j), 0x30);
        store_codes(code, part, w, OPENED);
        UNROLL for (int d = 0; d < OPENED; d++) w[d] = nibble_and_bits(vi_srl32(q[d], 4), vi_srl32(h[d], 2 * j), 0x30);
        store_codes(code + 16, part, w, OPENED);
      }
    }
  EACH_PART {
    vi s[4], scale[16];
    piece16(s, rows, 0, part, at + 192, nothing);
    UNROLL for (int g = 0; g < 16; g++) scale[g] = signed_byte(s[g / 4], g % 4);
    store_scales(p, scale, part, 16, true, true);
  }
  store_floats(p->d, rows, 0, at + 208, MYNA_F16);
}

/* ---- MLX: 8 consecutive k in the nibbles of a dword, scales and biases in planes of their own ---- */

/* Nibbles 4 half .. 4 half + 3 of every dword as bytes: each byte twice, then the upper copy's high nibble. */
INLINE vi spread_nibbles(vi v, int half) {
  vi b = vi_pick_bytes(v, half ? 0x03030202 : 0x01010000);
  return low_nibbles(vi_select(vi_set16(-256), vi_srl32(b, 4), b)); /* upper bytes: shifted; their bits 4.. are cut */
}

/* The floats of a plane for n k from k on, one per group, to the rows of to[n / 32]; one part. Blocks of 256 k in groups of 32,
 * 64 or 128 have 16, 8 or 4 bytes of 16-bit floats in each row: a small transpose. */
INLINE void plane_groups(float to[8][MYNA__STRIP], const myna__rows *rows, int plane, int part, int64_t k, int n) {
  const int group = rows->group;
  const int64_t first = k / group;
  vi q[4];
  if (n == MYNA__KBLOCK && rows->scale_type != MYNA_F32 && (group == 32 || group == 64 || group == 128)) {
    if (group == 32) piece16(q, rows, plane, part, 2 * first, nothing);
    if (group == 64) piece_small(q, rows, plane, part, 2 * first, 8);
    if (group == 128) piece_small(q, rows, plane, part, 2 * first, 4);
    for (int i = 0; i < MYNA__KBLOCK / group; i += 2) {
      vf even, odd;
      if (rows->scale_type == MYNA_F16)
        widen_f16(&even, &odd, q[i / 2]);
      else
        widen_bf16_pair(&even, &odd, q[i / 2]);
      for (int g = i * group / 32; g < (i + 1) * group / 32; g++) vf_store(to[g] + LANES * part, even);
      for (int g = (i + 1) * group / 32; g < (i + 2) * group / 32; g++) vf_store(to[g] + LANES * part, odd);
    }
    return;
  }
  for (int g = 0; g < n / 32; g++) {
    const int64_t i = (k + 32 * g) / group;
    if (rows->scale_type == MYNA_F32)
      for (int r = LANES * part; r < LANES * (part + 1); r++) memcpy(&to[g][r], row_at(rows, plane, r, 4 * i), 4);
    else
      vf_store(to[g] + LANES * part, part_floats(rows, plane, part, 2 * i, rows->scale_type));
  }
}

static void unpack_mlx4(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  myna__panel_q32 *p = panel;
  EACH_PART {
    plane_groups(p->d, rows, 1, part, k0, n);
    plane_groups(p->m, rows, 2, part, k0, n);
    for (int g = 0; g < n / 32; g++) {
      vi q[4];
      piece16(q, rows, 0, part, (k0 + 32 * g) / 2, nothing);
      UNROLL for (int i = 0; i < 4; i++) {
        vi_store(p->code[8 * g + 2 * i][LANES * part], spread_nibbles(q[i], 0));
        vi_store(p->code[8 * g + 2 * i + 1][LANES * part], spread_nibbles(q[i], 1));
      }
    }
  }
}

/* ---- floats ---- */

/* One pass over a block of floats of `size` bytes: pieces of 32 bytes through `put`, then single elements. */
typedef void put_piece_fn(void *panel, int part, const vi q[8], int k);
typedef void put_one_fn(void *panel, const myna__rows *rows, int64_t at, int k);

INLINE void unpack_floats(void *panel, const myna__rows *rows, int64_t k0, int n, int size, put_piece_fn *put,
                          put_one_fn *one) {
  int64_t at = size * k0;
  int k = 0;
  for (; k + 64 / size <= n; k += 64 / size) {
    EACH_PART UNROLL for (int h = 0; h < 2; h++) {
      vi q[8];
      piece32(q, rows, 0, part, at + size * k + 32 * h, nothing);
      put(panel, part, q, k + h * 32 / size);
    }
  }
  if (k + 32 / size <= n) {
    EACH_PART {
      vi q[8];
      piece32(q, rows, 0, part, at + size * k, nothing);
      put(panel, part, q, k);
    }
    k += 32 / size;
  }
  for (; k < n; k++) one(panel, rows, at + size * k, k);
}

INLINE void put_bf16(void *panel, int part, const vi q[8], int k) {
  UNROLL for (int i = 0; i < 8; i++) vi_store(((myna__panel_bf16 *)panel)->w[k / 2 + i][LANES * part], q[i]);
}
INLINE void put_bf16_one(void *panel, const myna__rows *rows, int64_t at, int k) {
  myna__panel_bf16 *p = panel;
  for (int r = 0; r < MYNA__STRIP; r++) memcpy(&p->w[k / 2][r][k & 1], row_at(rows, 0, r, at), 2);
}
static void unpack_bf16(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  if (n & 1) memset(((myna__panel_bf16 *)panel)->w[n / 2], 0, 64);
  unpack_floats(panel, rows, k0, n, 2, put_bf16, put_bf16_one);
}

INLINE void put_f32(void *panel, int part, const vi q[8], int k) {
  UNROLL for (int i = 0; i < 8; i++) vi_store(&((myna__panel_f32 *)panel)->w[k + i][LANES * part], q[i]);
}
INLINE void put_f32_one(void *panel, const myna__rows *rows, int64_t at, int k) {
  for (int r = 0; r < MYNA__STRIP; r++) memcpy(&((myna__panel_f32 *)panel)->w[k][r], row_at(rows, 0, r, at), 4);
}
static void unpack_f32_f32(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  unpack_floats(panel, rows, k0, n, 4, put_f32, put_f32_one);
}

INLINE void put_f16(void *panel, int part, const vi q[8], int k) {
  myna__panel_f32 *p = panel;
  UNROLL for (int i = 0; i < 8; i++) {
    vf even, odd;
    widen_f16(&even, &odd, q[i]);
    vf_store(&p->w[k + 2 * i][LANES * part], even);
    vf_store(&p->w[k + 2 * i + 1][LANES * part], odd);
  }
}
INLINE void put_f16_one(void *panel, const myna__rows *rows, int64_t at, int k) {
  store_floats(((myna__panel_f32 *)panel)->w[k], rows, 0, at, MYNA_F16);
}
static void unpack_f32_f16(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  unpack_floats(panel, rows, k0, n, 2, put_f16, put_f16_one);
}

/* bf16 widened, for exact plans. */
INLINE void put_f32_bf16(void *panel, int part, const vi q[8], int k) {
  myna__panel_f32 *p = panel;
  UNROLL for (int i = 0; i < 8; i++) {
    vf even, odd;
    widen_bf16_pair(&even, &odd, q[i]);
    vf_store(&p->w[k + 2 * i][LANES * part], even);
    vf_store(&p->w[k + 2 * i + 1][LANES * part], odd);
  }
}
INLINE void put_f32_bf16_one(void *panel, const myna__rows *rows, int64_t at, int k) {
  store_floats(((myna__panel_f32 *)panel)->w[k], rows, 0, at, MYNA_BF16);
}
static void unpack_f32_bf16(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  unpack_floats(panel, rows, k0, n, 2, put_f32_bf16, put_f32_bf16_one);
}

/* Any other type: rows through to_f32, then transposed. */
static void unpack_f32_any(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  _Alignas(64) float w[MYNA__STRIP][MYNA__KBLOCK];
  for (int r = 0; r < MYNA__STRIP; r++) {
    myna__wrow row = myna__rows_get(rows, r);
    row = myna__wrow_at(&row, t->type, k0);
    myna__quant_get(t->type)->to_f32(w[r], &row, n);
  }
  unpack_f32_f32(panel, t, &(myna__rows){.p = {(const uint8_t *)w}, .stride = {sizeof w[0]}}, 0, n);
}

INLINE void fill_unpack(myna__ktable *t) {
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

#endif
