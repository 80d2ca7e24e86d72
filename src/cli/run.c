/* run.c: completes a text: the answer alone goes to standard output as it comes, or with --json one object at the end. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

typedef struct answer {
  const options *o;
  progress prompt;
  bool failed; /* no memory to keep it, or standard output is gone */
  char *text;  /* [n], kept for --json */
  size_t n;
  int32_t *ids; /* [n_ids], for --json */
  int64_t n_ids;
  myna_timings timings;
  myna_finish finish;
} answer;

static const char *const finish_names[] = {"none", "stop", "stop_string", "length", "context", "cancelled", "error"};

/* Room for `more` items behind n; capacities are the powers of two from 64 on, so none needs to be kept. */
static void *room(void *p, size_t n, size_t more, size_t size) {
  size_t have = 64, cap;
  while (have < n) have *= 2;
  for (cap = have; cap < n + more;) cap *= 2;
  return p && cap == have ? p : realloc(p, cap * size);
}

static bool keep(answer *a, const myna_event *ev) {
  if (ev->text_len > 0) {
    char *p = room(a->text, a->n, (size_t)ev->text_len, 1);
    if (!p) return false;
    a->text = p;
    memcpy(p + a->n, ev->text, (size_t)ev->text_len);
    a->n += (size_t)ev->text_len;
  }
  if (ev->kind == MYNA_EVENT_TOKEN) {
    int32_t *p = room(a->ids, (size_t)a->n_ids, 1, sizeof *p);
    if (!p) return false;
    a->ids = p;
    p[a->n_ids++] = ev->token;
  }
  return true;
}

static bool write_text(const char *text, size_t n) {
  return (fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0) || output_failed();
}

static bool on_event(void *user, const myna_event *ev) {
  answer *a = user;
  if (ev->kind == MYNA_EVENT_PROGRESS)
    progress_show(&a->prompt, (double)ev->n_done, (double)ev->n_total, "");
  else
    progress_end(&a->prompt);
  if (a->o->json)
    a->failed |= !keep(a, ev);
  else if (ev->text_len > 0 && !a->failed)
    a->failed |= !write_text(ev->text, (size_t)ev->text_len);
  return !a->failed && !interrupted;
}

static void print_json(const options *o, const char *prompt, size_t len, const answer *a, uint64_t seed,
                       double load_s) {
  printf("{\"text\":");
  write_json_string(stdout, a->text ? a->text : "", a->n);
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

/* Things that are wrong whatever the model is. */
static int check(const options *o) {
  if (o->n_predict < -2) return usage("--predict %lld: a number of tokens, or -1", (long long)o->n_predict);
  for (int i = 0; i < o->stop.n; i++)
    if (!o->stop.items[i][0]) return usage("--stop: an empty text would stop at once");
  return 0;
}

static void unescape_list(list *l) {
  for (int i = 0; i < l->n; i++) {
    char *copy = strdup(l->items[i]); /* needed until exit */
    if (!copy) continue;
    unescape(copy);
    l->items[i] = copy;
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

static int generate(const options *o, myna_model *m, const char *prompt, size_t len, const myna_engine_options *eo,
                    const myna_speculation *speculation, double t0) {
  myna_err err = {0};
  myna_session *s = NULL;
  myna_request r = {.max_tokens = o->n_predict < 0 ? -1 : o->n_predict,
                    .stop = o->stop.items,
                    .n_stop = o->stop.n,
                    .context_shift = o->context_shift,
                    .speculation = *speculation};
  if (sampling_options(o, m, &r.sampling)) return EXIT_USAGE;
  int32_t *ids = prompt_ids(o, m, prompt, len, &r.n_tokens);
  if (!ids) return EXIT_FAIL;
  r.tokens = ids;
  r.n_keep = o->keep < 0 ? r.n_tokens : o->keep;
  if (o->verbose_prompt) show_prompt(m, ids, r.n_tokens);
  int rc = myna_session_new(&s, m, eo, &err) < 0 ? engine_failed(m, eo, &err) : 0;
  double load_s = now() - t0;
  answer a = {.o = o, .prompt = progress_start(o, "prompt"), .finish = MYNA_FINISH_LENGTH};
  if (rc == 0 && o->echo && !o->json) a.failed = !write_text(prompt, len);
  if (rc == 0 && r.max_tokens != 0 && !a.failed &&
      myna_session_run(s, &r, on_event, &a, &a.timings, &a.finish, &err) < 0) {
    rc = fail(&err);
    if (err.code == MYNA_E_LIMIT) failed("a larger --ctx-size may help");
  }
  progress_end(&a.prompt);
  if (rc == 0 && o->json) print_json(o, prompt, len, &a, r.sampling.seed, load_s);
  if (rc == 0 && !o->json && !a.failed) write_text("\n", 1);
  if (rc == 0) tell_end(o, &a, load_s);
  myna_session_free(s);
  free(ids);
  free(a.text);
  free(a.ids);
  return rc ? rc : a.failed ? EXIT_FAIL : 0;
}

int cmd_run(options *o) {
  double t0 = now();
  myna_model *m = NULL;
  myna_engine_options eo = {0};
  myna_speculation speculation;
  size_t n;
  o->escape = !o->no_escape;
  if (o->escape) unescape_list(&o->stop), unescape_list(&o->dry_breakers);
  int rc = check(o);
  if (rc == 0) rc = engine_options(o, &eo);
  if (rc == 0) rc = speculation_options(o, &speculation);
  if (rc == 0) rc = open_model(o, false, &m);
  if (rc == 0) rc = open_draft(o, &speculation, &eo);
  if (rc) {
    myna_model_close(m);
    return rc;
  }
  char *prompt = input_text(o, &n);
  if (prompt && o->file && n > 0 && prompt[n - 1] == '\n')
    n--; /* llama.cpp's habit: an editor's last newline is not meant */
  if (myna_model_get_template(m) && !o->raw)
    note(o, "the model has a chat template, which is not applied yet: the prompt is completed as it is (--raw silences "
            "this)");
  rc = prompt ? generate(o, m, prompt, n, &eo, &speculation, t0) : EXIT_FAIL;
  free(prompt);
  myna_model_close(eo.draft_model);
  myna_model_close(m);
  return rc;
}
