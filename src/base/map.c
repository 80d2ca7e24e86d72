/* map.c: hash map from byte strings to int64: open addressing, linear probing, power-of-two capacity, load at most
 * 3/4. Slots keep the full hash, so growth never touches keys and a probe compares keys only on a 64-bit match.
 * The seed is per process: a file cannot be prepared whose names all collide. */
#include "base/base.h"
#include <pthread.h>
#include <time.h>
#include <unistd.h>

struct myna__map_slot {
  uint64_t hash;
  const char *key;
  size_t n;
  int64_t value;
  bool used;
};

static inline uint64_t mix(uint64_t a, uint64_t b) {
  unsigned __int128 m = (unsigned __int128)a * b;
  return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t load64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

/* Multiply-fold over 16 bytes at a time (the construction of wyhash, public domain); not cryptographic, not the same
 * across byte orders. */
uint64_t myna__hash(const void *data, size_t n, uint64_t seed) {
  const uint64_t k0 = 0xA0761D6478BD642Full, k1 = 0xE7037ED1A0B428DBull, k2 = 0x8EBC6AF09C88C6E3ull;
  const uint8_t *p = data;
  uint64_t h = seed ^ k0 ^ mix(n ^ k1, k2);
  for (; n > 16; n -= 16, p += 16) h = mix(load64(p) ^ k1, load64(p + 8) ^ h);
  uint8_t tail[16] = {0};
  if (n) memcpy(tail, p, n);
  h = mix(load64(tail) ^ k2, load64(tail + 8) ^ h);
  return mix(h ^ k0, (uint64_t)n ^ k1);
}

/* Address-space randomisation and the clock, taken once. */
static uint64_t seed;
static void make_seed(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  const uint64_t facts[] = {(uint64_t)t.tv_sec, (uint64_t)t.tv_nsec, (uint64_t)(uintptr_t)&t, (uint64_t)getpid()};
  seed = myna__hash(facts, sizeof facts, 0);
}
uint64_t myna__hash_seed(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_seed);
  return seed;
}

/* The slot that holds the key, or the free one where it belongs. cap > len always, so it ends. */
static struct myna__map_slot *find(const myna__map *m, uint64_t hash, const char *key, size_t n) {
  size_t mask = m->cap - 1;
  for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
    struct myna__map_slot *s = &m->slots[i];
    if (!s->used || (s->hash == hash && s->n == n && (n == 0 || memcmp(s->key, key, n) == 0))) return s;
  }
}

static int grow(myna__map *m, size_t cap, myna_err *err) {
  struct myna__map_slot *slots = myna__calloc(cap * sizeof *slots);
  if (!slots) return myna__err(err, MYNA_E_NOMEM, "no memory for a map of %zu slots", cap);
  for (size_t i = 0; i < m->cap; i++) {
    if (!m->slots[i].used) continue;
    size_t j = (size_t)m->slots[i].hash & (cap - 1);
    while (slots[j].used) j = (j + 1) & (cap - 1);
    slots[j] = m->slots[i];
  }
  myna__free(m->slots, m->cap * sizeof *slots);
  m->slots = slots;
  m->cap = cap;
  return 0;
}

int myna__map_reserve(myna__map *m, size_t n, myna_err *err) {
  if (n > PTRDIFF_MAX / (2 * sizeof(struct myna__map_slot)))
    return myna__err(err, MYNA_E_NOMEM, "no memory for a map of %zu keys", n);
  size_t cap = MYNA__MAX(m->cap, (size_t)16);
  while (cap / 4 * 3 < n) cap *= 2; /* at most 8/3 n: its bytes fit into size_t */
  return cap > m->cap ? grow(m, cap, err) : 0;
}

int myna__map_put(myna__map *m, const char *key, size_t n, int64_t value, myna_err *err) {
  uint64_t hash = myna__hash(key, n, myna__hash_seed());
  if (m->cap) {
    struct myna__map_slot *s = find(m, hash, key, n);
    if (s->used) {
      s->value = value;
      return 0;
    }
  }
  TRY(myna__map_reserve(m, m->len + 1, err));
  *find(m, hash, key, n) = (struct myna__map_slot){hash, key, n, value, true};
  m->len++;
  return 1;
}

int64_t myna__map_get(const myna__map *m, const char *key, size_t n, int64_t missing) {
  if (!m->len) return missing;
  const struct myna__map_slot *s = find(m, myna__hash(key, n, myna__hash_seed()), key, n);
  return s->used ? s->value : missing;
}

void myna__map_free(myna__map *m) {
  myna__free(m->slots, m->cap * sizeof *m->slots);
  *m = (myna__map){0};
}
