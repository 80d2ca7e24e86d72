/* schema.c: JSON schema to GBNF. Every text of the grammar is an instance of the schema; the grammar may be smaller: members come in the
 * schema's order, spaces are bounded, numbers have no exponent where they are bounded. What cannot be kept so is refused.
 *
 * A place of the schema is a conjunction of schemas; each conjunction becomes one rule, found again by its members, which is what makes
 * recursion end. Rules are filled one after the other, so that nothing here recurses with the document.
 * Source: JSON Schema 2020-12 (and the array forms of earlier drafts), RFC 8259. */
#include "engine/grammar.h"
#include "engine/schema.h"
#include <stdlib.h>

enum { MAX_NAMES = 2000, MAX_PATTERNS = 4, MAX_PREFIX = 512, MAX_MEMBER_RULES = 20000, BLOCK = 256 };

typedef struct compiler {
  myna__sc c;
  myna__rules g;
  myna__map memo;  /* ids of a conjunction's schemas -> rule */
  myna__map words; /* strings beyond ASCII -> rule */
  struct job {
    myna__jset set;
    int rule;
  } * jobs;
  int n_jobs, cap_jobs;
  int ws, sp, chr; /* rules: between tokens, after a colon, a character of a string */
  int most[MYNA__SC_REPEAT / BLOCK +
           1];       /* rules + 1 of at most so many blocks of characters, and the quote; 0: not made */
  const char *avoid; /* occurs in no string; NULL: none */
} compiler;

static int compare_nodes(const void *a, const void *b) {
  const myna__jnode *x = *(myna__jnode *const *)a, *y = *(myna__jnode *const *)b;
  return x->id < y->id ? -1 : x->id > y->id;
}

/* The rule of a conjunction, which is filled later. */
static int rule_of(compiler *k, const myna__jset *set) {
  myna__sc *c = &k->c;
  size_t bytes = (size_t)set->n * sizeof(int32_t);
  int32_t *key = myna__sc_alloc(c, bytes);
  myna__jset sorted = {0};
  if (!key) return myna__sc_nomem(c);
  for (int i = 0; i < set->n; i++) TRY(myna__jset_add(c, &sorted, set->p[i]));
  if (sorted.n) qsort(sorted.p, (size_t)sorted.n, sizeof *sorted.p, compare_nodes);
  for (int i = 0; i < sorted.n; i++) key[i] = sorted.p[i]->id;
  bytes = (size_t)sorted.n * sizeof(int32_t);
  int64_t rule = myna__map_get(&k->memo, (char *)key, bytes, -1);
  if (rule >= 0) return (int)rule;
  rule = myna__rule_new(&k->g);
  TRY_N((int)rule);
  TRY_N(myna__map_put(&k->memo, (char *)key, bytes, rule, c->err));
  TRY(myna__sc_grow(c, (void **)&k->jobs, k->n_jobs, &k->cap_jobs, sizeof *k->jobs));
  k->jobs[k->n_jobs++] = (struct job){*set, (int)rule}; /* in the schema's order, which members keep */
  return (int)rule;
}

/* Failures are told at the keyword that asks for what cannot be, where the conjunction has it. */
static void point_at(compiler *k, const myna__jset *s, const char *keyword) {
  k->c.at = s->n ? s->p[0] : NULL;
  for (int i = 0; i < s->n; i++) {
    const myna__jnode *v = myna__sj_get(s->p[i], keyword);
    if (v) k->c.at = v;
  }
}

/* ---- rules that all share ---- */

static int add_lit(myna__rules *g, int rule, const char *text) {
  myna__galt a = {0};
  myna__alt_lit(&a, text);
  return myna__rule_add(g, rule, &a);
}

static int make_spaces(compiler *k) {
  myna__galt a = {0}, b = {0}, none = {0};
  k->ws = myna__rule_new(&k->g);
  TRY_N(k->ws);
  k->sp = myna__rule_new(&k->g);
  TRY_N(k->sp);
  myna__alt_lit(&a, "\n");
  myna__alt_class(&a, "[ ]", 0, 20);
  TRY(myna__rule_add(&k->g, k->ws, &none));
  TRY(add_lit(&k->g, k->ws, " "));
  TRY(myna__rule_add(&k->g, k->ws, &a));
  myna__alt_class(&b, "[ ]", 0, 1);
  return myna__rule_add(&k->g, k->sp, &b);
}

/* What stands behind a backslash. */
static int make_escape(compiler *k, int rule) {
  static const char hex[] = "[0-9a-fA-F]";
  myna__galt brief = {0}, low = {0}, d = {0}, pair = {0};
  myna__alt_class(&brief, "[\\x22\\x5C/bfnrt]", 1, 1);
  myna__alt_lit(&low, "u");
  myna__alt_class(&low, "[0-9a-cefA-CEF]", 1, 1);
  myna__alt_class(&low, hex, 3, 3);
  myna__alt_lit(&d, "u");
  myna__alt_class(&d, "[dD]", 1, 1);
  myna__alt_class(&d, "[0-7]", 1, 1);
  myna__alt_class(&d, hex, 2, 2);
  myna__alt_lit(&pair, "u");
  myna__alt_class(&pair, "[dD]", 1, 1);
  myna__alt_class(&pair, "[89abAB]", 1, 1);
  myna__alt_class(&pair, hex, 2, 2);
  myna__alt_lit(&pair, "\\u");
  myna__alt_class(&pair, "[dD]", 1, 1);
  myna__alt_class(&pair, "[c-fC-F]", 1, 1);
  myna__alt_class(&pair, hex, 2, 2);
  const myna__galt *all[] = {&brief, &low, &d, &pair};
  for (size_t i = 0; i < MYNA__COUNT(all); i++) TRY(myna__rule_add(&k->g, rule, all[i]));
  return 0;
}

/* One code point: as it is, escaped, or two escaped surrogates that belong together. Escapes have a rule of their own: so a character is small enough for
 * the grammar to write many of them out. */
static int make_char(compiler *k) {
  myna__galt raw = {0}, escaped = {0};
  int escape = myna__rule_new(&k->g);
  TRY_N(escape);
  TRY(make_escape(k, escape));
  k->chr = myna__rule_new(&k->g);
  TRY_N(k->chr);
  myna__alt_class(&raw, "[^\\x22\\x5C\\x00-\\x1F]", 1, 1);
  myna__alt_lit(&escaped, "\\");
  myna__alt_rule(&escaped, escape, 1, 1);
  TRY(myna__rule_add(&k->g, k->chr, &raw));
  return myna__rule_add(&k->g, k->chr, &escaped);
}

static void space(const compiler *k, myna__galt *a) {
  if (!k->c.compact) myna__alt_rule(a, k->ws, 1, 1);
}

static void close_with(const compiler *k, myna__galt *a, const char *end) {
  space(k, a);
  myna__alt_lit(a, end);
}

/* ---- values as they stand ---- */

/* Symbols in a row, for as many rules as they need. */
typedef struct row {
  int rule;
  myna__galt a;
} row;

static int row_room(compiler *k, row *r) {
  enum { ROOM = 4 };
  if (r->a.n + ROOM <= (int)MYNA__COUNT(r->a.s)) return 0;
  int next = myna__rule_new(&k->g);
  TRY_N(next);
  myna__alt_rule(&r->a, next, 1, 1);
  TRY(myna__rule_add(&k->g, r->rule, &r->a));
  *r = (row){.rule = next};
  return 0;
}

/* What buf holds, as text; buf is emptied. */
static int row_text(compiler *k, row *r, myna__buf *b) {
  char *text = b->failed ? NULL : myna__arena_strndup(&k->c.arena, b->data ? b->data : "", b->len);
  size_t n = b->len;
  myna__buf_free(b);
  if (!text) return myna__sc_nomem(&k->c);
  myna__alt_bytes(&r->a, (myna__str){text, n});
  return row_room(k, r);
}

static bool is_ascii(myna__str s) {
  for (size_t i = 0; i < s.n; i++)
    if ((uint8_t)s.p[i] >= 0x80) return false;
  return true;
}

/* A string whose characters beyond ASCII may be escaped. */
static int row_string(compiler *k, row *r, myna__str s) {
  for (size_t i = 0, n; i < s.n; i += n) {
    uint32_t v;
    myna__buf b = {0};
    for (n = 0; i + n < s.n && (uint8_t)s.p[i + n] < 0x80;) n++;
    if (n) {
      myna__sj_dump_string(&b, (myna__str){s.p + i, n});
      if (!b.failed) memmove(b.data, b.data + 1, b.len -= 2); /* the quotes are the whole string's */
      TRY(row_text(k, r, &b));
      continue;
    }
    n = (size_t)myna__gram_decode(s.p + i, s.n - i, &v);
    if (!n) return myna__sc_fail(&k->c, MYNA_E_FORMAT, "text that is not UTF-8"); /* the reader refuses it first */
    int point = myna__rules_point(&k->g, v);
    TRY_N(point);
    myna__alt_rule(&r->a, point, 1, 1);
    TRY(row_room(k, r));
  }
  return 0;
}

/* Appends a string: as text, or as a rule that all its places share. */
static int add_string(compiler *k, myna__galt *a, myna__str s) {
  row r = {.rule = -1};
  myna__buf b = {0};
  if (is_ascii(s)) {
    myna__sj_dump_string(&b, s);
    TRY(row_text(k, &r, &b));
    myna__alt_bytes(a, r.a.s[0].text);
    return 0;
  }
  int first = (int)myna__map_get(&k->words, s.p, s.n, -1);
  if (first < 0) {
    first = r.rule = myna__rule_new(&k->g);
    TRY_N(first);
    TRY_N(myna__map_put(&k->words, s.p, s.n, first, k->c.err));
    myna__alt_lit(&r.a, "\"");
    TRY(row_string(k, &r, s));
    myna__alt_lit(&r.a, "\"");
    TRY(myna__rule_add(&k->g, r.rule, &r.a));
  }
  myna__alt_rule(a, first, 1, 1);
  return 0;
}

/* Appends a value, its members in their order, with spaces where there may be some. The reader bounds the depth. */
static int row_value(compiler *k, row *r, const myna__jnode *v) {
  bool object = v->kind == MYNA__J_OBJECT;
  myna__buf b = {0};
  if (v->kind == MYNA__J_STRING) {
    TRY(add_string(k, &r->a, v->text));
    return row_room(k, r);
  }
  if (!v->first) {
    myna__sj_dump(&b, v);
    return row_text(k, r, &b);
  }
  myna__alt_lit(&r->a, object ? "{" : "[");
  for (const myna__jnode *m = v->first; m; m = m->next) {
    space(k, &r->a);
    TRY(row_room(k, r));
    if (object) {
      TRY(add_string(k, &r->a, m->key));
      myna__alt_lit(&r->a, ":");
      if (!k->c.compact) myna__alt_rule(&r->a, k->sp, 1, 1);
      TRY(row_room(k, r));
    }
    TRY(row_value(k, r, m));
    if (m->next) myna__alt_lit(&r->a, ",");
  }
  close_with(k, &r->a, object ? "}" : "]");
  return row_room(k, r);
}

/* ---- numbers, strings ---- */

static int emit_numbers(compiler *k, int rule, const myna__jset *s, bool integer) {
  static const char digit[] = "[0-9]";
  myna__numset n;
  TRY(myna__schema_numbers(&k->c, s, integer, true, &n));
  if (n.never) return 0;
  integer = n.integer;
  if (n.has_min || n.has_max || n.multiple || n.fraction) {
    myna__dfa d;
    if (myna__num_empty(&n)) return 0;
    point_at(k, s, n.multiple ? "multipleOf" : n.has_min ? "minimum" : "maximum");
    TRY(myna__num_dfa(&k->c, &n, &d));
    int first = myna__rules_dfa(&k->g, &d, false);
    TRY_N(first);
    myna__galt a = {0};
    myna__alt_rule(&a, first, 1, 1);
    return myna__rule_add(&k->g, rule, &a);
  }
  for (int zero = 0; zero < 2; zero++) {
    myna__galt a = {0};
    if (!zero || !integer) myna__alt_class(&a, "[\\x2D]", 0, 1);
    if (zero)
      myna__alt_lit(&a, "0");
    else {
      myna__alt_class(&a, "[1-9]", 1, 1);
      myna__alt_class(&a, digit, 0, 17); /* fits 64 bits */
    }
    TRY(myna__rule_add(&k->g, rule, &a));
    if (integer) continue;
    myna__alt_lit(&a, ".");
    myna__alt_class(&a, digit, 1, 18);
    TRY(myna__rule_add(&k->g, rule, &a));
    myna__alt_class(&a, "[eE]", 1, 1);
    myna__alt_class(&a, "[\\x2B\\x2D]", 0, 1);
    myna__alt_class(&a, "[1-9]", 1, 1);
    myna__alt_class(&a, digit, 0, 1);
    TRY(myna__rule_add(&k->g, rule, &a));
  }
  return 0;
}

/* Rules of the JSON strings of d, without what is avoided; the first one. */
static int string_rules(compiler *k, const myna__dfa *d) {
  myna__dfa kept = *d;
  if (k->avoid) TRY(myna__dfa_beside(&k->c, d, k->avoid, MYNA__SC_DFA_RULES, NULL, &kept));
  return myna__rules_dfa(&k->g, &kept, true);
}

/* Strings of these lengths as an automaton. */
static int lengths(compiler *k, const myna__bounds *n, myna__dfa *d) {
  bool any = n->min == 0 && n->max < 0;
  return myna__dfa_length(&k->c, (int)n->min, any || n->max < 0 ? -1 : (int)MYNA__MIN(n->max, MYNA__SC_REPEAT), d);
}

/* At most n characters to the end of a string. Blocks are shared by all strings, as long ones are many nodes. */
static int add_most(compiler *k, int rule, int n, int rest) {
  myna__galt a = {0}, b = {0};
  myna__alt_rule(&a, k->chr, n, n);
  myna__alt_rule(&a, rest, 1, 1);
  TRY(myna__rule_add(&k->g, rule, &a));
  if (n > 1) myna__alt_rule(&b, k->chr, 0, n - 1);
  myna__alt_lit(&b, "\"");
  return myna__rule_add(&k->g, rule, &b);
}

/* The rule of at most n characters and the quote. */
static int most_chars(compiler *k, int n) {
  int rule = 0;
  for (int i = 0; i <= n / BLOCK; i++) {
    int before = rule;
    if ((rule = k->most[i] - 1) >= 0) continue;
    rule = myna__rule_new(&k->g);
    TRY_N(rule);
    if (i)
      TRY(add_most(k, rule, BLOCK, before));
    else
      TRY(add_lit(&k->g, rule, "\""));
    k->most[i] = rule + 1;
  }
  if (n % BLOCK == 0) return rule;
  int last = myna__rule_new(&k->g);
  TRY_N(last);
  TRY(add_most(k, last, n % BLOCK, rule));
  return last;
}

static int emit_strings(compiler *k, int rule, const myna__jset *s) {
  bool plain;
  myna__bounds n;
  myna__dfa d;
  myna__galt a = {0};
  TRY(myna__schema_strings(&k->c, s, true, &plain, &n, &d));
  if (plain && n.max >= 0 && n.max < n.min) return 0;
  point_at(k, s, "minLength");
  if (plain && n.min > MYNA__SC_REPEAT) return myna__sc_fail(&k->c, MYNA_E_LIMIT, "minLength is too large");
  if (plain && k->avoid) TRY(lengths(k, &n, &d));
  if (!plain || k->avoid) {
    int first = string_rules(k, &d);
    TRY_N(first);
    myna__alt_rule(&a, first, 1, 1);
    return myna__rule_add(&k->g, rule, &a);
  }
  myna__alt_lit(&a, "\"");
  if (n.max > MYNA__SC_REPEAT) n.max = MYNA__SC_REPEAT;
  if (n.max - n.min > BLOCK) {
    int rest = most_chars(k, (int)(n.max - n.min));
    TRY_N(rest);
    if (n.min) myna__alt_rule(&a, k->chr, (int)n.min, (int)n.min);
    myna__alt_rule(&a, rest, 1, 1);
    return myna__rule_add(&k->g, rule, &a);
  }
  if (n.max) myna__alt_rule(&a, k->chr, (int)n.min, (int)n.max);
  myna__alt_lit(&a, "\"");
  return myna__rule_add(&k->g, rule, &a);
}

/* ---- arrays ---- */

/* A rule for a comma and the element. */
static int more_rule(compiler *k, int element) {
  myna__galt a = {0};
  int rule = myna__rule_new(&k->g);
  TRY_N(rule);
  myna__alt_lit(&a, ",");
  space(k, &a);
  myna__alt_rule(&a, element, 1, 1);
  TRY(myna__rule_add(&k->g, rule, &a));
  return rule;
}

static int emit_arrays(compiler *k, int rule, const myna__jset *s) {
  myna__bounds n;
  int prefix = 1; /* elements with rules of their own; the first has one, as no comma precedes it */
  TRY(myna__schema_bounds(&k->c, s, "minItems", "maxItems", &n));
  for (int i = 0; i < s->n; i++) {
    const myna__jnode *p = myna__sj_get(s->p[i], "prefixItems"), *q = myna__sj_get(s->p[i], "items");
    if (p && p->kind == MYNA__J_ARRAY) prefix = MYNA__MAX(prefix, p->n);
    if (q && q->kind == MYNA__J_ARRAY) prefix = MYNA__MAX(prefix, q->n);
  }
  point_at(k, s, "prefixItems");
  if (prefix > MAX_PREFIX) return myna__sc_fail(&k->c, MYNA_E_LIMIT, "too many items");
  point_at(k, s, "minItems");
  if (n.min > MYNA__SC_REPEAT) return myna__sc_fail(&k->c, MYNA_E_LIMIT, "minItems is too large");
  if (n.max > MYNA__SC_REPEAT) n.max = MYNA__SC_REPEAT;
  if (n.max >= 0 && n.max < n.min) return 0;
  if (n.min == 0) TRY(add_lit(&k->g, rule, "[]"));
  int at = rule;
  for (int i = 0; i <= prefix; i++) {
    myna__jset set = {0};
    myna__galt a = {0};
    if (n.max >= 0 && i >= n.max && i < prefix) { /* full */
      if (i) close_with(k, &a, "]");
      return i ? myna__rule_add(&k->g, at, &a) : 0;
    }
    TRY(myna__schema_element(&k->c, s, i, &set));
    int element = rule_of(k, &set);
    TRY_N(element);
    if (i == prefix) {
      int more = more_rule(k, element);
      TRY_N(more);
      if (n.max < 0 || n.max > i)
        myna__alt_rule(&a, more, (int)MYNA__MAX(n.min - i, 0), n.max < 0 ? -1 : (int)n.max - i);
      close_with(k, &a, "]");
      return myna__rule_add(&k->g, at, &a);
    }
    if (i && i >= n.min) { /* may end here */
      myna__galt end = {0};
      close_with(k, &end, "]");
      if (i < prefix) TRY(myna__rule_add(&k->g, at, &end));
    }
    int next = myna__rule_new(&k->g);
    TRY_N(next);
    myna__alt_lit(&a, i ? "," : "[");
    space(k, &a);
    myna__alt_rule(&a, element, 1, 1);
    myna__alt_rule(&a, next, 1, 1);
    TRY(myna__rule_add(&k->g, at, &a));
    at = next;
  }
  return 0;
}

/* ---- objects ---- */

typedef struct object {
  const myna__jset *s;
  myna__bounds count;
  myna__str *names; /* [n] declared or required, in order */
  int *pairs;       /* [n] rules: name, colon, value */
  bool *required;
  int n, cap_names, cap; /* cap: counts of members from here on are alike */
  myna__jset naming;     /* what propertyNames say */
  myna__jsets allowed;   /* the same as alternatives; none: any name */
  int other;             /* rule of a pair with another name, -1 none */
  int *states;           /* [n + 1, cap + 1] rules, 0 not made */
} object;

static int add_name(compiler *k, object *o, myna__map *seen, myna__str name) {
  int rc = myna__map_put(seen, name.p, name.n, 1, k->c.err);
  if (rc <= 0) return rc;
  if (o->n >= MAX_NAMES) return myna__sc_fail(&k->c, MYNA_E_LIMIT, "too many properties");
  TRY(myna__sc_grow(&k->c, (void **)&o->names, o->n, &o->cap_names, sizeof *o->names));
  o->names[o->n++] = name;
  return 0;
}

static int find_names(compiler *k, object *o, myna__map *seen) {
  for (int i = 0; i < o->s->n; i++) {
    const myna__jnode *p = myna__sj_get(o->s->p[i], "properties");
    k->c.at = p;
    for (const myna__jnode *m = p ? p->first : NULL; m; m = m->next) TRY(add_name(k, o, seen, m->key));
  }
  for (int i = 0; i < o->s->n; i++) {
    const myna__jnode *r = myna__sj_get(o->s->p[i], "required");
    k->c.at = r;
    for (const myna__jnode *m = r ? r->first : NULL; m; m = m->next) TRY(add_name(k, o, seen, m->text));
  }
  return 0;
}

/* What propertyNames say. Values of an enum are declared names: there are no others. */
static int find_naming(compiler *k, object *o, myna__map *seen) {
  for (int i = 0; i < o->s->n; i++) {
    myna__jnode *p = myna__sj_get(o->s->p[i], "propertyNames");
    if (p) TRY(myna__jset_add(&k->c, &o->naming, p));
  }
  if (!o->naming.n) return 0;
  TRY(myna__schema_expand(&k->c, NULL, &o->naming, true, &o->allowed));
  for (int i = 0; i < o->allowed.n; i++) {
    const myna__jnode *e = myna__schema_enum(&o->allowed.p[i]);
    bool list = e && myna__str_eq(e->key, "enum");
    for (const myna__jnode *v = list ? e->first : e; v; v = list ? v->next : NULL)
      if (v->kind == MYNA__J_STRING) TRY(add_name(k, o, seen, v->text));
  }
  return 0;
}

/* Whether a declared name is surely one that propertyNames allow. */
static int may_be_named(compiler *k, const object *o, myna__str name) {
  const myna__jnode v = {.kind = MYNA__J_STRING, .text = name};
  int all = 1;
  for (int i = 0; i < o->naming.n && all == 1; i++) all = myna__schema_valid(&k->c, o->naming.p[i], &v, 0);
  return all < 0 ? all : all == 1;
}

static int pair_value(compiler *k, int rule, myna__galt *a, const myna__jset *set) {
  int value = rule_of(k, set);
  TRY_N(value);
  myna__alt_lit(a, ":");
  if (!k->c.compact) myna__alt_rule(a, k->sp, 1, 1);
  myna__alt_rule(a, value, 1, 1);
  return myna__rule_add(&k->g, rule, a);
}

static int declared_pairs(compiler *k, object *o) {
  o->pairs = myna__sc_alloc(&k->c, (size_t)o->n * sizeof *o->pairs);
  o->required = myna__sc_alloc(&k->c, (size_t)o->n * sizeof *o->required);
  if (!o->pairs || !o->required) return myna__sc_nomem(&k->c);
  for (int i = 0; i < o->n; i++) {
    myna__jset set = {0};
    myna__galt a = {0};
    TRY(myna__sc_burn(&k->c, o->n));
    TRY(myna__schema_member(&k->c, o->s, o->names[i], &set, &o->required[i]));
    o->pairs[i] = myna__rule_new(&k->g);
    TRY_N(o->pairs[i]);
    TRY(add_string(k, &a, o->names[i]));
    int may = may_be_named(k, o, o->names[i]);
    TRY_N(may);
    if (!may) continue; /* a rule without any text */
    TRY(pair_value(k, o->pairs[i], &a, &set));
  }
  return 0;
}

/* What a name must satisfy that matches the patterns of `mask` (of all, in order) and no declared one. */
static int other_value(compiler *k, const object *o, unsigned mask, myna__jset *set, bool *never) {
  int at = 0;
  *never = false;
  for (int i = 0; i < o->s->n; i++) {
    const myna__jnode *patterns = myna__sj_get(o->s->p[i], "patternProperties");
    bool found = false;
    for (myna__jnode *m = patterns ? patterns->first : NULL; m; m = m->next, at++) {
      if (!(mask >> at & 1)) continue;
      found = true;
      TRY(myna__jset_add(&k->c, set, m));
    }
    myna__jnode *rest = found ? NULL : myna__sj_get(o->s->p[i], "additionalProperties");
    if (rest) TRY(myna__jset_add(&k->c, set, rest));
  }
  for (int i = 0; i < set->n; i++) *never |= set->p[i]->kind == MYNA__J_FALSE;
  return 0;
}

/* The names that match exactly the patterns of `mask` and are not declared. */
static int other_names(compiler *k, const object *o, unsigned mask, myna__dfa *names) {
  myna__dfa d;
  int at = 0;
  TRY(myna__dfa_words(&k->c, o->names, o->n, &d));
  TRY(myna__dfa_complement(&k->c, &d, names));
  for (int i = 0; i < o->s->n; i++) {
    const myna__jnode *patterns = myna__sj_get(o->s->p[i], "patternProperties");
    for (myna__jnode *m = patterns ? patterns->first : NULL; m; m = m->next, at++) {
      const myna__dfa *p;
      bool in = mask >> at & 1;
      TRY(myna__schema_pattern(&k->c, m, m->key, !in, &p));
      d = *p;
      if (!in) TRY(myna__dfa_complement(&k->c, p, &d));
      TRY(myna__dfa_product(&k->c, names, &d, names));
    }
  }
  return 0;
}

/* Keeps names to one of the alternatives of propertyNames; *none: it has no others than those declared. */
static int keep_naming(compiler *k, const myna__jset *allowed, myna__dfa *names, bool *none) {
  bool plain;
  myna__bounds n;
  myna__dfa d;
  *none = !(myna__schema_types(allowed) & MYNA__T_STRING) || myna__schema_enum(allowed);
  if (*none) return 0;
  TRY(myna__schema_strings(&k->c, allowed, true, &plain, &n, &d));
  *none = plain && n.max >= 0 && n.max < n.min;
  if (*none || (plain && n.min == 0 && n.max < 0)) return 0;
  k->c.at = allowed->p[0];
  if (n.min > MYNA__SC_REPEAT) return myna__sc_fail(&k->c, MYNA_E_LIMIT, "minLength is too large");
  if (plain) TRY(lengths(k, &n, &d));
  return myna__dfa_product(&k->c, names, &d, names);
}

/* Members with other names, of the patterns of `mask` and of one of the alternatives of propertyNames (NULL: any). */
static int other_pair(compiler *k, object *o, unsigned mask, int patterns, const myna__jset *allowed) {
  myna__jset set = {0};
  myna__galt a = {0};
  myna__dfa names;
  bool never;
  TRY(other_value(k, o, mask, &set, &never));
  if (never) return 0;
  if (!o->n && !patterns && !k->avoid && !allowed) {
    myna__alt_lit(&a, "\"");
    myna__alt_rule(&a, k->chr, 0, -1);
    myna__alt_lit(&a, "\"");
  } else {
    size_t total = 0;
    for (int i = 0; i < o->n; i++) total += o->names[i].n;
    if (total >= MYNA__SC_DFA_RULES) return 0; /* too many to tell others from: there are none, which is sound */
    TRY(other_names(k, o, mask, &names));
    if (allowed) TRY(keep_naming(k, allowed, &names, &never));
    if (never) return 0;
    int first = string_rules(k, &names);
    TRY_N(first);
    myna__alt_rule(&a, first, 1, 1);
  }
  if (o->other < 0) o->other = myna__rule_new(&k->g);
  TRY_N(o->other);
  return pair_value(k, o->other, &a, &set);
}

static int other_pairs(compiler *k, object *o) {
  int patterns = 0;
  o->other = -1;
  if (o->count.max == 0) return 0;
  for (int i = 0; i < o->s->n; i++) {
    const myna__jnode *p = myna__sj_get(o->s->p[i], "patternProperties");
    patterns += p ? p->n : 0;
    k->c.at = p ? p : k->c.at;
  }
  if (patterns > MAX_PATTERNS) return myna__sc_fail(&k->c, MYNA_E_LIMIT, "too many patterns");
  for (unsigned mask = 0; mask < 1u << patterns; mask++) {
    if (!o->naming.n) TRY(other_pair(k, o, mask, patterns, NULL));
    for (int i = 0; i < o->allowed.n; i++) TRY(other_pair(k, o, mask, patterns, &o->allowed.p[i]));
  }
  return 0;
}

/* After the declared members, `count` of them: others, then the end. Others may repeat a name, so that any number of them counts as one for
 * minProperties. */
static int fill_tail(compiler *k, const object *o, int rule, int count, int more) {
  int64_t need = MYNA__MAX(o->count.min - count, 0);
  int64_t most = o->count.max < 0 ? -1 : MYNA__MIN(o->count.max - count, MYNA__SC_REPEAT);
  if (o->count.max >= 0 && most < 0) return 0;
  if (need == 0) {
    myna__galt a = {0};
    if (count && more >= 0 && most) myna__alt_rule(&a, more, 0, (int)most);
    if (count) space(k, &a);
    myna__alt_lit(&a, "}");
    TRY(myna__rule_add(&k->g, rule, &a));
  }
  if (more < 0 || need > 1 || most == 0 || (count && need == 0)) return 0;
  myna__galt a = {0};
  if (count)
    myna__alt_rule(&a, more, 1, (int)most);
  else {
    space(k, &a);
    myna__alt_rule(&a, o->other, 1, 1);
    if (most != 1) myna__alt_rule(&a, more, 0, most < 0 ? -1 : (int)most - 1);
  }
  close_with(k, &a, "}");
  return myna__rule_add(&k->g, rule, &a);
}

static int state_at(compiler *k, object *o, int i, int count) {
  int *p = &o->states[i * (o->cap + 1) + count];
  if (!*p) *p = myna__rule_new(&k->g) + 1;
  return *p - 1;
}

static int fill_states(compiler *k, object *o, int more) {
  for (int i = 0; i <= o->n; i++)
    for (int count = 0; count <= o->cap; count++) {
      if (!o->states[i * (o->cap + 1) + count]) continue; /* cannot be reached */
      int rule = state_at(k, o, i, count);
      if (i == o->n) {
        TRY(fill_tail(k, o, rule, count, more));
        continue;
      }
      if (o->count.max < 0 || count < o->count.max) {
        myna__galt a = {0};
        int next = state_at(k, o, i + 1, MYNA__MIN(count + 1, o->cap));
        TRY_N(next);
        if (count) myna__alt_lit(&a, ",");
        space(k, &a);
        myna__alt_rule(&a, o->pairs[i], 1, 1);
        myna__alt_rule(&a, next, 1, 1);
        TRY(myna__rule_add(&k->g, rule, &a));
      }
      if (o->required[i]) continue;
      myna__galt a = {0};
      int next = state_at(k, o, i + 1, count);
      TRY_N(next);
      myna__alt_rule(&a, next, 1, 1);
      TRY(myna__rule_add(&k->g, rule, &a));
    }
  return 0;
}

static int emit_objects(compiler *k, int rule, const myna__jset *s) {
  object o = {.s = s};
  myna__map seen = {0};
  TRY(myna__schema_bounds(&k->c, s, "minProperties", "maxProperties", &o.count));
  int rc = find_names(k, &o, &seen);
  if (rc >= 0) rc = find_naming(k, &o, &seen);
  myna__map_free(&seen);
  TRY(rc);
  TRY(declared_pairs(k, &o));
  TRY(other_pairs(k, &o));
  int more = o.other < 0 ? -1 : more_rule(k, o.other);
  if (o.other >= 0) TRY_N(more);
  point_at(k, s, "minProperties");
  if (o.other >= 0 && o.count.min > o.n + 1) /* others would have to differ from one another */
    return myna__sc_fail(&k->c, MYNA_E_UNSUPPORTED, "minProperties beyond the declared properties is not supported");
  /* Counts matter up to the larger bound only, and never beyond the declared ones. */
  o.cap = (int)MYNA__MAX(1, MYNA__MIN(MYNA__MAX(o.count.min, o.count.max), o.n));
  if ((int64_t)(o.n + 1) * (o.cap + 1) > MAX_MEMBER_RULES)
    return myna__sc_fail(&k->c, MYNA_E_LIMIT, "too many properties to count");
  o.states = myna__sc_alloc(&k->c, (size_t)(o.n + 1) * (size_t)(o.cap + 1) * sizeof *o.states);
  if (!o.states) return myna__sc_nomem(&k->c);
  myna__galt a = {0};
  int first = state_at(k, &o, 0, 0);
  TRY_N(first);
  TRY(fill_states(k, &o, more));
  myna__alt_lit(&a, "{");
  myna__alt_rule(&a, first, 1, 1);
  return myna__rule_add(&k->g, rule, &a);
}

/* ---- conjunctions ---- */

/* One value: as text where there are many, or it is long. */
static int emit_value(compiler *k, int rule, const myna__jnode *v, bool text) {
  enum { LONG = 4096 };
  myna__buf b = {0};
  row r = {.rule = rule};
  myna__sj_dump(&b, v);
  if (k->avoid && !b.failed && memmem(b.data, b.len, k->avoid, strlen(k->avoid))) {
    myna__buf_free(&b);
    return 0;
  }
  if (text || b.len > LONG || b.failed) {
    TRY(row_text(k, &r, &b));
  } else {
    myna__buf_free(&b);
    TRY(row_value(k, &r, v));
  }
  return myna__rule_add(&k->g, r.rule, &r.a);
}

static int emit_enum(compiler *k, int rule, const myna__jset *s, const myna__jnode *e) {
  enum { MANY = 256 };
  bool list = myna__str_eq(e->key, "enum");
  for (const myna__jnode *v = list ? e->first : e; v; v = list ? v->next : NULL) {
    int valid = 1;
    for (int i = 0; i < s->n && valid == 1; i++) valid = myna__schema_valid(&k->c, s->p[i], v, 0);
    TRY_N(valid);
    if (valid == 1) TRY(emit_value(k, rule, v, list && e->n > MANY));
  }
  return 0;
}

static int emit(compiler *k, int rule, const myna__jset *s) {
  const myna__jnode *e = myna__schema_enum(s);
  int types = myna__schema_types(s);
  if (e) return emit_enum(k, rule, s, e);
  if (types & MYNA__T_OBJECT) TRY(emit_objects(k, rule, s));
  if (types & MYNA__T_ARRAY) TRY(emit_arrays(k, rule, s));
  if (types & MYNA__T_STRING) TRY(emit_strings(k, rule, s));
  if (types & (MYNA__T_INT | MYNA__T_FRAC)) TRY(emit_numbers(k, rule, s, !(types & MYNA__T_FRAC)));
  if (types & MYNA__T_BOOL) {
    TRY(add_lit(&k->g, rule, "true"));
    TRY(add_lit(&k->g, rule, "false"));
  }
  return types & MYNA__T_NULL ? add_lit(&k->g, rule, "null") : 0;
}

static int fill(compiler *k, struct job job) {
  myna__jsets sets = {0};
  TRY(myna__schema_expand(&k->c, NULL, &job.set, true, &sets));
  for (int i = 0; i < sets.n; i++) TRY(emit(k, job.rule, &sets.p[i]));
  return 0;
}

static int compile(compiler *k, const char *json, size_t n, const char *prefix, char **text) {
  myna__jnode *schema;
  myna__jset set = {0};
  TRY(myna__sj_parse(&k->c, n ? json : "{}", n ? n : 2, &schema));
  TRY(make_spaces(k));
  TRY(make_char(k));
  TRY(myna__schema_check(&k->c, schema));
  TRY(myna__jset_add(&k->c, &set, schema));
  int root = rule_of(k, &set);
  TRY_N(root);
  for (int i = 0; i < k->n_jobs; i++) TRY(fill(k, k->jobs[i]));
  TRY(myna__rules_prune(&k->g, root));
  return myna__rules_print(&k->g, root, prefix, text);
}

int myna_schema_to_gbnf(const char *json, size_t n, const char *prefix, const myna_schema_options *o, char **text,
                        myna_err *err) {
  return myna__schema_gbnf(json, n, prefix, o, NULL, text, err);
}

int myna__schema_gbnf(const char *json, size_t n, const char *prefix, const myna_schema_options *o, const char *avoid,
                      char **text, myna_err *err) {
  if (!text || (!json && n)) return myna__err(err, MYNA_E_ARG, "no schema, or nowhere to put the grammar");
  myna_err own = {0}; /* places need an error to be told in */
  compiler k = {.c = {.fuel = MYNA__SC_FUEL, .compact = o && o->compact, .err = err ? err : &own}, .avoid = avoid};
  *text = NULL;
  k.g.c = &k.c;
  int rc = compile(&k, json, n, prefix ? prefix : "", text);
  myna__map_free(&k.memo);
  myna__map_free(&k.words);
  myna__map_free(&k.g.classes);
  myna__arena_free(&k.c.arena);
  return rc;
}
