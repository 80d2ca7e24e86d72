/* kv_disk.c: see kv_disk.h.
 *
 * A slot holds one page; its key and checksum stay in memory. The least recently used slot without work is overwritten. Work is a list in order of arrival, so a
 * page that is asked for while it is being written is read afterwards. One lock; the disk is touched without it. */
#include "engine/kv_disk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAGE = 64, BUFFERS = 16, NONE = -1, MAX_PATH = 4096 };

typedef enum state { FREE, WRITING, READY } state;

typedef struct slot {
  state state;
  int32_t next, group, readers;
  uint64_t before, hash; /* hash: of the bytes */
  int64_t n, stamp;
  int32_t tokens[PAGE];
} slot;

typedef struct work {
  struct work *next;
  int32_t slot;
  int buffer; /* write: which; NONE: read */
  void *to;
  myna__disk_fetch *fetch;
} work;

struct myna__disk {
  myna__disk_options opt;
  int fd;
  slot *slots;     /* [n_slots] */
  int32_t *bucket; /* [n_bucket] */
  int64_t n_slots, n_bucket, clock;
  uint8_t *buffers; /* [BUFFERS][page_bytes] */
  bool taken[BUFFERS];
  work writes[BUFFERS]; /* of each buffer, so that a write needs no memory */
  work *first, *last;
  bool stop, broken; /* broken: the disk is full or worse; nothing is written any more */
  bool started;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t more;
  myna__disk_stats stats;
};

/* ---- index, with the lock held ---- */

static int32_t *bucket_of(const myna__disk *d, uint64_t before) {
  return &d->bucket[before & (uint64_t)(d->n_bucket - 1)];
}

static int32_t find(const myna__disk *d, int group, const myna__kv_key *key) {
  for (int32_t i = *bucket_of(d, key->before); i != NONE; i = d->slots[i].next) {
    const slot *s = &d->slots[i];
    if (s->before == key->before && s->group == group && memcmp(s->tokens, key->tokens, sizeof s->tokens) == 0)
      return i;
  }
  return NONE;
}

static void remove_slot(myna__disk *d, int32_t i) {
  int32_t *at = bucket_of(d, d->slots[i].before);
  while (*at != i) at = &d->slots[*at].next;
  *at = d->slots[i].next;
  d->slots[i].state = FREE;
  d->stats.used--;
  d->stats.bytes -= d->slots[i].n;
}

/* A slot to write into; NONE when all are busy. */
static int32_t take_slot(myna__disk *d) {
  int32_t best = NONE;
  for (int64_t i = 0; i < d->n_slots; i++) {
    const slot *s = &d->slots[i];
    if (s->state == FREE) return (int32_t)i;
    if (s->state != READY || s->readers > 0) continue;
    if (best == NONE || s->stamp < d->slots[best].stamp) best = (int32_t)i;
  }
  if (best != NONE) remove_slot(d, best);
  return best;
}

static void enqueue(myna__disk *d, work *w) {
  w->next = NULL;
  if (d->last)
    d->last->next = w;
  else
    d->first = w;
  d->last = w;
  pthread_cond_signal(&d->more);
}

/* ---- the disk's thread ---- */

static bool whole(int fd, uint8_t *p, int64_t n, int64_t at, bool out) {
  while (n > 0) {
    ssize_t k = out ? pwrite(fd, p, (size_t)n, at) : pread(fd, p, (size_t)n, at);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return false;
    p += k, n -= k, at += k;
  }
  return true;
}

static void do_write(myna__disk *d, const work *w) {
  slot *s = &d->slots[w->slot]; /* nobody else changes a slot that is being written */
  uint8_t *bytes = d->buffers + w->buffer * d->opt.page_bytes;
  s->hash = myna__hash(bytes, (size_t)s->n, s->before);
  bool ok = whole(d->fd, bytes, s->n, w->slot * d->opt.page_bytes, true);
  int why = errno;
  pthread_mutex_lock(&d->lock);
  d->taken[w->buffer] = false;
  s->state = READY;
  d->stats.n_written += ok;
  d->stats.n_failed += !ok;
  if (!ok) {
    if (!d->broken) myna__log(1, "the cache on disk takes no more: %s", strerror(why));
    d->broken = true;
    s->hash = ~s->hash; /* who waits for it finds it damaged */
    if (s->readers == 0) remove_slot(d, w->slot);
  }
  pthread_mutex_unlock(&d->lock);
}

static void do_read(myna__disk *d, work *w) {
  pthread_mutex_lock(&d->lock);
  slot *s = &d->slots[w->slot]; /* a slot with readers stays */
  int64_t n = s->n;
  uint64_t want = s->hash, before = s->before;
  pthread_mutex_unlock(&d->lock);
  bool there = whole(d->fd, w->to, n, w->slot * d->opt.page_bytes, false);
  bool ok = there && myna__hash(w->to, (size_t)n, before) == want;
  if (!ok) memset(w->to, 0, (size_t)n); /* pages hold numbers */
  pthread_mutex_lock(&d->lock);
  s->readers--;
  d->stats.n_read += ok;
  d->stats.n_failed += !there;
  d->stats.n_damaged += there && !ok;
  if (!ok && s->readers == 0) remove_slot(d, w->slot);
  pthread_mutex_unlock(&d->lock);
  if (!ok) atomic_store(&w->fetch->failed, true);
  if (atomic_fetch_sub(&w->fetch->left, 1) == 1) d->opt.ready(d->opt.user);
  myna__free(w, sizeof *w);
}

static void *disk_main(void *arg) {
  myna__disk *d = arg;
  for (;;) {
    pthread_mutex_lock(&d->lock);
    while (!d->first && !d->stop) pthread_cond_wait(&d->more, &d->lock);
    work *w = d->first;
    if (w) d->first = w->next;
    if (!d->first) d->last = NULL;
    pthread_mutex_unlock(&d->lock);
    if (!w) return NULL;
    if (w->buffer != NONE)
      do_write(d, w);
    else
      do_read(d, w);
  }
}

/* ---- making ---- */

int64_t myna__disk_memory(int64_t max_bytes, int64_t page_bytes) {
  return BUFFERS * page_bytes + max_bytes / MYNA__MAX(page_bytes, 1) * (int64_t)(sizeof(slot) + 2 * sizeof(int32_t));
}

static int open_file(myna__disk *d, myna_err *err) {
  char path[MAX_PATH];
  if (snprintf(path, sizeof path, "%s/myna-cache-XXXXXX", d->opt.dir) >= (int)sizeof path)
    return myna__err(err, MYNA_E_ARG, "the path of the cache on disk is too long");
  d->fd = open(d->opt.dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); /* never has a name */
  if (d->fd >= 0) return 0;
  d->fd = mkostemp(path, O_CLOEXEC); /* not every file system can do that */
  if (d->fd < 0) return myna__err(err, MYNA_E_IO, "%s: no file for the cache: %s", d->opt.dir, strerror(errno));
  unlink(path);
  return 0;
}

static int start(myna__disk *d, myna_err *err) {
  TRY(open_file(d, err));
  d->n_slots = MYNA__MIN(d->opt.max_bytes / d->opt.page_bytes, INT32_MAX / 2);
  if (d->n_slots < 1)
    return myna__err(err, MYNA_E_ARG, "a cache on disk of %lld bytes holds no page of %lld",
                     (long long)d->opt.max_bytes, (long long)d->opt.page_bytes);
  for (d->n_bucket = 16; d->n_bucket < d->n_slots; d->n_bucket *= 2) {}
  d->slots = myna__calloc((size_t)d->n_slots * sizeof *d->slots);
  d->bucket = myna__alloc((size_t)d->n_bucket * sizeof *d->bucket);
  d->buffers = myna__alloc((size_t)(BUFFERS * d->opt.page_bytes));
  if (!d->slots || !d->bucket || !d->buffers) return myna__err(err, MYNA_E_NOMEM, "no memory for a cache on disk");
  for (int64_t i = 0; i < d->n_bucket; i++) d->bucket[i] = NONE;
  d->stats.slots = d->n_slots;
  if (myna__thread_start(&d->thread, disk_main, d))
    return myna__err(err, MYNA_E_INTERNAL, "cannot start a thread for the cache on disk");
  d->started = true;
  return 0;
}

int myna__disk_open(myna__disk **out, const myna__disk_options *o, myna_err *err) {
  *out = NULL;
  myna__disk *d = myna__calloc(sizeof *d);
  if (!d) return myna__err(err, MYNA_E_NOMEM, "no memory for a cache on disk");
  d->opt = *o;
  d->fd = -1;
  pthread_mutex_init(&d->lock, NULL);
  pthread_cond_init(&d->more, NULL);
  int rc = start(d, err);
  if (rc < 0)
    myna__disk_close(d);
  else
    *out = d;
  return rc;
}

void myna__disk_close(myna__disk *d) {
  if (!d) return;
  if (d->started) {
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
  }
  if (d->fd >= 0) close(d->fd);
  myna__free(d->slots, (size_t)d->n_slots * sizeof *d->slots);
  myna__free(d->bucket, (size_t)d->n_bucket * sizeof *d->bucket);
  myna__free(d->buffers, (size_t)(BUFFERS * d->opt.page_bytes));
  pthread_cond_destroy(&d->more);
  pthread_mutex_destroy(&d->lock);
  myna__free(d, sizeof *d);
}

/* ---- use ---- */

bool myna__disk_has(const myna__disk *cd, int group, const myna__kv_key *key) {
  myna__disk *d = (myna__disk *)(uintptr_t)cd;
  pthread_mutex_lock(&d->lock);
  bool there = find(d, group, key) != NONE;
  pthread_mutex_unlock(&d->lock);
  return there;
}

static int free_buffer(const myna__disk *d) {
  for (int i = 0; i < BUFFERS; i++)
    if (!d->taken[i]) return i;
  return NONE;
}

void myna__disk_put(myna__disk *d, int group, const myna__kv_key *key, const void *bytes, int64_t n) {
  pthread_mutex_lock(&d->lock);
  int32_t there = find(d, group, key), i = NONE;
  int buffer = free_buffer(d);
  if (there != NONE)
    d->slots[there].stamp = ++d->clock;
  else if (buffer != NONE && !d->broken)
    i = take_slot(d);
  d->stats.n_left_out += there == NONE && i == NONE;
  if (i != NONE) {
    slot *s = &d->slots[i];
    *s = (slot){.state = WRITING, .group = group, .before = key->before, .n = n, .stamp = ++d->clock};
    memcpy(s->tokens, key->tokens, sizeof s->tokens);
    s->next = *bucket_of(d, key->before);
    *bucket_of(d, key->before) = i;
    d->stats.used++;
    d->stats.bytes += n;
    d->taken[buffer] = true;
    d->writes[buffer] = (work){.slot = i, .buffer = buffer};
    memcpy(d->buffers + buffer * d->opt.page_bytes, bytes, (size_t)n);
    enqueue(d, &d->writes[buffer]);
  }
  pthread_mutex_unlock(&d->lock);
}

void myna__disk_drop(myna__disk *d, int group, const myna__kv_key *key) {
  pthread_mutex_lock(&d->lock);
  int32_t i = find(d, group, key);
  if (i != NONE && d->slots[i].state == READY && d->slots[i].readers == 0) remove_slot(d, i);
  pthread_mutex_unlock(&d->lock);
}

bool myna__disk_get(myna__disk *d, int group, const myna__kv_key *key, void *to, int64_t n, myna__disk_fetch *f) {
  work *w = myna__alloc(sizeof *w);
  if (!w) return false;
  pthread_mutex_lock(&d->lock);
  int32_t i = find(d, group, key);
  bool ok = i != NONE && d->slots[i].n == n;
  if (ok) {
    d->slots[i].readers++;
    d->slots[i].stamp = ++d->clock;
    atomic_fetch_add(&f->left, 1);
    *w = (work){.slot = i, .buffer = NONE, .to = to, .fetch = f};
    enqueue(d, w);
  }
  pthread_mutex_unlock(&d->lock);
  if (!ok) myna__free(w, sizeof *w);
  return ok;
}

void myna__disk_get_stats(myna__disk *d, myna__disk_stats *s) {
  pthread_mutex_lock(&d->lock);
  *s = d->stats;
  pthread_mutex_unlock(&d->lock);
}

int myna__disk_fd(const myna__disk *d) { return d->fd; }
