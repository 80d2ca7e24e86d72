/* open_iq_avx512bf16.c: the codebook types with VBMI. */
#include "kernels/x86/isa_avx512.h"
/* after the vocabulary */
#include "kernels/x86/open_iq_impl.h"

void myna__fill_open_iq_avx512bf16(myna__ktable *t) { fill_open_iq(t); }
