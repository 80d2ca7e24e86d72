/* test_merge.c: the merging of BPE and SentencePiece against the definition: join the best pair, the leftmost among
 * equals, until there is none. Word lengths cover scanning, the heap and the ranges; and ids of hand-made cases. */
#include "text/tok.h"
#include "vocab.h"

enum { LETTERS = 4, MAX_TOKENS = 120 };

/* A random vocabulary over a..d in which token i >= LETTERS is the concatenation of two earlier ones. */
typedef struct model {
  vocab v;
  int n;
  char text[MAX_TOKENS][64];
  int order[MAX_TOKENS][MAX_TOKENS]; /* what joining them is worth, smaller first; -1 never */
  int joined[MAX_TOKENS][MAX_TOKENS];
} model;

static int find(const model *m, const char *text) {
  for (int i = 0; i < m->n; i++)
    if (strcmp(m->text[i], text) == 0) return i;
  return -1;
}

/* spm: any two whose concatenation is a token may join, by score (with ties); bpe: only what merges list. */
static void random_model(model *m, test_rng *r, bool spm) {
  static const char letters[LETTERS][2] = {"a", "b", "c", "d"};
  *m = (model){0};
  memset(m->order, -1, sizeof m->order);
  if (spm)
    vocab_start(&m->v, MYNA__TOK_SPM, NULL);
  else
    vocab_start(&m->v, MYNA__TOK_BPE, "superbpe");
  for (; m->n < LETTERS; m->n++) strcpy(m->text[m->n], letters[m->n]);
  int want = LETTERS + 1 + (int)test_int(r, MAX_TOKENS - LETTERS);
  for (int tries = 0, merges = 0; tries < 500 && m->n < want; tries++) {
    int a = (int)test_int(r, m->n), b = (int)test_int(r, m->n);
    if (m->order[a][b] >= 0 || strlen(m->text[a]) + strlen(m->text[b]) > 60) continue;
    char text[130], merge[130];
    snprintf(text, sizeof text, "%s%s", m->text[a], m->text[b]);
    int id = find(m, text);
    if (id < 0) {
      id = m->n++;
      memcpy(m->text[id], text, strlen(text) + 1);
    }
    m->joined[a][b] = id;
    m->order[a][b] = merges++;
    snprintf(merge, sizeof merge, "%s %s", m->text[a], m->text[b]);
    if (!spm) vocab_merge(&m->v, merge);
  }
  for (int i = 0; i < m->n; i++)
    vocab_add(&m->v, m->text[i], MYNA__TOKTYPE_NORMAL, spm ? -(float)test_int(r, 40) / 4 : 0);
  for (int a = 0; a < m->n && spm; a++)
    for (int b = 0; b < m->n; b++) {
      char text[130];
      snprintf(text, sizeof text, "%s%s", m->text[a], m->text[b]);
      int id = m->joined[a][b] = find(m, text);
      m->order[a][b] = id < 0 ? -1 : (int)(-4 * m->v.t.scores[id]);
    }
  vocab_use(&m->v, NULL);
}

/* The definition. ids[0..n) are letters; returns how many are left. */
static int join_all(const model *m, int *ids, int n) {
  for (;;) {
    int best = -1, order = INT32_MAX;
    for (int i = 0; i + 1 < n; i++) {
      int o = m->order[ids[i]][ids[i + 1]];
      if (o >= 0 && o < order) order = o, best = i;
    }
    if (best < 0) return n;
    ids[best] = m->joined[ids[best]][ids[best + 1]];
    memmove(ids + best + 1, ids + best + 2, (size_t)(n - best - 2) * sizeof *ids);
    n--;
  }
}

static void check(const model *m, test_rng *r, int n, bool runs) {
  char *text = malloc((size_t)n);
  int *want = malloc((size_t)n * sizeof *want);
  assert_true(text && want);
  for (int i = 0; i < n; i++) {
    bool same = runs && i > 0 && test_int(r, 8) != 0;
    want[i] = same ? want[i - 1] : (int)test_int(r, LETTERS);
    text[i] = (char)('a' + want[i]);
  }
  int left = join_all(m, want, n);
  int64_t n_ids;
  int32_t *ids = vocab_ids(&m->v, text, (size_t)n, false, false, &n_ids);
  assert_int_equal(n_ids, left);
  for (int i = 0; i < left; i++) assert_int_equal(ids[i], want[i]);
  free(ids);
  free(text);
  free(want);
}

static void against_definition(bool spm) {
  test_rng r = test_rng_new(11);
  model *m = malloc(sizeof *m);
  assert_non_null(m);
  for (int k = 0; k < 60; k++) {
    random_model(m, &r, spm);
    for (int i = 0; i < 40; i++) check(m, &r, 1 + (int)test_int(&r, 60), i & 1);
    check(m, &r, 500 + (int)test_int(&r, 1000), k & 1);
    if (k % 6 == 0) check(m, &r, 4000 + (int)test_int(&r, 1500), k & 1);
    vocab_close(&m->v);
  }
  free(m);
}

static void test_bpe(void **state) { against_definition(false); }
static void test_spm(void **state) { against_definition(true); }

/* Ranks in the hundred thousands spread over the ranges. */
static void test_many_ranks(void **state) {
  model *m = malloc(sizeof *m);
  test_rng r = test_rng_new(5);
  assert_non_null(m);
  random_model(m, &r, false);
  int64_t n = m->v.t.n_merges;
  myna__str *merges = calloc(300000, sizeof *merges);
  assert_non_null(merges);
  for (int64_t i = 0; i < n; i++) merges[300000 / n * i] = m->v.t.merges[i]; /* the rest is empty: no merges */
  myna__str *few = m->v.t.merges;
  m->v.t.merges = merges;
  m->v.t.n_merges = 300000;
  vocab_use(&m->v, NULL);
  for (int i = 0; i < 6; i++) check(m, &r, 5000, i & 1);
  m->v.t.merges = few;
  m->v.t.n_merges = n;
  free(merges);
  vocab_close(&m->v);
  free(m);
}

/* Many merges go into their table on a thread: whoever tokenizes first, several at once, waits for all of them. The last merge counts. */
struct first_use {
  const vocab *v;
  int32_t id;
  int64_t n;
};
static void *use_first(void *arg) {
  struct first_use *u = arg;
  u->n = myna__tokenize(u->v->tk, "xy", 2, NULL, &u->id, 1, NULL);
  return NULL;
}
static void test_first_use(void **state) {
  enum { MERGES = 100000, THREADS = 4 };
  vocab v;
  vocab_start(&v, MYNA__TOK_BPE, "gpt-2");
  vocab_alphabet(&v);
  int32_t want = vocab_add(&v, "xy", MYNA__TOKTYPE_NORMAL, 0);
  for (int i = 0; i + 1 < MERGES; i++) {
    char merge[32];
    snprintf(merge, sizeof merge, "%d %d", i, i + 1);
    vocab_merge(&v, merge);
  }
  vocab_merge(&v, "x y");
  for (int round = 0; round < 10; round++) {
    struct first_use u[THREADS];
    pthread_t t[THREADS];
    vocab_use(&v, NULL);
    for (int i = 0; i < THREADS; i++) {
      u[i] = (struct first_use){.v = &v};
      assert_int_equal(pthread_create(&t[i], NULL, use_first, &u[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
      pthread_join(t[i], NULL);
      assert_int_equal(u[i].n, 1);
      assert_int_equal(u[i].id, want);
    }
  }
  vocab_use(&v, NULL); /* freed while the thread may still run */
  vocab_close(&v);
}

/* A text of one letter: ids must be the longest tokens, quickly (a quadratic loop would take minutes). */
static void test_one_letter(void **state) {
  vocab v;
  enum { N = 1 << 20 };
  char *text = malloc(N), token[257] = "", merge[600];
  assert_non_null(text);
  memset(text, 'a', N);
  vocab_start(&v, MYNA__TOK_BPE, "gpt-2");
  for (int len = 1; len <= 256; len *= 2) {
    memset(token, 'a', (size_t)len);
    vocab_add(&v, token, MYNA__TOKTYPE_NORMAL, 0);
    snprintf(merge, sizeof merge, "%s %s", token, token);
    if (len < 256) vocab_merge(&v, merge);
  }
  vocab_use(&v, NULL);
  int64_t n;
  int32_t *ids = vocab_ids(&v, text, N, false, false, &n);
  assert_int_equal(n, N / 256);
  for (int64_t i = 0; i < n; i++) assert_int_equal(ids[i], 8);
  free(ids);
  vocab_close(&v);
  free(text);
}

/* Scores that have no order: NaN is last, infinities are ends, -0 is 0. */
static void test_odd_scores(void **state) {
  vocab v;
  vocab_start(&v, MYNA__TOK_SPM, NULL);
  for (const char *p = "abcd"; *p; p++) vocab_add_n(&v, p, 1, MYNA__TOKTYPE_NORMAL, 0);
  vocab_add(&v, "ab", MYNA__TOKTYPE_NORMAL, __builtin_nanf("")); /* 4 */
  vocab_add(&v, "bc", MYNA__TOKTYPE_NORMAL, -__builtin_inff());  /* 5 */
  vocab_add(&v, "cd", MYNA__TOKTYPE_NORMAL, -0.0f);              /* 6 */
  vocab_add(&v, "da", MYNA__TOKTYPE_NORMAL, 0.0f);               /* 7 */
  vocab_add(&v, "aa", MYNA__TOKTYPE_NORMAL, __builtin_inff());   /* 8 */
  vocab_use(&v, NULL);
  expect_ids(&v, "abc", "0 5");
  expect_ids(&v, "ab", "4");
  expect_ids(&v, "abcd", "4 6");
  expect_ids(&v, "cda", "6 0"); /* equal: the left one */
  expect_ids(&v, "daa", "3 8");
  vocab_close(&v);
}

/* Tokens that cross a space: words may not be merged one by one then. */
static void test_tokens_across_spaces(void **state) {
  vocab v;
  vocab_start(&v, MYNA__TOK_SPM, NULL);
  static const char *const tokens[] = {"a", "b", "\u2581", "a\u2581", "a\u2581b", "\u2581b", "\u2581\u2581"};
  static const float scores[] = {-9, -9, -9, -1, -2, -3, -4};
  for (size_t i = 0; i < MYNA__COUNT(tokens); i++) vocab_add(&v, tokens[i], MYNA__TOKTYPE_NORMAL, scores[i]);
  vocab_use(&v, NULL);
  expect_ids(&v, "a b", "4");
  expect_ids(&v, "b a", "1 2 0");
  expect_ids(&v, "b  b", "1 2 5");
  v.t.n_tokens = 3; /* without the tokens that cross */
  vocab_use(&v, NULL);
  expect_ids(&v, "a b", "0 2 1");
  v.t.n_tokens = 7;
  vocab_close(&v);

  vocab_start(&v, MYNA__TOK_BPE, "gemma4");
  v.t.escape_whitespaces = true;
  for (size_t i = 0; i < MYNA__COUNT(tokens); i++) vocab_add(&v, tokens[i], MYNA__TOKTYPE_NORMAL, 0);
  vocab_merge(&v, "\u2581 b");
  vocab_merge(&v, "\u2581 \u2581");
  vocab_use(&v, NULL);
  expect_ids(&v, "a b", "0 5");
  expect_ids(&v, "a   b", "0 6 5");
  vocab_merge(&v, "a \u2581b");
  vocab_use(&v, NULL);
  expect_ids(&v, "a b", "4");
  vocab_close(&v);
}

/* Thue and Morse's sequence and its complement have the same polynomial hash mod 2^64, whatever the factor: only the
 * bytes tell them apart. */
static void test_equal_hashes(void **state) {
  enum { N = 2048 };
  char one[N + 1], other[N + 1];
  for (int i = 0; i < N; i++) {
    one[i] = (char)('a' + __builtin_parity((unsigned)i));
    other[i] = (char)('b' - __builtin_parity((unsigned)i));
  }
  one[N] = other[N] = 0;
  assert_true(myna__text_hash(one, N) == myna__text_hash(other, N));
  vocab v;
  vocab_start(&v, MYNA__TOK_BPE, "llama-bpe");
  vocab_add(&v, "a", MYNA__TOKTYPE_NORMAL, 0);
  vocab_add(&v, "b", MYNA__TOKTYPE_NORMAL, 0);
  vocab_add(&v, one, MYNA__TOKTYPE_NORMAL, 0);
  vocab_use(&v, NULL);
  expect_ids(&v, one, "2");
  int64_t n;
  int32_t *ids = vocab_ids(&v, other, N, false, false, &n);
  assert_int_equal(n, N);
  free(ids);
  vocab_close(&v);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bpe),
      cmocka_unit_test(test_spm),
      cmocka_unit_test(test_first_use),
      cmocka_unit_test(test_many_ranks),
      cmocka_unit_test(test_one_letter),
      cmocka_unit_test(test_odd_scores),
      cmocka_unit_test(test_tokens_across_spaces),
      cmocka_unit_test(test_equal_hashes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
