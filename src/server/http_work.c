/* http_work.c: threads that do what bodies ask for, so that a long prompt or a difficult grammar of one client keeps no other stream waiting. */
#include "http.h"

/* Large bodies have one thread and leave the others to the small ones: megabytes take seconds, and nobody else waits for them. */
enum { SMALL_BODY = 64 << 10 };

static call *take_from(work_list *l) {
  call *c = l->first;
  if (c) l->first = c->next_work;
  if (!l->first) l->last = NULL;
  return c;
}

static call *take(work_queue *w, bool large_too) {
  call *c = NULL;
  pthread_mutex_lock(&w->lock);
  while (!(large_too && (c = take_from(&w->large))) && !(c = take_from(&w->small)) && !w->stop)
    pthread_cond_wait(&w->more, &w->lock);
  pthread_mutex_unlock(&w->lock);
  return c;
}

static void run(call *c) {
  pthread_mutex_lock(&c->lock);
  bool gone = c->gone;
  pthread_mutex_unlock(&c->lock);
  if (!gone) c->route->run(c);
  pthread_mutex_lock(&c->lock);
  /* A stream's head goes out at once; what is computed first waits for its end. */
  if (c->gone || c->ended || c->streams) call_wake(c);
  pthread_mutex_unlock(&c->lock);
  call_unref(c);
}

static void *small_thread(void *arg) {
  server *s = arg;
  for (call *c; (c = take(&s->work, false));) run(c);
  return NULL;
}

static void *any_thread(void *arg) {
  server *s = arg;
  for (call *c; (c = take(&s->work, true));) run(c);
  return NULL;
}

int work_start(server *s) {
  work_queue *w = &s->work;
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->more, NULL);
  while (w->n_threads < (int)(sizeof w->threads / sizeof *w->threads)) {
    if (pthread_create(&w->threads[w->n_threads], NULL, w->n_threads == 0 ? any_thread : small_thread, s) != 0) break;
    w->n_threads++;
  }
  return w->n_threads ? 0 : -1;
}

void work_stop(server *s) {
  work_queue *w = &s->work;
  pthread_mutex_lock(&w->lock);
  w->stop = true;
  pthread_cond_broadcast(&w->more);
  pthread_mutex_unlock(&w->lock);
  for (int i = 0; i < w->n_threads; i++) pthread_join(w->threads[i], NULL);
  for (call *c; (c = take_from(&w->small)) || (c = take_from(&w->large));) call_unref(c);
}

void work_add(call *c) {
  work_queue *w = &c->s->work;
  c->next_work = NULL;
  pthread_mutex_lock(&w->lock);
  if (!w->stop) { /* else the connection is cut off soon */
    work_list *l = c->body.n > SMALL_BODY ? &w->large : &w->small;
    atomic_fetch_add(&c->refs, 1);
    if (l->last)
      l->last->next_work = c;
    else
      l->first = c;
    l->last = c;
    pthread_cond_broadcast(&w->more); /* a thread of small bodies would not take a large one */
  }
  pthread_mutex_unlock(&w->lock);
}
