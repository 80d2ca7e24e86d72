/* open_q256_neon.c: panels and direct kernels of Q2_K, Q3_K, Q8_K, IQ4_XS and the ternary types for NEON with dot products. */
#include "kernels/arm/isa_neon.h"
/* after the vocabulary */
#include "kernels/x86/open_q256_impl.h"

void myna__fill_open_q256_neon(myna__ktable *t) { fill_open_q256(t); }
