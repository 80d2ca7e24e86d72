/* jsonread.h: strict pull reader for JSON in memory, for files too large to build a tree of (tokenizer.json,
 * shard indexes, safetensors headers). RFC 8259 exactly: no comments, no trailing commas, no lone surrogates, UTF-8
 * checked, no byte order mark. Duplicate keys are the caller's business. Depth is limited, nothing recurses, memory
 * is one scratch buffer for strings that hold escapes. Safe on untrusted input: a failure is MYNA_E_FORMAT with the
 * byte offset, and every later call repeats it.
 *
 *   myna__json j;
 *   myna__json_init(&j, bytes, n, "x.json", 0, err);
 *   TRY(myna__json_expect(&j, MYNA__JSON_OBJECT));
 *   while ((rc = myna__json_key(&j)) > 0) {
 *     if (myna__str_eq(j.str, "vocab")) ...myna__json_next(&j)...
 *     else TRY(myna__json_skip(&j));
 *   }                                                                                                          */
#ifndef MYNA__JSONREAD_H
#define MYNA__JSONREAD_H

#include "formats/str.h"

typedef enum myna__json_token {
  MYNA__JSON_END, /* the document is complete; repeats */
  MYNA__JSON_OBJECT,
  MYNA__JSON_OBJECT_END,
  MYNA__JSON_ARRAY,
  MYNA__JSON_ARRAY_END,
  MYNA__JSON_KEY,
  MYNA__JSON_STRING,
  MYNA__JSON_NUMBER,
  MYNA__JSON_TRUE,
  MYNA__JSON_FALSE,
  MYNA__JSON_NULL
} myna__json_token;

enum { MYNA__JSON_DEPTH = 256 }; /* deepest nesting accepted */

typedef struct myna__json {
  myna__json_token token; /* the current one */
  myna__str str;          /* KEY, STRING: unescaped bytes. NUMBER: its text */
  bool borrowed;          /* str points into the document; otherwise it lives until the next token */
  size_t at;              /* where the token starts in the document */
  int depth;              /* open containers */
  /* private */
  const uint8_t *data;
  size_t size, pos;
  const char *file;
  int64_t base;
  myna_err *err;
  int state, failed;
  uint64_t objects[MYNA__JSON_DEPTH / 64]; /* bit d: the container at depth d is an object */
  myna__buf scratch;
} myna__json;

/* Starts before the first token. `file` and `base` (the document's offset in it) are for messages; bytes, file and
 * err are borrowed. Free with myna__json_free in any case. */
void myna__json_init(myna__json *j, const uint8_t *bytes, size_t n, const char *file, int64_t base, myna_err *err);
void myna__json_free(myna__json *j);

/* The next token (also in j->token), or negative. */
int myna__json_next(myna__json *j);
/* The next token must be this one. */
int myna__json_expect(myna__json *j, myna__json_token token);
/* The current token must be this one. */
int myna__json_is(myna__json *j, myna__json_token token);
/* Inside an object: 1 with the next key in j->str, 0 at its end. */
int myna__json_key(myna__json *j);
/* Inside an array: 1 with the first token of the next element current, 0 at its end. */
int myna__json_item(myna__json *j);
/* Passes over the rest of the value whose first token is current; after a key, over the value that follows. */
int myna__json_skip(myna__json *j);

/* The current token as a number; refuses other tokens, fractions and exponents for integers, and values that do not
 * fit. -0 is no integer. Doubles are correctly rounded, overflow is refused. */
int myna__json_i64(myna__json *j, int64_t *out);
int myna__json_u64(myna__json *j, uint64_t *out);
int myna__json_f64(myna__json *j, double *out);
int myna__json_bool(myna__json *j, bool *out);

/* Reports what is wrong with the current token, for callers with rules of their own. */
int myna__json_fail(myna__json *j, int code, const char *fmt, ...) MYNA__PRINTF(3, 4);

#endif
