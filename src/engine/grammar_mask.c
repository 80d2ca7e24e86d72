/* grammar_mask.c: masks of a grammar over a vocabulary, shared by all requests with the grammar.
 *
 * A configuration is a node and a frame. What a node takes alone, in a frame that is not known, is found by one walk through the trie of the
 * vocabulary, and kept per class of nodes (a base): tokens that end before the rule does are legal whatever the frame is. Where the rule ends within a
 * token (the machine meets ESCAPE), the trie node is kept as a root: behind it the frame decides. The mask of a state is then the union of its nodes'
 * bases, and a walk from their roots with the true state: few, for only what goes on behind the end of a rule is left. Masks are kept per state,
 * the last used ones; and states are interned, so that equal situations of different requests are one number. */
#include "engine/grammar_mask.h"
#include <stdlib.h>

enum {
  WAYS = 8,             /* masks per set of the cache */
  MASK_BYTES = 1 << 24, /* of all masks */
  BASE_BYTES = 1 << 25, /* of all bases */
  BASES = 16,           /* made for one mask at most: a state that lacks more is walked as a whole */
  FUEL = 1 << 26,       /* configurations looked at in one mask */
  BASE_FUEL = 1 << 20,  /* in one base; one that takes more is given up, and states with it are walked as a whole */
  VOCABS = 4            /* vocabularies remembered per grammar */
};

typedef struct base {
  int64_t used;
  bool heavy;     /* given up: nothing else is here */
  uint64_t *bits; /* or NULL: ids */
  int32_t *ids;   /* [n_ids] */
  int64_t n_ids, cap_ids;
  int32_t *roots; /* [n_roots] 2 * node: its subtree; + 1: what is below it */
  int64_t n_roots, cap_roots;
} base;

typedef struct mask {
  int32_t state; /* 0: unused */
  int64_t used, n_legal;
  uint64_t *bits;
} mask;

struct myna__gmasks {
  myna__gmasks *next;
  myna_grammar *g;
  uint64_t vocab; /* of the tokenizer; it may be gone by now */
  const myna__tokenizer *tk;
  const myna__gtrie *trie;
  int64_t n_vocab, n_words, clock;
  int32_t *tokens; /* [n_tokens of the grammar] ids */
  base **bases;    /* [n_classes] */
  mask *masks;     /* [n_sets, WAYS] */
  int64_t n_sets, base_bytes, mask_bytes;
  int32_t *roots; /* of one mask */
  int64_t cap_roots;
  int32_t states[MYNA__GTOKEN_BYTES + 1], path[MYNA__GTOKEN_BYTES + 1]; /* of one walk, by depth */
  bool escaped[MYNA__GTOKEN_BYTES + 1];
};

/* ---- making and freeing ---- */

static void free_base(myna__gmasks *k, int32_t class) {
  base *b = k->bases[class];
  if (!b) return;
  k->base_bytes -= (int64_t)sizeof *b + (b->bits ? k->n_words * 8 : 0) + (b->cap_ids + b->cap_roots) * 4;
  myna__free(b->bits, (size_t)k->n_words * sizeof *b->bits);
  myna__free(b->ids, (size_t)b->cap_ids * sizeof *b->ids);
  myna__free(b->roots, (size_t)b->cap_roots * sizeof *b->roots);
  myna__free(b, sizeof *b);
  k->bases[class] = NULL;
}

static void free_masks(myna__gmasks *k) {
  if (!k) return;
  for (int32_t i = 0; k->bases && i < k->g->n_classes; i++) free_base(k, i);
  for (int64_t i = 0; k->masks && i < k->n_sets * WAYS; i++)
    myna__free(k->masks[i].bits, (size_t)k->n_words * sizeof *k->masks[i].bits);
  myna__free(k->bases, (size_t)k->g->n_classes * sizeof(base *));
  myna__free(k->masks, (size_t)(k->n_sets * WAYS) * sizeof *k->masks);
  myna__free(k->tokens, (size_t)(k->g->n_tokens + 1) * sizeof *k->tokens);
  myna__free(k->roots, (size_t)k->cap_roots * sizeof *k->roots);
  myna__free(k, sizeof *k);
}

void myna__gmasks_free_all(myna_grammar *g) {
  while (g->masks) {
    myna__gmasks *next = g->masks->next;
    free_masks(g->masks);
    g->masks = next;
  }
}

int64_t myna__gmasks_bytes(const myna_grammar *g) {
  int64_t n = 0;
  for (const myna__gmasks *k = g->masks; k; k = k->next)
    n += (int64_t)sizeof *k + k->base_bytes + k->mask_bytes + g->n_classes * (int64_t)sizeof(base *) +
         k->n_sets * WAYS * (int64_t)sizeof *k->masks + (k->cap_roots + g->n_tokens) * 4;
  return n;
}

void myna__gmasks_forget(myna_grammar *g) {
  for (myna__gmasks *k = g->masks; k; k = k->next)
    for (int64_t i = 0; i < k->n_sets * WAYS; i++) k->masks[i].state = 0;
}

/* The ids of the tokens that the grammar names. */
static int find_tokens(myna__gmasks *k, myna_err *err) {
  const myna__tokenize_options o = {.parse_special = true};
  for (int64_t i = 0; i < k->g->n_tokens; i++) {
    const myna__gtoken *t = &k->g->tokens[i];
    k->tokens[i] = t->id;
    if (!t->text) {
      if (t->id >= k->n_vocab)
        return myna__err(err, MYNA_E_FORMAT, "the grammar names token %d, the vocabulary has %lld", t->id,
                         (long long)k->n_vocab);
      continue;
    }
    int32_t id = -1;
    int64_t n = myna__tokenize(k->tk, t->text, (size_t)t->n, &o, &id, 1, err);
    if (n < 0) return (int)n;
    if (n != 1 || id >= k->n_vocab)
      return myna__err(err, MYNA_E_FORMAT, "%.80s in the grammar is no single token of the model", t->text);
    k->tokens[i] = id;
  }
  return 0;
}

static int init(myna__gmasks *k, myna_err *err) {
  const myna_grammar *g = k->g;
  k->trie = myna__gtrie_of(k->tk);
  k->n_words = (k->n_vocab + 63) / 64;
  int64_t room = myna__gram_part(MASK_BYTES, 4) / (WAYS * (k->n_words * 8 + (int64_t)sizeof *k->masks));
  for (k->n_sets = 1; 2 * k->n_sets <= room && k->n_sets < 512;) k->n_sets *= 2;
  k->tokens = myna__alloc((size_t)(g->n_tokens + 1) * sizeof *k->tokens);
  k->bases = myna__calloc((size_t)g->n_classes * sizeof(base *));
  k->masks = myna__calloc((size_t)(k->n_sets * WAYS) * sizeof *k->masks);
  if (!k->trie || !k->tokens || !k->bases || !k->masks)
    return myna__err(err, MYNA_E_NOMEM, "no memory for the masks of a grammar");
  return find_tokens(k, err);
}

/* The machine that all requests share, and the classes. */
static int prepare(myna_grammar *g, myna_err *err) {
  if (!g->classes) TRY(myna__gram_classify(g, err));
  if (g->machine) return 0;
  myna__gmachine *m = myna__calloc(sizeof *m);
  if (!m) return myna__err(err, MYNA_E_NOMEM, "no memory to run a grammar");
  int rc = myna__gmachine_init(m, g, err);
  if (rc < 0)
    myna__free(m, sizeof *m);
  else
    g->machine = m;
  return rc;
}

/* Masks that no request uses go when there are many vocabularies; when a request runs, none do. */
static void limit_vocabs(myna_grammar *g) {
  int n = 0;
  for (myna__gmasks **p = &g->masks; *p && !g->runs;) {
    if (++n < VOCABS) {
      p = &(*p)->next;
      continue;
    }
    myna__gmasks *old = *p;
    *p = old->next;
    free_masks(old);
  }
}

int myna__gmasks_of(myna_grammar *g, const myna__tokenizer *tk, int64_t n_vocab, myna__gmasks **out, myna_err *err) {
  uint64_t vocab = myna__tokenizer_id(tk);
  for (*out = g->masks; *out; *out = (*out)->next)
    if ((*out)->vocab == vocab && (*out)->n_vocab == n_vocab) return 0;
  TRY(prepare(g, err));
  limit_vocabs(g);
  myna__gmasks *k = myna__calloc(sizeof *k);
  if (!k) return myna__err(err, MYNA_E_NOMEM, "no memory for the masks of a grammar");
  k->g = g;
  k->vocab = vocab;
  k->tk = tk;
  k->n_vocab = n_vocab;
  int rc = init(k, err);
  if (rc < 0) {
    free_masks(k);
    return rc;
  }
  k->next = g->masks;
  g->masks = *out = k;
  return 0;
}

/* ---- walks ---- */

static int32_t next(myna__gmachine *m, int32_t state, uint8_t byte) {
  const int32_t *row = m->states[state].row;
  int32_t s = row ? row[byte] : -1;
  return s >= 0 ? s : myna__gmachine_next(m, state, byte);
}

static void set(uint64_t *bits, int64_t n_vocab, int32_t id) {
  if (id >= 0 && id < n_vocab) bits[id >> 6] |= (uint64_t)1 << (id & 63);
}

/* Whether all tokens of trie nodes from `node` to before `end` are set. *at: all before it, from where the walk began, are; it only goes forward. */
static bool all_set(const myna__gmasks *k, int32_t node, int32_t end, const uint64_t *bits, int32_t *at) {
  const myna__gtnode *nodes = k->trie->nodes;
  const int32_t *ids = k->trie->ids;
  int32_t i = MYNA__MAX(*at, nodes[node].first), last = nodes[end].first;
  while (i < last && (ids[i] >= k->n_vocab || (bits[ids[i] >> 6] >> (ids[i] & 63) & 1))) i++;
  *at = i;
  return i >= last;
}

/* Nodes from..end of one subtree (or siblings), whose parent's state stands in states[]: sets what is not dead. */
static int walk(myna__gmasks *k, int32_t from, int32_t end, uint64_t *bits) {
  const myna__gtnode *nodes = k->trie->nodes;
  int32_t at = 0;
  for (int32_t i = from; i < end;) {
    const myna__gtnode *x = &nodes[i];
    if (all_set(k, i, x->end, bits, &at)) {
      i = x->end;
      continue;
    }
    int32_t s = next(k->g->machine, k->states[x->depth - 1], x->byte);
    if (s < 0) return s;
    if (s == MYNA__GSTATE_DEAD) {
      i = x->end;
      continue;
    }
    for (int32_t t = x->first; t < x[1].first; t++) set(bits, k->n_vocab, k->trie->ids[t]);
    k->states[x->depth] = s;
    k->path[x->depth] = i++;
  }
  return 0;
}

/* States along the way to node `to`, of which path[0..*have] are known. DEAD: the node (*at) where it died. */
static int32_t go_to(myna__gmasks *k, int32_t to, int *have, int32_t *at) {
  const myna__gtnode *nodes = k->trie->nodes;
  int depth = nodes[to].depth, same = depth;
  int32_t way[MYNA__GTOKEN_BYTES + 1];
  for (int32_t i = to; same > 0; i = nodes[i].parent, same--) {
    if (same <= *have && k->path[same] == i) break;
    way[same] = i;
  }
  for (int d = same + 1; d <= depth; d++) {
    int32_t s = next(k->g->machine, k->states[d - 1], nodes[way[d]].byte);
    *at = way[d];
    *have = d - 1;
    if (s <= 0) return s;
    k->states[d] = s;
    k->path[d] = way[d];
  }
  *have = depth;
  return 1;
}

/* From roots, in order: what lies behind them by the true state. */
static int walk_roots(myna__gmasks *k, int32_t state, const int32_t *roots, int64_t n, uint64_t *bits) {
  const myna__gtnode *nodes = k->trie->nodes;
  int32_t done = 0; /* everything before is decided */
  int have = 0;
  k->states[0] = state;
  for (int64_t r = 0; r < n; r++) {
    int32_t i = roots[r] >> 1, below = roots[r] & 1, at = 0;
    if (i < done || all_set(k, i + below, nodes[i].end, bits, &at)) continue;
    int32_t rc = go_to(k, below ? i : nodes[i].parent, &have, &at);
    if (rc < 0) return rc;
    done = rc == MYNA__GSTATE_DEAD ? nodes[at].end : nodes[i].end;
    if (rc > 0) TRY(walk(k, i + below, nodes[i].end, bits));
    if (rc > 0) have = nodes[below ? i : nodes[i].parent].depth;
  }
  return 0;
}

/* ---- bases ---- */

static int add_root(base *b, int32_t root) {
  TRY(myna__gram_grow((void **)&b->roots, &b->cap_roots, b->n_roots + 1, sizeof root, INT32_MAX, NULL));
  b->roots[b->n_roots++] = root;
  return 0;
}

static int add_ids(myna__gmasks *k, base *b, int32_t node) {
  const myna__gtnode *x = &k->trie->nodes[node];
  int32_t n = x[1].first - x->first;
  TRY(myna__gram_grow((void **)&b->ids, &b->cap_ids, b->n_ids + n, sizeof *b->ids, INT32_MAX, NULL));
  for (int32_t t = x->first; t < x[1].first; t++)
    if (k->trie->ids[t] < k->n_vocab) b->ids[b->n_ids++] = k->trie->ids[t];
  return 0;
}

/* The walk of a node alone. */
static int walk_base(myna__gmasks *k, base *b, int32_t state) {
  const myna__gtnode *nodes = k->trie->nodes;
  myna__gmachine *m = k->g->machine;
  int32_t n = (int32_t)k->trie->n_nodes;
  k->states[0] = state;
  k->escaped[0] = false;
  for (int32_t i = 1; i < n;) {
    const myna__gtnode *x = &nodes[i];
    int d = x->depth;
    int32_t s = d > k->g->class_depth ? MYNA__GSTATE_DEAD : next(m, k->states[d - 1], x->byte);
    if (s < 0) return s;
    if (s == MYNA__GSTATE_DEAD) {
      /* The frame decides, or others of the class may think otherwise. */
      if (k->escaped[d - 1] || d > k->g->class_depth) TRY(add_root(b, 2 * i));
      i = x->end;
      continue;
    }
    TRY(add_ids(k, b, i));
    if (m->states[s].escape && m->states[s].n == 1) { /* nothing but the frame */
      if (i + 1 < x->end) TRY(add_root(b, 2 * i + 1));
      i = x->end;
      continue;
    }
    k->states[d] = s;
    k->escaped[d] = k->escaped[d - 1] || m->states[s].escape;
    i++;
  }
  return 0;
}

/* Many ids are bits from now on; room that is not needed goes. */
static int pack(myna__gmasks *k, base *b) {
  void *fit = b->n_roots > 0 ? myna__realloc(b->roots, (size_t)b->cap_roots * 4, (size_t)b->n_roots * 4) : NULL;
  if (fit) b->roots = fit, b->cap_roots = b->n_roots;
  if (b->n_ids < k->n_words) {
    fit = b->n_ids > 0 ? myna__realloc(b->ids, (size_t)b->cap_ids * 4, (size_t)b->n_ids * 4) : NULL;
    if (fit) b->ids = fit, b->cap_ids = b->n_ids;
    return 0;
  }
  if (!(b->bits = myna__calloc((size_t)k->n_words * sizeof *b->bits))) return MYNA_E_NOMEM;
  for (int64_t i = 0; i < b->n_ids; i++) set(b->bits, k->n_vocab, b->ids[i]);
  myna__free(b->ids, (size_t)b->cap_ids * sizeof *b->ids);
  b->ids = NULL;
  b->n_ids = b->cap_ids = 0;
  return 0;
}

static int make_base(myna__gmasks *k, int32_t node) {
  myna__gmachine *m = k->g->machine;
  int32_t class = k->g->classes[node];
  base *b = myna__calloc(sizeof *b);
  if (!b) return MYNA_E_NOMEM;
  int64_t fuel = m->fuel;
  m->fuel = MYNA__MIN(fuel, BASE_FUEL);
  int32_t s = myna__gmachine_intern(m, &(myna__gpair){node, MYNA__GFRAME_UNKNOWN}, 1);
  int rc = s < 0 ? s : walk_base(k, b, s);
  b->heavy = rc == MYNA_E_LIMIT;
  if (b->heavy) rc = 0, b->n_ids = b->n_roots = 0;
  if (rc == 0) rc = pack(k, b);
  m->fuel += fuel - MYNA__MIN(fuel, BASE_FUEL);
  k->base_bytes += (int64_t)sizeof *b + (b->bits ? k->n_words * 8 : 0) + (b->cap_ids + b->cap_roots) * 4;
  k->bases[class] = b;
  if (rc < 0) free_base(k, class);
  return rc;
}

/* Makes the bases that a state lacks. 1: it has all; 0: it is to be walked as a whole. */
static int make_bases(myna__gmasks *k, int32_t state) {
  const myna__gmachine *m = k->g->machine;
  const int32_t *classes = k->g->classes;
  int lacks = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int32_t i = 0; i < m->states[state].n; i++) {
      int32_t node = m->pairs[m->states[state].first + i].node;
      if (m->g->nodes[node].kind != MYNA__GNODE_BYTE) continue;
      const base *b = k->bases[classes[node]];
      if (!b && (pass == 0 ? ++lacks > BASES : false)) return 0;
      if (!b && pass == 1 && myna__gram_over(k->g) > 0) return 0;
      if (!b && pass == 1) TRY(make_base(k, node));
      b = k->bases[classes[node]];
      if (b && b->heavy) return 0;
    }
  return 1;
}

/* The least recently used half goes. Those of this clock stay: they are about to be used. */
static void limit_bases(myna__gmasks *k, int64_t most) {
  while (k->base_bytes > most) {
    int64_t oldest = k->clock, before = k->base_bytes;
    for (int32_t i = 0; i < k->g->n_classes; i++)
      if (k->bases[i]) oldest = MYNA__MIN(oldest, k->bases[i]->used);
    for (int32_t i = 0; i < k->g->n_classes; i++)
      if (k->bases[i] && k->bases[i]->used < k->clock && k->bases[i]->used <= (oldest + k->clock) / 2) free_base(k, i);
    if (k->base_bytes == before) break;
  }
}

/* ---- masks ---- */

static void unite(const myna__gmasks *k, const base *b, uint64_t *bits) {
  if (b->bits)
    for (int64_t i = 0; i < k->n_words; i++) bits[i] |= b->bits[i];
  for (int64_t i = 0; i < b->n_ids; i++) set(bits, k->n_vocab, b->ids[i]);
}

/* A TOKEN node: its token, or all but that and the ends. */
static void set_token(const myna__gmasks *k, const myna__gnode *n, uint64_t *bits) {
  int32_t id = k->tokens[n->b];
  if (!n->lo) {
    if (!myna__token_is_eog(k->tk, id)) set(bits, k->n_vocab, id);
    return;
  }
  const myna__tokdata *t = myna__tokenizer_data(k->tk);
  uint64_t kept = id < k->n_vocab ? bits[id >> 6] >> (id & 63) & 1 : 0;
  for (int32_t i = 0; i < MYNA__MIN(t->n_tokens, k->n_vocab); i++)
    if (i != id && !myna__token_is_eog(k->tk, i)) set(bits, k->n_vocab, i);
  if (!kept && id < k->n_vocab) bits[id >> 6] &= ~((uint64_t)1 << (id & 63));
}

static int by_number(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return x < y ? -1 : x > y;
}

static int add_roots(myna__gmasks *k, const base *b, int64_t *n) {
  TRY(myna__gram_grow((void **)&k->roots, &k->cap_roots, *n + b->n_roots, sizeof *k->roots, INT32_MAX, NULL));
  if (b->n_roots) memcpy(k->roots + *n, b->roots, (size_t)b->n_roots * sizeof *k->roots);
  *n += b->n_roots;
  return 0;
}

static int fill(myna__gmasks *k, int32_t state, uint64_t *bits) {
  myna__gmachine *m = k->g->machine;
  int64_t n_roots = 0, n_bases = 0;
  memset(bits, 0, (size_t)k->n_words * sizeof *bits);
  int rc = make_bases(k, state);
  if (rc < 0) return rc;
  for (int32_t i = 0; i < m->states[state].n; i++) {
    int32_t node = m->pairs[m->states[state].first + i].node;
    const myna__gnode *n = &m->g->nodes[node];
    if (n->kind == MYNA__GNODE_TOKEN) set_token(k, n, bits);
    if (n->kind != MYNA__GNODE_BYTE || rc == 0) continue;
    base *b = k->bases[k->g->classes[node]];
    b->used = k->clock;
    unite(k, b, bits);
    n_bases += b->n_roots > 0;
    TRY(add_roots(k, b, &n_roots));
  }
  if (rc == 0) {
    k->states[0] = state;
    TRY(walk(k, 1, (int32_t)k->trie->n_nodes, bits));
  }
  if (n_bases > 1 && n_roots > 1) qsort(k->roots, (size_t)n_roots, sizeof *k->roots, by_number);
  TRY(walk_roots(k, state, k->roots, n_roots, bits));
  const myna__tokdata *t = myna__tokenizer_data(k->tk);
  for (int i = 0; i < t->n_eog && m->states[state].whole; i++) set(bits, k->n_vocab, t->eog[i]);
  return 0;
}

static mask *set_of(const myna__gmasks *k, int32_t state) {
  uint32_t h = (uint32_t)state * 2654435769u;
  return k->masks + (int64_t)(h >> 16 & (uint32_t)(k->n_sets - 1)) * WAYS;
}

/* Under a limit for all grammars: masks go first, which are found from bases in no time. */
static void make_room(myna__gmasks *k) {
  int64_t over = myna__gram_over(k->g), oldest = k->clock;
  for (int64_t i = 0; over > 0 && i < k->n_sets * WAYS; i++)
    if (k->masks[i].bits) oldest = MYNA__MIN(oldest, k->masks[i].used);
  for (int64_t i = 0; over > 0 && i < k->n_sets * WAYS; i++) {
    mask *x = &k->masks[i];
    if (!x->bits || x->used > (oldest + k->clock) / 2) continue;
    myna__free(x->bits, (size_t)k->n_words * sizeof *x->bits);
    *x = (mask){0};
    k->mask_bytes -= k->n_words * 8;
    over -= k->n_words * 8;
  }
  limit_bases(k, over > 0 ? MYNA__MIN(BASE_BYTES, MYNA__MAX(k->base_bytes - over, 0)) : BASE_BYTES);
}

bool myna__gmasks_has(const myna__gmasks *k, int32_t state) {
  const mask *in = set_of(k, state);
  for (int i = 0; i < WAYS; i++)
    if (in[i].state == state) return true;
  return false;
}

bool myna__gmasks_is_end(const myna__gmasks *k, int32_t id) { return myna__token_is_eog(k->tk, id); }

int myna__gmasks_get(myna__gmasks *k, int32_t state, const uint64_t **bits, int64_t *n_legal) {
  mask *in = set_of(k, state), *x = in;
  k->clock++;
  for (int i = 0; i < WAYS; i++) {
    if (in[i].state == state) {
      x = &in[i];
      break;
    }
    if (in[i].used < x->used) x = &in[i];
  }
  if (x->state != state) {
    make_room(k);
    if (!x->bits) {
      if (!(x->bits = myna__alloc((size_t)k->n_words * sizeof *x->bits))) return MYNA_E_NOMEM;
      k->mask_bytes += k->n_words * 8;
    }
    x->state = 0;
    k->g->machine->fuel = FUEL;
    TRY(fill(k, state, x->bits));
    x->n_legal = 0;
    for (int64_t i = 0; i < k->n_words; i++) x->n_legal += __builtin_popcountll(x->bits[i]);
    x->state = state;
  }
  x->used = k->clock;
  *bits = x->bits;
  *n_legal = x->n_legal;
  return 0;
}

int32_t myna__gmasks_step(myna__gmasks *k, int32_t state, int32_t id) {
  myna__gmachine *m = k->g->machine;
  char text[MYNA__GTOKEN_BYTES];
  int64_t n = myna__token_is_eog(k->tk, id) ? 0 : myna__token_bytes(k->tk, id, false, text, sizeof text);
  m->fuel = FUEL;
  int32_t whole = MYNA__GSTATE_DEAD, s = n > 0 && n <= (int64_t)sizeof text ? state : MYNA__GSTATE_DEAD;
  if (m->states[state].tokens && !myna__token_is_eog(k->tk, id)) whole = myna__gmachine_token(m, state, k->tokens, id);
  for (int64_t i = 0; i < n && s > 0; i++) s = next(m, s, (uint8_t)text[i]);
  return whole == MYNA__GSTATE_DEAD ? s : myna__gmachine_both(m, s, whole);
}
