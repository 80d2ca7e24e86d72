/* chat_type.c: what a tool's schema says of its parameters: where calls write values without quotes, their type decides what the text is. */
#include "text/chat_format.h"

const json_t *myna__chat_tool_function(const json_t *tool) {
  const json_t *f = json_object_get(tool, "function");
  return json_is_object(f) ? f : tool;
}

const json_t *myna__chat_tool_find(const json_t *tools, const char *name) {
  for (size_t i = 0; i < json_array_size(tools); i++) {
    const json_t *f = myna__chat_tool_function(json_array_get(tools, i));
    const char *own = json_string_value(json_object_get(f, "name"));
    if (own && strcmp(own, name) == 0) return f;
  }
  return NULL;
}

const json_t *myna__chat_follow(const json_t *root, const char *ref) {
  if (!ref || ref[0] != '#') return NULL;
  for (ref++; root && *ref == '/';) {
    size_t n = strcspn(++ref, "/");
    root = json_object_getn(root, ref, n);
    ref += n;
  }
  return root;
}

static unsigned of_name(const char *type) {
  static const struct {
    const char *name;
    unsigned bit;
  } names[] = {{"string", MYNA__TYPE_STRING}, {"object", MYNA__TYPE_OBJECT}, {"array", MYNA__TYPE_ARRAY},
               {"null", MYNA__TYPE_NULL},     {"integer", MYNA__TYPE_PLAIN}, {"number", MYNA__TYPE_PLAIN},
               {"boolean", MYNA__TYPE_PLAIN}};
  for (size_t i = 0; type && i < MYNA__COUNT(names); i++)
    if (strcmp(names[i].name, type) == 0) return names[i].bit;
  return 0;
}

static unsigned of_value(const json_t *v) {
  switch (json_typeof(v)) {
  case JSON_STRING: return MYNA__TYPE_STRING;
  case JSON_OBJECT: return MYNA__TYPE_OBJECT;
  case JSON_ARRAY: return MYNA__TYPE_ARRAY;
  case JSON_NULL: return MYNA__TYPE_NULL;
  default: return MYNA__TYPE_PLAIN;
  }
}

static unsigned types(const json_t *s, const json_t *root, int depth) {
  if (!json_is_object(s) || depth > 8) return 0;
  const json_t *type = json_object_get(s, "type"), *list = json_object_get(s, "enum");
  unsigned mask = 0;
  if (json_is_string(type)) return of_name(json_string_value(type));
  for (size_t i = 0; i < json_array_size(type); i++) mask |= of_name(json_string_value(json_array_get(type, i)));
  if (mask) return mask;
  for (size_t i = 0; i < json_array_size(list); i++) mask |= of_value(json_array_get(list, i));
  if (json_object_get(s, "const")) mask = of_value(json_object_get(s, "const"));
  const char *ref = json_string_value(json_object_get(s, "$ref"));
  if (!mask && ref) mask = types(myna__chat_follow(root, ref), root, depth + 1);
  static const char *const unions[] = {"anyOf", "oneOf", "allOf"};
  for (int k = 0; !mask && k < 3; k++) {
    const json_t *any = json_object_get(s, unions[k]);
    for (size_t i = 0; i < json_array_size(any) && i < 64; i++) mask |= types(json_array_get(any, i), root, depth + 4);
  }
  if (!mask && json_object_get(s, "properties")) mask = MYNA__TYPE_OBJECT;
  if (!mask && json_object_get(s, "items")) mask = MYNA__TYPE_ARRAY;
  return mask;
}

unsigned myna__chat_types(const json_t *schema, const json_t *root) { return types(schema, root, 0); }

const json_t *myna__chat_sub(const json_t *schema, const json_t *root, const char *key, size_t n) {
  for (int depth = 0; depth < 8 && json_is_object(schema); depth++) {
    const json_t *p = json_object_getn(json_object_get(schema, "properties"), key, n);
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    if (p) return p;
    if (!ref) break;
    schema = myna__chat_follow(root, ref);
  }
  static const char *const unions[] = {"anyOf", "oneOf", "allOf"};
  for (int k = 0; k < 3; k++) {
    const json_t *any = json_object_get(schema, unions[k]);
    for (size_t i = 0; i < json_array_size(any); i++) {
      const json_t *p = json_object_getn(json_object_get(json_array_get(any, i), "properties"), key, n);
      if (p) return p;
    }
  }
  return NULL;
}
