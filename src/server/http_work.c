/* http_work.c: threads that do what bodies ask for, so that a long prompt or a difficult grammar of one client keeps no other stream waiting. */
#include "http.h"

static call *take(work_queue *w) {
  pthread_mutex_lock(&w->lock);
  while (!w->first && !w->stop) pthread_cond_wait(&w->more, &w->lock);
  call *c = w->first;
  if (c) w->first = c->next_work;
  if (!w->first) w->last = NULL;
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

static void *work_thread(void *arg) {
  server *s = arg;
  for (call *c; (c = take(&s->work));) run(c);
  return NULL;
}

int work_start(server *s) {
  work_queue *w = &s->work;
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->more, NULL);
  for (size_t i = 0; i < sizeof w->threads / sizeof *w->threads; i++)
    if (pthread_create(&w->threads[w->n_threads], NULL, work_thread, s) == 0) w->n_threads++;
  return w->n_threads ? 0 : -1;
}

void work_stop(server *s) {
  work_queue *w = &s->work;
  pthread_mutex_lock(&w->lock);
  w->stop = true;
  pthread_cond_broadcast(&w->more);
  pthread_mutex_unlock(&w->lock);
  for (int i = 0; i < w->n_threads; i++) pthread_join(w->threads[i], NULL);
  for (call *c; (c = w->first);) {
    w->first = c->next_work;
    call_unref(c);
  }
}

void work_add(call *c) {
  work_queue *w = &c->s->work;
  c->next_work = NULL;
  pthread_mutex_lock(&w->lock);
  if (!w->stop) { /* else the connection is cut off soon */
    atomic_fetch_add(&c->refs, 1);
    if (w->last)
      w->last->next_work = c;
    else
      w->first = c;
    w->last = c;
    pthread_cond_signal(&w->more);
  }
  pthread_mutex_unlock(&w->lock);
}
