/* test_engine.c: the engine as a caller sees it: the same tokens however requests share it, ends, errors, threads. */
#include "fixture.h"
#include <jansson.h>
#include <math.h>
#include <pthread.h>

enum { N = 40 };

static fx_result results[64];

/* A prompt that goes with the model: the fixture's own tokens. */
typedef struct prompt {
  int32_t *t;
  int64_t n;
} prompt;

static prompt prompt_of(const char *name, int k) {
  prompt p;
  p.t = fx_tokens(name, k, &p.n);
  return p;
}

/* Greedy by hand over the plan: the reference of everything below. */
static void by_hand(myna_model *m, const int32_t *t, int64_t n, int n_gen, int32_t *out) {
  static int32_t all[4096];
  fx_lm_options o = {.kv_type = myna__lm_default_kv(m, false), .n_ctx = 512, .n_tok = 512, .n_seq = 1};
  myna__lm *lm = fx_lm(m, &o);
  int64_t v = lm->cfg.n_vocab;
  float *logits = calloc((size_t)(512 * v), sizeof *logits);
  memcpy(all, t, (size_t)n * sizeof *t);
  for (int64_t at = 0, i = 0; i < n_gen; i++, at = n++) {
    fx_step(lm, &(fx_part){.from = at, .to = n, .tokens = all, .out = logits}, 1);
    const float *row = logits + (n - 1) * v;
    int32_t best = -1;
    const myna__tokenizer *tk = NULL;
    myna__model_tokenizer(m, &tk, NULL);
    for (int32_t k = 0; k < v; k++)
      if ((best < 0 || row[k] > row[best]) && !(tk && myna__token_is_eog(tk, k))) best = k;
    all[n] = out[i] = best;
  }
  free(logits);
  fx_lm_free(lm);
}

static void same_ids(const fx_result *r, const int32_t *want, int64_t n, const char *what) {
  if (r->n != n)
    fail_msg("%s: %lld tokens, not %lld (finish %d %s)", what, (long long)r->n, (long long)n, r->finish, r->err.msg);
  for (int64_t i = 0; i < n; i++)
    if (r->ids[i] != want[i]) fail_msg("%s: token %lld is %d, not %d", what, (long long)i, r->ids[i], want[i]);
}

/* ---- the same tokens ---- */

static void test_greedy(void **state) {
  static const char *const names[] = {"llama", "llama-256-k", "gemma3", "mixtral", "qwen3", "phi3-swa"};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    int32_t want[N];
    prompt p = prompt_of(names[i], 0);
    myna_model *m = fx_open(names[i]);
    by_hand(m, p.t, p.n, N, want);
    for (int batch = 0; batch < 3; batch++) {
      myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1 + batch,
                                                           .n_ctx = 256,
                                                           .n_batch = batch == 0   ? 512
                                                                      : batch == 1 ? 7
                                                                                   : 1,
                                                           .n_seq = 1});
      myna_request r = fx_greedy(p.t, p.n, N);
      fx_run(e, &r, results);
      same_ids(results, want, N, names[i]);
      assert_int_equal(results[0].finish, MYNA_FINISH_LENGTH);
      assert_int_equal(results[0].timings.n_prompt, p.n);
      assert_int_equal(results[0].timings.n_gen, N);
      assert_int_equal(results[0].timings.n_cached, 0);
      myna_engine_free(e);
    }
    free(p.t);
    myna_model_close(m);
  }
}

/* More requests than sequences, of all lengths and with all samplers: each as if it were alone. */
static void test_crowd(void **state) {
  enum { R = 20 };
  static const char *const names[] = {"llama", "gemma3", "llama-256-k"};
  static fx_result alone[R];
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    prompt p = prompt_of(names[i], 0);
    myna_model *m = fx_open(names[i]);
    myna_request r[R];
    for (int k = 0; k < R; k++) {
      r[k] = fx_greedy(p.t, 1 + k * 2, 5 + k * 3 % 30);
      r[k].sampling.temperature = k % 3 ? 1 : 0;
      r[k].sampling.seed = (uint64_t)k;
      r[k].sampling.repeat_penalty = k % 4 ? 1 : 1.2f;
      r[k].sampling.mirostat = k % 5 == 4 ? 2 : 0;
      r[k].sampling.dry_multiplier = k % 7 ? 0 : 1;
      r[k].sampling.order = k % 2 ? NULL : "et";
      myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 1});
      fx_run(e, &r[k], &alone[k]);
      myna_engine_free(e);
    }
    static const myna_engine_options modes[] = {{.n_threads = 2, .n_ctx = 256, .n_seq = 3},
                                                {.n_threads = 3, .n_ctx = 256, .n_seq = 16, .n_batch = 17},
                                                {.n_threads = 1, .n_ctx = 256, .n_seq = 7, .kv_tokens = 256}};
    for (size_t k = 0; k < MYNA__COUNT(modes); k++) {
      myna_engine *e = fx_engine(m, &modes[k]);
      fx_run_all(e, r, R, results);
      for (int q = 0; q < R; q++) same_ids(&results[q], alone[q].ids, alone[q].n, names[i]);
      myna_engine_stats st;
      myna_engine_get_stats(e, &st);
      assert_int_equal(st.n_running, 0);
      assert_int_equal(st.n_queued, 0);
      assert_int_equal(st.pages_used, 0);
      myna_engine_free(e);
    }
    free(p.t);
    myna_model_close(m);
  }
}

/* A pool of one context for four long requests: the younger wait or start over, and say the same. */
static void test_preemption(void **state) {
  enum { R = 4, GEN = 150 };
  static int32_t want[R][GEN];
  static const char *const names[] = {"llama", "gemma3"};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    prompt p = prompt_of(names[i], 0);
    myna_model *m = fx_open(names[i]);
    myna_request r[R];
    for (int k = 0; k < R; k++) {
      by_hand(m, p.t + k, p.n - k, GEN, want[k]);
      r[k] = fx_greedy(p.t + k, p.n - k, GEN);
    }
    myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = R, .kv_tokens = 256});
    fx_run_all(e, r, R, results);
    for (int k = 0; k < R; k++) {
      same_ids(&results[k], want[k], GEN, names[i]);
      assert_int_equal(results[k].timings.n_gen, GEN);
      assert_int_equal(results[k].timings.n_cached, 0);
    }
    myna_engine_stats st;
    myna_engine_get_stats(e, &st);
    print_message("%s: %lld steps, %lld prompt tokens, %lld generated\n", names[i], (long long)st.n_steps,
                  (long long)st.n_prompt_tokens, (long long)st.n_gen_tokens);
    assert_true(st.n_steps < R * (GEN + 20)); /* no thrashing */
    myna_engine_free(e);
    free(p.t);
    myna_model_close(m);
  }
}

static void test_prefix_reuse(void **state) {
  static const char *const names[] = {"llama", "gemma3", "phi3-swa"};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    int32_t want[N], other[N], long_prompt[200];
    prompt p = prompt_of(names[i], 0);
    for (int k = 0; k < 200; k++) long_prompt[k] = p.t[k * 3 % p.n];
    myna_model *m = fx_open(names[i]);
    by_hand(m, long_prompt, 200, N, want);
    myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 2, .n_ctx = 512, .n_seq = 4});
    myna_request r = fx_greedy(long_prompt, 200, N);
    fx_run(e, &r, results);
    same_ids(results, want, N, names[i]);
    fx_run(e, &r, results);
    same_ids(results, want, N, "again");
    assert_int_equal(results[0].timings.n_cached, 199);
    int32_t turn[240]; /* the next turn: prompt, answer, and something new */
    memcpy(turn, long_prompt, sizeof long_prompt);
    memcpy(turn + 200, want, (N - 1) * sizeof *want);
    turn[239] = p.t[5];
    by_hand(m, turn, 240, N, other);
    r = fx_greedy(turn, 240, N);
    fx_run(e, &r, results);
    same_ids(results, other, N, "next turn");
    assert_in_range(results[0].timings.n_cached, 238, 239);
    turn[150] = p.t[7] == turn[150] ? p.t[8] : p.t[7];
    by_hand(m, turn, 240, N, other);
    fx_run(e, &r, results);
    same_ids(results, other, N, "changed in the middle");
    if (i == 0) assert_int_equal(results[0].timings.n_cached, 150);
    myna_request same[4] = {fx_greedy(long_prompt, 200, N), fx_greedy(long_prompt, 130, N), fx_greedy(turn, 240, N),
                            fx_greedy(long_prompt, 199, N)};
    fx_run_all(e, same, 4, results); /* sharing pages at the same time */
    same_ids(&results[0], want, N, "together");
    same_ids(&results[2], other, N, "together");
    myna_engine_stats st;
    myna_engine_get_stats(e, &st);
    assert_true(st.tokens_reused > 700);
    myna_engine_free(e);
    free(p.t);
    myna_model_close(m);
  }
}

/* The groups of a model with windows evict differently: what one still has is of no use without the others'. */
static void test_groups(void **state) {
  prompt p = prompt_of("gemma3", 0);
  myna_model *m = fx_open("gemma3");
  int32_t a[240], b[100], want_a[10], want_b[10];
  for (int k = 0; k < 240; k++) a[k] = p.t[k * 3 % p.n];
  for (int k = 0; k < 100; k++) b[k] = p.t[(k * 7 + 5) % p.n];
  by_hand(m, a, 240, 10, want_a);
  by_hand(m, b, 100, 10, want_b);
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 2, .kv_tokens = 256});
  for (int round = 0; round < 6; round++) {
    myna_request ra = fx_greedy(a, 240 - 17 * round, 10), rb = fx_greedy(b, 100, 10);
    if (round) by_hand(m, a, ra.n_tokens, 10, want_a);
    fx_run(e, &ra, results);
    same_ids(results, want_a, 10, "a");
    if (round == 1) assert_in_range(results[0].timings.n_cached, 0, 192); /* its last page is gone */
    fx_run(e, &rb, results);
    same_ids(results, want_b, 10, "b");
  }
  myna_engine_free(e);
  free(p.t);
  myna_model_close(m);
}

/* One seed, one answer: alone, beside six others, on an engine that did other things before. */
static void test_seed(void **state) {
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama");
  myna_request r[7];
  static fx_result alone;
  for (int i = 0; i < 7; i++) {
    r[i] = fx_greedy(p.t + i, p.n - i, 60);
    r[i].sampling.temperature = 1.2f;
    r[i].sampling.seed = i == 3 ? 42 : (uint64_t)(100 + i);
    r[i].sampling.xtc_probability = 0.3f;
  }
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 2, .n_ctx = 256, .n_seq = 8});
  fx_run(e, &r[3], &alone);
  fx_run_all(e, r, 7, results);
  same_ids(&results[3], alone.ids, alone.n, "beside six");
  r[3].sampling.seed = 43;
  fx_run(e, &r[3], results);
  assert_memory_not_equal(results[0].ids, alone.ids, 60 * sizeof(int32_t));
  myna_engine_free(e);
  free(p.t);
  myna_model_close(m);
}

/* ---- ends ---- */

static void test_context(void **state) {
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama");
  int32_t want[200];
  by_hand(m, p.t, p.n, 200, want);
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 64, .n_seq = 2});
  myna_request r = fx_greedy(p.t, p.n, 0);
  fx_run(e, &r, results);
  assert_int_equal(results[0].finish, MYNA_FINISH_CONTEXT);
  same_ids(results, want, 64 - p.n + 1, "full context"); /* the last token needs no room */
  r.max_tokens = -1;
  fx_run(e, &r, results);
  assert_int_equal(results[0].finish, MYNA_FINISH_CONTEXT);
  int32_t full[64];
  for (int i = 0; i < 64; i++) full[i] = p.t[i % p.n];
  myna_request f = fx_greedy(full, 64, 10);
  fx_run(e, &f, results);
  assert_int_equal(results[0].n, 1);
  assert_int_equal(results[0].finish, MYNA_FINISH_CONTEXT);
  /* Shifted: as if the prompt had been what is left then. */
  r.max_tokens = 100;
  r.context_shift = true;
  r.n_keep = 8;
  fx_run(e, &r, results);
  assert_int_equal(results[0].finish, MYNA_FINISH_LENGTH);
  assert_int_equal(results[0].n, 100);
  int32_t left[65], next[40];
  int64_t n = p.n + 64 - p.n + 1, drop = (n - 8) / 2;
  memcpy(left, p.t, 8 * sizeof *left);
  for (int64_t i = 8; i < n - drop; i++) left[i] = i + drop < p.n ? p.t[i + drop] : want[i + drop - p.n];
  by_hand(m, left, n - drop, 28, next);
  for (int i = 0; i < 28; i++) assert_int_equal(results[0].ids[64 - p.n + 1 + i], next[i]);
  myna_engine_free(e);
  free(p.t);
  myna_model_close(m);
}

/* The longest run of the second's tokens without one of the first's, or -1 if the second began too late to be there. */
static int longest_wait(myna_engine *e, const myna_request *first, const myna_request *second) {
  int64_t a, b;
  ASSERT_OK(myna_submit(e, first, &a, NULL));
  ASSERT_OK(myna_submit(e, second, &b, NULL));
  int since = 0, most = 0, early = 0, late = 0;
  myna_event ev;
  for (int done = 0; done < 2;) {
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    done += ev.kind == MYNA_EVENT_DONE;
    if (ev.kind != MYNA_EVENT_TOKEN) continue;
    late += ev.id == b;
    early += ev.id == a && late == 0;
    since = ev.id == a ? 0 : since + 1;
    if (ev.id == b && done == 0) most = MYNA__MAX(most, since);
  }
  return early > 10 ? -1 : most;
}

/* Who decodes goes on while an older request computes its shifted context again, a few tokens a step. */
static void test_decode_first(void **state) {
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama");
  int32_t old[100];
  for (int i = 0; i < 100; i++) old[i] = p.t[i % p.n];
  myna_request r = fx_greedy(old, 100, 60), young = fx_greedy(p.t, 4, 100);
  r.context_shift = true;
  int most = -1;
  for (int i = 0; i < 50 && most < 0; i++) { /* this thread may sleep between the two */
    myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 128, .n_seq = 2, .n_batch = 4});
    most = longest_wait(e, &r, &young);
    myna_engine_free(e);
  }
  assert_in_range(
      most, 65 / 3,
      65); /* 129 / 2 tokens stay, at most three a step beside the young one's; some steps are the young one's alone */
  free(p.t);
  myna_model_close(m);
}

static void test_text_and_stops(void **state) {
  myna_model *m = fx_open("llama");
  myna_err err = {0};
  int32_t ids[256], forced[256];
  const char *prompt_text = "hello", *answer = "one two three. gr\xc3\xbc\xc3\x9f dich!";
  int64_t n = myna_tokenize(m, prompt_text, 5, NULL, ids, 256, &err),
          n_forced =
              myna_tokenize(m, answer, strlen(answer), &(myna_tokenize_options){.no_special = true}, forced, 256, &err);
  assert_true(n > 0 && n_forced > 0);
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 2});
  myna_request r = {.tokens = ids, .n_tokens = n, .max_tokens = n_forced, .forced = forced, .n_forced = n_forced};
  fx_run(e, &r, results);
  assert_string_equal(results[0].text, answer);
  assert_int_equal(results[0].finish, MYNA_FINISH_LENGTH);
  same_ids(results, forced, n_forced, "forced");
  static const struct {
    const char *stop, *want;
  } cases[] = {
      {"three", "one two "}, {"o t", "one tw"}, {"\xc3\x9f", "one two three. gr\xc3\xbc"}, {"o", ""}, {"dich!?", NULL}};
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    const char *stops[] = {"never", cases[i].stop};
    r.stop = stops;
    r.n_stop = 2;
    fx_run(e, &r, results);
    if (strcmp(cases[i].stop, "o t") == 0) { /* "one two three": "o t" begins at "two three" */
      assert_string_equal(results[0].text, "one tw");
      assert_int_equal(results[0].finish, MYNA_FINISH_STRING);
      continue;
    }
    assert_string_equal(results[0].text, cases[i].want ? cases[i].want : answer);
    assert_int_equal(results[0].finish, cases[i].want ? MYNA_FINISH_STRING : MYNA_FINISH_LENGTH);
  }
  /* An end token that is sampled ends the answer and is not told; a forced one goes on. */
  int32_t eos = myna_token_eos(m);
  assert_true(eos >= 0);
  myna_logit_bias bias = {eos, 1000};
  r = (myna_request){.tokens = ids, .n_tokens = n, .max_tokens = 20, .forced = forced, .n_forced = 3};
  myna_sampling_default(&r.sampling);
  r.sampling.bias = &bias;
  r.sampling.n_bias = 1;
  fx_run(e, &r, results);
  assert_int_equal(results[0].finish, MYNA_FINISH_STOP);
  same_ids(results, forced, 3, "until the end token");
  forced[1] = eos;
  fx_run(e, &r, results);
  same_ids(results, forced, 3, "through a forced end token");
  r.sampling.ignore_eos = true;
  fx_run(e, &r, results);
  assert_int_equal(results[0].finish, MYNA_FINISH_LENGTH);
  assert_int_equal(results[0].n, 20);
  myna_engine_free(e);
  myna_model_close(m);
}

/* ---- what events carry ---- */

static void test_probs(void **state) {
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama");
  int64_t v = m->cfg.n_vocab, id;
  float *logits = fx_logits("llama", 0, v);
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .exact = true});
  for (int64_t at = 1; at < p.n; at += 6) {
    myna_request r = fx_greedy(p.t, at, 1);
    myna_event ev;
    int n = at % 2 ? 5 : (int)v; /* more than there are: all */
    r.n_probs = n == 5 ? n : INT32_MAX;
    r.user = &at;
    ASSERT_OK(myna_submit(e, &r, &id, NULL));
    do assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    while (ev.kind != MYNA_EVENT_TOKEN);
    const float *row = logits + (at - 1) * v;
    double sum = 0;
    for (int64_t i = 0; i < v; i++) sum += exp((double)row[i]);
    assert_ptr_equal(ev.user, &at);
    assert_int_equal(ev.id, id);
    assert_int_equal(ev.n_top, n);
    assert_float_equal(ev.logprob, (float)((double)row[ev.token] - log(sum)), 1e-4f);
    for (int i = 0; i < n; i++) {
      assert_float_equal(ev.top_logprobs[i], (float)((double)row[ev.top_ids[i]] - log(sum)), 1e-4f);
      if (i) assert_true(ev.top_logprobs[i] <= ev.top_logprobs[i - 1]);
    }
    do assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    while (ev.kind != MYNA_EVENT_DONE);
  }
  myna_engine_free(e);
  free(logits);
  free(p.t);
  myna_model_close(m);
}

/* Rows come once each, in order, equal to the plan's, also in small batches beside others and with a pool that is too small for all. */
static void test_logits(void **state) {
  enum { LEN = 200, R = 3 };
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama");
  int64_t v = m->cfg.n_vocab, ids[R + 1];
  int32_t t[LEN];
  for (int i = 0; i < LEN; i++) t[i] = p.t[i * 3 % p.n];
  fx_lm_options o = {.kv_type = MYNA_F32, .n_ctx = 256, .n_tok = 256, .n_seq = 1};
  myna__lm *lm = fx_lm(m, &o);
  float *want = calloc((size_t)(LEN * v), sizeof *want);
  fx_step(lm, &(fx_part){.to = LEN, .tokens = t, .out = want}, 1);
  fx_lm_free(lm);
  static const myna_engine_options modes[] = {
      {.n_threads = 2, .n_ctx = 256}, {.n_threads = 1, .n_ctx = 256, .n_batch = 30, .n_seq = 4, .kv_tokens = 300}};
  for (size_t k = 0; k < MYNA__COUNT(modes); k++) {
    myna_engine *e = fx_engine(m, &modes[k]);
    myna_request r = {.tokens = t, .n_tokens = LEN, .want_logits = true, .no_text = true},
                 g = fx_greedy(t, 60, 150); /* grows until the others must go */
    int64_t rows[R] = {0};
    int done = 0;
    ASSERT_OK(myna_submit(e, &g, &ids[R], NULL));
    for (int i = 0; i < R; i++) ASSERT_OK(myna_submit(e, &r, &ids[i], NULL));
    while (done < R + 1) {
      myna_event ev;
      assert_int_equal(myna_next_event(e, 60000, &ev), 1);
      done += ev.kind == MYNA_EVENT_DONE;
      if (ev.kind != MYNA_EVENT_LOGITS) continue;
      int i = 0;
      while (ids[i] != ev.id) i++;
      assert_int_equal(ev.first_row, rows[i]);
      assert_int_equal(ev.n_vocab, v);
      assert_memory_equal(ev.logits, want + rows[i] * v, (size_t)(ev.n_rows * v) * sizeof *want);
      rows[i] += ev.n_rows;
    }
    for (int i = 0; i < R; i++) assert_int_equal(rows[i], LEN);
    myna_engine_free(e);
  }
  free(want);
  free(p.t);
  myna_model_close(m);
}

static void test_progress(void **state) {
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama");
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_batch = 8, .n_seq = 2});
  myna_request r = fx_greedy(p.t, p.n, 2);
  int64_t id, last = 0;
  myna_event ev;
  assert_int_equal(myna_next_event(e, 0, &ev), 0);
  assert_int_equal(myna_next_event(e, 20, &ev), 0);
  ASSERT_OK(myna_submit(e, &r, &id, NULL));
  do {
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    if (ev.kind != MYNA_EVENT_PROGRESS) continue;
    assert_true(ev.n_done > last && ev.n_done < p.n);
    assert_int_equal(ev.n_total, p.n);
    last = ev.n_done;
  } while (ev.kind != MYNA_EVENT_DONE);
  assert_int_equal(last, 32);
  assert_true(ev.timings.prompt_s >= 0 && ev.timings.gen_s >= 0 && ev.timings.queue_s >= 0 &&
              ev.timings.first_token_s > 0);
  myna_engine_free(e);
  free(p.t);
  myna_model_close(m);
}

/* ---- threads, cancelling, leaving ---- */

typedef struct submitter {
  myna_engine *e;
  prompt p;
  int64_t ids[10];
  int index;
} submitter;

static void *submit_main(void *arg) {
  submitter *s = arg;
  for (int i = 0; i < 10; i++) {
    myna_request r = fx_greedy(s->p.t + i, s->p.n - i, 20 + i * 10);
    r.sampling.temperature = 1;
    r.sampling.seed = (uint64_t)(s->index * 100 + i);
    if (myna_submit(s->e, &r, &s->ids[i], NULL) < 0) return s;
    if (i % 3 == 2) myna_cancel(s->e, s->ids[i - 1]);
    myna_engine_stats st;
    myna_engine_get_stats(s->e, &st);
    if (st.n_running > 4) return s;
  }
  return NULL;
}

static void test_threads(void **state) {
  enum { T = 4 };
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama");
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 2, .n_ctx = 256, .n_seq = 4});
  submitter s[T];
  pthread_t th[T];
  int done[1024] = {0}, n_done = 0, cancelled = 0;
  for (int i = 0; i < T; i++) {
    s[i] = (submitter){.e = e, .p = p, .index = i};
    assert_int_equal(pthread_create(&th[i], NULL, submit_main, &s[i]), 0);
  }
  while (n_done < T * 10) {
    myna_event ev;
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    if (ev.kind != MYNA_EVENT_DONE) continue;
    assert_true(ev.id > 0 && ev.id <= T * 10 && !done[ev.id]); /* each ends once */
    done[ev.id] = 1;
    n_done++;
    cancelled += ev.finish == MYNA_FINISH_CANCELLED;
    assert_true(ev.finish == MYNA_FINISH_CANCELLED || ev.finish == MYNA_FINISH_LENGTH);
  }
  for (int i = 0; i < T; i++) {
    void *failed;
    pthread_join(th[i], &failed);
    assert_null(failed);
  }
  assert_true(cancelled <= T * 3);
  assert_int_equal(myna_cancel(e, 1), MYNA_E_NOTFOUND);
  assert_int_equal(myna_cancel(e, 12345), MYNA_E_NOTFOUND);
  myna_engine_free(e);
  free(p.t);
  myna_model_close(m);
}

static void test_cancel(void **state) {
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama");
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 1});
  myna_request r = fx_greedy(p.t, p.n, 0);
  r.context_shift = true; /* for ever */
  int64_t a, b;
  ASSERT_OK(myna_submit(e, &r, &a, NULL));
  ASSERT_OK(myna_submit(e, &r, &b, NULL));
  ASSERT_OK(myna_cancel(e, b)); /* still queued */
  myna_event ev;
  int tokens = 0;
  bool a_done = false, b_done = false;
  while (!a_done || !b_done) {
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    tokens += ev.kind == MYNA_EVENT_TOKEN;
    if (ev.kind == MYNA_EVENT_TOKEN && tokens == 500) ASSERT_OK(myna_cancel(e, a));
    if (ev.kind != MYNA_EVENT_DONE) continue;
    assert_int_equal(ev.finish, MYNA_FINISH_CANCELLED);
    if (ev.id == a)
      a_done = true;
    else
      b_done = true;
  }
  myna_engine_free(e);
  /* Freed while it works, with events that nobody took. */
  for (int i = 0; i < 10; i++) {
    e = fx_engine(m, &(myna_engine_options){.n_threads = 2, .n_ctx = 256, .n_seq = 2});
    myna_request l = {.tokens = p.t, .n_tokens = p.n, .want_logits = true, .no_text = true};
    for (int k = 0; k < i; k++) {
      ASSERT_OK(myna_submit(e, k % 2 ? &l : &r, &a, NULL));
      if (k == 3) myna_next_event(e, 5, &ev);
    }
    myna_engine_free(e);
  }
  free(p.t);
  myna_model_close(m);
}

/* ---- errors ---- */

static void test_errors(void **state) {
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama"), *plain = fx_open("llama-tied");
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 64, .n_seq = 2});
  int64_t id, v = m->cfg.n_vocab;
  int32_t bad[3] = {1, (int32_t)v, -1}, many[65] = {0};
  const char *const empty[] = {""};
#define REFUSED(code, part, change)                                   \
  do {                                                                \
    myna_err err_ = {0};                                              \
    myna_request r_ = {.tokens = p.t, .n_tokens = p.n};               \
    change;                                                           \
    ASSERT_FAILS(myna_submit(e, &r_, &id, &err_), code, &err_, part); \
  } while (0)
  REFUSED(MYNA_E_ARG, "empty", r_.n_tokens = 0);
  REFUSED(MYNA_E_ARG, "empty", r_.tokens = NULL);
  REFUSED(MYNA_E_ARG, "prompt token 1", (r_.tokens = bad, r_.n_tokens = 2));
  REFUSED(MYNA_E_ARG, "prompt token 0 is -1", (r_.tokens = bad + 2, r_.n_tokens = 1));
  REFUSED(MYNA_E_LIMIT, "65 tokens, the context holds 64", (r_.tokens = many, r_.n_tokens = 65));
  REFUSED(MYNA_E_ARG, "forced token 1", (r_.forced = bad, r_.n_forced = 2));
  REFUSED(MYNA_E_ARG, "n_forced is 2", r_.n_forced = 2);
  REFUSED(MYNA_E_ARG, "n_forced is -1", r_.n_forced = -1);
  REFUSED(MYNA_E_ARG, "n_probs is -1", r_.n_probs = -1);
  REFUSED(MYNA_E_ARG, "n_keep is 64", r_.n_keep = 64);
  REFUSED(MYNA_E_ARG, "n_keep is -1", r_.n_keep = -1);
  REFUSED(MYNA_E_ARG, "max_tokens is -2", r_.max_tokens = -2);
  REFUSED(MYNA_E_ARG, "n_stop is 1", r_.n_stop = 1);
  REFUSED(MYNA_E_ARG, "stop string 0", (r_.stop = empty, r_.n_stop = 1));
  REFUSED(MYNA_E_ARG, "top_p is 2", (r_.sampling = (myna_sampling){.set = true, .repeat_penalty = 1, .top_p = 2}));
  myna_engine_free(e);
  e = fx_engine(plain, &(myna_engine_options){.n_threads = 1, .n_ctx = 64, .n_seq = 2});
  free(p.t);
  p = prompt_of("llama-tied", 0);
  REFUSED(MYNA_E_NOTFOUND, "no tokenizer", r_.max_tokens = 1);
  myna_request r = fx_greedy(p.t, 3, 5);
  fx_run(e, &r, results);
  assert_int_equal(results[0].n, 5);
  myna_engine_free(e);
  myna_err err = {0};
  ASSERT_FAILS(myna_engine_new(&e, m, &(myna_engine_options){.n_ctx = -1}, &err), MYNA_E_ARG, &err, "n_ctx is -1");
  err = (myna_err){0};
  ASSERT_FAILS(myna_engine_new(&e, m, &(myna_engine_options){.n_seq = -3}, &err), MYNA_E_ARG, &err, "n_seq is -3");
  err = (myna_err){0};
  ASSERT_FAILS(myna_engine_new(&e, m, &(myna_engine_options){.n_batch = -3}, &err), MYNA_E_ARG, &err, "n_batch is -3");
  err = (myna_err){0};
  ASSERT_FAILS(myna_engine_new(&e, m, &(myna_engine_options){.n_ctx = 512, .kv_tokens = 64}, &err), MYNA_E_ARG, &err,
               "kv_tokens 64");
  err = (myna_err){0};
  ASSERT_FAILS(myna_engine_new(&e, m, &(myna_engine_options){.kv_type = MYNA_Q4_K, .kv_type_set = true}, &err),
               MYNA_E_UNSUPPORTED, &err, "Q4_K");
  assert_null(e);
  free(p.t);
  myna_model_close(m);
  myna_model_close(plain);
}

/* Memory that fails anywhere while a model is opened, or while a request is submitted and runs: an error or a result, never a crash or a leak. */
static void test_out_of_memory(void **state) {
  prompt p = prompt_of("llama-tied", 1);
  char path[512];
  test_path(path, "tests/fixtures/models/llama-tied.gguf");
  for (int n = 1;; n++) {
    test_failing f;
    test_fail_at(&f, n);
    myna_model *m = NULL;
    int rc = myna_model_open(&m, path, NULL, NULL);
    myna_model_close(m);
    test_fail_off();
    assert_int_equal(rc, f.failed ? MYNA_E_NOMEM : 0);
    assert_int_equal(f.live, 0);
    if (!f.failed) break;
  }
  for (int n = 1;; n++) {
    test_failing f;
    test_fail_at(&f, 0);
    myna_model *m = fx_open("llama-tied");
    myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 64, .n_seq = 1, .n_batch = 8});
    f.fail_at = f.count + n;
    int64_t id;
    myna_err err = {0};
    myna_request r = fx_greedy(p.t, p.n, 3);
    myna_event ev = {0};
    bool submitted = myna_submit(e, &r, &id, &err) == 0;
    if (!submitted) assert_int_equal(err.code, MYNA_E_NOMEM);
    int64_t n_gen = 0;
    while (submitted && ev.kind != MYNA_EVENT_DONE) {
      assert_int_equal(myna_next_event(e, 60000, &ev), 1);
      n_gen += ev.kind == MYNA_EVENT_TOKEN;
    }
    if (submitted && ev.finish == MYNA_FINISH_ERROR) assert_int_equal(ev.err.code, MYNA_E_NOMEM);
    if (submitted && ev.finish != MYNA_FINISH_ERROR) assert_int_equal(n_gen, 3); /* else no token is lost */
    myna_engine_free(e);
    myna_model_close(m);
    test_fail_off();
    assert_int_equal(f.live, 0);
    if (!f.failed) break;
  }
  free(p.t);
}

/* ---- memory ---- */

static void test_memory(void **state) {
  myna_model *m = fx_open("llama");
  myna_memory a, b;
  myna_err err = {0};
  myna_engine_options o = {.n_threads = 1, .n_ctx = 1024, .n_seq = 4};
  ASSERT_OK_ERR(myna_memory_plan(m, &o, &a, &err), &err);
  myna_model_info info;
  myna_model_get_info(m, &info);
  assert_int_equal(a.weights, info.file_bytes);
  assert_int_equal(a.total, a.weights + a.kv + a.compute + a.tokenizer + a.other);
  /* 2 planes of F32 for every position, head and layer; 4 contexts and a spare page. */
  int64_t position = info.n_layer * info.n_head_kv * (m->cfg.dim_k + m->cfg.dim_v) * 4;
  assert_int_equal(a.kv, (4 * 1024 + 64) * position);
  myna_token_eos(m); /* the tokenizer is the model's and made on first use */
  int64_t before = myna__mem_in_use();
  myna_engine *e = fx_engine(m, &o);
  int64_t taken = myna__mem_in_use() - before;
  myna_engine_stats st;
  myna_engine_get_stats(e, &st);
  assert_memory_equal(&st.memory, &a, sizeof a);
  assert_int_equal(st.pages_total, 65);
  if (taken > a.total - a.weights)
    fail_msg("the engine took %lld bytes, %lld were planned", (long long)taken, (long long)(a.total - a.weights));
  myna_engine_free(e);
  assert_int_equal(myna__mem_in_use(), before);
  /* A limit shortens the pool, down to one context; below that it is an error that says where the bytes go. */
  o.mem_limit = a.total - 2 * a.kv / 4;
  ASSERT_OK_ERR(myna_memory_plan(m, &o, &b, &err), &err);
  assert_true(b.kv >= a.kv / 4 && b.kv < a.kv && b.total <= o.mem_limit);
  o.mem_limit = a.total - a.kv + (1024 + 64) * position - 1;
  ASSERT_FAILS(myna_memory_plan(m, &o, &b, &err), MYNA_E_LIMIT, &err, "weights");
  o.mem_weights_cached = true;
  err = (myna_err){0};
  ASSERT_OK_ERR(myna_memory_plan(m, &o, &b, &err), &err);
  assert_true(b.total <= o.mem_limit);
  o = (myna_engine_options){.n_threads = 1, .n_ctx = 1024, .n_seq = 4, .kv_tokens = 2048};
  ASSERT_OK_ERR(myna_memory_plan(m, &o, &b, &err), &err);
  assert_int_equal(b.kv, (2048 + 64) * position);
  o = (myna_engine_options){.n_threads = 1, .n_ctx = 1024, .n_seq = 4, .kv_type = MYNA_BF16, .kv_type_set = true};
  ASSERT_OK_ERR(myna_memory_plan(m, &o, &b, &err), &err);
  assert_int_equal(b.kv, a.kv / 2);
  ASSERT_OK_ERR(myna_memory_plan(m, NULL, &b, &err), &err);
  myna_model_close(m);
}

/* ---- sessions ---- */

static bool stop_after_five(void *user, const myna_event *ev) {
  return ev->kind != MYNA_EVENT_TOKEN || ++*(int *)user < 5;
}

static void test_session(void **state) {
  prompt p = prompt_of("llama", 0);
  myna_model *m = fx_open("llama");
  myna_session *s = NULL;
  myna_err err = {0};
  myna_timings t;
  myna_finish why;
  int seen = 0;
  ASSERT_OK_ERR(myna_session_new(&s, m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256}, &err), &err);
  myna_request r = fx_greedy(p.t, p.n, 50);
  ASSERT_OK_ERR(myna_session_run(s, &r, NULL, NULL, &t, &why, &err), &err);
  assert_int_equal(why, MYNA_FINISH_LENGTH);
  assert_int_equal(t.n_gen, 50);
  r.max_tokens = 0;
  r.context_shift = true;
  ASSERT_OK_ERR(myna_session_run(s, &r, stop_after_five, &seen, &t, &why, &err), &err);
  assert_int_equal(why, MYNA_FINISH_CANCELLED);
  assert_int_equal(t.n_cached, p.n - 1);
  r.n_tokens = 0;
  ASSERT_FAILS(myna_session_run(s, &r, NULL, NULL, &t, &why, &err), MYNA_E_ARG, &err, "empty");
  myna_session_free(s);
  free(p.t);
  myna_model_close(m);
}

/* ---- a real small model ---- */

static void test_stories(void **state) {
  char path[512], golden[512];
  snprintf(path, sizeof path, "%s/../shared/data/models/stories260K/stories260K.gguf", MYNA_ROOT);
  snprintf(golden, sizeof golden, "%s/../shared/data/models/stories260K/golden/greedy-empty.json", MYNA_ROOT);
  json_t *g = json_load_file(golden, 0, NULL);
  if (!g || access(path, R_OK)) {
    print_message("skipped: %s is absent\n", path);
    json_decref(g);
    skip();
  }
  json_t *ids = json_object_get(g, "ids");
  int64_t n_prompt = json_integer_value(json_object_get(g, "n_prompt")), n = (int64_t)json_array_size(ids);
  int32_t want[1024];
  assert_true(n <= 1024);
  for (int64_t i = 0; i < n; i++) want[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
  json_decref(g);
  myna_model *m = fx_open(path);
  for (int mode = 0; mode < 3; mode++) {
    myna_engine *e =
        fx_engine(m, &(myna_engine_options){.n_threads = 1 + mode, .n_ctx = 512, .n_seq = 4, .exact = mode == 1});
    myna_request r[4];
    for (int i = 0; i < 4; i++) r[i] = fx_greedy(want, n_prompt + 37 * i, 0);
    fx_run_all(e, r, 4, results);
    for (int i = 0; i < 4; i++) {
      assert_int_equal(results[i].finish, MYNA_FINISH_CONTEXT);
      assert_true(results[i].n >= n - r[i].n_tokens);
      results[i].n = n - r[i].n_tokens;
      same_ids(&results[i], want + r[i].n_tokens, n - r[i].n_tokens, "golden");
    }
    myna_engine_free(e);
  }
  print_message("%lld golden tokens\n", (long long)n);
  myna_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_greedy),        cmocka_unit_test(test_crowd),        cmocka_unit_test(test_preemption),
      cmocka_unit_test(test_prefix_reuse),  cmocka_unit_test(test_groups),       cmocka_unit_test(test_seed),
      cmocka_unit_test(test_context),       cmocka_unit_test(test_decode_first), cmocka_unit_test(test_text_and_stops),
      cmocka_unit_test(test_probs),         cmocka_unit_test(test_logits),       cmocka_unit_test(test_progress),
      cmocka_unit_test(test_threads),       cmocka_unit_test(test_cancel),       cmocka_unit_test(test_errors),
      cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_memory),       cmocka_unit_test(test_session),
      cmocka_unit_test(test_stories),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
