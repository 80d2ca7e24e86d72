/* test_turns.c: the turns of an agent: a prompt that continues an earlier one and its answer computes only what comes after the first difference, for families
 * with windows too. */
#include "engine/job.h"
#include "fixture.h"

enum { PROMPT = 300, ANSWER = 100, MORE = 50, ALL = PROMPT + ANSWER + MORE };
static fx_result first, second, fresh;

static void conversation(const char *name) {
  static int32_t text[ALL];
  myna_model *m = fx_open(name);
  int64_t v = m->cfg.n_vocab;
  const myna_engine_options o = {.n_threads = 1, .n_ctx = 512, .n_seq = 2, .n_batch = 96};
  /* Where the next turn differs from what was computed; `chat`: another conversation comes in between. */
  static const int differs[] = {PROMPT + ANSWER - 1, PROMPT + 70, PROMPT + 7, PROMPT, PROMPT - 1,
                                PROMPT - 9,          200,         64,         20};
  for (size_t k = 0; k < 2 * MYNA__COUNT(differs); k++) {
    int at = differs[k / 2];
    bool chat = k % 2;
    myna_engine *e = fx_engine(m, &o);
    for (int i = 0; i < PROMPT; i++) text[i] = (int32_t)((3 + i * 7 + i / 9) % v);
    myna_request r = fx_greedy(text, PROMPT, ANSWER);
    fx_run(e, &r, &first);
    assert_int_equal(first.n, ANSWER);
    for (int i = 0; i < ANSWER; i++) text[PROMPT + i] = first.ids[i];
    if (chat) {
      static int32_t other[PROMPT];
      for (int i = 0; i < PROMPT; i++) other[i] = (int32_t)((5 + i * 11) % v);
      r.tokens = other;
      fx_run(e, &r, &second);
    }
    text[at] = (int32_t)((text[at] + 1) % v);
    for (int i = at + 1; i < ALL; i++) text[i] = (int32_t)((9 + i * 3) % v);
    r = fx_greedy(text, ALL, 10);
    fx_run(e, &r, &second);
    if (second.timings.n_cached != at)
      fail_msg("%s: %lld of %d tokens were found%s", name, (long long)second.timings.n_cached, at,
               chat ? ", later" : "");
    r.no_prefix = true;
    fx_run(e, &r, &fresh);
    assert_memory_equal(fresh.ids, second.ids, 10 * sizeof(int32_t));
    myna_engine_free(e);
  }
  myna_model_close(m);
}

static void test_full(void **state) {
  (void)state;
  conversation("llama");
}

static void test_window(void **state) {
  (void)state;
  conversation("gemma3");
  conversation("gemma3-linear");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_full), cmocka_unit_test(test_window)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
