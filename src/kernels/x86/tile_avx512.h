/* tile_avx512.h: the old name of isa_avx512.h. */
#include "kernels/x86/isa_avx512.h"
