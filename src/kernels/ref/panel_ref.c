/* panel_ref.c: panels in plain C: the unpack of every type and the multiply of every form.
 *
 * These are the specification of the faster ones, and what they fall back to for shapes they do not take
 * (short blocks) and for types without a fast unpack. */
#include "kernels/quants/kquant.h"
#include "kernels/table.h"

/* ---- F32 and BF16 forms ---- */

/* Any type through its to_f32. */
static void unpack_f32(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                       const uint8_t *next) {
  myna__panel_f32 *p = panel;
  float w[MYNA__KBLOCK];
  for (int r = 0; r < MYNA__STRIP; r++) {
    myna__wrow row = myna__rows_get(rows, r);
    row = myna__wrow_at(&row, t->type, k0);
    myna__quant_get(t->type)->to_f32(w, &row, n);
    for (int k = 0; k < n; k++) p->w[k][r] = w[k];
  }
}

static void unpack_bf16(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                        const uint8_t *next) {
  myna__panel_bf16 *p = panel;
  if (n & 1) memset(p->w[n / 2], 0, sizeof p->w[0]);
  for (int r = 0; r < MYNA__STRIP; r++)
    for (int k = 0; k < n; k++) memcpy(&p->w[k / 2][r][k & 1], rows->p[0] + r * rows->stride[0] + 2 * (k0 + k), 2);
}

/* ---- Q32 form: 32 weights with one float scale (and minimum) ---- */

typedef struct group32 {
  uint8_t c[32];
  float d, m;
} group32;
/* The 32 weights of a row at k. */
typedef void open32_fn(group32 *o, const myna__wrow *w, int64_t k);

static void open_q4_0(group32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q4_0 *b = (const myna__block_q4_0 *)w->p[0] + k / 32;
  myna__nibbles(o->c, b->qs);
  o->d = myna__f16_to_f32(b->d);
}
static void open_q4_1(group32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q4_1 *b = (const myna__block_q4_1 *)w->p[0] + k / 32;
  myna__nibbles(o->c, b->qs);
  o->d = myna__f16_to_f32(b->d);
  o->m = myna__f16_to_f32(b->m);
}
static void open_q5_0(group32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q5_0 *b = (const myna__block_q5_0 *)w->p[0] + k / 32;
  myna__fives(o->c, b->qs, b->qh);
  o->d = myna__f16_to_f32(b->d);
}
static void open_q5_1(group32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q5_1 *b = (const myna__block_q5_1 *)w->p[0] + k / 32;
  myna__fives(o->c, b->qs, b->qh);
  o->d = myna__f16_to_f32(b->d);
  o->m = myna__f16_to_f32(b->m);
}
static void open_q8_0(group32 *o, const myna__wrow *w, int64_t k) {
  const myna__block_q8_0 *b = (const myna__block_q8_0 *)w->p[0] + k / 32;
  for (int j = 0; j < 32; j++) o->c[j] = (uint8_t)(b->qs[j] + 128);
  o->d = myna__f16_to_f32(b->d);
}
static float plane_float(const uint8_t *p, int64_t i, myna_dtype t) {
  uint16_t h;
  float f;
  if (t == MYNA_F32) {
    memcpy(&f, p + 4 * i, 4);
    return f;
  }
  memcpy(&h, p + 2 * i, 2);
  return t == MYNA_F16 ? myna__f16_to_f32(h) : myna__bf16_to_f32(h);
}
static void open_mlx4(group32 *o, const myna__wrow *w, int64_t k) {
  const uint8_t *q = w->p[0] + k / 2;
  for (int j = 0; j < 32; j++) o->c[j] = q[j / 2] >> j % 2 * 4 & 15;
  o->d = plane_float(w->p[1], k / w->group, w->scale_type);
  o->m = plane_float(w->p[2], k / w->group, w->scale_type);
}

MYNA__INLINE void unpack32(myna__panel_q32 *p, const myna__rows *rows, int64_t k0, int n, open32_fn *open) {
  group32 o = {.m = 0};
  for (int r = 0; r < MYNA__STRIP; r++) {
    myna__wrow w = myna__rows_get(rows, r);
    for (int g = 0; g < n / 32; g++) {
      open(&o, &w, k0 + 32 * g);
      for (int j = 0; j < 32; j += 4) memcpy(p->code[8 * g + j / 4][r], o.c + j, 4);
      p->d[g][r] = o.d;
      p->m[g][r] = o.m;
    }
  }
}
static void unpack_q4_0(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack32(p, w, k0, n, open_q4_0);
}
static void unpack_q4_1(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack32(p, w, k0, n, open_q4_1);
}
static void unpack_q5_0(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack32(p, w, k0, n, open_q5_0);
}
static void unpack_q5_1(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack32(p, w, k0, n, open_q5_1);
}
static void unpack_q8_0(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack32(p, w, k0, n, open_q8_0);
}
static void unpack_mlx4(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack32(p, w, k0, n, open_mlx4);
}

/* ---- Q256 form: 256 weights with integer scales ---- */

/* Codes as int8 in myna__kpanel, here still unsigned (0..63). */
typedef void open256_fn(myna__kpanel *o, const uint8_t *block);

static void open_q2_k(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q2_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  o->dmin = myna__f16_to_f32(b->dmin);
  for (int g = 0; g < 16; g++) {
    o->scale[g] = b->scales[g] & 15;
    o->min[g] = b->scales[g] >> 4;
  }
  for (int j = 0; j < 256; j++) o->c[j] = (int8_t)myna__crumb(b->qs, j);
}
static void open_q3_k(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q3_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  for (int g = 0; g < 16; g++) {
    int low = b->scales[g % 8] >> g / 8 * 4 & 15, high = b->scales[8 + g % 4] >> g / 4 * 2 & 3;
    o->scale[g] = (int8_t)((low | high << 4) - 32);
  }
  for (int j = 0; j < 256; j++) o->c[j] = (int8_t)(myna__crumb(b->qs, j) | (b->hmask[j % 32] >> j / 32 & 1) << 2);
}
static void open_q4_k(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q4_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  o->dmin = myna__f16_to_f32(b->dmin);
  myna__k6_panel(o, b->scales);
  for (int j = 0; j < 256; j++) o->c[j] = (int8_t)myna__knibble(b->qs, j);
}
static void open_q5_k(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q5_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  o->dmin = myna__f16_to_f32(b->dmin);
  myna__k6_panel(o, b->scales);
  for (int j = 0; j < 256; j++) o->c[j] = (int8_t)(myna__knibble(b->qs, j) | (b->qh[j % 32] >> j / 32 & 1) << 4);
}
static void open_q6_k(myna__kpanel *o, const uint8_t *block) {
  const myna__block_q6_k *b = (const void *)block;
  o->d = myna__f16_to_f32(b->d);
  memcpy(o->scale, b->scales, 16);
  for (int j = 0; j < 256; j++) {
    int low = b->ql[j / 128 * 64 + j % 64] >> j / 64 % 2 * 4 & 15;
    o->c[j] = (int8_t)(low | myna__crumb(b->qh, j) << 4);
  }
}

MYNA__INLINE void unpack256(myna__panel_q256 *p, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n,
                            int bytes, open256_fn *open) {
  assert(n == 256);
  myna__kpanel o = {.dmin = 0};
  int step = 16 / t->groups; /* myna__kpanel repeats scales of groups of 32 */
  for (int r = 0; r < MYNA__STRIP; r++) {
    open(&o, rows->p[0] + r * rows->stride[0] + k0 / 256 * bytes);
    for (int j = 0; j < 256; j += 4) memcpy(p->code[j / 4][r], o.c + j, 4);
    for (int g = 0; g < t->groups; g++) p->scale[g][r] = o.scale[g * step];
    for (int g = 0; g < t->groups; g++) p->min[g / 2][r][g & 1] = o.min[g * step];
    p->d[r] = o.d;
    p->dmin[r] = o.dmin;
  }
}
static void unpack_q2_k(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack256(p, t, w, k0, n, MYNA__BYTES_Q2_K, open_q2_k);
}
static void unpack_q3_k(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack256(p, t, w, k0, n, MYNA__BYTES_Q3_K, open_q3_k);
}
static void unpack_q4_k(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack256(p, t, w, k0, n, MYNA__BYTES_Q4_K, open_q4_k);
}
static void unpack_q5_k(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack256(p, t, w, k0, n, MYNA__BYTES_Q5_K, open_q5_k);
}
static void unpack_q6_k(void *p, const myna__ptype *t, const myna__rows *w, int64_t k0, int n, const uint8_t *next) {
  unpack256(p, t, w, k0, n, MYNA__BYTES_Q6_K, open_q6_k);
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
  const int32_t *nsum = (const int32_t *)(const void *)(row + m->act.nsum) + k / 32;
  int offset = m->type->shift ? 1 << m->type->shift : 0;
  for (int g = 0; g < n / 32; g++)
    for (int r = 0; r < MYNA__STRIP; r++) {
      int32_t i = dot_codes(&p->code[8 * g], r, q + 32 * g, 32) + nsum[g] * offset;
      acc[r] = fmaf((float)i, p->d[g][r] * d[g], acc[r]);
      if (m->type->min) acc[r] = fmaf((float)-nsum[g], p->m[g][r] * d[g], acc[r]);
    }
}

static void mul_panel_q256(float *acc, const myna__mul *m, const void *panel, const uint8_t *row, int64_t k, int n) {
  const myna__panel_q256 *p = panel;
  const int8_t *q = (const int8_t *)row + k;
  float d = ((const float *)(const void *)(row + m->act.d))[k / 256];
  const int32_t *nsum = (const int32_t *)(const void *)(row + m->act.nsum) + k / 16;
  int groups = m->type->groups, len = 256 / groups, step = 16 / groups;
  for (int r = 0; r < MYNA__STRIP; r++) {
    int32_t codes = 0, mins = 0;
    for (int g = 0; g < groups; g++) {
      int32_t ns = step == 1 ? nsum[g] : nsum[2 * g] + nsum[2 * g + 1];
      int32_t i = dot_codes(&p->code[len / 4 * g], r, q + len * g, len);
      if (m->type->shift) i += ns * (1 << m->type->shift);
      codes += p->scale[g][r] * i;
      mins -= p->min[g / 2][r][g & 1] * ns;
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
  t->unpack[MYNA_BF16] = unpack_bf16;
  t->unpack[MYNA_Q4_0] = unpack_q4_0;
  t->unpack[MYNA_Q4_1] = unpack_q4_1;
  t->unpack[MYNA_Q5_0] = unpack_q5_0;
  t->unpack[MYNA_Q5_1] = unpack_q5_1;
  t->unpack[MYNA_Q8_0] = unpack_q8_0;
  t->unpack[MYNA_MLX4] = unpack_mlx4;
  t->unpack[MYNA_Q2_K] = unpack_q2_k;
  t->unpack[MYNA_Q3_K] = unpack_q3_k;
  t->unpack[MYNA_Q4_K] = unpack_q4_k;
  t->unpack[MYNA_Q5_K] = unpack_q5_k;
  t->unpack[MYNA_Q6_K] = unpack_q6_k;
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) {
    const myna__ptype *p = myna__ptype_of((myna_dtype)i, false);
    t->mul_f32[i] = mul_f32;
    if (p) t->mul[i] = p->form == MYNA__FORM_BF16 ? mul_bf16 : p->form == MYNA__FORM_Q32 ? mul_q32 : mul_q256;
  }
}
