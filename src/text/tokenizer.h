/* tokenizer.h: text to token ids and back. A tokenizer is immutable after creation and thread-safe. */
#ifndef MYNA__TOKENIZER_H
#define MYNA__TOKENIZER_H

#include "formats/tokdata.h"

typedef struct myna__tokenizer myna__tokenizer;

/* Builds lookup tables from t, which must outlive the tokenizer. <= 60 ms at 150k tokens. */
int myna__tokenizer_new(myna__tokenizer **out, const myna__tokdata *t, myna_err *err);
void myna__tokenizer_free(myna__tokenizer *tk);

typedef struct myna__tokenize_options {
  bool add_special;   /* BOS/EOS as the file asks for */
  bool parse_special; /* control and user tokens written in the text become their ids */
} myna__tokenize_options;

/* Ids of text[0..n). Returns the number of ids (also when cap is smaller: then the first cap are written),
 * negative on failure. Any bytes are accepted: invalid UTF-8 is tokenized as llama.cpp does. */
int64_t myna__tokenize(const myna__tokenizer *tk, const char *text, size_t n, const myna__tokenize_options *o,
                       int32_t *ids, int64_t cap, myna_err *err);

/* Bytes of one token as they appear in text. Returns the length (<= any token's length + 1), writes at most
 * cap bytes, no NUL. `special` false renders control tokens as nothing. Negative for an id out of range. */
int64_t myna__token_bytes(const myna__tokenizer *tk, int32_t id, bool special, char *buf, size_t cap);
bool myna__token_is_eog(const myna__tokenizer *tk, int32_t id);
const myna__tokdata *myna__tokenizer_data(const myna__tokenizer *tk);
/* A number that no other tokenizer of this process has or had: addresses come back. */
uint64_t myna__tokenizer_id(const myna__tokenizer *tk);
/* The one thing that somebody above keeps per tokenizer: made by the first call, freed by `drop` with the tokenizer. NULL
 * where `make` returns that. Thread-safe. */
void *myna__tokenizer_extra(const myna__tokenizer *tk, void *(*make)(const myna__tokenizer *tk), void (*drop)(void *p));

/* Streaming detokenizer: feed ids, take out only whole UTF-8 characters. Zero-initialise; no allocation. */
typedef struct myna__detok {
  char pending[8];
  int n_pending;
  bool started; /* the leading space of SentencePiece is dropped before the first text (after BOS) */
} myna__detok;
/* Appends the text that became complete to out. `special` as above. */
int myna__detok_push(const myna__tokenizer *tk, myna__detok *d, int32_t id, bool special, myna__buf *out);
/* End of stream: incomplete bytes come out as U+FFFD. */
void myna__detok_finish(myna__detok *d, myna__buf *out);

#endif
