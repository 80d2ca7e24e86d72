/* grammar_vocab.c: the texts of a vocabulary as a trie, made once per tokenizer and kept with it.
 *
 * Nodes lie in preorder: a walk goes forward through one array and leaves a subtree by jumping to its end. */
#include "engine/grammar_mask.h"
#include <stdlib.h>

typedef struct word {
  const char *p;
  uint16_t n;
  int32_t id;
} word;

static int by_text(const void *a, const void *b) {
  const word *x = a, *y = b;
  int c = memcmp(x->p, y->p, MYNA__MIN(x->n, y->n));
  if (c) return c;
  return x->n != y->n ? (x->n < y->n ? -1 : 1) : x->id < y->id ? -1 : x->id > y->id;
}

/* Texts of all tokens that may stand in a text: control tokens show none. */
static int64_t collect(const myna__tokenizer *tk, word *w, myna__buf *all) {
  char text[MYNA__GTOKEN_BYTES];
  int64_t k = 0;
  for (int32_t id = 0; id < myna__tokenizer_data(tk)->n_tokens; id++) {
    int64_t n = myna__token_is_eog(tk, id) ? 0 : myna__token_bytes(tk, id, false, text, sizeof text);
    if (n <= 0 || n > (int64_t)sizeof text) continue;
    w[k++] = (word){.n = (uint16_t)n, .id = id};
    myna__buf_add(all, text, (size_t)n);
  }
  const char *p = all->data;
  for (int64_t i = 0; i < k && !all->failed; i++) w[i].p = p, p += w[i].n;
  return all->failed || (int64_t)all->len >= INT32_MAX ? -1 : k;
}

static uint16_t shared(const word *w, int64_t i) {
  uint16_t k = 0;
  while (i > 0 && k < w[i].n && k < w[i - 1].n && w[i].p[k] == w[i - 1].p[k]) k++;
  return k;
}

/* Adds one word behind the one before, of which the nodes path[0..depth] lead to the end. */
static void add_word(myna__gtrie *t, const word *w, uint16_t same, int32_t *path, int *depth) {
  for (int d = *depth; d > same; d--) t->nodes[path[d]].end = (int32_t)t->n_nodes;
  for (int d = same; d < w->n; d++) {
    t->nodes[t->n_nodes] =
        (myna__gtnode){.first = (int32_t)t->n, .parent = path[d], .depth = (uint16_t)(d + 1), .byte = (uint8_t)w->p[d]};
    path[d + 1] = (int32_t)t->n_nodes++;
  }
  *depth = w->n;
  t->ids[t->n++] = w->id;
}

static int fill(myna__gtrie *t, const word *w, int64_t n) {
  int32_t path[MYNA__GTOKEN_BYTES + 1] = {0};
  int depth = 0;
  int64_t n_nodes = 1;
  for (int64_t i = 0; i < n; i++) n_nodes += w[i].n - shared(w, i);
  t->cap_nodes = n_nodes + 1;
  t->cap = n + 1;
  t->nodes = myna__calloc((size_t)t->cap_nodes * sizeof *t->nodes);
  t->ids = myna__alloc((size_t)t->cap * sizeof *t->ids);
  if (!t->nodes || !t->ids) return MYNA_E_NOMEM;
  t->n_nodes = 1; /* the root */
  for (int64_t i = 0; i < n; i++) add_word(t, &w[i], shared(w, i), path, &depth);
  for (int d = depth; d >= 0; d--) t->nodes[path[d]].end = (int32_t)t->n_nodes;
  t->nodes[t->n_nodes].first = (int32_t)t->n;
  return 0;
}

static void drop(void *p) {
  myna__gtrie *t = p;
  if (!t) return;
  myna__free(t->nodes, (size_t)t->cap_nodes * sizeof *t->nodes);
  myna__free(t->ids, (size_t)t->cap * sizeof *t->ids);
  myna__free(t, sizeof *t);
}

static void *make(const myna__tokenizer *tk) {
  size_t bytes = ((size_t)myna__tokenizer_data(tk)->n_tokens + 1) * sizeof(word);
  myna__gtrie *t = myna__calloc(sizeof *t);
  word *w = myna__alloc(bytes);
  myna__buf all = {0};
  int64_t n = t && w ? collect(tk, w, &all) : -1;
  if (n > 0) qsort(w, (size_t)n, sizeof *w, by_text);
  if (n < 0 || fill(t, w, n) < 0) {
    drop(t);
    t = NULL;
  }
  myna__buf_free(&all);
  myna__free(w, bytes);
  return t;
}

const myna__gtrie *myna__gtrie_of(const myna__tokenizer *tk) { return myna__tokenizer_extra(tk, make, drop); }
