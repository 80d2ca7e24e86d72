/* ahead.h: where a row's bytes are, and the prefetch of what its strip reads next. Part of isa_*.h, which know LANES.
 *
 * Lines are asked for one at a time among the loads: in one burst they would fill the miss queue and stall the loads behind
 * them. Where vectors have 512 bits memory gives most when all 16 rows of a strip are streams, each some way ahead of itself; one
 * stream in file order, a strip ahead, gets a quarter less there. Machines without them (Zen 3) get half of their bandwidth from 16
 * streams, and nearly all of it in file order (docs/SPEED.md). */
#ifndef MYNA__AHEAD_H
#define MYNA__AHEAD_H

enum { AHEAD = 512 /* bytes of a row: 8 KB of a strip */ };

/* Where x comes from is hidden from the compiler: it would hold what is computed from it in registers that it has not. */
#define OPAQUE(x) __asm__("" : "+r"(x))

INLINE const uint8_t *row_at(const myna__rows *rows, int plane, int r, int64_t at) {
  return rows->p[plane] + r * rows->stride[plane] + at;
}

/* 16-bit values at `at` of rows r..r+3 of a plane, packed by integer instructions: they run beside the vector work, where
 * 16 small stores and a wide load would wait for each other. */
INLINE uint64_t four16(const myna__rows *rows, int plane, int r, int64_t at) {
  uint64_t v = 0;
  UNROLL for (int i = 3; i >= 0; i--) {
    uint16_t h;
    memcpy(&h, row_at(rows, plane, r + i, at), 2);
    v = v << 16 | h;
  }
  return v;
}
/* Where the prefetch of `bytes` per row begins while they are read at `at` of rows of row_bytes: further on in row 0, whose strip's
 * others are a row's stride apart, or in file order, where they follow each other. */
INLINE const uint8_t *rows_ahead(const myna__rows *rows, int64_t at, int bytes, int64_t row_bytes) {
  if (FILE_ORDER) return rows->p[0] + MYNA__STRIP * (rows->stride[0] + at);
  const int64_t to = at + MYNA__MIN((AHEAD + bytes - 1) / bytes * bytes, row_bytes);
  return rows->p[0] + to + (to < row_bytes ? 0 : MYNA__STRIP * rows->stride[0] - row_bytes);
}

/* Piece i of n that share the prefetch of `bytes` per row, from `next` of row 0 on: each takes some of the rows of its
 * part. All but next are constants, and i too where n does not divide LANES. */
typedef struct ahead {
  const uint8_t *next;
  int bytes, part, i, n;
} ahead;
static const ahead nothing = {NULL, 0, 0, 0, 1};

INLINE ahead share(const uint8_t *next, int bytes, int part, int i, int n) { return (ahead){next, bytes, part, i, n}; }

/* Step j of 4 of a piece: that quarter of its lines. */
INLINE void prefetch_quarter(const myna__rows *rows, ahead a, int j) {
  const int64_t stride = FILE_ORDER ? a.bytes : rows->stride[0];
  const int lines = (a.bytes + 63) / 64, first = LANES * a.i / a.n;
  const int all = lines * (LANES % a.n == 0 ? LANES / a.n : LANES * (a.i + 1) / a.n - first);
  UNROLL for (int l = all * j / 4; l < all * (j + 1) / 4; l++)
      __builtin_prefetch(a.next + (LANES * a.part + first + l / lines) * stride + l % lines * 64);
}

/* All lines of row r. */
INLINE void prefetch_row(const myna__rows *rows, const uint8_t *next, int r, int bytes) {
  const int64_t stride = FILE_ORDER ? bytes : rows->stride[0];
  UNROLL for (int i = 0; i < bytes; i += 64) __builtin_prefetch(next + r * stride + i);
}

#endif
