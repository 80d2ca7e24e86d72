/* compare.h: what the files of `myna compare` share: servers, one request, series of samples, the results. */
#ifndef MYNA_COMPARE_H
#define MYNA_COMPARE_H

#include "cli.h"
#include <stdatomic.h>

enum { MAX_SERVERS = 8, MAX_POINTS = 16 };

/* Samples; a round in which nothing was measured holds NAN, so that rounds of two servers stay paired. */
typedef struct series {
  double *v; /* [n] */
  int n, cap;
} series;
void series_add(series *s, double x);
double quantile(const series *s, double q); /* of what is not NAN, NAN when nothing is */
/* Median over i of a[i] / b[i] where both are there. */
double paired_ratio(const series *a, const series *b);

/* Requests of one size, or of one number of clients. */
typedef struct point {
  series latency; /* seconds, every request */
  series first;   /* seconds to the first text */
  series tokens;  /* of each answer */
  series rate;    /* completion tokens per second over all clients, of each round */
  int failed;
} point;

/* A long prompt read alone and beside a running stream: one value of each round. */
typedef struct beside {
  series tokens;             /* of the prompt, as the server counts */
  series alone, with_stream; /* seconds to its first token */
  series pace, pace_busy,
      worst_busy; /* of the stream: seconds between pieces, mean before it and while it is read; the longest then */
  int failed;
} beside;

/* Seconds to the first text of a request with a prefix, of another one with the same prefix, and of one that is its question alone. */
typedef struct prefixed {
  series tokens, first_time, again, question;
  int failed;
} prefixed;

typedef struct server {
  const char *name, *url, *key;
  char chat_url[1024], models_url[1024];
  char model[256];
  point size[MAX_POINTS], clients[MAX_POINTS];
  beside beside;
  prefixed prefixed;
  int json_valid, json_total;
  char error[320]; /* the first failed request */
} server;

typedef struct comparison {
  server servers[MAX_SERVERS];
  int n_servers;
  int64_t sizes[MAX_POINTS], clients[MAX_POINTS];
  int n_sizes, n_clients;
  int64_t rounds, max_tokens, timeout_s;
  int64_t long_prompt, prefix; /* characters, 0: not measured */
  int rounds_done;
  /* what is measured beside sizes and clients */
  int (*more[3])(const options *o, struct comparison *c, server *s, unsigned round);
  int n_more;
} comparison;

/* ---- compare_http.c ---- */

typedef struct reply {
  bool ok;
  bool unreachable; /* no connection at all: nothing more is to be expected */
  double latency_s, first_s;
  int64_t tokens, prompt_tokens; /* as the server counts; without its count pieces of text, 0 */
  char *content;                 /* the caller frees it */
  size_t content_len;
  char error[256];
} reply;
/* Splits NAME=URL, makes the addresses. Returns 0 or EXIT_USAGE after telling. */
int server_from(server *s, const char *arg);
/* Asks for the model's name. False: unreachable, with the reason in error. */
bool server_probe(server *s, int64_t timeout_s, char error[256]);
/* A stream that another thread looks at while it runs. */
typedef struct watch {
  atomic_int stop; /* set: the request is given up */
  atomic_int seen; /* pieces of text so far */
  double started;  /* now() of the first one */
  series times;    /* now() of each; to be read when the request is over */
} watch;
/* One streamed request with `body`, JSON; blocks. Each thread its own. w may be NULL. */
void server_ask(const server *s, const char *body, int64_t timeout_s, watch *w, reply *out);

/* ---- compare.c, compare_long.c ---- */

/* Exactly n characters of a task in plain words, from the first on different for each (round, which). NULL: no memory; the caller frees it. */
char *task_text(int64_t n, unsigned round, unsigned which);
/* One request; false: it failed, r says why. The content is thrown away. */
bool ask_text(const options *o, const comparison *c, const server *s, const char *prompt, int64_t max_tokens, watch *w,
              reply *r);
bool ask(const options *o, const comparison *c, const server *s, int64_t chars, unsigned round, unsigned which,
         int64_t max_tokens, watch *w, reply *r);
/* Counts a failure and keeps the first one's reason. True: the server is gone. */
bool note_failure(server *s, int *count, const reply *r);
int gone(const server *s, const char *why);
/* Return 0 or an exit status after telling. */
int measure_beside(const options *o, comparison *c, server *s, unsigned round);
int measure_prefix(const options *o, comparison *c, server *s, unsigned round);

/* ---- compare_report.c, compare_chart.c ---- */

void report_table(FILE *f, const comparison *c);
void report_json(FILE *f, const comparison *c);
/* Writes an SVG. Returns 0 or EXIT_FAIL after telling. */
int write_chart(const char *path, const comparison *c);

#endif
