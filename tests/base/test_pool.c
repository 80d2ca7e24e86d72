/* The pool: every unit exactly once for any number of threads, order, nesting, many short runs, floating-point mode,
 * no allocation, pinning, failures. Written to be run under TSan too. */
#include "test.h"
#include "base/base.h"
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const int thread_counts[] = {1, 2, 3, 8};

static myna__pool *pool_of(int n) {
  myna__pool *p;
  myna_err err = {0};
  ASSERT_OK_ERR(myna__pool_new(&p, n, false, &err), &err);
  assert_int_equal(myna__pool_size(p), n);
  return p;
}

enum { MAX_UNITS = 5000 };
struct units {
  int hits[MAX_UNITS]; /* not atomic: a unit belongs to one thread */
  int by[MAX_UNITS];
  _Atomic int busy[8]; /* workers inside fn */
  int n_threads;
};
static void hit(void *arg, int64_t unit, int worker) {
  struct units *u = arg;
  if (worker < 0 || worker >= u->n_threads || atomic_fetch_add(&u->busy[worker], 1) != 0) abort();
  u->hits[unit]++;
  u->by[unit] = worker;
  atomic_fetch_sub(&u->busy[worker], 1);
}

static void test_every_unit(void **state) {
  static struct units u;
  for (size_t k = 0; k < MYNA__COUNT(thread_counts); k++) {
    myna__pool *p = pool_of(thread_counts[k]);
    const int64_t counts[] = {0, 1, 2, 3, 7, 64, 1000, MAX_UNITS};
    int64_t regions = 0;
    for (size_t c = 0; c < MYNA__COUNT(counts); c++) {
      memset(&u, 0, sizeof u);
      u.n_threads = thread_counts[k];
      myna__pool_run(p, counts[c], hit, &u);
      for (int i = 0; i < MAX_UNITS; i++) assert_int_equal(u.hits[i], i < counts[c]);
      if (counts[c] > 1 && thread_counts[k] > 1) regions++;
      assert_int_equal(myna__pool_regions(p), regions);
    }
    myna__pool_run(p, -5, hit, &u); /* nothing */
    myna__pool_free(p);
  }
  memset(&u, 0, sizeof u);
  u.n_threads = 1;
  myna__pool_run(NULL, 10, hit, &u);
  for (int i = 0; i < 10; i++) assert_int_equal(u.hits[i], 1);
  assert_int_equal(myna__pool_size(NULL), 1);
  assert_int_equal(myna__pool_regions(NULL), 0);
  myna__pool_free(NULL);
}

/* A unit may wait for a lower one: units start in ascending order, so that this always ends. */
static _Atomic int64_t started;
static void wait_for_previous(void *arg, int64_t unit, int worker) {
  while (atomic_load(&started) < unit) sched_yield();
  int64_t want = unit;
  if (!atomic_compare_exchange_strong(&started, &want, unit + 1)) abort();
}
static void test_ascending(void **state) {
  for (size_t k = 0; k < MYNA__COUNT(thread_counts); k++) {
    myna__pool *p = pool_of(thread_counts[k]);
    atomic_store(&started, 0);
    myna__pool_run(p, 500, wait_for_previous, NULL);
    assert_int_equal(atomic_load(&started), 500);
    myna__pool_free(p);
  }
}

/* All threads take part: each unit waits until as many workers as there are threads have been seen. */
static _Atomic unsigned workers_seen;
static void meet(void *arg, int64_t unit, int worker) {
  atomic_fetch_or(&workers_seen, 1u << worker);
  unsigned all = (1u << *(int *)arg) - 1;
  while (atomic_load(&workers_seen) != all) sched_yield();
}
static void test_all_take_part(void **state) {
  for (size_t k = 0; k < MYNA__COUNT(thread_counts); k++) {
    int n = thread_counts[k];
    myna__pool *p = pool_of(n);
    for (int round = 0; round < 20; round++) {
      atomic_store(&workers_seen, 0);
      if (round % 4 == 3) usleep(2000); /* long enough that workers sleep on the futex */
      myna__pool_run(p, n, meet, &n);
      assert_int_equal(atomic_load(&workers_seen), (1u << n) - 1);
    }
    myna__pool_free(p);
  }
}

/* Many short runs, each seeing the results of the one before. */
struct sum {
  int64_t in[16], out[16];
};
static void add_all(void *arg, int64_t unit, int worker) {
  struct sum *s = arg;
  int64_t sum = unit;
  for (int i = 0; i < 16; i++) sum += s->in[i];
  s->out[unit] = sum & 0xFFFF;
}
static void test_short_runs(void **state) {
  struct sum want = {0};
  for (int run = 0; run < 3000; run++) {
    for (int u = 0; u < 16; u++) add_all(&want, u, 0);
    memcpy(want.in, want.out, sizeof want.in);
  }
  for (size_t k = 0; k < MYNA__COUNT(thread_counts); k++) {
    myna__pool *p = pool_of(thread_counts[k]);
    struct sum s = {0};
    for (int run = 0; run < 3000; run++) {
      myna__pool_run(p, 16, add_all, &s);
      memcpy(s.in, s.out, sizeof s.in);
      if (run % 500 == 0) usleep(1000);
    }
    assert_memory_equal(s.out, want.out, sizeof s.out);
    myna__pool_free(p);
  }
}

struct nested {
  myna__pool *pool;
  _Atomic int inner, mismatches;
};
static void inner_unit(void *arg, int64_t unit, int worker) {
  struct nested *n = arg;
  atomic_fetch_add(&n->inner, 1);
}
static _Thread_local int my_worker;
static void inner_check(void *arg, int64_t unit, int worker) {
  struct nested *n = arg;
  atomic_fetch_add(&n->inner, 1);
  if (worker != my_worker) atomic_fetch_add(&n->mismatches, 1);
}
static void inner_null(void *arg, int64_t unit, int worker) {
  struct nested *n = arg;
  if (worker != 0) atomic_fetch_add(&n->mismatches, 1);
}
static void outer_unit(void *arg, int64_t unit, int worker) {
  struct nested *n = arg;
  my_worker = worker;
  myna__pool_run(n->pool, 10, inner_check, n); /* keeps the worker's index: its scratch is its own */
  myna__pool_run(NULL, 3, inner_null, n);      /* a pool of one has only worker 0 */
}
static void test_nested(void **state) {
  for (size_t k = 0; k < MYNA__COUNT(thread_counts); k++) {
    static struct nested n;
    memset(&n, 0, sizeof n);
    n.pool = pool_of(thread_counts[k]);
    myna__pool_run(n.pool, 50, outer_unit, &n);
    assert_int_equal(atomic_load(&n.inner), 500);
    assert_int_equal(atomic_load(&n.mismatches), 0);
    assert_int_equal(myna__pool_regions(n.pool), thread_counts[k] > 1 ? 1 : 0);
    /* not nested any more */
    myna__pool_run(n.pool, 50, inner_unit, &n);
    assert_int_equal(myna__pool_regions(n.pool), thread_counts[k] > 1 ? 2 : 0);
    myna__pool_free(n.pool);
  }
}

/* ---- floating point ---- */

struct fp {
  volatile float tiny, half;
  _Atomic int not_flushed, wrong_rounding;
};
static void check_fp(void *arg, int64_t unit, int worker) {
  struct fp *f = arg;
  if (f->tiny * f->half != 0) atomic_fetch_add(&f->not_flushed, 1); /* result subnormal: FTZ */
  volatile float subnormal = 1e-40f;
  volatile float one = 1.0f;
  if (subnormal * one * 0x1p100f != 0) atomic_fetch_add(&f->not_flushed, 1); /* input subnormal: DAZ */
  volatile float third = one / 3.0f;
  if (third != 0x1.555556p-2f) atomic_fetch_add(&f->wrong_rounding, 1);
  sched_yield();
}
static void test_flush(void **state) {
  for (size_t k = 0; k <= MYNA__COUNT(thread_counts); k++) {
    myna__pool *p = k ? pool_of(thread_counts[k - 1]) : NULL;
    struct fp f = {.tiny = 1.2e-38f, .half = 0.5f};
    for (int mode = 0; mode < 2; mode++) {
      if (mode) fesetround(FE_UPWARD); /* what the caller had is neither used nor lost */
#if defined(__x86_64__)
      unsigned before = _mm_getcsr();
#endif
      for (int64_t n = 1; n <= 200; n += 199) myna__pool_run(p, n, check_fp, &f);
      assert_int_equal(atomic_load(&f.not_flushed), 0);
      assert_int_equal(atomic_load(&f.wrong_rounding), 0);
#if defined(__x86_64__)
      assert_int_equal(_mm_getcsr(), before);
#endif
      assert_int_equal(fegetround(), mode ? FE_UPWARD : FE_TONEAREST);
      assert_true(f.tiny * f.half != 0); /* the caller computes subnormals again */
      fesetround(FE_TONEAREST);
    }
    myna__pool_free(p);
  }
}

/* ---- waiting costs no processor time for long ---- */

static double cpu_seconds(int who) {
  struct rusage u;
  getrusage(who, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static _Atomic bool worker_joined;
static void long_worker(void *arg, int64_t unit, int worker) {
  if (worker > 0) {
    atomic_store(&worker_joined, true);
    usleep(200000);
  }
  while (!atomic_load(&worker_joined)) usleep(100);
}

static void test_sleeping(void **state) {
  myna__pool *p = pool_of(2);
  static struct units u;
  u.n_threads = 2;
  myna__pool_run(p, 10, hit, &u);
  double t = cpu_seconds(RUSAGE_SELF);
  usleep(200000); /* idle workers sleep */
  assert_true(cpu_seconds(RUSAGE_SELF) - t < 0.03);
  t = cpu_seconds(RUSAGE_THREAD);
  myna__pool_run(p, 2, long_worker, NULL); /* so does a caller that waits for a long unit */
  assert_true(cpu_seconds(RUSAGE_THREAD) - t < 0.03);
  myna__pool_free(p);
}

static void test_no_allocation(void **state) {
  static struct units u;
  u.n_threads = 3;
  myna__pool *p = pool_of(3);
  myna__guard_begin();
  for (int i = 0; i < 100; i++) myna__pool_run(p, 20, hit, &u);
  assert_int_equal(myna__guard_end(), 0);
  int64_t held = myna__mem_in_use();
  myna__pool_free(p);
  assert_true(myna__mem_in_use() < held);
}

static void test_arguments(void **state) {
  int64_t before = myna__mem_in_use();
  myna__pool *p = (myna__pool *)1;
  myna_err err = {0};
  ASSERT_FAILS(myna__pool_new(&p, -1, false, &err), MYNA_E_ARG, &err, "-1 threads");
  assert_null(p);
  err = (myna_err){0};
  ASSERT_FAILS(myna__pool_new(&p, 100000, false, &err), MYNA_E_ARG, &err, "100000 threads");
  test_failing f;
  test_fail_at(&f, 1);
  err = (myna_err){0};
  ASSERT_FAILS(myna__pool_new(&p, 2, false, &err), MYNA_E_NOMEM, &err, "no memory");
  test_fail_off();
  ASSERT_OK(myna__pool_new(&p, 0, false, NULL));
  assert_int_equal(myna__pool_size(p), myna__cpu_default_threads());
  myna__pool_free(p);
  assert_int_equal(myna__mem_in_use(), before);
}

/* Creating and freeing at once: workers that never saw a run end. */
static void test_short_lives(void **state) {
  for (int i = 0; i < 50; i++) {
    myna__pool *p = pool_of(1 + i % 8);
    if (i % 2) {
      struct sum s = {0};
      myna__pool_run(p, 3, add_all, &s);
    }
    myna__pool_free(p);
  }
}

/* Threads that cannot be started: an error, and those that run are stopped. In a child with little address space. */
static void test_too_many(void **state) {
#if defined(MYNA_SANITIZED) || !defined(__x86_64__)
  skip(); /* sanitizers need the space; qemu does not keep the limit */
#endif
  pid_t child = fork();
  if (child == 0) {
    alarm(30);
    struct rlimit limit = {400 << 20, 400 << 20};
    setrlimit(RLIMIT_AS, &limit);
    myna__pool *p = NULL;
    myna_err err = {0};
    int rc = myna__pool_new(&p, 1000, false, &err); /* 8 MB of stack each */
    if (rc != MYNA_E_LIMIT || p || err.code != rc || !strstr(err.msg, "1000 threads")) _exit(1);
    rc = myna__pool_new(&p, 4, false, NULL); /* there is room again */
    if (rc != 0) _exit(2);
    myna__pool_free(p);
    _exit(42);
  }
  int status;
  waitpid(child, &status, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 42);
}

/* Worker i keeps to the i-th allowed CPU, around again where there are fewer. */
static struct {
  int cpus[1024], n;
  _Atomic int wrong;
} pins;
static void where(void *arg, int64_t unit, int worker) {
  cpu_set_t set;
  if (worker > 0 && (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) != 1 ||
                     !CPU_ISSET(pins.cpus[worker % pins.n], &set)))
    atomic_fetch_add(&pins.wrong, 1);
  meet(arg, unit, worker);
}
static void test_pinned(void **state) {
  cpu_set_t before, after;
  sched_getaffinity(0, sizeof before, &before);
  myna__pool *p;
  pins.n = myna__cpu_allowed(pins.cpus, 1024);
  for (int n = 2; n < 10; n++) {
    ASSERT_OK(myna__pool_new(&p, n, true, NULL));
    atomic_store(&workers_seen, 0);
    myna__pool_run(p, n, where, &n);
    myna__pool_free(p);
  }
  assert_int_equal(atomic_load(&pins.wrong), 0);
  sched_getaffinity(0, sizeof after, &after);
  assert_true(CPU_EQUAL(&before, &after)); /* the caller's thread is its own */
}

/* ---- nodes of memory: a made-up machine whose processors, those of this one, belong to two nodes in turn ---- */

static struct {
  char root[64];
  int cpus[1024], n;
  cpu_set_t node[2];
  int first[8]; /* first unit of each worker */
  _Atomic int wrong;
} numa;

static void put_list(const char *rel, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/sys/devices/system/node/%s", numa.root, rel);
  for (char *p = path + strlen(numa.root) + 1; (p = strchr(p, '/')); *p++ = '/') {
    *p = 0;
    mkdir(path, 0755);
  }
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static int numa_setup(void **state) {
  char list[2][4096] = {"", ""}, number[16];
  snprintf(numa.root, sizeof numa.root, "/tmp/myna-nodes-XXXXXX");
  if (!mkdtemp(numa.root)) return -1;
  numa.n = MYNA__MIN(myna__cpu_allowed(numa.cpus, 1024), 500);
  for (int i = 0; i < numa.n; i++) {
    snprintf(number, sizeof number, "%s%d", i < 2 ? "" : ",", numa.cpus[i]);
    strcat(list[i % 2], number);
    CPU_SET(numa.cpus[i], &numa.node[i % 2]);
  }
  put_list("online", "0-1\n");
  put_list("node0/cpulist", list[0]);
  put_list("node1/cpulist", list[1]);
  return 0;
}
static int numa_teardown(void **state) {
  char cmd[128];
  snprintf(cmd, sizeof cmd, "rm -r %s", numa.root);
  return system(cmd);
}

/* Each worker stays in its first unit until all have one. */
static void on_node(void *arg, int64_t unit, int worker) {
  cpu_set_t set;
  int n = *(int *)arg, share = worker % 2;
  if (worker > 0 && (sched_getaffinity(0, sizeof set, &set) != 0 || !CPU_EQUAL(&set, &numa.node[share])))
    atomic_fetch_add(&numa.wrong, 1);
  if (!(atomic_load(&workers_seen) >> worker & 1)) numa.first[worker] = (int)unit;
  meet(&n, unit, worker);
}

static void test_distribute(void **state) {
  static struct units u;
  if (numa.n < 2) skip();
  for (int n = 2; n <= 8; n++) {
    myna__pool *p;
    ASSERT_OK(myna__pool_open(
        &p, &(myna__pool_options){.n_threads = n, .numa = MYNA_NUMA_DISTRIBUTE, .sysfs = numa.root}, NULL));
    atomic_store(&workers_seen, 0);
    myna__pool_run(p, 101, on_node, &n);
    for (int w = 0; w < n; w++) assert_true(w % 2 == (numa.first[w] >= 50)); /* its own half */
    const int counts[] = {2, 3, 7, 500};
    for (size_t c = 0; c < MYNA__COUNT(counts); c++) {
      memset(&u, 0, sizeof u);
      u.n_threads = n;
      myna__pool_run(p, counts[c], hit, &u);
      for (int i = 0; i < MAX_UNITS; i++) assert_int_equal(u.hits[i], i < counts[c]);
    }
    atomic_store(&started, 0);
    myna__pool_run(p, 500, wait_for_previous, NULL);
    assert_int_equal(atomic_load(&started), 500);
    myna__pool_free(p);
  }
  assert_int_equal(atomic_load(&numa.wrong), 0);
}

/* All workers and, once bound, the caller on one node. */
static void same_node(void *arg, int64_t unit, int worker) {
  cpu_set_t set;
  if (worker > 0 && (sched_getaffinity(0, sizeof set, &set) != 0 || !CPU_EQUAL(&set, (cpu_set_t *)arg)))
    atomic_fetch_add(&numa.wrong, 1);
  int n = 4;
  meet(&n, unit, worker);
}
static void test_isolate(void **state) {
  if (numa.n < 2) skip();
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  for (int round = 0; round < 8; round++) {
    myna__pool *p;
    ASSERT_OK(myna__pool_open(&p, &(myna__pool_options){.n_threads = 4, .numa = MYNA_NUMA_ISOLATE, .sysfs = numa.root},
                              NULL));
    cpu_set_t bound;
    myna__pool_bind_caller(p);
    sched_getaffinity(0, sizeof bound, &bound);
    assert_true(CPU_EQUAL(&bound, &numa.node[0]) || CPU_EQUAL(&bound, &numa.node[1]));
    atomic_store(&workers_seen, 0);
    myna__pool_run(p, 4, same_node, &bound);
    sched_setaffinity(0, sizeof before, &before);
    myna__pool_free(p);
  }
  assert_int_equal(atomic_load(&numa.wrong), 0);
}

/* On one node it is accepted, said and without effect. */
static int notes;
static void count_note(void *user, int level, const char *line) { notes += strstr(line, "one node") != NULL; }
static void test_one_node(void **state) {
  myna_set_log(count_note, NULL);
  for (myna_numa mode = MYNA_NUMA_OFF; mode <= MYNA_NUMA_NUMACTL; mode++) {
    myna__pool *p;
    notes = 0;
    ASSERT_OK(myna__pool_open(&p, &(myna__pool_options){.n_threads = 2, .numa = mode, .sysfs = "/nowhere"}, NULL));
    assert_int_equal(notes, mode == MYNA_NUMA_DISTRIBUTE || mode == MYNA_NUMA_ISOLATE);
    atomic_store(&started, 0);
    myna__pool_run(p, 100, wait_for_previous, NULL);
    myna__pool_free(p);
  }
  myna_set_log(NULL, NULL);
}

/* Signals of the process are not delivered to workers. */
static _Atomic int signalled_elsewhere, signalled;
static pthread_t main_thread;
static void on_usr1(int sig) {
  atomic_fetch_add(&signalled, 1);
  if (!pthread_equal(pthread_self(), main_thread)) atomic_fetch_add(&signalled_elsewhere, 1);
}
static void test_signals(void **state) {
  main_thread = pthread_self();
  myna__pool *p = pool_of(8);
  signal(SIGUSR1, on_usr1);
  static struct units u;
  u.n_threads = 8;
  for (int i = 0; i < 50; i++) {
    kill(getpid(), SIGUSR1);
    myna__pool_run(p, 100, hit, &u);
  }
  assert_true(atomic_load(&signalled) > 0);
  assert_int_equal(atomic_load(&signalled_elsewhere), 0);
  signal(SIGUSR1, SIG_DFL);
  myna__pool_free(p);
}

/* Faults do reach them: the handler may know why. */
static _Atomic int wrong_mask;
static void look_at_mask(void *arg, int64_t unit, int worker) {
  const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS},
            others[] = {SIGINT, SIGTERM, SIGUSR1, SIGCHLD};
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  for (size_t i = 0; i < MYNA__COUNT(faults); i++) atomic_fetch_add(&wrong_mask, sigismember(&mask, faults[i]) != 0);
  for (size_t i = 0; i < MYNA__COUNT(others) && worker > 0; i++)
    atomic_fetch_add(&wrong_mask, sigismember(&mask, others[i]) != 1);
  meet(arg, unit, worker);
}
static void test_masks(void **state) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  int n = 3;
  myna__pool *p = pool_of(n);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  for (int sig = 1; sig < 32; sig++) assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
  atomic_store(&workers_seen, 0);
  myna__pool_run(p, n, look_at_mask, &n);
  assert_int_equal(atomic_load(&wrong_mask), 0);
  myna__pool_free(p);
}

/* Two pools on two threads at once. */
static void *own_pool(void *arg) {
  myna__pool *p;
  if (myna__pool_new(&p, 3, false, NULL) < 0) abort();
  struct sum s = {0};
  for (int i = 0; i < 500; i++) {
    myna__pool_run(p, 16, add_all, &s);
    memcpy(s.in, s.out, sizeof s.in);
  }
  memcpy(arg, &s, sizeof s);
  myna__pool_free(p);
  return NULL;
}
static void test_two_pools(void **state) {
  struct sum a, b;
  pthread_t t;
  pthread_create(&t, NULL, own_pool, &a);
  own_pool(&b);
  pthread_join(t, NULL);
  assert_memory_equal(&a, &b, sizeof a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_unit),
      cmocka_unit_test(test_ascending),
      cmocka_unit_test(test_all_take_part),
      cmocka_unit_test(test_short_runs),
      cmocka_unit_test(test_nested),
      cmocka_unit_test(test_flush),
      cmocka_unit_test(test_no_allocation),
      cmocka_unit_test(test_sleeping),
      cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_short_lives),
      cmocka_unit_test(test_pinned),
      cmocka_unit_test(test_signals),
      cmocka_unit_test_setup_teardown(test_distribute, numa_setup, numa_teardown),
      cmocka_unit_test_setup_teardown(test_isolate, numa_setup, numa_teardown),
      cmocka_unit_test(test_one_node),
      cmocka_unit_test(test_two_pools),
      cmocka_unit_test(test_too_many),
      cmocka_unit_test(test_masks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
