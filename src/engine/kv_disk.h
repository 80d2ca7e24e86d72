/* kv_disk.h: pages on disk: a file of equal slots behind the pools in memory. Writing and reading happen on a thread of their own; nothing here waits for
 * the disk but close. Called from one thread (the engine's). */
#ifndef MYNA__KV_DISK_H
#define MYNA__KV_DISK_H

#include "engine/kv.h"

typedef struct myna__disk myna__disk;

typedef struct myna__disk_options {
  const char *dir;
  int64_t max_bytes;         /* the file never has more, what is being written included */
  int64_t page_bytes;        /* of the largest page */
  void (*ready)(void *user); /* on the disk's thread: a fetch has ended */
  void *user;
} myna__disk_options;

/* The file has no name: it goes with the process, however that ends. MYNA_E_IO, or MYNA_E_ARG when max_bytes holds no page. */
int myna__disk_open(myna__disk **out, const myna__disk_options *o, myna_err *err);
void myna__disk_close(myna__disk *d); /* waits for what is in progress; NULL is fine */

/* Private memory of one with pages of so many bytes. */
int64_t myna__disk_memory(int64_t max_bytes, int64_t page_bytes);

/* Whether a page is there, or on its way. group: which pool. */
bool myna__disk_has(const myna__disk *d, int group, const myna__kv_key *key);
/* Copies a page that leaves memory. Pages that are there already, or find the writer busy, are left out. */
void myna__disk_put(myna__disk *d, int group, const myna__kv_key *key, const void *bytes, int64_t n);
void myna__disk_drop(myna__disk *d, int group, const myna__kv_key *key);

/* Pages that are to be brought, together. Zero-initialise. `left` reaches 0 when all have ended; then `failed` says whether any is missing. */
typedef struct myna__disk_fetch {
  atomic_int left;
  atomic_bool failed;
} myna__disk_fetch;
/* Brings a page to `to`, of n bytes, later; a damaged one is dropped. False: it is not there, or there is no memory; nothing was begun. */
bool myna__disk_get(myna__disk *d, int group, const myna__kv_key *key, void *to, int64_t n, myna__disk_fetch *f);

typedef struct myna__disk_stats {
  int64_t slots, used, bytes; /* bytes: of the pages in used slots */
  int64_t n_written, n_read, n_left_out;
  int64_t n_failed, n_damaged; /* could not be read or written; were not what was written */
} myna__disk_stats;
void myna__disk_get_stats(myna__disk *d, myna__disk_stats *s);
int myna__disk_fd(const myna__disk *d); /* tests damage it */

#endif
