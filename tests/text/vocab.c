/* vocab.c: helpers of vocab.h. */
#include "vocab.h"

void vocab_open(vocab *v, const char *path) {
  myna_err err = {0};
  *v = (vocab){.from_file = true};
  ASSERT_OK_ERR(myna__gguf_open(&v->g, path, &(myna__gguf_options){.header_only = true}, &err), &err);
  ASSERT_OK_ERR(myna__tokdata_from_gguf(&v->t, &v->g, &err), &err);
}

void vocab_use(vocab *v, const char *pre) {
  myna_err err = {0};
  if (pre) snprintf(v->t.pre, sizeof v->t.pre, "%s", pre);
  myna__tokenizer_free(v->tk);
  ASSERT_OK_ERR(myna__tokenizer_new(&v->tk, &v->t, &err), &err);
}

void vocab_close(vocab *v) {
  myna__tokenizer_free(v->tk);
  if (v->from_file) {
    myna__tokdata_free(&v->t);
    myna__gguf_close(&v->g);
  } else {
    for (int32_t i = 0; i < v->t.n_tokens; i++) free((void *)(uintptr_t)v->t.tokens[i].p);
    for (int64_t i = 0; i < v->t.n_merges; i++) free((void *)(uintptr_t)v->t.merges[i].p);
    free(v->t.tokens);
    free(v->t.scores);
    free(v->t.types);
    free(v->t.merges);
  }
  *v = (vocab){0};
}

/* ---- by hand ---- */

void vocab_start(vocab *v, myna__tok_model model, const char *pre) {
  *v = (vocab){0};
  v->t = (myna__tokdata){.model = model, .bos = -1, .eos = -1, .eot = -1, .unk = -1, .pad = -1};
  v->t.escape_whitespaces = model != MYNA__TOK_BPE;
  snprintf(v->t.pre, sizeof v->t.pre, "%s", pre ? pre : "");
}

static myna__str copy(const char *p, size_t n) {
  char *s = malloc(n ? n : 1);
  assert_non_null(s);
  memcpy(s, p, n);
  return (myna__str){s, n};
}

/* Arrays double when their length reaches a power of two. */
static void *room(void *p, int64_t n, size_t size) {
  if (n & (n - 1)) return p;
  p = realloc(p, (size_t)(n ? 2 * n : 1) * size);
  assert_non_null(p);
  return p;
}

void vocab_add_n(vocab *v, const char *token, size_t n, int type, float score) {
  myna__tokdata *t = &v->t;
  t->tokens = room(t->tokens, t->n_tokens, sizeof *t->tokens);
  t->types = room(t->types, t->n_tokens, sizeof *t->types);
  t->scores = room(t->scores, t->n_tokens, sizeof *t->scores);
  t->tokens[t->n_tokens] = copy(token, n);
  t->types[t->n_tokens] = (uint8_t)type;
  t->scores[t->n_tokens++] = score;
}

int32_t vocab_add(vocab *v, const char *token, int type, float score) {
  vocab_add_n(v, token, strlen(token), type, score);
  return v->t.n_tokens - 1;
}

void vocab_merge(vocab *v, const char *merge) {
  v->t.merges = room(v->t.merges, v->t.n_merges, sizeof *v->t.merges);
  v->t.merges[v->t.n_merges++] = copy(merge, strlen(merge));
}

void vocab_alphabet(vocab *v) {
  int others = 0;
  for (int b = 0; b < 256; b++) {
    bool plain = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
    int c = plain ? b : 0x100 + others++;
    char s[2] = {(char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F))};
    if (c < 0x80) s[0] = (char)c;
    vocab_add_n(v, s, c < 0x80 ? 1 : 2, MYNA__TOKTYPE_NORMAL, 0);
  }
}

void vocab_bytes(vocab *v) {
  for (int b = 0; b < 256; b++) {
    char name[8];
    snprintf(name, sizeof name, "<0x%02X>", b);
    vocab_add(v, name, MYNA__TOKTYPE_BYTE, 0);
  }
}

/* ---- checking ---- */

int32_t *vocab_ids(const vocab *v, const char *text, size_t n, bool add_special, bool parse_special, int64_t *n_ids) {
  myna_err err = {0};
  myna__tokenize_options o = {.add_special = add_special, .parse_special = parse_special};
  int64_t cap = (int64_t)n * 3 + 8;
  int32_t *ids = malloc((size_t)cap * sizeof *ids);
  assert_non_null(ids);
  *n_ids = myna__tokenize(v->tk, text, n, &o, ids, cap, &err);
  if (*n_ids < 0) fail_msg("tokenize: %s", err.msg);
  assert_true(*n_ids <= cap);
  for (int64_t i = 0; i < *n_ids; i++) assert_in_range(ids[i], 0, v->t.n_tokens - 1);
  return ids;
}

void expect_ids_opt(const vocab *v, const char *text, size_t n, bool add_special, bool parse_special,
                    const char *want) {
  int64_t n_ids, i = 0;
  int32_t *ids = vocab_ids(v, text, n, add_special, parse_special, &n_ids);
  const char *p = want;
  char *end;
  bool same = true;
  for (;; i++, p = end) {
    long id = strtol(p, &end, 10);
    if (end == p) break;
    same = same && i < n_ids && ids[i] == id;
  }
  if (!same || i != n_ids) {
    myna__buf b = {0};
    for (int64_t k = 0; k < n_ids; k++) myna__buf_printf(&b, "%s%d", k ? " " : "", ids[k]);
    print_error("\"%.*s\": got %s\nwant %s\n", (int)MYNA__MIN(n, (size_t)200), text, b.data ? b.data : "", want);
    fail_msg("different ids");
  }
  free(ids);
}

void expect_ids(const vocab *v, const char *text, const char *ids) {
  expect_ids_opt(v, text, strlen(text), false, false, ids);
}

void expect_round_trip(const vocab *v, const char *text, size_t n) {
  int64_t n_ids;
  int32_t *ids = vocab_ids(v, text, n, false, false, &n_ids);
  myna__buf out = {0};
  myna__detok d = {0};
  for (int64_t i = 0; i < n_ids; i++) ASSERT_OK(myna__detok_push(v->tk, &d, ids[i], true, &out));
  myna__detok_finish(&d, &out);
  assert_int_equal(out.len, n);
  if (n) assert_memory_equal(out.data, text, n);
  myna__buf_free(&out);
  free(ids);
}

/* ---- files ---- */

char *slurp(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  long size = ftell(f);
  rewind(f);
  char *p = malloc((size_t)size + 1);
  assert_non_null(p);
  *n = fread(p, 1, (size_t)size, f);
  assert_int_equal(*n, size);
  p[*n] = 0;
  fclose(f);
  return p;
}

const char *shared_path(char buf[512], const char *rel) {
  const char *data = getenv("MYNA_DATA");
  snprintf(buf, 512, "%s/%s", data ? data : MYNA_ROOT "/../shared/data", rel);
  return buf;
}

static int digit(char ch) { return ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1; }

size_t unhex(const char **p, char *out) {
  size_t n = 0;
  if (**p == '-') (*p)++;
  for (; digit((*p)[0]) >= 0; *p += 2) out[n++] = (char)(digit((*p)[0]) * 16 + digit((*p)[1]));
  if (**p == '\t' || **p == '\n') (*p)++;
  return n;
}
