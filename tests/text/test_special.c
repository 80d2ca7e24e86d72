/* test_special.c: special tokens in text, BOS and EOS, spaces of SentencePiece around them. */
#include "vocab.h"

static void start_letters(vocab *v, myna__tok_model model) {
  vocab_start(v, model, "gpt-2");
  for (char c = 'a'; c <= 'z'; c++) vocab_add_n(v, &c, 1, MYNA__TOKTYPE_NORMAL, -10); /* 0..25 */
}

static void parsed(const vocab *v, const char *text, const char *ids) {
  expect_ids_opt(v, text, strlen(text), false, true, ids);
}
static void plain(const vocab *v, const char *text, const char *ids) {
  expect_ids_opt(v, text, strlen(text), false, false, ids);
}

static void test_control_and_user(void **state) {
  vocab v;
  start_letters(&v, MYNA__TOK_BPE);
  vocab_add(&v, "<c>", MYNA__TOKTYPE_CONTROL, 0); /* 26 */
  vocab_add(&v, "<u>", MYNA__TOKTYPE_USER, 0);    /* 27 */
  vocab_add(&v, "<k>", MYNA__TOKTYPE_UNKNOWN, 0); /* 28 */
  vocab_add(&v, "<n>", MYNA__TOKTYPE_NORMAL, 0);  /* 29 */
  vocab_use(&v, NULL);
  parsed(&v, "a<c>b<u>c<k>d<n>e", "0 26 1 27 2 28 3 13 4");
  plain(&v, "a<c>b<u>c<k>d<n>e", "0 2 1 27 2 10 3 13 4"); /* "<" and ">" are no tokens here */
  parsed(&v, "<c>", "26");
  parsed(&v, "<c><c><u>", "26 26 27");
  parsed(&v, "<c", "2");
  parsed(&v, "", "");
  vocab_close(&v);
}

static void test_longest_first(void **state) {
  vocab v;
  start_letters(&v, MYNA__TOK_BPE);
  vocab_add(&v, "ab", MYNA__TOKTYPE_USER, 0);     /* 26 */
  vocab_add(&v, "abc", MYNA__TOKTYPE_CONTROL, 0); /* 27 */
  vocab_add(&v, "bcde", MYNA__TOKTYPE_USER, 0);   /* 28 */
  vocab_add(&v, "abcdef", MYNA__TOKTYPE_USER, 0); /* 29 */
  vocab_use(&v, NULL);
  parsed(&v, "abcdef", "29");
  parsed(&v, "abcde", "0 28"); /* "bcde" is longer than "abc" */
  parsed(&v, "abcd", "27 3");
  plain(&v, "abcd", "26 2 3"); /* "abc" is a control token */
  parsed(&v, "xabcabcdexab", "23 27 0 28 23 26");
  parsed(&v, "ababcabcdef", "26 27 29");
  vocab_close(&v);
}

/* Positions that fall back to a shorter token still take it from left to right. */
static void test_fall_back_in_order(void **state) {
  vocab v;
  start_letters(&v, MYNA__TOK_BPE);
  vocab_add(&v, "baaaa", MYNA__TOKTYPE_USER, 0); /* 26 */
  vocab_add(&v, "aaab", MYNA__TOKTYPE_USER, 0);  /* 27 */
  vocab_add(&v, "aab", MYNA__TOKTYPE_USER, 0);   /* 28 */
  vocab_add(&v, "aa", MYNA__TOKTYPE_USER, 0);    /* 29 */
  vocab_use(&v, NULL);
  plain(&v, "aaabaaaa", "29 0 26");
  vocab_close(&v);
}

static void test_runs(void **state) {
  vocab v;
  start_letters(&v, MYNA__TOK_BPE);
  for (int n = 2; n <= 8; n++)
    vocab_add(&v, &"\n\n\n\n\n\n\n\n"[8 - n], MYNA__TOKTYPE_USER, 0); /* 26 is two, 32 eight */
  vocab_use(&v, NULL);
  plain(&v, "a\n\n\nb", "0 27 1");
  plain(&v, "\n\n\n\n\n\n\n\n\n\n\n", "32 27");
  plain(&v, "\n\n\n\n\n\n\n\n\n", "32");
  /* a long run must not take quadratic time */
  enum { N = 1 << 20 };
  char *text = malloc(N);
  assert_non_null(text);
  memset(text, '\n', N);
  int64_t n;
  int32_t *ids = vocab_ids(&v, text, N, false, false, &n);
  assert_int_equal(n, N / 8);
  free(ids);
  free(text);
  vocab_close(&v);
}

/* ---- against the rule as it is written ---- */

typedef struct piece {
  int id; /* -1: text, -2: white space that was swallowed */
  int start, len;
} piece;

/* Tokens by length, each takes its occurrences from left to right in what is still text. */
static int split_by_rule(const vocab *v, const int *order, int n_order, bool parse, const char *text, piece *p) {
  int n = 1;
  p[0] = (piece){-1, 0, (int)strlen(text)};
  if (p[0].len == 0) return 0;
  for (int k = 0; k < n_order; k++) {
    int id = order[k], len = (int)v->t.tokens[id].n;
    if (!parse && v->t.types[id] != MYNA__TOKTYPE_USER) continue;
    for (int i = 0; i < n; i++) {
      if (p[i].id != -1) continue;
      int at = p[i].start, end = p[i].start + p[i].len;
      while (at + len <= end && memcmp(text + at, v->t.tokens[id].p, (size_t)len) != 0) at++;
      if (at + len > end) continue;
      memmove(p + i + 3, p + i + 1, (size_t)(n - i - 1) * sizeof *p);
      p[i].len = at - p[i].start;
      p[i + 1] = (piece){id, at, len};
      p[i + 2] = (piece){-1, at + len, end - at - len};
      n += 2;
      i++;
    }
  }
  return n;
}

static void test_against_rule(void **state) {
  static const char *const set[] = {"<a>", "<ab>", "a>b", "<", "<<", "b<", "ab", "aba", ">", "<a><b>", "b"};
  static const char letters[] = "ab<>";
  test_rng r = test_rng_new(9);
  for (int k = 0; k < 200; k++) {
    vocab v;
    int order[MYNA__COUNT(set)], n_order = 0;
    vocab_start(&v, MYNA__TOK_BPE, "gpt-2");
    for (int i = 0; i < 4; i++) vocab_add_n(&v, &letters[i], 1, MYNA__TOKTYPE_NORMAL, 0);
    for (size_t i = 0; i < MYNA__COUNT(set); i++)
      if (test_int(&r, 2))
        order[n_order++] = vocab_add(&v, set[i], test_int(&r, 3) ? MYNA__TOKTYPE_USER : MYNA__TOKTYPE_CONTROL, 0);
    for (int i = 1; i < n_order; i++)
      for (int j = i; j > 0 && v.t.tokens[order[j]].n > v.t.tokens[order[j - 1]].n; j--) {
        int swap = order[j];
        order[j] = order[j - 1];
        order[j - 1] = swap;
      }
    vocab_use(&v, NULL);
    for (int i = 0; i < 52; i++) {
      static char text[2001], want[16000];
      static piece p[9000];
      int len = (int)test_int(&r, i < 50 ? 30 : 2000);
      char *out = want;
      for (int j = 0; j < len; j++) text[j] = letters[test_int(&r, 4)];
      text[len] = 0;
      bool parse = i & 1;
      int n = split_by_rule(&v, order, n_order, parse, text, p);
      *out = 0;
      for (int j = 0; j < n; j++) {
        if (p[j].id >= 0) out += sprintf(out, "%d ", p[j].id);
        for (int c = p[j].start; p[j].id < 0 && c < p[j].start + p[j].len; c++) {
          const char *one = strchr(letters, text[c]);
          int id = (int)(one - letters);
          for (int32_t t = 4; t < v.t.n_tokens; t++) /* the last of equal tokens stands for the text, unless control */
            if (v.t.tokens[t].n == 1 && v.t.tokens[t].p[0] == text[c] && v.t.types[t] == MYNA__TOKTYPE_USER) id = t;
          out += sprintf(out, "%d ", id);
        }
      }
      expect_ids_opt(&v, text, (size_t)len, false, parse, want);
    }
    vocab_close(&v);
  }
}

/* ---- white space ---- */

static void test_phi3_strips_right(void **state) {
  vocab v;
  start_letters(&v, MYNA__TOK_SPM);
  vocab_add(&v, "\u2581", MYNA__TOKTYPE_NORMAL, -9);           /* 26 */
  vocab_add(&v, "<|user|>", MYNA__TOKTYPE_CONTROL, 0);         /* 27 */
  vocab_add(&v, "<s>", MYNA__TOKTYPE_CONTROL, 0);              /* 28 */
  vocab_add(&v, "<|placeholder1|>", MYNA__TOKTYPE_CONTROL, 0); /* 29 */
  vocab_add(&v, "\n", MYNA__TOKTYPE_NORMAL, -9);               /* 30 */
  vocab_use(&v, NULL);
  parsed(&v, "a <|user|> \n\t b", "0 26 27 1");
  parsed(&v, "<s> \nb", "28 26 30 1");
  parsed(&v, "<|user|>  <|user|>", "27 27");
  parsed(&v, "<|user|>  ", "27");
  plain(&v, "\n b", "30 26 1");
  vocab_close(&v);
}

static void test_mask_strips_left(void **state) {
  vocab v;
  start_letters(&v, MYNA__TOK_BPE);
  snprintf(v.t.pre, sizeof v.t.pre, "jina-v2-de");
  vocab_add(&v, "\u0120", MYNA__TOKTYPE_NORMAL, 0);  /* 26, a space */
  vocab_add(&v, "<mask>", MYNA__TOKTYPE_CONTROL, 0); /* 27 */
  vocab_add(&v, "<pad>", MYNA__TOKTYPE_CONTROL, 0);  /* 28 */
  vocab_use(&v, NULL);
  parsed(&v, "a  <mask> b", "0 27 26 1");
  parsed(&v, "a <pad> b", "0 26 28 26 1");
  parsed(&v, "  <mask>", "27");
  vocab_close(&v);
}

/* The space in front comes at the beginning and after each special token, BOS or not. */
static void test_space_prefix(void **state) {
  vocab v;
  start_letters(&v, MYNA__TOK_SPM);
  vocab_add(&v, "\u2581", MYNA__TOKTYPE_NORMAL, -9);    /* 26 */
  vocab_add(&v, "<s>", MYNA__TOKTYPE_CONTROL, 0);       /* 27 */
  vocab_add(&v, "</s>", MYNA__TOKTYPE_CONTROL, 0);      /* 28 */
  vocab_add(&v, "\u2581\u2581", MYNA__TOKTYPE_USER, 0); /* 29: two spaces */
  v.t.add_space_prefix = v.t.add_bos = v.t.add_eos = true;
  v.t.bos = 27, v.t.eos = 28;
  vocab_use(&v, NULL);
  expect_ids_opt(&v, "a", 1, true, true, "27 26 0 28");
  expect_ids_opt(&v, "", 0, true, true, "27 28");
  expect_ids_opt(&v, "", 0, false, true, "");
  expect_ids_opt(&v, "<s>a</s>b", 9, false, true, "27 26 0 28 26 1");
  expect_ids_opt(&v, "<s>a</s>b", 9, true, true, "27 27 26 0 28 26 1 28");
  expect_ids_opt(&v, "a  b", 4, false, false, "26 0 29 26 1");
  v.t.add_space_prefix = false;
  vocab_use(&v, NULL);
  expect_ids_opt(&v, "<s>a", 4, true, true, "27 27 0 28");
  v.t.bos = 1000; /* a file that lies: no BOS rather than a wrong id */
  v.t.eos = -1;
  vocab_use(&v, NULL);
  expect_ids_opt(&v, "a", 1, true, true, "0");
  vocab_close(&v);
}

/* Merging must not make a control token out of plain text, nor a byte out of its name. */
static void test_no_injection(void **state) {
  vocab v;
  vocab_start(&v, MYNA__TOK_SPM, NULL);
  vocab_bytes(&v);                                                                         /* 0..255 */
  for (const char *p = "<s>0xA"; *p; p++) vocab_add_n(&v, p, 1, MYNA__TOKTYPE_NORMAL, -9); /* 256.. */
  vocab_add(&v, "<s", MYNA__TOKTYPE_NORMAL, -1);                                           /* 262 */
  vocab_add(&v, "<s>", MYNA__TOKTYPE_CONTROL, 0);                                          /* 263 */
  vocab_add(&v, "<0", MYNA__TOKTYPE_NORMAL, -1);                                           /* 264 */
  vocab_add(&v, "<0x", MYNA__TOKTYPE_NORMAL, -1);                                          /* 265 */
  vocab_add(&v, "<0x0", MYNA__TOKTYPE_NORMAL, -1);                                         /* 266 */
  vocab_add(&v, "<0x0A", MYNA__TOKTYPE_NORMAL, -1);                                        /* 267 */
  vocab_use(&v, NULL);
  plain(&v, "<s>", "262 258");
  parsed(&v, "<s>", "263");
  plain(&v, "<0x0A>", "267 258");
  parsed(&v, "<0x0A>", "267 258");
  vocab_close(&v);

  start_letters(&v, MYNA__TOK_BPE);
  vocab_add(&v, "abc", MYNA__TOKTYPE_CONTROL, 0);
  vocab_merge(&v, "a b");
  vocab_merge(&v, "ab c");
  vocab_use(&v, "llama-bpe");
  plain(&v, "abc", "0 1 2");
  vocab_close(&v);
}

/* SentencePiece files write user-defined runs of spaces, up to 64, as U+2581; control tokens and byte-level BPE do not. */
static void test_marks_of_user_tokens(void **state) {
  static char marks[3 * 66 + 1], spaces[67];
  for (int i = 0; i < 66; i++) memcpy(marks + 3 * i, "\u2581", 3);
  memset(spaces, ' ', 66);
  vocab v;
  start_letters(&v, MYNA__TOK_SPM);
  vocab_add(&v, "\u2581", MYNA__TOKTYPE_NORMAL, -9);       /* 26 */
  vocab_add_n(&v, marks, 3 * 64, MYNA__TOKTYPE_USER, 0);   /* 27 */
  vocab_add_n(&v, marks, 3 * 65, MYNA__TOKTYPE_USER, 0);   /* 28: too long, looked for as it is written */
  vocab_add_n(&v, marks, 3 * 2, MYNA__TOKTYPE_CONTROL, 0); /* 29 */
  vocab_add(&v, "\u2581x", MYNA__TOKTYPE_USER, 0);         /* 30: not only marks */
  vocab_use(&v, NULL);
  expect_ids_opt(&v, spaces, 64, false, true, "27");
  expect_ids_opt(&v, spaces, 65, false, true, "27 26");
  expect_ids_opt(&v, spaces, 66, false, true, "27 26 26");
  expect_ids_opt(&v, marks, 3 * 65, false, true, "28");
  expect_ids_opt(&v, spaces, 2, false, true, "26 26");
  expect_ids_opt(&v, marks, 6, false, true, "29");
  parsed(&v, "a\u2581xb", "0 30 1");
  vocab_close(&v);
  start_letters(&v, MYNA__TOK_BPE);
  vocab_add(&v, "\u0120", MYNA__TOKTYPE_NORMAL, 0);     /* 26, a space */
  vocab_add(&v, "\u2581\u2581", MYNA__TOKTYPE_USER, 0); /* 27 */
  vocab_use(&v, NULL);
  parsed(&v, "a  b", "0 26 26 1");
  parsed(&v, "a\u2581\u2581b", "0 27 1");
  vocab_close(&v);
}

static void test_end_of_generation(void **state) {
  vocab v;
  start_letters(&v, MYNA__TOK_BPE);
  v.t.eos = 3, v.t.eot = 5;
  v.t.eog[0] = 3, v.t.eog[1] = 7, v.t.n_eog = 2;
  vocab_use(&v, NULL);
  for (int32_t id = -1; id < 30; id++) assert_int_equal(myna__token_is_eog(v.tk, id), id == 3 || id == 5 || id == 7);
  assert_ptr_equal(myna__tokenizer_data(v.tk), &v.t);
  v.t.eos = 26; /* of a file that lies: no token, so no end */
  v.t.eog[0] = -1;
  vocab_use(&v, NULL);
  for (int32_t id = -2; id < 30; id++) assert_int_equal(myna__token_is_eog(v.tk, id), id == 5 || id == 7);
  vocab_close(&v);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_control_and_user),     cmocka_unit_test(test_longest_first),
      cmocka_unit_test(test_fall_back_in_order),   cmocka_unit_test(test_runs),
      cmocka_unit_test(test_against_rule),         cmocka_unit_test(test_phi3_strips_right),
      cmocka_unit_test(test_mask_strips_left),     cmocka_unit_test(test_space_prefix),
      cmocka_unit_test(test_no_injection),         cmocka_unit_test(test_end_of_generation),
      cmocka_unit_test(test_marks_of_user_tokens),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
