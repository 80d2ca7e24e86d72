/* sampler.c: the sampler object: validation, the run of the chain, the draw, what accepting and taking back tokens means.
 *
 * Invariants: state is the ring of accepted tokens, their counts and mirostat's mu per generated token, so that rolling back is moving the
 * counts; `mark` is all zero between uses; nothing is allocated after creation. */
#include "engine/sampler_state.h"
#include <math.h>
#include <stdio.h>

/* ---- randomness ---- */

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). */
void myna__philox(const uint32_t key[2], uint32_t x[4]) {
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)x[0] * 0xD2511F53u, b = (uint64_t)x[2] * 0xCD9E8D57u;
    uint32_t y0 = (uint32_t)(b >> 32) ^ x[1] ^ k0, y2 = (uint32_t)(a >> 32) ^ x[3] ^ k1;
    x[1] = (uint32_t)b;
    x[3] = (uint32_t)a;
    x[0] = y0;
    x[2] = y2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

double myna__random(uint64_t seed, uint64_t index, uint32_t purpose) {
  uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)},
           x[4] = {(uint32_t)index, (uint32_t)(index >> 32), purpose, 0};
  myna__philox(key, x);
  return (double)(((uint64_t)x[0] << 32 | x[1]) >> 11) * 0x1p-53;
}

/* ---- options ---- */

static const char *const default_breakers[] = {"\n", ":", "\"", "*"};
static const char default_order[] = "edskypmxt";

void myna_sampling_default(myna_sampling *s) {
  *s = (myna_sampling){.set = true,
                       .temperature = 0.8f,
                       .dynatemp_exponent = 1,
                       .top_k = 40,
                       .top_p = 0.95f,
                       .min_p = 0.05f,
                       .typical_p = 1,
                       .top_n_sigma = -1,
                       .xtc_threshold = 0.1f,
                       .repeat_last_n = 64,
                       .repeat_penalty = 1,
                       .dry_base = 1.75f,
                       .dry_allowed_length = 2,
                       .dry_penalty_last_n = -1,
                       .mirostat_tau = 5,
                       .mirostat_eta = 0.1f};
}

void myna_model_sampling(const myna_model *m, myna_sampling *s) {
  myna_sampling_default(s);
  const struct {
    const char *key;
    float *f;
    int32_t *i;
  } rows[] = {{"temp", &s->temperature, NULL},
              {"top_k", NULL, &s->top_k},
              {"top_p", &s->top_p, NULL},
              {"min_p", &s->min_p, NULL},
              {"xtc_probability", &s->xtc_probability, NULL},
              {"xtc_threshold", &s->xtc_threshold, NULL},
              {"penalty_last_n", NULL, &s->repeat_last_n},
              {"penalty_repeat", &s->repeat_penalty, NULL},
              {"mirostat", NULL, &s->mirostat},
              {"mirostat_tau", &s->mirostat_tau, NULL},
              {"mirostat_eta", &s->mirostat_eta, NULL}};
  for (size_t k = 0; k < MYNA__COUNT(rows) && m; k++) {
    char key[64];
    double f;
    int64_t i;
    snprintf(key, sizeof key, "general.sampling.%s", rows[k].key);
    if (rows[k].f && myna__gguf_f64(&m->gguf, key, &f, NULL) > 0) *rows[k].f = (float)f;
    if (rows[k].i && myna__gguf_i64(&m->gguf, key, &i, NULL) > 0)
      *rows[k].i = (int32_t)MYNA__MAX(INT32_MIN, MYNA__MIN(i, INT32_MAX));
  }
}

/* NaN fails every range. */
static int range(const char *field, double x, double low, double high, myna_err *err) {
  if (x >= low && x <= high) return 0;
  if (high >= 1e9) return myna__err(err, MYNA_E_ARG, "%s is %g, it must be a number from %g", field, x, low);
  return myna__err(err, MYNA_E_ARG, "%s is %g, it must be %g to %g", field, x, low, high);
}

static int number(const char *field, double x, myna_err *err) {
  return isfinite(x) ? 0 : myna__err(err, MYNA_E_ARG, "%s is %g, it must be a finite number", field, x);
}

static int check_numbers(const myna_sampling *s, myna_err *err) {
  const double max = 3e38;
  TRY(number("temperature", (double)s->temperature, err));
  TRY(range("dynatemp_range", (double)s->dynatemp_range, 0, max, err));
  TRY(number("dynatemp_exponent", (double)s->dynatemp_exponent, err));
  TRY(range("top_p", (double)s->top_p, 0, 1, err));
  TRY(range("min_p", (double)s->min_p, 0, max, err));
  TRY(range("typical_p", (double)s->typical_p, 0, 1, err));
  TRY(number("top_n_sigma", (double)s->top_n_sigma, err));
  TRY(range("xtc_probability", (double)s->xtc_probability, 0, 1, err));
  TRY(range("xtc_threshold", (double)s->xtc_threshold, 0, max, err));
  TRY(range("min_keep", s->min_keep, 0, INT32_MAX, err));
  TRY(range("repeat_last_n", s->repeat_last_n, -1, INT32_MAX, err));
  if (!(s->repeat_penalty > 0) || !isfinite(1 / s->repeat_penalty) || !isfinite(s->repeat_penalty))
    return myna__err(err, MYNA_E_ARG, "repeat_penalty is %g, it must be greater than 0 (1: off)",
                     (double)s->repeat_penalty);
  TRY(number("frequency_penalty", (double)s->frequency_penalty, err));
  TRY(number("presence_penalty", (double)s->presence_penalty, err));
  TRY(range("dry_multiplier", (double)s->dry_multiplier, 0, max, err));
  TRY(range("dry_base", (double)s->dry_base, 0, max, err));
  TRY(range("dry_allowed_length", s->dry_allowed_length, 0, INT32_MAX, err));
  TRY(range("dry_penalty_last_n", s->dry_penalty_last_n, -1, INT32_MAX, err));
  TRY(range("mirostat", s->mirostat, 0, 2, err));
  TRY(range("mirostat_tau", (double)s->mirostat_tau, 0, max, err));
  return range("mirostat_eta", (double)s->mirostat_eta, 0, max, err);
}

static int check_lists(const myna_sampling *s, int64_t n_vocab, myna_err *err) {
  TRY(range("n_bias", s->n_bias, 0, INT32_MAX, err));
  if (s->n_bias > 0 && !s->bias) return myna__err(err, MYNA_E_ARG, "bias is NULL, n_bias is %d", s->n_bias);
  for (int i = 0; i < s->n_bias; i++) {
    if (s->bias[i].id < 0 || s->bias[i].id >= n_vocab)
      return myna__err(err, MYNA_E_ARG, "bias[%d].id is %d, the vocabulary has %lld", i, s->bias[i].id,
                       (long long)n_vocab);
    if (isnan(s->bias[i].bias) || s->bias[i].bias == INFINITY)
      return myna__err(err, MYNA_E_ARG, "bias[%d].bias is %g, it must be a number below infinity", i,
                       (double)s->bias[i].bias);
  }
  TRY(range("n_dry_breakers", s->n_dry_breakers, 0, 1000, err));
  for (int i = 0; i < s->n_dry_breakers && s->dry_breakers; i++)
    if (!s->dry_breakers[i] || !s->dry_breakers[i][0])
      return myna__err(err, MYNA_E_ARG, "dry_breakers[%d] is empty", i);
  const char *order = s->order ? s->order : default_order;
  if (strlen(order) > MYNA__ORDER_MAX)
    return myna__err(err, MYNA_E_ARG, "order \"%.40s\" has more than %d letters", order, MYNA__ORDER_MAX);
  for (const char *c = order; *c; c++)
    if (!myna__sampler_row_find(*c))
      return myna__err(err, MYNA_E_ARG, "order \"%s\" has the letter '%c', known are %s", order, *c, default_order);
  return 0;
}

/* ---- making ---- */

/* Rows that do nothing are skipped; greedy needs none of the cutting ones when the best candidate always survives them. */
static void arrange(myna__sampler *p) {
  bool keeps = true, cut = false;
  for (size_t i = 0; p->order[i]; i++) {
    const myna__sampler_row *r = myna__sampler_row_find(p->order[i]);
    p->on[i] = p->s.mirostat == 0 && r->active(p);
    keeps = keeps && (!p->on[i] || r->keeps_best);
    /* What changes logits after a cut might prefer what was cut away. */
    if (p->on[i] && cut && (r->letter == 'e' || r->letter == 'd')) keeps = false;
    if (p->on[i] && r->letter != 'e' && r->letter != 'd') cut = true;
  }
  p->best_only = p->s.temperature <= 0 && !(p->s.dynatemp_range > 0) && (keeps || p->s.mirostat > 0);
}

static bool row_on(const myna__sampler *p, char letter) {
  const char *at = strchr(p->order, letter);
  return at && p->on[at - p->order];
}

static int alloc_state(myna__sampler *p, myna_err *err) {
  bool looks_back = row_on(p, 'e') || row_on(p, 'd');
  size_t v = (size_t)p->n_vocab;
  p->dense_logits = myna__alloc(v * sizeof *p->dense_logits);
  p->list = myna__alloc(v * sizeof *p->list);
  bool ok = p->dense_logits && p->list;
  for (p->n_ring = 64; p->n_ring < 2 * p->n_ctx; p->n_ring *= 2) {}
  if (ok && row_on(p, 'y')) ok = (p->spare = myna__alloc(v * sizeof *p->spare)) != NULL;
  if (ok && looks_back) {
    p->mark = myna__calloc(v * sizeof *p->mark);
    p->ring = myna__alloc((size_t)p->n_ring * sizeof *p->ring);
    ok = p->mark && p->ring;
  }
  if (ok && row_on(p, 'd')) ok = (p->repeat = myna__alloc((size_t)p->n_ctx * sizeof *p->repeat)) != NULL;
  if (ok && p->s.mirostat) {
    p->mu = myna__alloc((size_t)p->n_ring * sizeof *p->mu);
    ok = p->mu != NULL;
    if (ok) p->mu[0] = 2 * p->s.mirostat_tau;
  }
  return ok ? 0 : myna__err(err, MYNA_E_NOMEM, "no memory to sample from a vocabulary of %lld", (long long)p->n_vocab);
}

/* Logit biases of the request, and every end token's when they are to be ignored. */
static int copy_bias(myna__sampler *p, const myna_sampling *s, const myna__tokdata *t, myna_err *err) {
  int64_t n_eog = s->ignore_eos && t ? t->n_eog : 0;
  if (s->n_bias + n_eog == 0) return 0;
  p->bias = myna__alloc((size_t)(s->n_bias + n_eog) * sizeof *p->bias);
  if (!p->bias) return myna__err(err, MYNA_E_NOMEM, "no memory for logit biases");
  p->n_bias = s->n_bias + n_eog;
  int64_t n = 0;
  for (int64_t i = 0; i < n_eog; i++)
    if (t->eog[i] < p->n_vocab) p->bias[n++] = (myna_logit_bias){.id = t->eog[i], .bias = -INFINITY};
  for (int64_t i = 0; i < s->n_bias; i++) p->bias[n++] = s->bias[i];
  for (; n < p->n_bias; n++) p->bias[n] = (myna_logit_bias){0};
  return 0;
}

static int init(myna__sampler *p, const myna_sampling *s, myna_model *m, myna_err *err) {
  myna_sampling defaults;
  const myna__tokenizer *tk = NULL;
  if (!s || !s->set) {
    myna_model_sampling(m, &defaults);
    s = &defaults;
  }
  if (p->n_vocab < 1 || p->n_vocab > INT32_MAX)
    return myna__err(err, MYNA_E_ARG, "n_vocab is %lld", (long long)p->n_vocab);
  if (p->n_ctx < 1 || p->n_ctx > INT32_MAX) return myna__err(err, MYNA_E_ARG, "n_ctx is %lld", (long long)p->n_ctx);
  TRY(check_numbers(s, err));
  TRY(check_lists(s, p->n_vocab, err));
  p->s = *s;
  snprintf(p->order, sizeof p->order, "%s", s->order ? s->order : default_order);
  arrange(p);
  TRY(alloc_state(p, err));
  if ((s->ignore_eos || row_on(p, 'd')) && m && myna__model_tokenizer(m, &tk, NULL) < 0)
    tk = NULL; /* a file without tokenizer has neither */
  TRY(copy_bias(p, s, tk ? myna__tokenizer_data(tk) : NULL, err));
  if (row_on(p, 'd') && tk)
    TRY(myna__dry_find_breakers(p, tk, s->dry_breakers ? s->dry_breakers : default_breakers,
                                s->dry_breakers ? s->n_dry_breakers : (int)MYNA__COUNT(default_breakers), err));
  p->s.bias = NULL;
  p->s.dry_breakers = NULL;
  p->s.order = NULL;
  return 0;
}

int myna__sampler_new(myna__sampler **out, const myna_sampling *s, myna_model *m, int64_t n_vocab, int64_t n_ctx,
                      myna_err *err) {
  *out = NULL;
  myna__sampler *p = myna__calloc(sizeof *p);
  if (!p) return myna__err(err, MYNA_E_NOMEM, "no memory for a sampler");
  p->n_vocab = n_vocab;
  p->n_ctx = n_ctx;
  p->drawn_at = -1;
  int rc = init(p, s, m, err);
  if (rc < 0) {
    myna__sampler_free(p);
    return rc;
  }
  *out = p;
  return 0;
}

void myna__sampler_free(myna__sampler *p) {
  if (!p) return;
  size_t v = (size_t)p->n_vocab;
  myna__free(p->bias, (size_t)p->n_bias * sizeof *p->bias);
  myna__free(p->ring, (size_t)p->n_ring * sizeof *p->ring);
  myna__free(p->mu, (size_t)p->n_ring * sizeof *p->mu);
  myna__free(p->dense_logits, v * sizeof *p->dense_logits);
  myna__free(p->list, v * sizeof *p->list);
  myna__free(p->spare, v * sizeof *p->spare);
  myna__free(p->mark, v * sizeof *p->mark);
  myna__free(p->repeat, (size_t)p->n_ctx * sizeof *p->repeat);
  myna__free(p->breakers, (size_t)p->cap_breakers * sizeof *p->breakers);
  myna__free(p->breaker_tails, (size_t)p->cap_tails * sizeof *p->breaker_tails);
  myna__free(p, sizeof *p);
}

/* ---- accepted tokens ---- */

/* Mirostat learns from the token that was really taken, when it was among the candidates of the draw before. */
static void learn(myna__sampler *p, int32_t id) {
  float next = p->mu[p->n_gen & (p->n_ring - 1)];
  for (int64_t i = 0; i < p->n && p->drawn_at == p->n_gen; i++)
    if (p->list[i].id == id && p->list[i].p > 0) next = myna__mirostat_mu(p, -log2f(p->list[i].p));
  p->mu[(p->n_gen + 1) & (p->n_ring - 1)] = next;
}

int myna__sampler_accept(myna__sampler *p, int32_t id, bool generated) {
  if (id < 0 || id >= p->n_vocab) return MYNA_E_ARG;
  if (p->ring) p->ring[p->n_tokens & (p->n_ring - 1)] = id;
  p->n_tokens++;
  if (!generated) return 0;
  if (p->mu) learn(p, id);
  p->n_gen++;
  return 0;
}

void myna__sampler_rollback(myna__sampler *p, int64_t n) {
  assert(n >= 0 && n <= p->n_tokens && n <= p->n_ctx);
  p->n_tokens -= n;
  p->n_gen -= MYNA__MIN(n, p->n_gen);
  p->drawn_at = -1;
}

/* ---- the draw ---- */

/* x[0..32) where the bit is clear becomes impossible; compiles to vector code. */
static void forbid(float *x, uint32_t bits) {
  static const uint32_t bit[32] = {1u << 0,  1u << 1,  1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
                                   1u << 8,  1u << 9,  1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15,
                                   1u << 16, 1u << 17, 1u << 18, 1u << 19, 1u << 20, 1u << 21, 1u << 22, 1u << 23,
                                   1u << 24, 1u << 25, 1u << 26, 1u << 27, 1u << 28, 1u << 29, 1u << 30, 1u << 31};
  for (int i = 0; i < 32; i++) {
    float y = x[i];
    x[i] = (bits & bit[i]) != 0 ? y : -INFINITY;
  }
}

static void forbid_all(float *x, const uint64_t *allowed, int64_t n) {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    if (allowed[i >> 6] == UINT64_MAX) continue;
    forbid(x + i, (uint32_t)allowed[i >> 6]);
    forbid(x + i + 32, (uint32_t)(allowed[i >> 6] >> 32));
  }
  for (; i < n; i++)
    if (!(allowed[i >> 6] >> (i & 63) & 1)) x[i] = -INFINITY;
}

/* All logits; those that are not allowed as impossible. */
static bool load_all(myna__sampler *p, const float *logits, const uint64_t *allowed) {
  int bad = 0;
  for (int64_t i = 0; i < p->n_vocab; i++) {
    p->dense_logits[i] = logits[i];
    bad |= logits[i] != logits[i];
  }
  if (allowed) forbid_all(p->dense_logits, allowed, p->n_vocab);
  for (int64_t i = 0; i < p->n_bias; i++) p->dense_logits[p->bias[i].id] += p->bias[i].bias;
  p->dense = true;
  return bad;
}

/* Where the list, which is in order of ids, has this one; -1. */
static int64_t find_id(const myna__sampler *p, int32_t id) {
  int64_t lo = 0, hi = p->n;
  while (lo < hi) {
    int64_t mid = (lo + hi) / 2;
    if (p->list[mid].id < id)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < p->n && p->list[lo].id == id ? lo : -1;
}

/* Few are allowed: a list of them from the beginning, in order of ids. */
static bool load_few(myna__sampler *p, const float *logits, const uint64_t *allowed) {
  int bad = 0;
  for (int64_t w = 0; w < (p->n_vocab + 63) / 64; w++)
    for (uint64_t bits = allowed[w]; bits; bits &= bits - 1) {
      int32_t id = (int32_t)(w * 64 + __builtin_ctzll(bits));
      if (id >= p->n_vocab) break;
      bad |= logits[id] != logits[id];
      p->list[p->n++] = (myna__cand){.id = id, .logit = logits[id]};
    }
  for (int64_t i = 0; i < p->n_bias; i++) {
    int64_t at = find_id(p, p->bias[i].id);
    if (at >= 0) p->list[at].logit += p->bias[i].bias;
  }
  p->dense = false;
  return bad;
}

static int load(myna__sampler *p, const float *logits, const uint64_t *allowed, int64_t n_allowed, myna_err *err) {
  enum { FEW = 8 }; /* at most one of so many */
  p->sorted = false;
  p->n = 0;
  p->drawn_at = -1;
  bool few = allowed && n_allowed <= p->n_vocab / FEW;
  if (!(few ? load_few(p, logits, allowed) : load_all(p, logits, allowed))) return 0;
  for (int64_t i = 0; i < p->n_vocab; i++)
    if (isnan(logits[i]) && (!allowed || (allowed[i >> 6] >> (i & 63) & 1)))
      return myna__err(err, MYNA_E_INTERNAL, "the logit of token %lld is NaN", (long long)i);
  return 0;
}

/* One candidate, of probability 1. */
static int only(myna__sampler *p, myna__cand c, myna_err *err) {
  if (!(c.logit > -INFINITY)) return myna__err(err, MYNA_E_INTERNAL, "no token is possible: all logits are -inf");
  c.p = 1;
  p->list[0] = c;
  p->n = 1;
  p->dense = false;
  p->sorted = true;
  return 0;
}

static void run_rows(myna__sampler *p) {
  for (int i = 0; p->order[i]; i++) {
    const myna__sampler_row *r = myna__sampler_row_find(p->order[i]);
    if (p->on[i] && (!p->best_only || r->letter == 'e' || r->letter == 'd')) r->apply(p, i);
  }
}

/* The whole chain: afterwards list[0..n) has probabilities. */
static int run(myna__sampler *p, const float *logits, const uint64_t *allowed, int64_t n_allowed, myna_err *err) {
  TRY(load(p, logits, allowed, n_allowed, err));
  run_rows(p);
  if (p->best_only && p->dense) {
    myna__cand best = {.logit = -INFINITY};
    if (myna__top_logits(p->dense_logits, p->n_vocab, 1, &best) < 1) best.logit = -INFINITY;
    return only(p, best, err);
  }
  if (p->s.mirostat && !p->best_only) myna__mirostat_apply(p);
  myna__list_expand(p);
  int64_t best = myna__list_best(p);
  bool greedy = p->s.temperature <= 0 && !(p->s.dynatemp_range > 0);
  if (best < 0 || !(p->list[best].logit > -INFINITY) || greedy)
    return only(p, best < 0 ? (myna__cand){.logit = -INFINITY} : p->list[best], err);
  myna__list_softmax(p);
  return 0;
}

/* Inverse of the cumulative distribution; what has no probability is never drawn. */
static int32_t draw(const myna__sampler *p, double u) {
  double sum = 0, run_sum = 0;
  int32_t id = -1;
  for (int64_t i = 0; i < p->n; i++) sum += (double)p->list[i].p;
  for (int64_t i = 0; i < p->n; i++) {
    if (!(p->list[i].p > 0)) continue;
    id = p->list[i].id;
    run_sum += (double)p->list[i].p;
    if (run_sum > u * sum) break;
  }
  return id;
}

bool myna__sampler_is_greedy(const myna__sampler *p) { return p->best_only; }

int32_t myna__sampler_sample(myna__sampler *p, const float *logits, myna_err *err) {
  return myna__sampler_sample_allowed(p, logits, NULL, 0, err);
}

int32_t myna__sampler_sample_allowed(myna__sampler *p, const float *logits, const uint64_t *allowed, int64_t n_allowed,
                                     myna_err *err) {
  TRY(run(p, logits, allowed, n_allowed, err));
  int32_t id = draw(p, myna__random(p->s.seed, (uint64_t)p->n_gen, 0));
  if (id < 0) return myna__err(err, MYNA_E_INTERNAL, "no token is possible: the probabilities are not numbers");
  p->drawn_at = p->n_gen;
  return id;
}

int64_t myna__sampler_probs(myna__sampler *p, const float *logits, myna__cand *out, int64_t cap, myna_err *err) {
  TRY(run(p, logits, NULL, 0, err));
  p->drawn_at = p->n_gen;
  myna__list_sort(p, p->n);
  for (int64_t i = 0; i < MYNA__MIN(p->n, cap); i++) out[i] = p->list[i];
  return p->n;
}

/* ---- log-probabilities ---- */

int myna__sampler_last(const myna__sampler *p, int32_t id, float *logprob, int n, int32_t *ids, float *logprobs,
                       myna__cand *top) {
  double sum = 0;
  if (p->drawn_at < 0 || p->drawn_at != p->n_gen - 1) {
    *logprob = 0;
    if (n > 0) ids[0] = id, logprobs[0] = 0;
    return n > 0;
  }
  *logprob = -INFINITY;
  for (int64_t i = 0; i < p->n; i++) sum += (double)p->list[i].p;
  for (int64_t i = 0; i < p->n; i++)
    if (p->list[i].id == id && p->list[i].p > 0) *logprob = (float)log((double)p->list[i].p / sum);
  int have = (int)myna__top_probs(p->list, p->n, n, top);
  for (int i = 0; i < have; i++) {
    ids[i] = top[i].id;
    logprobs[i] = (float)log((double)top[i].p / sum);
  }
  return have;
}

void myna__logprobs_in(const float *logits, int64_t n_vocab, int32_t id, float *logprob, int n, int32_t *ids,
                       float *logprobs, myna__cand *top) {
  int have = (int)myna__top_logits(logits, n_vocab, MYNA__MAX(n, 1), top);
  float max = have > 0 ? top[0].logit : 0;
  double sum = 0;
  for (int64_t i = 0; i < n_vocab; i++) sum += (double)expf(logits[i] - max);
  double log_sum = (double)max + log(sum);
  if (logprob && id >= 0 && id < n_vocab) *logprob = (float)((double)logits[id] - log_sum);
  for (int i = 0; i < n; i++) {
    ids[i] = i < have ? top[i].id : -1;
    logprobs[i] = i < have ? (float)((double)top[i].logit - log_sum) : -INFINITY;
  }
}

void myna__logprobs(const float *logits, int64_t n_vocab, int32_t id, float *logprob, int n, int32_t *ids,
                    float *logprobs) {
  myna__cand top[MYNA__LOGPROBS_MAX];
  myna__logprobs_in(logits, n_vocab, id, logprob, MYNA__MIN(n, MYNA__LOGPROBS_MAX), ids, logprobs, top);
}

int myna_logprobs(const float *logits, int64_t n_vocab, int32_t id, float *logprob, int n, int32_t *ids,
                  float *logprobs, myna_err *err) {
  if (n_vocab < 1 || n_vocab > INT32_MAX || id < 0 || id >= n_vocab || n < 0)
    return myna__err(err, MYNA_E_ARG, "log-probabilities of token %d and %d others of %lld", id, n, (long long)n_vocab);
  n = (int)MYNA__MIN(n, n_vocab);
  size_t bytes = (size_t)MYNA__MAX(n, 1) * sizeof(myna__cand);
  myna__cand *top = myna__alloc(bytes);
  if (!top) return myna__err(err, MYNA_E_NOMEM, "no memory for log-probabilities");
  myna__logprobs_in(logits, n_vocab, id, logprob, n, ids, logprobs, top);
  myna__free(top, bytes);
  return n;
}
