/* chat_args.c: the arguments of a function as rules of GBNF. JSON spellings take the schema's own grammar; in the others parameters stand one by one:
 * strings as bare text up to a delimiter, the rest as JSON or in the family's own signs for lists and objects. */
#include "engine/chat_args.h"
#include "myna_grammar.h"
#include <stdio.h>
#include <stdlib.h>

enum { NAME = 48, MAX_DEPTH = 16, MAX_DELIM = 160, ANY_ORDER = 5 };
#define PUT(m, ...) myna__buf_printf(&(m)->b, __VA_ARGS__)
#define QUOTE "<|\"|>"

typedef struct myna__args_maker maker;
/* What is the same for all values of one function. */
typedef struct scope {
  maker *m;
  const json_t *root; /* the parameters' schema: references lead into it */
  bool strict;
  int i; /* rules are named tI-.. */
} scope;

static int nomem(maker *m) { return myna__err(m->err, MYNA_E_NOMEM, "no memory for a grammar"); }
static void new_name(scope *c, char name[NAME]) { snprintf(name, NAME, "t%d-v%d", c->i, c->m->n_values++); }

/* ---- JSON by schema ---- */

/* Appends the rules of schema with this prefix. */
static int schema_rules(maker *m, const json_t *schema, const char *prefix, myna_err *err) {
  char *json = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY), *text = NULL;
  if (!json) return nomem(m);
  int rc = myna_schema_to_gbnf(json, strlen(json), prefix, NULL, &text, err);
  free(json);
  if (rc == 0) myna__buf_str(&m->b, text);
  if (rc == 0) PUT(m, "\n");
  myna_grammar_free_text(text);
  return rc;
}

/* The same, with `any` instead where the schema cannot be kept and the tool is not strict. */
static int json_rules(scope *c, const json_t *schema, const char *any, const char *prefix) {
  maker *m = c->m;
  myna_err err = {0};
  int rc = schema_rules(m, schema, prefix, &err);
  if (rc == 0 || rc == MYNA_E_NOMEM) return rc < 0 ? nomem(m) : 0;
  if (c->strict) return myna__err(m->err, rc, "tools[%d].function.parameters: %s", m->tool, err.msg);
  json_t *v = json_loads(any, 0, NULL);
  rc = v ? schema_rules(m, v, prefix, m->err) : nomem(m);
  json_decref(v);
  return rc;
}

/* A part of the parameters as a schema of its own: what it refers to comes along. */
static json_t *alone(const json_t *s, const json_t *root) {
  static const char *const defs[] = {"$defs", "definitions"};
  json_t *copy = json_copy((json_t *)(uintptr_t)s);
  for (int i = 0; copy && json_is_object(copy) && i < 2; i++) {
    json_t *d = json_object_get(root, defs[i]);
    if (d && !json_object_get(copy, defs[i]) && json_object_set(copy, defs[i], d) < 0) {
      json_decref(copy);
      return NULL;
    }
  }
  return copy;
}

static int json_value(scope *c, const json_t *s, char name[NAME]) {
  char prefix[NAME];
  new_name(c, prefix);
  strcat(prefix, "-"); /* NAME has room for it */
  json_t *copy = alone(s, c->root);
  int rc = copy ? json_rules(c, copy, "{}", prefix) : nomem(c->m);
  json_decref(copy);
  snprintf(name, NAME, "%.30sroot", prefix);
  return rc;
}

/* ---- text up to a delimiter ---- */

static int points_of(const char *s, uint32_t *out) {
  int n = 0;
  for (const uint8_t *p = (const uint8_t *)s; *p && n < MAX_DELIM; n++) {
    int len = *p < 0x80 ? 1 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;
    uint32_t c = len == 1 ? *p : *p & (0xFFu >> (len + 1));
    for (int i = 1; i < len && p[i]; i++) c = c << 6 | (p[i] & 0x3F);
    out[n] = c;
    for (int i = 0; i < len && *p; i++) p++;
  }
  return n;
}

/* How much of the delimiter d[0..n) stands at the end, when c follows its first k. */
static int follow(const uint32_t *d, int k, uint32_t c) {
  for (int len = k + 1; len > 0; len--)
    if (d[len - 1] == c && (len == 1 || memcmp(d, d + k - (len - 1), (size_t)(len - 1) * sizeof *d) == 0)) return len;
  return 0;
}

/* Rule `name`: any text that has the delimiter at its end and nowhere else, as an automaton: state k has read k of it. */
static int until(maker *m, const char *name, const char *delim) {
  uint32_t d[MAX_DELIM], seen[MAX_DELIM];
  int n = points_of(delim, d), n_seen = 0;
  if (n == 0 || n >= MAX_DELIM) return myna__err(m->err, MYNA_E_LIMIT, "the name of a parameter is too long");
  for (int i = 0; i < n; i++) {
    bool old = false;
    for (int k = 0; k < n_seen; k++) old |= seen[k] == d[i];
    if (!old) seen[n_seen++] = d[i];
  }
  PUT(m, "%s ::= %s-0\n", name, name);
  for (int k = 0; k < n; k++) {
    PUT(m, "%s-%d ::= ", name, k);
    for (int i = 0; i < n_seen; i++) {
      int to = follow(d, k, seen[i]);
      if (!to) continue;
      PUT(m, "\"\\U%08X\" ", seen[i]);
      if (to < n) PUT(m, "%s-%d ", name, to);
      PUT(m, "| ");
    }
    PUT(m, "[^");
    for (int i = 0; i < n_seen; i++)
      if (follow(d, k, seen[i])) PUT(m, "\\U%08X", seen[i]);
    PUT(m, "] %s-0\n", name);
  }
  return 0;
}

/* Keywords of strings that text without quotes is not held to. */
static int check_text(scope *c, const json_t *s) {
  static const char *const words[] = {"pattern", "format", "minLength", "maxLength"};
  for (size_t i = 0; c->strict && i < MYNA__COUNT(words); i++)
    if (json_object_get(s, words[i]))
      return myna__err(c->m->err, MYNA_E_UNSUPPORTED,
                       "tools[%d].function.parameters: %s is not supported for a strict tool of this model", c->m->tool,
                       words[i]);
  return 0;
}

static int text_value(scope *c, const json_t *s, const char *before, const char *delim, char name[NAME]) {
  maker *m = c->m;
  const json_t *list = json_object_get(s, "enum"), *one = json_object_get(s, "const");
  char text[NAME];
  TRY(check_text(c, s));
  bool closed = json_is_string(one) || json_array_size(list) > 0;
  for (size_t i = 0; i < json_array_size(list); i++) closed &= json_is_string(json_array_get(list, i));
  new_name(c, text);
  if (!closed) TRY(until(m, text, delim));
  bool cdata = !closed && m->f->param && strcmp(m->f->param, "<param name=\"") == 0;
  char inner[NAME];
  if (cdata) {
    new_name(c, inner);
    TRY(until(m, inner, "]]>"));
  }
  new_name(c, name);
  PUT(m, "%s ::= ", name);
  if (cdata) {
    PUT(m, "\"<![CDATA[\" %s ", inner);
    myna__args_lit(&m->b, delim);
    PUT(m, "| ");
  }
  if (*before) myna__args_lit(&m->b, before);
  if (!closed) {
    PUT(m, "%s\n", text);
    return 0;
  }
  PUT(m, "(");
  for (size_t i = 0; i < json_array_size(list); i++) {
    if (i) PUT(m, "| ");
    myna__args_lit(&m->b, json_string_value(json_array_get(list, i)));
  }
  if (json_is_string(one)) myna__args_lit(&m->b, json_string_value(one));
  PUT(m, ") ");
  myna__args_lit(&m->b, delim);
  PUT(m, "\n");
  return 0;
}

/* ---- parameters one by one ---- */

typedef struct member {
  char rule[NAME];
  bool required;
} member;

/* Rule base-MASKs: some of the members whose bit is set, each once in any order, with all that are required; s: f or m, whether sep comes first. */
static void any_order(maker *m, const char *base, const member *p, int n, const char *sep) {
  for (int more = 0; more < 2; more++)
    for (int mask = 0; mask < 1 << n; mask++) {
      bool may_end = true;
      PUT(m, "%s-%d%c ::= ", base, mask, more ? 'm' : 'f');
      for (int i = 0; i < n; i++) {
        if (!(mask >> i & 1)) continue;
        may_end &= !p[i].required;
        PUT(m, "%s %s %s-%dm | ", more ? sep : "", p[i].rule, base, mask & ~(1 << i));
      }
      if (may_end)
        PUT(m, "\"\"\n");
      else
        m->b.len -= 2, PUT(m, "\n");
    }
}

/* Many members: those that are required, in any order if they are few, then any of the others. */
static int in_order(maker *m, const char *base, const member *p, int n, const char *sep) {
  member *needed = myna__alloc((size_t)n * sizeof *needed);
  if (!needed) return nomem(m);
  char part[NAME];
  int k = 0, others = 0;
  for (int i = 0; i < n; i++) {
    if (p[i].required) {
      needed[k++] = p[i];
      continue;
    }
    if (!others) PUT(m, "%s-o ::= ", base);
    PUT(m, "%s%s", others++ ? " | " : "", p[i].rule);
  }
  snprintf(part, NAME, "%.30s-n", base);
  PUT(m, "\n");
  if (k && k <= ANY_ORDER) any_order(m, part, needed, k, sep);
  PUT(m, "%s-%df ::= ", base, n);
  if (k && k <= ANY_ORDER)
    PUT(m, "%s-%df ", part, (1 << k) - 1);
  else
    for (int i = 0; i < k; i++) PUT(m, "%s %s ", i ? sep : "", needed[i].rule);
  if (others && k)
    PUT(m, "(%s %s-o)*", sep, base);
  else if (others)
    PUT(m, "(%s-o (%s %s-o)*)?", base, sep, base);
  PUT(m, "\n");
  myna__free(needed, (size_t)n * sizeof *needed);
  return 0;
}

static bool is_required(const json_t *schema, const char *key) {
  const json_t *list = json_object_get(schema, "required");
  for (size_t i = 0; i < json_array_size(list); i++) {
    const char *s = json_string_value(json_array_get(list, i));
    if (s && strcmp(s, key) == 0) return true;
  }
  return false;
}

static int value(scope *c, const json_t *s, const char *end, int depth, char name[NAME]);

/* One parameter with its signs. */
static int parameter(scope *c, const char *key, const json_t *s, int depth, char name[NAME]) {
  const struct myna__chat_format *f = c->m->f;
  myna__buf end = {0}, head = {0};
  char v[NAME];
  bool text = myna__chat_types(s, c->root) & MYNA__TYPE_STRING || myna__chat_types(s, c->root) == 0;
  if (f->scheme == MYNA__CALLS_XML) {
    myna__buf_printf(&head, "%s%s%s%s", f->param, key,
                     !f->attr ? ""
                     : text   ? "\" string=\"true"
                              : "\" string=\"false",
                     f->param_sep);
    myna__buf_printf(&end, "%s%s", f->lines ? "\n" : "", f->param_end);
  } else if (f->scheme == MYNA__CALLS_NESTED) {
    myna__buf_printf(&head, "%s<%s>", f->param, key);
    myna__buf_printf(&end, "%s</%s>", f->param, key);
  } else {
    myna__buf_printf(&head, "%s%s", key, f->scheme == MYNA__CALLS_PYTHON ? "=" : ":");
  }
  int rc = head.failed || end.failed ? nomem(c->m) : value(c, s, end.data ? end.data : "", depth, v);
  if (rc == 0) {
    new_name(c, name);
    PUT(c->m, "%s ::= ", name);
    myna__args_lit(&c->m->b, head.data);
    if (f->value_open) {
      PUT(c->m, "nl ");
      myna__args_lit(&c->m->b, f->value_open);
    }
    PUT(c->m, "%s%s%s\n", f->lines ? "\"\\n\" " : "", v, f->scheme == MYNA__CALLS_XML ? " nl" : "");
  }
  myna__buf_free(&head);
  myna__buf_free(&end);
  return rc;
}

/* Rule `name`: the members of an object, without what stands around them. */
static int members(scope *c, const json_t *schema, const char *sep, int depth, char name[NAME]) {
  json_t *props = json_object_get(schema, "properties"), *s;
  size_t n = json_object_size(props);
  if (n > 1000) return myna__err(c->m->err, MYNA_E_LIMIT, "tools[%d]: more than 1000 parameters", c->m->tool);
  member *list = myna__alloc((n + 1) * sizeof *list);
  if (!list) return nomem(c->m);
  const char *key;
  int k = 0, rc = 0;
  json_object_foreach(props, key, s) {
    if (rc < 0) break;
    list[k].required = is_required(schema, key);
    rc = parameter(c, key, s, depth + 1, list[k++].rule);
  }
  char base[NAME];
  new_name(c, base);
  snprintf(name, NAME, "%.30s-%df", base, n <= ANY_ORDER ? (1 << n) - 1 : (int)n);
  if (rc == 0 && n <= ANY_ORDER)
    any_order(c->m, base, list, (int)n, sep);
  else if (rc == 0)
    rc = in_order(c->m, base, list, (int)n, sep);
  myna__free(list, (n + 1) * sizeof *list);
  return rc;
}

/* ---- the families' own signs for lists and objects ---- */

static int object_value(scope *c, const json_t *s, const char *end, int depth, char name[NAME]) {
  bool nested = c->m->f->scheme == MYNA__CALLS_NESTED;
  char body[NAME];
  TRY(members(c, s, nested ? "" : "\",\" sp", depth, body));
  new_name(c, name);
  PUT(c->m, nested ? "%s ::= %s nl " : "%s ::= \"{\" %s \"}\" ", name, body);
  if (*end) myna__args_lit(&c->m->b, end);
  PUT(c->m, "\n");
  return 0;
}

static int array_value(scope *c, const json_t *s, const char *end, int depth, char name[NAME]) {
  maker *m = c->m;
  bool nested = m->f->scheme == MYNA__CALLS_NESTED;
  const json_t *items = json_object_get(s, "items");
  char item[NAME], close[NAME];
  snprintf(close, sizeof close, "%.20s</item>", nested ? m->f->param : "");
  json_t *any = json_is_object(items) ? NULL : json_object();
  int rc = value(c, any ? any : items, nested ? close : "", depth + 1, item);
  json_decref(any);
  TRY(rc);
  new_name(c, name);
  PUT(m, "%s ::= ", name);
  if (nested) {
    PUT(m, "(");
    myna__buf_printf(&m->b, "\"%s<item>\" %s nl)* ", m->f->param, item);
  } else {
    PUT(m, "\"[\" (%s (\",\" sp %s)*)? \"]\" ", item, item);
  }
  if (*end) myna__args_lit(&m->b, end);
  PUT(m, "\n");
  return 0;
}

/* Gemma: a value of which nothing is known. */
static void any_gemma(scope *c, char name[NAME]) {
  snprintf(name, NAME, "t%d-any%d", c->i, c->m->n_values++);
  maker *m = c->m;
  PUT(m, "%s ::= %s-s | \"-\"? [0-9]+ (\".\" [0-9]+)? | \"true\" | \"false\" | \"null\" | ", name, name);
  PUT(m, "\"[\" (%s (\",\" %s)*)? \"]\" | \"{\" (%s-k \":\" %s (\",\" %s-k \":\" %s)*)? \"}\"\n", name, name, name,
      name, name, name);
  PUT(m, "%s-k ::= [a-zA-Z_] [a-zA-Z0-9_-]*\n%s-s ::= \"<|\\\"|>\" [^<]* \"<|\\\"|>\"\n", name, name);
}

/* Keywords that the signs of a family do not show. */
static int check_tree(scope *c, const json_t *s) {
  static const char *const known[] = {"type",    "properties", "required", "items",       "description",
                                      "title",   "default",    "examples", "$defs",       "enum",
                                      "minimum", "maximum",    "const",    "definitions", "additionalProperties",
                                      "anyOf",   "oneOf"};
  const char *key;
  json_t *v;
  if (!c->strict || !json_is_object(s)) return 0;
  json_object_foreach((json_t *)(uintptr_t)s, key, v) {
    bool ok = false;
    for (size_t i = 0; i < MYNA__COUNT(known); i++) ok |= strcmp(known[i], key) == 0;
    if (!ok)
      return myna__err(c->m->err, MYNA_E_UNSUPPORTED,
                       "tools[%d].function.parameters: %.60s is not supported for a strict tool of this model",
                       c->m->tool, key);
  }
  return 0;
}

/* One of the alternatives of a schema; MYNA_E_NOTFOUND where it has none. */
static int union_value(scope *c, const json_t *s, const char *end, int depth, char name[NAME]) {
  const json_t *any = json_object_get(s, "anyOf");
  if (!any) any = json_object_get(s, "oneOf");
  size_t n = json_array_size(any);
  if (n == 0 || n > 16) return MYNA_E_NOTFOUND;
  char one[16][NAME];
  for (size_t i = 0; i < n; i++) TRY(value(c, json_array_get(any, i), end, depth + 1, one[i]));
  new_name(c, name);
  PUT(c->m, "%s ::= %s", name, one[0]);
  for (size_t i = 1; i < n; i++) PUT(c->m, " | %s", one[i]);
  PUT(c->m, "\n");
  return 0;
}

/* Python: any literal. */
static void any_python(scope *c, char name[NAME]) {
  snprintf(name, NAME, "t%d-any%d", c->i, c->m->n_values++);
  maker *m = c->m;
  PUT(m,
      "%s ::= %s-s | \"-\"? [0-9]+ (\".\" [0-9]+)? | \"True\" | \"False\" | \"None\" | \"true\" | \"false\" | \"null\"",
      name, name);
  PUT(m, " | \"[\" (%s (\",\" sp %s)*)? \"]\"", name, name);
  PUT(m, " | \"{\" (%s-s \":\" sp %s (\",\" sp %s-s \":\" sp %s)*)? \"}\"\n", name, name, name, name);
  PUT(m, "%s-s ::= [\"] ([^\"\\\\\\n] | [\\\\] [^\\n])* [\"] | ['] ([^'\\\\\\n] | [\\\\] [^\\n])* [']\n", name);
}

/* Rule `name`: a value of this schema and the end behind it. */
static int value(scope *c, const json_t *s, const char *end, int depth, char name[NAME]) {
  const struct myna__chat_format *f = c->m->f;
  unsigned types = myna__chat_types(s, c->root);
  bool tree = f->scheme == MYNA__CALLS_GEMMA || f->scheme == MYNA__CALLS_NESTED;
  if (depth > MAX_DEPTH) return myna__err(c->m->err, MYNA_E_LIMIT, "tools[%d]: nested too deep", c->m->tool);
  if (tree) TRY(check_tree(c, s));
  if (tree && types == MYNA__TYPE_OBJECT && json_object_get(s, "properties"))
    return object_value(c, s, end, depth, name);
  if (tree && types == MYNA__TYPE_ARRAY) return array_value(c, s, end, depth, name);
  bool text = types & MYNA__TYPE_STRING || types == 0;
  if (tree && !(text && f->scheme == MYNA__CALLS_NESTED)) {
    int rc = union_value(c, s, end, depth, name);
    if (rc != MYNA_E_NOTFOUND) return rc;
  }
  /* Of objects and lists whose members are not known Python's literals are legal too. */
  bool vague = types == MYNA__TYPE_OBJECT ? !json_object_get(s, "properties")
                                          : types == MYNA__TYPE_ARRAY && !json_object_get(s, "items");
  if (f->scheme == MYNA__CALLS_PYTHON && !c->strict && (vague || types == 0)) {
    any_python(c, name);
    return 0;
  }
  if (f->scheme == MYNA__CALLS_GEMMA && types == MYNA__TYPE_STRING) return text_value(c, s, QUOTE, QUOTE, name);
  if (f->scheme == MYNA__CALLS_GEMMA && types != MYNA__TYPE_PLAIN && types != MYNA__TYPE_NULL) {
    any_gemma(c, name);
    return 0;
  }
  if (text && (f->scheme == MYNA__CALLS_XML || f->scheme == MYNA__CALLS_NESTED)) return text_value(c, s, "", end, name);
  char v[NAME];
  TRY(json_value(c, s, v));
  new_name(c, name);
  const char *type = json_string_value(json_object_get(s, "type"));
  const char *words = f->scheme != MYNA__CALLS_PYTHON || !type ? ""
                      : strcmp(type, "boolean") == 0           ? "\"True\" | \"False\" | "
                      : strcmp(type, "null") == 0              ? "\"None\" | "
                                                               : "";
  PUT(c->m, "%s ::= %s%s ", name, words, v);
  if (*end) myna__args_lit(&c->m->b, end);
  PUT(c->m, "\n");
  return 0;
}

/* ---- a function ---- */

/* Parameters that are named are all that there are, unless the schema says otherwise. */
static json_t *closed_copy(const json_t *params) {
  json_t *copy = json_is_object(params) ? json_copy((json_t *)(uintptr_t)params) : json_pack("{ss}", "type", "object");
  if (!copy) return NULL;
  bool bad = !json_object_get(copy, "type") && !json_object_get(copy, "$ref") &&
             json_object_set_new(copy, "type", json_string("object")) < 0;
  if (json_object_get(copy, "properties") && !json_object_get(copy, "additionalProperties") &&
      !json_object_get(copy, "patternProperties") && !json_object_get(copy, "allOf") &&
      !json_object_get(copy, "anyOf") && !json_object_get(copy, "oneOf"))
    bad |= json_object_set_new(copy, "additionalProperties", json_false()) < 0;
  if (!bad) return copy;
  json_decref(copy);
  return NULL;
}

int myna__args_rules(maker *m, int i, const json_t *function) {
  json_t *params = closed_copy(json_object_get(function, "parameters"));
  if (!params) return nomem(m);
  scope c = {.m = m, .root = params, .i = i, .strict = json_is_true(json_object_get(function, "strict"))};
  char name[NAME];
  enum myna__chat_scheme k = m->f->scheme;
  int rc;
  if (k == MYNA__CALLS_JSON || k == MYNA__CALLS_NAMED || k == MYNA__CALLS_HARMONY) {
    snprintf(name, NAME, "t%d-j", i);
    rc = json_rules(&c, params, "{\"type\":\"object\"}", name);
    strcat(name, "root");
  } else {
    bool comma = k == MYNA__CALLS_PYTHON || k == MYNA__CALLS_GEMMA;
    rc = k == MYNA__CALLS_NESTED || k == MYNA__CALLS_GEMMA ? check_tree(&c, params) : 0;
    if (rc == 0) rc = members(&c, params, comma ? "\",\" sp" : "", 0, name);
  }
  if (rc == 0) PUT(m, k == MYNA__CALLS_XML ? "t%d-args ::= nl %s\n" : "t%d-args ::= %s\n", i, name);
  json_decref(params);
  return rc;
}
