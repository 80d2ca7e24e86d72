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

static void add_token(myna__vocab *v, int32_t id) {
  myna__str t = v->tokens[id];
  uint64_t h = mix(myna__text_hash(t.p, t.n));
  size_t mask = v->n_slots - 1, i = h & mask;
  for (; v->slots[i].id >= 0; i = (i + 1) & mask) {
    if (token_is(v->tokens[v->slots[i].id], t.p, t.n)) break;
  }
  v->slots[i] = (myna__vocab_slot){(uint32_t)(h >> 32), id};
}

static void add_merge(myna__vocab *v, int32_t rank, size_t nl) {
  myna__str m = v->merges[rank];
  size_t nr = m.n - nl - 1;
  uint64_t h = mix_pair(myna__text_hash(m.p, nl), myna__text_hash(m.p + nl + 1, nr));
  size_t mask = v->n_pairs - 1, i = h & mask;
  for (; v->pairs[i].id >= 0; i = (i + 1) & mask) {
    if (token_is(v->merges[v->pairs[i].id], m.p, m.n)) return;
  }
  v->pairs[i] = (myna__vocab_slot){(uint32_t)(h >> 32), rank};
}

int myna__vocab_init(myna__vocab *v, const myna__tokdata *t, const uint8_t *keep, myna_err *err) {
  *v = (myna__vocab){.tokens = t->tokens, .merges = t->merges};
  if (t->n_tokens < 0 || t->n_merges < 0 || t->n_merges > INT32_MAX)
    return myna__err(err, MYNA_E_LIMIT, "vocabulary of %lld merges is too large", (long long)t->n_merges);
  int64_t n_merges = t->merges ? t->n_merges : 0;
  v->n_slots = slots_for((size_t)t->n_tokens);
  v->n_pairs = slots_for((size_t)n_merges);
  v->slots = slots_new(v->n_slots);
  v->pairs = slots_new(v->n_pairs);
  if (!v->slots || !v->pairs) goto nomem;

  size_t longest = 8; /* initial symbols are characters, with or without a hit */
  for (int32_t id = 0; id < t->n_tokens; id++) {
    size_t n = t->tokens[id].n;
    if (!keep[id] || n == 0 || n > MYNA__MAX_TOKEN) continue;
    v->max_len = MYNA__MAX(v->max_len, n);
    add_token(v, id);
  }
  for (int64_t r = 0; r < n_merges; r++) {
    size_t nl;
    if (!split_merge(t->merges[r], &nl)) continue;
    longest = MYNA__MAX(longest, t->merges[r].n);
    add_merge(v, (int32_t)r, nl);
  }
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
  uint64_t h = mix_pair(left, right);
  size_t mask = v->n_pairs - 1;
  for (size_t i = h & mask; v->pairs[i].id >= 0; i = (i + 1) & mask) {
    if (v->pairs[i].tag == h >> 32 && merge_is(v->merges[v->pairs[i].id], p, nl, nr)) return v->pairs[i].id;
  }
  return -1;
}
