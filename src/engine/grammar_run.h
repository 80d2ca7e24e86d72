/* grammar_run.h: a grammar in one request: its state, and the tokens that may come next. The state depends on accepted tokens only. */
#ifndef MYNA__GRAMMAR_RUN_H
#define MYNA__GRAMMAR_RUN_H

#include "engine/grammar.h"
#include "engine/model.h"
#include <math.h>

typedef struct myna__grun myna__grun;
int myna__grun_new(myna__grun **out, myna_grammar *g, const myna__tokenizer *tk, int64_t n_vocab, myna_err *err);
void myna__grun_free(myna__grun *r);
/* The text of a token (or any text) becomes part of what the grammar has read. What it does not allow makes the run dead. */
int myna__grun_accept(myna__grun *r, int32_t id);
int myna__grun_feed(myna__grun *r, const char *text, size_t n);
bool myna__grun_whole(const myna__grun *r);
bool myna__grun_legal(myna__grun *r, int32_t id);
/* logits [n_vocab] with -inf where a token is not legal, borrowed until the next call; NULL, err set, when none is. */
const float *myna__grun_mask(myna__grun *r, const float *logits, myna_err *err);
int64_t myna__grun_n_legal(myna__grun *r); /* tokens that are legal now */
int64_t myna__grun_n_vocab(const myna__grun *r);
/* The most likely legal token of the last mask. */
int32_t myna__grun_best(const myna__grun *r, const float *logits);
/* Appends the shortest text that makes it whole. */
int myna__grun_close(const myna__grun *r, myna__buf *out);

#endif
