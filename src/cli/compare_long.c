/* compare_long.c: what long prompts do to a server: the pace of a running stream and the reading of a prompt beside it, and the first text of a
 * request whose beginning the server has read before. */
#include "compare.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SETTLE = 24, STREAM_TOKENS = 4000, STREAM_CHARS = 176, QUESTION_CHARS = 80 };

/* ---- a prompt beside a stream ---- */

typedef struct streamer {
  const options *o;
  const comparison *c;
  const server *s;
  unsigned round;
  watch watch;
  reply reply;
  atomic_int ended;
} streamer;

static void *streamer_main(void *arg) {
  streamer *me = arg;
  ask(me->o, me->c, me->s, STREAM_CHARS, me->round, 1000, STREAM_TOKENS, &me->watch, &me->reply);
  atomic_store(&me->ended, 1);
  return NULL;
}

/* The times between pieces of text that came in (from, to]. */
static void gaps(const series *times, double from, double to, series *out) {
  for (int i = 1; i < times->n; i++)
    if (times->v[i] > from && times->v[i] <= to) series_add(out, times->v[i] - times->v[i - 1]);
}

/* Not the median: pieces that come in bursts would look fast. */
static double mean(const series *s) {
  double sum = 0;
  for (int i = 0; i < s->n; i++) sum += s->v[i];
  return s->n > 0 ? sum / s->n : NAN;
}

static int reads_alone(const options *o, comparison *c, server *s, unsigned round) {
  reply r;
  bool ok = ask(o, c, s, c->long_prompt, round, 1001, 1, NULL, &r);
  series_add(&s->beside.alone, ok ? r.first_s : NAN);
  series_add(&s->beside.tokens, ok ? (double)r.prompt_tokens : NAN);
  return !ok && !interrupted && note_failure(s, &s->beside.failed, &r) ? gone(s, r.error) : 0;
}

/* A stream runs; when its pace has settled a long prompt is sent. The stream is cut off when that one's first token is there. */
static int reads_beside(const options *o, comparison *c, server *s, unsigned round) {
  streamer st = {.o = o, .c = c, .s = s, .round = round};
  pthread_t thread;
  reply r = {0};
  beside *b = &s->beside;
  if (pthread_create(&thread, NULL, streamer_main, &st)) return failed("no thread for a stream");
  while (atomic_load(&st.watch.seen) < SETTLE && !atomic_load(&st.ended) && !interrupted)
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
  double t0 = now(), before = st.watch.started;
  bool ok = ask(o, c, s, c->long_prompt, round, 1002, 1, NULL, &r);
  double t1 = t0 + r.first_s;
  bool still = !atomic_load(&st.ended);
  atomic_store(&st.watch.stop, 1);
  pthread_join(thread, NULL);
  series quiet = {0}, busy = {0};
  gaps(&st.watch.times, before, t0, &quiet);
  gaps(&st.watch.times, t0, t1, &busy);
  ok = ok && still && busy.n > 0;
  series_add(&b->with_stream, ok ? r.first_s : NAN);
  series_add(&b->pace, ok ? mean(&quiet) : NAN);
  series_add(&b->pace_busy, ok ? mean(&busy) : NAN);
  series_add(&b->worst_busy, ok ? quantile(&busy, 1) : NAN);
  int rc = 0;
  if (!ok && !interrupted) {
    if (!r.error[0])
      snprintf(r.error, sizeof r.error, "%s", still ? "the stream stood still" : "the stream ended early");
    if (note_failure(s, &b->failed, &r)) rc = gone(s, r.error);
  }
  free(quiet.v);
  free(busy.v);
  free(st.watch.times.v);
  return rc;
}

int measure_beside(const options *o, comparison *c, server *s, unsigned round) {
  int rc = reads_alone(o, c, s, round);
  return rc || interrupted ? rc : reads_beside(o, c, s, round);
}

/* ---- a prefix that was read before ---- */

/* Three requests: the prefix with a question, the same prefix with another one, and a question of that length alone. */
int measure_prefix(const options *o, comparison *c, server *s, unsigned round) {
  prefixed *p = &s->prefixed;
  char *prefix = task_text(c->prefix, round, 2000),
       *both = prefix ? malloc((size_t)c->prefix + QUESTION_CHARS + 2) : NULL;
  int rc = both ? 0 : failed("no memory");
  series *const out[] = {&p->first_time, &p->again, &p->question};
  for (unsigned i = 0; i < 3 && rc == 0 && !interrupted; i++) {
    char *question = task_text(QUESTION_CHARS, round, 2001 + i);
    reply r = {0};
    if (question) {
      snprintf(both, (size_t)c->prefix + QUESTION_CHARS + 2, "%s %s", i < 2 ? prefix : "", question);
      ask_text(o, c, s, i < 2 ? both : both + 1, 4, NULL, &r);
    }
    series_add(out[i], r.ok ? r.first_s : NAN);
    if (i == 1) series_add(&p->tokens, r.ok ? (double)r.prompt_tokens : NAN);
    if (!r.ok && !interrupted && note_failure(s, &p->failed, &r)) rc = gone(s, r.error);
    free(question);
  }
  free(both);
  free(prefix);
  return rc;
}
