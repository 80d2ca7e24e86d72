/* kv_plain.c: cache pages to and from the plain form of files: per position and head one row of K, likewise of V, the stored bits unchanged.
 *
 *   F32, F16, BF16   x[dim]
 *   Q8_0             f16 d[dim / 32], i8 c[dim]           x = d c, of the rotated row (attn.h)
 *   Q4_0             f16 d[dim / 32], u8 c[dim / 2]       of a group low nibbles dims 0 to 15, high 16 to 31; x = d (nibble - 8)
 *
 * A last group may be short: then Q4_0 has min(rest, 16) bytes for it. */
#include "kernels/kv_plain.h"
#include "kernels/attn.h"

size_t myna__kv_plain_row(myna_dtype type, int64_t dim) {
  int kind = myna__kv_kind_of(type);
  if (kind < 0) return 0;
  int bits = myna__kv_facts[kind].bits;
  if (!myna__kv_facts[kind].groups) return (size_t)(dim * bits / 8);
  return (size_t)(2 * myna__kv_groups(dim) + myna__v_codes(dim, bits));
}

/* ---- floats ---- */

static size_t place(int64_t dim, int64_t p, int64_t d, int kind, bool key) {
  bool pairs = myna__kv_facts[kind].pairs;
  int64_t at = key ? myna__k_at(dim, p, d, pairs) : myna__v_at(dim, p, d, pairs);
  return (size_t)(at * myna__kv_facts[kind].bits / 8);
}

static void floats_out(uint8_t *row, const uint8_t *base, int64_t dim, int64_t p, int kind, bool key) {
  size_t n = (size_t)myna__kv_facts[kind].bits / 8;
  for (int64_t d = 0; d < dim; d++) memcpy(row + (size_t)d * n, base + place(dim, p, d, kind, key), n);
}

/* Whether the bits of a float of that kind are a number; F16 also for scales. */
static bool finite_bits(const uint8_t *x, int kind) {
  uint32_t u = 0;
  memcpy(&u, x, kind == MYNA__KV_F32 ? 4 : 2);
  uint32_t exponent = kind == MYNA__KV_F32 ? 0x7f800000u : kind == MYNA__KV_BF16 ? 0x7f80u : 0x7c00u;
  return (u & exponent) != exponent;
}

static bool floats_in(uint8_t *base, const uint8_t *row, int64_t dim, int64_t p, int kind, bool key) {
  size_t n = (size_t)myna__kv_facts[kind].bits / 8;
  bool ok = true;
  for (int64_t d = 0; d < dim; d++) {
    ok &= finite_bits(row + (size_t)d * n, kind);
    memcpy(base + place(dim, p, d, kind, key), row + (size_t)d * n, n);
  }
  if (key && dim % 2) memset(base + place(dim, p, dim, kind, true), 0, n); /* padding is multiplied, too */
  return ok;
}

/* ---- codes ---- */

static int64_t scale_at(int64_t dim, int64_t p, int64_t g, bool key) {
  return 2 * (key ? myna__k_scale_at(dim, p, g) : p * myna__kv_groups(dim) + g);
}

/* Byte of a key's code in its page, behind the scales. */
static int64_t key_at(int64_t dim, int64_t p, int64_t d, int bits) {
  return myna__k_word_at(dim, p, d * bits / 32, bits) + d % 4;
}

static void codes_out(uint8_t *row, const uint8_t *base, int64_t dim, int64_t p, int kind, bool key) {
  int bits = myna__kv_facts[kind].bits;
  int64_t groups = myna__kv_groups(dim), n = myna__v_codes(dim, bits);
  const uint8_t *codes = base + myna__kv_scales(dim);
  for (int64_t g = 0; g < groups; g++) memcpy(row + 2 * g, base + scale_at(dim, p, g, key), 2);
  row += 2 * groups;
  if (!key) {
    memcpy(row, codes + p * n, (size_t)n);
    return;
  }
  memset(row, bits == 8 ? 0 : 0x88, (size_t)n);
  for (int64_t d = 0; d < dim; d++) {
    uint8_t byte = codes[key_at(dim, p, d, bits)];
    if (bits == 8) {
      row[d] = byte ^ 0x80;
    } else {
      uint8_t *to = &row[d / 32 * 16 + d % 16];
      int from = (int)(d / 4 % 2 * 4), shift = (int)(d / 16 % 2 * 4);
      *to = (uint8_t)((*to & ~(15 << shift)) | (byte >> from & 15) << shift);
    }
  }
}

static bool codes_in(uint8_t *base, const uint8_t *row, int64_t dim, int64_t p, int kind, bool key) {
  int bits = myna__kv_facts[kind].bits;
  int64_t groups = myna__kv_groups(dim), n = myna__v_codes(dim, bits), words = myna__k_words(dim, bits);
  uint8_t *codes = base + myna__kv_scales(dim);
  bool ok = true;
  for (int64_t g = 0; g < groups; g++) {
    ok &= finite_bits(row + 2 * g, MYNA__KV_F16);
    memcpy(base + scale_at(dim, p, g, key), row + 2 * g, 2);
  }
  row += 2 * groups;
  if (!key) {
    memcpy(codes + p * n, row, (size_t)n);
    return ok;
  }
  for (int64_t w = 0; w < words; w++) memset(codes + myna__k_word_at(dim, p, w, bits), bits == 8 ? 0x80 : 0x88, 4);
  for (int64_t d = 0; d < dim; d++) {
    uint8_t *to = &codes[key_at(dim, p, d, bits)];
    int shift = (int)(d / 4 % 2 * 4), from = (int)(d / 16 % 2 * 4);
    if (bits == 8)
      *to = row[d] ^ 0x80;
    else
      *to = (uint8_t)((*to & ~(15 << shift)) | (row[d / 32 * 16 + d % 16] >> from & 15) << shift);
  }
  return ok;
}

/* ---- pages ---- */

/* Keys or values of a page: where a head's begin, and its plain rows. */
typedef struct side {
  int kind;
  int64_t dim, head, first; /* bytes of a head, and of what stands before this side in it */
  size_t row;
} side;

static side side_of(const myna__kv_view *kv, bool key) {
  int kind_k = myna__kv_kind_of(kv->type_k), kind_v = myna__kv_kind_of(kv->type_v);
  int64_t bytes_k = myna__page_k(kv->dim_k, kind_k), head = bytes_k + myna__page_v(kv->dim_v, kind_v);
  return key ? (side){kind_k, kv->dim_k, head, 0, myna__kv_plain_row(kv->type_k, kv->dim_k)}
             : (side){kind_v, kv->dim_v, head, bytes_k, myna__kv_plain_row(kv->type_v, kv->dim_v)};
}

void myna__kv_to_plain(const myna__kv_view *kv, const uint8_t *page, int64_t n_pos, uint8_t *to) {
  for (int key = 1; key >= 0; key--) {
    const side s = side_of(kv, key);
    for (int64_t p = 0; p < n_pos; p++)
      for (int64_t h = 0; h < kv->n_kv_head; h++, to += s.row)
        (myna__kv_facts[s.kind].groups ? codes_out : floats_out)(to, page + h * s.head + s.first, s.dim, p, s.kind,
                                                                 key);
  }
}

bool myna__kv_from_plain(const myna__kv_view *kv, uint8_t *page, int64_t n_pos, const uint8_t *from) {
  bool ok = true;
  for (int key = 1; key >= 0; key--) {
    const side s = side_of(kv, key);
    for (int64_t p = 0; p < n_pos; p++)
      for (int64_t h = 0; h < kv->n_kv_head; h++, from += s.row)
        ok &= (myna__kv_facts[s.kind].groups ? codes_in : floats_in)(page + h * s.head + s.first, from, s.dim, p,
                                                                     s.kind, key);
  }
  return ok;
}
