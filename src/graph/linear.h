/* linear.h: parameters of the linear ops, shared with the fusion pass.
 *
 * Operands of linear:        x | w[n_w] | bias[n_w] (may be absent) | residual (may be absent) | norm weight (may be absent)
 * Operands of expert_linear: x | w[n_w] | ids
 * With a gate there is one output: act(x w0 + b0) * (x w1 + b1). */
#ifndef MYNA__GRAPH_LINEAR_H
#define MYNA__GRAPH_LINEAR_H

#include "graph/graph.h"

typedef struct myna__linear_params {
  int n_w;
  myna__gate gate;
  bool norm; /* x is normalised first with the norm weight */
  float norm_eps;
} myna__linear_params;

static inline int myna__linear_bias(const myna__linear_params *p, int i) { return 1 + p->n_w + i; }
static inline int myna__linear_residual(const myna__linear_params *p) { return 1 + 2 * p->n_w; }
static inline int myna__linear_norm(const myna__linear_params *p) { return 2 + 2 * p->n_w; }
static inline int myna__linear_n_in(const myna__linear_params *p) { return 3 + 2 * p->n_w; }

/* A kernel-level weight from an operand: packed planes, or a float matrix with contiguous rows. */
myna__weight myna__linear_weight(const myna__tensor *t);
/* A weight as an F32 array that any op takes: itself, or dequantized. */
myna_array *myna__linear_floats(myna_ctx *c, myna_array *w);
/* Ids for myna_take: negative ones, which the kernels answer with zeros, become n, out of its range too. */
myna_array *myna__linear_ids(myna_ctx *c, myna_array *ids, int64_t n);
/* The gate of a public activation. */
myna__gate myna__gate_of(myna_act a);

#endif
