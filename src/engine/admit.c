/* admit.c: which requests run, and what they find computed: before they start, and while others compute what they need too.
 *
 * Of several prompts that begin alike one leads: the one that has computed most of it, the older one among equals. The others wait as long as it gets on, and
 * take its pages. Nothing is remembered about that: a leader that is gone in the next step leads nobody. */
#include "engine/job.h"

enum { PAGE = MYNA__PAGE };

static int64_t probe(const myna_engine *e, const myna__job *j) {
  int64_t n = j->n - 1, before;
  if (j->req.want_logits || j->req.no_prefix) return 0; /* every row is wanted; nothing is to be found */
  do {
    before = n;
    for (int g = 0; g < e->lm->n_groups; g++) n = MYNA__MIN(n, myna__kv_probe(e->kv[g], j->tokens, j->n, n));
  } while (n < before);
  return n;
}

static void adopt(myna_engine *e, myna__job *j, int64_t n) {
  for (int g = 0; g < e->lm->n_groups; g++) myna__kv_adopt(e->kv[g], j->seq, j->tokens, n);
  j->n_done = j->n_commit = n;
}

void myna__job_reuse(myna_engine *e, myna__job *j) {
  int64_t n = probe(e, j);
  if (n > 0) adopt(e, j, n);
}

/* from_disk: of them; not positive when none is. */
static void count_reused(myna_engine *e, int64_t n, int64_t from_disk) {
  pthread_mutex_lock(&e->lock);
  e->stats.tokens_reused += n;
  e->stats.disk.tokens += MYNA__MAX(from_disk, 0);
  pthread_mutex_unlock(&e->lock);
}

/* ---- what pages are worth ---- */

/* Multiplications of attention per position before a token over those with weights, without experts that it does not use. */
static double late_prior(const myna_engine *e) {
  const myna__config *c = &e->model->cfg;
  double full = 0;
  for (int i = 0; i < c->n_layer; i++) full += e->lm->group[e->lm->layer_group[i]].window == 0;
  double unused = c->n_expert > 0 ? 0.8 * (1 - (double)c->n_expert_used / (double)c->n_expert) : 0;
  return full * (double)(c->n_head * (c->dim_k + c->dim_v)) / ((double)e->model->n_params * (1 - unused) + 1);
}

void myna__engine_learn_prompt(myna_engine *e, int64_t n, double seconds) {
  enum { EVERY = 32 };
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += e->step_pos[i];
  if (!e->costs.fixed) {
    myna__budget_add(&e->budget, &e->costs, n, sum, seconds);
    myna__budget_add_late(&e->budget, n, sum / (double)n, seconds);
  }
  if (e->n_late++ % EVERY) return;
  double late = e->budget.late = myna__budget_late(&e->budget, late_prior(e));
  for (int g = 0; g < e->lm->n_groups; g++) myna__kv_set_cost(e->kv[g], 1, PAGE * late);
}

/* ---- what others compute ---- */

/* So many positions of j's prompt will be in the index when `leader` has computed its own: whole pages, and all of a prompt. */
static int64_t reach(const myna__job *leader, const myna__job *j) {
  int64_t n = MYNA__MIN(leader->n, j->n - 1), i = 0;
  while (i < n && leader->tokens[i] == j->tokens[i]) i++;
  return i == leader->n ? i : i / PAGE * PAGE;
}

static bool ahead(const myna__job *a, const myna__job *b) {
  return a->n_done != b->n_done ? a->n_done > b->n_done : a->id < b->id;
}

bool myna__job_waits(const myna_engine *e, const myna__job *j, bool sure) {
  if (j->req.want_logits || j->req.no_prefix || j->n_gen > 0) return false;
  for (const myna__job *o = e->running; o; o = o->next) {
    if (o == j || o->n_gen > 0 || o->n - o->n_done < (o->chunk > 0 ? 1 : 2)) continue;
    if (sure && o->chunk == 0) continue;
    if (!ahead(o, j)) continue;
    int64_t n = reach(o, j);
    if (n > j->n_done && n > o->n_commit) return true;
  }
  return false;
}

void myna__job_catch_up(myna_engine *e, myna__job *j) {
  bool others = false;
  for (const myna__job *o = e->running; o; o = o->next) others |= o != j && o->n_commit > j->n_done;
  if (!others) return;
  int64_t n = probe(e, j), had = j->n_done;
  if (n <= had) return;
  for (int g = 0; g < e->lm->n_groups; g++) myna__kv_release(e->kv[g], j->seq, j->tokens, had, true);
  adopt(e, j, n);
  count_reused(e, n - had, 0);
  if (j->n_gen == 0) j->n_cached += n - had;
}

/* ---- admission ---- */

static int free_seq(const myna_engine *e) {
  for (int i = 0; i < e->opt.n_seq; i++)
    if (!e->seq_used[i]) return i;
  return -1;
}

static void unqueue_locked(myna_engine *e, myna__job *j) {
  myna__job **at = &e->queue;
  while (*at != j) at = &(*at)->next;
  *at = j->next;
  e->stats.n_queued--;
  j->next = NULL;
  for (at = &e->running; *at;) at = &(*at)->next;
  *at = j;
  j->client->n_running++;
  e->stats.n_running++;
}

/* Every so often the oldest one is next whoever asked, so that nobody waits for ever. */
enum { OLDEST_EVERY = 8 };

myna__job *myna__engine_admit(myna_engine *e) {
  pthread_mutex_lock(&e->lock);
  for (myna__job *j = e->queue; j && e->n_fetching > 0; j = j->next) myna__fetch_end(e, j);
  pthread_mutex_unlock(&e->lock);
  for (;;) {
    int seq = free_seq(e);
    pthread_mutex_lock(&e->lock);
    myna__job *j = myna__fair_next(e, seq >= 0 && e->n_admitted % OLDEST_EVERY == OLDEST_EVERY - 1);
    myna__job *victim = j && seq < 0 && j->client->n_running == 0 ? myna__fair_victim(e) : NULL;
    bool look = j && seq >= 0 && e->disk && !j->was_fetched;
    if (j && seq >= 0 && !look) unqueue_locked(e, j);
    pthread_mutex_unlock(&e->lock);
    if (!j || seq < 0) return victim;
    if (look) { /* on disk; then it is its turn again, or another's as long as it waits */
      myna__fetch_begin(e, j, probe(e, j));
      continue;
    }
    myna__fetch_end(e, j); /* it may have ended since */
    j->was_fetched = false;
    e->n_admitted++;
    j->state = MYNA__JOB_RUNNING;
    j->seq = seq;
    e->seq_used[seq] = true;
    bool again = j->t_start > 0;
    if (!again) j->t_start = myna__now();
    myna__job_reuse(e, j);
    if (!again) j->n_cached = j->n_done;
    count_reused(e, j->n_done, MYNA__MIN(j->n_done, j->disk_to) - j->disk_from);
    j->disk_from = j->disk_to = 0;
  }
}
