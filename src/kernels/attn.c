/* attn.c: cache pages and attention over them: layout, writes, and how rows and segments are spread over the pool.
 *
 * A block is some consecutive tokens of one sequence; with one KV head and its group of query heads it makes up to 48 rows that
 * share every page. Few tokens: a unit is (block, head, segment), the last unit of a block and head merges the segments. Many
 * tokens: a unit is (block, head) and walks its segments. Either way a row's segments are merged in ascending order by the same
 * function, so the bits are the same (docs/NUMERICS.md). */
#include "kernels/attn.h"
#include "kernels/table.h"
#include <math.h>
#include <stdatomic.h>

static const struct {
  myna_dtype type;
  int bytes;
  bool pairs;
} kinds[MYNA__KV_KINDS] = {[MYNA__KV_F32] = {MYNA_F32, 4, false},
                           [MYNA__KV_BF16] = {MYNA_BF16, 2, true},
                           [MYNA__KV_F16] = {MYNA_F16, 2, false}};

static int kind_of(myna_dtype t) {
  for (int i = 0; i < MYNA__KV_KINDS; i++)
    if (kinds[i].type == t) return i;
  return -1;
}

size_t myna__kv_page_bytes(myna_dtype kv, int64_t n_kv_head, int64_t dim_k, int64_t dim_v) {
  int k = kind_of(kv);
  return k < 0 ? 0 : (size_t)(n_kv_head * (myna__page_k(dim_k) + myna__page_v(dim_v)) * kinds[k].bytes);
}

static uint8_t *head_of(const myna__kv_view *kv, int64_t page, int64_t head, int kind) {
  return kv->pool + page * kv->page_stride +
         head * (myna__page_k(kv->dim_k) + myna__page_v(kv->dim_v)) * kinds[kind].bytes;
}

/* Page of a position, or -1. */
static int64_t page_at(const myna__kv_view *kv, int64_t seq, int64_t pos) {
  if (seq < 0 || pos < 0 || pos / MYNA__PAGE >= kv->table_len) return -1;
  int32_t page = kv->table[seq * kv->table_len + pos / MYNA__PAGE];
  return page >= 0 && page < kv->n_page ? page : -1;
}

/* ---- writes and reads ---- */

static float get(const uint8_t *base, int64_t at, int kind) {
  float x;
  uint16_t h;
  if (kinds[kind].type == MYNA_F32) {
    memcpy(&x, base + at * 4, 4);
    return x;
  }
  memcpy(&h, base + at * 2, 2);
  return kinds[kind].type == MYNA_BF16 ? myna__bf16_to_f32(h) : myna__f16_to_f32(h);
}

/* The 16-bit form of n floats. BF16 without calls and branches, so that it vectorizes: nearest even, NaN stays NaN. */
static void narrow(uint16_t *h, const float *x, int64_t n, int kind) {
  if (kinds[kind].type == MYNA_F16) {
    for (int64_t i = 0; i < n; i++) h[i] = myna__f32_to_f16(x[i]);
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    uint32_t u;
    memcpy(&u, &x[i], 4);
    uint32_t even = u + 0x7fff + ((u >> 16) & 1), nan = u | 0x400000;
    h[i] = (uint16_t)(((u & 0x7fffffff) > 0x7f800000 ? nan : even) >> 16);
  }
}

static void scatter16(uint8_t *to, int64_t stride, const uint16_t *h, int64_t n) {
  for (int64_t i = 0; i < n; i++) memcpy(to + i * stride, &h[i], 2);
}
static void scatter32(uint8_t *to, int64_t stride, const void *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) memcpy(to + i * stride, (const uint8_t *)x + 4 * i, 4);
}

enum { CHUNK = 256 };

/* K of one head at position p of the page: dimensions (F32, F16) or pairs of them (BF16) lie 16 positions apart. */
static void write_k(uint8_t *base, const float *x, int64_t dim, int64_t p, int kind) {
  bool pairs = kinds[kind].pairs;
  int bytes = kinds[kind].bytes;
  for (int64_t d = 0; d < dim; d += CHUNK) {
    uint8_t *to = base + myna__k_at(dim, p, d, pairs) * bytes;
    int64_t n = MYNA__MIN(CHUNK, dim - d);
    uint16_t h[CHUNK];
    if (bytes == 4) {
      scatter32(to, 64, x + d, n);
      continue;
    }
    narrow(h, x + d, n, kind);
    if (n % 2) h[n] = 0; /* the padding of an odd dim is multiplied, too */
    if (pairs)
      scatter32(to, 64, h, (n + 1) / 2);
    else
      scatter16(to, 32, h, n);
  }
}

/* V of one head: a row of its own, or (BF16) every other value of the pair's row. */
static void write_v(uint8_t *base, const float *x, int64_t dim, int64_t p, int kind) {
  bool pairs = kinds[kind].pairs;
  int bytes = kinds[kind].bytes;
  for (int64_t d = 0; d < dim; d += CHUNK) {
    uint8_t *to = base + myna__v_at(dim, p, d, pairs) * bytes;
    int64_t n = MYNA__MIN(CHUNK, dim - d);
    uint16_t h[CHUNK];
    if (bytes == 4) {
      memcpy(to, x + d, (size_t)n * 4);
      continue;
    }
    narrow(h, x + d, n, kind);
    scatter16(to, pairs ? 4 : 2, h, n);
  }
}

typedef struct write_job {
  const myna__kv_view *kv;
  const float *k, *v;
  int64_t ldk, ldv, n_tok, per_unit;
  const int32_t *seq, *pos;
  int kind;
} write_job;

static void write_token(const write_job *j, int64_t t) {
  const myna__kv_view *kv = j->kv;
  int64_t page = page_at(kv, j->seq[t], j->pos[t]), p = j->pos[t] % MYNA__PAGE;
  if (page < 0) return;
  for (int64_t h = 0; h < kv->n_kv_head; h++) {
    uint8_t *base = head_of(kv, page, h, j->kind);
    write_k(base, j->k + t * j->ldk + h * kv->dim_k, kv->dim_k, p, j->kind);
    write_v(base + myna__page_k(kv->dim_k) * kinds[j->kind].bytes, j->v + t * j->ldv + h * kv->dim_v, kv->dim_v, p,
            j->kind);
  }
}

static void write_unit(void *arg, int64_t unit, int worker) {
  const write_job *j = arg;
  (void)worker;
  int64_t end = MYNA__MIN(j->n_tok, (unit + 1) * j->per_unit);
  for (int64_t t = unit * j->per_unit; t < end; t++) write_token(j, t);
}

void myna__kv_write(const myna__kv_view *kv, const float *k, int64_t ldk, const float *v, int64_t ldv,
                    const int32_t *seq, const int32_t *pos, int64_t n_tok, myna__pool *pool) {
  write_job j = {kv, k, v, ldk, ldv, n_tok, 0, seq, pos, kind_of(kv->type)};
  if (j.kind < 0 || n_tok < 1) return;
  j.per_unit = n_tok < 16 ? n_tok : MYNA__MAX(8, n_tok / (4 * myna__pool_size(pool)));
  myna__pool_run(pool, (n_tok + j.per_unit - 1) / j.per_unit, write_unit, &j);
}

void myna__kv_read(const myna__kv_view *kv, int32_t page, float *k, float *v) {
  int kind = kind_of(kv->type);
  bool pairs = kinds[kind].pairs;
  for (int64_t p = 0; p < MYNA__PAGE; p++)
    for (int64_t h = 0; h < kv->n_kv_head; h++) {
      const uint8_t *base = head_of(kv, page, h, kind), *values = base + myna__page_k(kv->dim_k) * kinds[kind].bytes;
      for (int64_t d = 0; d < kv->dim_k; d++) *k++ = get(base, myna__k_at(kv->dim_k, p, d, pairs), kind);
      for (int64_t d = 0; d < kv->dim_v; d++) *v++ = get(values, myna__v_at(kv->dim_v, p, d, pairs), kind);
    }
}

/* ---- attention ---- */

enum { ROWS = 48, FEW = 8 /* tokens up to which segments are units */ };

typedef struct block { /* consecutive tokens of one sequence */
  int32_t first, n;
} block;

typedef struct layout { /* of scratch */
  int64_t group, max_rows, n_seg;
  size_t blocks, counters, workers, worker_bytes, partials, row_bytes, total;
} layout;

typedef struct attn_job {
  const myna__attn_args *a;
  const myna__ktable *t;
  layout l;
  uint8_t *scratch;
  int64_t n_block;
  int kind;
  bool split;
} attn_job;

static size_t up64(size_t n) { return (n + 63) / 64 * 64; }

static layout plan(const myna__attn_args *a, int64_t max_tok, int n_threads) {
  layout l = {.group = a->n_head / a->kv.n_kv_head};
  l.max_rows = MYNA__MAX(ROWS, l.group);
  l.n_seg = (a->kv.table_len * MYNA__PAGE + MYNA__SEGMENT - 1) / MYNA__SEGMENT;
  size_t at = 0;
  l.blocks = at;
  at += up64((size_t)max_tok * sizeof(block));
  l.counters = at;
  at += up64((size_t)(FEW * a->kv.n_kv_head) * sizeof(atomic_int));
  /* per worker: prepared queries, o of a segment, rows, M and L of the rows */
  l.worker_bytes = up64((size_t)l.max_rows * ((size_t)myna__query_bytes(a->kv.dim_k) + sizeof(myna__attn_row) +
                                              (size_t)a->kv.dim_v * 4 + 8));
  l.workers = at;
  at += l.worker_bytes * (size_t)n_threads;
  l.row_bytes = (size_t)(a->kv.dim_v + 2) * 4; /* m, l, o */
  l.partials = at;
  at += up64((size_t)(MYNA__MIN(max_tok, FEW) * a->n_head * l.n_seg) * l.row_bytes);
  l.total = at;
  return l;
}

size_t myna__attn_scratch(const myna__attn_args *a, int64_t max_tok, int n_threads) {
  return plan(a, max_tok, n_threads).total;
}

static int64_t make_blocks(const myna__attn_args *a, block *b, int64_t per_block) {
  int64_t n = 0;
  for (int64_t t = 0; t < a->n_tok; n++) {
    int64_t e = t + 1;
    while (e < a->n_tok && e - t < per_block && a->seq[e] == a->seq[t] && a->pos[e] == (int64_t)a->pos[e - 1] + 1) e++;
    b[n] = (block){(int32_t)t, (int32_t)(e - t)};
    t = e;
  }
  return n;
}

static int64_t first_visible(const myna__attn_args *a, int64_t pos) {
  return a->window > 0 ? MYNA__MAX(pos - a->window + 1, 0) : 0;
}

/* (M, L, O) with (m, l, o) of a later segment. */
static void merge(float *M, float *L, float *O, float m, float l, const float *o, int64_t dim) {
  if (m == -INFINITY) return;
  if (*M == -INFINITY) {
    *M = m;
    *L = l;
    memcpy(O, o, (size_t)dim * sizeof *O);
    return;
  }
  float top = m > *M ? m : *M, f = expf(*M - top), g = expf(m - top);
  for (int64_t d = 0; d < dim; d++) O[d] = O[d] * f + o[d] * g;
  *L = *L * f + l * g;
  *M = top;
}

/* The sink takes its share of the denominator; what sees nothing is zero. */
static void finish_row(const myna__attn_args *a, int64_t head, float M, float L, float *o) {
  if (a->sinks) {
    float top = a->sinks[head] > M ? a->sinks[head] : M, f = expf(M - top);
    L = L * f + expf(a->sinks[head] - top);
    for (int64_t d = 0; d < a->kv.dim_v; d++) o[d] *= f;
  }
  for (int64_t d = 0; d < a->kv.dim_v; d++) o[d] = L > 0 ? o[d] / L : 0.0f;
}

/* Rows of a block and KV head: row i is token i / group, head i % group of the group. */
static int rows_of(const attn_job *j, const block *b) { return (int)(b->n * j->l.group); }
static int64_t row_token(const attn_job *j, const block *b, int i) { return b->first + i / j->l.group; }
static int64_t row_head(const attn_job *j, int64_t kv_head, int i) { return kv_head * j->l.group + i % j->l.group; }
static float *row_out(const attn_job *j, const block *b, int64_t kv_head, int i) {
  return j->a->out + row_token(j, b, i) * j->a->ldo + row_head(j, kv_head, i) * j->a->kv.dim_v;
}

typedef struct work { /* a worker's memory */
  uint8_t *query;
  float *o, *M, *L;
  myna__attn_row *row;
} work;

static work work_of(const attn_job *j, int worker) {
  const myna__kv_view *kv = &j->a->kv;
  work w = {.query = j->scratch + j->l.workers + j->l.worker_bytes * (size_t)worker};
  w.row = (myna__attn_row *)(void *)(w.query + j->l.max_rows * myna__query_bytes(kv->dim_k));
  w.o = (float *)(void *)(w.row + j->l.max_rows);
  w.M = w.o + j->l.max_rows * kv->dim_v;
  w.L = w.M + j->l.max_rows;
  return w;
}

/* The queries of (block, head). */
static void prepare(const attn_job *j, const block *b, int64_t kv_head, work *w) {
  const myna__attn_args *a = j->a;
  for (int i = 0; i < rows_of(j, b); i++) {
    const float *q = a->q + row_token(j, b, i) * a->ldq + row_head(j, kv_head, i) * a->kv.dim_k;
    w->row[i] = (myna__attn_row){.q = q, .o = w->o + i * a->kv.dim_v};
    if (!j->t->attn_query[j->kind]) continue;
    w->row[i].q = w->query + i * myna__query_bytes(a->kv.dim_k);
    j->t->attn_query[j->kind](w->query + i * myna__query_bytes(a->kv.dim_k), q, a->kv.dim_k, a->scale);
  }
}

/* One segment of all rows of (block, head): fills w->row[].m, .l (lanes) and o. */
static void segment(const attn_job *j, const block *b, int64_t kv_head, int64_t seg, work *w) {
  const myna__attn_args *a = j->a;
  const myna__kv_view *kv = &a->kv;
  int n = rows_of(j, b);
  for (int i = 0; i < n; i++) {
    w->row[i].m = -INFINITY;
    memset(w->row[i].l, 0, sizeof w->row[i].l);
    memset(w->row[i].o, 0, (size_t)kv->dim_v * sizeof(float));
  }
  int64_t last = a->pos[b->first + b->n - 1], from = MYNA__MAX(first_visible(a, a->pos[b->first]), seg * MYNA__SEGMENT);
  int64_t to = MYNA__MIN(last + 1, (seg + 1) * MYNA__SEGMENT);
  for (int64_t p = from / MYNA__PAGE * MYNA__PAGE; p < to; p += MYNA__PAGE) {
    int64_t page = page_at(kv, a->seq[b->first], p),
            next = p + MYNA__PAGE < to ? page_at(kv, a->seq[b->first], p + MYNA__PAGE) : -1;
    if (page < 0) continue;
    const uint8_t *base = head_of(kv, page, kv_head, j->kind);
    myna__attn_page x = {.k = base,
                         .next = next < 0 ? NULL : head_of(kv, next, kv_head, j->kind),
                         .v = base + myna__page_k(kv->dim_k) * kinds[j->kind].bytes,
                         .dim_k = kv->dim_k,
                         .dim_v = kv->dim_v,
                         .scale = a->scale,
                         .softcap = a->softcap,
                         .row = w->row,
                         .n_row = n};
    for (int i = 0; i < n; i++) {
      int64_t pos = a->pos[row_token(j, b, i)];
      w->row[i].lo = (int)MYNA__MAX(first_visible(a, pos) - p, 0);
      w->row[i].hi = (int)MYNA__MIN(pos + 1 - p, MYNA__PAGE);
    }
    j->t->attn_page[j->kind](&x);
  }
}

static float lanes(const float *l) {
  float t[16];
  memcpy(t, l, sizeof t);
  for (int w = 8; w > 0; w /= 2)
    for (int i = 0; i < w; i++) t[i] += t[i + w];
  return t[0];
}

static void zero_rows(const attn_job *j, const block *b, int64_t kv_head) {
  for (int i = 0; i < rows_of(j, b); i++) memset(row_out(j, b, kv_head, i), 0, (size_t)j->a->kv.dim_v * sizeof(float));
}

/* Segments [s0, s1) that the block sees; none for no sequence or positions outside the table. */
static void segments_of(const attn_job *j, const block *b, int64_t *s0, int64_t *s1) {
  int64_t last = (int64_t)j->a->pos[b->first] + b->n - 1;
  *s0 = first_visible(j->a, j->a->pos[b->first]) / MYNA__SEGMENT;
  *s1 = j->a->seq[b->first] < 0 || last < 0 ? 0 : MYNA__MIN(last / MYNA__SEGMENT + 1, j->l.n_seg);
}

/* Many tokens: all segments of one (block, head). */
static void unit_whole(void *arg, int64_t unit, int worker) {
  const attn_job *j = arg;
  const block *b = (const block *)(void *)(j->scratch + j->l.blocks) + unit / j->a->kv.n_kv_head;
  int64_t kv_head = unit % j->a->kv.n_kv_head, s0, s1, dim = j->a->kv.dim_v;
  int n = rows_of(j, b);
  work w = work_of(j, worker);
  zero_rows(j, b, kv_head);
  segments_of(j, b, &s0, &s1);
  if (s0 >= s1) return;
  prepare(j, b, kv_head, &w);
  for (int i = 0; i < n; i++) w.M[i] = -INFINITY, w.L[i] = 0;
  for (int64_t s = s0; s < s1; s++) {
    segment(j, b, kv_head, s, &w);
    for (int i = 0; i < n; i++)
      merge(&w.M[i], &w.L[i], row_out(j, b, kv_head, i), w.row[i].m, lanes(w.row[i].l), w.row[i].o, dim);
  }
  for (int i = 0; i < n; i++) finish_row(j->a, row_head(j, kv_head, i), w.M[i], w.L[i], row_out(j, b, kv_head, i));
}

static float *partial(const attn_job *j, int64_t token, int64_t head, int64_t seg) {
  size_t i = (size_t)((token * j->a->n_head + head) * j->l.n_seg + seg);
  return (float *)(void *)(j->scratch + j->l.partials + i * j->l.row_bytes);
}

/* Few tokens: one segment of one (block, head); the last one to arrive merges. */
static void unit_segment(void *arg, int64_t unit, int worker) {
  const attn_job *j = arg;
  int64_t heads = j->a->kv.n_kv_head, seg = unit / (j->n_block * heads), bh = unit % (j->n_block * heads),
          kv_head = bh % heads, s0, s1, dim = j->a->kv.dim_v;
  const block *b = (const block *)(void *)(j->scratch + j->l.blocks) + bh / heads;
  int n = rows_of(j, b);
  segments_of(j, b, &s0, &s1);
  if (s0 >= s1 && seg == 0) zero_rows(j, b, kv_head);
  if (seg >= s1 - s0) return;
  work w = work_of(j, worker);
  prepare(j, b, kv_head, &w);
  segment(j, b, kv_head, s0 + seg, &w);
  for (int i = 0; i < n; i++) {
    float *p = partial(j, row_token(j, b, i), row_head(j, kv_head, i), seg);
    p[0] = w.row[i].m;
    p[1] = lanes(w.row[i].l);
    memcpy(p + 2, w.row[i].o, (size_t)dim * sizeof *p);
  }
  atomic_int *count = (atomic_int *)(void *)(j->scratch + j->l.counters) + bh;
  if (atomic_fetch_add(count, 1) + 1 < s1 - s0) return;
  for (int i = 0; i < n; i++) {
    float M = -INFINITY, L = 0, *o = row_out(j, b, kv_head, i);
    memset(o, 0, (size_t)dim * sizeof *o);
    for (int64_t s = 0; s < s1 - s0; s++) {
      const float *p = partial(j, row_token(j, b, i), row_head(j, kv_head, i), s);
      merge(&M, &L, o, p[0], p[1], p + 2, dim);
    }
    finish_row(j->a, row_head(j, kv_head, i), M, L, o);
  }
}

void myna__attn(const myna__attn_args *a, void *scratch, myna__pool *pool) {
  attn_job j = {.a = a,
                .t = myna__kernels(),
                .l = plan(a, a->n_tok, myna__pool_size(pool)),
                .scratch = scratch,
                .kind = kind_of(a->kv.type),
                .split = a->n_tok <= FEW};
  if (j.kind < 0 || a->n_tok < 1) return;
  j.n_block = make_blocks(a, (block *)(void *)(j.scratch + j.l.blocks), MYNA__MAX(1, ROWS / j.l.group));
  int64_t n = j.n_block * a->kv.n_kv_head, most = 0;
  if (!j.split) {
    myna__pool_run(pool, n, unit_whole, &j);
    return;
  }
  memset(j.scratch + j.l.counters, 0, (size_t)n * sizeof(atomic_int));
  for (int64_t i = 0; i < j.n_block; i++) {
    int64_t s0, s1;
    segments_of(&j, (const block *)(void *)(j.scratch + j.l.blocks) + i, &s0, &s1);
    most = MYNA__MAX(most, s1 - s0);
  }
  myna__pool_run(pool, n * MYNA__MAX(most, 1), unit_segment, &j);
}
