/* test_schema.c: JSON schemas as GBNF: which texts the grammar has, what is refused and where, the published suite of cases. A naive matcher
 * of the GBNF that is written stands in for the engine's own, so that each checks the other's dialect. */
#include "test.h"
#include "base/base.h"
#include "myna_grammar.h"
#include "schema_match.h"

static char *gbnf(const char *schema, bool compact) {
  char *text = NULL;
  myna_err err = {0};
  myna_schema_options o = {.compact = compact};
  ASSERT_OK_ERR(myna_schema_to_gbnf(schema, strlen(schema), NULL, &o, &text, &err), &err);
  return text;
}

static bool has(const char *schema, const char *text) {
  char *g = gbnf(schema, true);
  bool found = schema_match(g, text, strlen(text));
  myna__strfree(g);
  return found;
}

/* Cases: schema, texts that it has, texts that it has not; NULL ends each list. */
typedef struct texts_case {
  const char *schema;
  const char *in[8], *out[8];
} texts_case;

static const texts_case cases[] = {
    {"true",
     {"1", "null", "\"a\"", "{\"a\":[1,{}]}", "[]", "-1.5e3"},
     {"", "01", "[1,]", "{a:1}", "\"\\x\"", "\"\\ud800\"", "1."}},
    {"{\"type\":\"integer\"}", {"0", "-1", "123"}, {"1.0", "-0", "01", "\"1\""}},
    {"{\"type\":[\"integer\",\"null\"]}", {"0", "null"}, {"true", "[]"}},
    {"{\"type\":\"integer\",\"minimum\":-12,\"exclusiveMaximum\":305}",
     {"-12", "-9", "0", "99", "304", "300"},
     {"-13", "305", "1000", "-100", "310"}},
    {"{\"minimum\":0.5,\"maximum\":12.25,\"type\":\"number\"}",
     {"0.5", "12.25", "12.249", "3", "12", "0.50", "9.75"},
     {"0.49", "12.26", "13", "0", "-1", "12.251", "100"}},
    {"{\"type\":\"number\",\"maximum\":-0.001}", {"-0.001", "-1", "-0.01"}, {"-0.0009", "0", "1", "-0.0"}},
    {"{\"type\":\"integer\",\"multipleOf\":7}", {"0", "7", "-14", "7000000007"}, {"1", "-13", "7.0"}},
    {"{\"type\":\"number\",\"multipleOf\":0.25}", {"0", "0.75", "19.5", "5", "1.50"}, {"0.1", "1.375"}},
    {"{\"type\":\"string\",\"pattern\":\"^\\\\p{Lu}\\\\p{Letter}*\\\\P{L}$\"}",
     {"\"A1\"", "\"\xC3\x84z\xCF\x80.\""},
     {"\"a1\"", "\"AB\"", "\"A11\""}},
    {"{\"type\":\"string\",\"pattern\":\"^\\\\D\\\\W\\\\S.$\"}",
     {"\"a-bc\"", "\"\xC3\x84-\xC3\x84\xC3\x84\""},
     {"\"1-bc\"", "\"\xD9\xA1-bc\"",
      "\"a\xC3\x84"
      "bc\"",
      "\"a-\xEF\xBB\xBF"
      "c\"",
      "\"a-b\\n\""}},
    {"{\"type\":\"object\",\"patternProperties\":{\"^\\\\w$\":{\"type\":\"null\"},\"b$\":{\"type\":\"null\"}},"
     "\"additionalProperties\":{\"const\":1}}",
     {"{\"a\":null}", "{\"-\":1}", "{\"ab\":null}"},
     {"{\"a\":1}", "{\"\xC3\x84\":1}", "{\"xb\\n\":1}", "{\"ab\":1}"}},
    {"{\"oneOf\":[{\"enum\":[1,2]},{\"enum\":[2,\"a\"]}]}", {"1", "\"a\""}, {"2"}},
    /* branches of oneOf that overlap: without what others have too */
    {"{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}",
     {"1", "2.5", "-7", "\"a\"", "null"},
     {"3", "1.5", "2", "2.0"}},
    {"{\"oneOf\":[{\"const\":1.0},{\"type\":\"integer\"}]}", {"0", "2", "-1"}, {"1", "1.0", "1.5"}},
    {"{\"type\":\"object\",\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
     {"{\"a\":1}", "{\"b\":1}", "{\"b\":1,\"c\":2}"},
     {"{}", "{\"a\":1,\"b\":2}", "{\"b\":1,\"a\":2}", "{\"c\":1}"}},
    {"{\"oneOf\":[{\"type\":\"array\",\"items\":{\"type\":\"null\"}},{\"type\":\"array\",\"items\":{\"type\":"
     "\"string\"}}]}",
     {"[null]", "[\"a\",\"b\"]"},
     {"[]", "[null,\"a\"]", "[1]"}},
    {"{\"type\":\"integer\",\"oneOf\":[{\"multipleOf\":3},{\"multipleOf\":5}]}",
     {"3", "10", "-9", "5"},
     {"15", "0", "1", "-30"}},
    {"{\"oneOf\":[{\"type\":\"string\",\"pattern\":\"^a\"},{\"type\":\"string\",\"pattern\":\"b$\"},{\"enum\":[\"c\","
     "\"ab\",true]}]}",
     {"\"a\"", "\"b\"", "\"c\"", "true", "\"xb\""},
     {"\"ab\"", "\"axb\"", "\"x\"", "false"}},
    {"{\"oneOf\":[{\"type\":\"string\",\"minLength\":2},{\"type\":\"string\",\"maxLength\":3},{\"const\":\"aaaa\"}]}",
     {"\"a\"", "\"bbbb\"", "\"\""},
     {"\"aa\"", "\"aaa\"", "\"aaaa\""}},
    {"{\"type\":\"object\",\"oneOf\":[{\"properties\":{\"a\":{\"type\":\"null\"}},\"additionalProperties\":false},{"
     "\"properties\":{\"b\":{"
     "\"type\":\"null\"}},\"additionalProperties\":false}]}",
     {"{\"a\":null}", "{\"b\":null}"},
     {"{}", "{\"a\":null,\"b\":null}", "{\"a\":1}"}},
    {"{\"oneOf\":[{\"type\":\"number\"},{}]}", {"\"a\"", "null", "[]"}, {"1", "1.5"}},
    /* characters of patterns may be escaped as they may elsewhere, beyond the first plane as pairs */
    {"{\"type\":\"string\",\"pattern\":\"^[\\\\u{1F600}-\\\\u{1F64F}]\xC3\xA9[^a]$\"}",
     {"\"\xF0\x9F\x98\x80\xC3\xA9z\"", "\"\\ud83d\\ude00\\u00e9\\u007A\"", "\"\\uD83D\\uDE4f\\u00E9\\/\"",
      "\"\\ud83d\\ude30\xC3\xA9\\udbff\\udfff\""},
     {"\"\\ud83d\\ude50\\u00e9z\"", "\"\\ud83d\\u00e9z\"", "\"\\ud83d\\ude00\\u00e9a\"",
      "\"\\ud83d\\ude00\\u00e9\\u0061\"", "\"\\ud83c\\ude00\\u00e9z\"", "\"\\ud83d\\ude00\\u00e9\\ud800\""}},
    {"{\"type\":\"string\",\"pattern\":\"^[\\\\u{1F3FE}-\\\\u{20001}]$\"}",
     {"\"\\ud83c\\udffe\"", "\"\\ud83d\\udc00\"", "\"\\ud83f\\udfff\"", "\"\\ud840\\udc00\"", "\"\\ud840\\udc01\""},
     {"\"\\ud83c\\udffd\"", "\"\\ud840\\udc02\"", "\"\\ud841\\udc00\"", "\"\\ud83c\""}},
    {"{\"type\":\"string\",\"format\":\"hostname\"}",
     {"\"a.b\"", "\"x-1.example.com\"", "\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk\""},
     {"\"-a\"", "\"xn--x\"", "\"ab--cd\"", "\"a.\"",
      "\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl\""}},
    {"{\"type\":\"string\",\"format\":\"duration\"}",
     {"\"P1D\"", "\"P4DT12H30M5S\"", "\"PT1M\"", "\"P2W\""},
     {"\"P\"", "\"PT\"", "\"P1D2H\"", "\"P1Y2W\"", "\"1D\""}},
    {"{\"type\":\"string\",\"format\":\"uri\"}",
     {"\"mailto:a@b.c\"", "\"urn:a:b\"", "\"http://a.b:80/c?d#e\""},
     {"\"//a.b\"", "\"a\"", "\"http:// a\"", "\"a:\\\\b\""}},
    {"{\"type\":[\"integer\",\"string\"],\"format\":\"int32\"}",
     {"2147483647", "-2147483648", "\"x\""},
     {"2147483648", "-2147483649"}},
    {"{\"type\":\"number\",\"format\":\"uint8\"}", {"0", "255", "17"}, {"256", "-1", "1.5"}},
    {"{\"enum\":[1.5,3000000000,7],\"format\":\"int32\"}", {"7"}, {"1.5", "3000000000"}},
    /* lookaheads; what is not, and what follows from what */
    {"{\"type\":\"string\",\"pattern\":\"^(?!a)(?=.*1)[ab1]+$\"}",
     {"\"b1\"", "\"1a\""},
     {"\"a1\"", "\"b\"", "\"bc1\""}},
    {"{\"type\":\"string\",\"pattern\":\"^(?!^[-+.]*$)[+-]?0*\\\\d*\\\\.?\\\\d*$\"}",
     {"\"1\"", "\"-0.5\"", "\"+.9\""},
     {"\".\"", "\"\"", "\"-\""}},
    {"{\"type\":\"string\",\"pattern\":\"^P(?:\\\\d+W|(?=\\\\d|T\\\\d)(\\\\d+D)?(T(?=\\\\d)(\\\\d+H)?)?)$\"}",
     {"\"P1W\"", "\"P1D\"", "\"PT2H\"", "\"P1DT2H\""},
     {"\"P\"", "\"PT\"", "\"P1DT\""}},
    {"{\"not\":{\"type\":[\"string\",\"object\",\"array\",\"number\",\"boolean\"]}}", {"null"}, {"1", "\"a\"", "true"}},
    {"{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"b\"]},\"maxLength\":1}",
     {"\"\"", "\"c\""},
     {"\"a\"", "\"b\"", "\"cc\""}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"not\":{}},\"b\":{\"type\":\"null\"}},\"additionalProperties\":"
     "false}",
     {"{}", "{\"b\":null}"},
     {"{\"a\":1}"}},
    {"{\"type\":\"integer\",\"not\":{\"minimum\":3,\"maximum\":5}}", {"2", "6"}, {"3", "4", "5"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1,2]},\"b\":{\"type\":\"null\"}},\"required\":[\"a\"],"
     "\"additionalProperties\":false,\"if\":{\"properties\":{\"a\":{\"const\":1}}},\"then\":{\"required\":[\"b\"]},"
     "\"else\":{\"properties\":{\"b\":false}}}",
     {"{\"a\":1,\"b\":null}", "{\"a\":2}"},
     {"{\"a\":1}", "{\"a\":2,\"b\":null}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"}},"
     "\"additionalProperties\":false,\"dependentRequired\":{\"a\":[\"b\"]}}",
     {"{}", "{\"b\":null}", "{\"a\":null,\"b\":null}"},
     {"{\"a\":null}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":true},\"additionalProperties\":false,"
     "\"dependencies\":{\"a\":{\"properties\":{\"b\":{\"const\":1}}}}}",
     {"{\"a\":null}", "{\"b\":2}", "{\"a\":null,\"b\":1}"},
     {"{\"a\":null,\"b\":2}"}},
    {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-c]+$\",\"maxLength\":2},\"additionalProperties\":{"
     "\"type\":\"null\"},\"properties\":{\"b\":true,\"z\":true}}",
     {"{}", "{\"a\":null}", "{\"b\":1,\"cc\":null}"},
     {"{\"z\":1}", "{\"aaa\":null}", "{\"d\":null}"}},
    {"{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"a\",\"b\"]},\"additionalProperties\":{\"type\":\"null\"}}",
     {"{}", "{\"a\":null}", "{\"a\":null,\"b\":null}"},
     {"{\"c\":null}", "{\"a\":1}"}},
    {"{\"type\":\"object\",\"propertyNames\":{\"type\":\"string\"},\"additionalProperties\":{\"type\":\"null\"}}",
     {"{\"x\":null}"},
     {"{\"x\":1}"}},
    /* names of formats that nobody checks say nothing */
    {"{\"type\":\"string\",\"format\":\"topic\"}", {"\"\"", "\"a b\""}, {"1"}},
    {"{\"type\":\"string\",\"format\":\"uuid4\"}",
     {"\"123e4567-e89b-42d3-a456-426614174000\""},
     {"\"123e4567-e89b-12d3-a456-426614174000\"", "\"\""}},
    /* what stands in the schema may be escaped beyond ASCII */
    {"{\"enum\":[\"\xC3\xA9/\xF0\x9F\x98\x80\",{\"\xC3\xA9\":\"a\"}]}",
     {"\"\xC3\xA9/\xF0\x9F\x98\x80\"", "\"\\u00E9/\\ud83d\\uDE00\"", "{\"\\u00e9\":\"a\"}", "{\"\xC3\xA9\":\"a\"}"},
     {"\"\\u00e8/\\ud83d\\uDE00\"", "\"\\u00e9/\\ud83d\"", "\"\\u00e9\"", "{}"}},
    {"{\"type\":\"object\",\"properties\":{\"\xC3\xA4\":{\"type\":\"null\"}},\"required\":[\"\xC3\xA4\"],"
     "\"additionalProperties\":false}",
     {"{\"\xC3\xA4\":null}", "{\"\\u00e4\":null}"},
     {"{}", "{\"\\u00e5\":null}", "{\"\xC3\xA4\":null,\"\\u00e4\":null}"}},
    {"{\"properties\":{\"a\":{\"required\":true},\"b\":{\"required\":false}}}",
     {"{\"a\":1}", "1"},
     {"{}", "{\"b\":1}"}},
    {"{\"$ref\":\"#x\",\"$defs\":{\"a\":{\"$id\":\"http://a/"
     "\",\"$anchor\":\"x\",\"type\":\"null\"},\"b\":{\"$anchor\":\"x\",\"type\":"
     "\"boolean\"}}}",
     {"true"},
     {"null"}},
    {"{\"oneOf\":[{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"null\"}},{\"type\":\"array\",\"items\":{"
     "\"type\":\"string\"}}]}",
     {"[]", "[null]", "[\"\",\"\"]"},
     {"[null,\"\"]", "[1]"}},
    {"{\"type\":\"integer\",\"allOf\":[{\"multipleOf\":4},{\"multipleOf\":6,\"maximum\":30}]}",
     {"12", "24", "0"},
     {"6", "4", "36"}},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
     {"\"ab\"", "\"a\\n\\u00e9\"", "\"\xC3\xA9\xF0\x9F\x98\x80\"", "\"a\\ud83d\\ude00\""},
     {"\"a\"", "\"abcd\"", "\"\xC3\xA9\"", "ab"}},
    {"{\"type\":\"string\",\"pattern\":\"^a+b?$\"}", {"\"a\"", "\"aaab\""}, {"\"b\"", "\"aab \"", "\"\""}},
    {"{\"type\":\"string\",\"pattern\":\"b[0-9]{2,}|^x\"}",
     {"\"ab12c\"", "\"x\\\"\\\\\"", "\"b000\""},
     {"\"ab1\"", "\"ax\"", "\"\""}},
    {"{\"type\":\"string\",\"pattern\":\"^[^\\\\d\\\\s](?:ab|c){1,2}\\\\.$\",\"maxLength\":5}",
     {"\"xab.\"", "\"xcc.\"", "\"xabc.\""},
     {"\"xabab.\"", "\"1ab.\"", "\" c.\"", "\"xabx\""}},
    {"{\"type\":\"string\",\"format\":\"date\"}",
     {"\"2024-02-29\"", "\"1999-12-31\""},
     {"\"2023-02-29\"", "\"2024-13-01\"", "\"2024-1-1\""}},
    {"{\"type\":\"string\",\"format\":\"ipv4\"}",
     {"\"1.2.3.4\"", "\"255.0.10.199\""},
     {"\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\""}},
    {"{\"type\":\"string\",\"format\":\"ipv6\"}",
     {"\"::\"", "\"fe80::1\"", "\"1:2:3:4:5:6:7:8\""},
     {"\":\"", "\"1:2\"", "\"::1::\"", "\"1:2:3:4:5:6:7:8:9\""}},
    {"{\"enum\":[\"a\",1,null,{\"b\":[2]}],\"type\":[\"string\",\"object\"]}",
     {"\"a\"", "{\"b\":[2]}"},
     {"1", "null", "\"b\""}},
    {"{\"const\":\"\\u0000\\\"\\u00e9\\n\"}", {"\"\\u0000\\\"\xC3\xA9\\n\""}, {"\"\"", "\"\\u0000\\\"\xC3\xA9\""}},
    {"{\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"}},\"required\":[\"b\"],"
     "\"additionalProperties\":false,\"type\":\"object\"}",
     {"{\"a\":1,\"b\":null}", "{\"b\":null}"},
     {"{}", "{\"a\":1}", "{\"a\":1,\"b\":null,\"c\":1}", "{\"a\":1.5,\"b\":null}", "{\"b\":null,}"}},
    {"{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"null\"},\"ac\":false}}",
     {"{}", "{\"ab\":null}", "{\"ab\":null,\"abc\":1,\"\":2}", "{\"a\":1}"},
     {"{\"ab\":1}", "{\"ac\":1}", "{\"x\":1,\"ab\":1}", "{\"\\u0061b\":1}"}},
    {"{\"type\":\"object\",\"patternProperties\":{\"^n\":{\"type\":\"integer\"},\"s$\":{\"minimum\":5}},"
     "\"additionalProperties\":{\"type\":\"null\"}}",
     {"{\"n\":1}", "{\"ns\":5}", "{\"x\":null}", "{\"s\":9.5}"},
     {"{\"n\":null}", "{\"ns\":4}", "{\"x\":1}", "{\"ns\":5.5}"}},
    {"{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":2,\"properties\":{\"a\":true,\"b\":true},"
     "\"additionalProperties\":{\"type\":\"null\"}}",
     {"{\"a\":1}", "{\"b\":1,\"c\":null}", "{\"a\":1,\"b\":2}", "{\"c\":null,\"d\":null}"},
     {"{}", "{\"a\":1,\"b\":2,\"c\":null}", "{\"c\":null,\"d\":null,\"e\":null}"}},
    {"{\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"integer\"}],\"items\":false,\"minItems\":1,\"type\":"
     "\"array\"}",
     {"[\"\"]", "[\"\",1]"},
     {"[]", "[1]", "[\"\",1,2]", "[\"\",\"\"]"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"minItems\":2,\"maxItems\":3}",
     {"[null,null]", "[null,null,null]"},
     {"[]", "[null]", "[null,null,null,null]"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"maxItems\":0}", {"[]"}, {"[null]", ""}},
    {"{\"$ref\":\"#/$defs/"
     "t\",\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"null\"},\"n\":{\"anyOf\":[{\"$ref\":"
     "\"#/$defs/t\"},{\"type\":\"null\"}]}},"
     "\"required\":[\"v\",\"n\"],\"additionalProperties\":false}}}",
     {"{\"v\":null,\"n\":null}", "{\"v\":null,\"n\":{\"v\":null,\"n\":null}}"},
     {"{\"v\":null}", "null", "{\"v\":null,\"n\":{}}"}},
    {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"},{\"properties\":{\"k\":{\"const\":1}},\"required\":["
     "\"k\"],\"type\":\"object\"},"
     "{\"properties\":{\"k\":{\"const\":2}},\"required\":[\"k\"],\"type\":\"object\"}]}",
     {"1", "\"\"", "{\"k\":1}", "{\"k\":2}"},
     {"{\"k\":3}", "{}", "1.5", "null"}},
    {"{\"$ref\":\"#here\",\"$defs\":{\"a\":{\"$anchor\":\"here\",\"const\":5}}}", {"5"}, {"4"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1],\"type\":\"string\"}},\"additionalProperties\":false}",
     {"{}"},
     {"{\"a\":1}"}},
};

static void texts(void **state) {
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    const texts_case *c = &cases[i];
    for (int k = 0; k < 8 && c->in[k]; k++)
      if (!has(c->schema, c->in[k])) fail_msg("%s lacks %s", c->schema, c->in[k]);
    for (int k = 0; k < 8 && c->out[k]; k++)
      if (has(c->schema, c->out[k])) fail_msg("%s has %s", c->schema, c->out[k]);
  }
}

static void refused(void **state) {
  static const struct {
    const char *schema;
    int code;
    const char *part;
  } bad[] = {
      {"{\"properties\":{\"a\":{\"contains\":{}}}}", MYNA_E_UNSUPPORTED,
       "#/properties/a/contains: keyword is not supported"},
      {"{\"not\":{\"format\":\"date\"}}", MYNA_E_UNSUPPORTED, "#/not: its opposite is not known"},
      {"{\"if\":{\"contains\":{}},\"then\":false}", MYNA_E_UNSUPPORTED, "#/if/contains: keyword is not supported"},
      {"{\"if\":{\"format\":\"date\"},\"then\":false}", MYNA_E_UNSUPPORTED, "#/if: its opposite is not known"},
      {"{\"not\":{}}", MYNA_E_ARG, "no instance"},
      {"{\"uniqueItems\":true}", MYNA_E_UNSUPPORTED, "#/uniqueItems"},
      {"{\"if\":true,\"then\":false}", MYNA_E_ARG, "no instance"},
      {"{\"$ref\":\"http://x/y\"}", MYNA_E_UNSUPPORTED, "#/$ref"},
      {"{\"$ref\":\"#/nowhere\"}", MYNA_E_FORMAT, "#/$ref"},
      {"{\"$ref\":\"#\"}", MYNA_E_UNSUPPORTED, "leads back"},
      {"{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}", MYNA_E_UNSUPPORTED, "leads back"},
      {"{\"pattern\":\"(?<=a)\"}", MYNA_E_UNSUPPORTED, "#/pattern"},
      {"{\"pattern\":\"(a)\\\\1\"}", MYNA_E_UNSUPPORTED, "#/pattern"},
      {"{\"pattern\":\"(a\"}", MYNA_E_FORMAT, "#/pattern"},
      {"{\"pattern\":\"(((a{9}){9}){9}){99}\"}", MYNA_E_LIMIT, "#/pattern"},
      {"{\"oneOf\":[{\"format\":\"ipv4\",\"type\":\"string\"},{\"format\":\"ipv6\"}]}", MYNA_E_UNSUPPORTED, "#/oneOf"},
      {"{\"oneOf\":[{\"const\":1},{\"type\":\"null\",\"format\":\"date\"},{\"maximum\":7,\"format\":\"date\"}]}",
       MYNA_E_UNSUPPORTED, "#/oneOf"},
      {"{\"oneOf\":[true,{}]}", MYNA_E_UNSUPPORTED, "#/oneOf"},
      {"{\"type\":\"number\",\"multipleOf\":0.01}", MYNA_E_UNSUPPORTED, "#/multipleOf"},
      {"{\"pattern\":\"\\\\p{Script=Greek}\"}", MYNA_E_UNSUPPORTED, "#/pattern"},
      {"{\"pattern\":\"a{2}{3}\"}", MYNA_E_FORMAT, "#/pattern"},
      {"{\"pattern\":\"a{,3}\"}", MYNA_E_UNSUPPORTED, "#/pattern"},
      {"{\"pattern\":\"\\\\bx\"}", MYNA_E_UNSUPPORTED, "#/pattern"},
      {"{\"properties\":{\"a\":false},\"required\":[\"a\"],\"type\":\"object\"}", MYNA_E_ARG, "no instance"},
      {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", MYNA_E_ARG, "no instance"},
      {"{\"minimum\":3,\"maximum\":2,\"type\":\"number\"}", MYNA_E_ARG, "no instance"},
      {"false", MYNA_E_ARG, "no instance"},
      {"{\"type\":\"kaboom\"}", MYNA_E_FORMAT, "#/type"},
      {"{\"type\":123}", MYNA_E_FORMAT, "#/type"},
      {"{\"minLength\":-1}", MYNA_E_FORMAT, "#/minLength"},
      {"{\"a\":1,\"a\":2}", MYNA_E_FORMAT, "twice"},
      {"[]", MYNA_E_FORMAT, "#"},
      {"{", MYNA_E_FORMAT, ""},
  };
  for (size_t i = 0; i < MYNA__COUNT(bad); i++) {
    char *text = NULL;
    myna_err err = {0};
    ASSERT_FAILS(myna_schema_to_gbnf(bad[i].schema, strlen(bad[i].schema), NULL, NULL, &text, &err), bad[i].code, &err,
                 bad[i].part);
    assert_null(text);
    assert_int_equal(myna_schema_to_gbnf(bad[i].schema, strlen(bad[i].schema), NULL, NULL, &text, NULL), bad[i].code);
  }
}

/* Spaces are optional and bounded; rules carry the prefix; empty text is any value. */
static void spaces(void **state) {
  static const char *const apart[] = {"[1,{\"a\":[],\"b\":\"x\"}]", "[1, {\"a\": [], \"b\": \"x\"}]",
                                      "[\n  1,\n  {\n    \"a\": [],\n    \"b\": \"x\"\n  }\n]"};
  char *e = gbnf("{\"enum\":[[1,{\"a\":[],\"b\":\"x\"}]]}", false);
  for (size_t i = 0; i < MYNA__COUNT(apart); i++) assert_true(schema_match(e, apart[i], strlen(apart[i])));
  assert_false(schema_match(e, "[1,{\"b\":\"x\",\"a\":[]}]", 24));
  myna__strfree(e);
  char *g = gbnf("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"const\":1}}},"
                 "\"additionalProperties\":false}",
                 false);
  static const char *const in[] = {"{\"a\":[1,1]}", "{\n  \"a\": [\n    1, 1\n  ]\n}", "{ \"a\": [ 1,\n1 ] }", "{}"};
  static const char *const out[] = {"{\n\n\"a\": []}", " {}", "{\"a\" : []}", "{\"a\":  []}"};
  for (size_t i = 0; i < MYNA__COUNT(in); i++) assert_true(schema_match(g, in[i], strlen(in[i])));
  for (size_t i = 0; i < MYNA__COUNT(out); i++) assert_false(schema_match(g, out[i], strlen(out[i])));
  myna__strfree(g);
  myna_err err = {0};
  ASSERT_OK_ERR(myna_schema_to_gbnf("", 0, "tool-", NULL, &g, &err), &err);
  assert_non_null(strstr(g, "\ntool-root ::= tool-r"));
  assert_memory_equal(g, "tool-r", 6);
  myna__strfree(g);
}

/* Deep, wide and repetitive schemas end in an answer: a grammar, or what is too much and where. */
static void repeat(myna__buf *b, const char *text, int n) {
  for (int i = 0; i < n; i++) myna__buf_str(b, text);
}

static void ends(myna__buf *b, int code, const char *part) {
  myna_grammar *g = NULL;
  myna_err err = {0};
  if (code)
    ASSERT_FAILS(myna_grammar_from_schema(&g, b->data, b->len, NULL, &err), code, &err, part);
  else
    ASSERT_OK_ERR(myna_grammar_from_schema(&g, b->data, b->len, NULL, &err), &err);
  myna_grammar_free(g);
  b->len = 0;
}

static void large(void **state) {
  myna__buf b = {0};
  repeat(&b, "{\"items\":", 10000);
  ends(&b, MYNA_E_FORMAT, "nested too deeply");
  repeat(&b, "[", 100000);
  ends(&b, MYNA_E_FORMAT, "nested too deeply");
  repeat(&b, "{\"items\":", 250);
  repeat(&b, "true", 1);
  repeat(&b, "}", 250);
  ends(&b, 0, NULL);
  repeat(&b, "{\"enum\":[0", 1);
  for (int i = 1; i < 100000; i++) myna__buf_printf(&b, ",%d", i);
  repeat(&b, "]}", 1);
  ends(&b, 0, NULL); /* what numbers begin with is shared */
  repeat(&b, "{\"$ref\":\"#/$defs/0\",\"$defs\":{", 1);
  for (int i = 0; i < 2000; i++) myna__buf_printf(&b, "\"%d\":{\"$ref\":\"#/$defs/%d\"},", i, i + 1);
  repeat(&b, "\"2000\":{}}}", 1);
  ends(&b, MYNA_E_LIMIT, "too deep");
  repeat(&b, "{\"allOf\":[", 1);
  for (int i = 0; i < 20; i++)
    myna__buf_printf(&b, "%s{\"anyOf\":[{\"minLength\":%d},{\"maxLength\":%d}]}", i ? "," : "", i, i);
  repeat(&b, "]}", 1);
  ends(&b, MYNA_E_LIMIT, "combinations");
  repeat(&b, "{\"oneOf\":[", 1);
  for (int i = 0; i < 2000; i++) myna__buf_printf(&b, "%s{\"const\":%d}", i ? "," : "", i);
  repeat(&b, "]}", 1);
  ends(&b, MYNA_E_LIMIT, "too complex");
  repeat(&b, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"p\":{}", 1);
  for (int i = 0; i < 1500; i++) myna__buf_printf(&b, ",\"p%d\":{\"type\":\"string\"}", i);
  repeat(&b, "}}", 1);
  ends(&b, 0, NULL);
  myna__buf_free(&b);
}

static void hostile(void **state) {
  static const struct {
    const char *schema;
    int code;
    const char *part;
  } rows[] = {
      {"{\"type\":\"array\",\"minItems\":1000000000}", MYNA_E_LIMIT, "#/minItems: minItems is too large"},
      {"{\"type\":\"array\",\"maxItems\":1000000000}", 0, NULL},
      {"{\"type\":\"string\",\"minLength\":1000000}", MYNA_E_LIMIT, "#/minLength: minLength is too large"},
      {"{\"type\":\"string\",\"maxLength\":1000000}", 0, NULL},
      {"{\"type\":\"string\",\"minLength\":1e300}", MYNA_E_LIMIT, "#/minLength"},
      {"{\"type\":\"string\",\"minLength\":1000000,\"pattern\":\"a\"}", MYNA_E_LIMIT, "minLength is too large"},
      {"{\"type\":\"object\",\"minProperties\":1000000000}", MYNA_E_UNSUPPORTED, "#/minProperties"},
      {"{\"type\":\"object\",\"maxProperties\":1000000000}", 0, NULL},
      {"{\"pattern\":\"(a|a)*(a|b)*a.{20}$\"}", MYNA_E_LIMIT, "#/pattern"},
      {"{\"pattern\":\"(x+x+)+y\"}", 0, NULL},
      {"{\"pattern\":\"(a*)*(b*)*c{1000}d\"}", 0, NULL},
      {"{\"pattern\":\"^(.*a){30}$\"}", 0, NULL},
      {"{\"pattern\":\"a{1000000000}\"}", MYNA_E_LIMIT, "#/pattern"},
      {"{\"pattern\":\"(\\\\p{L}|\\\\W){400}\"}", MYNA_E_LIMIT, "#/pattern"},
      {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"allOf\":[{\"$ref\":\"#/$defs/"
       "a\"}]}}}",
       MYNA_E_UNSUPPORTED, "leads back"},
      {"{\"type\":\"number\",\"minimum\":1e-300}", MYNA_E_LIMIT, "#/minimum"},
      {"{\"type\":\"number\",\"maximum\":1e300}", 0, NULL},
      {"{\"type\":\"number\",\"minimum\":1e999999999}", MYNA_E_LIMIT, "#/minimum"},
      {"{\"type\":\"integer\",\"multipleOf\":1000003}", MYNA_E_LIMIT, "#/multipleOf"},
  };
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    myna__buf b = {0};
    myna__buf_str(&b, rows[i].schema);
    ends(&b, rows[i].code, rows[i].part);
    myna__buf_free(&b);
  }
}

/* Every keyword that constrains and is not supported is refused by its name, wherever it stands. */
static void keywords(void **state) {
  static const char *const bad[] = {
      "\"not\":{\"format\":\"date\"}",
      "\"contains\":{}",
      "\"minContains\":1",
      "\"maxContains\":1",
      "\"uniqueItems\":true",
      "\"unevaluatedProperties\":false",
      "\"unevaluatedItems\":{\"type\":\"null\"}",
      "\"$dynamicRef\":\"#x\"",
      "\"$recursiveRef\":\"#\"",
      "\"disallow\":\"any\"",
      "\"extends\":{}",
      "\"divisibleBy\":2",
      "\"pattern\":\"(?<=a)\"",
      "\"multipleOf\":0.1",
  };
  static const char *const places[] = {"{%s}", "{\"type\":\"array\",\"items\":{%s}}",
                                       "{\"anyOf\":[{\"type\":\"null\"},{%s}]}",
                                       "{\"$ref\":\"#/$defs/x\",\"$defs\":{\"x\":{%s}}}"};
  static const char *const prefixes[] = {"#/%.*s: ", "#/items/%.*s: ", "#/anyOf/1/%.*s: ", "#/$defs/x/%.*s: "};
  for (size_t i = 0; i < MYNA__COUNT(bad); i++)
    for (size_t k = 0; k < MYNA__COUNT(places); k++) {
      char schema[256], place[64];
      myna_grammar *g = NULL;
      myna_err err = {0};
      const char *name = bad[i] + 1;
      snprintf(schema, sizeof schema, places[k], bad[i]);
      snprintf(place, sizeof place, prefixes[k], (int)(strchr(name, '"') - name), name);
      ASSERT_FAILS(myna_grammar_from_schema(&g, schema, strlen(schema), NULL, &err), MYNA_E_UNSUPPORTED, &err, place);
      assert_null(g);
    }
  static const char *const fine[] = {
      "{\"unevaluatedProperties\":true,\"uniqueItems\":false,\"propertyNames\":true,\"unevaluatedItems\":true}",
      "{\"title\":\"x\",\"description\":1,\"default\":{\"not\":1},\"examples\":[],\"$comment\":\"\",\"readOnly\":true,"
      "\"deprecated\":true,\"strict\":true,\"x-y\":{\"not\":1},\"$schema\":\"x\",\"$id\":\"y\",\"contentEncoding\":"
      "\"base64\"}",
      "{\"$defs\":{\"unused\":{\"contains\":{}}},\"then\":false,\"else\":false}"};
  for (size_t i = 0; i < MYNA__COUNT(fine); i++) {
    myna_grammar *g = NULL;
    myna_err err = {0};
    ASSERT_OK_ERR(myna_grammar_from_schema(&g, fine[i], strlen(fine[i]), NULL, &err), &err);
    assert_int_equal(myna_grammar_match(g, "{}", 2), MYNA_MATCH_WHOLE);
    myna_grammar_free(g);
  }
}

/* The grammars that the engine runs have the same texts as the naive matcher says. */
static void grammars(void **state) {
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    const texts_case *c = &cases[i];
    myna_grammar *g = NULL;
    myna_err err = {0};
    ASSERT_OK_ERR(myna_grammar_from_schema(&g, c->schema, strlen(c->schema), NULL, &err), &err);
    for (int k = 0; k < 8 && c->in[k]; k++)
      if (myna_grammar_match(g, c->in[k], strlen(c->in[k])) != MYNA_MATCH_WHOLE)
        fail_msg("%s lacks %s", c->schema, c->in[k]);
    for (int k = 0; k < 8 && c->out[k]; k++)
      if (myna_grammar_match(g, c->out[k], strlen(c->out[k])) == MYNA_MATCH_WHOLE)
        fail_msg("%s has %s", c->schema, c->out[k]);
    myna_grammar_free(g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(texts),    cmocka_unit_test(refused), cmocka_unit_test(spaces),  cmocka_unit_test(grammars),
      cmocka_unit_test(keywords), cmocka_unit_test(large),   cmocka_unit_test(hostile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
