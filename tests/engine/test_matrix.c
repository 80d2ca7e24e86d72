/* test_matrix.c: everything composes: every pair of features of a request, of the engine and of the model gives the tokens that the request gives alone,
 * without any of those that may not change them. */
#include "engine/job.h"
#include "fixture.h"

/* What changes which tokens are right: model, types of the cache, sampling, grammar. Its references are computed without the others. */
enum feature {
  F_WINDOW, /* a family with sliding windows */
  F_F16,    /* types of the cache, else by the weights: one of these */
  F_Q8,
  F_Q4,
  F_SEED,    /* sampled, not greedy */
  F_GRAMMAR, /* half of the characters are not allowed */
  /* The rest changes no token. */
  F_LOGPROBS,
  F_N,       /* three of one prompt with seeds of their own */
  F_NGRAM,   /* drafts, always */
  F_PREFIX,  /* the prompt, and longer ones, were computed before */
  F_BATCH,   /* seven others beside it */
  F_SMALL,   /* few tokens a step */
  F_CROWDED, /* the pool holds hardly more than one context */
  F_THREADS, /* three */
  F_CLIENTS, /* each of another client */
  F_TEXT,    /* text and stop strings that never come */
  N_FEATURES
};
static const char *const names[N_FEATURES] = {"window",   "f16",     "q8_0",    "q4_0",   "seed",  "grammar",
                                              "logprobs", "n",       "ngram",   "prefix", "batch", "small",
                                              "crowded",  "threads", "clients", "text"};
enum { N_TOKENS = F_GRAMMAR + 1, KINDS = 1 << N_TOKENS }; /* those that change tokens */
static const struct {
  enum feature f;
  myna_dtype type;
} types[] = {{F_F16, MYNA_F16}, {F_Q8, MYNA_Q8_0}, {F_Q4, MYNA_Q4_0}};

enum { PROMPT = 150, ANSWER = 40, CTX = 256, N_ALL = 10 };
static fx_result want[KINDS][3], results[N_ALL];
static bool known[KINDS];
static myna_grammar *grammar;
static int64_t drafted; /* in all, so that the feature is really there */
static int32_t prompt[PROMPT], others[7][PROMPT];

static bool has(unsigned set, enum feature f) { return set >> f & 1; }

static void make_prompts(const myna_model *m) {
  int64_t v = m->cfg.n_vocab;
  for (int i = 0; i < PROMPT; i++)
    prompt[i] = (int32_t)((5 + i % 37 * 3) % v); /* repeats itself: something to look up */
  for (int k = 0; k < 7; k++) {
    memcpy(others[k], prompt, sizeof prompt);
    for (int i = 20 * k; i < PROMPT; i++) others[k][i] = (int32_t)((11 + i * (k + 2)) % v);
  }
}

static myna_request request(const myna_model *m, unsigned set, int k) {
  static const char *const stops[] = {"\x01never\x01"};
  myna_request r = fx_greedy(prompt, PROMPT, ANSWER);
  (void)m;
  if (has(set, F_SEED)) {
    r.sampling.temperature = 1.1f;
    r.sampling.repeat_penalty = 1.1f;
    r.sampling.dry_multiplier = 0.5f;
  }
  r.sampling.seed = (uint64_t)(17 + k);
  if (has(set, F_GRAMMAR)) r.grammar = grammar;
  if (has(set, F_LOGPROBS)) r.n_probs = 5;
  if (has(set, F_NGRAM)) r.speculation = (myna_speculation){.kind = MYNA_SPECULATION_NGRAM, .always = true};
  if (has(set, F_TEXT)) r.no_text = false, r.stop = stops, r.n_stop = 1;
  return r;
}

static myna_engine *engine(myna_model *m, unsigned set) {
  myna_engine_options o = {.n_threads = has(set, F_THREADS) ? 3 : 1, .n_ctx = CTX, .n_seq = 8};
  for (size_t i = 0; i < MYNA__COUNT(types); i++)
    if (has(set, types[i].f)) o.kv_type = types[i].type, o.kv_type_set = true;
  if (has(set, F_SMALL)) o.n_batch = 11;
  if (has(set, F_CROWDED)) o.kv_tokens = CTX + 64;
  return fx_engine(m, &o);
}

static void reference(myna_model *m, unsigned set, int n) {
  unsigned of = set & (KINDS - 1);
  if (known[of]) return;
  for (int k = 0; k < n; k++) { /* an engine each: nothing is shared */
    myna_engine *e = engine(m, of);
    myna_request r = request(m, of, k);
    r.no_prefix = true;
    fx_run(e, &r, &want[of][k]);
    assert_int_equal(want[of][k].n, ANSWER);
    myna_engine_free(e);
  }
  known[of] = true;
}

static void run(myna_model *m, unsigned set) {
  static const char *const clients[] = {"a", "b", "c"};
  myna_request r[N_ALL];
  int n = 0, n_own = has(set, F_N) ? 3 : 1;
  myna_engine *e = engine(m, set);
  if (has(set, F_PREFIX))
    for (int k = 0; k < 2; k++) {
      myna_request before = fx_greedy(k ? prompt : others[3], PROMPT - 30 * k, 20);
      fx_run(e, &before, results);
    }
  for (int k = 0; k < n_own; k++) r[n++] = request(m, set, k);
  for (int k = 0; has(set, F_BATCH) && k < 7; k++) {
    r[n] = request(m, set, k);
    r[n].tokens = others[k];
    r[n++].n_tokens = PROMPT - 9 * k;
  }
  for (int k = 0; has(set, F_CLIENTS) && k < n; k++) r[k].client = clients[k % 3];
  fx_run_all(e, r, n, results);
  for (int k = 0; k < n_own; k++) {
    const fx_result *w = &want[set & (KINDS - 1)][k];
    if (results[k].n == w->n && memcmp(results[k].ids, w->ids, sizeof(int32_t) * ANSWER) == 0) continue;
    char what[128] = "";
    for (int f = 0; f < N_FEATURES; f++)
      if (has(set, (enum feature)f)) snprintf(what + strlen(what), sizeof what - strlen(what), " %s", names[f]);
    fail_msg("choice %d of%s: not the tokens that it gives alone (%lld, finish %d %s)", k, what,
             (long long)results[k].n, results[k].finish, results[k].err.msg);
  }
  if (has(set, F_PREFIX) && !has(set, F_CROWDED)) assert_true(results[0].timings.n_cached > 0);
  for (int k = 0; k < n; k++) drafted += results[k].timings.n_drafted;
  myna_engine_free(e);
}

/* The cache has one type. */
static bool possible(unsigned set) { return has(set, F_F16) + has(set, F_Q8) + has(set, F_Q4) <= 1; }

static void matrix(const char *model, bool window) {
  myna_model *m = fx_open(model);
  int n = 0;
  static const char gbnf[] = "root ::= [^aeioutnsr]*";
  myna_err err = {0};
  ASSERT_OK_ERR(myna_grammar_from_gbnf(&grammar, gbnf, strlen(gbnf), NULL, &err), &err);
  make_prompts(m);
  drafted = 0;
  for (unsigned a = 0; a < N_FEATURES; a++)
    for (unsigned b = a; b < N_FEATURES; b++) {
      unsigned set = 1u << a | 1u << b;
      if ((has(set, F_WINDOW) && !window) || !possible(set)) continue;
      if (window) set |= 1u << F_WINDOW; /* with a third one then */
      reference(m, set, 3);
      run(m, set);
      n++;
    }
  for (int i = 0; i < 20; i++) { /* and many at once */
    unsigned set = (unsigned)((i * 2654435761u >> 7) & ((1u << N_FEATURES) - 1));
    set = window ? set | 1u << F_WINDOW : set & ~(1u << F_WINDOW);
    if (!possible(set)) set &= ~(1u << F_Q8 | 1u << F_Q4);
    reference(m, set, 3);
    run(m, set);
    n++;
  }
  print_message("%s: %d sets of features, %lld tokens drafted\n", model, n, (long long)drafted);
  assert_true(drafted > 100);
  if (known[1u << F_GRAMMAR]) /* it is really there */
    assert_memory_not_equal(want[1u << F_GRAMMAR][0].ids, want[0][0].ids, ANSWER * sizeof(int32_t));
  myna_grammar_free(grammar);
  myna_model_close(m);
}

static void test_full(void **state) {
  (void)state;
  matrix("llama", false);
}

static void test_window(void **state) {
  (void)state;
  matrix("gemma3", true);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_full), cmocka_unit_test(test_window)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
