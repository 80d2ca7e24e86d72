/* test_grammar_engine.c: masks against every token tried, and answers that a grammar holds: alone, in batches, with speculation. */
#include "engine/thinking.h"
#include "fixture.h"
#include <math.h>

static fx_result results[8];

static myna_model *story(void) {
  char path[512];
  myna_model *m = NULL;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_model_open(&m, test_path(path, "models/myna-stories.gguf"), NULL, &err), &err);
  return m;
}

static myna_grammar *gbnf(const char *text) {
  myna_grammar *g = NULL;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_grammar_from_gbnf(&g, text, strlen(text), NULL, &err), &err);
  return g;
}

static const char json[] =
    "root ::= obj\nval ::= obj | arr | str | num\nobj ::= \"{\" (str \":\" val (\",\" str \":\" val)*)? \"}\"\n"
    "arr ::= \"[\" (val (\",\" val)*)? \"]\"\nstr ::= \"\\\"\" [^\"\\\\\\n]{0,20} \"\\\"\"\nnum ::= [0-9]{1,4}";

static void try_all(myna_model *m, const char *grammar, const char *text) {
  const myna__tokenizer *tk;
  ASSERT_OK(myna__model_tokenizer(m, &tk, NULL));
  int64_t n = myna__tokenizer_data(tk)->n_tokens;
  myna_grammar *g = gbnf(grammar);
  myna__grun *r;
  ASSERT_OK(myna__grun_new(&r, g, tk, n, NULL));
  ASSERT_OK(myna__grun_feed(r, text, strlen(text)));
  bool whole = myna_grammar_match(g, text, strlen(text)) == MYNA_MATCH_WHOLE;
  for (int32_t id = 0; id<n; id += n> 10000 ? 37 : 1) {
    char s[2048];
    size_t len = strlen(text);
    memcpy(s, text, len);
    int64_t k = myna__token_bytes(tk, id, false, s + len, 1024);
    bool want =
        myna__token_is_eog(tk, id) ? whole : k > 0 && myna_grammar_match(g, s, len + (size_t)k) != MYNA_MATCH_DEAD;
    if (myna__grun_legal(r, id) != want) fail_msg("token %d behind \"%s\" should be %d", id, text, want);
  }
  myna__grun_free(r);
  myna_grammar_free(g);
}

static void test_masks(void **state) {
  static const char *const texts[] = {"", "{", "{\"a", "{\"a\":1", "{\"a\":[[", "{}"};
  myna_model *m = story();
  for (size_t i = 0; i < MYNA__COUNT(texts); i++) try_all(m, json, texts[i]);
  myna_model_close(m);
  char path[512];
  myna_model_options o = {.header_only = true};
  snprintf(path, sizeof path, "%s/../shared/data/tokenizers/gguf/ggml-vocab-qwen2.gguf", MYNA_ROOT);
  if (myna_model_open(&m, path, &o, NULL) < 0) {
    print_message("no large vocabulary here\n");
    return;
  }
  for (size_t i = 1; i < MYNA__COUNT(texts); i += 2) try_all(m, json, texts[i]);
  myna_model_close(m);
}

static int32_t prompt[64];
static int64_t prompt_of(myna_model *m) { return myna_tokenize(m, "Once upon a time", 16, NULL, prompt, 64, NULL); }

static void test_answers(void **state) {
  myna_model *m = story();
  int64_t n = prompt_of(m);
  myna_grammar *g = gbnf(json);
  myna_request r[6];
  static fx_result alone[6];
  for (int i = 0; i < 6; i++) {
    r[i] = fx_greedy(prompt, n, 5 + 20 * i);
    r[i].no_text = false;
    r[i].sampling.ignore_eos = false;
    r[i].sampling.temperature = i % 2 ? 1 : 0;
    r[i].sampling.seed = (uint64_t)i;
    r[i].grammar = i == 4 ? NULL : g;
    myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 1});
    fx_run(e, &r[i], &alone[i]);
    myna_engine_free(e);
    if (!r[i].grammar) continue;
    if (myna_grammar_match(g, alone[i].text, strlen(alone[i].text)) != MYNA_MATCH_WHOLE)
      fail_msg("finish %d %s: \"%s\"", alone[i].finish, alone[i].err.msg, alone[i].text);
  }
  for (int i = 0; i < 6; i++) r[i].speculation = (myna_speculation){.kind = MYNA_SPECULATION_NGRAM, .always = true};
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 2, .n_ctx = 256, .n_seq = 4});
  fx_run_all(e, r, 6, results);
  for (int i = 0; i < 6; i++) {
    assert_int_equal(results[i].n, alone[i].n);
    assert_memory_equal(results[i].ids, alone[i].ids, (size_t)alone[i].n * sizeof(int32_t));
    assert_string_equal(results[i].text, alone[i].text);
  }
  r[0].leave_open = true;
  r[0].max_tokens = 1;
  fx_run(e, &r[0], &results[0]);
  assert_int_equal(myna_grammar_match(g, results[0].text, strlen(results[0].text)), MYNA_MATCH_PREFIX);
  myna_engine_free(e);
  myna_grammar_free(g);
  myna_model_close(m);
}

/* Free until the trigger, then held; reasoning that is ended by its budget, then held. */
static void test_phases(void **state) {
  myna_model *m = story();
  int64_t n = prompt_of(m);
  myna_grammar *g = gbnf("root ::= \"time\" [ ,.!a-z]* \"<\" [0-9]{2} \">\"");
  int32_t said[64];
  int64_t n_said =
      myna_tokenize(m, " there was a time", 17, &(myna_tokenize_options){.no_special = true}, said, 64, NULL);
  static const char *const triggers[] = {"nothing", "time"};
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 1});
  myna_request r = fx_greedy(prompt, n, 30);
  r.no_text = false;
  r.grammar = g;
  r.triggers = triggers;
  r.n_triggers = 2;
  r.forced = said;
  r.n_forced = n_said;
  fx_run(e, &r, &results[0]);
  const char *at = strstr(results[0].text, "time");
  assert_non_null(at);
  if (myna_grammar_match(g, at, strlen(at)) != MYNA_MATCH_WHOLE) fail_msg("\"%s\"", results[0].text);
  r = fx_greedy(prompt, n, 60);
  r.no_text = false;
  r.grammar = g;
  r.thinking =
      (myna_thinking){.start = "[", .end = "]", .open = true, .limited = true, .budget = 5, .message = " enough"};
  fx_run(e, &r, &results[0]);
  at = strstr(results[0].text, " enough]");
  if (!at || myna_grammar_match(g, at + 8, strlen(at + 8)) != MYNA_MATCH_WHOLE) fail_msg("\"%s\"", results[0].text);
  r.thinking.open = false; /* the model does not think of itself */
  fx_run(e, &r, &results[0]);
  if (myna_grammar_match(g, results[0].text, strlen(results[0].text)) != MYNA_MATCH_WHOLE)
    fail_msg("\"%s\"", results[0].text);
  myna_engine_free(e);
  myna_grammar_free(g);
  myna_model_close(m);
}

/* Tokens that end the free part and go on with what the grammar does not take are not offered; forced ones end the request with a reason. */
static void test_no_way(void **state) {
  myna_model *m = story();
  int64_t n = prompt_of(m);
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 1});
  static const char *const triggers[] = {"a"};
  myna_grammar *g = gbnf("root ::= \"a\" [q7]+ \"!\""), *digits = gbnf("root ::= [0-9]{3}");
  for (int i = 0; i < 4; i++) {
    myna_request r = fx_greedy(prompt, n, 25);
    r.no_text = false;
    r.sampling.temperature = i > 0;
    r.sampling.seed = (uint64_t)i;
    r.grammar = g;
    r.triggers = triggers;
    r.n_triggers = 1;
    fx_run(e, &r, &results[0]);
    const char *at = strchr(results[0].text, 'a');
    if (results[0].finish == MYNA_FINISH_ERROR || (at && myna_grammar_match(g, at, strlen(at)) != MYNA_MATCH_WHOLE))
      fail_msg("finish %d %s: \"%s\"", results[0].finish, results[0].err.msg, results[0].text);
    r.grammar = digits;
    r.triggers = NULL;
    r.n_triggers = 0;
    r.thinking = (myna_thinking){.start = "[", .end = "e", .open = true};
    fx_run(e, &r, &results[0]);
    at = strchr(results[0].text, 'e');
    if (!at || myna_grammar_match(digits, at + 1, strlen(at + 1)) != MYNA_MATCH_WHOLE)
      fail_msg("finish %d %s: \"%s\"", results[0].finish, results[0].err.msg, results[0].text);
    r.thinking = (myna_thinking){.start = "<t>", .end = "e"}; /* spaces and half a tag are neither */
    fx_run(e, &r, &results[0]);
    at = results[0].text;
    if (strstr(at, "<t>")) at = strchr(at, 'e') ? strchr(at, 'e') + 1 : NULL;
    if (at && myna_grammar_match(digits, at, strlen(at)) != MYNA_MATCH_WHOLE)
      fail_msg("finish %d %s: \"%s\"", results[0].finish, results[0].err.msg, results[0].text);
  }
  int32_t said[8];
  myna_request r = fx_greedy(prompt, n, 9);
  r.no_text = false;
  r.grammar = digits;
  r.forced = said;
  r.n_forced = myna_tokenize(m, "no", 2, &(myna_tokenize_options){.no_special = true}, said, 8, NULL);
  fx_run(e, &r, &results[0]);
  assert_int_equal(results[0].finish, MYNA_FINISH_ERROR);
  assert_int_equal(results[0].err.code, MYNA_E_ARG);
  assert_non_null(strstr(results[0].err.msg, "forced"));
  r.n_forced = 0;
  fx_run(e, &r, &results[0]); /* the next one does not know */
  assert_int_equal(myna_grammar_match(digits, results[0].text, strlen(results[0].text)), MYNA_MATCH_WHOLE);
  myna_grammar_free(g);
  myna_grammar_free(digits);
  myna_engine_free(e);
  myna_model_close(m);
}

/* A draw among allowed tokens is a draw from logits in which the others are impossible, be they few or many. */
static void test_allowed(void **state) {
  enum { V = 1000 };
  static float logits[V], masked[V];
  static const int one_of[] = {2, 30, 400};
  static const myna_logit_bias bias[] = {{3, 2}, {500, -1}, {501, 5}, {3, 1}};
  test_rng rng = test_rng_new(3);
  for (int round = 0; round < 60; round++) {
    uint64_t bits[(V + 63) / 64] = {0};
    int64_t n = 0;
    myna_sampling o;
    myna_sampling_default(&o);
    o.temperature = round % 4 ? 1.5f : 0;
    o.seed = (uint64_t)round;
    o.mirostat = round % 5 == 4 ? 2 : 0;
    o.bias = bias;
    o.n_bias = round % 2 ? 4 : 0;
    for (int i = 0; i < V; i++) {
      bool in = test_int(&rng, one_of[round % 3]) == 0 || i == 3;
      logits[i] = 3 * test_normal(&rng);
      masked[i] = in ? logits[i] : -INFINITY;
      if (in) bits[i >> 6] |= (uint64_t)1 << (i & 63);
      n += in;
    }
    myna__sampler *s;
    ASSERT_OK(myna__sampler_new(&s, &o, NULL, V, 64, NULL));
    for (int k = 0; k < 20; k++) {
      int32_t want = myna__sampler_sample(s, masked, NULL);
      assert_int_equal(myna__sampler_sample_allowed(s, logits, bits, n, NULL), want);
      ASSERT_OK(myna__sampler_accept(s, want, true));
    }
    myna__sampler_free(s);
  }
}

/* Where two words are legal, their probabilities are one together; where one is, there is no branch. */
static void test_branches(void **state) {
  myna_model *m = story();
  int64_t n = prompt_of(m), id;
  myna_grammar *g = gbnf("root ::= \"x\" [ab]");
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 1});
  myna_request r = fx_greedy(prompt, n, 9);
  r.sampling.ignore_eos = r.no_text = false;
  r.grammar = g;
  r.branches = true;
  ASSERT_OK(myna_submit(e, &r, &id, NULL));
  myna_event ev = {0};
  int seen = 0;
  while (ev.kind != MYNA_EVENT_DONE) {
    if (myna_next_event(e, -1, &ev) <= 0 || ev.kind != MYNA_EVENT_TOKEN || ev.n_branch == 0) continue;
    double sum = 0;
    for (int i = 0; i < ev.n_branch; i++) sum += exp((double)ev.branch_logprobs[i]);
    assert_true(ev.n_branch >= 2 && sum > 0.999 && sum < 1.001);
    assert_int_equal(ev.branch_ids[0], ev.token);
    seen++;
  }
  assert_true(seen >= 1);
  myna_engine_free(e);
  myna_grammar_free(g);
  myna_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_masks),  cmocka_unit_test(test_answers),
                                     cmocka_unit_test(test_phases), cmocka_unit_test(test_branches),
                                     cmocka_unit_test(test_no_way), cmocka_unit_test(test_allowed)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
