/* keys.h: config keys and weights that most families share, as rows for their tables. %s is the architecture. */
#ifndef MYNA__MODELS_KEYS_H
#define MYNA__MODELS_KEYS_H

#include "models/models.h"

#define KEY_I(gguf, hf, field, required) \
  { gguf, hf, MYNA__KEY(field), MYNA__KEY_I64, required }
#define KEY_F(gguf, hf, field, required) \
  { gguf, hf, MYNA__KEY(field), MYNA__KEY_F64, required }
#define KEY_S(gguf, hf, field, required) \
  { gguf, hf, MYNA__KEY(field), MYNA__KEY_STR16, required }

#define KEYS_COMMON                                                                                                    \
  KEY_I("%s.block_count", "num_hidden_layers", n_layer, true),                                                         \
      KEY_I("%s.embedding_length", "hidden_size", n_embd, true),                                                       \
      KEY_I("%s.feed_forward_length", "intermediate_size", n_ff, false),                                               \
      KEY_I("%s.context_length", "max_position_embeddings", n_ctx_train, false),                                       \
      KEY_I("%s.vocab_size", "vocab_size", n_vocab, false),                                                            \
      KEY_I("%s.attention.head_count", "num_attention_heads", n_head, true),                                           \
      KEY_I("%s.attention.head_count_kv", "num_key_value_heads", n_head_kv, false),                                    \
      KEY_I("%s.attention.key_length", "head_dim", dim_k, false),                                                      \
      KEY_I("%s.attention.value_length", "head_dim", dim_v, false),                                                    \
      KEY_I("%s.rope.dimension_count", NULL, n_rot, false),                                                            \
      KEY_F("%s.attention.layer_norm_rms_epsilon", "rms_norm_eps", norm_eps, true),                                    \
      KEY_F("%s.attention.scale", NULL, attn_scale, false),                                                            \
      KEY_F("%s.rope.freq_base", "rope_theta", rope_base, false),                                                      \
      KEY_S("%s.rope.scaling.type", "rope_scaling.rope_type", rope_type, false),                                       \
      KEY_F("%s.rope.scale_linear", NULL, rope_factor, false), /* the old name of the next */                          \
      KEY_F("%s.rope.scaling.factor", "rope_scaling.factor", rope_factor, false),                                      \
      KEY_F("%s.rope.scaling.attn_factor", NULL, rope_attn_factor, false),                                             \
      KEY_I("%s.rope.scaling.original_context_length", "rope_scaling.original_max_position_embeddings", rope_orig_ctx, \
            false),                                                                                                    \
      KEY_F("%s.rope.scaling.yarn_ext_factor", NULL, rope_ext_factor, false),                                          \
      KEY_F("%s.rope.scaling.yarn_attn_factor", "rope_scaling.attention_factor", rope_yarn_attn, false),               \
      KEY_F("%s.rope.scaling.yarn_beta_fast", "rope_scaling.beta_fast", rope_beta_fast, false),                        \
      KEY_F("%s.rope.scaling.yarn_beta_slow", "rope_scaling.beta_slow", rope_beta_slow, false)

#define KEYS_EXPERTS                                                                    \
  KEY_I("%s.expert_count", "num_local_experts", n_expert, false),                       \
      KEY_I("%s.expert_used_count", "num_experts_per_tok", n_expert_used, false),       \
      KEY_I("%s.expert_feed_forward_length", "moe_intermediate_size", n_ff_exp, false), \
      KEY_F("%s.expert_weights_scale", NULL, expert_scale, false)

#define WEIGHT(role, gguf, hf, shape) \
  { MYNA__W_##role, gguf, hf, shape, false }
#define OPTIONAL(role, gguf, hf, shape) \
  { MYNA__W_##role, gguf, hf, shape, true }

/* Scales beside matrices (one number, or one per expert): NVFP4 files have them, llama.cpp takes them with any type. */
#define WEIGHTS_ENDS                                                           \
  WEIGHT(TOKEN_EMBD, "token_embd.weight", "model.embed_tokens.weight", "V,E"), \
      WEIGHT(OUTPUT_NORM, "output_norm.weight", "model.norm.weight", "E"),     \
      OPTIONAL(OUTPUT, "output.weight", "lm_head.weight", "V,E"), OPTIONAL(OUTPUT_SCALE, "output.scale", NULL, "1")

#define WEIGHTS_QKV                                                                               \
  WEIGHT(ATTN_Q, "blk.%d.attn_q.weight", "model.layers.%d.self_attn.q_proj.weight", "H*D,E"),     \
      WEIGHT(ATTN_K, "blk.%d.attn_k.weight", "model.layers.%d.self_attn.k_proj.weight", "G*D,E"), \
      WEIGHT(ATTN_V, "blk.%d.attn_v.weight", "model.layers.%d.self_attn.v_proj.weight", "G*C,E"), WEIGHTS_QKV_SCALE

#define WEIGHTS_QKV_SCALE                                                                                             \
  OPTIONAL(ATTN_Q_SCALE, "blk.%d.attn_q.scale", NULL, "1"), OPTIONAL(ATTN_K_SCALE, "blk.%d.attn_k.scale", NULL, "1"), \
      OPTIONAL(ATTN_V_SCALE, "blk.%d.attn_v.scale", NULL, "1")

#define WEIGHTS_QKV_BIAS                                                                           \
  OPTIONAL(ATTN_Q_BIAS, "blk.%d.attn_q.bias", "model.layers.%d.self_attn.q_proj.bias", "H*D"),     \
      OPTIONAL(ATTN_K_BIAS, "blk.%d.attn_k.bias", "model.layers.%d.self_attn.k_proj.bias", "G*D"), \
      OPTIONAL(ATTN_V_BIAS, "blk.%d.attn_v.bias", "model.layers.%d.self_attn.v_proj.bias", "G*C")

#define WEIGHTS_O                                                                                     \
  WEIGHT(ATTN_O, "blk.%d.attn_output.weight", "model.layers.%d.self_attn.o_proj.weight", "E,H*C"),    \
      OPTIONAL(ATTN_O_BIAS, "blk.%d.attn_output.bias", "model.layers.%d.self_attn.o_proj.bias", "E"), \
      OPTIONAL(ATTN_O_SCALE, "blk.%d.attn_output.scale", NULL, "1")

#define WEIGHTS_QK_NORM                                                                             \
  WEIGHT(ATTN_Q_NORM, "blk.%d.attn_q_norm.weight", "model.layers.%d.self_attn.q_norm.weight", "D"), \
      WEIGHT(ATTN_K_NORM, "blk.%d.attn_k_norm.weight", "model.layers.%d.self_attn.k_norm.weight", "D")

#define WEIGHTS_NORMS                                                                          \
  WEIGHT(ATTN_NORM, "blk.%d.attn_norm.weight", "model.layers.%d.input_layernorm.weight", "E"), \
      WEIGHT(FFN_NORM, "blk.%d.ffn_norm.weight", "model.layers.%d.post_attention_layernorm.weight", "E")

#define WEIGHTS_MLP                                                                          \
  WEIGHT(FFN_GATE, "blk.%d.ffn_gate.weight", "model.layers.%d.mlp.gate_proj.weight", "F,E"), \
      WEIGHT(FFN_UP, "blk.%d.ffn_up.weight", "model.layers.%d.mlp.up_proj.weight", "F,E"),   \
      WEIGHT(FFN_DOWN, "blk.%d.ffn_down.weight", "model.layers.%d.mlp.down_proj.weight", "E,F"), WEIGHTS_MLP_SCALE

#define WEIGHTS_MLP_SCALE                                       \
  OPTIONAL(FFN_GATE_SCALE, "blk.%d.ffn_gate.scale", NULL, "1"), \
      OPTIONAL(FFN_UP_SCALE, "blk.%d.ffn_up.scale", NULL, "1"), \
      OPTIONAL(FFN_DOWN_SCALE, "blk.%d.ffn_down.scale", NULL, "1")

#define WEIGHTS_EXPERTS_SCALE                                             \
  OPTIONAL(FFN_GATE_EXPS_SCALE, "blk.%d.ffn_gate_exps.scale", NULL, "X"), \
      OPTIONAL(FFN_UP_EXPS_SCALE, "blk.%d.ffn_up_exps.scale", NULL, "X"), \
      OPTIONAL(FFN_DOWN_EXPS_SCALE, "blk.%d.ffn_down_exps.scale", NULL, "X")

#endif
