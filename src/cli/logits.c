/* logits.c: raw logits of given tokens, float32 [n_tokens, n_vocab], also for files without a tokenizer. */
#include "cli.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "1, 2,3" to ids below n_vocab; returns how many, or -1 after telling what is wrong. */
static int64_t parse_ids(const char *s, int64_t n_vocab, int32_t **out) {
  int64_t n = 0, cap = 1;
  for (const char *p = s; *p; p++) cap += *p == ',';
  *out = malloc((size_t)cap * sizeof **out);
  for (const char *p = s; *out; n++) {
    char *end;
    long v = strtol(p, &end, 10);
    if (end == p || (*end && *end != ',')) return usage("--tokens: \"%.40s\" is no list of ids; write 1,2,3", p), -1;
    if (v < 0 || v >= n_vocab)
      return usage("--tokens: %ld is not in the vocabulary of %lld", v, (long long)n_vocab), -1;
    (*out)[n] = (int32_t)v;
    if (!*end) return n + 1;
    p = end + 1;
  }
  return failed("no memory"), -1;
}

/* The .npy header is padded so that data starts at a multiple of 64. */
static void npy_header(FILE *f, int64_t rows, int64_t cols) {
  char text[128];
  int n = snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }",
                   (long long)rows, (long long)cols);
  int total = (10 + n + 1 + 63) / 64 * 64;
  fwrite("\x93NUMPY\x01\x00", 1, 8, f);
  fputc(total - 10, f); /* below 256, as text is */
  fputc(0, f);
  fprintf(f, "%s%*s\n", text, total - 10 - n - 1, "");
}

typedef struct writer {
  FILE *f;
  int64_t rows, total; /* written, to write */
  int error;           /* errno of the first write that failed */
  progress p;
} writer;

static bool on_event(void *user, const myna_event *ev) {
  writer *w = user;
  if (ev->kind != MYNA_EVENT_LOGITS) return !interrupted;
  if (fwrite(ev->logits, sizeof(float) * (size_t)ev->n_vocab, (size_t)ev->n_rows, w->f) != (size_t)ev->n_rows)
    w->error = errno;
  w->rows += ev->n_rows;
  progress_show(&w->p, (double)w->rows, (double)w->total, "");
  return !w->error && !interrupted;
}

/* Only a file: -o may name a device. */
static void remove_file(const char *path) {
  struct stat st;
  if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) remove(path);
}

/* Half a file is not left behind when it fails. */
static int write_logits(const options *o, myna_session *s, const int32_t *ids, int64_t n, int64_t n_vocab) {
  myna_err err = {0};
  bool standard = strcmp(o->out, "-") == 0;
  writer w = {.f = standard ? stdout : fopen(o->out, "wb"), .total = n};
  if (!w.f) return failed("%s: %s", o->out, strerror(errno));
  w.p = progress_start(o, "logits");
  npy_header(w.f, n, n_vocab);
  myna_request r = {.tokens = ids, .n_tokens = n, .want_logits = true, .no_text = true};
  int rc = myna_session_run(s, &r, on_event, &w, NULL, NULL, &err) < 0 ? fail(&err) : 0;
  progress_end(&w.p);
  if ((standard ? fflush(w.f) : fclose(w.f)) != 0 && !w.error) w.error = errno;
  if (rc == 0 && w.error && w.error != EPIPE) rc = failed("%s: %s", o->out, strerror(w.error));
  if (rc == 0 && w.rows != n)
    rc = interrupted ? EXIT_FAIL : failed("%lld of %lld rows were computed", (long long)w.rows, (long long)n);
  if (rc && !standard) remove_file(o->out);
  return rc;
}

int cmd_logits(options *o) {
  myna_err err = {0};
  myna_model *m = NULL;
  myna_session *session = NULL;
  myna_engine_options eo;
  myna_model_info info;
  int32_t *ids = NULL;
  int64_t n = 0;
  if (!o->tokens || !o->out) return usage("logits wants --tokens 1,2,3 and -o OUT.npy");
  int rc = measuring_options(o, &eo);
  if (rc == 0) rc = open_model(o, false, &m);
  if (rc) return rc;
  myna_model_get_info(m, &info);
  n = parse_ids(o->tokens, info.n_vocab, &ids);
  if (n < 0) rc = EXIT_USAGE;
  if (eo.n_ctx == 0) eo.n_ctx = n; /* also decides which factors long-context models use */
  if (rc == 0 && myna_session_new(&session, m, &eo, &err) < 0) rc = engine_failed(m, &eo, &err);
  if (rc == 0) rc = write_logits(o, session, ids, n, info.n_vocab);
  if (rc == 0 && o->json && strcmp(o->out, "-") != 0) {
    printf("{\"rows\":%lld,\"n_vocab\":%lld,\"file\":", (long long)n, (long long)info.n_vocab);
    write_json_string(stdout, o->out, strlen(o->out));
    printf("}\n");
  }
  myna_session_free(session);
  myna_model_close(m);
  free(ids);
  return rc;
}
