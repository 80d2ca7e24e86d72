/* tiny_vocab.h: tokenizers of a few texts, for masks: token 0 ends, 1 is the control token <mark>, the others are texts. */
#ifndef MYNA__TEST_TINY_VOCAB_H
#define MYNA__TEST_TINY_VOCAB_H

#include "text/tokenizer.h"

enum { TINY_MAX = 512 };

typedef struct tiny_vocab {
  myna__tokdata data;
  myna__str texts[TINY_MAX];
  uint8_t types[TINY_MAX];
  float scores[TINY_MAX];
} tiny_vocab;

static inline void tiny_begin(tiny_vocab *v) {
  memset(v, 0, sizeof *v);
  v->data = (myna__tokdata){.model = MYNA__TOK_SPM,
                            .tokens = v->texts,
                            .types = v->types,
                            .scores = v->scores,
                            .n_tokens = 2,
                            .bos = -1,
                            .unk = -1,
                            .eot = -1,
                            .n_eog = 1};
  v->texts[0] = (myna__str){"</s>", 4};
  v->texts[1] = (myna__str){"<mark>", 6};
  v->types[0] = v->types[1] = MYNA__TOKTYPE_CONTROL;
}

/* The text must stay. */
static inline void tiny_add(tiny_vocab *v, const char *text, size_t n) {
  if (v->data.n_tokens == TINY_MAX) return;
  v->types[v->data.n_tokens] = MYNA__TOKTYPE_NORMAL;
  v->texts[v->data.n_tokens++] = (myna__str){text, n};
}

#endif
