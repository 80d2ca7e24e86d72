/* test_kv.c: pages: allocation, copy-on-write, forks, prefixes, windows, eviction, drafts; and a random run against a model that stores in every page what
 * was really written there. */
#include "engine/kv.h"
#include "test.h"

enum { PAGE = 64, PAGES = 64, SEQS = 6, LEN = 16 };

/* What stands in a page: for each position a hash of all tokens up to it, since K and V depend on all of them. */
typedef struct pool {
  myna__kv *kv;
  int32_t table[SEQS * LEN];
  uint64_t content[PAGES][PAGE];
  int64_t copies;
} pool;

static void copy(void *user, int32_t dst, int32_t src) {
  pool *p = user;
  assert_true(dst != src);
  memcpy(p->content[dst], p->content[src], sizeof p->content[0]);
  p->copies++;
}

static pool *pool_new(int64_t n_pages, int64_t window) {
  pool *p = calloc(1, sizeof *p);
  myna_err err = {0};
  myna__kv_options o = {.n_pages = n_pages,
                        .n_seq = SEQS,
                        .table_len = LEN,
                        .window = window,
                        .table = p->table,
                        .copy = copy,
                        .user = p,
                        .key = 7};
  ASSERT_OK_ERR(myna__kv_new(&p->kv, &o, &err), &err);
  for (int i = 0; i < SEQS * LEN; i++) assert_int_equal(p->table[i], -1);
  return p;
}

static void pool_free(pool *p) {
  myna__kv_free(p->kv);
  free(p);
}

static uint64_t mix(uint64_t h, int32_t token) { return (h ^ (uint64_t)(token + 1)) * 0x9E3779B97F4A7C15u; }

/* Reserves and writes [from, to). */
static int put(pool *p, int seq, const int32_t *tokens, int64_t from, int64_t to) {
  int rc = myna__kv_reserve(p->kv, seq, from, to, NULL);
  if (rc < 0) return rc;
  uint64_t h = 0;
  for (int64_t i = 0; i < to; i++) {
    h = mix(h, tokens[i]);
    if (i >= from) p->content[p->table[seq * LEN + i / PAGE]][i % PAGE] = h;
  }
  return 0;
}

/* Every position that position n - 1 or n can see holds what belongs there. */
static void holds(const pool *p, int seq, const int32_t *tokens, int64_t n, int64_t window) {
  uint64_t h = 0;
  for (int64_t i = 0; i < n; i++) {
    h = mix(h, tokens[i]);
    int32_t page = p->table[seq * LEN + i / PAGE];
    if (window > 0 && i + window <= n) continue;
    if (page < 0) fail_msg("sequence %d of %lld: no page at %lld", seq, (long long)n, (long long)i);
    if (p->content[page][i % PAGE] != h)
      fail_msg("sequence %d of %lld: page %d does not hold position %lld", seq, (long long)n, page, (long long)i);
  }
}

static void fill(int32_t *tokens, int64_t n, int32_t first) {
  for (int64_t i = 0; i < n; i++) tokens[i] = first + (int32_t)(i * 7 % 1000);
}

static myna__kv_stats stats(const pool *p) {
  myna__kv_stats s;
  myna__kv_get_stats(p->kv, &s);
  return s;
}

/* ---- cases ---- */

static void test_allocation(void **state) {
  pool *p = pool_new(4, 0);
  int32_t t[512];
  fill(t, 512, 0);
  ASSERT_OK(put(p, 0, t, 0, 1));
  assert_int_equal(stats(p).used, 1);
  ASSERT_OK(put(p, 0, t, 1, 65));
  assert_int_equal(stats(p).used, 2);
  ASSERT_OK(put(p, 1, t, 0, 128));
  assert_int_equal(stats(p).used, 4);
  myna_err err = {0};
  ASSERT_FAILS(myna__kv_reserve(p->kv, 0, 65, 129, &err), MYNA_E_LIMIT, &err, "4 pages");
  assert_int_equal(p->table[2], -1); /* nothing changed */
  ASSERT_OK(put(p, 0, t, 65, 128));
  err = (myna_err){0};
  ASSERT_FAILS(myna__kv_reserve(p->kv, 0, 0, LEN * PAGE + 1, &err), MYNA_E_LIMIT, &err, "beyond the context");
  myna__kv_release(p->kv, 1, t, 128, false);
  assert_int_equal(stats(p).cached, 0);
  ASSERT_OK(put(p, 0, t, 128, 256));
  holds(p, 0, t, 256, 0);
  pool_free(p);
}

/* Whole pages are found once committed, partly filled ones once released; never the last token. */
static void test_prefix(void **state) {
  pool *p = pool_new(16, 0);
  int32_t t[300], u[300];
  fill(t, 300, 0);
  ASSERT_OK(put(p, 0, t, 0, 200));
  assert_int_equal(myna__kv_probe(p->kv, t, 200, 199), 0);
  myna__kv_commit(p->kv, 0, t, 200);
  assert_int_equal(myna__kv_probe(p->kv, t, 200, 199), 192);
  assert_int_equal(myna__kv_match(p->kv, 1, t, 200), 192); /* while the first still runs */
  holds(p, 1, t, 192, 0);
  assert_int_equal(stats(p).shared, 3);
  ASSERT_OK(put(p, 1, t, 192, 300));
  holds(p, 0, t, 200, 0);
  holds(p, 1, t, 300, 0);
  myna__kv_release(p->kv, 1, t, 300, true);
  myna__kv_release(p->kv, 0, t, 200, true);
  assert_int_equal(stats(p).used, 0);
  assert_int_equal(myna__kv_match(p->kv, 2, t, 300), 299); /* part of the last page */
  holds(p, 2, t, 299, 0);
  myna__kv_release(p->kv, 2, t, 299, true);
  memcpy(u, t, sizeof u);
  u[100] = -5;
  assert_int_equal(myna__kv_match(p->kv, 2, u, 300), 100); /* differs inside a page */
  ASSERT_OK(put(p, 2, u, 100, 300));
  holds(p, 2, u, 300, 0);
  assert_int_equal(p->copies, 1);
  assert_int_equal(myna__kv_match(p->kv, 3, t, 300), 299); /* what was copied from is whole */
  holds(p, 3, t, 299, 0);
  u[0] = -5;
  assert_int_equal(myna__kv_probe(p->kv, u, 300, 299), 0);
  assert_int_equal(myna__kv_match(p->kv, 4, t, 1), 0);
  pool_free(p);
}

static void test_fork(void **state) {
  pool *p = pool_new(16, 0);
  int32_t t[200], u[200];
  fill(t, 200, 0);
  memcpy(u, t, sizeof u);
  for (int i = 100; i < 200; i++) u[i] = -i;
  ASSERT_OK(put(p, 0, t, 0, 100));
  ASSERT_OK(myna__kv_fork(p->kv, 0, 1, 100, NULL));
  assert_int_equal(stats(p).used, 2);
  myna_err err = {0};
  ASSERT_FAILS(myna__kv_fork(p->kv, 0, 1, 100, &err), MYNA_E_STATE, &err, "not empty");
  ASSERT_OK(put(p, 1, u, 100, 150));
  ASSERT_OK(put(p, 0, t, 100, 150));
  assert_int_equal(p->copies, 1); /* the second writer has it alone */
  holds(p, 0, t, 150, 0);
  holds(p, 1, u, 150, 0);
  ASSERT_OK(myna__kv_fork(p->kv, 1, 2, 64, NULL)); /* whole pages only: nothing to copy */
  ASSERT_OK(put(p, 2, t, 64, 70));
  assert_int_equal(p->copies, 1);
  holds(p, 2, t, 70, 0);
  pool_free(p);
}

/* A page that is indexed in part is written behind that part in place, and before it as a copy. */
static void test_append_to_indexed(void **state) {
  pool *p = pool_new(8, 0);
  int32_t t[64], u[64];
  fill(t, 64, 0);
  memcpy(u, t, sizeof u);
  u[30] = -1;
  ASSERT_OK(put(p, 0, t, 0, 40));
  myna__kv_release(p->kv, 0, t, 40, true);
  assert_int_equal(myna__kv_adopt(p->kv, 1, t, 40), 40);
  ASSERT_OK(put(p, 1, t, 40, 50));
  assert_int_equal(p->copies, 0);
  assert_int_equal(myna__kv_match(p->kv, 2, u, 64), 30);
  ASSERT_OK(put(p, 2, u, 30, 64));
  assert_int_equal(p->copies, 1);
  holds(p, 1, t, 50, 0);
  holds(p, 2, u, 64, 0);
  pool_free(p);
}

/* Least recently used first, and of one sequence the deepest first, so that what remains is still a prefix. */
static void test_eviction(void **state) {
  pool *p = pool_new(6, 0);
  int32_t a[192], b[192], c[192];
  fill(a, 192, 0);
  fill(b, 192, 5000);
  fill(c, 192, 9000);
  ASSERT_OK(put(p, 0, a, 0, 192));
  myna__kv_commit(p->kv, 0, a, 192);
  myna__kv_release(p->kv, 0, a, 192, true);
  ASSERT_OK(put(p, 0, b, 0, 192));
  myna__kv_release(p->kv, 0, b, 192, true);
  assert_int_equal(stats(p).cached, 6);
  ASSERT_OK(put(p, 1, c, 0, 64)); /* a's last page goes */
  assert_int_equal(myna__kv_probe(p->kv, a, 192, 191), 128);
  assert_int_equal(myna__kv_probe(p->kv, b, 192, 191), 191);
  assert_int_equal(myna__kv_match(p->kv, 2, a, 192), 128); /* now a is the newer one */
  myna__kv_release(p->kv, 2, a, 128, true);
  ASSERT_OK(put(p, 1, c, 64, 192));
  assert_int_equal(myna__kv_probe(p->kv, a, 192, 191), 128);
  assert_int_equal(myna__kv_probe(p->kv, b, 192, 191), 64);
  assert_int_equal(stats(p).cached + stats(p).free, 3);
  assert_int_equal(myna__kv_adopt(p->kv, 2, a, 128), 128); /* held pages are never evicted */
  assert_int_equal(put(p, 3, c, 0, 128), MYNA_E_LIMIT);
  ASSERT_OK(put(p, 3, c, 0, 64));
  holds(p, 1, c, 192, 0);
  holds(p, 2, a, 128, 0);
  pool_free(p);
}

static int64_t n_evicted, last_depth;
static void evicted(void *user, int32_t id, const myna__kv_key *key) {
  (void)user;
  assert_true(id >= 0 && key->tokens);
  n_evicted++;
  last_depth = key->depth;
}

/* What is dearer stays longer, and what others need as long as they stay. */
static void test_worth(void **state) {
  pool *p = pool_new(8, 0);
  int32_t a[256], b[256], c[512];
  fill(a, 256, 0);
  fill(b, 256, 5000);
  fill(c, 512, 9000);
  myna__kv_set_cost(p->kv, 1, 40); /* the last page is worth eleven times the first */
  ASSERT_OK(put(p, 0, a, 0, 256));
  myna__kv_release(p->kv, 0, a, 256, true);
  for (int i = 0; i < 4; i++) { /* short ones, used later */
    ASSERT_OK(put(p, 0, b + i, 0, 64));
    myna__kv_release(p->kv, 0, b + i, 64, true);
  }
  ASSERT_OK(put(p, 0, c, 0, 128)); /* two of those that are cheap to get again go, though they are the newer ones */
  assert_int_equal(myna__kv_probe(p->kv, a, 256, 255), 255);
  assert_int_equal(myna__kv_probe(p->kv, b, 64, 63) + myna__kv_probe(p->kv, b + 3, 64, 63), 63);
  myna__kv_release(p->kv, 0, c, 128, false);
  pool_free(p);
}

/* Pages by hand: pinned ones stay and stay as they are, inserted ones are found, forgotten ones are not. */
static void test_by_hand(void **state) {
  pool *p = pool_new(8, 0);
  int32_t t[512], ids[8];
  fill(t, 512, 0);
  ASSERT_OK(put(p, 0, t, 0, 200));
  myna__kv_release(p->kv, 0, t, 200, true);
  myna__kv_pin(p->kv, t, 200, ids);
  assert_int_equal(stats(p).used, 4);
  assert_int_equal(myna__kv_match(p->kv, 0, t, 300), 200);
  ASSERT_OK(put(p, 0, t, 200, 300)); /* behind what is pinned, in another page */
  assert_int_equal(p->copies, 1);
  myna_err err = {0};
  int32_t more[8];
  ASSERT_FAILS(myna__kv_take(p->kv, 4, more, &err), MYNA_E_LIMIT, &err, "4 are wanted");
  myna__kv_release(p->kv, 0, t, 300, false);
  assert_int_equal(myna__kv_forget(p->kv, t, 200), 200); /* held */
  myna__kv_unpin(p->kv, ids, 4);
  assert_int_equal(myna__kv_forget(p->kv, t, 200), 0);
  assert_int_equal(stats(p).free, 8);
  assert_int_equal(myna__kv_probe(p->kv, t, 200, 199), 0);
  ASSERT_OK(myna__kv_take(p->kv, 3, more, NULL));
  uint64_t h = 0;
  for (int i = 0; i < 150; i++) p->content[more[i / PAGE]][i % PAGE] = h = mix(h, t[i]);
  myna__kv_insert(p->kv, more, t, 150);
  assert_int_equal(stats(p).cached, 3);
  assert_int_equal(myna__kv_match(p->kv, 1, t, 300), 150);
  holds(p, 1, t, 150, 0);
  ASSERT_OK(myna__kv_take(p->kv, 3, more, NULL)); /* the same again: what was there stays */
  myna__kv_insert(p->kv, more, t, 150);
  assert_int_equal(stats(p).used, 3);
  myna__kv_release(p->kv, 1, t, 150, true);
  assert_int_equal(stats(p).free + stats(p).cached, 8);
  assert_int_equal(myna__kv_forget(p->kv, t, 100), 100); /* continued by what lies behind */
  pool_free(p);
}

/* Pages that are elsewhere count, and are named. */
static bool elsewhere(void *user, const myna__kv_key *key) {
  const pool *p = user;
  assert_true(key->tokens != NULL);
  return key->depth < p->copies; /* so many pages from the start */
}

static void test_elsewhere(void **state) {
  pool *p = pool_new(4, 0);
  int32_t t[512], u[256];
  fill(t, 512, 0);
  fill(u, 256, 9000);
  myna__kv *kv;
  static int32_t table[SEQS * LEN];
  ASSERT_OK(
      myna__kv_new(&kv, &(myna__kv_options){.n_pages = 4, .n_seq = SEQS, .table_len = LEN, .table = table}, NULL));
  myna__kv_set_tier(kv, evicted, elsewhere, p);
  myna__kv_key keys[8];
  ASSERT_OK(myna__kv_reserve(kv, 0, 0, 256, NULL));
  myna__kv_release(kv, 0, t, 256, true);
  ASSERT_OK(myna__kv_reserve(kv, 0, 0, 100, NULL));
  assert_int_equal(n_evicted, 2);
  assert_int_equal(last_depth, 2); /* the last page first */
  p->copies = 6;
  assert_int_equal(myna__kv_probe(kv, t, 512, 511), 128);
  assert_int_equal(myna__kv_probe_all(kv, t, 512, 511), 384);
  assert_int_equal(myna__kv_probe_all(kv, t, 350, 349), 320);
  assert_int_equal(myna__kv_probe_all(kv, t, 512, 300), 300);
  assert_int_equal(myna__kv_missing(kv, t, 384, keys, 8), 4);
  assert_int_equal(keys[0].depth, 2);
  assert_ptr_equal(keys[3].tokens, t + 320);
  assert_int_equal(myna__kv_missing(kv, t, 384, keys, 1), 4);
  myna__kv_free(kv);
  p->copies = 0;
  pool_free(p);
}

/* Equal content is indexed once, whoever computed it. */
static void test_duplicates(void **state) {
  pool *p = pool_new(8, 0);
  int32_t t[128];
  fill(t, 128, 0);
  ASSERT_OK(put(p, 0, t, 0, 128));
  ASSERT_OK(put(p, 1, t, 0, 128));
  myna__kv_commit(p->kv, 0, t, 128);
  myna__kv_commit(p->kv, 1, t, 128);
  myna__kv_release(p->kv, 0, t, 128, true);
  myna__kv_release(p->kv, 1, t, 128, true);
  assert_int_equal(stats(p).cached, 2);
  assert_int_equal(stats(p).free, 6);
  pool_free(p);
}

/* A window of 100: pages wholly behind it come back, and the last ones suffice for a match. */
static void test_window(void **state) {
  pool *p = pool_new(8, 100);
  int32_t t[1000];
  fill(t, 1000, 0);
  for (int64_t at = 0; at < 1000; at += 50) { /* never more than 4 pages held */
    ASSERT_OK(put(p, 0, t, at, at + 50));
    myna__kv_commit(p->kv, 0, t, at + 50);
    holds(p, 0, t, at + 50, 100);
    assert_true(stats(p).used <= 4);
  }
  assert_int_equal(p->table[0], -1);
  myna__kv_release(p->kv, 0, t, 1000, true);
  assert_int_equal(myna__kv_match(p->kv, 1, t, 1000), 999);
  holds(p, 1, t, 999, 100);
  myna__kv_release(p->kv, 1, t, 999, true);
  assert_int_equal(myna__kv_probe(p->kv, t, 400, 399), 0); /* that far back nothing is left */
  int32_t u[1000];
  memcpy(u, t, sizeof u);
  u[3] = -1; /* another beginning is another text */
  assert_int_equal(myna__kv_probe(p->kv, u, 1000, 999), 0);
  pool_free(p);
}

/* ---- at random, against what was written ---- */

typedef struct seq {
  bool used;
  int64_t n;
  int32_t tokens[LEN * PAGE];
} seq;

/* Texts share beginnings: from few stems, cut and continued in few ways. */
static int64_t random_text(test_rng *r, int32_t *t) {
  int64_t n = 1 + test_int(r, LEN * PAGE - 1), cut = test_int(r, n + 1);
  int32_t stem = (int32_t)test_int(r, 3) * 100, branch = (int32_t)test_int(r, 3) * 1000;
  if (test_int(r, 3)) cut = cut / PAGE * PAGE;
  for (int64_t i = 0; i < n; i++) t[i] = stem + (int32_t)(i % 90) + (i >= cut ? branch : 0);
  return n;
}

static void check_all(const pool *p, const seq *s, int64_t n_pages, int64_t window) {
  int held[PAGES] = {0};
  int64_t used = 0;
  for (int i = 0; i < SEQS; i++) {
    if (s[i].used) holds(p, i, s[i].tokens, s[i].n, window);
    for (int k = 0; k < LEN; k++)
      if (p->table[i * LEN + k] >= 0) held[p->table[i * LEN + k]]++;
  }
  for (int i = 0; i < n_pages; i++) used += held[i] > 0;
  myna__kv_stats st = stats(p);
  assert_int_equal(st.used, used);
  assert_int_equal(st.cached + st.free, n_pages - used); /* every page is held, cached or free: none is lost */
}

/* A draft that was wrong: written behind the end, perhaps into the same page, and given back as if it had never been. */
static void put_and_trim(pool *p, int i, const seq *q, int64_t n_draft) {
  static int32_t t[LEN * PAGE];
  int64_t n = MYNA__MIN(q->n + n_draft, LEN * PAGE);
  memcpy(t, q->tokens, (size_t)q->n * sizeof *t);
  for (int64_t k = q->n; k < n; k++) t[k] = 7777;
  put(p, i, t, q->n, n);
  myna__kv_trim(p->kv, i, q->n);
  for (int64_t k = (q->n + PAGE - 1) / PAGE; k < LEN; k++) assert_int_equal(p->table[i * LEN + k], -1);
}

static void random_run(int64_t n_pages, int64_t window, uint64_t seed) {
  test_rng r = {seed};
  pool *p = pool_new(n_pages, window);
  static seq s[SEQS];
  memset(s, 0, sizeof s);
  for (int step = 0; step < 3000; step++) {
    int i = (int)test_int(&r, SEQS);
    seq *q = &s[i];
    if (!q->used) {
      int64_t n = random_text(&r, q->tokens);
      int64_t found = myna__kv_match(p->kv, i, q->tokens, n);
      assert_in_range(found, 0, n - 1);
      q->used = true;
      q->n = found;
      int64_t more = 1 + test_int(&r, 300), to = MYNA__MIN(n, found + more);
      if (put(p, i, q->tokens, q->n, to) == 0) q->n = to;
    } else if (test_int(&r, 8) == 0) {
      myna__kv_release(p->kv, i, q->tokens, q->n, test_int(&r, 4) > 0);
      q->used = false;
      for (int k = 0; k < LEN; k++) assert_int_equal(p->table[i * LEN + k], -1);
    } else if (test_int(&r, 10) == 0) {
      int to = 0;
      while (to < SEQS && s[to].used) to++;
      if (to == SEQS) continue;
      ASSERT_OK(myna__kv_fork(p->kv, i, to, q->n, NULL));
      s[to] = *q;
    } else {
      int64_t more = 1 + test_int(&r, test_int(&r, 2) ? 3 : 150), n = MYNA__MIN(LEN * PAGE, q->n + more);
      int32_t t = (int32_t)test_int(&r, 3);
      for (int64_t k = q->n; k < n; k++) q->tokens[k] = t + (int32_t)(k % 5);
      if (put(p, i, q->tokens, q->n, n) == 0) q->n = n;
    }
    if (q->used && test_int(&r, 3) == 0) put_and_trim(p, i, q, 1 + test_int(&r, 100));
    if (q->used && test_int(&r, 2)) myna__kv_commit(p->kv, i, q->tokens, q->n);
    check_all(p, s, n_pages, window);
  }
  pool_free(p);
}

static void test_random(void **state) {
  test_rng r = test_rng_new(20);
  for (int i = 0; i < 10; i++) {
    random_run(64, 0, test_u64(&r));
    random_run(20, 0, test_u64(&r));
    random_run(64, 100, test_u64(&r));
    random_run(9, 16, test_u64(&r));
  }
}

static void test_out_of_memory(void **state) {
  static int32_t table[LEN];
  for (int n = 1;; n++) {
    test_failing f;
    test_fail_at(&f, n);
    myna__kv *kv = NULL;
    myna_err err = {0};
    int rc = myna__kv_new(&kv, &(myna__kv_options){.n_pages = 4, .n_seq = 1, .table_len = LEN, .table = table}, &err);
    if (f.failed) assert_int_equal(rc, MYNA_E_NOMEM);
    myna__kv_free(kv);
    test_fail_off();
    assert_int_equal(f.live, 0);
    if (!f.failed) break;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_allocation),    cmocka_unit_test(test_prefix),
      cmocka_unit_test(test_fork),          cmocka_unit_test(test_append_to_indexed),
      cmocka_unit_test(test_eviction),      cmocka_unit_test(test_duplicates),
      cmocka_unit_test(test_window),        cmocka_unit_test(test_random),
      cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_worth),
      cmocka_unit_test(test_by_hand),       cmocka_unit_test(test_elsewhere),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
