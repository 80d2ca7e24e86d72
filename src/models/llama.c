/* llama.c: Llama 1 to 3.x and its many clones; with experts: Mixtral. Rope rotates pairs (2i, 2i+1) of rows that the
 * GGUF converter permuted. Options: rope factors (3.1), biases, tied head. Source: transformers modeling_llama. */
#include "models/keys.h"

static const myna__key keys[] = {KEYS_COMMON, KEYS_EXPERTS, {0}};

static const myna__weight_spec weights[] = {
    WEIGHTS_ENDS,
    OPTIONAL(ROPE_FACTORS, "rope_freqs.weight", NULL, "R"),
    WEIGHTS_QKV,
    WEIGHTS_QKV_BIAS,
    WEIGHTS_O,
    WEIGHTS_NORMS,
    OPTIONAL(FFN_GATE, "blk.%d.ffn_gate.weight", "model.layers.%d.mlp.gate_proj.weight", "F,E"),
    OPTIONAL(FFN_UP, "blk.%d.ffn_up.weight", "model.layers.%d.mlp.up_proj.weight", "F,E"),
    OPTIONAL(FFN_DOWN, "blk.%d.ffn_down.weight", "model.layers.%d.mlp.down_proj.weight", "E,F"),
    OPTIONAL(FFN_GATE_BIAS, "blk.%d.ffn_gate.bias", "model.layers.%d.mlp.gate_proj.bias", "F"),
    OPTIONAL(FFN_UP_BIAS, "blk.%d.ffn_up.bias", "model.layers.%d.mlp.up_proj.bias", "F"),
    OPTIONAL(FFN_DOWN_BIAS, "blk.%d.ffn_down.bias", "model.layers.%d.mlp.down_proj.bias", "E"),
    WEIGHTS_MLP_SCALE,
    OPTIONAL(FFN_ROUTER, "blk.%d.ffn_gate_inp.weight", "model.layers.%d.block_sparse_moe.gate.weight", "X,E"),
    OPTIONAL(FFN_GATE_EXPS, "blk.%d.ffn_gate_exps.weight", NULL, "X,M,E"),
    OPTIONAL(FFN_UP_EXPS, "blk.%d.ffn_up_exps.weight", NULL, "X,M,E"),
    OPTIONAL(FFN_DOWN_EXPS, "blk.%d.ffn_down_exps.weight", NULL, "X,E,M"),
    WEIGHTS_EXPERTS_SCALE,
    {0},
};

static myna_array *build(myna__build *b) {
  nn_attention_options o = {.interleaved = true, .rope_factors = nn_w(b, -1, MYNA__W_ROPE_FACTORS)};
  myna_array *x = nn_embed(b);
  for (int i = 0; i < b->cfg->n_layer; i++) {
    x = myna_add(b->c, nn_attention(b, i, nn_norm(b, i, MYNA__W_ATTN_NORM, x), &o), x);
    myna_array *h = nn_norm(b, i, MYNA__W_FFN_NORM, x);
    h = b->cfg->n_expert > 0 ? nn_moe(b, i, h, MYNA_ACT_SILU, MYNA_ROUTER_SOFTMAX, true)
                             : nn_mlp(b, i, h, MYNA_ACT_SILU);
    x = myna_add(b->c, h, x);
  }
  return nn_head(b, x);
}

const myna__family myna__family_llama = {.arch = "llama", .keys = keys, .weights = weights, .build = build};
