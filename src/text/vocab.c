/* vocab.c: the two hash tables of vocab.h: open addressing, linear probing, at most 3/4 full, 8 bytes per slot. */
#include "text/vocab.h"

static uint64_t mix(uint64_t h) {
  h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9u;
  h = (h ^ h >> 27) * 0x94D049BB133111EBu;
  return h ^ h >> 31;
}

static uint64_t mix_pair(uint64_t left, uint64_t right) { return mix(left * 0xD6E8FEB86659FD93u + mix(right)); }

static size_t slots_for(size_t n) {
  size_t cap = 16;
  while (cap / 4 * 3 < n) cap *= 2;
  return cap;
}

static myna__vocab_slot *slots_new(size_t n) {
  myna__vocab_slot *s = myna__alloc(n * sizeof *s);
  if (s) memset(s, 0xFF, n * sizeof *s);
  return s;
}

/* Splits "left right" at the first space after the first byte. False when there is none: such a merge never applies. */
static bool split_merge(myna__str m, size_t *n_left) {
  const char *space = m.n > 1 ? memchr(m.p + 1, ' ', m.n - 1) : NULL;
  if (!space || m.n > MYNA__MAX_TOKEN) return false;
  *n_left = (size_t)(space - m.p);
  return true;
}

static bool token_is(myna__str t, const char *p, size_t n) { return t.n == n && memcmp(t.p, p, n) == 0; }

static bool merge_is(myna__str m, const char *p, size_t nl, size_t nr) {
  return m.n == nl + 1 + nr && m.p[nl] == ' ' && memcmp(m.p, p, nl) == 0 && memcmp(m.p + nl + 1, p + nl, nr) == 0;
}

/* Strings are hashed a few ahead of their insertion, so that their slots come from memory meanwhile. */
enum { AHEAD = 16 };

static void add_token(myna__vocab *v, int32_t id, uint64_t h) {
  myna__str t = v->tokens[id];
  uint32_t tag = (uint32_t)(h >> 32);
  size_t mask = v->n_slots - 1, i = h & mask;
  for (; v->slots[i].id >= 0; i = (i + 1) & mask) {
    if (v->slots[i].tag == tag && token_is(v->tokens[v->slots[i].id], t.p, t.n)) break;
  }
  v->slots[i] = (myna__vocab_slot){tag, id};
}

static void add_tokens(myna__vocab *v, int32_t n_tokens, const uint8_t *keep) {
  int32_t ids[AHEAD];
  uint64_t hash[AHEAD];
  for (int32_t id = 0; id < n_tokens;) {
    int n = 0;
    for (; id < n_tokens && n < AHEAD; id++) {
      myna__str t = v->tokens[id];
      if (!keep[id] || t.n == 0 || t.n > MYNA__MAX_TOKEN) continue;
      v->max_len = MYNA__MAX(v->max_len, t.n);
      ids[n] = id;
      hash[n] = mix(myna__text_hash(t.p, t.n));
      __builtin_prefetch(&v->slots[hash[n++] & (v->n_slots - 1)], 1);
    }
    for (int k = 0; k < n; k++) add_token(v, ids[k], hash[k]);
  }
}

static void add_merge(myna__vocab *v, int32_t rank, uint64_t h) {
  myna__str m = v->merges[rank];
  uint32_t tag = (uint32_t)(h >> 32);
  size_t mask = v->n_pairs - 1, i = h & mask;
  for (; v->pairs[i].id >= 0; i = (i + 1) & mask) {
    if (v->pairs[i].tag == tag && token_is(v->merges[v->pairs[i].id], m.p, m.n)) return;
  }
  v->pairs[i] = (myna__vocab_slot){tag, rank};
}

static void *add_merges(void *arg) {
  myna__vocab *v = arg;
  int32_t ranks[AHEAD];
  uint64_t hash[AHEAD];
  memset(v->pairs, 0xFF, v->n_pairs * sizeof *v->pairs);
  for (int64_t r = 0; r < v->n_merges;) {
    int n = 0;
    for (; r < v->n_merges && n < AHEAD; r++) {
      myna__str m = v->merges[r];
      size_t nl;
      if (!split_merge(m, &nl)) continue;
      ranks[n] = (int32_t)r;
      hash[n] = mix_pair(myna__text_hash(m.p, nl), myna__text_hash(m.p + nl + 1, m.n - nl - 1));
      __builtin_prefetch(&v->pairs[hash[n++] & (v->n_pairs - 1)], 1);
    }
    for (int k = 0; k < n; k++) add_merge(v, ranks[k], hash[k]);
  }
  return NULL;
}

/* ---- merges in the background: half a million strings, which the first words of a text may not need ---- */

enum { FEW_MERGES = 8192 };

struct myna__vocab_pending {
  pthread_mutex_t lock;
  pthread_t thread;
  bool running; /* not joined yet; under the lock */
  _Atomic bool ready;
};

static void pending_wait(struct myna__vocab_pending *p) {
  pthread_mutex_lock(&p->lock);
  if (p->running) pthread_join(p->thread, NULL);
  p->running = false;
  atomic_store_explicit(&p->ready, true, memory_order_release);
  pthread_mutex_unlock(&p->lock);
}

/* Fills the table of merges: by a thread when there are many, which is waited for at the first look-up. */
static int start_merges(myna__vocab *v, myna_err *err) {
  if (v->n_merges > FEW_MERGES) {
    struct myna__vocab_pending *p = v->pending = myna__calloc(sizeof *p);
    if (!p) return myna__err(err, MYNA_E_NOMEM, "no memory for the vocabulary's tables");
    pthread_mutex_init(&p->lock, NULL);
    p->running = myna__thread_start(&p->thread, add_merges, v) == 0;
    if (p->running) return 0;
    atomic_store(&p->ready, true);
  }
  add_merges(v);
  return 0;
}

int myna__vocab_init(myna__vocab *v, const myna__tokdata *t, const uint8_t *keep, myna_err *err) {
  *v = (myna__vocab){.tokens = t->tokens, .merges = t->merges};
  if (t->n_tokens < 0 || t->n_merges < 0 || t->n_merges > INT32_MAX)
    return myna__err(err, MYNA_E_LIMIT, "vocabulary of %lld merges is too large", (long long)t->n_merges);
  size_t longest = 8; /* initial symbols are characters, with or without a hit */
  v->n_merges = t->merges ? t->n_merges : 0;
  v->n_slots = slots_for((size_t)t->n_tokens);
  v->n_pairs = slots_for((size_t)v->n_merges);
  v->slots = slots_new(v->n_slots);
  v->pairs = myna__alloc(v->n_pairs * sizeof *v->pairs);
  for (int64_t r = 0; r < v->n_merges; r++)
    if (t->merges[r].n <= MYNA__MAX_TOKEN) longest = MYNA__MAX(longest, t->merges[r].n);
  if (!v->slots || !v->pairs || start_merges(v, err) < 0) goto nomem;
  add_tokens(v, t->n_tokens, keep);
  v->n_pow = MYNA__MAX(longest, v->max_len) + 1;
  v->pow = myna__alloc(v->n_pow * sizeof *v->pow);
  if (!v->pow) goto nomem;
  v->pow[0] = 1;
  for (size_t i = 1; i < v->n_pow; i++) v->pow[i] = v->pow[i - 1] * 0x9E3779B97F4A7C15u;
  return 0;

nomem:
  myna__vocab_free(v);
  return myna__err(err, MYNA_E_NOMEM, "no memory for the vocabulary's tables");
}

void myna__vocab_free(myna__vocab *v) {
  if (v->pending) {
    pending_wait(v->pending);
    pthread_mutex_destroy(&v->pending->lock);
    myna__free(v->pending, sizeof *v->pending);
  }
  myna__free(v->slots, v->n_slots * sizeof *v->slots);
  myna__free(v->pairs, v->n_pairs * sizeof *v->pairs);
  myna__free(v->pow, v->n_pow * sizeof *v->pow);
  *v = (myna__vocab){0};
}

int32_t myna__vocab_find(const myna__vocab *v, uint64_t hash, const char *p, size_t n) {
  uint64_t h = mix(hash);
  size_t mask = v->n_slots - 1;
  for (size_t i = h & mask; v->slots[i].id >= 0; i = (i + 1) & mask) {
    if (v->slots[i].tag == h >> 32 && token_is(v->tokens[v->slots[i].id], p, n)) return v->slots[i].id;
  }
  return -1;
}

int32_t myna__vocab_rank(const myna__vocab *v, uint64_t left, uint64_t right, const char *p, size_t nl, size_t nr) {
  if (v->pending && !atomic_load_explicit(&v->pending->ready, memory_order_acquire)) pending_wait(v->pending);
  uint64_t h = mix_pair(left, right);
  size_t mask = v->n_pairs - 1;
  for (size_t i = h & mask; v->pairs[i].id >= 0; i = (i + 1) & mask) {
    if (v->pairs[i].tag == h >> 32 && merge_is(v->merges[v->pairs[i].id], p, nl, nr)) return v->pairs[i].id;
  }
  return -1;
}
