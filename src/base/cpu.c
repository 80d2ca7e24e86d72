/* cpu.c: which instruction sets this machine and its operating system offer, and how many threads are worth having.
 * Sources: Intel SDM vol. 1 ch. 13-15 and vol. 2 CPUID; Linux Documentation/arch/arm64/elf_hwcaps.rst,
 * admin-guide/cgroup-v2.rst (cpu.max) and cgroup-v1 (cpu.cfs_quota_us). */
#include "base/base.h"
#include <math.h>
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

static bool bit(uint64_t reg, int n) { return (reg >> n & 1) != 0; }

unsigned myna__cpu_levels_x86(const myna__cpuid *r) {
  unsigned levels = 1u << MYNA__CPU_REF;
  bool avx = bit(r->ecx1, 28) && bit(r->ecx1, 12) && bit(r->ecx1, 29);       /* AVX FMA F16C */
  bool saved = bit(r->xcr0, 1) && bit(r->xcr0, 2);                           /* SSE and AVX state */
  if (!avx || !saved || !bit(r->ebx7, 5) || !bit(r->ebx7, 8)) return levels; /* AVX2, BMI2 */
  levels |= 1u << MYNA__CPU_AVX2;
  if (bit(r->eax71, 4)) levels |= 1u << MYNA__CPU_AVX2VNNI;
  bool avx512 = bit(r->ebx7, 16) && bit(r->ebx7, 17) && bit(r->ebx7, 30) && bit(r->ebx7, 31); /* F DQ BW VL */
  bool saved512 = bit(r->xcr0, 5) && bit(r->xcr0, 6) && bit(r->xcr0, 7);                      /* opmask, ZMM state */
  if (!avx512 || !bit(r->ecx7, 11) || !saved512) return levels;                               /* VNNI */
  levels |= 1u << MYNA__CPU_AVX512;
  bool bytes = bit(r->ecx7, 1) && bit(r->ecx7, 12); /* VBMI, BITALG */
  if (bit(r->eax71, 5) && bytes) levels |= 1u << MYNA__CPU_AVX512BF16;
  return levels;
}

unsigned myna__cpu_levels_arm(uint64_t hwcap, uint64_t hwcap2) {
  unsigned levels = 1u << MYNA__CPU_REF;
  if (!bit(hwcap, 20) || !bit(hwcap, 10)) return levels; /* ASIMDDP, ASIMDHP */
  levels |= 1u << MYNA__CPU_NEON;
  if (!bit(hwcap2, 13)) return levels; /* I8MM */
  levels |= 1u << MYNA__CPU_I8MM;
  if (bit(hwcap2, 14)) levels |= 1u << MYNA__CPU_ARMBF16; /* BF16 */
  return levels;
}

bool myna__cpu_fast_bf16_x86(const char vendor[12], uint32_t eax1) {
  uint32_t family = eax1 >> 8 & 15;
  if (family == 15) family += eax1 >> 20 & 255;
  return memcmp(vendor, "AuthenticAMD", 12) == 0 && family >= 0x19;
}

#if defined(__x86_64__)

bool myna__cpu_fast_bf16(void) {
  uint32_t a, b, c, d, leaf, text[3] = {0};
  if (!myna__cpu_supported(MYNA__CPU_AVX512BF16)) return false;
  if (!__get_cpuid(0, &leaf, &text[0], &text[2], &text[1]) || !__get_cpuid(1, &a, &b, &c, &d)) return false;
  return myna__cpu_fast_bf16_x86((const char *)text, a);
}

static uint64_t read_xcr0(void) {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t)hi << 32 | lo;
}

/* What a processor does not report stays 0. */
static unsigned detect(void) {
  myna__cpuid r = {0};
  uint32_t a, b, d, max_subleaf;
  __get_cpuid(1, &a, &b, &r.ecx1, &d);
  if (bit(r.ecx1, 27)) r.xcr0 = read_xcr0(); /* OSXSAVE: the instruction exists */
  if (__get_cpuid_count(7, 0, &max_subleaf, &r.ebx7, &r.ecx7, &d) && max_subleaf > 0)
    __get_cpuid_count(7, 1, &r.eax71, &a, &b, &d);
  return myna__cpu_levels_x86(&r);
}

#elif defined(__aarch64__)

bool myna__cpu_fast_bf16(void) { return myna__cpu_supported(MYNA__CPU_ARMBF16); } /* BFDOT, BFMMLA */

#ifdef __linux__
static unsigned detect(void) { return myna__cpu_levels_arm(getauxval(AT_HWCAP), getauxval(AT_HWCAP2)); }
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
bool myna__cpu_fast_bf16(void) { return false; }
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
static _Atomic unsigned supported;           /* mask; 0 until detected (REF is always in it) */
static _Atomic int chosen = MYNA__CPU_COUNT; /* not chosen yet */

static unsigned supported_mask(void) {
  unsigned mask = atomic_load_explicit(&supported, memory_order_relaxed);
  if (!mask) {
    mask = detect();
#ifdef MYNA_LEVELS_AVX2 /* the others were not compiled */
    mask &= 1u << MYNA__CPU_REF | 1u << MYNA__CPU_AVX2;
#endif
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

static int best(void) { return 31 - __builtin_clz(supported_mask()); }

int myna__cpu_init(myna_err *err) {
  const char *wish = getenv("MYNA_CPU");
  int level = wish && *wish ? myna__cpu_from_name(wish) : best();
  if (level >= 0 && myna__cpu_supported((myna__cpu_level)level)) {
    atomic_store(&chosen, level);
    return 0;
  }
  atomic_store(&chosen, best());
  char list[128] = "";
  for (unsigned rest = supported_mask(); rest; rest &= rest - 1) {
    if (*list) strcat(list, ", ");
    strcat(list, names[__builtin_ctz(rest)]);
  }
  return myna__err(err, MYNA_E_ARG, "MYNA_CPU=%.64s is %s; available: %s", wish,
                   level < 0 ? "unknown" : "not supported by this machine", list);
}

myna__cpu_level myna__cpu(void) {
  int level = atomic_load_explicit(&chosen, memory_order_relaxed);
  if (level == MYNA__CPU_COUNT) {
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
  if ((size_t)len >= sizeof path) return false; /* also when negative */
  FILE *f = fopen(path, "re");
  if (!f) return false;
  size_t got = fread(buf, 1, n - 1, f);
  fclose(f);
  buf[got] = 0;
  return true;
}

/* CPUs' worth of time that one cgroup directory grants. */
static double quota_of(const char *root, bool v2, const char *mount, const char *path) {
  char text[128];
  double quota = 0, period = 0;
  if (v2) {
    if (read_small(text, sizeof text, "%s/sys/fs/cgroup%s%s/cpu.max", root, mount, path))
      sscanf(text, "%lf %lf", &quota, &period); /* "max 100000" */
  } else {
    if (read_small(text, sizeof text, "%s/sys/fs/cgroup/%s%s/cpu.cfs_quota_us", root, mount, path))
      quota = atof(text); /* -1: unlimited */
    if (read_small(text, sizeof text, "%s/sys/fs/cgroup/%s%s/cpu.cfs_period_us", root, mount, path))
      period = atof(text);
  }
  return quota > 0 && period > 0 ? quota / period : INFINITY;
}

/* The tightest quota on the way from our group up to the root. In a container without its own cgroup namespace the
 * path is the host's and does not exist here; the walk then ends at the root, which is the container's own group. */
static double quota_up(const char *root, bool v2, const char *mount, char *path) {
  double tightest = INFINITY;
  for (;;) {
    double q = quota_of(root, v2, mount, path);
    tightest = MYNA__MIN(tightest, q);
    char *slash = strrchr(path, '/');
    if (!slash) return tightest;
    *slash = 0;
  }
}

/* Lines are "ID:controllers:/path"; v2 has "0::/path". */
static double cgroup_quota(const char *root) {
  char text[4096];
  if (!read_small(text, sizeof text, "%s/proc/self/cgroup", root)) return INFINITY;
  double tightest = INFINITY;
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
    tightest = MYNA__MIN(tightest, q);
  }
  return tightest;
}

/* The lowest CPU that shares cpu's core; cpu itself when unknown. */
static int core_of(const char *root, int cpu) {
  char text[256];
  if (!read_small(text, sizeof text, "%s/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", root, cpu))
    return cpu;
  char *end;
  long first = strtol(text, &end, 10);
  return end > text && first >= 0 && first < MAX_CPUS ? (int)first : cpu;
}

/* Moves one CPU per core to the front, order kept otherwise; returns the number of cores. */
static int cores_first(const char *root, int *cpus, int n) {
  bool seen[MAX_CPUS] = {false};
  int n_cores = 0;
  for (int i = 0; i < n; i++) {
    int cpu = cpus[i], core = core_of(root, cpu);
    if (seen[core]) continue;
    seen[core] = true;
    memmove(cpus + n_cores + 1, cpus + n_cores, (size_t)(i - n_cores) * sizeof *cpus);
    cpus[n_cores++] = cpu;
  }
  return n_cores;
}

int myna__cpu_count(const char *root, int *cpus, int n) {
  int cores = cores_first(root, cpus, n);
  double quota = cgroup_quota(root), most = cores;
  /* A thread beyond the quota only gets the whole group throttled; 0.05 forgives 3.99. */
  return MYNA__MAX((int)MYNA__MIN(most, quota + 0.05), 1);
}

/* "0-3,8,10-11" holds x. */
static bool list_holds(const char *list, long x) {
  for (const char *p = list; *p >= '0' && *p <= '9';) {
    char *end;
    long lo = strtol(p, &end, 10), hi = *end == '-' ? strtol(end + 1, &end, 10) : lo;
    if (x >= lo && x <= hi) return true;
    p = *end == ',' ? end + 1 : end;
  }
  return false;
}

int myna__cpu_nodes(const char *root, const int *cpus, int n, int *node_of) {
  enum { MAX_NODES = 1024 };
  char online[4096], list[4096];
  int n_nodes = 0;
  memset(node_of, 0, (size_t)n * sizeof *node_of);
  if (!read_small(online, sizeof online, "%s/sys/devices/system/node/online", root)) return 1;
  for (int node = 0; node < MAX_NODES; node++) {
    if (!list_holds(online, node) ||
        !read_small(list, sizeof list, "%s/sys/devices/system/node/node%d/cpulist", root, node))
      continue;
    bool used = false;
    for (int i = 0; i < n; i++) {
      if (!list_holds(list, cpus[i])) continue;
      node_of[i] = n_nodes;
      used = true;
    }
    n_nodes += used;
  }
  return MYNA__MAX(n_nodes, 1);
}

int myna__cpu_allowed(int *cpus, int max) {
  int n = 0;
#ifdef __linux__
  cpu_set_t set[MAX_CPUS / CPU_SETSIZE];
  if (sched_getaffinity(0, sizeof set, set) == 0)
    for (int i = 0; i < MAX_CPUS && n < max; i++)
      if (CPU_ISSET_S(i, sizeof set, set)) cpus[n++] = i;
#endif
  if (n == 0) {
    n = (int)MYNA__MIN(sysconf(_SC_NPROCESSORS_ONLN), (long)max);
    for (int i = 0; i < n; i++) cpus[i] = i;
  }
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
