/* run.c: generates text from a prompt. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct state {
  const options *o;
  progress prompt;
  int64_t n_out;
} state;

static bool on_event(void *user, const myna_event *ev) {
  state *s = user;
  if (ev->kind == MYNA_EVENT_PROGRESS) progress_show(&s->prompt, (double)ev->n_done, (double)ev->n_total, "prompt");
  else progress_end(&s->prompt);
  if (ev->text_len > 0) {
    if (s->o->json) {
      /* collected by the caller through n_out: JSON wants the whole text */
    } else if (fwrite(ev->text, 1, (size_t)ev->text_len, stdout) != (size_t)ev->text_len || fflush(stdout)) {
      return false; /* the pipe is gone */
    }
  }
  return !interrupted;
}

/* The text for --json. */
typedef struct text {
  char *data;
  size_t n;
  state s;
  int32_t *ids;
  int64_t n_ids;
} text;

static bool on_event_json(void *user, const myna_event *ev) {
  text *t = user;
  if (ev->text_len > 0) {
    char *p = realloc(t->data, t->n + (size_t)ev->text_len);
    if (!p) return false;
    t->data = p;
    memcpy(p + t->n, ev->text, (size_t)ev->text_len);
    t->n += (size_t)ev->text_len;
  }
  if (ev->kind == MYNA_EVENT_TOKEN) {
    int32_t *p = realloc(t->ids, (size_t)(t->n_ids + 1) * sizeof *p);
    if (!p) return false;
    t->ids = p;
    p[t->n_ids++] = ev->token;
  }
  return on_event(&t->s, ev);
}

static const char *const finish_names[] = {"none", "stop", "stop_string", "length", "context", "cancelled", "error"};

static void print_json(const options *o, const char *prompt, const text *t, const myna_timings *tm, myna_finish finish, double load) {
  printf("{\"text\":");
  json_string(stdout, t->data ? t->data : "", t->n);
  if (o->echo) {
    printf(",\"prompt\":");
    json_string(stdout, prompt, strlen(prompt));
  }
  printf(",\"tokens\":[");
  for (int64_t i = 0; i < t->n_ids; i++) printf("%s%d", i ? "," : "", t->ids[i]);
  printf("],\"finish\":\"%s\",\"timings\":{\"load_s\":%.6f,\"first_token_s\":%.6f,\"prompt_n\":%lld,\"prompt_s\":%.6f,\"gen_n\":%lld,\"gen_s\":%.6f}}\n",
         finish_names[finish], load, tm->first_token_s, (long long)tm->n_prompt, tm->prompt_s, (long long)tm->n_gen, tm->gen_s);
}

static void print_timings(const options *o, const myna_timings *t, myna_finish finish, double load) {
  struct rusage ru;
  char b[32];
  getrusage(RUSAGE_SELF, &ru);
  double gen = t->n_gen > 1 ? (double)(t->n_gen - 1) / t->gen_s : 0;
  note(o, "\nload %.0f ms | first token %.0f ms | prompt %lld tokens, %.1f/s | generation %lld tokens, %.1f/s | memory %s | end: %s\n", load * 1e3, t->first_token_s * 1e3,
       (long long)t->n_prompt, t->prompt_s > 0 ? (double)t->n_prompt / t->prompt_s : 0, (long long)t->n_gen, gen, human_bytes((int64_t)ru.ru_maxrss * 1024, b), finish_names[finish]);
}

/* The prompt's text: --prompt, --file, arguments after a model, or nothing. */
static char *prompt_text(const options *o) {
  size_t n;
  if (o->file) return read_text(o->file, &n);
  return strdup(o->prompt ? o->prompt : "");
}

static int generate(const options *o, myna_model *m, const char *prompt, double t0) {
  myna_err err = {0};
  myna_session *s = NULL;
  myna_engine_options eo;
  myna_request r = {.max_tokens = o->n_predict, .stop = o->stop.items, .n_stop = o->stop.n, .context_shift = o->context_shift, .n_keep = o->keep};
  myna_timings tm = {0};
  myna_finish finish = MYNA_FINISH_NONE;
  int64_t n;
  int32_t bos = myna_token_bos(m);
  if (engine_options(o, &eo) || sampling_options(o, &r.sampling)) return EXIT_USAGE;
  int32_t *ids = tokenize_all(m, prompt, strlen(prompt), &(myna_tokenize_options){.parse_special = o->parse_special}, &n);
  if (!ids) return EXIT_FAIL;
  r.tokens = ids;
  r.n_tokens = n;
  if (n == 0) { /* nothing to continue: start from BOS, or from an end token where there is no BOS */
    r.tokens = &bos;
    r.n_tokens = 1;
    if (bos < 0) bos = myna_token_eos(m);
  }
  int rc = myna_session_new(&s, m, &eo, &err);
  double load = now() - t0;
  text t = {.s = {.o = o, .prompt = progress_start(o, "prompt")}};
  if (rc == 0 && o->echo && !o->json) fputs(prompt, stdout);
  if (rc == 0) rc = myna_session_run(s, &r, o->json ? on_event_json : on_event, o->json ? (void *)&t : (void *)&t.s, &tm, &finish, &err);
  if (rc == 0 && o->json) print_json(o, prompt, &t, &tm, finish, load);
  if (rc == 0 && !o->json) {
    putchar('\n');
    print_timings(o, &tm, finish, load);
  }
  if (rc == 0 && finish == MYNA_FINISH_CONTEXT) {
    note(o, "myna: the context of %lld tokens is full (--ctx-size enlarges it, --context-shift drops the oldest half)\n", (long long)(r.n_tokens + tm.n_gen - 1));
  }
  myna_session_free(s);
  free(ids);
  free(t.data);
  free(t.ids);
  return rc < 0 ? fail(&err) : interrupted ? 130 : 0;
}

int cmd_run(options *o) {
  double t0 = now();
  myna_model *m = NULL;
  int rc = open_model(o, false, &m);
  if (rc) return rc;
  char *prompt = prompt_text(o);
  rc = prompt ? generate(o, m, prompt, t0) : EXIT_FAIL;
  free(prompt);
  myna_model_close(m);
  return rc;
}
