/* grammar_class.c: nodes that take the same texts, as far as any token reaches.
 *
 * A counted repetition has as many copies of its nodes as it counts; within a token's length they all look alike. Round by round the
 * closures get signatures: after d rounds equal ones take the same texts of up to d bytes, calls of rules (by their number) and the end of the rule
 * included. What shares a class shares its masks (grammar_mask.c) for tokens that are not longer; longer ones are looked at one by one. When a
 * round makes no difference, none will. Signatures are 64 bits, seeded by the process: that two different ones meet cannot be arranged. */
#include "engine/grammar_mask.h"
#include <stdlib.h>

enum { DEPTH_MAX = 64, DEPTH_MIN = 8, WORK_MAX = 1 << 23 };

static uint64_t mix(uint64_t h, uint64_t x) {
  h = (h ^ x) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 29;
}

/* What a node that consumes does, by the signatures of what lies behind it. */
static uint64_t term_hash(const myna_grammar *g, int32_t node, const uint64_t *sig, uint64_t seed) {
  uint64_t h = mix(seed, g->nodes[node].kind);
  if (g->nodes[node].kind != MYNA__GNODE_BYTE) return h; /* no byte goes on from it */
  for (int32_t i = node; i >= 0 && g->nodes[i].kind == MYNA__GNODE_BYTE; i = g->nodes[i].b) {
    const myna__gnode *n = &g->nodes[i], *to = &g->nodes[n->a];
    if (to->dist < MYNA__GRAM_NEVER) h = mix(mix(h, (uint64_t)n->lo << 8 | n->hi), sig[to->closure]);
  }
  return h;
}

/* Sums, for the order within a closure means nothing. */
static uint64_t closure_hash(const myna_grammar *g, int64_t k, const uint64_t *sig, uint64_t seed) {
  const myna__gclosure *c = &g->closures[k];
  const int32_t *items = g->items + c->first, *calls = items + c->n_terms;
  uint64_t h = c->ret;
  for (int32_t i = 0; i < c->n_terms; i++) h += mix(term_hash(g, items[i], sig, seed), 3);
  for (int32_t i = 0; i < c->n_calls; i++) {
    uint64_t rule = mix(seed + 1, (uint64_t)(uint32_t)calls[2 * i]);
    h += mix(rule, sig[g->nodes[calls[2 * i + 1]].closure]);
  }
  return mix(seed, h);
}

static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

/* How many are different; table has room for a power of two of numbers, more than n. */
static int64_t count(const uint64_t *x, int64_t n, uint64_t *table, uint64_t size) {
  int64_t k = 0;
  memset(table, 0, size * sizeof *table);
  for (int64_t i = 0; i < n; i++) {
    uint64_t key = x[i] ? x[i] : 1, at = key & (size - 1);
    while (table[at] && table[at] != key) at = (at + 1) & (size - 1);
    k += !table[at];
    table[at] = key;
  }
  return k;
}

/* Sorts and leaves each once. */
static int64_t distinct(uint64_t *x, int64_t n) {
  int64_t k = 0;
  qsort(x, (size_t)n, sizeof *x, by_value);
  for (int64_t i = 1; i < n; i++)
    if (x[i] != x[k]) x[++k] = x[i];
  return n > 0 ? k + 1 : 0;
}

static uint64_t table_size(const myna_grammar *g) {
  uint64_t n = 64;
  while (n < 2 * (uint64_t)MYNA__MAX(g->n_closures, g->n_nodes)) n *= 2;
  return n;
}

/* Rounds; sig [n_closures] at the end is of the round before the depth that is returned. */
static int32_t rounds(const myna_grammar *g, uint64_t *sig, uint64_t *next, uint64_t *table, uint64_t seed) {
  int64_t n = g->n_closures, before = 1, most = WORK_MAX / (g->n_items + g->n_nodes + 1);
  size_t bytes = (size_t)n * sizeof *sig;
  if (most < DEPTH_MIN) return 0;
  for (int32_t d = 1; d < MYNA__MIN(most, DEPTH_MAX); d++) {
    for (int64_t k = 0; k < n; k++) next[k] = closure_hash(g, k, sig, seed);
    memcpy(sig, next, bytes);
    int64_t now = count(next, n, table, table_size(g));
    if (now == before) return INT32_MAX;
    before = now;
  }
  return (int32_t)MYNA__MIN(most, DEPTH_MAX);
}

/* Numbers of the hashes of all nodes. */
static int32_t number(const myna_grammar *g, const uint64_t *sig, uint64_t *sorted, uint64_t seed, int32_t *classes) {
  for (int64_t i = 0; i < g->n_nodes; i++) sorted[i] = term_hash(g, (int32_t)i, sig, seed);
  int64_t n = distinct(sorted, g->n_nodes);
  for (int64_t i = 0; i < g->n_nodes; i++) {
    uint64_t h = term_hash(g, (int32_t)i, sig, seed);
    const uint64_t *at = bsearch(&h, sorted, (size_t)n, sizeof h, by_value);
    classes[i] = at ? (int32_t)(at - sorted) : 0; /* it is there */
  }
  return (int32_t)n;
}

/* What the classes are told apart by, for the nodes' closures: in sig, next and sorted. */
static void classify(myna_grammar *g, uint64_t *sig, int32_t *classes) {
  uint64_t *next = sig + g->n_closures, *sorted = next + g->n_closures, seed = myna__hash_seed();
  g->class_depth = rounds(g, sig, next, sorted, seed);
  if (g->class_depth > 0) {
    g->n_classes = number(g, sig, sorted, seed, classes);
  } else { /* too large to be compared: each its own */
    for (int32_t i = 0; i < g->n_nodes; i++) classes[i] = i;
    g->n_classes = (int32_t)g->n_nodes;
    g->class_depth = INT32_MAX;
  }
  g->classes = classes;
}

int myna__gram_classify(myna_grammar *g, myna_err *err) {
  size_t n = 2 * (size_t)g->n_closures + table_size(g);
  uint64_t *sig = myna__calloc(n * sizeof *sig);
  int32_t *classes = sig ? myna__alloc((size_t)g->n_nodes * sizeof *classes) : NULL;
  if (classes) classify(g, sig, classes);
  myna__free(sig, n * sizeof *sig);
  return classes ? 0 : myna__err(err, MYNA_E_NOMEM, "no memory for the masks of a grammar");
}
