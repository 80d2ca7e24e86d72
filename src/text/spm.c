/* spm.c: SentencePiece BPE: spaces become U+2581, characters merge by score, characters that are no token become their
 * bytes. The behaviour is llama.cpp's where it and SentencePiece differ (no resegmenting of unused pieces: as they can
 * only arise by a merge, their text is always a token). */
#include "text/tok.h"

/* Characters that no token stands for: one id per byte, or one "unknown" for a run of them where the vocabulary has no
 * byte tokens. Returns whether it was unknown. */
static bool push_bytes(myna__tokcall *c, const char *p, size_t n, bool after_unknown) {
  const myna__tokenizer *tk = c->tk;
  bool known = true;
  for (size_t i = 0; i < n; i++) known = known && tk->byte_id[(uint8_t)p[i]] >= 0;
  if (known) {
    for (size_t i = 0; i < n; i++) myna__push_id(c, tk->byte_id[(uint8_t)p[i]]);
  } else if (tk->unk >= 0 && !after_unknown) {
    myna__push_id(c, tk->unk);
  }
  return !known;
}

/* Merges p[0..n). unknown: whether the last symbol before was. */
static bool spm_word(myna__tokcall *c, const char *p, size_t n, bool unknown) {
  myna__symbol *s = myna__vec_need(c, &c->symbols, n * sizeof *s);
  if (!s || n == 0) return unknown;
  size_t k = 0;
  for (size_t i = 0, len; i < n; i += len, k++) {
    len = MYNA__MIN((size_t)myna__utf8_lead((uint8_t)p[i]), n - i);
    s[k] = (myna__symbol){myna__text_hash(p + i, len), (uint32_t)i, (uint32_t)len, (int32_t)k - 1, (int32_t)k + 1};
  }
  s[k - 1].next = -1;
  myna__merge(c, p, k);
  for (int32_t i = 0; i >= 0 && c->rc == 0; i = s[i].next) {
    int32_t id = myna__vocab_find(&c->tk->vocab, s[i].hash, p + s[i].start, s[i].len);
    if (id >= 0) {
      myna__push_id(c, id);
      unknown = false;
    } else {
      unknown = push_bytes(c, p + s[i].start, s[i].len, unknown);
    }
  }
  return unknown;
}

void myna__spm_text(myna__tokcall *c, const char *p, size_t n, bool prefix) {
  n = myna__normalize(c, p, n, prefix);
  p = c->text.p;
  size_t start = 0;
  bool unknown = false;
  /* Cuts lie between characters as spm_word sees them: a broken one may reach into U+2581. */
  for (size_t i = 0; c->tk->cut_at_mark && i + 3 <= n && c->rc == 0; i += (size_t)myna__utf8_lead((uint8_t)p[i])) {
    if (memcmp(p + i, MYNA__MARK, 3) != 0 || i == start) continue;
    if (i - start >= 3 && memcmp(p + i - 3, MYNA__MARK, 3) == 0) continue; /* inside a run of spaces */
    unknown = spm_word(c, p + start, i - start, unknown);
    start = i;
  }
  if (c->rc == 0 && n > start) spm_word(c, p + start, n - start, unknown);
}
