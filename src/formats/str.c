/* str.c: UTF-8 well-formedness, quoting for messages, growing tables, and a sort without hidden memory or bad cases. */
#include "formats/str.h"

static inline bool tail(const uint8_t *p) { return (*p & 0xC0) == 0x80; }

int myna__utf8_len(const uint8_t *p, size_t n) {
  uint8_t c = p[0];
  if (c < 0xC2 || c > 0xF4 || n < 2) return 0;
  if (c < 0xE0) return tail(p + 1) ? 2 : 0;
  if (c < 0xF0) {
    uint8_t low = c == 0xE0 ? 0xA0 : 0x80, high = c == 0xED ? 0x9F : 0xBF;
    return n >= 3 && p[1] >= low && p[1] <= high && tail(p + 2) ? 3 : 0;
  }
  uint8_t low = c == 0xF0 ? 0x90 : 0x80, high = c == 0xF4 ? 0x8F : 0xBF;
  return n >= 4 && p[1] >= low && p[1] <= high && tail(p + 2) && tail(p + 3) ? 4 : 0;
}

const char *myna__str_quote(char buf[MYNA__QUOTE], myna__str s) {
  static const char hex[] = "0123456789abcdef";
  size_t len = 0;
  for (size_t i = 0; i < s.n; i++) {
    if (len + 4 + 4 > MYNA__QUOTE) { /* room for one more escape or for "..." */
      memcpy(buf + len, "...", 3);
      len += 3;
      break;
    }
    uint8_t c = (uint8_t)s.p[i];
    if (c >= 0x20 && c < 0x7F && c != '\\') {
      buf[len++] = (char)c;
    } else {
      memcpy(buf + len, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
      len += 4;
    }
  }
  buf[len] = 0;
  return buf;
}

int myna__grow(void **p, int64_t n, int64_t *cap, size_t elem, myna_err *err) {
  if (n < *cap) return 0;
  int64_t fresh = *cap ? *cap * 2 : 64;
  void *grown =
      fresh > PTRDIFF_MAX / (int64_t)elem ? NULL : myna__realloc(*p, (size_t)*cap * elem, (size_t)fresh * elem);
  if (!grown) return myna__err(err, MYNA_E_NOMEM, "no memory for %lld table entries", (long long)fresh);
  *p = grown;
  *cap = fresh;
  return 0;
}

static void sift(int64_t *a, int64_t root, int64_t n, uint64_t (*key)(const void *, int64_t), const void *ctx) {
  int64_t moved = a[root];
  uint64_t k = key(ctx, moved);
  for (int64_t child; (child = 2 * root + 1) < n; root = child) {
    if (child + 1 < n && key(ctx, a[child + 1]) > key(ctx, a[child])) child++;
    if (key(ctx, a[child]) <= k) break;
    a[root] = a[child];
  }
  a[root] = moved;
}

void myna__sort_index(int64_t *a, int64_t n, uint64_t (*key)(const void *ctx, int64_t i), const void *ctx) {
  for (int64_t root = n / 2; root-- > 0;) sift(a, root, n, key, ctx);
  for (int64_t end = n - 1; end > 0; end--) {
    int64_t last = a[end];
    a[end] = a[0];
    a[0] = last;
    sift(a, 0, end, key, ctx);
  }
}
