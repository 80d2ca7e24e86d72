/* job.h: what the engine thread works on. A job is a request being served: its tokens, where it stands, its text. */
#ifndef MYNA__JOB_H
#define MYNA__JOB_H

#include "engine/budget.h"
#include "engine/draft.h"
#include "engine/kv.h"
#include "engine/kv_disk.h"
#include "engine/lm.h"
#include "engine/sampler.h"
#include "engine/spec.h"
#include "engine/thinking.h"

/* Stop strings on text: what may still become one is held back. */
typedef struct myna__stops {
  char **items;
  int n;
  myna__buf held; /* text not yet certain */
} myna__stops;
int myna__stops_set(myna__stops *s, const char *const *items, int n, myna_err *err);
/* Adds text; moves what is certain to out. True when a stop string was completed: out then ends before it. */
bool myna__stops_push(myna__stops *s, const char *text, size_t n, myna__buf *out);
/* End of text: what was held is certain now. */
void myna__stops_finish(myna__stops *s, myna__buf *out);
void myna__stops_free(myna__stops *s);

typedef enum myna__job_state { MYNA__JOB_QUEUED, MYNA__JOB_RUNNING, MYNA__JOB_DONE } myna__job_state;

typedef struct myna__event_node {
  struct myna__event_node *next;
  size_t bytes; /* of this block */
  myna_event ev;
} myna__event_node;

/* Who asks (request field `client`; all without one are one). Kept while it has jobs, and afterwards as long as it is ahead of its share. */
typedef struct myna__client {
  struct myna__client *next;
  char *name;
  int64_t served;  /* tokens computed for it; a new one begins at the least of those that have jobs */
  int64_t pending; /* scratch: tokens that its running jobs have before them */
  int64_t quota;   /* scratch: prompt tokens that it may have in this step */
  int n_jobs, n_running;
} myna__client;

typedef struct myna__fetch myna__fetch;

typedef struct myna__job {
  struct myna__job *next;
  int64_t id;
  myna__client *client;
  char *shown;      /* of the request: control tokens that are told */
  myna_request req; /* pointers in it are replaced by copies or cleared */
  int32_t *tokens;  /* prompt, then answer; [cap] */
  int64_t n, cap;
  int64_t n_prompt; /* of tokens: the request's prompt (smaller after a shift) */
  int64_t n_gen;
  int32_t *forced;
  myna__cand *top;  /* [req.n_probs] scratch for what events tell, behind them as many ids and log-probabilities */
  int64_t n_done;   /* positions computed */
  int64_t n_commit; /* pages indexed up to here */
  myna__job_state state;
  myna__fetch *fetch; /* NULL, or pages of it that come from the disk: queued */
  bool was_fetched;
  int64_t disk_from, disk_to;      /* positions whose pages it has brought from the disk */
  int seq;                         /* slot, -1 while queued */
  int64_t chunk, first_out, n_out; /* this step: tokens, first logits row, rows */
  int32_t draft[MYNA__SPEC_MAX];   /* [n_draft] this step: computed behind the chunk, each with a row */
  int n_draft;
  myna__spec *spec; /* NULL: no lookup, or no memory for it */
  myna__draft_seq by_model;
  myna__spec_credit credit;
  double draft_cost; /* of this step's drafts, in steps of one row */
  myna__sampler *sampler;
  myna__constraint *constraint; /* NULL: none */
  myna__detok detok;
  myna__stops stops;
  atomic_bool cancelled;
  double t_submit, t_start, t_prompt, t_first, t_end;
  int64_t n_cached; /* found computed at the first start */
  int64_t n_told;   /* rows of logits posted */
  int64_t n_drafted, n_accepted;
  myna__event_node *reserved; /* so that its end can be told without memory */
} myna__job;

/* Something that another thread wants done between two steps, where the pages are. */
typedef struct myna__task {
  struct myna__task *next;
  void (*fn)(myna_engine *e, void *arg);
  void *arg;
  bool done;
} myna__task;

typedef struct myna__tier {
  myna_engine *e;
  int group;
} myna__tier;

struct myna_engine {
  myna_model *model;
  myna_engine_options opt;
  myna__pool *pool;
  myna__lm *lm;
  myna__kv *kv[MYNA__MAX_GROUPS];
  myna__disk *disk; /* NULL: no pages on disk */
  myna__tier tier[MYNA__MAX_GROUPS];
  int n_fetching;        /* requests that hold pages for what comes from the disk */
  myna__draft *draft;    /* NULL: no draft model */
  myna__costs costs;     /* of steps */
  myna__budget budget;   /* of steps with prompts */
  myna__job **drafting;  /* [n_seq] scratch */
  myna__job **reading;   /* [n_seq] scratch: those with prompts to compute */
  myna__client *clients; /* under the lock */
  int64_t n_admitted, n_late;
  const myna__tokenizer *tok; /* NULL: file without tokenizer */
  myna_memory memory;
  pthread_t thread;
  bool thread_started;
  pthread_mutex_t lock;
  pthread_cond_t work, event, called;
  bool stop;
  int64_t next_id;
  myna__task *tasks;              /* under the lock */
  uint64_t fingerprint;           /* 0: not computed yet; under the lock */
  myna__job *queue, *running;     /* arrival order; running belongs to the engine thread */
  myna__event_node *first, *last; /* events waiting */
  myna__event_node *taken;        /* the one the consumer looks at */
  int logits_waiting;
  myna_engine_stats stats;
  int32_t *step_tokens, *step_pos, *step_seq, *step_rows; /* [n_batch], [n_out] */
  int64_t n_out_max;
  bool *seq_used; /* [n_seq] */
  myna__buf text; /* scratch */
};

/* step.c: one step of everything that runs. Called by the engine thread without the lock; takes it for the queue and events. False when there
 * was nothing to do. */
bool myna__engine_step(myna_engine *e);
/* admit.c: a step with prompts of n tokens in step_pos took so long: what prompts take is learned, and what pages are worth follows now and then. */
void myna__engine_learn_prompt(myna_engine *e, int64_t n, double seconds);
/* admit.c: finds what is already computed of j, which has a sequence without pages: the same number of positions in every group. */
void myna__job_reuse(myna_engine *e, myna__job *j);
/* Pages that others computed since j was admitted: it takes them and drops its own. */
void myna__job_catch_up(myna_engine *e, myna__job *j);
/* Whether others compute now what j needs next: then it waits a step. sure: only for those that are part of this step. */
bool myna__job_waits(const myna_engine *e, const myna__job *j, bool sure);
/* Moves queued jobs to running while sequences are free. Returns a running job that is to make room for a client that has none, or NULL. */
myna__job *myna__engine_admit(myna_engine *e);
/* fetch.c: pages on disk. */
int myna__engine_disk(myna_engine *e, myna_err *err);
/* Begins to bring what j, queued, finds on disk beyond the `have` positions that it finds in memory. Ended by fetch_end, which does nothing while it is busy. */
void myna__fetch_begin(myna_engine *e, myna__job *j, int64_t have);
bool myna__fetch_busy(const myna__job *j);
void myna__fetch_end(myna_engine *e, myna__job *j);
void myna__fetch_drop(myna_engine *e, myna__job *j); /* without giving pages back: the disk is closed */
/* fair.c: all but quotas under the lock. The client of that name, with one job more; NULL without memory. */
myna__client *myna__client_enter(myna_engine *e, const char *name);
void myna__client_leave(myna_engine *e, myna__client *c); /* its job is gone */
void myna__clients_free(myna__client *c);
/* The queued job whose turn it is; NULL when none is queued. */
myna__job *myna__fair_next(myna_engine *e, bool oldest);
/* The youngest running job of the client with most of them, at least two; NULL when there is none. */
myna__job *myna__fair_victim(const myna_engine *e);
/* Whose pages are given back so that `keep` gets on in a full pool; NULL: it waits. */
myna__job *myna__fair_loser(const myna_engine *e, const myna__job *keep);
/* jobs[0..n), which all want prompt tokens: sorted, those first whose turn it is; `budget` tokens are divided among their clients, a client
 * with one running job having three times the share of those with several. */
void myna__fair_divide(myna__job **jobs, int n, int64_t budget);
/* engine.c */
/* Runs fn on the engine's thread between two steps and waits for it. Not on that thread itself. */
void myna__engine_call(myna_engine *e, void (*fn)(myna_engine *e, void *arg), void *arg);
int myna__engine_post(myna_engine *e, const myna_event *ev); /* copies; 0 or MYNA_E_NOMEM */
/* A job's last event without its text; cannot fail. */
void myna__engine_post_reserved(myna_engine *e, myna__job *j, const myna_event *ev);
void myna__job_free(myna__job *j);
/* Page pools of every group of lm, at kv[0..n_groups); *pages grows by theirs. kv's are to be freed also on failure. */
int myna__engine_caches(myna__kv **kv, myna__lm *lm, myna_err *err, int64_t *pages);
/* memory.c: the page counts and bytes that options lead to, within the limit; of the draft model too when there is one. */
int myna__engine_plan(myna_model *m, myna_engine_options *o, myna__lm_options *lm, myna__lm_options *draft,
                      myna_memory *out, myna_err *err);

#endif
