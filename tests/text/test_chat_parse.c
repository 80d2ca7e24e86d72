/* test_chat_parse.c: answers of each format, whole and split at every byte, give the same content, reasoning and calls, and a cut anywhere is no error. */
#include "text/chat_format.h"
#include "test.h"

#define BAR "\xEF\xBD\x9C"
#define GAP "\xE2\x96\x81"
#define DSML BAR "DSML" BAR
#define DS(what) "<" BAR "tool" GAP what BAR ">"
#define STEP(what) "<" BAR "tool_" what BAR ">"
#define NS "]<]minimax[>["
enum { OPEN = 1, KEEP = 2, NO_TOOLS = 4, ONE = 8 };

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"n\":{\"type\":\"integer\"},\"s\":{\"type\":\"string\"},\"b\":{\"type\":\"boolean\"},"
    "\"ns\":{\"type\":[\"string\",\"null\"]},\"ni\":{\"type\":[\"integer\",\"null\"]},\"e\":{\"enum\":[\"5\",\"x\"]},"
    "\"l\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"o\":{\"type\":\"object\"},"
    "\"r\":{\"$ref\":\"#/$defs/r\"},"
    "\"u\":{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"object\",\"properties\":{\"max\":{\"type\":\"integer\"}}}]},"
    "\"us\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"object\"}]},"
    "\"ol\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},"
    "\"t\":{\"type\":\"string\"}}}}},\"$defs\":{\"r\":{\"type\":\"string\"}}}}},"
    "{\"name\":\"g\"},{\"name\":\"Cal.make\",\"parameters\":{}}]";

typedef struct answer {
  const char *format;
  int flags;
  const char *text, *want; /* want: r(reasoning) c(content) t(name)arguments, joined */
} answer;

static const answer answers[] = {
    /* reasoning and content */
    {"plain", 0, "a <b> \xE2\x82\xAC ", "c(a <b> \xE2\x82\xAC )"},
    {"plain", 0, "<tool_call>{}", "c(<tool_call>{})"},
    {"think", 0, "<think>I'm\nthinking</think>\n\nHello", "r(I'm\nthinking)c(Hello)"},
    {"think", OPEN, "hm\n</think>\nHi", "r(hm)c(Hi)"},
    {"think", OPEN, "</think>Hi", "c(Hi)"},
    {"think", 0, "</think>Hi", "c(Hi)"},
    {"think", OPEN | KEEP, "hm\n</think>\nHi", "c(<think>\nhm\n</think>\nHi)"},
    {"think", KEEP, "<think>hm</think> Hi", "c(<think>hm</think> Hi)"},
    {"think", 0, "<thin air", "c(<thin air)"},
    {"think", OPEN, "never ends </thin", "r(never ends </thin)"},
    {"seed-oss", 0, "<seed:think>a</seed:think>\nb", "r(a)c(b)"},
    {"mistral-args", 0, "[THINK]I'm\nhm[/THINK]Hi", "r(I'm\nhm)c(Hi)"},
    {"apriel-thinker", OPEN, "I'm\nhm\n[BEGIN FINAL RESPONSE]\nHi", "r(Here are my reasoning steps:\n\nI'm\nhm)c(Hi)"},
    {"minimax-m3", OPEN, "<mm:think>hm</mm:think>Hi", "r(hm)c(Hi)"},
    {"minimax-m3", OPEN, "hm</mm:think>Hi", "r(hm)c(Hi)"},
    {"minimax-m3", OPEN, "</mm:think>Hi", "c(Hi)"},
    {"functionary-v3.2", NO_TOOLS, "all\nHi", "c(Hi)"},
    {"command-r7b", 0, "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Hi<|END_RESPONSE|>", "r(hm)c(Hi)"},
    {"command-r7b", KEEP, "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Hi<|END_RESPONSE|>",
     "c(<|START_THINKING|>hm<|END_THINKING|>Hi)"},
    {"command-r7b", OPEN, "hm<|END_THINKING|><|START_TEXT|>Hi<|END_TEXT|>", "r(hm)c(Hi)"},
    {"command-r", 0, "<|CHATBOT_TOKEN|>Hi<|END_OF_TURN_TOKEN|>", "c(Hi)"},
    {"gemma4", 0, "<|channel>thought\nhm<channel|>Hi", "r(hm)c(Hi)"},
    {"gemma4", 0, "<|channel>thought<channel|>Hi", "c(Hi)"},
    {"gemma4", KEEP, "<|channel>thought\nhm<channel|>Hi", "c(<|channel>thought\nhm<channel|>Hi)"},
    {"gemma4", 0, "<|channel>thought\n<channel|>Hi<|channel>thought\n<channel|><channel|>", "c(Hi)"},
    {"gemma4", 0, "<|channel><|channel>thought\n<channel|>Hi", "c(Hi)"},
    {"solar", 0, "<|think|>hm<|end|><|begin|>assistant<|content|>Hi<|end|>", "r(hm)c(Hi)"},
    /* JSON between markers */
    {"hermes", 0, "<think>\nhm\n</think>\n\nHi <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
     "r(hm)c(Hi)t(f){\"a\": 1}"},
    {"hermes", 0, "see <tool_call> here", "c(see <tool_call> here)"},
    {"hermes", NO_TOOLS, "<tool_call>{\"name\":\"f\",\"arguments\":{}}",
     "c(<tool_call>{\"name\":\"f\",\"arguments\":{}})"},
    {"hermes", 0, "<tool_call>{\"arguments\": {\"a\": [1, {\"b\": null}]}, \"name\": \"f\"}</tool_call> bye",
     "t(f){\"a\": [1, {\"b\": null}]}c(bye)"},
    {"hermes", 0, "<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>",
     "t(f){}t(g){}"},
    {"hermes", ONE, "<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{\"x\":1}}",
     "t(f){}"},
    {"hermes", 0, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}</tool_call>", "t(f){\"a\": 1}"},
    {"hermes", 0, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"1\n2\\d\"}}</tool_call>",
     "t(f){\"a\": \"1\\n2\\\\d\"}"},
    {"hermes", 0, "<tool_call>{\"name\":\"f\",\"parameters\":{\"a\":-1.5e3,}}", "t(f){\"a\": -1.5e3}"},
    {"hermes", 0, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":[1,oops}}", "t(f){\"a\": [1, null]}c(oops}})"},
    {"hermes", 0, "<tool_call>\n```json\n{\"name\": \"f\", \"arguments\": {}}\n```\n</tool_call>\nbye", "t(f){}c(bye)"},
    {"hermes", 0, "<tool_call>\n```python\n1", "c(<tool_call>\n```python\n1)"},
    {"hermes", 0, "<tool_call>{\"name\":\"a b\",\"arguments\":{}}",
     "c(<tool_call>{\"name\":\"a b\",\"arguments\":{}})"},
    {"hermes", 0, "<tool_call>{\"a\":<tool_call>{\"name\":\"f\"}", "c(<tool_call>{\"a\":)t(f){}"},
    {"hermes", OPEN, "so <tool_call>\n{\"name\":\"f\",\"arguments\":{}}</tool_call> hm\n</think>\nHi",
     "r(so <tool_call>\n{\"name\":\"f\",\"arguments\":{}}</tool_call> hm)c(Hi)"},
    {"mistral", 0, "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}},{\"name\":\"g\",\"arguments\":{}}]", "t(f){}t(g){}"},
    {"mistral", 0, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"123456789\"}]",
     "t(f/123456789){\"a\": 1}"},
    {"nemotron", OPEN, "hm\n</think>\n\n<TOOLCALL>[{\"name\": \"f\", \"arguments\": {\"n\": 1}}]</TOOLCALL>\n",
     "r(hm)t(f){\"n\": 1}"},
    {"command-r7b", 0,
     "<|START_THINKING|>hm<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"f\", "
     "\"parameters\": {\"n\": 1}},\n    {\"tool_call_id\": \"1\", \"tool_name\": \"g\", \"parameters\": "
     "{}}\n]<|END_ACTION|>",
     "r(hm)t(f/0){\"n\": 1}t(g/1){}"},
    {"command-r", 0,
     "I will look.\nAction: ```json\n[\n    {\n        \"tool_name\": \"f\",\n        \"parameters\": {\"n\": 1}\n    "
     "},\n"
     "    {\n        \"tool_name\": \"g\",\n        \"parameters\": {}\n    }\n]```",
     "c(I will look.)t(f){\"n\": 1}t(g){}"},
    {"command-r", 0,
     "Action:```json\n[\n    {\n        \"tool_name\": \"directly_answer\",\n        \"parameters\": {}\n    }\n]```",
     ""},
    {"command-r", 0, "Action: none\n", "c(Action: none\n)"},
    {"command-r", 0, "Action:\n```json\n[{\"tool_name\": \"f\", \"parameters\": {\"n\": 1}}]\n```", "t(f){\"n\": 1}"},
    {"apertus", 0, "<|tools_prefix|>[{\"f\": {\"n\": 1}}, {\"g\": {}}]<|tools_suffix|>", "t(f){\"n\": 1}t(g){}"},
    {"firefunction", 0, " functools[{\"name\": \"f\", \"arguments\": {\"n\": 1}}]", "t(f){\"n\": 1}"},
    {"granite", 0, "<think>hm</think><|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]", "r(hm)t(f){}"},
    {"granite", 0, "<tool_call> [{\"name\": \"f\", \"arguments\": {\"n\": 1}}]", "t(f){\"n\": 1}"},
    {"granite-fc", 0,
     "<function_call> {\"name\": \"f\", \"arguments\": {}} <function_call> {\"name\": \"g\", \"arguments\": {}}",
     "t(f){}t(g){}"},
    {"phi-4", 0, "functools[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]",
     "t(f){}t(g){}"},
    {"internlm-2", 0, "Ok<|action_start|><|plugin|>\n{\"name\": \"f\", \"parameters\": {\"n\": 1}}<|action_end|>\n",
     "c(Ok)t(f){\"n\": 1}"},
    {"longcat", 0,
     "<longcat_think>hm</longcat_think><longcat_tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</longcat_tool_call>",
     "r(hm)t(f){}"},
    {"phi-4", 0, "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]<|/tool_call|>", "t(f){}"},
    {"hunyuan", 0, "Ok <tool_calls>[{\"name\": \"f\", \"arguments\": {}}]</tool_calls>", "c(Ok)t(f){}"},
    {"apriel-thinker", OPEN,
     "hm\n[BEGIN FINAL RESPONSE]\n<tool_calls>[{\"name\": \"f\", \"arguments\": {}}]</tool_calls>",
     "r(Here are my reasoning steps:\n\nhm)t(f){}"},
    {"gigachat-3", 0, "Hi<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"f\", \"arguments\": {}}",
     "c(Hi)t(f){}"},
    {"gigachat-3.1", 0, "<|function_call|>{\"name\": \"f\", \"arguments\": {\"n\": 1}}", "t(f){\"n\": 1}"},
    /* without markers */
    {"llama-3", 0, "{\"name\": \"f\", \"parameters\": {\"x\": \"\xC3\xA4\"}}", "t(f){\"x\": \"\xC3\xA4\"}"},
    {"llama-3", 0,
     "{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}",
     "t(f){}t(g){}"},
    {"llama-3", 0, "{\"name\": \"nobody\", \"parameters\": {}}", "c({\"name\": \"nobody\", \"parameters\": {}})"},
    {"llama-3", 0, "{\"name\": \"f\", \"age\": 3}", "c({\"name\": \"f\", \"age\": 3})"},
    {"llama-3", 0, "{\"name\": \"f\"}", "c({\"name\": \"f\"})"},
    {"llama-3", 0, "{\"name\": \"f\", \"parameters\": {}}\n{\"name\": \"g\", \"arguments\": {}} bye {x}",
     "t(f){}t(g){}c(bye {x})"},
    {"llama-3", 0, "[{\"name\": \"f\", \"parameters\": {}}, {\"name\": \"g\", \"parameters\": {}}]", "t(f){}t(g){}"},
    {"llama-3", 0, "if (a[0]) { b = {\"name\": 1}; }", "c(if (a[0]) { b = {\"name\": 1}; })"},
    {"llama-3", NO_TOOLS, "{\"name\": \"f\", \"parameters\": {}}", "c({\"name\": \"f\", \"parameters\": {}})"},
    {"llama-3", 0, "{no call}", "c({no call})"},
    {"llama-3", 0, "Hi {\"name\": \"f\", \"parameters\": {}}", "c(Hi)t(f){}"},
    {"llama-3", 0, "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "t(f){}"},
    {"llama-3", 0, "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"n\": 1}};{\"name\": \"g\", \"parameters\": {}}",
     "t(f){\"n\": 1}t(g){}"},
    {"llama-4", 0, "<|python_start|>{\"name\": \"f\", \"parameters\": {\"n\": 1}}<|python_end|>", "t(f){\"n\": 1}"},
    {"llama-3", 0, "<|python_tag|>brave_search.call(query=\"a b\")", "t(brave_search){\"query\": \"a b\"}"},
    {"functionary-v3.2", 0, "all\nHello,\nyou", "c(Hello,\nyou)"},
    {"functionary-v3.2", 0, "f\n{\"n\": 1}>>>g\n{}", "t(f){\"n\": 1}t(g){}"},
    {"functionary-v3.2", 0, "all\nHi>>>f\n{\"n\": 1}", "c(Hi)t(f){\"n\": 1}"},
    {"functionary-v3.2", 0, "Hello you", "c(Hello you)"},
    {"pythonic", 0, "[f(n=1, s='it\\'s'), g()]", "t(f){\"n\": 1, \"s\": \"it's\"}t(g){}"},
    {"pythonic", 0, "<|python_start|>[f(n=1), g()]<|python_end|>", "t(f){\"n\": 1}t(g){}"},
    {"pythonic", 0, "Look: [f(s=\"[x](y)\")] done", "c(Look:)t(f){\"s\": \"[x](y)\"}c(done)"},
    {"pythonic", 0, "see [nobody(n=1)]", "c(see [nobody(n=1)])"},
    {"pythonic", 0, "[f(7, 'it', b=False)]", "t(f){\"n\": 7, \"s\": \"it\", \"b\": false}"},
    {"pythonic", 0, "[f(None, s)]", "t(f){\"n\": null, \"s\": null}c(s)])"},
    {"pythonic", 0, "[g(1)]", "t(g){}c(1)])"},
    {"pythonic", 0, "[link text](url) and [Wiki](http://x)", "c([link text](url) and [Wiki](http://x))"},
    /* names before JSON */
    {"functionary-v3.1", 0, "<function=f>{\"n\": 1}</function>", "t(f){\"n\": 1}"},
    {"mistral-args", 0, "ok[TOOL_CALLS]f[ARGS]{\"a\": 2}[TOOL_CALLS]g[ARGS]{}", "c(ok)t(f){\"a\": 2}t(g){}"},
    {"mistral-args", 0, "[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{\"n\": 1}", "t(f/123456789){\"n\": 1}"},
    {"mistral-args", 0, "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{\"n\":1}}]", "t(f){\"n\": 1}"},
    {"mistral-args", 0, "[THINK]say [TOOL_CALLS]f[ARGS]{} or[/THINK][TOOL_CALLS]f[ARGS]{}",
     "r(say [TOOL_CALLS]f[ARGS]{} or)t(f){}"},
    {"kimi-k2", 0,
     "<think>hm</"
     "think>Hi<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"n\": "
     "1}<|tool_call_end|><|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_"
     "calls_section_end|>",
     "r(hm)c(Hi)t(f/functions.f:0){\"n\": 1}t(g/functions.g:1){}"},
    {"kimi-k2", 0,
     "<think>two<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"n\": "
     "1}<|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{}",
     "r(two)t(f/functions.f:0){\"n\": 1}t(g/functions.g:1){}"},
    {"kimi-k2", 0, "<think>a <|tool_call_begin|>!</think>b", "r(a <|tool_call_begin|>!)c(b)"},
    {"deepseek-v3.1", OPEN,
     "hm</think>Hi" DS("calls" GAP "begin") DS("call" GAP "begin") "f" DS("sep") "{\"n\": 1}" DS("call" GAP "end")
         DS("call" GAP "begin") "g" DS("sep") "{}" DS("call" GAP "end") DS("calls" GAP "end"),
     "r(hm)c(Hi)t(f){\"n\": 1}t(g){}"},
    {"deepseek-r1", OPEN,
     "</think>" DS("calls" GAP "begin") DS("call" GAP "begin") "function" DS("sep") "f\n```json\n{\"n\": 1}```" DS(
         "call" GAP "end") DS("calls" GAP "end"),
     "t(f){\"n\": 1}"},
    {"solar", 0, "<|tool_calls|><|tool_call:begin|>a1<|tool_call:name|>f<|tool_call:args|>{\"n\": 1}<|tool_call:end|>",
     "t(f/a1){\"n\": 1}"},
    {"gpt-oss", 0,
     "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f "
     "<|constrain|>json<|message|>{\"a\":1}<|call|>",
     "r(hm)t(f){\"a\": 1}"},
    {"gpt-oss", 0, " to=functions.f<|channel|>analysis<|message|>{\"n\": 1}", "t(f){\"n\": 1}"},
    {"gpt-oss", 0, "<|channel|>commentary<|message|>Hi", "c(Hi)"},
    {"gpt-oss", KEEP, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hi",
     "c(<|channel|>analysis<|message|>hm<|end|>Hi)"},
    {"gpt-oss", 0,
     "<|channel|>analysis<|message|>hm<|end|><|start|>assistant to=container.exec<|channel|>commentary<|message|>ls",
     "r(hm)"},
    {"gpt-oss", 0,
     "<|channel|>commentary to=assistant<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final "
     "<|constrain|>json<|message|>{}<|return|>",
     "r(hm)c({})"},
    {"gpt-oss", 0, "Hello", "c(Hello)"},
    {"gpt-oss", 0, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|chan", "r(hm)"},
    {"gpt-oss", 0, "assist", "c(assist)"},
    /* tags */
    {"qwen3-coder", 0,
     "<tool_call>\n<function=f>\n<parameter=n>\n1\n</parameter>\n<parameter=z>\nx "
     "y\n</parameter>\n</function>\n</tool_call>",
     "t(f){\"n\": 1, \"z\": \"x y\"}"},
    {"qwen3-coder", 0,
     "<tool_call>\n<function=f>\n<parameter=s>\n5\n</parameter>\n<parameter=e>\n5\n</parameter>\n<parameter=r>\n\"q\"\n"
     "</parameter>\n<parameter=ni>\n42\n</parameter>\n<parameter=ns>\nhi\n</parameter>\n<parameter=b>\nTrue\n</"
     "parameter>"
     "\n<parameter=o>\n{ \"a\": 3.14 }\n</parameter>\n</function>\n</tool_call>",
     "t(f){\"s\": \"5\", \"e\": \"5\", \"r\": \"\\\"q\\\"\", \"ni\": 42, \"ns\": \"hi\", \"b\": true, \"o\": {\"a\": "
     "3.14}}"},
    {"qwen3-coder", 0,
     "<tool_call>\n<function=f>\n<parameter=s>\n  a\n "
     "</param\n\n</parameter>\n<parameter=r>\n\n</parameter>\n</function>\n"
     "</tool_call>",
     "t(f){\"s\": \"  a\\n </param\\n\", \"r\": \"\"}"},
    {"qwen3-coder", OPEN,
     "look\n<tool_call>\n<function=f>\n<parameter=s>\npwd\n</parameter>\n</function>\n</tool_call>",
     "r(look)t(f){\"s\": \"pwd\"}"},
    {"qwen3-coder", 0, "Go.\n<function=g>\n</function>\n</tool_call>\n<tool_call>\n<function=f>\n</function>",
     "c(Go.)t(g){}t(f){}"},
    {"qwen3-coder", 0, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 1}}\n</tool_call>", "t(f){\"n\": 1}"},
    {"qwen3-coder", 0, "<tool_call> is a tag", "c(<tool_call> is a tag)"},
    {"glm-4", 0, "<tool_call>f\n<arg_key>l</arg_key>\n<arg_value>[\"x\"]</arg_value>\n</tool_call>",
     "t(f){\"l\": [\"x\"]}"},
    {"glm-4", OPEN,
     "hm</think><tool_call>f<arg_key>n</arg_key><arg_value>1</arg_value></tool_call><tool_call>g</tool_call>",
     "r(hm)t(f){\"n\": 1}t(g){}"},
    {"glm-4", 0,
     "<tool_call>f\n<arg_key>ol</arg_key>\n<arg_value>[{\\\"id\\\": 1, \\\"t\\\": "
     "\\\"a\\\"}]</arg_value>\n</tool_call>",
     "t(f){\"ol\": [{\"id\": 1, \"t\": \"a\"}]}"},
    {"glm-4", 0, "<tool_call>not a call</tool_call>", "c(<tool_call>not a call</tool_call>)"},
    {"hunyuan-3", 0,
     "<tool_calls:opensource>\n<tool_call:opensource>f<tool_sep:opensource>\n<arg_key:opensource>n</"
     "arg_key:opensource>\n"
     "<arg_value:opensource>1</arg_value:opensource>\n</tool_call:opensource>\n</tool_calls:opensource>",
     "t(f){\"n\": 1}"},
    {"minimax-m2", OPEN,
     "\n</think>\n\n<minimax:tool_call>\n<invoke name=\"f\">\n<parameter "
     "name=\"n\">1</parameter>\n</invoke>\n</minimax:tool_call>",
     "t(f){\"n\": 1}"},
    {"seed-oss", 0,
     "<seed:tool_call>\n<function=f>\n<parameter=s>def f(a = \"1\"):\n  "
     "pass\n</parameter>\n</function>\n</seed:tool_call>\n"
     "<seed:tool_call>\n<function=g>\n</function>\n</seed:tool_call>",
     "t(f){\"s\": \"def f(a = \\\"1\\\"):\\n  pass\\n\"}t(g){}"},
    {"deepseek-v3.2", OPEN,
     "hm</think>Hi.\n\n<" DSML "function_calls>\n<" DSML "invoke name=\"f\">\n<" DSML
     "parameter name=\"n\" string=\"false\">-14</" DSML "parameter>\n<" DSML
     "parameter name=\"s\" string=\"true\">5</" DSML "parameter>\n</" DSML "invoke>\n<" DSML
     "invoke name=\"g\">\n</" DSML "invoke>\n</" DSML "function_calls>",
     "r(hm)c(Hi.)t(f){\"n\": -14, \"s\": \"5\"}t(g){}"},
    {"deepseek-v4", OPEN,
     "check\n\n<" DSML "tool_calls>\n<" DSML "invoke name=\"f\">\n</" DSML "invoke>\n</" DSML "tool_calls>",
     "r(check)t(f){}"},
    {"step-3", OPEN,
     "hm</think>Ok" STEP("calls_begin") STEP("call_begin") "function" STEP(
         "sep") "<steptml:invoke name=\"f\"><steptml:parameter "
                "name=\"n\">1</steptml:parameter></steptml:invoke>" STEP("call_end") STEP("calls_end"),
     "r(hm)c(Ok)t(f){\"n\": 1}"},
    {"minicpm5", 0,
     "<function name=\"f\"><param name=\"s\"><![CDATA[<a> </param>]]></param></function>\n<function name=\"g\">"
     "</function>",
     "t(f){\"s\": \"<a> </param>\"}t(g){}"},
    {"minimax-m3", 0,
     "<mm:think>hm</mm:think>" NS "<tool_call>\n" NS "<invoke name=\"f\">" NS "<n>-14" NS "</n>" NS "<s>foo bar" NS
     "</s>" NS "</invoke>\n" NS "<invoke name=\"g\">" NS "</invoke>\n" NS "</tool_call>",
     "r(hm)t(f){\"n\": -14, \"s\": \"foo bar\"}t(g){}"},
    {"minimax-m3", 0,
     "</mm:think>" NS "<tool_call>\n" NS "<invoke name=\"f\">" NS "<l>" NS "<item>a" NS "</item>" NS "<item>b" NS
     "</item>" NS "</l>" NS "<ol>" NS "<item>" NS "<id>1" NS "</id>" NS "<t>one" NS "</t>" NS "</item>" NS "</ol>" NS
     "<u>" NS "<max>10" NS "</max>" NS "</u>" NS "<us>" NS "<t>hi" NS "</t>" NS "</us>" NS "</invoke>\n" NS
     "</tool_call>",
     "t(f){\"l\": [\"a\", \"b\"], \"ol\": [{\"id\": 1, \"t\": \"one\"}], \"u\": {\"max\": 10}, \"us\": \"" NS "<t>hi" NS
     "</t>\"}"},
    /* signs that are missing: the next one shows the end, if it is no text */
    {"qwen3-coder", 0, "<tool_call>\n<function=f>\n<parameter=s>\na\n<parameter=n>\n1\n</function>\n</tool_call>",
     "t(f){\"s\": \"a\", \"n\": 1}"},
    {"qwen3-coder", 0, "<tool_call>\n<function=f>\n<parameter=s>\na\n</function>\n</tool_call>\nHi",
     "t(f){\"s\": \"a\"}c(Hi)"},
    {"qwen3-coder", 0,
     "<tool_call>\n<function=f>\n<parameter=s>\na\n</tool_call>\n<tool_call>\n<function=g>\n</tool_call>",
     "t(f){\"s\": \"a\"}t(g){}"},
    {"qwen3-coder", 0, "<tool_call>\n<function=f>\n<parameter=n>\n1\n</tool_call>\nHi", "t(f){\"n\": 1}c(Hi)"},
    {"qwen3-coder", 0,
     "<tool_call>\n<function=f>\n<parameter=s>\na\n<parameter=zz>\nb</function>\n</function>\nc\n</tool_call>\nd\n"
     "</parameter>\n</function>\n</tool_call>",
     "t(f){\"s\": \"a\\n<parameter=zz>\\nb</function>\\n</function>\\nc\\n</tool_call>\\nd\"}"},
    /* all arguments in one parameter */
    {"deepseek-v4", 0,
     "<" DSML "tool_calls>\n<" DSML "invoke name=\"f\">\n<" DSML
     "parameter name=\"arguments\" string=\"false\">{\"n\":1,\"s\":\"a\"}</" DSML "parameter>\n</" DSML
     "invoke>\n</" DSML "tool_calls>",
     "t(f){\"n\": 1, \"s\": \"a\"}"},
    {"deepseek-v3.2", 0,
     "<" DSML "function_calls>\n<" DSML "invoke name=\"f\">\n<" DSML
     "parameter name=\"input\" string=\"true\">{\"n\":1}</" DSML "parameter>\n</" DSML "invoke>\n<" DSML
     "invoke name=\"f\">\n<" DSML "parameter name=\"input\" string=\"true\">{\"zz\":1}</" DSML "parameter>\n</" DSML
     "invoke>\n<" DSML "invoke name=\"f\">\n<" DSML "parameter name=\"input\" string=\"false\">{\"n\":1}</" DSML
     "parameter>\n<" DSML "parameter name=\"n\" string=\"false\">2</" DSML "parameter>\n</" DSML "invoke>\n</" DSML
     "function_calls>",
     "t(f){\"n\": 1}t(f){\"input\": \"{\\\"zz\\\":1}\"}t(f){\"input\": {\"n\": 1}, \"n\": 2}"},
    {"mistral-args", 0, "[TOOL_CALLS]f{\"n\": 1}[TOOL_CALLS]g[ARGS]{}", "t(f){\"n\": 1}t(g){}"},
    {"mistral", 0, "[TOOL_CALLS]f{\"n\": 1}", "t(f){\"n\": 1}"},
    {"mistral", 0, "[TOOL_CALLS]g[ARGS]{}", "t(g){}"},
    {"hunyuan", 0,
     "<tool_calls>\n{\"name\": \"f\", \"arguments\": {\"n\": 1}}\n{\"name\": \"g\", \"arguments\": {}}\n</tool_calls> "
     "{x}",
     "t(f){\"n\": 1}t(g){}c({x})"},
    {"firefunction", 0, "<|tool_call|>[{\"name\": \"g\", \"arguments\": {}}]<|/tool_call|>", "t(g){}"},
    /* the family's other spelling */
    {"deepseek-v3.1", 0,
     DS("calls" GAP "begin") DS("call" GAP "begin") "function" DS("sep") "f\n```json\n{\"n\": 1}\n```" DS("call" GAP
                                                                                                          "end")
         DS("call" GAP "begin") "function" DS("sep") "g\n```json\n{}\n```" DS("call" GAP "end") DS("calls" GAP "end"),
     "t(f){\"n\": 1}t(g){}"},
    {"deepseek-r1", 0,
     DS("calls" GAP "begin") DS("call" GAP "begin") "f" DS("sep") "{\"n\":1}" DS("call" GAP "end")
         DS("call" GAP "begin") "g" DS("sep") "{}" DS("call" GAP "end") DS("calls" GAP "end"),
     "t(f){\"n\": 1}t(g){}"},
    {"functionary-v2", 0,
     "all\n<|content|>Hi\n<|from|>assistant\n<|recipient|>f\n<|content|>{\"n\": 1}\n<|from|>assistant\n<|recipient|>g\n"
     "<|content|>{}<|stop|>",
     "c(Hi)t(f){\"n\": 1}t(g){}"},
    {"functionary-v2", 0, "f\n<|content|>{\"n\": 1}", "t(f){\"n\": 1}"},
    {"xlam", 0, "[{\"name\": \"f\", \"arguments\": {\"n\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
     "t(f){\"n\": 1}t(g){}"},
    {"xlam", 0,
     "Hi.\n```json\n[{\"name\": \"f\", \"arguments\": {\"n\": 1}}, {\"name\": \"g\", \"arguments\": {}}]\n```\nBye",
     "c(Hi.)t(f){\"n\": 1}t(g){}c(Bye)"},
    {"xlam", 0, "Hi.[TOOL_CALLS][{\"name\": \"g\", \"arguments\": {}}]", "c(Hi.)t(g){}"},
    {"xlam", 0, "Hi.<tool_call>[{\"name\": \"g\", \"arguments\": {}}]</tool_call>", "c(Hi.)t(g){}"},
    {"xlam", 0, "Code:\n```json\n{\"a\": [1]}\n```", "c(Code:\n```json\n{\"a\": [1]}\n```)"},
    {"functiongemma", 0,
     "Hi<start_function_call>call:f{s:<escape>Lon, \"x\" "
     "<e<escape>,n:3,b:true,o:{t:<escape>d<escape>},l:[<escape>a<escape>]}"
     "<end_function_call><start_function_call>call:g{}<end_function_call><start_function_response>",
     "c(Hi)t(f){\"s\": \"Lon, \\\"x\\\" <e\", \"n\": 3, \"b\": true, \"o\": {\"t\": \"d\"}, \"l\": [\"a\"]}t(g){}"},
    /* Python's and Gemma's signs */
    {"lfm2", 0, "Let me.<|tool_call_start|>[f(n=1, b=True), Cal.make(p=[\"A\", 'B'], m={'x': None})]<|tool_call_end|>",
     "c(Let me.)t(f){\"n\": 1, \"b\": true}t(Cal.make){\"p\": [\"A\", \"B\"], \"m\": {\"x\": null}}"},
    {"lfm2", 0, "<|tool_call_start|>[f(s=\"a\\n\\t\\\"b\\\" c\", o={\"k\": true, \"z\": null})]<|tool_call_end|>",
     "t(f){\"s\": \"a\\n\\t\\\"b\\\" c\", \"o\": {\"k\": true, \"z\": null}}"},
    {"lfm2", 0,
     "<|tool_call_start|>[{\"name\": \"f\", \"arguments\": {\"n\": 1}}, {\"name\": \"g\", \"arguments\": "
     "{}}]<|tool_call_end|>",
     "t(f){\"n\": 1}t(g){}"},
    {"lfm2", 0, "<|tool_call_start|>{\"name\": \"f\", \"parameters\": {}}<|tool_call_end|>", "t(f){}"},
    {"olmo-3", 0, "<function_calls>\nf(n=1)\ng()\n</function_calls>\nbye", "t(f){\"n\": 1}t(g){}c(bye)"},
    {"olmo-3", 0, "<function_calls>[f(n=1), g()]</function_calls>", "t(f){\"n\": 1}t(g){}"},
    {"lfm2", 0, "<think>or <|tool_call_start|>[f()]<|tool_call_end|></think><|tool_call_start|>[g()]<|tool_call_end|>",
     "r(or <|tool_call_start|>[f()]<|tool_call_end|>)t(g){}"},
    {"lfm2", 0, "<|tool_call_start|>[f(s=\"\"\"two\n\"lines\" \"\"\", l=(1, 2,))]<|tool_call_end|>",
     "t(f){\"s\": \"two\\n\\\"lines\\\" \", \"l\": [1, 2]}"},
    {"gemma4", 0,
     "Hi<|tool_call>call:f{s:<|\"|>Lon<|d \"on\" "
     "<|\"|>,n:-7,b:true,o:{t:<|\"|>d<|\"|>,c:3},l:[]}<tool_call|><|tool_call>"
     "call:g{}<tool_call|>",
     "c(Hi)t(f){\"s\": \"Lon<|d \\\"on\\\" \", \"n\": -7, \"b\": true, \"o\": {\"t\": \"d\", \"c\": 3}, \"l\": "
     "[]}t(g){}"},
};

static const struct myna__chat_format *row(const char *name) {
  for (int i = 0;; i++) {
    const struct myna__chat_format *f = myna__chat_format_row(i);
    assert_non_null(f);
    if (strcmp(f->name, name) == 0) return f;
  }
}

static myna_chat_parser *new_parser_of(const answer *a, const struct myna__chat_format *f) {
  myna_chat_parser *p;
  char text[128];
  snprintf(text, sizeof text, "user: hi %s%s", a->flags & OPEN ? f->think_start : "", a->flags & OPEN ? "\n" : "");
  myna_chat_prompt prompt = {.text = text, .text_len = strlen(text), .thinking_open = a->flags & OPEN};
  prompt.tools = (char *)(uintptr_t)tools_text;
  myna_chat_parser_options o = {
      .tools = !(a->flags & NO_TOOLS), .keep_reasoning = a->flags & KEEP, .one_tool_call = a->flags & ONE};
  ASSERT_OK(myna__chat_parser_new(&p, f, &prompt, &o, NULL));
  return p;
}

static myna_chat_parser *new_parser(const answer *a) { return new_parser_of(a, row(a->format)); }

typedef struct seen {
  char text[4096];
  size_t len;
  int kind, call; /* of the last delta */
} seen;

static void put(seen *s, const char *fmt, const char *text) {
  s->len += (size_t)snprintf(s->text + s->len, sizeof s->text - s->len, fmt, text);
  assert_true(s->len < sizeof s->text);
}

static void add(seen *s, const myna_delta *d, int n) {
  for (int k = 0; k < n; k++) {
    bool call = d[k].kind == MYNA_DELTA_TOOL_CALL, args = d[k].kind == MYNA_DELTA_ARGUMENTS;
    assert_int_equal(strlen(d[k].text), d[k].len);
    if (call) assert_int_equal(d[k].index, s->call++);
    if (args) assert_int_equal(d[k].index, s->call - 1);
    if (!args && (call || s->kind != (int)d[k].kind)) {
      if (s->kind == MYNA_DELTA_CONTENT || s->kind == MYNA_DELTA_REASONING) put(s, ")", "");
      put(s, call ? "t(%s" : d[k].kind == MYNA_DELTA_CONTENT ? "c(%s" : "r(%s", d[k].text);
      if (call && strncmp(d[k].id, "call_", 5) != 0) put(s, "/%s", d[k].id);
      if (call) put(s, ")", "");
    } else {
      put(s, "%s", d[k].text);
    }
    s->kind = (int)d[k].kind;
  }
}

/* The first `cut` bytes, then the rest in pieces of `every` bytes, up to n of them. */
static void run(const answer *a, size_t n, size_t cut, size_t every, seen *s) {
  myna_chat_parser *p = new_parser(a);
  *s = (seen){.kind = -1};
  size_t at = 0;
  do {
    size_t part = MYNA__MIN(at ? every : cut, n - at);
    const myna_delta *d;
    int count = myna_chat_parser_push(p, a->text + at, part, at + part == n, &d, NULL);
    ASSERT_OK(count);
    add(s, d, count);
    at += part;
  } while (at < n);
  if (s->kind == MYNA_DELTA_CONTENT || s->kind == MYNA_DELTA_REASONING) put(s, ")", "");
  myna_chat_parser_free(p);
}

static void test_splits(void **state) {
  for (size_t i = 0; i < MYNA__COUNT(answers); i++) {
    size_t n = strlen(answers[i].text);
    for (size_t cut = 1; cut <= n; cut++)
      for (int every = 0; every < 2; every++) {
        seen s;
        run(&answers[i], n, cut, every ? 1 : n, &s);
        if (strcmp(s.text, answers[i].want) != 0)
          fail_msg("%s %s cut at %zu:\n%s, not\n%s", answers[i].format, answers[i].text, cut, s.text, answers[i].want);
      }
  }
}

/* An answer that ends anywhere: no error, and what had been told before it was cut stays. */
static void test_cuts(void **state) {
  for (size_t i = 0; i < MYNA__COUNT(answers); i++) {
    size_t n = strlen(answers[i].text);
    for (size_t end = 0; end < n; end++) {
      seen whole, bytes;
      run(&answers[i], end, MYNA__MAX(end, 1), 1, &whole);
      run(&answers[i], end, 1, 1, &bytes);
      if (strcmp(whole.text, bytes.text) != 0)
        fail_msg("%s %.*s:\n%s, not\n%s", answers[i].format, (int)end, answers[i].text, bytes.text, whole.text);
      bool calls = strstr(whole.text, "t(") != NULL;
      /* Without a call every byte but blanks at the borders is somewhere. */
      if (!calls && strcmp(answers[i].format, "plain") == 0) assert_true(whole.len >= end);
    }
  }
}

/* Names go out before the arguments, and those before the call ends. */
static void test_early(void **state) {
  static const answer cases[] = {
      {"hermes", 0, "<tool_call>{\"name\": \"f\"", "t(f)"},
      {"hermes", 0, "<tool_call>{\"name\": \"f\", \"arguments\": {\"s\": \"long te", "t(f){\"s\": \"long te"},
      {"qwen3-coder", 0, "<tool_call>\n<function=f>", "t(f)"},
      {"qwen3-coder", 0, "<tool_call>\n<function=f>\n<parameter=s>\nlong te", "t(f){\"s\": \"long te"},
      {"kimi-k2", 0,
       "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"n\": ", "t(f/functions.f:0){\"n\": "},
      {"lfm2", 0, "<|tool_call_start|>[f(n=", "t(f){\"n\": "},
      {"command-r7b", 0, "<|START_ACTION|>[\n {\"tool_call_id\": \"0\", \"tool_name\": \"f\", ", "t(f/0)"},
      {"gemma4", 0, "<|tool_call>call:f{s:<|\"|>abc", "t(f){\"s\": \"abc"},
      {"gpt-oss", 0, "<|channel|>commentary to=functions.f<|message|>{\"s\":\"a", "t(f){\"s\": \"a"},
  };
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    myna_chat_parser *p = new_parser(&cases[i]);
    seen s = {.kind = -1};
    const myna_delta *d;
    int n = myna_chat_parser_push(p, cases[i].text, strlen(cases[i].text), false, &d, NULL);
    ASSERT_OK(n);
    add(&s, d, n);
    if (strcmp(s.text, cases[i].want) != 0) fail_msg("%s: %s, not %s", cases[i].text, s.text, cases[i].want);
    myna_chat_parser_free(p);
  }
}

/* Long answers of any kind are read in bounded work per byte: these would take hours otherwise. */
static void test_long(void **state) {
  static const struct {
    const char *format, *start, *again;
  } cases[] = {
      {"hermes", "", " "},
      {"hermes", "<tool_call>{\"name\":\"f\",\"arguments\":{\"s\":\"", "x"},
      {"hermes", "<tool_call>{\"arguments\":{\"s\":\"", "<tool_call>"},
      {"hermes", "", "<tool_call>{\"a\":\""},
      {"qwen3-coder", "<tool_call><function=f><parameter=o>", "{"},
      {"qwen3-coder", "<tool_call><function=f><parameter=s>", "\n</parameter"},
      {"think", "<think>", "</think"},
      {"pythonic", "[f(", "a=1,"},
      {"llama-3", "", "{"},
      {"gpt-oss", "<|channel|>", "final"},
      {"minimax-m3", NS "<tool_call>" NS "<invoke name=\"f\">", NS "<o>"},
  };
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    myna_chat_parser *p = new_parser(&(answer){.format = cases[i].format});
    const myna_delta *d;
    ASSERT_OK(myna_chat_parser_push(p, cases[i].start, strlen(cases[i].start), false, &d, NULL));
    for (int k = 0; k < 10000; k++)
      ASSERT_OK(myna_chat_parser_push(p, cases[i].again, strlen(cases[i].again), false, &d, NULL));
    ASSERT_OK(myna_chat_parser_push(p, "", 0, true, &d, NULL));
    myna_chat_parser_free(p);
  }
}

/* ---- answers made at random, of every format ---- */

static const char *ended(myna__buf *b) {
  myna__buf_add(b, "", 1);
  b->len--;
  return b->data;
}

static void word(test_rng *r, myna__buf *b, int n) {
  static const char *const pieces[] = {"a",
                                       "Bc",
                                       " ",
                                       "\xC3\xA9",
                                       "\xE2\x82\xAC",
                                       "\xF0\x9F\x8E\x89",
                                       "\"",
                                       "'",
                                       "{",
                                       "}",
                                       "[",
                                       "]",
                                       ":",
                                       ",",
                                       "<",
                                       "</",
                                       ">",
                                       "\\",
                                       "\\n",
                                       "\n",
                                       "|",
                                       "=",
                                       "1",
                                       "```"};
  myna__buf_str(b, "w");
  for (int i = 0; i < n; i++) myna__buf_str(b, pieces[test_int(r, MYNA__COUNT(pieces))]);
  myna__buf_str(b, "w");
  ended(b);
}

static json_t *random_text(test_rng *r) {
  myna__buf b = {0};
  word(r, &b, (int)test_int(r, 12));
  json_t *v = json_stringn(b.data, b.len);
  myna__buf_free(&b);
  return v;
}

/* Arguments of f, whose types its schema tells. */
static json_t *random_args(test_rng *r) {
  json_t *o = json_object(), *l;
  if (test_int(r, 2)) json_object_set_new(o, "s", random_text(r));
  if (test_int(r, 2)) json_object_set_new(o, "n", json_integer(test_int(r, 2001) - 1000));
  if (test_int(r, 2)) json_object_set_new(o, "b", json_boolean(test_int(r, 2)));
  if (test_int(r, 2)) json_object_set_new(o, "ns", random_text(r));
  if (test_int(r, 3) == 0) json_object_set_new(o, "ni", json_null());
  if (test_int(r, 2)) {
    json_object_set_new(o, "l", l = json_array());
    for (int64_t i = test_int(r, 4); i > 0; i--) json_array_append_new(l, random_text(r));
  }
  if (test_int(r, 2)) json_object_set_new(o, "o", json_pack("{s:i, s:s, s:[i, i]}", "k", 7, "t", "abc", "q", 1, 2));
  return o;
}

static void dump(myna__buf *b, const json_t *v) {
  char *text = json_dumps(v, JSON_ENCODE_ANY);
  assert_non_null(text);
  myna__buf_str(b, text);
  free(text);
}

static void spell(myna__buf *b, const struct myna__chat_format *f, const json_t *v, bool inner) {
  const char *key, *gap = "";
  json_t *sub;
  bool python = f->scheme == MYNA__CALLS_PYTHON, gemma = f->scheme == MYNA__CALLS_GEMMA,
       nested = f->scheme == MYNA__CALLS_NESTED, text = f->scheme == MYNA__CALLS_XML || nested;
  if (json_is_string(v) && (gemma || (text && (!inner || nested)))) {
    const char *quote = !gemma ? "" : f->quote ? f->quote : "<|\"|>";
    myna__buf_printf(b, "%s%s%s", quote, json_string_value(v), quote);
  } else if (json_is_boolean(v) && python) {
    myna__buf_str(b, json_is_true(v) ? "True" : "False");
  } else if (json_is_null(v) && python) {
    myna__buf_str(b, "None");
  } else if (nested && json_is_array(v)) {
    for (size_t i = 0; i < json_array_size(v); i++) {
      myna__buf_printf(b, "%s<item>", f->param);
      spell(b, f, json_array_get(v, i), true);
      myna__buf_printf(b, "%s</item>", f->param);
    }
  } else if (nested && json_is_object(v)) {
    json_object_foreach((json_t *)(uintptr_t)v, key, sub) {
      myna__buf_printf(b, "%s<%s>", f->param, key);
      spell(b, f, sub, true);
      myna__buf_printf(b, "%s</%s>", f->param, key);
    }
  } else if ((python || gemma) && json_is_array(v)) {
    myna__buf_str(b, "[");
    for (size_t i = 0; i < json_array_size(v); i++, gap = ", ") {
      myna__buf_str(b, gap);
      spell(b, f, json_array_get(v, i), true);
    }
    myna__buf_str(b, "]");
  } else if ((python || gemma) && json_is_object(v)) {
    myna__buf_str(b, "{");
    json_object_foreach((json_t *)(uintptr_t)v, key, sub) {
      myna__buf_printf(b, gemma ? "%s%s:" : "%s\"%s\": ", gap, key);
      spell(b, f, sub, true);
      gap = ",";
    }
    myna__buf_str(b, "}");
  } else {
    dump(b, v);
  }
}

/* Parameters one by one, in the format's signs. */
static void spell_params(myna__buf *b, const struct myna__chat_format *f, const json_t *args) {
  const char *key, *gap = "";
  json_t *v;
  json_object_foreach((json_t *)(uintptr_t)args, key, v) {
    if (f->scheme == MYNA__CALLS_NESTED)
      myna__buf_printf(b, "%s<%s>", f->param, key);
    else if (f->scheme == MYNA__CALLS_PYTHON)
      myna__buf_printf(b, "%s%s=", gap, key);
    else
      myna__buf_printf(b, "%s%s%s%s%s%s", f->param, key,
                       f->attr ? json_is_string(v) ? "\" string=\"true" : "\" string=\"false" : "", f->param_sep,
                       f->value_open ? f->value_open : "", f->lines ? "\n" : "");
    spell(b, f, v, false);
    if (f->scheme == MYNA__CALLS_NESTED)
      myna__buf_printf(b, "%s</%s>", f->param, key);
    else if (f->scheme == MYNA__CALLS_XML)
      myna__buf_printf(b, "%s%s\n", f->lines ? "\n" : "", f->param_end);
    gap = ", ";
  }
}

/* Call i of name with args as a model writes it, and what it is. */
static void spell_call(myna__buf *b, myna__buf *want, const struct myna__chat_format *f, int i, const char *name,
                       const json_t *args) {
  bool json = f->scheme == MYNA__CALLS_JSON, python = f->scheme == MYNA__CALLS_PYTHON,
       list = json ? f->array : python && !f->lines;
  if (i == 0 || !list)
    myna__buf_printf(b, "%s%s", f->open && !(i && f->lines && python) ? f->open : "", list ? "[" : "");
  if (i && (list || (python && f->lines))) myna__buf_str(b, list ? ", " : "\n");
  if (json && f->name_key) {
    myna__buf_printf(b, "{\"%s\": \"%s\", \"%s\": ", f->name_key, name, f->args_key);
    dump(b, args);
    myna__buf_str(b, "}");
  } else if (json) {
    myna__buf_printf(b, "{\"%s\": ", name);
    dump(b, args);
    myna__buf_str(b, "}");
  } else if (f->scheme == MYNA__CALLS_HARMONY) {
    myna__buf_printf(b, "<|channel|>commentary to=functions.%s <|constrain|>json<|message|>", name);
    dump(b, args);
    myna__buf_str(b, "<|call|><|start|>assistant");
  } else if (f->scheme == MYNA__CALLS_NAMED) {
    if (f->id_before) myna__buf_printf(b, "id%d%s", i, f->id_before);
    if (f->call_ids) myna__buf_printf(b, "functions.%s:%d%s", name, i, f->sep);
    if (!f->call_ids) myna__buf_printf(b, "%s%s", name, f->sep);
    dump(b, args);
  } else if (f->scheme == MYNA__CALLS_GEMMA) {
    myna__buf_str(b, name);
    spell(b, f, args, true);
  } else {
    myna__buf_printf(b, "%s%s", name, python ? "(" : f->sep);
    spell_params(b, f, args);
    if (python) myna__buf_str(b, ")");
  }
  if (!list && !(python && f->lines) && f->close) myna__buf_str(b, f->close);
  myna__buf_printf(want, "t(%s", name);
  if (f->id_before) myna__buf_printf(want, "/id%d", i);
  if (f->call_ids) myna__buf_printf(want, "/functions.%s:%d", name, i);
  myna__buf_str(want, ")");
  dump(want, args);
}

/* An answer of format f: reasoning, content, calls, each of them or not. */
static void random_answer(test_rng *r, const struct myna__chat_format *f, myna__buf *b, myna__buf *want) {
  bool harmony = f->scheme == MYNA__CALLS_HARMONY,
       end = f->section_close || f->scheme == MYNA__CALLS_PYTHON || f->array;
  myna__buf text = {0};
  if (f->think_start[0] && test_int(r, 2)) {
    word(r, &text, (int)test_int(r, 20));
    myna__buf_printf(b, "%s%s%s%s", f->think_start, text.data, f->think_end, harmony ? "<|start|>assistant" : "");
    myna__buf_printf(want, "r(%s)", text.data);
  }
  text.len = 0;
  bool content = test_int(r, 2);
  if (content || f->scheme == MYNA__CALLS_NONE) {
    word(r, &text, (int)test_int(r, 20));
    const char *before = harmony                                     ? "<|channel|>final<|message|>"
                         : f->bare && f->scheme == MYNA__CALLS_NAMED ? f->drop[0] + strlen(f->open)
                                                                     : "";
    myna__buf_printf(b, "%s%s%s", before, text.data, harmony ? "<|end|><|start|>assistant" : "");
    myna__buf_printf(want, "c(%s)", text.data);
  }
  myna__buf_free(&text);
  int n = f->scheme == MYNA__CALLS_NONE ? 0 : (int)test_int(r, 4);
  if (n && f->section_open) myna__buf_str(b, f->section_open);
  for (int i = 0; i < n; i++) {
    json_t *args = test_int(r, 4) ? random_args(r) : json_object();
    spell_call(b, want, f, i, "f", args);
    json_decref(args);
  }
  bool list = f->scheme == MYNA__CALLS_JSON ? f->array : f->scheme == MYNA__CALLS_PYTHON && !f->lines;
  if (n && end)
    myna__buf_printf(b, "%s%s%s", list ? "]" : "", list || f->lines ? f->close ? f->close : "" : "",
                     f->section_close ? f->section_close : "");
}

/* What a model meant is what is read, however the text was split, also within characters and marks. */
static void test_random(void **state) {
  test_rng r = test_rng_new(41);
  for (int i = 0, k = 0; myna__chat_format_row(i); k++, i += k % 12 == 0) {
    const struct myna__chat_format *f = myna__chat_format_row(i);
    myna__buf text = {0}, want = {0};
    random_answer(&r, f, &text, &want);
    seen s = {.kind = -1};
    answer a = {.format = f->name, .text = ended(&text), .want = ended(&want)};
    myna_chat_parser *p = new_parser_of(&a, f);
    for (size_t at = 0, part = 0; at < text.len || !part; at += part) {
      part = 1 + (size_t)test_int(&r, k % 2 ? 3 : 40);
      part = MYNA__MIN(part, text.len - at);
      const myna_delta *d;
      int n = myna_chat_parser_push(p, a.text + at, part, at + part == text.len, &d, NULL);
      ASSERT_OK(n);
      add(&s, d, n);
      if (!part) break;
    }
    if (s.kind == MYNA_DELTA_CONTENT || s.kind == MYNA_DELTA_REASONING) put(&s, ")", "");
    if (strcmp(s.text, a.want) != 0) fail_msg("%s %s:\n%s, not\n%s", f->name, a.text, s.text, a.want);
    myna_chat_parser_free(p);
    myna__buf_free(&text);
    myna__buf_free(&want);
  }
}

/* ---- which format a template's models have ---- */

static const struct {
  const char *file, *format;
  bool thinks;
} templates[] = {
    {"Apertus-8B-Instruct.jinja", "apertus", 1},
    {"Apriel-1.6-15b-Thinker-fixed.jinja", "apriel-thinker", 1},
    {"Bielik-11B-v3.0-Instruct.jinja", "hermes", 1},
    {"ByteDance-Seed-OSS.jinja", "seed-oss", 1},
    {"Cohere2MoE.jinja", "command-r7b", 1},
    {"CohereForAI-c4ai-command-r-plus-tool_use.jinja", "command-r", 0},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja", "command-r7b", 1},
    {"GLM-4.6.jinja", "glm-4", 1},
    {"GLM-4.7-Flash.jinja", "glm-4", 1},
    {"GigaChat3-10B-A1.8B.jinja", "gigachat-3", 0},
    {"GigaChat3.1-10B-A1.8B.jinja", "gigachat-3.1", 0},
    {"HuggingFaceTB-SmolLM3-3B.jinja", "think", 1},
    {"Kimi-K2-Instruct.jinja", "kimi-k2", 1},
    {"Kimi-K2-Thinking.jinja", "kimi-k2", 1},
    {"LFM2-8B-A1B.jinja", "lfm2", 0},
    {"LFM2.5-8B-A1B.jinja", "lfm2", 1},
    {"LFM2.5-Instruct.jinja", "lfm2", 1},
    {"MiMo-VL.jinja", "hermes", 0},
    {"MiniMax-M2.jinja", "minimax-m2", 1},
    {"MiniMax-M3.jinja", "minimax-m3", 1},
    {"Mistral-Small-3.2-24B-Instruct-2506.jinja", "mistral-args", 1},
    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.jinja", "qwen3-coder", 1},
    {"NVIDIA-Nemotron-Nano-v2.jinja", "nemotron", 1},
    {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja", "hermes", 0},
    {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", "hermes", 0},
    {"Qwen-QwQ-32B.jinja", "hermes", 1},
    {"Qwen-Qwen2.5-7B-Instruct.jinja", "hermes", 0},
    {"Qwen-Qwen3-0.6B.jinja", "hermes", 1},
    {"Qwen3-Coder.jinja", "qwen3-coder", 0},
    {"Qwen3.5-4B.jinja", "qwen3-coder", 1},
    {"Reka-Edge.jinja", "hermes", 1},
    {"StepFun3.5-Flash.jinja", "qwen3-coder", 1},
    {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja", "deepseek-r1", 1},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja", "deepseek-r1", 1},
    {"deepseek-ai-DeepSeek-V3.1.jinja", "deepseek-v3.1", 1},
    {"deepseek-ai-DeepSeek-V3.2.jinja", "deepseek-v3.2", 1},
    {"deepseek-ai-DeepSeek-V4-Flash-0731.jinja", "deepseek-v4", 1},
    {"deepseek-ai-DeepSeek-V4.jinja", "deepseek-v4", 1},
    {"fireworks-ai-llama-3-firefunction-v2.jinja", "firefunction", 0},
    {"google-gemma-2-2b-it.jinja", "plain", 0},
    {"google-gemma-4-31B-it-interleaved.jinja", "gemma4", 1},
    {"google-gemma-4-31B-it.jinja", "gemma4", 1},
    {"ibm-granite-granite-3.3-2B-Instruct.jinja", "granite", 1},
    {"ibm-granite-granite-4.0.jinja", "hermes", 0},
    {"ibm-granite-granite-4.1.jinja", "hermes", 0},
    {"llama-cpp-deepseek-r1.jinja", "deepseek-r1", 1},
    {"llama-cpp-rwkv-world.jinja", "think", 1},
    {"meetkai-functionary-medium-v3.1.jinja", "functionary-v3.1", 0},
    {"meetkai-functionary-medium-v3.2.jinja", "functionary-v3.2", 0},
    {"meta-llama-Llama-3.1-8B-Instruct.jinja", "llama-3", 0},
    {"meta-llama-Llama-3.2-3B-Instruct.jinja", "llama-3", 0},
    {"meta-llama-Llama-3.3-70B-Instruct.jinja", "llama-3", 0},
    {"microsoft-Phi-3.5-mini-instruct.jinja", "plain", 0},
    {"mistralai-Ministral-3-14B-Reasoning-2512.jinja", "mistral-args", 1},
    {"mistralai-Mistral-Nemo-Instruct-2407.jinja", "mistral", 1},
    {"moonshotai-Kimi-K2.jinja", "kimi-k2", 1},
    {"openai-gpt-oss-120b.jinja", "gpt-oss", 1},
    {"openbmb-MiniCPM5-1B.jinja", "minicpm5", 1},
    {"poolside-Laguna-S-2.1.jinja", "glm-4", 1},
    {"poolside-Laguna-XS-2.1.jinja", "glm-4", 1},
    {"poolside-Laguna-XS.2.jinja", "glm-4", 1},
    {"tencent-Hy3.jinja", "hunyuan-3", 1},
    {"unsloth-Apriel-1.5.jinja", "apriel-thinker", 1},
    {"unsloth-mistral-Devstral-Small-2507.jinja", "mistral-args", 1},
    {"upstage-Solar-Open-100B.jinja", "solar", 1},
};

static void test_templates(void **state) {
  const char *data = getenv("MYNA_DATA"); /* where the tree is not beside it */
  static char text[1 << 18];
  int absent = 0;
  for (size_t i = 0; i < MYNA__COUNT(templates); i++) {
    char path[512];
    snprintf(path, sizeof path, "%s/templates/jinja/%s", data ? data : MYNA_ROOT "/../shared/data", templates[i].file);
    FILE *f = fopen(path, "rb");
    absent += !f;
    if (!f) continue;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    const struct myna__chat_format *found = myna__chat_format_find(text);
    if (strcmp(found->name, templates[i].format) != 0 || !!found->think_start[0] != templates[i].thinks)
      fail_msg("%s: %s %s", templates[i].file, found->name, found->think_start);
  }
  if (absent) print_message("../shared/data is absent: %d templates skipped\n", absent);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_splits), cmocka_unit_test(test_cuts),
                                     cmocka_unit_test(test_early),  cmocka_unit_test(test_random),
                                     cmocka_unit_test(test_long),   cmocka_unit_test(test_templates)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
