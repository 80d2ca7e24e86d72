/* api_constrain.c: what the answer's text must be: response_format, schemas, grammars, expressions, choices, and the tools' grammar. */
#include "api.h"
#include <stdlib.h>
#include <string.h>

static int no_memory(api_error *e) { return api_fail(e, 500, "server_error", NULL, "out of memory"); }

/* A schema may come as its text. The parsed copy goes with the request. */
int api_set_schema(api_request *r, const char *name, const json_t *v, api_error *e) {
  if (json_is_string(v)) {
    json_t *parsed = json_loadb(json_string_value(v), json_string_length(v), JSON_DECODE_ANY, NULL);
    if (!parsed) return api_refuse(e, name, "%s is no JSON", name);
    if (!json_is_object(parsed)) {
      json_decref(parsed);
      return api_refuse(e, name, "%s must be an object", name);
    }
    if (!r->attic) r->attic = json_array();
    if (json_array_append_new(r->attic, parsed) < 0) return no_memory(e);
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

static char *schema_text(const api_request *r) {
  return r->schema ? json_dumps(r->schema, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("{\"type\":\"object\"}");
}

static int from_schema(api_request *r, myna_err *err) {
  char *text = schema_text(r);
  if (!text) return err->code = MYNA_E_NOMEM;
  int rc = myna_grammar_from_schema(&r->grammar, text, strlen(text), NULL, err);
  free(text);
  return rc;
}

static int from_tools(api_request *r, myna_err *err) {
  const char *text = r->chat_prompt.grammar;
  r->grammar_lazy = r->chat_prompt.grammar_lazy;
  return myna_grammar_from_gbnf(&r->grammar, text, strlen(text), NULL, err);
}

/* The answer is a call, or an instance of the schema. */
static int from_both(api_request *r, myna_err *err) {
  char *text = schema_text(r), *rules = NULL;
  int rc = text ? myna_schema_to_gbnf(text, strlen(text), "answer-", NULL, &rules, err) : (err->code = MYNA_E_NOMEM);
  free(text);
  if (rc < 0) return rc;
  api_buf b = {0};
  static const char either[] = "\neither ::= root | answer-root\n";
  bool ok = api_buf_add(&b, r->chat_prompt.grammar, strlen(r->chat_prompt.grammar)) && api_buf_add(&b, "\n", 1) &&
            api_buf_add(&b, rules, strlen(rules)) && api_buf_add(&b, either, sizeof either - 1);
  rc = ok ? myna_grammar_from_gbnf(&r->grammar, b.p, b.n, "either", err) : (err->code = MYNA_E_NOMEM);
  free(b.p);
  myna_grammar_free_text(rules);
  return rc;
}

/* The client's constraint, else the tools'. Calls that must be made are made whatever the answer's own form would be. */
int api_make_grammar(api_request *r, api_error *e) {
  myna_err err = {0};
  const char *param = NULL;
  int rc = 0;
  bool calls = r->has_chat_prompt && r->chat_prompt.grammar;
  if (calls && !r->chat_prompt.grammar_lazy) {
    param = "tools";
    rc = from_tools(r, &err);
  } else if (r->schema || r->json_object) {
    param = json_object_get(r->body, "response_format") ? "response_format" : "json_schema";
    rc = calls ? from_both(r, &err) : from_schema(r, &err);
  } else if (r->grammar_text && r->grammar_text[0]) {
    param = "grammar";
    rc = myna_grammar_from_gbnf(&r->grammar, r->grammar_text, strlen(r->grammar_text), NULL, &err);
  } else if (r->regex) {
    param = "regex";
    rc = myna_grammar_from_regex(&r->grammar, r->regex, strlen(r->regex), &err);
  } else if (r->choices) {
    param = "choice";
    rc = from_choices(r, &err);
  } else if (calls) {
    param = "tools";
    rc = from_tools(r, &err);
  }
  return rc < 0 ? api_fail_err(e, param, &err) : 0;
}
