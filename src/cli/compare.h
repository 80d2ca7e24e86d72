/* compare.h: what the files of `myna compare` share: servers, one request, series of samples, the results. */
#ifndef MYNA_COMPARE_H
#define MYNA_COMPARE_H

#include "cli.h"

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

typedef struct server {
  const char *name, *url, *key;
  char chat_url[1024], models_url[1024];
  char model[256];
  point size[MAX_POINTS], clients[MAX_POINTS];
  int json_valid, json_total;
  char error[320]; /* the first failed request */
} server;

typedef struct comparison {
  server servers[MAX_SERVERS];
  int n_servers;
  int64_t sizes[MAX_POINTS], clients[MAX_POINTS];
  int n_sizes, n_clients;
  int64_t rounds, max_tokens, timeout_s;
  int rounds_done;
} comparison;

/* ---- compare_http.c ---- */

typedef struct reply {
  bool ok;
  bool unreachable; /* no connection at all: nothing more is to be expected */
  double latency_s, first_s;
  int64_t tokens;
  char *content; /* the caller frees it */
  size_t content_len;
  char error[256];
} reply;
/* Splits NAME=URL, makes the addresses. Returns 0 or EXIT_USAGE after telling. */
int server_from(server *s, const char *arg);
/* Asks for the model's name. False: unreachable, with the reason in error. */
bool server_probe(server *s, int64_t timeout_s, char error[256]);
/* One streamed request with `body`, JSON; blocks. Each thread its own. */
void server_ask(const server *s, const char *body, int64_t timeout_s, reply *out);

/* ---- compare_report.c, compare_chart.c ---- */

void report_table(FILE *f, const comparison *c);
void report_json(FILE *f, const comparison *c);
/* Writes an SVG. Returns 0 or EXIT_FAIL after telling. */
int write_chart(const char *path, const comparison *c);

#endif
