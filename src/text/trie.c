/* trie.c: building of trie.h. */
#include "text/trie.h"

static void place(uint64_t *edges, size_t n, uint64_t edge) {
  size_t i = myna__trie_hash((uint32_t)(edge >> 40), (uint8_t)(edge >> 32)) & (n - 1);
  while (edges[i]) i = (i + 1) & (n - 1);
  edges[i] = edge;
}

/* Room for one more node and its edge. */
static int grow(myna__trie *t, myna_err *err) {
  if (t->n_nodes >= MYNA__TRIE_MAX_NODES)
    return myna__err(err, MYNA_E_LIMIT, "vocabulary has more than %d distinct prefixes", MYNA__TRIE_MAX_NODES);
  if (t->n_nodes == t->cap) {
    uint32_t cap = t->cap ? t->cap * 2 : 64;
    int32_t *value = myna__realloc(t->value, t->cap * sizeof *value, cap * sizeof *value);
    if (!value) goto nomem;
    t->value = value;
    t->cap = cap;
  }
  if (t->n_nodes >= t->n_edges / 2) { /* edges are nodes less one: at most half full */
    size_t n = t->n_edges ? t->n_edges * 2 : 128;
    uint64_t *edges = myna__calloc(n * sizeof *edges);
    if (!edges) goto nomem;
    for (size_t i = 0; i < t->n_edges; i++)
      if (t->edges[i]) place(edges, n, t->edges[i]);
    myna__free(t->edges, t->n_edges * sizeof *edges);
    t->edges = edges;
    t->n_edges = n;
  }
  return 0;
nomem:
  return myna__err(err, MYNA_E_NOMEM, "no memory for the vocabulary's trie");
}

int myna__trie_add(myna__trie *t, const char *p, size_t n, int32_t value, myna_err *err) {
  if (t->n_nodes == 0) {
    TRY(grow(t, err));
    t->value[t->n_nodes++] = -1;
  }
  uint32_t node = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t child = myna__trie_step(t, node, (uint8_t)p[i]);
    if (!child) {
      TRY(grow(t, err));
      child = t->n_nodes++;
      t->value[child] = -1;
      place(t->edges, t->n_edges, (uint64_t)node << 40 | (uint64_t)(uint8_t)p[i] << 32 | child);
    }
    node = child;
  }
  t->value[node] = value;
  return 0;
}

void myna__trie_free(myna__trie *t) {
  myna__free(t->edges, t->n_edges * sizeof *t->edges);
  myna__free(t->value, t->cap * sizeof *t->value);
  *t = (myna__trie){0};
}
