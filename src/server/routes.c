/* routes.c: what is served under which path. */
#include "http.h"
#include <string.h>
#include <stdlib.h>

static int no_memory(call *c) { return call_error(c, 500, "server_error", "out of memory"); }
static int send_json(call *c, json_t *j) { return j ? call_reply_json(c, 200, j) : no_memory(c); }

static int health(call *c) { return send_json(c, json_pack("{s:s}", "status", "ok")); }
static int models(call *c) { return send_json(c, api_answer_models(&c->s->env, c->s->created)); }
static int props(call *c) { return send_json(c, api_answer_props(&c->s->env, c->s->n_seq)); }

static int show_metrics(call *c) {
  char *text = metrics_text(c->s);
  return text ? call_reply_text(c, 200, "text/plain; version=0.0.4", text) : no_memory(c);
}

/* The engine has no fixed slots: as many rows as sequences fit, busy from the first on. */
static int slots(call *c) {
  if (c->s->o->no_slots) return call_error(c, 501, "not_supported_error", "slots are not shown (--no-slots)");
  int busy = atomic_load(&c->s->n_active);
  json_t *list = json_array();
  for (int64_t i = 0; i < c->s->n_seq; i++)
    json_array_append_new(list,
                          json_pack("{s:I, s:I, s:b, s:b}", "id", (json_int_t)i, "n_ctx", (json_int_t)c->s->env.n_ctx,
                                    "speculative", c->s->env.speculation.kind != 0, "is_processing", i < busy));
  return send_json(c, list);
}

json_t *call_body(call *c, api_error *e) {
  json_error_t why = {0};
  json_t *j = c->body.n ? json_loadb(c->body.p, c->body.n, 0, &why) : json_object();
  if (!j) {
    api_refuse(e, NULL, "the body is no JSON: line %d, column %d: %s", why.line, why.column, why.text);
  } else if (!json_is_object(j)) {
    json_decref(j);
    j = NULL;
    api_refuse(e, NULL, "the body must be a JSON object");
  }
  return j;
}

static int small_answer(call *c, json_t *answer, const api_error *e) {
  return answer ? call_reply_json(c, 200, answer) : call_error_api(c, e);
}

static int tokenize(call *c) {
  api_error e = {0};
  json_t *body = call_body(c, &e), *answer = body ? api_answer_tokenize(&c->s->env, body, &e) : NULL;
  json_decref(body);
  return small_answer(c, answer, &e);
}

static int detokenize(call *c) {
  api_error e = {0};
  json_t *body = call_body(c, &e), *answer = body ? api_answer_detokenize(&c->s->env, body, &e) : NULL;
  json_decref(body);
  return small_answer(c, answer, &e);
}

static int apply_template(call *c) {
  api_error e = {0};
  json_t *body = call_body(c, &e);
  return small_answer(c, body ? api_answer_template(&c->s->env, body, &e) : NULL, &e);
}

static const route routes[] = {
    {"GET", "/health", health, ROUTE_PUBLIC, 0},
    {"GET", "/v1/health", health, ROUTE_PUBLIC, 0},
    {"GET", "/metrics", show_metrics, 0, 0},
    {"GET", "/props", props, 0, 0},
    {"GET", "/slots", slots, 0, 0},
    {"GET", "/models", models, 0, 0},
    {"GET", "/v1/models", models, 0, 0},
    {"POST", "/tokenize", tokenize, 0, 0},
    {"POST", "/detokenize", detokenize, 0, 0},
    {"POST", "/apply-template", apply_template, 0, 0},
    {"POST", "/completion", gen_start, 0, API_NATIVE},
    {"POST", "/completions", gen_start, 0, API_NATIVE},
    {"POST", "/v1/completions", gen_start, 0, API_TEXT},
    {"POST", "/chat/completions", gen_start, 0, API_CHAT},
    {"POST", "/v1/chat/completions", gen_start, 0, API_CHAT},
};

const route *route_find(const char *method, const char *path, const char **allow) {
  *allow = NULL;
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    if (strcmp(routes[i].path, path) != 0) continue;
    if (strcmp(routes[i].method, method) == 0) return &routes[i];
    if (strcmp(method, "HEAD") == 0 && strcmp(routes[i].method, "GET") == 0) return &routes[i];
    *allow = routes[i].method;
  }
  return NULL;
}
