/* open_iq_entries.h: entries of codebooks of 256 and 512 looked up in registers, 64 at a time (AVX-512 VBMI, BITALG).
 *
 * A codebook is read by byte: plane j holds byte j of all entries as codes (grids.h), 4 or 8 registers a plane. The indices of 4
 * entries of 16 rows are one vector. It is shuffled so that each 128-bit lane has entry 0 of its 4 rows, then entry 1 and so
 * on; what the planes give then needs two rounds of unpacking to be dwords of 4 weights with rows as lanes. */
#ifndef MYNA__OPEN_IQ_ENTRIES_H
#define MYNA__OPEN_IQ_ENTRIES_H

/* What stands in byte i of every lane's dwords, all 0s first. */
INLINE vi lane_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return _mm512_set4_epi32((int)d, (int)c, (int)b, (int)a);
}
INLINE vi by_entry(vi index) {
  return _mm512_shuffle_epi8(index, lane_bytes(0x0c080400, 0x0d090501, 0x0e0a0602, 0x0f0b0703));
}
/* Bit first + m of the rows' lowest bytes, at entry m. */
INLINE __mmask64 bits_by_entry(vi v, int first) {
  const uint32_t bit = 0x01010101u << first;
  vi rows = _mm512_shuffle_epi8(v, lane_bytes(0x0c080400, 0x0c080400, 0x0c080400, 0x0c080400));
  return _mm512_test_epi8_mask(rows, lane_bytes(bit, bit << 1, bit << 2, bit << 3));
}

INLINE vi look_up_256(const uint8_t *plane, vi index) {
  vi low = _mm512_permutex2var_epi8(vi_load(plane), index, vi_load(plane + 64));
  vi high = _mm512_permutex2var_epi8(vi_load(plane + 128), index, vi_load(plane + 192));
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
}

/* w[m * step] = 4 bytes of entry m of every row, from 4 planes of n; `above`: where the index is 256 and more. */
INLINE void entries4(vi *w, int step, const uint8_t *planes, int n, vi index, __mmask64 above) {
  vi z[4];
  UNROLL for (int j = 0; j < 4; j++) {
    z[j] = look_up_256(planes + n * j, index);
    if (n > 256) z[j] = _mm512_mask_blend_epi8(above, z[j], look_up_256(planes + n * j + 256, index));
  }
  vi a = _mm512_unpacklo_epi8(z[0], z[1]), b = _mm512_unpackhi_epi8(z[0], z[1]);
  vi c = _mm512_unpacklo_epi8(z[2], z[3]), d = _mm512_unpackhi_epi8(z[2], z[3]);
  w[0] = _mm512_unpacklo_epi16(a, c);
  w[step] = _mm512_unpackhi_epi16(a, c);
  w[2 * step] = _mm512_unpacklo_epi16(b, d);
  w[3 * step] = _mm512_unpackhi_epi16(b, d);
}

/* 8 dwords of every row: group g of 32 weights. */
typedef void entries_fn(vi w[8], const myna__grids *grids, const head256 *h, int g);

/* 4 entries of 8. */
INLINE void entries_of_8(vi w[8], const uint8_t *planes, int n, vi index, __mmask64 above) {
  vi i = by_entry(index);
  entries4(w, 2, planes, n, i, above);
  entries4(w + 1, 2, planes + 4 * n, n, i, above);
}
INLINE void entries_iq2_xxs(vi w[8], const myna__grids *grids, const head256 *h, int g) {
  entries_of_8(w, grids->iq2_xxs_planes[0], 256, h->index[g], 0);
}
INLINE void entries_iq2_xs(vi w[8], const myna__grids *grids, const head256 *h, int g) {
  entries_of_8(w, grids->iq2_xs_planes[0], 512, h->index[g], bits_by_entry(h->high[g], 0));
}
/* 8 entries of 4. */
INLINE void entries_iq3_xxs(vi w[8], const myna__grids *grids, const head256 *h, int g) {
  UNROLL for (int i = 0; i < 2; i++)
      entries4(w + 4 * i, 1, grids->iq3_xxs_planes[0], 256, by_entry(h->index[2 * g + i]), 0);
}
INLINE void entries_iq3_s(vi w[8], const myna__grids *grids, const head256 *h, int g) {
  UNROLL for (int i = 0; i < 2; i++) entries4(w + 4 * i, 1, grids->iq3_s_planes[0], 512, by_entry(h->index[2 * g + i]),
                                              bits_by_entry(h->high[g], 4 * i));
}

/* v, or twice the offset minus v for the bytes of dword i whose sign is set: entries hold their offset. */
INLINE vi mirror_at(vi v, vi signs, int i, int offset) {
  const int64_t bit = 4 * i * 0x0101010101010101 + 0x2322212003020100; /* of a pair of rows, for each byte */
  return _mm512_mask_sub_epi8(v, _mm512_bitshuffle_epi64_mask(signs, _mm512_set1_epi64(bit)), vi_set8(2 * offset), v);
}

INLINE void open_entries(const source *s, int bytes, const head256 *h, put256_fn *put, void *to, entries_fn *entries,
                         int offset) {
  const myna__grids *grids = myna__grids_get(); /* a call in the loop would empty all vector registers */
  for (int g = 0; g < 8; g++) {
    vi w[8];
    UNROLL for (int r = 0; r < LANES / 8; r++) if (s->fetches)
        prefetch_row(s->rows, s->next, LANES * s->part + LANES / 8 * g + r, bytes);
    entries(w, grids, h, g);
    UNROLL for (int i = 0; i < 8; i++) w[i] = mirror_at(w[i], h->signs[g], i, offset);
    put(to, g, w);
  }
}

#endif
