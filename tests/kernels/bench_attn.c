/* bench_attn.c: speed of attention over pages and of the row operations.
 *
 *   test_kernels_attn --bench [-j THREADS] [-l LEVEL] [-t KV TYPE] [-v TYPE OF V] [-b 0|1: bf16 dot] [-d HEAD DIM] [-r SECONDS] [-p MEGABYTES] [-g ROWS PER KV HEAD] [-s 1: shared prefixes, N: of N sequences only] [-n POSITIONS: 1 to 64 tokens behind so many]
 *   test_kernels_rows --bench [-j THREADS] [-l LEVEL] [-r SECONDS]
 *
 * Attention with 32 heads (-g) over 8 KV heads: prefill of 512 tokens in GMAC/s (of visible positions only), decode of one token in
 * GB/s of K and V read; decode walks copies ("layers") of the cache that fill 384 MB (-p), so that it reads DRAM. Medians. One
 * thread counts its CPU time, which other processes do not disturb much; limits: /work/shared/tools/roofline.c, bench.c. */
#include "attn_bench.h"
#include "kernels/attn_blocks.h"
#include "test.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>
#include <sys/mman.h>
#include <time.h>

enum { KV_HEADS = 8, MAX_SAMPLES = 400 };
static int64_t n_head = 32;

typedef struct options {
  int threads;
  myna_dtype type, type_v;
  int64_t dim, megabytes;
  int64_t shared, depth;
  double seconds;
} options;

static double clock_of(int threads) {
  struct timespec t;
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Median and best of calls of fn(arg, i). */
static void measure(const options *o, void (*fn)(void *arg, int64_t i), void *arg, double *median, double *best) {
  static double sample[MAX_SAMPLES];
  int n = 0;
  double start = clock_of(2);
  fn(arg, 0);
  while (n < MAX_SAMPLES && (n < 5 || clock_of(2) - start < o->seconds)) {
    double begin = clock_of(o->threads);
    fn(arg, n + 1);
    sample[n++] = clock_of(o->threads) - begin;
  }
  qsort(sample, (size_t)n, sizeof *sample, compare);
  *median = sample[n / 2];
  *best = sample[0];
}

/* GMAC/s of one thread that only multiplies bf16 pairs, by its CPU time, in the same minute; 0 unknown. */
#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bf16"))) static double peak_bf16(void) {
  enum { LOOPS = 2000000 };
  __m512 x = {0}, a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
  double begin = clock_of(1);
#define DP(n) "vdpbf16ps %12,%12,%" #n "\n"
  for (int n = 0; n < LOOPS; n++)
    __asm__ volatile(DP(0) DP(1) DP(2) DP(3) DP(4) DP(5) DP(6) DP(7) DP(8) DP(9) DP(10) DP(11)
                     : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h), "+v"(i), "+v"(j),
                       "+v"(k), "+v"(l)
                     : "v"(x));
#undef DP
  return 32.0 * 12 * LOOPS / (clock_of(1) - begin) * 1e-9;
}
/* The same of float multiply-adds. */
__attribute__((target("avx2,fma"))) static double peak_fma(void) {
  enum { LOOPS = 500000 };
  __m256 x = {0}, a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x;
  double begin = clock_of(1);
#define MA(n) "vfmadd231ps %10,%10,%" #n "\n"
  for (int n = 0; n < LOOPS; n++)
    __asm__ volatile(MA(0) MA(1) MA(2) MA(3) MA(4) MA(5) MA(6) MA(7) MA(8) MA(9)
                     : "+x"(a), "+x"(b), "+x"(c), "+x"(d), "+x"(e), "+x"(f), "+x"(g), "+x"(h), "+x"(i), "+x"(j)
                     : "x"(x));
#undef MA
  return 8.0 * 10 * LOOPS / (clock_of(1) - begin) * 1e-9;
}
#endif
static double peak(void) {
#if defined(__x86_64__)
  if (myna__cpu_supported(MYNA__CPU_AVX512BF16)) return peak_bf16();
  if (myna__cpu_supported(MYNA__CPU_AVX2)) return peak_fma();
#endif
  return 0;
}

/* ---- attention ---- */

typedef struct attn_case {
  myna__attn_args a;
  const float *k, *v;
  void *scratch;
  myna__pool *pool;
  uint8_t *base;
  int64_t copies;
  bool apart;
  size_t copy_bytes;
} attn_case;

static void run_attn(void *arg, int64_t i) {
  attn_case *c = arg;
  c->a.kv.pool = c->base + (size_t)(i % c->copies) * c->copy_bytes;
  (c->apart ? myna__attn_apart : myna__attn)(&c->a, c->scratch, c->pool);
}

static void run_write(void *arg, int64_t i) {
  attn_case *c = arg;
  c->a.kv.pool = c->base + (size_t)(i % c->copies) * c->copy_bytes;
  myna__kv_write(&c->a.kv, c->k, KV_HEADS * c->a.kv.dim_k, c->v, KV_HEADS * c->a.kv.dim_k, c->a.seq, c->a.pos,
                 c->a.n_tok, c->pool);
}

static float *normals(int64_t n) {
  test_rng rng = {7};
  float *p = myna__alloc((size_t)n * sizeof *p);
  for (int64_t i = 0; i < n; i++) p[i] = test_normal(&rng);
  return p;
}

/* Attention over n_page pages at mem with tables of table_len; tokens are left to the caller. */
static myna__attn_args args_of(const options *o, uint8_t *mem, int64_t n_page, const int32_t *table, int64_t table_len,
                               const float *q, float *out) {
  size_t page = myna__kv_page_bytes(o->type, o->type_v, KV_HEADS, o->dim, o->dim);
  return (myna__attn_args){.kv = {.pool = mem,
                                  .page_stride = (int64_t)page,
                                  .type_k = o->type,
                                  .type_v = o->type_v,
                                  .n_kv_head = KV_HEADS,
                                  .dim_k = o->dim,
                                  .dim_v = o->dim,
                                  .n_page = n_page,
                                  .table = table,
                                  .table_len = table_len},
                           .q = q,
                           .ldq = n_head * o->dim,
                           .out = out,
                           .ldo = n_head * o->dim,
                           .n_head = n_head,
                           .scale = 1.0f / sqrtf((float)o->dim)};
}

static void attn_row(const options *o, uint8_t *mem, myna__pool *pool, int64_t depth, int64_t n_tok, bool write) {
  int64_t end = depth + n_tok, n_page = (end + MYNA__PAGE - 1) / MYNA__PAGE, width = KV_HEADS * o->dim,
          all = n_page * MYNA__PAGE;
  int32_t *ints = myna__alloc((size_t)(n_page + 2 * all) * sizeof *ints), *seq = ints + n_page, *pos = seq + all;
  size_t page = myna__kv_page_bytes(o->type, o->type_v, KV_HEADS, o->dim, o->dim);
  attn_case c = {.pool = pool, .base = mem, .copy_bytes = page * (size_t)n_page};
  c.copies = MYNA__MAX(1, (int64_t)(((size_t)o->megabytes << 20) / c.copy_bytes));
  for (int64_t i = 0; i < n_page; i++) ints[i] = (int32_t)i;
  for (int64_t i = 0; i < all; i++) seq[i] = 0, pos[i] = (int32_t)i;
  float *k = normals(all * width), *q = normals(n_tok * n_head * o->dim), *out = normals(n_tok * n_head * o->dim);
  c.k = k + depth * width, c.v = c.k;
  c.a = args_of(o, mem, n_page, ints, n_page, q, out);
  c.a.seq = seq + depth, c.a.pos = pos + depth, c.a.n_tok = n_tok;
  myna__kv_write(&c.a.kv, k, width, k, width, seq, pos, all, pool);
  for (int64_t i = 1; i < c.copies && !write; i++) memcpy(mem + (size_t)i * c.copy_bytes, mem, c.copy_bytes);
  size_t scratch = myna__attn_scratch(&c.a, n_tok, o->threads);
  c.scratch = myna__alloc(scratch);
  double median, best, positions = 0, bytes = (double)c.copy_bytes * (double)end / (double)all;
  measure(o, write ? run_write : run_attn, &c, &median, &best);
  for (int64_t t = 0; t < n_tok; t++) positions += (double)(depth + t + 1);
  printf("%-12s %-4s/%-4s dim %-3lld j %d  %s %3lld @ %-5lld %9.1f us (best %9.1f)", myna__cpu_name(myna__cpu()),
         myna_dtype_name(o->type), myna_dtype_name(o->type_v), (long long)o->dim, o->threads,
         write       ? "write  "
         : n_tok > 1 ? "prefill"
                     : "decode ",
         (long long)n_tok, (long long)depth, median * 1e6, best * 1e6);
  if (write)
    printf("  %.2f ns per value\n", median * 1e9 / (double)(2 * n_tok * width));
  else if (n_tok == 1)
    printf(" %8.1f GB/s\n", bytes / median * 1e-9);
  else {
    double macs = positions * n_head * 2 * (double)o->dim / median * 1e-9, limit = peak() * o->threads;
    printf(" %8.1f GMAC/s, %.1f %% of the peak (%.1f)\n", macs, limit > 0 ? 100 * macs / limit : 0, limit);
  }
  fflush(stdout);
  myna__free(c.scratch, scratch);
  myna__free(k, (size_t)(all * width) * 4);
  myna__free(q, (size_t)(n_tok * n_head * o->dim) * 4);
  myna__free(out, (size_t)(n_tok * n_head * o->dim) * 4);
  myna__free(ints, (size_t)(n_page + 2 * all) * sizeof *ints);
}

/* One token of each of n sequences behind a prefix of `shared` positions and `own` positions of its own, with the prefix read for each or once. */
static void shared_row(const options *o, uint8_t *mem, myna__pool *pool, int64_t n, int64_t shared, int64_t own) {
  int64_t pages = shared / MYNA__PAGE, tail = (own + MYNA__PAGE) / MYNA__PAGE, len = pages + tail,
          width = KV_HEADS * o->dim;
  int64_t n_page = pages + n * tail;
  int32_t *ints = myna__alloc((size_t)(n * len + 2 * n) * sizeof *ints), *seq = ints + n * len, *pos = seq + n;
  size_t page = myna__kv_page_bytes(o->type, o->type_v, KV_HEADS, o->dim, o->dim);
  attn_case c = {.pool = pool, .base = mem, .copy_bytes = page * (size_t)n_page};
  c.copies = MYNA__MAX(1, (int64_t)(((size_t)o->megabytes << 20) / c.copy_bytes));
  for (int64_t s = 0; s < n; s++)
    for (int64_t i = 0; i < len; i++) ints[s * len + i] = (int32_t)(i < pages ? i : pages + s * tail + i - pages);
  float *kv = normals(MYNA__PAGE * width), *q = normals(n * n_head * o->dim), *out = normals(n * n_head * o->dim);
  c.a = args_of(o, mem, n_page, ints, len, q, out);
  c.a.seq = seq, c.a.pos = pos, c.a.n_tok = n;
  int32_t at[MYNA__PAGE], zero[MYNA__PAGE] = {0};
  for (int i = 0; i < MYNA__PAGE; i++) at[i] = i;
  myna__kv_write(&c.a.kv, kv, width, kv, width, zero, at, MYNA__PAGE, NULL);
  const uint8_t *first = mem + (size_t)ints[0] * page;
  for (int64_t i = 0; i < n_page * c.copies; i++)
    if (mem + (size_t)i * page != first) memcpy(mem + (size_t)i * page, first, page);
  for (int64_t s = 0; s < n; s++) seq[s] = (int32_t)s, pos[s] = (int32_t)(pages * MYNA__PAGE + own);
  size_t scratch = myna__attn_scratch(&c.a, n, o->threads);
  c.scratch = myna__alloc(scratch);
  double median[2], best[2];
  for (int i = 0; i < 2; i++) {
    c.apart = i == 0;
    measure(o, run_attn, &c, &median[i], &best[i]);
  }
  double macs = (double)(n * (shared + own + 1) * n_head * 2 * o->dim) / median[1] * 1e-9, limit = peak() * o->threads;
  printf("%-12s %-4s/%-4s dim %-3lld j %d  shared  %3lld @ %lld+%lld: apart %9.1f us (best %9.1f), together %9.1f "
         "(%9.1f), %.2f; %.1f GMAC/s, %.0f %% of the peak\n",
         myna__cpu_name(myna__cpu()), myna_dtype_name(o->type), myna_dtype_name(o->type_v), (long long)o->dim,
         o->threads, (long long)n, (long long)shared, (long long)own, median[0] * 1e6, best[0] * 1e6, median[1] * 1e6,
         best[1] * 1e6, median[0] / median[1], macs, limit > 0 ? 100 * macs / limit : 0);
  fflush(stdout);
  myna__free(c.scratch, scratch);
  myna__free(kv, (size_t)(MYNA__PAGE * width) * 4);
  myna__free(q, (size_t)(n * n_head * o->dim) * 4);
  myna__free(out, (size_t)(n * n_head * o->dim) * 4);
  myna__free(ints, (size_t)(n * len + 2 * n) * sizeof *ints);
}

static void shared_rows(const options *o, uint8_t *mem, myna__pool *pool) {
  static const int64_t n[] = {2, 4, 8, 16, 32}, shared[] = {128, 512, 4096};
  if (o->shared > 1) {
    shared_row(o, mem, pool, o->shared, 4096, 100);
    return;
  }
  for (int i = 0; i < 5; i++)
    for (int k = 0; k < 3; k++) shared_row(o, mem, pool, n[i], shared[k], 100);
}

/* Options come in pairs; 0 on an unknown one. */
static int parse(options *o, int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *v = argv[i + 1];
    switch (argv[i][1]) {
    case 's': o->shared = atoll(v); break;
    case 'n': o->depth = atoll(v); break;
    case 'g': n_head = KV_HEADS * atoll(v); break;
    case 'j': o->threads = atoi(v); break;
    case 'd': o->dim = atoll(v); break;
    case 'r': o->seconds = atof(v); break;
    case 'p': o->megabytes = atoll(v); break;
    case 't': o->type = o->type_v = (myna_dtype)myna_dtype_from_name(v); break;
    case 'v': o->type_v = (myna_dtype)myna_dtype_from_name(v); break;
    case 'b': myna__force_bf16_dot(atoi(v) != 0); break;
    case 'l':
      if (myna__cpu_from_name(v) >= 0) myna__cpu_force((myna__cpu_level)myna__cpu_from_name(v));
      break;
    default: fprintf(stderr, "unknown option %s\n", argv[i]); return 0;
    }
  }
  return 1;
}

int bench_attn(int argc, char **argv) {
  options o = {.threads = 0, .type = MYNA_BF16, .type_v = MYNA_BF16, .seconds = 0.5, .megabytes = 384};
  if (!parse(&o, argc, argv)) return 2;
  size_t size = ((size_t)o.megabytes << 20) + (512u << 20);
  uint8_t *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mem == MAP_FAILED) return 1;
  madvise(mem, size, MADV_HUGEPAGE);
  for (options r = o, *p = &r; p; p = NULL)
    for (int64_t dim = o.dim ? o.dim : 64; dim <= (o.dim ? o.dim : 128); dim *= 2)
      for (int j = o.threads ? o.threads : 1; j <= (o.threads ? o.threads : 2); j++) {
        myna__pool *pool = NULL;
        if (j > 1 && myna__pool_new(&pool, j, true, NULL) < 0) return 1;
        r.dim = dim;
        r.threads = j;
        if (o.shared) {
          shared_rows(&r, mem, pool);
          myna__pool_free(pool);
          continue;
        }
        for (int64_t n = 1; o.depth > 0 && n <= 64; n *= 2) attn_row(&r, mem, pool, o.depth, n, false);
        if (o.depth > 0) {
          myna__pool_free(pool);
          continue;
        }
        attn_row(&r, mem, pool, 0, 512, false);
        attn_row(&r, mem, pool, 4096, 512, false);
        attn_row(&r, mem, pool, 2048, 1, false);
        attn_row(&r, mem, pool, 16384, 1, false);
        attn_row(&r, mem, pool, 0, 512, true);
        myna__pool_free(pool);
      }
  munmap(mem, size);
  return 0;
}

/* ---- rows ---- */

typedef struct rows_case {
  float *x, *y, *w;
  int32_t *pos;
  myna__pool *pool;
  int what;
} rows_case;

enum { TOKENS = 512, WIDTH = 2048, ROPE_DIM = 64 };
static const char *const row_names[] = {"rms_norm",  "layer_norm",       "softmax",      "gated silu",
                                        "rope neox", "rope interleaved", "rope 1 token", "unary exp"};

static void run_row(void *arg, int64_t i) {
  rows_case *c = arg;
  myna__rope_args r = {.y = c->y,
                       .ldy = WIDTH,
                       .x = c->x,
                       .ldx = WIDTH,
                       .pos = c->pos,
                       .n_tok = c->what == 6 ? 1 : TOKENS,
                       .n_head = WIDTH / ROPE_DIM,
                       .dim = ROPE_DIM,
                       .n_rot = ROPE_DIM,
                       .interleaved = c->what == 5,
                       .base = 500000,
                       .freq_scale = 1};
  switch (c->what) {
  case 0: myna__rms_norm(c->y, WIDTH, c->x, WIDTH, c->w, 1e-5f, TOKENS, WIDTH, c->pool); break;
  case 1: myna__layer_norm(c->y, WIDTH, c->x, WIDTH, c->w, c->w, 1e-5f, TOKENS, WIDTH, c->pool); break;
  case 2: myna__softmax(c->y, WIDTH, c->x, WIDTH, 1, TOKENS, WIDTH, c->pool); break;
  case 3: myna__gated(c->y, WIDTH, c->x, WIDTH, c->y, WIDTH, MYNA__GATE_SILU, TOKENS, WIDTH, c->pool); break;
  case 7: myna__unary(MYNA__FN_EXP, c->y, c->x, TOKENS * WIDTH); break;
  default: myna__rope(&r, c->pool); break;
  }
}

int bench_rows(int argc, char **argv) {
  options o = {.threads = 1, .seconds = 0.3};
  if (!parse(&o, argc, argv)) return 2;
  rows_case c = {
      .x = normals(TOKENS * WIDTH), .y = normals(TOKENS * WIDTH), .w = normals(WIDTH), .pos = myna__alloc(TOKENS * 4)};
  for (int i = 0; i < TOKENS; i++) c.pos[i] = 1000 + i;
  if (o.threads > 1 && myna__pool_new(&c.pool, o.threads, true, NULL) < 0) return 1;
  for (c.what = 0; c.what < (int)(sizeof row_names / sizeof *row_names); c.what++) {
    double median, best, n = c.what == 6 ? WIDTH : (double)TOKENS * WIDTH;
    measure(&o, run_row, &c, &median, &best);
    printf("%-12s j %d %-17s %9.1f us (best %9.1f)  %.3f ns per value\n", myna__cpu_name(myna__cpu()), o.threads,
           row_names[c.what], median * 1e6, best * 1e6, median * 1e9 / n);
  }
  myna__pool_free(c.pool);
  myna__free(c.x, TOKENS * WIDTH * 4);
  myna__free(c.y, TOKENS * WIDTH * 4);
  myna__free(c.w, WIDTH * 4);
  myna__free(c.pos, TOKENS * 4);
  return 0;
}
