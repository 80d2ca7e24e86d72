/* api_reply.c: keeps what the engine's events tell, sequence by sequence, and lets api_answer.c write it. */
#include "api_reply.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

double api_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

bool api_buf_add(api_buf *b, const char *bytes, size_t n) {
  if (b->at == b->n) b->at = b->n = 0;
  if (n >= SIZE_MAX / 4 - b->n) return false;
  if (b->n + n + 1 > b->cap) {
    size_t cap = (b->n + n + 1) * 2;
    char *p = realloc(b->p, cap);
    if (!p) return false;
    b->p = p;
    b->cap = cap;
  }
  if (n) memcpy(b->p + b->n, bytes, n);
  b->n += n;
  b->p[b->n] = 0;
  return true;
}

static uint64_t chance(void) {
  uint64_t x = 0;
  if (getrandom(&x, sizeof x, 0) != (ssize_t)sizeof x) x = (uint64_t)(api_now() * 1e9);
  return x;
}

static int seq_init(api_reply *p, int i, uint64_t seed, api_error *e) {
  api_request *r = p->r;
  api_seq *s = &p->seqs[i];
  s->scores = i >= p->n_answers;
  s->prompt = s->scores ? i - p->n_answers : i / (int)r->best_of;
  s->number = s->scores ? INT_MAX : i % (int)r->best_of;
  s->seed = seed + (uint64_t)s->number;
  s->n_cached = -1;
  s->t_begin = api_now();
  if (s->scores || r->dialect != API_CHAT || !r->env->chat) return 0;
  const char *format = r->reasoning_format;
  myna_chat_parser_options o = {.tools = r->tools && json_array_size(r->tools) > 0 && r->tool_choice != MYNA_TOOLS_NONE,
                                .keep_reasoning = format && strcmp(format, "none") == 0,
                                .one_tool_call = !r->parallel_tools,
                                .id_seed = chance()};
  myna_err err = {0};
  if (myna_chat_parser_new(&s->parser, r->env->chat, &r->chat_prompt, &o, &err) < 0) return api_fail_err(e, NULL, &err);
  return 0;
}

int api_reply_new(api_reply **out, api_request *r, api_error *e) {
  *out = NULL;
  api_reply *p = calloc(1, sizeof *p);
  int answers = r->n_prompts * (int)r->best_of, n = answers + (r->echo && r->n_probs > 0 ? r->n_prompts : 0);
  if (p) p->seqs = calloc((size_t)n, sizeof *p->seqs);
  if (!p || !p->seqs) {
    free(p);
    api_request_free(r);
    return api_fail(e, 500, "server_error", NULL, "out of memory");
  }
  p->r = r;
  p->n_seqs = n;
  p->n_answers = answers;
  p->created = (int64_t)time(NULL);
  snprintf(p->id, sizeof p->id, "%s-%016llx%08x", r->dialect == API_CHAT ? "chatcmpl" : "cmpl",
           (unsigned long long)chance(), (unsigned)chance());
  /* 32 bits, so that what is told about it is exact in every client. */
  uint64_t seed = !r->has_seed && r->env->random_seed ? chance() >> 32 : r->sampling.seed;
  for (int i = 0; i < n; i++)
    if (seq_init(p, i, seed, e) < 0) {
      api_reply_free(p);
      return -1;
    }
  *out = p;
  return 0;
}

void api_reply_free(api_reply *p) {
  if (!p) return;
  for (int i = 0; i < p->n_seqs; i++) {
    api_seq *s = &p->seqs[i];
    free(s->text.p);
    free(s->content.p);
    free(s->reasoning.p);
    free(s->tokens);
    free(s->top);
    json_decref(s->calls);
    json_decref(s->probs);
    myna_chat_parser_free(s->parser);
  }
  free(p->seqs);
  api_request_free(p->r);
  free(p);
}

int api_reply_count(const api_reply *p) { return p->n_seqs; }
bool api_reply_streams(const api_reply *p) { return p->r->stream; }
const api_request *api_reply_of(const api_reply *p) { return p->r; }
bool api_reply_done(const api_reply *p) { return p->n_done == p->n_seqs; }

static void set_thinking(const api_request *r, myna_thinking *t) {
  const myna_chat_prompt *c = &r->chat_prompt;
  if (!r->has_chat_prompt || r->no_thinking || !c->think_end || !c->think_end[0]) return;
  *t = (myna_thinking){.start = c->think_start,
                       .end = c->think_end,
                       .open = c->thinking_open,
                       .limited = r->reasoning_budget >= 0,
                       .budget = r->reasoning_budget,
                       .message = r->budget_message};
}

void api_reply_request(const api_reply *p, int i, myna_request *out) {
  const api_request *r = p->r;
  const api_seq *s = &p->seqs[i];
  const api_prompt *prompt = &r->prompts[s->prompt];
  *out = (myna_request){.tokens = prompt->tokens, .n_tokens = prompt->n_tokens, .sampling = r->sampling};
  if (s->scores) {
    out->want_logits = true;
    return;
  }
  /* Nothing to generate is one token that is not told. Prompt and answer together are no longer than the context. */
  int64_t room = r->env->n_ctx - prompt->n_tokens;
  out->max_tokens = r->max_tokens < 0 ? 0 : r->max_tokens == 0 ? 1 : r->max_tokens;
  if (!r->env->context_shift && (out->max_tokens == 0 || out->max_tokens > room)) out->max_tokens = room;
  out->sampling.seed = s->seed;
  out->stop = r->stop;
  out->n_stop = r->n_stop;
  out->context_shift = r->env->context_shift;
  out->n_keep = r->n_keep < 0 ? prompt->n_tokens : r->n_keep;
  out->n_probs = r->n_probs > 0 ? r->n_probs : r->best_of > r->n ? 1 : 0;
  out->post_probs = r->post_probs;
  out->speculation = r->env->speculation;
  out->grammar = r->grammar;
  if (r->grammar_lazy) {
    out->triggers = (const char *const *)r->chat_prompt.triggers;
    out->n_triggers = r->chat_prompt.n_triggers;
  }
  if (r->has_chat_prompt) out->shown = r->chat_prompt.markers;
  out->no_prefix = !r->cache_prompt;
  out->max_ms = r->max_ms;
  set_thinking(r, &out->thinking);
}

/* ---- events ---- */

static json_t *bytes_of(const char *s, int64_t n) {
  json_t *list = json_array();
  for (int64_t i = 0; i < n; i++) json_array_append_new(list, json_integer((unsigned char)s[i]));
  return list;
}

json_t *api_prob_row(const api_request *r, int32_t id, double logprob, const myna_event *top) {
  char buf[512];
  int64_t n = myna_token_text(r->env->model, id, buf, sizeof buf);
  n = n < 0 ? 0 : n > (int64_t)sizeof buf ? (int64_t)sizeof buf : n;
  if (!isfinite(logprob)) logprob = -3.4028234663852886e38; /* JSON knows no infinity */
  json_t *o = json_pack("{s:i, s:o, s:o, s:f}", "id", id, "token", api_text(buf, (size_t)n), "bytes", bytes_of(buf, n),
                        r->post_probs ? "prob" : "logprob", r->post_probs ? exp(logprob) : logprob);
  if (!o || !top) return o;
  json_t *list = json_array();
  for (int i = 0; i < top->n_top; i++) {
    /* A probability of zero says nothing. */
    if (r->post_probs && !(exp((double)top->top_logprobs[i]) > 0)) continue;
    json_array_append_new(list, api_prob_row(r, top->top_ids[i], (double)top->top_logprobs[i], NULL));
  }
  json_object_set_new(o, r->post_probs ? "top_probs" : "top_logprobs", list);
  return o;
}

static int add_token(api_reply *p, api_seq *s, const myna_event *ev) {
  if (s->n_tokens == s->cap_tokens) {
    int64_t cap = s->cap_tokens ? s->cap_tokens * 2 : 64;
    int32_t *t = realloc(s->tokens, (size_t)cap * sizeof *t);
    if (!t) return MYNA_E_NOMEM;
    s->tokens = t;
    s->cap_tokens = cap;
  }
  s->tokens[s->n_tokens++] = ev->token;
  if (s->t_first == 0) s->t_first = api_now();
  s->sum_logprob += (double)ev->logprob;
  /* An end token is no part of the text. */
  if (p->r->n_probs > 0 && !(myna_token_is_eog(p->r->env->model, ev->token) && ev->text_len == 0)) {
    if (!s->probs) s->probs = json_array();
    if (json_array_append_new(s->probs, api_prob_row(p->r, ev->token, (double)ev->logprob, ev)) < 0)
      return MYNA_E_NOMEM;
  }
  return 0;
}

enum { MAX_CALLS = 1024 };

static json_t *call_of(api_seq *s, int index) {
  if (!s->calls) s->calls = json_array();
  while ((int)json_array_size(s->calls) <= index)
    if (json_array_append_new(s->calls, json_pack("{s:s, s:{s:s, s:s}, s:s}", "type", "function", "function", "name",
                                                  "", "arguments", "", "id", "")) < 0)
      return NULL;
  return json_array_get(s->calls, (size_t)index);
}

/* In a stream it is only kept that there are calls. */
static int keep_delta(api_seq *s, const myna_delta *d, bool told) {
  if (told && d->kind != MYNA_DELTA_TOOL_CALL) return 0;
  if (d->kind == MYNA_DELTA_CONTENT) return api_buf_add(&s->content, d->text, d->len) ? 0 : MYNA_E_NOMEM;
  if (d->kind == MYNA_DELTA_REASONING) return api_buf_add(&s->reasoning, d->text, d->len) ? 0 : MYNA_E_NOMEM;
  if (d->index >= MAX_CALLS) return 0;
  json_t *call = call_of(s, d->index), *function = json_object_get(call, "function");
  if (!call) return MYNA_E_NOMEM;
  if (d->kind == MYNA_DELTA_TOOL_CALL) {
    json_object_set_new(function, "name", api_text(d->text, d->len));
    json_object_set_new(call, "id", api_text(d->id ? d->id : "", d->id ? strlen(d->id) : 0));
    return 0;
  }
  const char *have = json_string_value(json_object_get(function, "arguments"));
  api_buf b = {0};
  bool ok = api_buf_add(&b, have ? have : "", have ? strlen(have) : 0) && api_buf_add(&b, d->text, d->len);
  if (ok) json_object_set_new(function, "arguments", api_text(b.p, b.n));
  free(b.p);
  return ok ? 0 : MYNA_E_NOMEM;
}

/* More text of the answer, through the parser where there is one. */
static int add_text(api_reply *p, api_seq *s, const char *text, size_t n, bool last, const api_sink *sink) {
  if (n && !api_buf_add(&s->text, text, n)) return MYNA_E_NOMEM;
  bool stream = p->r->stream && sink;
  if (!s->parser) {
    if (n && !stream && !api_buf_add(&s->content, text, n)) return MYNA_E_NOMEM;
    return n && stream ? api_chunk_text(p, s, text, n, sink) : 0;
  }
  const myna_delta *deltas;
  myna_err err = {0};
  int have = myna_chat_parser_push(s->parser, text ? text : "", n, last, &deltas, &err);
  if (have < 0) return have;
  for (int i = 0; i < have; i++) {
    int rc = keep_delta(s, &deltas[i], stream);
    if (rc == 0 && stream) rc = api_chunk_delta(p, s, &deltas[i], sink);
    if (rc < 0) return rc;
  }
  return 0;
}

/* Which stop string it was: the one that stands in the tokens' bytes where the text ends. A leading space that the text lost moves it by one. */
static const char *find_word(const api_reply *p, const api_seq *s) {
  const api_request *r = p->r;
  if (r->n_stop == 1) return r->stop[0];
  api_buf raw = {0};
  char piece[512];
  for (int64_t i = 0; i < s->n_tokens; i++) {
    int64_t n = myna_token_text(r->env->model, s->tokens[i], piece, sizeof piece);
    if (n > 0 && !api_buf_add(&raw, piece, n > (int64_t)sizeof piece ? sizeof piece : (size_t)n)) break;
  }
  const char *best = NULL;
  size_t from = s->text.n < raw.n ? s->text.n : raw.n;
  for (size_t at = from; raw.p && at < raw.n && !best && at <= from + 1; at++)
    for (int i = 0; i < r->n_stop && !best; i++)
      if (strncmp(raw.p + at, r->stop[i], strlen(r->stop[i])) == 0) best = r->stop[i];
  free(raw.p);
  return best;
}

static int tell_end(api_reply *p, api_seq *s, const api_sink *sink) {
  if (s->finish != MYNA_FINISH_ERROR) return api_chunk_end(p, s, sink);
  api_error e = {0};
  api_error_from_event(&e, &s->err);
  return api_chunk_error(&e, sink);
}

static int finish(api_reply *p, api_seq *s, const myna_event *ev, const api_sink *sink) {
  s->done = true;
  p->n_done++;
  s->finish = ev->finish;
  s->timings = ev->timings;
  s->err = ev->err;
  if (s->finish == MYNA_FINISH_STOP) s->timings.n_gen++; /* the end token was generated too */
  if (p->r->max_tokens == 0) s->timings.n_gen = 0;
  if (s->finish == MYNA_FINISH_STRING) s->stopping_word = find_word(p, s);
  bool told = p->r->max_tokens != 0;
  int rc = add_text(p, s, told ? ev->text : NULL, told && ev->text_len > 0 ? (size_t)ev->text_len : 0, true, sink);
  if (rc < 0 || !p->r->stream || !sink) return rc;
  rc = tell_end(p, s, sink);
  return rc == 0 && api_reply_done(p) ? api_chunk_last(p, sink) : rc;
}

/* ---- answers that begin with their prompt's own probabilities ---- */

/* In a stream their chunks wait until these are known. */
static bool waits(const api_reply *p, const api_seq *s) {
  return p->n_seqs > p->n_answers && !p->seqs[p->n_answers + s->prompt].done;
}

static int catch_up(api_reply *p, api_seq *s, const api_sink *sink) {
  int rc = s->began ? api_chunk_begin(p, s, sink) : 0;
  if (rc == 0 && s->text.n > 0) rc = api_chunk_text(p, s, s->text.p, s->text.n, sink);
  return rc == 0 && s->done ? tell_end(p, s, sink) : rc;
}

static int scored(api_reply *p, api_seq *s, const myna_event *ev, const api_sink *sink) {
  int rc = 0;
  s->done = true;
  p->n_done++;
  s->finish = ev->finish;
  s->timings = ev->timings;
  s->timings.n_gen = 0;
  s->err = ev->err;
  if (!p->r->stream || !sink) return 0;
  if (s->finish == MYNA_FINISH_ERROR) rc = tell_end(p, s, sink);
  for (int i = 0; i < p->n_answers && rc == 0; i++)
    if (p->seqs[i].prompt == s->prompt) rc = catch_up(p, &p->seqs[i], sink);
  return rc == 0 && api_reply_done(p) ? api_chunk_last(p, sink) : rc;
}

/* How much of the prompt is computed: first what was found, at last, with the first token, all. */
static int tell_progress(api_reply *p, api_seq *s, const myna_event *ev, const api_sink *sink) {
  int64_t n = p->r->prompts[s->prompt].n_tokens;
  bool all = ev->kind == MYNA_EVENT_TOKEN, first = s->n_cached < 0;
  if (s->prompt_told) return 0;
  s->prompt_told = all;
  if (first) s->n_cached = ev->n_cached;
  int rc = first && sink ? api_chunk_progress(p, s, s->n_cached, n, sink) : 0;
  return rc == 0 && sink ? api_chunk_progress(p, s, all ? n : ev->n_done, n, sink) : rc;
}

int api_reply_event(api_reply *p, int i, const myna_event *ev, const api_sink *sink) {
  if (i < 0 || i >= p->n_seqs || p->seqs[i].done) return 0;
  api_seq *s = &p->seqs[i];
  int rc = 0;
  if (s->scores && ev->kind == MYNA_EVENT_LOGITS) return api_score_event(p, s, ev);
  if (s->scores) return ev->kind == MYNA_EVENT_DONE ? scored(p, s, ev, sink) : 0;
  if (waits(p, s)) sink = NULL;
  bool stream = p->r->stream && sink;
  if (!s->began && ev->kind != MYNA_EVENT_LOGITS && !(ev->kind == MYNA_EVENT_DONE && ev->finish == MYNA_FINISH_ERROR)) {
    s->began = true;
    if (stream) rc = api_chunk_begin(p, s, sink);
  }
  if (rc == 0 && (ev->kind == MYNA_EVENT_PROGRESS || ev->kind == MYNA_EVENT_TOKEN))
    rc = tell_progress(p, s, ev, stream && p->r->return_progress ? sink : NULL);
  if (rc == 0 && ev->kind == MYNA_EVENT_TOKEN && p->r->max_tokens != 0) {
    rc = add_token(p, s, ev);
    if (rc == 0 && ev->text_len > 0) rc = add_text(p, s, ev->text, (size_t)ev->text_len, false, sink);
  }
  if (rc == 0 && ev->kind == MYNA_EVENT_DONE) rc = finish(p, s, ev, sink);
  return rc;
}

bool api_reply_failed(const api_reply *p, api_error *e) {
  for (int i = 0; i < p->n_seqs; i++)
    if (p->seqs[i].done && p->seqs[i].finish == MYNA_FINISH_ERROR) {
      api_error_from_event(e, &p->seqs[i].err);
      return true;
    }
  return false;
}
