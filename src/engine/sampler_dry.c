/* sampler_dry.c: DRY (p-e-w, oobabooga/text-generation-webui pull request 5677): a token that would continue a repetition is punished the more,
 * the longer what is repeated already is. Breakers end repetitions; they are strings, and found as token sequences: every token whose text holds the
 * breaker, or ends with a beginning of it that a tokenization of the rest completes. */
#include "engine/sampler_state.h"
#include "text/tokenizer.h"
#include <math.h>
#include <stdlib.h>

/* ---- breakers ---- */

static int grow(void **p, int64_t *cap, int64_t need, size_t item, myna_err *err) {
  if (need <= *cap) return 0;
  int64_t want = MYNA__MAX(need, *cap * 2 + 64);
  void *q = myna__realloc(*p, (size_t)*cap * item, (size_t)want * item);
  if (!q) return myna__err(err, MYNA_E_NOMEM, "no memory for DRY breakers");
  *p = q;
  *cap = want;
  return 0;
}

int myna__dry_add(myna__sampler *p, int32_t head, const int32_t *tail, int64_t n_tail, myna_err *err) {
  for (int64_t i = p->n_breakers - 1; i >= 0 && p->breakers[i].head == head; i--) { /* one token's are added together */
    const myna__breaker *b = &p->breakers[i];
    if (b->n_tail == n_tail &&
        (n_tail == 0 || memcmp(p->breaker_tails + b->tail, tail, (size_t)n_tail * sizeof *tail) == 0))
      return 0;
  }
  TRY(grow((void **)&p->breakers, &p->cap_breakers, p->n_breakers + 1, sizeof *p->breakers, err));
  TRY(grow((void **)&p->breaker_tails, &p->cap_tails, p->n_tails + n_tail, sizeof *p->breaker_tails, err));
  p->breakers[p->n_breakers++] = (myna__breaker){.head = head, .n_tail = (int32_t)n_tail, .tail = (int32_t)p->n_tails};
  if (n_tail) memcpy(p->breaker_tails + p->n_tails, tail, (size_t)n_tail * sizeof *tail);
  p->n_tails += n_tail;
  return 0;
}

static int by_head(const void *a, const void *b) {
  const myna__breaker *x = a, *y = b;
  if (x->head != y->head) return x->head < y->head ? -1 : 1;
  return (x->n_tail > y->n_tail) - (x->n_tail < y->n_tail);
}

void myna__dry_sort(myna__sampler *p) {
  if (p->n_breakers) qsort(p->breakers, (size_t)p->n_breakers, sizeof *p->breakers, by_head);
}

enum { MAX_BYTES = 40, MAX_TAIL = 20 }; /* of a breaker, as llama.cpp cuts them */

typedef struct finder {
  myna__sampler *p;
  const myna__tokenizer *tk;
  const char *breaker;
  size_t n;
  /* Tokenizations of breaker + i, made when first asked for; n_tail -1: not yet. */
  int32_t tails[MAX_BYTES][MAX_TAIL];
  int64_t n_tails[MAX_BYTES];
} finder;

static int add_rest(finder *f, int32_t id, size_t from, myna_err *err) {
  if (f->n_tails[from] < 0) {
    myna__tokenize_options o = {0};
    int64_t n = myna__tokenize(f->tk, f->breaker + from, f->n - from, &o, f->tails[from], MAX_TAIL, err);
    if (n < 0) return (int)n;
    f->n_tails[from] = MYNA__MIN(n, MAX_TAIL);
  }
  return myna__dry_add(f->p, id, f->tails[from], f->n_tails[from], err);
}

/* The ways in which a token with this text can begin the breaker. */
static int match_token(finder *f, int32_t id, const char *word, size_t len, myna_err *err) {
  if (memmem(word, len, f->breaker, f->n)) return myna__dry_add(f->p, id, NULL, 0, err);
  for (size_t k = MYNA__MIN(len, f->n - 1); k > 0; k--) /* the last k bytes begin it */
    if (memcmp(word + len - k, f->breaker, k) == 0) TRY(add_rest(f, id, k, err));
  return 0;
}

static int find_breaker(finder *f, const char *text, char *word, size_t cap, myna_err *err) {
  const myna__tokdata *t = myna__tokenizer_data(f->tk);
  f->breaker = text;
  f->n = MYNA__MIN(strlen(text), MAX_BYTES);
  if (f->n == 0) return 0;
  for (size_t i = 0; i < MAX_BYTES; i++) f->n_tails[i] = -1;
  for (int32_t id = 0; id < t->n_tokens && id < f->p->n_vocab; id++) {
    int64_t len = myna__token_bytes(f->tk, id, true, word, cap);
    if (len < 0) continue;
    size_t n = MYNA__MIN((size_t)len, cap);
    /* A lone token is the start of a text: SentencePiece drops its leading space. */
    bool drop = t->add_space_prefix && n > 0 && word[0] == ' ' && t->model != MYNA__TOK_BPE;
    TRY(match_token(f, id, word + drop, n - drop, err));
  }
  return 0;
}

int myna__dry_find_breakers(myna__sampler *p, const myna__tokenizer *tk, const char *const *breakers, int n,
                            myna_err *err) {
  enum { WORD = 1024 };
  finder *f = myna__alloc(sizeof *f + WORD);
  if (!f) return myna__err(err, MYNA_E_NOMEM, "no memory for DRY breakers");
  f->p = p;
  f->tk = tk;
  int rc = 0;
  for (int i = 0; i < n && rc >= 0; i++) rc = find_breaker(f, breakers[i], (char *)(f + 1), WORD, err);
  myna__free(f, sizeof *f + WORD);
  myna__dry_sort(p);
  return rc < 0 ? rc : 0;
}

static int64_t first_of(const myna__sampler *p, int32_t head) {
  int64_t lo = 0, hi = p->n_breakers;
  while (lo < hi) {
    int64_t mid = lo + (hi - lo) / 2;
    if (p->breakers[mid].head < head)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* Length of the longest tail that follows the i-th recent token, when breakers begin there; -1 when none does. */
static int64_t longest_breaker(const myna__sampler *p, int64_t i) {
  int32_t head = myna__recent(p, i);
  int64_t best = -1;
  for (int64_t b = first_of(p, head); b < p->n_breakers && p->breakers[b].head == head; b++) {
    const myna__breaker *r = &p->breakers[b];
    if (r->n_tail <= best || r->n_tail > i) continue;
    int64_t k = 0;
    while (k < r->n_tail && p->breaker_tails[r->tail + k] == myna__recent(p, i - 1 - k)) k++;
    if (k == r->n_tail) best = k;
  }
  return best;
}

/* Sorted by tail length within a head: a single-token breaker comes first. */
static bool breaks_alone(const myna__sampler *p, int32_t id) {
  int64_t b = first_of(p, id);
  return b < p->n_breakers && p->breakers[b].head == id && p->breakers[b].n_tail == 0;
}

/* How many of the last n tokens lie behind the last breaker. */
static int64_t since_breaker(const myna__sampler *p, int64_t n) {
  for (int64_t i = 0; i < n && p->n_breakers; i++) {
    int64_t tail = longest_breaker(p, i);
    if (tail >= 0) return i - tail;
  }
  return n;
}

/* ---- repetitions ---- */

/* p->repeat[k] = length of the longest match of the text's end with the text that ends k tokens earlier (Z-algorithm on the reversed window). */
static void find_repeats(myna__sampler *p, int64_t n) {
  int32_t *z = p->repeat;
  int64_t left = 0, right = 0; /* the match that reaches furthest covers [left, right) */
  for (int64_t k = 1; k < n; k++) {
    int64_t len = k < right ? MYNA__MIN(z[k - left], right - k) : 0;
    while (k + len < n && myna__recent(p, len) == myna__recent(p, k + len)) len++;
    z[k] = (int32_t)len;
    if (k + len > right) left = k, right = k + len;
  }
}

static float punished(const myna__sampler *p, int32_t id, float logit) {
  if (breaks_alone(p, id)) return logit;
  int32_t exponent = p->mark[id] - 1 - p->s.dry_allowed_length;
  if (p->s.dry_base > 1.000001f)
    exponent = MYNA__MIN(exponent, (int32_t)(88.7228391f / logf(p->s.dry_base))); /* finite in float */
  return logit - p->s.dry_multiplier * powf(p->s.dry_base, (float)exponent);
}

void myna__dry_apply(myna__sampler *p) {
  int64_t n = myna__window(p, p->s.dry_penalty_last_n), allowed = p->s.dry_allowed_length;
  if (n <= allowed) return;
  int64_t limit = since_breaker(p, n);
  if (limit < allowed) return;
  find_repeats(p, n);
  for (int64_t k = 1; k < n; k++) { /* the token after a match would continue it */
    int32_t len = (int32_t)MYNA__MIN(p->repeat[k], limit), id = myna__recent(p, k - 1);
    if (len >= allowed && len + 1 > p->mark[id]) p->mark[id] = len + 1;
  }
  if (!p->dense)
    for (int64_t i = 0; i < p->n; i++)
      if (p->mark[p->list[i].id]) p->list[i].logit = punished(p, p->list[i].id, p->list[i].logit);
  for (int64_t k = 1; k < n; k++) {
    int32_t id = myna__recent(p, k - 1);
    if (p->dense && p->mark[id]) p->dense_logits[id] = punished(p, id, p->dense_logits[id]);
    p->mark[id] = 0;
  }
  p->sorted = false;
}
