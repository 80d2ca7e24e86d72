/* linear_ref.c: plain C versions of linear's row kernels and activation rows. */
#include "kernels/ref/linear_rows.h"
#include "kernels/table.h"
#include <stdlib.h>

static void rms_row(float *y, const float *x, const float *w, float eps, int64_t n) {
  myna__rms_row_inline(y, x, w, eps, n);
}
static void epilogue(float *y, const float *acc, const float *bias, const float *residual, int64_t n) {
  myna__epilogue_inline(y, acc, bias, residual, n);
}
static void gate(float *a, const float *b, myna__gate g, int64_t n) { myna__gate_inline(a, b, g, n); }

static void quant_bf16(uint8_t *row, const float *x, int64_t n) { myna__act_from_f32(MYNA__ACT_BF16, row, x, n); }

/* The extra planes of myna__arows_layout from the sums of the row. */
static void negate_sums(uint8_t *row, const myna__arows *a, myna__act act, int64_t n, int64_t count) {
  const int16_t *sum = (const int16_t *)(const void *)(row + myna__act_sum_offset(act, n));
  int32_t *nsum = (int32_t *)(void *)(row + a->nsum);
  for (int64_t i = 0; i < count; i++) nsum[i] = -sum[i];
  if (act == MYNA__ACT_Q8_32) {
    int32_t *nsum16 = (int32_t *)(void *)(row + a->nsum16);
    memset(nsum16, 0, (size_t)count * 2 * sizeof *nsum16);
    for (int64_t k = 0; k < 32 * count; k++) nsum16[k / 16] -= ((const int8_t *)row)[k];
    return;
  }
  int16_t *sum32 = (int16_t *)(void *)(row + a->sum32);
  for (int64_t i = 0; i < count / 2; i++) sum32[i] = (int16_t)(sum[2 * i] + sum[2 * i + 1]);
  int32_t *mass = (int32_t *)(void *)(row + a->mass);
  memset(mass, 0, (size_t)(count / 16) * sizeof *mass);
  for (int64_t i = 0; i < count; i++) {
    int32_t m = 0;
    for (int j = 0; j < 16; j++) m += abs(((const int8_t *)row)[16 * i + j]);
    mass[i / 16] = MYNA__MAX(mass[i / 16], m);
  }
}

static void quant_q32(uint8_t *row, const float *x, int64_t n) {
  myna__arows a = myna__arows_layout(MYNA__FORM_Q32, n);
  myna__act_from_f32(MYNA__ACT_Q8_32, row, x, n);
  negate_sums(row, &a, MYNA__ACT_Q8_32, n, myna__act_pad(n) / 32);
}

static void quant_q256(uint8_t *row, const float *x, int64_t n) {
  myna__arows a = myna__arows_layout(MYNA__FORM_Q256, n);
  myna__act_from_f32(MYNA__ACT_Q8_256, row, x, n);
  negate_sums(row, &a, MYNA__ACT_Q8_256, n, myna__act_pad(n) / 16);
}

void myna__fill_linear_ref(myna__ktable *t) {
  t->rms_row = rms_row;
  t->epilogue = epilogue;
  t->gate = gate;
  t->quant_bf16 = quant_bf16;
  t->quant_q32 = quant_q32;
  t->quant_q256 = quant_q256;
}
