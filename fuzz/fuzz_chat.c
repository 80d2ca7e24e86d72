/* fuzz_chat.c: any bytes as a request's messages, tools and variables (one JSON text each, NULs between), for templates that want them differently. The
 * first byte picks the template and what the request asks for. Beyond what the sanitizers see it checks that a failure has a code and a reason and
 * leaves nothing behind, that a prompt is whole, and that answers to it can be read. */
#include "base/base.h"
#include "myna_chat.h"
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const sources[] = {
    "",
    "chatml",
    "gemma",
    "{% for m in messages %}{{ m.role }}:{{ m.content }}{% for t in m.tool_calls or [] %}<tool_call>{{ "
    "t.function.arguments | "
    "tojson }}</tool_call>{% endfor %}{% endfor %}{{ tools | tojson }}{% if add_generation_prompt %}<think>\n{% endif "
    "%}",
    "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}{# [TOOL_CALLS] length != 9 #}",
    "{% for m in messages %}{% if m.content is none %}{{ m.tool_calls[0].function.arguments }}{% else %}{{ m.content "
    "}}{% endif %}"
    "{% endfor %}{{ reasoning_effort }}{{ enable_thinking }}</think>",
};
enum { N = sizeof sources / sizeof sources[0] };

/* Made once: they are what is not under test here. */
static const myna_chat *chat_of(unsigned i) {
  static myna_chat *chats[N];
  if (!chats[i]) {
    const myna_chat_options o = {.template_source = sources[i], .bos = "<s>", .eos = "</s>"};
    CHECK(myna_chat_new(&chats[i], NULL, &o, NULL) == 0);
  }
  return chats[i];
}

static void read_answer(const myna_chat *c, const myna_chat_prompt *p) {
  static const char answer[] = "Well</think>\n<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
  const myna_chat_parser_options o = {.tools = true};
  myna_chat_parser *parser = NULL;
  const myna_delta *d;
  CHECK(myna_chat_parser_new(&parser, c, p, &o, NULL) == 0);
  CHECK(myna_chat_parser_push(parser, answer, sizeof answer - 1, true, &d, NULL) >= 0);
  myna_chat_parser_free(parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size) return 0;
  unsigned flags = data[0];
  const myna_chat *c = chat_of(flags % N);
  flags /= N;
  int64_t before = myna__mem_in_use();
  char *text = malloc(size + 4), *part[3];
  CHECK(text);
  memcpy(text, data + 1, size - 1);
  memset(text + size - 1, 0, 4);
  part[0] = text;
  for (int i = 1; i < 3; i++) part[i] = MYNA__MIN(part[i - 1] + strlen(part[i - 1]) + 1, text + size);
  const myna_chat_input in = {.messages = part[0],
                              .tools = *part[1] ? part[1] : NULL,
                              .kwargs = *part[2] ? part[2] : NULL,
                              .tool_choice = flags & 1 ? MYNA_TOOLS_REQUIRED : MYNA_TOOLS_AUTO,
                              .continue_final = (flags & 2) != 0,
                              .reasoning = flags & 4 ? MYNA_REASONING_OFF : MYNA_REASONING_AUTO,
                              .no_generation_prompt = (flags & 8) != 0,
                              .now = 1721995200};
  myna_chat_prompt p;
  myna_err err = {0};
  int rc = myna_chat_apply(c, &in, &p, &err);
  if (rc < 0) {
    CHECK(err.code == rc && err.msg[0] && !p.text && !p.grammar);
  } else {
    CHECK(p.text && p.text[p.text_len] == 0 && p.answer_prefix && p.think_start && p.think_end);
    read_answer(c, &p);
  }
  myna_chat_prompt_free(&p);
  free(text);
  CHECK(myna__mem_in_use() == before);
  return 0;
}
