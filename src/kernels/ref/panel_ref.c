/* panel_ref.c: panels in plain C: the unpack of every type and the multiply of every form.
 *
 * These are the specification of the faster ones, and what they fall back to for shapes they do not take
 * (short blocks) and for types without a fast unpack. */
#include "kernels/quants/block32.h"
#include "kernels/quants/kquant.h"
#include "kernels/table.h"

/* ---- F32 and BF16 forms ---- */

/* Any type through its to_f32. */
static void unpack_f32(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  myna__panel_f32 *p = panel;
  float w[MYNA__KBLOCK];
  for (int r = 0; r < MYNA__STRIP; r++) {
    myna__wrow row = myna__rows_get(rows, r);
    row = myna__wrow_at(&row, t->type, k0);
    myna__quant_get(t->type)->to_f32(w, &row, n);
    for (int k = 0; k < n; k++) p->w[k][r] = w[k];
  }
}

static void unpack_bf16(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  myna__panel_bf16 *p = panel;
  if (n & 1) memset(p->w[n / 2], 0, sizeof p->w[0]);
  for (int r = 0; r < MYNA__STRIP; r++)
    for (int k = 0; k < n; k++) memcpy(&p->w[k / 2][r][k & 1], rows->p[0] + r * rows->stride[0] + 2 * (k0 + k), 2);
}

/* ---- integer forms: what the type's dot reads, codes made unsigned ---- */

static int offset_of(const myna__ptype *t) { return t->shift < 0 ? 0 : 1 << t->shift; }

static void unpack_q32(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  myna__panel_q32 *p = panel;
  const myna__quant *q = myna__quant_get(t->type);
  myna__block32 o = {.m = 0};
  for (int r = 0; r < MYNA__STRIP; r++) {
    myna__wrow w = myna__rows_get(rows, r);
    for (int g = 0; g < n / 32; g++) {
      q->open32(&o, &w, k0 + 32 * g);
      for (int j = 0; j < 32; j++) p->code[8 * g + j / 4][r][j % 4] = (uint8_t)(o.c[j] + offset_of(t));
      p->d[g][r] = o.d;
      p->m[g][r] = o.m;
    }
  }
}

static void unpack_q256(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {
  assert(n == 256);
  myna__panel_q256 *p = panel;
  myna__kpanel o = {.dmin = 0};
  const int n_min = t->groups == 8 ? 8 : 16; /* myna__kpanel repeats what is per 32 */
  for (int r = 0; r < MYNA__STRIP; r++) {
    myna__wrow w = myna__rows_get(rows, r);
    w = myna__wrow_at(&w, t->type, k0);
    myna__quant_get(t->type)->open256(&o, w.p[0]);
    for (int j = 0; j < 256; j++) {
      int scale = t->groups == 1 ? o.scale[j / 16] : 1;
      p->code[j / 4][r][j % 4] = (uint8_t)(o.c[j] * scale + offset_of(t));
    }
    for (int g = 0; g < t->groups; g++) p->scale[g][r] = o.scale[g * 16 / t->groups] & (t->narrow ? 0xffff : -1);
    for (int g = 0; t->min && g < n_min; g++) p->min[g / 2][r][g & 1] = o.min[g * 16 / n_min];
    p->d[r] = o.d;
    p->dmin[r] = o.dmin;
  }
}

/* ---- multiply ---- */

/* One panel x one activation row into acc[16]. k: first k of the panel in the row. */
typedef void mul_panel_fn(float *acc, const myna__mul *m, const void *panel, const uint8_t *row, int64_t k, int n);

static void mul_panel_f32(float *acc, const myna__mul *m, const void *panel, const uint8_t *row, int64_t k, int n) {
  const myna__panel_f32 *p = panel;
  const float *x = (const float *)(const void *)row + k;
  for (int j = 0; j < n; j++)
    for (int r = 0; r < MYNA__STRIP; r++) acc[r] = fmaf(p->w[j][r], x[j], acc[r]);
}

static void mul_panel_bf16(float *acc, const myna__mul *m, const void *panel, const uint8_t *row, int64_t k, int n) {
  const myna__panel_bf16 *p = panel;
  const uint16_t *x = (const uint16_t *)(const void *)row + k;
  for (int j = 0; j < n; j++)
    for (int r = 0; r < MYNA__STRIP; r++)
      acc[r] = fmaf(myna__bf16_to_f32(p->w[j / 2][r][j & 1]), myna__bf16_to_f32(x[j]), acc[r]);
}

static int32_t dot_codes(const uint8_t code[][16][4], int r, const int8_t *q, int n) {
  int32_t i = 0;
  for (int j = 0; j < n; j++) i += code[j / 4][r][j % 4] * q[j];
  return i;
}

static void mul_panel_q32(float *acc, const myna__mul *m, const void *panel, const uint8_t *row, int64_t k, int n) {
  const myna__panel_q32 *p = panel;
  const int8_t *q = (const int8_t *)row + k;
  const float *d = (const float *)(const void *)(row + m->act.d) + k / 32;
  const int32_t *nsum16 = (const int32_t *)(const void *)(row + m->act.nsum16) + k / 16;
  int offset = offset_of(m->type);
  for (int g = 0; g < n / 32; g++)
    for (int r = 0; r < MYNA__STRIP; r++) {
      int32_t first = dot_codes(&p->code[8 * g], r, q + 32 * g, 16) + nsum16[2 * g] * offset;
      int32_t second = dot_codes(&p->code[8 * g + 4], r, q + 32 * g + 16, 16) + nsum16[2 * g + 1] * offset;
      int32_t nsum = nsum16[2 * g] + nsum16[2 * g + 1];
      bool two = m->type->groups == 16;
      acc[r] = fmaf((float)(two ? first : first + second), p->d[g][r] * d[g], acc[r]);
      if (two) acc[r] = fmaf((float)second, p->m[g][r] * d[g], acc[r]);
      if (m->type->min) acc[r] = fmaf((float)-nsum, p->m[g][r] * d[g], acc[r]);
    }
}

static void mul_panel_q256(float *acc, const myna__mul *m, const void *panel, const uint8_t *row, int64_t k, int n) {
  const myna__panel_q256 *p = panel;
  const int8_t *q = (const int8_t *)row + k;
  float d = ((const float *)(const void *)(row + m->act.d))[k / 256];
  const int32_t *nsum = (const int32_t *)(const void *)(row + m->act.nsum) + k / 16;
  const int groups = m->type->groups, offset = offset_of(m->type);
  for (int r = 0; r < MYNA__STRIP; r++) {
    int32_t codes = 0, mins = 0;
    for (int g = 0; g < 16; g++) {
      int32_t i = dot_codes(&p->code[4 * g], r, q + 16 * g, 16) + nsum[g] * offset;
      int j = groups == 8 ? g / 2 : g;
      codes += groups == 1 ? i : (int16_t)p->scale[j][r] * i;
      if (m->type->min) mins -= p->min[j / 2][r][j & 1] * nsum[g];
    }
    acc[r] = fmaf((float)codes, p->d[r] * d, acc[r]);
    if (m->type->min) acc[r] = fmaf((float)mins, -(p->dmin[r] * d), acc[r]);
  }
}

MYNA__INLINE void mul_all(const myna__mul *m, mul_panel_fn *mul) {
  size_t bytes = myna__panel_bytes(m->type->form);
  for (int64_t c = 0; c < m->n_col; c++)
    for (int64_t k = 0; k < m->n; k += MYNA__KBLOCK)
      for (int s = 0; s < m->n_strip; s++)
        mul(m->acc + c * m->ld_acc + s * MYNA__STRIP, m, m->panel + (size_t)(k / MYNA__KBLOCK * m->n_strip + s) * bytes,
            m->act.row + (size_t)c * m->act.stride, m->k0 + k, (int)MYNA__MIN(m->n - k, MYNA__KBLOCK));
}
static void mul_f32(const myna__mul *m) { mul_all(m, mul_panel_f32); }
static void mul_bf16(const myna__mul *m) { mul_all(m, mul_panel_bf16); }
static void mul_q32(const myna__mul *m) { mul_all(m, mul_panel_q32); }
static void mul_q256(const myna__mul *m) { mul_all(m, mul_panel_q256); }

void myna__fill_panel_ref(myna__ktable *t) {
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) t->unpack_f32[i] = unpack_f32;
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) {
    const myna__ptype *p = myna__ptype_of((myna_dtype)i, false);
    t->mul_f32[i] = mul_f32;
    if (!p || p->form == MYNA__FORM_F32) continue;
    t->unpack[i] = p->form == MYNA__FORM_BF16 ? unpack_bf16 : p->form == MYNA__FORM_Q32 ? unpack_q32 : unpack_q256;
    t->mul[i] = p->form == MYNA__FORM_BF16 ? mul_bf16 : p->form == MYNA__FORM_Q32 ? mul_q32 : mul_q256;
  }
}
