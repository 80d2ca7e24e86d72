/* chat_ask.c: from messages and flags to a request of the engine, and what its answer is parsed with; the same for run and chat. */
#include "chat.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const finish_names[] = {"none", "stop", "stop_string", "length", "context", "cancelled", "error"};

/* ---- texts ---- */

/* Capacities are the powers of two from 64 on, so none needs to be kept. */
void *room(void *p, size_t n, size_t more, size_t size) {
  size_t have = 64, cap;
  while (have < n) have *= 2;
  for (cap = have; cap < n + more;) cap *= 2;
  return p && cap == have ? p : realloc(p, cap * size);
}

bool text_add(growing *t, const char *s, size_t n) {
  if (n == 0) return true;
  char *p = room(t->s, t->n, n, 1);
  if (!p) return false;
  t->s = p;
  memcpy(p + t->n, s, n);
  t->n += n;
  return true;
}

static bool write_text(const char *text, size_t n) {
  static int terminal = -1;
  if (terminal < 0) terminal = isatty(STDOUT_FILENO);
  for (size_t at = 0; terminal && at < n;) { /* pieces without control characters, and those characters one by one */
    size_t len = at;
    for (; len < n; len++) {
      unsigned char b = (unsigned char)text[len];
      bool c1 = b == 0xc2 && len + 1 < n && (unsigned char)text[len + 1] < 0xa0;
      if (c1 || b == 0x7f || (b < 0x20 && b != '\n' && b != '\t')) break;
    }
    if (len > at && fwrite(text + at, 1, len - at, stdout) != len - at) return output_failed();
    if (len < n && putchar('?') == EOF) return output_failed();
    at = len + 1 + (len < n && (unsigned char)text[len] == 0xc2);
  }
  if (!terminal && fwrite(text, 1, n, stdout) != n) return output_failed();
  return fflush(stdout) == 0 || output_failed();
}

/* Signals go to other threads meanwhile: what stdio has half written when one comes would be lost. */
bool write_answer(const char *text, size_t n) {
  static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT};
  sigset_t some, before;
  sigemptyset(&some);
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) sigaddset(&some, signals[i]);
  pthread_sigmask(SIG_BLOCK, &some, &before);
  bool ok = write_text(text, n);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return ok;
}

/* ---- flags ---- */

static int reasoning_option(const options *o, myna_reasoning *out) {
  static const char *const names[] = {
      [MYNA_REASONING_AUTO] = "auto", [MYNA_REASONING_ON] = "on", [MYNA_REASONING_OFF] = "off"};
  *out = MYNA_REASONING_AUTO;
  for (int i = 0; o->reasoning && i < 3; i++) {
    if (strcmp(o->reasoning, names[i]) == 0) return *out = (myna_reasoning)i, 0;
    if (i == 2) return usage("--reasoning %s: on, off or auto", o->reasoning);
  }
  if (o->reasoning_budget == 0) *out = MYNA_REASONING_OFF;
  return 0;
}

int check_answer(const options *o) {
  myna_reasoning reasoning;
  if (o->n_predict < -2) return usage("--predict %lld: a number of tokens, or -1", (long long)o->n_predict);
  for (int i = 0; i < o->stop.n; i++)
    if (!o->stop.items[i][0]) return usage("--stop: an empty text would stop at once");
  if (o->reasoning_budget < -1)
    return usage("--reasoning-budget %lld: a number of tokens, or -1", (long long)o->reasoning_budget);
  return reasoning_option(o, &reasoning);
}

/* Shows line n of a text under a message about it. */
static void show_line(const char *text, size_t len, int64_t n) {
  const char *end = text + len;
  for (int64_t i = 1; i < n && text; i++) {
    text = memchr(text, '\n', (size_t)(end - text));
    if (text) text++;
  }
  if (!text || text >= end) return;
  const char *stop = memchr(text, '\n', (size_t)(end - text));
  failed("  %.*s", (int)((stop ? stop : end) - text > 200 ? 200 : (stop ? stop : end) - text), text);
}

static int from_gbnf(myna_grammar **out, const char *text, size_t n, myna_err *err) {
  return myna_grammar_from_gbnf(out, text, n, NULL, err);
}
static int from_schema(myna_grammar **out, const char *text, size_t n, myna_err *err) {
  return myna_grammar_from_schema(out, text, n, NULL, err);
}

/* The one of the five flags that was given, compiled. */
static int grammar_option(const options *o, myna_grammar **out) {
  const struct {
    const char *value, *flag;
    bool file;
    int (*make)(myna_grammar **out, const char *text, size_t n, myna_err *err);
  } rows[] = {{o->grammar, "--grammar", false, from_gbnf},
              {o->grammar_file, "--grammar-file", true, from_gbnf},
              {o->json_schema, "--json-schema", false, from_schema},
              {o->json_schema_file, "--json-schema-file", true, from_schema},
              {o->regex, "--regex", false, myna_grammar_from_regex}},
    *row = NULL;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (!rows[i].value) continue;
    if (row) return usage("give %s or %s, not both", row->flag, rows[i].flag);
    row = &rows[i];
  }
  if (!row) return 0;
  size_t n = row->file ? 0 : strlen(row->value);
  char *file = row->file ? read_text(row->value, &n) : NULL;
  if (row->file && !file) return EXIT_FAIL;
  const char *text = file ? file : row->value;
  myna_err err = {0};
  int rc = row->make(out, text, n, &err);
  if (rc < 0) {
    snprintf(err.file, sizeof err.file, "%s", row->file ? row->value : row->flag);
    int64_t line = err.line;
    if (strncmp(err.msg, "line ", 5) == 0) err.line = -1; /* it says so itself */
    if (row->make == myna_grammar_from_regex) err.offset = -1;
    fail(&err);
    if (line > 0) show_line(text, n, line);
  }
  free(file);
  return rc >= 0 ? 0 : row->file ? EXIT_FAIL : EXIT_USAGE;
}

/* ---- the template ---- */

static bool is_builtin(const char *name) {
  for (int i = 0; myna_chat_builtin(i); i++)
    if (strcmp(myna_chat_builtin(i), name) == 0) return true;
  return false;
}

static int no_such_template(const char *name) {
  char names[1024] = "";
  size_t at = 0;
  for (int i = 0; myna_chat_builtin(i) && at < sizeof names; i++)
    at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", myna_chat_builtin(i));
  return usage("--chat-template %s: no file, no Jinja source, and none of the built-in ones: %s", name, names);
}

int template_option(const options *o, const char **source, char **own) {
  size_t n;
  const char *s = o->chat_template, *path = o->chat_template_file;
  *own = NULL;
  *source = s;
  if (s && path) return usage("give --chat-template or --chat-template-file, not both");
  if (s && !is_builtin(s) && !strstr(s, "{{") && !strstr(s, "{%")) {
    struct stat st;
    if (stat(s, &st) != 0) return no_such_template(s);
    path = s;
  }
  if (!path) return 0;
  *source = *own = read_text(path, &n);
  return *own ? 0 : EXIT_FAIL;
}

/* Wrong kwargs are told before anything is generated. */
static int check_kwargs(const options *o) {
  json_error_t e;
  json_t *object = o->chat_kwargs ? json_loads(o->chat_kwargs, JSON_DECODE_ANY, &e) : json_object();
  bool is_object = json_is_object(object);
  json_decref(object);
  if (is_object) return 0;
  return object ? usage("--chat-template-kwargs: a JSON object is wanted")
                : usage("--chat-template-kwargs: line %d, column %d: %s", e.line, e.column, e.text);
}

static int open_chat(talk *t) {
  const options *o = t->o;
  const char *source;
  char *own;
  myna_err err = {0};
  int rc = check_kwargs(o);
  if (rc == 0) rc = template_option(o, &source, &own);
  if (rc) return rc;
  rc = myna_chat_new(&t->chat, t->m, &(myna_chat_options){.template_source = source}, &err);
  free(own);
  if (rc >= 0) return 0;
  t->chat = NULL;
  snprintf(err.file, sizeof err.file, "%s",
           o->chat_template_file ? o->chat_template_file
           : o->chat_template    ? "--chat-template"
                                 : "the model's chat template");
  fail(&err);
  if (!source) failed("--chat-template names another one; myna run --raw completes without");
  return EXIT_FAIL;
}

int talk_open(talk *t, const options *o, const myna_model *m) {
  *t = (talk){.o = o, .m = m};
  int rc = o->raw ? 0 : open_chat(t);
  return rc ? rc : grammar_option(o, &t->grammar);
}

void talk_close(talk *t) {
  myna_chat_free(t->chat);
  myna_grammar_free(t->grammar);
  *t = (talk){0};
}

/* ---- messages ---- */

/* What is no UTF-8 is written as such by the JSON writer: back and forth once. */
static json_t *repaired(const char *s, size_t n) {
  char *data = NULL;
  size_t len = 0;
  FILE *f = open_memstream(&data, &len);
  if (!f) return NULL;
  write_json_string(f, s, n);
  json_t *string = fclose(f) == 0 ? json_loadb(data, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
  free(data);
  return string;
}

json_t *new_message(const char *role, const char *text, size_t n) {
  json_t *string = json_stringn(text ? text : "", n);
  if (!string) string = repaired(text, n);
  return string ? json_pack("{s:s, s:o}", "role", role, "content", string) : NULL;
}

int add_system(const options *o, json_t *messages) {
  size_t n = 0;
  if (o->system && o->system_file) return usage("give --system or --system-prompt-file, not both");
  if (!o->system && !o->system_file) return 0;
  char *text = o->system_file ? read_text(o->system_file, &n) : strdup(o->system);
  if (!text) return EXIT_FAIL;
  if (!o->system_file) n = o->escape ? unescape(text) : strlen(text);
  if (o->system_file && n > 0 && text[n - 1] == '\n') n--; /* as of --file */
  int rc = json_array_append_new(messages, new_message("system", text, n));
  free(text);
  return rc ? failed("no memory for the system prompt") : 0;
}

/* ---- a request ---- */

static int set_stops(ask *a, const options *o) {
  const int most = (int)(sizeof a->stop / sizeof *a->stop);
  int n = 0;
  for (int i = 0; i < o->stop.n && n < most; i++) a->stop[n++] = o->stop.items[i];
  for (int i = 0; i < a->prompt.n_stop && n < most; i++) a->stop[n++] = a->prompt.stop[i];
  a->r.stop = a->stop;
  a->r.n_stop = n;
  return 0;
}

static const char *tag(const char *s) { return s && *s ? s : NULL; }

int ask_new(ask *a, const talk *t, const json_t *messages, bool prefill) {
  const options *o = t->o;
  myna_err err = {0};
  *a = (ask){.r = {.max_tokens = o->n_predict < 0 ? -1 : o->n_predict,
                   .context_shift = o->context_shift,
                   .grammar = t->grammar}};
  myna_chat_input in = {.kwargs = o->chat_kwargs, .tool_choice = MYNA_TOOLS_NONE, .continue_final = prefill};
  if (reasoning_option(o, &in.reasoning) || sampling_options(o, t->m, &a->r.sampling)) return EXIT_USAGE;
  char *text = json_dumps(messages, JSON_COMPACT);
  in.messages = text;
  int rc = text ? myna_chat_apply(t->chat, &in, &a->prompt, &err) : MYNA_E_NOMEM;
  free(text);
  if (rc < 0) {
    if (!err.code) return failed("no memory for the messages");
    if (!err.file[0]) snprintf(err.file, sizeof err.file, "chat template");
    return fail(&err);
  }
  set_stops(a, o);
  a->r.shown = a->prompt.markers;
  a->r.thinking = (myna_thinking){.start = tag(a->prompt.think_start),
                                  .end = tag(a->prompt.think_end),
                                  .open = a->prompt.thinking_open,
                                  .limited = o->reasoning_budget >= 0,
                                  .budget = o->reasoning_budget,
                                  .message = o->budget_message};
  const myna_tokenize_options to = {.no_special = a->prompt.starts_with_bos, .parse_special = true};
  a->ids = tokenize_all(t->m, a->prompt.text, a->prompt.text_len, &to, &a->r.n_tokens);
  if (!a->ids) return EXIT_FAIL;
  if (a->r.n_tokens == 0) return failed("the prompt is empty");
  a->r.tokens = a->ids;
  a->r.n_keep = o->keep < 0 ? a->r.n_tokens : o->keep;
  const myna_chat_parser_options po = {.keep_reasoning = o->show_reasoning};
  return myna_chat_parser_new(&a->parser, t->chat, &a->prompt, &po, &err) < 0 ? fail(&err) : 0;
}

void ask_free(ask *a) {
  myna_chat_parser_free(a->parser);
  myna_chat_prompt_free(&a->prompt);
  free(a->ids);
  a->parser = NULL;
  a->ids = NULL;
}
