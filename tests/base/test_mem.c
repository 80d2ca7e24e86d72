/* Allocator, accounting, guard, arena, buffer, and what each does when memory fails. */
#include "test.h"
#include "base/base.h"
#include <malloc.h>
#include <pthread.h>
#include <wchar.h>

static void test_alloc(void **state) {
  int64_t before = myna__mem_in_use();
  const size_t sizes[] = {1, 15, 16, 63, 64, 65, 100, 4096, 1000003};
  for (size_t i = 0; i < MYNA__COUNT(sizes); i++) {
    size_t n = sizes[i];
    unsigned char *p = myna__alloc(n);
    assert_non_null(p);
    if (n >= 64) assert_int_equal((uintptr_t)p % 64, 0);
    memset(p, 0xAB, n);
    assert_in_range(malloc_usable_size(p), n, n + 128 + n / 8); /* and not much more */
    assert_int_equal(myna__mem_in_use() - before, n);
    myna__free(p, n);
    unsigned char *z = myna__calloc(n);
    for (size_t k = 0; k < n; k++) assert_int_equal(z[k], 0);
    myna__free(z, n);
  }
  assert_null(myna__alloc(0));
  assert_null(myna__calloc(0));
  assert_null(myna__alloc(SIZE_MAX));
  assert_null(myna__alloc((size_t)PTRDIFF_MAX));
  myna__free(NULL, 0);
  myna__free(NULL, 10);
  assert_int_equal(myna__mem_in_use(), before);
}

static void test_resize(void **state) {
  test_rng r = test_rng_new(1);
  int64_t before = myna__mem_in_use();
  size_t n = 0;
  unsigned char *p = NULL;
  for (int step = 0; step < 300; step++) {
    size_t m = (size_t)test_int(&r, 300) + 1;
    unsigned char *q = myna__realloc(p, n, m);
    assert_non_null(q);
    if (m >= 64) assert_int_equal((uintptr_t)q % 64, 0);
    for (size_t k = 0; k < MYNA__MIN(n, m); k++) assert_int_equal(q[k], (unsigned char)(k * 7));
    for (size_t k = 0; k < m; k++) q[k] = (unsigned char)(k * 7);
    p = q;
    n = m;
    assert_int_equal(myna__mem_in_use() - before, n);
  }
  assert_null(myna__realloc(p, n, (size_t)PTRDIFF_MAX - 100)); /* the old block stays */
  assert_int_equal(p[n - 1], (unsigned char)((n - 1) * 7));
  assert_int_equal(myna__mem_in_use() - before, n);
  assert_null(myna__realloc(p, n, 0)); /* frees */
  assert_int_equal(myna__mem_in_use(), before);
}

/* Around and far beyond the size from which a block has pages of its own. */
static void test_large(void **state) {
  const size_t edge = (size_t)2 << 20, sizes[] = {100, edge - 1, edge, 3 * edge + 5, edge + 1, edge - 64, 10};
  int64_t before = myna__mem_in_use();
  unsigned char *p = NULL;
  size_t n = 0;
  for (size_t i = 0; i < MYNA__COUNT(sizes); i++) {
    unsigned char *z = myna__calloc(sizes[i]), *q = myna__realloc(p, n, sizes[i]);
    assert_true(z && q);
    for (size_t k = 0; k < sizes[i]; k += 4093) assert_int_equal(z[k], 0);
    assert_int_equal(z[sizes[i] - 1], 0);
    memset(z, 0xAB, sizes[i]); /* the next one must be zero again */
    myna__free(z, sizes[i]);
    for (size_t k = 0; k < MYNA__MIN(n, sizes[i]); k += 61) assert_int_equal(q[k], (unsigned char)(k * 7));
    for (size_t k = 0; k < sizes[i]; k++) q[k] = (unsigned char)(k * 7);
    p = q;
    n = sizes[i];
    assert_int_equal(myna__mem_in_use() - before, n);
  }
  assert_null(myna__realloc(p, n, (size_t)1 << 60)); /* the old block stays */
  assert_int_equal(p[9], 63);
  myna__free(p, n);
  assert_int_equal(myna__mem_in_use(), before);
}

/* Memory of another allocator is not zero by itself, whatever its size. */
static void *dirty_resize(void *user, void *ptr, size_t old_size, size_t new_size) {
  char *p = new_size ? aligned_alloc(64, (new_size + 63) & ~(size_t)63) : NULL;
  if (p) memset(p, 0xAB, new_size);
  if (p && ptr) memcpy(p, ptr, MYNA__MIN(old_size, new_size));
  free(ptr);
  return p;
}
static void test_dirty(void **state) {
  const size_t sizes[] = {1, 64, 4095, (size_t)2 << 20, ((size_t)2 << 20) + 1};
  myna_set_allocator(&(myna_allocator){dirty_resize, NULL});
  for (size_t i = 0; i < MYNA__COUNT(sizes); i++) {
    char *p = myna__calloc(sizes[i]);
    for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(p[k], 0);
    myna__free(p, sizes[i]);
  }
  myna_set_allocator(NULL);
}

static void test_peak(void **state) {
  int64_t base = myna__mem_in_use();
  myna__mem_peak(true);
  void *a = myna__alloc(1000), *b = myna__alloc(500);
  myna__free(a, 1000);
  assert_int_equal(myna__mem_peak(false) - base, 1500);
  assert_int_equal(myna__mem_peak(true) - base, 1500);
  assert_int_equal(myna__mem_peak(false) - base, 500);
  myna__free(b, 500);
}

static void test_strings(void **state) {
  int64_t before = myna__mem_in_use();
  char *s = myna__strndup("hello", 3);
  assert_string_equal(s, "hel");
  assert_int_equal(myna__mem_in_use() - before, 4);
  myna__strfree(s);
  s = myna__strndup("a\0b", 3); /* ends at the NUL: its size must be its length */
  assert_string_equal(s, "a");
  myna__strfree(s);
  s = myna__strndup("", 0);
  assert_string_equal(s, "");
  myna__strfree(s);
  myna__strfree(NULL);
  assert_int_equal(myna__mem_in_use(), before);
}

static void *allocate_ten(void *arg) {
  for (int i = 0; i < 10; i++) myna__free(myna__alloc(100), 100);
  return NULL;
}

static void test_guard(void **state) {
  void *p = myna__alloc(10);
  myna__guard_begin();
  assert_int_equal(myna__guard_end(), 0);
  myna__guard_begin();
  myna__free(p, 10); /* frees are no allocations */
  assert_int_equal(myna__guard_end(), 0);
  myna__guard_begin();
  p = myna__alloc(10);
  p = myna__realloc(p, 10, 20);
  assert_int_equal(myna__guard_end(), 2);
  myna__guard_begin();
  pthread_t t;
  pthread_create(&t, NULL, allocate_ten, NULL);
  pthread_join(t, NULL);
  assert_int_equal(myna__guard_end(), 10); /* any thread */
  myna__free(p, 20);
  /* nested: the outer one goes on counting */
  myna__guard_begin();
  myna__free(myna__alloc(1), 1);
  myna__guard_begin();
  myna__free(myna__alloc(1), 1);
  myna__guard_end();
  myna__free(myna__alloc(1), 1);
  assert_int_equal(myna__guard_end(), 3);
}

static void test_failure(void **state) {
  test_failing f;
  test_fail_at(&f, 2);
  int64_t before = myna__mem_in_use();
  void *a = myna__alloc(100);
  assert_non_null(a);
  memset(a, 1, 100);
  assert_null(myna__realloc(a, 100, 200)); /* the old block stays */
  assert_int_equal(((char *)a)[99], 1);
  assert_int_equal(myna__mem_in_use() - before, 100);
  assert_int_equal(f.failed, 1);
  a = myna__realloc(a, 100, 300);
  assert_non_null(a);
  myna__free(a, 300);
  assert_int_equal(f.live, 0);
  test_fail_off();
}

static void test_arena(void **state) {
  int64_t before = myna__mem_in_use();
  test_rng r = test_rng_new(2);
  myna__arena a = {0};
  unsigned char *objects[2000];
  size_t sizes[2000];
  for (int i = 0; i < 2000; i++) {
    size_t n = test_int(&r, 50) == 0 ? (size_t)test_int(&r, 20000) : (size_t)test_int(&r, 100);
    unsigned char *p = myna__arena_alloc(&a, n);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    for (size_t k = 0; k < n; k++) assert_int_equal(p[k], 0);
    memset(p, i & 255, n);
    objects[i] = p;
    sizes[i] = n;
  }
  for (int i = 0; i < 2000; i++) /* nothing overlaps */
    for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(objects[i][k], i & 255);
  assert_int_equal(myna__mem_in_use() - before, a.total);
  char *s = myna__arena_strndup(&a, "abc\0def", 7);
  assert_memory_equal(s, "abc\0def\0", 8);
  assert_string_equal(myna__arena_strndup(&a, "xyz", 0), "");
  assert_ptr_not_equal(myna__arena_alloc(&a, 0), myna__arena_alloc(&a, 0));
  s = myna__arena_strndup(&a, "0123456789abcdef", 15); /* 16 bytes with its NUL, and no more */
  assert_string_equal(s, "0123456789abcde");
  assert_ptr_equal(myna__arena_alloc(&a, 1), s + 16);
  assert_null(myna__arena_alloc(&a, SIZE_MAX));
  assert_null(myna__arena_alloc(&a, SIZE_MAX - 20));
  assert_null(myna__arena_strndup(&a, "x", SIZE_MAX));
  myna__arena_free(&a);
  assert_null(a.head);
  assert_int_equal(a.total, 0);
  assert_int_equal(myna__mem_in_use(), before);
  myna__arena_free(&a);
}

/* A large object does not throw away the free rest of the current block. */
static void test_arena_large(void **state) {
  myna__arena a = {0};
  char *first = myna__arena_alloc(&a, 16);
  assert_non_null(myna__arena_alloc(&a, 3 << 20));
  char *second = myna__arena_alloc(&a, 16);
  assert_ptr_equal(second, first + 16);
  myna__arena_free(&a);
  /* many small objects take few blocks */
  myna__guard_begin();
  for (int i = 0; i < 100000; i++) assert_non_null(myna__arena_alloc(&a, 16));
  assert_true(myna__guard_end() <= 10);
  assert_true(a.total < 2 * 1600000 + 4096);
  myna__arena_free(&a);
}

/* 64 bytes of header; as large as all before, from 4 KiB to 1 MiB; a request that does not fit gets its own size. */
static void test_arena_sizes(void **state) {
  const size_t mb = (size_t)1 << 20,
               totals[] = {4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, mb, 2 * mb, 3 * mb, 4 * mb};
  myna__arena a = {0};
  size_t before = 0;
  for (size_t i = 0; i < MYNA__COUNT(totals); before = totals[i++])
    for (size_t used = 64; used < totals[i] - before; used += 16) {
      assert_non_null(myna__arena_alloc(&a, 16));
      assert_int_equal(a.total, totals[i]);
    }
  assert_non_null(myna__arena_alloc(&a, mb - 64)); /* exactly a block */
  assert_int_equal(a.total, 5 * mb);
  assert_non_null(myna__arena_alloc(&a, mb - 63));
  assert_int_equal(a.total, 6 * mb + 16);
  myna__arena_free(&a);
}

/* The head stays while at least 1 KiB of it is free; a block that has room left becomes the head. */
static void test_arena_head(void **state) {
  for (size_t left = 1008; left <= 1024; left += 16) {
    myna__arena a = {0};
    char *first = myna__arena_alloc(&a, 4096 - 64 - left);
    assert_non_null(myna__arena_alloc(&a, 8192));
    char *second = myna__arena_alloc(&a, 16);
    assert_int_equal(second == first + 4096 - 64 - left, left >= 1024);
    myna__arena_free(&a);
    first = myna__arena_alloc(&a, 4096 - 64 - left);
    char *large = myna__arena_alloc(&a, 4096 - 64 - 16); /* 16 bytes stay free */
    assert_ptr_equal((char *)myna__arena_alloc(&a, 16), large + 4096 - 64 - 16);
    myna__arena_free(&a);
  }
}

static void test_arena_fails(void **state) {
  test_failing f;
  test_fail_at(&f, 2);
  myna__arena a = {0};
  void *p = myna__arena_alloc(&a, 4000);
  assert_non_null(p);
  assert_null(myna__arena_alloc(&a, 4000));
  test_fail_off();
  myna__arena_free(&(myna__arena){0});
  f.fail_at = f.count + 1;
  myna_set_allocator(&(myna_allocator){test_failing_resize, &f});
  assert_null(myna__arena_strndup(&a, "x", 4000));
  assert_non_null(myna__arena_alloc(&a, 4000));
  myna__arena_free(&a);
  assert_int_equal(f.live, 0);
  test_fail_off();
}

static void test_buf(void **state) {
  int64_t before = myna__mem_in_use();
  myna__buf b = {0};
  myna__buf_str(&b, "");
  assert_string_equal(b.data, "");
  myna__buf_free(&b);
  myna__buf_printf(&b, "%s", "");
  assert_false(b.failed);
  assert_string_equal(b.data, "");
  char want[5000];
  size_t len = 0;
  for (int i = 0; i < 300; i++) {
    char piece[32];
    int n = snprintf(piece, sizeof piece, "%d,", i * 7919);
    memcpy(want + len, piece, (size_t)n);
    len += (size_t)n;
    if (i % 3 == 0)
      myna__buf_printf(&b, "%d,", i * 7919);
    else if (i % 3 == 1)
      myna__buf_str(&b, piece);
    else
      myna__buf_add(&b, piece, (size_t)n);
    assert_int_equal(b.len, len);
    assert_int_equal(b.data[len], 0);
    assert_true(b.len < b.cap);
  }
  assert_memory_equal(b.data, want, len);
  assert_false(b.failed);
  myna__buf_add(&b, "\0x", 2);
  assert_int_equal(b.len, len + 2);
  myna__buf_printf(&b, "%0*d", 20000, 5);
  assert_int_equal(b.len, len + 20002);
  assert_int_equal(b.data[b.len - 1], '5');
  myna__buf_add(&b, NULL, 0);
  myna__buf_free(&b);
  assert_null(b.data);
  myna__buf_free(&b);
  assert_int_equal(myna__mem_in_use(), before);
}

/* Growth: the first block holds 63 bytes and a NUL; each is half as large again, so that many small pieces take few. */
static void test_buf_growth(void **state) {
  myna__buf b = {0};
  size_t cap = 64;
  myna__guard_begin();
  for (size_t n = 0; n < 100000; n++) {
    myna__buf_add(&b, "x", 1);
    if (n + 2 > cap) cap += cap / 2;
    assert_int_equal(b.cap, cap);
  }
  assert_true(myna__guard_end() < 25);
  myna__buf_free(&b);
  char big[200] = {0};
  myna__buf_add(&b, big, 200);
  assert_int_equal(b.cap, 201); /* not more than it needs */
  myna__buf_free(&b);
}

static void test_buf_fails(void **state) {
  test_failing f;
  test_fail_at(&f, 2);
  myna__buf b = {0};
  myna__buf_str(&b, "kept");
  char big[1000];
  memset(big, 'x', sizeof big);
  myna__buf_add(&b, big, sizeof big);
  assert_true(b.failed);
  assert_string_equal(b.data, "kept");
  myna__buf_str(&b, "dropped"); /* even when it would fit: no text with a hole */
  myna__buf_printf(&b, "%d", 1);
  assert_string_equal(b.data, "kept");
  assert_int_equal(b.len, 4);
  myna__buf_free(&b);
  assert_false(b.failed);
  myna__buf_str(&b, "a");
  myna__buf_add(&b, "x", SIZE_MAX - 1);
  assert_true(b.failed);
  assert_string_equal(b.data, "a");
  myna__buf_free(&b);
  assert_int_equal(f.live, 0);
  test_fail_off();
  myna__buf_printf(&b, "%lc", (wint_t)0x1F600); /* no such character in the C locale: printf itself fails */
  assert_true(b.failed);
  myna__buf_free(&b);
}

static void test_arithmetic(void **state) {
  int64_t out;
  assert_true(myna__mul_ok(3, 4, &out));
  assert_int_equal(out, 12);
  assert_false(myna__mul_ok(INT64_MAX, 2, &out));
  assert_true(myna__add_ok(INT64_MAX, 0, &out));
  assert_false(myna__add_ok(INT64_MAX, 1, &out));
  assert_false(myna__add_ok(INT64_MIN, -1, &out));
}

static void test_dtypes(void **state) {
  assert_string_equal(myna_dtype_name(MYNA_Q4_K), "Q4_K");
  assert_int_equal(myna_dtype_block(MYNA_Q4_K), 256);
  assert_int_equal(myna_dtype_bytes(MYNA_Q4_K), 144);
  assert_int_equal(myna_dtype_bytes(MYNA_F32), 4);
  assert_int_equal(myna_dtype_from_name("q4_k"), MYNA_Q4_K);
  assert_int_equal(myna_dtype_from_name("Q4_K_M"), -1);
  assert_int_equal(myna_dtype_from_name(""), -1);
  assert_int_equal(myna_dtype_from_name(NULL), -1);
  assert_null(myna_dtype_name(MYNA_DTYPE_COUNT));
  assert_null(myna_dtype_name((myna_dtype)-1));
  assert_int_equal(myna_dtype_block((myna_dtype)1000), 0);
  assert_int_equal(myna_dtype_bytes((myna_dtype)-1), 0);
  for (int t = 0; t < MYNA_DTYPE_COUNT; t++) {
    assert_int_equal(myna_dtype_from_name(myna_dtype_name((myna_dtype)t)), t);
    assert_true(myna_dtype_block((myna_dtype)t) > 0 && myna_dtype_bytes((myna_dtype)t) > 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_alloc),       cmocka_unit_test(test_resize),     cmocka_unit_test(test_peak),
      cmocka_unit_test(test_large),       cmocka_unit_test(test_strings),    cmocka_unit_test(test_guard),
      cmocka_unit_test(test_failure),     cmocka_unit_test(test_arena),      cmocka_unit_test(test_arena_large),
      cmocka_unit_test(test_arena_fails), cmocka_unit_test(test_buf),        cmocka_unit_test(test_buf_fails),
      cmocka_unit_test(test_arithmetic),  cmocka_unit_test(test_dtypes),     cmocka_unit_test(test_arena_sizes),
      cmocka_unit_test(test_arena_head),  cmocka_unit_test(test_buf_growth), cmocka_unit_test(test_dirty),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
