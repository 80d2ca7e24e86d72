/* test_kv_save.c: prefixes in files: the same tokens and logits after they came back, in every type of the cache and with windows; files that are cut, changed
 * or another model's are refused and change nothing. */
#include "engine/job.h"
#include "fixture.h"
#include "kernels/kv_plain.h"
#include <sys/stat.h>

enum { PROMPT = 170, ANSWER = 24, CTX = 256 };
static const myna_dtype types[] = {MYNA_F32, MYNA_F16, MYNA_BF16, MYNA_Q8_0, MYNA_Q4_0};
static fx_result want, got;
static int32_t text[PROMPT + ANSWER];

static void make_text(const myna_model *m) {
  for (int i = 0; i < PROMPT; i++) text[i] = (int32_t)((5 + i * 11 + i / 7) % m->cfg.n_vocab);
}

static myna_engine *engine_with(myna_model *m, myna_dtype k, myna_dtype v, int64_t kv_tokens) {
  return fx_engine(m, &(myna_engine_options){.n_threads = 1,
                                             .n_ctx = CTX,
                                             .n_seq = 3,
                                             .kv_tokens = kv_tokens,
                                             .kv_type = k,
                                             .kv_type_v = v,
                                             .kv_type_set = true,
                                             .kv_type_v_set = true});
}

static myna_engine *engine(myna_model *m, myna_dtype k, myna_dtype v) { return engine_with(m, k, v, 2 * CTX); }

/* Greedy, with log-probabilities, whose bits follow from the logits'. */
static myna_request request(int64_t n) {
  myna_request r = fx_greedy(text, n, ANSWER);
  r.n_probs = 20;
  return r;
}

typedef struct probs {
  int64_t n;
  float logprob[ANSWER], top[ANSWER][20];
} probs;

static void ask(myna_engine *e, const myna_request *r, fx_result *out, probs *p) {
  int64_t id;
  myna_event ev;
  memset(p, 0, sizeof *p);
  out->n = 0;
  ASSERT_OK(myna_submit(e, r, &id, NULL));
  do {
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    if (ev.kind != MYNA_EVENT_TOKEN) continue;
    p->logprob[p->n] = ev.logprob;
    memcpy(p->top[p->n++], ev.top_logprobs, (size_t)ev.n_top * sizeof(float));
    out->ids[out->n++] = ev.token;
  } while (ev.kind != MYNA_EVENT_DONE);
  out->timings = ev.timings;
}

static int64_t save(myna_engine *e, char path[64], int64_t n) {
  int64_t bytes = 0;
  struct stat st;
  myna_err err = {0};
  test_tmpfile(path, "", 0);
  int64_t saved = myna_engine_prefix_save(e, text, n, path, &bytes, &err);
  if (saved < 0) fail_msg("%s", err.msg);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_size, bytes);
  return saved;
}

static void same_after(const char *model, myna_dtype k, myna_dtype v) {
  static probs a, b;
  char path[64];
  int32_t ids[CTX];
  int64_t bytes = 0;
  myna_model *m = fx_open(model);
  make_text(m);
  myna_engine *e = engine(m, k, v);
  myna_request r = request(PROMPT);
  ask(e, &r, &want, &a);
  memcpy(text + PROMPT, want.ids, sizeof(int32_t) * ANSWER);
  int64_t n = save(e, path, PROMPT + ANSWER);
  assert_int_equal(n, PROMPT + ANSWER - 1); /* the last token was not computed */
  myna_engine_free(e);
  e = engine(m, k, v);
  myna_err err = {0};
  int64_t back = myna_engine_prefix_load(e, path, ids, CTX, &bytes, &err);
  if (back != n) fail_msg("%s: %lld positions: %s", model, (long long)back, err.msg);
  assert_memory_equal(ids, text, (size_t)n * sizeof *ids);
  ask(e, &r, &got, &b);
  assert_int_equal(got.timings.n_cached, PROMPT - 1);
  assert_int_equal(got.n, ANSWER);
  assert_memory_equal(got.ids, want.ids, ANSWER * sizeof(int32_t));
  assert_memory_equal(&a, &b, sizeof a);
  myna_engine_stats s;
  assert_int_equal(myna_engine_prefix_load(e, path, NULL, 0, NULL, NULL), n); /* again: nothing is there twice */
  myna_engine_get_stats(e, &s);
  assert_int_equal(s.pages_used, 0);
  assert_true(myna_engine_prefix_erase(e, text, n) >= 1);
  ask(e, &r, &got, &b);
  if (strcmp(model, "llama") == 0) assert_int_equal(got.timings.n_cached, 0);
  assert_memory_equal(&a, &b, sizeof a);
  myna_engine_free(e);
  unlink(path);
  myna_model_close(m);
}

static void test_same(void **state) {
  (void)state;
  for (size_t i = 0; i < MYNA__COUNT(types); i++) {
    same_after("llama", types[i], types[i]);
    same_after("gemma3", types[i], types[(i + 1) % MYNA__COUNT(types)]);
  }
}

/* Pages of odd shapes to plain and back. */
static void test_plain(void **state) {
  (void)state;
  static const int64_t dims[] = {1, 3, 8, 20, 32, 33, 43, 64, 80, 100};
  test_rng r = test_rng_new(3);
  for (size_t t = 0; t < MYNA__COUNT(types); t++)
    for (size_t d = 0; d < MYNA__COUNT(dims); d++) {
      enum { HEADS = 2 };
      int64_t dk = dims[d], dv = dims[(d + 3) % MYNA__COUNT(dims)], n = MYNA__PAGE * HEADS;
      int32_t table = 0, seq[MYNA__PAGE], pos[MYNA__PAGE];
      size_t bytes = myna__kv_page_bytes(types[t], types[t], HEADS, dk, dv);
      uint8_t *page = calloc(1, bytes), *again = malloc(bytes);
      size_t plain = MYNA__PAGE * HEADS * (myna__kv_plain_row(types[t], dk) + myna__kv_plain_row(types[t], dv));
      uint8_t *form = malloc(plain);
      float *k = malloc((size_t)(n * dk) * 4), *v = malloc((size_t)(n * dv) * 4);
      for (int64_t i = 0; i < n * dk; i++) k[i] = test_normal(&r);
      for (int64_t i = 0; i < n * dv; i++) v[i] = test_normal(&r);
      for (int i = 0; i < MYNA__PAGE; i++) seq[i] = 0, pos[i] = i;
      myna__kv_view kv = {.pool = page,
                          .page_stride = (int64_t)bytes,
                          .type_k = types[t],
                          .type_v = types[t],
                          .n_kv_head = HEADS,
                          .dim_k = dk,
                          .dim_v = dv,
                          .n_page = 1,
                          .table = &table,
                          .table_len = 1};
      myna__kv_write(&kv, k, HEADS * dk, v, HEADS * dv, seq, pos, MYNA__PAGE, NULL);
      memset(again, 0, bytes);
      myna__kv_to_plain(&kv, page, MYNA__PAGE, form);
      assert_true(myna__kv_from_plain(&kv, again, MYNA__PAGE, form));
      if (memcmp(page, again, bytes) != 0)
        fail_msg("%s, dims %lld and %lld", myna_dtype_name(types[t]), (long long)dk, (long long)dv);
      if (types[t] == MYNA_F32) assert_memory_equal(form, k, (size_t)(n * dk) * 4); /* [pos][head][dim] */
      memset(form, 0xff, plain);
      assert_false(myna__kv_from_plain(&kv, again, MYNA__PAGE, form)); /* no numbers */
      free(page);
      free(again);
      free(form);
      free(k);
      free(v);
    }
}

/* ---- hostile files ---- */

static uint8_t *slurp(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  uint8_t *p = malloc(1 << 22);
  *n = fread(p, 1, 1 << 22, f);
  fclose(f);
  return p;
}

static void refused(myna_engine *e, const uint8_t *p, size_t n, const char *what, size_t at) {
  char path[64];
  myna_err err = {0};
  test_tmpfile(path, p, n);
  int64_t rc = myna_engine_prefix_load(e, path, NULL, 0, NULL, &err);
  if (rc >= 0) fail_msg("%s at %zu was taken", what, at);
  if (!err.msg[0] || err.code != rc) fail_msg("%s at %zu: no reason", what, at);
  unlink(path);
}

static void test_hostile(void **state) {
  (void)state;
  static probs a, b;
  char path[64];
  size_t n;
  myna_model *m = fx_open("gemma3");
  make_text(m);
  myna_engine *e = engine(m, MYNA_Q8_0, MYNA_F16);
  myna_request r = request(PROMPT);
  ask(e, &r, &want, &a);
  int64_t saved = save(e, path, PROMPT);
  assert_int_equal(saved, PROMPT);
  uint8_t *p = slurp(path, &n);
  assert_int_equal(myna_engine_prefix_erase(e, text, PROMPT + ANSWER) >= 0, true);
  test_rng rng = test_rng_new(8);
  for (size_t cut = 0; cut < n; cut += cut < 1200 ? 7 : 1 + (size_t)test_int(&rng, (int64_t)n / 40))
    refused(e, p, cut, "a cut", cut);
  for (size_t at = 0; at < n; at += at < 900 ? 1 : 1 + (size_t)test_int(&rng, (int64_t)n / 150)) {
    uint8_t bit = (uint8_t)(1 << test_int(&rng, 8));
    p[at] ^= bit;
    refused(e, p, n, "a flipped bit", at);
    p[at] ^= bit;
  }
  uint8_t *longer = malloc(n + 1);
  memcpy(longer, p, n);
  longer[n] = 0;
  refused(e, longer, n + 1, "a byte more", n);
  free(longer);
  myna_engine_stats s;
  myna_engine_get_stats(e, &s);
  assert_int_equal(s.pages_used, 0);
  assert_int_equal(myna_engine_prefix_load(e, path, NULL, 0, NULL, NULL), PROMPT); /* no page was lost */
  ask(e, &r, &got, &b);
  assert_memory_equal(&a, &b, sizeof a);
  myna_engine_free(e);
  unlink(path);
  free(p);
  myna_model_close(m);
}

/* Right files at the wrong place. */
static void test_others(void **state) {
  (void)state;
  char path[64];
  myna_err err = {0};
  static probs a;
  myna_model *m = fx_open("llama"), *other = fx_open("gemma3");
  make_text(m);
  myna_engine *e = engine(m, MYNA_F16, MYNA_F16);
  myna_request r = request(PROMPT);
  ASSERT_FAILS((int)myna_engine_prefix_save(e, text, PROMPT, "/tmp/myna-none", NULL, &err), MYNA_E_NOTFOUND, &err,
               "170");
  ask(e, &r, &want, &a);
  save(e, path, PROMPT);
  err = (myna_err){0};
  ASSERT_FAILS((int)myna_engine_prefix_save(e, text, PROMPT, "/nowhere/x", NULL, &err), MYNA_E_IO, &err,
               "cannot create");
  myna_engine *types_differ = engine(m, MYNA_F16, MYNA_Q8_0), *models_differ = engine(other, MYNA_F16, MYNA_F16);
  err = (myna_err){0};
  ASSERT_FAILS((int)myna_engine_prefix_load(types_differ, path, NULL, 0, NULL, &err), MYNA_E_ARG, &err, "types");
  err = (myna_err){0};
  ASSERT_FAILS((int)myna_engine_prefix_load(models_differ, path, NULL, 0, NULL, &err), MYNA_E_ARG, &err, "model");
  err = (myna_err){0};
  ASSERT_FAILS((int)myna_engine_prefix_load(e, "/nowhere/x", NULL, 0, NULL, &err), MYNA_E_IO, &err, "cannot open");
  myna_engine *small = fx_engine(
      m, &(myna_engine_options){.n_threads = 1, .n_ctx = 128, .n_seq = 1, .kv_type = MYNA_F16, .kv_type_set = true});
  err = (myna_err){0};
  ASSERT_FAILS((int)myna_engine_prefix_load(small, path, NULL, 0, NULL, &err), MYNA_E_LIMIT, &err, "170 tokens");
  myna_engine_free(small);
  myna_engine_free(types_differ);
  myna_engine_free(models_differ);
  myna_engine_free(e);
  unlink(path);
  myna_model_close(other);
  myna_model_close(m);
}

/* While requests run, which are not disturbed. */
static void test_beside_others(void **state) {
  (void)state;
  char path[64];
  static probs a;
  static fx_result alone[2];
  myna_model *m = fx_open("llama");
  make_text(m);
  myna_engine *e = engine_with(m, MYNA_F16, MYNA_F16, 6 * CTX); /* nothing is evicted, which follows measured times */
  myna_request r = request(PROMPT), two[2] = {fx_greedy(text + 3, 100, 120), fx_greedy(text + 9, 120, 120)};
  ask(e, &r, &want, &a);
  for (int i = 0; i < 2; i++) fx_run(e, &two[i], &alone[i]);
  int64_t ids[2], n_tok[2] = {0};
  for (int i = 0; i < 2; i++) ASSERT_OK(myna_submit(e, &two[i], &ids[i], NULL));
  for (int done = 0, round = 0; done < 2;) {
    myna_event ev;
    if (round++ < 6) {
      save(e, path, PROMPT);
      myna_engine_prefix_load(e, path, NULL, 0, NULL, NULL);
      unlink(path);
    }
    assert_int_equal(myna_next_event(e, 60000, &ev), 1);
    int i = (int)(ev.id - ids[0]);
    if (ev.kind == MYNA_EVENT_TOKEN) assert_int_equal(ev.token, alone[i].ids[n_tok[i]++]);
    done += ev.kind == MYNA_EVENT_DONE;
  }
  myna_engine_free(e);
  myna_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_same),
                                     cmocka_unit_test(test_hostile), cmocka_unit_test(test_others),
                                     cmocka_unit_test(test_beside_others)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
