/* perplexity.c: exp of the mean negative log-likelihood of a text. Windows as llama.cpp's: the text's tokens are cut into chunks of the
 * context size, the first token of each becomes BOS when the model wants one, and the second half of each chunk is scored. */
#include "cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct score {
  const int32_t *chunk; /* [ctx] */
  int64_t ctx, first, count;
  double nll, nll2;
} score;

static double nll_of(const float *logits, int64_t n, int32_t target) {
  float max = logits[0];
  double sum = 0;
  for (int64_t i = 1; i < n; i++) max = logits[i] > max ? logits[i] : max;
  for (int64_t i = 0; i < n; i++) sum += exp((double)(logits[i] - max));
  return log(sum) + (double)max - (double)logits[target];
}

static bool on_event(void *user, const myna_event *ev) {
  score *s = user;
  if (ev->kind != MYNA_EVENT_LOGITS) return !interrupted;
  for (int64_t i = 0; i < ev->n_rows; i++) {
    int64_t row = ev->first_row + i;
    if (row < s->first || row + 1 >= s->ctx) continue;
    double x = nll_of(ev->logits + i * ev->n_vocab, ev->n_vocab, s->chunk[row + 1]);
    s->nll += x;
    s->nll2 += x * x;
    s->count++;
  }
  return !interrupted;
}

static double stderr_of(const score *s) {
  double n = (double)s->count, mean = s->nll / n, var = s->nll2 / n - mean * mean;
  return n > 1 && var > 0 ? sqrt(var / (n - 1)) * exp(mean) : 0;
}

static int run_chunks(const options *o, myna_model *m, myna_session *session, int32_t *ids, int64_t n, int64_t ctx, score *s) {
  myna_err err = {0};
  int64_t chunks = n / ctx;
  if (o->chunks > 0 && o->chunks < chunks) chunks = o->chunks;
  int32_t bos = myna_token_bos(m);
  int64_t first_id;
  char probe = 0;
  int32_t tmp[4];
  first_id = myna_tokenize(m, &probe, 0, NULL, tmp, 4, NULL); /* does the file add BOS? */
  bool add_bos = first_id > 0 && tmp[0] == bos;
  progress p = progress_start(o, "perplexity");
  *s = (score){.ctx = ctx, .first = ctx / 2};
  for (int64_t c = 0; c < chunks && !interrupted; c++) {
    int32_t *chunk = ids + c * ctx, saved = chunk[0];
    if (add_bos) chunk[0] = bos;
    s->chunk = chunk;
    myna_request r = {.tokens = chunk, .n_tokens = ctx, .want_logits = true, .no_text = true};
    int rc = myna_session_run(session, &r, on_event, s, NULL, NULL, &err);
    chunk[0] = saved;
    if (rc < 0) return fail(&err);
    char extra[48];
    snprintf(extra, sizeof extra, "ppl %.4f", s->count ? exp(s->nll / (double)s->count) : 0);
    progress_show(&p, (double)(c + 1), (double)chunks, extra);
  }
  progress_end(&p);
  return 0;
}

int cmd_perplexity(options *o) {
  myna_err err = {0};
  myna_model *m = NULL;
  myna_session *session = NULL;
  myna_engine_options eo;
  size_t len;
  int64_t n = 0;
  int32_t *ids = NULL;
  score s = {0};
  if (!o->file) return usage("perplexity wants a text: -f FILE");
  int rc = open_model(o, false, &m);
  if (rc == 0 && engine_options(o, &eo)) rc = EXIT_USAGE;
  if (rc) goto end;
  if (eo.n_ctx == 0) eo.n_ctx = 512;
  char *text = read_text(o->file, &len);
  if (text) ids = tokenize_all(m, text, len, NULL, &n);
  free(text);
  if (!ids) {
    rc = EXIT_FAIL;
    goto end;
  }
  if (n < 2 * eo.n_ctx && !o->quiet) fprintf(stderr, "myna: %s has %lld tokens: %lld windows of %lld\n", o->file, (long long)n, (long long)(n / eo.n_ctx), (long long)eo.n_ctx);
  if (n < eo.n_ctx) {
    fprintf(stderr, "myna: %s is too short: %lld tokens, one window has %lld (--ctx-size)\n", o->file, (long long)n, (long long)eo.n_ctx);
    rc = EXIT_FAIL;
    goto end;
  }
  if (myna_session_new(&session, m, &eo, &err) < 0) rc = fail(&err);
  else rc = run_chunks(o, m, session, ids, n, eo.n_ctx, &s);
  if (rc == 0 && s.count == 0) rc = EXIT_FAIL;
  if (rc == 0) {
    double ppl = exp(s.nll / (double)s.count);
    if (o->json) printf("{\"ppl\":%.6f,\"ppl_stderr\":%.6f,\"tokens\":%lld}\n", ppl, stderr_of(&s), (long long)s.count);
    else printf("perplexity %.4f +/- %.4f over %lld tokens\n", ppl, stderr_of(&s), (long long)s.count);
  }
end:
  myna_session_free(session);
  myna_model_close(m);
  free(ids);
  return interrupted ? 130 : rc;
}
