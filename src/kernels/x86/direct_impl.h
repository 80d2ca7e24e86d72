/* direct_impl.h: up to 8 columns times a strip of floats without a panel: transposed in registers, multiplied at once.
 *
 * With few columns a float panel costs more than the multiply: writing and reading it back is 2 to 4 times the bytes of
 * the weights, and a single column's chain of dependent sums runs beside the transposes here, not after them. The order
 * of products is that of the panel kernels: ascending k, one accumulator per output. */
#ifndef MYNA__DIRECT_IMPL_H
#define MYNA__DIRECT_IMPL_H

#include "kernels/x86/unpack_impl.h"

/* acc[0..C) += the 32 bytes in q (from k on) times C activation rows. */
typedef void step_fn(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C);

INLINE int64_t direct_columns(const myna__direct *d, int size, int C, step_fn *step) {
  const int per = 32 / size;
  vf acc[PARTS][MYNA__DIRECT_COLS];
  const uint8_t *x[MYNA__DIRECT_COLS], *next = d->next;
  UNROLL for (int c = 0; c < C; c++) x[c] = d->act.row + (size_t)c * d->act.stride;
  EACH_PART UNROLL for (int c = 0; c < C; c++) acc[part][c] = vf_zero();
  int64_t k = 0;
  for (; k + per <= d->n; k += per, next += 32 * MYNA__STRIP) {
    prefetch_part(next, 32, 0, 1);
    UNROLL EACH_PART {
      vi q[8];
      piece32(q, &d->rows, 0, part, size * k);
      step(acc[part], q, x, k, C);
    }
  }
  EACH_PART UNROLL for (int c = 0; c < C; c++) vf_store(d->acc + c * d->ld_acc + LANES * part, acc[part][c]);
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
INLINE void step_f16(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C) { step_pairs(acc, q, x, k, C, widen_f16); }
INLINE void step_f32_bf16(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C) {
  step_pairs(acc, q, x, k, C, widen_bf16_pair);
}
INLINE void step_f32(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int i = 0; i < 8; i++)
    UNROLL for (int c = 0; c < C; c++) acc[c] = vf_fma(vi_as_f32(q[i]), vf_set(load_float(x[c] + 4 * (k + i))), acc[c]);
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

static int64_t direct_f32(const myna__direct *d) { return direct(d, 4, step_f32); }
static int64_t direct_f16(const myna__direct *d) { return direct(d, 2, step_f16); }
static int64_t direct_f32_bf16(const myna__direct *d) { return direct(d, 2, step_f32_bf16); }
static int64_t direct_bf16(const myna__direct *d) { return direct(d, 2, step_bf16); }

INLINE void fill_direct(myna__ktable *t) {
  t->direct_f32[MYNA_F32] = direct_f32;
  t->direct_f32[MYNA_F16] = direct_f16;
  t->direct_f32[MYNA_BF16] = direct_f32_bf16;
  t->direct[MYNA_BF16] = direct_bf16;
}

#endif
