/* linear_cases.c: see linear_cases.h. */
#include "linear_cases.h"
#include <math.h>
#include <sys/mman.h>

case_mlx_options case_mlx = {64, MYNA_BF16};

static size_t page_up(size_t n) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (n + page - 1) / page * page;
}

uint8_t *case_guard(size_t n) {
  size_t page = page_up(1), len = page_up(n);
  uint8_t *p = mmap(NULL, len + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(p != MAP_FAILED);
  assert_int_equal(mprotect(p + len, page, PROT_NONE), 0);
  return p + len - n;
}

void case_unguard(uint8_t *p, size_t n) {
  size_t page = page_up(1), len = page_up(n);
  if (p) munmap(p + n - len, len + page);
}

static bool tame(const float *w, int64_t n) {
  for (int64_t k = 0; k < n; k++)
    if (!(fabsf(w[k]) < 1e4f)) return false;
  return true;
}

/* One step of a row: floats are normal, packed types random bytes until their values are finite and tame. */
static void fill_step(const myna__quant *q, uint8_t *p, int64_t n, test_rng *rng) {
  float w[512];
  size_t bytes = (size_t)(n / myna_dtype_block(q->type) * myna_dtype_bytes(q->type));
  if (myna_dtype_block(q->type) == 1) {
    for (int64_t k = 0; k < n; k++) w[k] = test_normal(rng) * (test_int(rng, 50) == 0 ? 1e-3f : 1.0f);
    q->from_f32(p, w, NULL, n);
    return;
  }
  do {
    for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)test_u64(rng);
    q->to_f32(w, &(myna__wrow){.p = {p}}, n);
  } while (!tame(w, n));
}

static void fill_mlx(myna__weight *w, int64_t rows, test_rng *rng) {
  int64_t groups = w->n_in / w->group;
  for (int64_t i = 0; i < rows * w->n_in / 2; i++) ((uint8_t *)w->plane[0])[i] = (uint8_t)test_u64(rng);
  for (int p = 1; p <= 2; p++)
    for (int64_t i = 0; i < rows * groups; i++) {
      float f = test_normal(rng) * 0.1f;
      uint8_t *to = (uint8_t *)w->plane[p] + i * myna_dtype_bytes(w->scale_type);
      myna__quant_get(w->scale_type)->from_f32(to, &f, NULL, 1);
    }
}

void case_weight(myna__weight *w, myna_dtype t, int64_t n_in, int64_t n_out, int64_t n_expert, test_rng *rng) {
  int64_t step = case_step(t), rows = n_out * (n_expert > 1 ? n_expert : 1);
  assert_int_equal(n_in % step, 0);
  *w = (myna__weight){.type = t, .n_in = n_in, .n_out = n_out, .n_expert = n_expert};
  w->row_stride[0] = n_in / myna_dtype_block(t) * myna_dtype_bytes(t);
  if (t == MYNA_MLX4) {
    w->group = case_mlx.group;
    w->scale_type = case_mlx.scale_type;
    w->row_stride[1] = w->row_stride[2] = n_in / w->group * myna_dtype_bytes(w->scale_type);
  }
  for (int p = 0; p < 3; p++) {
    w->expert_stride[p] = n_out * w->row_stride[p];
    if (w->row_stride[p]) w->plane[p] = case_guard((size_t)(rows * w->row_stride[p]));
  }
  if (t == MYNA_MLX4) {
    fill_mlx(w, rows, rng);
    return;
  }
  if (step == 1) step = 64;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < n_in; k += step) {
      int64_t n = n_in - k < step ? n_in - k : step;
      fill_step(myna__quant_get(t),
                (uint8_t *)w->plane[0] + r * w->row_stride[0] + k / myna_dtype_block(t) * myna_dtype_bytes(t), n, rng);
    }
}

void case_weight_free(myna__weight *w) {
  int64_t rows = w->n_out * (w->n_expert > 1 ? w->n_expert : 1);
  for (int p = 0; p < 3; p++)
    if (w->row_stride[p]) case_unguard((uint8_t *)w->plane[p], (size_t)(rows * w->row_stride[p]));
}
