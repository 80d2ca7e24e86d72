/* mul_i8mm.c: panel multiplies of integers with SMMLA. */
#include "kernels/arm/mul_impl.h"

void myna__fill_mul_i8mm(myna__ktable *t) { fill_mul(t); }
