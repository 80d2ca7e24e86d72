/* api_constrain.c: what the answer's text must be: response_format, schemas, grammars, expressions, choices, and the tools' grammar. */
#include "api.h"
#include <stdlib.h>
#include <string.h>

static int no_memory(api_error *e) { return api_fail(e, 500, "server_error", NULL, "out of memory"); }

/* A schema may come as its text. The parsed copy goes with the body. */
int api_set_schema(api_request *r, const char *name, const json_t *v, api_error *e) {
  if (json_is_string(v)) {
    json_t *parsed = json_loadb(json_string_value(v), json_string_length(v), JSON_DECODE_ANY, NULL);
    if (!parsed) return api_refuse(e, name, "%s is no JSON", name);
    if (!json_is_object(parsed)) {
      json_decref(parsed);
      return api_refuse(e, name, "%s must be an object", name);
    }
    json_t *attic = json_object_get(r->body, "");
    if (!attic && json_object_set_new(r->body, "", attic = json_array()) < 0) return no_memory(e);
    if (json_array_append_new(attic, parsed) < 0) return no_memory(e);
    r->schema = parsed;
    return 0;
  }
  if (!json_is_object(v) && !json_is_boolean(v)) return api_refuse(e, name, "%s must be an object", name);
  r->schema = v;
  return 0;
}

int api_set_response_format(api_request *r, const char *name, const json_t *v, api_error *e) {
  const char *type = json_string_value(json_object_get(v, "type"));
  if (!type) return api_refuse(e, "response_format.type", "response_format.type must be a string");
  const json_t *schema = NULL;
  if (strcmp(type, "text") == 0) return 0;
  if (strcmp(type, "json_object") == 0) {
    schema = json_object_get(v, "schema");
    if (!schema || json_is_null(schema)) {
      r->json_object = true;
      return 0;
    }
  } else if (strcmp(type, "json_schema") == 0) {
    const json_t *inner = json_object_get(v, "json_schema");
    schema = json_object_get(inner ? inner : v, "schema");
    if (!schema) return api_refuse(e, "response_format.json_schema", "response_format.json_schema.schema is missing");
  } else {
    return api_refuse(e, "response_format.type",
                      "response_format.type must be text, json_object or json_schema, not %.40s", type);
  }
  if (!json_is_object(schema))
    return api_refuse(e, "response_format.schema", "response_format: the schema must be an object");
  r->schema = schema;
  return 0;
}

int api_set_choices(api_request *r, const char *name, const json_t *v, api_error *e) {
  if (json_array_size(v) == 0) return api_refuse(e, name, "%s is empty", name);
  for (size_t i = 0; i < json_array_size(v); i++)
    if (!json_is_string(json_array_get(v, i))) return api_refuse(e, name, "%s must hold strings", name);
  r->choices = v;
  return 0;
}

static int from_choices(api_request *r, myna_err *err) {
  size_t n = json_array_size(r->choices);
  const char **texts = n < 100000 ? api_keep(r, n * sizeof *texts) : NULL;
  if (!texts) return err->code = MYNA_E_NOMEM;
  for (size_t i = 0; i < n; i++) texts[i] = json_string_value(json_array_get(r->choices, i));
  return myna_grammar_from_choices(&r->grammar, texts, (int)n, err);
}

static int from_schema(api_request *r, myna_err *err) {
  char *text = r->schema ? json_dumps(r->schema, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("{\"type\":\"object\"}");
  if (!text) return err->code = MYNA_E_NOMEM;
  int rc = myna_grammar_from_schema(&r->grammar, text, strlen(text), NULL, err);
  free(text);
  return rc;
}

/* The client's constraint, else the tools'. */
int api_make_grammar(api_request *r, api_error *e) {
  myna_err err = {0};
  const char *param = NULL;
  int rc = 0;
  if (r->schema || r->json_object) {
    param = json_object_get(r->body, "response_format") ? "response_format" : "json_schema";
    rc = from_schema(r, &err);
  } else if (r->grammar_text && r->grammar_text[0]) {
    param = "grammar";
    rc = myna_grammar_from_gbnf(&r->grammar, r->grammar_text, strlen(r->grammar_text), NULL, &err);
  } else if (r->regex) {
    param = "regex";
    rc = myna_grammar_from_regex(&r->grammar, r->regex, strlen(r->regex), &err);
  } else if (r->choices) {
    param = "choice";
    rc = from_choices(r, &err);
  } else if (r->has_chat_prompt && r->chat_prompt.grammar) {
    param = "tools";
    r->grammar_lazy = r->chat_prompt.grammar_lazy;
    rc = myna_grammar_from_gbnf(&r->grammar, r->chat_prompt.grammar, strlen(r->chat_prompt.grammar), NULL, &err);
  }
  return rc < 0 ? api_fail_err(e, param, &err) : 0;
}
