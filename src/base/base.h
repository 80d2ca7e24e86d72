/* base.h: the lowest layer: errors, memory, strings, maps, files, threads, CPU detection.
 * Everything above may include it; it includes nothing of ours but the public base header. */
#ifndef MYNA__BASE_H
#define MYNA__BASE_H

#include "myna_base.h"
#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define MYNA__PRINTF(a, b) __attribute__((format(printf, a, b)))
#define MYNA__COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MYNA__MIN(a, b) ((a) < (b) ? (a) : (b))
#define MYNA__MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- errors (err.c) ---- */

/* Records code, message and place unless err is NULL or already holds a failure. Returns code, so that
 * `return myna__err(...)` is one line. `file` may be NULL; offset -1 where none. */
int myna__err(myna_err *err, int code, const char *fmt, ...) MYNA__PRINTF(3, 4);
int myna__err_at(myna_err *err, int code, const char *file, int64_t offset, const char *fmt, ...) MYNA__PRINTF(5, 6);

/* Leaves the function with the callee's code where nothing is held. TRY: for what returns 0 or an error; TRY_N: also counts. */
#define TRY_N(call)                  \
  do {                               \
    int try_rc_ = (call);            \
    if (try_rc_ < 0) return try_rc_; \
  } while (0)
#define TRY(call)                    \
  do {                               \
    int try_rc_ = (call);            \
    assert(try_rc_ <= 0);            \
    if (try_rc_ < 0) return try_rc_; \
  } while (0)

void myna__log(int level, const char *fmt, ...) MYNA__PRINTF(2, 3);

/* ---- memory (mem.c) ---- */

/* Uninitialised / zeroed memory of n bytes, aligned to 64 bytes when n >= 64. NULL on failure or n == 0. */
void *myna__alloc(size_t n);
void *myna__calloc(size_t n);
/* Old size as given before. A NULL result leaves the old block valid. */
void *myna__realloc(void *p, size_t old_size, size_t new_size);
void myna__free(void *p, size_t size); /* NULL is fine */
/* n bytes of zeros, or of the file fd from its start, read-only (fd >= 0), mapped at a multiple of 2 MB, with huge pages where the kernel
 * has them: a file read into the page cache through such a mapping lies there in pieces of 2 MB. NULL on failure, errno set; munmap. */
void *myna__map_huge(size_t n, int fd);
/* Keeps n bytes at p in memory until they are unlocked or unmapped; false, errno set, when the limit (ulimit -l) is too low. */
bool myna__mem_lock(const void *p, size_t n);
void myna__mem_unlock(const void *p, size_t n);
char *myna__strndup(const char *s, size_t n); /* free with myna__strfree */
void myna__strfree(char *s);

/* The allocation guard: between begin and end every allocation made through the library on any thread
 * is counted (debug aid, tests). Returns the number of allocations since begin. */
void myna__guard_begin(void);
int64_t myna__guard_end(void);
/* Bytes held now and the peak since start or last reset. */
int64_t myna__mem_in_use(void);
int64_t myna__mem_peak(bool reset);

/* Bump arena: many small objects with one lifetime. Zero-initialise. Memory is zeroed, 16-byte aligned. */
typedef struct myna__arena {
  struct myna__arena_block *head;
  size_t total;
} myna__arena;
void *myna__arena_alloc(myna__arena *a, size_t n); /* NULL on failure */
char *myna__arena_strndup(myna__arena *a, const char *s, size_t n);
void myna__arena_free(myna__arena *a);

/* Growing byte buffer. Zero-initialise. `data` is NUL-terminated once anything was added. A failed growth
 * sets `failed` and drops what does not fit; check once at the end. */
typedef struct myna__buf {
  char *data;
  size_t len, cap;
  bool failed;
} myna__buf;
void myna__buf_add(myna__buf *b, const void *p, size_t n);
void myna__buf_str(myna__buf *b, const char *s);
void myna__buf_printf(myna__buf *b, const char *fmt, ...) MYNA__PRINTF(2, 3);
void myna__buf_free(myna__buf *b);

/* Overflow-checked size arithmetic: false when the result does not fit. */
static inline bool myna__mul_ok(int64_t a, int64_t b, int64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool myna__add_ok(int64_t a, int64_t b, int64_t *out) { return !__builtin_add_overflow(a, b, out); }

/* ---- hash map from bytes to int64 (map.c) ---- */

/* Open addressing; keys are borrowed (must outlive the map). Zero-initialise. */
typedef struct myna__map {
  struct myna__map_slot *slots;
  size_t cap, len;
} myna__map;
int myna__map_reserve(myna__map *m, size_t n, myna_err *err);
/* Inserts or overwrites; 1 when the key was new, 0 when it was there, negative on failure. */
int myna__map_put(myna__map *m, const char *key, size_t n, int64_t value, myna_err *err);
/* The value, or `missing`. */
int64_t myna__map_get(const myna__map *m, const char *key, size_t n, int64_t missing);
void myna__map_free(myna__map *m);
uint64_t myna__hash(const void *p, size_t n, uint64_t seed);
uint64_t myna__hash_seed(void); /* of this process: collisions cannot be prepared */

/* ---- files (file.c) ---- */

/* A read-only file in memory: mapped, or read when `no_mmap`. */
typedef struct myna__file {
  const uint8_t *data;
  size_t size;
  bool mapped;
  char *path;
} myna__file;
int myna__file_open(myna__file *f, const char *path, bool no_mmap, myna_err *err);
void myna__file_close(myna__file *f);
/* A SIGBUS in a mapped file names it: fills path and offset when addr lies in a mapping of ours. Safe in a
 * signal handler. False when it is not ours. */
bool myna__file_of_address(const void *addr, const char **path, size_t *offset);
double myna__now(void); /* seconds, monotonic */
/* Whether at least nine tenths of the file are mapped by entries of 2 MB: after its pages were touched. */
bool myna__file_is_huge(const myna__file *f);

/* ---- bringing mapped files in (populate.c) ---- */

typedef struct myna__extent {
  const void *p;
  size_t n; /* bytes */
} myna__extent;
typedef struct myna__populate myna__populate;
/* Starts a thread that reads what of ranges[n] (copied) is not in the page cache, in their order, a huge page at a time. The mappings must live
 * until stop returns. */
int myna__populate_start(myna__populate **out, const myna__extent *ranges, int64_t n, myna_err *err);
int64_t myna__populate_done(const myna__populate *p); /* bytes read so far */
void myna__populate_stop(myna__populate *p);          /* waits for the piece in progress; NULL is fine */

/* ---- CPU (cpu.c) ---- */

/* Levels in ascending order per architecture; the best supported one is chosen at start, MYNA_CPU forces one. A level
 * does not imply every lower one: server CPUs before 2023 have AVX512 (VNNI) but not AVX2VNNI, so ask
 * myna__cpu_supported for each row that is taken from below the level in force. */
typedef enum myna__cpu_level {
  MYNA__CPU_REF,
  MYNA__CPU_AVX2,
  MYNA__CPU_AVX2VNNI,
  MYNA__CPU_AVX512, /* F, BW, DQ, VL, VNNI */
  MYNA__CPU_AVX512BF16,
  MYNA__CPU_NEON, /* dotprod */
  MYNA__CPU_I8MM,
  MYNA__CPU_ARMBF16,
  MYNA__CPU_COUNT
} myna__cpu_level;
/* The level in force. An unknown or unsupported MYNA_CPU value gives MYNA_E_ARG naming what is available. */
int myna__cpu_init(myna_err *err);
myna__cpu_level myna__cpu(void);
bool myna__cpu_supported(myna__cpu_level l);
const char *myna__cpu_name(myna__cpu_level l);
int myna__cpu_from_name(const char *name); /* -1 */
/* The levels (bit mask) of processors as they describe themselves: CPUID leaves 1, 7.0 and 7.1 with the register state that
 * the operating system saves (without it the instructions fault whatever CPUID says), and Linux' arm64 HWCAP words. */
typedef struct myna__cpuid {
  uint32_t ecx1, ebx7, ecx7, eax71;
  uint64_t xcr0;
} myna__cpuid;
unsigned myna__cpu_levels_x86(const myna__cpuid *r);
unsigned myna__cpu_levels_arm(uint64_t hwcap, uint64_t hwcap2);
/* Is VDPBF16PS faster than two F32 FMAs here? AMD has it at the FMA's rate or better (family 19h on); Intel's server cores before and
 * beside AMX at a quarter (measured on Emerald Rapids: 113 against 227 GFLOP/s of two cores). False where there is none. */
bool myna__cpu_fast_bf16(void);
bool myna__cpu_fast_bf16_x86(const char vendor[12], uint32_t eax1); /* by CPUID leaves 0 and 1 */
/* Tests force a level at run time; kernels tables are per level, so this only changes the choice. */
void myna__cpu_force(myna__cpu_level l);
/* Physical cores within affinity mask and cgroup quota, at least 1. */
int myna__cpu_default_threads(void);
/* CPUs this process may run on, at most max, one per physical core first. Returns how many, at least 1. */
int myna__cpu_allowed(int *cpus, int max);
/* The same facts from files under `root` ("" is the machine; tests give a made-up tree): orders cpus[n] one per core
 * first and returns the physical cores among them within the cgroup quota, at least 1. */
int myna__cpu_count(const char *root, int *cpus, int n);

/* The node of memory of each of cpus[n], numbered from 0 without gaps in node_of[n]; returns how many there are, at least 1. root as above. */
int myna__cpu_nodes(const char *root, const int *cpus, int n, int *node_of);

/* ---- thread pool (pool.c) ---- */

/* Starts a thread that takes no signals but faults (those of the process go to the program's own threads). Returns 0 or an errno. */
int myna__thread_start(pthread_t *t, void *(*fn)(void *arg), void *arg);

/* Workers spin shortly, then sleep on a futex. FTZ/DAZ is set in workers and, during a run, on the
 * caller's thread (restored on return). The caller is worker 0. One run at a time per pool; a run from
 * inside a run executes serially. No allocation and no system call but futex after creation. */
typedef struct myna__pool myna__pool;
/* unit in [0, n_units), worker in [0, n_threads). */
typedef void (*myna__pool_fn)(void *arg, int64_t unit, int worker);
typedef struct myna__pool_options {
  int n_threads; /* 0: default */
  bool pin;      /* bind worker i to the i-th allowed cpu (of its node) */
  bool no_spin;  /* waiting threads sleep at once */
  /* distribute: worker i on node i modulo their number, and each node takes its own contiguous share of every run's units first */
  myna_numa numa;
  const char *sysfs; /* where nodes are looked for, NULL: the machine; tests give a made-up tree */
} myna__pool_options;
int myna__pool_open(myna__pool **out, const myna__pool_options *o, myna_err *err);
int myna__pool_new(myna__pool **out, int n_threads, bool pin, myna_err *err);
/* Binds the calling thread as worker 0 was to be, for a thread that belongs to whoever made the pool; else callers stay as they are. */
void myna__pool_bind_caller(myna__pool *p);
void myna__pool_free(myna__pool *p);
int myna__pool_size(const myna__pool *p); /* NULL gives 1 */
/* Runs fn for every unit, dynamically (atomic counter), and returns when all are done. Units are handed
 * out in ascending order (with NUMA distribution: of each node's share). n_units <= 1 or a NULL pool runs on the caller alone: not a region. */
void myna__pool_run(myna__pool *p, int64_t n_units, myna__pool_fn fn, void *arg);
/* Parallel regions started since creation. */
int64_t myna__pool_regions(const myna__pool *p);

#endif
