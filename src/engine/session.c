/* session.c: a batch of one: submits a request to an engine of its own and waits for its end. */
#include "myna.h"
#include "base/base.h"

struct myna_session {
  myna_engine *engine;
};

int myna_session_new(myna_session **out, myna_model *m, const myna_engine_options *o, myna_err *err) {
  myna_engine_options opt = o ? *o : (myna_engine_options){0};
  if (opt.n_seq == 0) opt.n_seq = 1;
  *out = NULL;
  myna_session *s = myna__calloc(sizeof *s);
  if (!s) return myna__err(err, MYNA_E_NOMEM, "no memory for a session");
  int rc = myna_engine_new(&s->engine, m, &opt, err);
  if (rc < 0)
    myna__free(s, sizeof *s);
  else
    *out = s;
  return rc;
}

void myna_session_free(myna_session *s) {
  if (!s) return;
  myna_engine_free(s->engine);
  myna__free(s, sizeof *s);
}

int myna_session_run(myna_session *s, const myna_request *r, bool (*on_event)(void *user, const myna_event *ev),
                     void *user, myna_timings *timings, myna_finish *finish, myna_err *err) {
  int64_t id;
  myna_event ev;
  TRY(myna_submit(s->engine, r, &id, err));
  for (;;) {
    if (myna_next_event(s->engine, -1, &ev) <= 0 || ev.id != id) continue;
    if (on_event && !on_event(user, &ev) && ev.kind != MYNA_EVENT_DONE) myna_cancel(s->engine, id);
    if (ev.kind != MYNA_EVENT_DONE) continue;
    if (timings) *timings = ev.timings;
    if (finish) *finish = ev.finish;
    if (ev.finish != MYNA_FINISH_ERROR) return 0;
    if (err && !err->code) *err = ev.err;
    return ev.err.code ? ev.err.code : MYNA_E_INTERNAL;
  }
}
