/* buf.c: the growing byte buffer. Invariant: data == NULL or len < cap and data[len] == 0. */
#include "base/base.h"
#include <stdio.h>

/* Room for n more bytes and the terminator; sets `failed` otherwise. */
static bool reserve(myna__buf *b, size_t n) {
  if (b->failed) return false;
  size_t need;
  if (__builtin_add_overflow(b->len + 1, n, &need)) {
    b->failed = true;
    return false;
  }
  if (need <= b->cap) return true;
  size_t cap = MYNA__MAX(b->cap + b->cap / 2, MYNA__MAX(need, (size_t)64));
  char *data = myna__realloc(b->data, b->cap, cap);
  if (!data) {
    b->failed = true;
    return false;
  }
  b->data = data;
  b->cap = cap;
  return true;
}

void myna__buf_add(myna__buf *b, const void *p, size_t n) {
  if (!reserve(b, n)) return;
  if (n) memcpy(b->data + b->len, p, n);
  b->len += n;
  b->data[b->len] = 0;
}

void myna__buf_str(myna__buf *b, const char *s) { myna__buf_add(b, s, strlen(s)); }

void myna__buf_printf(myna__buf *b, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0) {
    b->failed = true;
  } else if (reserve(b, (size_t)n)) {
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
    b->len += (size_t)n;
  }
  va_end(again);
}

void myna__buf_free(myna__buf *b) {
  myna__free(b->data, b->cap);
  *b = (myna__buf){0};
}
