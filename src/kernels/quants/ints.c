/* ints.c: the integer types: little-endian, plain arrays. They are no weights (ids, masks, metadata): widening
 * to float is all they have. */
#include "kernels/quants/util.h"

/* Each value rounds once to the nearest float. */
MYNA__INLINE void widen(float *y, const uint8_t *p, int64_t n, int bytes, bool is_signed) {
  for (int64_t k = 0; k < n; k++, p += bytes) {
    uint64_t u = 0;
    memcpy(&u, p, (size_t)bytes);
    int unused = 64 - 8 * bytes;
    y[k] = is_signed ? (float)((int64_t)(u << unused) >> unused) : (float)u;
  }
}

static void i8_to_f32(float *y, const myna__wrow *w, int64_t n) { widen(y, w->p[0], n, 1, true); }
static void i16_to_f32(float *y, const myna__wrow *w, int64_t n) { widen(y, w->p[0], n, 2, true); }
static void i32_to_f32(float *y, const myna__wrow *w, int64_t n) { widen(y, w->p[0], n, 4, true); }
static void i64_to_f32(float *y, const myna__wrow *w, int64_t n) { widen(y, w->p[0], n, 8, true); }
static void u8_to_f32(float *y, const myna__wrow *w, int64_t n) { widen(y, w->p[0], n, 1, false); }
static void u16_to_f32(float *y, const myna__wrow *w, int64_t n) { widen(y, w->p[0], n, 2, false); }
static void u32_to_f32(float *y, const myna__wrow *w, int64_t n) { widen(y, w->p[0], n, 4, false); }
static void u64_to_f32(float *y, const myna__wrow *w, int64_t n) { widen(y, w->p[0], n, 8, false); }

const myna__quant myna__quant_I8 = {MYNA_I8, MYNA__ACT_F32, i8_to_f32, NULL, NULL};
const myna__quant myna__quant_I16 = {MYNA_I16, MYNA__ACT_F32, i16_to_f32, NULL, NULL};
const myna__quant myna__quant_I32 = {MYNA_I32, MYNA__ACT_F32, i32_to_f32, NULL, NULL};
const myna__quant myna__quant_I64 = {MYNA_I64, MYNA__ACT_F32, i64_to_f32, NULL, NULL};
const myna__quant myna__quant_U8 = {MYNA_U8, MYNA__ACT_F32, u8_to_f32, NULL, NULL};
const myna__quant myna__quant_U16 = {MYNA_U16, MYNA__ACT_F32, u16_to_f32, NULL, NULL};
const myna__quant myna__quant_U32 = {MYNA_U32, MYNA__ACT_F32, u32_to_f32, NULL, NULL};
const myna__quant myna__quant_U64 = {MYNA_U64, MYNA__ACT_F32, u64_to_f32, NULL, NULL};
