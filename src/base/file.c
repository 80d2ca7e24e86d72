/* file.c: read-only files in memory, and which mapping an address lies in.
 * A mapped file that is truncated by others raises SIGBUS on access; the binary's handler asks myna__file_of_address,
 * which therefore takes no lock: a fixed table of atomics, an entry is valid while `base` is not 0. */
#include "base/base.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* More mappings than this at once still work; only their SIGBUS has no name. */
enum { REGISTRY = 1024 };
static const uintptr_t FILLING = UINTPTR_MAX; /* no address is that high: the entry matches none */

static struct {
  _Atomic uintptr_t base; /* 0 free */
  _Atomic size_t size;
  _Atomic(const char *) path;
} registry[REGISTRY];

/* Replaces an entry that starts at `from` (0: a free one); an entry is invalid while its facts change. */
static void registry_replace(uintptr_t from, uintptr_t base, size_t size, const char *path) {
  for (int i = 0; i < REGISTRY; i++) {
    uintptr_t want = from;
    if (!atomic_compare_exchange_strong(&registry[i].base, &want, FILLING)) continue;
    atomic_store(&registry[i].size, size);
    atomic_store(&registry[i].path, path);
    atomic_store(&registry[i].base, base);
    return;
  }
}

bool myna__file_of_address(const void *addr, const char **path, size_t *offset) {
  uintptr_t a = (uintptr_t)addr;
  for (int i = 0; i < REGISTRY; i++) {
    uintptr_t base = atomic_load(&registry[i].base);
    size_t size = atomic_load(&registry[i].size);
    const char *name = atomic_load(&registry[i].path);
    if (!name || a < base || a - base >= size) continue;
    *path = name;
    *offset = a - base;
    return true;
  }
  return false;
}

static int read_all(myna__file *f, int fd, myna_err *err) {
  uint8_t *data = myna__alloc(f->size);
  if (!data) return myna__err_at(err, MYNA_E_NOMEM, f->path, -1, "no memory for %zu bytes", f->size);
  for (size_t done = 0; done < f->size;) {
    ssize_t n = pread(fd, data + done, MYNA__MIN(f->size - done, (size_t)1 << 30), (off_t)done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const char *why = n < 0 ? strerror(errno) : "the file became shorter while it was read";
      myna__free(data, f->size);
      return myna__err_at(err, MYNA_E_IO, f->path, (int64_t)done, "cannot read: %s", why);
    }
    done += (size_t)n;
  }
  f->data = data;
  return 0;
}

/* Read-only and private: nothing of ours can write to the file. */
static int map_all(myna__file *f, int fd, myna_err *err) {
  void *p = myna__map_huge(f->size, fd);
  if (!p) return myna__err_at(err, MYNA_E_IO, f->path, -1, "cannot map %zu bytes: %s", f->size, strerror(errno));
  f->data = p;
  f->mapped = true;
  registry_replace(0, (uintptr_t)p, f->size, f->path);
  return 0;
}

static int check_regular(myna__file *f, int fd, myna_err *err) {
  struct stat st;
  if (fstat(fd, &st) != 0) return myna__err_at(err, MYNA_E_IO, f->path, -1, "cannot stat: %s", strerror(errno));
  if (S_ISDIR(st.st_mode)) return myna__err_at(err, MYNA_E_IO, f->path, -1, "is a directory, not a file");
  if (!S_ISREG(st.st_mode)) return myna__err_at(err, MYNA_E_IO, f->path, -1, "is not a regular file");
  if ((uint64_t)st.st_size > PTRDIFF_MAX) return myna__err_at(err, MYNA_E_LIMIT, f->path, -1, "is too large");
  f->size = (size_t)st.st_size;
  return 0;
}

static int load(myna__file *f, int fd, bool no_mmap, myna_err *err) {
  if (f->size) return no_mmap ? read_all(f, fd, err) : map_all(f, fd, err);
  f->data = (const uint8_t *)""; /* a valid pointer to nothing */
  return 0;
}

int myna__file_open(myna__file *f, const char *path, bool no_mmap, myna_err *err) {
  *f = (myna__file){0};
  /* O_NONBLOCK: opening a FIFO must not hang; it means nothing for regular files. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    int code = errno == ENOENT || errno == ENOTDIR ? MYNA_E_NOTFOUND : MYNA_E_IO;
    return myna__err_at(err, code, path, -1, "cannot open: %s", strerror(errno));
  }
  f->path = myna__strndup(path, strlen(path));
  int rc = f->path ? check_regular(f, fd, err) : myna__err(err, MYNA_E_NOMEM, "no memory for a path");
  if (rc == 0) rc = load(f, fd, no_mmap, err);
  close(fd);
  if (rc < 0) {
    f->data = NULL;
    myna__file_close(f);
  }
  return rc;
}

void myna__file_close(myna__file *f) {
  if (f->data && f->mapped) {
    registry_replace((uintptr_t)f->data, 0, 0, NULL);
    munmap((void *)(uintptr_t)f->data, f->size);
  } else if (f->data && f->size) {
    myna__free((void *)(uintptr_t)f->data, f->size);
  }
  myna__strfree(f->path);
  *f = (myna__file){0};
}

#ifdef __linux__
/* /proc/self/smaps: a line "start-end perms ..." per mapping, then facts of it, "FilePmdMapped:  2048 kB" among them. */
bool myna__file_is_huge(const myna__file *f) {
  FILE *maps = fopen("/proc/self/smaps", "re");
  char line[256];
  unsigned long start = 0, from, to;
  unsigned long long kb, huge = 0;
  while (f->mapped && maps && fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) start = from;
    if (start < (uintptr_t)f->data || start - (uintptr_t)f->data >= f->size) continue;
    if (sscanf(line, "FilePmdMapped: %llu kB", &kb) == 1) huge += kb << 10;
  }
  if (maps) fclose(maps);
  return huge > 0 && huge >= f->size / 10 * 9;
}
#else
bool myna__file_is_huge(const myna__file *f) { return false; }
#endif

double myna__now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
