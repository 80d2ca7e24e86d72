/* step.c: what the engine thread does: admit requests, choose tokens, run one step, sample, tell.
 *
 * A step holds one token of every sequence that decodes and as many prompt tokens of the others as its time allows (budget.c), the same for every client. Results do
 * not depend on how tokens are grouped (decision 7), so the choice is free. When the page pool is full the youngest request gives its pages back and
 * waits; what it computed stays in the prefix index until the space is needed.
 *
 * Speculation: drafts (spec.c, draft.c) take rows and pages that are left over then, and never anybody's place. Each draft's logits are looked at only when the
 * sampler chose that very token, in the order and with the state of steps of one token; what is wrong is as if it had not been computed: n_done
 * stays before it, so its K and V are written over and never indexed, and its pages go back. */
#include "engine/job.h"

/* ---- the end of a job ---- */

static void unlink_locked(myna_engine *e, myna__job *j) {
  myna__job **at = &e->running;
  while (*at != j) at = &(*at)->next;
  *at = j->next;
  j->client->n_running--;
  e->stats.n_running--;
}

static void unlink_job(myna_engine *e, myna__job *j) {
  pthread_mutex_lock(&e->lock);
  unlink_locked(e, j);
  myna__client_leave(e, j->client);
  pthread_mutex_unlock(&e->lock);
}

static void give_back(myna_engine *e, myna__job *j) {
  if (j->seq < 0) return;
  for (int g = 0; g < e->lm->n_groups; g++) myna__kv_release(e->kv[g], j->seq, j->tokens, j->n_done, true);
  myna__draft_release(e->draft, j);
  e->seq_used[j->seq] = false;
  j->seq = -1;
}

static int out_of_memory(const myna__job *j, myna_err *err) {
  return myna__err(err, MYNA_E_NOMEM, "no memory for the answer to request %lld", (long long)j->id);
}

static void post_done(myna_engine *e, myna__job *j, myna_finish finish, const myna_err *err) {
  myna_event ev = {.id = j->id, .kind = MYNA_EVENT_DONE, .user = j->req.user, .token = -1, .finish = finish};
  e->text.len = 0;
  e->text.failed = false;
  if (!j->req.no_text && e->tok && finish != MYNA_FINISH_STRING) {
    myna__buf tail = {0};
    myna__buf closing = {0};
    bool early = finish == MYNA_FINISH_LENGTH || finish == MYNA_FINISH_CONTEXT;
    if (j->constraint && early) myna__constraint_close(j->constraint, &closing);
    if (closing.len > 0 && j->detok.n_pending > 0) { /* it goes on within the character */
      myna__buf_add(&tail, j->detok.pending, (size_t)j->detok.n_pending);
      j->detok.n_pending = 0;
    }
    myna__detok_finish(&j->detok, &tail);
    myna__stops_push(&j->stops, tail.data ? tail.data : "", tail.len, &e->text);
    myna__stops_finish(&j->stops, &e->text);
    e->text.failed |= tail.failed || j->stops.held.failed;
    myna__buf_free(&tail);
    if (closing.len > 0) myna__buf_add(&e->text, closing.data, closing.len);
    e->text.failed |= closing.failed;
    myna__buf_free(&closing);
  }
  ev.text = e->text.data;
  ev.text_len = (int64_t)e->text.len;
  if (err) ev.err = *err;
  double now = myna__now();
  ev.timings = (myna_timings){.n_prompt = j->n_prompt,
                              .n_cached = j->n_cached,
                              .n_gen = j->n_gen,
                              .n_drafted = j->n_drafted,
                              .n_accepted = j->n_accepted};
  if (j->t_start > 0) ev.timings.queue_s = j->t_start - j->t_submit;
  if (j->t_prompt > 0) {
    ev.timings.prompt_s = j->t_prompt - j->t_start;
    ev.timings.gen_s = now - j->t_prompt;
  }
  if (j->t_first > 0) ev.timings.first_token_s = j->t_first - j->t_submit;
  if (!e->text.failed && myna__engine_post(e, &ev) == 0) return;
  if (!err) {
    ev.finish = MYNA_FINISH_ERROR;
    out_of_memory(j, &ev.err);
  }
  myna__engine_post_reserved(e, j, &ev);
}

/* What the pages are doing, for those who ask. */
static void update_pages(myna_engine *e) {
  int64_t used = 0, shared = 0;
  for (int g = 0; g < e->lm->n_groups; g++) {
    myna__kv_stats s;
    myna__kv_get_stats(e->kv[g], &s);
    used += s.used;
    shared += s.shared;
  }
  pthread_mutex_lock(&e->lock);
  e->stats.pages_used = used;
  e->stats.pages_shared = shared;
  pthread_mutex_unlock(&e->lock);
}

/* The job leaves: pages back, DONE event, memory freed. It must be in the running list. */
static void finish(myna_engine *e, myna__job *j, myna_finish why, const myna_err *err) {
  give_back(e, j);
  update_pages(e); /* before the event, so that its reader sees them */
  unlink_job(e, j);
  post_done(e, j, why, err);
  myna__job_free(j);
}

static void count(myna_engine *e, int64_t *counter, int64_t n) {
  pthread_mutex_lock(&e->lock);
  *counter += n;
  pthread_mutex_unlock(&e->lock);
}

/* ---- leaving early ---- */

static void drop_cancelled(myna_engine *e) {
  for (myna__job *j = e->running, *next; j; j = next) {
    next = j->next;
    if (atomic_load(&j->cancelled)) finish(e, j, MYNA_FINISH_CANCELLED, NULL);
  }
  for (;;) {
    pthread_mutex_lock(&e->lock);
    myna__job **at = &e->queue;
    while (*at && (!atomic_load(&(*at)->cancelled) || myna__fetch_busy(*at))) at = &(*at)->next;
    myna__job *j = *at;
    if (j) {
      *at = j->next;
      e->stats.n_queued--;
      myna__client_leave(e, j->client);
    }
    pthread_mutex_unlock(&e->lock);
    if (!j) return;
    myna__fetch_end(e, j);
    post_done(e, j, MYNA_FINISH_CANCELLED, NULL);
    myna__job_free(j);
  }
}

/* ---- choosing tokens ---- */

/* Its pages go back; what they hold stays in the index as long as there is room. */
static void to_queue(myna_engine *e, myna__job *victim) {
  give_back(e, victim);
  victim->n_done = victim->n_commit = 0;
  victim->state = MYNA__JOB_QUEUED;
  pthread_mutex_lock(&e->lock); /* in one go, so that cancel always finds it */
  unlink_locked(e, victim);
  victim->next = e->queue;
  e->queue = victim;
  e->stats.n_queued++;
  pthread_mutex_unlock(&e->lock);
}

/* Another running job (fair.c says which) goes back to the queue's front. False when there is none: then keep waits. */
static bool preempt(myna_engine *e, const myna__job *keep) {
  myna__job *victim = myna__fair_loser(e, keep);
  if (!victim) return false;
  to_queue(e, victim);
  return true;
}

static int reserve(myna_engine *e, const myna__job *j, int64_t n, myna_err *err) {
  for (int g = 0; g < e->lm->n_groups; g++) TRY(myna__kv_reserve(e->kv[g], j->seq, j->n_done, j->n_done + n, err));
  return 0;
}

/* Room for n more positions of j, at the cost of younger jobs if need be. */
static int make_room(myna_engine *e, myna__job *j, int64_t n, myna_err *err) {
  for (;;) {
    myna_err full = {0};
    int rc = reserve(e, j, n, &full);
    if (rc != MYNA_E_LIMIT || !preempt(e, j)) {
      if (rc < 0 && err) *err = full;
      return rc;
    }
  }
}

typedef struct batch {
  int64_t n, n_out;
} batch;

/* Rows with logits of the next n tokens of j. */
static int64_t rows_of(const myna__job *j, int64_t n) { return j->req.want_logits ? n : j->n_done + n == j->n; }

static void choose(batch *b, myna__job *j, int64_t n) {
  j->chunk = n;
  j->n_out = rows_of(j, n);
  b->n += n;
  b->n_out += j->n_out;
}

/* Up to n tokens of j, if there is room. False when j is gone: alone and still too large. */
static bool take(myna_engine *e, batch *b, myna__job *j, int64_t n) {
  n = MYNA__MIN(MYNA__MIN(n, j->n - j->n_done), e->opt.n_batch - b->n);
  if (b->n_out >= e->n_out_max || n < 1) return true;
  if (j->req.want_logits) n = MYNA__MIN(n, e->n_out_max - b->n_out);
  myna_err err = {0};
  int rc = make_room(e, j, n, &err);
  if (rc == 0) choose(b, j, n);
  if (rc == 0 || e->running != j || j->next || e->n_fetching > 0) return true;
  finish(e, j, MYNA_FINISH_ERROR, &err);
  return false;
}

/* Those that have one token left, in order of arrival. */
static void fill_decode(myna_engine *e, batch *b) {
  for (myna__job *j = e->running; j && b->n < e->opt.n_batch; j = j->next) /* younger ones may go meanwhile */
    if (j->n - j->n_done == 1 && j->chunk == 0 && !take(e, b, j, 1)) return;
}

/* How many prompt tokens the step may have beside those that were chosen. */
static int64_t prompt_tokens(myna_engine *e, const batch *b) {
  myna__budget_ask a = {.n_decode = b->n, .most = e->opt.n_batch - b->n};
  int n = 0;
  for (const myna__job *j = e->running; j; j = j->next) {
    if (j->chunk > 0) {
      a.decode_before += (double)j->n_done;
    } else if (j->n - j->n_done >= 2) {
      a.left += j->n - j->n_done;
      a.before += (double)j->n_done;
      n++;
    }
  }
  if (n == 0) return 0;
  a.before /= n;
  return myna__budget_tokens(&e->budget, &e->costs, &a);
}

/* Prompts, a share for each client, until the step has `most` tokens. What others compute right now is left to them. Those that only seemed to (they found no room) are asked
 * again: sure. */
static void fill_prompts(myna_engine *e, batch *b, int64_t most, bool sure) {
  int n = 0;
  for (myna__job *j = e->running; j; j = j->next) {
    if (j->chunk > 0 || j->n - j->n_done < 2) continue;
    myna__job_catch_up(e, j);
    if (!myna__job_waits(e, j, sure)) e->reading[n++] = j;
  }
  myna__fair_divide(e->reading, n, most - b->n);
  for (int i = 0; i < n; i++) {
    myna__job *j = e->reading[i];
    int64_t before = b->n;
    if (j->seq < 0 || j->chunk > 0) continue; /* it made room for another */
    if (!take(e, b, j, j->client->quota)) return;
    j->client->quota -= b->n - before;
  }
}

/* ---- drafts ---- */

/* How many tokens may be drafted for j: as many as the step, the context and the answer have room for behind the next one. */
static int64_t draft_room(const myna_engine *e, const batch *b, const myna__job *j) {
  if (j->chunk != 1 || j->n_done + 1 != j->n || j->n_gen == 0) return 0;
  int64_t room = MYNA__MIN(e->opt.n_batch - b->n, e->n_out_max - b->n_out);
  room = MYNA__MIN(room, e->opt.n_ctx - j->n);
  return j->req.max_tokens > 0 ? MYNA__MIN(room, j->req.max_tokens - j->n_gen - 1) : room;
}

/* Gives back what was reserved behind position n. */
static void trim(myna_engine *e, const myna__job *j, int64_t n) {
  for (int g = 0; g < e->lm->n_groups; g++) myna__kv_trim(e->kv[g], j->seq, n);
}

/* Pages for n tokens behind the chosen one, without taking any from others: fewer when they are not to be had. */
static int64_t reserve_draft(myna_engine *e, const myna__job *j, int64_t n) {
  myna_err full = {0};
  if (reserve(e, j, 1 + n, &full) == 0) return n;
  trim(e, j, j->n);
  return MYNA__MIN(n, (MYNA__PAGE - j->n % MYNA__PAGE) % MYNA__PAGE); /* the page of the chosen token has room */
}

/* j's draft enters the step. */
static void take_draft(myna_engine *e, batch *b, myna__job *j) {
  if (j->n_draft > 0) j->n_draft = (int)reserve_draft(e, j, j->n_draft);
  if (j->n_draft < j->req.speculation.n_min) j->n_draft = 0;
  j->n_out += j->n_draft;
  b->n += j->n_draft;
  b->n_out += j->n_draft;
}

static void look_up(myna__job *j, int64_t room, myna__spec_step *step) {
  if (j->credit.left <= 0 && !j->req.speculation.always) return;
  double before = myna__costs_of(step->costs, step->rows);
  j->n_draft = myna__spec_draft(j->spec, j->tokens, room, step, j->draft);
  j->draft_cost = MYNA__MAX(myna__costs_of(step->costs, step->rows) - before, 0);
}

/* After everything else was chosen: what the text says, and where it says nothing, what the draft model does. */
static void fill_drafts(myna_engine *e, batch *b) {
  myna__spec_step step = {.costs = &e->costs, .rows = b->n, .useful = (double)b->n};
  int n = 0;
  for (myna__job *j = e->running; j; j = j->next) {
    j->draft_cost = 0;
    int64_t room = j->req.speculation.kind ? draft_room(e, b, j) : 0;
    if (room <= 0) continue;
    step.rows = b->n;
    look_up(j, room, &step);
    take_draft(e, b, j);
    if (j->n_draft == 0 && ((unsigned)j->req.speculation.kind & MYNA_SPECULATION_DRAFT)) e->drafting[n++] = j;
  }
  if (n == 0) return;
  int64_t total = MYNA__MIN(e->opt.n_batch - b->n, e->n_out_max - b->n_out);
  step.rows = b->n;
  for (int i = 0; i < n; i++)
    e->drafting[i]->by_model.limit = (int)MYNA__MIN(draft_room(e, b, e->drafting[i]), MYNA__SPEC_MAX);
  myna__draft_run(e->draft, e->drafting, n, total, &step);
  for (myna__job *j = e->running; j; j = j->next)
    if (j->by_model.n > 0) take_draft(e, b, j);
}

/* Writes what was chosen into the step's arrays: the tokens of a sequence side by side. */
static void lay_out(myna_engine *e) {
  int64_t at = 0, row = 0;
  for (myna__job *j = e->running; j; j = j->next) {
    if (j->chunk == 0) continue;
    int64_t n = j->chunk + j->n_draft;
    j->first_out = row;
    for (int64_t i = 0; i < n; i++, at++) {
      e->step_tokens[at] = i < j->chunk ? j->tokens[j->n_done + i] : j->draft[i - j->chunk];
      e->step_pos[at] = (int32_t)(j->n_done + i);
      e->step_seq[at] = j->seq;
      if (i >= n - j->n_out) e->step_rows[row++] = (int32_t)at;
    }
  }
}

/* ---- after the step ---- */

static int post_token(myna_engine *e, myna__job *j, int32_t id, const float *logits) {
  myna_event ev = {.id = j->id,
                   .kind = MYNA_EVENT_TOKEN,
                   .user = j->req.user,
                   .token = id,
                   .text = e->text.data,
                   .text_len = (int64_t)e->text.len,
                   .n_cached = j->n_cached};
  if (j->req.n_probs > 0) {
    int32_t *ids = (int32_t *)(j->top + j->req.n_probs);
    float *probs = (float *)(ids + j->req.n_probs);
    ev.n_top = j->req.n_probs;
    if (j->req.post_probs)
      ev.n_top = myna__sampler_last(j->sampler, id, &ev.logprob, ev.n_top, ids, probs, j->top);
    else
      myna__logprobs_in(logits, e->model->cfg.n_vocab, id, &ev.logprob, ev.n_top, ids, probs, j->top);
    ev.top_ids = ids;
    ev.top_logprobs = probs;
  }
  if (j->req.branches && j->constraint)
    ev.n_branch = myna__constraint_branches(j->constraint, &ev.branch_ids, &ev.branch_logprobs);
  return myna__engine_post(e, &ev);
}

/* Drops the older half behind n_keep; the rest is computed again through the normal path. */
static void shift_context(myna_engine *e, myna__job *j) {
  int64_t keep = j->req.n_keep, drop = (j->n - keep) / 2; /* at least 1: n is beyond the context, keep within */
  int seq = j->seq;
  for (int g = 0; g < e->lm->n_groups; g++) myna__kv_release(e->kv[g], seq, j->tokens, j->n_done, true);
  myna__draft_release(e->draft, j);
  memmove(j->tokens + keep, j->tokens + keep + drop, (size_t)(j->n - keep - drop) * sizeof *j->tokens);
  j->n -= drop;
  j->n_done = j->n_commit = 0;
  myna__spec_reset(j->spec);
  myna__job_reuse(e, j);
}

/* Whether the token is a control token that the request wants to see. */
static bool is_shown(const myna_engine *e, const myna__job *j, int32_t id) {
  char piece[128];
  if (!j->shown || myna__token_bytes(e->tok, id, false, piece, sizeof piece) > 0) return false;
  int64_t n = myna__token_bytes(e->tok, id, true, piece, sizeof piece);
  return n > 0 && n < (int64_t)sizeof piece && memmem(j->shown, strlen(j->shown), piece, (size_t)n);
}

/* Takes one sampled token into the job. Returns why it ends, or MYNA_FINISH_NONE; err only with MYNA_FINISH_ERROR. */
static myna_finish accept(myna_engine *e, myna__job *j, int32_t id, const float *logits, myna_err *err) {
  bool forced = j->n_gen < j->req.n_forced;
  if (j->t_first == 0) j->t_first = myna__now();
  if (!forced && e->tok && myna__token_is_eog(e->tok, id)) return MYNA_FINISH_STOP;
  j->n_gen++;
  myna__sampler_accept(j->sampler, id, true);
  if (j->constraint && myna__constraint_accept(j->constraint, id, err) < 0) return MYNA_FINISH_ERROR;
  e->text.len = 0;
  e->text.failed = false;
  bool stopped = false;
  if (!j->req.no_text && e->tok) {
    myna__buf piece = {0};
    myna__detok_push(e->tok, &j->detok, id, is_shown(e, j, id), &piece);
    stopped = myna__stops_push(&j->stops, piece.data ? piece.data : "", piece.len, &e->text);
    e->text.failed |= piece.failed || j->stops.held.failed;
    myna__buf_free(&piece);
  }
  if (e->text.failed || post_token(e, j, id, logits) < 0) {
    out_of_memory(j, err);
    return MYNA_FINISH_ERROR;
  }
  if (stopped) return MYNA_FINISH_STRING;
  if (j->req.max_ms > 0 && (myna__now() - j->t_first) * 1e3 >= (double)j->req.max_ms) return MYNA_FINISH_LENGTH;
  if (j->req.max_tokens > 0 && j->n_gen >= j->req.max_tokens) return MYNA_FINISH_LENGTH;
  j->tokens[j->n++] = id;
  myna__spec_credit_token(&j->credit);
  bool full = j->n > e->opt.n_ctx;
  if (full && !j->req.context_shift) return MYNA_FINISH_CONTEXT;
  if (full) shift_context(e, j);
  myna__spec_add(j->spec, j->tokens, j->n, !full);
  return MYNA_FINISH_NONE;
}

/* Rows that were told before the job was preempted are not told again. */
static int post_logits(myna_engine *e, myna__job *j, const float *logits) {
  int64_t v = e->model->cfg.n_vocab, told = MYNA__MAX(j->n_told - j->n_done, 0);
  if (told >= j->n_out) return 0;
  myna_event ev = {.id = j->id,
                   .kind = MYNA_EVENT_LOGITS,
                   .user = j->req.user,
                   .token = -1,
                   .logits = logits + (j->first_out + told) * v,
                   .n_vocab = v};
  ev.first_row = j->n_done + told;
  ev.n_rows = j->n_out - told;
  j->n_told = j->n_done + j->n_out;
  return myna__engine_post(e, &ev);
}

/* Pages that became full enter the index; windows let go of what lies behind. */
static void commit(myna_engine *e, myna__job *j, bool end) {
  if (j->n_done / MYNA__PAGE == j->n_commit / MYNA__PAGE && !end) return;
  for (int g = 0; g < e->lm->n_groups; g++) myna__kv_commit(e->kv[g], j->seq, j->tokens, j->n_done);
  j->n_commit = j->n_done;
}

/* A prompt is computed: all of it can be found, by those who ask the same at the same time and by the next turn. */
static void keep(myna_engine *e, myna__job *j) {
  for (int g = 0; g < e->lm->n_groups; g++) myna__kv_keep(e->kv[g], j->seq, j->tokens, j->n_done);
  j->n_commit = j->n_done;
}

static void progress(myna_engine *e, const myna__job *j) {
  myna_event ev = {
      .id = j->id, .kind = MYNA_EVENT_PROGRESS, .user = j->req.user, .token = -1, .n_done = j->n_done, .n_total = j->n};
  ev.n_cached = j->n_cached;
  myna__engine_post(e, &ev); /* nobody waits for this one */
}

static myna_finish next_token(myna_engine *e, myna__job *j, const float *row, int32_t *id, myna_err *err) {
  if (j->n_gen < j->req.n_forced)
    *id = j->forced[j->n_gen];
  else
    *id = j->constraint ? myna__constraint_sample(j->constraint, j->sampler, row, err)
                        : myna__sampler_sample(j->sampler, row, err);
  return *id < 0 ? MYNA_FINISH_ERROR : accept(e, j, *id, row, err);
}

/* What became of a step's draft, of which `right` tokens were chosen and then `id`. */
static void learn(myna_engine *e, myna__job *j, int n_draft, int right, int32_t id) {
  if (j->draft_cost > 0) myna__spec_credit_draft(&j->credit, j->draft_cost, right);
  if (j->by_model.n > 0)
    myna__draft_told(e->draft, j, right, id);
  else
    myna__spec_told(j->spec, n_draft, right);
  if (n_draft == 0) return;
  pthread_mutex_lock(&e->lock);
  e->stats.n_gen_tokens += right;
  e->stats.n_drafted += n_draft;
  e->stats.n_accepted += right;
  j->client->served += right;
  pthread_mutex_unlock(&e->lock);
  trim(e, j, j->n_done);
  commit(e, j, false);
}

/* The next token, and as long as the drafts are what was chosen, those after it. */
static void answer(myna_engine *e, myna__job *j, const float *logits) {
  myna_err err = {0};
  myna_finish why;
  int n_draft = j->n_draft, right = 0;
  int32_t id;
  j->n_draft = 0;
  j->n_drafted += n_draft;
  for (;; right++) {
    const float *row = logits + (j->first_out + right) * e->model->cfg.n_vocab;
    why = next_token(e, j, row, &id, &err);
    if (why != MYNA_FINISH_NONE || right == n_draft || id != j->draft[right] || atomic_load(&j->cancelled)) break;
    j->n_accepted++;
    j->n_done++;
  }
  learn(e, j, n_draft, right, id);
  if (why != MYNA_FINISH_NONE) finish(e, j, why, why == MYNA_FINISH_ERROR ? &err : NULL);
}

static void after(myna_engine *e, myna__job *j, const float *logits) {
  myna_err err = {0};
  if (j->req.want_logits && post_logits(e, j, logits) < 0) {
    out_of_memory(j, &err);
    finish(e, j, MYNA_FINISH_ERROR, &err);
    return;
  }
  j->n_done += j->chunk;
  bool prompt = j->n_gen == 0;
  count(e, prompt ? &e->stats.n_prompt_tokens : &e->stats.n_gen_tokens, j->chunk);
  count(e, &j->client->served, j->chunk);
  if (prompt && j->n - j->n_done > 0) progress(e, j);
  j->chunk = 0;
  commit(e, j, false);
  if (j->n_done < j->n) return;
  if (prompt) keep(e, j);
  if (j->t_prompt == 0) j->t_prompt = myna__now();
  if (j->req.want_logits)
    finish(e, j, MYNA_FINISH_LENGTH, NULL);
  else
    answer(e, j, logits);
}

static void fail_all(myna_engine *e, const myna_err *err) {
  for (myna__job *j = e->running, *next; j; j = next) {
    next = j->next;
    if (j->chunk > 0) finish(e, j, MYNA_FINISH_ERROR, err);
  }
}

static void learn_step(myna_engine *e, const batch *b, double seconds) {
  if (b->n == b->n_out)
    myna__costs_add(&e->costs, b->n, seconds);
  else
    myna__engine_learn_prompt(e, b->n, seconds);
}

bool myna__engine_step(myna_engine *e) {
  drop_cancelled(e);
  for (myna__job *victim; (victim = myna__engine_admit(e));) to_queue(e, victim);
  batch b = {0};
  fill_decode(e, &b);
  int64_t most = b.n + prompt_tokens(e, &b);
  fill_prompts(e, &b, most, false);
  fill_prompts(e, &b, most, true);
  if (b.n == 0) return false;
  fill_drafts(e, &b);
  lay_out(e);
  const float *logits = NULL;
  myna_err err = {0};
  myna__lm_step s = {.n_tok = b.n,
                     .n_out = b.n_out,
                     .tokens = e->step_tokens,
                     .pos = e->step_pos,
                     .seq = e->step_seq,
                     .rows = e->step_rows};
  double start = myna__now();
  if (myna__lm_step_run(e->lm, &s, &logits, &err) < 0) {
    fail_all(e, &err);
    return true;
  }
  learn_step(e, &b, myna__now() - start);
  for (myna__job *j = e->running, *next; j; j = next) {
    next = j->next;
    if (j->chunk > 0) after(e, j, logits);
  }
  update_pages(e);
  count(e, &e->stats.n_steps, 1);
  return true;
}
