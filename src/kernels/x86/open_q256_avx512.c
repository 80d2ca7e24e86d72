/* open_q256_avx512.c: panels and direct kernels of Q2_K, Q3_K, Q8_K, IQ4_XS and the ternary types for AVX-512 with VNNI. */
#include "kernels/x86/isa_avx512.h"
/* after the vocabulary */
#include "kernels/x86/open_q256_impl.h"

void myna__fill_open_q256_avx512(myna__ktable *t) { fill_open_q256(t); }
