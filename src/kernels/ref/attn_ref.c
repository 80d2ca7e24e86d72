/* attn_ref.c: attention over pages, in plain C. */
#include "kernels/ref/attn_level.h"

void myna__fill_attn_ref(myna__ktable *t) { myna__fill_attn_level(t); }
