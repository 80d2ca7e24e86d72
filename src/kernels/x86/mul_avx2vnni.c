/* mul_avx2vnni.c: panel multiplies for AVX2 with AVX-VNNI. */
#include "kernels/x86/isa_avx2.h"
/* after the vocabulary */
#include "kernels/x86/mul_impl.h"

void myna__fill_mul_avx2vnni(myna__ktable *t) { fill_mul(t); }
