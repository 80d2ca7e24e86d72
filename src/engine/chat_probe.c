/* chat_probe.c: what a template can do with messages, found by rendering small conversations and looking for what was put in. */
#include "engine/chat.h"

#define USER "myna-user-text"
#define SYSTEM "myna-system-text"
#define KEY "myna_key"
#define VALUE "myna-value"
#define TEXT_USER "{\"role\": \"user\", \"content\": \"" USER "\"}"
#define PARTS_USER "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"" USER "\"}]}"
#define TEXT_SYSTEM "{\"role\": \"system\", \"content\": \"" SYSTEM "\"}"
#define PARTS_SYSTEM "{\"role\": \"system\", \"content\": [{\"type\": \"text\", \"text\": \"" SYSTEM "\"}]}"
/* A call and its result. */
#define CALL(content, arguments)                                               \
  "{\"role\": \"assistant\", \"content\": " content                            \
  ", \"tool_calls\": [{\"id\": \"call00001\", \"type\": \"function\", "        \
  "\"function\": {\"name\": \"myna_tool\", \"arguments\": " arguments "}}]}, " \
  "{\"role\": \"tool\", \"tool_call_id\": \"call00001\", \"name\": \"myna_tool\", \"content\": \"myna-result\"}"
#define AS_OBJECT "{\"" KEY "\": \"" VALUE "\"}"
#define AS_STRING "\"{\\\"" KEY "\\\": \\\"" VALUE "\\\"}\""

/* Not with the call's key: it is looked for in the call alone. */
static const char tools_text[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"myna_tool\", \"description\": \"a tool\", \"parameters\": "
    "{\"type\": \"object\", \"properties\": {\"myna_property\": {\"type\": \"string\", \"description\": \"a text\"}}, "
    "\"required\": []}}}]";

/* The text, or NULL where the template refuses. */
static char *render(const myna_chat *c, const char *messages, bool with_tools) {
  json_t *m = json_loads(messages, 0, NULL), *t = with_tools ? json_loads(tools_text, 0, NULL) : NULL;
  char *text = NULL;
  size_t n;
  if (!m || (with_tools && !t) || myna__chat_render(c, m, t, NULL, true, 0, &text, &n, NULL) < 0) text = NULL;
  json_decref(m);
  json_decref(t);
  return text;
}

static bool shows(const char *text, const char *part) { return text && strstr(text, part); }

static void probe_content(myna_chat *c, bool *works) {
  char *plain = render(c, "[" TEXT_USER "]", false), *parts = render(c, "[" PARTS_USER "]", false);
  bool text = shows(plain, USER), list = shows(parts, USER) && !shows(parts, "'text'") && !shows(parts, "\"text\"");
  c->caps.only_typed = !text && list;
  c->caps.typed_content = text && list && strcmp(plain, parts) == 0;
  *works = text || list;
  myna_chat_free_text(plain);
  myna_chat_free_text(parts);
}

static bool probe_system(const myna_chat *c) {
  const bool typed = c->caps.only_typed;
  char *text = render(c, typed ? "[" PARTS_SYSTEM ", " PARTS_USER "]" : "[" TEXT_SYSTEM ", " TEXT_USER "]", false);
  bool ok = shows(text, SYSTEM);
  myna_chat_free_text(text);
  return ok;
}

/* Whether the call's argument is there; verbatim: as the JSON text that it was. Python's way to print a dict is none that a model was taught. */
static bool probe_call(const myna_chat *c, const char *messages, bool verbatim) {
  char *text = render(c, messages, true);
  bool ok = verbatim ? shows(text, "\"" KEY "\": \"" VALUE "\"")
                     : shows(text, VALUE) && !shows(text, "'" KEY "':") && !shows(text, "&#34;" KEY);
  ok = ok && !shows(text, ">None<") && !shows(text, "\\\"" KEY "\\\"");
  myna_chat_free_text(text);
  return ok;
}

static void probe_calls(myna_chat *c) {
  c->caps.object_arguments = probe_call(c, "[" TEXT_USER ", " CALL("\"\"", AS_OBJECT) "]", false);
  c->caps.string_arguments = probe_call(c, "[" TEXT_USER ", " CALL("\"\"", AS_STRING) "]", true);
  if (c->caps.object_arguments || c->caps.string_arguments) return;
  c->caps.object_arguments = probe_call(c, "[" TEXT_USER ", " CALL("null", AS_OBJECT) "]", false);
  c->caps.string_arguments = probe_call(c, "[" TEXT_USER ", " CALL("null", AS_STRING) "]", true);
  c->caps.null_content = c->caps.object_arguments || c->caps.string_arguments;
}

static bool probe_tools(const myna_chat *c) {
  char *text = render(c, c->caps.only_typed ? "[" PARTS_USER "]" : "[" TEXT_USER "]", true);
  bool ok = shows(text, "myna_tool");
  myna_chat_free_text(text);
  return ok;
}

static bool probe_results(const myna_chat *c) {
  char *text = render(c, "[" TEXT_USER ", " CALL("\"\"", AS_OBJECT) "]", true);
  if (!text) text = render(c, "[" TEXT_USER ", " CALL("null", AS_STRING) "]", true);
  bool ok = shows(text, "myna-result");
  myna_chat_free_text(text);
  return ok;
}

void myna__chat_probe(myna_chat *c) {
  bool works;
  probe_content(c, &works);
  if (!works) {
    c->caps.absent_tools = true;
    probe_content(c, &works);
    c->caps.absent_tools = works;
  }
  c->caps.system_role = !works || probe_system(c);
  c->caps.tools = probe_tools(c);
  probe_calls(c);
  c->caps.results = probe_results(c);
}
