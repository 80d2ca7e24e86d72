/* chat.c: a conversation: lines become messages, messages a prompt, its answer is shown as it comes and becomes a message too. Standard output gets the
 * answers and nothing else; the engine finds by itself what of the prompt it has computed before. */
#include "chat.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- messages ---- */

const char *role_of(const json_t *message) {
  const char *role = json_string_value(json_object_get(message, "role"));
  return role ? role : "";
}

size_t n_system(const chat *c) {
  const char *role = role_of(json_array_get(c->messages, 0));
  return strcmp(role, "system") == 0 || strcmp(role, "developer") == 0;
}

void cut_messages(chat *c, size_t first) {
  while (json_array_size(c->messages) > first) json_array_remove(c->messages, json_array_size(c->messages) - 1);
  if (c->dropped + n_system(c) > first) c->dropped = 0;
}

/* Those that are sent. */
static json_t *window(const chat *c) {
  json_t *w = json_array();
  size_t n = n_system(c);
  for (size_t i = 0; w && i < json_array_size(c->messages); i++)
    if (i < n || i >= n + c->dropped) json_array_append(w, json_array_get(c->messages, i));
  return w;
}

/* Leaves out the oldest turn that is still sent: up to the next message of the user. False when only the last turn is left. */
static bool drop_turn(chat *c) {
  for (size_t i = n_system(c) + c->dropped + 1; i < json_array_size(c->messages); i++)
    if (strcmp(role_of(json_array_get(c->messages, i)), "user") == 0) {
      c->dropped = i - n_system(c);
      return true;
    }
  return false;
}

/* The request, without the oldest turns where they leave no room for an answer. Then half of the context is freed, so that the engine
 * has not to compute everything anew in every turn. */
static int prepare(chat *c, ask *a) {
  int64_t want = c->o->n_predict > 0 ? c->o->n_predict : c->n_ctx / 4;
  int64_t most = c->n_ctx - (want < c->n_ctx / 2 ? want : c->n_ctx / 2);
  size_t before = c->dropped;
  for (;;) {
    json_t *w = window(c);
    int rc = w ? ask_new(a, &c->talk, w, false) : failed("no memory for the messages");
    json_decref(w);
    if (rc || a->r.n_tokens <= most) break;
    if (!drop_turn(c)) {
      if (a->r.n_tokens < c->n_ctx) break;
      return failed("this message makes a prompt of %lld tokens, the context holds %lld: --ctx-size enlarges it",
                    (long long)a->r.n_tokens, (long long)c->n_ctx);
    }
    ask_free(a);
    most = c->n_ctx / 2;
  }
  if (c->dropped > before)
    note(c->o, "the context of %lld tokens is full: %zu of the oldest messages are not seen by the model any more",
         (long long)c->n_ctx, c->dropped);
  return a->parser ? 0 : EXIT_FAIL;
}

/* ---- an answer ---- */

typedef struct answer {
  chat *c;
  growing content, reasoning;
  progress prompt;
  bool dim, shown, ok;
  myna_err err;
} answer;

/* Reasoning of an answer is set apart: dimmed, or without colours between two marks. */
static bool set_apart(answer *a, bool dim) {
  const char *marks[] = {"\n[answer]\n", "[reasoning]\n"};
  if (a->c->colours) marks[0] = a->shown ? "\033[0m\n\n" : "\033[0m", marks[1] = "\033[2m";
  a->dim = dim;
  a->shown = false;
  return fputs(marks[dim], stdout) >= 0;
}

static bool show(answer *a, bool dim, const char *s, size_t n) {
  if (a->dim != dim && !set_apart(a, dim)) return output_failed();
  while (!a->shown && n > 0 && *s == '\n' && a->c->shows_reasoning) s++, n--; /* the place of an answer is set here */
  a->shown |= n > 0;
  return write_answer(s, n);
}

static bool take_delta(answer *a, const myna_delta *d) {
  const options *o = a->c->o;
  if (d->kind == MYNA_DELTA_REASONING) {
    bool visible = a->c->shows_reasoning && !o->json;
    return text_add(&a->reasoning, d->text, d->len) && (!visible || show(a, true, d->text, d->len));
  }
  if (d->kind != MYNA_DELTA_CONTENT) return true;
  return text_add(&a->content, d->text, d->len) && (o->json || show(a, false, d->text, d->len));
}

static void take_text(answer *a, ask *q, const char *s, size_t n, bool last) {
  const myna_delta *deltas;
  int got = a->ok ? myna_chat_parser_push(q->parser, s ? s : "", n, last, &deltas, &a->err) : 0;
  if (got < 0) a->ok = false;
  for (int i = 0; i < got && a->ok; i++) a->ok = take_delta(a, &deltas[i]);
}

/* Takes the events of one request up to its end. Ctrl-C ends it. */
static void take_events(answer *a, ask *q, int64_t id) {
  chat *c = a->c;
  bool cancelled = false;
  for (myna_event ev = {0}; ev.kind != MYNA_EVENT_DONE;) {
    if ((interrupted || !a->ok) && !cancelled) myna_cancel(c->engine, id), cancelled = true;
    if (myna_next_event(c->engine, 50, &ev) <= 0) {
      ev.kind = MYNA_EVENT_PROGRESS;
      continue;
    }
    if (ev.kind == MYNA_EVENT_PROGRESS) {
      progress_show(&a->prompt, (double)ev.n_done, (double)ev.n_total, "");
      continue;
    }
    progress_end(&a->prompt);
    bool done = ev.kind == MYNA_EVENT_DONE;
    take_text(a, q, ev.text, ev.text_len > 0 ? (size_t)ev.text_len : 0, done);
    if (!done) continue;
    c->timings = ev.timings;
    c->finish = ev.finish;
    if (ev.finish == MYNA_FINISH_ERROR) a->err = ev.err;
  }
}

static void print_json(const answer *a) {
  const chat *c = a->c;
  printf("{\"content\":");
  write_json_string(stdout, a->content.s ? a->content.s : "", a->content.n);
  printf(",\"reasoning\":");
  write_json_string(stdout, a->reasoning.s ? a->reasoning.s : "", a->reasoning.n);
  printf(
      ",\"finish\":\"%s\",\"timings\":{\"prompt_n\":%lld,\"cached_n\":%lld,\"prompt_per_second\":%.3f,\"gen_n\":%lld,"
      "\"gen_per_second\":%.3f}}\n",
      finish_names[c->finish], (long long)c->timings.n_prompt, (long long)c->timings.n_cached, prompt_rate(&c->timings),
      (long long)c->timings.n_gen, gen_rate(&c->timings));
}

static void end_output(answer *a) {
  if (a->dim && a->c->colours) fputs("\033[0m", stdout);
  if (a->c->o->json) {
    print_json(a);
  } else {
    bool ended = a->content.n > 0 && a->content.s[a->content.n - 1] == '\n' && !a->dim;
    fputs(ended ? "" : "\n", stdout);
    if (editor_is_terminal(a->c->ed)) fputs("\n", stdout); /* a free line before the next prompt */
  }
  if (fflush(stdout) != 0) output_failed();
}

void print_usage(const chat *c) {
  const myna_timings *t = &c->timings;
  fprintf(
      stderr,
      "prompt %lld tokens, %lld of them known, %.1f/s | answer %lld tokens, %.1f/s | context %lld of %lld | end: %s\n",
      (long long)t->n_prompt, (long long)t->n_cached, prompt_rate(t), (long long)t->n_gen, gen_rate(t),
      (long long)c->used, (long long)c->n_ctx, finish_names[c->finish]);
}

static bool keep_answer(chat *c, const answer *a) {
  json_t *m = new_message("assistant", a->content.s, a->content.n);
  if (m && a->reasoning.n > 0)
    json_object_set_new(m, "reasoning_content", json_stringn(a->reasoning.s, a->reasoning.n));
  return m && json_array_append_new(c->messages, m) == 0;
}

static void tell_end(chat *c, const answer *a) {
  c->used = c->timings.n_prompt + c->timings.n_gen;
  c->answered = true;
  if (c->o->verbose && !c->o->quiet) print_usage(c);
  if (c->finish == MYNA_FINISH_CONTEXT)
    note(c->o, "the context of %lld tokens is full, the answer ends here", (long long)c->n_ctx);
  if (c->finish == MYNA_FINISH_LENGTH && c->o->n_predict < 0 && c->o->verbose)
    note(c->o, "the answer is as long as it may be");
  if (c->finish == MYNA_FINISH_CANCELLED && a->content.n == 0)
    note(c->o, "nothing was answered; your message is taken back");
}

/* Submits, shows and keeps. Returns whether there is an answer. */
static bool generate(chat *c, ask *q) {
  answer a = {.c = c, .ok = true, .prompt = progress_start(c->o, "prompt")};
  int64_t id;
  q->r.sampling.seed += (uint64_t)c->again;
  q->r.speculation = c->speculation;
  bool submitted = myna_submit(c->engine, &q->r, &id, &a.err) >= 0;
  if (submitted) {
    take_events(&a, q, id);
    end_output(&a);
  }
  progress_end(&a.prompt);
  bool good = submitted && a.ok && !a.err.code;
  if (a.err.code)
    fail(&a.err);
  else if (submitted && !a.ok && !ferror(stdout))
    failed("no memory for the answer");
  bool empty = a.content.n == 0 && c->finish == MYNA_FINISH_CANCELLED;
  if (good) tell_end(c, &a);
  good = good && !empty && keep_answer(c, &a);
  free(a.content.s);
  free(a.reasoning.s);
  return good;
}

void chat_answer(chat *c) {
  ask q = {0};
  bool good = prepare(c, &q) == 0 && generate(c, &q);
  ask_free(&q);
  bool stopped = interrupted == SIGINT;
  if (!good && json_array_size(c->messages) > 0) cut_messages(c, json_array_size(c->messages) - 1);
  if (!good && !stopped) c->status = EXIT_FAIL;
  if (stopped && editor_is_terminal(c->ed)) interrupted = 0;
}

/* ---- the loop ---- */

static void say(chat *c, const char *s, size_t n) {
  json_t *m = new_message("user", s, n);
  if (!m || json_array_append_new(c->messages, m) != 0) {
    failed("no memory for the message");
    return;
  }
  c->again = 0;
  chat_answer(c);
}

static bool is_blank(const char *s) { return s[strspn(s, " \t\n\r")] == 0; }

/* One message or command; false at the end. */
static bool one_turn(chat *c) {
  char *s;
  size_t n;
  input got = editor_read(c->ed, &s, &n);
  if (got == INPUT_END) return false;
  if (got == INPUT_CLEARED) return true;
  bool go_on = true;
  if (got == INPUT_LINE && s[0] == '/' && s[1] != '/') {
    command_result r = chat_command(c, s);
    if (r == COMMAND_ANSWER) chat_answer(c);
    go_on = r != COMMAND_LEAVE;
  } else if (!is_blank(s) || strlen(s) < n) {
    bool slash = got == INPUT_LINE && s[0] == '/'; /* two are one */
    say(c, s + slash, n - slash);
    if (c->o->single_turn) go_on = false;
  }
  free(s);
  return go_on;
}

static void greet(const chat *c) {
  myna_model_info info;
  myna_model_get_info(c->m, &info);
  if (!editor_is_terminal(c->ed) || c->o->quiet) return;
  const char *slash = strrchr(info.file, '/');
  note(c->o, "%s, context of %lld tokens. /help lists commands; Ctrl-C stops an answer, Ctrl-D leaves.",
       info.name[0] ? info.name
       : slash      ? slash + 1
                    : info.file,
       (long long)c->n_ctx);
}

/* --prompt or --file, when there is one, then what is typed. */
static int converse(chat *c) {
  const options *o = c->o;
  size_t n = 0;
  const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
  bool screen = isatty(STDOUT_FILENO);
  c->colours = screen && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
  c->shows_reasoning = screen && !o->show_reasoning;
  if (interrupted) return 0; /* while the model was opened */
  greet(c);
  if (!myna_chat_has_template(c->talk.chat))
    note(o, "the model has no chat template: the messages are joined (--chat-template names one)");
  if (o->prompt || o->file) {
    char *first = input_text(o, &n);
    if (!first) return EXIT_FAIL;
    if (o->file && n > 0 && first[n - 1] == '\n') n--;
    if (editor_is_terminal(c->ed) && !o->quiet) fprintf(stderr, "> %.*s\n", (int)n, first);
    say(c, first, n);
    free(first);
    if (o->single_turn) return c->status;
  }
  while (!(interrupted && !editor_is_terminal(c->ed)) && interrupted != SIGTERM && !ferror(stdout) && one_turn(c)) {}
  return editor_is_terminal(c->ed) && !o->single_turn ? 0 : c->status;
}

static int check(const options *o) {
  if (o->n_predict == 0) return usage("--predict 0: there would be no answers");
  return check_answer(o);
}

static int open_engine(chat *c, myna_engine_options *eo) {
  myna_err err = {0};
  myna_engine_stats stats;
  eo->n_seq = 1;
  if (myna_engine_new(&c->engine, c->m, eo, &err) < 0) return engine_failed(c->m, eo, &err);
  myna_engine_get_stats(c->engine, &stats);
  c->n_ctx = stats.n_ctx;
  return 0;
}

int cmd_chat(options *o) {
  chat c = {.o = o, .messages = json_array()};
  myna_engine_options eo = {0};
  o->escape = !o->no_escape;
  if (o->escape) unescape_list(&o->stop), unescape_list(&o->dry_breakers);
  int rc = c.messages ? check(o) : failed("no memory");
  if (rc == 0) rc = engine_options(o, &eo);
  if (rc == 0) rc = speculation_options(o, &c.speculation);
  if (rc == 0) rc = add_system(o, c.messages);
  if (rc == 0) rc = open_model(o, false, &c.m);
  if (rc == 0) rc = talk_open(&c.talk, o, c.m);
  if (rc == 0) rc = open_draft(o, &c.speculation, &eo);
  if (rc == 0) rc = open_engine(&c, &eo);
  if (rc == 0 && !(c.ed = editor_new(o))) rc = EXIT_FAIL;
  if (rc == 0) rc = converse(&c);
  editor_free(c.ed);
  myna_engine_free(c.engine);
  talk_close(&c.talk);
  myna_model_close(eo.draft_model);
  myna_model_close(c.m);
  json_decref(c.messages);
  return rc;
}
