/* populate.c: a thread that reads ranges of mapped files from the disk before they are asked for. It reads through the mapping (MADV_POPULATE_READ), so
 * that with huge pages the cache is filled in pieces of 2 MB, which read-ahead by MADV_WILLNEED would not do.
 * What is in the page cache is left to the faults of those who read: to enter it into the page table here took as long, and with
 * MADV_POPULATE_READ every mmap of other threads waited up to 4 ms (a reader of the address space's lock passes waiting writers).
 * A help only: whatever fails in it is left to the faults too. */
#include "base/base.h"
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif
#endif

enum { PIECE = 2 << 20 }; /* one huge page; between two looks at `stop` */

struct myna__populate {
  pthread_t thread;
  _Atomic bool stop;
  _Atomic int64_t done; /* bytes */
  int64_t n;
  myna__extent ranges[];
};

/* Whether the page at p is in the page cache; the first of a piece speaks for it. */
static bool is_cached(void *p) {
  unsigned char in = 0;
#ifdef __linux__
  if (mincore(p, 1, &in) != 0) return false;
#endif
  return in & 1;
}

/* False when the rest would fail as well: the file is shorter than it was, or memory is short. */
static bool bring_in(void *p, size_t n) {
#ifdef MADV_POPULATE_READ
  if (madvise(p, n, MADV_POPULATE_READ) == 0) return true;
  if (errno != EINVAL) return false;
#endif
  return madvise(p, n, MADV_WILLNEED) == 0;
}

static void *populate_main(void *arg) {
  myna__populate *p = arg;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
#ifdef __linux__
  prctl(PR_SET_NAME, "myna-load");
#endif
  for (int64_t i = 0; i < p->n; i++) {
    uintptr_t at = (uintptr_t)p->ranges[i].p, end = at + p->ranges[i].n;
    while (at < end) {
      uintptr_t start = at / page * page, next = MYNA__MIN((at / PIECE + 1) * PIECE, end);
      if (atomic_load_explicit(&p->stop, memory_order_relaxed)) return NULL;
      if (!is_cached((void *)start)) {
        if (!bring_in((void *)start, next - start)) return NULL;
        atomic_fetch_add_explicit(&p->done, (int64_t)(next - start), memory_order_relaxed);
      }
      at = next;
    }
  }
  return NULL;
}

int myna__populate_start(myna__populate **out, const myna__extent *ranges, int64_t n, myna_err *err) {
  *out = NULL;
  myna__populate *p = myna__calloc(sizeof *p + (size_t)n * sizeof *ranges);
  if (!p) return myna__err(err, MYNA_E_NOMEM, "no memory for %lld ranges", (long long)n);
  p->n = n;
  if (n) memcpy(p->ranges, ranges, (size_t)n * sizeof *ranges);
  int rc = myna__thread_start(&p->thread, populate_main, p);
  if (rc != 0) {
    myna__free(p, sizeof *p + (size_t)n * sizeof *ranges);
    return myna__err(err, MYNA_E_LIMIT, "cannot start a thread: %s", strerror(rc));
  }
  *out = p;
  return 0;
}

int64_t myna__populate_done(const myna__populate *p) { return atomic_load_explicit(&p->done, memory_order_relaxed); }

void myna__populate_stop(myna__populate *p) {
  if (!p) return;
  atomic_store_explicit(&p->stop, true, memory_order_relaxed);
  pthread_join(p->thread, NULL);
  myna__free(p, sizeof *p + (size_t)p->n * sizeof *p->ranges);
}
