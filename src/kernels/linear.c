/* linear.c: y = x W^T for lists of weights, gated pairs and gathered experts: one path for any batch size.
 *
 * The work is a list of segments: the output rows of one weight (or gated pair, or expert) times a run of
 * activation rows. A segment is cut into grains of 48 output rows (3 strips). A grain takes K in ascending blocks
 * of 256: unpack the block of its strips into a panel in L1, multiply the panel with all columns, adding to
 * fp32 accumulators in the worker's scratch; then the epilogue writes y. Panels, tiles and splits differ with the
 * number of columns, the arithmetic of an output does not.
 *
 *   region 1 (or the caller, for few rows): norm, activation quantization, gathering rows by expert
 *   region 2: units are runs of grains, long ones first, so that each worker reads weights in file order and the short
 *             ones even out the finish
 *
 * Scratch: activation rows per form | segments | row order | per worker: panel, accumulators, one row of floats. */
#include "kernels/table.h"

enum {
  GRAIN_ROWS = MYNA__GRAIN * MYNA__STRIP,
  MAX_COLS = 512,               /* columns per pass over a grain: accumulators are MAX_COLS x 48 floats, in L2 */
  FEW_ROWS = 8,                 /* activation rows prepared by the caller alone */
  FILE_ORDER_BYTES = 128 << 10, /* of a grain, a part of L2 */
  NEAR_BYTES = 32 << 10,        /* of a grain that is fetched as a whole also for few columns */
  FEW_COLS = 64,                /* columns below which weights' bytes, not arithmetic, are the cost */
};

typedef struct segment {
  int w; /* index in the list; for gated pairs 0 */
  int64_t expert;
  int64_t row0, n_col; /* activation rows */
  int64_t grain0;      /* place of its first grain in the order of all grains */
} segment;

typedef struct linear {
  const myna__linear_args *a;
  const myna__ktable *kt;
  const myna__ptype *type[MYNA__LINEAR_MAX]; /* NULL: reference dot */
  myna__form form[MYNA__LINEAR_MAX];
  bool used[MYNA__FORM_COUNT], direct; /* direct: F32 rows are x itself */
  myna__arows act[MYNA__FORM_COUNT];
  uint8_t *act_buf[MYNA__FORM_COUNT];
  int64_t n_row;  /* activation rows = rows of y */
  int32_t *slot;  /* experts: [n_row] row of y of each activation row, sorted by expert */
  int32_t *place; /* experts: [n_row] activation row of each slot, -1 for none */
  int32_t *start; /* experts: [n_expert + 1] first activation row */
  segment *seg;
  int n_seg;
  int64_t n_grain;
  int n_threads;
  uint8_t *work;
  size_t work_bytes, panel_bytes, acc_bytes;
} linear;

/* ---- layout ---- */

static size_t align64(size_t n) { return (n + 63) & ~(size_t)63; }

/* Takes n bytes at *at of scratch; base NULL only counts. */
static void *take(uint8_t *base, size_t *at, size_t n) {
  void *p = base ? base + *at : NULL;
  *at += align64(n);
  return p;
}

static bool gathered(const myna__linear_args *a) { return a->n_used > 0; }
static int n_mats(const myna__linear_args *a) { return a->gate == MYNA__GATE_NONE ? a->n_w : 1; }
static int64_t n_experts(const myna__linear_args *a) { return MYNA__MAX(a->w[0]->n_expert, 1); }

/* The form of a type's activation rows, also where there is no panel form. */
static myna__form act_form(myna_dtype t, bool exact) {
  static const myna__form of_act[] = {MYNA__FORM_F32, MYNA__FORM_BF16, MYNA__FORM_Q32, MYNA__FORM_Q256};
  const myna__ptype *p = myna__ptype_of(t, exact);
  return p ? p->form : of_act[myna__quant_get(t)->act];
}

/* Lays out everything for n_tok tokens from `base` (NULL: only sizes). Returns the end of scratch. */
static size_t lay_out(linear *l, const myna__linear_args *a, int64_t n_tok, int n_threads, uint8_t *base) {
  *l = (linear){.a = a, .kt = myna__kernels()};
  int64_t n_in = a->w[0]->n_in, n_expert = n_experts(a);
  size_t at = 0;
  l->n_row = gathered(a) ? n_tok * a->n_used : n_tok;
  l->direct = !gathered(a) && !a->norm_w;
  for (int i = 0; i < a->n_w; i++) {
    l->type[i] = myna__ptype_of(a->w[i]->type, a->exact);
    l->form[i] = act_form(a->w[i]->type, a->exact);
    l->used[l->form[i]] = true;
    if (l->type[i]) l->panel_bytes = MYNA__MAX(l->panel_bytes, MYNA__GRAIN * myna__panel_bytes(l->type[i]->form));
  }
  for (int f = 0; f < MYNA__FORM_COUNT; f++) {
    if (!l->used[f]) continue;
    l->act[f] = myna__arows_layout((myna__form)f, n_in);
    if (f == MYNA__FORM_F32 && l->direct) continue;
    l->act_buf[f] = take(base, &at, l->act[f].stride * (size_t)l->n_row);
    l->act[f].row = l->act_buf[f];
  }
  l->seg = take(base, &at, (size_t)n_mats(a) * (size_t)MYNA__MIN(n_expert, l->n_row) * sizeof(segment));
  if (gathered(a)) {
    l->slot = take(base, &at, (size_t)l->n_row * sizeof *l->slot);
    l->place = take(base, &at, (size_t)l->n_row * sizeof *l->place);
    l->start = take(base, &at, (size_t)(n_expert + 1) * sizeof *l->start);
  }
  l->acc_bytes = (size_t)MYNA__MIN(l->n_row, MAX_COLS) * GRAIN_ROWS * sizeof(float);
  l->work_bytes = align64(MYNA__MAX(l->panel_bytes + 2 * l->acc_bytes, (size_t)n_in * sizeof(float)));
  l->work = take(base, &at, l->work_bytes * (size_t)n_threads);
  return at;
}

size_t myna__linear_scratch(const myna__linear_args *a, int64_t max_tok, int n_threads) {
  linear l;
  return lay_out(&l, a, max_tok, n_threads, NULL);
}

/* ---- region 1: activation rows ---- */

/* Writes x [n_in] in every form that is used, as activation row `row`. */
static void write_row(const linear *l, int64_t row, const float *x) {
  int64_t n = l->a->w[0]->n_in;
  for (int f = 0; f < MYNA__FORM_COUNT; f++) {
    uint8_t *to = l->act_buf[f];
    if (!to) continue;
    to += (size_t)row * l->act[f].stride;
    switch ((myna__form)f) {
    case MYNA__FORM_F32: memcpy(to, x, (size_t)n * sizeof *x); break;
    case MYNA__FORM_BF16: l->kt->quant_bf16(to, x, n); break;
    case MYNA__FORM_Q32: l->kt->quant_q32(to, x, n); break;
    case MYNA__FORM_Q256: l->kt->quant_q256(to, x, n); break;
    case MYNA__FORM_COUNT: break;
    }
  }
}

static void copy_row(const linear *l, int64_t to, int64_t from) {
  for (int f = 0; f < MYNA__FORM_COUNT; f++)
    if (l->act_buf[f])
      memcpy(l->act_buf[f] + (size_t)to * l->act[f].stride, l->act_buf[f] + (size_t)from * l->act[f].stride,
             l->act[f].stride);
}

/* Input row i (token, or slot when x_per_slot): norm, then its activation row or rows. */
static void prepare_row(void *arg, int64_t i, int worker) {
  const linear *l = arg;
  const myna__linear_args *a = l->a;
  const float *x = a->x + i * a->ldx;
  if (a->norm_w) {
    float *y = (float *)(void *)(l->work + (size_t)worker * l->work_bytes);
    l->kt->rms_row(y, x, a->norm_w, a->norm_eps, a->w[0]->n_in);
    x = y;
  }
  if (!gathered(a)) {
    write_row(l, i, x);
    return;
  }
  int64_t n = a->x_per_slot ? 1 : a->n_used, first = -1;
  for (int64_t s = i * n; s < i * n + n; s++) {
    int64_t row = l->place[s];
    if (row < 0) {
      memset(a->y[0] + s * a->ldy[0], 0, (size_t)a->w[0]->n_out * sizeof(float));
      for (int w = 1; w < n_mats(a); w++) memset(a->y[w] + s * a->ldy[w], 0, (size_t)a->w[w]->n_out * sizeof(float));
    } else if (first < 0) {
      write_row(l, first = row, x);
    } else {
      copy_row(l, row, first);
    }
  }
}

static void prepare_rows(linear *l, myna__pool *pool) {
  const myna__linear_args *a = l->a;
  bool any = gathered(a);
  for (int f = 0; f < MYNA__FORM_COUNT; f++) any |= l->act_buf[f] != NULL;
  if (l->direct && l->used[MYNA__FORM_F32]) {
    l->act[MYNA__FORM_F32].row = (const uint8_t *)a->x;
    l->act[MYNA__FORM_F32].stride = (size_t)a->ldx * sizeof(float);
  }
  int64_t n = a->n_tok * (gathered(a) && a->x_per_slot ? a->n_used : 1);
  if (any) myna__pool_run(n <= FEW_ROWS ? NULL : pool, n, prepare_row, l);
}

/* ---- segments ---- */

/* Counting sort of (token, slot) by expert; stable, so the order within an expert is that of tokens. */
static void sort_slots(linear *l) {
  const int32_t *ids = l->a->expert_ids;
  int64_t n = n_experts(l->a);
  int32_t at = 0;
  memset(l->start, 0, (size_t)(n + 1) * sizeof *l->start);
  for (int64_t s = 0; s < l->n_row; s++)
    if (ids[s] >= 0 && ids[s] < n) l->start[ids[s]]++;
  for (int64_t e = 0; e <= n; e++) {
    int32_t count = l->start[e];
    l->start[e] = at;
    at += count;
  }
  for (int64_t s = 0; s < l->n_row; s++) {
    bool valid = ids[s] >= 0 && ids[s] < n;
    l->place[s] = valid ? l->start[ids[s]]++ : -1;
    if (valid) l->slot[l->place[s]] = (int32_t)s;
  }
  for (int64_t e = n; e > 0; e--) l->start[e] = l->start[e - 1]; /* undo the advance */
  l->start[0] = 0;
}

static void add_segment(linear *l, int w, int64_t expert, int64_t row0, int64_t n_col) {
  if (n_col <= 0) return;
  l->seg[l->n_seg++] = (segment){w, expert, row0, n_col, l->n_grain};
  l->n_grain += (l->a->w[w]->n_out + GRAIN_ROWS - 1) / GRAIN_ROWS;
}

static void make_segments(linear *l) {
  const myna__linear_args *a = l->a;
  if (!gathered(a)) {
    for (int w = 0; w < n_mats(a); w++) add_segment(l, w, 0, 0, l->n_row);
    return;
  }
  sort_slots(l);
  for (int w = 0; w < n_mats(a); w++)
    for (int64_t e = 0; e < n_experts(a); e++) add_segment(l, w, e, l->start[e], l->start[e + 1] - l->start[e]);
}

/* A run of grains that one worker takes. */
typedef struct run {
  int64_t first, n;
} run;

/* Unit number `unit`: each thread's share of half of what is left, then of half of that, until runs are single grains. Beyond the
 * last unit first is n_grain at least. */
static run get_run(const linear *l, int64_t unit) {
  int64_t at = 0, n_threads = l->n_threads;
  if (n_threads == 1) return (run){unit * l->n_grain, l->n_grain};
  for (;;) {
    int64_t len = (l->n_grain - at) / (2 * n_threads);
    if (len <= 1) return (run){at + unit, 1};
    if (unit < n_threads) return (run){at + unit * len, len};
    at += n_threads * len;
    unit -= n_threads;
  }
}

static int64_t count_units(const linear *l) {
  int64_t n = 0;
  while (get_run(l, n).first < l->n_grain) n++;
  return n;
}

/* ---- region 2: grains ---- */

/* 48 output rows of a segment's weight. */
typedef struct grain {
  const segment *seg;
  int64_t out0;
  bool cold, more; /* what was computed before it did not fetch it; the next one follows it */
} grain;

/* The rows of a strip. The last strip of a matrix may have fewer than 16. */
typedef struct strip {
  myna__rows rows;
  int n;
} strip;

static strip get_strip(const myna__weight *w, int64_t expert, int64_t row0) {
  myna__wrow first = myna__weight_row(w, expert, row0);
  strip s = {.rows = {.group = w->group, .scale_type = w->scale_type},
             .n = (int)MYNA__MIN(w->n_out - row0, MYNA__STRIP)};
  for (int i = 0; i < 4; i++) {
    s.rows.p[i] = first.p[i];
    s.rows.stride[i] = w->row_stride[i];
  }
  return s;
}

/* Unpacks a strip with fewer than 16 rows: a copy of its bytes, the last row repeated. */
static void unpack_short(myna__unpack_fn *unpack, void *panel, const myna__ptype *t, const strip *s, int64_t k, int n) {
  enum { BYTES = MYNA__KBLOCK * 8 /* F64 */ };
  _Alignas(64) uint8_t copy[3][MYNA__STRIP][BYTES];
  myna__rows rows = s->rows;
  for (int r = 0; r < MYNA__STRIP; r++) {
    myna__wrow from = myna__rows_get(&s->rows, MYNA__MIN(r, s->n - 1));
    from = myna__wrow_at(&from, t->type, k);
    for (int i = 0; i < 3; i++) {
      if (!from.p[i]) continue;
      int64_t bytes = i == 0 ? n / myna_dtype_block(t->type) * myna_dtype_bytes(t->type)
                             : (n + s->rows.group - 1) / s->rows.group * myna_dtype_bytes(s->rows.scale_type);
      memcpy(copy[i][r], from.p[i], (size_t)bytes);
      rows.p[i] = copy[i][0];
      rows.stride[i] = BYTES;
    }
  }
  unpack(panel, t, &rows, 0, n);
}

/* Are n strips fetched while those before them are multiplied, in the file's order? Where the machine likes it and they stay in L2
 * that long. */
static bool by_file(const linear *l, const myna__weight *w, int n) {
  return l->kt->file_order && n * MYNA__STRIP * w->row_stride[0] <= FILE_ORDER_BYTES;
}

static void fetch(const uint8_t *p, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(p + at);
}

/* acc[n_col][48] += n strips of weight i times activation rows from row0 on, from k on (k 0: acc is set). While a block is
 * multiplied the strips' next block is fetched, at the end the first one of the strips that follow; or as many bytes of the strips
 * that follow. `more`: they do. */
static void multiply_strips(const linear *l, int i, const strip *s, int n, bool more, int64_t k, int64_t row0,
                            int64_t n_col, float *acc, uint8_t *panel) {
  const myna__weight *w = l->a->w[i];
  const myna__ptype *t = l->type[i];
  size_t bytes = myna__panel_bytes(t->form);
  const bool f32 = t->form == MYNA__FORM_F32;
  myna__unpack_fn *unpack = f32 ? l->kt->unpack_f32[t->type] : l->kt->unpack[t->type];
  myna__mul_fn *mul = f32 ? l->kt->mul_f32[t->type] : l->kt->mul[t->type];
  myna__mul m = {.type = t,
                 .panel = panel,
                 .n_strip = n,
                 .act = l->act[t->form],
                 .n_col = n_col,
                 .acc = acc,
                 .ld_acc = GRAIN_ROWS};
  m.act.row += (size_t)row0 * m.act.stride;
  for (int64_t c = 0; k == 0 && c < n_col; c++) memset(acc + c * GRAIN_ROWS, 0, (size_t)n * MYNA__STRIP * sizeof *acc);
  const int64_t block_bytes = MYNA__KBLOCK / myna_dtype_block(t->type) * myna_dtype_bytes(t->type);
  const bool in_order = by_file(l, w, n);
  const int64_t before_unpack = block_bytes / 4 * MYNA__STRIP / 64 * 64;
  for (; k < w->n_in; k += MYNA__KBLOCK) {
    m.k0 = k;
    m.n = MYNA__MIN(w->n_in - k, MYNA__KBLOCK);
    const int64_t at = k / MYNA__KBLOCK * block_bytes;
    if (in_order) {
      m.next = s->rows.p[0] + n * MYNA__STRIP * (w->row_stride[0] + at) + n * before_unpack;
      m.next_stride = m.next_bytes = MYNA__FETCH_RUN;
      m.next_rows = more ? (int)(n * (MYNA__STRIP * block_bytes - before_unpack) / MYNA__FETCH_RUN) : 0;
    } else {
      m.next = s->rows.p[0] + (k + MYNA__KBLOCK < w->n_in ? at + block_bytes : n * MYNA__STRIP * w->row_stride[0]);
      m.next_stride = w->row_stride[0];
      m.next_rows = n * MYNA__STRIP;
      m.next_bytes = (int)block_bytes;
    }
    for (int j = 0; j < n; j++) {
      uint8_t *to = panel + (size_t)j * bytes;
      if (in_order && more) fetch(m.next - (j + 1) * before_unpack, before_unpack);
      if (s[j].n == MYNA__STRIP)
        unpack(to, t, &s[j].rows, k, (int)m.n);
      else
        unpack_short(unpack, to, t, &s[j], k, (int)m.n);
    }
    mul(&m);
  }
}

/* The same from k = 0 on for a few columns of n full strips, without a panel as far as the direct kernel goes. False: it does
 * not take them. */
static bool direct_strips(const linear *l, myna__direct_fn *direct, int i, const strip *s, int n, int64_t row0,
                          int64_t n_col, float *acc, uint8_t *panel) {
  const myna__weight *w = l->a->w[i];
  myna__direct d = {.rows = s->rows,
                    .n_strip = n,
                    .n_col = (int)n_col,
                    .act = l->act[l->form[i]],
                    .n = w->n_in,
                    .acc = acc,
                    .ld_acc = GRAIN_ROWS};
  d.act.row += (size_t)row0 * d.act.stride;
  int64_t k = direct(&d);
  for (int j = 0; j < n && k > 0 && k < w->n_in; j++)
    multiply_strips(l, i, s + j, 1, false, k, row0, n_col, acc + j * MYNA__STRIP, panel);
  return k > 0;
}

/* Types without a panel form: acc[n_col][16] of one strip. */
static void dot_strip(const linear *l, int i, const strip *s, int64_t row0, int64_t n_col, float *acc) {
  const myna__quant *q = myna__quant_get(l->a->w[i]->type);
  const myna__arows *act = &l->act[l->form[i]];
  for (int64_t c = 0; c < n_col; c++)
    for (int r = 0; r < s->n; r++) {
      myna__wrow w = myna__rows_get(&s->rows, r);
      acc[c * GRAIN_ROWS + r] = q->dot(&w, act->row + (size_t)(row0 + c) * act->stride, l->a->w[i]->n_in);
    }
}

/* Full strips go one after the other through the direct kernel if it takes so few columns: 16 rows are streams enough. Panels of
 * few columns are one strip each where memory is read in the file's order and rows are long: the less is cold when a run of grains
 * begins. */
static void panel_or_direct(const linear *l, int i, const grain *g, const strip *s, int n, int64_t row0, int64_t n_col,
                            float *acc, uint8_t *panel) {
  const myna__weight *w = l->a->w[i];
  const myna__ptype *t = l->type[i];
  myna__direct_fn *direct = t->form == MYNA__FORM_F32 ? l->kt->direct_f32[t->type] : l->kt->direct[t->type];
  int full = direct && n > 0 && n_col <= MYNA__DIRECT_COLS ? n - (s[n - 1].n < MYNA__STRIP) : 0;
  if (full > 0 && !direct_strips(l, direct, i, s, full, row0, n_col, acc, panel)) full = 0;
  const bool far = MYNA__GRAIN * MYNA__STRIP * w->row_stride[0] > NEAR_BYTES;
  const int step = l->kt->file_order && n_col < FEW_COLS && far ? 1 : MYNA__GRAIN;
  for (int j = full; j < n; j += step) {
    const int some = MYNA__MIN(step, n - j);
    if (g->cold && j == full && by_file(l, w, some)) fetch(s[j].rows.p[0], some * MYNA__STRIP * w->row_stride[0]);
    multiply_strips(l, i, s + j, some, g->more || j + some < n, 0, row0, n_col, acc + j * MYNA__STRIP, panel);
  }
}

/* acc[n_col][48] = a grain of weight i times activation rows [row0, row0 + n_col). */
static void multiply_grain(const linear *l, int i, const grain *g, int64_t row0, int64_t n_col, float *acc,
                           uint8_t *panel) {
  const myna__weight *w = l->a->w[i];
  strip s[MYNA__GRAIN];
  int n = 0;
  for (; n < MYNA__GRAIN && g->out0 + n * MYNA__STRIP < w->n_out; n++)
    s[n] = get_strip(w, g->seg->expert, g->out0 + n * MYNA__STRIP);
  if (l->type[i])
    panel_or_direct(l, i, g, s, n, row0, n_col, acc, panel);
  else
    for (int j = 0; j < n; j++) dot_strip(l, i, &s[j], row0, n_col, acc + j * MYNA__STRIP);
}

static const float *bias_of(const myna__linear_args *a, int i, int64_t expert, int64_t out0) {
  return a->bias[i] ? a->bias[i] + expert * a->w[i]->n_out + out0 : NULL;
}

static void write_grain(const linear *l, const segment *g, int64_t out0, int64_t row0, int64_t n_col, float *acc,
                        float *acc1) {
  const myna__linear_args *a = l->a;
  int i = g->w;
  int64_t n = MYNA__MIN(a->w[i]->n_out - out0, GRAIN_ROWS);
  const float *bias = bias_of(a, i, g->expert, out0);
  for (int64_t c = 0; c < n_col; c++, acc += GRAIN_ROWS, acc1 += GRAIN_ROWS) {
    int64_t row = l->slot ? l->slot[row0 + c] : row0 + c;
    const float *residual = a->residual && i == 0 ? a->residual + row * a->ldr + out0 : NULL;
    float *y = a->y[i] + row * a->ldy[i] + out0;
    if (a->gate == MYNA__GATE_NONE) {
      l->kt->epilogue(y, acc, bias, residual, n);
      continue;
    }
    l->kt->epilogue(acc, acc, bias, NULL, n);
    l->kt->epilogue(acc1, acc1, bias_of(a, 1, g->expert, out0), NULL, n);
    l->kt->gate(acc, acc1, a->gate, n);
    l->kt->epilogue(y, acc, NULL, residual, n);
  }
}

static void run_grain(const linear *l, const grain *g, uint8_t *work) {
  const segment *seg = g->seg;
  bool gate = l->a->gate != MYNA__GATE_NONE;
  float *acc = (float *)(void *)(work + l->panel_bytes), *acc1 = acc + l->acc_bytes / sizeof *acc;
  for (int64_t c = 0; c < seg->n_col; c += MAX_COLS) {
    int64_t n_col = MYNA__MIN(seg->n_col - c, MAX_COLS), row0 = seg->row0 + c;
    multiply_grain(l, seg->w, g, row0, n_col, acc, work);
    if (gate) multiply_grain(l, 1, g, row0, n_col, acc1, work);
    write_grain(l, seg, g->out0, row0, n_col, acc, acc1);
  }
}

static void run_unit(void *arg, int64_t unit, int worker) {
  const linear *l = arg;
  const run r = get_run(l, unit);
  int s = 0;
  for (int64_t i = r.first; i < r.first + r.n; i++) {
    while (s + 1 < l->n_seg && l->seg[s + 1].grain0 <= i) s++;
    const grain g = {&l->seg[s], (i - l->seg[s].grain0) * GRAIN_ROWS, i == r.first || i == l->seg[s].grain0,
                     i + 1 < r.first + r.n && (s + 1 == l->n_seg || i + 1 < l->seg[s + 1].grain0)};
    run_grain(l, &g, l->work + (size_t)worker * l->work_bytes);
  }
}

void myna__linear(const myna__linear_args *a, void *scratch, myna__pool *pool) {
  assert(a->n_w >= 1 && a->n_w <= MYNA__LINEAR_MAX && a->n_tok >= 1);
  assert(a->gate == MYNA__GATE_NONE || (a->n_w == 2 && a->w[0]->n_out == a->w[1]->n_out));
  assert(!gathered(a) || a->expert_ids);
  linear l;
  int n_threads = myna__pool_size(pool);
  lay_out(&l, a, a->n_tok, n_threads, scratch);
  l.n_threads = n_threads;
  make_segments(&l);
  prepare_rows(&l, pool);
  if (l.n_grain > 0) myna__pool_run(pool, count_units(&l), run_unit, &l);
}
