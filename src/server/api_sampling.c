/* api_sampling.c: the fields of a request that change how tokens are chosen and when the answer ends. */
#include "api.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sampler_name {
  char letter;
  const char *name, *other;
} sampler_name;
static const sampler_name samplers[] = {
    {'e', "penalties", "penalties"}, {'d', "dry", "dry"},         {'s', "top_n_sigma", "top-n-sigma"},
    {'k', "top_k", "top-k"},         {'y', "typ_p", "typical_p"}, {'p', "top_p", "top-p"},
    {'m', "min_p", "min-p"},         {'x', "xtc", "xtc"},         {'t', "temperature", "temp"},
};
enum { N_SAMPLERS = sizeof samplers / sizeof samplers[0] };

const char *api_sampler_name(int i, char *letter) {
  if (i < 0 || i >= (int)N_SAMPLERS) return NULL;
  *letter = samplers[i].letter;
  return samplers[i].name;
}

static int no_memory(api_error *e) { return api_fail(e, 500, "server_error", NULL, "out of memory"); }

int api_set_seed(api_request *r, const char *name, const json_t *v, api_error *e) {
  double d = json_number_value(v);
  if (d < 0) {
    r->has_seed = false;
    return 0;
  }
  r->sampling.seed = json_is_integer(v)           ? (uint64_t)json_integer_value(v)
                     : d < 18446744073709551615.0 ? (uint64_t)d
                                                  : UINT64_MAX;
  r->has_seed = true;
  return 0;
}

static char letter_of(const char *name) {
  for (int i = 0; i < (int)N_SAMPLERS; i++)
    if (strcmp(samplers[i].name, name) == 0 || strcmp(samplers[i].other, name) == 0) return samplers[i].letter;
  return 0;
}

static bool is_letter(char c) {
  for (int i = 0; i < (int)N_SAMPLERS; i++)
    if (samplers[i].letter == c) return true;
  return false;
}

int api_set_samplers(api_request *r, const char *name, const json_t *v, api_error *e) {
  size_t n = json_is_string(v) ? json_string_length(v) : json_array_size(v);
  if (n > 31) return api_refuse(e, name, "%s has more than 31 entries", name);
  char *order = api_keep(r, n + 1);
  if (!order) return no_memory(e);
  size_t have = 0;
  for (size_t i = 0; i < n; i++) {
    const char letters[2] = {json_is_string(v) ? json_string_value(v)[i] : 0, 0};
    const char *text = json_is_string(v) ? letters : json_string_value(json_array_get(v, i));
    if (!text) return api_refuse(e, name, "%s must hold strings", name);
    char letter = json_is_string(v) ? (char)(is_letter(text[0]) ? text[0] : 0) : letter_of(text);
    char what[64];
    snprintf(what, sizeof what, "%s: %.40s", name, text);
    if (letter)
      order[have++] = letter;
    else if (api_ignore(r, what, e) < 0) /* clients send the names of all samplers that any engine has */
      return -1;
  }
  r->sampling.order = order;
  return 0;
}

int api_set_penalty(api_request *r, const char *name, const json_t *v, api_error *e) {
  if (!(json_number_value(v) > 0)) return api_refuse(e, name, "%s must be above 0", name);
  r->sampling.repeat_penalty = (float)json_number_value(v);
  return 0;
}

/* ---- logit bias ---- */

typedef struct biases {
  myna_logit_bias *items;
  int n, cap;
} biases;

static int add_bias(api_request *r, biases *b, int64_t id, float bias, const char *name, api_error *e) {
  myna_model_info info;
  myna_model_get_info(r->env->model, &info);
  if (id < 0 || id >= info.n_vocab) { /* of another model's vocabulary: clients send the ids that they know */
    char what[64];
    snprintf(what, sizeof what, "%s: %lld", name, (long long)id);
    return api_ignore(r, what, e);
  }
  if (b->n == b->cap) {
    int cap = b->cap ? b->cap * 2 : 32;
    myna_logit_bias *items = api_keep(r, (size_t)cap * sizeof *items);
    if (!items) return no_memory(e);
    if (b->n) memcpy(items, b->items, (size_t)b->n * sizeof *items);
    b->items = items;
    b->cap = cap;
  }
  b->items[b->n++] = (myna_logit_bias){(int32_t)id, bias};
  return 0;
}

#define MAX_BIAS 1e9

static int bias_value(const json_t *v, float *out, const char *name, api_error *e) {
  if (json_is_false(v)) {
    *out = -INFINITY;
    return 0;
  }
  if (!json_is_number(v)) return api_refuse(e, name, "%s: a bias must be a number or false", name);
  double x = json_number_value(v);
  *out = (float)(x < -MAX_BIAS ? -MAX_BIAS : x > MAX_BIAS ? MAX_BIAS : x); /* infinities of both signs would make NaN */
  return 0;
}

/* Every token of the text gets it. */
static int bias_text(api_request *r, biases *b, const char *text, size_t len, float bias, const char *name,
                     api_error *e) {
  int64_t n;
  int32_t *ids = api_tokenize(r, text, len, false, false, &n, e);
  int rc = ids ? 0 : -1;
  for (int64_t i = 0; i < n && rc == 0; i++) rc = add_bias(r, b, ids[i], bias, name, e);
  free(ids);
  return rc;
}

static int bias_pair(api_request *r, biases *b, const json_t *id, const json_t *value, const char *name, api_error *e) {
  float bias = 0;
  if (bias_value(value, &bias, name, e) < 0) return -1;
  if (json_is_integer(id)) return add_bias(r, b, json_integer_value(id), bias, name, e);
  if (!json_is_string(id)) return api_refuse(e, name, "%s: a token must be an id or a text", name);
  return bias_text(r, b, json_string_value(id), json_string_length(id), bias, name, e);
}

static int bias_object(api_request *r, biases *b, const json_t *v, const char *name, api_error *e) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)v, key, value) {
    float bias = 0;
    if (bias_value(value, &bias, name, e) < 0) return -1;
    char *end;
    long long id = strtoll(key, &end, 10);
    int rc = *key && !*end ? add_bias(r, b, id, bias, name, e) : bias_text(r, b, key, strlen(key), bias, name, e);
    if (rc < 0) return -1;
  }
  return 0;
}

int api_set_logit_bias(api_request *r, const char *name, const json_t *v, api_error *e) {
  biases b = {0};
  if (json_is_object(v)) {
    if (bias_object(r, &b, v, name, e) < 0) return -1;
  } else {
    for (size_t i = 0; i < json_array_size(v); i++) {
      const json_t *row = json_array_get(v, i);
      const json_t *id = json_array_get(row, 0), *value = json_array_get(row, 1);
      if (json_is_object(row)) {
        id = json_object_get(row, "token");
        if (!id) id = json_object_get(row, "id");
        value = json_object_get(row, "bias");
      }
      if (!id || !value) return api_refuse(e, name, "%s[%zu] must be [token, bias]", name, i);
      if (bias_pair(r, &b, id, value, name, e) < 0) return -1;
    }
  }
  r->sampling.bias = b.items;
  r->sampling.n_bias = b.n;
  return 0;
}

/* ---- lists of texts ---- */

enum { MAX_TEXTS = 256 << 10 }; /* together: each is looked for at every token */

static int texts(api_request *r, const char *name, const json_t *v, bool empty_ok, const char ***out, int *n_out,
                 api_error *e) {
  size_t n = json_is_string(v) ? 1 : json_array_size(v);
  if (n > 1024) return api_refuse(e, name, "%s has more than 1024 entries", name);
  const char **list = api_keep(r, (n + 1) * sizeof *list);
  if (!list) return no_memory(e);
  int have = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < n; i++) {
    const json_t *item = json_is_string(v) ? v : json_array_get(v, i);
    bytes += json_string_length(item);
    if (bytes > MAX_TEXTS) return api_refuse(e, name, "%s has more than %d bytes", name, MAX_TEXTS);
    if (!json_is_string(item)) return api_refuse(e, name, "%s must hold strings", name);
    if (strlen(json_string_value(item)) != json_string_length(item))
      return api_refuse(e, name, "%s: a text with a zero byte", name);
    if (json_string_length(item) || empty_ok) list[have++] = json_string_value(item);
  }
  *out = list;
  *n_out = have;
  return 0;
}

int api_set_stop(api_request *r, const char *name, const json_t *v, api_error *e) {
  return texts(r, name, v, false, &r->stop, &r->n_stop, e);
}

int api_set_breakers(api_request *r, const char *name, const json_t *v, api_error *e) {
  const char **list = NULL;
  int n = 0;
  if (texts(r, name, v, false, &list, &n, e) < 0) return -1;
  if (n == 0) return api_refuse(e, name, "%s must hold at least one text", name);
  r->sampling.dry_breakers = list;
  r->sampling.n_dry_breakers = n;
  return 0;
}

/* ---- probabilities, counts ---- */

int api_set_logprobs(api_request *r, const char *name, const json_t *v, api_error *e) {
  if (json_is_number(v)) return api_set_text_logprobs(r, name, v, e);
  r->logprobs = json_is_true(v);
  if (r->logprobs && r->n_probs == 0) r->n_probs = 1; /* the engine tells the token's own only along with others */
  return 0;
}

int api_set_text_logprobs(api_request *r, const char *name, const json_t *v, api_error *e) {
  if (json_is_boolean(v)) return api_set_logprobs(r, name, v, e);
  if (json_is_number(json_object_get(r->body, "n_probs"))) return 0;
  r->logprobs = true;
  r->n_probs = (int32_t)json_number_value(v);
  if (r->n_probs == 0) r->n_probs = 1;
  return 0;
}

int api_set_top_logprobs(api_request *r, const char *name, const json_t *v, api_error *e) {
  int32_t n = (int32_t)json_number_value(v);
  if (n > 0 && !json_is_true(json_object_get(r->body, "logprobs")))
    return api_refuse(e, name, "%s needs logprobs to be true", name);
  if (n > 0) r->n_probs = n;
  return 0;
}

/* Of several names of the limit the first of the list counts, wherever they stand. */
int api_set_max_tokens(api_request *r, const char *name, const json_t *v, api_error *e) {
  static const char *const names[] = {"n_predict", "max_completion_tokens"};
  for (size_t i = 0; i < sizeof names / sizeof *names && strcmp(names[i], name) != 0; i++)
    if (json_is_number(json_object_get(r->body, names[i]))) return 0;
  r->max_tokens = (int64_t)json_number_value(v);
  return 0;
}

int api_set_best_of(api_request *r, const char *name, const json_t *v, api_error *e) {
  r->best_of = (int64_t)json_number_value(v);
  return 0;
}

int api_set_stream_options(api_request *r, const char *name, const json_t *v, api_error *e) {
  const json_t *u = json_object_get(v, "include_usage");
  if (u && !json_is_boolean(u) && !json_is_null(u))
    return api_refuse(e, "stream_options.include_usage", "stream_options.include_usage must be a boolean");
  r->include_usage = json_is_true(u);
  return 0;
}
