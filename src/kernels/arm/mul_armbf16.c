/* mul_armbf16.c: BF16 with BFMMLA in panels and BFDOT in direct kernels.
 *
 * Both add a rounded sum of two products to each accumulator (BFMMLA twice, k ascending), round to odd and flush subnormals: this
 * level's bits differ from the others', but not between batch sizes, for both take the same pairs in the same order. */
#include "kernels/arm/mul_impl.h"
/* after the vocabulary */
#include "kernels/x86/direct_impl.h"

/* A strip's block by pairs of rows, 4 k each: [k / 4][8][2][4]; zeros up to a multiple of 8 k. */
typedef struct rows_bf16 {
  _Alignas(64) uint16_t w[64][8][2][4];
} rows_bf16;

INLINE void pair_panel(rows_bf16 *r, const myna__panel_bf16 *p, int pairs) {
  const int all = (pairs + 3) / 4 * 4;
  for (int k = 0; k < all; k += 2) UNROLL for (int v = 0; v < 4; v++) {
      vi a = k < pairs ? vi_load(p->w[k][4 * v]) : vi_zero();
      pair_rows(r->w[k / 2][2 * v][0], a, k + 1 < pairs ? vi_load(p->w[k + 1][4 * v]) : vi_zero());
    }
}

INLINE bfloat16x8_t as_bf16(vi v) { return vreinterpretq_bf16_s32(v); }

/* Sums [2 rows][2 columns] of 8 pairs of rows. */
INLINE void tile_bf16_pairs(const tile *t, const rows_bf16 *r, int C) {
  vf acc[COLS / 2][8];
  UNROLL for (int c = 0; c < C; c += 2) UNROLL for (int v = 0; v < 4; v++) {
    vf a = vf_load(t->acc + c * t->ld + 4 * v), b = c + 1 < C ? vf_load(t->acc + (c + 1) * t->ld + 4 * v) : a;
    acc[c / 2][2 * v] = vzip1q_f32(a, b);
    acc[c / 2][2 * v + 1] = vzip2q_f32(a, b);
  }
  for (int k = 0; k < (t->n + 3) / 4; k += 2) { /* 8 k; rows of activations are padded to 256 */
    int64x2_t a[2][COLS / 2];
    UNROLL for (int c = 0; c < C; c += 2) {
      int64x2_t x = vreinterpretq_s64_s32(vi_load(column(t->row, c, C) + 2 * t->k0 + 8 * k));
      int64x2_t y = vreinterpretq_s64_s32(vi_load(column(t->row, c + 1, C) + 2 * t->k0 + 8 * k));
      a[0][c / 2] = vzip1q_s64(x, y);
      a[1][c / 2] = vzip2q_s64(x, y);
    }
    UNROLL for (int e = 0; e < 2; e++) UNROLL for (int v = 0; v < 8; v++) {
      bfloat16x8_t w = as_bf16(vi_load(r->w[k + e][v]));
      UNROLL for (int c = 0; c < C; c += 2) acc[c / 2][v] =
          vbfmmlaq_f32(acc[c / 2][v], w, vreinterpretq_bf16_s64(a[e][c / 2]));
    }
  }
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < 4; v++) {
    vf x = acc[c / 2][2 * v], y = acc[c / 2][2 * v + 1];
    vf_store(t->acc + c * t->ld + 4 * v, c % 2 ? vuzp2q_f32(x, y) : vuzp1q_f32(x, y));
  }
}

static void mul_bf16_pairs(const myna__mul *m) {
  const myna__panel_bf16 *p = (const void *)m->panel;
  rows_bf16 r;
  fetch next = fetch_new(m);
  tile t = {.act = &m->act, .ld = m->ld_acc};
  for (int64_t k = 0; k < m->n; k += MYNA__KBLOCK)
    for (int s = 0; s < m->n_strip; s++, p++) {
      t.k0 = m->k0 + k;
      t.n = (int)MYNA__MIN(m->n - k, MYNA__KBLOCK);
      pair_panel(&r, p, (t.n + 1) / 2);
      const uint8_t *row = m->act.row;
      for (int64_t c = 0; c < m->n_col; c += COLS) {
        t.acc = m->acc + s * MYNA__STRIP + c * m->ld_acc;
        int n = (int)MYNA__MIN(m->n_col - c, COLS);
        for (int j = 0; j < n; j++, row += m->act.stride) t.row[j] = row;
        fetch_some(&next);
        switch (n) {
        case 1: SEPARATE(tile_bf16_pairs(&t, &r, 1)); break;
        case 2: SEPARATE(tile_bf16_pairs(&t, &r, 2)); break;
        case 3: SEPARATE(tile_bf16_pairs(&t, &r, 3)); break;
        default: SEPARATE(tile_bf16_pairs(&t, &r, 4)); break;
        }
      }
    }
}

/* Pair n of a; assembly, because clang 19 copies the pair to all lanes first. */
INLINE vf bfdot_lane(vf acc, vi w, vi a, int n) {
  switch (n) {
  case 0: __asm__("bfdot %0.4s, %1.8h, %2.2h[0]" : "+w"(acc) : "w"(w), "w"(a)); break;
  case 1: __asm__("bfdot %0.4s, %1.8h, %2.2h[1]" : "+w"(acc) : "w"(w), "w"(a)); break;
  case 2: __asm__("bfdot %0.4s, %1.8h, %2.2h[2]" : "+w"(acc) : "w"(w), "w"(a)); break;
  default: __asm__("bfdot %0.4s, %1.8h, %2.2h[3]" : "+w"(acc) : "w"(w), "w"(a)); break;
  }
  return acc;
}
INLINE void step_bf16_pairs(vf *acc, const vi q[8], const uint8_t *const *x, int64_t k, int C) {
  UNROLL for (int h = 0; h < 2; h++) UNROLL for (int c = 0; c < C; c++) {
    vi a = vi_load(x[c] + 2 * k + 16 * h);
    UNROLL for (int i = 0; i < 4; i++) acc[c] = bfdot_lane(acc[c], q[4 * h + i], a, i);
  }
}
static int64_t direct_bf16_pairs(const myna__direct *d) { return direct(d, 2, step_bf16_pairs); }

void myna__fill_mul_armbf16(myna__ktable *t) {
  t->mul[MYNA_BF16] = mul_bf16_pairs;
  t->direct[MYNA_BF16] = direct_bf16_pairs;
}
