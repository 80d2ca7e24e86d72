/* http.h: inside of the server: connections, calls, keys, counters.
 *
 * Threads: one of HTTP (microhttpd, epoll) that reads and checks headers, and sends; a few that do what bodies ask for (http_work.c): parse, render
 * templates, tokenize, compile grammars, submit; one that takes the engine's events and writes them into the calls' buffers (gen.c); one that watches
 * for clients which hang up, because microhttpd does not look at suspended sockets (http_watch.c). A call has one lock. Order of locks: server, call, then those inside of libraries and counters. */
#ifndef MYNA_SERVER_HTTP_H
#define MYNA_SERVER_HTTP_H

#include "api.h"
#include "server.h"
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct server server;
typedef struct call call;

/* ---- keys (auth.c) ---- */

typedef struct api_key {
  char *text;
  int64_t max_tokens, max_requests; /* per minute; 0: no limit */
  int64_t max_parallel;             /* 0: no limit */
  int64_t tokens, requests, parallel, minute;
} api_key;
typedef struct key_ring {
  api_key *keys; /* [n] */
  int n, cap;
  pthread_mutex_t lock;
} key_ring;
int keys_load(key_ring *r, const server_options *o, char *why, size_t n);
void keys_free(key_ring *r);
/* Index of the key that the headers bring; -1: none is right. Takes the same time wherever texts differ. */
int keys_find(const key_ring *r, const char *authorization, const char *x_api_key);
/* Counts a request that starts; false when one of the key's limits is reached, *why names it. */
bool keys_begin(key_ring *r, int key, const char **why);
void keys_end(key_ring *r, int key, int64_t tokens);
/* The page's origin and the name by which we were called are ours, or were allowed. */
bool origin_allowed(const server_options *o, const char *origin, const char *host);
bool host_allowed(const server_options *o, const char *own_name, const char *host, const char *origin);

/* ---- counters (metrics.c) ---- */

enum { N_BUCKETS = 14 };
typedef struct histogram {
  int64_t counts[N_BUCKETS + 1];
  double sum;
} histogram;
typedef struct metrics {
  pthread_mutex_t lock;
  histogram first_token, inter_token, queue;
  int64_t n_prompt, n_gen, n_requests, n_cancelled, n_refused, most_tokens;
  double prompt_s, gen_s;
} metrics;
void metrics_done(metrics *m, const myna_event *ev);
void metrics_refused(metrics *m);
/* Prometheus text, the caller frees; NULL without memory. */
char *metrics_text(server *s);

/* ---- calls ---- */

/* One sequence that the engine computes for a call; comes back as an event's user. */
typedef struct sequence {
  call *c;
  int index;
  int64_t id; /* of the engine; 0 when done */
} sequence;

/* Gives the answer by call_answer or call_error, or submits and leaves the rest to events. */
typedef void handler(call *c);
enum {
  ROUTE_PUBLIC = 1,
  ROUTE_NAME = 2,  /* more may follow the path: the name of something */
  ROUTE_INFILL = 4 /* the body is made one of a completion first */
};
typedef struct route {
  const char *method, *path;
  handler *run;
  int flags, arg; /* arg: an api_dialect */
} route;
/* NULL: no such path (*allow is NULL) or not with this method (*allow has what is possible). */
const route *route_find(const char *method, const char *path, const char **allow, const char **name);

struct call {
  server *s;
  struct MHD_Connection *conn; /* NULL when its end was told */
  call *prev, *next;           /* server.calls */
  call *next_work;             /* http_work.c */
  uint64_t serial;
  atomic_int refs; /* the connection's, and one per sequence */
  const route *route;
  char *method, *path, *origin; /* origin: NULL, or allowed and echoed */
  const char *name;             /* what follows the route's path, with ROUTE_NAME */
  char action[16];              /* of the query */
  char id[64];
  int64_t slot; /* number + 1 of the slot that holds its text; 0: none */
  int key;      /* index; -1 without keys */
  api_buf body;
  int64_t skipped; /* bytes of a body that is too large */
  int64_t held;    /* of server.held */
  bool started;
  double t0;

  pthread_mutex_t lock; /* of what follows */
  api_buf out;
  int status;
  bool streams, ended, suspended, gone, queued, dirty, watched, counted;
  double last_write;
  int64_t ping_s;
  const char *type; /* of content */
  char *ignored;    /* NULL, or names for x-myna-ignored */
  api_reply *reply;
  sequence *sequences; /* [n_sequences] */
  int n_sequences, n_live;
  int64_t n_prompt, n_gen;
};

call *call_new(server *s, struct MHD_Connection *conn, const char *method, const char *path);
void call_unref(call *c);
/* The body, a JSON object (an empty body is an empty one), a new reference; NULL with e filled. */
json_t *call_body(call *c, api_error *e);
/* The whole answer, on any thread, without the lock: takes j (NULL: no memory). It goes out when the thread of HTTP comes to it. */
void call_answer(call *c, int status, json_t *j);
void call_answer_text(call *c, int status, const char *type, char *text); /* takes text, which may be NULL */
void call_error(call *c, int status, const char *type, const char *message);
void call_error_api(call *c, const api_error *e);
/* On the thread of HTTP, with the lock held: sends what is in c->out with c->status, or as a stream while it is filled. Results are microhttpd's. */
int call_send(call *c);
int call_stream(call *c);
/* With the lock held: the connection goes on, whatever it waits for. */
void call_wake(call *c);
/* With the lock held: nobody reads the answer any more; the engine stops. */
void call_drop(call *c);
void call_cancel(call *c); /* the same, but somebody still reads */
void call_log(call *c);

/* ---- generation (gen.c) ---- */

handler gen_start; /* of all that generates */
void *gen_thread(void *server);

/* ---- slots (http_slots.c) ---- */

typedef struct slot slot;
int slots_start(server *s); /* -1: no memory */
void slots_free(server *s);
handler slot_action; /* POST /slots/ID?action=save|restore|erase */
/* A call starts, and gets a token: the slot that it names, or the one that was used least recently, holds its text. */
void slot_begin(call *c);
void slot_token(call *c, int32_t token);

/* ---- work on bodies (http_work.c) ---- */

typedef struct work_list {
  call *first, *last;
} work_list;
typedef struct work_queue {
  pthread_mutex_t lock;
  pthread_cond_t more;
  work_list small, large; /* by their bodies */
  pthread_t threads[2];
  int n_threads;
  bool stop;
} work_queue;
int work_start(server *s);
void work_stop(server *s); /* what waits is given up */
/* Runs the call's route on a thread of these. The connection is suspended. */
void work_add(call *c);

/* ---- the server ---- */

struct server {
  const server_options *o;
  api_env env;
  key_ring keys;
  metrics metrics;
  work_queue work;
  struct MHD_Daemon *daemon;
  pthread_mutex_t lock; /* calls */
  call *calls;
  uint64_t serial;
  atomic_int n_active; /* sequences in the engine */
  atomic_llong held;   /* bytes that calls with sequences take, roughly */
  atomic_bool closing, stopping;
  int64_t n_seq, created;
  char *model_name; /* the first alias, or the file's name */
  char host[256];   /* name of this machine */
  int32_t *eog;     /* [n_eog] end tokens */
  int n_eog;
  int32_t fim[API_N_FIM];
  int watch_fd;
  pthread_mutex_t slots_lock;
  slot *slots; /* [n_seq], NULL without --slot-save-path */
};
void *watch_thread(void *server);
void watch_add(call *c);
void watch_remove(call *c);
void server_log(const server *s, const char *event, json_t *fields); /* takes fields */
double server_now(void);

#endif
