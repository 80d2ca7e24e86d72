/* chat_value.c: reads values of calls byte by byte with a stack of open brackets and writes them as JSON at once. Constant work per byte. */
#include "text/chat_value.h"

enum state {
  VALUE,       /* a value must follow */
  FIRST,       /* a value or ] */
  KEY,         /* a key or } */
  COLON,       /* behind a key */
  NEXT,        /* behind a value: , or the closing sign */
  STRING,      /* inside */
  ESCAPE,      /* behind a backslash */
  HEX,         /* digits of an escape */
  QUOTE1,      /* behind the first quote: Python may have three */
  QUOTE2,      /* behind two quotes */
  GEMMA_QUOTE, /* within <|"|> that opens a string */
  NUMBER,
  WORD,
  BARE_KEY,
  DONE
};
/* Of numbers. */
enum { MINUS, ZERO, WHOLE, POINT, FRACTION, EXP, EXP_SIGN, EXP_DIGITS, NO_NUMBER };

/* What stands around the strings of Gemma. */
static const char *mark_of(const myna__value *v) { return v->mark ? v->mark : "<|\"|>"; }

void myna__value_escape(myna__buf *out, const char *s, size_t n) {
  static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
  size_t start = 0;
  for (size_t i = 0; i <= n; i++) {
    if (i < n && (uint8_t)s[i] >= ' ' && s[i] != '"' && s[i] != '\\') continue;
    if (i > start) myna__buf_add(out, s + start, i - start);
    start = i + 1;
    if (i == n) break;
    const char *k = s[i] ? strchr(from, s[i]) : NULL;
    if (k)
      myna__buf_printf(out, "\\%c", to[k - from]);
    else
      myna__buf_printf(out, "\\u%04x", (uint8_t)s[i]);
  }
}

static bool blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }
static char top(const myna__value *v) { return v->depth ? v->open[v->depth - 1] : 0; }

static void begin(myna__value *v, myna__buf *out) {
  if (v->comma) myna__buf_str(out, ", ");
  v->comma = false;
}

static void ended(myna__value *v) { v->state = v->key ? COLON : v->depth ? NEXT : DONE; }

/* ---- strings ---- */

static void lone_half(myna__value *v, myna__buf *out) {
  if (v->high) myna__buf_str(out, "\\ufffd");
  v->high = 0;
}

static void text(myna__value *v, const char *s, size_t n, myna__buf *out) {
  if (n) lone_half(v, out);
  myna__value_escape(out, s, n);
}

static void end_string(myna__value *v, myna__buf *out) {
  lone_half(v, out);
  myna__buf_str(out, "\"");
  v->matched = 0;
  v->triple = false;
  ended(v);
}

static void unit(myna__value *v, uint32_t c, myna__buf *out) {
  if (v->high && c >= 0xDC00 && c < 0xE000) {
    myna__buf_printf(out, "\\u%04x\\u%04x", v->high, c);
    v->high = 0;
    return;
  }
  lone_half(v, out);
  if (c >= 0xD800 && c < 0xDC00)
    v->high = c;
  else if (c >= 0xDC00 && c < 0xE000)
    myna__buf_str(out, "\\ufffd");
  else
    myna__buf_printf(out, "\\u%04x", c);
}

/* The character behind a backslash. Unknown ones keep the backslash: models forget to double it. */
static void escape(myna__value *v, char c, myna__buf *out) {
  static const char from[] = "bfnrt\"\\/", to[] = "\b\f\n\r\t\"\\/";
  static const char py_from[] = "'av", py_to[] = "'\a\v";
  bool python = v->dialect == MYNA__VALUE_PYTHON;
  v->state = STRING;
  if (c == 'u' || (c == 'x' && python)) {
    v->state = HEX;
    v->hex = 0;
    v->n_hex = c == 'u' ? 4 : 2;
    return;
  }
  if (python && c == '\n') return;
  const char *k = c ? strchr(from, c) : NULL, *p = c && python ? strchr(py_from, c) : NULL;
  if (k)
    text(v, to + (k - from), 1, out);
  else if (p)
    text(v, py_to + (p - py_from), 1, out);
  else {
    text(v, "\\", 1, out);
    text(v, &c, 1, out);
  }
}

static int hex(myna__value *v, char c, myna__buf *out) {
  int h = digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  if (h < 0) return MYNA__BAD;
  v->hex = v->hex << 4 | (uint32_t)h;
  if (--v->n_hex) return MYNA__MORE;
  unit(v, v->hex, out);
  v->state = STRING;
  return MYNA__MORE;
}

/* A quote, or a part of one, that did not end the string is text. */
static void unmatch(myna__value *v, myna__buf *out) {
  static const char quotes[] = "\"\"\"''";
  const char *q = v->quote == 0 ? mark_of(v) : v->quote == '"' ? quotes : quotes + 3;
  text(v, q, v->matched, out);
  v->matched = 0;
}

static bool in_string(myna__value *v, char c, myna__buf *out) {
  const char want = v->quote ? v->quote : mark_of(v)[v->matched];
  int whole = v->quote ? (v->triple ? 3 : 1) : (int)strlen(mark_of(v));
  if (c == want) {
    if (++v->matched == whole) end_string(v, out);
    return true;
  }
  if (v->matched) {
    unmatch(v, out);
    return false; /* look at c again */
  }
  if (c == '\\' && v->quote) v->state = ESCAPE;
  return c == '\\' && v->quote;
}

/* Plain text of a string: the bytes that no sign is among. */
static size_t plain(const myna__value *v, const char *s, size_t n) {
  char q = v->quote ? v->quote : mark_of(v)[0];
  size_t i = 0;
  while (i < n && s[i] != q && (s[i] != '\\' || !v->quote)) i++;
  return i;
}

static void open_string(myna__value *v, char quote, myna__buf *out) {
  begin(v, out);
  myna__buf_str(out, "\"");
  v->quote = quote;
  v->matched = 0;
  v->triple = false;
  v->high = 0;
  v->state = quote == 0 ? GEMMA_QUOTE : v->dialect == MYNA__VALUE_PYTHON ? QUOTE1 : STRING;
  if (quote == 0) v->matched = 1;
}

/* ---- numbers and words ---- */

static uint8_t number_next(uint8_t s, char c) {
  bool d = digit(c), e = c == 'e' || c == 'E';
  switch (s) {
  case MINUS: return c == '0' ? ZERO : d ? WHOLE : NO_NUMBER;
  case ZERO: return c == '.' ? POINT : e ? EXP : NO_NUMBER;
  case WHOLE: return d ? WHOLE : c == '.' ? POINT : e ? EXP : NO_NUMBER;
  case POINT: return d ? FRACTION : NO_NUMBER;
  case FRACTION: return d ? FRACTION : e ? EXP : NO_NUMBER;
  case EXP: return c == '+' || c == '-' ? EXP_SIGN : d ? EXP_DIGITS : NO_NUMBER;
  default: return d ? EXP_DIGITS : NO_NUMBER;
  }
}

static bool number_whole(uint8_t s) { return s == ZERO || s == WHOLE || s == FRACTION || s == EXP_DIGITS; }

static int end_word(myna__value *v, myna__buf *out) {
  static const char *const words[][2] = {{"true", "true"}, {"false", "false"}, {"null", "null"},
                                         {"True", "true"}, {"False", "false"}, {"None", "null"}};
  v->word[v->n_word] = 0;
  for (int i = 0; i < (v->dialect == MYNA__VALUE_PYTHON ? 6 : 3); i++)
    if (strcmp(v->word, words[i][0]) == 0) {
      begin(v, out);
      myna__buf_str(out, words[i][1]);
      v->n_word = 0;
      ended(v);
      return MYNA__MORE;
    }
  return MYNA__BAD;
}

/* ---- brackets ---- */

static int opened(myna__value *v, char c, myna__buf *out) {
  if (v->depth == MYNA__VALUE_DEPTH) return MYNA__BAD;
  begin(v, out);
  v->open[v->depth++] = c;
  myna__buf_str(out, c == '{' ? "{" : "[");
  v->state = c == '{' ? KEY : FIRST;
  return MYNA__MORE;
}

static int closed(myna__value *v, char c, myna__buf *out) {
  char want = top(v) == '{' ? '}' : top(v) == '[' ? ']' : top(v) == '(' ? ')' : 0;
  if (c != want) return MYNA__BAD;
  myna__buf_str(out, want == '}' ? "}" : "]");
  v->comma = false;
  v->depth--;
  v->key = false;
  ended(v);
  return MYNA__MORE;
}

static int at_value(myna__value *v, char c, myna__buf *out) {
  bool python = v->dialect == MYNA__VALUE_PYTHON;
  v->key = false;
  if (blank(c)) return MYNA__MORE;
  if (c == '{' || c == '[' || (c == '(' && python)) return opened(v, c, out);
  if (c == '"' || (c == '\'' && python)) {
    open_string(v, c, out);
  } else if (c == '<' && v->dialect == MYNA__VALUE_GEMMA) {
    open_string(v, 0, out);
  } else if (c == '-' || digit(c)) {
    begin(v, out);
    myna__buf_add(out, &c, 1);
    v->number = c == '-' ? MINUS : c == '0' ? ZERO : WHOLE;
    v->state = NUMBER;
  } else if (letter(c)) {
    v->word[0] = c;
    v->n_word = 1;
    v->state = WORD;
  } else {
    return v->state == FIRST || v->comma ? closed(v, c, out) : MYNA__BAD;
  }
  return MYNA__MORE;
}

static int at_key(myna__value *v, char c, myna__buf *out) {
  if (blank(c)) return MYNA__MORE;
  if (c == '}') return closed(v, c, out);
  v->key = true;
  if (c == '"' || (c == '\'' && v->dialect == MYNA__VALUE_PYTHON)) {
    open_string(v, c, out);
  } else if (c == '<' && v->dialect == MYNA__VALUE_GEMMA) {
    open_string(v, 0, out);
  } else if (v->dialect == MYNA__VALUE_GEMMA && (letter(c) || digit(c))) {
    begin(v, out);
    myna__buf_str(out, "\"");
    myna__buf_add(out, &c, 1);
    v->state = BARE_KEY;
  } else {
    return MYNA__BAD;
  }
  return MYNA__MORE;
}

static int at_next(myna__value *v, char c, myna__buf *out) {
  if (blank(c)) return MYNA__MORE;
  if (c != ',') return closed(v, c, out);
  v->comma = true;
  v->state = top(v) == '{' ? KEY : VALUE;
  return MYNA__MORE;
}

/* ---- reading ---- */

/* One byte; *again: the state changed before it was used. */
static int byte(myna__value *v, char c, bool *again, myna__buf *out) {
  *again = false;
  switch ((enum state)v->state) {
  case VALUE:
  case FIRST: return at_value(v, c, out);
  case KEY: return at_key(v, c, out);
  case COLON:
    if (blank(c)) return MYNA__MORE;
    if (c != ':') return MYNA__BAD;
    myna__buf_str(out, ": ");
    v->key = false;
    v->state = VALUE;
    return MYNA__MORE;
  case NEXT: return at_next(v, c, out);
  case STRING: *again = !in_string(v, c, out); return MYNA__MORE;
  case ESCAPE: escape(v, c, out); return MYNA__MORE;
  case HEX: return hex(v, c, out);
  case QUOTE1:
    *again = c != v->quote;
    v->state = *again ? STRING : QUOTE2;
    return MYNA__MORE;
  case QUOTE2:
    *again = c != v->quote;
    v->triple = !*again;
    v->state = STRING;
    if (*again) end_string(v, out);
    return MYNA__MORE;
  case GEMMA_QUOTE:
    if (c != mark_of(v)[v->matched]) return MYNA__BAD;
    if (!mark_of(v)[++v->matched]) v->matched = 0, v->state = STRING;
    return MYNA__MORE;
  case NUMBER: {
    uint8_t next = number_next(v->number, c);
    if (next != NO_NUMBER) {
      v->number = next;
      myna__buf_add(out, &c, 1);
      return MYNA__MORE;
    }
    *again = true;
    if (!number_whole(v->number) || letter(c) || digit(c) || c == '.') return MYNA__BAD;
    ended(v);
    return MYNA__MORE;
  }
  case WORD:
    if (letter(c) || digit(c)) {
      if (v->n_word >= sizeof v->word - 1) return MYNA__BAD;
      v->word[v->n_word++] = c;
      return MYNA__MORE;
    }
    *again = true;
    return end_word(v, out);
  case BARE_KEY:
    if (letter(c) || digit(c) || c == '-' || c == '.' || c == '$') {
      myna__buf_add(out, &c, 1);
      return MYNA__MORE;
    }
    *again = true;
    end_string(v, out);
    return MYNA__MORE;
  default: return MYNA__BAD;
  }
}

/* Nothing follows: what ends by what follows it ends here. */
static int at_end(myna__value *v, myna__buf *out) {
  if (v->depth) return MYNA__MORE;
  if (v->state == NUMBER && number_whole(v->number)) ended(v);
  if (v->state == WORD && end_word(v, out) < 0) return MYNA__BAD;
  if (v->state == QUOTE2) end_string(v, out);
  return v->state == DONE ? MYNA__GOOD : MYNA__MORE;
}

int myna__value_read(myna__value *v, const char *s, size_t n, bool last, size_t *used, myna__buf *out) {
  size_t i = 0;
  int rc = MYNA__MORE;
  while (i < n && rc == MYNA__MORE && v->state != DONE) {
    if (v->state == STRING && !v->matched) {
      size_t k = plain(v, s + i, n - i);
      text(v, s + i, k, out);
      i += k;
      if (i == n) break;
    }
    bool again;
    rc = byte(v, s[i], &again, out);
    if (!again && rc == MYNA__MORE) i++;
  }
  *used = i;
  if (rc == MYNA__BAD) return rc;
  if (v->state == DONE) return MYNA__GOOD;
  return last ? at_end(v, out) : MYNA__MORE;
}

size_t myna__value_word(const myna__value *v, const char **word) {
  *word = v->word;
  return v->state == WORD ? v->n_word : 0;
}

void myna__value_close(myna__value *v, myna__buf *out) {
  bool half = v->state == COLON; /* a key alone */
  if (v->state == STRING || v->state == ESCAPE || v->state == HEX || v->state == QUOTE1 || v->state == QUOTE2 ||
      v->state == GEMMA_QUOTE || v->state == BARE_KEY) {
    half = v->key;
    end_string(v, out);
  } else if (v->state == NUMBER && !number_whole(v->number)) {
    myna__buf_str(out, "0");
  } else if (v->state == WORD || (v->state == VALUE && (!v->depth || (top(v) == '{' && !v->comma)))) {
    begin(v, out);
    myna__buf_str(out, "null");
  }
  if (half) myna__buf_str(out, ": null");
  for (v->comma = false; v->depth; v->depth--) myna__buf_str(out, top(v) == '{' ? "}" : "]");
  v->state = DONE;
}
