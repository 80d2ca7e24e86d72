/* jinja_format.c: formatting as Python's: "%5.2f" % x and "{:>8}".format(x). What Python refuses is refused; so are the few forms that are not known here
 * (zeros between groups of digits). */
#include "text/jinja_value.h"
#include <math.h>
#include <stdlib.h>

/* A conversion such as -08.3f or *>+12,.2f; kind is its letter, 0 none. */
typedef struct spec {
  char align; /* < > ^ =, 0: by the value's type */
  char sign, group, kind;
  bool alt, percent; /* percent: of the operator % */
  int width, precision;
  uint32_t fill;
} spec;

static void bad_kind(jx *x, const spec *s, jv v) {
  myna__jx_fail(x, MYNA_E_ARG, "format '%c' of '%s' object", s->kind ? s->kind : ' ', myna__jv_type(v));
}

void myna__jf_fill(jx *x, jbuf *b, uint32_t c, int64_t n) {
  char fill[4];
  size_t k = myna__ju_put(fill, c);
  for (int64_t i = 0; i < n && !x->rc; i++) myna__jbuf_add(x, b, fill, k);
}

/* p[n) to the spec's width; `head` of its bytes are sign and prefix, which stay before the zeros. */
static void padded(jx *x, jbuf *b, const spec *s, char usual, const char *p, size_t n, size_t head) {
  char align = s->align ? s->align : usual;
  int64_t pad = MYNA__MAX(0, s->width - myna__ju_count((myna__str){p, n}));
  int64_t before = align == '<' || align == '=' ? 0 : align == '^' ? pad / 2 : pad;
  uint32_t fill = s->fill ? s->fill : ' ';
  myna__jf_fill(x, b, fill, before);
  if (align == '=') {
    myna__jbuf_add(x, b, p, head);
    myna__jf_fill(x, b, fill, pad);
    p += head, n -= head, pad = 0;
  }
  myna__jbuf_add(x, b, p, n);
  myna__jf_fill(x, b, fill, pad - before);
}

/* A number's text: sign and prefix (head), digits before the point (digits), the rest. */
typedef struct numtext {
  char t[800];
  size_t n, head, digits;
} numtext;

static void put_sign(numtext *o, const spec *s, bool negative) {
  if (negative || s->sign == '+' || s->sign == ' ') o->t[o->n++] = negative ? '-' : s->sign;
}

static void whole_text(numtext *o, const spec *s, int64_t i) {
  static const struct {
    char kind;
    unsigned base;
  } bases[] = {{'b', 2}, {'o', 8}, {'x', 16}, {'X', 16}};
  uint64_t base = 10, u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
  for (size_t k = 0; k < MYNA__COUNT(bases); k++)
    if (bases[k].kind == s->kind) base = bases[k].base;
  put_sign(o, s, i < 0);
  if (s->alt && base != 10) o->t[o->n++] = '0', o->t[o->n++] = s->kind;
  o->head = o->n;
  char rev[128];
  int k = 0;
  for (; u || k == 0; u /= base) rev[k++] = (s->kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
  while (k < s->precision && k < 100) rev[k++] = '0';
  o->digits = (size_t)k;
  while (k) o->t[o->n++] = rev[--k];
}

/* Python's own form of precision p without a letter: as %g, but with a point in what has no exponent. */
static void short_text(char *t, size_t size, double f, int p) {
  char e[400];
  p = MYNA__MAX(p, 1);
  snprintf(e, sizeof e, "%.*e", p - 1, f);
  const char *ex = strchr(e, 'e');
  int point = ex ? atoi(ex + 1) + 1 : 0;
  if (ex && point == p) { /* %g would write all digits out */
    size_t n = (size_t)(ex - e);
    if (memchr(e, '.', n))
      while (e[n - 1] == '0') n--;
    if (e[n - 1] == '.') n--;
    snprintf(t, size, "%.*s%s", (int)n, e, ex);
    return;
  }
  snprintf(t, size, "%.*g", p, f);
  size_t n = strlen(t);
  if (ex && !strpbrk(t, ".e")) snprintf(t + n, size - n, ".0");
}

static bool float_text(jx *x, numtext *o, const spec *s, double f) {
  enum { MOST = 300 };
  if (s->precision > MOST) {
    myna__jx_fail(x, MYNA_E_LIMIT, "a precision of more than %d", MOST);
    return false;
  }
  put_sign(o, s, signbit(f) && !isnan(f));
  o->head = o->n;
  char form[12], *t = o->t + o->n;
  size_t room = sizeof o->t - o->n;
  char kind = s->kind == '%' ? 'f' : s->kind == 'n' ? 'g' : s->kind;
  f = isnan(f) ? (double)NAN : fabs(f);
  if (s->kind == '%') f *= 100;
  if (kind) {
    snprintf(form, sizeof form, "%%%s.*%c", s->alt ? "#" : "", kind);
    snprintf(t, room, form, s->precision < 0 ? 6 : s->precision, f);
  } else if (s->precision >= 0) {
    short_text(t, room, f, s->precision);
  } else {
    myna__jv_float_text(t, f);
  }
  if (s->kind == '%') strcat(t, "%");
  o->digits = strspn(t, "0123456789");
  o->n += strlen(t);
  return true;
}

static void grouped(jx *x, jbuf *b, const spec *s, const numtext *o) {
  size_t step = s->kind && strchr("bxXo", s->kind) ? 4 : 3;
  jbuf t = {0};
  for (size_t i = 0; i < o->n && !x->rc; i++) {
    size_t left = o->head + o->digits - i; /* digits from here to the point */
    if (s->group && i > o->head && i < o->head + o->digits && left % step == 0) myna__jbuf_add(x, &t, &s->group, 1);
    myna__jbuf_add(x, &t, o->t + i, 1);
  }
  if (x->rc) return;
  if (s->group && s->fill == '0' && s->align == '=' && t.n < (size_t)s->width)
    myna__jx_fail(x, MYNA_E_ARG, "zeros between groups of digits");
  else
    padded(x, b, s, '>', t.p, t.n, o->head);
}

static void character(jx *x, jbuf *b, const spec *s, jv v) {
  char t[4];
  bool text = v.t == J_STR && s->percent && v.n && myna__ju_len(v.u.s, v.n) == v.n;
  int64_t c = v.t == J_INT || v.t == J_BOOL ? jv_whole(v) : -1;
  if (text)
    padded(x, b, s, '>', v.u.s, v.n, 0);
  else if (c >= 0 && c <= 0x10FFFF && !(c >= 0xD800 && c < 0xE000))
    padded(x, b, s, s->percent ? '>' : '<', t, myna__ju_put(t, (uint32_t)c), 0);
  else
    bad_kind(x, s, v);
}

static void number(jx *x, jbuf *b, spec s, jv v) {
  numtext o = {.n = 0};
  bool whole = s.kind && strchr("bdoxX", s.kind), real = s.kind && strchr("eEfFgG%", s.kind);
  if (v.t != J_FLOAT && (s.kind == 0 || s.kind == 'n')) whole = true, s.kind = 'd';
  bool fits = v.t != J_FLOAT || (s.percent && s.kind == 'd');
  if (!jv_is_num(v) || (whole && !fits) || (!whole && !real && s.kind != 0 && s.kind != 'n') ||
      (whole && !s.percent && s.precision >= 0)) {
    bad_kind(x, &s, v);
    return;
  }
  if (whole && v.t == J_FLOAT && !(fabs(v.u.f) < 9.2e18)) {
    myna__jx_fail(x, MYNA_E_LIMIT, "an integer is too large");
    return;
  }
  if (whole)
    whole_text(&o, &s, v.t == J_FLOAT ? (int64_t)v.u.f : jv_whole(v));
  else if (!float_text(x, &o, &s, myna__jv_num(v)))
    return;
  grouped(x, b, &s, &o);
}

static void text(jx *x, jbuf *b, const spec *s, jv v, char how) {
  jbuf t = {0};
  if (how == 'r')
    myna__jv_repr(x, &t, v);
  else
    myna__jv_print(x, &t, v);
  jv r = myna__jbuf_take(x, &t);
  if (x->rc) return;
  size_t n = s->precision >= 0 ? myna__ju_at(jv_text(r), s->precision) : r.n;
  padded(x, b, s, s->percent ? '>' : '<', r.u.s, n, 0);
}

static int number_at(const char *p, size_t n, size_t *i) {
  int v = 0;
  for (; *i < n && p[*i] >= '0' && p[*i] <= '9'; ++*i) v = MYNA__MIN(v * 10 + (p[*i] - '0'), 1000000);
  return v;
}

/* ---- the operator % ---- */

static void convert(jx *x, jbuf *b, spec s, jv v) {
  if (s.kind == 'i' || s.kind == 'u') s.kind = 'd';
  if (s.kind == 's' || s.kind == 'r') {
    if (s.align == '=') s.align = 0, s.fill = 0;
    text(x, b, &s, v, s.kind);
  } else if (s.kind == 'c') {
    if (s.align == '=') s.align = 0, s.fill = 0;
    character(x, b, &s, v);
  } else if (s.kind && strchr("doxXfFeEgG", s.kind)) {
    number(x, b, s, v);
  } else {
    myna__jx_fail(x, MYNA_E_ARG, "unsupported format character");
  }
}

/* The value of %(name), passing it. */
static jv named_value(jx *x, jv v, size_t *i, const jargs *a) {
  const char *p = v.u.s, *close = memchr(p + *i, ')', v.n - *i);
  if (!close) return myna__jx_fail(x, MYNA_E_ARG, "incomplete format key");
  jv key = jv_str(p + *i + 1, (size_t)(close - p) - *i - 1), value = jv_undef();
  bool found = false;
  for (int k = 0; k < a->n_kw; k++)
    if (a->names[k].n == key.n && memcmp(a->names[k].p, key.u.s, key.n) == 0) value = a->values[k], found = true;
  if (!found && a->n_pos == 1 && jv_is_dict(a->pos[0])) value = myna__jdict_get(x, a->pos[0].u.d, key, &found);
  *i = (size_t)(close - p) + 1;
  return found ? value : myna__jx_fail(x, MYNA_E_ARG, "a format key without value");
}

static spec percent_spec(const char *p, size_t n, size_t *i) {
  spec s = {.precision = -1, .percent = true};
  bool zero = false;
  for (; *i < n && p[*i] && strchr("-0+ #", p[*i]); ++*i) {
    if (p[*i] == '-') s.align = '<';
    if (p[*i] == '+' || (p[*i] == ' ' && !s.sign)) s.sign = p[*i];
    s.alt |= p[*i] == '#', zero |= p[*i] == '0';
  }
  if (zero && !s.align) s.align = '=', s.fill = '0';
  s.width = number_at(p, n, i);
  if (*i < n && p[*i] == '.') ++*i, s.precision = number_at(p, n, i);
  s.kind = 0;
  if (*i < n) s.kind = p[(*i)++];
  return s;
}

jv myna__jv_format(jx *x, jv v, const jargs *a) {
  jbuf b = {0};
  int next = 0;
  const char *p = v.u.s;
  for (size_t i = 0; i < v.n && !x->rc;) {
    const char *pc = memchr(p + i, '%', v.n - i);
    size_t e = pc ? (size_t)(pc - p) : v.n;
    myna__jbuf_add(x, &b, p + i, e - i);
    i = e + 1;
    if (!pc) break;
    bool named = i < v.n && p[i] == '(';
    jv value = named ? named_value(x, v, &i, a) : jv_undef();
    spec s = percent_spec(p, v.n, &i);
    if (s.kind == '%') {
      myna__jbuf_z(x, &b, "%");
      continue;
    }
    if (!named && next >= a->n_pos) return myna__jx_fail(x, MYNA_E_ARG, "not enough arguments for format string");
    if (!named) value = a->pos[next++];
    convert(x, &b, s, v.safe && value.t == J_STR ? myna__jv_escape(x, value) : value);
  }
  bool whole = a->n_pos == 1 && (jv_is_dict(a->pos[0]) || a->pos[0].t == J_LIST); /* may be left out */
  if (next < a->n_pos && !whole) return myna__jx_fail(x, MYNA_E_ARG, "not all arguments converted");
  jv out = myna__jbuf_take(x, &b);
  out.safe = v.safe;
  return out;
}

/* ---- format() ---- */

/* What is behind ':' of a field. */
static spec field_spec(jx *x, const char *p, size_t n) {
  spec s = {.precision = -1};
  size_t i = 0, k = n ? myna__ju_len(p, n) : 0;
  if (k < n && p[k] && strchr("<>^=", p[k])) s.fill = myna__ju_get(p, k), i = k;
  if (i < n && p[i] && strchr("<>^=", p[i])) s.align = p[i++];
  if (i < n && p[i] && strchr("+- ", p[i])) s.sign = p[i++];
  if (i < n && p[i] == '#') s.alt = true, i++;
  if (i < n && p[i] == '0') {
    if (!s.fill) s.fill = '0';
    if (!s.align) s.align = '0'; /* '=' of numbers, '<' of texts */
    i++;
  }
  s.width = number_at(p, n, &i);
  if (i < n && (p[i] == ',' || p[i] == '_')) s.group = p[i++];
  if (i < n && p[i] == '.') i++, s.precision = number_at(p, n, &i);
  if (i < n) s.kind = p[i++];
  if (i < n) myna__jx_fail(x, MYNA_E_ARG, "invalid format specifier");
  return s;
}

static void field(jx *x, jbuf *b, jv v, char how, myna__str form) {
  if (how) {
    jbuf t = {0};
    if (how != 'r' && how != 's') {
      myna__jx_fail(x, MYNA_E_ARG, "unknown conversion");
      return;
    }
    if (how == 'r')
      myna__jv_repr(x, &t, v);
    else
      myna__jv_print(x, &t, v);
    v = myna__jbuf_take(x, &t);
  }
  if (!form.n) {
    myna__jv_print(x, b, v);
    return;
  }
  spec s = field_spec(x, form.p, form.n);
  if (x->rc) return;
  bool is_text = v.t == J_STR;
  if (s.align == '0') s.align = is_text ? '<' : '=';
  if (is_text && (s.kind == 0 || s.kind == 's') && s.align != '=' && !s.sign && !s.group && !s.alt)
    text(x, b, &s, v, 's');
  else if (!is_text && v.t != J_FLOAT && s.kind == 'c' && !s.sign && !s.group)
    character(x, b, &s, v);
  else if (!is_text && jv_is_num(v))
    number(x, b, s, v);
  else
    bad_kind(x, &s, v);
}

/* The fields so far: how many had no name, and whether one was a number. */
typedef struct fields {
  const jargs *a;
  int next;
  bool numbered;
} fields;

/* The value a field's name stands for: "", "0", "name", then .attr and [item]. */
static jv field_value(jx *x, fields *fs, myna__str f) {
  const jargs *a = fs->a;
  size_t n = 0, at = 0;
  while (n < f.n && f.p[n] != '.' && f.p[n] != '[') n++;
  jv v = jv_undef();
  bool digits = n > 0 && f.p[0] >= '0' && f.p[0] <= '9', found = false;
  bool plain = digits && n == f.n; /* others do not count, as in the formatter of Jinja's sandbox */
  if ((n == 0 && fs->numbered) || (plain && fs->next))
    return myna__jx_fail(x, MYNA_E_ARG, "fields with and without numbers");
  fs->numbered |= plain;
  int i = n == 0 ? fs->next++ : digits ? number_at(f.p, n, &at) : -1;
  if (i >= 0 && i < a->n_pos) v = a->pos[i], found = true;
  for (int k = 0; i < 0 && k < a->n_kw; k++)
    if (a->names[k].n == n && memcmp(a->names[k].p, f.p, n) == 0) v = a->values[k], found = true;
  if (!found) return myna__jx_fail(x, MYNA_E_ARG, "format() lacks an argument");
  while (n < f.n && !x->rc) {
    size_t s = n + 1, e = s;
    bool item = f.p[n] == '[';
    while (e < f.n && (item ? f.p[e] != ']' : f.p[e] != '.' && f.p[e] != '[')) e++;
    at = 0;
    bool index = item && e > s && f.p[s] >= '0' && f.p[s] <= '9';
    v = item ? myna__jv_item(x, v, index ? jv_int(number_at(f.p + s, e - s, &at)) : jv_str(f.p + s, e - s))
             : myna__jv_attr(x, v, (myna__str){f.p + s, e - s});
    n = item ? e + 1 : e;
  }
  return v;
}

/* Values within a field's form: {:>{width}}. */
static myna__str inner(jx *x, fields *fs, myna__str f) {
  jbuf b = {0};
  if (!memchr(f.p, '{', f.n)) return f;
  for (size_t i = 0; i < f.n && !x->rc; i++) {
    const char *close = f.p[i] == '{' ? memchr(f.p + i, '}', f.n - i) : NULL;
    if (!close) {
      myna__jbuf_add(x, &b, f.p + i, 1);
      continue;
    }
    jv v = field_value(x, fs, (myna__str){f.p + i + 1, (size_t)(close - f.p) - i - 1});
    if (!x->rc) myna__jv_print(x, &b, v);
    i = (size_t)(close - f.p);
  }
  return (myna__str){b.p ? b.p : "", b.n};
}

/* The field that begins behind '{' at *i; passes its end. */
static void one_field(jx *x, jbuf *b, fields *fs, myna__str t, size_t *i) {
  size_t s = *i, e = s, colon;
  int depth = 0;
  while (e < t.n && (t.p[e] != '}' || depth)) depth += t.p[e] == '{' ? 1 : t.p[e] == '}' ? -1 : 0, e++;
  *i = e;
  if (e >= t.n) {
    myna__jx_fail(x, MYNA_E_ARG, "expected '}' in a format");
    return;
  }
  size_t name = s;
  while (name < e && t.p[name] != ':' && t.p[name] != '!') {
    if (t.p[name] == '[')
      while (name < e && t.p[name] != ']') name++;
    if (name < e) name++;
  }
  char how = name + 1 < e && t.p[name] == '!' ? t.p[name + 1] : 0;
  colon = how ? name + 2 : name;
  if ((name < e && t.p[name] == '!' && !how) || (colon < e && t.p[colon] != ':')) {
    myna__jx_fail(x, MYNA_E_ARG, "expected ':' in a format");
    return;
  }
  jv v = field_value(x, fs, (myna__str){t.p + s, name - s});
  size_t at = MYNA__MIN(colon + 1, e);
  myna__str form = x->rc ? (myna__str){"", 0} : inner(x, fs, (myna__str){t.p + at, e - at});
  if (!x->rc) field(x, b, v, how, form);
}

jv myna__jv_format_fields(jx *x, jv s, const jargs *a) {
  jbuf b = {0};
  fields fs = {.a = a};
  myna__str t = jv_text(s);
  for (size_t i = 0; i < t.n && !x->rc; i++) {
    char c = t.p[i];
    if ((c == '{' || c == '}') && i + 1 < t.n && t.p[i + 1] == c) {
      myna__jbuf_add(x, &b, t.p + i++, 1);
    } else if (c == '}') {
      return myna__jx_fail(x, MYNA_E_ARG, "a single '}' in a format");
    } else if (c == '{') {
      i++;
      one_field(x, &b, &fs, t, &i);
    } else {
      myna__jbuf_add(x, &b, t.p + i, 1);
    }
  }
  return myna__jbuf_take(x, &b);
}
