/* grammar_mask.h: masks: which tokens of a vocabulary may come next in a state of a grammar. Everything here is used behind the grammar's lock. */
#ifndef MYNA__GRAMMAR_MASK_H
#define MYNA__GRAMMAR_MASK_H

#include "engine/grammar.h"
#include "text/tokenizer.h"

enum { MYNA__GTOKEN_BYTES = 1024 }; /* longer tokens are never legal */

typedef struct myna__gtnode {
  int32_t end;   /* behind its subtree */
  int32_t first; /* of its tokens; those of the next node follow */
  int32_t parent;
  uint16_t depth; /* the root's is 0 */
  uint8_t byte;
} myna__gtnode;

typedef struct myna__gtrie {
  myna__gtnode *nodes; /* [n_nodes + 1] */
  int32_t *ids;        /* [n] tokens in order of their texts */
  int64_t n_nodes, n, cap_nodes, cap;
} myna__gtrie;

/* Lives as long as the tokenizer; NULL without memory. */
const myna__gtrie *myna__gtrie_of(const myna__tokenizer *tk);

typedef struct myna__gmasks myna__gmasks;
/* The masks of this vocabulary, made when there are none yet: and the grammar's machine and classes with them. */
int myna__gmasks_of(myna_grammar *g, const myna__tokenizer *tk, int64_t n_vocab, myna__gmasks **out, myna_err *err);
/* Bits of the tokens [(n_vocab + 63) / 64] that may come next in this state, and how many; borrowed until the lock is left. */
int myna__gmasks_get(myna__gmasks *k, int32_t state, const uint64_t **bits, int64_t *n_legal);
/* Whether the mask of this state is there already. */
bool myna__gmasks_has(const myna__gmasks *k, int32_t state);
bool myna__gmasks_is_end(const myna__gmasks *k, int32_t id);
/* The grammar's states got new numbers. */
void myna__gmasks_forget(myna_grammar *g);
/* The state behind a token; DEAD when it is not legal, negative: an error. */
int32_t myna__gmasks_step(myna__gmasks *k, int32_t state, int32_t id);

#endif
