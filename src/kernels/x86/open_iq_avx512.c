/* open_iq_avx512.c: panels and direct kernels of the codebook types for AVX-512 with VNNI. */
#include "kernels/x86/isa_avx512.h"
/* after the vocabulary */
#include "kernels/x86/open_iq_impl.h"

void myna__fill_open_iq_avx512(myna__ktable *t) { fill_open_iq(t); }
