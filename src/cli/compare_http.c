/* compare_http.c: one request to an OpenAI-compatible server: streamed, timed from the first byte sent to the last text. What comes back is a
 * stranger's: bounded in size, parsed by jansson, and never trusted to be what was asked for. */
#include "compare.h"
#include <curl/curl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BODY = 16 << 20, CONNECT_S = 10 };

int server_from(server *s, const char *arg) {
  const char *eq = strchr(arg, '=');
  bool named = eq && eq > arg && !memchr(arg, '/', (size_t)(eq - arg)); /* URLs hold = too */
  s->url = named ? eq + 1 : arg;
  s->name = named ? strndup(arg, (size_t)(eq - arg)) : arg; /* needed until exit */
  if (!s->name) return failed("no memory");
  if (strncmp(s->url, "http://", 7) != 0 && strncmp(s->url, "https://", 8) != 0)
    return usage("%s: a server is NAME=URL, e.g. myna=http://127.0.0.1:8080", arg);
  size_t n = strlen(s->url);
  if (n > 900) return usage("%s: the address is too long", s->name);
  static const char chat[] = "/chat/completions";
  while (n > 0 && s->url[n - 1] == '/') n--;
  if (n >= sizeof chat - 1 && strncmp(s->url + n - (sizeof chat - 1), chat, sizeof chat - 1) == 0) n -= sizeof chat - 1;
  bool version = n >= 3 && strncmp(s->url + n - 3, "/v1", 3) == 0;
  snprintf(s->chat_url, sizeof s->chat_url, "%.*s%s%s", (int)n, s->url, version ? "" : "/v1", chat);
  snprintf(s->models_url, sizeof s->models_url, "%.*s%s/models", (int)n, s->url, version ? "" : "/v1");
  return 0;
}

/* A growing text. */
typedef struct text {
  char *p; /* [n] and a NUL */
  size_t n, cap;
} text;

static bool text_add(text *t, const char *p, size_t n) {
  if (n > MAX_BODY - t->n) return false;
  if (t->n + n + 1 > t->cap) {
    size_t cap = (t->n + n + 1) * 2;
    char *q = realloc(t->p, cap);
    if (!q) return false;
    t->p = q, t->cap = cap;
  }
  memcpy(t->p + t->n, p, n);
  t->n += n;
  t->p[t->n] = 0;
  return true;
}

typedef struct transfer {
  double start, first, last; /* now() of the request, of the first text, of the last bytes */
  text line, content, other; /* of an event's line; of the answer; of lines that are no events */
  int64_t tokens, chunks;    /* as the server counts, -1 unknown; pieces of text */
  int64_t prompt_tokens;
  watch *watch; /* NULL: nobody looks */
  char error[256];
} transfer;

static const char *string_at(json_t *object, const char *key) {
  const char *s = json_string_value(json_object_get(object, key));
  return s ? s : "";
}

/* What an event or a whole answer says: text of choice 0, tokens, an error. */
static bool take_json(transfer *t, json_t *root) {
  json_t *choice = json_array_get(json_object_get(root, "choices"), 0), *error = json_object_get(root, "error");
  json_t *delta = json_object_get(choice, "delta");
  json_t *usage = json_object_get(root, "usage"), *tokens = json_object_get(usage, "completion_tokens");
  if (!delta) delta = json_object_get(choice, "message");
  if (json_is_integer(tokens)) t->tokens = json_integer_value(tokens);
  if (usage) t->prompt_tokens = json_integer_value(json_object_get(usage, "prompt_tokens"));
  if (error && !json_is_null(error) && !t->error[0]) {
    const char *message = json_is_string(error) ? json_string_value(error) : string_at(error, "message");
    snprintf(t->error, sizeof t->error, "%s", message[0] ? message : "an error without a message");
  }
  const char *content = string_at(delta, "content"), *reasoning = string_at(delta, "reasoning_content");
  if (!content[0] && !reasoning[0]) return true;
  if (t->chunks++ == 0) t->first = t->last; /* when these bytes came */
  if (t->watch) {
    if (t->watch->times.n == 0) t->watch->started = t->last;
    series_add(&t->watch->times, t->last);
    atomic_fetch_add(&t->watch->seen, 1);
  }
  return text_add(&t->content, content, strlen(content));
}

static bool take_line(transfer *t) {
  static const char data[] = "data:";
  if (t->line.n && t->line.p[t->line.n - 1] == '\r') t->line.p[--t->line.n] = 0;
  if (t->line.n == 0) return true;
  if (strncmp(t->line.p, data, sizeof data - 1) != 0) return text_add(&t->other, t->line.p, t->line.n);
  json_t *root = json_loadb(t->line.p + sizeof data - 1, t->line.n - (sizeof data - 1), 0, NULL);
  bool ok = !root || take_json(t, root); /* "[DONE]" and what is no JSON are passed over */
  json_decref(root);
  return ok;
}

static size_t on_body(char *p, size_t size, size_t n, void *user) {
  transfer *t = user;
  t->last = now();
  if (t->watch && atomic_load(&t->watch->stop)) return 0;
  for (size_t i = 0, from = 0; i <= n; i++) {
    if (i < n && p[i] != '\n') continue;
    if (i > from && !text_add(&t->line, p + from, i - from)) return 0;
    from = i + 1;
    if (i == n) break;
    if (!take_line(t)) return 0;
    t->line.n = 0;
  }
  return n;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
  const transfer *t = user;
  return interrupted || (t->watch && atomic_load(&t->watch->stop));
}

/* One handle lives as long as its thread asks this server: requests of one thread follow each other. */
static CURLcode transfer_run(const server *s, const char *url, const char *body, int64_t timeout_s, transfer *t,
                             long *status) {
  char auth[512], reason[CURL_ERROR_SIZE] = "";
  struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
  CURL *h = curl_easy_init();
  const char *key = s->key ? s->key : getenv("OPENAI_API_KEY");
  CURLcode rc = CURLE_OUT_OF_MEMORY;
  if (key && *key) {
    snprintf(auth, sizeof auth, "Authorization: Bearer %s", key);
    headers = curl_slist_append(headers, auth);
  }
  if (h && headers) {
    curl_easy_setopt(h, CURLOPT_URL, url);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TIMEOUT, (long)timeout_s);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, t);
    if (body) curl_easy_setopt(h, CURLOPT_POSTFIELDS, body);
    t->tokens = -1;
    t->start = t->last = now();
    rc = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, status);
    if (rc == CURLE_OK) {
      take_line(t);
      t->line.n = 0;
    } else if (!t->error[0]) {
      snprintf(t->error, sizeof t->error, "%.250s", reason[0] ? reason : curl_easy_strerror(rc));
    }
  }
  curl_slist_free_all(headers);
  if (h) curl_easy_cleanup(h);
  return rc;
}

static void transfer_free(transfer *t) {
  free(t->line.p);
  free(t->content.p);
  free(t->other.p);
}

/* A whole answer where a stream was asked for, or the text of an error. */
static void take_other(transfer *t) {
  if (!t->other.n) return;
  json_t *root = json_loadb(t->other.p, t->other.n, 0, NULL);
  if (root) take_json(t, root);
  json_decref(root);
}

void server_ask(const server *s, const char *body, int64_t timeout_s, watch *w, reply *out) {
  transfer t = {.watch = w};
  long status = 0;
  *out = (reply){0};
  CURLcode rc = transfer_run(s, s->chat_url, body, timeout_s, &t, &status);
  take_other(&t);
  out->unreachable = rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST;
  out->latency_s = t.last - t.start;
  out->first_s = t.first > 0 ? t.first - t.start : out->latency_s;
  out->tokens = t.tokens >= 0 ? t.tokens : t.chunks;
  out->prompt_tokens = t.prompt_tokens;
  out->ok = rc == CURLE_OK && status >= 200 && status < 300 && !t.error[0] && out->tokens > 0;
  if (!out->ok) {
    const char *why = t.error[0] ? t.error : rc == CURLE_OK && status == 200 ? "an answer without text" : "";
    if (status && status != 200)
      snprintf(out->error, sizeof out->error, "status %ld: %.200s", status, why);
    else
      snprintf(out->error, sizeof out->error, "%.250s", why);
  }
  out->content = t.content.p;
  out->content_len = t.content.n;
  t.content.p = NULL;
  transfer_free(&t);
}

bool server_probe(server *s, int64_t timeout_s, char error[256]) {
  transfer t = {0};
  long status = 0;
  CURLcode rc = transfer_run(s, s->models_url, NULL, timeout_s < 30 ? timeout_s : 30, &t, &status);
  snprintf(error, 256, "%.250s", t.error);
  json_t *root = t.other.n ? json_loadb(t.other.p, t.other.n, 0, NULL) : NULL;
  const char *id = string_at(json_array_get(json_object_get(root, "data"), 0), "id");
  if (!s->model[0]) snprintf(s->model, sizeof s->model, "%.250s", id[0] ? id : "default");
  json_decref(root);
  transfer_free(&t);
  return rc == CURLE_OK;
}
