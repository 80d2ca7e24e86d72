/* api_native.c: llama-server's small answers, and what several answers share: texts, timings, settings. */
#include "api.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 character at s[0..n), 0 if it is none. */
static size_t char_len(const unsigned char *s, size_t n) {
  if (s[0] < 0x80) return 1;
  size_t len = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
  if (s[0] < 0xC2 || s[0] > 0xF4 || len > n) return 0;
  for (size_t i = 1; i < len; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  if (s[0] == 0xE0 && s[1] < 0xA0) return 0;
  if (s[0] == 0xED && s[1] > 0x9F) return 0;
  if (s[0] == 0xF0 && s[1] < 0x90) return 0;
  if (s[0] == 0xF4 && s[1] > 0x8F) return 0;
  return len;
}

json_t *api_text(const char *bytes, size_t n) {
  json_t *s = json_stringn(bytes ? bytes : "", n);
  if (s) return s;
  if (n > SIZE_MAX / 4) return NULL;
  char *clean = malloc(3 * n + 1);
  if (!clean) return NULL;
  size_t have = 0;
  for (size_t i = 0; i < n;) {
    size_t len = char_len((const unsigned char *)bytes + i, n - i);
    if (len == 0) {
      memcpy(clean + have, "\xEF\xBF\xBD", 3);
      have += 3;
      i++;
      continue;
    }
    memcpy(clean + have, bytes + i, len);
    have += len;
    i += len;
  }
  s = json_stringn(clean, have);
  free(clean);
  return s;
}

static double per(double a, double b) { return b > 0 ? a / b : 0; }

json_t *api_timings(const myna_timings *t) {
  int64_t computed = t->n_prompt - t->n_cached;
  json_t *o =
      json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:f, s:f, s:f}", "cache_n", (json_int_t)t->n_cached, "prompt_n",
                (json_int_t)computed, "prompt_ms", t->prompt_s * 1e3, "prompt_per_token_ms",
                per(t->prompt_s * 1e3, (double)computed), "prompt_per_second", per((double)computed, t->prompt_s),
                "predicted_n", (json_int_t)t->n_gen, "predicted_ms", t->gen_s * 1e3, "predicted_per_token_ms",
                per(t->gen_s * 1e3, (double)t->n_gen), "predicted_per_second", per((double)t->n_gen, t->gen_s));
  if (o && t->n_drafted > 0) {
    json_object_set_new(o, "draft_n", json_integer(t->n_drafted));
    json_object_set_new(o, "draft_n_accepted", json_integer(t->n_accepted));
  }
  return o;
}

/* ---- generation_settings ---- */

static void set(json_t *o, const char *name, json_t *v) { json_object_set_new(o, name, v ? v : json_null()); }
static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *bias_list(const api_request *r) {
  json_t *list = json_array();
  const myna_sampling *s = &r->sampling;
  for (int i = 0; i < s->n_bias; i++)
    json_array_append_new(list, json_pack("{s:o, s:i}", "bias", real((double)s->bias[i].bias), "token", s->bias[i].id));
  for (int i = 0; s->ignore_eos && i < r->env->n_eog; i++)
    json_array_append_new(list, json_pack("{s:n, s:i}", "bias", "token", r->env->eog[i]));
  return list;
}

static json_t *sampler_list(const char *order) {
  json_t *list = json_array();
  for (const char *c = order ? order : "edskypmxt"; *c; c++) {
    char letter;
    const char *name;
    for (int i = 0; (name = api_sampler_name(i, &letter)); i++)
      if (letter == *c) json_array_append_new(list, json_string(name));
  }
  return list;
}

static json_t *string_list(const char *const *texts, int n) {
  json_t *list = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(list, json_string(texts[i]));
  return list;
}

static json_t *breaker_list(const myna_sampling *s) {
  static const char *const usual[] = {"\n", ":", "\"", "*"};
  return s->dry_breakers ? string_list(s->dry_breakers, s->n_dry_breakers) : string_list(usual, 4);
}

static void set_sampling(json_t *o, const myna_sampling *s, uint64_t seed) {
  set(o, "seed", json_integer((json_int_t)seed));
  const struct {
    const char *name;
    double value;
  } reals[] = {{"temperature", (double)s->temperature},
               {"dynatemp_range", (double)s->dynatemp_range},
               {"dynatemp_exponent", (double)s->dynatemp_exponent},
               {"top_p", (double)s->top_p},
               {"min_p", (double)s->min_p},
               {"top_n_sigma", (double)s->top_n_sigma},
               {"xtc_probability", (double)s->xtc_probability},
               {"xtc_threshold", (double)s->xtc_threshold},
               {"typical_p", (double)s->typical_p},
               {"repeat_penalty", (double)s->repeat_penalty},
               {"presence_penalty", (double)s->presence_penalty},
               {"frequency_penalty", (double)s->frequency_penalty},
               {"dry_multiplier", (double)s->dry_multiplier},
               {"dry_base", (double)s->dry_base},
               {"mirostat_tau", (double)s->mirostat_tau},
               {"mirostat_eta", (double)s->mirostat_eta},
               {"adaptive_target", -1},
               {"adaptive_decay", 0.9}};
  for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) set(o, reals[i].name, real(reals[i].value));
  const struct {
    const char *name;
    int32_t value;
  } ints[] = {{"top_k", s->top_k},
              {"repeat_last_n", s->repeat_last_n},
              {"dry_allowed_length", s->dry_allowed_length},
              {"dry_penalty_last_n", s->dry_penalty_last_n},
              {"mirostat", s->mirostat},
              {"min_keep", s->min_keep}};
  for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) set(o, ints[i].name, json_integer(ints[i].value));
  set(o, "dry_sequence_breakers", breaker_list(s));
  set(o, "ignore_eos", json_boolean(s->ignore_eos));
  set(o, "samplers", sampler_list(s->order));
}

json_t *api_generation_settings(const api_request *r, uint64_t seed) {
  json_t *o = json_object();
  if (!o) return NULL;
  set_sampling(o, &r->sampling, seed);
  set(o, "stop", string_list(r->stop, r->n_stop));
  set(o, "max_tokens", json_integer(r->max_tokens));
  set(o, "n_predict", json_integer(r->max_tokens));
  set(o, "n_keep", json_integer(r->n_keep));
  set(o, "n_discard", json_integer(0));
  set(o, "stream", json_boolean(r->stream));
  set(o, "logit_bias", bias_list(r));
  set(o, "n_probs", json_integer(r->n_probs));
  set(o, "grammar", json_string(r->grammar_text ? r->grammar_text : ""));
  set(o, "grammar_lazy", json_boolean(r->grammar_lazy));
  set(o, "grammar_triggers", string_list((const char *const *)r->chat_prompt.triggers, r->chat_prompt.n_triggers));
  set(o, "preserved_tokens", json_array());
  set(o, "chat_format",
      json_string(r->dialect == API_CHAT && r->env->chat ? myna_chat_format(r->env->chat) : "Content-only"));
  set(o, "reasoning_format", json_string(r->reasoning_format ? r->reasoning_format : "deepseek"));
  set(o, "reasoning_in_content", json_false());
  set(o, "generation_prompt", json_string(""));
  set(o, "timings_per_token", json_boolean(r->timings_per_token));
  set(o, "post_sampling_probs", json_boolean(r->post_probs));
  set(o, "backend_sampling", json_false());
  set(o, "speculative.types", json_string(r->env->speculation.kind ? "draft" : "none"));
  set(o, "lora", json_array());
  return o;
}

/* ---- tokenize, detokenize ---- */

static bool flag(const json_t *body, const char *name, bool otherwise, api_error *e) {
  const json_t *v = json_object_get(body, name);
  if (v && !json_is_boolean(v) && !json_is_null(v)) api_refuse(e, name, "%s must be a boolean", name);
  return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

/* Pieces that are no text by themselves are their bytes. */
static json_t *piece(const myna_model *m, int32_t id) {
  char buf[512];
  int64_t n = myna_token_text(m, id, buf, sizeof buf);
  if (n < 0) n = 0;
  if (n > (int64_t)sizeof buf) n = sizeof buf;
  json_t *s = json_stringn(buf, (size_t)n);
  if (s) return s;
  s = json_array();
  for (int64_t i = 0; i < n; i++) json_array_append_new(s, json_integer((unsigned char)buf[i]));
  return s;
}

typedef struct tokenizing {
  const api_env *env;
  bool special, parse, pieces;
  json_t *list;
} tokenizing;

static void add_id(tokenizing *t, int32_t id) {
  json_array_append_new(t->list, t->pieces ? json_pack("{s:i, s:o}", "id", id, "piece", piece(t->env->model, id))
                                           : json_integer(id));
}

/* A text, or a token's id as it is; special tokens stand before the first text only. */
static int add_part(tokenizing *t, const json_t *v, api_error *e) {
  api_request r = {.env = t->env};
  myna_model_info info;
  int64_t n;
  myna_model_get_info(t->env->model, &info);
  if (json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) < info.n_vocab) {
    add_id(t, (int32_t)json_integer_value(v));
    t->special = false;
    return 0;
  }
  if (!json_is_string(v)) return api_refuse(e, "content", "content must be a string, or a list of strings and tokens");
  int32_t *ids = api_tokenize(&r, json_string_value(v), json_string_length(v), t->special, t->parse, &n, e);
  if (!ids) return -1;
  for (int64_t i = 0; i < n; i++) add_id(t, ids[i]);
  t->special = false;
  free(ids);
  return 0;
}

static json_t *tokenize(const api_env *env, const json_t *body, api_error *e) {
  const json_t *v = json_object_get(body, "content");
  tokenizing t = {
      .env = env, .special = flag(body, "add_special", false, e), .parse = flag(body, "parse_special", true, e)};
  t.pieces = flag(body, "with_pieces", false, e);
  if (e->status) return NULL;
  t.list = json_array();
  json_t *empty = json_string("");
  size_t n = json_is_array(v) ? json_array_size(v) : 1;
  int rc = t.list && empty ? 0 : api_fail(e, 500, "server_error", NULL, "out of memory");
  for (size_t i = 0; i < n && rc == 0; i++)
    rc = add_part(&t, json_is_array(v) ? json_array_get(v, i) : v && !json_is_null(v) ? v : empty, e);
  json_decref(empty);
  if (rc == 0) return json_pack("{s:o}", "tokens", t.list);
  json_decref(t.list);
  return NULL;
}

json_t *api_answer_tokenize(const api_env *env, json_t *body, api_error *e) {
  json_t *o = tokenize(env, body, e);
  json_decref(body);
  return o;
}

static int read_ids(const api_env *env, const json_t *v, int32_t *ids, api_error *e) {
  myna_model_info info;
  myna_model_get_info(env->model, &info);
  for (size_t i = 0; i < json_array_size(v); i++) {
    const json_t *id = json_array_get(v, i);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= info.n_vocab)
      return api_refuse(e, "tokens", "tokens[%zu] must be a token's id, below %lld", i, (long long)info.n_vocab);
    ids[i] = (int32_t)json_integer_value(id);
  }
  return 0;
}

/* The pieces one after the other: no space is taken away, so that texts of parts can be joined. */
static json_t *detokenize(const api_env *env, const json_t *body, api_error *e) {
  const json_t *v = json_object_get(body, "tokens");
  if (v && !json_is_array(v)) return api_refuse(e, "tokens", "tokens must be an array"), NULL;
  size_t n = json_array_size(v);
  int32_t *ids = calloc(n + 1, sizeof *ids);
  json_t *answer = NULL;
  api_buf text = {0};
  bool ok = ids != NULL;
  if (ok && read_ids(env, v, ids, e) < 0) return free(ids), NULL;
  for (size_t i = 0; i < n && ok; i++) {
    char buf[512];
    int64_t len = myna_token_text(env->model, ids[i], buf, sizeof buf);
    char *piece = len > (int64_t)sizeof buf ? malloc((size_t)len) : buf;
    ok = piece != NULL;
    if (ok && piece != buf) len = myna_token_text(env->model, ids[i], piece, len);
    if (ok && len > 0) ok = api_buf_add(&text, piece, (size_t)len);
    if (piece != buf) free(piece);
  }
  if (ok) answer = json_pack("{s:o}", "content", api_text(text.p, text.n));
  if (!answer) api_fail(e, 500, "server_error", NULL, "out of memory");
  free(text.p);
  free(ids);
  return answer;
}

json_t *api_answer_detokenize(const api_env *env, json_t *body, api_error *e) {
  json_t *o = detokenize(env, body, e);
  json_decref(body);
  return o;
}

/* ---- the model ---- */

/* The next of a list joined by commas, its length in *n; NULL behind the last. */
static const char *next_name(const char **list, size_t *n) {
  const char *at = *list;
  if (!at || !*at) return NULL;
  *n = strcspn(at, ",");
  *list = at + *n + (at[*n] == ',');
  return at;
}

static json_t *name_list(const char *list) {
  json_t *names = json_array();
  size_t n;
  for (const char *at; (at = next_name(&list, &n));)
    if (n > 0) json_array_append_new(names, api_text(at, n));
  return names;
}

bool api_model_is(const api_env *env, const char *name) {
  const char *list = env->aliases;
  size_t n;
  for (const char *at; (at = next_name(&list, &n));)
    if (n > 0 && strlen(name) == n && strncmp(at, name, n) == 0) return true;
  return strcmp(name, env->model_name) == 0;
}

/* llama-server's numbers of kinds of vocabularies, by the file's word for it; what has none are byte pairs. */
static int vocab_type(const myna_model *m) {
  static const char *const words[] = {"no_vocab", "llama", "gpt2", "bert", "t5", "rwkv"};
  const char *key;
  char type[24], value[32];
  for (int64_t i = 0; myna_model_get_meta(m, i, &key, type, value, sizeof value, 1) >= 0; i++)
    for (int k = 0; strcmp(key, "tokenizer.ggml.model") == 0 && k < 6; k++)
      if (strcmp(value, words[k]) == 0) return k;
  return 2;
}

json_t *api_answer_model(const api_env *env, int64_t created) {
  myna_model_info info;
  myna_model_get_info(env->model, &info);
  return json_pack("{s:s, s:o, s:o, s:s, s:I, s:s, s:{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:s}}", "id", env->model_name,
                   "aliases", name_list(env->aliases), "tags", name_list(env->tags), "object", "model", "created",
                   (json_int_t)created, "owned_by", "myna", "meta", "vocab_type", vocab_type(env->model), "n_vocab",
                   (json_int_t)info.n_vocab, "n_ctx", (json_int_t)env->n_ctx, "n_ctx_train",
                   (json_int_t)info.n_ctx_train, "n_embd", (json_int_t)info.n_embd, "n_params",
                   (json_int_t)info.n_params, "size", (json_int_t)info.weight_bytes, "ftype",
                   info.weight_type ? info.weight_type : "");
}

/* Both lists: OpenAI's clients read data, Ollama's read models. */
json_t *api_answer_models(const api_env *env, int64_t created) {
  myna_model_info info;
  myna_model_get_info(env->model, &info);
  json_t *details = json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format", "gguf", "family",
                              info.arch, "families", info.arch, "parameter_size", "", "quantization_level",
                              info.weight_type ? info.weight_type : "");
  json_t *model =
      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:[s], s:o}", "name", env->model_name, "model",
                env->model_name, "modified_at", "", "size", "", "digest", "", "type", "model", "description", "",
                "tags", name_list(env->tags), "parameters", "", "capabilities", "completion", "details", details);
  return json_pack("{s:s, s:[o], s:[o]}", "object", "list", "data", api_answer_model(env, created), "models", model);
}

static json_t *token_text(const myna_model *m, int32_t id) {
  char buf[256];
  int64_t n = id >= 0 ? myna_token_text(m, id, buf, sizeof buf) : 0;
  return api_text(buf, n < 0 ? 0 : n > (int64_t)sizeof buf ? sizeof buf : (size_t)n);
}

/* What a template cannot show is made up for (tools, calls, parts of content), so that clients need not care. */
static json_t *template_caps(const api_env *env) {
  bool has = env->chat && myna_chat_has_template(env->chat);
  bool thinks = has && strstr(myna_chat_source(env->chat), "reasoning_content");
  return json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b}", "supports_object_arguments", has,
                   "supports_parallel_tool_calls", has, "supports_preserve_reasoning", thinks,
                   "supports_string_content", 1, "supports_system_role", has, "supports_tool_calls", has,
                   "supports_tools", has, "supports_typed_content", 1);
}

json_t *api_answer_props(const api_env *env, int64_t n_slots) {
  myna_model_info info;
  myna_model_get_info(env->model, &info);
  api_request r = {.env = env, .sampling = env->sampling, .max_tokens = env->n_predict > 0 ? env->n_predict : -1};
  json_t *params =
      api_generation_settings(&r, env->random_seed ? UINT32_MAX : env->sampling.seed); /* that value says by chance */
  return json_pack("{s:{s:I, s:o}, s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:{s:b, s:b, s:b}, s:s, s:s, s:s, s:b}",
                   "default_generation_settings", "n_ctx", (json_int_t)env->n_ctx, "params", params, "total_slots",
                   (json_int_t)n_slots, "model_alias", env->model_name, "model_path", info.file ? info.file : "",
                   "chat_template", env->chat ? myna_chat_source(env->chat) : "", "chat_template_caps",
                   template_caps(env), "bos_token", token_text(env->model, myna_token_bos(env->model)), "eos_token",
                   token_text(env->model, myna_token_eos(env->model)), "modalities", "vision", 0, "audio", 0, "video",
                   0, "media_marker", "<__media__>", "model_ftype", info.weight_type ? info.weight_type : "",
                   "build_info", env->fingerprint, "is_sleeping", 0);
}
