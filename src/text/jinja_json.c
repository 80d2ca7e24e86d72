/* jinja_json.c: JSON out of values as Python's json.dumps writes it, and values out of JSON. */
#include "text/jinja_filter.h"
#include <math.h>
#include <stdio.h>

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
  if (!jv_is_num(k) && k.t != J_NONE) {
    myna__jx_fail(x, MYNA_E_ARG, "keys must be str, int, float, bool or None, not %s", myna__jv_type(k));
    return;
  }
  json_value(x, &t, s, k, 0);
  json_text(x, b, myna__jbuf_take(x, &t), s->ascii);
}

static jv first_of(jx *x, jv v, const jargs *a) {
  (void)a;
  return myna__jv_item(x, v, jv_int(0));
}

static void json_dict(jx *x, jbuf *b, const json_style *s, jv v, int level) {
  jv l = myna__jf_pairs(x, v);
  if (s->sort && !x->rc) l = myna__jf_sorted(x, l, first_of, NULL, false, true);
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
  } else if (jv_is_seq(v)) { /* also what map() gives, which Python refuses */
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
  /* What jansson makes of a byte may be as large as this; it is not in the arena. */
  enum { WORST = 40 };
  if (v.n > (x->max_bytes - x->used) / WORST)
    return myna__jx_fail(x, MYNA_E_LIMIT, "more than %zu bytes of memory", x->max_bytes);
  x->used += (size_t)v.n * WORST;
  if (!myna__jx_tick(x, v.n / 8)) return jv_undef();
  json_t *j = json_loadb(v.u.s, v.n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
  if (!j) return myna__jx_fail(x, MYNA_E_ARG, "from_json: %s", e.text);
  if (json_array_append_new(x->docs, j)) return myna__jx_fail(x, MYNA_E_NOMEM, "no memory"); /* strings are borrowed */
  return myna__jv_json(x, j);
}

const jfilter_row myna__jf_json[] = {
    {"from_json", f_fromjson}, {"fromjson", f_fromjson}, {"tojson", f_tojson}, {NULL, NULL}};
