/* attn_pages.c: cache pages: sizes, writes and reads. attn.h draws the layouts. */
#include "kernels/attn.h"
#include "kernels/table.h"
#include <math.h>

const myna__kv_fact myna__kv_facts[MYNA__KV_KINDS] = {[MYNA__KV_F32] = {MYNA_F32, 32, false, false},
                                                      [MYNA__KV_BF16] = {MYNA_BF16, 16, true, false},
                                                      [MYNA__KV_F16] = {MYNA_F16, 16, false, false},
                                                      [MYNA__KV_Q8_0] = {MYNA_Q8_0, 8, false, true},
                                                      [MYNA__KV_Q4_0] = {MYNA_Q4_0, 4, false, true}};

int myna__kv_kind_of(myna_dtype t) {
  for (int i = 0; i < MYNA__KV_KINDS; i++)
    if (myna__kv_facts[i].type == t) return i;
  return -1;
}

size_t myna__kv_page_bytes(myna_dtype k, myna_dtype v, int64_t n_kv_head, int64_t dim_k, int64_t dim_v) {
  int kind_k = myna__kv_kind_of(k), kind_v = myna__kv_kind_of(v);
  return kind_k < 0 || kind_v < 0 ? 0
                                  : (size_t)(n_kv_head * (myna__page_k(dim_k, kind_k) + myna__page_v(dim_v, kind_v)));
}

/* ---- rows of floats ---- */

enum { CHUNK = 256 /* a multiple of every rotation and group */ };

/* The 16-bit form of n floats. BF16 without calls and branches, so that it vectorizes: nearest even, NaN stays NaN. */
static void narrow(uint16_t *h, const float *x, int64_t n, int kind) {
  if (kind == MYNA__KV_F16) {
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

/* K of one head at position p of the page: dimensions (F32, F16) or pairs of them (BF16) lie 16 positions apart. */
static void write_k(uint8_t *base, const float *x, int64_t dim, int64_t p, int kind) {
  bool pairs = myna__kv_facts[kind].pairs;
  int bytes = myna__kv_facts[kind].bits / 8;
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
  bool pairs = myna__kv_facts[kind].pairs;
  int bytes = myna__kv_facts[kind].bits / 8;
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

/* ---- rows of codes ---- */

int64_t myna__rotation(int64_t dim) {
  int64_t h = dim & -dim;
  return h < CHUNK ? h : CHUNK;
}

/* Words of keys: 32 codes, offset taken in. */
static void put_k(uint8_t *to, const int8_t *c, int64_t n, int bits) {
  for (int64_t i = 0; i < n; i += 32 / bits) {
    uint32_t low, high;
    memcpy(&low, c + i, 4);
    memcpy(&high, c + i + 4, 4); /* Q8_0: c has padding */
    uint32_t w = bits == 8 ? low ^ 0x80808080u : ((low & 0x0f0f0f0fu) | (high & 0x0f0f0f0fu) << 4) ^ 0x88888888u;
    memcpy(to + i * bits / 32 * 64, &w, 4);
  }
}

static void put_v(uint8_t *to, const int8_t *c, int64_t n, int bits) {
  if (bits == 8) {
    memcpy(to, c, (size_t)n);
    return;
  }
  for (int64_t i = 0; i < MYNA__MIN(n, 16); i++) to[i] = (uint8_t)(((c[i] & 15) | (c[i + 16] & 15) << 4) ^ 0x88);
}

static void write_codes(const myna__ktable *t, uint8_t *base, const float *x, int64_t dim, int64_t p, int kind,
                        bool key) {
  int bits = myna__kv_facts[kind].bits;
  uint8_t *codes = base + myna__kv_scales(dim);
  float row[CHUNK];
  for (int64_t d = 0; d < dim; d += CHUNK) {
    int64_t n = MYNA__MIN(CHUNK, dim - d);
    memcpy(row, x + d, (size_t)n * sizeof *row);
    t->hadamard(row, n, myna__rotation(dim));
    for (int64_t i = 0; i < n; i += MYNA__KV_GROUP) {
      int8_t c[MYNA__KV_GROUP + 4] = {0};
      int64_t m = MYNA__MIN(MYNA__KV_GROUP, n - i), g = (d + i) / MYNA__KV_GROUP;
      uint16_t scale = myna__f32_to_f16(t->kv_codes(c, row + i, m, bits)); /* exact: rounded there */
      int64_t at = key ? myna__k_scale_at(dim, p, g) : p * myna__kv_groups(dim) + g;
      memcpy(base + 2 * at, &scale, 2);
      if (key)
        put_k(codes + myna__k_word_at(dim, p, (d + i) * bits / 32, bits), c, m, bits);
      else
        put_v(codes + p * myna__v_codes(dim, bits) + (d + i) * bits / 8, c, m, bits);
    }
  }
}

/* ---- writes ---- */

typedef struct write_job {
  const myna__kv_view *kv;
  const myna__ktable *t;
  const float *k, *v;
  int64_t ldk, ldv, n_tok, per_unit;
  const int32_t *seq, *pos;
  int kind_k, kind_v;
} write_job;

static void write_token(const write_job *j, int64_t t) {
  const myna__kv_view *kv = j->kv;
  int64_t page = myna__kv_page_at(kv, j->seq[t], j->pos[t]), p = j->pos[t] % MYNA__PAGE;
  int64_t bytes_k = myna__page_k(kv->dim_k, j->kind_k), bytes_v = myna__page_v(kv->dim_v, j->kind_v);
  if (page < 0) return;
  for (int64_t h = 0; h < kv->n_kv_head; h++) {
    uint8_t *base = kv->pool + page * kv->page_stride + h * (bytes_k + bytes_v);
    const float *k = j->k + t * j->ldk + h * kv->dim_k, *v = j->v + t * j->ldv + h * kv->dim_v;
    if (myna__kv_facts[j->kind_k].groups)
      write_codes(j->t, base, k, kv->dim_k, p, j->kind_k, true);
    else
      write_k(base, k, kv->dim_k, p, j->kind_k);
    if (myna__kv_facts[j->kind_v].groups)
      write_codes(j->t, base + bytes_k, v, kv->dim_v, p, j->kind_v, false);
    else
      write_v(base + bytes_k, v, kv->dim_v, p, j->kind_v);
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
  write_job j = {kv,
                 myna__kernels(),
                 k,
                 v,
                 ldk,
                 ldv,
                 n_tok,
                 0,
                 seq,
                 pos,
                 myna__kv_kind_of(kv->type_k),
                 myna__kv_kind_of(kv->type_v)};
  if (j.kind_k < 0 || j.kind_v < 0 || n_tok < 1) return;
  j.per_unit = n_tok < 16 ? n_tok : MYNA__MAX(8, n_tok / (4 * myna__pool_size(pool)));
  myna__pool_run(pool, (n_tok + j.per_unit - 1) / j.per_unit, write_unit, &j);
}

/* ---- reads ---- */

static float half_at(const uint8_t *base, int64_t at) {
  uint16_t h;
  memcpy(&h, base + 2 * at, 2);
  return myna__f16_to_f32(h);
}

static float get_float(const uint8_t *base, int64_t at, int kind) {
  float x;
  uint16_t h;
  if (kind == MYNA__KV_F16) return half_at(base, at);
  if (kind == MYNA__KV_F32) {
    memcpy(&x, base + at * 4, 4);
    return x;
  }
  memcpy(&h, base + at * 2, 2);
  return myna__bf16_to_f32(h);
}

static float get_k(const uint8_t *base, int64_t dim, int64_t p, int64_t d, int kind) {
  int bits = myna__kv_facts[kind].bits;
  if (!myna__kv_facts[kind].groups) return get_float(base, myna__k_at(dim, p, d, myna__kv_facts[kind].pairs), kind);
  const uint8_t *word = base + myna__kv_scales(dim) + myna__k_word_at(dim, p, d * bits / 32, bits);
  int code = bits == 8 ? word[d % 4] - 128 : (word[d % 4] >> (d / 4 % 2 * 4) & 15) - 8;
  return (float)code * half_at(base, myna__k_scale_at(dim, p, d / MYNA__KV_GROUP));
}

static float get_v(const uint8_t *base, int64_t dim, int64_t p, int64_t d, int kind) {
  int bits = myna__kv_facts[kind].bits;
  if (!myna__kv_facts[kind].groups) return get_float(base, myna__v_at(dim, p, d, myna__kv_facts[kind].pairs), kind);
  const uint8_t *row = base + myna__kv_scales(dim) + p * myna__v_codes(dim, bits);
  int code = bits == 8 ? (int8_t)row[d] : (row[d / 32 * 16 + d % 16] >> (d / 16 % 2 * 4) & 15) - 8;
  return (float)code * half_at(base, p * myna__kv_groups(dim) + d / MYNA__KV_GROUP);
}

void myna__kv_read(const myna__kv_view *kv, int32_t page, float *k, float *v) {
  int kind_k = myna__kv_kind_of(kv->type_k), kind_v = myna__kv_kind_of(kv->type_v);
  int64_t bytes_k = myna__page_k(kv->dim_k, kind_k), bytes_v = myna__page_v(kv->dim_v, kind_v);
  const myna__ktable *t = myna__kernels();
  for (int64_t p = 0; p < MYNA__PAGE; p++)
    for (int64_t h = 0; h < kv->n_kv_head; h++, k += kv->dim_k, v += kv->dim_v) {
      const uint8_t *base = kv->pool + page * kv->page_stride + h * (bytes_k + bytes_v);
      for (int64_t d = 0; d < kv->dim_k; d++) k[d] = get_k(base, kv->dim_k, p, d, kind_k);
      for (int64_t d = 0; d < kv->dim_v; d++) v[d] = get_v(base + bytes_k, kv->dim_v, p, d, kind_v);
      if (myna__kv_facts[kind_k].groups) t->hadamard(k, kv->dim_k, myna__rotation(kv->dim_k));
      if (myna__kv_facts[kind_v].groups) t->hadamard(v, kv->dim_v, myna__rotation(kv->dim_v));
    }
}
