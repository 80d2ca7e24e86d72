/* fuzz_schema.c: a JSON schema from any bytes: it becomes a grammar or is refused with a message, whose shortest text (and one that is cut) is an
 * instance.
 *
 * Input: a byte of options, then the schema. */
#include "engine/schema.h"
#include <stdlib.h>

/* The text must be whole for the grammar, and no reader of the schema may say that it is no instance. */
static void check(const myna_grammar *g, const char *schema, size_t n, const char *text, size_t len) {
  if (myna_grammar_match(g, text, len) != MYNA_MATCH_WHOLE) abort();
  myna_err err = {0};
  myna__sc c = {.fuel = MYNA__SC_FUEL / 100, .err = &err};
  myna__jnode *s, *v;
  if (myna__sj_parse(&c, schema, n, &s) == 0 && myna__sj_parse(&c, text, len, &v) == 0 &&
      myna__schema_valid(&c, s, v, 0) == 0)
    abort();
  myna__arena_free(&c.arena);
}

static void close_at(const myna_grammar *g, const char *schema, size_t n, const char *text, size_t at) {
  char *tail = NULL;
  myna_err err = {0};
  int rc = myna_grammar_close(g, text, at, &tail, &err);
  if (rc == MYNA_E_LIMIT || rc == MYNA_E_NOMEM) return;
  if (rc < 0) abort();
  myna__buf whole = {0};
  myna__buf_add(&whole, text, at);
  myna__buf_str(&whole, tail);
  check(g, schema, n, whole.data ? whole.data : "", whole.len);
  if (at == 0 && whole.len > 1) close_at(g, schema, n, whole.data, whole.len / 2);
  myna__buf_free(&whole);
  myna_grammar_free_text(tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  if (n < 2) return 0;
  const char *schema = (const char *)data + 1;
  myna_schema_options o = {.compact = data[0] & 1};
  myna_grammar *g = NULL;
  myna_err err = {0};
  if (myna_grammar_from_schema(&g, schema, n - 1, &o, &err) < 0) {
    if (!err.code || !err.msg[0] || g) abort();
    return 0;
  }
  close_at(g, schema, n - 1, "", 0);
  myna_grammar_free(g);
  return 0;
}
