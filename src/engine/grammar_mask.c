/* grammar_mask.c: a grammar over a vocabulary: which tokens may come next.
 *
 * The vocabulary's texts are sorted once per grammar and model, with how many bytes each shares with the one before: a mask is one walk through them
 * that goes on from the state behind the shared bytes, and skips all that begin with a dead beginning. A run belongs to one request; it
 * remembers the masks of its last states. */
#include "engine/grammar_run.h"
#include <stdlib.h>

struct myna__gvocab {
  struct myna__gvocab *next;
  const void *model;
  int32_t n;         /* tokens with text */
  int32_t *ids, *at; /* [n], [n + 1] into bytes */
  uint16_t *shared;  /* [n] bytes that are those of the token before */
  char *bytes;
  int64_t n_bytes;
};

static void vocab_free(struct myna__gvocab *v) {
  if (!v) return;
  myna__free(v->ids, (size_t)(v->n + 1) * sizeof *v->ids);
  myna__free(v->at, (size_t)(v->n + 1) * sizeof *v->at);
  myna__free(v->shared, (size_t)(v->n + 1) * sizeof *v->shared);
  myna__free(v->bytes, (size_t)v->n_bytes + 1);
  myna__free(v, sizeof *v);
}

void myna__gvocab_free_all(struct myna__gvocab *v) {
  while (v) {
    struct myna__gvocab *next = v->next;
    vocab_free(v);
    v = next;
  }
}

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
static int collect(struct myna__gvocab *v, const myna__tokenizer *tk, word *w, myna__buf *all) {
  enum { MAX_TEXT = 1024 };
  char text[MAX_TEXT];
  int32_t n_tokens = myna__tokenizer_data(tk)->n_tokens;
  for (int32_t id = 0; id < n_tokens; id++) {
    int64_t n = myna__token_is_eog(tk, id) ? 0 : myna__token_bytes(tk, id, false, text, MAX_TEXT);
    if (n <= 0 || n > MAX_TEXT) continue;
    w[v->n] = (word){.n = (uint16_t)n, .id = id};
    myna__buf_add(all, text, (size_t)n);
    v->n++;
  }
  const char *p = all->data;
  for (int32_t i = 0; i < v->n && !all->failed; i++) w[i].p = p, p += w[i].n;
  return all->failed || (int64_t)all->len > INT32_MAX ? MYNA_E_NOMEM : 0;
}

static int sort_texts(struct myna__gvocab *v, word *w, size_t n_bytes) {
  qsort(w, (size_t)v->n, sizeof *w, by_text);
  v->ids = myna__alloc((size_t)(v->n + 1) * sizeof *v->ids);
  v->at = myna__alloc((size_t)(v->n + 1) * sizeof *v->at);
  v->shared = myna__alloc((size_t)(v->n + 1) * sizeof *v->shared);
  v->n_bytes = (int64_t)n_bytes;
  v->bytes = myna__alloc(n_bytes + 1);
  if (!v->ids || !v->at || !v->shared || !v->bytes) return MYNA_E_NOMEM;
  int32_t at = 0;
  for (int32_t i = 0; i < v->n; i++) {
    uint16_t k = 0;
    while (i > 0 && k < w[i].n && k < w[i - 1].n && w[i].p[k] == w[i - 1].p[k]) k++;
    v->ids[i] = w[i].id;
    v->at[i] = at;
    v->shared[i] = k;
    memcpy(v->bytes + at, w[i].p, w[i].n);
    at += w[i].n;
  }
  v->at[v->n] = at;
  return 0;
}

static int vocab_new(struct myna__gvocab **out, const void *model, const myna__tokenizer *tk, myna_err *err) {
  int32_t n_tokens = myna__tokenizer_data(tk)->n_tokens;
  size_t bytes = ((size_t)n_tokens + 1) * sizeof(word);
  struct myna__gvocab *v = myna__calloc(sizeof *v);
  word *w = myna__alloc(bytes);
  myna__buf all = {0};
  int rc = v && w ? collect(v, tk, w, &all) : MYNA_E_NOMEM;
  if (rc == 0) rc = sort_texts(v, w, all.len);
  myna__buf_free(&all);
  myna__free(w, bytes);
  if (rc < 0) {
    vocab_free(v);
    return myna__err(err, rc, "no memory for the masks of a grammar");
  }
  v->model = model;
  *out = v;
  return 0;
}

static int vocab_of(myna_grammar *g, const void *model, const myna__tokenizer *tk, struct myna__gvocab **out,
                    myna_err *err) {
  int rc = 0;
  pthread_mutex_lock(&g->lock);
  struct myna__gvocab *v = g->vocabs;
  while (v && v->model != model) v = v->next;
  if (!v && (rc = vocab_new(&v, model, tk, err)) == 0 && v) {
    v->next = g->vocabs;
    g->vocabs = v;
  }
  pthread_mutex_unlock(&g->lock);
  *out = v;
  return rc;
}

int myna_grammar_prepare(myna_grammar *g, const struct myna_model *m, myna_err *err) {
  const myna__tokenizer *tk;
  struct myna__gvocab *v;
  TRY(myna__model_tokenizer((myna_model *)(uintptr_t)m, &tk, err));
  return vocab_of(g, tk, tk, &v, err);
}

/* ---- a run ---- */

enum { N_MASKS = 64, RUN_BYTES = 1 << 26 };

typedef struct mask {
  int32_t state; /* 0: unused */
  uint64_t used;
  int64_t n_legal;
  uint64_t *bits;
} mask;

struct myna__grun {
  myna_grammar *g;
  const struct myna__gvocab *v;
  const myna__tokenizer *tk;
  myna__gmachine m;
  int32_t state;
  int64_t n_vocab;
  float *logits; /* [n_vocab] */
  mask masks[N_MASKS];
  uint64_t clock;
  int32_t *states; /* [1025] of one walk */
};

int myna__grun_new(myna__grun **out, myna_grammar *g, const myna__tokenizer *tk, int64_t n_vocab, myna_err *err) {
  *out = NULL;
  struct myna__gvocab *v;
  TRY(vocab_of(g, tk, tk, &v, err));
  myna__grun *r = myna__calloc(sizeof *r);
  if (!r) return myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
  r->v = v;
  r->tk = tk;
  r->n_vocab = n_vocab;
  r->g = myna_grammar_ref(g);
  r->logits = myna__alloc((size_t)n_vocab * sizeof *r->logits);
  r->states = myna__alloc(1025 * sizeof *r->states);
  int rc = r->logits && r->states ? myna__gmachine_init(&r->m, g, err)
                                  : myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
  if (rc < 0) {
    myna__grun_free(r);
    return rc;
  }
  r->state = r->m.start;
  *out = r;
  return 0;
}

static size_t mask_bytes(const myna__grun *r) { return (size_t)(r->n_vocab + 63) / 64 * 8; }

void myna__grun_free(myna__grun *r) {
  if (!r) return;
  for (int i = 0; i < N_MASKS; i++) myna__free(r->masks[i].bits, mask_bytes(r));
  myna__free(r->logits, (size_t)r->n_vocab * sizeof *r->logits);
  myna__free(r->states, 1025 * sizeof *r->states);
  myna__gmachine_free(&r->m);
  myna_grammar_free(r->g);
  myna__free(r, sizeof *r);
}

bool myna__grun_whole(const myna__grun *r) { return r->state > 0 && r->m.states[r->state].whole; }

int myna__grun_feed(myna__grun *r, const char *text, size_t n) {
  if (myna__gmachine_bytes(&r->m) > RUN_BYTES && r->state > 0) {
    for (int i = 0; i < N_MASKS; i++) r->masks[i].state = 0;
    r->state = myna__gmachine_compact(&r->m, r->state);
  }
  for (size_t i = 0; i < n && r->state > 0; i++) r->state = myna__gmachine_next(&r->m, r->state, (uint8_t)text[i]);
  return r->state < 0 ? r->state : 0;
}

int myna__grun_accept(myna__grun *r, int32_t id) {
  char text[1024];
  int64_t n = myna__token_bytes(r->tk, id, false, text, sizeof text);
  return n <= 0 ? 0 : myna__grun_feed(r, text, (size_t)MYNA__MIN(n, (int64_t)sizeof text));
}

static void set(mask *k, int64_t n_vocab, int32_t id) {
  if (id >= n_vocab) return;
  k->bits[id >> 6] |= (uint64_t)1 << (id & 63);
  k->n_legal++;
}

/* The walk: states[i] is the one behind i bytes of the current token; `alive` bytes of it are not dead. */
static int fill(myna__grun *r, mask *k) {
  const struct myna__gvocab *v = r->v;
  int32_t alive = 0;
  r->states[0] = r->state;
  for (int32_t i = 0; i < v->n; i++) {
    int32_t n = v->at[i + 1] - v->at[i], at = MYNA__MIN(v->shared[i], alive);
    if (at < v->shared[i]) continue; /* begins like one that died */
    for (; at < n; at++) {
      int32_t s = myna__gmachine_next(&r->m, r->states[at], (uint8_t)v->bytes[v->at[i] + at]);
      if (s < 0) return s;
      if (s == MYNA__GSTATE_DEAD) break;
      r->states[at + 1] = s;
    }
    alive = at;
    if (at == n) set(k, r->n_vocab, v->ids[i]);
  }
  const myna__tokdata *t = myna__tokenizer_data(r->tk);
  for (int i = 0; i < t->n_eog && r->m.states[r->state].whole; i++) set(k, r->n_vocab, t->eog[i]);
  return 0;
}

static mask *mask_of(myna__grun *r, int *rc) {
  mask *old = &r->masks[0];
  *rc = 0;
  for (int i = 0; i < N_MASKS; i++) {
    mask *k = &r->masks[i];
    if (k->state == r->state) {
      k->used = ++r->clock;
      return k;
    }
    if (k->used < old->used) old = k;
  }
  if (!old->bits) old->bits = myna__alloc(mask_bytes(r));
  old->state = 0;
  *rc = old->bits ? 0 : MYNA_E_NOMEM;
  if (*rc < 0) return NULL;
  memset(old->bits, 0, mask_bytes(r));
  old->n_legal = 0;
  *rc = fill(r, old);
  if (*rc < 0) return NULL;
  old->state = r->state;
  old->used = ++r->clock;
  return old;
}

bool myna__grun_legal(myna__grun *r, int32_t id) {
  int rc;
  const mask *k = r->state > 0 && id >= 0 && id < r->n_vocab ? mask_of(r, &rc) : NULL;
  return k && (k->bits[id >> 6] >> (id & 63) & 1);
}

int64_t myna__grun_n_legal(myna__grun *r) {
  int rc;
  const mask *k = r->state > 0 ? mask_of(r, &rc) : NULL;
  return k ? k->n_legal : 0;
}

int64_t myna__grun_n_vocab(const myna__grun *r) { return r->n_vocab; }

const float *myna__grun_mask(myna__grun *r, const float *logits, myna_err *err) {
  int rc = 0;
  const mask *k = r->state > 0 ? mask_of(r, &rc) : NULL;
  if (!k || k->n_legal == 0) {
    myna__err(err, rc < 0 ? rc : MYNA_E_INTERNAL,
              rc < 0 ? "the grammar's state is too large" : "the grammar allows no token of the vocabulary");
    return NULL;
  }
  for (int64_t i = 0; i < r->n_vocab; i++) r->logits[i] = k->bits[i >> 6] >> (i & 63) & 1 ? logits[i] : -INFINITY;
  return r->logits;
}

int32_t myna__grun_best(const myna__grun *r, const float *logits) {
  int32_t best = -1;
  for (int64_t i = 0; i < r->n_vocab; i++)
    if (r->logits[i] > -INFINITY && (best < 0 || logits[i] > logits[best])) best = (int32_t)i;
  return best;
}

int myna__grun_close(const myna__grun *r, myna__buf *out) {
  if (r->state <= 0 || myna__grun_whole(r)) return 0;
  return myna__gmachine_close(&r->m, r->state, out, NULL);
}
