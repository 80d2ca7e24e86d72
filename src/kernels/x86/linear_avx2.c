/* linear_avx2.c: linear's row kernels and activation rows for AVX2 and FMA. */
#include "kernels/ref/linear_rows.h"
#include "kernels/x86/isa_avx2.h"
/* after the vocabulary */
#include "kernels/x86/act_impl.h"

static void rms_row(float *y, const float *x, const float *w, float eps, int64_t n) {
  myna__rms_row_inline(y, x, w, eps, n);
}
static void epilogue(float *y, const float *acc, const float *bias, const float *residual, int64_t n) {
  myna__epilogue_inline(y, acc, bias, residual, n);
}
static void gate(float *a, const float *b, myna__gate g, int64_t n) { myna__gate_inline(a, b, g, n); }

void myna__fill_linear_avx2(myna__ktable *t) {
  t->rms_row = rms_row;
  t->epilogue = epilogue;
  t->gate = gate;
  t->quant_bf16 = quant_bf16;
  t->quant_q32 = quant_q32;
  t->quant_q256 = quant_q256;
}
