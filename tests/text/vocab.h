/* vocab.h: what the tests of src/text share: vocabularies from files and by hand, cases, files of ../shared/data. */
#ifndef TEST_VOCAB_H
#define TEST_VOCAB_H

#include "test.h"
#include "text/tokenizer.h"

/* A vocabulary with its tokenizer, from a GGUF or filled in by the test. */
typedef struct vocab {
  myna__gguf g;
  myna__tokdata t;
  myna__tokenizer *tk;
  bool from_file;
} vocab;

void vocab_open(vocab *v, const char *path); /* fails the test on error */
void vocab_use(vocab *v, const char *pre);   /* another tokenizer over the same data; NULL: the file's */
void vocab_close(vocab *v);

/* By hand: tokens with types and scores; finish with vocab_use. Strings must outlive it. */
void vocab_start(vocab *v, myna__tok_model model, const char *pre);
int32_t vocab_add(vocab *v, const char *token, int type, float score);
void vocab_add_n(vocab *v, const char *token, size_t n, int type, float score);
void vocab_merge(vocab *v, const char *merge);
void vocab_alphabet(vocab *v); /* the 256 characters of byte-level BPE */
void vocab_bytes(vocab *v);    /* <0x00> to <0xFF> */

/* Ids of text; free with free(). */
int32_t *vocab_ids(const vocab *v, const char *text, size_t n, bool add_special, bool parse_special, int64_t *n_ids);
/* The ids must be these; prints both lists when not. */
void expect_ids(const vocab *v, const char *text, const char *ids);
void expect_ids_opt(const vocab *v, const char *text, size_t n, bool add_special, bool parse_special, const char *ids);
/* ids of text, streamed back, must give text. */
void expect_round_trip(const vocab *v, const char *text, size_t n);

/* A whole file, or NULL when it is absent; free with free(). NUL-terminated. */
char *slurp(const char *path, size_t *n);
/* A path below ../shared/data (or $MYNA_DATA). */
const char *shared_path(char buf[512], const char *rel);
/* Bytes of a hex string ("-" is empty) up to a tab, newline or the end; returns the length, moves *p past it. */
size_t unhex(const char **p, char *out);

#endif
