/* mul_avx512.c: panel multiplies for AVX-512 with VNNI. */
#include "kernels/x86/isa_avx512.h"
/* after the vocabulary */
#include "kernels/x86/mul_impl.h"

void myna__fill_mul_avx512(myna__ktable *t) { fill_mul(t); }
