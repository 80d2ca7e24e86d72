/* test_vectors.c: ids against oracles: the fixtures of tests/fixtures/text (from `tokenizers` and `sentencepiece`), the
 * vocabularies with .inp and .out files and the tiktoken plans of ../shared/data. */
#include "vocab.h"

/* One line of a .cases file: pre, flags, text, ids. Returns the start of the next one. */
static const char *run_case(vocab *v, const char *line, char *text) {
  char pre[64], ids[8192];
  bool parse = false, add = false;
  size_t n = strcspn(line, "\t");
  snprintf(pre, sizeof pre, "%.*s", (int)n, line);
  const char *p = line + n + 1;
  for (; *p != '\t'; p++) {
    parse = parse || *p == 'p';
    add = add || *p == 's';
  }
  p++;
  size_t len = unhex(&p, text);
  n = strcspn(p, "\n");
  snprintf(ids, sizeof ids, "%.*s", (int)n, p);
  if (!v->tk || (strcmp(pre, "-") != 0 && strcmp(pre, v->t.pre) != 0)) vocab_use(v, strcmp(pre, "-") != 0 ? pre : NULL);
  expect_ids_opt(v, text, len, add, parse, ids);
  return p + n + (p[n] == '\n');
}

static void run_fixture(const char *name) {
  char path[512];
  vocab v;
  size_t n;
  int cases = 0;
  snprintf(path, sizeof path, "%s/tests/fixtures/text/%s.gguf", MYNA_ROOT, name);
  vocab_open(&v, path);
  snprintf(path, sizeof path, "%s/tests/fixtures/text/%s.cases", MYNA_ROOT, name);
  char *file = slurp(path, &n), *text = malloc(n + 1);
  assert_true(file && text);
  for (const char *p = file; *p; cases++) p = run_case(&v, p, text);
  print_message("%s: %d cases\n", name, cases);
  assert_true(cases > 30);
  free(file);
  free(text);
  vocab_close(&v);
}

static void test_byte_level_bpe(void **state) { run_fixture("bpe"); }
static void test_marked_bpe(void **state) { run_fixture("gemma4"); }
static void test_sentencepiece_bpe(void **state) {
  run_fixture("spm");
  run_fixture("spm-norm");
  run_fixture("spm-plain");
}
static void test_unigram(void **state) {
  run_fixture("unigram");
  run_fixture("unigram-bytes");
}

/* ---- vocabularies of ../shared/data ---- */

static void run_inp_out(const char *name) {
  static const char separator[] = "\n__ggml_vocab_test__\n";
  char path[512], rel[128];
  size_t n_inp, n_out;
  vocab v;
  int cases = 0;
  snprintf(rel, sizeof rel, "tokenizers/gguf/ggml-vocab-%s.gguf", name);
  vocab_open(&v, shared_path(path, rel));
  vocab_use(&v, NULL);
  strncat(rel, ".inp", sizeof rel - strlen(rel) - 1);
  char *inp = slurp(shared_path(path, rel), &n_inp);
  memcpy(rel + strlen(rel) - 4, ".out", 4);
  char *out = slurp(shared_path(path, rel), &n_out);
  assert_true(inp && out);
  char *line = out;
  for (char *p = inp; p < inp + n_inp; cases++) {
    char *end = strstr(p, separator), *eol = strchr(line, '\n');
    if (!end) end = inp + n_inp;
    if (eol) *eol = 0;
    expect_ids_opt(&v, p, (size_t)(end - p), false, false, line);
    expect_round_trip(&v, p, (size_t)(end - p));
    p = end + sizeof separator - 1;
    line = eol ? eol + 1 : out + n_out;
  }
  print_message("%s: %d cases\n", name, cases);
  free(inp);
  free(out);
  vocab_close(&v);
}

static void test_shared_vocabularies(void **state) {
  static const char *const names[] = {"deepseek-coder", "deepseek-llm", "falcon", "gpt-2", "llama-bpe",
                                      "llama-spm",      "mpt",          "phi-3",  "qwen2", "starcoder"};
  char path[512];
  int skipped = 0;
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    char rel[128];
    snprintf(rel, sizeof rel, "tokenizers/gguf/ggml-vocab-%s.gguf", names[i]);
    if (access(shared_path(path, rel), R_OK) != 0)
      skipped++;
    else
      run_inp_out(names[i]);
  }
  print_message("skipped %d of %zu vocabularies (%s)\n", skipped, MYNA__COUNT(names), shared_path(path, ""));
}

static void test_wordpiece_is_refused(void **state) {
  char path[512];
  vocab v;
  myna_err err = {0};
  if (access(shared_path(path, "tokenizers/gguf/ggml-vocab-bert-bge.gguf"), R_OK) != 0) {
    print_message("skipped 1 vocabulary\n");
    return;
  }
  vocab_open(&v, path);
  ASSERT_FAILS(myna__tokenizer_new(&v.tk, &v.t, &err), MYNA_E_UNSUPPORTED, &err, "WordPiece");
  assert_null(v.tk);
  vocab_close(&v);
}

/* ---- tiktoken ---- */

/* A rank file has tokens only; the two parts of each are what merging with lower ranks leaves. */
typedef struct ranks {
  myna__map map; /* bytes -> id */
  myna__str *bytes;
} ranks;

static int base64(char ch) {
  static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *p = strchr(all, ch);
  return p && ch ? (int)(p - all) : -1;
}

static size_t unbase64(const char *p, char *out) {
  size_t n = 0;
  uint32_t bits = 0;
  for (int k = 0; base64(*p) >= 0; p++) {
    bits = bits << 6 | (uint32_t)base64(*p);
    if ((k += 6) >= 8) out[n++] = (char)(bits >> (k -= 8));
  }
  return n;
}

/* Bytes in the byte alphabet. */
static size_t spell(myna__str s, char *out) {
  size_t n = 0;
  for (size_t i = 0; i < s.n; i++) {
    int b = (uint8_t)s.p[i], others = b < 0x21 ? b : b < 0xA1 ? b - 0x7F + 0x21 : 0x43;
    int c = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD) ? b : 0x100 + others;
    if (c >= 0x80) {
      out[n++] = (char)(0xC0 | c >> 6);
      out[n++] = (char)(0x80 | (c & 0x3F));
    } else {
      out[n++] = (char)c;
    }
  }
  return n;
}

/* The last merge that makes token id. */
static void add_merge(vocab *v, const ranks *r, int32_t id) {
  myna__str s = r->bytes[id];
  uint32_t cut[256], n = (uint32_t)s.n;
  if (s.n < 2 || s.n >= 255) return;
  for (uint32_t i = 0; i <= n; i++) cut[i] = i;
  while (n > 2) {
    int64_t best = id;
    uint32_t at = 0;
    for (uint32_t i = 0; i + 2 <= n; i++) {
      int64_t rank = myna__map_get(&r->map, s.p + cut[i], cut[i + 2] - cut[i], INT64_MAX);
      if (rank < best) best = rank, at = i;
    }
    if (best == id) return;
    memmove(cut + at + 1, cut + at + 2, (n - at - 1) * sizeof *cut);
    n--;
  }
  char merge[1100];
  size_t len = spell((myna__str){s.p, cut[1]}, merge);
  merge[len++] = ' ';
  len += spell((myna__str){s.p + cut[1], s.n - cut[1]}, merge + len);
  merge[len] = 0;
  vocab_merge(v, merge);
}

static bool open_ranks(vocab *v, const char *path, const char *pre) {
  size_t n, n_tokens = 0;
  char *file = slurp(path, &n);
  if (!file) return false;
  ranks r = {0};
  vocab_start(v, MYNA__TOK_BPE, pre);
  for (char *p = file; *p; p = strchr(p, '\n') + 1) n_tokens++;
  char *arena = malloc(n), *at = arena;
  r.bytes = malloc(n_tokens * sizeof *r.bytes);
  assert_true(r.bytes && arena);
  int32_t id = 0;
  for (char *p = file; *p; p = strchr(p, '\n') + 1, id++) {
    char spelled[1024];
    size_t len = unbase64(p, at);
    r.bytes[id] = (myna__str){at, len};
    at += len;
    ASSERT_OK(myna__map_put(&r.map, r.bytes[id].p, len, id, NULL));
    vocab_add_n(v, spelled, spell(r.bytes[id], spelled), MYNA__TOKTYPE_NORMAL, 0);
  }
  for (id = 0; id < v->t.n_tokens; id++) add_merge(v, &r, id);
  free(arena);
  free(r.bytes);
  myna__map_free(&r.map);
  free(file);
  return true;
}

/* Plans: "EncodingName: X", "Sample: ...", "Encoded: [1, 2]". Returns how many of the encoding there were. */
static int run_plans(const vocab *v, const char *plans, const char *encoding) {
  int run = 0;
  for (const char *p = plans; (p = strstr(p, "EncodingName: ")) != NULL; p++) {
    const char *name = p + 14, *sample = strstr(p, "Sample: "), *encoded = strstr(p, "\nEncoded: [");
    if (!sample || !encoded) break;
    if (strcspn(name, "\r\n") != strlen(encoding) || strncmp(name, encoding, strlen(encoding)) != 0) continue;
    char *ids = strndup(encoded + 11, strcspn(encoded + 11, "]"));
    for (char *q = ids; *q; q++)
      if (*q == ',') *q = ' ';
    size_t n = (size_t)(encoded - sample - 8) - (encoded[-1] == '\r');
    expect_ids_opt(v, sample + 8, n, false, false, ids);
    expect_round_trip(v, sample + 8, n);
    free(ids);
    run++;
  }
  return run;
}

static void test_tiktoken_plans(void **state) {
  static const struct {
    const char *encoding, *file, *pre;
  } sets[] = {{"cl100k_base", "tokenizers/tiktoken/cl100k_base.tiktoken", "dbrx"},
              {"o200k_base", "tokenizers/tiktoken/o200k_base.tiktoken", "gpt-4o"},
              {"r50k_base", "tokenizers/gguf/ggml-vocab-gpt-2.gguf", NULL}};
  char path[512];
  size_t n;
  char *plans = slurp(shared_path(path, "tokenizers/tiktoken/TestPlans.txt"), &n);
  int skipped = 0;
  for (size_t i = 0; i < MYNA__COUNT(sets); i++) {
    vocab v;
    shared_path(path, sets[i].file);
    if (!plans || access(path, R_OK) != 0) {
      skipped++;
      continue;
    }
    if (sets[i].pre)
      assert_true(open_ranks(&v, path, sets[i].pre));
    else
      vocab_open(&v, path);
    vocab_use(&v, NULL);
    int run = run_plans(&v, plans, sets[i].encoding);
    print_message("%s: %d plans\n", sets[i].encoding, run);
    assert_true(run > 20);
    vocab_close(&v);
  }
  print_message("skipped %d of %zu encodings\n", skipped, MYNA__COUNT(sets));
  free(plans);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_byte_level_bpe),      cmocka_unit_test(test_marked_bpe),
      cmocka_unit_test(test_sentencepiece_bpe),   cmocka_unit_test(test_unigram),
      cmocka_unit_test(test_shared_vocabularies), cmocka_unit_test(test_wordpiece_is_refused),
      cmocka_unit_test(test_tiktoken_plans),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
