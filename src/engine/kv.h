/* kv.h: pages of one group: allocation, reference counts, per-sequence tables, copy-on-write, prefix reuse. Single-threaded (the
 * engine thread). Knows nothing of layers or types: a page is an id; bytes are copied by a callback. */
#ifndef MYNA__KV_H
#define MYNA__KV_H

#include "base/base.h"

typedef struct myna__kv myna__kv;

typedef struct myna__kv_options {
  int64_t n_pages, n_seq, table_len;
  int64_t window; /* 0: full; else pages wholly behind the window are given back as positions advance */
  int32_t *table; /* [n_seq, table_len]: kept up to date here, -1 where no page */
  void (*copy)(void *user, int32_t dst, int32_t src); /* page bytes of all layers */
  void *user;
  uint64_t key; /* of everything else that shapes pages (model, types): mixed into prefix hashes */
} myna__kv_options;

int myna__kv_new(myna__kv **out, const myna__kv_options *o, myna_err *err);
void myna__kv_free(myna__kv *kv);

/* Longest prefix of tokens[0..n) whose pages are in the index (a multiple of 64, or more when a partly filled page of a finished sequence
 * matches); shares those pages with seq, which must be empty. Returns the number of positions found. Never returns n itself: at least one
 * token remains to be computed. For groups with a window the pages of the last window positions suffice. */
int64_t myna__kv_match(myna__kv *kv, int seq, const int32_t *tokens, int64_t n);
/* How many positions would match; changes nothing. With several groups the engine takes the minimum and calls adopt with it. */
int64_t myna__kv_probe(const myna__kv *kv, const int32_t *tokens, int64_t n, int64_t at_most);
/* n: what probe returned for these tokens (in every group), nothing changed since. */
int64_t myna__kv_adopt(myna__kv *kv, int seq, const int32_t *tokens, int64_t n);
/* Makes positions [from, to) of seq writable: allocates pages (evicting unreferenced indexed pages, least recently used first), copies a page that
 * is shared. MYNA_E_LIMIT when the pool is full (nothing changes then). tokens [0, to) are what will stand there (for the index). */
int myna__kv_reserve(myna__kv *kv, int seq, int64_t from, int64_t to, myna_err *err);
/* Positions [0, n) of seq now hold tokens: full pages enter the prefix index; with a window, pages behind it are released. */
void myna__kv_commit(myna__kv *kv, int seq, const int32_t *tokens, int64_t n);
/* The end of a prompt at position n: a partly filled last page enters the index as well; seq goes on writing behind what it holds. */
void myna__kv_keep(myna__kv *kv, int seq, const int32_t *tokens, int64_t n);
/* Gives back pages reserved wholly behind position n, which no one else has seen (drafts that were wrong). */
void myna__kv_trim(myna__kv *kv, int seq, int64_t n);
/* Drops seq's references; indexed pages stay until evicted. keep: index a partly filled last page as well (end of a prompt or turn). */
void myna__kv_release(myna__kv *kv, int seq, const int32_t *tokens, int64_t n, bool keep);
/* seq_to (empty) shares all pages of seq_from up to n positions (parallel sampling); writes copy. */
int myna__kv_fork(myna__kv *kv, int seq_from, int seq_to, int64_t n, myna_err *err);

typedef struct myna__kv_stats {
  int64_t total, used, shared, cached, free;
} myna__kv_stats;
void myna__kv_get_stats(const myna__kv *kv, myna__kv_stats *s);

#endif
