/* schema_dfa.c: deterministic automata over code points: product, complement, smallest form, lengths, sets of words. All are complete: a
 * state from which nothing is accepted stands for the texts that are out. */
#include "engine/schema.h"
#include <stdlib.h>

int myna__dfa_new(myna__sc *c, myna__dfa *d, int n, int nc) {
  if (n > MYNA__SC_STATES) {
    myna__sc_say(c, MYNA_E_LIMIT, "the automaton has too many states");
    return MYNA_E_LIMIT;
  }
  TRY(myna__sc_burn(c, (int64_t)n * nc));
  *d = (myna__dfa){.n = n, .nc = nc};
  d->to = myna__sc_alloc(c, (size_t)n * (size_t)nc * sizeof *d->to);
  d->accept = myna__sc_alloc(c, (size_t)n);
  return d->to && d->accept ? 0 : myna__sc_nomem(c);
}

typedef struct pairs {
  myna__map map;
  int32_t (*p)[2];
  int n, cap;
} pairs;

static int pair_id(myna__sc *c, pairs *q, int32_t a, int32_t b, int32_t *id) {
  int32_t *key = myna__sc_alloc(c, 8);
  if (!key) return myna__sc_nomem(c);
  key[0] = a;
  key[1] = b;
  int64_t at = myna__map_get(&q->map, (char *)key, 8, -1);
  if (at < 0) {
    at = q->n;
    if (at >= MYNA__SC_STATES) return myna__sc_fail(c, MYNA_E_LIMIT, "the automaton has too many states");
    TRY(myna__sc_grow(c, (void **)&q->p, q->n, &q->cap, sizeof *q->p));
    TRY_N(myna__map_put(&q->map, (char *)key, 8, at, c->err));
    q->p[at][0] = a;
    q->p[at][1] = b;
    q->n++;
  }
  *id = (int32_t)at;
  return 0;
}

/* The common refinement of the classes of a and b; from[k][0 or 1] is the class of each that holds class k. */
static int refine(myna__sc *c, const myna__dfa *a, const myna__dfa *b, uint32_t **lo, int32_t (**from)[2], int *nc) {
  *lo = myna__sc_alloc(c, (size_t)(a->nc + b->nc) * sizeof **lo);
  *from = myna__sc_alloc(c, (size_t)(a->nc + b->nc) * sizeof **from);
  if (!*lo || !*from) return myna__sc_nomem(c);
  int n = 0;
  for (int i = 0, j = 0; i < a->nc || j < b->nc; n++) {
    uint32_t x = i < a->nc ? a->lo[i] : UINT32_MAX, y = j < b->nc ? b->lo[j] : UINT32_MAX, at = x < y ? x : y;
    i += x == at;
    j += y == at;
    (*lo)[n] = at;
    (*from)[n][0] = i - 1;
    (*from)[n][1] = j - 1;
  }
  *nc = n;
  return 0;
}

/* The pair of what can still be accepted by both; all others are one, of which nothing is. */
static int next_pair(myna__sc *c, pairs *q, const uint8_t *live[2], int32_t a, int32_t b, int32_t *id) {
  bool both = a >= 0 && live[0][a] && live[1][b];
  return pair_id(c, q, both ? a : -1, both ? b : -1, id);
}

static int fill_product(myna__sc *c, pairs *q, const myna__dfa *a, const myna__dfa *b, int32_t (*from)[2], int nc,
                        int32_t **rows) {
  int cap = 0;
  uint8_t *of_a = NULL, *of_b = NULL;
  TRY(myna__dfa_live(c, a, &of_a));
  TRY(myna__dfa_live(c, b, &of_b));
  if (!of_a || !of_b) return myna__sc_nomem(c);
  const uint8_t *alive[2] = {of_a, of_b};
  TRY(next_pair(c, q, alive, 0, 0, &(int32_t){0}));
  for (int i = 0; i < q->n; i++) {
    TRY(myna__sc_burn(c, nc * 4));
    if (i >= cap) { /* rows of all states so far */
      int more = cap ? cap * 2 : 64;
      int32_t *p = myna__sc_alloc(c, (size_t)more * (size_t)nc * sizeof *p);
      if (!p) return myna__sc_nomem(c);
      if (i) memcpy(p, *rows, (size_t)i * (size_t)nc * sizeof *p);
      *rows = p;
      cap = more;
    }
    int32_t x = q->p[i][0], y = q->p[i][1];
    for (int k = 0; k < nc; k++) {
      int32_t to = x < 0 ? -1 : a->to[x * a->nc + from[k][0]];
      TRY(next_pair(c, q, alive, to, x < 0 ? -1 : b->to[y * b->nc + from[k][1]], &(*rows)[i * nc + k]));
    }
  }
  return 0;
}

/* Not made smallest, which takes long for chains. */
static int product(myna__sc *c, const myna__dfa *a, const myna__dfa *b, myna__dfa *out) {
  uint32_t *lo = NULL;
  int32_t(*from)[2] = NULL;
  int32_t *rows = NULL;
  int nc = 0;
  pairs q = {{0}, NULL, 0, 0};
  TRY(refine(c, a, b, &lo, &from, &nc));
  int rc = fill_product(c, &q, a, b, from, nc, &rows);
  myna__map_free(&q.map);
  TRY(rc);
  uint8_t *accept = myna__sc_alloc(c, (size_t)q.n);
  if (!accept || !rows) return myna__sc_nomem(c); /* there is a state */
  for (int i = 0; i < q.n; i++) accept[i] = q.p[i][0] >= 0 && a->accept[q.p[i][0]] ? b->accept[q.p[i][1]] : 0;
  *out = (myna__dfa){.n = q.n, .nc = nc, .lo = lo, .to = rows, .accept = accept};
  return 0;
}

int myna__dfa_product(myna__sc *c, const myna__dfa *a, const myna__dfa *b, myna__dfa *out) {
  TRY(product(c, a, b, out));
  return myna__dfa_minimize(c, out);
}

int myna__dfa_complement(myna__sc *c, const myna__dfa *a, myna__dfa *out) {
  uint8_t *accept = myna__sc_alloc(c, (size_t)a->n);
  if (!accept) return myna__sc_nomem(c);
  for (int i = 0; i < a->n; i++) accept[i] = !a->accept[i];
  *out = *a;
  out->accept = accept;
  return 0;
}

/* One round of Moore's refinement: states are alike when they and all their successors were. */
static int refine_states(myna__sc *c, const myna__dfa *d, const int32_t *part, int32_t *next, int32_t *key, int *n) {
  myna__map map = {0};
  int rc = 0, found = 0;
  size_t bytes = (size_t)(d->nc + 1) * sizeof *key;
  for (int i = 0; i < d->n && rc >= 0; i++) {
    int32_t *k = key + (size_t)i * (size_t)(d->nc + 1);
    k[0] = part[i];
    for (int j = 0; j < d->nc; j++) k[j + 1] = part[d->to[i * d->nc + j]];
    int64_t at = myna__map_get(&map, (char *)k, bytes, -1);
    if (at < 0) rc = myna__map_put(&map, (char *)k, bytes, at = found++, c->err);
    next[i] = (int32_t)at;
  }
  myna__map_free(&map);
  *n = found;
  return rc < 0 ? rc : 0;
}

int myna__dfa_minimize(myna__sc *c, myna__dfa *d) {
  enum { ROUNDS = 300 };
  int32_t *part = myna__sc_alloc(c, (size_t)d->n * sizeof *part),
          *next = myna__sc_alloc(c, (size_t)d->n * sizeof *next);
  int32_t *key = myna__sc_alloc(c, (size_t)d->n * (size_t)(d->nc + 1) * sizeof *key);
  if (!part || !next || !key) return myna__sc_nomem(c);
  for (int i = 0; i < d->n; i++) part[i] = d->accept[i];
  int n = 0, before = -1;
  for (int round = 0; n != before; round++) {
    if (round == ROUNDS) return 0; /* long chains: it stays as it is, which is right too */
    before = n;
    TRY(myna__sc_burn(c, (int64_t)d->n * (d->nc + 1)));
    TRY(refine_states(c, d, part, next, key, &n));
    int32_t *t = part;
    part = next;
    next = t;
  }
  myna__dfa m = {0};
  TRY(myna__dfa_new(c, &m, n, d->nc));
  m.lo = d->lo; /* state 0 was seen first and stays state 0 */
  for (int i = 0; i < d->n; i++) {
    m.accept[part[i]] = d->accept[i];
    for (int j = 0; j < d->nc; j++) m.to[part[i] * d->nc + j] = part[d->to[i * d->nc + j]];
  }
  *d = m;
  return 0;
}

int myna__dfa_length(myna__sc *c, int min, int max, myna__dfa *out) {
  static const uint32_t all[1] = {0};
  int last = max < 0 ? min : max + 1; /* the state of everything longer */
  TRY(myna__dfa_new(c, out, last + 1, 1));
  out->lo = all;
  for (int i = 0; i <= last; i++) {
    out->to[i] = i < last ? i + 1 : last;
    out->accept[i] = i >= min && (max < 0 || i <= max);
  }
  return 0;
}

/* ---- words ---- */

static uint32_t next_point(const char **p, const char *end) {
  uint8_t a = (uint8_t) * *p;
  int n = a < 0x80 ? 1 : a < 0xE0 ? 2 : a < 0xF0 ? 3 : 4;
  uint32_t v = n == 1 ? a : a & (0x7Fu >> n);
  for (int i = 1; i < n && *p + i < end; i++) v = v << 6 | ((uint8_t)(*p)[i] & 0x3F);
  *p += n;
  return v;
}

static int compare_u32(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static int class_of(const myna__dfa *d, uint32_t v) {
  int lo = 0, hi = d->nc;
  while (hi - lo > 1) {
    int mid = (lo + hi) / 2;
    if (d->lo[mid] <= v)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

/* Bounds of one class per code point that occurs, and of what lies between. */
static int word_classes(myna__sc *c, const myna__str *words, int n, size_t total, uint32_t **lo, int *nc) {
  uint32_t *p = myna__sc_alloc(c, (2 * total + 1) * sizeof *p);
  if (!p) return myna__sc_nomem(c);
  size_t k = 1, m = 1;
  for (int i = 0; i < n; i++)
    for (const char *s = words[i].p, *end = s + words[i].n; s < end;) {
      p[k] = next_point(&s, end);
      p[k + 1] = p[k] + 1;
      k += 2;
    }
  qsort(p, k, sizeof *p, compare_u32);
  for (size_t i = 1; i < k; i++)
    if (p[i] != p[m - 1]) p[m++] = p[i];
  *lo = p;
  *nc = (int)m;
  return 0;
}

int myna__dfa_words(myna__sc *c, const myna__str *words, int n, myna__dfa *out) {
  size_t total = 0;
  for (int i = 0; i < n; i++) total += words[i].n;
  if (total > MYNA__SC_DFA_RULES) return myna__sc_fail(c, MYNA_E_LIMIT, "too many names");
  uint32_t *lo = NULL;
  int nc = 0, used = 2; /* 0 the start, 1 everything else */
  TRY(word_classes(c, words, n, total, &lo, &nc));
  TRY(myna__dfa_new(c, out, (int)total + 2, nc));
  out->lo = lo;
  for (int i = 0; i < out->n * nc; i++) out->to[i] = 1;
  for (int i = 0; i < n; i++) {
    int at = 0;
    for (const char *s = words[i].p, *end = s + words[i].n; s < end;) {
      int32_t *to = &out->to[at * nc + class_of(out, next_point(&s, end))];
      if (*to == 1) *to = used++;
      at = *to;
    }
    out->accept[at] = 1;
  }
  out->n = used;
  return myna__dfa_minimize(c, out);
}

/* How much of mark[0..n) stands at the end when v follows its first k. */
static int stands(const uint32_t *mark, int k, uint32_t v) {
  for (int len = k + 1; len > 0; len--)
    if (mark[len - 1] == v && (len == 1 || memcmp(mark, mark + k - (len - 1), (size_t)(len - 1) * sizeof *mark) == 0))
      return len;
  return 0;
}

int myna__dfa_avoid(myna__sc *c, const char *mark, int most, myna__dfa *out) {
  enum { LONGEST = 512 };
  uint32_t points[LONGEST];
  const myna__str word = {mark, strlen(mark)};
  int n = 0, nc = 0;
  uint32_t *lo = NULL;
  for (const char *s = mark, *end = s + word.n; s < end && n < LONGEST && n < most;) points[n++] = next_point(&s, end);
  if (n == 0) return myna__sc_fail(c, MYNA_E_LIMIT, "nothing to avoid");
  TRY(word_classes(c, &word, 1, word.n, &lo, &nc));
  TRY(myna__dfa_new(c, out, n + 1, nc));
  out->lo = lo;
  for (int k = 0; k <= n; k++) { /* state k has read k of the mark; the last one has met it */
    for (int j = 0; j < nc; j++) out->to[k * nc + j] = k == n ? n : stands(points, k, lo[j]);
    int at = k;
    for (int i = 0; i + 1 < n && at < n; i++) at = stands(points, at, points[i]);
    out->accept[k] = k < n && at < n;
  }
  return 0;
}

int myna__dfa_beside(myna__sc *c, const myna__dfa *d, const char *mark, int states, const myna__dfa *more,
                     myna__dfa *out) {
  myna__dfa avoid;
  int most = states / d->n;
  TRY(myna__dfa_avoid(c, mark, MYNA__MAX(most, 1), &avoid));
  if (more) TRY(myna__dfa_product(c, &avoid, more, &avoid));
  return product(c, d, &avoid, out);
}

bool myna__dfa_accepts(const myna__dfa *d, myna__str s) {
  int at = 0;
  for (const char *p = s.p, *end = p + s.n; p < end;) at = d->to[at * d->nc + class_of(d, next_point(&p, end))];
  return d->accept[at];
}

int myna__dfa_live(myna__sc *c, const myna__dfa *d, uint8_t **live) {
  uint8_t *p = myna__sc_alloc(c, (size_t)d->n);
  if (!p) return myna__sc_nomem(c);
  memcpy(p, d->accept, (size_t)d->n);
  for (bool more = true; more;) {
    more = false;
    TRY(myna__sc_burn(c, (int64_t)d->n * d->nc));
    for (int i = d->n - 1; i >= 0; i--)
      for (int k = 0; k < d->nc && !p[i]; k++)
        if (d->lo[k] < 0x110000 && p[d->to[i * d->nc + k]]) p[i] = more = true;
  }
  *live = p;
  return 0;
}
