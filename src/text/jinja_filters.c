/* jinja_filters.c: filters of single values and texts, and the look-up of all filters and tests. */
#include "text/jinja_filter.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <utf8proc.h>

/* ---- values ---- */

static jv f_default(jx *x, jv v, const jargs *a) {
  (void)x;
  bool use = v.t == J_UNDEF || (bool_arg(a, 1, "boolean", false) && !myna__jv_true(v));
  return use ? arg(a, 0, "default_value", jv_z("")) : v;
}

/* The number a text is, as int() and float() read it; *ok false: none. */
static jv text_number(jx *x, jv s, bool *ok) {
  jv t = myna__js_strip(x, s, jv_none(), 3);
  jbuf b = {0};
  bool lines = true;
  for (size_t i = 0; i < t.n; i++) {
    bool between = i > 0 && i + 1 < t.n && t.u.s[i - 1] >= '0' && t.u.s[i - 1] <= '9' && t.u.s[i + 1] >= '0' &&
                   t.u.s[i + 1] <= '9';
    lines &= t.u.s[i] != '_' || between;
    if (t.u.s[i] != '_') myna__jbuf_add(x, &b, t.u.s + i, 1);
  }
  myna__jbuf_add(x, &b, "", 1);
  char *end = NULL;
  double f = !x->rc && t.n && lines && !strpbrk(b.p, "xXpP(") ? strtod(b.p, &end) : 0;
  *ok = end && end == b.p + b.n - 1 && b.n > 1;
  if (!*ok || strpbrk(b.p, ".eEnN")) return jv_float(f);
  errno = 0;
  long long i = strtoll(b.p, NULL, 10);
  return errno ? jv_float(f) : jv_int((int64_t)i);
}

static jv number_of(jx *x, jv v, bool *ok) {
  *ok = true;
  if (jv_is_num(v)) return v;
  *ok = false;
  return v.t == J_STR ? text_number(x, v, ok) : jv_float(0);
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
  if (!isfinite(n.u.f) && v.t == J_STR) return missing;
  if (!(fabs(n.u.f) < 9.2e18)) return myna__jx_fail(x, MYNA_E_LIMIT, "an integer is too large");
  return jv_int((int64_t)n.u.f);
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
  bool common = how.t != J_STR || myna__str_eq(jv_text(how), "common");
  if (v.t != J_FLOAT && common && (p >= 0 || v.t == J_BOOL)) return jv_int(p < 0 ? 0 : jv_whole(v));
  if (v.t == J_FLOAT && !isfinite(v.u.f)) return p ? v : myna__jx_fail(x, MYNA_E_ARG, "round of what is not finite");
  p = MYNA__MAX(-300, MYNA__MIN(p, 300));
  double scale = pow(10, (double)p), f = myna__jv_num(v);
  if (how.t == J_STR && myna__str_eq(jv_text(how), "ceil")) return jv_float(ceil(f * scale) / scale);
  if (how.t == J_STR && myna__str_eq(jv_text(how), "floor")) return jv_float(floor(f * scale) / scale);
  if (v.t != J_FLOAT) return f_int(x, jv_float(rint(f * scale) / scale), &(jargs){0});
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
  return x->rc ? v : myna__js_strip(x, v, arg(a, 0, "chars", jv_none()), 3);
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
  for (size_t i = 0, k = 0; !x->rc;) {
    size_t e = i;
    while (e < s.n && !(k = myna__ju_break(s.u.s + e, s.n - e))) e++;
    if (i == 0 ? first : (blank || e > i)) myna__jbuf_add(x, &b, pad.u.s, pad.n);
    myna__jbuf_add(x, &b, s.u.s + i, e - i);
    if (e >= s.n) break;
    myna__jbuf_z(x, &b, "\n");
    i = e + k;
  }
  return myna__jbuf_take(x, &b);
}

static jv f_wordcount(jx *x, jv v, const jargs *a) {
  (void)a;
  jv s = text_of(x, v);
  int64_t n = 0;
  bool in = false;
  for (size_t i = 0, k; i < s.n && myna__jx_tick(x, 1); i += k) {
    k = myna__ju_len(s.u.s + i, s.n - i);
    utf8proc_category_t g = utf8proc_category((utf8proc_int32_t)myna__ju_get(s.u.s + i, k));
    bool word = (g >= UTF8PROC_CATEGORY_LU && g <= UTF8PROC_CATEGORY_LO) ||
                (g >= UTF8PROC_CATEGORY_ND && g <= UTF8PROC_CATEGORY_NO) || s.u.s[i] == '_';
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

static jv f_attr(jx *x, jv v, const jargs *a) {
  jv n = arg(a, 0, "name", jv_none());
  return n.t == J_STR ? myna__jv_attr(x, v, jv_text(n)) : jv_undef();
}

const jfilter_row myna__jf_text[] = {{"abs", f_abs},
                                     {"attr", f_attr},
                                     {"capitalize", f_capitalize},
                                     {"center", f_center},
                                     {"d", f_default},
                                     {"default", f_default},
                                     {"e", f_escape},
                                     {"escape", f_escape},
                                     {"float", f_float},
                                     {"forceescape", f_escape},
                                     {"format", f_format},
                                     {"indent", f_indent},
                                     {"int", f_int},
                                     {"lower", f_lower},
                                     {"replace", f_replace},
                                     {"round", f_round},
                                     {"safe", f_safe},
                                     {"string", f_string},
                                     {"striptags", f_striptags},
                                     {"title", f_title},
                                     {"trim", f_trim},
                                     {"truncate", f_truncate},
                                     {"upper", f_upper},
                                     {"urlencode", f_urlencode},
                                     {"wordcount", f_wordcount},
                                     {NULL, NULL}};

/* ---- look-up ---- */

const void *myna__jinja_filter(myna__str name) {
  static const jfilter_row *const lists[] = {myna__jf_text, myna__jf_seq, myna__jf_json};
  for (size_t i = 0; i < MYNA__COUNT(lists); i++)
    for (const jfilter_row *r = lists[i]; r->name; r++)
      if (myna__str_eq(name, r->name)) return r;
  return NULL;
}

const void *myna__jinja_test(myna__str name) {
  for (const jtest_row *r = myna__jt_rows; r->name; r++)
    if (myna__str_eq(name, r->name)) return r;
  return NULL;
}

jv myna__jx_filter(jx *x, const void *row, jv v, const jargs *a) {
  if (!myna__jx_tick(x, 1) || !myna__jx_enter(x)) return jv_undef();
  jv r = ((const jfilter_row *)row)->fn(x, v, a);
  x->depth--;
  return x->rc ? jv_undef() : r;
}

bool myna__jx_test(jx *x, const void *row, jv v, const jargs *a) {
  return myna__jx_tick(x, 1) && ((const jtest_row *)row)->fn(x, v, a) && !x->rc;
}
