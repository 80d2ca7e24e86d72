/* plan.h: a lowered graph: values, steps, placement. Private to plan.c, fuse.c and their tests. */
#ifndef MYNA__PLAN_H
#define MYNA__PLAN_H

#include "graph/graph.h"

typedef enum myna__value_kind {
  MYNA__VAL_INPUT,  /* bound at each run */
  MYNA__VAL_LEAF,   /* data or weight of a leaf array */
  MYNA__VAL_BUFFER, /* placed in the plan's memory */
  MYNA__VAL_ALIAS   /* a view of another value (root, rel, strides) */
} myna__value_kind;

typedef struct myna__value {
  myna__value_kind kind;
  myna__spec spec;
  int root;                       /* value whose memory this is (itself unless ALIAS) */
  int64_t rel;                    /* bytes from the root's start */
  int64_t stride[MYNA__MAX_DIMS]; /* bytes */
  int input;                      /* INPUT: binding index */
  const myna_array *leaf;         /* LEAF */
  int producer, first, last;      /* steps; -1 none */
  int uses;                       /* steps that read it, plus plan outputs */
  int64_t version, changed;       /* states: node that made this version; root: the last node that wrote */
  int64_t offset, bytes;          /* BUFFER: placement */
} myna__value;

typedef struct myna__step {
  const myna__op *op;
  const void *params;
  int n_in, n_out;
  int in[MYNA__MAX_IN]; /* values; -1 absent */
  int out[MYNA__MAX_OUT];
  bool dead; /* removed by fusion */
  myna__run run;
  myna__tensor *tensors; /* [n_in + n_out] */
} myna__step;

typedef struct myna__patch { /* applied at each run */
  enum { MYNA__PATCH_DIM, MYNA__PATCH_DATA } kind;
  void *where; /* int64_t* or uint8_t** */
  int index;   /* symbol or input */
  int64_t rel;
} myna__patch;

struct myna_plan {
  myna_ctx *ctx;
  myna__arena arena; /* values, steps, params made by fusion, tensors, patches */
  myna_plan_options opt;
  myna__value *values;
  int n_values, cap_values;
  myna__step *steps;
  int n_steps, cap_steps;
  int *inputs, n_inputs;   /* values */
  int *outputs, n_outputs; /* values */
  myna__tensor *out_tensors;
  myna__patch *patches;
  int n_patches, cap_patches;
  myna_array **held; /* references: the inputs in order, then leaves */
  int n_held, cap_held;
  uint8_t *memory;
  int64_t memory_bytes, scratch_offset;
  int64_t regions;
  int64_t n_syms;
};

/* Concrete dims of a spec with every symbol at its maximum. */
void myna__plan_max_dims(const myna_plan *p, const myna__spec *s, int64_t *dims);
/* Rewrites steps in place: fewer, larger ones with the same results. */
int myna__plan_fuse(myna_plan *p, myna_err *err);

#endif
