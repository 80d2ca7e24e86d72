/* spec.h: speculation by prompt lookup: what followed the longest earlier occurrence of a job's last tokens is proposed to follow again; and what all
 * kinds of drafts share: whether they pay. Knows nothing of models, pages or sampling: tokens in, tokens out. */
#ifndef MYNA__SPEC_H
#define MYNA__SPEC_H

#include "engine/costs.h"
#include "myna.h"

enum { MYNA__SPEC_MAX = 31, MYNA__SPEC_NGRAM_MAX = 8 };

/* MYNA_E_ARG naming field and value. */
int myna__spec_check(const myna_speculation *s, myna_err *err);

/* ---- what pays ---- */

/* A step as it is so far. A draft that pays is one that raises useful tokens per cost; both grow with what is drafted. */
typedef struct myna__spec_step {
  const myna__costs *costs;
  int64_t rows;  /* chosen already, at least 1 */
  double useful; /* of them: tokens that they are expected to bring */
  double spent;  /* on drafting, in steps of one row */
} myna__spec_step;
/* Useful tokens per time with `more` further rows that are expected to bring `brings`, after `spent` more time. */
double myna__spec_rate(const myna__spec_step *s, int64_t more, double brings, double spent);

/* How often proposals of one kind were right: decaying counts that start as a guess worth a few tries. */
typedef struct myna__spec_odds {
  float hits, tries;
} myna__spec_odds;
myna__spec_odds myna__spec_odds_of(double guess);
void myna__spec_odds_add(myna__spec_odds *o, bool right);
static inline double myna__spec_odds_get(const myna__spec_odds *o) { return (double)(o->hits / o->tries); }

/* What a job may lose by drafts that are wrong, in steps of one row: spending takes from it, right tokens and every token of the answer give.
 * While it is used up nothing is drafted, so that an answer that cannot be guessed is at most 2 steps and 0.8 % later. */
typedef struct myna__spec_credit {
  double left;
} myna__spec_credit;
myna__spec_credit myna__spec_credit_new(void);
void myna__spec_credit_token(myna__spec_credit *c);
void myna__spec_credit_draft(myna__spec_credit *c, double spent, int n_accepted);

/* ---- prompt lookup ---- */

typedef struct myna__spec myna__spec;

/* For at most cap tokens. NULL when s does not ask for lookup, and when there is no memory: nothing is drafted then. Every other function takes NULL. */
myna__spec *myna__spec_new(const myna_speculation *s, int64_t cap);
void myna__spec_free(myna__spec *p);
/* Bytes that an index takes. */
int64_t myna__spec_bytes(int64_t cap);

/* Takes in tokens[0..n), of which those before the last call's n are known already. learn: the new ones are part of the answer and show how
 * good the proposals would have been, whether they were drafted or not. A bounded time per token, no allocation. */
void myna__spec_add(myna__spec *p, const int32_t *tokens, int64_t n, bool learn);
/* Forgets tokens (a context shift changed them all), not what was learned. */
void myna__spec_reset(myna__spec *p);
/* Index of the token that is proposed to follow, 0 when there is none; *len: how many tokens before it are equal to the last ones (counted up to
 * 32). As of the last add. */
int64_t myna__spec_match(const myna__spec *p, int *len);
/* Writes at most `room` proposed tokens to out and returns how many; updates *step when any. tokens as of the last add. */
int myna__spec_draft(myna__spec *p, const int32_t *tokens, int64_t room, myna__spec_step *step,
                     int32_t out[MYNA__SPEC_MAX]);
/* What became of the last draft. */
void myna__spec_told(myna__spec *p, int n_drafted, int n_accepted);

#endif
