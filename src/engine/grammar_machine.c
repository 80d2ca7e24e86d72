/* grammar_machine.c: runs a compiled grammar byte by byte.
 *
 * A state is a set of configurations (node, frame), sorted. Who calls rule R at one position shares one frame: the set of all (node behind the call,
 * frame there). Without left recursion the calls at one position have an order in which every caller comes before what it calls, so each frame is
 * complete when it is made, and can be interned; frames know only older ones. A call at the end of a rule passes the rule's own callers on, so that
 * right recursion needs no frame. A rule that can be empty is also passed over at once, so that no frame is left at the position where it was made. */
#include "engine/grammar.h"
#include <stdlib.h>

enum { MAX_ITEMS = 1 << 24, MAX_STATES = 1 << 20, MAX_ROWS = 1 << 15, SLOTS_MIN = 64 };

static const myna__gclosure *closure_of(const myna_grammar *g, int32_t node) {
  return &g->closures[g->nodes[node].closure];
}

/* ---- interning ---- */

static int by_pair(const void *a, const void *b) {
  const myna__gpair *x = a, *y = b;
  if (x->node != y->node) return x->node < y->node ? -1 : 1;
  return x->frame < y->frame ? -1 : x->frame > y->frame;
}

/* What long alternatives lead to often lies in order already, or in the opposite one. */
static void order(myna__gpair *p, int64_t n) {
  int64_t up = 1, down = 1;
  while (up < n && by_pair(&p[up - 1], &p[up]) <= 0) up++;
  while (up < n && down < n && by_pair(&p[down - 1], &p[down]) >= 0) down++;
  if (up < n && down < n) qsort(p, (size_t)n, sizeof *p, by_pair);
  for (int64_t i = 0; up < n && down == n && i < n / 2; i++) {
    myna__gpair x = p[i];
    p[i] = p[n - 1 - i];
    p[n - 1 - i] = x;
  }
}

/* Sorted, each once; returns how many. */
static int64_t tidy(myna__gpair *p, int64_t n) {
  if (n < 2) return n;
  if (n < 8) {
    for (int64_t i = 1; i < n; i++) {
      myna__gpair x = p[i];
      int64_t k = i;
      for (; k > 0 && by_pair(&p[k - 1], &x) > 0; k--) p[k] = p[k - 1];
      p[k] = x;
    }
  } else {
    order(p, n);
  }
  int64_t k = 0;
  for (int64_t i = 1; i < n; i++)
    if (by_pair(&p[k], &p[i]) != 0) p[++k] = p[i];
  return k + 1;
}

static uint32_t hash_of(const myna__gpair *p, int64_t n) { return (uint32_t)myna__hash(p, (size_t)n * sizeof *p, 7); }

/* Doubles a table of numbers above 0; `hash` of number i lies at i * stride. */
static int rehash(int32_t **slots, int64_t *n_slots, int64_t n, const uint32_t *hash, size_t stride) {
  int64_t size = MYNA__MAX(2 * *n_slots, SLOTS_MIN);
  int32_t *s = myna__calloc((size_t)size * sizeof *s);
  if (!s) return MYNA_E_NOMEM;
  for (int64_t i = 1; i < n; i++) {
    uint32_t h = *(const uint32_t *)(const void *)((const char *)hash + (size_t)i * stride);
    while (s[h & (uint32_t)(size - 1)]) h++;
    s[h & (uint32_t)(size - 1)] = (int32_t)i;
  }
  myna__free(*slots, (size_t)*n_slots * sizeof *s);
  *slots = s;
  *n_slots = size;
  return 0;
}

static int64_t min_of(const myna__gmachine *m, const myna__gpair *p, int64_t n) {
  int64_t min = MYNA__GRAM_NEVER - 1;
  for (int64_t i = 0; i < n; i++) min = MYNA__MIN(min, m->g->nodes[p[i].node].dist + m->frames[p[i].frame].min);
  return min;
}

static int32_t new_frame(myna__gmachine *m, const myna__gpair *p, int64_t n, uint32_t hash) {
  TRY(myna__gram_grow((void **)&m->frames, &m->cap_frames, m->n_frames + 1, sizeof *m->frames, MAX_STATES, NULL));
  TRY(myna__gram_grow((void **)&m->members, &m->cap_members, m->n_members + n, sizeof *p, MAX_ITEMS, NULL));
  if (n) memcpy(m->members + m->n_members, p, (size_t)n * sizeof *p);
  m->frames[m->n_frames] =
      (myna__gframe){.first = m->n_members, .n = (int32_t)n, .hash = hash, .min = n ? min_of(m, p, n) : 0};
  m->n_members += n;
  return (int32_t)m->n_frames++;
}

/* The frame of members p[0..n), tidy. */
static int32_t frame_of(myna__gmachine *m, const myna__gpair *p, int64_t n) {
  uint32_t h = hash_of(p, n), i;
  if (2 * (m->n_frames + 1) > m->n_frame_slots)
    TRY(rehash(&m->frame_slots, &m->n_frame_slots, m->n_frames, &m->frames[0].hash, sizeof *m->frames));
  for (i = h;; i++) {
    int32_t k = m->frame_slots[i & (uint32_t)(m->n_frame_slots - 1)];
    if (k == 0) break;
    const myna__gframe *f = &m->frames[k];
    if (f->hash == h && f->n == n && memcmp(m->members + f->first, p, (size_t)n * sizeof *p) == 0) return k;
  }
  int32_t k = new_frame(m, p, n, h);
  if (k > 0) m->frame_slots[i & (uint32_t)(m->n_frame_slots - 1)] = k;
  return k;
}

int32_t myna__gmachine_intern(myna__gmachine *m, const myna__gpair *p, int64_t n) {
  uint32_t h = hash_of(p, n), i;
  if (n == 0) return MYNA__GSTATE_DEAD;
  if (2 * (m->n_states + 1) > m->n_state_slots)
    TRY(rehash(&m->state_slots, &m->n_state_slots, m->n_states, &m->states[0].hash, sizeof *m->states));
  for (i = h;; i++) {
    int32_t k = m->state_slots[i & (uint32_t)(m->n_state_slots - 1)];
    if (k == 0) break;
    const myna__gstate *s = &m->states[k];
    if (s->hash == h && s->n == n && memcmp(m->pairs + s->first, p, (size_t)n * sizeof *p) == 0) return k;
  }
  TRY(myna__gram_grow((void **)&m->states, &m->cap_states, m->n_states + 1, sizeof *m->states, MAX_STATES, NULL));
  TRY(myna__gram_grow((void **)&m->pairs, &m->cap_pairs, m->n_pairs + n, sizeof *p, MAX_ITEMS, NULL));
  memcpy(m->pairs + m->n_pairs, p, (size_t)n * sizeof *p);
  myna__gstate s = {.first = m->n_pairs, .n = (int32_t)n, .hash = h};
  for (int64_t k = 0; k < n; k++) {
    s.tokens |= m->g->nodes[p[k].node].kind == MYNA__GNODE_TOKEN;
    s.whole |= p[k].node == MYNA__GNODE_ACCEPT;
    s.escape |= p[k].node == MYNA__GNODE_ESCAPE;
  }
  m->n_pairs += n;
  m->states[m->n_states] = s;
  m->state_slots[i & (uint32_t)(m->n_state_slots - 1)] = (int32_t)m->n_states;
  return (int32_t)m->n_states++;
}

/* ---- one step ---- */

static int add_pair(myna__gpair **p, int64_t *n, int64_t *cap, int32_t node, int32_t frame) {
  TRY(myna__gram_grow((void **)p, cap, *n + 1, sizeof **p, MAX_ITEMS, NULL));
  (*p)[(*n)++] = (myna__gpair){node, frame};
  return 0;
}

/* Remembers what `work` held; few are compared one by one. */
static int grow_seen(myna__gmachine *m) {
  int64_t n = MYNA__MAX(4 * m->n_work, 256);
  while (n & (n - 1)) n += n & -n;
  uint64_t *s = myna__calloc((size_t)n * sizeof *s);
  if (!s) return MYNA_E_NOMEM;
  myna__free(m->seen, (size_t)m->n_seen * sizeof *s);
  m->seen = s;
  m->n_seen = n;
  for (int64_t i = 0; i < m->n_work; i++) {
    uint64_t key = ((uint64_t)(uint32_t)m->work[i].node << 32 | (uint32_t)m->work[i].frame) + 1;
    uint64_t h = key * 0x9E3779B97F4A7C15u >> 32;
    while (s[h & (uint64_t)(n - 1)]) h++;
    s[h & (uint64_t)(n - 1)] = key;
  }
  return 0;
}

/* A configuration to go on from, once. */
static int push(myna__gmachine *m, int32_t node, int32_t frame) {
  enum { FEW = 16 };
  if (m->n_work < FEW) {
    for (int64_t i = 0; i < m->n_work; i++)
      if (m->work[i].node == node && m->work[i].frame == frame) return 0;
    return add_pair(&m->work, &m->n_work, &m->cap_work, node, frame);
  }
  if (m->n_work == FEW || 2 * m->n_work > m->n_seen) TRY(grow_seen(m));
  uint64_t key = ((uint64_t)(uint32_t)node << 32 | (uint32_t)frame) + 1, h = key * 0x9E3779B97F4A7C15u >> 32;
  for (;; h++) {
    uint64_t x = m->seen[h & (uint64_t)(m->n_seen - 1)];
    if (x == key) return 0;
    if (x == 0) break;
  }
  TRY(add_pair(&m->work, &m->n_work, &m->cap_work, node, frame));
  m->seen[h & (uint64_t)(m->n_seen - 1)] = key;
  return 0;
}

static int add_caller(myna__gmachine *m, int32_t rule, int32_t ret, int32_t frame) {
  int32_t order = m->g->rules[rule].order;
  int64_t k = m->n_callers;
  TRY(myna__gram_grow((void **)&m->caller_next, &m->cap_caller_next, k + 1, sizeof *m->caller_next, MAX_ITEMS, NULL));
  TRY(add_pair(&m->callers, &m->n_callers, &m->cap_callers, ret, frame));
  m->caller_next[k] = m->caller_of[rule];
  m->caller_of[rule] = (int32_t)k;
  m->pending[order >> 6] |= (uint64_t)1 << (order & 63);
  return 0;
}

/* Everything that `node` reaches in `frame` without a byte; *ret: the end of its rule too. A node is looked at once per step and frame: where
 * much is optional, what many nodes reach is the same. */
static int enter(myna__gmachine *m, int32_t node, int32_t frame, bool *ret) {
  const myna__gnode *nodes = m->g->nodes;
  int64_t n = 0;
  m->stack[n++] = node;
  while (n > 0) {
    int32_t i = m->stack[--n];
    myna__gpair *last = &m->last[i];
    if (nodes[i].dist >= MYNA__GRAM_NEVER || (last->node == m->step && last->frame == frame)) continue;
    *last = (myna__gpair){m->step, frame};
    if (--m->fuel < 0) return MYNA_E_LIMIT;
    switch ((myna__gnode_kind)nodes[i].kind) {
    case MYNA__GNODE_RET: *ret = true; break;
    case MYNA__GNODE_SPLIT:
      m->stack[n++] = nodes[i].b;
      m->stack[n++] = nodes[i].a;
      break;
    case MYNA__GNODE_CALL:
      TRY(add_caller(m, nodes[i].a, nodes[i].b, frame));
      if (nodes[m->g->rules[nodes[i].a].start].dist == 0) m->stack[n++] = nodes[i].b;
      break;
    default: TRY(add_pair(&m->out, &m->n_out, &m->cap_out, i, frame));
    }
  }
  return 0;
}

static int run_work(myna__gmachine *m) {
  for (int64_t i = 0; i < m->n_work; i++) {
    myna__gpair x = m->work[i];
    bool ret = false;
    TRY(enter(m, x.node, x.frame, &ret));
    if (!ret) continue;
    int64_t first = m->frames[x.frame].first;
    for (int32_t k = 0; k < m->frames[x.frame].n; k++)
      TRY(push(m, m->members[first + k].node, m->members[first + k].frame));
  }
  return 0;
}

/* Makes the frame of all callers of a rule and enters it. `work` is free by now. */
static int run_rule(myna__gmachine *m, int32_t rule) {
  const myna_grammar *g = m->g;
  m->n_work = 0;
  for (int32_t k = m->caller_of[rule]; k >= 0; k = m->caller_next[k]) {
    myna__gpair x = m->callers[k];
    const myna__gclosure *c = closure_of(g, x.node);
    bool tail = c->n_terms == 0 && c->n_calls == 0;
    if (!tail) TRY(add_pair(&m->work, &m->n_work, &m->cap_work, x.node, x.frame));
    for (int32_t i = 0; tail && i < m->frames[x.frame].n; i++) {
      myna__gpair y = m->members[m->frames[x.frame].first + i];
      TRY(add_pair(&m->work, &m->n_work, &m->cap_work, y.node, y.frame));
    }
  }
  m->caller_of[rule] = -1;
  m->n_work = tidy(m->work, m->n_work);
  int32_t frame = frame_of(m, m->work, m->n_work);
  if (frame < 0) return frame;
  bool ret; /* its callers passed it over */
  return enter(m, g->rules[rule].start, frame, &ret);
}

static int run_rules(myna__gmachine *m) {
  int64_t words = (m->g->n_rules + 63) / 64;
  for (int64_t w = 0; w < words; w++)
    while (m->pending[w]) {
      int bit = __builtin_ctzll(m->pending[w]);
      m->pending[w] &= m->pending[w] - 1;
      TRY(run_rule(m, m->g->by_order[w * 64 + bit]));
    }
  return 0;
}

/* A failed step leaves callers behind. */
static void forget(myna__gmachine *m) {
  memset(m->pending, 0, (size_t)(m->g->n_rules + 63) / 64 * sizeof *m->pending);
  memset(m->caller_of, 0xFF, (size_t)m->g->n_rules * sizeof *m->caller_of);
}

/* The state of everything in `work`. */
static int32_t finish_step(myna__gmachine *m) {
  m->n_out = m->n_callers = 0;
  if (m->step++ == INT32_MAX) {
    memset(m->last, 0, (size_t)m->g->n_nodes * sizeof *m->last);
    m->step = 1;
  }
  int rc = run_work(m);
  if (rc == 0 && m->n_callers > 0) rc = run_rules(m);
  if (rc < 0) {
    forget(m);
    return rc;
  }
  m->n_out = tidy(m->out, m->n_out);
  return myna__gmachine_intern(m, m->out, m->n_out);
}

int32_t myna__gmachine_step(myna__gmachine *m, int32_t state, uint8_t byte) {
  const myna__gnode *nodes = m->g->nodes;
  const myna__gstate *s = &m->states[state];
  m->n_work = 0;
  m->fuel -= s->n;
  if (m->fuel < 0) return MYNA_E_LIMIT;
  for (int32_t i = 0; i < s->n; i++) {
    myna__gpair x = m->pairs[s->first + i];
    for (int32_t k = x.node; k >= 0 && nodes[k].kind == MYNA__GNODE_BYTE; k = nodes[k].b)
      if (byte >= nodes[k].lo && byte <= nodes[k].hi && nodes[nodes[k].a].dist < MYNA__GRAM_NEVER)
        TRY(push(m, nodes[k].a, x.frame));
  }
  return m->n_work ? finish_step(m) : MYNA__GSTATE_DEAD;
}

int32_t myna__gmachine_token(myna__gmachine *m, int32_t state, const int32_t *ids, int32_t id) {
  const myna__gstate *s = &m->states[state];
  m->n_work = 0;
  for (int32_t i = 0; i < s->n; i++) {
    myna__gpair x = m->pairs[s->first + i];
    const myna__gnode *k = &m->g->nodes[x.node];
    if (k->kind == MYNA__GNODE_TOKEN && (ids[k->b] == id) != k->lo && m->g->nodes[k->a].dist < MYNA__GRAM_NEVER)
      TRY(push(m, k->a, x.frame));
  }
  return m->n_work ? finish_step(m) : MYNA__GSTATE_DEAD;
}

int32_t myna__gmachine_both(myna__gmachine *m, int32_t a, int32_t b) {
  if (a <= 0 || b <= 0) return a < 0 || b < 0 ? MYNA__MIN(a, b) : a + b; /* DEAD is 0 */
  m->n_out = 0;
  for (int k = 0; k < 2; k++) {
    const myna__gstate *s = &m->states[k ? b : a];
    for (int32_t i = 0; i < s->n; i++)
      TRY(add_pair(&m->out, &m->n_out, &m->cap_out, m->pairs[s->first + i].node, m->pairs[s->first + i].frame));
  }
  return myna__gmachine_intern(m, m->out, tidy(m->out, m->n_out));
}

/* Bytes that no configuration takes are known at once: most of a walk's steps go nowhere. */
static void open_row(myna__gmachine *m, const myna__gstate *s, int32_t *row) {
  const myna__gnode *nodes = m->g->nodes;
  memset(row, 0, 256 * sizeof *row); /* DEAD */
  m->fuel -= s->n;
  for (int32_t i = 0; i < s->n; i++)
    for (int32_t k = m->pairs[s->first + i].node; k >= 0 && nodes[k].kind == MYNA__GNODE_BYTE; k = nodes[k].b)
      if (nodes[nodes[k].a].dist < MYNA__GRAM_NEVER)
        for (int b = nodes[k].lo; b <= nodes[k].hi; b++) row[b] = -1;
}

int32_t myna__gmachine_next(myna__gmachine *m, int32_t state, uint8_t byte) {
  int32_t *row = m->states[state].row;
  if (!row && m->n_rows < myna__gram_part(MAX_ROWS * (int64_t)1024, 8) / 1024 &&
      (row = myna__alloc(256 * sizeof *row))) {
    open_row(m, &m->states[state], row);
    m->states[state].row = row;
    m->n_rows++;
  }
  if (!row) return myna__gmachine_step(m, state, byte);
  if (row[byte] < 0) {
    int32_t to = myna__gmachine_step(m, state, byte);
    if (to < 0) return to;
    row[byte] = to;
  }
  return row[byte];
}

/* ---- making and freeing ---- */

static int init(myna__gmachine *m) {
  const myna_grammar *g = m->g;
  m->caller_of = myna__alloc((size_t)g->n_rules * sizeof *m->caller_of);
  m->pending = myna__alloc((size_t)(g->n_rules + 63) / 64 * sizeof *m->pending);
  m->last = myna__calloc((size_t)g->n_nodes * sizeof *m->last);
  m->stack = myna__alloc((2 * (size_t)g->n_nodes + 2) * sizeof *m->stack);
  m->fuel = INT64_MAX;
  if (!m->caller_of || !m->pending || !m->last || !m->stack) return MYNA_E_NOMEM;
  forget(m);
  TRY_N(new_frame(m, NULL, 0, 0)); /* number 0 of each is never looked for */
  TRY(myna__gram_grow((void **)&m->states, &m->cap_states, 1, sizeof *m->states, MAX_STATES, NULL));
  m->states[m->n_states++] = (myna__gstate){0};
  TRY_N(frame_of(m, &(myna__gpair){MYNA__GNODE_ACCEPT, MYNA__GFRAME_BOTTOM}, 1));
  TRY_N(frame_of(m, &(myna__gpair){MYNA__GNODE_ESCAPE, MYNA__GFRAME_BOTTOM}, 1));
  m->n_work = 0;
  TRY(push(m, g->rules[g->root].start, MYNA__GFRAME_ROOT));
  m->start = finish_step(m);
  return m->start < 0 ? m->start : 0;
}

int myna__gmachine_init(myna__gmachine *m, const myna_grammar *g, myna_err *err) {
  *m = (myna__gmachine){.g = g};
  int rc = init(m);
  if (rc == 0) return 0;
  myna__gmachine_free(m);
  return myna__err(err, rc, rc == MYNA_E_NOMEM ? "no memory to run a grammar" : "the grammar is too large to run");
}

void myna__gmachine_free(myna__gmachine *m) {
  if (!m->g) return;
  for (int64_t i = 0; i < m->n_states; i++) myna__free(m->states[i].row, 256 * sizeof(int32_t));
  myna__free(m->frames, (size_t)m->cap_frames * sizeof *m->frames);
  myna__free(m->members, (size_t)m->cap_members * sizeof *m->members);
  myna__free(m->states, (size_t)m->cap_states * sizeof *m->states);
  myna__free(m->pairs, (size_t)m->cap_pairs * sizeof *m->pairs);
  myna__free(m->frame_slots, (size_t)m->n_frame_slots * sizeof *m->frame_slots);
  myna__free(m->state_slots, (size_t)m->n_state_slots * sizeof *m->state_slots);
  myna__free(m->work, (size_t)m->cap_work * sizeof *m->work);
  myna__free(m->out, (size_t)m->cap_out * sizeof *m->out);
  myna__free(m->callers, (size_t)m->cap_callers * sizeof *m->callers);
  myna__free(m->caller_next, (size_t)m->cap_caller_next * sizeof *m->caller_next);
  myna__free(m->caller_of, (size_t)m->g->n_rules * sizeof *m->caller_of);
  myna__free(m->pending, (size_t)(m->g->n_rules + 63) / 64 * sizeof *m->pending);
  myna__free(m->seen, (size_t)m->n_seen * sizeof *m->seen);
  myna__free(m->last, (size_t)m->g->n_nodes * sizeof *m->last);
  myna__free(m->stack, (2 * (size_t)m->g->n_nodes + 2) * sizeof *m->stack);
  *m = (myna__gmachine){0};
}

int64_t myna__gmachine_bytes(const myna__gmachine *m) {
  return m->cap_frames * (int64_t)sizeof *m->frames + m->cap_states * (int64_t)sizeof *m->states +
         (m->cap_members + m->cap_pairs) * (int64_t)sizeof *m->pairs + m->n_rows * 1024;
}

int64_t myna__gmachine_held(const myna__gmachine *m) {
  return myna__gmachine_bytes(m) + (int64_t)sizeof *m +
         (m->n_frame_slots + m->n_state_slots + m->cap_caller_next) * (int64_t)sizeof(int32_t) +
         (m->cap_work + m->cap_out + m->cap_callers) * (int64_t)sizeof(myna__gpair) +
         m->n_seen * (int64_t)sizeof *m->seen + m->g->n_rules * 4 +
         m->g->n_nodes * (int64_t)(sizeof *m->last + 2 * sizeof *m->stack);
}

/* Copies the frames that map marks, and what they know, into n; map[old frame] is the new one. Frames know only older ones: marks go down, copies up. */
static int copy_frames(const myna__gmachine *m, myna__gmachine *n, int32_t *map) {
  for (int64_t f = m->n_frames - 1; f >= 0; f--)
    for (int32_t i = 0; map[f] && i < m->frames[f].n; i++) map[m->members[m->frames[f].first + i].frame] = 1;
  for (int64_t f = 0; f < m->n_frames; f++) {
    if (!map[f] || f <= MYNA__GFRAME_UNKNOWN) {
      map[f] = (int32_t)MYNA__MIN(f, MYNA__GFRAME_UNKNOWN);
      continue;
    }
    n->n_work = 0;
    for (int32_t i = 0; i < m->frames[f].n; i++) {
      myna__gpair x = m->members[m->frames[f].first + i];
      TRY(add_pair(&n->work, &n->n_work, &n->cap_work, x.node, map[x.frame]));
    }
    map[f] = frame_of(n, n->work, tidy(n->work, n->n_work));
    if (map[f] < 0) return map[f];
  }
  return 0;
}

static int32_t copy_state(const myna__gmachine *m, myna__gmachine *n, int32_t state, const int32_t *map) {
  const myna__gstate *s = &m->states[state];
  n->n_work = 0;
  for (int32_t i = 0; i < s->n; i++)
    TRY(add_pair(&n->work, &n->n_work, &n->cap_work, m->pairs[s->first + i].node, map[m->pairs[s->first + i].frame]));
  return myna__gmachine_intern(n, n->work, tidy(n->work, n->n_work));
}

int myna__gmachine_compact(myna__gmachine *m, int32_t *const *states, int64_t n_states) {
  myna__gmachine n;
  TRY(myna__gmachine_init(&n, m->g, NULL));
  size_t bytes = (size_t)m->n_frames * sizeof(int32_t), list_bytes = (size_t)(n_states + 1) * sizeof(int32_t);
  int32_t *map = myna__calloc(bytes), *to = myna__alloc(list_bytes), rc = map && to ? 0 : MYNA_E_NOMEM;
  for (int64_t k = 0; k < n_states && rc == 0; k++)
    for (int32_t i = 0; *states[k] > 0 && i < m->states[*states[k]].n; i++)
      map[m->pairs[m->states[*states[k]].first + i].frame] = 1;
  if (rc == 0) rc = copy_frames(m, &n, map);
  for (int64_t k = 0; k < n_states && rc >= 0; k++) {
    to[k] = *states[k] > 0 ? rc = copy_state(m, &n, *states[k], map) : *states[k];
    if (rc > 0) rc = 0;
  }
  for (int64_t k = 0; k < n_states && rc == 0; k++) *states[k] = to[k];
  myna__free(map, bytes);
  myna__free(to, list_bytes);
  if (rc == 0) {
    n.fuel = m->fuel;
    myna__gmachine_free(m);
    *m = n;
  } else {
    myna__gmachine_free(&n);
  }
  return rc;
}

/* ---- the shortest end ---- */

enum { CLOSE_MAX = 1 << 20 };

/* The configuration of p[0..n) that is nearest to the end. */
static myna__gpair nearest(const myna__gmachine *m, const myna__gpair *p, int64_t n) {
  myna__gpair best = p[0];
  int64_t least = INT64_MAX;
  for (int64_t i = 0; i < n; i++) {
    int64_t d = m->g->nodes[p[i].node].dist + m->frames[p[i].frame].min;
    if (d < least) least = d, best = p[i];
  }
  return best;
}

/* Follows the shortest way from node to the end of its rule; calls on the way wait on a stack. */
static int close_rule(const myna__gmachine *m, int32_t node, myna__buf *out, myna__gpair **stack, int64_t *cap) {
  const myna__gnode *nodes = m->g->nodes;
  int64_t n = 0, steps = 0;
  for (;;) {
    const myna__gnode *x = &nodes[node];
    if (out->len > CLOSE_MAX || ++steps > 64 * (int64_t)CLOSE_MAX) return MYNA_E_LIMIT;
    if (x->kind <= MYNA__GNODE_RET) {
      if (n == 0) return 0;
      node = (*stack)[--n].node;
    } else if (x->kind == MYNA__GNODE_CALL) {
      TRY(add_pair(stack, &n, cap, x->b, 0));
      node = m->g->rules[x->a].start;
    } else {
      char byte = (char)x->lo;
      if (x->kind == MYNA__GNODE_BYTE && x->best == x->a) myna__buf_add(out, &byte, 1);
      if (x->kind == MYNA__GNODE_TOKEN && !x->lo && m->g->tokens[x->b].text)
        myna__buf_add(out, m->g->tokens[x->b].text, (size_t)m->g->tokens[x->b].n);
      node = x->best;
    }
  }
}

int myna__gmachine_close(const myna__gmachine *m, int32_t state, myna__buf *out, myna_err *err) {
  const myna__gstate *s = &m->states[state];
  myna__gpair *stack = NULL;
  int64_t cap = 0;
  int rc = s->n ? 0 : myna__err(err, MYNA_E_ARG, "the text is no beginning of any text of the grammar");
  const myna__gpair *p = m->pairs + s->first;
  for (int64_t n = s->n; rc == 0 && n > 0;) {
    myna__gpair x = nearest(m, p, n);
    rc = close_rule(m, x.node, out, &stack, &cap);
    p = m->members + m->frames[x.frame].first;
    n = x.frame == MYNA__GFRAME_BOTTOM ? 0 : m->frames[x.frame].n;
  }
  myna__free(stack, (size_t)cap * sizeof *stack);
  if (rc == 0 && out->failed) rc = MYNA_E_NOMEM;
  if (rc == MYNA_E_LIMIT) return myna__err(err, rc, "the shortest end has more than %d bytes", CLOSE_MAX);
  return rc < 0 ? myna__err(err, rc, "no memory for the end of a text") : 0;
}
