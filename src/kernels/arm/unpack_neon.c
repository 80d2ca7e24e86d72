/* unpack_neon.c: panels and direct kernels for NEON with dot products. */
#include "kernels/arm/isa_neon.h"
/* after the vocabulary */
#include "kernels/x86/direct_k_impl.h"

void myna__fill_unpack_neon(myna__ktable *t) {
  fill_unpack(t);
  fill_direct(t);
  fill_direct_k(t);
}
