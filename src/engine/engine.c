/* engine.c: the engine object: its thread, the queue of requests, the events. step.c holds what a step does.
 *
 * Lock order: one lock. The engine thread alone touches running jobs, the plan and the pages. */
#include "engine/job.h"
#include <errno.h>
#include <time.h>

/* ---- events ---- */

static void append(myna_engine *e, myna__event_node *n) {
  bool logits = n->ev.kind == MYNA_EVENT_LOGITS;
  pthread_mutex_lock(&e->lock);
  while (logits && e->logits_waiting >= 4 && !e->stop)
    pthread_cond_wait(&e->work, &e->lock); /* let the consumer catch up */
  e->logits_waiting += logits;
  if (e->last)
    e->last->next = n;
  else
    e->first = n;
  e->last = n;
  pthread_cond_broadcast(&e->event);
  pthread_mutex_unlock(&e->lock);
}

/* One block holds the node and copies of everything the event borrows. */
int myna__engine_post(myna_engine *e, const myna_event *ev) {
  size_t logits = ev->kind == MYNA_EVENT_LOGITS ? (size_t)(ev->n_rows * ev->n_vocab) * sizeof(float) : 0;
  size_t top = (size_t)(ev->n_top + ev->n_branch) * (sizeof(int32_t) + sizeof(float)), text = (size_t)ev->text_len + 1;
  size_t bytes = sizeof(myna__event_node) + logits + top + text;
  myna__event_node *n = myna__alloc(bytes);
  if (!n) return MYNA_E_NOMEM;
  *n = (myna__event_node){.bytes = bytes, .ev = *ev};
  char *p = (char *)(n + 1);
  if (logits) n->ev.logits = memcpy(p, ev->logits, logits);
  p += logits;
  if (ev->n_top) {
    n->ev.top_ids = memcpy(p, ev->top_ids, (size_t)ev->n_top * sizeof(int32_t));
    n->ev.top_logprobs =
        memcpy(p + (size_t)ev->n_top * sizeof(int32_t), ev->top_logprobs, (size_t)ev->n_top * sizeof(float));
  }
  if (ev->n_branch) {
    char *q = p + (size_t)ev->n_top * (sizeof(int32_t) + sizeof(float));
    n->ev.branch_ids = memcpy(q, ev->branch_ids, (size_t)ev->n_branch * sizeof(int32_t));
    n->ev.branch_logprobs =
        memcpy(q + (size_t)ev->n_branch * sizeof(int32_t), ev->branch_logprobs, (size_t)ev->n_branch * sizeof(float));
  }
  p += top;
  if (ev->text_len) memcpy(p, ev->text, (size_t)ev->text_len);
  p[ev->text_len] = 0;
  n->ev.text = p;
  append(e, n);
  return 0;
}

void myna__engine_post_reserved(myna_engine *e, myna__job *j, const myna_event *ev) {
  myna__event_node *n = j->reserved;
  j->reserved = NULL;
  n->ev = *ev;
  n->ev.text = "";
  n->ev.text_len = 0;
  append(e, n);
}

static void deadline(struct timespec *ts, int timeout_ms) {
  clock_gettime(CLOCK_MONOTONIC, ts);
  ts->tv_sec += timeout_ms / 1000;
  ts->tv_nsec += (long)(timeout_ms % 1000) * 1000000;
  if (ts->tv_nsec >= 1000000000) ts->tv_sec++, ts->tv_nsec -= 1000000000;
}

int myna_next_event(myna_engine *e, int timeout_ms, myna_event *out) {
  struct timespec ts;
  if (timeout_ms >= 0) deadline(&ts, timeout_ms);
  pthread_mutex_lock(&e->lock);
  if (e->taken) myna__free(e->taken, e->taken->bytes);
  e->taken = NULL;
  int rc = 0;
  while (!e->first && rc != ETIMEDOUT)
    rc = timeout_ms < 0 ? pthread_cond_wait(&e->event, &e->lock) : pthread_cond_timedwait(&e->event, &e->lock, &ts);
  myna__event_node *n = e->first;
  if (n) {
    e->first = n->next;
    if (!e->first) e->last = NULL;
    if (n->ev.kind == MYNA_EVENT_LOGITS) {
      e->logits_waiting--;
      pthread_cond_broadcast(&e->work);
    }
    e->taken = n;
    *out = n->ev;
  }
  pthread_mutex_unlock(&e->lock);
  return n != NULL;
}

/* ---- requests ---- */

static size_t top_bytes(const myna__job *j) {
  return (size_t)j->req.n_probs * (sizeof *j->top + sizeof(int32_t) + sizeof(float));
}

void myna__job_free(myna__job *j) {
  if (!j) return;
  myna__sampler_free(j->sampler);
  myna__spec_free(j->spec);
  myna__stops_free(&j->stops);
  myna__constraint_free(j->constraint);
  myna__strfree(j->shown);
  myna__free(j->reserved, sizeof *j->reserved);
  myna__free(j->top, top_bytes(j));
  myna__free(j->tokens, (size_t)j->cap * sizeof *j->tokens);
  myna__free(j->forced, (size_t)j->req.n_forced * sizeof *j->forced);
  myna__free(j, sizeof *j);
}

enum { MAX_CLIENT = 1023 }; /* bytes of a name */

static int check_request(const myna_engine *e, const myna_request *r, myna_err *err) {
  int64_t ctx = e->opt.n_ctx, vocab = e->model->cfg.n_vocab;
  if (!r->tokens || r->n_tokens < 1) return myna__err(err, MYNA_E_ARG, "the prompt is empty");
  if (r->n_tokens > ctx)
    return myna__err(err, MYNA_E_LIMIT, "the prompt has %lld tokens, the context holds %lld", (long long)r->n_tokens,
                     (long long)ctx);
  for (int64_t i = 0; i < r->n_tokens; i++)
    if (r->tokens[i] < 0 || r->tokens[i] >= vocab)
      return myna__err(err, MYNA_E_ARG, "prompt token %lld is %d, the vocabulary has %lld", (long long)i, r->tokens[i],
                       (long long)vocab);
  if (r->n_forced < 0 || (r->n_forced > 0 && !r->forced))
    return myna__err(err, MYNA_E_ARG, "n_forced is %lld%s", (long long)r->n_forced,
                     r->n_forced < 0 ? "" : ", forced is NULL");
  if (r->n_stop < 0 || (r->n_stop > 0 && !r->stop))
    return myna__err(err, MYNA_E_ARG, "n_stop is %d%s", r->n_stop, r->n_stop < 0 ? "" : ", stop is NULL");
  if (r->max_tokens < -1) return myna__err(err, MYNA_E_ARG, "max_tokens is %lld", (long long)r->max_tokens);
  for (int64_t i = 0; i < r->n_forced; i++)
    if (r->forced[i] < 0 || r->forced[i] >= vocab)
      return myna__err(err, MYNA_E_ARG, "forced token %lld is %d, the vocabulary has %lld", (long long)i, r->forced[i],
                       (long long)vocab);
  if (r->n_probs < 0) return myna__err(err, MYNA_E_ARG, "n_probs is %d", r->n_probs);
  TRY(myna__spec_check(&r->speculation, err));
  if (((unsigned)r->speculation.kind & MYNA_SPECULATION_DRAFT) && !e->draft)
    return myna__err(err, MYNA_E_ARG, "speculation.kind asks for a draft model, the engine has none");
  if (r->n_keep < 0 || r->n_keep >= ctx)
    return myna__err(err, MYNA_E_ARG, "n_keep is %lld, the context holds %lld", (long long)r->n_keep, (long long)ctx);
  if (r->max_ms < 0) return myna__err(err, MYNA_E_ARG, "max_ms is %lld", (long long)r->max_ms);
  if (r->client && strnlen(r->client, MAX_CLIENT + 1) > MAX_CLIENT)
    return myna__err(err, MYNA_E_ARG, "client has more than %d bytes", MAX_CLIENT);
  if (!r->no_text && !e->tok)
    return myna__err(err, MYNA_E_NOTFOUND, "%s has no tokenizer: ask for tokens without text", e->model->path);
  return 0;
}

/* Whether the prompt shows text: an answer that continues it keeps its leading space. */
static bool shows_text(const myna_engine *e, const myna_request *r) {
  char piece[8];
  for (int64_t i = 0; e->tok && i < r->n_tokens; i++)
    if (myna__token_bytes(e->tok, r->tokens[i], false, piece, sizeof piece) > 0) return true;
  return false;
}

static int job_new(myna_engine *e, const myna_request *r, myna__job **out, myna_err *err) {
  myna__job *j = myna__calloc(sizeof *j);
  if (!j) return myna__err(err, MYNA_E_NOMEM, "no memory for a request");
  *out = j;
  j->req = *r;
  j->req.tokens = NULL;
  j->req.stop = NULL;
  j->req.forced = NULL;
  j->req.grammar = NULL; /* j->constraint */
  j->req.triggers = NULL;
  j->req.thinking = (myna_thinking){0};
  j->req.client = NULL; /* j->client */
  j->req.shown = NULL;  /* j->shown */
  j->seq = -1;
  j->cap = e->opt.n_ctx + 1;
  j->tokens = myna__alloc((size_t)j->cap * sizeof *j->tokens);
  j->reserved = myna__calloc(sizeof *j->reserved);
  if (r->n_forced > 0) j->forced = myna__alloc((size_t)r->n_forced * sizeof *j->forced);
  if (r->shown) j->shown = myna__strndup(r->shown, strlen(r->shown));
  j->req.n_probs = (int)MYNA__MIN((int64_t)r->n_probs, e->model->cfg.n_vocab);
  if (r->n_probs > 0) j->top = myna__alloc(top_bytes(j));
  if (!j->tokens || !j->reserved || (r->n_forced > 0 && !j->forced) || (r->shown && !j->shown) ||
      (r->n_probs > 0 && !j->top))
    return myna__err(err, MYNA_E_NOMEM, "no memory for a request of %lld tokens", (long long)j->cap);
  j->reserved->bytes = sizeof *j->reserved;
  memcpy(j->tokens, r->tokens, (size_t)r->n_tokens * sizeof *j->tokens);
  if (j->forced) memcpy(j->forced, r->forced, (size_t)r->n_forced * sizeof *j->forced);
  j->n = j->n_prompt = r->n_tokens;
  j->t_submit = myna__now();
  j->detok.started = shows_text(e, r);
  TRY(myna__stops_set(&j->stops, r->stop, r->n_stop, err));
  if (!r->want_logits) TRY(myna__constraint_new(&j->constraint, r, e->model, e->tok, err));
  j->detok.started |= r->grammar != NULL; /* its text is the tokens' bytes, all of them */
  if (!r->want_logits)
    TRY(myna__sampler_new(&j->sampler, &r->sampling, e->model, e->model->cfg.n_vocab, e->opt.n_ctx, err));
  for (int64_t i = 0; i < r->n_tokens && j->sampler; i++) TRY(myna__sampler_accept(j->sampler, r->tokens[i], false));
  bool planned = e->opt.mem_limit <= 0 || ((unsigned)e->opt.speculation & MYNA_SPECULATION_NGRAM);
  if (!r->want_logits && planned)
    j->spec = myna__spec_new(&r->speculation, j->cap); /* without memory: without drafts */
  j->credit = myna__spec_credit_new();
  myna__spec_add(j->spec, j->tokens, j->n, false);
  return 0;
}

int myna_submit(myna_engine *e, const myna_request *r, int64_t *id, myna_err *err) {
  myna__job *j = NULL;
  TRY(check_request(e, r, err));
  int rc = job_new(e, r, &j, err);
  if (rc < 0 || !j) {
    myna__job_free(j);
    return rc;
  }
  pthread_mutex_lock(&e->lock);
  j->client = myna__client_enter(e, r->client);
  if (!j->client) {
    pthread_mutex_unlock(&e->lock);
    myna__job_free(j);
    return myna__err(err, MYNA_E_NOMEM, "no memory for a request");
  }
  *id = j->id = ++e->next_id;
  myna__job **at = &e->queue;
  while (*at) at = &(*at)->next;
  *at = j;
  e->stats.n_queued++;
  pthread_cond_broadcast(&e->work);
  pthread_mutex_unlock(&e->lock);
  return 0;
}

int myna_cancel(myna_engine *e, int64_t id) {
  int rc = MYNA_E_NOTFOUND;
  pthread_mutex_lock(&e->lock);
  for (int list = 0; list < 2; list++)
    for (myna__job *j = list ? e->running : e->queue; j; j = j->next)
      if (j->id == id) {
        atomic_store(&j->cancelled, true);
        rc = 0;
      }
  pthread_cond_broadcast(&e->work);
  pthread_mutex_unlock(&e->lock);
  return rc;
}

/* ---- thread ---- */

void myna__engine_call(myna_engine *e, void (*fn)(myna_engine *e, void *arg), void *arg) {
  myna__task t = {.fn = fn, .arg = arg};
  pthread_mutex_lock(&e->lock);
  t.next = e->tasks;
  e->tasks = &t;
  pthread_cond_broadcast(&e->work);
  while (!t.done) pthread_cond_wait(&e->called, &e->lock);
  pthread_mutex_unlock(&e->lock);
}

static void run_tasks(myna_engine *e) {
  for (;;) {
    pthread_mutex_lock(&e->lock);
    myna__task *t = e->tasks;
    if (t) e->tasks = t->next;
    pthread_mutex_unlock(&e->lock);
    if (!t) return;
    t->fn(e, t->arg);
    pthread_mutex_lock(&e->lock);
    t->done = true; /* it is its caller's from here on */
    pthread_cond_broadcast(&e->called);
    pthread_mutex_unlock(&e->lock);
  }
}

/* Requests that could go on; those that wait for the disk wake us. */
static bool any_queued(const myna_engine *e) {
  for (const myna__job *j = e->queue; j; j = j->next)
    if (!myna__fetch_busy(j)) return true;
  return false;
}

enum { FETCH_MS = 5 }; /* the disk wakes us, but perhaps just before we wait */

static void *engine_main(void *arg) {
  myna_engine *e = arg;
  myna__pool_bind_caller(e->pool);
  for (;;) {
    run_tasks(e);
    bool did = myna__engine_step(e);
    pthread_mutex_lock(&e->lock);
    while (!did && !e->stop && !e->tasks && !any_queued(e) && !e->running) pthread_cond_wait(&e->work, &e->lock);
    if (!did && !e->stop && !e->tasks && e->n_fetching > 0) { /* who runs needs pages that the disk still fills */
      struct timespec soon;
      deadline(&soon, FETCH_MS);
      pthread_cond_timedwait(&e->work, &e->lock, &soon);
    }
    bool stop = e->stop;
    pthread_mutex_unlock(&e->lock);
    if (stop) return NULL;
  }
}

/* ---- making and freeing ---- */

static void copy_page(void *user, int32_t dst, int32_t src) {
  const myna__lm_group *g = user;
  memcpy(g->pool + dst * g->page_stride, g->pool + src * g->page_stride, (size_t)g->page_stride);
}

int myna__engine_caches(myna__kv **kv, myna__lm *lm, myna_err *err, int64_t *pages) {
  for (int g = 0; g < lm->n_groups; g++) {
    myna__lm_group *p = &lm->group[g];
    myna__kv_options o = {.n_pages = p->n_pages,
                          .n_seq = lm->opt.n_seq,
                          .table_len = p->table_len,
                          .window = p->window,
                          .table = p->table,
                          .copy = copy_page,
                          .user = p};
    const uint64_t facts[] = {lm->opt.kv_type, lm->opt.kv_type_v, lm->opt.exact};
    o.key = myna__hash(facts, sizeof facts, myna__hash_seed());
    TRY(myna__kv_new(&kv[g], &o, err));
    *pages += p->n_pages;
  }
  return 0;
}

static int start(myna_engine *e, const myna_engine_options *o, myna_err *err) {
  myna__lm_options lo, draft;
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_mutex_init(&e->lock, NULL);
  pthread_cond_init(&e->work, &attr);
  pthread_cond_init(&e->event, &attr);
  pthread_cond_init(&e->called, &attr);
  pthread_condattr_destroy(&attr);
  if (o) e->opt = *o;
  if (e->opt.draft_model) TRY(myna__draft_check(e->model, e->opt.draft_model, err));
  TRY(myna__engine_plan(e->model, &e->opt, &lo, &draft, &e->memory, err));
  const myna__pool_options po = {
      .n_threads = e->opt.n_threads, .pin = e->opt.pin, .no_spin = e->opt.no_spin, .numa = e->opt.numa};
  TRY(myna__pool_open(&e->pool, &po, err));
  lo.pool = e->pool;
  TRY(myna__lm_new(&e->lm, e->model, &lo, err));
  e->n_out_max = e->lm->opt.n_out;
  TRY(myna__engine_caches(e->kv, e->lm, err, &e->stats.pages_total));
  if (e->model->cfg.n_expert > 0)
    e->costs.fresh = 1 - (double)e->model->cfg.n_expert_used / (double)e->model->cfg.n_expert;
  if (e->opt.disk_dir) TRY(myna__engine_disk(e, err));
  draft.pool = e->pool;
  if (e->opt.draft_model) TRY(myna__draft_new(&e->draft, e->opt.draft_model, e->model, &draft, err));
  myna_err none = {0};
  if (myna__model_tokenizer(e->model, &e->tok, &none) < 0 && none.code != MYNA_E_NOTFOUND) myna__log(1, "%s", none.msg);
  size_t n = (size_t)e->opt.n_batch * sizeof(int32_t);
  e->step_tokens = myna__alloc(n);
  e->step_pos = myna__alloc(n);
  e->step_seq = myna__alloc(n);
  e->step_rows = myna__alloc((size_t)e->n_out_max * sizeof(int32_t));
  e->seq_used = myna__calloc((size_t)e->opt.n_seq * sizeof *e->seq_used);
  e->drafting = myna__alloc((size_t)e->opt.n_seq * sizeof *e->drafting);
  e->reading = myna__alloc((size_t)e->opt.n_seq * sizeof *e->reading);
  if (!e->step_tokens || !e->step_pos || !e->step_seq || !e->step_rows || !e->seq_used || !e->drafting || !e->reading)
    return myna__err(err, MYNA_E_NOMEM, "no memory for an engine");
  if (pthread_create(&e->thread, NULL, engine_main, e))
    return myna__err(err, MYNA_E_INTERNAL, "cannot start the engine thread");
  e->thread_started = true;
  return 0;
}

int myna_engine_new(myna_engine **out, myna_model *m, const myna_engine_options *o, myna_err *err) {
  *out = NULL;
  myna_engine *e = myna__calloc(sizeof *e);
  if (!e) return myna__err(err, MYNA_E_NOMEM, "no memory for an engine");
  e->model = m;
  int rc = start(e, o, err);
  if (rc < 0) {
    myna_engine_free(e);
    return rc;
  }
  *out = e;
  return 0;
}

static void free_jobs(myna__job *j) {
  while (j) {
    myna__job *next = j->next;
    myna__job_free(j);
    j = next;
  }
}

void myna_engine_free(myna_engine *e) {
  if (!e) return;
  if (e->thread_started) {
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_cond_broadcast(&e->work);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
  }
  myna__disk_close(e->disk);
  for (myna__job *j = e->queue; j; j = j->next) myna__fetch_drop(e, j);
  free_jobs(e->queue);
  free_jobs(e->running);
  while (e->first) {
    myna__event_node *n = e->first;
    e->first = n->next;
    myna__free(n, n->bytes);
  }
  if (e->taken) myna__free(e->taken, e->taken->bytes);
  for (int g = 0; g < MYNA__MAX_GROUPS; g++) myna__kv_free(e->kv[g]);
  myna__draft_free(e->draft);
  myna__lm_free(e->lm);
  myna__pool_free(e->pool);
  size_t n = (size_t)e->opt.n_batch * sizeof(int32_t);
  myna__free(e->step_tokens, n);
  myna__free(e->step_pos, n);
  myna__free(e->step_seq, n);
  myna__free(e->step_rows, (size_t)e->n_out_max * sizeof(int32_t));
  myna__free(e->seq_used, (size_t)e->opt.n_seq * sizeof *e->seq_used);
  myna__free(e->drafting, (size_t)e->opt.n_seq * sizeof *e->drafting);
  myna__free(e->reading, (size_t)e->opt.n_seq * sizeof *e->reading);
  myna__clients_free(e->clients);
  myna__buf_free(&e->text);
  pthread_cond_destroy(&e->work);
  pthread_cond_destroy(&e->event);
  pthread_cond_destroy(&e->called);
  pthread_mutex_destroy(&e->lock);
  myna__free(e, sizeof *e);
}

static void disk_stats(myna_engine *e, myna_disk_stats *out) {
  myna__disk_stats s = {0};
  if (e->disk) myna__disk_get_stats(e->disk, &s);
  *out = (myna_disk_stats){.bytes = s.bytes,
                           .max_bytes = e->disk ? e->opt.disk_max : 0,
                           .pages_written = s.n_written,
                           .pages_read = s.n_read,
                           .pages_skipped = s.n_left_out,
                           .n_failed = s.n_failed,
                           .n_damaged = s.n_damaged,
                           .tokens = out->tokens};
}

void myna_engine_get_stats(const myna_engine *ce, myna_engine_stats *out) {
  myna_engine *e = (myna_engine *)(uintptr_t)ce;
  pthread_mutex_lock(&e->lock);
  *out = e->stats;
  pthread_mutex_unlock(&e->lock);
  out->n_threads = myna__pool_size(e->pool);
  out->n_ctx = e->opt.n_ctx;
  out->n_batch = e->opt.n_batch;
  out->n_seq = e->opt.n_seq;
  out->kv_type = myna_dtype_name(e->opt.kv_type);
  out->kv_type_v = myna_dtype_name(e->opt.kv_type_v);
  out->cpu_level = myna__cpu_name(myna__cpu());
  out->memory = e->memory;
  disk_stats(e, &out->disk);
}
