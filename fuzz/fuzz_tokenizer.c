/* fuzz_tokenizer.c: a vocabulary and a text from any bytes: the tokenizer must build or refuse, give ids in range, the
 * same ones twice, and a stream of well-formed text.
 *
 * Input: header (16 bytes), then records (tag, length, bytes): tokens, merges, the character map; the rest is text. */
#include "text/tokenizer.h"
#include "text/pretok.h"
#include "text/unicode.h"
#include <stdlib.h>

enum { MAX_TOKENS = 512, MAX_MERGES = 512, MAX_IDS = 1 << 16 };

static myna__str tokens[MAX_TOKENS], merges[MAX_MERGES];
static float scores[MAX_TOKENS];
static uint8_t types[MAX_TOKENS];
static int32_t ids[MAX_IDS], again[MAX_IDS];

/* The first name of some kind, or a name that is none. */
static void set_pre(myna__tokdata *t, uint8_t which) {
  const char *names = myna__pretok_names(which % 40);
  size_t n = names ? strcspn(names, " ") : 0;
  memcpy(t->pre, names ? names : "none", names ? n : 5);
  if (names) t->pre[n] = 0;
}

static size_t read_header(myna__tokdata *t, const uint8_t *p, size_t n) {
  if (n < 16) return n;
  t->model = (myna__tok_model)(p[0] % 6);
  set_pre(t, p[1]);
  t->bos = (int8_t)p[2];
  t->eos = (int8_t)p[3];
  t->unk = (int8_t)p[4];
  t->add_bos = p[5] & 1;
  t->add_eos = p[5] & 2;
  t->add_space_prefix = p[5] & 4;
  t->remove_extra_whitespaces = p[5] & 8;
  t->escape_whitespaces = p[5] & 16;
  t->n_eog = (int8_t)p[6];
  t->eot = -1;
  return 16;
}

/* tag & 3: 0 token (type tag >> 2, score from its first byte), 1 merge, 2 character map, 3 end */
static size_t read_records(myna__tokdata *t, const uint8_t *p, size_t n, size_t at) {
  while (at + 2 <= n && (p[at] & 3) != 3) {
    uint8_t tag = p[at];
    size_t len = p[at + 1];
    at += 2;
    if (len > n - at) len = n - at;
    myna__str s = {(const char *)p + at, len};
    if ((tag & 3) == 0 && t->n_tokens < MAX_TOKENS) {
      static const float odd[] = {0, -0.0f, -1e38f, 1e38f, __builtin_inff(), -__builtin_inff(), __builtin_nanf("")};
      uint8_t b = len ? p[at] : 0;
      scores[t->n_tokens] = b < 7 ? odd[b] : -(float)b;
      types[t->n_tokens] = tag >> 2;
      tokens[t->n_tokens++] = s;
    } else if ((tag & 3) == 1 && t->n_merges < MAX_MERGES) {
      merges[t->n_merges++] = s;
    } else if ((tag & 3) == 2) {
      t->charsmap = p + at;
      t->charsmap_len = len;
    }
    at += len;
  }
  return at + 2 <= n ? at + 2 : n;
}

static void check(const myna__tokenizer *tk, const char *text, size_t n, bool parse) {
  const myna__tokdata *t = myna__tokenizer_data(tk);
  myna__tokenize_options o = {.add_special = true, .parse_special = parse};
  int64_t k = myna__tokenize(tk, text, n, &o, ids, MAX_IDS, NULL);
  if (k < 0) return;
  if (myna__tokenize(tk, text, n, &o, again, MAX_IDS, NULL) != k) abort();
  if (k > MAX_IDS) k = MAX_IDS;
  if (memcmp(ids, again, (size_t)k * sizeof *ids) != 0) abort();
  myna__buf out = {0};
  myna__detok d = {0};
  for (int64_t i = 0; i < k; i++) {
    if (ids[i] < 0 || ids[i] >= t->n_tokens) abort();
    if (myna__detok_push(tk, &d, ids[i], i & 1, &out) < 0) abort();
    if (d.n_pending < 0 || d.n_pending > 3) abort();
  }
  myna__detok_finish(&d, &out);
  if (out.len && !myna__utf8_valid(out.data, out.len)) abort();
  myna__buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  myna__tokdata t = {.tokens = tokens, .scores = scores, .types = types, .merges = merges};
  size_t at = read_records(&t, data, n, read_header(&t, data, n));
  myna__tokenizer *tk;
  myna_err err = {0};
  if (myna__tokenizer_new(&tk, &t, &err) < 0) {
    if (!err.code || !err.msg[0]) abort();
    return 0;
  }
  for (int parse = 0; parse < 2; parse++) check(tk, (const char *)data + at, n - at, parse);
  myna__tokenizer_free(tk);
  return 0;
}
