/* The pull JSON reader: tokens, strings, numbers, what is refused and where, every prefix, nst/JSONTestSuite. */
#include "gguf_writer.h"
#include "formats/jsonread.h"
#include <dirent.h>
#include <locale.h>
#include <math.h>

/* Reads the whole document from an exact copy and writes its tokens as text: {K"a" S"b" N1 [ ] } ... */
static int read_all(const char *doc, size_t n, char *out, size_t cap, myna_err *err) {
  uint8_t *copy = exact_copy(doc, n);
  myna__json j;
  int rc;
  size_t len = 0;
  myna__json_init(&j, copy, n, "doc", 100, err);
  while ((rc = myna__json_next(&j)) > 0) {
    static const char marks[] = ".{}[]KSNTFZ";
    char text[200] = "";
    if (rc == MYNA__JSON_KEY || rc == MYNA__JSON_STRING || rc == MYNA__JSON_NUMBER)
      snprintf(text, sizeof text, "<%.*s>", (int)j.str.n, j.str.p);
    len += (size_t)snprintf(out + len, len < cap ? cap - len : 0, "%c%s", marks[rc], text);
    assert_int_equal(j.token, rc);
    assert_true(len < cap);
  }
  out[len] = 0;
  /* the end and a failure both repeat */
  assert_int_equal(myna__json_next(&j), rc);
  if (rc == 0) assert_int_equal(j.depth, 0);
  myna__json_free(&j);
  free(copy);
  return rc;
}

static void test_tokens(void **state) {
  static const struct {
    const char *doc, *tokens;
  } cases[] = {
      {"{}", "{}"},
      {" [ ] ", "[]"},
      {"null", "Z"},
      {"\t\r\n true \n", "T"},
      {"[true,false,null]", "[TFZ]"},
      {"{\"a\":1,\"b\":[{}, [ ] ]}", "{K<a>N<1>K<b>[{}[]]}"},
      {"\"\"", "S<>"},
      {"[\"abcdefgh\", \"abcdefghi\",\"x\"]", "[S<abcdefgh>S<abcdefghi>S<x>]"},
      {"\"a\\\"b\\\\c\\/d\\b\\f\\n\\r\\te\"", "S<a\"b\\c/d\b\f\n\r\te>"},
      {"\"\\u0041\\u00e9\\u20ac\\uD83D\\ude00z\"", "S<A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z>"},
      {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\"",
       "S<\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf>"},
      {"{\"\\u006b\":\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"}",
       "{K<k>S<\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf>}"},
      {"[0,-0,10,-1.5,2e3,2E+3,-2.25e-10,0.0,0e1]", "[N<0>N<-0>N<10>N<-1.5>N<2e3>N<2E+3>N<-2.25e-10>N<0.0>N<0e1>]"},
      {"{\"a\":1,\"a\":2}", "{K<a>N<1>K<a>N<2>}"}, /* the caller's business */
      {"[[[[]],{\"x\":[]}]]", "[[[[]]{K<x>[]}]]"},
      {"\"\x7f\"", "S<\x7f>"},
  };
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    char out[1000];
    myna_err err = {0};
    ASSERT_OK_ERR(read_all(cases[i].doc, strlen(cases[i].doc), out, sizeof out, &err), &err);
    assert_string_equal(out, cases[i].tokens);
  }
}

static void test_refused(void **state) {
  static const struct {
    const char *doc, *message;
    int at;
  } cases[] = {
      {"", "the text ends where a value must follow", 0},
      {"  ", "ends where a value", 2},
      {"{", "ends where a key in quotes", 1},
      {"[", "ends where a value", 1},
      {"[1", "ends where ',' or ']'", 2},
      {"[1,", "ends where a value", 3},
      {"[1,]", "expected a value, found ']'", 3},
      {"[,1]", "found ','", 1},
      {"[1 2]", "expected ',' or ']', found '2'", 3},
      {"{\"a\"}", "expected ':' after the key, found '}'", 4},
      {"{\"a\":}", "expected a value, found '}'", 5},
      {"{\"a\":1,}", "expected a key in quotes, found '}'", 7},
      {"{\"a\":1]", "expected ',' or '}', found ']'", 6},
      {"[1}", "expected ',' or ']', found '}'", 2},
      {"{a:1}", "expected a key in quotes, found 'a'", 1},
      {"{1:1}", "expected a key in quotes, found '1'", 1},
      {"{} {}", "expected nothing after the end of the document, found '{'", 3},
      {"1 \x01", "found byte 0x01", 2},
      {"01", "found '1'", 1},
      {"-", "ends where a digit", 1},
      {"-a", "expected a digit, found 'a'", 1},
      {"1.", "ends where a digit after the decimal point", 2},
      {"1.e5", "expected a digit after the decimal point, found 'e'", 2},
      {".5", "expected a value, found '.'", 0},
      {"+1", "found '+'", 0},
      {"1e", "digit of the exponent", 2},
      {"1e+", "digit of the exponent", 3},
      {"0x10", "found 'x'", 1},
      {"NaN", "expected a value, found 'N'", 0},
      {"nul", "expected a value, found 'n'", 0},
      {"nulL", "expected a value, found 'n'", 0},
      {"truex", "found 'x'", 4},
      {"falsy", "found 'f'", 0},
      {"\"abc", "the text ends inside this string", 0},
      {"[\"a", "the text ends inside this string", 1},
      {"\"a\\", "the text ends inside a string", 2},
      {"\"a\x1f\"", "control character", 2},
      {"\"a\n\"", "control character", 2},
      {"\"\\x\"", "unknown escape", 1},
      {"\"ab\\'\"", "unknown escape", 3},
      {"\"\\u12G4\"", "four hexadecimal digits", 1},
      {"\"\\u12\"", "four hexadecimal digits", 1},
      {"\"\\u", "four hexadecimal digits", 1},
      {"\"\\ud800\"", "surrogate", 1},
      {"\"\\ud800x\"", "surrogate", 1},
      {"\"\\ud800\\n\"", "surrogate", 1},
      {"\"\\ud800\\u0041\"", "surrogate", 1},
      {"\"\\ud800\\ud800\"", "surrogate", 1},
      {"\"\\ud800\\ue000\"", "surrogate", 1},
      {"\"\\udc00\"", "surrogate", 1},
      {"\"\\udfff\\udc00\"", "surrogate", 1},
      {"\"a\x80\"", "not valid UTF-8", 2},
      {"\"\xc0\xaf\"", "not valid UTF-8", 1},
      {"\"\xed\xa0\x80\"", "not valid UTF-8", 1},
      {"\"\xf4\x90\x80\x80\"", "not valid UTF-8", 1},
      {"\"abcdefgh\xc3\"", "not valid UTF-8", 9},
      {"\xef\xbb\xbf{}", "byte order mark", 0},
      {"[\xef\xbb\xbf]", "found byte 0xef", 1},
      {"[1]\xa0", "found byte 0xa0", 3},
      {"/* */1", "found '/'", 0},
      {"'a'", "found '''", 0},
  };
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    char out[1000];
    myna_err err = {0};
    if (read_all(cases[i].doc, strlen(cases[i].doc), out, sizeof out, &err) != MYNA_E_FORMAT)
      fail_msg("accepted: %s", cases[i].doc);
    if (!strstr(err.msg, cases[i].message))
      fail_msg("%s: \"%s\" without \"%s\"", cases[i].doc, err.msg, cases[i].message);
    if (err.offset != 100 + cases[i].at)
      fail_msg("%s: offset %lld instead of %d", cases[i].doc, (long long)err.offset - 100, cases[i].at);
    assert_string_equal(err.file, "doc");
  }
  /* a NUL is a byte like others */
  char out[100];
  myna_err err = {0};
  assert_int_equal(read_all("1\0", 2, out, sizeof out, &err), MYNA_E_FORMAT);
  err.code = 0;
  assert_int_equal(read_all("\"\\\0\"", 4, out, sizeof out, &err), MYNA_E_FORMAT);
  assert_non_null(strstr(err.msg, "unknown escape"));
}

/* Escapes and controls at every place relative to the 8-byte steps. */
static void test_string_positions(void **state) {
  for (size_t before = 0; before < 20; before++)
    for (size_t after = 0; after < 20; after++) {
      char doc[64] = "\"", out[64], want[64] = "S<";
      memset(doc + 1, 'p', before);
      strcat(doc, "\\n");
      memset(doc + strlen(doc), 'q', after);
      strcat(doc, "\"");
      memset(want + 2, 'p', before);
      strcat(want, "\n");
      memset(want + strlen(want), 'q', after);
      strcat(want, ">");
      ASSERT_OK(read_all(doc, strlen(doc), out, sizeof out, NULL));
      assert_string_equal(out, want);
      myna_err err = {0};
      doc[1 + before] = '\x1f';
      assert_int_equal(read_all(doc, strlen(doc), out, sizeof out, &err), MYNA_E_FORMAT);
      assert_int_equal(err.offset, 101 + before);
    }
}

static void test_depth(void **state) {
  char doc[2 * MYNA__JSON_DEPTH + 16], out[2 * MYNA__JSON_DEPTH + 16];
  for (int depth = MYNA__JSON_DEPTH - 1; depth <= MYNA__JSON_DEPTH + 1; depth++) {
    memset(doc, '[', (size_t)depth);
    memset(doc + depth, ']', (size_t)depth);
    myna_err err = {0};
    int rc = read_all(doc, 2 * (size_t)depth, out, sizeof out, &err);
    assert_int_equal(rc, depth <= MYNA__JSON_DEPTH ? 0 : MYNA_E_FORMAT);
    if (rc) assert_int_equal(err.offset, 100 + MYNA__JSON_DEPTH);
    if (rc) assert_non_null(strstr(err.msg, "nested too deeply"));
  }
  /* the kinds of all levels are remembered: objects and arrays alternate in pairs */
  char *p = doc;
  for (int d = 0; d < 100; d++) p += sprintf(p, d % 3 ? "{\"\":" : "[");
  p += sprintf(p, "1");
  for (int d = 100; d-- > 0;) *p++ = d % 3 ? '}' : ']';
  *p = 0;
  ASSERT_OK(read_all(doc, strlen(doc), out, sizeof out, NULL));
}

/* Every prefix of a document that is not a number is refused, at an offset inside the prefix. */
static void test_prefixes(void **state) {
  static const char doc[] = "{\"a\\u00e9\":[1.5e-3,-20,true,false,null,\"x\\ny\xe2\x82\xac\"],\"b\":{\"c\":{}}}";
  char out[300];
  for (size_t n = 0; n < sizeof doc - 1; n++) {
    myna_err err = {0};
    assert_int_equal(read_all(doc, n, out, sizeof out, &err), MYNA_E_FORMAT);
    assert_true(err.offset >= 100 && err.offset <= 100 + (int64_t)n);
    assert_true(err.msg[0] != 0);
  }
  assert_int_equal(read_all(doc, sizeof doc - 1, out, sizeof out, NULL), 0);
}

static myna__json start(const char *doc, myna_err *err) {
  myna__json j;
  *err = (myna_err){0};
  myna__json_init(&j, (const uint8_t *)doc, strlen(doc), "doc", 0, err);
  return j;
}

static void test_walk(void **state) {
  myna_err err;
  static const char doc[] = "{\"skip\": {\"a\": [1, {\"b\": \"\\n\"}]}, \"n\": 5, \"list\": [\"x\", [], 7], \"e\": []}";
  myna__json j = start(doc, &err);
  int64_t n = 0;
  int rc, items = 0;
  ASSERT_OK(myna__json_expect(&j, MYNA__JSON_OBJECT));
  while ((rc = myna__json_key(&j)) > 0) {
    if (myna__str_eq(j.str, "n")) {
      ASSERT_OK(myna__json_expect(&j, MYNA__JSON_NUMBER));
      assert_ptr_equal(doc + j.at, strchr(doc, '5'));
      ASSERT_OK(myna__json_i64(&j, &n));
    } else if (myna__str_eq(j.str, "list")) {
      ASSERT_OK(myna__json_expect(&j, MYNA__JSON_ARRAY));
      while ((rc = myna__json_item(&j)) > 0) {
        items++;
        ASSERT_OK(myna__json_skip(&j));
        assert_int_equal(j.depth, 2);
      }
      assert_int_equal(rc, 0);
    } else {
      ASSERT_OK(myna__json_skip(&j));
      assert_int_equal(j.depth, 1);
    }
  }
  assert_int_equal(rc, 0);
  assert_int_equal(n, 5);
  assert_int_equal(items, 3);
  ASSERT_OK(myna__json_expect(&j, MYNA__JSON_END));
  myna__json_free(&j);

  j = start("[1]", &err);
  ASSERT_FAILS(myna__json_expect(&j, MYNA__JSON_OBJECT), MYNA_E_FORMAT, &err, "expected an object, found an array");
  assert_int_equal(err.offset, 0);
  assert_int_equal(myna__json_next(&j), MYNA_E_FORMAT); /* sticky */
  assert_int_equal(myna__json_key(&j), MYNA_E_FORMAT);
  assert_int_equal(myna__json_item(&j), MYNA_E_FORMAT);
  assert_int_equal(myna__json_skip(&j), MYNA_E_FORMAT);
  assert_int_equal(myna__json_is(&j, MYNA__JSON_ARRAY), MYNA_E_FORMAT);
  myna__json_free(&j);

  j = start("{\"a\": [1, 2", &err);
  ASSERT_OK(myna__json_expect(&j, MYNA__JSON_OBJECT));
  assert_int_equal(myna__json_key(&j), 1);
  assert_int_equal(myna__json_skip(&j), MYNA_E_FORMAT);
  myna__json_free(&j);

  j = start("  true", &err);
  ASSERT_OK(myna__json_next(&j));
  ASSERT_FAILS(myna__json_fail(&j, MYNA_E_LIMIT, "no %s", "luck"), MYNA_E_LIMIT, &err, "no luck");
  assert_int_equal(err.offset, 2);
  assert_int_equal(myna__json_next(&j), MYNA_E_LIMIT);
  myna__json_free(&j);
}

/* The first call that meets a fault returns it, and the token of before stays. */
static void test_fails_at_once(void **state) {
  static const char *const docs[] = {"[\"a\n\"]", "[1.]",          "[-]",         "[tru]",
                                     "[\"\\q\"]", "[\"\\ud800\"]", "[\"\\u00\"]", "[}"};
  for (size_t i = 0; i < MYNA__COUNT(docs); i++) {
    myna_err err;
    myna__json j = start(docs[i], &err);
    assert_int_equal(myna__json_next(&j), MYNA__JSON_ARRAY);
    assert_int_equal(myna__json_item(&j), MYNA_E_FORMAT);
    assert_int_equal(j.token, MYNA__JSON_ARRAY);
    assert_int_equal(err.line, -1);
    myna__json_free(&j);
  }
  myna_err err;
  myna__json j = start("{\"a\x01\":1}", &err);
  assert_int_equal(myna__json_next(&j), MYNA__JSON_OBJECT);
  assert_int_equal(myna__json_key(&j), MYNA_E_FORMAT);
  assert_int_equal(err.offset, 3);
  myna__json_free(&j);
}

/* Strings without escapes point into the document. */
static void test_borrowed(void **state) {
  static const char doc[] = "[\"plain\", \"esc\\t\", \"\", \"\\t\", 1.5]";
  myna_err err;
  myna__json j = start(doc, &err);
  myna__json_next(&j);
  assert_int_equal(myna__json_item(&j), 1);
  assert_true(j.borrowed && j.str.p == doc + 2 && j.str.n == 5);
  assert_int_equal(myna__json_item(&j), 1);
  assert_true(!j.borrowed && j.str.n == 4);
  assert_int_equal(myna__json_item(&j), 1);
  assert_true(j.borrowed && j.str.n == 0);
  assert_int_equal(myna__json_item(&j), 1);
  assert_true(!j.borrowed);
  assert_int_equal(myna__json_item(&j), 1);
  assert_true(j.borrowed && j.str.n == 3 && j.str.p == doc + sizeof doc - 5);
  assert_int_equal(myna__json_item(&j), 0);
  myna__json_free(&j);
}

static void test_integers(void **state) {
  static const struct {
    const char *text;
    int i64, u64; /* 1 fits */
    int64_t i;
    uint64_t u;
  } cases[] = {
      {"0", 1, 1, 0, 0},
      {"42", 1, 1, 42, 42},
      {"-1", 1, 0, -1, 0},
      {"9223372036854775807", 1, 1, INT64_MAX, INT64_MAX},
      {"9223372036854775808", 0, 1, 0, (uint64_t)INT64_MAX + 1},
      {"-9223372036854775808", 1, 0, INT64_MIN, 0},
      {"-9223372036854775809", 0, 0, 0, 0},
      {"18446744073709551615", 0, 1, 0, UINT64_MAX},
      {"18446744073709551616", 0, 0, 0, 0},
      {"99999999999999999999999", 0, 0, 0, 0},
      {"-0", 0, 0, 0, 0},
      {"1.0", 0, 0, 0, 0},
      {"1e2", 0, 0, 0, 0},
      {"\"1\"", 0, 0, 0, 0},
      {"true", 0, 0, 0, 0},
  };
  for (size_t k = 0; k < MYNA__COUNT(cases); k++) {
    myna_err err;
    int64_t i = -77;
    uint64_t u = 77;
    myna__json j = start(cases[k].text, &err);
    ASSERT_OK(myna__json_next(&j));
    assert_int_equal(myna__json_i64(&j, &i), cases[k].i64 ? 0 : MYNA_E_FORMAT);
    assert_true(i == (cases[k].i64 ? cases[k].i : -77));
    myna__json_free(&j);
    j = start(cases[k].text, &err);
    ASSERT_OK(myna__json_next(&j));
    assert_int_equal(myna__json_u64(&j, &u), cases[k].u64 ? 0 : MYNA_E_FORMAT);
    assert_true(u == (cases[k].u64 ? cases[k].u : 77));
    if (!cases[k].u64) assert_true(err.code == MYNA_E_FORMAT && strlen(err.msg) > 10 && err.offset == 0);
    myna__json_free(&j);
  }
}

static int get_f64(const char *text, double *v, myna_err *err) {
  myna__json j = start(text, err);
  ASSERT_OK(myna__json_next(&j));
  int rc = myna__json_f64(&j, v);
  myna__json_free(&j);
  return rc;
}

static void test_doubles(void **state) {
  static const struct {
    const char *text;
    double v;
  } cases[] = {{"0", 0},
               {"-1.5", -1.5},
               {"1e22", 1e22},
               {"0.1", 0.1},
               {"-2.2250738585072014e-308", -2.2250738585072014e-308},
               {"1e-400", 0},
               {"4.9e-324", 4.9e-324},
               {"123456789012345678901234567890", 123456789012345678901234567890.0},
               {"-0", -0.0},
               {"1.7976931348623157e308", 1.7976931348623157e308}};
  const char *locales[] = {"C", "de_DE.UTF-8"}; /* the second is used where it is installed */
  for (size_t l = 0; l < 2; l++) {
    if (!setlocale(LC_NUMERIC, locales[l])) print_message("skipped: locale %s is not installed\n", locales[l]);
    for (size_t k = 0; k < MYNA__COUNT(cases); k++) {
      double v = 7;
      myna_err err;
      ASSERT_OK_ERR(get_f64(cases[k].text, &v, &err), &err);
      assert_true(v == cases[k].v && signbit(v) == signbit(cases[k].v));
    }
  }
  setlocale(LC_NUMERIC, "C");
  double v;
  myna_err err;
  assert_int_equal(get_f64("1e309", &v, &err), MYNA_E_FORMAT);
  assert_non_null(strstr(err.msg, "1e309 is out of range"));
  assert_int_equal(get_f64("\"1\"", &v, &err), MYNA_E_FORMAT);
  char lengthy[500];
  memset(lengthy, '1', sizeof lengthy);
  lengthy[398] = 0;
  assert_int_equal(get_f64(lengthy, &v, &err), MYNA_E_FORMAT); /* 1e397 */
  lengthy[1] = '.';
  ASSERT_OK(get_f64(lengthy, &v, &err));
  assert_true(v > 1.11 && v < 1.12);
  lengthy[398] = '1';
  lengthy[399] = 0;
  assert_int_equal(get_f64(lengthy, &v, &err), MYNA_E_LIMIT);
}

static void test_bools(void **state) {
  myna_err err;
  bool v = false;
  myna__json j = start("[true, false, 0]", &err);
  myna__json_next(&j);
  myna__json_item(&j);
  ASSERT_OK(myna__json_bool(&j, &v));
  assert_true(v);
  myna__json_item(&j);
  ASSERT_OK(myna__json_bool(&j, &v));
  assert_false(v);
  myna__json_item(&j);
  ASSERT_FAILS(myna__json_bool(&j, &v), MYNA_E_FORMAT, &err, "expected true or false, found a number");
  assert_int_equal(myna__json_bool(&j, &v), MYNA_E_FORMAT);
  myna__json_free(&j);
}

static void test_no_memory(void **state) {
  test_failing f;
  char out[100];
  for (int n = 1;; n++) {
    myna_err err = {0};
    test_fail_at(&f, n);
    static const char doc[] = "[\"a\\nb\", \"\\u20ac\"]";
    int rc = read_all(doc, sizeof doc - 1, out, sizeof out, &err);
    test_fail_off();
    assert_int_equal(f.live, 0);
    assert_int_equal(rc, f.failed ? MYNA_E_NOMEM : 0);
    if (!f.failed) break;
    assert_int_equal(err.code, MYNA_E_NOMEM);
  }
}

/* y_ must parse, n_ must not, i_ may. */
static void test_suite(void **state) {
  char folder[512], path[1024];
  if (!shared_path(folder, "grammar/JSONTestSuite/test_parsing")) skip();
  DIR *d = opendir(folder);
  int n_files = 0, accepted = 0;
  static char out[1 << 20];
  for (struct dirent *e; (e = readdir(d));) {
    if (!strstr(e->d_name, ".json")) continue;
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    gw_bytes doc = read_whole(path);
    myna_err err = {0};
    int rc = read_all((char *)doc.p, doc.n, out, sizeof out, &err);
    if (e->d_name[0] == 'y' && rc < 0) fail_msg("%s: %s", e->d_name, err.msg);
    if (e->d_name[0] == 'n' && rc >= 0) fail_msg("%s was accepted", e->d_name);
    if (rc < 0) assert_true(err.offset >= 100 && err.offset <= 100 + (int64_t)doc.n);
    n_files++;
    accepted += rc >= 0;
    free(doc.p);
  }
  closedir(d);
  print_message("%d files, %d accepted\n", n_files, accepted);
  assert_true(n_files > 250);
}

/* Every \\uXXXX, in both cases of its digits, and pairs of them from the ends of their ranges. */
static size_t utf8_of(uint32_t c, char *out) {
  if (c < 0x80) return out[0] = (char)c, 1;
  size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = n; i-- > 1; c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
  out[0] = (char)((0xF00u >> n & 0xFF) | c);
  return n;
}
static void expect_escape(const char *doc, uint32_t c) {
  char out[1000], want[16] = "S<";
  myna_err err = {0};
  size_t n = utf8_of(c, want + 2);
  strcpy(want + 2 + n, ">");
  int rc = read_all(doc, strlen(doc), out, sizeof out, &err);
  if (rc < 0 || strcmp(out, want) != 0) fail_msg("%s: %d, %s", doc, rc, rc < 0 ? err.msg : out);
}
static void test_unicode_escapes(void **state) {
  char doc[32], out[1000];
  for (uint32_t c = 0x20; c < 0x10000; c++) {
    snprintf(doc, sizeof doc, c & 1 ? "\"\\u%04x\"" : "\"\\u%04X\"", c);
    if (c < 0xD800 || c > 0xDFFF)
      expect_escape(doc, c);
    else
      assert_int_equal(read_all(doc, strlen(doc), out, sizeof out, NULL), MYNA_E_FORMAT);
  }
  static const unsigned high[] = {0xD800, 0xD801, 0xD83D, 0xDBFE, 0xDBFF},
                        low[] = {0xDC00, 0xDC01, 0xDE00, 0xDFFE, 0xDFFF};
  for (size_t i = 0; i < MYNA__COUNT(high); i++)
    for (size_t k = 0; k < MYNA__COUNT(low); k++) {
      snprintf(doc, sizeof doc, "\"\\u%04x\\u%04x\"", high[i], low[k]);
      expect_escape(doc, 0x10000 + ((high[i] - 0xD800) << 10) + low[k] - 0xDC00);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unicode_escapes),  cmocka_unit_test(test_tokens),
      cmocka_unit_test(test_fails_at_once),    cmocka_unit_test(test_refused),
      cmocka_unit_test(test_string_positions), cmocka_unit_test(test_depth),
      cmocka_unit_test(test_prefixes),         cmocka_unit_test(test_walk),
      cmocka_unit_test(test_borrowed),         cmocka_unit_test(test_integers),
      cmocka_unit_test(test_doubles),          cmocka_unit_test(test_bools),
      cmocka_unit_test(test_no_memory),        cmocka_unit_test(test_suite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
