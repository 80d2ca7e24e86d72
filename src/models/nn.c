/* nn.c: the mathematics that families share: embedding, norms, attention, MLP, experts, head. */
#include "models/models.h"
#include <math.h>
#include <string.h>

myna_array *nn_w(const myna__build *b, int layer, myna__role role) {
  return b->weights[(int64_t)(layer + 1) * MYNA__ROLE_COUNT + role];
}

static myna_array *optional(const myna__build *b, int layer, myna__role role) {
  return role == MYNA__ROLE_COUNT ? NULL : nn_w(b, layer, role);
}

static myna_array *adapted(myna__build *b, int layer, myna__role role, myna_array *x, myna_array *y) {
  return b->adapt ? b->adapt(b, layer, role, x, y) : y;
}

/* The scale tensor of a matrix; NULL when the file has none. */
static myna_array *scale_of(const myna__build *b, int layer, myna__role w) {
  static const myna__role table[][2] = {
      {MYNA__W_OUTPUT, MYNA__W_OUTPUT_SCALE},
      {MYNA__W_TOKEN_EMBD, MYNA__W_OUTPUT_SCALE}, /* a tied head */
      {MYNA__W_ATTN_QKV, MYNA__W_ATTN_QKV_SCALE},
      {MYNA__W_ATTN_Q, MYNA__W_ATTN_Q_SCALE},
      {MYNA__W_ATTN_K, MYNA__W_ATTN_K_SCALE},
      {MYNA__W_ATTN_V, MYNA__W_ATTN_V_SCALE},
      {MYNA__W_ATTN_O, MYNA__W_ATTN_O_SCALE},
      {MYNA__W_FFN_GATE, MYNA__W_FFN_GATE_SCALE},
      {MYNA__W_FFN_UP, MYNA__W_FFN_UP_SCALE},
      {MYNA__W_FFN_DOWN, MYNA__W_FFN_DOWN_SCALE},
      {MYNA__W_FFN_GATE_EXPS, MYNA__W_FFN_GATE_EXPS_SCALE},
      {MYNA__W_FFN_UP_EXPS, MYNA__W_FFN_UP_EXPS_SCALE},
      {MYNA__W_FFN_DOWN_EXPS, MYNA__W_FFN_DOWN_EXPS_SCALE},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i][0] == w) return nn_w(b, layer, table[i][1]);
  return NULL;
}

/* Weights that share x: y[i] = w[i] x times its scale, plus bias[i], with the adapter. In an MLP the scale multiplies the bias
 * too, as llama.cpp has it. n <= 3. */
static void linears(myna__build *b, int layer, const myna__role *roles, const myna__role *scales, myna_array *const *w,
                    myna_array *const *bias, int n, myna_array *x, myna_array **y) {
  myna_array *scale[3], *before[3], *after[3];
  for (int i = 0; i < n; i++) {
    bool mlp = scales[i] == MYNA__W_FFN_GATE || scales[i] == MYNA__W_FFN_UP || scales[i] == MYNA__W_FFN_DOWN;
    scale[i] = scale_of(b, layer, scales[i]);
    before[i] = !scale[i] || mlp ? bias[i] : NULL;
    after[i] = before[i] ? NULL : bias[i];
  }
  myna_linear_list(b->c, x, w, before, n, y);
  for (int i = 0; i < n; i++) {
    if (scale[i]) y[i] = myna_mul(b->c, y[i], scale[i]);
    if (after[i]) y[i] = myna_add(b->c, y[i], after[i]);
    y[i] = adapted(b, layer, roles[i], x, y[i]);
  }
}

/* Expert e's rows of y [n_tok, k, n] times scale[e]. */
static myna_array *expert_scaled(myna__build *b, int layer, myna__role w, myna_array *ids, myna_array *y) {
  myna_array *scale = scale_of(b, layer, w);
  return scale ? myna_mul(b->c, y, myna_expand_dims(b->c, myna_take(b->c, scale, ids, 0), -1)) : y;
}

myna_array *nn_linear(myna__build *b, int layer, myna__role w, myna__role bias, myna_array *x) {
  myna_array *weight = nn_w(b, layer, w), *add = optional(b, layer, bias), *y;
  linears(b, layer, &w, &w, &weight, &add, 1, x, &y);
  return y;
}

myna_array *nn_norm(myna__build *b, int layer, myna__role w, myna_array *x) {
  return myna_rms_norm(b->c, x, nn_w(b, layer, w), b->cfg->norm_eps);
}

myna_array *nn_embed(myna__build *b) {
  myna_array *x = myna_embed(b->c, nn_w(b, -1, MYNA__W_TOKEN_EMBD), b->tokens);
  return b->cfg->embd_scale != 0 && b->cfg->embd_scale != 1 ? myna_scale(b->c, x, b->cfg->embd_scale) : x;
}

myna_array *nn_head(myna__build *b, myna_array *x) {
  if (b->rows) x = myna_take(b->c, x, b->rows, 0);
  x = nn_norm(b, -1, MYNA__W_OUTPUT_NORM, x);
  myna__role head = nn_w(b, -1, MYNA__W_OUTPUT) ? MYNA__W_OUTPUT : MYNA__W_TOKEN_EMBD;
  x = nn_linear(b, -1, head, MYNA__W_OUTPUT_BIAS, x);
  double cap = b->cfg->softcap_logits;
  return cap != 0 ? myna_scale(b->c, myna_tanh(b->c, myna_scale(b->c, x, 1 / cap)), cap) : x;
}

/* Rope as the config scales it: linear and YaRN interpolate, longrope only carries a magnitude. */
static myna_rope_options rope_options(const myna__config *cfg, const nn_attention_options *o) {
  myna_rope_options r = {
      .n_rot = cfg->n_rot, .interleaved = o->interleaved, .base = o->rope_base != 0 ? o->rope_base : cfg->rope_base};
  if (o->unscaled_rope) return r;
  r.attn_factor = cfg->rope_attn_factor;
  bool yarn = strcmp(cfg->rope_type, "yarn") == 0, linear = !*cfg->rope_type || strcmp(cfg->rope_type, "linear") == 0;
  if ((yarn || linear) && cfg->rope_factor > 0) r.freq_scale = 1 / cfg->rope_factor;
  if (yarn) {
    r.ext_factor = cfg->rope_ext_factor > 0 ? cfg->rope_ext_factor : 1; /* llama.cpp writes -1 when there is none */
    r.beta_fast = cfg->rope_beta_fast != 0 ? cfg->rope_beta_fast : 32;
    r.beta_slow = cfg->rope_beta_slow != 0 ? cfg->rope_beta_slow : 1;
    r.orig_ctx = cfg->rope_orig_ctx ? cfg->rope_orig_ctx : cfg->n_ctx_train;
    if (cfg->rope_yarn_attn > 0 && cfg->rope_yarn_attn != 1 && cfg->rope_factor > 0) /* rope multiplies its own in */
      r.attn_factor =
          (r.attn_factor != 0 ? r.attn_factor : 1) * cfg->rope_yarn_attn / (1 + 0.1 * log(cfg->rope_factor));
  }
  return r;
}

/* q, k, v [n_tok, heads * dim] from three weights or one fused one: one step either way. */
static void project_qkv(myna__build *b, int layer, myna_array *x, myna_array **qkv) {
  const myna__config *g = b->cfg;
  static const myna__role roles[3] = {MYNA__W_ATTN_Q, MYNA__W_ATTN_K, MYNA__W_ATTN_V};
  static const myna__role biases[3] = {MYNA__W_ATTN_Q_BIAS, MYNA__W_ATTN_K_BIAS, MYNA__W_ATTN_V_BIAS};
  int64_t n[3] = {g->n_head * g->dim_k, g->n_head_kv * g->dim_k, g->n_head_kv * g->dim_v}, at = 0;
  myna_array *w[3], *bias[3], *fused = nn_w(b, layer, MYNA__W_ATTN_QKV),
                              *fused_bias = nn_w(b, layer, MYNA__W_ATTN_QKV_BIAS);
  for (int i = 0; i < 3; at += n[i++]) {
    w[i] = fused ? myna_weight_rows(b->c, fused, at, at + n[i]) : nn_w(b, layer, roles[i]);
    bias[i] = fused_bias ? myna_contiguous(b->c, myna_slice_axis(b->c, fused_bias, 0, at, at + n[i]))
                         : nn_w(b, layer, biases[i]);
  }
  static const myna__role fused_roles[3] = {MYNA__W_ATTN_QKV, MYNA__W_ATTN_QKV, MYNA__W_ATTN_QKV};
  linears(b, layer, roles, fused ? fused_roles : roles, w, bias, 3, x, qkv);
}

myna_array *nn_attention(myna__build *b, int layer, myna_array *x, const nn_attention_options *o) {
  const myna__config *g = b->cfg;
  int64_t n_tok = myna_dim(x, 0);
  myna_array *qkv[3];
  project_qkv(b, layer, x, qkv);
  myna_array *q = myna_reshape(b->c, qkv[0], (int64_t[]){n_tok, g->n_head, g->dim_k}, 3);
  myna_array *k = myna_reshape(b->c, qkv[1], (int64_t[]){n_tok, g->n_head_kv, g->dim_k}, 3);
  myna_array *v = myna_reshape(b->c, qkv[2], (int64_t[]){n_tok, g->n_head_kv, g->dim_v}, 3);
  if (o->qk_norm) {
    q = nn_norm(b, layer, MYNA__W_ATTN_Q_NORM, q);
    k = nn_norm(b, layer, MYNA__W_ATTN_K_NORM, k);
  }
  if (!o->no_rope) {
    myna_rope_options r = rope_options(g, o);
    q = myna_rope(b->c, q, b->pos, o->rope_factors, &r);
    k = myna_rope(b->c, k, b->pos, o->rope_factors, &r);
  }
  double scale = o->scale != 0 ? o->scale : g->attn_scale != 0 ? g->attn_scale : 1 / sqrt((double)g->dim_k);
  myna_array *y = b->attend(b, layer, q, k, v, &(myna__attend_options){scale, g->softcap_attn, o->window});
  y = myna_reshape(b->c, y, (int64_t[]){n_tok, g->n_head * g->dim_v}, 2);
  return nn_linear(b, layer, MYNA__W_ATTN_O, MYNA__W_ATTN_O_BIAS, y);
}

myna_array *nn_mlp(myna__build *b, int layer, myna_array *x, myna_act act) {
  static const myna__role roles[2] = {MYNA__W_FFN_GATE, MYNA__W_FFN_UP};
  myna_array *up = nn_w(b, layer, MYNA__W_FFN_UP), *gate = nn_w(b, layer, MYNA__W_FFN_GATE), *out[2];
  myna_array *w[2] = {gate, up},
             *bias[2] = {nn_w(b, layer, MYNA__W_FFN_GATE_BIAS), nn_w(b, layer, MYNA__W_FFN_UP_BIAS)};
  if (!gate) { /* [gate; up] in one matrix */
    w[0] = myna_weight_rows(b->c, up, 0, b->cfg->n_ff);
    w[1] = myna_weight_rows(b->c, up, b->cfg->n_ff, 2 * b->cfg->n_ff);
  }
  static const myna__role fused[2] = {MYNA__W_FFN_UP, MYNA__W_FFN_UP};
  linears(b, layer, roles, gate ? roles : fused, w, bias, 2, x, out);
  return nn_linear(b, layer, MYNA__W_FFN_DOWN, MYNA__W_FFN_DOWN_BIAS, myna_gated(b->c, act, out[0], out[1]));
}

myna_array *nn_moe(myna__build *b, int layer, myna_array *x, myna_act act, myna_router router, bool normalise) {
  myna_array *ids, *weights, *out[2], *y;
  myna_array *w[2] = {nn_w(b, layer, MYNA__W_FFN_GATE_EXPS), nn_w(b, layer, MYNA__W_FFN_UP_EXPS)},
             *down = nn_w(b, layer, MYNA__W_FFN_DOWN_EXPS);
  bool norm = b->cfg->expert_norm ? b->cfg->expert_norm > 0 : normalise;
  myna_array *logits = nn_linear(b, layer, MYNA__W_FFN_ROUTER, MYNA__ROLE_COUNT, x);
  myna_route(b->c, logits, NULL, b->cfg->n_expert_used, router, norm, b->cfg->expert_scale, &ids, &weights);
  myna_expert_linear_list(b->c, x, w, 2, ids, out);
  out[0] = expert_scaled(b, layer, MYNA__W_FFN_GATE_EXPS, ids, out[0]);
  out[1] = expert_scaled(b, layer, MYNA__W_FFN_UP_EXPS, ids, out[1]);
  myna_expert_linear_list(b->c, myna_gated(b->c, act, out[0], out[1]), &down, 1, ids, &y);
  return myna_expert_sum(b->c, expert_scaled(b, layer, MYNA__W_FFN_DOWN_EXPS, ids, y), weights);
}
