/* grammar_run.h: a grammar in one request: its state, and the tokens that may come next. The state depends on accepted tokens only. */
#ifndef MYNA__GRAMMAR_RUN_H
#define MYNA__GRAMMAR_RUN_H

#include "engine/grammar.h"
#include "engine/model.h"

typedef struct myna__grun myna__grun;
/* MYNA_E_FORMAT when the grammar names tokens that the vocabulary does not have. */
int myna__grun_new(myna__grun **out, myna_grammar *g, const myna__tokenizer *tk, int64_t n_vocab, myna_err *err);
void myna__grun_free(myna__grun *r);
/* Control tokens whose texts occur in `shown` stand for these texts where the grammar has them as signs: not within a text that goes on behind them as before. */
int myna__grun_show(myna__grun *r, const char *shown, myna_err *err);
/* A token (or any text) becomes part of what the grammar has read. What it does not allow makes the run dead. */
int myna__grun_accept(myna__grun *r, int32_t id);
int myna__grun_feed(myna__grun *r, const char *text, size_t n);
/* Whether it would still be alive behind this text. */
bool myna__grun_takes(myna__grun *r, const char *text, size_t n);
bool myna__grun_alive(const myna__grun *r);
bool myna__grun_whole(const myna__grun *r);
bool myna__grun_legal(myna__grun *r, int32_t id);
/* Whether the mask of this state costs nothing any more. */
bool myna__grun_knows(myna__grun *r);
/* Bits of the tokens that are legal now [(n_vocab + 63) / 64], and how many they are, borrowed until the next call; NULL, err set, when none is. */
const uint64_t *myna__grun_mask(myna__grun *r, int64_t *n_legal, myna_err *err);
int64_t myna__grun_n_vocab(const myna__grun *r);
/* Appends the shortest text that makes it whole. */
int myna__grun_close(myna__grun *r, myna__buf *out);

#endif
