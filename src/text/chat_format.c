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
     .close = "<tool_call|>"},
    {.name = "deepseek-v3.2",
     .marks = {DS "DSML" DS, "function_calls"},
     THINK,
     .scheme = MYNA__CALLS_XML,
     .section_open = "<" DS "DSML" DS "function_calls>",
     .section_close = "</" DS "DSML" DS "function_calls>",
     .open = "<" DS "DSML" DS "invoke name=\"",
     .sep = "\">",
     .param = "<" DS "DSML" DS "parameter name=\"",
     .param_sep = "\">",
     .param_end = "</" DS "DSML" DS "parameter>",
     .close = "</" DS "DSML" DS "invoke>"},
    {.name = "deepseek-v4",
     .marks = {DS "DSML" DS},
     THINK,
     .scheme = MYNA__CALLS_XML,
     .section_open = "<" DS "DSML" DS "tool_calls>",
     .section_close = "</" DS "DSML" DS "tool_calls>",
     .open = "<" DS "DSML" DS "invoke name=\"",
     .sep = "\">",
     .param = "<" DS "DSML" DS "parameter name=\"",
     .param_sep = "\">",
     .param_end = "</" DS "DSML" DS "parameter>",
     .close = "</" DS "DSML" DS "invoke>"},
    /* V3 and R1 name the type of the call first and fence the arguments. */
    {.name = "deepseek-r1",
     .marks = {DS "tool" SP "call" SP "begin" DS, "```json"},
     THINK,
     .scheme = MYNA__CALLS_NAMED,
     .section_open = "<" DS "tool" SP "calls" SP "begin" DS ">",
     .section_close = "<" DS "tool" SP "calls" SP "end" DS ">",
     .open = "<" DS "tool" SP "call" SP "begin" DS ">function<" DS "tool" SP "sep" DS ">",
     .sep = "\n```json\n",
     .close = "\n```<" DS "tool" SP "call" SP "end" DS ">"},
    {.name = "deepseek-v3.1",
     .marks = {DS "tool" SP "call" SP "begin" DS},
     THINK,
     .scheme = MYNA__CALLS_NAMED,
     .section_open = "<" DS "tool" SP "calls" SP "begin" DS ">",
     .section_close = "<" DS "tool" SP "calls" SP "end" DS ">",
     .open = "<" DS "tool" SP "call" SP "begin" DS ">",
     .sep = "<" DS "tool" SP "sep" DS ">",
     .close = "<" DS "tool" SP "call" SP "end" DS ">"},
    BOTH(.name = "kimi-k2", .marks = {"<|tool_call_argument_begin|>"}, .scheme = MYNA__CALLS_NAMED,
         .section_open = "<|tool_calls_section_begin|>", .section_close = "<|tool_calls_section_end|>",
         .open = "<|tool_call_begin|>", .sep = "<|tool_call_argument_begin|>", .close = "<|tool_call_end|>",
         .call_ids = true),
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
    BOTH(.name = "glm-4", .marks = {"<arg_key>"}, .scheme = MYNA__CALLS_XML, .open = "<tool_call>", .sep = "",
         .param = "<arg_key>", .param_sep = "</arg_key>", .param_end = "</arg_value>", .close = "</tool_call>"),
    BOTH(.name = "qwen3-coder", .marks = {"<tool_call>", "<function=", "<parameter="}, .scheme = MYNA__CALLS_XML,
         .section_open = "<tool_call>", .section_close = "</tool_call>", .open = "<function=", .sep = ">",
         .param = "<parameter=", .param_sep = ">", .param_end = "</parameter>", .close = "</function>"),
    BOTH(.name = "minicpm5", .marks = {"<function name=", "<param name="}, .scheme = MYNA__CALLS_XML,
         .open = "<function name=\"", .sep = "\">", .param = "<param name=\"", .param_sep = "\">",
         .param_end = "</param>", .close = "</function>"),
    {.name = "functionary-v3.2",
     .marks = {">>>all"},
     NO_THINK,
     .scheme = MYNA__CALLS_NAMED,
     .open = ">>>",
     .sep = "\n",
     .close = "",
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
     .id_key = "tool_call_id"},
    {.name = "command-r",
     .marks = {"Action:", "```json", "tool_name"},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "Action:\n```json\n",
     .close = "```",
     .name_key = "tool_name",
     .args_key = "parameters"},
    {.name = "mistral-args",
     .marks = {"[TOOL_CALLS]", "[ARGS]"},
     .scheme = MYNA__CALLS_NAMED,
     .think_start = "[THINK]",
     .think_end = "[/THINK]",
     .open = "[TOOL_CALLS]",
     .sep = "[ARGS]",
     .close = ""},
    {.name = "mistral",
     .marks = {"[TOOL_CALLS]"},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "[TOOL_CALLS]",
     .close = "",
     NAME_ARGS},
    {.name = "apertus",
     .marks = {"<|tools_prefix|>"},
     .scheme = MYNA__CALLS_JSON,
     .think_start = "<|inner_prefix|>",
     .think_end = "<|inner_suffix|>",
     .open = "<|tools_prefix|>",
     .close = "<|tools_suffix|>"},
    BOTH(.name = "nemotron", .marks = {"<TOOLCALL>"}, .scheme = MYNA__CALLS_JSON, .open = "<TOOLCALL>",
         .close = "</TOOLCALL>", NAME_ARGS),
    {.name = "firefunction",
     .marks = {"functools["},
     NO_THINK,
     .scheme = MYNA__CALLS_JSON,
     .open = "functools",
     .close = "",
     NAME_ARGS},
    BOTH(.name = "lfm2", .marks = {"<|tool_call_start|>"}, .scheme = MYNA__CALLS_PYTHON, .open = "<|tool_call_start|>",
         .close = "<|tool_call_end|>"),
    BOTH(.name = "lfm2", .marks = {"<|tool_list_start|>"}, .scheme = MYNA__CALLS_PYTHON, .open = "<|tool_call_start|>",
         .close = "<|tool_call_end|>"),
    BOTH(.name = "granite", .marks = {"<|tool_call|>", "start_of_role"}, .scheme = MYNA__CALLS_JSON,
         .open = "<|tool_call|>", .close = "", NAME_ARGS),
    BOTH(.name = "phi-4", .marks = {"<|tool_call|>"}, .scheme = MYNA__CALLS_JSON, .open = "<|tool_call|>",
         .close = "<|/tool_call|>", NAME_ARGS),
    BOTH(.name = "hunyuan", .marks = {"<tool_calls>"}, .scheme = MYNA__CALLS_JSON, .open = "<tool_calls>",
         .close = "</tool_calls>", NAME_ARGS),
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
    {.name = "pythonic", .marks = {"func_name1(params_name1"}, NO_THINK, .scheme = MYNA__CALLS_PYTHON, .bare = true},
    {.name = "think", .marks = {"</think>"}, THINK},
    {.name = "plain", NO_THINK},
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

static bool fits(const struct myna__chat_format *f, const char *text) {
  for (size_t i = 0; i < MYNA__COUNT(f->marks); i++)
    if (f->marks[i] && !strstr(text, f->marks[i])) return false;
  bool common = strcmp(f->think_start, "<think>") == 0;
  return !common || strstr(text, "think>") != NULL;
}

const struct myna__chat_format *myna__chat_format_find(const char *template_source) {
  for (int i = 0; template_source && i < N_ROWS; i++)
    if (fits(&rows[i], template_source)) return &rows[i];
  return &rows[N_ROWS - 1];
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

int myna__chat_format_prompt(const struct myna__chat_format *f, const myna_chat_input *in, myna_chat_prompt *out,
                             myna_err *err) {
  (void)in;
  (void)err;
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
  free_list(p->triggers, p->n_triggers);
  free_list(p->stop, p->n_stop);
  p->grammar = NULL;
  p->triggers = p->stop = NULL;
  p->n_triggers = p->n_stop = 0;
}
