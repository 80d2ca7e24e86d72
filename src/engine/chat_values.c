/* chat_values.c: single values of a call's parameters as rules of GBNF, in each spelling: strings as text up to what ends them, the rest as JSON or in the
 * family's own signs for lists and objects. What is written must be read by the parser as an instance of the schema; it takes some texts for no strings. */
#include "engine/chat_args.h"
#include "engine/schema.h"
#include <stdlib.h>

enum { NAME = MYNA__RULE_NAME, MAX_UNION = 16, MAX_VALUES = 20000, MAX_NESTED = 8 };
#define PUT(m, ...) myna__buf_printf(&(m)->b, __VA_ARGS__)
#define NOT_CDATA "^<!\\[CDATA\\["
#define NOT_NULL "^[ \\n\\t\\r]*null[ \\n\\t\\r]*$"
/* What the parser reads as a literal where the type is not known. */
#define NOT_LITERAL "^[ \\n\\t\\r]*([\\[{(0-9-]|(true|false|null|True|False|None)[ \\n\\t\\r]*$)"

typedef struct myna__args_maker maker;
typedef myna__args scope;

static const unsigned every_type =
    MYNA__TYPE_STRING | MYNA__TYPE_OBJECT | MYNA__TYPE_ARRAY | MYNA__TYPE_NULL | MYNA__TYPE_PLAIN;

/* ---- schemas ---- */

/* Says nothing about values. */
static bool says_nothing(const char *keyword) {
  static const char *const words[] = {"title",    "description", "default",    "examples", "example",  "$defs",
                                      "$comment", "definitions", "deprecated", "readOnly", "writeOnly"};
  for (size_t i = 0; i < MYNA__COUNT(words); i++)
    if (strcmp(words[i], keyword) == 0) return true;
  return false;
}

/* Whether s says nothing but the keyword `but` (which may be NULL). */
static bool only_says(const json_t *s, const char *but) {
  const char *key;
  json_t *v;
  json_object_foreach((json_t *)(uintptr_t)s, key,
                      v) if (!says_nothing(key) && !(but && strcmp(key, but) == 0)) return false;
  return true;
}
static bool any_value(const json_t *s) { return only_says(s, NULL); }

/* What s refers to, or s. */
static const json_t *target_of(const scope *c, const json_t *s) {
  for (int k = 0; k < 8 && !c->vague && json_object_get(s, "$ref") && only_says(s, "$ref"); k++) {
    const json_t *to = myna__chat_follow(c->root, json_string_value(json_object_get(s, "$ref")));
    if (!json_is_object(to)) break;
    s = to;
  }
  return s;
}

/* Values of s of these types only, as a schema of its own: what it refers to comes along. */
static char *alone(const scope *c, const json_t *s, unsigned types) {
  static const char *const defs[] = {"$defs", "definitions"};
  static const struct {
    unsigned bit;
    const char *name;
  } names[] = {{MYNA__TYPE_STRING, "string"}, {MYNA__TYPE_OBJECT, "object"}, {MYNA__TYPE_ARRAY, "array"},
               {MYNA__TYPE_NULL, "null"},     {MYNA__TYPE_PLAIN, "number"},  {MYNA__TYPE_PLAIN, "boolean"}};
  json_t *list = json_array(), *all = json_pack("{s:[O*,{s:O}]}", "allOf", s, "type", list);
  for (size_t i = 0; all && i < MYNA__COUNT(names); i++)
    if (types & names[i].bit) json_array_append_new(list, json_string(names[i].name));
  for (int i = 0; all && i < 2; i++) {
    json_t *d = json_object_get(c->root, defs[i]);
    if (d) json_object_set(all, defs[i], d);
  }
  char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
  json_decref(list);
  json_decref(all);
  return text;
}

/* ---- rules by schema ---- */

/* Takes what a conversion gave; MYNA_E_NOTFOUND where there is no such value. */
static int take_rules(scope *c, int rc, char *text, const myna_err *err, const char *prefix, char name[NAME]) {
  if (rc == MYNA_E_NOMEM) return myna__args_nomem(c->m);
  if (rc == MYNA_E_ARG) return MYNA_E_NOTFOUND;
  if (rc < 0) return c->strict ? myna__args_fail(c, rc, err->msg) : MYNA_E_UNSUPPORTED;
  PUT(c->m, "%s\n", text);
  snprintf(name, NAME, "%.30sroot", prefix);
  myna_grammar_free_text(text);
  return 0;
}

/* Strings of s as text. */
static int text_value(scope *c, const json_t *s, const myna__text_end *e, char name[NAME]) {
  static const char any[] = "{\"type\":\"string\"}";
  char *json = alone(c, s, MYNA__TYPE_STRING), *text = NULL, prefix[NAME];
  myna_err err = {0};
  if (!json) return myna__args_nomem(c->m);
  myna__args_name(c, prefix);
  strcat(prefix, "-");
  int rc = c->vague ? MYNA_E_UNSUPPORTED
                    : take_rules(c, myna__schema_text_gbnf(json, strlen(json), prefix, e, &text, &err), text, &err,
                                 prefix, name);
  free(json);
  if (rc != MYNA_E_UNSUPPORTED || c->strict) return rc;
  err = (myna_err){0};
  return take_rules(c, myna__schema_text_gbnf(any, sizeof any - 1, prefix, e, &text, &err), text, &err, prefix, name);
}

/* Values of s of these types as JSON without `avoid` in strings, and the end. */
static int json_value(scope *c, const json_t *s, unsigned types, const char *avoid, const char *end, char name[NAME]) {
  char *json = alone(c, s, types), *any = alone(c, NULL, types), *text = NULL, prefix[NAME], v[NAME];
  myna_err err = {0};
  myna__args_name(c, prefix);
  strcat(prefix, "-");
  int rc = json && any ? take_rules(c, myna__schema_gbnf(json, strlen(json), prefix, NULL, avoid, &text, &err), text,
                                    &err, prefix, v)
                       : myna__args_nomem(c->m);
  if (rc == MYNA_E_UNSUPPORTED && !c->strict && any) {
    err = (myna_err){0};
    rc = take_rules(c, myna__schema_gbnf(any, strlen(any), prefix, NULL, avoid, &text, &err), text, &err, prefix, v);
  }
  free(json);
  free(any);
  TRY(rc);
  myna__args_name(c, name);
  PUT(c->m, "%s ::= %s %s", name, v, c->m->f->lines && *end ? "nl " : "");
  if (*end) myna__args_lit(&c->m->b, end);
  PUT(c->m, "\n");
  return 0;
}

/* Alternatives that a value has. */
typedef struct choice {
  char name[MAX_UNION][NAME];
  int n;
} choice;

/* One more, made with this result; MYNA_E_NOTFOUND is none. */
static int chosen(choice *v, int rc) {
  v->n += rc == 0;
  return rc == MYNA_E_NOTFOUND ? 0 : rc;
}

static int choose(scope *c, const choice *v, char name[NAME]) {
  if (v->n == 0) return MYNA_E_NOTFOUND;
  myna__args_name(c, name);
  PUT(c->m, "%s ::= ", name);
  for (int i = 0; i < v->n; i++) PUT(c->m, "%s%s", i ? " | " : "", v->name[i]);
  PUT(c->m, "\n");
  return 0;
}

/* ---- text in tags ---- */

/* Text, and where the parser takes some of it for other values, those. */
static int tag_text(scope *c, const json_t *s, unsigned types, const myna__text_end *e, choice *v) {
  myna__text_end end = *e;
  char except[160];
  const char *more = types == 0 ? (any_value(s) ? NULL : NOT_LITERAL) : types & MYNA__TYPE_NULL ? NOT_NULL : NULL;
  unsigned rest = types == 0 ? every_type & ~(unsigned)MYNA__TYPE_STRING : (unsigned)MYNA__TYPE_NULL;
  snprintf(except, sizeof except, "%s%s%s", e->except ? e->except : "", e->except && more ? "|" : "", more ? more : "");
  end.except = except[0] ? except : NULL;
  TRY(chosen(v, text_value(c, s, &end, v->name[v->n])));
  return more ? chosen(v, json_value(c, s, rest, e->mark, e->end, v->name[v->n])) : 0;
}

int myna__args_xml(scope *c, const json_t *s, const char *end, myna__args_part part, int depth, char name[NAME]) {
  const struct myna__chat_format *f = c->m->f;
  unsigned types = part == MYNA__PART_TEXT ? MYNA__TYPE_STRING : myna__chat_types(s, c->root);
  const myna__text_end e = {.mark = f->param_end, .end = end, .except = f->lines ? NULL : NOT_CDATA, .line = f->lines};
  if (part == MYNA__PART_REST || (types && !(types & MYNA__TYPE_STRING)))
    return json_value(c, s, part == MYNA__PART_REST ? every_type & ~(unsigned)MYNA__TYPE_STRING : every_type,
                      f->param_end, end, name);
  choice v = {.n = 0};
  TRY(tag_text(c, s, types, &e, &v));
  if (f->cdata) {
    static const char close[] = "]]>";
    char both[128], inner[NAME];
    snprintf(both, sizeof both, "%s%.100s", close, end);
    int rc = text_value(c, s, &(myna__text_end){.mark = close, .end = both}, inner);
    if (rc == 0) {
      myna__args_name(c, v.name[v.n]);
      PUT(c->m, "%s ::= \"<![CDATA[\" %s\n", v.name[v.n], inner);
    }
    TRY(chosen(&v, rc));
  }
  return choose(c, &v, name);
}

/* ---- lists and objects in the families' own signs ---- */

/* The bounds of a list's length as GBNF's of what follows the first item; min of it as it is. */
static int64_t bound(const json_t *s, const char *keyword, int64_t none) {
  const json_t *v = json_object_get(s, keyword);
  double x = json_is_number(v) ? json_number_value(v) : -1;
  return x < 0 ? none : x > MYNA__SC_REPEAT ? MYNA__SC_REPEAT : (int64_t)x;
}

/* Rule `name`: so many items as the schema asks for, with sep between. */
static int items(scope *c, const json_t *s, const char *item, const char *sep, char name[NAME]) {
  int64_t min = bound(s, "minItems", 0), max = bound(s, "maxItems", -1);
  if (max >= 0 && max < min) return MYNA_E_NOTFOUND;
  myna__args_name(c, name);
  PUT(c->m, "%s ::= ", name);
  if (max == 0) {
    PUT(c->m, "\"\"\n");
    return 0;
  }
  PUT(c->m, "(%s (%s %s){%d,", item, sep, item, (int)MYNA__MAX(min - 1, 0));
  if (max > 0) PUT(c->m, "%d", (int)max - 1);
  PUT(c->m, "})%s\n", min ? "" : "?");
  return 0;
}

static int with_end(scope *c, const char *open, const char *body, const char *close, const char *end, char name[NAME]) {
  myna__args_name(c, name);
  PUT(c->m, "%s ::= %s %s %s ", name, open, body, close);
  if (*end) myna__args_lit(&c->m->b, end);
  PUT(c->m, "\n");
  return 0;
}

static const json_t *union_of(const json_t *s) {
  static const char *const words[] = {"anyOf", "oneOf"};
  for (int i = 0; i < 2; i++) {
    const json_t *list = json_object_get(s, words[i]);
    if (list && only_says(s, words[i]) && json_array_size(list) <= MAX_UNION) return list;
  }
  return NULL;
}

static int union_value(scope *c, const json_t *list, const char *end, int depth, myna__args_value *value,
                       char name[NAME]) {
  choice v = {.n = 0};
  for (size_t i = 0; i < json_array_size(list); i++)
    TRY(chosen(&v, value(c, json_array_get(list, i), end, MYNA__PART_ALL, depth + 1, v.name[v.n])));
  return choose(c, &v, name);
}

/* ---- elements ---- */

/* Elements do not tell which of several objects or lists they are. */
static bool told_apart(const scope *c, const json_t *list) {
  int n = 0;
  for (size_t i = 0; i < json_array_size(list); i++)
    n += (myna__chat_types(json_array_get(list, i), c->root) & (MYNA__TYPE_OBJECT | MYNA__TYPE_ARRAY)) != 0;
  return n < 2;
}

int myna__args_nested(scope *c, const json_t *s0, const char *end, myna__args_part part, int depth, char name[NAME]) {
  const json_t *s = target_of(c, s0), *list = union_of(s);
  const char *ns = c->m->f->param;
  unsigned types = myna__chat_types(s, c->root);
  char body[NAME], all[NAME], close[64];
  if (types == 0 || types & MYNA__TYPE_STRING) {
    choice v = {.n = 0};
    if (depth <= 1) types &= ~(unsigned)MYNA__TYPE_NULL; /* a parameter that may be a string is one */
    TRY(tag_text(c, s, types, &(myna__text_end){.mark = ns, .end = end}, &v));
    return choose(c, &v, name);
  }
  bool known = depth <= MAX_NESTED && !myna__args_beyond(s);
  if (known && types == MYNA__TYPE_OBJECT && json_object_get(s, "properties")) {
    TRY(myna__args_members(c, s, depth, body));
    return with_end(c, "", body, "nl", end, name);
  }
  if (known && types == MYNA__TYPE_ARRAY && json_is_object(json_object_get(s, "items"))) {
    snprintf(close, sizeof close, "%.40s</item>", ns);
    TRY(myna__args_nested(c, json_object_get(s, "items"), close, part, depth + 1, body));
    myna__args_name(c, all);
    PUT(c->m, "%s ::= \"%s<item>\" %s nl\n", all, ns, body);
    TRY(items(c, s, all, "", body));
    return with_end(c, "", body, "", end, name);
  }
  if (list && depth <= MAX_NESTED && told_apart(c, list))
    return union_value(c, list, end, depth, myna__args_nested, name);
  return json_value(c, s, every_type, ns, end, name);
}

/* ---- Gemma ---- */

/* What stands around strings, and the same as GBNF. */
static const char *quote_of(const maker *m) { return m->f->quote ? m->f->quote : "<|\"|>"; }
static const char *quote_rule(const maker *m) { return m->f->quote ? "\"<escape>\"" : "\"<|\\\"|>\""; }

static void any_gemma(scope *c, char name[NAME]) {
  snprintf(name, NAME, "t%d-any%d", c->i, c->m->n_values++);
  maker *m = c->m;
  PUT(m, "%s ::= %s-s | \"-\"? ([1-9] [0-9]{0,17} | \"0\") (\".\" [0-9]{1,18})? | \"true\" | \"false\" | \"null\" | ",
      name, name);
  PUT(m, "\"[\" (%s (\",\" %s)*)? \"]\" | \"{\" (%s-k \":\" %s (\",\" %s-k \":\" %s)*)? \"}\"\n", name, name, name,
      name, name, name);
  PUT(m, "%s-k ::= [a-zA-Z_] [a-zA-Z0-9_-]*\n%s-s ::= %s [^<\\x00]* %s\n", name, name, quote_rule(m), quote_rule(m));
}

/* Objects: the described members, or where there are none any of one schema. */
static int gemma_object(scope *c, const json_t *s, const char *end, int depth, char name[NAME]) {
  const json_t *others = json_object_get(s, "additionalProperties");
  char body[NAME];
  bool open = !json_object_size(json_object_get(s, "properties")) && !json_array_size(json_object_get(s, "required"));
  if (open && !json_is_false(others)) {
    char v[NAME];
    if (json_is_object(others))
      TRY(myna__args_gemma(c, others, "", MYNA__PART_ALL, depth + 1, v));
    else
      any_gemma(c, v);
    myna__args_name(c, body);
    PUT(c->m, "%s-p ::= [a-zA-Z_] [a-zA-Z0-9_]{0,63} \":\" %s\n", body, v);
    PUT(c->m, "%s ::= (%s-p (\",\" sp %s-p)*)?\n", body, body, body);
  } else {
    TRY(myna__args_members(c, s, depth, body));
  }
  return with_end(c, "\"{\"", body, "\"}\"", end, name);
}

static int gemma_array(scope *c, const json_t *s, const char *end, int depth, char name[NAME]) {
  const json_t *of = json_object_get(s, "items");
  char item[NAME], all[NAME];
  int rc = 0;
  if (json_is_object(of))
    rc = myna__args_gemma(c, of, "", MYNA__PART_ALL, depth + 1, item);
  else
    any_gemma(c, item);
  if (rc == MYNA_E_NOTFOUND && bound(s, "minItems", 0) == 0) return with_end(c, "", "\"[]\"", "", end, name);
  TRY(rc);
  TRY(items(c, s, item, "\",\" sp", all));
  return with_end(c, "\"[\"", all, "\"]\"", end, name);
}

/* The values of s by kind. */
static int gemma_kinds(scope *c, const json_t *s, const char *end, int depth, char name[NAME]) {
  unsigned types = myna__chat_types(s, c->root), plain = MYNA__TYPE_PLAIN | MYNA__TYPE_NULL;
  const char *beyond = myna__args_beyond(s);
  choice v = {.n = 0};
  char text[NAME], quote[64];
  if (!types) types = every_type;
  if (types & MYNA__TYPE_STRING) {
    snprintf(quote, sizeof quote, "%.16s%.40s", quote_of(c->m), end);
    int rc = text_value(c, s, &(myna__text_end){.mark = quote_of(c->m), .end = quote}, text);
    if (rc == 0) with_end(c, quote_rule(c->m), text, "", "", v.name[v.n]);
    TRY(chosen(&v, rc));
  }
  if (types & plain) TRY(chosen(&v, json_value(c, s, types & plain, NULL, end, v.name[v.n])));
  if (types & (MYNA__TYPE_OBJECT | MYNA__TYPE_ARRAY) && beyond) {
    char msg[128];
    if (v.n) return choose(c, &v, name); /* the simple values alone */
    snprintf(msg, sizeof msg, "%s is not supported at this place for a strict tool of this model", beyond);
    return c->strict ? myna__args_fail(c, MYNA_E_UNSUPPORTED, msg) : MYNA_E_UNSUPPORTED;
  }
  if (types & MYNA__TYPE_OBJECT) TRY(chosen(&v, gemma_object(c, s, end, depth, v.name[v.n])));
  if (types & MYNA__TYPE_ARRAY) TRY(chosen(&v, gemma_array(c, s, end, depth, v.name[v.n])));
  return choose(c, &v, name);
}

static int gemma_value(scope *c, const json_t *s, const char *end, int depth, char name[NAME]) {
  const json_t *list = union_of(s), *all = json_object_get(s, "allOf");
  if (depth > MYNA__ARGS_DEPTH || c->m->n_values > MAX_VALUES)
    return myna__err(c->m->err, MYNA_E_LIMIT, "tools[%d]: nested too deep", c->m->tool);
  bool open = !c->strict && (c->vague || (myna__args_beyond(s) && !list && !json_object_get(s, "enum")));
  if (any_value(s) || (open && myna__chat_types(s, c->root) != MYNA__TYPE_STRING)) {
    any_gemma(c, name);
    return 0;
  }
  if (json_array_size(all) == 1 && only_says(s, "allOf")) s = target_of(c, json_array_get(all, 0));
  if (list) return union_value(c, list, end, depth, myna__args_gemma, name);
  int rc = gemma_kinds(c, s, end, depth, name);
  if (rc == MYNA_E_UNSUPPORTED && !c->strict) {
    any_gemma(c, name);
    return 0;
  }
  return rc;
}

int myna__args_gemma(scope *c, const json_t *s, const char *end, myna__args_part part, int depth, char name[NAME]) {
  const json_t *to = target_of(c, s);
  char v[NAME];
  if (to == s || c->n_seen == (int)MYNA__COUNT(c->seen)) return gemma_value(c, to, end, depth, name);
  for (int i = 0; i < c->n_seen; i++)
    if (c->seen[i].s == to) {
      snprintf(name, NAME, "%s", c->seen[i].name);
      return 0;
    }
  myna__args_name(c, name);
  c->seen[c->n_seen].s = to;
  snprintf(c->seen[c->n_seen++].name, NAME, "%s", name);
  TRY(gemma_value(c, to, end, depth, v));
  PUT(c->m, "%s ::= %s\n", name, v);
  return 0;
}

/* ---- Python ---- */

static void any_python(scope *c, char name[NAME]) {
  snprintf(name, NAME, "t%d-any%d", c->i, c->m->n_values++);
  maker *m = c->m;
  PUT(m,
      "%s ::= %s-s | \"-\"? ([1-9] [0-9]{0,17} | \"0\") (\".\" [0-9]{1,18})? | \"True\" | \"False\" | \"None\" | "
      "\"true\" | \"false\" | \"null\"",
      name, name);
  PUT(m, " | \"[\" (%s (\",\" sp %s)*)? \"]\"", name, name);
  PUT(m, " | \"{\" (%s-s \":\" sp %s (\",\" sp %s-s \":\" sp %s)*)? \"}\"\n", name, name, name, name);
  PUT(m,
      "%s-s ::= [\"] ([^\"\\\\\\n\\x00] | [\\\\] [^\\n\\x00])* [\"] | ['] ([^'\\\\\\n\\x00] | [\\\\] [^\\n\\x00])* "
      "[']\n",
      name);
}

int myna__args_python(scope *c, const json_t *s, const char *end, myna__args_part part, int depth, char name[NAME]) {
  unsigned types = myna__chat_types(s, c->root);
  const char *type = json_string_value(json_object_get(s, "type"));
  /* Of objects and lists whose members are not known Python's literals are legal too. */
  bool vague = types == MYNA__TYPE_OBJECT ? !json_object_get(s, "properties")
                                          : types == MYNA__TYPE_ARRAY && !json_object_get(s, "items");
  if (any_value(s) || (!c->strict && (vague || types == 0))) {
    any_python(c, name);
    return 0;
  }
  char v[NAME];
  TRY(json_value(c, s, every_type, NULL, end, v));
  const char *words = !type || !only_says(s, "type") ? ""
                      : strcmp(type, "boolean") == 0 ? "\"True\" | \"False\" | "
                      : strcmp(type, "null") == 0    ? "\"None\" | "
                                                     : "";
  myna__args_name(c, name);
  PUT(c->m, "%s ::= %s%s\n", name, words, v);
  return 0;
}
