/* fetch.c: pages between memory and disk: what is evicted goes there, and before a request is admitted what it needs comes back. It stays in the queue meanwhile; others go on. */
#include "engine/job.h"

enum { PAGE = MYNA__PAGE };

/* Pages of a queued request that are being read. */
struct myna__fetch {
  myna__disk_fetch disk;
  int64_t n, n_ids; /* positions, pages */
  int32_t *ids;     /* [n_groups][n_ids], -1 where none is brought */
};

static void evicted(void *user, int32_t id, const myna__kv_key *key) {
  const myna__tier *t = user;
  const myna__lm_group *g = &t->e->lm->group[t->group];
  myna__disk_put(t->e->disk, t->group, key, g->pool + id * g->page_stride, g->page_stride);
}

static bool elsewhere(void *user, const myna__kv_key *key) {
  const myna__tier *t = user;
  return myna__disk_has(t->e->disk, t->group, key);
}

static void ready(void *user) {
  myna_engine *e = user;
  pthread_mutex_lock(&e->lock);
  pthread_cond_broadcast(&e->work);
  pthread_mutex_unlock(&e->lock);
}

int myna__engine_disk(myna_engine *e, myna_err *err) {
  int64_t most = 0;
  for (int g = 0; g < e->lm->n_groups; g++) most = MYNA__MAX(most, e->lm->group[g].page_stride);
  const myna__disk_options o = {
      .dir = e->opt.disk_dir, .max_bytes = e->opt.disk_max, .page_bytes = most, .ready = ready, .user = e};
  TRY(myna__disk_open(&e->disk, &o, err));
  for (int g = 0; g < e->lm->n_groups; g++) {
    e->tier[g] = (myna__tier){e, g};
    myna__kv_set_tier(e->kv[g], evicted, elsewhere, &e->tier[g]);
  }
  return 0;
}

/* ---- bringing ---- */

static int64_t probe_all(const myna_engine *e, const myna__job *j) {
  int64_t n = j->n - 1, before;
  do {
    before = n;
    for (int g = 0; g < e->lm->n_groups; g++) n = MYNA__MIN(n, myna__kv_probe_all(e->kv[g], j->tokens, j->n, n));
  } while (n < before);
  return n;
}

void myna__fetch_drop(myna_engine *e, myna__job *j) {
  if (!j->fetch) return;
  myna__free(j->fetch->ids, (size_t)(e->lm->n_groups * j->fetch->n_ids) * sizeof(int32_t));
  myna__free(j->fetch, sizeof *j->fetch);
  j->fetch = NULL;
  e->n_fetching--;
}

/* Pages for what group g lacks, and orders to bring them. */
static bool order(myna_engine *e, myna__job *j, int g, myna__kv_key *keys) {
  myna__fetch *f = j->fetch;
  const myna__lm_group *lg = &e->lm->group[g];
  int64_t n = myna__kv_missing(e->kv[g], j->tokens, f->n, keys, f->n_ids);
  for (int64_t i = 0; i < n; i++) {
    int32_t *id = &f->ids[g * f->n_ids + keys[i].depth];
    if (myna__kv_take(e->kv[g], 1, id, NULL) < 0) return false;
    if (!myna__disk_get(e->disk, g, &keys[i], lg->pool + *id * lg->page_stride, lg->page_stride, &f->disk))
      return false;
  }
  return true;
}

static void begin(myna_engine *e, myna__job *j, int64_t n) {
  int64_t n_ids = (n + PAGE - 1) / PAGE;
  myna__kv_key *keys = myna__alloc((size_t)n_ids * sizeof *keys);
  myna__fetch *f = myna__calloc(sizeof *f);
  int32_t *ids = myna__alloc((size_t)(e->lm->n_groups * n_ids) * sizeof *ids);
  if (!keys || !f || !ids) {
    myna__free(keys, (size_t)n_ids * sizeof *keys);
    myna__free(f, sizeof *f);
    myna__free(ids, (size_t)(e->lm->n_groups * n_ids) * sizeof *ids);
    return;
  }
  for (int64_t i = 0; i < e->lm->n_groups * n_ids; i++) ids[i] = -1;
  f->n = n;
  f->n_ids = n_ids;
  f->ids = ids;
  j->fetch = f;
  e->n_fetching++;
  atomic_store(&f->disk.left, 1); /* so that it cannot end while orders are given */
  bool ok = true;
  for (int g = 0; g < e->lm->n_groups && ok; g++) ok = order(e, j, g, keys);
  if (!ok) atomic_store(&f->disk.failed, true);
  atomic_fetch_sub(&f->disk.left, 1);
  myna__free(keys, (size_t)n_ids * sizeof *keys);
  myna__fetch_end(e, j);
}

void myna__fetch_begin(myna_engine *e, myna__job *j, int64_t have) {
  j->was_fetched = true; /* once */
  if (j->fetch || j->req.want_logits || j->req.no_prefix) return;
  int64_t n = probe_all(e, j);
  j->disk_from = j->disk_to = have;
  if (n >= have + PAGE / 2) begin(e, j, n);
}

bool myna__fetch_busy(const myna__job *j) { return j->fetch && atomic_load(&j->fetch->disk.left) > 0; }

void myna__fetch_end(myna_engine *e, myna__job *j) {
  myna__fetch *f = j->fetch;
  if (!f || atomic_load(&f->disk.left) > 0) return;
  if (atomic_load(&f->disk.failed)) {
    for (int g = 0; g < e->lm->n_groups; g++) myna__kv_unpin(e->kv[g], f->ids + g * f->n_ids, f->n_ids);
    myna__fetch_drop(e, j);
    return;
  }
  for (int g = 0; g < e->lm->n_groups; g++) {
    int32_t *ids = f->ids + g * f->n_ids;
    bool last = ids[f->n_ids - 1] >= 0; /* all of it was brought, though not all is asked for */
    myna__kv_insert(e->kv[g], ids, j->tokens, last ? f->n_ids * PAGE : f->n);
  }
  j->disk_to = f->n;
  myna__fetch_drop(e, j);
}
