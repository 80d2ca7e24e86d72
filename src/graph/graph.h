/* graph.h: nodes, arrays, the op table and what runs them. Private to src/graph.
 *
 * An array is one output of a node (an applied op) or a leaf (data, weight, plan input). Nodes are immutable
 * once made. One row of ops.inc per op; its file in ops/ exports `const myna__op myna__op_NAME`. */
#ifndef MYNA__GRAPH_H
#define MYNA__GRAPH_H

#include "myna_array.h"
#include "tensor/tensor.h"

typedef struct myna__node myna__node;
typedef struct myna__op myna__op;

/* dtype and shape of an array; dims may be symbolic (negative) in a graph that is to become a plan. */
typedef struct myna__spec {
  myna_dtype type;
  int n_dims;
  int64_t dims[MYNA__MAX_DIMS];
} myna__spec;

struct myna_array {
  myna_ctx *ctx;
  myna__node *node; /* producer; NULL for a leaf */
  int index;        /* which output of node */
  int refs;
  int64_t id;   /* creation order */
  int64_t slot; /* in ctx->all */
  myna__spec spec;
  /* leaf or evaluated: */
  uint8_t *data;
  int64_t stride[MYNA__MAX_DIMS]; /* bytes */
  void *owned;                    /* buffer to free */
  size_t owned_bytes;
  myna__weight *weight; /* storage arrays */
  char name[64];
  bool is_input, is_state;
  bool consumed; /* a state that an effect has taken: this version is old */
};

enum { MYNA__MAX_IN = 24, MYNA__MAX_OUT = 8 };

struct myna__node {
  const myna__op *op;
  void *params; /* op's own struct, copied */
  size_t params_bytes;
  int n_in, n_out;
  myna_array **in;                /* [n_in], references held; entries may be NULL (optional inputs) */
  myna_array *out[MYNA__MAX_OUT]; /* borrowed: the outputs that live */
  int live;                       /* outputs alive */
  int64_t id;
};

/* What run() gets. in[i].data NULL: optional input absent. Outputs are contiguous. */
typedef struct myna__run {
  const void *params;
  int n_in, n_out;
  const myna__tensor *in;
  const myna__tensor *out;
  void *scratch;
  myna__pool *pool;
  bool exact;
} myna__run;

enum {
  MYNA__OP_VIEW = 1,      /* has view(): output shares the memory of in[0] */
  MYNA__OP_EFFECT = 2,    /* in[0] is a state that is written in place; out[0] its next version */
  MYNA__OP_NOGRAD = 4,    /* gradient is zero by nature (comparisons, indices) */
  MYNA__OP_INPLACE = 8,   /* out[0] may share memory with an in[i] of the same shape and type that dies here */
  MYNA__OP_STRIDED = 32,  /* run() accepts any strides of inputs; without it inputs are made contiguous rows first:
                              the last axis contiguous and the outer axes one row stride (myna__tensor_rows);
                              integers wholly contiguous */
  MYNA__OP_OUTER = 64,    /* run() wants everything inside the outermost axis contiguous, that axis with any stride */
  MYNA__OP_DENSE = 128,   /* run() wants its inputs wholly contiguous */
  MYNA__OP_WEIGHTS = 256, /* takes weights as they lie: packed types, planes */
};

struct myna__op {
  const char *name;
  unsigned flags;
  /* Types and shapes of the outputs; fails with a message naming the operand, without the op's name. n_out is set by the caller. */
  int (*shape)(const myna__node *n, myna__spec *out, myna_err *err);
  void (*run)(const myna__run *r);
  /* VIEW ops: fills data and strides of out (shape and type are set) from in; false when the strides do not allow it
   * (the executor then makes in contiguous and asks again). */
  bool (*view)(const void *params, const myna__tensor *in, myna__tensor *out);
  /* Bytes of scratch at the given (maximal) shapes. NULL: none. */
  size_t (*scratch)(const myna__run *r, int n_threads);
  /* Cotangents of the inputs from those of the outputs (NULL: zero). grads[i] stays NULL for zero or not wanted.
   * NULL with compose: differentiates the composition. NULL without compose and without NOGRAD: no gradient, an error. */
  int (*vjp)(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads);
  /* The same outputs from primitives: the oracle of fused ops. */
  int (*compose)(myna_ctx *c, const myna__node *n, myna_array **out);
  /* One line of what params add, for plans; may be NULL. */
  void (*print)(const void *params, myna__buf *b);
};

/* Applies op to in[n_in] (entries may be NULL only when `optional` says so with bit i), copies params; fills out[n_out] (NULL on failure).
 * Any failure becomes the context's sticky error, prefixed with the op's name. Returns the code. */
int myna__apply(myna_ctx *c, const myna__op *op, myna_array *const *in, int n_in, uint32_t optional, const void *params,
                size_t params_bytes, myna_array **out, int n_out);
/* The usual case of one output. */
myna_array *myna__apply1(myna_ctx *c, const myna__op *op, myna_array *const *in, int n_in, const void *params,
                         size_t params_bytes);

/* A valid type and shape as `out`; false with a sticky error. Symbols only where `symbols`. */
bool myna__check_shape(myna_ctx *c, const char *op, myna_dtype t, const int64_t *shape, int n_dims, bool symbols,
                       myna__spec *out);

/* Sticky error of building: returns NULL so that `return myna__fail(...)` is one line. */
myna_array *myna__fail(myna_ctx *c, int code, const char *op, const char *fmt, ...) MYNA__PRINTF(4, 5);

/* The list: one row per op. */
#define OP(name) extern const myna__op myna__op_##name;
#include "graph/ops.inc"
#undef OP
const myna__op *myna__op_at(int i); /* all ops in list order; NULL past the end */

/* Context internals. */
typedef struct myna__array_list {
  myna_array **items;
  int64_t n, cap;
} myna__array_list;
struct myna_ctx {
  myna__pool *pool;
  bool own_pool;
  uint64_t seed, random_counter;
  int64_t next_id;
  int tracing; /* > 0: eval keeps the graph (inside value_and_grad) */
  myna_err err;
  myna__array_list scope; /* references held by scopes, innermost last */
  int64_t *marks;         /* starts of open scopes in it */
  int n_marks, cap_marks;
  myna__array_list all; /* every live array, for myna_ctx_free; swap-removed via slot */
};
/* A context that shares a pool (engine). */
int myna__ctx_new_pool(myna_ctx **out, myna__pool *pool, uint64_t seed, myna_err *err);
/* A leaf array over borrowed kernel-level weight (copied struct). shape [n_out, n_in] or [n_expert, n_out, n_in]. */
myna_array *myna__array_weight(myna_ctx *c, const myna__weight *w);
void myna__array_ref(myna_array *a);
void myna__array_unref(myna_array *a);
void myna__array_detach(myna_array *a); /* evaluated: forget the producer */

/* shape helpers (shape.c) */
bool myna__spec_same_dims(const myna__spec *a, const myna__spec *b);
/* NumPy broadcasting, symbolic dims equal only to themselves or 1. Message names both shapes. */
int myna__spec_broadcast(const myna__spec *a, const myna__spec *b, myna__spec *out, myna_err *err);
int myna__axis(int axis, int n_dims, myna_err *err);             /* normalised axis or negative code */
char *myna__spec_text(const myna__spec *s, char *buf, size_t n); /* "F32[SYM0,64]" */
bool myna__dtype_is_float(myna_dtype t);
bool myna__dtype_is_int(myna_dtype t);
bool myna__dtype_is_packed(myna_dtype t); /* QUANT or PLANES */
myna_dtype myna__dtype_promote(myna_dtype a, myna_dtype b);

#endif
