/* bench.c: myna__linear's speed, as shares of what the machine can do in the same minute.
 *
 *   test_kernels_linear --bench [-t TYPE,...] [-s NxK,...|unpack|mul|act] [-m M,...] [-j THREADS,...] [-l LEVEL] [-r SECONDS] [-p MEGABYTES]
 *
 * One row per case: GB/s of weight bytes, GMAC/s, and the share of the limit: of the read bandwidth or of the multiply
 * peak of the form, whichever bounds the case. Weights are copies of one matrix filling 384 MB (-p), so that a small batch
 * reads DRAM. Medians of samples; both limits are probed beside every sample, because the machine is shared. */
#include "kernels/table.h"
#include "linear_cases.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_LIST = 32, MAX_SAMPLES = 400 };

typedef struct options {
  const char *types, *shapes, *batches, *threads;
  double seconds;
  int64_t megabytes; /* copies of the matrix fill this much; little: weights come from the cache */
} options;

/* ---- limits ---- */

/* CPU time of this thread for one thread: what other processes take does not count. */
static double clock_of(int threads) {
  struct timespec t;
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct probe {
  const uint8_t *data;
  size_t chunk;
  volatile uint64_t sink;
} probe;

static void read_chunk(void *arg, int64_t unit, int worker) {
  probe *p = arg;
  const uint8_t *d = p->data + (size_t)unit * p->chunk;
  uint64_t s[8] = {0};
  for (size_t i = 0; i < p->chunk; i += 64) {
    __builtin_prefetch(d + i + 4096);
    const uint64_t *v = (const uint64_t *)(const void *)(d + i);
    for (int j = 0; j < 8; j++) s[j] ^= v[j];
  }
  for (int j = 1; j < 8; j++) s[0] ^= s[j];
  p->sink = s[0];
}

/* GB/s reading `bytes` with every thread of the pool. */
static double probe_read(myna__pool *pool, const uint8_t *data, size_t bytes) {
  probe p = {.data = data, .chunk = (size_t)1 << 20};
  double t = clock_of(myna__pool_size(pool));
  myna__pool_run(pool, (int64_t)(bytes / p.chunk), read_chunk, &p);
  return (double)bytes / (clock_of(myna__pool_size(pool)) - t) * 1e-9;
}

enum { PROBE_LOOPS = 20000 };
#if defined(__x86_64__)
#define PEAK(name, isa, type, reg, insn)                                                                           \
  __attribute__((target(isa))) static void name(void *arg, int64_t unit, int worker) {                             \
    type x = {0}, c0 = x, c1 = x, c2 = x, c3 = x, c4 = x, c5 = x, c6 = x, c7 = x, c8 = x, c9 = x, ca = x, cb = x;  \
    for (int i = 0; i < PROBE_LOOPS; i++)                                                                          \
      __asm__ volatile(insn " %12,%12,%0\n" insn " %12,%12,%1\n" insn " %12,%12,%2\n" insn " %12,%12,%3\n" insn    \
                            " %12,%12,%4\n" insn " %12,%12,%5\n" insn " %12,%12,%6\n" insn " %12,%12,%7\n" insn    \
                            " %12,%12,%8\n" insn " %12,%12,%9\n" insn " %12,%12,%10\n" insn " %12,%12,%11\n"       \
                       : "+v"(c0), "+v"(c1), "+v"(c2), "+v"(c3), "+v"(c4), "+v"(c5), "+v"(c6), "+v"(c7), "+v"(c8), \
                         "+v"(c9), "+v"(ca), "+v"(cb)                                                              \
                       : "v"(x));                                                                                  \
  }
PEAK(peak_vnni, "avx512f,avx512vnni", __m512i, "zmm", "vpdpbusd")
PEAK(peak_bf16, "avx512f,avx512bf16", __m512, "zmm", "vdpbf16ps")
PEAK(peak_fma, "avx512f", __m512, "zmm", "vfmadd231ps")
PEAK(peak_fma256, "avx2,fma", __m256, "ymm", "vfmadd231ps")
#endif

/* GMAC/s of the best instruction of a form at the level in force; 0 unknown. */
static double probe_peak(myna__pool *pool, myna__form f) {
#if defined(__x86_64__)
  bool wide = myna__cpu() == MYNA__CPU_AVX512 || myna__cpu() == MYNA__CPU_AVX512BF16;
  int per_op = f >= MYNA__FORM_Q32 ? 64 : f == MYNA__FORM_BF16 && myna__cpu() == MYNA__CPU_AVX512BF16 ? 32 : 16;
  myna__pool_fn fn = per_op == 64 ? peak_vnni : per_op == 32 ? peak_bf16 : peak_fma;
  if (!wide) fn = peak_fma256, per_op = f >= MYNA__FORM_Q32 ? 32 : 8; /* 256-bit multiply pipes are the same two */
  int n = myna__pool_size(pool);
  double t = clock_of(n);
  myna__pool_run(pool, n, fn, NULL);
  return (double)n * 12 * PROBE_LOOPS * per_op / (clock_of(n) - t) * 1e-9;
#else
  return 0;
#endif
}

/* ---- cases ---- */

static int parse_list(const char *s, int64_t *a, int64_t *b) {
  int n = 0;
  if (*s < '0' || *s > '9') return 0;
  for (char *end; *s && n < MAX_LIST; s = *end ? end + 1 : end, n++) {
    a[n] = strtoll(s, &end, 10);
    if (*end == 'x') b[n] = strtoll(end + 1, &end, 10);
  }
  return n;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Rows of one small matrix repeated to n_out rows, again and again through the whole buffer. */
static int64_t fill(const options *o, uint8_t *buf, myna__weight *w, myna_dtype t, int64_t n_in, int64_t n_out,
                    test_rng *rng) {
  enum { ROWS = 16 };
  myna__weight small;
  case_weight(&small, t, n_in, ROWS, 0, rng);
  *w = small;
  w->n_out = n_out;
  size_t bytes = 0;
  for (int p = 0; p < 3; p++) bytes += (size_t)(n_out * small.row_stride[p]);
  bytes = (bytes + 4095) / 4096 * 4096;
  int64_t copies = MYNA__MAX((int64_t)(((size_t)o->megabytes << 20) / bytes), 1);
  for (int64_t c = 0; c < copies; c++) {
    uint8_t *to = buf + (size_t)c * bytes;
    for (int p = 0; p < 3; p++) {
      if (c == 0) w->plane[p] = to;
      for (int64_t r = 0; r < n_out && small.row_stride[p]; r++, to += small.row_stride[p])
        memcpy(to, small.plane[p] + r % ROWS * small.row_stride[p], (size_t)small.row_stride[p]);
    }
  }
  w->expert_stride[3] = (int64_t)bytes; /* unused plane: distance between copies */
  case_weight_free(&small);
  return copies;
}

static void run_case(const options *o, myna_dtype t, int64_t n_out, int64_t n_in, int64_t m, int threads,
                     uint8_t *buf) {
  test_rng rng = {7};
  myna__weight w;
  int64_t copies = fill(o, buf, &w, t, n_in, n_out, &rng);
  myna__pool *pool = NULL;
  if (threads > 1 && myna__pool_new(&pool, threads, true, NULL) < 0) return;
  float *x = myna__alloc((size_t)(m * n_in) * 4), *y = myna__alloc((size_t)(m * n_out) * 4);
  for (int64_t i = 0; i < m * n_in; i++) x[i] = test_normal(&rng);
  const uint8_t *plane[3] = {w.plane[0], w.plane[1], w.plane[2]};
  myna__linear_args a = {.n_w = 1, .w = {&w}, .y = {y}, .ldy = {n_out}, .x = x, .ldx = n_in, .n_tok = m};
  size_t scratch_bytes = myna__linear_scratch(&a, m, threads);
  void *scratch = myna__alloc(scratch_bytes);
  const myna__ptype *pt = myna__ptype_of(t, false);
  double bytes = 0, macs = (double)m * (double)n_in * (double)n_out;
  for (int p = 0; p < 3; p++) bytes += (double)(n_out * w.row_stride[p]);
  static double sample[MAX_SAMPLES], share[MAX_SAMPLES];
  int n = 0;
  double start = myna__now();
  for (int64_t i = 0; n < MAX_SAMPLES && (n < 5 || myna__now() - start < o->seconds); i++) {
    for (int p = 0; p < 3; p++)
      if (plane[p]) w.plane[p] = plane[p] + i % copies * w.expert_stride[3];
    /* Both limits are measured beside every sample: other processes take their share of both. */
    size_t far = (size_t)((i + copies / 2) % copies * w.expert_stride[3]) & ~(size_t)63;
    double gbps = probe_read(pool, buf + far, ((size_t)bytes + ((size_t)1 << 20) - 1) >> 20 << 20),
           peak = probe_peak(pool, pt ? pt->form : MYNA__FORM_F32);
    double begin = clock_of(threads);
    myna__linear(&a, scratch, pool);
    double time = clock_of(threads) - begin;
    if (i == 0) continue;
    share[n] = MYNA__MAX(bytes / gbps, peak > 0 ? macs / peak : 0) * 1e-9 / time;
    sample[n++] = time;
  }
  qsort(sample, (size_t)n, sizeof *sample, compare);
  qsort(share, (size_t)n, sizeof *share, compare);
  double time = sample[n / 2];
  printf("%-6s %6lldx%-5lld M %-4lld j %d  %9.1f us (best %9.1f) %7.1f GB/s %8.1f GMAC/s  %5.1f %% of the limit\n",
         myna_dtype_name(t), (long long)n_out, (long long)n_in, (long long)m, threads, time * 1e6, sample[0] * 1e6,
         bytes / time * 1e-9, macs / time * 1e-9, 100 * share[n / 2]);
  fflush(stdout);
  myna__free(scratch, scratch_bytes);
  myna__free(x, (size_t)(m * n_in) * 4);
  myna__free(y, (size_t)(m * n_out) * 4);
  myna__pool_free(pool);
}

/* Unpack alone, weights in L2: GB/s of weight bytes and ns per strip and block. */
static void run_unpack(myna_dtype t, uint8_t *buf) {
  enum { N_IN = 4096, LOOPS = 200 };
  test_rng rng = {7};
  myna__weight w;
  fill(&(options){.megabytes = 0}, buf, &w, t, N_IN, MYNA__STRIP, &rng);
  const myna__ptype *pt = myna__ptype_of(t, false);
  if (!pt) return;
  myna__unpack_fn *fn = pt->form == MYNA__FORM_F32 ? myna__kernels()->unpack_f32[t] : myna__kernels()->unpack[t];
  myna__rows rows = {.p = {w.plane[0], w.plane[1], w.plane[2]},
                     .stride = {w.row_stride[0], w.row_stride[1], w.row_stride[2]},
                     .group = w.group,
                     .scale_type = w.scale_type};
  static myna__panel_f32 panel;
  double best = 1e9;
  for (int rep = 0; rep < 20; rep++) {
    double begin = clock_of(1);
    for (int i = 0; i < LOOPS; i++)
      for (int64_t k = 0; k < N_IN; k += MYNA__KBLOCK) fn(&panel, pt, &rows, k, MYNA__KBLOCK);
    best = MYNA__MIN(best, (clock_of(1) - begin) / LOOPS);
  }
  double peak = probe_peak(NULL, MYNA__FORM_F32);
  printf("%-6s unpack %6.1f ns per 16 x 256, %6.1f GB/s, about %.0f cycles\n", myna_dtype_name(t),
         best / (N_IN / 256) * 1e9, (double)(MYNA__STRIP * w.row_stride[0]) / best * 1e-9,
         best / (N_IN / 256) * peak / (myna__cpu() >= MYNA__CPU_AVX512 ? 32 : 16) * 1e9);
}

/* Multiply alone: one grain x 256 k in L1 times n_col columns: GMAC/s and the share of the peak. */
static void run_mul(myna_dtype t, int64_t n_col) {
  const myna__ptype *pt = myna__ptype_of(t, false);
  if (!pt || n_col > 64) return;
  static _Alignas(64) uint8_t panel[MYNA__GRAIN * sizeof(myna__panel_f32)], act[64 * 2048];
  static _Alignas(64) float acc[64 * 48];
  myna__arows rows = myna__arows_layout(pt->form, 256);
  rows.row = act;
  test_rng rng = {7};
  /* Real data: multiplying zeros takes less power, and so a higher clock. Scales stay 1. */
  float *f = (float *)(void *)panel;
  for (size_t i = 0; i < sizeof panel / 4; i++) f[i] = 1.0f;
  for (size_t i = 0; i < sizeof act / 4; i++) ((float *)(void *)act)[i] = 1.0f;
  if (pt->form >= MYNA__FORM_Q32) {
    for (int s = 0; s < MYNA__GRAIN; s++)
      for (int i = 0; i < 4096; i++)
        panel[(size_t)s * myna__panel_bytes(pt->form) + (size_t)i] =
            (uint8_t)(pt->shift == 7 ? test_u64(&rng) : test_u64(&rng) & 15);
    for (int64_t c = 0; c < n_col; c++)
      for (int i = 0; i < 256; i++) act[(size_t)c * rows.stride + (size_t)i] = (uint8_t)(test_int(&rng, 127) - 63);
    if (pt->form == MYNA__FORM_Q256) /* no 16 such codes have more */
      for (int64_t c = 0; c < n_col; c++) *(int32_t *)(void *)(act + (size_t)c * rows.stride + rows.mass) = 16 * 63;
  }
  myna__mul m = {.type = pt,
                 .panel = panel,
                 .n_strip = MYNA__GRAIN,
                 .n = 256,
                 .act = rows,
                 .n_col = n_col,
                 .acc = acc,
                 .ld_acc = 48};
  myna__mul_fn *fn = pt->form == MYNA__FORM_F32 ? myna__kernels()->mul_f32[t] : myna__kernels()->mul[t];
  double best = 1e9;
  int loops = (int)(20000 / n_col);
  for (int rep = 0; rep < 20; rep++) {
    double begin = clock_of(1);
    for (int i = 0; i < loops; i++) fn(&m);
    best = MYNA__MIN(best, (clock_of(1) - begin) / loops);
  }
  double macs = 16.0 * m.n_strip * 256 * (double)n_col, peak = probe_peak(NULL, pt->form);
  printf("%-6s mul M %-3lld %8.1f ns, %7.1f GMAC/s, %5.1f %% of peak (%.1f)\n", myna_dtype_name(t), (long long)n_col,
         best * 1e9, macs / best * 1e-9, 100 * macs / best * 1e-9 / peak, peak);
}

/* Activation rows alone: ns per row of 2048. */
static void run_act(myna_dtype t) {
  enum { N = 2048, LOOPS = 1000 };
  const myna__ptype *pt = myna__ptype_of(t, false);
  if (!pt || pt->form == MYNA__FORM_F32) return;
  const myna__ktable *kt = myna__kernels();
  void (*fn)(uint8_t *, const float *, int64_t) = pt->form == MYNA__FORM_BF16  ? kt->quant_bf16
                                                  : pt->form == MYNA__FORM_Q32 ? kt->quant_q32
                                                                               : kt->quant_q256;
  static float x[N];
  static _Alignas(64) uint8_t row[4 * N];
  test_rng rng = {7};
  for (int i = 0; i < N; i++) x[i] = test_normal(&rng);
  double best = 1e9;
  for (int rep = 0; rep < 20; rep++) {
    double begin = clock_of(1);
    for (int i = 0; i < LOOPS; i++) fn(row, x, N);
    best = MYNA__MIN(best, (clock_of(1) - begin) / LOOPS);
  }
  printf("%-6s act %6.1f ns per row of %d\n", myna_dtype_name(t), best * 1e9, N);
}

static void run_type(const options *o, const char *name, uint8_t *buf) {
  int64_t n_out[MAX_LIST], n_in[MAX_LIST], m[MAX_LIST], j[MAX_LIST];
  int shapes = parse_list(o->shapes, n_out, n_in), batches = parse_list(o->batches, m, m),
      threads = parse_list(o->threads, j, j);
  int t = myna_dtype_from_name(name);
  if (t < 0) {
    fprintf(stderr, "no type %s\n", name);
    return;
  }
  if (strcmp(o->shapes, "act") == 0) run_act((myna_dtype)t);
  if (strcmp(o->shapes, "unpack") == 0) run_unpack((myna_dtype)t, buf);
  for (int b = 0; b < batches && strcmp(o->shapes, "mul") == 0; b++) run_mul((myna_dtype)t, m[b]);
  for (int s = 0; s < shapes; s++)
    for (int b = 0; b < batches; b++)
      for (int k = 0; k < threads; k++) run_case(o, (myna_dtype)t, n_out[s], n_in[s], m[b], (int)j[k], buf);
}

int bench_linear(int argc, char **argv) {
  options o = {"Q4_K,Q6_K,Q8_0,Q4_0,MLX4,F16,BF16,F32",
               "2048x2048,8192x2048,2048x8192,128256x2048",
               "1,4,8,32,512",
               "1,2",
               0.5,
               384};
  for (int i = 0; i + 1 < argc; i += 2) {
    const char *v = argv[i + 1];
    switch (argv[i][1]) {
    case 't': o.types = v; break;
    case 's': o.shapes = v; break;
    case 'm': o.batches = v; break;
    case 'j': o.threads = v; break;
    case 'r': o.seconds = atof(v); break;
    case 'p': o.megabytes = atoll(v); break;
    case 'l':
      if (myna__cpu_from_name(v) >= 0) myna__cpu_force((myna__cpu_level)myna__cpu_from_name(v));
      break;
    default: fprintf(stderr, "unknown option %s\n", argv[i]); return 2;
    }
  }
  size_t size = ((size_t)o.megabytes << 20) + ((size_t)1200 << 20); /* the largest matrix may exceed it */
  uint8_t *buf = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (buf == MAP_FAILED) return 1;
  madvise(buf, size, MADV_HUGEPAGE);
  char list[512];
  snprintf(list, sizeof list, "%s", o.types);
  for (char *save, *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) run_type(&o, name, buf);
  munmap(buf, size);
  return 0;
}
