/* models.h: what a model family is. A family is one file and one row in models.inc: a table of config keys, a
 * table of weights with shapes, and one build(). Includes only myna_array.h: no formats, no kernels, no engine. */
#ifndef MYNA__MODELS_H
#define MYNA__MODELS_H

#include "myna_array.h"

enum { MYNA__MAX_LAYERS = 512 };

/* Hyper-parameters of all families; 0 means absent unless said. Filled by the loader from the family's keys. */
typedef struct myna__config {
  int64_t n_layer, n_embd, n_ff, n_vocab, n_ctx_train;
  int64_t n_head, n_head_kv, dim_k, dim_v;   /* of every layer */
  int64_t n_rot;                             /* rotated dimensions; 0: dim_k */
  int64_t n_expert, n_expert_used, n_ff_exp; /* n_ff_exp 0: n_ff */
  int64_t expert_norm;                       /* normalise top-k weights: 1; -1: no; 0: family's default */
  int64_t window, window_pattern; /* sliding window; every window_pattern-th layer is full (family decides) */
  double norm_eps, rope_base, rope_base_local, attn_scale, embd_scale, softcap_attn, softcap_logits, expert_scale;
  /* rope scaling */
  char rope_type[16]; /* "" (linear when there is a factor), "none", "linear", "yarn", "longrope" */
  double rope_factor, rope_attn_factor, rope_ext_factor, rope_beta_fast, rope_beta_slow;
  double rope_yarn_attn; /* replaces YaRN's own magnitude; 0 and 1: none (llama.cpp writes 1 when there is none) */
  int64_t rope_orig_ctx;
  int64_t n_ctx; /* the run's context (chooses long or short rope factors) */
} myna__config;

/* One config key. gguf: key with %s for the architecture name; hf: key of config.json (for folders, later). */
typedef enum myna__key_type { MYNA__KEY_I64, MYNA__KEY_F64, MYNA__KEY_STR16 } myna__key_type;
typedef struct myna__key {
  const char *gguf, *hf;
  int offset; /* into myna__config */
  myna__key_type type;
  bool required;
} myna__key;
#define MYNA__KEY(field) (int)offsetof(myna__config, field)

/* Weights are named by role; a family says how its files call them. Roles with %d exist once per layer. */
/* clang-format off */
#define MYNA__ROLE_LIST(X) \
  X(TOKEN_EMBD) X(OUTPUT_NORM) X(OUTPUT) X(OUTPUT_BIAS) X(ROPE_FACTORS) \
  X(ROPE_LONG) X(ROPE_SHORT) X(ATTN_NORM) X(ATTN_QKV) X(ATTN_Q) \
  X(ATTN_K) X(ATTN_V) X(ATTN_O) X(ATTN_QKV_BIAS) X(ATTN_Q_BIAS) \
  X(ATTN_K_BIAS) X(ATTN_V_BIAS) X(ATTN_O_BIAS) X(ATTN_Q_NORM) X(ATTN_K_NORM) \
  X(ATTN_POST_NORM) X(ATTN_SINKS) X(FFN_NORM) X(FFN_GATE) X(FFN_UP) \
  X(FFN_DOWN) X(FFN_GATE_BIAS) X(FFN_UP_BIAS) X(FFN_DOWN_BIAS) X(FFN_POST_NORM) \
  X(FFN_ROUTER) X(FFN_GATE_EXPS) X(FFN_UP_EXPS) X(FFN_DOWN_EXPS) \
  X(OUTPUT_SCALE) X(ATTN_QKV_SCALE) X(ATTN_Q_SCALE) X(ATTN_K_SCALE) X(ATTN_V_SCALE) \
  X(ATTN_O_SCALE) X(FFN_GATE_SCALE) X(FFN_UP_SCALE) X(FFN_DOWN_SCALE) \
  X(FFN_GATE_EXPS_SCALE) X(FFN_UP_EXPS_SCALE) X(FFN_DOWN_EXPS_SCALE)
/* clang-format on */
typedef enum myna__role {
#define X(name) MYNA__W_##name,
  MYNA__ROLE_LIST(X)
#undef X
      MYNA__ROLE_COUNT
} myna__role;

/* shape: C order, comma separated products of letters: E n_embd, V n_vocab, H n_head, G n_head_kv, D dim_k, C dim_v,
 * F n_ff, X n_expert, M n_ff_exp, R n_rot/2, and integers; sums with +. "H*D,E"; "H*D+G*D+G*C,E"; "2*F,E".
 * A weight is stored in any type; vectors (one dimension) are made F32 by the loader. */
typedef struct myna__weight_spec {
  myna__role role;
  const char *gguf; /* "blk.%d.attn_q.weight" */
  const char *hf;   /* "model.layers.%d.self_attn.q_proj.weight" (for folders, later) */
  const char *shape;
  bool optional;
} myna__weight_spec;

typedef struct myna__attend_options {
  double scale, softcap;
  int64_t window;
} myna__attend_options;

/* What build() works with. */
typedef struct myna__build {
  myna_ctx *c;
  const myna__config *cfg;
  myna_array *const *weights; /* [(n_layer + 1) * MYNA__ROLE_COUNT]; use nn_w */
  myna_array *tokens, *pos;   /* I32 [n_tok] */
  myna_array *rows;           /* I32 [n_out]: rows of the last hidden state that get logits; NULL: all */
  /* q [n_tok, n_head, dim_k], k [n_tok, n_head_kv, dim_k], v [n_tok, n_head_kv, dim_v] -> [n_tok, n_head, dim_v].
   * Inference writes to pages and reads from pages; training is plain causal attention. */
  myna_array *(*attend)(struct myna__build *b, int layer, myna_array *q, myna_array *k, myna_array *v,
                        const myna__attend_options *o);
  void *user;
  /* NULL, or adds an adapter to a linear: y = w x so far; returns y (+ delta). */
  myna_array *(*adapt)(struct myna__build *b, int layer, myna__role role, myna_array *x, myna_array *y);
} myna__build;

typedef struct myna__family {
  const char *arch;                                         /* general.architecture */
  const myna__key *keys;                                    /* ends with gguf NULL */
  const myna__weight_spec *weights;                         /* ends with gguf NULL */
  int (*check)(myna__config *cfg, myna_err *err);           /* defaults and limits of the family; may be NULL */
  int64_t (*window_of)(const myna__config *cfg, int layer); /* sliding window of a layer, 0 full; NULL: 0 */
  myna_array *(*build)(myna__build *b);                     /* -> logits F32 [n_out, n_vocab] */
} myna__family;

const myna__family *myna__family_find(const char *arch); /* NULL */
int myna__family_count(void);
const myna__family *myna__family_at(int i);

/* ---- nn blocks (nn.c): the mathematics that families share ---- */

/* Weight of a role; layer -1 for global ones. NULL when the file has none. */
myna_array *nn_w(const myna__build *b, int layer, myna__role role);
/* x W^T (times the weight's scale, if the file has one) + bias, with the adapter if there is one. bias role
 * MYNA__ROLE_COUNT: none. */
myna_array *nn_linear(myna__build *b, int layer, myna__role w, myna__role bias, myna_array *x);
/* RMS norm with the weight of a role. */
myna_array *nn_norm(myna__build *b, int layer, myna__role w, myna_array *x);
/* Token embeddings times cfg->embd_scale. */
myna_array *nn_embed(myna__build *b);
/* Final norm, the wanted rows, the head (tied to the embedding when the file has no output), softcap. */
myna_array *nn_head(myna__build *b, myna_array *x);

typedef struct nn_attention_options {
  bool interleaved; /* rope pairs (2i, 2i+1) */
  bool qk_norm;     /* RMS norm of q and k per head before rope */
  bool no_rope;
  double rope_base;   /* 0: cfg->rope_base */
  double rope_factor; /* linear; 0: as cfg says */
  bool unscaled_rope; /* ignore the config's rope scaling (gemma3 local layers) */
  int64_t window;
  myna_array *rope_factors;
  double scale; /* 0: cfg->attn_scale, or 1/sqrt(dim_k) */
} nn_attention_options;
/* q, k, v projections (fused or not, as the file has them), norms, rope, attend, output projection. x [n_tok, n_embd]. */
myna_array *nn_attention(myna__build *b, int layer, myna_array *x, const nn_attention_options *o);
/* act(gate x) * (up x) down; gate and up fused in FFN_UP when the file has no FFN_GATE (phi3). */
myna_array *nn_mlp(myna__build *b, int layer, myna_array *x, myna_act act);
/* Mixture of experts with router FFN_ROUTER. */
myna_array *nn_moe(myna__build *b, int layer, myna_array *x, myna_act act, myna_router router, bool normalise);

#endif
