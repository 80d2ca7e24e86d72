/* CPU levels against the kernel's own flags, MYNA_CPU, and thread counts from made-up machines. */
#include "test.h"
#include "base/base.h"
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void test_names(void **state) {
  const char *names[] = {"ref", "avx2", "avx2vnni", "avx512", "avx512bf16", "neon", "i8mm", "armbf16"};
  assert_int_equal(MYNA__COUNT(names), MYNA__CPU_COUNT);
  for (int l = 0; l < MYNA__CPU_COUNT; l++) {
    assert_string_equal(myna__cpu_name((myna__cpu_level)l), names[l]);
    assert_int_equal(myna__cpu_from_name(names[l]), l);
  }
  assert_int_equal(myna__cpu_from_name("AVX512"), MYNA__CPU_AVX512);
  assert_int_equal(myna__cpu_from_name("avx51"), -1);
  assert_int_equal(myna__cpu_from_name(""), -1);
  assert_int_equal(myna__cpu_from_name(NULL), -1);
  assert_string_equal(myna__cpu_name(MYNA__CPU_COUNT), "unknown");
}

/* Words of the flags line of /proc/cpuinfo ("flags" on x86, "Features" on arm). */
static bool cpuinfo_has(const char *flag) {
  static char line[65536];
  FILE *f = fopen("/proc/cpuinfo", "r");
  bool found = false;
  while (f && !found && fgets(line, sizeof line, f)) {
    if (strncmp(line, "flags", 5) != 0 && strncmp(line, "Features", 8) != 0) continue;
    for (char *w = strtok(line, " \t\n"); w && !found; w = strtok(NULL, " \t\n")) found = strcmp(w, flag) == 0;
  }
  if (f) fclose(f);
  return found;
}

static void test_supported(void **state) {
  assert_true(myna__cpu_supported(MYNA__CPU_REF));
  assert_false(myna__cpu_supported(MYNA__CPU_COUNT));
  assert_false(myna__cpu_supported((myna__cpu_level)-1));
#if defined(__x86_64__)
  bool avx2 = cpuinfo_has("avx2") && cpuinfo_has("fma") && cpuinfo_has("f16c") && cpuinfo_has("bmi2");
  bool avx512 = avx2 && cpuinfo_has("avx512f") && cpuinfo_has("avx512bw") && cpuinfo_has("avx512dq") &&
                cpuinfo_has("avx512vl") && cpuinfo_has("avx512_vnni");
  assert_int_equal(myna__cpu_supported(MYNA__CPU_AVX2), avx2);
  assert_int_equal(myna__cpu_supported(MYNA__CPU_AVX2VNNI), avx2 && cpuinfo_has("avx_vnni"));
  assert_int_equal(myna__cpu_supported(MYNA__CPU_AVX512), avx512);
  assert_int_equal(myna__cpu_supported(MYNA__CPU_AVX512BF16),
                   avx512 && cpuinfo_has("avx512_bf16") && cpuinfo_has("avx512vbmi") && cpuinfo_has("avx512_bitalg"));
  for (int l = MYNA__CPU_NEON; l < MYNA__CPU_COUNT; l++) assert_false(myna__cpu_supported((myna__cpu_level)l));
#else
  (void)cpuinfo_has; /* under qemu /proc/cpuinfo is the host's */
  for (int l = MYNA__CPU_AVX2; l < MYNA__CPU_NEON; l++) assert_false(myna__cpu_supported((myna__cpu_level)l));
  if (myna__cpu_supported(MYNA__CPU_ARMBF16)) assert_true(myna__cpu_supported(MYNA__CPU_I8MM));
  if (myna__cpu_supported(MYNA__CPU_I8MM)) assert_true(myna__cpu_supported(MYNA__CPU_NEON));
#endif
}

/* One processor's registers and the levels it has; every bit of them is taken away in turn. `gone`: what the bit costs. */
enum {
  REF = 1 << MYNA__CPU_REF,
  AVX2 = 1 << MYNA__CPU_AVX2,
  VNNI = 1 << MYNA__CPU_AVX2VNNI,
  AVX512 = 1 << MYNA__CPU_AVX512,
  BF16 = 1 << MYNA__CPU_AVX512BF16,
};
static unsigned gone(int reg, int n) {
  const unsigned all = AVX2 | VNNI | AVX512 | BF16, wide = AVX512 | BF16;
  const struct {
    int reg, n;
    unsigned levels;
  } needs[] = {
      {0, 28, all},  {0, 12, all},  {0, 29, all},  {1, 5, all},   {1, 8, all},   {4, 1, all},  {4, 2, all},
      {1, 16, wide}, {1, 17, wide}, {1, 30, wide}, {1, 31, wide}, {2, 11, wide}, {4, 5, wide}, {4, 6, wide},
      {4, 7, wide},  {3, 4, VNNI},  {3, 5, BF16},  {2, 1, BF16},  {2, 12, BF16},
  };
  for (size_t i = 0; i < MYNA__COUNT(needs); i++)
    if (needs[i].reg == reg && needs[i].n == n) return needs[i].levels;
  return 0;
}
static unsigned levels_of(const uint64_t r[5]) {
  return myna__cpu_levels_x86(&(myna__cpuid){(uint32_t)r[0], (uint32_t)r[1], (uint32_t)r[2], (uint32_t)r[3], r[4]});
}
static void test_levels_x86(void **state) {
  const unsigned full = REF | AVX2 | VNNI | AVX512 | BF16;
  uint64_t all[5], none[5] = {0};
  memset(all, 0xFF, sizeof all);
  assert_int_equal(levels_of(all), full);
  assert_int_equal(levels_of(none), REF);
  for (int reg = 0; reg < 5; reg++)
    for (int n = 0; n < (reg < 4 ? 32 : 64); n++) {
      uint64_t r[5];
      memcpy(r, all, sizeof r);
      r[reg] &= ~((uint64_t)1 << n);
      assert_int_equal(levels_of(r), full & ~gone(reg, n));
    }
}

static void test_fast_bf16(void **state) {
  assert_true(myna__cpu_fast_bf16_x86("AuthenticAMD", 0x00B20F40));  /* Zen 5, family 1Ah */
  assert_true(myna__cpu_fast_bf16_x86("AuthenticAMD", 0x00A60F12));  /* Zen 4, family 19h */
  assert_false(myna__cpu_fast_bf16_x86("AuthenticAMD", 0x00870F10)); /* Zen 2, family 17h */
  assert_false(myna__cpu_fast_bf16_x86("GenuineIntel", 0x000C06F2)); /* Emerald Rapids */
  assert_false(myna__cpu_fast_bf16_x86("GenuineIntel", 0x00B20F40));
}

static void test_levels_arm(void **state) {
  enum { NEON = 1 << MYNA__CPU_NEON, I8MM = 1 << MYNA__CPU_I8MM, ARMBF16 = 1 << MYNA__CPU_ARMBF16 };
  const unsigned full = REF | NEON | I8MM | ARMBF16;
  assert_int_equal(myna__cpu_levels_arm(0, UINT64_MAX), REF);
  assert_int_equal(myna__cpu_levels_arm(UINT64_MAX, 0), REF | NEON);
  for (int n = 0; n < 64; n++) {
    uint64_t without = ~((uint64_t)1 << n);
    assert_int_equal(myna__cpu_levels_arm(without, UINT64_MAX), n == 10 || n == 20 ? REF : full);
    assert_int_equal(myna__cpu_levels_arm(UINT64_MAX, without), n == 13   ? REF | NEON
                                                                : n == 14 ? full & ~ARMBF16
                                                                          : full);
  }
}

static myna__cpu_level best_supported(void) {
  int best = 0;
  for (int l = 0; l < MYNA__CPU_COUNT; l++)
    if (myna__cpu_supported((myna__cpu_level)l)) best = l;
  return (myna__cpu_level)best;
}

static void test_choice(void **state) {
  myna_err err = {0};
  char *old = getenv("MYNA_CPU");
  if (old) assert_string_equal(myna__cpu_name(myna__cpu()), old); /* without init */
  unsetenv("MYNA_CPU");
  assert_int_equal(myna__cpu_init(&err), 0);
  assert_int_equal(myna__cpu(), best_supported());
  setenv("MYNA_CPU", "", 1);
  ASSERT_OK_ERR(myna__cpu_init(&err), &err);
  assert_int_equal(myna__cpu(), best_supported());
  for (int l = 0; l < MYNA__CPU_COUNT; l++) {
    setenv("MYNA_CPU", myna__cpu_name((myna__cpu_level)l), 1);
    err = (myna_err){0};
    if (myna__cpu_supported((myna__cpu_level)l)) {
      ASSERT_OK_ERR(myna__cpu_init(&err), &err);
      assert_int_equal(myna__cpu(), l);
    } else {
      ASSERT_FAILS(myna__cpu_init(&err), MYNA_E_ARG, &err, "not supported");
      assert_non_null(strstr(err.msg, "available: ref"));
      assert_int_equal(myna__cpu(), best_supported());
    }
  }
  setenv("MYNA_CPU", "fast", 1);
  err = (myna_err){0};
  ASSERT_FAILS(myna__cpu_init(&err), MYNA_E_ARG, &err, "MYNA_CPU=fast is unknown; available: ref");
  char list[200] = "available: ref";
  for (int l = 1; l < MYNA__CPU_COUNT; l++)
    if (myna__cpu_supported((myna__cpu_level)l)) strcat(strcat(list, ", "), myna__cpu_name((myna__cpu_level)l));
  assert_string_equal(strstr(err.msg, "available: "), list);
  myna__cpu_force(MYNA__CPU_REF);
  assert_int_equal(myna__cpu(), MYNA__CPU_REF);
}

/* ---- thread counts ---- */

static char root[64];

static void put(const char *rel, const char *text) {
  char path[512];
  snprintf(path, sizeof path, "%s%s", root, rel);
  for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
    *p = 0;
    mkdir(path, 0755);
    *p = '/';
  }
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void siblings(int cpu, const char *text) {
  char rel[128];
  snprintf(rel, sizeof rel, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
  put(rel, text);
}

static int fresh_root(void **state) {
  snprintf(root, sizeof root, "/tmp/myna-root-XXXXXX");
  return mkdtemp(root) ? 0 : -1;
}
static int remove_root(void **state) {
  char cmd[128];
  snprintf(cmd, sizeof cmd, "rm -r %s", root);
  return system(cmd);
}

/* cpus 0..n-1 */
static int count(int n) {
  int cpus[200];
  for (int i = 0; i < n; i++) cpus[i] = i;
  return myna__cpu_count(root, cpus, n);
}

static void test_cores(void **state) {
  assert_int_equal(count(1), 1);
  assert_int_equal(count(6), 6); /* nothing known: each a core */
  assert_int_equal(count(200), 200);
  for (int i = 0; i < 8; i++) { /* 0 and 4 share a core, 1 and 5, ... */
    char text[32];
    snprintf(text, sizeof text, "%d,%d\n", i % 4, i % 4 + 4);
    siblings(i, text);
  }
  assert_int_equal(count(8), 4);
  assert_int_equal(count(3), 3);
  int upper[] = {4, 5, 6, 7}; /* the other halves of four cores */
  assert_int_equal(myna__cpu_count(root, upper, 4), 4);
  int mixed[] = {0, 4, 1, 5, 2};
  assert_int_equal(myna__cpu_count(root, mixed, 5), 3);
  const int want[] = {0, 1, 2, 4, 5}; /* one per core first, order kept */
  assert_memory_equal(mixed, want, sizeof want);
  siblings(10, "10,40\n");
  siblings(40, "10,40\n");
  siblings(11, "11,41\n");
  int high[] = {10, 11, 40};
  assert_int_equal(myna__cpu_count(root, high, 3), 2);
  for (int i = 100; i < 200; i++) { /* pairs everywhere */
    char text[32];
    snprintf(text, sizeof text, "%d-%d\n", i / 2 * 2, i / 2 * 2 + 1);
    siblings(i, text);
  }
  int pairs[100];
  for (int i = 0; i < 100; i++) pairs[i] = 100 + i;
  assert_int_equal(myna__cpu_count(root, pairs, 100), 50);
  for (int i = 0; i < 50; i++) assert_int_equal(pairs[i], 100 + 2 * i);
  siblings(20, "20");
  int decimal[] = {20, 22}; /* nothing is known of 22 */
  assert_int_equal(myna__cpu_count(root, decimal, 2), 2);
  siblings(0, "nonsense");
  siblings(1, "99999999");
  siblings(2, "");
  assert_int_equal(count(4), 4);
}

static void test_quota_v2(void **state) {
  put("/proc/self/cgroup", "0::/a/b\n");
  put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  assert_int_equal(count(8), 8);
  put("/sys/fs/cgroup/a/b/cpu.max", "300000 100000\n");
  assert_int_equal(count(8), 3);
  assert_int_equal(count(2), 2);
  put("/sys/fs/cgroup/a/cpu.max", "150000 100000\n"); /* a parent is tighter: 1.5 is one thread */
  assert_int_equal(count(8), 1);
  put("/sys/fs/cgroup/a/cpu.max", "10000 100000\n");
  assert_int_equal(count(8), 1); /* at least one */
  put("/sys/fs/cgroup/a/cpu.max", "399000 100000\n");
  put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  assert_int_equal(count(8), 4); /* 3.99 */
  const char *const none[] = {"garbage\n", "", "200000\n", "200000 0\n", "0 100000\n", "-1 100000\n", "-2 -1\n"};
  for (size_t i = 0; i < MYNA__COUNT(none); i++) {
    put("/sys/fs/cgroup/a/cpu.max", none[i]);
    assert_int_equal(count(8), 8);
  }
  /* a path of the host that is not visible here: the root is our group */
  put("/proc/self/cgroup", "0::/docker/0123\n");
  put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  assert_int_equal(count(8), 2);
  put("/proc/self/cgroup", "0::/\n");
  assert_int_equal(count(8), 2);
}

/* The last byte that is read of a long file counts, and one that is longer is cut: no path, so the root's quota. */
static void test_long_files(void **state) {
  static char text[5000];
  put("/sys/fs/cgroup/cpu.max", "500000 100000\n");
  put("/sys/fs/cgroup/q/cpu.max", "200000 100000\n");
  for (size_t n = 4090; n <= 4100; n++) {
    memset(text, 'x', sizeof text);
    snprintf(text + n - 6, 7, "\n0::/q");
    put("/proc/self/cgroup", text);
    /* 4,095 bytes are read: the whole path, then "0::/", then "0:", which is no line */
    assert_int_equal(count(8), n <= 4095 ? 2 : n <= 4097 ? 5 : 8);
  }
  put("/proc/self/cgroup", "0::/q\n");
  memset(text, ' ', 400); /* numbers far behind are not read */
  strcpy(text + 400, "200000 100000");
  put("/sys/fs/cgroup/q/cpu.max", text);
  assert_int_equal(count(8), 5);
}

/* Paths too long for a name of a file: as if there were none. */
static void test_long_paths(void **state) {
  static char text[4000];
  put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
  for (size_t n = 900; n < 1100; n++) {
    snprintf(text, sizeof text, "0::/%0*d/%0*d\n", 200, 0, (int)n, 0);
    put("/proc/self/cgroup", text);
    assert_int_equal(count(8), 3);
  }
}

static void test_quota_v1(void **state) {
  put("/proc/self/cgroup", "12:memory:/x\n4:cpu,cpuacct:/x\n1:name=systemd:/x\n0::/x\n");
  put("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
  put("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  assert_int_equal(count(8), 8);
  put("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "500000\n");
  assert_int_equal(count(8), 5);
  put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
  put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  assert_int_equal(count(8), 2);
  put("/proc/self/cgroup", "broken line\n::\n:\n\n");
  assert_int_equal(count(8), 8);
  const char *const names[] = {"cpu", "cpu,cpuacct", "cpuacct,cpu", "cpuset", "memory"};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) { /* only the controller of processor time counts */
    char line[64], quota[128], period[128];
    snprintf(line, sizeof line, "4:%s:/y\n", names[i]);
    snprintf(quota, sizeof quota, "/sys/fs/cgroup/%s/y/cpu.cfs_quota_us", names[i]);
    snprintf(period, sizeof period, "/sys/fs/cgroup/%s/y/cpu.cfs_period_us", names[i]);
    put("/proc/self/cgroup", line);
    put(quota, "200000\n");
    assert_int_equal(count(8), i == 1 ? 2 : 8); /* no period; above is one of 250,000 */
    put(period, "100000");
    assert_int_equal(count(8), i < 3 ? 2 : 8);
  }
  put("/proc/self/cgroup", "4:cpu:/z\n");
  put("/sys/fs/cgroup/cpu/z/cpu.cfs_period_us", "100000\n");
  assert_int_equal(count(8), 8); /* no quota */
  put("/sys/fs/cgroup/cpu/y/cpu.cfs_quota_us", "-1\n");
  put("/proc/self/cgroup", "3:cpu:/y\n4:cpu,cpuacct:/x\n"); /* the tightest of several */
  assert_int_equal(count(8), 2);
}

/* Ours instead of the C library's: it may fail. */
static bool no_affinity;
int sched_getaffinity(pid_t pid, size_t n, cpu_set_t *set) {
  if (no_affinity) return -1;
  memset(set, 0, n);
  return syscall(SYS_sched_getaffinity, pid, n, set) < 0 ? -1 : 0;
}

static void test_this_machine(void **state) {
  int cpus[1024];
  int n = myna__cpu_allowed(cpus, 1024);
  assert_in_range(n, 1, 1024);
  cpu_set_t set;
  assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
  assert_int_equal(n, CPU_COUNT(&set));
  for (int i = 0; i < n; i++) {
    assert_true(CPU_ISSET(cpus[i], &set));
    for (int k = 0; k < i; k++) assert_int_not_equal(cpus[i], cpus[k]);
  }
  assert_int_equal(myna__cpu_allowed(cpus, 1), 1);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpus[n - 1], &one);
  if (sched_setaffinity(0, sizeof one, &one) == 0) { /* a thread that may use one CPU sees one */
    int only[4];
    assert_int_equal(myna__cpu_allowed(only, 4), 1);
    assert_int_equal(only[0], cpus[n - 1]);
    sched_setaffinity(0, sizeof set, &set);
  }
  assert_in_range(myna__cpu_default_threads(), 1, n);
  int again = myna__cpu_default_threads();
  assert_in_range(again, 1, n);
  assert_int_equal(again, myna__cpu_count("", cpus, myna__cpu_allowed(cpus, 1024)));
  no_affinity = true; /* then all that are online */
  for (int max = 1; max < 4; max++) {
    n = myna__cpu_allowed(cpus, max);
    assert_int_equal(n, MYNA__MIN(sysconf(_SC_NPROCESSORS_ONLN), max));
    for (int cpu = 0; cpu < n; cpu++) {
      int at = 0;
      while (at < n && cpus[at] != cpu) at++;
      assert_true(at < n);
    }
  }
  no_affinity = false;
}

/* Nodes are numbered by what of them may be used; lists have ranges and single numbers. */
static void test_nodes(void **state) {
  const int cpus[] = {0, 1, 9, 10, 40, 3};
  int node[6];
  memset(node, 7, sizeof node);
  assert_int_equal(myna__cpu_nodes(root, cpus, 6, node), 1); /* no such files */
  for (int i = 0; i < 6; i++) assert_int_equal(node[i], 0);
  put("/sys/devices/system/node/online", "0-2,7\n");
  put("/sys/devices/system/node/node0/cpulist", "0-3,40\n");
  put("/sys/devices/system/node/node1/cpulist", "16-31\n"); /* none of ours */
  put("/sys/devices/system/node/node2/cpulist", "8,10-11\n");
  put("/sys/devices/system/node/node3/cpulist", "9\n"); /* not online */
  put("/sys/devices/system/node/node7/cpulist", "9\n");
  assert_int_equal(myna__cpu_nodes(root, cpus, 6, node), 3);
  const int want[] = {0, 0, 2, 1, 0, 0};
  assert_memory_equal(node, want, sizeof want);
  assert_int_equal(myna__cpu_nodes(root, cpus + 2, 1, node), 1);
  put("/sys/devices/system/node/online", "\n");
  assert_int_equal(myna__cpu_nodes(root, cpus, 6, node), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_supported),
      cmocka_unit_test(test_levels_x86),
      cmocka_unit_test(test_levels_arm),
      cmocka_unit_test(test_fast_bf16),
      cmocka_unit_test(test_choice),
      cmocka_unit_test_setup_teardown(test_cores, fresh_root, remove_root),
      cmocka_unit_test_setup_teardown(test_quota_v2, fresh_root, remove_root),
      cmocka_unit_test_setup_teardown(test_quota_v1, fresh_root, remove_root),
      cmocka_unit_test_setup_teardown(test_long_files, fresh_root, remove_root),
      cmocka_unit_test_setup_teardown(test_long_paths, fresh_root, remove_root),
      cmocka_unit_test_setup_teardown(test_nodes, fresh_root, remove_root),
      cmocka_unit_test(test_this_machine),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
