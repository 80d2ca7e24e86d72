/* fuzz_gbnf.c: a vocabulary, the beginning of a text and a grammar from any bytes. The grammar is refused with a reason or compiles; what the text is
 * to it agrees with its shortest end; and masks, with all their sharing, are what trying every token byte by byte on a machine of its own says.
 *
 * Input: number of texts, (length, bytes) of each; length, bytes of the beginning; the rest is the grammar, and a regular expression too. */
#include "engine/grammar_run.h"
#include "engine/tiny_vocab.h"
#include <stdlib.h>

enum { STEPS = 6, FUEL = 1 << 22 };

static tiny_vocab vocab;

static size_t piece(const uint8_t *p, size_t n, size_t at, myna__str *out) {
  size_t len = at < n ? p[at++] % 48 : 0;
  if (len > n - MYNA__MIN(at, n)) len = n - MYNA__MIN(at, n);
  *out = (myna__str){(const char *)p + MYNA__MIN(at, n), len};
  return at + len;
}

/* The state of a machine of its own after a text; nothing of it is remembered in rows. */
static int32_t plain(myna__gmachine *m, int32_t s, const char *p, size_t n) {
  for (size_t i = 0; i < n && s > 0; i++) s = myna__gmachine_step(m, s, (uint8_t)p[i]);
  return s;
}

/* Compares a mask; a legal token, chosen by `by`, or -1. Negative below that: the grammar is too much. */
static int32_t compare(myna__grun *r, myna__gmachine *m, int32_t s, const myna__tokenizer *tk, unsigned by) {
  int64_t n_legal, seen = 0;
  int32_t n = myna__tokenizer_data(tk)->n_tokens, chosen = -1;
  myna_err err = {0};
  const uint64_t *bits = myna__grun_mask(r, &n_legal, &err);
  if (!bits && err.code != MYNA_E_INTERNAL) return -2;
  for (int32_t id = 0; id < n; id++) {
    char text[256];
    int64_t len = myna__token_bytes(tk, id, false, text, sizeof text);
    m->fuel = FUEL;
    int32_t to = len > 0 ? plain(m, s, text, (size_t)len) : 0;
    if (to < 0) return -2;
    bool want = id == 0 ? m->states[s].whole : to > 0, got = bits && (bits[id >> 6] >> (id & 63) & 1);
    if (want != got) abort();
    if (got && id > 0 && ++seen % (by % 7 + 1) == 0) chosen = id;
  }
  return chosen;
}

static void check_masks(myna_grammar *g, const myna__tokenizer *tk, myna__str begin) {
  myna__grun *r;
  myna__gmachine m;
  char text[256];
  if (myna__grun_new(&r, g, tk, myna__tokenizer_data(tk)->n_tokens, NULL) < 0) return;
  if (myna__gmachine_init(&m, g, NULL) == 0) {
    m.fuel = FUEL;
    int32_t s = plain(&m, m.start, begin.p, begin.n);
    if (myna__grun_feed(r, begin.p, begin.n) < 0) s = -1;
    if (s >= 0 && (s > 0) != myna__grun_alive(r)) abort();
    for (unsigned i = 0; i < STEPS && s > 0; i++) {
      int32_t id = compare(r, &m, s, tk, (unsigned)begin.n + i);
      if (id < 0) break;
      int64_t len = myna__token_bytes(tk, id, false, text, sizeof text);
      if (!myna__grun_legal(r, id) || myna__grun_accept(r, id) < 0) abort();
      m.fuel = FUEL;
      s = plain(&m, s, text, (size_t)len);
    }
    myna__gmachine_free(&m);
  }
  myna__grun_free(r);
}

/* The end is given as a string. */
static bool has_zero(const myna_grammar *g) {
  for (int64_t i = 0; i < g->n_nodes; i++)
    if (g->nodes[i].kind == MYNA__GNODE_BYTE && g->nodes[i].lo == 0) return true;
  return false;
}

static void check_text(const myna_grammar *g, myna__str begin) {
  char *tail = NULL;
  myna__buf all = {0};
  myna_match match = myna_grammar_match(g, begin.p, begin.n);
  int rc = myna_grammar_close(g, begin.p, begin.n, &tail, NULL);
  if (rc == 0 && match == MYNA_MATCH_DEAD) abort();
  if (rc == 0 && g->n_tokens == 0) { /* tokens are no text */
    myna__buf_add(&all, begin.p, begin.n);
    myna__buf_str(&all, tail);
    if (tail[0] && match == MYNA_MATCH_WHOLE) abort();
    if (myna_grammar_match(g, all.data ? all.data : "", all.len) != MYNA_MATCH_WHOLE && !has_zero(g)) abort();
  }
  myna__buf_free(&all);
  myna_grammar_free_text(tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  if (n > 4096 || n < 2) return 0;
  size_t at = 1;
  myna__str s;
  tiny_begin(&vocab);
  for (int i = 0; i < 256; i++) {
    static char bytes[256];
    bytes[i] = (char)i;
    if (i < 128 && i >= ' ') tiny_add(&vocab, &bytes[i], 1);
  }
  for (int i = 0; i < data[0] % 64; i++) {
    at = piece(data, n, at, &s);
    if (s.n > 0) tiny_add(&vocab, s.p, s.n);
  }
  at = MYNA__MIN(piece(data, n, at, &s), n);
  const char *text = (const char *)data + at;
  myna__tokenizer *tk;
  if (myna__tokenizer_new(&tk, &vocab.data, NULL) < 0) return 0;
  for (int k = 0; k < 2; k++) {
    myna_grammar *g = NULL;
    myna_err err = {0};
    int rc = k ? myna_grammar_from_regex(&g, text, n - at, &err) : myna_grammar_from_gbnf(&g, text, n - at, NULL, &err);
    if ((rc < 0) != (err.code != 0) || (rc < 0 && !err.msg[0]) || (rc == 0) != (g != NULL)) abort();
    if (rc == 0) check_text(g, s);
    if (rc == 0 && g->n_tokens == 0) check_masks(g, tk, s);
    myna_grammar_free(g);
  }
  myna__tokenizer_free(tk);
  return 0;
}
