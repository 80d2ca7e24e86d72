/* cpu.c: which instruction sets this machine and its operating system offer, and how many threads are worth having.
 * Sources: Intel SDM vol. 1 ch. 13-15 and vol. 2 CPUID; Linux Documentation/arch/arm64/elf_hwcaps.rst,
 * admin-guide/cgroup-v2.rst (cpu.max) and cgroup-v1 (cpu.cfs_quota_us). */
#include "base/base.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

/* ---- levels ---- */

#if defined(__x86_64__)

/* Register state that the operating system saves: without it the instructions fault whatever CPUID says. */
static uint64_t read_xcr0(void) {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t)hi << 32 | lo;
}

static bool bit(uint32_t reg, int n) { return (reg >> n & 1) != 0; }

/* Bit mask of levels. */
static unsigned detect(void) {
  unsigned levels = 1u << MYNA__CPU_REF;
  uint32_t a, b, c, d, b7, c7, a71;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return levels;
  bool osxsave = bit(c, 27), fma = bit(c, 12), avx = bit(c, 28), f16c = bit(c, 29);
  uint64_t xcr0 = osxsave ? read_xcr0() : 0;
  if (!avx || !fma || !f16c || (xcr0 & 0x6) != 0x6) return levels; /* SSE and AVX state */
  uint32_t max_subleaf;
  if (!__get_cpuid_count(7, 0, &max_subleaf, &b7, &c7, &d)) return levels;
  if (!bit(b7, 5) || !bit(b7, 8)) return levels; /* AVX2, BMI2 */
  levels |= 1u << MYNA__CPU_AVX2;
  a71 = 0;
  if (max_subleaf >= 1) __get_cpuid_count(7, 1, &a71, &b, &c, &d);
  if (bit(a71, 4)) levels |= 1u << MYNA__CPU_AVX2VNNI;
  bool avx512 = bit(b7, 16) && bit(b7, 17) && bit(b7, 30) && bit(b7, 31) && bit(c7, 11); /* F DQ BW VL VNNI */
  if (!avx512 || (xcr0 & 0xE0) != 0xE0) return levels;                                   /* opmask and ZMM state */
  levels |= 1u << MYNA__CPU_AVX512;
  if (bit(a71, 5)) levels |= 1u << MYNA__CPU_AVX512BF16;
  return levels;
}

#elif defined(__aarch64__)

#ifdef __linux__
static bool has(unsigned long caps, int n) { return (caps >> n & 1) != 0; }
static unsigned detect(void) {
  unsigned levels = 1u << MYNA__CPU_REF;
  unsigned long caps = getauxval(AT_HWCAP), caps2 = getauxval(AT_HWCAP2);
  if (!has(caps, 20) || !has(caps, 10)) return levels; /* ASIMDDP, ASIMDHP */
  levels |= 1u << MYNA__CPU_NEON;
  if (!has(caps2, 13)) return levels; /* I8MM */
  levels |= 1u << MYNA__CPU_I8MM;
  if (has(caps2, 14)) levels |= 1u << MYNA__CPU_ARMBF16; /* BF16 */
  return levels;
}
#elif defined(__APPLE__)
/* Untested: no Mac was at hand. */
static bool feature(const char *name) {
  int value = 0;
  size_t n = sizeof value;
  return sysctlbyname(name, &value, &n, NULL, 0) == 0 && value;
}
static unsigned detect(void) {
  unsigned levels = 1u << MYNA__CPU_REF;
  if (!feature("hw.optional.arm.FEAT_DotProd") || !feature("hw.optional.arm.FEAT_FP16")) return levels;
  levels |= 1u << MYNA__CPU_NEON;
  if (!feature("hw.optional.arm.FEAT_I8MM")) return levels;
  levels |= 1u << MYNA__CPU_I8MM;
  if (feature("hw.optional.arm.FEAT_BF16")) levels |= 1u << MYNA__CPU_ARMBF16;
  return levels;
}
#else
static unsigned detect(void) { return 1u << MYNA__CPU_REF; }
#endif

#else
static unsigned detect(void) { return 1u << MYNA__CPU_REF; }
#endif

static const char *const names[MYNA__CPU_COUNT] = {
    [MYNA__CPU_REF] = "ref",
    [MYNA__CPU_AVX2] = "avx2",
    [MYNA__CPU_AVX2VNNI] = "avx2vnni",
    [MYNA__CPU_AVX512] = "avx512",
    [MYNA__CPU_AVX512BF16] = "avx512bf16",
    [MYNA__CPU_NEON] = "neon",
    [MYNA__CPU_I8MM] = "i8mm",
    [MYNA__CPU_ARMBF16] = "armbf16",
};

/* Both are computed from nothing but the machine, so racing threads store the same value. */
static _Atomic unsigned supported; /* mask; 0 until detected (REF is always in it) */
static _Atomic int chosen = -1;

static unsigned supported_mask(void) {
  unsigned mask = atomic_load_explicit(&supported, memory_order_relaxed);
  if (!mask) {
    mask = detect();
    atomic_store_explicit(&supported, mask, memory_order_relaxed);
  }
  return mask;
}

bool myna__cpu_supported(myna__cpu_level l) { return (unsigned)l < MYNA__CPU_COUNT && (supported_mask() >> l & 1); }

const char *myna__cpu_name(myna__cpu_level l) { return (unsigned)l < MYNA__CPU_COUNT ? names[l] : "unknown"; }

int myna__cpu_from_name(const char *name) {
  for (int l = 0; name && l < MYNA__CPU_COUNT; l++)
    if (strcasecmp(name, names[l]) == 0) return l;
  return -1;
}

static myna__cpu_level best(void) {
  int l = MYNA__CPU_COUNT - 1;
  while (l > 0 && !myna__cpu_supported((myna__cpu_level)l)) l--;
  return (myna__cpu_level)l;
}

int myna__cpu_init(myna_err *err) {
  const char *wish = getenv("MYNA_CPU");
  int level = wish && *wish ? myna__cpu_from_name(wish) : (int)best();
  if (level >= 0 && myna__cpu_supported((myna__cpu_level)level)) {
    atomic_store(&chosen, level);
    return 0;
  }
  atomic_store(&chosen, (int)best());
  char list[128] = "";
  for (int l = 0; l < MYNA__CPU_COUNT; l++) {
    if (!myna__cpu_supported((myna__cpu_level)l)) continue;
    size_t n = strlen(list);
    snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", names[l]);
  }
  return myna__err(err, MYNA_E_ARG, "MYNA_CPU=%.64s is %s; available: %s", wish,
                   level < 0 ? "unknown" : "not supported by this machine", list);
}

myna__cpu_level myna__cpu(void) {
  int level = atomic_load_explicit(&chosen, memory_order_relaxed);
  if (level < 0) {
    myna__cpu_init(NULL);
    level = atomic_load_explicit(&chosen, memory_order_relaxed);
  }
  return (myna__cpu_level)level;
}

void myna__cpu_force(myna__cpu_level l) {
  assert(myna__cpu_supported(l));
  atomic_store(&chosen, (int)l);
}

/* ---- threads ---- */

enum { MAX_CPUS = 8192 };

/* Small files of /proc and /sys; false when there is none. */
static bool read_small(char *buf, size_t n, const char *fmt, ...) MYNA__PRINTF(3, 4);
static bool read_small(char *buf, size_t n, const char *fmt, ...) {
  char path[1024];
  va_list ap;
  va_start(ap, fmt);
  int len = vsnprintf(path, sizeof path, fmt, ap);
  va_end(ap);
  if (len < 0 || (size_t)len >= sizeof path) return false;
  FILE *f = fopen(path, "re");
  if (!f) return false;
  size_t got = fread(buf, 1, n - 1, f);
  fclose(f);
  buf[got] = 0;
  return true;
}

/* CPUs' worth of time that one cgroup directory grants; 0 when unlimited or absent. */
static double quota_of(const char *root, bool v2, const char *mount, const char *path) {
  char text[128];
  double quota = 0, period = 0;
  if (v2) {
    if (!read_small(text, sizeof text, "%s/sys/fs/cgroup%s%s/cpu.max", root, mount, path)) return 0;
    if (sscanf(text, "%lf %lf", &quota, &period) != 2) return 0; /* "max 100000" */
  } else {
    if (!read_small(text, sizeof text, "%s/sys/fs/cgroup/%s%s/cpu.cfs_quota_us", root, mount, path)) return 0;
    quota = atof(text); /* -1: unlimited */
    if (!read_small(text, sizeof text, "%s/sys/fs/cgroup/%s%s/cpu.cfs_period_us", root, mount, path)) return 0;
    period = atof(text);
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

/* The tightest quota on the way from our group up to the root. In a container without its own cgroup namespace the
 * path is the host's and does not exist here; the walk then ends at the root, which is the container's own group. */
static double quota_up(const char *root, bool v2, const char *mount, char *path) {
  double tightest = 0;
  for (;;) {
    double q = quota_of(root, v2, mount, path);
    if (q > 0 && (tightest == 0 || q < tightest)) tightest = q;
    char *slash = strrchr(path, '/');
    if (!slash) return tightest;
    *slash = 0;
  }
}

/* Lines are "ID:controllers:/path"; v2 has "0::/path". */
static double cgroup_quota(const char *root) {
  char text[4096];
  if (!read_small(text, sizeof text, "%s/proc/self/cgroup", root)) return 0;
  double tightest = 0;
  char *save = NULL;
  for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    char *names_at = strchr(line, ':'), *path = names_at ? strchr(names_at + 1, ':') : NULL;
    if (!path) continue;
    *path++ = 0;
    const char *controllers = names_at + 1;
    bool v2 = *controllers == 0;
    if (!v2 && strcmp(controllers, "cpu") != 0 && strcmp(controllers, "cpu,cpuacct") != 0 &&
        strcmp(controllers, "cpuacct,cpu") != 0)
      continue;
    double q = quota_up(root, v2, v2 ? "" : controllers, path);
    if (q > 0 && (tightest == 0 || q < tightest)) tightest = q;
  }
  return tightest;
}

/* The lowest CPU that shares cpu's core, -1 when unknown. */
static int core_of(const char *root, int cpu) {
  char text[256];
  if (!read_small(text, sizeof text, "%s/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", root, cpu))
    return -1;
  char *end;
  long first = strtol(text, &end, 10);
  return end > text && first >= 0 && first < MAX_CPUS ? (int)first : -1;
}

/* Moves one CPU per core to the front, order kept otherwise; returns the number of cores. */
static int cores_first(const char *root, int *cpus, int n) {
  static_assert(MAX_CPUS % 64 == 0, "bit set");
  uint64_t seen[MAX_CPUS / 64] = {0};
  int n_cores = 0;
  for (int i = 0; i < n; i++) {
    int core = core_of(root, cpus[i]);
    if (core < 0) core = cpus[i];
    if (seen[core / 64] >> (core % 64) & 1) continue;
    seen[core / 64] |= (uint64_t)1 << (core % 64);
    int cpu = cpus[i];
    memmove(cpus + n_cores + 1, cpus + n_cores, (size_t)(i - n_cores) * sizeof *cpus);
    cpus[n_cores++] = cpu;
  }
  return n_cores;
}

int myna__cpu_count(const char *root, int *cpus, int n) {
  int cores = cores_first(root, cpus, n);
  double quota = cgroup_quota(root);
  /* A thread beyond the quota only gets the whole group throttled; 0.05 forgives 3.99. */
  if (quota > 0 && quota + 0.05 < cores) cores = (int)(quota + 0.05);
  return MYNA__MAX(cores, 1);
}

int myna__cpu_allowed(int *cpus, int max) {
  int n = 0;
#ifdef __linux__
  cpu_set_t set[MAX_CPUS / CPU_SETSIZE];
  memset(set, 0, sizeof set);
  if (sched_getaffinity(0, sizeof set, set) == 0)
    for (int i = 0; i < MAX_CPUS && n < max; i++)
      if (CPU_ISSET_S(i, sizeof set, set)) cpus[n++] = i;
#endif
  if (n == 0) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    while (n < online && n < max) cpus[n] = n, n++;
  }
  if (n == 0 && max > 0) cpus[n++] = 0;
  cores_first("", cpus, n);
  return n;
}

int myna__cpu_default_threads(void) {
  static _Atomic int cached; /* the files are read once; the answer does not depend on who asks */
  int threads = atomic_load_explicit(&cached, memory_order_relaxed);
  if (threads) return threads;
  int cpus[1024];
  int n = myna__cpu_allowed(cpus, (int)MYNA__COUNT(cpus));
  threads = myna__cpu_count("", cpus, n);
  atomic_store_explicit(&cached, threads, memory_order_relaxed);
  return threads;
}
