/* chat_format.c: the list of ways in which models write reasoning and tool calls, one row per family, and what a prompt's answer follows from them.
 * Source: the templates that the models ship, and what models with them write. */
#include "text/chat_format.h"

#define THINK .think_start = "<think>", .think_end = "</think>"
#define NO_THINK .think_start = "", .think_end = ""
/* A family whose members reason or not: the template's text tells which. */
#define BOTH(...) \
  {THINK, __VA_ARGS__}, { NO_THINK, __VA_ARGS__ }
#define NAME_ARGS .name_key = "name", .args_key = "arguments", .id_key = "id"
#define DS "\xEF\xBD\x9C" /* U+FF5C, the bar of DeepSeek's tokens; their blank is U+2581 */
#define SP "\xE2\x96\x81"
#define DSML DS "DSML" DS
#define DS_CALLS(edge) "<" DS "tool" SP "calls" SP edge DS ">"
#define DS_CALL(edge) "<" DS "tool" SP "call" SP edge DS ">"
#define DS_SEP "<" DS "tool" SP "sep" DS ">"
#define DS_STEP(what) "<" DS "tool_" what DS ">"
#define HY ":opensource>"
#define M3 "]<]minimax[>["

/* Order: rows whose marks are more particular first. */
static const struct myna__chat_format rows[] = {
    {.name = "gpt-oss",
     .marks = {"<|channel|>", "<|message|>"},
     .scheme = MYNA__CALLS_HARMONY,
     .think_start = "<|channel|>analysis<|message|>",
     .think_end = "<|end|>"},
    {.name = "gemma4",
     .marks = {"<|tool_call>call:"},
     .scheme = MYNA__CALLS_GEMMA,
     .think_start = "<|channel>thought\n",
     .think_end = "<channel|>",
     .open = "<|tool_call>call:",
     .close = "<tool_call|>",
     .drop = {"<channel|>", "<|channel>"},
     .rethink = true},
    {.name = "functiongemma",
     .marks = {"<start_function_call>"},
     NO_THINK,
     .scheme = MYNA__CALLS_GEMMA,
     .open = "<start_function_call>call:",
     .close = "<end_function_call>",
     .quote = "<escape>",
     .drop = {"<start_function_response>"}},
    {.name = "deepseek-v3.2",
     .marks = {DSML, "function_calls"},
     THINK,
     .scheme = MYNA__CALLS_XML,
     .section_open = "<" DSML "function_calls>",
     .section_close = "</" DSML "function_calls>",
     .open = "<" DSML "invoke name=\"",
     .sep = "\">",
     .param = "<" DSML "parameter name=\"",
     .param_sep = "\">",
     .param_end = "</" DSML "parameter>",
     .close = "</" DSML "invoke>",
     .attr = true,
     .unwrap = true,
     .call_ends_think = true},
    {.name = "deepseek-v4",
     .marks = {DSML},
     THINK,
     .scheme = MYNA__CALLS_XML,
     .section_open = "<" DSML "tool_calls>",
     .section_close = "</" DSML "tool_calls>",
     .open = "<" DSML "invoke name=\"",
     .sep = "\">",
     .param = "<" DSML "parameter name=\"",
     .param_sep = "\">",
     .param_end = "</" DSML "parameter>",
     .close = "</" DSML "invoke>",
     .attr = true,
     .unwrap = true,
     .call_ends_think = true},
    /* V3 and R1 name the type of the call first and fence the arguments. */
    {.name = "deepseek-r1",
     .marks = {DS "tool" SP "call" SP "begin" DS, "```json"},
     THINK,
     .scheme = MYNA__CALLS_NAMED,
     .section_open = DS_CALLS("begin"),
     .section_close = DS_CALLS("end"),
     .open = DS_CALL("begin") "function" DS_SEP,
     .sep = "\n```json\n",
     .close = "\n```" DS_CALL("end"),
     .twin = "deepseek-v3.1"},
    {.name = "deepseek-v3.1",
     .marks = {DS "tool" SP "call" SP "begin" DS},
     THINK,
     .scheme = MYNA__CALLS_NAMED,
     .section_open = DS_CALLS("begin"),
     .section_close = DS_CALLS("end"),
     .open = DS_CALL("begin"),
     .sep = DS_SEP,
     .close = DS_CALL("end"),
     .twin = "deepseek-r1"},
    /* Old templates of the family show no reasoning, its thinking models write it all the same. */
    {.name = "kimi-k2",
     .marks = {"<|tool_call_argument_begin|>"},
     THINK,
     .scheme = MYNA__CALLS_NAMED,
     .section_open = "<|tool_calls_section_begin|>",
     .section_close = "<|tool_calls_section_end|>",
     .open = "<|tool_call_begin|>",
     .sep = "<|tool_call_argument_begin|>",
     .close = "<|tool_call_end|>",
     .call_ids = true,
     .call_ends_think = true},
    {.name = "solar",
     .marks = {"<|tool_call:begin|>", "<|tool_call:args|>"},
     .scheme = MYNA__CALLS_NAMED,
     .think_start = "<|think|>",
     .think_end = "<|end|>",
     .section_open = "<|tool_calls|>",
     .open = "<|tool_call:begin|>",
     .id_before = "<|tool_call:name|>",
     .sep = "<|tool_call:args|>",
     .close = "<|tool_call:end|>",
     .drop = {"<|begin|>assistant", "<|content|>", "<|end|>"}},
    {.name = "minimax-m3",
     .marks = {M3},
     .scheme = MYNA__CALLS_NESTED,
     .think_start = "<mm:think>",
     .think_end = "</mm:think>",
     .section_open = M3 "<tool_call>",
     .section_close = M3 "</tool_call>",
     .open = M3 "<invoke name=\"",
     .sep = "\">",
     .param = M3,
     .close = M3 "</invoke>",
     .reopens = true},
    {.name = "minimax-m2",
     .marks = {"<minimax:tool_call>"},
     THINK,
     .scheme = MYNA__CALLS_XML,
     .section_open = "<minimax:tool_call>",
     .section_close = "</minimax:tool_call>",
     .open = "<invoke name=\"",
     .sep = "\">",
     .param = "<parameter name=\"",
     .param_sep = "\">",
     .param_end = "</parameter>",
     .close = "</invoke>"},
    {.name = "seed-oss",
     .marks = {"<seed:tool_call>"},
     .scheme = MYNA__CALLS_XML,
     .think_start = "<seed:think>",
     .think_end = "</seed:think>",
     .section_open = "<seed:tool_call>",
     .section_close = "</seed:tool_call>",
     .open = "<function=",
     .sep = ">",
     .param = "<parameter=",
     .param_sep = ">",
     .param_end = "</parameter>",
     .close = "</function>"},
    {.name = "hunyuan-3",
     .marks = {"<arg_key{}>", "<tool_calls{}>"},
     .scheme = MYNA__CALLS_XML,
     .think_start = "<think" HY,
     .think_end = "</think" HY,
     .section_open = "<tool_calls" HY,
     .section_close = "</tool_calls" HY,
     .open = "<tool_call" HY,
     .sep = "<tool_sep" HY,
     .param = "<arg_key" HY,
     .param_sep = "</arg_key" HY,
     .value_open = "<arg_value" HY,
     .param_end = "</arg_value" HY,
     .close = "</tool_call" HY},
    BOTH(.name = "glm-4", .marks = {"<arg_key>"}, .scheme = MYNA__CALLS_XML, .open = "<tool_call>", .sep = "",
         .param = "<arg_key>", .param_sep = "</arg_key>", .value_open = "<arg_value>", .param_end = "</arg_value>",
         .close = "</tool_call>"),
    BOTH(.name = "qwen3-coder", .marks = {"<tool_call>", "<function=", "<parameter="}, .scheme = MYNA__CALLS_XML,
         .section_open = "<tool_call>", .section_close = "</tool_call>", .open = "<function=", .sep = ">",
         .param = "<parameter=", .param_sep = ">", .param_end = "</parameter>", .close = "</function>", .lines = true,
         .call_ends_think = true),
    {.name = "step-3",
     .marks = {"<steptml:"},
     THINK,
     .scheme = MYNA__CALLS_XML,
     .open = "<steptml:invoke name=\"",
     .sep = "\">",
     .param = "<steptml:parameter name=\"",
     .param_sep = "\">",
     .param_end = "</steptml:parameter>",
     .close = "</steptml:invoke>",
     .drop = {DS_STEP("calls_begin"), DS_STEP("calls_end"), DS_STEP("call_begin") "function" DS_STEP("sep"),
              DS_STEP("call_end")}},
    BOTH(.name = "minicpm5", .marks = {"<function name=", "<param name="}, .scheme = MYNA__CALLS_XML,
         .open = "<function name=\"", .sep = "\">", .param = "<param name=\"", .param_sep = "\">",
         .param_end = "</param>", .close = "</function>", .cdata = true),
    {.name = "functionary-v2",
     .marks = {"<|recipient|>", "<|from|>"},
     NO_THINK,
     .scheme = MYNA__CALLS_NAMED,
     .open = "<|from|>assistant\n<|recipient|>",
     .sep = "\n<|content|>",
     .close = "",
     .drop = {"<|from|>assistant\n<|recipient|>all\n<|content|>", "<|stop|>"},
     .bare = true},
    {.name = "functionary-v3.2",
     .marks = {">>>all"},
     NO_THINK,
     .scheme = MYNA__CALLS_NAMED,
     .open = ">>>",
     .sep = "\n",
     .close = "",
     .drop = {">>>all\n"},
     .bare = true},
    {.name = "functionary-v3.1",
     .marks = {"<function=", "</function>"},
     NO_THINK,
     .scheme = MYNA__CALLS_NAMED,
     .open = "<function=",
     .sep = ">",
     .close = "</function>"},
    {.name = "command-r7b",
     .marks = {"<|START_ACTION|>"},
     .scheme = MYNA__CALLS_JSON,
     .think_start = "<|START_THINKING|>",
     .think_end = "<|END_THINKING|>",
     .open = "<|START_ACTION|>",
     .close = "<|END_ACTION|>",
     .name_key = "tool_name",
     .args_key = "parameters",
     .id_key = "tool_call_id",
     .drop = {"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"},
     .array = true},
    {.name = "command-r",
     .marks = {"Action:", "```json", "tool_name"},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "Action:\n```json\n",
     .also = "Action:",
     .close = "```",
     .answer = "directly_answer",
     .name_key = "tool_name",
     .args_key = "parameters",
     .drop = {"<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     .array = true},
    {.name = "mistral-args",
     .marks = {"[TOOL_CALLS]", "[ARGS]"},
     .scheme = MYNA__CALLS_NAMED,
     .think_start = "[THINK]",
     .think_end = "[/THINK]",
     .open = "[TOOL_CALLS]",
     .id_sep = "[CALL_ID]",
     .sep = "[ARGS]",
     .close = ""},
    {.name = "mistral",
     .marks = {"[TOOL_CALLS]"},
     .scheme = MYNA__CALLS_JSON,
     .think_start = "[THINK]",
     .think_end = "[/THINK]",
     .open = "[TOOL_CALLS]",
     .id_sep = "[CALL_ID]",
     .sep = "[ARGS]",
     .close = "",
     NAME_ARGS,
     .array = true,
     .id_last = true},
    {.name = "apertus",
     .marks = {"<|tools_prefix|>"},
     .scheme = MYNA__CALLS_JSON,
     .think_start = "<|inner_prefix|>",
     .think_end = "<|inner_suffix|>",
     .open = "<|tools_prefix|>",
     .close = "<|tools_suffix|>",
     .array = true},
    BOTH(.name = "nemotron", .marks = {"<TOOLCALL>"}, .scheme = MYNA__CALLS_JSON, .open = "<TOOLCALL>",
         .close = "</TOOLCALL>", NAME_ARGS, .array = true),
    {.name = "firefunction",
     .marks = {"functools["},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "functools",
     .also = "<|tool_call|>",
     .close = "",
     NAME_ARGS,
     .drop = {"<|/tool_call|>"},
     .array = true},
    {.name = "gigachat-3.1",
     .marks = {"<|function_call|>", "<|role_sep|>"},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "<|function_call|>",
     .close = "",
     NAME_ARGS},
    {.name = "gigachat-3",
     .marks = {"function call", "<|role_sep|>"},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "<|message_sep|>\n\nfunction call<|role_sep|>\n",
     .close = "",
     NAME_ARGS},
    BOTH(.name = "lfm2", .marks = {"<|tool_call_start|>"}, .scheme = MYNA__CALLS_PYTHON, .open = "<|tool_call_start|>",
         .close = "<|tool_call_end|>"),
    BOTH(.name = "lfm2", .marks = {"List of tools: "}, .scheme = MYNA__CALLS_PYTHON, .open = "<|tool_call_start|>",
         .close = "<|tool_call_end|>"),
    BOTH(.name = "granite", .marks = {"<|tool_call|>", "start_of_role"}, .scheme = MYNA__CALLS_JSON,
         .open = "<|tool_call|>", .also = "<tool_call>", .close = "", NAME_ARGS,
         .drop = {"<response>", "</response>", "</tool_call>"}, .array = true),
    BOTH(.name = "granite-fc", .marks = {"<function_call>"}, .scheme = MYNA__CALLS_JSON, .open = "<function_call>",
         .close = "", NAME_ARGS),
    BOTH(.name = "phi-4", .marks = {"<|tool_call|>"}, .scheme = MYNA__CALLS_JSON, .open = "<|tool_call|>",
         .also = "functools", .close = "<|/tool_call|>", NAME_ARGS, .array = true),
    BOTH(.name = "phi-4", .marks = {"<|/tool|>"}, .scheme = MYNA__CALLS_JSON, .open = "<|tool_call|>",
         .also = "functools", .close = "<|/tool_call|>", NAME_ARGS, .array = true),
    {.name = "internlm-2",
     .marks = {"<|plugin|>"},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "<|action_start|><|plugin|>",
     .close = "<|action_end|>",
     .name_key = "name",
     .args_key = "parameters"},
    {.name = "longcat",
     .marks = {"<longcat_tool_call>"},
     .scheme = MYNA__CALLS_JSON,
     .think_start = "<longcat_think>",
     .think_end = "</longcat_think>",
     .open = "<longcat_tool_call>",
     .close = "</longcat_tool_call>",
     NAME_ARGS},
    BOTH(.name = "olmo-3", .marks = {"<function_calls>"}, .scheme = MYNA__CALLS_PYTHON, .open = "<function_calls>",
         .close = "</function_calls>", .lines = true),
    {.name = "apriel-thinker",
     .marks = {"<tool_calls>", "[BEGIN FINAL RESPONSE]"},
     .scheme = MYNA__CALLS_JSON,
     .think_start = "Here are my reasoning steps:\n",
     .think_end = "[BEGIN FINAL RESPONSE]",
     .open = "<tool_calls>",
     .close = "</tool_calls>",
     NAME_ARGS,
     .array = true},
    BOTH(.name = "hunyuan", .marks = {"<tool_calls>"}, .scheme = MYNA__CALLS_JSON, .open = "<tool_calls>",
         .close = "</tool_calls>", NAME_ARGS, .array = true),
    {.name = "xlam",
     .marks = {"calls in a single JSON array"},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "<tool_call>",
     .also = "[TOOL_CALLS]",
     .close = "</tool_call>",
     NAME_ARGS,
     .bare = true,
     .array = true},
    BOTH(.name = "hermes", .marks = {"<tool_call>"}, .scheme = MYNA__CALLS_JSON, .open = "<tool_call>",
         .close = "</tool_call>", NAME_ARGS),
    {.name = "llama-3",
     .marks = {"start_header_id", "\"parameters\""},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "<|python_tag|>",
     .close = "",
     .name_key = "name",
     .args_key = "parameters",
     .bare = true},
    {.name = "pythonic",
     .marks = {"func_name1(param"},
     NO_THINK,
     .scheme = MYNA__CALLS_PYTHON,
     .open = "<|python_start|>",
     .close = "<|python_end|>",
     .bare = true},
    {.name = "llama-4",
     .marks = {"<|header_start|>", "\"parameters\""},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "<|python_start|>",
     .close = "<|python_end|>",
     .name_key = "name",
     .args_key = "parameters",
     .bare = true},
    {.name = "think", .marks = {"</think>"}, THINK},
    {.name = "plain", NO_THINK},
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* Of two rows that differ in reasoning only, the first counts where the template has tags of reasoning. */
static bool fits(int i, const char *text) {
  const struct myna__chat_format *f = &rows[i];
  for (size_t k = 0; k < MYNA__COUNT(f->marks); k++)
    if (f->marks[k] && !strstr(text, f->marks[k])) return false;
  bool either = i + 1 < N_ROWS && strcmp(f->name, rows[i + 1].name) == 0 && f->think_start[0];
  return !either || strstr(text, "think>") != NULL;
}

const struct myna__chat_format *myna__chat_format_find(const char *template_source) {
  int i = 0;
  while (i < N_ROWS - 1 && !(template_source && fits(i, template_source))) i++;
  return &rows[i];
}

const struct myna__chat_format *myna__chat_format_row(int i) { return i >= 0 && i < N_ROWS ? &rows[i] : NULL; }

/* Whether the prompt ends with the open tag, but for blanks. */
static bool ends_open(const myna_chat_prompt *p, const char *tag) {
  size_t n = strlen(tag), end = p->text_len;
  while (n && strchr("\n ", tag[n - 1])) n--;
  if (!n || !p->text) return false;
  while (end && strchr("\n ", p->text[end - 1])) end--;
  return end >= n && memcmp(p->text + end - n, tag, n) == 0;
}

/* All strings of the row that answers may hold, in one text. */
static char *markers(const struct myna__chat_format *f) {
  static const char harmony[] = "<|start|><|end|><|message|><|channel|><|constrain|>";
  const char *const all[] = {f->think_start,
                             f->think_end,
                             f->section_open,
                             f->section_close,
                             f->open,
                             f->also,
                             f->close,
                             f->sep,
                             f->id_before,
                             f->id_sep,
                             f->param,
                             f->param_sep,
                             f->value_open,
                             f->param_end,
                             f->drop[0],
                             f->drop[1],
                             f->drop[2],
                             f->drop[3],
                             f->scheme == MYNA__CALLS_HARMONY ? harmony : NULL,
                             f->scheme == MYNA__CALLS_GEMMA ? (f->quote ? f->quote : "<|\"|>") : NULL};
  myna__buf b = {0};
  for (size_t i = 0; i < MYNA__COUNT(all); i++) myna__buf_printf(&b, "%s\n", all[i] ? all[i] : "");
  char *text = b.failed ? NULL : myna__strndup(b.data, b.len);
  myna__buf_free(&b);
  return text;
}

int myna__chat_format_prompt(const struct myna__chat_format *f, const myna_chat_input *in, myna_chat_prompt *out,
                             myna_err *err) {
  bool tools = in && in->tools && in->tool_choice != MYNA_TOOLS_NONE;
  out->tools = tools ? myna__strndup(in->tools, strlen(in->tools)) : NULL;
  if (tools && !out->tools) return myna__err(err, MYNA_E_NOMEM, "no memory for a prompt");
  out->markers = markers(f);
  if (!out->markers) return myna__err(err, MYNA_E_NOMEM, "no memory for a prompt");
  out->grammar = NULL;
  out->grammar_lazy = false;
  out->triggers = out->stop = NULL;
  out->n_triggers = out->n_stop = 0;
  out->think_start = f->think_start;
  out->think_end = f->think_end;
  out->thinking_open = ends_open(out, f->think_start);
  return 0;
}

static void free_list(char **list, int n) {
  for (int i = 0; i < n; i++) myna__strfree(list[i]);
  myna__free(list, (size_t)n * sizeof *list);
}

void myna__chat_prompt_lists_free(myna_chat_prompt *p) {
  myna__strfree(p->grammar);
  myna__strfree(p->tools);
  myna__strfree(p->markers);
  free_list(p->triggers, p->n_triggers);
  free_list(p->stop, p->n_stop);
  p->grammar = p->tools = p->markers = NULL;
  p->triggers = p->stop = NULL;
  p->n_triggers = p->n_stop = 0;
}
