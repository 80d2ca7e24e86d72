/* jinja_value.c: values: memory, lists, dicts, equality, order, and their text as Python prints it. */
#include "text/jinja_value.h"
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <utf8proc.h>

jv myna__jx_fail(jx *x, int code, const char *fmt, ...) {
  if (x->rc) return jv_undef();
  char msg[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  x->rc = myna__err(x->err, code, "template line %d: %s", x->line, msg);
  return jv_undef();
}

void *myna__jx_alloc(jx *x, size_t n) {
  if (n > x->max_bytes || x->used + n > x->max_bytes) {
    myna__jx_fail(x, MYNA_E_LIMIT, "more than %zu bytes of memory", x->max_bytes);
    return NULL;
  }
  x->used += n + 16;
  void *p = myna__arena_alloc(&x->arena, n ? n : 1);
  if (!p) myna__jx_fail(x, MYNA_E_NOMEM, "no memory");
  return p;
}

bool myna__jx_tick(jx *x, uint64_t n) {
  uint64_t before = x->steps >> 10;
  x->steps += n;
  if (x->steps >> 10 != before && !x->rc && myna__now() > x->deadline)
    myna__jx_fail(x, MYNA_E_LIMIT, "it takes too long");
  return !x->rc;
}

bool myna__jx_enter(jx *x) {
  if (x->rc) return false;
  if (++x->depth <= x->max_depth) return true;
  x->depth--;
  myna__jx_fail(x, MYNA_E_LIMIT, "nested too deep");
  return false;
}

void myna__jbuf_add(jx *x, jbuf *b, const char *p, size_t n) {
  if (x->rc || !n) return;
  if (b->n + n > b->cap) {
    size_t cap = MYNA__MAX(b->cap * 2, MYNA__MAX(b->n + n, (size_t)64));
    char *q = myna__jx_alloc(x, cap);
    if (!q) return;
    if (b->n) memcpy(q, b->p, b->n);
    b->p = q;
    b->cap = cap;
  }
  memcpy(b->p + b->n, p, n);
  b->n += n;
  myna__jx_tick(x, 1 + n / 64);
}

void myna__jbuf_z(jx *x, jbuf *b, const char *z) { myna__jbuf_add(x, b, z, strlen(z)); }

jv myna__jbuf_take(jx *x, jbuf *b) {
  if (b->n > UINT32_MAX) return myna__jx_fail(x, MYNA_E_LIMIT, "a string is too long");
  return jv_str(b->p ? b->p : "", b->n);
}

/* ---- containers ---- */

jv myna__jv_new(jx *x, jtype t) {
  jv v = {.t = t};
  bool dict = t == J_DICT || t == J_NAMESPACE;
  void *p = myna__jx_alloc(x, dict ? sizeof(jdict) : sizeof(jlist));
  if (!p) return jv_undef();
  if (dict)
    v.u.d = p;
  else
    v.u.l = p;
  return v;
}

/* Room for one more of n elements at p: p, or where they are now; NULL when it failed. */
static void *room(jx *x, void *p, int64_t n, int64_t *cap, size_t elem) {
  if (n < *cap) return p;
  int64_t more = *cap ? *cap * 2 : 4;
  void *q = myna__jx_alloc(x, (size_t)more * elem);
  if (q && n) memcpy(q, p, (size_t)n * elem);
  if (q) *cap = more;
  return q;
}

void myna__jlist_add(jx *x, jlist *l, jv v) {
  jv *p = x->rc ? NULL : room(x, l->v, l->n, &l->cap, sizeof *p);
  if (!p) return;
  l->v = p;
  l->v[l->n++] = v;
  myna__jx_tick(x, 1);
}

static uint64_t hash(jx *x, jv k) {
  if (jv_is_num(k)) {
    double f = myna__jv_num(k) + 0.0;
    return myna__hash(&f, sizeof f, x->seed);
  }
  if (k.t == J_STR) {
    myna__jx_tick(x, k.n / 64);
    return myna__hash(k.u.s, k.n, x->seed);
  }
  uint64_t h = (uint64_t)k.t;
  for (int64_t i = 0; k.t == J_TUPLE && i < k.u.l->n && i < 8; i++)
    if (k.u.l->v[i].t != J_TUPLE) h = h * 31 + hash(x, k.u.l->v[i]);
  return h;
}

/* Entry of k, or -1; *slot where it is or would be. */
static int64_t find(jx *x, const jdict *d, jv k, int64_t *slot) {
  if (!d->slot) {
    for (int64_t i = 0; i < d->n; i++)
      if (myna__jv_equal(x, d->e[i].k, k)) return i;
    return -1;
  }
  for (int64_t s = (int64_t)(hash(x, k) & (uint64_t)d->mask);; s = (s + 1) & d->mask) {
    if (slot) *slot = s;
    if (!d->slot[s]) return -1;
    if (myna__jv_equal(x, d->e[d->slot[s] - 1].k, k)) return d->slot[s] - 1;
    if (!myna__jx_tick(x, 1)) return -1;
  }
}

static void index_dict(jx *x, jdict *d, int64_t slots) {
  int32_t *p = myna__jx_alloc(x, (size_t)slots * sizeof *p);
  if (!p) return;
  d->slot = p;
  d->mask = slots - 1;
  for (int64_t i = 0; i < d->n; i++) {
    int64_t s = (int64_t)(hash(x, d->e[i].k) & (uint64_t)d->mask);
    while (p[s]) s = (s + 1) & d->mask;
    p[s] = (int32_t)(i + 1);
  }
}

jv myna__jdict_get(jx *x, const jdict *d, jv k, bool *found) {
  int64_t i = d->n ? find(x, d, k, NULL) : -1;
  if (found) *found = i >= 0;
  return i >= 0 ? d->e[i].v : jv_undef();
}

static bool hashable(jx *x, jv k) {
  if (k.t == J_LIST || jv_is_dict(k) || k.t == J_GEN) {
    myna__jx_fail(x, MYNA_E_ARG, "unhashable type: '%s'", myna__jv_type(k));
    return false;
  }
  return true;
}

void myna__jdict_put(jx *x, jdict *d, jv k, jv v) {
  if (x->rc || !hashable(x, k)) return;
  int64_t slot = 0, i = find(x, d, k, &slot);
  if (i >= 0) {
    d->e[i].v = v;
    return;
  }
  jentry *e = room(x, d->e, d->n, &d->cap, sizeof *e);
  if (!e) return;
  d->e = e;
  d->e[d->n++] = (jentry){k, v};
  if (d->slot && d->n * 2 <= d->mask)
    d->slot[slot] = (int32_t)d->n;
  else if (d->n > 8)
    index_dict(x, d, d->slot ? (d->mask + 1) * 2 : 32);
}

bool myna__jdict_del(jx *x, jdict *d, jv k) {
  int64_t i = find(x, d, k, NULL);
  if (i < 0) return false;
  memmove(d->e + i, d->e + i + 1, (size_t)(d->n - i - 1) * sizeof *d->e);
  d->n--;
  myna__jx_tick(x, (uint64_t)d->n);
  if (d->slot) index_dict(x, d, d->mask + 1);
  return true;
}

jv myna__jv_func(jx *x, jv (*call)(jx *, jfunc *, const jargs *), const char *name, jv self) {
  jfunc *f = myna__jx_alloc(x, sizeof *f);
  if (!f) return jv_undef();
  *f = (jfunc){.call = call, .name = name, .self = self};
  return (jv){.t = J_FUNC, .u.fn = f};
}

jv myna__jv_json(jx *x, const json_t *j) {
  jv v = jv_none();
  if (!myna__jx_enter(x)) return v;
  switch (json_typeof(j)) {
  case JSON_OBJECT: {
    v = myna__jv_new(x, J_DICT);
    const char *key;
    size_t n;
    json_t *e;
    json_object_keylen_foreach((json_t *)j, key, n, e) {
      if (!x->rc) myna__jdict_put(x, v.u.d, jv_str(key, n), myna__jv_json(x, e));
    }
    break;
  }
  case JSON_ARRAY:
    v = myna__jv_new(x, J_LIST);
    for (size_t i = 0; i < json_array_size(j) && !x->rc; i++)
      myna__jlist_add(x, v.u.l, myna__jv_json(x, json_array_get(j, i)));
    break;
  case JSON_STRING: v = jv_str(json_string_value(j), json_string_length(j)); break;
  case JSON_INTEGER: v = jv_int((int64_t)json_integer_value(j)); break;
  case JSON_REAL: v = jv_float(json_real_value(j)); break;
  case JSON_TRUE:
  case JSON_FALSE: v = jv_bool(json_is_true(j)); break;
  case JSON_NULL: break;
  }
  x->depth--;
  return v;
}

/* ---- facts ---- */

const char *myna__jv_type(jv v) {
  static const char *const names[] = {"Undefined", "NoneType", "bool",      "int",  "float",     "str",
                                      "list",      "tuple",    "generator", "dict", "Namespace", "function"};
  return names[v.t];
}

bool myna__jv_true(jv v) {
  switch (v.t) {
  case J_UNDEF:
  case J_NONE: return false;
  case J_BOOL: return v.u.b;
  case J_INT: return v.u.i != 0;
  case J_FLOAT: return v.u.f != 0;
  case J_STR: return v.n != 0;
  case J_LIST:
  case J_TUPLE: return v.u.l->n != 0;
  case J_DICT: return v.u.d->n != 0;
  default: return true;
  }
}

double myna__jv_num(jv v) { return v.t == J_FLOAT ? v.u.f : (double)jv_whole(v); }

static bool seq_equal(jx *x, const jlist *a, const jlist *b) {
  bool same = a->n == b->n;
  for (int64_t i = 0; same && i < a->n; i++) same = myna__jv_equal(x, a->v[i], b->v[i]);
  return same;
}

static bool dict_equal(jx *x, const jdict *a, const jdict *b) {
  bool same = a->n == b->n;
  for (int64_t i = 0; same && i < a->n; i++) {
    bool found;
    jv v = myna__jdict_get(x, b, a->e[i].k, &found);
    same = found && myna__jv_equal(x, a->e[i].v, v);
  }
  return same;
}

bool myna__jv_equal(jx *x, jv a, jv b) {
  if (!myna__jx_tick(x, 1)) return false;
  if (jv_is_num(a) && jv_is_num(b)) {
    if (a.t != J_FLOAT && b.t != J_FLOAT) return jv_whole(a) == jv_whole(b);
    return myna__jv_num(a) == myna__jv_num(b);
  }
  if (a.t != b.t) return false;
  if (a.t == J_STR) {
    if (a.n != b.n) return false;
    myna__jx_tick(x, a.n / 64);
    return a.n == 0 || memcmp(a.u.s, b.u.s, a.n) == 0;
  }
  if (a.t == J_UNDEF || a.t == J_NONE) return true;
  if (a.t == J_FUNC) return a.u.fn == b.u.fn;
  if (!myna__jx_enter(x)) return false;
  bool same = jv_is_dict(a) ? dict_equal(x, a.u.d, b.u.d) : seq_equal(x, a.u.l, b.u.l);
  x->depth--;
  return same;
}

static int text_order(jv a, jv b) {
  size_t n = MYNA__MIN(a.n, b.n);
  int c = n ? memcmp(a.u.s, b.u.s, n) : 0; /* UTF-8 sorts as its characters do */
  return c ? c : (a.n > b.n) - (a.n < b.n);
}

int myna__jv_order(jx *x, jv a, jv b) {
  if (!myna__jx_tick(x, 1)) return 0;
  if (jv_is_num(a) && jv_is_num(b)) {
    if (a.t == J_INT && b.t == J_INT) return (a.u.i > b.u.i) - (a.u.i < b.u.i);
    double p = myna__jv_num(a), q = myna__jv_num(b);
    return (p > q) - (p < q);
  }
  if (a.t == b.t && (a.t == J_NONE || a.t == J_UNDEF)) return 0; /* as the same object in a sort key */
  if (a.t == J_STR && b.t == J_STR) {
    myna__jx_tick(x, MYNA__MIN(a.n, b.n) / 64);
    return text_order(a, b);
  }
  if (jv_is_seq(a) && a.t == b.t) {
    if (!myna__jx_enter(x)) return 0;
    int c = 0;
    for (int64_t i = 0; c == 0 && i < a.u.l->n && i < b.u.l->n; i++) c = myna__jv_order(x, a.u.l->v[i], b.u.l->v[i]);
    x->depth--;
    return c ? c : (a.u.l->n > b.u.l->n) - (a.u.l->n < b.u.l->n);
  }
  myna__jx_fail(x, MYNA_E_ARG, "'<' not supported between '%s' and '%s'", myna__jv_type(a), myna__jv_type(b));
  return 0;
}

jv myna__jv_iter(jx *x, jv v) {
  if (jv_is_seq(v)) return v;
  jv out = myna__jv_new(x, J_LIST);
  if (x->rc || v.t == J_UNDEF) return out;
  if (v.t == J_STR) {
    for (size_t i = 0; i < v.n && !x->rc;) {
      size_t k = myna__ju_len(v.u.s + i, v.n - i);
      myna__jlist_add(x, out.u.l, jv_str(v.u.s + i, k));
      i += k;
    }
  } else if (v.t == J_DICT) {
    for (int64_t i = 0; i < v.u.d->n && !x->rc; i++) myna__jlist_add(x, out.u.l, v.u.d->e[i].k);
  } else {
    return myna__jx_fail(x, MYNA_E_ARG, "'%s' object is not iterable", myna__jv_type(v));
  }
  return out;
}

/* ---- UTF-8 ---- */

size_t myna__ju_len(const char *p, size_t left) {
  unsigned char c = (unsigned char)p[0];
  if (c < 0x80) return 1;
  int k = myna__utf8_len((const uint8_t *)p, left);
  return k > 0 ? (size_t)k : 1;
}

int64_t myna__ju_count(myna__str s) {
  int64_t n = 0;
  for (size_t i = 0; i < s.n; n++) i += myna__ju_len(s.p + i, s.n - i);
  return n;
}

size_t myna__ju_at(myna__str s, int64_t k) {
  size_t i = 0;
  for (; k > 0 && i < s.n; k--) i += myna__ju_len(s.p + i, s.n - i);
  return i;
}

uint32_t myna__ju_get(const char *p, size_t n) {
  const unsigned char *q = (const unsigned char *)p;
  switch (n) {
  case 2: return (q[0] & 31u) << 6 | (q[1] & 63u);
  case 3: return (q[0] & 15u) << 12 | (q[1] & 63u) << 6 | (q[2] & 63u);
  case 4: return (q[0] & 7u) << 18 | (q[1] & 63u) << 12 | (q[2] & 63u) << 6 | (q[3] & 63u);
  default: return q[0];
  }
}

size_t myna__ju_put(char out[4], uint32_t c) {
  utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out);
  return n > 0 ? (size_t)n : 0;
}

/* ---- text ---- */

void myna__jv_float_text(char out[40], double f) {
  if (isnan(f) || isinf(f)) {
    strcpy(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
    return;
  }
  char e[40] = "0e0";
  for (int p = 0; p < 17; p++) { /* the shortest that reads back */
    snprintf(e, sizeof e, "%.*e", p, f);
    if (strtod(e, NULL) == f) break;
  }
  char digits[20] = "0";
  int n = 0;
  const char *c = e + (e[0] == '-');
  for (; *c && *c != 'e' && n < 19; c++)
    if (*c != '.') digits[n++] = *c;
  while (n > 1 && digits[n - 1] == '0') n--;
  int ex = atoi(c + 1), w = 0;
  if (e[0] == '-') out[w++] = '-';
  if (ex < -4 || ex >= 16) {
    out[w++] = digits[0];
    if (n > 1) out[w++] = '.';
    for (int i = 1; i < n; i++) out[w++] = digits[i];
    snprintf(out + w, (size_t)(40 - w), "e%c%02d", ex < 0 ? '-' : '+', abs(ex));
    return;
  }
  if (ex < 0) {
    out[w++] = '0';
    out[w++] = '.';
    for (int i = -1; i > ex; i--) out[w++] = '0';
    for (int i = 0; i < n; i++) out[w++] = digits[i];
  } else {
    for (int i = 0; i <= ex || i < n; i++) {
      if (i == ex + 1) out[w++] = '.';
      out[w++] = (char)(i < n ? digits[i] : '0');
    }
    if (n <= ex + 1) out[w++] = '.', out[w++] = '0';
  }
  out[w] = 0;
}

/* Characters that repr() escapes. */
bool myna__ju_hidden(uint32_t c) {
  utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
  return k == UTF8PROC_CATEGORY_CN || (k >= UTF8PROC_CATEGORY_ZS && k <= UTF8PROC_CATEGORY_CO);
}

static void repr_str(jx *x, jbuf *b, jv v) {
  bool single = memchr(v.u.s, '\'', v.n) != NULL, dbl = memchr(v.u.s, '"', v.n) != NULL;
  char q = single && !dbl ? '"' : '\'';
  myna__jbuf_add(x, b, &q, 1);
  for (size_t i = 0; i < v.n && !x->rc;) {
    size_t k = myna__ju_len(v.u.s + i, v.n - i);
    unsigned char c = (unsigned char)v.u.s[i];
    char t[12] = {0};
    uint32_t u = myna__ju_get(v.u.s + i, k);
    if (c == (unsigned char)q || c == '\\')
      t[0] = '\\', t[1] = (char)c;
    else if (c == '\n' || c == '\r' || c == '\t')
      t[0] = '\\', t[1] = (char)(c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c < 32 || c == 127 || (k > 1 && myna__ju_hidden(u)))
      snprintf(t, sizeof t, u < 0x100 ? "\\x%02x" : u < 0x10000 ? "\\u%04x" : "\\U%08x", u);
    if (t[0])
      myna__jbuf_z(x, b, t);
    else
      myna__jbuf_add(x, b, v.u.s + i, k);
    i += k;
  }
  myna__jbuf_add(x, b, &q, 1);
}

static void repr_items(jx *x, jbuf *b, jv v) {
  static const char *const views[] = {"[", "dict_keys([", "dict_values([", "dict_items(["};
  bool view = v.t == J_LIST && v.n && v.n < MYNA__COUNT(views);
  const char *open = v.t == J_TUPLE ? "(" : view ? views[v.n] : "[";
  const char *close = v.t == J_TUPLE ? ")" : view ? "])" : "]";
  myna__jbuf_z(x, b, open);
  for (int64_t i = 0; i < v.u.l->n && !x->rc; i++) {
    if (i) myna__jbuf_z(x, b, ", ");
    myna__jv_repr(x, b, v.u.l->v[i]);
  }
  if (v.t == J_TUPLE && v.u.l->n == 1) myna__jbuf_z(x, b, ",");
  myna__jbuf_z(x, b, close);
}

static void repr_dict(jx *x, jbuf *b, const jdict *d) {
  myna__jbuf_z(x, b, "{");
  for (int64_t i = 0; i < d->n && !x->rc; i++) {
    if (i) myna__jbuf_z(x, b, ", ");
    myna__jv_repr(x, b, d->e[i].k);
    myna__jbuf_z(x, b, ": ");
    myna__jv_repr(x, b, d->e[i].v);
  }
  myna__jbuf_z(x, b, "}");
}

void myna__jv_repr(jx *x, jbuf *b, jv v) {
  if (!myna__jx_enter(x)) return;
  if (v.t == J_STR) {
    repr_str(x, b, v);
  } else if (v.t == J_LIST || v.t == J_TUPLE) {
    repr_items(x, b, v);
  } else if (v.t == J_UNDEF) {
    myna__jbuf_z(x, b, "Undefined");
  } else if (jv_is_dict(v)) {
    if (v.t == J_NAMESPACE) myna__jbuf_z(x, b, "<Namespace ");
    repr_dict(x, b, v.u.d);
    if (v.t == J_NAMESPACE) myna__jbuf_z(x, b, ">");
  } else {
    myna__jv_print(x, b, v);
  }
  x->depth--;
}

void myna__jv_print(jx *x, jbuf *b, jv v) {
  char t[40];
  switch (v.t) {
  case J_UNDEF: return;
  case J_NONE: myna__jbuf_z(x, b, "None"); return;
  case J_BOOL: myna__jbuf_z(x, b, v.u.b ? "True" : "False"); return;
  case J_INT:
    snprintf(t, sizeof t, "%lld", (long long)v.u.i);
    myna__jbuf_z(x, b, t);
    return;
  case J_FLOAT:
    myna__jv_float_text(t, v.u.f);
    myna__jbuf_z(x, b, t);
    return;
  case J_STR: myna__jbuf_add(x, b, v.u.s, v.n); return;
  case J_GEN: myna__jbuf_z(x, b, "<generator object>"); return;
  case J_FUNC: myna__jbuf_z(x, b, "<function>"); return;
  default: myna__jv_repr(x, b, v);
  }
}

jv myna__jv_to_str(jx *x, jv v) {
  if (v.t == J_STR) return v;
  jbuf b = {0};
  myna__jv_print(x, &b, v);
  return myna__jbuf_take(x, &b);
}
