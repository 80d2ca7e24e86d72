/* pieces_avx512.h: reading 16 rows of a weight with lanes as rows: what unpack and direct kernels share.
 *
 * piece16() reads 16 bytes at one offset of all 16 rows and returns them as four vectors, dword i of every row in vector i:
 * a 16 x 4 transpose; piece32() does 32 bytes. Nothing beyond the bytes asked for is read. */
#ifndef MYNA__PIECES_AVX512_H
#define MYNA__PIECES_AVX512_H

#include "kernels/table.h"
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/* ---- pieces ---- */

INLINE const uint8_t *row_at(const myna__rows *rows, int plane, int r, int64_t at) {
  return rows->p[plane] + r * rows->stride[plane] + at;
}

/* Rows 4 * lane + j in 128-bit lane `lane`. */
INLINE __m512i load_lanes(const myna__rows *rows, int plane, int j, int64_t at) {
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)row_at(rows, plane, j, at)));
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)row_at(rows, plane, 4 + j, at)), 1);
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)row_at(rows, plane, 8 + j, at)), 2);
  return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)row_at(rows, plane, 12 + j, at)), 3);
}

/* 32 bytes of rows r and s. */
INLINE __m512i load_halves(const myna__rows *rows, int plane, int r, int s, int64_t at) {
  __m512i v = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)row_at(rows, plane, r, at)));
  return _mm512_inserti64x4(v, _mm256_loadu_si256((const void *)row_at(rows, plane, s, at)), 1);
}

/* Rows in lanes (4 * lane + j in v[j]) to dwords: out[i] lane r = dword i of v's 16 bytes of row r. */
INLINE void transpose4(__m512i out[4], const __m512i v[4]) {
  __m512i ab0 = _mm512_unpacklo_epi32(v[0], v[1]), ab1 = _mm512_unpackhi_epi32(v[0], v[1]);
  __m512i cd0 = _mm512_unpacklo_epi32(v[2], v[3]), cd1 = _mm512_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm512_unpacklo_epi64(ab0, cd0);
  out[1] = _mm512_unpackhi_epi64(ab0, cd0);
  out[2] = _mm512_unpacklo_epi64(ab1, cd1);
  out[3] = _mm512_unpackhi_epi64(ab1, cd1);
}

/* out[i] lane r = dword i of the 16 bytes at `at` of row r. */
INLINE void piece16(__m512i out[4], const myna__rows *rows, int plane, int64_t at) {
  __m512i v[4];
  UNROLL for (int j = 0; j < 4; j++) v[j] = load_lanes(rows, plane, j, at);
  transpose4(out, v);
}

/* The same for 32 bytes: a fifth fewer cycles per byte than two 16s (half the loads, one shuffle for two inserts). */
INLINE void piece32(__m512i out[8], const myna__rows *rows, int plane, int64_t at) {
  __m512i lo[4], hi[4];
  UNROLL for (int j = 0; j < 4; j++) {
    __m512i a = load_halves(rows, plane, j, 8 + j, at), b = load_halves(rows, plane, 4 + j, 12 + j, at);
    lo[j] = _mm512_permutex2var_epi64(a, _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), b); /* lanes a0 b0 a2 b2 */
    hi[j] = _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2), b);
  }
  transpose4(out, lo);
  transpose4(out + 4, hi);
}

/* The cache lines of part i of `parts` of what a block of a strip has in plane 0, `bytes` per row. A few at a time,
 * spread over the work: in one burst they would fill the miss queue and stall the loads behind them. */
INLINE void prefetch_part(const uint8_t *next, int bytes, int i, int parts) {
  int size = MYNA__STRIP * bytes / parts;
  const char *p = (const char *)next + i * size;
  UNROLL for (int j = 0; j < size; j += 64) _mm_prefetch(p + j, _MM_HINT_T0);
}

/* 16-bit values at `at` of every row, widened from f16. Small scalar copies run beside the vector work. */
INLINE __m512 halves(const myna__rows *rows, int64_t at) {
  _Alignas(32) uint16_t h[MYNA__STRIP];
  UNROLL for (int r = 0; r < MYNA__STRIP; r++) memcpy(&h[r], row_at(rows, 0, r, at), 2);
  return _mm512_cvtph_ps(_mm256_load_si256((const void *)h));
}

/* f16 pairs (even k low, odd k high) to floats. */
INLINE void widen_f16(__m512 *even, __m512 *odd, __m512i v) {
  const __m512i split = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24, 22, 20, 18,
                                         16, 14, 12, 10, 8, 6, 4, 2, 0);
  __m512i s = _mm512_permutexvar_epi16(split, v);
  *even = _mm512_cvtph_ps(_mm512_castsi512_si256(s));
  *odd = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(s, 1));
}
/* bf16 pairs to floats. */
INLINE void widen_bf16(__m512 *even, __m512 *odd, __m512i v) {
  *even = _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
  *odd = _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32((int)0xffff0000)));
}

#endif
