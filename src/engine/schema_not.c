/* schema_not.c: schemas that exclude others: of what schema_not gives nothing is an instance of s, but it may have fewer instances than all others. It is
 * what makes oneOf's branches exclude one another where they overlap: an instance of one branch, and of the opposite of each other. Opposites are
 * written as schemas of their own, alternatives by keyword, from nodes that no text has. */
#include "engine/schema.h"

enum { MAX_DEPTH = 8, MAX_VALUES = 16, MAX_PLACE = 8 };

typedef struct opposite {
  const myna__jnode *hint;
  myna__jnode *out; /* NULL while it is being made */
  struct opposite *next;
} opposite;

typedef struct maker {
  myna__sc *c;
  const myna__jnode *s, *hint;
  myna__jnode *any; /* the alternatives */
  int depth;
} maker;

/* ---- nodes ---- */

static myna__jnode *new_node(maker *m, myna__jkind kind) { return myna__sj_new(m->c, m->s, kind); }

static int add(maker *m, myna__jnode *to, myna__str key, const myna__jnode *v) {
  return myna__sj_append(m->c, to, key, v);
}

static int add_named(maker *m, myna__jnode *to, const char *name, const myna__jnode *v) {
  return add(m, to, (myna__str){name, strlen(name)}, v);
}

static int add_count(maker *m, myna__jnode *to, const char *name, int64_t count) {
  myna__buf b = {0};
  myna__jnode *v = new_node(m, MYNA__J_NUMBER);
  myna__buf_printf(&b, "%lld", (long long)count);
  if (v && !b.failed) v->text = (myna__str){myna__arena_strndup(&m->c->arena, b.data, b.len), b.len};
  myna__buf_free(&b);
  return v && v->text.p ? add_named(m, to, name, v) : myna__sc_nomem(m->c);
}

/* A schema of these types; a number without text stands for a mask of them. */
static int of_types(maker *m, int mask, myna__jnode **out) {
  myna__jnode *v = new_node(m, MYNA__J_NUMBER);
  *out = new_node(m, MYNA__J_OBJECT);
  if (!v || !*out) return myna__sc_nomem(m->c);
  v->mask = mask;
  return add_named(m, *out, "type", v);
}

static int alternative(maker *m, const myna__jnode *v) { return add_named(m, m->any, "", v); }

static int opposite_of(maker *m, myna__jnode *s, myna__jnode **out) {
  return myna__schema_not(m->c, s, m->hint, m->depth + 1, out);
}

/* ---- by keyword ---- */

static int not_types(maker *m) {
  myna__jset one = {(myna__jnode **)(uintptr_t)&m->s, 1, 1};
  int mask = MYNA__T_ALL & ~myna__schema_types(&one);
  myna__jnode *v;
  if (!mask) return 0;
  TRY(of_types(m, mask, &v));
  return alternative(m, v);
}

/* Numbers between those of a list, each once and in order. */
static int not_numbers(maker *m, const myna__jnode **values, int n) {
  myna__dec x, y;
  for (int i = 1; i < n; i++) /* few: by insertion */
    for (int k = i; k > 0; k--) {
      if (!myna__dec_parse(&x, values[k - 1]->text) || !myna__dec_parse(&y, values[k]->text)) return 0;
      if (myna__dec_cmp(&x, &y) <= 0) break;
      const myna__jnode *t = values[k];
      values[k] = values[k - 1];
      values[k - 1] = t;
    }
  for (int i = 0; i <= n && n > 0; i++) {
    myna__jnode *v;
    TRY(of_types(m, MYNA__T_INT | MYNA__T_FRAC, &v));
    if (i > 0) TRY(add_named(m, v, "exclusiveMinimum", values[i - 1]));
    if (i < n) TRY(add_named(m, v, "exclusiveMaximum", values[i]));
    TRY(alternative(m, v));
  }
  return 0;
}

static int not_values(maker *m, myna__jnode *e) {
  bool list = myna__str_eq(e->key, "enum");
  const myna__jnode *numbers[MAX_VALUES];
  int seen = 0, n = 0, longest = 0, bools = 0;
  myna__jnode *v;
  for (const myna__jnode *x = list ? e->first : e; x; x = list ? x->next : NULL) {
    int type = myna__schema_type_of(x);
    seen |= type;
    bools |= x->kind == MYNA__J_TRUE ? 2 : x->kind == MYNA__J_FALSE;
    if (x->kind == MYNA__J_ARRAY) longest = MYNA__MAX(longest, x->n);
    if (x->kind == MYNA__J_NUMBER && n++ < MAX_VALUES) numbers[n - 1] = x;
  }
  if (seen & (MYNA__T_INT | MYNA__T_FRAC)) seen |= MYNA__T_INT | MYNA__T_FRAC; /* told apart by value */
  TRY(of_types(m, MYNA__T_ALL & ~seen, &v));
  TRY(alternative(m, v));
  if (n > 0 && n <= MAX_VALUES) TRY(not_numbers(m, numbers, n));
  if (seen & MYNA__T_STRING) {
    TRY(of_types(m, MYNA__T_STRING, &v));
    v->no_words = e;
    TRY(alternative(m, v));
  }
  if (bools == 1 || bools == 2) {
    myna__jnode *other = new_node(m, bools == 1 ? MYNA__J_TRUE : MYNA__J_FALSE);
    TRY(of_types(m, MYNA__T_BOOL, &v));
    TRY(add_named(m, v, "const", other));
    TRY(alternative(m, v));
  }
  if (!(seen & MYNA__T_ARRAY)) return 0;
  TRY(of_types(m, MYNA__T_ARRAY, &v));
  TRY(add_count(m, v, "minItems", longest + 1));
  return alternative(m, v);
}

/* Bounds of values, and of what is counted: what lies beyond. */
static int not_bounds(maker *m) {
  static const struct {
    const char *name, *other; /* exclusive becomes inclusive, and the other way */
    int types, step;          /* step: of counts */
    const char *flag;         /* draft 4: true makes it exclusive */
  } rows[] = {
      {"minimum", "exclusiveMaximum", MYNA__T_INT | MYNA__T_FRAC, 0, "exclusiveMinimum"},
      {"maximum", "exclusiveMinimum", MYNA__T_INT | MYNA__T_FRAC, 0, "exclusiveMaximum"},
      {"exclusiveMinimum", "maximum", MYNA__T_INT | MYNA__T_FRAC, 0, NULL},
      {"exclusiveMaximum", "minimum", MYNA__T_INT | MYNA__T_FRAC, 0, NULL},
      {"minLength", "maxLength", MYNA__T_STRING, -1, NULL},
      {"maxLength", "minLength", MYNA__T_STRING, 1, NULL},
      {"minItems", "maxItems", MYNA__T_ARRAY, -1, NULL},
      {"maxItems", "minItems", MYNA__T_ARRAY, 1, NULL},
      {"minProperties", "maxProperties", MYNA__T_OBJECT, -1, NULL},
  };
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    const myna__jnode *v = myna__sj_get(m->s, rows[i].name);
    const myna__jnode *flag = rows[i].flag ? myna__sj_get(m->s, rows[i].flag) : NULL;
    myna__jnode *x = NULL;
    if (!v || v->kind != MYNA__J_NUMBER) continue;
    if (!rows[i].step) {
      const char *other = rows[i].other;
      if (flag && flag->kind == MYNA__J_TRUE)
        other = rows[i].step == 0 && rows[i].name[1] == 'i' ? "maximum" : "minimum";
      TRY(of_types(m, rows[i].types, &x));
      TRY(add_named(m, x, other, v));
    } else {
      myna__bounds b;
      myna__jset one = {(myna__jnode **)(uintptr_t)&m->s, 1, 1};
      TRY(myna__schema_bounds(m->c, &one, rows[i].name, "", &b));
      if (rows[i].step < 0 && b.min == 0) continue;
      TRY(of_types(m, rows[i].types, &x));
      TRY(add_count(m, x, rows[i].other, b.min + rows[i].step));
    }
    TRY(alternative(m, x));
  }
  return 0;
}

/* {types, keyword: node}, as what the automata leave out. */
static int not_texts(maker *m) {
  myna__jnode *v, *pattern = myna__sj_get(m->s, "pattern"), *multiple = myna__sj_get(m->s, "multipleOf");
  if (pattern) {
    TRY(of_types(m, MYNA__T_STRING, &v));
    v->no_pattern = pattern;
    TRY(alternative(m, v));
  }
  if (!multiple) return 0;
  TRY(of_types(m, MYNA__T_INT, &v));
  v->no_multiple = multiple;
  return alternative(m, v);
}

/* An object whose member of this name is of `value`. */
static int has_member(maker *m, myna__str name, const myna__jnode *value, bool required) {
  myna__jnode *v, *list = new_node(m, MYNA__J_ARRAY), *members = new_node(m, MYNA__J_OBJECT);
  myna__jnode *word = new_node(m, MYNA__J_STRING);
  if (!list || !members || !word) return myna__sc_nomem(m->c);
  word->text = name;
  TRY(of_types(m, MYNA__T_OBJECT, &v));
  TRY(add(m, members, name, value));
  TRY(add_named(m, v, "properties", members));
  TRY(add_named(m, list, "", word));
  if (required) TRY(add_named(m, v, "required", list));
  return alternative(m, v);
}

static int not_members(maker *m) {
  const myna__jnode *p = myna__sj_get(m->s, "properties"), *r = myna__sj_get(m->s, "required");
  for (const myna__jnode *name = r && r->kind == MYNA__J_ARRAY ? r->first : NULL; name; name = name->next)
    TRY(has_member(m, name->text, new_node(m, MYNA__J_FALSE), false));
  for (myna__jnode *x = p ? p->first : NULL; x; x = x->next) {
    myna__jnode *no;
    TRY(opposite_of(m, x, &no));
    if (no->kind != MYNA__J_FALSE) TRY(has_member(m, x->key, no, true));
  }
  /* Names that the hint knows are the ones worth trying where others are not allowed. */
  myna__jnode *rest = myna__sj_get(m->s, "additionalProperties"), *no = NULL;
  const myna__jnode *known = m->hint ? myna__sj_get(m->hint, "properties") : NULL;
  if (!rest || !known || myna__sj_get(m->s, "patternProperties")) return 0;
  TRY(opposite_of(m, rest, &no));
  for (const myna__jnode *x = known->first; x && no->kind != MYNA__J_FALSE; x = x->next)
    if (!p || !myna__sj_get_str(p, x->key)) TRY(has_member(m, x->key, no, true));
  return 0;
}

/* An array with an element, one of the first, that is none of those allowed there. */
static int not_elements(maker *m) {
  myna__jnode *s = (myna__jnode *)(uintptr_t)m->s;
  myna__jset one = {&s, 1, 1};
  for (int i = 0; i < MAX_PLACE; i++) {
    myna__jset element = {0};
    myna__jnode *no, *v, *list = new_node(m, MYNA__J_ARRAY), *any = new_node(m, MYNA__J_TRUE);
    TRY(myna__schema_element(m->c, &one, i, &element));
    if (!list || !any) return myna__sc_nomem(m->c);
    if (element.n != 1) continue;
    TRY(opposite_of(m, element.p[0], &no));
    if (no->kind == MYNA__J_FALSE) continue;
    for (int k = 0; k < i; k++) TRY(add_named(m, list, "", any));
    TRY(add_named(m, list, "", no));
    TRY(of_types(m, MYNA__T_ARRAY, &v));
    TRY(add_count(m, v, "minItems", i + 1));
    TRY(add_named(m, v, "prefixItems", list));
    TRY(alternative(m, v));
    if (!myna__sj_get(s, "prefixItems")) break; /* all are alike */
  }
  return 0;
}

/* None of anyOf, or of oneOf; not one of allOf; not what is referred to. */
static int not_combined(maker *m) {
  static const char *const names[] = {"anyOf", "oneOf"};
  myna__jnode *no, *all = myna__sj_get(m->s, "allOf"), *ref = myna__sj_get(m->s, "$ref"), *target = NULL;
  const myna__jnode *not = myna__sj_get(m->s, "not");
  if (not ) TRY(alternative(m, not ));
  for (myna__jnode *x = all ? all->first : NULL; x; x = x->next) {
    TRY(opposite_of(m, x, &no));
    if (no->kind != MYNA__J_FALSE) TRY(alternative(m, no));
  }
  for (int i = 0; i < 2; i++) {
    const myna__jnode *list = myna__sj_get(m->s, names[i]);
    myna__jnode *v = new_node(m, MYNA__J_OBJECT), *none = new_node(m, MYNA__J_ARRAY);
    bool known = list;
    for (myna__jnode *x = list ? list->first : NULL; x && known; x = x->next) {
      TRY(opposite_of(m, x, &no));
      known = no->kind != MYNA__J_FALSE;
      TRY(add_named(m, none, "", no));
    }
    if (!known) continue;
    TRY(add_named(m, v, "allOf", none));
    TRY(alternative(m, v));
  }
  if (!ref) return 0;
  TRY(myna__schema_resolve(m->c, ref, &target));
  TRY(opposite_of(m, target, &no));
  return no->kind == MYNA__J_FALSE ? 0 : alternative(m, no);
}

static int make(maker *m, myna__jnode **out) {
  myna__jnode *e = myna__sj_get(m->s, "const"), *list = myna__sj_get(m->s, "enum");
  *out = new_node(m, m->s->kind == MYNA__J_FALSE ? MYNA__J_TRUE : MYNA__J_FALSE);
  if (!*out) return myna__sc_nomem(m->c);
  const myna__jnode *format = myna__sj_get(m->s, "format");
  if (format && !myna__schema_format_free(format)) return 0; /* what readers take for one is not known */
  if (m->s->kind != MYNA__J_OBJECT || m->s->no_words || m->s->no_pattern || m->s->no_multiple) return 0;
  m->any = new_node(m, MYNA__J_ARRAY);
  if (!m->any) return myna__sc_nomem(m->c);
  TRY(not_types(m));
  if (e) TRY(not_values(m, e));
  if (list) TRY(not_values(m, list));
  TRY(not_bounds(m));
  TRY(not_texts(m));
  TRY(not_members(m));
  TRY(not_elements(m));
  TRY(not_combined(m));
  if (m->any->n == 0) return 0;
  myna__jnode *v = new_node(m, MYNA__J_OBJECT);
  TRY(add_named(m, v, "anyOf", m->any));
  *out = v;
  return 0;
}

int myna__schema_not(myna__sc *c, myna__jnode *s, const myna__jnode *hint, int depth, myna__jnode **out) {
  maker m = {.c = c, .s = s, .hint = hint, .depth = depth};
  opposite *o = s->opposites;
  TRY(myna__sc_burn(c, 200));
  while (o && o->hint != hint) o = o->next;
  if (o && o->out) {
    *out = o->out;
    return 0;
  }
  if (o || depth > MAX_DEPTH) return (*out = new_node(&m, MYNA__J_FALSE)) ? 0 : myna__sc_nomem(c);
  TRY(myna__schema_check(c, s));
  o = myna__sc_alloc(c, sizeof *o);
  if (!o) return myna__sc_nomem(c);
  *o = (opposite){hint, NULL, s->opposites};
  s->opposites = o;
  TRY(make(&m, out));
  o->out = *out;
  return 0;
}
