/* rows_avx2.c: row kernels, compiled for avx2. */
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

void myna__fill_rows_avx2(myna__ktable *t) {
  t->layer_row = layer_row;
  t->softmax_row = softmax_row;
  t->unary = unary;
  t->rotate = rotate;
}
