/* qwen3.c: Qwen 3 dense: RMS norm of q and k per head. Rope rotates halves. Source: transformers modeling_qwen3. */
#include "models/keys.h"

static const myna__key keys[] = {KEYS_COMMON, {0}};

static const myna__weight_spec weights[] = {WEIGHTS_ENDS, WEIGHTS_QKV,   WEIGHTS_QKV_BIAS, WEIGHTS_QK_NORM,
                                            WEIGHTS_O,    WEIGHTS_NORMS, WEIGHTS_MLP,      {0}};

static myna_array *build(myna__build *b) {
  nn_attention_options o = {.qk_norm = true};
  myna_array *x = nn_embed(b);
  for (int i = 0; i < b->cfg->n_layer; i++) {
    x = myna_add(b->c, nn_attention(b, i, nn_norm(b, i, MYNA__W_ATTN_NORM, x), &o), x);
    x = myna_add(b->c, nn_mlp(b, i, nn_norm(b, i, MYNA__W_FFN_NORM, x), MYNA_ACT_SILU), x);
  }
  return nn_head(b, x);
}

const myna__family myna__family_qwen3 = {.arch = "qwen3", .keys = keys, .weights = weights, .build = build};
