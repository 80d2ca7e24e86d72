/* attn_level.h: the parts of attention of one level from the shared source, row by row; a level replaces what it does better. */
#ifndef MYNA__ATTN_LEVEL_H
#define MYNA__ATTN_LEVEL_H

#include "kernels/ref/attn_impl.h"

MYNA__FN void myna__each_scores(myna__attn_tile *t, int n, myna_dtype type) {
  for (int r = 0; r < n; r++) {
    myna__v16 s[4];
    if (t->row[r].lo >= t->row[r].hi) continue;
    myna__page_scores(t->p, t->row[r].q, s, type);
    memcpy(t->s[r], s, sizeof s);
  }
}
MYNA__FN void myna__each_scores_codes(myna__attn_tile *t, int n, int bits) {
  for (int r = 0; r < n; r++)
    if (t->row[r].lo < t->row[r].hi) myna__page_scores_codes(t->p, t->row[r].q, t->s[r], bits);
}
MYNA__FN void myna__each_values(const myna__attn_tile *t, int first, int n, myna_dtype type) {
  for (int r = first; r < first + n; r++) myna__row_values(t->p, &t->row[r], t->s[r], type);
}

static void scores_f32(myna__attn_tile *t, int n) { myna__each_scores(t, n, MYNA_F32); }
static void scores_bf16(myna__attn_tile *t, int n) { myna__each_scores(t, n, MYNA_BF16); }
static void scores_f16(myna__attn_tile *t, int n) { myna__each_scores(t, n, MYNA_F16); }
static void scores_q8_0(myna__attn_tile *t, int n) { myna__each_scores_codes(t, n, 8); }
static void scores_q4_0(myna__attn_tile *t, int n) { myna__each_scores_codes(t, n, 4); }
static void soften(myna__attn_tile *t, int r) { myna__page_softmax(t->p, &t->row[r], t->s[r]); }
static void values_f32(const myna__attn_tile *t, int first, int n) { myna__each_values(t, first, n, MYNA_F32); }
static void values_bf16(const myna__attn_tile *t, int first, int n) { myna__each_values(t, first, n, MYNA_BF16); }
static void values_f16(const myna__attn_tile *t, int first, int n) { myna__each_values(t, first, n, MYNA_F16); }
static void open_q8_0(float *to, const myna__attn_page *p, int lo, int hi) { myna__open_codes(to, p, lo, hi, 8); }
static void open_q4_0(float *to, const myna__attn_page *p, int lo, int hi) { myna__open_codes(to, p, lo, hi, 4); }
static void query_codes(void *to, const float *q, int64_t dim, float scale) { myna__query_codes(to, q, dim, scale); }
static float kv_codes(int8_t *c, const float *x, int64_t n, int bits) {
  return bits == 8 ? myna__kv_codes_inline(c, x, n, 8) : myna__kv_codes_inline(c, x, n, 4);
}
static void hadamard(float *x, int64_t n, int64_t h) { myna__hadamard_inline(x, n, h); }

MYNA__FN void myna__fill_attn_level(myna__ktable *t) {
  t->attn_scores[MYNA__KV_F32] = scores_f32;
  t->attn_scores[MYNA__KV_BF16] = scores_bf16;
  t->attn_scores[MYNA__KV_F16] = scores_f16;
  t->attn_scores[MYNA__KV_Q8_0] = scores_q8_0;
  t->attn_scores[MYNA__KV_Q4_0] = scores_q4_0;
  for (int k = 0; k < MYNA__KV_KINDS; k++) t->attn_soften[k] = soften;
  t->attn_values[MYNA__KV_F32] = values_f32;
  t->attn_values[MYNA__KV_BF16] = values_bf16;
  t->attn_values[MYNA__KV_F16] = values_f16;
  t->attn_open_v[MYNA__KV_Q8_0] = open_q8_0;
  t->attn_open_v[MYNA__KV_Q4_0] = open_q4_0;
  t->attn_query[MYNA__KV_Q8_0] = t->attn_query[MYNA__KV_Q4_0] = query_codes;
  t->attn_walk = NULL;
  t->kv_codes = kv_codes;
  t->hadamard = hadamard;
}

#endif
