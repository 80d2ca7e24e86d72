/* attn_impl.h: one page of attention for a list of query rows: one source, compiled once per level, one instance per KV type.
 *
 * Order, per row: 64 scores, each an fma chain over dim ascending; the page's maximum; if it grows, o and l are rescaled;
 * p = exp(s - m); l gathers p by position mod 16; o gathers p * v with positions ascending. Rows do not touch each other. */
#ifndef MYNA__ATTN_IMPL_H
#define MYNA__ATTN_IMPL_H

#include "kernels/attn.h"
#include "kernels/ref/vec.h"

MYNA__FN myna__v16 myna__load16(const float *p) {
  myna__v16 v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* The two bf16 of 16 pairs. */
MYNA__FN void myna__load_pairs(const uint16_t *p, myna__v16 *lo, myna__v16 *hi) {
  myna__u16 u;
  memcpy(&u, p, sizeof u);
  myna__u16 a = u << 16, b = u & 0xffff0000u;
  memcpy(lo, &a, sizeof a);
  memcpy(hi, &b, sizeof b);
}

/* Without branches and calls, so that it vectorizes; subnormals go through an integer, because DAZ is set. */
MYNA__FN myna__v16 myna__load16_f16(const uint16_t *p) {
  myna__v16 v;
  float x[16];
  for (int i = 0; i < 16; i++) {
    uint32_t h = p[i], magnitude = h & 0x7fff, offset = magnitude >= 0x7c00 ? 224u << 23 : 112u << 23;
    float small = (float)(int32_t)magnitude * 0x1p-24f;
    x[i] = myna__float((magnitude < 0x400 ? myna__bits(small) : (magnitude << 13) + offset) | (h & 0x8000) << 16);
  }
  memcpy(&v, x, sizeof v);
  return v;
}

/* s[64] = q . k */
MYNA__FN void myna__page_scores(const myna__attn_page *p, const float *q, myna__v16 s[4], myna_dtype type) {
  int64_t dim = p->dim_k;
  for (int g = 0; g < 4; g++) s[g] = myna__v16_set(0);
  if (type == MYNA_BF16) {
    const uint16_t *k = (const uint16_t *)(const void *)p->k;
    int64_t half = (dim + 1) / 2;
    for (int64_t d = 0; d < half; d++) {
      myna__v16 q0 = myna__v16_set(q[2 * d]), q1 = myna__v16_set(2 * d + 1 < dim ? q[2 * d + 1] : 0.0f);
      for (int g = 0; g < 4; g++) {
        myna__v16 k0, k1;
        myna__load_pairs(k + (g * half + d) * 32, &k0, &k1);
        s[g] = myna__v16_fma(q1, k1, myna__v16_fma(q0, k0, s[g]));
      }
    }
    return;
  }
  for (int64_t d = 0; d < dim; d++) {
    myna__v16 qd = myna__v16_set(q[d]);
    for (int g = 0; g < 4; g++) {
      int64_t at = (g * dim + d) * 16;
      myna__v16 k = type == MYNA_F32 ? myna__load16((const float *)(const void *)p->k + at)
                                     : myna__load16_f16((const uint16_t *)(const void *)p->k + at);
      s[g] = myna__v16_fma(qd, k, s[g]);
    }
  }
}

/* o[d..d + 16 n) += sum over positions of w * v, n vectors at a time in registers. */
MYNA__FN void myna__page_values(const myna__attn_page *p, const float *w, int lo, int hi, float *o, int64_t d,
                                const int n, myna_dtype type) {
  myna__v16 acc[4];
  for (int i = 0; i < n; i++) acc[i] = myna__load16(o + d + 16 * i);
  if (type == MYNA_BF16) {
    const uint16_t *v = (const uint16_t *)(const void *)p->v;
    for (int j = lo / 2; j < (hi + 1) / 2; j++) { /* w is 0 outside [lo, hi) */
      myna__v16 w0 = myna__v16_set(w[2 * j]), w1 = myna__v16_set(w[2 * j + 1]), v0, v1;
      for (int i = 0; i < n; i++) {
        myna__load_pairs(v + (j * p->dim_v + d + 16 * i) * 2, &v0, &v1);
        if (2 * j < lo) v0 = myna__v16_set(0); /* a value that is not seen may be anything, also NaN */
        if (2 * j + 1 >= hi) v1 = myna__v16_set(0);
        acc[i] = myna__v16_fma(w1, v1, myna__v16_fma(w0, v0, acc[i]));
      }
    }
  } else {
    for (int j = lo; j < hi; j++)
      for (int i = 0; i < n; i++) {
        int64_t at = j * p->dim_v + d + 16 * i;
        myna__v16 v = type == MYNA_F32 ? myna__load16((const float *)(const void *)p->v + at)
                                       : myna__load16_f16((const uint16_t *)(const void *)p->v + at);
        acc[i] = myna__v16_fma(myna__v16_set(w[j]), v, acc[i]);
      }
  }
  for (int i = 0; i < n; i++) memcpy(o + d + 16 * i, &acc[i], sizeof acc[i]);
}

/* The dimensions that do not fill a vector. */
MYNA__FN void myna__page_values_tail(const myna__attn_page *p, const float *w, int lo, int hi, float *o, int64_t d,
                                     myna_dtype type) {
  const uint16_t *h = (const uint16_t *)(const void *)p->v;
  for (; d < p->dim_v; d++)
    for (int j = lo; j < hi; j++) {
      int64_t at = myna__v_at(p->dim_v, j, d, type == MYNA_BF16);
      float v = type == MYNA_F32    ? ((const float *)(const void *)p->v)[at]
                : type == MYNA_BF16 ? myna__bf16_to_f32(h[at])
                                    : myna__f16_to_f32(h[at]);
      o[d] = fmaf(w[j], v, o[d]);
    }
}

/* Scores w[64] of a row become weights; m, l and o of the row follow. */
MYNA__FN void myna__page_softmax(const myna__attn_page *p, myna__attn_row *r, float *w) {
  float max = -INFINITY;
  for (int j = 0; j < 64; j++) w[j] *= p->scale;
  if (p->softcap != 0.0f)
    for (int j = 0; j < 64; j++) w[j] = p->softcap * myna__tanh(w[j] / p->softcap);
  for (int j = 0; j < 64; j++) w[j] = j >= r->lo && j < r->hi ? w[j] : -INFINITY;
  float lane[16];
  for (int j = 0; j < 16; j++) lane[j] = -INFINITY;
  for (int g = 0; g < 4; g++)
    for (int j = 0; j < 16; j++) lane[j] = w[16 * g + j] > lane[j] ? w[16 * g + j] : lane[j];
  for (int j = 0; j < 16; j++) max = lane[j] > max ? lane[j] : max;
  if (max > r->m) { /* also true at the start, when o and l are zero */
    float f = myna__exp(r->m - max);
    for (int64_t d = 0; d < p->dim_v; d++) r->o[d] *= f;
    for (int j = 0; j < 16; j++) r->l[j] *= f;
    r->m = max;
  }
  float m = r->m == -INFINITY ? 0.0f : r->m;
  for (int j = 0; j < 64; j++) w[j] = myna__exp(w[j] - m);
  for (int g = 0; g < 4; g++)
    for (int j = 0; j < 16; j++) r->l[j] += w[16 * g + j];
}

MYNA__FN void myna__attn_row_inline(const myna__attn_page *p, myna__attn_row *r, myna_dtype type) {
  myna__v16 s[4];
  float w[64];
  if (r->lo >= r->hi) return;
  myna__page_scores(p, r->q, s, type);
  memcpy(w, s, sizeof w);
  myna__page_softmax(p, r, w);
  int64_t d = 0;
  for (; d + 64 <= p->dim_v; d += 64) myna__page_values(p, w, r->lo, r->hi, r->o, d, 4, type);
  for (; d + 16 <= p->dim_v; d += 16) myna__page_values(p, w, r->lo, r->hi, r->o, d, 1, type);
  if (d < p->dim_v) myna__page_values_tail(p, w, r->lo, r->hi, r->o, d, type);
}

MYNA__FN void myna__attn_page_inline(const myna__attn_page *p, myna_dtype type) {
  for (int i = 0; i < p->n_row; i++) myna__attn_row_inline(p, &p->row[i], type);
}

#endif
