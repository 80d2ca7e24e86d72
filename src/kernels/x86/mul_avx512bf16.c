/* mul_avx512bf16.c: BF16 with VDPBF16PS: two k per lane and instruction.
 *
 * The instruction rounds after each of its two products and flushes subnormals, so this level's bits differ from the
 * others', but not between batch sizes: panel and direct kernels use it on the same pairs in the same order. */
#include "kernels/x86/isa_avx512.h"
/* after the vocabulary */
#include "kernels/x86/direct_impl.h"
#include "kernels/x86/mul_impl.h"

INLINE void tile_bf16_pairs(const tile *t, int V, int C) {
  const myna__panel_bf16 *p = (const void *)t->panel;
  vf acc[V_MAX][C_MAX];
  const uint8_t *x[C_MAX];
  load_acc(acc, t, V, C);
  UNROLL for (int c = 0; c < C; c++) x[c] = t->row[c] + 2 * t->m->k0;
  for (int64_t left = t->m->n; left > 0; left -= MYNA__KBLOCK, p += t->m->n_strip) {
    int64_t pairs = (MYNA__MIN(left, MYNA__KBLOCK) + 1) / 2;
    for (int64_t k = 0; k < pairs; k++) {
      __m512bh w[V_MAX];
      UNROLL for (int v = 0; v < V; v++) w[v] = (__m512bh)vi_load(p[v].w[k]);
      UNROLL for (int c = 0; c < C; c++) {
        __m512bh a = (__m512bh)vi_set32(load32(x[c] + 4 * k));
        UNROLL for (int v = 0; v < V; v++) acc[v][c] = _mm512_dpbf16_ps(acc[v][c], w[v], a);
      }
    }
    UNROLL for (int c = 0; c < C; c++) x[c] += 2 * MYNA__KBLOCK;
  }
  store_acc(acc, t, V, C);
}

INLINE void step_bf16_pairs(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int i = 0; i < 8; i++) UNROLL for (int c = 0; c < C; c++) acc[c] =
      _mm512_dpbf16_ps(acc[c], (__m512bh)q[i], (__m512bh)vi_set32(load32(x[c] + 2 * (k + 2 * i))));
}

static void mul_bf16_pairs(const myna__mul *m) { sweep(m, C_MAX, tile_bf16_pairs); }
static int64_t direct_bf16_pairs(const myna__direct *d) { return direct(d, 2, step_bf16_pairs); }

void myna__fill_mul_avx512bf16(myna__ktable *t) {
  if (!t->bf16_dot) return; /* Intel's takes longer than two F32 multiply-adds */
  t->mul[MYNA_BF16] = mul_bf16_pairs;
  t->direct[MYNA_BF16] = direct_bf16_pairs;
}
