/* Storage types: decoding bit for bit against ggml and the gguf package, quantizers against ggml's errors, dots
 * against double and against the contract's order, float conversions over all their values, hostile bytes.
 * Reads tests/fixtures/quants, and ../shared/data/quant where it is there. */
#include "test.h"
#include "kernels/quants.h"
#include "kernels/quants/grids.h"
#include "kernels/quants/mlx4.h"
#include <ctype.h>
#include <dirent.h>
#include <float.h>
#include <math.h>

/* ---- helpers ---- */

typedef struct bytes {
  uint8_t *p;
  size_t n;
} bytes;

/* n = 0 and p = NULL where the file is absent. */
static bytes slurp(const char *dir, const char *name) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "rb");
  bytes b = {0};
  if (!f) return b;
  fseek(f, 0, SEEK_END);
  b.n = (size_t)ftell(f);
  rewind(f);
  b.p = malloc(b.n + 1);
  assert_int_equal(fread(b.p, 1, b.n, f), b.n);
  fclose(f);
  return b;
}

static size_t row_bytes(myna_dtype t, int64_t n) { return (size_t)(n / myna_dtype_block(t) * myna_dtype_bytes(t)); }

/* A row of any type at an odd address, exactly as long as its bytes (ASan sees one too many). MLX4: three planes. */
typedef struct testrow {
  myna__wrow w;
  uint8_t *base[3];
  size_t size[3];
  int64_t n;
} testrow;

static testrow row_new(myna_dtype t, int64_t n, int group, myna_dtype scale_type) {
  testrow r = {.w = {.group = group, .scale_type = scale_type}, .n = n};
  r.size[0] = row_bytes(t, n);
  if (t == MYNA_MLX4) r.size[1] = r.size[2] = (size_t)(n / group * myna_dtype_bytes(scale_type));
  for (int i = 0; i < 3; i++) {
    r.base[i] = malloc(r.size[i] + 1);
    r.w.p[i] = r.base[i] + 1;
  }
  return r;
}
static uint8_t *row_plane(testrow *r, int i) { return r->base[i] + 1; }
static void row_free(testrow *r) {
  for (int i = 0; i < 3; i++) free(r->base[i]);
}

static float *floats(int64_t n) { return calloc((size_t)n + 1, sizeof(float)); }

static void *act_new(myna__act a, const float *x, int64_t n) {
  void *row = aligned_alloc(64, myna__act_bytes(a, n));
  myna__act_from_f32(a, row, x, n);
  return row;
}

/* The value that activation k stands for. */
static double act_value(myna__act a, const void *row, int64_t n, int64_t k) {
  const uint8_t *p = row;
  const float *d = (const float *)(const void *)(p + myna__act_d_offset(n));
  switch (a) {
  case MYNA__ACT_F32: return ((const float *)row)[k];
  case MYNA__ACT_BF16: return myna__bf16_to_f32(((const uint16_t *)row)[k]);
  case MYNA__ACT_Q8_32: return (double)((const int8_t *)p)[k] * d[k / 32];
  default: return (double)((const int8_t *)p)[k] * d[k / 256];
  }
}

/* Random weights of moderate size, as a type would store them: floats through from_f32, the rest random bytes with
 * finite, tame values. */
static void row_fill(testrow *r, const myna__quant *q, test_rng *rng) {
  float *x = floats(r->n);
  for (int64_t k = 0; k < r->n; k++) x[k] = test_normal(rng) * 0.1f;
  if (q->type == MYNA_MLX4) {
    myna__mlx4_from_f32(row_plane(r, 0), row_plane(r, 1), row_plane(r, 2), r->w.scale_type, r->w.group, x, r->n);
  } else if (q->from_f32) {
    q->from_f32(row_plane(r, 0), x, NULL, r->n);
  } else {
    int block = myna_dtype_block(q->type), size = myna_dtype_bytes(q->type);
    for (int64_t b = 0; b < r->n / block; b++) {
      uint8_t *p = row_plane(r, 0) + b * size;
      bool tame;
      do {
        for (int i = 0; i < size; i++) p[i] = (uint8_t)test_u64(rng);
        q->to_f32(x, &(myna__wrow){.p = {p}}, block);
        tame = true;
        for (int j = 0; j < block; j++) tame = tame && fabsf(x[j]) < 100.0f;
      } while (!tame);
    }
  }
  free(x);
}

#define EACH_TYPE(q)                            \
  for (int t_ = 0; t_ < MYNA_DTYPE_COUNT; t_++) \
    for (const myna__quant *q = myna__quant_get((myna_dtype)t_); q; q = NULL)

static bool is_one_of(const char *name, const char *list) {
  size_t n = strlen(name);
  for (const char *p = strstr(list, name); p; p = strstr(p + 1, name))
    if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == 0)) return true;
  return false;
}

/* ---- the table ---- */

static void test_table(void **state) {
  const char *no_from = "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S IQ4_NL IQ4_XS MLX4";
  const char *ints = "I8 I16 I32 I64 U8 U16 U32 U64";
  const char *q8_32 = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1 Q1_0 Q2_0 IQ4_NL MXFP4 NVFP4 MLX4";
  const char *q8_256 =
      "Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K TQ1_0 TQ2_0 IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S IQ4_XS";
  for (int t = 0; t < MYNA_DTYPE_COUNT; t++) {
    const myna__quant *q = myna__quant_get((myna_dtype)t);
    const char *name = myna_dtype_name((myna_dtype)t);
    if (t == MYNA_BOOL) {
      assert_null(q);
      continue;
    }
    assert_non_null(q);
    assert_int_equal(q->type, t);
    assert_non_null(q->to_f32);
    bool is_int = is_one_of(name, ints);
    if (is_int != !q->dot || (is_int || is_one_of(name, no_from)) != !q->from_f32)
      fail_msg("%s: wrong functions", name);
    myna__act want = is_one_of(name, q8_32)    ? MYNA__ACT_Q8_32
                     : is_one_of(name, q8_256) ? MYNA__ACT_Q8_256
                     : t == MYNA_BF16          ? MYNA__ACT_BF16
                                               : MYNA__ACT_F32;
    if (q->act != want) fail_msg("%s: wrong activation format", name);
  }
  assert_null(myna__quant_get(MYNA_DTYPE_COUNT));
  assert_null(myna__quant_get((myna_dtype)-1));
}

/* ---- against others' bytes ---- */

static void compare_bits(const char *name, const float *y, const float *want, int64_t n) {
  for (int64_t k = 0; k < n; k++)
    if (memcmp(y + k, want + k, 4) != 0)
      fail_msg("%s: element %lld is %a, not %a", name, (long long)k, (double)y[k], (double)want[k]);
}

static void check_decode(const char *name, myna_dtype t, bytes q, bytes want) {
  int64_t n = (int64_t)(want.n / 4);
  assert_int_equal(row_bytes(t, n), q.n);
  float *y = floats(n);
  myna__quant_get(t)->to_f32(y, &(myna__wrow){.p = {q.p}}, n);
  compare_bits(name, y, (const float *)(const void *)want.p, n);
  free(y);
}

/* Types whose quantizer has one right answer; with an importance matrix only some of them ignore it. */
static const char canonical[] = "F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 TQ1_0 TQ2_0 MXFP4 NVFP4 Q1_0 Q2_0";

/* Error of two decodings of x, weighted by w or not. */
static double rmse(const float *x, const float *y, const float *w, int64_t n, int64_t period) {
  double e = 0, s = 0;
  for (int64_t k = 0; k < n; k++) {
    double wk = w ? w[k % period] : 1, r = (double)y[k] - x[k];
    e += wk * r * r;
    s += wk * (double)x[k] * x[k];
  }
  return sqrt(e / s);
}

typedef struct worst {
  double total, row;
} worst;

/* Our quantizer on the same rows: the same bytes, or an error at most 2 % larger, over all rows and in each
 * (rounding d and dmin to f16 alone makes errors up to 2^-10, so below that a ratio says nothing). */
static worst check_encode(const char *name, myna_dtype t, bool has_imatrix, const float *x, const float *imatrix,
                          bytes q, const float *theirs) {
  enum { ROWS = 8, N = 1024 };
  const myna__quant *quant = myna__quant_get(t);
  uint8_t *ours = malloc(q.n);
  float *y = floats(ROWS * N);
  worst w = {0};
  for (int r = 0; r < ROWS; r++)
    quant->from_f32(ours + row_bytes(t, N) * (size_t)r, x + N * r, has_imatrix ? imatrix : NULL, N);
  quant->to_f32(y, &(myna__wrow){.p = {ours}}, ROWS * N);
  if (!has_imatrix && is_one_of(myna_dtype_name(t), canonical) && memcmp(ours, q.p, q.n) != 0)
    fail_msg("%s: other bytes than ggml", name);
  for (int weighted = 0; weighted <= has_imatrix; weighted++) {
    const float *wt = weighted ? imatrix : NULL;
    double total = rmse(x, y, wt, ROWS * N, N) / rmse(x, theirs, wt, ROWS * N, N);
    w.total = fmax(w.total, total);
    if (!(total <= 1.02)) fail_msg("%s: error %.3f times ggml's", name, total);
    for (int r = 0; r < ROWS; r++) {
      double a = rmse(x + N * r, y + N * r, wt, N, N), b = rmse(x + N * r, theirs + N * r, wt, N, N);
      if (!(a <= 1.02 * b || a <= 0x1p-10)) fail_msg("%s row %d: error %g, ggml's %g", name, r, a, b);
      if (a > 0x1p-10) w.row = fmax(w.row, a / b);
    }
  }
  free(ours);
  free(y);
  return w;
}

static void test_published(void **state) {
  const char *dir = MYNA_ROOT "/../shared/data/quant";
  DIR *d = opendir(dir);
  if (!d) {
    print_message("skipped: %s is absent\n", dir);
    skip();
  }
  bytes x = slurp(dir, "input.f32"), im = slurp(dir, "imatrix.f32");
  int files = 0, encoded = 0;
  for (struct dirent *e; (e = readdir(d));) {
    char name[64], file[80];
    size_t n = strcspn(e->d_name, ".");
    if (strcmp(e->d_name + n, ".q") != 0 || n >= sizeof name) continue;
    snprintf(name, sizeof name, "%.*s", (int)n, e->d_name);
    snprintf(file, sizeof file, "%s.deq.f32", name);
    bool has_imatrix = strstr(name, "-imatrix");
    bytes q = slurp(dir, e->d_name), want = slurp(dir, file);
    name[strcspn(name, "-")] = 0;
    int t = myna_dtype_from_name(name);
    assert_true(t >= 0 && want.p);
    check_decode(e->d_name, (myna_dtype)t, q, want);
    files++;
    if (myna__quant_get((myna_dtype)t)->from_f32) {
      worst w = check_encode(e->d_name, (myna_dtype)t, has_imatrix, (float *)(void *)x.p, (float *)(void *)im.p, q,
                             (float *)(void *)want.p);
      print_message("%-14s error / ggml's: all rows %.3f, worst row %.3f\n", e->d_name, w.total, w.row);
      encoded++;
    }
    free(q.p);
    free(want.p);
  }
  closedir(d);
  free(x.p);
  free(im.p);
  print_message("%d files decoded, %d encoded\n", files, encoded);
  assert_true(files >= 35 && encoded >= 24);
}

static void test_fixtures(void **state) {
  const char *dir = MYNA_ROOT "/tests/fixtures/quants";
  bytes x = slurp(dir, "rows.f32");
  int decoded = 0, encoded = 0;
  EACH_TYPE(q) {
    char file[80];
    const char *name = myna_dtype_name(q->type);
    snprintf(file, sizeof file, "%s.q", name);
    bytes blocks = slurp(dir, file);
    snprintf(file, sizeof file, "%s.f32", name);
    bytes want = slurp(dir, file);
    snprintf(file, sizeof file, "%s.rows", name);
    bytes rows = slurp(dir, file);
    if (blocks.p && want.p) {
      check_decode(name, q->type, blocks, want);
      decoded++;
    }
    if (rows.p && q->from_f32 && x.p) {
      int64_t n = (int64_t)(x.n / 4);
      uint8_t *ours = malloc(rows.n);
      assert_int_equal(rows.n, row_bytes(q->type, n));
      q->from_f32(ours, (float *)(void *)x.p, NULL, n);
      if (memcmp(ours, rows.p, rows.n) != 0) fail_msg("%s: rows.f32 gives other bytes than the gguf package", name);
      free(ours);
      encoded++;
    }
    free(blocks.p);
    free(want.p);
    free(rows.p);
  }
  free(x.p);
  print_message("%d types decoded, %d encoded\n", decoded, encoded);
  assert_true(decoded >= 24 && encoded >= 9);
}

/* ---- quantizers ---- */

/* Relative error of normal numbers with and without importance (measured, plus a tenth). */
static const struct {
  const char *name;
  double bound;
} bounds[] = {{"F16", 3e-4},   {"BF16", 2e-3},  {"F32", 0},      {"F64", 0},      {"Q4_0", 0.1},  {"Q4_1", 0.085},
              {"Q5_0", 0.05},  {"Q5_1", 0.042}, {"Q8_0", 0.007}, {"Q8_1", 0.007}, {"Q8_K", 0.01}, {"Q2_K", 0.32},
              {"Q3_K", 0.17},  {"Q4_K", 0.08},  {"Q5_K", 0.04},  {"Q6_K", 0.02},  {"TQ1_0", 0.9}, {"TQ2_0", 0.9},
              {"MXFP4", 0.13}, {"NVFP4", 0.11}, {"Q1_0", 0.65},  {"Q2_0", 0.8}};

static void test_round_trip(void **state) {
  enum { N = 2048 };
  test_rng rng = test_rng_new(11);
  static float x[N], im[N], y[N];
  static uint8_t q[8 * N];
  for (size_t i = 0; i < MYNA__COUNT(bounds); i++) {
    const myna__quant *quant = myna__quant_get((myna_dtype)myna_dtype_from_name(bounds[i].name));
    for (int with = 0; with < 2; with++) {
      for (int k = 0; k < N; k++) x[k] = test_normal(&rng), im[k] = 0.1f + fabsf(test_normal(&rng));
      quant->from_f32(q, x, with ? im : NULL, N);
      quant->to_f32(y, &(myna__wrow){.p = {q}}, N);
      double e = rmse(x, y, NULL, N, N);
      if (!(e <= bounds[i].bound))
        fail_msg("%s imatrix %d: error %g, at most %g", bounds[i].name, with, e, bounds[i].bound);
    }
  }
}

/* Rows that trip searches: zeros, constants, one value, values on the grid, an imatrix that is zero, NaN, infinity. */
static void test_odd_rows(void **state) {
  enum { N = 512, KINDS = 12 };
  static float x[N], im[N], y[N];
  static uint8_t bytes_[8 * N];
  test_rng rng = test_rng_new(12);
  EACH_TYPE(q) {
    if (!q->from_f32) continue;
    const char *name = myna_dtype_name(q->type);
    for (int kind = 0; kind < KINDS; kind++) {
      for (int with = 0; with < 2; with++) {
        for (int k = 0; k < N; k++) {
          const float v[KINDS] = {0,
                                  0.5f,
                                  -0.5f,
                                  k == 37 ? 3.0f : 0,
                                  (float)(k % 3 - 1),
                                  1e-30f,
                                  k % 7 ? 1.0f : NAN,
                                  k % 9 ? -1.0f : INFINITY,
                                  NAN,
                                  1e30f * test_float(&rng),
                                  k < 256 ? 0 : test_normal(&rng),
                                  FLT_MAX};
          x[k] = v[kind];
          im[k] = kind % 2 ? 0 : kind == 6 ? NAN : fabsf(test_float(&rng));
        }
        q->from_f32(bytes_, x, with ? im : NULL, N);
        q->to_f32(y, &(myna__wrow){.p = {bytes_}}, N);
        bool exact_constant = (kind == 1 || kind == 2 || kind == 4);
        bool ternary = is_one_of(name, "TQ1_0 TQ2_0 Q2_0");
        for (int k = 0; k < N; k++) {
          if (kind == 0 && y[k] != 0) fail_msg("%s: a zero became %g", name, (double)y[k]);
          if (exact_constant && !is_one_of(name, "Q1_0 NVFP4") && (kind != 4 || ternary) && fabsf(y[k] - x[k]) > 0.01f)
            fail_msg("%s imatrix %d: %g became %g", name, with, (double)x[k], (double)y[k]);
        }
      }
    }
  }
}

static void test_imatrix_counts(void **state) {
  enum { N = 1024 };
  static float x[N], im[N], plain[N], steered[N];
  static uint8_t q[8 * N];
  test_rng rng = test_rng_new(13);
  for (int k = 0; k < N; k++) x[k] = test_normal(&rng), im[k] = k % 4 ? 0.01f : 1.0f;
  const myna_dtype types[] = {MYNA_Q4_0, MYNA_Q4_1, MYNA_Q5_0, MYNA_Q5_1, MYNA_Q2_K,
                              MYNA_Q3_K, MYNA_Q4_K, MYNA_Q5_K, MYNA_Q6_K};
  for (size_t i = 0; i < MYNA__COUNT(types); i++) {
    const myna__quant *quant = myna__quant_get(types[i]);
    quant->from_f32(q, x, NULL, N);
    quant->to_f32(plain, &(myna__wrow){.p = {q}}, N);
    quant->from_f32(q, x, im, N);
    quant->to_f32(steered, &(myna__wrow){.p = {q}}, N);
    double a = rmse(x, steered, im, N, N), b = rmse(x, plain, im, N, N);
    if (!(a < 0.97 * b)) fail_msg("%s: an importance matrix changes %g to %g", myna_dtype_name(types[i]), b, a);
  }
}

/* ---- dots ---- */

/* |dot - sum in double| against the sum of |a| times the largest |w| of its 256: minimums cancel against codes
 * inside a block, and what is rounded is their products, not the small difference. */
static void check_dot(const myna__quant *q, const testrow *r, const float *x,
                      float (*dot)(const myna__wrow *, const void *, int64_t), myna__act act) {
  int64_t n = r->n;
  float *w = floats(n);
  void *row = act_new(act, x, n);
  double want = 0, scale = 0;
  q->to_f32(w, &r->w, n);
  for (int64_t k = 0; k < n; k += 256) {
    double most = 0, sum = 0;
    for (int64_t j = k; j < MYNA__MIN(n, k + 256); j++) {
      double a = act_value(act, row, n, j);
      want += a * w[j];
      sum += fabs(a);
      most = fmax(most, fabs((double)w[j]));
    }
    scale += sum * most;
  }
  double got = dot ? dot(&r->w, row, n) : myna__quant_dot_f32(q, &r->w, row, n);
  double limit = (act == MYNA__ACT_F32 || act == MYNA__ACT_BF16 ? (double)n : (double)n / 16 + 8) * 0x1p-24 * scale;
  if (!(fabs(got - want) <= limit))
    fail_msg("%s act %d n %lld: %.9g, not %.9g (limit %g)", myna_dtype_name(q->type), act, (long long)n, got, want,
             limit);
  free(w);
  free(row);
}

static void test_dot(void **state) {
  test_rng rng = test_rng_new(14);
  const myna_dtype scale_types[] = {MYNA_F16, MYNA_BF16, MYNA_F32};
  EACH_TYPE(q) {
    if (!q->dot) continue;
    int block = myna_dtype_block(q->type);
    /* tails: any n for arrays (172 is a real one), any number of blocks for the rest */
    const int64_t lengths[] = {1, 7, 172, 300, 32, 96, 160, 288, 64, 192, 128, 384, 256, 512, 1280};
    for (size_t i = 0; i < MYNA__COUNT(lengths); i++) {
      int64_t n = lengths[i];
      for (int variant = 0; variant < (q->type == MYNA_MLX4 ? 9 : 1); variant++) {
        int group = 32 << variant % 3;
        if (n % block || (q->type == MYNA_MLX4 && n % group)) continue;
        testrow r = row_new(q->type, n, group, scale_types[variant / 3]);
        float *x = floats(n);
        for (int64_t k = 0; k < n; k++) x[k] = test_normal(&rng);
        row_fill(&r, q, &rng);
        check_dot(q, &r, x, q->dot, q->act);
        check_dot(q, &r, x, NULL, MYNA__ACT_F32); /* exact plans */
        row_free(&r);
        free(x);
      }
    }
  }
}

/* The generic dot is one fmaf per k, in order. */
static void test_dot_f32_order(void **state) {
  enum { N = 768 };
  test_rng rng = test_rng_new(15);
  static float x[N], w[N];
  EACH_TYPE(q) {
    if (!q->dot) continue;
    testrow r = row_new(q->type, N, 64, MYNA_BF16);
    row_fill(&r, q, &rng);
    float acc = 0;
    for (int k = 0; k < N; k++) x[k] = test_normal(&rng);
    q->to_f32(w, &r.w, N);
    for (int k = 0; k < N; k++) acc = fmaf(w[k], x[k], acc);
    assert_true(acc == myna__quant_dot_f32(q, &r.w, x, N));
    if (q->act == MYNA__ACT_F32) assert_true(acc == q->dot(&r.w, x, N));
    row_free(&r);
  }
  /* bf16: both sides widened */
  const myna__quant *q = myna__quant_get(MYNA_BF16);
  testrow r = row_new(MYNA_BF16, N, 0, MYNA_F32);
  row_fill(&r, q, &rng);
  q->to_f32(w, &r.w, N);
  void *act = act_new(MYNA__ACT_BF16, x, N);
  float acc = 0;
  for (int k = 0; k < N; k++) acc = fmaf(w[k], myna__bf16_to_f32(((uint16_t *)act)[k]), acc);
  assert_true(acc == q->dot(&r.w, act, N));
  free(act);
  row_free(&r);
}

/* Where the integer-class types keep their floats, so that a block's integers can be seen: with d = unit and m = 0
 * to_f32 gives codes (times scales), with d = 0 and m = 1 it gives minimums. Not here: types whose scales are no float of
 * their own (MXFP4, NVFP4, IQ1_M); test_dot measures them against double. */
static const struct {
  myna_dtype t;
  int d, m, unit; /* byte offsets; m -1: none */
} floats_at[] = {{MYNA_Q4_0, 0, -1, 1},   {MYNA_Q4_1, 0, 2, 1},     {MYNA_Q5_0, 0, -1, 1},    {MYNA_Q5_1, 0, 2, 1},
                 {MYNA_Q8_0, 0, -1, 1},   {MYNA_Q8_1, 0, -1, 1},    {MYNA_IQ4_NL, 0, -1, 1},  {MYNA_Q1_0, 0, -1, 1},
                 {MYNA_Q2_0, 0, -1, 1},   {MYNA_Q2_K, 80, 82, 1},   {MYNA_Q3_K, 108, -1, 1},  {MYNA_Q4_K, 0, 2, 1},
                 {MYNA_Q5_K, 0, 2, 1},    {MYNA_Q6_K, 208, -1, 1},  {MYNA_Q8_K, 0, -1, 1},    {MYNA_TQ1_0, 52, -1, 1},
                 {MYNA_TQ2_0, 64, -1, 1}, {MYNA_IQ1_S, 0, -1, 8},   {MYNA_IQ2_XXS, 0, -1, 8}, {MYNA_IQ2_XS, 0, -1, 8},
                 {MYNA_IQ2_S, 0, -1, 8},  {MYNA_IQ3_XXS, 0, -1, 4}, {MYNA_IQ3_S, 0, -1, 1},   {MYNA_IQ4_XS, 0, -1, 1}};

static void put_float(myna_dtype t, uint8_t *p, float v) {
  uint16_t h = myna__f32_to_f16(v);
  if (t == MYNA_Q8_K)
    memcpy(p, &v, 4);
  else
    memcpy(p, &h, 2);
}
static float get_float(myna_dtype t, const uint8_t *p) {
  uint16_t h;
  float v;
  memcpy(&h, p, 2);
  if (t != MYNA_Q8_K) return myna__f16_to_f32(h);
  memcpy(&v, p, 4);
  return v;
}

/* sum of w * q over `len` weights from `first` on of a block whose floats are set to d and m, in int64. */
static int64_t integers(const myna__quant *q, const uint8_t *block, int d_at, int m_at, float d, float m, int first,
                        int len, const int8_t *a) {
  uint8_t copy[512];
  float w[256];
  int64_t sum = 0;
  memcpy(copy, block, (size_t)myna_dtype_bytes(q->type));
  put_float(q->type, copy + d_at, d);
  if (m_at >= 0) put_float(q->type, copy + m_at, m);
  q->to_f32(w, &(myna__wrow){.p = {copy}}, myna_dtype_block(q->type));
  for (int j = first; j < first + len; j++) sum += (int64_t)w[j] * a[j];
  return sum;
}

/* dot against the contract written out over those integers: the same bits. Random bytes, so every code, scale
 * and minimum occurs; floats of ordinary size. */
static void test_contract(void **state) {
  enum { N = 1536 };
  test_rng rng = test_rng_new(16);
  static float x[N];
  for (size_t i = 0; i < MYNA__COUNT(floats_at); i++) {
    const myna__quant *q = myna__quant_get(floats_at[i].t);
    int per = myna_dtype_block(q->type), size = myna_dtype_bytes(q->type), d_at = floats_at[i].d, m_at = floats_at[i].m;
    const int len = q->act == MYNA__ACT_Q8_32 ? 32 : 256;
    for (int round = 0; round < 50; round++) {
      testrow r = row_new(q->type, N, 0, MYNA_F32);
      for (size_t b = 0; b < r.size[0]; b++) row_plane(&r, 0)[b] = (uint8_t)test_u64(&rng);
      for (int k = 0; k < N; k++) x[k] = test_normal(&rng) * (round % 5 == 0 ? 1e-3f : 3.0f);
      void *act = act_new(q->act, x, N);
      const int8_t *a = act;
      const float *da = (const float *)(const void *)((uint8_t *)act + myna__act_d_offset(N));
      float acc = 0;
      for (int b = 0; b < N / per; b++) {
        uint8_t *p = row_plane(&r, 0) + b * size;
        put_float(q->type, p + d_at, test_normal(&rng) * 0.01f);
        if (m_at >= 0) put_float(q->type, p + m_at, test_normal(&rng) * 0.01f);
        /* Q8_1 has its sum where a minimum would be; it must not count */
        for (int j = 0; j < per; j += len) {
          float d = get_float(q->type, p + d_at) / (float)floats_at[i].unit, d_act = da[(b * per + j) / len];
          int64_t codes = integers(q, p, d_at, m_at, (float)floats_at[i].unit, 0, j, len, a + b * per);
          acc = fmaf((float)codes, d * d_act, acc);
          if (m_at < 0) continue;
          int64_t mins =
              integers(q, p, d_at, m_at, 0, 1, j, len, a + b * per); /* k-quants subtract: already negative */
          float m = get_float(q->type, p + m_at) * d_act;
          acc = len == 32 ? fmaf((float)mins, m, acc) : fmaf((float)-mins, -m, acc);
        }
      }
      if (acc != q->dot(&r.w, act, N)) fail_msg("%s: not the contract's bits", myna_dtype_name(q->type));
      free(act);
      row_free(&r);
    }
  }
}

/* ---- hostile bytes ---- */

static void test_hostile(void **state) {
  enum { N = 1024 };
  test_rng rng = test_rng_new(17);
  static float x[N], y[N];
  const myna_dtype scale_types[] = {MYNA_F16, MYNA_BF16, MYNA_F32};
  EACH_TYPE(q) {
    for (int round = 0; round < 40; round++) {
      testrow r = row_new(q->type, N, 32 << round % 3, scale_types[round % 3]);
      for (int i = 0; i < 3; i++)
        for (size_t b = 0; b < r.size[i]; b++) {
          const uint8_t v[] = {0, 0xff, 0x7f, 0x80, 0x7c, 0xfc};
          row_plane(&r, i)[b] = round < 6 ? v[round] : (uint8_t)test_u64(&rng);
        }
      for (int k = 0; k < N; k++) {
        uint32_t bits = (uint32_t)test_u64(&rng);
        if (round % 2)
          memcpy(&x[k], &bits, 4);
        else
          x[k] = test_normal(&rng);
      }
      q->to_f32(y, &r.w, N);
      if (q->dot) {
        void *act = act_new(q->act, x, N);
        volatile float sink = q->dot(&r.w, act, N) + myna__quant_dot_f32(q, &r.w, x, N);
        (void)sink;
        free(act);
      }
      row_free(&r);
    }
  }
}

/* A NaN among activations or in a scale reaches the result. */
static void test_nan_spreads(void **state) {
  enum { N = 512 };
  test_rng rng = test_rng_new(18);
  static float x[N];
  EACH_TYPE(q) {
    if (!q->dot) continue;
    testrow r = row_new(q->type, N, 64, MYNA_F16);
    row_fill(&r, q, &rng);
    for (int bad = 0; bad < 3; bad++) {
      for (int k = 0; k < N; k++) x[k] = test_normal(&rng);
      x[300] = bad == 0 ? NAN : bad == 1 ? INFINITY : -INFINITY;
      void *act = act_new(q->act, x, N);
      float v = q->dot(&r.w, act, N);
      bool integer = q->act == MYNA__ACT_Q8_32 || q->act == MYNA__ACT_Q8_256;
      if (integer || bad == 0 ? !isnan(v) : isfinite(v)) fail_msg("%s: %g", myna_dtype_name(q->type), (double)v);
      free(act);
    }
    row_free(&r);
  }
  for (size_t i = 0; i < MYNA__COUNT(floats_at); i++) {
    const myna__quant *q = myna__quant_get(floats_at[i].t);
    testrow r = row_new(q->type, N, 0, MYNA_F32);
    row_fill(&r, q, &rng);
    for (int k = 0; k < N; k++) x[k] = test_normal(&rng);
    void *act = act_new(q->act, x, N);
    put_float(q->type, row_plane(&r, 0) + floats_at[i].d, NAN);
    assert_true(isnan(q->dot(&r.w, act, N)));
    free(act);
    row_free(&r);
  }
}

/* ---- conversions ---- */

/* binary16 from its definition. */
static double half_value(uint16_t h) {
  int exp = h >> 10 & 31, man = h & 0x3ff;
  double v = exp ? ldexp(1024 + man, exp - 25) : ldexp(man, -24);
  return h & 0x8000 ? -v : v;
}

static void test_f16(void **state) {
  for (unsigned h = 0; h < 0x10000; h++) {
    float f = myna__f16_to_f32((uint16_t)h);
    if ((h & 0x7fff) > 0x7c00) {
      uint32_t bits; /* quiet, sign and payload kept */
      memcpy(&bits, &f, 4);
      assert_int_equal(bits, (h & 0x8000) << 16 | 0x7fc00000 | (h & 0x3ff) << 13);
      assert_int_equal(myna__f32_to_f16(f), h | 0x200);
      continue;
    }
    if ((h & 0x7fff) == 0x7c00)
      assert_true(isinf(f) && (f < 0) == (h >> 15));
    else
      assert_true((double)f == half_value((uint16_t)h) && !signbit(f) == !(h & 0x8000));
    assert_int_equal(myna__f32_to_f16(f), h);
  }
  /* between neighbours: ties to even, a hair off the tie to the nearer */
  for (unsigned h = 0; h < 0x7c00; h++) {
    double a = half_value((uint16_t)h), b = h + 1 < 0x7c00 ? half_value((uint16_t)(h + 1)) : 65536.0;
    float mid = (float)((a + b) / 2);
    unsigned even = h & 1 ? h + 1 : h;
    assert_int_equal(myna__f32_to_f16(mid), even);
    assert_int_equal(myna__f32_to_f16(-mid), even | 0x8000);
    assert_int_equal(myna__f32_to_f16(nextafterf(mid, 0)), h);
    assert_int_equal(myna__f32_to_f16(nextafterf(mid, 1e9f)), h + 1);
  }
  assert_int_equal(myna__f32_to_f16(FLT_MAX), 0x7c00);
  assert_int_equal(myna__f32_to_f16(-INFINITY), 0xfc00);
  assert_int_equal(myna__f32_to_f16(0x1p-149f), 0);
  assert_int_equal(myna__f32_to_f16(-0x1p-26f), 0x8000);
}

static void test_bf16(void **state) {
  for (uint32_t h = 0; h < 0x10000; h++) {
    float f = myna__bf16_to_f32((uint16_t)h);
    uint32_t bits;
    memcpy(&bits, &f, 4);
    assert_int_equal(bits, h << 16);
    if ((h & 0x7fff) > 0x7f80) {
      assert_int_equal(myna__f32_to_bf16(f), h | 0x40);
      continue;
    }
    assert_int_equal(myna__f32_to_bf16(f), h);
    if ((h & 0x7fff) == 0x7f80) continue;
    /* a quarter, half and three quarters of the way to the next */
    const uint32_t add[] = {0x7fff, 0x8000, 0x8001}, want[] = {h, h + (h & 1), h + 1};
    for (int i = 0; i < 3; i++) {
      uint32_t u = (h << 16) + add[i];
      memcpy(&f, &u, 4);
      assert_int_equal(myna__f32_to_bf16(f), want[i]);
    }
  }
  /* a NaN whose payload is only in the low half stays a NaN */
  uint32_t low = 0x7f800001;
  float f;
  memcpy(&f, &low, 4);
  assert_true(isnan(myna__bf16_to_f32(myna__f32_to_bf16(f))));
}

static void test_ints(void **state) {
  const struct {
    myna_dtype t;
    uint64_t bits;
    float want;
  } cases[] = {{MYNA_I8, 0x80, -128},
               {MYNA_I8, 0x7f, 127},
               {MYNA_U8, 0xff, 255},
               {MYNA_I16, 0x8000, -32768},
               {MYNA_U16, 0xffff, 65535},
               {MYNA_I32, 0xffffffff, -1},
               {MYNA_I32, 0x80000000, -0x1p31f},
               {MYNA_U32, 0xffffffff, 0x1p32f},
               {MYNA_I64, (uint64_t)1 << 63, -0x1p63f},
               {MYNA_U64, UINT64_MAX, 0x1p64f},
               {MYNA_I64, 16777217, 16777216},
               {MYNA_U64, 3, 3}};
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    uint8_t raw[24];
    float y[2];
    int size = myna_dtype_bytes(cases[i].t);
    memcpy(raw + 1, &cases[i].bits, (size_t)size);
    memset(raw + 1 + size, 0, (size_t)size);
    myna__quant_get(cases[i].t)->to_f32(y, &(myna__wrow){.p = {raw + 1}}, 2);
    assert_true(y[0] == cases[i].want && y[1] == 0);
  }
  double big[2] = {1e300, -0x1.fffffffp0};
  float y[2];
  myna__quant_get(MYNA_F64)->to_f32(y, &(myna__wrow){.p = {(uint8_t *)big}}, 2);
  assert_true(isinf(y[0]) && y[1] == -2.0f);
}

/* ---- fields that decoding does not show ---- */

static void test_fields(void **state) {
  test_rng rng = test_rng_new(20);
  float x[256], y[64];
  for (int k = 0; k < 256; k++) x[k] = test_normal(&rng);
  /* activation formats carry sums */
  uint8_t q8_1[36], q8_k[292];
  myna__quant_get(MYNA_Q8_1)->from_f32(q8_1, x, NULL, 32);
  int sum = 0;
  float amax = 0;
  uint16_t s;
  for (int j = 0; j < 32; j++) sum += (int8_t)q8_1[4 + j], amax = fmaxf(amax, fabsf(x[j]));
  memcpy(&s, q8_1 + 2, 2);
  assert_int_equal(s, myna__f32_to_f16((float)sum * (amax / 127.0f)));
  myna__quant_get(MYNA_Q8_K)->from_f32(q8_k, x, NULL, 256);
  for (int g = 0; g < 16; g++) {
    int16_t stored;
    memcpy(&stored, q8_k + 260 + 2 * g, 2);
    sum = 0;
    for (int j = 0; j < 16; j++) sum += (int8_t)q8_k[4 + 16 * g + j];
    assert_int_equal(stored, sum);
  }
  /* every E4M3 scale of NVFP4, sign ignored, NaN as 0; codes 2 are 1.0 */
  for (int e = 0; e < 256; e++) {
    uint8_t b[36];
    memset(b, 0x22, sizeof b);
    memset(b, e, 4);
    myna__quant_get(MYNA_NVFP4)->to_f32(y, &(myna__wrow){.p = {b}}, 64);
    int exp = e >> 3 & 15, man = e & 7;
    double want = e == 0x7f ? 0 : exp ? ldexp(8 + man, exp - 10) : ldexp(man, -9);
    for (int j = 0; j < 64; j++) assert_true((double)y[j] == want);
  }
  /* its quantizer takes the nearest scale, up to the largest */
  for (double most = 1.0 / 64; most < 5000; most *= 1.07) {
    uint8_t b[36];
    for (int k = 0; k < 64; k++) x[k] = k % 16 ? 0 : (float)most;
    myna__quant_get(MYNA_NVFP4)->from_f32(b, x, NULL, 64);
    myna__quant_get(MYNA_NVFP4)->to_f32(y, &(myna__wrow){.p = {b}}, 64);
    double want = fmin(most, 6 * 448), step = most / 6 < 1.0 / 64 ? 6.0 / 512 : want / 16;
    if (!(fabs(y[0] - want) <= step * 1.0001)) fail_msg("%g became %g", most, (double)y[0]);
  }
  /* every E8M0 exponent of MXFP4 */
  for (int e = 0; e < 256; e++) {
    uint8_t b[17];
    memset(b, 0xa2, sizeof b); /* 1.0 and -1.0 */
    b[0] = (uint8_t)e;
    myna__quant_get(MYNA_MXFP4)->to_f32(y, &(myna__wrow){.p = {b}}, 32);
    assert_true(y[0] == (float)ldexp(1, e - 127) && y[31] == -y[0]);
  }
}

/* ---- MLX4 ---- */

static void test_mlx4(void **state) {
  /* the layout, by hand: weight j in nibble j%8 of word j/8 */
  uint32_t words[8];
  for (int w = 0; w < 8; w++) words[w] = 0x76543210u + 0x11111111u * (uint32_t)w;
  uint16_t scales[2] = {myna__f32_to_bf16(0.5f), myna__f32_to_bf16(-2.0f)},
           biases[2] = {myna__f32_to_bf16(-1.0f), myna__f32_to_bf16(8.0f)};
  myna__wrow w = {.p = {(uint8_t *)words, (uint8_t *)scales, (uint8_t *)biases}, .group = 32, .scale_type = MYNA_BF16};
  float y[64];
  myna__quant_get(MYNA_MLX4)->to_f32(y, &w, 64);
  for (int j = 0; j < 64; j++) {
    int q = (j % 8 + j / 8) & 15;
    assert_true(y[j] == (j < 32 ? 0.5f * (float)q - 1.0f : -2.0f * (float)q + 8.0f));
  }
  /* the quantizer: zero and the extreme are exact with f32 scales, the rest within half a step */
  enum { N = 256 };
  test_rng rng = test_rng_new(19);
  for (int group = 32; group <= 128; group *= 2) {
    float x[N], z[N];
    testrow r = row_new(MYNA_MLX4, N, group, MYNA_F32);
    for (int k = 0; k < N; k++) x[k] = k % group == 5 ? 0 : test_normal(&rng);
    myna__mlx4_from_f32(row_plane(&r, 0), row_plane(&r, 1), row_plane(&r, 2), MYNA_F32, group, x, N);
    myna__quant_get(MYNA_MLX4)->to_f32(z, &r.w, N);
    for (int k = 0; k < N; k += group) {
      float lo = x[k], hi = x[k], scale;
      for (int j = k; j < k + group; j++) lo = fminf(lo, x[j]), hi = fmaxf(hi, x[j]);
      memcpy(&scale, row_plane(&r, 1) + k / group * 4, 4);
      float extreme = fabsf(lo) > fabsf(hi) ? lo : hi;
      for (int j = k; j < k + group; j++) {
        if (x[j] == extreme) assert_true(fabsf(z[j] - x[j]) <= 1e-6f * fabsf(extreme));
        if (x[j] == 0) assert_true(fabsf(z[j]) <= 1e-6f * fabsf(extreme));
        /* the far end may lie up to a step beyond the last code: zero was moved onto one */
        if (fabsf(z[j] - x[j]) > 1.01f * fabsf(scale))
          fail_msg("group %d: %g became %g, scale %g", group, (double)x[j], (double)z[j], (double)scale);
      }
    }
    row_free(&r);
  }
}

/* ---- codebooks ---- */

static void check_grid(const void *grid, int entries, int n, const char *levels) {
  const int8_t *p = grid;
  for (int i = 0; i < entries; i++)
    for (int j = 0; j < n; j++) {
      char v[8];
      snprintf(v, sizeof v, "%d", p[i * n + j]);
      if (!is_one_of(v, levels)) fail_msg("entry %d holds %s", i, v);
      if (i > 0 && j == n - 1 && memcmp(p + i * n, p + i * n - n, (size_t)n) == 0) fail_msg("entry %d twice", i);
    }
}

static void test_grids(void **state) {
  const myna__grids *g = myna__grids_get();
  assert_ptr_equal(g, myna__grids_get());
  check_grid(g->iq2_xxs, 256, 8, "8 25 43");
  check_grid(g->iq2_xs, 512, 8, "8 25 43");
  check_grid(g->iq2_s, 1024, 8, "8 25 43");
  check_grid(g->iq1, 2048, 8, "-1 0 1");
  check_grid(g->iq3_xxs, 256, 4, "4 12 20 28 36 44 52 62");
  check_grid(g->iq3_s, 512, 4, "1 3 5 7 9 11 13 15");
  for (unsigned s = 0; s < 256; s++) {
    assert_int_equal(__builtin_popcount(myna__signs7(s)) % 2, 0);
    assert_int_equal(myna__signs7(s) & 127, s & 127);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table),      cmocka_unit_test(test_published),     cmocka_unit_test(test_fixtures),
      cmocka_unit_test(test_round_trip), cmocka_unit_test(test_odd_rows),      cmocka_unit_test(test_imatrix_counts),
      cmocka_unit_test(test_dot),        cmocka_unit_test(test_dot_f32_order), cmocka_unit_test(test_contract),
      cmocka_unit_test(test_hostile),    cmocka_unit_test(test_nan_spreads),   cmocka_unit_test(test_f16),
      cmocka_unit_test(test_bf16),       cmocka_unit_test(test_ints),          cmocka_unit_test(test_mlx4),
      cmocka_unit_test(test_fields),     cmocka_unit_test(test_grids),
  };
  return cmocka_run_group_tests_name("quants", tests, NULL, NULL);
}
