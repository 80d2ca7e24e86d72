/* spec.h: speculation by prompt lookup: what followed the latest earlier occurrence of a job's last tokens is proposed to follow again.
 * Knows nothing of models, pages or sampling: tokens in, tokens out, and whether computing them is likely to pay. */
#ifndef MYNA__SPEC_H
#define MYNA__SPEC_H

#include "base/base.h"
#include "myna.h"

enum { MYNA__SPEC_MAX = 31, MYNA__SPEC_NGRAM_MAX = 8 };

typedef struct myna__spec myna__spec;

/* MYNA_E_ARG naming field and value. */
int myna__spec_check(const myna_speculation *s, myna_err *err);
/* For at most cap tokens. NULL when s says NONE, and when there is no memory: nothing is drafted then. Every other function takes NULL. */
myna__spec *myna__spec_new(const myna_speculation *s, int64_t cap);
void myna__spec_free(myna__spec *p);
/* Bytes that an index with default sizes takes. */
int64_t myna__spec_bytes(int64_t cap);

/* Takes in tokens[0..n), of which those before the last call's n are known already. learn: the new ones are part of the answer and show how
 * good the proposals would have been, whether they were drafted or not. Amortized O(1) per token, no allocation. */
void myna__spec_add(myna__spec *p, const int32_t *tokens, int64_t n, bool learn);
/* Forgets tokens (a context shift changed them all), not what was learned. */
void myna__spec_reset(myna__spec *p);
/* Index of the token behind the latest earlier occurrence of the longest n-gram found at the end, 0 when there is none; *len: how many tokens
 * before it are equal (counted up to 32). As of the last add. */
int64_t myna__spec_match(const myna__spec *p, int *len);

/* A step as it is so far. A draft that pays is one that raises useful tokens per cost; both grow with what is drafted. */
typedef struct myna__spec_step {
  int64_t rows;  /* chosen already, at least 1 */
  double useful; /* of them: tokens that they are expected to bring */
  double fresh;  /* of a mixture of experts: share of the experts that a token does not use; 0 elsewhere */
} myna__spec_step;
/* Writes at most `room` proposed tokens to out and returns how many; updates *step when any. tokens as of the last add. */
int myna__spec_draft(myna__spec *p, const int32_t *tokens, int64_t room, myna__spec_step *step,
                     int32_t out[MYNA__SPEC_MAX]);
/* What became of the last draft. */
void myna__spec_told(myna__spec *p, int n_drafted, int n_accepted);
/* Time of a step with so many rows, in steps of one row. */
double myna__spec_cost(int64_t rows, double fresh);

#endif
