/* act_impl.h: activation rows in kernel layout, one source for the x86 levels: the bits of ref/act.c.
 *
 * Works on runs of RUN floats whose codes fill one vector. A group's largest magnitude is taken on the bit patterns without
 * sign: as integers they order like the floats and put infinities and NaN above FLT_MAX, so one comparison tells whether all
 * are finite. */
#ifndef MYNA__ACT_IMPL_H
#define MYNA__ACT_IMPL_H

enum { RUN = 4 * LANES, RUN_GROUPS = RUN / 32, BLOCK_RUNS = MYNA__KBLOCK / RUN };

INLINE vi magnitude(vf v) { return vi_and(vf_as_i32(v), vi_set32(0x7fffffff)); }

/* d and the factor of its codes for four groups; factor 0 for groups of zeros and groups that are not finite. */
INLINE void group_scales(float d[4], float factor[4], __m128i amax) {
  __m128i finite = _mm_cmplt_epi32(amax, _mm_set1_epi32(0x7f800000));
  __m128i zero = _mm_cmplt_epi32(amax, _mm_set1_epi32(0x04000000)); /* 2^-119 */
  __m128 keep = _mm_castsi128_ps(_mm_andnot_si128(zero, finite)), a = _mm_castsi128_ps(amax), m = _mm_set1_ps(127.0f);
  __m128 nan = _mm_andnot_ps(_mm_castsi128_ps(finite), _mm_castsi128_ps(_mm_set1_epi32(0x7fc00000)));
  _mm_storeu_ps(d, _mm_or_ps(nan, _mm_and_ps(keep, _mm_div_ps(a, m))));
  _mm_storeu_ps(factor, _mm_and_ps(keep, _mm_div_ps(m, a)));
}

/* The codes of 4 vectors of floats; factor[i] for vector i. */
INLINE vi run_codes(const float *x, const float factor[4]) {
  vi q[4];
  UNROLL for (int i = 0; i < 4; i++) {
    vf f = vf_set(factor[i]);
    vi keep = vi_set32(factor[i] != 0 ? -1 : 0); /* 0 * inf is no code */
    q[i] = vi_and(vf_round32(vf_mul(vf_loadu(x + LANES * i), f)), keep);
  }
  return vi_pack_codes(q[0], q[1], q[2], q[3]);
}

/* Sums of 16 codes from 4 vectors of codes, in order: LANES sums. */
INLINE vi sums16(const vi q[4]) {
  vi s[4], t[4];
  UNROLL for (int i = 0; i < 4; i++) s[i] = vi_sum4(q[i]);
  transpose4(t, s); /* t[i]: dword i of each 128-bit lane, (lane, vector) */
  return vi_untangle(vi_add32(vi_add32(t[0], t[1]), vi_add32(t[2], t[3])));
}

typedef struct act_planes {
  int8_t *q;
  float *d;
  int16_t *sum, *sum32;
  int32_t *nsum, *nsum16, *mass;
} act_planes;

INLINE vi negative(vi v) { return vi_add32(vi_xor(v, vi_set32(-1)), vi_set32(1)); }

/* 256 floats with one scale; sums of 16 and of 32. */
INLINE void block_q256(const act_planes *p, const float *x) {
  vi top = vi_zero();
  float d[4], factor[4];
  UNROLL for (int i = 0; i < MYNA__KBLOCK / LANES; i++) top = vi_max32(top, magnitude(vf_loadu(x + LANES * i)));
  __m128i m = vi_max_lanes(top);
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
  group_scales(d, factor, _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1)));
  *p->d = d[0];
  vi mass = vi_zero();
  for (int r = 0; r < BLOCK_RUNS; r += 4) {
    vi q[4];
    UNROLL for (int i = 0; i < 4; i++) {
      q[i] = run_codes(x + (r + i) * RUN, factor);
      vi_store(p->q + (r + i) * RUN, q[i]);
      mass = vi_max32(mass, vi_lane_sums(vi_sum4(vi_abs8(q[i]))));
    }
    vi s = sums16(q);
    vi_store16(p->sum + r * RUN / 16, s);
    vi_store(p->nsum + r * RUN / 16, negative(s));
  }
  *p->mass = _mm_cvtsi128_si32(vi_max_lanes(mass));
  for (int i = 0; i < 8; i++) p->sum32[i] = (int16_t)(p->sum[2 * i] + p->sum[2 * i + 1]);
}

/* 256 floats in groups of 32. */
INLINE void block_q32(const act_planes *p, const float *x) {
  float factor[8];
  for (int h = 0; h < 2; h++) { /* four groups */
    vi m[4], t[4];
    UNROLL for (int g = 0; g < 4; g++) {
      m[g] = vi_zero();
      UNROLL for (int i = 0; i < 32 / LANES; i++) m[g] =
          vi_max32(m[g], magnitude(vf_loadu(x + 128 * h + 32 * g + LANES * i)));
    }
    transpose4(t, m);
    group_scales(p->d + 4 * h, factor + 4 * h, vi_max_lanes(vi_max32(vi_max32(t[0], t[1]), vi_max32(t[2], t[3]))));
  }
  _Alignas(64) int32_t s[16];
  for (int r = 0; r < BLOCK_RUNS; r += 4) {
    vi q[4];
    UNROLL for (int i = 0; i < 4; i++) {
      const int at = (r + i) * RUN;
      float f[4];
      UNROLL for (int j = 0; j < 4; j++) f[j] = factor[(at + LANES * j) / 32];
      q[i] = run_codes(x + at, f);
      vi_store(p->q + at, q[i]);
    }
    vi t = sums16(q);
    vi_store(s + r * RUN / 16, t);
    vi_store(p->nsum16 + r * RUN / 16, negative(t));
  }
  for (int g = 0; g < 8; g++) {
    p->sum[g] = (int16_t)(s[2 * g] + s[2 * g + 1]);
    p->nsum[g] = -(s[2 * g] + s[2 * g + 1]);
  }
}

typedef void block_fn(const act_planes *p, const float *x);

INLINE void quant_blocks(uint8_t *row, const float *x, int64_t n, myna__form form, block_fn *block) {
  myna__arows a = myna__arows_layout(form, n);
  const int groups = form == MYNA__FORM_Q32 ? 8 : 1, parts = form == MYNA__FORM_Q32 ? 8 : 16;
  act_planes p = {(int8_t *)row,
                  (float *)(void *)(row + a.d),
                  (int16_t *)(void *)(row + a.sum),
                  (int16_t *)(void *)(row + a.sum32),
                  (int32_t *)(void *)(row + a.nsum),
                  (int32_t *)(void *)(row + a.nsum16),
                  (int32_t *)(void *)(row + a.mass)};
  for (int64_t k = 0; k < n; k += MYNA__KBLOCK) {
    float last[MYNA__KBLOCK] = {0};
    if (n - k < MYNA__KBLOCK) memcpy(last, x + k, (size_t)(n - k) * sizeof *x);
    block(&p, n - k < MYNA__KBLOCK ? last : x + k);
    p.q += MYNA__KBLOCK;
    p.d += groups;
    p.sum += parts;
    p.nsum += parts;
    p.sum32 += 8;
    p.nsum16 += 16;
    p.mass++;
  }
}

static void quant_q32(uint8_t *row, const float *x, int64_t n) { quant_blocks(row, x, n, MYNA__FORM_Q32, block_q32); }
static void quant_q256(uint8_t *row, const float *x, int64_t n) {
  quant_blocks(row, x, n, MYNA__FORM_Q256, block_q256);
}

/* Round to nearest even on the bits; NaN keeps its upper half and becomes quiet. Vectorized by the compiler. */
static void quant_bf16(uint8_t *row, const float *x, int64_t n) {
  uint16_t *y = (uint16_t *)(void *)row;
  for (int64_t k = 0; k < n; k++) {
    uint32_t u = myna__bits(x[k]), rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    y[k] = (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : rounded);
  }
  memset(y + n, 0, (size_t)(myna__act_pad(n) - n) * 2);
}

#endif
