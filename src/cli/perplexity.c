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

/* A text without letters tells whether the file wants BOS in front. */
static bool adds_bos(const myna_model *m) {
  int32_t ids[4];
  return myna_tokenize(m, "", 0, NULL, ids, 4, NULL) > 0 && ids[0] == myna_token_bos(m);
}

/* Scores up to `windows` windows of s->ctx ids; each borrows its first place for BOS. Adds up the timings. */
static int run_windows(const options *o, myna_model *m, myna_session *session, int32_t *ids, int64_t windows, score *s,
                       myna_timings *sum) {
  myna_err err = {0};
  char extra[48];
  int32_t bos = adds_bos(m) ? myna_token_bos(m) : -1;
  progress p = progress_start(o, "perplexity");
  for (int64_t i = 0; i < windows && !interrupted; i++) {
    int32_t *window = ids + i * s->ctx, saved = window[0];
    myna_timings t = {0};
    if (bos >= 0) window[0] = bos;
    s->chunk = window;
    myna_request r = {.tokens = window, .n_tokens = s->ctx, .want_logits = true, .no_text = true};
    int rc = myna_session_run(session, &r, on_event, s, &t, NULL, &err);
    window[0] = saved;
    if (rc < 0) {
      progress_end(&p);
      return fail(&err);
    }
    sum->n_prompt += t.n_prompt;
    sum->prompt_s += t.prompt_s;
    if (i == 0) sum->first_token_s = t.first_token_s;
    snprintf(extra, sizeof extra, "ppl %.4f", s->count ? exp(s->nll / (double)s->count) : 0);
    progress_show(&p, (double)(i + 1), (double)windows, extra);
  }
  progress_end(&p);
  return 0;
}

static void print_result(const options *o, const score *s, int64_t windows, double load_s, const myna_timings *t) {
  double ppl = exp(s->nll / (double)s->count), error = stderr_of(s);
  if (o->json) {
    printf("{\"ppl\":%.6f,\"ppl_stderr\":%.6f,\"tokens\":%lld,", ppl, error, (long long)s->count);
    printf("\"n_ctx\":%lld,\"windows\":%lld,\"timings\":{", (long long)s->ctx, (long long)windows);
    json_timings(load_s, t);
    printf("}}\n");
  } else {
    printf("perplexity %.4f +/- %.4f over %lld tokens\n", ppl, error, (long long)s->count);
  }
  print_timings(o, load_s, t, interrupted ? "cancelled" : "done");
}

/* The file's ids; its last newline is dropped, as llama.cpp does. NULL after telling why. */
static int32_t *text_ids(const options *o, const myna_model *m, int64_t ctx, int64_t *n) {
  size_t len;
  char *text = read_text(o->file, &len);
  if (text && len > 0 && text[len - 1] == '\n') len--;
  int32_t *ids = text ? tokenize_all(m, text, len, NULL, n) : NULL;
  free(text);
  if (!ids || *n >= ctx) return ids;
  failed("%s is too short: %lld tokens, one window has %lld (--ctx-size)", o->file, (long long)*n, (long long)ctx);
  free(ids);
  return NULL;
}

int cmd_perplexity(options *o) {
  double t0 = now();
  myna_err err = {0};
  myna_model *m = NULL;
  myna_session *session = NULL;
  myna_engine_options eo;
  myna_timings t = {0};
  int64_t n = 0;
  if (!o->file) return usage("perplexity wants a text: -f FILE");
  int rc = measuring_options(o, &eo);
  if (rc == 0 && eo.n_ctx == 0) eo.n_ctx = 512;
  if (rc == 0 && eo.n_ctx < 4) rc = usage("--ctx-size %lld: a window has at least 4 tokens", (long long)eo.n_ctx);
  if (rc == 0 && (o->chunks == 0 || o->chunks < -1))
    rc = usage("--chunks %lld: a number of windows, or -1", (long long)o->chunks);
  if (rc == 0) rc = open_model(o, false, &m);
  if (rc) return rc;
  int32_t *ids = text_ids(o, m, eo.n_ctx, &n);
  if (!ids) rc = EXIT_FAIL;
  if (rc == 0 && myna_session_new(&session, m, &eo, &err) < 0) rc = engine_failed(m, &eo, &err);
  if (rc == 0) {
    double load_s = now() - t0;
    int64_t windows = o->chunks > 0 && o->chunks < n / eo.n_ctx ? o->chunks : n / eo.n_ctx;
    score s = {.ctx = eo.n_ctx, .first = eo.n_ctx / 2};
    rc = run_windows(o, m, session, ids, windows, &s, &t);
    if (rc == 0 && s.count > 0) print_result(o, &s, windows, load_s, &t);
    if (rc == 0 && interrupted)
      note(o, "stopped after %lld of %lld windows", (long long)(s.count / (eo.n_ctx - 1 - eo.n_ctx / 2)),
           (long long)windows);
  }
  myna_session_free(session);
  myna_model_close(m);
  free(ids);
  return rc;
}
