/* jinja_filters.c: filters, tests and global functions, one row each. */
#include "text/jinja_value.h"
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <utf8proc.h>

typedef struct filter_row {
  const char *name;
  jv (*fn)(jx *x, jv v, const jargs *a);
} filter_row;
typedef struct test_row {
  const char *name;
  bool (*fn)(jx *x, jv v, const jargs *a);
} test_row;

static jv arg(const jargs *a, int i, const char *name, jv missing) { return myna__jx_arg(a, i, name, missing); }
static int64_t int_arg(jx *x, const jargs *a, int i, const char *name, int64_t missing) {
  jv v = arg(a, i, name, jv_int(missing));
  if (v.t == J_INT) return v.u.i;
  if (v.t == J_BOOL) return v.u.b;
  if (v.t != J_NONE) myna__jx_fail(x, MYNA_E_ARG, "argument %s must be an integer", name);
  return missing;
}
static bool bool_arg(const jargs *a, int i, const char *name, bool missing) {
  return myna__jv_true(arg(a, i, name, jv_bool(missing)));
}
static jv bad_type(jx *x, jv v, const char *what) {
  return myna__jx_fail(x, MYNA_E_ARG, "%s of '%s' object", what, myna__jv_type(v));
}
static jv text_of(jx *x, jv v) { return myna__jv_to_str(x, v); }

/* ---- JSON ---- */

typedef struct json_style {
  jv indent; /* INT, STR or none */
  jv item, key;
  bool ascii, sort;
} json_style;

static void json_text(jx *x, jbuf *b, jv v, bool ascii) {
  static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
  myna__jbuf_z(x, b, "\"");
  for (size_t i = 0; i < v.n && !x->rc;) {
    size_t k = myna__ju_len(v.u.s + i, v.n - i);
    unsigned char c = (unsigned char)v.u.s[i];
    const char *e = c ? strchr(from, c) : NULL;
    char t[16] = {0};
    uint32_t u = myna__ju_get(v.u.s + i, k);
    if (e)
      t[0] = '\\', t[1] = to[e - from];
    else if (c < 32 || (ascii && k > 1 && u < 0x10000))
      snprintf(t, sizeof t, "\\u%04x", u);
    else if (ascii && k > 1)
      snprintf(t, sizeof t, "\\u%04x\\u%04x", 0xD7C0 + (u >> 10), 0xDC00 + (u & 0x3FF));
    if (t[0])
      myna__jbuf_z(x, b, t);
    else
      myna__jbuf_add(x, b, v.u.s + i, k);
    i += k;
  }
  myna__jbuf_z(x, b, "\"");
}

static void json_break(jx *x, jbuf *b, const json_style *s, int level) {
  if (s->indent.t != J_INT && s->indent.t != J_STR) return;
  myna__jbuf_z(x, b, "\n");
  for (int i = 0; i < level && !x->rc; i++)
    if (s->indent.t == J_STR)
      myna__jbuf_add(x, b, s->indent.u.s, s->indent.n);
    else
      for (int64_t k = 0; k < s->indent.u.i && !x->rc; k++) myna__jbuf_z(x, b, " ");
}

static void json_value(jx *x, jbuf *b, const json_style *s, jv v, int level);

static void json_key(jx *x, jbuf *b, const json_style *s, jv k) {
  jbuf t = {0};
  if (k.t == J_STR) {
    json_text(x, b, k, s->ascii);
    return;
  }
  json_value(x, &t, s, k, 0);
  json_text(x, b, myna__jbuf_take(x, &t), s->ascii);
}

static jv sorted_by(jx *x, jv l, jv (*key)(jx *, jv, const jargs *), const jargs *a, bool reverse, bool cases);
static jv first_of(jx *x, jv v, const jargs *a) {
  (void)a;
  return myna__jv_item(x, v, jv_int(0));
}

static jv pairs(jx *x, jv d) {
  jv out = myna__jv_new(x, J_LIST);
  for (int64_t i = 0; !x->rc && i < d.u.d->n; i++) {
    jv p = myna__jv_new(x, J_TUPLE);
    if (x->rc) break;
    myna__jlist_add(x, p.u.l, d.u.d->e[i].k);
    myna__jlist_add(x, p.u.l, d.u.d->e[i].v);
    myna__jlist_add(x, out.u.l, p);
  }
  return out;
}

static void json_dict(jx *x, jbuf *b, const json_style *s, jv v, int level) {
  jv l = pairs(x, v);
  if (s->sort && !x->rc) l = sorted_by(x, l, first_of, NULL, false, true);
  myna__jbuf_z(x, b, "{");
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    if (i) myna__jbuf_add(x, b, s->item.u.s, s->item.n);
    json_break(x, b, s, level + 1);
    json_key(x, b, s, l.u.l->v[i].u.l->v[0]);
    myna__jbuf_add(x, b, s->key.u.s, s->key.n);
    json_value(x, b, s, l.u.l->v[i].u.l->v[1], level + 1);
  }
  if (!x->rc && l.u.l->n) json_break(x, b, s, level);
  myna__jbuf_z(x, b, "}");
}

static void json_value(jx *x, jbuf *b, const json_style *s, jv v, int level) {
  char t[40];
  if (!myna__jx_enter(x)) return;
  if (v.t == J_NONE) {
    myna__jbuf_z(x, b, "null");
  } else if (v.t == J_BOOL) {
    myna__jbuf_z(x, b, v.u.b ? "true" : "false");
  } else if (v.t == J_FLOAT && !isfinite(v.u.f)) {
    myna__jbuf_z(x, b, isnan(v.u.f) ? "NaN" : v.u.f < 0 ? "-Infinity" : "Infinity");
  } else if (v.t == J_FLOAT) {
    myna__jv_float_text(t, v.u.f);
    myna__jbuf_z(x, b, t);
  } else if (v.t == J_INT) {
    myna__jv_print(x, b, v);
  } else if (v.t == J_STR) {
    json_text(x, b, v, s->ascii);
  } else if (v.t == J_LIST || v.t == J_TUPLE) {
    myna__jbuf_z(x, b, "[");
    for (int64_t i = 0; i < v.u.l->n && !x->rc; i++) {
      if (i) myna__jbuf_add(x, b, s->item.u.s, s->item.n);
      json_break(x, b, s, level + 1);
      json_value(x, b, s, v.u.l->v[i], level + 1);
    }
    if (v.u.l->n) json_break(x, b, s, level);
    myna__jbuf_z(x, b, "]");
  } else if (v.t == J_DICT) {
    json_dict(x, b, s, v, level);
  } else {
    myna__jx_fail(x, MYNA_E_ARG, "Object of type %s is not JSON serializable", myna__jv_type(v));
  }
  x->depth--;
}

void myna__jv_tojson(jx *x, jbuf *b, jv v, const jargs *a) {
  json_style s = {.ascii = bool_arg(a, 0, "ensure_ascii", false), .sort = bool_arg(a, 3, "sort_keys", false)};
  s.indent = arg(a, 1, "indent", jv_none());
  jv sep = arg(a, 2, "separators", jv_none());
  bool indented = s.indent.t == J_INT || s.indent.t == J_STR;
  s.item = indented ? jv_z(",") : jv_z(", ");
  s.key = jv_z(": ");
  if (jv_is_seq(sep) && sep.u.l->n == 2 && sep.u.l->v[0].t == J_STR && sep.u.l->v[1].t == J_STR)
    s.item = sep.u.l->v[0], s.key = sep.u.l->v[1];
  json_value(x, b, &s, v, 0);
}

static jv f_tojson(jx *x, jv v, const jargs *a) {
  jbuf b = {0};
  jargs kw = *a; /* tojson(4) is Jinja's: the indent comes first there */
  jv given[4] = {jv_bool(false), jv_none(), jv_none(), jv_bool(false)};
  if (a->n_pos == 1) {
    given[1] = a->pos[0].t == J_INT ? a->pos[0] : jv_none();
    given[0] = a->pos[0].t == J_BOOL ? a->pos[0] : given[0];
    kw.pos = given;
    kw.n_pos = 2;
  }
  myna__jv_tojson(x, &b, v, &kw);
  return myna__jbuf_take(x, &b);
}

static jv f_fromjson(jx *x, jv v, const jargs *a) {
  (void)a;
  json_error_t e;
  if (v.t != J_STR) return bad_type(x, v, "from_json");
  json_t *j = json_loadb(v.u.s, v.n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
  if (!j) return myna__jx_fail(x, MYNA_E_ARG, "from_json: %s", e.text);
  if (json_array_append_new(x->docs, j)) return myna__jx_fail(x, MYNA_E_NOMEM, "no memory"); /* strings are borrowed */
  return myna__jv_json(x, j);
}

/* ---- order ---- */

static jv fold(jx *x, jv v) { return v.t == J_STR ? myna__jv_case(x, v, 'l') : v; }

/* Stable merge sort of l[n] by keys k[n], through scratch. */
static void merge_sort(jx *x, jv *l, jv *k, jv *sl, jv *sk, int64_t n, bool reverse) {
  if (n < 2 || x->rc) return;
  int64_t h = n / 2, i = 0, j = h, w = 0;
  merge_sort(x, l, k, sl, sk, h, reverse);
  merge_sort(x, l + h, k + h, sl, sk, n - h, reverse);
  while (i < h && j < n) {
    int c = myna__jv_order(x, k[i], k[j]);
    bool left = reverse ? c >= 0 : c <= 0;
    sl[w] = left ? l[i] : l[j];
    sk[w++] = left ? k[i++] : k[j++];
  }
  for (; i < h; i++) sl[w] = l[i], sk[w++] = k[i];
  for (; j < n; j++) sl[w] = l[j], sk[w++] = k[j];
  memcpy(l, sl, (size_t)n * sizeof *l);
  memcpy(k, sk, (size_t)n * sizeof *k);
}

static jv sorted_by(jx *x, jv l, jv (*key)(jx *, jv, const jargs *), const jargs *a, bool reverse, bool cases) {
  jv out = myna__jv_new(x, J_LIST);
  if (x->rc) return out;
  int64_t n = l.u.l->n;
  jv *m = myna__jx_alloc(x, (size_t)(n ? n : 1) * 4 * sizeof *m);
  if (!m) return out;
  for (int64_t i = 0; i < n && !x->rc; i++) {
    jv k = key ? key(x, l.u.l->v[i], a) : l.u.l->v[i];
    m[i] = l.u.l->v[i];
    m[n + i] = cases ? k : fold(x, k);
  }
  merge_sort(x, m, m + n, m + 2 * n, m + 3 * n, n, reverse);
  *out.u.l = (jlist){m, n, n};
  return out;
}

/* v's attribute by a dotted path or an index. */
static jv path(jx *x, jv v, jv attr) {
  if (attr.t == J_INT) return myna__jv_item(x, v, attr);
  if (attr.t != J_STR) return v;
  myna__str s = jv_text(attr);
  while (!x->rc) {
    const char *dot = memchr(s.p, '.', s.n);
    size_t n = dot ? (size_t)(dot - s.p) : s.n;
    char num[12] = {0};
    if (n > 0 && n < 10 && s.p[0] >= '0' && s.p[0] <= '9') memcpy(num, s.p, n);
    v = myna__jv_item(x, v, num[0] ? jv_int(atoi(num)) : jv_str(s.p, n));
    if (!dot) break;
    s = (myna__str){dot + 1, s.n - n - 1};
  }
  return v;
}

static jv by_attr(jx *x, jv v, const jargs *a) { return path(x, v, a->pos[0]); }

static jv f_sort(jx *x, jv v, const jargs *a) {
  jv attr = arg(a, 2, "attribute", jv_none());
  jargs key = {.pos = &attr, .n_pos = 1};
  jv l = myna__jv_iter(x, v);
  if (x->rc) return l;
  return sorted_by(x, l, by_attr, &key, bool_arg(a, 0, "reverse", false), bool_arg(a, 1, "case_sensitive", false));
}

static jv f_dictsort(jx *x, jv v, const jargs *a) {
  if (!jv_is_dict(v)) return bad_type(x, v, "dictsort");
  jv by = arg(a, 1, "by", jv_z("key")), at = jv_int(by.t == J_STR && myna__str_eq(jv_text(by), "value"));
  jargs key = {.pos = &at, .n_pos = 1};
  jv l = pairs(x, v);
  if (x->rc) return l;
  return sorted_by(x, l, by_attr, &key, bool_arg(a, 2, "reverse", false), bool_arg(a, 0, "case_sensitive", false));
}

static jv extreme(jx *x, jv v, const jargs *a, int sign) {
  jv l = myna__jv_iter(x, v), attr = arg(a, 1, "attribute", jv_none()), best = jv_undef(), best_key = best;
  bool cases = bool_arg(a, 0, "case_sensitive", false);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jv k = path(x, l.u.l->v[i], attr);
    if (!cases) k = fold(x, k);
    if (i == 0 || myna__jv_order(x, k, best_key) * sign > 0) best = l.u.l->v[i], best_key = k;
  }
  return best;
}
static jv f_min(jx *x, jv v, const jargs *a) { return extreme(x, v, a, -1); }
static jv f_max(jx *x, jv v, const jargs *a) { return extreme(x, v, a, 1); }

static jv f_unique(jx *x, jv v, const jargs *a) {
  jv l = myna__jv_iter(x, v), attr = arg(a, 1, "attribute", jv_none());
  jv seen = myna__jv_new(x, J_DICT), out = myna__jv_new(x, J_GEN);
  bool cases = bool_arg(a, 0, "case_sensitive", false);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    bool found;
    jv k = path(x, l.u.l->v[i], attr);
    if (!cases) k = fold(x, k);
    myna__jdict_get(x, seen.u.d, k, &found);
    if (found) continue;
    myna__jdict_put(x, seen.u.d, k, jv_none());
    myna__jlist_add(x, out.u.l, l.u.l->v[i]);
  }
  return out;
}

static jv f_groupby(jx *x, jv v, const jargs *a) {
  jv attr = arg(a, 0, "attribute", jv_none()), missing = arg(a, 1, "default", jv_undef());
  jargs key = {.pos = &attr, .n_pos = 1};
  bool cases = bool_arg(a, 2, "case_sensitive", false);
  jv l = myna__jv_iter(x, v);
  if (!x->rc) l = sorted_by(x, l, by_attr, &key, false, cases);
  jv out = myna__jv_new(x, J_LIST), group = jv_undef(), last = jv_undef();
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jv k = path(x, l.u.l->v[i], attr);
    if (k.t == J_UNDEF) k = missing;
    if (i == 0 || !myna__jv_equal(x, cases ? k : fold(x, k), last)) {
      jv pair = myna__jv_new(x, J_TUPLE);
      group = myna__jv_new(x, J_LIST);
      if (x->rc) break;
      myna__jlist_add(x, pair.u.l, k);
      myna__jlist_add(x, pair.u.l, group);
      myna__jlist_add(x, out.u.l, pair);
    }
    last = cases ? k : fold(x, k);
    myna__jlist_add(x, group.u.l, l.u.l->v[i]);
  }
  return out;
}

/* ---- map and select ---- */

static jargs behind(const jargs *a, int n) {
  jargs r = *a;
  r.n_pos = MYNA__MAX(0, a->n_pos - n);
  r.pos = a->pos ? a->pos + MYNA__MIN(n, a->n_pos) : NULL;
  return r;
}

static jv f_map(jx *x, jv v, const jargs *a) {
  jv l = myna__jv_iter(x, v), out = myna__jv_new(x, J_GEN), attr = arg(a, -1, "attribute", jv_none());
  jv missing = arg(a, -1, "default", jv_undef()), name = arg(a, 0, NULL, jv_none());
  const void *row = name.t == J_STR && attr.t == J_NONE ? myna__jinja_filter(jv_text(name)) : NULL;
  if (!row && attr.t == J_NONE) return myna__jx_fail(x, MYNA_E_ARG, "map requires a filter or an attribute");
  jargs rest = behind(a, 1);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jv e = row ? myna__jx_filter(x, row, l.u.l->v[i], &rest) : path(x, l.u.l->v[i], attr);
    myna__jlist_add(x, out.u.l, e.t == J_UNDEF && !row ? missing : e);
  }
  return out;
}

static jv choose(jx *x, jv v, const jargs *a, bool by_attribute, bool want) {
  int at = by_attribute;
  jv l = myna__jv_iter(x, v), out = myna__jv_new(x, J_GEN),
     attr = by_attribute ? arg(a, 0, "attribute", jv_undef()) : jv_none();
  if (attr.t == J_UNDEF) return myna__jx_fail(x, MYNA_E_ARG, "selectattr requires an attribute");
  jv name = arg(a, at, NULL, jv_none());
  const void *row = name.t == J_STR ? myna__jinja_test(jv_text(name)) : NULL;
  if (name.t != J_NONE && !row) return myna__jx_fail(x, MYNA_E_ARG, "no such test");
  jargs rest = behind(a, at + 1);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jv e = path(x, l.u.l->v[i], attr);
    bool is = row ? myna__jx_test(x, row, e, &rest) : myna__jv_true(e);
    if (is == want) myna__jlist_add(x, out.u.l, l.u.l->v[i]);
  }
  return out;
}
static jv f_select(jx *x, jv v, const jargs *a) { return choose(x, v, a, false, true); }
static jv f_reject(jx *x, jv v, const jargs *a) { return choose(x, v, a, false, false); }
static jv f_selectattr(jx *x, jv v, const jargs *a) { return choose(x, v, a, true, true); }
static jv f_rejectattr(jx *x, jv v, const jargs *a) { return choose(x, v, a, true, false); }

/* ---- sequences ---- */

static jv f_length(jx *x, jv v, const jargs *a) {
  (void)a;
  if (v.t == J_STR) return jv_int(myna__ju_count(jv_text(v)));
  if (v.t == J_LIST || v.t == J_TUPLE) return jv_int(v.u.l->n);
  if (v.t == J_DICT) return jv_int(v.u.d->n);
  if (v.t == J_UNDEF) return jv_int(0);
  return bad_type(x, v, "no length");
}

static jv f_first(jx *x, jv v, const jargs *a) {
  (void)a;
  jv l = myna__jv_iter(x, v);
  return !x->rc && l.u.l->n ? l.u.l->v[0] : jv_undef();
}

static jv f_last(jx *x, jv v, const jargs *a) {
  (void)a;
  jv l = myna__jv_iter(x, v);
  return !x->rc && l.u.l->n ? l.u.l->v[l.u.l->n - 1] : jv_undef();
}

static jv f_list(jx *x, jv v, const jargs *a) {
  (void)a;
  jv l = myna__jv_iter(x, v), out = myna__jv_new(x, J_LIST);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) myna__jlist_add(x, out.u.l, l.u.l->v[i]);
  return out;
}

static jv f_reverse(jx *x, jv v, const jargs *a) {
  (void)a;
  if (v.t == J_STR) return myna__jx_slice(x, v, jv_none(), jv_none(), jv_int(-1));
  jv l = myna__jv_iter(x, v), out = myna__jv_new(x, J_GEN);
  for (int64_t i = x->rc ? 0 : l.u.l->n; !x->rc && i > 0; i--) myna__jlist_add(x, out.u.l, l.u.l->v[i - 1]);
  return out;
}

static jv f_join(jx *x, jv v, const jargs *a) {
  jv l = myna__jv_iter(x, v), sep = text_of(x, arg(a, 0, "d", jv_z(""))), attr = arg(a, 1, "attribute", jv_none());
  jbuf b = {0};
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    if (i) myna__jbuf_add(x, &b, sep.u.s, sep.n);
    myna__jv_print(x, &b, path(x, l.u.l->v[i], attr));
  }
  return myna__jbuf_take(x, &b);
}

static jv f_items(jx *x, jv v, const jargs *a) {
  (void)a;
  if (v.t == J_UNDEF) return myna__jv_new(x, J_GEN);
  if (!jv_is_dict(v)) return bad_type(x, v, "items");
  jv l = pairs(x, v);
  l.t = x->rc ? l.t : J_GEN;
  return l;
}

static jv f_sum(jx *x, jv v, const jargs *a) {
  jv l = myna__jv_iter(x, v), attr = arg(a, 0, "attribute", jv_none()), r = arg(a, 1, "start", jv_int(0));
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) r = myna__jv_binary(x, '+', r, path(x, l.u.l->v[i], attr));
  return r;
}

static jv f_batch(jx *x, jv v, const jargs *a) {
  int64_t n = int_arg(x, a, 0, "linecount", 1);
  jv fill = arg(a, 1, "fill_with", jv_none()), l = myna__jv_iter(x, v), out = myna__jv_new(x, J_GEN), row = jv_undef();
  if (n < 1) return myna__jx_fail(x, MYNA_E_ARG, "batch of less than one");
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    if (i % n == 0) {
      row = myna__jv_new(x, J_LIST);
      myna__jlist_add(x, out.u.l, row);
    }
    if (!x->rc) myna__jlist_add(x, row.u.l, l.u.l->v[i]);
  }
  while (!x->rc && fill.t != J_NONE && row.t == J_LIST && row.u.l->n < n) myna__jlist_add(x, row.u.l, fill);
  return out;
}

static jv f_slice(jx *x, jv v, const jargs *a) {
  int64_t n = int_arg(x, a, 0, "slices", 1);
  jv fill = arg(a, 1, "fill_with", jv_none()), l = myna__jv_iter(x, v), out = myna__jv_new(x, J_GEN);
  if (n < 1) return myna__jx_fail(x, MYNA_E_ARG, "slice into less than one");
  int64_t per = x->rc ? 0 : l.u.l->n / n, more = x->rc ? 0 : l.u.l->n % n, at = 0;
  for (int64_t i = 0; !x->rc && i < n; i++) {
    jv row = myna__jv_new(x, J_LIST);
    for (int64_t k = 0; !x->rc && k < per + (i < more); k++) myna__jlist_add(x, row.u.l, l.u.l->v[at++]);
    if (!x->rc && fill.t != J_NONE && i >= more) myna__jlist_add(x, row.u.l, fill);
    myna__jlist_add(x, out.u.l, row);
  }
  return out;
}

/* ---- values ---- */

static jv f_default(jx *x, jv v, const jargs *a) {
  (void)x;
  bool use = v.t == J_UNDEF || (bool_arg(a, 1, "boolean", false) && !myna__jv_true(v));
  return use ? arg(a, 0, "default_value", jv_z("")) : v;
}

static jv number_of(jx *x, jv v, bool *ok) {
  *ok = true;
  if (jv_is_num(v)) return v;
  jv t = v.t == J_STR ? myna__js_strip(v, jv_none(), 3) : jv_z("");
  jbuf b = {0};
  for (size_t i = 0; i < t.n; i++)
    if (t.u.s[i] != '_') myna__jbuf_add(x, &b, t.u.s + i, 1);
  myna__jbuf_add(x, &b, "", 1);
  char *end = NULL;
  double f = !x->rc && t.n && !strpbrk(b.p, "xXpP") ? strtod(b.p, &end) : 0;
  *ok = end && end == b.p + b.n - 1 && b.n > 1;
  if (*ok && !strpbrk(b.p, ".eEnN")) return jv_int((int64_t)strtoll(b.p, NULL, 10));
  return jv_float(f);
}

static jv f_int(jx *x, jv v, const jargs *a) {
  jv missing = arg(a, 0, "default", jv_int(0));
  int64_t base = int_arg(x, a, 1, "base", 10);
  if (v.t == J_STR && base != 10 && base >= 0 && base <= 36 && base != 1 && v.n < 64) {
    char t[64] = {0}, *end;
    memcpy(t, v.u.s, v.n);
    size_t skip = t[0] == '0' && strchr("xXoObB", t[1]) && t[1] ? 2 : 0;
    long long r = strtoll(t + (base == 0 ? 0 : skip), &end, (int)base);
    return *end || end == t ? missing : jv_int((int64_t)r);
  }
  bool ok;
  jv n = number_of(x, v, &ok);
  if (!ok || x->rc) return missing;
  if (n.t == J_BOOL) return jv_int(n.u.b);
  if (n.t == J_INT) return n;
  return fabs(n.u.f) < 9.2e18 ? jv_int((int64_t)n.u.f) : missing;
}

static jv f_float(jx *x, jv v, const jargs *a) {
  bool ok;
  jv n = number_of(x, v, &ok);
  return ok ? jv_float(myna__jv_num(n)) : arg(a, 0, "default", jv_float(0));
}

static jv f_abs(jx *x, jv v, const jargs *a) {
  (void)a;
  if (v.t == J_FLOAT) return jv_float(fabs(v.u.f));
  if (!jv_is_num(v)) return bad_type(x, v, "abs");
  return v.t == J_INT && v.u.i < 0 ? myna__jv_binary(x, '-', jv_int(0), v) : v.t == J_BOOL ? jv_int(v.u.b) : v;
}

static jv f_round(jx *x, jv v, const jargs *a) {
  int64_t p = int_arg(x, a, 0, "precision", 0);
  jv how = arg(a, 1, "method", jv_z("common"));
  if (!jv_is_num(v)) return bad_type(x, v, "round");
  p = MYNA__MAX(-300, MYNA__MIN(p, 300));
  double scale = pow(10, (double)p), f = myna__jv_num(v);
  if (how.t == J_STR && myna__str_eq(jv_text(how), "ceil")) return jv_float(ceil(f * scale) / scale);
  if (how.t == J_STR && myna__str_eq(jv_text(how), "floor")) return jv_float(floor(f * scale) / scale);
  if (p < 0 || p > 20) return jv_float(rint(f * scale) / scale);
  char t[400];
  snprintf(t, sizeof t, "%.*f", (int)p, f); /* correctly rounded from the exact value, as Python's */
  return jv_float(strtod(t, NULL));
}

static jv f_string(jx *x, jv v, const jargs *a) {
  (void)a;
  return text_of(x, v);
}
static jv f_safe(jx *x, jv v, const jargs *a) {
  (void)a;
  v = text_of(x, v);
  v.safe = 1;
  return v;
}

/* ---- strings ---- */

static jv f_upper(jx *x, jv v, const jargs *a) {
  (void)a;
  return myna__jv_case(x, text_of(x, v), 'u');
}
static jv f_lower(jx *x, jv v, const jargs *a) {
  (void)a;
  return myna__jv_case(x, text_of(x, v), 'l');
}
static jv f_title(jx *x, jv v, const jargs *a) {
  (void)a;
  return myna__jv_case(x, text_of(x, v), 'T');
}
static jv f_capitalize(jx *x, jv v, const jargs *a) {
  (void)a;
  return myna__jv_case(x, text_of(x, v), 'c');
}
static jv f_trim(jx *x, jv v, const jargs *a) {
  v = text_of(x, v);
  return x->rc ? v : myna__js_strip(v, arg(a, 0, "chars", jv_none()), 3);
}

static jv f_replace(jx *x, jv v, const jargs *a) {
  jv s = text_of(x, v), from = text_of(x, arg(a, 0, "old", jv_z(""))), to = text_of(x, arg(a, 1, "new", jv_z("")));
  return x->rc ? s : myna__js_replace(x, jv_text(s), jv_text(from), jv_text(to), int_arg(x, a, 2, "count", -1));
}

static jv f_indent(jx *x, jv v, const jargs *a) {
  jv s = text_of(x, v), width = arg(a, 0, "width", jv_int(4)), pad = width;
  bool first = bool_arg(a, 1, "first", false), blank = bool_arg(a, 2, "blank", false);
  if (width.t == J_INT) {
    jbuf p = {0};
    for (int64_t i = 0; i < width.u.i && !x->rc; i++) myna__jbuf_z(x, &p, " ");
    pad = myna__jbuf_take(x, &p);
  }
  if (pad.t != J_STR) return bad_type(x, width, "indent");
  jbuf b = {0};
  for (size_t i = 0; !x->rc;) {
    const char *nl = i < s.n ? memchr(s.u.s + i, '\n', s.n - i) : NULL;
    size_t e = nl ? (size_t)(nl - s.u.s) : s.n;
    if (i == 0 ? first : (blank || e > i)) myna__jbuf_add(x, &b, pad.u.s, pad.n);
    myna__jbuf_add(x, &b, s.u.s + i, e - i);
    if (!nl) break;
    myna__jbuf_z(x, &b, "\n");
    i = e + 1;
  }
  return myna__jbuf_take(x, &b);
}

static jv f_wordcount(jx *x, jv v, const jargs *a) {
  (void)a;
  jv s = text_of(x, v);
  int64_t n = 0;
  bool in = false;
  for (size_t i = 0; i < s.n; i++) {
    bool word = (unsigned char)s.u.s[i] >= 0x80 || s.u.s[i] == '_' ||
                strchr("0123456789abcdefghijklmnopqrstuvwxyz", s.u.s[i] | 32) != NULL;
    n += word && !in;
    in = word;
  }
  return jv_int(n);
}

static jv f_truncate(jx *x, jv v, const jargs *a) {
  jv s = text_of(x, v), end = text_of(x, arg(a, 2, "end", jv_z("...")));
  int64_t n = int_arg(x, a, 0, "length", 255), leeway = int_arg(x, a, 3, "leeway", 5);
  bool kill = bool_arg(a, 1, "killwords", false);
  if (x->rc || myna__ju_count(jv_text(s)) <= n + leeway) return s;
  size_t cut = myna__ju_at(jv_text(s), MYNA__MAX(0, n - myna__ju_count(jv_text(end))));
  if (!kill)
    for (size_t k = cut; k > 0; k--)
      if (s.u.s[k - 1] == ' ') {
        cut = k - 1;
        break;
      }
  jbuf b = {0};
  myna__jbuf_add(x, &b, s.u.s, cut);
  myna__jbuf_add(x, &b, end.u.s, end.n);
  return myna__jbuf_take(x, &b);
}

static jv f_center(jx *x, jv v, const jargs *a) {
  jv s = text_of(x, v);
  int64_t w = int_arg(x, a, 0, "width", 80), n = x->rc ? 0 : myna__ju_count(jv_text(s)), pad = MYNA__MAX(0, w - n);
  int64_t left = pad / 2 + (pad & w & 1);
  jbuf b = {0};
  for (int64_t i = 0; i < left && !x->rc; i++) myna__jbuf_z(x, &b, " ");
  myna__jbuf_add(x, &b, s.u.s, s.n);
  for (int64_t i = left; i < pad && !x->rc; i++) myna__jbuf_z(x, &b, " ");
  return myna__jbuf_take(x, &b);
}

static jv f_format(jx *x, jv v, const jargs *a) { return myna__jv_format(x, text_of(x, v), a); }

static jv f_escape(jx *x, jv v, const jargs *a) {
  (void)a;
  static const char from[] = "&<>'\"";
  static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  jv s = text_of(x, v);
  jbuf b = {0};
  for (size_t i = 0; i < s.n && !x->rc; i++) {
    const char *k = s.u.s[i] ? strchr(from, s.u.s[i]) : NULL;
    if (k)
      myna__jbuf_z(x, &b, to[k - from]);
    else
      myna__jbuf_add(x, &b, s.u.s + i, 1);
  }
  return myna__jbuf_take(x, &b);
}

static jv f_striptags(jx *x, jv v, const jargs *a) {
  (void)a;
  jv s = text_of(x, v);
  jbuf b = {0};
  bool tag = false, gap = false;
  for (size_t i = 0; i < s.n && !x->rc; i++) {
    char c = s.u.s[i];
    bool blank = c == ' ' || (c >= '\t' && c <= '\r');
    if (tag || c == '<') {
      tag = c != '>';
    } else if (blank) {
      gap = b.n > 0;
    } else {
      if (gap) myna__jbuf_z(x, &b, " ");
      gap = false;
      myna__jbuf_add(x, &b, &c, 1);
    }
  }
  return myna__jbuf_take(x, &b);
}

static jv f_urlencode(jx *x, jv v, const jargs *a) {
  (void)a;
  jv s = text_of(x, v);
  jbuf b = {0};
  for (size_t i = 0; i < s.n && !x->rc; i++) {
    unsigned char c = (unsigned char)s.u.s[i];
    char t[4] = {(char)c};
    bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c && strchr("_.-~/", c));
    if (!plain) snprintf(t, sizeof t, "%%%02X", c);
    myna__jbuf_z(x, &b, t);
  }
  return myna__jbuf_take(x, &b);
}

static jv f_attr(jx *x, jv v, const jargs *a) {
  jv n = arg(a, 0, "name", jv_none());
  return n.t == J_STR ? myna__jv_attr(x, v, jv_text(n)) : jv_undef();
}

static const filter_row filter_rows[] = {{"abs", f_abs},
                                         {"attr", f_attr},
                                         {"batch", f_batch},
                                         {"capitalize", f_capitalize},
                                         {"center", f_center},
                                         {"count", f_length},
                                         {"d", f_default},
                                         {"default", f_default},
                                         {"dictsort", f_dictsort},
                                         {"e", f_escape},
                                         {"escape", f_escape},
                                         {"first", f_first},
                                         {"float", f_float},
                                         {"forceescape", f_escape},
                                         {"format", f_format},
                                         {"from_json", f_fromjson},
                                         {"groupby", f_groupby},
                                         {"indent", f_indent},
                                         {"int", f_int},
                                         {"items", f_items},
                                         {"join", f_join},
                                         {"last", f_last},
                                         {"length", f_length},
                                         {"list", f_list},
                                         {"lower", f_lower},
                                         {"map", f_map},
                                         {"max", f_max},
                                         {"min", f_min},
                                         {"reject", f_reject},
                                         {"rejectattr", f_rejectattr},
                                         {"replace", f_replace},
                                         {"reverse", f_reverse},
                                         {"round", f_round},
                                         {"safe", f_safe},
                                         {"select", f_select},
                                         {"selectattr", f_selectattr},
                                         {"slice", f_slice},
                                         {"sort", f_sort},
                                         {"string", f_string},
                                         {"striptags", f_striptags},
                                         {"sum", f_sum},
                                         {"title", f_title},
                                         {"tojson", f_tojson},
                                         {"trim", f_trim},
                                         {"truncate", f_truncate},
                                         {"unique", f_unique},
                                         {"upper", f_upper},
                                         {"urlencode", f_urlencode},
                                         {"wordcount", f_wordcount}};

/* ---- tests ---- */

static bool t_defined(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t != J_UNDEF; }
static bool t_undefined(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_UNDEF; }
static bool t_none(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_NONE; }
static bool t_string(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_STR; }
static bool t_mapping(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_DICT; }
static bool t_number(jx *x, jv v, const jargs *a) { return (void)x, (void)a, jv_is_num(v); }
static bool t_integer(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_INT; }
static bool t_float(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_FLOAT; }
static bool t_boolean(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_BOOL; }
static bool t_true(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_BOOL && v.u.b; }
static bool t_false(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_BOOL && !v.u.b; }
static bool t_callable(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_FUNC; }
static bool t_escaped(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.safe; }
static bool t_iterable(jx *x, jv v, const jargs *a) {
  return (void)x, (void)a, v.t == J_UNDEF || v.t == J_STR || jv_is_seq(v) || v.t == J_DICT;
}
static bool t_sequence(jx *x, jv v, const jargs *a) {
  return (void)x, (void)a, v.t == J_UNDEF || v.t == J_STR || v.t == J_LIST || v.t == J_TUPLE || v.t == J_DICT;
}
static int64_t remainder_of(jx *x, jv v, jv by) {
  jv r = myna__jv_binary(x, '%', v, by);
  return r.t == J_INT ? r.u.i : r.t == J_FLOAT && r.u.f == 0 ? 0 : -1;
}
static bool t_odd(jx *x, jv v, const jargs *a) { return (void)a, remainder_of(x, v, jv_int(2)) == 1; }
static bool t_even(jx *x, jv v, const jargs *a) { return (void)a, remainder_of(x, v, jv_int(2)) == 0; }
static bool t_divisibleby(jx *x, jv v, const jargs *a) { return remainder_of(x, v, arg(a, 0, "num", jv_none())) == 0; }
static bool t_lower(jx *x, jv v, const jargs *a) {
  (void)a;
  jv s = text_of(x, v), low = myna__jv_case(x, s, 'l'), up = myna__jv_case(x, s, 'u');
  return !x->rc && myna__jv_equal(x, s, low) && !myna__jv_equal(x, low, up);
}
static bool t_upper(jx *x, jv v, const jargs *a) {
  (void)a;
  jv s = text_of(x, v), low = myna__jv_case(x, s, 'l'), up = myna__jv_case(x, s, 'u');
  return !x->rc && myna__jv_equal(x, s, up) && !myna__jv_equal(x, low, up);
}
static jv other(const jargs *a) { return arg(a, 0, "other", jv_undef()); }
static bool t_eq(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, '=', v, other(a)); }
static bool t_ne(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, '!', v, other(a)); }
static bool t_lt(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, '<', v, other(a)); }
static bool t_le(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, 'l', v, other(a)); }
static bool t_gt(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, '>', v, other(a)); }
static bool t_ge(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, 'g', v, other(a)); }
static bool t_in(jx *x, jv v, const jargs *a) { return myna__jv_in(x, v, arg(a, 0, "seq", jv_undef())); }
static bool t_sameas(jx *x, jv v, const jargs *a) {
  jv o = other(a);
  if (v.t != o.t) return false;
  if (jv_is_seq(v)) return v.u.l == o.u.l;
  return jv_is_dict(v) ? v.u.d == o.u.d : myna__jv_equal(x, v, o);
}
static bool t_filter(jx *x, jv v, const jargs *a) {
  return (void)x, (void)a, v.t == J_STR && myna__jinja_filter(jv_text(v));
}
static bool t_test(jx *x, jv v, const jargs *a) {
  return (void)x, (void)a, v.t == J_STR && myna__jinja_test(jv_text(v));
}

static const test_row test_rows[] = {{"boolean", t_boolean},
                                     {"callable", t_callable},
                                     {"defined", t_defined},
                                     {"divisibleby", t_divisibleby},
                                     {"eq", t_eq},
                                     {"equalto", t_eq},
                                     {"escaped", t_escaped},
                                     {"even", t_even},
                                     {"false", t_false},
                                     {"filter", t_filter},
                                     {"float", t_float},
                                     {"ge", t_ge},
                                     {"greaterthan", t_gt},
                                     {"gt", t_gt},
                                     {"in", t_in},
                                     {"integer", t_integer},
                                     {"iterable", t_iterable},
                                     {"le", t_le},
                                     {"lessthan", t_lt},
                                     {"lower", t_lower},
                                     {"lt", t_lt},
                                     {"mapping", t_mapping},
                                     {"ne", t_ne},
                                     {"none", t_none},
                                     {"number", t_number},
                                     {"odd", t_odd},
                                     {"sameas", t_sameas},
                                     {"sequence", t_sequence},
                                     {"string", t_string},
                                     {"test", t_test},
                                     {"true", t_true},
                                     {"undefined", t_undefined},
                                     {"upper", t_upper},
                                     {"==", t_eq},
                                     {"!=", t_ne},
                                     {"<", t_lt},
                                     {"<=", t_le},
                                     {">", t_gt},
                                     {">=", t_ge}};

const void *myna__jinja_filter(myna__str name) {
  for (size_t i = 0; i < MYNA__COUNT(filter_rows); i++)
    if (myna__str_eq(name, filter_rows[i].name)) return &filter_rows[i];
  return NULL;
}

const void *myna__jinja_test(myna__str name) {
  for (size_t i = 0; i < MYNA__COUNT(test_rows); i++)
    if (myna__str_eq(name, test_rows[i].name)) return &test_rows[i];
  return NULL;
}

jv myna__jx_filter(jx *x, const void *row, jv v, const jargs *a) {
  if (!myna__jx_tick(x, 1) || !myna__jx_enter(x)) return jv_undef();
  jv r = ((const filter_row *)row)->fn(x, v, a);
  x->depth--;
  return x->rc ? jv_undef() : r;
}

bool myna__jx_test(jx *x, const void *row, jv v, const jargs *a) {
  return myna__jx_tick(x, 1) && ((const test_row *)row)->fn(x, v, a) && !x->rc;
}

/* ---- globals ---- */

static jv g_range(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  int64_t v[3] = {0, 0, 1};
  if (a->n_pos < 1 || a->n_pos > 3) return myna__jx_fail(x, MYNA_E_ARG, "range takes one to three integers");
  for (int i = 0; i < a->n_pos; i++) {
    if (a->pos[i].t != J_INT && a->pos[i].t != J_BOOL) return bad_type(x, a->pos[i], "range");
    v[a->n_pos == 1 ? 1 : i] = a->pos[i].t == J_INT ? a->pos[i].u.i : a->pos[i].u.b;
  }
  if (v[2] == 0) return myna__jx_fail(x, MYNA_E_ARG, "range by steps of zero");
  jv out = myna__jv_new(x, J_LIST);
  enum { MAX = 100000 }; /* as Jinja's sandbox */
  for (int64_t i = v[0]; !x->rc && (v[2] > 0 ? i < v[1] : i > v[1]);) {
    if (out.u.l->n == MAX) return myna__jx_fail(x, MYNA_E_LIMIT, "a range of more than %d", MAX);
    myna__jlist_add(x, out.u.l, jv_int(i));
    if (__builtin_add_overflow(i, v[2], &i)) break;
  }
  return out;
}

static jv make_dict(jx *x, const jargs *a, jtype t) {
  jv d = myna__jv_new(x, t);
  jv from = arg(a, 0, NULL, jv_none());
  if (jv_is_dict(from)) {
    for (int64_t i = 0; !x->rc && i < from.u.d->n; i++) myna__jdict_put(x, d.u.d, from.u.d->e[i].k, from.u.d->e[i].v);
  } else if (from.t != J_NONE) {
    jv l = myna__jv_iter(x, from);
    for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
      jv p = l.u.l->v[i];
      if (!jv_is_seq(p) || p.u.l->n != 2) return myna__jx_fail(x, MYNA_E_ARG, "dict of what are no pairs");
      myna__jdict_put(x, d.u.d, p.u.l->v[0], p.u.l->v[1]);
    }
  }
  for (int i = 0; !x->rc && i < a->n_kw; i++)
    myna__jdict_put(x, d.u.d, jv_str(a->names[i].p, a->names[i].n), a->values[i]);
  return d;
}
static jv g_dict(jx *x, jfunc *f, const jargs *a) { return (void)f, make_dict(x, a, J_DICT); }
static jv g_namespace(jx *x, jfunc *f, const jargs *a) { return (void)f, make_dict(x, a, J_NAMESPACE); }

static jv g_raise(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  jv s = text_of(x, arg(a, 0, "message", jv_z("")));
  char msg[240]; /* longer than a quoted one: the message is for people */
  size_t n = x->rc ? 0 : MYNA__MIN(s.n, sizeof msg - 1), w = 0;
  for (size_t i = 0; i < n; i++) msg[w++] = (unsigned char)s.u.s[i] < 32 ? ' ' : s.u.s[i];
  msg[w] = 0;
  return myna__jx_fail(x, MYNA_E_ARG, "%s", msg);
}

static jv g_strftime(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  jv fmt = arg(a, 0, "format", jv_z(""));
  time_t t = (time_t)x->now;
  struct tm tm;
  char z[256], out[1024];
  if (fmt.t != J_STR || fmt.n >= sizeof z) return bad_type(x, fmt, "strftime_now");
  memcpy(z, fmt.u.s, fmt.n);
  z[fmt.n] = 0;
  size_t n = localtime_r(&t, &tm) ? strftime(out, sizeof out, z, &tm) : 0;
  char *copy = myna__jx_alloc(x, n + 1);
  if (!copy) return jv_undef();
  memcpy(copy, out, n);
  return jv_str(copy, n);
}

static jv joiner_call(jx *x, jfunc *f, const jargs *a) {
  (void)x, (void)a;
  return f->i++ ? f->self : jv_z("");
}
static jv g_joiner(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  return myna__jv_func(x, joiner_call, "joiner", arg(a, 0, "sep", jv_z(", ")));
}

/* A cycler is a dict of its functions, which share the state in the first one. */
static void cycler_show(jx *x, jfunc *f) {
  jv d = f->self.u.l->v[1], items = f->self.u.l->v[0];
  myna__jdict_put(x, d.u.d, jv_z("current"), items.u.l->v[d.u.d->e[0].v.u.i % items.u.l->n]);
}
static jv cycler_next(jx *x, jfunc *f, const jargs *a) {
  (void)a;
  jdict *d = f->self.u.l->v[1].u.d;
  jlist *l = f->self.u.l->v[0].u.l;
  jv v = l->v[d->e[0].v.u.i % l->n];
  d->e[0].v.u.i++;
  cycler_show(x, f);
  return v;
}
static jv cycler_reset(jx *x, jfunc *f, const jargs *a) {
  (void)a;
  f->self.u.l->v[1].u.d->e[0].v.u.i = 0;
  cycler_show(x, f);
  return jv_none();
}
static jv g_cycler(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  if (!a->n_pos) return myna__jx_fail(x, MYNA_E_ARG, "a cycler of nothing");
  jv d = myna__jv_new(x, J_NAMESPACE), items = myna__jv_new(x, J_LIST), both = myna__jv_new(x, J_LIST);
  for (int i = 0; !x->rc && i < a->n_pos; i++) myna__jlist_add(x, items.u.l, a->pos[i]);
  if (x->rc) return d;
  myna__jlist_add(x, both.u.l, items);
  myna__jlist_add(x, both.u.l, d);
  myna__jdict_put(x, d.u.d, jv_z("pos"), jv_int(0));
  myna__jdict_put(x, d.u.d, jv_z("next"), myna__jv_func(x, cycler_next, "next", both));
  jv reset = myna__jv_func(x, cycler_reset, "reset", both);
  myna__jdict_put(x, d.u.d, jv_z("reset"), reset);
  if (!x->rc) cycler_show(x, reset.u.fn);
  return d;
}

void myna__jx_globals(jx *x) {
  static const struct {
    const char *name;
    jv (*fn)(jx *, jfunc *, const jargs *);
  } rows[] = {{"range", g_range},   {"dict", g_dict},     {"namespace", g_namespace},  {"raise_exception", g_raise},
              {"joiner", g_joiner}, {"cycler", g_cycler}, {"strftime_now", g_strftime}};
  for (size_t i = 0; i < MYNA__COUNT(rows) && !x->rc; i++)
    myna__jdict_put(x, &x->scope->vars, jv_z(rows[i].name), myna__jv_func(x, rows[i].fn, rows[i].name, jv_undef()));
}
