/* direct_avx512.c: up to 8 columns times a strip of floats without a panel: transposed in registers, multiplied at once.
 *
 * With few columns a float panel costs more than the multiply: writing and reading it back is 2 to 4 times the bytes of
 * the weights, and a single column's chain of dependent sums runs beside the transposes here, not after them. The order of products is that of the panel kernels: ascending k, one accumulator per output. */
#include "kernels/x86/direct_avx512.h"

/* 32 bytes of 16 rows: 16 k of two-byte types, 8 k of F32. */
INLINE void step_f32(__m512 *acc, const __m512i q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int i = 0; i < 8; i++)
    UNROLL for (int c = 0; c < C; c++) acc[c] = _mm512_fmadd_ps(_mm512_castsi512_ps(q[i]), broadcast_f32(x[c] + 4 * (k + i)), acc[c]);
}
INLINE void step_f16(__m512 *acc, const __m512i q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int i = 0; i < 8; i++) {
    __m512 even, odd;
    widen_f16(&even, &odd, q[i]);
    UNROLL for (int c = 0; c < C; c++) {
      acc[c] = _mm512_fmadd_ps(even, broadcast_f32(x[c] + 4 * (k + 2 * i)), acc[c]);
      acc[c] = _mm512_fmadd_ps(odd, broadcast_f32(x[c] + 4 * (k + 2 * i + 1)), acc[c]);
    }
  }
}
/* Exact plans: F32 activations. */
INLINE void step_f32_bf16(__m512 *acc, const __m512i q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int i = 0; i < 8; i++) {
    __m512 even, odd;
    widen_bf16(&even, &odd, q[i]);
    UNROLL for (int c = 0; c < C; c++) {
      acc[c] = _mm512_fmadd_ps(even, broadcast_f32(x[c] + 4 * (k + 2 * i)), acc[c]);
      acc[c] = _mm512_fmadd_ps(odd, broadcast_f32(x[c] + 4 * (k + 2 * i + 1)), acc[c]);
    }
  }
}
INLINE void step_bf16(__m512 *acc, const __m512i q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int i = 0; i < 8; i++) {
    __m512 even, odd;
    widen_bf16(&even, &odd, q[i]);
    UNROLL for (int c = 0; c < C; c++) {
      __m512 xe, xo;
      widen_bf16(&xe, &xo, broadcast_i32(x[c] + 2 * (k + 2 * i)));
      acc[c] = _mm512_fmadd_ps(even, xe, acc[c]);
      acc[c] = _mm512_fmadd_ps(odd, xo, acc[c]);
    }
  }
}

static int64_t direct_f32(const myna__direct *d) { return direct(d, 4, step_f32); }
static int64_t direct_f16(const myna__direct *d) { return direct(d, 2, step_f16); }
static int64_t direct_f32_bf16(const myna__direct *d) { return direct(d, 2, step_f32_bf16); }
static int64_t direct_bf16(const myna__direct *d) { return direct(d, 2, step_bf16); }

void myna__fill_direct_avx512(myna__ktable *t) {
  t->direct_f32[MYNA_F32] = direct_f32;
  t->direct_f32[MYNA_F16] = direct_f16;
  t->direct_f32[MYNA_BF16] = direct_f32_bf16;
  t->direct[MYNA_BF16] = direct_bf16;
}
