/* normalize.c: SentencePiece's text normalization: the longest match in a precompiled character map is replaced, what
 * user-defined tokens match is left alone, runs of spaces may shrink to one, spaces become U+2581.
 *
 * The map's file layout, little-endian:
 *
 *   u32 bytes of units | u32 units[] : a double-array trie (darts-clone) | replacement texts, each ended by NUL
 *
 * A unit is a node:  bit 31: value, bits 0-30 an offset into the texts | bits 10-30 base, bit 9 base is shifted by 8,
 * bit 8: has a value as a child, bits 0-7 the label. All of it comes from a stranger's file: every index is checked. */
#include "text/tok.h"

int myna__charsmap_init(myna__charsmap *m, const uint8_t *p, size_t n, myna_err *err) {
  *m = (myna__charsmap){0};
  if (!p || n == 0) return 0;
  uint32_t size = 0;
  if (n >= 4) size = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
  if (n < 4 || size % 4 || size > n - 4 || size == n - 4)
    return myna__err(err, MYNA_E_FORMAT, "tokenizer.ggml.precompiled_charsmap: %u bytes of trie in %zu bytes", size, n);
  /* Texts end with NUL each; so does the last one, or it is never used. */
  *m = (myna__charsmap){p + 4, size / 4, (const char *)p + 4 + size, n - 4 - size};
  return 0;
}

static uint32_t unit(const myna__charsmap *m, size_t i) {
  if (i >= m->n_units) return 0x80000000u; /* a value: no label matches it */
  const uint8_t *u = m->units + 4 * i;
  return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static uint32_t unit_base(uint32_t u) { return (u >> 10) << ((u & 1u << 9) >> 6); }

/* Longest match at p[0..n): its length, 0 when there is none, and the replacement. */
static size_t charsmap_match(const myna__charsmap *m, const char *p, size_t n, const char **to, size_t *n_to) {
  size_t best = 0;
  uint32_t node = m->n_units ? unit_base(unit(m, 0)) : 0;
  for (size_t i = 0; i < n && m->n_units; i++) {
    uint8_t c = (uint8_t)p[i];
    node ^= c;
    uint32_t u = unit(m, node);
    if (c == 0 || (u & (1u << 31 | 0xFF)) != c) break;
    node ^= unit_base(u);
    if (!(u >> 8 & 1)) continue;
    uint32_t at = unit(m, node) & 0x7FFFFFFFu;
    const char *end = at < m->n_text ? memchr(m->text + at, 0, m->n_text - at) : NULL;
    if (!end) continue; /* malformed: no replacement */
    best = i + 1;
    *to = m->text + at;
    *n_to = (size_t)(end - *to);
  }
  return best;
}

/* Next piece of input: consumed bytes, and what to write for them. */
static size_t next_piece(const myna__tokenizer *tk, const char *p, size_t n, const char **to, size_t *n_to) {
  if (tk->charsmap.n_units) {
    size_t used = charsmap_match(&tk->charsmap, p, n, to, n_to);
    if (used) return used;
  }
  int step = myna__utf8_step(p, n);
  if (step <= 0 && tk->t->model == MYNA__TOK_UNIGRAM) {
    *to = "\xEF\xBF\xBD";
    *n_to = 3;
    return 1;
  }
  *to = p;
  *n_to = step > 0 ? (size_t)step : 1;
  return *n_to;
}

/* Adds n bytes to c->text at *len. */
static bool add(myna__tokcall *c, size_t *len, const char *p, size_t n) {
  if (c->text.cap - *len < n && !myna__vec_need(c, &c->text, *len + n)) return false;
  if (n) memcpy((char *)c->text.p + *len, p, n);
  *len += n;
  return true;
}

size_t myna__normalize(myna__tokcall *c, const char *p, size_t n, bool prefix) {
  const myna__tokdata *t = c->tk->t;
  /* SentencePiece BPE in GGUF comes without a map, and then all spaces count. */
  bool squeeze = t->remove_extra_whitespaces && (t->model == MYNA__TOK_UNIGRAM || c->tk->charsmap.n_units);
  bool after_space = squeeze;
  const char *space = t->escape_whitespaces ? MYNA__MARK : " ";
  size_t n_space = strlen(space), len = 0;
  if (n == 0 || !myna__vec_need(c, &c->text, n + 3)) return 0;
  if (prefix) add(c, &len, space, n_space); /* goes again below when nothing but spaces follows */
  for (size_t i = 0; i < n && c->rc == 0;) {
    const char *to;
    size_t n_to, k = 0;
    i += next_piece(c->tk, p + i, n - i, &to, &n_to);
    while (after_space && k < n_to && to[k] == ' ') k++;
    if (k < n_to) after_space = squeeze && to[n_to - 1] == ' ';
    for (; k < n_to; k++) {
      if (to[k] == ' ')
        add(c, &len, space, n_space);
      else
        add(c, &len, to + k, 1);
    }
  }
  if (c->rc) return 0;
  const char *out = c->text.p;
  while (squeeze && len >= n_space && memcmp(out + len - n_space, space, n_space) == 0) len -= n_space;
  return len;
}
