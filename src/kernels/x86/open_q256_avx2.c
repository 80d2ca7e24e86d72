/* open_q256_avx2.c: panels and direct kernels of Q2_K, Q3_K, Q8_K, IQ4_XS and the ternary types for AVX2, FMA and F16C. */
#include "kernels/x86/isa_avx2.h"
/* after the vocabulary */
#include "kernels/x86/open_q256_impl.h"

void myna__fill_open_q256_avx2(myna__ktable *t) { fill_open_q256(t); }
