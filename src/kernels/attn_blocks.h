/* attn_blocks.h: which tokens of a batch walk the cache together (private to src/kernels but for myna__attn_apart). */
#ifndef MYNA__ATTN_BLOCKS_H
#define MYNA__ATTN_BLOCKS_H

#include "kernels/attn.h"

/* Tokens that walk the cache together, in order[first .. first + n): consecutive ones of one sequence, or of several that share pages. */
typedef struct myna__attn_block {
  int32_t first, n;
  int32_t lo_pos, hi_pos; /* the first and last position among them */
  bool mixed;             /* of several sequences, or not in a row */
} myna__attn_block;

/* Fills block[n_tok] and order[n_tok]; returns the number of blocks, each of at most `most` tokens (at least 1). apart: no block of several
 * sequences. The cost rule is here. */
int64_t myna__attn_blocks(const myna__attn_args *a, myna__attn_block *block, int32_t *order, int64_t most,
                          int n_threads, bool apart);

/* As myna__attn, but every sequence reads its pages by itself, also those that it shares with others: mostly slower, the same bits. */
void myna__attn_apart(const myna__attn_args *a, void *scratch, myna__pool *pool);

static inline int64_t myna__attn_first_visible(const myna__attn_args *a, int64_t pos) {
  return a->window > 0 ? MYNA__MAX(pos - a->window + 1, 0) : 0;
}

#endif
