/* mul_impl.h: panels times columns, one source for every x86 level (vocabulary: isa_*.h).
 *
 * A tile is V vectors of rows x C columns; V x C accumulators stay in registers through the k loop:
 *   per step: V loads of codes, C broadcasts of activations, V*C multiply-adds.
 * Float tiles of AVX-512 are 3 x 8: 24 accumulators + 3 codes + 1 broadcast of 32 registers. Integer tiles are 3 x 4:
 * they leave the registers once per group of 32 (or 16), and the phases of short tiles overlap in the out-of-order
 * window (3 x 8 lost 4 % in L1 and 10 % in whole matrices). Scaled sums and float accumulators live in L1.
 * Functions named tile_* are inlined with constant V, C and flags; check with objdump that the k loops hold no moves of
 * accumulators. */
#ifndef MYNA__MUL_IMPL_H
#define MYNA__MUL_IMPL_H

/* Borders that the compiler does not move loads, stores or tile arithmetic across; no instructions. Without them it
 * keeps copies of sums and accumulators across groups, mixes the phases of a tile and spills its registers. What a
 * tile needs from memory again and again must be in locals. */
#define BORDER() __asm__ volatile("" : : : "memory")

/* All of i is computed here, not later. */
INLINE void settle(vi i[V_MAX][C_MAX], int V, int C) {
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < V; v++) __asm__ volatile("" : "+v"(i[v][c]));
  BORDER();
}

/* Rows that are still to be fetched for the next unpack; whole rows per step, so that branches repeat themselves. Where memory is
 * read in the file's order they are runs of MYNA__FETCH_RUN bytes. */
typedef struct fetch {
  const uint8_t *row;
  int64_t stride;
  int bytes, rows, per_step;
} fetch;

INLINE void fetch_some(fetch *f) {
  if (f->rows <= 0) return;
  const uint8_t *row = f->row;
  if (FILE_ORDER && f->bytes == MYNA__FETCH_RUN) {
    for (int i = f->per_step; i > 0; i--, row += MYNA__FETCH_RUN)
      UNROLL for (int at = 0; at < MYNA__FETCH_RUN; at += 64) _mm_prefetch((const char *)row + at, _MM_HINT_T0);
  } else {
    for (int i = f->per_step; i > 0; i--, row += f->stride)
      for (int at = 0; at < f->bytes; at += 64) _mm_prefetch((const char *)row + at, _MM_HINT_T0);
  }
  f->row = row;
  f->rows -= f->per_step;
}

/* What a tile needs, with addresses of its columns. */
typedef struct tile {
  fetch *fetch;
  const myna__mul *m;
  const uint8_t *panel;      /* of the first strip; the next block's is m->n_strip panels further */
  const uint8_t *row[C_MAX]; /* activation rows */
  float *acc;                /* acc[c * ld + LANES * v] */
} tile;

/* Vector v of a tile within a panel: strip v / PARTS, part v % PARTS; `size` bytes per vector element row. */
#define PART(v) ((v) / PARTS)
#define LANE0(v) ((v) % PARTS * LANES)

INLINE void load_acc(vf acc[V_MAX][C_MAX], const tile *t, int V, int C) {
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < V; v++) acc[v][c] =
      vf_load(t->acc + c * t->m->ld_acc + LANES * v);
}
INLINE void store_acc(vf acc[V_MAX][C_MAX], const tile *t, int V, int C) {
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < V; v++)
      vf_store(t->acc + c * t->m->ld_acc + LANES * v, acc[v][c]);
}

/* ---- F32 ---- */

INLINE void tile_f32(const tile *t, int V, int C) {
  const myna__panel_f32 *p = (const void *)t->panel;
  vf acc[V_MAX][C_MAX];
  const uint8_t *x[C_MAX];
  load_acc(acc, t, V, C);
  UNROLL for (int c = 0; c < C; c++) x[c] = t->row[c] + 4 * t->m->k0;
  for (int64_t left = t->m->n; left > 0; left -= MYNA__KBLOCK, p += t->m->n_strip) {
    int64_t n = MYNA__MIN(left, MYNA__KBLOCK);
    for (int64_t k = 0; k < n; k++) {
      vf w[V_MAX];
      UNROLL for (int v = 0; v < V; v++) w[v] = vf_load(&p[PART(v)].w[k][LANE0(v)]);
      UNROLL for (int c = 0; c < C; c++) {
        vf a = vf_set(load_float(x[c] + 4 * k));
        UNROLL for (int v = 0; v < V; v++) acc[v][c] = vf_fma(w[v], a, acc[v][c]);
      }
    }
    UNROLL for (int c = 0; c < C; c++) x[c] += 4 * MYNA__KBLOCK;
  }
  store_acc(acc, t, V, C);
}

/* ---- BF16: pairs (k, k+1) in a dword ---- */

INLINE void tile_bf16(const tile *t, int V, int C) {
  const myna__panel_bf16 *p = (const void *)t->panel;
  vf acc[V_MAX][C_MAX];
  const uint8_t *x[C_MAX];
  load_acc(acc, t, V, C);
  UNROLL for (int c = 0; c < C; c++) x[c] = t->row[c] + 2 * t->m->k0;
  for (int64_t left = t->m->n; left > 0; left -= MYNA__KBLOCK, p += t->m->n_strip) {
    int64_t pairs = (MYNA__MIN(left, MYNA__KBLOCK) + 1) / 2;
    for (int64_t k = 0; k < pairs; k++) {
      vf even[V_MAX], odd[V_MAX];
      UNROLL for (int v = 0; v < V; v++) widen_bf16_pair(&even[v], &odd[v], vi_load(p[PART(v)].w[k][LANE0(v)]));
      UNROLL for (int c = 0; c < C; c++) {
        vf xe, xo;
        widen_bf16_pair(&xe, &xo, vi_set32(load32(x[c] + 4 * k)));
        UNROLL for (int v = 0; v < V; v++) acc[v][c] = vf_fma(even[v], xe, acc[v][c]);
        UNROLL for (int v = 0; v < V; v++) acc[v][c] = vf_fma(odd[v], xo, acc[v][c]);
      }
    }
    UNROLL for (int c = 0; c < C; c++) x[c] += 2 * MYNA__KBLOCK;
  }
  store_acc(acc, t, V, C);
}

/* ---- integer forms ---- */

/* Do a tile's sums stay in registers beside the products of a group, V codes, an activation and a scale? */
INLINE bool held(int V, int C) { return 2 * V * C + V + 2 <= REGISTERS; }

/* i[v][c] = minus the offset's share: nsum << shift, nsum at `at` of each row. */
INLINE void start_codes(vi i[V_MAX][C_MAX], const uint8_t *const *row, int64_t at, int shift, int V, int C,
                        dot_mode mode) {
  const bool offset = shift >= 0 && dot_needs_offset(mode);
  UNROLL for (int c = 0; c < C; c++) {
    vi start = offset ? minus_offset(row[c] + at, shift, false) : vi_zero();
    UNROLL for (int v = 0; v < V; v++) i[v][c] = start;
  }
}

/* Per 32 k: integers, then acc += (float)i * (d_w * d_a) and, with `min`, acc += sum * (m_w * d_a). */
INLINE void tile_q32(const tile *t, int V, int C, int shift, bool min, dot_mode mode) {
  const myna__panel_q32 *p = (const void *)t->panel;
  const int n_strip = t->m->n_strip;
  const int64_t ld = t->m->ld_acc, end = t->m->k0 + t->m->n, d_at = (int64_t)t->m->act.d,
                nsum_at = (int64_t)t->m->act.nsum;
  const bool offset = shift >= 0 && dot_needs_offset(mode);
  float *const acc = t->acc;
  const uint8_t *row[C_MAX];
  _Alignas(64) int32_t seed[C_MAX][8];
  UNROLL for (int c = 0; c < C; c++) row[c] = t->row[c];
  for (int64_t k0 = t->m->k0; k0 < end; k0 += MYNA__KBLOCK, p += n_strip) {
    const int groups = (int)MYNA__MIN(end - k0, MYNA__KBLOCK) / 32;
    vf y[V_MAX][C_MAX];
    if (offset && held(V, C))
      UNROLL for (int c = 0; c < C; c++) for (int g = 0; g < groups; g++) seed[c][g] =
          load32(row[c] + nsum_at + (k0 / 32 + g) * 4) * (1 << shift);
    if (held(V, C)) load_acc(y, t, V, C);
    for (int g = 0; g < groups; g++) {
      vi i[V_MAX][C_MAX];
      const int64_t k = k0 + 32 * g, at = k / 32 * 4; /* of this group's d and nsum */
      fetch_some(t->fetch);
      if (offset && held(V, C))
        UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < V; v++) i[v][c] = vi_set32(seed[c][g]);
      else
        start_codes(i, row, nsum_at + at, shift, V, C, mode);
      dot_codes(i, p->code[8 * g][0], sizeof *p, row, k, 8, V, C, mode);
      if (!held(V, C)) settle(i, V, C);
      UNROLL for (int c = 0; c < C; c++) {
        vf d = vf_set(load_float(row[c] + d_at + at));
        vf nsum = min ? vi_to_f32(vi_set32(load32(row[c] + nsum_at + at))) : d;
        UNROLL for (int v = 0; v < V; v++) {
          vf s = held(V, C) ? y[v][c] : vf_load(acc + c * ld + LANES * v);
          s = vf_fma(vi_to_f32(i[v][c]), vf_mul(vf_load(&p[PART(v)].d[g][LANE0(v)]), d), s);
          if (min) s = vf_fnma(nsum, vf_mul(vf_load(&p[PART(v)].m[g][LANE0(v)]), d), s);
          if (held(V, C))
            y[v][c] = s;
          else
            vf_store(acc + c * ld + LANES * v, s);
        }
      }
      if (!held(V, C)) BORDER();
    }
    if (held(V, C)) store_acc(y, t, V, C);
  }
}

/* The same with a scale per 16: d of the first 16 of each 32, m of the others. */
INLINE void tile_q16(const tile *t, int V, int C, int shift, dot_mode mode) {
  const myna__panel_q32 *p = (const void *)t->panel;
  const int n_strip = t->m->n_strip;
  const int64_t ld = t->m->ld_acc, end = t->m->k0 + t->m->n, d_at = (int64_t)t->m->act.d,
                nsum_at = (int64_t)t->m->act.nsum16;
  float *const acc = t->acc;
  const uint8_t *row[C_MAX];
  UNROLL for (int c = 0; c < C; c++) row[c] = t->row[c];
  for (int64_t k0 = t->m->k0; k0 < end; k0 += MYNA__KBLOCK, p += n_strip) {
    int groups = (int)MYNA__MIN(end - k0, MYNA__KBLOCK) / 16;
    for (int g = 0; g < groups; g++) {
      vi i[V_MAX][C_MAX];
      const int64_t k = k0 + 16 * g;
      start_codes(i, row, nsum_at + k / 16 * 4, shift, V, C, mode);
      dot_codes(i, p->code[4 * g][0], sizeof *p, row, k, 4, V, C, mode);
      settle(i, V, C);
      UNROLL for (int c = 0; c < C; c++) {
        vf d = vf_set(load_float(row[c] + d_at + k / 32 * 4));
        UNROLL for (int v = 0; v < V; v++) {
          const float *dw = g % 2 ? &p[PART(v)].m[g / 2][LANE0(v)] : &p[PART(v)].d[g / 2][LANE0(v)];
          vf s = vf_load(acc + c * ld + LANES * v);
          vf_store(acc + c * ld + LANES * v, vf_fma(vi_to_f32(i[v][c]), vf_mul(vf_load(dw), d), s));
        }
      }
      BORDER();
    }
  }
}

/* j[v][c] = sum of min * sum of codes over the block, in pairs of groups; the sums as int16 at `at`. */
INLINE void mins_q256(vi j[V_MAX][C_MAX], const myna__panel_q256 *p, const uint8_t *const *row, int64_t at, int groups,
                      int V, int C) {
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < V; v++) j[v][c] = vi_zero();
  UNROLL for (int k = 0; k < groups / 2; k++) {
    vi w[V_MAX];
    UNROLL for (int v = 0; v < V; v++) w[v] = vi_load(p[PART(v)].min[k][LANE0(v)]);
    UNROLL for (int c = 0; c < C; c++) {
      vi s = vi_set32(load32(row[c] + at + 4 * k));
      UNROLL for (int v = 0; v < V; v++) j[v][c] = vi_dot_pairs16(j[v][c], w[v], s);
    }
  }
  settle(j, V, C);
}

typedef struct sums {
  vi v[V_MAX][C_MAX];
} sums;

/* What a Q256 type is, constant in every tile. */
typedef struct kind256 {
  int groups, shift, narrow;
  bool min;
  dot_mode mode;
} kind256;

/* seed[c][j]: minus the offset's share of 16 codes, or for `two` at even j of 32. */
INLINE void seeds(int32_t seed[C_MAX][16], const uint8_t *const *row, int64_t at, int shift, int C, bool two) {
  UNROLL for (int c = 0; c < C; c++) UNROLL for (int j = 0; j < 16; j += LANES) {
    vi s = vi_loadu(row[c] + at + 4 * j);
    if (two) s = vi_add32(s, vi_swap_pairs32(s));
    vi_store(&seed[c][j], vi_sll32(s, shift));
  }
}

/* i[v][c] = products of the `len` codes at k of the block, less the offset's share. */
INLINE void products(vi i[V_MAX][C_MAX], const myna__panel_q256 *p, const uint8_t *const *row,
                     const int32_t seed[C_MAX][16], int64_t k0, int k, int len, int V, int C, const kind256 *t) {
  const bool offset = t->shift >= 0 && dot_needs_offset(t->mode);
  UNROLL for (int c = 0; c < C; c++) {
    vi start = offset ? vi_set32(load32((const uint8_t *)&seed[c][k / 16])) : vi_zero();
    UNROLL for (int v = 0; v < V; v++) i[v][c] = start;
  }
  dot_codes(i, p->code[k / 4][0], sizeof *p, row, k0 + k, len / 4, V, C, t->mode);
}

/* s = scaled sums of products of a block. `narrow`: sums of t->narrow products fit 16 bits, so a multiply-add of pairs, the
 * upper ones times 0, scales and adds them in one. Codes that hold their scales (groups 1) are taken 32 at a time too: short
 * runs of products keep the loop small. */
INLINE void block_sums(vi s[V_MAX][C_MAX], const myna__panel_q256 *p, const uint8_t *const *row,
                       const int32_t seed[C_MAX][16], int64_t k0, int V, int C, const kind256 *t, bool narrow,
                       fetch *f) {
  const bool scaled = t->groups > 1;
  const int len = narrow ? t->narrow : scaled ? 256 / t->groups : 32, parts = 256 / len, per_scale = parts / t->groups;
  const bool in_memory = narrow ? !held(V, C) : V * C > 4; /* few sums stay in registers */
  sums memory, *m = &memory;
  if (in_memory) __asm__("" : "+r"(m) : : "memory");
  UNROLL for (int v = 0; v < V; v++) UNROLL for (int c = 0; c < C; c++) m->v[v][c] = vi_zero();
  for (int g = 0; g < parts; g++) {
    vi i[V_MAX][C_MAX];
    fetch_some(f);
    products(i, p, row, seed, k0, len * g, len, V, C, t);
    if (in_memory) settle(i, V, C);
    UNROLL for (int v = 0; v < V; v++) {
      vi scale = scaled ? vi_load(&p[PART(v)].scale[g / per_scale][LANE0(v)]) : vi_zero();
      if (t->narrow && !narrow) scale = vi_sra32(vi_sll32(scale, 16), 16);
      UNROLL for (int c = 0; c < C; c++) m->v[v][c] = narrow   ? vi_dot_pairs16(m->v[v][c], i[v][c], scale)
                                                      : scaled ? vi_add32(m->v[v][c], vi_mul32(i[v][c], scale))
                                                               : vi_add32(m->v[v][c], i[v][c]);
    }
    if (in_memory) BORDER();
  }
  UNROLL for (int v = 0; v < V; v++) UNROLL for (int c = 0; c < C; c++) s[v][c] = m->v[v][c];
}

/* Per 256 k: integers scaled in int32 (s), then acc += (float)s * (d_w * d_a), acc -= (float)j * (dmin_w * d_a). */
INLINE void tile_q256(const tile *t, int V, int C, kind256 kind) {
  const myna__panel_q256 *p = (const void *)t->panel;
  const int n_strip = t->m->n_strip, n_min = kind.groups == 8 ? 8 : 16;
  const bool two = kind.groups > 1 && (kind.narrow ? kind.narrow : 256 / kind.groups) == 32;
  const int64_t ld = t->m->ld_acc, end = t->m->k0 + t->m->n, d_at = (int64_t)t->m->act.d,
                nsum_at = (int64_t)t->m->act.nsum, mass_at = (int64_t)t->m->act.mass;
  const int64_t sum_at = (int64_t)(n_min == 8 ? t->m->act.sum32 : t->m->act.sum);
  float *const acc = t->acc;
  const uint8_t *row[C_MAX];
  _Alignas(64) int32_t seed[C_MAX][16];
  UNROLL for (int c = 0; c < C; c++) row[c] = t->row[c];
  for (int64_t k0 = t->m->k0; k0 < end; k0 += MYNA__KBLOCK, p += n_strip) {
    vi s[V_MAX][C_MAX], j[V_MAX][C_MAX];
    int32_t mass = 0;
    if (kind.shift >= 0 && dot_needs_offset(kind.mode))
      seeds(seed, row, nsum_at + k0 / 16 * 4, kind.shift, C, two || kind.groups == 1);
    if (kind.narrow) UNROLL for (int c = 0; c < C; c++) mass |= load32(row[c] + mass_at + k0 / 256 * 4);
    if (kind.narrow && mass <= MYNA__NARROW_MASS)
      block_sums(s, p, row, seed, k0, V, C, &kind, true, t->fetch);
    else
      block_sums(s, p, row, seed, k0, V, C, &kind, false, t->fetch);
    settle(s, V, C);
    if (kind.min) mins_q256(j, p, row, sum_at + k0 * n_min / 256 * 2, n_min, V, C);
    UNROLL for (int c = 0; c < C; c++) {
      vf d = vf_set(load_float(row[c] + d_at + k0 / 256 * 4));
      UNROLL for (int v = 0; v < V; v++) {
        vf y = vf_load(acc + c * ld + LANES * v);
        y = vf_fma(vi_to_f32(s[v][c]), vf_mul(vf_load(&p[PART(v)].d[LANE0(v)]), d), y);
        if (kind.min) y = vf_fnma(vi_to_f32(j[v][c]), vf_mul(vf_load(&p[PART(v)].dmin[LANE0(v)]), d), y);
        vf_store(acc + c * ld + LANES * v, y);
      }
    }
    BORDER();
  }
}

/* ---- the way of the level ---- */

#ifdef PAIRS_OF_PRODUCTS
#include "kernels/x86/mul_pairs_avx2.h"
#endif

INLINE void tile_32(const tile *t, int V, int C, int shift, bool min, dot_mode mode) {
#ifdef PAIRS_OF_PRODUCTS
  tile_pairs32(t, V, C, shift, min, mode);
#else
  tile_q32(t, V, C, shift, min, mode);
#endif
}
INLINE void tile_256(const tile *t, int V, int C, kind256 kind) {
#ifdef PAIRS_OF_PRODUCTS
  if (kind.groups > 1)
    tile_pairs256(t, V, C, kind);
  else
#endif
    tile_q256(t, V, C, kind);
}

/* ---- all columns of all strips ---- */

typedef void tile_fn(const tile *t, int V, int C);

/* `top`: columns of the widest tile. */
INLINE void columns(const myna__mul *m, int strip, int V, int top, tile_fn *f, fetch *next) {
  tile t = {.m = m, .fetch = next, .panel = m->panel + (size_t)strip * myna__panel_bytes(m->type->form)};
  int64_t left = m->n_col;
  const uint8_t *row = m->act.row;
  t.acc = m->acc + strip * MYNA__STRIP;
  while (left > 0) {
    int n = (int)MYNA__MIN(left, top);
    if (n > C_HALF && n < top) n = C_HALF;
    for (int c = 0; c < n; c++) t.row[c] = row + (size_t)c * m->act.stride;
    switch (n) {
    case 1: SEPARATE(f(&t, V, 1)); break;
    case 2: SEPARATE(f(&t, V, 2)); break;
    case 3: SEPARATE(f(&t, V, 3)); break;
    case 4:
      if (top >= 4) SEPARATE(f(&t, V, 4));
      break;
    case 5:
      if (C_HALF >= 5 && top > 4) SEPARATE(f(&t, V, 5));
      break;
    default:
      if (top > 4) SEPARATE(f(&t, V, top));
      break;
    }
    left -= n;
    row += (size_t)n * m->act.stride;
    t.acc += n * m->ld_acc;
  }
}

INLINE void sweep(const myna__mul *m, int top, tile_fn *f) {
  enum { STEPS = 8 }; /* groups in a tile */
  const bool abreast = m->n_strip * PARTS == V_MAX && m->n_strip > 1;
  const int64_t steps = (m->n_col + top - 1) / top * STEPS * (abreast ? 1 : m->n_strip);
  fetch next = {m->next, m->next_stride, m->next_bytes, m->next_rows, (int)((m->next_rows + steps - 1) / steps)};
  if (abreast) {
    columns(m, 0, V_MAX, top, f, &next);
    return;
  }
  for (int s = 0; s < m->n_strip; s++) columns(m, s, PARTS, top, f, &next);
}

/* ---- by type ---- */

INLINE void tile_q4_0(const tile *t, int V, int C) { tile_32(t, V, C, 3, false, DOT_4BIT); }
INLINE void tile_q5_0(const tile *t, int V, int C) { tile_32(t, V, C, 4, false, DOT_5BIT); }
INLINE void tile_q8_0(const tile *t, int V, int C) { tile_32(t, V, C, 7, false, DOT_8BIT); }
INLINE void tile_q4_1(const tile *t, int V, int C) { tile_32(t, V, C, -1, true, DOT_4BIT); }
INLINE void tile_q5_1(const tile *t, int V, int C) { tile_32(t, V, C, -1, true, DOT_5BIT); }
INLINE void tile_q2_0(const tile *t, int V, int C) { tile_32(t, V, C, 0, false, DOT_4BIT); }
INLINE void tile_nvfp4(const tile *t, int V, int C) { tile_q16(t, V, C, 4, DOT_5BIT); }
/* Of the type's row in panels.inc. */
#define KIND256(NAME, mode) \
  (kind256) { MYNA__GROUPS_##NAME, MYNA__SHIFT_##NAME, MYNA__NARROW_##NAME, MYNA__MIN_##NAME, mode }
INLINE void tile_q2_k(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(Q2_K, DOT_6BIT)); }
INLINE void tile_q3_k(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(Q3_K, DOT_4BIT)); }
INLINE void tile_q4_k(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(Q4_K, DOT_4BIT)); }
INLINE void tile_q5_k(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(Q5_K, DOT_5BIT)); }
INLINE void tile_q6_k(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(Q6_K, DOT_6BIT)); }
INLINE void tile_q8_k(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(Q8_K, DOT_8BIT)); }
INLINE void tile_tq2_0(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(TQ2_0, DOT_4BIT)); }
INLINE void tile_iq1_s(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(IQ1_S, DOT_5BIT)); }
INLINE void tile_iq1_m(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(IQ1_M, DOT_5BIT)); }
INLINE void tile_iq2_xxs(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(IQ2_XXS, DOT_7BIT)); }
INLINE void tile_iq2_xs(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(IQ2_XS, DOT_7BIT)); }
INLINE void tile_iq4_xs(const tile *t, int V, int C) { tile_256(t, V, C, KIND256(IQ4_XS, DOT_8BIT)); }

static void mul_f32(const myna__mul *m) { sweep(m, C_MAX, tile_f32); }
static void mul_bf16(const myna__mul *m) { sweep(m, C_PAIR, tile_bf16); }
static void mul_q4_0(const myna__mul *m) { sweep(m, C_INT, tile_q4_0); }
static void mul_q5_0(const myna__mul *m) { sweep(m, C_SHORT, tile_q5_0); }
static void mul_q8_0(const myna__mul *m) { sweep(m, C_SHORT, tile_q8_0); }
static void mul_q4_1(const myna__mul *m) { sweep(m, C_INT, tile_q4_1); }
static void mul_q5_1(const myna__mul *m) { sweep(m, C_SHORT, tile_q5_1); }
static void mul_q2_0(const myna__mul *m) { sweep(m, C_INT, tile_q2_0); }
static void mul_nvfp4(const myna__mul *m) { sweep(m, C_SHORT, tile_nvfp4); }
static void mul_q2_k(const myna__mul *m) { sweep(m, C_SHORT, tile_q2_k); }
static void mul_q3_k(const myna__mul *m) { sweep(m, C_INT, tile_q3_k); }
static void mul_q4_k(const myna__mul *m) { sweep(m, C_INT, tile_q4_k); }
static void mul_q5_k(const myna__mul *m) { sweep(m, C_SHORT, tile_q5_k); }
static void mul_q6_k(const myna__mul *m) { sweep(m, C_SHORT, tile_q6_k); }
static void mul_q8_k(const myna__mul *m) { sweep(m, C_INT, tile_q8_k); }
static void mul_tq2_0(const myna__mul *m) { sweep(m, C_INT, tile_tq2_0); }
static void mul_iq1_s(const myna__mul *m) { sweep(m, C_SHORT, tile_iq1_s); }
static void mul_iq1_m(const myna__mul *m) { sweep(m, C_SHORT, tile_iq1_m); }
static void mul_iq2_xxs(const myna__mul *m) { sweep(m, C_SHORT, tile_iq2_xxs); }
static void mul_iq2_xs(const myna__mul *m) { sweep(m, C_SHORT, tile_iq2_xs); }
static void mul_iq4_xs(const myna__mul *m) { sweep(m, C_SHORT, tile_iq4_xs); }

/* Types whose codes have the same width, offset and groups share a multiply. */
INLINE void fill_mul(myna__ktable *t) {
  t->file_order = FILE_ORDER;
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) t->mul_f32[i] = mul_f32;
  t->mul[MYNA_BF16] = mul_bf16;
  t->mul[MYNA_Q4_0] = mul_q4_0;
  t->mul[MYNA_Q4_1] = mul_q4_1;
  t->mul[MYNA_Q5_0] = mul_q5_0;
  t->mul[MYNA_Q5_1] = mul_q5_1;
  t->mul[MYNA_Q8_0] = mul_q8_0;
  t->mul[MYNA_Q8_1] = mul_q8_0;
  t->mul[MYNA_IQ4_NL] = mul_q8_0;
  t->mul[MYNA_MXFP4] = mul_q5_0;
  t->mul[MYNA_NVFP4] = mul_nvfp4;
  t->mul[MYNA_Q1_0] = mul_q2_0;
  t->mul[MYNA_Q2_0] = mul_q2_0;
  t->mul[MYNA_MLX4] = mul_q4_1;
  t->mul[MYNA_Q2_K] = mul_q2_k;
  t->mul[MYNA_Q3_K] = mul_q3_k;
  t->mul[MYNA_Q4_K] = mul_q4_k;
  t->mul[MYNA_Q5_K] = mul_q5_k;
  t->mul[MYNA_Q6_K] = mul_q6_k;
  t->mul[MYNA_Q8_K] = mul_q8_k;
  t->mul[MYNA_TQ1_0] = mul_tq2_0;
  t->mul[MYNA_TQ2_0] = mul_tq2_0;
  t->mul[MYNA_IQ1_S] = mul_iq1_s;
  t->mul[MYNA_IQ1_M] = mul_iq1_m;
  t->mul[MYNA_IQ2_XXS] = mul_iq2_xxs;
  t->mul[MYNA_IQ2_XS] = mul_iq2_xs;
  t->mul[MYNA_IQ2_S] = mul_iq2_xs;
  t->mul[MYNA_IQ3_XXS] = mul_iq2_xxs;
  t->mul[MYNA_IQ3_S] = mul_iq1_s;
  t->mul[MYNA_IQ4_XS] = mul_iq4_xs;
}

#endif
