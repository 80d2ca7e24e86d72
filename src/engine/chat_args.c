/* chat_args.c: the arguments of a function as rules of GBNF. JSON spellings take the schema's own grammar; in the others parameters stand one by one, as
 * a row per spelling says; their values are in chat_values.c. */
#include "engine/chat_args.h"
#include "myna_grammar.h"
#include <stdio.h>
#include <stdlib.h>

enum { NAME = MYNA__RULE_NAME, ANY_ORDER = 5, MAX_MEMBERS = 1000 };
#define PUT(m, ...) myna__buf_printf(&(m)->b, __VA_ARGS__)

typedef struct myna__args_maker maker;
typedef myna__args scope;

int myna__args_nomem(maker *m) { return myna__err(m->err, MYNA_E_NOMEM, "no memory for a grammar"); }
void myna__args_name(scope *c, char name[NAME]) { snprintf(name, NAME, "t%d-v%d", c->i, c->m->n_values++); }

int myna__args_fail(scope *c, int code, const char *msg) {
  return myna__err(c->m->err, code, "tools[%d].function.parameters%s%.60s: %s", c->m->tool, c->key ? "." : "",
                   c->key ? c->key : "", msg);
}

/* ---- spellings ---- */

/* What stands before a parameter's value and behind it; part: which values it is written for. */
typedef void frame(const struct myna__chat_format *f, const char *key, myna__args_part part, myna__buf *head,
                   myna__buf *end);

static void tag_frame(const struct myna__chat_format *f, const char *key, myna__args_part part, myna__buf *head,
                      myna__buf *end) {
  const char *attr = part == MYNA__PART_TEXT ? "\" string=\"true" : "\" string=\"false";
  myna__buf_printf(head, "%s%s%s%s", f->param, key, f->attr ? attr : "", f->param_sep);
  myna__buf_str(end, f->param_end);
}
static void nested_frame(const struct myna__chat_format *f, const char *key, myna__args_part part, myna__buf *head,
                         myna__buf *end) {
  myna__buf_printf(head, "%s<%s>", f->param, key);
  myna__buf_printf(end, "%s</%s>", f->param, key);
}
static void python_frame(const struct myna__chat_format *f, const char *key, myna__args_part part, myna__buf *head,
                         myna__buf *end) {
  myna__buf_printf(head, "%s=", key);
}
static void gemma_frame(const struct myna__chat_format *f, const char *key, myna__args_part part, myna__buf *head,
                        myna__buf *end) {
  myna__buf_printf(head, "%s:", key);
}

static bool only_names(const char *key) {
  for (; *key; key++)
    if (!((*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z') || (*key >= '0' && *key <= '9') || *key == '_'))
      return false;
  return true;
}
static bool tag_key(const struct myna__chat_format *f, const char *key) {
  return !strstr(key, f->param_sep) && !(f->attr && strchr(key, '"'));
}
static bool nested_key(const struct myna__chat_format *f, const char *key) {
  return !strpbrk(key, "<>") && key[0] != '/';
}
static bool name_key(const struct myna__chat_format *f, const char *key) {
  return only_names(key) && !(key[0] >= '0' && key[0] <= '9');
}

/* How parameters of a scheme are written: one row per scheme. */
static const struct signs {
  myna__args_value *value; /* NULL: the arguments are one JSON object */
  frame *frame;
  bool (*key)(const struct myna__chat_format *f, const char *key); /* whether such a key can be written */
  const char *sep;                                                 /* between parameters, a rule */
  const char *before, *behind;                                     /* of all parameters, and of each, rules */
} spellings[MYNA__CALLS_HARMONY + 1] = {
    [MYNA__CALLS_XML] = {myna__args_xml, tag_frame, tag_key, "", "nl ", " nl"},
    [MYNA__CALLS_NESTED] = {myna__args_nested, nested_frame, nested_key, "", "", ""},
    [MYNA__CALLS_PYTHON] = {myna__args_python, python_frame, name_key, "\",\" sp", "", ""},
    [MYNA__CALLS_GEMMA] = {myna__args_gemma, gemma_frame, name_key, "\",\" sp", "", ""},
};

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
  if (!needed) return myna__args_nomem(m);
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

/* One parameter with its signs, for these of its values. */
static int parameter_part(scope *c, const char *key, const json_t *s, myna__args_part part, int depth,
                          char name[NAME]) {
  const struct myna__chat_format *f = c->m->f;
  const struct signs *signs = &spellings[f->scheme];
  myna__buf end = {0}, head = {0};
  char v[NAME];
  signs->frame(f, key, part, &head, &end);
  int rc =
      head.failed || end.failed ? myna__args_nomem(c->m) : signs->value(c, s, end.data ? end.data : "", part, depth, v);
  if (rc == 0) {
    myna__args_name(c, name);
    PUT(c->m, "%s ::= ", name);
    myna__args_lit(&c->m->b, head.data);
    if (f->value_open) {
      PUT(c->m, "nl ");
      myna__args_lit(&c->m->b, f->value_open);
    }
    PUT(c->m, "%s%s%s\n", f->lines ? "\"\\n\" " : "", v, signs->behind);
  }
  myna__buf_free(&head);
  myna__buf_free(&end);
  return rc;
}

/* MYNA_E_NOTFOUND: it cannot be written. */
static int parameter(scope *c, const char *key, const json_t *s, int depth, char name[NAME]) {
  const struct myna__chat_format *f = c->m->f;
  unsigned types = myna__chat_types(s, c->root);
  char text[NAME], rest[NAME];
  int a = MYNA_E_NOTFOUND, b = MYNA_E_NOTFOUND;
  if (!key[0] || strlen(key) > MYNA__CALL_NAME || !spellings[f->scheme].key(f, key)) return MYNA_E_NOTFOUND;
  if (!f->attr) return parameter_part(c, key, s, MYNA__PART_ALL, depth, name);
  if (!types || types & MYNA__TYPE_STRING) a = parameter_part(c, key, s, MYNA__PART_TEXT, depth, text);
  if (a < 0 && a != MYNA_E_NOTFOUND) return a;
  if (types != MYNA__TYPE_STRING) b = parameter_part(c, key, s, MYNA__PART_REST, depth, rest);
  if (b < 0 && (b != MYNA_E_NOTFOUND || a < 0)) return b;
  myna__args_name(c, name);
  PUT(c->m, "%s ::= %s%s%s\n", name, a == 0 ? text : "", a == 0 && b == 0 ? " | " : "", b == 0 ? rest : "");
  return 0;
}

/* Appends one member to the list; one that cannot be written is left out unless it is needed. */
static int add_member(scope *c, const json_t *schema, const char *key, const json_t *s, int depth, member *list,
                      int *n) {
  if (depth == 1) c->key = key;
  member *p = &list[*n];
  p->required = is_required(schema, key);
  int rc = parameter(c, key, s, depth, p->rule);
  if (rc == 0) ++*n;
  if (rc == MYNA_E_NOTFOUND && p->required && c->strict)
    return myna__args_fail(c, MYNA_E_UNSUPPORTED, "the model's calls have no way to write any value of it");
  return rc == MYNA_E_NOTFOUND ? 0 : rc;
}

int myna__args_members(scope *c, const json_t *schema, int depth, char name[NAME]) {
  json_t *props = json_object_get(schema, "properties"), *needed = json_object_get(schema, "required"), *s;
  json_t *others = json_object_get(schema, "additionalProperties"), *any = json_object();
  size_t most = json_object_size(props) + json_array_size(needed);
  const char *key, *sep = spellings[c->m->f->scheme].sep;
  int n = 0, rc = 0;
  member *list = any && most <= MAX_MEMBERS ? myna__alloc((most + 1) * sizeof *list) : NULL;
  if (!list) {
    json_decref(any);
    return any ? myna__err(c->m->err, MYNA_E_LIMIT, "tools[%d]: more than %d parameters", c->m->tool, MAX_MEMBERS)
               : myna__args_nomem(c->m);
  }
  json_object_foreach(props, key, s) if (rc == 0) rc = add_member(c, schema, key, s, depth + 1, list, &n);
  for (size_t i = 0; i < json_array_size(needed) && rc == 0; i++) { /* what is asked for and not described */
    key = json_string_value(json_array_get(needed, i));
    if (!key || json_object_get(props, key)) continue;
    rc = add_member(c, schema, key, json_is_object(others) ? others : any, depth + 1, list, &n);
  }
  char base[NAME];
  myna__args_name(c, base);
  snprintf(name, NAME, "%.30s-%df", base, n <= ANY_ORDER ? (1 << n) - 1 : n);
  if (rc == 0 && n <= ANY_ORDER)
    any_order(c->m, base, list, n, sep);
  else if (rc == 0)
    rc = in_order(c->m, base, list, n, sep);
  myna__free(list, (most + 1) * sizeof *list);
  json_decref(any);
  return rc;
}

/* ---- a function ---- */

const char *myna__args_beyond(const json_t *s) {
  static const char *const words[] = {"patternProperties",
                                      "minProperties",
                                      "maxProperties",
                                      "allOf",
                                      "anyOf",
                                      "oneOf",
                                      "enum",
                                      "const",
                                      "prefixItems",
                                      "$ref",
                                      "propertyNames",
                                      "not",
                                      "if",
                                      "dependentRequired",
                                      "dependentSchemas",
                                      "dependencies"};
  for (size_t i = 0; i < MYNA__COUNT(words); i++)
    if (json_object_get(s, words[i])) return words[i];
  return json_is_array(json_object_get(s, "items")) ? "items" : NULL;
}

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

/* The arguments as one JSON object; as any where the schema cannot be kept and the tool is not strict. */
static int json_args(scope *c, char name[NAME]) {
  maker *m = c->m;
  char *json = json_dumps(c->root, JSON_COMPACT | JSON_ENCODE_ANY), *text = NULL;
  static const char any[] = "{\"type\":\"object\"}";
  myna_err err = {0};
  if (!json) return myna__args_nomem(m);
  snprintf(name, NAME, "t%d-j", c->i);
  int rc = myna_schema_to_gbnf(json, strlen(json), name, NULL, &text, &err);
  free(json);
  if (rc < 0 && rc != MYNA_E_NOMEM && !c->strict) {
    err = (myna_err){0};
    rc = myna_schema_to_gbnf(any, sizeof any - 1, name, NULL, &text, &err);
  }
  if (rc < 0) return rc == MYNA_E_NOMEM ? myna__args_nomem(m) : myna__args_fail(c, rc, err.msg);
  PUT(m, "%s\n", text);
  myna_grammar_free_text(text);
  strcat(name, "root"); /* NAME has room for it */
  return 0;
}

/* Where parameters stand one by one: what grammars of JSON refuse is refused here too, so that every keyword is known. */
static int each_args(scope *c, char name[NAME]) {
  char *json = json_dumps(c->root, JSON_COMPACT | JSON_ENCODE_ANY), *text = NULL;
  myna_err err = {0};
  if (!json) return myna__args_nomem(c->m);
  int rc = myna_schema_to_gbnf(json, strlen(json), "", NULL, &text, &err);
  free(json);
  myna_grammar_free_text(text);
  if (rc == MYNA_E_NOMEM) return myna__args_nomem(c->m);
  if (rc < 0 && c->strict) return myna__args_fail(c, rc, err.msg);
  c->vague = rc < 0;
  const char *beyond = myna__args_beyond(c->root);
  if (beyond && c->strict) {
    char msg[128];
    snprintf(msg, sizeof msg, "%s is not supported at this place for a strict tool of this model", beyond);
    return myna__args_fail(c, MYNA_E_UNSUPPORTED, msg);
  }
  return myna__args_members(c, c->root, 0, name);
}

int myna__args_rules(maker *m, int i, const json_t *function) {
  json_t *params = closed_copy(json_object_get(function, "parameters"));
  if (!params) return myna__args_nomem(m);
  scope c = {.m = m, .root = params, .i = i, .strict = json_is_true(json_object_get(function, "strict"))};
  char name[NAME];
  const struct signs *signs = &spellings[m->f->scheme];
  int rc = signs->value ? each_args(&c, name) : json_args(&c, name);
  if (rc == 0) PUT(m, "t%d-args ::= %s%s\n", i, signs->before ? signs->before : "", name);
  json_decref(params);
  return rc;
}
