/* Every fused op against its own composition: forward in F32, and in F64 on the same numbers; gradients against central
 * differences of the composition in F64. Paged attention, which has no composition, against plain attention. */
#include "test.h"
#include "graph/graph.h"
#include <math.h>

enum { MAX_SIZE = 512 };

/* ---- random inputs ---- */

static test_rng rng;

static myna_array *floats_in(myna_ctx *c, int n_dims, const int64_t *dims, float lo, float hi) {
  float x[MAX_SIZE];
  int64_t n = myna__shape_size(dims, n_dims);
  assert_true(n <= MAX_SIZE);
  for (int64_t i = 0; i < n; i++) x[i] = lo + (hi - lo) * (0.5f + 0.5f * test_float(&rng));
  return myna_from(c, MYNA_F32, dims, n_dims, x);
}
#define F(...) floats_in(c, (int)MYNA__COUNT(((int64_t[]){__VA_ARGS__})), (int64_t[]){__VA_ARGS__}, -1, 1)
#define POSITIVE(...) floats_in(c, (int)MYNA__COUNT(((int64_t[]){__VA_ARGS__})), (int64_t[]){__VA_ARGS__}, 0.5f, 2)
#define I(n, ...) myna_from(c, MYNA_I32, (int64_t[]){n}, 1, (int32_t[]){__VA_ARGS__})

/* A weight in a packed type, from random floats. */
static myna_array *packed(myna_ctx *c, myna_dtype t, int64_t n_out, int64_t n_in) {
  static uint8_t blocks[8][1 << 14];
  static int next;
  float x[2048];
  uint8_t *p = blocks[next++ % 8];
  int64_t row = n_in / myna_dtype_block(t) * myna_dtype_bytes(t);
  assert_true(n_in <= 2048 && row * n_out <= 1 << 14);
  for (int64_t i = 0; i < n_out; i++) {
    for (int64_t k = 0; k < n_in; k++) x[k] = test_float(&rng);
    myna__quant_get(t)->from_f32(p + i * row, x, NULL, n_in);
  }
  return myna_weight(c, t, (int64_t[]){n_out, n_in}, 2, &(myna_planes){.plane = {p}});
}

/* ---- what is tested: each builds its inputs and returns an output of the fused op ---- */

typedef myna_array *build(myna_ctx *c);
#define FUSED(name, ...) \
  static myna_array *name(myna_ctx *c) { return __VA_ARGS__; }

/* clang-format off */
FUSED(rms, myna_rms_norm(c, F(3, 10), F(10), 1e-5))
FUSED(rms_3d, myna_rms_norm(c, F(2, 3, 33), NULL, 1e-3))
FUSED(rms_1d, myna_rms_norm(c, F(16), F(16), 1e-6))
FUSED(layer, myna_layer_norm(c, F(3, 10), F(10), F(10), 1e-5))
FUSED(layer_bare, myna_layer_norm(c, F(2, 2, 17), NULL, NULL, 1e-5))
FUSED(gated_silu, myna_gated(c, MYNA_ACT_SILU, F(3, 5), F(3, 5)))
FUSED(gated_gelu, myna_gated(c, MYNA_ACT_GELU, F(3, 5), F(3, 5)))
FUSED(gated_gelu_tanh, myna_gated(c, MYNA_ACT_GELU_TANH, F(2, 2, 5), F(2, 2, 5)))
FUSED(gated_relu, myna_gated(c, MYNA_ACT_RELU, POSITIVE(3, 5), F(3, 5)))
FUSED(linear_plain, myna_linear(c, F(3, 7), F(5, 7), NULL))
FUSED(linear_bias, myna_linear(c, F(2, 2, 7), F(5, 7), F(5)))
FUSED(linear_1d, myna_linear(c, F(7), F(5, 7), NULL))
FUSED(linear_view, myna_linear(c, myna_transpose(c, F(7, 3), NULL), myna_transpose(c, F(7, 5), NULL), NULL))
FUSED(linear_bf16, myna_linear(c, F(3, 6), myna_astype(c, F(4, 6), MYNA_BF16), NULL))
FUSED(linear_q8, myna_linear(c, F(3, 64), packed(c, MYNA_Q8_0, 6, 64), F(6)))
FUSED(linear_q4k, myna_linear(c, F(1, 256), packed(c, MYNA_Q4_K, 3, 256), NULL))
FUSED(expert_sum, myna_expert_sum(c, F(3, 2, 5), F(3, 2)))
FUSED(embed, myna_embed(c, F(5, 6), myna_reshape(c, I(4, 1, 4, 0, 1), (int64_t[]){2, 2}, 2)))
FUSED(embed_stray, myna_embed(c, F(5, 6), I(3, 1, -1, 5)))
FUSED(embed_q8, myna_embed(c, packed(c, MYNA_Q8_0, 4, 32), I(3, 3, 0, 1)))
FUSED(cross_entropy, myna_cross_entropy(c, F(4, 6), I(4, 5, 0, -1, 2)))
FUSED(cross_entropy_none, myna_cross_entropy(c, F(2, 6), I(2, -1, -5)))
FUSED(rope_neox, myna_rope(c, F(3, 2, 8), I(3, 0, 1, 7), NULL, NULL))
FUSED(rope_pairs, myna_rope(c, F(3, 2, 8), I(3, 5, 1, 0), NULL, &(myna_rope_options){.interleaved = true, .base = 500}))
FUSED(rope_part, myna_rope(c, F(3, 2, 10), I(3, 0, 3, 9), NULL, &(myna_rope_options){.n_rot = 6, .freq_scale = 0.25}))
FUSED(rope_factors, myna_rope(c, F(2, 2, 8), I(2, 4, 9), POSITIVE(4), &(myna_rope_options){.interleaved = true}))
FUSED(rope_inverse, myna_rope(c, F(2, 2, 8), I(2, 4, 9), NULL, &(myna_rope_options){.inverse = true}))
FUSED(rope_yarn, myna_rope(c, F(3, 1, 16), I(3, 1, 50, 100), NULL,
                           &(myna_rope_options){.freq_scale = 0.25, .ext_factor = 1, .beta_fast = 32, .beta_slow = 1, .orig_ctx = 64}))
FUSED(rope_slice, myna_rope(c, myna_slice_axis(c, F(3, 2, 12), 2, 0, 8), I(3, 0, 1, 7), NULL, NULL))
FUSED(attn, myna_attention(c, F(2, 3, 2, 4), F(2, 5, 2, 4), F(2, 5, 2, 3), NULL, NULL, NULL))
FUSED(attn_gqa, myna_attention(c, F(1, 4, 4, 4), F(1, 4, 2, 4), F(1, 4, 2, 4), NULL, NULL, &(myna_attention_options){.causal = true}))
FUSED(attn_window, myna_attention(c, F(1, 3, 2, 4), F(1, 6, 1, 4), F(1, 6, 1, 4), NULL, NULL, &(myna_attention_options){.causal = true, .window = 2, .scale = 0.7}))
FUSED(attn_softcap, myna_attention(c, F(1, 3, 2, 4), F(1, 3, 2, 4), F(1, 3, 2, 4), NULL, F(2), &(myna_attention_options){.causal = true, .softcap = 1.5}))

FUSED(attn_free_window, myna_attention(c, F(1, 5, 2, 4), F(1, 5, 2, 4), F(1, 5, 2, 4), NULL, NULL, &(myna_attention_options){.window = 2}))
FUSED(attn_long_keys, myna_attention(c, F(2, 2, 2, 4), F(2, 7, 1, 4), F(2, 7, 1, 3), NULL, F(2), &(myna_attention_options){.causal = true, .window = 3, .scale = -0.5}))
FUSED(rope_yarn_more, myna_rope(c, F(3, 1, 16), I(3, 1, 50, 100), NULL,
                                &(myna_rope_options){.base = 500, .freq_scale = 0.125, .ext_factor = 0.5, .beta_fast = 8, .beta_slow = 2, .orig_ctx = 256, .attn_factor = 1.25}))
FUSED(rope_magnitude, myna_rope(c, F(2, 2, 8), I(2, 3, 11), POSITIVE(4), &(myna_rope_options){.attn_factor = 0.75, .inverse = true}))
FUSED(rope_yarn_short, myna_rope(c, F(2, 1, 8), I(2, 7, 30), NULL,
                                 &(myna_rope_options){.freq_scale = 0.5, .ext_factor = 1, .beta_fast = 32, .beta_slow = 1, .orig_ctx = 4, .n_rot = 6}))

/* clang-format on */
static myna_array *attn_mask(myna_ctx *c) { /* the last query sees nothing */
  static const uint8_t m[] = {1, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0};
  return myna_attention(c, F(2, 3, 2, 4), F(2, 4, 1, 4), F(2, 4, 1, 4),
                        myna_from(c, MYNA_BOOL, (int64_t[]){1, 3, 4}, 3, m), NULL, NULL);
}

static myna_array *attn_mask_causal(myna_ctx *c) { /* both count; the mask is one for all batches */
  static const uint8_t m[] = {1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0};
  return myna_attention(c, F(2, 3, 2, 4), F(2, 4, 2, 4), F(2, 4, 2, 4),
                        myna_from(c, MYNA_BOOL, (int64_t[]){1, 3, 4}, 3, m), NULL,
                        &(myna_attention_options){.causal = true});
}

static myna_array *attn_mask_each(myna_ctx *c) { /* a mask of its own for each batch, and a view of a larger one */
  uint8_t m[40];
  for (int i = 0; i < 40; i++) m[i] = i % 3 != 1;
  return myna_attention(c, F(2, 2, 2, 4), F(2, 5, 2, 4), F(2, 5, 2, 4),
                        myna_slice_axis(c, myna_from(c, MYNA_BOOL, (int64_t[]){2, 4, 5}, 3, m), 1, 1, 3), F(2), NULL);
}

static myna_array *attn_turned(myna_ctx *c) { /* [n_batch, n_head, n, dim] as other frameworks have it */
  static const int perm[] = {0, 2, 1, 3};
  return myna_attention(c, myna_transpose(c, F(2, 2, 3, 4), perm), myna_transpose(c, F(2, 2, 5, 4), perm),
                        myna_transpose(c, F(2, 2, 5, 4), perm), NULL, NULL, NULL);
}

static myna_array *linear_list(myna_ctx *c) {
  myna_array *out[3];
  myna_linear_list(c, F(4, 6), (myna_array *[]){F(3, 6), F(5, 6), F(2, 6)}, (myna_array *[]){NULL, F(5), NULL}, 3, out);
  return out[1];
}

static myna_array *experts_slots(myna_ctx *c) { /* x per slot, two weights, an expert that does not exist */
  myna_array *out[2];
  myna_array *x = F(3, 2, 4), *w[2] = {F(3, 5, 4), F(3, 2, 4)};
  myna_expert_linear_list(c, x, w, 2, myna_reshape(c, I(6, 0, 2, 1, 1, 2, 7), (int64_t[]){3, 2}, 2), out);
  return out[0];
}

static myna_array *experts_shared(myna_ctx *c) {
  myna_array *out[1], *x = F(3, 4), *w[1] = {F(3, 5, 4)};
  myna_expert_linear_list(c, x, w, 1, myna_reshape(c, I(6, 0, 2, 1, 1, 2, 0), (int64_t[]){3, 2}, 2), out);
  return out[0];
}

static myna_array *experts_ids_view(myna_ctx *c) { /* ids as a slice of a wider table */
  myna_array *out[1], *x = F(3, 4), *w[1] = {F(3, 5, 4)},
                      *wide = myna_reshape(c, I(9, 0, 2, 1, 1, 2, 0, 2, 0, 1), (int64_t[]){3, 3}, 2);
  myna_expert_linear_list(c, x, w, 1, myna_slice_axis(c, wide, 1, 1, 3), out);
  return out[0];
}

static myna_array *route_with(myna_ctx *c, myna_router router, bool normalise, myna_array *bias) {
  myna_array *ids, *w;
  myna_route(c, F(4, 6), bias, 2, router, normalise, 1.5, &ids, &w);
  return w;
}
FUSED(route_softmax, route_with(c, MYNA_ROUTER_SOFTMAX, false, NULL))
FUSED(route_softmax_norm, route_with(c, MYNA_ROUTER_SOFTMAX, true, NULL))
FUSED(route_selected, route_with(c, MYNA_ROUTER_SOFTMAX_SELECTED, false, NULL))
FUSED(route_sigmoid, route_with(c, MYNA_ROUTER_SIGMOID, true, F(6)))
FUSED(route_sigmoid_raw, route_with(c, MYNA_ROUTER_SIGMOID, false, NULL))
FUSED(route_softmax_bias, route_with(c, MYNA_ROUTER_SOFTMAX, false, F(6)))
FUSED(route_selected_bias, route_with(c, MYNA_ROUTER_SOFTMAX_SELECTED, true, F(6)))

static const struct row {
  const char *name;
  build *fn;
} rows[] = {
/* clang-format off */
#define ROW(fn) {#fn, fn}
    ROW(rms), ROW(rms_3d), ROW(rms_1d), ROW(layer), ROW(layer_bare), ROW(gated_silu), ROW(gated_gelu), ROW(gated_gelu_tanh), ROW(gated_relu),
    ROW(linear_plain), ROW(linear_bias), ROW(linear_1d), ROW(linear_view), ROW(linear_bf16), ROW(linear_q8), ROW(linear_q4k), ROW(linear_list),
    ROW(experts_shared), ROW(experts_slots), ROW(experts_ids_view), ROW(expert_sum), ROW(embed), ROW(embed_stray), ROW(embed_q8),
    ROW(cross_entropy), ROW(cross_entropy_none), ROW(rope_neox), ROW(rope_pairs), ROW(rope_part), ROW(rope_factors), ROW(rope_inverse), ROW(rope_yarn),
    ROW(rope_slice), ROW(attn), ROW(attn_gqa), ROW(attn_window), ROW(attn_softcap), ROW(attn_mask), ROW(attn_turned), ROW(route_softmax),
    ROW(route_softmax_norm), ROW(route_selected), ROW(route_sigmoid), ROW(route_sigmoid_raw), ROW(route_softmax_bias), ROW(route_selected_bias),
    ROW(attn_free_window), ROW(attn_long_keys), ROW(attn_mask_causal), ROW(attn_mask_each), ROW(rope_yarn_more), ROW(rope_magnitude), ROW(rope_yarn_short),
#undef ROW
    /* clang-format on */
};

/* ---- comparing ---- */

static void die(myna_ctx *c, const char *name, const myna_err *err) {
  myna_err sticky = {0};
  char text[1024];
  myna_ctx_error(c, &sticky);
  fail_msg("%s: %s", name, myna_error_format(err && err->code ? err : &sticky, text, sizeof text));
}

static const double *doubles(myna_ctx *c, const char *name, myna_array *a) {
  myna_err err = {0};
  const double *p = a ? myna_data(myna_astype(c, a, MYNA_F64), &err) : NULL;
  if (!p) die(c, name, &err);
  return p;
}

static void compare(myna_ctx *c, const char *name, const char *what, myna_array *got, myna_array *want, double tol) {
  if (!got || !want) die(c, name, NULL);
  char a[128], b[128];
  if (!myna__spec_same_dims(&got->spec, &want->spec))
    fail_msg("%s (%s): %s, not %s", name, what, myna__spec_text(&got->spec, a, sizeof a),
             myna__spec_text(&want->spec, b, sizeof b));
  const double *x = doubles(c, name, got), *y = doubles(c, name, want);
  double scale = 1;
  for (int64_t i = 0; i < myna_size(got); i++) scale = fmax(scale, fabs(y[i]));
  for (int64_t i = 0; i < myna_size(got); i++)
    if (!(fabs(x[i] - y[i]) <= tol * scale))
      fail_msg("%s (%s): element %lld is %.9g, not %.9g", name, what, (long long)i, x[i], y[i]);
}

/* The composition of n with its inputs replaced. */
static void composed(myna_ctx *c, const char *name, const myna__node *n, myna_array **in, myna_array **out) {
  myna__node copy = *n;
  copy.in = in;
  if (n->op->compose(c, &copy, out) < 0) die(c, name, NULL);
}

static void test_forward(void **state) {
  (void)state;
  rng = test_rng_new(5);
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, NULL, &err), &err);
  for (size_t k = 0; k < MYNA__COUNT(rows); k++) {
    myna_scope_begin(c);
    myna_array *y = rows[k].fn(c), *out[MYNA__MAX_OUT] = {0};
    if (!y) die(c, rows[k].name, NULL);
    const myna__node *n = y->node;
    int index = y->index;
    c->tracing++; /* evaluation keeps the node */
    for (int i = 0; i < n->n_out; i++) {
      composed(c, rows[k].name, n, n->in, out);
      compare(c, rows[k].name, "forward", n->out[i], out[i], 4e-6);
      if (i == index) assert_int_equal(myna_type(out[i]), myna_type(n->out[i]));
    }
    c->tracing--;
    myna_scope_end(c);
  }
  myna_ctx_free(c);
}

/* ---- gradients ---- */

static myna_array *weighed(myna_ctx *c, myna_array *a) {
  myna_array *w =
      myna_sin(c, myna_offset(c, myna_scale(c, myna_arange(c, MYNA_F64, 0, (double)myna_size(a), 1), 1.7), 0.4));
  return myna_sum(c, myna_mul(c, myna_reshape(c, w, a->spec.dims, a->spec.n_dims), a), NULL, 0, false);
}

static bool wanted(const myna_array *a) { return a && myna__dtype_is_float(a->spec.type) && a->spec.type != MYNA_BF16; }

/* weighed(composition) in F64 with element e of input i moved by h. */
static double moved(myna_ctx *c, const char *name, const myna__node *n, int index, double (*x)[MAX_SIZE], int i,
                    int64_t e, double h) {
  myna_array *in[MYNA__MAX_IN], *out[MYNA__MAX_OUT] = {0};
  myna_err err = {0};
  myna_scope_begin(c);
  x[i][e] += h;
  for (int k = 0; k < n->n_in; k++)
    in[k] = wanted(n->in[k]) ? myna_from(c, MYNA_F64, n->in[k]->spec.dims, n->in[k]->spec.n_dims, x[k]) : n->in[k];
  x[i][e] -= h;
  composed(c, name, n, in, out);
  double v = myna_item(weighed(c, out[index]), &err);
  if (err.code) die(c, name, &err);
  myna_scope_end(c);
  return v;
}

static void check_gradient(myna_ctx *c, const char *name, myna_array *y) {
  static double x[MYNA__MAX_IN][MAX_SIZE];
  const double h = 1e-5;
  const myna__node *n = y->node;
  myna_array *wrt[MYNA__MAX_IN], *g[MYNA__MAX_IN];
  int which[MYNA__MAX_IN], m = 0;
  c->tracing++;
  for (int i = 0; i < n->n_in; i++)
    if (wanted(n->in[i])) {
      memcpy(x[i], doubles(c, name, n->in[i]), (size_t)myna_size(n->in[i]) * sizeof(double));
      which[m] = i;
      wrt[m++] = n->in[i];
    }
  if (myna_grad(c, weighed(c, y), wrt, m, g) < 0) die(c, name, NULL);
  for (int k = 0; k < m; k++) {
    double want[MAX_SIZE];
    for (int64_t e = 0; e < myna_size(wrt[k]); e++)
      want[e] =
          (moved(c, name, n, y->index, x, which[k], e, h) - moved(c, name, n, y->index, x, which[k], e, -h)) / (2 * h);
    char what[32];
    snprintf(what, sizeof what, "gradient of %d", which[k]);
    assert_int_equal(myna_type(g[k]), myna_type(wrt[k]));
    compare(c, name, what, g[k], myna_from(c, MYNA_F64, wrt[k]->spec.dims, wrt[k]->spec.n_dims, want), 3e-5);
  }
  c->tracing--;
}

static void test_gradients(void **state) {
  (void)state;
  rng = test_rng_new(6);
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, &(myna_ctx_options){.n_threads = 1}, &err), &err);
  for (size_t k = 0; k < MYNA__COUNT(rows); k++) {
    myna_scope_begin(c);
    myna_array *y = rows[k].fn(c);
    if (!y) die(c, rows[k].name, NULL);
    check_gradient(c, rows[k].name, y);
    myna_scope_end(c);
  }
  myna_ctx_free(c);
}

/* Every op with a composition has a row above. */
static void test_all_covered(void **state) {
  (void)state;
  rng = test_rng_new(7);
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, NULL, &err), &err);
  for (int i = 0; myna__op_at(i); i++) {
    bool found = !myna__op_at(i)->compose;
    for (size_t k = 0; k < MYNA__COUNT(rows) && !found; k++) {
      myna_array *y = rows[k].fn(c);
      found = y && y->node->op == myna__op_at(i);
    }
    if (!found) fail_msg("no row for %s", myna__op_at(i)->name);
  }
  myna_ctx_free(c);
}

/* A packed weight has no gradient: asking for one names it. Its x has. */
static void test_packed(void **state) {
  (void)state;
  rng = test_rng_new(8);
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, NULL, &err), &err);
  myna_array *w = packed(c, MYNA_Q4_0, 4, 32), *x = F(2, 32), *g[2];
  myna_array *v = myna_sum(c, myna_linear(c, x, w, NULL), NULL, 0, false);
  assert_int_equal(myna_grad(c, v, (myna_array *[]){x, w}, 2, g), MYNA_E_DTYPE);
  myna_ctx_error(c, &err);
  assert_non_null(strstr(err.msg, "Q4_0"));
  myna_ctx_clear(c);
  assert_int_equal(myna_grad(c, v, &x, 1, g), 0);
  int axis = 0;
  compare(c, "packed", "gradient", g[0],
          myna_broadcast_to(c, myna_sum(c, myna_dequantize(c, w), &axis, 1, true), (int64_t[]){2, 32}, 2), 1e-6);
  myna_ctx_free(c);
}

/* A plain weight that lies in a file, rows apart, is an array like any other; separate experts are weights only. */
static void test_weights(void **state) {
  (void)state;
  rng = test_rng_new(9);
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, NULL, &err), &err);
  float data[3][10];
  for (int i = 0; i < 30; i++) data[i / 10][i % 10] = test_float(&rng);
  myna_planes p = {.plane = {data}, .row_stride = {40}};
  myna_array *w = myna_weight(c, MYNA_F32, (int64_t[]){3, 8}, 2, &p), *x = F(2, 8), *g;
  compare(c, "weight", "linear", myna_linear(c, x, w, NULL), myna_matmul(c, x, myna_transpose(c, w, NULL)), 1e-6);
  compare(c, "weight", "softmax", myna_softmax(c, w, 1), myna_softmax(c, myna_contiguous(c, w), 1), 0);
  assert_int_equal(myna_grad(c, myna_sum(c, myna_linear(c, x, w, NULL), NULL, 0, false), &w, 1, &g), 0);
  const void *experts[2] = {data[0], data[1]};
  myna_array *e = myna_weight(c, MYNA_F32, (int64_t[]){2, 2, 4}, 3, &(myna_planes){.expert_plane0 = experts}), *out[1];
  assert_int_equal(myna_expert_linear_list(c, F(2, 4), &e, 1, myna_reshape(c, I(2, 1, 0), (int64_t[]){2, 1}, 2), out),
                   0);
  myna_array *composed_out[MYNA__MAX_OUT];
  composed(c, "experts", out[0]->node, out[0]->node->in, composed_out);
  compare(c, "experts", "apart", out[0], composed_out[0], 1e-6);
  assert_null(myna_neg(c, e));
  myna_ctx_error(c, &err);
  assert_non_null(strstr(err.msg, "neg: operand 0 is a weight"));
  myna_ctx_free(c);
}

/* ---- paged attention: prompts of two sequences in pieces against causal attention of each ---- */

enum { HEADS = 4, KV = 2, DIM = 16, LEN = 150, PAGES = 8 };

static void test_paged(void **state) {
  (void)state;
  static float q[2][LEN][HEADS][DIM], k[2][LEN][KV][DIM], v[2][LEN][KV][DIM];
  static const int32_t table[2][3] = {{5, 0, 3}, {1, 7, 2}};
  rng = test_rng_new(10);
  for (size_t i = 0; i < sizeof q / 4; i++) ((float *)q)[i] = test_float(&rng);
  for (size_t i = 0; i < sizeof k / 4; i++) ((float *)k)[i] = test_float(&rng), ((float *)v)[i] = test_float(&rng);
  myna_ctx *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_ctx_new(&c, NULL, &err), &err);
  myna_kv_layout l = {.type_k = MYNA_F32, .type_v = MYNA_F32, .n_kv_head = KV, .dim_k = DIM, .dim_v = DIM};
  l.page_stride = myna_kv_page_bytes(&l);
  assert_true(l.page_stride > 0 && l.page_stride % 64 == 0);
  myna_attention_options o = {.causal = true, .window = 100};
  const int64_t n = MYNA_SYM(0);
  int64_t bytes = PAGES * l.page_stride;
  myna_array *in[7] = {myna_state(c, "pool", MYNA_U8, &bytes, 1),
                       myna_input(c, "q", MYNA_F32, (int64_t[]){n, HEADS, DIM}, 3),
                       myna_input(c, "k", MYNA_F32, (int64_t[]){n, KV, DIM}, 3),
                       myna_input(c, "v", MYNA_F32, (int64_t[]){n, KV, DIM}, 3),
                       myna_input(c, "table", MYNA_I32, (int64_t[]){2, 3}, 2),
                       myna_input(c, "seq", MYNA_I32, &n, 1),
                       myna_input(c, "pos", MYNA_I32, &n, 1)};
  myna_array *pool = myna_kv_write(c, in[0], in[2], in[3], in[4], in[5], in[6], &l);
  myna_array *out[2] = {myna_attention_paged(c, in[1], pool, in[4], in[5], in[6], NULL, &l, &o), pool};
  myna_plan *p;
  ASSERT_OK_ERR(myna_plan_new(&p, c, in, 7, out, 2, &(myna_plan_options){.sym_max = {64}}, &err), &err);
  uint8_t *memory = calloc(1, (size_t)bytes + 64), *aligned = memory + (64 - (uintptr_t)memory % 64) % 64;
  static float got[2][LEN][HEADS][DIM];
  static const int chunks[] = {1, 33, 64, 52};
  for (int at = 0, step = 0; at < LEN; at += chunks[step++])
    for (int s = 0; s < 2; s++) {
      int32_t seq[64], pos[64];
      int64_t m = chunks[step];
      for (int i = 0; i < m; i++) seq[i] = s, pos[i] = at + i;
      ASSERT_OK_ERR(myna_plan_run(p,
                                  (void *[]){aligned, q[s][at], k[s][at], v[s][at], (void *)(uintptr_t)table, seq, pos},
                                  &m, &err),
                    &err);
      memcpy(got[s][at], myna_plan_output(p, 0), (size_t)m * HEADS * DIM * sizeof(float));
    }
  myna_array *want = myna_attention(c, myna_from(c, MYNA_F32, (int64_t[]){2, LEN, HEADS, DIM}, 4, q),
                                    myna_from(c, MYNA_F32, (int64_t[]){2, LEN, KV, DIM}, 4, k),
                                    myna_from(c, MYNA_F32, (int64_t[]){2, LEN, KV, DIM}, 4, v), NULL, NULL, &o);
  compare(c, "attention_paged", "against attention", myna_from(c, MYNA_F32, (int64_t[]){2, LEN, HEADS, DIM}, 4, got),
          want, 1e-5);
  free(memory);
  myna_plan_free(p);
  myna_ctx_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_forward), cmocka_unit_test(test_gradients), cmocka_unit_test(test_all_covered),
      cmocka_unit_test(test_packed),  cmocka_unit_test(test_weights),   cmocka_unit_test(test_paged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
