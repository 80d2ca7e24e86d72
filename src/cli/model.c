/* model.c: from options to a model, an engine and a sampler. */
#define _GNU_SOURCE
#include "cli.h"
#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#ifndef MYNA_DATA_DIR
#define MYNA_DATA_DIR "/usr/local/share/myna"
#endif
static const char shipped[] = "myna-stories.gguf";

const char *human_bytes(int64_t n, char buf[32]) {
  static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
  double x = (double)n;
  int u = 0;
  while (x >= 1000 && u < 4) x /= 1000, u++;
  snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", x, units[u]);
  return buf;
}

/* The model that ships: beside the sources, or installed. NULL when it is nowhere. */
static const char *default_model(void) {
  static char path[PATH_MAX];
  char exe[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
  exe[n > 0 ? n : 0] = 0;
  const char *dir = n > 0 ? dirname(exe) : ".";
  const char *const formats[] = {"%s/../models/%s", "%s/../share/myna/%s", "%s/models/%s"};
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
    snprintf(path, sizeof path, formats[i], dir, shipped);
    if (access(path, R_OK) == 0) return path;
  }
  snprintf(path, sizeof path, "%s/%s", MYNA_DATA_DIR, shipped);
  return access(path, R_OK) == 0 ? path : NULL;
}

/* Names in the same folder that look like the one asked for. */
static void suggest(const char *path) {
  char copy[PATH_MAX], copy2[PATH_MAX];
  const char *names[512];
  int n = 0;
  snprintf(copy, sizeof copy, "%s", path);
  snprintf(copy2, sizeof copy2, "%s", path);
  const char *dir = dirname(copy), *base = basename(copy2);
  DIR *d = opendir(dir);
  if (!d) {
    fprintf(stderr, "myna: there is no folder %s\n", dir);
    return;
  }
  for (struct dirent *e; n < 512 && (e = readdir(d));)
    if (e->d_name[0] != '.') names[n++] = strdup(e->d_name); /* the process ends soon */
  closedir(d);
  const char *near = closest(base, names, n);
  if (near) fprintf(stderr, "myna: did you mean %s%s%s?\n", strcmp(dir, ".") ? dir : "", strcmp(dir, ".") ? "/" : "", near);
  int shown = 0;
  for (int i = 0; i < n && !near; i++)
    if (strlen(names[i]) > 5 && strcasecmp(names[i] + strlen(names[i]) - 5, ".gguf") == 0 && shown++ < 5)
      fprintf(stderr, "%s%s", shown == 1 ? "myna: .gguf files there: " : ", ", names[i]);
  if (shown) fprintf(stderr, "\n");
}

int open_model(const options *o, bool header_only, myna_model **out) {
  myna_err err = {0};
  const char *path = o->model ? o->model : o->n_args ? o->args[0] : default_model();
  if (!path) return usage("no model: name one with --model FILE");
  int rc = myna_model_open(out, path, &(myna_model_options){.no_mmap = o->no_mmap, .header_only = header_only}, &err);
  if (rc == 0) return 0;
  fail(&err);
  if (access(path, F_OK) != 0) suggest(path);
  return EXIT_FAIL;
}

static int cache_type(const options *o, myna_engine_options *e) {
  const char *k = o->cache_k ? o->cache_k : o->cache_v, *v = o->cache_v ? o->cache_v : o->cache_k;
  if (!k || strcmp(k, "auto") == 0) return 0;
  if (strcasecmp(k, v) != 0) return usage("--cache-type-k %s and --cache-type-v %s must be the same", k, v);
  int t = myna_dtype_from_name(k);
  if (t != MYNA_F32 && t != MYNA_F16 && t != MYNA_BF16) return usage("--cache-type-k %s: auto, f32, f16 and bf16 are possible", k);
  e->kv_type = (myna_dtype)t;
  e->kv_type_set = true;
  return 0;
}

int engine_options(const options *o, myna_engine_options *e) {
  *e = (myna_engine_options){.n_threads = (int)o->threads, .pin = o->pin, .n_ctx = o->ctx, .n_batch = o->ubatch ? o->ubatch : o->batch, .exact = o->exact,
                             .mem_limit = o->mem_limit};
  if (o->threads < 0 || o->threads > 1024) return usage("--threads %lld: 1 to 1024", (long long)o->threads);
  if (o->ctx < 0) return usage("--ctx-size %lld is negative", (long long)o->ctx);
  if (e->n_batch > 2048 || e->n_batch < 0) return usage("--batch-size %lld: 1 to 2048", (long long)e->n_batch);
  if (o->mem_weights && strcmp(o->mem_weights, "cached") != 0) return usage("--mem-weights %s: only cached is possible", o->mem_weights);
  e->mem_weights_cached = o->mem_weights != NULL;
  return cache_type(o, e);
}

/* "penalties;top_k" to letters. */
static int sampler_letters(const char *names, char *out, size_t n) {
  static const struct {
    const char *name;
    char letter;
  } table[] = {{"penalties", 'e'}, {"dry", 'd'}, {"top_n_sigma", 's'}, {"top_k", 'k'}, {"typ_p", 'y'}, {"typical_p", 'y'}, {"typical", 'y'},
               {"top_p", 'p'}, {"min_p", 'm'}, {"xtc", 'x'}, {"temperature", 't'}, {"temp", 't'}};
  size_t at = 0;
  for (const char *p = names; *p && at + 1 < n;) {
    size_t len = strcspn(p, ";,"), i = 0;
    while (i < sizeof table / sizeof *table && (strlen(table[i].name) != len || memcmp(table[i].name, p, len) != 0)) i++;
    if (i == sizeof table / sizeof *table) return usage("--samplers: \"%.*s\" is no sampler", (int)len, p);
    out[at++] = table[i].letter;
    p += len + (p[len] != 0);
  }
  out[at] = 0;
  return 0;
}

static int logit_bias(const options *o, myna_sampling *s) {
  static myna_logit_bias bias[64];
  for (int i = 0; i < o->logit_bias.n; i++) {
    char *end;
    const char *text = o->logit_bias.items[i];
    long id = strtol(text, &end, 10);
    if (end == text || (*end != '+' && *end != '-')) return usage("--logit-bias %s: write ID+X or ID-X", text);
    double x = strncmp(end + 1, "inf", 3) == 0 ? (*end == '-' ? -INFINITY : INFINITY) : strtod(end, NULL);
    bias[i] = (myna_logit_bias){(int32_t)id, (float)x};
  }
  s->bias = bias;
  s->n_bias = o->logit_bias.n;
  return 0;
}

int sampling_options(const options *o, myna_sampling *s) {
  static char order[32];
  myna_sampling_default(s);
  s->set = true;
  s->seed = o->seed < 0 ? (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid() : (uint64_t)o->seed;
  s->temperature = (float)o->temp;
  s->top_k = (int32_t)o->top_k;
  s->top_p = (float)o->top_p;
  s->min_p = (float)o->min_p;
  s->typical_p = (float)o->typical;
  s->top_n_sigma = (float)o->top_n_sigma;
  s->xtc_probability = (float)o->xtc_probability;
  s->xtc_threshold = (float)o->xtc_threshold;
  s->dynatemp_range = (float)o->dynatemp_range;
  s->dynatemp_exponent = (float)o->dynatemp_exp;
  s->min_keep = (int32_t)o->min_keep;
  s->repeat_last_n = (int32_t)o->repeat_last_n;
  s->repeat_penalty = (float)o->repeat_penalty;
  s->frequency_penalty = (float)o->frequency_penalty;
  s->presence_penalty = (float)o->presence_penalty;
  s->dry_multiplier = (float)o->dry_multiplier;
  s->dry_base = (float)o->dry_base;
  s->dry_allowed_length = (int32_t)o->dry_allowed_length;
  s->dry_penalty_last_n = (int32_t)o->dry_penalty_last_n;
  if (o->dry_breakers.n) {
    s->dry_breakers = o->dry_breakers.items;
    s->n_dry_breakers = o->dry_breakers.n;
  }
  s->mirostat = (int)o->mirostat;
  s->mirostat_eta = (float)o->mirostat_lr;
  s->mirostat_tau = (float)o->mirostat_ent;
  s->ignore_eos = o->ignore_eos;
  if (o->sampling_seq) s->order = o->sampling_seq;
  else if (o->samplers) {
    if (sampler_letters(o->samplers, order, sizeof order)) return EXIT_USAGE;
    s->order = order;
  }
  return logit_bias(o, s);
}

int32_t *tokenize_all(const myna_model *m, const char *text, size_t n, const myna_tokenize_options *to, int64_t *count) {
  myna_err err = {0};
  int64_t cap = (int64_t)n + 8;
  int32_t *ids = malloc((size_t)cap * sizeof *ids);
  *count = ids ? myna_tokenize(m, text, n, to, ids, cap, &err) : -1;
  if (ids && *count > cap) { /* more ids than bytes: normalization grew the text */
    int32_t *more = realloc(ids, (size_t)*count * sizeof *ids);
    if (more) {
      ids = more;
      *count = myna_tokenize(m, text, n, to, ids, *count, &err);
    }
  }
  if (!ids || *count < 0) {
    fail(&err);
    free(ids);
    return NULL;
  }
  return ids;
}
