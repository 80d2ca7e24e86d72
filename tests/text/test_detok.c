/* test_detok.c: bytes of tokens, streams cut at characters, round trips. */
#include "text/unicode.h"
#include "vocab.h"

static void expect_bytes(const vocab *v, int32_t id, bool special, const char *want) {
  char buf[64];
  int64_t n = myna__token_bytes(v->tk, id, special, buf, sizeof buf);
  assert_int_equal(n, strlen(want));
  assert_memory_equal(buf, want, (size_t)n);
  /* the length is the same when the buffer is short, and nothing is written past it */
  for (int64_t cap = 0; cap < n; cap++) {
    char small[64];
    memset(small, '#', sizeof small);
    assert_int_equal(myna__token_bytes(v->tk, id, special, small, (size_t)cap), n);
    assert_memory_equal(small, want, (size_t)cap);
    assert_int_equal(small[cap], '#');
  }
}

static void test_token_bytes(void **state) {
  vocab v;
  vocab_start(&v, MYNA__TOK_BPE, "gpt-2");
  vocab_add(&v, "\u0120the", MYNA__TOKTYPE_NORMAL, 0);
  vocab_add(&v, "\u00c3\u00a9", MYNA__TOKTYPE_NORMAL, 0); /* e acute, in the byte alphabet */
  vocab_add(&v, "<|x|>", MYNA__TOKTYPE_CONTROL, 0);
  vocab_add(&v, "<\uFF5Cu\uFF5C>", MYNA__TOKTYPE_USER, 0);
  vocab_add(&v, "a\u2581b c", MYNA__TOKTYPE_NORMAL, 0); /* not of the alphabet: as it is */
  vocab_add(&v, "[PAD1]", MYNA__TOKTYPE_UNUSED, 0);
  vocab_add(&v, "", MYNA__TOKTYPE_NORMAL, 0);
  vocab_use(&v, NULL);
  expect_bytes(&v, 0, false, " the");
  expect_bytes(&v, 1, false, "\u00e9");
  expect_bytes(&v, 2, false, "");
  expect_bytes(&v, 2, true, "<|x|>");
  expect_bytes(&v, 3, false, "<\uFF5Cu\uFF5C>");
  expect_bytes(&v, 4, false, "a\u2581b c");
  expect_bytes(&v, 5, false, "");
  expect_bytes(&v, 5, true, "[PAD1]");
  expect_bytes(&v, 6, true, "");
  assert_int_equal(myna__token_bytes(v.tk, -1, true, NULL, 0), MYNA_E_ARG);
  assert_int_equal(myna__token_bytes(v.tk, 7, true, NULL, 0), MYNA_E_ARG);
  vocab_close(&v);

  vocab_start(&v, MYNA__TOK_SPM, NULL);
  vocab_add(&v, "\u2581the\u2581", MYNA__TOKTYPE_NORMAL, 0);
  vocab_add(&v, "<0xE2>", MYNA__TOKTYPE_BYTE, 0);
  vocab_add(&v, "<0xzz>", MYNA__TOKTYPE_BYTE, 0);
  vocab_add(&v, "<0x0a>", MYNA__TOKTYPE_NORMAL, 0); /* a file without token types */
  vocab_add(&v, "\u2581\u2581", MYNA__TOKTYPE_USER, 0);
  vocab_add(&v, "<\u2581>", MYNA__TOKTYPE_USER, 0);
  vocab_add(&v, "<unk>", MYNA__TOKTYPE_UNKNOWN, 0);
  vocab_use(&v, NULL);
  expect_bytes(&v, 0, false, " the ");
  expect_bytes(&v, 1, false, "\xE2");
  expect_bytes(&v, 2, false, "<0xzz>");
  expect_bytes(&v, 3, false, "\n");
  expect_bytes(&v, 4, false, "  ");
  expect_bytes(&v, 5, false, "<\u2581>");
  expect_bytes(&v, 6, false, "");
  expect_bytes(&v, 6, true, "<unk>");
  v.t.escape_whitespaces = false; /* U+2581 is a space in what is shown all the same; of user tokens it is not */
  vocab_use(&v, NULL);
  expect_bytes(&v, 0, false, " the ");
  expect_bytes(&v, 4, false, "\u2581\u2581");
  vocab_close(&v);
}

/* ---- streaming ---- */

/* Feeds bytes one token each. After every byte the output must be whole characters, and what is held back must begin
 * one. */
static void stream(const vocab *v, const char *p, size_t n, myna__buf *out) {
  myna__detok d = {.started = true};
  for (size_t i = 0; i < n; i++) {
    ASSERT_OK(myna__detok_push(v->tk, &d, (uint8_t)p[i], false, out));
    assert_true(myna__utf8_valid(out->data ? out->data : "", out->len));
    assert_in_range(d.n_pending, 0, 3);
    if (d.n_pending) assert_int_equal(myna__utf8_step(d.pending, (size_t)d.n_pending), 0);
  }
  myna__detok_finish(&d, out);
  assert_int_equal(d.n_pending, 0);
}

static void expect_stream(const vocab *v, const char *bytes, size_t n, const char *want, size_t n_want) {
  myna__buf out = {0};
  stream(v, bytes, n, &out);
  if (out.len != n_want || memcmp(out.data ? out.data : "", want, n_want) != 0)
    fail_msg("%zu bytes became %zu, not %zu", n, out.len, n_want);
  myna__buf_free(&out);
}

static void test_stream(void **state) {
  static const struct {
    const char *bytes, *text;
  } cases[] = {
      {"abc", "abc"},
      {"\xC3\xA9", "\u00e9"},
      {"\xF0\x9F\x98\x80", "\U0001F600"},
      {"\xF0\x9F\x98", "\uFFFD"},
      {"\xF0\x9F\x98x", "\uFFFDx"},
      {"\xF0\x9F\xC3\xA9", "\uFFFD\u00e9"},
      {"\x80", "\uFFFD"},
      {"\x80\x80", "\uFFFD\uFFFD"},
      {"\xC0\xAF", "\uFFFD\uFFFD"},
      {"\xE0\x80\xAF", "\uFFFD\uFFFD\uFFFD"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xFF\xFE", "\uFFFD\uFFFD"},
      {"a\xE2\x82", "a\uFFFD"},
      {"\xE2\xE2\x82\xAC", "\uFFFD\u20AC"},
      {"\xEF\xBF\xBD", "\uFFFD"},
  };
  vocab v;
  vocab_start(&v, MYNA__TOK_SPM, NULL);
  vocab_bytes(&v);
  vocab_use(&v, NULL);
  for (size_t i = 0; i < MYNA__COUNT(cases); i++)
    expect_stream(&v, cases[i].bytes, strlen(cases[i].bytes), cases[i].text, strlen(cases[i].text));
  /* every character of Unicode, in all its prefixes */
  for (uint32_t c = 1; c < 0x110000; c += c < 0x3000 ? 1 : 97) {
    char s[4];
    if (c >= 0xD800 && c < 0xE000) continue;
    int n = myna__utf8_put(c, s);
    expect_stream(&v, s, (size_t)n, s, (size_t)n);
    if (n > 1) expect_stream(&v, s, (size_t)n - 1, "\uFFFD", 3);
  }
  vocab_close(&v);
}

static size_t unhex_spaced(const char *p, char *out) {
  size_t n = 0;
  for (; *p && *p != ':' && *p != '\n' && *p != '\r'; p++) {
    unsigned byte;
    if (*p == ' ' || sscanf(p, "%2x", &byte) != 1) continue;
    out[n++] = (char)byte;
    p++;
  }
  return n;
}

/* "num:valid hex:BYTES" and "num:invalid hex:BYTES:WITHOUT:REPLACED" */
static void test_utf8_cases(void **state) {
  char path[512];
  size_t n;
  int cases = 0;
  char *file = slurp(shared_path(path, "text/robustness/utf8tests.txt"), &n);
  if (!file) {
    print_message("skipped 1 file\n");
    return;
  }
  vocab v;
  vocab_start(&v, MYNA__TOK_SPM, NULL);
  vocab_bytes(&v);
  vocab_use(&v, NULL);
  for (char *save, *line = strtok_r(file, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    char bytes[256], want[512];
    char *valid = strstr(line, ":valid hex:"), *invalid = strstr(line, ":invalid hex:");
    if (*line == '#' || (!valid && !invalid)) continue;
    size_t n_bytes = unhex_spaced(valid ? valid + 11 : invalid + 13, bytes);
    char *replaced = invalid ? strrchr(invalid, ':') + 1 : valid + 11;
    expect_stream(&v, bytes, n_bytes, want, unhex_spaced(replaced, want));
    cases++;
  }
  print_message("%d cases\n", cases);
  assert_true(cases > 50);
  free(file);
  vocab_close(&v);
}

static void test_leading_space(void **state) {
  vocab v;
  vocab_start(&v, MYNA__TOK_SPM, NULL);
  vocab_bytes(&v);
  int32_t hello = vocab_add(&v, "\u2581Hello", MYNA__TOKTYPE_NORMAL, 0);
  int32_t bos = vocab_add(&v, "<s>", MYNA__TOKTYPE_CONTROL, 0);
  v.t.add_space_prefix = true;
  vocab_use(&v, NULL);
  myna__buf out = {0};
  myna__detok d = {0};
  ASSERT_OK(myna__detok_push(v.tk, &d, bos, false, &out));
  ASSERT_OK(myna__detok_push(v.tk, &d, hello, false, &out));
  ASSERT_OK(myna__detok_push(v.tk, &d, hello, false, &out));
  assert_string_equal(out.data, "Hello Hello");
  d = (myna__detok){.started = true}; /* continues a text */
  ASSERT_OK(myna__detok_push(v.tk, &d, hello, false, &out));
  assert_string_equal(out.data, "Hello Hello Hello");
  assert_int_equal(myna__detok_push(v.tk, &d, 1000, false, &out), MYNA_E_ARG);
  myna__buf_free(&out);
  vocab_close(&v);
}

/* decode(encode(x)) == x for well-formed text, whatever it is. */
static void round_trips(const vocab *v, test_rng *r) {
  for (int k = 0; k < 300; k++) {
    char text[512];
    size_t n = 0;
    for (int64_t i = test_int(r, 60); i > 0; i--) {
      uint32_t c = (uint32_t)test_int(r, k & 1 ? 0x80 : 0x110000);
      if (test_int(r, 4) == 0) c = (uint32_t) " \n\t.a"[test_int(r, 5)];
      if ((c >= 0xD800 && c < 0xE000) || c == 0x2581) c = 'z'; /* U+2581 is a space to SentencePiece */
      n += (size_t)myna__utf8_put(c, text + n);
    }
    expect_round_trip(v, text, n);
  }
}

static void test_round_trips(void **state) {
  static const char *const files[] = {"bpe", "spm", "spm-plain"};
  test_rng r = test_rng_new(4);
  for (size_t i = 0; i < MYNA__COUNT(files); i++) {
    char path[512];
    vocab v;
    snprintf(path, sizeof path, "%s/tests/fixtures/text/%s.gguf", MYNA_ROOT, files[i]);
    vocab_open(&v, path);
    vocab_use(&v, NULL);
    round_trips(&v, &r);
    vocab_close(&v);
  }
}

/* ---- unicode.c ---- */

static void test_alphabet(void **state) {
  bool seen[256] = {false};
  for (int b = 0; b < 256; b++) {
    myna__byte_char ch = myna__byte_alphabet[b];
    assert_int_equal(myna__utf8_step(ch.s, ch.n), ch.n);
    uint32_t c = (uint8_t)ch.s[0];
    if (ch.n == 2) c = (c & 0x1F) << 6 | ((uint8_t)ch.s[1] & 0x3F);
    assert_true(c > 0x20 && c != 0x7F && c != 0xAD && (c < 0x80 || c > 0xA0) && c < 0x144);
    assert_int_equal(myna__byte_of_char(c), b);
    seen[b] = true;
  }
  int known = 0;
  for (uint32_t c = 0; c < 0x2000; c++) known += myna__byte_of_char(c) >= 0;
  assert_int_equal(known, 256);
  for (int b = 0; b < 256; b++) assert_true(seen[b]);
}

static void expect_clean(const char *bytes, const char *want) {
  char out[64], match[64];
  size_t n = myna__utf8_clean(bytes, strlen(bytes), out, match);
  assert_int_equal(n, strlen(want));
  assert_memory_equal(out, want, n);
  assert_true(myna__utf8_valid(match, n));
}

/* What llama.cpp makes of broken input: each byte that starts nothing is U+FFFD, the rest is taken as it decodes. */
static void test_clean(void **state) {
  expect_clean("a\xC3\xA9", "a\u00e9");
  expect_clean("\xFF\x80", "\uFFFD\uFFFD");
  expect_clean("\xE2\x82", "\uFFFD\uFFFD");
  expect_clean("\xE2\x82x", "\uFFFD\uFFFDx");
  expect_clean("\xC1\x81", "A");
  expect_clean("\xED\xA0\x80", "\xED\xA0\x80");
  expect_clean("\xF4\x90\x80\x80", "\uFFFD");
  expect_clean("\xF8\x88\x80\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_token_bytes),   cmocka_unit_test(test_stream),      cmocka_unit_test(test_utf8_cases),
      cmocka_unit_test(test_leading_space), cmocka_unit_test(test_round_trips), cmocka_unit_test(test_alphabet),
      cmocka_unit_test(test_clean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
