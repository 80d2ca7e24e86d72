/* http_watch.c: clients that hang up while their connection is suspended, and signs of life in silent streams. */
#include "http.h"
#include <sys/epoll.h>

void watch_add(call *c) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
  struct epoll_event e = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = c->serial};
  c->watched = info && epoll_ctl(c->s->watch_fd, EPOLL_CTL_ADD, info->connect_fd, &e) == 0;
}

void watch_remove(call *c) {
  const union MHD_ConnectionInfo *info =
      c->watched ? MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_CONNECTION_FD) : NULL;
  if (info) epoll_ctl(c->s->watch_fd, EPOLL_CTL_DEL, info->connect_fd, NULL);
  c->watched = false;
}

/* By number, because the call may be gone by the time that its event is looked at. */
static void hang_up(server *s, uint64_t serial) {
  pthread_mutex_lock(&s->lock);
  for (call *c = s->calls; c; c = c->next) {
    if (c->serial != serial) continue;
    pthread_mutex_lock(&c->lock);
    if (!c->ended || c->out.n > c->out.at) call_drop(c);
    call_wake(c);
    pthread_mutex_unlock(&c->lock);
    break;
  }
  pthread_mutex_unlock(&s->lock);
}

static void ping(server *s) {
  double t = server_now();
  pthread_mutex_lock(&s->lock);
  for (call *c = s->calls; c; c = c->next) {
    pthread_mutex_lock(&c->lock);
    if (c->streams && c->suspended && !c->ended && c->ping_s > 0 && t - c->last_write >= (double)c->ping_s) {
      if (api_buf_add(&c->out, ":\n\n", 3)) call_wake(c);
      c->last_write = t;
    }
    pthread_mutex_unlock(&c->lock);
  }
  pthread_mutex_unlock(&s->lock);
}

void *watch_thread(void *arg) {
  server *s = arg;
  double last = 0;
  while (!atomic_load(&s->stopping)) {
    struct epoll_event events[64];
    int n = epoll_wait(s->watch_fd, events, 64, 200);
    for (int i = 0; i < n; i++) hang_up(s, events[i].data.u64);
    double t = server_now();
    if (t - last >= 0.5) ping(s), last = t;
  }
  return NULL;
}
