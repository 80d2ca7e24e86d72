/* test.h: what every C test includes: cmocka in the right order, and helpers for errors, files, random numbers,
 * failing memory. Header only. */
#ifndef MYNA__TEST_H
#define MYNA__TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* after those */
#include <cmocka.h>

#include "myna_base.h"

/* Fails with the whole message when a call did not return >= 0. */
#define ASSERT_OK(call)                                                                      \
  do {                                                                                       \
    int ok_rc_ = (call);                                                                     \
    if (ok_rc_ < 0) fail_msg("%s returned %d (%s)", #call, ok_rc_, myna_error_text(ok_rc_)); \
  } while (0)

/* call(..., &err) must succeed; prints err when it does not. */
#define ASSERT_OK_ERR(call, err)                                                                          \
  do {                                                                                                    \
    int ok_rc_ = (call);                                                                                  \
    char ok_text_[1024];                                                                                  \
    if (ok_rc_ < 0)                                                                                       \
      fail_msg("%s returned %d: %s", #call, ok_rc_, myna_error_format((err), ok_text_, sizeof ok_text_)); \
  } while (0)

/* The call must fail with this code and a message that contains `part`. */
#define ASSERT_FAILS(call, want, err, part)                                                                 \
  do {                                                                                                      \
    int rc_ = (call);                                                                                       \
    if (rc_ != (want)) fail_msg("%s returned %d, not %d", #call, rc_, (want));                              \
    if ((err)->code != (want)) fail_msg("%s left err.code %d, not %d", #call, (err)->code, (want));         \
    if (!strstr((err)->msg, (part))) fail_msg("%s says \"%s\", without \"%s\"", #call, (err)->msg, (part)); \
  } while (0)

/* Random numbers: splitmix64. Same seed, same numbers, on every machine. */
typedef struct test_rng {
  uint64_t s;
} test_rng;
static inline uint64_t test_u64(test_rng *r) {
  uint64_t z = (r->s += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}
/* [0, n) */
static inline int64_t test_int(test_rng *r, int64_t n) { return (int64_t)(test_u64(r) % (uint64_t)n); }
/* [-1, 1) */
static inline float test_float(test_rng *r) { return (float)((double)(test_u64(r) >> 11) * 0x1p-52 - 1.0); }
/* Sum of 12 uniforms: near enough to normal, without libm. */
static inline float test_normal(test_rng *r) {
  double s = 0;
  for (int i = 0; i < 12; i++) s += (double)(test_u64(r) >> 11) * 0x1p-53;
  return (float)(s - 6.0);
}
/* MYNA_TEST_SEED or the given one, printed, so that a failure can be repeated. */
static inline test_rng test_rng_new(uint64_t seed) {
  const char *s = getenv("MYNA_TEST_SEED");
  if (s) seed = strtoull(s, NULL, 0);
  print_message("seed %llu\n", (unsigned long long)seed);
  return (test_rng){seed};
}

/* A file of the repository, such as test_path(buf, "tests/data/x.gguf"). */
#ifdef MYNA_ROOT
#define test_path(buf, rel) (snprintf((buf), sizeof(buf), "%s/%s", MYNA_ROOT, (rel)), (const char *)(buf))
#endif

/* Writes n bytes to a fresh temporary file and stores its name in path[64]. The test unlinks it. */
static inline void test_tmpfile(char path[64], const void *data, size_t n) {
  snprintf(path, 64, "/tmp/myna-test-XXXXXX");
  int fd = mkstemp(path);
  if (fd < 0) fail_msg("cannot make %s", path);
  for (size_t done = 0; done < n;) {
    ssize_t w = write(fd, (const char *)data + done, n - done);
    if (w <= 0) fail_msg("cannot write %s", path);
    done += (size_t)w;
  }
  close(fd);
}

/* An allocator whose n-th call from now fails (and, with `stay`, all after it). Bytes behind each block are watched until
 * it is freed, live bytes are counted, so that a test can require 0 at the end.
 *   for (int n = 1;; n++) { test_fail_at(&f, n); rc = thing(); ...free...; if (!f.failed) break; } */
typedef struct test_failing {
  int64_t count, fail_at; /* fail_at 0: never */
  int64_t live;
  int stay, failed;
} test_failing;
enum { TEST_BEHIND = 64 }; /* bytes behind a block; ASan watches those that follow */
static inline void test_check_behind(const void *ptr, size_t size) {
  for (size_t i = 0; ptr && i < TEST_BEHIND; i++)
    if (((const unsigned char *)ptr)[size + i] != 0xA5) {
      fprintf(stderr, "a block of %zu bytes was written %zu bytes behind its end\n", size, i);
      abort();
    }
}
static inline void *test_failing_resize(void *user, void *ptr, size_t old_size, size_t new_size) {
  test_failing *f = user;
  test_check_behind(ptr, old_size);
  if (new_size == 0) {
    __atomic_sub_fetch(&f->live, (int64_t)old_size, __ATOMIC_RELAXED);
    free(ptr);
    return NULL;
  }
  int64_t n = __atomic_add_fetch(&f->count, 1, __ATOMIC_RELAXED);
  if (f->fail_at && (n == f->fail_at || (f->stay && n > f->fail_at))) {
    __atomic_store_n(&f->failed, 1, __ATOMIC_RELAXED);
    return NULL;
  }
  void *q = NULL;
  if (new_size > PTRDIFF_MAX - TEST_BEHIND || posix_memalign(&q, 64, new_size + TEST_BEHIND) != 0) return NULL;
  memset((char *)q + new_size, 0xA5, TEST_BEHIND);
  if (ptr) {
    memcpy(q, ptr, old_size < new_size ? old_size : new_size);
    free(ptr);
  }
  __atomic_add_fetch(&f->live, (int64_t)new_size - (int64_t)old_size, __ATOMIC_RELAXED);
  return q;
}
/* Installs it; test_fail_off restores the default. Nothing allocated before may be freed in between, and the reverse. */
static inline void test_fail_at(test_failing *f, int64_t n) {
  *f = (test_failing){.fail_at = n};
  myna_set_allocator(&(myna_allocator){test_failing_resize, f});
}
static inline void test_fail_off(void) { myna_set_allocator(NULL); }

#endif
