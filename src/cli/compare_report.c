/* compare_report.c: results of `myna compare` as Markdown and as JSON. The first server is what the others are compared with: ratios are medians over
 * rounds of its value and theirs in the same round, above 1 where the server is better than the first. */
#include "compare.h"
#include <math.h>
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
    fprintf(f, ",\"json_valid\":%d,\"json_total\":%d}", s->json_valid, s->json_total);
  }
  fprintf(f, "]");
  json_points(f, c, false);
  json_points(f, c, true);
  fprintf(f, "}\n");
}
