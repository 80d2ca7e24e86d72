/* spec.c: the index of n-grams of one job, and when a draft pays.
 *
 * The index has one open-addressed table per n-gram size. A slot holds where the latest occurrence of an n-gram ends (the index behind its last
 * token; 0: empty); its tokens are read from the job, so a slot is 4 bytes and equality is exact. An n-gram enters when the token behind it is
 * known: what is looked up, the end of the text, is never found as itself. Nothing is deleted but all at once.
 *
 * Whether proposals are right is learned from every token of the answer, drafted or not: a proposal costs nothing until it is computed. */
#include "engine/spec.h"
#include <math.h>

enum { N_MAX = 8, NGRAM_MAX = 3, NGRAM_MIN = 2 }; /* defaults */
enum { LEN_MAX = 32, N_CLASSES = 9, MEMORY = 32, PRIOR = 4, PAUSE_MIN = 2, PAUSE_MAX = 64 };

/* Extra time of row m + 1 of a step as a share of a step of one row: the weights are read once for all, then arithmetic shows. (llama 1B Q4_K, two
 * AVX-512 threads: steps of 1, 4, 5, 6, 8, 12 rows take 1, 1.2, 1.32, 1.35, 1.63, 2.1; less with Q8_0.) Machines differ: a draft must promise
 * MARGIN times what it seems to cost. */
static const double extra_cost[] = {1, 0.09, 0.07, 0.06, 0.12, 0.06, 0.13};
static const double MARGIN = 1.2;
/* Of the weights that a token of a mixture of experts is multiplied with, about so much are experts' (Mixtral 0.9, Qwen3-30B-A3B 0.8). */
static const double EXPERT_SHARE = 0.85;

/* How often what follows a match is right, before anything is known, by length of the match: 1, 2, 3, 4, -6, -8, -12, -16, more. */
static const float prior[N_CLASSES] = {0.15f, 0.3f, 0.45f, 0.55f, 0.65f, 0.75f, 0.85f, 0.9f, 0.95f};

struct myna__spec {
  myna_speculation s; /* defaults filled in */
  int64_t cap, n;     /* tokens taken in */
  int n_sizes;
  int shift;                 /* 64 - log2 of slots per size */
  int32_t *slots;            /* [n_sizes, n_slots] */
  uint64_t seed;             /* of this process: collisions cannot be prepared */
  int64_t at;                /* the match, see myna__spec_match */
  int len;                   /* of it */
  float hits[N_CLASSES];     /* decaying counts of proposals that were right */
  float tries[N_CLASSES];    /* and of all */
  int64_t pause, next_pause; /* tokens without drafts */
};

static int64_t slots_of(const myna__spec *p) { return (int64_t)1 << (64 - p->shift); }

/* ---- making ---- */

static myna_speculation effective(const myna_speculation *s) {
  myna_speculation e = *s;
  if (e.n_max == 0) e.n_max = MYNA__MAX(N_MAX, e.n_min);
  if (e.ngram_max == 0) e.ngram_max = MYNA__MAX(NGRAM_MAX, e.ngram_min);
  if (e.ngram_min == 0) e.ngram_min = MYNA__MIN(NGRAM_MIN, e.ngram_max);
  return e;
}

static int range(const char *field, int32_t x, int32_t low, int32_t high, myna_err *err) {
  if (x >= low && x <= high) return 0;
  return myna__err(err, MYNA_E_ARG, "speculation.%s is %d, it must be %d to %d", field, x, low, high);
}

int myna__spec_check(const myna_speculation *s, myna_err *err) {
  if (s->kind == MYNA_SPECULATION_NONE) return 0;
  if (s->kind != MYNA_SPECULATION_NGRAM)
    return myna__err(err, MYNA_E_ARG, "speculation.kind is %d, which is none", (int)s->kind);
  TRY(range("n_max", s->n_max, 0, MYNA__SPEC_MAX, err));
  TRY(range("n_min", s->n_min, 0, s->n_max ? s->n_max : MYNA__SPEC_MAX, err));
  TRY(range("ngram_max", s->ngram_max, 0, MYNA__SPEC_NGRAM_MAX, err));
  return range("ngram_min", s->ngram_min, 0, s->ngram_max ? s->ngram_max : MYNA__SPEC_NGRAM_MAX, err);
}

/* log2 of the slots of one size: two thirds of them are used at most. */
static int slot_bits(int64_t cap) {
  int bits = 4;
  while (((int64_t)1 << bits) < cap + cap / 2) bits++;
  return bits;
}

int64_t myna__spec_bytes(int64_t cap) {
  return (int64_t)sizeof(myna__spec) + (NGRAM_MAX - NGRAM_MIN + 1) * ((int64_t)sizeof(int32_t) << slot_bits(cap));
}

static size_t table_bytes(const myna__spec *p) { return (size_t)p->n_sizes * (size_t)slots_of(p) * sizeof *p->slots; }

myna__spec *myna__spec_new(const myna_speculation *s, int64_t cap) {
  if (s->kind == MYNA_SPECULATION_NONE) return NULL;
  myna__spec *p = myna__calloc(sizeof *p);
  if (!p) return NULL;
  p->s = effective(s);
  p->cap = cap;
  p->n_sizes = p->s.ngram_max - p->s.ngram_min + 1;
  p->shift = 64 - slot_bits(cap);
  p->seed = myna__hash_seed();
  p->next_pause = PAUSE_MIN;
  for (int i = 0; i < N_CLASSES; i++) {
    p->hits[i] = prior[i] * PRIOR;
    p->tries[i] = PRIOR;
  }
  p->slots = myna__calloc(table_bytes(p));
  if (p->slots) return p;
  myna__spec_free(p);
  return NULL;
}

void myna__spec_free(myna__spec *p) {
  if (!p) return;
  myna__free(p->slots, table_bytes(p));
  myna__free(p, sizeof *p);
}

/* ---- the index ---- */

static uint64_t mix(uint64_t h, int32_t token) {
  h = (h ^ (uint32_t)token) * 0x9E3779B97F4A7C15u;
  return h ^ (h >> 32);
}

/* The slot of the n-gram of `size` tokens that ends at `end`, or the empty one where it belongs. */
static int32_t *slot(const myna__spec *p, const int32_t *tokens, int64_t end, int size, uint64_t hash) {
  int64_t mask = slots_of(p) - 1, i = (int64_t)((hash * 0x9E3779B97F4A7C15u) >> p->shift);
  int32_t *table = p->slots + (size - p->s.ngram_min) * slots_of(p);
  for (;; i = (i + 1) & mask) {
    int32_t e = table[i];
    if (e == 0 || memcmp(tokens + e - size, tokens + end - size, (size_t)size * sizeof *tokens) == 0) return &table[i];
  }
}

/* The n-grams that end at `end`, whose next token is known, are the latest of their kind. */
static void insert(myna__spec *p, const int32_t *tokens, int64_t end) {
  uint64_t hash = p->seed;
  for (int size = 1; size <= p->s.ngram_max && size <= end; size++) {
    hash = mix(hash, tokens[end - size]);
    if (size >= p->s.ngram_min) *slot(p, tokens, end, size, hash) = (int32_t)end;
  }
}

static void find(myna__spec *p, const int32_t *tokens) {
  uint64_t hash = p->seed;
  p->at = 0;
  for (int size = 1; size <= p->s.ngram_max && size <= p->n; size++) {
    hash = mix(hash, tokens[p->n - size]);
    if (size < p->s.ngram_min) continue;
    int64_t e = *slot(p, tokens, p->n, size, hash);
    if (e == 0) break; /* what has not occurred does not end anything longer that has */
    p->at = e;
    p->len = size;
  }
  while (p->at && p->len < LEN_MAX && p->at > p->len && tokens[p->at - 1 - p->len] == tokens[p->n - 1 - p->len])
    p->len++;
}

/* ---- learning ---- */

static int class_of(int64_t len) {
  static const int8_t upto[] = {1, 2, 3, 4, 6, 8, 12, 16};
  int i = 0;
  while (i < N_CLASSES - 1 && len > upto[i]) i++;
  return i;
}

static void observe(myna__spec *p, bool right) {
  int i = class_of(p->len);
  p->hits[i] += right;
  p->tries[i] += 1;
  if (p->tries[i] > MEMORY) {
    p->hits[i] /= 2;
    p->tries[i] /= 2;
  }
  if (right) p->pause /= 2;
}

void myna__spec_add(myna__spec *p, const int32_t *tokens, int64_t n, bool learn) {
  if (!p) return;
  assert(n <= p->cap);
  while (p->n < n) {
    if (learn) {
      if (p->pause > 0) p->pause--;
      if (p->at) observe(p, tokens[p->at] == tokens[p->n]);
    }
    if (p->n > 0) insert(p, tokens, p->n);
    p->n++;
    if (learn || p->n == n) find(p, tokens);
  }
}

void myna__spec_reset(myna__spec *p) {
  if (!p) return;
  memset(p->slots, 0, table_bytes(p));
  p->n = p->at = 0;
}

int64_t myna__spec_match(const myna__spec *p, int *len) {
  *len = p->at ? p->len : 0;
  return p->at;
}

/* ---- drafting ---- */

static double extra(int64_t rows, double fresh) {
  double dense = extra_cost[MYNA__MIN(rows, (int64_t)MYNA__COUNT(extra_cost) - 1)];
  /* A row's experts that no row before it used are weights to be read. */
  return MYNA__MAX(dense, rows > 0 ? EXPERT_SHARE * pow(fresh, (double)rows) : 0);
}

double myna__spec_cost(int64_t rows, double fresh) {
  enum { FEW = 64 }; /* beyond, every row costs the same */
  double cost = 0;
  for (int64_t i = 0; i < MYNA__MIN(rows, FEW); i++) cost += extra(i, fresh);
  return cost + (rows > FEW ? (double)(rows - FEW) * extra(rows, fresh) : 0);
}

int myna__spec_draft(myna__spec *p, const int32_t *tokens, int64_t room, myna__spec_step *step,
                     int32_t out[MYNA__SPEC_MAX]) {
  if (!p || !p->at || (p->pause > 0 && !p->s.always)) return 0;
  int64_t max = MYNA__MIN(room, p->s.n_max);
  double base = myna__spec_cost(step->rows, step->fresh), cost = base, useful = step->useful, right = 1;
  double best = useful / base, best_useful = useful;
  int n = 0;
  for (int i = 0; i < max; i++) {
    int64_t from = p->at + i; /* behind the end of the text the draft repeats itself */
    out[i] = from < p->n ? tokens[from] : out[from - p->n];
    int c = class_of(p->len + i); /* once the draft is right so far, the match is longer */
    right *= (double)(p->hits[c] / p->tries[c]);
    useful += right;
    cost += MARGIN * extra(step->rows + i, step->fresh);
    if (useful / cost <= best && !p->s.always) continue;
    best = useful / cost;
    best_useful = useful;
    n = i + 1;
  }
  if (n < MYNA__MAX(p->s.n_min, 1)) return 0;
  step->rows += n;
  step->useful = best_useful;
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
