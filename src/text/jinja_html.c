/* jinja_html.c: filters for texts in HTML and addresses. A text that is safe there is marked so; what is put together with it becomes safe, too. */
#include "text/jinja_filter.h"
#include <stdlib.h>

static jv f_safe(jx *x, jv v, const jargs *a) {
  (void)a;
  v = text_of(x, v);
  v.safe = 1;
  return v;
}

static jv escaped(jx *x, jv s) {
  static const char from[] = "&<>'\"";
  static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  jbuf b = {0};
  for (size_t i = 0; i < s.n && !x->rc; i++) {
    const char *k = s.u.s[i] ? strchr(from, s.u.s[i]) : NULL;
    if (k)
      myna__jbuf_z(x, &b, to[k - from]);
    else
      myna__jbuf_add(x, &b, s.u.s + i, 1);
  }
  jv v = myna__jbuf_take(x, &b);
  v.safe = 1;
  return v;
}

jv myna__jv_escape(jx *x, jv v) {
  v = text_of(x, v);
  return x->rc || v.safe ? v : escaped(x, v);
}

static jv f_escape(jx *x, jv v, const jargs *a) { return (void)a, myna__jv_escape(x, v); }
static jv f_forceescape(jx *x, jv v, const jargs *a) {
  (void)a;
  v = text_of(x, v);
  return x->rc ? v : escaped(x, v);
}

/* ---- tags ---- */

/* The character that the entity at s[0..n) stands for, *len its bytes; 0: it is none. */
static uint32_t entity(const char *s, size_t n, size_t *len) {
  static const struct {
    const char *name;
    uint32_t c;
  } rows[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", 39}, {"&nbsp;", 0xA0}};
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    *len = strlen(rows[i].name);
    if (n >= *len && memcmp(s, rows[i].name, *len) == 0) return rows[i].c;
  }
  char t[16] = {0}, *end;
  if (n < 4 || s[1] != '#') return 0;
  memcpy(t, s + 2, MYNA__MIN(n - 2, sizeof t - 1));
  bool hex = t[0] == 'x' || t[0] == 'X';
  unsigned long c = strtoul(t + hex, &end, hex ? 16 : 10);
  *len = (size_t)(end - t) + 3;
  return *end == ';' && end > t + hex && c > 0 && c < 0x110000 && (c < 0xD800 || c > 0xDFFF) ? (uint32_t)c : 0;
}

/* s without what stands from each open to the next close. */
static jv without(jx *x, jv s, const char *open, const char *close) {
  jbuf b = {0};
  const char *p = s.u.s, *end = p + s.n, *from, *to;
  while (!x->rc && (from = memmem(p, (size_t)(end - p), open, strlen(open))) &&
         (to = memmem(from, (size_t)(end - from), close, strlen(close)))) {
    myna__jbuf_add(x, &b, p, (size_t)(from - p));
    p = to + strlen(close);
  }
  myna__jbuf_add(x, &b, p, (size_t)(end - p));
  return myna__jbuf_take(x, &b);
}

static jv f_striptags(jx *x, jv v, const jargs *a) {
  (void)a;
  jv s = text_of(x, v);
  if (!x->rc) s = without(x, s, "<!--", "-->");
  if (!x->rc) s = without(x, s, "<", ">");
  jbuf b = {0};
  bool gap = false;
  for (size_t i = 0, k; i < s.n && !x->rc; i += k) {
    k = myna__ju_len(s.u.s + i, s.n - i);
    if (myna__ju_blank(myna__ju_get(s.u.s + i, k))) {
      gap = b.n > 0;
      continue;
    }
    if (gap) myna__jbuf_z(x, &b, " ");
    gap = false;
    char out[4];
    size_t len;
    uint32_t c = s.u.s[i] == '&' ? entity(s.u.s + i, s.n - i, &len) : 0;
    if (c)
      myna__jbuf_add(x, &b, out, myna__ju_put(out, c));
    else
      myna__jbuf_add(x, &b, s.u.s + i, k);
    if (c) k = len;
  }
  return myna__jbuf_take(x, &b);
}

/* A dict as attributes of a tag; none and undefined values are left out. */
static jv f_xmlattr(jx *x, jv v, const jargs *a) {
  jbuf b = {0};
  if (v.t != J_DICT) return bad_type(x, v, "xmlattr");
  for (int64_t i = 0; !x->rc && i < v.u.d->n; i++) {
    jv k = text_of(x, v.u.d->e[i].k), e = v.u.d->e[i].v;
    if (e.t == J_NONE || e.t == J_UNDEF) continue;
    for (size_t j = 0; j < k.n; j++)
      if (strchr(" \t\n\r\f/>=", k.u.s[j]))
        return myna__jx_fail(x, MYNA_E_ARG, "an invalid character in the name of an attribute");
    if (b.n || bool_arg(a, 0, "autospace", true)) myna__jbuf_z(x, &b, " ");
    k = myna__jv_escape(x, k);
    e = myna__jv_escape(x, e);
    myna__jbuf_add(x, &b, k.u.s, k.n);
    myna__jbuf_z(x, &b, "=\"");
    myna__jbuf_add(x, &b, e.u.s, e.n);
    myna__jbuf_z(x, &b, "\"");
  }
  return myna__jbuf_take(x, &b);
}

/* ---- addresses ---- */

static void url_quote(jx *x, jbuf *b, jv v, bool query) {
  jv s = text_of(x, v);
  for (size_t i = 0; i < s.n && !x->rc; i++) {
    unsigned char c = (unsigned char)s.u.s[i];
    char t[4] = {(char)c};
    bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c && strchr("_.-~", c)) ||
                 (c == '/' && !query);
    if (query && c == ' ')
      t[0] = '+';
    else if (!plain)
      snprintf(t, sizeof t, "%%%02X", c);
    myna__jbuf_z(x, b, t);
  }
}

/* A text, or the query of pairs. */
static jv f_urlencode(jx *x, jv v, const jargs *a) {
  (void)a;
  jbuf b = {0};
  if (!jv_is_seq(v) && v.t != J_DICT) {
    url_quote(x, &b, v, false);
    return myna__jbuf_take(x, &b);
  }
  jv l = v.t == J_DICT ? myna__jf_pairs(x, v) : v;
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jv p = myna__jv_iter(x, l.u.l->v[i]);
    if (x->rc || p.u.l->n != 2) return bad_type(x, l.u.l->v[i], "urlencode");
    if (i) myna__jbuf_z(x, &b, "&");
    url_quote(x, &b, p.u.l->v[0], true);
    myna__jbuf_z(x, &b, "=");
    url_quote(x, &b, p.u.l->v[1], true);
  }
  return myna__jbuf_take(x, &b);
}

const jfilter_row myna__jf_html[] = {{"e", f_escape},
                                     {"escape", f_escape},
                                     {"forceescape", f_forceescape},
                                     {"safe", f_safe},
                                     {"striptags", f_striptags},
                                     {"urlencode", f_urlencode},
                                     {"xmlattr", f_xmlattr},
                                     {NULL, NULL}};
