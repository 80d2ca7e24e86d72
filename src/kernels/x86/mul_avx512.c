/* mul_avx512.c: panels times columns with AVX-512 and VNNI.
 *
 * A tile is R strips (one zmm per 16 rows) x C columns; R x C accumulators stay in registers through the k loop:
 *   per step: R loads of codes, C broadcasts of activations, R*C multiply-adds.
 * 3 x 8 is the large tile: 24 accumulators + 3 codes + 1 broadcast of 32 registers. Integer tiles leave the
 * registers once per group of 32 (or 16), float accumulators live in the caller's memory (L1).
 * Functions named tile_* are inlined with constant R, C and flags; check with objdump that the k loops hold no
 * moves of accumulators. */
#include "kernels/x86/tile_avx512.h"

/* ---- F32 ---- */

INLINE void tile_f32(const tile *t, int R, int C) {
  const myna__panel_f32 *p = (const void *)t->panel;
  int64_t ld = t->m->ld_acc;
  __m512 acc[R_MAX][C_MAX];
  UNROLL for (int c = 0; c < C; c++)
    UNROLL for (int r = 0; r < R; r++) acc[r][c] = _mm512_load_ps(t->acc + c * ld + 16 * r);
  const uint8_t *x[C_MAX];
  UNROLL for (int c = 0; c < C; c++) x[c] = t->row[c] + 4 * t->m->k0;
  for (int64_t left = t->m->n; left > 0; left -= MYNA__KBLOCK, p += t->m->n_strip) {
    int64_t n = MYNA__MIN(left, MYNA__KBLOCK);
    for (int64_t k = 0; k < n; k++) {
      __m512 w[R_MAX];
      UNROLL for (int r = 0; r < R; r++) w[r] = _mm512_load_ps(p[r].w[k]);
      UNROLL for (int c = 0; c < C; c++) {
        __m512 a = _mm512_set1_ps(load_float(x[c] + 4 * k));
        UNROLL for (int r = 0; r < R; r++) acc[r][c] = _mm512_fmadd_ps(w[r], a, acc[r][c]);
      }
    }
    UNROLL for (int c = 0; c < C; c++) x[c] += 4 * MYNA__KBLOCK;
  }
  UNROLL for (int c = 0; c < C; c++)
    UNROLL for (int r = 0; r < R; r++) _mm512_store_ps(t->acc + c * ld + 16 * r, acc[r][c]);
}

/* ---- BF16: pairs (k, k+1) in a dword ---- */

INLINE __m512 even_half(__m512i v) { return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16)); }
INLINE __m512 odd_half(__m512i v) { return _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32((int)0xffff0000))); }

INLINE void tile_bf16(const tile *t, int R, int C) {
  const myna__panel_bf16 *p = (const void *)t->panel;
  int64_t ld = t->m->ld_acc;
  __m512 acc[R_MAX][C_MAX];
  UNROLL for (int c = 0; c < C; c++)
    UNROLL for (int r = 0; r < R; r++) acc[r][c] = _mm512_load_ps(t->acc + c * ld + 16 * r);
  const uint8_t *x[C_MAX];
  UNROLL for (int c = 0; c < C; c++) x[c] = t->row[c] + 2 * t->m->k0;
  for (int64_t left = t->m->n; left > 0; left -= MYNA__KBLOCK, p += t->m->n_strip) {
    int64_t pairs = (MYNA__MIN(left, MYNA__KBLOCK) + 1) / 2;
    for (int64_t k = 0; k < pairs; k++) {
      __m512 even[R_MAX], odd[R_MAX];
      UNROLL for (int r = 0; r < R; r++) {
        __m512i w = _mm512_load_si512(p[r].w[k]);
        even[r] = even_half(w);
        odd[r] = odd_half(w);
      }
      UNROLL for (int c = 0; c < C; c++) {
        __m512i a = _mm512_set1_epi32(load32(x[c] + 4 * k));
        __m512 ae = even_half(a), ao = odd_half(a);
        UNROLL for (int r = 0; r < R; r++) acc[r][c] = _mm512_fmadd_ps(even[r], ae, acc[r][c]);
        UNROLL for (int r = 0; r < R; r++) acc[r][c] = _mm512_fmadd_ps(odd[r], ao, acc[r][c]);
      }
    }
    UNROLL for (int c = 0; c < C; c++) x[c] += 2 * MYNA__KBLOCK;
  }
  UNROLL for (int c = 0; c < C; c++)
    UNROLL for (int r = 0; r < R; r++) _mm512_store_ps(t->acc + c * ld + 16 * r, acc[r][c]);
}

/* ---- integer forms ---- */

/* i[r][c] += codes x activations over `steps` dwords: code = p[r].code + 64 step, activations row[c] + at. */
INLINE void dot_codes(__m512i i[R_MAX][C_MAX], const uint8_t *code, size_t panel_bytes, const uint8_t *const *row, int64_t at,
                      int steps, int R, int C) {
  UNROLL for (int k = 0; k < steps; k++) {
    __m512i w[R_MAX];
    UNROLL for (int r = 0; r < R; r++) w[r] = _mm512_load_si512(code + (size_t)r * panel_bytes + 64 * k);
    UNROLL for (int c = 0; c < C; c++) {
      __m512i a = _mm512_set1_epi32(load32(row[c] + at + 4 * k));
      UNROLL for (int r = 0; r < R; r++) i[r][c] = _mm512_dpbusd_epi32(i[r][c], w[r], a);
    }
  }
}

/* i[r][c] = minus the offset's share: nsum << shift, nsum at `at` of each row. */
INLINE void start_codes(__m512i i[R_MAX][C_MAX], const uint8_t *const *row, int64_t at, int shift, int R, int C, bool offset) {
  UNROLL for (int c = 0; c < C; c++) {
    __m512i start = _mm512_setzero_si512();
    if (offset) start = _mm512_slli_epi32(_mm512_set1_epi32(load32(row[c] + at)), (unsigned)shift);
    UNROLL for (int r = 0; r < R; r++) i[r][c] = start;
  }
}

/* Per 32 k: integers, then acc += (float)i * (d_w * d_a) and, with `min`, acc += sum * (m_w * d_a). */
INLINE void tile_q32(const tile *t, int R, int C, bool offset, bool min) {
  const myna__panel_q32 *p = (const void *)t->panel;
  const int n_strip = t->m->n_strip, shift = t->m->type->shift;
  const int64_t ld = t->m->ld_acc, end = t->m->k0 + t->m->n, d_at = (int64_t)t->m->act.d, nsum_at = (int64_t)t->m->act.nsum;
  float *const acc = t->acc;
  const uint8_t *row[C_MAX];
  UNROLL for (int c = 0; c < C; c++) row[c] = t->row[c];
  for (int64_t k0 = t->m->k0; k0 < end; k0 += MYNA__KBLOCK, p += n_strip) {
    int groups = (int)MYNA__MIN(end - k0, MYNA__KBLOCK) / 32;
    for (int g = 0; g < groups; g++) {
      __m512i i[R_MAX][C_MAX];
      const int64_t k = k0 + 32 * g, at = k / 32 * 4; /* of this group's d and nsum */
      start_codes(i, row, nsum_at + at, shift, R, C, offset);
      dot_codes(i, p->code[8 * g][0], sizeof *p, row, k, 8, R, C);
      settle(i, R, C);
      UNROLL for (int c = 0; c < C; c++) {
        __m512 d = _mm512_set1_ps(load_float(row[c] + d_at + at));
        __m512 nsum = min ? _mm512_cvtepi32_ps(_mm512_set1_epi32(load32(row[c] + nsum_at + at))) : d;
        UNROLL for (int r = 0; r < R; r++) {
          __m512 v = _mm512_load_ps(acc + c * ld + 16 * r);
          v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(i[r][c]), _mm512_mul_ps(_mm512_load_ps(p[r].d[g]), d), v);
          if (min) v = _mm512_fnmadd_ps(nsum, _mm512_mul_ps(_mm512_load_ps(p[r].m[g]), d), v);
          _mm512_store_ps(acc + c * ld + 16 * r, v);
        }
      }
      BORDER();
    }
  }
}

typedef struct sums {
  __m512i v[R_MAX][C_MAX];
} sums;

/* j[r][c] = sum of min * sum of codes over the block, in pairs of groups; the sums as int16 at `at`. */
INLINE void mins_q256(__m512i j[R_MAX][C_MAX], const myna__panel_q256 *p, const uint8_t *const *row, int64_t at, int groups, int R,
                      int C) {
  UNROLL for (int c = 0; c < C; c++)
    UNROLL for (int r = 0; r < R; r++) j[r][c] = _mm512_setzero_si512();
  UNROLL for (int k = 0; k < groups / 2; k++) {
    __m512i w[R_MAX];
    UNROLL for (int r = 0; r < R; r++) w[r] = _mm512_load_si512(p[r].min[k]);
    UNROLL for (int c = 0; c < C; c++) {
      __m512i s = _mm512_set1_epi32(load32(row[c] + at + 4 * k));
      UNROLL for (int r = 0; r < R; r++) j[r][c] = _mm512_dpwssd_epi32(j[r][c], w[r], s);
    }
  }
  settle(j, R, C);
}

/* Per 256 k: integers scaled in int32 (s), then acc += (float)s * (d_w * d_a), acc -= (float)j * (dmin_w * d_a). */
INLINE void tile_q256(const tile *t, int R, int C, int groups, bool offset, bool min) {
  const myna__panel_q256 *p = (const void *)t->panel;
  const int n_strip = t->m->n_strip, shift = t->m->type->shift, len = 256 / groups;
  const int64_t ld = t->m->ld_acc, end = t->m->k0 + t->m->n, d_at = (int64_t)t->m->act.d, nsum_at = (int64_t)t->m->act.nsum;
  const int64_t sum_at = (int64_t)(groups == 8 ? t->m->act.sum32 : t->m->act.sum);
  float *const acc = t->acc;
  const uint8_t *row[C_MAX];
  UNROLL for (int c = 0; c < C; c++) row[c] = t->row[c];
  const bool in_memory = R * C > 4; /* few sums stay in registers */
  sums memory, *s = &memory;
  if (in_memory) __asm__("" : "+r"(s) : : "memory");
  for (int64_t k0 = t->m->k0; k0 < end; k0 += MYNA__KBLOCK, p += n_strip) {
    UNROLL for (int r = 0; r < R; r++)
      UNROLL for (int c = 0; c < C; c++) s->v[r][c] = _mm512_setzero_si512();
    for (int g = 0; g < groups; g++) {
      __m512i i[R_MAX][C_MAX];
      const int64_t k = k0 + len * g;
      start_codes(i, row, nsum_at + k / 16 * 4, shift, R, C, offset); /* only types with 16 groups have an offset */
      dot_codes(i, p->code[len / 4 * g][0], sizeof *p, row, k, len / 4, R, C);
      if (in_memory) settle(i, R, C);
      UNROLL for (int r = 0; r < R; r++) {
        __m512i scale = _mm512_load_si512(p[r].scale[g]);
        UNROLL for (int c = 0; c < C; c++) s->v[r][c] = _mm512_add_epi32(s->v[r][c], _mm512_mullo_epi32(i[r][c], scale));
      }
      if (in_memory) BORDER();
    }
    __m512i j[R_MAX][C_MAX];
    if (min) mins_q256(j, p, row, sum_at + k0 / len * 2, groups, R, C);
    UNROLL for (int c = 0; c < C; c++) {
      __m512 d = _mm512_set1_ps(load_float(row[c] + d_at + k0 / 256 * 4));
      UNROLL for (int r = 0; r < R; r++) {
        __m512 v = _mm512_load_ps(acc + c * ld + 16 * r);
        v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s->v[r][c]), _mm512_mul_ps(_mm512_load_ps(p[r].d), d), v);
        if (min) v = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(j[r][c]), _mm512_mul_ps(_mm512_load_ps(p[r].dmin), d), v);
        _mm512_store_ps(acc + c * ld + 16 * r, v);
      }
    }
    BORDER();
  }
}

INLINE void tile_q32_offset(const tile *t, int R, int C) { tile_q32(t, R, C, true, false); }
INLINE void tile_q32_min(const tile *t, int R, int C) { tile_q32(t, R, C, false, true); }
INLINE void tile_q256_8_min(const tile *t, int R, int C) { tile_q256(t, R, C, 8, false, true); }
INLINE void tile_q256_16_offset(const tile *t, int R, int C) { tile_q256(t, R, C, 16, true, false); }
INLINE void tile_q256_16_min(const tile *t, int R, int C) { tile_q256(t, R, C, 16, false, true); }

static void mul_f32(const myna__mul *m) { sweep(m, C_MAX, tile_f32); }
static void mul_bf16(const myna__mul *m) { sweep(m, C_MAX, tile_bf16); }
static void mul_q32_offset(const myna__mul *m) { sweep(m, C_INT, tile_q32_offset); }
static void mul_q32_min(const myna__mul *m) { sweep(m, C_INT, tile_q32_min); }
static void mul_q256_8_min(const myna__mul *m) { sweep(m, C_INT, tile_q256_8_min); }
static void mul_q256_16_offset(const myna__mul *m) { sweep(m, C_INT, tile_q256_16_offset); }
static void mul_q256_16_min(const myna__mul *m) { sweep(m, C_INT, tile_q256_16_min); }

static void mul_q32(const myna__mul *m) {
  if (m->type->min)
    mul_q32_min(m);
  else
    mul_q32_offset(m);
}
static void mul_q256(const myna__mul *m) {
  if (m->type->groups == 8)
    mul_q256_8_min(m);
  else if (m->type->min)
    mul_q256_16_min(m);
  else
    mul_q256_16_offset(m);
}

void myna__fill_mul_avx512(myna__ktable *t) {
  t->mul[MYNA__FORM_F32] = mul_f32;
  t->mul[MYNA__FORM_BF16] = mul_bf16;
  t->mul[MYNA__FORM_Q32] = mul_q32;
  t->mul[MYNA__FORM_Q256] = mul_q256;
}
