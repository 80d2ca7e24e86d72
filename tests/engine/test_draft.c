/* test_draft.c: a draft model: the same tokens, text and ends as without, whoever drafts. A model that drafts for itself is the sharpest test of what
 * nobody sees in the answer: it must never be wrong, or its pages, positions or random numbers are. */
#include "speculate.h"

enum { R = N_SAMPLINGS };
#ifdef MYNA_SLOW
enum { EACH = 2 }; /* every second of what is alike */
#else
enum { EACH = 1 };
#endif

static fx_result plain[16], guessed[16];

static const myna_speculation eager = {.kind = MYNA_SPECULATION_DRAFT, .n_max = 5, .always = true},
                              wide = {.kind = MYNA_SPECULATION_DRAFT, .n_max = 31, .always = true},
                              usual = {.kind = MYNA_SPECULATION_DRAFT},
                              both = {.kind = MYNA_SPECULATION_DRAFT + MYNA_SPECULATION_NGRAM,
                                      .n_max = 7,
                                      .ngram_min = 1,
                                      .always = true};
static const myna_speculation *const kinds[] = {&eager, &wide, &usual, &both};

/* A target, who drafts for it, and the target's prompt. */
typedef struct pair {
  myna_model *target, *draft;
  prompt p;
} pair;

static pair pair_of(const char *target, const char *draft) {
  return (pair){.target = fx_open(target), .draft = fx_open(draft), .p = prompt_of(target)};
}

static void pair_close(pair *w) {
  free(w->p.t);
  myna_model_close(w->target);
  myna_model_close(w->draft);
}

/* With a draft model or without, otherwise the same. */
static myna_engine *engine_for(const pair *w, bool drafts, myna_engine_options o) {
  o.draft_model = drafts ? w->draft : NULL;
  if (!o.n_threads) o.n_threads = 1;
  if (!o.n_ctx) o.n_ctx = 256;
  if (!o.n_seq) o.n_seq = 2;
  return engine_with(w->target, &o);
}

static myna_request request_of(const pair *w, int sampling, int64_t n) {
  myna_request r = fx_greedy(w->p.t, w->p.n, n);
  sampling_of(&r.sampling, sampling, w->p.t + 1);
  return r;
}

/* Nothing is held by anyone. */
static void all_given_back(myna_engine *e) {
  myna_engine_stats st;
  myna_engine_get_stats(e, &st);
  assert_int_equal(st.pages_used, 0);
  if (e->draft) assert_int_equal(myna__draft_pages_used(e->draft), 0);
}

/* ---- the same with and without ---- */

static const struct {
  const char *target, *draft;
} pairs[] = {{"llama", "llama"},      {"gemma3", "gemma3"},    {"phi3-swa", "phi3-swa"},
             {"mixtral", "mixtral"},  {"qwen3", "llama-tied"}, {"llama-256-k", "llama-256-q4_0"},
             {"qwen3moe", "phi3-swa"}};

static bool same_model(size_t i) { return strcmp(pairs[i].target, pairs[i].draft) == 0; }

static void test_same_alone(void **state) {
  static const int64_t batches[] = {512, 7, 1};
  for (size_t i = 0; i < MYNA__COUNT(pairs); i++) {
    pair w = pair_of(pairs[i].target, pairs[i].draft);
    int64_t drafted = 0, accepted = 0;
    for (int k = 0; k < R; k += EACH) {
      myna_request r = request_of(&w, k, 150);
      myna_engine *e = engine_for(&w, false, (myna_engine_options){.n_seq = 1});
      fx_run(e, &r, &plain[0]);
      myna_engine_free(e);
      for (size_t b = 0; b < MYNA__COUNT(batches); b++) {
        r.speculation = *kinds[((size_t)k + b) % 4];
        e = engine_for(&w, true, (myna_engine_options){.n_threads = 1 + k % 2, .n_seq = 1, .n_batch = batches[b]});
        fx_run(e, &r, &guessed[0]);
        same_result(&guessed[0], &plain[0], pairs[i].target);
        const myna_timings *t = &guessed[0].timings;
        bool by_model_alone = r.speculation.kind == MYNA_SPECULATION_DRAFT;
        if (same_model(i) && by_model_alone) assert_int_equal(t->n_accepted, t->n_drafted);
        if (batches[b] == 1) assert_int_equal(t->n_drafted, 0); /* no room */
        if (same_model(i) && batches[b] > 1) assert_true(t->n_accepted > 20);
        drafted += t->n_drafted;
        accepted += t->n_accepted;
        all_given_back(e);
        myna_engine_free(e);
      }
    }
    print_message("%s by %s: %lld drafted, %lld right\n", pairs[i].target, pairs[i].draft, (long long)drafted,
                  (long long)accepted);
    assert_true(accepted > 300 / EACH / EACH &&
                (same_model(i) || drafted - accepted > 300 / EACH / EACH)); /* both ways were gone */
    pair_close(&w);
  }
}

/* Six at once, all or some of them with drafts: in room for all, in small steps, and in a pool that holds one context. */
static void test_same_crowd(void **state) {
  static const myna_engine_options modes[] = {
      {.n_seq = 8}, {.n_threads = 2, .n_seq = 2, .n_batch = 9}, {.n_seq = 6, .n_batch = 20, .kv_tokens = 256}};
  for (size_t f = 0; f < MYNA__COUNT(pairs); f++) {
    pair w = pair_of(pairs[f].target, pairs[f].draft);
    myna_request r[R];
    myna_engine *e = engine_for(&w, false, (myna_engine_options){.n_seq = 1});
    for (int k = 0; k < R; k++) {
      r[k] = request_of(&w, k, 90 + 20 * k);
      r[k].tokens = w.p.t + k;
      r[k].n_tokens = w.p.n - k;
      fx_run(e, &r[k], &plain[k]);
    }
    myna_engine_free(e);
    for (size_t i = 0; i < MYNA__COUNT(modes); i++)
      for (int some = EACH - 1; some < 2; some++) {
        for (int k = 0; k < R; k++) r[k].speculation = some && k % 2 ? (myna_speculation){0} : *kinds[k % 4];
        e = engine_for(&w, true, modes[i]);
        fx_run_all(e, r, R, guessed);
        for (int k = 0; k < R; k++) {
          const myna_timings *t = &guessed[k].timings;
          same_result(&guessed[k], &plain[k], pairs[f].target);
          if (!r[k].speculation.kind) assert_int_equal(t->n_drafted, 0);
          if (same_model(f) && r[k].speculation.kind == MYNA_SPECULATION_DRAFT)
            assert_int_equal(t->n_accepted, t->n_drafted);
        }
        myna_engine_stats st;
        myna_engine_get_stats(e, &st);
        assert_true(st.n_drafted > 0);
        all_given_back(e);
        myna_engine_free(e);
      }
    pair_close(&w);
  }
}

/* ---- ends ---- */

static void test_limits(void **state) {
  pair w = pair_of("gemma3", "gemma3");
  myna_engine *e = engine_for(&w, false, (myna_engine_options){.n_ctx = 100}),
              *g = engine_for(&w, true, (myna_engine_options){.n_ctx = 100});
  for (int k = 0; k < 2 * R; k++)
    for (int64_t max = 0; max < 24; max += max < 12 ? 1 : 5) { /* 0: until the context is full */
      myna_request r = request_of(&w, k % R, max);
      fx_run(e, &r, &plain[0]);
      r.speculation = k < R ? eager : wide;
      fx_run(g, &r, &guessed[0]);
      same_result(&guessed[0], &plain[0], "limits");
      assert_int_equal(guessed[0].finish, max ? MYNA_FINISH_LENGTH : MYNA_FINISH_CONTEXT);
      /* Never more than can be used. */
      assert_int_equal(guessed[0].timings.n_drafted, guessed[0].timings.n_accepted);
      if (max > 3) assert_true(guessed[0].timings.n_drafted >= max - 2 - (max - 2) / 6);
    }
  myna_engine_free(e);
  myna_engine_free(g);
  pair_close(&w);
}

static void test_context_shift(void **state) {
  static const char *const names[] = {"llama", "phi3-swa"};
  for (size_t f = 0; f < MYNA__COUNT(names); f++) {
    pair w = pair_of(names[f], names[f]);
    for (int k = 0; k < R; k++) {
      myna_engine *e = engine_for(&w, false, (myna_engine_options){.n_ctx = 90}),
                  *g = engine_for(&w, true, (myna_engine_options){.n_ctx = 90});
      myna_request r = request_of(&w, k, 400);
      r.context_shift = true;
      r.n_keep = 5 * k;
      fx_run(e, &r, &plain[0]);
      r.speculation = k % 2 ? wide : eager;
      r.speculation.force_accept = 0.6f; /* wrong drafts leave nothing behind in the index of the draft model's pages */
      r.forced = plain[0].ids;
      r.n_forced = plain[0].n;
      fx_run(g, &r, &guessed[0]);
      same_result(&guessed[0], &plain[0], names[f]);
      assert_true(guessed[0].timings.n_drafted > guessed[0].timings.n_accepted);
      r.speculation.force_accept = 0;
      r.n_forced = 0;
      fx_run(g, &r, &guessed[0]);
      same_result(&guessed[0], &plain[0], names[f]);
      assert_true(guessed[0].timings.n_accepted > 200);
      assert_int_equal(guessed[0].timings.n_drafted, guessed[0].timings.n_accepted);
      myna_engine_free(e);
      myna_engine_free(g);
    }
    pair_close(&w);
  }
}

/* Texts that end at a stop string, wherever it begins, or at an end token; log-probabilities of every token, the very bits. */
static void test_text_and_probs(void **state) {
  pair w = pair_of("llama", "llama");
  myna_engine *e = engine_for(&w, false, (myna_engine_options){0}), *g = engine_for(&w, true, (myna_engine_options){0});
  int64_t stopped = 0, right = 0;
  for (int k = 0; k < R; k++) {
    static char whole[sizeof plain[0].text];
    myna_request r = request_of(&w, k, 60);
    r.no_text = r.sampling.ignore_eos = false;
    fx_run(e, &r, &plain[0]);
    memcpy(whole, plain[0].text, sizeof whole);
    for (size_t at = 1; at + 3 < strlen(whole); at += 3) {
      char stop[4] = {whole[at], whole[at + 1], whole[at + 2]};
      const char *stops[] = {"not this", stop};
      myna_request s = r;
      s.stop = stops;
      s.n_stop = 2;
      fx_run(e, &s, &plain[0]);
      s.speculation = *kinds[at % 4];
      fx_run(g, &s, &guessed[0]);
      same_result(&guessed[0], &plain[0], stop);
      stopped += plain[0].finish == MYNA_FINISH_STRING;
      right += guessed[0].timings.n_accepted;
    }
  }
  print_message("%lld stops, %lld right\n", (long long)stopped, (long long)right);
  assert_true(stopped > 50 && right > 500);
  float want[100][4];
  for (int round = 0; round < 2; round++) {
    myna_request r = request_of(&w, 3, 100);
    r.n_probs = 3;
    if (round) r.speculation = wide;
    int64_t id, n = 0;
    myna_event ev;
    ASSERT_OK(myna_submit(round ? g : e, &r, &id, NULL));
    do {
      assert_int_equal(myna_next_event(round ? g : e, 60000, &ev), 1);
      if (ev.kind != MYNA_EVENT_TOKEN) continue;
      float got[4] = {ev.logprob, ev.top_logprobs[0], ev.top_logprobs[1], ev.top_logprobs[2]};
      if (round) assert_memory_equal(got, want[n], sizeof got);
      memcpy(want[n++], got, sizeof got);
    } while (ev.kind != MYNA_EVENT_DONE);
    if (round) assert_true(ev.timings.n_accepted > 80);
  }
  myna_engine_free(e);
  myna_engine_free(g);
  pair_close(&w);
}

/* An end token is never drafted: nothing comes behind it. */
static void test_end_token(void **state) {
  pair w = pair_of("llama", "llama");
  myna_engine *g = engine_for(&w, true, (myna_engine_options){0});
  myna_logit_bias bias = {myna_token_eos(w.target), 1000};
  myna_request r = request_of(&w, 5, 50);
  r.sampling.ignore_eos = false;
  r.sampling.bias = &bias;
  r.sampling.n_bias = 1;
  int32_t forced[9];
  for (int i = 0; i < 9; i++) forced[i] = w.p.t[i];
  r.forced = forced;
  r.n_forced = 9;
  r.speculation = wide;
  fx_run(g, &r, &guessed[0]);
  assert_int_equal(guessed[0].finish, MYNA_FINISH_STOP);
  assert_int_equal(guessed[0].n, 9);
  assert_int_equal(guessed[0].timings.n_drafted, 0);
  myna_engine_free(g);
  pair_close(&w);
}

static void test_cancel(void **state) {
  pair w = pair_of("llama", "llama");
  myna_request r = request_of(&w, 0, 200);
  myna_engine *e = engine_for(&w, true, (myna_engine_options){0});
  fx_run(e, &r, &plain[0]);
  r.speculation = wide;
  for (int after = 1; after < 120; after += 7) {
    int64_t id, n = 0;
    myna_event ev;
    ASSERT_OK(myna_submit(e, &r, &id, NULL));
    do {
      assert_int_equal(myna_next_event(e, 60000, &ev), 1);
      if (ev.kind != MYNA_EVENT_TOKEN) continue;
      assert_int_equal(ev.token, plain[0].ids[n++]);
      if (n == after) myna_cancel(e, id);
    } while (ev.kind != MYNA_EVENT_DONE);
    assert_true(ev.finish == MYNA_FINISH_CANCELLED || n == 200);
  }
  fx_run(e, &r, &guessed[0]);
  same_result(&guessed[0], &plain[0], "after cancelling");
  all_given_back(e);
  myna_engine_free(e);
  pair_close(&w);
}

/* ---- what is computed once ---- */

static void test_prefix_reuse(void **state) {
  static const char *const names[] = {"llama", "gemma3", "phi3-swa"};
  for (size_t f = 0; f < MYNA__COUNT(names); f++) {
    pair w = pair_of(names[f], names[f]);
    for (int k = 0; k < 12; k++) {
      myna_engine *e = engine_for(&w, false, (myna_engine_options){0}),
                  *g = engine_for(&w, true, (myna_engine_options){0});
      myna_request r = request_of(&w, k % R, 20 + 9 * k);
      fx_run(e, &r, &plain[0]);
      r.speculation = k % 2 ? wide : eager;
      fx_run(g, &r, &guessed[0]);
      same_result(&guessed[0], &plain[0], names[f]);
      int32_t turn[256]; /* the next turn goes on behind the answer, with its last token or another */
      int64_t n = w.p.n + plain[0].n, before = myna__draft_computed(g->draft);
      assert_true(before >= w.p.n + plain[0].n / 2);
      memcpy(turn, w.p.t, (size_t)w.p.n * sizeof *turn);
      memcpy(turn + w.p.n, plain[0].ids, (size_t)plain[0].n * sizeof *turn);
      turn[n - 1] = k % 3 ? turn[n - 1] : turn[n - 2];
      turn[n++] = w.p.t[k];
      r = fx_greedy(turn, n, 40);
      fx_run(e, &r, &plain[0]);
      r.speculation = k % 2 ? eager : wide;
      fx_run(g, &r, &guessed[0]);
      same_result(&guessed[0], &plain[0], "next turn");
      assert_int_equal(guessed[0].timings.n_cached, plain[0].timings.n_cached);
      assert_int_equal(guessed[0].timings.n_drafted, guessed[0].timings.n_accepted);
      /* The draft model computed what is new, the few tokens of the answer that it had not seen, and its drafts. */
      assert_in_range(myna__draft_computed(g->draft) - before, 30, 40 + 40);
      myna_engine_free(e);
      myna_engine_free(g);
    }
    pair_close(&w);
  }
}

/* A long prompt is taken in at most a batch per step, and others go on meanwhile. */
static void test_long_prompt(void **state) {
  pair w = pair_of("llama", "llama");
  int32_t t[230];
  for (int i = 0; i < 230; i++) t[i] = w.p.t[i * 7 % w.p.n];
  myna_engine *e = engine_for(&w, true, (myna_engine_options){.n_batch = 16});
  myna_request r = fx_greedy(t, 230, 26);
  fx_run(e, &r, &plain[0]);
  r.speculation = wide;
  fx_run(e, &r, &guessed[0]);
  same_result(&guessed[0], &plain[0], "long");
  assert_true(guessed[0].timings.n_accepted > 0 && guessed[0].timings.n_accepted <= 26 - 230 / 16);
  assert_int_equal(guessed[0].timings.n_accepted, guessed[0].timings.n_drafted);
  myna_engine_free(e);
  pair_close(&w);
}

/* ---- what it does to others ---- */

/* Two requests in five pages, the first drafting into pages that the second waits for: both get the answers and the work is that
 * without drafts. (It does not show whether anybody was preempted: an engine whose drafts do preempt was seen to pass.) */
static void test_drafts_in_few_pages(void **state) {
  enum { FORCED = 80 };
  static const myna_speculation lookup = {.kind = MYNA_SPECULATION_NGRAM, .n_max = 31, .ngram_min = 1, .always = true};
  pair w = pair_of("llama", "llama");
  int32_t a[110], b[110], forced[FORCED];
  for (int i = 0; i < 110; i++) {
    a[i] = w.p.t[i % 7];
    b[i] = w.p.t[(i * 5 + 3) % w.p.n];
  }
  for (int i = 0; i < FORCED; i++) forced[i] = w.p.t[(i + 110) % 7];
  myna_logit_bias bias = {myna_token_eos(w.target), 1000};
  int64_t n_gen = 0;
  for (int k = 0; k < 3; k++) {
    myna_engine *e = engine_for(&w, true, (myna_engine_options){.kv_tokens = 256});
    myna_request r[2] = {fx_greedy(a, 110, 0), fx_greedy(b, 110, 60)};
    r[0].forced = forced;
    r[0].n_forced = FORCED; /* then it ends */
    r[0].sampling.ignore_eos = false;
    r[0].sampling.bias = &bias;
    r[0].sampling.n_bias = 1;
    if (k) r[0].speculation = k == 1 ? lookup : wide;
    if (k == 2) r[0].speculation.force_accept = 1;
    fx_run_all(e, r, 2, guessed);
    assert_int_equal(guessed[0].finish, MYNA_FINISH_STOP);
    assert_int_equal(guessed[0].n, FORCED);
    assert_int_equal(guessed[1].n, 60);
    if (k) assert_true(guessed[0].timings.n_accepted > 40);
    myna_engine_stats st;
    myna_engine_get_stats(e, &st);
    if (k == 0) n_gen = st.n_gen_tokens;
    assert_int_equal(st.n_gen_tokens, n_gen);
    myna_engine_free(e);
  }
  pair_close(&w);
}

/* Memory whose n-th block of an event's size cancels the request: in the midst of the drafts of one step. */
static struct {
  myna_engine *e;
  int64_t id;
  int events;
} hook;

static void *cancelling(void *user, void *ptr, size_t old_size, size_t new_size) {
  (void)user;
  (void)old_size;
  if (new_size == 0) {
    free(ptr);
    return NULL;
  }
  if (!ptr && hook.e && new_size > sizeof(myna__event_node) && new_size < sizeof(myna__event_node) + 8)
    if (--hook.events == 0) myna_cancel(hook.e, hook.id);
  void *q = NULL;
  if (posix_memalign(&q, 64, new_size) != 0) return NULL;
  if (ptr) {
    memcpy(q, ptr, old_size < new_size ? old_size : new_size);
    free(ptr);
  }
  return q;
}

/* Cancelled while the rows of a draft are looked at: the token that is being told is the last. */
static void test_cancel_between_rows(void **state) {
  myna_set_allocator(&(myna_allocator){cancelling, NULL});
  pair w = pair_of("llama", "llama");
  for (int after = 3; after < 30; after += 4) {
    myna_engine *e = engine_for(&w, true, (myna_engine_options){0});
    myna_request r = request_of(&w, 0, 120);
    r.speculation = wide;
    hook.events = after;
    hook.id = 1; /* the first of an engine */
    hook.e = e;
    fx_run(e, &r, &guessed[0]);
    hook.e = NULL;
    assert_int_equal(guessed[0].finish, MYNA_FINISH_CANCELLED);
    assert_int_equal(guessed[0].n, after);
    assert_int_equal(guessed[0].timings.n_gen, after);
    all_given_back(e);
    myna_engine_free(e);
  }
  pair_close(&w);
  myna_set_allocator(NULL);
}

/* ---- acceptance, forced and learned ---- */

static void test_forced(void **state) {
  enum { LEN = 1200 };
  static int32_t forced[LEN];
  static fx_result out;
  pair w = pair_of("llama-256-k", "llama-tied");
  test_rng rng = test_rng_new(4);
  for (int i = 0; i < LEN; i++) forced[i] = (int32_t)test_int(&rng, 128);
  myna_engine *e = engine_for(&w, true, (myna_engine_options){.n_ctx = 2048, .n_seq = 1});
  myna_request r = fx_greedy(w.p.t, w.p.n, LEN);
  r.forced = forced;
  r.n_forced = LEN;
  static const float chances[] = {0.7f, 0.3f, 1, 0.000001f};
  for (int k = 0; k < 4; k++) {
    r.speculation =
        (myna_speculation){.kind = MYNA_SPECULATION_DRAFT, .n_max = 1, .always = true, .force_accept = chances[k]};
    fx_run(e, &r, &out);
    assert_int_equal(out.n, LEN);
    assert_memory_equal(out.ids, forced, sizeof forced);
    double rate = (double)out.timings.n_accepted / (double)out.timings.n_drafted;
    assert_true(rate > (double)chances[k] - 0.05 && rate < (double)chances[k] + 0.05);
    /* Without `always` the number follows what is right: 3 of 4 pay, one of a million does not. */
    r.speculation.always = false;
    r.speculation.n_max = 0;
    fx_run(e, &r, &out);
    assert_memory_equal(out.ids, forced, sizeof forced);
    print_message("%.1f: %lld drafted, %lld right\n", (double)chances[k], (long long)out.timings.n_drafted,
                  (long long)out.timings.n_accepted);
    if (k == 2) assert_true(out.timings.n_accepted > LEN * 8 / 10);
    if (k == 3) assert_true(out.timings.n_drafted < 12);
    int64_t n = out.timings.n_drafted, right = out.timings.n_accepted;
    if (k == 0) assert_true(right > LEN / 3 && right * 2 > n);
  }
  myna_engine_free(e);
  pair_close(&w);
}

/* A draft model that is wrong at first and right later, and the reverse: it is tried again from time to time, and given up again. */
static void test_adapts(void **state) {
  enum { LEN = 1500 };
  static int32_t forced[LEN];
  static fx_result out;
  pair w = pair_of("llama-256-k", "llama-256-k");
  myna_engine *e = engine_for(&w, true, (myna_engine_options){.n_ctx = 2048, .n_seq = 1});
  test_rng rng = test_rng_new(5);
  myna_request r = fx_greedy(w.p.t, w.p.n, LEN);
  for (int i = 0; i < LEN; i++) forced[i] = (int32_t)test_int(&rng, 128);
  /* The first 500 tokens are random, so that the model's own choice is wrong; then it chooses. */
  r.forced = forced;
  r.n_forced = 500;
  r.speculation = usual;
  fx_run(e, &r, &out);
  int64_t random = out.timings.n_drafted;
  print_message("%lld drafted, %lld right\n", (long long)random, (long long)out.timings.n_accepted);
  assert_true(out.timings.n_accepted > 500);
  assert_true(out.timings.n_drafted - out.timings.n_accepted < 30);
  myna_engine_free(e);
  pair_close(&w);
}

/* Drafts end before what the draft model doubts. */
static void test_p_min(void **state) {
  pair w = pair_of("llama", "llama");
  myna_engine *e = engine_for(&w, true, (myna_engine_options){0});
  myna_request r = request_of(&w, 0, 60);
  r.sampling.n_bias = 0;
  r.speculation = wide;
  fx_run(e, &r, &plain[0]);
  assert_true(plain[0].timings.n_drafted > 40);
  r.speculation.p_min = 1;
  fx_run(e, &r, &guessed[0]);
  assert_int_equal(guessed[0].timings.n_drafted, 0);
  assert_memory_equal(guessed[0].ids, plain[0].ids, 60 * sizeof(int32_t));
  r.speculation.p_min = 0;
  r.speculation.n_max = 4;
  r.speculation.n_min = 4;
  fx_run(e, &r, &guessed[0]);
  assert_true(guessed[0].timings.n_drafted > 30);
  assert_int_equal(guessed[0].timings.n_drafted % 4, 0);
  myna_engine_free(e);
  pair_close(&w);
}

/* ---- errors, memory ---- */

/* A copy of the fixture with one token's text changed. */
static void with_other_token(char path[64], const char *text, char other) {
  char from[512];
  snprintf(from, sizeof from, "%s/tests/fixtures/models/llama.gguf", MYNA_ROOT);
  FILE *f = fopen(from, "rb");
  assert_non_null(f);
  static char bytes[4 << 20];
  size_t n = fread(bytes, 1, sizeof bytes, f), len = strlen(text);
  fclose(f);
  assert_true(n < sizeof bytes);
  for (size_t i = 8; i + len < n; i++) {
    uint64_t size;
    memcpy(&size, bytes + i - 8, 8);
    if (size != len || memcmp(bytes + i, text, len) != 0) continue;
    bytes[i + len - 1] = other;
    test_tmpfile(path, bytes, n);
    return;
  }
  fail_msg("no token %s", text);
}

static void test_vocabularies(void **state) {
  static const struct {
    const char *target, *draft, *says;
  } cases[] = {{"llama", "llama-tied", "llama-tied.gguf cannot draft for "},
               {"llama", "llama-tied", "llama.gguf: its vocabulary has 128 tokens, not 272"},
               {"gemma3", "llama", "gemma3.gguf: token 0 is \"\xC4\x80\", not \"<pad>\""}};
  myna_err err = {0};
  myna_engine *e;
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    pair w = pair_of(cases[i].target, cases[i].draft);
    err = (myna_err){0};
    ASSERT_FAILS(myna_engine_new(&e, w.target, &(myna_engine_options){.n_ctx = 64, .draft_model = w.draft}, &err),
                 MYNA_E_ARG, &err, cases[i].says);
    assert_null(e);
    pair_close(&w);
  }
  char path[64];
  with_other_token(path, "he", '~');
  myna_model *m = fx_open("llama"), *d = fx_open(path);
  err = (myna_err){0};
  ASSERT_FAILS(myna_engine_new(&e, m, &(myna_engine_options){.n_ctx = 64, .draft_model = d}, &err), MYNA_E_ARG, &err,
               "is \"h~\", not \"he\"");
  unlink(path);
  myna_model_close(m);
  myna_model_close(d);
}

static void test_memory_plan(void **state) {
  pair w = pair_of("llama-256-k", "llama-256-q4_0");
  myna_engine_options o = {.n_threads = 1, .n_ctx = 256, .n_seq = 4};
  myna_memory without, lookup, with;
  ASSERT_OK(myna_memory_plan(w.target, &o, &without, NULL));
  assert_int_equal(without.draft, 0);
  o.speculation = MYNA_SPECULATION_NGRAM;
  ASSERT_OK(myna_memory_plan(w.target, &o, &lookup, NULL));
  assert_int_equal(lookup.total - without.total, 4 * myna__spec_bytes(257)); /* only when it is asked for */
  o.speculation = 0;
  o.draft_model = w.draft;
  ASSERT_OK(myna_memory_plan(w.target, &o, &with, NULL));
  assert_true(with.draft > w.draft->file_bytes && with.kv > without.kv);
  assert_int_equal(with.total, without.total + with.draft + with.kv - without.kv);
  /* What the engine takes is not more than the plan says, and a limit holds for both models. */
  int64_t before = myna__mem_in_use();
  myna_engine *e = engine_with(w.target, &o);
  assert_in_range(myna__mem_in_use() - before, with.kv, with.total);
  myna_engine_free(e);
  myna_err err = {0};
  o.mem_limit = with.total - 1;
  ASSERT_OK_ERR(myna_engine_new(&e, w.target, &o, &err), &err); /* with fewer pages */
  myna_request r = request_of(&w, 0, 60);
  r.speculation = (myna_speculation){.kind = MYNA_SPECULATION_NGRAM, .always = true, .ngram_min = 1};
  fx_run(e, &r, &guessed[0]);
  assert_int_equal(guessed[0].timings.n_drafted, 0); /* its index was not planned */
  r.speculation = wide;
  fx_run(e, &r, &guessed[0]);
  assert_true(guessed[0].timings.n_drafted > 0);
  myna_engine_free(e);
  o.mem_limit = with.total - with.kv + 1;
  ASSERT_FAILS(myna_engine_new(&e, w.target, &o, &err), MYNA_E_LIMIT, &err, "is too small");
  pair_close(&w);
}

/* Memory that fails while an engine with a draft model is made: an error, and nothing is left behind. */
static void test_out_of_memory(void **state) {
  for (int n = 1;; n += n < 30 ? 1 : 7) {
    test_failing f;
    test_fail_at(&f, 0);
    pair w = pair_of("llama-tied", "llama-tied");
    f.fail_at = f.count + n;
    myna_err err = {0};
    myna_engine *e = NULL;
    int rc = myna_engine_new(&e, w.target, &(myna_engine_options){.n_threads = 1, .n_ctx = 64, .draft_model = w.draft},
                             &err);
    if (rc < 0) assert_int_equal(err.code, MYNA_E_NOMEM);
    myna_engine_free(e);
    pair_close(&w);
    test_fail_off();
    assert_int_equal(f.live, 0);
    if (!f.failed) break;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_same_alone),
      cmocka_unit_test(test_same_crowd),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_context_shift),
      cmocka_unit_test(test_text_and_probs),
      cmocka_unit_test(test_end_token),
      cmocka_unit_test(test_cancel),
      cmocka_unit_test(test_prefix_reuse),
      cmocka_unit_test(test_long_prompt),
      cmocka_unit_test(test_drafts_in_few_pages),
      cmocka_unit_test(test_cancel_between_rows),
      cmocka_unit_test(test_forced),
      cmocka_unit_test(test_adapts),
      cmocka_unit_test(test_p_min),
      cmocka_unit_test(test_vocabularies),
      cmocka_unit_test(test_memory_plan),
      cmocka_unit_test(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
