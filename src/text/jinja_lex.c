/* jinja_lex.c: a template's text into tokens. Owns whitespace control: trim_blocks (the newline behind a block tag goes), lstrip_blocks (the blanks
 * before one on its line go), and the signs - and + of tags. */
#include "text/jinja_node.h"
#include <errno.h>
#include <stdlib.h>
#include <utf8proc.h>

typedef struct lexer {
  myna__arena *a;
  const char *p; /* whole source */
  size_t n, at;
  int line;
  jtok *toks;
  int64_t n_toks, cap;
  myna_err *err;
} lexer;

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c) || (unsigned char)c >= 0x80;
}

static int bad(lexer *x, const char *what) {
  return myna__err(x->err, MYNA_E_FORMAT, "template line %d: %s", x->line, what);
}

void *myna__jinja_room(myna__arena *a, void *p, int64_t n, int64_t *cap, size_t elem) {
  if (n < *cap) return p;
  int64_t more = *cap ? *cap * 2 : 4;
  void *q = myna__arena_alloc(a, (size_t)more * elem);
  if (q && n) memcpy(q, p, (size_t)n * elem);
  if (q) *cap = more;
  return q;
}

static int push(lexer *x, jtok_type type, myna__str s, jtok **out) {
  jtok *t = myna__jinja_room(x->a, x->toks, x->n_toks, &x->cap, sizeof *t);
  if (!t) return myna__err(x->err, MYNA_E_NOMEM, "no memory for a template");
  x->toks = t;
  x->toks[x->n_toks] = (jtok){.type = type, .line = x->line, .s = s};
  if (out) *out = &x->toks[x->n_toks];
  x->n_toks++;
  return 0;
}

static void advance(lexer *x, size_t to) {
  for (; x->at < to; x->at++) x->line += x->p[x->at] == '\n';
}

static bool starts(const lexer *x, size_t at, const char *z) {
  size_t n = strlen(z);
  return x->n - at >= n && memcmp(x->p + at, z, n) == 0;
}

/* Where the text before the tag at `tag` ends, by the tag's sign or by lstrip_blocks. */
static size_t data_end(const lexer *x, size_t from, size_t tag) {
  char sign = tag + 2 < x->n ? x->p[tag + 2] : 0;
  size_t e = tag;
  if (sign == '-') {
    while (e > from && is_space(x->p[e - 1])) e--;
    return e;
  }
  if (sign == '+' || x->p[tag + 1] == '{') return tag;
  while (e > from && is_space(x->p[e - 1]) && x->p[e - 1] != '\n') e--;
  if (e > from) return x->p[e - 1] == '\n' ? e : tag;
  return from == 0 || x->p[from - 1] == '\n' ? e : tag;
}

/* Passes what goes behind a tag's end: everything blank after '-', one newline where `trim`. */
static void after_tag(lexer *x, char sign, bool trim) {
  size_t to = x->at;
  if (sign == '-')
    while (to < x->n && is_space(x->p[to])) to++;
  else if (trim && sign != '+' && to < x->n && x->p[to] == '\n')
    to++;
  advance(x, to);
}

static void put_utf8(char **w, uint32_t c) {
  utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)*w);
  *w += n;
}

static int hex(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One escape at p[*i] (the byte after the backslash): writes it and passes it. */
static void escape(const char *p, size_t n, size_t *i, char **w) {
  static const char from[] = "ntrbfav\\'\"", to[] = "\n\t\r\b\f\a\v\\'\"";
  char c = p[(*i)++];
  const char *k = c ? strchr(from, c) : NULL;
  if (k) {
    *(*w)++ = to[k - from];
    return;
  }
  if (c == '\n') return;
  if (c >= '0' && c <= '7') {
    uint32_t v = (uint32_t)(c - '0');
    for (int d = 0; d < 2 && *i < n && p[*i] >= '0' && p[*i] <= '7'; d++) v = v * 8 + (uint32_t)(p[(*i)++] - '0');
    put_utf8(w, v);
    return;
  }
  int want = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  uint32_t v = 0;
  size_t k0 = *i;
  int d = 0;
  for (; d < want && k0 < n && hex(p[k0]) >= 0; d++) v = v << 4 | (uint32_t)hex(p[k0++]);
  if (want && d == want && v <= 0x10FFFF && !(v >= 0xD800 && v < 0xE000)) {
    *i = k0;
    put_utf8(w, v);
    return;
  }
  *(*w)++ = '\\';
  *(*w)++ = c;
}

static int lex_string(lexer *x) {
  char quote = x->p[x->at];
  size_t s = x->at + 1, e = s;
  while (e < x->n && x->p[e] != quote) e += x->p[e] == '\\' && e + 1 < x->n ? 2 : 1;
  if (e >= x->n) return bad(x, "a string does not end");
  char *buf = myna__arena_alloc(x->a, e - s + 1), *w = buf;
  if (!buf) return myna__err(x->err, MYNA_E_NOMEM, "no memory for a template");
  for (size_t i = s; i < e;)
    if (x->p[i] == '\\' && i + 1 < e)
      i++, escape(x->p, e, &i, &w);
    else
      *w++ = x->p[i++];
  TRY(push(x, JT_STRING, (myna__str){buf, (size_t)(w - buf)}, NULL));
  advance(x, e + 1);
  return 0;
}

static int lex_number(lexer *x) {
  char buf[64];
  size_t k = 0, at = x->at;
  bool real = false;
  bool item =
      x->n_toks && x->toks[x->n_toks - 1].type == JT_OP && myna__str_eq(x->toks[x->n_toks - 1].s, "."); /* a.0.1 */
  int base = 10;
  if (x->p[at] == '0' && at + 2 < x->n) {
    char c = (char)(x->p[at + 1] | 32);
    base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
    if (base != 10) at += 2;
  }
  for (; at < x->n; at++) {
    char c = x->p[at];
    if (c == '_') continue;
    bool exponent = base == 10 && (c | 32) == 'e' && at + 1 < x->n &&
                    (is_digit(x->p[at + 1]) ||
                     ((x->p[at + 1] == '-' || x->p[at + 1] == '+') && at + 2 < x->n && is_digit(x->p[at + 2])));
    bool point = !item && base == 10 && c == '.' && !real && at + 1 < x->n && is_digit(x->p[at + 1]);
    if (!(base == 16 ? hex(c) >= 0 : is_digit(c)) && !exponent && !point) break;
    real = real || exponent || point;
    if (k + 2 >= sizeof buf) return bad(x, "a number is too long");
    buf[k++] = c;
    if (exponent) buf[k++] = x->p[++at];
  }
  buf[k] = 0;
  jtok *t = NULL;
  TRY(push(x, real ? JT_FLOAT : JT_INT, (myna__str){x->p + x->at, at - x->at}, &t));
  errno = 0;
  if (!t) return MYNA_E_NOMEM;
  if (real)
    t->f = strtod(buf, NULL);
  else
    t->i = (int64_t)strtoll(buf, NULL, base);
  if (!real && errno) return bad(x, "an integer is too large");
  advance(x, at);
  return 0;
}

static int lex_op(lexer *x) {
  static const char *const two[] = {"==", "!=", "<=", ">=", "//", "**"};
  for (size_t i = 0; i < MYNA__COUNT(two); i++)
    if (starts(x, x->at, two[i])) {
      TRY(push(x, JT_OP, (myna__str){two[i], 2}, NULL));
      x->at += 2;
      return 0;
    }
  char c = x->p[x->at];
  if (!c || !strchr("+-*/%~<>=()[]{}.,:|;", c)) return bad(x, "an unexpected character in a tag");
  TRY(push(x, JT_OP, (myna__str){x->p + x->at, 1}, NULL));
  x->at++;
  return 0;
}

/* The inside of a tag up to its end. */
static int lex_tag(lexer *x, bool block) {
  const char *end = block ? "%}" : "}}";
  TRY(push(x, block ? JT_BLOCK_BEGIN : JT_VAR_BEGIN, (myna__str){0}, NULL));
  x->at += 2;
  if (x->at < x->n && (x->p[x->at] == '-' || x->p[x->at] == '+')) x->at++;
  for (int64_t depth = 0;;) {
    while (x->at < x->n && is_space(x->p[x->at])) advance(x, x->at + 1);
    if (x->at >= x->n) return bad(x, "a tag does not end");
    char c = x->p[x->at];
    bool sign = (c == '-' || (c == '+' && block)) && starts(x, x->at + 1, end);
    if (depth == 0 && (sign || starts(x, x->at, end))) {
      TRY(push(x, block ? JT_BLOCK_END : JT_VAR_END, (myna__str){0}, NULL));
      x->at += sign ? 3 : 2;
      after_tag(x, sign ? c : 0, block);
      return 0;
    }
    if (c == '(' || c == '[' || c == '{') depth++;
    if ((c == ')' || c == ']' || c == '}') && depth > 0) depth--;
    if (c == '\'' || c == '"') {
      TRY(lex_string(x));
    } else if (is_digit(c)) {
      TRY(lex_number(x));
    } else if (is_name(c)) {
      size_t e = x->at;
      while (e < x->n && is_name(x->p[e])) e++;
      TRY(push(x, JT_NAME, (myna__str){x->p + x->at, e - x->at}, NULL));
      x->at = e;
    } else {
      TRY(lex_op(x));
    }
  }
}

/* Is the block tag at `at` {% word %}? *end is behind it, *sign the one at its end. */
static bool word_tag(const lexer *x, size_t at, const char *word, size_t *end, char *sign) {
  at += 2;
  if (at < x->n && (x->p[at] == '-' || x->p[at] == '+')) at++;
  while (at < x->n && is_space(x->p[at])) at++;
  if (!starts(x, at, word)) return false;
  at += strlen(word);
  while (at < x->n && is_space(x->p[at])) at++;
  *sign = at < x->n && (x->p[at] == '-' || x->p[at] == '+') ? x->p[at] : 0;
  if (*sign) at++;
  *end = at + 2;
  return at < x->n && starts(x, at, "%}");
}

static int lex_raw(lexer *x, size_t end, char sign) {
  advance(x, end);
  after_tag(x, sign, false);
  for (size_t at = x->at; at + 1 < x->n; at++) {
    size_t e;
    char s;
    if (x->p[at] != '{' || x->p[at + 1] != '%' || !word_tag(x, at, "endraw", &e, &s)) continue;
    TRY(push(x, JT_DATA, (myna__str){x->p + x->at, data_end(x, x->at, at) - x->at}, NULL));
    advance(x, e);
    after_tag(x, s, true);
    return 0;
  }
  return bad(x, "a raw block does not end");
}

static int lex_comment(lexer *x) {
  for (size_t at = x->at + 2; at + 1 < x->n; at++) {
    if (x->p[at] != '#' || x->p[at + 1] != '}') continue;
    char sign = at > x->at + 2 ? x->p[at - 1] : 0;
    advance(x, at + 2);
    after_tag(x, sign == '-' || sign == '+' ? sign : 0, true);
    return 0;
  }
  return bad(x, "a comment does not end");
}

static int lex_piece(lexer *x) {
  size_t at = x->at;
  while (at < x->n && !(x->p[at] == '{' && at + 1 < x->n && strchr("{%#", x->p[at + 1]) && x->p[at + 1])) at++;
  size_t end = at < x->n ? data_end(x, x->at, at) : x->n;
  if (end > x->at) TRY(push(x, JT_DATA, (myna__str){x->p + x->at, end - x->at}, NULL));
  advance(x, at);
  if (at >= x->n) return 0;
  size_t e;
  char sign;
  if (x->p[at + 1] == '#') return lex_comment(x);
  if (x->p[at + 1] == '%' && word_tag(x, at, "raw", &e, &sign)) return lex_raw(x, e, sign);
  return lex_tag(x, x->p[at + 1] == '%');
}

int myna__jinja_lex(myna__arena *a, myna__str src, jtok **out, int64_t *n, myna_err *err) {
  lexer x = {.a = a, .p = src.p, .n = src.n, .line = 1, .err = err};
  if (x.n && x.p[x.n - 1] == '\n') x.n--; /* keep_trailing_newline is off */
  while (x.at < x.n) TRY(lex_piece(&x));
  TRY(push(&x, JT_EOF, (myna__str){0}, NULL));
  *out = x.toks;
  *n = x.n_toks;
  return 0;
}
