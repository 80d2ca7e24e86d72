/* attn_x86.h: what the levels of x86 share in attention, whatever their vectors are. */
#ifndef MYNA__ATTN_X86_H
#define MYNA__ATTN_X86_H

#include "kernels/ref/attn_level.h"
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#pragma clang diagnostic ignored "-Wpass-failed" /* below -O2 nothing is unrolled */
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { A_ROWS = MYNA__ATTN_ROWS };

/* Small tiles wait for memory: they fetch the next page while they work on this one. */
INLINE void fetch_next(const void *p, int R) {
  if (R < A_ROWS) _mm_prefetch((const char *)p, _MM_HINT_T0);
}

static __attribute__((noinline)) void cap_scores(float *s, float cap) {
  for (int j = 0; j < 64; j++) s[j] = cap * myna__tanh(s[j] / cap);
}

static __attribute__((noinline)) void rescale(myna__attn_row *r, float max, int64_t dim) {
  float f = myna__exp(r->m - max);
  for (int64_t d = 0; d < dim; d++) r->o[d] *= f;
  for (int j = 0; j < 16; j++) r->l[j] *= f;
  r->m = max;
}

#endif
