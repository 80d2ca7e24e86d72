/* spec.c: the index of n-grams of one job, and when a draft pays.
 *
 * Two open-addressed tables, for the last LONG and the last ngram_min tokens, say where these occurred latest (the index behind the last of them;
 * 0: empty); a list through all positions says where before that. The tokens are read from the job, so an entry is 4 bytes and equality is exact. An n-gram
 * enters when the token behind it is known: what is looked up, the end of the text, is never found as itself. Nothing is deleted but all at once.
 *
 * Of the last WALK occurrences the one with the longest equal past is followed; among equals the token that followed most often, and then the latest.
 * Where a proposal was wrong and nothing long is found, the text may go on behind the one changed token as its model does: that is proposed then.
 *
 * Whether proposals are right is learned from every token of the answer, drafted or not: a proposal costs nothing until it is computed. */
#include "engine/spec.h"

enum { N_MAX = MYNA__SPEC_MAX, NGRAM_MIN = 2, LONG = 4, N_SIZES = 2, WALK = 32 };
enum { LEN_MAX = 32, N_LENGTHS = 9, N_CHANGED = 3, N_CLASSES = N_LENGTHS + N_CHANGED, CHANGED_FOR = 4 };
enum { MEMORY = 32, PRIOR = 4, PAUSE_MIN = 2, PAUSE_MAX = 64 };

/* Times are measured and acceptance is guessed: a draft must promise so many times what it costs. */
static const double MARGIN = 1.1;

/* How often what follows a match is right, before anything is known, by length of the match: 1, 2, 3, 4, -6, -8, -12, -16, more; then behind a
 * changed token, by how many tokens are equal since: 0, 1, 2. */
static const float prior[N_CLASSES] = {0.15f, 0.3f, 0.45f, 0.55f, 0.65f, 0.75f, 0.85f, 0.9f, 0.95f, 0.35f, 0.5f, 0.6f};

struct myna__spec {
  myna_speculation s; /* defaults filled in */
  int64_t cap, n;     /* tokens taken in */
  int size[N_SIZES];  /* tokens of an n-gram, longest first */
  int shift;          /* 64 - log2 of slots per size */
  int32_t *slots;     /* [N_SIZES, n_slots] */
  int32_t *before;    /* [N_SIZES, cap] the occurrence before the one that ends there */
  uint64_t seed;      /* of this process: collisions cannot be prepared */
  int64_t at;         /* the proposal, see myna__spec_match */
  int len;
  bool changed;    /* it goes on behind a changed token */
  int64_t follow;  /* what comes behind the proposal before, 0: none */
  int since_wrong; /* tokens since a match was wrong */
  myna__spec_odds odds[N_CLASSES];
  int64_t pause, next_pause; /* tokens without drafts */
};

static int64_t slots_of(const myna__spec *p) { return (int64_t)1 << (64 - p->shift); }

/* ---- what pays ---- */

double myna__spec_rate(const myna__spec_step *s, int64_t more, double brings, double spent) {
  double base = myna__costs_of(s->costs, s->rows), cost = myna__costs_of(s->costs, s->rows + more) - base;
  return (s->useful + brings) / (base + s->spent + MARGIN * (MYNA__MAX(cost, 0) + spent));
}

myna__spec_odds myna__spec_odds_of(double guess) { return (myna__spec_odds){(float)guess * PRIOR, PRIOR}; }

void myna__spec_odds_add(myna__spec_odds *o, bool right) {
  o->hits += right;
  o->tries += 1;
  if (o->tries <= MEMORY) return;
  o->hits /= 2;
  o->tries /= 2;
}

myna__spec_credit myna__spec_credit_new(void) { return (myna__spec_credit){2}; }
void myna__spec_credit_token(myna__spec_credit *c) { c->left = MYNA__MIN(c->left + 0.008, 4); }
void myna__spec_credit_draft(myna__spec_credit *c, double spent, int n_accepted) {
  c->left = MYNA__MIN(c->left + n_accepted - spent, 4);
}

/* ---- making ---- */

static myna_speculation effective(const myna_speculation *s) {
  myna_speculation e = *s;
  if (e.n_max == 0) e.n_max = N_MAX;
  if (e.ngram_min == 0) e.ngram_min = NGRAM_MIN;
  return e;
}

static int range(const char *field, int32_t x, int32_t low, int32_t high, myna_err *err) {
  if (x >= low && x <= high) return 0;
  return myna__err(err, MYNA_E_ARG, "speculation.%s is %d, it must be %d to %d", field, x, low, high);
}

static int share(const char *field, float x, myna_err *err) {
  if (x >= 0 && x <= 1) return 0;
  return myna__err(err, MYNA_E_ARG, "speculation.%s is %g, it must be 0 to 1", field, (double)x);
}

int myna__spec_check(const myna_speculation *s, myna_err *err) {
  if (s->kind == MYNA_SPECULATION_NONE) return 0;
  if ((unsigned)s->kind & ~(unsigned)(MYNA_SPECULATION_NGRAM | MYNA_SPECULATION_DRAFT))
    return myna__err(err, MYNA_E_ARG, "speculation.kind is %d, which is none", (int)s->kind);
  TRY(range("n_max", s->n_max, 0, MYNA__SPEC_MAX, err));
  TRY(range("n_min", s->n_min, 0, s->n_max ? s->n_max : MYNA__SPEC_MAX, err));
  TRY(range("ngram_min", s->ngram_min, 0, MYNA__SPEC_NGRAM_MAX, err));
  TRY(share("p_min", s->p_min, err));
  return share("force_accept", s->force_accept, err);
}

/* log2 of the slots of one size: two thirds of them are used at most. */
static int slot_bits(int64_t cap) {
  int bits = 4;
  while (((int64_t)1 << bits) < cap + cap / 2) bits++;
  return bits;
}

static size_t slot_bytes(int64_t cap) { return N_SIZES * (sizeof(int32_t) << slot_bits(cap)); }
static size_t before_bytes(int64_t cap) { return N_SIZES * (size_t)cap * sizeof(int32_t); }

int64_t myna__spec_bytes(int64_t cap) { return (int64_t)(sizeof(myna__spec) + slot_bytes(cap) + before_bytes(cap)); }

myna__spec *myna__spec_new(const myna_speculation *s, int64_t cap) {
  if (!((unsigned)s->kind & MYNA_SPECULATION_NGRAM)) return NULL;
  myna__spec *p = myna__calloc(sizeof *p);
  if (!p) return NULL;
  p->s = effective(s);
  p->cap = cap;
  p->size[0] = MYNA__MAX(LONG, p->s.ngram_min);
  p->size[1] = p->s.ngram_min;
  p->shift = 64 - slot_bits(cap);
  p->seed = myna__hash_seed();
  p->next_pause = PAUSE_MIN;
  p->since_wrong = CHANGED_FOR;
  for (int i = 0; i < N_CLASSES; i++) p->odds[i] = myna__spec_odds_of((double)prior[i]);
  p->slots = myna__calloc(slot_bytes(cap));
  p->before = myna__alloc(before_bytes(cap)); /* written before it is read */
  if (p->slots && p->before) return p;
  myna__spec_free(p);
  return NULL;
}

void myna__spec_free(myna__spec *p) {
  if (!p) return;
  myna__free(p->slots, slot_bytes(p->cap));
  myna__free(p->before, before_bytes(p->cap));
  myna__free(p, sizeof *p);
}

/* ---- the index ---- */

static uint64_t hash_of(const myna__spec *p, const int32_t *tokens, int64_t end, int size) {
  uint64_t h = p->seed;
  for (int i = 1; i <= size; i++) {
    h = (h ^ (uint32_t)tokens[end - i]) * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
  }
  return h;
}

/* The slot of the n-gram of size[k] tokens that ends at `end`, or the empty one where it belongs. */
static int32_t *slot(const myna__spec *p, const int32_t *tokens, int64_t end, int k) {
  int size = p->size[k];
  int64_t mask = slots_of(p) - 1;
  int64_t i = (int64_t)((hash_of(p, tokens, end, size) * 0x9E3779B97F4A7C15u) >> p->shift);
  int32_t *table = p->slots + k * slots_of(p);
  for (;; i = (i + 1) & mask) {
    int32_t e = table[i];
    if (e == 0 || memcmp(tokens + e - size, tokens + end - size, (size_t)size * sizeof *tokens) == 0) return &table[i];
  }
}

/* The n-grams that end at `end`, whose next token is known, are the latest of their kind. */
static void insert(myna__spec *p, const int32_t *tokens, int64_t end) {
  for (int k = 0; k < N_SIZES; k++) {
    if (p->size[k] > end) continue;
    int32_t *s = slot(p, tokens, end, k);
    p->before[k * p->cap + end] = *s;
    *s = (int32_t)end;
  }
}

/* How many tokens before `end` are the last ones, up to LEN_MAX. */
static int equal_before(const myna__spec *p, const int32_t *tokens, int64_t end) {
  int len = 0;
  while (len < LEN_MAX && len < end && tokens[end - 1 - len] == tokens[p->n - 1 - len]) len++;
  return len;
}

/* Among n occurrences, latest first: the latest of those whose next token is the most frequent. */
static int64_t most_frequent(const int32_t *tokens, const int64_t *ends, int n) {
  int best = 0, best_count = 0;
  for (int i = 0; i < n; i++) {
    int count = 0;
    for (int k = 0; k < n; k++) count += tokens[ends[k]] == tokens[ends[i]];
    if (count > best_count) best = i, best_count = count;
  }
  return ends[best];
}

static void find_longest(myna__spec *p, const int32_t *tokens) {
  int64_t ends[WALK];
  p->at = p->len = 0;
  for (int k = 0; k < N_SIZES && !p->at; k++) {
    if (p->size[k] > p->n) continue;
    int64_t e = *slot(p, tokens, p->n, k);
    int n = 0, best = 0;
    for (int i = 0; i < WALK && e > 0; i++, e = p->before[k * p->cap + e]) {
      int len = equal_before(p, tokens, e);
      if (len > best) best = len, n = 0;
      if (len == best) ends[n++] = e;
    }
    if (n == 0) continue;
    p->at = most_frequent(tokens, ends, n);
    p->len = best;
  }
}

static void find(myna__spec *p, const int32_t *tokens) {
  find_longest(p, tokens);
  p->changed = false;
  if (!p->follow || p->since_wrong >= CHANGED_FOR || p->len >= N_CHANGED) return;
  int len = equal_before(p, tokens, p->follow);
  if (len >= N_CHANGED || len < p->len) return;
  p->at = p->follow;
  p->len = len;
  p->changed = true;
}

/* ---- learning ---- */

static int class_of(int64_t len) {
  static const int8_t upto[] = {1, 2, 3, 4, 6, 8, 12, 16};
  int i = 0;
  while (i < N_LENGTHS - 1 && len > upto[i]) i++;
  return i;
}

/* Of the i-th proposed token: once the draft is right so far, the match is longer; the tokens before the changed one count again. */
static int class_at(const myna__spec *p, int i) {
  if (p->changed && i == 0) return N_LENGTHS + p->len;
  return class_of(p->len + i + (p->changed ? 2 : 0));
}

static void observe(myna__spec *p, const int32_t *tokens) {
  if (p->pause > 0) p->pause--;
  if (!p->at) {
    if (p->follow) p->follow++;
    return;
  }
  bool right = tokens[p->at] == tokens[p->n];
  myna__spec_odds_add(&p->odds[class_at(p, 0)], right);
  p->since_wrong = right || p->changed ? MYNA__MIN(p->since_wrong + 1, CHANGED_FOR) : 0;
  p->follow = p->at + 1;
  if (right) p->pause /= 2;
}

void myna__spec_add(myna__spec *p, const int32_t *tokens, int64_t n, bool learn) {
  if (!p) return;
  assert(n <= p->cap);
  if (!learn) p->follow = 0;
  while (p->n < n) {
    if (learn) observe(p, tokens);
    if (p->n > 0) insert(p, tokens, p->n);
    p->n++;
    if (learn || p->n == n) find(p, tokens);
  }
}

void myna__spec_reset(myna__spec *p) {
  if (!p) return;
  memset(p->slots, 0, slot_bytes(p->cap));
  p->n = p->at = p->follow = 0;
}

int64_t myna__spec_match(const myna__spec *p, int *len) {
  *len = p->at ? p->len : 0;
  return p->at;
}

/* ---- drafting ---- */

int myna__spec_draft(myna__spec *p, const int32_t *tokens, int64_t room, myna__spec_step *step,
                     int32_t out[MYNA__SPEC_MAX]) {
  if (!p || !p->at || (p->pause > 0 && !p->s.always)) return 0;
  int64_t max = MYNA__MIN(room, p->s.n_max);
  double best = myna__spec_rate(step, 0, 0, 0), brings = 0, best_brings = 0, right = 1;
  int n = 0;
  for (int i = 0; i < max; i++) {
    int64_t from = p->at + i; /* behind the end of the text the draft repeats itself */
    out[i] = from < p->n ? tokens[from] : out[from - p->n];
    right *= myna__spec_odds_get(&p->odds[class_at(p, i)]);
    brings += right;
    double rate = myna__spec_rate(step, i + 1, brings, 0);
    if (rate <= best && !p->s.always) continue;
    best = rate;
    best_brings = brings;
    n = i + 1;
  }
  if (n < MYNA__MAX(p->s.n_min, 1)) return 0;
  step->rows += n;
  step->useful += best_brings;
  return n;
}

void myna__spec_told(myna__spec *p, int n_drafted, int n_accepted) {
  if (!p || n_drafted == 0) return;
  if (n_accepted > 0) {
    p->next_pause = PAUSE_MIN;
    return;
  }
  p->pause = p->next_pause;
  p->next_pause = MYNA__MIN(2 * p->next_pause, PAUSE_MAX);
}
