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
      cmocka_unit_test(test_odd_vocabularies), cmocka_unit_test(test_long_tokens),   cmocka_unit_test(test_charsmaps),
      cmocka_unit_test(test_limits),           cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
