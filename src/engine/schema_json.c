/* schema_json.c: a schema's JSON as a tree that remembers order, places and how numbers were written; decimal numbers. */
#include "engine/schema.h"
#include "formats/jsonread.h"
#include <stdio.h>

void *myna__sc_alloc(myna__sc *c, size_t n) {
  if (n > MYNA__SC_MEMORY || c->arena.total > MYNA__SC_MEMORY) return NULL;
  return myna__arena_alloc(&c->arena, n ? n : 1);
}

int myna__sc_burn(myna__sc *c, int64_t units) {
  c->fuel -= units;
  return c->fuel < 0 ? myna__sc_fail(c, MYNA_E_LIMIT, "the schema is too complex") : 0;
}

void myna__sc_say(myna__sc *c, int code, const char *fmt, ...) {
  char where[256] = "#", what[256];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  if (c->at) myna__sj_pointer(c->at, where, sizeof where);
  myna__err(c->err, code, "%s: %s", where, what);
}

int myna__sc_grow(myna__sc *c, void **p, int n, int *cap, size_t elem) {
  if (n < *cap) return 0;
  int more = *cap ? *cap * 2 : 8;
  void *q = myna__sc_alloc(c, (size_t)more * elem);
  if (!q) return myna__sc_nomem(c);
  if (n) memcpy(q, *p, (size_t)n * elem);
  *p = q;
  *cap = more;
  return 0;
}

/* ---- tree ---- */

typedef struct reader {
  myna__sc *c;
  myna__json j;
  int n;
} reader;

static myna__str keep(reader *r, myna__str s) {
  char *p = myna__arena_strndup(&r->c->arena, s.p, s.n);
  return (myna__str){p, p ? s.n : 0};
}

/* Names twice in one object are refused: readers do not agree which one counts. */
static int check_names(reader *r, const myna__jnode *object) {
  myna__map names = {0};
  int rc = 0;
  for (myna__jnode *m = object->first; m && rc >= 0; m = m->next) {
    rc = myna__map_put(&names, m->key.p, m->key.n, 1, r->c->err);
    if (rc == 0) {
      r->c->at = m;
      rc = myna__sc_fail(r->c, MYNA_E_FORMAT, "the name is used twice");
    }
  }
  myna__map_free(&names);
  return rc < 0 ? rc : 0;
}

static int read_token(reader *r, myna__jnode *parent, myna__str key, myna__jnode **out) {
  myna__jnode *v = myna__sc_alloc(r->c, sizeof *v);
  if (!v) return myna__sc_nomem(r->c);
  static const struct {
    myna__json_token token;
    myna__jkind kind;
  } kinds[] = {{MYNA__JSON_OBJECT, MYNA__J_OBJECT}, {MYNA__JSON_ARRAY, MYNA__J_ARRAY},
               {MYNA__JSON_STRING, MYNA__J_STRING}, {MYNA__JSON_NUMBER, MYNA__J_NUMBER},
               {MYNA__JSON_TRUE, MYNA__J_TRUE},     {MYNA__JSON_FALSE, MYNA__J_FALSE},
               {MYNA__JSON_NULL, MYNA__J_NULL}};
  for (size_t i = 0; i < MYNA__COUNT(kinds); i++)
    if (kinds[i].token == r->j.token) v->kind = kinds[i].kind;
  v->key = key;
  v->id = r->n++;
  v->parent = parent;
  if (v->kind == MYNA__J_STRING || v->kind == MYNA__J_NUMBER) {
    v->text = keep(r, r->j.str);
    if (!v->text.p) return myna__sc_nomem(r->c);
  }
  if (parent) {
    v->index = parent->n++;
    *(parent->last ? &parent->last->next : &parent->first) = v;
    parent->last = v;
  }
  *out = v;
  return 0;
}

static int read_tree(reader *r, myna__jnode **out) {
  myna__jnode *open = NULL;
  *out = NULL;
  for (;;) {
    myna__str key = {NULL, 0};
    TRY_N(myna__json_next(&r->j));
    if (r->j.token == MYNA__JSON_END) return 0;
    if (r->j.token == MYNA__JSON_KEY) {
      key = keep(r, r->j.str);
      if (!key.p) return myna__sc_nomem(r->c);
      TRY_N(myna__json_next(&r->j));
    }
    if (r->j.token == MYNA__JSON_OBJECT_END || r->j.token == MYNA__JSON_ARRAY_END) {
      if (!open)
        return myna__sc_fail(r->c, MYNA_E_FORMAT, "an end without a beginning"); /* the reader refuses it first */
      if (open->kind == MYNA__J_OBJECT) TRY(check_names(r, open));
      open = open->parent;
      continue;
    }
    myna__jnode *v = NULL;
    TRY(read_token(r, open, key, &v));
    if (!*out) *out = v;
    if (v->kind == MYNA__J_OBJECT || v->kind == MYNA__J_ARRAY) open = v;
  }
}

int myna__sj_parse(myna__sc *c, const char *text, size_t n, myna__jnode **out) {
  reader r = {.c = c};
  if (n > MYNA__SC_TEXT) return myna__sc_fail(c, MYNA_E_LIMIT, "the schema is longer than %d bytes", MYNA__SC_TEXT);
  myna__json_init(&r.j, (const uint8_t *)text, n, "schema", 0, c->err);
  int rc = read_tree(&r, out);
  myna__json_free(&r.j);
  return rc < 0 ? rc : 0;
}

myna__jnode *myna__sj_get_str(const myna__jnode *object, myna__str name) {
  if (object->kind != MYNA__J_OBJECT) return NULL;
  for (myna__jnode *m = object->first; m; m = m->next)
    if (m->key.n == name.n && memcmp(m->key.p, name.p, name.n) == 0) return m;
  return NULL;
}

myna__jnode *myna__sj_get(const myna__jnode *object, const char *name) {
  return myna__sj_get_str(object, (myna__str){name, strlen(name)});
}

myna__jnode *myna__sj_new(myna__sc *c, const myna__jnode *at, myna__jkind kind) {
  myna__jnode *v = myna__sc_alloc(c, sizeof *v);
  if (!v) return NULL;
  v->kind = kind;
  v->color = 2; /* nothing to check */
  v->id = --c->made;
  v->parent = (myna__jnode *)(uintptr_t)at;
  return v;
}

int myna__sj_append(myna__sc *c, myna__jnode *to, myna__str key, const myna__jnode *v) {
  if (!to || !v) return myna__sc_nomem(c);
  myna__jnode *copy = myna__sc_alloc(c, sizeof *copy);
  if (!copy) return myna__sc_nomem(c);
  *copy = *v;
  copy->key = key;
  copy->next = NULL;
  copy->index = to->n++;
  *(to->last ? &to->last->next : &to->first) = copy;
  to->last = copy;
  return 0;
}

/* The reader bounds the depth of trees, and with it that of these recursions. */
bool myna__sj_equal(const myna__jnode *a, const myna__jnode *b) {
  if (a->kind != b->kind || a->n != b->n) return false;
  if (a->kind == MYNA__J_NUMBER) {
    myna__dec x, y;
    if (myna__dec_parse(&x, a->text) && myna__dec_parse(&y, b->text)) return myna__dec_cmp(&x, &y) == 0;
  }
  if (a->kind <= MYNA__J_STRING)
    return a->text.n == b->text.n && (!a->text.n || !memcmp(a->text.p, b->text.p, a->text.n));
  for (const myna__jnode *x = a->first, *y = b->first; x; x = x->next, y = y ? y->next : NULL) {
    const myna__jnode *other = a->kind == MYNA__J_ARRAY ? y : myna__sj_get_str(b, x->key);
    if (!other || !myna__sj_equal(x, other)) return false;
  }
  return true;
}

void myna__sj_dump_string(myna__buf *b, myna__str s) {
  static const char shorts[] = "btnvfr"; /* from 8 on; v is none of JSON's */
  myna__buf_str(b, "\"");
  for (size_t i = 0; i < s.n; i++) {
    uint8_t ch = (uint8_t)s.p[i];
    if (ch == '"' || ch == '\\')
      myna__buf_printf(b, "\\%c", ch);
    else if (ch >= 8 && ch <= 13 && ch != 11)
      myna__buf_printf(b, "\\%c", shorts[ch - 8]);
    else if (ch < 0x20)
      myna__buf_printf(b, "\\u%04x", ch);
    else
      myna__buf_add(b, s.p + i, 1);
  }
  myna__buf_str(b, "\"");
}

void myna__sj_dump(myna__buf *b, const myna__jnode *v) {
  static const char *const words[] = {"null", "false", "true"};
  if (v->kind <= MYNA__J_TRUE)
    myna__buf_str(b, words[v->kind]);
  else if (v->kind == MYNA__J_NUMBER)
    myna__buf_add(b, v->text.p, v->text.n);
  else if (v->kind == MYNA__J_STRING)
    myna__sj_dump_string(b, v->text);
  else {
    bool object = v->kind == MYNA__J_OBJECT;
    myna__buf_str(b, object ? "{" : "[");
    for (const myna__jnode *m = v->first; m; m = m->next) {
      if (m != v->first) myna__buf_str(b, ",");
      if (object) {
        myna__sj_dump_string(b, m->key);
        myna__buf_str(b, ":");
      }
      myna__sj_dump(b, m);
    }
    myna__buf_str(b, object ? "}" : "]");
  }
}

static size_t put(char *buf, size_t n, size_t at, char ch) {
  if (at + 1 < n) buf[at++] = ch;
  buf[at] = 0;
  return at;
}

void myna__sj_pointer(const myna__jnode *v, char *buf, size_t n) {
  const myna__jnode *path[MYNA__SC_CHAIN * 2];
  int depth = 0;
  for (; v && v->parent && depth < MYNA__SC_CHAIN * 2; v = v->parent) path[depth++] = v;
  size_t at = put(buf, n, 0, '#');
  while (depth-- > 0) {
    const myna__jnode *m = path[depth];
    at = put(buf, n, at, '/');
    char number[16];
    snprintf(number, sizeof number, "%d", m->index);
    myna__str s = m->parent->kind == MYNA__J_ARRAY ? (myna__str){number, strlen(number)} : m->key;
    for (size_t i = 0; i < s.n; i++) {
      char ch = s.p[i];
      if (ch == '~' || ch == '/') {
        at = put(buf, n, at, '~');
        ch = ch == '~' ? '0' : '1';
      }
      at = put(buf, n, at, (uint8_t)ch < 0x20 ? '?' : ch);
    }
  }
}

/* ---- decimal numbers ---- */

bool myna__dec_parse(myna__dec *d, myna__str s) {
  *d = (myna__dec){0};
  size_t i = 0;
  bool neg = s.n && s.p[0] == '-', fraction = false, overflow = false;
  for (i = neg; i < s.n && s.p[i] != 'e' && s.p[i] != 'E'; i++) {
    if (s.p[i] == '.') {
      fraction = true;
      continue;
    }
    int digit = s.p[i] - '0';
    if (digit == 0 && d->n == 0) {
      d->point -= fraction;
      continue;
    }
    if (d->n < MYNA__DEC_DIGITS)
      d->d[d->n++] = (uint8_t)digit;
    else if (digit)
      overflow = true;
    if (!fraction) d->point++;
  }
  int64_t e = 0;
  if (i < s.n) {
    bool minus = i + 1 < s.n && s.p[i + 1] == '-';
    for (i++; i < s.n; i++)
      if (s.p[i] >= '0' && s.p[i] <= '9' && e < 1000000) e = e * 10 + (s.p[i] - '0');
    if (minus) e = -e;
  }
  while (d->n && d->d[d->n - 1] == 0) d->n--;
  d->neg = neg && d->n;
  d->point = d->n ? d->point + (int)e : 0;
  return !overflow && e < 100000 && e > -100000;
}

int myna__dec_cmp(const myna__dec *a, const myna__dec *b) {
  if (a->neg != b->neg) return a->neg ? -1 : 1;
  int sign = a->neg ? -1 : 1;
  if (!a->n || !b->n) return a->n ? sign : b->n ? -sign : 0;
  if (a->point != b->point) return a->point < b->point ? -sign : sign;
  for (int i = 0; i < a->n || i < b->n; i++) {
    int x = i < a->n ? a->d[i] : 0, y = i < b->n ? b->d[i] : 0;
    if (x != y) return x < y ? -sign : sign;
  }
  return 0;
}

bool myna__dec_is_int(const myna__dec *a) { return a->n <= a->point || a->n == 0; }
