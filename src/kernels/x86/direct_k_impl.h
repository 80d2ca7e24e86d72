/* direct_k_impl.h: direct kernels of Q4_K, Q5_K and Q6_K for vectors that hold a strip; narrower ones take rows as they lie (native_avx2.h). */
#ifndef MYNA__DIRECT_K_IMPL_H
#define MYNA__DIRECT_K_IMPL_H

#include "kernels/x86/direct_impl.h"

/* The end of a Q4_K or Q5_K block: sums, then mins. */
INLINE void add_block_k6(vf *acc, const columns_in *in, const vi *sum, const header_k6 *h, int64_t k, int C) {
  add_block(acc, in, sum, h->d, k, C);
  UNROLL for (int c = 0; c < C; c++) {
    vi j = vi_zero();
    UNROLL for (int i = 0; i < 4; i++) j =
        vi_dot_pairs16(j, min_pair_k6(h, i), vi_set32(load32(in->x[c] + in->act.sum32 + k / 16 + 4 * i)));
    acc[c] = vf_fnma(vi_to_f32(j), vf_mul(h->dmin, vf_set(load_float(in->x[c] + in->act.d + k / 256 * 4))), acc[c]);
  }
}

INLINE void block_q4_k(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  int64_t at = k / 256 * MYNA__BYTES_Q4_K;
  header_k6 h = read_k6(in->rows, part, at);
  vi sum[C_INTS];
  UNROLL for (int c = 0; c < C; c++) sum[c] = vi_zero();
  UNROLL for (int g = 0; g < 4; g++) {
    vi q[8], w[8];
    piece32(q, in->rows, 0, part, at + 16 + 32 * g, share(next, MYNA__BYTES_Q4_K, part, g, 4));
    UNROLL for (int i = 0; i < 8; i++) w[i] = low_nibbles(q[i]);
    add_group(sum, in, w, 8, true, scale_k6(&h, 2 * g), k + 64 * g, C, -1, MYNA__NARROW_Q4_K, DOT_4BIT);
    UNROLL for (int i = 0; i < 8; i++) w[i] = high_nibbles(q[i]);
    add_group(sum, in, w, 8, true, scale_k6(&h, 2 * g + 1), k + 64 * g + 32, C, -1, MYNA__NARROW_Q4_K, DOT_4BIT);
  }
  add_block_k6(acc, in, sum, &h, k, C);
}

INLINE void block_q5_k(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  int64_t at = k / 256 * MYNA__BYTES_Q5_K;
  header_k6 h = read_k6(in->rows, part, at);
  vi sum[C_INTS], top[8];
  UNROLL for (int c = 0; c < C; c++) sum[c] = vi_zero();
  piece32(top, in->rows, 0, part, at + 16, share(next, MYNA__BYTES_Q5_K, part, 4, 5));
  UNROLL for (int g = 0; g < 4; g++) {
    vi q[8], w[8];
    piece32(q, in->rows, 0, part, at + 48 + 32 * g, share(next, MYNA__BYTES_Q5_K, part, g, 5));
    UNROLL for (int i = 0; i < 8; i++) w[i] = nibble_and_bits(q[i], shift32(top[i], 4 - 2 * g), 0x10);
    add_group(sum, in, w, 8, true, scale_k6(&h, 2 * g), k + 64 * g, C, -1, MYNA__NARROW_Q5_K, DOT_6BIT);
    UNROLL for (int i = 0; i < 8; i++) w[i] = nibble_and_bits(vi_srl32(q[i], 4), shift32(top[i], 3 - 2 * g), 0x10);
    add_group(sum, in, w, 8, true, scale_k6(&h, 2 * g + 1), k + 64 * g + 32, C, -1, MYNA__NARROW_Q5_K, DOT_6BIT);
  }
  add_block_k6(acc, in, sum, &h, k, C);
}

INLINE void block_q6_k(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  int64_t at = k / 256 * MYNA__BYTES_Q6_K;
  vi sum[C_INTS], scales[4];
  UNROLL for (int c = 0; c < C; c++) sum[c] = vi_zero();
  piece16(scales, in->rows, 0, part, at + 192, nothing);
  UNROLL for (int half = 0; half < 2; half++) {
    vi top[8];
    piece32(top, in->rows, 0, part, at + 128 + 32 * half, share(next, MYNA__BYTES_Q6_K, part, 3 * half, 6));
    UNROLL for (int p = 0; p < 2; p++) { /* 32 bytes: 32 low and 32 high nibbles */
      vi q[8], w[8];
      piece32(q, in->rows, 0, part, at + 64 * half + 32 * p, share(next, MYNA__BYTES_Q6_K, part, 3 * half + 1 + p, 6));
      UNROLL for (int nibble = 0; nibble < 2; nibble++) {
        const int j = 2 * nibble + p, g = 8 * half + 2 * j; /* j-th 32 of the half, its first group of 16 */
        UNROLL for (int i = 0; i < 8; i++) w[i] =
            nibble_and_bits(nibble ? vi_srl32(q[i], 4) : q[i], shift32(top[i], 4 - 2 * j), 0x30);
        add_group(sum, in, w, 4, true, signed_byte(scales[g / 4], g % 4), k + 16 * g, C, 5, MYNA__NARROW_Q6_K,
                  DOT_6BIT);
        add_group(sum, in, w + 4, 4, true, signed_byte(scales[g / 4], (g + 1) % 4), k + 16 * g + 16, C, 5,
                  MYNA__NARROW_Q6_K, DOT_6BIT);
      }
    }
  }
  add_block(acc, in, sum, part_floats(in->rows, 0, part, at + 208, MYNA_F16), k, C);
}

static int64_t direct_q4_k(const myna__direct *d) {
  return direct_ints(d, MYNA__BYTES_Q4_K, 256, MYNA__NARROW_Q4_K, block_q4_k);
}
static int64_t direct_q5_k(const myna__direct *d) {
  return direct_ints(d, MYNA__BYTES_Q5_K, 256, MYNA__NARROW_Q5_K, block_q5_k);
}
/* More columns spill what is opened of Q6_K; a panel is faster. */
static int64_t direct_q6_k(const myna__direct *d) {
  return d->n_col > 4 ? 0 : direct_ints(d, MYNA__BYTES_Q6_K, 256, MYNA__NARROW_Q6_K, block_q6_k);
}

INLINE void fill_direct_k(myna__ktable *t) {
  t->direct[MYNA_Q4_K] = direct_q4_k;
  t->direct[MYNA_Q5_K] = direct_q5_k;
  t->direct[MYNA_Q6_K] = direct_q6_k;
}

#endif
