/* kv.c: pages of one group.
 *
 * A page is free, held (refs > 0), or cached (refs == 0 but in the index). The index is a radix tree with pages as edges: a page is found under the
 * hash of all tokens before it, and then by its own tokens, which are compared one by one; so a match may end inside a page, and the sequence
 * that adopts it copies it before it writes. Cached pages are evicted least recently used first, deepest first among equals.
 * Nothing is allocated after creation. */
#include "engine/kv.h"

enum { PAGE = 64, NONE = -1 };

typedef struct page {
  int32_t refs;
  int32_t next; /* in its bucket, or in the free list */
  bool indexed;
  int16_t n;       /* tokens it holds, when indexed */
  uint64_t before; /* hash of everything before it */
  int64_t stamp;
  int64_t depth; /* page number in its sequence */
  int32_t tokens[PAGE];
} page;

struct myna__kv {
  myna__kv_options opt;
  page *pages;     /* [n_pages] */
  int32_t *bucket; /* [n_bucket] first page */
  int64_t n_bucket;
  int32_t free; /* first free page */
  int64_t n_free, clock;
};

static int32_t *table_of(const myna__kv *kv, int seq) { return kv->opt.table + (int64_t)seq * kv->opt.table_len; }
static uint64_t extend(uint64_t hash, const int32_t *tokens) { return myna__hash(tokens, PAGE * sizeof *tokens, hash); }
static int32_t *bucket_of(const myna__kv *kv, uint64_t hash) {
  return &kv->bucket[hash & (uint64_t)(kv->n_bucket - 1)];
}

int myna__kv_new(myna__kv **out, const myna__kv_options *o, myna_err *err) {
  *out = NULL;
  myna__kv *kv = myna__calloc(sizeof *kv);
  if (!kv) return myna__err(err, MYNA_E_NOMEM, "no memory");
  kv->opt = *o;
  for (kv->n_bucket = 16; kv->n_bucket < o->n_pages; kv->n_bucket *= 2) {}
  kv->pages = myna__calloc((size_t)o->n_pages * sizeof *kv->pages);
  kv->bucket = myna__alloc((size_t)kv->n_bucket * sizeof *kv->bucket);
  if (!kv->pages || !kv->bucket) {
    myna__kv_free(kv);
    return myna__err(err, MYNA_E_NOMEM, "no memory for %lld cache pages", (long long)o->n_pages);
  }
  for (int64_t i = 0; i < kv->n_bucket; i++) kv->bucket[i] = NONE;
  kv->free = NONE;
  for (int64_t i = o->n_pages - 1; i >= 0; i--) {
    kv->pages[i].next = kv->free;
    kv->free = (int32_t)i;
  }
  kv->n_free = o->n_pages;
  for (int64_t i = 0; i < o->n_seq * o->table_len; i++) o->table[i] = NONE;
  *out = kv;
  return 0;
}

void myna__kv_free(myna__kv *kv) {
  if (!kv) return;
  myna__free(kv->pages, (size_t)kv->opt.n_pages * sizeof *kv->pages);
  myna__free(kv->bucket, (size_t)kv->n_bucket * sizeof *kv->bucket);
  myna__free(kv, sizeof *kv);
}

/* ---- index ---- */

static void unindex(myna__kv *kv, int32_t id) {
  page *p = &kv->pages[id];
  int32_t *at = bucket_of(kv, p->before);
  while (*at != id) at = &kv->pages[*at].next;
  *at = p->next;
  p->indexed = false;
}

static void to_free(myna__kv *kv, int32_t id) {
  kv->pages[id].next = kv->free;
  kv->free = id;
  kv->n_free++;
}

static void unref(myna__kv *kv, int32_t id) {
  page *p = &kv->pages[id];
  assert(p->refs > 0);
  if (--p->refs == 0 && !p->indexed) to_free(kv, id);
}

static int common(const int32_t *a, const int32_t *b, int64_t n) {
  int i = 0;
  while (i < n && a[i] == b[i]) i++;
  return i;
}

/* The indexed page after `before` that shares most of tokens[0..n), and how many; NONE when none. */
static int32_t lookup(const myna__kv *kv, uint64_t before, const int32_t *tokens, int64_t n, int *shared) {
  int32_t best = NONE;
  *shared = 0;
  for (int32_t id = *bucket_of(kv, before); id != NONE; id = kv->pages[id].next) {
    const page *p = &kv->pages[id];
    if (p->before != before) continue;
    int c = common(p->tokens, tokens, MYNA__MIN(n, p->n));
    if (c > *shared) *shared = c, best = id;
  }
  return best;
}

/* Puts a page that holds tokens[0..n) after `before` into the index, unless equal content is there already. What is there is as good as
 * used now: the caller ticks the clock once per sequence, so that its deepest pages are evicted before those that they need. */
static void index_page(myna__kv *kv, int32_t id, uint64_t before, int64_t depth, const int32_t *tokens, int n) {
  page *p = &kv->pages[id];
  p->stamp = kv->clock;
  if (p->indexed && p->before == before && p->n >= n && common(p->tokens, tokens, n) == n) return;
  if (p->indexed) unindex(kv, id);
  int shared;
  int32_t same = lookup(kv, before, tokens, n, &shared);
  if (same != NONE && shared == n) {
    kv->pages[same].stamp = kv->clock;
    return;
  }
  p->before = before;
  p->depth = depth;
  p->n = (int16_t)n;
  memcpy(p->tokens, tokens, (size_t)n * sizeof *tokens);
  p->indexed = true;
  int32_t *at = bucket_of(kv, before);
  p->next = *at;
  *at = id;
}

/* ---- matching ---- */

/* First page that must be there so that position n can be computed. */
static int64_t first_needed(const myna__kv *kv, int64_t n) {
  int64_t first = kv->opt.window > 0 ? n - kv->opt.window + 1 : 0;
  return first > 0 ? first / PAGE : 0;
}

int64_t myna__kv_probe(const myna__kv *kv, const int32_t *tokens, int64_t n, int64_t at_most) {
  int64_t limit = MYNA__MIN(MYNA__MIN(n, at_most), kv->opt.table_len * PAGE);
  uint64_t hash = kv->opt.key;
  int64_t best = 0, run_start = 0; /* pages [run_start, i) are all there */
  for (int64_t i = 0; i * PAGE < limit; i++) {
    int shared;
    lookup(kv, hash, tokens + i * PAGE, MYNA__MIN(PAGE, limit - i * PAGE), &shared);
    if (shared > 0 && first_needed(kv, i * PAGE + shared) >= run_start) best = i * PAGE + shared;
    if (shared < PAGE) {
      if (kv->opt.window <= 0) break;
      run_start = i + 1;
    }
    if ((i + 1) * PAGE > n) break;
    hash = extend(hash, tokens + i * PAGE);
  }
  return best;
}

int64_t myna__kv_adopt(myna__kv *kv, int seq, const int32_t *tokens, int64_t n) {
  uint64_t hash = kv->opt.key;
  int32_t *t = table_of(kv, seq);
  int64_t stamp = ++kv->clock;
  for (int64_t i = 0; i * PAGE < n; i++) {
    int shared;
    int64_t want = MYNA__MIN(PAGE, n - i * PAGE);
    int32_t id = lookup(kv, hash, tokens + i * PAGE, want, &shared);
    assert(i < first_needed(kv, n) || (id != NONE && shared == want)); /* probe said so */
    if (id != NONE && shared == want && i >= first_needed(kv, n)) {
      t[i] = id;
      kv->pages[id].refs++;
      kv->pages[id].stamp = stamp;
    }
    if (want == PAGE) hash = extend(hash, tokens + i * PAGE);
  }
  return n;
}

int64_t myna__kv_match(myna__kv *kv, int seq, const int32_t *tokens, int64_t n) {
  int64_t found = myna__kv_probe(kv, tokens, n, n - 1);
  return found > 0 ? myna__kv_adopt(kv, seq, tokens, found) : 0;
}

/* ---- allocation ---- */

static int32_t evict(myna__kv *kv) {
  int32_t victim = NONE;
  for (int64_t i = 0; i < kv->opt.n_pages; i++) {
    const page *p = &kv->pages[i], *v = victim == NONE ? NULL : &kv->pages[victim];
    if (p->refs > 0 || !p->indexed) continue;
    if (!v || p->stamp < v->stamp || (p->stamp == v->stamp && p->depth > v->depth)) victim = (int32_t)i;
  }
  if (victim != NONE) unindex(kv, victim);
  return victim;
}

static int32_t take_page(myna__kv *kv) {
  int32_t id = kv->free;
  if (id != NONE) {
    kv->free = kv->pages[id].next;
    kv->n_free--;
  } else {
    id = evict(kv);
  }
  if (id != NONE) kv->pages[id].refs = 1;
  return id;
}

/* A held page may be written in place when nobody else reads it: one reference, and what stays indexed of it ends before `from`. */
static bool writable(const page *p, int64_t index, int64_t from) {
  if (p->refs != 1) return false;
  return !p->indexed || from - index * PAGE >= p->n;
}

static int64_t pages_needed(const myna__kv *kv, const int32_t *t, int64_t from, int64_t to) {
  int64_t need = 0;
  for (int64_t i = from / PAGE; i * PAGE < to; i++)
    if (t[i] == NONE || !writable(&kv->pages[t[i]], i, from)) need++;
  return need;
}

static int64_t pages_available(const myna__kv *kv) {
  int64_t n = kv->n_free;
  for (int64_t i = 0; i < kv->opt.n_pages; i++) n += kv->pages[i].refs == 0 && kv->pages[i].indexed;
  return n;
}

int myna__kv_reserve(myna__kv *kv, int seq, int64_t from, int64_t to, myna_err *err) {
  int32_t *t = table_of(kv, seq);
  if (to > kv->opt.table_len * PAGE)
    return myna__err(err, MYNA_E_LIMIT, "position %lld is beyond the context", (long long)to);
  int64_t need = pages_needed(kv, t, from, to);
  if (need == 0) return 0;
  if (need > kv->n_free && need > pages_available(kv))
    return myna__err(err, MYNA_E_LIMIT, "the cache is full: %lld pages are held", (long long)kv->opt.n_pages);
  for (int64_t i = from / PAGE; i * PAGE < to; i++) {
    if (t[i] != NONE && writable(&kv->pages[t[i]], i, from)) continue;
    int32_t id = take_page(kv);
    if (t[i] != NONE) {
      if (from > i * PAGE && kv->opt.copy) kv->opt.copy(kv->opt.user, id, t[i]);
      unref(kv, t[i]);
    }
    t[i] = id;
  }
  return 0;
}

/* ---- commit, release, fork ---- */

/* Indexes the pages of positions [0, n); the partly filled last one only when `partial`. */
static void index_all(myna__kv *kv, const int32_t *t, const int32_t *tokens, int64_t n, bool partial) {
  uint64_t hash = kv->opt.key;
  kv->clock++;
  for (int64_t i = 0; i * PAGE < n; i++) {
    int64_t count = MYNA__MIN(PAGE, n - i * PAGE);
    if (t[i] != NONE && (count == PAGE || partial)) index_page(kv, t[i], hash, i, tokens + i * PAGE, (int)count);
    if (count == PAGE) hash = extend(hash, tokens + i * PAGE);
  }
}

void myna__kv_commit(myna__kv *kv, int seq, const int32_t *tokens, int64_t n) {
  int32_t *t = table_of(kv, seq);
  index_all(kv, t, tokens, n, false);
  for (int64_t i = 0; i < first_needed(kv, n); i++) {
    if (t[i] == NONE) continue;
    unref(kv, t[i]);
    t[i] = NONE;
  }
}

void myna__kv_keep(myna__kv *kv, int seq, const int32_t *tokens, int64_t n) {
  index_all(kv, table_of(kv, seq), tokens, n, true);
}

void myna__kv_trim(myna__kv *kv, int seq, int64_t n) {
  int32_t *t = table_of(kv, seq);
  for (int64_t i = (n + PAGE - 1) / PAGE; i < kv->opt.table_len && t[i] != NONE; i++) {
    unref(kv, t[i]);
    t[i] = NONE;
  }
}

void myna__kv_release(myna__kv *kv, int seq, const int32_t *tokens, int64_t n, bool keep) {
  int32_t *t = table_of(kv, seq);
  if (keep) index_all(kv, t, tokens, n, true);
  for (int64_t i = 0; i < kv->opt.table_len; i++) {
    if (t[i] != NONE) unref(kv, t[i]);
    t[i] = NONE;
  }
}

int myna__kv_fork(myna__kv *kv, int seq_from, int seq_to, int64_t n, myna_err *err) {
  int32_t *a = table_of(kv, seq_from), *b = table_of(kv, seq_to);
  for (int64_t i = 0; i < kv->opt.table_len; i++)
    if (b[i] != NONE) return myna__err(err, MYNA_E_STATE, "sequence %d is not empty", seq_to);
  for (int64_t i = 0; i * PAGE < n; i++) {
    b[i] = a[i];
    if (b[i] != NONE) kv->pages[b[i]].refs++;
  }
  return 0;
}

void myna__kv_get_stats(const myna__kv *kv, myna__kv_stats *s) {
  *s = (myna__kv_stats){.total = kv->opt.n_pages, .free = kv->n_free};
  for (int64_t i = 0; i < kv->opt.n_pages; i++) {
    s->used += kv->pages[i].refs > 0;
    s->shared += kv->pages[i].refs > 1;
    s->cached += kv->pages[i].refs == 0 && kv->pages[i].indexed;
  }
}
