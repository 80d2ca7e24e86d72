/* qwen2.c: Qwen 2 and 2.5: biases on q, k and v. Rope rotates halves. Source: transformers modeling_qwen2. */
#include "models/keys.h"

static const myna__key keys[] = {KEYS_COMMON, {0}};

static const myna__weight_spec weights[] = {WEIGHTS_ENDS, OPTIONAL(OUTPUT_BIAS, "output.bias", NULL, "V"),
                                            WEIGHTS_QKV,  WEIGHTS_QKV_BIAS,
                                            WEIGHTS_O,    WEIGHTS_NORMS,
                                            WEIGHTS_MLP,  {0}};

static myna_array *build(myna__build *b) {
  nn_attention_options o = {0};
  myna_array *x = nn_embed(b);
  for (int i = 0; i < b->cfg->n_layer; i++) {
    x = myna_add(b->c, nn_attention(b, i, nn_norm(b, i, MYNA__W_ATTN_NORM, x), &o), x);
    x = myna_add(b->c, nn_mlp(b, i, nn_norm(b, i, MYNA__W_FFN_NORM, x), MYNA_ACT_SILU), x);
  }
  return nn_head(b, x);
}

const myna__family myna__family_qwen2 = {.arch = "qwen2", .keys = keys, .weights = weights, .build = build};
