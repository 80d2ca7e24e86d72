/* attn.h: the layout of cache pages and one page's share of attention (private to src/kernels).
 *
 * A page holds 64 positions of one layer, per KV head first K then V:
 *
 *   F32, F16   K  x[pos / 16][dim][16 pos]           V  x[pos][dim]
 *   BF16       K  x[pos / 16][dim / 2][16 pos][2]    V  x[pos / 2][dim][2]     (an odd dim of K is padded)
 *
 * so 16 scores are lanes, and the sum over positions has the value's dimensions as lanes: no horizontal sums. */
#ifndef MYNA__ATTN_H
#define MYNA__ATTN_H

#include "kernels/kernels.h"

typedef enum myna__kv_kind { MYNA__KV_F32, MYNA__KV_BF16, MYNA__KV_F16, MYNA__KV_KINDS } myna__kv_kind;

/* Elements of K and V of one head in a page. */
static inline int64_t myna__page_k(int64_t dim) { return (dim + 1) / 2 * 2 * MYNA__PAGE; }
static inline int64_t myna__page_v(int64_t dim) { return dim * MYNA__PAGE; }

/* Where element (pos, d) lies, in elements. Pairs: BF16. */
static inline int64_t myna__k_at(int64_t dim, int64_t pos, int64_t d, bool pairs) {
  if (!pairs) return (pos / 16 * dim + d) * 16 + pos % 16;
  return ((pos / 16 * ((dim + 1) / 2) + d / 2) * 16 + pos % 16) * 2 + d % 2;
}
static inline int64_t myna__v_at(int64_t dim, int64_t pos, int64_t d, bool pairs) {
  return pairs ? (pos / 2 * dim + d) * 2 + pos % 2 : pos * dim + d;
}

/* Bytes of a prepared query (attn_query in kernels.inc): never more than its floats, rounded up to a vector. */
static inline int64_t myna__query_bytes(int64_t dim_k) { return (dim_k * 4 + 63) / 64 * 64; }

/* Running softmax of one query row over one segment. */
typedef struct myna__attn_row {
  const void *q; /* [dim_k] floats, or what the level's attn_query made of them */
  float *o;      /* [dim_v] sum of p * v */
  float m;       /* maximum so far, -inf at the start */
  float l[16];   /* sum of p by position mod 16 */
  int lo, hi;    /* positions of this page that it sees: [lo, hi) of 64 */
} myna__attn_row;

typedef struct myna__attn_page {
  const uint8_t *k, *v; /* of one head */
  const uint8_t *next;  /* k of the page that comes next, to be prefetched; or NULL */
  int64_t dim_k, dim_v;
  float scale, softcap;
  myna__attn_row *row; /* [n_row] */
  int n_row;
} myna__attn_page;

#endif
