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

static void table_beside(FILE *f, const comparison *c) {
  fprintf(f,
          "\nA prompt of %lld characters, alone and beside a running stream (medians; growth: of the same round)\n\n",
          (long long)c->long_prompt);
  fprintf(f, "| server | tokens | alone s | beside s | growth | stream ms | while reading ms | growth | longest ms | "
             "failed |\n"
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  for (int i = 0; i < c->n_servers; i++) {
    const beside *b = &c->servers[i].beside;
    name_cell(f, c->servers[i].name);
    cell(f, quantile(&b->tokens, 0.5), "%.0f");
    cell(f, quantile(&b->alone, 0.5), "%.2f");
    cell(f, quantile(&b->with_stream, 0.5), "%.2f");
    cell(f, paired_ratio(&b->with_stream, &b->alone), "%.2f");
    cell(f, 1e3 * quantile(&b->pace, 0.5), "%.1f");
    cell(f, 1e3 * quantile(&b->pace_busy, 0.5), "%.1f");
    cell(f, paired_ratio(&b->pace_busy, &b->pace), "%.2f");
    cell(f, 1e3 * quantile(&b->worst_busy, 0.5), "%.1f");
    fprintf(f, " | %d |\n", b->failed);
  }
}

static void table_prefixed(FILE *f, const comparison *c) {
  fprintf(f, "\nFirst text of requests that share their first %lld characters (medians)\n\n", (long long)c->prefix);
  fprintf(f, "| server | tokens | the first one s | the second one s | its question alone s | failed "
             "|\n|---|--:|--:|--:|--:|--:|\n");
  for (int i = 0; i < c->n_servers; i++) {
    const prefixed *p = &c->servers[i].prefixed;
    name_cell(f, c->servers[i].name);
    cell(f, quantile(&p->tokens, 0.5), "%.0f");
    cell(f, quantile(&p->first_time, 0.5), "%.3f");
    cell(f, quantile(&p->again, 0.5), "%.4f");
    cell(f, quantile(&p->question, 0.5), "%.4f");
    fprintf(f, " | %d |\n", p->failed);
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
  if (c->long_prompt) table_beside(f, c);
  if (c->prefix) table_prefixed(f, c);
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

static void json_beside(FILE *f, const beside *b) {
  fprintf(f, ",\"long_prompt\":{\"failed\":%d", b->failed);
  member(f, "tokens", quantile(&b->tokens, 0.5));
  member(f, "alone_s", quantile(&b->alone, 0.5));
  member(f, "beside_s", quantile(&b->with_stream, 0.5));
  member(f, "growth", paired_ratio(&b->with_stream, &b->alone));
  member(f, "stream_s", quantile(&b->pace, 0.5));
  member(f, "stream_beside_s", quantile(&b->pace_busy, 0.5));
  member(f, "stream_growth", paired_ratio(&b->pace_busy, &b->pace));
  member(f, "stream_longest_s", quantile(&b->worst_busy, 0.5));
  fprintf(f, "}");
}

static void json_prefixed(FILE *f, const prefixed *p) {
  fprintf(f, ",\"prefix\":{\"failed\":%d", p->failed);
  member(f, "tokens", quantile(&p->tokens, 0.5));
  member(f, "first_s", quantile(&p->first_time, 0.5));
  member(f, "again_s", quantile(&p->again, 0.5));
  member(f, "question_s", quantile(&p->question, 0.5));
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
    if (c->long_prompt) json_beside(f, &s->beside);
    if (c->prefix) json_prefixed(f, &s->prefixed);
    fprintf(f, "}");
  }
  fprintf(f, "]");
  json_points(f, c, false);
  json_points(f, c, true);
  fprintf(f, "}\n");
}
