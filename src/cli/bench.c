/* bench.c: speed of prompts and generation through the engine, as users meet it: random tokens or a given text, forced answers, means and samples.
 *
 * Rows: pp512 (prompt of 512), tg128 (128 single-token steps), pp512@d4096 and tg128@d4096 (the same behind 4096 positions already
 * computed), tg128x8 (8 sequences together, total rate), tg128x8+shared4096 (the same behind one prefix of 4096), tg128@replay (the tokens of a text, so that speculation has something to guess), pp512+tg128 (one after the other, all tokens over the whole time). gbps: weights that a step reads, times steps per second; gops: two operations
 * per weight that a token is multiplied with. Attention and cache are in neither. */
#include "cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REPEATS = 100, MAX_TOGETHER = 256, MAX_LENGTH = 1 << 20 };

typedef struct row {
  char name[64];
  double samples[MAX_REPEATS], avg, stddev, gbps, gops;
  int n;
  int64_t n_drafted, n_accepted; /* over all samples */
} row;

typedef struct bench {
  const options *o;
  const char *format;
  myna_engine *e;
  myna_model_info info;
  myna_engine_stats stats;
  double step_bytes, token_weights; /* read by a step, multiplied per token */
  uint64_t random;
  myna_speculation speculation;
  int32_t *text; /* [n_text], of --replay; NULL without */
  int64_t n_text;
  int32_t
      *before; /* [n_before]: tokens at depth, the same for all rows of one sequence, so that they are computed once */
  int64_t n_before;
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

/* A prompt of depth + n tokens, of which the first `depth` are those of all such prompts; NULL without memory. */
static int32_t *tokens_behind(bench *b, int64_t depth, int64_t n) {
  int32_t *ids = random_tokens(b, depth + n);
  if (ids && depth > 0 && depth > b->n_before) {
    int32_t *more = realloc(b->before, (size_t)depth * sizeof *more);
    if (!more) return free(ids), NULL;
    memcpy(more + b->n_before, ids + b->n_before, (size_t)(depth - b->n_before) * sizeof *more);
    b->before = more;
    b->n_before = depth;
  }
  if (ids && depth) memcpy(ids, b->before, (size_t)depth * sizeof *ids);
  return ids;
}

/* ---- requests ---- */

/* What n requests did. All of them generate from the last of their first tokens (`all`) until one ends: of this time each request's steps are
 * counted from one of its own tokens to another, for the tokens of one step arrive one after the other, and `all` lies somewhere among them. */
typedef struct window {
  bool seen[MAX_TOGETHER];
  int64_t steps[MAX_TOGETHER], steps_max; /* of a request while all generate; no more than these are counted, 0: none */
  double from[MAX_TOGETHER], to[MAX_TOGETHER]; /* of the clock: where those steps begin and end, 0: not yet */
  int64_t tokens;                              /* behind the first of each */
  double first, all, last;                     /* of the clock, 0: not yet */
} window;

/* A token of request i while all generate. */
static void count_step(window *w, int i) {
  if (w->from[i] == 0) {
    w->from[i] = now();
  } else if (w->steps[i] < w->steps_max) {
    w->steps[i]++;
    w->to[i] = now();
  }
}

/* Waits for the end of n requests, whose user pointers are places of w->seen. False on an error (told) or Ctrl-C. */
static bool wait_all(bench *b, int n, window *w, myna_timings *last) {
  int started = 0, done = 0;
  while (done < n && !interrupted) {
    myna_event ev;
    if (myna_next_event(b->e, 200, &ev) <= 0) continue;
    bool *seen = ev.user;
    if (ev.kind == MYNA_EVENT_TOKEN) {
      if (*seen) w->tokens++;
      if (!*seen && started++ == 0) w->first = now();
      if (!*seen && started == n) w->all = now();
      *seen = true;
      if (w->all > 0 && done == 0) count_step(w, (int)(seen - w->seen));
    } else if (ev.kind == MYNA_EVENT_DONE) {
      if (ev.finish == MYNA_FINISH_ERROR) return fail(&ev.err), false;
      w->last = now();
      done++;
      if (last) *last = ev.timings;
    }
  }
  return !interrupted;
}

static bool submit(bench *b, const int32_t *ids, int64_t n, const int32_t *forced, int64_t n_forced, bool *seen) {
  myna_err err = {0};
  int64_t id;
  myna_request r = {.tokens = ids,
                    .n_tokens = n,
                    .max_tokens = n_forced,
                    .forced = forced,
                    .n_forced = n_forced,
                    .no_text = true,
                    .speculation = b->speculation,
                    .user = seen};
  if (myna_submit(b->e, &r, &id, &err) == 0) return true;
  return fail(&err), false;
}

/* One prompt and this answer; the timings of it. */
static bool one_forced(bench *b, const int32_t *ids, int64_t n, const int32_t *forced, int64_t n_gen, myna_timings *t) {
  window w = {0};
  return forced && submit(b, ids, n, forced, n_gen, &w.seen[0]) && wait_all(b, 1, &w, t);
}

/* The same with an answer of random tokens. */
static bool one(bench *b, const int32_t *ids, int64_t n, int64_t n_gen, myna_timings *t) {
  int32_t *forced = random_tokens(b, n_gen);
  bool ok = one_forced(b, ids, n, forced, n_gen, t);
  free(forced);
  return ok;
}

/* ---- what is timed: tokens per second, negative on failure ---- */

static double time_prompt(bench *b, int64_t n, int64_t depth) {
  myna_timings t = {0};
  int32_t *ids = tokens_behind(b, depth, n);
  bool ok = ids && (depth == 0 || one(b, ids, depth, 1, &t)) && one(b, ids, depth + n, 1, &t);
  free(ids);
  return ok && t.prompt_s > 0 ? (double)(t.n_prompt - t.n_cached) / t.prompt_s : -1;
}

static double time_gen(bench *b, int64_t n, int64_t depth) {
  myna_timings t = {0};
  int32_t *ids = tokens_behind(b, depth, 1);
  bool ok = ids && one(b, ids, depth + 1, n + 1, &t);
  free(ids);
  return ok && t.gen_s > 0 ? (double)n / t.gen_s : -1;
}

/* Tokens of the text that are the prompt. */
static int64_t replay_prompt(const bench *b, int64_t depth) {
  return depth ? depth : b->n_text / 2 < 512 ? b->n_text / 2 : 512;
}

static double time_replay(bench *b, int64_t n, int64_t depth) {
  myna_timings t = {0};
  int64_t prompt = replay_prompt(b, depth);
  bool ok = one_forced(b, b->text, prompt, b->text + prompt, n + 1, &t);
  return ok && t.gen_s > 0 ? (double)n / t.gen_s : -1;
}

static double time_both(bench *b, int64_t n, int64_t n_gen, int64_t depth) {
  myna_timings t = {0};
  int32_t *ids = tokens_behind(b, depth, n);
  bool ok = ids && (depth == 0 || one(b, ids, depth, 1, &t)) && one(b, ids, depth + n, n_gen + 1, &t);
  free(ids);
  double tokens = (double)(t.n_prompt - t.n_cached + n_gen);
  return ok && t.prompt_s + t.gen_s > 0 ? tokens / (t.prompt_s + t.gen_s) : -1;
}

/* Sum of the rates of n requests while all generated; negative if one of them had less than half of the steps then. */
static double rate_together(const window *w, int n) {
  double rate = 0;
  for (int i = 0; i < n; i++) {
    if (w->steps[i] < 1 || w->steps[i] < w->steps_max / 2 || w->to[i] <= w->from[i]) return -1;
    rate += (double)w->steps[i] / (w->to[i] - w->from[i]);
  }
  return rate;
}

/* Total rate of `together` sequences, each with a prompt and an answer of its own behind what --shared-prefix says. What lies before is computed first, so that all start within
 * a few steps; the answers are a few tokens longer than asked, for the steps in which not all have started. */
static double time_together(bench *b, int64_t n, int64_t depth, int together) {
  window w = {.steps_max = n};
  myna_timings t;
  int64_t shared = b->o->shared_prefix, len = shared + depth + 1, n_forced = n + together;
  int32_t *ids = random_tokens(b, len * together), *forced = random_tokens(b, n_forced * together);
  int32_t *prefix = tokens_behind(b, shared, 0);
  bool ok = ids && forced && prefix;
  for (int i = 0; i < together && shared > 0 && ok; i++) memcpy(ids + i * len, prefix, (size_t)shared * sizeof *ids);
  free(prefix);
  for (int i = 0; i < together && len > 1 && ok; i++) ok = one(b, ids + i * len, len, 1, &t);
  for (int i = 0; i < together && ok; i++)
    ok = submit(b, ids + i * len, len, forced + i * n_forced, n_forced, &w.seen[i]);
  ok = ok && wait_all(b, together, &w, NULL);
  free(ids);
  free(forced);
  if (!ok) return -1;
  /* A tiny model may end its first answers before the last request arrives: then the whole time counts. */
  double rate = rate_together(&w, together);
  return rate > 0 ? rate : w.last > w.first ? (double)w.tokens / (w.last - w.first) : -1;
}

/* ---- rows ---- */

static void summarise(const bench *b, row *r, double steps_per_token) {
  double sum = 0, sq = 0;
  for (int i = 0; i < r->n; i++) sum += r->samples[i];
  r->avg = sum / r->n;
  for (int i = 0; i < r->n; i++) sq += (r->samples[i] - r->avg) * (r->samples[i] - r->avg);
  r->stddev = r->n > 1 ? sqrt(sq / (r->n - 1)) : 0;
  r->gbps = b->step_bytes * r->avg * steps_per_token * 1e-9;
  r->gops = 2e-9 * b->token_weights * r->avg;
}

static void name_row(row *r, int64_t n_prompt, int64_t n_gen, int64_t depth, int together, int64_t shared,
                     bool replay) {
  char pp[24] = "", tg[24] = "", times[16] = "", at[24] = "", behind[32] = "";
  if (n_prompt) snprintf(pp, sizeof pp, "pp%lld", (long long)n_prompt);
  if (n_gen) snprintf(tg, sizeof tg, "tg%lld", (long long)n_gen);
  if (together > 1) snprintf(times, sizeof times, "x%d", together);
  if (depth) snprintf(at, sizeof at, "@d%lld", (long long)depth);
  if (together > 1 && shared) snprintf(behind, sizeof behind, "+shared%lld", (long long)shared);
  snprintf(r->name, sizeof r->name, "%s%s%s%s%s%s%s", pp, n_prompt && n_gen ? "+" : "", tg, times, behind, at,
           replay ? "@replay" : "");
}

static void print_row(const bench *b, int i);

/* A prompt, tokens generated in `together` sequences, or a prompt and then tokens of one. */
static bool measure(bench *b, int64_t n_prompt, int64_t n_gen, int64_t depth, int together) {
  row *r = realloc(b->rows, (size_t)(b->n_rows + 1) * sizeof *r);
  if (!r) return failed("no memory"), false;
  b->rows = r;
  r += b->n_rows;
  *r = (row){0};
  bool replay = b->text && n_prompt == 0;
  name_row(r, n_prompt, n_gen, depth, together, b->o->shared_prefix, replay);
  progress p = progress_start(b->o, r->name);
  int warm = b->o->no_warmup ? 0 : 1;
  for (int i = -warm; i < b->o->repeats; i++) {
    progress_show(&p, i + warm, (double)b->o->repeats + warm, "");
    int64_t n = i < 0 && n_gen > 2 ? 2 : n_gen, at = i < 0 && !replay ? 0 : depth; /* warm is warm at any depth */
    myna_engine_stats before, after;
    myna_engine_get_stats(b->e, &before);
    double x = n_gen == 0      ? time_prompt(b, n_prompt, at)
               : n_prompt      ? time_both(b, n_prompt, n, at)
               : replay        ? time_replay(b, n, at)
               : together == 1 ? time_gen(b, n, at)
                               : time_together(b, n, at, together);
    if (x < 0) break;
    if (i < 0) continue;
    myna_engine_get_stats(b->e, &after);
    r->n_drafted += after.n_drafted - before.n_drafted;
    r->n_accepted += after.n_accepted - before.n_accepted;
    r->samples[r->n++] = x;
  }
  progress_end(&p);
  bool ok = r->n == b->o->repeats;
  if (!ok && !interrupted) failed("%s could not be measured", r->name);
  if (!ok) return false;
  double steps = (double)((n_prompt + b->stats.n_batch - 1) / b->stats.n_batch + n_gen);
  steps -= (double)r->n_accepted / (double)(r->n * together); /* tokens that needed none of their own */
  summarise(b, r, steps / (double)(n_prompt + n_gen * together));
  print_row(b, b->n_rows++);
  if (b->speculation.kind != MYNA_SPECULATION_NONE)
    note(b->o, "%s: %lld tokens guessed, %lld of them right", r->name, (long long)r->n_drafted,
         (long long)r->n_accepted);
  return true;
}

/* What to measure, from the command line; `both` holds pairs. */
typedef struct sizes {
  int64_t pp[64], tg[64], depth[64], together[64], both[64];
  int n_pp, n_tg, n_depth, n_together, n_both;
} sizes;

static bool measure_all(bench *b, const sizes *s) {
  for (int d = 0; d < s->n_depth; d++) {
    for (int i = 0; i < s->n_pp; i++)
      if (s->pp[i] > 0 && !measure(b, s->pp[i], 0, s->depth[d], 1)) return false;
    for (int i = 0; i < s->n_tg; i++)
      for (int k = 0; k < s->n_together; k++)
        if (s->tg[i] > 0 && !measure(b, 0, s->tg[i], s->depth[d], (int)s->together[k])) return false;
    for (int i = 0; i < s->n_both; i += 2)
      if (!measure(b, s->both[i], s->both[i + 1], s->depth[d], 1)) return false;
  }
  return true;
}

/* ---- output: a row as soon as it is known, so that Ctrl-C keeps what was measured ---- */

static void print_md(const bench *b, int i) {
  const row *r = &b->rows[i];
  char size[32], name[64];
  snprintf(name, sizeof name, "%s", b->info.name[0] ? b->info.name : b->info.arch);
  if (i == 0)
    printf("| model | type | size | params | threads | cpu | test | t/s | GB/s | GOP/s |\n"
           "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |\n");
  printf("| %s | %s | %s | %.2f M | %lld | %s | %s | %.2f ± %.2f | %.1f | %.0f |\n", printable(name),
         b->info.weight_type, human_bytes(b->info.file_bytes, size), (double)b->info.n_params / 1e6,
         (long long)b->stats.n_threads, b->stats.cpu_level, r->name, r->avg, r->stddev, r->gbps, r->gops);
}

static void print_csv(const bench *b, int i) {
  const row *r = &b->rows[i];
  char name[64];
  snprintf(name, sizeof name, "%s", b->info.name);
  for (char *p = printable(name); *p; p++)
    if (*p == '"') *p = '\'';
  if (i == 0) printf("name,model,type,n_threads,avg_ts,stddev_ts,gbps,gops\n");
  printf("%s,\"%s\",%s,%lld,%.6f,%.6f,%.3f,%.3f\n", r->name, name, b->info.weight_type, (long long)b->stats.n_threads,
         r->avg, r->stddev, r->gbps, r->gops);
}

static void print_json(const bench *b, int i) {
  const row *r = &b->rows[i];
  printf("%s\n{\"name\":\"%s\",\"model\":", i ? "," : "", r->name);
  write_json_string(stdout, b->info.file, strlen(b->info.file));
  printf(",\"type\":\"%s\",\"n_threads\":%lld,\"cpu\":\"%s\",\"kv_type\":\"%s\",\"kv_type_v\":\"%s\",",
         b->info.weight_type, (long long)b->stats.n_threads, b->stats.cpu_level, b->stats.kv_type, b->stats.kv_type_v);
  printf("\"avg_ts\":%.6f,\"stddev_ts\":%.6f,\"samples_ts\":[", r->avg, r->stddev);
  for (int k = 0; k < r->n; k++) printf("%s%.6f", k ? "," : "", r->samples[k]);
  printf("],\"gbps\":%.3f,\"gops\":%.3f,\"n_drafted\":%lld,\"n_accepted\":%lld}", r->gbps, r->gops,
         (long long)r->n_drafted, (long long)r->n_accepted);
}

static void print_row(const bench *b, int i) {
  (strcmp(b->format, "md") == 0 ? print_md : strcmp(b->format, "csv") == 0 ? print_csv : print_json)(b, i);
  fflush(stdout);
}

/* ---- setup ---- */

/* Number behind a metadata key that ends in `tail`; 0 when there is none. */
static double meta_number(const myna_model *m, int64_t n_meta, const char *tail) {
  const char *key;
  char type[24], value[64];
  for (int64_t i = 0; i < n_meta; i++) {
    if (myna_model_get_meta(m, i, &key, type, value, sizeof value, 0) < 0) continue;
    size_t n = strlen(key), k = strlen(tail);
    if (n >= k && strcmp(key + n - k, tail) == 0) return atof(value);
  }
  return 0;
}

/* A token's row is all that is read of an embedding beside a separate head; of experts, those that one token uses. */
static void count_weights(bench *b, const myna_model *m) {
  double all = meta_number(m, b->info.n_meta, ".expert_count"),
         used = meta_number(m, b->info.n_meta, ".expert_used_count");
  double share = all > 0 && used > 0 ? used / all : 1, embd_bytes = 0, embd_weights = 0;
  bool head = false;
  for (int64_t i = 0; i < b->info.n_tensors; i++) {
    myna_tensor_info t;
    if (myna_model_get_tensor(m, i, &t) < 0) continue;
    double n = strstr(t.name, "_exps.") ? share : 1, bytes = n * (double)t.bytes;
    for (int k = 0; k < t.n_dims; k++) n *= (double)t.dims[k];
    if (strcmp(t.name, "token_embd.weight") == 0) embd_bytes = bytes, embd_weights = n;
    head |= strcmp(t.name, "output.weight") == 0;
    b->step_bytes += bytes;
    b->token_weights += t.n_dims > 1 ? n : 0;
  }
  if (head) b->step_bytes -= embd_bytes, b->token_weights -= embd_weights;
}

/* The numbers of a list, or one default; -1 after telling what is wrong. */
static int numbers(const list *l, int64_t fallback, int64_t lo, int64_t hi, const char *name, int64_t *out) {
  out[0] = fallback;
  for (int i = 0; i < l->n; i++) {
    char *end;
    out[i] = strtoll(l->items[i], &end, 10);
    if (*end || out[i] < lo || out[i] > hi)
      return usage("%s %s: numbers from %lld to %lld with commas between", name, l->items[i], (long long)lo,
                   (long long)hi),
             -1;
  }
  return l->n ? l->n : 1;
}

static int64_t largest(const int64_t *x, int n) {
  int64_t m = 0;
  for (int i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
  return m;
}

/* 0, or the exit status after telling what is wrong. */
static int read_sizes(const options *o, sizes *s) {
  s->n_pp = numbers(&o->bench_prompt, o->replay ? 0 : 512, 0, MAX_LENGTH, "--n-prompt", s->pp);
  s->n_tg = numbers(&o->bench_gen, 128, 0, MAX_LENGTH, "--n-gen", s->tg);
  s->n_depth = numbers(&o->bench_depth, 0, 0, MAX_LENGTH, "--n-depth", s->depth);
  s->n_together = numbers(&o->bench_batch, 1, 1, MAX_TOGETHER, "--n-batch-decode", s->together);
  s->n_both = o->bench_both.n ? numbers(&o->bench_both, 0, 1, MAX_LENGTH, "--n-prompt-gen", s->both) : 0;
  if (s->n_pp < 0 || s->n_tg < 0 || s->n_depth < 0 || s->n_together < 0 || s->n_both < 0) return EXIT_USAGE;
  if (s->n_both % 2)
    return usage("--n-prompt-gen: pairs of a prompt and a length of generation, not %d numbers", s->n_both);
  if (largest(s->pp, s->n_pp) + largest(s->tg, s->n_tg) + s->n_both == 0)
    return usage("nothing to measure: --n-prompt and --n-gen are 0");
  if (o->shared_prefix < 0 || o->shared_prefix > MAX_LENGTH)
    return usage("--shared-prefix %lld: 0 to %d", (long long)o->shared_prefix, MAX_LENGTH);
  if (o->replay && largest(s->together, s->n_together) > 1) return usage("--replay: one sequence, no -B");
  return 0;
}

/* Positions that the longest row needs. */
static int64_t positions_of(const sizes *s) {
  int64_t most = largest(s->together, s->n_together), need_pp = largest(s->pp, s->n_pp) + 1,
          need_tg = largest(s->tg, s->n_tg) + 1 + (most > 1 ? most : 1);
  int64_t need = need_pp > need_tg ? need_pp : need_tg;
  for (int i = 0; i < s->n_both; i += 2)
    if (s->both[i] + s->both[i + 1] + 1 > need) need = s->both[i] + s->both[i + 1] + 1;
  return largest(s->depth, s->n_depth) + need;
}

/* The text to replay: 0, or the exit status after telling what is wrong. */
static int read_replay(bench *b, const myna_model *m, const sizes *s) {
  size_t n;
  char *text = b->o->replay ? read_text(b->o->replay, &n) : NULL;
  if (!b->o->replay) return 0;
  if (!text) return EXIT_FAIL;
  b->text = tokenize_all(m, text, n, NULL, &b->n_text);
  free(text);
  if (!b->text) return EXIT_FAIL;
  for (int d = 0; d < s->n_depth; d++) {
    int64_t need = replay_prompt(b, s->depth[d]) + largest(s->tg, s->n_tg) + 1;
    if (need > b->n_text || b->n_text < 2)
      return failed("%s has %lld tokens, %lld are needed: a prompt and the longest --n-gen", b->o->replay,
                    (long long)b->n_text, (long long)(need > 2 ? need : 2));
  }
  return 0;
}

int cmd_bench(options *o) {
  myna_err err = {0};
  myna_model *m = NULL;
  myna_engine_options eo = {0};
  bench b = {.o = o, .random = 88172645463325252ull, .format = o->json ? "json" : o->output ? o->output : "md"};
  sizes s = {0};
  int rc = read_sizes(o, &s);
  if (rc) return rc;
  if (o->repeats < 1 || o->repeats > MAX_REPEATS)
    return usage("--repetitions %lld: 1 to %d", (long long)o->repeats, MAX_REPEATS);
  if (strcmp(b.format, "md") != 0 && strcmp(b.format, "csv") != 0 && strcmp(b.format, "json") != 0)
    return usage("--output %s: md, csv or json", b.format);
  rc = engine_options(o, &eo);
  if (rc == 0) rc = speculation_options(o, &b.speculation);
  if (rc == 0 && !(o->draft_accept >= 0 && o->draft_accept <= 1))
    rc = usage("--draft-accept %g: 0 to 1", o->draft_accept);
  if (rc == 0 && o->draft_accept > 0 && !(o->replay && (b.speculation.kind & MYNA_SPECULATION_DRAFT)))
    rc = usage("--draft-accept: only with --replay and --model-draft");
  b.speculation.force_accept = (float)o->draft_accept;
  if (rc == 0) rc = open_model(o, false, &m);
  if (rc == 0) rc = open_draft(o, &b.speculation, &eo);
  if (rc == 0) rc = read_replay(&b, m, &s);
  if (rc) {
    free(b.text);
    myna_model_close(eo.draft_model);
    myna_model_close(m);
    return rc;
  }
  eo.n_ctx = o->shared_prefix + positions_of(&s) + (b.text ? replay_prompt(&b, 0) : 0);
  eo.n_seq = largest(s.together, s.n_together) + 1;
  myna_model_get_info(m, &b.info);
  count_weights(&b, m);
  if (myna_engine_new(&b.e, m, &eo, &err) < 0) {
    rc = engine_failed(m, &eo, &err);
  } else {
    myna_engine_get_stats(b.e, &b.stats);
    if (strcmp(b.format, "json") == 0) printf("[");
    rc = measure_all(&b, &s) ? 0 : EXIT_FAIL;
    if (strcmp(b.format, "json") == 0) printf("\n]\n");
  }
  myna_engine_free(b.e);
  myna_model_close(eo.draft_model);
  myna_model_close(m);
  free(b.rows);
  free(b.text);
  free(b.before);
  return rc;
}
