/* schema_valid.c: whether a value of the schema's own text (enum, const) is an instance, and whether two schemas exclude one another. Both say
 * so only where it is certain. */
#include "engine/schema.h"

enum { MAX_DEPTH = 64 };

/* Automata of a conjunction's patterns, formats and lengths. Disjointness needs a superset: no formats, no lengths, wide
 * patterns. */
/* The values of a list that are strings, as the texts that are none of them. */
static int no_words(myna__sc *c, const myna__jnode *e, myna__dfa *out) {
  bool list = myna__str_eq(e->key, "enum");
  int n = 0;
  myna__str *words = myna__sc_alloc(c, (size_t)(e->n + 1) * sizeof *words);
  if (!words) return myna__sc_nomem(c);
  for (const myna__jnode *v = list ? e->first : e; v; v = list ? v->next : NULL)
    if (v->kind == MYNA__J_STRING) words[n++] = v->text;
  c->at = e;
  TRY(myna__dfa_words(c, words, n, out));
  return myna__dfa_complement(c, out, out);
}

/* What one of several things (of which there are STRING_KINDS) that a schema says of texts allows; *any: it says nothing. */
enum { STRING_KINDS = 4 };
static int one_automaton(myna__sc *c, myna__jnode *s, int kind, bool exact, myna__dfa *out, bool *any) {
  myna__jnode *pattern = myna__sj_get(s, "pattern"), *format = myna__sj_get(s, "format");
  const myna__dfa *d = NULL;
  *any = false;
  if (kind == 0 && pattern) TRY(myna__schema_pattern(c, pattern, pattern->text, !exact, &d));
  if (kind == 1 && exact && !myna__schema_format_free(format)) TRY(myna__schema_format(c, format, &d));
  if (kind == 2 && s->no_pattern) {
    TRY(myna__schema_pattern(c, s->no_pattern, s->no_pattern->text, exact, &d));
    return myna__dfa_complement(c, d, out);
  }
  if (kind == 3 && s->no_words) return no_words(c, s->no_words, out);
  *any = !d;
  if (d) *out = *d;
  return 0;
}

int myna__schema_strings(myna__sc *c, const myna__jset *s, bool exact, bool *plain, myna__bounds *length,
                         myna__dfa *out) {
  *plain = true;
  TRY(myna__schema_bounds(c, s, "minLength", "maxLength", length));
  for (int i = 0; i < s->n; i++)
    for (int k = 0; k < STRING_KINDS; k++) {
      myna__dfa d;
      bool any;
      TRY(one_automaton(c, s->p[i], k, exact, &d, &any));
      if (any) continue;
      if (*plain)
        *out = d;
      else
        TRY(myna__dfa_product(c, out, &d, out));
      *plain = false;
    }
  if (*plain || !exact || (length->min == 0 && length->max < 0)) return 0;
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
  const myna__jnode *s = one->p[0], *e = s->no_words;
  bool list = e && myna__str_eq(e->key, "enum");
  if (s->no_pattern) {
    TRY(myna__schema_pattern(c, s->no_pattern, s->no_pattern->text, false, &d));
    if (myna__dfa_accepts(d, v->text)) return 0;
    TRY(myna__schema_pattern(c, s->no_pattern, s->no_pattern->text, true, &d));
    if (myna__dfa_accepts(d, v->text)) return 2;
  }
  for (const myna__jnode *x = list ? e->first : e; x; x = list ? x->next : NULL)
    if (myna__sj_equal(x, v)) return 0;
  if (myna__schema_format_free(format)) return 1;
  TRY(myna__schema_format(c, format, &d));
  return myna__dfa_accepts(d, v->text) ? 1 : 2;
}

/* Whether a reader that keeps to formats takes d: 1, or 2. */
static int in_format(const myna__jnode *s, const myna__dec *d) {
  myna__numset n = {0};
  const myna__jnode *format = myna__sj_get(s, "format");
  if (!format || !myna__schema_format_numbers(format, &n)) return 1;
  bool in = myna__dec_is_int(d) && !(n.has_min && myna__dec_cmp(d, &n.min) < 0) &&
            !(n.has_max && myna__dec_cmp(d, &n.max) > 0);
  return in ? 1 : 2;
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
  if (s->no_multiple) {
    int is = myna__dec_parse(&b, s->no_multiple->text) ? myna__num_is_multiple(&d, &b) : -1;
    if (is) return is < 0 ? 2 : 0;
  }
  const myna__jnode *m = myna__sj_get(s, "multipleOf");
  if (!m) return in_format(s, &d);
  int rc = myna__dec_parse(&b, m->text) ? myna__num_is_multiple(&d, &b) : -1;
  return rc < 0 ? 2 : worse(rc, in_format(s, &d));
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
  myna__jnode *names = myna__sj_get(one->p[0], "propertyNames");
  for (const myna__jnode *m = v->first; m; m = m->next) {
    myna__jset set = {0};
    const myna__jnode name = {.kind = MYNA__J_STRING, .text = m->key};
    int is = names ? myna__schema_valid(c, names, &name, depth + 1) : 1;
    TRY_N(is);
    all = worse(all, is);
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
  int implied = myna__schema_valid_implied(c, s, v, depth + 1);
  TRY_N(implied);
  return worse(own, worse(other, implied));
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
    TRY(myna__schema_numbers(c, &one, false, false, &n));
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
