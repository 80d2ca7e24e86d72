/* chat_params.c: calls whose arguments stand one by one: tags with text as values, which the function's schema types, and Python's keyword arguments. */
#include "text/chat_parse.h"
#include <stdio.h>

typedef myna_chat_parser parser;
enum { NAME, PARAMS, KEY, OPEN, VALUE, STRING, WHOLE, CDATA, CDATA_END };
enum { MAX_KEY = MYNA__CALL_NAME };
static const char cdata[] = "<![CDATA[", cdata_end[] = "]]>";

/* ---- values by type ---- */

/* Text as a value of JSON or of Python, all of it. */
static bool literal(myna__buf *out, const char *s, size_t n) {
  for (int d = MYNA__VALUE_JSON; d <= MYNA__VALUE_PYTHON; d++) {
    myna__value v = {.dialect = (myna__value_dialect)d};
    size_t used = 0, before = out->len;
    int rc = myna__value_read(&v, s, n, true, &used, out);
    if (rc == GOOD && used + myna__blanks(s + used, n - used) == n) return true;
    out->len = before;
  }
  return false;
}

/* Text as a value whose quotes have backslashes before them. */
static bool unescaped(myna__buf *out, const char *s, size_t n) {
  myna__buf text = {0};
  myna__buf_str(&text, "\"");
  for (size_t i = 0; i < n; i++) /* line breaks do not stand in strings of JSON */
    myna__buf_add(&text, s[i] == '\n' || s[i] == '\t' ? " " : s + i, 1);
  myna__buf_str(&text, "\"");
  json_t *v = text.failed ? NULL : json_loadb(text.data, text.len, JSON_DECODE_ANY, NULL);
  bool ok = json_is_string(v) && literal(out, json_string_value(v), json_string_length(v));
  json_decref(v);
  myna__buf_free(&text);
  return ok;
}

void myna__call_typed(myna__buf *out, const char *text, size_t n, unsigned types) {
  size_t from = myna__blanks(text, n), to = myna__unblanked(text, n);
  bool null = to >= from && to - from == 4 && memcmp(text + from, "null", 4) == 0;
  if (types & MYNA__TYPE_STRING ? null && types & MYNA__TYPE_NULL : to > from) {
    bool list = text[from] == '[' || text[from] == '{', quoted = text[from] == '"' || text[from] == '\'';
    /* Where the type is not known a value in quotes is text with its quotes, as the model wrote it. */
    if ((types || list || !quoted) && literal(out, text + from, to - from)) return;
    /* Some models write objects and lists as they would stand within a string. */
    if (types && list && unescaped(out, text + from, to - from)) return;
  }
  myna__buf_str(out, "\"");
  myna__value_escape(out, text, n);
  myna__buf_str(out, "\"");
}

static void put_key(myna__call *c, const char *key, size_t n) {
  myna__buf_str(&c->args, c->n_params++ ? ", \"" : "{\"");
  myna__value_escape(&c->args, key, n);
  myna__buf_str(&c->args, "\": ");
  c->value = (myna__value){0};
  c->seen = 0;
}

/* ---- a parameter that is all arguments ---- */

/* A parameter of this name that the function lacks may hold its arguments. */
static bool is_wrapper(const parser *p, const char *key) {
  const myna__call *c = &p->call;
  if (!p->f->unwrap || c->n_params || (strcmp(key, "arguments") != 0 && strcmp(key, "input") != 0)) return false;
  return json_object_size(json_object_get(c->schema, "properties")) &&
         !myna__chat_sub(c->schema, c->schema, key, strlen(key));
}

/* It was no wrapper: the parameter as it stands. */
static void keep_wrapper(myna__call *c) {
  c->wrapped = false;
  put_key(c, c->key, strlen(c->key));
  myna__call_typed(&c->args, c->other.data, c->other.len, c->types);
  c->other.len = 0;
}

/* Nothing stood beside it: its members are the arguments if the function has them all. */
static bool unwrapped(myna__call *c) {
  const char *key;
  json_t *v, *o = c->other.len ? json_loadb(c->other.data, c->other.len, 0, NULL) : NULL;
  bool all = json_is_object(o);
  json_object_foreach(o, key, v) all = all && myna__chat_sub(c->schema, c->schema, key, strlen(key));
  json_decref(o);
  if (all)
    myna__call_typed(&c->args, c->other.data, c->other.len, MYNA__TYPE_OBJECT);
  else
    keep_wrapper(c);
  return all;
}

/* ---- tags ---- */

static int tag_name(parser *p, const char *s, size_t n, size_t *used) {
  const char *sep = p->f->sep;
  size_t at = 0, to, behind;
  at = myna__blanks(s, n);
  for (to = at; to < n && to - at <= MYNA__CALL_NAME && myna__name_char(s[to]); to++) {}
  if (to - at > MYNA__CALL_NAME) return BAD;
  if (to == n) return MORE;
  behind = to + (*sep ? 0 : myna__blanks(s + to, n - to));
  if (behind == n) return MORE;
  int rc = *sep ? myna__begins(s + behind, n - behind, sep) : myna__begins(s + behind, n - behind, p->f->param);
  if (!*sep && rc != GOOD) {
    int end = myna__begins(s + behind, n - behind, p->f->close);
    if (end != BAD) rc = end;
  }
  if (rc != GOOD) return rc;
  if (!myna__call_named(p, s + at, to - at)) return BAD;
  *used = behind + strlen(sep);
  p->call.phase = PARAMS;
  myna__parse_tell_call(p);
  return MORE;
}

/* The next parameter or the end of the call. */
static int tag_next(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  size_t at = myna__blanks(s, n);
  *used = at;
  if (at == n) return MORE;
  int end = myna__begins(s + at, n - at, p->f->close), param = myna__begins(s + at, n - at, p->f->param);
  if (end == GOOD) {
    *used = at + strlen(p->f->close);
    if (c->wrapped && unwrapped(c)) return GOOD;
    myna__buf_str(&c->args, c->n_params ? "}" : "{}");
    return GOOD;
  }
  if (c->scheme == MYNA__CALLS_NESTED &&
      param == GOOD) { /* every tag begins like that: what follows must be none that closes */
    size_t len = at + strlen(p->f->param);
    if (len + 2 > n) return MORE;
    if (s[len] != '<' || s[len + 1] == '/') return end == MORE ? MORE : BAD;
    *used = len + 1;
    c->phase = KEY;
    return MORE;
  }
  if (param == GOOD) {
    if (c->wrapped) keep_wrapper(c);
    *used = at + strlen(p->f->param);
    c->phase = KEY;
    return MORE;
  }
  return end == MORE || param == MORE ? MORE : BAD;
}

static int tag_key(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  const struct myna__chat_format *f = p->f;
  const char *sep = c->scheme == MYNA__CALLS_NESTED ? ">" : f->param_sep;
  size_t window = MYNA__MIN(n, (size_t)MAX_KEY + 64);
  const char *end = memmem(s, window, sep, strlen(sep));
  if (!end) return n < (size_t)MAX_KEY + 64 ? MORE : BAD;
  size_t len = (size_t)(end - s), attr = len;
  const char *quote = f->attr ? memchr(s, '"', len) : NULL;
  if (quote) attr = (size_t)(quote - s);
  if (attr == 0 || attr > MAX_KEY) return BAD;
  memcpy(c->key, s, attr);
  c->key[attr] = 0;
  c->wrapped = is_wrapper(p, c->key);
  if (!c->wrapped) put_key(c, s, attr);
  c->type = c->schema ? myna__chat_sub(c->schema, c->schema, s, attr) : NULL;
  c->types = myna__chat_types(c->type, c->schema);
  if (quote && memmem(quote, len - attr, "true", 4))
    c->types = MYNA__TYPE_STRING;
  else if (quote)
    c->types = MYNA__TYPE_OBJECT | MYNA__TYPE_ARRAY | MYNA__TYPE_NULL | MYNA__TYPE_PLAIN;
  *used = len + strlen(sep);
  c->phase = f->value_open ? OPEN : VALUE;
  return MORE;
}

static int tag_open(parser *p, const char *s, size_t n, size_t *used) {
  size_t at = myna__blanks(s, n);
  *used = at;
  int rc = myna__begins(s + at, n - at, p->f->value_open);
  if (rc != GOOD) return rc;
  *used = at + strlen(p->f->value_open);
  p->call.phase = VALUE;
  return MORE;
}

/* ---- ends of values ---- */

/* Where a value ends, and how many bytes of a sign of its own follow it there. */
typedef struct value_end {
  size_t at, sign;
} value_end;

/* Whether s[at..n) goes on, behind blanks, with mark; last: the end of the text does as well. */
static int then(const parser *p, const char *s, size_t n, size_t at, const char *mark) {
  enum { MANY = 64 };
  size_t blanks = myna__blanks(s + at, n - at);
  if (blanks > MANY) return BAD;
  if (at + blanks == n) return p->last ? GOOD : MORE;
  return mark ? myna__begins(s + at + blanks, n - at - blanks, mark) : BAD;
}

/* Values on lines of their own may lack their end sign: the next parameter, or the end of the call, at the start of a line shows it. Text that holds such
 * signs is told from them by what follows: a parameter must be one of the function's, behind the call's end comes that of its section. */
static int lacks_end(const parser *p, const char *s, size_t n) {
  const struct myna__chat_format *f = p->f;
  const myna__call *c = &p->call;
  int param = myna__begins(s, n, f->param), close = myna__begins(s, n, f->close);
  int section = f->section_close ? myna__begins(s, n, f->section_close) : BAD;
  if (param == GOOD) {
    size_t from = strlen(f->param), to = from;
    while (to < n && to - from <= MAX_KEY && myna__name_char(s[to])) to++;
    int sep = to - from > MAX_KEY ? BAD : myna__begins(s + to, n - to, f->param_sep);
    if (sep != GOOD) return sep;
    return c->schema && myna__chat_sub(c->schema, c->schema, s + from, to - from) ? GOOD : BAD;
  }
  bool text = !c->types || c->types & MYNA__TYPE_STRING; /* nothing else has such signs in it */
  if (!text && (close == GOOD || section == GOOD)) return GOOD;
  if (close == GOOD) return then(p, s, n, strlen(f->close), f->section_close);
  if (section == GOOD) return then(p, s, n, strlen(f->section_close), f->section_open);
  return param == MORE || close == MORE || section == MORE ? MORE : BAD;
}

/* Looks for the end of a value in s[from..n): GOOD; MORE: not up to end->at, where it may begin. */
static int find_end(const parser *p, const char *s, size_t n, size_t from, value_end *end) {
  const myna__call *c = &p->call;
  bool lines = p->f->lines && c->scheme == MYNA__CALLS_XML && p->f->param[0] == '<';
  char mark[MAX_KEY + 64];
  if (c->scheme == MYNA__CALLS_NESTED)
    snprintf(mark, sizeof mark, "%.20s</%s>", p->f->param, c->key);
  else
    snprintf(mark, sizeof mark, "%s", p->f->param_end);
  size_t len = strlen(mark);
  for (size_t i = from; i < n; i++) {
    const char *next = memchr(s + i, mark[0], n - i);
    if (!next) break;
    i = (size_t)(next - s);
    int rc = myna__begins(s + i, n - i, mark);
    *end = (value_end){i, rc == GOOD ? len : 0};
    if (rc == BAD && lines && (i ? s[i - 1] == '\n' : !c->seen)) rc = lacks_end(p, s + i, n - i);
    if (rc == GOOD || (rc == MORE && !p->last)) return rc;
  }
  end->at = n;
  return MORE;
}

static int tag_value(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  int rc = c->scheme == MYNA__CALLS_XML ? myna__begins(s, n, cdata) : BAD;
  if (n == 0 || (rc == MORE && !p->last)) return MORE;
  bool text = !c->wrapped &&
              (c->types == MYNA__TYPE_STRING || (c->types & MYNA__TYPE_STRING && c->scheme == MYNA__CALLS_NESTED));
  if (c->wrapped) rc = BAD;
  if (rc == GOOD) {
    *used = strlen(cdata);
    c->phase = CDATA;
  } else {
    c->phase = text ? STRING : WHOLE;
    if (p->f->lines && s[0] == '\n') *used = 1;
  }
  if (c->phase != WHOLE) {
    myna__buf_str(&c->args, "\"");
    c->begun = true; /* a string is open */
  }
  return MORE;
}

/* Text of a string until `fixed`, or where that is NULL the end of a value, of which line breaks before it are no part where values stand on lines. */
static int tag_string(parser *p, const char *s, size_t n, const char *fixed, size_t *used) {
  myna__call *c = &p->call;
  value_end end = {n, 0};
  int rc = MORE;
  if (fixed) {
    size_t m = strlen(fixed);
    const char *at = memmem(s, n, fixed, m);
    size_t hold = MYNA__MIN(n, m - 1);
    while (hold && memcmp(s + n - hold, fixed, hold) != 0) hold--;
    if (at) rc = GOOD;
    end = (value_end){at ? (size_t)(at - s) : p->last ? n : n - hold, m};
  } else {
    rc = find_end(p, s, n, 0, &end);
  }
  size_t told = end.at;
  if (!fixed && p->f->lines && told && s[told - 1] == '\n' && (rc == GOOD || !p->last)) told--;
  myna__value_escape(&c->args, s, told);
  c->seen += told;
  *used = rc == GOOD ? end.at + end.sign : told;
  if (rc != GOOD) return MORE;
  myna__buf_str(&c->args, "\"");
  c->begun = false;
  return GOOD;
}

/* A value that is typed when all of it is there. */
static int tag_whole(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  value_end end;
  int rc = find_end(p, s, n, c->seen, &end);
  c->seen = end.at;
  if (rc != GOOD) return MORE;
  size_t len = end.at;
  *used = end.at + end.sign;
  if (p->f->lines && len && s[len - 1] == '\n') len--;
  if (c->wrapped)
    myna__buf_add(&c->other, s, len);
  else if (c->scheme == MYNA__CALLS_NESTED)
    myna__call_nested(p, s, len, c->type, &c->args);
  else
    myna__call_typed(&c->args, s, len, c->types);
  return GOOD;
}

static int tag_step(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  int rc;
  switch (c->phase) {
  case NAME: return tag_name(p, s, n, used);
  case PARAMS: return tag_next(p, s, n, used);
  case KEY: return tag_key(p, s, n, used);
  case OPEN: return tag_open(p, s, n, used);
  case VALUE: return tag_value(p, s, n, used);
  case CDATA:
    rc = tag_string(p, s, n, cdata_end, used);
    if (rc == GOOD) c->phase = CDATA_END;
    return MORE;
  case CDATA_END:
    *used = myna__blanks(s, n);
    rc = myna__begins(s + *used, n - *used, p->f->param_end);
    if (rc != GOOD) return rc;
    *used += strlen(p->f->param_end);
    break;
  default:
    rc = c->phase == STRING ? tag_string(p, s, n, NULL, used) : tag_whole(p, s, n, used);
    if (rc != GOOD) return rc;
  }
  c->phase = PARAMS;
  return MORE;
}

/* Steps of a call as far as the text goes: each ends in another phase, with GOOD or BAD, or waits for more text. */
static int all_steps(parser *p, int (*step)(parser *, const char *, size_t, size_t *), const char *s, size_t n,
                     size_t *used) {
  for (;;) {
    size_t len = 0;
    int phase = p->call.phase, rc = step(p, s + *used, n - *used, &len);
    *used += len;
    if (p->call.told) myna__parse_tell_call(p);
    if (rc != MORE || phase == p->call.phase) return rc;
  }
}

int myna__call_params(parser *p, const char *s, size_t n, size_t *used) { return all_steps(p, tag_step, s, n, used); }

/* ---- Python ---- */

enum { PY_START, PY_ARG, PY_EQUALS, PY_VALUE, PY_NEXT };

static int py_start(parser *p, const char *s, size_t n, size_t *used) {
  size_t at = myna__blanks(s, n), to;
  if (at == n) return MORE;
  if (s[at] == '[' && !p->in_array) {
    p->in_array = true;
    *used = at + 1;
    at += 1 + myna__blanks(s + at + 1, n - at - 1);
  }
  if (p->f->lines) p->in_array = true;
  for (to = at; to < n && to - at <= MYNA__CALL_NAME && myna__name_char(s[to]); to++) {}
  if (to == n && to - at <= MYNA__CALL_NAME) return MORE;
  if (s[to] != '(' || to == at) return BAD;
  size_t len = to - at;
  if (p->f->scheme == MYNA__CALLS_JSON && len > 5 && memcmp(s + to - 5, ".call", 5) == 0) len -= 5;
  if (!myna__call_named(p, s + at, len)) return BAD;
  *used = to + 1;
  p->call.phase = PY_ARG;
  myna__parse_tell_call(p);
  return MORE;
}

/* The parameter that stands at this place in the function's schema. */
static const char *py_place(const myna__call *c) {
  json_t *all = json_object_get(c->schema, "properties");
  void *it = json_object_iter(all);
  for (int i = 0; i < c->n_params && it; i++) it = json_object_iter_next(all, it);
  return it ? json_object_iter_key(it) : NULL;
}

static int py_arg(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  size_t at = myna__blanks(s, n), to;
  *used = at;
  if (at == n) return MORE;
  if (s[at] == ')') {
    *used = at + 1;
    myna__buf_str(&c->args, c->n_params ? "}" : "{}");
    return GOOD;
  }
  for (to = at; to < n && to - at <= MAX_KEY && myna__name_char(s[to]); to++) {}
  if (to - at > MAX_KEY) return BAD;
  size_t eq = to + (to > at ? myna__blanks(s + to, n - to) : 0);
  if (eq == n) return MORE;
  if (to > at && s[eq] == '=') {
    put_key(c, s + at, to - at);
    *used = eq + 1;
  } else { /* a value by its place */
    const char *key = py_place(c);
    if (!key) return BAD;
    put_key(c, key, strlen(key));
  }
  c->value.dialect = MYNA__VALUE_PYTHON;
  c->begun = true;
  c->phase = PY_VALUE;
  return MORE;
}

static int py_step(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  int rc;
  switch (c->phase) {
  case PY_START: return py_start(p, s, n, used);
  case PY_ARG: return py_arg(p, s, n, used);
  case PY_VALUE:
    rc = myna__value_read(&c->value, s, n, false, used, &c->args);
    if (rc != GOOD) return rc;
    c->begun = false;
    c->phase = PY_NEXT;
    return MORE;
  default:
    *used = myna__blanks(s, n);
    if (*used == n) return MORE;
    c->phase = PY_ARG;
    if (s[*used] == ')') return MORE;
    if (s[*used] != ',') return BAD;
    ++*used;
    return MORE;
  }
}

int myna__call_python(parser *p, const char *s, size_t n, size_t *used) { return all_steps(p, py_step, s, n, used); }

void myna__params_break(parser *p) {
  myna__call *c = &p->call;
  if (c->wrapped && c->phase == PARAMS) keep_wrapper(c);
  if (c->wrapped) put_key(c, c->key, strlen(c->key)); /* its value is missing */
  if (c->scheme == MYNA__CALLS_PYTHON) {
    if (c->begun) myna__value_close(&c->value, &c->args);
  } else if (c->begun) {
    myna__buf_str(&c->args, "\"");
  } else if (c->phase == OPEN || c->phase == VALUE || c->phase == WHOLE) {
    myna__buf_str(&c->args, "null");
  }
  myna__buf_str(&c->args, c->n_params ? "}" : "{}");
}
