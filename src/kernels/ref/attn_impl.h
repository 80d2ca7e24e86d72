/* attn_impl.h: the parts of attention over one page: one source, compiled once per level, one instance per KV type.
 *
 * Order, per row: 64 scores, each an fma chain over dim ascending (keys of codes: per group an exact int32 sum, one fma); the page's
 * maximum; if it grows, o and l are rescaled; p = exp(s - m); l gathers p by position mod 16; o gathers p * v with positions
 * ascending. Rows do not touch each other. */
#ifndef MYNA__ATTN_IMPL_H
#define MYNA__ATTN_IMPL_H

#include "kernels/ref/vec.h"
#include "kernels/table.h"

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

MYNA__FN void myna__row_values(const myna__attn_page *p, const myna__attn_row *r, const float *w, myna_dtype type) {
  int64_t d = 0;
  for (; d + 64 <= p->dim_v; d += 64) myna__page_values(p, w, r->lo, r->hi, r->o, d, 4, type);
  for (; d + 16 <= p->dim_v; d += 16) myna__page_values(p, w, r->lo, r->hi, r->o, d, 1, type);
  if (d < p->dim_v) myna__page_values_tail(p, w, r->lo, r->hi, r->o, d, type);
}

/* ---- codes ---- */

/* s[64] = q . k where k is codes: per group i = sum c q exactly, then s = fma(i, d_k d_q, s). */
MYNA__FN void myna__page_scores_codes(const myna__attn_page *p, const uint8_t *q, float *s, int bits) {
  int64_t dim = p->dim_k, n_word = myna__k_words(dim, bits), per_group = bits, n_group = myna__kv_groups(dim);
  const uint8_t *codes = p->k + myna__kv_scales(dim);
  for (int64_t g = 0; g < 4; g++) {
    float sum[16] = {0};
    for (int64_t i = 0; i < n_group; i++) {
      int32_t acc[16], total;
      float dq;
      memcpy(&dq, q + myna__query_d(dim) + 4 * i, 4);
      memcpy(&total, q + myna__query_sum(dim) + 4 * i, 4);
      for (int j = 0; j < 16; j++) acc[j] = -(1 << (bits - 1)) * total;
      for (int64_t w = i * per_group; w < n_word && w < (i + 1) * per_group; w++) {
        const uint8_t *c = codes + (g * n_word + w) * 64;
        const int8_t *x = (const int8_t *)q + w * (32 / bits);
        for (int j = 0; j < 16; j++)
          for (int b = 0; b < 4; b++)
            acc[j] += bits == 8 ? c[4 * j + b] * x[b] : (c[4 * j + b] & 15) * x[b] + (c[4 * j + b] >> 4) * x[b + 4];
      }
      myna__v16 dk = myna__load16_f16((const uint16_t *)(const void *)p->k + (g * n_group + i) * 16);
      for (int j = 0; j < 16; j++) sum[j] = fmaf((float)acc[j], dk[j] * dq, sum[j]);
    }
    memcpy(s + 16 * g, sum, sizeof sum);
  }
}

/* Values of positions [lo, hi): to[pos][dim] = d c. */
MYNA__FN void myna__open_codes(float *to, const myna__attn_page *p, int lo, int hi, int bits) {
  int64_t dim = p->dim_v, n_group = myna__kv_groups(dim), row = myna__v_codes(dim, bits);
  for (int64_t j = lo; j < hi; j++)
    for (int64_t g = 0; g < n_group; g++) {
      const uint8_t *c = p->v + myna__kv_scales(dim) + j * row + g * 4 * bits;
      const uint16_t *scale = (const uint16_t *)(const void *)p->v + j * n_group + g;
      float d = myna__f16_to_f32(*scale), *y = to + j * dim + g * 32;
      int64_t n = dim - g * 32 < 32 ? dim - g * 32 : 32;
      if (bits == 8)
        for (int64_t i = 0; i < n; i++) y[i] = (float)(int8_t)c[i] * d;
      else
        for (int64_t i = 0; i < n; i++) y[i] = (float)((i < 16 ? c[i] & 15 : c[i - 16] >> 4) - 8) * d;
    }
}

/* Codes of n <= 32 floats; what is past n gets code 0. Returns their scale. bits 8: q = rne(x / d) in +-127, d = amax / 127; bits 4:
 * -8 to 7, the extreme value becomes -8; both d rounded to f16 first. bits 0: a query, d = amax / 127 as it is. A group with
 * something that is no finite number becomes NaN as a whole. Without calls and branches in the loops, so that they vectorize. */
MYNA__FN float myna__kv_codes_inline(int8_t *q, const float *x, int64_t n, int bits) {
  float y[32] = {0};
  uint32_t top = 0, top_positive = 0;
  memcpy(y, x, (size_t)n * sizeof *y);
  for (int i = 0; i < 32; i++) {
    uint32_t u = myna__bits(y[i]), magnitude = u & 0x7fffffff, positive = u >> 31 ? 0 : u;
    top = magnitude > top ? magnitude : top;
    top_positive = positive > top_positive ? positive : top_positive;
  }
  memset(q, 0, 32);
  if (top >= 0x7f800000) return NAN;
  float amax = myna__float(top), low = bits == 4 ? -8.0f : -127.0f, high = bits == 4 ? 7.0f : 127.0f, id;
  float d = bits == 4 ? (top_positive == top ? amax / -8.0f : amax / 8.0f) : amax / 127.0f;
  if (bits) {
    d = d > 65504.0f ? 65504.0f : d < -65504.0f ? -65504.0f : d;
    d = myna__f16_to_f32(myna__f32_to_f16(d));
    id = d != 0 ? 1.0f / d : 0.0f;
  } else
    id = amax > 0 ? 127.0f / amax : 0.0f;
  if (!(fabsf(id) < INFINITY)) id = 0; /* amax is subnormal */
  for (int i = 0; i < 32; i++) {
    float z = y[i] * id;
    z = z < low ? low : z;
    z = z > high ? high : z;
    q[i] = (int8_t)(int32_t)(myna__bits(z + 12582912.0f) - 0x4b400000u); /* nearest even */
  }
  return d;
}

/* A query for keys of codes. */
MYNA__FN void myna__query_codes(uint8_t *to, const float *q, int64_t dim, float scale) {
  for (int64_t d = 0; d < dim; d += 32) {
    int8_t c[32];
    float x[32];
    int64_t n = dim - d < 32 ? dim - d : 32;
    for (int64_t i = 0; i < n; i++) x[i] = q[d + i] * scale;
    float dq = myna__kv_codes_inline(c, x, n, 0);
    int32_t sum = 0;
    for (int i = 0; i < 32; i++) sum += c[i];
    memcpy(to + d, c, (size_t)((n + 7) / 8 * 8));
    memcpy(to + myna__query_d(dim) + d / 8, &dq, 4);
    memcpy(to + myna__query_sum(dim) + d / 8, &sum, 4);
  }
}

/* ---- rotation ---- */

#if defined(__clang__) || __GNUC__ >= 12
#define MYNA__SWAP(v, n)                                                                                              \
  __builtin_shufflevector(v, v, 0 ^ n, 1 ^ n, 2 ^ n, 3 ^ n, 4 ^ n, 5 ^ n, 6 ^ n, 7 ^ n, 8 ^ n, 9 ^ n, 10 ^ n, 11 ^ n, \
                          12 ^ n, 13 ^ n, 14 ^ n, 15 ^ n)
/* The first four steps within 16 floats: y[i] = x[i ^ n] + x[i], or - x[i] where i has bit n. */
MYNA__FN void myna__hadamard16(float *x) {
  const float m = -1;
  myna__v16 v = myna__load16(x);
  v = MYNA__SWAP(v, 1) + v * (myna__v16){1, m, 1, m, 1, m, 1, m, 1, m, 1, m, 1, m, 1, m};
  v = MYNA__SWAP(v, 2) + v * (myna__v16){1, 1, m, m, 1, 1, m, m, 1, 1, m, m, 1, 1, m, m};
  v = MYNA__SWAP(v, 4) + v * (myna__v16){1, 1, 1, 1, m, m, m, m, 1, 1, 1, 1, m, m, m, m};
  v = MYNA__SWAP(v, 8) + v * (myna__v16){1, 1, 1, 1, 1, 1, 1, 1, m, m, m, m, m, m, m, m};
  memcpy(x, &v, sizeof v);
}
#undef MYNA__SWAP
#endif

/* Every run of h of the n floats (h a power of two that divides n) times the normalized Hadamard matrix: its own inverse. Steps
 * of 1, 2, 4, ... */
MYNA__FN void myna__hadamard_inline(float *x, int64_t n, int64_t h) {
  int64_t step = 1;
#if defined(__clang__) || __GNUC__ >= 12
  if (h >= 16) {
    for (int64_t i = 0; i < n; i += 16) myna__hadamard16(x + i);
    step = 16;
  }
#endif
  for (; step < h; step *= 2)
    for (int64_t i = 0; i < n; i += 2 * step)
      for (int64_t k = i; k < i + step; k++) {
        float a = x[k], b = x[k + step];
        x[k] = a + b;
        x[k + step] = a - b;
      }
  float norm = 1.0f / sqrtf((float)h);
  for (int64_t i = 0; i < n && h > 1; i++) x[i] *= norm;
}

#endif
