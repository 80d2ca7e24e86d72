/* mlx4.c: MLX4: MLX's affine 4-bit weights, three planes: w = scale * q + bias per group of 32, 64 or 128.
 *
 *   plane 0   codes: u32 words of 8 nibbles, weight j in nibble j%8 of word j/8, lowest first
 *             (bytes: weight j in the low nibble of byte j/2 for even j, the high one for odd j)
 *   plane 1   scale, plane 2 bias: one per group, of `scale_type` F32, F16 or BF16. A scale may be negative.
 *
 * Dot: the Q4_1 contract per 32 weights, the group's scale and bias as d and m.
 * Source: the layout of mlx checkpoints. from_f32 writes blocks, so the row has none: see mlx4.h. */
#include "kernels/quants/mlx4.h"
#include "kernels/quants/block32.h"

static float load(const uint8_t *plane, myna_dtype type, int64_t i) {
  float f;
  if (type == MYNA_F16) return myna__f16_to_f32(myna__load_u16(plane + 2 * i));
  if (type == MYNA_BF16) return myna__bf16_to_f32(myna__load_u16(plane + 2 * i));
  memcpy(&f, plane + 4 * i, 4);
  return f;
}

static void store(uint8_t *plane, myna_dtype type, int64_t i, float f) {
  if (type == MYNA_F16)
    myna__store_u16(plane + 2 * i, myna__f32_to_f16(f));
  else if (type == MYNA_BF16)
    myna__store_u16(plane + 2 * i, myna__f32_to_bf16(f));
  else
    memcpy(plane + 4 * i, &f, 4);
}

/* The 32 weights from k on. */
static void unpack(myna__block32 *o, const myna__wrow *w, int64_t k) {
  const uint8_t *q = w->p[0] + k / 2;
  for (int j = 0; j < 32; j++) o->c[j] = q[j / 2] >> j % 2 * 4 & 15;
  o->d = load(w->p[1], w->scale_type, k / w->group);
  o->m = load(w->p[2], w->scale_type, k / w->group);
}

static void to_f32(float *y, const myna__wrow *w, int64_t n) { myna__block32_to_f32(y, w, n, true, unpack); }

static float dot(const myna__wrow *w, const void *act, int64_t n) { return myna__block32_dot(w, act, n, true, unpack); }

/* Zero and the group's extreme become exact codes: the scale runs from the extreme towards the other end. */
static void fit_group(float *scale, float *bias, const float *x, int group) {
  float min, max;
  myna__range(x, group, &min, &max);
  float step = fmaxf((max - min) / 15.0f, 1e-7f);
  bool from_min = fabsf(min) > fabsf(max);
  float edge = from_min ? min : max, zero_code;
  *scale = from_min ? step : -step;
  zero_code = rintf(edge / *scale);
  *bias = zero_code != 0 ? edge : 0;
  if (zero_code != 0) *scale = edge / zero_code;
}

void myna__mlx4_from_f32(uint8_t *codes, uint8_t *scales, uint8_t *biases, myna_dtype scale_type, int group,
                         const float *x, int64_t n) {
  memset(codes, 0, (size_t)n / 2);
  for (int64_t k = 0; k < n; k += group) {
    float scale, bias;
    fit_group(&scale, &bias, x + k, group);
    store(scales, scale_type, k / group, scale);
    store(biases, scale_type, k / group, bias);
    for (int64_t j = k; j < k + group; j++) {
      int q = myna__code_rne((x[j] - bias) / scale, 0, 15);
      codes[j / 2] |= (uint8_t)(q << j % 2 * 4);
    }
  }
}

const myna__quant myna__quant_MLX4 = {MYNA_MLX4, MYNA__ACT_Q8_32, to_f32, NULL, dot, .open32 = unpack};
