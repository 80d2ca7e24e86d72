/* Which tools a request lets the model call: tool_choice in all its forms, on the model that ships with a template of the tests. */
#include "api_run.h"

static const char *const tools =
    "\"messages\":[{\"role\":\"user\",\"content\":\"Tom\"}],\"max_tokens\":120,\"tools\":["
    "{\"type\":\"function\",\"function\":{\"name\":\"apple\",\"parameters\":{\"type\":\"object\",\"properties\":"
    "{\"n\":{\"enum\":[1]}},\"required\":[\"n\"],\"additionalProperties\":false}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"pear\",\"parameters\":{\"type\":\"object\",\"properties\":"
    "{\"n\":{\"enum\":[2]}},\"required\":[\"n\"],\"additionalProperties\":false}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"plum\"}}]";

static int setup(void **state) {
  char path[512];
  myna_err err = {0};
  static myna_chat *chat;
  api_run_ctx = 512;
  api_run_setup(state);
  FILE *f = fopen(test_path(path, "tests/server/chat.jinja"), "rb");
  static char source[8192];
  assert_non_null(f);
  source[fread(source, 1, sizeof source - 1, f)] = 0;
  fclose(f);
  const myna_chat_options o = {.template_source = source};
  ASSERT_OK_ERR(myna_chat_new(&chat, env.model, &o, &err), &err);
  env.chat = chat;
  return 0;
}

static int teardown(void **state) {
  myna_chat_free((myna_chat *)(uintptr_t)env.chat);
  return api_run_teardown(state);
}

static api_request *parsed(const char *choice) {
  char json[2048];
  api_error e = {0};
  api_request *r;
  snprintf(json, sizeof json, "{%s,\"tool_choice\":%s}", tools, choice);
  if (api_request_new(&r, API_CHAT, json_loads(json, 0, NULL), &env, &e) < 0) fail_msg("%s: %s", choice, e.message);
  return r;
}

/* All are shown, some can be called. */
static void test_allowed(void **state) {
  static const struct {
    const char *choice;
    bool lazy, can[3];
  } rows[] = {
      {"\"auto\"", true, {true, true, true}},
      {"\"required\"", false, {true, true, true}},
      {"{\"type\":\"function\",\"function\":{\"name\":\"pear\"}}", false, {false, true, false}},
      {"{\"type\":\"function\",\"name\":\"pear\"}", false, {false, true, false}},
      {"{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{\"type\":\"function\","
       "\"function\":"
       "{\"name\":\"plum\"}},{\"type\":\"function\",\"function\":{\"name\":\"apple\"}}]}}",
       true,
       {true, false, true}},
      {"{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":[{\"type\":\"function\",\"name\":\"pear\"}]}",
       false,
       {false, true, false}},
  };
  static const char *const names[] = {"apple", "pear", "plum"};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    api_request *r = parsed(rows[i].choice);
    assert_non_null(r->chat_prompt.grammar);
    assert_int_equal(r->grammar_lazy, rows[i].lazy);
    for (int k = 0; k < 3; k++) {
      assert_non_null(strstr(r->chat_prompt.text, names[k]));
      if (!strstr(r->chat_prompt.grammar, names[k]) != !rows[i].can[k]) fail_msg("%s: %s", rows[i].choice, names[k]);
    }
    api_request_free(r);
  }
}

static void test_called(void **state) {
  char json[2048];
  snprintf(
      json, sizeof json,
      "{%s,\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\",\"tools\":[{\"type\":"
      "\"function\",\"function\":{\"name\":\"pear\"}}]}},\"parallel_tool_calls\":false,\"enable_thinking\":false}",
      tools);
  json_t *o = body_of(API_CHAT, json);
  const json_t *choice = json_array_get(json_object_get(o, "choices"), 0);
  const json_t *calls = json_object_get(json_object_get(choice, "message"), "tool_calls");
  const json_t *function = json_object_get(json_array_get(calls, 0), "function");
  assert_int_equal(json_array_size(calls), 1);
  assert_string_equal(str(function, "name"), "pear");
  json_t *arguments = json_loads(str(function, "arguments"), 0, NULL);
  assert_int_equal(num(arguments, "n"), 2);
  json_decref(arguments);
  json_decref(o);
}

static void test_refused(void **state) {
  static const char *const rows[] = {
      "\"all\"",
      "{}",
      "{\"function\":7}",
      "{\"function\":{\"name\":\"fig\"}}",
      "{\"type\":\"allowed_tools\"}",
      "{\"type\":\"allowed_tools\",\"allowed_tools\":[]}",
      "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"none\",\"tools\":[{\"name\":\"plum\"}]}}",
      "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\"}}",
      "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[]}}",
      "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{\"name\":\"fig\"}]}}",
      "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[\"plum\"]}}",
      "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{\"name\":5}]}}",
  };
  char json[2048];
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    snprintf(json, sizeof json, "{%s,\"tool_choice\":%s}", tools, rows[i]);
    refused(API_CHAT, json, "tool_choice");
  }
  refused(API_CHAT,
          "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":"
          "\"auto\",\"tools\":[{\"name\":\"plum\"}]}}",
          "tool_choice");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_allowed),
      cmocka_unit_test(test_called),
      cmocka_unit_test(test_refused),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
