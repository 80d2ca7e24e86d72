/* test_lora_probe.c: LoRA through a family's build() on packed weights: the same build() that serves, with plain causal attention and an `adapt`
 * hook, has gradients that match finite differences and a loss that Adam lowers. Written with nothing but arrays and ops. */
#include "fixture.h"
#include "kernels/quants.h"
#include <math.h>

enum { TOKENS = 24, RANK = 4, MAX_PARAMS = 16 };

typedef struct probe {
  myna_model *m;
  myna_ctx *c;
  uint8_t *packed[256]; /* Q4_K matrices; [n_packed] */
  int64_t packed_bytes[256];
  int n_packed;
  myna_array **w;
  int32_t tokens[TOKENS + 1];
  int n_params; /* per adapted matrix: a [RANK, n_in], b [n_out, RANK] */
  float *value[MAX_PARAMS], *m1[MAX_PARAMS], *m2[MAX_PARAMS];
  int64_t shape[MAX_PARAMS][2];
  myna_array *param[MAX_PARAMS]; /* of the graph being built */
  int at;
} probe;

static void check_ctx(probe *p) {
  myna_err err = {0};
  char text[1024];
  if (myna_ctx_error(p->c, &err)) fail_msg("%s", myna_error_format(&err, text, sizeof text));
}

/* A matrix of the file as Q4_K. */
static myna_array *pack(probe *p, const myna__weight *w) {
  const myna__quant *from = myna__quant_get(w->type), *to = myna__quant_get(MYNA_Q4_K);
  int64_t row = w->n_in / myna_dtype_block(MYNA_Q4_K) * myna_dtype_bytes(MYNA_Q4_K), shape[2] = {w->n_out, w->n_in};
  assert_non_null(to->from_f32);
  float *x = malloc((size_t)w->n_in * sizeof *x);
  uint8_t *out = malloc((size_t)(row * w->n_out));
  for (int64_t i = 0; i < w->n_out; i++) {
    myna__wrow r = {.p[0] = (const uint8_t *)w->plane[0] + i * w->row_stride[0]};
    from->to_f32(x, &r, w->n_in);
    to->from_f32(out + i * row, x, NULL, w->n_in);
  }
  free(x);
  p->packed[p->n_packed++] = out;
  return myna_weight(p->c, MYNA_Q4_K, shape, 2, &(myna_planes){.plane = {out}});
}

static probe *probe_new(void) {
  probe *p = calloc(1, sizeof *p);
  myna_err err = {0};
  test_rng r = {17};
  p->m = fx_open("llama-256-q8_0");
  ASSERT_OK_ERR(myna_ctx_new(&p->c, &(myna_ctx_options){.n_threads = 2}, &err), &err);
  p->w = calloc((size_t)p->m->n_bound, sizeof *p->w);
  for (int64_t i = 0; i < p->m->n_bound; i++) {
    const myna__bound *b = &p->m->bound[i];
    if (!b->present) continue;
    p->w[i] = b->n_dims == 1 ? myna_view(p->c, MYNA_F32, &b->n, 1, b->vec) : pack(p, &b->w);
    check_ctx(p);
  }
  for (int i = 0; i <= TOKENS; i++) p->tokens[i] = (int32_t)test_int(&r, p->m->cfg.n_vocab);
  return p;
}

static void probe_free(probe *p) {
  myna_ctx_free(p->c);
  for (int i = 0; i < p->n_packed; i++) free(p->packed[i]);
  for (int i = 0; i < p->n_params; i++) {
    free(p->value[i]);
    free(p->m1[i]);
    free(p->m2[i]);
  }
  free(p->w);
  myna_model_close(p->m);
  free(p);
}

/* ---- the graph ---- */

static myna_array *attend(myna__build *b, int layer, myna_array *q, myna_array *k, myna_array *v,
                          const myna__attend_options *o) {
  myna_array *x[3] = {q, k, v};
  for (int i = 0; i < 3; i++)
    x[i] = myna_reshape(b->c, x[i], (int64_t[]){1, myna_dim(x[i], 0), myna_dim(x[i], 1), myna_dim(x[i], 2)}, 4);
  myna_array *y = myna_attention(
      b->c, x[0], x[1], x[2], NULL, NULL,
      &(myna_attention_options){.scale = o->scale, .causal = true, .window = o->window, .softcap = o->softcap});
  return myna_reshape(b->c, y, (int64_t[]){myna_dim(y, 1), myna_dim(y, 2), myna_dim(y, 3)}, 3);
}

/* Parameter number p->at of the run; made at the first. */
static myna_array *parameter(probe *p, int64_t rows, int64_t cols, float scale) {
  int i = p->at++;
  assert_true(i < MAX_PARAMS);
  if (i == p->n_params) {
    test_rng r = {(uint64_t)(100 + i)};
    int64_t n = rows * cols;
    p->value[i] = malloc((size_t)n * sizeof(float));
    p->m1[i] = calloc((size_t)n, sizeof(float));
    p->m2[i] = calloc((size_t)n, sizeof(float));
    p->shape[i][0] = rows;
    p->shape[i][1] = cols;
    for (int64_t k = 0; k < n; k++) p->value[i][k] = scale * test_normal(&r);
    p->n_params++;
  }
  return p->param[i] = myna_from(p->c, MYNA_F32, p->shape[i], 2, p->value[i]);
}

static myna_array *adapt(myna__build *b, int layer, myna__role role, myna_array *x, myna_array *y) {
  probe *p = b->user;
  if (role != MYNA__W_ATTN_Q && role != MYNA__W_ATTN_V) return y;
  myna_array *a = parameter(p, RANK, myna_dim(x, -1), 0.05f), *up = parameter(p, myna_dim(y, -1), RANK, 0.05f);
  return myna_add(b->c, y, myna_scale(b->c, myna_linear(b->c, myna_linear(b->c, x, a, NULL), up, NULL), 2));
}

static myna_array *loss(probe *p, bool adapted) {
  int64_t n = TOKENS;
  myna__config cfg = p->m->cfg;
  myna_array *tokens = myna_from(p->c, MYNA_I32, &n, 1, p->tokens),
             *targets = myna_from(p->c, MYNA_I32, &n, 1, p->tokens + 1);
  cfg.n_ctx = 64;
  p->at = 0;
  myna__build b = {.c = p->c,
                   .cfg = &cfg,
                   .weights = p->w,
                   .tokens = tokens,
                   .pos = myna_arange(p->c, MYNA_I32, 0, TOKENS, 1),
                   .attend = attend,
                   .user = p,
                   .adapt = adapted ? adapt : NULL};
  return myna_cross_entropy(p->c, p->m->family->build(&b), targets);
}

static double loss_value(probe *p, bool adapted) {
  myna_err err = {0};
  myna_scope_begin(p->c);
  double x = myna_item(loss(p, adapted), &err);
  check_ctx(p);
  myna_scope_end(p->c);
  return x;
}

/* ---- tests ---- */

/* The training build computes what the serving plan computes (exact, F32 cache), on the same packed weights. */
static void test_forward(void **state) {
  probe *p = probe_new();
  myna_model *m = p->m;
  for (int64_t i = 0; i < m->n_bound; i++) { /* the model's own matrices become the packed ones */
    myna__bound *b = &m->bound[i];
    if (b->present && b->n_dims == 2) b->w = *p->w[i]->weight;
  }
  fx_lm_options o = {.kv_type = MYNA_F32, .exact = true, .n_ctx = 64, .n_tok = 64, .n_seq = 1};
  myna__lm *lm = fx_lm(m, &o);
  int64_t v = m->cfg.n_vocab;
  float *logits = calloc((size_t)(TOKENS * v), sizeof *logits);
  double want = 0;
  fx_step(lm, &(fx_part){.to = TOKENS, .tokens = p->tokens, .out = logits}, 1);
  for (int i = 0; i < TOKENS; i++) {
    double sum = 0;
    for (int64_t k = 0; k < v; k++) sum += exp((double)logits[i * v + k]);
    want += log(sum) - (double)logits[i * v + p->tokens[i + 1]];
  }
  assert_float_equal((float)loss_value(p, false), (float)(want / TOKENS), 1e-4f);
  free(logits);
  fx_lm_free(lm);
  probe_free(p);
}

static void test_gradients(void **state) {
  probe *p = probe_new();
  myna_array *g[MAX_PARAMS];
  float *grad[MAX_PARAMS];
  myna_err err = {0};
  test_rng r = test_rng_new(6);
  myna_scope_begin(p->c);
  myna_array *l = loss(p, true);
  assert_int_equal(p->n_params, 2 * 2 * p->m->cfg.n_layer);
  int rc = myna_grad(p->c, l, p->param, p->n_params, g);
  check_ctx(p);
  ASSERT_OK(rc);
  for (int i = 0; i < p->n_params; i++) {
    size_t bytes = (size_t)(p->shape[i][0] * p->shape[i][1]) * sizeof(float);
    const void *d = myna_data(g[i], &err);
    if (!d) fail_msg("%s", err.msg);
    memcpy(grad[i] = malloc(bytes), d, bytes);
  }
  myna_scope_end(p->c);
  for (int i = 0; i < p->n_params; i++) {
    int64_t n = p->shape[i][0] * p->shape[i][1], largest = 0;
    for (int64_t k = 0; k < n; k++)
      if (fabsf(grad[i][k]) > fabsf(grad[i][largest])) largest = k;
    for (int k = 0; k < 4; k++) { /* the largest, and others that are not much smaller */
      int64_t at = k ? test_int(&r, n) : largest;
      if (fabsf(grad[i][at]) < 0.2f * fabsf(grad[i][largest])) continue;
      float x = p->value[i][at], h = 2e-2f;
      double f[4]; /* fourth order: the loss is float */
      static const int steps[] = {-2, -1, 1, 2};
      for (int s = 0; s < 4; s++) {
        p->value[i][at] = x + (float)steps[s] * h;
        f[s] = loss_value(p, true);
      }
      p->value[i][at] = x;
      double want = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * (double)h), have = (double)grad[i][at];
      if (fabs(want - have) > 1e-2 * fmax(fabs(want), fabs(have)) + 2e-5)
        fail_msg("parameter %d[%lld]: gradient %g, finite difference %g", i, (long long)at, have, want);
    }
    free(grad[i]);
  }
  probe_free(p);
}

/* Adam, as ops. */
static void adam(probe *p, int i, myna_array *g, int step, myna_array **out) {
  myna_ctx *c = p->c;
  const double b1 = 0.9, b2 = 0.99, rate = 0.01;
  myna_array *m1 = myna_from(c, MYNA_F32, p->shape[i], 2, p->m1[i]),
             *m2 = myna_from(c, MYNA_F32, p->shape[i], 2, p->m2[i]);
  out[1] = myna_add(c, myna_scale(c, m1, b1), myna_scale(c, g, 1 - b1));
  out[2] = myna_add(c, myna_scale(c, m2, b2), myna_scale(c, myna_mul(c, g, g), 1 - b2));
  myna_array *mean = myna_scale(c, out[1], 1 / (1 - pow(b1, step))),
             *spread = myna_sqrt(c, myna_scale(c, out[2], 1 / (1 - pow(b2, step))));
  out[0] = myna_sub(c, p->param[i], myna_scale(c, myna_div(c, mean, myna_offset(c, spread, 1e-8)), rate));
}

static void test_training(void **state) {
  probe *p = probe_new();
  double first = loss_value(p, true), last = 0;
  uint64_t frozen = myna__hash(p->packed[1], 144, 0);
  for (int step = 1; step <= 20; step++) {
    myna_array *g[MAX_PARAMS], *next[3 * MAX_PARAMS + 1];
    myna_err err = {0};
    myna_scope_begin(p->c);
    next[3 * p->n_params] = loss(p, true);
    ASSERT_OK(myna_grad(p->c, next[3 * p->n_params], p->param, p->n_params, g));
    for (int i = 0; i < p->n_params; i++) adam(p, i, g[i], step, next + 3 * i);
    check_ctx(p);
    ASSERT_OK_ERR(myna_eval(p->c, next, 3 * p->n_params + 1, &err), &err);
    last = myna_item(next[3 * p->n_params], &err);
    for (int i = 0; i < p->n_params; i++) {
      size_t bytes = (size_t)(p->shape[i][0] * p->shape[i][1]) * sizeof(float);
      memcpy(p->value[i], myna_data(next[3 * i], &err), bytes);
      memcpy(p->m1[i], myna_data(next[3 * i + 1], &err), bytes);
      memcpy(p->m2[i], myna_data(next[3 * i + 2], &err), bytes);
    }
    myna_scope_end(p->c);
    assert_true(isfinite(last));
  }
  double after = loss_value(p, true);
  print_message("loss %.4f -> %.4f\n", first, after);
  assert_true(after < last && after < first - 0.2);
  assert_true(frozen == myna__hash(p->packed[1], 144, 0));
  probe_free(p);
}

/* A gradient for packed weights is an error that names the tensor. */
static void test_frozen(void **state) {
  probe *p = probe_new();
  myna_array *g, *w = nn_w(&(myna__build){.weights = p->w}, 0, MYNA__W_ATTN_Q);
  myna_err err = {0};
  snprintf(w->name, sizeof w->name, "blk.0.attn_q.weight");
  int rc = myna_grad(p->c, loss(p, true), &w, 1, &g);
  assert_true(rc < 0);
  myna_ctx_error(p->c, &err);
  if (!strstr(err.msg, "blk.0.attn_q.weight")) fail_msg("\"%s\"", err.msg);
  probe_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_forward), cmocka_unit_test(test_gradients),
                                     cmocka_unit_test(test_training), cmocka_unit_test(test_frozen)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
