/* weight.c: rows of weights and embedding lookup. */
#include "kernels/table.h"

myna__wrow myna__weight_row(const myna__weight *w, int64_t expert, int64_t row) {
  assert(row >= 0 && row < w->n_out && expert >= 0 && (expert == 0 || expert < w->n_expert));
  myna__wrow r = {.group = w->group, .scale_type = w->scale_type};
  for (int i = 0; i < 4; i++) {
    const uint8_t *base = w->plane[i];
    if (i == 0 && w->expert_plane0)
      base = w->expert_plane0[expert];
    else if (base)
      base += expert * w->expert_stride[i];
    r.p[i] = base ? base + row * w->row_stride[i] : NULL;
  }
  return r;
}

typedef struct embed {
  float *y;
  int64_t ldy;
  const myna__weight *w;
  const int32_t *ids;
  float scale;
} embed;

static void embed_one(void *arg, int64_t i, int worker) {
  const embed *e = arg;
  float *y = e->y + i * e->ldy;
  int64_t n = e->w->n_in, id = e->ids[i];
  if (id < 0 || id >= e->w->n_out) {
    memset(y, 0, (size_t)n * sizeof *y);
    return;
  }
  myna__wrow row = myna__weight_row(e->w, 0, id);
  myna__quant_get(e->w->type)->to_f32(y, &row, n);
  if (e->scale != 1.0f)
    for (int64_t k = 0; k < n; k++) y[k] *= e->scale;
}

void myna__embed(float *y, int64_t ldy, const myna__weight *w, const int32_t *ids, int64_t n, float scale,
                 myna__pool *pool) {
  embed e = {y, ldy, w, ids, scale};
  enum { FEW = 8 }; /* rows cheaper than waking the pool */
  myna__pool_run(n < FEW ? NULL : pool, n, embed_one, &e);
}
