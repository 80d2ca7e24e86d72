/* kv.c: pages of one group.
 *
 * A page is free, held (refs > 0), or cached (refs == 0 but in the index). The index is a radix tree with pages as edges: a page is found under the
 * hash of all tokens before it, and then by its own tokens, which are compared one by one; so a match may end inside a page, and the sequence
 * that adopts it copies it before it writes. Nothing is allocated after creation.
 *
 * Cached pages are evicted by age over worth. Worth is what computing a page again would take (all have the same size; the root of it, since long texts
 * are nearer to their end) times the chance that pages of its kind were of use at all, which is learned: of texts that began anew, that began like
 * others, that went on where another one ended. A page that another one continues stays as long as that, which would be of no use alone. Of one text
 * the index holds one page per 64 tokens: a sequence that computed it again takes the page that is there. */
#include "engine/kv.h"
#include <math.h>

enum { PAGE = 64, NONE = -1 };
/* What a text was when its pages were computed. */
enum { KIND_NEW, KIND_BRANCH, KIND_NEXT, N_KINDS };

typedef struct page {
  int32_t refs;
  int32_t next;         /* in its bucket, or in the free list */
  int32_t parent, kids; /* when indexed: the page before it, if that is known; pages that have it as parent */
  bool indexed;
  int16_t n; /* tokens it holds, when indexed */
  uint8_t kind;
  bool used;       /* it was found, since it was computed */
  uint64_t before; /* hash of everything before it */
  int64_t stamp;
  int64_t depth; /* page number in its sequence */
  int64_t born;  /* pages taken from the pool, at its last use */
  double worth;  /* root of its cost */
  int64_t mark;  /* scratch */
  int32_t tokens[PAGE];
} page;

struct myna__kv {
  myna__kv_options opt;
  page *pages;     /* [n_pages] */
  int32_t *bucket; /* [n_bucket] first page */
  int64_t n_bucket;
  int32_t free; /* first free page */
  int64_t n_free, clock, marks, n_taken;
  void (*evicted)(void *user, int32_t id, const myna__kv_key *key);
  bool (*elsewhere)(void *user, const myna__kv_key *key);
  void *tier;
  uint8_t *kind;      /* [n_seq] of the text of a sequence */
  double first, more; /* cost of a page by its depth */
  double used[N_KINDS], lost[N_KINDS], chance[N_KINDS];
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
  kv->first = 1;
  for (int k = 0; k < N_KINDS; k++) kv->chance[k] = 1;
  for (kv->n_bucket = 16; kv->n_bucket < o->n_pages; kv->n_bucket *= 2) {}
  kv->pages = myna__calloc((size_t)o->n_pages * sizeof *kv->pages);
  kv->bucket = myna__alloc((size_t)kv->n_bucket * sizeof *kv->bucket);
  kv->kind = myna__calloc((size_t)o->n_seq);
  if (!kv->pages || !kv->bucket || !kv->kind) {
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
  myna__free(kv->kind, (size_t)kv->opt.n_seq);
  myna__free(kv, sizeof *kv);
}

/* ---- index ---- */

static void unindex(myna__kv *kv, int32_t id) {
  page *p = &kv->pages[id];
  int32_t *at = bucket_of(kv, p->before);
  assert(p->kids == 0);
  while (*at != id) at = &kv->pages[*at].next;
  *at = p->next;
  if (p->parent != NONE) kv->pages[p->parent].kids--;
  p->indexed = false;
}

static void to_free(myna__kv *kv, int32_t id) {
  kv->pages[id].next = kv->free;
  kv->free = id;
  kv->n_free++;
}

/* It is of use now. */
static void touch(myna__kv *kv, page *p) {
  p->stamp = kv->clock;
  p->born = kv->n_taken;
  p->worth = sqrt(kv->first + kv->more * (double)p->depth);
}

/* Whether a page of that kind was found before it was evicted: the chances follow, slowly. */
static void learn(myna__kv *kv, int kind, bool used) {
  enum { PRIOR = 32, MEMORY = 2048 };
  double *u = &kv->used[kind], *l = &kv->lost[kind];
  *(used ? u : l) += 1;
  if (*u + *l > MEMORY) *u /= 2, *l /= 2;
  double chance = (*u + PRIOR) / (*u + *l + 2 * PRIOR);
  kv->chance[kind] = chance * sqrt(chance); /* between the chance and its square: found to be better than either */
}

static void unref(myna__kv *kv, int32_t id) {
  page *p = &kv->pages[id];
  assert(p->refs > 0);
  if (--p->refs == 0 && !p->indexed) to_free(kv, id);
}

void myna__kv_set_cost(myna__kv *kv, double first, double more) {
  kv->first = first;
  kv->more = more;
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

/* Puts a page that holds tokens[0..n) after `before` into the index, unless equal content is there already; returns the page that holds it. It is as
 * good as used now: the caller ticks the clock once per sequence, so that its deepest pages are evicted before those that they need. */
static int32_t index_page(myna__kv *kv, int32_t id, int32_t parent, int kind, const myna__kv_key *key, int n) {
  page *p = &kv->pages[id];
  bool there = p->indexed && p->before == key->before && p->n >= n && common(p->tokens, key->tokens, n) == n;
  if (!there) {
    if (p->indexed) unindex(kv, id);
    int shared;
    int32_t same = lookup(kv, key->before, key->tokens, n, &shared);
    if (same != NONE && shared == n) {
      touch(kv, &kv->pages[same]);
      return same;
    }
    p->before = key->before;
    p->depth = key->depth;
    p->n = (int16_t)n;
    p->parent = kv->opt.window > 0 ? NONE : parent; /* behind a window nothing is needed */
    p->kids = 0;
    p->kind = (uint8_t)kind;
    p->used = false;
    memcpy(p->tokens, key->tokens, (size_t)n * sizeof *key->tokens);
    p->indexed = true;
    int32_t *at = bucket_of(kv, key->before);
    p->next = *at;
    *at = id;
    if (p->parent != NONE) kv->pages[p->parent].kids++;
  }
  touch(kv, p);
  return id;
}

void myna__kv_set_tier(myna__kv *kv, void (*evicted)(void *user, int32_t id, const myna__kv_key *key),
                       bool (*elsewhere)(void *user, const myna__kv_key *key), void *user) {
  kv->evicted = evicted;
  kv->elsewhere = elsewhere;
  kv->tier = user;
}

/* ---- matching ---- */

/* First page that must be there so that position n can be computed. */
static int64_t first_needed(const myna__kv *kv, int64_t n) {
  int64_t first = kv->opt.window > 0 ? n - kv->opt.window + 1 : 0;
  return first > 0 ? first / PAGE : 0;
}

static bool is_elsewhere(const myna__kv *kv, uint64_t before, int64_t depth, const int32_t *tokens) {
  const myna__kv_key key = {before, depth, tokens};
  return kv->elsewhere && kv->elsewhere(kv->tier, &key);
}

static int64_t probe(const myna__kv *kv, const int32_t *tokens, int64_t n, int64_t at_most, bool all) {
  int64_t limit = MYNA__MIN(MYNA__MIN(n, at_most), kv->opt.table_len * PAGE);
  uint64_t hash = kv->opt.key;
  int64_t best = 0, run_start = 0; /* pages [run_start, i) are all there */
  for (int64_t i = 0; i * PAGE < limit; i++) {
    int shared;
    int64_t want = MYNA__MIN(PAGE, limit - i * PAGE);
    lookup(kv, hash, tokens + i * PAGE, want, &shared);
    if (all && shared < PAGE && n >= (i + 1) * PAGE && is_elsewhere(kv, hash, i, tokens + i * PAGE)) shared = (int)want;
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

int64_t myna__kv_probe(const myna__kv *kv, const int32_t *tokens, int64_t n, int64_t at_most) {
  return probe(kv, tokens, n, at_most, false);
}

int64_t myna__kv_probe_all(const myna__kv *kv, const int32_t *tokens, int64_t n, int64_t at_most) {
  return probe(kv, tokens, n, at_most, true);
}

int64_t myna__kv_missing(const myna__kv *kv, const int32_t *tokens, int64_t n, myna__kv_key *keys, int64_t cap) {
  uint64_t hash = kv->opt.key;
  int64_t count = 0;
  for (int64_t i = 0; i * PAGE < n; i++) {
    int shared;
    int64_t want = MYNA__MIN(PAGE, n - i * PAGE);
    lookup(kv, hash, tokens + i * PAGE, want, &shared);
    if (shared < want && i >= first_needed(kv, n) && count++ < cap)
      keys[count - 1] = (myna__kv_key){hash, i, tokens + i * PAGE};
    if (want == PAGE) hash = extend(hash, tokens + i * PAGE);
  }
  return count;
}

/* References to the pages of positions [0, n) into t. */
static void adopt_into(myna__kv *kv, int32_t *t, const int32_t *tokens, int64_t n) {
  uint64_t hash = kv->opt.key;
  kv->clock++;
  for (int64_t i = 0; i * PAGE < n; i++) {
    int shared;
    int64_t want = MYNA__MIN(PAGE, n - i * PAGE);
    int32_t id = lookup(kv, hash, tokens + i * PAGE, want, &shared);
    assert(i < first_needed(kv, n) || (id != NONE && shared == want)); /* probe said so */
    if (id != NONE && shared == want && i >= first_needed(kv, n)) {
      page *p = &kv->pages[id];
      t[i] = id;
      p->refs++;
      if (!p->used) learn(kv, p->kind, true);
      p->used = true;
      touch(kv, p);
    }
    if (want == PAGE) hash = extend(hash, tokens + i * PAGE);
  }
}

int64_t myna__kv_adopt(myna__kv *kv, int seq, const int32_t *tokens, int64_t n) {
  int32_t *t = table_of(kv, seq);
  adopt_into(kv, t, tokens, n);
  int32_t last = n > 0 ? t[(n - 1) / PAGE] : NONE;
  if (last == NONE) return n;
  const page *p = &kv->pages[last];
  bool whole = p->n == n - (n - 1) / PAGE * PAGE; /* nothing followed there so far */
  kv->kind[seq] = p->kids == 0 && whole ? KIND_NEXT : KIND_BRANCH;
  return n;
}

int64_t myna__kv_match(myna__kv *kv, int seq, const int32_t *tokens, int64_t n) {
  int64_t found = myna__kv_probe(kv, tokens, n, n - 1);
  return found > 0 ? myna__kv_adopt(kv, seq, tokens, found) : 0;
}

/* ---- allocation ---- */

/* Age over worth, as long as two differ in that. */
static double staleness(const myna__kv *kv, const page *p) {
  return (double)(kv->n_taken - p->born + 1) / (p->worth * kv->chance[p->kind]);
}

/* Whether a goes before b. */
static bool goes_first(const myna__kv *kv, const page *a, const page *b) {
  if (!kv->opt.lru) {
    double x = staleness(kv, a), y = staleness(kv, b);
    if (fabs(x - y) > 1e-9 * x) return x > y;
  }
  return a->stamp != b->stamp ? a->stamp < b->stamp : a->depth > b->depth;
}

static int32_t evict(myna__kv *kv) {
  int32_t victim = NONE;
  for (int64_t i = 0; i < kv->opt.n_pages; i++) {
    const page *p = &kv->pages[i];
    if (p->refs > 0 || !p->indexed || p->kids > 0) continue;
    if (victim == NONE || goes_first(kv, p, &kv->pages[victim])) victim = (int32_t)i;
  }
  if (victim == NONE) return NONE;
  const page *p = &kv->pages[victim];
  if (!p->used) learn(kv, p->kind, false);
  const myna__kv_key key = {p->before, p->depth, p->tokens};
  if (p->n == PAGE && kv->evicted) kv->evicted(kv->tier, victim, &key);
  unindex(kv, victim);
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
  if (id != NONE) kv->pages[id].refs = 1, kv->n_taken++;
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

/* Free pages and those that can be evicted: all cached ones but those that a held page needs, as parents. */
static int64_t pages_available(myna__kv *kv) {
  int64_t n = kv->n_free, mark = ++kv->marks;
  for (int64_t i = 0; i < kv->opt.n_pages; i++) {
    const page *p = &kv->pages[i];
    n += p->refs == 0 && p->indexed;
    if (p->refs == 0 || !p->indexed) continue;
    for (int32_t up = p->parent; up != NONE && kv->pages[up].mark != mark; up = kv->pages[up].parent) {
      kv->pages[up].mark = mark;
      n -= kv->pages[up].refs == 0;
    }
  }
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

/* Indexes the pages of positions [0, n); the partly filled last one only when `partial`. Where the index has a page with the same tokens, t takes it. */
static void index_all(myna__kv *kv, int32_t *t, int kind, const int32_t *tokens, int64_t n, bool partial) {
  myna__kv_key key = {.before = kv->opt.key};
  int32_t parent = NONE;
  kv->clock++;
  for (int64_t i = 0; i * PAGE < n; i++) {
    int64_t count = MYNA__MIN(PAGE, n - i * PAGE);
    int shared;
    key.depth = i;
    key.tokens = tokens + i * PAGE;
    if (t[i] != NONE && (count == PAGE || partial)) {
      int32_t id = index_page(kv, t[i], parent, kind, &key, (int)count);
      if (id != t[i] && count == PAGE) {
        kv->pages[id].refs++;
        unref(kv, t[i]);
        t[i] = id;
      }
      parent = id;
    } else if (count == PAGE) {
      parent = lookup(kv, key.before, key.tokens, PAGE, &shared);
      if (shared < PAGE) parent = NONE;
    }
    if (count == PAGE) key.before = extend(key.before, key.tokens);
  }
}

void myna__kv_commit(myna__kv *kv, int seq, const int32_t *tokens, int64_t n) {
  int32_t *t = table_of(kv, seq);
  index_all(kv, t, kv->kind[seq], tokens, n, false);
  for (int64_t i = 0; i < first_needed(kv, n); i++) {
    if (t[i] == NONE) continue;
    unref(kv, t[i]);
    t[i] = NONE;
  }
}

void myna__kv_keep(myna__kv *kv, int seq, const int32_t *tokens, int64_t n) {
  index_all(kv, table_of(kv, seq), kv->kind[seq], tokens, n, true);
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
  if (keep) index_all(kv, t, kv->kind[seq], tokens, n, true);
  for (int64_t i = 0; i < kv->opt.table_len; i++) {
    if (t[i] != NONE) unref(kv, t[i]);
    t[i] = NONE;
  }
  kv->kind[seq] = KIND_NEW;
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

/* ---- pages without a sequence ---- */

void myna__kv_pin(myna__kv *kv, const int32_t *tokens, int64_t n, int32_t *ids) {
  for (int64_t i = 0; i * PAGE < n; i++) ids[i] = NONE;
  adopt_into(kv, ids, tokens, n);
}

void myna__kv_unpin(myna__kv *kv, const int32_t *ids, int64_t n_ids) {
  for (int64_t i = 0; i < n_ids; i++)
    if (ids[i] != NONE) unref(kv, ids[i]);
}

int myna__kv_take(myna__kv *kv, int64_t n, int32_t *ids, myna_err *err) {
  if (n > kv->n_free && n > pages_available(kv))
    return myna__err(err, MYNA_E_LIMIT, "the cache is full: %lld pages, %lld are wanted", (long long)kv->opt.n_pages,
                     (long long)n);
  for (int64_t i = 0; i < n; i++) ids[i] = take_page(kv);
  return 0;
}

void myna__kv_insert(myna__kv *kv, int32_t *ids, const int32_t *tokens, int64_t n) {
  index_all(kv, ids, KIND_BRANCH, tokens, n, true);
  myna__kv_unpin(kv, ids, (n + PAGE - 1) / PAGE);
}

int64_t myna__kv_forget(myna__kv *kv, const int32_t *tokens, int64_t n) {
  for (int64_t last = (n + PAGE - 1) / PAGE - 1; last >= 0; last--) {
    uint64_t hash = kv->opt.key;
    for (int64_t i = 0; i < last; i++) hash = extend(hash, tokens + i * PAGE);
    int shared;
    int64_t want = MYNA__MIN(PAGE, n - last * PAGE);
    int32_t id = lookup(kv, hash, tokens + last * PAGE, want, &shared);
    if (id == NONE || shared < want) continue; /* behind a window */
    if (kv->pages[id].refs > 0 || kv->pages[id].kids > 0) return last * PAGE + want;
    unindex(kv, id);
    to_free(kv, id);
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
