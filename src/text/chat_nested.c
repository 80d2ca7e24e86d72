/* chat_nested.c: arguments as elements: NS<key>value NS</key>, objects as elements in elements, lists as elements of the name item. */
#include "text/chat_parse.h"

enum { MAX_DEPTH = 32 };

typedef struct reader {
  const char *ns, *s, *end;
  const json_t *root;
  myna__buf *out;
  int depth;
} reader;

/* The tag at s: NS<name> or NS</name>; its name. */
static const char *tag(const reader *r, const char *s, bool *closes, const char **name, size_t *n) {
  size_t m = strlen(r->ns);
  if ((size_t)(r->end - s) < m + 3 || memcmp(s, r->ns, m) != 0 || s[m] != '<') return NULL;
  s += m + 1;
  *closes = *s == '/';
  s += *closes;
  const char *to = memchr(s, '>', (size_t)(r->end - s));
  if (!to || to == s || to - s > MYNA__CALL_NAME) return NULL;
  *name = s;
  *n = (size_t)(to - s);
  return to + 1;
}

/* The tag that closes the element whose content begins at s; NULL where there is none. Elements of the same name may be within. */
static const char *closing(const reader *r, const char *s, const char *name, size_t n) {
  size_t m = strlen(r->ns);
  for (int open = 1; s;) {
    s = memmem(s, (size_t)(r->end - s), r->ns, m);
    bool closes;
    const char *other, *behind;
    size_t len;
    if (!s) return NULL;
    behind = tag(r, s, &closes, &other, &len);
    if (behind && len == n && memcmp(other, name, n) == 0) {
      open += closes ? -1 : 1;
      if (open == 0) return s;
    }
    s += m;
  }
  return NULL;
}

static void value(reader *r, const char *s, const char *end, const json_t *schema);

static const json_t *item_schema(const json_t *schema, const json_t *root) {
  for (int k = 0; k < 8 && json_object_get(schema, "$ref") && !json_object_get(schema, "items"); k++)
    schema = myna__chat_follow(root, json_string_value(json_object_get(schema, "$ref")));
  const json_t *items = json_object_get(schema, "items");
  static const char *const unions[] = {"anyOf", "oneOf"};
  for (int k = 0; !items && k < 2; k++) {
    const json_t *any = json_object_get(schema, unions[k]);
    for (size_t i = 0; !items && i < json_array_size(any); i++)
      items = json_object_get(json_array_get(any, i), "items");
  }
  return items;
}

static bool elements(reader *r, const char *s, const char *end, const json_t *schema) {
  const char *name, *behind;
  size_t n;
  bool closes;
  unsigned types = myna__chat_types(schema, r->root);
  const char *outer = r->end;
  r->end = end;
  behind = tag(r, s, &closes, &name, &n);
  bool list = behind && n == 4 && memcmp(name, "item", 4) == 0 && (types == 0 || types & MYNA__TYPE_ARRAY);
  size_t before = r->out->len;
  const char *sep = list ? "[" : "{";
  while (behind && !closes) {
    const char *to = closing(r, behind, name, n);
    if (!to) break;
    myna__buf_str(r->out, sep);
    sep = ", ";
    if (!list) {
      myna__buf_str(r->out, "\"");
      myna__value_escape(r->out, name, n);
      myna__buf_str(r->out, "\": ");
    }
    value(r, behind, to, list ? item_schema(schema, r->root) : myna__chat_sub(schema, r->root, name, n));
    const char *next = tag(r, to, &closes, &name, &n);
    if (!next) break;
    s = next;
    s += myna__blanks(s, (size_t)(end - s));
    behind = s < end ? tag(r, s, &closes, &name, &n) : NULL;
  }
  r->end = outer;
  if (s == end && *sep == ',') {
    myna__buf_str(r->out, list ? "]" : "}");
    return true;
  }
  r->out->len = before;
  return false;
}

static void value(reader *r, const char *s, const char *end, const json_t *schema) {
  unsigned types = myna__chat_types(schema, r->root);
  const char *from = s + myna__blanks(s, (size_t)(end - s));
  bool done = false;
  if (!(types & MYNA__TYPE_STRING) && r->depth < MAX_DEPTH) {
    r->depth++;
    if (from == end && types & (MYNA__TYPE_ARRAY | MYNA__TYPE_OBJECT)) {
      myna__buf_str(r->out, types & MYNA__TYPE_ARRAY ? "[]" : "{}");
      done = true;
    } else {
      done = from < end && elements(r, from, end, schema);
    }
    r->depth--;
  }
  if (!done) myna__call_typed(r->out, s, (size_t)(end - s), types);
}

void myna__call_nested(myna_chat_parser *p, const char *text, size_t n, const json_t *schema, myna__buf *out) {
  reader r = {.ns = p->f->param, .s = text, .end = text + n, .root = p->call.schema, .out = out};
  value(&r, text, text + n, schema);
}
