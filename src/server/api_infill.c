/* api_infill.c: llama-server's /infill: what stands before and behind a gap, and other files, to the prompt of a model with fill-in-the-middle tokens.
 *
 *   [REPO]project\n ([SEP]name\n text)* [SEP]name\n  BOS [PRE] before prompt [SUF] behind [MID]
 * The order and the words are those that Qwen2.5-Coder's report gives (arXiv 2409.12186); other models know only PRE, SUF and MID. */
#include "api.h"
#include <stdlib.h>
#include <string.h>

enum {
  GAP = 2048,
  MARKS = 4
}; /* tokens around the gap at most; what else the context has is for other files, but for BOS and marks */

typedef struct ids {
  int32_t *p;
  int64_t n;
} ids;

static int no_memory(api_error *e) { return api_fail(e, 500, "server_error", NULL, "out of memory"); }

static int add(ids *to, const int32_t *p, int64_t n, api_error *e) {
  int32_t *q = realloc(to->p, (size_t)(to->n + n + 1) * sizeof *q);
  if (!q) return no_memory(e);
  if (n > 0) memcpy(q + to->n, p, (size_t)n * sizeof *p);
  to->p = q;
  to->n += n;
  return 0;
}

/* A token that the model may not have (< 0: nothing is added), and a text behind it. */
static int add_text(const api_env *env, ids *to, int32_t before, const char *text, size_t len, api_error *e) {
  api_request r = {.env = env};
  int64_t n;
  int32_t *more = api_tokenize(&r, text, len, false, false, &n, e);
  int rc = more ? 0 : -1;
  if (rc == 0 && before >= 0) rc = add(to, &before, 1, e);
  if (rc == 0) rc = add(to, more, n, e);
  free(more);
  return rc;
}

static int check(const json_t *body, api_error *e) {
  static const char *const names[] = {"input_prefix", "input_suffix", "prompt"};
  for (int i = 0; i < 3; i++) {
    const json_t *v = json_object_get(body, names[i]);
    if (!v && i < 2) return api_refuse(e, names[i], "\"%s\" is required", names[i]);
    if (v && !json_is_string(v)) return api_refuse(e, names[i], "\"%s\" must be a string", names[i]);
  }
  const json_t *extra = json_object_get(body, "input_extra");
  if (extra && !json_is_array(extra)) return api_refuse(e, "input_extra", "input_extra must be an array");
  for (size_t i = 0; i < json_array_size(extra); i++) {
    const json_t *one = json_array_get(extra, i), *name = json_object_get(one, "filename");
    if (!json_is_string(json_object_get(one, "text")) || (name && !json_is_string(name)))
      return api_refuse(e, "input_extra", "input_extra[%zu] must be {\"filename\": string, \"text\": string}", i);
  }
  return 0;
}

/* The other files, each behind its name where the model has a token for that. */
static int add_files(const api_env *env, const json_t *extra, ids *to, api_error *e) {
  static const char project[] = "project\n", here[] = "file\n", between[] = "\n\n--- snippet ---\n\n";
  int32_t repo = api_fim_token(env, API_FIM_REPO), sep = api_fim_token(env, API_FIM_SEP);
  int rc = repo >= 0 ? add_text(env, to, repo, project, sizeof project - 1, e) : 0;
  for (size_t i = 0; i < json_array_size(extra) && rc == 0; i++) {
    const json_t *one = json_array_get(extra, i), *text = json_object_get(one, "text");
    const json_t *name = json_object_get(one, "filename");
    if (sep < 0) {
      rc = add_text(env, to, -1, between, sizeof between - 1, e);
    } else {
      api_buf line = {0};
      bool ok = api_buf_add(&line, name ? json_string_value(name) : "tmp", name ? json_string_length(name) : 3) &&
                api_buf_add(&line, "\n", 1);
      rc = ok ? add_text(env, to, sep, line.p, line.n, e) : no_memory(e);
      free(line.p);
    }
    if (rc == 0) rc = add_text(env, to, -1, json_string_value(text), json_string_length(text), e);
  }
  return rc == 0 && sep >= 0 ? add_text(env, to, sep, here, sizeof here - 1, e) : rc;
}

static int64_t wanted(const json_t *body) {
  static const char *const names[] = {"n_predict", "max_completion_tokens", "max_tokens"};
  const json_t *v = NULL;
  for (int i = 0; i < 3 && !json_is_number(v); i++) v = json_object_get(body, names[i]);
  return json_is_number(v) && json_number_value(v) > 0 ? (int64_t)json_number_value(v) : 0;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Of what is before the gap the end is kept, of what is behind it the beginning, three to one; of the files the last. */
static int join(const api_env *env, const json_t *body, const ids part[4], ids *out, api_error *e) {
  const ids *before = &part[0], *behind = &part[1], *prompt = &part[2], *files = &part[3];
  int64_t gap = least(GAP, env->n_ctx - env->n_ctx / 8),
          room = env->n_ctx - gap - MARKS - least(2 * wanted(body), env->n_ctx);
  int64_t n_behind = gap / 4 - 2 - prompt->n, n_before = least(before->n, gap - gap / 4);
  n_behind = n_behind < 0 ? 0 : least(behind->n, n_behind);
  int64_t n_files = room < 0 ? 0 : least(files->n, room);
  int32_t pre = api_fim_token(env, API_FIM_PRE), suf = api_fim_token(env, API_FIM_SUF),
          mid = api_fim_token(env, API_FIM_MID);
  int64_t n_bos;
  api_request r = {.env = env};
  int32_t *bos = api_tokenize(&r, "", 0, true, false, &n_bos, e); /* a BOS, if the model begins with one */
  int rc = bos ? 0 : -1;
  if (rc == 0 && n_files > 0) rc = add(out, files->p + files->n - n_files, n_files, e);
  if (rc == 0) rc = add(out, bos, n_bos > 0 && bos[0] == myna_token_bos(env->model), e);
  if (rc == 0) rc = add(out, &pre, 1, e);
  if (rc == 0 && n_before > 0) rc = add(out, before->p + before->n - n_before, n_before, e);
  if (rc == 0) rc = add(out, prompt->p, prompt->n, e);
  if (rc == 0) rc = add(out, &suf, 1, e);
  if (rc == 0) rc = add(out, behind->p, n_behind, e);
  if (rc == 0) rc = add(out, &mid, 1, e);
  free(bos);
  return rc;
}

static int has_tokens(const api_env *env, api_error *e) {
  bool pre = api_fim_token(env, API_FIM_PRE) >= 0, suf = api_fim_token(env, API_FIM_SUF) >= 0,
       mid = api_fim_token(env, API_FIM_MID) >= 0;
  if (pre && suf && mid) return 0;
  return api_fail(e, 501, "not_supported_error", NULL, "Infill is not supported by this model: %s%s%s",
                  pre ? "" : "prefix token is missing. ", suf ? "" : "suffix token is missing. ",
                  mid ? "" : "middle token is missing. ");
}

int api_infill(const api_env *env, json_t *body, api_error *e) {
  static const char *const names[] = {"input_prefix", "input_suffix", "prompt"};
  ids part[4] = {{0}}, all = {0};
  int rc = has_tokens(env, e);
  if (rc == 0) rc = check(body, e);
  for (int i = 0; i < 3 && rc == 0; i++) {
    const json_t *v = json_object_get(body, names[i]);
    rc = add_text(env, &part[i], -1, v ? json_string_value(v) : "", json_string_length(v), e);
  }
  if (rc == 0) rc = add_files(env, json_object_get(body, "input_extra"), &part[3], e);
  if (rc == 0) rc = join(env, body, part, &all, e);
  json_t *tokens = rc == 0 ? json_array() : NULL;
  for (int64_t i = 0; tokens && i < all.n; i++) json_array_append_new(tokens, json_integer(all.p[i]));
  if (rc == 0 && (!tokens || json_object_set_new(body, "prompt", tokens) < 0)) rc = no_memory(e);
  json_object_del(body, "input_prefix");
  json_object_del(body, "input_suffix");
  json_object_del(body, "input_extra");
  for (int i = 0; i < 4; i++) free(part[i].p);
  free(all.p);
  return rc;
}
