/* schema_grammar.c: a schema as a compiled grammar. */
#include "base/base.h"
#include "myna_grammar.h"

int myna_grammar_from_schema(myna_grammar **out, const char *json, size_t n, const myna_schema_options *o,
                             myna_err *err) {
  char *text;
  if (!out) return myna__err(err, MYNA_E_ARG, "nowhere to put the grammar");
  *out = NULL;
  TRY(myna_schema_to_gbnf(json, n, "", o, &text, err));
  myna_err own = {0}; /* its lines are none of the caller's */
  int rc = myna_grammar_from_gbnf(out, text, strlen(text), NULL, &own);
  myna__strfree(text);
  if (rc == MYNA_E_LIMIT) return myna__err(err, rc, "#: the schema needs too large a grammar");
  return rc < 0 ? myna__err(err, rc, "#: %s", own.msg) : 0;
}
