/* http.c: the listening socket, microhttpd's callbacks, the life of the server. */
#include "http.h"
#include <errno.h>
#include <microhttpd.h> /* also here, where the build looks for what the binary needs */
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void server_log(const server *s, const char *event, json_t *fields) {
  json_t *j = json_pack("{s:s, s:f}", "event", event, "time", (double)time(NULL));
  if (j && fields) json_object_update(j, fields);
  char *line = j && !s->o->quiet ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
  if (line) fprintf(stderr, "%s\n", line);
  free(line);
  json_decref(fields);
  json_decref(j);
}

/* ---- a request arrives ---- */

static const char *header(call *c, const char *name) {
  return MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, name);
}

static int64_t max_body(const server *s) { return s->o->max_body > 0 ? s->o->max_body : 16000000; }

static const char too_large[] = "the body is larger than --max-body";

/* What is public needs no key; a wrong one is told all the same. */
static bool check_key(call *c) {
  const char *bearer = header(c, "Authorization"), *key = header(c, "X-Api-Key");
  if (c->s->keys.n == 0) return true;
  c->key = keys_find(&c->s->keys, bearer, key);
  return c->key >= 0 || (c->route && c->route->flags & ROUTE_PUBLIC && !bearer && !key);
}

/* Everything that can be said before the body is read: the answer is given, or there is a route. */
static void check_headers(call *c, const char *path, const char *version) {
  const server_options *o = c->s->o;
  const char *origin = header(c, "Origin"), *host = header(c, "Host"), *length = header(c, "Content-Length"), *allow;
  if (!host && strcmp(version, "HTTP/1.1") == 0) {
    call_error(c, 400, "invalid_request_error", "there is no Host");
    return;
  }
  if (!host_allowed(o, c->s->host, host, origin)) {
    call_error(c, 403, "permission_error", "this Host is not served; see --cors-origins");
    return;
  }
  bool allowed = origin_allowed(o, origin, host), options = strcmp(c->method, "OPTIONS") == 0;
  if (!allowed && !options) {
    call_error(c, 403, "permission_error", "this Origin is not allowed; see --cors-origins");
    return;
  }
  if (origin && allowed) c->origin = strdup(origin);
  if (options) { /* what is not allowed is not said: that is a browser's no */
    call_answer_text(c, 200, "text/plain", strdup(""));
    return;
  }
  c->route = route_find(c->method, path, &allow, &c->name);
  const char *action = MHD_lookup_connection_value(c->conn, MHD_GET_ARGUMENT_KIND, "action");
  if (action) snprintf(c->action, sizeof c->action, "%s", action);
  if (!check_key(c))
    call_error(c, 401, "authentication_error", "Invalid API Key");
  else if (!c->route && allow)
    call_error(c, 405, "invalid_request_error", "this path takes another method");
  else if (!c->route)
    call_error(c, 404, "not_found_error", "File Not Found");
  else if (length && strtoll(length, NULL, 10) > max_body(c->s))
    call_error(c, 413, "invalid_request_error", too_large);
}

/* NULL: not below the prefix. A whole address, as proxies are asked for, counts by its path. */
static const char *without_prefix(const server *s, const char *url) {
  const char *host = strncmp(url, "http://", 7) == 0 ? url + 7 : strncmp(url, "https://", 8) == 0 ? url + 8 : NULL;
  if (host) url = host + strcspn(host, "/");
  size_t n = s->o->prefix ? strlen(s->o->prefix) : 0;
  while (n && s->o->prefix[n - 1] == '/') n--;
  if (n == 0) return url;
  return strncmp(url, s->o->prefix, n) == 0 && (url[n] == '/' || !url[n]) ? url + n : NULL;
}

/* Of a body without a length that is too large the rest is read, within reason, because the answer can only come behind it. */
static int take_body(call *c, const char *data, size_t *n) {
  int64_t max = max_body(c->s);
  if (!c->skipped && (int64_t)c->body.n + (int64_t)*n <= max) {
    if (!api_buf_add(&c->body, data, *n)) return MHD_NO;
  } else {
    free(c->body.p);
    c->body = (api_buf){0};
    c->skipped += (int64_t)*n;
    if (c->skipped > 4 * max) return MHD_NO;
  }
  *n = 0;
  return MHD_YES;
}

/* The call is asked for its answer: it is there, or nobody wants it, or it is waited for. */
static int go_on(call *c) {
  pthread_mutex_lock(&c->lock);
  int rc = MHD_YES;
  if (c->gone) {
    rc = MHD_NO;
  } else if (c->streams) {
    rc = call_stream(c);
  } else if (c->ended) {
    rc = call_send(c);
  } else if (!atomic_load(&c->s->stopping)) {
    c->suspended = true;
    MHD_suspend_connection(c->conn);
  }
  pthread_mutex_unlock(&c->lock);
  return rc;
}

/* The body is complete. */
static int run(call *c) {
  c->started = true;
  if (c->skipped) {
    call_error(c, 413, "invalid_request_error", too_large);
    return go_on(c);
  }
  if (strcmp(c->route->method, "POST") != 0) {
    c->route->run(c);
    return go_on(c);
  }
  int rc = go_on(c); /* suspended before the work begins, so that its end finds it so */
  work_add(c);
  return rc;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *data, size_t *n, void **state) {
  server *s = arg;
  call *c = *state;
  if (!c) {
    *state = c = call_new(s, conn, method, url);
    if (!c) return MHD_NO;
    const char *path = without_prefix(s, c->path);
    check_headers(c, path ? path : "", version);
    return c->ended ? (enum MHD_Result)go_on(c) : MHD_YES;
  }
  if (*n) return (enum MHD_Result)take_body(c, data, n);
  if (c->queued) return MHD_YES;
  return (enum MHD_Result)(c->started ? go_on(c) : run(c));
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode code) {
  server *s = arg;
  call *c = *state;
  if (!c) return;
  *state = NULL;
  pthread_mutex_lock(&s->lock);
  if (c->prev) c->prev->next = c->next;
  if (c->next) c->next->prev = c->prev;
  if (s->calls == c) s->calls = c->next;
  pthread_mutex_unlock(&s->lock);
  pthread_mutex_lock(&c->lock);
  watch_remove(c);
  if (!c->ended || c->n_live) call_drop(c);
  c->conn = NULL;
  c->suspended = false;
  call_log(c);
  pthread_mutex_unlock(&c->lock);
  call_unref(c);
}

/* ---- listening ---- */

static int listen_unix(const char *path, char *why, size_t n) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  struct stat st;
  if (strlen(path) >= sizeof a.sun_path) return snprintf(why, n, "%s: the path is too long", path), -1;
  strcpy(a.sun_path, path);
  if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) unlink(path); /* of a server that died */
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1024) < 0) {
    snprintf(why, n, "%s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
  }
  return fd;
}

static int listen_tcp(const char *host, int port, char *why, size_t n) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
  char service[16];
  int fd = -1, one = 1;
  snprintf(service, sizeof service, "%d", port);
  int rc = getaddrinfo(host, service, &hints, &list);
  if (rc != 0) return snprintf(why, n, "%s: %s", host, gai_strerror(rc)), -1;
  for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
    fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) continue;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1024) == 0) break;
    snprintf(why, n, "%s port %d: %s", host, port, strerror(errno));
    close(fd);
    fd = -1;
  }
  freeaddrinfo(list);
  return fd;
}

static bool is_unix(const char *host) {
  size_t n = strlen(host);
  return n > 5 && strcmp(host + n - 5, ".sock") == 0;
}

static char *read_file(const char *path, char *why, size_t n) {
  FILE *f = fopen(path, "r");
  char *text = calloc(1, 1 << 20);
  if (!f || !text || fread(text, 1, (1 << 20) - 1, f) == 0) {
    snprintf(why, n, "%s: %s", path, errno ? strerror(errno) : "empty");
    free(text);
    text = NULL;
  }
  if (f) fclose(f);
  return text;
}

/* The certificate and its key are copied by the library of TLS. */
static struct MHD_Daemon *start_daemon(server *s, int fd, const char *key, const char *cert) {
  const server_options *o = s->o;
  unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;
  struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key},
                                 {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)cert},
                                 {MHD_OPTION_END, 0, NULL}};
  if (key) flags |= MHD_USE_TLS;
  return MHD_start_daemon(
      flags, 0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
      MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(o->timeout_s > 0 ? o->timeout_s : 600), MHD_OPTION_CONNECTION_LIMIT,
      (unsigned)(o->max_connections > 0 ? o->max_connections : 1024), MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)65536,
      MHD_OPTION_ARRAY, key ? tls : tls + 2, MHD_OPTION_END);
}

static int start(server *s, char *why, size_t n) {
  const server_options *o = s->o;
  const char *host = o->host ? o->host : "127.0.0.1";
  char *key = NULL, *cert = NULL;
  if (!o->tls_key != !o->tls_cert) return snprintf(why, n, "--ssl-key-file and --ssl-cert-file belong together"), -1;
  if (o->tls_key && !(key = read_file(o->tls_key, why, n))) return -1;
  if (o->tls_cert && !(cert = read_file(o->tls_cert, why, n))) return free(key), -1;
  int fd = is_unix(host) ? listen_unix(host, why, n) : listen_tcp(host, o->port, why, n);
  struct sockaddr_storage a = {0};
  socklen_t len = sizeof a;
  char service[16] = "0";
  if (fd >= 0 && !is_unix(host) && getsockname(fd, (struct sockaddr *)&a, &len) == 0)
    getnameinfo((struct sockaddr *)&a, len, NULL, 0, service, sizeof service, NI_NUMERICSERV);
  if (fd >= 0) s->daemon = start_daemon(s, fd, key, cert);
  if (fd >= 0 && !s->daemon) {
    snprintf(why, n, "the HTTP server does not start%s", key ? ": are key and certificate right?" : "");
    close(fd);
  }
  free(key);
  free(cert);
  if (!s->daemon) return -1;
  server_log(s, "listening",
             json_pack("{s:s, s:i, s:b}", "host", host, "port", atoi(service), "tls", o->tls_key != NULL));
  return 0;
}

/* ---- end ---- */

static void each_call(server *s, bool drop) {
  pthread_mutex_lock(&s->lock);
  for (call *c = s->calls; c; c = c->next) {
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < c->n_sequences; i++)
      if (c->sequences[i].id > 0) myna_cancel(s->o->engine, c->sequences[i].id);
    if (drop) call_drop(c), call_wake(c);
    pthread_mutex_unlock(&c->lock);
  }
  pthread_mutex_unlock(&s->lock);
}

static bool idle(server *s) {
  pthread_mutex_lock(&s->lock);
  bool none = !s->calls;
  pthread_mutex_unlock(&s->lock);
  return none && atomic_load(&s->n_active) == 0;
}

static void wait_idle(server *s, double seconds) {
  double end = server_now() + seconds;
  while (!idle(s) && server_now() < end) poll(NULL, 0, 20);
}

/* What runs may finish; then it is cancelled, which ends its streams as if their length were reached; then connections are cut. */
static void stop_daemon(server *s) {
  int64_t grace = s->o->shutdown_s < 0 ? 0 : s->o->shutdown_s ? s->o->shutdown_s : 10;
  int fd = MHD_quiesce_daemon(s->daemon);
  if (fd >= 0) close(fd);
  wait_idle(s, (double)grace);
  each_call(s, false);
  wait_idle(s, 2);
}

/* The caller frees it. The first of the aliases by the alphabet, as llama-server has it; without them the file's name without its folder. */
static char *name_of_model(const server_options *o) {
  const char *best = NULL;
  size_t best_n = 0;
  for (const char *at = o->model_name; at && *at;) {
    size_t n = strcspn(at, ","), m = n < best_n ? n : best_n;
    int order = best ? strncmp(at, best, m) : -1;
    if (n > 0 && (order < 0 || (order == 0 && n < best_n))) best = at, best_n = n;
    at += n + (at[n] == ',');
  }
  if (best) return strndup(best, best_n);
  myna_model_info info;
  myna_model_get_info(o->model, &info);
  const char *slash = strrchr(info.file, '/');
  return strdup(slash ? slash + 1 : info.file);
}

/* The end tokens are told with every answer that must not end with one: they are looked for once. */
static void find_eog(server *s, const myna_model *m) {
  myna_model_info info;
  myna_model_get_info(m, &info);
  for (int32_t id = 0; id < info.n_vocab; id++) {
    if (!myna_token_is_eog(m, id)) continue;
    int32_t *p = realloc(s->eog, ((size_t)s->n_eog + 1) * sizeof *p);
    if (!p) return;
    s->eog = p;
    s->eog[s->n_eog++] = id;
  }
}

static void set_env(server *s, const server_options *o) {
  myna_engine_stats e;
  myna_engine_get_stats(o->engine, &e);
  s->n_seq = e.n_seq;
  s->created = (int64_t)time(NULL);
  find_eog(s, o->model);
  s->model_name = name_of_model(o);
  if (gethostname(s->host, sizeof s->host) < 0) s->host[0] = 0;
  s->host[sizeof s->host - 1] = 0;
  s->env = (api_env){.model = o->model,
                     .chat = o->chat,
                     .model_name = s->model_name ? s->model_name : "myna",
                     .aliases = o->model_name,
                     .tags = o->tags,
                     .eog = s->eog,
                     .n_eog = s->n_eog,
                     .fingerprint = "b-myna-" MYNA_VERSION, /* llama-server's begin with b */
                     .sampling = o->sampling,
                     .random_seed = o->random_seed,
                     .n_ctx = e.n_ctx,
                     .n_predict = o->n_predict,
                     .n_keep = o->n_keep,
                     .context_shift = o->context_shift,
                     .strict = o->strict,
                     .verbose = o->verbose,
                     .no_prefill = o->no_prefill,
                     .budget_message = o->budget_message,
                     .reasoning = o->reasoning,
                     .reasoning_budget = o->reasoning_budget,
                     .reasoning_format = o->reasoning_format,
                     .chat_kwargs = o->chat_kwargs,
                     .speculation = o->speculation};
  for (int i = 0; i < API_N_FIM; i++) s->fim[i] = api_fim_token(&s->env, (api_fim)i);
  s->env.fim = s->fim; /* looked up once */
}

static int serve(server *s, const volatile sig_atomic_t *stop, char *why, size_t n) {
  pthread_t events, watch;
  if (pthread_create(&events, NULL, gen_thread, s) != 0) return snprintf(why, n, "no thread"), -1;
  int rc = pthread_create(&watch, NULL, watch_thread, s) != 0 ? -1 : 0;
  bool watches = rc == 0;
  if (rc < 0 || (rc = work_start(s)) < 0) {
    snprintf(why, n, "no thread");
  } else if ((rc = start(s, why, n)) == 0) {
    while (!*stop) poll(NULL, 0, 100);
    atomic_store(&s->closing, true);
    server_log(s, "stopping", json_pack("{s:i}", "active", atomic_load(&s->n_active)));
    stop_daemon(s);
  }
  atomic_store(&s->stopping, true); /* nobody is suspended from here on */
  if (s->work.n_threads) work_stop(s);
  if (s->daemon) {
    each_call(s, true);
    MHD_stop_daemon(s->daemon);
    if (s->o->host && is_unix(s->o->host)) unlink(s->o->host);
  }
  if (watches) pthread_join(watch, NULL);
  pthread_join(events, NULL);
  return rc;
}

int server_run(const server_options *o, const volatile sig_atomic_t *stop, char *why, size_t n) {
  static server s;
  s.o = o;
  if (keys_load(&s.keys, o, why, n) < 0) return keys_free(&s.keys), -1;
  pthread_mutex_init(&s.lock, NULL);
  pthread_mutex_init(&s.metrics.lock, NULL);
  s.watch_fd = epoll_create1(EPOLL_CLOEXEC);
  set_env(&s, o);
  if (slots_start(&s) < 0) snprintf(why, n, "out of memory");
  int rc = o->slot_save_path && !s.slots ? -1
           : s.watch_fd < 0              ? (snprintf(why, n, "epoll: %s", strerror(errno)), -1)
                                         : serve(&s, stop, why, n);
  if (s.watch_fd >= 0) close(s.watch_fd);
  slots_free(&s);
  keys_free(&s.keys);
  free(s.model_name);
  free(s.eog);
  return rc;
}
