/* lm.h: a model's build() lowered to a plan over paged KV: one step computes logits for rows of a mixed batch.
 *
 * Layers with the same window form a group; a group has one pool of pages and, per sequence, one table. The memory of
 * a group's pool is [page][layer of the group][page bytes of one layer]. */
#ifndef MYNA__LM_H
#define MYNA__LM_H

#include "engine/model.h"
#include "graph/graph.h"

enum { MYNA__MAX_GROUPS = 4 };

typedef struct myna__lm_options {
  myna__pool *pool;
  myna_dtype kv_type, kv_type_v; /* of keys, of values */
  bool exact;
  bool no_cascade;                   /* sequences do not read the pages that they share together */
  int64_t n_ctx, n_tok, n_seq;       /* maxima: positions per sequence, tokens per step, sequences */
  int64_t n_out;                     /* most rows with logits per step; 0: n_tok */
  int64_t n_pages[MYNA__MAX_GROUPS]; /* per group; 0: enough for n_seq sequences of n_ctx */
  myna_array *(*adapt)(myna__build *b, int layer, myna__role role, myna_array *x, myna_array *y); /* tests, adapters */
  void *user;
} myna__lm_options;

typedef struct myna__lm_group {
  int64_t window; /* 0: full */
  int n_layers;
  int64_t page_stride, n_pages, table_len;
  uint8_t *pool;                /* [n_pages * page_stride], zeroed, 64-aligned */
  int32_t *table;               /* [n_seq, table_len], -1 where no page: the caller's to fill */
  myna_array *state, *table_in; /* while building */
} myna__lm_group;

typedef struct myna__lm {
  myna_model *model;
  myna__lm_options opt;
  myna__config cfg;
  myna_ctx *ctx;
  myna_plan *plan;
  int n_groups;
  myna__lm_group group[MYNA__MAX_GROUPS];
  int layer_group[MYNA__MAX_LAYERS], layer_slot[MYNA__MAX_LAYERS];
  int64_t kv_bytes;
  myna_array *seq_in; /* while building */
} myna__lm;

int myna__lm_new(myna__lm **out, myna_model *m, const myna__lm_options *o, myna_err *err);
void myna__lm_free(myna__lm *lm);

typedef struct myna__lm_step {
  int64_t n_tok, n_out;
  const int32_t *tokens, *pos, *seq; /* [n_tok] each; seq < n_seq */
  const int32_t *rows;               /* [n_out]: indices into the step's tokens that get logits */
} myna__lm_step;
/* Runs one step: K and V of every token are written to the pages that the tables name. logits: [n_out, n_vocab], valid until the next step. */
int myna__lm_step_run(myna__lm *lm, const myna__lm_step *s, const float **logits, myna_err *err);

/* Splits layers into groups of one window and gives each group's bytes per page: what a memory plan needs before loading. */
int myna__lm_groups(const myna__config *cfg, const myna__family *f, myna_dtype kv_type, myna_dtype kv_type_v,
                    myna__lm *out, myna_err *err);
/* KV type by the weights (decision 11): F32 when every matrix is F32 or `exact`; F16 when they have 8 bits or more, whose errors are
 * smaller than BF16's rounding; else BF16. */
myna_dtype myna__lm_default_kv(const myna_model *m, bool exact);

#endif
