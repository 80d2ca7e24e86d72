/* api_run.c: see api_run.h. */
#include "api_run.h"

static myna_model *model;
static myna_session *session;
api_env env;
bool api_run_backwards;
int64_t api_run_ctx = 256;

int api_run_setup(void **state) {
  char path[512];
  myna_err err = {0};
  ASSERT_OK_ERR(myna_model_open(&model, test_path(path, "models/myna-stories.gguf"), NULL, &err), &err);
  myna_engine_options o = {.n_threads = 1, .n_ctx = api_run_ctx, .n_seq = 2, .no_spin = true};
  ASSERT_OK_ERR(myna_session_new(&session, model, &o, &err), &err);
  env = (api_env){
      .model = model, .model_name = "stories", .fingerprint = "b-myna", .n_ctx = api_run_ctx, .reasoning_budget = -1};
  myna_sampling_default(&env.sampling);
  env.sampling.temperature = 0;
  return 0;
}

int api_run_teardown(void **state) {
  myna_session_free(session);
  myna_model_close(model);
  return 0;
}

static int collect_bytes(void *user, const char *bytes, size_t n) {
  collect *c = user;
  assert_true(c->n + n < sizeof c->text);
  memcpy(c->text + c->n, bytes, n);
  c->n += n;
  c->text[c->n] = 0;
  return 0;
}

typedef struct feed {
  api_reply *p;
  int i;
  const api_sink *sink;
} feed;

static bool on_event(void *user, const myna_event *ev) {
  feed *f = user;
  ASSERT_OK(api_reply_event(f->p, f->i, ev, f->sink));
  return true;
}

/* Runs a request to its end; what streams goes to c. */
api_reply *answer(api_dialect d, const char *json, collect *c) {
  static collect none;
  json_t *body = json_loads(json, 0, NULL);
  assert_non_null(body);
  api_error e = {0};
  api_request *r;
  if (api_request_new(&r, d, body, &env, &e) < 0) fail_msg("%s: %s", json, e.message);
  api_reply *p;
  if (api_reply_new(&p, r, &e) < 0) fail_msg("%s", e.message);
  none.n = 0;
  api_sink sink = {collect_bytes, c ? c : &none};
  for (int k = 0; k < api_reply_count(p); k++) {
    int i = api_run_backwards ? api_reply_count(p) - 1 - k : k;
    myna_request q;
    myna_err err = {0};
    api_reply_request(p, i, &q);
    feed f = {p, i, &sink};
    ASSERT_OK_ERR(myna_session_run(session, &q, on_event, &f, NULL, NULL, &err), &err);
  }
  assert_true(api_reply_done(p));
  return p;
}

json_t *body_of(api_dialect d, const char *json) {
  api_reply *p = answer(d, json, NULL);
  json_t *o = api_reply_body(p);
  assert_non_null(o);
  api_reply_free(p);
  return o;
}

const char *str(const json_t *o, const char *name) { return json_string_value(json_object_get(o, name)); }
json_int_t num(const json_t *o, const char *name) { return json_integer_value(json_object_get(o, name)); }

/* The request is refused, and the field named. */
void refused(api_dialect d, const char *json, const char *param) {
  json_t *body = json_loads(json, 0, NULL);
  assert_non_null(body);
  api_error e = {0};
  api_request *r;
  if (api_request_new(&r, d, body, &env, &e) == 0) fail_msg("%s was accepted", json);
  assert_null(r);
  assert_int_equal(e.status, 400);
  if (strcmp(e.param, param) != 0) fail_msg("%s blames \"%s\": %s", json, e.param, e.message);
  json_t *all = api_error_json(&e), *o = json_object_get(all, "error");
  assert_string_equal(str(o, "message"), e.message);
  assert_string_equal(str(o, "type"), "invalid_request_error");
  json_decref(all);
}
