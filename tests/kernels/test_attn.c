/* myna__attn and the cache pages at every CPU level, against attention in double.
 *
 * The pool is full of NaN before anything is written, so a position that was never written must not be used. All levels give the
 * reference's bits except BF16 pages where VDPBF16PS multiplies (bf16_dot), which are compared with double under their own bound.
 * Pages of codes (Q8_0, Q4_0) have the same bytes at every level; the reference in double takes queries as integers meet them.
 * Within a level a row has the same bits alone, in any batch, with any split and number of threads. --bench: see bench_attn.c. */
#include "attn_bench.h"
#include "kernels/attn_blocks.h"
#include "kernels/table.h"
#include "test.h"
#include <math.h>

enum { THREADS = 3, CANARY = 64 };
static test_rng rng;
static bool apart;                     /* sequences read by themselves what they share */
static myna__pool *pools[THREADS + 1]; /* [threads]; pools[1] is NULL */

static uint32_t bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

/* ---- a case: sequences in pages, and a batch of queries ---- */

enum { MAX_SEQ = 8 };

typedef struct shape {
  myna_dtype type, type_v;
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

static bool coded(myna_dtype t) { return t == MYNA_Q8_0 || t == MYNA_Q4_0; }
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

/* w->k, w->v become what the pages hold. Codes are taken from the pages (test_codes holds them against what was written). */
static void as_stored(world *w) {
  int64_t nk = w->n_seq * w->max_ctx * k_row(w), nv = w->n_seq * w->max_ctx * v_row(w);
  if (!coded(w->s.type))
    for (int64_t i = 0; i < nk; i++) w->k[i] = stored(w->s.type, w->k[i]);
  if (!coded(w->s.type_v))
    for (int64_t i = 0; i < nv; i++) w->v[i] = stored(w->s.type_v, w->v[i]);
  if (!coded(w->s.type) && !coded(w->s.type_v)) return;
  float *k = floats(MYNA__PAGE * k_row(w)), *v = floats(MYNA__PAGE * v_row(w));
  for (int64_t seq = 0; seq < w->n_seq; seq++)
    for (int64_t at = 0; at < w->s.ctx[seq]; at += MYNA__PAGE) {
      int64_t n = MYNA__MIN(MYNA__PAGE, w->s.ctx[seq] - at), row = seq * w->max_ctx + at;
      myna__kv_read(&w->kv, w->table[seq * w->table_len + at / MYNA__PAGE], k, v);
      if (coded(w->s.type)) memcpy(w->k + row * k_row(w), k, (size_t)(n * k_row(w)) * sizeof *k);
      if (coded(w->s.type_v)) memcpy(w->v + row * v_row(w), v, (size_t)(n * v_row(w)) * sizeof *v);
    }
  drop(k, MYNA__PAGE * k_row(w));
  drop(v, MYNA__PAGE * v_row(w));
}

/* Pages in random order, pool of NaN, sequences written in pieces. */
static world world_new(const shape *s) {
  world w = {.s = *s};
  while (w.n_seq < MAX_SEQ && s->ctx[w.n_seq] > 0) w.max_ctx = MYNA__MAX(w.max_ctx, s->ctx[w.n_seq]), w.n_seq++;
  w.table_len = w.max_ctx / MYNA__PAGE + 2;
  int64_t n_page = w.n_seq * w.table_len;
  w.page_bytes = myna__kv_page_bytes(s->type, s->type_v, s->n_kv_head, s->dim_k, s->dim_v);
  assert_true(w.page_bytes > 0);
  w.kv = (myna__kv_view){.page_stride = (int64_t)w.page_bytes + 64,
                         .type_k = s->type,
                         .type_v = s->type_v,
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
  as_stored(&w);
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
  (apart ? myna__attn_apart : myna__attn)(&a, scratch, pools[threads]);
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

/* The query as keys of codes meet it: rotated, per 32 dims rounded to 127 steps of its largest, and turned back. */
static void seen_query(const world *w, float *q) {
  int64_t dim = w->s.dim_k, h = myna__rotation(dim);
  if (!coded(w->s.type)) return;
  myna__kernels()->hadamard(q, dim, h);
  for (int64_t d = 0; d < dim; d++) q[d] *= scale_of(w);
  for (int64_t d = 0; d < dim; d += 32) {
    float top = 0;
    int64_t n = MYNA__MIN(32, dim - d);
    for (int64_t i = d; i < d + n; i++) top = fabsf(q[i]) > top ? fabsf(q[i]) : top;
    for (int64_t i = d; i < d + n && top > 0; i++) q[i] = rintf(q[i] * (127.0f / top)) * (top / 127.0f);
  }
  myna__kernels()->hadamard(q, dim, h);
  for (int64_t d = 0; d < dim; d++) q[d] /= scale_of(w);
}

/* One head of one token; mass[d] = sum of p |v|, of rotated values the length of that. */
static void reference(const world *w, const batch *b, int64_t t, int64_t h, double *o, double *mass) {
  int64_t seq = b->seq[t], pos = b->pos[t], kv_head = h / w->s.group;
  double l = 0, top = w->s.sinks ? (double)w->sink[h] : -INFINITY, *s = myna__alloc((size_t)(pos + 1) * sizeof *s);
  float q[512];
  memcpy(q, b->q + t * b->ldq + h * w->s.dim_k, (size_t)w->s.dim_k * sizeof *q);
  seen_query(w, q);
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
  double length = 0;
  for (int64_t d = 0; d < w->s.dim_v; d++) length += mass[d] * mass[d];
  if (coded(w->s.type_v))
    for (int64_t d = 0; d < w->s.dim_v; d++) mass[d] = sqrt(length);
  myna__free(s, (size_t)(pos + 1) * sizeof *s);
}

/* Does this level multiply bf16 pairs, with queries and weights rounded to bf16? */
static bool bf16_dot(const shape *s) { return (s->type == MYNA_BF16 || s->type_v == MYNA_BF16) && myna__bf16_dot(); }

static void assert_near_double(const world *w, const batch *b, const float *out) {
  double o[512], mass[512], bound = bf16_dot(&w->s) ? 0x1p-6 : 1e-5, sum = 0, n = 0;
  for (int64_t t = 0; t < b->n; t++)
    for (int64_t h = 0; h < n_head(w) && b->seq[t] >= 0; h++) {
      reference(w, b, t, h, o, mass);
      for (int64_t d = 0; d < w->s.dim_v; d++) {
        double got = (double)out[t * b->ldo + h * w->s.dim_v + d], e = fabs(got - o[d]) / (mass[d] + 1e-30);
        sum += e * e, n++;
        if (!(fabs(got - o[d]) <= bound * mass[d] + 1e-30))
          fail_msg(
              "%s %s/%s, dim %lld/%lld, group %lld: [%lld pos %d][%lld][%lld] is %.9g, not %.9g (%.2g of the mass)",
              myna__cpu_name(myna__cpu()), myna_dtype_name(w->s.type), myna_dtype_name(w->s.type_v),
              (long long)w->s.dim_k, (long long)w->s.dim_v, (long long)w->s.group, (long long)t, b->pos[t],
              (long long)h, (long long)d, got, o[d], e);
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

static const struct {
  myna_dtype k, v;
} pairs[] = {{MYNA_F32, MYNA_F32},   {MYNA_F16, MYNA_F16},   {MYNA_BF16, MYNA_BF16}, {MYNA_Q8_0, MYNA_Q8_0},
             {MYNA_Q4_0, MYNA_Q4_0}, {MYNA_Q8_0, MYNA_Q4_0}, {MYNA_BF16, MYNA_Q8_0}, {MYNA_Q8_0, MYNA_BF16},
             {MYNA_F16, MYNA_Q4_0},  {MYNA_Q4_0, MYNA_F32},  {MYNA_F32, MYNA_F16},   {MYNA_F32, MYNA_BF16},
             {MYNA_F32, MYNA_Q8_0},  {MYNA_F32, MYNA_Q4_0},  {MYNA_F16, MYNA_F32},   {MYNA_F16, MYNA_BF16},
             {MYNA_F16, MYNA_Q8_0},  {MYNA_BF16, MYNA_F32},  {MYNA_BF16, MYNA_F16},  {MYNA_BF16, MYNA_Q4_0},
             {MYNA_Q8_0, MYNA_F32},  {MYNA_Q8_0, MYNA_F16},  {MYNA_Q4_0, MYNA_F16},  {MYNA_Q4_0, MYNA_BF16},
             {MYNA_Q4_0, MYNA_Q8_0}};
#ifdef MYNA_SLOW
enum { SOME = 6 };
#else
enum { SOME = 9 };
#endif
enum { PLAIN = 3, CODES = 5, PAIRS = sizeof pairs / sizeof *pairs };
#define TYPES(t) .type = pairs[t].k, .type_v = pairs[t].v
static const int64_t dims[] = {12, 16, 32, 64, 80, 96, 128, 256};

/* Levels, and after them avx512bf16 as on machines that multiply bf16 fast, whatever this one is. */
static bool force(int level) {
  myna__cpu_level l = level == MYNA__CPU_COUNT ? MYNA__CPU_AVX512BF16 : (myna__cpu_level)level;
  if (!myna__cpu_supported(l)) return false;
  if (l == MYNA__CPU_AVX512BF16) myna__force_bf16_dot(level == MYNA__CPU_COUNT);
  myna__cpu_force(l);
  return true;
}
#define EACH_LEVEL(l)                        \
  for (int l = 0; l <= MYNA__CPU_COUNT; l++) \
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
    else if (!bf16_dot(s))
      assert_same(&w, &b, b.out, ref, 0, b.n, "against ref");
  }
  drop(ref, b.n * b.ldo);
  batch_free(&b);
  world_free(&w);
}

static void test_dims(void **state) {
  (void)state;
  for (int t = 0; t < PAIRS; t++)
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
      shape s = {TYPES(t),         .n_kv_head = 2,   .group = 1 + (int64_t)i % 4,
                 .dim_k = dims[i], .dim_v = dims[i], .ctx = {70 + 9 * (int64_t)i}};
      check(&s, 9);
      s.dim_v = (int64_t[]){1, 7, 15, 17, 33, 63, 65, 111}[i];
      s.group = 5 - s.group;
      check(&s, 3);
    }
}

static void test_odd_keys(void **state) {
  (void)state;
  for (int t = 0; t < PAIRS; t++)
    for (int64_t d = 1; d < 24; d += 2)
      check(&(shape){TYPES(t), .n_kv_head = 1, .group = 3, .dim_k = d, .dim_v = d + 1, .ctx = {67}}, 5);
}

static void test_groups(void **state) {
  (void)state;
  static const int64_t groups[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 64};
  for (int t = 0; t < SOME; t++)
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
      check(&(shape){TYPES(t), .n_kv_head = 1, .group = groups[i], .dim_k = 32, .dim_v = 48, .ctx = {150}},
            groups[i] > 8 ? 10 : 33);
}

static void test_contexts(void **state) {
  (void)state;
  static const int64_t tokens[] = {1, 3, 7, 8, 9, 33, 100};
  static const int64_t ctx[] = {1, 2, 15, 63, 64, 65, 511, 512, 513, 1100};
  for (int t = 0; t < SOME; t++)
    for (size_t i = 0; i < 7; i++)
      for (size_t c = 0; c < 10; c++)
        if (ctx[c] >= tokens[i])
          check(&(shape){TYPES(t), .n_kv_head = 1, .group = 2, .dim_k = 16, .dim_v = 24, .ctx = {ctx[c]}}, tokens[i]);
}

static void test_options(void **state) {
  (void)state;
  static const int64_t windows[] = {1, 2, 5, 63, 64, 65, 300, 511, 600};
  for (int t = 0; t < SOME; t++)
    for (size_t i = 0; i < 9; i++) {
      shape s = {TYPES(t),    .n_kv_head = 2, .group = 2,           .dim_k = 32,
                 .dim_v = 32, .ctx = {700},   .window = windows[i], .sinks = i % 2};
      if (i % 3 == 1) s.softcap = 5.0f;
      check(&s, 8);
      check(&s, 40);
    }
}

static void test_sequences(void **state) {
  (void)state;
  for (int t = 0; t < SOME; t++)
    for (int i = 0; i < 3; i++)
      check(&(shape){TYPES(t), .n_kv_head = 2, .group = 1 + i, .dim_k = 64, .dim_v = 64, .ctx = {100, 33, 600, 1},
                     .window = i == 2 ? 70 : 0, .sinks = i == 1},
            0);
}

/* Every row alone, every split, 1 to 3 threads: the bits of the whole batch. Types take turns at the shapes: all of them with all
 * would take minutes under emulation. */
static void test_invariance(void **state) {
  (void)state;
  for (int t = 0; t < SOME; t++)
    for (int g = 1 + t % 5; g < 6; g += 5) {
      shape s = {TYPES(t),
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
  for (int t = 0; t < SOME; t++)
    for (int window = 0; window < 100; window += 90) {
      shape s = {TYPES(t), .n_kv_head = 2, .group = 2, .dim_k = 32, .dim_v = 40, .ctx = {1300, 200}, .window = window};
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
  for (int t = 0; t < SOME; t++) {
    world w =
        world_new(&(shape){TYPES(t), .n_kv_head = 2, .group = 2, .dim_k = 16, .dim_v = 16, .ctx = {130}, .window = 64});
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
  for (int t = 0; t < SOME; t++)
    for (int64_t at = 90; at < 100; at++) {
      world w = world_new(&(shape){TYPES(t), .n_kv_head = 1, .group = 2, .dim_k = 64, .dim_v = 64, .ctx = {100}});
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

/* ---- sequences that share pages ---- */

/* Sequence `to` begins with the first n pages of `from`. */
static void share(world *w, int64_t to, int64_t from, int64_t n) {
  int64_t a = from * w->max_ctx, b = to * w->max_ctx, rows = n * MYNA__PAGE;
  for (int64_t i = 0; i < n; i++) w->table[to * w->table_len + i] = w->table[from * w->table_len + i];
  memcpy(w->k + b * k_row(w), w->k + a * k_row(w), (size_t)(rows * k_row(w)) * sizeof(float));
  memcpy(w->v + b * v_row(w), w->v + a * v_row(w), (size_t)(rows * v_row(w)) * sizeof(float));
}

/* A tree: 1, 2 and 3 share 9, 8 and 3 pages with 0, 5 shares 4 with 4; 6 is 0 until its last page, 7 alone. */
static world tree(shape s) {
  static const int64_t ctx[MAX_SEQ] = {620, 610, 530, 620, 300, 290, 640, 70};
  memcpy(s.ctx, ctx, sizeof ctx);
  world w = world_new(&s);
  share(&w, 1, 0, 9);
  share(&w, 2, 0, 8);
  share(&w, 3, 0, 3);
  share(&w, 5, 4, 4);
  share(&w, 6, 0, 9);
  return w;
}

/* One token of each sequence (generation), a draft of one, a chunk of another, then some more in any order. */
static void add_shared(batch *b, const world *w) {
  for (int32_t q = 0; q < w->n_seq; q++) add_tail(b, w, q, 1 + (q == 2 ? 3 : q == 3 ? 30 : 0));
  b->seq[b->n] = -1, b->pos[b->n++] = 5;
  for (int i = 0; i < 12; i++) {
    int32_t q = (int32_t)test_int(&rng, w->n_seq);
    b->seq[b->n] = q, b->pos[b->n++] = (int32_t)(w->s.ctx[q] - 1 - test_int(&rng, w->s.window ? 60 : w->s.ctx[q]));
  }
}

/* Reading shared pages together gives the bits of reading them apart, and those are right; whole, in few tokens, and with any threads. */
static void check_shared(const shape *s) {
  world w = tree(*s);
  batch b = {0};
  add_shared(&b, &w);
  batch_q(&b, &w);
  if (s->window) /* what lies behind the windows of all tokens has been given back */
    for (int64_t q = 0; q < w.n_seq; q++)
      for (int64_t i = 0; i < (w.s.ctx[q] - 60 - s->window) / MYNA__PAGE; i++) w.table[q * w.table_len + i] = -1;
  float *part = floats(b.n * b.ldo);
  EACH_LEVEL(l) {
    apart = true;
    attend(&w, &b, 0, b.n, b.out, 1);
    if (!s->window && l == MYNA__CPU_REF) assert_near_double(&w, &b, b.out); /* other tests have the levels */
    apart = false;
    for (int threads = 1; threads <= THREADS; threads++) {
      attend(&w, &b, 0, b.n, part, threads);
      assert_same(&w, &b, part, b.out, 0, b.n, "together");
      for (int64_t from = 0, n; threads == THREADS && from < b.n; from += n) {
        n = from ? 2 + test_int(&rng, 9) : w.n_seq;
        if (n > b.n - from) n = b.n - from;
        attend(&w, &b, from, n, part, threads);
        assert_same(&w, &b, part, b.out, from, n, "few together");
      }
    }
  }
  drop(part, b.n * b.ldo);
  batch_free(&b);
  world_free(&w);
}

static void test_shared(void **state) {
  (void)state;
  static const int64_t some_dims[] = {64, 32, 16, 80, 24, 40, 48};
  static const int64_t windows[] = {0, 130, 0, 600};
  for (int t = 0; t < SOME; t++)
    check_shared(&(shape){TYPES(t), .n_kv_head = 1 + t % 2, .group = 1 + t % 7, .dim_k = some_dims[t % 7],
                          .dim_v = t % 3 ? some_dims[t % 7] : 24, .window = windows[t % 4], .sinks = t % 5 == 1,
                          .softcap = t % 5 == 2 ? 20.0f : 0});
}

/* The blocks of one token of each sequence at its end. */
static int64_t blocks_of(const world *w, myna__attn_block *block, int64_t most, int threads, bool alone) {
  int32_t seq[MAX_SEQ], pos[MAX_SEQ], order[MAX_SEQ];
  myna__attn_args a = {.kv = w->kv, .seq = seq, .pos = pos, .n_tok = w->n_seq, .window = w->s.window};
  unsigned seen = 0;
  int64_t at = 0;
  for (int32_t q = 0; q < w->n_seq; q++) seq[q] = q, pos[q] = (int32_t)w->s.ctx[q] - 1;
  int64_t n = myna__attn_blocks(&a, block, order, most, threads, alone);
  for (int64_t i = 0; i < n; i++) {
    assert_int_equal(block[i].first, at);
    assert_true(block[i].n >= 1 && block[i].n <= most && block[i].mixed == (block[i].n > 1));
    for (int k = 0; k < block[i].n; k++, at++) {
      seen |= 1u << order[at];
      assert_true(pos[order[at]] >= block[i].lo_pos && pos[order[at]] <= block[i].hi_pos);
    }
  }
  assert_int_equal(at, w->n_seq);
  assert_int_equal(seen, (1u << w->n_seq) - 1); /* each token once */
  return n;
}

static void test_blocks(void **state) {
  (void)state;
  myna__attn_block block[MAX_SEQ];
  world w = tree((shape){TYPES(0), .n_kv_head = 4, .group = 1, .dim_k = 16, .dim_v = 16});
  int64_t n = blocks_of(&w, block, 48, 1, false), sizes[MAX_SEQ + 1] = {0};
  for (int64_t i = 0; i < n; i++) sizes[block[i].n]++;
  assert_int_equal(n, 3); /* 0, 1, 2, 3, 6; 4, 5; 7 */
  assert_int_equal(sizes[5] + sizes[2] + sizes[1], 3);
  assert_int_equal(blocks_of(&w, block, 48, 1, true), 8);
  assert_int_equal(blocks_of(&w, block, 4, 1, false), 4);
  assert_int_equal(blocks_of(&w, block, 2, 1, false), 5);
  assert_int_equal(blocks_of(&w, block, 1, 1, false), 8);
  assert_int_equal(blocks_of(&w, block, 48, 64, false), 8); /* there would not be work for all */
  w.s.window = 64;                                          /* none sees a page that another does, but 0 and 6 */
  assert_true(blocks_of(&w, block, 48, 1, false) >= 6);
  world_free(&w);
}

/* ---- pages ---- */

/* What was written comes back rounded once, at every level; unwritten positions keep their bytes. */
static void test_round_trip(void **state) {
  (void)state;
  for (int t = 0; t < PLAIN; t++)
    for (int64_t dim = 1; dim < 140; dim += dim < 35 ? 1 : 13) EACH_LEVEL(l) {
        world w = world_new(&(shape){TYPES(t), .n_kv_head = 3, .group = 1, .dim_k = dim,
                                     .dim_v = dim < 20 ? 141 - dim : dim, .ctx = {71, 64, 1}});
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
  for (int t = 0; t < PLAIN; t++) EACH_LEVEL(l) {
      world w = world_new(&(shape){TYPES(t), .n_kv_head = 1, .group = 1, .dim_k = n, .dim_v = n, .ctx = {3}});
      memcpy(w.k + n, special, sizeof special);
      memcpy(w.v + n, special, sizeof special);
      write_range(&w, 0, 1, 2, 1);
      float *k = floats(MYNA__PAGE * n), *v = floats(MYNA__PAGE * n);
      myna__kv_read(&w.kv, w.table[0], k, v);
      for (int64_t i = 0; i < n; i++) {
        float want = stored(pairs[t].k, w.k[n + i]);
        bool same = isnan(want) ? isnan(k[n + i]) && isnan(v[n + i])
                                : bits(k[n + i]) == bits(want) && bits(v[n + i]) == bits(want);
        if (!same)
          fail_msg("%s: %08x is stored as %g, %g, not %g", myna_dtype_name(pairs[t].k), special[i], (double)k[n + i],
                   (double)v[n + i], (double)want);
      }
      drop(k, MYNA__PAGE * n);
      drop(v, MYNA__PAGE * n);
      world_free(&w);
    }
}

static void test_no_layout(void **state) {
  (void)state;
  assert_int_equal(myna__kv_page_bytes(MYNA_Q8_1, MYNA_Q8_1, 1, 64, 64), 0);
  assert_int_equal(myna__kv_page_bytes(MYNA_F32, MYNA_I32, 1, 64, 64), 0);
  assert_int_equal(myna__kv_page_bytes(MYNA_Q4_K, MYNA_F32, 1, 64, 64), 0);
}

/* ---- codes ---- */

/* H x in double by the definition: every run of h times (-1)^(bits that i and j share) / sqrt h. */
static void rotated(double *y, const float *x, int64_t n, int64_t h) {
  for (int64_t i = 0; i < n; i++) {
    y[i] = 0;
    for (int64_t j = 0; j < h; j++) {
      double e = (double)x[i / h * h + j];
      y[i] += __builtin_popcountll((unsigned long long)(i % h & j)) % 2 ? -e : e;
    }
    y[i] /= sqrt((double)h);
  }
}

static void test_rotation(void **state) {
  (void)state;
  assert_int_equal(myna__rotation(128), 128);
  assert_int_equal(myna__rotation(80), 16);
  assert_int_equal(myna__rotation(96), 32);
  assert_int_equal(myna__rotation(43), 1);
  assert_int_equal(myna__rotation(512), 256);
  for (int64_t dim = 1; dim <= 512; dim += dim < 132 ? 1 : 76) EACH_LEVEL(l) {
      float *x = normals(dim, 1), *y = floats(dim);
      double want[512];
      memcpy(y, x, (size_t)dim * sizeof *y);
      rotated(want, x, dim, myna__rotation(dim));
      myna__kernels()->hadamard(y, dim, myna__rotation(dim));
      for (int64_t i = 0; i < dim; i++)
        if (!(fabs((double)y[i] - want[i]) < 4e-6)) fail_msg("dim %lld [%lld]", (long long)dim, (long long)i);
      myna__kernels()->hadamard(y, dim, myna__rotation(dim));
      for (int64_t i = 0; i < dim; i++) assert_true(fabsf(y[i] - x[i]) < 4e-6f);
      drop(x, dim);
      drop(y, dim);
    }
}

/* What comes back is, rotated, within half a step of what was written; a step is the largest of 32 by 127 or by 8. */
static void near_written(const float *got, const float *x, int64_t dim, int bits) {
  double y[512], z[512];
  rotated(y, x, dim, myna__rotation(dim));
  rotated(z, got, dim, myna__rotation(dim));
  for (int64_t d = 0; d < dim; d += 32) {
    double top = 0;
    for (int64_t i = d; i < MYNA__MIN(dim, d + 32); i++) top = fabs(y[i]) > top ? fabs(y[i]) : top;
    for (int64_t i = d; i < MYNA__MIN(dim, d + 32); i++) {
      double step = bits == 8 ? top / 127 : top / 8, e = fabs(y[i] - z[i]);
      bool far = bits == 4 && fabs(y[i]) > 7.49 * step; /* 4 bits have no +8 */
      if (!(e <= step * (far ? 1.02 : 0.51) + 1e-6))
        fail_msg("%d bits, dim %lld: [%lld] %g became %g, step %g", bits, (long long)dim, (long long)i, y[i], z[i],
                 step);
    }
  }
}

static void test_codes(void **state) {
  (void)state;
  for (int t = PLAIN; t < CODES; t++)
    for (int64_t dim = 1; dim <= 512; dim += dim < 70 ? 1 : 37) {
      int bits = pairs[t].k == MYNA_Q8_0 ? 8 : 4;
      EACH_LEVEL(l) {
        shape s = {TYPES(t), .n_kv_head = 2, .group = 1, .dim_k = dim, .dim_v = dim, .ctx = {67}};
        test_rng before = rng;
        world w = world_new(&s);
        test_rng after = rng;
        rng = before; /* world_new draws the table, then k and v */
        for (int64_t i = 0; i < w.n_seq * w.table_len; i++) test_int(&rng, i + 1);
        float *k = normals(w.max_ctx * k_row(&w), 1), *v = normals(w.max_ctx * v_row(&w), 1);
        rng = after;
        for (int64_t i = 0; i < 67 * 2; i++) {
          near_written(w.k + i * dim, k + i * dim, dim, bits);
          near_written(w.v + i * dim, v + i * dim, dim, bits);
        }
        drop(k, w.max_ctx * k_row(&w));
        drop(v, w.max_ctx * v_row(&w));
        world_free(&w);
      }
    }
}

/* The bytes of pages of codes are the same at every level. Extremes: zeros, the smallest and largest scales, what is no number. */
static void test_same_pages(void **state) {
  (void)state;
  for (int t = PLAIN; t < CODES; t++)
    for (int64_t dim = 7; dim < 140; dim += 11) {
      shape s = {TYPES(t), .n_kv_head = 1, .group = 1, .dim_k = dim, .dim_v = dim, .ctx = {8}};
      static const float scales[8] = {1, 0, 1e-6f, 1e-12f, 1e9f, 3e38f, INFINITY, NAN};
      world w = world_new(&s);
      for (int64_t i = 0; i < 8 * dim; i++) w.k[i] = test_normal(&rng) * scales[i / dim], w.v[i] = -w.k[i];
      uint8_t *ref = myna__alloc(w.page_bytes), *page = w.mem + w.table[0] * w.kv.page_stride;
      EACH_LEVEL(l) {
        memset(page, 0, w.page_bytes);
        write_range(&w, 0, 0, 8, 1);
        if (l == 0) memcpy(ref, page, w.page_bytes);
        assert_memory_equal(page, ref, w.page_bytes);
      }
      float *k = floats(MYNA__PAGE * dim), *v = floats(MYNA__PAGE * dim);
      myna__kv_read(&w.kv, w.table[0], k, v);
      for (int64_t i = 0; i < 8 * dim; i++) /* not finite: the group; and the rotation carries it on */
        assert_true(isfinite(k[i]) == (i / dim < 6) || (i / dim == 6 && dim % 32 > 0) || i / dim == 5);
      drop(k, MYNA__PAGE * dim);
      drop(v, MYNA__PAGE * dim);
      myna__free(ref, w.page_bytes);
      world_free(&w);
    }
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
      cmocka_unit_test(test_no_layout),  cmocka_unit_test(test_rotation),   cmocka_unit_test(test_codes),
      cmocka_unit_test(test_same_pages), cmocka_unit_test(test_shared),     cmocka_unit_test(test_blocks),
  };
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  for (int n = 2; n <= THREADS; n++) myna__pool_free(pools[n]);
  return rc;
}
