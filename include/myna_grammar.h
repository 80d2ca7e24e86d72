/* myna_grammar.h: constraints on answers: GBNF, regular expressions, choices, JSON schemas.
 *
 * A grammar is a language of UTF-8 texts. It is compiled once on the caller's thread, is immutable and shared, and masks the vocabulary at every token of
 * the requests that name it. All functions take untrusted input and are bounded in time and memory. */
#ifndef MYNA_GRAMMAR_H
#define MYNA_GRAMMAR_H

#include "myna_base.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct myna_grammar myna_grammar;
struct myna_model;

/* llama.cpp's GBNF; root NULL: "root". <text> is the one token of the model that this text (with its brackets) is, <[12]> the token of this number, a !
 * before means any other token; they hold in requests only: no text matches them. MYNA_E_FORMAT with line for a malformed text, undefined rules, left recursion, languages without any text;
 * MYNA_E_LIMIT for what is too large. */
MYNA_API int myna_grammar_from_gbnf(myna_grammar **out, const char *text, size_t n, const char *root, myna_err *err);
/* Whole text matches: the regular subset (classes, groups, alternation, counted repeats, escapes, anchors at both ends); lookaround and backreferences
 * are MYNA_E_UNSUPPORTED. */
MYNA_API int myna_grammar_from_regex(myna_grammar **out, const char *text, size_t n, myna_err *err);
/* One of the texts, [n]. */
MYNA_API int myna_grammar_from_choices(myna_grammar **out, const char *const *texts, int n, myna_err *err);

typedef struct myna_schema_options {
  bool compact; /* no whitespace between tokens; else at most one space or newline with bounded indent */
} myna_schema_options;
/* JSON texts that are instances of the JSON schema; "" or {} is any JSON value. Fails closed: a keyword that constrains and is not supported is
 * MYNA_E_UNSUPPORTED with its JSON pointer in the message. o may be NULL. */
MYNA_API int myna_grammar_from_schema(myna_grammar **out, const char *json, size_t n, const myna_schema_options *o,
                                      myna_err *err);
/* The same as GBNF text (to look at it, or to build larger grammars): rules whose names start with `prefix`, the last of them `prefix`root. *text is
 * NUL-terminated; free it with myna_grammar_free_text. */
MYNA_API int myna_schema_to_gbnf(const char *json, size_t n, const char *prefix, const myna_schema_options *o,
                                 char **text, myna_err *err);
MYNA_API void myna_grammar_free_text(char *text);

/* Keeps compiled grammars, and what is known of their masks, up to so many bytes for the whole process: from_gbnf, from_regex and from_schema give the
 * same one for the same text. 0 (at the beginning): none, and those kept are let go; negative: no change. Returns the limit before. Thread-safe. */
MYNA_API int64_t myna_grammar_cache(int64_t bytes);

/* The most that all grammars of the process may hold: compiled, kept or in use, with what runs them and their masks. Near it kept ones are let go and masks
 * are found anew, slower; a request whose grammar has no room is refused with MYNA_E_LIMIT and the numbers, one that is too large by itself when it is
 * compiled. A step may go beyond by the masks that it needs at once. 0 (at the beginning): no limit; negative: no change. Returns the limit before.
 * Thread-safe. */
MYNA_API int64_t myna_grammar_limit(int64_t bytes);
/* What they hold now, in bytes. Thread-safe. */
MYNA_API int64_t myna_grammar_held(void);

/* Grammars are counted: each from_ gives one reference, requests hold their own. */
MYNA_API myna_grammar *myna_grammar_ref(myna_grammar *g);
MYNA_API void myna_grammar_free(myna_grammar *g);

typedef enum myna_match { MYNA_MATCH_DEAD, MYNA_MATCH_PREFIX, MYNA_MATCH_WHOLE } myna_match;
/* What text[0..n) is: no beginning of any text of the language; a beginning only; a text of it (that may also go on). */
MYNA_API myna_match myna_grammar_match(const myna_grammar *g, const char *text, size_t n);
/* A shortest text that makes text[0..n) whole; MYNA_E_ARG when it is dead. NUL-terminated; free with myna_grammar_free_text. */
MYNA_API int myna_grammar_close(const myna_grammar *g, const char *text, size_t n, char **tail, myna_err *err);
/* Prepares masks for a model's vocabulary, once for all requests with this model; submit does it otherwise. Thread-safe. */
MYNA_API int myna_grammar_prepare(myna_grammar *g, const struct myna_model *m, myna_err *err);

#ifdef __cplusplus
}
#endif
#endif
