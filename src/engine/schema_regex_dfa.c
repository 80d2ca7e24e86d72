/* schema_regex_dfa.c: nodes of a regular expression as a deterministic automaton, by sets of what may go on. What goes on is a node and what the lookaheads
 * passed on the way ask of the rest of the text: states of their own automata, of which each character is a step as well. */
#include "engine/schema_regex.h"
#include <stdlib.h>

enum { MAX_CLASSES = 4096, MAX_THREADS = 200000, MAX_ASKED = 16 };

/* What is asked of the rest of a text: states of lookaheads' automata, in order, each once. */
typedef struct asked {
  int n;
  struct {
    int16_t look, begin;
    int32_t state;
  } of[MAX_ASKED];
} asked;

typedef struct subset {
  myna__regex *r;
  bool begin;
  int32_t (
      *threads)[2]; /* [n_threads] node, number of what is asked; the first ones are the nodes, with nothing asked */
  int n_threads, cap_threads;
  myna__map thread_ids, asked_ids, set_ids;
  asked **asks; /* [n_asks]; 0: nothing */
  int n_asks, cap_asks;
  uint8_t *in;           /* [cap] by thread */
  int32_t *stack, *list; /* [cap]; list: [n] threads of the set that is being made */
  int n, cap;
  int32_t **sets; /* sets[i][0] members follow */
  int n_sets, cap_sets;
} subset;

/* ---- lookaheads ---- */

static int build_look(myna__regex *r, myna__rlook *l, bool begin) {
  myna__sc *c = r->c;
  myna__dfa *d = &l->dfa[begin], not_d;
  myna__regex own = {
      .c = c, .p = l->body.p, .end = l->body.p + l->body.n, .wide = r->wide != l->negative, .depth = r->depth + 1};
  if (own.depth > MYNA__R_DEPTH) return myna__sc_fail(c, MYNA_E_LIMIT, "the regular expression is nested too deeply");
  TRY(myna__regex_nodes(&own, true));
  TRY(myna__regex_dfa(&own, begin, d));
  if (l->negative) TRY(myna__dfa_complement(c, d, d));
  TRY(myna__dfa_complement(c, d, &not_d));
  TRY(myna__dfa_live(c, d, &l->live[begin]));
  return myna__dfa_live(c, &not_d, &l->open[begin]);
}

static int32_t class_of(const myna__dfa *d, uint32_t v) {
  int lo = 0, hi = d->nc;
  while (hi - lo > 1) {
    int mid = (lo + hi) / 2;
    *(d->lo[mid] <= v ? &lo : &hi) = mid;
  }
  return lo;
}

/* Asks one thing more: 0 it can be, 1 it cannot. What every text answers is not asked. */
static int ask(const subset *u, asked *a, int look, int begin, int32_t state) {
  const myna__rlook *l = &u->r->looks[look];
  if (!l->live[begin][state]) return 1;
  if (!l->open[begin][state]) return 0;
  int at = 0;
  for (; at < a->n; at++) {
    if (a->of[at].look == look && a->of[at].begin == begin && a->of[at].state == state) return 0;
    if (a->of[at].look > look || (a->of[at].look == look && a->of[at].begin > begin) ||
        (a->of[at].look == look && a->of[at].begin == begin && a->of[at].state > state))
      break;
  }
  if (a->n == MAX_ASKED) return myna__sc_fail(u->r->c, MYNA_E_LIMIT, "the regular expression has too many lookaheads");
  memmove(&a->of[at + 1], &a->of[at], (size_t)(a->n - at) * sizeof a->of[0]);
  memset(&a->of[at], 0, sizeof a->of[0]);
  a->of[at].look = (int16_t)look;
  a->of[at].begin = (int16_t)begin;
  a->of[at].state = state;
  a->n++;
  return 0;
}

/* The number of what is asked. */
static int asked_id(subset *u, const asked *a, int32_t *id) {
  myna__sc *c = u->r->c;
  size_t bytes = (size_t)a->n * sizeof a->of[0];
  *id = 0;
  if (!a->n) return 0;
  int64_t at = myna__map_get(&u->asked_ids, (const char *)a->of, bytes, -1);
  if (at < 0) {
    asked *kept = myna__sc_alloc(c, sizeof *kept);
    if (!kept) return myna__sc_nomem(c);
    *kept = *a;
    TRY(myna__sc_grow(c, (void **)&u->asks, u->n_asks, &u->cap_asks, sizeof *u->asks));
    TRY_N(myna__map_put(&u->asked_ids, (const char *)kept->of, bytes, at = u->n_asks, c->err));
    u->asks[u->n_asks++] = kept;
  }
  *id = (int32_t)at;
  return 0;
}

/* What is asked once a character has come: 1 where it is not what was asked. */
static int ask_on(const subset *u, const asked *from, uint32_t v, asked *to) {
  *to = (asked){0};
  for (int i = 0; i < from->n; i++) {
    int look = from->of[i].look, begin = from->of[i].begin;
    const myna__dfa *d = &u->r->looks[look].dfa[begin];
    int rc = ask(u, to, look, begin, d->to[from->of[i].state * d->nc + class_of(d, v)]);
    if (rc) return rc;
  }
  return myna__sc_burn(u->r->c, from->n);
}

static bool answered(const subset *u, const asked *a) {
  for (int i = 0; i < a->n; i++)
    if (!u->r->looks[a->of[i].look].dfa[a->of[i].begin].accept[a->of[i].state]) return false;
  return true;
}

/* ---- sets of threads ---- */

static int grow_threads(subset *u) {
  myna__sc *c = u->r->c;
  int more = u->cap * 2 + u->r->n;
  uint8_t *in = myna__sc_alloc(c, (size_t)more);
  int32_t *stack = myna__sc_alloc(c, (size_t)more * sizeof *stack),
          *list = myna__sc_alloc(c, (size_t)more * sizeof *list);
  int32_t(*threads)[2] = myna__sc_alloc(c, (size_t)more * sizeof *threads);
  if (!in || !stack || !list || !threads) return myna__sc_nomem(c);
  if (u->cap) {
    memcpy(in, u->in, (size_t)u->cap);
    memcpy(stack, u->stack, (size_t)u->cap * sizeof *stack);
    memcpy(list, u->list, (size_t)u->cap * sizeof *list);
    memcpy(threads, u->threads, (size_t)u->cap * sizeof *threads);
  }
  u->in = in;
  u->stack = stack;
  u->list = list;
  u->threads = threads;
  u->cap = more;
  return 0;
}

static int thread_id(subset *u, int32_t node, int32_t asks, int32_t *id) {
  const int32_t key[2] = {node, asks};
  *id = node;
  if (!asks) return 0;
  int64_t at = myna__map_get(&u->thread_ids, (const char *)key, sizeof key, -1);
  if (at < 0) {
    at = u->n_threads;
    if (at >= MAX_THREADS) return myna__sc_fail(u->r->c, MYNA_E_LIMIT, "the regular expression is too large");
    if (at >= u->cap) TRY(grow_threads(u));
    memcpy(u->threads[at], key, sizeof key); /* the map keeps where its keys are */
    TRY_N(myna__map_put(&u->thread_ids, (const char *)u->threads[at], sizeof key, at, u->r->c->err));
    u->n_threads++;
  }
  *id = (int32_t)at;
  return 0;
}

/* What is asked behind a lookahead: 1 where it cannot be. */
static int pass_look(subset *u, const myna__rnode *q, int32_t from, bool begin, int32_t *asks) {
  myna__rlook *l = &u->r->looks[q->set];
  asked a = *u->asks[from];
  if (!l->live[begin]) return myna__sc_fail(u->r->c, MYNA_E_INTERNAL, "a lookahead was not made");
  int rc = ask(u, &a, q->set, begin, 0);
  return rc ? rc : asked_id(u, &a, asks);
}

static int push(subset *u, int32_t node, int32_t asks, int *top) {
  int32_t t = -1;
  if (node < 0) return 0;
  TRY(thread_id(u, node, asks, &t));
  if (u->in[t]) return 0;
  u->in[t] = 1;
  u->stack[(*top)++] = t;
  return 0;
}

/* Adds what is reached from a thread without a character; BEGIN and END are passed where they hold. */
static int closure(subset *u, int32_t thread, bool begin, bool end) {
  int top = 0;
  TRY(push(u, u->threads[thread][0], u->threads[thread][1], &top));
  while (top) {
    int32_t at = u->stack[--top], asks = u->threads[at][1];
    const myna__rnode *q = &u->r->nodes[u->threads[at][0]];
    u->list[u->n++] = at;
    if (q->kind == MYNA__R_CHARS || (q->kind == MYNA__R_BEGIN && !begin) || (q->kind == MYNA__R_END && !end)) continue;
    int rc = q->kind == MYNA__R_LOOK ? pass_look(u, q, asks, begin, &asks) : 0;
    TRY_N(rc);
    if (rc) continue;
    TRY(push(u, q->out, asks, &top));
    TRY(push(u, q->out2, asks, &top));
  }
  return 0;
}

static int compare_int(const void *a, const void *b) { return *(const int32_t *)a - *(const int32_t *)b; }

/* Where every text is accepted from here on, nothing else counts. */
static bool keeps_all(const subset *u) {
  for (int i = 0; i < u->n; i++)
    if (u->list[i] == u->r->after) return true;
  return false;
}

/* The number of the set in u->list, which is emptied. */
static int set_id(subset *u, int32_t *id) {
  myna__sc *c = u->r->c;
  int kept = 0;
  bool all = keeps_all(u);
  for (int i = 0; i < u->n; i++) {
    u->in[u->list[i]] = 0;
    if (all && u->list[i] != u->r->after && u->list[i] != u->r->final) continue;
    const myna__rnode *q = &u->r->nodes[u->threads[u->list[i]][0]];
    bool passed = q->kind == MYNA__R_LOOK || (q->kind == MYNA__R_EMPTY && q->out >= 0);
    if (!passed) u->list[kept++] = u->list[i];
  }
  u->n = 0;
  qsort(u->list, (size_t)kept, sizeof *u->list, compare_int);
  size_t bytes = (size_t)(kept + 1) * sizeof(int32_t);
  TRY(myna__sc_burn(c, kept + 8));
  int32_t *key = myna__sc_alloc(c, bytes);
  if (!key) return myna__sc_nomem(c);
  key[0] = kept;
  if (kept) memcpy(key + 1, u->list, (size_t)kept * sizeof *key);
  int64_t at = myna__map_get(&u->set_ids, (char *)key, bytes, -1);
  if (at < 0) {
    if ((at = u->n_sets) >= MYNA__SC_STATES)
      return myna__sc_fail(c, MYNA_E_LIMIT, "the regular expression is too large");
    TRY_N(myna__map_put(&u->set_ids, (char *)key, bytes, at, c->err));
    TRY(myna__sc_grow(c, (void **)&u->sets, u->n_sets, &u->cap_sets, sizeof *u->sets));
    u->sets[u->n_sets++] = key;
  }
  *id = (int32_t)at;
  return 0;
}

/* ---- transitions ---- */

static bool has_point(const myna__regex *r, const myna__rnode *q, uint32_t v) {
  for (int i = 0; i < q->n_set; i++)
    if (v >= r->ranges[q->set + i].lo && v <= r->ranges[q->set + i].hi) return true;
  return false;
}

static int compare_u32(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static int find_classes(const myna__regex *r, uint32_t **lo, int *nc) {
  size_t n = 1, m = 1, most = 2 * (size_t)r->n_ranges + 1;
  for (int i = 0; i < 2 * r->n_looks; i++) most += (size_t)r->looks[i / 2].dfa[i % 2].nc;
  uint32_t *p = myna__sc_alloc(r->c, most * sizeof *p);
  if (!p) return myna__sc_nomem(r->c);
  for (int i = 0; i < r->n_ranges; i++) {
    p[n++] = r->ranges[i].lo;
    p[n++] = r->ranges[i].hi + 1;
  }
  for (int i = 0; i < 2 * r->n_looks; i++) {
    const myna__dfa *d = &r->looks[i / 2].dfa[i % 2];
    if (d->nc) memcpy(p + n, d->lo, (size_t)d->nc * sizeof *p);
    n += (size_t)d->nc;
  }
  qsort(p, n, sizeof *p, compare_u32);
  for (size_t i = 1; i < n; i++)
    if (p[i] != p[m - 1]) p[m++] = p[i];
  if (m > MAX_CLASSES) return myna__sc_fail(r->c, MYNA_E_LIMIT, "the regular expression has too many classes");
  *lo = p;
  *nc = (int)m;
  return 0;
}

/* Where a thread goes with a character. */
static int step_thread(subset *u, int32_t thread, uint32_t v) {
  const myna__rnode *q = &u->r->nodes[u->threads[thread][0]];
  int32_t asks = u->threads[thread][1], to = -1;
  if (q->kind != MYNA__R_CHARS || q->out < 0 || !has_point(u->r, q, v)) return 0;
  if (asks) {
    asked a;
    int rc = ask_on(u, u->asks[asks], v, &a);
    TRY_N(rc);
    if (rc) return 0;
    TRY(asked_id(u, &a, &asks));
  }
  TRY(thread_id(u, q->out, asks, &to));
  return closure(u, to, false, false);
}

static int transitions(subset *u, const uint32_t *lo, int nc, int32_t **rows) {
  myna__regex *r = u->r;
  int cap = 0;
  for (int i = 0; i < u->n_sets; i++) {
    if (i >= cap) {
      int more = cap ? cap * 2 : 32;
      int32_t *p = myna__sc_alloc(r->c, (size_t)more * (size_t)nc * sizeof *p);
      if (!p) return myna__sc_nomem(r->c);
      if (i) memcpy(p, *rows, (size_t)i * (size_t)nc * sizeof *p);
      *rows = p;
      cap = more;
    }
    const int32_t *set = u->sets[i];
    for (int k = 0; k < nc; k++) {
      int64_t work = 0;
      for (int j = 1; j <= set[0]; j++) {
        work += 1 + r->nodes[u->threads[set[j]][0]].n_set;
        TRY(step_thread(u, set[j], lo[k]));
      }
      TRY(myna__sc_burn(r->c, work + u->n));
      TRY(set_id(u, &(*rows)[i * nc + k]));
    }
  }
  return 0;
}

/* Does the search's end lie in set i once the text has ended? */
static int accepts(subset *u, int i, uint8_t *found) {
  const int32_t *set = u->sets[i];
  int rc = 0;
  *found = 0;
  /* the set's own BEGIN nodes hold at the very start only, which is set 0 or equal to it */
  for (int j = 1; j <= set[0] && rc == 0; j++) rc = closure(u, set[j], i == 0 && u->begin, true);
  for (int j = 0; j < u->n; j++) {
    const int32_t *t = u->threads[u->list[j]];
    u->in[u->list[j]] = 0;
    if (t[0] == u->r->final && answered(u, u->asks[t[1]])) *found = 1;
  }
  u->n = 0;
  return rc;
}

static int determinize(subset *u, myna__dfa *out) {
  myna__sc *c = u->r->c;
  uint32_t *lo = NULL;
  int nc = 0;
  int32_t *rows = NULL, first;
  asked none = {0}, *kept = myna__sc_alloc(c, sizeof none);
  if (!kept) return myna__sc_nomem(c);
  TRY(grow_threads(u));
  TRY(myna__sc_grow(c, (void **)&u->asks, 0, &u->cap_asks, sizeof *u->asks));
  u->asks[u->n_asks++] = kept;
  for (int i = 0; i < u->r->n; i++) u->threads[i][0] = i;
  u->n_threads = u->r->n;
  TRY(find_classes(u->r, &lo, &nc));
  TRY(closure(u, u->r->start, u->begin, false));
  TRY(set_id(u, &first));
  TRY(transitions(u, lo, nc, &rows));
  uint8_t *accept = myna__sc_alloc(c, (size_t)u->n_sets);
  if (!accept) return myna__sc_nomem(c);
  for (int i = 0; i < u->n_sets; i++) {
    TRY(myna__sc_burn(c, u->r->n / 8 + 8));
    TRY(accepts(u, i, &accept[i]));
  }
  *out = (myna__dfa){.n = u->n_sets, .nc = nc, .lo = lo, .to = rows, .accept = accept};
  return 0;
}

int myna__regex_dfa(myna__regex *r, bool begin, myna__dfa *out) {
  subset u = {.r = r, .begin = begin};
  for (int i = 0; i < r->n_looks; i++)
    for (int k = 0; k < 2; k++) TRY(build_look(r, &r->looks[i], k));
  int rc = determinize(&u, out);
  myna__map_free(&u.set_ids);
  myna__map_free(&u.thread_ids);
  myna__map_free(&u.asked_ids);
  TRY(rc);
  return myna__dfa_minimize(r->c, out);
}
