/* Row operations at every CPU level, against double: norms, softmax, gates, element-wise functions, rotary embedding. All levels
 * give the bits of the reference, for any number of threads; outputs end between canaries; in place is the same as apart. */
#include "attn_bench.h"
#include "kernels/kernels.h"
#include "test.h"
#include <float.h>
#include <math.h>

enum { THREADS = 3, CANARY = 16, MAX_ROW = 5000 };
static test_rng rng;
static myna__pool *pools[THREADS + 1]; /* [threads]; pools[1] is NULL */

static uint32_t bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
static bool force(int level) {
  if (!myna__cpu_supported((myna__cpu_level)level)) return false;
  myna__cpu_force((myna__cpu_level)level);
  return true;
}
#define EACH_LEVEL(l)                       \
  for (int l = 0; l < MYNA__CPU_COUNT; l++) \
    if (force(l))

/* ---- a row operation as data: y = op(a, b), [rows][n] with ld > n ---- */

typedef struct op {
  const char *name;
  double bound; /* of the error, times what the reference says */
  int64_t rows, n, ld;
  const float *w, *b; /* [n] or NULL */
  float p;            /* eps or scale */
  myna__gate gate;
  void (*run)(const struct op *o, float *y, const float *x, const float *other, myna__pool *pool);
  /* y and the size that errors are measured against */
  void (*want)(const struct op *o, const float *x, const float *other, double *y, double *size);
} op;

static const float canary = -12345.678f;

/* Runs o in every way at every level and compares. */
static void check(const op *o) {
  int64_t total = o->rows * o->ld;
  size_t bytes = (size_t)(total + 2 * CANARY) * sizeof(float);
  float *x = myna__alloc(bytes), *other = myna__alloc(bytes), *y = myna__alloc(bytes), *ref = myna__alloc(bytes);
  double *want = myna__alloc((size_t)o->n * sizeof *want), *size = myna__alloc((size_t)o->n * sizeof *size);
  for (int64_t i = 0; i < total + 2 * CANARY; i++)
    x[i] = test_normal(&rng) * (test_int(&rng, 20) ? 1.0f : 30.0f), other[i] = test_normal(&rng);
  EACH_LEVEL(l)
  for (int how = 0; how < THREADS + 2; how++) { /* 0..: threads; then over x, over other */
    int threads = 1 + how % THREADS;
    for (int64_t i = 0; i < total + 2 * CANARY; i++) y[i] = canary;
    float *to = y + CANARY;
    const float *from = x, *with = other;
    if (how >= THREADS)
      for (int64_t i = 0; i < o->rows; i++)
        memcpy(to + i * o->ld, (how == THREADS ? x : other) + i * o->ld, (size_t)o->n * sizeof *to);
    if (how == THREADS) from = to;
    if (how == THREADS + 1) with = to;
    o->run(o, to, from, with, pools[threads]);
    if (l == MYNA__CPU_REF && how == 0) memcpy(ref, y, bytes);
    for (int64_t i = 0; i < total + 2 * CANARY; i++)
      if (bits(y[i]) != bits(ref[i]))
        fail_msg("%s n %lld %s way %d: [%lld] is %.9g, ref %.9g", o->name, (long long)o->n, myna__cpu_name(myna__cpu()),
                 how, (long long)(i - CANARY), (double)y[i], (double)ref[i]);
  }
  for (int64_t i = -CANARY; i < total + CANARY; i++)
    if ((i < 0 || i >= total || i % o->ld >= o->n) && bits(ref[i + CANARY]) != bits(canary))
      fail_msg("%s: a write outside at %lld", o->name, (long long)i);
  for (int64_t r = 0; r < o->rows; r++) {
    o->want(o, x + r * o->ld, other + r * o->ld, want, size);
    for (int64_t i = 0; i < o->n; i++) {
      double got = (double)ref[CANARY + r * o->ld + i];
      if (!(fabs(got - want[i]) <= o->bound * size[i] + 1e-37) && !(got == INFINITY && want[i] > FLT_MAX))
        fail_msg("%s n %lld: [%lld][%lld] is %.9g, not %.9g (error %.3g)", o->name, (long long)o->n, (long long)r,
                 (long long)i, got, want[i], fabs(got - want[i]) / size[i]);
    }
  }
  myna__free(x, bytes), myna__free(other, bytes), myna__free(y, bytes), myna__free(ref, bytes);
  myna__free(want, (size_t)o->n * sizeof *want), myna__free(size, (size_t)o->n * sizeof *size);
}

/* Tails 1..40, one large row, and enough rows for several units. */
static void check_sizes(op o) {
  for (int64_t n = 1; n <= 40; n++) o.rows = 3, o.n = n, o.ld = n + 2, check(&o);
  o.rows = 2, o.n = 4097, o.ld = 4100;
  check(&o);
  o.rows = 70, o.n = 600, o.ld = 601;
  check(&o);
}

/* ---- norms and softmax ---- */

static void run_rms(const op *o, float *y, const float *x, const float *b, myna__pool *p) {
  myna__rms_norm(y, o->ld, x, o->ld, o->w, o->p, o->rows, o->n, p);
}
static void want_rms(const op *o, const float *x, const float *b, double *y, double *size) {
  double s = 0;
  for (int64_t i = 0; i < o->n; i++) s += (double)x[i] * (double)x[i];
  double r = 1 / sqrt(s / (double)o->n + (double)o->p);
  for (int64_t i = 0; i < o->n; i++) y[i] = (double)x[i] * r * (o->w ? (double)o->w[i] : 1), size[i] = fabs(y[i]);
}

static void run_layer(const op *o, float *y, const float *x, const float *b, myna__pool *p) {
  myna__layer_norm(y, o->ld, x, o->ld, o->w, o->b, o->p, o->rows, o->n, p);
}
static void want_layer(const op *o, const float *x, const float *b, double *y, double *size) {
  double mean = 0, s = 0, big = 0;
  for (int64_t i = 0; i < o->n; i++) mean += (double)x[i] / (double)o->n, big = fmax(big, fabs((double)x[i]));
  for (int64_t i = 0; i < o->n; i++) s += ((double)x[i] - mean) * ((double)x[i] - mean);
  double r = 1 / sqrt(s / (double)o->n + (double)o->p);
  for (int64_t i = 0; i < o->n; i++) {
    double w = o->w ? (double)o->w[i] : 1, c = o->b ? (double)o->b[i] : 0;
    y[i] = ((double)x[i] - mean) * r * w + c;
    size[i] = big * r * fabs(w) + fabs(c);
  }
}

static void run_softmax(const op *o, float *y, const float *x, const float *b, myna__pool *p) {
  myna__softmax(y, o->ld, x, o->ld, o->p, o->rows, o->n, p);
}
static void want_softmax(const op *o, const float *x, const float *b, double *y, double *size) {
  double max = -INFINITY, s = 0;
  for (int64_t i = 0; i < o->n; i++) max = fmax(max, (double)x[i] * (double)o->p);
  for (int64_t i = 0; i < o->n; i++) s += exp((double)x[i] * (double)o->p - max);
  for (int64_t i = 0; i < o->n; i++)
    y[i] = exp((double)x[i] * (double)o->p - max) / s, size[i] = y[i] * (2 + max - (double)x[i] * (double)o->p);
}

static void test_norms(void **state) {
  (void)state;
  float w[MAX_ROW], b[MAX_ROW];
  for (int i = 0; i < MAX_ROW; i++) w[i] = test_normal(&rng), b[i] = test_normal(&rng);
  check_sizes((op){"rms", 1e-6, .w = w, .p = 1e-5f, .run = run_rms, .want = want_rms});
  check_sizes((op){"rms without weight", 1e-6, .p = 1e-5f, .run = run_rms, .want = want_rms});
  for (int i = 0; i < 4; i++)
    check_sizes((op){"layer", 3e-6, .w = i & 1 ? w : NULL, .b = i & 2 ? b : NULL, .p = 1e-3f, .run = run_layer,
                     .want = want_layer});
}

static void test_softmax(void **state) {
  (void)state;
  check_sizes((op){"softmax", 1e-6, .p = 1, .run = run_softmax, .want = want_softmax});
  check_sizes((op){"softmax scaled", 1e-6, .p = 0.125f, .run = run_softmax, .want = want_softmax});
}

/* Masked entries are exact zeros and change nothing; a row that sees nothing is not read past its end. */
static void test_softmax_masked(void **state) {
  (void)state;
  EACH_LEVEL(l)
  for (int64_t n = 1; n < 40; n++) {
    float x[40], y[40], s = 0;
    for (int64_t i = 0; i < n; i++) x[i] = i % 3 == 1 ? -INFINITY : (float)i;
    myna__softmax(y, n, x, n, 1, 1, n, NULL);
    for (int64_t i = 0; i < n; i++) {
      if (i % 3 == 1) assert_true(y[i] == 0);
      s += y[i];
    }
    assert_true(fabsf(s - 1) < 1e-6f);
  }
}

/* ---- gates and functions ---- */

static double exact(myna__unary_fn f, double x) {
  switch (f) {
  case MYNA__FN_EXP: return exp(x);
  case MYNA__FN_SILU: return x / (1 + exp(-x));
  case MYNA__FN_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case MYNA__FN_GELU_ERF: return 0.5 * x * (1 + erf(x / sqrt(2)));
  case MYNA__FN_SIGMOID: return 1 / (1 + exp(-x));
  default: return tanh(x);
  }
}

static void run_gated(const op *o, float *y, const float *x, const float *b, myna__pool *p) {
  myna__gated(y, o->ld, x, o->ld, b, o->ld, o->gate, o->rows, o->n, p);
}
static void want_gated(const op *o, const float *x, const float *b, double *y, double *size) {
  for (int64_t i = 0; i < o->n; i++) {
    double a = (double)x[i];
    if (o->gate == MYNA__GATE_SILU) a = exact(MYNA__FN_SILU, a);
    if (o->gate == MYNA__GATE_GELU_TANH) a = exact(MYNA__FN_GELU_TANH, a);
    if (o->gate == MYNA__GATE_GELU_ERF) a = exact(MYNA__FN_GELU_ERF, a);
    if (o->gate == MYNA__GATE_RELU) a = a > 0 ? a : 0;
    y[i] = a * (double)b[i];
    size[i] = fmax(fabs(a), fabs((double)x[i]) * 0.1) * fabs((double)b[i]);
  }
}

static void test_gates(void **state) {
  (void)state;
  static const myna__gate gates[] = {MYNA__GATE_SILU, MYNA__GATE_GELU_TANH, MYNA__GATE_GELU_ERF, MYNA__GATE_RELU};
  for (int i = 0; i < 4; i++) check_sizes((op){"gate", 3e-6, .gate = gates[i], .run = run_gated, .want = want_gated});
}

static void run_unary(const op *o, float *y, const float *x, const float *b, myna__pool *p) {
  for (int64_t r = 0; r < o->rows; r++) myna__unary((myna__unary_fn)o->gate, y + r * o->ld, x + r * o->ld, o->n);
}
static void want_unary(const op *o, const float *x, const float *b, double *y, double *size) {
  for (int64_t i = 0; i < o->n; i++)
    y[i] = exact((myna__unary_fn)o->gate, (double)x[i]),
    size[i] = fmax(fabs(y[i]), (int)o->gate == MYNA__FN_EXP ? 0 : fabs((double)x[i]) * 0.1);
}

static void test_unary(void **state) {
  (void)state;
  for (int f = 0; f < MYNA__FN_COUNT; f++)
    check_sizes((op){"unary", 3e-6, .gate = (myna__gate)f, .run = run_unary, .want = want_unary});
}

static void test_add(void **state) {
  (void)state;
  float a[41], b[41], y[41];
  for (int i = 0; i < 41; i++) a[i] = test_normal(&rng), b[i] = test_normal(&rng);
  for (int n = 1; n <= 40; n++) {
    y[n] = canary;
    myna__add(y, a, b, n);
    for (int i = 0; i < n; i++) assert_int_equal(bits(y[i]), bits(a[i] + b[i]));
    assert_int_equal(bits(y[n]), bits(canary));
  }
}

/* ---- rotary embedding ---- */

/* Rotation in double with the angle as the definition has it: pos * frequency, the frequency rounded to float once. */
static void want_rope(const myna__rope_args *a, int64_t t, const float *x, double *y) {
  double two_pi = 2 * M_PI, n = (double)a->n_rot, scale = a->attn_factor != 0 ? (double)a->attn_factor : 1, lo = 0,
         hi = 1;
  if (a->ext_factor != 0) { /* YaRN (Peng et al. 2023, as in llama.cpp and transformers) */
    lo = floor(n * log((double)a->orig_ctx / ((double)a->beta_fast * two_pi)) / (2 * log((double)a->base)));
    hi = ceil(n * log((double)a->orig_ctx / ((double)a->beta_slow * two_pi)) / (2 * log((double)a->base)));
    lo = lo < 0 ? 0 : lo;
    hi = hi > n - 1 ? n - 1 : hi;
    scale *= 1 + 0.1 * log(1 / (double)a->freq_scale);
  }
  for (int64_t i = a->n_rot; i < a->dim; i++) y[i] = (double)x[i];
  for (int64_t i = 0; i < a->n_rot / 2; i++) {
    double freq = pow((double)a->base, -2 * (double)i / n), inter = freq * (double)a->freq_scale;
    if (a->ext_factor != 0) {
      double ramp = 1 - fmin(1, fmax(0, ((double)i - lo) / fmax(0.001, hi - lo)));
      ramp *= (double)a->ext_factor;
      inter = inter * (1 - ramp) + freq * ramp;
    }
    if (a->factors) inter /= (double)a->factors[i];
    double angle = (double)((float)a->pos[t] * (float)inter) * (a->inverse ? -1 : 1), c = cos(angle) * scale,
           s = sin(angle) * scale;
    int64_t u = a->interleaved ? 2 * i : i, v = a->interleaved ? 2 * i + 1 : i + a->n_rot / 2;
    y[u] = (double)x[u] * c - (double)x[v] * s;
    y[v] = (double)x[u] * s + (double)x[v] * c;
  }
}

/* Every level: near double, same bits as the reference, apart and in place. */
static void check_rope(myna__rope_args a) {
  int64_t width = a.n_head * a.dim, ld = width + 3, total = a.n_tok * ld;
  size_t bytes = (size_t)total * sizeof(float);
  float *x = myna__alloc(bytes), *y = myna__alloc(bytes), *ref = myna__alloc(bytes);
  double want[1024];
  for (int64_t i = 0; i < total; i++) x[i] = test_normal(&rng);
  EACH_LEVEL(l)
  for (int how = 0; how < THREADS + 1; how++) {
    for (int64_t i = 0; i < total; i++) y[i] = how == THREADS && i % ld < width ? x[i] : canary;
    a.y = y, a.x = how == THREADS ? y : x, a.ldy = a.ldx = ld;
    myna__rope(&a, pools[1 + how % THREADS]);
    if (l == MYNA__CPU_REF && how == 0) memcpy(ref, y, bytes);
    for (int64_t i = 0; i < total; i++)
      if (bits(y[i]) != bits(ref[i]))
        fail_msg("rope %s way %d: [%lld] is %.9g, ref %.9g", myna__cpu_name(myna__cpu()), how, (long long)i,
                 (double)y[i], (double)ref[i]);
  }
  for (int64_t t = 0; t < a.n_tok; t++) {
    for (int64_t i = width; i < ld; i++) assert_int_equal(bits(ref[t * ld + i]), bits(canary));
    for (int64_t h = 0; h < a.n_head; h++) {
      want_rope(&a, t, x + t * ld + h * a.dim, want);
      for (int64_t i = 0; i < a.dim; i++) {
        double got = (double)ref[t * ld + h * a.dim + i];
        if (!(fabs(got - want[i]) <= 4e-6))
          fail_msg("rope pos %d [%lld] of %lld: %.9g, not %.9g", a.pos[t], (long long)i, (long long)a.dim, got,
                   want[i]);
      }
    }
  }
  myna__free(x, bytes), myna__free(y, bytes), myna__free(ref, bytes);
}

static void test_rope(void **state) {
  (void)state;
  static const int32_t pos[] = {0, 1, 2, 17, 63, 1000, 4097, 32767, 131071, 1000000, -1, -300};
  float factors[64];
  for (int i = 0; i < 64; i++) factors[i] = 1.0f + (float)i / 7;
  for (int mode = 0; mode < 16; mode++)
    for (int64_t dim = 2; dim <= 128; dim += dim < 40 ? 2 : 11) {
      myna__rope_args a = {.pos = pos,
                           .n_tok = 12,
                           .n_head = 3,
                           .dim = dim,
                           .n_rot = mode & 4 ? (dim / 4 + 1) * 2 : dim / 2 * 2,
                           .interleaved = mode & 1,
                           .base = mode & 2 ? 500000 : 10000,
                           .freq_scale = mode & 8 ? 0.25f : 1,
                           .inverse = mode & 2,
                           .factors = mode & 4 ? factors : NULL,
                           .attn_factor = mode == 5 ? 1.5f : 0};
      if (a.n_rot > dim) a.n_rot = dim / 2 * 2;
      check_rope(a);
    }
}

static void test_rope_many(void **state) {
  (void)state;
  int32_t pos[300];
  for (int i = 0; i < 300; i++) pos[i] = (int32_t)test_int(&rng, 200000);
  check_rope(
      (myna__rope_args){.pos = pos, .n_tok = 300, .n_head = 4, .dim = 64, .n_rot = 64, .base = 1e6f, .freq_scale = 1});
  check_rope((myna__rope_args){.pos = pos,
                               .n_tok = 300,
                               .n_head = 1,
                               .dim = 256,
                               .n_rot = 256,
                               .base = 1e4f,
                               .freq_scale = 1,
                               .interleaved = true});
}

static void test_yarn(void **state) {
  (void)state;
  static const int32_t pos[] = {0, 5, 4095, 8191, 131000};
  for (int i = 0; i < 6; i++)
    check_rope((myna__rope_args){.pos = pos,
                                 .n_tok = 5,
                                 .n_head = 2,
                                 .dim = i & 1 ? 64 : 128,
                                 .n_rot = i & 1 ? 64 : 128,
                                 .base = i & 2 ? 10000 : 1000000,
                                 .freq_scale = i & 1 ? 0.25f : 1.0f / 32,
                                 .ext_factor = i == 5 ? 0.5f : 1,
                                 .attn_factor = i & 4 ? 0.8f : 0,
                                 .beta_fast = 32,
                                 .beta_slow = 1,
                                 .orig_ctx = i & 2 ? 4096 : 32768});
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--bench") == 0) return bench_rows(argc - 1, argv + 1);
  rng = test_rng_new(20261122);
  for (int n = 2; n <= THREADS; n++) ASSERT_OK(myna__pool_new(&pools[n], n, false, NULL));
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_norms), cmocka_unit_test(test_softmax),   cmocka_unit_test(test_softmax_masked),
      cmocka_unit_test(test_gates), cmocka_unit_test(test_unary),     cmocka_unit_test(test_add),
      cmocka_unit_test(test_rope),  cmocka_unit_test(test_rope_many), cmocka_unit_test(test_yarn),
  };
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  for (int n = 2; n <= THREADS; n++) myna__pool_free(pools[n]);
  return rc;
}
