/* test_kv_disk.c: pages on disk: what goes there comes back as it was, damaged ones do not, the file keeps within its size; and an engine whose pool is too small
 * finds long prompts again, with the same answers. */
#include "engine/job.h"
#include "fixture.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BYTES = 1000, N = 40 };

static void ready(void *user) { atomic_fetch_add((atomic_int *)user, 1); }

static void wait_for(const myna__disk_fetch *f) {
  for (int i = 0; atomic_load(&f->left) > 0; i++) {
    if (i > 60000) fail_msg("nothing comes from the disk for a minute");
    usleep(1000);
  }
}

static void fill(uint8_t *p, int32_t *tokens, int k) {
  for (int i = 0; i < BYTES; i++) p[i] = (uint8_t)(i * (k + 3));
  for (int i = 0; i < 64; i++) tokens[i] = k * 100 + i;
}

static myna__disk *open_disk(int64_t max, atomic_int *n_ready) {
  myna__disk *d = NULL;
  myna_err err = {0};
  const myna__disk_options o = {.dir = "/tmp", .max_bytes = max, .page_bytes = BYTES, .ready = ready, .user = n_ready};
  ASSERT_OK_ERR(myna__disk_open(&d, &o, &err), &err);
  return d;
}

static void settle(myna__disk *d, int64_t want) {
  myna__disk_stats s = {0};
  for (int i = 0; i < 60000 && s.n_written + s.n_left_out < want; i++) {
    usleep(1000);
    myna__disk_get_stats(d, &s);
  }
}

static void test_pages(void **state) {
  (void)state;
  static uint8_t p[BYTES], back[N][BYTES];
  static int32_t tokens[N][64];
  atomic_int n_ready = 0;
  myna__disk *d = open_disk(10 * BYTES + 17, &n_ready);
  for (int k = 0; k < N; k++) {
    const myna__kv_key key = {(uint64_t)k * 5, k, tokens[k]};
    fill(p, tokens[k], k);
    myna__disk_put(d, k % 2, &key, p, BYTES);
    settle(d, k + 1);
    assert_true(myna__disk_has(d, k % 2, &key));
    assert_false(myna__disk_has(d, 1 - k % 2, &key));
  }
  struct stat st;
  assert_int_equal(fstat(myna__disk_fd(d), &st), 0);
  assert_true(st.st_size <= 10 * BYTES);
  assert_int_equal(st.st_nlink, 0); /* it has no name */
  myna__disk_fetch f = {0};
  int found = 0;
  for (int k = 0; k < N; k++) {
    const myna__kv_key key = {(uint64_t)k * 5, k, tokens[k]};
    found += myna__disk_get(d, k % 2, &key, back[k], BYTES, &f);
  }
  wait_for(&f);
  assert_int_equal(found, 10); /* the last ones */
  assert_false(atomic_load(&f.failed));
  for (int k = N - 10; k < N; k++) {
    fill(p, tokens[k], k);
    assert_memory_equal(back[k], p, BYTES);
  }
  /* One damaged, one dropped, one of another size. */
  const myna__kv_key bad = {(N - 1) * 5, N - 1, tokens[N - 1]}, gone = {(N - 2) * 5, N - 2, tokens[N - 2]};
  for (int64_t at = 500; at < st.st_size; at += BYTES) assert_int_equal(pwrite(myna__disk_fd(d), "x!", 2, at), 2);
  myna__disk_fetch g = {0};
  assert_true(myna__disk_get(d, (N - 1) % 2, &bad, back[0], BYTES, &g));
  wait_for(&g);
  assert_true(atomic_load(&g.failed));
  assert_false(myna__disk_has(d, (N - 1) % 2, &bad));
  assert_false(myna__disk_get(d, (N - 2) % 2, &gone, back[0], BYTES - 1, &g));
  myna__disk_stats s;
  myna__disk_get_stats(d, &s);
  assert_int_equal(s.n_damaged, 1);
  assert_int_equal(s.n_failed, 0);
  assert_int_equal(s.used, 9);
  assert_int_equal(s.bytes, 9 * BYTES);
  myna__disk_drop(d, (N - 2) % 2, &gone);
  assert_false(myna__disk_get(d, (N - 2) % 2, &gone, back[0], BYTES, &g));
  /* One that is not there any more. */
  const myna__kv_key lost = {(N - 3) * 5, N - 3, tokens[N - 3]};
  assert_int_equal(ftruncate(myna__disk_fd(d), 0), 0);
  atomic_store(&g.failed, false);
  assert_true(myna__disk_get(d, (N - 3) % 2, &lost, back[0], BYTES, &g));
  wait_for(&g);
  assert_true(atomic_load(&g.failed));
  for (int i = 0; i < BYTES; i++) assert_int_equal(back[0][i], 0); /* pages hold numbers */
  myna__disk_get_stats(d, &s);
  assert_int_equal(s.n_failed, 1);
  assert_int_equal(s.n_damaged, 1);
  assert_int_equal(s.bytes, 7 * BYTES);
  myna__disk_close(d);
  assert_true(atomic_load(&n_ready) >= 2);
}

/* A disk that is full: what was written stays, nothing more is tried, and what failed is not there. */
static void test_full(void **state) {
  (void)state;
  static uint8_t p[BYTES], back[BYTES];
  static int32_t tokens[4][64];
  struct rlimit before, small;
  atomic_int n_ready = 0;
  myna__disk *d = open_disk(10 * BYTES, &n_ready);
  myna__disk_stats s = {0};
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = before;
  small.rlim_cur = 2 * BYTES + 10;
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  for (int k = 0; k < 4; k++) {
    const myna__kv_key key = {(uint64_t)k * 5, k, tokens[k]};
    fill(p, tokens[k], k);
    myna__disk_put(d, 0, &key, p, BYTES);
    for (int i = 0; i < 60000 && s.n_written + s.n_left_out + s.n_failed < k + 1; i++) {
      usleep(1000);
      myna__disk_get_stats(d, &s);
    }
    assert_int_equal(myna__disk_has(d, 0, &key), k < 2);
  }
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(s.n_written, 2);
  assert_int_equal(s.n_failed, 1);
  assert_int_equal(s.n_left_out, 1);
  assert_int_equal(s.bytes, 2 * BYTES);
  const myna__kv_key key = {5, 1, tokens[1]};
  myna__disk_fetch f = {0};
  fill(p, tokens[1], 1);
  assert_true(myna__disk_get(d, 0, &key, back, BYTES, &f));
  wait_for(&f);
  assert_memory_equal(back, p, BYTES);
  myna__disk_close(d);
}

static void test_refused(void **state) {
  (void)state;
  myna__disk *d;
  myna_err err = {0};
  myna__disk_options o = {.dir = "/nowhere", .max_bytes = BYTES, .page_bytes = BYTES, .ready = ready};
  ASSERT_FAILS(myna__disk_open(&d, &o, &err), MYNA_E_IO, &err, "/nowhere");
  o.dir = "/tmp";
  o.max_bytes = BYTES - 1;
  err = (myna_err){0};
  ASSERT_FAILS(myna__disk_open(&d, &o, &err), MYNA_E_ARG, &err, "holds no page");
}

/* ---- an engine ---- */

enum { TEXTS = 6, LONG = 200, CTX = 256 };
static int32_t text[TEXTS][LONG];
static fx_result want[TEXTS], got[TEXTS];

static void rounds(const char *model, bool damage) {
  myna_model *m = fx_open(model);
  myna_request r[TEXTS];
  const myna_engine_options o = {
      .n_threads = 1, .n_ctx = CTX, .n_seq = 2, .kv_tokens = CTX + 64, .disk_dir = "/tmp", .disk_max = 64 << 20};
  myna_engine *e = fx_engine(m, &o);
  int64_t cached = 0;
  for (int k = 0; k < TEXTS; k++) {
    for (int i = 0; i < LONG; i++) text[k][i] = (int32_t)((k * 31 + i * (k + 3) + i / 5) % m->cfg.n_vocab);
    r[k] = fx_greedy(text[k], LONG, 12);
    fx_run(e, &r[k], &want[k]);
  }
  for (int round = 0; round < 3; round++) {
    if (damage && round == 1) {
      struct stat st;
      assert_int_equal(fstat(myna__disk_fd(e->disk), &st), 0);
      for (int64_t at = 100; at < st.st_size; at += 2000)
        assert_int_equal(pwrite(myna__disk_fd(e->disk), "damage", 6, at), 6);
    }
    for (int k = 0; k < TEXTS; k++) {
      fx_run(e, &r[k], &got[k]);
      assert_memory_equal(got[k].ids, want[k].ids, 12 * sizeof(int32_t));
      cached += got[k].timings.n_cached;
    }
  }
  fx_run_all(e, r, TEXTS, got); /* together: some wait for the disk, others go on */
  for (int k = 0; k < TEXTS; k++) assert_memory_equal(got[k].ids, want[k].ids, 12 * sizeof(int32_t));
  myna__disk_stats s;
  myna__disk_get_stats(e->disk, &s);
  print_message("%s: %lld of %d tokens found, %lld pages written, %lld read, %lld damaged\n", model, (long long)cached,
                3 * TEXTS * LONG, (long long)s.n_written, (long long)s.n_read, (long long)s.n_damaged);
  assert_true(s.n_read > 0);
  myna_engine_stats es;
  myna_engine_get_stats(e, &es);
  assert_int_equal(es.disk.pages_read, s.n_read);
  assert_int_equal(es.disk.n_damaged, s.n_damaged);
  assert_int_equal(es.disk.max_bytes, 64 << 20);
  assert_true(es.disk.bytes > 0 && es.disk.bytes <= 64 << 20);
  assert_true(es.disk.tokens > 0 && es.disk.tokens <= es.tokens_reused);
  if (damage) assert_true(s.n_damaged > 0);
  if (!damage) assert_true(cached >= 2 * TEXTS * LONG); /* the pool holds less than two of six */
  /* Cancelled while they wait, and left behind when the engine goes. */
  int64_t ids[TEXTS];
  for (int k = 0; k < TEXTS; k++) ASSERT_OK(myna_submit(e, &r[k], &ids[k], NULL));
  for (int k = 0; k < TEXTS; k += 2) myna_cancel(e, ids[k]);
  for (int done = 0; done < TEXTS / 2;) {
    myna_event ev;
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    done += ev.kind == MYNA_EVENT_DONE;
  }
  myna_engine_free(e);
  myna_model_close(m);
}

static void test_engine(void **state) {
  (void)state;
  rounds("llama", false);
  rounds("gemma3", false);
  rounds("llama", true);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages), cmocka_unit_test(test_full),
                                     cmocka_unit_test(test_refused), cmocka_unit_test(test_engine)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
