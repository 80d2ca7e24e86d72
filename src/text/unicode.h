/* unicode.h: UTF-8 as tokenizers see it, and the GPT-2 byte alphabet. Nothing here allocates or fails. */
#ifndef MYNA__UNICODE_H
#define MYNA__UNICODE_H

#include "base/base.h"

enum { MYNA__CPT_BAD = 0xFFFD };

/* Bytes that a lead byte announces: 1 to 4. Continuation bytes count as 1. */
static inline int myna__utf8_lead(uint8_t lead) { return lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

/* Writes c (<= 0x10FFFF, surrogates too) to out[4]; returns the length. */
int myna__utf8_put(uint32_t c, char *out);

/* What p[0..n) starts with, n >= 1: the length of a well-formed character, 0 when it is the beginning of one, or
 * -k: the first k bytes are a maximal ill-formed subpart (Unicode 3.9, table 3-7), to be shown as one U+FFFD. */
int myna__utf8_step(const char *p, size_t n);

/* True when all of p[0..n) is well-formed. */
bool myna__utf8_valid(const char *p, size_t n);

/* The text that byte-level BPE sees for p[0..n): lenient decoding (overlong forms and surrogates count as their code
 * point), U+FFFD for each byte that starts nothing, then shortest encoding. Writes at most 3 * n bytes to out and the
 * same to match, where a surrogate is replaced by a private-use character of the same length and nearly the same
 * class, so that `match` is well-formed and may be given to PCRE2. Returns the length. */
size_t myna__utf8_clean(const char *p, size_t n, char *out, char *match);

/* The GPT-2 byte alphabet: each byte stands for one printable character of one or two bytes in UTF-8. */
typedef struct myna__byte_char {
  char s[2];
  uint8_t n;
} myna__byte_char;
extern const myna__byte_char myna__byte_alphabet[256];
/* The byte that a code point of the alphabet stands for, or -1. */
int myna__byte_of_char(uint32_t c);

#endif
