/* myna__attn and the cache pages at every CPU level, against attention in double.
 *
 * The pool is full of NaN before anything is written, so a position that was never written must not be used. All levels give the
 * reference's bits except BF16 pages where VDPBF16PS multiplies (bf16_dot), which are compared with double under their own bound.
 * Within a level a row has the same bits alone, in any batch, with any split and number of threads. --bench: see bench_attn.c. */
#include "attn_bench.h"
#include "kernels/kernels.h"
#include "test.h"
#include <math.h>

enum { THREADS = 3, CANARY = 64 };
static test_rng rng;
static myna__pool *pools[THREADS + 1]; /* [threads]; pools[1] is NULL */

static uint32_t bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

/* ---- a case: sequences in pages, and a batch of queries ---- */

enum { MAX_SEQ = 4 };

typedef struct shape {
  myna_dtype type;
  int64_t n_kv_head, group, dim_k, dim_v, window;
  float softcap;
  bool sinks;
  int64_t ctx[MAX_SEQ]; /* positions written in each sequence */
} shape;

typedef struct world {
  shape s;
  myna__kv_view kv;
  uint8_t *mem; /* canary, pool, canary */
  size_t page_bytes;
  int32_t *table;
  int64_t n_seq, table_len, max_ctx;
  float *k, *v; /* [n_seq][max_ctx][n_kv_head][dim]: as stored */
  float sink[64];
} world;

static float stored(myna_dtype t, float x) {
  return t == MYNA_BF16  ? myna__bf16_to_f32(myna__f32_to_bf16(x))
         : t == MYNA_F16 ? myna__f16_to_f32(myna__f32_to_f16(x))
                         : x;
}

static float *floats(int64_t n) {
  float *p = myna__alloc((size_t)n * sizeof *p);
  assert_non_null(p);
  return p;
}
static float *normals(int64_t n, float scale) {
  float *p = floats(n);
  for (int64_t i = 0; i < n; i++) p[i] = test_normal(&rng) * scale;
  return p;
}
static void drop(float *p, int64_t n) { myna__free(p, (size_t)n * sizeof *p); }

static int64_t k_row(const world *w) { return w->s.n_kv_head * w->s.dim_k; }
static int64_t v_row(const world *w) { return w->s.n_kv_head * w->s.dim_v; }

/* Writes positions [from, to) of a sequence from w->k, w->v. */
static void write_range(const world *w, int32_t seq, int64_t from, int64_t to, int threads) {
  int32_t s[64], p[64];
  for (int64_t t = from; t < to;) {
    int64_t n = 1 + test_int(&rng, 64), at = seq * w->max_ctx + t;
    if (n > to - t) n = to - t;
    for (int64_t i = 0; i < n; i++) s[i] = seq, p[i] = (int32_t)(t + i);
    myna__kv_write(&w->kv, w->k + at * k_row(w), k_row(w), w->v + at * v_row(w), v_row(w), s, p, n, pools[threads]);
    t += n;
  }
}

/* Pages in random order, pool of NaN, sequences written in pieces. */
static world world_new(const shape *s) {
  world w = {.s = *s};
  while (w.n_seq < MAX_SEQ && s->ctx[w.n_seq] > 0) w.max_ctx = MYNA__MAX(w.max_ctx, s->ctx[w.n_seq]), w.n_seq++;
  w.table_len = w.max_ctx / MYNA__PAGE + 2;
  int64_t n_page = w.n_seq * w.table_len;
  w.page_bytes = myna__kv_page_bytes(s->type, s->n_kv_head, s->dim_k, s->dim_v);
  assert_true(w.page_bytes > 0);
  w.kv = (myna__kv_view){.page_stride = (int64_t)w.page_bytes + 64,
                         .type = s->type,
                         .n_kv_head = s->n_kv_head,
                         .dim_k = s->dim_k,
                         .dim_v = s->dim_v,
                         .n_page = n_page,
                         .table_len = w.table_len};
  w.mem = myna__alloc((size_t)(n_page * w.kv.page_stride));
  memset(w.mem, 0xFF, (size_t)(n_page * w.kv.page_stride));
  w.kv.pool = w.mem;
  w.table = myna__alloc((size_t)n_page * sizeof *w.table);
  for (int64_t i = 0; i < n_page; i++) {
    int64_t j = test_int(&rng, i + 1);
    w.table[i] = w.table[j];
    w.table[j] = (int32_t)i;
  }
  w.kv.table = w.table;
  w.k = normals(w.n_seq * w.max_ctx * k_row(&w), 1);
  w.v = normals(w.n_seq * w.max_ctx * v_row(&w), 1);
  for (int i = 0; i < 64; i++) w.sink[i] = test_normal(&rng);
  for (int32_t i = 0; i < w.n_seq; i++) write_range(&w, i, 0, s->ctx[i], 1 + i % THREADS);
  for (int64_t i = 0; i < w.n_seq * w.max_ctx * k_row(&w); i++) w.k[i] = stored(s->type, w.k[i]);
  for (int64_t i = 0; i < w.n_seq * w.max_ctx * v_row(&w); i++) w.v[i] = stored(s->type, w.v[i]);
  return w;
}

static void world_free(world *w) {
  int64_t n = w->n_seq * w->table_len;
  for (int64_t p = 0; p < n; p++) /* nothing between the pages was touched */
    for (int i = 0; i < 64; i++) assert_int_equal(w->mem[p * w->kv.page_stride + (int64_t)w->page_bytes + i], 0xFF);
  drop(w->k, w->n_seq * w->max_ctx * k_row(w));
  drop(w->v, w->n_seq * w->max_ctx * v_row(w));
  myna__free(w->table, (size_t)n * sizeof *w->table);
  myna__free(w->mem, (size_t)(n * w->kv.page_stride));
}

typedef struct batch {
  int64_t n;
  int32_t seq[256], pos[256];
  float *q, *out; /* [n][ldq], [n][ldo] */
  int64_t ldq, ldo;
} batch;

static int64_t n_head(const world *w) { return w->s.n_kv_head * w->s.group; }
static const float canary = -12345.678f;

static void batch_q(batch *b, const world *w) {
  b->ldq = n_head(w) * w->s.dim_k + 5;
  b->ldo = n_head(w) * w->s.dim_v + 3;
  b->q = normals(b->n * b->ldq, 1.5f);
  b->out = floats(b->n * b->ldo);
}
static void batch_free(batch *b) {
  drop(b->q, b->n * b->ldq);
  drop(b->out, b->n * b->ldo);
}

static float scale_of(const world *w) { return 1.0f / sqrtf((float)w->s.dim_k); }

/* Tokens [from, from + n) of the batch into out, in scratch of exactly the promised size. */
static void attend(const world *w, const batch *b, int64_t from, int64_t n, float *out, int threads) {
  myna__attn_args a = {.kv = w->kv,
                       .q = b->q + from * b->ldq,
                       .ldq = b->ldq,
                       .out = out,
                       .ldo = b->ldo,
                       .seq = b->seq + from,
                       .pos = b->pos + from,
                       .n_tok = n,
                       .n_head = n_head(w),
                       .scale = scale_of(w),
                       .softcap = w->s.softcap,
                       .window = w->s.window,
                       .sinks = w->s.sinks ? w->sink : NULL};
  size_t bytes = myna__attn_scratch(&a, n, threads);
  uint8_t *scratch = myna__alloc(bytes + CANARY);
  memset(scratch, 0xFF, bytes);
  memset(scratch + bytes, 0xA5, CANARY);
  for (int64_t i = 0; i < n * b->ldo; i++) out[i] = canary;
  int64_t before = myna__pool_regions(pools[threads]);
  myna__attn(&a, scratch, pools[threads]);
  assert_true(myna__pool_regions(pools[threads]) - before <= (n <= 8 ? 1 : 2));
  for (int i = 0; i < CANARY; i++) assert_int_equal(scratch[bytes + (size_t)i], 0xA5);
  myna__free(scratch, bytes + CANARY);
  for (int64_t i = 0; i < n * b->ldo; i++) {
    bool inside = i % b->ldo < n_head(w) * w->s.dim_v;
    if (inside == (bits(out[i]) == bits(canary)))
      fail_msg("output %lld of row %lld %s", (long long)(i % b->ldo), (long long)(i / b->ldo),
               inside ? "not written" : "overwritten");
  }
}

/* ---- the reference ---- */

static bool has_page(const world *w, int64_t seq, int64_t pos) {
  if (pos / MYNA__PAGE >= w->table_len) return false;
  int32_t p = w->table[seq * w->table_len + pos / MYNA__PAGE];
  return p >= 0 && p < w->kv.n_page;
}

/* One head of one token; mass[d] = sum of p |v|. */
static void reference(const world *w, const batch *b, int64_t t, int64_t h, double *o, double *mass) {
  int64_t seq = b->seq[t], pos = b->pos[t], kv_head = h / w->s.group;
  double l = 0, top = w->s.sinks ? (double)w->sink[h] : -INFINITY, *s = myna__alloc((size_t)(pos + 1) * sizeof *s);
  const float *q = b->q + t * b->ldq + h * w->s.dim_k;
  for (int64_t p = 0; p <= pos; p++) {
    s[p] = -INFINITY;
    if (!has_page(w, seq, p) || (w->s.window > 0 && p <= pos - w->s.window)) continue;
    const float *k = w->k + (seq * w->max_ctx + p) * k_row(w) + kv_head * w->s.dim_k;
    double x = 0;
    for (int64_t d = 0; d < w->s.dim_k; d++) x += (double)q[d] * (double)k[d];
    x *= (double)scale_of(w);
    s[p] = w->s.softcap > 0 ? (double)w->s.softcap * tanh(x / (double)w->s.softcap) : x;
    top = s[p] > top ? s[p] : top;
  }
  for (int64_t d = 0; d < w->s.dim_v; d++) o[d] = mass[d] = 0;
  if (w->s.sinks) l = exp((double)w->sink[h] - top);
  for (int64_t p = 0; p <= pos; p++) {
    if (s[p] == -INFINITY) continue;
    const float *v = w->v + (seq * w->max_ctx + p) * v_row(w) + kv_head * w->s.dim_v;
    double e = exp(s[p] - top);
    l += e;
    for (int64_t d = 0; d < w->s.dim_v; d++) o[d] += e * (double)v[d], mass[d] += e * fabs((double)v[d]);
  }
  for (int64_t d = 0; d < w->s.dim_v; d++) o[d] = l > 0 ? o[d] / l : 0, mass[d] = l > 0 ? mass[d] / l : 0;
  myna__free(s, (size_t)(pos + 1) * sizeof *s);
}

/* Does this level multiply bf16 pairs, with queries and weights rounded to bf16? */
static bool bf16_dot(myna_dtype t) { return t == MYNA_BF16 && myna__cpu() == MYNA__CPU_AVX512BF16; }

static void assert_near_double(const world *w, const batch *b, const float *out) {
  double o[512], mass[512], bound = bf16_dot(w->s.type) ? 0x1p-6 : 1e-5, sum = 0, n = 0;
  for (int64_t t = 0; t < b->n; t++)
    for (int64_t h = 0; h < n_head(w) && b->seq[t] >= 0; h++) {
      reference(w, b, t, h, o, mass);
      for (int64_t d = 0; d < w->s.dim_v; d++) {
        double got = (double)out[t * b->ldo + h * w->s.dim_v + d], e = fabs(got - o[d]) / (mass[d] + 1e-30);
        sum += e * e, n++;
        if (!(fabs(got - o[d]) <= bound * mass[d] + 1e-30))
          fail_msg("%s %s, dim %lld/%lld, group %lld: [%lld pos %d][%lld][%lld] is %.9g, not %.9g (%.2g of the mass)",
                   myna__cpu_name(myna__cpu()), myna_dtype_name(w->s.type), (long long)w->s.dim_k,
                   (long long)w->s.dim_v, (long long)w->s.group, (long long)t, b->pos[t], (long long)h, (long long)d,
                   got, o[d], e);
      }
    }
  if (!(sqrt(sum / (n + 1)) <= bound / 4))
    fail_msg("rms error %g", sqrt(sum / n)); /* queries and weights keep 8 bits; sums average */
  if (getenv("MYNA_TEST_VERBOSE") && n > 0)
    print_message("%s %s dim %lld: rms error %.3g of the mass\n", myna__cpu_name(myna__cpu()),
                  myna_dtype_name(w->s.type), (long long)w->s.dim_k, sqrt(sum / n));
}

static void assert_same(const world *w, const batch *b, const float *got, const float *want, int64_t from, int64_t n,
                        const char *what) {
  for (int64_t t = 0; t < n; t++)
    for (int64_t i = 0; i < n_head(w) * w->s.dim_v; i++)
      if (bits(got[t * b->ldo + i]) != bits(want[(from + t) * b->ldo + i]))
        fail_msg("%s, %s %s dim %lld: token %lld [%lld] is %.9g, not %.9g", what, myna__cpu_name(myna__cpu()),
                 myna_dtype_name(w->s.type), (long long)w->s.dim_k, (long long)(from + t), (long long)i,
                 (double)got[t * b->ldo + i], (double)want[(from + t) * b->ldo + i]);
}

/* ---- batches ---- */

/* n tokens ending at the last position of the sequence. */
static void add_tail(batch *b, const world *w, int32_t seq, int64_t n) {
  for (int64_t i = 0; i < n; i++) b->seq[b->n] = seq, b->pos[b->n++] = (int32_t)(w->s.ctx[seq] - n + i);
}

/* Chunks of all sequences, then single tokens of sequences in turn, then rows of no sequence. */
static void add_mixed(batch *b, const world *w) {
  for (int32_t s = 0; s < w->n_seq; s++) add_tail(b, w, s, MYNA__MIN(w->s.ctx[s], 3 + 10 * s));
  for (int i = 0; i < 9; i++)
    for (int32_t s = 0; s < w->n_seq; s++) b->seq[b->n] = s, b->pos[b->n++] = (int32_t)(i < w->s.ctx[s] ? i : 0);
  for (int i = 0; i < 3; i++) b->seq[b->n] = -1, b->pos[b->n++] = i;
}

/* ---- tests ---- */

static const myna_dtype types[] = {MYNA_F32, MYNA_F16, MYNA_BF16};
static const int64_t dims[] = {12, 16, 32, 64, 80, 96, 128, 256};

static bool force(int level) {
  if (!myna__cpu_supported((myna__cpu_level)level)) return false;
  myna__cpu_force((myna__cpu_level)level);
  return true;
}
#define EACH_LEVEL(l)                       \
  for (int l = 0; l < MYNA__CPU_COUNT; l++) \
    if (force(l))

/* The same batch at every level: near double, and the reference's bits where promised. */
static void check(const shape *s, int64_t n_tok) {
  world w = world_new(s);
  batch b = {0};
  if (n_tok > 0)
    add_tail(&b, &w, 0, n_tok);
  else
    add_mixed(&b, &w);
  batch_q(&b, &w);
  float *ref = floats(b.n * b.ldo);
  EACH_LEVEL(l) {
    attend(&w, &b, 0, b.n, b.out, 1 + (int)test_int(&rng, THREADS));
    assert_near_double(&w, &b, b.out);
    if (l == MYNA__CPU_REF)
      memcpy(ref, b.out, (size_t)(b.n * b.ldo) * sizeof *ref);
    else if (!bf16_dot(s->type))
      assert_same(&w, &b, b.out, ref, 0, b.n, "against ref");
  }
  drop(ref, b.n * b.ldo);
  batch_free(&b);
  world_free(&w);
}

static void test_dims(void **state) {
  (void)state;
  for (int t = 0; t < 3; t++)
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
      shape s = {.type = types[t],
                 .n_kv_head = 2,
                 .group = 1 + (int64_t)i % 4,
                 .dim_k = dims[i],
                 .dim_v = dims[i],
                 .ctx = {70 + 9 * (int64_t)i}};
      check(&s, 9);
      s.dim_v = (int64_t[]){1, 7, 15, 17, 33, 63, 65, 111}[i];
      s.group = 5 - s.group;
      check(&s, 3);
    }
}

static void test_odd_keys(void **state) {
  (void)state;
  for (int t = 0; t < 3; t++)
    for (int64_t d = 1; d < 24; d += 2)
      check(&(shape){.type = types[t], .n_kv_head = 1, .group = 3, .dim_k = d, .dim_v = d + 1, .ctx = {67}}, 5);
}

static void test_groups(void **state) {
  (void)state;
  static const int64_t groups[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 64};
  for (int t = 0; t < 3; t++)
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
      check(&(shape){.type = types[t], .n_kv_head = 1, .group = groups[i], .dim_k = 32, .dim_v = 48, .ctx = {150}},
            groups[i] > 8 ? 10 : 33);
}

static void test_contexts(void **state) {
  (void)state;
  static const int64_t tokens[] = {1, 3, 7, 8, 9, 33, 100};
  static const int64_t ctx[] = {1, 2, 15, 63, 64, 65, 511, 512, 513, 1100};
  for (int t = 0; t < 3; t++)
    for (size_t i = 0; i < 7; i++)
      for (size_t c = 0; c < 10; c++)
        if (ctx[c] >= tokens[i])
          check(&(shape){.type = types[t], .n_kv_head = 1, .group = 2, .dim_k = 16, .dim_v = 24, .ctx = {ctx[c]}},
                tokens[i]);
}

static void test_options(void **state) {
  (void)state;
  static const int64_t windows[] = {1, 2, 5, 63, 64, 65, 300, 511, 600};
  for (int t = 0; t < 3; t++)
    for (size_t i = 0; i < 9; i++) {
      shape s = {.type = types[t],
                 .n_kv_head = 2,
                 .group = 2,
                 .dim_k = 32,
                 .dim_v = 32,
                 .ctx = {700},
                 .window = windows[i],
                 .sinks = i % 2};
      if (i % 3 == 1) s.softcap = 5.0f;
      check(&s, 8);
      check(&s, 40);
    }
}

static void test_sequences(void **state) {
  (void)state;
  for (int t = 0; t < 3; t++)
    for (int i = 0; i < 3; i++)
      check(&(shape){.type = types[t],
                     .n_kv_head = 2,
                     .group = 1 + i,
                     .dim_k = 64,
                     .dim_v = 64,
                     .ctx = {100, 33, 600, 1},
                     .window = i == 2 ? 70 : 0,
                     .sinks = i == 1},
            0);
}

/* Every row alone, every split, 1 to 3 threads: the bits of the whole batch. */
static void test_invariance(void **state) {
  (void)state;
  for (int t = 0; t < 3; t++)
    for (int g = 1; g < 6; g++) {
      shape s = {.type = types[t],
                 .n_kv_head = 2,
                 .group = g,
                 .dim_k = 20 * g,
                 .dim_v = 90,
                 .ctx = {1100, 333, 64},
                 .window = g == 2 ? 130 : 0,
                 .sinks = g == 3,
                 .softcap = g == 4 ? 20.0f : 0};
      world w = world_new(&s);
      batch b = {0};
      if (g & 1) add_tail(&b, &w, 0, 100);
      add_mixed(&b, &w);
      batch_q(&b, &w);
      float *part = floats(b.n * b.ldo);
      EACH_LEVEL(l) {
        attend(&w, &b, 0, b.n, b.out, 1);
        for (int threads = 1; threads <= THREADS; threads++)
          for (int64_t from = 0, n; from < b.n; from += n) {
            n = threads == 1 ? 1 : 1 + test_int(&rng, 50);
            if (n > b.n - from) n = b.n - from;
            attend(&w, &b, from, n, part, threads);
            assert_same(&w, &b, part, b.out, from, n, threads == 1 ? "alone" : "split");
          }
        attend(&w, &b, 0, b.n, part, THREADS);
        assert_same(&w, &b, part, b.out, 0, b.n, "threads");
      }
      drop(part, b.n * b.ldo);
      batch_free(&b);
      world_free(&w);
    }
}

/* Missing pages and foreign ids are skipped, positions beyond the table see what there is. */
static void test_pages(void **state) {
  (void)state;
  for (int t = 0; t < 3; t++)
    for (int window = 0; window < 100; window += 90) {
      shape s = {
          .type = types[t], .n_kv_head = 2, .group = 2, .dim_k = 32, .dim_v = 40, .ctx = {1300, 200}, .window = window};
      world w = world_new(&s);
      int32_t lost[] = {-1, (int32_t)w.kv.n_page, INT32_MAX, INT32_MIN};
      for (int i = 0; i < 4; i++) w.table[1 + 4 * i] = lost[i];
      for (int i = 8; i < 16; i++) w.table[i] = -1; /* a whole segment */
      w.table[w.table_len] = -1;
      batch b = {0};
      for (int i = 0; i < 21; i++) b.seq[b.n] = i % 2, b.pos[b.n++] = i % 2 ? i : 61 * i;
      add_tail(&b, &w, 0, 20);
      batch_q(&b, &w);
      float *part = floats(b.n * b.ldo);
      EACH_LEVEL(l) {
        attend(&w, &b, 0, b.n, b.out, 2);
        assert_near_double(&w, &b, b.out);
        for (int64_t i = 0; i + 5 < b.n; i += 5) {
          attend(&w, &b, i, 5, part, 2);
          assert_same(&w, &b, part, b.out, i, 5, "missing pages");
        }
      }
      drop(part, b.n * b.ldo);
      batch_free(&b);
      world_free(&w);
    }
}

/* Positions outside what the table or the sequence can hold give zeros or what is visible, never stale memory. */
static void test_strange_positions(void **state) {
  (void)state;
  for (int t = 0; t < 3; t++) {
    world w = world_new(
        &(shape){.type = types[t], .n_kv_head = 2, .group = 2, .dim_k = 16, .dim_v = 16, .ctx = {130}, .window = 64});
    batch b = {
        .n = 12,
        .pos = {-1, -700, 100000, INT32_MAX - 1, INT32_MIN, 129, -1, -700, 100000, INT32_MAX - 1, INT32_MIN, 129}};
    batch_q(&b, &w);
    EACH_LEVEL(l)
    for (int64_t n = 6; n <= 12; n += 6) {
      attend(&w, &b, 0, n, b.out, 2);
      for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < 64; d++) {
          float x = b.out[i * b.ldo + d];
          if (b.pos[i] == 129 ? !(fabsf(x) < 10) || x == 0 : x != 0) fail_msg("position %d: %g", b.pos[i], (double)x);
        }
    }
    batch_free(&b);
    world_free(&w);
  }
}

/* A value that is not a number in a later token of the same batch stays out of earlier rows. */
static void test_later_nan(void **state) {
  (void)state;
  for (int t = 0; t < 3; t++)
    for (int64_t at = 90; at < 100; at++) {
      world w =
          world_new(&(shape){.type = types[t], .n_kv_head = 1, .group = 2, .dim_k = 64, .dim_v = 64, .ctx = {100}});
      for (int64_t i = at; i < 100; i++)
        for (int64_t d = 0; d < 64; d++) w.v[i * 64 + d] = d % 2 ? INFINITY : NAN, w.k[i * 64 + d] = NAN;
      write_range(&w, 0, at, 100, 1);
      batch b = {0};
      add_tail(&b, &w, 0, 40);
      batch_q(&b, &w);
      float *part = floats(b.n * b.ldo);
      EACH_LEVEL(l) {
        attend(&w, &b, 0, b.n, b.out, 1);
        attend(&w, &b, 0, b.n - (100 - at), part, 1);
        assert_same(&w, &b, part, b.out, 0, b.n - (100 - at), "before a NaN");
        for (int64_t d = 0; d < 64; d++) assert_true(isfinite(part[(b.n - (100 - at) - 1) * b.ldo + d]));
      }
      drop(part, b.n * b.ldo);
      batch_free(&b);
      world_free(&w);
    }
}

/* ---- pages ---- */

/* What was written comes back rounded once, at every level; unwritten positions keep their bytes. */
static void test_round_trip(void **state) {
  (void)state;
  for (int t = 0; t < 3; t++)
    for (int64_t dim = 1; dim < 140; dim += dim < 35 ? 1 : 13) EACH_LEVEL(l) {
        world w = world_new(&(shape){.type = types[t],
                                     .n_kv_head = 3,
                                     .group = 1,
                                     .dim_k = dim,
                                     .dim_v = dim < 20 ? 141 - dim : dim,
                                     .ctx = {71, 64, 1}});
        float *k = floats(MYNA__PAGE * k_row(&w)), *v = floats(MYNA__PAGE * v_row(&w));
        for (int64_t seq = 0; seq < 3; seq++)
          for (int64_t page = 0; page * MYNA__PAGE < w.s.ctx[seq]; page++) {
            myna__kv_read(&w.kv, w.table[seq * w.table_len + page], k, v);
            for (int64_t p = 0; p < MYNA__PAGE; p++) {
              int64_t pos = page * MYNA__PAGE + p, row = seq * w.max_ctx + pos;
              for (int64_t i = 0; i < k_row(&w); i++)
                if (pos < w.s.ctx[seq])
                  assert_int_equal(bits(k[p * k_row(&w) + i]), bits(w.k[row * k_row(&w) + i]));
                else
                  assert_true(isnan(k[p * k_row(&w) + i]));
              for (int64_t i = 0; i < v_row(&w); i++)
                if (pos < w.s.ctx[seq])
                  assert_int_equal(bits(v[p * v_row(&w) + i]), bits(w.v[row * v_row(&w) + i]));
                else
                  assert_true(isnan(v[p * v_row(&w) + i]));
            }
          }
        drop(k, MYNA__PAGE * k_row(&w));
        drop(v, MYNA__PAGE * v_row(&w));
        world_free(&w);
      }
}

/* NaN, infinities, overflow of the type, subnormals, halves between neighbours: as the scalar conversions. */
static void test_special_values(void **state) {
  (void)state;
  static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
                                     0xffffffff, 0x7f7fffff, 0x7f7f8000, 0x7f7f7fff, 0x00000001, 0x00008000,
                                     0x00018000, 0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0x477fefff,
                                     0x477ff000, 0x33000000, 0x33000001, 0x38801000};
  int64_t n = sizeof special / sizeof *special;
  for (int t = 0; t < 3; t++) EACH_LEVEL(l) {
      world w = world_new(&(shape){.type = types[t], .n_kv_head = 1, .group = 1, .dim_k = n, .dim_v = n, .ctx = {3}});
      memcpy(w.k + n, special, sizeof special);
      memcpy(w.v + n, special, sizeof special);
      write_range(&w, 0, 1, 2, 1);
      float *k = floats(MYNA__PAGE * n), *v = floats(MYNA__PAGE * n);
      myna__kv_read(&w.kv, w.table[0], k, v);
      for (int64_t i = 0; i < n; i++) {
        float want = stored(types[t], w.k[n + i]);
        bool same = isnan(want) ? isnan(k[n + i]) && isnan(v[n + i])
                                : bits(k[n + i]) == bits(want) && bits(v[n + i]) == bits(want);
        if (!same)
          fail_msg("%s: %08x is stored as %g, %g, not %g", myna_dtype_name(types[t]), special[i], (double)k[n + i],
                   (double)v[n + i], (double)want);
      }
      drop(k, MYNA__PAGE * n);
      drop(v, MYNA__PAGE * n);
      world_free(&w);
    }
}

static void test_no_layout(void **state) {
  (void)state;
  assert_int_equal(myna__kv_page_bytes(MYNA_Q8_0, 1, 64, 64), 0);
  assert_int_equal(myna__kv_page_bytes(MYNA_I32, 1, 64, 64), 0);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--bench") == 0) return bench_attn(argc - 1, argv + 1);
  rng = test_rng_new(20261121);
  for (int n = 2; n <= THREADS; n++) ASSERT_OK(myna__pool_new(&pools[n], n, false, NULL));
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_dims),       cmocka_unit_test(test_odd_keys),   cmocka_unit_test(test_groups),
      cmocka_unit_test(test_contexts),   cmocka_unit_test(test_options),    cmocka_unit_test(test_sequences),
      cmocka_unit_test(test_invariance), cmocka_unit_test(test_pages),      cmocka_unit_test(test_strange_positions),
      cmocka_unit_test(test_later_nan),  cmocka_unit_test(test_round_trip), cmocka_unit_test(test_special_values),
      cmocka_unit_test(test_no_layout),
  };
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  for (int n = 2; n <= THREADS; n++) myna__pool_free(pools[n]);
  return rc;
}
