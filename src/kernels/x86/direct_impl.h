/* direct_impl.h: a few columns times a strip without a panel: transposed in registers, multiplied at once.
 *
 * With few columns writing and reading a panel costs more than the multiply, and a single column's chain of dependent sums
 * runs beside the transposes here, not after them. The arithmetic of an output is that of the panel kernels: floats in
 * ascending k with one accumulator; integers exact per group, then the same roundings. */
#ifndef MYNA__DIRECT_IMPL_H
#define MYNA__DIRECT_IMPL_H

#include "kernels/x86/unpack_impl.h"

/* acc[0..C) += the 32 bytes in q (from k on) times C activation rows. */
typedef void step_fn(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C);

INLINE int64_t direct_columns(const myna__direct *d, int size, int C, step_fn *step) {
  const int per = 32 / size, abreast = parts_abreast(C, true);
  const uint8_t *x[MYNA__DIRECT_COLS];
  int64_t k = 0;
  UNROLL for (int c = 0; c < C; c++) x[c] = d->act.row + (size_t)c * d->act.stride;
  for (int s = 0; s < d->n_strip; s++) {
    const myna__rows rows = myna__rows_skip(&d->rows, s);
    for (int first = 0; first < PARTS; first += abreast) {
      vf acc[PARTS][MYNA__DIRECT_COLS];
      for (int j = 0; j < abreast; j++) UNROLL for (int c = 0; c < C; c++) acc[j][c] = vf_zero();
      for (k = 0; k + 2 * per <= d->n; k += 2 * per) { /* lines of 64 bytes: each is asked for and read once */
        const uint8_t *next = rows_ahead(&rows, size * k, 64, size * d->n);
        UNROLL for (int h = 0; h < 2; h++) UNROLL for (int j = 0; j < abreast; j++) {
          vi q[8];
          piece32(q, &rows, 0, first + j, size * k + 32 * h, share(next, 64, first + j, h, 2));
          step(acc[j], q, x, k + h * per, C);
        }
      }
      if (k + per <= d->n) {
        UNROLL for (int j = 0; j < abreast; j++) {
          vi q[8];
          piece32(q, &rows, 0, first + j, size * k, nothing);
          step(acc[j], q, x, k, C);
        }
        k += per;
      }
      for (int j = 0; j < abreast; j++)
        UNROLL for (int c = 0; c < C; c++)
            vf_store(d->acc + c * d->ld_acc + s * MYNA__STRIP + LANES * (first + j), acc[j][c]);
    }
  }
  return k;
}

INLINE int64_t direct(const myna__direct *d, int size, step_fn *step) {
  int64_t k = 0;
  switch (d->n_col) {
  case 1: SEPARATE(k = direct_columns(d, size, 1, step)); break;
  case 2: SEPARATE(k = direct_columns(d, size, 2, step)); break;
  case 3: SEPARATE(k = direct_columns(d, size, 3, step)); break;
  case 4: SEPARATE(k = direct_columns(d, size, 4, step)); break;
  case 5: SEPARATE(k = direct_columns(d, size, 5, step)); break;
  case 6: SEPARATE(k = direct_columns(d, size, 6, step)); break;
  case 7: SEPARATE(k = direct_columns(d, size, 7, step)); break;
  default: SEPARATE(k = direct_columns(d, size, 8, step)); break;
  }
  return k;
}

/* Pairs of k in a dword: 16-bit types times F32 activations. */
typedef void widen_fn(vf *even, vf *odd, vi v);
INLINE void step_pairs(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C, widen_fn *widen) {
  UNROLL for (int i = 0; i < 8; i++) {
    vf even, odd;
    widen(&even, &odd, q[i]);
    UNROLL for (int c = 0; c < C; c++) {
      acc[c] = vf_fma(even, vf_set(load_float(x[c] + 4 * (k + 2 * i))), acc[c]);
      acc[c] = vf_fma(odd, vf_set(load_float(x[c] + 4 * (k + 2 * i + 1))), acc[c]);
    }
  }
}
INLINE void step_f16(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C) {
  step_pairs(acc, q, x, k, C, widen_f16);
}
INLINE void step_f32_bf16(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C) {
  step_pairs(acc, q, x, k, C, widen_bf16_pair);
}
INLINE void step_f32(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int i = 0; i < 8; i++) UNROLL for (int c = 0; c < C; c++) acc[c] =
      vf_fma(vi_as_f32(q[i]), vf_set(load_float(x[c] + 4 * (k + i))), acc[c]);
}
INLINE void step_bf16(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int i = 0; i < 8; i++) {
    vf even, odd;
    widen_bf16_pair(&even, &odd, q[i]);
    UNROLL for (int c = 0; c < C; c++) {
      vf xe, xo;
      widen_bf16_pair(&xe, &xo, vi_set32(load32(x[c] + 2 * (k + 2 * i))));
      acc[c] = vf_fma(even, xe, acc[c]);
      acc[c] = vf_fma(odd, xo, acc[c]);
    }
  }
}

/* ---- integers: C columns, C <= C_INTS ---- */

/* The rows of one kernel: planes of activations at x[c] + offset, accumulators of one part. */
typedef struct columns_in {
  const myna__rows *rows;
  myna__arows act;
  const uint8_t *x[MYNA__DIRECT_COLS];
  bool narrow; /* no mass is above MYNA__NARROW_MASS; constant in every kernel */
} columns_in;

/* acc += a block of 256 k (n: fewer in the last of Q32 types) of one part. */
typedef void block_q_fn(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C);

/* bytes: of one row's 256 k. */
INLINE int64_t direct_blocks(const myna__direct *d, int C, int bytes, block_q_fn *block, bool narrow) {
  const int64_t row_bytes = (d->n + MYNA__KBLOCK - 1) / MYNA__KBLOCK * bytes;
  const int abreast = parts_abreast(C, false);
  for (int s = 0; s < d->n_strip; s++) {
    const myna__rows rows = myna__rows_skip(&d->rows, s);
    columns_in in = {.rows = &rows, .act = d->act, .narrow = narrow};
    UNROLL for (int c = 0; c < C; c++) in.x[c] = d->act.row + (size_t)c * d->act.stride;
    for (int first = 0; first < PARTS; first += abreast) {
      vf acc[PARTS][C_INTS];
      for (int j = 0; j < abreast; j++) UNROLL for (int c = 0; c < C; c++) acc[j][c] = vf_zero();
      for (int64_t k = 0; k < d->n; k += MYNA__KBLOCK) {
        const uint8_t *next = rows_ahead(&rows, k / MYNA__KBLOCK * bytes, bytes, row_bytes);
        UNROLL for (int j = 0; j < abreast; j++)
            block(acc[j], &in, first + j, k, (int)MYNA__MIN(d->n - k, MYNA__KBLOCK), next, C);
      }
      for (int j = 0; j < abreast; j++)
        UNROLL for (int c = 0; c < C; c++)
            vf_store(d->acc + c * d->ld_acc + s * MYNA__STRIP + LANES * (first + j), acc[j][c]);
    }
  }
  return d->n;
}

INLINE int64_t direct_columns_of_ints(const myna__direct *d, int bytes, block_q_fn *block, bool narrow) {
  int64_t k = 0;
  switch (d->n_col) {
  case 1: SEPARATE(k = direct_blocks(d, 1, bytes, block, narrow)); break;
  case 2: SEPARATE(k = direct_blocks(d, 2, bytes, block, narrow)); break;
  case 3: SEPARATE(k = direct_blocks(d, 3, bytes, block, narrow)); break;
  case 4: SEPARATE(k = direct_blocks(d, 4, bytes, block, narrow)); break;
  case 5:
    if (C_INTS >= 8) SEPARATE(k = direct_blocks(d, 5, bytes, block, narrow));
    break;
  case 6:
    if (C_INTS >= 8) SEPARATE(k = direct_blocks(d, 6, bytes, block, narrow));
    break;
  case 7:
    if (C_INTS >= 8) SEPARATE(k = direct_blocks(d, 7, bytes, block, narrow));
    break;
  case 8:
    if (C_INTS >= 8) SEPARATE(k = direct_blocks(d, 8, bytes, block, narrow));
    break;
  default: break; /* more columns want a panel */
  }
  return k;
}

/* Masses of all columns' blocks together; at most MYNA__NARROW_MASS only if none is above. */
static int32_t total_mass(const myna__direct *d) {
  int32_t mass = 0;
  for (int c = 0; c < d->n_col; c++)
    for (int64_t k = 0; k < d->n; k += MYNA__KBLOCK)
      mass |= load32(d->act.row + (size_t)c * d->act.stride + d->act.mass + k / 256 * 4);
  return mass;
}

/* `narrow`: of the type's row in panels.inc. */
INLINE int64_t direct_ints(const myna__direct *d, int block_bytes, int per, int narrow, block_q_fn *block) {
  const int bytes = MYNA__KBLOCK / per * block_bytes;
  int64_t k = 0;
  if (PAIRS16 && narrow && total_mass(d) <= MYNA__NARROW_MASS)
    SEPARATE(k = direct_columns_of_ints(d, bytes, block, true));
  else
    SEPARATE(k = direct_columns_of_ints(d, bytes, block, false));
  return k;
}

/* acc += 32 k of a Q32 type: codes in w[8], scales d, and with `min` minimums m. */
INLINE void add_group32(vf *acc, const columns_in *in, const vi w[8], vf d, vf m, int64_t k, int C, int shift, bool min,
                        dot_mode mode) {
  const int64_t at = k / 32 * 4;
  vi i[C_INTS];
  UNROLL for (int c = 0; c < C; c++) i[c] =
      shift >= 0 && dot_needs_offset(mode) ? minus_offset(in->x[c] + in->act.nsum + at, shift, false) : vi_zero();
  dot_dwords(i, w, 8, in->x, k, C, mode);
  UNROLL for (int c = 0; c < C; c++) {
    vf da = vf_set(load_float(in->x[c] + in->act.d + at));
    acc[c] = vf_fma(vi_to_f32(i[c]), vf_mul(d, da), acc[c]);
    if (min) acc[c] = vf_fnma(vi_to_f32(vi_set32(load32(in->x[c] + in->act.nsum + at))), vf_mul(m, da), acc[c]);
  }
}

INLINE void block_q4_0(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  for (int g = 0; g < n / 32; g++) {
    int64_t at = (k / 32 + g) * MYNA__BYTES_Q4_0;
    vi q[4], w[8];
    piece16(q, in->rows, 0, part, at + 2, share(next, 8 * MYNA__BYTES_Q4_0, part, g, 8));
    UNROLL for (int i = 0; i < 4; i++) w[i] = low_nibbles(q[i]), w[4 + i] = high_nibbles(q[i]);
    add_group32(acc, in, w, part_floats(in->rows, 0, part, at, MYNA_F16), vf_zero(), k + 32 * g, C, 3, false, DOT_4BIT);
  }
}

INLINE void block_q8_0(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  for (int g = 0; g < n / 32; g++) {
    int64_t at = (k / 32 + g) * MYNA__BYTES_Q8_0;
    vi q[8];
    piece32(q, in->rows, 0, part, at + 2, share(next, 8 * MYNA__BYTES_Q8_0, part, g, 8));
    UNROLL for (int i = 0; i < 8; i++) q[i] = vi_xor(q[i], vi_set8(-128));
    add_group32(acc, in, q, part_floats(in->rows, 0, part, at, MYNA_F16), vf_zero(), k + 32 * g, C, 7, false, DOT_8BIT);
  }
}

INLINE void block_mlx4(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {
  _Alignas(64) float d[8][MYNA__STRIP], m[8][MYNA__STRIP];
  plane_groups(d, in->rows, 1, part, k, n);
  plane_groups(m, in->rows, 2, part, k, n);
  for (int g = 0; g < n / 32; g++) {
    vi q[4], w[8];
    piece16(q, in->rows, 0, part, (k + 32 * g) / 2, share(next, MYNA__KBLOCK / 2, part, g, 8));
    UNROLL for (int i = 0; i < 4; i++) w[2 * i] = spread_nibbles(q[i], 0), w[2 * i + 1] = spread_nibbles(q[i], 1);
    add_group32(acc, in, w, vf_load(d[g] + LANES * part), vf_load(m[g] + LANES * part), k + 32 * g, C, -1, true,
                DOT_4BIT);
  }
}

/* sum[c] += scale * (w[0..n) x activations - offset): 4 n codes of a Q256 type at k. Not `scaled`: the codes hold it. Where
 * sums of `narrow` products fit 16 bits a multiply-add of pairs scales and adds them (see mul_impl.h). */
INLINE void add_group(vi *sum, const columns_in *in, const vi *w, int n, bool scaled, vi scale, int64_t k, int C,
                      int shift, int narrow, dot_mode mode) {
  const bool pairs = narrow > 0 && in->narrow;
  const int len = pairs ? narrow / 4 : n;
  if (pairs && n == 4) scale = vi_and(scale, vi_set32(0xffff)); /* scales per 16 may be negative */
  UNROLL for (int h = 0; h < n; h += len) {
    vi i[C_INTS];
    UNROLL for (int c = 0; c < C; c++) i[c] =
        shift >= 0 && dot_needs_offset(mode)
            ? minus_offset(in->x[c] + in->act.nsum + (k + 4 * h) / 16 * 4, shift, len == 8)
            : vi_zero();
    dot_dwords(i, w + h, len, in->x, k + 4 * h, C, mode);
    UNROLL for (int c = 0; c < C; c++) sum[c] = pairs    ? vi_dot_pairs16(sum[c], i[c], scale)
                                                : scaled ? vi_add32(sum[c], vi_mul32(i[c], scale))
                                                         : vi_add32(sum[c], i[c]);
  }
}

INLINE void add_block(vf *acc, const columns_in *in, const vi *sum, vf d, int64_t k, int C) {
  UNROLL for (int c = 0; c < C; c++) acc[c] =
      vf_fma(vi_to_f32(sum[c]), vf_mul(d, vf_set(load_float(in->x[c] + in->act.d + k / 256 * 4))), acc[c]);
}

static int64_t direct_q4_0(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_Q4_0, 32, 0, block_q4_0); }
static int64_t direct_q8_0(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_Q8_0, 32, 0, block_q8_0); }
static int64_t direct_mlx4(const myna__direct *d) { return direct_ints(d, MYNA__BYTES_MLX4, 32, 0, block_mlx4); }
static int64_t direct_f32(const myna__direct *d) { return direct(d, 4, step_f32); }
static int64_t direct_f16(const myna__direct *d) { return direct(d, 2, step_f16); }
static int64_t direct_f32_bf16(const myna__direct *d) { return direct(d, 2, step_f32_bf16); }
static int64_t direct_bf16(const myna__direct *d) { return direct(d, 2, step_bf16); }

INLINE void fill_direct(myna__ktable *t) {
  t->direct_f32[MYNA_F32] = direct_f32;
  t->direct_f32[MYNA_F16] = direct_f16;
  t->direct_f32[MYNA_BF16] = direct_f32_bf16;
  t->direct[MYNA_BF16] = direct_bf16;
  t->direct[MYNA_Q4_0] = direct_q4_0;
  t->direct[MYNA_Q8_0] = direct_q8_0;
  t->direct[MYNA_MLX4] = direct_mlx4;
}

#endif
