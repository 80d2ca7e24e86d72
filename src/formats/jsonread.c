/* jsonread.c: the pull reader as a state machine over one contiguous document (RFC 8259).
 * Invariants: pos <= size; a container's kind is bit `depth - 1` of objects; after a failure nothing is read. */
#include "formats/jsonread.h"
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUE, FIRST_VALUE, FIRST_KEY, NEXT_KEY, AFTER }; /* what may come next */

static const char *const token_names[] = {"the end",
                                          "an object",
                                          "the end of the object",
                                          "an array",
                                          "the end of the array",
                                          "a key",
                                          "a string",
                                          "a number",
                                          "true",
                                          "false",
                                          "null"};

void myna__json_init(myna__json *j, const uint8_t *bytes, size_t n, const char *file, int64_t base, myna_err *err) {
  *j = (myna__json){.data = bytes, .size = n, .file = file, .base = base, .err = err, .state = VALUE};
}

void myna__json_free(myna__json *j) { myna__buf_free(&j->scratch); }

static int fail_at(myna__json *j, size_t at, const char *reason) {
  return j->failed = myna__err_at(j->err, MYNA_E_FORMAT, j->file, j->base + (int64_t)at, "JSON: %s", reason);
}

/* What was wanted, and what is there instead. */
static int fail_wanted(myna__json *j, const char *wanted) {
  char reason[160];
  uint8_t c = j->pos < j->size ? j->data[j->pos] : 0;
  if (j->pos >= j->size)
    snprintf(reason, sizeof reason, "the text ends where %s must follow", wanted);
  else if (c > 0x20 && c < 0x7F)
    snprintf(reason, sizeof reason, "expected %s, found '%c'", wanted, c);
  else
    snprintf(reason, sizeof reason, "expected %s, found byte 0x%02x", wanted, c);
  return fail_at(j, j->pos, reason);
}

int myna__json_fail(myna__json *j, int code, const char *fmt, ...) {
  char reason[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(reason, sizeof reason, fmt, ap);
  va_end(ap);
  return j->failed = myna__err_at(j->err, code, j->file, j->base + (int64_t)j->at, "%s", reason);
}

static void skip_space(myna__json *j) {
  while (j->pos < j->size) {
    uint8_t c = j->data[j->pos];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
    j->pos++;
  }
}

/* ---- strings ---- */

/* First byte at or after pos that is not a plain ASCII character of a string; 8 bytes at a time. A false alarm of
 * the borrow only ends the fast loop early. */
static size_t plain_run(const myna__json *j, size_t pos) {
  const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
  for (; pos + 8 <= j->size; pos += 8) {
    uint64_t v;
    memcpy(&v, j->data + pos, 8);
    if (((v - ones * 0x20) | ((v ^ ones * '"') - ones) | ((v ^ ones * '\\') - ones) | v) & high) break;
  }
  while (pos < j->size && j->data[pos] >= 0x20 && j->data[pos] < 0x80 && j->data[pos] != '"' && j->data[pos] != '\\')
    pos++;
  return pos;
}

/* Four hex digits at pos; -1 when they are not. */
static int hex4(const myna__json *j, size_t pos) {
  int v = 0;
  if (j->size - pos < 4) return -1;
  for (int i = 0; i < 4; i++) {
    int c = j->data[pos + (size_t)i], low = c | 0x20;
    int digit = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
    if (digit < 0) return -1;
    v = v * 16 + digit;
  }
  return v;
}

static int add_code_point(myna__json *j, uint32_t c) {
  char b[4];
  int n;
  if (c < 0x80) {
    b[0] = (char)c;
    n = 1;
  } else {
    n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6) b[i] = (char)(0x80 | (c & 0x3F));
    b[0] = (char)((0xF00u >> n & 0xFF) | c);
  }
  myna__buf_add(&j->scratch, b, (size_t)n);
  return 0;
}

/* \uXXXX with pos at the first digit; a high surrogate takes its partner with it. */
static int unicode_escape(myna__json *j) {
  size_t at = j->pos - 2;
  int c = hex4(j, j->pos);
  if (c < 0) return fail_at(j, at, "\\u needs four hexadecimal digits");
  j->pos += 4;
  if (c < 0xD800 || c > 0xDFFF) return add_code_point(j, (uint32_t)c);
  int low = -1;
  if (c < 0xDC00 && j->size - j->pos >= 6 && j->data[j->pos] == '\\' && j->data[j->pos + 1] == 'u')
    low = hex4(j, j->pos + 2);
  if (low < 0xDC00 || low > 0xDFFF) return fail_at(j, at, "a surrogate escape without its partner");
  j->pos += 6;
  return add_code_point(j, 0x10000u + ((uint32_t)(c - 0xD800) << 10) + (uint32_t)(low - 0xDC00));
}

/* pos at the backslash. */
static int escape(myna__json *j) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (j->size - j->pos < 2) return fail_at(j, j->pos, "the text ends inside a string");
  char c = (char)j->data[j->pos + 1];
  j->pos += 2;
  if (c == 'u') return unicode_escape(j);
  const char *which = c ? strchr(from, c) : NULL;
  if (!which) return fail_at(j, j->pos - 2, "unknown escape in a string");
  myna__buf_add(&j->scratch, to + (which - from), 1);
  return 0;
}

/* pos at the opening quote. Without escapes the result borrows from the document. */
static int string(myna__json *j) {
  size_t start = ++j->pos; /* of the part not yet in scratch */
  j->borrowed = true;
  j->scratch.len = 0;
  for (;;) {
    j->pos = plain_run(j, j->pos);
    if (j->pos >= j->size) return fail_at(j, j->at, "the text ends inside this string");
    uint8_t c = j->data[j->pos];
    if (c == '"') break;
    if (c < 0x20) return fail_at(j, j->pos, "a control character in a string must be escaped");
    if (c >= 0x80) {
      int n = myna__utf8_len(j->data + j->pos, j->size - j->pos);
      if (n == 0) return fail_at(j, j->pos, "a string is not valid UTF-8");
      j->pos += (size_t)n;
      continue;
    }
    j->borrowed = false;
    myna__buf_add(&j->scratch, j->data + start, j->pos - start);
    TRY(escape(j));
    start = j->pos;
  }
  if (j->borrowed) {
    j->str = (myna__str){(const char *)j->data + start, j->pos - start};
  } else {
    myna__buf_add(&j->scratch, j->data + start, j->pos - start);
    if (j->scratch.failed) return j->failed = myna__err(j->err, MYNA_E_NOMEM, "no memory for a JSON string");
    j->str = (myna__str){j->scratch.data ? j->scratch.data : "", j->scratch.len};
  }
  j->pos++;
  return 0;
}

/* ---- other values ---- */

static bool digits(myna__json *j) {
  size_t start = j->pos;
  while (j->pos < j->size && j->data[j->pos] >= '0' && j->data[j->pos] <= '9') j->pos++;
  return j->pos > start;
}

static bool take(myna__json *j, const char *any) {
  if (j->pos >= j->size || !j->data[j->pos] || !strchr(any, j->data[j->pos])) return false;
  j->pos++;
  return true;
}

static int number(myna__json *j) {
  take(j, "-");
  if (!take(j, "0") && !digits(j)) return fail_wanted(j, "a digit");
  if (take(j, ".") && !digits(j)) return fail_wanted(j, "a digit after the decimal point");
  if (take(j, "eE")) {
    take(j, "+-");
    if (!digits(j)) return fail_wanted(j, "a digit of the exponent");
  }
  j->str = (myna__str){(const char *)j->data + j->at, j->pos - j->at};
  j->borrowed = true;
  return 0;
}

static int literal(myna__json *j, const char *word, myna__json_token token) {
  size_t n = strlen(word);
  if (j->size - j->pos < n || memcmp(j->data + j->pos, word, n) != 0) return fail_wanted(j, "a value");
  j->pos += n;
  return token;
}

static int open_container(myna__json *j, bool object) {
  if (j->depth == MYNA__JSON_DEPTH) return fail_at(j, j->pos, "nested too deeply");
  uint64_t bit = (uint64_t)1 << (j->depth % 64), *word = &j->objects[j->depth / 64];
  *word = object ? *word | bit : *word & ~bit;
  j->depth++;
  j->pos++;
  j->state = object ? FIRST_KEY : FIRST_VALUE;
  return object ? MYNA__JSON_OBJECT : MYNA__JSON_ARRAY;
}

static bool in_object(const myna__json *j) { return j->objects[(j->depth - 1) / 64] >> ((j->depth - 1) % 64) & 1; }

static int close_container(myna__json *j) {
  int token = in_object(j) ? MYNA__JSON_OBJECT_END : MYNA__JSON_ARRAY_END;
  j->depth--;
  j->pos++;
  j->state = AFTER;
  return token;
}

static int value(myna__json *j) {
  int c = j->pos < j->size ? j->data[j->pos] : -1;
  if (c == '{' || c == '[') return open_container(j, c == '{');
  j->state = AFTER;
  if (c == '"') return string(j) < 0 ? j->failed : MYNA__JSON_STRING;
  if (c == 't') return literal(j, "true", MYNA__JSON_TRUE);
  if (c == 'f') return literal(j, "false", MYNA__JSON_FALSE);
  if (c == 'n') return literal(j, "null", MYNA__JSON_NULL);
  if (c == '-' || (c >= '0' && c <= '9')) return number(j) < 0 ? j->failed : MYNA__JSON_NUMBER;
  if (c == 0xEF && j->pos == 0) return fail_at(j, 0, "starts with a byte order mark");
  return fail_wanted(j, "a value");
}

static int key(myna__json *j) {
  if (j->pos >= j->size || j->data[j->pos] != '"') return fail_wanted(j, "a key in quotes");
  TRY(string(j));
  skip_space(j);
  if (j->pos >= j->size || j->data[j->pos] != ':') return fail_wanted(j, "':' after the key");
  j->pos++;
  j->state = VALUE;
  return MYNA__JSON_KEY;
}

static int read_token(myna__json *j) {
  skip_space(j);
  if (j->state == AFTER) {
    if (j->depth == 0) {
      j->at = j->pos;
      return j->pos < j->size ? fail_wanted(j, "nothing after the end of the document") : MYNA__JSON_END;
    }
    bool object = in_object(j);
    int c = j->pos < j->size ? j->data[j->pos] : -1;
    j->at = j->pos;
    if (c == (object ? '}' : ']')) return close_container(j);
    if (c != ',') return fail_wanted(j, object ? "',' or '}'" : "',' or ']'");
    j->pos++;
    skip_space(j);
    j->state = object ? NEXT_KEY : VALUE;
  }
  j->at = j->pos;
  int c = j->pos < j->size ? j->data[j->pos] : -1;
  if ((j->state == FIRST_KEY && c == '}') || (j->state == FIRST_VALUE && c == ']')) return close_container(j);
  return j->state == FIRST_KEY || j->state == NEXT_KEY ? key(j) : value(j);
}

int myna__json_next(myna__json *j) {
  if (j->failed) return j->failed;
  int token = read_token(j);
  if (token >= 0) j->token = (myna__json_token)token;
  return token;
}

/* ---- reading what is expected ---- */

int myna__json_is(myna__json *j, myna__json_token token) {
  if (j->failed) return j->failed;
  if (j->token == token) return 0;
  return myna__json_fail(j, MYNA_E_FORMAT, "JSON: expected %s, found %s", token_names[token], token_names[j->token]);
}

int myna__json_expect(myna__json *j, myna__json_token token) {
  TRY_N(myna__json_next(j));
  return myna__json_is(j, token);
}

int myna__json_key(myna__json *j) {
  TRY_N(myna__json_next(j));
  if (j->token == MYNA__JSON_OBJECT_END) return 0;
  TRY(myna__json_is(j, MYNA__JSON_KEY));
  return 1;
}

int myna__json_item(myna__json *j) {
  TRY_N(myna__json_next(j));
  return j->token != MYNA__JSON_ARRAY_END;
}

int myna__json_skip(myna__json *j) {
  if (j->token == MYNA__JSON_KEY) TRY_N(myna__json_next(j));
  if (j->token != MYNA__JSON_OBJECT && j->token != MYNA__JSON_ARRAY) return j->failed;
  for (int outside = j->depth - 1; j->depth > outside;) TRY_N(myna__json_next(j));
  return 0;
}

/* ---- numbers ---- */

/* Magnitude and sign of an integer's text. */
static int integer(myna__json *j, bool *negative, uint64_t *magnitude) {
  TRY(myna__json_is(j, MYNA__JSON_NUMBER));
  char quote[MYNA__QUOTE];
  size_t i = *negative = j->str.p[0] == '-';
  uint64_t v = 0;
  for (; i < j->str.n; i++) {
    if (j->str.p[i] < '0' || j->str.p[i] > '9' || (*negative && j->str.n == 2 && j->str.p[1] == '0'))
      return myna__json_fail(j, MYNA_E_FORMAT, "JSON: %s is not an integer", myna__str_quote(quote, j->str));
    if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(j->str.p[i] - '0'), &v))
      return myna__json_fail(j, MYNA_E_FORMAT, "JSON: %s is out of range", myna__str_quote(quote, j->str));
  }
  *magnitude = v;
  return 0;
}

int myna__json_i64(myna__json *j, int64_t *out) {
  bool negative = false;
  uint64_t v = 0;
  TRY(integer(j, &negative, &v));
  if (v > (uint64_t)INT64_MAX + negative) {
    char quote[MYNA__QUOTE];
    return myna__json_fail(j, MYNA_E_FORMAT, "JSON: %s is out of range", myna__str_quote(quote, j->str));
  }
  *out = negative ? (int64_t)(0 - v) : (int64_t)v;
  return 0;
}

int myna__json_u64(myna__json *j, uint64_t *out) {
  bool negative = false;
  uint64_t v = 0;
  TRY(integer(j, &negative, &v));
  if (negative)
    return myna__json_fail(j, MYNA_E_FORMAT, "JSON: expected a number >= 0, found -%llu", (unsigned long long)v);
  *out = v;
  return 0;
}

/* strtod is correctly rounded but follows the program's locale: give it the decimal point it wants. */
int myna__json_f64(myna__json *j, double *out) {
  TRY(myna__json_is(j, MYNA__JSON_NUMBER));
  char text[400];
  const char *point = localeconv()->decimal_point;
  size_t n = 0, n_point = strlen(point);
  if (j->str.n + n_point >= sizeof text)
    return myna__json_fail(j, MYNA_E_LIMIT, "JSON: a number of %zu characters is too long", j->str.n);
  for (size_t i = 0; i < j->str.n; i++) {
    if (j->str.p[i] != '.') {
      text[n++] = j->str.p[i];
    } else {
      memcpy(text + n, point, n_point);
      n += n_point;
    }
  }
  text[n] = 0;
  double v = strtod(text, NULL);
  if (!isfinite(v)) {
    char quote[MYNA__QUOTE];
    return myna__json_fail(j, MYNA_E_FORMAT, "JSON: %s is out of range", myna__str_quote(quote, j->str));
  }
  *out = v;
  return 0;
}

int myna__json_bool(myna__json *j, bool *out) {
  if (j->failed) return j->failed;
  if (j->token != MYNA__JSON_TRUE && j->token != MYNA__JSON_FALSE)
    return myna__json_fail(j, MYNA_E_FORMAT, "JSON: expected true or false, found %s", token_names[j->token]);
  *out = j->token == MYNA__JSON_TRUE;
  return 0;
}
