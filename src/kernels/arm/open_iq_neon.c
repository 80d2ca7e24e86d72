/* open_iq_neon.c: panels and direct kernels of the codebook types for NEON with dot products. */
#include "kernels/arm/isa_neon.h"
/* after the vocabulary */
#include "kernels/x86/open_iq_impl.h"

void myna__fill_open_iq_neon(myna__ktable *t) { fill_open_iq(t); }
