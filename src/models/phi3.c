/* phi3.c: Phi 3, 3.5 and 4-mini: fused q, k, v and [gate; up] matrices, partial rotation, long and short rope factors chosen by the
 * run's context, sliding window on every layer. Source: transformers modeling_phi3. */
#include "models/keys.h"
#include <math.h>

static const myna__key keys[] = {
    KEYS_COMMON, KEY_I("%s.attention.sliding_window", "sliding_window", window, false), {0}};

static const myna__weight_spec weights[] = {
    WEIGHTS_ENDS,
    OPTIONAL(ROPE_LONG, "rope_factors_long.weight", NULL, "R"),
    OPTIONAL(ROPE_SHORT, "rope_factors_short.weight", NULL, "R"),
    OPTIONAL(ATTN_QKV, "blk.%d.attn_qkv.weight", "model.layers.%d.self_attn.qkv_proj.weight", "H*D+G*D+G*C,E"),
    OPTIONAL(ATTN_Q, "blk.%d.attn_q.weight", NULL, "H*D,E"),
    OPTIONAL(ATTN_K, "blk.%d.attn_k.weight", NULL, "G*D,E"),
    OPTIONAL(ATTN_V, "blk.%d.attn_v.weight", NULL, "G*C,E"),
    OPTIONAL(ATTN_QKV_BIAS, "blk.%d.attn_qkv.bias", NULL, "H*D+G*D+G*C"),
    WEIGHTS_QKV_BIAS,
    OPTIONAL(ATTN_QKV_SCALE, "blk.%d.attn_qkv.scale", NULL, "1"),
    WEIGHTS_QKV_SCALE,
    WEIGHTS_O,
    WEIGHTS_NORMS,
    WEIGHT(FFN_UP, "blk.%d.ffn_up.weight", "model.layers.%d.mlp.gate_up_proj.weight", "2*F,E"),
    WEIGHT(FFN_DOWN, "blk.%d.ffn_down.weight", "model.layers.%d.mlp.down_proj.weight", "E,F"),
    WEIGHTS_MLP_SCALE,
    {0},
};

static int64_t window_of(const myna__config *g, int layer) {
  (void)layer;
  return g->window;
}

static myna_array *build(myna__build *b) {
  const myna__config *g = b->cfg;
  int64_t orig = g->rope_orig_ctx ? g->rope_orig_ctx : g->n_ctx_train;
  nn_attention_options o = {.window = g->window};
  o.rope_factors = nn_w(b, -1, g->n_ctx > orig ? MYNA__W_ROPE_LONG : MYNA__W_ROPE_SHORT);
  myna_array *x = nn_embed(b);
  for (int i = 0; i < g->n_layer; i++) {
    x = myna_add(b->c, nn_attention(b, i, nn_norm(b, i, MYNA__W_ATTN_NORM, x), &o), x);
    x = myna_add(b->c, nn_mlp(b, i, nn_norm(b, i, MYNA__W_FFN_NORM, x), MYNA_ACT_SILU), x);
  }
  return nn_head(b, x);
}

const myna__family myna__family_phi3 = {
    .arch = "phi3", .keys = keys, .weights = weights, .window_of = window_of, .build = build};
