/* probe.c: what the machine can do at this moment, measured beside every sample of bench.py: reading the model's file through its
 * mapping, multiply-add peaks, and how far apart the cores are. One program without libmyna, so that it cannot share its faults.
 *
 *   probe [-t THREADS] [FILE]      everything once, one line of JSON
 *   probe [-t THREADS] -s [FILE]   one line of JSON for each line read: "quick" (cores and reading) or "all"
 *
 * Rates are of all threads together and the best of a few short runs: other work on the machine only lowers them. One multiply-add is
 * two operations. What the CPU lacks is left out. Instructions are picked at run time; nothing needs -march. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#endif

enum { MAX_THREADS = 512, MAX_CPUS = 1024, MAX_PAIRS = 8, LINE = 64, BATCHES = 100, THROWS = 20 };

/* Longer files are measured by their first part: enough to miss every cache. */
static const size_t READ_MAX = (size_t)1 << 30;
/* Round trip of a cache line, ns: cores below one last-level cache are far under this, others far above. */
static const double NEAR_NS = 200;

static atomic_ullong sink; /* results go here, so that nothing measured is dead */

static double seconds_of(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

#define INLINE static inline __attribute__((always_inline))

/* ---- reading: one body, compiled for three widths ---- */

typedef uint64_t v8 __attribute__((vector_size(64), may_alias, aligned(64)));

/* Prefetch two pages ahead: hardware prefetchers stop at a page's end. It may point behind the file; that is harmless. */
INLINE uint64_t read_body(const char *p, size_t n) {
  v8 a = {0}, b = {0}, c = {0}, d = {0};
  for (size_t i = 0; i + 256 <= n; i += 256) {
    for (int k = 0; k < 256; k += LINE) __builtin_prefetch((const void *)((uintptr_t)p + i + (uintptr_t)k + 8192));
    const v8 *x = (const v8 *)(p + i);
    a ^= x[0];
    b ^= x[1];
    c ^= x[2];
    d ^= x[3];
  }
  a ^= b ^ c ^ d;
  return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}

static uint64_t read_plain(const char *p, size_t n) { return read_body(p, n); }

/* ---- peaks: 12 to 16 independent sums hide the latency; they start apart, or the compiler merges them ---- */

typedef float v4f __attribute__((vector_size(16)));

static uint64_t f32_plain(long n) {
  v4f c[8], a = {1e-3f, 1e-3f, 1e-3f, 1e-3f};
  for (int i = 0; i < 8; i++) c[i] = (v4f){(float)i + 1, 1, 1, 1};
  for (long r = 0; r < n; r++) {
    c[0] += a * a, c[1] += a * a, c[2] += a * a, c[3] += a * a;
    c[4] += a * a, c[5] += a * a, c[6] += a * a, c[7] += a * a;
    __asm__ volatile("" : "+m"(a));
  }
  float s = 0;
  for (int i = 0; i < 8; i++) s += c[i][0] + c[i][1] + c[i][2] + c[i][3];
  return (uint64_t)s;
}

static bool always(void) { return true; }

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2,fma")))
#define AVXVNNI __attribute__((target("avx2,fma,avxvnni")))
#define AVX512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl")))
#define AVX512VNNI __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")))
#define AVX512BF16 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512bf16")))

AVX2 static uint64_t read_avx2(const char *p, size_t n) { return read_body(p, n); }

AVX512 static uint64_t read_avx512(const char *p, size_t n) { return read_body(p, n); }

AVX512VNNI INLINE void dpbusd4(__m512i c[4], __m512i a) {
  c[0] = _mm512_dpbusd_epi32(c[0], a, a);
  c[1] = _mm512_dpbusd_epi32(c[1], a, a);
  c[2] = _mm512_dpbusd_epi32(c[2], a, a);
  c[3] = _mm512_dpbusd_epi32(c[3], a, a);
}

AVX512VNNI static uint64_t int8_avx512vnni(long n) {
  __m512i c[12], a = _mm512_set1_epi8(3);
  for (int i = 0; i < 12; i++) c[i] = _mm512_set1_epi32(i);
  for (long r = 0; r < n; r++) dpbusd4(c, a), dpbusd4(c + 4, a), dpbusd4(c + 8, a);
  for (int i = 1; i < 12; i++) c[0] = _mm512_add_epi32(c[0], c[i]);
  return (uint64_t)_mm512_reduce_add_epi32(c[0]);
}

AVXVNNI INLINE void dpbusd4_ymm(__m256i c[4], __m256i a) {
  c[0] = _mm256_dpbusd_avx_epi32(c[0], a, a);
  c[1] = _mm256_dpbusd_avx_epi32(c[1], a, a);
  c[2] = _mm256_dpbusd_avx_epi32(c[2], a, a);
  c[3] = _mm256_dpbusd_avx_epi32(c[3], a, a);
}

AVXVNNI static uint64_t int8_avxvnni(long n) {
  __m256i c[12], a = _mm256_set1_epi8(3);
  for (int i = 0; i < 12; i++) c[i] = _mm256_set1_epi32(i);
  for (long r = 0; r < n; r++) dpbusd4_ymm(c, a), dpbusd4_ymm(c + 4, a), dpbusd4_ymm(c + 8, a);
  for (int i = 1; i < 12; i++) c[0] = _mm256_add_epi32(c[0], c[i]);
  return (uint64_t)_mm256_extract_epi32(c[0], 0);
}

/* Two products into 16 bits, two of those into 32, one sum: three instructions for 32 multiply-adds. */
AVX2 INLINE __m256i madd(__m256i c, __m256i a, __m256i ones) {
  __asm__ volatile("" : "+x"(a)); /* or the product leaves the loop */
  return _mm256_add_epi32(c, _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), ones));
}

AVX2 static uint64_t int8_avx2(long n) {
  __m256i c[4], a = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
  for (int i = 0; i < 4; i++) c[i] = _mm256_set1_epi32(i);
  for (long r = 0; r < n; r++) {
    c[0] = madd(c[0], a, ones), c[1] = madd(c[1], a, ones);
    c[2] = madd(c[2], a, ones), c[3] = madd(c[3], a, ones);
  }
  for (int i = 1; i < 4; i++) c[0] = _mm256_add_epi32(c[0], c[i]);
  return (uint64_t)_mm256_extract_epi32(c[0], 0);
}

AVX512BF16 INLINE void dpbf16_4(__m512 c[4], __m512bh a) {
  c[0] = _mm512_dpbf16_ps(c[0], a, a);
  c[1] = _mm512_dpbf16_ps(c[1], a, a);
  c[2] = _mm512_dpbf16_ps(c[2], a, a);
  c[3] = _mm512_dpbf16_ps(c[3], a, a);
}

AVX512BF16 static uint64_t bf16_avx512bf16(long n) {
  __m512 c[16];
  __m512bh a = (__m512bh)_mm512_set1_epi16(0x3a80); /* 2^-10 */
  for (int i = 0; i < 16; i++) c[i] = _mm512_set1_ps((float)i + 1);
  for (long r = 0; r < n; r++) dpbf16_4(c, a), dpbf16_4(c + 4, a), dpbf16_4(c + 8, a), dpbf16_4(c + 12, a);
  for (int i = 1; i < 16; i++) c[0] = _mm512_add_ps(c[0], c[i]);
  return (uint64_t)_mm512_reduce_add_ps(c[0]);
}

AVX512 INLINE void fma4(__m512 c[4], __m512 a) {
  c[0] = _mm512_fmadd_ps(a, a, c[0]);
  c[1] = _mm512_fmadd_ps(a, a, c[1]);
  c[2] = _mm512_fmadd_ps(a, a, c[2]);
  c[3] = _mm512_fmadd_ps(a, a, c[3]);
}

AVX512 static uint64_t f32_avx512(long n) {
  __m512 c[12], a = _mm512_set1_ps(1e-3f);
  for (int i = 0; i < 12; i++) c[i] = _mm512_set1_ps((float)i + 1);
  for (long r = 0; r < n; r++) fma4(c, a), fma4(c + 4, a), fma4(c + 8, a);
  for (int i = 1; i < 12; i++) c[0] = _mm512_add_ps(c[0], c[i]);
  return (uint64_t)_mm512_reduce_add_ps(c[0]);
}

AVX2 INLINE void fma4_ymm(__m256 c[4], __m256 a) {
  c[0] = _mm256_fmadd_ps(a, a, c[0]);
  c[1] = _mm256_fmadd_ps(a, a, c[1]);
  c[2] = _mm256_fmadd_ps(a, a, c[2]);
  c[3] = _mm256_fmadd_ps(a, a, c[3]);
}

AVX2 static uint64_t f32_avx2(long n) {
  __m256 c[12], a = _mm256_set1_ps(1e-3f);
  for (int i = 0; i < 12; i++) c[i] = _mm256_set1_ps((float)i + 1);
  for (long r = 0; r < n; r++) fma4_ymm(c, a), fma4_ymm(c + 4, a), fma4_ymm(c + 8, a);
  for (int i = 1; i < 12; i++) c[0] = _mm256_add_ps(c[0], c[i]);
  return (uint64_t)_mm256_cvtss_f32(c[0]);
}

static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

static bool has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

static bool has_avx512vnni(void) { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

/* Leaf 7.1, EAX: bit 4 AVX-VNNI, bit 5 AVX512-BF16; not every compiler knows their names. */
static bool leaf71(int bit) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> bit & 1);
}

static bool has_avxvnni(void) { return has_avx2() && leaf71(4); }

static bool has_avx512bf16(void) { return has_avx512() && leaf71(5); }

#elif defined(__aarch64__)

INLINE void fmla4(float32x4_t c[4], float32x4_t a) {
  c[0] = vfmaq_f32(c[0], a, a);
  c[1] = vfmaq_f32(c[1], a, a);
  c[2] = vfmaq_f32(c[2], a, a);
  c[3] = vfmaq_f32(c[3], a, a);
}

static uint64_t f32_neon(long n) {
  float32x4_t c[16], a = vdupq_n_f32(1e-3f);
  for (int i = 0; i < 16; i++) c[i] = vdupq_n_f32((float)i + 1);
  for (long r = 0; r < n; r++) fmla4(c, a), fmla4(c + 4, a), fmla4(c + 8, a), fmla4(c + 12, a);
  for (int i = 1; i < 16; i++) c[0] = vaddq_f32(c[0], c[i]);
  return (uint64_t)vaddvq_f32(c[0]);
}

#if defined(__linux__) /* elsewhere there is no word of what the CPU has */

/* In assembly, since compilers disagree about how a function asks for these. */
#define ARM_ALL ".arch armv8.2-a+dotprod+i8mm+bf16\n\t"

INLINE void sdot4(int32x4_t c[4], int8x16_t a) {
  __asm__(ARM_ALL "sdot %0.4s, %4.16b, %4.16b\n\tsdot %1.4s, %4.16b, %4.16b\n\t"
                  "sdot %2.4s, %4.16b, %4.16b\n\tsdot %3.4s, %4.16b, %4.16b"
          : "+w"(c[0]), "+w"(c[1]), "+w"(c[2]), "+w"(c[3])
          : "w"(a));
}

INLINE void smmla4(int32x4_t c[4], int8x16_t a) {
  __asm__(ARM_ALL "smmla %0.4s, %4.16b, %4.16b\n\tsmmla %1.4s, %4.16b, %4.16b\n\t"
                  "smmla %2.4s, %4.16b, %4.16b\n\tsmmla %3.4s, %4.16b, %4.16b"
          : "+w"(c[0]), "+w"(c[1]), "+w"(c[2]), "+w"(c[3])
          : "w"(a));
}

INLINE void bfmmla4(float32x4_t c[4], uint16x8_t a) {
  __asm__(ARM_ALL "bfmmla %0.4s, %4.8h, %4.8h\n\tbfmmla %1.4s, %4.8h, %4.8h\n\t"
                  "bfmmla %2.4s, %4.8h, %4.8h\n\tbfmmla %3.4s, %4.8h, %4.8h"
          : "+w"(c[0]), "+w"(c[1]), "+w"(c[2]), "+w"(c[3])
          : "w"(a));
}

static uint64_t int8_dotprod(long n) {
  int32x4_t c[16];
  for (int i = 0; i < 16; i++) c[i] = vdupq_n_s32(i);
  int8x16_t a = vdupq_n_s8(3);
  for (long r = 0; r < n; r++) sdot4(c, a), sdot4(c + 4, a), sdot4(c + 8, a), sdot4(c + 12, a);
  for (int i = 1; i < 16; i++) c[0] = vaddq_s32(c[0], c[i]);
  return (uint64_t)vaddvq_s32(c[0]);
}

static uint64_t int8_i8mm(long n) {
  int32x4_t c[16];
  for (int i = 0; i < 16; i++) c[i] = vdupq_n_s32(i);
  int8x16_t a = vdupq_n_s8(3);
  for (long r = 0; r < n; r++) smmla4(c, a), smmla4(c + 4, a), smmla4(c + 8, a), smmla4(c + 12, a);
  for (int i = 1; i < 16; i++) c[0] = vaddq_s32(c[0], c[i]);
  return (uint64_t)vaddvq_s32(c[0]);
}

static uint64_t bf16_armbf16(long n) {
  float32x4_t c[16];
  for (int i = 0; i < 16; i++) c[i] = vdupq_n_f32((float)i + 1);
  uint16x8_t a = vdupq_n_u16(0x3a80); /* 2^-10 */
  for (long r = 0; r < n; r++) bfmmla4(c, a), bfmmla4(c + 4, a), bfmmla4(c + 8, a), bfmmla4(c + 12, a);
  for (int i = 1; i < 16; i++) c[0] = vaddq_f32(c[0], c[i]);
  return (uint64_t)vaddvq_f32(c[0]);
}

static bool has_dotprod(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }

static bool has_i8mm(void) { return getauxval(AT_HWCAP2) & HWCAP2_I8MM; }

static bool has_armbf16(void) { return getauxval(AT_HWCAP2) & HWCAP2_BF16; }

#endif
#endif

/* Of the rows of one form the first that the CPU has is measured. */
static const struct {
  const char *form, *isa;
  bool (*has)(void);
  uint64_t (*run)(long n);
  double ops; /* of one n */
} peaks[] = {
#if defined(__x86_64__)
    {"int8", "avx512vnni", has_avx512vnni, int8_avx512vnni, 12 * 64 * 2},
    {"int8", "avxvnni", has_avxvnni, int8_avxvnni, 12 * 32 * 2},
    {"int8", "avx2", has_avx2, int8_avx2, 4 * 32 * 2},
    {"bf16", "avx512bf16", has_avx512bf16, bf16_avx512bf16, 16 * 32 * 2},
    {"f32", "avx512", has_avx512, f32_avx512, 12 * 16 * 2},
    {"f32", "avx2", has_avx2, f32_avx2, 12 * 8 * 2},
#elif defined(__aarch64__)
#if defined(__linux__)
    {"int8", "i8mm", has_i8mm, int8_i8mm, 16 * 32 * 2},
    {"int8", "dotprod", has_dotprod, int8_dotprod, 16 * 16 * 2},
    {"bf16", "armbf16", has_armbf16, bf16_armbf16, 16 * 16 * 2},
#endif
    {"f32", "neon", always, f32_neon, 16 * 4 * 2},
#endif
    {"f32", "plain", always, f32_plain, 8 * 4 * 2},
};

static const struct {
  const char *isa;
  bool (*has)(void);
  uint64_t (*run)(const char *p, size_t n);
} readers[] = {
#if defined(__x86_64__)
    {"avx512", has_avx512, read_avx512},
    {"avx2", has_avx2, read_avx2},
#endif
    {"plain", always, read_plain},
};

/* ---- threads ---- */

typedef struct worker worker;

typedef struct crew {
  int n;
  atomic_int ready; /* all spin until the last one is there */
  void (*work)(worker *w);
  const void *what;
  long repeat;
  bool cpu_time; /* work that needs nothing but its core: what others take from it does not count */
} crew;

struct worker {
  pthread_t id;
  crew *c;
  int i;
  double start, end, cpu;
};

static void *worker_main(void *arg) {
  worker *w = arg;
  atomic_fetch_add(&w->c->ready, 1);
  while (atomic_load(&w->c->ready) < w->c->n) sched_yield();
  double cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID);
  w->start = now();
  w->c->work(w);
  w->end = now();
  w->cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
  return NULL;
}

/* Seconds from the first start to the last end, or those of a core in the mean. */
static double crew_run(crew *c) {
  static worker w[MAX_THREADS];
  double start = 0, end = 0, cpu = 0;
  atomic_store(&c->ready, 0);
  for (int i = 0; i < c->n; i++) {
    w[i] = (worker){.c = c, .i = i};
    if (pthread_create(&w[i].id, NULL, worker_main, &w[i]) != 0) {
      fprintf(stderr, "probe: cannot start thread %d\n", i + 1);
      exit(1); /* the others would wait forever */
    }
  }
  for (int i = 0; i < c->n; i++) {
    pthread_join(w[i].id, NULL);
    cpu += w[i].cpu;
    if (i == 0 || w[i].start < start) start = w[i].start;
    if (i == 0 || w[i].end > end) end = w[i].end;
  }
  return c->cpu_time ? cpu / c->n : end - start;
}

/* Repeats until a run takes `seconds`, then returns the shortest time per repeat of `runs` such runs. */
static double best_time(crew *c, double seconds, int runs) {
  double t = 0, best = 0;
  c->repeat = 1;
  for (t = crew_run(c); t < seconds / 2 && c->repeat < 1L << 40; t = crew_run(c))
    c->repeat = t < seconds / 100 ? c->repeat * 16 : (long)((double)c->repeat * seconds / t) + 1;
  best = t / (double)c->repeat;
  for (int i = 1; i < runs; i++) {
    t = crew_run(c) / (double)c->repeat;
    if (t < best) best = t;
  }
  return best;
}

/* CPUs that this process may use, at most n. */
static int allowed_cpus(int *cpus, int n) {
  int k = 0;
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int i = 0; i < CPU_SETSIZE && k < n; i++)
      if (CPU_ISSET(i, &set)) cpus[k++] = i;
#endif
  return k; /* 0: unknown */
}

/* ---- the file ---- */

typedef struct span {
  const char *data;
  size_t n;
  uint64_t (*read)(const char *p, size_t n);
} span;

static void read_share(worker *w) {
  const span *s = w->c->what;
  size_t share = s->n / (size_t)w->c->n / 4096 * 4096; /* a page at least, see map_file */
  uint64_t x = 0;
  for (long r = 0; r < w->c->repeat; r++) x += s->read(s->data + (size_t)w->i * share, share);
  atomic_fetch_add(&sink, x);
}

/* Mapped like the engine maps it. False, with a message, when there is too little to read. */
static bool map_file(const char *path, int threads, span *s) {
  struct stat st;
  int fd = open(path, O_RDONLY);
  bool ok = fd >= 0 && fstat(fd, &st) == 0;
  if (!ok) {
    fprintf(stderr, "probe: %s: %s\n", path, strerror(errno));
  } else if (st.st_size < (off_t)4096 * threads) {
    ok = false;
    fprintf(stderr, "probe: %s: %lld bytes are too few to measure\n", path, (long long)st.st_size);
  } else {
    s->n = (size_t)st.st_size < READ_MAX ? (size_t)st.st_size : READ_MAX;
    void *p = mmap(NULL, s->n, PROT_READ, MAP_PRIVATE, fd, 0);
    ok = p != MAP_FAILED;
    if (!ok) fprintf(stderr, "probe: %s: cannot map: %s\n", path, strerror(errno));
    s->data = p;
  }
  if (fd >= 0) close(fd);
  return ok;
}

static void print_read(const span *s, int threads, bool quick) {
  span with = *s;
  const char *isa = "";
  for (size_t i = 0; i < sizeof readers / sizeof *readers && !*isa; i++)
    if (readers[i].has()) isa = readers[i].isa, with.read = readers[i].run;
  crew c = {.n = threads, .work = read_share, .what = &with};
  double bytes = (double)(s->n / (size_t)threads / 4096 * 4096 * (size_t)threads);
  double t = best_time(&c, 0.025, quick ? 2 : 5);
  printf(",\"read_gbs\":%.2f,\"read_bytes\":%.0f,\"read_isa\":\"%s\"", bytes / t * 1e-9, bytes, isa);
}

/* ---- peaks ---- */

static void run_peak(worker *w) {
  uint64_t (*const *run)(long) = w->c->what;
  atomic_fetch_add(&sink, (*run)(w->c->repeat));
}

static void print_peaks(int threads) {
  int cpus[MAX_CPUS], known = allowed_cpus(cpus, MAX_CPUS), n = known ? known : threads;
  const char *last = "";
  for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
    if (strcmp(peaks[i].form, last) == 0 || !peaks[i].has()) continue;
    last = peaks[i].form;
    crew c = {.n = threads < n ? threads : n, .work = run_peak, .what = &peaks[i].run, .cpu_time = true};
    double t = best_time(&c, 0.01, 5);
    printf(",\"%s_gops\":%.1f,\"%s_isa\":\"%s\"", last, peaks[i].ops * c.n / t * 1e-9, last, peaks[i].isa);
  }
}

/* ---- how far cores are apart: a cache line goes there and back ---- */

typedef struct ball {
  _Alignas(LINE) atomic_long there;
  _Alignas(LINE) atomic_long back;
  _Alignas(LINE) atomic_bool stop;
  int cpu[2];
  double until, best_ns;
} ball;

static void pin(int cpu) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
#endif
}

/* False when the game is over or its time is up, for instance because the other side does not run. */
static bool await(atomic_long *x, long value, ball *b) {
  for (long i = 1; atomic_load_explicit(x, memory_order_acquire) != value; i++) {
    if (i % 1024) continue;
    if (now() > b->until) atomic_store_explicit(&b->stop, true, memory_order_relaxed);
    if (atomic_load_explicit(&b->stop, memory_order_relaxed)) return false;
  }
  return true;
}

/* Worker 0 throws, worker 1 returns. The best batch counts: whoever is interrupted only loses time. */
static void play(worker *w) {
  ball *b = (ball *)(uintptr_t)w->c->what;
  pin(b->cpu[w->i]);
  if (w->i == 1) {
    for (long k = 1; await(&b->there, k, b); k++) atomic_store_explicit(&b->back, k, memory_order_release);
    return;
  }
  bool on = true;
  long k = 0;
  for (int batch = 0; batch < BATCHES && on; batch++) {
    double start = now();
    for (int i = 0; i < THROWS && on; i++) {
      atomic_store_explicit(&b->there, ++k, memory_order_release);
      on = await(&b->back, k, b);
    }
    double ns = (now() - start) * 1e9 / THROWS;
    if (on && batch > 0 && (b->best_ns <= 0 || ns < b->best_ns)) b->best_ns = ns;
  }
  atomic_store(&b->stop, true);
}

/* The first CPU with others; the farthest counts, since all threads of a step wait for each other. */
static void print_cores(int threads) {
  int cpus[MAX_CPUS], n = allowed_cpus(cpus, MAX_CPUS), pairs = threads > 2 ? threads - 1 : 1;
  double most = 0;
  if (pairs > n - 1) pairs = n - 1;
  for (int k = 1, m = pairs < MAX_PAIRS ? pairs : MAX_PAIRS; k <= m; k++) {
    ball b = {.cpu = {cpus[0], cpus[(long)k * pairs / m]}, .until = now() + 0.3};
    crew c = {.n = 2, .work = play, .what = &b};
    crew_run(&c);
    if (b.best_ns > most) most = b.best_ns;
  }
  if (most > 0) printf(",\"ping_ns\":%.1f,\"memory\":\"%s\"", most, most < NEAR_NS ? "near" : "far");
}

/* ---- the program ---- */

static void print_all(const span *s, int threads, bool quick) {
  printf("{\"threads\":%d", threads);
  print_cores(threads);
  if (s->data) print_read(s, threads, quick);
  if (!quick) print_peaks(threads);
  printf("}\n");
  fflush(stdout);
}

static int usage(void) {
  fprintf(stderr, "usage: probe [-t THREADS] [-s] [FILE]\n");
  return 2;
}

int main(int argc, char **argv) {
  long threads = sysconf(_SC_NPROCESSORS_ONLN);
  bool serve = false;
  span s = {0};
  int opt;
  while ((opt = getopt(argc, argv, "t:s")) != -1) {
    if (opt == 's') serve = true;
    if (opt == 't') threads = strtol(optarg, NULL, 10);
    if (opt == '?') return usage();
  }
  if (argc > optind + 1) return usage();
  if (threads < 1 || threads > MAX_THREADS) {
    fprintf(stderr, "probe: -t: 1 to %d threads\n", MAX_THREADS);
    return 2;
  }
  if (optind < argc && !map_file(argv[optind], (int)threads, &s)) return 1;
  if (!serve) return print_all(&s, (int)threads, false), 0;
  char line[64];
  while (fgets(line, sizeof line, stdin)) print_all(&s, (int)threads, strncmp(line, "quick", 5) == 0);
  return 0;
}
