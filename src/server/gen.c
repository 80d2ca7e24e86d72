/* gen.c: from a call to sequences in the engine, from its events back to the call's buffer. */
#include "http.h"
#include <stdlib.h>
#include <string.h>

enum {
  MAX_UNREAD = 16 << 20,
  MAX_SEQUENCES = 256,
  EVENTS_PER_WAKE = 256,
  PER_SEQUENCE = 64 << 10,
  PER_TOKEN = 20,
  PER_BODY_BYTE = 8
};

/* ---- on a thread of http_work.c ---- */

static api_request *read_request(call *c, api_error *e) {
  api_request *r = NULL;
  json_t *body = call_body(c, e);
  c->held = (int64_t)c->body.n * PER_BODY_BYTE; /* parsed and as tokens */
  atomic_fetch_add(&c->s->held, c->held);
  if (!c->s->o->log_prompts) { /* it may be large, and the answer may take long */
    free(c->body.p);
    c->body = (api_buf){0};
  }
  if (!body) return NULL;
  if (c->route->flags & ROUTE_INFILL && api_infill(&c->s->env, body, e) < 0) {
    json_decref(body);
    return NULL;
  }
  if (api_request_new(&r, (api_dialect)c->route->arg, body, &c->s->env, e) < 0) return NULL;
  if (r->ping_s) c->ping_s = r->ping_s;
  if (r->id_slot >= c->s->n_seq) r->id_slot = -1; /* as llama-server has it: any */
  if (r->ignored) c->ignored = strdup(r->ignored);
  return r;
}

static int submit(call *c, api_error *e) {
  for (int i = 0; i < c->n_sequences; i++) {
    myna_request r;
    myna_err err = {0};
    sequence *q = &c->sequences[i];
    *q = (sequence){.c = c, .index = i};
    api_reply_request(c->reply, i, &r);
    r.user = q;
    if (c->key >= 0) r.client = c->s->keys.keys[c->key].text;
    if (myna_submit(c->s->o->engine, &r, &q->id, &err) < 0) {
      if (err.code == MYNA_E_LIMIT)
        api_fail(e, 503, "unavailable_error", NULL, "%s", err.msg);
      else
        api_fail_err(e, NULL, &err);
      return -1;
    }
    atomic_fetch_add(&c->refs, 1);
    c->n_live++;
  }
  return 0;
}

/* Under a limit of memory what runs was planned for; what waits must fit into what was left for it: tokens, sampler, mask. */
static bool has_memory(call *c, int n) {
  const server *s = c->s;
  myna_model_info info;
  myna_model_get_info(s->o->model, &info);
  int64_t each = s->env.n_ctx * (int64_t)sizeof(int32_t) + info.n_vocab * PER_TOKEN + PER_SEQUENCE, more = n * each;
  int64_t all = atomic_fetch_add(&c->s->held, more) + more, most = s->o->waiting_bytes + s->n_seq * each;
  c->held += more;
  if (s->o->waiting_bytes <= 0 || all <= most) return true;
  api_error e = {0};
  api_fail(&e, 503, "unavailable_error", NULL,
           "--mem-limit leaves %.1f MB for requests that wait; they take %.1f MB, this one %.1f MB of it",
           (double)most / 1e6, (double)all / 1e6, (double)c->held / 1e6);
  metrics_refused(&c->s->metrics);
  call_error_api(c, &e);
  return false;
}

/* Places in the queue for n sequences, counted in n_active, within the key's limits; else the answer is given. */
static bool admit(call *c, int n) {
  server *s = c->s;
  const char *why = NULL;
  if (n > MAX_SEQUENCES) {
    call_error(c, 400, "invalid_request_error", "more than 256 answers were asked for");
    return false;
  }
  int64_t queue = s->o->queue < 0 ? 0 : s->o->queue ? s->o->queue : 256;
  int64_t active = atomic_fetch_add(&s->n_active, n);
  if (active && active + n > s->n_seq + queue) why = "the queue is full";
  if (!why && keys_begin(&s->keys, c->key, &why)) return c->counted = true;
  atomic_fetch_sub(&s->n_active, n);
  metrics_refused(&s->metrics);
  call_error(c, 429, "rate_limit_error", why);
  return false;
}

/* All sequences, or none: what was submitted before one is refused is cancelled. With the lock held, so that no event is looked at before the ids are
 * known. */
static int start(call *c, int n, api_error *e) {
  c->sequences = calloc((size_t)n, sizeof *c->sequences);
  if (!c->sequences) {
    atomic_fetch_sub(&c->s->n_active, n);
    return api_fail(e, 500, "server_error", NULL, "out of memory");
  }
  c->n_sequences = n;
  int rc = c->gone ? -1 : submit(c, e);
  atomic_fetch_sub(&c->s->n_active, n - c->n_live);
  if (rc < 0) {
    c->ended = true; /* events of those that were submitted change nothing */
    call_cancel(c);
    return rc;
  }
  c->streams = api_reply_streams(c->reply);
  slot_begin(c);
  if (c->conn) watch_add(c);
  return 0;
}

void gen_start(call *c) {
  api_error e = {0};
  if (atomic_load(&c->s->closing)) {
    call_error(c, 503, "unavailable_error", "the server is shutting down");
    return;
  }
  api_request *r = read_request(c, &e);
  if (!r || api_reply_new(&c->reply, r, &e) < 0) {
    call_error_api(c, &e);
    return;
  }
  int n = api_reply_count(c->reply);
  if (!has_memory(c, n) || !admit(c, n)) return;
  myna_err err = {0}; /* what goes wrong here goes wrong in submit again */
  if (r->grammar) (void)myna_grammar_prepare(r->grammar, c->s->o->model, &err);
  pthread_mutex_lock(&c->lock);
  int rc = start(c, n, &e);
  pthread_mutex_unlock(&c->lock);
  if (rc < 0) call_error_api(c, &e);
}

/* ---- on the thread of events ---- */

static int write_out(void *user, const char *bytes, size_t n) {
  call *c = user;
  if (c->out.n - c->out.at > MAX_UNREAD || !api_buf_add(&c->out, bytes, n)) return -1;
  c->last_write = server_now();
  return 0;
}

/* The whole answer of what does not stream. */
static void finish(call *c) {
  api_error e = {0};
  bool failed = api_reply_failed(c->reply, &e);
  json_t *j = failed ? api_error_json(&e) : api_reply_body(c->reply);
  char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
  json_decref(j);
  c->status = failed ? e.status : 200;
  if (!text || !api_buf_add(&c->out, text, strlen(text))) c->status = 500;
  free(text);
}

static void end_sequence(call *c, sequence *q, const myna_event *ev) {
  metrics_done(&c->s->metrics, ev);
  c->n_prompt += ev->timings.n_prompt;
  c->n_gen += ev->timings.n_gen;
  q->id = 0;
  if (--c->n_live > 0) return;
  if (!c->gone && !c->ended && !c->streams) finish(c);
  c->ended = true;
  if (c->counted) keys_end(&c->s->keys, c->key, c->n_prompt + c->n_gen);
  c->counted = false;
}

/* True when the connection has something to do. */
static bool take_event(call *c, sequence *q, const myna_event *ev) {
  const api_sink sink = {write_out, c};
  size_t before = c->out.n - c->out.at;
  if (!c->gone && !c->ended && api_reply_event(c->reply, q->index, ev, c->streams ? &sink : NULL) < 0) call_drop(c);
  if (ev->kind == MYNA_EVENT_TOKEN && q->index == 0) slot_token(c, ev->token);
  if (ev->kind == MYNA_EVENT_DONE) end_sequence(c, q, ev);
  return c->gone || c->ended || c->out.n - c->out.at != before;
}

static void wake_all(call **dirty, int *n) {
  for (int i = 0; i < *n; i++) {
    call *c = dirty[i];
    pthread_mutex_lock(&c->lock);
    c->dirty = false;
    call_wake(c);
    pthread_mutex_unlock(&c->lock);
    call_unref(c);
  }
  *n = 0;
}

/* Connections are woken once for all events that are there. */
void *gen_thread(void *arg) {
  server *s = arg;
  call *dirty[EVENTS_PER_WAKE];
  int n = 0, seen = 0;
  while (!atomic_load(&s->stopping) || atomic_load(&s->n_active) > 0) {
    myna_event ev;
    if (n == EVENTS_PER_WAKE || seen >= EVENTS_PER_WAKE) wake_all(dirty, &n), seen = 0;
    if (myna_next_event(s->o->engine, n ? 0 : 100, &ev) <= 0) {
      wake_all(dirty, &n);
      seen = 0;
      continue;
    }
    sequence *q = ev.user;
    call *c = q->c;
    seen++;
    pthread_mutex_lock(&c->lock);
    if (take_event(c, q, &ev) && !c->dirty) {
      c->dirty = true;
      atomic_fetch_add(&c->refs, 1);
      dirty[n++] = c;
    }
    pthread_mutex_unlock(&c->lock);
    if (ev.kind == MYNA_EVENT_DONE) {
      atomic_fetch_sub(&s->n_active, 1);
      call_unref(c);
    }
  }
  wake_all(dirty, &n);
  return NULL;
}
