/* schema_imply.c: keywords that say what follows from what: not, if with then and else, dependentRequired, dependentSchemas, and dependencies as they were
 * before. Each becomes schemas that hold beside the others, and lists of alternatives, from nodes that no text has. */
#include "engine/schema.h"

static myna__str name_of(const char *name) { return (myna__str){name, strlen(name)}; }

static int add(myna__sc *c, myna__jnode *to, const char *name, const myna__jnode *v) {
  return myna__sj_append(c, to, name_of(name), v);
}

/* An empty list of alternatives. */
static int new_list(myna__sc *c, myna__jnode *s, myna__jset *choices, myna__jnode **out) {
  *out = myna__sj_new(c, s, MYNA__J_ARRAY);
  if (!*out) return myna__sc_nomem(c);
  (*out)->key = name_of("anyOf");
  return myna__jset_add(c, choices, *out);
}

/* The opposite of a schema, which must be known to be something, unless everything is an instance. */
static int opposite_of(myna__sc *c, myna__jnode *keyword, myna__jnode **out) {
  bool all = keyword->kind == MYNA__J_TRUE || (keyword->kind == MYNA__J_OBJECT && !keyword->n);
  TRY(myna__schema_not(c, keyword, NULL, 0, out));
  if (all) return 0;
  c->narrowed = keyword;
  return (*out)->kind == MYNA__J_FALSE ? myna__schema_fail_one(c, keyword) : 0;
}

/* All of a and b, each of which may be NULL: an alternative. */
static int add_both(myna__sc *c, const myna__jnode *s, myna__jnode *list, const myna__jnode *a, const myna__jnode *b) {
  myna__jnode *both = myna__sj_new(c, s, MYNA__J_OBJECT), *all = myna__sj_new(c, s, MYNA__J_ARRAY);
  if (a) TRY(add(c, all, "", a));
  if (b) TRY(add(c, all, "", b));
  if (a || b) TRY(add(c, both, "allOf", all));
  return add(c, list, "", both);
}

static int imply_if(myna__sc *c, myna__jnode *s, bool strict, myna__jset *choices) {
  myna__jnode *cond = myna__sj_get(s, "if"), *no = NULL, *list;
  const myna__jnode *yes = myna__sj_get(s, "then"), *other = myna__sj_get(s, "else");
  if (!cond || (!yes && !other)) return 0;
  if (strict) TRY(opposite_of(c, cond, &no));
  TRY(new_list(c, s, choices, &list));
  TRY(add_both(c, s, list, cond, yes));
  return add_both(c, s, list, no, other);
}

/* An object whose member of this name is of `value`, NULL: any; with `required` it has one. */
static int with_member(myna__sc *c, myna__jnode *s, myna__str name, myna__jnode *value, bool required,
                       myna__jnode **out) {
  myna__jnode *v = *out = myna__sj_new(c, s, MYNA__J_OBJECT), *members = myna__sj_new(c, s, MYNA__J_OBJECT);
  myna__jnode *list = myna__sj_new(c, s, MYNA__J_ARRAY), *word = myna__sj_new(c, s, MYNA__J_STRING);
  if (!v || !members || !list || !word) return myna__sc_nomem(c);
  word->text = name;
  if (value) {
    TRY(myna__sj_append(c, members, name, value));
    TRY(add(c, v, "properties", members));
  }
  TRY(add(c, list, "", word));
  return required ? add(c, v, "required", list) : 0;
}

/* Without a member of this name, or with what that asks for: names, or a schema. */
static int imply_member(myna__sc *c, myna__jnode *s, const myna__jnode *entry, myna__jset *choices) {
  myna__jnode *none, *has, *list, *never = myna__sj_new(c, s, MYNA__J_FALSE);
  if (!never) return myna__sc_nomem(c);
  TRY(new_list(c, s, choices, &list));
  TRY(with_member(c, s, entry->key, never, false, &none));
  TRY(add(c, list, "", none));
  if (entry->kind != MYNA__J_ARRAY) {
    TRY(with_member(c, s, entry->key, NULL, true, &has));
    return add_both(c, s, list, has, entry);
  }
  has = myna__sj_new(c, s, MYNA__J_OBJECT);
  TRY(add(c, has, "required", entry));
  return add(c, list, "", has);
}

static const char *const dependencies[] = {"dependentRequired", "dependentSchemas", "dependencies"};

int myna__schema_implied(myna__sc *c, myna__jnode *s, bool strict, myna__jset *all, myna__jset *choices) {
  myna__jset *made = s->implied[strict];
  myna__jnode *negated = myna__sj_get(s, "not");
  if (s->kind != MYNA__J_OBJECT) return 0;
  if (negated && strict) {
    myna__jnode *no = NULL;
    TRY(opposite_of(c, negated, &no));
    TRY(myna__jset_add(c, all, no));
  }
  if (!made) {
    made = myna__sc_alloc(c, sizeof *made);
    if (!made) return myna__sc_nomem(c);
    TRY(imply_if(c, s, strict, made));
    for (size_t i = 0; i < MYNA__COUNT(dependencies); i++) {
      const myna__jnode *d = myna__sj_get(s, dependencies[i]);
      for (const myna__jnode *m = d ? d->first : NULL; m; m = m->next) TRY(imply_member(c, s, m, made));
    }
    s->implied[strict] = made;
  }
  for (int i = 0; i < made->n; i++) TRY(myna__jset_add(c, choices, made->p[i]));
  return 0;
}

/* ---- values ---- */

static int worse(int a, int b) { return a == 0 || b == 0 ? 0 : a == 2 || b == 2 ? 2 : 1; }

static int valid_if(myna__sc *c, const myna__jnode *s, const myna__jnode *v, int depth) {
  myna__jnode *cond = myna__sj_get(s, "if"), *branches[2] = {myna__sj_get(s, "else"), myna__sj_get(s, "then")};
  int of[2] = {1, 1};
  if (!cond || (!branches[0] && !branches[1])) return 1;
  int is = myna__schema_valid(c, cond, v, depth);
  TRY_N(is);
  for (int i = 0; i < 2; i++) {
    if (branches[i] && is != 1 - i) of[i] = myna__schema_valid(c, branches[i], v, depth);
    TRY_N(of[i]);
  }
  return is != 2 ? of[is] : of[0] == of[1] ? of[0] : 2;
}

static int valid_dependency(myna__sc *c, myna__jnode *entry, const myna__jnode *v, int depth) {
  if (v->kind != MYNA__J_OBJECT || !myna__sj_get_str(v, entry->key)) return 1;
  if (entry->kind != MYNA__J_ARRAY) return myna__schema_valid(c, entry, v, depth);
  for (const myna__jnode *name = entry->first; name; name = name->next)
    if (!myna__sj_get_str(v, name->text)) return 0;
  return 1;
}

int myna__schema_valid_implied(myna__sc *c, myna__jnode *s, const myna__jnode *v, int depth) {
  myna__jnode *negated = myna__sj_get(s, "not");
  int all = valid_if(c, s, v, depth), rc = negated ? myna__schema_valid(c, negated, v, depth) : 0;
  TRY_N(all);
  TRY_N(rc);
  all = worse(all, rc == 2 ? 2 : !rc);
  for (size_t i = 0; i < MYNA__COUNT(dependencies); i++) {
    const myna__jnode *d = myna__sj_get(s, dependencies[i]);
    for (myna__jnode *m = d ? d->first : NULL; m; m = m->next) {
      rc = valid_dependency(c, m, v, depth);
      TRY_N(rc);
      all = worse(all, rc);
    }
  }
  return all;
}
