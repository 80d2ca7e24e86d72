/* The hash map: against a plain array, growth, equal prefixes, binary keys, failing memory; spread of the hash. */
#include "test.h"
#include "base/base.h"

static void test_basic(void **state) {
  myna__map m = {0};
  myna_err err = {0};
  assert_int_equal(myna__map_get(&m, "a", 1, -7), -7);
  assert_int_equal(myna__map_put(&m, "a", 1, 5, &err), 1);
  assert_int_equal(myna__map_put(&m, "b", 1, 6, &err), 1);
  assert_int_equal(myna__map_put(&m, "a", 1, 8, &err), 0);
  assert_int_equal(myna__map_get(&m, "a", 1, -7), 8);
  assert_int_equal(myna__map_get(&m, "b", 1, -7), 6);
  assert_int_equal(myna__map_get(&m, "ab", 2, -7), -7);
  assert_int_equal(myna__map_get(&m, "", 0, -7), -7);
  assert_int_equal(myna__map_put(&m, "", 0, -1, &err), 1);
  assert_int_equal(myna__map_get(&m, "", 0, -7), -1);
  assert_int_equal(myna__map_get(&m, NULL, 0, -7), -1); /* no byte is read */
  assert_int_equal(m.len, 3);
  /* NUL bytes count */
  assert_int_equal(myna__map_put(&m, "x\0y", 3, 1, &err), 1);
  assert_int_equal(myna__map_put(&m, "x\0z", 3, 2, &err), 1);
  assert_int_equal(myna__map_put(&m, "x", 1, 3, &err), 1);
  assert_int_equal(myna__map_get(&m, "x\0y", 3, 0), 1);
  assert_int_equal(myna__map_get(&m, "x\0z", 3, 0), 2);
  myna__map_free(&m);
  assert_int_equal(m.len, 0);
  assert_int_equal(myna__map_get(&m, "a", 1, -7), -7);
  myna__map_free(&m);
  assert_int_equal(err.code, 0);
}

/* 20,000 keys of the shape of tensor names, all found after every growth; neighbours of keys are not found. */
static void test_many(void **state) {
  enum { N = 20000 };
  static char keys[N][32];
  int64_t before = myna__mem_in_use();
  myna__map m = {0};
  for (int i = 0; i < N; i++) {
    snprintf(keys[i], sizeof keys[i], "blk.%d.attn_q.%d", i / 7, i % 7);
    assert_int_equal(myna__map_put(&m, keys[i], strlen(keys[i]), i, NULL), 1);
    assert_true(m.len < m.cap);
    assert_true((m.cap & (m.cap - 1)) == 0);
    if ((m.len & (m.len - 1)) == 0)
      for (int k = 0; k <= i; k++) assert_int_equal(myna__map_get(&m, keys[k], strlen(keys[k]), -1), k);
  }
  assert_int_equal(m.len, N);
  assert_true(m.cap <= 4 * N);
  for (int i = 0; i < N; i++) {
    assert_int_equal(myna__map_get(&m, keys[i], strlen(keys[i]), -1), i);
    assert_int_equal(myna__map_get(&m, keys[i], strlen(keys[i]) - 1, -1), -1);
  }
  myna__map_free(&m);
  assert_int_equal(myna__mem_in_use(), before);
}

/* A small table is nearly full of probe chains: every insertion collides with something. */
static void test_full_table(void **state) {
  myna__map m = {0};
  unsigned char keys[200];
  for (int round = 0; round < 50; round++) {
    for (int i = 0; i < 12; i++) { /* 12 of 16 slots: the load limit */
      keys[i] = (unsigned char)(round * 5 + i * 3);
      myna__map_put(&m, (char *)&keys[i], 1, i, NULL);
    }
    assert_int_equal(m.cap, 16);
    for (int c = 0; c < 256; c++) {
      char key = (char)c;
      int want = -1;
      for (int i = 0; i < 12; i++)
        if (keys[i] == c) want = i;
      assert_int_equal(myna__map_get(&m, &key, 1, -1), want);
    }
    myna__map_free(&m);
  }
}

static void test_reserve(void **state) {
  myna__map m = {0};
  assert_int_equal(myna__map_reserve(&m, 1000, NULL), 0);
  static int keys[1000];
  myna__guard_begin();
  for (int i = 0; i < 1000; i++) {
    keys[i] = i;
    assert_int_equal(myna__map_put(&m, (char *)&keys[i], sizeof(int), i, NULL), 1);
  }
  assert_int_equal(myna__guard_end(), 0);
  size_t cap = m.cap;
  assert_int_equal(myna__map_reserve(&m, 10, NULL), 0);
  assert_int_equal(m.cap, cap); /* never shrinks */
  myna_err err = {0};
  assert_int_equal(myna__map_reserve(&m, SIZE_MAX, &err), MYNA_E_NOMEM);
  assert_int_equal(err.code, MYNA_E_NOMEM);
  assert_int_equal(myna__map_get(&m, (char *)&keys[999], sizeof(int), -1), 999);
  myna__map_free(&m);
}

static void test_fails(void **state) {
  test_failing f;
  test_fail_at(&f, 2);
  myna__map m = {0};
  static const char key[64];
  int rc = 1;
  size_t n = 0;
  myna_err err = {0};
  for (; rc > 0 && n < 64; n++) rc = myna__map_put(&m, key, n + 1, (int64_t)n + 1, &err); /* 1, 2, ... zero bytes */
  assert_int_equal(rc, MYNA_E_NOMEM);
  assert_int_equal(err.code, MYNA_E_NOMEM);
  assert_int_equal(m.len, n - 1); /* intact without the last one */
  for (size_t i = 1; i < n; i++) assert_int_equal(myna__map_get(&m, key, i, -1), i);
  assert_int_equal(myna__map_get(&m, key, n, -1), -1);
  myna__map_free(&m);
  assert_int_equal(f.live, 0);
  test_fail_off();
}

/* Every single-bit change of a key changes about half of the hash, for all lengths around the block size. */
static void test_hash(void **state) {
  test_rng r = test_rng_new(3);
  for (size_t n = 0; n < 70; n++) {
    unsigned char around[16 + 70 + 16] = {0}, *key = around + 16; /* what lies beside the key is constant */
    for (size_t i = 0; i < n; i++) key[i] = (unsigned char)test_u64(&r);
    uint64_t h = myna__hash(key, n, 42);
    assert_true(h == myna__hash(key, n, 42));
    assert_true(h != myna__hash(key, n, 43));
    int64_t flipped = 0;
    for (size_t b = 0; b < n * 8; b++) {
      key[b / 8] ^= (unsigned char)(1 << b % 8);
      int d = __builtin_popcountll(h ^ myna__hash(key, n, 42));
      key[b / 8] ^= (unsigned char)(1 << b % 8);
      assert_in_range(d, 8, 56);
      flipped += d;
    }
    if (n) assert_in_range(flipped, n * 8 * 26, n * 8 * 38);
  }
  assert_true(myna__hash("a", 1, 0) != myna__hash("a\0", 2, 0)); /* length counts */
}

/* The very values: a change of the hash is to be a decision. (The formula of map.c in Python, on little-endian words.) */
static void test_hash_values(void **state) {
  const uint64_t want[] = {0x7639768D5CB0CF35ull, 0x70593F41F92EA272ull, 0x39478C0AEBB452F1ull, 0x30859C2BF372DFCAull,
                           0xD55DCF07DEB24B6Full, 0xFB3275C118D8B3EEull, 0xDBFDDF42EE406E0Eull, 0xF4D8CB51F73EF10Dull,
                           0xE36DA437EBAECEC4ull, 0x101FAF8F82F40B00ull};
  char key[40];
  for (int i = 0; i < 40; i++) key[i] = (char)(i * 37 + 11);
  const size_t lengths[] = {0, 1, 7, 8, 15, 16, 17, 32, 33, 40};
  for (size_t i = 0; i < MYNA__COUNT(lengths); i++) {
    uint64_t h = myna__hash(key, lengths[i], i);
    if (h != want[i]) fail_msg("hash of %zu bytes is 0x%llXull", lengths[i], (unsigned long long)h);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_basic),       cmocka_unit_test(test_many),  cmocka_unit_test(test_full_table),
      cmocka_unit_test(test_reserve),     cmocka_unit_test(test_fails), cmocka_unit_test(test_hash),
      cmocka_unit_test(test_hash_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
