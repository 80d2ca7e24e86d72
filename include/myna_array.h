/* myna_array.h: lazy arrays, operations, gradients, compiled plans.
 *
 * Calling an operation records a node; myna_eval runs what is needed; myna_plan_new turns a recorded graph into
 * a flat list of steps that is replayed with new inputs without allocation. A context belongs to one thread at
 * a time. Shapes and types are known at the call. Building uses one sticky error per context: an operation
 * that fails, or gets NULL, returns NULL; the first failure, with the name of the operation, is reported by
 * myna_ctx_error and by myna_eval. So code reads as mathematics and is checked once.
 *
 * Ownership: results belong to the context's current scope and die with it (myna_scope_end, myna_ctx_free);
 * myna_keep gives the caller a reference of its own, to be dropped with myna_release.
 * Shapes are in C order (last dimension contiguous). At most 8 dimensions. */
#ifndef MYNA_ARRAY_H
#define MYNA_ARRAY_H

#include "myna_base.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct myna_ctx myna_ctx;
typedef struct myna_array myna_array;
typedef struct myna_plan myna_plan;
enum { MYNA_MAX_DIMS = 8 };

/* ---- context, scopes, errors ---- */

typedef struct myna_ctx_options {
  int n_threads; /* 0: physical cores within affinity and quota */
  uint64_t seed; /* key of myna_random_* without explicit key */
} myna_ctx_options;

/* Makes a context. NULL options: defaults. The caller frees it with myna_ctx_free. */
MYNA_API int myna_ctx_new(myna_ctx **out, const myna_ctx_options *options, myna_err *err);
/* Frees the context and every array of it, kept or not. NULL is fine. */
MYNA_API void myna_ctx_free(myna_ctx *c);
/* The sticky error: returns its code (0: none) and copies it to err. */
MYNA_API int myna_ctx_error(const myna_ctx *c, myna_err *err);
/* Forgets the sticky error. */
MYNA_API void myna_ctx_clear(myna_ctx *c);
/* Opens a scope: later results belong to it. Scopes nest. */
MYNA_API void myna_scope_begin(myna_ctx *c);
/* Drops everything made since the matching begin that was not kept. */
MYNA_API void myna_scope_end(myna_ctx *c);
/* Gives the caller a reference; drop it with myna_release. Returns a. NULL gives NULL. */
MYNA_API myna_array *myna_keep(myna_array *a);
/* Drops a reference taken by myna_keep. NULL is fine. */
MYNA_API void myna_release(myna_array *a);

/* ---- creation ---- */

/* shape: [n_dims], every entry >= 0. */
MYNA_API myna_array *myna_full(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims, double value);
MYNA_API myna_array *myna_zeros(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims);
MYNA_API myna_array *myna_ones(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims);
/* A scalar (0 dimensions) of type F32. */
MYNA_API myna_array *myna_scalar(myna_ctx *c, double value);
/* [ceil((stop - start) / step)] of type t. */
MYNA_API myna_array *myna_arange(myna_ctx *c, myna_dtype t, double start, double stop, double step);
/* Copies data: product(shape) elements of type t, contiguous. */
MYNA_API myna_array *myna_from(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims, const void *data);
/* Borrows data, which must outlive the array and never change. */
MYNA_API myna_array *myna_view(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims, const void *data);

/* A weight as it lies in a file: a type, a shape [n_out, n_in] or [n_expert, n_out, n_in], up to four planes,
 * none of them aligned or copied; they must outlive the array. strides: bytes between output rows and between
 * experts per plane; 0 means contiguous. group and scale_type: only for types of kind PLANES. */
typedef struct myna_planes {
  const void *plane[4];
  int64_t row_stride[4], expert_stride[4];
  const void *const *expert_plane0; /* NULL, or [n_expert] separate tensors */
  int group;
  myna_dtype scale_type;
} myna_planes;
MYNA_API myna_array *myna_weight(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims, const myna_planes *p);
/* Output rows [start, stop) of a weight [n_out, n_in] as a weight of its own, without copying: how fused projections are taken
 * apart. A float array that is no weight is sliced. */
MYNA_API myna_array *myna_weight_rows(myna_ctx *c, myna_array *w, int64_t start, int64_t stop);

/* Symbols: dimensions whose size is chosen per replay. Written in a shape as MYNA_SYM(i), 0 <= i < 8; only a
 * plan may contain them. A symbolic dimension is the outermost one of what is stored. */
#define MYNA_SYM(i) (-1 - (int64_t)(i))
/* A placeholder that a plan's replay binds. name is copied (<= 63 bytes). */
MYNA_API myna_array *myna_input(myna_ctx *c, const char *name, myna_dtype t, const int64_t *shape, int n_dims);
/* The same as a state: effects take it and return its next version; an old version cannot be used again. */
MYNA_API myna_array *myna_state(myna_ctx *c, const char *name, myna_dtype t, const int64_t *shape, int n_dims);

/* ---- looking at arrays ---- */

/* Number of dimensions; 0 for NULL. */
MYNA_API int myna_ndim(const myna_array *a);
/* Length of an axis; a negative axis counts from the end; 0 when out of range or NULL; negative for a symbol. */
MYNA_API int64_t myna_dim(const myna_array *a, int axis);
/* Elements; 0 for NULL. */
MYNA_API int64_t myna_size(const myna_array *a);
/* Storage type; F32 for NULL. */
MYNA_API myna_dtype myna_type(const myna_array *a);
/* Evaluates n arrays. Returns the first failure of building or running. NULL entries are an error. */
MYNA_API int myna_eval(myna_ctx *c, myna_array *const *arrays, int n, myna_err *err);
/* Contiguous elements, evaluated when needed; NULL on failure. Borrowed until the array dies. */
MYNA_API const void *myna_data(myna_array *a, myna_err *err);
/* First element as a double, evaluated when needed; NaN on failure. */
MYNA_API double myna_item(myna_array *a, myna_err *err);

/* ---- primitive operations ----
 * Broadcasting as in NumPy. Float results of mixed floats: the wider; int with float: the float; comparisons
 * give BOOL. F16 and BF16 compute in F32 and round once. Axes may be negative. Among integers the wider; BOOL counts as
 * I32 in arithmetic; functions without an integer form give F32 for integers; sums and products of integers narrower
 * than 32 bits give I32 or U32. Integer arithmetic wraps, U64 has the order of I64. */

/* clang-format off */
#define MYNA_UNARY_LIST(X)                                                                         \
  X(neg) X(abs) X(sign) X(exp) X(expm1) X(log) X(log1p) X(sqrt) X(rsqrt) X(square) X(reciprocal)   \
  X(sin) X(cos) X(tanh) X(sigmoid) X(erf) X(floor) X(ceil) X(round) X(logical_not) X(relu)         \
  X(silu) X(gelu) X(gelu_tanh) X(softplus)
#define MYNA_BINARY_LIST(X)                                                                        \
  X(add) X(sub) X(mul) X(div) X(pow) X(maximum) X(minimum) X(remainder)                            \
  X(eq) X(ne) X(lt) X(le) X(gt) X(ge) X(logical_and) X(logical_or)
/* clang-format on */

/* Element-wise: same shape. Rounding is to nearest even; sign(0) = 0; gelu is exact (erf). */
#define X(name) MYNA_API myna_array *myna_##name(myna_ctx *c, myna_array *a);
MYNA_UNARY_LIST(X)
#undef X
/* Element-wise with broadcasting. remainder has the sign of the divisor. */
#define X(name) MYNA_API myna_array *myna_##name(myna_ctx *c, myna_array *a, myna_array *b);
MYNA_BINARY_LIST(X)
#undef X
/* a * s and a + s with a scalar. */
MYNA_API myna_array *myna_scale(myna_ctx *c, myna_array *a, double s);
MYNA_API myna_array *myna_offset(myna_ctx *c, myna_array *a, double s);
/* cond ? a : b, broadcast. */
MYNA_API myna_array *myna_where(myna_ctx *c, myna_array *cond, myna_array *a, myna_array *b);
MYNA_API myna_array *myna_astype(myna_ctx *c, myna_array *a, myna_dtype t);
MYNA_API myna_array *myna_stop_gradient(myna_ctx *c, myna_array *a);

/* Reductions over `axes` [n_axes]; n_axes 0: all. keep: reduced dimensions stay as 1. */
MYNA_API myna_array *myna_sum(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep);
MYNA_API myna_array *myna_mean(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep);
MYNA_API myna_array *myna_max(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep);
MYNA_API myna_array *myna_min(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep);
MYNA_API myna_array *myna_prod(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep);
MYNA_API myna_array *myna_logsumexp(myna_ctx *c, myna_array *a, const int *axes, int n_axes, bool keep);
/* Index of the first extreme along one axis, I32. */
MYNA_API myna_array *myna_argmax(myna_ctx *c, myna_array *a, int axis, bool keep);
MYNA_API myna_array *myna_argmin(myna_ctx *c, myna_array *a, int axis, bool keep);
MYNA_API myna_array *myna_cumsum(myna_ctx *c, myna_array *a, int axis);
MYNA_API myna_array *myna_softmax(myna_ctx *c, myna_array *a, int axis);
MYNA_API myna_array *myna_log_softmax(myna_ctx *c, myna_array *a, int axis);
/* Ascending and stable along one axis; NaN last. argsort gives I32. */
MYNA_API myna_array *myna_sort(myna_ctx *c, myna_array *a, int axis);
MYNA_API myna_array *myna_argsort(myna_ctx *c, myna_array *a, int axis);
/* The k largest along the last axis, descending, ties by lower index: values and I32 indices (either out may be NULL). */
MYNA_API int myna_topk(myna_ctx *c, myna_array *a, int64_t k, myna_array **values, myna_array **indices);

/* [..., m, k] x [..., k, n] with batch broadcasting; 1-D operands as in NumPy. Float arrays. */
MYNA_API myna_array *myna_matmul(myna_ctx *c, myna_array *a, myna_array *b);

/* One dimension may be -1 (inferred) unless it is symbolic. */
MYNA_API myna_array *myna_reshape(myna_ctx *c, myna_array *a, const int64_t *shape, int n_dims);
/* perm [ndim]; NULL reverses. */
MYNA_API myna_array *myna_transpose(myna_ctx *c, myna_array *a, const int *perm);
MYNA_API myna_array *myna_swapaxes(myna_ctx *c, myna_array *a, int axis1, int axis2);
MYNA_API myna_array *myna_expand_dims(myna_ctx *c, myna_array *a, int axis);
MYNA_API myna_array *myna_squeeze(myna_ctx *c, myna_array *a, int axis);
MYNA_API myna_array *myna_broadcast_to(myna_ctx *c, myna_array *a, const int64_t *shape, int n_dims);
/* start, stop, step: [ndim]; stop INT64_MAX: to the end; step NULL: ones, negative steps allowed. */
MYNA_API myna_array *myna_slice(myna_ctx *c, myna_array *a, const int64_t *start, const int64_t *stop,
                                const int64_t *step);
/* [start, stop) of one axis. */
MYNA_API myna_array *myna_slice_axis(myna_ctx *c, myna_array *a, int axis, int64_t start, int64_t stop);
/* a with a[start : start + update.shape] = update. */
MYNA_API myna_array *myna_slice_update(myna_ctx *c, myna_array *a, myna_array *update, const int64_t *start);
MYNA_API myna_array *myna_concat(myna_ctx *c, myna_array *const *arrays, int n, int axis);
MYNA_API myna_array *myna_stack(myna_ctx *c, myna_array *const *arrays, int n, int axis);
/* before, after: [ndim] zeros (value) added. */
MYNA_API myna_array *myna_pad(myna_ctx *c, myna_array *a, const int64_t *before, const int64_t *after, double value);
MYNA_API myna_array *myna_repeat(myna_ctx *c, myna_array *a, int64_t n, int axis);
MYNA_API myna_array *myna_contiguous(myna_ctx *c, myna_array *a);

/* a's slices along axis at integer indices of any shape; an index out of range (after adding the length to
 * negative ones) gives zeros. */
MYNA_API myna_array *myna_take(myna_ctx *c, myna_array *a, myna_array *indices, int axis);
MYNA_API myna_array *myna_take_along_axis(myna_ctx *c, myna_array *a, myna_array *indices, int axis);
/* a with updates added (or written, last one wins) at indices along axis; shapes as take's result. */
MYNA_API myna_array *myna_scatter_add(myna_ctx *c, myna_array *a, myna_array *indices, myna_array *updates, int axis);
MYNA_API myna_array *myna_scatter(myna_ctx *c, myna_array *a, myna_array *indices, myna_array *updates, int axis);

/* Counter-based random numbers: the same key gives the same numbers on every machine and split. Key 0: the next key of
 * the context, which its seed decides. */
MYNA_API myna_array *myna_random_uniform(myna_ctx *c, uint64_t key, const int64_t *shape, int n_dims, double lo,
                                         double hi);
MYNA_API myna_array *myna_random_normal(myna_ctx *c, uint64_t key, const int64_t *shape, int n_dims, double mean,
                                        double std);
/* One I32 index per row of logits [..., n]. */
MYNA_API myna_array *myna_random_categorical(myna_ctx *c, uint64_t key, myna_array *logits);

/* ---- fused operations: each equals its composition of primitives ---- */

/* x * rsqrt(mean(x^2) + eps) * w over the last axis; w [n] or NULL. */
MYNA_API myna_array *myna_rms_norm(myna_ctx *c, myna_array *x, myna_array *w, double eps);
/* (x - mean) * rsqrt(var + eps) * w + b over the last axis; w, b [n] or NULL. */
MYNA_API myna_array *myna_layer_norm(myna_ctx *c, myna_array *x, myna_array *w, myna_array *b, double eps);

typedef struct myna_rope_options {
  int64_t n_rot;                                        /* rotated dimensions; 0: all of the last axis */
  bool interleaved;                                     /* pairs (2i, 2i+1); else (i, i + n_rot/2) */
  double base;                                          /* 0: 10000 */
  double freq_scale;                                    /* 0: 1. Linear scaling by factor s is 1/s */
  double ext_factor, attn_factor, beta_fast, beta_slow; /* YaRN; ext_factor 0: none; attn_factor 0: 1 */
  int64_t orig_ctx;
  bool inverse;
} myna_rope_options;
/* x [n_tok, n_head, dim], pos I32 [n_tok], factors F32 [n_rot/2] or NULL. */
MYNA_API myna_array *myna_rope(myna_ctx *c, myna_array *x, myna_array *pos, myna_array *factors,
                               const myna_rope_options *o);

typedef struct myna_attention_options {
  double scale;   /* 0: 1/sqrt(dim_k) */
  bool causal;    /* query i of n_q sees keys j <= i + n_k - n_q */
  int64_t window; /* 0: none; else also j > i + n_k - n_q - window */
  double softcap; /* 0: none */
  bool
      apart; /* paged: every sequence reads its pages by itself, also those that it shares with others; the same bits */
} myna_attention_options;
/* q [n_batch, n_q, n_head, dim_k], k [n_batch, n_k, n_kv_head, dim_k], v [n_batch, n_k, n_kv_head, dim_v]; n_head a
 * multiple of n_kv_head (GQA); mask [n_batch or 1, n_q, n_k] BOOL (true: seen) or NULL; sinks [n_head] or NULL.
 * Gives [n_batch, n_q, n_head, dim_v]. */
MYNA_API myna_array *myna_attention(myna_ctx *c, myna_array *q, myna_array *k, myna_array *v, myna_array *mask,
                                    myna_array *sinks, const myna_attention_options *o);

/* x [..., n_in] times the transpose of w [n_out, n_in] (any storage type) plus bias [n_out] or NULL. */
MYNA_API myna_array *myna_linear(myna_ctx *c, myna_array *x, myna_array *w, myna_array *bias);
/* The same for n <= 8 weights sharing x; they need not be of one type. biases NULL or [n] (entries may be NULL). */
MYNA_API int myna_linear_list(myna_ctx *c, myna_array *x, myna_array *const *w, myna_array *const *biases, int n,
                              myna_array **out);
typedef enum myna_act { MYNA_ACT_SILU = 1, MYNA_ACT_GELU_TANH, MYNA_ACT_GELU, MYNA_ACT_RELU } myna_act;
/* act(a) * b. */
MYNA_API myna_array *myna_gated(myna_ctx *c, myna_act act, myna_array *a, myna_array *b);
/* Rows of w [n, dim] (any storage type) at ids I32 of any shape, as F32; out-of-range ids give zeros. */
MYNA_API myna_array *myna_embed(myna_ctx *c, myna_array *w, myna_array *ids);
/* Any storage type to F32 of the same shape. */
MYNA_API myna_array *myna_dequantize(myna_ctx *c, myna_array *w);

typedef enum myna_router { MYNA_ROUTER_SOFTMAX, MYNA_ROUTER_SOFTMAX_SELECTED, MYNA_ROUTER_SIGMOID } myna_router;
/* Expert routing: logits [n_tok, n_expert] to ids I32 [n_tok, k] (descending score, ties by lower index) and weights
 * F32 [n_tok, k]: softmax over all then selected, softmax over the selected, or sigmoid; normalised to sum 1 when
 * `normalise`, then times `scale`. bias [n_expert] or NULL only changes the selection. */
MYNA_API int myna_route(myna_ctx *c, myna_array *logits, myna_array *bias, int64_t k, myna_router router,
                        bool normalise, double scale, myna_array **ids, myna_array **weights);
/* Expert e = ids[t, s]: out[t, s] = w[e] x, w [n_expert, n_out, n_in]; x [n_tok, n_in] or [n_tok, k, n_in]. */
MYNA_API int myna_expert_linear_list(myna_ctx *c, myna_array *x, myna_array *const *w, int n, myna_array *ids,
                                     myna_array **out);
/* sum over s ascending of y[t, s, :] * weights[t, s]; y [n_tok, k, n] gives [n_tok, n]. */
MYNA_API myna_array *myna_expert_sum(myna_ctx *c, myna_array *y, myna_array *weights);
/* Mean over rows of -log softmax(logits)[target]; targets I32 [n] (negative: not counted), logits [n, n_vocab]. */
MYNA_API myna_array *myna_cross_entropy(myna_ctx *c, myna_array *logits, myna_array *targets);

/* Paged KV of one layer below the engine: a pool of bytes (a state) and I32 page tables. */
typedef struct myna_kv_layout {
  myna_dtype type_k, type_v; /* any pair of F32, F16, BF16, Q8_0, Q4_0 */
  int64_t n_kv_head, dim_k, dim_v;
  int64_t page_stride, layer_offset; /* bytes: page p of this layer at p * page_stride + layer_offset */
} myna_kv_layout;
/* Bytes of one layer's page of 64 positions, a multiple of 64; 0 when a type is not supported. */
MYNA_API int64_t myna_kv_page_bytes(const myna_kv_layout *l);
/* Effect: stores k [n_tok, n_kv_head, dim_k], v [n_tok, n_kv_head, dim_v] for (seq[i], pos[i]); table I32
 * [n_seq, table_len]; rows with seq < 0 are skipped. Returns the next version of pool. */
MYNA_API myna_array *myna_kv_write(myna_ctx *c, myna_array *pool, myna_array *k, myna_array *v, myna_array *table,
                                   myna_array *seq, myna_array *pos, const myna_kv_layout *l);
/* q [n_tok, n_head, dim_k] over the pages: token i sees positions <= pos[i] of seq[i]. Gives [n_tok, n_head, dim_v]. */
MYNA_API myna_array *myna_attention_paged(myna_ctx *c, myna_array *q, myna_array *pool, myna_array *table,
                                          myna_array *seq, myna_array *pos, myna_array *sinks, const myna_kv_layout *l,
                                          const myna_attention_options *o);

/* ---- gradients ---- */

/* Gradients of the scalar `value` with respect to wrt[n]; grads[i] has wrt[i]'s shape (zeros where value does not depend
 * on it). Both are lazy. value must not have been evaluated, and what was evaluated on the way to it is a constant (but
 * inside myna_value_and_grad). Effects and packed weights are errors naming them. */
MYNA_API int myna_grad(myna_ctx *c, myna_array *value, myna_array *const *wrt, int n, myna_array **grads);
/* The same for a function of args[n]: value = fn(c, user, args). */
typedef myna_array *(*myna_fn)(myna_ctx *c, void *user, myna_array *const *args, int n);
MYNA_API myna_array *myna_value_and_grad(myna_ctx *c, myna_fn fn, void *user, myna_array *const *args, int n,
                                         myna_array **grads);

/* ---- plans ---- */

typedef struct myna_plan_options {
  int64_t sym_max[8]; /* largest value of each symbol used */
  bool exact;         /* float activations for packed weights (decision 11) */
  bool no_fuse;       /* keep every step as recorded (tests) */
} myna_plan_options;
/* Compiles what `outputs` need. inputs: every placeholder and state it depends on, in binding order. The plan holds what it
 * needs of the graph; weights must outlive it. Freed with myna_plan_free. */
MYNA_API int myna_plan_new(myna_plan **out, myna_ctx *c, myna_array *const *inputs, int n_inputs,
                           myna_array *const *outputs, int n_outputs, const myna_plan_options *o, myna_err *err);
MYNA_API void myna_plan_free(myna_plan *p);
/* Replays: data[i] is the contiguous memory of inputs[i] (states are written in place), sym the values (each <= its maximum). No
 * allocation, no system call but futex. Results: myna_plan_output, valid until the next run. */
MYNA_API int myna_plan_run(myna_plan *p, void *const *data, const int64_t *sym, myna_err *err);
MYNA_API const float *myna_plan_output(const myna_plan *p, int i);
/* Bytes of the plan's own buffers and scratch. */
MYNA_API int64_t myna_plan_bytes(const myna_plan *p);
/* The fused steps as text, one line each: number, step, inputs, output shape, bytes. Appends at most n bytes to buf, returns the
 * length the whole text has. */
MYNA_API int64_t myna_plan_print(const myna_plan *p, char *buf, int64_t n);
/* Parallel regions started by the last run. */
MYNA_API int64_t myna_plan_regions(const myna_plan *p);

#ifdef __cplusplus
}
#endif
#endif
