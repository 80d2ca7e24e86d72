/* open_impl.h: panels and direct kernels of types that are described once, by how 32 codes of 16 rows come out of their
 * blocks: `open` hands them on as 8 vectors, to a panel or to a few columns' sums. One source for every x86 level. */
#ifndef MYNA__OPEN_IMPL_H
#define MYNA__OPEN_IMPL_H

#include "kernels/x86/direct_impl.h"

/* Elements per block, by the rows of myna_dtypes.inc. */
#define DTYPE(name, str, ggml_id, block, bytes, kind) enum { PER_##name = block };
#include "myna_dtypes.inc"
#undef DTYPE

/* A part of 16 rows, and what to prefetch while a block of 256 k is read. */
typedef struct source {
  const myna__rows *rows;
  int part;
  const uint8_t *next;
  bool fetches; /* or there is nothing to */
} source;

/* Piece i of n of a strip's block, `bytes` per row. */
INLINE ahead share_of(const source *s, int bytes, int i, int n) {
  return s->fetches ? share(s->next, bytes, s->part, i, n) : nothing;
}

/* ---- Q32 ---- */

/* Group g of 32 k of a block of 256: dword i of every row in w[i], scale d, m as the type's row in panels.inc says. */
typedef void put32_fn(void *to, int g, const vi w[8], vf d, vf m);
/* Puts the groups of the type's block at `at`, g being the first. */
typedef void open32_fn(const source *s, int64_t at, int g, ahead a, put32_fn *put, void *to);

typedef struct to_panel32 {
  myna__panel_q32 *p;
  bool m; /* somebody reads it */
  int part;
} to_panel32;

INLINE void put_panel32(void *to, int g, const vi w[8], vf d, vf m) {
  const to_panel32 *t = to;
  store_codes(t->p->code + 8 * g, t->part, w, 8);
  vf_store(t->p->d[g] + LANES * t->part, d);
  if (t->m) vf_store(t->p->m[g] + LANES * t->part, m);
}

/* `per` k and `bytes` per block of the type. */
INLINE void unpack_q32(to_panel32 *t, const myna__rows *rows, int64_t k0, int n, int per, int bytes, open32_fn *open) {
  for (int k = 0; k < n; k += per) EACH_PART {
      source s = {rows, part, NULL, false};
      t->part = part;
      open(&s, (k0 + k) / per * bytes, k / 32, share_of(&s, 256 / per * bytes, k / per, 256 / per), put_panel32, t);
    }
}

typedef struct to_sums32 {
  vf *acc;
  const columns_in *in;
  int64_t k;
  int C, groups, shift;
  bool min;
  dot_mode mode;
} to_sums32;

/* acc += 16 k: codes in w[4], their scale d. */
INLINE void add_group16(vf *acc, const columns_in *in, const vi w[4], vf d, int64_t k, int C, int shift,
                        dot_mode mode) {
  vi i[C_INTS];
  UNROLL for (int c = 0; c < C; c++) i[c] =
      dot_needs_offset(mode) ? minus_offset(in->x[c] + in->act.nsum16 + k / 16 * 4, shift, false) : vi_zero();
  dot_dwords(i, w, 4, in->x, k, C, mode);
  UNROLL for (int c = 0; c < C; c++) acc[c] =
      vf_fma(vi_to_f32(i[c]), vf_mul(d, vf_set(load_float(in->x[c] + in->act.d + k / 32 * 4))), acc[c]);
}

INLINE void put_sums32(void *to, int g, const vi w[8], vf d, vf m) {
  const to_sums32 *t = to;
  const int64_t k = t->k + 32 * g;
  if (t->groups == 16) {
    add_group16(t->acc, t->in, w, d, k, t->C, t->shift, t->mode);
    add_group16(t->acc, t->in, w + 4, m, k + 16, t->C, t->shift, t->mode);
  } else {
    add_group32(t->acc, t->in, w, d, m, k, t->C, t->shift, t->min, t->mode);
  }
}

/* One block of 256 k, or the n of a row's end, times the columns of t. */
INLINE void sum_q32(to_sums32 *t, int part, int n, const uint8_t *next, int per, int bytes, open32_fn *open) {
  for (int k = 0; k < n; k += per) {
    source s = {t->in->rows, part, next, true};
    open(&s, (t->k + k) / per * bytes, k / 32, share_of(&s, 256 / per * bytes, k / per, 256 / per), put_sums32, t);
  }
}

/* ---- Q256 ---- */

typedef struct head256 {
  vf d, dmin;
  vi scale[16], min[8];  /* min: pairs of int16 */
  vi signs[8];           /* codebook types: bit k of dword g: weight k of group g is negative */
  vi index[16], high[8]; /* low bytes of 4 indices each; bit i of dword g: that of index i of group g */
} head256;
typedef void head_fn(head256 *h, const source *s, int64_t at);

/* Group g of 32 k: dword i of every row in w[i]. */
typedef void put256_fn(void *to, int g, const vi w[8]);
typedef void open256_fn(const source *s, int64_t at, const head256 *h, put256_fn *put, void *to);

typedef struct to_panel256 {
  myna__panel_q256 *p;
  int part;
} to_panel256;

INLINE void put_panel256(void *to, int g, const vi w[8]) {
  const to_panel256 *t = to;
  store_codes(t->p->code + 8 * g, t->part, w, 8);
}

INLINE void unpack_q256(void *panel, const myna__rows *rows, int64_t k0, int bytes, int groups, bool min, bool narrow,
                        head_fn *head, open256_fn *open) {
  myna__panel_q256 *p = panel;
  const int64_t at = k0 / 256 * bytes;
  EACH_PART {
    head256 h;
    source s = {rows, part, NULL, false};
    to_panel256 t = {p, part};
    head(&h, &s, at);
    vf_store(p->d + LANES * part, h.d);
    if (min) vf_store(p->dmin + LANES * part, h.dmin);
    if (groups > 1) store_scales(p, h.scale, part, groups, narrow, !min);
    if (min) UNROLL for (int i = 0; i < 8; i++) vi_store(p->min[i][LANES * part], h.min[i]);
    open(&s, at, &h, put_panel256, &t);
  }
}

typedef struct to_sums256 {
  const columns_in *in;
  int64_t k;
  int C, groups, shift, narrow;
  dot_mode mode;
  const head256 *h;
  vi *sum; /* [C]; not in here: the compiler must see that sums leave the constants above alone */
} to_sums256;

INLINE void put_sums256(void *to, int g, const vi w[8]) {
  to_sums256 *t = to;
  const int64_t k = t->k + 32 * g;
  if (t->groups == 16) {
    add_group(t->sum, t->in, w, 4, true, t->h->scale[2 * g], k, t->C, t->shift, t->narrow, t->mode);
    add_group(t->sum, t->in, w + 4, 4, true, t->h->scale[2 * g + 1], k + 16, t->C, t->shift, t->narrow, t->mode);
  } else {
    vi scale = t->groups == 8 ? t->h->scale[g] : vi_zero();
    add_group(t->sum, t->in, w, 8, t->groups == 8, scale, k, t->C, t->shift, t->narrow, t->mode);
  }
}

/* acc[c] -= dmin * the sum of 16 mins times sums of 16 codes. */
INLINE void add_mins16(vf *acc, const columns_in *in, const head256 *h, int64_t k, int C) {
  UNROLL for (int c = 0; c < C; c++) {
    vi j = vi_zero();
    UNROLL for (int i = 0; i < 8; i++) j =
        vi_dot_pairs16(j, h->min[i], vi_set32(load32(in->x[c] + in->act.sum + k / 8 + 4 * i)));
    acc[c] = vf_fnma(vi_to_f32(j), vf_mul(h->dmin, vf_set(load_float(in->x[c] + in->act.d + k / 256 * 4))), acc[c]);
  }
}

/* acc += a block. `t`: what the type is; its columns are those of `in`. */
INLINE void sum_q256(vf *acc, to_sums256 *t, int part, const uint8_t *next, int bytes, bool min, head_fn *head,
                     open256_fn *open) {
  const int64_t at = t->k / 256 * bytes;
  source s = {t->in->rows, part, next, true};
  head256 h;
  vi sum[C_INTS];
  head(&h, &s, at);
  t->h = &h;
  t->sum = sum;
  UNROLL for (int c = 0; c < t->C; c++) sum[c] = vi_zero();
  open(&s, at, &h, put_sums256, t);
  add_block(acc, t->in, sum, h.d, t->k, t->C);
  if (min) add_mins16(acc, t->in, &h, t->k, t->C);
}

/* ---- by type ---- */

/* The kernels of a type, from (NAME, name, width of codes) and its rows in panels.inc and myna_dtypes.inc. Generated functions,
 * because the table wants one per type and differences must be constant arguments; each is one call of what stands above. */
#define KERNELS32(NAME, name, codes)                                                                                \
  static_assert((int)MYNA__FORM_OF_##NAME == MYNA__FORM_Q32, #NAME);                                                \
  static void unpack_##name(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {         \
    unpack_q32(&(to_panel32){panel, MYNA__MIN_##NAME || MYNA__GROUPS_##NAME == 16}, rows, k0, n, PER_##NAME,        \
               MYNA__BYTES_##NAME, open_##name);                                                                    \
  }                                                                                                                 \
  INLINE void block_##name(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) { \
    sum_q32(&(to_sums32){acc, in, k, C, MYNA__GROUPS_##NAME, MYNA__SHIFT_##NAME, MYNA__MIN_##NAME, codes}, part, n, \
            next, PER_##NAME, MYNA__BYTES_##NAME, open_##name);                                                     \
  }                                                                                                                 \
  static int64_t direct_##name(const myna__direct *d) {                                                             \
    return direct_ints(d, MYNA__BYTES_##NAME, PER_##NAME, MYNA__NARROW_##NAME, block_##name);                       \
  }

#define KERNELS256(NAME, name, codes)                                                                                 \
  static_assert((int)MYNA__FORM_OF_##NAME == MYNA__FORM_Q256 && PER_##NAME == 256, #NAME);                            \
  static void unpack_##name(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n) {           \
    unpack_q256(panel, rows, k0, MYNA__BYTES_##NAME, MYNA__GROUPS_##NAME, MYNA__MIN_##NAME, MYNA__NARROW_##NAME,      \
                head_##name, open_##name);                                                                            \
  }                                                                                                                   \
  INLINE void block_##name(vf *acc, const columns_in *in, int part, int64_t k, int n, const uint8_t *next, int C) {   \
    sum_q256(acc, &(to_sums256){in, k, C, MYNA__GROUPS_##NAME, MYNA__SHIFT_##NAME, MYNA__NARROW_##NAME, codes}, part, \
             next, MYNA__BYTES_##NAME, MYNA__MIN_##NAME, head_##name, open_##name);                                   \
  }                                                                                                                   \
  static int64_t direct_##name(const myna__direct *d) {                                                               \
    return direct_ints(d, MYNA__BYTES_##NAME, PER_##NAME, MYNA__NARROW_##NAME, block_##name);                         \
  }

/* All of one kind, then all of the other: clang's registers in direct kernels depend on what it meets first. */
#define SET_UNPACK(NAME, name, ...) t->unpack[MYNA_##NAME] = unpack_##name;
#define SET_DIRECT(NAME, name, ...) t->direct[MYNA_##NAME] = direct_##name;

#endif
