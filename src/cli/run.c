/* run.c: answers a prompt by way of the model's chat template, or completes it as it is (--raw, or a model without template). What is generated goes to
 * standard output as it comes, without its reasoning; with --json one object at the end. */
#include "chat.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct answer {
  const options *o;
  ask *q; /* its parser is NULL where there is no template */
  progress prompt;
  bool failed;                /* no memory to keep it, or standard output is gone */
  bool thinking;              /* standard error tells how long the reasoning is so far */
  growing content, reasoning; /* content is kept for --json */
  int32_t *ids;               /* [n_ids], for --json */
  int64_t n_ids;
  myna_timings timings;
  myna_finish finish;
} answer;

static bool keep_id(answer *a, int32_t id) {
  int32_t *p = room(a->ids, (size_t)a->n_ids, 1, sizeof *p);
  if (!p) return false;
  a->ids = p;
  p[a->n_ids++] = id;
  return true;
}

static bool content(answer *a, const char *s, size_t n) {
  if (a->o->json) return text_add(&a->content, s, n);
  return n == 0 || write_answer(s, n);
}

/* Text of the answer; without a parser all of it is content. */
static bool take_text(answer *a, const char *s, size_t n, bool last) {
  const myna_delta *deltas;
  myna_err err = {0};
  if (!a->q->parser) return content(a, s, n);
  int got = myna_chat_parser_push(a->q->parser, s ? s : "", n, last, &deltas, &err);
  bool ok = got >= 0 || fail(&err) == 0;
  for (int i = 0; i < got && ok; i++) {
    if (deltas[i].kind == MYNA_DELTA_CONTENT) ok = content(a, deltas[i].text, deltas[i].len);
    if (deltas[i].kind == MYNA_DELTA_REASONING) ok = text_add(&a->reasoning, deltas[i].text, deltas[i].len);
  }
  return ok;
}

/* Reasoning is not shown: that there is some is told on a terminal. */
static void show_thinking(answer *a, size_t before, bool done) {
  bool now_thinks = !done && a->reasoning.n > before;
  if (a->o->quiet || a->o->json || !isatty(STDERR_FILENO)) return;
  if (now_thinks)
    fprintf(stderr, "\rreasoning, %zu characters so far\033[K", a->reasoning.n);
  else if (a->thinking)
    fprintf(stderr, "\r\033[K");
  a->thinking = now_thinks;
}

static bool on_event(void *user, const myna_event *ev) {
  answer *a = user;
  size_t before = a->reasoning.n;
  bool done = ev->kind == MYNA_EVENT_DONE;
  if (ev->kind == MYNA_EVENT_PROGRESS)
    progress_show(&a->prompt, (double)ev->n_done, (double)ev->n_total, "");
  else
    progress_end(&a->prompt);
  if (a->thinking && (done || ev->kind == MYNA_EVENT_TOKEN)) show_thinking(a, before, true);
  if (a->o->json && ev->kind == MYNA_EVENT_TOKEN && !keep_id(a, ev->token)) a->failed = true;
  if ((ev->text_len > 0 || done) && !a->failed)
    a->failed = !take_text(a, ev->text, ev->text_len > 0 ? (size_t)ev->text_len : 0, done);
  if (ev->kind == MYNA_EVENT_TOKEN) show_thinking(a, before, false);
  return !a->failed && !interrupted;
}

static void print_json(const options *o, const char *prompt, size_t len, const answer *a, uint64_t seed,
                       double load_s) {
  printf("{\"text\":");
  write_json_string(stdout, a->content.s ? a->content.s : "", a->content.n);
  if (a->q->parser) {
    printf(",\"reasoning\":");
    write_json_string(stdout, a->reasoning.s ? a->reasoning.s : "", a->reasoning.n);
  }
  if (o->echo) {
    printf(",\"prompt\":");
    write_json_string(stdout, prompt, len);
  }
  printf(",\"tokens\":[");
  for (int64_t i = 0; i < a->n_ids; i++) printf("%s%d", i ? "," : "", a->ids[i]);
  printf("],\"finish\":\"%s\",\"seed\":%llu,\"timings\":{", finish_names[a->finish], (unsigned long long)seed);
  json_timings(load_s, &a->timings);
  printf(",\"drafted_n\":%lld,\"accepted_n\":%lld}}\n", (long long)a->timings.n_drafted,
         (long long)a->timings.n_accepted);
}

static void show_prompt(const myna_model *m, const int32_t *ids, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    char piece[256];
    int64_t len = myna_token_text(m, ids[i], piece, sizeof piece - 1);
    piece[len < 0 ? 0 : len < (int64_t)sizeof piece ? len : (int64_t)sizeof piece - 1] = 0;
    fprintf(stderr, "%6d '%s'\n", ids[i], printable(piece));
  }
}

/* Ids of the prompt, never none: an empty one starts with BOS, or an end token where there is no BOS. */
static int32_t *prompt_ids(const options *o, const myna_model *m, const char *prompt, size_t len, int64_t *n) {
  int32_t *ids = tokenize_all(m, prompt, len, &(myna_tokenize_options){.parse_special = o->parse_special}, n);
  if (ids && *n == 0) {
    ids[0] = myna_token_bos(m) >= 0 ? myna_token_bos(m) : myna_token_eos(m);
    *n = 1;
    if (ids[0] < 0) {
      failed("an empty prompt needs a model with a BOS or an end token");
      free(ids);
      return NULL;
    }
  }
  return ids;
}

static void tell_end(const options *o, const answer *a, double load_s) {
  print_timings(o, load_s, &a->timings, finish_names[a->finish]);
  if (a->finish == MYNA_FINISH_CONTEXT)
    note(o, "the context%s is full: --ctx-size enlarges it, --context-shift goes on without the oldest half",
         o->ctx ? " that --ctx-size set" : "");
}

/* The prompt as a message. */
static int ask_messages(ask *q, const talk *t, const char *prompt, size_t len) {
  const options *o = t->o;
  json_t *messages = json_array();
  int rc = messages ? add_system(o, messages) : failed("no memory for the messages");
  if (rc == 0 && json_array_append_new(messages, new_message("user", prompt, len)) != 0)
    rc = failed("no memory for the message");
  if (rc == 0 && o->prefill) {
    char *begun = strdup(o->prefill);
    size_t n = begun && o->escape ? unescape(begun) : strlen(o->prefill);
    if (!begun || json_array_append_new(messages, new_message("assistant", begun, n)) != 0)
      rc = failed("no memory for the message");
    free(begun);
  }
  if (rc == 0) rc = ask_new(q, t, messages, o->prefill != NULL);
  json_decref(messages);
  return rc;
}

/* The prompt as it is. */
static int ask_raw(ask *q, const talk *t, const char *prompt, size_t len) {
  const options *o = t->o;
  q->r = (myna_request){.max_tokens = o->n_predict < 0 ? -1 : o->n_predict,
                        .stop = o->stop.items,
                        .n_stop = o->stop.n,
                        .context_shift = o->context_shift,
                        .grammar = t->grammar};
  if (o->system || o->system_file || o->prefill)
    return usage("--system and --prefill-response need a chat template: --chat-template names one");
  if (sampling_options(o, t->m, &q->r.sampling)) return EXIT_USAGE;
  q->ids = prompt_ids(o, t->m, prompt, len, &q->r.n_tokens);
  if (!q->ids) return EXIT_FAIL;
  q->r.tokens = q->ids;
  q->r.n_keep = o->keep < 0 ? q->r.n_tokens : o->keep;
  return 0;
}

static int generate(const options *o, myna_model *m, ask *q, const char *prompt, size_t len,
                    const myna_engine_options *eo, double t0) {
  myna_err err = {0};
  myna_session *s = NULL;
  if (o->verbose_prompt) show_prompt(m, q->ids, q->r.n_tokens);
  int rc = myna_session_new(&s, m, eo, &err) < 0 ? engine_failed(m, eo, &err) : 0;
  double load_s = now() - t0;
  answer a = {.o = o, .q = q, .prompt = progress_start(o, "prompt"), .finish = MYNA_FINISH_LENGTH};
  if (rc == 0 && o->echo && !o->json) a.failed = !write_answer(prompt, len);
  if (rc == 0 && q->r.max_tokens != 0 && !a.failed &&
      myna_session_run(s, &q->r, on_event, &a, &a.timings, &a.finish, &err) < 0) {
    rc = fail(&err);
    if (err.code == MYNA_E_LIMIT) failed("a larger --ctx-size may help");
  }
  progress_end(&a.prompt);
  if (rc == 0 && o->json) print_json(o, prompt, len, &a, q->r.sampling.seed, load_s);
  if (rc == 0 && !o->json && !a.failed) write_answer("\n", 1);
  if (rc == 0) tell_end(o, &a, load_s);
  myna_session_free(s);
  free(a.content.s);
  free(a.reasoning.s);
  free(a.ids);
  return rc ? rc : a.failed ? EXIT_FAIL : 0;
}

/* The template is applied where there is one; a grammar holds either way. */
static int answer_prompt(const options *o, myna_model *m, const myna_engine_options *eo,
                         const myna_speculation *speculation, double t0) {
  size_t n;
  talk t;
  ask q = {0};
  int rc = talk_open(&t, o, m);
  char *prompt = rc ? NULL : input_text(o, &n);
  if (rc == 0 && !prompt) rc = EXIT_FAIL;
  if (rc == 0) {
    if (o->file && n > 0 && prompt[n - 1] == '\n') n--; /* llama.cpp's habit: an editor's last newline is not meant */
    bool messages = t.chat && myna_chat_has_template(t.chat);
    rc = messages ? ask_messages(&q, &t, prompt, n) : ask_raw(&q, &t, prompt, n);
    q.r.speculation = *speculation;
    if (rc == 0) rc = generate(o, m, &q, messages ? q.prompt.text : prompt, messages ? q.prompt.text_len : n, eo, t0);
  }
  free(prompt);
  ask_free(&q);
  talk_close(&t);
  return rc;
}

int cmd_run(options *o) {
  double t0 = now();
  myna_model *m = NULL;
  myna_engine_options eo = {0};
  myna_speculation speculation;
  o->escape = !o->no_escape;
  if (o->escape) unescape_list(&o->stop), unescape_list(&o->dry_breakers);
  int rc = check_answer(o);
  if (rc == 0) rc = engine_options(o, &eo);
  if (rc == 0) rc = speculation_options(o, &speculation);
  if (rc == 0) rc = open_model(o, false, &m);
  if (rc == 0) rc = open_draft(o, &speculation, &eo);
  if (rc == 0) rc = answer_prompt(o, m, &eo, &speculation, t0);
  myna_model_close(eo.draft_model);
  myna_model_close(m);
  return rc;
}
