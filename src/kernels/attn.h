/* attn.h: the layout of cache pages and the parts of attention over one page (private to src/kernels).
 *
 * A page holds 64 positions of one layer, per KV head first K then V, each of its own type:
 *
 *   F32, F16   K  x[pos / 16][dim][16 pos]           V  x[pos][dim]
 *   BF16       K  x[pos / 16][dim / 2][16 pos][2]    V  x[pos / 2][dim][2]     (an odd dim of K is padded)
 *   Q8_0       K  f16 d[pos / 16][dim / 32][16 pos], u8 c[pos / 16][dim / 4][16 pos][4]          x = d (c - 128)
 *              V  f16 d[pos][dim / 32], i8 c[pos][dim]                                           x = d c
 *   Q4_0       K  f16 d[pos / 16][dim / 32][16 pos], u8 c[pos / 16][dim / 8][16 pos][4]          x = d (nibble - 8)
 *                 (low nibbles dims 0 to 3 of the 8, high nibbles 4 to 7)
 *              V  f16 d[pos][dim / 32], u8 c[pos][dim / 2]     (of a group low nibbles dims 0 to 15, high 16 to 31)
 *
 * so 16 scores are lanes, and the sum over positions has the value's dimensions as lanes: no horizontal sums. Keys of bytes are
 * multiplied as integers; values of bytes are opened to floats, once for many rows. A last group may be short.
 * Q8_0 and Q4_0 hold the rotated row: H x, H the normalized Hadamard matrix of the largest power of two that divides dim. */
#ifndef MYNA__ATTN_H
#define MYNA__ATTN_H

#include "kernels/kernels.h"

typedef enum myna__kv_kind {
  MYNA__KV_F32,
  MYNA__KV_BF16,
  MYNA__KV_F16,
  MYNA__KV_Q8_0,
  MYNA__KV_Q4_0,
  MYNA__KV_KINDS
} myna__kv_kind;

typedef struct myna__kv_fact {
  myna_dtype type;
  int bits;    /* of an element or code */
  bool pairs;  /* BF16 */
  bool groups; /* codes with a scale per 32 dims, rotated */
} myna__kv_fact;
extern const myna__kv_fact myna__kv_facts[MYNA__KV_KINDS];

/* The kind of a type, or -1. */
int myna__kv_kind_of(myna_dtype t);
/* Page of a position of a sequence, or -1. */
static inline int64_t myna__kv_page_at(const myna__kv_view *kv, int64_t seq, int64_t pos) {
  if (seq < 0 || pos < 0 || pos / MYNA__PAGE >= kv->table_len) return -1;
  int32_t page = kv->table[seq * kv->table_len + pos / MYNA__PAGE];
  return page >= 0 && page < kv->n_page ? page : -1;
}

enum { MYNA__KV_GROUP = 32 };
static inline int64_t myna__kv_groups(int64_t dim) { return (dim + MYNA__KV_GROUP - 1) / MYNA__KV_GROUP; }
/* Words of 4 bytes per key, bytes per value, of codes. */
static inline int64_t myna__k_words(int64_t dim, int bits) { return bits == 8 ? (dim + 3) / 4 : (dim + 7) / 8; }
static inline int64_t myna__v_codes(int64_t dim, int bits) {
  int64_t tail = dim % 32;
  return bits == 8 ? dim : dim / 32 * 16 + (tail < 16 ? tail : 16);
}
/* Bytes of the scales of one head's K or V in a page; the codes follow. */
static inline int64_t myna__kv_scales(int64_t dim) { return MYNA__PAGE * 2 * myna__kv_groups(dim); }

/* Bytes of K and V of one head in a page: multiples of 64. */
static inline int64_t myna__page_k(int64_t dim, int kind) {
  int bits = myna__kv_facts[kind].bits;
  if (myna__kv_facts[kind].groups) return myna__kv_scales(dim) + MYNA__PAGE * 4 * myna__k_words(dim, bits);
  return (dim + 1) / 2 * 2 * MYNA__PAGE * (bits / 8);
}
static inline int64_t myna__page_v(int64_t dim, int kind) {
  int bits = myna__kv_facts[kind].bits;
  if (myna__kv_facts[kind].groups) return myna__kv_scales(dim) + MYNA__PAGE * myna__v_codes(dim, bits);
  return dim * MYNA__PAGE * (bits / 8);
}

/* Where element (pos, d) lies, in elements. Pairs: BF16. */
static inline int64_t myna__k_at(int64_t dim, int64_t pos, int64_t d, bool pairs) {
  if (!pairs) return (pos / 16 * dim + d) * 16 + pos % 16;
  return ((pos / 16 * ((dim + 1) / 2) + d / 2) * 16 + pos % 16) * 2 + d % 2;
}
static inline int64_t myna__v_at(int64_t dim, int64_t pos, int64_t d, bool pairs) {
  return pairs ? (pos / 2 * dim + d) * 2 + pos % 2 : pos * dim + d;
}
/* Index of the scale of (pos, group), and byte of key word w, behind the scales. */
static inline int64_t myna__k_scale_at(int64_t dim, int64_t pos, int64_t group) {
  return (pos / 16 * myna__kv_groups(dim) + group) * 16 + pos % 16;
}
static inline int64_t myna__k_word_at(int64_t dim, int64_t pos, int64_t w, int bits) {
  return ((pos / 16 * myna__k_words(dim, bits) + w) * 16 + pos % 16) * 4;
}

/* A query as a key of codes wants it: i8 c[dim rounded up to 8], then per group f32 d, then per group i32 sum of c. */
static inline int64_t myna__query_d(int64_t dim) { return (dim + 7) / 8 * 8; }
static inline int64_t myna__query_sum(int64_t dim) { return myna__query_d(dim) + 4 * myna__kv_groups(dim); }
/* Bytes of a prepared query: never more than its floats, rounded up to a vector. */
static inline int64_t myna__query_bytes(int64_t dim_k) { return (dim_k * 4 + 63) / 64 * 64; }

/* Running softmax of one query row over one segment. */
typedef struct myna__attn_row {
  const void *q; /* [dim_k] floats, or prepared: myna__query_bytes */
  float *o;      /* [dim_v] sum of p * v */
  float m;       /* maximum so far, -inf at the start */
  float l[16];   /* sum of p by position mod 16 */
  int lo, hi;    /* positions of this page that it sees: [lo, hi) of 64 */
} myna__attn_row;

typedef struct myna__attn_page {
  const uint8_t *k, *v;           /* of one head */
  const uint8_t *next_k, *next_v; /* of the page that comes next, to be prefetched; or this one's */
  int64_t dim_k, dim_v;
  float scale, softcap; /* scale 1: it is in the prepared query */
} myna__attn_page;

/* Up to 6 rows, which share what is loaded from the page. */
enum { MYNA__ATTN_ROWS = 6 };
typedef struct myna__attn_tile {
  _Alignas(64) float s[MYNA__ATTN_ROWS][MYNA__PAGE]; /* scores, then weights: floats, or 64 bf16 */
  const myna__attn_page *p;
  myna__attn_row *row;
} myna__attn_tile;

/* Rows that share a tile: 6 at a time, the rest evenly. */
static inline int myna__attn_tile_rows(int left) {
  return left >= 9 || left == 6 ? 6 : left >= 7 ? 4 : left == 5 ? 3 : left;
}

/* s[r] = q . k of all 64 positions for rows [0, n), n of 1, 2, 3, 4, 6. */
typedef void myna__attn_scores_fn(myna__attn_tile *t, int n);
/* Scores of row r become weights; m, l and o of the row follow. */
typedef void myna__attn_soften_fn(myna__attn_tile *t, int r);
/* o += weights * v for rows [first, first + n), which see the same positions. */
typedef void myna__attn_values_fn(const myna__attn_tile *t, int first, int n);
/* q * scale in the form that the scores want. */
typedef void myna__attn_query_fn(void *to, const float *q, int64_t dim_k, float scale);
/* K or V of the page as F32 lies, positions [lo, hi) at least. */
typedef void myna__attn_open_fn(float *to, const myna__attn_page *p, int lo, int hi);
/* All of it: n rows over a page, some of which see something of it. scratch: [64][dim_v]. */
typedef void myna__attn_walk_fn(const myna__attn_page *p, myna__attn_row *row, int n, int kind_k, int kind_v,
                                float *scratch);

#endif
