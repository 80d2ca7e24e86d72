/* api_prompt.c: "prompt" of the completion APIs: text, tokens, both mixed, and lists of these, to tokens. */
#include "api.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t *api_tokenize(api_request *r, const char *text, size_t n, bool add_special, bool parse_special, int64_t *n_ids,
                      api_error *e) {
  myna_err err = {0};
  myna_tokenize_options o = {.no_special = !add_special, .parse_special = parse_special};
  const myna_model *m = r->env->model;
  *n_ids = 0;
  int64_t cap = (int64_t)n + 8;
  for (int tries = 0; tries < 2; tries++) {
    int32_t *ids = malloc((size_t)cap * sizeof *ids);
    if (!ids) break;
    int64_t have = myna_tokenize(m, text, n, &o, ids, cap, &err);
    if (have < 0) {
      free(ids);
      api_fail_err(e, NULL, &err);
      return NULL;
    }
    *n_ids = have;
    if (have <= cap) return ids;
    free(ids);
    cap = have;
  }
  api_fail(e, 500, "server_error", NULL, "out of memory");
  return NULL;
}

bool api_add_prompt(api_request *r, int32_t *tokens, int64_t n) {
  api_prompt *p = realloc(r->prompts, (size_t)(r->n_prompts + 1) * sizeof *p);
  if (!p) return false;
  r->prompts = p;
  p[r->n_prompts++] = (api_prompt){tokens, n};
  return true;
}

typedef struct growing {
  int32_t *ids;
  int64_t n, cap;
} growing;

static int append(growing *g, const int32_t *ids, int64_t n, api_error *e) {
  if (!g->ids || g->n + n + 1 > g->cap) { /* ids of long prompts come one by one */
    int64_t cap = g->n + n + 1 + g->n / 2;
    int32_t *p = realloc(g->ids, (size_t)cap * sizeof *p);
    if (!p) {
      api_fail(e, 500, "server_error", NULL, "out of memory");
      return -1;
    }
    g->ids = p;
    g->cap = cap;
  }
  if (n) memcpy(g->ids + g->n, ids, (size_t)n * sizeof *ids);
  g->n += n;
  return 0;
}

static int append_text(api_request *r, growing *g, const json_t *v, api_error *e) {
  int64_t n;
  int32_t *ids = api_tokenize(r, json_string_value(v), json_string_length(v), g->n == 0, true, &n, e);
  if (!ids) return -1;
  int rc = append(g, ids, n, e);
  free(ids);
  return rc;
}

static int append_id(api_request *r, growing *g, const json_t *v, api_error *e) {
  myna_model_info info;
  myna_model_get_info(r->env->model, &info);
  json_int_t id = json_integer_value(v);
  if (id < 0 || id >= info.n_vocab)
    return api_refuse(e, "prompt", "prompt: token %lld is not in the vocabulary", (long long)id);
  int32_t one = (int32_t)id;
  return append(g, &one, 1, e);
}

static int append_object(api_request *r, growing *g, const json_t *v, api_error *e) {
  const json_t *text = json_object_get(v, "prompt_string"), *media = json_object_get(v, "multimodal_data");
  if (media && !json_is_null(media) && !(json_is_array(media) && json_array_size(media) == 0))
    return api_refuse(e, "prompt.multimodal_data", "the model reads text only");
  if (!json_is_string(text)) return api_refuse(e, "prompt.prompt_string", "prompt.prompt_string must be a string");
  return append_text(r, g, text, e);
}

static int append_part(api_request *r, growing *g, const json_t *v, api_error *e) {
  if (json_is_string(v)) return append_text(r, g, v, e);
  if (json_is_integer(v)) return append_id(r, g, v, e);
  if (json_is_object(v)) return append_object(r, g, v, e);
  return api_refuse(e, "prompt", "prompt must be text, tokens, or a list of these");
}

static const struct {
  const char *keys[2];  /* of the file's metadata */
  const char *texts[7]; /* as StarCoder, Qwen, CodeLlama, DeepSeek, GLM, ... write them */
} fim_rows[] = {
    [API_FIM_PRE] = {{"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
                     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<\uFF5Cfim\u2581begin\uFF5C>", "<PRE>",
                      "\u2581<PRE>", "<|code_prefix|>"}},
    [API_FIM_SUF] = {{"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
                     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<\uFF5Cfim\u2581hole\uFF5C>", "<SUF>",
                      "\u2581<SUF>", "<|code_suffix|>"}},
    [API_FIM_MID] = {{"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
                     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<\uFF5Cfim\u2581end\uFF5C>", "<MID>",
                      "\u2581<MID>", "<|code_middle|>"}},
    [API_FIM_REPO] = {{"tokenizer.ggml.fim_rep_token_id"},
                      {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    [API_FIM_SEP] = {{"tokenizer.ggml.fim_sep_token_id"}, {"<|file_sep|>", "<file_sep>"}},
};

static int32_t meta_id(const myna_model *m, const char *const keys[2]) {
  const char *key;
  char type[24], value[32];
  for (int64_t i = 0; myna_model_get_meta(m, i, &key, type, value, sizeof value, 1) >= 0; i++)
    for (int k = 0; k < 2 && keys[k]; k++)
      if (strcmp(key, keys[k]) == 0) return (int32_t)strtol(value, NULL, 10);
  return -1;
}

int32_t api_fim_token(const api_env *env, api_fim which) {
  myna_model_info info;
  if (env->fim) return env->fim[which];
  myna_model_get_info(env->model, &info);
  int32_t id = meta_id(env->model, fim_rows[which].keys);
  api_request r = {.env = env};
  for (int i = 0; id < 0 && i < 7 && fim_rows[which].texts[i]; i++) {
    const char *text = fim_rows[which].texts[i];
    api_error e = {0};
    int64_t n;
    char control[8];
    int32_t *ids = api_tokenize(&r, text, strlen(text), false, true, &n, &e);
    /* One token, and a control token: its text is not shown. */
    if (ids && n == 1 && myna_detokenize(env->model, ids, 1, false, control, sizeof control, NULL) == 0) id = ids[0];
    free(ids);
  }
  return id < info.n_vocab ? id : -1;
}

/* prefix, suffix, middle: the order that models with these tokens share. */
static int with_suffix(api_request *r, growing *g, api_error *e) {
  const myna_model *m = r->env->model;
  int32_t pre = api_fim_token(r->env, API_FIM_PRE), suf = api_fim_token(r->env, API_FIM_SUF),
          mid = api_fim_token(r->env, API_FIM_MID);
  if (pre < 0 || suf < 0 || mid < 0)
    return api_refuse(e, "suffix", "suffix: the model has no fill-in-the-middle tokens");
  growing w = {0};
  int64_t n, at = g->n > 0 && g->ids[0] == myna_token_bos(m) ? 1 : 0;
  int32_t *suffix = api_tokenize(r, r->suffix, strlen(r->suffix), false, false, &n, e);
  int rc = suffix ? 0 : -1;
  if (rc == 0) rc = append(&w, g->ids, at, e);
  if (rc == 0) rc = append(&w, &pre, 1, e);
  if (rc == 0) rc = append(&w, g->ids + at, g->n - at, e);
  if (rc == 0) rc = append(&w, &suf, 1, e);
  if (rc == 0) rc = append(&w, suffix, n, e);
  if (rc == 0) rc = append(&w, &mid, 1, e);
  free(suffix);
  free(g->ids);
  *g = w;
  return rc;
}

/* One prompt: v, or of a mixed list all its parts. */
static int one_prompt(api_request *r, const json_t *v, api_error *e) {
  growing g = {0};
  int rc = append(&g, NULL, 0, e);
  if (rc == 0 && json_is_array(v)) {
    for (size_t i = 0; i < json_array_size(v) && rc == 0; i++) rc = append_part(r, &g, json_array_get(v, i), e);
  } else if (rc == 0) {
    rc = append_part(r, &g, v, e);
  }
  if (rc == 0 && r->suffix && r->suffix[0]) rc = with_suffix(r, &g, e);
  if (rc == 0 && g.n == 0) {
    int32_t first = myna_token_bos(r->env->model);
    if (first < 0) first = myna_token_eos(r->env->model);
    rc = first < 0 ? api_refuse(e, "prompt", "prompt is empty") : append(&g, &first, 1, e);
  }
  if (rc == 0 && api_add_prompt(r, g.ids, g.n)) return 0;
  free(g.ids);
  return rc < 0 ? rc : api_fail(e, 500, "server_error", NULL, "out of memory");
}

/* A list with a number in it is one prompt of tokens and texts; else each entry is a prompt. */
int api_make_prompts(api_request *r, api_error *e) {
  const json_t *v = r->prompt;
  if (!v) return api_refuse(e, "prompt", "prompt is missing");
  if (!json_is_array(v)) return one_prompt(r, v, e);
  size_t n = json_array_size(v);
  if (n == 0) return api_refuse(e, "prompt", "prompt is empty");
  for (size_t i = 0; i < n; i++)
    if (json_is_number(json_array_get(v, i))) return one_prompt(r, v, e);
  if (n > 1024) return api_refuse(e, "prompt", "prompt has more than 1024 entries");
  r->prompt_list = n > 1;
  for (size_t i = 0; i < n; i++)
    if (one_prompt(r, json_array_get(v, i), e) < 0) return -1;
  return 0;
}
