/* random.c: counter-based random numbers: Philox4x32-10 (Salmon et al. 2011). Element i is a function of (key, i)
 * alone, made with +, -, *, / and sqrt only: the same bits on every machine and for every split. */
#include "graph/build.h"
#include <math.h>

/* ---- bits ---- */

static void philox(uint64_t key, uint64_t counter, uint32_t out[4]) {
  uint32_t x[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0}, k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)0xD2511F53u * x[0], b = (uint64_t)0xCD9E8D57u * x[2];
    uint32_t y[4] = {(uint32_t)(b >> 32) ^ x[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ x[3] ^ k1, (uint32_t)a};
    memcpy(x, y, sizeof x);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  memcpy(out, x, sizeof x);
}

/* (0, 1): never an end, exact in double. */
static double open_unit(uint32_t bits) { return ((double)bits + 0.5) * 0x1p-32; }

/* ---- log, sin and cos without libm, whose last bits differ between machines; errors below 1e-15 ---- */

/* x = m 2^e, m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m - 1) / (m + 1)). x normal and positive. */
static double log_exact(double x) {
  uint64_t u;
  memcpy(&u, &x, sizeof u);
  int e = (int)(u >> 52) - 1022;
  u = (u & 0xFFFFFFFFFFFFFull) | 0x3FE0000000000000ull;
  double m;
  memcpy(&m, &u, sizeof m);
  if (m < 0.70710678118654752440) m *= 2, e--;
  double s = (m - 1) / (m + 1), z = s * s, p = 0;
  for (int k = 21; k >= 1; k -= 2) p = p * z + 1.0 / k;
  return 2 * s * p + e * 0.69314718055994530942;
}

/* sin and cos of t in [0, pi/4]. */
static void sin_cos(double t, double *s, double *c) {
  double z = t * t;
  *s = *c = 1;
  for (int k = 8; k >= 1; k--) {
    *s = 1 - *s * z / (double)(2 * k * (2 * k + 1));
    *c = 1 - *c * z / (double)((2 * k - 1) * 2 * k);
  }
  *s *= t;
}

/* sin and cos of 2 pi u, u in [0, 1): by octants. */
static void sin_cos_turn(double u, double *s, double *c) {
  int octant = (int)(u * 8);
  double f = u * 8 - octant, a, b;
  sin_cos((octant & 1 ? 1 - f : f) * 0.78539816339744830962, &a, &b);
  bool swap = ((octant + 1) & 2) != 0; /* octants 1, 2, 5, 6 */
  *s = swap ? b : a;
  *c = swap ? a : b;
  if (octant >= 4) *s = -*s;
  if (octant >= 2 && octant < 6) *c = -*c;
}

/* ---- elements: four per counter ---- */

typedef struct random_params {
  myna__spec spec;
  uint64_t key;
  double a, b; /* lo, hi or mean, std */
  bool normal;
} random_params;

static void four(const random_params *p, uint64_t counter, float *y) {
  uint32_t bits[4];
  philox(p->key, counter, bits);
  if (!p->normal) { /* 24 bits; hi itself comes out only where rounding to float gives it */
    for (int i = 0; i < 4; i++) y[i] = (float)(p->a + (p->b - p->a) * ((double)(bits[i] >> 8) * 0x1p-24));
    return;
  }
  for (int i = 0; i < 4; i += 2) { /* Box-Muller */
    double s, c, r = sqrt(-2 * log_exact(open_unit(bits[i])));
    sin_cos_turn((double)bits[i + 1] * 0x1p-32, &s, &c);
    y[i] = (float)(p->a + p->b * r * c);
    y[i + 1] = (float)(p->a + p->b * r * s);
  }
}

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  (void)err;
  out[0] = ((const random_params *)n->params)->spec;
  return 0;
}

enum { PER_UNIT = 4096 }; /* elements, a multiple of 4 */

static void unit(void *arg, int64_t u, int worker) {
  const myna__run *r = arg;
  int64_t size = myna__tensor_size(&r->out[0]), end = MYNA__MIN((u + 1) * PER_UNIT, size);
  float *y = (float *)(void *)r->out[0].data, last[4];
  (void)worker;
  for (int64_t i = u * PER_UNIT; i < end; i += 4) {
    float *to = i + 4 <= end ? y + i : last;
    four(r->params, (uint64_t)i / 4, to);
    if (to == last) memcpy(y + i, last, (size_t)(end - i) * sizeof *y);
  }
}

static void run(const myna__run *r) {
  enum { FEW = 4 };
  int64_t n = (myna__tensor_size(&r->out[0]) + PER_UNIT - 1) / PER_UNIT;
  myna__pool_run(n <= FEW ? NULL : r->pool, n, unit, (void *)(uintptr_t)r);
}

const myna__op myna__op_random_uniform = {
    .name = "random_uniform", .flags = MYNA__OP_NOGRAD, .shape = shape, .run = run};
const myna__op myna__op_random_normal = {.name = "random_normal", .flags = MYNA__OP_NOGRAD, .shape = shape, .run = run};

/* Key 0: the context's seed and how many such arrays it has made. */
static uint64_t key_or_next(myna_ctx *c, uint64_t key) {
  if (key) return key;
  uint32_t bits[4];
  philox(c->seed, ++c->random_counter, bits);
  key = (uint64_t)bits[0] << 32 | bits[1];
  return key ? key : 1;
}

static myna_array *make(myna_ctx *c, const myna__op *op, uint64_t key, const int64_t *dims, int n_dims, double a,
                        double b, bool normal) {
  random_params p = {.a = a, .b = b, .normal = normal};
  if (!myna__check_shape(c, op->name, MYNA_F32, dims, n_dims, false, &p.spec)) return NULL;
  p.key = key_or_next(c, key);
  return myna__apply1(c, op, NULL, 0, &p, sizeof p);
}

myna_array *myna_random_uniform(myna_ctx *c, uint64_t key, const int64_t *dims, int n_dims, double lo, double hi) {
  return make(c, &myna__op_random_uniform, key, dims, n_dims, lo, hi, false);
}

myna_array *myna_random_normal(myna_ctx *c, uint64_t key, const int64_t *dims, int n_dims, double mean, double std) {
  return make(c, &myna__op_random_normal, key, dims, n_dims, mean, std, true);
}

/* ---- categorical: the largest of logit + Gumbel noise ---- */

typedef struct categorical_params {
  uint64_t key;
} categorical_params;

static int categorical_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *a = &n->in[0]->spec;
  if (!myna__dtype_is_float(a->type))
    return myna__err(err, MYNA_E_DTYPE, "logits are %s, a float array is needed", myna_dtype_name(a->type));
  TRY_N(myna__axis_fixed(a, -1, err));
  if (a->dims[a->n_dims - 1] == 0) return myna__err(err, MYNA_E_SHAPE, "the last axis has no elements");
  out[0] = *a;
  out[0].type = MYNA_I32;
  out[0].n_dims--;
  return 0;
}

typedef struct rows_job {
  const myna__run *r;
  int64_t n, stride;
} rows_job;

static void categorical_unit(void *arg, int64_t row, int worker) {
  const rows_job *j = arg;
  const myna__tensor *a = &j->r->in[0];
  uint64_t key = ((const categorical_params *)j->r->params)->key;
  double best = -INFINITY;
  int64_t at = 0, bytes = myna_dtype_bytes(a->type);
  uint32_t bits[4];
  (void)worker;
  for (int64_t i = 0; i < j->n; i++) {
    double x;
    uint64_t k = (uint64_t)(row * j->n + i);
    myna__load(MYNA__CLASS_F64, &x, a->data + row * j->stride + i * bytes, bytes, a->type, 1);
    if (i == 0 || k % 4 == 0) philox(key, k / 4, bits);
    x -= log_exact(-log_exact(open_unit(bits[k % 4])));
    if (x > best) best = x, at = i;
  }
  ((int32_t *)(void *)j->r->out[0].data)[row] = (int32_t)at;
}

static void categorical_run(const myna__run *r) {
  enum { FEW = 1024 };
  rows_job j = {.r = r};
  int64_t rows;
  myna__tensor_rows(&r->in[0], &rows, &j.n, &j.stride);
  myna__pool_run(rows * j.n <= FEW ? NULL : r->pool, rows, categorical_unit, &j);
}

const myna__op myna__op_random_categorical = {
    .name = "random_categorical", .flags = MYNA__OP_NOGRAD, .shape = categorical_shape, .run = categorical_run};

myna_array *myna_random_categorical(myna_ctx *c, uint64_t key, myna_array *logits) {
  categorical_params p = {c->err.code ? 1 : key_or_next(c, key)};
  return myna__apply1(c, &myna__op_random_categorical, &logits, 1, &p, sizeof p);
}
