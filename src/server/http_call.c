/* http_call.c: one exchange: its answer, its buffer, its line in the log. */
#include "http.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

double server_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- life ---- */

/* The client's own id where it is harmless in a header and a log. */
static void choose_id(call *c) {
  static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:";
  const char *given = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "X-Request-Id");
  if (given && *given && strlen(given) < sizeof c->id && strspn(given, ok) == strlen(given))
    strcpy(c->id, given);
  else
    snprintf(c->id, sizeof c->id, "req-%llx-%llx", (unsigned long long)c->s->created, (unsigned long long)c->serial);
}

call *call_new(server *s, struct MHD_Connection *conn, const char *method, const char *path) {
  call *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  *c = (call){.s = s, .conn = conn, .key = -1, .status = 200, .type = "application/json", .t0 = server_now()};
  c->method = strdup(method);
  c->path = strdup(path);
  if (!c->method || !c->path) {
    free(c->method);
    free(c->path);
    free(c);
    return NULL;
  }
  c->ping_s = s->o->ping_s ? s->o->ping_s : 30;
  c->last_write = c->t0;
  atomic_init(&c->refs, 1);
  pthread_mutex_init(&c->lock, NULL);
  pthread_mutex_lock(&s->lock);
  c->serial = ++s->serial;
  c->next = s->calls;
  if (c->next) c->next->prev = c;
  s->calls = c;
  pthread_mutex_unlock(&s->lock);
  choose_id(c);
  return c;
}

void call_unref(call *c) {
  if (atomic_fetch_sub(&c->refs, 1) != 1) return;
  if (c->counted) keys_end(&c->s->keys, c->key, 0);
  atomic_fetch_sub(&c->s->held, c->held);
  api_reply_free(c->reply);
  free(c->sequences);
  free(c->method);
  free(c->path);
  free(c->origin);
  free(c->ignored);
  free(c->body.p);
  free(c->out.p);
  pthread_mutex_destroy(&c->lock);
  free(c);
}

void call_wake(call *c) {
  if (!c->suspended || !c->conn) return;
  c->suspended = false;
  MHD_resume_connection(c->conn);
}

void call_drop(call *c) {
  c->gone = true;
  call_cancel(c);
}

void call_cancel(call *c) {
  for (int i = 0; i < c->n_sequences; i++)
    if (c->sequences[i].id > 0) myna_cancel(c->s->o->engine, c->sequences[i].id);
}

/* ---- answers ---- */

static void add_headers(const call *c, struct MHD_Response *r) {
  MHD_add_response_header(r, "Content-Type", c->type);
  MHD_add_response_header(r, "X-Request-Id", c->id);
  MHD_add_response_header(r, "Server", "myna");
  MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
  if (c->ignored) MHD_add_response_header(r, "x-myna-ignored", c->ignored);
  if (c->status == 429 || c->status == 503) MHD_add_response_header(r, "Retry-After", "1");
  if (c->status == 401) MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
  if (!c->origin) return;
  MHD_add_response_header(r, "Access-Control-Allow-Origin", c->origin);
  MHD_add_response_header(r, "Vary", "Origin");
  MHD_add_response_header(r, "Access-Control-Allow-Credentials", "true");
  if (strcmp(c->method, "OPTIONS") != 0) return;
  MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
  const char *asked = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Access-Control-Request-Headers");
  MHD_add_response_header(r, "Access-Control-Allow-Headers", asked ? asked : "*");
  MHD_add_response_header(r, "Access-Control-Max-Age", "600");
}

static int queue(call *c, struct MHD_Response *r) {
  if (!r) return MHD_NO;
  add_headers(c, r);
  if (atomic_load(&c->s->closing)) MHD_add_response_header(r, "Connection", "close");
  c->queued = true;
  int rc = MHD_queue_response(c->conn, (unsigned)c->status, r);
  MHD_destroy_response(r);
  return rc;
}

void call_answer_text(call *c, int status, const char *type, char *text) {
  static const char none[] =
      "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":500}}";
  pthread_mutex_lock(&c->lock);
  c->status = text ? status : 500;
  c->type = text ? type : "application/json";
  if (!text) text = strdup(none);
  free(c->out.p);
  c->out = (api_buf){.p = text, .n = text ? strlen(text) : 0};
  c->ended = true;
  pthread_mutex_unlock(&c->lock);
}

void call_answer(call *c, int status, json_t *j) {
  char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
  json_decref(j);
  call_answer_text(c, status, "application/json", text);
}

void call_error_api(call *c, const api_error *e) { call_answer(c, e->status ? e->status : 500, api_error_json(e)); }

void call_error(call *c, int status, const char *type, const char *message) {
  api_error e = {0};
  api_fail(&e, status, type, NULL, "%s", message);
  call_error_api(c, &e);
}

int call_send(call *c) {
  char *text = c->out.p;
  size_t n = c->out.n;
  c->out = (api_buf){0};
  struct MHD_Response *r =
      MHD_create_response_from_buffer(n, text, text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
  if (!r) free(text);
  return queue(c, r);
}

static ssize_t read_out(void *user, uint64_t pos, char *to, size_t max) {
  call *c = user;
  ssize_t rc = 0;
  pthread_mutex_lock(&c->lock);
  size_t n = c->out.n - c->out.at;
  if (c->gone) {
    rc = MHD_CONTENT_READER_END_WITH_ERROR;
  } else if (n) {
    if (n > max) n = max;
    memcpy(to, c->out.p + c->out.at, n);
    c->out.at += n;
    rc = (ssize_t)n;
  } else if (c->ended) {
    rc = MHD_CONTENT_READER_END_OF_STREAM;
  } else if (!atomic_load(&c->s->stopping)) {
    c->suspended = true;
    MHD_suspend_connection(c->conn);
  }
  pthread_mutex_unlock(&c->lock);
  return rc;
}

int call_stream(call *c) {
  c->type = "text/event-stream";
  struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 8192, read_out, c, NULL);
  if (r) MHD_add_response_header(r, "Cache-Control", "no-cache");
  return queue(c, r);
}

/* ---- log ---- */

void call_log(call *c) {
  json_t *j = json_pack("{s:s, s:o, s:o, s:i, s:f, s:b}", "id", c->id, "method", api_text(c->method, strlen(c->method)),
                        "path", api_text(c->path, strlen(c->path)), "status", c->status, "ms",
                        (server_now() - c->t0) * 1e3, "gone", c->gone);
  if (!j) return;
  if (c->n_sequences) {
    json_object_set_new(j, "n_prompt", json_integer(c->n_prompt));
    json_object_set_new(j, "n_gen", json_integer(c->n_gen));
  }
  if (c->key >= 0) json_object_set_new(j, "key", json_integer(c->key));
  if (c->s->o->log_prompts && c->body.n) json_object_set_new(j, "body", api_text(c->body.p, c->body.n));
  server_log(c->s, "request", j);
}
