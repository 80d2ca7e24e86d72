/* bench_grammar.c: what a grammar costs per token.
 *
 *     bench_grammar VOCAB.gguf [--requests N] [--tokens N] FILE...      .gbnf, or .json: a JSON schema
 *
 * Each request takes random legal tokens. Printed are times of the mask (which tokens are legal) and of accepting the token taken, in microseconds of CPU time: the
 * first request alone, which finds nothing known, and all others, which share what it met. Then what sampling costs under the masks. */
#include "engine/grammar_run.h"
#include "engine/sampler.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_TIMES = 1 << 22 };

typedef struct times {
  float *us;
  int n;
} times;

/* Of this thread: other work on the machine does not count. */
static double cpu_time(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return x < y ? -1 : x > y;
}

static void add(times *t, double since) {
  if (t->n < MAX_TIMES) t->us[t->n++] = (float)((cpu_time() - since) * 1e6);
}

static void print(const char *what, times *t) {
  qsort(t->us, (size_t)t->n, sizeof *t->us, by_value);
  double sum = 0;
  for (int i = 0; i < t->n; i++) sum += (double)t->us[i];
  if (t->n > 0)
    printf("  %-28s %8d  median %8.2f  mean %8.2f  p99 %8.1f  worst %9.1f us\n", what, t->n, (double)t->us[t->n / 2],
           sum / t->n, (double)t->us[(int)(t->n * 0.99)], (double)t->us[t->n - 1]);
  t->n = 0;
}

static uint64_t seed = 1;
static uint64_t random_u64(void) {
  uint64_t z = (seed += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  return z ^ (z >> 31);
}

static int32_t pick(const uint64_t *bits, int64_t n_words, int64_t n_legal) {
  int64_t k = (int64_t)(random_u64() % (uint64_t)n_legal);
  for (int64_t w = 0; w < n_words; w++) {
    int here = __builtin_popcountll(bits[w]);
    if (k >= here) {
      k -= here;
      continue;
    }
    uint64_t x = bits[w];
    for (; k > 0; k--) x &= x - 1;
    return (int32_t)(w * 64 + __builtin_ctzll(x));
  }
  return -1;
}

typedef struct bench {
  const myna__tokenizer *tk;
  int64_t n_vocab;
  int tokens;
  times mask, accept, greedy, drawn;
  myna__sampler *best, *chain;
  float *logits;
} bench;

static int request(bench *b, myna_grammar *g, bool sample, myna_err *err) {
  myna__grun *r;
  TRY(myna__grun_new(&r, g, b->tk, b->n_vocab, err));
  for (int i = 0; i < b->tokens; i++) {
    int64_t n;
    double t = cpu_time();
    const uint64_t *bits = myna__grun_mask(r, &n, err);
    add(&b->mask, t);
    if (!bits) break;
    int32_t id = pick(bits, (b->n_vocab + 63) / 64, n);
    if (sample && n > 1) {
      t = cpu_time();
      myna__sampler_sample_allowed(b->best, b->logits, bits, n, NULL);
      add(&b->greedy, t);
      t = cpu_time();
      myna__sampler_sample_allowed(b->chain, b->logits, bits, n, NULL);
      add(&b->drawn, t);
    }
    if (myna__token_is_eog(b->tk, id)) break;
    t = cpu_time();
    myna__grun_accept(r, id);
    add(&b->accept, t);
  }
  myna__grun_free(r);
  return err->code;
}

static int measure(bench *b, const char *path, int requests, myna_err *err) {
  myna__file f;
  myna_grammar *g = NULL;
  TRY(myna__file_open(&f, path, true, err));
  size_t n = strlen(path);
  double t = cpu_time();
  int rc = n > 5 && strcmp(path + n - 5, ".json") == 0
               ? myna_grammar_from_schema(&g, (const char *)f.data, f.size, NULL, err)
               : myna_grammar_from_gbnf(&g, (const char *)f.data, f.size, NULL, err);
  myna__file_close(&f);
  if (rc < 0) return rc;
  printf("%s: compiled in %.2f ms, %lld nodes", path, (cpu_time() - t) * 1e3, (long long)g->n_nodes);
  t = cpu_time();
  myna__grun *r;
  TRY(myna__grun_new(&r, g, b->tk, b->n_vocab, err));
  myna__grun_free(r);
  printf(", prepared in %.2f ms (%d classes)\n", (cpu_time() - t) * 1e3, g->n_classes);
  rc = request(b, g, false, err);
  print("first request: mask", &b->mask);
  print("  accept", &b->accept);
  for (int i = 0; i < requests && rc == 0; i++) rc = request(b, g, i < 3, err);
  print("other requests: mask", &b->mask);
  print("  accept", &b->accept);
  print("  greedy sampling", &b->greedy);
  print("  default sampling", &b->drawn);
  printf("  %.1f MB known\n", (double)(myna__gmachine_bytes(g->machine) + myna__gmasks_bytes(g)) / 1e6);
  myna_grammar_free(g);
  return rc;
}

static int run(int argc, char **argv, myna_err *err) {
  myna_model *m;
  bench b = {.tokens = 400};
  int requests = 30;
  TRY(myna_model_open(&m, argv[1], &(myna_model_options){.header_only = true}, err));
  TRY(myna__model_tokenizer(m, &b.tk, err));
  b.n_vocab = myna__tokenizer_data(b.tk)->n_tokens;
  times *all[] = {&b.mask, &b.accept, &b.greedy, &b.drawn};
  for (size_t i = 0; i < MYNA__COUNT(all); i++)
    if (!(all[i]->us = malloc(MAX_TIMES * sizeof(float)))) return MYNA_E_NOMEM;
  if (!(b.logits = malloc((size_t)b.n_vocab * sizeof(float)))) return MYNA_E_NOMEM;
  for (int64_t i = 0; i < b.n_vocab; i++) b.logits[i] = (float)(random_u64() >> 40) * 0x1p-21f;
  myna_sampling s;
  myna_sampling_default(&s);
  TRY(myna__sampler_new(&b.chain, &s, NULL, b.n_vocab, 4096, err));
  s.temperature = 0;
  TRY(myna__sampler_new(&b.best, &s, NULL, b.n_vocab, 4096, err));
  printf("%lld tokens\n", (long long)b.n_vocab);
  for (int i = 0; i < 100; i++) {
    double t = cpu_time();
    myna__sampler_sample(b.best, b.logits, NULL);
    add(&b.greedy, t);
    t = cpu_time();
    myna__sampler_sample(b.chain, b.logits, NULL);
    add(&b.drawn, t);
  }
  print("no grammar: greedy sampling", &b.greedy);
  print("  default sampling", &b.drawn);
  for (int i = 2; i < argc; i++) {
    if (strcmp(argv[i], "--requests") == 0 && i + 1 < argc)
      requests = atoi(argv[++i]);
    else if (strcmp(argv[i], "--tokens") == 0 && i + 1 < argc)
      b.tokens = atoi(argv[++i]);
    else
      TRY(measure(&b, argv[i], requests, err));
  }
  myna__sampler_free(b.best);
  myna__sampler_free(b.chain);
  for (size_t i = 0; i < MYNA__COUNT(all); i++) free(all[i]->us);
  free(b.logits);
  myna_model_close(m);
  return 0;
}

int main(int argc, char **argv) {
  myna_err err = {0};
  char text[1024];
  if (argc < 3) {
    fprintf(stderr, "usage: bench_grammar VOCAB.gguf [--requests N] [--tokens N] FILE...\n");
    return 2;
  }
  if (run(argc, argv, &err) == 0) return 0;
  fprintf(stderr, "%s\n", myna_error_format(&err, text, sizeof text));
  return 1;
}
