/* test_pretok.c: words of every kind of pre-tokenizer against Hugging Face's `tokenizers`, and long runs. */
#include "text/pretok.h"
#include "vocab.h"

/* "5 2 -1 3": lengths; negative ones are dropped. */
static void expect_words(const char *kind, const myna__pretok_scratch *s, const char *want) {
  size_t at = 0, i = 0;
  char *end;
  for (const char *p = want;; p = end) {
    long n = strtol(p, &end, 10);
    if (end == p) break;
    if (n < 0) {
      at += (size_t)-n;
      continue;
    }
    if (i >= s->n_words || s->words[i].start != at || s->words[i].end != at + (size_t)n)
      fail_msg("%s: word %zu is not [%zu, %zu)", kind, i, at, at + (size_t)n);
    at += (size_t)n;
    i++;
  }
  assert_int_equal(i, s->n_words);
}

static char *next_line(char **p) {
  char *line = *p, *eol = strchr(line, '\n');
  *eol = 0;
  *p = eol + 1;
  return line;
}

static void test_words(void **state) {
  size_t n, n_texts = 0, kinds = 0;
  char *texts = slurp(MYNA_ROOT "/tests/fixtures/text/pretok.texts", &n), *text = malloc(n);
  char *words = slurp(MYNA_ROOT "/tests/fixtures/text/pretok.words", &n);
  assert_true(texts && words && text);
  for (char *p = texts; *p; p++) n_texts += *p == '\n';
  for (char *p = words; *p; kinds++) {
    const char *kind = next_line(&p), *t = texts;
    myna_err err = {0};
    myna__pretok *pre;
    myna__pretok_scratch s = {0};
    ASSERT_OK_ERR(myna__pretok_new(&pre, kind, &err), &err);
    for (size_t i = 0; i < n_texts; i++) {
      size_t len = unhex(&t, text);
      ASSERT_OK_ERR(myna__pretok_split(pre, &s, text, len, &err), &err);
      expect_words(kind, &s, next_line(&p));
    }
    myna__pretok_scratch_free(&s);
    myna__pretok_free(pre);
  }
  for (int i = 0; myna__pretok_names(i); i++) assert_true((size_t)i < kinds); /* every row has an oracle */
  print_message("%zu kinds, %zu texts\n", kinds, n_texts);
  free(texts);
  free(text);
  free(words);
}

/* Every name of every row finds its row; parts of names and unknown ones find none. */
static void test_names(void **state) {
  int names = 0;
  for (int i = 0; myna__pretok_names(i); i++) {
    char list[1024];
    snprintf(list, sizeof list, "%s", myna__pretok_names(i));
    for (char *save, *name = strtok_r(list, " ", &save); name; name = strtok_r(NULL, " ", &save), names++) {
      myna__pretok *p;
      myna_err err = {0};
      ASSERT_OK_ERR(myna__pretok_new(&p, name, &err), &err);
      myna__pretok_free(p);
    }
  }
  assert_true(names > 80);
  static const char *const bad[] = {"gpt", "llama", "qwen", " ", "default gpt-neox", "gpt-2 ", "falcon4"};
  for (size_t i = 0; i < MYNA__COUNT(bad); i++) {
    myna__pretok *p;
    myna_err err = {0};
    ASSERT_FAILS(myna__pretok_new(&p, bad[i], &err), MYNA_E_UNSUPPORTED, &err, "pre-tokenizer");
    assert_null(p);
  }
}

/* Whatever a kind cuts, the words are in order, not empty, and end where characters end; only "whitespace" drops. */
static void test_cover(void **state) {
  static const char *const parts[] = {"a",  "Zz", " ",      "  ", "\n",     "\r\n",   "1",          "234",
                                      "!?", "'s", "\u00e9", "中", "\u0301", "\u3000", "\U0001F600", "\t"};
  test_rng r = test_rng_new(3);
  for (int i = 0; myna__pretok_names(i); i++) {
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(myna__pretok_names(i), " "), myna__pretok_names(i));
    myna__pretok *p;
    myna__pretok_scratch s = {0};
    ASSERT_OK(myna__pretok_new(&p, name, NULL));
    for (int k = 0; k < 200; k++) {
      char text[400] = "";
      for (int64_t m = test_int(&r, 30); m > 0; m--) strcat(text, parts[test_int(&r, (int64_t)MYNA__COUNT(parts))]);
      size_t n = strlen(text), at = 0;
      ASSERT_OK(myna__pretok_split(p, &s, text, n, NULL));
      for (size_t w = 0; w < s.n_words; w++) {
        if (strcmp(name, "whitespace") != 0) assert_int_equal(s.words[w].start, at);
        assert_true(s.words[w].start >= at && s.words[w].end > s.words[w].start);
        at = s.words[w].end;
        assert_true(((uint8_t)text[at] & 0xC0) != 0x80);
      }
      if (strcmp(name, "whitespace") != 0) assert_int_equal(at, n);
    }
    myna__pretok_scratch_free(&s);
    myna__pretok_free(p);
  }
}

/* Long runs must neither fail nor overflow a stack, in any kind. */
static void test_long_runs(void **state) {
  static const char *const units[] = {"a", "A", " ", "\n", "7", "!", "中", "e\u0301", "\n ", "a ", "<sentinel:1"};
  enum { SIZE = 300000 };
  char *text = malloc(SIZE + 32);
  assert_non_null(text);
  for (int i = 0; myna__pretok_names(i); i++) {
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(myna__pretok_names(i), " "), myna__pretok_names(i));
    myna__pretok *p;
    myna__pretok_scratch s = {0};
    ASSERT_OK(myna__pretok_new(&p, name, NULL));
    for (size_t u = 0; u < MYNA__COUNT(units); u++) {
      size_t len = strlen(units[u]), n = 0;
      myna_err err = {0};
      for (; n < SIZE; n += len) memcpy(text + n, units[u], len);
      text[n++] = 'x';
      ASSERT_OK_ERR(myna__pretok_split(p, &s, text, n, &err), &err);
      assert_true(s.n_words > 0 && s.words[s.n_words - 1].end == n);
    }
    myna__pretok_scratch_free(&s);
    myna__pretok_free(p);
  }
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_words),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_cover),
      cmocka_unit_test(test_long_runs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
