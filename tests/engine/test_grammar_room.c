/* test_grammar_room.c: grammars under a limit of memory: what they hold is what is counted, they keep to the limit and say the same as without it; kept
 * ones go first, and one that has no room is refused with the numbers. */
#include "engine/grammar.h"
#include "engine/grammar_mask.h"
#include "engine/grammar_run.h"
#include "test.h"
#include "text/tokenizer.h"

enum { LETTERS = 12, TOKENS = (2 << LETTERS) - 2 + 1, GRAMMARS = 8, STEPS = 40, SEEN = GRAMMARS * STEPS };

static myna__str texts[TOKENS];
static uint8_t types[TOKENS];
static float scores[TOKENS];
static char letters[TOKENS][LETTERS + 1];

/* Token 0 ends; all texts of a and b up to LETTERS. */
static myna__tokenizer *vocabulary(void) {
  static myna__tokdata d;
  myna__tokenizer *tk;
  d = (myna__tokdata){.model = MYNA__TOK_SPM,
                      .tokens = texts,
                      .types = types,
                      .scores = scores,
                      .n_tokens = TOKENS,
                      .bos = -1,
                      .unk = -1,
                      .eot = -1,
                      .n_eog = 1};
  texts[0] = (myna__str){"</s>", 4};
  types[0] = MYNA__TOKTYPE_CONTROL;
  for (int i = 1; i < TOKENS; i++) {
    unsigned code = (unsigned)i + 1;
    int len = 31 - __builtin_clz(code);
    for (int k = 0; k < len; k++) letters[i][k] = (char)('a' + (code >> (len - 1 - k) & 1));
    texts[i] = (myna__str){letters[i], (size_t)len};
    types[i] = MYNA__TOKTYPE_NORMAL;
  }
  ASSERT_OK(myna__tokenizer_new(&tk, &d, NULL));
  return tk;
}

static myna_grammar *make(int i) {
  char text[256];
  myna_grammar *g = NULL;
  myna_err err = {0};
  snprintf(text, sizeof text,
           "root ::= (x | y){%d,400}\nx ::= \"a\"{1,%d} (\"b\" x \"b\")? \"b\"\ny ::= \"ba\" (y | \"bb\"){0,%d} \"a\"",
           40 + i, 5 + i, 2 + i % 3);
  ASSERT_OK_ERR(myna_grammar_from_gbnf(&g, text, strlen(text), NULL, &err), &err);
  return g;
}

typedef struct walked {
  int64_t peak, untrue, n;
  uint64_t seen[SEEN];
} walked;

/* Runs all grammars side by side; every mask is noted. */
static void walk(const myna__tokenizer *tk, walked *w) {
  myna_grammar *g[GRAMMARS];
  myna__grun *r[GRAMMARS];
  test_rng rng = test_rng_new(5);
  const int64_t before = myna__mem_in_use(), bits = (TOKENS + 63) / 64 * 8;
  *w = (walked){0};
  for (int i = 0; i < GRAMMARS; i++) {
    myna_err err = {0};
    g[i] = make(i);
    ASSERT_OK_ERR(myna__grun_new(&r[i], g[i], tk, TOKENS, &err), &err);
  }
  for (int step = 0; step < STEPS; step++)
    for (int i = 0; i < GRAMMARS; i++) {
      int64_t n_legal;
      const uint64_t *mask = myna__grun_mask(r[i], &n_legal, NULL);
      assert_non_null(mask);
      w->seen[w->n++] = myna__hash(mask, (size_t)bits, (uint64_t)n_legal);
      int32_t id = 1 + (int32_t)test_int(&rng, step % 2 ? TOKENS - 1 : 30);
      while (!(mask[id >> 6] >> (id & 63) & 1)) id = id % (TOKENS - 1) + 1;
      ASSERT_OK(myna__grun_accept(r[i], id));
      int64_t held = myna_grammar_held(), in_use = myna__mem_in_use() - before - GRAMMARS * (bits + 200);
      w->peak = MYNA__MAX(w->peak, held);
      w->untrue = MYNA__MAX(w->untrue, in_use - held);
    }
  for (int i = 0; i < GRAMMARS; i++) {
    myna__grun_free(r[i]);
    myna_grammar_free(g[i]);
  }
  assert_int_equal(myna_grammar_held(), 0);
  assert_int_equal(myna__mem_in_use(), before);
}

static void test_same(void **state) {
  (void)state;
  static walked want, got;
  myna__tokenizer *tk = vocabulary();
  assert_non_null(myna__gtrie_of(tk)); /* it stays */
  walk(tk, &want);
  assert_int_equal(want.n, SEEN);
  for (int part = 2; part <= 4; part++) {
    int64_t limit = want.peak / part;
    assert_int_equal(myna_grammar_limit(limit), 0);
    walk(tk, &got);
    print_message("%.2f MB without a limit; of %.2f MB %.2f MB are held\n", (double)want.peak / 1e6,
                  (double)limit / 1e6, (double)got.peak / 1e6);
    assert_int_equal(myna_grammar_limit(0), limit);
    assert_memory_equal(got.seen, want.seen, sizeof want.seen);
    assert_true(got.peak <= limit + limit / 8);
    assert_true(got.untrue < 4096);
  }
  assert_true(want.untrue < 4096);
  myna__tokenizer_free(tk);
}

/* Kept ones are let go, the oldest first; those in use are not. */
static void test_kept(void **state) {
  (void)state;
  assert_int_equal(myna_grammar_cache(64 << 20), 0);
  myna_grammar *used = make(0), *again;
  for (int i = 1; i < 40; i++) myna_grammar_free(make(i));
  int64_t all = myna_grammar_held();
  assert_int_equal(myna_grammar_limit(all / 2), 0);
  assert_true(myna_grammar_held() <= all / 2 && myna_grammar_held() > all / 4);
  assert_int_equal(myna_grammar_limit(-1), all / 2);
  again = make(0);
  assert_ptr_equal(used, again);
  myna_grammar_free(again);
  myna_grammar_free(used);
  myna_grammar_limit(0);
  myna_grammar_cache(0);
  assert_int_equal(myna_grammar_held(), 0);
}

static void test_refused(void **state) {
  (void)state;
  myna__tokenizer *tk = vocabulary();
  myna_grammar *small = make(0), *first = make(1), *second = make(2), *large = NULL;
  myna__grun *a = NULL, *b = NULL, *c = NULL;
  myna_err err = {0};
  int64_t held = myna_grammar_held();
  myna_grammar_limit(held); /* there is no room for what runs them */
  ASSERT_FAILS(myna__grun_new(&a, first, tk, TOKENS, &err), MYNA_E_LIMIT, &err, "the memory limit leaves");
  assert_null(a);
  myna_grammar_limit(8 * held);
  ASSERT_OK(myna__grun_new(&a, first, tk, TOKENS, NULL));
  myna_grammar_limit(held);
  ASSERT_OK(myna__grun_new(&b, first, tk, TOKENS, NULL)); /* it runs already */
  err = (myna_err){0};
  ASSERT_FAILS(myna__grun_new(&c, second, tk, TOKENS, &err), MYNA_E_LIMIT, &err, "MB");
  static const char text[] = "root ::= x{5000}\nx ::= \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"";
  err = (myna_err){0};
  myna_grammar_limit(65536);
  ASSERT_FAILS(myna_grammar_from_gbnf(&large, text, strlen(text), NULL, &err), MYNA_E_LIMIT, &err,
               "too large for the memory limit");
  myna_grammar_limit(0);
  ASSERT_OK(myna__grun_new(&c, second, tk, TOKENS, NULL));
  myna__grun_free(a);
  myna__grun_free(b);
  myna__grun_free(c);
  myna_grammar_free(first);
  myna_grammar_free(second);
  myna_grammar_free(small);
  assert_int_equal(myna_grammar_held(), 0);
  myna__tokenizer_free(tk);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_kept),
                                     cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
