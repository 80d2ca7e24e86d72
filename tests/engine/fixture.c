/* fixture.c: see fixture.h. */
#include "fixture.h"
#include "formats/npy.h"

static const char *model_file(char path[512], const char *name, const char *ending) {
  if (strchr(name, '/'))
    snprintf(path, 512, "%s%s", name, ending);
  else
    snprintf(path, 512, "%s/tests/fixtures/models/%s%s", MYNA_ROOT, name, ending);
  return path;
}

int fx_names(char names[FX_MAX][48]) {
  char path[512], line[1024];
  FILE *f = fopen(model_file(path, "index", ".tsv"), "r");
  int n = 0;
  if (!f) fail_msg("cannot open %s", path);
  if (!fgets(line, sizeof line, f)) fail_msg("%s is empty", path); /* header */
  while (n < FX_MAX && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\t\n")] = 0;
    if (line[0]) snprintf(names[n++], 48, "%.47s", line);
  }
  fclose(f);
  return n;
}

myna_model *fx_open(const char *name) {
  char path[512];
  myna_model *m = NULL;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_model_open(&m, model_file(path, name, strchr(name, '/') ? "" : ".gguf"), NULL, &err), &err);
  return m;
}

static void *load(const char *name, const char *what, int k, myna_dtype type, int64_t *n) {
  char path[512], ending[32];
  myna__npy a;
  myna_err err = {0};
  if (k)
    snprintf(ending, sizeof ending, ".%s.%d.npy", what, k);
  else
    snprintf(ending, sizeof ending, ".%s.npy", what);
  ASSERT_OK_ERR(myna__npy_open(&a, model_file(path, name, ending), &err), &err);
  assert_int_equal(a.type, type);
  *n = a.n;
  void *copy = malloc((size_t)a.n * 4);
  memcpy(copy, a.data, (size_t)a.n * 4);
  myna__npy_close(&a);
  return copy;
}

int32_t *fx_tokens(const char *name, int k, int64_t *n) { return load(name, "tokens", k, MYNA_I32, n); }

float *fx_logits(const char *name, int k, int64_t n_vocab) {
  int64_t n, n_tok;
  free(fx_tokens(name, k, &n_tok));
  float *x = load(name, "logits", k, MYNA_F32, &n);
  assert_int_equal(n, n_tok * n_vocab);
  return x;
}

double fx_nmse(const float *x, const float *want, int64_t n) {
  double num = 0, den = 0;
  for (int64_t i = 0; i < n; i++) {
    double d = (double)x[i] - (double)want[i];
    num += d * d;
    den += (double)want[i] * (double)want[i];
  }
  return num / den;
}

/* ---- plans ---- */

myna__lm *fx_lm(myna_model *m, const fx_lm_options *o) {
  myna__lm_options lo = {.kv_type = o->kv_type,
                         .kv_type_v = o->kv_v ? o->kv_v : o->kv_type,
                         .exact = o->exact,
                         .n_ctx = o->n_ctx,
                         .n_tok = o->n_tok,
                         .n_seq = o->n_seq};
  myna__lm *lm = NULL;
  myna_err err = {0};
  if (o->n_threads > 0) ASSERT_OK_ERR(myna__pool_new(&lo.pool, o->n_threads, false, &err), &err);
  ASSERT_OK_ERR(myna__lm_new(&lm, m, &lo, &err), &err);
  for (int g = 0; g < lm->n_groups; g++) {
    myna__lm_group *p = &lm->group[g];
    int64_t n = o->n_seq * p->table_len;
    for (int64_t i = 0; i < n; i++) p->table[i] = (int32_t)(n - 1 - i);
  }
  return lm;
}

void fx_lm_free(myna__lm *lm) {
  myna__pool *pool = lm->opt.pool;
  myna__lm_free(lm);
  myna__pool_free(pool);
}

void fx_step(myna__lm *lm, const fx_part *parts, int n_parts) {
  static int32_t tokens[4096], pos[4096], seq[4096], rows[4096];
  static float *dest[4096];
  int64_t n = 0, n_out = 0, v = lm->cfg.n_vocab;
  for (int i = 0; i < n_parts; i++)
    for (int64_t p = parts[i].from; p < parts[i].to; p++) {
      tokens[n] = parts[i].tokens[p];
      pos[n] = (int32_t)p;
      seq[n] = parts[i].seq;
      if (parts[i].out) {
        dest[n_out] = parts[i].out + p * v;
        rows[n_out++] = (int32_t)n;
      }
      n++;
    }
  const float *logits;
  myna_err err = {0};
  myna__lm_step s = {.n_tok = n, .n_out = n_out, .tokens = tokens, .pos = pos, .seq = seq, .rows = rows};
  ASSERT_OK_ERR(myna__lm_step_run(lm, &s, &logits, &err), &err);
  for (int64_t i = 0; i < n_out; i++) memcpy(dest[i], logits + i * v, (size_t)v * sizeof *logits);
}

/* ---- engines ---- */

myna_engine *fx_engine(myna_model *m, const myna_engine_options *o) {
  myna_engine *e = NULL;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_engine_new(&e, m, o, &err), &err);
  return e;
}

myna_request fx_greedy(const int32_t *tokens, int64_t n, int64_t max_tokens) {
  myna_request r = {.tokens = tokens, .n_tokens = n, .max_tokens = max_tokens, .no_text = true};
  myna_sampling_default(&r.sampling);
  r.sampling.temperature = 0;
  r.sampling.ignore_eos = true;
  return r;
}

static void take(fx_result *r, const myna_event *ev) {
  size_t at = strlen(r->text);
  if (ev->kind == MYNA_EVENT_TOKEN && r->n < 4096) r->ids[r->n++] = ev->token;
  if (ev->text_len > 0) {
    assert_true(at + (size_t)ev->text_len < sizeof r->text);
    memcpy(r->text + at, ev->text, (size_t)ev->text_len);
    r->text[at + (size_t)ev->text_len] = 0;
  }
  if (ev->kind != MYNA_EVENT_DONE) return;
  r->finish = ev->finish;
  r->timings = ev->timings;
  r->err = ev->err;
}

void fx_run_all(myna_engine *e, const myna_request *r, int n, fx_result *out) {
  int64_t ids[64];
  myna_err err = {0};
  assert_true(n <= 64);
  for (int i = 0; i < n; i++) {
    out[i].n = 0;
    out[i].text[0] = 0;
    out[i].finish = MYNA_FINISH_NONE;
    ASSERT_OK_ERR(myna_submit(e, &r[i], &ids[i], &err), &err);
  }
  for (int done = 0; done < n;) {
    myna_event ev;
    if (myna_next_event(e, 60000, &ev) != 1) fail_msg("no event for a minute, %d of %d requests done", done, n);
    for (int i = 0; i < n; i++)
      if (ids[i] == ev.id) take(&out[i], &ev);
    done += ev.kind == MYNA_EVENT_DONE;
  }
}

void fx_run(myna_engine *e, const myna_request *r, fx_result *out) { fx_run_all(e, r, 1, out); }
