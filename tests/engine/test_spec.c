/* test_spec.c: speculation: the index against a scan of the whole text, when a draft pays, and requests with and without it: the same tokens, text
 * and ends, whatever runs beside them. */
#include "speculate.h"

enum { N = 60, R = N_SAMPLINGS };
#ifdef MYNA_SLOW
enum { EACH = 2 }; /* every second of what is alike */
#else
enum { EACH = 1 };
#endif

static fx_result plain[16], guessed[16];

/* Every occurrence is followed, so that most drafts are wrong; a draft that pays; the defaults. */
static const myna_speculation eager = {.kind = MYNA_SPECULATION_NGRAM, .n_max = 5, .ngram_min = 1, .always = true},
                              wide = {.kind = MYNA_SPECULATION_NGRAM, .n_max = 31, .ngram_min = 1, .always = true},
                              usual = {.kind = MYNA_SPECULATION_NGRAM};

/* A step of so many rows, before anything was measured: what nothing but the shape says. */
static const myna__costs shape = {.fixed = true};
static myna__costs with_experts;
static myna__spec_step step_of(int64_t rows, double fresh) {
  with_experts = (myna__costs){.fixed = true, .fresh = fresh};
  return (myna__spec_step){.costs = fresh > 0 ? &with_experts : &shape, .rows = rows, .useful = (double)rows};
}

/* ---- the index ---- */

/* What spec.c says of a match, by looking everywhere: of the latest 32 places where the last 4 tokens (or `low` where these are more or nothing is
 * found) stand, those with the longest equal past, of them the token that follows most often, and of those the latest place. */
static int64_t scan(const int32_t *t, int64_t n, int low, int *len) {
  *len = 0;
  for (int k = 0; k < 2; k++) {
    int size = k ? low : MYNA__MAX(4, low), places = 0, same = 0;
    int64_t best[32];
    for (int64_t end = n - 1; end >= size && places < 32; end--) {
      if (memcmp(t + end - size, t + n - size, (size_t)size * sizeof *t) != 0) continue;
      int l = 0;
      while (l < 32 && l < end && t[end - 1 - l] == t[n - 1 - l]) l++;
      places++;
      if (l > *len) *len = l, same = 0;
      if (l == *len) best[same++] = end;
    }
    int64_t at = 0;
    for (int i = 0, most = 0; i < same; i++) {
      int votes = 0;
      for (int q = 0; q < same; q++) votes += t[best[q]] == t[best[i]];
      if (votes > most) most = votes, at = best[i];
    }
    if (at) return at;
  }
  return 0;
}

static void same_match(const myna__spec *p, const int32_t *t, int64_t n, int low) {
  int len, want_len;
  int64_t at = myna__spec_match(p, &len), want = scan(t, n, low, &want_len);
  if (at != want || len != want_len)
    fail_msg("of %lld tokens (%d): %lld of length %d, not %lld of %d", (long long)n, low, (long long)at, len,
             (long long)want, want_len);
}

static void test_index(void **state) {
  enum { LEN = 500 };
  test_rng r = test_rng_new(1);
  int32_t t[LEN];
  for (int k = 0; k < 60; k++) {
    int low = 1 + (int)test_int(&r, 8);
    int64_t n = 1 + test_int(&r, LEN), vocab = 1 + test_int(&r, k % 2 ? 4 : 40),
            period = k % 3 ? LEN : 1 + test_int(&r, 20);
    for (int64_t i = 0; i < n; i++) t[i] = i < period ? (int32_t)test_int(&r, vocab) : t[i - period];
    myna_speculation s = {.kind = MYNA_SPECULATION_NGRAM, .ngram_min = low, .n_max = 31, .always = true};
    myna__spec *p = myna__spec_new(&s, n);
    for (int round = 0; round < 2; round++) {
      for (int64_t i = 0; i < n;) {
        int64_t more = 1 + (k % 4 == 0 ? test_int(&r, 50) : 0);
        i += MYNA__MIN(more, n - i);
        myna__spec_add(p, t, i, false);
        same_match(p, t, i, low);
        int len;
        int64_t from = scan(t, i, low, &len), room = 1 + test_int(&r, 40);
        int32_t out[MYNA__SPEC_MAX], draft[LEN + 31];
        myna__spec_step step = step_of(1, 0);
        int drafted = myna__spec_draft(p, t, room, &step, out);
        assert_int_equal(drafted, from ? MYNA__MIN(room, 31) : 0);
        assert_int_equal(step.rows, 1 + drafted);
        memcpy(draft, t, (size_t)i * sizeof *t);
        for (int q = 0; q < drafted; q++) {
          draft[i + q] = draft[from + q];
          assert_int_equal(out[q], draft[i + q]);
        }
      }
      myna__spec_reset(p);
    }
    myna__spec_free(p);
  }
}

/* A copy of a text with one token changed: behind it the copy is followed at once, though nothing that long was seen. */
static void test_changed_token(void **state) {
  enum { LEN = 40 };
  int32_t t[2 * LEN], out[MYNA__SPEC_MAX];
  int len;
  for (int i = 0; i < 2 * LEN; i++) t[i] = 100 + i % LEN;
  for (int i = 20; i < 30; i++) t[LEN + i] = 500 + i;
  myna_speculation s = usual;
  s.always = true;
  myna__spec *p = myna__spec_new(&s, 2 * LEN);
  myna__spec_add(p, t, LEN + 10, false);
  myna__spec_add(p, t, LEN + 20, true);
  assert_int_equal(myna__spec_match(p, &len), 20);
  for (int i = 21; i < 30; i++) { /* four tokens are tried, then it is given up */
    myna__spec_add(p, t, LEN + i, true);
    assert_int_equal(myna__spec_match(p, &len), i < 25 ? i : 0);
    assert_int_equal(len, 0);
    myna__spec_step step = step_of(1, 0);
    assert_int_equal(myna__spec_draft(p, t, 5, &step, out), i < 25 ? 5 : 0);
    if (i < 25) assert_memory_equal(out, t + i, 5 * sizeof *out);
  }
  myna__spec_free(p);
}

/* Tokens that all are different, and tokens that all are the same, fill the tables in other ways. */
static void test_index_full(void **state) {
  enum { LEN = 20000 };
  static int32_t t[LEN];
  for (int k = 0; k < 2; k++) {
    for (int i = 0; i < LEN; i++) t[i] = k ? 7 : i;
    myna__spec *p = myna__spec_new(&usual, LEN);
    int len;
    myna__spec_add(p, t, LEN, false);
    assert_int_equal(myna__spec_match(p, &len), k ? LEN - 1 : 0);
    t[LEN - 1] = t[5000];
    t[LEN - 2] = t[4999];
    t[LEN - 3] = 8; /* what it was taken in as stays; here it is new */
    myna__spec_reset(p);
    myna__spec_add(p, t, LEN, false);
    assert_int_equal(myna__spec_match(p, &len), k ? LEN - 4 : 5001);
    assert_int_equal(len, 2);
    myna__spec_free(p);
  }
  int64_t before = myna__mem_in_use();
  myna__spec *p = myna__spec_new(&usual, LEN);
  assert_int_equal(myna__mem_in_use() - before, myna__spec_bytes(LEN));
  myna__spec_free(p);
  assert_int_equal(myna__mem_in_use(), before);
}

/* ---- when it pays ---- */

typedef struct outcome {
  int64_t steps, drafted, accepted;
  double cost; /* time, as a share of that without drafts */
} outcome;

/* A text generated as the engine would: prompt, then everything. */
static outcome play(const int32_t *t, int64_t n_prompt, int64_t n, int64_t beside, double fresh) {
  outcome o = {0};
  int32_t draft[MYNA__SPEC_MAX];
  myna__spec *p = myna__spec_new(&usual, n);
  myna__spec_add(p, t, n_prompt, false);
  for (int64_t at = n_prompt; at < n; o.steps++) {
    myna__spec_step step = step_of(1 + beside, fresh);
    int64_t k = myna__spec_draft(p, t, n - at - 1, &step, draft), right = 0;
    while (right < k && draft[right] == t[at + right]) right++;
    at += right + 1;
    for (int64_t i = at - right; i <= at; i++) myna__spec_add(p, t, i, true);
    myna__spec_told(p, (int)k, (int)right);
    o.drafted += k;
    o.accepted += right;
    o.cost += myna__costs_of(step.costs, 1 + k) / (double)(n - n_prompt);
  }
  myna__spec_free(p);
  return o;
}

static void test_pays(void **state) {
  enum { LEN = 4000, PROMPT = 100 };
  static int32_t t[LEN];
  test_rng r = test_rng_new(2);
  for (int vocab = 8; vocab <= 100000; vocab *= 8) { /* nothing to find, or only by chance */
    for (int i = 0; i < LEN; i++) t[i] = (int32_t)test_int(&r, vocab);
    outcome o = play(t, PROMPT, LEN, 0, 0);
    print_message("random of %d: %lld drafted, %lld right\n", vocab, (long long)o.drafted, (long long)o.accepted);
    assert_true(o.cost < 1.01);
    assert_true(o.drafted < (vocab < 10 ? LEN / 5 : LEN / 25));
    assert_int_equal(o.steps + o.accepted, LEN - PROMPT);
  }
  for (int i = 0; i < LEN; i++) t[i] = i < 80 ? (int32_t)test_int(&r, 1000) : t[i - 80];
  outcome o = play(t, PROMPT, LEN, 0, 0);
  assert_true(o.accepted > (LEN - PROMPT) * 8 / 10);
  assert_int_equal(o.accepted, o.drafted);
  assert_true(o.cost < 0.3);
  assert_true(play(t, PROMPT, LEN, 2000, 0).drafted ==
              0); /* where arithmetic is the limit, a token more costs what it brings */
  /* Edits of a text: parts of it again, with something new between. The text then repeats no more: it stops soon. */
  int at = 1000, edits = 0;
  for (int i = 0; i < LEN; i++) t[i] = (int32_t)test_int(&r, 1000);
  while (at < 3000) {
    int from = (int)test_int(&r, 900), n = 20 + (int)test_int(&r, 60);
    for (int i = 0; i < n && at < 3000; i++) t[at++] = t[from + i];
    edits++;
  }
  o = play(t, 1000, 3000, 0, 0);
  print_message("%d edits in 2000 tokens: %lld steps, %lld drafted, %lld right\n", edits, (long long)o.steps,
                (long long)o.drafted, (long long)o.accepted);
  assert_true(o.steps < 800 && o.accepted > o.drafted * 7 / 10);
  outcome x = play(t, 1000, 3000, 0, 0.94); /* a token more reads its own experts: only what is nearly certain pays */
  print_message("of the time %.3f, with experts %.3f\n", o.cost, x.cost);
  assert_true(o.cost < 0.4 && x.cost < 1 && x.cost > o.cost);
  int64_t so_far = o.drafted;
  assert_true(play(t, 1000, LEN, 0, 0).drafted - so_far < 100);
}

/* "1 2 x" with another x each time and six new tokens: blocks [from, to); whether something is drafted behind "1 2" goes to drafted[], and was as
 * right as accepted says. */
enum { BLOCK = 9 };
static void blocks(myna__spec *p, int32_t *t, int from, int to, bool same_x, int accepted, bool *drafted) {
  for (int k = from; k < to; k++) {
    int32_t draft[MYNA__SPEC_MAX], *block = t + BLOCK * k;
    block[0] = 1;
    block[1] = 2;
    for (int i = 2; i < BLOCK; i++) block[i] = 1000 + BLOCK * k + i;
    if (same_x) block[2] = block[2 - BLOCK];
    for (int i = 0; i < BLOCK; i++) {
      if (i == 2) {
        myna__spec_step step = step_of(1, 0);
        int n = myna__spec_draft(p, t, 1, &step, draft);
        drafted[k] = n > 0;
        myna__spec_told(p, n, n ? accepted : 0);
      }
      myna__spec_add(p, t, BLOCK * k + i + 1, true);
    }
  }
}

/* After a draft of which nothing was right no more are made for 2 tokens, then 4, 8, and so on; what is right shortens that. */
static void test_pause(void **state) {
  int32_t t[BLOCK * 12];
  bool drafted[12];
  myna__spec *p = myna__spec_new(&usual, BLOCK * 12);
  blocks(p, t, 0, 11, false, 0, drafted);
  static const bool want[] = {false, true, true, true, true, false, true, false, false, false, true};
  assert_memory_equal(drafted, want, sizeof want);
  myna__spec_free(p);
  p = myna__spec_new(&usual, BLOCK * 12); /* the second draft was right after all */
  blocks(p, t, 0, 2, false, 0, drafted);
  blocks(p, t, 2, 3, false, 1, drafted);
  blocks(p, t, 3, 8, false, 0, drafted);
  static const bool again[] = {false, true, true, true, true, true, true, false};
  assert_memory_equal(drafted, again, sizeof again);
  myna__spec_free(p);
  p = myna__spec_new(&usual, BLOCK * 12); /* what is proposed becomes right while nothing is drafted */
  blocks(p, t, 0, 1, false, 0, drafted);
  for (int i = 0; i < 4; i++) myna__spec_told(p, 1, 0);
  blocks(p, t, 1, 3, true, 1, drafted); /* a pause of 16, and 9 tokens until drafted[2] */
  assert_true(!drafted[1] && drafted[2]);
  myna__spec_free(p);
}

/* ---- credit ---- */

/* Whatever is lost comes out of two steps and 0.8 %; what was won can be lost again, but not all of it. */
static void test_credit(void **state) {
  myna__spec_credit c = myna__spec_credit_new();
  double lost = 0;
  for (int i = 0; i < 2000; i++) {
    if (c.left > 0) {
      myna__spec_credit_draft(&c, 0.5, 0);
      lost += 0.5;
    }
    myna__spec_credit_token(&c);
  }
  assert_true(lost > 2000 * 0.008 && lost < 2.5 + 2000 * 0.008);
  for (int i = 0; i < 100; i++) myna__spec_credit_draft(&c, 0.5, 3);
  for (lost = 0; c.left > 0; lost += 0.5) myna__spec_credit_draft(&c, 0.5, 0);
  assert_true(lost > 2 && lost < 5);
}

/* ---- requests: the same with and without ---- */

static const char *const families[] = {"llama", "gemma3", "qwen3", "mixtral", "phi3-swa", "llama-256-k"};

static void test_same_alone(void **state) {
  static const myna_speculation *const kinds[] = {&eager, &wide, &usual};
  static const int64_t batches[] = {512, 4, 1};
  for (size_t f = 0; f < MYNA__COUNT(families); f++) {
    prompt p = prompt_of(families[f]);
    myna_model *m = fx_open(families[f]);
    int64_t drafted = 0, accepted = 0;
    for (int k = 0; k < R; k += EACH) {
      myna_request r = fx_greedy(p.t, p.n, 150);
      sampling_of(&r.sampling, k, p.t + 1);
      myna_engine *e = engine_of(m, 256, 1);
      fx_run(e, &r, &plain[0]);
      myna_engine_free(e);
      for (size_t b = 0; b < MYNA__COUNT(batches); b++) {
        r.speculation = *kinds[b == 0 ? (size_t)k % 3 : b - 1];
        e = engine_with(
            m, &(myna_engine_options){.n_threads = 1 + k % 2, .n_ctx = 256, .n_seq = 1, .n_batch = batches[b]});
        fx_run(e, &r, &guessed[0]);
        same_result(&guessed[0], &plain[0], families[f]);
        const myna_timings *t = &guessed[0].timings;
        myna_engine_stats st;
        myna_engine_get_stats(e, &st);
        assert_int_equal(st.n_drafted, t->n_drafted);
        assert_int_equal(st.n_accepted, t->n_accepted);
        assert_int_equal(st.pages_used, 0);
        /* The prompt's step brings the first token; the last step may not be counted yet. */
        if (b == 0) assert_in_range(st.n_steps + st.n_accepted, 149, 150);
        assert_int_equal(st.n_gen_tokens, 149);
        if (batches[b] == 1) assert_int_equal(t->n_drafted, 0); /* no room */
        drafted += t->n_drafted;
        accepted += t->n_accepted;
        myna_engine_free(e);
      }
    }
    print_message("%s: %lld drafted, %lld right\n", families[f], (long long)drafted, (long long)accepted);
    assert_true(accepted > 300 / EACH / EACH && drafted - accepted > 300 / EACH / EACH); /* both ways were gone */
    free(p.t);
    myna_model_close(m);
  }
}

/* Six at once, all or some of them with drafts: in room for all, in small steps, and in a pool that holds one context. */
static void test_same_crowd(void **state) {
  static const myna_engine_options modes[] = {
      {.n_threads = 1, .n_ctx = 256, .n_seq = 8},
      {.n_threads = 2, .n_ctx = 256, .n_seq = 2, .n_batch = 9},
      {.n_threads = 1, .n_ctx = 256, .n_seq = 6, .n_batch = 20, .kv_tokens = 256}};
  for (size_t f = 0; f < MYNA__COUNT(families); f++) {
    prompt p = prompt_of(families[f]);
    myna_model *m = fx_open(families[f]);
    myna_request r[R];
    myna_engine *e = engine_of(m, 256, 1);
    for (int k = 0; k < R; k++) {
      r[k] = fx_greedy(p.t + k, p.n - k, 90 + 20 * k);
      sampling_of(&r[k].sampling, k, p.t + 1);
      fx_run(e, &r[k], &plain[k]);
    }
    myna_engine_free(e);
    for (size_t i = 0; i < MYNA__COUNT(modes); i++)
      for (int some = EACH - 1; some < 2; some++) {
        for (int k = 0; k < R; k++)
          r[k].speculation = some && k % 2 ? (myna_speculation){0} : k % 3 == 2 ? usual : k % 3 ? wide : eager;
        e = engine_with(m, &modes[i]);
        fx_run_all(e, r, R, guessed);
        for (int k = 0; k < R; k++) {
          same_result(&guessed[k], &plain[k], families[f]);
          if (some && k % 2) assert_int_equal(guessed[k].timings.n_drafted, 0);
        }
        myna_engine_stats st;
        myna_engine_get_stats(e, &st);
        assert_int_equal(st.pages_used, 0);
        assert_true(st.n_drafted > 0);
        myna_engine_free(e);
      }
    free(p.t);
    myna_model_close(m);
  }
}

/* ---- ends ---- */

static void test_limits(void **state) {
  prompt p = prompt_of("gemma3");
  myna_model *m = fx_open("gemma3");
  myna_engine *e = engine_of(m, 100, 2), *g = engine_of(m, 100, 2);
  for (int k = 0; k < 2 * R; k++) {
    for (int64_t max = 0; max < 24; max += max < 12 ? 1 : 5) { /* 0: until the context is full */
      myna_request r = fx_greedy(p.t, p.n, max);
      sampling_of(&r.sampling, k % R, p.t + 1);
      fx_run(e, &r, &plain[0]);
      r.speculation = k < R ? eager : wide;
      fx_run(g, &r, &guessed[0]);
      same_result(&guessed[0], &plain[0], "limits");
      assert_int_equal(guessed[0].finish, max ? MYNA_FINISH_LENGTH : MYNA_FINISH_CONTEXT);
      if (max == 0) assert_true(guessed[0].timings.n_drafted > 0);
    }
  }
  myna_engine_free(e);
  myna_engine_free(g);
  free(p.t);
  myna_model_close(m);
}

static void test_context_shift(void **state) {
  static const char *const names[] = {"llama", "phi3-swa"};
  for (size_t f = 0; f < MYNA__COUNT(names); f++) {
    prompt p = prompt_of(names[f]);
    myna_model *m = fx_open(names[f]);
    for (int k = 0; k < R; k++) {
      myna_engine *e = engine_of(m, 90, 2), *g = engine_of(m, 90, 2);
      myna_request r = fx_greedy(p.t, p.n, 400);
      sampling_of(&r.sampling, k, p.t + 1);
      r.context_shift = true;
      r.n_keep = 5 * k;
      fx_run(e, &r, &plain[0]);
      r.speculation = k == 5 ? usual : k % 2 ? wide : eager;
      fx_run(g, &r, &guessed[0]);
      same_result(&guessed[0], &plain[0], names[f]);
      if (k < 5) assert_true(guessed[0].timings.n_accepted > 0);
      myna_engine_free(e);
      myna_engine_free(g);
    }
    free(p.t);
    myna_model_close(m);
  }
}

/* Texts that end at a stop string, wherever it begins; and at an end token. */
static void test_text(void **state) {
  myna_model *m = fx_open("llama");
  myna_err err = {0};
  int32_t ids[64];
  int64_t n = myna_tokenize(m, "hello hello hello", 17, NULL, ids, 64, &err), right = 0, stopped = 0;
  assert_true(n > 0);
  myna_engine *e = engine_of(m, 256, 2), *g = engine_of(m, 256, 2);
  for (int k = 0; k < 2 * R; k++) {
    static char whole[sizeof plain[0].text];
    myna_request r = {.tokens = ids, .n_tokens = n, .max_tokens = 80, .speculation = {0}};
    sampling_of(&r.sampling, k % R, ids + 1);
    r.sampling.ignore_eos = false;
    fx_run(e, &r, &plain[0]);
    memcpy(whole, plain[0].text, sizeof whole);
    r.speculation = k < R ? eager : wide;
    fx_run(g, &r, &guessed[0]);
    same_result(&guessed[0], &plain[0], "text");
    right += guessed[0].timings.n_accepted;
    for (size_t at = 1; at + 3 < strlen(whole); at += 3) {
      char stop[4] = {whole[at], whole[at + 1], whole[at + 2]};
      const char *stops[] = {"not this", stop};
      myna_request s = r;
      s.stop = stops;
      s.n_stop = 2;
      fx_run(g, &s, &guessed[0]);
      s.speculation = (myna_speculation){0};
      fx_run(e, &s, &plain[0]);
      same_result(&guessed[0], &plain[0], stop);
      stopped += plain[0].finish == MYNA_FINISH_STRING; /* else it would have been the last character */
      right += guessed[0].timings.n_accepted;
    }
  }
  print_message("%lld stops, %lld right\n", (long long)stopped, (long long)right);
  assert_true(right > 500 && stopped > 200);
  /* A text that ends: an end token guessed, an end token not guessed. */
  int32_t forced[40], eos = myna_token_eos(m);
  myna_logit_bias bias = {eos, 1000};
  for (int i = 0; i < 40; i++) forced[i] = i % 9 == 8 ? eos : ids[i % n];
  for (int n_forced = 10; n_forced <= 40; n_forced++) {
    myna_request r = {.tokens = ids, .n_tokens = n, .max_tokens = 45, .forced = forced, .n_forced = n_forced};
    myna_sampling_default(&r.sampling);
    r.sampling.bias = &bias;
    r.sampling.n_bias = 1;
    fx_run(e, &r, &plain[0]);
    r.speculation = wide;
    fx_run(g, &r, &guessed[0]);
    same_result(&guessed[0], &plain[0], "end token");
    assert_int_equal(plain[0].finish, MYNA_FINISH_STOP);
    assert_int_equal(plain[0].n, n_forced);
  }
  myna_engine_free(e);
  myna_engine_free(g);
  myna_model_close(m);
}

/* Cancelled somewhere within the drafts: what was told is the beginning of the answer, and the engine goes on. */
static void test_cancel(void **state) {
  prompt p = prompt_of("llama");
  myna_model *m = fx_open("llama");
  myna_request r = fx_greedy(p.t, p.n, 200);
  sampling_of(&r.sampling, 0, p.t + 1);
  myna_engine *e = engine_of(m, 256, 2);
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
    assert_int_equal(ev.timings.n_gen, n);
  }
  fx_run(e, &r, &guessed[0]);
  same_result(&guessed[0], &plain[0], "after cancelling");
  myna_engine_stats st;
  myna_engine_get_stats(e, &st);
  assert_int_equal(st.pages_used, 0);
  myna_engine_free(e);
  free(p.t);
  myna_model_close(m);
}

/* Log-probabilities come with every token, also with those that were guessed. */
static void test_probs(void **state) {
  prompt p = prompt_of("llama");
  myna_model *m = fx_open("llama");
  float want[100][4];
  for (int round = 0; round < 2; round++) {
    myna_engine *e = engine_of(m, 256, 2);
    myna_request r = fx_greedy(p.t, p.n, 100);
    sampling_of(&r.sampling, 3, p.t + 1);
    r.n_probs = 3;
    if (round) r.speculation = wide;
    int64_t id, n = 0;
    myna_event ev;
    ASSERT_OK(myna_submit(e, &r, &id, NULL));
    do {
      assert_int_equal(myna_next_event(e, 60000, &ev), 1);
      if (ev.kind != MYNA_EVENT_TOKEN) continue;
      float got[4] = {ev.logprob, ev.top_logprobs[0], ev.top_logprobs[1], ev.top_logprobs[2]};
      if (round) assert_memory_equal(got, want[n], sizeof got); /* the very bits */
      memcpy(want[n++], got, sizeof got);
    } while (ev.kind != MYNA_EVENT_DONE);
    if (round) print_message("%lld right\n", (long long)ev.timings.n_accepted);
    if (round) assert_true(ev.timings.n_accepted > 5);
    myna_engine_free(e);
  }
  free(p.t);
  myna_model_close(m);
}

/* ---- what it does to others ---- */

/* A prompt beside a sequence with drafts gets every token of the step but one, or one less where its budget likes steps a little shorter. */
static void test_displaces_nothing(void **state) {
  prompt p = prompt_of("llama");
  myna_model *m = fx_open("llama");
  int32_t t[250];
  for (int i = 0; i < 250; i++) t[i] = p.t[i * 7 % p.n];
  myna_engine *e = engine_with(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 4, .n_batch = 6});
  myna_logit_bias bias = {p.t[3], 1000};
  myna_request a = fx_greedy(p.t, 10, 0), b = fx_greedy(t, 250, 1);
  a.sampling.bias = &bias;
  a.sampling.n_bias = 1;
  a.context_shift = true; /* for ever the same token */
  a.speculation = wide;
  int64_t ids[2], last = 0, seen = 0, done = 0, tokens = 0;
  myna_event ev;
  ASSERT_OK(myna_submit(e, &a, &ids[0], NULL));
  while (tokens < 20) {
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    tokens += ev.kind == MYNA_EVENT_TOKEN;
  }
  ASSERT_OK(myna_submit(e, &b, &ids[1], NULL));
  while (done < 2) {
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    if (ev.kind == MYNA_EVENT_PROGRESS && ev.id == ids[1]) {
      seen += ev.n_done - last >= 4; /* but where a shifts its context and computes a part of it again */
      last = ev.n_done;
    }
    if (ev.kind == MYNA_EVENT_DONE && ev.id == ids[1]) myna_cancel(e, ids[0]);
    if (ev.kind == MYNA_EVENT_DONE && ev.id == ids[0]) assert_true(ev.timings.n_accepted > 10);
    done += ev.kind == MYNA_EVENT_DONE;
  }
  assert_true(seen >= 40);
  myna_engine_free(e);
  free(p.t);
  myna_model_close(m);
}

/* What a speculative run leaves in the cache is what one without leaves. */
static void test_prefix_reuse(void **state) {
  static const char *const names[] = {"llama", "gemma3", "phi3-swa"};
  for (size_t f = 0; f < MYNA__COUNT(names); f++) {
    prompt p = prompt_of(names[f]);
    myna_model *m = fx_open(names[f]);
    for (int k = 0; k < 24; k++) {
      myna_engine *e = engine_of(m, 256, 2), *g = engine_of(m, 256, 2);
      myna_request r = fx_greedy(p.t, p.n, 20 + 4 * k);
      sampling_of(&r.sampling, k % R, p.t + 1);
      fx_run(e, &r, &plain[0]);
      r.speculation = k % 2 ? wide : eager;
      fx_run(g, &r, &guessed[0]);
      same_result(&guessed[0], &plain[0], names[f]);
      int32_t turn[256]; /* the next turn goes on behind the answer, with its last token or another */
      int64_t n = p.n + plain[0].n;
      memcpy(turn, p.t, (size_t)p.n * sizeof *turn);
      memcpy(turn + p.n, plain[0].ids, (size_t)plain[0].n * sizeof *turn);
      turn[n - 1] = k % 3 ? turn[n - 1] : turn[n - 2];
      turn[n++] = p.t[k];
      r = fx_greedy(turn, n, N);
      fx_run(e, &r, &plain[0]);
      r.speculation = k % 2 ? eager : usual;
      fx_run(g, &r, &guessed[0]);
      same_result(&guessed[0], &plain[0], "next turn");
      assert_int_equal(guessed[0].timings.n_cached, plain[0].timings.n_cached);
      assert_true(guessed[0].timings.n_cached >= n - 3);
      myna_engine_free(e);
      e = engine_of(m, 256, 2);
      r.speculation = (myna_speculation){0};
      fx_run(e, &r, &plain[0]);
      same_result(&guessed[0], &plain[0], "against an empty cache");
      myna_engine_free(e);
      myna_engine_free(g);
    }
    free(p.t);
    myna_model_close(m);
  }
}

/* ---- texts ---- */

/* Forced texts: one that repeats itself, also beyond the context; a random one; one in which what was seen is misleading at first. */
static void test_forced(void **state) {
  enum { LEN = 400, REPEATS, SHIFTS, RANDOM, MISLEADS, KINDS };
  prompt p = prompt_of("llama");
  myna_model *m = fx_open("llama");
  test_rng rng = test_rng_new(3);
  int32_t forced[LEN];
  myna_engine *e = engine_of(m, 512, 1), *small = engine_of(m, 128, 1);
  for (int k = REPEATS; k < KINDS; k++) {
    for (int i = 0; i < LEN; i++) {
      bool repeats = k == REPEATS || k == SHIFTS || i >= LEN / 2;
      forced[i] = k != RANDOM && repeats && i >= 23 ? forced[i - 23] : (int32_t)test_int(&rng, m->cfg.n_vocab);
      if (k == MISLEADS && i < LEN / 2 - 23) forced[i] = i % 3 == 2 ? 20 + i / 3 : i % 3;
    }
    myna_request r = fx_greedy(p.t, p.n, LEN);
    r.forced = forced;
    r.n_forced = LEN;
    r.speculation = usual;
    r.context_shift = k == SHIFTS;
    fx_run(k == SHIFTS ? small : e, &r, &guessed[0]);
    assert_int_equal(guessed[0].n, LEN);
    assert_memory_equal(guessed[0].ids, forced, sizeof forced);
    const myna_timings t = guessed[0].timings;
    print_message("%d: %lld drafted, %lld right\n", k - LEN, (long long)t.n_drafted, (long long)t.n_accepted);
    if (k == REPEATS) assert_true(t.n_accepted > LEN * 8 / 10);
    if (k == SHIFTS) assert_true(t.n_accepted > LEN * 6 / 10);
    if (k == RANDOM) assert_true(t.n_drafted < LEN / 25);
    if (k == MISLEADS) assert_true(t.n_accepted > LEN / 3 && t.n_drafted - t.n_accepted <= LEN / 5);
    fx_run(k == SHIFTS ? small : e, &r, &guessed[0]); /* the prompt is known now: the first step is the same */
    assert_int_equal(guessed[0].timings.n_drafted, t.n_drafted);
    assert_int_equal(guessed[0].timings.n_accepted, t.n_accepted);
  }
  /* Where everything is right, no more is computed than can be used. */
  for (int i = 0; i < LEN; i++) forced[i] = p.t[i % 7];
  for (int max = 1; max < 80; max++) {
    myna_request r = fx_greedy(forced, 70, max);
    r.forced = forced;
    r.n_forced = LEN;
    r.speculation = wide;
    fx_run(e, &r, &guessed[0]);
    assert_int_equal(guessed[0].n, max);
    assert_int_equal(guessed[0].timings.n_drafted, guessed[0].timings.n_accepted);
    assert_int_equal(guessed[0].timings.n_accepted, max < 2 ? 0 : max - 1 - (max - 2) / 32 - 1);
  }
  myna_engine_free(e);
  myna_engine_free(small);
  free(p.t);
  myna_model_close(m);
}

/* ---- errors, memory ---- */

static void test_errors(void **state) {
  prompt p = prompt_of("llama");
  myna_model *m = fx_open("llama");
  myna_engine *e = engine_of(m, 128, 1);
  static const struct {
    myna_speculation s;
    const char *says;
  } cases[] = {{{.kind = MYNA_SPECULATION_NGRAM, .n_max = 32}, "speculation.n_max is 32, it must be 0 to 31"},
               {{.kind = MYNA_SPECULATION_NGRAM, .n_max = -1}, "n_max is -1"},
               {{.kind = MYNA_SPECULATION_NGRAM, .n_max = 4, .n_min = 5}, "n_min is 5, it must be 0 to 4"},
               {{.kind = MYNA_SPECULATION_NGRAM, .n_min = 32}, "n_min is 32"},
               {{.kind = MYNA_SPECULATION_NGRAM, .ngram_min = 9}, "ngram_min is 9, it must be 0 to 8"},
               {{.kind = MYNA_SPECULATION_NGRAM, .ngram_min = -1}, "ngram_min is -1"},
               {{.kind = MYNA_SPECULATION_NGRAM, .p_min = 1.5f}, "p_min is 1.5, it must be 0 to 1"},
               {{.kind = MYNA_SPECULATION_NGRAM, .force_accept = -1}, "force_accept is -1"},
               {{.kind = MYNA_SPECULATION_DRAFT}, "asks for a draft model, the engine has none"},
               {{.kind = 7}, "kind is 7"}};
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    int64_t id;
    myna_err err = {0};
    myna_request r = fx_greedy(p.t, p.n, 5);
    r.speculation = cases[i].s;
    ASSERT_FAILS(myna_submit(e, &r, &id, &err), MYNA_E_ARG, &err, cases[i].says);
  }
  /* Off, whatever else is set; and what prompts alone ask for. */
  myna_request r = fx_greedy(p.t, p.n, 50);
  r.speculation = (myna_speculation){.n_max = 100, .always = true};
  fx_run(e, &r, &plain[0]);
  assert_int_equal(plain[0].timings.n_drafted, 0);
  /* The shortest draft that is worth it: nothing that is shorter, and as much as that where there is room. */
  r.speculation = eager;
  r.speculation.n_min = 5;
  for (int64_t max = 2; max < 50; max += 3) {
    r.max_tokens = max;
    fx_run(e, &r, &guessed[0]);
    assert_int_equal(guessed[0].timings.n_drafted % 5, 0);
    if (max < 7) assert_int_equal(guessed[0].timings.n_drafted, 0);
  }
  assert_true(guessed[0].timings.n_drafted > 0);
  myna_engine_free(e);
  free(p.t);
  myna_model_close(m);
}

/* Memory that fails while a request with drafts is submitted and runs: the same tokens as far as they come; without its index, all of them. */
static void test_out_of_memory(void **state) {
  prompt p = prompt_of("llama-tied");
  bool without = false;
  myna_model *m = fx_open("llama-tied");
  myna_engine *e = engine_of(m, 128, 1);
  myna_request r = fx_greedy(p.t, p.n, 20);
  r.speculation = wide;
  fx_run(e, &r, &plain[0]);
  bool drafts = plain[0].timings.n_drafted > 0;
  assert_true(drafts);
  myna_engine_free(e);
  myna_model_close(m);
  for (int n = 1;; n++) {
    test_failing f;
    test_fail_at(&f, 0);
    m = fx_open("llama-tied");
    e = engine_of(m, 128, 1);
    f.fail_at = f.count + n;
    int64_t id, n_gen = 0;
    myna_err err = {0};
    myna_event ev = {0};
    bool submitted = myna_submit(e, &r, &id, &err) == 0;
    if (!submitted) assert_int_equal(err.code, MYNA_E_NOMEM);
    while (submitted && ev.kind != MYNA_EVENT_DONE) {
      assert_int_equal(myna_next_event(e, 60000, &ev), 1);
      if (ev.kind == MYNA_EVENT_TOKEN) assert_int_equal(ev.token, plain[0].ids[n_gen++]);
    }
    if (submitted && ev.finish == MYNA_FINISH_ERROR) assert_int_equal(ev.err.code, MYNA_E_NOMEM);
    if (submitted && ev.finish != MYNA_FINISH_ERROR) {
      assert_int_equal(n_gen, 20);
      if (f.failed && ev.timings.n_drafted == 0) without = true;
    }
    myna_engine_free(e);
    myna_model_close(m);
    test_fail_off();
    assert_int_equal(f.live, 0);
    if (!f.failed) break;
  }
  assert_true(without);
  free(p.t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_index),        cmocka_unit_test(test_changed_token),
      cmocka_unit_test(test_index_full),   cmocka_unit_test(test_pays),
      cmocka_unit_test(test_pause),        cmocka_unit_test(test_credit),
      cmocka_unit_test(test_same_alone),   cmocka_unit_test(test_same_crowd),
      cmocka_unit_test(test_limits),       cmocka_unit_test(test_context_shift),
      cmocka_unit_test(test_text),         cmocka_unit_test(test_cancel),
      cmocka_unit_test(test_probs),        cmocka_unit_test(test_displaces_nothing),
      cmocka_unit_test(test_prefix_reuse), cmocka_unit_test(test_forced),
      cmocka_unit_test(test_errors),       cmocka_unit_test(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
