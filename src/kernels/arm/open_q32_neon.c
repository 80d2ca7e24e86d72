/* open_q32_neon.c: panels and direct kernels of the types of 32 weights for NEON with dot products. */
#include "kernels/arm/isa_neon.h"
/* after the vocabulary */
#include "kernels/x86/open_q32_impl.h"

void myna__fill_open_q32_neon(myna__ktable *t) { fill_open_q32(t); }
