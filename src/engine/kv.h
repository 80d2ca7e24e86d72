/* kv.h: pages of one group: allocation, reference counts, per-sequence tables, copy-on-write, prefix reuse. Single-threaded (the
 * engine thread). Knows nothing of layers or types: a page is an id; bytes are copied by a callback. */
#ifndef MYNA__KV_H
#define MYNA__KV_H

#include "base/base.h"

typedef struct myna__kv myna__kv;

/* What a full page is found by: the hash of all tokens before it, and its own 64. */
typedef struct myna__kv_key {
  uint64_t before;
  int64_t depth; /* number of the page in its text */
  const int32_t *tokens;
} myna__kv_key;

typedef struct myna__kv_options {
  int64_t n_pages, n_seq, table_len;
  int64_t window; /* 0: full; else pages wholly behind the window are given back as positions advance */
  int32_t *table; /* [n_seq, table_len]: kept up to date here, -1 where no page */
  void (*copy)(void *user, int32_t dst, int32_t src); /* page bytes of all layers */
  void *user;
  uint64_t key; /* of everything else that shapes pages (model, types): mixed into prefix hashes */
  bool lru;     /* evict what was used least recently, whatever it is worth (tests compare) */
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
/* A full page that was in the index leaves memory: its bytes are still there. And whether a page is to be had elsewhere (probe_all). */
void myna__kv_set_tier(myna__kv *kv, void (*evicted)(void *user, int32_t id, const myna__kv_key *key),
                       bool (*elsewhere)(void *user, const myna__kv_key *key), void *user);
/* Computing page number d of a text takes first + more * d, in any unit. Until told: the same for all. */
void myna__kv_set_cost(myna__kv *kv, double first, double more);
/* Makes positions [from, to) of seq writable: allocates pages (evicting unreferenced indexed pages, those worth least first), copies a page that
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

/* ---- pages without a sequence: saved, restored, moved ---- */

/* Pages of positions [0, n) into ids[(n + 63) / 64], NONE (-1) where a window needs none; n as of probe. They are held until unpin, and nobody writes
 * into what is held of them. */
void myna__kv_pin(myna__kv *kv, const int32_t *tokens, int64_t n, int32_t *ids);
void myna__kv_unpin(myna__kv *kv, const int32_t *ids, int64_t n_ids);
/* n pages for the caller to fill, or MYNA_E_LIMIT; then unpin them, or insert them as those of a text's positions [0, n) (-1: not brought). */
int myna__kv_take(myna__kv *kv, int64_t n, int32_t *ids, myna_err *err);
void myna__kv_insert(myna__kv *kv, int32_t *ids, const int32_t *tokens, int64_t n);
/* Drops pages of positions [0, n) from their end on, as long as nobody holds or continues them. Returns the positions that are left. */
int64_t myna__kv_forget(myna__kv *kv, const int32_t *tokens, int64_t n);
/* As probe, with whole pages that are elsewhere counted as found. */
int64_t myna__kv_probe_all(const myna__kv *kv, const int32_t *tokens, int64_t n, int64_t at_most);
/* Keys of the pages that must be brought so that probe returns n, as of probe_all; at most cap. Returns how many there are. tokens stay borrowed. */
int64_t myna__kv_missing(const myna__kv *kv, const int32_t *tokens, int64_t n, myna__kv_key *keys, int64_t cap);

typedef struct myna__kv_stats {
  int64_t total, used, shared, cached, free;
} myna__kv_stats;
void myna__kv_get_stats(const myna__kv *kv, myna__kv_stats *s);

#endif
