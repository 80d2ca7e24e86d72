/* test_chat.c: conversations as prompts: llama.cpp's published cases, the built-in templates, what becomes of messages, tools, reasoning and begun
 * answers, and hostile input. */
#include "../test.h"
#include "myna_chat.h"
#include <jansson.h>

static json_t *load(const char *rel) {
  char path[1024];
  const char *data = getenv("MYNA_DATA"); /* where the tree is not beside it */
  snprintf(path, sizeof path, "%s/%s", data ? data : MYNA_ROOT "/../shared/data", rel);
  return json_load_file(path, 0, NULL);
}

static myna_chat *chat_of(const char *source, const char *bos, const char *eos) {
  myna_chat *c;
  myna_err err = {0};
  const myna_chat_options o = {.template_source = source, .bos = bos, .eos = eos};
  ASSERT_OK_ERR(myna_chat_new(&c, NULL, &o, &err), &err);
  return c;
}

static myna_chat_prompt apply(const myna_chat *c, const myna_chat_input *in) {
  myna_chat_prompt p;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_chat_apply(c, in, &p, &err), &err);
  assert_int_equal(strlen(p.text), p.text_len);
  return p;
}

static void check_input(const char *source, const myna_chat_input *in, const char *want) {
  myna_chat *c = chat_of(source, "<s>", "</s>");
  myna_chat_prompt p = apply(c, in);
  assert_string_equal(p.text, want);
  myna_chat_prompt_free(&p);
  myna_chat_free(c);
}

static void check(const char *source, const char *messages, const char *want) {
  check_input(source, &(myna_chat_input){.messages = messages}, want);
}

static void refused(const char *source, const myna_chat_input *in, int code, const char *part) {
  myna_chat *c = chat_of(source, "<s>", "</s>");
  myna_chat_prompt p;
  myna_err err = {0};
  ASSERT_FAILS(myna_chat_apply(c, in, &p, &err), code, &err, part);
  assert_null(p.text);
  myna_chat_free(c);
}

/* ---- published cases ---- */

static const char *str(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }

/* 0 when the prompt is want. */
static int run_case(const json_t *one, const char *source, const char *want, const char *kwargs) {
  char *messages = json_dumps(json_object_get(one, "messages"), 0);
  myna_chat *c = chat_of(source, str(one, "bos_token"), str(one, "eos_token"));
  const myna_chat_input in = {.messages = messages,
                              .kwargs = kwargs,
                              .no_generation_prompt = !json_is_true(json_object_get(one, "add_generation_prompt"))};
  myna_chat_prompt p;
  myna_err err = {0};
  int bad = myna_chat_apply(c, &in, &p, &err) < 0 || strcmp(p.text, want) != 0;
  if (bad) print_message("%s\n  want %s\n  got  %s\n", str(one, "name"), want, p.text ? p.text : err.msg);
  myna_chat_prompt_free(&p);
  myna_chat_free(c);
  free(messages);
  return bad;
}

/* Which built-in template each case is. */
static const char *const builtins[][2] = {{"OpenHermes-2.5-Mistral", "chatml"},
                                          {"pre-v1", "llama2"},
                                          {"FusionNet", "llama2-sys-bos"},
                                          {"vigogne", "llama2-sys-strip"},
                                          {"Monarch", "monarch"},
                                          {"gemma", "gemma"},
                                          {"Orion", "orion"},
                                          {"openchat", "openchat"},
                                          {"deepseek-coder", "deepseek"},
                                          {"vicuna-13b", "vicuna"},
                                          {"Orca-Vicuna", "vicuna-orca"},
                                          {"command-r", "command-r"},
                                          {"Llama-3", "llama3"},
                                          {"Phi-3", "phi3"},
                                          {"ChatGLM3", "chatglm3"},
                                          {"ChatGLM4", "chatglm4"},
                                          {"GLMEdge", "glmedge"},
                                          {"MiniCPM", "minicpm"},
                                          {"DeepSeek-V2", "deepseek2"},
                                          {"granite-3", "granite"},
                                          {"granite-4.0", "granite-4.0"},
                                          {"granite-4.1", "granite-4.1"},
                                          {"'v1'", "mistral-v1"},
                                          {"'v3'", "mistral-v3"},
                                          {"'v3-tekken'", "mistral-v3-tekken"},
                                          {"'v7'", "mistral-v7"},
                                          {"GigaChat", "gigachat"},
                                          {"Megrez", "megrez"},
                                          {"phi-4", "phi4"},
                                          {"yandex", "yandex"},
                                          {"Ling", "bailing"},
                                          {"Seed-OSS", "seed_oss"}};

static void test_published(void **state) {
  (void)state;
  json_t *all = load("templates/llamacpp-chat-template-cases.json"), *one;
  if (!all) {
    print_message("../shared/data is absent: cases skipped\n");
    skip();
  }
  size_t i, failed = 0, named = 0;
  json_array_foreach(all, i, one) {
    const char *giga = "{\"bos_token\": \"<s>\", \"additional_special_tokens\": [\"<|role_sep|>\", "
                       "\"<|message_sep|>\", \"[\", \"]\"]}";
    const char *kwargs = strstr(str(one, "name"), "GigaChat") ? giga : NULL;
    if (json_is_true(json_object_get(one, "supported_with_jinja")) || kwargs)
      failed += (size_t)run_case(one, str(one, "template"), str(one, "expected_jinja_engine"), kwargs);
    for (size_t k = 0; k < sizeof builtins / sizeof builtins[0]; k++)
      if (strstr(str(one, "name"), builtins[k][0])) {
        /* llama.cpp loses the system's message there; here it becomes the user's, as with the model's own template. */
        bool merged = strcmp(builtins[k][1], "yandex") == 0;
        named++;
        failed += (size_t)run_case(
            one, builtins[k][1],
            merged ? str(one, "expected_jinja_engine") + strlen("<s>") : str(one, "expected_builtin_no_jinja"), NULL);
        break;
      }
  }
  assert_int_equal(failed, 0);
  assert_int_equal(named, json_array_size(all));
  json_decref(all);
}

/* A file of the data, NUL-terminated and without the newline at its end, or NULL. */
static char *load_text(const char *rel) {
  char path[1024];
  const char *data = getenv("MYNA_DATA");
  snprintf(path, sizeof path, "%s/%s", data ? data : MYNA_ROOT "/../shared/data", rel);
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  char *p = calloc(1, 1u << 17);
  size_t n = fread(p, 1, (1u << 17) - 1, f);
  fclose(f);
  while (n && p[n - 1] == '\n') p[--n] = 0;
  return p;
}

#define QUESTION(role_text) \
  "[" role_text "{\"role\": \"user\", \"content\": \"What is the capital of the largest country in the world?\"}]"
#define ROBOT "{\"role\": \"developer\", \"content\": \"Answer the user's questions like a robot.\"}, "
#define SUM                                                                                                        \
  "[{\"role\": \"user\", \"content\": \"What is 2 + 2?\"}, {\"role\": \"assistant\", \"content\": \"2 + 2 equals " \
  "4.\", "                                                                                                         \
  "\"reasoning_content\": \"User asks a simple question.\"}, {\"role\": \"user\", \"content\": \"What about 9 / "  \
  "2?\"}]"

/* Takes out `what` where it stands, or only its first n bytes. */
static void drop(char *text, const char *what, size_t n) {
  char *at = strstr(text, what);
  if (!n) n = strlen(what);
  if (at) memmove(at, at + n, strlen(at + n) + 1);
}

/* What gpt-oss's template makes of harmony's own cases; it tells the date and ends instructions by an empty line, which they leave out. */
static void test_harmony(void **state) {
  (void)state;
  static const struct {
    const char *file, *messages, *effort;
  } rows[] = {{"simple_convo", "[{\"role\": \"user\", \"content\": \"What is 2 + 2?\"}]", NULL},
              {"simple_convo_low_effort", QUESTION(ROBOT), "low"},
              {"simple_convo_medium_effort", QUESTION(ROBOT), "medium"},
              {"simple_convo_high_effort", QUESTION(ROBOT), "high"},
              {"simple_convo_low_effort_no_instruction", QUESTION(""), "low"},
              {"simple_convo_medium_effort_no_instruction", QUESTION(""), "medium"},
              {"simple_convo_high_effort_no_instruction", QUESTION(""), "high"},
              {"dropping_cot_by_default", SUM, NULL}};
  char *source = load_text("templates/jinja/openai-gpt-oss-120b.jinja");
  if (!source) {
    print_message("../shared/data is absent: cases skipped\n");
    skip();
  }
  myna_chat *c = chat_of(source, "", "");
  free(source);
  assert_string_equal(myna_chat_format(c), "gpt-oss");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char name[200];
    snprintf(name, sizeof name, "templates/harmony/test_%s.txt", rows[i].file);
    char *want = load_text(name);
    assert_non_null(want);
    myna_chat_prompt p = apply(
        c, &(myna_chat_input){.messages = rows[i].messages, .reasoning_effort = rows[i].effort, .now = 1721995200});
    char *got = strdup(p.text);
    drop(got, "Current date: 2024-07-26\n", 0);
    drop(got, "\n\n<|end|>", 2);
    /* Some cases have no system message. */
    assert_true(strlen(got) >= strlen(want));
    assert_string_equal(got + (strncmp(want, "<|start|>system", 15) == 0 ? 0 : strlen(got) - strlen(want)), want);
    free(got);
    free(want);
    myna_chat_prompt_free(&p);
  }
  myna_chat_free(c);
}

/* ---- by hand ---- */

#define HI "[{\"role\": \"user\", \"content\": \"Hi\"}]"

static void test_builtins(void **state) {
  (void)state;
  int n = 0;
  for (const char *name; (name = myna_chat_builtin(n)); n++) {
    myna_chat *c = chat_of(name, "<s>", "</s>");
    assert_true(myna_chat_has_template(c));
    myna_chat_prompt p = apply(c, &(myna_chat_input){.messages = HI});
    assert_non_null(strstr(p.text, "Hi"));
    myna_chat_prompt_free(&p);
    myna_chat_free(c);
  }
  assert_true(n > 40);
  assert_null(myna_chat_builtin(-1));
  myna_chat *c;
  myna_err err = {0};
  ASSERT_FAILS(myna_chat_new(&c, NULL, &(myna_chat_options){.template_source = "chatlm"}, &err), MYNA_E_ARG, &err,
               "chatlm");
  err = (myna_err){0};
  ASSERT_FAILS(myna_chat_new(&c, NULL, &(myna_chat_options){.template_source = "{% if %}"}, &err), MYNA_E_FORMAT, &err,
               "line 1");
}

/* Text only; parts; no system role by refusing and by silence; only parts. */
#define PLAIN                                                                                                     \
  "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}{% if add_generation_prompt %}[assistant:{% " \
  "endif %}"
#define REFUSES "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" PLAIN
#define SILENT "{% for m in messages if m.role != 'system' %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
#define PARTS                                                                                                          \
  "{% for m in messages %}[{% for p in m.content %}{% if p.type == 'text' %}<{{ p.text }}>{% endif %}{% endfor %}]{% " \
  "endfor %}"
#define BOTH                                                                                                        \
  "{% for m in messages %}[{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text " \
  "}}{% endfor %}{% endif %}]{% endfor %}"
#define TWO                                                                                                    \
  "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", \"text\": " \
  "\"b\"}]}]"
#define SYS "[{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\": \"U\"}]"

static void test_content(void **state) {
  (void)state;
  check(PLAIN, HI, "[user:Hi][assistant:");
  check(PLAIN, TWO, "[user:a\nb][assistant:");
  check(BOTH, TWO, "[ab]");
  check(PARTS, TWO, "[<a><b>]");
  check(PARTS, HI, "[<Hi>]");
  check(PLAIN, "[{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": null}]",
        "[user:x][assistant:][assistant:");
  check(PLAIN, "[{\"role\": \"developer\", \"content\": \"D\"}]", "[system:D][assistant:");
  check(PLAIN, SYS, "[system:S][user:U][assistant:");
  check(REFUSES, SYS, "[user:S\nU][assistant:");
  check(SILENT, SYS, "[user:S\nU]");
  check(SILENT, "[{\"role\": \"system\", \"content\": \"S\"}]", "[user:S]");
  check("", SYS, "S\nU");
  check("{{ bos_token }}{{ eos_token }}{{ tools is none }}", HI, "<s></s>True");
}

#define CALLED                                                                                               \
  "[{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": null, \"tool_calls\": " \
  "[{\"id\": \"call_long_id\", \"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": "      \
  "\"{\\\"a\\\":1}\"}}]}, {\"role\": \"tool\", \"tool_call_id\": \"call_long_id\", \"content\": \"r\"}]"
#define CALLS(show)                                                                  \
  "{% for m in messages %}{{ m.content }}{% for t in m.tool_calls or [] %}({{ " show \
  " }}){% endfor %}{% if m.tool_call_id %}="                                         \
  "{% endif %}{% endfor %}"

static void test_calls(void **state) {
  (void)state;
  check(CALLS("t.function.arguments | tojson"), CALLED, "x({\"a\": 1})r=");
  check(CALLS("t.function.arguments"), CALLED, "x({\"a\":1})r=");
  check(CALLS("t.function.arguments.items() | list"), CALLED, "x([('a', 1)])r=");
  /* A call is shown only where there is no content. */
  check("{% for m in messages %}{% if m.content is none %}({{ m.tool_calls[0].function.arguments }}){% else %}{{ "
        "m.content "
        "}}{% endif %}{% endfor %}",
        CALLED, "x({\"a\":1})r");
  myna_chat *c = chat_of("{# length != 9 #}{% for m in messages %}{% for t in m.tool_calls or [] %}<{{ t.id }}>{{ "
                         "t.function.arguments | tojson }}{% endfor %}{% if m.tool_call_id %}<{{ m.tool_call_id }}>"
                         "{{ m.content }}{% endif %}{% endfor %}",
                         "", "");
  myna_chat_prompt p = apply(c, &(myna_chat_input){.messages = CALLED});
  assert_int_equal(p.text_len, 11 + strlen("{\"a\": 1}") + 11 + 1);
  assert_memory_equal(p.text, p.text + 11 + strlen("{\"a\": 1}"), 11);
  myna_chat_prompt_free(&p);
  myna_chat_free(c);
}

#define TOOL "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}]"

static void test_tools(void **state) {
  (void)state;
  static const char t[] = "{% if tools %}{{ tools | tojson }}{% else %}none{% endif %}{{ messages[-1].content }}";
  check_input(t, &(myna_chat_input){.messages = HI, .tools = TOOL},
              "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}]Hi");
  check_input(t, &(myna_chat_input){.messages = HI, .tools = "[{\"name\": \"f\"}]"},
              "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]Hi");
  check_input(t, &(myna_chat_input){.messages = HI, .tools = TOOL, .tool_choice = MYNA_TOOLS_NONE}, "noneHi");
  check_input(t, &(myna_chat_input){.messages = HI, .tools = "[]"}, "noneHi");
  refused(t, &(myna_chat_input){.messages = HI, .tools = "[{}]"}, MYNA_E_ARG, "tools[0].function.name");
  refused(t, &(myna_chat_input){.messages = HI, .tools = TOOL, .tool_choice = MYNA_TOOLS_NAMED, .tool_name = "g"},
          MYNA_E_ARG, "none of the tools");
  refused("", &(myna_chat_input){.messages = HI, .tools = TOOL}, MYNA_E_ARG, "no chat template");
  /* Templates that take a description, parameters and types of members for granted. */
  check_input(
      "{% for t in tools %}{{ t.function.description + ':' }}{% for n, p in t.function.parameters.properties | items %}"
      "{{ n + p.description + p['items'].type | string }}{% endfor %}{% endfor %}",
      &(myna_chat_input){.messages = HI,
                         .tools = "[{\"name\": \"f\"}, {\"name\": \"g\", \"parameters\": {\"properties\": "
                                  "{\"l\": {\"type\": \"array\"}}}}]"},
      "::l");
}

/* A template that knows no tools gets them as text, and answers are read accordingly. */
static void test_plain_tools(void **state) {
  (void)state;
  myna_chat *c = chat_of(REFUSES, "", "");
  myna_chat_prompt p = apply(c, &(myna_chat_input){.messages = CALLED, .tools = TOOL});
  assert_non_null(strstr(p.text, "<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"f\""));
  assert_non_null(strstr(p.text, "</tool_call>\nx][assistant:<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":1}}\n"
                                 "</tool_call>][user:<tool_response>\nr\n</tool_response>][assistant:"));
  assert_null(strstr(p.text, "system"));
  myna_chat_parser *parser;
  myna_err err = {0};
  const myna_chat_parser_options o = {.tools = true};
  ASSERT_OK_ERR(myna_chat_parser_new(&parser, c, &p, &o, &err), &err);
  static const char answer[] = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
  const myna_delta *d;
  assert_true(myna_chat_parser_push(parser, answer, sizeof answer - 1, true, &d, &err) >= 1);
  assert_int_equal(d[0].kind, MYNA_DELTA_TOOL_CALL);
  assert_string_equal(d[0].text, "f");
  myna_chat_parser_free(parser);
  myna_chat_prompt_free(&p);
  myna_chat_free(c);
  /* Calls in the spelling of the template's own family, results as it shows them. */
  check("{# <|tool_call_start|> #}{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}", CALLED,
        "[user:x][assistant:<|tool_call_start|>[f(a=1)]<|tool_call_end|>][tool:r]");
  /* A template that knows tools is as its maker has it, also where it leaves calls out. */
  check("{{ tools }}{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}", CALLED,
        "None[user:x][assistant:][tool:r]");
}

static void test_variables(void **state) {
  (void)state;
  static const char t[] =
      "{{ enable_thinking is defined }}{{ enable_thinking }}{{ thinking }}{{ reasoning_effort }}{{ x }}";
  check(t, HI, "False");
  check_input(t, &(myna_chat_input){.messages = HI, .reasoning = MYNA_REASONING_OFF}, "TrueFalseFalse");
  check_input(t, &(myna_chat_input){.messages = HI, .reasoning = MYNA_REASONING_ON, .reasoning_effort = "low"},
              "TrueTrueTruelow");
  check_input(t,
              &(myna_chat_input){.messages = HI,
                                 .reasoning = MYNA_REASONING_ON,
                                 .reasoning_effort = "low",
                                 .kwargs = "{\"enable_thinking\": false, \"reasoning_effort\": \"high\", \"x\": [1]}"},
              "TrueFalseTruehigh[1]");
  check_input("{{ strftime_now('%d %b %Y') }}", &(myna_chat_input){.messages = HI, .now = 1721995200}, "26 Jul 2024");
  check_input(PLAIN, &(myna_chat_input){.messages = HI, .no_generation_prompt = true}, "[user:Hi]");
  check_input(PLAIN,
              &(myna_chat_input){.messages = HI, .kwargs = "{\"messages\": 1, \"add_generation_prompt\": false}"},
              "[user:Hi]");
}

#define BEGUN(text) "[{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": " text "}]"
#define TURNS                                                                                                          \
  "{% for m in messages %}<{{ m.role }}>{{ '<think></think>' if m.role == 'assistant' }}{{ m.content | trim }}</s>{% " \
  "endfor %}{% if add_generation_prompt %}<assistant><think>\n{% endif %}"

static void check_begun(const char *source, const char *messages, const char *want, const char *prefix, bool open) {
  myna_chat *c = chat_of(source, "", "");
  myna_chat_prompt p = apply(c, &(myna_chat_input){.messages = messages, .continue_final = true});
  assert_string_equal(p.text, want);
  assert_string_equal(p.answer_prefix, prefix);
  assert_int_equal(p.thinking_open, open);
  myna_chat_parser *parser;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_chat_parser_new(&parser, c, &p, NULL, &err), &err);
  const myna_delta *d;
  int n = myna_chat_parser_push(parser, " more", 5, true, &d, &err);
  assert_int_equal(n, 1);
  assert_string_equal(d[0].text, " more");
  assert_int_equal(d[0].kind, open ? MYNA_DELTA_REASONING : MYNA_DELTA_CONTENT);
  myna_chat_parser_free(parser);
  myna_chat_prompt_free(&p);
  myna_chat_free(c);
}

static void test_begun(void **state) {
  (void)state;
  check_begun("chatml", BEGUN("\"Wh\""), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nWh", "Wh", false);
  check_begun("chatml", BEGUN("[{\"type\": \"text\", \"text\": \"W\"}, {\"type\": \"text\", \"text\": \"h\"}]"),
              "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nWh", "Wh", false);
  check_begun(TURNS, BEGUN("\"Wh \""), "<user>Hi</s><assistant><think></think>Wh ", "Wh ", false);
  /* Unfinished reasoning goes behind the prompt for an answer, its tag once. */
  check_begun(TURNS, BEGUN("\"<think>\\nWell,\""), "<user>Hi</s><assistant><think>\nWell,", "Well,", true);
  check_begun(TURNS, BEGUN("\"\", \"reasoning_content\": \"Well,\""), "<user>Hi</s><assistant><think>\nWell,", "Well,",
              true);
  /* Templates that refuse an answer at the end, or lose it. */
  check_begun("{% if messages[-1].role != 'user' %}{{ raise_exception('user last') }}{% endif %}" PLAIN,
              BEGUN("\"Wh\""), "[user:Hi][assistant:Wh", "Wh", false);
  check_begun("{% for m in messages if m.role == 'user' %}{{ m.content }}>{% endfor %}", BEGUN("\"Wh\""), "Hi>Wh", "Wh",
              false);
  check_begun("", BEGUN("\"Wh\""), "Hi\nWh", "Wh", false);
  refused("chatml", &(myna_chat_input){.messages = HI, .continue_final = true}, MYNA_E_ARG, "messages[0].role");
}

static void test_reasoning(void **state) {
  (void)state;
  myna_chat *c = chat_of(TURNS, "<user>", "");
  myna_chat_prompt p = apply(c, &(myna_chat_input){.messages = HI});
  assert_true(p.thinking_open);
  assert_true(p.starts_with_bos);
  assert_string_equal(p.think_start, "<think>");
  assert_string_equal(p.think_end, "</think>");
  assert_string_equal(p.answer_prefix, "");
  myna_chat_prompt_free(&p);
  p = apply(c, &(myna_chat_input){.messages = HI, .no_generation_prompt = true});
  assert_false(p.thinking_open);
  myna_chat_prompt_free(&p);
  myna_chat_free(c);
  check("{% for m in messages %}{{ m.reasoning_content }}{{ m.content }}{% endfor %}",
        "[{\"role\": \"assistant\", \"content\": \"A\", \"reasoning\": \"R\"}]", "RA");
  check("{% for message in messages %}{{ message.thinking }}{{ message.content }}{% endfor %}",
        "[{\"role\": \"assistant\", \"content\": \"A\", \"reasoning_content\": \"R\"}]", "RA");
  check("{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for block in m.content %}"
        "{{ '[' ~ block['thinking'] ~ ']' if block.type == 'thinking' else block.text }}{% endfor %}{% endif %}{% "
        "endfor %}",
        "[{\"role\": \"assistant\", \"content\": \"A\", \"reasoning_content\": \"R\"}]", "[R]A");
}

/* ---- templates of files ---- */

static void put(FILE *f, const void *p, size_t n) { assert_int_equal(fwrite(p, 1, n, f), n); }
static void put_text(FILE *f, const char *text, size_t n) {
  uint64_t len = n;
  put(f, &len, sizeof len);
  put(f, text, n);
}

/* The shipped model with two more keys before its own. They are filled up to a multiple of the data's alignment. */
static void write_model(char path[64], const char *const keys[2], const char *const texts[2]) {
  char source[1024];
  FILE *in = fopen(test_path(source, "models/myna-stories.gguf"), "rb");
  assert_non_null(in);
  char *all = malloc(16u << 20);
  size_t n = fread(all, 1, 16u << 20, in);
  fclose(in);
  assert_true(n > 24 && n < 16u << 20);
  test_tmpfile(path, "", 0);
  FILE *f = fopen(path, "wb");
  uint64_t n_kv;
  memcpy(&n_kv, all + 16, 8);
  n_kv += 2;
  put(f, all, 16);
  put(f, &n_kv, 8);
  for (int i = 0; i < 2; i++) {
    const uint32_t type = 8;
    char text[4096];
    size_t len = strlen(texts[i]), head = 8 + strlen(keys[i]) + 4 + 8;
    memset(text, ' ', sizeof text);
    memcpy(text, texts[i], len);
    len += 31 - (head + len + 31) % 32;
    memcpy(text + len - 5, "{##}\n", 5);
    put_text(f, keys[i], strlen(keys[i]));
    put(f, &type, 4);
    put_text(f, text, len);
  }
  put(f, all + 24, n - 24);
  assert_int_equal(fclose(f), 0);
  free(all);
}

static void test_file(void **state) {
  (void)state;
  char path[64];
  const char *const keys[2] = {"tokenizer.chat_template", "tokenizer.chat_template.tool_use"};
  const char *const texts[2] = {"{{ bos_token }}{{ messages[0].content }}{{ eos_token }}      ",
                                "{{ bos_token }}{{ tools[0].function.name }}:{{ messages[0].content }}      "};
  write_model(path, keys, texts);
  myna_model *m;
  myna_chat *c;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_model_open(&m, path, NULL, &err), &err);
  ASSERT_OK_ERR(myna_chat_new(&c, m, NULL, &err), &err);
  assert_int_equal(strncmp(myna_chat_source(c), texts[0], strlen(texts[0])), 0);
  myna_chat_prompt p = apply(c, &(myna_chat_input){.messages = HI});
  assert_int_equal(strncmp(p.text, "<s>Hi</s>", 9), 0);
  assert_true(p.starts_with_bos);
  myna_chat_prompt_free(&p);
  p = apply(c, &(myna_chat_input){.messages = HI, .tools = TOOL});
  assert_int_equal(strncmp(p.text, "<s>f:Hi", 7), 0);
  myna_chat_prompt_free(&p);
  myna_chat_free(c);
  ASSERT_OK_ERR(myna_chat_new(&c, m, &(myna_chat_options){.template_source = "chatml"}, &err), &err);
  assert_non_null(strstr(myna_chat_source(c), "<|im_start|>"));
  myna_chat_free(c);
  myna_model_close(m);
  unlink(path);
}

static void test_refused(void **state) {
  (void)state;
  static const char *const rows[][2] = {
      {"{}", "messages must be an array"},
      {"[", "messages: "},
      {"[]", "messages is empty"},
      {"[1]", "messages[0] must be an object"},
      {"[{\"content\": \"x\"}]", "messages[0].role"},
      {"[{\"role\": \"user\", \"content\": 1}]", "messages[0].content"},
      {"[{\"role\": \"user\", \"content\": [1]}]", "messages[0].content[0].type"},
      {"[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]", "image_url is no text"},
      {"[{\"role\": \"assistant\", \"tool_calls\": 1}]", "messages[0].tool_calls"},
      {"[{\"role\": \"assistant\", \"tool_calls\": [{}]}]", "messages[0].tool_calls[0].function.name"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    refused("chatml", &(myna_chat_input){.messages = rows[i][0]}, MYNA_E_ARG, rows[i][1]);
  refused("chatml", &(myna_chat_input){0}, MYNA_E_ARG, "messages is missing");
  refused("chatml", &(myna_chat_input){.messages = HI, .kwargs = "[]"}, MYNA_E_ARG, "chat_template_kwargs");
  refused("{{ messages }}{% if add_generation_prompt %}\n{{ raise_exception('not today') }}{% endif %}",
          &(myna_chat_input){.messages = HI}, MYNA_E_ARG, "line 2: not today");
}

static void test_no_memory(void **state) {
  (void)state;
  test_failing f;
  for (int n = 1; n < 5000; n++) {
    myna_err err = {0};
    myna_chat *c = NULL;
    myna_chat_prompt p = {0};
    myna_chat_parser *parser = NULL;
    test_fail_at(&f, n);
    int rc = myna_chat_new(&c, NULL, &(myna_chat_options){.template_source = TURNS}, &err);
    if (rc == 0)
      rc = myna_chat_apply(c, &(myna_chat_input){.messages = BEGUN("\"Wh\""), .continue_final = true}, &p, &err);
    if (rc == 0) rc = myna_chat_parser_new(&parser, c, &p, NULL, &err);
    myna_chat_parser_free(parser);
    myna_chat_prompt_free(&p);
    myna_chat_free(c);
    test_fail_off();
    assert_int_equal(f.live, 0);
    if (!f.failed) {
      assert_int_equal(rc, 0);
      return;
    }
  }
  fail_msg("it never ran through");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_published),   cmocka_unit_test(test_harmony),   cmocka_unit_test(test_builtins),
      cmocka_unit_test(test_content),     cmocka_unit_test(test_calls),     cmocka_unit_test(test_tools),
      cmocka_unit_test(test_plain_tools), cmocka_unit_test(test_variables), cmocka_unit_test(test_begun),
      cmocka_unit_test(test_reasoning),   cmocka_unit_test(test_file),      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_no_memory)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
