/* test_fair.c: many clients on one engine: whose turn it is, shares of a step's prompt tokens, work that several need at once, limits of a request. Counted in
 * steps and tokens, never in time. */
#include "engine/job.h"
#include "fixture.h"

enum { PROMPT = 200, MANY = 40 };
static fx_result results[64];

/* Prompts that have nothing in common with each other from token `same` on. */
static void prompt_of(const myna_model *m, int32_t *t, int64_t n, int64_t same, int which) {
  for (int64_t i = 0; i < n; i++)
    t[i] = (int32_t)((i < same ? 5 + i * 7 : 11 + i * 3 + (which + 1) * 13 + which * i) % m->cfg.n_vocab);
  if (same < n) t[same] = (int32_t)(which % m->cfg.n_vocab);
}

/* ---- choosing, without an engine thread ---- */

typedef struct world {
  myna_engine e;
  myna__job jobs[64];
  int n;
} world;

static myna__job *add(world *w, const char *client, int64_t n_prompt, bool running) {
  myna__job *j = &w->jobs[w->n++];
  *j = (myna__job){.id = w->n, .n = n_prompt, .seq = running ? w->n : -1};
  j->client = myna__client_enter(&w->e, client);
  myna__job **at = running ? &w->e.running : &w->e.queue;
  while (*at) at = &(*at)->next;
  *at = j;
  j->client->n_running += running;
  return j;
}

static void test_turns(void **state) {
  (void)state;
  static world w;
  memset(&w, 0, sizeof w);
  assert_null(myna__fair_next(&w.e, false));
  myna__job *a1 = add(&w, "a", 100, true), *a2 = add(&w, "a", 100, false);
  assert_ptr_equal(myna__fair_next(&w.e, false), a2);
  assert_null(myna__fair_victim(&w.e)); /* one of a's runs: that one stays */
  myna__job *b = add(&w, "b", 100, false);
  assert_ptr_equal(myna__fair_next(&w.e, false), b);
  assert_ptr_equal(myna__fair_next(&w.e, true), a2);
  myna__job *a3 = add(&w, "a", 50, true);
  assert_ptr_equal(myna__fair_victim(&w.e), a3);
  /* Of those that run, who had less is next; what is still to be read counts. */
  myna__job *c1 = add(&w, "c", 120, true), *c2 = add(&w, "c", 10, false);
  w.e.queue = a2;
  a2->next = c2;
  c2->next = NULL;
  assert_ptr_equal(myna__fair_next(&w.e, false), c2);
  a1->client->served = 1000;
  c1->client->served = 1100;
  assert_ptr_equal(myna__fair_next(&w.e, false), a2); /* 1150 and 1220 */
  c1->client->served = 1000;
  assert_ptr_equal(myna__fair_next(&w.e, false), c2);
  /* A new client begins like the one that had least, b with nothing; gone and back again is not new. */
  b->client->served = 700;
  myna__job *d = add(&w, "d", 1, false);
  assert_int_equal(d->client->served, 700);
  d->client->served = 900;
  myna__client_leave(&w.e, d->client);
  assert_int_equal(myna__client_enter(&w.e, "d")->served, 900);
  assert_ptr_equal(myna__client_enter(&w.e, NULL), myna__client_enter(&w.e, ""));
  myna__clients_free(w.e.clients);
}

static void test_idle_clients(void **state) {
  (void)state;
  static world w;
  memset(&w, 0, sizeof w);
  add(&w, "always", 1, true);
  for (int i = 0; i < 2000; i++) {
    char name[32];
    snprintf(name, sizeof name, "client %d", i);
    myna__client *c = myna__client_enter(&w.e, name);
    c->served += i % 2 ? 1000 : 0;
    myna__client_leave(&w.e, c);
  }
  int n = 0;
  for (myna__client *c = w.e.clients; c; c = c->next) n++;
  if (n < 100 || n > 300) fail_msg("%d clients are remembered", n);
  myna__clients_free(w.e.clients);
}

static void test_shares(void **state) {
  (void)state;
  static world w;
  memset(&w, 0, sizeof w);
  myna__job *jobs[8];
  int n = 0;
  for (int i = 0; i < 5; i++) jobs[n++] = add(&w, "greedy", 1000, true);
  jobs[n++] = add(&w, "one", 1000, true);
  myna__client *greedy = jobs[0]->client, *one = jobs[5]->client;
  greedy->served = 5000;
  myna__fair_divide(jobs, n, 512);
  assert_ptr_equal(jobs[0]->client, one); /* had nothing so far */
  for (int i = 1; i + 1 < n; i++) assert_true(jobs[i]->id < jobs[i + 1]->id);
  assert_int_equal(one->quota, 384); /* it has one request running, the other five */
  assert_int_equal(greedy->quota, 128);
  jobs[0]->n = 40; /* what it does not need is for the other */
  myna__fair_divide(jobs, n, 512);
  assert_int_equal(one->quota, 40);
  assert_int_equal(greedy->quota, 472);
  myna__fair_divide(jobs, n, 1); /* goes to who had least */
  assert_int_equal(one->quota, 1);
  assert_int_equal(greedy->quota, 0);
  myna__fair_divide(jobs, n, 1000000);
  assert_int_equal(greedy->quota, 5000);
  myna__fair_divide(jobs, n, 0);
  assert_int_equal(greedy->quota, 0);
  myna__fair_divide(jobs, 0, 512);
  myna__clients_free(w.e.clients);
}

/* Who gives pages back: extra requests of who had most, the latest first; else the younger to the older. */
static void test_loser(void **state) {
  (void)state;
  static world w;
  memset(&w, 0, sizeof w);
  myna__job *a1 = add(&w, "a", 100, true), *a2 = add(&w, "a", 100, true), *a3 = add(&w, "a", 100, true);
  myna__job *b = add(&w, "b", 100, true), *c1 = add(&w, "c", 100, true), *c2 = add(&w, "c", 100, true);
  a1->client->served = 1000;
  c1->client->served = 500;
  assert_ptr_equal(myna__fair_loser(&w.e, b), a3);
  a3->chunk = 1; /* it is in the step already */
  assert_ptr_equal(myna__fair_loser(&w.e, b), a2);
  a2->chunk = 1;
  assert_ptr_equal(myna__fair_loser(&w.e, b), c2);
  c2->chunk = 1;
  assert_ptr_equal(myna__fair_loser(&w.e, b), c1); /* younger */
  c1->chunk = 1;
  assert_null(myna__fair_loser(&w.e, b)); /* a1 came first and is a's only one that gets on */
  a2->chunk = a3->chunk = c1->chunk = c2->chunk = 0;
  assert_ptr_equal(myna__fair_loser(&w.e, a1), c2);
  assert_ptr_equal(myna__fair_loser(&w.e, a3), c2); /* youngest of those after it */
  assert_ptr_equal(myna__fair_loser(&w.e, c1), a3);
  assert_null(myna__fair_loser(&w.e, c2)); /* an extra one takes from nobody before it */
  c1->client->served = 2000;
  assert_ptr_equal(myna__fair_loser(&w.e, a1), c2);
  assert_ptr_equal(myna__fair_loser(&w.e, c1), c2);
  myna__clients_free(w.e.clients);
}

/* ---- engines ---- */

static int64_t steps(const myna_engine *e) {
  myna_engine_stats s;
  myna_engine_get_stats(e, &s);
  return s.n_steps;
}

/* Many requests of one client, then one of another: it starts at once, and all answers are as alone. */
static void test_greedy_client(void **state) {
  (void)state;
  static int32_t prompts[MANY + 1][PROMPT];
  static fx_result alone;
  myna_model *m = fx_open("llama");
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 4, .n_batch = 64});
  myna_request r[MANY + 1];
  int order[MANY + 1], n_first = 0, rank = -1;
  int64_t ids[MANY + 1];
  for (int i = 0; i <= MANY; i++) {
    prompt_of(m, prompts[i], PROMPT, 0, i);
    r[i] = fx_greedy(prompts[i], PROMPT, 8);
    r[i].client = i < MANY ? "greedy" : "modest";
    ASSERT_OK(myna_submit(e, &r[i], &ids[i], NULL));
    results[i].n = 0;
  }
  for (int done = 0; done <= MANY;) {
    myna_event ev;
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    int i = (int)(ev.id - ids[0]);
    if (ev.kind == MYNA_EVENT_TOKEN && results[i].n == 0) order[n_first++] = i;
    if (ev.kind == MYNA_EVENT_TOKEN) results[i].ids[results[i].n++] = ev.token;
    if (ev.kind == MYNA_EVENT_DONE) assert_int_equal(ev.finish, MYNA_FINISH_LENGTH);
    done += ev.kind == MYNA_EVENT_DONE;
  }
  for (int k = 0; k < n_first; k++)
    if (order[k] == MANY) rank = k;
  /* Some may have been through before it was submitted; afterwards it takes as many steps as two prompts. */
  if (rank < 0 || rank > MANY / 2) fail_msg("its first token came after those of %d others", rank);
  assert_true(steps(e) > 0);
  for (int i = 0; i <= MANY; i += 8) {
    fx_run(e, &r[i], &alone);
    assert_memory_equal(alone.ids, results[i].ids, 8 * sizeof(int32_t));
  }
  myna_engine_free(e);
  myna_model_close(m);
}

/* Steps are run by hand, on the engine's thread. */
typedef struct by_hand {
  myna_request *r; /* [n] of the greedy one; then the modest one */
  int n, warm;
  double time; /* of the steps until its first token, as the costs have it */
  int64_t steps;
} by_hand;

static const myna__job *job_of(const myna_engine *e, int64_t id) {
  for (int queued = 0; queued < 2; queued++)
    for (const myna__job *j = queued ? e->queue : e->running; j; j = j->next)
      if (j->id == id) return j;
  return NULL;
}

static void until_first_token(myna_engine *e, void *arg) {
  by_hand *b = arg;
  int64_t id;
  e->costs.fixed = true;
  for (int i = 0; i < b->n; i++) ASSERT_OK(myna_submit(e, &b->r[i], &id, NULL));
  for (int i = 0; i < b->warm; i++) assert_true(myna__engine_step(e));
  ASSERT_OK(myna_submit(e, &b->r[b->n], &id, NULL));
  for (b->time = b->steps = 0; job_of(e, id) && job_of(e, id)->n_gen == 0; b->steps++) {
    int64_t before = e->stats.n_prompt_tokens + e->stats.n_gen_tokens;
    assert_true(myna__engine_step(e));
    int64_t rows = e->stats.n_prompt_tokens + e->stats.n_gen_tokens - before;
    b->time += myna__budget_seconds(&e->budget, &e->costs, rows, 0);
    if (b->steps > 1000) fail_msg("it waits for ever");
  }
}

static void drain(myna_engine *e, int n) {
  for (int done = 0; done < n;) {
    myna_event ev;
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    done += ev.kind == MYNA_EVENT_DONE;
  }
}

/* A key with 50 requests leaves another one's single request at most twice its time to the first token, at whatever moment that comes; also when the
 * pool is too small for all that run. */
static void test_first_token(void **state) {
  (void)state;
  enum { WAIT = 50, LONG = 600 };
  static int32_t prompts[WAIT + 1][LONG];
  static myna_request r[WAIT + 1];
  myna_model *m = fx_open("llama");
  for (int i = 0; i <= WAIT; i++) {
    prompt_of(m, prompts[i], LONG, 0, i);
    r[i] = fx_greedy(prompts[i], LONG - (i < WAIT ? 11 * i : 0), 20 + i % 7);
    r[i].client = i < WAIT ? "greedy" : "modest";
  }
  for (int full = 0; full < 2; full++) {
    const myna_engine_options o = {
        .n_threads = 1, .n_ctx = 700, .n_seq = 4, .n_batch = 128, .kv_tokens = full ? 1500 : 0};
    by_hand alone = {r + WAIT, 0, 0, 0, 0};
    myna_engine *e = fx_engine(m, &o);
    myna__engine_call(e, until_first_token, &alone);
    drain(e, 1);
    myna_engine_free(e);
    double worst = 0;
    for (int warm = 0; warm < 40; warm += 3) {
      by_hand b = {r, WAIT, warm, 0, 0};
      e = fx_engine(m, &o);
      myna__engine_call(e, until_first_token, &b);
      worst = MYNA__MAX(worst, b.time / alone.time);
      if (warm == 39) drain(e, WAIT + 1);
      myna_engine_free(e);
    }
    print_message("%s pool: its first token after %.2f times the steps' time when alone (%lld steps)\n",
                  full ? "small" : "large", worst, (long long)alone.steps);
    assert_true(worst <= 2);
  }
  myna_model_close(m);
}

/* One client's endless requests hold every sequence: another one gets one of them all the same, and the endless go on afterwards. */
static void test_overtakes(void **state) {
  (void)state;
  int32_t t[PROMPT];
  myna_model *m = fx_open("llama");
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 2});
  prompt_of(m, t, PROMPT, 0, 1);
  int64_t ids[3], told[3] = {0};
  myna_event ev;
  myna_request r = fx_greedy(t, PROMPT, 0), modest = fx_greedy(t + 1, PROMPT - 1, 3);
  r.context_shift = true;
  r.client = "endless";
  for (int i = 0; i < 2; i++) ASSERT_OK(myna_submit(e, &r, &ids[i], NULL));
  while (told[0] == 0 || told[1] == 0) {
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    if (ev.kind == MYNA_EVENT_TOKEN) told[ev.id - ids[0]]++;
  }
  ASSERT_OK(myna_submit(e, &modest, &ids[2], NULL));
  for (int64_t n = 0; ev.kind != MYNA_EVENT_DONE; n++) {
    if (n > 100000) fail_msg("it waits for ever");
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
  }
  assert_int_equal(ev.id, ids[2]);
  assert_int_equal(ev.timings.n_gen, 3);
  for (told[0] = told[1] = 0; told[0] == 0 || told[1] == 0;) { /* both are there again */
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    if (ev.kind == MYNA_EVENT_TOKEN) told[ev.id - ids[0]]++;
  }
  myna_engine_free(e);
  myna_model_close(m);
}

/* Prompts that begin alike are computed once, also when all arrive together; the same prompt n times costs one token more each. */
static void test_shared_work(void **state) {
  (void)state;
  enum { N = 7, SAME = 150 };
  static int32_t prompts[N][PROMPT];
  myna_model *m = fx_open("llama");
  for (int all = 0; all < 2; all++) {
    myna_engine *e =
        fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = N + 1, .n_batch = all ? 512 : 32});
    myna_request r[N];
    char names[N][2] = {{0}};
    myna_engine_stats s;
    for (int i = 0; i < N; i++) {
      prompt_of(m, prompts[i], PROMPT, all ? PROMPT : SAME, i);
      r[i] = fx_greedy(prompts[i], PROMPT, 5);
      names[i][0] = (char)('a' + i);
      r[i].client = i % 2 ? names[i] : NULL;
      r[i].sampling.seed = (uint64_t)i;
    }
    fx_run_all(e, r, N, results);
    memset(names, '?', sizeof names); /* they were copied */
    myna_engine_get_stats(e, &s);
    int64_t want = all ? PROMPT + N - 1 : PROMPT + (N - 1) * (PROMPT - SAME / 64 * 64);
    assert_int_equal(s.n_prompt_tokens + s.tokens_reused, N * PROMPT);
    if (s.n_prompt_tokens > want)
      fail_msg("%lld prompt tokens, not %lld", (long long)s.n_prompt_tokens, (long long)want);
    assert_int_equal(s.pages_used, 0);
    for (int i = 0; i < N; i++) {
      myna_request fresh = r[i];
      fresh.client = NULL;
      fresh.no_prefix = true;
      fx_run(e, &fresh, &results[N]);
      assert_int_equal(results[N].timings.n_cached, 0);
      assert_memory_equal(results[N].ids, results[i].ids, 5 * sizeof(int32_t));
    }
    myna_engine_free(e);
  }
  myna_model_close(m);
}

/* The leader is cancelled, or there is hardly any room: everyone else gets an answer all the same. */
static void test_leader_leaves(void **state) {
  (void)state;
  enum { N = 6 };
  static int32_t prompts[N][PROMPT];
  static fx_result want[N];
  myna_model *m = fx_open("llama");
  myna_request r[N];
  for (int i = 0; i < N; i++) {
    prompt_of(m, prompts[i], PROMPT, 190, i);
    r[i] = fx_greedy(prompts[i], PROMPT, 20);
    r[i].client = i % 3 ? "x" : "y";
  }
  for (int round = 0; round < 12; round++) {
    const myna_engine_options o = {.n_threads = 1,
                                   .n_ctx = 256,
                                   .n_seq = round % 2 ? N : 2,
                                   .n_batch = 16 + round,
                                   .kv_tokens = round % 3 ? 256 : 512};
    myna_engine *e = fx_engine(m, &o);
    int64_t ids[N];
    for (int i = 0; i < N; i++) ASSERT_OK(myna_submit(e, &r[i], &ids[i], NULL));
    bool cancel = round > 3;
    for (int done = 0, n_ev = 0; done < N; n_ev++) {
      myna_event ev;
      if (myna_next_event(e, 60000, &ev) != 1) fail_msg("round %d: stuck, %d done", round, done);
      if (cancel && n_ev == round % 4) myna_cancel(e, ids[(round / 2) % N]);
      int i = (int)(ev.id - ids[0]);
      if (ev.kind == MYNA_EVENT_TOKEN && round == 0) want[i].ids[want[i].n++] = ev.token;
      if (ev.kind == MYNA_EVENT_TOKEN && round > 0) assert_int_equal(ev.token, want[i].ids[results[i].n]);
      if (ev.kind == MYNA_EVENT_TOKEN) results[i].n++;
      if (ev.kind == MYNA_EVENT_DONE) results[i].n = 0;
      if (ev.kind == MYNA_EVENT_DONE && ev.finish != MYNA_FINISH_CANCELLED) assert_int_equal(ev.timings.n_gen, 20);
      done += ev.kind == MYNA_EVENT_DONE;
    }
    myna_engine_free(e);
  }
  myna_model_close(m);
}

/* ---- fields of a request ---- */

static void test_fields(void **state) {
  (void)state;
  int32_t t[PROMPT];
  char long_name[1025];
  myna_model *m = fx_open("llama");
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 256, .n_seq = 2});
  prompt_of(m, t, PROMPT, 0, 1);
  memset(long_name, 'n', 1024);
  long_name[1024] = 0;
  int64_t id;
  myna_err err = {0};
  myna_request r = fx_greedy(t, PROMPT, 4);
  r.max_ms = -1;
  ASSERT_FAILS(myna_submit(e, &r, &id, &err), MYNA_E_ARG, &err, "max_ms is -1");
  r.max_ms = 0;
  r.client = long_name;
  err = (myna_err){0};
  ASSERT_FAILS(myna_submit(e, &r, &id, &err), MYNA_E_ARG, &err, "client");
  r.client = long_name + 1;
  fx_run(e, &r, &results[0]);
  fx_run(e, &r, &results[1]);
  assert_int_equal(results[1].timings.n_cached, PROMPT - 1);
  r.no_prefix = true;
  fx_run(e, &r, &results[2]);
  assert_int_equal(results[2].timings.n_cached, 0);
  assert_memory_equal(results[2].ids, results[0].ids, 4 * sizeof(int32_t));
  r.max_ms = 1; /* it would never end otherwise */
  r.max_tokens = 0;
  r.context_shift = true;
  fx_run(e, &r, &results[3]);
  assert_int_equal(results[3].finish, MYNA_FINISH_LENGTH);
  assert_true(results[3].n > 0);
  r.max_ms = INT64_MAX;
  r.max_tokens = 4;
  r.context_shift = false;
  fx_run(e, &r, &results[4]);
  assert_int_equal(results[4].n, 4);
  myna_engine_free(e);
  myna_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_turns),         cmocka_unit_test(test_idle_clients), cmocka_unit_test(test_shares),
      cmocka_unit_test(test_greedy_client), cmocka_unit_test(test_overtakes),    cmocka_unit_test(test_shared_work),
      cmocka_unit_test(test_leader_leaves), cmocka_unit_test(test_fields),       cmocka_unit_test(test_loser),
      cmocka_unit_test(test_first_token),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
