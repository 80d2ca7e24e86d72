/* rows_avx2.c: row kernels and attention over pages, compiled for avx2. */
#include "kernels/ref/attn_impl.h"
#include "kernels/ref/rows_impl.h"
#include "kernels/table.h"

static void layer_row(float *y, const float *x, const float *w, const float *b, float eps, int64_t n) {
  myna__layer_row_inline(y, x, w, b, eps, n);
}
static void softmax_row(float *y, const float *x, float scale, int64_t n) { myna__softmax_row_inline(y, x, scale, n); }
static void unary(myna__unary_fn f, float *y, const float *x, int64_t n) { myna__unary_inline(f, y, x, n); }
static void rotate(float *y, const float *x, const float *c, const float *s, int64_t half, bool interleaved) {
  myna__rotate_inline(y, x, c, s, half, interleaved);
}
static void attn_page_f32(const myna__attn_page *p) { myna__attn_page_inline(p, MYNA_F32); }
static void attn_page_bf16(const myna__attn_page *p) { myna__attn_page_inline(p, MYNA_BF16); }
static void attn_page_f16(const myna__attn_page *p) { myna__attn_page_inline(p, MYNA_F16); }

void myna__fill_rows_avx2(myna__ktable *t) {
  t->layer_row = layer_row;
  t->softmax_row = softmax_row;
  t->unary = unary;
  t->rotate = rotate;
  t->attn_page[MYNA__KV_F32] = attn_page_f32;
  t->attn_page[MYNA__KV_BF16] = attn_page_bf16;
  t->attn_page[MYNA__KV_F16] = attn_page_f16;
}
