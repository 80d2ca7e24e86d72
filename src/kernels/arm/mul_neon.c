/* mul_neon.c: panel multiplies for NEON: integers with SDOT, floats with FMLA by lane. */
#include "kernels/arm/mul_impl.h"

/* Tiles of floats: a strip x 4 columns, 16 accumulators in registers through the block. */
INLINE vf fma_lane(vf acc, vf w, vf a, int n) {
  switch (n) {
  case 0: return vfmaq_laneq_f32(acc, w, a, 0);
  case 1: return vfmaq_laneq_f32(acc, w, a, 1);
  case 2: return vfmaq_laneq_f32(acc, w, a, 2);
  default: return vfmaq_laneq_f32(acc, w, a, 3);
  }
}

INLINE void load_acc(vf acc[COLS][4], const tile *t, int C) {
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < 4; v++) acc[c][v] = vf_load(t->acc + c * t->ld + 4 * v);
}
INLINE void store_acc(vf acc[COLS][4], const tile *t, int C) {
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < 4; v++) vf_store(t->acc + c * t->ld + 4 * v, acc[c][v]);
}

INLINE void tile_f32(const tile *t, int C) {
  const myna__panel_f32 *p = t->panel;
  vf acc[COLS][4];
  int k = 0;
  load_acc(acc, t, C);
  for (; k + 4 <= t->n; k += 4) {
    vf a[COLS];
    UNROLL for (int c = 0; c < C; c++) a[c] = vi_as_f32(vi_load(t->row[c] + 4 * (t->k0 + k)));
    UNROLL for (int e = 0; e < 4; e++) UNROLL for (int v = 0; v < 4; v++) {
      vf w = vf_load(p->w[k + e] + 4 * v);
      UNROLL for (int c = 0; c < C; c++) acc[c][v] = fma_lane(acc[c][v], w, a[c], e);
    }
  }
  for (; k < t->n; k++) /* rows of activations end here */
    UNROLL for (int c = 0; c < C; c++) {
      vf a = vf_set(load_float(t->row[c] + 4 * (t->k0 + k)));
      UNROLL for (int v = 0; v < 4; v++) acc[c][v] = vf_fma(vf_load(p->w[k] + 4 * v), a, acc[c][v]);
    }
  store_acc(acc, t, C);
}

/* n pairs of k, at most 4, from the 4 in a on each side; activations are padded with zeros, panels too. */
INLINE void add_pairs(vf acc[COLS][4], const myna__panel_bf16 *p, const vi a[COLS], int k, int n, int C) {
  vf even[COLS], odd[COLS];
  UNROLL for (int c = 0; c < C; c++) widen_bf16_pair(&even[c], &odd[c], a[c]);
  UNROLL for (int e = 0; e < n; e++) UNROLL for (int v = 0; v < 4; v++) {
    vf lo, hi;
    widen_bf16_pair(&lo, &hi, vi_load(p->w[k + e][4 * v]));
    UNROLL for (int c = 0; c < C; c++) acc[c][v] = fma_lane(acc[c][v], lo, even[c], e);
    UNROLL for (int c = 0; c < C; c++) acc[c][v] = fma_lane(acc[c][v], hi, odd[c], e);
  }
}
INLINE void tile_bf16(const tile *t, int C) {
  vf acc[COLS][4];
  vi a[COLS];
  const int pairs = (t->n + 1) / 2;
  int k = 0;
  load_acc(acc, t, C);
  for (; k + 4 <= pairs; k += 4) {
    UNROLL for (int c = 0; c < C; c++) a[c] = vi_load(t->row[c] + 2 * t->k0 + 4 * k);
    add_pairs(acc, t->panel, a, k, 4, C);
  }
  for (; k < pairs; k++) {
    UNROLL for (int c = 0; c < C; c++) a[c] = vi_set32(load32(t->row[c] + 2 * t->k0 + 4 * k));
    add_pairs(acc, t->panel, a, k, 1, C);
  }
  store_acc(acc, t, C);
}

INLINE void ready_none(ready *r, const myna__mul *m, const void *panel, int n) {}

static void mul_f32(const myna__mul *m) { sweep(m, ready_none, tile_f32); }
static void mul_bf16(const myna__mul *m) { sweep(m, ready_none, tile_bf16); }

void myna__fill_mul_neon(myna__ktable *t) {
  fill_mul(t);
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) t->mul_f32[i] = mul_f32;
  t->mul[MYNA_BF16] = mul_bf16;
}
