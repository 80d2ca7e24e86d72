/* compare_report.c: results of `myna compare` as Markdown and as JSON. The first server is what the others are compared with: ratios are medians over
 * rounds of its value and theirs in the same round, above 1 where the server is better than the first. */
#include "compare.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

static void cell(FILE *f, double x, const char *form) {
  fprintf(f, " | ");
  if (isnan(x))
    fputc('-', f);
  else
    fprintf(f, form, x);
}

/* A name must not end a cell. */
static void name_cell(FILE *f, const char *name) {
  fprintf(f, "| ");
  for (; *name; name++) fputc(*name == '|' || (unsigned char)*name < ' ' ? '_' : *name, f);
}

/* Faster than the first by this factor: latencies are turned around. */
static double better(const comparison *c, int i, const point *mine, const point *first, bool rate) {
  if (i == 0) return 1;
  return rate ? paired_ratio(&mine->rate, &first->rate) : paired_ratio(&first->latency, &mine->latency);
}

/* A column of what long prompts and prefixes gave: a median, or the median of two series' ratios. */
typedef struct column {
  const char *head, *form; /* of the table, which shows `scale` times the value */
  const char *key;         /* of JSON */
  double scale;
  size_t of, over; /* offsets in beside or prefixed; over 0: none (tokens stand there) */
} column;

#define OF(field) offsetof(beside, field)
static const column beside_columns[] = {{"tokens", "%.0f", "tokens", 1, OF(tokens), 0},
                                        {"alone s", "%.2f", "alone_s", 1, OF(alone), 0},
                                        {"beside s", "%.2f", "beside_s", 1, OF(with_stream), 0},
                                        {"growth", "%.2f", "growth", 1, OF(with_stream), OF(alone)},
                                        {"stream ms", "%.1f", "stream_s", 1e3, OF(pace), 0},
                                        {"while reading ms", "%.1f", "stream_beside_s", 1e3, OF(pace_busy), 0},
                                        {"growth", "%.2f", "stream_growth", 1, OF(pace_busy), OF(pace)},
                                        {"longest ms", "%.1f", "stream_longest_s", 1e3, OF(worst_busy), 0}};
#undef OF
#define OF(field) offsetof(prefixed, field)
static const column prefixed_columns[] = {{"tokens", "%.0f", "tokens", 1, OF(tokens), 0},
                                          {"the first one s", "%.3f", "first_s", 1, OF(first_time), 0},
                                          {"the second one s", "%.4f", "again_s", 1, OF(again), 0},
                                          {"its question alone s", "%.4f", "question_s", 1, OF(question), 0}};
#undef OF

/* What is measured beside sizes and clients, once for each server. */
typedef struct section {
  const char *key; /* of JSON */
  const column *columns;
  int n;
  size_t of, failed; /* offsets in server */
} section;
enum { BESIDE, PREFIXED };
static const section sections[] = {{"long_prompt", beside_columns, sizeof beside_columns / sizeof *beside_columns,
                                    offsetof(server, beside), offsetof(server, beside.failed)},
                                   {"prefix", prefixed_columns, sizeof prefixed_columns / sizeof *prefixed_columns,
                                    offsetof(server, prefixed), offsetof(server, prefixed.failed)}};

static double value_of(const server *s, const section *x, int i) {
  const char *at = (const char *)s + x->of;
  const series *of = (const void *)(at + x->columns[i].of), *over = (const void *)(at + x->columns[i].over);
  return x->columns[i].over ? paired_ratio(of, over) : quantile(of, 0.5);
}

static int failed_of(const server *s, const section *x) {
  return *(const int *)(const void *)((const char *)s + x->failed);
}

static void table_of(FILE *f, const comparison *c, const section *x) {
  fprintf(f, "| server");
  for (int i = 0; i < x->n; i++) fprintf(f, " | %s", x->columns[i].head);
  fprintf(f, " | failed |\n|---");
  for (int i = 0; i <= x->n; i++) fprintf(f, "|--:");
  fprintf(f, "|\n");
  for (int k = 0; k < c->n_servers; k++) {
    name_cell(f, c->servers[k].name);
    for (int i = 0; i < x->n; i++) cell(f, x->columns[i].scale * value_of(&c->servers[k], x, i), x->columns[i].form);
    fprintf(f, " | %d |\n", failed_of(&c->servers[k], x));
  }
}

void report_table(FILE *f, const comparison *c) {
  fprintf(f, "Latency by size of the request (%lld tokens asked for, %d rounds; ratio: times as fast as %s)\n\n",
          (long long)c->max_tokens, c->rounds_done, c->servers[0].name);
  fprintf(f, "| server | characters | p50 s | p90 s | first text p50 s | p90 s | tokens | ratio | failed |\n"
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  for (int k = 0; k < c->n_sizes; k++)
    for (int i = 0; i < c->n_servers; i++) {
      const point *p = &c->servers[i].size[k];
      name_cell(f, c->servers[i].name);
      fprintf(f, " | %lld", (long long)c->sizes[k]);
      cell(f, quantile(&p->latency, 0.5), "%.3f");
      cell(f, quantile(&p->latency, 0.9), "%.3f");
      cell(f, quantile(&p->first, 0.5), "%.3f");
      cell(f, quantile(&p->first, 0.9), "%.3f");
      cell(f, quantile(&p->tokens, 0.5), "%.0f");
      cell(f, better(c, i, p, &c->servers[0].size[k], false), "%.2f");
      fprintf(f, " | %d |\n", p->failed);
    }
  fprintf(f, "\nThroughput (completion tokens per second over all clients, %lld characters)\n\n",
          (long long)c->sizes[0]);
  fprintf(f,
          "| server | clients | tokens/s | latency p50 s | p90 s | ratio | failed |\n|---|--:|--:|--:|--:|--:|--:|\n");
  for (int k = 0; k < c->n_clients; k++)
    for (int i = 0; i < c->n_servers; i++) {
      const point *p = &c->servers[i].clients[k];
      name_cell(f, c->servers[i].name);
      fprintf(f, " | %lld", (long long)c->clients[k]);
      cell(f, quantile(&p->rate, 0.5), "%.1f");
      cell(f, quantile(&p->latency, 0.5), "%.3f");
      cell(f, quantile(&p->latency, 0.9), "%.3f");
      cell(f, better(c, i, p, &c->servers[0].clients[k], true), "%.2f");
      fprintf(f, " | %d |\n", p->failed);
    }
  if (c->long_prompt) {
    fprintf(f,
            "\nA prompt of %lld characters, alone and beside a running stream (medians; growth: of the same round)\n\n",
            (long long)c->long_prompt);
    table_of(f, c, &sections[BESIDE]);
  }
  if (c->prefix) {
    fprintf(f, "\nFirst text of requests that share their first %lld characters (medians)\n\n", (long long)c->prefix);
    table_of(f, c, &sections[PREFIXED]);
  }
  if (c->servers[0].json_total == 0) return;
  fprintf(f, "\nAnswers that a JSON schema accepts\n\n| server | valid | share |\n|---|--:|--:|\n");
  for (int i = 0; i < c->n_servers; i++) {
    const server *s = &c->servers[i];
    name_cell(f, s->name);
    fprintf(f, " | %d of %d | %.0f %% |\n", s->json_valid, s->json_total,
            100.0 * s->json_valid / (s->json_total + !s->json_total));
  }
}

static void member(FILE *f, const char *key, double x) {
  if (isfinite(x))
    fprintf(f, ",\"%s\":%.6g", key, x);
  else
    fprintf(f, ",\"%s\":null", key);
}

static void json_points(FILE *f, const comparison *c, bool rate) {
  int n = rate ? c->n_clients : c->n_sizes;
  fprintf(f, ",\"%s\":[", rate ? "throughput" : "latency");
  for (int k = 0; k < n; k++)
    for (int i = 0; i < c->n_servers; i++) {
      const point *p = rate ? &c->servers[i].clients[k] : &c->servers[i].size[k];
      const point *first = rate ? &c->servers[0].clients[k] : &c->servers[0].size[k];
      fprintf(f, "%s{\"server\":", k || i ? "," : "");
      write_json_string(f, c->servers[i].name, strlen(c->servers[i].name));
      fprintf(f, ",\"%s\":%lld", rate ? "clients" : "characters", (long long)(rate ? c->clients[k] : c->sizes[k]));
      if (rate) member(f, "tokens_per_s", quantile(&p->rate, 0.5));
      member(f, "p50_s", quantile(&p->latency, 0.5));
      member(f, "p90_s", quantile(&p->latency, 0.9));
      member(f, "first_p50_s", quantile(&p->first, 0.5));
      member(f, "first_p90_s", quantile(&p->first, 0.9));
      member(f, "tokens_p50", quantile(&p->tokens, 0.5));
      member(f, "ratio", better(c, i, p, first, rate));
      fprintf(f, ",\"requests\":%d,\"failed\":%d}", p->latency.n, p->failed);
    }
  fprintf(f, "]");
}

static void json_of(FILE *f, const server *s, const section *x) {
  fprintf(f, ",\"%s\":{\"failed\":%d", x->key, failed_of(s, x));
  for (int i = 0; i < x->n; i++) member(f, x->columns[i].key, value_of(s, x, i));
  fprintf(f, "}");
}

void report_json(FILE *f, const comparison *c) {
  fprintf(f, "{\"rounds\":%d,\"max_tokens\":%lld,\"servers\":[", c->rounds_done, (long long)c->max_tokens);
  for (int i = 0; i < c->n_servers; i++) {
    const server *s = &c->servers[i];
    fprintf(f, "%s{\"name\":", i ? "," : "");
    write_json_string(f, s->name, strlen(s->name));
    fprintf(f, ",\"url\":");
    write_json_string(f, s->url, strlen(s->url));
    fprintf(f, ",\"model\":");
    write_json_string(f, s->model, strlen(s->model));
    fprintf(f, ",\"json_valid\":%d,\"json_total\":%d", s->json_valid, s->json_total);
    if (c->long_prompt) json_of(f, s, &sections[BESIDE]);
    if (c->prefix) json_of(f, s, &sections[PREFIXED]);
    fprintf(f, "}");
  }
  fprintf(f, "]");
  json_points(f, c, false);
  json_points(f, c, true);
  fprintf(f, "}\n");
}
