/* draft.c: the draft model: which jobs get drafts, its steps, what it learns.
 *
 * A drafted token is chosen by the job's own sampler from the draft model's logits, with the random numbers that the target's choice will use: where both
 * models think alike they choose alike, also at high temperatures. The sampler is rolled back then.
 *
 * Its pages hold the job's tokens up to n_done, and behind them what was drafted; after the target's word n_done goes back to the first difference.
 * Pages enter the index only when the text they hold is certain. Where drafting does not pay, one token is drafted from time to time and never
 * computed by the target: that shows whether it would be right. */
#include "engine/job.h"
#include <math.h>

enum { N_MAX = 16, MAX_PADDING = 128, PAUSE_MIN = 8, PAUSE_MAX = 128, NO_PAGES = 64, FORCED = 0x6472 };

/* Of tokens that the draft model gives at most this probability, and how often such a one is right before anything is known. */
static const float class_upto[MYNA__DRAFT_CLASSES] = {0.1f, 0.3f, 0.5f, 0.7f, 0.9f, 2},
                   class_prior[MYNA__DRAFT_CLASSES] = {0.4f, 0.45f, 0.55f, 0.65f, 0.8f, 0.93f}, all_prior = 0.65f;

struct myna__draft {
  myna_model *model;
  myna__lm *lm;
  myna__kv *kv[MYNA__MAX_GROUPS];
  myna__costs costs;
  double share;                       /* of a target's step: guess before anything was timed, by bytes of weights */
  int64_t n_vocab;                    /* the target's */
  float *row;                         /* [n_vocab] where the draft model has fewer tokens, else NULL */
  int32_t *tokens, *pos, *seq, *rows; /* [n_tok]; rows [n_seq] */
  int64_t pages, computed;
  myna__spec_odds odds[MYNA__DRAFT_CLASSES], all; /* of all jobs: where a new one begins */
  const myna__tokenizer *tok;                     /* NULL: none */
  int64_t timed_rows;                             /* of the last step when every one had logits, else 0 */
  bool broken;                                    /* a step failed: no more drafts */
};

/* ---- one vocabulary ---- */

static int next_text(const myna__gguf_kv *kv, const uint8_t **at, uint64_t i, myna__str *out) {
  if (i >= kv->count) return 0;
  *out = myna__gguf_next_str(at);
  return 1;
}

int myna__draft_check(const myna_model *target, const myna_model *draft, myna_err *err) {
  int64_t a = target->cfg.n_vocab, b = draft->cfg.n_vocab;
  const myna__gguf_kv *x = myna__gguf_find(&target->gguf, "tokenizer.ggml.tokens"),
                      *y = myna__gguf_find(&draft->gguf, "tokenizer.ggml.tokens");
  if (!draft->bound) return myna__err(err, MYNA_E_UNSUPPORTED, "%s: opened for its header only", draft->path);
  bool texts = x && y && x->elem == MYNA__GGUF_STR && y->elem == MYNA__GGUF_STR;
  if (a - b > MAX_PADDING || b - a > MAX_PADDING || (a != b && !texts))
    return myna__err(err, MYNA_E_ARG, "%s cannot draft for %s: its vocabulary has %lld tokens, not %lld", draft->path,
                     target->path, (long long)b, (long long)a);
  if (!texts) return 0;
  const uint8_t *p = x->data, *q = y->data;
  for (uint64_t i = 0; i < (uint64_t)MYNA__MIN(a, b); i++) {
    myna__str s, t;
    if (!next_text(x, &p, i, &s) || !next_text(y, &q, i, &t)) break;
    if (s.n == t.n && memcmp(s.p, t.p, s.n) == 0) continue;
    return myna__err(err, MYNA_E_ARG, "%s cannot draft for %s: token %llu is \"%.*s\", not \"%.*s\"", draft->path,
                     target->path, (unsigned long long)i, (int)MYNA__MIN(t.n, 40), t.p, (int)MYNA__MIN(s.n, 40), s.p);
  }
  return 0;
}

/* ---- making ---- */

static int alloc(myna__draft *d, myna_err *err) {
  size_t n = (size_t)d->lm->opt.n_tok * sizeof(int32_t);
  d->tokens = myna__alloc(n);
  d->pos = myna__alloc(n);
  d->seq = myna__alloc(n);
  d->rows = myna__alloc((size_t)d->lm->opt.n_seq * sizeof(int32_t));
  bool few = d->model->cfg.n_vocab < d->n_vocab;
  if (few) d->row = myna__alloc((size_t)d->n_vocab * sizeof *d->row);
  for (int64_t i = d->model->cfg.n_vocab; d->row && i < d->n_vocab; i++) d->row[i] = -INFINITY;
  if (d->tokens && d->pos && d->seq && d->rows && (d->row || !few)) return 0;
  return myna__err(err, MYNA_E_NOMEM, "no memory for a draft model");
}

int myna__draft_new(myna__draft **out, myna_model *m, const myna_model *target, const myna__lm_options *o,
                    myna_err *err) {
  *out = NULL;
  myna__draft *d = myna__calloc(sizeof *d);
  if (!d) return myna__err(err, MYNA_E_NOMEM, "no memory for a draft model");
  d->model = m;
  d->n_vocab = target->cfg.n_vocab;
  d->share = 0.02 + (double)m->weight_bytes / (double)MYNA__MAX(target->weight_bytes, 1);
  d->all = myna__spec_odds_of((double)all_prior);
  for (int i = 0; i < MYNA__DRAFT_CLASSES; i++) d->odds[i] = myna__spec_odds_of((double)class_prior[i]);
  if (m->cfg.n_expert > 0) d->costs.fresh = 1 - (double)m->cfg.n_expert_used / (double)m->cfg.n_expert;
  int rc = myna__lm_new(&d->lm, m, o, err);
  if (rc == 0) rc = myna__engine_caches(d->kv, d->lm, err, &d->pages);
  if (rc == 0) rc = alloc(d, err);
  if (rc == 0 && myna__model_tokenizer((myna_model *)(uintptr_t)target, &d->tok, NULL) < 0) d->tok = NULL;
  if (rc < 0) {
    myna__draft_free(d);
    return rc;
  }
  *out = d;
  return 0;
}

void myna__draft_free(myna__draft *d) {
  if (!d) return;
  for (int g = 0; g < MYNA__MAX_GROUPS; g++) myna__kv_free(d->kv[g]);
  if (d->lm) {
    size_t n = (size_t)d->lm->opt.n_tok * sizeof(int32_t);
    myna__free(d->tokens, n);
    myna__free(d->pos, n);
    myna__free(d->seq, n);
    myna__free(d->rows, (size_t)d->lm->opt.n_seq * sizeof(int32_t));
  }
  if (d->row) myna__free(d->row, (size_t)d->n_vocab * sizeof *d->row);
  myna__lm_free(d->lm);
  myna__free(d, sizeof *d);
}

int64_t myna__draft_computed(const myna__draft *d) { return d->computed; }
void myna__draft_fix_costs(myna__draft *d, double share) {
  d->costs.fixed = true;
  d->share = share;
}

int64_t myna__draft_pages_used(const myna__draft *d) {
  int64_t used = 0;
  for (int g = 0; g < d->lm->n_groups; g++) {
    myna__kv_stats s;
    myna__kv_get_stats(d->kv[g], &s);
    used += s.used;
  }
  return used;
}

/* ---- pages ---- */

/* What is computed already of a text that ends at j->n: the same number of positions in every group. */
static void reuse_prefix(myna__draft *d, myna__job *j) {
  int64_t n = j->n - 1, before;
  do {
    before = n;
    for (int g = 0; g < d->lm->n_groups; g++) n = MYNA__MIN(n, myna__kv_probe(d->kv[g], j->tokens, j->n, n));
  } while (n < before);
  if (n <= 0) return;
  for (int g = 0; g < d->lm->n_groups; g++) myna__kv_adopt(d->kv[g], j->seq, j->tokens, n);
  j->by_model.n_done = j->by_model.n_commit = n;
}

void myna__draft_release(myna__draft *d, myna__job *j) {
  if (!d || j->seq < 0) return;
  myna__draft_seq *s = &j->by_model;
  int64_t n = MYNA__MIN(s->n_done, s->n > 0 ? s->from : j->n); /* what was drafted may not be the job's text */
  for (int g = 0; g < d->lm->n_groups; g++) myna__kv_release(d->kv[g], j->seq, j->tokens, n, true);
  s->n_done = s->n_commit = 0;
}

static void commit(myna__draft *d, myna__job *j) {
  myna__draft_seq *s = &j->by_model;
  if (s->n_done / MYNA__PAGE == s->n_commit / MYNA__PAGE) return;
  for (int g = 0; g < d->lm->n_groups; g++) myna__kv_commit(d->kv[g], j->seq, j->tokens, s->n_done);
  s->n_commit = s->n_done;
}

/* Pages for the text and `more` drafted tokens. */
static bool reserve(myna__draft *d, myna__job *j, int64_t more) {
  myna__draft_seq *s = &j->by_model;
  if (s->n_done == 0 && !j->req.no_prefix) reuse_prefix(d, j);
  commit(d, j);
  myna_err full = {0};
  for (int g = 0; g < d->lm->n_groups; g++)
    if (myna__kv_reserve(d->kv[g], j->seq, s->n_done, j->n + more, &full) < 0) {
      myna__draft_release(d, j);
      return false;
    }
  return true;
}

/* ---- who gets drafts ---- */

/* Time of a step of the draft model with so many rows, in steps of the target with one. */
static double time_of(const myna__draft *d, const myna__costs *target, int64_t rows) {
  if (myna__costs_known(&d->costs) && myna__costs_known(target))
    return myna__costs_seconds(&d->costs, rows) / myna__costs_seconds(target, 1);
  return d->share * myna__costs_of(&d->costs, rows);
}

/* The number of tokens that would raise the rate most, if each were right with probability p and took `time` to draft. */
static int best_length(const myna__spec_step *step, double p, double time, int max) {
  double best = myna__spec_rate(step, 0, 0, 0), brings = 0, right = 1;
  int n = 0;
  for (int k = 1; k <= max; k++) {
    right *= p;
    brings += right;
    double rate = myna__spec_rate(step, k, brings, k * time);
    if (rate > best) best = rate, n = k;
  }
  return n;
}

/* A job begins with what other jobs have shown. */
static void start(const myna__draft *d, myna__draft_seq *s) {
  s->started = true;
  s->next_pause = PAUSE_MIN;
  s->all = myna__spec_odds_of(myna__spec_odds_get(&d->all));
  for (int i = 0; i < MYNA__DRAFT_CLASSES; i++) s->odds[i] = myna__spec_odds_of(myna__spec_odds_get(&d->odds[i]));
}

/* Whether j is to be drafted for in this step; `time`: its share of a step of the draft model. */
static bool begin(myna__draft *d, myna__job *j, int64_t room, double time, const myna__spec_step *step) {
  myna__draft_seq *s = &j->by_model;
  const myna_speculation *o = &j->req.speculation;
  s->n = 0;
  s->from = j->n;
  s->reach = 1;
  s->probe = false;
  if (!s->started) start(d, s);
  s->limit = (int)MYNA__MIN(room, o->n_max ? o->n_max : N_MAX);
  if (s->off || s->limit < MYNA__MAX(o->n_min, 1)) return false;
  if (s->pause > 0) s->pause--;
  if (s->no_pages > 0) {
    s->no_pages--;
    return false;
  }
  bool pays = best_length(step, myna__spec_odds_get(&s->all), time, s->limit) > 0;
  if (!o->always && (!pays || j->credit.left <= 0)) {
    if (s->pause > 0 || j->credit.left <= 0) return false;
    s->pause = s->next_pause;
    s->next_pause = MYNA__MIN(2 * s->next_pause, PAUSE_MAX);
    s->probe = true;
    s->limit = 1;
    s->all.hits /= 2; /* what was learned so long ago counts less than what the probe will say */
    s->all.tries /= 2;
  } else {
    s->next_pause = PAUSE_MIN;
  }
  if (!reserve(d, j, s->limit)) {
    s->no_pages = NO_PAGES;
    return false;
  }
  /* Catching up with the answer counts as spent, with the prompt not: that is done once. */
  int64_t behind = MYNA__MIN(j->n - s->n_done, j->n_gen);
  if (behind > 1) j->draft_cost += time_of(d, step->costs, behind) - time_of(d, step->costs, 1);
  return true;
}

/* ---- a step of the draft model ---- */

/* A draft that is too short is none; then the sampler forgets it. */
static void finish(myna__job *j) {
  if (j->n_draft < j->req.speculation.n_min) j->n_draft = 0;
  if (j->by_model.n > 0) myna__sampler_rollback(j->sampler, j->by_model.n);
}

static int32_t token_at(const myna__job *j, int64_t pos) {
  return pos < j->n ? j->tokens[pos] : j->by_model.token[pos - j->n];
}

/* Computes what the pages of jobs[0..n) lack, as far as it fits. Those that are complete then come first, each with a row of logits; returns how many. */
static int compute(myna__draft *d, myna__job **jobs, int n, const float **logits) {
  int64_t at = 0, most = d->lm->opt.n_tok;
  int complete = 0;
  for (int i = 0; i < n; i++) {
    myna__job *j = jobs[i];
    myna__draft_seq *s = &j->by_model;
    int64_t end = j->n + s->n, to = MYNA__MIN(end, s->n_done + most - at);
    for (int64_t p = s->n_done; p < to && !s->off; p++, at++) {
      d->tokens[at] = token_at(j, p);
      d->pos[at] = (int32_t)p;
      d->seq[at] = j->seq;
      if (d->tokens[at] >= d->model->cfg.n_vocab) s->off = true, to = s->n_done = p; /* never again */
    }
    s->n_done = to;
    if (to < end || s->off) {
      finish(j);
      continue;
    }
    d->rows[complete] = (int32_t)(at - 1);
    jobs[complete++] = j;
  }
  d->timed_rows = at == complete ? at : 0;
  if (at == 0) return 0;
  d->computed += at;
  /* The plan wants a row at least: where nobody is complete, the last one is for nobody. */
  if (complete == 0) d->rows[0] = (int32_t)(at - 1);
  int64_t n_out = MYNA__MAX(complete, 1);
  myna__lm_step step = {
      .n_tok = at, .n_out = n_out, .tokens = d->tokens, .pos = d->pos, .seq = d->seq, .rows = d->rows};
  myna_err err = {0};
  if (myna__lm_step_run(d->lm, &step, logits, &err) == 0) return complete;
  myna__log(1, "the draft model failed and is not used any more: %s", err.msg);
  d->broken = true;
  for (int i = 0; i < complete; i++) finish(jobs[i]);
  return 0;
}

/* ---- choosing tokens ---- */

/* Logits as the target's sampler wants them. */
static const float *row_of(myna__draft *d, const float *logits, int64_t i) {
  int64_t v = d->model->cfg.n_vocab;
  const float *row = logits + i * v;
  if (!d->row) return row;
  return memcpy(d->row, row, (size_t)v * sizeof *row);
}

/* The probability of a token, roughly: what is far below it or below the best does not count. */
static float sureness(const float *row, int64_t n, int32_t id) {
  enum { FAR = 10 };
  float best = row[id], sum = 0;
  for (int64_t i = 0; i < n; i++) best = MYNA__MAX(best, row[i]);
  for (int64_t i = 0; i < n; i++)
    if (row[i] > best - FAR) sum += expf(row[i] - best);
  return expf(row[id] - best) / sum;
}

static int class_of(float p) {
  int i = 0;
  while (p > class_upto[i]) i++;
  return i;
}

/* For measurements: what the answer will be, or not, by chance; -1 where the draft model decides. */
static int32_t forced(const myna__draft *d, const myna__job *j, int i) {
  int64_t at = j->n_gen + i;
  float p = j->req.speculation.force_accept;
  if (!(p > 0) || at >= j->req.n_forced) return -1;
  bool right = myna__random(j->req.sampling.seed, (uint64_t)at, FORCED) < (double)p;
  return right ? j->forced[at] : (int32_t)((j->forced[at] + 1) % d->n_vocab);
}

/* The next token of j's draft. Returns whether to go on behind it; `time`: its share of another step. */
static bool take(myna__draft *d, myna__job *j, const float *row, int64_t *total, double time, myna__spec_step *step) {
  myna__draft_seq *s = &j->by_model;
  const myna_speculation *o = &j->req.speculation;
  int32_t id = forced(d, j, s->n);
  float p = 0.6f; /* what is forced is not sampled, as in the answer */
  if (id < 0) {
    id = myna__sampler_sample(j->sampler, row, NULL);
    if (id < 0) return false;
    p = sureness(row, MYNA__MIN(d->n_vocab, d->model->cfg.n_vocab), id);
  }
  if ((d->tok && myna__token_is_eog(d->tok, id)) || p < o->p_min) return false;
  int i = s->n++;
  s->token[i] = id;
  s->class[i] = (uint8_t)class_of(p);
  myna__sampler_accept(j->sampler, id, true);
  s->reach *= myna__spec_odds_get(&s->odds[s->class[i]]);
  if (s->probe || *total <= 0) return false;
  double now = myna__spec_rate(step, 0, 0, 0);
  if (!o->always && myna__spec_rate(step, 1, s->reach, 0) <= now) return false;
  j->draft[j->n_draft++] = id;
  double before = myna__costs_of(step->costs, step->rows);
  step->rows++;
  step->useful += s->reach;
  j->draft_cost += MYNA__MAX(myna__costs_of(step->costs, step->rows) - before, 0);
  --*total;
  if (j->n_draft >= s->limit) return false;
  double next = s->reach * myna__spec_odds_get(&s->all);
  return o->always || myna__spec_rate(step, 1, next, time) > myna__spec_rate(step, 0, 0, 0);
}

void myna__draft_run(myna__draft *d, myna__job **jobs, int n, int64_t total, myna__spec_step *step) {
  int live = 0;
  if (d->broken) return;
  double time = time_of(d, step->costs, n) / n;
  for (int i = 0; i < n; i++)
    if (begin(d, jobs[i], MYNA__MIN(jobs[i]->by_model.limit, total), time, step)) jobs[live++] = jobs[i];
  const float *logits = NULL;
  while (live > 0) {
    double start = myna__now();
    live = compute(d, jobs, live, &logits);
    double all = time_of(d, step->costs, live);
    step->spent += all;
    int still = 0;
    for (int i = 0; i < live; i++) {
      myna__job *j = jobs[i];
      j->draft_cost += all / live;
      bool more = take(d, j, row_of(d, logits, i), &total, all / live, step);
      if (!more) finish(j);
      if (more) jobs[still++] = j;
    }
    myna__costs_add(&d->costs, d->timed_rows, myna__now() - start); /* sampling included */
    live = still;
  }
}

/* ---- learning ---- */

void myna__draft_told(myna__draft *d, myna__job *j, int n_right, int32_t next) {
  myna__draft_seq *s = &j->by_model;
  for (int i = 0; i < s->n && i <= n_right; i++) {
    if (i == n_right && next < 0) break;
    bool right = i < n_right || s->token[i] == next;
    myna__spec_odds_add(&s->odds[s->class[i]], right);
    myna__spec_odds_add(&s->all, right);
    myna__spec_odds_add(&d->odds[s->class[i]], right);
    myna__spec_odds_add(&d->all, right);
  }
  if (s->probe && s->n == 1 && s->token[0] == next) {
    s->pause = 0;
    s->next_pause = PAUSE_MIN;
  }
  s->n = 0;
  if (s->n_done == 0) return; /* given back since */
  s->n_done = MYNA__MIN(s->n_done, s->from + n_right);
  for (int g = 0; g < d->lm->n_groups; g++) myna__kv_trim(d->kv[g], j->seq, s->n_done);
}
