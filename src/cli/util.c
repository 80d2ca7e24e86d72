/* util.c: messages, progress, files, signals: what every subcommand needs. */
#define _GNU_SOURCE
#include "cli.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t interrupted;

static void on_interrupt(int sig) {
  (void)sig;
  if (interrupted) _exit(130); /* the second Ctrl-C does not wait */
  interrupted = 1;
}

/* Only async-signal-safe calls. */
static void put(const char *s) {
  ssize_t r = write(STDERR_FILENO, s, strlen(s));
  (void)r;
}

/* A mapped file that was truncated under us: say which and where, then die as the system wants. */
static void on_bus(int sig, siginfo_t *info, void *context) {
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
  struct sigaction a = {.sa_handler = on_interrupt}, bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
  sigaction(SIGBUS, &bus, NULL);
}

int fail(const myna_err *err) {
  char text[1024];
  fprintf(stderr, "myna: %s\n", myna_error_format(err, text, sizeof text));
  return EXIT_FAIL;
}

int usage(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fprintf(stderr, "myna: ");
  vfprintf(stderr, fmt, ap);
  fprintf(stderr, "\n");
  va_end(ap);
  return EXIT_USAGE;
}

void note(const options *o, const char *fmt, ...) {
  va_list ap;
  if (o->quiet) return;
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
}

double now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

char *read_text(const char *path, size_t *n) {
  FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
  if (!f) {
    fprintf(stderr, "myna: %s: %s\n", path, strerror(errno));
    return NULL;
  }
  size_t cap = 1 << 16;
  char *data = malloc(cap);
  *n = 0;
  while (data) {
    size_t got = fread(data + *n, 1, cap - *n - 1, f);
    *n += got;
    if (got == 0) break;
    if (*n + 1 < cap) continue;
    char *grown = realloc(data, cap *= 2);
    if (!grown) free(data);
    data = grown;
  }
  bool bad = ferror(f);
  if (f != stdin) fclose(f);
  if (!data || bad) {
    fprintf(stderr, "myna: %s: %s\n", path, data ? strerror(errno) : "out of memory");
    free(data);
    return NULL;
  }
  data[*n] = 0;
  return data;
}

void json_string(FILE *f, const char *s, size_t n) {
  fputc('"', f);
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)s[i];
    const char *plain = "\"\\\n\r\t", *escaped = "\"\\nrt", *at = c ? strchr(plain, c) : NULL;
    if (at) fprintf(f, "\\%c", escaped[at - plain]);
    else if (c < 0x20) fprintf(f, "\\u%04x", c);
    else fputc(c, f);
  }
  fputc('"', f);
}

progress progress_start(const options *o, const char *label) {
  return (progress){.label = label, .start = now(), .on = !o->quiet && isatty(STDERR_FILENO)};
}

void progress_show(progress *p, double done, double total, const char *extra) {
  double t = now();
  if (!p->on || (t - p->shown < 0.1 && done < total)) return;
  p->shown = t;
  p->open = true;
  int width = 30, full = total > 0 ? (int)(done / total * width) : 0;
  char bar[31];
  for (int i = 0; i < width; i++) bar[i] = i < full ? '#' : '.';
  bar[30] = 0;
  double left = done > 0 ? (t - p->start) * (total - done) / done : 0;
  fprintf(stderr, "\r%s [%s] %3.0f %%  %.1f s, %.1f s left  %s\033[K", p->label, bar, total > 0 ? 100 * done / total : 0, t - p->start, left, extra ? extra : "");
}

void progress_end(progress *p) {
  if (p->open) fprintf(stderr, "\r\033[K");
  p->open = false;
}

/* Edits (insert, delete, replace, swap) between two short words; 99 when they are long. */
static int distance(const char *a, const char *b) {
  int n = (int)strlen(a), m = (int)strlen(b);
  if (n > 60 || m > 60) return 99;
  int d[62][62];
  for (int i = 0; i <= n; i++)
    for (int j = 0; j <= m; j++) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
      d[i][j] = best;
    }
  return d[n][m];
}

const char *closest(const char *word, const char *const *names, int n) {
  const char *best = NULL;
  int at_most = (int)strlen(word) / 3 + 1, best_d = at_most + 1;
  for (int i = 0; i < n; i++) {
    int d = distance(word, names[i]);
    if (d < best_d) best_d = d, best = names[i];
  }
  return best;
}
