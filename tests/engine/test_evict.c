/* test_evict.c: what stays in a full pool: a trace of a server's requests (tests/fixtures/cache) against the real index, by worth and by recency. Counted in tokens
 * that were found and in the time that computing them would have taken. */
#include "engine/budget.h"
#include "engine/kv.h"
#include "test.h"
#include <math.h>

enum { PAGE = 64, LEN = 160, MAX = LEN * PAGE, TEXTS = 2000 };

typedef struct text {
  int32_t *tokens;
  int64_t n, n_turn; /* n_turn: before the last answer */
} text;

typedef struct world {
  myna__kv *kv;
  int32_t table[LEN];
  text texts[TEXTS], systems[16];
  double more; /* cost of page d: 1 + more * d */
  uint64_t salt;
  int64_t asked, found, n_requests;
  double time, saved;
} world;

static void add(world *w, text *t, int64_t n) {
  if (!t->tokens) t->tokens = calloc(MAX, sizeof *t->tokens);
  test_rng r = {++w->salt};
  for (int64_t i = 0; i < n && t->n < MAX - 1; i++) t->tokens[t->n++] = (int32_t)test_int(&r, 50000);
}

static double cost_of(const world *w, int64_t n) {
  double c = 0;
  for (int64_t i = 0; i < n; i += PAGE) c += (1 + w->more * (double)(i / PAGE)) * (double)MYNA__MIN(PAGE, n - i) / PAGE;
  return c;
}

/* One request as the engine serves it: found, computed in steps of 512, answered, released. */
static void serve(world *w, text *t, int64_t answer) {
  int64_t n = t->n, done = myna__kv_match(w->kv, 0, t->tokens, n);
  w->n_requests++;
  w->asked += n;
  w->found += done;
  w->time += cost_of(w, n);
  w->saved += cost_of(w, done);
  t->n_turn = n;
  for (; done < n; done = MYNA__MIN(n, done + 512)) {
    ASSERT_OK(myna__kv_reserve(w->kv, 0, done, MYNA__MIN(n, done + 512), NULL));
    myna__kv_commit(w->kv, 0, t->tokens, MYNA__MIN(n, done + 512));
  }
  myna__kv_keep(w->kv, 0, t->tokens, n);
  add(w, t, answer);
  ASSERT_OK(myna__kv_reserve(w->kv, 0, n, t->n, NULL));
  myna__kv_release(w->kv, 0, t->tokens, t->n - 1, true); /* the last token is not computed */
}

static void line(world *w, const char *s) {
  long long a = 0, b = 0, c = 0;
  char kind = 0;
  if (sscanf(s, "%c %lld %lld %lld", &kind, &a, &b, &c) < 3) fail_msg("bad line %s", s);
  if (kind == 's') {
    add(w, &w->systems[a], b);
  } else if (kind == 'c') {
    text *t = &w->texts[a], *sys = &w->systems[b];
    add(w, t, 0);
    memcpy(t->tokens, sys->tokens, (size_t)sys->n * sizeof *t->tokens);
    t->n = sys->n;
  } else if (kind == 't') {
    add(w, &w->texts[a], b);
    serve(w, &w->texts[a], c);
  } else if (kind == 'r') {
    w->texts[a].n = w->texts[a].n_turn;
    serve(w, &w->texts[a], b);
  } else {
    text once = {0};
    add(w, &once, a);
    serve(w, &once, b);
    free(once.tokens);
  }
}

static void run(world *w, const char *path, int64_t n_pages, double more, bool lru) {
  char buf[256];
  FILE *f = fopen(path, "r");
  memset(w, 0, sizeof *w);
  if (!f) fail_msg("no %s", path);
  w->more = more;
  ASSERT_OK(myna__kv_new(
      &w->kv,
      &(myna__kv_options){.n_pages = n_pages, .n_seq = 1, .table_len = LEN, .table = w->table, .key = 5, .lru = lru},
      NULL));
  myna__kv_set_cost(w->kv, 1, more);
  while (fgets(buf, sizeof buf, f)) line(w, buf);
  fclose(f);
  myna__kv_free(w->kv);
  for (int i = 0; i < TEXTS; i++) free(w->texts[i].tokens);
  for (int i = 0; i < 16; i++) free(w->systems[i].tokens);
}

/* Never worse than the least recently used, in tokens or in time, whatever the pool holds and however dear attention is. */
static void test_trace(void **state) {
  static world worth, lru;
  char buf[512];
  const char *path = getenv("MYNA_TEST_TRACE");
  if (!path) path = test_path(buf, "tests/fixtures/cache/trace.txt");
  static const int pools[] = {170, 384, 512, 768, 1024};
  int bad = 0;
  for (size_t p = 0; p < MYNA__COUNT(pools); p++)
    for (int dear = 0; dear < 3; dear += 1 + (int)(p & 1)) {
      double more = dear == 0 ? 0 : dear == 1 ? 0.01 : 0.04;
      run(&worth, path, pools[p], more, false);
      run(&lru, path, pools[p], more, true);
      print_message("%4d pages, late ones %.2f: found %.4f, least recently used %.4f; saved %.4f and %.4f\n", pools[p],
                    more, (double)worth.found / (double)worth.asked, (double)lru.found / (double)lru.asked,
                    worth.saved / worth.time, lru.saved / lru.time);
      bad += worth.found < lru.found || worth.saved < lru.saved;
    }
  if (bad) fail_msg("%d times worse than least recently used", bad);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_trace)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
