/* mul_avx2.c: panel multiplies for AVX2, FMA and F16C. */
#include "kernels/x86/isa_avx2.h"
/* after the vocabulary */
#include "kernels/x86/mul_impl.h"

void myna__fill_mul_avx2(myna__ktable *t) { fill_mul(t); }
