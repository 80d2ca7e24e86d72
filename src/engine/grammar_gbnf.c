/* grammar_gbnf.c: reads llama.cpp's GBNF into a tree. Newlines end a rule but inside of parentheses and behind a bar. */
#include "engine/grammar.h"

typedef struct reader {
  myna__tree *t;
  const char *p, *end;
  int64_t line;
  myna_err *err;
  int depth;
} reader;

enum { MAX_TOKEN = 256 };

#define FAIL(r, ...) myna__gram_err((r)->err, MYNA_E_FORMAT, (r)->line, __VA_ARGS__)

static int peek(const reader *r) { return r->p < r->end ? (uint8_t)*r->p : -1; }
static bool at(const reader *r, const char *s) {
  size_t n = strlen(s);
  return (size_t)(r->end - r->p) >= n && memcmp(r->p, s, n) == 0;
}

static void skip(reader *r, bool newlines) {
  for (; r->p < r->end; r->p++) {
    if (*r->p == '#') {
      while (r->p + 1 < r->end && r->p[1] != '\n' && r->p[1] != '\r') r->p++;
    } else if (*r->p == '\n' || *r->p == '\r') {
      if (!newlines) return;
      r->line += *r->p == '\n';
    } else if (*r->p != ' ' && *r->p != '\t') {
      return;
    }
  }
}

static bool is_word(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static int32_t name(reader *r) {
  const char *from = r->p;
  while (is_word(peek(r))) r->p++;
  if (r->p == from) return FAIL(r, "a rule's name is expected");
  return myna__tree_rule_of(r->t, from, (size_t)(r->p - from), (int32_t)r->line, r->err);
}

static int hex(reader *r, int digits, uint32_t *c) {
  int n = myna__gram_hex(r->p, r->end, digits, c);
  r->p += n;
  if (n < digits) return FAIL(r, "%d hexadecimal digits are expected", digits);
  if (*c > 0x10FFFF || (*c >= 0xD800 && *c <= 0xDFFF)) return FAIL(r, "U+%X is no character", *c);
  return 0;
}

/* One character of a literal or class. */
static int character(reader *r, uint32_t *c) {
  if (peek(r) == '\\') {
    static const char from[] = "tnr\\\"[]-^", to[] = "\t\n\r\\\"[]-^";
    r->p++;
    int e = peek(r);
    if (e < 0) return FAIL(r, "the text ends within an escape");
    r->p++;
    if (e == 'x') return hex(r, 2, c);
    if (e == 'u') return hex(r, 4, c);
    if (e == 'U') return hex(r, 8, c);
    const char *k = e ? strchr(from, e) : NULL;
    if (!k) return FAIL(r, "unknown escape \\%c", e >= ' ' && e < 127 ? e : '?');
    *c = (uint8_t)to[k - from];
    return 0;
  }
  int len = myna__gram_decode(r->p, (size_t)(r->end - r->p), c);
  if (len == 0) return FAIL(r, "the text is not UTF-8");
  r->line += *c == '\n';
  r->p += len;
  return 0;
}

static int32_t literal(reader *r) {
  int64_t line = r->line;
  myna__buf b = {0};
  int32_t rc = 0;
  for (r->p++; rc >= 0 && peek(r) != '"';) {
    uint32_t c;
    char bytes[4];
    if (peek(r) < 0) rc = myna__gram_err(r->err, MYNA_E_FORMAT, line, "a text without closing \"");
    if (rc >= 0) rc = character(r, &c);
    if (rc >= 0) myna__buf_add(&b, bytes, (size_t)myna__gram_encode(c, bytes));
  }
  if (rc >= 0 && b.failed) rc = myna__err(r->err, MYNA_E_NOMEM, "no memory for a grammar");
  if (rc >= 0) rc = myna__tree_lit(r->t, b.data, b.len, r->err);
  myna__buf_free(&b);
  r->p++;
  return rc;
}

static int32_t class_of(reader *r) {
  int64_t line = r->line, first = r->t->n_ranges;
  r->p++;
  bool negate = peek(r) == '^';
  if (negate) r->p++;
  while (peek(r) != ']') {
    uint32_t lo = 0, hi;
    if (peek(r) < 0) return myna__gram_err(r->err, MYNA_E_FORMAT, line, "a class without closing ]");
    TRY(character(r, &lo));
    hi = lo;
    if (peek(r) == '-' && r->p + 1 < r->end && r->p[1] != ']') {
      r->p++;
      TRY(character(r, &hi));
    }
    if (hi < lo) return FAIL(r, "a range from U+%X down to U+%X", lo, hi);
    TRY(myna__tree_range(r->t, lo, hi, r->err));
  }
  r->p++;
  return myna__tree_set(r->t, first, negate, r->err);
}

static int number(reader *r, int32_t *x) {
  int n = myna__gram_count(r->p, r->end, x);
  if (n < 0) return myna__gram_err(r->err, n, r->line, "more than %d repetitions", MYNA__REP_MAX);
  if (n == 0) return FAIL(r, "a number is expected");
  r->p += n;
  return 0;
}

static int braces(reader *r, int32_t *min, int32_t *max) {
  r->p++;
  skip(r, false);
  *min = 0;
  if (peek(r) != ',') TRY(number(r, min));
  skip(r, false);
  *max = *min;
  if (peek(r) == ',') {
    r->p++;
    skip(r, false);
    *max = -1;
    if (peek(r) != '}') TRY(number(r, max));
    skip(r, false);
  }
  if (peek(r) != '}') return FAIL(r, "a } is expected");
  r->p++;
  if (*max >= 0 && *max < *min) return FAIL(r, "{%d,%d} repeats at least more often than at most", *min, *max);
  return 0;
}

static int32_t quantified(reader *r, int32_t item, bool nested) {
  for (;;) {
    int32_t min = 0, max = -1;
    skip(r, nested);
    int c = peek(r);
    if (c == '{') {
      TRY(braces(r, &min, &max));
    } else if (c == '*' || c == '+' || c == '?') {
      min = c == '+';
      max = c == '?' ? 1 : -1;
      r->p++;
    } else {
      return item;
    }
    if (++r->depth > MYNA__TREE_DEPTH) return myna__gram_err(r->err, MYNA_E_LIMIT, r->line, "nested too deeply");
    item = myna__tree_rep(r->t, item, min, max, r->err);
    if (item < 0) return item;
  }
}

/* <text>, the one token that this text, with its brackets, is; <[12]>, a token by its number; a ! before: any other. */
static int32_t token(reader *r) {
  bool negate = peek(r) == '!';
  if (negate) r->p++;
  if (peek(r) != '<') return FAIL(r, "< is expected behind !");
  const char *from = r->p, *close = memchr(from, '>', MYNA__MIN((size_t)(r->end - from), (size_t)MAX_TOKEN));
  if (!close || memchr(from, '\n', (size_t)(close - from))) return FAIL(r, "a token without closing >");
  r->p = close + 1;
  if (from[1] != '[') {
    if (close - from < 2) return FAIL(r, "a token without text");
    if (memchr(from, 0, (size_t)(close - from))) return FAIL(r, "a token's text has a NUL");
    return myna__tree_token(r->t, from, (size_t)(r->p - from), -1, negate, r->err);
  }
  int64_t id = 0;
  const char *p = from + 2;
  for (; p < close && *p >= '0' && *p <= '9' && id <= INT32_MAX; p++) id = id * 10 + (*p - '0');
  if (p == from + 2 || p + 1 != close || *p != ']' || id > INT32_MAX) return FAIL(r, "a token's number is expected");
  return myna__tree_token(r->t, NULL, 0, (int32_t)id, negate, r->err);
}

static int32_t alternatives(reader *r, bool nested);

static int32_t item_of(reader *r) {
  int c = peek(r);
  if (c == '"') return literal(r);
  if (c == '[') return class_of(r);
  if (c == '.') {
    int64_t first = r->t->n_ranges;
    r->p++;
    return myna__tree_set(r->t, first, true, r->err);
  }
  if (c == '(') {
    r->p++;
    skip(r, true);
    int32_t inner = alternatives(r, true);
    if (inner < 0) return inner;
    if (peek(r) != ')') return FAIL(r, "a ) is expected");
    r->p++;
    return inner;
  }
  if (c == '<' || c == '!') return token(r);
  int32_t rule = name(r);
  return rule < 0 ? rule : myna__tree_ref(r->t, rule, r->err);
}

static int32_t sequence(reader *r, bool nested) {
  int32_t seq = myna__tree_add(r->t, (myna__tree_node){.kind = MYNA__TREE_SEQ, .a = -1}, r->err);
  if (seq < 0) return seq;
  for (;;) {
    skip(r, nested);
    int c = peek(r);
    if (!is_word(c) && (c <= 0 || !strchr("\"[.(<!", c))) return seq;
    int depth = r->depth;
    int32_t item = item_of(r);
    if (item >= 0) item = quantified(r, item, nested);
    if (item < 0) return item;
    r->depth = depth;
    myna__tree_append(r->t, seq, item);
  }
}

static int32_t alternatives(reader *r, bool nested) {
  if (++r->depth > MYNA__TREE_DEPTH) return myna__gram_err(r->err, MYNA_E_LIMIT, r->line, "nested too deeply");
  int32_t alt = myna__tree_add(r->t, (myna__tree_node){.kind = MYNA__TREE_ALT, .a = -1}, r->err);
  if (alt < 0) return alt;
  for (;;) {
    int32_t seq = sequence(r, nested);
    if (seq < 0) return seq;
    myna__tree_append(r->t, alt, seq);
    if (peek(r) != '|') break;
    r->p++;
    skip(r, true);
  }
  r->depth--;
  return alt;
}

static int rule(reader *r) {
  int64_t line = r->line;
  int32_t k = name(r);
  if (k < 0) return k;
  skip(r, false);
  if (!at(r, "::=")) return FAIL(r, "::= is expected behind \"%.60s\"", r->t->rules[k].name);
  r->p += 3;
  if (r->t->rules[k].body >= 0)
    return myna__gram_err(r->err, MYNA_E_FORMAT, line, "rule \"%.60s\" is defined twice", r->t->rules[k].name);
  skip(r, true);
  int32_t body = alternatives(r, false);
  if (body < 0) return body;
  r->t->rules[k].body = body;
  int c = peek(r);
  if (c >= 0 && c != '\n' && c != '\r') return FAIL(r, "unexpected %c", c >= ' ' && c < 127 ? c : '?');
  skip(r, true);
  return 0;
}

int myna__gbnf_parse(myna__tree *t, const char *text, size_t n, myna_err *err) {
  reader r = {.t = t, .p = text, .end = text + n, .line = 1, .err = err};
  if (n > (size_t)1 << 24) return myna__err(err, MYNA_E_LIMIT, "the grammar has more than 16 MB");
  skip(&r, true);
  while (r.p < r.end) TRY(rule(&r));
  for (int64_t i = 0; i < t->n_rules; i++)
    if (t->rules[i].body < 0)
      return myna__gram_err(err, MYNA_E_FORMAT, t->rules[i].line, "rule \"%.60s\" is not defined", t->rules[i].name);
  return 0;
}
