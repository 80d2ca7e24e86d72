/* mul_pairs_avx2.h: integer panels times columns on AVX2 without VNNI.
 *
 * VPMADDUBSW leaves pairs of int16. Sums of pairs are kept as long as they fit (dot_chain); then VPMADDWD adds their halves and
 * multiplies them with the group's scale in one: the sum of a group is never made. What an offset of the codes adds comes off per
 * block, as a sum of scales times sums of activation codes. All of it is exact, so the bits are those of mul_impl.h's tiles.
 *
 * What bounds such a tile is instructions, not multiplies: a step of two vectors and four columns has 6 loads for 16 of arithmetic.
 * Left alone, clang loads an address per broadcast and reorders sums into more registers than there are: hence the empty asm. */
#ifndef MYNA__MUL_PAIRS_AVX2_H
#define MYNA__MUL_PAIRS_AVX2_H

/* p = sums of pairs of products over `steps` dwords of codes at `code` and activations at x + at. */
INLINE void pairs_of(vi p[V_MAX][C_MAX], const uint8_t *code, const uint8_t *const *x, int at, int steps, int V, int C,
                     dot_mode mode) {
  UNROLL for (int k = 0; k < steps; k++) {
    vi w[V_MAX], sign[V_MAX];
    UNROLL for (int v = 0; v < V; v++) {
      w[v] = vi_load(code + 32 * v + 64 * k);
      if (mode == DOT_8BIT) {
        sign[v] = vi_xor(w[v], vi_set8(-128));
        w[v] = _mm256_abs_epi8(sign[v]);
      }
    }
    UNROLL for (int c = 0; c < C; c++) {
      vi a = vi_set32(load32(x[c] + at + 4 * k));
      UNROLL for (int v = 0; v < V; v++) {
        vi t = _mm256_maddubs_epi16(w[v], mode == DOT_8BIT ? _mm256_sign_epi8(a, sign[v]) : a);
        p[v][c] = k == 0 ? t : _mm256_add_epi16(p[v][c], t);
        if (k > 0) __asm__("" : "+x"(p[v][c])); /* in this order: clang would keep parts of sums */
      }
    }
  }
}

/* m = sums of the block, scaled. Chains as long as a group need all registers for their pairs: then sums are in memory. */
INLINE void sums_of_pairs(sums *m, const myna__panel_q256 *p, const uint8_t *const *row, int V, int C, const kind256 *t,
                          fetch *f, size_t next_row) {
  const int steps = 64 / t->groups, chain = dot_chain(t->mode) < steps ? dot_chain(t->mode) : steps;
  const bool in_memory = V * C > 6 && chain > 1;
  const uint8_t *x[C_MAX], *code = p->code[0][0], *scales = (const uint8_t *)p->scale;
  vi s[V_MAX][C_MAX];
  UNROLL for (int c = 0; c < C; c++) x[c] = row[c];
  UNROLL for (int v = 0; v < V; v++) UNROLL for (int c = 0; c < C; c++)(in_memory ? m->v : s)[v][c] = vi_zero();
  for (int g = 0; g < t->groups; g++) {
    fetch_some(f);
    __asm__("" : "+r"(code), "+r"(scales));
    UNROLL for (int c = 0; c < C; c++) __asm__("" : "+r"(x[c]));
    UNROLL for (int k = 0; k < steps; k += chain) {
      vi i[V_MAX][C_MAX];
      pairs_of(i, code + 64 * k, x, 4 * k, chain, V, C, t->mode);
      UNROLL for (int v = 0; v < V; v++) {
        const vi scale = vi_pick_bytes(vi_load(scales + 32 * v), 0x01000100); /* in both halves */
        UNROLL for (int c = 0; c < C; c++) {
          if (in_memory) {
            m->v[v][c] = vi_dot_pairs16(m->v[v][c], i[v][c], scale);
          } else {
            s[v][c] = vi_dot_pairs16(s[v][c], i[v][c], scale);
            __asm__("" : "+x"(s[v][c]));
          }
        }
      }
      if (in_memory) BORDER();
    }
    if (g % (64 / (4 * steps)) == 0)
      UNROLL for (int c = 0; c < C; c++) _mm_prefetch((const char *)x[c] + next_row, _MM_HINT_T0);
    code += 64 * steps;
    scales += 64;
    UNROLL for (int c = 0; c < C; c++) x[c] += 4 * steps;
  }
  if (!in_memory) UNROLL for (int v = 0; v < V; v++) UNROLL for (int c = 0; c < C; c++) m->v[v][c] = s[v][c];
}

/* j = sums of mins, or of scales where codes have an offset, times the sums of codes over the block. */
INLINE void sums_of_mins(vi j[V_MAX][C_MAX], const myna__panel_q256 *p, const uint8_t *const *x, int groups, int V,
                         int C) {
  UNROLL for (int k = 0; k < groups / 2; k++) {
    vi w[V_MAX];
    UNROLL for (int v = 0; v < V; v++) w[v] = vi_load(p->min[k][LANES * v]);
    UNROLL for (int c = 0; c < C; c++) {
      vi a = vi_set32(load32(x[c] + 4 * k));
      UNROLL for (int v = 0; v < V; v++) {
        j[v][c] = k == 0 ? _mm256_madd_epi16(w[v], a) : vi_dot_pairs16(j[v][c], w[v], a);
        if (k > 0) __asm__("" : "+x"(j[v][c]));
      }
    }
  }
}

INLINE void tile_pairs256(const tile *t, int V, int C, kind256 kind) {
  const myna__panel_q256 *p = (const void *)t->panel;
  const int n_strip = t->m->n_strip;
  const int64_t ld = t->m->ld_acc, end = t->m->k0 + t->m->n, d_at = (int64_t)t->m->act.d;
  const int64_t sum_at = (int64_t)(kind.groups == 8 ? t->m->act.sum32 : t->m->act.sum);
  const bool offset = kind.shift >= 0 && dot_needs_offset(kind.mode);
  float *const acc = t->acc;
  for (int64_t k0 = t->m->k0; k0 < end; k0 += MYNA__KBLOCK, p += n_strip) {
    vi j[V_MAX][C_MAX];
    sums memory, *m = &memory;
    const uint8_t *x[C_MAX];
    __asm__("" : "+r"(m) : : "memory");
    UNROLL for (int c = 0; c < C; c++) x[c] = t->row[c] + k0;
    sums_of_pairs(m, p, x, V, C, &kind, t->fetch, C * t->m->act.stride);
    BORDER();
    if (kind.min || offset) {
      UNROLL for (int c = 0; c < C; c++) {
        x[c] = t->row[c] + sum_at + k0 * kind.groups / 256 * 2;
        __asm__("" : "+r"(x[c]));
      }
      sums_of_mins(j, p, x, kind.groups, V, C);
    }
    UNROLL for (int c = 0; c < C; c++) {
      const vf da = vf_set(load_float(t->row[c] + d_at + k0 / 256 * 4));
      float *to = acc + c * ld;
      __asm__("" : "+r"(to));
      UNROLL for (int v = 0; v < V; v++) {
        vf y = vf_load(to + LANES * v);
        vi i = m->v[v][c];
        if (offset) i = _mm256_sub_epi32(i, vi_sll32(j[v][c], kind.shift));
        y = vf_fma(vi_to_f32(i), vf_mul(vf_load(&p->d[LANES * v]), da), y);
        if (kind.min) y = vf_fnma(vi_to_f32(j[v][c]), vf_mul(vf_load(&p->dmin[LANES * v]), da), y);
        vf_store(to + LANES * v, y);
      }
    }
    BORDER();
  }
}

/* Per 32 k; see tile_q32. */
INLINE void tile_pairs32(const tile *t, int V, int C, int shift, bool min, dot_mode mode) {
  const myna__panel_q32 *p = (const void *)t->panel;
  const int n_strip = t->m->n_strip, chain = dot_chain(mode);
  const int64_t ld = t->m->ld_acc, end = t->m->k0 + t->m->n;
  const int d_at = (int)t->m->act.d, nsum_at = (int)t->m->act.nsum;
  const size_t next_row = C * t->m->act.stride;
  const bool offset = shift >= 0 && dot_needs_offset(mode);
  for (int64_t k0 = t->m->k0; k0 < end; k0 += MYNA__KBLOCK, p += n_strip) {
    const int groups = (int)MYNA__MIN(end - k0, MYNA__KBLOCK) / 32;
    const uint8_t *x[C_MAX], *sum[C_MAX], *code = p->code[0][0];
    const float *dw = p->d[0];
    float *to[C_MAX];
    UNROLL for (int c = 0; c < C; c++) {
      x[c] = t->row[c] + k0, sum[c] = t->row[c] + k0 / 8;
      to[c] = t->acc + c * ld;
    }
    for (int g = 0; g < groups; g++) {
      vi i[V_MAX][C_MAX];
      fetch_some(t->fetch);
      __asm__("" : "+r"(code), "+r"(dw));
      UNROLL for (int c = 0; c < C; c++) __asm__("" : "+r"(x[c]));
      if (g % 2 == 0) UNROLL for (int c = 0; c < C; c++) _mm_prefetch((const char *)x[c] + next_row, _MM_HINT_T0);
      UNROLL for (int k = 0; k < 8; k += chain) {
        vi pairs[V_MAX][C_MAX];
        pairs_of(pairs, code + 64 * k, x, 4 * k, chain, V, C, mode);
        UNROLL for (int c = 0; c < C; c++) UNROLL for (int v = 0; v < V; v++) {
          vi both = _mm256_madd_epi16(pairs[v][c], vi_set16(1));
          i[v][c] = k == 0 ? both : vi_add32(i[v][c], both);
          if (k > 0) __asm__("" : "+x"(i[v][c]));
        }
      }
      UNROLL for (int c = 0; c < C; c++) {
        const vf d = vf_set(load_float(sum[c] + d_at));
        const vi nsum = vi_set32(load32(sum[c] + nsum_at)), off = offset ? vi_sll32(nsum, shift) : nsum;
        UNROLL for (int v = 0; v < V; v++) {
          vf y = vf_load(to[c] + LANES * v);
          y = vf_fma(vi_to_f32(offset ? vi_add32(i[v][c], off) : i[v][c]), vf_mul(vf_load(dw + LANES * v), d), y);
          if (min) y = vf_fnma(vi_to_f32(nsum), vf_mul(vf_load(dw + 128 + LANES * v), d), y);
          vf_store(to[c] + LANES * v, y);
        }
        sum[c] += 4;
        x[c] += 32;
      }
      code += 512;
      dw += MYNA__STRIP;
      BORDER();
    }
  }
}

#endif
