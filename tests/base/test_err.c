/* Errors: codes, first failure wins, formatting, truncation; the log hook. */
#include "test.h"
#include "base/base.h"
#include <wchar.h>

static void test_texts(void **state) {
  assert_string_equal(myna_error_text(0), "no error");
  assert_string_equal(myna_error_text(MYNA_E_FORMAT), "malformed file");
  assert_string_equal(myna_error_text(-12), "internal error");
  assert_string_equal(myna_error_text(1), "unknown error");
  assert_string_equal(myna_error_text(-13), "unknown error");
  for (int code = -12; code < 0; code++) assert_string_not_equal(myna_error_text(code), "unknown error");
}

static void test_first_wins(void **state) {
  myna_err err = {0};
  assert_int_equal(myna__err(&err, MYNA_E_SHAPE, "%d by %d", 3, 4), MYNA_E_SHAPE);
  assert_int_equal(err.code, MYNA_E_SHAPE);
  assert_string_equal(err.msg, "3 by 4");
  assert_int_equal(err.offset, -1);
  assert_int_equal(err.line, -1);
  assert_string_equal(err.file, "");
  /* the second call reports its own code but leaves err */
  assert_int_equal(myna__err_at(&err, MYNA_E_IO, "f", 9, "no"), MYNA_E_IO);
  assert_int_equal(err.code, MYNA_E_SHAPE);
  assert_string_equal(err.msg, "3 by 4");
  assert_string_equal(err.file, "");
  assert_int_equal(myna__err(NULL, MYNA_E_ARG, "x"), MYNA_E_ARG);
}

static void test_format(void **state) {
  char buf[1024];
  myna_err err = {0};
  assert_string_equal(myna_error_format(NULL, buf, sizeof buf), "");
  assert_string_equal(myna_error_format(&err, buf, sizeof buf), "");
  assert_string_equal(myna_error_format(NULL, NULL, 0), "");
  myna__err_at(&err, MYNA_E_FORMAT, "a.gguf", 24, "key %s", "x.y");
  assert_ptr_equal(myna_error_format(&err, buf, sizeof buf), buf);
  assert_string_equal(buf, "a.gguf: offset 24: key x.y");
  err.line = 7;
  assert_string_equal(myna_error_format(&err, buf, sizeof buf), "a.gguf: offset 24: line 7: key x.y");
  err.offset = -1;
  assert_string_equal(myna_error_format(&err, buf, sizeof buf), "a.gguf: line 7: key x.y");
  err.file[0] = 0;
  err.line = -1;
  assert_string_equal(myna_error_format(&err, buf, sizeof buf), "key x.y");
  err.msg[0] = 0;
  assert_string_equal(myna_error_format(&err, buf, sizeof buf), "malformed file");
  for (size_t n = 1; n < 20; n++) {
    memset(buf, '#', sizeof buf);
    myna_error_format(&err, buf, n);
    assert_int_equal(strlen(buf), MYNA__MIN(n - 1, strlen("malformed file")));
    assert_int_equal(buf[n], '#');
  }
}

static void test_long(void **state) {
  char path[1000], text[1000];
  memset(path, 'p', sizeof path);
  memcpy(path + sizeof path - 6, "/name", 6);
  memset(text, 't', sizeof text);
  text[sizeof text - 1] = 0;
  struct {
    myna_err err;
    char behind[2000];
  } both = {0};
  myna__err_at(&both.err, MYNA_E_IO, path, 0, "%s", text);
  for (size_t i = 0; i < sizeof both.behind; i++) assert_int_equal(both.behind[i], 0);
  myna_err err = both.err;
  assert_int_equal(strlen(err.file), sizeof err.file - 1);
  assert_string_equal(err.file + sizeof err.file - 6, "/name"); /* the tail is what tells */
  assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
  myna_err bad = {0};
  assert_int_equal(myna__err(&bad, MYNA_E_IO, "%lc", (wint_t)0x1F600), MYNA_E_IO);
  assert_string_equal(bad.msg, "");
  char buf[2048];
  myna_error_format(&err, buf, sizeof buf);
  assert_non_null(strstr(buf, "/name: offset 0: ttt"));
}

/* A cut message never ends inside a UTF-8 sequence, and a whole one before the cut stays. */
static void test_cut_utf8(void **state) {
  const char *seqs[] = {"x", "é", "€", "𝄞"};
  for (size_t k = 0; k < 4; k++)
    for (size_t lead = 500; lead < 520; lead++)
      for (int more = 0; more < 2; more++) {
        char text[600];
        memset(text, 'x', lead);
        strcpy(text + lead, seqs[k]);
        if (more) strcat(text, "tail of ascii");
        myna_err err = {0};
        myna__err(&err, MYNA_E_ARG, "%s", text);
        size_t n = strlen(seqs[k]), whole = MYNA__MIN(strlen(text), 511);
        size_t want = lead < 511 && lead + n > 511 ? lead : whole;
        assert_int_equal(strlen(err.msg), want);
        assert_memory_equal(err.msg, text, want);
      }
}

struct seen {
  int n, level;
  char line[2000];
};
static void sink(void *user, int level, const char *line) {
  struct seen *s = user;
  s->n++;
  s->level = level;
  snprintf(s->line, sizeof s->line, "%s", line);
}

static void test_log(void **state) {
  struct seen s = {0};
  myna__log(0, "nobody listens %d", 1);
  myna_set_log(sink, &s);
  myna__log(2, "hello %d", 5);
  assert_int_equal(s.n, 1);
  assert_int_equal(s.level, 2);
  assert_string_equal(s.line, "hello 5");
  myna__log(1, "%0*d", 1500, 0);
  assert_int_equal(strlen(s.line), 1023);
  myna__log(1, "%lc", (wint_t)0x1F600); /* printf itself fails: nothing to say */
  assert_int_equal(s.n, 2);
  myna__log(1, "%s", "");
  assert_int_equal(s.n, 3);
  assert_string_equal(s.line, "");
  myna_set_log(NULL, NULL);
  myna__log(2, "gone");
  assert_int_equal(s.n, 3);
}

static int tried(int rc) {
  TRY(rc);
  return 77;
}
static int tried_n(int rc) {
  TRY_N(rc);
  return 77;
}
static void test_try(void **state) {
  assert_int_equal(tried(0), 77);
  assert_int_equal(tried(-3), -3);
  assert_int_equal(tried_n(0), 77);
  assert_int_equal(tried_n(3), 77);
  assert_int_equal(tried_n(-3), -3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_texts), cmocka_unit_test(test_first_wins), cmocka_unit_test(test_format),
      cmocka_unit_test(test_long),  cmocka_unit_test(test_cut_utf8),   cmocka_unit_test(test_log),
      cmocka_unit_test(test_try),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
