/* kernels.h: what the graph calls: whole operations on raw pointers and sizes, parallel over a pool.
 *
 * Below these drivers stands one table of function pointers per CPU level (table.h, private to src/kernels),
 * filled from plain C upward. Every driver takes n_tok >= 1 and is one path for any batch: outputs are
 * bit-identical for any batch, split and thread count (docs/NUMERICS.md). Drivers never allocate: scratch is
 * sized by the matching _scratch function at the maxima and passed in. */
#ifndef MYNA__KERNELS_H
#define MYNA__KERNELS_H

#include "kernels/quants.h"

/* ---- weights ---- */

/* A matrix [n_out, n_in] (or n_expert of them) as it lies in its file. Decision 3. */
typedef struct myna__weight {
  myna_dtype type;
  int64_t n_in, n_out;
  int64_t n_expert; /* 0 or 1: plain matrix */
  const uint8_t *plane[4];
  int64_t row_stride[4];               /* bytes from one output row to the next */
  int64_t expert_stride[4];            /* bytes from one expert to the next */
  const uint8_t *const *expert_plane0; /* [n_expert] separate tensors, or NULL */
  int group;
  myna_dtype scale_type;
} myna__weight;

myna__wrow myna__weight_row(const myna__weight *w, int64_t expert, int64_t row);

/* ---- linear: y_i = x W_i^T (+ bias_i) for a list of weights sharing x ---- */

typedef enum myna__gate {
  MYNA__GATE_NONE,
  MYNA__GATE_SILU,
  MYNA__GATE_GELU_TANH,
  MYNA__GATE_GELU_ERF,
  MYNA__GATE_RELU
} myna__gate;

enum { MYNA__LINEAR_MAX = 8 };

typedef struct myna__linear_args {
  int n_w;                                 /* weights in the list, 1..MYNA__LINEAR_MAX */
  const myna__weight *w[MYNA__LINEAR_MAX]; /* all with n_in equal; types may differ */
  const float *bias[MYNA__LINEAR_MAX];     /* [n_out] or NULL */
  float *y[MYNA__LINEAR_MAX];              /* [n_tok, n_out] */
  int64_t ldy[MYNA__LINEAR_MAX];           /* floats between tokens */
  const float *x;                          /* [n_tok, n_in] */
  int64_t ldx;
  int64_t n_tok;
  bool exact;            /* float activations for every type (decision 11) */
  const float *residual; /* NULL, or [n_tok, n_out] added to y[0] (may alias y[0]) */
  int64_t ldr;
  myna__gate gate; /* not NONE: n_w == 2, y[0] = act(x W0 + b0) * (x W1 + b1), y[1] unused */
  /* optional: RMS norm of x first (x is the raw residual stream): weight [n_in], eps */
  const float *norm_w;
  float norm_eps;
  /* gathered experts: NULL, or for each token k ids; then y is [n_tok, k, n_out] (ldy per (token, k) row) and
   * x is [n_tok, n_in] or, when x_per_slot, [n_tok, k, n_in]. An id outside [0, n_expert) gives zeros. */
  const int32_t *expert_ids; /* [n_tok, n_used] */
  int64_t n_used;
  bool x_per_slot;
} myna__linear_args;

/* Bytes of scratch for at most max_tok tokens (args' pointers are not read) with n_threads workers. */
size_t myna__linear_scratch(const myna__linear_args *a, int64_t max_tok, int n_threads);
/* At most one parallel region when n_tok is small (activation quantization of few tokens runs on the caller),
 * at most two for many tokens. scratch is aligned to 64. */
void myna__linear(const myna__linear_args *a, void *scratch, myna__pool *pool);

/* Rows of a (quantized) table: y[i] = to_f32(row ids[i]) * scale. An id out of range gives zeros. */
void myna__embed(float *y, int64_t ldy, const myna__weight *w, const int32_t *ids, int64_t n, float scale,
                 myna__pool *pool);

/* ---- attention over pages ---- */

enum { MYNA__PAGE = 64, MYNA__SEGMENT = 512 };

/* Bytes of K and V of one layer in one page, a multiple of 64; types, in any pair: F32, BF16, F16, Q8_0, Q4_0; 0 for others. */
size_t myna__kv_page_bytes(myna_dtype k, myna_dtype v, int64_t n_kv_head, int64_t dim_k, int64_t dim_v);
/* Length of the runs that are rotated before they become codes: the largest power of two that divides dim, at most 256. */
int64_t myna__rotation(int64_t dim);

typedef struct myna__kv_view { /* one layer of one group */
  uint8_t *pool;               /* page p of this layer at pool + p * page_stride */
  int64_t page_stride;
  myna_dtype type_k, type_v;
  int64_t n_kv_head, dim_k, dim_v;
  int64_t n_page;       /* pages in the pool: ids outside [0, n_page) are skipped */
  const int32_t *table; /* [n_seq, table_len] page of positions [64 i, 64 i + 64), -1 where none is held */
  int64_t table_len;
} myna__kv_view;

/* Stores k [n_tok, n_kv_head, dim_k], v [n_tok, n_kv_head, dim_v] at (seq[i], pos[i]); rows with seq < 0 are skipped. */
void myna__kv_write(const myna__kv_view *kv, const float *k, int64_t ldk, const float *v, int64_t ldv,
                    const int32_t *seq, const int32_t *pos, int64_t n_tok, myna__pool *pool);
/* Copies one layer's page; and converts between the device layout and plain [pos][head][dim] f32 (tests, disk). */
void myna__kv_read(const myna__kv_view *kv, int32_t page, float *k, float *v);

typedef struct myna__attn_args {
  myna__kv_view kv;
  const float *q; /* [n_tok, n_head, dim_k] */
  int64_t ldq;    /* floats between tokens */
  float *out;     /* [n_tok, n_head, dim_v] */
  int64_t ldo;
  const int32_t *seq, *pos; /* [n_tok]; token i sees positions <= pos[i] of seq[i]; seq < 0 gives zeros */
  int64_t n_tok, n_head;
  float scale;
  float softcap;      /* 0: none; else score = softcap * tanh(score / softcap) */
  int64_t window;     /* 0: none; else sees positions > pos - window */
  const float *sinks; /* NULL or [n_head]: logits that only enlarge the denominator */
  bool full;          /* not causal: sees every position < kv_len[seq] (unused at present: NULL) */
} myna__attn_args;
/* Does the level in force multiply BF16 pages in pairs (VDPBF16PS)? Tests and benchmarks force it, while no kernel runs. */
bool myna__bf16_dot(void);
void myna__force_bf16_dot(bool use);
size_t myna__attn_scratch(const myna__attn_args *a, int64_t max_tok, int n_threads);
/* One parallel region for few tokens, at most two. Segments of 512 absolute positions, each with its own
 * (m, l, o), merged in ascending order; rescaling decided per query row. */
void myna__attn(const myna__attn_args *a, void *scratch, myna__pool *pool);

/* ---- rows ---- */

/* y = x * rsqrt(mean(x^2) + eps) * w (w NULL: ones), rows of n. Sum of squares in the fixed order of the
 * reference (16 lanes, then a tree) at every level. y may alias x. */
void myna__rms_norm(float *y, int64_t ldy, const float *x, int64_t ldx, const float *w, float eps, int64_t rows,
                    int64_t n, myna__pool *pool);
void myna__layer_norm(float *y, int64_t ldy, const float *x, int64_t ldx, const float *w, const float *b, float eps,
                      int64_t rows, int64_t n, myna__pool *pool);
/* y = softmax(x * scale) per row. */
void myna__softmax(float *y, int64_t ldy, const float *x, int64_t ldx, float scale, int64_t rows, int64_t n,
                   myna__pool *pool);
/* y[i] = act(a[i]) * b[i] over rows. */
void myna__gated(float *y, int64_t ldy, const float *a, int64_t lda, const float *b, int64_t ldb, myna__gate g,
                 int64_t rows, int64_t n, myna__pool *pool);

/* Rotary position embedding of x [n_tok, n_head, dim] in place or to y. */
typedef struct myna__rope_args {
  float *y;
  int64_t ldy; /* floats between tokens */
  const float *x;
  int64_t ldx;
  const int32_t *pos;                /* [n_tok] */
  int64_t n_tok, n_head, dim, n_rot; /* the first n_rot dims rotate, the rest is copied */
  bool interleaved;                  /* pairs (2i, 2i+1) (llama "norm"); else (i, i + n_rot/2) (neox) */
  float base, freq_scale;            /* angle = pos * freq_scale * base^(-2i/n_rot) / factor[i] */
  const float *factors;              /* [n_rot/2] or NULL */
  float ext_factor, attn_factor, beta_fast, beta_slow; /* YaRN; ext_factor 0: none; attn_factor 0 means 1 */
  int64_t orig_ctx;
  bool inverse; /* rotate by minus the angle (gradient) */
} myna__rope_args;
void myna__rope(const myna__rope_args *a, myna__pool *pool);

/* Element-wise maths shared by ops: exp, silu ... on n contiguous floats; same bits wherever called. */
typedef enum myna__unary_fn {
  MYNA__FN_EXP,
  MYNA__FN_SILU,
  MYNA__FN_GELU_TANH,
  MYNA__FN_GELU_ERF,
  MYNA__FN_SIGMOID,
  MYNA__FN_TANH,
  MYNA__FN_COUNT
} myna__unary_fn;
void myna__unary(myna__unary_fn f, float *y, const float *x, int64_t n);
void myna__add(float *y, const float *a, const float *b, int64_t n);
void myna__to_f32(float *y, const void *x, myna_dtype t, int64_t n);   /* FLOAT and INT kinds */
void myna__from_f32(void *y, myna_dtype t, const float *x, int64_t n); /* FLOAT kinds */

#endif
