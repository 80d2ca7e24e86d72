/* open_q32_avx2.c: panels and direct kernels of the types of 32 weights for AVX2, FMA and F16C. */
#include "kernels/x86/isa_avx2.h"
/* after the vocabulary */
#include "kernels/x86/open_q32_impl.h"

void myna__fill_open_q32_avx2(myna__ktable *t) { fill_open_q32(t); }
