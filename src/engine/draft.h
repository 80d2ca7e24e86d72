/* draft.h: speculation by a second, smaller model: it continues the text of every job that asks for it, all of them in the same steps, and what it
 * says is proposed. It runs on the engine's threads and has a plan and page pools of its own, with the engine's sequence numbers. */
#ifndef MYNA__DRAFT_H
#define MYNA__DRAFT_H

#include "engine/kv.h"
#include "engine/lm.h"
#include "engine/spec.h"

typedef struct myna__draft myna__draft;
typedef struct myna__job myna__job;

enum { MYNA__DRAFT_CLASSES = 6 };

/* What a job keeps of it. Zeros: nothing computed yet. */
typedef struct myna__draft_seq {
  int64_t n_done, n_commit; /* positions that stand in the draft model's pages; indexed up to */
  int64_t from;             /* tokens of the job when the draft was made */
  int n;                    /* tokens drafted in this step, also those that are not worth a row */
  int32_t token[MYNA__SPEC_MAX];
  uint8_t class[MYNA__SPEC_MAX]; /* by how sure the draft model was */
  bool started, off;             /* odds are set; the text has a token that the draft model does not know */
  myna__spec_odds odds[MYNA__DRAFT_CLASSES], all;
  int64_t pause, next_pause; /* tokens until drafting is tried although it does not seem to pay */
  int64_t no_pages;          /* tokens until pages are asked for again */
  int limit;                 /* this step: tokens at most */
  bool probe;                /* one, without a row: only to learn */
  double reach;              /* chance that all so far are right */
} myna__draft_seq;

/* Whether the two have one vocabulary: equal texts of equal ids; sizes may differ by 128 (rows of padding). MYNA_E_ARG naming both files and the
 * first difference. */
int myna__draft_check(const myna_model *target, const myna_model *draft, myna_err *err);
/* o: its pool, maxima, pages. */
int myna__draft_new(myna__draft **out, myna_model *m, const myna_model *target, const myna__lm_options *o,
                    myna_err *err);
void myna__draft_free(myna__draft *d);

/* Drafts for jobs[0..n), each at most by_model.limit tokens and all together `total`: sets draft, n_draft, draft_cost and by_model of each, and *step. A
 * job's tokens that the model has not seen are computed first, at most a batch of them per call. jobs is used up. Samplers are as before. */
void myna__draft_run(myna__draft *d, myna__job **jobs, int n, int64_t total, myna__spec_step *step);
/* What became of a job's last draft: n_right tokens were accepted, then `next` came (-1: nothing did). */
void myna__draft_told(myna__draft *d, myna__job *j, int n_right, int32_t next);
/* A job leaves its sequence, or its tokens change: gives its pages back. NULL d is fine. */
void myna__draft_release(myna__draft *d, myna__job *j);
int64_t myna__draft_pages_used(const myna__draft *d);
int64_t myna__draft_computed(const myna__draft *d); /* positions since it was made */
/* Takes no measurements in: a step of it takes this share of one of the target (tests). */
void myna__draft_fix_costs(myna__draft *d, double share);

#endif
