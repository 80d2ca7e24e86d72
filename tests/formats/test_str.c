/* Quoting, UTF-8, the index sort and the growing table. */
#include "gguf_writer.h"
#include "formats/str.h"

static myna__str str(const char *s) { return (myna__str){s, strlen(s)}; }

static void test_eq(void **state) {
  assert_true(myna__str_eq(str("abc"), "abc"));
  assert_false(myna__str_eq(str("abc"), "ab"));
  assert_false(myna__str_eq(str("ab"), "abc"));
  assert_false(myna__str_eq(str("abd"), "abc"));
  assert_true(myna__str_eq((myna__str){"x", 0}, ""));
}

static void test_quote(void **state) {
  char buf[MYNA__QUOTE];
  assert_string_equal(myna__str_quote(buf, str("blk.0.attn_q.weight")), "blk.0.attn_q.weight");
  assert_string_equal(myna__str_quote(buf, str("")), "");
  assert_string_equal(myna__str_quote(buf, (myna__str){"a\0b\x1b\x7f~ ", 7}), "a\\x00b\\x1b\\x7f~ ");
  assert_string_equal(myna__str_quote(buf, str("\\\xc3\xa9")), "\\x5c\\xc3\\xa9");
  /* any length fits, with an end that says it was cut */
  for (size_t n = 0; n < 300; n++) {
    char *many = malloc(n + 1);
    for (int odd = 0; odd < 2; odd++) {
      for (size_t i = 0; i < n; i++) many[i] = (char)(i % 3 == (size_t)odd ? 1 : 'x');
      const char *q = myna__str_quote(buf, (myna__str){many, n});
      size_t len = strlen(q);
      size_t full = 0;
      for (size_t i = 0; i < n; i++) full += many[i] == 1 ? 4 : 1;
      bool cut = len >= 3 && strcmp(q + len - 3, "...") == 0;
      assert_true(len < MYNA__QUOTE);
      assert_true(cut ? full > 88 && len > 88 : full == len);
    }
    free(many);
  }
}

/* All sequences of up to 4 bytes from interesting bytes, against a decoder that computes the code point. */
static int slow_utf8(const uint8_t *p, size_t n) {
  int len = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
  uint32_t c = p[0] & (0xFFu >> (len + 1));
  if (p[0] < 0xC0 || p[0] >= 0xF8 || n < (size_t)len) return 0;
  for (int i = 1; i < len; i++) {
    if (p[i] >> 6 != 2) return 0;
    c = c << 6 | (p[i] & 0x3F);
  }
  uint32_t least = len == 2 ? 0x80 : len == 3 ? 0x800 : 0x10000;
  return c < least || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) ? 0 : len;
}

static void test_utf8(void **state) {
  static const uint8_t bytes[] = {0x00, 0x22, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xFF};
  enum { N = sizeof bytes };
  for (int first = 0x80; first < 0x100; first++)
    for (int k = 0; k < N * N * N; k++)
      for (size_t n = 1; n <= 4; n++) {
        uint8_t s[4] = {(uint8_t)first, bytes[k % N], bytes[k / N % N], bytes[k / N / N]};
        uint8_t *exact = exact_copy(s, n);
        int want = slow_utf8(exact, n), got = myna__utf8_len(exact, n);
        if (want != got)
          fail_msg("%02x %02x %02x %02x, %zu bytes: %d instead of %d", s[0], s[1], s[2], s[3], n, got, want);
        free(exact);
      }
}

static uint64_t key_of(const void *ctx, int64_t i) { return ((const uint64_t *)ctx)[i]; }

static void test_sort(void **state) {
  test_rng r = test_rng_new(5);
  enum { MAX = 200 };
  uint64_t keys[MAX];
  int64_t order[MAX];
  for (int n = 0; n <= MAX; n++)
    for (int kind = 0; kind < 4; kind++) {
      for (int i = 0; i < n; i++) {
        keys[i] = kind == 0 ? (uint64_t)i : kind == 1 ? (uint64_t)(n - i) : kind == 2 ? test_u64(&r) : test_u64(&r) % 5;
        order[i] = i;
      }
      myna__sort_index(order, n, key_of, keys);
      uint8_t seen[MAX] = {0};
      for (int i = 0; i < n; i++) {
        assert_true(order[i] >= 0 && order[i] < n && !seen[order[i]]);
        seen[order[i]] = 1;
        if (i > 0) assert_true(keys[order[i - 1]] <= keys[order[i]]);
      }
    }
}

static void test_grow(void **state) {
  int *p = NULL;
  int64_t cap = 0;
  test_failing f;
  test_fail_at(&f, 0);
  for (int64_t n = 0; n < 1000; n++) {
    ASSERT_OK(myna__grow((void **)&p, n, &cap, sizeof *p, NULL));
    assert_true(cap > n && cap <= 2 * n + 64);
    p[n] = (int)n;
  }
  for (int64_t n = 0; n < 1000; n++) assert_int_equal(p[n], n);
  f.fail_at = f.count + 1;
  myna_err err = {0};
  ASSERT_FAILS(myna__grow((void **)&p, cap, &cap, sizeof *p, &err), MYNA_E_NOMEM, &err, "no memory");
  assert_int_equal(p[999], 999);
  int64_t huge = INT64_MAX / 4;
  int *same = p;
  assert_int_equal(myna__grow((void **)&same, huge, &huge, sizeof *p, NULL), MYNA_E_NOMEM);
  assert_ptr_equal(same, p);
  myna__free(p, (size_t)cap * sizeof *p);
  assert_int_equal(f.live, 0);
  test_fail_off();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_eq),   cmocka_unit_test(test_quote), cmocka_unit_test(test_utf8),
      cmocka_unit_test(test_sort), cmocka_unit_test(test_grow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
