/* test_shared_prefix.c: sequences that share pages are attended together, and nobody can tell from the bits: logits of a step of all are those of steps of one, and
 * an engine that reads every sequence's pages by themselves gives the same answers. */
#include "engine/job.h"
#include "fixture.h"

enum { N_SEQ = 6, CTX = 768, STEP = 128, CHUNK = 20, N_REQ = 9 };

/* Sequences 1 to 4 begin with so many pages of sequence 0; 5 is alone. */
static const int depth[N_SEQ] = {0, 8, 8, 4, 2, 0};
static const int64_t length[N_SEQ] = {545, 530, 513, 300, 150, 70};

static int32_t token_at(const myna_model *m, int seq, int64_t pos) {
  int of = pos < MYNA__PAGE * depth[seq] ? 0 : seq;
  return (int32_t)((7 + pos * pos % 31 + pos * (of + 3)) % m->cfg.n_vocab);
}

/* ---- one step against steps of one ---- */

static void compute(myna__lm *lm, int seq, int64_t from, int64_t to, const int32_t *tokens) {
  for (int64_t p = from; p < to; p += STEP)
    fx_step(lm, &(fx_part){.seq = seq, .from = p, .to = MYNA__MIN(to, p + STEP), .tokens = tokens}, 1);
}

/* Pages of the tree, everything but the last tokens computed. */
static void grow(myna__lm *lm, int32_t tokens[N_SEQ][CTX]) {
  for (int s = 0; s < N_SEQ; s++) {
    for (int64_t p = 0; p < CTX; p++) tokens[s][p] = token_at(lm->model, s, p);
    for (int g = 0; g < lm->n_groups; g++)
      memcpy(lm->group[g].table + s * lm->group[g].table_len, lm->group[g].table, (size_t)depth[s] * sizeof(int32_t));
    compute(lm, s, (int64_t)depth[s] * MYNA__PAGE, length[s], tokens[s]);
  }
}

static void one_step(const char *name, myna_dtype k, myna_dtype v, int threads) {
  static int32_t tokens[N_SEQ][CTX];
  myna_model *m = fx_open(name);
  myna__lm *lm = fx_lm(m, &(fx_lm_options){threads, k, v, false, CTX, STEP, N_SEQ});
  int64_t vocab = m->cfg.n_vocab;
  float *alone[N_SEQ], *all[N_SEQ];
  fx_part parts[N_SEQ];
  grow(lm, tokens);
  for (int s = 0; s < N_SEQ; s++) { /* generation, a draft of two and the next part of a prompt */
    int64_t n = s == 2 ? 3 : s == 4 ? CHUNK : 1;
    alone[s] = myna__calloc((size_t)(CTX * vocab) * sizeof(float));
    all[s] = myna__calloc((size_t)(CTX * vocab) * sizeof(float));
    assert_true(alone[s] && all[s]);
    parts[s] = (fx_part){.seq = s, .from = length[s], .to = length[s] + n, .tokens = tokens[s], .out = alone[s]};
    fx_step(lm, &parts[s], 1);
    parts[s].out = all[s];
  }
  fx_step(lm, parts, N_SEQ);
  for (int s = 0; s < N_SEQ; s++) {
    size_t at = (size_t)(parts[s].from * vocab), n = (size_t)((parts[s].to - parts[s].from) * vocab);
    if (memcmp(all[s] + at, alone[s] + at, n * sizeof(float)) != 0)
      fail_msg("%s, cache of %s and %s: sequence %d is not what it is alone", name, myna_dtype_name(k),
               myna_dtype_name(v), s);
    myna__free(all[s], (size_t)(CTX * vocab) * sizeof(float));
    myna__free(alone[s], (size_t)(CTX * vocab) * sizeof(float));
  }
  fx_lm_free(lm);
  myna_model_close(m);
}

static void test_one_step(void **state) {
  (void)state;
  static const char *const models[] = {"llama", "llama-bias", "llama-hd80", "qwen3", "gemma3", "phi3-swa"};
  static const myna_dtype types[] = {MYNA_F32, MYNA_F16, MYNA_BF16, MYNA_Q8_0, MYNA_Q4_0};
  for (int i = 0; i < 6; i++) {
    one_step(models[i], types[i % 5], types[i % 5], 1 + i % 3);
    one_step(models[i], types[(i + 3) % 5], types[(i + 4) % 5], 1 + (i + 1) % 3);
  }
}

/* ---- engines with and without ---- */

/* Answers of requests that begin alike, so far as the tree says: a few are computed before, the rest come together. */
static int64_t answers(myna_model *m, myna_dtype kv, bool no_cascade, fx_result *out) {
  static int32_t tokens[N_REQ][CTX];
  myna_request r[N_REQ];
  int64_t cached = 0;
  myna_engine_options o = {.n_threads = 2,
                           .n_ctx = CTX,
                           .n_seq = N_REQ,
                           .n_batch = 48,
                           .kv_type = kv,
                           .kv_type_set = true,
                           .no_cascade = no_cascade};
  myna_engine *e = fx_engine(m, &o);
  for (int i = 0; i < N_REQ; i++) {
    int s = i % N_SEQ;
    int64_t n = length[s] - 30 * (i / N_SEQ);
    for (int64_t p = 0; p < n; p++) tokens[i][p] = token_at(m, s, p);
    tokens[i][n - 1] = (int32_t)(i % m->cfg.n_vocab);
    r[i] = fx_greedy(tokens[i], n, 24);
    r[i].sampling.temperature = 1.2f;
    r[i].sampling.seed = (uint64_t)(i + 1);
  }
  fx_run(e, &r[0], &out[0]);
  fx_run_all(e, r, N_REQ, out);
  for (int i = 0; i < N_REQ; i++) cached += out[i].timings.n_cached;
  myna_engine_free(e);
  return cached;
}

static void test_engines(void **state) {
  (void)state;
  static fx_result with[N_REQ], without[N_REQ];
  static const struct {
    const char *model;
    myna_dtype kv;
  } cases[] = {{"llama", MYNA_BF16}, {"qwen3", MYNA_Q8_0}, {"gemma3", MYNA_F16}, {"phi3-swa", MYNA_F32}};
  for (int c = 0; c < 4; c++) {
    myna_model *m = fx_open(cases[c].model);
    assert_true(answers(m, cases[c].kv, false, with) > 4 * 8 * MYNA__PAGE);
    answers(m, cases[c].kv, true, without);
    for (int i = 0; i < N_REQ; i++) {
      assert_int_equal(with[i].n, without[i].n);
      if (memcmp(with[i].ids, without[i].ids, (size_t)with[i].n * sizeof(int32_t)) != 0)
        fail_msg("%s: answer %d differs", cases[c].model, i);
    }
    myna_model_close(m);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_step), cmocka_unit_test(test_engines)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
