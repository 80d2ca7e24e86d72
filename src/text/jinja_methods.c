/* jinja_methods.c: methods of Python's strings, dicts and lists, one row each. */
#include "text/jinja_value.h"
#include <stdlib.h>
#include <utf8proc.h>

static jv arg(const jargs *a, int i, const char *name, jv missing) { return myna__jx_arg(a, i, name, missing); }

/* ---- shared with filters ---- */

static bool in_set(jv chars, const char *p, size_t n) { return memmem(chars.u.s, chars.n, p, n) != NULL; }

jv myna__js_strip(jx *x, jv s, jv chars, int sides) {
  bool set = chars.t == J_STR;
  uint64_t work = set ? 1 + chars.n / 64 : 1;
  size_t a = 0, e = s.n;
  while ((sides & 1) && a < e && myna__jx_tick(x, work)) {
    size_t k = MYNA__MIN(myna__ju_len(s.u.s + a, e - a), e - a);
    if (set ? !in_set(chars, s.u.s + a, k) : !myna__ju_blank(myna__ju_get(s.u.s + a, k))) break;
    a += k;
  }
  while ((sides & 2) && e > a && myna__jx_tick(x, work)) {
    size_t k = 1;
    while (k < 4 && e - k > a && ((unsigned char)s.u.s[e - k] & 0xC0) == 0x80) k++;
    if (set ? !in_set(chars, s.u.s + e - k, k) : !myna__ju_blank(myna__ju_get(s.u.s + e - k, k))) break;
    e -= k;
  }
  return jv_str(s.u.s + a, e - a);
}

jv myna__js_replace(jx *x, myna__str s, myna__str from, myna__str to, int64_t count) {
  jbuf b = {0};
  size_t i = 0;
  for (int64_t done = 0; !x->rc && (count < 0 || done < count) && i <= s.n; done++) {
    if (from.n == 0) { /* between all characters */
      myna__jbuf_add(x, &b, to.p, to.n);
      if (i == s.n) break;
      size_t k = myna__ju_len(s.p + i, s.n - i);
      myna__jbuf_add(x, &b, s.p + i, k);
      i += k;
      continue;
    }
    const char *hit = i < s.n ? memmem(s.p + i, s.n - i, from.p, from.n) : NULL;
    if (!hit) break;
    myna__jbuf_add(x, &b, s.p + i, (size_t)(hit - s.p) - i);
    myna__jbuf_add(x, &b, to.p, to.n);
    i = (size_t)(hit - s.p) + from.n;
  }
  myna__jbuf_add(x, &b, s.p + i, s.n - i);
  return myna__jbuf_take(x, &b);
}

/* ---- strings ---- */

static jv s_upper(jx *x, jfunc *f, const jargs *a) { return (void)a, myna__jv_case(x, f->self, 'u'); }
static jv s_lower(jx *x, jfunc *f, const jargs *a) { return (void)a, myna__jv_case(x, f->self, 'l'); }
static jv s_title(jx *x, jfunc *f, const jargs *a) { return (void)a, myna__jv_case(x, f->self, 't'); }
static jv s_capitalize(jx *x, jfunc *f, const jargs *a) { return (void)a, myna__jv_case(x, f->self, 'c'); }
static jv s_strip(jx *x, jfunc *f, const jargs *a) { return myna__js_strip(x, f->self, arg(a, 0, NULL, jv_none()), 3); }
static jv s_lstrip(jx *x, jfunc *f, const jargs *a) {
  return myna__js_strip(x, f->self, arg(a, 0, NULL, jv_none()), 1);
}
static jv s_rstrip(jx *x, jfunc *f, const jargs *a) {
  return myna__js_strip(x, f->self, arg(a, 0, NULL, jv_none()), 2);
}

static bool affix(jv s, jv t, bool end) {
  return t.t == J_STR && t.n <= s.n && (t.n == 0 || memcmp(end ? s.u.s + s.n - t.n : s.u.s, t.u.s, t.n) == 0);
}

/* The part of s that the arguments at 1 and 2, first and last place, leave; *from where it begins, in characters. False: it begins behind the end. */
static bool part(jx *x, jv *s, const jargs *a, int64_t *from) {
  *from = 0;
  if (a->n_pos < 2) return true;
  int64_t n = myna__ju_count(jv_text(*s)), p[2] = {0, n};
  myna__jx_tick(x, s->n / 16);
  for (int i = 0; i < 2 && i + 1 < a->n_pos; i++) {
    jv v = a->pos[i + 1];
    if (v.t != J_NONE && v.t != J_INT && v.t != J_BOOL)
      myna__jx_fail(x, MYNA_E_ARG, "a place in a string must be an integer, not %s", myna__jv_type(v));
    if (v.t == J_NONE) continue;
    p[i] = jv_whole(v) < 0 ? MYNA__MAX(0, jv_whole(v) + n) : jv_whole(v);
  }
  *from = p[0];
  if (p[0] > n || p[0] > p[1]) return false;
  size_t at = myna__ju_at(jv_text(*s), p[0]);
  *s = jv_str(s->u.s + at, myna__ju_at((myna__str){s->u.s + at, s->n - at}, MYNA__MIN(p[1], n) - p[0]));
  return true;
}

static jv has_affix(jx *x, jv s, const jargs *a, bool end) {
  jv t = arg(a, 0, NULL, jv_undef());
  int64_t from;
  bool any = part(x, &s, a, &from);
  if (t.t == J_STR) myna__jx_tick(x, t.n / 64);
  if (t.t == J_STR) return jv_bool(any && affix(s, t, end));
  if (t.t != J_TUPLE)
    return myna__jx_fail(x, MYNA_E_ARG, "an affix must be a string or a tuple, not '%s'", myna__jv_type(t));
  for (int64_t i = 0; any && i < t.u.l->n; i++)
    if (affix(s, t.u.l->v[i], end)) return jv_bool(true);
  return jv_bool(false);
}
static jv s_startswith(jx *x, jfunc *f, const jargs *a) { return has_affix(x, f->self, a, false); }
static jv s_endswith(jx *x, jfunc *f, const jargs *a) { return has_affix(x, f->self, a, true); }
static jv without_affix(jv s, const jargs *a, bool end) {
  jv t = arg(a, 0, NULL, jv_undef());
  return affix(s, t, end) ? jv_str(s.u.s + (end ? 0 : t.n), s.n - t.n) : s;
}
static jv s_removeprefix(jx *x, jfunc *f, const jargs *a) { return (void)x, without_affix(f->self, a, false); }
static jv s_removesuffix(jx *x, jfunc *f, const jargs *a) { return (void)x, without_affix(f->self, a, true); }

static bool need_text(jx *x, jv v) {
  if (v.t != J_STR) myna__jx_fail(x, MYNA_E_ARG, "must be str, not %s", myna__jv_type(v));
  return !x->rc;
}

static jv s_replace(jx *x, jfunc *f, const jargs *a) {
  jv from = arg(a, 0, NULL, jv_undef()), to = arg(a, 1, NULL, jv_undef()), n = arg(a, 2, "count", jv_int(-1));
  if (!need_text(x, from) || !need_text(x, to)) return jv_undef();
  return myna__js_replace(x, jv_text(f->self), jv_text(from), jv_text(to), n.t == J_INT ? n.u.i : -1);
}

/* Bytes of the character at i of s, and whether it is a blank. */
static size_t step(jv s, size_t i, bool *blank) {
  size_t k = myna__ju_len(s.u.s + i, s.n - i);
  *blank = myna__ju_blank(myna__ju_get(s.u.s + i, k));
  return k;
}

static void split_blank(jx *x, jlist *l, jv s, int64_t max) {
  size_t i = 0, k;
  bool blank;
  while (!x->rc) {
    while (i < s.n && (k = step(s, i, &blank), blank)) i += k;
    if (i == s.n) return;
    size_t e = i;
    if (max >= 0 && l->n >= max) {
      myna__jlist_add(x, l, jv_str(s.u.s + i, s.n - i));
      return;
    }
    while (e < s.n && (k = step(s, e, &blank), !blank)) e += k;
    myna__jlist_add(x, l, jv_str(s.u.s + i, e - i));
    i = e;
  }
}

/* From the end: at most max words, then what is before them; the list is backwards. */
static void rsplit_blank(jx *x, jlist *l, jv s, int64_t max) {
  while (!x->rc) {
    s = myna__js_strip(x, s, jv_none(), 2);
    if (!s.n) return;
    size_t i = 0, word = 0, k;
    bool blank;
    for (; i < s.n; i += k)
      if (k = step(s, i, &blank), blank) word = i + k;
    myna__jx_tick(x, s.n / 16);
    if (l->n >= max) word = 0;
    myna__jlist_add(x, l, jv_str(s.u.s + word, s.n - word));
    s.n = (uint32_t)word;
  }
}

static jv s_split(jx *x, jfunc *f, const jargs *a) {
  jv sep = arg(a, 0, "sep", jv_none()), n = arg(a, 1, "maxsplit", jv_int(-1)), s = f->self,
     out = myna__jv_new(x, J_LIST);
  int64_t max = n.t == J_INT ? n.u.i : -1;
  if (x->rc) return out;
  if (sep.t == J_NONE) {
    split_blank(x, out.u.l, s, max);
    return out;
  }
  if (!need_text(x, sep)) return out;
  if (!sep.n) return myna__jx_fail(x, MYNA_E_ARG, "empty separator");
  size_t i = 0;
  while (!x->rc && (max < 0 || out.u.l->n < max)) {
    const char *hit = i < s.n ? memmem(s.u.s + i, s.n - i, sep.u.s, sep.n) : NULL;
    myna__jx_tick(x, (hit ? (size_t)(hit - s.u.s) - i : s.n - i) / 64);
    if (!hit) break;
    myna__jlist_add(x, out.u.l, jv_str(s.u.s + i, (size_t)(hit - s.u.s) - i));
    i = (size_t)(hit - s.u.s) + sep.n;
  }
  myna__jlist_add(x, out.u.l, jv_str(s.u.s + i, s.n - i));
  return out;
}

/* Last place of t in s[0..n), or -1. */
static int64_t last_hit(jx *x, const char *s, size_t n, jv t) {
  for (size_t i = n >= t.n ? n - t.n + 1 : 0; i > 0; i--) {
    if (t.n == 0 || (s[i - 1] == t.u.s[0] && memcmp(s + i - 1, t.u.s, t.n) == 0)) return (int64_t)i - 1;
    if (!myna__jx_tick(x, s[i - 1] == t.u.s[0] ? 1 + t.n / 64 : i % 64 == 0)) break;
  }
  return -1;
}

static jv s_rsplit(jx *x, jfunc *f, const jargs *a) {
  jv sep = arg(a, 0, "sep", jv_none()), n = arg(a, 1, "maxsplit", jv_int(-1)), s = f->self;
  int64_t max = n.t == J_INT ? n.u.i : -1;
  if (max < 0) return s_split(x, f, a);
  jv out = myna__jv_new(x, J_LIST), rev = myna__jv_new(x, J_LIST);
  if (x->rc) return out;
  size_t e = s.n;
  if (sep.t == J_NONE) rsplit_blank(x, rev.u.l, s, max);
  if (sep.t != J_NONE && !need_text(x, sep)) return out;
  if (sep.t != J_NONE && !sep.n) return myna__jx_fail(x, MYNA_E_ARG, "empty separator");
  for (int64_t hit; sep.t != J_NONE && !x->rc && rev.u.l->n < max && (hit = last_hit(x, s.u.s, e, sep)) >= 0;
       e = (size_t)hit)
    myna__jlist_add(x, rev.u.l, jv_str(s.u.s + hit + sep.n, e - (size_t)hit - sep.n));
  if (sep.t != J_NONE) myna__jlist_add(x, out.u.l, jv_str(s.u.s, e));
  for (int64_t i = rev.u.l->n; i > 0 && !x->rc; i--) myna__jlist_add(x, out.u.l, rev.u.l->v[i - 1]);
  return out;
}

static jv s_splitlines(jx *x, jfunc *f, const jargs *a) {
  bool keep = myna__jv_true(arg(a, 0, "keepends", jv_bool(false)));
  jv s = f->self, out = myna__jv_new(x, J_LIST);
  for (size_t i = 0; i < s.n && !x->rc;) {
    size_t e = i, k = 0;
    while (e < s.n && !(k = myna__ju_break(s.u.s + e, s.n - e))) e++;
    size_t next = e + (e < s.n ? k : 0);
    myna__jlist_add(x, out.u.l, jv_str(s.u.s + i, (keep ? next : e) - i));
    i = next;
  }
  return out;
}

static jv cut_at(jx *x, jv s, jv sep, int64_t at) {
  jv out = myna__jv_new(x, J_TUPLE);
  if (x->rc) return out;
  size_t e = at < 0 ? 0 : (size_t)at + sep.n;
  myna__jlist_add(x, out.u.l, jv_str(s.u.s, at < 0 ? 0 : (size_t)at));
  myna__jlist_add(x, out.u.l, at < 0 ? jv_z("") : sep);
  myna__jlist_add(x, out.u.l, jv_str(s.u.s + e, s.n - e));
  return out;
}

static jv s_partition(jx *x, jfunc *f, const jargs *a) {
  jv sep = arg(a, 0, NULL, jv_undef()), s = f->self;
  if (!need_text(x, sep) || !myna__jx_tick(x, s.n / 64)) return jv_undef();
  if (!sep.n) return myna__jx_fail(x, MYNA_E_ARG, "empty separator");
  const char *hit = memmem(s.u.s, s.n, sep.u.s, sep.n);
  jv out = cut_at(x, s, sep, hit ? hit - s.u.s : -1);
  if (!hit && !x->rc) out.u.l->v[0] = s, out.u.l->v[2] = jv_z("");
  return out;
}
static jv s_rpartition(jx *x, jfunc *f, const jargs *a) {
  jv sep = arg(a, 0, NULL, jv_undef()), s = f->self;
  if (!need_text(x, sep)) return jv_undef();
  if (!sep.n) return myna__jx_fail(x, MYNA_E_ARG, "empty separator");
  return cut_at(x, s, sep, last_hit(x, s.u.s, s.n, sep));
}

static jv where(jx *x, jfunc *f, const jargs *a, bool last) {
  jv t = arg(a, 0, NULL, jv_undef()), s = f->self;
  if (!need_text(x, t) || !myna__jx_tick(x, s.n / 64)) return t;
  int64_t at, from;
  if (!part(x, &s, a, &from)) return jv_int(-1);
  if (last) {
    at = last_hit(x, s.u.s, s.n, t);
  } else {
    const char *hit = t.n ? memmem(s.u.s, s.n, t.u.s, t.n) : s.u.s;
    at = hit ? hit - s.u.s : -1;
  }
  return jv_int(at < 0 ? -1 : from + myna__ju_count((myna__str){s.u.s, (size_t)at}));
}
static jv s_find(jx *x, jfunc *f, const jargs *a) { return where(x, f, a, false); }
static jv s_rfind(jx *x, jfunc *f, const jargs *a) { return where(x, f, a, true); }
static jv found_at(jx *x, jv v) {
  return v.t == J_INT && v.u.i < 0 ? myna__jx_fail(x, MYNA_E_ARG, "substring not found") : v;
}
static jv s_index(jx *x, jfunc *f, const jargs *a) { return found_at(x, where(x, f, a, false)); }
static jv s_rindex(jx *x, jfunc *f, const jargs *a) { return found_at(x, where(x, f, a, true)); }

static jv s_count(jx *x, jfunc *f, const jargs *a) {
  jv t = arg(a, 0, NULL, jv_undef()), s = f->self;
  int64_t from;
  if (!need_text(x, t) || !myna__jx_tick(x, s.n / 64)) return t;
  if (!part(x, &s, a, &from)) return jv_int(0);
  if (!t.n) return jv_int(myna__ju_count(jv_text(s)) + 1);
  int64_t n = 0;
  for (const char *p = s.u.s, *end = p + s.n; (p = memmem(p, (size_t)(end - p), t.u.s, t.n)); p += t.n) n++;
  return jv_int(n);
}

static jv s_join(jx *x, jfunc *f, const jargs *a) {
  jv l = myna__jv_iter(x, arg(a, 0, NULL, jv_undef()));
  jbuf b = {0};
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    if (!need_text(x, l.u.l->v[i])) break;
    if (i) myna__jbuf_add(x, &b, f->self.u.s, f->self.n);
    myna__jbuf_add(x, &b, l.u.l->v[i].u.s, l.u.l->v[i].n);
  }
  return myna__jbuf_take(x, &b);
}

/* The method's text with fillers before and behind, up to the width that is its first argument. */
static jv filled(jx *x, jfunc *f, const jargs *a, char how) {
  jv w = arg(a, 0, NULL, jv_none()), fill = arg(a, 1, NULL, jv_z(" "));
  if (w.t != J_INT && w.t != J_BOOL)
    return myna__jx_fail(x, MYNA_E_ARG, "a width must be an integer, not %s", myna__jv_type(w));
  if (fill.t != J_STR || !fill.n || myna__ju_len(fill.u.s, fill.n) != fill.n)
    return myna__jx_fail(x, MYNA_E_ARG, "the fill must be exactly one character long");
  myna__str s = jv_text(f->self);
  myna__jx_tick(x, s.n / 16);
  int64_t width = jv_whole(w), pad = MYNA__MAX(0, MYNA__MIN(width, INT32_MAX) - myna__ju_count(s));
  int64_t left = how == 'c' ? pad / 2 + (pad & width & 1) : how == '<' ? 0 : pad;
  uint32_t c = how == '0' ? '0' : myna__ju_get(fill.u.s, fill.n);
  size_t head = how == '0' && s.n && (s.p[0] == '-' || s.p[0] == '+');
  jbuf b = {0};
  myna__jbuf_add(x, &b, s.p, head);
  myna__jf_fill(x, &b, c, left);
  myna__jbuf_add(x, &b, s.p + head, s.n - head);
  myna__jf_fill(x, &b, c, pad - left);
  return myna__jbuf_take(x, &b);
}
static jv s_center(jx *x, jfunc *f, const jargs *a) { return filled(x, f, a, 'c'); }
static jv s_ljust(jx *x, jfunc *f, const jargs *a) { return filled(x, f, a, '<'); }
static jv s_rjust(jx *x, jfunc *f, const jargs *a) { return filled(x, f, a, '>'); }
static jv s_zfill(jx *x, jfunc *f, const jargs *a) { return filled(x, f, a, '0'); }

static jv s_expandtabs(jx *x, jfunc *f, const jargs *a) {
  jv w = arg(a, 0, "tabsize", jv_int(8));
  int64_t size = w.t == J_INT ? MYNA__MIN(w.u.i, 1000000) : 8, at = 0;
  jbuf b = {0};
  jv s = f->self;
  for (size_t i = 0; i < s.n && !x->rc;) {
    size_t k = myna__ju_len(s.u.s + i, s.n - i);
    char c = s.u.s[i];
    if (c == '\t') {
      int64_t pad = size > 0 ? size - at % size : 0;
      myna__jf_fill(x, &b, ' ', pad);
      at += pad;
    } else {
      myna__jbuf_add(x, &b, s.u.s + i, k);
      at = c == '\n' || c == '\r' ? 0 : at + 1;
    }
    i += k;
  }
  return myna__jbuf_take(x, &b);
}

/* Are all characters of one kind, and is there any? */
static jv all_are(jx *x, jv s, char kind) {
  for (size_t i = 0; i < s.n && myna__jx_tick(x, 1);) {
    size_t k = myna__ju_len(s.u.s + i, s.n - i);
    uint32_t c = myna__ju_get(s.u.s + i, k);
    utf8proc_category_t g = utf8proc_category((utf8proc_int32_t)c);
    bool letter = g >= UTF8PROC_CATEGORY_LU && g <= UTF8PROC_CATEGORY_LO, decimal = g == UTF8PROC_CATEGORY_ND;
    bool number = decimal || g == UTF8PROC_CATEGORY_NL || g == UTF8PROC_CATEGORY_NO;
    bool digit = decimal || c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0x2070 && c <= 0x2089 && number) ||
                 (c >= 0x2460 && c <= 0x2468);
    bool is = kind == 'd'   ? digit
              : kind == 'D' ? decimal
              : kind == 'N' ? number
              : kind == 'a' ? letter
              : kind == 'n' ? letter || number
                            : myna__ju_blank(c);
    if (!is) return jv_bool(false);
    i += k;
  }
  return jv_bool(s.n > 0);
}
static jv s_isdigit(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 'd'); }
static jv s_isdecimal(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 'D'); }
static jv s_isnumeric(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 'N'); }
static jv s_isalpha(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 'a'); }
static jv s_isalnum(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 'n'); }
static jv s_isspace(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 's'); }
static jv s_isascii(jx *x, jfunc *f, const jargs *a) {
  (void)x, (void)a;
  for (uint32_t i = 0; i < f->self.n; i++)
    if ((unsigned char)f->self.u.s[i] >= 0x80) return jv_bool(false);
  return jv_bool(true);
}
/* Is all that has case of this one ('u', 'l', or 't': words with one capital), and is there any? */
static jv all_cased(jx *x, jv s, char how) {
  bool any = false, in_word = false;
  for (size_t i = 0; i < s.n && myna__jx_tick(x, 1);) {
    size_t k = myna__ju_len(s.u.s + i, s.n - i);
    char c = myna__ju_case(myna__ju_get(s.u.s + i, k));
    if (c && (how == 't' ? in_word != (c == 'l') : c != how)) return jv_bool(false);
    any |= c != 0;
    in_word = c != 0;
    i += k;
  }
  return jv_bool(any);
}
static jv s_isprintable(jx *x, jfunc *f, const jargs *a) {
  (void)a;
  jv s = f->self;
  for (size_t i = 0, k; i < s.n && myna__jx_tick(x, 1); i += k) {
    k = myna__ju_len(s.u.s + i, s.n - i);
    uint32_t c = myna__ju_get(s.u.s + i, k);
    if (c < 32 || c == 127 || (k > 1 && myna__ju_hidden(c))) return jv_bool(false);
  }
  return jv_bool(true);
}
static jv s_isidentifier(jx *x, jfunc *f, const jargs *a) {
  (void)a;
  jv s = f->self;
  for (size_t i = 0, k; i < s.n && myna__jx_tick(x, 1); i += k) {
    k = myna__ju_len(s.u.s + i, s.n - i);
    utf8proc_category_t g = utf8proc_category((utf8proc_int32_t)myna__ju_get(s.u.s + i, k));
    bool letter =
        (g >= UTF8PROC_CATEGORY_LU && g <= UTF8PROC_CATEGORY_LO) || g == UTF8PROC_CATEGORY_NL || s.u.s[i] == '_';
    bool more = g == UTF8PROC_CATEGORY_ND || g == UTF8PROC_CATEGORY_MN || g == UTF8PROC_CATEGORY_MC ||
                g == UTF8PROC_CATEGORY_PC;
    if (!letter && !(i && more)) return jv_bool(false);
  }
  return jv_bool(s.n > 0);
}
static jv s_isupper(jx *x, jfunc *f, const jargs *a) { return (void)a, all_cased(x, f->self, 'u'); }
static jv s_islower(jx *x, jfunc *f, const jargs *a) { return (void)a, all_cased(x, f->self, 'l'); }
static jv s_istitle(jx *x, jfunc *f, const jargs *a) { return (void)a, all_cased(x, f->self, 't'); }
static jv s_swapcase(jx *x, jfunc *f, const jargs *a) { return (void)a, myna__jv_case(x, f->self, 's'); }
static jv s_casefold(jx *x, jfunc *f, const jargs *a) { return (void)a, myna__jv_case(x, f->self, 'f'); }
static jv s_format(jx *x, jfunc *f, const jargs *a) { return myna__jv_format_fields(x, f->self, a); }

/* ---- dicts and lists ---- */

static jv dict_part(jx *x, jv d, bool keys, bool values) {
  jv out = myna__jv_new(x, J_LIST);
  for (int64_t i = 0; !x->rc && i < d.u.d->n; i++) {
    jv p = keys ? d.u.d->e[i].k : d.u.d->e[i].v;
    if (keys && values) {
      p = myna__jv_new(x, J_TUPLE);
      if (x->rc) break;
      myna__jlist_add(x, p.u.l, d.u.d->e[i].k);
      myna__jlist_add(x, p.u.l, d.u.d->e[i].v);
    }
    myna__jlist_add(x, out.u.l, p);
  }
  out.n = keys && values ? JV_ITEMS : keys ? JV_KEYS : JV_VALUES;
  return out;
}
static jv d_items(jx *x, jfunc *f, const jargs *a) { return (void)a, dict_part(x, f->self, true, true); }
static jv d_keys(jx *x, jfunc *f, const jargs *a) { return (void)a, dict_part(x, f->self, true, false); }
static jv d_values(jx *x, jfunc *f, const jargs *a) { return (void)a, dict_part(x, f->self, false, true); }

static jv d_get(jx *x, jfunc *f, const jargs *a) {
  bool found;
  jv v = myna__jdict_get(x, f->self.u.d, arg(a, 0, "key", jv_none()), &found);
  return found ? v : arg(a, 1, "default", jv_none());
}

static jv d_pop(jx *x, jfunc *f, const jargs *a) {
  bool found;
  jv k = arg(a, 0, NULL, jv_none()), v = myna__jdict_get(x, f->self.u.d, k, &found);
  if (found) myna__jdict_del(x, f->self.u.d, k);
  if (!found && a->n_pos < 2) return myna__jx_fail(x, MYNA_E_ARG, "pop of a key that is not there");
  return found ? v : a->pos[1];
}

static jv d_update(jx *x, jfunc *f, const jargs *a) {
  jv o = arg(a, 0, NULL, jv_none());
  for (int64_t i = 0; jv_is_dict(o) && !x->rc && i < o.u.d->n; i++)
    myna__jdict_put(x, f->self.u.d, o.u.d->e[i].k, o.u.d->e[i].v);
  for (int i = 0; !x->rc && i < a->n_kw; i++)
    myna__jdict_put(x, f->self.u.d, jv_str(a->names[i].p, a->names[i].n), a->values[i]);
  return jv_none();
}

static jv d_setdefault(jx *x, jfunc *f, const jargs *a) {
  bool found;
  jv k = arg(a, 0, NULL, jv_none()), v = myna__jdict_get(x, f->self.u.d, k, &found);
  if (found) return v;
  v = arg(a, 1, NULL, jv_none());
  myna__jdict_put(x, f->self.u.d, k, v);
  return v;
}

static jv d_copy(jx *x, jfunc *f, const jargs *a) {
  (void)a;
  jv out = myna__jv_new(x, J_DICT);
  const jdict *d = f->self.u.d;
  for (int64_t i = 0; !x->rc && i < d->n; i++) myna__jdict_put(x, out.u.d, d->e[i].k, d->e[i].v);
  return out;
}

static jv l_append(jx *x, jfunc *f, const jargs *a) {
  myna__jlist_add(x, f->self.u.l, arg(a, 0, NULL, jv_none()));
  return jv_none();
}

static jv l_extend(jx *x, jfunc *f, const jargs *a) {
  jv l = myna__jv_iter(x, arg(a, 0, NULL, jv_undef()));
  int64_t n = x->rc ? 0 : l.u.l->n; /* it may be the list itself */
  for (int64_t i = 0; !x->rc && i < n; i++) myna__jlist_add(x, f->self.u.l, l.u.l->v[i]);
  return jv_none();
}

static jv l_pop(jx *x, jfunc *f, const jargs *a) {
  jlist *l = f->self.u.l;
  jv at = arg(a, 0, NULL, jv_int(-1));
  int64_t i = at.t != J_INT ? -1 : at.u.i < 0 ? at.u.i + l->n : at.u.i;
  if (i < 0 || i >= l->n) return myna__jx_fail(x, MYNA_E_ARG, "pop index out of range");
  jv v = l->v[i];
  memmove(l->v + i, l->v + i + 1, (size_t)(l->n - i - 1) * sizeof *l->v);
  l->n--;
  myna__jx_tick(x, (uint64_t)(l->n - i));
  return v;
}

static jv l_insert(jx *x, jfunc *f, const jargs *a) {
  jlist *l = f->self.u.l;
  jv at = arg(a, 0, NULL, jv_int(0));
  int64_t i = at.t == J_INT ? at.u.i : 0, n = l->n;
  i = MYNA__MAX(0, MYNA__MIN(i < 0 ? i + n : i, n));
  myna__jlist_add(x, l, jv_none());
  if (x->rc) return jv_none();
  memmove(l->v + i + 1, l->v + i, (size_t)(n - i) * sizeof *l->v);
  l->v[i] = arg(a, 1, NULL, jv_none());
  myna__jx_tick(x, (uint64_t)(n - i));
  return jv_none();
}

static jv l_count(jx *x, jfunc *f, const jargs *a) {
  int64_t n = 0;
  for (int64_t i = 0; !x->rc && i < f->self.u.l->n; i++)
    n += myna__jv_equal(x, f->self.u.l->v[i], arg(a, 0, NULL, jv_none()));
  return jv_int(n);
}

static jv l_index(jx *x, jfunc *f, const jargs *a) {
  for (int64_t i = 0; !x->rc && i < f->self.u.l->n; i++)
    if (myna__jv_equal(x, f->self.u.l->v[i], arg(a, 0, NULL, jv_none()))) return jv_int(i);
  return myna__jx_fail(x, MYNA_E_ARG, "index of what is not in the list");
}

static jv l_copy(jx *x, jfunc *f, const jargs *a) {
  (void)a;
  jv out = myna__jv_new(x, J_LIST);
  for (int64_t i = 0; !x->rc && i < f->self.u.l->n; i++) myna__jlist_add(x, out.u.l, f->self.u.l->v[i]);
  return out;
}

typedef struct method_row {
  char of; /* 's'tring, 'd'ict, 'l'ist, 't': list or tuple */
  const char *name;
  jv (*fn)(jx *x, jfunc *f, const jargs *a);
} method_row;

static const method_row rows[] = {{'s', "capitalize", s_capitalize},
                                  {'s', "center", s_center},
                                  {'s', "count", s_count},
                                  {'s', "expandtabs", s_expandtabs},
                                  {'s', "isascii", s_isascii},
                                  {'s', "istitle", s_istitle},
                                  {'s', "rindex", s_rindex},
                                  {'s', "rpartition", s_rpartition},
                                  {'s', "swapcase", s_swapcase},
                                  {'s', "endswith", s_endswith},
                                  {'s', "find", s_find},
                                  {'s', "format", s_format},
                                  {'s', "index", s_index},
                                  {'s', "isalnum", s_isalnum},
                                  {'s', "isalpha", s_isalpha},
                                  {'s', "isdigit", s_isdigit},
                                  {'s', "isidentifier", s_isidentifier},
                                  {'s', "isprintable", s_isprintable},
                                  {'s', "isnumeric", s_isnumeric},
                                  {'s', "isdecimal", s_isdecimal},
                                  {'s', "islower", s_islower},
                                  {'s', "isspace", s_isspace},
                                  {'s', "isupper", s_isupper},
                                  {'s', "join", s_join},
                                  {'s', "ljust", s_ljust},
                                  {'s', "lower", s_lower},
                                  {'s', "casefold", s_casefold},
                                  {'s', "lstrip", s_lstrip},
                                  {'s', "partition", s_partition},
                                  {'s', "removeprefix", s_removeprefix},
                                  {'s', "removesuffix", s_removesuffix},
                                  {'s', "replace", s_replace},
                                  {'s', "rfind", s_rfind},
                                  {'s', "rjust", s_rjust},
                                  {'s', "rsplit", s_rsplit},
                                  {'s', "rstrip", s_rstrip},
                                  {'s', "split", s_split},
                                  {'s', "splitlines", s_splitlines},
                                  {'s', "startswith", s_startswith},
                                  {'s', "strip", s_strip},
                                  {'s', "title", s_title},
                                  {'s', "upper", s_upper},
                                  {'s', "zfill", s_zfill},
                                  {'d', "copy", d_copy},
                                  {'d', "get", d_get},
                                  {'d', "items", d_items},
                                  {'d', "keys", d_keys},
                                  {'d', "pop", d_pop},
                                  {'d', "setdefault", d_setdefault},
                                  {'d', "update", d_update},
                                  {'d', "values", d_values},
                                  {'l', "append", l_append},
                                  {'l', "copy", l_copy},
                                  {'l', "extend", l_extend},
                                  {'l', "insert", l_insert},
                                  {'l', "pop", l_pop},
                                  {'t', "count", l_count},
                                  {'t', "index", l_index}};

jv myna__jv_method(jx *x, jv v, myna__str name, bool *found) {
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    char of = rows[i].of;
    bool fits = of == 's'   ? v.t == J_STR
                : of == 'd' ? v.t == J_DICT
                : of == 'l' ? v.t == J_LIST
                            : v.t == J_LIST || v.t == J_TUPLE;
    if (!fits || !myna__str_eq(name, rows[i].name)) continue;
    *found = true;
    return myna__jv_func(x, rows[i].fn, rows[i].name, v);
  }
  *found = false;
  return jv_undef();
}
