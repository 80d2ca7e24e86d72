/* mem.c: the one way to memory: allocator, accounting, allocation guard, bump arena.
 * Invariants: every block passes through `resize` with its exact old size, so that the bytes in use are known
 * without headers; the guard counts attempts, failed ones too. */
#include "base/base.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* From LARGE on blocks are pages of their own: zero until written, not resident until then, and huge where possible.
 * Sanitizers watch malloc only, so that their builds have no such blocks. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGE SIZE_MAX
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LARGE SIZE_MAX
#endif
#endif
#ifndef LARGE
#define LARGE ((size_t)2 << 20)
#endif
enum { ALIGN = 64 };
static const size_t HUGE_PAGE = (size_t)2 << 20;

/* Kernels before 6.7 map at any page, where 2 MB of the file cannot be one entry: so the place is reserved with room to choose. */
void *myna__map_huge(size_t n, int fd) {
  int prot = fd < 0 ? PROT_READ | PROT_WRITE : PROT_READ, flags = MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0);
  size_t page = (size_t)sysconf(_SC_PAGESIZE), room = n + HUGE_PAGE;
  void *p = MAP_FAILED;
  if (n >= HUGE_PAGE && room > n) p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    p = mmap(NULL, n, prot, flags, fd, 0);
    return p == MAP_FAILED ? NULL : p;
  }
  uintptr_t base = (uintptr_t)p, start = (base + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  uintptr_t end = (start + n + page - 1) / page * page;
  p = mmap((void *)start, n, prot, flags | MAP_FIXED, fd, 0);
  if (p == MAP_FAILED) {
    int why = errno;
    munmap((void *)base, room);
    errno = why;
    return NULL;
  }
  if (start > base) munmap((void *)base, start - base);
  if (base + room > end) munmap((void *)end, base + room - end);
#ifdef MADV_HUGEPAGE
  madvise(p, n, MADV_HUGEPAGE); /* a kernel without them says no */
#endif
  return p;
}

bool myna__mem_lock(const void *p, size_t n) { return mlock(p, n) == 0; }
void myna__mem_unlock(const void *p, size_t n) { munlock(p, n); }

static void *take(size_t n) {
  if (n < ALIGN) return malloc(n); /* small blocks keep malloc's 16 bytes */
  void *p = NULL;
  if (n < LARGE) return posix_memalign(&p, ALIGN, n) == 0 ? p : NULL;
  return myna__map_huge(n, -1);
}

static void release(void *p, size_t n) {
  if (n < LARGE)
    free(p);
  else
    munmap(p, n);
}

static void *default_resize(void *user, void *ptr, size_t old_size, size_t new_size) {
  (void)user;
  if (!new_size) return release(ptr, old_size), NULL;
  if (new_size > PTRDIFF_MAX - ALIGN) return NULL;
  void *fresh = take(new_size);
  if (!fresh || !ptr) return fresh;
  memcpy(fresh, ptr, MYNA__MIN(old_size, new_size));
  release(ptr, old_size);
  return fresh;
}

static const myna_allocator default_allocator = {default_resize, NULL};
static myna_allocator allocator = {default_resize, NULL};

static _Atomic int64_t in_use, peak;
static _Atomic int64_t guard_count;
static _Atomic int guard_depth;

void myna_set_allocator(const myna_allocator *a) { allocator = a ? *a : default_allocator; }

static void account(int64_t delta) {
  int64_t now = atomic_fetch_add_explicit(&in_use, delta, memory_order_relaxed) + delta;
  int64_t old = atomic_load_explicit(&peak, memory_order_relaxed);
  while (now > old &&
         !atomic_compare_exchange_weak_explicit(&peak, &old, now, memory_order_relaxed, memory_order_relaxed)) {}
}

static void *resize(void *p, size_t old_size, size_t new_size) {
  if (new_size && atomic_load_explicit(&guard_depth, memory_order_relaxed) > 0)
    atomic_fetch_add_explicit(&guard_count, 1, memory_order_relaxed);
  void *q = allocator.resize(allocator.user, p, old_size, new_size);
  if (q || !new_size) account((int64_t)new_size - (int64_t)old_size);
  assert(((uintptr_t)q & (new_size >= ALIGN ? ALIGN - 1 : 0)) == 0);
  return q;
}

void *myna__alloc(size_t n) { return n ? resize(NULL, 0, n) : NULL; }

void *myna__calloc(size_t n) {
  void *p = myna__alloc(n);
  if (p && (n < LARGE || allocator.resize != default_resize)) memset(p, 0, n);
  return p;
}

void *myna__realloc(void *p, size_t old_size, size_t new_size) {
  assert((p != NULL) == (old_size != 0));
  if (!p) return myna__alloc(new_size);
  return resize(p, old_size, new_size);
}

void myna__free(void *p, size_t size) {
  if (p) resize(p, size, 0);
}

char *myna__strndup(const char *s, size_t n) {
  const char *end = memchr(s, 0, n);
  if (end) n = (size_t)(end - s);
  char *copy = myna__alloc(n + 1);
  if (!copy) return NULL;
  memcpy(copy, s, n);
  copy[n] = 0;
  return copy;
}

/* The size of the block is its length, which is why strndup stops at a NUL. The string must not have been
 * shortened meanwhile. */
void myna__strfree(char *s) {
  if (s) myna__free(s, strlen(s) + 1);
}

void myna__guard_begin(void) {
  if (atomic_fetch_add(&guard_depth, 1) == 0) atomic_store(&guard_count, 0);
}

int64_t myna__guard_end(void) {
  int64_t n = atomic_load(&guard_count);
  int depth = atomic_fetch_sub(&guard_depth, 1);
  assert(depth > 0);
  (void)depth;
  return n;
}

int64_t myna__mem_in_use(void) { return atomic_load(&in_use); }

int64_t myna__mem_peak(bool reset) {
  int64_t old = atomic_load(&peak);
  if (reset) atomic_store(&peak, atomic_load(&in_use));
  return old;
}

/* ---- arena ---- */

/* Block: header, then data from a 64-byte boundary on. A block is as large as all before it together, from
 * 4 KiB to 1 MiB; a larger request gets a block of its own. */
struct myna__arena_block {
  struct myna__arena_block *next;
  size_t size; /* of the whole block */
  size_t used; /* header included */
  char pad[40];
};
static_assert(sizeof(struct myna__arena_block) == 64, "data must start on a cache line");

/* n <= PTRDIFF_MAX / 2 */
static struct myna__arena_block *arena_block_new(size_t total, size_t n) {
  size_t size = MYNA__MAX(total, (size_t)4096);
  size = MYNA__MIN(size, (size_t)1 << 20);
  size = MYNA__MAX(size, n + sizeof(struct myna__arena_block));
  struct myna__arena_block *b = myna__calloc(size);
  if (!b) return NULL;
  b->size = size;
  b->used = sizeof *b;
  return b;
}

void *myna__arena_alloc(myna__arena *a, size_t n) {
  if (n > PTRDIFF_MAX / 2) return NULL;
  n = MYNA__MAX((n + 15) & ~(size_t)15, (size_t)16);
  struct myna__arena_block *b = a->head;
  if (!b || b->size - b->used < n) {
    struct myna__arena_block *fresh = arena_block_new(a->total, n);
    if (!fresh) return NULL;
    a->total += fresh->size;
    /* A block made for one large object goes behind the head, which keeps its free space in use. */
    if (b && fresh->size - fresh->used == n && b->size - b->used >= 1024) {
      fresh->next = b->next;
      b->next = fresh;
    } else {
      fresh->next = b;
      a->head = fresh;
    }
    b = fresh;
  }
  void *p = (char *)b + b->used;
  b->used += n;
  return p;
}

char *myna__arena_strndup(myna__arena *a, const char *s, size_t n) {
  if (n == SIZE_MAX) return NULL;
  char *copy = myna__arena_alloc(a, n + 1);
  if (copy && n) memcpy(copy, s, n);
  return copy;
}

void myna__arena_free(myna__arena *a) {
  for (struct myna__arena_block *b = a->head, *next; b; b = next) {
    next = b->next;
    myna__free(b, b->size);
  }
  *a = (myna__arena){0};
}
