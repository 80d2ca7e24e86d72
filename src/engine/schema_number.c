/* schema_number.c: numbers within bounds that are multiples of something, as automata over their decimal digits. A state holds how the digits
 * so far compare with each bound's, and their remainder. Texts have no exponents and at most 15 digits beyond what the bounds have: so many
 * survive every reader that makes doubles of them. */
#include "engine/schema.h"

enum { DIGITS = 15, LONG_DIGITS = 18, MAX_MULTIPLE = 10000, MAX_COUNTED = 100, MAX_POINT = 36 };

int myna__num_add_min(myna__numset *s, const myna__dec *d, bool exclusive) {
  int order = s->has_min ? myna__dec_cmp(d, &s->min) : 1;
  if (order < 0) return 0;
  s->ex_min = order ? exclusive : s->ex_min || exclusive;
  s->min = *d;
  s->has_min = true;
  return 0;
}

int myna__num_add_max(myna__numset *s, const myna__dec *d, bool exclusive) {
  int order = s->has_max ? myna__dec_cmp(d, &s->max) : -1;
  if (order > 0) return 0;
  s->ex_max = order ? exclusive : s->ex_max || exclusive;
  s->max = *d;
  s->has_max = true;
  return 0;
}

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t t = a % b;
    a = b;
    b = t;
  }
  return a;
}

static int64_t power10(int n) {
  int64_t v = 1;
  while (n-- > 0) v *= 10;
  return v;
}

static int64_t power5(int n) {
  int64_t v = 1;
  while (n-- > 0) v *= 5;
  return v;
}

/* d = *v / 10^*scale */
static bool scaled(const myna__dec *d, int64_t *v, int *scale) {
  *v = 0;
  *scale = d->n > d->point ? d->n - d->point : 0;
  if (d->neg || !d->n || d->point > DIGITS || *scale > DIGITS || d->n > DIGITS) return false;
  for (int i = 0; i < d->n || i < d->point; i++) *v = *v * 10 + (i < d->n ? d->d[i] : 0);
  return *v > 0;
}

int myna__num_add_multiple(myna__sc *c, myna__numset *s, const myna__dec *d) {
  int64_t v, old = s->multiple ? s->multiple : 1;
  int scale;
  if (!scaled(d, &v, &scale)) return myna__sc_fail(c, MYNA_E_LIMIT, "this multipleOf is not supported");
  if (v % power5(scale)) /* 0.07 / 0.01 is no integer to those who divide doubles */
    return myna__sc_fail(c, MYNA_E_UNSUPPORTED, "only multiples that are exact as binary fractions are supported");
  if (s->integer) { /* an integer x is a multiple of v / p iff it is one of v / gcd(v, p) */
    v /= gcd(v, power10(scale));
    scale = 0;
  }
  int64_t own = v;
  int both = MYNA__MAX(scale, s->scale);
  if (!myna__mul_ok(v, power10(both - scale), &v) ||
      !myna__mul_ok(old, power10(s->multiple ? both - s->scale : 0), &old))
    return myna__sc_fail(c, MYNA_E_LIMIT, "multipleOf is too large");
  if (!myna__mul_ok(v / gcd(v, old), s->multiple ? old : 1, &v) || v > MAX_MULTIPLE)
    return myna__sc_fail(c, MYNA_E_LIMIT, "multipleOf is too large");
  if (s->must) { /* what it is no multiple of came before */
    if (!myna__mul_ok(own / gcd(own, s->must), s->must, &s->must))
      return myna__sc_fail(c, MYNA_E_LIMIT, "multipleOf is too large");
    s->never |= both > 0;
  }
  s->multiple = v;
  s->scale = both;
  return 0;
}

/* The common multiple is what remainders are taken of; what is to divide a number, and what is not, divide it. */
int myna__num_add_apart(myna__numset *s, const myna__dec *d) {
  int64_t v, old = s->multiple ? s->multiple : 1;
  int scale;
  if (!s->must) s->must = old;
  s->never = !scaled(d, &v, &scale) || scale || s->scale || s->n_apart == (int)MYNA__COUNT(s->apart) ||
             !myna__mul_ok(v / gcd(v, old), old, &old) || old > MAX_MULTIPLE;
  if (s->never) return 0;
  s->integer = true;
  s->multiple = old;
  s->apart[s->n_apart++] = v;
  return 0;
}

bool myna__num_empty(const myna__numset *s) {
  if (s->never) return true;
  if (!s->has_min || !s->has_max) return false;
  int order = myna__dec_cmp(&s->min, &s->max);
  return order > 0 || (order == 0 && (s->ex_min || s->ex_max));
}

int myna__num_is_multiple(const myna__dec *d, const myna__dec *m) {
  int64_t v;
  int scale;
  if (!d->n) return 1;
  if (!scaled(m, &v, &scale)) return -1;
  if (d->n - d->point > scale) { /* more digits after the point than the multiple has: a multiple ends where it does */
    return 0;
  }
  int64_t rem = 0;
  int n = d->point + scale;
  if (n > 4096) return -1;
  for (int i = 0; i < n; i++) rem = (int64_t)(((__int128)rem * 10 + (i < d->n ? d->d[i] : 0)) % v);
  return rem == 0;
}

/* ---- the automaton ---- */

typedef enum phase { START, MINUS, ZERO, WHOLE, POINT, FRACTION, DEAD } phase;
typedef struct state {
  uint8_t phase, neg, whole, fraction, nonzero;
  int8_t order[2]; /* of the digits so far against the lower and upper bound of the magnitude */
  uint8_t part;    /* a digit behind the point is not zero */
  int32_t rem;
} state;
typedef struct side { /* magnitudes of one sign */
  bool any, has[2], ex[2];
  myna__dec at[2];
} side;
typedef struct machine {
  const myna__numset *s;
  side sides[2];
  int digits, fraction; /* most */
  int needed;           /* digits after the point that the bounds have */
} machine;

static int digit_at(const myna__dec *d, int i) { return i >= 0 && i < d->n ? d->d[i] : 0; }
static int whole_digits(const myna__dec *d) { return MYNA__MAX(d->point, 0); }

/* The whole part is complete: its length decides before its digits. */
static void end_whole(const machine *m, state *s) {
  const side *b = &m->sides[s->neg];
  for (int k = 0; k < 2; k++) {
    int want = whole_digits(&b->at[k]);
    if (b->has[k] && s->whole != want) s->order[k] = s->whole < want ? -1 : 1;
  }
}

static state step_digit(const machine *m, state s, int digit) {
  const side *b = &m->sides[s.neg];
  const state dead = {.phase = DEAD};
  bool fraction = s.phase == POINT || s.phase == FRACTION;
  if (s.phase == ZERO || (fraction && s.fraction >= m->fraction)) return dead;
  if (fraction && !m->s->multiple && s.whole + s.fraction >= DIGITS && s.fraction >= m->needed) return dead;
  if (!fraction && s.phase != WHOLE && digit == 0) {
    s.phase = ZERO;
    end_whole(m, &s);
    return s;
  }
  for (int k = 0; k < 2; k++) {
    int i = fraction ? b->at[k].point + s.fraction : s.whole;
    int limit = fraction ? 99 : whole_digits(&b->at[k]);
    if (!b->has[k] || s.order[k] || i >= limit) continue;
    int other = digit_at(&b->at[k], i);
    s.order[k] = digit < other ? -1 : digit > other;
  }
  s.nonzero |= digit != 0;
  s.part |= fraction && digit != 0;
  if (m->s->multiple) s.rem = (int32_t)(((int64_t)s.rem * 10 + digit) % m->s->multiple);
  if (fraction)
    s.fraction++, s.phase = FRACTION;
  else if (s.whole >= m->digits) {
    if (m->s->multiple <= MAX_COUNTED) return dead;
    s.order[0] = s.order[1] = 0; /* longer than every bound: the length decides */
  } else
    s.whole++, s.phase = WHOLE;
  return s;
}

static state step(const machine *m, state s, char ch) {
  const state dead = {.phase = DEAD};
  if (ch == '-') {
    if (s.phase != START || !m->sides[1].any) return dead;
    s.phase = MINUS;
    s.neg = 1;
    return s;
  }
  if (s.phase == DEAD || (s.phase == START && !m->sides[0].any && ch != '-')) return dead;
  if (ch != '.') return step_digit(m, s, ch - '0');
  if (m->s->integer || !m->fraction || (s.phase != ZERO && s.phase != WHOLE)) return dead;
  if (s.phase == WHOLE) end_whole(m, &s);
  s.phase = POINT;
  return s;
}

static bool accepts(const machine *m, state s) {
  const side *b = &m->sides[s.neg];
  if (s.phase != ZERO && s.phase != WHOLE && s.phase != FRACTION) return false;
  if (s.neg && !s.nonzero) return false; /* -0 is left out */
  if (s.phase == WHOLE) end_whole(m, &s);
  for (int k = 0; k < 2; k++) {
    if (!b->has[k]) continue;
    int order = s.order[k];
    if (!order && b->at[k].n > b->at[k].point + s.fraction) order = -1; /* the bound goes on */
    if (!order && b->ex[k]) return false;
    if (k ? order > 0 : order < 0) return false;
  }
  if (m->s->fraction && !s.part) return false;
  if (!m->s->multiple) return true;
  int64_t rem = s.rem;
  for (int i = s.fraction; i < m->s->scale; i++) rem = rem * 10 % m->s->multiple;
  for (int i = 0; i < m->s->n_apart; i++)
    if (rem % m->s->apart[i] == 0) return false;
  return m->s->must ? rem % m->s->must == 0 : rem == 0;
}

static int set_bound(myna__sc *c, bool open, side *s, int k, const myna__dec *d, bool exclusive) {
  if (k == 1 && d->point > MAX_POINT && !open) return 0; /* no text is so long */
  if (d->point > MAX_POINT || d->n - d->point > MAX_POINT)
    return myna__sc_fail(c, MYNA_E_LIMIT, "the bound has too many digits");
  s->has[k] = true;
  s->ex[k] = exclusive;
  s->at[k] = *d;
  return 0;
}

static int set_sides(myna__sc *c, machine *m) {
  const myna__numset *s = m->s;
  m->sides[0].any = !(s->has_max && s->max.neg);
  m->sides[1].any = !(s->has_min && !s->min.neg);
  if (s->has_min && !s->min.neg && s->min.n) TRY(set_bound(c, s->multiple, &m->sides[0], 0, &s->min, s->ex_min));
  if (s->has_min && !s->min.n && s->ex_min) TRY(set_bound(c, s->multiple, &m->sides[0], 0, &s->min, true));
  if (s->has_max && !s->max.neg) TRY(set_bound(c, s->multiple, &m->sides[0], 1, &s->max, s->ex_max));
  if (s->has_min && s->min.neg) TRY(set_bound(c, s->multiple, &m->sides[1], 1, &s->min, s->ex_min));
  if (s->has_max && s->max.neg) TRY(set_bound(c, s->multiple, &m->sides[1], 0, &s->max, s->ex_max));
  /* digits times remainders would be too many states; integers that are only compared are read exactly as far as 64 bits go */
  m->digits = s->multiple > MAX_COUNTED ? 0 : s->integer && !s->multiple ? LONG_DIGITS : DIGITS;
  for (int k = 0; k < 4; k++) {
    const side *b = &m->sides[k / 2];
    if (!b->has[k % 2]) continue;
    int n = whole_digits(&b->at[k % 2]), f = b->at[k % 2].n - b->at[k % 2].point;
    m->digits = MYNA__MAX(m->digits, n + (s->multiple ? 1 : 0));
    m->needed = MYNA__MAX(m->needed, f);
  }
  m->digits = MYNA__MAX(m->digits, 1);
  m->fraction = s->multiple ? s->scale : MYNA__MAX(m->needed, DIGITS);
  return 0;
}

static const uint32_t alphabet[] = {0, '-', '.', '/', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':'};
static const char chars[] = " -. 0123456789 ";

typedef struct builder {
  myna__map map;
  state **states;
  int n, cap;
} builder;

static int state_id(myna__sc *c, builder *b, const state *s, int32_t *id) {
  int64_t at = myna__map_get(&b->map, (const char *)s, sizeof *s, -1);
  if (at < 0) {
    state *kept = myna__sc_alloc(c, sizeof *kept);
    if (!kept) return myna__sc_nomem(c);
    memcpy(kept, s, sizeof *s);
    if ((at = b->n) >= MYNA__SC_STATES)
      return myna__sc_fail(c, MYNA_E_LIMIT, "bounds and multipleOf together are too large");
    TRY(myna__sc_grow(c, (void **)&b->states, b->n, &b->cap, sizeof *b->states));
    TRY_N(myna__map_put(&b->map, (char *)kept, sizeof *kept, at, c->err));
    b->states[b->n++] = kept;
  }
  *id = (int32_t)at;
  return 0;
}

static int build(myna__sc *c, const machine *m, builder *b, myna__dfa *out) {
  enum { NC = MYNA__COUNT(alphabet) };
  state s;
  memset(&s, 0, sizeof s); /* padding too: states are compared by bytes */
  int32_t *rows = myna__sc_alloc(c, (size_t)MYNA__SC_STATES * NC * sizeof *rows), first;
  if (!rows) return myna__sc_nomem(c);
  TRY(state_id(c, b, &s, &first));
  for (int i = 0; i < b->n; i++)
    for (int k = 0; k < NC; k++) {
      s = *b->states[i];
      if (chars[k] == ' ')
        s = (state){.phase = DEAD};
      else
        s = step(m, s, chars[k]);
      TRY(myna__sc_burn(c, 2));
      TRY(state_id(c, b, &s, &rows[i * NC + k]));
    }
  uint8_t *accept = myna__sc_alloc(c, (size_t)b->n);
  if (!accept) return myna__sc_nomem(c);
  for (int i = 0; i < b->n; i++) accept[i] = accepts(m, *b->states[i]);
  *out = (myna__dfa){.n = b->n, .nc = NC, .lo = alphabet, .to = rows, .accept = accept};
  return 0;
}

int myna__num_dfa(myna__sc *c, const myna__numset *s, myna__dfa *out) {
  machine m = {.s = s};
  builder b = {{0}, NULL, 0, 0};
  TRY(set_sides(c, &m));
  int rc = build(c, &m, &b, out);
  myna__map_free(&b.map);
  TRY(rc);
  return myna__dfa_minimize(c, out);
}
