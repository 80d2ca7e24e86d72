/* api_parse.c: a JSON body to an api_request, by the list of fields. A field is looked up in the list of its API once; its value's kind and range are
 * checked there and nowhere else. */
#include "api.h"
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BOOL = 1, INT = 2, NUM = 4, STR = 8, ARR = 16, OBJ = 32, ANY = 63 };
enum { C = API_CHAT, T = API_TEXT, N = API_NATIVE, A = API_TEMPLATE };
typedef enum store { NONE, CALL, BOOLEAN, INT32, INT64, FLOAT, STRING, JSON } store;

static const api_field fields[] = {
#define FIELD(d, name, kinds, min, max, use, store, target, setter, note) \
  {name, d, kinds, min, max, use, store, target, setter, note},
#include "api_fields.inc"
#undef FIELD
};
enum { N_FIELDS = sizeof fields / sizeof fields[0] };

struct api_block {
  api_block *next;
};

const api_field *api_field_at(int i) { return i >= 0 && i < (int)N_FIELDS ? &fields[i] : NULL; }

/* ---- errors ---- */

int api_fail(api_error *e, int status, const char *type, const char *param, const char *format, ...) {
  va_list args;
  if (e->status) return -1; /* the first failure wins */
  e->status = status;
  e->type = type;
  snprintf(e->param, sizeof e->param, "%s", param ? param : "");
  va_start(args, format);
  vsnprintf(e->message, sizeof e->message, format, args);
  va_end(args);
  return -1;
}

int api_refuse(api_error *e, const char *param, const char *format, ...) {
  va_list args;
  char message[sizeof e->message];
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return api_fail(e, 400, "invalid_request_error", param, "%s", message);
}

int api_fail_err(api_error *e, const char *param, const myna_err *err) {
  if (err->code == MYNA_E_NOMEM) return api_fail(e, 500, "server_error", NULL, "out of memory");
  if (param) return api_refuse(e, param, "%s: %s", param, err->msg);
  return api_refuse(e, NULL, "%s", err->msg);
}

void api_error_from_event(api_error *e, const myna_err *err) {
  char text[560];
  myna_error_format(err, text, sizeof text);
  if (err->code == MYNA_E_LIMIT)
    api_fail(e, 503, "unavailable_error", NULL, "%s", text); /* what is missing, with numbers; later it may be there */
  else
    api_fail(e, 500, "server_error", NULL, "%s", text);
}

json_t *api_error_json(const api_error *e) {
  json_t *o = json_pack("{s:o, s:s, s:i}", "message", api_text(e->message, strlen(e->message)), "type",
                        e->type ? e->type : "server_error", "code", e->status);
  if (!o) return NULL;
  json_object_set_new(o, "param", e->param[0] ? api_text(e->param, strlen(e->param)) : json_null());
  if (e->n_ctx > 0) {
    json_object_set_new(o, "n_prompt_tokens", json_integer(e->n_prompt_tokens));
    json_object_set_new(o, "n_ctx", json_integer(e->n_ctx));
  }
  return json_pack("{s:o}", "error", o);
}

/* ---- the body ---- */

static bool has_nul(const json_t *v) {
  const char *name;
  json_t *item;
  size_t i;
  if (json_is_string(v)) return strlen(json_string_value(v)) != json_string_length(v);
  json_object_foreach((json_t *)(uintptr_t)v, name, item) if (has_nul(item)) return true;
  json_array_foreach((json_t *)(uintptr_t)v, i, item) if (has_nul(item)) return true;
  return false;
}

/* A text to complete or to tokenize may have a NUL, as files have; anywhere else what stands behind it would be lost. */
static json_t *check_nul(json_t *j, api_error *e) {
  const char *name;
  json_t *v;
  json_object_foreach(j, name, v) {
    if (strcmp(name, "prompt") == 0 || strcmp(name, "content") == 0 || !has_nul(v)) continue;
    api_refuse(e, name, "%s has a text with \\u0000", name);
    json_decref(j);
    return NULL;
  }
  return j;
}

json_t *api_body(const char *bytes, size_t n, api_error *e) {
  static const char mark[3] = {'\xEF', '\xBB', '\xBF'}; /* some clients begin a text in UTF-8 so */
  json_error_t why = {0};
  size_t skip = n >= sizeof mark && memcmp(bytes, mark, sizeof mark) == 0 ? sizeof mark : 0;
  json_t *j = n > skip ? json_loadb(bytes + skip, n - skip, JSON_ALLOW_NUL, &why) : json_object();
  if (!j) {
    api_refuse(e, NULL, "the body is no JSON: line %d, column %d: %s", why.line, why.column, why.text);
  } else if (!json_is_object(j)) {
    json_decref(j);
    j = NULL;
    api_refuse(e, NULL, "the body must be a JSON object");
  }
  return j ? check_nul(j, e) : NULL;
}

/* ---- memory ---- */

void *api_keep(api_request *r, size_t n) {
  if (n > SIZE_MAX / 2) return NULL;
  api_block *b = malloc(sizeof(max_align_t) + n);
  if (!b) return NULL;
  b->next = r->blocks;
  r->blocks = b;
  void *p = (char *)b + sizeof(max_align_t);
  memset(p, 0, n);
  return p;
}

void api_request_free(api_request *r) {
  if (!r) return;
  myna_grammar_free(r->grammar);
  if (r->has_chat_prompt) myna_chat_prompt_free(&r->chat_prompt);
  for (int i = 0; i < r->n_prompts; i++) free(r->prompts[i].tokens);
  free(r->prompts);
  for (api_block *b = r->blocks; b;) {
    api_block *next = b->next;
    free(b);
    b = next;
  }
  json_decref(r->body);
  json_decref(r->attic);
  free(r->ignored);
  free(r);
}

/* ---- fields ---- */

static int kind_of(const json_t *v) {
  switch (json_typeof(v)) {
  case JSON_TRUE:
  case JSON_FALSE: return BOOL;
  case JSON_INTEGER: return INT;
  case JSON_REAL: return NUM;
  case JSON_STRING: return STR;
  case JSON_ARRAY: return ARR;
  case JSON_OBJECT: return OBJ;
  default: return 0;
  }
}

static const char *kinds_text(int kinds, char buf[96]) {
  static const char *const names[] = {"a boolean", "an integer", "a number", "a string", "an array", "an object"};
  size_t n = 0;
  buf[0] = 0;
  for (int i = 0; i < 6; i++)
    if (kinds & 1 << i) n += (size_t)snprintf(buf + n, 96 - n, "%s%s", n ? " or " : "", names[i]);
  return buf;
}

/* Whole numbers written as 8.0 are integers for most clients. */
static bool is_whole(const json_t *v) {
  return json_is_real(v) && fabs(json_real_value(v)) < 9e15 && floor(json_real_value(v)) == json_real_value(v);
}

static int check(const api_field *f, const json_t *v, api_error *e) {
  char text[96];
  int kind = kind_of(v);
  bool number = kind == INT || kind == NUM;
  bool ok = (f->kinds & kind) != 0 || (kind == INT && (f->kinds & NUM)) || (is_whole(v) && (f->kinds & INT));
  if (!ok) return api_refuse(e, f->name, "%s must be %s", f->name, kinds_text(f->kinds, text));
  if (number && f->max > f->min) {
    double x = json_number_value(v);
    if (f->use != API_CLAMPED && !(x >= f->min && x <= f->max))
      return api_refuse(e, f->name, "%s must be from %g to %g", f->name, f->min, f->max);
  }
  return 0;
}

static int64_t whole(const json_t *v) {
  return json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)json_real_value(v);
}

/* Numbers of rows that are clamped are brought into their range. */
static int64_t whole_in(const api_field *f, const json_t *v) {
  double x = json_number_value(v);
  return f->use != API_CLAMPED ? whole(v) : x < f->min ? (int64_t)f->min : x > f->max ? (int64_t)f->max : whole(v);
}

static float real_in(const api_field *f, const json_t *v) {
  double x = json_number_value(v);
  return (float)(f->use != API_CLAMPED ? x : x < f->min ? f->min : x > f->max ? f->max : x);
}

static int keep_value(api_request *r, const api_field *f, const json_t *v, api_error *e) {
  void *at = (char *)r + f->offset;
  switch ((store)f->store) {
  case NONE: return 0;
  case CALL: return f->set(r, f->name, v, e);
  case BOOLEAN: *(bool *)at = json_is_true(v); return 0;
  case INT32: *(int32_t *)at = (int32_t)whole_in(f, v); return 0;
  case INT64: *(int64_t *)at = whole_in(f, v); return 0;
  case FLOAT: *(float *)at = real_in(f, v); return 0;
  case STRING: *(const char **)at = json_string_value(v); return 0;
  case JSON: *(const json_t **)at = v; return 0;
  }
  return 0;
}

/* Names of fields come back in a header: what could break it is left out. */
int api_ignore(api_request *r, const char *name, api_error *e) {
  if (r->env->strict) return api_refuse(e, name, "%s is unknown", name);
  size_t have = r->ignored ? strlen(r->ignored) : 0, n = strlen(name);
  if (have + n > 1024) return 0;
  char *p = realloc(r->ignored, have + n + 3);
  if (!p) return api_fail(e, 500, "server_error", NULL, "out of memory");
  r->ignored = p;
  if (have) memcpy(p + have, ", ", 2), have += 2;
  for (size_t i = 0; i < n; i++) p[have++] = name[i] > ' ' && name[i] < 127 && name[i] != ',' ? name[i] : '_';
  p[have] = 0;
  return 0;
}

static const api_field *find(api_dialect d, const char *name) {
  for (int i = 0; i < (int)N_FIELDS; i++)
    if ((fields[i].dialects & (int)d) && strcmp(fields[i].name, name) == 0) return &fields[i];
  return NULL;
}

static int take_field(api_request *r, const char *name, const json_t *v, api_error *e) {
  const api_field *f = find(r->dialect, name);
  if (!f) return r->dialect == API_TEMPLATE ? 0 : api_ignore(r, name, e);
  if (json_is_null(v)) return 0;
  if (f->use == API_REFUSED) {
    if (json_is_false(v) || ((json_is_array(v) || json_is_object(v)) && json_array_size(v) + json_object_size(v) == 0))
      return 0;
    return api_refuse(e, name, "%s is not supported: %s", name, f->note);
  }
  if (check(f, v, e) < 0) return -1;
  return keep_value(r, f, v, e);
}

static void defaults(api_request *r) {
  const api_env *env = r->env;
  r->n = 1;
  r->max_tokens = env->n_predict > 0 ? env->n_predict : -1;
  r->n_keep = env->n_keep;
  r->sampling = env->sampling;
  if (!r->sampling.set) myna_model_sampling(env->model, &r->sampling);
  r->cache_prompt = true;
  r->id_slot = -1;
  r->parallel_tools = true;
  r->add_generation_prompt = true;
  r->thinking = -1;
  r->reasoning_format = env->reasoning_format;
  r->reasoning_budget = env->reasoning_budget;
  r->budget_message = env->budget_message;
  r->verbose = env->verbose;
}

static int check_together(api_request *r, api_error *e) {
  int constraints = (r->schema != NULL || r->json_object) + (r->grammar_text && r->grammar_text[0]) +
                    (r->regex != NULL) + (r->choices != NULL);
  if (constraints > 1)
    return api_refuse(e, r->schema || r->json_object ? "response_format" : "grammar",
                      "only one of response_format, json_schema, grammar, regex and choice may be given");
  if (r->add_generation_prompt_set && r->add_generation_prompt && r->continue_final)
    return api_refuse(e, "continue_final_message",
                      "continue_final_message and add_generation_prompt exclude each other");
  if (r->best_of && r->best_of < r->n) return api_refuse(e, "best_of", "best_of must be at least n");
  if (r->best_of > r->n && r->stream) return api_refuse(e, "best_of", "best_of cannot be streamed");
  if (!r->best_of) r->best_of = r->n;
  return 0;
}

int api_request_parse(api_request **out, api_dialect dialect, json_t *body, const api_env *env, api_error *e) {
  *out = NULL;
  api_request *r = calloc(1, sizeof *r);
  if (!r) {
    json_decref(body);
    return api_fail(e, 500, "server_error", NULL, "out of memory");
  }
  *r = (api_request){.env = env, .dialect = dialect, .body = body};
  int rc = 0;
  if (!json_is_object(body)) {
    rc = api_refuse(e, NULL, "the body must be a JSON object");
  } else {
    defaults(r);
    const char *name;
    json_t *v;
    json_object_foreach(body, name, v) {
      rc = take_field(r, name, v, e);
      if (rc < 0) break;
    }
    if (rc == 0) rc = check_together(r, e);
  }
  if (rc < 0) {
    api_request_free(r);
    return -1;
  }
  *out = r;
  return 0;
}

enum { MAX_ALTERNATIVES = 500000 };

/* Up to 20 alternatives are what every API tells; a whole vocabulary of them for a long answer would take gigabytes. */
static int check_probs(const api_request *r, api_error *e) {
  myna_model_info info;
  myna_model_get_info(r->env->model, &info);
  if (r->n_probs <= 20) return 0;
  double each = r->n_probs < info.n_vocab ? (double)r->n_probs : (double)info.n_vocab, tokens = 0;
  for (int i = 0; i < r->n_prompts; i++) {
    int64_t n = r->env->n_ctx - r->prompts[i].n_tokens;
    if (r->max_tokens >= 0 && (r->max_tokens < n || r->env->context_shift)) n = r->max_tokens;
    tokens += (double)n * (double)r->best_of + (r->echo ? (double)r->prompts[i].n_tokens : 0);
  }
  if (each * tokens <= MAX_ALTERNATIVES) return 0;
  const char *name = json_object_get(r->body, "n_probs") ? "n_probs" : "logprobs";
  return api_refuse(e, name, "%s: %.0f alternatives of %.0f tokens are more than %d; ask for fewer, or set max_tokens",
                    name, each, tokens, MAX_ALTERNATIVES);
}

static int check_context(const api_request *r, api_error *e) {
  for (int i = 0; i < r->n_prompts; i++)
    if (r->prompts[i].n_tokens >= r->env->n_ctx) {
      api_fail(e, 400, "exceed_context_size_error", NULL,
               "the prompt has %lld tokens, which exceeds the available context size of %lld",
               (long long)r->prompts[i].n_tokens, (long long)r->env->n_ctx);
      e->n_prompt_tokens = r->prompts[i].n_tokens;
      e->n_ctx = r->env->n_ctx;
      return -1;
    }
  if (r->n_prompts == 0) return api_refuse(e, "prompt", "prompt is empty");
  if ((int64_t)r->n_prompts * r->best_of > 1024)
    return api_refuse(e, "n", "more than 1024 answers are asked for at once");
  return check_probs(r, e);
}

int api_request_new(api_request **out, api_dialect dialect, json_t *body, const api_env *env, api_error *e) {
  if (api_request_parse(out, dialect, body, env, e) < 0) return -1;
  api_request *r = *out;
  int rc = dialect == API_CHAT ? api_make_chat(r, e) : api_make_prompts(r, e);
  if (rc == 0) rc = api_make_grammar(r, e);
  if (rc == 0) rc = check_context(r, e);
  if (rc < 0) {
    api_request_free(r);
    *out = NULL;
  }
  return rc;
}
