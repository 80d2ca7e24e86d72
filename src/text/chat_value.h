/* chat_value.h: values as models write them in calls (JSON, Python's literals, Gemma's signs), read piece by piece and written as JSON. */
#ifndef MYNA__CHAT_VALUE_H
#define MYNA__CHAT_VALUE_H

#include "base/base.h"

enum { MYNA__VALUE_DEPTH = 256 };

/* What a step of reading found: BAD: not of the language, MORE: as far as it goes it may be, GOOD: whole. */
enum { MYNA__BAD = -1, MYNA__MORE = 0, MYNA__GOOD = 1 };

typedef enum myna__value_dialect {
  MYNA__VALUE_JSON,
  MYNA__VALUE_PYTHON, /* also '..', triple quotes, True, False, None, tuples */
  MYNA__VALUE_GEMMA   /* also <|"|>..<|"|> or another mark, keys without quotes */
} myna__value_dialect;

/* Where a reader stands; zero but for the dialect at the start of a value. */
typedef struct myna__value {
  myna__value_dialect dialect;
  const char *mark;      /* GEMMA: around strings; NULL: <|"|> */
  uint8_t state, number; /* what is expected; state of the number that is being read */
  bool comma;            /* a comma was read and not written: one before a closing sign is left out */
  bool key;              /* the string that is being read is one of an object */
  bool triple;           /* Python: """ */
  char quote;            /* that ends the string; 0: Gemma's */
  uint8_t matched;       /* how much of the quote that may end the string was read */
  uint8_t n_hex;
  uint32_t hex, high; /* of an escape; a first half of a pair whose second must follow */
  char word[8];
  uint8_t n_word;
  int depth;
  char open[MYNA__VALUE_DEPTH]; /* [ { or ( */
} myna__value;

/* Reads of s[0..n) as much as belongs to the value, *used bytes, and appends JSON to out, with a blank behind commas and colons as templates
 * write it: what a client sends back is then the text the model wrote, and found in the cache. last: nothing follows. Small deviations are
 * mended (raw line breaks in strings, unknown escapes, a comma before a closing sign), so that what was written is JSON when the value is whole. */
int myna__value_read(myna__value *v, const char *s, size_t n, bool last, size_t *used, myna__buf *out);
/* Appends what makes the JSON written so far whole. */
void myna__value_close(myna__value *v, myna__buf *out);
/* Letters that were read as a word and are none of the language, and so not written; their number. */
size_t myna__value_word(const myna__value *v, const char **word);
/* Appends text as it stands within a JSON string. */
void myna__value_escape(myna__buf *out, const char *s, size_t n);

#endif
