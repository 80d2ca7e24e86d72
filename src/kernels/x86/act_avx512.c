/* act_avx512.c: activation rows with AVX-512: the bits of ref/act.c.
 *
 * A group's largest magnitude is found on the bit patterns without sign: as integers they order like the floats and
 * put infinities and NaN above FLT_MAX, so one comparison tells whether all are finite. */
#include "kernels/table.h"
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* x[0..16) at k of a row of n, zeros beyond its end. */
INLINE __m512 load_x(const float *x, int64_t k, int64_t n) {
  if (k + 16 <= n) return _mm512_loadu_ps(x + k);
  int left = n > k ? (int)(n - k) : 0;
  return _mm512_maskz_loadu_ps((__mmask16)((1u << left) - 1), x + k);
}

INLINE __m512i magnitude(__m512 v) { return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff)); }

/* d of a group and the factor for its codes; factor 0 makes all codes 0. */
INLINE float group_scale(uint32_t amax_bits, float *factor) {
  float amax;
  memcpy(&amax, &amax_bits, 4);
  *factor = 0;
  if (amax_bits > 0x7f7fffff) return __builtin_nanf("");
  if (amax < 0x1p-119f) return 0;
  *factor = 127.0f / amax;
  return amax / 127.0f;
}

/* Codes of 16 floats as int32; the mask is none when the group is not finite (0 * inf). */
INLINE __m512i codes(__m512 x, __m512 factor, __mmask16 keep) { return _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(x, factor)); }

static void quant_q32(uint8_t *row, const float *x, int64_t n) {
  myna__arows a = myna__arows_layout(MYNA__FORM_Q32, n);
  float *d = (float *)(void *)(row + a.d);
  int16_t *sum = (int16_t *)(void *)(row + a.sum);
  int32_t *nsum = (int32_t *)(void *)(row + a.nsum);
  int64_t groups = myna__act_pad(n) / 32;
  for (int64_t g = 0; g < groups; g++) {
    __m512 lo = load_x(x, 32 * g, n), hi = load_x(x, 32 * g + 16, n);
    float factor;
    d[g] = group_scale((uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(magnitude(lo), magnitude(hi))), &factor);
    __mmask16 keep = factor != 0 ? 0xffff : 0;
    __m512 f = _mm512_set1_ps(factor);
    __m512i qlo = codes(lo, f, keep), qhi = codes(hi, f, keep);
    _mm_storeu_si128((void *)(row + 32 * g), _mm512_cvtepi32_epi8(qlo));
    _mm_storeu_si128((void *)(row + 32 * g + 16), _mm512_cvtepi32_epi8(qhi));
    int32_t s = _mm512_reduce_add_epi32(_mm512_add_epi32(qlo, qhi));
    sum[g] = (int16_t)s;
    nsum[g] = -s;
  }
}

static void quant_q256(uint8_t *row, const float *x, int64_t n) {
  myna__arows a = myna__arows_layout(MYNA__FORM_Q256, n);
  float *d = (float *)(void *)(row + a.d);
  int16_t *sum = (int16_t *)(void *)(row + a.sum), *sum32 = (int16_t *)(void *)(row + a.sum32);
  int32_t *nsum = (int32_t *)(void *)(row + a.nsum);
  int64_t blocks = myna__act_pad(n) / 256;
  for (int64_t b = 0; b < blocks; b++) {
    __m512 v[16];
    __m512i top = _mm512_setzero_si512();
    for (int i = 0; i < 16; i++) {
      v[i] = load_x(x, 256 * b + 16 * i, n);
      top = _mm512_max_epi32(top, magnitude(v[i]));
    }
    float factor;
    d[b] = group_scale((uint32_t)_mm512_reduce_max_epi32(top), &factor);
    __mmask16 keep = factor != 0 ? 0xffff : 0;
    __m512 f = _mm512_set1_ps(factor);
    for (int i = 0; i < 16; i++) {
      __m512i q = codes(v[i], f, keep);
      _mm_storeu_si128((void *)(row + 256 * b + 16 * i), _mm512_cvtepi32_epi8(q));
      int32_t s = _mm512_reduce_add_epi32(q);
      sum[16 * b + i] = (int16_t)s;
      nsum[16 * b + i] = -s;
    }
    for (int i = 0; i < 8; i++) sum32[8 * b + i] = (int16_t)(sum[16 * b + 2 * i] + sum[16 * b + 2 * i + 1]);
  }
}

/* Round to nearest even on the bits; NaN keeps its upper half and becomes quiet. */
INLINE __m256i to_bf16(__m512 v) {
  __m512i u = _mm512_castps_si512(v);
  __m512i lsb = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), lsb), 16);
  __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
  __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, quiet));
}

static void quant_bf16(uint8_t *row, const float *x, int64_t n) {
  for (int64_t k = 0; k < myna__act_pad(n); k += 16) _mm256_storeu_si256((void *)(row + 2 * k), to_bf16(load_x(x, k, n)));
}

void myna__fill_act_avx512(myna__ktable *t) {
  t->quant_bf16 = quant_bf16;
  t->quant_q32 = quant_q32;
  t->quant_q256 = quant_q256;
}
