/* Matrices of an MLX safetensors file, mapped, through the same matmul rows as any GGUF's: against products by mlx
 * (tests/oracles/make_mlx.py), at every CPU level, exact and with the type's own activation format. */
#include "fixture.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "myna_array.h"
#include <math.h>

enum { N = 128, K = 256, ROWS = 5 };

static const char *path_of(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/tests/fixtures/mlx/%s", MYNA_ROOT, name);
  return path;
}

static const void *bytes_of(const myna__safetensors *s, const char *name, int type, int64_t rows, int64_t cols) {
  const myna__st_tensor *t = myna__st_find(s, name);
  assert_non_null(t);
  assert_int_equal(t->type, type);
  assert_int_equal(t->n_dims, 2);
  assert_int_equal(t->shape[0], rows);
  assert_int_equal(t->shape[1], cols);
  return t->data;
}

static void compare(const char *what, const float *y, const char *file, double limit) {
  myna__npy want;
  myna_err err = {0};
  if (myna__npy_open(&want, path_of(file), &err) < 0) fail_msg("%s", err.msg);
  assert_int_equal(want.n, ROWS * N);
  double nmse = fx_nmse(y, want.data, want.n);
  if (!(nmse <= limit)) fail_msg("%s at %s: NMSE %g against mlx", what, myna__cpu_name(myna__cpu()), nmse);
  myna__npy_close(&want);
}

/* Both matrices share x in one list. */
static void check(const myna__safetensors *s, const float *x, bool exact) {
  const int64_t shape[2] = {N, K}, x_shape[2] = {MYNA_SYM(0), K};
  myna_err err = {0};
  myna_ctx *c;
  myna_plan *plan;
  myna_array *w[2], *y[2];
  assert_int_equal(myna_ctx_new(&c, NULL, &err), 0);
  myna_planes affine = {.group = 64, .scale_type = MYNA_BF16};
  affine.plane[0] = bytes_of(s, "affine.weight", MYNA_U32, N, K / 8);
  affine.plane[1] = bytes_of(s, "affine.scales", MYNA_BF16, N, K / 64);
  affine.plane[2] = bytes_of(s, "affine.biases", MYNA_BF16, N, K / 64);
  myna_planes dense = {.plane = {bytes_of(s, "dense.weight", MYNA_BF16, N, K)}};
  myna_array *in = myna_input(c, "x", MYNA_F32, x_shape, 2);
  w[0] = myna_weight(c, MYNA_MLX4, shape, 2, &affine);
  w[1] = myna_weight(c, MYNA_BF16, shape, 2, &dense);
  myna_linear_list(c, in, w, NULL, 2, y);
  myna_plan_options o = {.sym_max = {ROWS}, .exact = exact};
  if (myna_plan_new(&plan, c, &in, 1, y, 2, &o, &err) < 0) fail_msg("%s", err.msg);
  void *data[1] = {(void *)(uintptr_t)x};
  const int64_t sym[8] = {ROWS};
  if (myna_plan_run(plan, data, sym, &err) < 0) fail_msg("%s", err.msg);
  compare("affine.weight", myna_plan_output(plan, 0), "affine.y.npy", exact ? 1e-12 : 1e-4);
  compare("dense.weight", myna_plan_output(plan, 1), "dense.y.npy", exact ? 1e-12 : 1e-5);
  myna_plan_free(plan);
  myna_ctx_free(c);
}

static void test_matrices(void **state) {
  myna__safetensors s;
  myna__npy x;
  myna_err err = {0};
  myna__cpu_level before = myna__cpu();
  if (myna__st_open(&s, path_of("matrices.safetensors"), false, &err) < 0) fail_msg("%s", err.msg);
  if (myna__npy_open(&x, path_of("x.npy"), &err) < 0) fail_msg("%s", err.msg);
  assert_int_equal(x.n, ROWS * K);
  for (int l = 0; l < MYNA__CPU_COUNT; l++) {
    if (!myna__cpu_supported((myna__cpu_level)l)) continue;
    myna__cpu_force((myna__cpu_level)l);
    for (int exact = 0; exact < 2; exact++) check(&s, x.data, exact);
  }
  myna__cpu_force(before);
  myna__npy_close(&x);
  myna__st_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrices)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
