/* grammar_mask.c: masks of a vocabulary. */
#include "engine/grammar.h"

void myna__gvocab_free_all(struct myna__gvocab *v) { (void)v; }

int myna_grammar_prepare(myna_grammar *g, const struct myna_model *m, myna_err *err) {
  (void)g, (void)m, (void)err;
  return 0;
}
