/* table.h: the kernels of one CPU level: pointers filled from plain C upward (private to src/kernels).
 *
 * To add a kernel: a row in kernels.inc, its plain C version and the levels' versions, each set by the fill
 * function of its file. */
#ifndef MYNA__TABLE_H
#define MYNA__TABLE_H

#include "kernels/attn.h"
#include "kernels/kernels.h"
#include "kernels/panel.h"

typedef struct myna__ktable {
  myna__unpack_fn *unpack[MYNA_DTYPE_COUNT];     /* to the form of its row in panels.inc */
  myna__unpack_fn *unpack_f32[MYNA_DTYPE_COUNT]; /* to the F32 form, every weight type */
  myna__mul_fn *mul[MYNA_DTYPE_COUNT];
  myna__mul_fn *mul_f32[MYNA_DTYPE_COUNT];
  myna__direct_fn *direct[MYNA_DTYPE_COUNT]; /* NULL where a level has none */
  myna__direct_fn *direct_f32[MYNA_DTYPE_COUNT];
  bool bf16_dot; /* BF16 pages are multiplied in pairs: where the machine is fast at it (myna__cpu_fast_bf16) */
  /* Attention over a page (attn.h), by the type of K (scores, query, open_k) or of V. attn_query NULL: floats, not scaled. The values
   * of a type with attn_open_v but without attn_values are always opened, other types where many rows share a page. */
  myna__attn_scores_fn *attn_scores[MYNA__KV_KINDS];
  myna__attn_query_fn *attn_query[MYNA__KV_KINDS];
  myna__attn_soften_fn *attn_soften[MYNA__KV_KINDS];
  myna__attn_values_fn *attn_values[MYNA__KV_KINDS];
  myna__attn_open_fn *attn_open_k[MYNA__KV_KINDS], *attn_open_v[MYNA__KV_KINDS];
  myna__attn_walk_fn *attn_walk; /* in the place of scores, soften, values and open; or NULL */
#define KERNEL(name, ret, params) ret(*name) params;
#include "kernels/kernels.inc"
} myna__ktable;

/* The table of the level in force. Thread-safe. */
const myna__ktable *myna__kernels(void);

#define FILL(level, name) void myna__fill_##name(myna__ktable *t);
#define FILL_X86(level, name) FILL(level, name)
#define FILL_ARM(level, name) FILL(level, name)
#include "kernels/kernels.inc"

#endif
