/* test_grammar.c: grammars as texts see them: what is accepted, refused, and how it ends; against a naive matcher on random grammars. */
#include "base/base.h"
#include "engine/grammar.h"
#include "engine/grammar_run.h"
#include "test.h"
#include "tiny_vocab.h"
#include <jansson.h>

static myna_grammar *gbnf(const char *text) {
  myna_grammar *g = NULL;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_grammar_from_gbnf(&g, text, strlen(text), NULL, &err), &err);
  return g;
}

static myna_grammar *regex(const char *text) {
  myna_grammar *g = NULL;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_grammar_from_regex(&g, text, strlen(text), &err), &err);
  return g;
}

static void is(const myna_grammar *g, const char *text, myna_match want) {
  myna_match got = myna_grammar_match(g, text, strlen(text));
  if (got != want) fail_msg("\"%s\" is %d, not %d", text, got, want);
}

/* The shortest end, which must make the text whole. */
static void ends(const myna_grammar *g, const char *text, size_t want) {
  char *tail = NULL, whole[512];
  myna_err err = {0};
  ASSERT_OK_ERR(myna_grammar_close(g, text, strlen(text), &tail, &err), &err);
  snprintf(whole, sizeof whole, "%s%s", text, tail);
  is(g, whole, MYNA_MATCH_WHOLE);
  if (strlen(tail) != want) fail_msg("\"%s\" ends with \"%s\", not %zu bytes", text, tail, want);
  myna_grammar_free_text(tail);
}

typedef struct row {
  const char *grammar, *whole[6], *prefix[6], *dead[6];
} row;

static void check_row(const row *r, myna_grammar *g) {
  for (int i = 0; i < 6 && r->whole[i]; i++) is(g, r->whole[i], MYNA_MATCH_WHOLE);
  for (int i = 0; i < 6 && r->prefix[i]; i++) is(g, r->prefix[i], MYNA_MATCH_PREFIX);
  for (int i = 0; i < 6 && r->dead[i]; i++) is(g, r->dead[i], MYNA_MATCH_DEAD);
  myna_grammar_free(g);
}

static void test_gbnf(void **state) {
  static const row rows[] = {
      {"root ::= \"a\"", {"a"}, {""}, {"b", "aa"}},
      {"root ::= ", {""}, {NULL}, {"a"}},
      {"root ::= \"\"", {""}, {NULL}, {"a"}},
      {"root ::= [a-c]+ | \"x\" [^a-c\\n]{2,3}",
       {"a", "abc", "xyz", "xyyy"},
       {"", "xy"},
       {"d", "xa", "x\n", "xyyyy", "xya"}},
      {"root ::= ( \"(\" root \")\" )?", {"", "()", "(())"}, {"(", "(()"}, {")", "())", "()("}},
      {"# c\nroot ::= a |\n b # d\na ::= \"1\"\n\n\nb::=\"2\"*", {"1", "", "2", "22"}, {NULL}, {"3", "12"}},
      {"root ::= ( # x\n \"a\"\n \"b\" |\n [-+] )", {"ab", "-", "+"}, {"a"}, {",", "b"}},
      {"root ::= [a\\-z\\]]", {"a", "-", "z", "]"}, {""}, {"b", "\\"}},
      {"root ::= [+-]", {"+", "-"}, {""}, {","}},
      {"root ::= .",
       {"a", "\n", "\xC3\xA4", "\xF0\x9F\x98\x80"},
       {"", "\xC3", "\xF0\x9F"},
       {"\x80", "\xC0", "\xED\xA0", "\xF5", "ab"}},
      {"root ::= [\xC3\xA4-\xE4\xB8\x80]",
       {"\xC3\xA4", "\xE0\xA0\x80", "\xE4\xB8\x80"},
       {"\xE4\xB8"},
       {"\xC3\xA3", "\xE4\xB8\x81", "a"}},
      {"root ::= \"\\x41\\u00e4\\U0001F600\\t\\\"\"", {"A\xC3\xA4\xF0\x9F\x98\x80\t\""}, {"A"}, {"a"}},
      {"root ::= \"ab\"{2} \"c\"{,2} \"d\"{1,}", {"ababd", "ababccdd"}, {"ab", "ababc"}, {"abd", "ababcccd"}},
      {"root ::= a\na ::= \"x\" a | \"y\"", {"y", "xxxy"}, {"xxx"}, {"yx"}},
      {"root ::= s s\ns ::= \"a\"* ", {"", "a", "aaaa"}, {NULL}, {"b"}},
      {"root ::= e \"!\"\ne ::= | e2 \"+\" e\ne2 ::= \"1\" | \"(\" e \")\"",
       {"!", "1+!", "(1+)+!"},
       {"1", "("},
       {"1!", "()!"}},
      {"root ::= \"a\" dead | \"b\"\ndead ::= \"x\" dead", {"b"}, {""}, {"a"}},
      {"root ::= ((\"a\"*)* | (\"b\"?)+){0,}", {"", "abba"}, {NULL}, {"c"}},
  };
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) check_row(&rows[i], gbnf(rows[i].grammar));
}

static void test_regex(void **state) {
  static const row rows[] = {
      {"^\\d{3}-[A-F]+$", {"123-A", "000-FFF"}, {"", "12", "123-"}, {"a", "123-G", "1234"}},
      {"a|b(c|d)*?e", {"a", "be", "bcde"}, {"b", "bc"}, {"ab", "e"}},
      {"(?:x|(?<n>y))+", {"x", "yx"}, {""}, {"z"}},
      {"\\w\\s\\W\\D[\\d.-]", {"a !x1", "_\t-y-"}, {"a "}, {"! ", "ab"}},
      {".*", {"", "abc", "\xC3\xA4"}, {"\xC3"}, {"\n"}},
      {"\\u0041\\x42\\.\\/\\{\\}\\n", {"AB./{}\n"}, {"AB."}, {"ABx"}},
      {"[^a-c]{2,}", {"xx", "xyz"}, {"x"}, {"a", "xa"}},
      {"a{,2}", {"a{,2}"}, {"a{"}, {"aa"}},
      {"(^a|^b)c(d$|e$)", {"acd", "bce"}, {"ac"}, {"acdd"}},
      {"[]", {NULL}, {NULL}, {NULL}},
      {"", {""}, {NULL}, {"a"}},
      {"[[\\]]", {"[", "]"}, {""}, {"a"}},
  };
  for (size_t i = 0; i < MYNA__COUNT(rows); i++)
    if (rows[i].whole[0]) check_row(&rows[i], regex(rows[i].grammar));
  static const struct {
    const char *text;
    int code;
  } bad[] = {{"(", MYNA_E_FORMAT},
             {")", MYNA_E_FORMAT},
             {"[a", MYNA_E_FORMAT},
             {"*a", MYNA_E_FORMAT},
             {"a**", MYNA_E_FORMAT},
             {"\\", MYNA_E_FORMAT},
             {"[b-a]", MYNA_E_FORMAT},
             {"a{3,2}", MYNA_E_FORMAT},
             {"(?=a)", MYNA_E_UNSUPPORTED},
             {"(?<!a)", MYNA_E_UNSUPPORTED},
             {"(a)\\1", MYNA_E_UNSUPPORTED},
             {"\\bx", MYNA_E_UNSUPPORTED},
             {"a^b", MYNA_E_UNSUPPORTED},
             {"a$b", MYNA_E_UNSUPPORTED},
             {"(a$)b", MYNA_E_UNSUPPORTED},
             {"a++", MYNA_E_UNSUPPORTED},
             {"\\p{L}", MYNA_E_UNSUPPORTED},
             {"a{100001}", MYNA_E_LIMIT},
             {"((a{1000}){1000}){1000}", MYNA_E_LIMIT},
             {"[]", MYNA_E_FORMAT},
             {"\xFF", MYNA_E_FORMAT}};
  for (size_t i = 0; i < MYNA__COUNT(bad); i++) {
    myna_grammar *g = NULL;
    myna_err err = {0};
    int rc = myna_grammar_from_regex(&g, bad[i].text, strlen(bad[i].text), &err);
    if (rc != bad[i].code) fail_msg("%s: %d (%s), not %d", bad[i].text, rc, err.msg, bad[i].code);
    assert_int_equal(err.code, rc);
    assert_null(g);
  }
}

static void test_choices(void **state) {
  static const char *const texts[] = {"yes", "no", "yesterday", "", "n\xC3\xB6", "no"};
  myna_grammar *g = NULL;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_grammar_from_choices(&g, texts, 6, &err), &err);
  for (int i = 0; i < 6; i++) is(g, texts[i], MYNA_MATCH_WHOLE);
  is(g, "ye", MYNA_MATCH_PREFIX);
  is(g, "yest", MYNA_MATCH_PREFIX);
  is(g, "n\xC3", MYNA_MATCH_PREFIX);
  is(g, "nope", MYNA_MATCH_DEAD);
  is(g, "x", MYNA_MATCH_DEAD);
  myna_grammar_free(g);
  static const char *const bad[] = {"a", "\xFF"};
  ASSERT_FAILS(myna_grammar_from_choices(&g, bad, 2, &err), MYNA_E_FORMAT, &err, "choice 1");
  err = (myna_err){0};
  ASSERT_FAILS(myna_grammar_from_choices(&g, bad, 0, &err), MYNA_E_FORMAT, &err, "no choices");
  enum { MANY = 3000 };
  static char names[MANY][MANY + 1];
  static const char *many[MANY];
  for (int i = 0; i < MANY; i++) {
    memset(names[i], 'a', (size_t)(i / 10)); /* each the beginning of others */
    snprintf(names[i] + i / 10, 8, "%d", i % 10);
    many[i] = names[i];
  }
  err = (myna_err){0};
  ASSERT_OK_ERR(myna_grammar_from_choices(&g, many, MANY, &err), &err);
  for (int i = 0; i < MANY; i += 97) is(g, many[i], MYNA_MATCH_WHOLE);
  is(g, "aaa", MYNA_MATCH_PREFIX);
  is(g, "aaab", MYNA_MATCH_DEAD);
  myna_grammar_free(g);
}

static void test_refused(void **state) {
  static const struct {
    const char *text;
    int code, line;
    const char *part;
  } rows[] = {{"root ::= \"a\nb", MYNA_E_FORMAT, 1, "closing"},
              {"root ::= \"a\"\n\nx = 1", MYNA_E_FORMAT, 3, "::="},
              {"root ::= [a", MYNA_E_FORMAT, 1, "]"},
              {"root ::= (\"a\"", MYNA_E_FORMAT, 1, ")"},
              {"root ::= \"a\" )", MYNA_E_FORMAT, 1, "unexpected"},
              {"root ::=\n foo", MYNA_E_FORMAT, 2, "\"foo\" is not defined"},
              {"root ::= \"\\q\"", MYNA_E_FORMAT, 1, "\\q"},
              {"root ::= \"\\xg0\"", MYNA_E_FORMAT, 1, "hexadecimal"},
              {"root ::= \"\\uD800\"", MYNA_E_FORMAT, 1, "U+D800"},
              {"root ::= [b-a]", MYNA_E_FORMAT, 1, "down"},
              {"root ::= \"a\"{3,2}", MYNA_E_FORMAT, 1, "{3,2}"},
              {"root ::= \"a\"{x}", MYNA_E_FORMAT, 1, "number"},
              {"root ::= *", MYNA_E_FORMAT, 1, "unexpected"},
              {"root ::= \"a\"\nroot ::= \"b\"", MYNA_E_FORMAT, 2, "twice"},
              {"root ::= \"\xFF\"", MYNA_E_FORMAT, 1, "UTF-8"},
              {"root ::= <tool", MYNA_E_FORMAT, 1, "closing >"},
              {"root ::= <>", MYNA_E_FORMAT, 1, "without text"},
              {"root ::= <[1x]>", MYNA_E_FORMAT, 1, "number"},
              {"root ::= <[99999999999]>", MYNA_E_FORMAT, 1, "number"},
              {"root ::= !\"a\"", MYNA_E_FORMAT, 1, "behind !"},
              {"root ::= ((((\"\"){100000}){100000}){100000}){100000}", MYNA_E_LIMIT, 0, "large"},
              {"", MYNA_E_FORMAT, 1, "no rule"},
              {"root ::= []", MYNA_E_FORMAT, 1, "no text"},
              {"root ::= \"a\" root", MYNA_E_FORMAT, 1, "no text"},
              {"a ::= \"x\"\nroot ::= b \"y\" | a\nb ::= a? root", MYNA_E_FORMAT, 2, "left-recursive"},
              {"root ::= (root?)*", MYNA_E_FORMAT, 1, "left-recursive"},
              {"root ::= \"a\"{100001}", MYNA_E_LIMIT, 1, "repetitions"},
              {"root ::= (((\"a\"{1000}){1000}){1000}){1000}", MYNA_E_LIMIT, 0, "large"}};
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    myna_grammar *g = NULL;
    myna_err err = {0};
    int rc = myna_grammar_from_gbnf(&g, rows[i].text, strlen(rows[i].text), NULL, &err);
    if (rc != rows[i].code || !strstr(err.msg, rows[i].part)) fail_msg("%s: %d %s", rows[i].text, rc, err.msg);
    if (rows[i].line && err.line != rows[i].line) fail_msg("%s: line %lld", rows[i].text, (long long)err.line);
    assert_null(g);
  }
  static const char nul[] = "root ::= <a\0b>";
  char deep[4096] = "root ::= ";
  memset(deep + 9, '(', 4000);
  myna_grammar *g = NULL;
  myna_err err = {0};
  ASSERT_FAILS(myna_grammar_from_gbnf(&g, nul, sizeof nul - 1, NULL, &err), MYNA_E_FORMAT, &err, "NUL");
  err = (myna_err){0};
  ASSERT_FAILS(myna_grammar_from_gbnf(&g, deep, strlen(deep), NULL, &err), MYNA_E_LIMIT, &err, "deep");
  memset(deep + 9, '?', 4000);
  deep[9] = '.';
  err = (myna_err){0};
  ASSERT_FAILS(myna_grammar_from_gbnf(&g, deep, strlen(deep), NULL, &err), MYNA_E_LIMIT, &err, "deep");
}

static void test_close(void **state) {
  myna_grammar *g = gbnf("root ::= \"[\" (root (\",\" root)*)? \"]\" | \"long word\" | [0-9]+ \"]\"?");
  ends(g, "", 1);
  ends(g, "[", 1);
  ends(g, "[[[", 3);
  ends(g, "[[],", 2);
  ends(g, "lo", 7);
  ends(g, "12", 0);
  char *tail = NULL;
  myna_err err = {0};
  ASSERT_FAILS(myna_grammar_close(g, "x", 1, &tail, &err), MYNA_E_ARG, &err, "beginning");
  assert_null(tail);
  myna_grammar_free(g);
  g = gbnf("root ::= a a\na ::= b b\nb ::= c c\nc ::= d d\nd ::= e e\ne ::= \"xyz\" | \"q\" e");
  ends(g, "", 96);
  ends(g, "qq", 96);
  myna_grammar_free(g);
}

/* 2^n ways to read a text, one set of configurations; stacks as deep as the text. */
static void test_ambiguous(void **state) {
  myna_grammar *g = gbnf("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"a\" x root \"b\" | \"\"\nx ::= \"a\"? "
                         "x2\nx2 ::= \"\" | \"a\" x2");
  enum { N = 400 };
  static char text[2 * N + 1];
  memset(text, 'a', N);
  is(g, text, MYNA_MATCH_PREFIX);
  for (int i = 0; i < N; i++) text[N + i] = "bc"[i % 2];
  is(g, text, MYNA_MATCH_WHOLE);
  text[2 * N - 1] = 'a';
  is(g, text, MYNA_MATCH_DEAD);
  myna_grammar_free(g);
  g = gbnf("root ::= \"(\" root \")\" | \"x\" | \"[\" root \"]\"");
  enum { DEEP = 200000 };
  char *deep = malloc(2 * DEEP + 1);
  for (int i = 0; i < DEEP; i++) deep[i] = "(["[i % 3 == 0], deep[2 * DEEP - i] = ")]"[i % 3 == 0];
  deep[DEEP] = 'x';
  assert_int_equal(myna_grammar_match(g, deep, 2 * DEEP + 1), MYNA_MATCH_WHOLE);
  deep[2 * DEEP] = '}';
  assert_int_equal(myna_grammar_match(g, deep, 2 * DEEP + 1), MYNA_MATCH_DEAD);
  free(deep);
  myna_grammar_free(g);
}

/* ---- samples ---- */

static char *sample(const char *name, size_t *n) {
  char path[512];
  snprintf(path, sizeof path, "%s/../shared/data/grammar/%s", MYNA_ROOT, name);
  myna__file f;
  if (myna__file_open(&f, path, true, NULL) < 0) return NULL;
  char *text = malloc(f.size + 1);
  memcpy(text, f.data, f.size);
  text[f.size] = 0;
  *n = f.size;
  myna__file_close(&f);
  return text;
}

static void test_samples(void **state) {
  static const row rows[] = {{"arithmetic", {"1=2\n", "a*(b+1)=c\n"}, {"a=", "(1"}, {"=", "1==", "a a"}},
                             {"c", {"", "int f(){return 1;}"}, {"int f(){", "int "}, {"int f(){}}", "x"}},
                             {"chess", {"1. e4 e5\n2. Nf3 Nc6\n"}, {"1. e4", "1. e4 e5\n"}, {"2. ", "1. e9"}},
                             {"english", {"Hello, world."}, {"a "}, {"\xC3\xA4"}},
                             {"japanese", {"\xE3\x81\x82"}, {"\xE3"}, {"a"}},
                             {"json",
                              {"{}", "{\"a\": [1, 2.5e3, null], \"b\":\"\\u00e4\xC3\xA4\"}"},
                              {"{\"a\"", "{\"a\":1"},
                              {"[", "{a", "{\"a\":01"}},
                             {"json_arr", {"[\n]", "[\n1,\n{\"a\":true}]"}, {"[\n"}, {"{", "[1"}},
                             {"list", {"- a\n- b\n"}, {"- a"}, {"-a", "- \n"}}};
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    char name[64];
    size_t n;
    snprintf(name, sizeof name, "gbnf/%s.gbnf", rows[i].grammar);
    char *text = sample(name, &n);
    if (!text) {
      print_message("no samples here: skipped\n");
      skip();
    }
    check_row(&rows[i], gbnf(text));
    free(text);
  }
  size_t n;
  char *text = sample("gbnf-must-fail.json", &n);
  json_t *all = json_loads(text, 0, NULL), *one;
  size_t k;
  json_array_foreach(json_object_get(all, "cases"), k, one) {
    const char *s = json_string_value(json_object_get(one, "gbnf")),
               *root = json_string_value(json_object_get(one, "root"));
    myna_grammar *g = NULL;
    myna_err err = {0};
    assert_int_equal(myna_grammar_from_gbnf(&g, s, strlen(s), root, &err), MYNA_E_FORMAT);
  }
  assert_int_equal(k, 7);
  json_decref(all);
  free(text);
}

/* ---- random grammars against a naive matcher ---- */

enum { N_RULES = 4, MAX_LEN = 7, MAX_EXPR = 400 };
typedef struct expr {
  char kind; /* 'l' letter, 's' sequence, '|', 'r' repeat, 'R' rule, 'e' empty */
  int a, b, min, max;
} expr;
static expr exprs[MAX_EXPR];
static int n_exprs, bodies[N_RULES];

static int random_expr(test_rng *r, int depth) {
  if (n_exprs >= MAX_EXPR - 1) return 0;
  expr e = {.kind = "lllleRRsss|||r"[test_int(r, depth ? 14 : 7)]};
  e.a = (int)test_int(r, e.kind == 'l' ? 2 : N_RULES);
  if (strchr("s|r", e.kind)) e.a = random_expr(r, depth - 1);
  if (e.kind == 's' || e.kind == '|') e.b = random_expr(r, depth - 1);
  e.min = (int)test_int(r, 3);
  e.max = test_int(r, 2) ? -1 : e.min + (int)test_int(r, 2);
  exprs[n_exprs] = e;
  return n_exprs++;
}

static void print(int k, myna__buf *out) {
  const expr *e = &exprs[k];
  switch (e->kind) {
  case 'l': myna__buf_printf(out, "\"%c\"", 'a' + e->a); break;
  case 'e': myna__buf_str(out, "\"\""); break;
  case 'R': myna__buf_printf(out, "r%d", e->a); break;
  case 'r':
    myna__buf_str(out, "(");
    print(e->a, out);
    myna__buf_printf(out, e->max < 0 ? "){%d,}" : "){%d,%d}", e->min, e->max);
    break;
  default:
    myna__buf_str(out, "(");
    print(e->a, out);
    myna__buf_str(out, e->kind == '|' ? " | " : " ");
    print(e->b, out);
    myna__buf_str(out, ")");
  }
}

/* Ends (bits) of what each rule matches from each place; grown until nothing changes. */
static unsigned table[N_RULES][MAX_LEN + 1];

static unsigned match_from(int k, const char *s, unsigned starts) {
  const expr *e = &exprs[k];
  unsigned out = 0, n = (unsigned)strlen(s);
  switch (e->kind) {
  case 'l':
    for (unsigned i = 0; i < n; i++)
      if ((starts >> i & 1) && s[i] == 'a' + e->a) out |= 2u << i;
    return out;
  case 'e': return starts;
  case 'R':
    for (unsigned i = 0; i <= n; i++)
      if (starts >> i & 1) out |= table[e->a][i];
    return out;
  case 's': return match_from(e->b, s, match_from(e->a, s, starts));
  case '|': return match_from(e->a, s, starts) | match_from(e->b, s, starts);
  default:
    for (int i = 0; i < e->min; i++) starts = match_from(e->a, s, starts);
    for (int i = e->min; e->max < 0 ? i < e->min + MAX_LEN + 1 : i < e->max; i++) starts |= match_from(e->a, s, starts);
    return starts;
  }
}

static bool naive(const char *s) {
  memset(table, 0, sizeof table);
  for (bool changed = true; changed;) {
    changed = false;
    for (int r = 0; r < N_RULES; r++)
      for (unsigned i = 0; i <= strlen(s); i++) {
        unsigned x = match_from(bodies[r], s, 1u << i) | table[r][i];
        changed |= x != table[r][i];
        table[r][i] = x;
      }
  }
  return table[0][0] >> strlen(s) & 1;
}

/* Every text of a and b up to MAX_LEN: whole or not, and the fewest bytes to a whole one. */
static void compare(const myna_grammar *g, const char *text) {
  enum { ALL = 2 << MAX_LEN };
  static int near[ALL]; /* by 1 and the letters as bits */
  for (int code = ALL - 1; code >= 1; code--) {
    char s[MAX_LEN + 1];
    int len = 31 - __builtin_clz((unsigned)code);
    for (int i = 0; i < len; i++) s[i] = (char)('a' + (code >> (len - 1 - i) & 1));
    s[len] = 0;
    near[code] = naive(s) ? 0 : 99;
    if (near[code] && len < MAX_LEN)
      near[code] = 1 + (near[2 * code] < near[2 * code + 1] ? near[2 * code] : near[2 * code + 1]);
    myna_match m = myna_grammar_match(g, s, (size_t)len);
    if ((m == MYNA_MATCH_WHOLE) != (near[code] == 0)) fail_msg("\"%s\" is %d by\n%s", s, m, text);
    if (m == MYNA_MATCH_DEAD && near[code] < 99) fail_msg("\"%s\" is not dead by\n%s", s, text);
    if (m == MYNA_MATCH_DEAD) continue;
    char *tail = NULL;
    ASSERT_OK(myna_grammar_close(g, s, (size_t)len, &tail, NULL));
    int n = (int)strlen(tail);
    if (near[code] < 99 ? n != near[code] : n <= MAX_LEN - len)
      fail_msg("\"%s\" ends with \"%s\" by\n%s", s, tail, text);
    myna_grammar_free_text(tail);
  }
}

/* ---- masks against every token tried byte by byte ---- */

/* All texts of a and b up to four letters, and some long ones: tokens reach over the ends of rules, and beyond what classes of nodes look at. */
static myna__tokenizer *letters(tiny_vocab *v) {
  static char texts[64][64];
  myna__tokenizer *tk;
  tiny_begin(v);
  for (int code = 2; code < 32; code++) {
    int len = 31 - __builtin_clz((unsigned)code);
    for (int i = 0; i < len; i++) texts[code][i] = (char)('a' + (code >> (len - 1 - i) & 1));
    tiny_add(v, texts[code], (size_t)len);
  }
  for (int i = 32; i < 48; i++) {
    memset(texts[i], 'a' + i % 2, 60);
    tiny_add(v, texts[i], (size_t)(i - 12 + 2 * (i % 3)));
  }
  ASSERT_OK(myna__tokenizer_new(&tk, &v->data, NULL));
  return tk;
}

static void try_tokens(myna__grun *r, const myna_grammar *g, const myna__tokenizer *tk, const char *text) {
  int64_t n_legal, n = myna__tokenizer_data(tk)->n_tokens, seen = 0;
  const uint64_t *bits = myna__grun_mask(r, &n_legal, NULL);
  for (int32_t id = 0; id < n; id++) {
    char all[512];
    size_t len = strlen(text);
    memcpy(all, text, len);
    int64_t k = myna__token_bytes(tk, id, false, all + len, 64);
    bool want = id == 0 ? myna_grammar_match(g, text, len) == MYNA_MATCH_WHOLE
                        : k > 0 && myna_grammar_match(g, all, len + (size_t)k) != MYNA_MATCH_DEAD;
    bool got = bits && (bits[id >> 6] >> (id & 63) & 1);
    if (got != want) fail_msg("token %d behind \"%s\" should be %d", id, text, want);
    if (myna__grun_legal(r, id) != want) fail_msg("token %d behind \"%s\" alone should be %d", id, text, want);
    seen += got;
  }
  assert_int_equal(seen, bits ? n_legal : 0);
}

/* Along a walk of legal tokens, twice: masks that others left behind are the same. */
static void walk_masks(myna_grammar *g, const myna__tokenizer *tk, test_rng *rng) {
  for (int round = 0; round < 2; round++) {
    myna__grun *r;
    char text[512] = "";
    test_rng again = *rng;
    ASSERT_OK(myna__grun_new(&r, g, tk, myna__tokenizer_data(tk)->n_tokens, NULL));
    for (int step = 0; step < 5; step++) {
      try_tokens(r, g, tk, text);
      int32_t id = 2 + (int32_t)test_int(&again, myna__tokenizer_data(tk)->n_tokens - 2);
      for (int k = 0; k < 60 && !myna__grun_legal(r, id); k++) id = id % (myna__tokenizer_data(tk)->n_tokens - 2) + 2;
      if (!myna__grun_legal(r, id)) break;
      size_t len = strlen(text);
      len += (size_t)myna__token_bytes(tk, id, false, text + len, 64);
      text[len] = 0;
      ASSERT_OK(myna__grun_accept(r, id));
    }
    myna__grun_free(r);
  }
}

/* Every allocation of a request may fail. */
static void test_run_no_memory(void **state) {
  static tiny_vocab v;
  static const char text[] = "root ::= x x\nx ::= [ab]{0,40} y | \"a\"\ny ::= \"b\" y \"a\" | \"b\"";
  for (int64_t at = 1;; at++) {
    test_failing f;
    test_fail_at(&f, at);
    tiny_begin(&v);
    tiny_add(&v, "a", 1);
    tiny_add(&v, "ab", 2);
    tiny_add(&v, "bab", 3);
    myna__tokenizer *tk = NULL;
    myna_grammar *g = NULL;
    myna__grun *r = NULL;
    int rc = myna__tokenizer_new(&tk, &v.data, NULL);
    if (rc == 0) rc = myna_grammar_from_gbnf(&g, text, strlen(text), NULL, NULL);
    if (rc == 0) rc = myna__grun_new(&r, g, tk, v.data.n_tokens, NULL);
    for (int32_t id = 2; id < 5 && rc == 0; id++) {
      int64_t n;
      myna_err err = {0};
      rc = myna__grun_mask(r, &n, &err) ? myna__grun_accept(r, id) : err.code;
    }
    assert_true(rc == 0 || rc == MYNA_E_NOMEM);
    myna__grun_free(r);
    myna_grammar_free(g);
    myna__tokenizer_free(tk);
    test_fail_off();
    assert_int_equal(f.live, 0);
    if (!f.failed) break;
  }
}

static void test_counted_masks(void **state) {
  static const char *const texts[] = {
      "root ::= [ab]{0,70}", "root ::= a{3,90} \"b\"\na ::= \"a\" | \"ab\" a2\na2 ::= \"a\"* \"b\"",
      "root ::= (\"a\"? \"b\"?){40} \"a\"{100}",
      "root ::= x x x\nx ::= \"(\" | \"a\"{0,33} y\ny ::= \"b\"{2,50} | x2\nx2 ::= \"a\" x2 \"b\" | \"ab\"",
      "root ::= (a | b)* \"ba\"\na ::= \"a\" | \"aa\" | a2\na2 ::= \"a\" b?\nb ::= \"b\" a?"};
  static tiny_vocab v;
  myna__tokenizer *tk = letters(&v);
  test_rng rng = test_rng_new(7);
  for (size_t i = 0; i < MYNA__COUNT(texts); i++)
    for (int k = 0; k < 6; k++) {
      myna_grammar *g = gbnf(texts[i]);
      walk_masks(g, tk, &rng);
      test_u64(&rng);
      myna_grammar_free(g);
    }
  myna__tokenizer_free(tk);
}

static bool may(myna__grun *r, int32_t id) {
  int64_t n;
  const uint64_t *bits = myna__grun_mask(r, &n, NULL);
  bool got = bits && (bits[id >> 6] >> (id & 63) & 1);
  assert_int_equal(myna__grun_legal(r, id), got);
  return got;
}

/* Tokens by text, by number, and any other than one. 2 and 3 are "a" and "b", 4 is "aa". */
static void test_tokens(void **state) {
  static tiny_vocab v;
  myna__tokenizer *tk = letters(&v);
  myna_err err = {0};
  myna__grun *r;
  int64_t n, n_vocab = v.data.n_tokens;
  myna_grammar *g = gbnf("root ::= <mark> \"a\" !<mark>{2} ( <[3]> | \"aab\" )");
  ASSERT_OK_ERR(myna__grun_new(&r, g, tk, n_vocab, &err), &err);
  assert_true(may(r, 1));
  assert_non_null(myna__grun_mask(r, &n, NULL));
  assert_int_equal(n, 1);
  ASSERT_OK(myna__grun_accept(r, 1));
  assert_true(may(r, 2) && !may(r, 1) && !may(r, 3));
  ASSERT_OK(myna__grun_accept(r, 2));
  assert_true(may(r, 2) && may(r, 3) && may(r, 40) && !may(r, 1) && !may(r, 0));
  ASSERT_OK(myna__grun_accept(r, 40));
  ASSERT_OK(myna__grun_accept(r, 3));
  assert_true(may(r, 2) && may(r, 3) && may(r, 4) && !may(r, 1) && !may(r, 5));
  myna__buf tail = {0};
  ASSERT_OK(myna__grun_close(r, &tail));
  assert_string_equal(tail.data, "aab");
  myna__buf_free(&tail);
  ASSERT_OK(myna__grun_accept(r, 3));
  assert_true(myna__grun_whole(r) && may(r, 0) && !may(r, 2));
  ASSERT_OK(myna__grun_accept(r, 2));
  assert_false(myna__grun_alive(r));
  myna__grun_free(r);
  is(g, "<mark>a", MYNA_MATCH_DEAD);
  myna_grammar_free(g);
  static const char *const bad[] = {"root ::= <[1000]>", "root ::= <nothing>"};
  for (size_t i = 0; i < MYNA__COUNT(bad); i++) {
    g = gbnf(bad[i]);
    err = (myna_err){0};
    ASSERT_FAILS(myna__grun_new(&r, g, tk, n_vocab, &err), MYNA_E_FORMAT, &err, "token");
    assert_null(r);
    myna_grammar_free(g);
  }
  myna__tokenizer_free(tk);
}

/* A control token may stand for its text where the request shows it, and the text is no part of a longer one. */
static void test_signs(void **state) {
  static tiny_vocab v;
  myna__tokenizer *tk = letters(&v);
  myna_grammar *g = gbnf("root ::= \"<mark>a\" [<mark>b]* (\"b<mark>\" | \"!\")");
  for (int i = 0; i < 3; i++) {
    myna__grun *r;
    bool shown = i == 1;
    ASSERT_OK(myna__grun_new(&r, g, tk, v.data.n_tokens, NULL));
    ASSERT_OK(myna__grun_show(r, (const char *[]){NULL, "[<mark>]", "mark"}[i], NULL));
    assert_int_equal(may(r, 1), shown);
    if (shown) {
      ASSERT_OK(myna__grun_accept(r, 1));
      assert_true(may(r, 2) && !may(r, 1) && !may(r, 0));
      ASSERT_OK(myna__grun_accept(r, 2));
      assert_true(may(r, 2) && may(r, 3) && !may(r, 1)); /* within the text it would be text */
      ASSERT_OK(myna__grun_accept(r, 3));
      assert_true(may(r, 1)); /* the text may end with it */
      ASSERT_OK(myna__grun_accept(r, 1));
      assert_true(myna__grun_whole(r) && may(r, 0));
      ASSERT_OK(myna__grun_accept(r, 2));
      ASSERT_OK(myna__grun_accept(r, 1));
      assert_false(myna__grun_alive(r));
    }
    myna__grun_free(r);
  }
  myna_grammar_free(g);
  myna__tokenizer_free(tk);
}

/* The same text gives the same grammar while there is room; another root, kind or text does not. */
static void test_cache(void **state) {
  static const char text[] = "root ::= \"a\"\nother ::= \"b\"";
  myna_grammar *a = gbnf(text), *b, *c;
  assert_int_equal(myna_grammar_cache(1 << 20), 0);
  b = gbnf(text);
  c = gbnf(text);
  assert_true(a != b && b == c);
  myna_grammar_free(c);
  ASSERT_OK(myna_grammar_from_gbnf(&c, text, strlen(text), "other", NULL));
  assert_true(b != c);
  is(c, "b", MYNA_MATCH_WHOLE);
  myna_grammar_free(c);
  myna_grammar_free(a);
  a = regex("a+");
  c = regex("a+");
  assert_true(a == c);
  myna_grammar_free(a);
  myna_grammar_free(c);
  for (int i = 0; i < 300; i++) { /* the oldest make room */
    char many[64];
    snprintf(many, sizeof many, "root ::= \"%d\"", i);
    myna_grammar_free(gbnf(many));
  }
  assert_int_equal(myna_grammar_cache(-1), 1 << 20);
  assert_int_equal(myna_grammar_cache(0), 1 << 20);
  is(b, "a", MYNA_MATCH_WHOLE); /* what is held lives on */
  c = gbnf(text);
  assert_true(b != c);
  myna_grammar_free(b);
  myna_grammar_free(c);
}

static void test_random(void **state) {
  static tiny_vocab v;
  myna__tokenizer *tk = letters(&v);
  test_rng r = test_rng_new(41);
  int compared = 0, refused = 0;
  for (int round = 0; round < 400; round++) {
    myna__buf text = {0};
    n_exprs = 0;
    for (int i = 0; i < N_RULES; i++) {
      bodies[i] = random_expr(&r, 3);
      myna__buf_printf(&text, i ? "r%d ::= " : "root ::= r0\nr%d ::= ", i);
      print(bodies[i], &text);
      myna__buf_str(&text, "\n");
    }
    myna_grammar *g = NULL;
    myna_err err = {0};
    int rc = myna_grammar_from_gbnf(&g, text.data, text.len, NULL, &err);
    if (rc < 0) {
      if (!strstr(err.msg, "left-recursive") && !strstr(err.msg, "no text")) fail_msg("%s\n%s", err.msg, text.data);
      refused++;
    } else {
      compare(g, text.data);
      if (round % 10 == 0) walk_masks(g, tk, &r);
      myna_grammar_free(g);
      compared++;
    }
    myna__buf_free(&text);
  }
  print_message("%d compared, %d refused\n", compared, refused);
  myna__tokenizer_free(tk);
  assert_true(compared > 60);
}

/* Every allocation may fail: an error, nothing lost. */
static void test_no_memory(void **state) {
  static const char text[] = "root ::= x (\",\" x)*\nx ::= [a-z\xC3\xA4]+ | \"(\" root \")\"";
  for (int64_t at = 1;; at++) {
    test_failing f;
    test_fail_at(&f, at);
    myna_grammar *g = NULL;
    char *tail = NULL;
    int rc = myna_grammar_from_gbnf(&g, text, strlen(text), NULL, NULL);
    if (rc == 0) {
      myna_grammar_match(g, "(a,(b", 5);
      rc = myna_grammar_close(g, "(a,(", 4, &tail, NULL);
    }
    assert_true(rc == 0 || rc == MYNA_E_NOMEM);
    myna_grammar_free_text(tail);
    myna_grammar_free(g);
    test_fail_off();
    assert_int_equal(f.live, 0);
    if (!f.failed) break;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gbnf),          cmocka_unit_test(test_regex),         cmocka_unit_test(test_choices),
      cmocka_unit_test(test_refused),       cmocka_unit_test(test_close),         cmocka_unit_test(test_ambiguous),
      cmocka_unit_test(test_samples),       cmocka_unit_test(test_random),        cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_run_no_memory), cmocka_unit_test(test_counted_masks), cmocka_unit_test(test_tokens),
      cmocka_unit_test(test_cache),         cmocka_unit_test(test_signs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
