/* detok.c: from ids back to text: the bytes of one token, and a stream of them cut at characters.
 *
 * The stream keeps at most three bytes that begin a character. A byte that shows them to be ill-formed turns them into
 * one U+FFFD at once (maximal subparts, as browsers and Python do), so output is never late by more than it must be and
 * never holds half a character. SentencePiece puts a space in front of a text; it is dropped from the first token that
 * shows any. A caller that continues a text sets `started` itself. */
#include "text/tok.h"

int myna__byte_of_name(myna__str s) {
  if (s.n != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>') return -1;
  int value = 0;
  for (int i = 3; i < 5; i++) {
    char ch = s.p[i];
    int digit = ch >= '0' && ch <= '9'   ? ch - '0'
                : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                                         : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

bool myna__only_marks(myna__str s) {
  for (size_t i = 0; i < s.n; i += 3)
    if (s.n - i < 3 || memcmp(s.p + i, MYNA__MARK, 3) != 0) return false;
  return s.n > 0;
}

/* Where the bytes of one token go: into a buffer, of which only what fits is written, or into a stream. */
struct out {
  char *p;
  size_t cap, n; /* n counts all */
  size_t drop;   /* bytes to leave out of the stream */
  myna__detok *stream;
  myna__buf *text;
};

static void push_byte(myna__detok *d, char byte, myna__buf *out) {
  d->pending[d->n_pending++] = byte;
  while (d->n_pending > 0) {
    int step = myna__utf8_step(d->pending, (size_t)d->n_pending);
    if (step == 0) return;
    int used = step > 0 ? step : -step;
    if (step > 0)
      myna__buf_add(out, d->pending, (size_t)used);
    else
      myna__buf_add(out, "\xEF\xBF\xBD", 3);
    d->n_pending -= used;
    memmove(d->pending, d->pending + used, (size_t)d->n_pending);
  }
}

static void put(struct out *o, const char *p, size_t n) {
  for (size_t i = 0; i < n; i++, o->n++) {
    if (o->n < o->drop) continue;
    if (o->stream)
      push_byte(o->stream, p[i], o->text);
    else if (o->n < o->cap)
      o->p[o->n] = p[i];
  }
}

/* U+2581 is a space. */
static void put_marked(struct out *o, myna__str s) {
  for (size_t i = 0; i < s.n;) {
    if (s.n - i >= 3 && memcmp(s.p + i, MYNA__MARK, 3) == 0) {
      put(o, " ", 1);
      i += 3;
    } else {
      put(o, s.p + i++, 1);
    }
  }
}

/* Characters of the byte alphabet are bytes, others stand for themselves. */
static void put_alphabet(struct out *o, myna__str s) {
  for (size_t i = 0; i < s.n;) {
    uint8_t lead = (uint8_t)s.p[i];
    uint32_t c = lead;
    size_t len = 1;
    if (lead >= 0xC0 && lead < 0xE0 && i + 1 < s.n) {
      c = (lead & 0x1Fu) << 6 | ((uint8_t)s.p[i + 1] & 0x3Fu);
      len = 2;
    }
    int byte = myna__byte_of_char(c);
    if (byte >= 0) {
      char ch = (char)byte;
      put(o, &ch, 1);
    } else {
      put(o, s.p + i, len);
    }
    i += len;
  }
}

static void put_token(const myna__tokenizer *tk, int32_t id, bool special, struct out *o) {
  myna__str s = tk->t->tokens[id];
  bool bpe = tk->t->model == MYNA__TOK_BPE;
  switch (myna__tok_type_of(tk, id)) {
  case MYNA__TOKTYPE_CONTROL:
  case MYNA__TOKTYPE_UNKNOWN:
  case MYNA__TOKTYPE_UNUSED:
    if (special) put(o, s.p, s.n);
    break;
  case MYNA__TOKTYPE_USER:
    if (tk->t->escape_whitespaces && myna__only_marks(s))
      put_marked(o, s);
    else
      put(o, s.p, s.n);
    break;
  case MYNA__TOKTYPE_BYTE: {
    int byte = myna__byte_of_name(s);
    char ch = (char)byte;
    put(o, byte < 0 ? s.p : &ch, byte < 0 ? s.n : 1);
    break;
  }
  default:
    if (!bpe || tk->t->escape_whitespaces)
      put_marked(o, s);
    else if (tk->pre_flags & MYNA__PRE_RAW)
      put(o, s.p, s.n);
    else
      put_alphabet(o, s);
  }
}

int64_t myna__token_bytes(const myna__tokenizer *tk, int32_t id, bool special, char *buf, size_t cap) {
  if (id < 0 || id >= tk->t->n_tokens) return MYNA_E_ARG;
  struct out o = {.p = buf, .cap = cap};
  put_token(tk, id, special, &o);
  return (int64_t)o.n;
}

/* ---- streaming ---- */

int myna__detok_push(const myna__tokenizer *tk, myna__detok *d, int32_t id, bool special, myna__buf *out) {
  char first = 0;
  int64_t n = myna__token_bytes(tk, id, special, &first, 1);
  if (n < 0) return (int)n;
  struct out o = {.stream = d, .text = out};
  if (!d->started && first == ' ' && tk->t->model != MYNA__TOK_BPE && tk->t->add_space_prefix &&
      myna__tok_type_of(tk, id) != MYNA__TOKTYPE_USER)
    o.drop = 1;
  d->started = d->started || n > 0;
  put_token(tk, id, special, &o);
  return out->failed ? MYNA_E_NOMEM : 0;
}

void myna__detok_finish(myna__detok *d, myna__buf *out) {
  /* What is pending is the beginning of one character: one replacement. */
  if (d->n_pending > 0) myna__buf_add(out, "\xEF\xBF\xBD", 3);
  d->n_pending = 0;
}
