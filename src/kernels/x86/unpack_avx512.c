/* unpack_avx512.c: panels and direct kernels for AVX-512 with VNNI. */
#include "kernels/x86/isa_avx512.h"
/* after the vocabulary */
#include "kernels/x86/direct_k_impl.h"

void myna__fill_unpack_avx512(myna__ktable *t) {
  fill_unpack(t);
  fill_direct(t);
  fill_direct_k(t);
}
