/* chat_messages.c: messages, tools and variables of a client, checked and rewritten for one template: content that is null or in parts, arguments of
 * calls as text or as objects, a system message where the template has none.
 * Source: OpenAI's chat API; what llama.cpp and transformers do with it. Untrusted input. */
#include "engine/chat.h"
#include <stdio.h>
#include <stdlib.h>

static int no_memory(myna_err *err) { return myna__err(err, MYNA_E_NOMEM, "no memory for a conversation"); }

static const char *text_of(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }

static int read_json(const char *text, const char *field, json_type type, json_t **out, myna_err *err) {
  json_error_t e;
  *out = json_loads(text, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
  if (!*out) return myna__err(err, MYNA_E_ARG, "%s: %s", field, e.text);
  if (json_typeof(*out) == type) return 0;
  return myna__err(err, MYNA_E_ARG, "%s must be an %s", field, type == JSON_ARRAY ? "array" : "object");
}

/* ---- content ---- */

/* The text of a part, NULL when it has none. */
static const json_t *part_text(const json_t *part) {
  static const struct {
    const char *type, *key;
  } rows[] = {{"text", "text"}, {"input_text", "text"}, {"output_text", "text"}, {"refusal", "refusal"}};
  const char *type = text_of(part, "type");
  for (size_t i = 0; type && i < MYNA__COUNT(rows); i++)
    if (strcmp(type, rows[i].type) == 0) {
      const json_t *text = json_object_get(part, rows[i].key);
      return json_is_string(text) ? text : NULL;
    }
  return NULL;
}

static int check_content(const json_t *content, size_t i, myna_err *err) {
  if (!content || json_is_null(content) || json_is_string(content)) return 0;
  if (!json_is_array(content))
    return myna__err(err, MYNA_E_ARG, "messages[%zu].content must be a string or an array of parts", i);
  for (size_t k = 0; k < json_array_size(content); k++) {
    const json_t *part = json_array_get(content, k);
    const char *type = text_of(part, "type");
    if (!type) return myna__err(err, MYNA_E_ARG, "messages[%zu].content[%zu].type must be a string", i, k);
    if (!part_text(part)) return myna__err(err, MYNA_E_ARG, "messages[%zu].content[%zu]: %.40s is no text", i, k, type);
  }
  return 0;
}

json_t *myna__chat_content(const json_t *message, const char *glue) {
  json_t *content = json_object_get(message, "content");
  if (json_is_string(content)) return json_incref(content);
  myna__buf b = {0};
  for (size_t i = 0; i < json_array_size(content); i++) {
    const json_t *text = part_text(json_array_get(content, i));
    if (i) myna__buf_str(&b, glue);
    if (text) myna__buf_add(&b, json_string_value(text), json_string_length(text));
  }
  json_t *out = b.failed ? NULL : json_stringn(b.len ? b.data : "", b.len);
  myna__buf_free(&b);
  return out;
}

static int set_text(json_t *o, const char *key, const char *text, size_t n, myna_err *err) {
  return json_object_set_new(o, key, json_stringn(text, n)) == 0 ? 0 : no_memory(err);
}

/* Joins the parts of m's content. */
static int join_content(json_t *m, const char *glue, myna_err *err) {
  json_t *text = myna__chat_content(m, glue);
  return text && json_object_set_new(m, "content", text) == 0 ? 0 : no_memory(err);
}

static int add_part(json_t *parts, const json_t *text) {
  return json_array_append_new(parts, json_pack("{s:s, s:O}", "type", "text", "text", text));
}

/* As the template wants it: one text, or parts that are all of type text. */
static int set_content(const myna_chat *c, json_t *m, bool call, myna_err *err) {
  json_t *content = json_object_get(m, "content");
  if (!content || json_is_null(content)) {
    bool null = call && c->caps.null_content;
    return json_object_set_new(m, "content", null ? json_null() : json_string("")) == 0 ? 0 : no_memory(err);
  }
  if (json_is_array(content) ? !c->caps.typed_content && !c->caps.only_typed : !c->caps.only_typed)
    return json_is_array(content) ? join_content(m, "\n", err) : 0;
  json_t *parts = json_array();
  int bad = !parts || (json_is_string(content) && add_part(parts, content) != 0);
  for (size_t i = 0; i < json_array_size(content) && !bad; i++) /* none where it is a string */
    bad = add_part(parts, part_text(json_array_get(content, i))) != 0;
  bad = bad || json_object_set(m, "content", parts) != 0;
  json_decref(parts);
  return bad ? no_memory(err) : 0;
}

/* ---- calls ---- */

/* Mistral's templates refuse ids that are not of nine characters; other ids become such, the same id the same ones. */
static int short_id(const myna_chat *c, json_t *o, const char *key, myna_err *err) {
  const char *id = text_of(o, key);
  if (!id || strlen(id) == 9 || !strstr(c->source, "length != 9")) return 0;
  char made[10];
  uint64_t h = myna__hash(id, strlen(id), 9);
  for (int i = 0; i < 9; i++, h /= 36) made[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[h % 36];
  return set_text(o, key, made, 9, err);
}

static int set_arguments(const myna_chat *c, json_t *function, myna_err *err) {
  json_t *args = json_object_get(function, "arguments");
  if (!args || json_is_null(args))
    args =
        json_object_set_new(function, "arguments", json_object()) == 0 ? json_object_get(function, "arguments") : NULL;
  if (!args) return no_memory(err);
  if (json_is_string(args) && c->caps.object_arguments) {
    size_t n = json_string_length(args);
    json_t *o = n ? json_loadb(json_string_value(args), n, JSON_ALLOW_NUL, NULL) : json_object();
    if (json_is_object(o)) return json_object_set_new(function, "arguments", o) == 0 ? 0 : no_memory(err);
    json_decref(o); /* what is no object stays as it was written */
  } else if (json_is_object(args) && c->caps.string_arguments && !c->caps.object_arguments) {
    char *text = json_dumps(args, 0);
    int rc = text ? set_text(function, "arguments", text, strlen(text), err) : no_memory(err);
    free(text);
    return rc;
  }
  return 0;
}

static int set_calls(const myna_chat *c, json_t *m, size_t i, bool *call, myna_err *err) {
  json_t *calls = json_object_get(m, "tool_calls");
  *call = json_array_size(calls) > 0;
  if (calls && !json_is_array(calls)) return myna__err(err, MYNA_E_ARG, "messages[%zu].tool_calls must be an array", i);
  if (!*call) {
    json_object_del(m, "tool_calls"); /* templates ask whether it is defined */
    return 0;
  }
  for (size_t k = 0; k < json_array_size(calls); k++) {
    json_t *one = json_array_get(calls, k), *function = json_object_get(one, "function");
    const char *name = text_of(function, "name");
    if (!name) return myna__err(err, MYNA_E_ARG, "messages[%zu].tool_calls[%zu].function.name must be a string", i, k);
    if (!json_object_get(one, "type")) TRY(set_text(one, "type", "function", 8, err));
    TRY(short_id(c, one, "id", err));
    TRY(set_arguments(c, function, err));
  }
  return 0;
}

/* ---- messages ---- */

/* Reasoning as a part of the content, where the template reads it there alone. */
static int reasoning_part(json_t *m, const json_t *reasoning, myna_err *err) {
  json_t *content = json_object_get(m, "content"), *parts = json_array();
  int bad = !parts || json_array_append_new(parts, json_pack("{s:s, s:O}", "type", "thinking", "thinking", reasoning));
  if (!bad && json_is_string(content) && json_string_length(content))
    bad = add_part(parts, content);
  else if (!bad && json_is_array(content))
    bad = json_array_extend(parts, content);
  bad = bad || json_object_set(m, "content", parts);
  json_decref(parts);
  return bad ? no_memory(err) : 0;
}

/* Reasoning of earlier turns under the name that the template reads. */
static int set_reasoning(const myna_chat *c, json_t *m, bool call, myna_err *err) {
  static const struct {
    const char *mark, *key;
  } rows[] = {{"message.thinking", "thinking"}, {"message.reasoning ", "reasoning"}};
  json_t *reasoning = json_object_get(m, "reasoning_content");
  if (!reasoning && json_is_string(json_object_get(m, "reasoning"))) { /* other servers' name for it */
    reasoning = json_object_get(m, "reasoning");
    if (json_object_set(m, "reasoning_content", reasoning) != 0) return no_memory(err);
  }
  if (!json_is_string(reasoning) || strstr(c->source, "reasoning_content")) return 0;
  for (size_t i = 0; i < MYNA__COUNT(rows); i++)
    if (strstr(c->source, rows[i].mark) && !json_object_get(m, rows[i].key)) {
      if (json_object_set(m, rows[i].key, reasoning) != 0) return no_memory(err);
      /* Harmony's template takes one of both beside a call. */
      if (call && c->format->scheme == MYNA__CALLS_HARMONY && json_string_length(reasoning))
        return set_text(m, "content", "", 0, err);
      return 0;
    }
  if (strstr(c->source, "block['thinking']") && json_string_length(reasoning)) return reasoning_part(m, reasoning, err);
  return 0;
}

static void drop_nulls(json_t *m) {
  void *next;
  const char *key;
  json_t *v;
  json_object_foreach_safe(m, next, key, v) {
    if (json_is_null(v) && strcmp(key, "content") != 0) json_object_del(m, key);
  }
}

static int read_message(const myna_chat *c, json_t *m, size_t i, myna_err *err) {
  if (!json_is_object(m)) return myna__err(err, MYNA_E_ARG, "messages[%zu] must be an object", i);
  const char *role = text_of(m, "role");
  if (!role) return myna__err(err, MYNA_E_ARG, "messages[%zu].role must be a string", i);
  TRY(check_content(json_object_get(m, "content"), i, err));
  drop_nulls(m);
  if (strcmp(role, "developer") == 0 && !strstr(c->source, "developer")) TRY(set_text(m, "role", "system", 6, err));
  bool call;
  TRY(set_calls(c, m, i, &call, err));
  TRY(short_id(c, m, "tool_call_id", err));
  TRY(set_content(c, m, call, err));
  return set_reasoning(c, m, call, err);
}

/* Puts the system's text before the content of m, one newline between. */
static int prepend(json_t *m, const json_t *text, myna_err *err) {
  json_t *content = json_object_get(m, "content");
  myna__buf b = {0};
  myna__buf_add(&b, json_string_value(text), json_string_length(text));
  myna__buf_str(&b, "\n");
  if (json_is_string(content)) myna__buf_add(&b, json_string_value(content), json_string_length(content));
  json_t *both = b.failed ? NULL : json_stringn(b.data, b.len);
  myna__buf_free(&b);
  int bad = !both;
  if (!bad && json_is_array(content))
    bad = json_array_insert_new(content, 0, json_pack("{s:s, s:O}", "type", "text", "text", both)) != 0;
  else if (!bad)
    bad = json_object_set(m, "content", both) != 0;
  json_decref(both);
  return bad ? no_memory(err) : 0;
}

/* A template that knows no system messages: the first ones become part of the first message of the user. */
static int merge_system(json_t *messages, myna_err *err) {
  while (json_array_size(messages) > 1) {
    json_t *first = json_array_get(messages, 0);
    const char *role = text_of(first, "role");
    if (!role || strcmp(role, "system") != 0) return 0;
    size_t at = 1;
    while (at < json_array_size(messages) && strcmp(text_of(json_array_get(messages, at), "role"), "user") != 0) at++;
    if (at == json_array_size(messages)) return set_text(first, "role", "user", 4, err);
    TRY(join_content(first, "\n", err));
    TRY(prepend(json_array_get(messages, at), json_object_get(first, "content"), err));
    json_array_remove(messages, 0);
  }
  json_t *only = json_array_get(messages, 0);
  if (strcmp(text_of(only, "role"), "system") == 0) return set_text(only, "role", "user", 4, err);
  return 0;
}

static int read_messages(const myna_chat *c, const myna_chat_input *in, myna__chat_turn *t, myna_err *err) {
  if (!in->messages) return myna__err(err, MYNA_E_ARG, "messages is missing");
  TRY(read_json(in->messages, "messages", JSON_ARRAY, &t->messages, err));
  size_t n = json_array_size(t->messages);
  if (n == 0) return myna__err(err, MYNA_E_ARG, "messages is empty");
  json_t *last = json_array_get(t->messages, n - 1);
  const char *role = text_of(last, "role");
  if (in->continue_final) {
    if (!role || strcmp(role, "assistant") != 0)
      return myna__err(err, MYNA_E_ARG, "messages[%zu].role: only an answer of the assistant can be continued", n - 1);
    if (json_array_size(json_object_get(last, "tool_calls")) > 0)
      return myna__err(err, MYNA_E_ARG, "messages[%zu].tool_calls: a call cannot be continued", n - 1);
    TRY(check_content(json_object_get(last, "content"), n - 1, err));
    TRY(join_content(last, "", err)); /* parts of a beginning follow one another without a break */
    t->final = last;
  }
  for (size_t i = 0; i < n; i++) TRY(read_message(c, json_array_get(t->messages, i), i, err));
  return 0;
}

/* ---- tools ---- */

static int read_tools(const myna_chat_input *in, myna__chat_turn *t, myna_err *err) {
  if (!in->tools) return 0;
  TRY(read_json(in->tools, "tools", JSON_ARRAY, &t->tools, err));
  bool found = false;
  for (size_t i = 0; i < json_array_size(t->tools); i++) {
    json_t *tool = json_array_get(t->tools, i), *function = json_object_get(tool, "function");
    if (!function && text_of(tool, "name")) { /* a function as it is, as other APIs send it */
      function = json_pack("{s:s, s:O}", "type", "function", "function", tool);
      if (!function || json_array_set_new(t->tools, i, function) != 0) return no_memory(err);
      tool = function;
      function = json_object_get(tool, "function");
    }
    const char *name = text_of(function, "name");
    if (!name) return myna__err(err, MYNA_E_ARG, "tools[%zu].function.name must be a string", i);
    if (!json_object_get(tool, "type")) TRY(set_text(tool, "type", "function", 8, err));
    found |= in->tool_name && strcmp(name, in->tool_name) == 0;
  }
  if (in->tool_choice == MYNA_TOOLS_NAMED && !found)
    return myna__err(err, MYNA_E_ARG, "tool_choice names %.60s, which is none of the tools",
                     in->tool_name ? in->tool_name : "nothing");
  if (json_array_size(t->tools) == 0 || in->tool_choice == MYNA_TOOLS_NONE) {
    json_decref(t->tools);
    t->tools = NULL;
  }
  return 0;
}

static int fill(json_t *o, const char *key, json_t *value) {
  json_t *old = json_object_get(o, key);
  if (!old || json_is_null(old)) return json_object_set_new(o, key, value);
  json_decref(value);
  return 0;
}

static int fill_schema(json_t *s, int depth) {
  const char *type = json_string_value(json_object_get(s, "type")), *key;
  json_t *v;
  if (!json_is_object(s) || depth > 16) return 0;
  int bad = fill(s, "description", json_string(""));
  if (type && strcmp(type, "array") == 0) bad |= fill(s, "items", json_object());
  if (type && strcmp(type, "object") == 0) bad |= fill(s, "additionalProperties", json_object());
  bad |= fill_schema(json_object_get(s, "items"), depth + 1);
  json_object_foreach(json_object_get(s, "properties"), key, v) bad |= fill_schema(v, depth + 1);
  return bad;
}

json_t *myna__chat_tools_filled(const json_t *tools) {
  json_t *all = json_deep_copy(tools);
  int bad = !all;
  for (size_t i = 0; i < json_array_size(all) && !bad; i++) {
    json_t *function = (json_t *)(uintptr_t)myna__chat_tool_function(json_array_get(all, i));
    bad = fill(function, "description", json_string("")) != 0 ||
          fill(function, "parameters", json_pack("{s:s, s:{}}", "type", "object", "properties")) != 0;
    json_t *params = json_object_get(function, "parameters");
    if (!bad && json_is_object(params)) bad = fill(params, "properties", json_object()) != 0;
    bad = bad || fill_schema(params, 0) != 0;
  }
  if (!bad) return all;
  json_decref(all);
  return NULL;
}

static json_t *tool_named(const json_t *tools, const json_t *name) {
  for (size_t i = 0; i < json_array_size(tools); i++) {
    json_t *tool = json_array_get(tools, i);
    if (json_is_string(name) && json_equal(json_object_get(json_object_get(tool, "function"), "name"), name))
      return tool;
  }
  return NULL;
}

int myna__chat_turn_allow(const myna_chat_input *in, myna__chat_turn *t, myna_err *err) {
  if (!in->allowed_tools || !t->tools) return 0;
  json_t *names = NULL, *some = json_array(), *name;
  int rc = some ? read_json(in->allowed_tools, "allowed_tools", JSON_ARRAY, &names, err) : no_memory(err);
  size_t i;
  json_array_foreach(names, i, name) {
    json_t *tool = tool_named(t->tools, name);
    if (rc == 0 && !tool)
      rc = myna__err(err, MYNA_E_ARG, "tool_choice allows %.60s, which is none of the tools",
                     json_is_string(name) ? json_string_value(name) : "what is no name");
    if (rc == 0 && json_array_append(some, tool) < 0) rc = no_memory(err);
  }
  if (rc == 0 && json_array_size(some) == 0) rc = myna__err(err, MYNA_E_ARG, "tool_choice allows no tool");
  json_decref(names);
  if (rc < 0) {
    json_decref(some);
    return rc;
  }
  json_decref(t->tools);
  t->tools = some;
  return 0;
}

int myna__chat_turn_read(const myna_chat *c, const myna_chat_input *in, myna__chat_turn *t, myna_err *err) {
  *t = (myna__chat_turn){0};
  TRY(read_messages(c, in, t, err));
  TRY(read_tools(in, t, err));
  /* A template that knows tools shows calls and results as its maker meant it, even where it leaves calls out. */
  if (c->jinja && !c->caps.tools) TRY(myna__chat_tools_as_text(c, t, err));
  if (c->jinja && !c->caps.system_role) TRY(merge_system(t->messages, err));
  return in->kwargs ? read_json(in->kwargs, "chat_template_kwargs", JSON_OBJECT, &t->kwargs, err) : 0;
}

void myna__chat_turn_free(myna__chat_turn *t) {
  json_decref(t->messages);
  json_decref(t->tools);
  json_decref(t->kwargs);
  *t = (myna__chat_turn){0};
}
