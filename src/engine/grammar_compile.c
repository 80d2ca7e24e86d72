/* grammar_compile.c: from the tree to nodes over bytes.
 *
 * Nodes are made from behind: an expression is compiled in front of the node that follows it. Small rules that call nothing but such rules are taken
 * into their callers, so that regular parts run without frames. Then come, for every node, the fewest bytes to the end of its rule (what never ends is
 * never entered), what it reaches without a byte, and the order in which rules call each other at one position: a circle there is left recursion. */
#include "engine/grammar.h"
#include <stdlib.h>

enum {
  MAX_NODES = 1 << 19,
  MAX_ITEMS = 1 << 22,
  MAX_STEPS = 1 << 25, /* of all work on one grammar: about half a second */
  INLINE_MAX = 48,
  FACTOR_MIN = 4, /* alternatives that begin with a text, from so many on are made a trie */
  JUMP_MAX = 64   /* what a rule may reach at its beginning where its last calls become jumps to it */
};

typedef struct compiler {
  myna_grammar *g;
  const myna__tree *t;
  uint8_t *inlined;   /* [n_rules] 1: taken in; 2: never, whatever others are */
  int32_t *size;      /* [n_rules] tree nodes and bytes, with those of what is taken in */
  int64_t memo_first; /* nodes from here on belong to the set being compiled */
  int32_t *stack, *mark;
  int64_t cap_stack, steps;
  myna_err *err;
} compiler;

/* Takes steps of the budget. */
static int burn(compiler *c, int64_t steps) {
  c->steps += steps;
  return c->steps > MAX_STEPS ? myna__err(c->err, MYNA_E_LIMIT, "the grammar is too large or too tangled") : 0;
}

/* ---- nodes ---- */

static int32_t add(compiler *c, myna__gnode n) {
  myna_grammar *g = c->g;
  TRY(myna__gram_grow((void **)&g->nodes, &g->cap_nodes, g->n_nodes + 1, sizeof n, MAX_NODES, c->err));
  n.closure = n.best = -1;
  n.dist = MYNA__GRAM_NEVER;
  g->nodes[g->n_nodes] = n;
  return (int32_t)g->n_nodes++;
}

static int32_t split(compiler *c, int32_t a, int32_t b) {
  return a < 0 ? a : b < 0 ? b : add(c, (myna__gnode){.kind = MYNA__GNODE_SPLIT, .a = a, .b = b});
}

/* A byte edge of the set being compiled: shared when it is there already. */
static int32_t edge(compiler *c, uint8_t lo, uint8_t hi, int32_t to) {
  for (int64_t i = c->g->n_nodes - 1; to >= 0 && i >= MYNA__MAX(c->memo_first, c->g->n_nodes - 64); i--) {
    const myna__gnode *n = &c->g->nodes[i];
    if (n->kind == MYNA__GNODE_BYTE && n->lo == lo && n->hi == hi && n->a == to && n->b < 0) return (int32_t)i;
  }
  return to < 0 ? to : add(c, (myna__gnode){.kind = MYNA__GNODE_BYTE, .lo = lo, .hi = hi, .a = to, .b = -1});
}

/* Adds an edge in front of *chain, which is of the first byte and not shared. */
static int chain_edge(compiler *c, uint8_t lo, uint8_t hi, int32_t to, int32_t *chain) {
  if (to < 0) return to;
  int32_t k = add(c, (myna__gnode){.kind = MYNA__GNODE_BYTE, .lo = lo, .hi = hi, .a = to, .b = *chain});
  if (k < 0) return k;
  *chain = k;
  return 0;
}

/* Bytes a..b of n, lead bytes included, are a product of byte ranges when all but the first different one are full: cut until they are. */
static int utf8_edges(compiler *c, uint32_t lo, uint32_t hi, int32_t next, int32_t *chain) {
  static const uint32_t last[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
  for (int k = 0; k < 4; k++)
    if (lo <= last[k] && hi > last[k]) {
      TRY(utf8_edges(c, lo, last[k], next, chain));
      lo = last[k] + 1;
    }
  for (int bits = 6; bits <= 18 && hi > 0x7F; bits += 6) {
    uint32_t m = (1u << bits) - 1;
    if ((lo & ~m) == (hi & ~m)) break;
    if (lo & m) {
      TRY(utf8_edges(c, lo, lo | m, next, chain));
      return utf8_edges(c, (lo | m) + 1, hi, next, chain);
    }
    if ((hi & m) != m) {
      TRY(utf8_edges(c, lo, (hi & ~m) - 1, next, chain));
      return utf8_edges(c, hi & ~m, hi, next, chain);
    }
  }
  char a[4], b[4];
  int n = myna__gram_encode(lo, a), to = next;
  myna__gram_encode(hi, b);
  for (int i = n - 1; i > 0; i--) to = edge(c, (uint8_t)a[i], (uint8_t)b[i], to);
  return chain_edge(c, (uint8_t)a[0], (uint8_t)b[0], to, chain);
}

static int32_t compile(compiler *c, int32_t at, int32_t next);

static int32_t compile_set(compiler *c, const myna__tree_node *n, int32_t next) {
  int32_t chain = -1;
  c->memo_first = c->g->n_nodes;
  for (int32_t i = n->b - 1; i >= 0; i--) {
    const myna__range *r = &c->t->ranges[n->a + i];
    TRY(utf8_edges(c, r->lo, r->hi, next, &chain));
  }
  return chain < 0 ? MYNA__GNODE_FAIL : chain;
}

static int32_t compile_rep(compiler *c, const myna__tree_node *n, int32_t next) {
  int32_t at = next, i = n->min;
  if (n->max < 0) {
    int32_t loop = add(c, (myna__gnode){.kind = MYNA__GNODE_SPLIT, .a = MYNA__GNODE_FAIL, .b = next});
    int32_t body = loop < 0 ? loop : compile(c, n->a, loop);
    if (body < 0) return body;
    c->g->nodes[loop].a = body;
    at = i > 0 ? body : loop;
    i -= i > 0;
  }
  for (int32_t k = n->min; k < n->max && at >= 0; k++) at = split(c, compile(c, n->a, at), next);
  for (; i > 0 && at >= 0; i--) at = compile(c, n->a, at);
  return at;
}

/* ---- alternatives ---- */

/* One that begins with a text: lists of words share their beginnings, so that few nodes are alive behind them. */
typedef struct lead {
  int32_t child, lit;
  const char *p;
  int32_t n;
} lead;

/* The text that an expression begins with; false: none. A sequence's first child is its last one. */
static bool leads(compiler *c, int32_t child, lead *out) {
  const myna__tree_node *n = &c->t->nodes[child];
  int32_t lit = child;
  if (n->kind == MYNA__TREE_SEQ) {
    if (n->a < 0) return false;
    for (lit = n->a; c->t->nodes[lit].next >= 0; lit = c->t->nodes[lit].next) c->steps++;
  }
  n = &c->t->nodes[lit];
  if (n->kind != MYNA__TREE_LIT || n->b == 0) return false;
  *out = (lead){child, lit, c->t->bytes + n->a, n->b};
  return true;
}

static int by_text(const void *a, const void *b) {
  const lead *x = a, *y = b;
  int d = memcmp(x->p, y->p, (size_t)MYNA__MIN(x->n, y->n));
  return d ? d : x->n != y->n ? (x->n < y->n ? -1 : 1) : (x->child > y->child) - (x->child < y->child);
}

static int32_t bytes_before(compiler *c, const char *p, int32_t from, int32_t to, int32_t at) {
  for (int32_t i = to - 1; i >= from && at >= 0; i--)
    at = add(c, (myna__gnode){.kind = MYNA__GNODE_BYTE, .lo = (uint8_t)p[i], .hi = (uint8_t)p[i], .a = at, .b = -1});
  return at;
}

/* What is left of x behind the first `from` bytes. */
static int32_t compile_rest(compiler *c, const lead *x, int32_t from, int32_t next) {
  int32_t at = next;
  if (c->t->nodes[x->child].kind == MYNA__TREE_SEQ)
    for (int32_t k = c->t->nodes[x->child].a; k != x->lit && at >= 0; k = c->t->nodes[k].next) at = compile(c, k, at);
  return bytes_before(c, x->p, from, x->n, at);
}

/* x[0..n), sorted, all with the same first `at` bytes. Behind what they share, one node has the next bytes of all; *also: what stands beside it. */
static int32_t trie(compiler *c, const lead *x, int32_t n, int32_t at, int32_t next, int depth) {
  int32_t same = at, chain = -1, whole = -1;
  TRY(burn(c, 4 + n / 4));
  if (n == 1) return compile_rest(c, x, at, next);
  while (same < x[0].n && same < x[n - 1].n && x[0].p[same] == x[n - 1].p[same]) same++;
  for (int32_t from = n, to = n; from > 0; to = from) {
    const char *p = x[--from].p;
    int32_t one;
    if (x[from].n == same || depth > MYNA__TREE_DEPTH) { /* its text ends here; or one by one */
      one = compile_rest(c, &x[from], same, next);
      whole = whole < 0 ? one : split(c, one, whole);
      if (one < 0 || whole < 0) return MYNA__MIN(one, whole);
      continue;
    }
    while (from > 0 && x[from - 1].n > same && x[from - 1].p[same] == p[same]) from--;
    one = trie(c, x + from, to - from, same + 1, next, depth + 1);
    if (one < 0) return one;
    TRY(chain_edge(c, (uint8_t)p[same], (uint8_t)p[same], one, &chain));
  }
  whole = whole < 0 ? chain : chain < 0 ? whole : split(c, chain, whole);
  return bytes_before(c, x[0].p, at, same, whole);
}

/* All alternatives that begin with texts as one; *at: with the others, which are there. */
static int factor(compiler *c, lead *x, int32_t n, int32_t next, int32_t *at) {
  qsort(x, (size_t)n, sizeof *x, by_text);
  int32_t one = trie(c, x, n, 0, next, 0);
  if (one < 0) return one;
  *at = *at < 0 ? one : split(c, one, *at);
  return MYNA__MIN(*at, 0);
}

static int32_t compile_alt(compiler *c, const myna__tree_node *n, int32_t next) {
  const myna__tree_node *nodes = c->t->nodes;
  lead x;
  int32_t at = -1, n_leads = 0, rc = 0;
  if (n->a < 0) return next;
  for (int32_t k = n->a; k >= 0; k = nodes[k].next) n_leads += leads(c, k, &x);
  size_t bytes = (size_t)n_leads * sizeof x;
  lead *list = n_leads < FACTOR_MIN ? NULL : myna__alloc(bytes);
  if (n_leads >= FACTOR_MIN && !list) return myna__err(c->err, MYNA_E_NOMEM, "no memory for a grammar");
  n_leads = 0;
  for (int32_t k = n->a; k >= 0 && rc == 0; k = nodes[k].next) {
    if (list && leads(c, k, &list[n_leads])) {
      n_leads++;
      continue;
    }
    int32_t one = compile(c, k, next);
    at = one < 0 || at < 0 ? one : split(c, one, at);
    rc = MYNA__MIN(at, 0);
  }
  if (rc == 0 && list) rc = factor(c, list, n_leads, next, &at);
  myna__free(list, bytes);
  return rc < 0 ? rc : at;
}

static int32_t compile(compiler *c, int32_t index, int32_t next) {
  const myna__tree_node *n = &c->t->nodes[index];
  int32_t at = next;
  TRY(burn(c, 4));
  switch ((myna__tree_kind)n->kind) {
  case MYNA__TREE_SET: return compile_set(c, n, next);
  case MYNA__TREE_LIT:
    for (int32_t i = n->b - 1; i >= 0 && at >= 0; i--) {
      uint8_t byte = (uint8_t)c->t->bytes[n->a + i];
      at = add(c, (myna__gnode){.kind = MYNA__GNODE_BYTE, .lo = byte, .hi = byte, .a = at, .b = -1});
    }
    return at;
  case MYNA__TREE_SEQ:
    for (int32_t k = n->a; k >= 0 && at >= 0; k = c->t->nodes[k].next) at = compile(c, k, at);
    return at;
  case MYNA__TREE_ALT: return compile_alt(c, n, next);
  case MYNA__TREE_REP: return compile_rep(c, n, next);
  case MYNA__TREE_TOKEN:
    return add(c, (myna__gnode){.kind = MYNA__GNODE_TOKEN, .lo = (uint8_t)n->b, .a = next, .b = n->a});
  case MYNA__TREE_REF: break;
  }
  if (c->inlined[n->a] == 1) return compile(c, c->t->rules[n->a].body, next);
  return add(c, (myna__gnode){.kind = MYNA__GNODE_CALL, .a = n->a, .b = next});
}

/* ---- which rules are taken into their callers ---- */

/* Adds the size of a rule's expression to *size, at most until it is too large; false when it calls what may yet be taken in. */
static bool measure(compiler *c, int32_t index, int64_t *size) {
  const myna__tree_node *n = &c->t->nodes[index];
  bool known = true;
  *size += 1 + (n->kind == MYNA__TREE_LIT || n->kind == MYNA__TREE_SET ? n->b : 0);
  if (*size > INLINE_MAX) return true;
  c->steps++;
  if (n->kind == MYNA__TREE_REF) {
    *size += c->size[n->a];
    return c->inlined[n->a] != 0;
  }
  if (n->kind == MYNA__TREE_REP) {
    int64_t one = 0;
    known = measure(c, n->a, &one);
    *size += one * MYNA__MAX(MYNA__MAX(n->min, n->max), 1);
  }
  if (n->kind == MYNA__TREE_SEQ || n->kind == MYNA__TREE_ALT)
    for (int32_t k = n->a; k >= 0 && *size <= INLINE_MAX; k = c->t->nodes[k].next)
      if (!measure(c, k, size)) known = false;
  return known;
}

/* Rounds until nothing changes, at most a few: deeper nests of rules stay calls. What is too large stays one, so that no circle is ever taken in. */
static void choose_inlined(compiler *c, int32_t root) {
  c->inlined[root] = 2;
  for (int round = 0, changed = 1; round < 8 && changed; round++) {
    changed = 0;
    for (int64_t i = 0; i < c->t->n_rules; i++) {
      int64_t size = 0;
      if (c->inlined[i]) continue;
      bool known = measure(c, c->t->rules[i].body, &size);
      if (!known && size <= INLINE_MAX) continue;
      changed = 1;
      c->inlined[i] = size <= INLINE_MAX ? 1 : 2;
      c->size[i] = size <= INLINE_MAX ? (int32_t)size : 0;
    }
  }
}

/* ---- distances ---- */

static int64_t far(int64_t a, int64_t b) { return MYNA__MIN(a + b, MYNA__GRAM_NEVER - 1); }

/* What n's distance is by those of its successors. */
static int64_t distance(const myna_grammar *g, const myna__gnode *n, int32_t *best) {
  int64_t a, b;
  *best = n->a;
  switch ((myna__gnode_kind)n->kind) {
  case MYNA__GNODE_ACCEPT:
  case MYNA__GNODE_ESCAPE:
  case MYNA__GNODE_RET: return 0;
  case MYNA__GNODE_FAIL: return MYNA__GRAM_NEVER;
  case MYNA__GNODE_CALL:
    a = g->nodes[g->rules[n->a].start].dist;
    b = g->nodes[n->b].dist;
    return a >= MYNA__GRAM_NEVER || b >= MYNA__GRAM_NEVER ? MYNA__GRAM_NEVER : far(a, b);
  case MYNA__GNODE_BYTE:
    a = g->nodes[n->a].dist;
    if (a < MYNA__GRAM_NEVER) a = far(a, 1);
    b = n->b < 0 ? MYNA__GRAM_NEVER : g->nodes[n->b].dist;
    break;
  case MYNA__GNODE_TOKEN: /* one without a text is the last resort */
    a = g->nodes[n->a].dist;
    if (a < MYNA__GRAM_NEVER) a = far(a, n->lo || !g->tokens[n->b].text ? 1 << 20 : g->tokens[n->b].n);
    b = MYNA__GRAM_NEVER;
    break;
  default: a = g->nodes[n->a].dist, b = g->nodes[n->b].dist;
  }
  if (b < a) *best = n->b;
  return MYNA__MIN(a, b);
}

/* Nodes that a node's distance depends on: at most 2. */
static int depends(const myna_grammar *g, const myna__gnode *n, int32_t on[2]) {
  int k = 0;
  if (n->kind < MYNA__GNODE_BYTE) return 0;
  on[k++] = n->kind == MYNA__GNODE_CALL ? g->rules[n->a].start : n->a;
  if (n->b >= 0 && n->kind != MYNA__GNODE_TOKEN) on[k++] = n->b;
  return k;
}

/* Distances sink from "never" as those they depend on do: a queue of nodes to look at again. */
static int find_distances(compiler *c) {
  myna_grammar *g = c->g;
  size_t n = (size_t)g->n_nodes, total = (n + 1) + 2 * n + n + n;
  int32_t *first = myna__calloc(total * sizeof *first);
  if (!first) return myna__err(c->err, MYNA_E_NOMEM, "no memory for a grammar");
  int32_t *users = first + n + 1, *queue = users + 2 * n, *queued = queue + n;
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i < n; i++) {
      int32_t on[2];
      int k = depends(g, &g->nodes[i], on);
      for (int j = 0; j < k; j++)
        if (pass == 0)
          first[on[j]]++;
        else
          users[--first[on[j]]] = (int32_t)i;
    }
    for (size_t i = 0; i < n && pass == 0; i++) first[i + 1] += first[i];
  }
  size_t head = 0, count = 0;
  int rc = 0;
  for (; count < n; count++) queue[count] = (int32_t)count, queued[count] = 1;
  while (count > 0) {
    int32_t i = queue[head], best;
    head = (head + 1) % n;
    count--;
    queued[i] = 0;
    if ((rc = burn(c, 1)) < 0) break;
    int64_t d = distance(g, &g->nodes[i], &best);
    if (d >= g->nodes[i].dist) continue;
    g->nodes[i].dist = d;
    g->nodes[i].best = best;
    for (int32_t k = first[i]; k < first[i + 1]; k++) {
      if (queued[users[k]]) continue;
      queued[users[k]] = 1;
      queue[(head + count++) % n] = users[k];
    }
  }
  myna__free(first, total * sizeof *first);
  return rc;
}

/* ---- closures ---- */

static bool lives(const myna_grammar *g, int32_t node) { return g->nodes[node].dist < MYNA__GRAM_NEVER; }

static int item(compiler *c, int32_t x) {
  myna_grammar *g = c->g;
  TRY(myna__gram_grow((void **)&g->items, &g->cap_items, g->n_items + 1, sizeof x, MAX_ITEMS, c->err));
  g->items[g->n_items++] = x;
  return 0;
}

static int push(compiler *c, int64_t *n, int32_t node, int32_t stamp) {
  TRY(burn(c, 1));
  if (c->mark[node] == stamp || !lives(c->g, node)) return 0;
  c->mark[node] = stamp;
  TRY(myna__gram_grow((void **)&c->stack, &c->cap_stack, *n + 1, sizeof *c->stack, MAX_ITEMS, c->err));
  c->stack[(*n)++] = node;
  return 0;
}

/* One walk for the nodes that consume, one for calls: so they lie side by side. */
static int walk(compiler *c, int32_t from, int32_t stamp, bool calls, myna__gclosure *out) {
  myna_grammar *g = c->g;
  int64_t n = 0;
  TRY(push(c, &n, from, stamp));
  while (n > 0) {
    int32_t i = c->stack[--n];
    myna__gnode x = g->nodes[i];
    if (x.kind == MYNA__GNODE_RET) {
      out->ret = true;
    } else if (x.kind == MYNA__GNODE_SPLIT) {
      TRY(push(c, &n, x.a, stamp));
      TRY(push(c, &n, x.b, stamp));
    } else if (x.kind == MYNA__GNODE_CALL) {
      if (g->nodes[g->rules[x.a].start].dist == 0) TRY(push(c, &n, x.b, stamp));
      if (!calls) continue;
      TRY(item(c, x.a));
      TRY(item(c, x.b));
      out->n_calls++;
    } else if (!calls) {
      TRY(item(c, i));
      out->n_terms++;
    }
  }
  return 0;
}

static int close_over(compiler *c, int32_t node) {
  myna_grammar *g = c->g;
  if (g->nodes[node].closure >= 0 || !lives(g, node)) return 0;
  TRY(myna__gram_grow((void **)&g->closures, &g->cap_closures, g->n_closures + 1, sizeof *g->closures, MAX_NODES,
                      c->err));
  int32_t k = (int32_t)g->n_closures;
  myna__gclosure out = {.first = g->n_items};
  TRY(walk(c, node, 2 * k + 1, false, &out));
  TRY(walk(c, node, 2 * k + 2, true, &out));
  g->closures[g->n_closures++] = out;
  g->nodes[node].closure = k;
  return 0;
}

static int find_closures(compiler *c) {
  myna_grammar *g = c->g;
  size_t bytes = (size_t)g->n_nodes * sizeof *c->mark;
  c->mark = myna__calloc(bytes);
  g->n_closures = g->n_items = 0;
  for (int64_t i = 0; i < g->n_nodes; i++) g->nodes[i].closure = -1;
  int rc = c->mark ? 0 : myna__err(c->err, MYNA_E_NOMEM, "no memory for a grammar");
  if (rc == 0) rc = close_over(c, MYNA__GNODE_ACCEPT);
  if (rc == 0) rc = close_over(c, MYNA__GNODE_ESCAPE);
  for (int64_t i = 0; i < g->n_rules && rc == 0; i++)
    if (g->rules[i].start >= 0) rc = close_over(c, g->rules[i].start);
  for (int64_t i = 0; i < g->n_nodes && rc == 0; i++) {
    const myna__gnode *n = &g->nodes[i];
    if (n->kind == MYNA__GNODE_BYTE || n->kind == MYNA__GNODE_TOKEN) rc = close_over(c, n->a);
    if (n->kind == MYNA__GNODE_CALL) rc = close_over(c, n->b);
  }
  myna__free(c->mark, bytes);
  myna__free(c->stack, (size_t)c->cap_stack * sizeof *c->stack);
  c->stack = NULL;
  c->cap_stack = 0;
  return rc;
}

/* ---- order of rules ---- */

/* Rules that `rule` calls at its beginning: pairs of rule and node. */
static const int32_t *first_calls(const myna_grammar *g, int32_t rule, int32_t *n) {
  *n = 0;
  int32_t start = g->rules[rule].start;
  if (start < 0 || !lives(g, start)) return NULL;
  const myna__gclosure *k = &g->closures[g->nodes[start].closure];
  *n = k->n_calls;
  return g->items + k->first + k->n_terms;
}

/* Depth first; a rule is done after all that it calls. */
static int visit(compiler *c, int32_t root, uint8_t *color, int32_t *stack, int32_t *next, int32_t *left) {
  myna_grammar *g = c->g;
  int64_t n = 0;
  stack[n] = root;
  next[n++] = 0;
  color[root] = 1;
  while (n > 0) {
    int32_t rule = stack[n - 1], n_calls;
    const int32_t *calls = first_calls(g, rule, &n_calls);
    if (next[n - 1] == n_calls) {
      color[rule] = 2;
      g->rules[rule].order = --*left;
      g->by_order[*left] = rule;
      n--;
      continue;
    }
    int32_t to = calls[2 * next[n - 1]++];
    if (color[to] == 1) {
      const myna__tree_rule *r = &c->t->rules[to];
      return myna__gram_err(c->err, MYNA_E_FORMAT, r->line, "rule \"%.60s\" is left-recursive", r->name);
    }
    if (color[to] == 2) continue;
    color[to] = 1;
    stack[n] = to;
    next[n++] = 0;
  }
  return 0;
}

static int find_order(compiler *c) {
  myna_grammar *g = c->g;
  size_t n = (size_t)g->n_rules, bytes = n * (2 * sizeof(int32_t) + 1);
  int32_t *stack = myna__calloc(bytes), left = (int32_t)n;
  if (!stack) return myna__err(c->err, MYNA_E_NOMEM, "no memory for a grammar");
  uint8_t *color = (uint8_t *)(stack + 2 * n);
  int rc = 0;
  for (int32_t i = 0; i < g->n_rules && rc == 0; i++)
    if (color[i] == 0) rc = visit(c, i, color, stack, stack + n, &left);
  myna__free(stack, bytes);
  return rc;
}

/* ---- jumps ---- */

/* A call at the end of a rule is a jump to what it calls: no frame, and repetitions that are written as rules look alike however many there are.
 * Not where jumps would add up to much at one place: there calls share what they have in common. *sizes [n_rules]: what a beginning reaches. */
static int find_jumps(compiler *c, int32_t *sizes) {
  myna_grammar *g = c->g;
  for (int64_t k = g->n_rules - 1; k >= 0; k--) { /* what is called comes behind its callers */
    int32_t rule = g->by_order[k], n_calls;
    const int32_t *calls = first_calls(g, rule, &n_calls);
    int64_t size = n_calls ? n_calls + g->closures[g->nodes[g->rules[rule].start].closure].n_terms : 1;
    for (int32_t i = 0; i < n_calls; i++) size += sizes[calls[2 * i]];
    TRY(burn(c, n_calls + 1));
    sizes[rule] = (int32_t)MYNA__MIN(size, 2 * JUMP_MAX);
  }
  for (int64_t i = 0; i < g->n_nodes; i++) {
    myna__gnode *n = &g->nodes[i];
    if (n->kind != MYNA__GNODE_CALL || n->b != MYNA__GNODE_RET || sizes[n->a] > JUMP_MAX) continue;
    int32_t start = g->rules[n->a].start;
    *n = (myna__gnode){
        .kind = MYNA__GNODE_SPLIT, .a = start, .b = MYNA__GNODE_FAIL, .closure = -1, .dist = n->dist, .best = start};
  }
  return 0;
}

static int jumps(compiler *c) {
  size_t bytes = (size_t)c->g->n_rules * sizeof(int32_t);
  int32_t *sizes = myna__calloc(bytes);
  int rc = sizes ? find_jumps(c, sizes) : myna__err(c->err, MYNA_E_NOMEM, "no memory for a grammar");
  myna__free(sizes, bytes);
  return rc < 0 ? rc : find_closures(c);
}

/* ---- all of it ---- */

static int compile_rules(compiler *c) {
  myna_grammar *g = c->g;
  for (int k = MYNA__GNODE_ACCEPT; k <= MYNA__GNODE_FAIL; k++)
    TRY_N(add(c, (myna__gnode){.kind = (uint8_t)k, .b = -1}));
  for (int64_t i = 0; i < g->n_rules; i++) {
    g->rules[i].start = -1;
    if (c->inlined[i] == 1) continue;
    g->rules[i].start = compile(c, c->t->rules[i].body, MYNA__GNODE_RET);
    TRY_N(g->rules[i].start);
  }
  return 0;
}

static int copy_tokens(compiler *c) {
  myna_grammar *g = c->g;
  g->tokens = myna__calloc((size_t)c->t->n_tokens * sizeof *g->tokens);
  if (c->t->n_tokens > 0 && !g->tokens) return myna__err(c->err, MYNA_E_NOMEM, "no memory for a grammar");
  g->n_tokens = c->t->n_tokens;
  for (int64_t i = 0; i < g->n_tokens; i++) {
    myna__gtoken *to = &g->tokens[i];
    *to = c->t->tokens[i];
    if (to->text && !(to->text = myna__strndup(to->text, (size_t)to->n)))
      return myna__err(c->err, MYNA_E_NOMEM, "no memory for a grammar");
  }
  return 0;
}

static int build(compiler *c, int32_t root) {
  myna_grammar *g = c->g;
  size_t n = (size_t)c->t->n_rules;
  g->n_rules = c->t->n_rules;
  g->root = root;
  g->rules = myna__calloc(n * sizeof *g->rules);
  g->by_order = myna__calloc(n * sizeof *g->by_order);
  c->inlined = myna__calloc(n);
  c->size = myna__calloc(n * sizeof *c->size);
  if (!g->rules || !g->by_order || !c->inlined || !c->size)
    return myna__err(c->err, MYNA_E_NOMEM, "no memory for a grammar");
  TRY(copy_tokens(c));
  choose_inlined(c, root);
  TRY(compile_rules(c));
  TRY(find_distances(c));
  TRY(find_closures(c));
  TRY(find_order(c));
  TRY(jumps(c));
  if (!lives(g, g->rules[root].start))
    return myna__gram_err(c->err, MYNA_E_FORMAT, c->t->rules[root].line, "no text is possible for rule \"%.60s\"",
                          c->t->rules[root].name);
  return 0;
}

int myna__gram_compile(myna_grammar **out, const myna__tree *t, int32_t root, myna_err *err) {
  *out = NULL;
  myna_grammar *g = myna__calloc(sizeof *g);
  if (!g) return myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
  atomic_store(&g->refs, 1);
  pthread_mutex_init(&g->lock, NULL);
  compiler c = {.g = g, .t = t, .err = err};
  int rc = build(&c, root);
  myna__free(c.inlined, (size_t)t->n_rules);
  myna__free(c.size, (size_t)t->n_rules * sizeof *c.size);
  if (rc < 0) {
    myna_grammar_free(g);
    return rc;
  }
  myna__gram_report(g);
  *out = g;
  return 0;
}
