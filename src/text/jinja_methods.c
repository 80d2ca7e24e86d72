/* jinja_methods.c: methods of Python's strings, dicts and lists, one row each, and formatting by % and format(). */
#include "text/jinja_value.h"
#include <stdlib.h>
#include <utf8proc.h>

static jv arg(const jargs *a, int i, const char *name, jv missing) { return myna__jx_arg(a, i, name, missing); }
static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f); }

/* ---- shared with filters ---- */

static bool in_set(jv chars, const char *p, size_t n) { return memmem(chars.u.s, chars.n, p, n) != NULL; }

jv myna__js_strip(jx *x, jv s, jv chars, int sides) {
  bool set = chars.t == J_STR;
  uint64_t work = set ? 1 + chars.n / 64 : 1;
  size_t a = 0, e = s.n;
  while ((sides & 1) && a < e && myna__jx_tick(x, work)) {
    size_t k = MYNA__MIN(myna__ju_len(s.u.s + a, e - a), e - a);
    uint32_t c = myna__ju_get(s.u.s + a, k);
    if (set ? !in_set(chars, s.u.s + a, k)
            : !(is_blank(s.u.s[a]) || c == 0xA0 || c == 0x3000 || c == 0x2028 || c == 0x2029))
      break;
    a += k;
  }
  while ((sides & 2) && e > a && myna__jx_tick(x, work)) {
    size_t k = 1;
    while (k < 4 && e - k > a && ((unsigned char)s.u.s[e - k] & 0xC0) == 0x80) k++;
    uint32_t c = myna__ju_get(s.u.s + e - k, k);
    if (set ? !in_set(chars, s.u.s + e - k, k)
            : !(is_blank(s.u.s[e - k]) || c == 0xA0 || c == 0x3000 || c == 0x2028 || c == 0x2029))
      break;
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

/* ---- formatting ---- */

/* A conversion such as -08.3f; kind is its letter. */
typedef struct spec {
  bool left, zero, plus, comma, right, mid;
  int width, precision;
  char kind;
  uint32_t fill;
} spec;

static void padded(jx *x, jbuf *b, const spec *s, const char *p, size_t n) {
  int64_t have = myna__ju_count((myna__str){p, n}), pad = MYNA__MAX(0, s->width - have);
  int64_t before = s->left ? 0 : s->mid ? pad / 2 : pad;
  bool zero = s->zero && !s->left;
  char fill[4];
  size_t k = myna__ju_put(fill, s->fill ? s->fill : ' ');
  if (zero && n && (p[0] == '-' || p[0] == '+')) myna__jbuf_add(x, b, p++, 1), n--;
  for (int64_t i = 0; i < before && !x->rc; i++) myna__jbuf_add(x, b, zero ? "0" : fill, zero ? 1 : k);
  myna__jbuf_add(x, b, p, n);
  for (int64_t i = before; i < pad && !x->rc; i++) myna__jbuf_add(x, b, fill, k);
}

static void number_text(jx *x, jbuf *b, const spec *s, jv v) {
  char t[420], o[600], f[16];
  bool whole = strchr("dioxXub", s->kind) != NULL && s->kind;
  if (!jv_is_num(v)) {
    myna__jx_fail(x, MYNA_E_ARG, "a number is required, not %s", myna__jv_type(v));
    return;
  }
  if (whole) {
    double d = v.t == J_FLOAT ? v.u.f : 0;
    long long i = v.t == J_INT ? (long long)v.u.i : v.t == J_BOOL ? v.u.b : d > -9e18 && d < 9e18 ? (long long)d : 0;
    unsigned long long u = i < 0 ? 0 - (unsigned long long)i : (unsigned long long)i;
    snprintf(f, sizeof f, "%%s%%ll%c", s->kind == 'x' || s->kind == 'X' || s->kind == 'o' ? s->kind : 'u');
    snprintf(t, sizeof t, f, i < 0 ? "-" : s->plus ? "+" : "", u);
  } else {
    snprintf(f, sizeof f, "%%%s.*%c", s->plus ? "+" : "", s->kind);
    snprintf(t, sizeof t, f, s->precision < 0 ? 6 : MYNA__MIN(s->precision, 60), myna__jv_num(v));
  }
  size_t n = 0, digits = strspn(t + (t[0] == '-' || t[0] == '+'), "0123456789"), at = t[0] == '-' || t[0] == '+';
  for (size_t i = 0; t[i]; i++) {
    o[n++] = t[i];
    if (s->comma && i >= at && i + 1 < at + digits && (at + digits - i - 1) % 3 == 0) o[n++] = ',';
  }
  padded(x, b, s, o, n);
}

static int number_at(const char *p, size_t n, size_t *i) {
  int v = 0;
  for (; *i < n && p[*i] >= '0' && p[*i] <= '9'; ++*i) v = MYNA__MIN(v * 10 + (p[*i] - '0'), 100000);
  return v;
}

static void convert(jx *x, jbuf *b, const spec *s, jv v) {
  if (s->kind == 's' || s->kind == 'r') {
    jbuf t = {0};
    if (s->kind == 'r')
      myna__jv_repr(x, &t, v);
    else
      myna__jv_print(x, &t, v);
    jv r = myna__jbuf_take(x, &t);
    if (!x->rc) padded(x, b, s, r.u.s, s->precision >= 0 ? myna__ju_at(jv_text(r), s->precision) : r.n);
  } else if (s->kind && strchr("dioxXufFeEgG", s->kind)) {
    number_text(x, b, s, v);
  } else {
    myna__jx_fail(x, MYNA_E_ARG, "unsupported format character");
  }
}

jv myna__jv_format(jx *x, jv v, const jargs *a) {
  jbuf b = {0};
  int next = 0;
  for (size_t i = 0; i < v.n && !x->rc;) {
    const char *p = v.u.s;
    const char *pc = memchr(p + i, '%', v.n - i);
    size_t e = pc ? (size_t)(pc - p) : v.n;
    myna__jbuf_add(x, &b, p + i, e - i);
    i = e + 1;
    if (!pc) break;
    spec s = {.precision = -1};
    jv value = jv_undef();
    bool named = false;
    if (i < v.n && p[i] == '(') {
      const char *close = memchr(p + i, ')', v.n - i);
      if (!close) return myna__jx_fail(x, MYNA_E_ARG, "incomplete format key");
      jv key = jv_str(p + i + 1, (size_t)(close - p) - i - 1);
      for (int k = 0; k < a->n_kw; k++)
        if (a->names[k].n == key.n && memcmp(a->names[k].p, key.u.s, key.n) == 0) value = a->values[k];
      if (a->n_pos == 1 && jv_is_dict(a->pos[0])) value = myna__jdict_get(x, a->pos[0].u.d, key, NULL);
      named = true;
      i = (size_t)(close - p) + 1;
    }
    for (; i < v.n && strchr("-0+ #", p[i]) && p[i]; i++)
      s.left |= p[i] == '-', s.zero |= p[i] == '0', s.plus |= p[i] == '+';
    s.width = number_at(p, v.n, &i);
    if (i < v.n && p[i] == '.') i++, s.precision = number_at(p, v.n, &i);
    s.kind = i < v.n ? p[i++] : 0;
    if (s.kind == '%') {
      myna__jbuf_z(x, &b, "%");
      continue;
    }
    if (!named && next >= a->n_pos) return myna__jx_fail(x, MYNA_E_ARG, "not enough arguments for format string");
    convert(x, &b, &s, named ? value : a->pos[next++]);
  }
  return myna__jbuf_take(x, &b);
}

/* The part of a replacement field behind ':' */
static spec field_spec(const char *p, size_t n, jv v) {
  spec s = {.precision = -1, .left = !jv_is_num(v)};
  size_t i = 0, k = n ? myna__ju_len(p, n) : 0;
  if (k < n && strchr("<>^=", p[k]) && p[k]) s.fill = myna__ju_get(p, k), i = k;
  if (i < n && strchr("<>^=", p[i]) && p[i]) s.left = p[i] == '<', s.mid = p[i] == '^', i++;
  if (i < n && p[i] == '+') s.plus = true, i++;
  if (i < n && p[i] == '0') s.zero = true, i++;
  s.width = number_at(p, n, &i);
  if (i < n && p[i] == ',') s.comma = true, i++;
  if (i < n && p[i] == '.') i++, s.precision = number_at(p, n, &i);
  s.kind = i < n ? p[i] : v.t == J_INT && (s.comma || s.plus) ? 'd' : v.t == J_FLOAT && s.precision >= 0 ? 'g' : 's';
  return s;
}

/* The value a field's name stands for: "", "0", "name", then .attr and [item]. */
static jv field_value(jx *x, const jargs *a, myna__str f, int *next) {
  size_t n = 0;
  while (n < f.n && f.p[n] != '.' && f.p[n] != '[') n++;
  jv v = jv_undef();
  bool digits = n > 0 && f.p[0] >= '0' && f.p[0] <= '9', found = false;
  size_t at = 0;
  int i = n == 0 ? (*next)++ : digits ? number_at(f.p, n, &at) : -1;
  if (i >= 0 && i < a->n_pos) v = a->pos[i], found = true;
  for (int k = 0; i < 0 && k < a->n_kw; k++)
    if (a->names[k].n == n && memcmp(a->names[k].p, f.p, n) == 0) v = a->values[k], found = true;
  if (!found) return myna__jx_fail(x, MYNA_E_ARG, "format() lacks an argument");
  while (n < f.n && !x->rc) {
    size_t s = n + 1, e = s;
    bool item = f.p[n] == '[';
    while (e < f.n && (item ? f.p[e] != ']' : f.p[e] != '.' && f.p[e] != '[')) e++;
    at = 0;
    bool number = item && e > s && f.p[s] >= '0' && f.p[s] <= '9';
    v = item ? myna__jv_item(x, v, number ? jv_int(number_at(f.p + s, e - s, &at)) : jv_str(f.p + s, e - s))
             : myna__jv_attr(x, v, (myna__str){f.p + s, e - s});
    n = item ? e + 1 : e;
  }
  return v;
}

static jv s_format(jx *x, jfunc *f, const jargs *a) {
  jbuf b = {0};
  int next = 0;
  myna__str t = jv_text(f->self);
  for (size_t i = 0; i < t.n && !x->rc; i++) {
    char c = t.p[i];
    if ((c == '{' || c == '}') && i + 1 < t.n && t.p[i + 1] == c) {
      myna__jbuf_add(x, &b, t.p + i++, 1);
    } else if (c == '{') {
      const char *close = memchr(t.p + i, '}', t.n - i);
      if (!close) return myna__jx_fail(x, MYNA_E_ARG, "expected '}' in a format");
      myna__str field = {t.p + i + 1, (size_t)(close - t.p) - i - 1}, name = field;
      const char *colon = memchr(field.p, ':', field.n), *bang = memchr(field.p, '!', field.n);
      if (colon) name.n = (size_t)(colon - field.p);
      if (bang && (size_t)(bang - field.p) < name.n) name.n = (size_t)(bang - field.p);
      jv v = field_value(x, a, name, &next);
      size_t at = colon ? (size_t)(colon - field.p) + 1 : field.n;
      spec s = field_spec(field.p + at, field.n - at, v);
      if (bang && name.n + 1 < field.n && bang == field.p + name.n) s.kind = field.p[name.n + 1];
      if (!x->rc) convert(x, &b, &s, v);
      i = (size_t)(close - t.p);
    } else {
      myna__jbuf_add(x, &b, t.p + i, 1);
    }
  }
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
static jv has_affix(jx *x, jv s, const jargs *a, bool end) {
  jv t = arg(a, 0, NULL, jv_undef());
  if (t.t == J_STR) myna__jx_tick(x, t.n / 64);
  if (t.t == J_STR) return jv_bool(affix(s, t, end));
  if (t.t != J_TUPLE)
    return myna__jx_fail(x, MYNA_E_ARG, "an affix must be a string or a tuple, not '%s'", myna__jv_type(t));
  for (int64_t i = 0; i < t.u.l->n; i++)
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

static void split_blank(jx *x, jlist *l, jv s, int64_t max) {
  size_t i = 0;
  while (!x->rc) {
    while (i < s.n && is_blank(s.u.s[i])) i++;
    if (i == s.n) return;
    size_t e = i;
    if (max >= 0 && l->n >= max) {
      myna__jlist_add(x, l, jv_str(s.u.s + i, s.n - i));
      return;
    }
    while (e < s.n && !is_blank(s.u.s[e])) e++;
    myna__jlist_add(x, l, jv_str(s.u.s + i, e - i));
    i = e;
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
  if (sep.t == J_NONE) sep = jv_z(" ");
  if (!need_text(x, sep)) return out;
  if (!sep.n) return myna__jx_fail(x, MYNA_E_ARG, "empty separator");
  for (int64_t hit; !x->rc && rev.u.l->n < max && (hit = last_hit(x, s.u.s, e, sep)) >= 0; e = (size_t)hit)
    myna__jlist_add(x, rev.u.l, jv_str(s.u.s + hit + sep.n, e - (size_t)hit - sep.n));
  myna__jlist_add(x, out.u.l, jv_str(s.u.s, e));
  for (int64_t i = rev.u.l->n; i > 0 && !x->rc; i--) myna__jlist_add(x, out.u.l, rev.u.l->v[i - 1]);
  return out;
}

static jv s_splitlines(jx *x, jfunc *f, const jargs *a) {
  bool keep = myna__jv_true(arg(a, 0, "keepends", jv_bool(false)));
  jv s = f->self, out = myna__jv_new(x, J_LIST);
  for (size_t i = 0; i < s.n && !x->rc;) {
    size_t e = i;
    while (e < s.n && s.u.s[e] != '\n' && s.u.s[e] != '\r') e++;
    size_t next = e + (e < s.n) + (e + 1 < s.n && s.u.s[e] == '\r' && s.u.s[e + 1] == '\n');
    myna__jlist_add(x, out.u.l, jv_str(s.u.s + i, (keep ? next : e) - i));
    i = next;
  }
  return out;
}

static jv s_partition(jx *x, jfunc *f, const jargs *a) {
  jv sep = arg(a, 0, NULL, jv_undef()), s = f->self, out = myna__jv_new(x, J_TUPLE);
  if (!need_text(x, sep) || !myna__jx_tick(x, s.n / 64)) return out;
  const char *hit = sep.n ? memmem(s.u.s, s.n, sep.u.s, sep.n) : NULL;
  size_t at = hit ? (size_t)(hit - s.u.s) : s.n;
  myna__jlist_add(x, out.u.l, jv_str(s.u.s, at));
  myna__jlist_add(x, out.u.l, hit ? sep : jv_z(""));
  myna__jlist_add(x, out.u.l, hit ? jv_str(s.u.s + at + sep.n, s.n - at - sep.n) : jv_z(""));
  return out;
}

static jv where(jx *x, jfunc *f, const jargs *a, bool last) {
  jv t = arg(a, 0, NULL, jv_undef()), s = f->self;
  if (!need_text(x, t) || !myna__jx_tick(x, s.n / 64)) return t;
  int64_t at;
  if (last) {
    at = last_hit(x, s.u.s, s.n, t);
  } else {
    const char *hit = t.n ? memmem(s.u.s, s.n, t.u.s, t.n) : s.u.s;
    at = hit ? hit - s.u.s : -1;
  }
  return jv_int(at < 0 ? -1 : myna__ju_count((myna__str){s.u.s, (size_t)at}));
}
static jv s_find(jx *x, jfunc *f, const jargs *a) { return where(x, f, a, false); }
static jv s_rfind(jx *x, jfunc *f, const jargs *a) { return where(x, f, a, true); }
static jv s_index(jx *x, jfunc *f, const jargs *a) {
  jv v = where(x, f, a, false);
  return v.t == J_INT && v.u.i < 0 ? myna__jx_fail(x, MYNA_E_ARG, "substring not found") : v;
}

static jv s_count(jx *x, jfunc *f, const jargs *a) {
  jv t = arg(a, 0, NULL, jv_undef()), s = f->self;
  if (!need_text(x, t) || !myna__jx_tick(x, s.n / 64)) return t;
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

static jv justify(jx *x, jfunc *f, const jargs *a, bool left, bool zero) {
  jv w = arg(a, 0, NULL, jv_int(0)), fill = arg(a, 1, NULL, jv_z(" "));
  spec s = {.left = left, .zero = zero, .width = w.t == J_INT ? (int)MYNA__MIN(MYNA__MAX(w.u.i, 0), 100000000) : 0};
  s.fill = fill.t == J_STR && fill.n ? myna__ju_get(fill.u.s, myna__ju_len(fill.u.s, fill.n)) : ' ';
  jbuf b = {0};
  padded(x, &b, &s, f->self.u.s, f->self.n);
  return myna__jbuf_take(x, &b);
}
static jv s_ljust(jx *x, jfunc *f, const jargs *a) { return justify(x, f, a, true, false); }
static jv s_rjust(jx *x, jfunc *f, const jargs *a) { return justify(x, f, a, false, false); }
static jv s_zfill(jx *x, jfunc *f, const jargs *a) { return justify(x, f, a, false, true); }

/* Are all characters of one kind, and is there any? */
static jv all_are(jx *x, jv s, char kind) {
  for (size_t i = 0; i < s.n && myna__jx_tick(x, 1);) {
    size_t k = myna__ju_len(s.u.s + i, s.n - i);
    uint32_t c = myna__ju_get(s.u.s + i, k);
    utf8proc_category_t g = utf8proc_category((utf8proc_int32_t)c);
    bool letter = g >= UTF8PROC_CATEGORY_LU && g <= UTF8PROC_CATEGORY_LO, digit = g == UTF8PROC_CATEGORY_ND;
    bool is = kind == 'd' ? digit : kind == 'a' ? letter : kind == 'n' ? letter || digit : is_blank(s.u.s[i]);
    if (!is) return jv_bool(false);
    i += k;
  }
  return jv_bool(s.n > 0);
}
static jv s_isdigit(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 'd'); }
static jv s_isalpha(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 'a'); }
static jv s_isalnum(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 'n'); }
static jv s_isspace(jx *x, jfunc *f, const jargs *a) { return (void)a, all_are(x, f->self, 's'); }
static jv cased(jx *x, jv s, char how) {
  jv same = myna__jv_case(x, s, how), other = myna__jv_case(x, s, how == 'u' ? 'l' : 'u');
  return jv_bool(!x->rc && myna__jv_equal(x, s, same) && !myna__jv_equal(x, s, other));
}
static jv s_isupper(jx *x, jfunc *f, const jargs *a) { return (void)a, cased(x, f->self, 'u'); }
static jv s_islower(jx *x, jfunc *f, const jargs *a) { return (void)a, cased(x, f->self, 'l'); }

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

typedef struct method_row {
  char of; /* 's'tring, 'd'ict, 'l'ist, 't': list or tuple */
  const char *name;
  jv (*fn)(jx *x, jfunc *f, const jargs *a);
} method_row;

static const method_row rows[] = {{'s', "capitalize", s_capitalize},
                                  {'s', "count", s_count},
                                  {'s', "endswith", s_endswith},
                                  {'s', "find", s_find},
                                  {'s', "format", s_format},
                                  {'s', "index", s_index},
                                  {'s', "isalnum", s_isalnum},
                                  {'s', "isalpha", s_isalpha},
                                  {'s', "isdigit", s_isdigit},
                                  {'s', "isnumeric", s_isdigit},
                                  {'s', "isdecimal", s_isdigit},
                                  {'s', "islower", s_islower},
                                  {'s', "isspace", s_isspace},
                                  {'s', "isupper", s_isupper},
                                  {'s', "join", s_join},
                                  {'s', "ljust", s_ljust},
                                  {'s', "lower", s_lower},
                                  {'s', "casefold", s_lower},
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
