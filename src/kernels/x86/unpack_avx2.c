/* unpack_avx2.c: panels and direct kernels for AVX2, FMA and F16C. */
#include "kernels/x86/isa_avx2.h"
/* after the vocabulary */
#include "kernels/x86/native_avx2.h"

void myna__fill_unpack_avx2(myna__ktable *t) {
  fill_unpack(t);
  fill_direct(t);
  fill_native(t);
}
