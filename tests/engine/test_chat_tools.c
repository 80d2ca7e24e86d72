/* test_chat_tools.c: grammars of tool calls: what each family writes is legal and what is no call of a tool is not, triggers begin it, strict tools refuse
 * what cannot be kept. */
#include "engine/chat_tools.h"
#include "fixture.h"
#include "myna_grammar.h"

#define BAR "\xEF\xBD\x9C"
#define GAP "\xE2\x96\x81"
static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"s\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"b\":{\"type\":\"boolean\"},"
    "\"l\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
    "\"o\":{\"type\":\"object\",\"properties\":{\"x\":{\"enum\":[\"p\",\"q\"]}},\"required\":[\"x\"]}},"
    "\"required\":[\"s\"]}}},{\"name\":\"none\"}]";

static const struct {
  const char *format, *text;
  myna_match want;
} cases[] = {
    {"hermes", "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"s\": \"a\", \"n\": 1}}\n</tool_call>", 2},
    {"hermes", "<tool_call>{\"name\":\"get\",\"arguments\":{\"s\":\"a\"}}</tool_call>\n<tool_call>{\"name\":\"none\"",
     1},
    {"hermes", "<tool_call>\n{\"name\": \"got\"", 0},
    {"hermes", "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"n\": 1}}", 0},
    {"hermes", "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"s\": \"a\", \"z", 0},
    {"mistral", "[TOOL_CALLS][{\"name\": \"none\", \"arguments\": {}, \"id\": \"123456789\"}]", 2},
    {"mistral-args", "[TOOL_CALLS]get[ARGS]{\"s\": \"a\"}[TOOL_CALLS]none[ARGS]{}", 2},
    {"mistral-args", "[TOOL_CALLS]get[CALL_ID]123456789[ARGS]{\"s\": \"a\"}", 2},
    {"apertus", "<|tools_prefix|>[{\"get\": {\"s\": \"a\"}}]<|tools_suffix|>", 2},
    {"command-r7b",
     "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"none\", \"parameters\": {}}]<|END_ACTION|>", 2},
    {"kimi-k2",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.get:0<|tool_call_argument_begin|>{\"s\": "
     "\"\"}<|tool_call_end|><|tool_calls_section_end|>",
     2},
    {"deepseek-r1",
     "<" BAR "tool" GAP "calls" GAP "begin" BAR "><" BAR "tool" GAP "call" GAP "begin" BAR ">function<" BAR "tool" GAP
     "sep" BAR ">none\n```json\n{}\n```<" BAR "tool" GAP "call" GAP "end" BAR "><" BAR "tool" GAP "calls" GAP "end" BAR
     ">",
     2},
    {"qwen3-coder", "<tool_call>\n<function=get>\n<parameter=s>\nx </p\n\n</parameter>\n</function>\n</tool_call>", 2},
    {"qwen3-coder",
     "<tool_call>\n<function=get>\n<parameter=n>\n5\n</parameter>\n<parameter=s>\n</parameter\n</parameter>\n", 1},
    {"qwen3-coder", "<tool_call>\n<function=get>\n<parameter=n>\nfive", 0},
    {"qwen3-coder", "<tool_call>\n<function=get>\n<parameter=n>\n5\n</parameter>\n</function>", 0},
    {"qwen3-coder", "<function=none>\n</function>\n</tool_call>\n<tool_call>\n<function=none>", 1},
    {"qwen3-coder", "<tool_call>\n<function=none>\n</function>\n</tool_call>", 2},
    {"glm-4", "<tool_call>get\n<arg_key>s</arg_key>\n<arg_value>a<b</arg_value>\n</tool_call>", 2},
    {"glm-4", "<tool_call>get<arg_key>s</arg_key><arg_value>a</arg_value><arg_key>l</arg_key><arg_value>[\"x\"]", 1},
    {"deepseek-v3.2",
     "<" BAR "DSML" BAR "function_calls>\n<" BAR "DSML" BAR "invoke name=\"get\">\n<" BAR "DSML" BAR
     "parameter name=\"s\" string=\"true\">a</" BAR "DSML" BAR "parameter>\n</" BAR "DSML" BAR "invoke>\n</" BAR
     "DSML" BAR "function_calls>",
     2},
    {"lfm2", "<|tool_call_start|>[get(s=\"a\", b=True), none()]<|tool_call_end|>", 2},
    {"lfm2", "<|tool_call_start|>[get(b=True)]", 0},
    {"pythonic", "[get(s=\"a\", n=3, l=[\"x\", \"y\"])]", 2},
    {"gemma4", "<|tool_call>call:get{s:<|\"|>a<|b<|\"|>,l:[<|\"|>x<|\"|>],o:{x:<|\"|>q<|\"|>}}<tool_call|>", 2},
    {"gemma4", "<|tool_call>call:get{s:<|\"|>a<|\"|>,o:{x:<|\"|>r", 0},
    {"minimax-m3",
     "]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"get\">]<]minimax[>[<s>a]<]minimax[>[</s>]<]minimax[>[<l>]"
     "<]minimax[>[<item>x]<]minimax[>[</item>]<]minimax[>[</l>]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
     2},
    {"gpt-oss", "to=functions.get<|channel|>commentary <|constrain|>json<|message|>{\"s\": \"a\"}", 2},
    {"llama-3", "{\"name\": \"get\", \"parameters\": {\"s\": \"a\"}}", 2},
    {"functionary-v3.2", "get\n{\"s\": \"a\"}>>>none\n{}", 2},
    {"functionary-v3.1", "<function=get>{\"s\": \"a\"}</function>", 2},
};

static const struct myna__chat_format *row(const char *name) {
  for (int i = 0;; i++) {
    const struct myna__chat_format *f = myna__chat_format_row(i);
    assert_non_null(f);
    if (strcmp(f->name, name) == 0) return f;
  }
}

static json_t *load(const char *text) {
  json_t *v = json_loads(text, 0, NULL);
  assert_non_null(v);
  return v;
}

static myna_match match(const char *grammar, const char *text) {
  myna_grammar *g;
  myna_err err = {0};
  if (myna_grammar_from_gbnf(&g, grammar, strlen(grammar), NULL, &err) < 0) fail_msg("%s in %s", err.msg, grammar);
  myna_match m = myna_grammar_match(g, text, strlen(text));
  myna_grammar_free(g);
  return m;
}

static void test_spellings(void **state) {
  json_t *tools = load(tools_text);
  for (size_t i = 0; i < MYNA__COUNT(cases); i++)
    for (int lazy = 0; lazy < 2; lazy++) {
      myna_chat_prompt p = {0};
      ASSERT_OK(myna__chat_tools_grammar(row(cases[i].format), tools, lazy ? MYNA_TOOLS_AUTO : MYNA_TOOLS_REQUIRED,
                                         NULL, false, &p, NULL));
      assert_int_equal(p.grammar_lazy, lazy);
      bool begins = !lazy;
      for (int k = 0; k < p.n_triggers; k++)
        begins |= strncmp(cases[i].text, p.triggers[k], strlen(p.triggers[k])) == 0;
      myna_match got = match(p.grammar, cases[i].text);
      if (got != cases[i].want || !begins)
        fail_msg("%s %s: %d, not %d (%d)", cases[i].format, cases[i].text, got, cases[i].want, begins);
      myna__chat_prompt_lists_free(&p);
    }
  json_decref(tools);
}

/* Every row's grammar compiles, and each of its triggers begins a text of it. */
static void test_rows(void **state) {
  json_t *tools = load(tools_text);
  for (int i = 0; myna__chat_format_row(i); i++) {
    const struct myna__chat_format *f = myna__chat_format_row(i);
    myna_chat_prompt p = {0};
    ASSERT_OK(myna__chat_tools_grammar(f, tools, MYNA_TOOLS_AUTO, NULL, false, &p, NULL));
    assert_int_equal(p.grammar != NULL, f->scheme != MYNA__CALLS_NONE);
    for (int k = 0; k < p.n_triggers; k++)
      if (match(p.grammar, p.triggers[k]) != MYNA_MATCH_PREFIX) fail_msg("%s: %s", f->name, p.triggers[k]);
    myna__chat_prompt_lists_free(&p);
  }
  json_decref(tools);
}

static void test_choices(void **state) {
  json_t *tools = load(tools_text), *none = json_array();
  const struct myna__chat_format *f = row("hermes");
  myna_chat_prompt p = {0};
  myna_err err = {0};
  static const char two[] = "<tool_call>{\"name\":\"none\",\"arguments\":{}}</tool_call><tool_call>";
  ASSERT_OK(myna__chat_tools_grammar(f, tools, MYNA_TOOLS_NONE, NULL, false, &p, NULL));
  ASSERT_OK(myna__chat_tools_grammar(f, none, MYNA_TOOLS_AUTO, NULL, false, &p, NULL));
  assert_null(p.grammar);
  ASSERT_OK(myna__chat_tools_grammar(f, tools, MYNA_TOOLS_NAMED, "none", false, &p, NULL));
  assert_int_equal(match(p.grammar, "<tool_call>{\"name\":\"get\""), MYNA_MATCH_DEAD);
  assert_int_equal(match(p.grammar, two), MYNA_MATCH_DEAD);
  myna__chat_prompt_lists_free(&p);
  for (int one = 0; one < 2; one++) {
    ASSERT_OK(myna__chat_tools_grammar(f, tools, MYNA_TOOLS_REQUIRED, NULL, one, &p, NULL));
    assert_int_equal(match(p.grammar, two), one ? MYNA_MATCH_DEAD : MYNA_MATCH_PREFIX);
    assert_int_equal(match(p.grammar, "Hello"), MYNA_MATCH_DEAD);
    myna__chat_prompt_lists_free(&p);
  }
  assert_int_equal(myna__chat_tools_grammar(f, tools, MYNA_TOOLS_NAMED, "got", false, &p, &err), MYNA_E_ARG);
  assert_non_null(strstr(err.msg, "got"));
  assert_int_equal(myna__chat_tools_grammar(row("plain"), tools, MYNA_TOOLS_REQUIRED, NULL, false, &p, NULL),
                   MYNA_E_UNSUPPORTED);
  assert_int_equal(myna__chat_tools_grammar(f, none, MYNA_TOOLS_REQUIRED, NULL, false, &p, NULL), MYNA_E_ARG);
  assert_null(p.grammar);
  assert_null(p.triggers);
  json_decref(tools);
  json_decref(none);
}

static void test_strict(void **state) {
  static const char odd[] = "[{\"name\":\"f\",\"strict\":%s,\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":"
                            "{\"type\":\"array\",\"unevaluatedItems\":false}}}}]";
  static const char *const formats[] = {"hermes", "qwen3-coder", "gemma4", "lfm2"};
  for (size_t i = 0; i < MYNA__COUNT(formats); i++) {
    char text[512];
    myna_err err = {0};
    myna_chat_prompt p = {0};
    snprintf(text, sizeof text, odd, "true");
    json_t *strict = load(text);
    assert_int_equal(myna__chat_tools_grammar(row(formats[i]), strict, MYNA_TOOLS_AUTO, NULL, false, &p, &err),
                     MYNA_E_UNSUPPORTED);
    if (!strstr(err.msg, "unevaluatedItems") || !strstr(err.msg, "tools[0]")) fail_msg("%s: %s", formats[i], err.msg);
    assert_null(p.grammar);
    snprintf(text, sizeof text, odd, "false");
    json_t *loose = load(text);
    ASSERT_OK(myna__chat_tools_grammar(row(formats[i]), loose, MYNA_TOOLS_AUTO, NULL, false, &p, NULL));
    assert_non_null(p.grammar);
    myna__chat_prompt_lists_free(&p);
    json_decref(strict);
    json_decref(loose);
  }
}

static void test_malformed(void **state) {
  static const char *const bad[] = {"[1]",
                                    "[{}]",
                                    "[{\"name\":\"\"}]",
                                    "[{\"name\":3}]",
                                    "[{\"function\":{\"name\":null}}]",
                                    "[{\"name\":\"f\",\"parameters\":[]}]"};
  for (size_t i = 0; i < MYNA__COUNT(bad); i++) {
    json_t *tools = load(bad[i]);
    myna_chat_prompt p = {0};
    myna_err err = {0};
    assert_int_equal(myna__chat_tools_grammar(row("hermes"), tools, MYNA_TOOLS_AUTO, NULL, false, &p, &err),
                     MYNA_E_ARG);
    assert_non_null(strstr(err.msg, "tools[0]"));
    json_decref(tools);
  }
}

/* Control tokens that a request wants to see are in its text, others are not. */
static void test_shown(void **state) {
  char path[512];
  static fx_result result;
  myna_model *m = NULL;
  ASSERT_OK(myna_model_open(&m, test_path(path, "models/myna-stories.gguf"), NULL, NULL));
  int32_t bos = myna_token_bos(m), forced[3] = {0, bos, 0};
  char piece[64];
  int64_t n = myna_detokenize(m, &bos, 1, true, piece, sizeof piece - 1, NULL);
  assert_true(n > 0);
  piece[n] = 0;
  assert_int_equal(myna_tokenize(m, "a", 1, &(myna_tokenize_options){.no_special = true}, forced, 1, NULL), 1);
  forced[2] = forced[0];
  myna_engine *e = fx_engine(m, &(myna_engine_options){.n_threads = 1, .n_ctx = 64, .n_seq = 1});
  for (int show = 0; show < 2; show++) {
    char shown[128];
    snprintf(shown, sizeof shown, "[x]\n%s\n", piece);
    myna_request r = fx_greedy(&bos, 1, 3);
    r.no_text = false;
    r.forced = forced;
    r.n_forced = 3;
    r.shown = show ? shown : "[x]";
    fx_run(e, &r, &result);
    assert_int_equal(strstr(result.text, piece) != NULL, show);
  }
  myna_engine_free(e);
  myna_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_spellings), cmocka_unit_test(test_rows),
                                     cmocka_unit_test(test_choices),   cmocka_unit_test(test_strict),
                                     cmocka_unit_test(test_malformed), cmocka_unit_test(test_shown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
