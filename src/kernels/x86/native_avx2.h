/* native_avx2.h: a few columns times rows as they lie in the file, for 256 bits.
 *
 * Where a vector has eight lanes of rows, transposing costs as much as multiplying, and 16 registers do not hold what is opened of two parts. Here a row's
 * codes meet activations in their own order, 32 at a time, scaled in int32 by the multiply-add that widens them; only the sums of eight rows are
 * transposed, once per 256 k. Memory is read in the file's order, which is what prefetchers of such machines expect. Integers are exact, so the bits are
 * those of the panel kernels. */
#ifndef MYNA__NATIVE_AVX2_H
#define MYNA__NATIVE_AVX2_H

#include "kernels/x86/direct_impl.h"

enum { NATIVE_AHEAD = 2048 }; /* bytes of the file: a strip's rows lie one after the other */

/* s[c]: eight sums that together are a row's scaled sum of a block; *mins its eight mins, for types that have them. p: the block. */
typedef void native_row_fn(vi *s, __m128i *mins, const columns_in *in, const uint8_t *p, int64_t k, int C);

/* out lane r = the sum of v[r * step]'s lanes. */
INLINE vi sum_of_rows(const vi *v, int step) {
  vi pair[4];
  UNROLL for (int i = 0; i < 4; i++) pair[i] = _mm256_hadd_epi32(v[2 * i * step], v[(2 * i + 1) * step]);
  vi lo = _mm256_hadd_epi32(pair[0], pair[1]), hi = _mm256_hadd_epi32(pair[2], pair[3]);
  return vi_add32(_mm256_permute2x128_si256(lo, hi, 0x20), _mm256_permute2x128_si256(lo, hi, 0x31));
}

/* int16 number i of each half of v in all its lanes. */
INLINE vi spread16(vi v, int i) { return _mm256_shuffle_epi8(v, vi_set16(0x0100 + 0x0202 * i)); }

/* s[c] += scale * (w x activations at k): 32 codes below 64. */
INLINE void add_scaled(vi *s, vi w, vi scale, const columns_in *in, int64_t k, int C) {
  UNROLL for (int c = 0; c < C; c++) s[c] =
      vi_add32(s[c], _mm256_madd_epi16(_mm256_maddubs_epi16(w, vi_loadu(in->x[c] + k)), scale));
}

/* The 8 scales of a Q4_K or Q5_K block as int16, then its mins (see quants/kquant.h). */
INLINE vi scales_and_mins(const uint8_t *p) {
  const __m128i two = _mm_loadl_epi64((const void *)(p + 4)),
                tops = _mm_and_si128(_mm_srli_epi32(two, 2), _mm_set1_epi8(48));
  const __m128i last = _mm_srlv_epi32(_mm_set1_epi32(load32(p + 12)), _mm_setr_epi32(0, 4, 0, 0));
  const __m128i low = _mm_and_si128(two, _mm_set1_epi8(63)),
                high = _mm_or_si128(_mm_and_si128(last, _mm_set1_epi8(15)), tops);
  return _mm256_cvtepu8_epi16(_mm_unpacklo_epi32(low, high));
}

/* A Q4_K row's block, or with `fifth` a Q5_K row's. */
INLINE void native_k45(vi *s, __m128i *mins, const columns_in *in, const uint8_t *p, int64_t k, int C, bool fifth) {
  const vi both = scales_and_mins(p), scales = _mm256_permute4x64_epi64(both, 0x44);
  const vi nibble = vi_set8(15), bit = vi_set8(16), top = fifth ? vi_loadu(p + 16) : vi_zero();
  UNROLL for (int c = 0; c < C; c++) s[c] = vi_zero();
  UNROLL for (int g = 0; g < 4; g++) {
    vi q = vi_loadu(p + (fifth ? 48 : 16) + 32 * g), lo = vi_and(q, nibble), hi = vi_and(vi_srl32(q, 4), nibble);
    if (fifth) {
      lo = vi_or(lo, vi_and(shift32(top, 4 - 2 * g), bit));
      hi = vi_or(hi, vi_and(shift32(top, 3 - 2 * g), bit));
    }
    add_scaled(s, lo, spread16(scales, 2 * g), in, k + 64 * g, C);
    add_scaled(s, hi, spread16(scales, 2 * g + 1), in, k + 64 * g + 32, C);
  }
  *mins = _mm256_extracti128_si256(both, 1);
}
INLINE void native_q4_k(vi *s, __m128i *mins, const columns_in *in, const uint8_t *p, int64_t k, int C) {
  native_k45(s, mins, in, p, k, C, false);
}
INLINE void native_q5_k(vi *s, __m128i *mins, const columns_in *in, const uint8_t *p, int64_t k, int C) {
  native_k45(s, mins, in, p, k, C, true);
}

/* int16 number i of the lower half in its lanes, the one after it in the upper half's. */
INLINE vi spread_two16(vi v, int i) {
  const int low = 0x0100 + 0x0202 * i, high = low + 0x0202;
  return _mm256_shuffle_epi8(v, _mm256_setr_m128i(_mm_set1_epi16((short)low), _mm_set1_epi16((short)high)));
}

INLINE void native_q6_k(vi *s, __m128i *mins, const columns_in *in, const uint8_t *p, int64_t k, int C) {
  const vi scales = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(p + 192))), nibble = vi_set8(15),
           two = vi_set8(0x30);
  const vi eight[2] = {_mm256_permute4x64_epi64(scales, 0x44), _mm256_permute4x64_epi64(scales, 0xee)};
  const vi offset =
      _mm256_slli_epi16(_mm256_sub_epi16(vi_zero(), scales), 5); /* the codes stand 32 above what they mean */
  UNROLL for (int c = 0; c < C; c++) s[c] = _mm256_madd_epi16(offset, vi_loadu(in->x[c] + in->act.sum + k / 8));
  UNROLL for (int half = 0; half < 2; half++) {
    const vi top = vi_loadu(p + 128 + 32 * half);
    UNROLL for (int piece = 0; piece < 2; piece++) {
      const vi q = vi_loadu(p + 64 * half + 32 * piece);
      UNROLL for (int high = 0; high < 2; high++) {
        const int i = 2 * high + piece; /* i-th 32 of the half */
        vi w = vi_or(vi_and(high ? vi_srl32(q, 4) : q, nibble), vi_and(shift32(top, 4 - 2 * i), two));
        add_scaled(s, w, spread_two16(eight[half], 2 * i), in, k + 128 * half + 32 * i, C);
      }
    }
  }
}

/* j[c] = sums of mins of eight rows times the sums of codes over the block. */
INLINE void native_mins(vi *j, const __m128i *mins, const columns_in *in, int64_t k, int C) {
  vi v[4], pair[4];
  UNROLL for (int i = 0; i < 4; i++) v[i] = _mm256_setr_m128i(mins[i], mins[4 + i]);
  transpose4(pair, v);
  UNROLL for (int c = 0; c < C; c++) {
    const uint8_t *sums = in->x[c] + in->act.sum32 + k / 16;
    j[c] = _mm256_madd_epi16(pair[0], vi_set32(load32(sums)));
    UNROLL for (int i = 1; i < 4; i++) j[c] = vi_dot_pairs16(j[c], pair[i], vi_set32(load32(sums + 4 * i)));
  }
}

enum { NATIVE_SUMS = 512 }; /* vectors: 64 blocks of 8 rows for one column, 16 KB */

/* acc[0..C) += n blocks of one part from k on: row by row, so that memory is read in its order, then what they have in common. `whole`: the
 * rows end there. dmin_at: where the scale of
 * mins stands in a block, 0: there is none. */
INLINE void native_run(vf *acc, const columns_in *in, int part, int64_t k, int n, bool whole, int C, int bytes,
                       int d_at, int dmin_at, native_row_fn *row) {
  vi s[NATIVE_SUMS];
  __m128i mins[NATIVE_SUMS]; /* of the same rows */
  const int64_t at = k / 256 * bytes;
  for (int r = 0; r < LANES; r++) {
    const uint8_t *p = row_at(in->rows, 0, LANES * part + r, at);
    const uint8_t *next = whole           ? p + NATIVE_AHEAD
                          : r + 1 < LANES ? p + in->rows->stride[0]
                                          : row_at(in->rows, 0, LANES * part, at + n * bytes);
    for (int b = 0; b < n; b++, p += bytes, next += bytes) {
      UNROLL for (int i = 0; i < bytes; i += 64) __builtin_prefetch(next + i);
      vi sums[MYNA__DIRECT_COLS]; /* not s itself: it would be stored with every addition */
      row(sums, mins + b * LANES + r, in, p, k + 256 * b, C);
      UNROLL for (int c = 0; c < C; c++) s[(b * LANES + r) * C + c] = sums[c];
    }
  }
  for (int b = 0; b < n; b++) {
    const vf d = part_floats(in->rows, 0, part, at + b * bytes + d_at, MYNA_F16);
    const vf dmin = dmin_at > 0 ? part_floats(in->rows, 0, part, at + b * bytes + dmin_at, MYNA_F16) : d;
    vi j[MYNA__DIRECT_COLS];
    if (dmin_at > 0) native_mins(j, mins + b * LANES, in, k + 256 * b, C);
    UNROLL for (int c = 0; c < C; c++) {
      const vf da = vf_set(load_float(in->x[c] + in->act.d + k / 64 + 4 * b));
      acc[c] = vf_fma(vi_to_f32(sum_of_rows(s + b * LANES * C + c, C)), vf_mul(d, da), acc[c]);
      if (dmin_at > 0) acc[c] = vf_fnma(vi_to_f32(j[c]), vf_mul(dmin, da), acc[c]);
    }
  }
}

INLINE int64_t native_columns(const myna__direct *d, int C, int bytes, int d_at, int dmin_at, native_row_fn *row) {
  const int64_t run = NATIVE_SUMS / LANES / C * 256;
  for (int s = 0; s < d->n_strip; s++) {
    const myna__rows rows = myna__rows_skip(&d->rows, s);
    columns_in in = {.rows = &rows, .act = d->act};
    UNROLL for (int c = 0; c < C; c++) in.x[c] = d->act.row + (size_t)c * d->act.stride;
    for (int part = 0; part < PARTS; part++) {
      vf acc[MYNA__DIRECT_COLS];
      UNROLL for (int c = 0; c < C; c++) acc[c] = vf_zero();
      for (int64_t k = 0; k < d->n; k += run)
        native_run(acc, &in, part, k, (int)(MYNA__MIN(d->n - k, run) / 256), d->n <= run, C, bytes, d_at, dmin_at, row);
      UNROLL for (int c = 0; c < C; c++) vf_store(d->acc + c * d->ld_acc + s * MYNA__STRIP + LANES * part, acc[c]);
    }
  }
  return d->n;
}

INLINE int64_t native(const myna__direct *d, int bytes, int d_at, int dmin_at, native_row_fn *row) {
  int64_t k = 0;
  switch (d->n_col) {
  case 1: SEPARATE(k = native_columns(d, 1, bytes, d_at, dmin_at, row)); break;
  case 2: SEPARATE(k = native_columns(d, 2, bytes, d_at, dmin_at, row)); break;
  case 3: SEPARATE(k = native_columns(d, 3, bytes, d_at, dmin_at, row)); break;
  case 4: SEPARATE(k = native_columns(d, 4, bytes, d_at, dmin_at, row)); break;
  case 5: SEPARATE(k = native_columns(d, 5, bytes, d_at, dmin_at, row)); break;
  case 6: SEPARATE(k = native_columns(d, 6, bytes, d_at, dmin_at, row)); break;
  case 7: SEPARATE(k = native_columns(d, 7, bytes, d_at, dmin_at, row)); break;
  case 8: SEPARATE(k = native_columns(d, 8, bytes, d_at, dmin_at, row)); break;
  default: break;
  }
  return k;
}
static int64_t native_rows_q4_k(const myna__direct *d) { return native(d, MYNA__BYTES_Q4_K, 0, 2, native_q4_k); }
static int64_t native_rows_q5_k(const myna__direct *d) { return native(d, MYNA__BYTES_Q5_K, 0, 2, native_q5_k); }
static int64_t native_rows_q6_k(const myna__direct *d) { return native(d, MYNA__BYTES_Q6_K, 208, 0, native_q6_k); }

INLINE void fill_native(myna__ktable *t) {
  t->direct[MYNA_Q4_K] = native_rows_q4_k;
  t->direct[MYNA_Q5_K] = native_rows_q5_k;
  t->direct[MYNA_Q6_K] = native_rows_q6_k;
}

#endif
