/* schema_valid.c: whether a value of the schema's own text (enum, const) is an instance, and whether two schemas exclude one another. Both say
 * so only where it is certain. */
#include "engine/schema.h"

enum { MAX_DEPTH = 64 };

/* ---- formats ---- */

#define DATE                                                                                                           \
  "([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-" \
  "8]))"                                                                                                               \
  "|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29)"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
/* No two hyphens in a row: behind two letters they announce what few readers check alike. Short labels may be many, long ones few: 253 in all. */
#define ALNUM "[a-zA-Z0-9]"
#define LABEL ALNUM "(-?" ALNUM "){0,14}"
#define LONG "(" ALNUM "(-?" ALNUM "){0,30}|" ALNUM "{1,63})"
#define HOST "(" LABEL "(\\." LABEL "){0,7}|" LONG "(\\." LONG "){0,2})"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define IPV4 "(" OCTET "\\.){3}" OCTET
#define HEX4 "[0-9a-fA-F]{1,4}"
#define IPV6                                                                                                         \
  "(" HEX4 ":){7}" HEX4 "|::(" HEX4 "(:" HEX4 "){0,5})?|" HEX4 "::(" HEX4 "(:" HEX4 "){0,4})?|(" HEX4 ":){1}" HEX4   \
  "::(" HEX4 "(:" HEX4 "){0,3})?|(" HEX4 ":){2}" HEX4 "::(" HEX4 "(:" HEX4 "){0,2})?|(" HEX4 ":){3}" HEX4 "::(" HEX4 \
  "(:" HEX4 ")?)?|(" HEX4 ":){6}" IPV4 "|::(" HEX4 ":){0,5}" IPV4 "|" HEX4 "::(" HEX4 ":){0,4}" IPV4 "|(" HEX4       \
  ":){1}" HEX4 "::(" HEX4 ":){0,3}" IPV4
#define ATOM "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]"
#define EMAIL ATOM "{1,20}(\\." ATOM "{1,20}){0,2}@" LABEL "(\\." LABEL "){1,7}"
#define ESCAPED "%[0-9a-fA-F]{2}"
#define UNRESERVED "([a-zA-Z0-9._~!$&'()*+,;=:@-]|" ESCAPED ")"
#define PATH "(/" UNRESERVED "*)*"
#define TAIL "(\\?(" UNRESERVED "|[/?])*)?(#(" UNRESERVED "|[/?])*)?"
#define URI                                                                                                         \
  "[a-zA-Z][a-zA-Z0-9+.-]*:(//([a-zA-Z0-9._~-]+@)?" LABEL "(\\." LABEL "){0,7}(:[0-9]{1,4})?" PATH "|/?" UNRESERVED \
  "+" PATH ")" TAIL
#define DIGITS "[0-9]{1,9}"
#define CLOCK "(" DIGITS "H(" DIGITS "M(" DIGITS "S)?)?|" DIGITS "M(" DIGITS "S)?|" DIGITS "S)"
/* Each a subset of what its specification allows, so that every reader agrees. */
static const struct {
  const char *name, *pattern;
} formats[] = {
    {"date", "^" DATE "$"}, /* RFC 3339 full-date, years 1000 to 9999 */
    {"time", "^" TIME "$"}, /* full-time, without leap seconds */
    {"date-time", "^" DATE "T" TIME "$"},
    {"duration", "^P(" DIGITS "W|(" DIGITS "Y(" DIGITS "M(" DIGITS "D)?)?|" DIGITS "M(" DIGITS "D)?|" DIGITS
                 "D)(T" CLOCK ")?|T" CLOCK ")$"},
    {"email", "^" EMAIL "$"},
    {"idn-email", "^" EMAIL "$"},
    {"hostname", "^" HOST "$"},
    {"idn-hostname", "^" HOST "$"},
    {"ipv4", "^" IPV4 "$"},
    {"ipv6", "^(" IPV6 ")$"},
    {"uri", "^" URI "$"},
    {"iri", "^" URI "$"},
    {"uri-reference", "^(" URI "|/?([a-zA-Z0-9._~-]+" PATH ")?" TAIL ")$"},
    {"iri-reference", "^(" URI "|/?([a-zA-Z0-9._~-]+" PATH ")?" TAIL ")$"},
    {"uri-template", "^(" URI "|/?([a-zA-Z0-9._~-]+" PATH ")?" TAIL ")$"},
    {"json-pointer", "^(/([^~/]|~[01])*)*$"},
    {"relative-json-pointer", "^(0|[1-9][0-9]{0,8})(#|(/([^~/]|~[01])*)*)$"},
    {"uuid", "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"},
    {"regex", "^([a-zA-Z0-9_ :,<>=@#%&~-]|\\\\[dswDSW.])*$"},
    {"byte", "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"}, /* base64 */
    {"binary", ""}, /* those of OpenAPI say how a value is meant */
    {"password", ""},
    {"int32", ""}, /* schema_number.c keeps to them */
    {"int64", ""},
    {"float", ""},
    {"double", ""},
};

static const char *format_pattern(const myna__jnode *f) {
  for (size_t i = 0; i < MYNA__COUNT(formats); i++)
    if (myna__str_eq(f->text, formats[i].name)) return formats[i].pattern;
  return NULL;
}

int myna__schema_check_format(myna__sc *c, const myna__jnode *format) {
  char name[MYNA__QUOTE];
  c->at = format;
  if (format_pattern(format)) return 0;
  return myna__sc_fail(c, MYNA_E_UNSUPPORTED, "format \"%s\" is not supported", myna__str_quote(name, format->text));
}

bool myna__schema_format_free(const myna__jnode *format) {
  const char *p = format ? format_pattern(format) : "";
  return p && !*p;
}

int myna__schema_format(myna__sc *c, myna__jnode *format, const myna__dfa **out) {
  const char *p = format_pattern(format);
  return myna__schema_pattern(c, format, (myna__str){p, strlen(p)}, false, out);
}

/* Automata of a conjunction's patterns, formats and lengths. Disjointness needs a superset: no formats, no lengths, wide
 * patterns. */
int myna__schema_strings(myna__sc *c, const myna__jset *s, bool with_formats, bool *plain, myna__bounds *length,
                         myna__dfa *out) {
  *plain = true;
  TRY(myna__schema_bounds(c, s, "minLength", "maxLength", length));
  for (int i = 0; i < s->n; i++)
    for (int k = 0; k < (with_formats ? 2 : 1); k++) {
      myna__jnode *v = myna__sj_get(s->p[i], k ? "format" : "pattern");
      const myna__dfa *d;
      if (!v || (k && myna__schema_format_free(v))) continue;
      TRY(k ? myna__schema_format(c, v, &d) : myna__schema_pattern(c, v, v->text, !with_formats, &d));
      if (*plain)
        *out = *d;
      else
        TRY(myna__dfa_product(c, out, d, out));
      *plain = false;
    }
  if (*plain || !with_formats || (length->min == 0 && length->max < 0)) return 0;
  myna__dfa d;
  int64_t most =
      MYNA__MAX(length->min, MYNA__SC_DFA_RULES / out->n); /* a lower maximum is sound, and bounds the rules */
  if (length->min > MYNA__SC_REPEAT) return myna__sc_fail(c, MYNA_E_LIMIT, "minLength is too large beside a pattern");
  TRY(myna__dfa_length(c, (int)length->min, length->max < 0 ? -1 : (int)MYNA__MIN(length->max, most), &d));
  return myna__dfa_product(c, out, &d, out);
}

/* ---- values ---- */

static int worse(int a, int b) { return a == 0 || b == 0 ? 0 : a == 2 || b == 2 ? 2 : 1; }

static int64_t code_points(myna__str s) {
  int64_t n = 0;
  for (size_t i = 0; i < s.n; i++) n += ((uint8_t)s.p[i] & 0xC0) != 0x80;
  return n;
}

static bool in_bounds(const myna__bounds *b, int64_t n) { return n >= b->min && (b->max < 0 || n <= b->max); }

static int valid_string(myna__sc *c, const myna__jset *one, const myna__jnode *v) {
  myna__bounds b;
  const myna__dfa *d;
  myna__jnode *pattern = myna__sj_get(one->p[0], "pattern"), *format = myna__sj_get(one->p[0], "format");
  TRY(myna__schema_bounds(c, one, "minLength", "maxLength", &b));
  if (!in_bounds(&b, code_points(v->text))) return 0;
  if (pattern) {
    TRY(myna__schema_pattern(c, pattern, pattern->text, true, &d));
    if (!myna__dfa_accepts(d, v->text)) return 0;
    TRY(myna__schema_pattern(c, pattern, pattern->text, false, &d));
    if (!myna__dfa_accepts(d, v->text)) return 2;
  }
  if (myna__schema_format_free(format)) return 1;
  TRY(myna__schema_format(c, format, &d));
  return myna__dfa_accepts(d, v->text) ? 1 : 2;
}

static int valid_number(myna__sc *c, const myna__jnode *s, const myna__jnode *v) {
  static const char *const names[] = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"};
  myna__dec d, b;
  if (!myna__dec_parse(&d, v->text)) return 2;
  for (int i = 0; i < 4; i++) {
    const myna__jnode *k = myna__sj_get(s, names[i]), *ex = i % 2 ? NULL : myna__sj_get(s, names[i + 1]);
    if (!k || k->kind != MYNA__J_NUMBER) continue;
    if (!myna__dec_parse(&b, k->text)) return 2;
    int order = myna__dec_cmp(&d, &b) * (i < 2 ? 1 : -1);
    if (order < 0 || (order == 0 && (i % 2 || (ex && ex->kind == MYNA__J_TRUE)))) return 0;
  }
  const myna__jnode *m = myna__sj_get(s, "multipleOf");
  if (!m) return 1;
  int rc = myna__dec_parse(&b, m->text) ? myna__num_is_multiple(&d, &b) : -1;
  return rc < 0 ? 2 : rc;
}

static int valid_all(myna__sc *c, const myna__jset *set, const myna__jnode *v, int depth) {
  int all = 1;
  for (int i = 0; i < set->n; i++) {
    int rc = myna__schema_valid(c, set->p[i], v, depth);
    TRY_N(rc);
    all = worse(all, rc);
  }
  return all;
}

static int valid_object(myna__sc *c, const myna__jset *one, const myna__jnode *v, int depth) {
  myna__bounds b;
  bool required;
  int all = 1;
  TRY(myna__schema_bounds(c, one, "minProperties", "maxProperties", &b));
  if (!in_bounds(&b, v->n)) return 0;
  const myna__jnode *r = myna__sj_get(one->p[0], "required");
  for (const myna__jnode *name = r ? r->first : NULL; name; name = name->next)
    if (!myna__sj_get_str(v, name->text)) return 0;
  for (const myna__jnode *m = v->first; m; m = m->next) {
    myna__jset set = {0};
    TRY(myna__schema_member(c, one, m->key, &set, &required));
    int rc = valid_all(c, &set, m, depth + 1);
    TRY_N(rc);
    all = worse(all, rc);
  }
  return all;
}

static int valid_array(myna__sc *c, const myna__jset *one, const myna__jnode *v, int depth) {
  myna__bounds b;
  int all = 1;
  TRY(myna__schema_bounds(c, one, "minItems", "maxItems", &b));
  if (!in_bounds(&b, v->n)) return 0;
  for (const myna__jnode *m = v->first; m; m = m->next) {
    myna__jset set = {0};
    TRY(myna__schema_element(c, one, m->index, &set));
    int rc = valid_all(c, &set, m, depth + 1);
    TRY_N(rc);
    all = worse(all, rc);
  }
  return all;
}

/* allOf, anyOf, oneOf, $ref */
static int valid_combined(myna__sc *c, myna__jnode *s, const myna__jnode *v, int depth) {
  static const char *const names[] = {"allOf", "anyOf", "oneOf"};
  int all = 1;
  for (int i = 0; i < 3; i++) {
    const myna__jnode *list = myna__sj_get(s, names[i]);
    int count[3] = {0};
    if (!list) continue;
    for (myna__jnode *m = list->first; m; m = m->next) {
      int rc = myna__schema_valid(c, m, v, depth + 1);
      TRY_N(rc);
      count[rc]++;
    }
    int one = i == 0         ? (count[0]   ? 0
                                : count[2] ? 2
                                           : 1)
              : i == 1       ? (count[1]   ? 1
                                : count[2] ? 2
                                           : 0)
              : count[1] > 1 ? 0
              : count[2]     ? 2
                             : count[1] == 1;
    all = worse(all, one);
  }
  const myna__jnode *ref = myna__sj_get(s, "$ref");
  myna__jnode *target = NULL;
  if (!ref) return all;
  TRY(myna__schema_resolve(c, ref, &target));
  int rc = myna__schema_valid(c, target, v, depth + 1);
  TRY_N(rc);
  return worse(all, rc);
}

static int enum_has(myna__sc *c, const myna__jnode *s, const myna__jnode *v) {
  const myna__jnode *one = myna__sj_get(s, "const"), *list = myna__sj_get(s, "enum");
  if (one && !myna__sj_equal(one, v)) return false;
  if (!list || v->parent == list) return true;
  TRY(myna__sc_burn(c, list->n));
  for (const myna__jnode *m = list->first; m; m = m->next)
    if (myna__sj_equal(m, v)) return true;
  return false;
}

/* But for references and combinations. */
static int valid_own(myna__sc *c, myna__jnode *s, const myna__jnode *v, int depth) {
  if (s->kind != MYNA__J_OBJECT) return s->kind == MYNA__J_TRUE;
  myna__jset one = {&s, 1, 1};
  int type = myna__schema_type_of(v), rc = 1;
  if (!(myna__schema_types(&one) & type)) return 0;
  int in = enum_has(c, s, v);
  if (in <= 0) return in;
  if (type == MYNA__T_STRING) rc = valid_string(c, &one, v);
  if (type & (MYNA__T_INT | MYNA__T_FRAC)) rc = valid_number(c, s, v);
  if (type == MYNA__T_OBJECT) rc = valid_object(c, &one, v, depth);
  if (type == MYNA__T_ARRAY) rc = valid_array(c, &one, v, depth);
  return rc;
}

int myna__schema_valid(myna__sc *c, myna__jnode *s, const myna__jnode *v, int depth) {
  if (depth > MAX_DEPTH) return 2;
  TRY(myna__sc_burn(c, 50));
  TRY(myna__schema_check(c, s));
  int own = valid_own(c, s, v, depth);
  if (own <= 0 || s->kind != MYNA__J_OBJECT) return own;
  int other = valid_combined(c, s, v, depth);
  TRY_N(other);
  return worse(own, other);
}

/* ---- disjointness ---- */

/* Whether v is an instance of an alternative: what its schemas combine is among them already, and a oneOf must not prove itself. */
static int valid_alternative(myna__sc *c, const myna__jset *set, const myna__jnode *v) {
  int all = 1;
  for (int i = 0; i < set->n; i++) {
    int rc = valid_own(c, set->p[i], v, 0);
    TRY_N(rc);
    all = worse(all, rc);
  }
  return all;
}

/* Every value that x lists is surely none of y. */
static int enum_excluded(myna__sc *c, const myna__jset *x, const myna__jset *y) {
  const myna__jnode *e = myna__schema_enum(x);
  if (!e) return 0;
  bool list = myna__str_eq(e->key, "enum");
  for (const myna__jnode *v = list ? e->first : e; v; v = list ? v->next : NULL) {
    int a = valid_alternative(c, y, v);
    TRY_N(a);
    if (a == 0) continue;
    int b = valid_alternative(c, x, v);
    TRY_N(b);
    if (b != 0) return 0;
  }
  return 1;
}

static int apart_bounds(myna__sc *c, const myna__jset *x, const myna__jset *y, const char *min, const char *max) {
  myna__bounds a, b;
  TRY(myna__schema_bounds(c, x, min, max, &a));
  TRY(myna__schema_bounds(c, y, min, max, &b));
  return (a.max >= 0 && a.max < b.min) || (b.max >= 0 && b.max < a.min);
}

static int apart_strings(myna__sc *c, const myna__jset *x, const myna__jset *y) {
  myna__dfa a, b;
  bool plain_a, plain_b;
  myna__bounds n;
  int rc = apart_bounds(c, x, y, "minLength", "maxLength");
  if (rc) return rc;
  TRY(myna__schema_strings(c, x, false, &plain_a, &n, &a));
  TRY(myna__schema_strings(c, y, false, &plain_b, &n, &b));
  if (plain_a || plain_b) return 0;
  TRY(myna__dfa_product(c, &a, &b, &a));
  uint8_t *live;
  TRY(myna__dfa_live(c, &a, &live));
  return !live[0];
}

static int apart_numbers(myna__sc *c, const myna__jset *x, const myna__jset *y) {
  myna__numset both = {0};
  for (int i = 0; i < x->n + y->n; i++) {
    myna__jnode *s = i < x->n ? x->p[i] : y->p[i - x->n];
    myna__jset one = {&s, 1, 1};
    myna__numset n;
    TRY(myna__schema_numbers(c, &one, false, &n));
    if (n.has_min) TRY(myna__num_add_min(&both, &n.min, n.ex_min));
    if (n.has_max) TRY(myna__num_add_max(&both, &n.max, n.ex_max));
  }
  return myna__num_empty(&both);
}

/* Their lengths exclude one another, or some element that one of them must have. */
static int apart_arrays(myna__sc *c, const myna__jset *x, const myna__jset *y, int depth) {
  enum { FEW = 8 };
  const myna__jset none = {0};
  myna__bounds m, n;
  int rc = apart_bounds(c, x, y, "minItems", "maxItems");
  TRY(myna__schema_bounds(c, x, "minItems", "maxItems", &m));
  TRY(myna__schema_bounds(c, y, "minItems", "maxItems", &n));
  for (int i = 0; i < MYNA__MIN(MYNA__MAX(m.min, n.min), FEW) && !rc; i++) {
    myna__jset a = {0}, b = {0};
    TRY(myna__schema_element(c, x, i, &a));
    TRY(myna__schema_element(c, y, i, &b));
    rc = myna__schema_disjoint(c, &none, &a, &b, depth + 1);
    TRY_N(rc);
  }
  return rc;
}

/* Some member that both require tells them apart. */
static int apart_objects(myna__sc *c, const myna__jset *x, const myna__jset *y, int depth) {
  const myna__jset none = {0};
  int rc = apart_bounds(c, x, y, "minProperties", "maxProperties");
  for (int i = 0; i < x->n + y->n && !rc; i++) {
    const myna__jnode *r = myna__sj_get(i < x->n ? x->p[i] : y->p[i - x->n], "required");
    for (const myna__jnode *name = r ? r->first : NULL; name && !rc; name = name->next) {
      myna__jset a = {0}, b = {0};
      bool ra, rb;
      TRY(myna__schema_member(c, x, name->text, &a, &ra));
      TRY(myna__schema_member(c, y, name->text, &b, &rb));
      rc = myna__schema_disjoint(c, &none, &a, &b,
                                 depth + 1); /* required in one is enough: absent, it is none of that one */
      TRY_N(rc);
    }
  }
  return rc;
}

static int apart_flat(myna__sc *c, const myna__jset *x, const myna__jset *y, int depth) {
  int common = myna__schema_types(x) & myna__schema_types(y), rc;
  if (!common) return 1;
  if (!depth && myna__schema_enum(x) && myna__schema_enum(y)) return 1; /* each value is asked when it is written */
  if ((rc = enum_excluded(c, x, y)) || (rc = enum_excluded(c, y, x))) return rc;
  if (common & (MYNA__T_NULL | MYNA__T_BOOL)) return 0;
  if ((common & MYNA__T_STRING) && (rc = apart_strings(c, x, y)) <= 0) return rc;
  if ((common & (MYNA__T_INT | MYNA__T_FRAC)) && (rc = apart_numbers(c, x, y)) <= 0) return rc;
  if ((common & MYNA__T_ARRAY) && (rc = apart_arrays(c, x, y, depth)) <= 0) return rc;
  if ((common & MYNA__T_OBJECT) && (rc = apart_objects(c, x, y, depth)) <= 0) return rc;
  return 1;
}

int myna__schema_disjoint(myna__sc *c, const myna__jset *base, const myna__jset *a, const myna__jset *b, int depth) {
  myna__jsets x = {0}, y = {0};
  if (depth > 4) return 0;
  TRY(myna__sc_burn(c, 1000));
  TRY(myna__schema_expand(c, base, a, false, &x));
  TRY(myna__schema_expand(c, base, b, false, &y));
  for (int i = 0; i < x.n; i++)
    for (int k = 0; k < y.n; k++) {
      TRY(myna__sc_burn(c, 100));
      int rc = apart_flat(c, &x.p[i], &y.p[k], depth);
      TRY_N(rc);
      if (!rc) return 0;
    }
  return 1;
}
