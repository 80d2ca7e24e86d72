/* test_chat_walk.c: texts of the grammars of strict tools, drawn at random, are calls by the parser of the same format whose arguments are instances of the
 * schema; also where the text was led to what is easily misread: beginnings of tags, words that are literals, line breaks at the ends. */
#include "engine/chat_tools.h"
#include "engine/schema.h"
#include "schema_walk.h"

/* Schemas of one parameter p, and the spellings (bits by scheme) that refuse them where the tool is strict. */
enum {
  X = 1 << MYNA__CALLS_XML,
  N = 1 << MYNA__CALLS_NESTED,
  P = 1 << MYNA__CALLS_PYTHON,
  G = 1 << MYNA__CALLS_GEMMA,
  ALL = -1
};
static const struct {
  const char *schema;
  int refused;
} params[] = {
    {"{\"type\":\"string\"}", 0},
    {"{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-\\\\d{3,5}$\"}", 0},
    {"{\"type\":\"string\",\"pattern\":\"^<.*>$\"}", 0},
    {"{\"type\":\"string\",\"pattern\":\"^\\\\s*\\\"?a\"}", 0},
    {"{\"type\":\"string\",\"format\":\"date\"}", 0},
    {"{\"type\":\"string\",\"format\":\"email\",\"maxLength\":20}", 0},
    {"{\"type\":\"string\",\"format\":\"uri\"}", 0},
    {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":9}", 0},
    {"{\"type\":\"string\",\"maxLength\":0}", 0},
    {"{\"type\":\"string\",\"maxLength\":60}", 0},
    {"{\"type\":\"string\",\"minLength\":1,\"pattern\":\"\\n$\"}", 0},
    {"{\"enum\":[\"a<b\",\"</arg_value>\",\"<|\\\"|>\",\"\\\"q\\\"\",\"x\\n\",\"\\u00e9\\\\\",\"</parameter>\",\"\"]}",
     0},
    {"{\"type\":\"string\",\"enum\":[\"null\",\"5\",\"[1]\",\"<![CDATA[x\"]}", 0},
    {"{\"const\":\"{\\\"a\\\": 1}\"}", 0},
    {"{\"type\":[\"string\",\"null\"],\"minLength\":2}", 0},
    {"{\"type\":[\"string\",\"null\"],\"enum\":[\"null\",\" null\",null]}", 0},
    {"{\"type\":[\"integer\",\"null\"],\"minimum\":3,\"maximum\":12}", 0},
    {"{\"type\":[\"integer\",\"string\"],\"minLength\":2,\"maximum\":4}", 0},
    {"{\"enum\":[\"auto\",3,true,null]}", 0},
    {"{\"enum\":[1,2.5]}", 0},
    {"{\"type\":\"boolean\",\"const\":true}", 0},
    {"{\"type\":\"boolean\"}", 0},
    {"{\"minLength\":3,\"minimum\":7,\"maxItems\":0,\"maxProperties\":0}", 0},
    {"{\"pattern\":\"^(true|[1-9]|n.*|\\\\[x|ok)$\",\"type\":[\"string\",\"boolean\",\"array\"],\"maxItems\":0}", 0},
    {"{\"pattern\":\"^(true|nul+|-5|x)\"}", 0},
    {"{}", 0},
    {"{\"anyOf\":[{\"type\":\"string\",\"format\":\"uuid\"},{\"type\":\"string\",\"pattern\":\"^v[0-9]+$\"}]}", 0},
    {"{\"anyOf\":[{\"type\":\"integer\",\"minimum\":0},{\"type\":\"null\"}]}", 0},
    {"{\"anyOf\":[{\"type\":\"string\",\"maxLength\":4},{\"type\":\"null\"}]}", 0},
    {"{\"oneOf\":[{\"type\":\"string\",\"const\":\"all\"},{\"type\":\"integer\",\"minimum\":1}]}", 0},
    {"{\"allOf\":[{\"type\":\"string\"},{\"pattern\":\"^a\"},{\"pattern\":\"b$\"},{\"maxLength\":6}]}", 0},
    {"{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^.?</\"},\"minItems\":1,\"maxItems\":3}", 0},
    {"{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":2}", 0},
    {"{\"type\":\"array\",\"items\":{\"type\":[\"string\",\"null\"]},\"minItems\":2}", 0},
    {"{\"type\":\"array\",\"maxItems\":0}", 0},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"items\":false,\"minItems\":"
     "2}",
     G},
    {"{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"number\",\"multipleOf\":0.5}},"
     "\"minItems\":"
     "1}",
     0},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":3},\"b\":{\"type\":[\"integer\","
     "\"null\"]},\"c\":{\"type\":[\"string\",\"null\"],\"minLength\":1}},\"required\":[\"b\"],\"additionalProperties\":"
     "false}",
     0},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
     "\"x\":"
     "{\"enum\":[\"p\",\"q<\"]},\"y\":{\"type\":\"boolean\"}},\"required\":[\"x\"]}}},\"required\":[\"a\"]}",
     0},
    {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\",\"minimum\":2}}", 0},
    {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\",\"pattern\":\"^<\"}}", 0},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\",\"z\"],"
     "\"additionalProperties\":{\"type\":\"boolean\"}}",
     0},
    {"{\"type\":\"object\"}", 0},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}},"
     "\"minProperties\":1,"
     "\"additionalProperties\":false}",
     G},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}},"
     "\"dependentRequired\":{\"a\":[\"b\"]},\"additionalProperties\":false}",
     G},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}},\"not\":{"
     "\"required\":[\"a\",\"b\"]},\"additionalProperties\":false}",
     G},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1,2]},\"b\":{\"type\":\"integer\"}},\"required\":[\"a\"],"
     "\"if\":{\"properties\":{\"a\":{\"const\":1}}},\"then\":{\"required\":[\"b\"]},\"additionalProperties\":false}",
     G},
    {"{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"b\"]},\"maxLength\":2}", 0},
    {"{\"$ref\":\"#/$defs/s\"}", 0},
    {"{\"$ref\":\"#/$defs/tree\"}", 0},
    {"{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/tree\"},\"maxItems\":2}", 0},
    {"{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"},\"v\":{\"type\":\"string\"}},"
     "\"required\":["
     "\"k\",\"v\"]},{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"},\"v\":{\"type\":\"integer\"}},"
     "\"required\":[\"k\",\"v\"]}]}",
     0},
    {"{\"anyOf\":[{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},{\"type\":\"integer\"}]}", 0},
    {"{\"type\":\"string\",\"const\":\"a</parameter></arg_value><|\\\"|><escape>]<]minimax[>[b</param></"
     "arg_value:opensource></"
     "steptml:parameter>"
     "</\xEF\xBD\x9C"
     "DSML\xEF\xBD\x9Cparameter>]]>\"}",
     X | N | G},
    {"{\"type\":\"string\",\"pattern\":\"^(?<=a)b\"}", ALL},
    {"{\"type\":\"array\",\"contains\":{\"type\":\"null\"}}", ALL},
    {"{\"type\":\"array\",\"uniqueItems\":true}", ALL},
};

static const char frame[] =
    "{\"type\":\"object\",\"properties\":{\"p\":%s,\"q\":{\"type\":\"integer\"}},\"required\":[\"p\"],\"$defs\":{\"s\":"
    "{\"type\":\"string\",\"pattern\":\"^\\\\w+ "
    "\\\\w+$\"},\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":"
    "\"string\",\"maxLength\":4},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"
    "tree\"}}},\"required\":[\"v\"]"
    "}}}";

typedef struct subject {
  const struct myna__chat_format *f;
  const char *schema;
  char *tools;
  myna_grammar *g;
  myna__sc c;
  myna_err err;
  myna__jnode *root;
  int docs, twice;
} subject;

static void hear(const myna_delta *d, int n, int *calls, myna__buf *args) {
  for (int i = 0; i < n; i++) {
    *calls += d[i].kind == MYNA_DELTA_TOOL_CALL;
    if (d[i].kind == MYNA_DELTA_ARGUMENTS) myna__buf_add(args, d[i].text, d[i].len);
  }
}

static void judge(subject *s, const char *text, size_t n) {
  char none[1] = "";
  myna_chat_prompt prompt = {.text = none, .tools = s->tools};
  myna_chat_parser *p;
  const myna_delta *d;
  myna__buf args = {0};
  myna__jnode *v = NULL;
  int calls = 0;
  if (myna_grammar_match(s->g, text, n) != MYNA_MATCH_WHOLE)
    fail_msg("%s %s: its grammar does not match %.*s", s->f->name, s->schema, (int)n, text);
  ASSERT_OK(myna__chat_parser_new(&p, s->f, &prompt, &(myna_chat_parser_options){.tools = true}, NULL));
  int told = myna_chat_parser_push(p, text, n, true, &d, NULL);
  hear(d, told, &calls, &args);
  myna_chat_parser_free(p);
  if (calls != 1) fail_msg("%s %s: %d calls in %.*s", s->f->name, s->schema, calls, (int)n, text);
  s->docs++;
  s->err = (myna_err){0};
  int rc = myna__sj_parse(&s->c, args.data ? args.data : "", args.len, &v);
  if (rc < 0 && strstr(s->err.msg, "twice")) {
    s->twice++;
  } else {
    if (rc == 0) rc = myna__schema_valid(&s->c, s->root, v, 0);
    if (rc != 1 && rc != 2)
      fail_msg("%s %s: %.*s gave %.*s: %d %s", s->f->name, s->schema, (int)n, text, (int)args.len, args.data, rc,
               s->err.msg);
  }
  myna__buf_free(&args);
}

/* Text that is cut, led to something odd and closed as shortly as may be. */
static void judge_led(subject *s, const char *text, size_t n, test_rng *r) {
  static const char *const odd[] = {"null",
                                    " null\n",
                                    "\n",
                                    "\n\n",
                                    "5",
                                    "[1]",
                                    "{",
                                    "\"a\"",
                                    "<![CDATA[",
                                    "</parameter",
                                    "</arg_value",
                                    "<|\"|",
                                    "]<]minimax[>[",
                                    "]<]minimax[>[</",
                                    "]]",
                                    "True",
                                    "<",
                                    "\"",
                                    "\\",
                                    "</param>",
                                    "'",
                                    "</arg_value></tool_call",
                                    "a</param",
                                    "]<]min",
                                    "\"\"\"",
                                    ""};
  for (int i = 0; i < 8; i++) {
    myna__buf b = {0};
    char *tail = NULL;
    size_t at = (size_t)test_int(r, (int)n + 1);
    while (at < n && ((uint8_t)text[at] & 0xC0) == 0x80) at++;
    myna__buf_add(&b, text, at);
    for (int k = 0; k < 3; k++) {
      const char *more = odd[test_int(r, MYNA__COUNT(odd))];
      size_t before = b.len;
      myna__buf_str(&b, more);
      if (myna_grammar_match(s->g, b.data ? b.data : "", b.len) == MYNA_MATCH_DEAD) b.len = before;
    }
    ASSERT_OK(myna_grammar_close(s->g, b.data ? b.data : "", b.len, &tail, NULL));
    myna__buf_str(&b, tail);
    judge(s, b.data, b.len);
    myna_grammar_free_text(tail);
    myna__buf_free(&b);
  }
}

static void judge_walks(subject *s, int n, test_rng *r) {
  walker w;
  ASSERT_OK(walk_init(&w, s->g));
  for (int i = 0; i < n; i++) {
    myna__buf b = {0};
    size_t own;
    if (walk(&w, r, i % 2 ? 300 : 100, &b, &own) < 0) fail_msg("%s %s: no end", s->f->name, s->schema);
    judge(s, b.data, b.len);
    judge_led(s, b.data, b.len, r);
    myna__buf_free(&b);
  }
  walk_free(&w);
}

static int judge_schema(const struct myna__chat_format *f, const char *param, int refused, test_rng *r, int *twice) {
  char schema[2048], text[4096];
  subject s = {.f = f, .schema = param};
  myna_chat_prompt p = {0};
  myna_err err = {0};
  snprintf(schema, sizeof schema, frame, param);
  snprintf(text, sizeof text, "[{\"name\":\"f\",\"strict\":true,\"parameters\":%s}]", schema);
  json_t *tools = json_loads(text, 0, NULL);
  assert_non_null(tools);
  s.tools = text;
  int rc = myna__chat_tools_grammar(f, tools, MYNA_TOOLS_NAMED, "f", true, &p, &err);
  bool may = refused == ALL || refused >> f->scheme & 1;
  if ((rc < 0) != may) fail_msg("%s %s: %s", f->name, param, rc < 0 ? err.msg : "should be refused");
  if (rc < 0 && (rc == MYNA_E_NOMEM || !strstr(err.msg, "tools[0].function.parameters")))
    fail_msg("%s %s: %d %s", f->name, param, rc, err.msg);
  json_decref(tools);
  if (rc < 0) return 0;
  if (myna_grammar_from_gbnf(&s.g, p.grammar, strlen(p.grammar), NULL, &err) < 0)
    fail_msg("%s %s: %s in\n%s", f->name, param, err.msg, p.grammar);
  s.c = (myna__sc){.fuel = MYNA__SC_FUEL, .err = &s.err};
  ASSERT_OK_ERR(myna__sj_parse(&s.c, schema, strlen(schema), &s.root), &s.err);
  judge_walks(&s, 2, r);
  *twice += s.twice;
  myna__chat_prompt_lists_free(&p);
  myna_grammar_free(s.g);
  myna__arena_free(&s.c.arena);
  return s.docs;
}

/* Every row whose calls have parameters one by one, and one with JSON. */
static void test_walks(void **state) {
  test_rng r = test_rng_new(31);
  int docs = 0, twice = 0, rows = 0;
  for (int i = 0; myna__chat_format_row(i); i++) {
    const struct myna__chat_format *f = myna__chat_format_row(i), *before = i ? myna__chat_format_row(i - 1) : NULL;
    bool each = 1 << f->scheme & (X | N | P | G);
    if ((!each && strcmp(f->name, "hermes") != 0) || (before && strcmp(before->name, f->name) == 0)) continue;
    rows++;
    for (size_t k = 0; k < MYNA__COUNT(params); k++)
      docs += judge_schema(f, params[k].schema, params[k].refused, &r, &twice);
  }
  print_message("%d formats, %d calls read, %d with a name twice\n", rows, docs, twice);
  assert_true(rows >= 12 && docs > 7000 && twice * 20 < docs);
}

/* Strings that a tool which is not strict asks for are kept too; what cannot be is any text. */
static void test_loose(void **state) {
  static const struct {
    const char *param, *value;
    myna_match want;
  } cases[] = {{"{\"type\":\"string\",\"pattern\":\"^a+$\"}", "aa", MYNA_MATCH_WHOLE},
               {"{\"type\":\"string\",\"pattern\":\"^a+$\"}", "b", MYNA_MATCH_DEAD},
               {"{\"type\":\"string\",\"pattern\":\"^(?<=a)b\"}", "anything", MYNA_MATCH_WHOLE},
               {"{\"type\":\"string\",\"maxLength\":3}", "abcd", MYNA_MATCH_DEAD},
               {"{\"enum\":[\"a<b\",\"c\"]}", "a<b", MYNA_MATCH_WHOLE},
               {"{\"type\":\"string\"}", "a </arg_valu> <arg_value>", MYNA_MATCH_WHOLE},
               {"{\"type\":\"string\"}", "<![CDATA[", MYNA_MATCH_DEAD},
               {"{\"type\":\"integer\"}", "x", MYNA_MATCH_DEAD},
               {"{\"description\":\"anything\"}", "[1", MYNA_MATCH_WHOLE}};
  const struct myna__chat_format *f = NULL;
  for (int i = 0; !f || strcmp(f->name, "glm-4") != 0; i++) f = myna__chat_format_row(i);
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    char text[1024];
    myna_chat_prompt p = {0};
    myna_grammar *g;
    snprintf(text, sizeof text, "[{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"p\":%s}}}]",
             cases[i].param);
    json_t *tools = json_loads(text, 0, NULL);
    ASSERT_OK(myna__chat_tools_grammar(f, tools, MYNA_TOOLS_REQUIRED, NULL, true, &p, NULL));
    ASSERT_OK(myna_grammar_from_gbnf(&g, p.grammar, strlen(p.grammar), NULL, NULL));
    snprintf(text, sizeof text, "<tool_call>f<arg_key>p</arg_key><arg_value>%s</arg_value></tool_call>",
             cases[i].value);
    if (myna_grammar_match(g, text, strlen(text)) != cases[i].want) fail_msg("%s: %s", cases[i].param, cases[i].value);
    myna_grammar_free(g);
    myna__chat_prompt_lists_free(&p);
    json_decref(tools);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_walks), cmocka_unit_test(test_loose)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
