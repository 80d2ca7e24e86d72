/* bench.c: speed of prompts and generation through the engine, as users meet it: random tokens, forced answers, medians and samples.
 *
 * Rows: pp512 (prompt of 512), tg128 (128 single-token steps), pp512@d4096 and tg128@d4096 (the same behind 4096 positions already
 * computed), tg128x8 (8 sequences together, total rate). */
#include "cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REPEATS = 100 };

typedef struct row {
  char name[48];
  double samples[MAX_REPEATS], avg, stddev, gbps, gops;
  int n;
} row;

typedef struct bench {
  const options *o;
  myna_engine *e;
  myna_model_info info;
  myna_engine_stats stats;
  int64_t step_bytes; /* weights that one step reads */
  uint64_t random;
  row *rows;
  int n_rows;
} bench;

static int32_t random_token(bench *b) { /* xorshift: the tokens' values do not matter, only that prefixes differ */
  b->random ^= b->random << 13;
  b->random ^= b->random >> 7;
  b->random ^= b->random << 17;
  return (int32_t)(b->random % (uint64_t)b->info.n_vocab);
}

static int32_t *random_tokens(bench *b, int64_t n) {
  int32_t *ids = malloc((size_t)(n > 0 ? n : 1) * sizeof *ids);
  for (int64_t i = 0; ids && i < n; i++) ids[i] = random_token(b);
  return ids;
}

/* Waits for the end of n requests. first: when each has produced a token; returns false on an error (told). */
static bool wait_all(bench *b, int n, double *all_started, myna_timings *last) {
  int started = 0, done = 0;
  while (done < n && !interrupted) {
    myna_event ev;
    if (myna_next_event(b->e, 200, &ev) <= 0) continue;
    if (ev.kind == MYNA_EVENT_TOKEN && ev.user) {
      bool *seen = ev.user;
      if (!*seen && (*seen = true) && ++started == n && all_started) *all_started = now();
    }
    if (ev.kind != MYNA_EVENT_DONE) continue;
    if (ev.finish == MYNA_FINISH_ERROR) {
      fail(&ev.err);
      return false;
    }
    done++;
    if (last) *last = ev.timings;
  }
  return !interrupted;
}

static bool submit(bench *b, const int32_t *ids, int64_t n, const int32_t *forced, int64_t n_forced, bool *seen) {
  myna_err err = {0};
  int64_t id;
  myna_request r = {.tokens = ids, .n_tokens = n, .max_tokens = n_forced, .forced = forced, .n_forced = n_forced, .no_text = true, .user = seen};
  if (myna_submit(b->e, &r, &id, &err) == 0) return true;
  fail(&err);
  return false;
}

/* One prompt and one answer; the timings of it. */
static bool one(bench *b, const int32_t *ids, int64_t n, int64_t n_gen, myna_timings *t) {
  int32_t *forced = random_tokens(b, n_gen);
  bool seen = false, ok = forced && submit(b, ids, n, forced, n_gen, &seen) && wait_all(b, 1, NULL, t);
  free(forced);
  return ok;
}

static double time_prompt(bench *b, int64_t n, int64_t depth) {
  myna_timings t = {0};
  int32_t *ids = random_tokens(b, depth + n);
  bool ok = ids && (depth == 0 || one(b, ids, depth, 1, &t)) && one(b, ids, depth + n, 1, &t);
  free(ids);
  return ok && t.prompt_s > 0 ? (double)(t.n_prompt - t.n_cached) / t.prompt_s : -1;
}

static double time_gen(bench *b, int64_t n, int64_t depth) {
  myna_timings t = {0};
  int32_t *ids = random_tokens(b, depth + 1);
  bool ok = ids && one(b, ids, depth + 1, n + 1, &t);
  free(ids);
  return ok && t.gen_s > 0 ? (double)n / t.gen_s : -1;
}

/* Total rate of `batch` sequences. */
static double time_batch(bench *b, int64_t n, int64_t depth, int batch) {
  bool seen[256] = {0}, ok = true;
  double started = 0;
  int32_t *forced = random_tokens(b, n + 1);
  for (int i = 0; i < batch && ok; i++) {
    int32_t *ids = random_tokens(b, depth + 1);
    ok = ids && submit(b, ids, depth + 1, forced, n + 1, &seen[i]);
    free(ids);
  }
  ok = ok && wait_all(b, batch, &started, NULL);
  double t = now() - started;
  free(forced);
  return ok && t > 0 ? (double)(n * batch) / t : -1;
}

static void summarise(bench *b, row *r, double steps_per_token) {
  double sum = 0, sq = 0;
  for (int i = 0; i < r->n; i++) sum += r->samples[i];
  r->avg = sum / r->n;
  for (int i = 0; i < r->n; i++) sq += (r->samples[i] - r->avg) * (r->samples[i] - r->avg);
  r->stddev = r->n > 1 ? sqrt(sq / (r->n - 1)) : 0;
  r->gbps = (double)b->step_bytes * r->avg * steps_per_token * 1e-9;
  r->gops = 2e-9 * (double)b->info.n_params * r->avg;
}

static bool measure(bench *b, const char *kind, int64_t n, int64_t depth, int batch) {
  row *r = realloc(b->rows, (size_t)(b->n_rows + 1) * sizeof *r);
  if (!r) return false;
  b->rows = r;
  r = &b->rows[b->n_rows++];
  *r = (row){0};
  char at[24] = "", times[16] = "";
  if (depth) snprintf(at, sizeof at, "@d%lld", (long long)depth);
  if (batch > 1) snprintf(times, sizeof times, "x%d", batch);
  snprintf(r->name, sizeof r->name, "%s%lld%s%s", kind, (long long)n, times, at);
  progress p = progress_start(b->o, r->name);
  bool pp = strcmp(kind, "pp") == 0;
  int warm = b->o->no_warmup ? 0 : 1;
  for (int i = -warm; i < b->o->repeats; i++) {
    double x = pp ? time_prompt(b, n, depth) : batch > 1 ? time_batch(b, i < 0 ? 2 : n, depth, batch) : time_gen(b, i < 0 ? 2 : n, depth);
    if (x < 0) return false;
    if (i >= 0) r->samples[r->n++] = x;
    progress_show(&p, i + 1 + warm, (double)b->o->repeats + warm, "");
  }
  progress_end(&p);
  summarise(b, r, pp ? 1.0 / (double)b->stats.n_batch : 1.0 / batch);
  return true;
}

/* ---- output ---- */

static void print_md(const bench *b) {
  char size[32];
  printf("| model | type | size | params | threads | cpu | test | t/s | GB/s | GOP/s |\n| --- | --- | ---: | ---: | ---: | --- | --- | ---: | ---: | ---: |\n");
  for (int i = 0; i < b->n_rows; i++) {
    const row *r = &b->rows[i];
    printf("| %s | %s | %s | %.2f M | %lld | %s | %s | %.2f ± %.2f | %.1f | %.0f |\n", b->info.name[0] ? b->info.name : b->info.arch, b->info.weight_type, human_bytes(b->info.file_bytes, size),
           (double)b->info.n_params / 1e6, (long long)b->stats.n_threads, b->stats.cpu_level, r->name, r->avg, r->stddev, r->gbps, r->gops);
  }
}

static void print_csv(const bench *b) {
  printf("name,model,type,n_threads,avg_ts,stddev_ts,gbps,gops\n");
  for (int i = 0; i < b->n_rows; i++) {
    const row *r = &b->rows[i];
    printf("%s,\"%s\",%s,%lld,%.6f,%.6f,%.3f,%.3f\n", r->name, b->info.name, b->info.weight_type, (long long)b->stats.n_threads, r->avg, r->stddev, r->gbps, r->gops);
  }
}

static void print_json(const bench *b) {
  printf("[");
  for (int i = 0; i < b->n_rows; i++) {
    const row *r = &b->rows[i];
    printf("%s{\"name\":\"%s\",\"model\":", i ? "," : "", r->name);
    json_string(stdout, b->info.file, strlen(b->info.file));
    printf(",\"type\":\"%s\",\"n_threads\":%lld,\"cpu\":\"%s\",\"kv_type\":\"%s\",\"avg_ts\":%.6f,\"stddev_ts\":%.6f,\"samples_ts\":[", b->info.weight_type, (long long)b->stats.n_threads,
           b->stats.cpu_level, b->stats.kv_type, r->avg, r->stddev);
    for (int k = 0; k < r->n; k++) printf("%s%.6f", k ? "," : "", r->samples[k]);
    printf("],\"gbps\":%.3f,\"gops\":%.3f}", r->gbps, r->gops);
  }
  printf("]\n");
}

/* ---- setup ---- */

static int64_t step_bytes(const myna_model *m, const myna_model_info *info) {
  int64_t embd = 0;
  bool head = false;
  for (int64_t i = 0; i < info->n_tensors; i++) {
    myna_tensor_info t;
    myna_model_get_tensor(m, i, &t);
    if (strcmp(t.name, "token_embd.weight") == 0) embd = t.bytes;
    head |= strcmp(t.name, "output.weight") == 0;
  }
  return info->weight_bytes - (head ? embd : 0);
}

/* The numbers of a list, or one default. */
static int numbers(const list *l, int64_t fallback, int64_t lo, int64_t hi, const char *name, int64_t *out) {
  out[0] = fallback;
  for (int i = 0; i < l->n; i++) {
    char *end;
    out[i] = strtoll(l->items[i], &end, 10);
    if (*end || out[i] < lo || out[i] > hi) {
      usage("%s %s: numbers from %lld to %lld", name, l->items[i], (long long)lo, (long long)hi);
      return -1;
    }
  }
  return l->n ? l->n : 1;
}

static int64_t largest(const int64_t *x, int n) {
  int64_t m = 0;
  for (int i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
  return m;
}

static bool run_all(bench *b, const int64_t *pp, int n_pp, const int64_t *tg, int n_tg, const int64_t *depth, int n_depth, const int64_t *batch, int n_batch) {
  for (int d = 0; d < n_depth; d++) {
    for (int i = 0; i < n_pp; i++)
      if (pp[i] > 0 && !measure(b, "pp", pp[i], depth[d], 1)) return false;
    for (int i = 0; i < n_tg; i++)
      for (int k = 0; k < n_batch; k++)
        if (tg[i] > 0 && !measure(b, "tg", tg[i], depth[d], (int)batch[k])) return false;
  }
  return true;
}

int cmd_bench(options *o) {
  myna_err err = {0};
  myna_model *m = NULL;
  myna_engine_options eo;
  bench b = {.o = o, .random = 88172645463325252ull};
  int64_t pp[64], tg[64], depth[64], batch[64];
  int n_pp = numbers(&o->bench_prompt, 512, 0, 1 << 20, "--n-prompt", pp), n_tg = numbers(&o->bench_gen, 128, 0, 1 << 20, "--n-gen", tg);
  int n_depth = numbers(&o->bench_depth, 0, 0, 1 << 20, "--n-depth", depth), n_batch = numbers(&o->bench_batch, 1, 1, 256, "--n-batch-decode", batch);
  const char *format = o->json ? "json" : o->output ? o->output : "md";
  if (n_pp < 0 || n_tg < 0 || n_depth < 0 || n_batch < 0) return EXIT_USAGE;
  if (o->repeats < 1 || o->repeats > MAX_REPEATS) return usage("--repetitions %lld: 1 to %d", (long long)o->repeats, MAX_REPEATS);
  if (strcmp(format, "md") != 0 && strcmp(format, "csv") != 0 && strcmp(format, "json") != 0) return usage("--output %s: md, csv or json", format);
  int rc = open_model(o, false, &m);
  if (rc == 0 && engine_options(o, &eo)) rc = EXIT_USAGE;
  if (rc) {
    myna_model_close(m);
    return rc;
  }
  int64_t need = largest(depth, n_depth) + largest(pp, n_pp) + 1, need_tg = largest(depth, n_depth) + largest(tg, n_tg) + 2;
  eo.n_ctx = need > need_tg ? need : need_tg;
  eo.n_seq = largest(batch, n_batch) + 1;
  myna_model_get_info(m, &b.info);
  b.step_bytes = step_bytes(m, &b.info);
  bool ok = myna_engine_new(&b.e, m, &eo, &err) == 0;
  if (!ok) fail(&err);
  if (ok) {
    myna_engine_get_stats(b.e, &b.stats);
    ok = run_all(&b, pp, n_pp, tg, n_tg, depth, n_depth, batch, n_batch);
  }
  if (ok) (strcmp(format, "md") == 0 ? print_md : strcmp(format, "csv") == 0 ? print_csv : print_json)(&b);
  myna_engine_free(b.e);
  myna_model_close(m);
  free(b.rows);
  return ok ? 0 : interrupted ? 130 : EXIT_FAIL;
}
