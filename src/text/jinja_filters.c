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
  if (v.t == J_UNDEF) return myna__jv_undefined(x, v, "a number");
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
  bool common = how.t == J_STR && myna__str_eq(jv_text(how), "common");
  if (!common && (how.t != J_STR || (!myna__str_eq(jv_text(how), "ceil") && !myna__str_eq(jv_text(how), "floor"))))
    return myna__jx_fail(x, MYNA_E_ARG, "the method of round is common, ceil or floor");
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
  if (n < (x->rc ? 0 : myna__ju_count(jv_text(end))))
    return myna__jx_fail(x, MYNA_E_ARG, "truncate to less than its end");
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

/* ---- lines ---- */

static bool word_byte(char c) {
  return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c & 128;
}
static bool letter_byte(char c) { return word_byte(c) && !(c >= '0' && c <= '9'); }

static bool gap_byte(char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f'; }

/* May a line end behind the hyphen at s[i]? */
static bool hyphen_ends(myna__str s, size_t i) {
  size_t behind = i + 2 < s.n && s.p[i + 2] == '-' ? i + 3 : i + 2;
  bool next = behind < s.n && letter_byte(s.p[i + 1]) && letter_byte(s.p[behind]);
  bool two = i >= 2 && letter_byte(s.p[i - 1]) && letter_byte(s.p[i - 2]);
  bool single = i >= 3 && letter_byte(s.p[i - 1]) && s.p[i - 2] == '-' && letter_byte(s.p[i - 3]);
  return next && (two || single);
}

/* Bytes of the piece of a line at s[from) that is not broken: blanks, a word, a part of one that ends in a hyphen. */
static size_t piece(myna__str s, size_t from, bool hyphens) {
  bool gap = gap_byte(s.p[from]);
  size_t i = from;
  for (; i < s.n && gap_byte(s.p[i]) == gap; i++)
    if (hyphens && s.p[i] == '-' && hyphen_ends(s, i)) return i + 1 - from;
  return i - from;
}

typedef struct wrapping {
  int64_t width;
  bool long_words, hyphens;
  jv end;
} wrapping;

/* The first bytes of a piece that is longer than a line: as many characters as there is room for, best behind a hyphen. */
static size_t broken(const wrapping *w, myna__str s, int64_t room) {
  size_t n = myna__ju_at(s, room);
  for (size_t i = n; w->hyphens && i > 1; i--)
    if (s.p[i - 1] == '-') return i;
  return n;
}

/* The pieces from s[from) that one line holds; *gap: bytes of blanks at its end. */
static size_t one_line(jx *x, const wrapping *w, myna__str s, size_t from, size_t *gap) {
  int64_t used = 0, len = 0;
  size_t i = from, n = 0;
  *gap = 0;
  while (i < s.n && myna__jx_tick(x, 1)) {
    n = piece(s, i, w->hyphens);
    len = myna__ju_count((myna__str){s.p + i, n});
    if (used + len > w->width) break;
    *gap = gap_byte(s.p[i]) ? n : 0;
    used += len;
    i += n;
  }
  if (i == s.n || len <= w->width || (!w->long_words && i > from)) return i;
  if (w->long_words) n = broken(w, (myna__str){s.p + i, n}, w->width - used);
  *gap = n && gap_byte(s.p[i]) ? n : 0;
  return i + n;
}

static void wrap_line(jx *x, jbuf *b, const wrapping *w, myna__str s) {
  bool any = false;
  for (size_t i = 0, gap; i < s.n && !x->rc;) {
    if (any && gap_byte(s.p[i])) i += piece(s, i, false);
    size_t from = i;
    i = one_line(x, w, s, i, &gap);
    if (i - from == gap) continue;
    if (any) myna__jbuf_add(x, b, w->end.u.s, w->end.n);
    myna__jbuf_add(x, b, s.p + from, i - from - gap);
    any = true;
  }
}

static jv f_wordwrap(jx *x, jv v, const jargs *a) {
  jv s = text_of(x, v);
  wrapping w = {.width = int_arg(x, a, 0, "width", 79),
                .long_words = bool_arg(a, 1, "break_long_words", true),
                .hyphens = bool_arg(a, 3, "break_on_hyphens", true),
                .end = arg(a, 2, "wrapstring", jv_none())};
  if (w.end.t != J_STR) w.end = jv_z("\n");
  if (w.width < 1) return myna__jx_fail(x, MYNA_E_ARG, "wordwrap to less than one");
  jbuf b = {0};
  for (size_t i = 0, k = 0; i < s.n && !x->rc; i += k) {
    size_t e = i;
    k = 0;
    while (e < s.n && !(k = myna__ju_break(s.u.s + e, s.n - e))) e++;
    wrap_line(x, &b, &w, (myna__str){s.u.s + i, e - i});
    if (e + k < s.n) myna__jbuf_add(x, &b, w.end.u.s, w.end.n);
    k += e - i;
  }
  return myna__jbuf_take(x, &b);
}

static jv f_filesizeformat(jx *x, jv v, const jargs *a) {
  bool ok, binary = bool_arg(a, 0, "binary", false);
  jv n = number_of(x, v, &ok);
  if (!ok) return bad_type(x, v, "filesizeformat");
  double bytes = myna__jv_num(n), base = binary ? 1024 : 1000;
  char t[400], unit[4] = {0, binary ? 'i' : 'B', binary ? 'B' : 0};
  if (bytes == 1) {
    snprintf(t, sizeof t, "1 Byte");
  } else if (bytes < base) {
    snprintf(t, sizeof t, "%.0f Bytes", trunc(bytes));
  } else { /* also what is not finite */
    int k = 1;
    for (double f = bytes / base; k < 8 && !(f < base); k++) f /= base;
    unit[0] = (binary ? "KMGTPEZY" : "kMGTPEZY")[k - 1];
    snprintf(t, sizeof t, "%.1f %s", bytes / pow(base, k), unit);
  }
  jbuf b = {0};
  myna__jbuf_z(x, &b, t);
  return myna__jbuf_take(x, &b);
}

/* Unlike v.name, never the item of a dict. */
static jv f_attr(jx *x, jv v, const jargs *a) {
  jv n = arg(a, 0, "name", jv_none());
  bool found;
  if (n.t != J_STR) return jv_undef();
  return v.t == J_DICT ? myna__jv_method(x, v, jv_text(n), &found) : myna__jv_attr(x, v, jv_text(n));
}

const jfilter_row myna__jf_text[] = {{"abs", f_abs},
                                     {"attr", f_attr},
                                     {"capitalize", f_capitalize},
                                     {"center", f_center},
                                     {"d", f_default},
                                     {"default", f_default},
                                     {"filesizeformat", f_filesizeformat},
                                     {"float", f_float},
                                     {"format", f_format},
                                     {"indent", f_indent},
                                     {"int", f_int},
                                     {"lower", f_lower},
                                     {"replace", f_replace},
                                     {"round", f_round},
                                     {"string", f_string},
                                     {"title", f_title},
                                     {"trim", f_trim},
                                     {"truncate", f_truncate},
                                     {"upper", f_upper},
                                     {"wordcount", f_wordcount},
                                     {"wordwrap", f_wordwrap},
                                     {NULL, NULL}};

/* ---- look-up ---- */

const void *myna__jinja_filter(myna__str name) {
  static const jfilter_row *const lists[] = {myna__jf_text, myna__jf_html, myna__jf_seq, myna__jf_json};
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
