/* Files in memory: mapped and read give the same bytes; errors; which file an address lies in, also after SIGBUS. */
#include "test.h"
#include "base/base.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static unsigned char content[100000];

/* Ours instead of the C library's: what is asked of the kernel is looked at, and reads come in pieces. */
static struct {
  struct {
    const void *addr;
    size_t n;
  } all[64];
  int advice, calls;
  _Atomic int looks;
} advised;
int madvise(void *addr, size_t n, int advice) {
  advised.all[advised.calls % 64].addr = addr;
  advised.all[advised.calls++ % 64].n = n;
  advised.advice = advice;
  return 0;
}
static const void *uncached_but; /* the page that is in the cache */
int mincore(void *addr, size_t n, unsigned char *in) {
  *in = addr == uncached_but;
  advised.looks++;
  return 0;
}

static size_t read_piece, read_end = SIZE_MAX; /* piece 0: as much as asked for */
static int reads_interrupted, read_errno;
ssize_t pread(int fd, void *buf, size_t n, off_t offset) {
  struct stat st;
  if (fstat(fd, &st) != 0 || (size_t)offset + n > (size_t)st.st_size)
    abort(); /* what was asked for is what there was */
  if (reads_interrupted > 0) {
    reads_interrupted--;
    errno = EINTR;
    return -1;
  }
  if (read_errno && offset > 0) {
    errno = read_errno;
    return -1;
  }
  if ((size_t)offset >= read_end) return 0;
  if (read_piece && n > read_piece) n = read_piece;
  return syscall(SYS_pread64, fd, buf, n, offset);
}

static void test_open(void **state) {
  for (size_t i = 0; i < sizeof content; i++) content[i] = (unsigned char)(i * 31 >> 3);
  const size_t sizes[] = {1, 4095, 4096, 4097, sizeof content};
  int64_t before = myna__mem_in_use();
  for (size_t k = 0; k < MYNA__COUNT(sizes); k++) {
    char path[64];
    test_tmpfile(path, content, sizes[k]);
    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
      myna__file f;
      myna_err err = {0};
      assert_int_equal(myna__file_open(&f, path, no_mmap, &err), 0);
      assert_int_equal(err.code, 0);
      assert_int_equal(f.size, sizes[k]);
      assert_int_equal(f.mapped, !no_mmap);
      assert_string_equal(f.path, path);
      assert_memory_equal(f.data, content, sizes[k]);
      const char *name;
      size_t offset;
      assert_int_equal(myna__file_of_address(f.data + sizes[k] - 1, &name, &offset), !no_mmap);
      if (!no_mmap) {
        assert_string_equal(name, path);
        assert_int_equal(offset, sizes[k] - 1);
      }
      assert_false(myna__file_of_address(f.data + sizes[k], &name, &offset));
      const uint8_t *data = f.data;
      myna__file_close(&f);
      assert_null(f.data);
      assert_false(myna__file_of_address(data, &name, &offset));
      myna__file_close(&f);
    }
    unlink(path);
  }
  assert_int_equal(myna__mem_in_use(), before);
}

/* What is not in the page cache is asked for, in order, up to the next multiple of 2 MB, whole pages; the rest is left alone. */
static void test_populate(void **state) {
  enum { PIECE = 2 << 20 };
  uint8_t *p = myna__map_huge(4 * PIECE, -1);
  assert_non_null(p);
  assert_int_equal((uintptr_t)p % PIECE, 0);
  const myna__extent ranges[] = {{p + PIECE + 5000, PIECE}, {p + 10, 100}, {p + 3 * PIECE - 1, 2}, {p, 0}};
  const struct {
    size_t offset, n;
  } want[] = {{PIECE + 4096, PIECE - 4096}, {2 * PIECE, 5000}, {0, 110}, {3 * PIECE - 4096, 4096}, {3 * PIECE, 1}};
  size_t n = MYNA__COUNT(want);
  for (int cached = -1; cached < (int)n; cached++) { /* none, or one of the pieces */
    myna__populate *pop;
    uncached_but = cached < 0 ? NULL : p + want[cached].offset;
    advised.calls = 0;
    ASSERT_OK(myna__populate_start(&pop, ranges, MYNA__COUNT(ranges), NULL));
    while (advised.looks < (int)n) sched_yield();
    myna__populate_stop(pop);
    assert_int_equal(advised.calls, cached < 0 ? n : n - 1);
    for (size_t i = 0, k = 0; i < n; i++) {
      if ((int)i == cached) continue;
      assert_ptr_equal(advised.all[k].addr, p + want[i].offset);
      assert_int_equal(advised.all[k++].n, want[i].n);
    }
    advised.looks = 0;
  }
  myna__populate_stop(NULL);
  munmap(p, 4 * PIECE);
}

/* Large blocks and files begin at a multiple of 2 MB, whatever lies around them, and end where they should. */
static void test_huge_alignment(void **state) {
  const size_t sizes[] = {(size_t)2 << 20, ((size_t)2 << 20) + 1, ((size_t)5 << 20) - 1};
  for (size_t i = 0; i < MYNA__COUNT(sizes); i++) {
    char *p[5];
    for (size_t k = 0; k < 5; k++) {
      p[k] = myna__map_huge(sizes[i], -1);
      assert_non_null(p[k]);
      assert_int_equal((uintptr_t)p[k] % ((size_t)2 << 20), 0);
      assert_int_equal(p[k][sizes[i] - 1], 0);
      memset(p[k], 1 + (int)k, sizes[i]);
      assert_int_equal(advised.advice, MADV_HUGEPAGE);
    }
    for (size_t k = 0; k < 5; k++) {
      assert_int_equal(p[k][0], 1 + (int)k);
      assert_int_equal(p[k][sizes[i] - 1], 1 + (int)k);
      munmap(p[k], sizes[i]);
    }
  }
}

/* Reads that are short, interrupted, end early or fail. */
static void test_reads(void **state) {
  char path[64];
  test_tmpfile(path, content, sizeof content);
  int64_t before = myna__mem_in_use();
  myna__file f;
  myna_err err = {0};
  read_piece = 777;
  reads_interrupted = 3;
  assert_int_equal(myna__file_open(&f, path, true, &err), 0);
  assert_int_equal(f.size, sizeof content);
  assert_memory_equal(f.data, content, sizeof content);
  myna__file_close(&f);
  read_end = 7770;
  ASSERT_FAILS(myna__file_open(&f, path, true, &err), MYNA_E_IO, &err, "became shorter");
  assert_int_equal(err.offset, 7770);
  read_end = SIZE_MAX;
  read_errno = EIO;
  err = (myna_err){0};
  ASSERT_FAILS(myna__file_open(&f, path, true, &err), MYNA_E_IO, &err, strerror(EIO));
  assert_int_equal(err.offset, 777);
  assert_null(f.data);
  read_errno = 0;
  read_piece = 0;
  assert_int_equal(myna__mem_in_use(), before);
  unlink(path);
}

static void test_empty(void **state) {
  char path[64];
  test_tmpfile(path, "", 0);
  for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
    myna__file f;
    assert_int_equal(myna__file_open(&f, path, no_mmap, NULL), 0);
    assert_int_equal(f.size, 0);
    assert_non_null(f.data);
    myna__file_close(&f);
  }
  unlink(path);
}

static void test_errors(void **state) {
  myna__file f;
  myna_err err = {0};
  ASSERT_FAILS(myna__file_open(&f, "/nowhere/at/all", false, &err), MYNA_E_NOTFOUND, &err, "No such file");
  assert_string_equal(err.file, "/nowhere/at/all");
  assert_null(f.data);
  assert_null(f.path);
  myna__file_close(&f);
  err = (myna_err){0};
  ASSERT_FAILS(myna__file_open(&f, "/tmp", false, &err), MYNA_E_IO, &err, "is a directory");
  assert_string_equal(err.file, "/tmp");
  assert_int_equal(err.offset, -1);
  err = (myna_err){0};
  ASSERT_FAILS(myna__file_open(&f, "/dev/null", false, &err), MYNA_E_IO, &err, "not a regular file");
  char fifo[64];
  snprintf(fifo, sizeof fifo, "/tmp/myna-fifo-%d", (int)getpid());
  assert_int_equal(mkfifo(fifo, 0600), 0);
  err = (myna_err){0};
  ASSERT_FAILS(myna__file_open(&f, fifo, false, &err), MYNA_E_IO, &err, "not a regular file"); /* does not hang */
  unlink(fifo);
}

/* Descriptor 0 is one like any other. */
static void test_without_stdin(void **state) {
  char path[64];
  test_tmpfile(path, "0123456789", 10);
  pid_t child = fork();
  if (child == 0) {
    close(0);
    myna__file f;
    _exit(myna__file_open(&f, path, false, NULL) == 0 && f.size == 10 && fcntl(0, F_GETFD) < 0 ? 42 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 42);
  unlink(path);
}

/* A file that cannot be mapped: what was taken is given back. */
static void test_map_fails(void **state) {
  char path[64];
  test_tmpfile(path, content, 5000);
  int64_t before = myna__mem_in_use();
  struct rlimit old, limit = {0};
  getrlimit(RLIMIT_AS, &old);
#ifdef MYNA_SANITIZED
  skip(); /* sanitizers need the space */
#endif
  limit.rlim_max = old.rlim_max;
  setrlimit(RLIMIT_AS, &limit);
  myna__file f;
  myna_err err = {0};
  bool limited = mmap(NULL, 5000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
  int rc = myna__file_open(&f, path, false, &err);
  setrlimit(RLIMIT_AS, &old);
  if (!limited) { /* emulators ignore the limit */
    ASSERT_OK_ERR(rc, &err);
    myna__file_close(&f);
    unlink(path);
    skip();
  }
  assert_int_equal(rc, MYNA_E_IO);
  assert_non_null(strstr(err.msg, "cannot map 5000 bytes"));
  assert_string_equal(err.file, path);
  assert_null(f.data);
  assert_null(f.path);
  assert_int_equal(myna__mem_in_use(), before);
  unlink(path);
}

static void test_no_memory(void **state) {
  char path[64];
  test_tmpfile(path, "0123456789", 10);
  for (int n = 1; n <= 2; n++) {
    test_failing fail;
    test_fail_at(&fail, n);
    myna__file f;
    myna_err err = {0};
    assert_int_equal(myna__file_open(&f, path, true, &err), MYNA_E_NOMEM);
    assert_int_equal(err.code, MYNA_E_NOMEM);
    assert_null(f.path);
    assert_int_equal(fail.live, 0);
    test_fail_off();
  }
  unlink(path);
}

/* Files beyond the registry still open; those inside keep their names. */
static void test_many(void **state) {
  enum { N = 1100 };
  static myna__file files[N];
  char path[64];
  test_tmpfile(path, content, 5000);
  for (int i = 0; i < N; i++) ASSERT_OK(myna__file_open(&files[i], path, false, NULL));
  int named = 0;
  for (int i = 0; i < N; i++) {
    const char *name = NULL;
    size_t offset = 0;
    if (myna__file_of_address(files[i].data + 77, &name, &offset)) {
      assert_ptr_equal(name, files[i].path);
      assert_int_equal(offset, 77);
      named++;
    }
  }
  assert_int_equal(named, 1024);
  for (int i = 0; i < N; i++) myna__file_close(&files[i]);
  myna__file f;
  ASSERT_OK(myna__file_open(&f, path, false, NULL)); /* the places are free again */
  const char *name;
  size_t offset;
  assert_true(myna__file_of_address(f.data, &name, &offset));
  myna__file_close(&f);
  unlink(path);
}

static void on_sigbus(int sig, siginfo_t *info, void *context) {
  const char *path;
  size_t offset;
  bool ours = myna__file_of_address(info->si_addr, &path, &offset);
  _exit(ours && offset == 8192 && strncmp(path, "/tmp/myna-test-", 15) == 0 ? 42 : 1);
}

/* The file shrinks while it is mapped: the handler learns file and offset. */
static void test_sigbus(void **state) {
  char path[64];
  test_tmpfile(path, content, 20000);
  pid_t child = fork();
  if (child == 0) {
    struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &sa, NULL);
    myna__file f;
    if (myna__file_open(&f, path, false, NULL) < 0 || truncate(path, 4096) != 0) _exit(2);
    volatile const uint8_t *p = f.data;
    _exit(p[8192] == 0 ? 3 : 4);
  }
  int status;
  waitpid(child, &status, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 42);
  unlink(path);
}

static void test_clock(void **state) {
  double a = myna__now();
  usleep(2000);
  double b = myna__now();
  assert_true(b - a >= 0.002 && b - a < 60);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open),  cmocka_unit_test(test_populate),      cmocka_unit_test(test_huge_alignment),
      cmocka_unit_test(test_reads), cmocka_unit_test(test_empty),         cmocka_unit_test(test_errors),
      cmocka_unit_test(test_many),  cmocka_unit_test(test_sigbus),        cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_clock), cmocka_unit_test(test_without_stdin), cmocka_unit_test(test_map_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
