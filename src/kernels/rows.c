/* rows.c: drivers of the row operations: split rows over the pool, pick the level's kernel. */
#include "kernels/table.h"
#include <math.h>

enum { SERIAL = 1 << 15 /* elements below which a region does not pay */ };

typedef struct row_job {
  const myna__ktable *t;
  float *y;
  const float *x, *w, *b;
  int64_t ldy, ldx, ldb, n, rows, per_unit;
  float p; /* eps or scale */
  myna__gate gate;
  void (*one)(const struct row_job *j, int64_t row);
} row_job;

static void row_unit(void *arg, int64_t unit, int worker) {
  const row_job *j = arg;
  (void)worker;
  int64_t end = MYNA__MIN(j->rows, (unit + 1) * j->per_unit);
  for (int64_t i = unit * j->per_unit; i < end; i++) j->one(j, i);
}

static void run_rows(row_job *j, myna__pool *pool) {
  j->t = myna__kernels();
  j->per_unit = j->rows * j->n < SERIAL ? j->rows : MYNA__MAX(1, j->rows / (4 * myna__pool_size(pool)));
  if (j->rows > 0) myna__pool_run(pool, (j->rows + j->per_unit - 1) / j->per_unit, row_unit, j);
}

static void one_rms(const row_job *j, int64_t i) {
  j->t->rms_row(j->y + i * j->ldy, j->x + i * j->ldx, j->w, j->p, j->n);
}
static void one_layer(const row_job *j, int64_t i) {
  j->t->layer_row(j->y + i * j->ldy, j->x + i * j->ldx, j->w, j->b, j->p, j->n);
}
static void one_softmax(const row_job *j, int64_t i) {
  j->t->softmax_row(j->y + i * j->ldy, j->x + i * j->ldx, j->p, j->n);
}

static void one_gated(const row_job *j, int64_t i) {
  float *y = j->y + i * j->ldy;
  const float *a = j->x + i * j->ldx, *b = j->b + i * j->ldb;
  if (y != b) {
    if (y != a) memcpy(y, a, (size_t)j->n * sizeof *y);
    j->t->gate(y, b, j->gate, j->n);
    return;
  }
  float part[256], other[256]; /* y over b: the kernel works in place on a */
  for (int64_t k = 0; k < j->n; k += 256) {
    int64_t n = MYNA__MIN(256, j->n - k);
    memcpy(part, a + k, (size_t)n * sizeof *part);
    memcpy(other, b + k, (size_t)n * sizeof *other);
    j->t->gate(part, other, j->gate, n);
    memcpy(y + k, part, (size_t)n * sizeof *part);
  }
}

void myna__rms_norm(float *y, int64_t ldy, const float *x, int64_t ldx, const float *w, float eps, int64_t rows,
                    int64_t n, myna__pool *pool) {
  run_rows(&(row_job){.y = y, .ldy = ldy, .x = x, .ldx = ldx, .w = w, .p = eps, .rows = rows, .n = n, .one = one_rms},
           pool);
}

void myna__layer_norm(float *y, int64_t ldy, const float *x, int64_t ldx, const float *w, const float *b, float eps,
                      int64_t rows, int64_t n, myna__pool *pool) {
  run_rows(
      &(row_job){
          .y = y, .ldy = ldy, .x = x, .ldx = ldx, .w = w, .b = b, .p = eps, .rows = rows, .n = n, .one = one_layer},
      pool);
}

void myna__softmax(float *y, int64_t ldy, const float *x, int64_t ldx, float scale, int64_t rows, int64_t n,
                   myna__pool *pool) {
  run_rows(&(row_job){.y = y, .ldy = ldy, .x = x, .ldx = ldx, .p = scale, .rows = rows, .n = n, .one = one_softmax},
           pool);
}

void myna__gated(float *y, int64_t ldy, const float *a, int64_t lda, const float *b, int64_t ldb, myna__gate g,
                 int64_t rows, int64_t n, myna__pool *pool) {
  run_rows(&(row_job){.y = y,
                      .ldy = ldy,
                      .x = a,
                      .ldx = lda,
                      .b = b,
                      .ldb = ldb,
                      .gate = g,
                      .rows = rows,
                      .n = n,
                      .one = one_gated},
           pool);
}

void myna__unary(myna__unary_fn f, float *y, const float *x, int64_t n) { myna__kernels()->unary(f, y, x, n); }

void myna__add(float *y, const float *a, const float *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void myna__to_f32(float *y, const void *x, myna_dtype t, int64_t n) {
  myna__quant_get(t)->to_f32(y, &(myna__wrow){.p = {x}}, n);
}
void myna__from_f32(void *y, myna_dtype t, const float *x, int64_t n) { myna__quant_get(t)->from_f32(y, x, NULL, n); }

/* ---- rope ---- */

enum { MAX_HALF = 2048 };

/* Angle per position of each pair, and the magnitude: linear and YaRN scaling (Peng et al. 2023), factors per pair. */
static float rope_freqs(const myna__rope_args *a, float *freq) {
  double two_pi = 6.283185307179586, n = (double)a->n_rot, base = (double)a->base, lo = 0, hi = 0;
  float m = a->attn_factor != 0 ? a->attn_factor : 1.0f;
  if (a->ext_factor != 0) {
    lo = fmax(0, floor(n * log((double)a->orig_ctx / ((double)a->beta_fast * two_pi)) / (2 * log(base))));
    hi = fmin(n - 1, ceil(n * log((double)a->orig_ctx / ((double)a->beta_slow * two_pi)) / (2 * log(base))));
    m *= (float)(1.0 + 0.1 * log(1.0 / (double)a->freq_scale));
  }
  for (int64_t i = 0; i < a->n_rot / 2; i++) {
    double mix = a->ext_factor != 0
                     ? (1 - fmin(1, fmax(0, ((double)i - lo) / fmax(0.001, hi - lo)))) * (double)a->ext_factor
                     : 0;
    double f = pow(base, -2.0 * (double)i / n) * ((double)a->freq_scale * (1 - mix) + mix);
    freq[i] = (float)(a->factors ? f / (double)a->factors[i] : f);
  }
  return m;
}

typedef struct rope_job {
  const myna__rope_args *a;
  const myna__ktable *t;
  float freq[MAX_HALF];
  float magnitude;
  int64_t per_unit;
} rope_job;

static void rope_unit(void *arg, int64_t unit, int worker) {
  const rope_job *j = arg;
  const myna__rope_args *a = j->a;
  (void)worker;
  float c[MAX_HALF], s[MAX_HALF];
  int64_t half = a->n_rot / 2, end = MYNA__MIN(a->n_tok, (unit + 1) * j->per_unit);
  for (int64_t t = unit * j->per_unit; t < end; t++) {
    for (int64_t i = 0; i < half; i++) {
      float angle = (float)a->pos[t] * j->freq[i];
      c[i] = cosf(angle) * j->magnitude;
      s[i] = sinf(a->inverse ? -angle : angle) * j->magnitude;
    }
    for (int64_t h = 0; h < a->n_head; h++) {
      const float *x = a->x + t * a->ldx + h * a->dim;
      float *y = a->y + t * a->ldy + h * a->dim;
      j->t->rotate(y, x, c, s, half, a->interleaved);
      if (y != x) memcpy(y + a->n_rot, x + a->n_rot, (size_t)(a->dim - a->n_rot) * sizeof *y);
    }
  }
}

void myna__rope(const myna__rope_args *a, myna__pool *pool) {
  rope_job j = {.a = a, .t = myna__kernels()};
  if (a->n_tok < 1 || a->n_rot / 2 > MAX_HALF) return;
  j.magnitude = rope_freqs(a, j.freq);
  j.per_unit = a->n_tok * a->n_head * a->dim < SERIAL ? a->n_tok : MYNA__MAX(1, a->n_tok / (4 * myna__pool_size(pool)));
  myna__pool_run(pool, (a->n_tok + j.per_unit - 1) / j.per_unit, rope_unit, &j);
}
