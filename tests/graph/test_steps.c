/* Which steps a plan has: what is fused and what must not be, the text, where buffers lie when there are many, outputs
 * that nobody holds, options and symbols at their limits. */
#include "test.h"
#include "graph/graph.h"
#include "graph/plan.h"
#include <math.h>

#define D(...) (int64_t[]){__VA_ARGS__}, (int)MYNA__COUNT(((int64_t[]){__VA_ARGS__}))
enum { N = 6, DIM = 24, WIDE = 40 };

static myna_ctx *new_ctx(void) {
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, &(myna_ctx_options){.n_threads = 2}, &err), &err);
  return c;
}

static float x_data[N * DIM];
static test_failing watched; /* never fails: it watches what lies behind every block */

static int fill_data(void **state) {
  (void)state;
  test_rng rng = test_rng_new(21);
  for (int i = 0; i < N * DIM; i++) x_data[i] = test_float(&rng);
  test_fail_at(&watched, 0);
  return 0;
}

static int check_memory(void **state) {
  (void)state;
  test_fail_off();
  return watched.live == 0 ? 0 : -1;
}

/* ---- fusion ---- */

typedef struct parts { /* what the graphs below are made of */
  myna_ctx *c;
  myna_array *x, *norm, *up[3], *down, *bias; /* [N, DIM], [DIM], [WIDE, DIM], [DIM, WIDE], [WIDE] */
  myna_array *also[2];                        /* further outputs of the plan */
} parts;

static myna_array *normed(parts *p) { return myna_rms_norm(p->c, p->x, p->norm, 1e-5); }
static myna_array *linear(parts *p, myna_array *x, myna_array *w) { return myna_linear(p->c, x, w, NULL); }

static myna_array *gate(parts *p, myna_array *x, int a, int b, int n) {
  myna_array *y[3];
  myna_linear_list(p->c, x, p->up, NULL, n, y);
  return myna_gated(p->c, MYNA_ACT_SILU, y[a], y[b]);
}

static myna_array *g_norm(parts *p) { return linear(p, normed(p), p->up[0]); }
static myna_array *g_norm_bare(parts *p) { return linear(p, myna_rms_norm(p->c, p->x, NULL, 1e-5), p->up[0]); }
static myna_array *g_norm_twice(parts *p) {
  myna_array *h = normed(p);
  return myna_add(p->c, linear(p, h, p->up[0]), linear(p, h, p->up[1]));
}
static myna_array *g_norm_seen(parts *p) { return linear(p, p->also[0] = normed(p), p->up[0]); }
static myna_array *g_norm_3d(parts *p) {
  myna_array *x = myna_reshape(p->c, p->x, D(N / 2, 2, DIM));
  return linear(p, myna_rms_norm(p->c, x, p->norm, 1e-5), p->up[0]);
}
static myna_array *g_layer_norm(parts *p) {
  return linear(p, myna_layer_norm(p->c, p->x, p->norm, NULL, 1e-5), p->up[0]);
}
static myna_array *g_gate(parts *p) { return gate(p, p->x, 0, 1, 2); }
static myna_array *g_gate_turned(parts *p) { return gate(p, p->x, 1, 0, 2); }
static myna_array *g_gate_three(parts *p) { return gate(p, p->x, 0, 1, 3); }
static myna_array *g_gate_same(parts *p) { return gate(p, p->x, 0, 0, 2); }
static myna_array *g_gate_apart(parts *p) {
  return myna_gated(p->c, MYNA_ACT_GELU, linear(p, p->x, p->up[0]), linear(p, p->x, p->up[1]));
}
static myna_array *g_gate_seen(parts *p) {
  myna_array *y[2];
  myna_linear_list(p->c, p->x, p->up, NULL, 2, y);
  p->also[0] = y[1];
  return myna_gated(p->c, MYNA_ACT_SILU, y[0], y[1]);
}
static myna_array *g_gate_all(parts *p) { return gate(p, normed(p), 0, 1, 2); }
static myna_array *g_add(parts *p) { return myna_add(p->c, linear(p, linear(p, p->x, p->up[0]), p->down), p->x); }
static myna_array *g_add_first(parts *p) { return myna_add(p->c, p->x, linear(p, linear(p, p->x, p->up[0]), p->down)); }
static myna_array *g_add_two(parts *p) { /* only one of two linears takes the other as its residual */
  return myna_add(p->c, linear(p, p->x, p->up[0]), linear(p, p->x, p->up[1]));
}
static myna_array *g_add_again(parts *p) { /* the slot is taken */
  myna_array *other = myna_exp(p->c, p->x), *y = linear(p, linear(p, p->x, p->up[0]), p->down);
  return myna_add(p->c, myna_add(p->c, y, p->x), other);
}
static myna_array *g_add_row(parts *p) { return myna_add(p->c, linear(p, p->x, p->up[0]), p->bias); }
static myna_array *g_add_view(parts *p) {
  myna_array *r = myna_transpose(p->c, myna_exp(p->c, myna_transpose(p->c, p->x, NULL)), NULL);
  return myna_add(p->c, linear(p, linear(p, p->x, p->up[0]), p->down), r);
}
static myna_array *g_add_later(parts *p) { /* what comes after the linear cannot be its residual */
  myna_array *y = linear(p, linear(p, p->x, p->up[0]), p->down);
  return myna_add(p->c, y, myna_exp(p->c, p->x));
}
static myna_array *g_add_seen(parts *p) {
  return myna_add(p->c, p->also[0] = linear(p, linear(p, p->x, p->up[0]), p->down), p->x);
}
static myna_array *g_add_self(parts *p) {
  myna_array *y = linear(p, p->x, p->up[0]);
  return myna_add(p->c, y, y);
}
static myna_array *g_add_list(parts *p) { /* of two outputs none is folded */
  myna_array *y[2];
  myna_linear_list(p->c, p->x, p->up, NULL, 2, y);
  p->also[0] = myna_add(p->c, y[0], myna_reshape(p->c, p->bias, D(1, WIDE)));
  return myna_add(p->c, y[1], y[0]);
}
static myna_array *g_multiply(parts *p) { return myna_mul(p->c, linear(p, linear(p, p->x, p->up[0]), p->down), p->x); }
static myna_array *g_bias(parts *p) { /* gate, norm and bias keep their places in the list of operands */
  myna_array *y[2];
  myna_linear_list(p->c, normed(p), p->up, (myna_array *[]){NULL, p->bias}, 2, y);
  return myna_gated(p->c, MYNA_ACT_GELU_TANH, y[0], y[1]);
}
static myna_array *g_block(parts *p) { return myna_add(p->c, p->x, linear(p, gate(p, normed(p), 0, 1, 2), p->down)); }

/* Steps without and with fusion, and a text that must (or, with !, must not) be in the plan. */
static const struct {
  const char *name;
  myna_array *(*make)(parts *p);
  int plain, fused;
  const char *says;
} graphs[] = {
/* clang-format off */
#define ROW(fn) #fn, fn
    {ROW(g_norm), 2, 1, "linear norm+  x, "}, {ROW(g_norm_bare), 2, 2, "!norm+"}, {ROW(g_norm_twice), 4, 3, "!norm+"},
    {ROW(g_norm_seen), 2, 2, "!norm+"}, {ROW(g_norm_3d), 2, 2, "!norm+"}, {ROW(g_layer_norm), 2, 2, "!norm+"},
    {ROW(g_gate), 2, 1, "linear +silu*  x, "}, {ROW(g_gate_turned), 2, 2, "gated"}, {ROW(g_gate_three), 2, 2, "gated"},
    {ROW(g_gate_same), 2, 2, "gated"}, {ROW(g_gate_apart), 3, 3, "gated"}, {ROW(g_gate_seen), 2, 2, "gated"},
    {ROW(g_gate_all), 3, 1, "linear norm+ +silu*  x, "}, {ROW(g_add), 3, 2, "!add"}, {ROW(g_add_first), 3, 2, "!add"},
    {ROW(g_add_two), 3, 2, "!add"}, {ROW(g_add_again), 5, 4, "add"}, {ROW(g_add_row), 2, 2, "add"},
    {ROW(g_add_view), 4, 4, "add"}, {ROW(g_add_later), 4, 4, "add"}, {ROW(g_add_seen), 3, 3, "add"},
    {ROW(g_add_self), 2, 2, "add"}, {ROW(g_add_list), 3, 3, "add"}, {ROW(g_multiply), 3, 3, "mul"},
    {ROW(g_bias), 3, 1, "linear norm+ +gelu_tanh*  x, "}, {ROW(g_block), 5, 2, "!add"},
#undef ROW
    /* clang-format on */
};

static myna_plan *plan_of(myna_ctx *c, myna_array *in, myna_array *const *outs, int n, bool no_fuse) {
  myna_plan *p;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_plan_new(&p, c, &in, 1, outs, n, &(myna_plan_options){.no_fuse = no_fuse}, &err), &err);
  ASSERT_OK_ERR(myna_plan_run(p, (void *[]){x_data}, NULL, &err), &err);
  return p;
}

static void test_fusion(void **state) {
  (void)state;
  for (size_t k = 0; k < MYNA__COUNT(graphs); k++) {
    myna_ctx *c = new_ctx();
    myna_err err = {0};
    parts p = {.c = c, .x = myna_input(c, "x", MYNA_F32, D(N, DIM))};
    p.norm = myna_random_uniform(c, 1, D(DIM), 0.5, 1.5);
    for (int i = 0; i < 3; i++) p.up[i] = myna_random_normal(c, 2 + (uint64_t)i, D(WIDE, DIM), 0, 0.3);
    p.down = myna_random_normal(c, 5, D(DIM, WIDE), 0, 0.3);
    p.bias = myna_random_normal(c, 6, D(WIDE), 0, 1);
    ASSERT_OK_ERR(myna_eval(c, (myna_array *[]){p.norm, p.up[0], p.up[1], p.up[2], p.down, p.bias}, 6, &err), &err);
    myna_array *outs[3] = {graphs[k].make(&p), p.also[0], p.also[1]};
    int n = 1 + (p.also[0] != NULL);
    myna_plan *plain = plan_of(c, p.x, outs, n, true), *fused = plan_of(c, p.x, outs, n, false);
    char text[4000];
    text[myna_plan_print(fused, text, sizeof text - 1)] = 0;
    if (plain->n_steps != graphs[k].plain || fused->n_steps != graphs[k].fused)
      fail_msg("%s: %d and %d steps:\n%s", graphs[k].name, plain->n_steps, fused->n_steps, text);
    bool absent = graphs[k].says[0] == '!';
    if (absent == (strstr(text, graphs[k].says + absent) != NULL)) fail_msg("%s:\n%s", graphs[k].name, text);
    for (int i = 0; i < n; i++)
      if (memcmp(myna_plan_output(plain, i), myna_plan_output(fused, i), (size_t)myna_size(outs[i]) * 4) != 0)
        fail_msg("%s: output %d differs", graphs[k].name, i);
    myna_plan_free(plain);
    myna_plan_free(fused);
    myna_ctx_free(c);
  }
}

/* Experts take a gate into their linear, too. */
static void test_experts(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  myna_array *w[2] = {myna_random_normal(c, 1, D(3, WIDE, DIM), 0, 0.3),
                      myna_random_normal(c, 2, D(3, WIDE, DIM), 0, 0.3)};
  myna_array *x = myna_input(c, "x", MYNA_F32, D(N, DIM)), *ids, *weights, *out[2];
  ASSERT_OK_ERR(myna_eval(c, w, 2, &err), &err);
  myna_route(c, myna_slice_axis(c, x, 1, 0, 3), NULL, 2, MYNA_ROUTER_SOFTMAX, true, 1, &ids, &weights);
  myna_expert_linear_list(c, x, w, 2, ids, out);
  myna_array *y = myna_expert_sum(c, myna_gated(c, MYNA_ACT_RELU, out[0], out[1]), weights);
  myna_plan *plain = plan_of(c, x, &y, 1, true), *fused = plan_of(c, x, &y, 1, false);
  assert_int_equal(plain->n_steps - fused->n_steps, 1);
  char text[2000];
  text[myna_plan_print(fused, text, sizeof text - 1)] = 0;
  assert_non_null(strstr(text, "expert_linear +relu*  x, "));
  assert_memory_equal(myna_plan_output(plain, 0), myna_plan_output(fused, 0), N * WIDE * 4);
  myna_plan_free(plain);
  myna_plan_free(fused);
  myna_ctx_free(c);
}

/* ---- text ---- */

static void has_text(myna_ctx *c, myna_array *const *in, int n_in, myna_array *out, const char *says) {
  myna_plan *p;
  myna_err err = {0};
  char text[2000];
  if (!out) fail_msg("no array for \"%s\"", says);
  ASSERT_OK_ERR(myna_plan_new(&p, c, in, n_in, &out, 1, NULL, &err), &err);
  int64_t len = myna_plan_print(p, text, sizeof text - 1);
  text[len] = 0;
  if (!strstr(text, says)) fail_msg("no \"%s\" in:\n%s", says, text);
  assert_int_equal(myna_plan_print(p, NULL, 0), len);
  myna_plan_free(p);
}

static void test_text(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_array *x = myna_input(c, "x", MYNA_F32, D(4, 8)), *v, *i, *w = myna_from(c, MYNA_F32, D(8), x_data);
  has_text(c, &x, 1, myna_scale(c, x, 2.5), "%0    scale 2.5  x -> F32[4,8]\n");
  has_text(c, &x, 1, myna_sum(c, x, (int[]){1}, 1, false), "sum axis=1  x -> F32[4]\n");
  has_text(c, &x, 1, myna_max(c, x, NULL, 0, true), "max axis=0 axis=1  x -> F32[1,1]\n");
  has_text(c, &x, 1, myna_add(c, x, myna_scalar(c, 3)), "full 3 -> F32[]\n%1    add  x, %0 -> F32[4,8]\n");
  has_text(c, &x, 1, myna_mul(c, x, w), "mul  x, F32[8] -> ");
  has_text(c, &x, 1, (myna_topk(c, x, 2, NULL, &i), i), "topk k=2  x -> I32[4,2]\n");
  has_text(c, &x, 1, myna_take(c, x, myna_arange(c, MYNA_I32, 0, 2, 1), 1), "take axis=1  x, %0 -> F32[4,2]\n");
  /* several outputs: which of them an operand is */
  myna_route(c, x, NULL, 2, MYNA_ROUTER_SOFTMAX, true, 1, &i, &v);
  has_text(c, &x, 1, myna_exp(c, v), "-> I32[4,2] F32[4,2]\n%1    exp  %0.1 -> ");
  myna_array *q = myna_input(c, "q", MYNA_F32, D(3, 4, 8)), *pos = myna_input(c, "pos", MYNA_I32, D(3)),
             *pool = myna_state(c, "cache", MYNA_U8, D(1 << 17)), *table = myna_input(c, "table", MYNA_I32, D(1, 2));
  has_text(c, (myna_array *[]){q, pos}, 2, myna_rope(c, q, pos, NULL, NULL), "rope neox  q, pos -> ");
  has_text(c, (myna_array *[]){q, pos}, 2, myna_rope(c, q, pos, NULL, &(myna_rope_options){.interleaved = true}),
           "rope interleaved  q, pos -> ");
  myna_kv_layout l = {
      .type_k = MYNA_BF16, .type_v = MYNA_BF16, .n_kv_head = 2, .dim_k = 8, .dim_v = 8, .page_stride = 1 << 16};
  myna_array *all[4] = {q, pool, table, pos};
  has_text(c, all, 4, myna_attention_paged(c, q, pool, table, pos, pos, NULL, &l, NULL),
           "attention_paged BF16  q, cache, table, pos, pos -> F32[3,4,8]\n");
  has_text(c, all, 4,
           myna_attention_paged(c, q, pool, table, pos, pos, NULL, &l,
                                &(myna_attention_options){.window = 5, .softcap = 1.5}),
           "attention_paged BF16 window=5 softcap=1.5  q, ");
  assert_int_equal(myna_ctx_error(c, NULL), 0);
  myna_ctx_free(c);
}

/* ---- many buffers, of many sizes, dying in any order ---- */

static int64_t placed(const myna_plan *p) { /* no overlap; returns the most bytes that live at one step */
  int64_t *live = calloc((size_t)p->n_steps + 1, sizeof *live), most = 0;
  for (int i = 0; i < p->n_values; i++) {
    const myna__value *a = &p->values[i];
    if (a->kind != MYNA__VAL_BUFFER || a->first < 0) continue;
    int64_t padded = (a->bytes + 63) / 64 * 64;
    assert_true(a->offset >= 0 && a->offset % 64 == 0 && a->offset + padded <= p->scratch_offset);
    for (int s = a->first; s <= a->last; s++) live[s] += padded;
    for (int j = 0; j < i; j++) {
      const myna__value *b = &p->values[j];
      if (b->kind != MYNA__VAL_BUFFER || b->first < 0 || a->first > b->last || b->first > a->last) continue;
      if (a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes)
        fail_msg("values %d and %d overlap", i, j);
    }
  }
  for (int s = 0; s <= p->n_steps; s++) most = MYNA__MAX(most, live[s]);
  free(live);
  return most;
}

static myna_array *tangle(myna_ctx *c, myna_array *x, int n, uint64_t seed) {
  enum { ALIVE = 24 };
  myna_array *alive[ALIVE],
      *w[2] = {myna_random_normal(c, 9, D(5, 5), 0, 0.4), myna_random_normal(c, 8, D(5, 5), 0, 0.4)};
  test_rng r = {seed};
  for (int i = 0; i < ALIVE; i++) alive[i] = myna_offset(c, x, i);
  for (int k = 0; k < n; k++) {
    int64_t wide = test_int(&r, 6) ? 5 + test_int(&r, 60) : 5 + test_int(&r, 600);
    myna_array *a = alive[test_int(&r, ALIVE)], **to = &alive[test_int(&r, ALIVE)];
    a = myna_slice_axis(c, a, 1, 0, 5);
    if (k % 4 == 0) { /* two outputs that begin together */
      myna_array *both[2];
      myna_linear_list(c, a, w, NULL, 2, both);
      a = myna_tanh(c, myna_sub(c, both[1], both[0]));
    }
    *to = myna_cumsum(c, myna_concat(c, (myna_array *[]){a, myna_full(c, MYNA_F32, D(1, wide), 0.5)}, 2, 1), 1);
  }
  myna_array *sum = x;
  for (int i = 0; i < ALIVE; i++) sum = myna_add(c, sum, myna_slice_axis(c, alive[i], 1, 0, 5));
  return sum;
}

static void test_placement(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++)
    for (int n = 100; n <= 1000; n += 900) { /* the two ways of placing */
      myna_ctx *c = new_ctx();
      myna_err err = {0};
      myna_array *x = myna_input(c, "x", MYNA_F32, D(1, 5)), *y = tangle(c, x, n, seed);
      myna_plan *p = plan_of(c, x, &y, 1, false);
      int64_t most = placed(p);
      print_message("%d: %lld of %lld bytes live\n", n, (long long)most, (long long)p->scratch_offset);
      assert_true(p->scratch_offset >= most && p->scratch_offset <= most + most / 4);
      myna_array *want = tangle(c, myna_from(c, MYNA_F32, D(1, 5), x_data), n, seed);
      assert_memory_equal(myna_plan_output(p, 0), myna_data(want, &err), 20);
      myna_plan_free(p);
      myna_ctx_free(c);
    }
}

/* ---- operands as they lie: a view costs a copy only where run() cannot read its strides ---- */

static int steps_of(myna_ctx *c, myna_array *in, myna_array *out) {
  myna_err err = {0};
  myna_plan *p;
  myna_ctx_error(c, &err);
  if (!out) fail_msg("%s", err.msg);
  ASSERT_OK_ERR(myna_plan_new(&p, c, &in, 1, &out, 1, NULL, &err), &err);
  int n = p->n_steps;
  myna_plan_free(p);
  return n;
}

static void test_strides(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_array *x = myna_input(c, "x", MYNA_F32, D(6, 6)), *t = myna_transpose(c, x, NULL),
             *rows = myna_slice_axis(c, x, 1, 0, 4), *v = NULL;
#define STEPS(n, ...) assert_int_equal(steps_of(c, x, __VA_ARGS__), n)
  STEPS(0, x);
  STEPS(1, t); /* outputs are contiguous */
  STEPS(1, myna_exp(c, t));
  STEPS(1, myna_add(c, t, x));
  STEPS(1, myna_scale(c, t, 2));
  STEPS(1, myna_offset(c, t, 2));
  STEPS(1, myna_astype(c, t, MYNA_F64));
  STEPS(2, myna_where(c, myna_gt(c, t, x), t, x));
  STEPS(1, myna_sum(c, t, (int[]){0}, 1, false));
  STEPS(1, myna_argmin(c, t, 0, false));
  STEPS(1, myna_cumsum(c, t, 0));
  STEPS(1, myna_concat(c, (myna_array *[]){t, x}, 2, 0));
  STEPS(1, myna_slice_update(c, t, rows, (int64_t[]){0, 2}));
  STEPS(1, myna_matmul(c, t, x));
  STEPS(1, myna_contiguous(c, t));
  STEPS(2, myna_contiguous(c, myna_transpose(c, myna_contiguous(c, t), NULL)));
  /* rows with a gap between them are rows; columns are not */
  STEPS(1, myna_softmax(c, rows, 1));
  STEPS(2, myna_softmax(c, t, 1));
  STEPS(1, myna_argsort(c, rows, 1));
  STEPS(1, myna_rms_norm(c, rows, NULL, 1e-5));
  STEPS(2, myna_rms_norm(c, t, NULL, 1e-5));
  STEPS(1, myna_gated(c, MYNA_ACT_SILU, rows, myna_slice_axis(c, x, 1, 2, 6)));
  STEPS(1, (myna_topk(c, rows, 2, NULL, &v), v));
  /* what must be whole */
  STEPS(3, myna_take(c, rows, myna_arange(c, MYNA_I32, 0, 2, 1), 0));
  STEPS(2, myna_take(c, x, myna_arange(c, MYNA_I32, 0, 2, 1), 0));
  STEPS(3, myna_take_along_axis(c, rows, myna_argsort(c, rows, 1), 1));
  /* heads: each token's whole, tokens anywhere */
  myna_array *pos = myna_zeros(c, MYNA_I32, D(6)), *heads = myna_reshape(c, x, D(6, 3, 2));
  STEPS(2, myna_rope(c, heads, pos, NULL, NULL));
  STEPS(2, myna_rope(c, myna_slice_axis(c, heads, 1, 1, 3), pos, NULL, NULL));
  STEPS(3, myna_rope(c, myna_transpose(c, heads, (int[]){0, 2, 1}), pos, NULL, &(myna_rope_options){.n_rot = 2}));
#undef STEPS
  myna_ctx_free(c);
}

/* An op that may write over its dying operand needs no memory of its own. */
static void test_in_place(void **state) {
  (void)state;
  enum { WORK = 16 };
  for (int which = 0; which < WORK; which++) {
    myna_ctx *c = new_ctx();
    myna_err err = {0};
    myna_array *x = myna_input(c, "x", MYNA_F32, D(8, 2, 64)), *y = myna_exp(c, x),
               *pos = myna_input(c, "p", MYNA_I32, D(8));
    for (int i = 0; i < 3; i++) switch (which) {
      case 0: y = myna_tanh(c, y); break;
      case 1: y = myna_scale(c, y, 2); break;
      case 2: y = myna_offset(c, y, 2); break;
      case 3: y = myna_add(c, x, y); break;
      case 4: y = myna_mul(c, y, x); break;
      case 5: y = myna_softmax(c, y, -1); break;
      case 6: y = myna_log_softmax(c, y, -1); break;
      case 7: y = myna_rms_norm(c, y, NULL, 1e-5); break;
      case 8: y = myna_layer_norm(c, y, NULL, NULL, 1e-5); break;
      case 9: y = myna_gated(c, MYNA_ACT_SILU, x, y); break;
      case 10: y = myna_gated(c, MYNA_ACT_SILU, y, x); break;
      case 11: y = myna_rope(c, y, pos, NULL, NULL); break;
      case 12: y = myna_reshape(c, myna_neg(c, myna_reshape(c, y, D(1024))), D(8, 2, 64)); break;
      /* these may not: their results are written while the operand is still read */
      case 13: y = myna_cumsum(c, y, 0); break;
      case 14: y = myna_concat(c, &y, 1, 0); break;
      default: y = myna_astype(c, myna_astype(c, y, MYNA_F64), MYNA_F32); break;
      }
    myna_plan *p;
    ASSERT_OK_ERR(myna_plan_new(&p, c, (myna_array *[]){x, pos}, 2, &y, 1, NULL, &err), &err);
    int64_t want = which < 13 ? 4096 : which < 15 ? 2 * 4096 : 3 * 4096;
    if (p->scratch_offset != want)
      fail_msg("work %d: %lld bytes, not %lld", which, (long long)p->scratch_offset, (long long)want);
    myna_plan_free(p);
    myna_ctx_free(c);
  }
}

/* ---- parallel regions: none for little work, at least one for much ---- */

static myna_array *work(myna_ctx *c, int which, int64_t rows, int64_t cols) {
  myna_array *x = myna_input(c, "x", MYNA_F32, D(rows, cols)), *v = NULL;
  int first = 0, second = 1;
  switch (which) {
  case 0: return myna_exp(c, x);
  case 1: return myna_mul(c, x, myna_transpose(c, x, NULL));
  case 2: return myna_sum(c, x, &first, 1, false);
  case 3: return myna_sum(c, x, &second, 1, false);
  case 4: return myna_argmax(c, x, 0, false);
  case 5: return myna_cumsum(c, x, 0);
  case 6: return myna_cumsum(c, x, 1);
  case 7: return myna_softmax(c, x, 1);
  case 8: return myna_log_softmax(c, x, 1);
  case 9: return myna_argsort(c, x, 1);
  case 10: return myna_topk(c, x, 2, NULL, &v), v;
  case 11: return myna_random_categorical(c, 7, x);
  case 12: return myna_take(c, x, myna_arange(c, MYNA_I32, (double)cols - 1, -1, -1), 1);
  case 13: return myna_random_normal(c, 7, D(rows, cols), 0, 1);
  case 14: return myna_random_uniform(c, 7, D(rows, cols), 0, 1);
  case 15:
    x = myna_reshape(c, x, D(rows / 4, 4, cols));
    return myna_matmul(c, x, myna_transpose(c, x, (int[]){0, 2, 1}));
  case 16: return myna_rms_norm(c, x, NULL, 1e-5);
  default: return NULL;
  }
}

static void test_regions(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  float *data = calloc(600 * 600, sizeof *data);
  for (int which = 0; which < 17; which++)
    for (int64_t n = 8; n <= 600; n += 592) {
      myna_scope_begin(c);
      myna_plan *p;
      myna_err err = {0};
      myna_array *y = work(c, which, n, n), *x = y->node->n_in ? y->node->in[0] : NULL;
      while (x && x->node) x = x->node->in[0];
      ASSERT_OK_ERR(myna_plan_new(&p, c, &x, x != NULL, &y, 1, NULL, &err), &err);
      ASSERT_OK_ERR(myna_plan_run(p, (void *[]){data}, NULL, &err), &err);
      if ((myna_plan_regions(p) > 0) != (n > 8))
        fail_msg("work %d on %lld rows: %lld regions", which, (long long)n, (long long)myna_plan_regions(p));
      myna_plan_free(p);
      myna_scope_end(c);
    }
  free(data);
  myna_ctx_free(c);
}

/* ---- outputs that nobody holds ---- */

static void test_unheld(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  float logits[8] = {1, 3, 2, 0, 0, 0, 5, 0};
  myna_array *x = myna_from(c, MYNA_F32, D(2, 4), logits), *ids, *w;
  myna_scope_begin(c);
  myna_route(c, x, NULL, 2, MYNA_ROUTER_SOFTMAX, true, 1, &ids, &w);
  myna_keep(w);
  myna_scope_end(c); /* the ids are gone, the op still writes them somewhere */
  const float *v = myna_data(w, &err);
  assert_non_null(v);
  assert_true(fabsf(v[0] + v[1] - 1) < 1e-6f && v[0] > v[1] && v[2] > 0.99f);
  myna_release(w);
  /* evaluating one of two leaves the other able to */
  myna_route(c, x, NULL, 2, MYNA_ROUTER_SOFTMAX, true, 1, &ids, &w);
  assert_non_null(myna_data(w, &err));
  assert_memory_equal(myna_data(ids, &err), ((int32_t[]){1, 2, 2, 0}), 16);
  /* the same array twice, one done before */
  myna_array *y = myna_exp(c, x), *list[3] = {y, w, y};
  ASSERT_OK_ERR(myna_eval(c, list, 3, &err), &err);
  assert_true(fabsf(((const float *)myna_data(y, &err))[1] - expf(3)) < 1e-5f);
  myna_ctx_free(c);
}

/* ---- limits ---- */

static void test_limits(void **state) {
  (void)state;
  myna_ctx *c = new_ctx();
  myna_err err = {0};
  myna_plan *p = (myna_plan *)c;
  myna_array *x = myna_input(c, "x", MYNA_F32, D(MYNA_SYM(7), 4)), *y = myna_exp(c, x);
  /* a negative maximum is none; the eighth symbol works like the first */
  ASSERT_OK_ERR(myna_plan_new(&p, c, &x, 1, &y, 1, &(myna_plan_options){.sym_max = {[7] = -5}}, &err), &err);
  ASSERT_OK_ERR(myna_plan_run(p, (void *[]){x_data}, (int64_t[8]){0}, &err), &err);
  ASSERT_FAILS(myna_plan_run(p, (void *[]){x_data}, (int64_t[8]){[7] = 1}, &err), MYNA_E_SHAPE, &err,
               "symbol 7 is 1, the plan's maximum is 0");
  myna_plan_free(p);
  err = (myna_err){0};
  ASSERT_OK_ERR(myna_plan_new(&p, c, &x, 1, &y, 1, &(myna_plan_options){.sym_max = {[7] = 3}}, &err), &err);
  ASSERT_OK_ERR(myna_plan_run(p, (void *[]){x_data}, (int64_t[8]){[7] = 3}, &err), &err);
  assert_true(fabsf(myna_plan_output(p, 0)[11] - expf(x_data[11])) < 1e-5f);
  myna_plan_free(p);
  /* the context's error is the plan's */
  myna__fail(c, MYNA_E_DTYPE, "earlier", "failure");
  ASSERT_FAILS(myna_plan_new(&p, c, &x, 1, &y, 1, NULL, &err), MYNA_E_DTYPE, &err, "earlier: failure");
  assert_null(p);
  myna_ctx_clear(c);
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_new(&p, c, (myna_array *[]){NULL}, 1, &y, 1, NULL, &err), MYNA_E_ARG, &err,
               "plan input 0 is not a placeholder");
  /* many scopes inside each other: each frees its own */
  int64_t start = c->all.n;
  for (int i = 0; i < 40; i++) {
    myna_scope_begin(c);
    for (int k = 0; k <= i; k++) myna_scalar(c, k);
  }
  for (int i = 39; i >= 0; i--) {
    assert_int_equal(c->all.n - start, (i + 1) * (i + 2) / 2);
    myna_scope_end(c);
  }
  assert_int_equal(c->all.n, start);
  myna_ctx_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fusion),    cmocka_unit_test(test_experts), cmocka_unit_test(test_text),
      cmocka_unit_test(test_placement), cmocka_unit_test(test_strides), cmocka_unit_test(test_in_place),
      cmocka_unit_test(test_regions),   cmocka_unit_test(test_unheld),  cmocka_unit_test(test_limits),
  };
  return cmocka_run_group_tests(tests, fill_data, check_memory);
}
