/* grammar_regex.c: regular expressions and lists of choices into a tree. A regular expression matches the whole text; anchors may stand only where
 * they change nothing. */
#include "engine/grammar.h"
#include <stdlib.h>

typedef struct reader {
  myna__tree *t;
  const char *text, *p, *end;
  myna_err *err;
  int depth;
} reader;

#define FAIL(r, code, ...) refuse(r, code, __VA_ARGS__)

static int refuse(reader *r, int code, const char *what) {
  if (r->err && !r->err->code) {
    myna__err(r->err, code, "regular expression, byte %lld: %s", (long long)(r->p - r->text), what);
    r->err->offset = r->p - r->text;
  }
  return code;
}

static int peek(const reader *r) { return r->p < r->end ? (uint8_t)*r->p : -1; }
static bool take(reader *r, const char *s) {
  size_t n = strlen(s);
  if ((size_t)(r->end - r->p) < n || memcmp(r->p, s, n) != 0) return false;
  r->p += n;
  return true;
}

/* Of an escape: so many digits, or any number of them in braces. */
static int hex(reader *r, int digits, uint32_t *c) {
  bool braced = take(r, "{");
  int n = myna__gram_hex(r->p, r->end, braced ? 8 : digits, c);
  r->p += n;
  if (braced ? n == 0 || !take(r, "}") : n < digits) return FAIL(r, MYNA_E_FORMAT, "hexadecimal digits are expected");
  if (*c > 0x10FFFF) return FAIL(r, MYNA_E_FORMAT, "no character has this number");
  return 0;
}

static const myna__range digits[] = {{'0', '9'}}, word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                         space[] = {{'\t', '\r'}, {' ', ' '}};

/* \d and the like: adds their ranges and is true. */
static int shorthand(reader *r, int e) {
  static const struct {
    char letter;
    const myna__range *ranges;
    size_t n;
  } rows[] = {{'d', digits, 1}, {'w', word, 4}, {'s', space, 2}};
  for (size_t k = 0; k < MYNA__COUNT(rows); k++) {
    if ((e | 0x20) != rows[k].letter) continue;
    bool negate = e < 'a';
    uint32_t from = 0;
    for (size_t i = 0; i < rows[k].n; i++) {
      const myna__range *x = &rows[k].ranges[i];
      if (!negate) TRY(myna__tree_range(r->t, x->lo, x->hi, r->err));
      if (negate) TRY(myna__tree_range(r->t, from, x->lo - 1, r->err));
      from = x->hi + 1;
    }
    if (negate) TRY(myna__tree_range(r->t, from, 0x10FFFF, r->err));
    return 1;
  }
  return 0;
}

/* Behind a backslash: one character. */
static int escape(reader *r, bool in_class, uint32_t *c) {
  static const char from[] = "tnrfv0ae", to[] = "\t\n\r\f\v\0\a\033";
  int e = peek(r);
  if (e < 0) return FAIL(r, MYNA_E_FORMAT, "the expression ends within an escape");
  r->p++;
  if (e == 'x' || e == 'u') return hex(r, e == 'x' ? 2 : 4, c);
  if (e == 'b' && in_class) {
    *c = '\b';
    return 0;
  }
  const char *k = e ? strchr(from, e) : NULL;
  if (k) {
    *c = (uint8_t)to[k - from];
    return 0;
  }
  if ((e >= '0' && e <= '9') || (e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z')) {
    r->p--;
    return FAIL(r, MYNA_E_UNSUPPORTED, "this escape is not supported (backreferences, boundaries, properties)");
  }
  r->p--;
  int len = myna__gram_decode(r->p, (size_t)(r->end - r->p), c);
  if (len == 0) return FAIL(r, MYNA_E_FORMAT, "the expression is not UTF-8");
  r->p += len;
  return 0;
}

/* One end of a range: 1 when it was a shorthand, whose ranges are added. */
static int class_char(reader *r, uint32_t *c) {
  if (take(r, "\\")) {
    int e = peek(r);
    int rc = e > 0 ? shorthand(r, e) : 0;
    if (rc != 0) {
      r->p++;
      return rc;
    }
    return escape(r, true, c);
  }
  if (peek(r) == '[' && r->p + 1 < r->end && strchr(":.=", r->p[1]))
    return FAIL(r, MYNA_E_UNSUPPORTED, "named classes are not supported");
  int len = myna__gram_decode(r->p, (size_t)(r->end - r->p), c);
  if (len == 0)
    return FAIL(r, MYNA_E_FORMAT, peek(r) < 0 ? "a class without closing ]" : "the expression is not UTF-8");
  r->p += len;
  return 0;
}

static int32_t class_of(reader *r) {
  int64_t first = r->t->n_ranges;
  bool negate = take(r, "^"), started = false;
  while (peek(r) != ']' || !started) {
    uint32_t lo = 0, hi = 0;
    if (!started && peek(r) == ']') break; /* as in ECMAScript: [] is nothing, [^] is anything */
    started = true;
    int rc = class_char(r, &lo);
    if (rc < 0) return rc;
    if (rc > 0) continue;
    hi = lo;
    if (peek(r) == '-' && r->p + 1 < r->end && r->p[1] != ']') {
      r->p++;
      rc = class_char(r, &hi);
      if (rc < 0) return rc;
      if (rc > 0) return FAIL(r, MYNA_E_FORMAT, "a range must end with a character");
    }
    if (hi < lo) return FAIL(r, MYNA_E_FORMAT, "a range that goes down");
    TRY(myna__tree_range(r->t, lo, hi, r->err));
  }
  r->p++;
  return myna__tree_set(r->t, first, negate, r->err);
}

/* {m}, {m,}, {m,n}; 0 when it is none: then the brace is a character. */
static int braces(reader *r, int32_t *min, int32_t *max) {
  const char *p = r->p + 1;
  int n = myna__gram_count(p, r->end, min);
  if (n == 0) return 0;
  *max = *min;
  p += MYNA__MAX(n, 0);
  if (n > 0 && p < r->end && *p == ',') {
    int32_t last;
    p++;
    n = myna__gram_count(p, r->end, &last);
    *max = n == 0 ? -1 : last;
    p += MYNA__MAX(n, 0);
  }
  if (n < 0) return FAIL(r, n, "too many repetitions");
  if (p == r->end || *p != '}') return 0;
  if (*max >= 0 && *max < *min) return FAIL(r, MYNA_E_FORMAT, "a repetition at least more often than at most");
  r->p = p + 1;
  return 1;
}

static int32_t quantified(reader *r, int32_t item) {
  int32_t min = 0, max = -1;
  int c = peek(r);
  if (c == '{') {
    int rc = braces(r, &min, &max);
    if (rc <= 0) return rc < 0 ? rc : item;
  } else if (c == '*' || c == '+' || c == '?') {
    min = c == '+';
    max = c == '?' ? 1 : -1;
    r->p++;
  } else {
    return item;
  }
  if (peek(r) == '?') r->p++; /* lazy: the same texts */
  if (peek(r) == '+') return FAIL(r, MYNA_E_UNSUPPORTED, "possessive repetitions are not supported");
  if (peek(r) == '*' || peek(r) == '?') return FAIL(r, MYNA_E_FORMAT, "nothing to repeat");
  return myna__tree_rep(r->t, item, min, max, r->err);
}

/* first: nothing stands before; *ended: an anchor said that nothing may come behind. */
static int32_t alternatives(reader *r, bool first, bool *ended);

static int32_t group(reader *r, bool first, bool *ended) {
  if (take(r, "?")) {
    if (take(r, "<") || take(r, "P<")) {
      if (peek(r) == '=' || peek(r) == '!') return FAIL(r, MYNA_E_UNSUPPORTED, "lookaround is not supported");
      while (peek(r) >= 0 && peek(r) != '>') r->p++;
      if (!take(r, ">")) return FAIL(r, MYNA_E_FORMAT, "a group's name without >");
    } else if (!take(r, ":")) {
      return FAIL(r, MYNA_E_UNSUPPORTED, "this kind of group is not supported (lookaround, flags, atomic)");
    }
  }
  int32_t inner = alternatives(r, first, ended);
  if (inner < 0) return inner;
  if (!take(r, ")")) return FAIL(r, MYNA_E_FORMAT, "a ( without )");
  return inner;
}

static int32_t item_of(reader *r, bool first, bool *ended) {
  int64_t from = r->t->n_ranges;
  uint32_t c = 0;
  char bytes[4];
  if (take(r, "(")) return group(r, first, ended);
  if (take(r, "[")) return class_of(r);
  if (take(r, ".")) {
    TRY(myna__tree_range(r->t, '\n', '\n', r->err));
    return myna__tree_set(r->t, from, true, r->err);
  }
  if (peek(r) == '*' || peek(r) == '+' || peek(r) == '?') return FAIL(r, MYNA_E_FORMAT, "nothing to repeat");
  if (take(r, "\\")) {
    int rc = peek(r) > 0 ? shorthand(r, peek(r)) : 0;
    if (rc < 0) return rc;
    if (rc > 0) {
      r->p++;
      return myna__tree_set(r->t, from, false, r->err);
    }
    TRY(escape(r, false, &c));
    if (c >= 0xD800 && c <= 0xDFFF) return FAIL(r, MYNA_E_FORMAT, "a surrogate is no character");
  } else {
    int len = myna__gram_decode(r->p, (size_t)(r->end - r->p), &c);
    if (len == 0) return FAIL(r, MYNA_E_FORMAT, "the expression is not UTF-8");
    r->p += len;
  }
  return myna__tree_lit(r->t, bytes, (size_t)myna__gram_encode(c, bytes), r->err);
}

static int32_t sequence(reader *r, bool first, bool *ended) {
  int32_t seq = myna__tree_add(r->t, (myna__tree_node){.kind = MYNA__TREE_SEQ, .a = -1}, r->err);
  while (seq >= 0 && peek(r) >= 0 && peek(r) != '|' && peek(r) != ')') {
    if (take(r, "^")) {
      if (!first) return FAIL(r, MYNA_E_UNSUPPORTED, "^ is supported only at the beginning");
      continue;
    }
    if (take(r, "$")) {
      *ended = true;
      continue;
    }
    if (*ended) return FAIL(r, MYNA_E_UNSUPPORTED, "$ is supported only at the end");
    int32_t item = item_of(r, first, ended), whole;
    if (item < 0) return item;
    whole = quantified(r, item);
    if (whole < 0) return whole;
    if (whole != item && *ended) return FAIL(r, MYNA_E_UNSUPPORTED, "$ is supported only at the end");
    first = false;
    myna__tree_append(r->t, seq, whole);
  }
  return seq;
}

static int32_t alternatives(reader *r, bool first, bool *ended) {
  if (++r->depth > MYNA__TREE_DEPTH) return FAIL(r, MYNA_E_LIMIT, "nested too deeply");
  int32_t alt = myna__tree_add(r->t, (myna__tree_node){.kind = MYNA__TREE_ALT, .a = -1}, r->err);
  do {
    bool end = false;
    int32_t seq = alt < 0 ? alt : sequence(r, first, &end);
    if (seq < 0) return seq;
    myna__tree_append(r->t, alt, seq);
    *ended |= end;
  } while (take(r, "|"));
  r->depth--;
  return alt;
}

int myna__regex_parse(myna__tree *t, const char *text, size_t n, myna_err *err) {
  reader r = {.t = t, .text = text, .p = text, .end = text + n, .err = err};
  bool ended = false;
  if (n > (size_t)1 << 20) return myna__err(err, MYNA_E_LIMIT, "the regular expression has more than 1 MB");
  int32_t rule = myna__tree_rule_of(t, "root", 4, 1, err);
  if (rule < 0) return rule;
  int32_t body = alternatives(&r, true, &ended);
  if (body < 0) return body;
  if (r.p < r.end) return FAIL(&r, MYNA_E_FORMAT, "a ) without (");
  t->rules[rule].body = body;
  return 0;
}

/* ---- choices ---- */

typedef struct choice {
  const char *p;
  size_t n;
} choice;

static int by_bytes(const void *a, const void *b) {
  const choice *x = a, *y = b;
  int c = memcmp(x->p, y->p, MYNA__MIN(x->n, y->n));
  return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

static size_t common(const choice *a, const choice *b) {
  size_t n = 0;
  while (n < a->n && n < b->n && a->p[n] == b->p[n]) n++;
  return n;
}

/* What c[0..n), sorted and all different, go on with behind their first `at` bytes, which are the same: what they share further, then one
 * alternative per next byte. */
static int32_t branch(myna__tree *t, const choice *c, int64_t n, size_t at, int depth, myna_err *err) {
  if (depth > MYNA__TREE_DEPTH) { /* one by one from here on */
    int32_t alt = myna__tree_add(t, (myna__tree_node){.kind = MYNA__TREE_ALT, .a = -1}, err);
    for (int64_t i = 0; i < n && alt >= 0; i++) {
      int32_t lit = myna__tree_lit(t, c[i].p + at, c[i].n - at, err);
      if (lit < 0) return lit;
      myna__tree_append(t, alt, lit);
    }
    return alt;
  }
  size_t same = common(&c[0], &c[n - 1]);
  int32_t seq = myna__tree_add(t, (myna__tree_node){.kind = MYNA__TREE_SEQ, .a = -1}, err);
  int32_t lit = seq < 0 ? seq : myna__tree_lit(t, c[0].p + at, same - at, err);
  if (lit < 0) return lit;
  myna__tree_append(t, seq, lit);
  if (n == 1) return seq;
  int32_t alt = myna__tree_add(t, (myna__tree_node){.kind = MYNA__TREE_ALT, .a = -1}, err);
  for (int64_t from = 0, to; from < n && alt >= 0; from = to) {
    to = from + 1;
    while (to < n && c[from].n > same && c[to].p[same] == c[from].p[same]) to++;
    int32_t one = branch(t, c + from, to - from, same, depth + 1, err);
    if (one < 0) return one;
    myna__tree_append(t, alt, one);
  }
  if (alt < 0) return alt;
  myna__tree_append(t, seq, alt);
  return seq;
}

static int check_choice(const choice *c, int i, myna_err *err) {
  for (size_t k = 0; k < c->n;) {
    uint32_t x;
    int len = myna__gram_decode(c->p + k, c->n - k, &x);
    if (len == 0) return myna__err(err, MYNA_E_FORMAT, "choice %d is not UTF-8", i);
    k += (size_t)len;
  }
  return 0;
}

int myna__choices_parse(myna__tree *t, const char *const *texts, int n, myna_err *err) {
  if (n < 1 || !texts) return myna__err(err, MYNA_E_FORMAT, "there are no choices");
  if (n > 1 << 18) return myna__err(err, MYNA_E_LIMIT, "%d choices", n);
  choice *c = myna__calloc((size_t)n * sizeof *c);
  if (!c) return myna__err(err, MYNA_E_NOMEM, "no memory for %d choices", n);
  int rc = 0;
  for (int i = 0; i < n && rc == 0; i++) {
    rc = texts[i] ? 0 : myna__err(err, MYNA_E_ARG, "choice %d is NULL", i);
    if (rc == 0 && texts[i]) c[i] = (choice){texts[i], strlen(texts[i])};
    if (rc == 0) rc = check_choice(&c[i], i, err);
  }
  int32_t rule = rc < 0 ? rc : myna__tree_rule_of(t, "root", 4, 1, err), body = rule;
  if (rule >= 0) {
    int64_t k = 0;
    qsort(c, (size_t)n, sizeof *c, by_bytes);
    for (int i = 1; i < n; i++)
      if (by_bytes(&c[k], &c[i]) != 0) c[++k] = c[i];
    body = branch(t, c, k + 1, 0, 0, err);
  }
  if (body >= 0) t->rules[rule].body = body;
  myna__free(c, (size_t)n * sizeof *c);
  return body < 0 ? body : 0;
}
