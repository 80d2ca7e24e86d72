/* pretok.h: cuts text into the words that byte-level BPE never merges across, as the vocabulary's authors did. */
#ifndef MYNA__PRETOK_H
#define MYNA__PRETOK_H

#include "base/base.h"

/* What a kind implies beyond its cuts. */
enum {
  MYNA__PRE_WHOLE = 1,   /* a word that is a token is that token, whatever the merges say */
  MYNA__PRE_RAW = 2,     /* tokens are plain UTF-8, bytes are <0xXX>; no byte alphabet */
  MYNA__PRE_NEWLINES = 4 /* like WHOLE for words of newlines only */
};

typedef struct myna__pretok myna__pretok;

/* The kind called `name` ("" is "default"); MYNA_E_UNSUPPORTED names an unknown one. Compiles its expressions, about
 * a millisecond. Immutable and thread-safe. */
int myna__pretok_new(myna__pretok **out, const char *name, myna_err *err);
void myna__pretok_free(myna__pretok *p);
int myna__pretok_flags(const myna__pretok *p);
/* Names of the i-th kind, separated by spaces; NULL past the last. */
const char *myna__pretok_names(int i);

/* Words as byte ranges, in order; what lies between them is dropped. */
typedef struct myna__word {
  uint32_t start, end;
} myna__word;

/* What one call of myna__tokenize keeps between its pieces of text. Zero-initialise. */
typedef struct myna__pretok_scratch {
  myna__word *words, *next;
  size_t n_words, cap_words, cap_next; /* caps in elements */
  void *match, *context;
} myna__pretok_scratch;
/* Cuts text[0..n), well-formed UTF-8 of less than 2^32 bytes, into s->words[0..n_words). */
int myna__pretok_split(const myna__pretok *p, myna__pretok_scratch *s, const char *text, size_t n, myna_err *err);
void myna__pretok_scratch_free(myna__pretok_scratch *s);

#endif
