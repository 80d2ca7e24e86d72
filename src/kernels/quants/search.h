/* search.h: how floats become codes: the searches behind from_f32, shared by all types.
 *
 * Invariants: nothing here is undefined for any input; NaN and infinity give some code. Without an importance
 * matrix fit32_* and ternary are the canonical rules and give ggml's bits; the rest minimises a weighted
 * squared error, sum w (x - decoded)^2. */
#ifndef MYNA__QUANTS_SEARCH_H
#define MYNA__QUANTS_SEARCH_H

#include "kernels/quants.h"

/* Mean of x^2 over n values. */
float myna__mean_square(const float *x, int64_t n);

/* One block of 32 without sub-scales; each returns d. imatrix: [32] or NULL; mean_square: of the whole row.
 * symmetric: x ~ d * (c - half), c in [0, 2 half); affine: x ~ d * c + m, c in [0, hi]; q8: x ~ d * c, |c| <= 127. */
float myna__fit32_symmetric(uint8_t c[32], const float *x, const float *imatrix, float mean_square, int half);
float myna__fit32_affine(uint8_t c[32], float *m, const float *x, const float *imatrix, float mean_square, int hi);
float myna__fit32_q8(int8_t c[32], const float *x);

/* 256 ternary codes: x ~ d * (c - 1), c in {0, 1, 2}, d the largest magnitude, which is returned. */
float myna__ternary(uint8_t c[256], const float *x);

/* The shape of a k-quant: 256 values in groups of 16 or 32; ranges of codes, sub-scales and (0: none) mins. */
typedef struct myna__kspec {
  int group, code_lo, code_hi, scale_lo, scale_hi, min_hi;
} myna__kspec;

typedef struct myna__kfit {
  uint16_t d, dmin; /* f16 */
  int8_t scale[16]; /* [256 / group] */
  uint8_t min[16];
  uint8_t c[256]; /* code - code_lo */
} myna__kfit;

/* x[j] ~ (d * scale) * (c + code_lo) - dmin * min. imatrix: [256] or NULL. */
void myna__kfit_block(myna__kfit *f, const myna__kspec *s, const float *x, const float *imatrix);

#endif
