/* attn.c: attention over cache pages: how rows and segments are spread over the pool, and the walk over pages and tiles.
 *
 * A block (attn_blocks.c) is some tokens of one sequence, or of several that share pages; with one KV head and its group of query heads it makes up to 48 rows. Rows
 * that share a page walk it together. Few tokens: a unit is (block, head, segment), the last unit of a block and head merges the segments. Many
 * tokens: a unit is (block, head) and walks its segments. Either way a row's segments are merged in ascending order by the same
 * function, so the bits are the same (docs/NUMERICS.md). */
#include "kernels/attn_blocks.h"
#include "kernels/table.h"
#include <math.h>
#include <stdatomic.h>

enum {
  ROWS = 48,
  FEW = 8,   /* tokens up to which segments are units */
  MANY = 12, /* rows from which on a page of 16 bits is opened once rather than by every tile */
  TURN = 256 /* floats of a query that are rotated at once: a multiple of every rotation */
};

typedef myna__attn_block block;

typedef struct layout { /* of scratch */
  int64_t group, max_rows, n_seg;
  size_t blocks, order, counters, workers, worker_bytes, partials, row_bytes, total;
} layout;

typedef struct attn_job {
  const myna__attn_args *a;
  const myna__ktable *t;
  layout l;
  uint8_t *scratch;
  const block *blocks;  /* [n_block] */
  const int32_t *order; /* [n_tok] */
  int64_t n_block;
  int kind_k, kind_v;
  int64_t bytes_k, bytes_v;  /* of one head in a page */
  int64_t n_unit, n_workers; /* a worker's next unit is probably so many further on */
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
  l.order = at;
  at += up64((size_t)max_tok * sizeof(int32_t));
  l.counters = at;
  at += up64((size_t)(FEW * a->kv.n_kv_head) * sizeof(atomic_int));
  /* per worker: an opened page, prepared queries, o of a segment, rows, M and L of the rows */
  l.worker_bytes = up64((size_t)(a->kv.dim_k + a->kv.dim_v) * MYNA__PAGE * 4 +
                        (size_t)l.max_rows * ((size_t)myna__query_bytes(a->kv.dim_k) + sizeof(myna__attn_row) +
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

/* The sink takes its share of the denominator; what sees nothing is zero. Rotated values are turned back. */
static void finish_row(const attn_job *j, int64_t head, float M, float L, float *o) {
  const myna__attn_args *a = j->a;
  if (a->sinks) {
    float top = a->sinks[head] > M ? a->sinks[head] : M, f = expf(M - top);
    L = L * f + expf(a->sinks[head] - top);
    for (int64_t d = 0; d < a->kv.dim_v; d++) o[d] *= f;
  }
  for (int64_t d = 0; d < a->kv.dim_v; d++) o[d] = L > 0 ? o[d] / L : 0.0f;
  if (myna__kv_facts[j->kind_v].groups) j->t->hadamard(o, a->kv.dim_v, myna__rotation(a->kv.dim_v));
}

/* Rows of a block and KV head: row i is its token i / group, head i % group of the group. */
static int rows_of(const attn_job *j, const block *b) { return (int)(b->n * j->l.group); }
static int64_t row_token(const attn_job *j, const block *b, int i) { return j->order[b->first + i / j->l.group]; }
static int64_t row_head(const attn_job *j, int64_t kv_head, int i) { return kv_head * j->l.group + i % j->l.group; }
static float *row_out(const attn_job *j, const block *b, int64_t kv_head, int i) {
  return j->a->out + row_token(j, b, i) * j->a->ldo + row_head(j, kv_head, i) * j->a->kv.dim_v;
}

typedef struct work { /* a worker's memory */
  float *open_k, *open_v, *o, *M, *L;
  uint8_t *query;
  myna__attn_row *row;
} work;

static work work_of(const attn_job *j, int worker) {
  const myna__kv_view *kv = &j->a->kv;
  work w = {.open_k = (float *)(void *)(j->scratch + j->l.workers + j->l.worker_bytes * (size_t)worker)};
  w.open_v = w.open_k + MYNA__PAGE * kv->dim_k;
  w.query = (uint8_t *)(w.open_v + MYNA__PAGE * kv->dim_v);
  w.row = (myna__attn_row *)(void *)(w.query + j->l.max_rows * myna__query_bytes(kv->dim_k));
  w.o = (float *)(void *)(w.row + j->l.max_rows);
  w.M = w.o + j->l.max_rows * kv->dim_v;
  w.L = w.M + j->l.max_rows;
  return w;
}

/* The queries of (block, head), rotated as the keys are. */
static void prepare(const attn_job *j, const block *b, int64_t kv_head, work *w) {
  const myna__attn_args *a = j->a;
  int64_t dim = a->kv.dim_k;
  for (int i = 0; i < rows_of(j, b); i++) {
    const float *q = a->q + row_token(j, b, i) * a->ldq + row_head(j, kv_head, i) * dim;
    uint8_t *to = w->query + i * myna__query_bytes(dim);
    w->row[i] = (myna__attn_row){.q = to, .o = w->o + i * a->kv.dim_v};
    if (!j->t->attn_query[j->kind_k]) { /* side by side: tokens lie powers of two apart, in one set of L1 */
      memcpy(to, q, (size_t)dim * sizeof *q);
      continue;
    }
    if (myna__kv_facts[j->kind_k].groups) {
      memcpy(w->open_k, q, (size_t)dim * sizeof *q); /* nothing is opened yet */
      j->t->hadamard(w->open_k, dim, myna__rotation(dim));
      q = w->open_k;
    }
    j->t->attn_query[j->kind_k](to, q, dim, a->scale);
  }
}

/* All rows over one page, in tiles. Values are added in runs of rows that see the same positions. */
static void walk_tiles(const myna__ktable *t, const myna__attn_page *p, myna__attn_row *row, int n, int kind_k,
                       int kind_v) {
  myna__attn_tile tile;
  tile.p = p;
  for (int i = 0, R; i < n; i += R) {
    R = myna__attn_tile_rows(n - i);
    tile.row = row + i;
    t->attn_scores[kind_k](&tile, R);
    for (int r = 0; r < R; r++)
      if (tile.row[r].lo < tile.row[r].hi) t->attn_soften[kind_v](&tile, r);
    for (int from = 0, to; from < R; from = to) {
      for (to = from + 1; to < R && tile.row[to].lo == tile.row[from].lo && tile.row[to].hi == tile.row[from].hi;) to++;
      if (tile.row[from].lo < tile.row[from].hi) t->attn_values[kind_v](&tile, from, to - from);
    }
  }
}

/* Opens what is not read as it lies, then walks. What is opened depends on the page alone, not on the rows. */
static void walk_page(const attn_job *j, myna__attn_page *p, myna__attn_row *row, int n, const work *w) {
  int lo = MYNA__PAGE, hi = 0, kind_k = j->kind_k, kind_v = j->kind_v;
  for (int i = 0; i < n; i++)
    if (row[i].lo < row[i].hi) lo = MYNA__MIN(lo, row[i].lo), hi = MYNA__MAX(hi, row[i].hi);
  if (lo >= hi) return;
  if (j->t->attn_walk) {
    j->t->attn_walk(p, row, n, kind_k, kind_v, w->open_v);
    return;
  }
  if (j->t->attn_open_v[kind_v] && (n >= MANY || !j->t->attn_values[kind_v])) {
    j->t->attn_open_v[kind_v](w->open_v, p, lo, hi);
    p->v = p->next_v = (const uint8_t *)w->open_v;
    kind_v = MYNA__KV_F32;
  }
  if (j->t->attn_open_k[kind_k] && n >= MANY) {
    j->t->attn_open_k[kind_k](w->open_k, p, 0, MYNA__PAGE);
    p->k = p->next_k = (const uint8_t *)w->open_k;
    kind_k = MYNA__KV_F32;
  }
  walk_tiles(j->t, p, row, n, kind_k, kind_v);
}

/* Where the block's token t keeps position p: a page of the pool or -1. */
static int64_t page_of(const attn_job *j, const block *b, int t, int64_t p) {
  return myna__kv_page_at(&j->a->kv, j->a->seq[j->order[b->first + t]], p);
}

/* Tokens from t on that have position p in one page with it. */
static int together(const attn_job *j, const block *b, int t, int64_t p, int64_t page) {
  int e = t + 1;
  if (!b->mixed) return b->n;
  while (e < b->n && page_of(j, b, e, p) == page) e++;
  return e;
}

/* K of a head in a page; V follows. */
static const uint8_t *head_at(const attn_job *j, int64_t kv_head, int64_t page) {
  return j->a->kv.pool + page * j->a->kv.page_stride + kv_head * (j->bytes_k + j->bytes_v);
}

/* next: what will be read after it, or NULL. */
static myna__attn_page view_page(const attn_job *j, int64_t kv_head, int64_t page, const uint8_t *next) {
  const uint8_t *k = head_at(j, kv_head, page);
  if (!next) next = k;
  return (myna__attn_page){.k = k,
                           .v = k + j->bytes_k,
                           .next_k = next,
                           .next_v = next + j->bytes_k,
                           .dim_k = j->a->kv.dim_k,
                           .dim_v = j->a->kv.dim_v,
                           .scale = j->t->attn_query[j->kind_k] ? 1.0f : j->a->scale,
                           .softcap = j->a->softcap};
}

/* Where (block, head) begins to read at position p or at its first, or NULL. */
static const uint8_t *begins(const attn_job *j, const block *b, int64_t kv_head, int64_t p) {
  int64_t page;
  p = MYNA__MAX(p, myna__attn_first_visible(j->a, b->lo_pos));
  if (p > b->hi_pos || (page = page_of(j, b, 0, p)) < 0) return NULL;
  return head_at(j, kv_head, page);
}

/* What the rows see of the page at position p. */
static void see(const attn_job *j, const block *b, int64_t p, myna__attn_row *row) {
  for (int32_t t = 0; t < b->n; t++) {
    int64_t pos = j->a->pos[j->order[b->first + t]];
    int lo = (int)MYNA__MIN(MYNA__MAX(myna__attn_first_visible(j->a, pos) - p, 0), MYNA__PAGE),
        hi = (int)MYNA__MAX(MYNA__MIN(pos + 1 - p, MYNA__PAGE), 0);
    for (int64_t g = 0; g < j->l.group; g++, row++) row->lo = lo, row->hi = hi;
  }
}

/* One segment of all rows of (block, head): fills w->row[].m, .l (lanes) and o. after: what is read behind it. */
static void segment(const attn_job *j, const block *b, int64_t kv_head, int64_t seg, work *w, const uint8_t *after) {
  const myna__attn_args *a = j->a;
  int n = rows_of(j, b), group = (int)j->l.group;
  for (int i = 0; i < n; i++) {
    w->row[i].m = -INFINITY;
    memset(w->row[i].l, 0, sizeof w->row[i].l);
    memset(w->row[i].o, 0, (size_t)a->kv.dim_v * sizeof(float));
  }
  int64_t from = MYNA__MAX(myna__attn_first_visible(a, b->lo_pos), seg * MYNA__SEGMENT),
          to = MYNA__MIN((int64_t)b->hi_pos + 1, (seg + 1) * MYNA__SEGMENT);
  for (int64_t p = from / MYNA__PAGE * MYNA__PAGE; p < to; p += MYNA__PAGE) {
    see(j, b, p, w->row);
    for (int t = 0, e; t < b->n; t = e) {
      int64_t page = page_of(j, b, t, p), other;
      e = together(j, b, t, p, page);
      if (page < 0) continue;
      const uint8_t *next = p + MYNA__PAGE < to ? begins(j, b, kv_head, p + MYNA__PAGE) : after;
      if (e < b->n && (other = page_of(j, b, e, p)) >= 0) next = head_at(j, kv_head, other);
      myna__attn_page x = view_page(j, kv_head, page, next);
      walk_page(j, &x, w->row + t * group, (e - t) * group, w);
    }
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
  *s0 = myna__attn_first_visible(j->a, b->lo_pos) / MYNA__SEGMENT;
  *s1 = j->a->seq[j->order[b->first]] < 0 || b->hi_pos < 0 ? 0 : MYNA__MIN(b->hi_pos / MYNA__SEGMENT + 1, j->l.n_seg);
}

/* Many tokens: all segments of one (block, head). */
static void unit_whole(void *arg, int64_t unit, int worker) {
  const attn_job *j = arg;
  const block *b = j->blocks + unit / j->a->kv.n_kv_head;
  int64_t heads = j->a->kv.n_kv_head, kv_head = unit % heads, s0, s1, dim = j->a->kv.dim_v;
  int n = rows_of(j, b);
  work w = work_of(j, worker);
  zero_rows(j, b, kv_head);
  segments_of(j, b, &s0, &s1);
  if (s0 >= s1) return;
  prepare(j, b, kv_head, &w);
  for (int i = 0; i < n; i++) w.M[i] = -INFINITY, w.L[i] = 0;
  const int64_t next = unit + j->n_workers;
  for (int64_t s = s0; s < s1; s++) {
    const uint8_t *after = s + 1 < s1         ? begins(j, b, kv_head, (s + 1) * MYNA__SEGMENT)
                           : next < j->n_unit ? begins(j, j->blocks + next / heads, next % heads, 0)
                                              : NULL;
    segment(j, b, kv_head, s, &w, after);
    for (int i = 0; i < n; i++)
      merge(&w.M[i], &w.L[i], row_out(j, b, kv_head, i), w.row[i].m, lanes(w.row[i].l), w.row[i].o, dim);
  }
  for (int i = 0; i < n; i++) finish_row(j, row_head(j, kv_head, i), w.M[i], w.L[i], row_out(j, b, kv_head, i));
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
  const block *b = j->blocks + bh / heads;
  int n = rows_of(j, b);
  segments_of(j, b, &s0, &s1);
  if (s0 >= s1 && seg == 0) zero_rows(j, b, kv_head);
  if (seg >= s1 - s0) return;
  work w = work_of(j, worker);
  prepare(j, b, kv_head, &w);
  const int64_t next = unit + j->n_workers, next_bh = next % (j->n_block * heads);
  const block *nb = j->blocks + next_bh / heads;
  segment(j, b, kv_head, s0 + seg, &w,
          next < j->n_unit ? begins(j, nb, next_bh % heads, (s0 + next / (j->n_block * heads)) * MYNA__SEGMENT) : NULL);
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
    finish_row(j, row_head(j, kv_head, i), M, L, o);
  }
}

static void run(const myna__attn_args *a, void *scratch, myna__pool *pool, bool apart) {
  attn_job j = {.a = a,
                .t = myna__kernels(),
                .l = plan(a, a->n_tok, myna__pool_size(pool)),
                .scratch = scratch,
                .kind_k = myna__kv_kind_of(a->kv.type_k),
                .kind_v = myna__kv_kind_of(a->kv.type_v),
                .split = a->n_tok <= FEW};
  if (j.kind_k < 0 || j.kind_v < 0 || a->n_tok < 1) return;
  j.bytes_k = myna__page_k(a->kv.dim_k, j.kind_k);
  j.bytes_v = myna__page_v(a->kv.dim_v, j.kind_v);
  block *blocks = (block *)(void *)(j.scratch + j.l.blocks);
  int32_t *order = (int32_t *)(void *)(j.scratch + j.l.order);
  j.n_block = myna__attn_blocks(a, blocks, order, MYNA__MAX(1, ROWS / j.l.group), myna__pool_size(pool), apart);
  j.blocks = blocks;
  j.order = order;
  int64_t n = j.n_block * a->kv.n_kv_head, most = 0;
  j.n_workers = myna__pool_size(pool);
  j.n_unit = n;
  if (!j.split) {
    myna__pool_run(pool, n, unit_whole, &j);
    return;
  }
  memset(j.scratch + j.l.counters, 0, (size_t)n * sizeof(atomic_int));
  for (int64_t i = 0; i < j.n_block; i++) {
    int64_t s0, s1;
    segments_of(&j, j.blocks + i, &s0, &s1);
    most = MYNA__MAX(most, s1 - s0);
  }
  j.n_unit = n * MYNA__MAX(most, 1);
  myna__pool_run(pool, j.n_unit, unit_segment, &j);
}

void myna__attn(const myna__attn_args *a, void *scratch, myna__pool *pool) { run(a, scratch, pool, false); }
void myna__attn_apart(const myna__attn_args *a, void *scratch, myna__pool *pool) { run(a, scratch, pool, true); }
