/* test_stops.c: stop strings: whatever the pieces are in which text arrives, the same text comes out and the same stop is found. */
#include "engine/job.h"
#include "test.h"

typedef struct stop_case {
  const char *text;
  size_t n;
  const char *stops[4];
  int64_t end; /* bytes before the first stop; -1: none */
} stop_case;

#define T(s) s, sizeof(s) - 1
static const stop_case cases[] = {
    {T("hello world"), {"wor"}, 6},
    {T("hello world"), {"xyz"}, -1},
    {T("aaab"), {"aab"}, 1},
    {T("ababac"), {"abac"}, 2},
    {T("abcabd"), {"abd", "bca"}, 1}, /* the one that begins first */
    {T("abcabd"), {"bca", "abd"}, 1},
    {T("abcabd"), {"bc", "d", "cab"}, 1},
    {T("one two"), {"two", "o"}, 0},     /* and among those that begin together */
    {T("stop"), {"stop", "stopped"}, 0}, /* the shorter is complete first */
    {T("stoppe"), {"stopped", "x"}, -1}, /* what was held back comes at the end */
    {T("a\nb\n\nc"), {"\n\n"}, 3},
    {T("gr\xc3\xbc\xc3\x9f dich"), {"\xc3\x9f"}, 4},
    {T("\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82"), {"\xe5\xa5\xbd"}, 3},
    {T("a\0b\0stop"), {"stop"}, 4},
    {T("a\0sto\0p"), {"stop"}, -1},
    {T("x"), {"x"}, 0},
    {T(""), {"x"}, -1},
    {T("</s"), {"</s>", "</"}, 0},
    {T("abcd"), {NULL}, -1},
};

static void check(const stop_case *c, uint64_t cuts) {
  myna__stops s = {0};
  myna__buf out = {0};
  int n = 0;
  while (n < 4 && c->stops[n]) n++;
  ASSERT_OK(myna__stops_set(&s, c->stops, n, NULL));
  bool stopped = false;
  size_t from = 0;
  for (size_t i = 0; i < c->n && !stopped; i++) {
    if (i + 1 < c->n && !(cuts >> i & 1)) continue;
    stopped = myna__stops_push(&s, c->text + from, i + 1 - from, &out);
    from = i + 1;
  }
  assert_int_equal(stopped, c->end >= 0);
  if (!stopped) myna__stops_finish(&s, &out);
  assert_int_equal(out.len, stopped ? (size_t)c->end : c->n);
  if (out.len) assert_memory_equal(out.data, c->text, out.len);
  myna__buf_free(&out);
  myna__stops_free(&s);
}

/* All ways to cut. Where stops begin together, or one holds another, the cut may decide which is found first, not that one is: those cases
 * above have one answer. */
static void test_all_cuts(void **state) {
  for (size_t i = 0; i < MYNA__COUNT(cases); i++)
    for (uint32_t cuts = 0; cuts < 1u << (cases[i].n > 1 ? cases[i].n - 1 : 0); cuts++) check(&cases[i], cuts);
}

/* Text is not held longer than needed. */
static void test_prompt(void **state) {
  myna__stops s = {0};
  myna__buf out = {0};
  ASSERT_OK(myna__stops_set(&s, (const char *const[]){"</end>"}, 1, NULL));
  assert_false(myna__stops_push(&s, "abc<", 4, &out));
  assert_int_equal(out.len, 3);
  assert_false(myna__stops_push(&s, "b</en", 5, &out));
  assert_int_equal(out.len, 5);
  assert_false(myna__stops_push(&s, "x", 1, &out));
  assert_int_equal(out.len, 10);
  assert_string_equal(out.data, "abc<b</enx");
  myna__buf_free(&out);
  myna__stops_free(&s);
}

/* Random texts of few letters: the first place where any stop occurs. */
static void test_random(void **state) {
  test_rng r = test_rng_new(5);
  for (int round = 0; round < 3000; round++) {
    char text[40], stop[2][8];
    int n = (int)test_int(&r, 39);
    for (int i = 0; i < n; i++) text[i] = (char)('a' + test_int(&r, 2));
    text[n] = 0;
    for (int k = 0; k < 2; k++) {
      int len = 1 + (int)test_int(&r, 6);
      for (int i = 0; i < len; i++) stop[k][i] = (char)('a' + test_int(&r, 2));
      stop[k][len] = 0;
    }
    stop_case c = {.text = text, .n = (size_t)n, .stops = {stop[0]}, .end = -1};
    const char *at = strstr(text, stop[0]);
    if (at) c.end = at - text;
    for (int i = 0; i < 10; i++) check(&c, test_u64(&r));
  }
}

static void test_errors(void **state) {
  myna__stops s = {0};
  myna_err err = {0};
  ASSERT_FAILS(myna__stops_set(&s, (const char *const[]){"a", ""}, 2, &err), MYNA_E_ARG, &err, "stop string 1");
  myna__stops_free(&s);
  err = (myna_err){0};
  ASSERT_FAILS(myna__stops_set(&s, (const char *const[]){NULL}, 1, &err), MYNA_E_ARG, &err, "stop string 0");
  myna__stops_free(&s);
  for (int n = 1;; n++) {
    test_failing f;
    test_fail_at(&f, n);
    int rc = myna__stops_set(&s, (const char *const[]){"a", "b"}, 2, NULL);
    myna__stops_free(&s);
    test_fail_off();
    assert_int_equal(rc, f.failed ? MYNA_E_NOMEM : 0);
    assert_int_equal(f.live, 0);
    if (!f.failed) break;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_cuts), cmocka_unit_test(test_prompt),
                                     cmocka_unit_test(test_random), cmocka_unit_test(test_errors)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
