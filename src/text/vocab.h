/* vocab.h: from bytes to token id, and from a pair of neighbours to the rank of their merge.
 *
 * Both tables are keyed by a polynomial hash that can be joined, hash(ab) = hash(a) * M^|b| + hash(b) mod 2^64, so that
 * a symbol carries its hash along and no string is ever put together to be looked up. A hit is always verified against
 * the bytes in the file: a collision costs time, never a wrong token. */
#ifndef MYNA__VOCAB_H
#define MYNA__VOCAB_H

#include "formats/tokdata.h"

/* Tokens and merges longer than this are never matched (no real one comes near). */
enum { MYNA__MAX_TOKEN = 4096 };

typedef struct myna__vocab_slot {
  uint32_t tag; /* high half of the mixed hash */
  int32_t id;   /* token id or merge rank; -1 when empty */
} myna__vocab_slot;

typedef struct myna__vocab {
  const myna__str *tokens, *merges; /* borrowed */
  myna__vocab_slot *slots, *pairs;  /* [n_slots], [n_pairs], powers of two */
  size_t n_slots, n_pairs;
  int64_t n_merges;
  struct myna__vocab_pending *pending; /* NULL: the merges are in their table */
  uint64_t *pow;                       /* [n_pow] M^i; longer than any token or merge */
  size_t n_pow;
  size_t max_len; /* of a token in the table */
} myna__vocab;

static inline uint64_t myna__text_hash(const char *p, size_t n) {
  uint64_t h = 0;
  for (size_t i = 0; i < n; i++) h = h * 0x9E3779B97F4A7C15u + (uint8_t)p[i] + 1;
  return h;
}
/* n_right < v->n_pow */
static inline uint64_t myna__hash_join(const myna__vocab *v, uint64_t left, uint64_t right, size_t n_right) {
  return left * v->pow[n_right] + right;
}

/* Tokens with keep[id] != 0 go into the table, the last of equal ones wins; of equal merges the first wins. Arrays of t
 * are borrowed, and v must not move: many merges go into their table on a thread of their own. */
int myna__vocab_init(myna__vocab *v, const myna__tokdata *t, const uint8_t *keep, myna_err *err);
void myna__vocab_free(myna__vocab *v);
/* Id of the token p[0..n) with this hash, -1 when there is none. */
int32_t myna__vocab_find(const myna__vocab *v, uint64_t hash, const char *p, size_t n);
/* Rank of the merge of p[0..nl) with p[nl..nl+nr), -1 when there is none. */
int32_t myna__vocab_rank(const myna__vocab *v, uint64_t left, uint64_t right, const char *p, size_t nl, size_t nr);

#endif
