/* routes.c: what is served under which path. */
#include "http.h"
#include <stdlib.h>
#include <string.h>

static void health(call *c) { call_answer(c, 200, json_pack("{s:s}", "status", "ok")); }
static void models(call *c) { call_answer(c, 200, api_answer_models(&c->s->env, c->s->created)); }

static void props(call *c) {
  json_t *o = api_answer_props(&c->s->env, c->s->n_seq);
  if (o)
    json_object_update_new(o, json_pack("{s:b, s:b, s:b, s:b, s:b, s:{}}", "endpoint_slots", !c->s->o->no_slots,
                                        "endpoint_props", 0, "endpoint_metrics", !c->s->o->no_metrics,
                                        "cors_proxy_enabled", 0, "ui", 0, "ui_settings"));
  call_answer(c, 200, o);
}

static void model(call *c) {
  if (api_model_is(&c->s->env, c->name))
    call_answer(c, 200, api_answer_model(&c->s->env, c->s->created));
  else
    call_error(c, 404, "not_found_error", "there is no such model");
}

static void set_props(call *c) {
  call_error(c, 501, "not_supported_error", "properties are set by flags when the server starts");
}

/* Adapters are not served: there are none to be seen, and setting none changes nothing. */
static void adapters(call *c) { call_answer(c, 200, json_array()); }

static void set_adapters(call *c) {
  json_t *list = json_loadb(c->body.p ? c->body.p : "", c->body.n, 0, NULL);
  if (json_is_array(list) && json_array_size(list) == 0)
    call_answer(c, 200, json_pack("{s:b}", "success", 1));
  else
    call_error(c, 400, "invalid_request_error", "the body must be a list of adapters that are served, and none is");
  json_decref(list);
}

/* What llama-server answers where it was started for something else. */
static void not_served(call *c) {
  call_error(c, 501, "not_supported_error", "this server does not serve that: it generates text");
}

static void show_metrics(call *c) {
  if (c->s->o->no_metrics)
    call_error(c, 501, "not_supported_error", "metrics are not shown (--no-metrics)");
  else
    call_answer_text(c, 200, "text/plain; version=0.0.4", metrics_text(c->s));
}

/* Rows of a call's sequences that are in the engine. The reply is there before they are, which the lock orders. */
static void add_rows(call *c, int64_t most, json_t *list) {
  pthread_mutex_lock(&c->lock);
  for (int i = 0; c->n_live > 0 && i < c->n_sequences; i++) {
    if (c->sequences[i].id <= 0 || (int64_t)json_array_size(list) >= most) continue;
    json_t *row = api_reply_slot(c->reply, i);
    if (row) json_object_set_new(row, "id_task", json_integer(c->sequences[i].id));
    json_array_append_new(list, row ? row : json_object());
  }
  pthread_mutex_unlock(&c->lock);
}

/* The calls are held, not the list of them: their JSON takes a while, and all other calls come and go under the server's lock. */
static void busy_slots(server *s, json_t *list) {
  call **held = calloc((size_t)s->n_seq, sizeof(call *));
  int64_t n = 0;
  if (!held) return;
  pthread_mutex_lock(&s->lock);
  for (call *c = s->calls; c && n < s->n_seq; c = c->next) {
    pthread_mutex_lock(&c->lock);
    if (c->n_live > 0) {
      atomic_fetch_add(&c->refs, 1);
      held[n++] = c;
    }
    pthread_mutex_unlock(&c->lock);
  }
  pthread_mutex_unlock(&s->lock);
  for (int64_t i = 0; i < n; i++) {
    add_rows(held[i], s->n_seq, list);
    call_unref(held[i]);
  }
  free(held);
}

/* The engine has no fixed slots: as many rows as sequences fit, busy from the first on. */
static void slots(call *c) {
  if (c->s->o->no_slots) {
    call_error(c, 501, "not_supported_error", "slots are not shown (--no-slots)");
    return;
  }
  const char *fail = MHD_lookup_connection_value(c->conn, MHD_GET_ARGUMENT_KIND, "fail_on_no_slot");
  int64_t busy = atomic_load(&c->s->n_active);
  if (fail && busy >= c->s->n_seq) {
    call_error(c, 503, "unavailable_error", "no slot is free");
    return;
  }
  json_t *list = json_array(), *row;
  busy_slots(c->s, list);
  int64_t n_busy = (int64_t)json_array_size(list);
  for (int64_t i = 0; i < c->s->n_seq; i++) {
    if (i >= n_busy) json_array_append_new(list, json_object());
    row = json_array_get(list, (size_t)i);
    json_object_update_new(row,
                           json_pack("{s:I, s:I, s:b, s:b}", "id", (json_int_t)i, "n_ctx", (json_int_t)c->s->env.n_ctx,
                                     "speculative", c->s->env.speculation.kind != 0, "is_processing", i < n_busy));
  }
  call_answer(c, 200, list);
}

json_t *call_body(call *c, api_error *e) { return api_body(c->body.p, c->body.n, e); }

/* Answers from the body alone; they take it. */
typedef json_t *small_answer(const api_env *env, json_t *body, api_error *e);

static void answer_by(call *c, small_answer *f) {
  api_error e = {0};
  json_t *body = call_body(c, &e), *answer = body ? f(&c->s->env, body, &e) : NULL;
  if (answer)
    call_answer(c, 200, answer);
  else
    call_error_api(c, &e);
}

static void tokenize(call *c) { answer_by(c, api_answer_tokenize); }
static void detokenize(call *c) { answer_by(c, api_answer_detokenize); }
static void apply_template(call *c) { answer_by(c, api_answer_template); }
static void count_tokens(call *c) { answer_by(c, api_answer_count); }

/* Bodies are worked on by threads of their own (POST), the rest is answered by that of HTTP. */
static const route routes[] = {
    {"GET", "/health", health, ROUTE_PUBLIC, 0},
    {"GET", "/v1/health", health, ROUTE_PUBLIC, 0},
    {"GET", "/metrics", show_metrics, 0, 0},
    {"GET", "/props", props, 0, 0},
    {"POST", "/props", set_props, 0, 0},
    {"GET", "/slots", slots, 0, 0},
    {"POST", "/slots/", slot_action, ROUTE_NAME, 0},
    {"GET", "/lora-adapters", adapters, 0, 0},
    {"POST", "/lora-adapters", set_adapters, 0, 0},
    {"GET", "/models", models, ROUTE_PUBLIC, 0},
    {"GET", "/v1/models", models, ROUTE_PUBLIC, 0},
    {"GET", "/v1/models/", model, ROUTE_PUBLIC | ROUTE_NAME, 0},
    {"POST", "/tokenize", tokenize, 0, 0},
    {"POST", "/detokenize", detokenize, 0, 0},
    {"POST", "/apply-template", apply_template, 0, 0},
    {"POST", "/chat/completions/input_tokens", count_tokens, 0, 0},
    {"POST", "/v1/chat/completions/input_tokens", count_tokens, 0, 0},
    {"POST", "/infill", gen_start, ROUTE_INFILL, API_NATIVE},
    {"POST", "/embedding", not_served, 0, 0},
    {"POST", "/embeddings", not_served, 0, 0},
    {"POST", "/v1/embeddings", not_served, 0, 0},
    {"POST", "/rerank", not_served, 0, 0},
    {"POST", "/reranking", not_served, 0, 0},
    {"POST", "/v1/rerank", not_served, 0, 0},
    {"POST", "/v1/reranking", not_served, 0, 0},
    {"POST", "/completion", gen_start, 0, API_NATIVE},
    {"POST", "/completions", gen_start, 0, API_NATIVE},
    {"POST", "/v1/completions", gen_start, 0, API_TEXT},
    {"POST", "/chat/completions", gen_start, 0, API_CHAT},
    {"POST", "/v1/chat/completions", gen_start, 0, API_CHAT},
};

static bool matches(const route *r, const char *path, const char **name) {
  size_t n = strlen(r->path);
  *name = path + n;
  return r->flags & ROUTE_NAME ? strncmp(r->path, path, n) == 0 && path[n] : strcmp(r->path, path) == 0;
}

const route *route_find(const char *method, const char *path, const char **allow, const char **name) {
  *allow = NULL;
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    if (!matches(&routes[i], path, name)) continue;
    if (strcmp(routes[i].method, method) == 0) return &routes[i];
    if (strcmp(method, "HEAD") == 0 && strcmp(routes[i].method, "GET") == 0) return &routes[i];
    *allow = routes[i].method;
  }
  return NULL;
}
