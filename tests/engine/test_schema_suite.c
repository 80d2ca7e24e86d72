/* test_schema_suite.c: schemas against instances: the published suite, schemas as users write them, llama.cpp's cases. Texts of each grammar are drawn
 * at random and cut anywhere; each must be an instance, by a validator that shares nothing with how grammars are written but the automata of patterns. */
#include "engine/schema.h"
#include "schema_walk.h"
#include <jansson.h>

/* ---- one schema ---- */

typedef struct subject {
  myna_grammar *g;
  myna__sc c; /* of the validator */
  myna_err err;
  myna__jnode *schema;
  int docs, undecided, twice;
} subject;

static bool subject_open(subject *s, const char *text, size_t n, bool compact, myna_err *err) {
  myna_schema_options o = {.compact = compact};
  *s = (subject){.g = NULL};
  if (myna_grammar_from_schema(&s->g, text, n, &o, err) < 0) return false;
  s->c = (myna__sc){.fuel = MYNA__SC_FUEL, .err = &s->err};
  ASSERT_OK_ERR(myna__sj_parse(&s->c, text, n, &s->schema), &s->err);
  return true;
}

static void subject_close(subject *s) {
  myna_grammar_free(s->g);
  myna__arena_free(&s->c.arena);
}

/* The text must be a text of the grammar, and an instance. Names twice in an object are left to readers. */
static void judge(subject *s, const char *schema, const char *text, size_t n) {
  myna__jnode *v = NULL;
  s->err = (myna_err){0};
  s->docs++;
  if (myna_grammar_match(s->g, text, n) != MYNA_MATCH_WHOLE)
    fail_msg("%s: its grammar does not match %.*s", schema, (int)n, text);
  if (myna__sj_parse(&s->c, text, n, &v) < 0) {
    if (!strstr(s->err.msg, "twice")) fail_msg("%s: %.*s: %s", schema, (int)n, text, s->err.msg);
    s->twice++;
    return;
  }
  s->c.at = NULL;
  int rc = myna__schema_valid(&s->c, s->schema, v, 0);
  if (rc < 0) fail_msg("%s: %.*s: %s", schema, (int)n, text, s->err.msg);
  if (rc == 0) fail_msg("%s: %.*s is no instance", schema, (int)n, text);
  s->undecided += rc == 2;
}

/* Cut at every byte (or at some, where they are many), the shortest end must make an instance. */
static void judge_cuts(subject *s, const char *schema, const char *text, size_t n) {
  for (size_t at = 0; at <= n; at += 1 + n / 64) {
    char *tail = NULL;
    myna_err err = {0};
    myna__buf whole = {0};
    ASSERT_OK_ERR(myna_grammar_close(s->g, text, at, &tail, &err), &err);
    myna__buf_add(&whole, text, at);
    myna__buf_str(&whole, tail);
    judge(s, schema, whole.data, whole.len);
    myna__buf_free(&whole);
    myna_grammar_free_text(tail);
  }
}

static void judge_walks(subject *s, const char *schema, int n, test_rng *r) {
  walker w;
  ASSERT_OK(walk_init(&w, s->g));
  for (int i = 0; i < n; i++) {
    myna__buf b = {0};
    size_t own;
    if (walk(&w, r, i % 3 == 0 ? 12 : i % 3 == 1 ? 60 : 240, &b, &own) < 0) fail_msg("%s: a walk has no end", schema);
    judge(s, schema, b.data, b.len);
    if (i < 2) judge_cuts(s, schema, b.data, b.len);
    myna__buf_free(&b);
  }
  walk_free(&w);
}

/* ---- the published suite ---- */

typedef struct tally {
  int accepted, refused, valid, valid_in, invalid, docs, undecided, twice;
  struct {
    char name[64];
    int n;
  } by[32];
} tally;

/* Which keyword a refusal names: the last part of the pointer. */
static void count_refusal(tally *t, const char *schema, const myna_err *err) {
  const char *end = strchr(err->msg, ':');
  if (err->msg[0] != '#' || !end) fail_msg("%s is refused without a place: %s", schema, err->msg);
  const char *from = end;
  while (from > err->msg && from[-1] != '/' && from[-1] != '#') from--;
  char name[64];
  snprintf(name, sizeof name, "%.*s", (int)(end - from), from);
  if (!name[0]) {
    if (err->code != MYNA_E_ARG) fail_msg("%s is refused without a keyword: %s", schema, err->msg);
    snprintf(name, sizeof name, "no instance");
  }
  t->refused++;
  for (size_t i = 0; i < MYNA__COUNT(t->by); i++) {
    if (t->by[i].n && strcmp(t->by[i].name, name) != 0) continue;
    snprintf(t->by[i].name, sizeof t->by[i].name, "%s", name);
    t->by[i].n++;
    return;
  }
}

static void run_group(tally *t, const json_t *group, test_rng *r) {
  char *schema = json_dumps(json_object_get(group, "schema"), JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
  subject s;
  myna_err err = {0};
  size_t i;
  json_t *test;
  bool open = subject_open(&s, schema, strlen(schema), true, &err);
  if (!open) count_refusal(t, schema, &err);
  json_array_foreach(json_object_get(group, "tests"), i, test) {
    bool valid = json_is_true(json_object_get(test, "valid"));
    char *text = json_dumps(json_object_get(test, "data"), JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (!open && err.code == MYNA_E_ARG && valid) fail_msg("%s has an instance: %s", schema, text);
    bool in = open && myna_grammar_match(s.g, text, strlen(text)) == MYNA_MATCH_WHOLE;
    if (in && !valid) fail_msg("%s has %s, which the suite calls invalid", schema, text);
    if (open) {
      t->valid += valid;
      t->valid_in += valid && in;
      t->invalid += !valid;
      if (valid && !in) print_message("  %s lacks %s\n", schema, text);
    }
    free(text);
  }
  if (open) {
    t->accepted++;
    judge_walks(&s, schema, 9, r);
    t->docs += s.docs;
    t->undecided += s.undecided;
    t->twice += s.twice;
    subject_close(&s);
  }
  free(schema);
}

static json_t *load(const char *rel) {
  char path[512];
  snprintf(path, sizeof path, "%s/../shared/data/grammar/%s", MYNA_ROOT, rel);
  return json_load_file(path, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static void suite(void **state) {
  static const char *const files[] = {
#define F(name) "JSON-Schema-Test-Suite/draft2020-12/" #name ".json"
      F(allOf),      F(anyOf),    F(boolean_schema), F(const),
      F(contains),   F(default),  F(enum),           F(exclusiveMaximum),
      F(items),      F(maxItems), F(maxLength),      F(maximum),
      F(multipleOf), F(oneOf),    F(pattern),        F(properties),
      F(required),   F(type),     F(uniqueItems),
#undef F
  };
  tally t = {0};
  test_rng r = test_rng_new(20);
  int found = 0;
  for (size_t i = 0; i < MYNA__COUNT(files); i++) {
    size_t k;
    json_t *all = load(files[i]), *group;
    found += all != NULL;
    json_array_foreach(all, k, group) run_group(&t, group, &r);
    json_decref(all);
  }
  if (!found) {
    print_message("shared data: the schema suite is absent, skipped\n");
    skip();
  }
  print_message(
      "suite: %d groups accepted, %d refused; %d of %d valid and 0 of %d invalid instances; %d texts drawn, %d "
      "undecided, %d with a name twice\n",
      t.accepted, t.refused, t.valid_in, t.valid, t.invalid, t.docs, t.undecided, t.twice);
  for (size_t i = 0; i < MYNA__COUNT(t.by) && t.by[i].n; i++)
    print_message("  %d refused for %s\n", t.by[i].n, t.by[i].name);
  assert_int_equal(found, MYNA__COUNT(files));
  assert_true(t.accepted >= 90 && t.valid_in >= 180 && t.invalid >= 150);
}

/* ---- llama.cpp's cases ---- */

/* What its grammar writes, ours has too, but for what no instance is or what is written otherwise (dates that are none, lone surrogates, spaces). */
static void compare_grammars(const json_t *c, const subject *s, int *in, int *all, test_rng *r) {
  const char *text = json_string_value(json_object_get(c, "llamacpp_gbnf"));
  myna_grammar *g = NULL;
  myna_err err = {0};
  walker w;
  ASSERT_OK_ERR(myna_grammar_from_gbnf(&g, text, strlen(text), NULL, &err), &err);
  ASSERT_OK(walk_init(&w, g));
  int here = 0, read = 0;
  for (int i = 0; i < 40; i++) {
    myna__buf b = {0};
    size_t own;
    ASSERT_OK(walk(&w, r, 200, &b, &own));
    json_t *doc = json_loadb(b.data, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    char *again = doc ? json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)) : NULL;
    read += again != NULL;
    here += again && myna_grammar_match(s->g, again, strlen(again)) == MYNA_MATCH_WHOLE;
    free(again);
    json_decref(doc);
    myna__buf_free(&b);
  }
  *in += here;
  *all += read;
  if (!here && read) fail_msg("%s: none of %d texts is ours", json_string_value(json_object_get(c, "name")), read);
  walk_free(&w);
  myna_grammar_free(g);
}

static void llamacpp(void **state) {
  json_t *cases = load("llamacpp-schema-to-gbnf.json"), *c;
  int accepted = 0, refused = 0, in = 0, all = 0;
  size_t i;
  test_rng r = test_rng_new(21);
  if (!cases) {
    print_message("shared data: llama.cpp's cases are absent, skipped\n");
    skip();
  }
  json_array_foreach(cases, i, c) {
    const char *schema = json_string_value(json_object_get(c, "schema_text"));
    const char *name = json_string_value(json_object_get(c, "name"));
    bool want = strcmp(json_string_value(json_object_get(c, "expect")), "SUCCESS") == 0;
    myna_err err = {0};
    subject s;
    bool open = subject_open(&s, schema, strlen(schema), true, &err);
    if (open != want) fail_msg("%s: %s", name, open ? "should be refused" : err.msg);
    accepted += open;
    refused += !open;
    if (!open) continue;
    compare_grammars(c, &s, &in, &all, &r);
    judge_walks(&s, schema, 9, &r);
    subject_close(&s);
  }
  print_message("llama.cpp's cases: %d accepted, %d refused; %d of %d of its texts are ours\n", accepted, refused, in,
                all);
  assert_true(accepted >= 65 && refused >= 2 && in * 10 >= all * 9);
  json_decref(cases);
}

/* ---- schemas as users write them ---- */

static const char *const schemas[] = {
    "{\"type\":\"object\",\"properties\":{\"steps\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
    "\"explanation\":{\"type\":\"string\"},\"output\":{\"type\":\"string\"}},\"required\":[\"explanation\",\"output\"],"
    "\"additionalProperties\":false}},\"final_answer\":{\"type\":\"string\"}},\"required\":[\"steps\",\"final_answer\"]"
    ",\"additionalProperties\":false}",
    "{\"type\":\"object\",\"properties\":{\"title\":{\"type\":\"string\"},\"authors\":{\"type\":\"array\",\"items\":{"
    "\"type\":\"string\"}},\"abstract\":{\"type\":\"string\"},\"keywords\":{\"type\":\"array\",\"items\":{\"type\":"
    "\"string\"}}},\"required\":[\"title\",\"authors\",\"abstract\",\"keywords\"],\"additionalProperties\":false}",
    "{\"type\":\"object\",\"properties\":{\"type\":{\"type\":\"string\",\"enum\":[\"div\",\"button\",\"header\","
    "\"section\",\"field\",\"form\"]},\"label\":{\"type\":\"string\"},\"children\":{\"type\":\"array\",\"items\":{\"$"
    "ref\":\"#\"}},\"attributes\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":{"
    "\"type\":\"string\"},\"value\":{\"type\":\"string\"}},\"required\":[\"name\",\"value\"],\"additionalProperties\":"
    "false}}},\"required\":[\"type\",\"label\",\"children\",\"attributes\"],\"additionalProperties\":false}",
    "{\"type\":\"object\",\"properties\":{\"is_violating\":{\"type\":\"boolean\"},\"category\":{\"type\":[\"string\","
    "\"null\"],\"enum\":[\"violence\",\"sexual\",\"self_harm\",null]},\"explanation_if_violating\":{\"type\":["
    "\"string\",\"null\"]}},\"required\":[\"is_violating\",\"category\",\"explanation_if_violating\"],"
    "\"additionalProperties\":false}",
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"date\":{\"type\":\"string\",\"format\":"
    "\"date\"},\"participants\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"minItems\":1,\"maxItems\":5}},"
    "\"required\":[\"name\",\"date\",\"participants\"],\"additionalProperties\":false}",
    "{\"$defs\":{\"step\":{\"type\":\"object\",\"properties\":{\"explanation\":{\"type\":\"string\"},\"output\":{"
    "\"type\":\"string\"}},\"required\":[\"explanation\",\"output\"],\"additionalProperties\":false}},\"type\":"
    "\"object\",\"properties\":{\"steps\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"
    "step\"}},\"final_answer\":{\"type\":\"string\"}},\"required\":[\"steps\",\"final_answer\"],"
    "\"additionalProperties\":false}",
    "{\"$defs\":{\"linked_list_node\":{\"type\":\"object\",\"properties\":{\"value\":{\"type\":\"number\"},\"next\":{"
    "\"anyOf\":[{\"$ref\":\"#/$defs/"
    "linked_list_node\"},{\"type\":\"null\"}]}},\"required\":[\"value\",\"next\"],\"additionalProperties\":false}},"
    "\"type\":\"object\",\"properties\":{\"linked_list\":{\"$ref\":\"#/$defs/"
    "linked_list_node\"}},\"required\":[\"linked_list\"],\"additionalProperties\":false}",
    "{\"type\":\"object\",\"properties\":{\"item\":{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"name\":{\"type\":"
    "\"string\"},\"age\":{\"type\":\"integer\"}},\"required\":[\"name\",\"age\"],\"additionalProperties\":false},{"
    "\"type\":\"object\",\"properties\":{\"number\":{\"type\":\"string\"},\"street\":{\"type\":\"string\"},\"city\":{"
    "\"type\":\"string\"}},\"required\":[\"number\",\"street\",\"city\"],\"additionalProperties\":false}]}},"
    "\"required\":[\"item\"],\"additionalProperties\":false}",
    "{\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"left\":{\"anyOf\":[{\"$ref\":\"#/$defs/"
    "tree\"},{\"type\":\"null\"}]},\"right\":{\"anyOf\":[{\"$ref\":\"#/$defs/"
    "tree\"},{\"type\":\"null\"}]},\"v\":{\"type\":\"integer\"}},\"required\":[\"left\",\"right\",\"v\"],"
    "\"additionalProperties\":false}},\"$ref\":\"#/$defs/tree\"}",
    "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"circle\"},\"r\":{\"type\":\"number\","
    "\"exclusiveMinimum\":0}},\"required\":[\"kind\",\"r\"],\"additionalProperties\":false},{\"type\":\"object\","
    "\"properties\":{\"kind\":{\"const\":\"rect\"},\"w\":{\"type\":\"number\"},\"h\":{\"type\":\"number\"}},"
    "\"required\":[\"kind\",\"w\",\"h\"],\"additionalProperties\":false},{\"type\":\"object\",\"properties\":{\"kind\":"
    "{\"enum\":[\"x\",\"y\"]}},\"required\":[\"kind\"],\"additionalProperties\":false}]}",
    "{\"oneOf\":[{\"type\":\"string\",\"format\":\"date\"},{\"type\":\"null\"}]}",
    "{\"oneOf\":[{\"type\":\"string\",\"pattern\":\"^a\"},{\"type\":\"string\",\"pattern\":\"^b\"}]}",
    "{\"oneOf\":[{\"minimum\":5,\"type\":\"number\"},{\"maximum\":3,\"type\":\"number\"}]}",
    "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"],"
    "\"additionalProperties\":false},{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"integer\"}},\"required\":["
    "\"b\"],\"additionalProperties\":false}]}",
    "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"],"
    "\"additionalProperties\":false},{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":["
    "\"a\"],\"additionalProperties\":false}]}",
    "{\"oneOf\":[{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1},{\"type\":\"array\",\"items\":{"
    "\"type\":\"string\"},\"minItems\":1}]}",
    "{\"oneOf\":[{\"type\":\"array\",\"maxItems\":2},{\"type\":\"array\",\"minItems\":3}]}",
    "{\"oneOf\":[{\"minLength\":3,\"type\":\"string\"},{\"maxLength\":2,\"type\":\"string\"}]}",
    "{\"oneOf\":[{\"enum\":[1,2]},{\"enum\":[3,\"a\"]}]}",
    "{\"oneOf\":[{\"enum\":[1,2]},{\"enum\":[2,\"a\"]}]}",
    "{\"oneOf\":[{\"const\":1.0},{\"type\":\"integer\",\"minimum\":2}]}",
    "{\"enum\":[\"\\u00e9\",\"\\u0000\",\"\\\"\\\\/\",\"\\ud83d\\ude00\",\"\\n\\t\",\"a/b\",\" "
    "\",\"\",1.5,-0.0,100000.0,null,true,{\"a\":[1,{}]},[[]]]}",
    "{\"const\":{\"b\":1,\"a\":\"\\u007f\\u2028\"}}",
    "{\"type\":\"string\",\"enum\":[\"\\u03a9\",\"\\u00df\",\"\\u65e5\\u672c\",\"\\ud83d\\ude00\"]}",
    "{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-\\\\d{3,5}$\"}",
    "{\"type\":\"string\",\"pattern\":\"\\\\w+@\\\\w+\"}",
    "{\"type\":\"string\",\"pattern\":\"^(foo|bar)?baz$|^qux\"}",
    "{\"type\":\"string\",\"pattern\":\"^\\\\S+$\",\"maxLength\":5}",
    "{\"type\":\"string\",\"pattern\":\"^[^\\\\s]+$\",\"maxLength\":5}",
    "{\"type\":\"string\",\"pattern\":\"^\\\\D*$\",\"maxLength\":4}",
    "{\"type\":\"string\",\"pattern\":\"^\\\\W+$\",\"maxLength\":4}",
    "{\"type\":\"string\",\"pattern\":\"^.{2,4}$\"}",
    "{\"type\":\"string\",\"pattern\":\"a$\"}",
    "{\"type\":\"string\",\"pattern\":\"^$\"}",
    "{\"type\":\"string\",\"pattern\":\"^^a$$\"}",
    "{\"type\":\"string\",\"pattern\":\"(^a|b)c$\"}",
    "{\"type\":\"string\",\"pattern\":\"x*\",\"minLength\":2,\"maxLength\":3}",
    "{\"type\":\"string\",\"pattern\":\"^[\\\\u0041-\\\\u005a\\\\x30-\\\\x39_]+$\"}",
    "{\"type\":\"string\",\"pattern\":\"^\\\\+?[1-9]\\\\d{1,14}$\"}",
    "{\"type\":\"string\",\"pattern\":\"^[\\\\w.+-]+@[\\\\w-]+\\\\.[\\\\w.-]+$\"}",
    "{\"type\":\"string\",\"pattern\":\"^(\\\\d+|[a-f]*){1,2}$\"}",
    "{\"type\":\"string\",\"pattern\":\"^[^a-z]*$\",\"minLength\":1,\"maxLength\":6}",
    "{\"type\":\"string\",\"pattern\":\"^\\\"[^\\\"]*\\\"$\"}",
    "{\"type\":\"string\",\"pattern\":\"^\\\\\\\\[/\\\\\\\\]$\"}",
    "{\"type\":\"string\",\"pattern\":\"^\\\\cA|\\\\0|\\\\t\\\\n\\\\v\\\\f\\\\r$\"}",
    "{\"type\":\"string\",\"pattern\":\"[^]\"}",
    "{\"type\":\"string\",\"pattern\":\"^a{0}b{2}c{1,}d{0,1}$\"}",
    "{\"type\":\"string\",\"pattern\":\"^\\\\p{L}+$\"}",
    "{\"type\":\"string\",\"pattern\":\"^(?<y>\\\\d{4})-(?:\\\\d\\\\d)$\"}",
    "{\"type\":\"string\",\"pattern\":\"^a+?b*?c??$\"}",
    "{\"type\":\"string\",\"pattern\":\"^[a-]$\"}",
    "{\"type\":\"string\",\"pattern\":\"^[-a]$\"}",
    "{\"type\":\"string\",\"pattern\":\"^[\\\\-a\\\\]]$\"}",
    "{\"type\":\"string\",\"pattern\":\"^\\ud83d\\ude00+$\"}",
    "{\"type\":\"string\",\"pattern\":\"^[\\ud83d\\ude00-\\ud83d\\ude03]{2}$\"}",
    "{\"type\":\"string\",\"pattern\":\"^\\\\ud83d\\\\ude00$\"}",
    "{\"format\":\"date\"}",
    "{\"type\":\"string\",\"format\":\"date\",\"maxLength\":30}",
    "{\"type\":\"string\",\"format\":\"time\"}",
    "{\"format\":\"time\"}",
    "{\"type\":\"string\",\"format\":\"time\",\"minLength\":12,\"maxLength\":60}",
    "{\"type\":\"string\",\"format\":\"date-time\"}",
    "{\"type\":\"string\",\"format\":\"date-time\",\"maxLength\":30}",
    "{\"type\":\"string\",\"format\":\"date-time\",\"minLength\":12,\"maxLength\":60}",
    "{\"format\":\"email\"}",
    "{\"type\":\"string\",\"format\":\"email\",\"maxLength\":30}",
    "{\"type\":\"string\",\"format\":\"ipv4\"}",
    "{\"format\":\"ipv4\"}",
    "{\"type\":\"string\",\"format\":\"ipv4\",\"minLength\":12,\"maxLength\":60}",
    "{\"type\":\"string\",\"format\":\"ipv6\"}",
    "{\"type\":\"string\",\"format\":\"ipv6\",\"maxLength\":30}",
    "{\"type\":\"string\",\"format\":\"ipv6\",\"minLength\":12,\"maxLength\":60}",
    "{\"format\":\"uri\"}",
    "{\"type\":\"string\",\"format\":\"uri\",\"maxLength\":30}",
    "{\"type\":\"string\",\"format\":\"uuid\"}",
    "{\"format\":\"uuid\"}",
    "{\"type\":\"string\",\"format\":\"uuid\",\"minLength\":12,\"maxLength\":60}",
    "{\"type\":\"string\",\"format\":\"hostname\"}",
    "{\"type\":\"string\",\"format\":\"hostname\",\"maxLength\":30}",
    "{\"type\":\"string\",\"format\":\"hostname\",\"minLength\":12,\"maxLength\":60}",
    "{\"type\":\"number\",\"exclusiveMinimum\":0}",
    "{\"type\":\"number\",\"exclusiveMaximum\":0}",
    "{\"type\":\"number\",\"exclusiveMinimum\":-5,\"exclusiveMaximum\":5}",
    "{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}",
    "{\"type\":\"number\",\"exclusiveMinimum\":0.5,\"exclusiveMaximum\":1.5}",
    "{\"type\":\"number\",\"exclusiveMinimum\":-0.25,\"exclusiveMaximum\":0.75}",
    "{\"type\":\"number\",\"exclusiveMinimum\":1,\"exclusiveMaximum\":100}",
    "{\"type\":\"number\",\"exclusiveMinimum\":-100,\"exclusiveMaximum\":-1}",
    "{\"type\":\"number\",\"exclusiveMinimum\":-1.5,\"exclusiveMaximum\":-1.25}",
    "{\"type\":\"number\",\"exclusiveMinimum\":1000.0,\"exclusiveMaximum\":1000000.0}",
    "{\"type\":\"number\",\"exclusiveMinimum\":-1000000000000000.0,\"exclusiveMaximum\":1000000000000000.0}",
    "{\"type\":\"number\",\"exclusiveMinimum\":0.001,\"exclusiveMaximum\":0.002}",
    "{\"type\":\"number\",\"exclusiveMinimum\":17,\"exclusiveMaximum\":18}",
    "{\"type\":\"number\",\"exclusiveMinimum\":1e-07}",
    "{\"type\":\"number\",\"exclusiveMaximum\":-1e-07}",
    "{\"type\":\"number\",\"exclusiveMinimum\":99999,\"exclusiveMaximum\":100001}",
    "{\"type\":\"number\",\"exclusiveMinimum\":1e+20}",
    "{\"type\":\"number\",\"exclusiveMaximum\":1e+20}",
    "{\"type\":\"number\",\"exclusiveMinimum\":-273.15}",
    "{\"type\":\"number\",\"multipleOf\":1,\"minimum\":-50,\"maximum\":1234}",
    "{\"type\":\"number\",\"multipleOf\":2}",
    "{\"type\":\"integer\",\"multipleOf\":2,\"minimum\":-50,\"maximum\":1234}",
    "{\"type\":\"integer\",\"multipleOf\":3}",
    "{\"type\":\"number\",\"multipleOf\":7,\"minimum\":-50,\"maximum\":1234}",
    "{\"type\":\"number\",\"multipleOf\":10}",
    "{\"type\":\"integer\",\"multipleOf\":10,\"minimum\":-50,\"maximum\":1234}",
    "{\"type\":\"integer\",\"multipleOf\":12}",
    "{\"type\":\"number\",\"multipleOf\":100,\"minimum\":-50,\"maximum\":1234}",
    "{\"type\":\"number\",\"multipleOf\":360}",
    "{\"type\":\"integer\",\"multipleOf\":360,\"minimum\":-50,\"maximum\":1234}",
    "{\"type\":\"integer\",\"multipleOf\":1000}",
    "{\"type\":\"number\",\"multipleOf\":0.5,\"minimum\":-50,\"maximum\":1234}",
    "{\"type\":\"number\",\"multipleOf\":0.25}",
    "{\"type\":\"integer\",\"multipleOf\":0.25,\"minimum\":-50,\"maximum\":1234}",
    "{\"type\":\"number\",\"multipleOf\":1.5}",
    "{\"type\":\"integer\",\"multipleOf\":1.5,\"minimum\":-50,\"maximum\":1234}",
    "{\"type\":\"string\",\"minLength\":0}",
    "{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":0,\"prefixItems\":[{\"type\":\"string\"},{"
    "\"type\":\"integer\"},{\"type\":\"number\"}]}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"},\"c\":{\"type\":"
    "\"integer\"}},\"minProperties\":0,\"additionalProperties\":false}",
    "{\"type\":\"string\",\"minLength\":1,\"maxLength\":1}",
    "{\"type\":\"array\",\"items\":false,\"minItems\":1,\"maxItems\":1,\"prefixItems\":[{\"type\":\"string\"},{"
    "\"type\":\"integer\"}]}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"},\"c\":{\"type\":"
    "\"integer\"}},\"minProperties\":1,\"maxProperties\":1,\"required\":[\"b\"]}",
    "{\"type\":\"string\",\"minLength\":2,\"maxLength\":5}",
    "{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":2,\"maxItems\":5}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"},\"c\":{\"type\":"
    "\"integer\"}},\"minProperties\":2,\"maxProperties\":5}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"},\"c\":{\"type\":"
    "\"integer\"}},\"minProperties\":2,\"maxProperties\":5,\"required\":[\"c\",\"z\"]}",
    "{\"type\":\"string\",\"minLength\":0,\"maxLength\":0}",
    "{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":0,\"maxItems\":0,\"prefixItems\":[{\"type\":"
    "\"string\"},{\"type\":\"integer\"},{\"type\":\"number\"}]}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"},\"c\":{\"type\":"
    "\"integer\"}},\"minProperties\":0,\"maxProperties\":0,\"additionalProperties\":false}",
    "{\"type\":\"string\",\"minLength\":3}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"},\"c\":{\"type\":"
    "\"integer\"}},\"minProperties\":3,\"required\":[\"b\"]}",
    "{\"type\":\"string\",\"maxLength\":4}",
    "{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"maxItems\":4}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"},\"c\":{\"type\":"
    "\"integer\"}},\"maxProperties\":4}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"},\"c\":{\"type\":"
    "\"integer\"}},\"maxProperties\":4,\"required\":[\"c\",\"z\"]}",
    "{\"type\":\"string\",\"minLength\":10,\"maxLength\":20}",
    "{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":10,\"maxItems\":20,\"prefixItems\":[{\"type\":"
    "\"string\"},{\"type\":\"integer\"},{\"type\":\"number\"}]}",
    "{\"type\":\"object\",\"patternProperties\":{\"^s_\":{\"type\":\"string\"},\"^i_\":{\"type\":\"integer\"}},"
    "\"additionalProperties\":false}",
    "{\"type\":\"object\",\"patternProperties\":{\"^s_\":{\"type\":\"string\"},\"_i$\":{\"type\":[\"integer\","
    "\"string\"]}},\"additionalProperties\":{\"type\":\"boolean\"}}",
    "{\"type\":\"object\",\"properties\":{\"s_x\":{\"minLength\":2}},\"patternProperties\":{\"^s_\":{\"type\":"
    "\"string\"}},\"additionalProperties\":{\"type\":\"number\"}}",
    "{\"type\":\"object\",\"patternProperties\":{\"\\\\d\":{\"type\":\"integer\"}},\"additionalProperties\":{\"type\":"
    "\"string\"}}",
    "{\"type\":\"object\",\"patternProperties\":{\"^\\\\w+$\":{\"type\":\"integer\"}},\"additionalProperties\":{"
    "\"type\":\"string\"}}",
    "{\"type\":\"object\",\"patternProperties\":{\"^\\\\S+$\":{\"type\":\"integer\"}},\"additionalProperties\":{"
    "\"type\":\"string\"}}",
    "{\"type\":\"object\",\"patternProperties\":{\"^.*$\":{\"type\":\"integer\"}},\"additionalProperties\":{\"type\":"
    "\"string\"}}",
    "{\"type\":\"object\",\"patternProperties\":{\"a$\":{\"type\":\"integer\"}},\"additionalProperties\":{\"type\":"
    "\"string\"}}",
    "{\"type\":\"object\",\"patternProperties\":{\"^a\":{\"type\":\"integer\"}},\"additionalProperties\":{\"type\":"
    "\"string\"},\"properties\":{\"ab\":{\"minimum\":3},\"z\\\"\\n\":{\"type\":\"boolean\"}},\"required\":[\"ab\","
    "\"z\\\"\\n\",\"ax\"]}",
    "{\"$anchor\":\"x\",\"type\":\"object\",\"properties\":{\"c\":{\"$ref\":\"#x\"}},\"additionalProperties\":false}",
    "{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"uniqueItems\":false}",
    "{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"],"
    "\"additionalProperties\":true},{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"string\"}},\"required\":["
    "\"b\"],\"additionalProperties\":true}]}",
    "{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}}},{\"properties\":{\"a\":{\"minimum\":3}},\"required\":["
    "\"a\"]}],\"type\":\"object\"}",
    "{\"allOf\":[{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]},{\"anyOf\":[{\"minimum\":3},{\"minLength\":"
    "2}]}]}",
    "{\"allOf\":[{\"type\":\"string\",\"pattern\":\"^a\"},{\"pattern\":\"b$\"},{\"minLength\":4,\"maxLength\":6}]}",
    "{\"allOf\":[{\"additionalProperties\":{\"type\":\"integer\"}},{\"properties\":{\"x\":{\"maximum\":5}}}],\"type\":"
    "\"object\"}",
    "{\"allOf\":[{\"items\":{\"type\":\"integer\"}},{\"prefixItems\":[{\"minimum\":3}],\"minItems\":2}],\"type\":"
    "\"array\",\"maxItems\":4}",
    "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},{\"type\":"
    "\"array\",\"items\":{\"$ref\":\"#\"}}]}",
    "{\"definitions\":{\"a b/c~d\":{\"type\":\"integer\"}},\"$ref\":\"#/definitions/a%20b~1c~0d\"}",
    "{\"$ref\":\"#/properties/x\",\"properties\":{\"x\":{\"type\":\"boolean\"}}}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
    "p\",\"description\":\"d\",\"default\":1}},\"$defs\":{\"p\":{\"type\":\"integer\",\"minimum\":0}},\"required\":["
    "\"a\"]}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
    "p\",\"maximum\":9}},\"$defs\":{\"p\":{\"type\":\"integer\",\"minimum\":0}},\"required\":[\"a\"]}",
    "{\"type\":[\"object\",\"array\",\"null\"],\"maxProperties\":2,\"maxItems\":2,\"items\":{\"type\":\"null\"},"
    "\"additionalProperties\":{\"type\":\"null\"}}",
    "{\"type\":\"object\",\"properties\":{\"\":{\"type\":\"integer\"},\" "
    "\":{\"type\":\"integer\"},\"a.b\":{\"type\":\"integer\"},\"\\u00e9\":{\"type\":\"integer\"},\"\\\"\":{\"type\":"
    "\"integer\"},\"\\\\\":{\"type\":\"integer\"},\"\\u0001\":{\"type\":\"integer\"},\"\\ud83d\\ude00\":{\"type\":"
    "\"integer\"}},\"required\":[\"\",\" \",\"\\\"\"],\"additionalProperties\":{\"type\":\"string\"}}",
    "{\"type\":\"object\",\"required\":[\"x\",\"y\"],\"additionalProperties\":{\"type\":\"integer\"}}",
    "{\"type\":\"object\",\"required\":[\"x\",\"y\"]}",
    "{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":{\"const\":3},\"minItems\":1,"
    "\"maxItems\":6}",
    "{}",
    "true",
    "{\"type\":\"string\"}",
    "{\"type\":\"null\"}",
    "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"t\":{\"const\":\"text\"},"
    "\"text\":{\"type\":\"string\"}},\"required\":[\"t\",\"text\"],\"additionalProperties\":false},{\"type\":"
    "\"object\",\"properties\":{\"t\":{\"const\":\"img\"},\"url\":{\"type\":\"string\",\"format\":\"uri\"}},"
    "\"required\":[\"t\",\"url\"],\"additionalProperties\":false},{\"type\":\"object\",\"properties\":{\"t\":{"
    "\"const\":\"group\"},\"items\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/"
    "items\"}}},\"required\":[\"t\",\"items\"],\"additionalProperties\":false}]}}",
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"$id\":\"https://x.y/"
    "z\",\"title\":\"T\",\"description\":\"d\",\"type\":\"object\",\"properties\":{\"user\":{\"$ref\":\"#/$defs/"
    "User\"},\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"default\":[]}},\"required\":[\"user\"],\"$"
    "defs\":{\"User\":{\"type\":\"object\",\"title\":\"User\",\"properties\":{\"id\":{\"type\":\"string\",\"format\":"
    "\"uuid\"},\"email\":{\"type\":\"string\",\"format\":\"email\"},\"age\":{\"anyOf\":[{\"type\":\"integer\","
    "\"minimum\":0,\"maximum\":150},{\"type\":\"null\"}],\"default\":null}},\"required\":[\"id\",\"email\"]}}}",
    "{\"type\":\"string\",\"minLength\":1,\"enum\":[\"\",\"a\",\"bb\"]}",
    "{\"type\":\"integer\",\"enum\":[1,2.0,2.5,\"3\"]}",
    "{\"enum\":[1,2,3],\"minimum\":2}",
    "{\"minimum\":5,\"maximum\":4}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{\"b\":{\"$ref\":\"#/properties/"
    "a\"}},\"additionalProperties\":false}},\"additionalProperties\":false}",
    "{\"$defs\":{\"A\":{\"anyOf\":[{\"type\":\"integer\"},{\"$ref\":\"#/$defs/"
    "B\"}]},\"B\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/A\"},\"maxItems\":3}},\"$ref\":\"#/$defs/A\"}",
    "{\"$defs\":{\"json\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"number\"},{\"type\":\"boolean\"},{\"type\":"
    "\"null\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"
    "json\"}},{\"type\":\"object\",\"additionalProperties\":{\"$ref\":\"#/$defs/json\"}}]}},\"$ref\":\"#/$defs/json\"}",
    "{\"$defs\":{\"json\":{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"},{\"type\":\"boolean\"},{\"type\":"
    "\"null\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"
    "json\"}},{\"type\":\"object\",\"additionalProperties\":{\"$ref\":\"#/$defs/json\"}}]}},\"$ref\":\"#/$defs/json\"}",
    "{\"oneOf\":[{\"allOf\":[{\"type\":\"object\"},{\"required\":[\"a\"]}],\"properties\":{\"a\":{\"type\":\"integer\"}"
    "}},{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}]}",
    "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\",\"pattern\":\"^x\"}},\"required\":["
    "\"k\"]},{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\",\"pattern\":\"^y\"}},\"required\":[\"k\"]}"
    ",{\"type\":\"object\",\"properties\":{\"k\":{\"enum\":[\"za\",\"zb\"]}},\"required\":[\"k\"]}]}",
    "{\"anyOf\":[{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]},{\"oneOf\":[{\"type\":\"boolean\"},{"
    "\"type\":\"null\"}]}]}",
    "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"a\":true},\"required\":[\"a\"],\"additionalProperties\":false},"
    "{\"type\":\"object\",\"properties\":{\"b\":true},\"required\":[\"b\"],\"additionalProperties\":false}]}",
    "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"n\":{\"oneOf\":[{\"const\":1},{\"const\":2}]}},\"required\":["
    "\"n\"]},{\"type\":\"object\",\"properties\":{\"n\":{\"const\":3}},\"required\":[\"n\"]}]}",
};

static void users(void **state) {
  test_rng r = test_rng_new(22);
  int docs = 0, undecided = 0, twice = 0;
  for (size_t i = 0; i < MYNA__COUNT(schemas); i++)
    for (int compact = 0; compact < 2; compact++) {
      subject s;
      myna_err err = {0};
      if (!subject_open(&s, schemas[i], strlen(schemas[i]), compact, &err)) fail_msg("%s: %s", schemas[i], err.msg);
      judge_walks(&s, schemas[i], 12, &r);
      docs += s.docs;
      undecided += s.undecided;
      twice += s.twice;
      subject_close(&s);
    }
  print_message("%zu schemas: %d texts drawn, %d undecided, %d with a name twice\n", MYNA__COUNT(schemas), docs,
                undecided, twice);
  assert_true(docs > 60 * (int)MYNA__COUNT(schemas) / 10 && undecided * 20 < docs);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(suite),
      cmocka_unit_test(llamacpp),
      cmocka_unit_test(users),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
