/* str.h: a borrowed run of bytes, and how bytes from strangers are checked and shown; what the
 * readers share. */
#ifndef MYNA__STR_H
#define MYNA__STR_H

#include "base/base.h"

typedef struct myna__str {
  const char *p;
  size_t n;
} myna__str; /* not terminated */

static inline bool myna__str_eq(myna__str s, const char *z) { return s.n == strlen(z) && memcmp(s.p, z, s.n) == 0; }

/* Length 2..4 of the well-formed UTF-8 sequence that starts at p (n bytes left, p[0] >= 0x80), 0 when it is
 * malformed: overlong, a surrogate, above U+10FFFF or cut. Source: Unicode 15, table 3-7. */
int myna__utf8_len(const uint8_t *p, size_t n);

/* Copies s for a message: printable ASCII as it is, other bytes as \xNN, cut with "..." where buf is full. */
enum { MYNA__QUOTE = 96 };
const char *myna__str_quote(char buf[MYNA__QUOTE], myna__str s);

/* Grows the table *p of *cap elements so that it holds n + 1; free with *cap * elem bytes. */
int myna__grow(void **p, int64_t n, int64_t *cap, size_t elem, myna_err *err);

/* Sorts order[0..n) so that key(ctx, order[i]) ascends. In place, no recursion, n log n for any input. */
void myna__sort_index(int64_t *order, int64_t n, uint64_t (*key)(const void *ctx, int64_t i), const void *ctx);

#endif
