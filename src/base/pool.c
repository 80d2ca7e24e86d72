/* pool.c: a fixed set of threads that run numbered units of one function.
 *
 * A run opens the pool, everyone takes units from one counter, the caller closes the pool when the counter is spent
 * and waits for the workers that had joined. A worker that is asleep or not scheduled is not waited for, so a run never
 * costs more than the caller alone would need plus one unit: this is what keeps oversubscribed machines usable.
 *
 * `state`:   bit 31  open: workers may join
 *            bit 30  the caller sleeps on this word
 *            0..29   workers inside
 * `epoch` changes with every run and is what idle workers wait on. fn, arg and n_units are written while nobody is
 * inside and read only after joining. */
#include "base/base.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#ifdef __linux__
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { LINE = 64, MAX_THREADS = 1024 };
#define OPEN 0x80000000u
#define CALLER_SLEEPS 0x40000000u
#define INSIDE 0x3FFFFFFFu
static const double SPIN_SECONDS = 20e-6; /* longer than the gap between two regions of a step, shorter than a tick */

enum { MAX_NODES = 8 }; /* machines with more are used as if they had so many */

struct worker {
  pthread_t thread;
  myna__pool *pool;
  int index, cpu; /* cpu -1: not pinned */
  int node;       /* of the pool's; -1: bound to none */
};

/* Units of one node; a counter per cache line. */
struct share {
  _Alignas(LINE) _Atomic int64_t next;
};

struct myna__pool {
  _Alignas(LINE) _Atomic uint32_t epoch;
  _Atomic int sleepers;
  _Alignas(LINE) _Atomic uint32_t state;
  struct share share[MAX_NODES];
  _Alignas(LINE) myna__pool_fn fn;
  void *arg;
  int64_t n_units;
  _Alignas(LINE) _Atomic bool stop;
  _Atomic int64_t regions;
  bool may_spin;
  int n_threads, n_started;
  int n_shares;                                /* 1, or with NUMA distribution the number of nodes */
  int n_cpus;                                  /* of the machine that this process may use */
  int cpus[MAX_THREADS], node_of[MAX_THREADS]; /* [n_cpus] */
  size_t size;
  struct worker workers[];
};

/* The pool and index this thread works for at the moment: nested runs are serial and keep the index, so that
 * per-worker scratch stays exclusive. */
static _Thread_local const myna__pool *current_pool;
static _Thread_local int current_index;
static _Thread_local bool in_run;

/* ---- floating-point mode: default rounding, all exceptions masked, subnormals flushed ---- */

#if defined(__x86_64__)
typedef unsigned fp_mode;
static fp_mode fp_enter(void) {
  unsigned old = _mm_getcsr();
  _mm_setcsr(0x1F80 | 0x8000 | 0x0040); /* masks, FTZ, DAZ */
  return old;
}
static void fp_leave(fp_mode old) { _mm_setcsr(old); }
#elif defined(__aarch64__)
typedef uint64_t fp_mode;
static fp_mode fp_enter(void) {
  uint64_t old;
  __asm__ volatile("mrs %0, fpcr" : "=r"(old));
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24)); /* FZ: inputs and results */
  return old;
}
static void fp_leave(fp_mode old) { __asm__ volatile("msr fpcr, %0" : : "r"(old)); }
#else
typedef int fp_mode;
static fp_mode fp_enter(void) { return 0; }
static void fp_leave(fp_mode old) { (void)old; }
#endif

/* ---- waiting ---- */

static inline void cpu_pause(void) {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory"); /* yield is a no-op on most cores */
#endif
}

#ifdef __linux__
/* Returns at once when *word != expected; may return for no reason. */
static void word_wait(_Atomic uint32_t *word, uint32_t expected) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL);
}
static void word_wake_all(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX); }
#else
/* Untested: one lock for all words where there is no futex. */
static pthread_mutex_t word_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t word_cond = PTHREAD_COND_INITIALIZER;
static void word_wait(_Atomic uint32_t *word, uint32_t expected) {
  pthread_mutex_lock(&word_lock);
  if (atomic_load(word) == expected) pthread_cond_wait(&word_cond, &word_lock);
  pthread_mutex_unlock(&word_lock);
}
static void word_wake_all(_Atomic uint32_t *word) {
  (void)word;
  pthread_mutex_lock(&word_lock);
  pthread_cond_broadcast(&word_cond);
  pthread_mutex_unlock(&word_lock);
}
#endif

/* Waits shortly while (*word & mask) is `value` (`equal`) or is anything else; the clock is read every 32 pauses (no
 * system call). True when the wait is over. */
static bool spin_while(const myna__pool *p, _Atomic uint32_t *word, uint32_t mask, uint32_t value, bool equal) {
  double until = 0;
  for (int i = 1;; i++) {
    if (((atomic_load_explicit(word, memory_order_acquire) & mask) == value) != equal) return true;
    if (!p->may_spin) return false;
    cpu_pause();
    if (i % 32 != 0) continue;
    double now = myna__now();
    if (until == 0) until = now + SPIN_SECONDS;
    if (now >= until) return false;
  }
}

/* ---- runs ---- */

/* Units of the worker's own node first: the same rows of a matrix are read on the same node in every run, so that their pages, placed by the
 * first touch, are near. Then what others have left. */
static void take_units(myna__pool *p, int index) {
  myna__pool_fn fn = p->fn;
  void *arg = p->arg;
  int64_t n = p->n_units, unit;
  int shares = p->n_shares;
  for (int k = 0; k < shares; k++) {
    int s = (index + k) % shares;
    int64_t end = n * (s + 1) / shares;
    while ((unit = atomic_fetch_add_explicit(&p->share[s].next, 1, memory_order_relaxed)) < end) fn(arg, unit, index);
  }
}

static void work_as(myna__pool *p, int index) {
  current_pool = p;
  current_index = index;
  in_run = true;
  take_units(p, index);
  in_run = false;
}

static bool join_run(myna__pool *p) {
  uint32_t s = atomic_load_explicit(&p->state, memory_order_relaxed);
  while (s & OPEN)
    if (atomic_compare_exchange_weak_explicit(&p->state, &s, s + 1, memory_order_acquire, memory_order_relaxed))
      return true;
  return false;
}

static void leave_run(myna__pool *p) {
  uint32_t old = atomic_fetch_sub_explicit(&p->state, 1, memory_order_release);
  if ((old & CALLER_SLEEPS) && (old & INSIDE) == 1) word_wake_all(&p->state);
}

static void wait_for_run(myna__pool *p, uint32_t seen) {
  if (spin_while(p, &p->epoch, UINT32_MAX, seen, true)) return;
  /* Announce, then let the kernel compare: run_parallel stores the epoch before it looks for sleepers. */
  atomic_fetch_add(&p->sleepers, 1);
  while (atomic_load(&p->epoch) == seen) word_wait(&p->epoch, seen);
  atomic_fetch_sub(&p->sleepers, 1);
}

/* Binds the calling thread to the worker's processor or node: best effort, a hint for speed. */
static void bind(const struct worker *w) {
#ifdef __linux__
  const myna__pool *p = w->pool;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (w->cpu >= 0 && w->cpu < CPU_SETSIZE) CPU_SET(w->cpu, &set);
  for (int i = 0; i < p->n_cpus && w->cpu < 0 && w->node >= 0; i++)
    if (p->node_of[i] == w->node && p->cpus[i] < CPU_SETSIZE) CPU_SET(p->cpus[i], &set);
  if (CPU_COUNT(&set) > 0) pthread_setaffinity_np(pthread_self(), sizeof set, &set);
#endif
}

void myna__pool_bind_caller(myna__pool *p) {
  if (p) bind(&p->workers[0]);
}

static void *worker_main(void *arg) {
  struct worker *w = arg;
  myna__pool *p = w->pool;
  fp_enter();
#ifdef __linux__
  char name[16];
  snprintf(name, sizeof name, "myna-%d", w->index);
  pthread_setname_np(pthread_self(), name);
#endif
  bind(w);
  for (uint32_t seen = 0;;) {
    wait_for_run(p, seen);
    seen = atomic_load(&p->epoch);
    if (atomic_load(&p->stop)) return NULL;
    if (!join_run(p)) continue;
    work_as(p, w->index);
    leave_run(p);
  }
}

/* The caller's wait for those inside; ends with state 0. */
static void wait_until_left(myna__pool *p) {
  spin_while(p, &p->state, INSIDE, 0, false);
  for (;;) {
    uint32_t s = atomic_load_explicit(&p->state, memory_order_acquire);
    if ((s & INSIDE) == 0) break;
    if ((s & CALLER_SLEEPS) || atomic_compare_exchange_weak(&p->state, &s, s | CALLER_SLEEPS))
      word_wait(&p->state, s | CALLER_SLEEPS);
  }
  atomic_store_explicit(&p->state, 0, memory_order_relaxed);
}

static void signal_epoch(myna__pool *p) {
  atomic_fetch_add(&p->epoch, 1);
  if (atomic_load(&p->sleepers) > 0) word_wake_all(&p->epoch);
}

static void run_parallel(myna__pool *p, int64_t n_units, myna__pool_fn fn, void *arg) {
  assert(atomic_load(&p->state) == 0); /* one run at a time */
  p->fn = fn;
  p->arg = arg;
  p->n_units = n_units;
  for (int s = 0; s < p->n_shares; s++)
    atomic_store_explicit(&p->share[s].next, n_units * s / p->n_shares, memory_order_relaxed);
  atomic_store_explicit(&p->state, OPEN, memory_order_release);
  atomic_fetch_add_explicit(&p->regions, 1, memory_order_relaxed);
  signal_epoch(p);
  work_as(p, 0);
  atomic_fetch_and_explicit(&p->state, ~OPEN, memory_order_relaxed);
  wait_until_left(p);
}

static void run_serial(int64_t n_units, myna__pool_fn fn, void *arg, int index) {
  for (int64_t unit = 0; unit < n_units; unit++) fn(arg, unit, index);
}

void myna__pool_run(myna__pool *p, int64_t n_units, myna__pool_fn fn, void *arg) {
  if (in_run) {
    run_serial(n_units, fn, arg, p && p == current_pool ? current_index : 0);
    return;
  }
  fp_mode mode = fp_enter();
  if (p && p->n_threads > 1 && n_units > 1)
    run_parallel(p, n_units, fn, arg);
  else {
    current_pool = p;
    current_index = 0;
    in_run = true;
    run_serial(n_units, fn, arg, 0);
    in_run = false;
  }
  fp_leave(mode);
}

int myna__pool_size(const myna__pool *p) { return p ? p->n_threads : 1; }

int64_t myna__pool_regions(const myna__pool *p) {
  return p ? atomic_load_explicit(&p->regions, memory_order_relaxed) : 0;
}

/* ---- life ---- */

/* Faults stay open: a blocked SIGBUS would kill us without the handler that names the file. */
int myna__thread_start(pthread_t *t, void *(*fn)(void *arg), void *arg) {
  sigset_t block, old;
  sigfillset(&block);
  const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  for (size_t i = 0; i < MYNA__COUNT(faults); i++) sigdelset(&block, faults[i]);
  pthread_sigmask(SIG_SETMASK, &block, &old);
  int rc = pthread_create(t, NULL, fn, arg);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return rc;
}

/* Nodes of the processors that may be used, as the mode wants them. Isolation keeps those of the caller's node. */
static void find_nodes(myna__pool *p, const myna__pool_options *o) {
  p->n_shares = 1;
  if (o->numa != MYNA_NUMA_DISTRIBUTE && o->numa != MYNA_NUMA_ISOLATE) return;
  const char *root = o->sysfs ? o->sysfs : "";
  int n_nodes = myna__cpu_nodes(root, p->cpus, p->n_cpus, p->node_of);
  if (n_nodes < 2) {
    myna__log(1, "numa: one node: no effect");
    return;
  }
  if (o->numa == MYNA_NUMA_DISTRIBUTE) {
    p->n_shares = MYNA__MIN(n_nodes, MAX_NODES);
    return;
  }
  int here = 0, kept = 0;
#ifdef __linux__
  int cpu = sched_getcpu();
  for (int i = 0; i < p->n_cpus; i++)
    if (p->cpus[i] == cpu) here = p->node_of[i];
#endif
  for (int i = 0; i < p->n_cpus; i++)
    if (p->node_of[i] == here) {
      p->cpus[kept] = p->cpus[i];
      p->node_of[kept++] = 0;
    }
  p->n_cpus = kept;
}

/* The i-th processor of a node, around again. */
static int cpu_of_node(const myna__pool *p, int node, int i) {
  int count = 0;
  for (int k = 0; k < p->n_cpus; k++) count += p->node_of[k] == node;
  for (int k = 0, at = count ? i % count : 0; k < p->n_cpus; k++)
    if (p->node_of[k] == node && at-- == 0) return p->cpus[k];
  return -1;
}

static void place_worker(myna__pool *p, int i, const myna__pool_options *o) {
  bool by_node = o->numa == MYNA_NUMA_ISOLATE || p->n_shares > 1;
  struct worker *w = &p->workers[i];
  *w = (struct worker){.pool = p, .index = i, .cpu = -1, .node = by_node ? i % p->n_shares : -1};
  if (o->pin) w->cpu = by_node ? cpu_of_node(p, w->node, i / p->n_shares) : p->cpus[i % p->n_cpus];
}

int myna__pool_open(myna__pool **out, const myna__pool_options *o, myna_err *err) {
  int n_threads = o->n_threads;
  *out = NULL;
  if (n_threads < 0 || n_threads > MAX_THREADS)
    return myna__err(err, MYNA_E_ARG, "%d threads asked for; 1 to %d are possible (0: default)", n_threads,
                     MAX_THREADS);
  int cpus[MAX_THREADS];
  if (n_threads == 0) n_threads = MYNA__MIN(myna__cpu_default_threads(), MAX_THREADS);
  size_t size = sizeof(myna__pool) + (size_t)n_threads * sizeof(struct worker);
  myna__pool *p = myna__calloc(size);
  if (!p) return myna__err(err, MYNA_E_NOMEM, "no memory for %d threads", n_threads);
  p->size = size;
  p->n_cpus = myna__cpu_allowed(p->cpus, MAX_THREADS);
  find_nodes(p, o);
  memcpy(cpus, p->cpus, sizeof cpus);
  if (o->n_threads == 0 && o->numa == MYNA_NUMA_ISOLATE)
    n_threads = MYNA__MIN(n_threads, myna__cpu_count(o->sysfs ? o->sysfs : "", cpus, p->n_cpus));
  p->n_threads = n_threads;
  p->may_spin = n_threads <= p->n_cpus && !o->no_spin;
  place_worker(p, 0, o);
  for (p->n_started = 1; p->n_started < n_threads; p->n_started++) { /* the caller is the first */
    struct worker *w = &p->workers[p->n_started];
    place_worker(p, p->n_started, o);
    int rc = myna__thread_start(&w->thread, worker_main, w);
    if (rc != 0) {
      myna__pool_free(p);
      return myna__err(err, MYNA_E_LIMIT, "cannot start %d threads: %s", n_threads, strerror(rc));
    }
  }
  *out = p;
  return 0;
}

int myna__pool_new(myna__pool **out, int n_threads, bool pin, myna_err *err) {
  return myna__pool_open(out, &(myna__pool_options){.n_threads = n_threads, .pin = pin}, err);
}

void myna__pool_free(myna__pool *p) {
  if (!p) return;
  assert(atomic_load(&p->state) == 0);
  atomic_store(&p->stop, true);
  signal_epoch(p);
  for (int i = 1; i < p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
  myna__free(p, p->size);
}
