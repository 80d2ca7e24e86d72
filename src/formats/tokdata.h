/* tokdata.h: a tokenizer as plain data, whatever file it came from. Strings borrow from the file. */
#ifndef MYNA__TOKDATA_H
#define MYNA__TOKDATA_H

#include "formats/gguf.h"

typedef enum myna__tok_model {
  MYNA__TOK_NONE,    /* file without tokenizer */
  MYNA__TOK_BPE,     /* byte-level BPE: GGUF "gpt2", tokenizer.json BPE; pre "gemma4": BPE on plain UTF-8 */
  MYNA__TOK_SPM,     /* SentencePiece BPE by scores: GGUF "llama" */
  MYNA__TOK_UNIGRAM, /* SentencePiece unigram: GGUF "t5" */
  MYNA__TOK_WORDPIECE
} myna__tok_model;

typedef enum myna__tok_type { /* as numbered in GGUF and SentencePiece */
                              MYNA__TOKTYPE_UNDEFINED,
                              MYNA__TOKTYPE_NORMAL,
                              MYNA__TOKTYPE_UNKNOWN,
                              MYNA__TOKTYPE_CONTROL,
                              MYNA__TOKTYPE_USER,
                              MYNA__TOKTYPE_UNUSED,
                              MYNA__TOKTYPE_BYTE
} myna__tok_type;

enum { MYNA__TOK_MAX_EOG = 32 };

typedef struct myna__tokdata {
  myna__tok_model model;
  char pre[64]; /* pre-tokenizer kind as in tokenizer.ggml.pre; "" when absent */
  int32_t n_tokens;
  myna__str *tokens; /* [n_tokens], raw bytes as stored (byte-level BPE: in the GPT-2 byte alphabet); may be
                              empty, may repeat */
  float *scores;     /* [n_tokens] or NULL; no NaN */
  uint8_t *types;    /* [n_tokens] myna__tok_type, NORMAL when absent; corrected where a well-known special
                              token has the wrong type */
  int64_t n_merges;
  myna__str *merges;       /* [n_merges] "left right" as in GGUF, rank = index; NULL */
  const uint8_t *charsmap; /* SentencePiece precompiled normalizer, NULL; its first u32 (trie bytes) was checked */
  size_t charsmap_len;
  int32_t bos, eos, eot, unk, pad, sep, cls, mask; /* -1 when absent, else in [0, n_tokens) */
  int32_t eog[MYNA__TOK_MAX_EOG];                  /* all end-of-generation ids, eos among them, ascending */
  int n_eog;
  bool add_bos, add_eos, add_space_prefix, remove_extra_whitespaces, escape_whitespaces;
  int add_bos_set;         /* 1 when the file says so, else the model kind's default was filled in */
  myna__str chat_template; /* n 0 when absent */
  int32_t eom, fim_pre, fim_suf, fim_mid, fim_pad, fim_rep, fim_sep; /* as bos */
  bool add_sep;                                                      /* WORDPIECE, RoBERTa: SEP ends a sequence */
  bool lowercase, strip_accents;                                     /* WORDPIECE normalizer */
} myna__tokdata;

/* Fills t from a GGUF (arrays are allocated, strings borrow from g). Fast: 150k tokens in a few ms.
 * Fails with MYNA_E_FORMAT naming the key, MYNA_E_UNSUPPORTED for a tokenizer model we do not have; nothing is held
 * then. MYNA__TOK_NONE is a success. */
int myna__tokdata_from_gguf(myna__tokdata *t, const myna__gguf *g, myna_err *err);
/* The model-independent part, for readers of other files: given tokens, types and the ids that the file names, fills
 * eog (and eot, eom and fim_* where -1) from well-known texts and corrects types. */
void myna__tokdata_find_special(myna__tokdata *t);
void myna__tokdata_free(myna__tokdata *t);

#endif
