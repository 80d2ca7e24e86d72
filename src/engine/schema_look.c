/* schema_look.c: what a conjunction of schemas says: keywords and their values, references, alternatives, members and elements. */
#include "engine/schema.h"

/* ---- keywords ---- */

enum {
  K_BOOL = 1 << MYNA__J_FALSE | 1 << MYNA__J_TRUE,
  K_NUM = 1 << MYNA__J_NUMBER,
  K_STR = 1 << MYNA__J_STRING,
  K_ARR = 1 << MYNA__J_ARRAY,
  K_OBJ = 1 << MYNA__J_OBJECT,
  K_ANY = 127
};
typedef enum support { TAKEN, REFUSED, UNLESS_TRUE, UNLESS_FALSE, SCHEMAS } support;
/* Keywords that constrain; all others are annotations. */
static const struct {
  const char *name;
  support support;
  int kinds;
} keywords[] = {
    {"type", TAKEN, K_STR | K_ARR},
    {"enum", TAKEN, K_ARR},
    {"const", TAKEN, K_ANY},
    {"properties", TAKEN, K_OBJ},
    {"required", TAKEN, K_ARR | K_BOOL}, /* a boolean in draft 3 */
    {"additionalProperties", TAKEN, K_BOOL | K_OBJ},
    {"patternProperties", TAKEN, K_OBJ},
    {"minProperties", TAKEN, K_NUM},
    {"maxProperties", TAKEN, K_NUM},
    {"items", TAKEN, K_BOOL | K_OBJ | K_ARR},
    {"additionalItems", TAKEN, K_BOOL | K_OBJ},
    {"prefixItems", TAKEN, K_ARR | K_OBJ},
    {"minItems", TAKEN, K_NUM},
    {"maxItems", TAKEN, K_NUM},
    {"minLength", TAKEN, K_NUM},
    {"maxLength", TAKEN, K_NUM},
    {"minimum", TAKEN, K_NUM},
    {"maximum", TAKEN, K_NUM},
    {"exclusiveMinimum", TAKEN, K_NUM | K_BOOL},
    {"exclusiveMaximum", TAKEN, K_NUM | K_BOOL},
    {"multipleOf", TAKEN, K_NUM},
    {"pattern", TAKEN, K_STR},
    {"format", TAKEN, K_STR},
    {"allOf", SCHEMAS, K_ARR},
    {"anyOf", SCHEMAS, K_ARR},
    {"oneOf", SCHEMAS, K_ARR},
    {"$ref", TAKEN, K_STR},
    {"uniqueItems", UNLESS_FALSE, K_BOOL},
    {"unevaluatedProperties", UNLESS_TRUE, K_BOOL | K_OBJ},
    {"unevaluatedItems", UNLESS_TRUE, K_BOOL | K_OBJ},
    {"propertyNames", TAKEN, K_BOOL | K_OBJ},
    {"not", TAKEN, K_BOOL | K_OBJ},
    {"if", TAKEN, K_BOOL | K_OBJ},
    {"then", TAKEN, K_BOOL | K_OBJ},
    {"else", TAKEN, K_BOOL | K_OBJ},
    {"dependentRequired", TAKEN, K_OBJ},
    {"dependentSchemas", TAKEN, K_OBJ},
    {"dependencies", TAKEN, K_OBJ},
    {"contains", REFUSED, K_ANY},
    {"minContains", REFUSED, K_ANY},
    {"maxContains", REFUSED, K_ANY},
    {"$dynamicRef", REFUSED, K_ANY},
    {"$recursiveRef", REFUSED, K_ANY},
    {"disallow", REFUSED, K_ANY},
    {"extends", REFUSED, K_ANY},
    {"divisibleBy", REFUSED, K_ANY},
};

static const struct {
  const char *name;
  int mask;
} type_names[] = {{"null", MYNA__T_NULL},     {"boolean", MYNA__T_BOOL},
                  {"integer", MYNA__T_INT},   {"number", MYNA__T_INT | MYNA__T_FRAC},
                  {"string", MYNA__T_STRING}, {"array", MYNA__T_ARRAY},
                  {"object", MYNA__T_OBJECT}};

static int type_mask(const myna__jnode *v) {
  if (v->kind == MYNA__J_NUMBER) return v->mask;
  for (size_t i = 0; v->kind == MYNA__J_STRING && i < MYNA__COUNT(type_names); i++)
    if (myna__str_eq(v->text, type_names[i].name)) return type_names[i].mask;
  return 0;
}

static int fail_at(myna__sc *c, const myna__jnode *at, int code, const char *what) {
  c->at = at;
  myna__sc_say(c, code, "%s", what);
  return code;
}

static int check_number(myna__sc *c, const myna__jnode *v) {
  static const char *const counts[] = {"minLength", "maxLength",     "minItems",
                                       "maxItems",  "minProperties", "maxProperties"};
  myna__dec d;
  if (!myna__dec_parse(&d, v->text)) return fail_at(c, v, MYNA_E_LIMIT, "the number has too many digits");
  for (size_t i = 0; i < MYNA__COUNT(counts); i++)
    if (myna__str_eq(v->key, counts[i]) && (d.neg || !myna__dec_is_int(&d)))
      return fail_at(c, v, MYNA_E_FORMAT, "must be a count");
  if (myna__str_eq(v->key, "multipleOf") && (d.neg || !d.n)) return fail_at(c, v, MYNA_E_FORMAT, "must be positive");
  return 0;
}

static int check_names(myna__sc *c, const myna__jnode *list) {
  for (const myna__jnode *t = list->first; t; t = t->next)
    if (t->kind != MYNA__J_STRING) return fail_at(c, t, MYNA_E_FORMAT, "must be a name");
  return 0;
}

static int check_value(myna__sc *c, const myna__jnode *v) {
  if (v->kind == MYNA__J_NUMBER && !myna__str_eq(v->key, "const")) TRY(check_number(c, v));
  if (myna__str_eq(v->key, "type")) {
    if (v->kind == MYNA__J_STRING && !type_mask(v)) return fail_at(c, v, MYNA_E_FORMAT, "unknown type");
    for (const myna__jnode *t = v->first; t; t = t->next)
      if (!type_mask(t)) return fail_at(c, t, MYNA_E_FORMAT, "unknown type");
  }
  if (myna__str_eq(v->key, "required")) TRY(check_names(c, v));
  bool names = myna__str_eq(v->key, "dependentRequired"), schemas = myna__str_eq(v->key, "dependentSchemas");
  if (!names && !schemas && !myna__str_eq(v->key, "dependencies")) return 0;
  for (const myna__jnode *t = v->first; t; t = t->next) {
    if (schemas ? t->kind == MYNA__J_ARRAY : names && t->kind != MYNA__J_ARRAY)
      return fail_at(c, t, MYNA_E_FORMAT, "the keyword's value has the wrong type");
    if (t->kind == MYNA__J_ARRAY) TRY(check_names(c, t));
  }
  return 0;
}

static int check_keyword(myna__sc *c, const myna__jnode *v) {
  for (size_t i = 0; i < MYNA__COUNT(keywords); i++) {
    if (!myna__str_eq(v->key, keywords[i].name)) continue;
    support s = keywords[i].support;
    if (!(keywords[i].kinds >> v->kind & 1))
      return fail_at(c, v, MYNA_E_FORMAT, "the keyword's value has the wrong type");
    if (s == REFUSED || (s == UNLESS_TRUE && v->kind != MYNA__J_TRUE) ||
        (s == UNLESS_FALSE && v->kind != MYNA__J_FALSE))
      return fail_at(c, v, MYNA_E_UNSUPPORTED, "keyword is not supported");
    if (s == SCHEMAS && !v->n) return fail_at(c, v, MYNA_E_FORMAT, "must not be empty");
    return check_value(c, v);
  }
  return 0;
}

static int check(myna__sc *c, myna__jnode *s, int depth) {
  static const char *const places[] = {"allOf", "anyOf", "oneOf"};
  if (s->color == 2) return 0;
  c->at = s;
  if (s->color == 1) return myna__sc_fail(c, MYNA_E_UNSUPPORTED, "the reference leads back to itself");
  if (depth > MYNA__SC_CHAIN) return myna__sc_fail(c, MYNA_E_LIMIT, "references and combinations are too deep");
  s->color = 1;
  if (s->kind != MYNA__J_OBJECT && s->kind != MYNA__J_TRUE && s->kind != MYNA__J_FALSE)
    return myna__sc_fail(c, MYNA_E_FORMAT, "a schema must be an object or a boolean");
  for (myna__jnode *v = s->first; v && s->kind == MYNA__J_OBJECT; v = v->next) TRY(check_keyword(c, v));
  for (size_t i = 0; i < MYNA__COUNT(places); i++) {
    myna__jnode *list = myna__sj_get(s, places[i]);
    for (myna__jnode *v = list ? list->first : NULL; v; v = v->next) TRY(check(c, v, depth + 1));
  }
  myna__jnode *ref = myna__sj_get(s, "$ref"), *target = NULL;
  if (ref) {
    TRY(myna__schema_resolve(c, ref, &target));
    TRY(check(c, target, depth + 1));
  }
  s->color = 2;
  return 0;
}

int myna__schema_check(myna__sc *c, myna__jnode *s) { return check(c, s, 0); }

/* ---- references ---- */

static bool is_data(const myna__jnode *v) {
  static const char *const names[] = {"const", "enum", "default", "examples", "example"};
  for (size_t i = 0; i < MYNA__COUNT(names); i++)
    if (myna__str_eq(v->key, names[i])) return true;
  return false;
}

/* A schema that is a document of its own, with anchors of its own. */
static bool is_document(const myna__jnode *v) {
  const myna__jnode *id = myna__sj_get(v, "$id");
  return id && id->kind == MYNA__J_STRING && id->text.n && id->text.p[0] != '#';
}

/* The next node of the tree under root after v, in order; data is passed over, and with `one` what belongs to other documents. */
static const myna__jnode *after(const myna__jnode *root, const myna__jnode *v, bool one) {
  if (v->first && !is_data(v) && !(one && v != root && is_document(v))) return v->first;
  while (v != root && !v->next) v = v->parent;
  return v == root ? NULL : v->next;
}

/* *out NULL where there is none. */
static int find_named(myna__sc *c, const myna__jnode *root, const char *keyword, myna__str name,
                      const myna__jnode **out) {
  int64_t work = 100;
  *out = NULL;
  bool anchor = strcmp(keyword, "$anchor") == 0;
  for (const myna__jnode *v = root; v && !*out; v = after(root, v, anchor), work += 4) {
    const myna__jnode *id = myna__sj_get(v, keyword);
    if (anchor && v != root && is_document(v)) continue;
    if (!id || id->kind != MYNA__J_STRING) continue;
    myna__str s = id->text;
    if (s.n == name.n + 1 && s.p[s.n - 1] == '#') s.n--;
    if (s.n == name.n && memcmp(s.p, name.p, s.n) == 0) *out = v;
  }
  return myna__sc_burn(c, work);
}

static int hex(char ch) {
  return ch >= '0' && ch <= '9' ? ch - '0' : (ch | 32) >= 'a' && (ch | 32) <= 'f' ? (ch | 32) - 'a' + 10 : -1;
}

/* Takes one part of a JSON pointer in a URI fragment, unescaped. */
static myna__str take_part(const char **p, const char *end, char *buf) {
  size_t n = 0;
  while (*p < end && **p != '/') {
    char ch = *(*p)++;
    if (ch == '%' && end - *p >= 2 && hex((*p)[0]) >= 0 && hex((*p)[1]) >= 0) {
      ch = (char)(hex((*p)[0]) * 16 + hex((*p)[1]));
      *p += 2;
    }
    if (ch == '~' && *p < end && (**p == '0' || **p == '1')) ch = *(*p)++ == '0' ? '~' : '/';
    buf[n++] = ch;
  }
  return (myna__str){buf, n};
}

static const myna__jnode *follow(const myna__jnode *v, myna__str pointer, char *buf) {
  const char *p = pointer.p, *end = p + pointer.n;
  while (v && p < end) {
    p++; /* the slash */
    myna__str part = take_part(&p, end, buf);
    if (v->kind == MYNA__J_ARRAY) {
      long at = 0;
      for (size_t i = 0; i < part.n; i++)
        at = part.p[i] >= '0' && part.p[i] <= '9' && at < 1000000 ? at * 10 + part.p[i] - '0' : -1000000;
      const myna__jnode *m = at >= 0 && part.n ? v->first : NULL;
      while (m && m->index != at) m = m->next;
      v = m;
    } else
      v = myna__sj_get_str(v, part);
  }
  return v;
}

int myna__schema_resolve(myna__sc *c, const myna__jnode *ref, myna__jnode **out) {
  const char *hash = memchr(ref->text.p, '#', ref->text.n);
  myna__str base = {ref->text.p, hash ? (size_t)(hash - ref->text.p) : ref->text.n};
  myna__str fragment = {hash ? hash + 1 : ref->text.p, hash ? ref->text.n - base.n - 1 : 0};
  const myna__jnode *root = ref->parent, *from = ref->parent;
  while (root->parent) root = root->parent;
  for (const myna__jnode *v = ref->parent; v; v = v->parent) {
    from = v;
    if (is_document(v)) break;
  }
  if (base.n) TRY(find_named(c, root, "$id", base, &from));
  TRY(myna__sc_burn(c, 1000));
  if (!from) return fail_at(c, ref, MYNA_E_UNSUPPORTED, "references to other documents are not supported");
  char *buf = myna__sc_alloc(c, ref->text.n + 1);
  if (!buf) return myna__sc_nomem(c);
  const myna__jnode *v = from;
  if (fragment.n && fragment.p[0] == '/')
    v = follow(from, fragment, buf);
  else if (fragment.n) {
    TRY(find_named(c, from, "$anchor", fragment, &v));
    if (!v) TRY(find_named(c, from, "$id", (myna__str){fragment.p - 1, fragment.n + 1}, &v)); /* draft 7 */
  }
  if (!v) return fail_at(c, ref, MYNA_E_FORMAT, "the reference leads nowhere");
  *out = (myna__jnode *)v;
  return 0;
}

/* ---- alternatives ---- */

int myna__jset_add(myna__sc *c, myna__jset *s, myna__jnode *v) {
  if (v->kind == MYNA__J_TRUE || (v->kind == MYNA__J_OBJECT && !v->n)) return 0;
  for (int i = 0; i < s->n; i++)
    if (s->p[i] == v) return 0;
  TRY(myna__sc_burn(c, s->n + 1));
  TRY(myna__sc_grow(c, (void **)&s->p, s->n, &s->cap, sizeof *s->p));
  s->p[s->n++] = v;
  return 0;
}

static int jset_copy(myna__sc *c, const myna__jset *from, myna__jset *to) {
  *to = (myna__jset){0};
  for (int i = 0; i < from->n; i++) TRY(myna__jset_add(c, to, from->p[i]));
  return 0;
}

static bool jset_has(const myna__jset *s, const myna__jnode *v) {
  for (int i = 0; i < s->n; i++)
    if (s->p[i] == v) return true;
  return false;
}

/* Moves what todo says and refers to into flat; 1 when a false schema is among it. */
static int flatten(myna__sc *c, bool strict, myna__jset *flat, myna__jset *todo, myna__jset *choices) {
  for (int i = 0; i < todo->n; i++) {
    myna__jnode *s = todo->p[i], *target = NULL;
    TRY(myna__schema_check(c, s));
    if (s->kind == MYNA__J_FALSE) return 1;
    if (jset_has(flat, s)) continue;
    TRY(myna__jset_add(c, flat, s));
    myna__jnode *ref = myna__sj_get(s, "$ref"), *all = myna__sj_get(s, "allOf");
    myna__jnode *any = myna__sj_get(s, "anyOf"), *one = myna__sj_get(s, "oneOf");
    if (ref) {
      TRY(myna__schema_resolve(c, ref, &target));
      TRY(myna__jset_add(c, todo, target));
    }
    for (myna__jnode *v = all ? all->first : NULL; v; v = v->next) TRY(myna__jset_add(c, todo, v));
    if (any) TRY(myna__jset_add(c, choices, any));
    if (one) TRY(myna__jset_add(c, choices, one));
    TRY(myna__schema_implied(c, s, strict, todo, choices));
  }
  return 0;
}

int myna__schema_fail_one(myna__sc *c, const myna__jnode *keyword) {
  if (!myna__str_eq(keyword->key, "oneOf"))
    return fail_at(c, keyword, MYNA_E_UNSUPPORTED, "its opposite is not known well enough");
  return fail_at(c, keyword, MYNA_E_UNSUPPORTED, "branches are not known to exclude one another (anyOf is supported)");
}

/* Whether x and y exclude one another in this context. */
static int apart(myna__sc *c, const myna__jset *flat, myna__jnode *x, myna__jnode *y) {
  myna__jset a = {0}, b = {0};
  if (x->kind == MYNA__J_FALSE || y->kind == MYNA__J_FALSE) return 1;
  TRY(myna__jset_add(c, &a, x));
  TRY(myna__jset_add(c, &b, y));
  return myna__schema_disjoint(c, flat, &a, &b, 0);
}

/* A branch of oneOf in this context: x, and the opposite of each other that does not exclude it already. *possible: there may be one. */
static int one_branch(myna__sc *c, const myna__jset *flat, const myna__jnode *list, myna__jnode *x, myna__jset *out,
                      bool *possible) {
  *possible = x->kind != MYNA__J_FALSE;
  TRY(myna__jset_add(c, out, x));
  for (myna__jnode *y = list->first; y && *possible; y = y->next) {
    myna__jnode *no = NULL;
    int rc = x == y ? 1 : apart(c, flat, x, y);
    TRY_N(rc);
    if (rc) continue;
    c->narrowed = list;
    TRY(myna__schema_not(c, y, x, 0, &no));
    *possible = no->kind != MYNA__J_FALSE;
    if (!*possible && y->kind == MYNA__J_OBJECT && y->n > 0) return myna__schema_fail_one(c, list);
    if (*possible) TRY(myna__jset_add(c, out, no));
  }
  return 0;
}

static int expand(myna__sc *c, const myna__jset *flat0, const myna__jset *todo0, const myna__jset *choices0,
                  bool strict, myna__jsets *out, int depth) {
  myna__jset flat, todo, choices;
  if (depth > MYNA__SC_CHAIN) return myna__sc_fail(c, MYNA_E_LIMIT, "references and combinations are too deep");
  TRY(jset_copy(c, flat0, &flat));
  TRY(jset_copy(c, todo0, &todo));
  TRY(jset_copy(c, choices0, &choices));
  int rc = flatten(c, strict, &flat, &todo, &choices);
  TRY_N(rc);
  if (rc) return 0;
  if (!choices.n) {
    if (out->n >= MYNA__SC_BRANCHES) return myna__sc_fail(c, MYNA_E_LIMIT, "too many combinations of alternatives");
    TRY(myna__sc_grow(c, (void **)&out->p, out->n, &out->cap, sizeof *out->p));
    out->p[out->n++] = flat;
    return 0;
  }
  const myna__jnode *list = choices.p[--choices.n];
  bool one_of = strict && myna__str_eq(list->key, "oneOf"), any = false;
  for (myna__jnode *v = list->first; v; v = v->next) {
    myna__jset one = {0};
    bool possible = true;
    TRY(myna__sc_burn(c, 100));
    if (one_of)
      TRY(one_branch(c, &flat, list, v, &one, &possible));
    else
      TRY(myna__jset_add(c, &one, v));
    any |= possible || v->kind == MYNA__J_FALSE;
    if (possible) TRY(expand(c, &flat, &one, &choices, strict, out, depth + 1));
  }
  return any ? 0 : myna__schema_fail_one(c, list);
}

int myna__schema_expand(myna__sc *c, const myna__jset *flat, const myna__jset *todo, bool strict, myna__jsets *out) {
  const myna__jset none = {0};
  return expand(c, flat ? flat : &none, todo, &none, strict, out, 0);
}

/* ---- what a conjunction says ---- */

int myna__schema_types(const myna__jset *s) {
  int mask = MYNA__T_ALL;
  for (int i = 0; i < s->n; i++) {
    const myna__jnode *t = myna__sj_get(s->p[i], "type");
    if (!t) continue;
    int one = type_mask(t);
    for (const myna__jnode *v = t->first; v; v = v->next) one |= type_mask(v);
    mask &= one;
  }
  return mask;
}

int myna__schema_type_of(const myna__jnode *v) {
  static const int masks[] = {MYNA__T_NULL,   MYNA__T_BOOL,  MYNA__T_BOOL,  0,
                              MYNA__T_STRING, MYNA__T_ARRAY, MYNA__T_OBJECT};
  myna__dec d;
  if (v->kind != MYNA__J_NUMBER) return masks[v->kind];
  bool read = myna__dec_parse(&d, v->text); /* else there are too many digits: how it is written tells */
  bool whole = read ? myna__dec_is_int(&d) : !memchr(v->text.p, '.', v->text.n);
  return whole ? MYNA__T_INT : MYNA__T_FRAC;
}

const myna__jnode *myna__schema_enum(const myna__jset *s) {
  for (int i = 0; i < s->n; i++) {
    const myna__jnode *v = myna__sj_get(s->p[i], "const");
    if (!v) v = myna__sj_get(s->p[i], "enum");
    if (v) return v;
  }
  return NULL;
}

int myna__schema_pattern(myna__sc *c, myna__jnode *at, myna__str pattern, bool wide, const myna__dfa **out) {
  c->at = at;
  if (!at->dfa[wide]) {
    myna__dfa *d = myna__sc_alloc(c, sizeof *d);
    if (!d) return myna__sc_nomem(c);
    TRY(myna__dfa_regex(c, pattern, wide, d));
    at->dfa[wide] = d;
  }
  *out = at->dfa[wide];
  return 0;
}

static int member_of(myna__sc *c, const myna__jnode *s, myna__str name, myna__jset *out) {
  const myna__jnode *properties = myna__sj_get(s, "properties"), *patterns = myna__sj_get(s, "patternProperties");
  myna__jnode *v = properties ? myna__sj_get_str(properties, name) : NULL;
  bool found = v;
  if (v) TRY(myna__jset_add(c, out, v));
  for (myna__jnode *m = patterns ? patterns->first : NULL; m; m = m->next) {
    const myna__dfa *d = NULL;
    TRY(myna__schema_pattern(c, m, m->key, true, &d));
    if (!myna__dfa_accepts(d, name)) continue;
    TRY(myna__schema_pattern(c, m, m->key, false, &d));
    found |= myna__dfa_accepts(d, name); /* else it may match: what it says holds, and what is said of others too */
    TRY(myna__jset_add(c, out, m));
  }
  v = found ? NULL : myna__sj_get(s, "additionalProperties");
  return v ? myna__jset_add(c, out, v) : 0;
}

int myna__schema_member(myna__sc *c, const myna__jset *s, myna__str name, myna__jset *out, bool *required) {
  *required = false;
  for (int i = 0; i < s->n; i++) {
    TRY(member_of(c, s->p[i], name, out));
    const myna__jnode *properties = myna__sj_get(s->p[i], "properties"), *r = NULL;
    if (properties && (r = myna__sj_get_str(properties, name))) r = myna__sj_get(r, "required");
    if (r && r->kind == MYNA__J_TRUE)
      *required = true; /* draft 3; elsewhere it means nothing, and to have the member is right too */
    r = myna__sj_get(s->p[i], "required");
    for (const myna__jnode *v = r ? r->first : NULL; v && !*required; v = v->next)
      *required = v->text.n == name.n && memcmp(v->text.p, name.p, name.n) == 0;
  }
  return 0;
}

int myna__schema_element(myna__sc *c, const myna__jset *s, int index, myna__jset *out) {
  for (int i = 0; i < s->n; i++) {
    myna__jnode *prefix = myna__sj_get(s->p[i], "prefixItems"), *items = myna__sj_get(s->p[i], "items");
    if (prefix && prefix->kind == MYNA__J_OBJECT) { /* no draft has it, templates of tools do: as items */
      TRY(myna__jset_add(c, out, prefix));
      prefix = NULL;
    }
    if (items && items->kind == MYNA__J_ARRAY) { /* drafts before 2020-12 */
      prefix = items;
      items = myna__sj_get(s->p[i], "additionalItems");
    }
    myna__jnode *v = prefix ? prefix->first : NULL;
    while (v && v->index != index) v = v->next;
    if (v)
      TRY(myna__jset_add(c, out, v));
    else if (items)
      TRY(myna__jset_add(c, out, items));
  }
  return 0;
}

int myna__schema_bounds(myna__sc *c, const myna__jset *s, const char *min, const char *max, myna__bounds *out) {
  enum { MOST = 1000000000 };
  *out = (myna__bounds){0, -1};
  for (int i = 0; i < s->n; i++)
    for (int k = 0; k < 2; k++) {
      const myna__jnode *v = myna__sj_get(s->p[i], k ? max : min);
      myna__dec d;
      if (!v || !myna__dec_parse(&d, v->text)) continue;
      int64_t x = 0;
      for (int j = 0; j < d.point && x < MOST; j++) x = x * 10 + (j < d.n ? d.d[j] : 0);
      x = MYNA__MIN(x, MOST);
      if (!k)
        out->min = MYNA__MAX(out->min, x);
      else if (out->max < 0 || x < out->max)
        out->max = x;
    }
  return 0;
}

static int number_bound(const myna__jnode *s, const char *keyword, const char *exclusive, bool upper,
                        myna__numset *out) {
  const myna__jnode *v = myna__sj_get(s, keyword), *ex = myna__sj_get(s, exclusive);
  myna__dec d;
  int (*add)(myna__numset *, const myna__dec *, bool) = upper ? myna__num_add_max : myna__num_add_min;
  if (v && myna__dec_parse(&d, v->text)) TRY(add(out, &d, ex && ex->kind == MYNA__J_TRUE)); /* draft 4's boolean */
  if (ex && ex->kind == MYNA__J_NUMBER && myna__dec_parse(&d, ex->text)) TRY(add(out, &d, true));
  return 0;
}

int myna__schema_numbers(myna__sc *c, const myna__jset *s, bool integer, bool formats, myna__numset *out) {
  int types = myna__schema_types(s);
  *out = (myna__numset){.integer = integer, .fraction = !integer && !(types & MYNA__T_INT)};
  for (int i = 0; i < s->n; i++) {
    TRY(number_bound(s->p[i], "minimum", "exclusiveMinimum", false, out));
    TRY(number_bound(s->p[i], "maximum", "exclusiveMaximum", true, out));
    const myna__jnode *m = myna__sj_get(s->p[i], "multipleOf");
    myna__dec d;
    const myna__jnode *f = formats ? myna__sj_get(s->p[i], "format") : NULL;
    if (f && myna__schema_format_numbers(f, out)) out->never |= out->fraction;
    c->at = m ? m : c->at;
    if (m && myna__dec_parse(&d, m->text)) TRY(myna__num_add_multiple(c, out, &d));
    if (s->p[i]->no_multiple && myna__dec_parse(&d, s->p[i]->no_multiple->text)) TRY(myna__num_add_apart(out, &d));
  }
  return 0;
}
