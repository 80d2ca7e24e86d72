/* trie.h: a byte trie whose edges live in one hash table, (node, byte) -> child: quick to build without sorting, one
 * probe per byte to walk. */
#ifndef MYNA__TRIE_H
#define MYNA__TRIE_H

#include "base/base.h"

enum { MYNA__TRIE_MAX_NODES = 1 << 24 };

/* Node 0 is the root and never a child. Zero-initialised it is an empty trie that can be walked. */
typedef struct myna__trie {
  uint64_t *edges; /* [n_edges] node << 40 | byte << 32 | child, 0 when empty */
  size_t n_edges;  /* power of two */
  int32_t *value;  /* [cap] -1 where no string ends */
  uint32_t n_nodes, cap;
} myna__trie;

/* Adds p[0..n), n >= 1, with a value >= 0; a string that is there gets the new value. */
int myna__trie_add(myna__trie *t, const char *p, size_t n, int32_t value, myna_err *err);
void myna__trie_free(myna__trie *t);

static inline uint64_t myna__trie_hash(uint32_t node, uint8_t byte) {
  uint64_t h = ((uint64_t)node << 8 | byte) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 32;
}
/* Child of node along byte, 0 when there is none. */
static inline uint32_t myna__trie_step(const myna__trie *t, uint32_t node, uint8_t byte) {
  if (!t->n_edges) return 0;
  uint64_t key = (uint64_t)node << 8 | byte;
  for (size_t i = myna__trie_hash(node, byte) & (t->n_edges - 1); t->edges[i]; i = (i + 1) & (t->n_edges - 1)) {
    if (t->edges[i] >> 32 == key) return (uint32_t)t->edges[i];
  }
  return 0;
}

#endif
