/* compare.c: head-to-head of running OpenAI-compatible servers. Everything is measured in rounds; in a round the servers take turns at each
 * measurement, a different one first each time, so that what disturbs the machine disturbs all. Requests of a round are the same for every server and
 * differ between rounds from their first words on, so that no server answers from its cache. */
#include "compare.h"
#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PER_CLIENT = 2, JSON_TOKENS = 200, MAX_CHARS = 1 << 20 };

/* ---- samples ---- */

void series_add(series *s, double x) {
  if (s->n == s->cap) {
    int cap = s->cap ? 2 * s->cap : 32;
    double *v = realloc(s->v, (size_t)cap * sizeof *v);
    if (!v) return; /* a sample less */
    s->v = v, s->cap = cap;
  }
  s->v[s->n++] = x;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Between the two nearest samples. */
double quantile(const series *s, double q) {
  double *v = malloc((size_t)(s->n + 1) * sizeof *v), x = NAN;
  int n = 0;
  if (!v) return NAN;
  for (int i = 0; i < s->n; i++)
    if (!isnan(s->v[i])) v[n++] = s->v[i];
  qsort(v, (size_t)n, sizeof *v, by_size);
  if (n > 0) {
    double at = q * (n - 1);
    int i = (int)at;
    x = i + 1 < n ? v[i] + (at - i) * (v[i + 1] - v[i]) : v[i];
  }
  free(v);
  return x;
}

double paired_ratio(const series *a, const series *b) {
  series r = {0};
  for (int i = 0; i < a->n && i < b->n; i++) series_add(&r, a->v[i] / b->v[i]); /* NAN where either is */
  double x = quantile(&r, 0.5);
  free(r.v);
  return x;
}

/* ---- requests ---- */

char *task_text(int64_t n, unsigned round, unsigned which) {
  static const char *const words[] = {"river",   "garden", "the",      "old",    "market", "and",    "slowly",
                                      "house",   "rain",   "walks",    "letter", "with",   "green",  "story",
                                      "morning", "over",   "small",    "bread",  "near",   "window", "child",
                                      "a",       "looks",  "mountain", "quiet",  "road",   "for"};
  enum { N = sizeof words / sizeof *words };
  char *s = malloc((size_t)n + 80);
  if (!s) return NULL;
  uint32_t x = round * 2654435761u + which * 40503u + 12345u;
  int64_t at = snprintf(s, 64, "Note %u.%u. Go on with this story: ", round + 1, which + 1);
  while (at < n) {
    x = x * 1664525u + 1013904223u;
    at += snprintf(s + at, (size_t)(n + 80 - at), "%s%s", words[(x >> 16) % N], (x >> 24) % 9 ? " " : ". ");
  }
  s[n] = 0;
  return s;
}

static const char person_schema[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":40},\"age\":{\"type\":"
    "\"integer\"},"
    "\"member\":{\"type\":\"boolean\"},\"languages\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":"
    "20},"
    "\"minItems\":1,\"maxItems\":3}},\"required\":[\"name\",\"age\",\"member\",\"languages\"],"
    "\"additionalProperties\":false}";

/* What one request asks; the caller frees it. */
static char *request_body(const options *o, const server *s, const char *prompt, int64_t max_tokens, bool schema) {
  json_t *root = json_pack("{s:s, s:[{s:s, s:s}], s:I, s:i, s:b, s:{s:b}}", "model", s->model, "messages", "role",
                           "user", "content", prompt, "max_tokens", (json_int_t)max_tokens, "temperature", 0, "stream",
                           1, "stream_options", "include_usage", 1);
  if (root && schema)
    json_object_set_new(root, "response_format",
                        json_pack("{s:s, s:{s:s, s:b, s:o}}", "type", "json_schema", "json_schema", "name", "person",
                                  "strict", 1, "schema", json_loads(person_schema, 0, NULL)));
  if (root && o->ignore_eos && !schema) json_object_set_new(root, "ignore_eos", json_true());
  char *body = root ? json_dumps(root, JSON_COMPACT) : NULL;
  json_decref(root);
  return body;
}

/* As person_schema says. */
static bool valid_person(const char *text, size_t n) {
  json_t *root = n ? json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL) : NULL;
  json_t *languages = json_object_get(root, "languages"), *item;
  size_t i, len = json_array_size(languages);
  bool ok = json_object_size(root) == 4 && json_is_string(json_object_get(root, "name")) &&
            json_is_integer(json_object_get(root, "age")) && json_is_boolean(json_object_get(root, "member")) &&
            len >= 1 && len <= 3;
  json_array_foreach(languages, i, item) ok = ok && json_is_string(item);
  json_decref(root);
  return ok;
}

bool note_failure(server *s, int *count, const reply *r) {
  ++*count;
  if (!s->error[0]) snprintf(s->error, sizeof s->error, "%s", r->error);
  return r->unreachable;
}

int gone(const server *s, const char *why) { return failed("%s (%s) does not answer: %s", s->name, s->url, why); }

/* ---- measurements ---- */

bool ask_text(const options *o, const comparison *c, const server *s, const char *prompt, int64_t max_tokens, watch *w,
              reply *r) {
  char *body = request_body(o, s, prompt, max_tokens, false);
  *r = (reply){0};
  if (body)
    server_ask(s, body, c->timeout_s, w, r);
  else
    snprintf(r->error, sizeof r->error, "no memory");
  free(r->content);
  free(body);
  r->content = NULL, r->content_len = 0;
  return r->ok;
}

bool ask(const options *o, const comparison *c, const server *s, int64_t chars, unsigned round, unsigned which,
         int64_t max_tokens, watch *w, reply *r) {
  char *prompt = task_text(chars, round, which);
  *r = (reply){0};
  if (prompt)
    ask_text(o, c, s, prompt, max_tokens, w, r);
  else
    snprintf(r->error, sizeof r->error, "no memory");
  free(prompt);
  return r->ok;
}

static int measure_size(const options *o, comparison *c, server *s, int k, unsigned round) {
  reply r;
  point *p = &s->size[k];
  bool ok = ask(o, c, s, c->sizes[k], round, (unsigned)k, c->max_tokens, NULL, &r);
  int rc = !ok && !interrupted && note_failure(s, &p->failed, &r) ? gone(s, r.error) : 0;
  series_add(&p->latency, ok ? r.latency_s : NAN);
  series_add(&p->first, ok ? r.first_s : NAN);
  series_add(&p->tokens, ok ? (double)r.tokens : NAN);
  return rc;
}

typedef struct client {
  const options *o;
  const comparison *c;
  const server *s;
  unsigned round, number;
  reply replies[PER_CLIENT];
} client;

static void *client_main(void *arg) {
  client *me = arg;
  for (unsigned i = 0; i < PER_CLIENT && !interrupted; i++)
    ask(me->o, me->c, me->s, me->c->sizes[0], me->round, 100 + me->number * PER_CLIENT + i, me->c->max_tokens, NULL,
        &me->replies[i]);
  return NULL;
}

/* All clients start together; the rate is what was generated over the time until the last one is done. */
static int measure_clients(const options *o, comparison *c, server *s, int k, unsigned round) {
  int n = (int)c->clients[k], started = 0, rc = 0;
  client *all = calloc((size_t)n, sizeof *all);
  pthread_t *threads = calloc((size_t)n, sizeof *threads);
  point *p = &s->clients[k];
  int64_t tokens = 0;
  if (!all || !threads) rc = failed("no memory");
  double t0 = now();
  for (; all && threads && rc == 0 && started < n; started++) {
    all[started] = (client){.o = o, .c = c, .s = s, .round = round, .number = (unsigned)started};
    if (pthread_create(&threads[started], NULL, client_main, &all[started]))
      rc = failed("no thread for client %d", started + 1);
    if (rc) break;
  }
  for (int i = 0; threads && i < started; i++) pthread_join(threads[i], NULL);
  double seconds = now() - t0;
  for (int i = 0; all && i < started * PER_CLIENT && rc == 0 && !interrupted; i++) {
    const reply *r = &all[i / PER_CLIENT].replies[i % PER_CLIENT];
    if (!r->ok && note_failure(s, &p->failed, r)) rc = gone(s, r->error);
    series_add(&p->latency, r->ok ? r->latency_s : NAN);
    series_add(&p->first, r->ok ? r->first_s : NAN);
    series_add(&p->tokens, r->ok ? (double)r->tokens : NAN);
    tokens += r->ok ? r->tokens : 0;
  }
  series_add(&p->rate, tokens > 0 ? (double)tokens / seconds : NAN);
  free(all);
  free(threads);
  return rc;
}

static int measure_json(const options *o, comparison *c, server *s, unsigned round) {
  char prompt[160];
  snprintf(prompt, sizeof prompt,
           "Describe person number %u of a village as JSON with name, age, member and languages.", round + 1);
  char *body = request_body(o, s, prompt, JSON_TOKENS, true);
  reply r = {0};
  int rc = body ? 0 : failed("no memory"), ignored = 0;
  if (rc == 0) server_ask(s, body, c->timeout_s, NULL, &r);
  if (rc == 0 && !interrupted) {
    if (!r.ok && note_failure(s, &ignored, &r)) rc = gone(s, r.error);
    s->json_total++;
    s->json_valid += r.ok && valid_person(r.content, r.content_len);
  }
  free(r.content);
  free(body);
  return rc;
}

/* ---- rounds ---- */

typedef struct work {
  progress bar;
  int done, total;
} work;

static bool step(work *w, const char *what) {
  progress_show(&w->bar, w->done++, w->total, what);
  return !interrupted;
}

/* The i-th measurement of a round is a size, a number of clients, or one of those that were asked for. */
static int measure(const options *o, comparison *c, server *s, int i, unsigned round) {
  if (i < c->n_sizes) return measure_size(o, c, s, i, round);
  i -= c->n_sizes;
  if (i < c->n_clients) return measure_clients(o, c, s, i, round);
  return c->more[i - c->n_clients](o, c, s, round);
}

static int run_rounds(const options *o, comparison *c) {
  int kinds = c->n_sizes + c->n_clients + c->n_more, rc = 0;
  work w = {.bar = progress_start(o, "compare"), .total = (int)c->rounds * kinds * c->n_servers};
  for (unsigned round = 0; round < c->rounds && rc == 0 && !interrupted; round++) {
    for (int i = 0; i < kinds && rc == 0; i++)
      for (int turn = 0; turn < c->n_servers && rc == 0; turn++) {
        server *s = &c->servers[(turn + (int)round) % c->n_servers];
        if (step(&w, s->name)) rc = measure(o, c, s, i, round);
      }
    c->rounds_done += rc == 0 && !interrupted;
  }
  progress_end(&w.bar);
  return rc;
}

/* Nothing that only the first request of a server costs shall count. */
static int warm_up(const options *o, comparison *c) {
  for (int64_t i = 0; i < o->warmup && !interrupted; i++)
    for (int k = 0; k < c->n_servers && !interrupted; k++) {
      server *s = &c->servers[k];
      reply r;
      bool ok = ask(o, c, s, c->sizes[c->n_sizes - 1], 1000000u + (unsigned)i, 0, c->max_tokens, NULL, &r);
      if (!interrupted && !ok) return gone(s, r.error);
    }
  return 0;
}

/* ---- flags ---- */

static int numbers(const list *l, const char *flag, int64_t min, int64_t max, int64_t out[MAX_POINTS], int *n) {
  if (l->n > MAX_POINTS) return usage("%s: at most %d numbers", flag, MAX_POINTS);
  for (int i = 0; i < l->n; i++) {
    char *end;
    out[i] = strtoll(l->items[i], &end, 10);
    if (*end || end == l->items[i] || out[i] < min || out[i] > max)
      return usage("%s %s: numbers from %" PRId64 " to %" PRId64, flag, l->items[i], min, max);
  }
  *n = l->n;
  return 0;
}

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), k = strlen(end);
  return n >= k && strcmp(s + n - k, end) == 0;
}

static int setup(options *o, comparison *c) {
  static const list sizes = {{"176", "828", "1747"}, 3}, clients = {{"1", "2", "4", "16"}, 4};
  c->rounds = o->rounds ? o->rounds : 5;
  c->max_tokens = o->n_predict > 0 ? o->n_predict : 80;
  c->timeout_s = o->timeout > 0 ? o->timeout : 600;
  if (!given(o, "warmup")) o->warmup = o->warmup ? o->warmup : 1;
  if (o->servers.n == 0) return usage("which servers? myna compare NAME=URL NAME=URL ...");
  if (o->servers.n > MAX_SERVERS) return usage("at most %d servers", MAX_SERVERS);
  if (c->rounds < 1 || c->rounds > 1000) return usage("--rounds %" PRId64 ": 1 to 1000", c->rounds);
  if (o->warmup < 0 || o->warmup > 100) return usage("--warmup %" PRId64 ": 0 to 100", o->warmup);
  if (o->chart && !ends_with(o->chart, ".svg")) return usage("--chart %s: the chart is an .svg file", o->chart);
  if (o->long_prompt < 0 || o->long_prompt > MAX_CHARS)
    return usage("--long-prompt %" PRId64 ": 0 to %d", o->long_prompt, MAX_CHARS);
  if (o->prefix < 0 || o->prefix > MAX_CHARS) return usage("--prefix %" PRId64 ": 0 to %d", o->prefix, MAX_CHARS);
  c->long_prompt = o->long_prompt, c->prefix = o->prefix;
  if (!o->no_json_check) c->more[c->n_more++] = measure_json;
  if (c->long_prompt) c->more[c->n_more++] = measure_beside;
  if (c->prefix) c->more[c->n_more++] = measure_prefix;
  int rc = numbers(o->sizes.n ? &o->sizes : &sizes, "--sizes", 64, MAX_CHARS, c->sizes, &c->n_sizes);
  if (rc == 0) rc = numbers(o->clients.n ? &o->clients : &clients, "--clients", 1, 256, c->clients, &c->n_clients);
  for (int i = 0; i < o->servers.n && rc == 0; i++) {
    server *s = &c->servers[c->n_servers++];
    s->key = o->api_key;
    if (o->model) snprintf(s->model, sizeof s->model, "%.250s", o->model);
    rc = server_from(s, o->servers.items[i]);
    for (int k = 0; k < i && rc == 0; k++)
      if (strcmp(s->name, c->servers[k].name) == 0) rc = usage("two servers are named %s", s->name);
  }
  return rc;
}

static void tell_failures(const comparison *c) {
  for (int i = 0; i < c->n_servers; i++) {
    const server *s = &c->servers[i];
    if (s->error[0]) failed("%s: requests failed, the first one with: %s", s->name, s->error);
  }
}

static void release(comparison *c) {
  for (int i = 0; i < c->n_servers; i++) {
    server *s = &c->servers[i];
    for (int k = 0; k < MAX_POINTS; k++) {
      point *both[2] = {&s->size[k], &s->clients[k]};
      for (int j = 0; j < 2; j++) {
        free(both[j]->latency.v);
        free(both[j]->first.v);
        free(both[j]->tokens.v);
        free(both[j]->rate.v);
      }
    }
    series *const rest[] = {
        &s->beside.tokens,     &s->beside.alone,    &s->beside.with_stream,  &s->beside.pace,    &s->beside.pace_busy,
        &s->beside.worst_busy, &s->prefixed.tokens, &s->prefixed.first_time, &s->prefixed.again, &s->prefixed.question};
    for (size_t k = 0; k < sizeof rest / sizeof *rest; k++) free(rest[k]->v);
  }
}

int cmd_compare(options *o) {
  static comparison c;
  char error[256];
  int rc = setup(o, &c);
  if (rc) return rc;
  curl_global_init(CURL_GLOBAL_DEFAULT);
  for (int i = 0; i < c.n_servers && rc == 0 && !interrupted; i++)
    if (!server_probe(&c.servers[i], c.timeout_s, error) && !interrupted) rc = gone(&c.servers[i], error);
  if (rc == 0) rc = warm_up(o, &c);
  if (rc == 0) rc = run_rounds(o, &c);
  if (rc == 0 && c.rounds_done > 0) { /* Ctrl-C leaves what whole rounds told */
    o->json ? report_json(stdout, &c) : report_table(stdout, &c);
    tell_failures(&c);
    if (o->chart) rc = write_chart(o->chart, &c);
  }
  release(&c);
  curl_global_cleanup();
  return rc;
}
