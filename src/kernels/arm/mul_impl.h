/* mul_impl.h: panels times columns for ARM: one source for NEON with dot products and for i8mm.
 *
 * A tile is a strip of 16 rows x up to 4 columns. The order in which a tile wants a strip's block is made once per block
 * (`ready`), which is cheap beside the columns that read it; codes lose their offset there and become signed bytes.
 *
 *   NEON   code[k / 4][16 rows][4]                      SDOT by lane: 4 rows x 4 k with 4 k of one column
 *   i8mm   code[k / 8][8 pairs of rows][2][8]           SMMLA: 2 rows x 8 k with 2 columns x 8 k, sums [2 rows][2 columns]
 *
 * Per 16 k and column a tile loads one vector of activations and 16 / columns vectors of codes for 16 (i8mm: 8) instructions.
 * 16 sums stay in registers through a group's k loop, scaled sums of Q256 and float accumulators live in L1. Integers are
 * exact, so their order is free; floats go in the order of docs/NUMERICS.md. */
#ifndef MYNA__ARM_MUL_IMPL_H
#define MYNA__ARM_MUL_IMPL_H

#include "kernels/arm/isa_neon.h"

/* A border that the compiler does not move loads, stores or tile arithmetic across; no instructions. Without it sums are
 * copied across groups and spilled. */
#define BORDER() __asm__ volatile("" : : : "memory")

enum { COLS = 4 };

#ifdef __ARM_FEATURE_MATMUL_INT8
enum { PAIRED = 2, ROW_VECS = 8 /* vectors of sums that hold a strip's rows */ };
#else
enum { PAIRED = 1, ROW_VECS = 4 };
#endif
enum { SUMS = ROW_VECS * COLS / PAIRED }; /* 16 */
INLINE int sum_count(int C) { return ROW_VECS * ((C + PAIRED - 1) / PAIRED); }

/* All of i is computed here, not later. */
INLINE void settle(vi *i, int n) {
  UNROLL for (int j = 0; j < n; j++) __asm__ volatile("" : "+w"(i[j]));
  BORDER();
}

/* ---- a strip's block in the order of the tile ---- */

typedef struct ready {
  _Alignas(64) int8_t code[64 * 64];
  int32_t scale[16][ROW_VECS][4]; /* Q256: of each element of the sums */
  int8_t min[4 * 64];             /* Q256: four groups per dword, i8mm: eight per row */
} ready;

/* Two vectors of dwords with rows as lanes as pairs of rows, both dwords of a row together. */
INLINE void pair_rows(void *to, vi a, vi b) {
  vi_store(to, vzip1q_s32(a, b));
  vi_store((uint8_t *)to + 16, vzip2q_s32(a, b));
}

/* n k of codes less their offset. */
INLINE void ready_codes(ready *r, const uint8_t (*code)[16][4], int shift, int n) {
  const int8x16_t offset = vdupq_n_s8(shift < 0 ? 0 : (int8_t)(1u << shift));
  for (int k = 0; k < n / 4; k += PAIRED) UNROLL for (int v = 0; v < 4; v++) {
      vi c[PAIRED];
      UNROLL for (int j = 0; j < PAIRED; j++) c[j] = of_s8(vsubq_s8(as_s8(vi_load(code[k + j][4 * v])), offset));
      if (PAIRED == 2)
        pair_rows(r->code + 64 * k + 32 * v, c[0], c[PAIRED - 1]);
      else
        vi_store(r->code + 64 * k + 16 * v, c[0]);
    }
}

/* Scales fit 16 bits; the upper half of their dword may be cut off. */
INLINE void ready_scales(ready *r, const myna__panel_q256 *p, int groups) {
  for (int g = 0; g < groups; g++) UNROLL for (int v = 0; v < 4; v++) {
      vi s = vi_sra32(vi_sll32(vi_load(&p->scale[g][4 * v]), 16), 16);
      if (PAIRED == 2)
        pair_rows(r->scale[g][2 * v], s, s);
      else
        vi_store(r->scale[g][v], s);
    }
}

/* Mins are at most 63: bytes are enough. */
INLINE void ready_mins(ready *r, const myna__panel_q256 *p, int n) {
  UNROLL for (int g = 0; g < n / 4; g += PAIRED) UNROLL for (int v = 0; v < 4; v++) {
    vi m[PAIRED];
    UNROLL for (int j = 0; j < PAIRED; j++) {
      vi a = vi_load(p->min[2 * (g + j)][4 * v]), b = vi_load(p->min[2 * (g + j) + 1][4 * v]);
      m[j] = of_s16(vcombine_s16(vreinterpret_s16_s8(vmovn_s16(as_s16(a))), vreinterpret_s16_s8(vmovn_s16(as_s16(b)))));
      int16x8_t pairs = as_s16(m[j]);
      m[j] = of_s16(vzip1q_s16(pairs, vextq_s16(pairs, pairs, 4)));
    }
    if (PAIRED == 2)
      pair_rows(r->min + 64 * g + 32 * v, m[0], m[PAIRED - 1]);
    else
      vi_store(r->min + 64 * g + 16 * v, m[0]);
  }
}

/* ---- products ---- */

/* Columns in pairs: the last of an odd number stands twice. */
INLINE const uint8_t *column(const uint8_t *const *row, int c, int C) { return row[c < C ? c : C - 1]; }

/* i += codes x activations, len k from `code` on and from byte k of each row on. */
INLINE void add_products(vi *i, const int8_t *code, const uint8_t *const *row, int64_t k, int len, int C) {
  UNROLL for (int h = 0; h < len / 16; h++) {
#ifdef __ARM_FEATURE_MATMUL_INT8
    int64x2_t a[2][COLS / 2];
    UNROLL for (int c = 0; c < C; c += 2) {
      int64x2_t x = vreinterpretq_s64_s32(vi_load(column(row, c, C) + k + 16 * h));
      int64x2_t y = vreinterpretq_s64_s32(vi_load(column(row, c + 1, C) + k + 16 * h));
      a[0][c / 2] = vzip1q_s64(x, y);
      a[1][c / 2] = vzip2q_s64(x, y);
    }
    UNROLL for (int e = 0; e < 2; e++) UNROLL for (int r = 0; r < 8; r++) {
      int8x16_t w = vld1q_s8(code + ((2 * h + e) * 8 + r) * 16);
      UNROLL for (int c = 0; c < C; c += 2) i[4 * c + r] =
          vmmlaq_s32(i[4 * c + r], w, vreinterpretq_s8_s64(a[e][c / 2]));
    }
#else
    vi a[COLS];
    UNROLL for (int c = 0; c < C; c++) a[c] = vi_load(row[c] + k + 16 * h);
    UNROLL for (int e = 0; e < 4; e++) UNROLL for (int v = 0; v < 4; v++) {
      vi w = vi_load(code + ((4 * h + e) * 4 + v) * 16);
      UNROLL for (int c = 0; c < C; c++) i[4 * c + v] = dot_lane(i[4 * c + v], w, a[c], e);
    }
#endif
  }
}

INLINE void products(vi *i, const int8_t *code, const uint8_t *const *row, int64_t k, int len, int C) {
  UNROLL for (int j = 0; j < sum_count(C); j++) i[j] = vi_zero();
  add_products(i, code, row, k, len, C);
  settle(i, sum_count(C));
}

/* Sums of a tile as rows 4 v.. of column c. */
INLINE vi rows_of(const vi *i, int v, int c) {
#ifdef __ARM_FEATURE_MATMUL_INT8
  const vi *pair = i + 8 * (c / 2) + 2 * v;
  return c % 2 ? vuzp2q_s32(pair[0], pair[1]) : vuzp1q_s32(pair[0], pair[1]);
#else
  return i[4 * c + v];
#endif
}

/* ---- tiles ---- */

/* One block of a strip times columns. */
typedef struct tile {
  const void *panel;
  const ready *r;
  const uint8_t *row[COLS];
  const myna__arows *act;
  float *acc; /* [c][ld] */
  int64_t ld, k0;
  int n;
} tile;

/* acc += (float)i * (d_w * d_a) at rows 4 v.. of column c. */
INLINE void add_scaled(const tile *t, vi i, int v, int c, const float *d_w, float d_a) {
  float *y = t->acc + c * t->ld + LANES * v;
  vf_store(y, vf_fma(vi_to_f32(i), vf_mul(vf_load(d_w + LANES * v), vf_set(d_a)), vf_load(y)));
}

/* Per 32 k, or with `half` per 16: d of the first 16, m of the others. What is used in every group is in locals: the borders make
 * the compiler read memory again. */
INLINE void tile_q32(const tile *t, int C, bool min, bool half) {
  const myna__panel_q32 *p = t->panel;
  const int per = half ? 2 : 1, groups = t->n / 32;
  const size_t d_at = t->act->d + (size_t)t->k0 / 32 * 4, nsum_at = t->act->nsum + (size_t)t->k0 / 32 * 4;
  const uint8_t *row[COLS];
  const int64_t k0 = t->k0, ld = t->ld;
  float *const acc = t->acc;
  const int8_t *code = t->r->code;
  UNROLL for (int c = 0; c < C; c++) row[c] = t->row[c];
  for (int g = 0; g < groups; g++) {
    UNROLL for (int h = 0; h < per; h++) {
      const int len = 32 / per;
      const float *d_w = h ? p->m[g] : p->d[g], *m_w = p->m[g];
      vi i[SUMS];
      products(i, code, row, k0 + 32 * g + len * h, len, C);
      code += 16 * len;
      __asm__("" : "+r"(code)); /* one register for all of its offsets */
      UNROLL for (int c = 0; c < C; c++) {
        const float d = load_float(row[c] + d_at + 4 * g);
        const vf nsum = min ? vi_to_f32(vi_set32(load32(row[c] + nsum_at + 4 * g))) : vf_zero();
        float *y = acc + c * ld;
        __asm__("" : "+r"(y));
        UNROLL for (int v = 0; v < 4; v++) {
          vf s =
              vf_fma(vi_to_f32(rows_of(i, v, c)), vf_mul(vf_load(d_w + LANES * v), vf_set(d)), vf_load(y + LANES * v));
          if (min) s = vf_fnma(nsum, vf_mul(vf_load(m_w + LANES * v), vf_set(d)), s);
          vf_store(y + LANES * v, s);
        }
      }
      BORDER();
    }
  }
}

/* sums[c][i]: the n sums of codes of the block as bytes, 128 * sums[1] + sums[0]: mins times sums are two products of bytes. */
INLINE void split_sums(int8_t sums[2][COLS][16], const uint8_t *const *row, size_t at, int n, int C) {
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = 0; i < n; i += 8) {
    int16x8_t s = as_s16(vi_load(row[c] + at + 2 * (size_t)i));
    vst1_s8(&sums[0][c][i], vmovn_s16(vandq_s16(s, vdupq_n_s16(127))));
    vst1_s8(&sums[1][c][i], vshrn_n_s16(s, 7));
  }
}

/* j += products of n mins with bytes of sums. */
INLINE void add_mins(vi *j, const ready *r, int8_t sums[COLS][16], int n, int C) {
#ifdef __ARM_FEATURE_MATMUL_INT8
  UNROLL for (int g = 0; g < n / 8; g++) UNROLL for (int c = 0; c < C; c += 2) {
    int8x16_t a = vcombine_s8(vld1_s8(&sums[c][8 * g]), vld1_s8(&sums[c + 1 < C ? c + 1 : c][8 * g]));
    UNROLL for (int v = 0; v < 8; v++) j[4 * c + v] = vmmlaq_s32(j[4 * c + v], vld1q_s8(r->min + 128 * g + 16 * v), a);
  }
#else
  UNROLL for (int c = 0; c < C; c++) {
    vi a = of_s8(vld1q_s8(sums[c]));
    UNROLL for (int g = 0; g < n / 4; g++) UNROLL for (int v = 0; v < 4; v++) j[4 * c + v] =
        dot_lane(j[4 * c + v], vi_load(r->min + 64 * g + 16 * v), a, g);
  }
#endif
}

/* s = sums of products of a block, scaled in int32. Codes that hold their scales (groups 1) stay in registers throughout; others
 * are taken group by group, the scaled sums live in L1. */
INLINE void block_q256(vi s[SUMS], const ready *r, const uint8_t *const *row, int64_t k0, int groups, int C) {
  const int n = sum_count(C), parts = groups == 1 ? 8 : groups, len = 256 / parts;
  if (groups == 1) {
    UNROLL for (int j = 0; j < n; j++) s[j] = vi_zero();
    for (int g = 0; g < parts; g++) {
      add_products(s, r->code + 16 * len * g, row, k0 + len * g, len, C);
      settle(s, n);
    }
    return;
  }
  vi memory[SUMS], *sum = memory;
  __asm__("" : "+r"(sum) : : "memory");
  UNROLL for (int j = 0; j < n; j++) sum[j] = vi_zero();
  for (int g = 0; g < parts; g++) {
    vi i[SUMS];
    products(i, r->code + 16 * len * g, row, k0 + len * g, len, C);
    UNROLL for (int j = 0; j < n; j++) sum[j] = vmlaq_s32(sum[j], i[j], vi_load(r->scale[g][j % ROW_VECS]));
    BORDER();
  }
  UNROLL for (int j = 0; j < n; j++) s[j] = sum[j];
}

/* Per 256 k: acc += (float)s * (d_w * d_a), acc -= (float)j * (dmin_w * d_a), j the sum of mins times sums of codes. */
INLINE void tile_q256(const tile *t, int C, int groups, bool min) {
  const myna__panel_q256 *p = t->panel;
  const uint8_t *row[COLS];
  const int n = sum_count(C), n_min = groups == 8 ? 8 : 16;
  float d[COLS];
  UNROLL for (int c = 0; c < C; c++) {
    row[c] = t->row[c];
    d[c] = load_float(row[c] + t->act->d + t->k0 / 256 * 4);
  }
  vi s[SUMS];
  block_q256(s, t->r, row, t->k0, groups, C);
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < 4; v++)
      add_scaled(t, rows_of(s, v, c), v, c, p->d, d[c]);
  BORDER();
  if (!min) return;
  int8_t sums[2][COLS][16];
  split_sums(sums, row, (n_min == 8 ? t->act->sum32 : t->act->sum) + (size_t)t->k0 * (size_t)n_min / 256 * 2, n_min, C);
  UNROLL for (int i = 0; i < n; i++) s[i] = vi_zero();
  add_mins(s, t->r, sums[1], n_min, C);
  UNROLL for (int i = 0; i < n; i++) s[i] = vi_sll32(s[i], 7);
  add_mins(s, t->r, sums[0], n_min, C);
  settle(s, n);
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < 4; v++)
      add_scaled(t, rows_of(s, v, c), v, c, p->dmin, -d[c]);
}

/* ---- all columns of all strips ---- */

typedef void tile_fn(const tile *t, int C);
typedef void ready_fn(ready *r, const myna__mul *m, const void *panel, int n);

/* What the next unpack reads, fetched a few lines before every tile. */
typedef struct fetch {
  const uint8_t *row;
  int64_t stride;
  int rows, bytes, at, share; /* rows and bytes left, lines per tile */
} fetch;
INLINE fetch fetch_new(const myna__mul *m) {
  const int64_t lines = (int64_t)m->next_rows * ((m->next_bytes + 63) / 64);
  const int64_t tiles = (m->n_col + COLS - 1) / COLS * m->n_strip;
  return (fetch){m->next, m->next_stride, m->next_rows, m->next_bytes, 0, (int)(lines / tiles) + 1};
}
INLINE void fetch_some(fetch *f) {
  for (int i = 0; i < f->share && f->rows > 0; i++) {
    __builtin_prefetch(f->row + f->at);
    f->at += 64;
    if (f->at < f->bytes) continue;
    f->at = 0;
    f->row += f->stride;
    f->rows--;
  }
}

INLINE void columns(tile *t, const myna__mul *m, float *acc, tile_fn *f, fetch *next) {
  const uint8_t *row = m->act.row;
  for (int64_t c = 0; c < m->n_col; c += COLS) {
    t->acc = acc + c * m->ld_acc;
    int n = (int)MYNA__MIN(m->n_col - c, COLS);
    for (int j = 0; j < n; j++, row += m->act.stride) t->row[j] = row;
    fetch_some(next);
    switch (n) {
    case 1: SEPARATE(f(t, 1)); break;
    case 2: SEPARATE(f(t, 2)); break;
    case 3: SEPARATE(f(t, 3)); break;
    default: SEPARATE(f(t, COLS)); break;
    }
  }
}

INLINE void sweep(const myna__mul *m, ready_fn *prepare, tile_fn *f) {
  const size_t bytes = myna__panel_bytes(m->type->form);
  const uint8_t *panel = m->panel;
  ready r;
  fetch next = fetch_new(m);
  tile t = {.r = &r, .act = &m->act, .ld = m->ld_acc};
  for (int64_t k = 0; k < m->n; k += MYNA__KBLOCK)
    for (int s = 0; s < m->n_strip; s++, panel += bytes) {
      t.panel = panel;
      t.k0 = m->k0 + k;
      t.n = (int)MYNA__MIN(m->n - k, MYNA__KBLOCK);
      prepare(&r, m, panel, t.n);
      columns(&t, m, m->acc + s * MYNA__STRIP, f, &next);
    }
}

INLINE void ready_q32(ready *r, const myna__mul *m, const void *panel, int n) {
  ready_codes(r, ((const myna__panel_q32 *)panel)->code, m->type->shift, n);
}
INLINE void ready_q256(ready *r, const myna__mul *m, const void *panel, int n) {
  const myna__panel_q256 *p = panel;
  ready_codes(r, p->code, m->type->shift, n);
  if (m->type->groups > 1) ready_scales(r, p, m->type->groups);
  if (m->type->min) ready_mins(r, p, m->type->groups == 8 ? 8 : 16);
}

/* ---- by form ---- */

INLINE void tile_32(const tile *t, int C) { tile_q32(t, C, false, false); }
INLINE void tile_32_min(const tile *t, int C) { tile_q32(t, C, true, false); }
INLINE void tile_16(const tile *t, int C) { tile_q32(t, C, false, true); }
INLINE void tile_256_1(const tile *t, int C) { tile_q256(t, C, 1, false); }
INLINE void tile_256_1_min(const tile *t, int C) { tile_q256(t, C, 1, true); }
INLINE void tile_256_8(const tile *t, int C) { tile_q256(t, C, 8, false); }
INLINE void tile_256_8_min(const tile *t, int C) { tile_q256(t, C, 8, true); }
INLINE void tile_256_16(const tile *t, int C) { tile_q256(t, C, 16, false); }

static void mul_32(const myna__mul *m) { sweep(m, ready_q32, tile_32); }
static void mul_32_min(const myna__mul *m) { sweep(m, ready_q32, tile_32_min); }
static void mul_16(const myna__mul *m) { sweep(m, ready_q32, tile_16); }
static void mul_256_1(const myna__mul *m) { sweep(m, ready_q256, tile_256_1); }
static void mul_256_1_min(const myna__mul *m) { sweep(m, ready_q256, tile_256_1_min); }
static void mul_256_8(const myna__mul *m) { sweep(m, ready_q256, tile_256_8); }
static void mul_256_8_min(const myna__mul *m) { sweep(m, ready_q256, tile_256_8_min); }
static void mul_256_16(const myna__mul *m) { sweep(m, ready_q256, tile_256_16); }

INLINE myna__mul_fn *mul_of(const myna__ptype *p) {
  static const struct {
    myna__form form;
    int groups;
    bool min;
    myna__mul_fn *f;
  } kinds[] = {{MYNA__FORM_Q32, 8, false, mul_32},        {MYNA__FORM_Q32, 8, true, mul_32_min},
               {MYNA__FORM_Q32, 16, false, mul_16},       {MYNA__FORM_Q256, 1, false, mul_256_1},
               {MYNA__FORM_Q256, 1, true, mul_256_1_min}, {MYNA__FORM_Q256, 8, false, mul_256_8},
               {MYNA__FORM_Q256, 8, true, mul_256_8_min}, {MYNA__FORM_Q256, 16, false, mul_256_16}};
  for (size_t i = 0; i < MYNA__COUNT(kinds); i++)
    if (kinds[i].form == p->form && kinds[i].groups == p->groups && kinds[i].min == p->min) return kinds[i].f;
  return NULL;
}

/* Every type of an integer form. */
INLINE void fill_mul(myna__ktable *t) {
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) {
    const myna__ptype *p = myna__ptype_of((myna_dtype)i, false);
    myna__mul_fn *f = p ? mul_of(p) : NULL;
    if (f) t->mul[i] = f;
  }
}

#endif
