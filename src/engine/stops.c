/* stops.c: stop strings found in text whatever the token borders are. */
#include "engine/job.h"

int myna__stops_set(myna__stops *s, const char *const *items, int n, myna_err *err) {
  if (n <= 0) return 0;
  s->items = myna__calloc((size_t)n * sizeof *s->items);
  if (!s->items) return myna__err(err, MYNA_E_NOMEM, "no memory");
  s->n = n;
  for (int i = 0; i < n; i++) {
    if (!items[i] || !items[i][0]) return myna__err(err, MYNA_E_ARG, "stop string %d is empty", i);
    s->items[i] = myna__strndup(items[i], strlen(items[i]));
    if (!s->items[i]) return myna__err(err, MYNA_E_NOMEM, "no memory");
  }
  return 0;
}

void myna__stops_free(myna__stops *s) {
  for (int i = 0; i < s->n; i++) myna__strfree(s->items[i]);
  myna__free(s->items, (size_t)s->n * sizeof *s->items);
  myna__buf_free(&s->held);
  *s = (myna__stops){0};
}

/* Drops the first n bytes of held text. */
static void shift(myna__buf *b, size_t n) {
  memmove(b->data, b->data + n, b->len - n + 1);
  b->len -= n;
}

/* Length of the longest end of text that begins a stop string. */
static size_t hold(const myna__stops *s) {
  size_t best = 0;
  for (int i = 0; i < s->n; i++) {
    size_t len = strlen(s->items[i]);
    for (size_t k = MYNA__MIN(len - 1, s->held.len); k > best; k--)
      if (memcmp(s->held.data + s->held.len - k, s->items[i], k) == 0) best = k;
  }
  return best;
}

/* Text may contain NUL bytes, so no strstr. */
static const char *find(const myna__buf *b, const char *item) {
  return b->len ? memmem(b->data, b->len, item, strlen(item)) : NULL;
}

bool myna__stops_push(myna__stops *s, const char *text, size_t n, myna__buf *out) {
  if (s->n == 0) {
    myna__buf_add(out, text, n);
    return false;
  }
  if (n == 0) return false;
  myna__buf_add(&s->held, text, n);
  const char *first = NULL;
  for (int i = 0; i < s->n; i++) {
    const char *at = find(&s->held, s->items[i]);
    if (at && (!first || at < first)) first = at;
  }
  size_t certain = first ? (size_t)(first - s->held.data) : s->held.len - hold(s);
  myna__buf_add(out, s->held.data, certain);
  if (first)
    s->held.len = 0;
  else if (certain)
    shift(&s->held, certain);
  return first != NULL;
}

void myna__stops_finish(myna__stops *s, myna__buf *out) {
  if (s->held.len) myna__buf_add(out, s->held.data, s->held.len);
  s->held.len = 0;
}
