/* qwen3moe.c: Qwen 3 with experts in every layer: softmax over all experts, top-k, renormalised.
 * Source: transformers modeling_qwen3_moe. */
#include "models/keys.h"

static const myna__key keys[] = {KEYS_COMMON, KEYS_EXPERTS, {0}};

static const myna__weight_spec weights[] = {
    WEIGHTS_ENDS,
    WEIGHTS_QKV,
    WEIGHTS_QKV_BIAS,
    WEIGHTS_QK_NORM,
    WEIGHTS_O,
    WEIGHTS_NORMS,
    WEIGHT(FFN_ROUTER, "blk.%d.ffn_gate_inp.weight", "model.layers.%d.mlp.gate.weight", "X,E"),
    WEIGHT(FFN_GATE_EXPS, "blk.%d.ffn_gate_exps.weight", NULL, "X,M,E"),
    WEIGHT(FFN_UP_EXPS, "blk.%d.ffn_up_exps.weight", NULL, "X,M,E"),
    WEIGHT(FFN_DOWN_EXPS, "blk.%d.ffn_down_exps.weight", NULL, "X,E,M"),
    WEIGHTS_EXPERTS_SCALE,
    {0},
};

static myna_array *build(myna__build *b) {
  nn_attention_options o = {.qk_norm = true};
  myna_array *x = nn_embed(b);
  for (int i = 0; i < b->cfg->n_layer; i++) {
    x = myna_add(b->c, nn_attention(b, i, nn_norm(b, i, MYNA__W_ATTN_NORM, x), &o), x);
    x = myna_add(b->c, nn_moe(b, i, nn_norm(b, i, MYNA__W_FFN_NORM, x), MYNA_ACT_SILU, MYNA_ROUTER_SOFTMAX, true), x);
  }
  return nn_head(b, x);
}

const myna__family myna__family_qwen3moe = {.arch = "qwen3moe", .keys = keys, .weights = weights, .build = build};
