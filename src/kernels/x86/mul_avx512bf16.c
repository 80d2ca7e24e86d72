/* mul_avx512bf16.c: BF16 panels with VDPBF16PS: two k per lane and instruction.
 *
 * The instruction adds the odd, then the even product with rounding of its own, flushing subnormals; so this
 * level's bits differ from the others', but not between batch sizes. */
#include "kernels/x86/direct_avx512.h"
#include "kernels/x86/tile_avx512.h"

INLINE void tile_bf16(const tile *t, int R, int C) {
  const myna__panel_bf16 *p = (const void *)t->panel;
  int64_t ld = t->m->ld_acc;
  __m512 acc[R_MAX][C_MAX];
  UNROLL for (int c = 0; c < C; c++)
    UNROLL for (int r = 0; r < R; r++) acc[r][c] = _mm512_load_ps(t->acc + c * ld + 16 * r);
  const uint8_t *x[C_MAX];
  UNROLL for (int c = 0; c < C; c++) x[c] = t->row[c] + 2 * t->m->k0;
  for (int64_t left = t->m->n; left > 0; left -= MYNA__KBLOCK, p += t->m->n_strip) {
    int64_t pairs = (MYNA__MIN(left, MYNA__KBLOCK) + 1) / 2;
    for (int64_t k = 0; k < pairs; k++) {
      __m512bh w[R_MAX];
      UNROLL for (int r = 0; r < R; r++) w[r] = (__m512bh)_mm512_load_si512(p[r].w[k]);
      UNROLL for (int c = 0; c < C; c++) {
        __m512bh a = (__m512bh)_mm512_set1_epi32(load32(x[c] + 4 * k));
        UNROLL for (int r = 0; r < R; r++) acc[r][c] = _mm512_dpbf16_ps(acc[r][c], w[r], a);
      }
    }
    UNROLL for (int c = 0; c < C; c++) x[c] += 2 * MYNA__KBLOCK;
  }
  UNROLL for (int c = 0; c < C; c++)
    UNROLL for (int r = 0; r < R; r++) _mm512_store_ps(t->acc + c * ld + 16 * r, acc[r][c]);
}

static void mul_bf16(const myna__mul *m) { sweep(m, C_MAX, tile_bf16); }

INLINE void step_bf16(__m512 *acc, const __m512i q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int i = 0; i < 8; i++)
    UNROLL for (int c = 0; c < C; c++)
      acc[c] = _mm512_dpbf16_ps(acc[c], (__m512bh)q[i], (__m512bh)broadcast_i32(x[c] + 2 * (k + 2 * i)));
}
static int64_t direct_bf16(const myna__direct *d) { return direct(d, 2, step_bf16); }

void myna__fill_mul_avx512bf16(myna__ktable *t) {
  t->mul[MYNA__FORM_BF16] = mul_bf16;
  t->direct[MYNA_BF16] = direct_bf16;
}
