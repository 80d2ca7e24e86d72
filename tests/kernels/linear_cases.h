/* linear_cases.h: weights for the tests and the benchmark of myna__linear: random matrices of any type that end at a
 * page nobody may read, so that one byte too far is a fault. */
#ifndef MYNA__LINEAR_CASES_H
#define MYNA__LINEAR_CASES_H

#include "kernels/kernels.h"
#include "test.h"

/* Types that linear multiplies: those with a reference dot. */
static inline bool case_type_ok(myna_dtype t) { return myna__quant_get(t) && myna__quant_get(t)->dot; }

/* Group and scale type of the next MLX matrices. */
typedef struct case_mlx_options {
  int group;
  myna_dtype scale_type;
} case_mlx_options;
extern case_mlx_options case_mlx; /* 64, BF16 */

/* Smallest n_in step of a type: its block, MLX's group. */
static inline int64_t case_step(myna_dtype t) { return t == MYNA_MLX4 ? case_mlx.group : myna_dtype_block(t); }

/* A block of n bytes that ends where the process's memory ends; free with case_unguard. */
uint8_t *case_guard(size_t n);
void case_unguard(uint8_t *p, size_t n);

/* Matrix [n_expert or 1][n_out, n_in] with finite weights of moderate size and codes of every value; planes end at
 * guard pages and so have arbitrary alignment. */
void case_weight(myna__weight *w, myna_dtype t, int64_t n_in, int64_t n_out, int64_t n_expert, test_rng *rng);
void case_weight_free(myna__weight *w);

int bench_linear(int argc, char **argv);

#endif
