/* engine.c: from flags to engine options; what to say when the engine does not fit; timings. */
#define _GNU_SOURCE
#include "cli.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_BATCH = 2048, PAGE = 64 };

/* auto is no choice. */
static int cache_type(const char *flag, const char *name, myna_dtype *type, bool *set) {
  static const myna_dtype possible[] = {MYNA_F32, MYNA_F16, MYNA_BF16, MYNA_Q8_0, MYNA_Q4_0};
  if (!name || strcasecmp(name, "auto") == 0) return 0;
  int t = myna_dtype_from_name(name);
  for (size_t i = 0; i < sizeof possible / sizeof *possible; i++)
    if (t == (int)possible[i]) {
      *type = possible[i];
      *set = true;
      return 0;
    }
  return usage("%s %s: auto, f32, f16, bf16, q8_0 and q4_0 are possible", flag, name);
}

/* One flag alone is for both. */
static int cache_types(const options *o, myna_engine_options *e) {
  const char *k = o->cache_k ? o->cache_k : o->cache_v, *v = o->cache_v ? o->cache_v : o->cache_k;
  int rc = cache_type(o->cache_k ? "--cache-type-k" : "--cache-type-v", k, &e->kv_type, &e->kv_type_set);
  return rc ? rc : cache_type("--cache-type-v", v, &e->kv_type_v, &e->kv_type_v_set);
}

/* ---- where threads run ---- */

static int numa_mode(const options *o, myna_numa *out) {
  static const struct {
    const char *name;
    myna_numa mode;
  } modes[] = {{"distribute", MYNA_NUMA_DISTRIBUTE}, {"isolate", MYNA_NUMA_ISOLATE}, {"numactl", MYNA_NUMA_NUMACTL}};
  for (size_t i = 0; o->numa && i < sizeof modes / sizeof *modes; i++)
    if (strcmp(o->numa, modes[i].name) == 0) return *out = modes[i].mode, 0;
  return o->numa ? usage("--numa %s: distribute, isolate or numactl", o->numa) : 0;
}

#ifdef __linux__
enum { MAX_CPUS = 4096 };

/* Hexadecimal digits, the last one for processors 0 to 3. */
static bool add_mask(const char *s, cpu_set_t *set, size_t size) {
  if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) s += 2;
  size_t n = strlen(s);
  if (n == 0 || n > MAX_CPUS / 4) return false;
  for (size_t i = 0; i < n; i++) {
    char digit[2] = {s[n - 1 - i], 0}, *end;
    long bits = strtol(digit, &end, 16);
    if (*end || end == digit) return false;
    for (size_t b = 0; b < 4; b++)
      if (bits >> b & 1) CPU_SET_S(4 * i + b, size, set);
  }
  return true;
}

/* "2-5", "-5", "2-". */
static bool add_range(const char *s, cpu_set_t *set, size_t size) {
  char *end;
  const char *dash = strchr(s, '-');
  if (!dash || strlen(s) > 12) return false;
  long lo = dash == s ? 0 : strtol(s, &end, 10), hi = MAX_CPUS - 1;
  if (dash != s && end != dash) return false;
  if (dash[1]) hi = strtol(dash + 1, &end, 10);
  if (dash[1] && *end) return false;
  if (lo < 0 || hi < lo || hi >= MAX_CPUS) return false;
  for (long i = lo; i <= hi; i++) CPU_SET_S((size_t)i, size, set);
  return true;
}

int place_process(const options *o) {
  static const struct {
    int policy, priority;
  } prio[] = {{SCHED_BATCH, 0}, {SCHED_OTHER, 0}, {SCHED_FIFO, 40}, {SCHED_FIFO, 80}, {SCHED_FIFO, 90}};
  cpu_set_t set[MAX_CPUS / CPU_SETSIZE];
  memset(set, 0, sizeof set);
  if (o->cpu_mask && !add_mask(o->cpu_mask, set, sizeof set))
    return usage("--cpu-mask %s: hexadecimal digits, at most %d", o->cpu_mask, MAX_CPUS / 4);
  if (o->cpu_range && !add_range(o->cpu_range, set, sizeof set))
    return usage("--cpu-range %s: two numbers, LO-HI, below %d", o->cpu_range, MAX_CPUS);
  if ((o->cpu_mask || o->cpu_range) && sched_setaffinity(0, sizeof set, set) != 0)
    return usage("--cpu-mask, --cpu-range: none of these processors is there (%s)", strerror(errno));
  if (o->prio < -1 || o->prio > 3) return usage("--prio %lld: -1 to 3", (long long)o->prio);
  const struct sched_param param = {.sched_priority = prio[o->prio + 1].priority};
  if (o->prio && sched_setscheduler(0, prio[o->prio + 1].policy, &param) != 0)
    note(o, "--prio %lld: %s", (long long)o->prio, strerror(errno));
  return 0;
}
#else
int place_process(const options *o) {
  if (o->cpu_mask || o->cpu_range || o->prio) note(o, "--cpu-mask, --cpu-range and --prio have no effect here");
  return 0;
}
#endif

/* ---- options ---- */

void grammar_memory(myna_engine_options *e) {
  enum { PART = 16, MOST = 64 << 20 };
  if (e->mem_limit <= 0) return;
  e->grammar_bytes = e->mem_limit / PART < MOST ? e->mem_limit / PART : MOST;
  if (e->grammar_bytes > 0) myna_grammar_limit(e->grammar_bytes);
}

int engine_options(const options *o, myna_engine_options *e) {
  int64_t batch = o->ubatch ? o->ubatch : o->batch;
  *e = (myna_engine_options){.n_threads = (int)o->threads,
                             .pin = o->pin,
                             .no_spin = o->poll == 0,
                             .n_ctx = o->ctx,
                             .n_batch = batch,
                             .exact = o->exact,
                             .no_cascade = o->no_cascade,
                             .mem_limit = o->mem_limit};
  if (o->threads < 0 || o->threads > 1024) return usage("--threads %lld: 1 to 1024", (long long)o->threads);
  if (o->ctx < 0 || o->ctx > INT32_MAX) return usage("--ctx-size %lld: 1 to %d, or 0", (long long)o->ctx, INT32_MAX);
  if (batch < 0)
    return usage("%s %lld: 1 to %d", o->ubatch ? "--ubatch-size" : "--batch-size", (long long)batch, MAX_BATCH);
  if (batch > MAX_BATCH) e->n_batch = MAX_BATCH; /* the peers' habit of a large -b is no error */
  if (o->mem_limit < 0) return usage("--mem-limit %lld is negative", (long long)o->mem_limit);
  if (o->mem_weights && strcmp(o->mem_weights, "cached") != 0)
    return usage("--mem-weights %s: only cached is possible", o->mem_weights);
  e->mem_weights_cached = o->mem_weights != NULL;
  if (o->grammar || o->grammar_file || o->json_schema || o->json_schema_file || o->regex) grammar_memory(e);
  if (o->poll < 0 || o->poll > 100) return usage("--poll %lld: 0 to 100", (long long)o->poll);
  int rc = numa_mode(o, &e->numa);
  return rc ? rc : cache_types(o, e);
}

int measuring_options(const options *o, myna_engine_options *e) {
  int rc = engine_options(o, e);
  if (!o->cache_k && !o->cache_v) {
    e->kv_type = MYNA_F32;
    e->kv_type_set = true;
  }
  return rc;
}

int64_t physical_memory(void) { return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE); }

int64_t context_that_fits(const myna_memory *mem, int64_t n_ctx, int64_t memory, int64_t n_max) {
  int64_t pages = (n_ctx + PAGE - 1) / PAGE, left = memory - (mem->total - mem->kv);
  if (mem->kv <= 0 || left <= 0) return 0;
  int64_t fits = (int64_t)((double)left / ((double)mem->kv / (double)pages)) * PAGE;
  return fits > n_max ? n_max : fits;
}

int engine_failed(myna_model *m, const myna_engine_options *e, const myna_err *err) {
  char have[32], need[32];
  myna_model_info info;
  myna_memory mem;
  myna_engine_options o = *e;
  fail(err);
  if (err->code != MYNA_E_LIMIT && err->code != MYNA_E_NOMEM) return EXIT_FAIL;
  int64_t memory = e->mem_limit ? e->mem_limit : physical_memory();
  myna_model_get_info(m, &info);
  o.mem_limit = 0;
  o.n_seq = 1;
  o.n_ctx = PAGE;
  if (myna_memory_plan(m, &o, &mem, NULL) < 0) return EXIT_FAIL;
  human_bytes(memory, have);
  human_bytes(mem.total, need);
  int64_t fits = context_that_fits(&mem, PAGE, memory, INT32_MAX);
  if (fits >= PAGE) return failed("within %s --ctx-size %lld would fit", have, (long long)fits);
  bool cached = !e->mem_weights_cached && mem.total - mem.weights <= memory;
  return failed("the least is %s, with --ctx-size %d%s%s", need, PAGE,
                e->n_batch == 0 || e->n_batch > PAGE ? "; a smaller --batch-size needs less" : "",
                cached ? "; --mem-weights cached does not count the mapped file" : "");
}

/* ---- timings ---- */

static int64_t peak_memory(void) {
  struct rusage ru;
  getrusage(RUSAGE_SELF, &ru);
#ifdef __APPLE__
  return ru.ru_maxrss;
#else
  return ru.ru_maxrss * 1024;
#endif
}

double prompt_rate(const myna_timings *t) {
  return t->prompt_s > 0 ? (double)(t->n_prompt - t->n_cached) / t->prompt_s : 0;
}
double gen_rate(const myna_timings *t) { return t->n_gen > 1 && t->gen_s > 0 ? (double)(t->n_gen - 1) / t->gen_s : 0; }

void print_timings(const options *o, double load_s, const myna_timings *t, const char *end) {
  char memory[32];
  if (o->quiet || o->no_perf) return;
  fflush(stdout); /* on a terminal this line comes last */
  fprintf(stderr, "load %.0f ms", load_s * 1e3);
  if (t->n_gen > 0) fprintf(stderr, " | first token %.0f ms", t->first_token_s * 1e3);
  fprintf(stderr, " | prompt %lld tokens, %.1f/s", (long long)t->n_prompt, prompt_rate(t));
  if (t->n_gen > 0) fprintf(stderr, " | generation %lld tokens, %.1f/s", (long long)t->n_gen, gen_rate(t));
  if (o->draft_model || (o->spec_type && strcmp(o->spec_type, "none") != 0))
    fprintf(stderr, " | guesses %lld, right %lld", (long long)t->n_drafted, (long long)t->n_accepted);
  fprintf(stderr, " | memory %s | end: %s\n", human_bytes(peak_memory(), memory), end);
}

void json_timings(double load_s, const myna_timings *t) {
  printf("\"load_s\":%.6f,\"first_token_s\":%.6f,\"prompt_n\":%lld,\"cached_n\":%lld,\"prompt_s\":%.6f,\"prompt_per_"
         "second\":%.3f,"
         "\"gen_n\":%lld,\"gen_s\":%.6f,\"gen_per_second\":%.3f,\"memory_bytes\":%lld",
         load_s, t->first_token_s, (long long)t->n_prompt, (long long)t->n_cached, t->prompt_s, prompt_rate(t),
         (long long)t->n_gen, t->gen_s, gen_rate(t), (long long)peak_memory());
}
