/* mlx4.h: quantizing to MLX4, which has three planes instead of blocks. */
#ifndef MYNA__QUANTS_MLX4_H
#define MYNA__QUANTS_MLX4_H

#include "kernels/quants.h"

/* x [n] to codes [n / 2 bytes], scales and biases [n / group] of type F32, F16 or BF16; group 32, 64 or 128
 * divides n. MLX's own rule; codes are chosen with the scale and bias before they are rounded to their type. */
void myna__mlx4_from_f32(uint8_t *codes, uint8_t *scales, uint8_t *biases, myna_dtype scale_type, int group,
                         const float *x, int64_t n);

#endif
