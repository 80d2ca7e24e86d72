/* util.c: messages, signals, progress: what every subcommand needs. */
#define _GNU_SOURCE
#include "cli.h"
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* ---- signals ---- */

volatile sig_atomic_t interrupted;

/* The second Ctrl-C does not wait. One key press may arrive twice, from the terminal and from a wrapper that passes it on: not counted. */
static void on_interrupt(int sig) {
  static struct timespec first;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  double since = (double)(t.tv_sec - first.tv_sec) + (double)(t.tv_nsec - first.tv_nsec) * 1e-9;
  if (interrupted && since > 0.3) _exit(128 + sig);
  if (!interrupted) first = t;
  interrupted = sig;
}

/* Only async-signal-safe calls. */
static void put(const char *s) {
  ssize_t r = write(STDERR_FILENO, s, strlen(s));
  (void)r;
}

/* A mapped file that was truncated under us: say which and where, then die as the system wants. Several threads may meet it. */
static void on_bus(int sig, siginfo_t *info, void *context) {
  static atomic_flag told = ATOMIC_FLAG_INIT;
  while (atomic_flag_test_and_set(&told)) pause(); /* the first one ends the process */
  const char *path;
  size_t offset;
  (void)context;
  if (myna_mapped_file_at(info->si_addr, &path, &offset)) {
    char digits[24];
    int i = 23;
    digits[i] = 0;
    do digits[--i] = (char)('0' + offset % 10);
    while ((offset /= 10) && i > 0);
    put("myna: ");
    put(path);
    put(": offset ");
    put(digits + i);
    put(": cannot be read any more: was the file truncated? (--no-mmap reads it into memory)\n");
  }
  signal(sig, SIG_DFL);
  raise(sig);
}

void install_signals(void) {
  /* No SA_RESTART: a read of standard input must end too. SIGPIPE keeps its default, which is to end quietly. */
  struct sigaction a = {.sa_handler = on_interrupt}, bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
  sigaction(SIGBUS, &bus, NULL);
}

/* ---- messages ---- */

static void say(const char *fmt, va_list ap) {
  char text[2048];
  vsnprintf(text, sizeof text, fmt, ap);
  fprintf(stderr, "myna: %s\n", printable(text));
}

int fail(const myna_err *err) {
  char text[1024];
  return failed("%s", myna_error_format(err, text, sizeof text));
}

int failed(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  say(fmt, ap);
  va_end(ap);
  return EXIT_FAIL;
}

int usage(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  say(fmt, ap);
  va_end(ap);
  return EXIT_USAGE;
}

void note(const options *o, const char *fmt, ...) {
  va_list ap;
  if (o->quiet) return;
  va_start(ap, fmt);
  say(fmt, ap);
  va_end(ap);
}

/* ---- standard output ---- */

static int output_errno;

bool output_failed(void) {
  if (!output_errno) output_errno = errno;
  return false;
}

int finish_output(void) {
  if (fflush(stdout) != 0 || ferror(stdout)) output_failed();
  if (!output_errno) return 0;
  if (output_errno != EPIPE) failed("standard output: %s", strerror(output_errno));
  return EXIT_FAIL;
}

/* ---- progress ---- */

double now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

int columns(FILE *f) {
  struct winsize w;
  if (ioctl(fileno(f), TIOCGWINSZ, &w) != 0 || w.ws_col == 0) return 100;
  return w.ws_col < 60 ? 60 : w.ws_col > 140 ? 140 : w.ws_col;
}

progress progress_start(const options *o, const char *label) {
  return (progress){.label = label, .start = now(), .on = !o->quiet && isatty(STDERR_FILENO)};
}

void progress_show(progress *p, double done, double total, const char *extra) {
  enum { WIDTH = 20 };
  char bar[WIDTH + 1], line[256];
  double t = now();
  /* Work that ends within a moment needs no bar. */
  if (!p->on || t - p->start < 0.3 || (t - p->shown < 0.1 && done < total)) return;
  p->shown = t;
  p->open = true;
  double part = total > 0 ? done / total : 0;
  for (int i = 0; i < WIDTH; i++) bar[i] = i < (int)(part * WIDTH) ? '#' : '.';
  bar[WIDTH] = 0;
  double left = part > 0 ? (t - p->start) * (1 - part) / part : 0;
  snprintf(line, sizeof line, "%s [%s] %3.0f %%  %.1f s, %.1f s left  %s", p->label, bar, 100 * part, t - p->start,
           left, extra ? extra : "");
  fprintf(stderr, "\r%.*s\033[K", columns(stderr) - 1, line); /* a line that wraps could not be cleared */
}

void progress_end(progress *p) {
  if (p->open) fprintf(stderr, "\r\033[K");
  p->open = false;
}
