/* tok.h: what a tokenizer is made of, and the scratch memory of one call. Private to src/text. */
#ifndef MYNA__TOK_H
#define MYNA__TOK_H

#include "text/pretok.h"
#include "text/tokenizer.h"
#include "text/trie.h"
#include "text/unicode.h"
#include "text/vocab.h"

#define MYNA__MARK "\xE2\x96\x81" /* U+2581, SentencePiece's space */

enum { /* flags beside the myna__tok_type in kind[] */
       MYNA__KIND_TYPE = 0x0F,
       MYNA__KIND_LSTRIP = 0x10, /* a special token that swallows white space on its left, its right */
       MYNA__KIND_RSTRIP = 0x20
};

/* Tokens that are found in the text as they stand, before anything else (special.c). */
typedef struct myna__special {
  myna__trie trie; /* bytes as in text -> order */
  int32_t n;
  struct myna__special_token {
    int32_t id;
    uint32_t len;    /* in the text */
    int32_t shorter; /* order of the longest other one that this one starts with, or -1 */
  } * tokens;        /* [n] longest first */
  bool first[256];   /* bytes that one starts with */
} myna__special;

/* SentencePiece's normalizer: a double-array trie from byte strings to replacements (normalize.c). */
typedef struct myna__charsmap {
  const uint8_t *units; /* [n_units] little-endian u32, unaligned */
  size_t n_units;
  const char *text; /* [n_text] replacements, each ends with NUL */
  size_t n_text;
} myna__charsmap;

struct myna__tokenizer {
  const myna__tokdata *t;
  uint8_t *kind; /* [n_tokens] myna__tok_type and flags */
  int32_t bos, eos, unk;
  int pre_flags;        /* MYNA__PRE_ of byte-level BPE, else 0 */
  uint32_t max_order;   /* of a pair that can be merged */
  bool cut_at_mark;     /* no token has U+2581 after another character: words can be merged on their own */
  int32_t byte_id[256]; /* token for a byte that nothing else covers, or -1 */
  myna__vocab vocab;    /* BPE and SentencePiece BPE */
  myna__pretok *pretok;
  myna__special special;
  myna__charsmap charsmap;
  myna__trie words; /* unigram: bytes -> id */
  float unk_score;
  uint64_t id;
  pthread_mutex_t lock; /* of extra */
  void *extra;
  void (*drop_extra)(void *p);
};

static inline int myna__tok_type_of(const myna__tokenizer *tk, int32_t id) { return tk->kind[id] & MYNA__KIND_TYPE; }
/* The byte that the text of a token such as <0x0A> names, or -1. */
int myna__byte_of_name(myna__str s);
/* Whether s is U+2581 and nothing else. */
bool myna__only_marks(myna__str s);

/* Growing memory of one call; contents survive growth. Zero-initialise. */
typedef struct myna__vec {
  void *p;
  size_t cap; /* bytes */
} myna__vec;

/* A run of bytes that is one token in the making (merge.c). */
typedef struct myna__symbol {
  uint64_t hash;
  uint32_t start, len; /* len 0: merged into its left neighbour */
  int32_t prev, next;  /* -1 at the ends */
  uint32_t order;      /* what joining it with next is worth */
} myna__symbol;

/* One call of myna__tokenize: where ids go and scratch memory. The first failure stays in rc. */
typedef struct myna__tokcall {
  const myna__tokenizer *tk;
  int32_t *ids;
  int64_t cap, n; /* n counts past cap */
  int rc;
  myna_err *err;
  myna__pretok_scratch pretok;
  myna__vec clean, match, text, symbols, heap, pool, path, parts;
} myna__tokcall;

static inline void myna__push_id(myna__tokcall *c, int32_t id) {
  if (c->n < c->cap) c->ids[c->n] = id;
  c->n++;
}
/* At least n bytes at v->p, or NULL with c->rc set. */
void *myna__vec_need(myna__tokcall *c, myna__vec *v, size_t n);

/* special.c: plain text or one token. */
typedef struct myna__part {
  uint32_t start, len;
  int32_t id; /* -1: text */
} myna__part;
int myna__special_init(myna__tokenizer *tk, myna_err *err);
void myna__special_free(myna__special *s);
/* Cuts text at special tokens into c->parts; returns how many. Empty text gives none. */
size_t myna__special_split(myna__tokcall *c, const char *text, size_t n, bool parse_special);

/* normalize.c */
int myna__charsmap_init(myna__charsmap *m, const uint8_t *p, size_t n, myna_err *err);
/* SentencePiece's normal form of p[0..n) into c->text: replacements, spaces as U+2581, `prefix` a space in front.
 * Returns its length. */
size_t myna__normalize(myna__tokcall *c, const char *p, size_t n, bool prefix);

/* The algorithms, each for one part of plain text. bpe.c, spm.c and unigram.c */
void myna__bpe_text(myna__tokcall *c, const char *p, size_t n);
void myna__spm_text(myna__tokcall *c, const char *p, size_t n, bool prefix);
void myna__unigram_text(myna__tokcall *c, const char *p, size_t n);
int myna__unigram_init(myna__tokenizer *tk, myna_err *err);

/* merge.c: joins neighbouring symbols of text in the order of their rank or score, the leftmost first among equals,
 * until no pair can be joined. The first n of c->symbols hold the start; survivors have len > 0. */
void myna__merge(myna__tokcall *c, const char *text, size_t n);

#endif
