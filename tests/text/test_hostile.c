/* test_hostile.c: vocabularies and texts from strangers, memory that runs out, threads. */
#include <pthread.h>
#include "vocab.h"

/* Whatever the data says: no crash, ids in range, the same ids twice. */
static void try_out(vocab *v) {
  static const char *const texts[] = {"",
                                      "a",
                                      "abc ab \u2581 <s> <0x0A>",
                                      "\xFF\xFE\x00z",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                      "\xE2",
                                      "\xE2\x96",
                                      "\xF0\x9F\x98 \x80"};
  myna_err err = {0};
  myna__tokenizer_free(v->tk);
  v->tk = NULL;
  if (myna__tokenizer_new(&v->tk, &v->t, &err) < 0) {
    assert_true(err.code < 0 && err.msg[0]);
    return;
  }
  for (size_t i = 0; i < MYNA__COUNT(texts); i++) {
    int64_t n1, n2;
    int32_t *a = vocab_ids(v, texts[i], strlen(texts[i]), true, true, &n1);
    int32_t *b = vocab_ids(v, texts[i], strlen(texts[i]), true, true, &n2);
    assert_int_equal(n1, n2);
    assert_memory_equal(a, b, (size_t)n1 * sizeof *a);
    free(a);
    free(b);
  }
  for (int32_t id = -2; id < v->t.n_tokens + 2; id++) {
    char buf[16];
    myna__token_bytes(v->tk, id, true, buf, sizeof buf);
  }
}

static void test_odd_vocabularies(void **state) {
  for (int model = MYNA__TOK_NONE; model <= MYNA__TOK_WORDPIECE + 1; model++) {
    vocab v;
    vocab_start(&v, (myna__tok_model)model, "default");
    try_out(&v); /* empty */
    vocab_add(&v, "", MYNA__TOKTYPE_NORMAL, 0);
    vocab_add(&v, "", MYNA__TOKTYPE_CONTROL, 0);
    try_out(&v); /* empty tokens */
    for (int type = 0; type < 9; type++) {
      vocab_add(&v, "a", type, (float)-type);
      vocab_add(&v, "ab", type, (float)-type);
      vocab_add(&v, "\u2581", type, __builtin_inff());
      vocab_add(&v, "<0x61>", type, __builtin_nanf(""));
      vocab_add(&v, "\xFF\xFE", type, -__builtin_inff());
    }
    try_out(&v); /* repeated tokens of every type */
    vocab_merge(&v, "");
    vocab_merge(&v, " ");
    vocab_merge(&v, "a");
    vocab_merge(&v, "a b c");
    vocab_merge(&v, "a a");
    vocab_merge(&v, "aa a"); /* makes what is no token */
    vocab_merge(&v, "a aa");
    vocab_merge(&v, "a a");
    v.t.bos = v.t.eos = v.t.unk = 100000;
    v.t.add_bos = v.t.add_eos = true;
    try_out(&v);
    v.t.bos = v.t.eos = v.t.unk = -5;
    try_out(&v);
    v.t.n_eog = 1000;
    v.t.unk = 0;
    v.t.add_space_prefix = v.t.remove_extra_whitespaces = true;
    try_out(&v);
    v.t.n_eog = 0;
    float *scores = v.t.scores;
    uint8_t *types = v.t.types;
    v.t.scores = NULL;
    v.t.types = NULL;
    try_out(&v);
    v.t.scores = scores;
    v.t.types = types;
    vocab_close(&v);
  }
}

static void test_long_tokens(void **state) {
  enum { N = 1 << 20 };
  char *token = malloc(N), *merge = malloc(N + 2);
  assert_true(token && merge);
  memset(token, 'a', N);
  memset(merge, 'a', N + 1);
  merge[N / 2] = ' ';
  merge[N + 1] = 0;
  for (int model = MYNA__TOK_BPE; model <= MYNA__TOK_UNIGRAM; model++) {
    vocab v;
    vocab_start(&v, (myna__tok_model)model, "superbpe");
    vocab_add(&v, "a", MYNA__TOKTYPE_NORMAL, 0);
    vocab_add_n(&v, token, N, MYNA__TOKTYPE_NORMAL, 1);
    vocab_add_n(&v, token, N, MYNA__TOKTYPE_USER, 1);
    vocab_merge(&v, merge);
    vocab_use(&v, NULL);
    int64_t n;
    int32_t *ids = vocab_ids(&v, token, 1000, false, true, &n);
    assert_int_equal(n, 1000);
    free(ids);
    myna__buf out = {0};
    myna__detok d = {0};
    ASSERT_OK(myna__detok_push(v.tk, &d, 1, false, &out));
    assert_int_equal(out.len, N);
    myna__buf_free(&out);
    vocab_close(&v);
  }
  free(token);
  free(merge);
}

static void test_charsmaps(void **state) {
  test_rng r = test_rng_new(8);
  vocab v;
  uint8_t map[64];
  vocab_start(&v, MYNA__TOK_UNIGRAM, NULL);
  vocab_add(&v, "<unk>", MYNA__TOKTYPE_UNKNOWN, 0);
  for (const char *p = "abc"; *p; p++) vocab_add_n(&v, p, 1, MYNA__TOKTYPE_NORMAL, -1);
  v.t.unk = 0;
  v.t.charsmap = map;
  /* too short, sizes that do not fit */
  for (size_t n = 1; n < 12; n++) {
    for (unsigned size = 0; size < 12; size++) {
      memset(map, 0, sizeof map);
      map[0] = (uint8_t)size;
      v.t.charsmap_len = n;
      try_out(&v);
    }
  }
  for (int k = 1; k < 4; k++) { /* each byte of the size counts */
    myna_err err = {0};
    memset(map, 0, sizeof map);
    map[k] = 4;
    v.t.charsmap_len = sizeof map;
    myna__tokenizer_free(v.tk);
    ASSERT_FAILS(myna__tokenizer_new(&v.tk, &v.t, &err), MYNA_E_FORMAT, &err, "bytes of trie in 64 bytes");
  }
  for (int k = 0; k < 3000; k++) { /* any trie */
    for (size_t i = 0; i < sizeof map; i++) map[i] = (uint8_t)test_u64(&r);
    memset(map, 0, 4);
    map[0] = (uint8_t)(4 * test_int(&r, 15));
    if (k & 1) map[sizeof map - 1] = 0;
    v.t.charsmap_len = sizeof map;
    try_out(&v);
  }
  vocab_close(&v);
}

/* Characters that the text's end cuts off: only the bytes that are there. */
static void test_cut_characters(void **state) {
  static const char *const ends[] = {"\xE2", "\xE2\x96", "\xF0\x9F\x98", "\xC3", "\xF0"};
  vocab v;
  vocab_start(&v, MYNA__TOK_SPM, NULL);
  vocab_bytes(&v);
  vocab_add(&v, "a", MYNA__TOKTYPE_NORMAL, 0);
  vocab_use(&v, NULL);
  for (size_t i = 0; i < MYNA__COUNT(ends); i++) {
    char text[16], want[64] = "256";
    snprintf(text, sizeof text, "a%s\x80\x80\x80", ends[i]);
    for (size_t k = 0; k < strlen(ends[i]); k++)
      snprintf(want + strlen(want), sizeof want - strlen(want), " %d", (uint8_t)ends[i][k]);
    expect_ids_opt(&v, text, 1 + strlen(ends[i]), false, false, want);
  }
  vocab_close(&v);
}

/* A file without a kind of pre-tokenizer is told once, others not. */
static void count_lines(void *user, int level, const char *line) {
  assert_int_equal(level, 1);
  assert_non_null(strstr(line, "tokenizer.ggml.pre"));
  ++*(int *)user;
}
static void test_no_pretokenizer(void **state) {
  int told = 0;
  vocab v;
  vocab_start(&v, MYNA__TOK_BPE, "");
  vocab_add(&v, "a", MYNA__TOKTYPE_NORMAL, 0);
  myna_set_log(count_lines, &told);
  vocab_use(&v, NULL);
  assert_int_equal(told, 1);
  vocab_use(&v, "gpt-2");
  assert_int_equal(told, 1);
  myna_set_log(NULL, NULL);
  vocab_close(&v);
}

/* Texts lie in a file one behind the other: what follows a merge is not a part of it. */
static void test_neighbours_in_the_file(void **state) {
  static const char bytes[] = "ab cd a b";
  vocab v;
  vocab_start(&v, MYNA__TOK_BPE, "gpt-2");
  for (const char *p = "abcd"; *p; p++) vocab_add_n(&v, p, 1, MYNA__TOKTYPE_NORMAL, 0);
  vocab_add(&v, "ab", MYNA__TOKTYPE_NORMAL, 0);  /* 4 */
  vocab_add(&v, "abc", MYNA__TOKTYPE_NORMAL, 0); /* 5 */
  myna__str merges[] = {{bytes, 2}, {bytes + 6, 1}, {bytes, 3}, {bytes + 6, 3}, {bytes, 4}, {bytes + 3, 2}};
  v.t.merges = merges;
  v.t.n_merges = MYNA__COUNT(merges);
  vocab_use(&v, NULL);
  expect_ids(&v, "abcd", "5 3"); /* "a b", then "ab c" */
  expect_ids(&v, "cd", "2 3");
  v.t.merges = NULL;
  v.t.n_merges = 0;
  vocab_close(&v);
}

/* The first id is a token like any other: for each model a vocabulary with each kind of token in front. */
static void first_id(myna__tok_model model, const char *pre, const char *token, int type, const char *text, size_t n) {
  vocab v;
  vocab_start(&v, model, pre);
  vocab_add(&v, token, type, 0);
  vocab_add(&v, "a", MYNA__TOKTYPE_NORMAL, -9);
  vocab_add(&v, "b", MYNA__TOKTYPE_NORMAL, -9);
  vocab_merge(&v, "a b");
  vocab_use(&v, NULL);
  expect_ids_opt(&v, text, n, false, true, "0");
  myna__buf out = {0};
  myna__detok d = {0};
  ASSERT_OK(myna__detok_push(v.tk, &d, 0, true, &out));
  myna__detok_finish(&d, &out);
  assert_int_equal(out.len, n);
  assert_memory_equal(out.data, text, n);
  myna__buf_free(&out);
  vocab_close(&v);
}
static void test_first_id(void **state) {
  static const myna__tok_model models[] = {MYNA__TOK_BPE, MYNA__TOK_SPM, MYNA__TOK_UNIGRAM};
  for (size_t i = 0; i < MYNA__COUNT(models); i++) {
    first_id(models[i], "gpt-2", "<c>", MYNA__TOKTYPE_CONTROL, "<c>", 3);
    first_id(models[i], "gpt-2", "<u>", MYNA__TOKTYPE_USER, "<u>", 3);
    first_id(models[i], "gpt-2", "ab", MYNA__TOKTYPE_NORMAL, "ab", 2);
  }
  first_id(MYNA__TOK_BPE, "llama-bpe", "ba", MYNA__TOKTYPE_NORMAL, "ba", 2); /* a whole word, without a merge */
  for (size_t i = 1; i < MYNA__COUNT(models); i++) {
    first_id(models[i], NULL, "\u00e9", MYNA__TOKTYPE_NORMAL, "\u00e9", 2);
    first_id(models[i], NULL, "<0x00>", MYNA__TOKTYPE_BYTE, "\0", 1);
  }
}

/* Every algorithm with every length around the sizes of its tables; blocks are watched. */
static void test_blocks(void **state) {
  static const char *const units[] = {" ", "a", "ab", "\xE2", "\u00e9", "<t>", "\n ", "aaaaaaa "};
  static const size_t lengths[] = {1, 2, 3, 20, 84, 85, 86, 127, 128, 129, 255, 256, 257, 1000, 4097, 9000};
  test_failing f;
  test_fail_at(&f, 0);
  for (int kind = 0; kind < 4; kind++) {
    vocab v;
    vocab_start(&v,
                kind == 2   ? MYNA__TOK_SPM
                : kind == 3 ? MYNA__TOK_UNIGRAM
                            : MYNA__TOK_BPE,
                kind ? "gemma4" : "gpt-2");
    v.t.escape_whitespaces = kind > 0;
    if (kind)
      vocab_bytes(&v);
    else
      vocab_alphabet(&v);
    vocab_add(&v, "a", MYNA__TOKTYPE_NORMAL, -1);
    vocab_add(&v, "ab", MYNA__TOKTYPE_NORMAL, -1);
    vocab_add(&v, "aa", MYNA__TOKTYPE_NORMAL, -1);
    vocab_add(&v, "\u2581", MYNA__TOKTYPE_NORMAL, -1);
    vocab_add(&v, "<t>", MYNA__TOKTYPE_USER, 0);
    vocab_merge(&v, "a b");
    vocab_merge(&v, "a a");
    vocab_use(&v, NULL);
    for (size_t u = 0; u < MYNA__COUNT(units); u++)
      for (size_t k = 0; k < MYNA__COUNT(lengths); k++) {
        size_t len = strlen(units[u]), n = lengths[k] * len;
        char *text = malloc(n);
        int64_t n_ids;
        for (size_t i = 0; i < n; i++) text[i] = units[u][i % len];
        free(vocab_ids(&v, text, n, true, true, &n_ids));
        free(text);
      }
    vocab_close(&v);
  }
  assert_int_equal(f.live, 0);
  test_fail_off();
}

/* What costs what in a unigram vocabulary: user-defined tokens a tenth per byte, unknown characters 10 more than the
 * worst of the others. */
static void test_unigram_scores(void **state) {
  vocab v;
  vocab_start(&v, MYNA__TOK_UNIGRAM, NULL);
  v.t.unk = vocab_add(&v, "<unk>", MYNA__TOKTYPE_UNKNOWN, 0);
  vocab_add(&v, "a", MYNA__TOKTYPE_NORMAL, -1);         /* 1 */
  vocab_add(&v, "ab", MYNA__TOKTYPE_NORMAL, -25);       /* 2 */
  vocab_add(&v, "ac", MYNA__TOKTYPE_NORMAL, -24);       /* 3 */
  vocab_add(&v, "\u2581x", MYNA__TOKTYPE_NORMAL, 0.2f); /* 4 */
  vocab_add(&v, "y", MYNA__TOKTYPE_NORMAL, 0.25f);      /* 5 */
  vocab_add(&v, "z", MYNA__TOKTYPE_NORMAL, 0.15f);      /* 6 */
  vocab_add(&v, "\u2581xy", MYNA__TOKTYPE_USER, -50);   /* 7: 0.4 */
  vocab_add(&v, "\u2581xz", MYNA__TOKTYPE_USER, -50);   /* 8: 0.4 */
  vocab_add(&v, "<c>", MYNA__TOKTYPE_CONTROL, -1000);
  vocab_use(&v, NULL);
  expect_ids(&v, "ab", "2"); /* -25, not -1 and -35 */
  expect_ids(&v, " xy", "4 5");
  expect_ids(&v, " xz", "8");
  expect_ids(&v, "bb", "0");
  expect_ids(&v, "bab", "0 2");
  vocab_close(&v);

  vocab_start(&v, MYNA__TOK_UNIGRAM, NULL); /* byte tokens for some bytes */
  v.t.unk = vocab_add(&v, "<unk>", MYNA__TOKTYPE_UNKNOWN, 0);
  vocab_add(&v, "<0x41>", MYNA__TOKTYPE_BYTE, 0);
  vocab_add(&v, "b", MYNA__TOKTYPE_NORMAL, -1);
  vocab_use(&v, NULL);
  expect_ids(&v, "\u00e9A\u00e9\u00e9bAA\u00e9", "0 1 0 2 1 1 0");
  vocab_close(&v);

  vocab_start(&v, MYNA__TOK_UNIGRAM, NULL); /* runs of spaces shrink, those around the text go; or all stay */
  v.t.unk = vocab_add(&v, "<unk>", MYNA__TOKTYPE_UNKNOWN, 0);
  vocab_add(&v, "\u2581", MYNA__TOKTYPE_NORMAL, -1); /* 1 */
  vocab_add(&v, "a", MYNA__TOKTYPE_NORMAL, -1);      /* 2 */
  v.t.add_space_prefix = v.t.remove_extra_whitespaces = true;
  vocab_use(&v, NULL);
  expect_ids(&v, "   ", "");
  expect_ids(&v, "  a   a  ", "1 2 1 2");
  v.t.remove_extra_whitespaces = false;
  vocab_use(&v, NULL);
  expect_ids(&v, "  ", "1 1 1");
  expect_ids(&v, " a  a ", "1 1 2 1 1 2 1");
  v.t.add_space_prefix = false;
  vocab_use(&v, NULL);
  expect_ids(&v, "  ", "1 1");
  vocab_close(&v);

  for (int sign = -1; sign <= 1; sign += 2) { /* sums that grow large do not hide small differences */
    vocab_start(&v, MYNA__TOK_UNIGRAM, NULL);
    vocab_add(&v, "x", MYNA__TOKTYPE_NORMAL, (float)sign * 90000);       /* 0 */
    vocab_add(&v, "ab", MYNA__TOKTYPE_NORMAL, -1);                       /* 1 */
    vocab_add(&v, "a", MYNA__TOKTYPE_NORMAL, -0.5f);                     /* 2 */
    vocab_add(&v, "b", MYNA__TOKTYPE_NORMAL, -0.4999f);                  /* 3 */
    vocab_add(&v, "xxxxxx", MYNA__TOKTYPE_NORMAL, (float)sign * 540001); /* 4 */
    vocab_use(&v, NULL);
    expect_ids(&v, "xxxxab", "0 0 0 0 2 3");
    expect_ids(&v, "xxxxxxab", sign < 0 ? "0 0 0 0 0 0 2 3" : "4 2 3");
    expect_ids(&v, "xxxxxxxxxxxxabab", sign < 0 ? "0 0 0 0 0 0 0 0 0 0 0 0 2 3 2 3" : "4 4 2 3 2 3");
    vocab_close(&v);
  }
}

static void test_limits(void **state) {
  vocab v;
  myna_err err = {0};
  int32_t ids[4];
  vocab_start(&v, MYNA__TOK_BPE, "gpt-2");
  for (const char *p = "abc"; *p; p++) vocab_add_n(&v, p, 1, MYNA__TOKTYPE_NORMAL, 0);
  vocab_use(&v, NULL);
  /* the count is the same whatever fits */
  for (int64_t cap = 0; cap <= 4; cap++) {
    memset(ids, 0xEE, sizeof ids);
    assert_int_equal(myna__tokenize(v.tk, "abc", 3, NULL, ids, cap, &err), 3);
    for (int i = 0; i < 4; i++) assert_int_equal(ids[i], i < cap && i < 3 ? i : (int32_t)0xEEEEEEEE);
  }
  assert_int_equal(myna__tokenize(v.tk, "abc", 3, NULL, NULL, 0, &err), 3);
  assert_int_equal(myna__tokenize(v.tk, NULL, 0, NULL, NULL, 0, &err), 0);
  ASSERT_FAILS((int)myna__tokenize(v.tk, "abc", (size_t)1 << 40, NULL, ids, 4, &err), MYNA_E_LIMIT, &err, "longer");
  err = (myna_err){0};
  snprintf(v.t.pre, sizeof v.t.pre, "no-such-thing");
  myna__tokenizer *tk;
  ASSERT_FAILS(myna__tokenizer_new(&tk, &v.t, &err), MYNA_E_UNSUPPORTED, &err, "no-such-thing");
  err = (myna_err){0};
  v.t.model = MYNA__TOK_NONE;
  ASSERT_FAILS(myna__tokenizer_new(&tk, &v.t, &err), MYNA_E_UNSUPPORTED, &err, "no tokenizer");
  v.t.model = MYNA__TOK_BPE;
  vocab_close(&v);
}

/* ---- memory ---- */

static const char long_text[] =
    "Hello <tool> world, this is 12345 \u00e9\u4e2d\u6587 \xFF  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n";

static int build_and_run(const vocab *v) {
  myna_err err = {0};
  myna__tokenizer *tk;
  int32_t ids[512];
  int rc = myna__tokenizer_new(&tk, &v->t, &err);
  if (rc == 0) {
    int64_t n =
        myna__tokenize(tk, long_text, sizeof long_text - 1, &(myna__tokenize_options){true, true}, ids, 512, &err);
    rc = n < 0 ? (int)n : 0;
    myna__buf out = {0};
    myna__detok d = {0};
    for (int64_t i = 0; i < n && rc == 0; i++) rc = myna__detok_push(tk, &d, ids[i], true, &out);
    myna__buf_free(&out);
  }
  myna__tokenizer_free(tk);
  assert_int_equal(rc == 0 ? 0 : MYNA_E_NOMEM, rc);
  return rc;
}

/* Every allocation fails once, alone and with all after it: an error, nothing leaked. */
static void test_out_of_memory(void **state) {
  static const char *const files[] = {"bpe", "gemma4", "spm", "spm-norm", "unigram", "unigram-bytes"};
  for (size_t i = 0; i < MYNA__COUNT(files); i++) {
    char path[512];
    vocab v;
    snprintf(path, sizeof path, "%s/tests/fixtures/text/%s.gguf", MYNA_ROOT, files[i]);
    vocab_open(&v, path);
    int failures = 0;
    for (int stay = 0; stay < 2; stay++) {
      for (int n = 1;; n++) {
        test_failing f;
        test_fail_at(&f, n);
        f.stay = stay;
        int rc = build_and_run(&v);
        test_fail_off();
        assert_int_equal(f.live, 0);
        if (!f.failed) {
          assert_int_equal(rc, 0);
          break;
        }
        /* PCRE2 goes on without JIT when its code cannot be allocated; all else is an error */
        failures += rc != 0;
      }
    }
    assert_true(failures > 20);
    vocab_close(&v);
  }
}

/* ---- threads ---- */

struct job {
  const vocab *v;
  const int32_t *want;
  int64_t n;
  bool same;
};

static void *run_job(void *arg) {
  struct job *j = arg;
  j->same = true;
  for (int k = 0; k < 200; k++) {
    int32_t ids[512];
    int64_t n = myna__tokenize(j->v->tk, long_text, sizeof long_text - 1, NULL, ids, 512, NULL);
    j->same = j->same && n == j->n && memcmp(ids, j->want, (size_t)n * sizeof *ids) == 0;
  }
  return NULL;
}

static void test_threads(void **state) {
  static const char *const files[] = {"bpe", "spm", "unigram"};
  for (size_t i = 0; i < MYNA__COUNT(files); i++) {
    char path[512];
    vocab v;
    pthread_t t[4];
    struct job jobs[4];
    snprintf(path, sizeof path, "%s/tests/fixtures/text/%s.gguf", MYNA_ROOT, files[i]);
    vocab_open(&v, path);
    vocab_use(&v, NULL);
    int64_t n;
    int32_t *want = vocab_ids(&v, long_text, sizeof long_text - 1, false, false, &n);
    for (int k = 0; k < 4; k++) {
      jobs[k] = (struct job){&v, want, n, false};
      assert_int_equal(pthread_create(&t[k], NULL, run_job, &jobs[k]), 0);
    }
    for (int k = 0; k < 4; k++) {
      pthread_join(t[k], NULL);
      assert_true(jobs[k].same);
    }
    free(want);
    vocab_close(&v);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_odd_vocabularies),
      cmocka_unit_test(test_long_tokens),
      cmocka_unit_test(test_charsmaps),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_out_of_memory),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_cut_characters),
      cmocka_unit_test(test_no_pretokenizer),
      cmocka_unit_test(test_neighbours_in_the_file),
      cmocka_unit_test(test_blocks),
      cmocka_unit_test(test_unigram_scores),
      cmocka_unit_test(test_first_id),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
