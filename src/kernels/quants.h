/* quants.h: one row per storage type: the plain C specification of its numbers.
 *
 * A file src/kernels/quants/NAME.c holds the block struct, a drawing of its layout, and exports
 * `const myna__quant myna__quant_NAME`; the row in myna_dtypes.inc does the rest.
 *
 * Numerics contract (docs/NUMERICS.md): `dot` is the reference of every matmul kernel: integer-class kernels
 * give the same bits as it at every level, batch size and thread count. */
#ifndef MYNA__QUANTS_H
#define MYNA__QUANTS_H

#include "base/base.h"

/* Activation formats. Rows of n values are padded to a multiple of 256 with zeros. One token's row is planar:
 *   F32      float x[n]
 *   BF16     uint16 x[n], rounded to nearest even
 *   Q8_32    int8 q[n] | float d[n/32] | int16 sum[n/32]     per 32:  d = amax/127, q = rne(x * (127/amax))
 *   Q8_256   int8 q[n] | float d[n/256] | int16 sum[n/16]    per 256: same rule, sums per 16
 * sum is the sum of the q of its group. amax = 0 gives d = 0, q = 0, and so does amax < 2^-119 (127/amax would
 * overflow or d be subnormal: the same bits with and without FTZ). Non-finite input makes the group's d NaN (so
 * the output is NaN) and its q and sum 0, never undefined behaviour. */
typedef enum myna__act { MYNA__ACT_F32, MYNA__ACT_BF16, MYNA__ACT_Q8_32, MYNA__ACT_Q8_256, MYNA__ACT_COUNT } myna__act;

static inline int64_t myna__act_pad(int64_t n) { return (n + 255) / 256 * 256; }
/* Bytes of one token's row, a multiple of 64; and offsets of its planes. */
size_t myna__act_bytes(myna__act a, int64_t n);
static inline size_t myna__act_d_offset(int64_t n) { return (size_t)myna__act_pad(n); }
static inline size_t myna__act_sum_offset(myna__act a, int64_t n) {
  return (size_t)myna__act_pad(n) + (size_t)(myna__act_pad(n) / (a == MYNA__ACT_Q8_32 ? 32 : 256)) * 4;
}
/* Reference: quantizes one row of n floats (src/kernels/ref/act.c). */
void myna__act_from_f32(myna__act a, void *row, const float *x, int64_t n);

/* One row of a weight: up to four planes. Block types use p[0] only. MLX affine: p[0] u32 codes, p[1] scales,
 * p[2] biases of type `scale_type`, one per `group` elements. No pointer is aligned. */
typedef struct myna__wrow {
  const uint8_t *p[4];
  int group;
  myna_dtype scale_type;
} myna__wrow;

struct myna__block32; /* quants/block32.h */
struct myna__kpanel;  /* quants/kquant.h */
typedef struct myna__quant {
  myna_dtype type;
  myna__act act; /* activation format of the inference plan; `exact` plans use F32 */
  /* y[0..n) from a row; n a multiple of the block. Bit-exact with ggml's dequantize. */
  void (*to_f32)(float *y, const myna__wrow *w, int64_t n);
  /* Blocks of n values; imatrix [n] weights or NULL. NULL where there is no quantizer yet. */
  void (*from_f32)(void *blocks, const float *x, const float *imatrix, int64_t n);
  /* Row times activation row in format `act`, in the contract's order: one fp32 accumulator, K ascending:
   *   F32 act     acc = fmaf(w[k], x[k], acc) for each k ascending
   *   BF16        same with x widened
   *   Q8_32       per 32:  i = sum of codes*q in int32 (offsets applied in int32 with sum);
   *                        acc = fmaf((float)i, d_w * d_a, acc); with a bias/min m: then
   *                        acc = fmaf((float)sum, m_w * d_a, acc). With a scale per 16: the same per 16
   *   Q8_256      per 256: i = sum over groups of scale_g * (codes.q [- offset*sum_g]) in int32;
   *                        acc = fmaf((float)i, d_w * d_a, acc); with mins: j = sum of min_g * sum_g in int32;
   *                        acc = fmaf((float)j, -(dmin_w * d_a), acc) */
  float (*dot)(const myna__wrow *w, const void *act, int64_t n);
  /* What `dot` reads, for panels in plain C: the 32 weights of a row at k (Q8_32), or a block of 256 (Q8_256). NULL for float types. */
  void (*open32)(struct myna__block32 *o, const myna__wrow *w, int64_t k);
  void (*open256)(struct myna__kpanel *o, const uint8_t *block);
} myna__quant;

/* The row of a type; NULL for types that are no weights (never for a type in myna_dtypes.inc of kind FLOAT,
 * QUANT or PLANES; integer types have to_f32 only). */
const myna__quant *myna__quant_get(myna_dtype t);
/* Generic dot for types whose act is F32: dequantizes block by block. */
float myna__quant_dot_f32(const myna__quant *q, const myna__wrow *w, const void *act, int64_t n);

/* Scalar conversions, exact (bf16: round to nearest even; NaN stays NaN). */
float myna__f16_to_f32(uint16_t h);
uint16_t myna__f32_to_f16(float f);
static inline float myna__bf16_to_f32(uint16_t h) {
  uint32_t u = (uint32_t)h << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}
uint16_t myna__f32_to_bf16(float f);

#endif
