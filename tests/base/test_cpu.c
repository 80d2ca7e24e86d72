/* CPU levels against the kernel's own flags, MYNA_CPU, and thread counts from made-up machines. */
#include "test.h"
#include "base/base.h"
#include <sched.h>
#include <sys/stat.h>

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
  assert_int_equal(myna__cpu_supported(MYNA__CPU_AVX512BF16), avx512 && cpuinfo_has("avx512_bf16"));
  for (int l = MYNA__CPU_NEON; l < MYNA__CPU_COUNT; l++) assert_false(myna__cpu_supported((myna__cpu_level)l));
#else
  (void)cpuinfo_has; /* under qemu /proc/cpuinfo is the host's */
  for (int l = MYNA__CPU_AVX2; l < MYNA__CPU_NEON; l++) assert_false(myna__cpu_supported((myna__cpu_level)l));
  if (myna__cpu_supported(MYNA__CPU_ARMBF16)) assert_true(myna__cpu_supported(MYNA__CPU_I8MM));
  if (myna__cpu_supported(MYNA__CPU_I8MM)) assert_true(myna__cpu_supported(MYNA__CPU_NEON));
#endif
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
  ASSERT_OK_ERR(myna__cpu_init(&err), &err);
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
  assert_non_null(strstr(err.msg, myna__cpu_name(best_supported())));
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
  put("/sys/fs/cgroup/a/cpu.max", "garbage\n");
  assert_int_equal(count(8), 8);
  /* a path of the host that is not visible here: the root is our group */
  put("/proc/self/cgroup", "0::/docker/0123\n");
  put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  assert_int_equal(count(8), 2);
  put("/proc/self/cgroup", "0::/\n");
  assert_int_equal(count(8), 2);
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
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_supported),
      cmocka_unit_test(test_choice),
      cmocka_unit_test_setup_teardown(test_cores, fresh_root, remove_root),
      cmocka_unit_test_setup_teardown(test_quota_v2, fresh_root, remove_root),
      cmocka_unit_test_setup_teardown(test_quota_v1, fresh_root, remove_root),
      cmocka_unit_test(test_this_machine),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
