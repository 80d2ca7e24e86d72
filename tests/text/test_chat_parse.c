/* test_chat_parse.c: answers of each format, whole and split at every byte, give the same content, reasoning and calls. */
#include "text/chat_format.h"
#include "test.h"

static const struct {
  const char *marks, *answer, *want; /* want: r(reasoning) c(content) t(name)arguments, joined */
} cases[] = {
    {"<tool_call> <think>",
     "<think>\nhm\n</think>\n\nHi <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
     "r(hm)c(Hi)t(f){\"a\":1}"},
    {"<tool_call>", "see <tool_call> here", "c(see <tool_call> here)"},
    {"<tool_call><function=<parameter=",
     "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\nx "
     "y\n</parameter>\n</function>\n</tool_call>",
     "t(f){\"a\":1,\"b\":\"x y\"}"},
    {"<arg_key>", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>[1]</arg_value>\n</tool_call>", "t(f){\"a\":[1]}"},
    {"[TOOL_CALLS]", "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}},{\"name\":\"g\",\"arguments\":{}}]",
     "t(f){}t(g){}"},
    {"[TOOL_CALLS][ARGS]", "ok[TOOL_CALLS]f[ARGS]{\"a\": 2}", "c(ok)t(f){\"a\":2}"},
    {"<|tool_call_argument_begin|>",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|><|"
     "tool_"
     "calls_section_end|>",
     "t(f){}"},
    {"start_header_id \"parameters\"", "{\"name\": \"f\", \"parameters\": {\"x\": \"\xC3\xA4\"}}",
     "t(f){\"x\":\"\xC3\xA4\"}"},
    {"start_header_id \"parameters\"", "{no call}", "c({no call})"},
    {"<|channel|><|message|>",
     "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f "
     "<|constrain|>json<|message|>{\"a\":1}<|call|>",
     "r(hm)t(f){\"a\":1}"},
    {NULL, "a <b> \xE2\x82\xAC ", "c(a <b> \xE2\x82\xAC )"},
};

static void run(int i, size_t cut, size_t every, char out[512]) {
  const myna_delta *d;
  myna_chat_parser *p;
  size_t n = strlen(cases[i].answer), len = 0, at = 0;
  int kind = -1;
  ASSERT_OK(myna__chat_parser_new(&p, myna__chat_format_find(cases[i].marks), NULL,
                                  &(myna_chat_parser_options){.tools = true}, NULL));
  for (out[0] = 0; at <= n; at += cut) {
    if (at) cut = every;
    size_t part = MYNA__MIN(cut, n - at);
    int count = myna_chat_parser_push(p, cases[i].answer + at, part, at + cut > n, &d, NULL);
    ASSERT_OK(count);
    for (int k = 0; k < count; k++) {
      bool text = d[k].kind == MYNA_DELTA_CONTENT || d[k].kind == MYNA_DELTA_REASONING;
      if (kind >= 0 && (int)d[k].kind != kind) len += (size_t)snprintf(out + len, 512 - len, ")");
      if ((int)d[k].kind != kind && d[k].kind != MYNA_DELTA_ARGUMENTS)
        len += (size_t)snprintf(out + len, 512 - len, "%c(", text ? "cr"[d[k].kind] : 't');
      len += (size_t)snprintf(out + len, 512 - len, "%s", d[k].text);
      kind = d[k].kind == MYNA_DELTA_ARGUMENTS ? -1 : (int)d[k].kind;
    }
  }
  if (kind >= 0) snprintf(out + len, 512 - len, ")");
  myna_chat_parser_free(p);
}

static void test_splits(void **state) {
  char got[512];
  for (int i = 0; i < (int)MYNA__COUNT(cases); i++)
    for (size_t cut = 1; cut <= strlen(cases[i].answer) + 1; cut++)
      for (int every = 0; every < 2; every++) {
        run(i, cut, every ? 1 : 1000, got);
        if (strcmp(got, cases[i].want) != 0) fail_msg("answer %d cut at %zu: %s, not %s", i, cut, got, cases[i].want);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_splits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
