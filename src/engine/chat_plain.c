/* chat_plain.c: tools for models whose template knows none: what it cannot show becomes text of ordinary messages, in the spelling of the most common
 * family. */
#include "engine/chat.h"
#include <stdlib.h>

static int no_memory(myna_err *err) { return myna__err(err, MYNA_E_NOMEM, "no memory for a conversation"); }

const struct myna__chat_format *myna__chat_plain_calls(const struct myna__chat_format *own) {
  const struct myna__chat_format *f, *found = own;
  for (int i = 0; (f = myna__chat_format_row(i)); i++)
    if (strcmp(f->name, "hermes") == 0 && (found == own || strcmp(f->think_start, own->think_start) == 0)) found = f;
  return found;
}

static const char *role_of(const json_t *m) { return json_string_value(json_object_get(m, "role")); }
static bool is_role(const json_t *m, const char *role) { return role_of(m) && strcmp(role_of(m), role) == 0; }

static int set_text(json_t *o, const char *key, const myna__buf *b) {
  return b->failed ? -1 : json_object_set_new(o, key, json_stringn(b->len ? b->data : "", b->len));
}

static void add_json(myna__buf *b, const json_t *v) {
  char *text = json_dumps(v, JSON_ENCODE_ANY);
  if (text)
    myna__buf_str(b, text);
  else
    b->failed = true;
  free(text);
}

/* Content, gap and more become m's content: one text (templates without tools want no parts). */
static int extend(json_t *m, const char *gap, const myna__buf *more) {
  json_t *old = myna__chat_content(m, "\n");
  myna__buf b = {0};
  if (old) myna__buf_add(&b, json_string_value(old), json_string_length(old));
  if (b.len && more->len) myna__buf_str(&b, gap);
  if (more->len) myna__buf_add(&b, more->data, more->len);
  if (more->failed || !old) b.failed = true;
  int bad = set_text(m, "content", &b);
  json_decref(old);
  myna__buf_free(&b);
  return bad;
}

static int list_tools(const myna_chat *c, myna__chat_turn *t) {
  myna__buf b = {0};
  myna__buf_str(&b, "You can call functions. These are their signatures:\n<tools>\n");
  for (size_t i = 0; i < json_array_size(t->tools); i++) {
    add_json(&b, json_array_get(t->tools, i));
    myna__buf_str(&b, "\n");
  }
  myna__buf_str(&b, "</tools>");
  if (myna__chat_is_plain(c))
    myna__buf_str(&b, "\nTo call one, answer with its name and its arguments as JSON:\n<tool_call>\n"
                      "{\"name\": \"the function\", \"arguments\": {}}\n</tool_call>");
  json_t *first = json_array_get(t->messages, 0);
  int bad = 0;
  if (!is_role(first, "system")) {
    bad = json_array_insert_new(t->messages, 0, json_pack("{s:s, s:s}", "role", "system", "content", ""));
    first = json_array_get(t->messages, 0);
  }
  bad = bad || extend(first, "\n\n", &b);
  myna__buf_free(&b);
  return bad;
}

static void add_arguments(myna__buf *b, const json_t *args) {
  if (json_is_string(args) && json_string_length(args))
    myna__buf_add(b, json_string_value(args), json_string_length(args));
  else if (json_is_object(args))
    add_json(b, args);
  else
    myna__buf_str(b, "{}");
}

/* name(key=value, ...) with values in JSON. */
static void add_python(myna__buf *b, const char *name, const json_t *args) {
  json_t *o = json_is_string(args) ? json_loads(json_string_value(args), 0, NULL) : json_deep_copy(args), *v;
  const char *key, *gap = "";
  myna__buf_printf(b, "%s(", name);
  json_object_foreach(o, key, v) {
    myna__buf_printf(b, "%s%s=", gap, key);
    add_json(b, v);
    gap = ", ";
  }
  myna__buf_str(b, ")");
  json_decref(o);
}

/* The calls of m as the model would have written them, as far as that is JSON or Python; the most common spelling for the others. */
static void add_calls(myna__buf *b, const struct myna__chat_format *f, const json_t *calls) {
  bool python = f->scheme == MYNA__CALLS_PYTHON, list = python || f->array;
  bool marks = f->open && !(python && f->bare);
  const char *open = marks ? f->open : "", *close = marks ? f->close : "";
  const char *line = strcmp(f->name, "hermes") == 0 ? "\n" : "";
  for (size_t i = 0; i < json_array_size(calls); i++) {
    const json_t *call = json_object_get(json_array_get(calls, i), "function"),
                 *args = json_object_get(call, "arguments");
    const char *name = json_string_value(json_object_get(call, "name"));
    if (i == 0 || !list) myna__buf_printf(b, "%s%s%s%s", i ? "\n" : "", open, line, list ? "[" : "");
    if (i && list) myna__buf_str(b, ", ");
    if (python) {
      add_python(b, name, args);
    } else if (f->name_key) {
      myna__buf_printf(b, "{\"%s\": ", f->name_key);
      add_json(b, json_object_get(call, "name"));
      myna__buf_printf(b, ", \"%s\": ", f->args_key);
      add_arguments(b, args);
      myna__buf_str(b, "}");
    } else {
      myna__buf_str(b, "{");
      add_json(b, json_object_get(call, "name"));
      myna__buf_str(b, ": ");
      add_arguments(b, args);
      myna__buf_str(b, "}");
    }
    if (i + 1 == json_array_size(calls) || !list) myna__buf_printf(b, "%s%s%s", list ? "]" : "", line, close);
  }
}

static int call_text(const myna_chat *c, json_t *m) {
  bool known = c->format->scheme == MYNA__CALLS_JSON || c->format->scheme == MYNA__CALLS_PYTHON;
  myna__buf b = {0};
  add_calls(&b, known ? c->format : c->plain_calls, json_object_get(m, "tool_calls"));
  int bad = extend(m, "\n", &b);
  myna__buf_free(&b);
  json_object_del(m, "tool_calls");
  return bad;
}

static int result_text(json_t *m) {
  json_t *text = myna__chat_content(m, "\n");
  myna__buf b = {0};
  myna__buf_str(&b, "<tool_response>\n");
  if (text) myna__buf_add(&b, json_string_value(text), json_string_length(text));
  myna__buf_str(&b, "\n</tool_response>");
  int bad = !text || set_text(m, "content", &b) != 0 || json_object_set_new(m, "role", json_string("user")) != 0;
  json_decref(text);
  myna__buf_free(&b);
  json_object_del(m, "tool_call_id");
  json_object_del(m, "name");
  return bad;
}

/* Results and what the user said behind them are one message: templates want turns to alternate. */
static int join_user(json_t *messages, size_t at) {
  json_t *m = json_array_get(messages, at), *next = json_array_get(messages, at + 1);
  json_t *text = myna__chat_content(next, "\n");
  myna__buf b = {0};
  if (text) myna__buf_add(&b, json_string_value(text), json_string_length(text));
  int bad = !text || extend(m, "\n", &b) != 0 || json_array_remove(messages, at + 1) != 0;
  json_decref(text);
  myna__buf_free(&b);
  return bad;
}

int myna__chat_tools_as_text(const myna_chat *c, myna__chat_turn *t, myna_err *err) {
  if (t->tools && !c->caps.tools) {
    if (list_tools(c, t) != 0) return no_memory(err);
  }
  if (myna__chat_shows_calls(c)) return 0;
  bool result = false; /* the message before is one */
  for (size_t i = 0; i < json_array_size(t->messages); i++) {
    json_t *m = json_array_get(t->messages, i);
    bool tool = is_role(m, "tool") && (!c->caps.results || myna__chat_is_plain(c));
    if (json_object_get(m, "tool_calls") && call_text(c, m) != 0) return no_memory(err);
    if (tool && result_text(m) != 0) return no_memory(err);
    if (result && is_role(m, "user")) {
      if (join_user(t->messages, i - 1) != 0) return no_memory(err);
      result = tool;
      i--;
    } else {
      result = tool;
    }
  }
  return 0;
}
