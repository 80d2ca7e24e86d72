/* fair.c: whose turn it is. Every client has a count of tokens computed for it; the one with the least comes first, what its running requests still have to
 * read counted in. A client without jobs keeps its count while that is above the others', so that leaving and coming back gains nothing. */
#include "engine/job.h"

enum { MAX_IDLE = 256 }; /* names that are remembered without jobs */

/* ---- clients ---- */

/* The least count of those that have jobs; -1 when nobody has any. */
static int64_t least(const myna_engine *e) {
  int64_t n = -1;
  for (const myna__client *c = e->clients; c; c = c->next)
    if (c->n_jobs > 0 && (n < 0 || c->served < n)) n = c->served;
  return n;
}

static void client_free(myna__client *c) {
  myna__strfree(c->name);
  myna__free(c, sizeof *c);
}

/* Forgets those without jobs that begin like new ones, or are too many. */
static void forget(myna_engine *e) {
  int64_t now = least(e), idle = 0;
  for (myna__client **at = &e->clients; *at;) {
    myna__client *c = *at;
    idle += c->n_jobs == 0;
    if (c->n_jobs > 0 || (now >= 0 && c->served > now && idle <= MAX_IDLE)) {
      at = &c->next;
      continue;
    }
    *at = c->next;
    client_free(c);
  }
}

myna__client *myna__client_enter(myna_engine *e, const char *name) {
  int64_t now = MYNA__MAX(least(e), 0);
  myna__client *c = e->clients;
  if (!name) name = "";
  while (c && strcmp(c->name, name) != 0) c = c->next;
  if (!c) {
    c = myna__calloc(sizeof *c);
    char *copy = c ? myna__strndup(name, strlen(name)) : NULL;
    if (!copy) {
      if (c) myna__free(c, sizeof *c);
      return NULL;
    }
    c->name = copy;
    c->next = e->clients;
    e->clients = c;
  }
  if (c->n_jobs++ == 0) c->served = MYNA__MAX(c->served, now);
  return c;
}

void myna__client_leave(myna_engine *e, myna__client *c) {
  if (--c->n_jobs == 0) forget(e);
}

void myna__clients_free(myna__client *c) {
  while (c) {
    myna__client *next = c->next;
    client_free(c);
    c = next;
  }
}

/* ---- turns ---- */

static bool sooner(const myna__job *a, const myna__job *b) {
  const myna__client *x = a->client, *y = b->client;
  if (x == y) return a->id < b->id;
  if ((x->n_running == 0) != (y->n_running == 0)) return x->n_running == 0;
  int64_t p = x->served + x->pending, q = y->served + y->pending;
  return p != q ? p < q : a->id < b->id;
}

myna__job *myna__fair_next(myna_engine *e, bool oldest) {
  myna__job *best = NULL;
  for (myna__client *c = e->clients; c; c = c->next) c->pending = 0;
  for (const myna__job *j = e->running; j; j = j->next) j->client->pending += j->n - j->n_done;
  for (myna__job *j = e->queue; j; j = j->next)
    if (myna__fetch_busy(j))
      continue;
    else if (!best || (oldest ? j->id < best->id : sooner(j, best)))
      best = j;
  return best;
}

myna__job *myna__fair_victim(const myna_engine *e) {
  myna__job *victim = NULL;
  for (myna__job *j = e->running; j; j = j->next) {
    const myna__client *c = j->client;
    if (c->n_running < 2) continue;
    if (!victim || c->n_running > victim->client->n_running || (c == victim->client && j->id > victim->id)) victim = j;
  }
  return victim;
}

/* Whether j is not the oldest running job of its client. */
static bool is_extra(const myna_engine *e, const myna__job *j) {
  for (const myna__job *o = e->running; o; o = o->next)
    if (o->client == j->client && o->id < j->id) return true;
  return false;
}

/* An extra job of a client with more usage gives way to another one's oldest; else the younger to the older. So nobody who gives way takes anything back
 * from whom it gave way to, and the oldest job of all, which is no extra one, always gets on. */
myna__job *myna__fair_loser(const myna_engine *e, const myna__job *keep) {
  myna__job *loser = NULL, *youngest = NULL;
  bool first = !is_extra(e, keep);
  for (myna__job *j = e->running; j; j = j->next) {
    const myna__client *c = j->client;
    if (j == keep || j->seq < 0 || j->chunk > 0) continue;
    if (j->id > keep->id && (!youngest || j->id > youngest->id)) youngest = j;
    if (!first || c == keep->client || c->served <= keep->client->served || !is_extra(e, j)) continue;
    if (!loser || c->served > loser->client->served || (c == loser->client && j->id > loser->id)) loser = j;
  }
  return loser ? loser : youngest;
}

/* ---- prompt tokens of a step ---- */

/* Shares of a client: who has one request running and others several waits for that alone. */
static int64_t weight(const myna__client *c) { return c->n_running > 1 ? 1 : 3; }

static bool reads_before(const myna__job *a, const myna__job *b) {
  const myna__client *x = a->client, *y = b->client;
  if (x == y) return a->id < b->id;
  return x->served != y->served ? x->served < y->served : strcmp(x->name, y->name) < 0;
}

static void sort(myna__job **jobs, int n) {
  for (int i = 1; i < n; i++) { /* few, and nearly sorted */
    myna__job *j = jobs[i];
    int at = i;
    for (; at > 0 && reads_before(j, jobs[at - 1]); at--) jobs[at] = jobs[at - 1];
    jobs[at] = j;
  }
}

void myna__fair_divide(myna__job **jobs, int n, int64_t budget) {
  if (n == 0) return;
  sort(jobs, n);
  for (int i = 0; i < n; i++) jobs[i]->client->pending = jobs[i]->client->quota = 0;
  for (int i = 0; i < n; i++) jobs[i]->client->pending += jobs[i]->n - jobs[i]->n_done;
  for (bool more = true; more && budget > 0;) { /* rounds: what one does not need is for the others */
    int64_t hungry = 0, all = budget;
    for (int i = 0; i < n; i++) {
      const myna__client *c = jobs[i]->client;
      if ((i == 0 || c != jobs[i - 1]->client) && c->quota < c->pending) hungry += weight(c);
    }
    more = hungry > 0;
    for (int i = 0; i < n && more; i++) {
      myna__client *c = jobs[i]->client;
      if (i > 0 && c == jobs[i - 1]->client) continue;
      int64_t share = MYNA__MAX(all * weight(c) / hungry, 1);
      int64_t give = MYNA__MIN(MYNA__MIN(share, c->pending - c->quota), budget);
      c->quota += give;
      budget -= give;
    }
  }
}
