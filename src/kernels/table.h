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
  void (*attn_page[MYNA__KV_KINDS])(const myna__attn_page *p);
  /* Prepares a query for attn_page: scaled and in the level's own form, myna__query_bytes. NULL: floats, not scaled. */
  void (*attn_query[MYNA__KV_KINDS])(void *to, const float *q, int64_t dim_k, float scale);
#define KERNEL(name, ret, params) ret(*name) params;
#include "kernels/kernels.inc"
} myna__ktable;

/* The table of the level in force. Thread-safe. */
const myna__ktable *myna__kernels(void);

#define FILL(level, name) void myna__fill_##name(myna__ktable *t);
#define FILL_X86(level, name) FILL(level, name)
#include "kernels/kernels.inc"

#endif
