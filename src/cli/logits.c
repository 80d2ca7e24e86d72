/* logits.c: raw logits of given tokens, float32 [n_tokens, n_vocab], also for files without a tokenizer. */
#include "cli.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int64_t parse_ids(const char *s, int32_t **out) {
  int64_t n = 0, cap = 1;
  for (const char *p = s; *p; p++) cap += *p == ',';
  *out = malloc((size_t)cap * sizeof **out);
  for (const char *p = s; *out && *p;) {
    char *end;
    long v = strtol(p, &end, 10);
    if (end == p || (*end && *end != ',') || v < INT32_MIN || v > INT32_MAX) return -1;
    (*out)[n++] = (int32_t)v;
    p = end + (*end == ',');
  }
  return *out ? n : -1;
}

/* The .npy header is padded so that data starts at a multiple of 64. */
static void npy_header(FILE *f, int64_t rows, int64_t cols) {
  char text[128];
  int n = snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }", (long long)rows, (long long)cols);
  int total = (10 + n + 1 + 63) / 64 * 64;
  fwrite("\x93NUMPY\x01\x00", 1, 8, f);
  fputc((total - 10) & 255, f);
  fputc((total - 10) >> 8, f);
  fprintf(f, "%s%*s\n", text, total - 10 - n - 1, "");
}

typedef struct state {
  FILE *f;
  int64_t rows;
  progress p;
  int64_t total;
} state;

static bool on_event(void *user, const myna_event *ev) {
  state *s = user;
  if (ev->kind != MYNA_EVENT_LOGITS) return !interrupted;
  s->rows += ev->n_rows;
  progress_show(&s->p, (double)s->rows, (double)s->total, "");
  return fwrite(ev->logits, sizeof(float) * (size_t)ev->n_vocab, (size_t)ev->n_rows, s->f) == (size_t)ev->n_rows && !interrupted;
}

int cmd_logits(options *o) {
  myna_err err = {0};
  myna_model *m = NULL;
  myna_session *session = NULL;
  myna_engine_options eo;
  myna_model_info info;
  int32_t *ids = NULL;
  if (!o->tokens || !o->out) return usage("logits wants --tokens 1,2,3 and -o OUT.npy");
  int64_t n = parse_ids(o->tokens, &ids);
  if (n < 1) {
    free(ids);
    return usage("--tokens %s: write ids with commas between", o->tokens);
  }
  int rc = open_model(o, false, &m);
  if (rc == 0 && engine_options(o, &eo)) rc = EXIT_USAGE;
  if (rc) goto end;
  myna_model_get_info(m, &info);
  if (eo.n_ctx == 0) eo.n_ctx = n;
  state s = {.f = fopen(o->out, "wb"), .p = progress_start(o, "logits"), .total = n};
  if (!s.f) {
    fprintf(stderr, "myna: %s: %s\n", o->out, strerror(errno));
    rc = EXIT_FAIL;
    goto end;
  }
  npy_header(s.f, n, info.n_vocab);
  myna_finish finish = MYNA_FINISH_NONE;
  myna_request r = {.tokens = ids, .n_tokens = n, .want_logits = true, .no_text = true};
  if (myna_session_new(&session, m, &eo, &err) < 0 || myna_session_run(session, &r, on_event, &s, NULL, &finish, &err) < 0) rc = fail(&err);
  progress_end(&s.p);
  if (fclose(s.f) != 0 || (rc == 0 && s.rows != n)) {
    if (rc == 0 && !interrupted) fprintf(stderr, "myna: %s: could not be written\n", o->out);
    rc = rc ? rc : EXIT_FAIL;
  }
  if (rc) remove(o->out);
  if (rc == 0 && o->json) printf("{\"rows\":%lld,\"n_vocab\":%lld,\"file\":\"%s\"}\n", (long long)n, (long long)info.n_vocab, o->out);
end:
  myna_session_free(session);
  myna_model_close(m);
  free(ids);
  return rc;
}
