/* Plans: symbolic replays against evaluation, no allocation while running, shared and placed memory, what a plan keeps,
 * fusion, text, errors; random graphs evaluated at once against one node at a time. */
#include "test.h"
#include "graph/graph.h"
#include "graph/plan.h"
#include <math.h>

#define D(...) (int64_t[]){__VA_ARGS__}, (int)MYNA__COUNT(((int64_t[]){__VA_ARGS__}))
enum { N_MAX = 512, DIM = 24 };

static myna_ctx *new_ctx(int threads) {
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, &(myna_ctx_options){.n_threads = threads}, &err), &err);
  return c;
}

static void die(myna_ctx *c, const char *name, const myna_err *err) {
  myna_err sticky = {0};
  char text[1024];
  if (c) myna_ctx_error(c, &sticky);
  fail_msg("%s: %s", name, myna_error_format(err && err->code ? err : &sticky, text, sizeof text));
}

/* ---- the same graph with a symbol and with a number ---- */

typedef struct inputs {
  myna_array *x, *pos, *rows; /* [n, DIM], I32 [n], I32 [m] */
} inputs;
typedef myna_array *build(myna_ctx *c, const inputs *in);

static myna_array *weight(myna_ctx *c, int64_t n_out, int64_t n_in) {
  return myna_random_normal(c, 17, D(n_out, n_in), 0, 0.3);
}
#define BUILD(name, ...) \
  static myna_array *name(myna_ctx *c, const inputs *in) { return __VA_ARGS__; }
#define X in->x
#define N myna_dim(in->x, 0)

/* clang-format off */
BUILD(elementwise, myna_add(c, myna_mul(c, X, myna_sigmoid(c, X)), myna_scale(c, X, 2)))
BUILD(broadcast, myna_mul(c, myna_add(c, X, weight(c, 1, DIM)), myna_sum(c, X, (int[]){1}, 1, true)))
BUILD(compare, myna_where(c, myna_gt(c, X, myna_scalar(c, 0)), X, myna_scalar(c, -1)))
BUILD(types, myna_astype(c, myna_astype(c, X, MYNA_BF16), MYNA_F32))
BUILD(softmax, myna_softmax(c, X, -1))
BUILD(softmax_inner, myna_softmax(c, myna_reshape(c, X, D(N, 4, 6)), 1))
BUILD(reductions, myna_add(c, myna_max(c, X, (int[]){-1}, 1, true), myna_logsumexp(c, X, (int[]){1}, 1, true)))
BUILD(reshape, myna_contiguous(c, myna_transpose(c, myna_reshape(c, X, D(N, 4, 6)), (int[]){0, 2, 1})))
BUILD(reshape_hole, myna_reshape(c, X, D(N, 2, 3, -1)))
BUILD(swap_heads, myna_reshape(c, myna_transpose(c, myna_reshape(c, X, D(N, 4, 6)), (int[]){0, 2, 1}), D(N, DIM)))
BUILD(slices, myna_sub(c, myna_slice_axis(c, X, 1, 0, 12), myna_slice(c, X, (int64_t[]){0, 23}, (int64_t[]){INT64_MAX, 11}, (int64_t[]){1, -1})))
BUILD(concat, myna_concat(c, (myna_array *[]){X, myna_slice_axis(c, X, 1, 3, 8)}, 2, 1))
BUILD(stack, myna_stack(c, (myna_array *[]){X, myna_neg(c, X)}, 2, 1))
BUILD(pad, myna_pad(c, X, (int64_t[]){0, 1}, (int64_t[]){0, 2}, 3))
BUILD(update, myna_slice_update(c, X, myna_slice_axis(c, X, 1, 0, 3), (int64_t[]){0, 20}))
BUILD(repeat, myna_repeat(c, X, 2, 1))
BUILD(take_table, myna_take(c, weight(c, 40, DIM), in->pos, 0))
BUILD(take_rows, myna_take(c, X, in->rows, 0))
BUILD(take_inner, myna_take(c, X, myna_arange(c, MYNA_I32, 20, 3, -3), 1))
BUILD(take_along, myna_take_along_axis(c, X, myna_argsort(c, X, 1), 1))
BUILD(sorted, myna_sort(c, X, 1))
BUILD(argmax, myna_astype(c, myna_argmax(c, X, 1, false), MYNA_F32))
BUILD(cumsum, myna_cumsum(c, X, 1))
BUILD(matmul, myna_matmul(c, X, weight(c, DIM, 7)))
BUILD(matmul_turned, myna_matmul(c, X, myna_transpose(c, weight(c, 7, DIM), NULL)))
BUILD(matmul_batch, myna_matmul(c, myna_reshape(c, X, D(N, 4, 6)), myna_transpose(c, myna_reshape(c, X, D(N, 4, 6)), (int[]){0, 2, 1})))
BUILD(matmul_vector, myna_matmul(c, X, weight(c, DIM, 1)))
BUILD(categorical, myna_astype(c, myna_random_categorical(c, 5, X), MYNA_F32))
BUILD(linear, myna_linear(c, X, weight(c, 9, DIM), NULL))
BUILD(norm, myna_layer_norm(c, myna_rms_norm(c, X, NULL, 1e-5), NULL, NULL, 1e-5))
BUILD(rope, myna_rope(c, myna_reshape(c, X, D(N, 2, 12)), in->pos, NULL, NULL))
BUILD(rope_slice, myna_rope(c, myna_slice_axis(c, myna_reshape(c, X, D(N, 2, 12)), 2, 2, 10), in->pos, NULL, NULL))
BUILD(gated, myna_gated(c, MYNA_ACT_SILU, myna_slice_axis(c, X, 1, 0, 12), myna_slice_axis(c, X, 1, 12, 24)))
BUILD(embed, myna_embed(c, weight(c, 40, DIM), in->pos))
BUILD(zeros_like, myna_scatter_add(c, X, in->rows, myna_take(c, X, in->rows, 0), 0))

/* clang-format on */
static myna_array *topk(myna_ctx *c, const inputs *in) {
  myna_array *v = NULL;
  myna_topk(c, X, 5, &v, NULL);
  return v;
}

static myna_array *experts(myna_ctx *c, const inputs *in) {
  myna_array *ids, *w, *y;
  myna_route(c, myna_slice_axis(c, X, 1, 0, 6), NULL, 2, MYNA_ROUTER_SOFTMAX, true, 1, &ids, &w);
  myna_array *mats = myna_random_normal(c, 4, D(6, 10, DIM), 0, 0.3);
  myna_expert_linear_list(c, X, &mats, 1, ids, &y);
  return myna_expert_sum(c, y, w);
}

static const struct {
  const char *name;
  build *fn;
} graphs[] = {
/* clang-format off */
#define ROW(fn) {#fn, fn}
    ROW(elementwise), ROW(broadcast), ROW(compare), ROW(types), ROW(softmax), ROW(softmax_inner), ROW(reductions), ROW(reshape), ROW(reshape_hole),
    ROW(swap_heads), ROW(slices), ROW(concat), ROW(stack), ROW(pad), ROW(update), ROW(repeat), ROW(take_table), ROW(take_rows), ROW(take_inner),
    ROW(take_along), ROW(sorted), ROW(argmax), ROW(cumsum), ROW(matmul), ROW(matmul_turned), ROW(matmul_batch), ROW(matmul_vector), ROW(categorical),
    ROW(linear), ROW(norm), ROW(rope), ROW(rope_slice), ROW(gated), ROW(embed), ROW(zeros_like), ROW(topk), ROW(experts),
#undef ROW
    /* clang-format on */
};

static float x_data[N_MAX][DIM];
static int32_t pos_data[N_MAX], rows_data[N_MAX];

static int fill_data(void **state) {
  (void)state;
  test_rng rng = test_rng_new(2);
  for (int i = 0; i < N_MAX * DIM; i++) ((float *)x_data)[i] = test_float(&rng);
  for (int i = 0; i < N_MAX; i++)
    pos_data[i] = (int32_t)test_int(&rng, 40), rows_data[i] = (int32_t)test_int(&rng, N_MAX);
  return 0;
}

static void test_symbols(void **state) {
  (void)state;
  static const int64_t sizes[][2] = {{1, 1}, {3, 2}, {33, 5}, {512, 100}, {0, 0}, {512, 512}, {7, 0}};
  for (int threads = 1; threads <= 3; threads += 2)
    for (size_t k = 0; k < MYNA__COUNT(graphs); k++) {
      myna_ctx *c = new_ctx(threads);
      myna_err err = {0};
      inputs in = {myna_input(c, "x", MYNA_F32, D(MYNA_SYM(0), DIM)), myna_input(c, "pos", MYNA_I32, D(MYNA_SYM(0))),
                   myna_input(c, "rows", MYNA_I32, D(MYNA_SYM(1)))};
      myna_array *out = graphs[k].fn(c, &in);
      if (!out) die(c, graphs[k].name, NULL);
      myna_plan *p;
      if (myna_plan_new(&p, c, (myna_array *[]){in.x, in.pos, in.rows}, 3, &out, 1,
                        &(myna_plan_options){.sym_max = {N_MAX, N_MAX}, .exact = true}, &err) < 0)
        die(c, graphs[k].name, &err);
      for (size_t s = 0; s < MYNA__COUNT(sizes); s++) {
        int64_t n = sizes[s][0], m = sizes[s][1];
        if (n == 0 && graphs[k].fn == reshape_hole) continue; /* of nothing, nothing can be inferred */
        ASSERT_OK_ERR(myna_plan_run(p, (void *[]){x_data, pos_data, rows_data}, sizes[s], &err), &err);
        inputs leaf = {myna_from(c, MYNA_F32, D(n, DIM), x_data), myna_from(c, MYNA_I32, &n, 1, pos_data),
                       myna_from(c, MYNA_I32, &m, 1, rows_data)};
        myna_array *want = graphs[k].fn(c, &leaf);
        const void *w = want ? myna_data(want, &err) : NULL;
        if (!w) die(c, graphs[k].name, &err);
        size_t bytes = (size_t)myna_size(want) * 4;
        if (memcmp(myna_plan_output(p, 0), w, bytes) != 0)
          fail_msg("%s: a replay with n = %lld, m = %lld differs", graphs[k].name, (long long)n, (long long)m);
      }
      myna_plan_free(p);
      myna_ctx_free(c);
    }
}

/* Replays allocate nothing. */
static void test_no_allocation(void **state) {
  (void)state;
  myna_ctx *c = new_ctx(2);
  myna_err err = {0};
  for (size_t k = 0; k < MYNA__COUNT(graphs); k++) {
    inputs in = {myna_input(c, "x", MYNA_F32, D(MYNA_SYM(0), DIM)), myna_input(c, "pos", MYNA_I32, D(MYNA_SYM(0))),
                 myna_input(c, "rows", MYNA_I32, D(MYNA_SYM(1)))};
    myna_array *out = graphs[k].fn(c, &in);
    myna_plan *p;
    ASSERT_OK_ERR(myna_plan_new(&p, c, (myna_array *[]){in.x, in.pos, in.rows}, 3, &out, 1,
                                &(myna_plan_options){.sym_max = {N_MAX, N_MAX}}, &err),
                  &err);
    myna__guard_begin();
    ASSERT_OK_ERR(myna_plan_run(p, (void *[]){x_data, pos_data, rows_data}, (int64_t[]){512, 100}, &err), &err);
    ASSERT_OK_ERR(myna_plan_run(p, (void *[]){x_data, pos_data, rows_data}, (int64_t[]){1, 1}, &err), &err);
    int64_t n = myna__guard_end();
    if (n != 0) fail_msg("%s: %lld allocations while running", graphs[k].name, (long long)n);
    assert_true(myna_plan_bytes(p) > 0 && myna_plan_regions(p) >= 0);
    myna_plan_free(p);
  }
  myna_ctx_free(c);
}

/* ---- memory: buffers that live at the same time do not overlap ---- */

static void check_placement(const myna_plan *p) {
  for (int i = 0; i < p->n_values; i++) {
    const myna__value *a = &p->values[i];
    assert_int_equal(p->values[a->root].root, a->root);
    if (a->kind != MYNA__VAL_BUFFER || a->first < 0) continue;
    assert_true(a->offset >= 0 && a->offset % 64 == 0 && a->offset + a->bytes <= p->scratch_offset);
    for (int j = 0; j < i; j++) {
      const myna__value *b = &p->values[j];
      if (b->kind != MYNA__VAL_BUFFER || b->first < 0 || a->first > b->last || b->first > a->last) continue;
      if (a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes)
        fail_msg("values %d and %d live at steps %d..%d and %d..%d and overlap", i, j, a->first, a->last, b->first,
                 b->last);
    }
  }
  for (int s = 0; s < p->n_steps; s++) /* what a step reads and writes lives at that step */
    for (int k = 0; k < p->steps[s].n_in + p->steps[s].n_out; k++) {
      int v = k < p->steps[s].n_in ? p->steps[s].in[k] : p->steps[s].out[k - p->steps[s].n_in];
      const myna__value *r = v >= 0 ? &p->values[p->values[v].root] : NULL;
      if (r && r->kind == MYNA__VAL_BUFFER) assert_true(r->first <= s && s <= r->last);
    }
}

/* ---- random graphs ---- */

enum { POOL = 400 };

/* One random op on random arrays of the pool; NULL when the draw does not fit. All values are F32 [4, 6] or [6, 4]. */
static myna_array *draw(myna_ctx *c, test_rng *r, myna_array **pool, int n) {
  int recent = n < 8 ? n : 8;
  myna_array *a = pool[n - 1 - test_int(r, recent)], *b = pool[n - 1 - test_int(r, recent)];
  bool fits = myna_dim(a, 0) == myna_dim(b, 0);
  int64_t rows = myna_dim(a, 0), cols = myna_dim(a, 1);
  switch (test_int(r, 18)) {
  case 0: return fits ? myna_add(c, a, b) : myna_add(c, a, myna_transpose(c, b, NULL));
  case 1: return fits ? myna_mul(c, a, b) : NULL;
  case 2: return rows == cols ? NULL : myna_transpose(c, a, NULL);
  case 3: return myna_tanh(c, a);
  case 4: return myna_reshape(c, a, D(cols, rows));
  case 5: return myna_slice(c, a, (int64_t[]){rows - 1, 0}, (int64_t[]){INT64_MAX, INT64_MAX}, (int64_t[]){-1, 1});
  case 6:
    return myna_sub(c, a,
                    myna_slice(c, a, (int64_t[]){0, cols - 1}, (int64_t[]){INT64_MAX, INT64_MAX}, (int64_t[]){1, -1}));
  case 7: return myna_softmax(c, a, (int)test_int(r, 2));
  case 8: return myna_add(c, a, myna_sum(c, a, (int[]){(int)test_int(r, 2)}, 1, true));
  case 9: return myna_scale(c, a, 0.5);
  case 10: return fits ? myna_where(c, myna_gt(c, a, b), a, myna_neg(c, b)) : NULL;
  case 11:
    return myna_concat(c, (myna_array *[]){myna_slice_axis(c, a, 0, 1, rows), myna_slice_axis(c, a, 0, 0, 1)}, 2, 0);
  case 12: return myna_rms_norm(c, a, NULL, 1e-3);
  case 13: return myna_broadcast_to(c, myna_slice_axis(c, a, 0, 1, 2), D(rows, cols));
  case 14: return fits ? myna_gated(c, MYNA_ACT_SILU, a, b) : NULL;
  case 15: return myna_matmul(c, myna_softmax(c, myna_matmul(c, a, myna_transpose(c, a, NULL)), 1), a);
  case 16: return myna_stop_gradient(c, a);
  default: return fits ? myna_maximum(c, a, myna_sub(c, b, a)) : NULL;
  }
}

static void random_graph(uint64_t seed, int size, bool fuse) {
  myna_ctx *c = new_ctx(1);
  myna_err err = {0};
  myna_array *lazy[POOL], *eager[POOL], *in = myna_input(c, "x", MYNA_F32, D(4, 6)), *outs[4];
  test_rng ra = {seed}, rb = {seed};
  lazy[0] = in;
  eager[0] = myna_from(c, MYNA_F32, D(4, 6), x_data);
  for (int n = 1; n < size;) {
    myna_array *a = draw(c, &ra, lazy, n), *b = draw(c, &rb, eager, n);
    if (!a != !b) die(c, "random graph", NULL);
    if (!a) continue;
    lazy[n] = a;
    eager[n++] = b;
    ASSERT_OK_ERR(myna_eval(c, &b, 1, &err), &err); /* one node at a time */
  }
  for (int i = 0; i < 4; i++) outs[i] = lazy[size - 1 - i * (size / 5)];
  myna_plan *p;
  ASSERT_OK_ERR(myna_plan_new(&p, c, &in, 1, outs, 4, &(myna_plan_options){.exact = true, .no_fuse = !fuse}, &err),
                &err);
  check_placement(p);
  for (int round = 0; round < 2; round++) {
    ASSERT_OK_ERR(myna_plan_run(p, (void *[]){x_data}, NULL, &err), &err);
    for (int i = 0; i < 4; i++)
      if (memcmp(myna_plan_output(p, i), myna_data(eager[size - 1 - i * (size / 5)], &err), 24 * sizeof(float)) != 0)
        fail_msg("random graph %llu of %d: output %d differs", (unsigned long long)seed, size, i);
  }
  myna_plan_free(p);
  myna_ctx_free(c);
}

static void test_random_graphs(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 150; seed++) random_graph(seed, 20 + (int)(seed % 30), seed % 2);
  for (uint64_t seed = 500; seed < 504; seed++) random_graph(seed, POOL, seed % 2);
}

/* A graph of thousands of buffers goes the other way of placing. */
static void test_many_buffers(void **state) {
  (void)state;
  enum { MANY = 3000 };
  myna_ctx *c = new_ctx(1);
  myna_err err = {0};
  myna_array *x = myna_input(c, "x", MYNA_F32, D(5)), *alive[16], *total = x;
  test_rng rng = {77};
  for (int i = 0; i < 16; i++) alive[i] = myna_offset(c, x, i);
  for (int i = 0; i < MANY; i++) {
    int k = (int)test_int(&rng, 16), j = (int)test_int(&rng, 16), pad = (int)test_int(&rng, 50);
    myna_array *wide = myna_pad(c, alive[k], (int64_t[]){pad}, (int64_t[]){0}, 1);
    alive[j] = myna_tanh(c, myna_add(c, alive[j], myna_slice_axis(c, myna_cumsum(c, wide, 0), 0, pad, pad + 5)));
  }
  for (int i = 0; i < 16; i++) total = myna_add(c, total, alive[i]);
  myna_plan *p;
  ASSERT_OK_ERR(myna_plan_new(&p, c, &x, 1, &total, 1, NULL, &err), &err);
  check_placement(p);
  if (p->n_steps < MANY || p->memory_bytes > 64 * 1024)
    fail_msg("%d steps in %lld bytes", p->n_steps, (long long)p->memory_bytes); /* several times 600 kB in all */
  float data[5] = {1, 2, 3, 4, 5}, first[5];
  ASSERT_OK_ERR(myna_plan_run(p, (void *[]){data}, NULL, &err), &err);
  memcpy(first, myna_plan_output(p, 0), sizeof first);
  ASSERT_OK_ERR(myna_plan_run(p, (void *[]){data}, NULL, &err), &err);
  assert_memory_equal(first, myna_plan_output(p, 0), sizeof first);
  assert_true(isfinite(first[0]) && first[0] != first[1]);
  myna_plan_free(p);
  myna_ctx_free(c);
}

/* x + transpose(x) where x dies: the sum must not be written over what is still to be read. */
static void test_hazards(void **state) {
  (void)state;
  myna_ctx *c = new_ctx(1);
  myna_err err = {0};
  float want[9];
  for (int kind = 0; kind < 6; kind++) {
    myna_array *x = myna_reshape(c, myna_scale(c, myna_arange(c, MYNA_F32, 0, 9, 1), 1), D(3, 3)), *y = NULL;
    myna_array *t = myna_transpose(c, x, NULL),
               *flipped = myna_slice(c, x, (int64_t[]){2, 2}, (int64_t[]){INT64_MAX, INT64_MAX}, (int64_t[]){-1, -1});
    myna_array *row = myna_broadcast_to(c, myna_slice_axis(c, x, 0, 1, 2), D(3, 3));
    if (kind == 0) y = myna_add(c, x, t);
    if (kind == 1) y = myna_add(c, t, x);
    if (kind == 2) y = myna_sub(c, x, flipped);
    if (kind == 3) y = myna_add(c, x, row);
    if (kind == 4) y = myna_where(c, myna_ge(c, x, t), t, x);
    if (kind == 5) y = myna_add(c, x, x);
    for (int i = 0; i < 9; i++) {
      float a = (float)i, b = (float)(i % 3 * 3 + i / 3);
      want[i] = kind < 2    ? a + b
                : kind == 2 ? a - (float)(8 - i)
                : kind == 3 ? a + (float)(3 + i % 3)
                : kind == 4 ? (a >= b ? b : a)
                            : 2 * a;
    }
    const float *p = myna_data(y, &err);
    if (!p) die(c, "hazard", &err);
    if (memcmp(p, want, sizeof want) != 0) fail_msg("hazard %d", kind);
  }
  /* a chain of element-wise steps needs one buffer */
  myna_array *x = myna_input(c, "x", MYNA_F32, D(1000)), *y = myna_exp(c, x);
  for (int i = 0; i < 10; i++) y = myna_tanh(c, myna_scale(c, y, 0.5));
  myna_plan *p;
  ASSERT_OK_ERR(myna_plan_new(&p, c, &x, 1, &y, 1, NULL, &err), &err);
  assert_true(p->scratch_offset <= 4096);
  myna_plan_free(p);
  /* an input and an output are never written over */
  static float data[1000];
  myna_array *outs[2] = {myna_exp(c, x), NULL};
  outs[1] = myna_scale(c, outs[0], 2);
  ASSERT_OK_ERR(myna_plan_new(&p, c, &x, 1, outs, 2, NULL, &err), &err);
  ASSERT_OK_ERR(myna_plan_run(p, (void *[]){data}, NULL, &err), &err);
  assert_true(data[5] == 0 && myna_plan_output(p, 0)[5] == 1 && myna_plan_output(p, 1)[5] == 2);
  myna_plan_free(p);
  myna_ctx_free(c);
}

/* ---- what a plan keeps ---- */

static void test_life(void **state) {
  (void)state;
  int64_t start = myna__mem_in_use();
  myna_ctx *c = new_ctx(1);
  myna_err err = {0};
  float data[6] = {1, 2, 3, 4, 5, 6};
  myna_plan *p;
  myna_scope_begin(c);
  myna_array *x = myna_input(c, "x", MYNA_F32, D(2, 3)), *w = myna_from(c, MYNA_F32, D(3), (float[]){1, 10, 100});
  myna_array *constant = myna_scale(c, w, 2), *folded = myna_offset(c, constant, 1);
  myna_array *outs[6] = {
      myna_transpose(c, myna_mul(c, x, constant), NULL), x, folded, w, myna_slice_axis(c, x, 1, 1, 2), folded};
  ASSERT_OK_ERR(myna_plan_new(&p, c, &x, 1, outs, 6, NULL, &err), &err);
  /* evaluating what the plan was made of frees nodes and leaves the plan as it is */
  ASSERT_OK_ERR(myna_eval(c, (myna_array *[]){constant, folded}, 2, &err), &err);
  myna_scope_end(c);
  for (int i = 0; i < 200; i++) myna_full(c, MYNA_F32, D(3), 7 + i); /* reuse the memory */
  for (int round = 0; round < 2; round++) {
    ASSERT_OK_ERR(myna_plan_run(p, (void *[]){data}, NULL, &err), &err);
    assert_memory_equal(myna_plan_output(p, 0), ((float[]){2, 8, 40, 100, 600, 1200}), 24); /* contiguous */
    assert_memory_equal(myna_plan_output(p, 1), data, 24);
    assert_memory_equal(myna_plan_output(p, 2), ((float[]){3, 21, 201}), 12);
    assert_memory_equal(myna_plan_output(p, 3), ((float[]){1, 10, 100}), 12);
    assert_memory_equal(myna_plan_output(p, 4), ((float[]){2, 5}), 8);
    assert_memory_equal(myna_plan_output(p, 5), myna_plan_output(p, 2), 12);
  }
  assert_null(myna_plan_output(p, 6));
  assert_null(myna_plan_output(p, -1));
  myna_plan_free(p);
  myna_plan_free(NULL);
  myna_ctx_free(c);
  assert_int_equal(myna__mem_in_use(), start);
}

/* ---- fusion keeps bits ---- */

static myna_array *block(myna_ctx *c, myna_array *x, myna_array *const *w) {
  myna_array *h = myna_rms_norm(c, x, w[0], 1e-5), *up[2];
  myna_linear_list(c, h, w + 1, NULL, 2, up);
  myna_array *y = myna_linear(c, myna_gated(c, MYNA_ACT_SILU, up[0], up[1]), w[3], NULL);
  return myna_add(c, x, y);
}

static void test_fusion(void **state) {
  (void)state;
  myna_ctx *c = new_ctx(2);
  myna_err err = {0};
  myna_array *w[4] = {myna_random_uniform(c, 1, D(DIM), 0.5, 1.5), myna_random_normal(c, 2, D(40, DIM), 0, 0.3),
                      myna_random_normal(c, 3, D(40, DIM), 0, 0.3), myna_random_normal(c, 4, D(DIM, 40), 0, 0.3)};
  ASSERT_OK_ERR(myna_eval(c, w, 4, &err), &err);
  myna_array *x = myna_input(c, "hidden", MYNA_F32, D(MYNA_SYM(0), DIM)), *y = block(c, block(c, x, w), w);
  myna_plan *fused, *plain;
  ASSERT_OK_ERR(myna_plan_new(&fused, c, &x, 1, &y, 1, &(myna_plan_options){.sym_max = {64}}, &err), &err);
  ASSERT_OK_ERR(myna_plan_new(&plain, c, &x, 1, &y, 1, &(myna_plan_options){.sym_max = {64}, .no_fuse = true}, &err),
                &err);
  assert_true(fused->n_steps < plain->n_steps);
  check_placement(fused);
  for (int64_t n = 1; n <= 64; n += 21) {
    ASSERT_OK_ERR(myna_plan_run(fused, (void *[]){x_data}, &n, &err), &err);
    ASSERT_OK_ERR(myna_plan_run(plain, (void *[]){x_data}, &n, &err), &err);
    assert_memory_equal(myna_plan_output(fused, 0), myna_plan_output(plain, 0), (size_t)(n * DIM) * sizeof(float));
  }
  /* the text names steps, inputs and shapes, and is cut where the buffer ends */
  char text[2000], part[10];
  int64_t len = myna_plan_print(plain, text, sizeof text);
  assert_true(len > 0 && len < (int64_t)sizeof text);
  text[len] = 0;
  assert_non_null(strstr(text, "rms_norm  hidden"));
  assert_non_null(strstr(text, "F32[SYM0,24]"));
  assert_int_equal(myna_plan_print(plain, part, sizeof part), len);
  assert_memory_equal(part, text, sizeof part);
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) { /* operands are earlier steps */
    long step = strtol(line + 1, NULL, 10);
    for (char *at = strchr(line + 1, '%'); at; at = strchr(at + 1, '%')) assert_true(strtol(at + 1, NULL, 10) < step);
  }
  myna_plan_free(fused);
  myna_plan_free(plain);
  myna_ctx_free(c);
}

/* ---- errors ---- */

static void test_errors(void **state) {
  (void)state;
  myna_ctx *c = new_ctx(1);
  myna_err err = {0};
  myna_plan *p;
  float data[8] = {0};
  myna_array *x = myna_input(c, "x", MYNA_F32, D(MYNA_SYM(2), 4)), *other = myna_input(c, "other", MYNA_F32, D(4)),
             *y = myna_add(c, x, other);
  myna_array *both[2] = {x, other};
  ASSERT_FAILS(myna_plan_new(&p, c, &x, 1, &y, 1, NULL, &err), MYNA_E_ARG, &err,
               "input other is not among the plan's inputs");
  assert_null(p);
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_new(&p, c, (myna_array *[]){x, y}, 2, &y, 1, NULL, &err), MYNA_E_ARG, &err,
               "plan input 1 is not a placeholder");
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_new(&p, c, both, 2, (myna_array *[]){NULL}, 1, NULL, &err), MYNA_E_ARG, &err,
               "plan output 0 is NULL");
  err = (myna_err){0};
  myna_array *turned = myna_transpose(c, x, NULL);
  ASSERT_FAILS(myna_plan_new(&p, c, both, 2, &turned, 1, NULL, &err), MYNA_E_SHAPE, &err, "symbolic dimension");
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_new(&p, c, both, 2, &y, 1, &(myna_plan_options){.sym_max = {0, 0, INT64_MAX / 16}}, &err),
               MYNA_E_LIMIT, &err, "too large");
  err = (myna_err){0};
  ASSERT_OK_ERR(myna_plan_new(&p, c, both, 2, &y, 1, &(myna_plan_options){.sym_max = {0, 0, 2}}, &err), &err);
  ASSERT_FAILS(myna_plan_run(p, (void *[]){data, data}, (int64_t[]){0, 0, 3}, &err), MYNA_E_SHAPE, &err,
               "symbol 2 is 3, the plan's maximum is 2");
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_run(p, (void *[]){data, data}, (int64_t[]){0, 0, -1}, &err), MYNA_E_SHAPE, &err,
               "symbol 2 is -1");
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_run(p, (void *[]){data, data}, NULL, &err), MYNA_E_ARG, &err, "3 symbols");
  err = (myna_err){0};
  ASSERT_FAILS(myna_plan_run(p, NULL, (int64_t[]){0, 0, 1}, &err), MYNA_E_ARG, &err, "2 inputs");
  err = (myna_err){0};
  ASSERT_OK_ERR(myna_plan_run(p, (void *[]){data, data}, (int64_t[]){0, 0, 2}, &err), &err);
  myna_plan_free(p);
  myna_ctx_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_symbols),      cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_random_graphs),
      cmocka_unit_test(test_many_buffers), cmocka_unit_test(test_hazards),       cmocka_unit_test(test_life),
      cmocka_unit_test(test_fusion),       cmocka_unit_test(test_errors),
  };
  return cmocka_run_group_tests(tests, fill_data, NULL);
}
