/* auth.c: who may ask: keys with limits, origins of pages, names of this host. */
#include "http.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- keys ---- */

static int add_key(key_ring *r, const char *text, size_t n, api_key **out) {
  if (r->n == r->cap) {
    int cap = r->cap ? 2 * r->cap : 16;
    api_key *keys = realloc(r->keys, (size_t)cap * sizeof *keys);
    if (!keys) return -1;
    r->keys = keys;
    r->cap = cap;
  }
  api_key *k = &r->keys[r->n];
  *k = (api_key){.text = strndup(text, n)};
  if (!k->text) return -1;
  r->n++;
  if (out) *out = k;
  return 0;
}

/* "tokens=1000". */
static bool set_limit(api_key *k, const char *word) {
  static const struct {
    const char *name;
    size_t offset;
  } limits[] = {{"tokens=", offsetof(api_key, max_tokens)},
                {"requests=", offsetof(api_key, max_requests)},
                {"parallel=", offsetof(api_key, max_parallel)}};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    size_t n = strlen(limits[i].name);
    if (strncmp(word, limits[i].name, n) != 0) continue;
    char *end;
    errno = 0;
    long long v = strtoll(word + n, &end, 10);
    if (end == word + n || *end || errno || v <= 0) return false;
    *(int64_t *)((char *)k + limits[i].offset) = v;
    return true;
  }
  return false;
}

static int load_file(key_ring *r, const char *path, char *why, size_t n) {
  FILE *f = fopen(path, "r");
  char *line = NULL;
  size_t cap = 0;
  int rc = 0, number = 0;
  if (!f) return snprintf(why, n, "%s: %s", path, strerror(errno)), -1;
  while (rc == 0 && getline(&line, &cap, f) >= 0) {
    char *save = NULL, *word = strtok_r(line, " \t\r\n", &save);
    api_key *k = NULL;
    number++;
    if (!word || word[0] == '#') continue;
    rc = add_key(r, word, strlen(word), &k);
    if (rc < 0) snprintf(why, n, "out of memory");
    while (rc == 0 && (word = strtok_r(NULL, " \t\r\n", &save)) && word[0] != '#')
      if (!set_limit(k, word)) {
        snprintf(why, n, "%s, line %d: %.60s: tokens=N, requests=N and parallel=N are possible", path, number, word);
        rc = -1;
      }
  }
  free(line);
  fclose(f);
  if (rc == 0 && r->n == 0) { /* an empty file must not open the door */
    snprintf(why, n, "%s: no key in it", path);
    rc = -1;
  }
  return rc;
}

int keys_load(key_ring *r, const server_options *o, char *why, size_t n) {
  pthread_mutex_init(&r->lock, NULL);
  for (int i = 0; i < o->n_keys; i++) {
    for (const char *p = o->keys[i]; *p;) {
      size_t len = strcspn(p, ",");
      if (len && add_key(r, p, len, NULL) < 0) return snprintf(why, n, "out of memory"), -1;
      p += len + (p[len] != 0);
    }
  }
  if (o->n_keys && r->n == 0) return snprintf(why, n, "--api-key: an empty key"), -1;
  return o->key_file ? load_file(r, o->key_file, why, n) : 0;
}

void keys_free(key_ring *r) {
  for (int i = 0; i < r->n; i++) free(r->keys[i].text);
  free(r->keys);
  pthread_mutex_destroy(&r->lock);
}

/* Every byte of what was sent is looked at, whatever it is; only its length shows in the time. */
static bool same(const char *key, const char *sent) {
  size_t n = strlen(key), m = strlen(sent);
  volatile unsigned char differ = n != m;
  for (size_t i = 0; i < m; i++) differ |= (unsigned char)(key[n ? i % n : 0] ^ sent[i]);
  return differ == 0;
}

int keys_find(const key_ring *r, const char *authorization, const char *x_api_key) {
  int found = -1;
  const char *bearer = NULL;
  if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0) bearer = authorization + 7;
  for (int i = 0; i < r->n; i++) {
    if (bearer && same(r->keys[i].text, bearer)) found = i;
    if (x_api_key && same(r->keys[i].text, x_api_key)) found = i;
  }
  return found;
}

bool keys_begin(key_ring *r, int key, const char **why) {
  if (key < 0) return true;
  pthread_mutex_lock(&r->lock);
  api_key *k = &r->keys[key];
  int64_t minute = (int64_t)time(NULL) / 60;
  if (k->minute != minute) k->tokens = k->requests = 0;
  k->minute = minute;
  *why = k->max_parallel && k->parallel >= k->max_parallel   ? "this key's requests at once are used up"
         : k->max_requests && k->requests >= k->max_requests ? "this key's requests of this minute are used up"
         : k->max_tokens && k->tokens >= k->max_tokens       ? "this key's tokens of this minute are used up"
                                                             : NULL;
  if (!*why) k->parallel++, k->requests++;
  pthread_mutex_unlock(&r->lock);
  return !*why;
}

void keys_end(key_ring *r, int key, int64_t tokens) {
  if (key < 0) return;
  pthread_mutex_lock(&r->lock);
  r->keys[key].parallel--;
  r->keys[key].tokens += tokens;
  pthread_mutex_unlock(&r->lock);
}

/* ---- origins ---- */

/* host[:port] without the port, [::1] without its brackets. */
static size_t host_name(const char *host, const char **name) {
  if (host[0] == '[') {
    *name = host + 1;
    return strcspn(host + 1, "]");
  }
  *name = host;
  return strcspn(host, ":");
}

static bool is_loopback(const char *name, size_t n) {
  return (n == 9 && strncasecmp(name, "localhost", 9) == 0) || (n == 3 && strncmp(name, "::1", 3) == 0) ||
         (n >= 7 && n <= 15 && strncmp(name, "127.", 4) == 0 && strspn(name, "0123456789.") >= n);
}

/* A page that a program of this machine serves. */
static bool is_local_page(const char *origin) {
  const char *name, *host = strncasecmp(origin, "http://", 7) == 0    ? origin + 7
                            : strncasecmp(origin, "https://", 8) == 0 ? origin + 8
                                                                      : NULL;
  if (!host) return false;
  size_t n = host_name(host, &name);
  return is_loopback(name, n);
}

static bool listed(const server_options *o, const char *text, size_t n) {
  for (int i = 0; i < o->n_origins; i++) {
    const char *a = o->origins[i], *bare = strstr(a, "://");
    if (strcmp(a, "*") == 0) return true;
    if (strlen(a) == n && strncasecmp(a, text, n) == 0) return true;
    if (strcmp(a, "localhost") == 0 && is_local_page(text)) return true;
    const char *name;
    size_t len = bare ? host_name(bare + 3, &name) : 0;
    if (bare && len == n && strncasecmp(name, text, n) == 0) return true;
  }
  return false;
}

static bool is_address(const char *name, size_t n) {
  bool six = memchr(name, ':', n) != NULL;
  return n > 0 && strspn(name, six ? "0123456789abcdefABCDEF:.%" : "0123456789.") >= n;
}

/* This machine's name, its first word, or that as a name of the local network. */
static bool is_own(const char *own, const char *name, size_t n) {
  size_t m = strcspn(own, ".");
  if (m == 0 || n < m || strncasecmp(name, own, m) != 0) return false;
  return n == m || (n == strlen(own) && strncasecmp(name, own, n) == 0) ||
         (n == m + 6 && strncasecmp(name + m, ".local", 6) == 0);
}

/* A page of a stranger may give its own name our address (DNS rebinding). On loopback only names of loopback are ours. Elsewhere programs may call us by
 * any name, but pages, which are told by their Origin, only by addresses, names of this machine and those that were listed. */
bool host_allowed(const server_options *o, const char *own_name, const char *host, const char *origin) {
  const char *name, *own = o->host ? o->host : "127.0.0.1";
  if (!host || strchr(own, '/') || strstr(own, ".sock")) return true;
  size_t n = host_name(host, &name);
  if (is_loopback(name, n) || (n == strlen(own) && strncasecmp(name, own, n) == 0) || listed(o, name, n)) return true;
  if (is_loopback(own, strlen(own))) return false;
  return !origin || is_address(name, n) || is_own(own_name, name, n);
}

bool origin_allowed(const server_options *o, const char *origin, const char *host) {
  if (!origin || listed(o, origin, strlen(origin))) return true;
  const char *at = strstr(origin, "://");
  return at && host && strcasecmp(at + 3, host) == 0;
}
