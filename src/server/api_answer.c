/* api_answer.c: the JSON of answers: chat.completion and its chunks, text_completion, llama-server's completion. */
#include "api_reply.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_all(const api_sink *sink, const char *s, size_t n) { return sink->write(sink->user, s, n); }

/* Takes o. One event of the stream. */
static int send(const api_sink *sink, json_t *o) {
  char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
  json_decref(o);
  if (!text) return MYNA_E_NOMEM;
  api_buf b = {0};
  bool ok = api_buf_add(&b, "data: ", 6) && api_buf_add(&b, text, strlen(text)) && api_buf_add(&b, "\n\n", 2);
  int rc = ok ? write_all(sink, b.p, b.n) : MYNA_E_NOMEM;
  free(b.p);
  free(text);
  return rc < 0 ? rc : 0;
}

int api_chunk_error(const api_error *e, const api_sink *sink) { return send(sink, api_error_json(e)); }

/* ---- parts ---- */

static const char *finish_reason(const api_seq *s) {
  if (s->finish == MYNA_FINISH_LENGTH || s->finish == MYNA_FINISH_CONTEXT) return "length";
  return s->calls ? "tool_calls" : "stop";
}

static json_t *usage(int64_t prompt, int64_t cached, int64_t answer) {
  return json_pack("{s:I, s:I, s:I, s:{s:I}}", "completion_tokens", (json_int_t)answer, "prompt_tokens",
                   (json_int_t)prompt, "total_tokens", (json_int_t)prompt + answer, "prompt_tokens_details",
                   "cached_tokens", (json_int_t)cached);
}

/* Prompts count once however many answers they have. */
static json_t *total_usage(const api_reply *p) {
  int64_t prompt = 0, cached = 0, answer = 0;
  for (int i = 0; i < p->n_seqs; i++) {
    const api_seq *s = &p->seqs[i];
    answer += s->timings.n_gen;
    if (s->number) continue;
    prompt += p->r->prompts[s->prompt].n_tokens;
    cached += s->timings.n_cached;
  }
  return usage(prompt, cached, answer);
}

/* Of several sequences the first one's: they ran together. */
static json_t *timings(const api_reply *p) { return api_timings(&p->seqs[0].timings); }

/* Timings of a sequence that still runs. */
static json_t *timings_so_far(const api_reply *p, const api_seq *s) {
  int64_t n = p->r->prompts[s->prompt].n_tokens;
  myna_timings t = {.n_prompt = n, .n_cached = s->n_cached > 0 ? s->n_cached : 0, .n_gen = s->n_tokens};
  t.prompt_s = s->t_first > 0 ? s->t_first - s->t_begin : 0;
  t.gen_s = s->t_first > 0 ? api_now() - s->t_first : 0;
  return api_timings(&t);
}

/* Rows that no chunk told yet, NULL when none is asked for. They are not kept: a stream may be long. */
static json_t *new_probs(const api_reply *p, api_seq *s) {
  json_t *list = s->probs;
  s->probs = NULL;
  return list || p->r->n_probs == 0 ? list : json_array();
}

static json_t *new_tokens(api_seq *s) {
  json_t *list = json_array();
  for (; s->n_told < s->n_tokens; s->n_told++) json_array_append_new(list, json_integer(s->tokens[s->n_told]));
  return list;
}

static void add_legacy(json_t *o, const json_t *row, int64_t *offset) {
  json_array_append(json_object_get(o, "tokens"), json_object_get(row, "token"));
  json_array_append(json_object_get(o, "token_logprobs"), json_object_get(row, "logprob"));
  const json_t *alternatives = json_object_get(row, "top_logprobs");
  json_t *top = alternatives ? json_object() : json_null();
  for (size_t i = 0; i < json_array_size(alternatives); i++) {
    const json_t *alt = json_array_get(alternatives, i);
    json_object_set(top, json_string_value(json_object_get(alt, "token")), json_object_get(alt, "logprob"));
  }
  json_array_append_new(json_object_get(o, "top_logprobs"), top);
  json_array_append_new(json_object_get(o, "text_offset"), json_integer(*offset < 0 ? 0 : *offset));
  *offset += (int64_t)json_string_length(json_object_get(row, "token"));
}

/* The old shape of text completions, and beside it `content`, which llama-server gives. Takes rows (or NULL). */
static json_t *legacy_logprobs(json_t *rows, int64_t offset) {
  if (!rows) return json_null();
  json_t *o = json_pack("{s:[], s:[], s:[], s:[]}", "tokens", "token_logprobs", "top_logprobs", "text_offset");
  size_t i;
  json_t *row;
  json_array_foreach(rows, i, row) add_legacy(o, row, &offset);
  json_object_set_new(o, "content", rows);
  return o;
}

static json_t *chat_logprobs(json_t *rows) {
  return rows ? json_pack("{s:o, s:n}", "content", rows, "refusal") : json_null();
}

static void set_common(const api_reply *p, json_t *o, const char *object) {
  json_object_set_new(o, "created", json_integer(p->created));
  json_object_set_new(o, "id", json_string(p->id));
  json_object_set_new(o, "model", json_string(p->r->env->model_name));
  json_object_set_new(o, "system_fingerprint", json_string(p->r->env->fingerprint));
  json_object_set_new(o, "object", json_string(object));
}

static int index_of(const api_reply *p, const api_seq *s) { return s->prompt * (int)p->r->n + s->number; }

/* ---- llama-server's completion ---- */

static json_t *prompt_text(const api_reply *p, const api_seq *s) {
  const api_prompt *q = &p->r->prompts[s->prompt];
  const myna_model *m = p->r->env->model;
  api_buf b = {0};
  char piece[512];
  int64_t bos = q->n_tokens > 0 && q->tokens[0] == myna_token_bos(m) ? 1 : 0;
  if (bos) {
    int64_t n = myna_token_text(m, q->tokens[0], piece, sizeof piece);
    if (n > 0) api_buf_add(&b, piece, n > (int64_t)sizeof piece ? sizeof piece : (size_t)n);
  }
  for (int64_t i = bos; i < q->n_tokens; i++) {
    int64_t n = myna_token_text(m, q->tokens[i], piece, sizeof piece);
    if (n > 0) api_buf_add(&b, piece, n > (int64_t)sizeof piece ? sizeof piece : (size_t)n);
  }
  json_t *o = api_text(b.p, b.n);
  free(b.p);
  return o;
}

static const char *stop_type(const api_seq *s) {
  if (s->finish == MYNA_FINISH_STOP) return "eos";
  if (s->finish == MYNA_FINISH_STRING) return "word";
  return s->finish == MYNA_FINISH_LENGTH || s->finish == MYNA_FINISH_CONTEXT ? "limit" : "none";
}

/* "generation_settings/n_predict" looks inside. */
static json_t *only_fields(const json_t *fields, json_t *all) {
  json_t *o = json_object();
  size_t i;
  json_t *field;
  json_array_foreach((json_t *)(uintptr_t)fields, i, field) {
    const char *path = json_string_value(field);
    const json_t *at = path ? all : NULL;
    for (const char *c = path; at && c;) {
      const char *slash = strchr(c, '/');
      char name[128];
      snprintf(name, sizeof name, "%.*s", (int)(slash && slash - c < 127 ? slash - c : 127), c);
      at = json_object_get(at, name);
      c = slash ? slash + 1 : NULL;
    }
    if (at) json_object_set(o, path, (json_t *)(uintptr_t)at);
  }
  json_decref(all);
  return o;
}

static json_t *all_tokens(const api_seq *s) {
  json_t *list = json_array();
  for (int64_t i = 0; i < s->n_tokens; i++) json_array_append_new(list, json_integer(s->tokens[i]));
  return list;
}

static json_t *native(const api_reply *p, const api_seq *s) {
  const api_request *r = p->r;
  int64_t n_prompt = r->prompts[s->prompt].n_tokens, n_gen = s->timings.n_gen;
  bool full = s->finish == MYNA_FINISH_CONTEXT || n_prompt + n_gen >= r->env->n_ctx;
  json_t *o = json_object();
  if (!o) return NULL;
  json_object_set_new(o, "index", json_integer(index_of(p, s)));
  json_object_set_new(o, "content", r->stream ? json_string("") : api_text(s->text.p, s->text.n));
  json_object_set_new(o, "tokens", r->return_tokens && !r->stream ? all_tokens(s) : json_array());
  json_object_set_new(o, "id_slot", json_integer(p->r->id_slot > 0 ? p->r->id_slot : 0));
  json_object_set_new(o, "stop", json_true());
  json_object_set_new(o, "model", json_string(r->env->model_name));
  json_object_set_new(o, "tokens_predicted", json_integer(n_gen));
  json_object_set_new(o, "tokens_evaluated", json_integer(n_prompt));
  json_object_set_new(o, "generation_settings", api_generation_settings(r, s->seed));
  json_object_set_new(o, "prompt", prompt_text(p, s));
  json_object_set_new(o, "has_new_line", json_boolean(s->text.n > 0 && memchr(s->text.p, '\n', s->text.n) != NULL));
  json_object_set_new(o, "truncated", json_boolean(full));
  json_object_set_new(o, "stop_type", json_string(stop_type(s)));
  json_object_set_new(o, "stopping_word", json_string(s->stopping_word ? s->stopping_word : ""));
  json_object_set_new(o, "tokens_cached", json_integer(n_prompt + (n_gen > 0 ? n_gen - 1 : 0)));
  json_object_set_new(o, "timings", api_timings(&s->timings));
  if (!r->stream && s->probs) json_object_set(o, "completion_probabilities", s->probs);
  if (r->response_fields && json_array_size(r->response_fields) > 0) return only_fields(r->response_fields, o);
  return o;
}

json_t *api_reply_slot(const api_reply *p, int i) {
  const api_request *r = p->r;
  const api_seq *s = &p->seqs[i];
  int64_t n_prompt = r->prompts[s->prompt].n_tokens, cached = s->n_cached > 0 ? s->n_cached : 0;
  json_t *next = json_pack("{s:b, s:b, s:I, s:I}", "has_next_token", !s->done, "has_new_line",
                           s->text.n > 0 && memchr(s->text.p, '\n', s->text.n) != NULL, "n_remain",
                           r->max_tokens < 0 ? (json_int_t)-1 : (json_int_t)r->max_tokens - s->n_tokens, "n_decoded",
                           (json_int_t)s->n_tokens);
  return json_pack("{s:o, s:I, s:I, s:I, s:[o]}", "params", api_generation_settings(r, s->seed), "n_prompt_tokens",
                   (json_int_t)n_prompt, "n_prompt_tokens_processed", (json_int_t)(n_prompt - cached),
                   "n_prompt_tokens_cache", (json_int_t)cached, "next_token", next);
}

/* ---- OpenAI's ---- */

static json_t *message(const api_seq *s) {
  bool text = s->content.n > 0 || !s->calls;
  json_t *o = json_pack("{s:s, s:o, s:n}", "role", "assistant", "content",
                        text ? api_text(s->content.p, s->content.n) : json_null(), "refusal");
  if (o && s->reasoning.n > 0) json_object_set_new(o, "reasoning_content", api_text(s->reasoning.p, s->reasoning.n));
  if (o && s->calls) json_object_set(o, "tool_calls", s->calls);
  return o;
}

static json_t *chat_choice(const api_reply *p, const api_seq *s) {
  json_t *o =
      json_pack("{s:s, s:i, s:o}", "finish_reason", finish_reason(s), "index", index_of(p, s), "message", message(s));
  if (o) json_object_set_new(o, "logprobs", chat_logprobs(s->probs ? json_incref(s->probs) : NULL));
  return o;
}

/* The prompt as the client gave it, or the text of its tokens. */
static void add_prompt(const api_reply *p, const api_seq *s, api_buf *b) {
  const api_prompt *q = &p->r->prompts[s->prompt];
  const json_t *item = p->r->prompt_list ? json_array_get(p->r->prompt, (size_t)s->prompt) : p->r->prompt;
  myna_err err = {0};
  if (json_is_string(item)) {
    api_buf_add(b, json_string_value(item), json_string_length(item));
    return;
  }
  int64_t n = myna_detokenize(p->r->env->model, q->tokens, q->n_tokens, false, NULL, 0, &err);
  if (n <= 0 || !(b->p = malloc((size_t)n + 1))) return;
  b->cap = (size_t)n + 1;
  myna_detokenize(p->r->env->model, q->tokens, q->n_tokens, false, b->p, n, &err);
  b->n = (size_t)n;
}

/* Logprobs of the echoed prompt and of what of the answer is behind it (NULL: nothing). Tokens that are no part of the text, a BOS and a space before the
 * first word, move where it begins. */
static json_t *echo_logprobs(const api_reply *p, const api_seq *s, const api_buf *text, json_t *answer) {
  const api_seq *scores = &p->seqs[p->n_answers + s->prompt];
  json_t *rows = json_copy(scores->probs);
  if (!rows) return json_null();
  int64_t total = 0;
  for (size_t i = 0; i < json_array_size(rows); i++)
    total += (int64_t)json_string_length(json_object_get(json_array_get(rows, i), "token"));
  if (answer) json_array_extend(rows, answer);
  return legacy_logprobs(rows, (int64_t)text->n - total);
}

static json_t *text_choice(const api_reply *p, const api_seq *s) {
  api_buf b = {0};
  json_t *logprobs;
  if (p->r->echo) add_prompt(p, s, &b);
  if (p->n_seqs > p->n_answers)
    logprobs = echo_logprobs(p, s, &b, s->probs);
  else
    logprobs = legacy_logprobs(s->probs ? json_incref(s->probs) : NULL, (int64_t)b.n);
  api_buf_add(&b, s->text.p, s->text.n);
  json_t *o = json_pack("{s:o, s:i, s:o, s:s}", "text", api_text(b.p, b.n), "index", index_of(p, s), "logprobs",
                        logprobs, "finish_reason", finish_reason(s));
  free(b.p);
  return o;
}

/* best_of: the n with the best mean logprob of each prompt, in that order, get the numbers 0..n-1; the rest n and more. */
static void rank(api_reply *p) {
  const api_request *r = p->r;
  for (int q = 0; q < r->n_prompts; q++) {
    api_seq *s = p->seqs + q * (int)r->best_of;
    for (int i = 1; i < (int)r->best_of; i++)
      for (int j = i; j > 0; j--) {
        double a = s[j - 1].sum_logprob / (double)(s[j - 1].n_tokens + 1);
        double b = s[j].sum_logprob / (double)(s[j].n_tokens + 1);
        if (!(b > a)) break;
        api_seq swap = s[j];
        s[j] = s[j - 1];
        s[j - 1] = swap;
      }
    for (int i = 0; i < (int)r->best_of; i++) s[i].number = i;
  }
}

json_t *api_reply_body(api_reply *p) {
  const api_request *r = p->r;
  if (r->best_of > r->n) rank(p);
  json_t *choices = json_array();
  for (int i = 0; i < p->n_seqs; i++) {
    const api_seq *s = &p->seqs[i];
    if (s->number >= r->n) continue;
    json_t *one = r->dialect == API_CHAT   ? chat_choice(p, s)
                  : r->dialect == API_TEXT ? text_choice(p, s)
                                           : native(p, s);
    if (json_array_append_new(choices, one) < 0) {
      json_decref(choices);
      return NULL;
    }
  }
  if (r->dialect == API_NATIVE) {
    if (r->prompt_list || r->n > 1) return choices;
    json_t *one = json_incref(json_array_get(choices, 0));
    json_decref(choices);
    return one;
  }
  json_t *o = json_pack("{s:o}", "choices", choices);
  if (!o) return NULL;
  set_common(p, o, r->dialect == API_CHAT ? "chat.completion" : "text_completion");
  json_object_set_new(o, "usage", total_usage(p));
  json_object_set_new(o, "timings", timings(p));
  if (r->verbose) json_object_set_new(o, "__verbose", native(p, &p->seqs[0]));
  return o;
}

/* ---- chunks ---- */

/* Takes delta. finish NULL: it goes on. */
static json_t *chat_chunk(const api_reply *p, const api_seq *s, json_t *delta, const char *finish) {
  json_t *o = json_pack("{s:[{s:o, s:i, s:o}]}", "choices", "finish_reason", finish ? json_string(finish) : json_null(),
                        "index", index_of(p, s), "delta", delta);
  if (o) set_common(p, o, "chat.completion.chunk");
  return o;
}

static json_t *text_chunk(const api_reply *p, const api_seq *s, const char *text, size_t n, json_t *logprobs,
                          const char *finish) {
  json_t *o = json_pack("{s:[{s:o, s:i, s:o, s:o}]}", "choices", "text", api_text(text, n), "index", index_of(p, s),
                        "logprobs", logprobs, "finish_reason", finish ? json_string(finish) : json_null());
  if (o) set_common(p, o, "text_completion");
  return o;
}

int api_chunk_begin(api_reply *p, api_seq *s, const api_sink *sink) {
  if (p->r->dialect == API_CHAT)
    return send(sink, chat_chunk(p, s, json_pack("{s:s, s:n}", "role", "assistant", "content"), NULL));
  if (p->r->dialect != API_TEXT || !p->r->echo) return 0;
  api_buf b = {0};
  add_prompt(p, s, &b);
  s->n_echo = (int64_t)b.n;
  json_t *logprobs = p->n_seqs > p->n_answers ? echo_logprobs(p, s, &b, NULL) : json_null();
  int rc = send(sink, text_chunk(p, s, b.p, b.n, logprobs, NULL));
  free(b.p);
  return rc;
}

int api_chunk_text(api_reply *p, api_seq *s, const char *text, size_t n, const api_sink *sink) {
  json_t *o, *probs = new_probs(p, s);
  int64_t before = s->n_echo + (int64_t)(s->text.n - n);
  if (p->r->dialect == API_CHAT) {
    o = chat_chunk(p, s, json_pack("{s:o}", "content", api_text(text, n)), NULL);
    if (probs) json_object_set_new(json_array_get(json_object_get(o, "choices"), 0), "logprobs", chat_logprobs(probs));
  } else if (p->r->dialect == API_TEXT) {
    o = text_chunk(p, s, text, n, legacy_logprobs(probs, before), NULL);
  } else {
    o = json_pack("{s:i, s:o, s:o, s:b, s:i, s:I, s:I}", "index", index_of(p, s), "content", api_text(text, n),
                  "tokens", new_tokens(s), "stop", 0, "id_slot", p->r->id_slot > 0 ? (int)p->r->id_slot : 0,
                  "tokens_predicted", (json_int_t)s->n_tokens, "tokens_evaluated",
                  (json_int_t)p->r->prompts[s->prompt].n_tokens);
    if (o && probs) json_object_set_new(o, "completion_probabilities", probs);
  }
  if (o && p->r->timings_per_token) json_object_set_new(o, "timings", timings_so_far(p, s));
  return send(sink, o);
}

int api_chunk_delta(api_reply *p, api_seq *s, const myna_delta *d, const api_sink *sink) {
  if (d->len == 0 && d->kind != MYNA_DELTA_TOOL_CALL) return 0;
  if (d->kind == MYNA_DELTA_CONTENT) return api_chunk_text(p, s, d->text, d->len, sink);
  json_t *delta;
  if (d->kind == MYNA_DELTA_REASONING)
    delta = json_pack("{s:o}", "reasoning_content", api_text(d->text, d->len));
  else if (d->kind == MYNA_DELTA_TOOL_CALL)
    delta = json_pack("{s:[{s:i, s:s, s:s, s:{s:o, s:s}}]}", "tool_calls", "index", d->index, "id", d->id ? d->id : "",
                      "type", "function", "function", "name", api_text(d->text, d->len), "arguments", "");
  else
    delta = json_pack("{s:[{s:i, s:{s:o}}]}", "tool_calls", "index", d->index, "function", "arguments",
                      api_text(d->text, d->len));
  json_t *o = chat_chunk(p, s, delta, NULL), *probs = new_probs(p, s);
  if (probs) json_object_set_new(json_array_get(json_object_get(o, "choices"), 0), "logprobs", chat_logprobs(probs));
  if (o && p->r->timings_per_token) json_object_set_new(o, "timings", timings_so_far(p, s));
  return send(sink, o);
}

int api_chunk_progress(api_reply *p, api_seq *s, int64_t done, int64_t total, const api_sink *sink) {
  json_t *o = p->r->dialect == API_CHAT ? chat_chunk(p, s, json_object(), NULL)
              : p->r->dialect == API_TEXT
                  ? text_chunk(p, s, "", 0, json_null(), NULL)
                  : json_pack("{s:i, s:s, s:[], s:b, s:i, s:I}", "index", index_of(p, s), "content", "", "tokens",
                              "stop", 0, "tokens_predicted", 0, "tokens_evaluated", (json_int_t)total);
  if (!o) return MYNA_E_NOMEM;
  json_object_set_new(o, "prompt_progress",
                      json_pack("{s:I, s:I, s:I, s:I}", "total", (json_int_t)total, "cache",
                                (json_int_t)(s->n_cached > 0 ? s->n_cached : 0), "processed", (json_int_t)done,
                                "time_ms", (json_int_t)((api_now() - s->t_begin) * 1e3)));
  return send(sink, o);
}

int api_chunk_end(api_reply *p, api_seq *s, const api_sink *sink) {
  bool last = api_reply_done(p) && !(p->r->include_usage && p->r->dialect != API_NATIVE);
  json_t *o;
  if (p->r->dialect == API_NATIVE) return send(sink, native(p, s));
  /* Tokens of which no text was told: marks around calls, a stop string's beginning. */
  json_t *probs = json_array_size(s->probs) > 0 ? new_probs(p, s) : NULL;
  if (p->r->dialect == API_CHAT) {
    o = chat_chunk(p, s, json_object(), finish_reason(s));
    if (probs) json_object_set_new(json_array_get(json_object_get(o, "choices"), 0), "logprobs", chat_logprobs(probs));
  } else {
    o = text_chunk(p, s, "", 0, legacy_logprobs(probs, s->n_echo + (int64_t)s->text.n), finish_reason(s));
  }
  if (o && last) json_object_set_new(o, "timings", timings(p));
  if (o && last && p->r->dialect == API_TEXT) json_object_set_new(o, "usage", total_usage(p));
  if (o && p->r->verbose) json_object_set_new(o, "__verbose", native(p, s));
  return send(sink, o);
}

int api_chunk_last(api_reply *p, const api_sink *sink) {
  if (p->r->dialect == API_NATIVE) return 0;
  if (p->r->include_usage) {
    json_t *o = json_pack("{s:[]}", "choices");
    if (!o) return MYNA_E_NOMEM;
    set_common(p, o, p->r->dialect == API_CHAT ? "chat.completion.chunk" : "text_completion");
    json_object_set_new(o, "usage", total_usage(p));
    json_object_set_new(o, "timings", timings(p));
    int rc = send(sink, o);
    if (rc < 0) return rc;
  }
  return write_all(sink, "data: [DONE]\n\n", 14);
}
