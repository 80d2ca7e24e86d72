/* bpe.c: byte-level BPE (GPT-2 and after) and its variant over plain UTF-8 with U+2581 for spaces (Gemma 4): cut into
 * words, write bytes in the byte alphabet, merge by rank, look up what is left. */
#include "text/tok.h"

/* Spaces become U+2581. Returns the new length in c->text. */
static size_t write_marks(myna__tokcall *c, const char *p, size_t n) {
  char *out = myna__vec_need(c, &c->text, 3 * n);
  if (!out) return 0;
  size_t o = 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i] == ' ') {
      memcpy(out + o, MYNA__MARK, 3);
      o += 3;
    } else {
      out[o++] = p[i];
    }
  }
  return o;
}

/* One symbol per byte, each a character of the byte alphabet written to out (2 * n bytes). Returns their length. */
static size_t spell_bytes(const char *p, size_t n, char *out, myna__symbol *s) {
  size_t o = 0;
  for (size_t i = 0; i < n; i++) {
    myna__byte_char ch = myna__byte_alphabet[(uint8_t)p[i]];
    memcpy(out + o, ch.s, 2);
    s[i] = (myna__symbol){myna__text_hash(ch.s, ch.n), (uint32_t)o, ch.n, (int32_t)i - 1, (int32_t)i + 1};
    o += ch.n;
  }
  if (n) s[n - 1].next = -1;
  return o;
}

/* One symbol per character. Returns how many. */
static size_t spell_chars(const char *p, size_t n, myna__symbol *s) {
  size_t k = 0;
  for (size_t i = 0, len; i < n; i += len, k++) {
    len = MYNA__MIN((size_t)myna__utf8_lead((uint8_t)p[i]), n - i);
    s[k] = (myna__symbol){myna__text_hash(p + i, len), (uint32_t)i, (uint32_t)len, (int32_t)k - 1, (int32_t)k + 1};
  }
  if (k) s[k - 1].next = -1;
  return k;
}

/* What no token stands for: byte tokens where the vocabulary has them, else one character at a time. What is not even
 * that has no id: it is left out, as everywhere ("unknown" is an end token in vocabularies that lack bytes). */
static void push_unknown(myna__tokcall *c, const char *p, size_t n) {
  const myna__tokenizer *tk = c->tk;
  for (size_t i = 0, len; i < n; i += len) {
    len = 1;
    int32_t id = -1;
    if (tk->pre_flags & MYNA__PRE_RAW) {
      id = tk->byte_id[(uint8_t)p[i]];
    } else {
      len = MYNA__MIN((size_t)myna__utf8_lead((uint8_t)p[i]), n - i);
      id = myna__vocab_find(&tk->vocab, myna__text_hash(p + i, len), p + i, len);
    }
    if (id >= 0) myna__push_id(c, id);
  }
}

static void push_symbols(myna__tokcall *c, const char *text, const myna__symbol *s) {
  for (int32_t i = 0; i >= 0; i = s[i].next) {
    int32_t id = myna__vocab_find(&c->tk->vocab, s[i].hash, text + s[i].start, s[i].len);
    if (id >= 0)
      myna__push_id(c, id);
    else
      push_unknown(c, text + s[i].start, s[i].len);
  }
}

static bool only_newlines(const char *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != '\n') return false;
  return true;
}

/* p[0..n), n >= 1: a word of the text in the bytes to be tokenized. */
static void bpe_word(myna__tokcall *c, const char *p, size_t n) {
  int flags = c->tk->pre_flags;
  myna__symbol *s = myna__vec_need(c, &c->symbols, n * sizeof *s);
  const char *text = p;
  size_t n_symbols = n, len = n;
  if (!s) return;
  if (flags & MYNA__PRE_RAW) {
    n_symbols = spell_chars(p, n, s);
  } else {
    char *out = myna__vec_need(c, &c->path, 2 * n);
    if (!out) return;
    len = spell_bytes(p, n, out, s);
    text = out;
  }
  if ((flags & MYNA__PRE_WHOLE) || ((flags & MYNA__PRE_NEWLINES) && only_newlines(p, n))) {
    int32_t id = myna__vocab_find(&c->tk->vocab, myna__text_hash(text, len), text, len);
    if (id >= 0) {
      myna__push_id(c, id);
      return;
    }
  }
  myna__merge(c, text, n_symbols);
  if (c->rc == 0) push_symbols(c, text, s);
}

/* Where no token has U+2581 after another character, merging "a b" is merging "a" and "_b". */
static void bpe_marked_words(myna__tokcall *c, const char *p, size_t n) {
  size_t start = 0;
  for (size_t i = 1; c->tk->cut_at_mark && i + 3 <= n; i++) {
    if (memcmp(p + i, MYNA__MARK, 3) != 0 || (i >= 3 && memcmp(p + i - 3, MYNA__MARK, 3) == 0)) continue;
    bpe_word(c, p + start, i - start);
    start = i;
  }
  bpe_word(c, p + start, n - start);
}

void myna__bpe_text(myna__tokcall *c, const char *p, size_t n) {
  const myna__tokenizer *tk = c->tk;
  if (tk->t->escape_whitespaces) {
    n = write_marks(c, p, n);
    p = c->text.p;
  }
  const char *match = p;
  if (c->rc == 0 && !myna__utf8_valid(p, n)) {
    char *clean = myna__vec_need(c, &c->clean, 3 * n), *other = myna__vec_need(c, &c->match, 3 * n);
    if (!clean || !other) return;
    n = myna__utf8_clean(p, n, clean, other);
    p = clean;
    match = other;
  }
  if (c->rc) return;
  c->rc = myna__pretok_split(tk->pretok, &c->pretok, match, n, c->err);
  for (size_t i = 0; i < c->pretok.n_words && c->rc == 0; i++) {
    myna__word w = c->pretok.words[i];
    if (tk->t->escape_whitespaces)
      bpe_marked_words(c, p + w.start, w.end - w.start);
    else
      bpe_word(c, p + w.start, w.end - w.start);
  }
}
