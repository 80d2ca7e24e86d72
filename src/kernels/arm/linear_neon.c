/* linear_neon.c: activation rows in kernel layout for NEON: the bits of ref/act.c. Norms, gates and epilogues are the plain C:
 * every arm64 compiler has NEON, and they vectorize.
 *
 * A group's largest magnitude is taken on the bit patterns without sign: as integers they order like the floats and put
 * infinities and NaN above FLT_MAX, so one comparison tells whether all are finite. */
#include "kernels/arm/isa_neon.h"
#include "kernels/ref/math.h"

/* The largest magnitude of n floats, n a multiple of 16, as bits. */
INLINE uint32_t top_magnitude(const float *x, int n) {
  uint32x4_t top[4], mask = vdupq_n_u32(0x7fffffff);
  UNROLL for (int j = 0; j < 4; j++) top[j] = vdupq_n_u32(0);
  for (int i = 0; i < n; i += 16)
    UNROLL for (int j = 0; j < 4; j++) top[j] =
        vmaxq_u32(top[j], vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i + 4 * j)), mask));
  return vmaxvq_u32(vmaxq_u32(vmaxq_u32(top[0], top[1]), vmaxq_u32(top[2], top[3])));
}

/* Sets *d of a group; returns the factor of its codes, 0 for groups of zeros and groups that are not finite. */
INLINE float group_scale(float *d, uint32_t top) {
  const bool finite = top < 0x7f800000, zero = top < 0x04000000; /* 2^-119 */
  const float amax = myna__float(top);
  *d = !finite ? myna__float(0x7fc00000) : zero ? 0.0f : amax / 127.0f;
  return zero || !finite ? 0.0f : 127.0f / amax;
}

/* 16 codes; returns their sum. |x * factor| is at most 127 and a little, so narrowing cuts nothing. */
INLINE int codes16(int8_t *q, const float *x, float factor) {
  const uint32x4_t keep = vdupq_n_u32(factor != 0 ? 0xffffffffu : 0); /* 0 * inf is no code */
  int32x4_t c[4];
  UNROLL for (int i = 0; i < 4; i++) c[i] =
      vandq_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), factor)), vreinterpretq_s32_u32(keep));
  int16x8_t a = vuzp1q_s16(as_s16(c[0]), as_s16(c[1])), b = vuzp1q_s16(as_s16(c[2]), as_s16(c[3]));
  vst1q_s8(q, vuzp1q_s8(vreinterpretq_s8_s16(a), vreinterpretq_s8_s16(b)));
  return vaddvq_s16(vaddq_s16(a, b));
}

/* Where the next block of 256 goes. */
typedef struct act_planes {
  int8_t *q;
  float *d;
  int16_t *sum, *sum32;
  int32_t *nsum, *nsum16, *mass;
} act_planes;

static void block_q256(const act_planes *p, const float *x) {
  float factor = group_scale(p->d, top_magnitude(x, 256));
  *p->mass = 0;
  for (int i = 0; i < 16; i++) {
    int s = codes16(p->q + 16 * i, x + 16 * i, factor);
    p->sum[i] = (int16_t)s;
    p->nsum[i] = -s;
    const int32_t mass = vaddlvq_u8(vreinterpretq_u8_s8(vabsq_s8(vld1q_s8(p->q + 16 * i))));
    *p->mass = MYNA__MAX(*p->mass, mass);
  }
  for (int i = 0; i < 8; i++) p->sum32[i] = (int16_t)(p->sum[2 * i] + p->sum[2 * i + 1]);
}

static void block_q32(const act_planes *p, const float *x) {
  for (int g = 0; g < 8; g++) {
    float factor = group_scale(p->d + g, top_magnitude(x + 32 * g, 32));
    int a = codes16(p->q + 32 * g, x + 32 * g, factor), b = codes16(p->q + 32 * g + 16, x + 32 * g + 16, factor);
    p->nsum16[2 * g] = -a;
    p->nsum16[2 * g + 1] = -b;
    p->sum[g] = (int16_t)(a + b);
    p->nsum[g] = -(a + b);
  }
}

typedef void block_fn(const act_planes *p, const float *x);

INLINE void quant_blocks(uint8_t *row, const float *x, int64_t n, myna__form form, block_fn *block) {
  const myna__arows a = myna__arows_layout(form, n);
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

void myna__fill_linear_neon(myna__ktable *t) {
  t->quant_q32 = quant_q32;
  t->quant_q256 = quant_q256;
}
