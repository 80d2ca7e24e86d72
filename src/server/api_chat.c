/* api_chat.c: messages, tools and thinking of a chat request, to the model's prompt. */
#include "api.h"
#include <stdlib.h>
#include <string.h>

static int no_memory(api_error *e) { return api_fail(e, 500, "server_error", NULL, "out of memory"); }

/* ---- fields ---- */

static int check_content(const json_t *content, size_t i, api_error *e) {
  if (!content || json_is_null(content) || json_is_string(content)) return 0;
  if (!json_is_array(content))
    return api_refuse(e, "messages.content", "messages[%zu].content must be a string or an array of parts", i);
  for (size_t k = 0; k < json_array_size(content); k++) {
    const json_t *part = json_array_get(content, k);
    const char *type = json_string_value(json_object_get(part, "type"));
    if (!type) return api_refuse(e, "messages.content", "messages[%zu].content[%zu] has no type", i, k);
    if (strcmp(type, "text") != 0 && strcmp(type, "refusal") != 0 && strcmp(type, "input_text") != 0)
      return api_refuse(e, "messages.content",
                        "messages[%zu].content[%zu]: %.40s is not supported, the model reads text only", i, k, type);
  }
  return 0;
}

int api_set_messages(api_request *r, const char *name, const json_t *v, api_error *e) {
  size_t n = json_array_size(v);
  if (n == 0) return api_refuse(e, name, "messages is empty");
  const char *before = NULL;
  for (size_t i = 0; i < n; i++) {
    const json_t *message = json_array_get(v, i);
    if (!json_is_object(message)) return api_refuse(e, name, "messages[%zu] must be an object", i);
    const char *role = json_string_value(json_object_get(message, "role"));
    if (!role) return api_refuse(e, "messages.role", "messages[%zu].role must be a string", i);
    const json_t *content = json_object_get(message, "content"), *calls = json_object_get(message, "tool_calls");
    if (check_content(content, i, e) < 0) return -1;
    if (calls && !json_is_array(calls) && !json_is_null(calls))
      return api_refuse(e, "messages.tool_calls", "messages[%zu].tool_calls must be an array", i);
    bool assistant = strcmp(role, "assistant") == 0;
    if ((!content || json_is_null(content)) && !assistant)
      return api_refuse(e, "messages.content", "messages[%zu].content is missing", i);
    if (assistant && i + 1 == n && before && strcmp(before, "assistant") == 0)
      return api_refuse(e, name, "messages ends with two messages of the assistant");
    before = role;
  }
  r->messages = v;
  return 0;
}

/* The name of {"function": {"name"}}, or of a function as it is. */
static const json_t *function_name(const json_t *tool) {
  const json_t *function = json_object_get(tool, "function");
  return json_object_get(function ? function : tool, "name");
}

static bool has_tool(const api_request *r, const json_t *name) {
  const json_t *tools = json_object_get(r->body, "tools");
  for (size_t i = 0; i < json_array_size(tools); i++)
    if (json_equal(function_name(json_array_get(tools, i)), name)) return true;
  return false;
}

static int no_tools(api_request *r, const char *name, api_error *e) {
  if (r->tool_choice != MYNA_TOOLS_REQUIRED || json_array_size(json_object_get(r->body, "tools")) > 0) return 0;
  return api_refuse(e, name, "tool_choice is required, but there are no tools");
}

enum { MAX_ALLOWED = 1024 };

/* {"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}, or mode and tools beside the type, as OpenAI's responses have it. */
static int allow_tools(api_request *r, const char *name, const json_t *v, api_error *e) {
  const json_t *inner = json_object_get(v, "allowed_tools");
  if (!inner) inner = v;
  const char *mode = json_string_value(json_object_get(inner, "mode"));
  const json_t *tools = json_object_get(inner, "tools");
  if (!mode || (strcmp(mode, "auto") != 0 && strcmp(mode, "required") != 0))
    return api_refuse(e, name, "tool_choice.allowed_tools.mode must be auto or required");
  size_t n = json_array_size(tools);
  if (n == 0 || n > MAX_ALLOWED)
    return api_refuse(e, name, "tool_choice.allowed_tools.tools must be a list of 1 to %d tools", MAX_ALLOWED);
  if (json_array_size(json_object_get(r->body, "tools")) == 0)
    return api_refuse(e, name, "tool_choice allows some of the tools, but there are none");
  json_t *names = json_array();
  for (size_t i = 0; i < n; i++) {
    json_t *one = (json_t *)(uintptr_t)function_name(json_array_get(tools, i));
    if (one)
      json_array_append(names, one); /* whether a tool is called so is seen with the tools */
    else
      json_array_append_new(names, json_null());
  }
  char *text = json_dumps(names, JSON_COMPACT), *copy = text ? api_keep(r, strlen(text) + 1) : NULL;
  if (copy) r->allowed_tools = strcpy(copy, text);
  free(text);
  json_decref(names);
  r->tool_choice = strcmp(mode, "auto") == 0 ? MYNA_TOOLS_AUTO : MYNA_TOOLS_REQUIRED;
  return copy ? 0 : no_memory(e);
}

int api_set_tool_choice(api_request *r, const char *name, const json_t *v, api_error *e) {
  static const struct {
    const char *name;
    myna_tool_choice choice;
  } rows[] = {{"auto", MYNA_TOOLS_AUTO}, {"none", MYNA_TOOLS_NONE}, {"required", MYNA_TOOLS_REQUIRED}};
  if (json_is_string(v)) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
      if (strcmp(json_string_value(v), rows[i].name) == 0) {
        r->tool_choice = rows[i].choice;
        return no_tools(r, name, e);
      }
    return api_refuse(e, name, "tool_choice must be none, auto, required or a function, not %.40s",
                      json_string_value(v));
  }
  const char *type = json_string_value(json_object_get(v, "type"));
  if (type && strcmp(type, "allowed_tools") == 0) return allow_tools(r, name, v, e);
  const json_t *called = function_name(v);
  const char *tool = json_string_value(called);
  if (!tool) return api_refuse(e, name, "tool_choice.function.name must be a string");
  if (!has_tool(r, called)) return api_refuse(e, name, "tool_choice names %.60s, which is none of the tools", tool);
  r->tool_choice = MYNA_TOOLS_NAMED;
  r->tool_name = tool;
  return 0;
}

int api_set_thinking(api_request *r, const char *name, const json_t *v, api_error *e) {
  r->thinking = json_is_true(v);
  return 0;
}

int api_set_generation_prompt(api_request *r, const char *name, const json_t *v, api_error *e) {
  r->add_generation_prompt = json_is_true(v);
  r->add_generation_prompt_set = true;
  return 0;
}

int api_set_reasoning_format(api_request *r, const char *name, const json_t *v, api_error *e) {
  static const char *const formats[] = {"none", "auto", "deepseek", "deepseek-legacy", NULL};
  for (int i = 0; formats[i]; i++)
    if (strcmp(json_string_value(v), formats[i]) == 0) {
      r->reasoning_format = formats[i];
      return 0;
    }
  return api_refuse(e, name, "reasoning_format must be none, auto, deepseek or deepseek-legacy");
}

/* ---- the prompt ---- */

static char *dump(const json_t *v) { return v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL; }

/* The server's template variables under the request's. NULL: none, or no memory (*ok). */
static char *kwargs_text(const api_request *r, bool *ok) {
  *ok = true;
  if (!r->env->chat_kwargs) {
    char *text = dump(r->kwargs);
    *ok = text || !r->kwargs;
    return text;
  }
  json_t *all = json_loads(r->env->chat_kwargs, 0, NULL);
  if (all && r->kwargs) json_object_update(all, (json_t *)(uintptr_t)r->kwargs);
  char *text = dump(all);
  json_decref(all);
  *ok = text != NULL;
  return text;
}

static myna_reasoning reasoning_of(const api_request *r) {
  if (r->thinking >= 0) return r->thinking ? MYNA_REASONING_ON : MYNA_REASONING_OFF;
  if (r->reasoning_effort && strcmp(r->reasoning_effort, "none") == 0) return MYNA_REASONING_OFF;
  const json_t *v = r->kwargs ? json_object_get(r->kwargs, "enable_thinking") : NULL;
  if (json_is_boolean(v)) return json_is_true(v) ? MYNA_REASONING_ON : MYNA_REASONING_OFF;
  if (r->reasoning_budget == 0) return MYNA_REASONING_OFF;
  /* As llama-server has it, who does not say otherwise gets a model that thinks, where its template lets one choose. */
  return r->env->reasoning == MYNA_REASONING_AUTO ? MYNA_REASONING_ON : r->env->reasoning;
}

static bool is_text(const json_t *v) { return json_is_string(v) || json_is_array(v); }

/* A last message of the assistant is to be continued, as llama-server has it, unless the client says otherwise. */
static bool continues(const api_request *r) {
  if (r->continue_final || r->env->no_prefill) return r->continue_final;
  const json_t *last = json_array_get(r->messages, json_array_size(r->messages) - 1);
  const char *role = json_string_value(json_object_get(last, "role"));
  return role && strcmp(role, "assistant") == 0 && json_array_size(json_object_get(last, "tool_calls")) == 0 &&
         !(r->add_generation_prompt_set && r->add_generation_prompt) && is_text(json_object_get(last, "content"));
}

/* The library says at the beginning which of its inputs is to blame. */
static int refuse_prompt(const myna_err *err, api_error *e) {
  static const char *const fields[] = {"tool_choice", "tools", "chat_template_kwargs", "kwargs", "messages"};
  const char *param = "messages";
  if (err->code == MYNA_E_NOMEM) return api_fail_err(e, NULL, err);
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if (strncmp(err->msg, fields[i], strlen(fields[i])) == 0) {
      param = fields[i];
      break;
    }
  return api_refuse(e, strcmp(param, "kwargs") == 0 ? "chat_template_kwargs" : param, "%s", err->msg);
}

static int apply(api_request *r, api_error *e) {
  bool ok, tools = r->tools && json_array_size(r->tools) > 0;
  char *messages = dump(r->messages), *tool_text = tools ? dump(r->tools) : NULL, *kwargs = kwargs_text(r, &ok);
  int rc = messages && (tool_text || !tools) && ok ? 0 : no_memory(e);
  if (rc == 0) {
    bool effort = r->reasoning_effort && strcmp(r->reasoning_effort, "none") != 0;
    myna_chat_input in = {.messages = messages,
                          .tools = tool_text,
                          .kwargs = kwargs,
                          .tool_choice = r->tool_choice,
                          .tool_name = r->tool_name,
                          .allowed_tools = r->allowed_tools,
                          .one_tool_call = !r->parallel_tools,
                          .no_generation_prompt = !r->add_generation_prompt,
                          .continue_final = continues(r),
                          .reasoning = reasoning_of(r),
                          .reasoning_effort = effort ? r->reasoning_effort : NULL};
    myna_err err = {0};
    rc = myna_chat_apply(r->env->chat, &in, &r->chat_prompt, &err);
    if (rc < 0) rc = refuse_prompt(&err, e);
    r->has_chat_prompt = rc == 0;
    r->no_thinking = in.reasoning == MYNA_REASONING_OFF && !r->chat_prompt.thinking_open;
  }
  free(messages);
  free(tool_text);
  free(kwargs);
  return rc;
}

/* Stop strings that the answer's format adds to the client's. */
static int add_stops(api_request *r, api_error *e) {
  int more = r->chat_prompt.n_stop;
  if (more <= 0) return 0;
  const char **list = api_keep(r, (size_t)(r->n_stop + more) * sizeof *list);
  if (!list) return no_memory(e);
  if (r->n_stop) memcpy(list, r->stop, (size_t)r->n_stop * sizeof *list);
  for (int i = 0; i < more; i++) list[r->n_stop + i] = r->chat_prompt.stop[i];
  r->stop = list;
  r->n_stop += more;
  return 0;
}

/* Adds content (a text, or parts of text) to text[*n], which has room; with text NULL only counts. */
static void add_content(const json_t *content, char *text, size_t *n) {
  size_t parts = json_is_array(content) ? json_array_size(content) : 1;
  for (size_t k = 0; k < parts; k++) {
    const json_t *part = json_is_array(content) ? json_object_get(json_array_get(content, k), "text") : content;
    size_t len = json_string_length(part);
    if (!len) continue;
    if (*n && text) text[*n] = '\n';
    if (*n) ++*n;
    if (text) memcpy(text + *n, json_string_value(part), len);
    *n += len;
  }
}

/* Without a way of conversing the contents are joined, line by line. */
static char *join(const api_request *r, size_t *n, api_error *e) {
  char *text = NULL;
  for (int pass = 0; pass < 2; pass++) {
    *n = 0;
    for (size_t i = 0; i < json_array_size(r->messages); i++)
      add_content(json_object_get(json_array_get(r->messages, i), "content"), text, n);
    if (pass == 0 && !(text = api_keep((api_request *)(uintptr_t)r, *n + 1))) {
      no_memory(e);
      return NULL;
    }
  }
  return text;
}

/* The prompt's text, borrowed from the request. */
static const char *render(api_request *r, size_t *n, api_error *e) {
  *n = 0;
  if (!r->messages) {
    api_refuse(e, "messages", "messages is missing");
    return NULL;
  }
  bool template = r->env->chat && myna_chat_has_template(r->env->chat);
  if (!template && json_array_size(r->tools) > 0 && r->tool_choice != MYNA_TOOLS_NONE) {
    api_refuse(e, "tools", "the model has no chat template that could show tools");
    return NULL;
  }
  if (!r->env->chat) return join(r, n, e);
  if (apply(r, e) < 0) return NULL;
  *n = r->chat_prompt.text_len;
  return r->chat_prompt.text;
}

int api_make_chat(api_request *r, api_error *e) {
  size_t len;
  const char *text = render(r, &len, e);
  if (!text || add_stops(r, e) < 0) return -1;
  int64_t n;
  int32_t *ids = api_tokenize(r, text, len, !r->chat_prompt.starts_with_bos, true, &n, e);
  if (!ids) return -1;
  if (n == 0) {
    free(ids);
    return api_refuse(e, "messages", "the prompt is empty");
  }
  if (!api_add_prompt(r, ids, n)) {
    free(ids);
    return no_memory(e);
  }
  return 0;
}

json_t *api_answer_count(const api_env *env, json_t *body, api_error *e) {
  api_request *r;
  if (api_request_parse(&r, API_CHAT, body, env, e) < 0) return NULL;
  json_t *o = NULL;
  if (api_make_chat(r, e) == 0)
    o = json_pack("{s:s, s:I}", "object", "response.input_tokens", "input_tokens", (json_int_t)r->prompts[0].n_tokens);
  if (!o) no_memory(e);
  api_request_free(r);
  return o;
}

json_t *api_answer_template(const api_env *env, json_t *body, api_error *e) {
  api_request *r;
  if (api_request_parse(&r, API_TEMPLATE, body, env, e) < 0) return NULL;
  json_t *o = NULL;
  size_t n;
  const char *text = render(r, &n, e);
  if (text && !(o = json_pack("{s:o}", "prompt", api_text(text, n)))) no_memory(e);
  api_request_free(r);
  return o;
}
