/* gemma3.c: Gemma 3 text: five sliding-window layers to one full layer with a rope base of their own, norms before and after each
 * block, norms of q and k, embeddings times sqrt(n_embd). GGUF norm weights carry the +1. Source: transformers modeling_gemma3. */
#include "models/keys.h"
#include <math.h>

static const myna__key keys[] = {
    KEYS_COMMON,
    KEY_I("%s.attention.sliding_window", "sliding_window", window, false),
    KEY_I("%s.attention.sliding_window_pattern", "sliding_window_pattern", window_pattern, false),
    KEY_F("%s.rope.freq_base_swa", "rope_local_base_freq", rope_base_local, false),
    KEY_F("%s.final_logit_softcapping", "final_logit_softcapping", softcap_logits, false),
    {0},
};

static const myna__weight_spec weights[] = {
    WEIGHTS_ENDS,
    WEIGHTS_QKV,
    WEIGHTS_QKV_BIAS,
    WEIGHTS_QK_NORM,
    WEIGHTS_O,
    WEIGHT(ATTN_NORM, "blk.%d.attn_norm.weight", "model.layers.%d.input_layernorm.weight", "E"),
    WEIGHT(ATTN_POST_NORM, "blk.%d.post_attention_norm.weight", "model.layers.%d.post_attention_layernorm.weight", "E"),
    WEIGHT(FFN_NORM, "blk.%d.ffn_norm.weight", "model.layers.%d.pre_feedforward_layernorm.weight", "E"),
    WEIGHT(FFN_POST_NORM, "blk.%d.post_ffw_norm.weight", "model.layers.%d.post_feedforward_layernorm.weight", "E"),
    WEIGHTS_MLP,
    {0},
};

static int check(myna__config *g, myna_err *err) {
  (void)err;
  if (g->window_pattern <= 0) g->window_pattern = 6;
  if (g->window == 0) g->window_pattern = 1; /* all layers are full, with the rope of full ones */
  if (g->rope_base_local == 0) g->rope_base_local = 10000;
  if (g->rope_base == 0) g->rope_base = 1000000;
  if (g->embd_scale == 0) g->embd_scale = (double)sqrtf((float)g->n_embd);
  /* 27B: query_pre_attn_scalar is n_embd / n_head, which the file does not carry */
  if (g->attn_scale == 0) g->attn_scale = 1 / sqrt((double)(g->n_layer == 62 ? g->n_embd / g->n_head : g->dim_k));
  return 0;
}

static int64_t window_of(const myna__config *g, int layer) {
  return (layer + 1) % g->window_pattern == 0 ? 0 : g->window;
}

static myna_array *build(myna__build *b) {
  const myna__config *g = b->cfg;
  myna_array *x = nn_embed(b);
  for (int i = 0; i < g->n_layer; i++) {
    bool local = (i + 1) % g->window_pattern != 0;
    nn_attention_options o = {.qk_norm = true,
                              .window = window_of(g, i),
                              .rope_base = local ? g->rope_base_local : 0,
                              .unscaled_rope = local};
    myna_array *h = nn_attention(b, i, nn_norm(b, i, MYNA__W_ATTN_NORM, x), &o);
    x = myna_add(b->c, nn_norm(b, i, MYNA__W_ATTN_POST_NORM, h), x);
    h = nn_mlp(b, i, nn_norm(b, i, MYNA__W_FFN_NORM, x), MYNA_ACT_GELU_TANH);
    x = myna_add(b->c, nn_norm(b, i, MYNA__W_FFN_POST_NORM, h), x);
  }
  return nn_head(b, x);
}

const myna__family myna__family_gemma3 = {
    .arch = "gemma3", .keys = keys, .weights = weights, .check = check, .window_of = window_of, .build = build};
