/* chat_builtin.c: the built-in templates, one row per name that llama.cpp's --chat-template takes. They say how a conversation of plain messages is
 * written; models that ship their own template know more (tools, reasoning). BOS is left to the tokenizer but where the format has it inside.
 * Source: the models' cards. Text stands in expressions, so that trimming of blocks never touches it. */
#include "text/chat_builtin.h"
#include <stddef.h>
#include <string.h>

typedef struct builtin_row {
  const char *name, *source;
} builtin_row;

#define EACH(body) "{% for m in messages %}" body "{% endfor %}"
#define SAY(expr) "{{ " expr " }}"
#define ASK(expr) "{% if add_generation_prompt %}{{ " expr " }}{% endif %}"
#define IS(role, body) "{% if m.role == '" role "' %}" body
#define OR(role, body) "{% elif m.role == '" role "' %}" body
#define ELSE(body) "{% else %}" body
#define END "{% endif %}"
#define ROLES(sys, user, answer) IS("system", SAY(sys)) OR("user", SAY(user)) OR("assistant", SAY(answer)) END
#define TEXT "m.content | trim"

/* Llama 2: instructions in brackets, the system's text inside of the first. */
#define LLAMA2(text, again, sys)                                                                              \
  "{% set ns = namespace(again=false) %}{{ '[INST] ' }}" EACH(                                                \
      "{% if ns.again %}{{ '" again "[INST] ' }}{% set ns.again = false %}{% endif %}" IS("system", SAY(sys)) \
          OR("user", SAY(text " + ' [/INST]'")) ELSE(SAY(text " + '</s>'") "{% set ns.again = true %}") END)
#define LLAMA2_SYS(text) "'<<SYS>>\\n' + (" text ") + '\\n<</SYS>>\\n\\n'"

/* Mistral up to V3: `before` and `after` are the blanks around the brackets. */
#define MISTRAL(before, after, answer)                                                    \
  "{% set ns = namespace(open=false) %}" EACH(                                            \
      "{% if not ns.open %}{{ '" before "[INST]" after                                    \
      "' }}{% set ns.open = true %}{% endif %}" IS("system", SAY("m.content + '\\n\\n'")) \
          OR("user", SAY("m.content + '" before "[/INST]'"))                              \
              ELSE(SAY("'" after "' + " answer " + '</s>'") "{% set ns.open = false %}") END)
#define MISTRAL_V7(gap)                                                               \
  EACH(IS("system", SAY("'[SYSTEM_PROMPT]" gap "' + m.content + '[/SYSTEM_PROMPT]'")) \
           OR("user", SAY("'[INST]" gap "' + m.content + '[/INST]'")) ELSE(SAY("'" gap "' + m.content + '</s>'")) END)

/* The role, then the text, between marks. */
#define MARKED(before, middle, text, after) EACH(SAY("'" before "' + m.role + '" middle "' + (" text ") + '" after "'"))
#define DS_END     \
  "'<\xEF\xBD\x9C" \
  "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>'"
#define DS_USER "'<\xEF\xBD\x9CUser\xEF\xBD\x9C>'"
#define DS_ANSWER  \
  "'<\xEF\xBD\x9C" \
  "Assistant\xEF\xBD\x9C>'"
#define HY(word) "'<\xEF\xBD\x9Chy_" word "\xEF\xBD\x9C>'"
#define HY_HOLDER(n) HY("place\xE2\x96\x81holder\xE2\x96\x81no\xE2\x96\x81" n)
#define COMMAND_R(who) "'<|START_OF_TURN_TOKEN|><|" who "_TOKEN|>' + (" TEXT ") + '<|END_OF_TURN_TOKEN|>'"
#define VICUNA(sys) \
  EACH(ROLES(sys, "'USER: ' + m.content + '\\n'", "'ASSISTANT: ' + m.content + '</s>\\n'")) ASK("'ASSISTANT:'")
#define GRANITE(call_role)                                                                                        \
  EACH(IS("assistant_tool_call",                                                                                  \
          SAY("'<|start_of_role|>" call_role "<|end_of_role|><|tool_call|>' + m.content + '<|end_of_text|>\\n'")) \
           ELSE(SAY("'<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\\n'")) END)  \
  ASK("'<|start_of_role|>assistant<|end_of_role|>'")
#define PANGU(who) "'[unused9]" who "\xEF\xBC\x9A' + m.content + '[unused10]'"
#define KIMI(who, role) "'<|im_" who "|>" role "<|im_middle|>' + m.content + '<|im_end|>'"

static const builtin_row rows[] = {
    {"chatml", MARKED("<|im_start|>", "\\n", "m.content", "<|im_end|>\\n") ASK("'<|im_start|>assistant\\n'")},
    {"llama2", LLAMA2("m.content", "", "m.content + '\\n'")},
    {"llama2-sys", LLAMA2("m.content", "", LLAMA2_SYS("m.content"))},
    {"llama2-sys-bos", LLAMA2("m.content", "<s>", LLAMA2_SYS("m.content"))},
    {"llama2-sys-strip", LLAMA2("(" TEXT ")", "", LLAMA2_SYS(TEXT))},
    {"llama3", MARKED("<|start_header_id|>", "<|end_header_id|>\\n\\n", TEXT, "<|eot_id|>")
                   ASK("'<|start_header_id|>assistant<|end_header_id|>\\n\\n'")},
    {"llama4", MARKED("<|header_start|>", "<|header_end|>\\n\\n", TEXT, "<|eot|>")
                   ASK("'<|header_start|>assistant<|header_end|>\\n\\n'")},
    {"mistral-v1", MISTRAL(" ", " ", "m.content")},
    {"mistral-v3", MISTRAL("", " ", "(" TEXT ")")},
    {"mistral-v3-tekken", MISTRAL("", "", "m.content")},
    {"mistral-v7", MISTRAL_V7(" ")},
    {"mistral-v7-tekken", MISTRAL_V7("")},
    {"phi3", MARKED("<|", "|>\\n", "m.content", "<|end|>\\n") ASK("'<|assistant|>\\n'")},
    {"phi4", MARKED("<|im_start|>", "<|im_sep|>", "m.content", "<|im_end|>") ASK("'<|im_start|>assistant<|im_sep|>'")},
    {"falcon3", MARKED("<|", "|>\\n", "m.content", "\\n") ASK("'<|assistant|>\\n'")},
    {"zephyr", MARKED("<|", "|>\\n", "m.content", "<|endoftext|>\\n") ASK("'<|assistant|>\\n'")},
    {"monarch",
     EACH(SAY("('' if loop.first else '<s>') + m.role + '\\n' + m.content + '</s>\\n'")) ASK("'<s>assistant\\n'")},
    {"gemma", "{% set ns = namespace(sys='') %}" EACH(IS("system", "{% set ns.sys = ns.sys + (" TEXT ") %}") ELSE(
                  SAY("'<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + "
                      "'\\n'") "{% if ns.sys and m.role != 'assistant' %}{{ ns.sys + '\\n\\n' "
                               "}}{% set ns.sys = '' %}{% endif %}" SAY("(" TEXT ") + '<end_of_turn>\\n'")) END)
                  ASK("'<start_of_turn>model\\n'")},
    {"orion", "{% set ns = namespace(sys='') %}" EACH(IS("system", "{% set ns.sys = ns.sys + m.content %}") OR(
                  "user", SAY("'Human: ' + (ns.sys + '\\n\\n' if ns.sys else '') + m.content + '\\n\\nAssistant: "
                              "</s>'") "{% set ns.sys = '' %}") ELSE(SAY("m.content + '</s>'")) END)},
    {"openchat", EACH(IS("system", SAY("m.content + '<|end_of_turn|>'"))
                          ELSE(SAY("'GPT4 Correct ' + (m.role | capitalize) + ': ' + m.content + '<|end_of_turn|>'"))
                              END) ASK("'GPT4 Correct Assistant:'")},
    {"vicuna", VICUNA("m.content + '\\n\\n'")},
    {"vicuna-orca", VICUNA("'SYSTEM: ' + m.content + '\\n'")},
    {"deepseek", EACH(ROLES("m.content", "'### Instruction:\\n' + m.content + '\\n'",
                            "'### Response:\\n' + m.content + '\\n<|EOT|>\\n'")) ASK("'### Response:\\n'")},
    {"deepseek2", EACH(ROLES("m.content + '\\n\\n'", "'User: ' + m.content + '\\n\\n'",
                             "'Assistant: ' + m.content + " DS_END)) ASK("'Assistant:'")},
    {"deepseek3",
     EACH(ROLES("m.content + '\\n\\n'", DS_USER " + m.content", DS_ANSWER " + m.content + " DS_END)) ASK(DS_ANSWER)},
    {"command-r", EACH(ROLES(COMMAND_R("SYSTEM"), COMMAND_R("USER"), COMMAND_R("CHATBOT")))
                      ASK("'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'")},
    {"chatglm3", "{{ '[gMASK]sop' }}" MARKED("<|", "|>\\n ", "m.content", "") ASK("'<|assistant|>'")},
    {"chatglm4", "{{ '[gMASK]<sop>' }}" MARKED("<|", "|>\\n", "m.content", "") ASK("'<|assistant|>\\n'")},
    {"glmedge", MARKED("<|", "|>\\n", "m.content", "") ASK("'<|assistant|>'")},
    {"minicpm", EACH(IS("user", SAY("'<\xE7\x94\xA8\xE6\x88\xB7>' + (" TEXT ") + '<AI>'")) ELSE(SAY(TEXT)) END)},
    {"exaone3", EACH(ROLES("'[|system|]' + (" TEXT ") + '[|endofturn|]\\n'", "'[|user|]' + (" TEXT ") + '\\n'",
                           "'[|assistant|]' + (" TEXT ") + '[|endofturn|]\\n'")) ASK("'[|assistant|]'")},
    {"exaone4", EACH(IS("user", SAY("'[|user|]' + (" TEXT ") + '\\n'")) ELSE(
                    SAY("'[|' + m.role + '|]' + (" TEXT ") + '[|endofturn|]\\n'")) END) ASK("'[|assistant|]'")},
    {"rwkv-world",
     EACH(ROLES("'System: ' + (" TEXT ") + '\\n\\n'",
                "'User: ' + (" TEXT ") + '\\n\\n' + ('Assistant:' if loop.last and add_generation_prompt else '')",
                "'Assistant: ' + (" TEXT ") + '\\n\\n'"))},
    {"granite", GRANITE("assistant_tool_call")},
    {"granite-4.0", GRANITE("assistant")},
    {"granite-4.1", GRANITE("assistant")},
    {"gigachat",
     "{{ '<s>' }}" EACH(
         ROLES("m.content + '<|message_sep|>'",
               "'user<|role_sep|>' + m.content + '<|message_sep|>available functions<|role_sep|>[]<|message_sep|>'",
               "'assistant<|role_sep|>' + m.content + '<|message_sep|>'")) ASK("'assistant<|role_sep|>'")},
    {"megrez", MARKED("<|role_start|>", "<|role_end|>", "m.content", "<|turn_end|>")
                   ASK("'<|role_start|>assistant<|role_end|>'")},
    {"yandex",
     EACH(IS("user",
             SAY("' \xD0\x9F\xD0\xBE\xD0\xBB\xD1\x8C\xD0\xB7\xD0\xBE\xD0\xB2\xD0\xB0\xD1\x82\xD0\xB5\xD0\xBB\xD1\x8C: "
                 "' + m.content + '\\n\\n'"))
              OR("assistant", SAY("' \xD0\x90\xD1\x81\xD1\x81\xD0\xB8\xD1\x81\xD1\x82\xD0\xB5\xD0\xBD\xD1\x82: ' + "
                                  "m.content + '\\n\\n'")) END)
         ASK("' \xD0\x90\xD1\x81\xD1\x81\xD0\xB8\xD1\x81\xD1\x82\xD0\xB5\xD0\xBD\xD1\x82:[SEP]'")},
    {"bailing", EACH(SAY("'<role>' + ('HUMAN' if m.role == 'user' else m.role | upper) + '</role>' + m.content"))
                    ASK("'<role>ASSISTANT</role>'")},
    {"bailing-think", EACH(SAY("'<role>' + ('HUMAN' if m.role == 'user' else m.role | upper) + '</role>' + m.content"))
                          ASK("'<role>ASSISTANT</role><think>'")},
    {"bailing2",
     EACH(SAY("'<role>' + ('HUMAN' if m.role == 'user' else m.role | upper) + '</role>' + m.content + '<|role_end|>'"))
         ASK("'<role>ASSISTANT</role>'")},
    {"smolvlm", "{{ '<|im_start|>' }}" EACH(IS("system", SAY("m.content + '\\n\\n'"))
                                                OR("user", SAY("'User: ' + m.content + '<end_of_utterance>\\n'"))
                                                    ELSE(SAY("'Assistant: ' + m.content + '<end_of_utterance>\\n'"))
                                                        END) ASK("'Assistant:'")},
    {"dots1",
     EACH(ROLES("'<|system|>' + m.content + '<|endofsystem|>'", "'<|userprompt|>' + m.content + '<|endofuserprompt|>'",
                "'<|response|>' + m.content + '<|endofresponse|>'")) ASK("'<|response|>'")},
    {"hunyuan-moe", EACH(IS("system", SAY("'<|startoftext|>' + m.content + '<|extra_4|>'"))
                             OR("assistant", SAY("m.content + '<|eos|>'"))
                                 ELSE(SAY("'<|startoftext|>' + m.content + '<|extra_0|>'")) END)},
    {"hunyuan-dense",
     EACH("{% if loop.first %}" SAY(HY("begin\xE2\x96\x81of\xE2\x96\x81sentence"))
              END IS("system", "{% if loop.first %}" SAY("m.content + " HY_HOLDER("3")) END)
                  OR("assistant", SAY(HY("Assistant") " + m.content + " HY_HOLDER("2")))
                      OR("user", SAY(HY("User") " + m.content"))
                          END) "{{ " HY("Assistant") " if add_generation_prompt else " HY_HOLDER("8") " }}"},
    {"kimi-k2", EACH(ROLES(KIMI("system", "system"), KIMI("user", "user"), KIMI("assistant", "assistant"))
                         IS("tool", SAY(KIMI("system", "tool"))) END) ASK("'<|im_assistant|>assistant<|im_middle|>'")},
    {"gpt-oss", EACH(SAY("'<|start|>' + m.role + '<|message|>' + m.content + "
                         "('<|return|>' if m.role == 'assistant' else '<|end|>')")) ASK("'<|start|>assistant'")},
    {"seed_oss", MARKED("<seed:bos>", "\\n", TEXT, "<seed:eos>") ASK("'<seed:bos>assistant\\n'")},
    {"grok-2",
     EACH(ROLES("'System: ' + (" TEXT ") + '<|separator|>\\n\\n'", "'Human: ' + (" TEXT ") + '<|separator|>\\n\\n'",
                "'Assistant: ' + m.content + '<|separator|>\\n\\n'")) ASK("'Assistant:'")},
    {"pangu-embedded",
     EACH("{% if loop.first and m.role != 'system' %}" SAY("'[unused9]\xE7\xB3\xBB\xE7\xBB\x9F\xEF\xBC\x9A[unused10]'")
              END ROLES(PANGU("\xE7\xB3\xBB\xE7\xBB\x9F"), PANGU("\xE7\x94\xA8\xE6\x88\xB7"),
                        PANGU("\xE5\x8A\xA9\xE6\x89\x8B")) IS("tool", SAY(PANGU("\xE5\xB7\xA5\xE5\x85\xB7")))
                  OR("function", SAY(PANGU("\xE6\x96\xB9\xE6\xB3\x95"))) END)
         ASK("'[unused9]\xE5\x8A\xA9\xE6\x89\x8B\xEF\xBC\x9A'")},
    {"solar-open", MARKED("<|begin|>", "<|content|>", "m.content", "<|end|>") ASK("'<|begin|>assistant'")},
};
/* clang-format on */
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

const char *myna__chat_builtin_name(int i) { return i >= 0 && i < N_ROWS ? rows[i].name : NULL; }

const char *myna__chat_builtin_source(const char *name) {
  for (int i = 0; name && i < N_ROWS; i++)
    if (strcmp(rows[i].name, name) == 0) return rows[i].source;
  return NULL;
}
