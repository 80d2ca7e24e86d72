/* act.c: the reference activation quantizers: rows of floats to the formats of quants.h.
 *
 * Every faster version gives the same bits. Two cases beyond the formula, so that no input is undefined
 * and FTZ/DAZ (set in pool workers) cannot change a bit:
 *   - a group whose amax is below 2^-119 is a group of zeros: 127/amax would overflow or d be subnormal;
 *   - a group with a NaN or an infinity gets d = NaN, q = 0, sum = 0: every dot over it is NaN.
 * Invariant: a row starts at an address aligned to 64 (its planes are read as float and int16). */
#include "kernels/quants.h"
#include <float.h>
#include <math.h>

enum { GROUP_MAX = 256 };

size_t myna__act_bytes(myna__act a, int64_t n) {
  size_t pad = (size_t)myna__act_pad(n), bytes = 0;
  switch (a) {
  case MYNA__ACT_F32: bytes = pad * 4; break;
  case MYNA__ACT_BF16: bytes = pad * 2; break;
  case MYNA__ACT_Q8_32: bytes = myna__act_sum_offset(a, n) + pad / 32 * 2; break;
  case MYNA__ACT_Q8_256: bytes = myna__act_sum_offset(a, n) + pad / 16 * 2; break;
  case MYNA__ACT_COUNT: break;
  }
  return (bytes + 63) & ~(size_t)63;
}

/* q[len], *d of one group of floats; |x * (127/amax)| <= 127 * (1 + 2^-22), so q needs no clamp. */
static void quantize_group(int8_t *q, float *d, const float *x, int len) {
  float amax = 0;
  bool finite = true;
  for (int j = 0; j < len; j++) {
    finite = finite && fabsf(x[j]) <= FLT_MAX;
    amax = fabsf(x[j]) > amax ? fabsf(x[j]) : amax;
  }
  bool zero = !finite || amax < 0x1p-119f;
  float inverse = zero ? 0.0f : 127.0f / amax;
  *d = !finite ? NAN : zero ? 0.0f : amax / 127.0f;
  for (int j = 0; j < len; j++) q[j] = zero ? 0 : (int8_t)lrintf(x[j] * inverse);
}

/* |sum| <= 32 * 128: fits int16. */
static int16_t sum_codes(const int8_t *q, int len) {
  int s = 0;
  for (int j = 0; j < len; j++) s += q[j];
  return (int16_t)s;
}

/* x[0..n) in groups of `group` with sums over `sum_group`, zero-padded to a multiple of 256. */
static void quantize_row(uint8_t *row, myna__act a, const float *x, int64_t n, int group, int sum_group) {
  int64_t pad = myna__act_pad(n);
  int8_t *q = (int8_t *)row;
  float *d = (float *)(void *)(row + myna__act_d_offset(n));
  int16_t *sum = (int16_t *)(void *)(row + myna__act_sum_offset(a, n));
  for (int64_t k = 0; k < pad; k += group) {
    float buf[GROUP_MAX] = {0};
    if (k < n) memcpy(buf, x + k, (size_t)MYNA__MIN(n - k, group) * sizeof(float));
    quantize_group(q + k, d + k / group, buf, group);
  }
  for (int64_t k = 0; k < pad; k += sum_group) sum[k / sum_group] = sum_codes(q + k, sum_group);
}

void myna__act_from_f32(myna__act a, void *row, const float *x, int64_t n) {
  int64_t pad = myna__act_pad(n);
  uint16_t *half = row;
  switch (a) {
  case MYNA__ACT_F32:
    memcpy(row, x, (size_t)n * 4);
    memset((float *)row + n, 0, (size_t)(pad - n) * 4);
    break;
  case MYNA__ACT_BF16:
    for (int64_t k = 0; k < n; k++) half[k] = myna__f32_to_bf16(x[k]);
    memset(half + n, 0, (size_t)(pad - n) * 2);
    break;
  case MYNA__ACT_Q8_32: quantize_row(row, a, x, n, 32, 32); break;
  case MYNA__ACT_Q8_256: quantize_row(row, a, x, n, 256, 16); break;
  case MYNA__ACT_COUNT: break;
  }
}
