/* What drivers promise beside numbers: how many parallel regions they start, and scratch of exactly the size that the plan
 * of memory counts with: no byte behind it is touched, and none is asked for nothing. */
#include "test.h"
#include "kernels/attn_blocks.h"
#include "kernels/table.h"

static myna__pool *pool;
static float *x, *y;
enum { N_IN = 256, N_OUT = 160, TOK = 700, FLOATS = TOK * 4 * N_IN };

static int make(void **state) {
  (void)state;
  x = calloc(FLOATS, sizeof *x);
  y = calloc(FLOATS, sizeof *y);
  for (int i = 0; i < FLOATS; i++) x[i] = (float)(i % 13) - 6;
  return myna__cpu_init(NULL) < 0 ? -1 : myna__pool_new(&pool, 3, false, NULL);
}

static int drop(void **state) {
  (void)state;
  myna__pool_free(pool);
  free(x);
  free(y);
  return 0;
}

static size_t up64(size_t n) { return (n + 63) / 64 * 64; }

/* Runs with scratch of n bytes between canaries; returns the regions. */
static uint8_t *fence(size_t n) {
  uint8_t *p = NULL;
  if (posix_memalign((void **)&p, 64, n + 128) != 0) fail_msg("no memory");
  memset(p, 0xC5, n + 128);
  return p;
}

static void fenced(uint8_t *p, size_t n) {
  for (int i = 0; i < 64; i++) assert_true(p[i] == 0xC5 && p[64 + n + (size_t)i] == 0xC5);
  free(p);
}

/* ---- linear ---- */

static int64_t run_linear(myna__linear_args *a) {
  size_t n = myna__linear_scratch(a, a->n_tok, 3);
  uint8_t *p = fence(n);
  int64_t before = myna__pool_regions(pool);
  myna__linear(a, p + 64, pool);
  fenced(p, n);
  return myna__pool_regions(pool) - before;
}

static void test_linear(void **state) {
  (void)state;
  static uint8_t q4[2 * N_OUT * (N_IN / 32) * 18];
  static float norm[N_IN];
  myna__weight f32 = {
      .type = MYNA_F32, .n_in = N_IN, .n_out = N_OUT, .plane = {(uint8_t *)x}, .row_stride = {N_IN * 4}};
  myna__weight q = {.type = MYNA_Q4_0, .n_in = N_IN, .n_out = N_OUT, .plane = {q4}, .row_stride = {N_IN / 32 * 18}};
  static const int64_t tokens[] = {1, 2, 8, 9, 16, 100, 512, 513, TOK};
  for (size_t i = 0; i < MYNA__COUNT(tokens); i++) {
    int64_t n = tokens[i];
    myna__linear_args a = {.n_w = 1, .w = {&f32}, .y = {y}, .ldy = {N_OUT}, .x = x, .ldx = N_IN, .n_tok = n};
    assert_int_equal(run_linear(&a), 1); /* float rows are taken as they lie */
    size_t work = up64(3 * myna__panel_bytes(MYNA__FORM_F32) + 2 * (size_t)MYNA__MIN(n, 512) * 48 * 4), seg = 64;
    assert_int_equal(myna__linear_scratch(&a, n, 3), seg + 3 * work);
    assert_int_equal(myna__linear_scratch(&a, n, 1), seg + work);
    a.norm_w = norm; /* normed rows are a copy */
    assert_int_equal(run_linear(&a), n <= 8 ? 1 : 2);
    assert_int_equal(myna__linear_scratch(&a, n, 2), up64((size_t)n * N_IN * 4) + seg + 2 * work);
    a.norm_w = NULL;
    a.w[0] = &q;
    assert_int_equal(run_linear(&a), n <= 8 ? 1 : 2);
    size_t row = myna__arows_layout(MYNA__FORM_Q32, N_IN).stride;
    work = up64(3 * myna__panel_bytes(MYNA__FORM_Q32) + 2 * (size_t)MYNA__MIN(n, 512) * 48 * 4);
    assert_int_equal(myna__linear_scratch(&a, n, 3), up64(row * (size_t)n) + seg + 3 * work);
    a.exact = true; /* panels of floats, and the rows as they lie */
    assert_int_equal(run_linear(&a), 1);
  }
  /* two experts, three slots a token, one that does not exist */
  q.n_expert = 2;
  q.expert_stride[0] = N_OUT * q.row_stride[0];
  int32_t ids[3 * 9];
  for (int i = 0; i < 27; i++) ids[i] = i % 4 - 1;
  for (int64_t n = 1; n <= 9; n += 4) {
    myna__linear_args a = {
        .n_w = 1, .w = {&q}, .y = {y}, .ldy = {N_OUT}, .x = x, .ldx = N_IN, .n_tok = n, .expert_ids = ids, .n_used = 3};
    for (int i = 0; i < 27 * N_OUT; i++) y[i] = 1;
    assert_int_equal(run_linear(&a), n <= 8 ? 1 : 2);
    for (int64_t s = 0; s < n * 3; s++)
      for (int k = 0; k < N_OUT && (ids[s] < 0 || ids[s] > 1); k++) assert_true(y[s * N_OUT + k] == 0);
    size_t row = myna__arows_layout(MYNA__FORM_Q32, N_IN).stride, rows = (size_t)n * 3;
    size_t work = up64(3 * myna__panel_bytes(MYNA__FORM_Q32) + 2 * rows * 48 * 4);
    size_t segments = up64(2 * 40), order = 2 * up64(rows * 4) + up64(3 * 4);
    assert_int_equal(myna__linear_scratch(&a, n, 3), up64(row * rows) + segments + order + 3 * work);
    a.x_per_slot = true;
    assert_int_equal(run_linear(&a), n * 3 <= 8 ? 1 : 2);
  }
}

/* ---- attention ---- */

static void test_attention(void **state) {
  (void)state;
  enum { HEADS = 6, KV = 2, DK = 24, DV = 40, LEN = 20 };
  static int32_t table[LEN], seq[100], pos[100];
  int64_t page = (int64_t)myna__kv_page_bytes(MYNA_F32, MYNA_F32, KV, DK, DV);
  assert_int_equal(page, KV * 64 * (DK + DV) * 4);
  assert_int_equal(myna__kv_page_bytes(MYNA_BF16, MYNA_BF16, KV, 5, 7), KV * 64 * (6 + 7) * 2); /* an odd K is padded */
  assert_int_equal(myna__kv_page_bytes(MYNA_F16, MYNA_F16, 1, 4, 4), 64 * 8 * 2);
  assert_int_equal(myna__kv_page_bytes(MYNA_F32, MYNA_Q4_K, KV, DK, DV), 0);
  uint8_t *pages = calloc(LEN, (size_t)page);
  for (int i = 0; i < LEN; i++) table[i] = i;
  myna__kv_view kv = {.pool = pages,
                      .page_stride = page,
                      .type_k = MYNA_F32,
                      .type_v = MYNA_F32,
                      .n_kv_head = KV,
                      .dim_k = DK,
                      .dim_v = DV,
                      .n_page = LEN,
                      .table = table,
                      .table_len = LEN};
  for (int64_t n = 1; n <= 100; n = n < 20 ? n + 1 : n * 2) {
    for (int64_t i = 0; i < n; i++) pos[i] = (int32_t)(1100 + i);
    int64_t before = myna__pool_regions(pool);
    myna__kv_write(&kv, x, KV * DK, x, KV * DV, seq, pos, n, pool);
    assert_int_equal(myna__pool_regions(pool) - before, n < 16 ? 0 : 1); /* few tokens are written by the caller */
    myna__attn_args a = {.kv = kv,
                         .q = x,
                         .ldq = HEADS * DK,
                         .out = y,
                         .ldo = HEADS * DV,
                         .seq = seq,
                         .pos = pos,
                         .n_tok = n,
                         .n_head = HEADS,
                         .scale = 1};
    size_t size = myna__attn_scratch(&a, n, 3);
    uint8_t *p = fence(size);
    before = myna__pool_regions(pool);
    myna__attn(&a, p + 64, pool);
    assert_int_equal(myna__pool_regions(pool) - before, 1);
    fenced(p, size);
    size_t blocks = up64((size_t)n * sizeof(myna__attn_block)) + up64((size_t)n * 4);
    /* blocks and their tokens, counters, per worker an opened page and 48 rows, and for up to 8 tokens (m, l, o) of 3 segments */
    size_t worker =
        up64(64 * (DK + DV) * 4 + 48 * ((size_t)myna__query_bytes(DK) + sizeof(myna__attn_row) + DV * 4 + 8));
    size_t parts = up64((size_t)(MYNA__MIN(n, 8) * HEADS * 3) * (DV + 2) * 4);
    assert_int_equal(size, blocks + up64(8 * KV * 4) + 3 * worker + parts);
  }
  free(pages);
}

/* ---- rows ---- */

static void test_rows(void **state) {
  (void)state;
  int32_t ids[64] = {0};
  myna__weight w = {.type = MYNA_F32, .n_in = 16, .n_out = 4, .plane = {(uint8_t *)x}, .row_stride = {64}};
  for (int64_t n = 1; n <= 64; n *= 2) { /* embeddings: few rows are cheaper than waking anybody */
    int64_t before = myna__pool_regions(pool);
    myna__embed(y, 16, &w, ids, n, 2.0f, pool);
    assert_int_equal(myna__pool_regions(pool) - before, n < 8 ? 0 : 1);
    for (int64_t i = 0; i < n * 16; i++) assert_true(y[i] == 2 * x[i % 16]);
  }
  for (int64_t rows = 10; rows <= 1000; rows *= 100) { /* 2,560 and 256,000 elements */
    int64_t want = rows > 10, before = myna__pool_regions(pool);
    myna__rms_norm(y, N_IN, x, N_IN, NULL, 1e-5f, rows, N_IN, pool);
    assert_int_equal(myna__pool_regions(pool) - before, want);
    myna__layer_norm(y, N_IN, x, N_IN, NULL, NULL, 1e-5f, rows, N_IN, pool);
    myna__softmax(y, N_IN, x, N_IN, 1, rows, N_IN, pool);
    myna__gated(y, N_IN, x, N_IN, x, N_IN, MYNA__GATE_SILU, rows, N_IN, pool);
    assert_int_equal(myna__pool_regions(pool) - before, 4 * want);
    static int32_t pos[1000];
    myna__rope(&(myna__rope_args){.y = y,
                                  .ldy = N_IN,
                                  .x = x,
                                  .ldx = N_IN,
                                  .pos = pos,
                                  .n_tok = rows,
                                  .n_head = 2,
                                  .dim = N_IN / 2,
                                  .n_rot = N_IN / 2,
                                  .base = 10000,
                                  .freq_scale = 1},
               pool);
    assert_int_equal(myna__pool_regions(pool) - before, 5 * want);
    assert_memory_equal(y, x, (size_t)rows * N_IN * 4); /* position 0 turns nothing */
    /* of no rows */
    myna__rms_norm(y, N_IN, x, N_IN, NULL, 1e-5f, 0, N_IN, pool);
    assert_int_equal(myna__pool_regions(pool) - before, 5 * want);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_linear),
      cmocka_unit_test(test_attention),
      cmocka_unit_test(test_rows),
  };
  return cmocka_run_group_tests(tests, make, drop);
}
