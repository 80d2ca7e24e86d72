/* http_slots.c: llama-server's slots for those who name them: which text each slot held last, and saving, restoring and erasing it.
 *
 * The cache knows no slots: a prefix is found whoever computed it. So a slot is only a list of tokens; its pages are saved from the shared index, and
 * restored into it. Runs on threads of http_work.c, tokens come from that of events; one lock. */
#include "http.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slot {
  int32_t *tokens; /* [n] */
  int64_t n, cap;
  uint64_t serial; /* of the call that it belongs to; another one's tokens are not taken in */
};

int slots_start(server *s) {
  pthread_mutex_init(&s->slots_lock, NULL);
  if (!s->o->slot_save_path) return 0;
  s->slots = calloc((size_t)s->n_seq, sizeof *s->slots);
  return s->slots ? 0 : -1;
}

void slots_free(server *s) {
  for (int64_t i = 0; s->slots && i < s->n_seq; i++) free(s->slots[i].tokens);
  free(s->slots);
  s->slots = NULL;
  pthread_mutex_destroy(&s->slots_lock);
}

/* ---- what a slot holds ---- */

static bool grow(slot *t, int64_t n) {
  if (n <= t->cap) return true;
  int64_t cap = n + n / 2 + 256;
  int32_t *p = realloc(t->tokens, (size_t)cap * sizeof *p);
  if (!p) return false;
  t->tokens = p;
  t->cap = cap;
  return true;
}

void slot_begin(call *c) {
  server *s = c->s;
  const api_request *r = api_reply_of(c->reply);
  if (!s->slots || r->id_slot >= s->n_seq || r->n_prompts < 1) return;
  const api_prompt *p = &r->prompts[0];
  pthread_mutex_lock(&s->slots_lock);
  int64_t id = r->id_slot < 0 ? 0 : r->id_slot;
  for (int64_t i = 1; r->id_slot < 0 && i < s->n_seq; i++)
    if (s->slots[i].serial < s->slots[id].serial) id = i;
  slot *t = &s->slots[id];
  t->n = 0;
  t->serial = c->serial;
  if (grow(t, p->n_tokens)) {
    memcpy(t->tokens, p->tokens, (size_t)p->n_tokens * sizeof *p->tokens);
    t->n = p->n_tokens;
  }
  c->slot = id + 1;
  pthread_mutex_unlock(&s->slots_lock);
}

void slot_token(call *c, int32_t token) {
  server *s = c->s;
  if (!c->slot || token < 0) return;
  pthread_mutex_lock(&s->slots_lock);
  slot *t = &s->slots[c->slot - 1];
  if (t->serial == c->serial && t->n > 0 && grow(t, t->n + 1)) t->tokens[t->n++] = token;
  pthread_mutex_unlock(&s->slots_lock);
}

/* A copy; NULL with e filled. */
static int32_t *copy_of(server *s, int64_t id, int64_t *n, api_error *e) {
  pthread_mutex_lock(&s->slots_lock);
  const slot *t = &s->slots[id];
  int32_t *copy = malloc((size_t)(t->n + 1) * sizeof *copy);
  *n = t->n;
  if (copy && t->n) memcpy(copy, t->tokens, (size_t)t->n * sizeof *copy);
  pthread_mutex_unlock(&s->slots_lock);
  if (!copy) api_fail(e, 500, "server_error", NULL, "out of memory");
  return copy;
}

static void hold(server *s, int64_t id, const int32_t *tokens, int64_t n) {
  pthread_mutex_lock(&s->slots_lock);
  slot *t = &s->slots[id];
  t->serial = 0;
  t->n = 0;
  if (n > 0 && grow(t, n)) {
    memcpy(t->tokens, tokens, (size_t)n * sizeof *tokens);
    t->n = n;
  }
  pthread_mutex_unlock(&s->slots_lock);
}

/* ---- actions ---- */

typedef json_t *action(server *s, int64_t id, const char *path, const char *name, api_error *e);

static double ms_since(double t) { return (server_now() - t) * 1e3; }

static json_t *save(server *s, int64_t id, const char *path, const char *name, api_error *e) {
  int64_t n, bytes = 0, saved = 0;
  double t0 = server_now();
  myna_err err = {0};
  int32_t *tokens = copy_of(s, id, &n, e);
  if (!tokens) return NULL;
  if (n > 0) saved = myna_engine_prefix_save(s->o->engine, tokens, n, path, &bytes, &err);
  free(tokens);
  if (n == 0 || saved == MYNA_E_NOTFOUND)
    return api_fail(e, 400, "invalid_request_error", NULL, "slot %lld holds nothing", (long long)id), NULL;
  if (saved < 0) return api_fail(e, 500, "server_error", NULL, "%s", err.msg), NULL;
  return json_pack("{s:I, s:s, s:I, s:I, s:{s:f}}", "id_slot", (json_int_t)id, "filename", name, "n_saved",
                   (json_int_t)saved, "n_written", (json_int_t)bytes, "timings", "save_ms", ms_since(t0));
}

static json_t *restore(server *s, int64_t id, const char *path, const char *name, api_error *e) {
  int64_t bytes = 0, cap = s->env.n_ctx;
  double t0 = server_now();
  myna_err err = {0};
  int32_t *tokens = malloc((size_t)(cap + 1) * sizeof *tokens);
  if (!tokens) return api_fail(e, 500, "server_error", NULL, "out of memory"), NULL;
  int64_t n = myna_engine_prefix_load(s->o->engine, path, tokens, cap, &bytes, &err);
  if (n > 0) hold(s, id, tokens, n < cap ? n : cap);
  free(tokens);
  if (n == MYNA_E_NOMEM || n == MYNA_E_LIMIT) return api_fail(e, 503, "unavailable_error", NULL, "%s", err.msg), NULL;
  if (n < 0) return api_fail(e, 400, "invalid_request_error", "filename", "%s", err.msg), NULL;
  return json_pack("{s:I, s:s, s:I, s:I, s:{s:f}}", "id_slot", (json_int_t)id, "filename", name, "n_restored",
                   (json_int_t)n, "n_read", (json_int_t)bytes, "timings", "restore_ms", ms_since(t0));
}

static json_t *erase(server *s, int64_t id, const char *path, const char *name, api_error *e) {
  (void)path, (void)name;
  int64_t n;
  int32_t *tokens = copy_of(s, id, &n, e);
  if (!tokens) return NULL;
  if (n > 0) myna_engine_prefix_erase(s->o->engine, tokens, n);
  hold(s, id, NULL, 0);
  free(tokens);
  return json_pack("{s:I, s:I}", "id_slot", (json_int_t)id, "n_erased", (json_int_t)n);
}

static const struct {
  const char *name;
  action *run;
  bool file;
} actions[] = {{"save", save, true}, {"restore", restore, true}, {"erase", erase, false}};

/* A name in the directory, not a way out of it. */
static bool good_name(const char *name) {
  size_t n = name ? strlen(name) : 0;
  if (n == 0 || n > 200 || name[0] == '.') return false;
  for (size_t i = 0; i < n; i++)
    if ((unsigned char)name[i] < 0x20 || strchr("/\\:*?\"<>|", name[i])) return false;
  return true;
}

static json_t *act(call *c, const json_t *body, api_error *e) {
  server *s = c->s;
  char path[4096], *end;
  long long id = strtoll(c->name, &end, 10);
  const char *name = json_string_value(json_object_get(body, "filename"));
  const char *asked = c->action[0] ? c->action : json_string_value(json_object_get(body, "action"));
  size_t k = 0;
  if (!s->slots)
    return api_fail(e, 501, "not_supported_error", NULL, "slots are saved only with --slot-save-path"), NULL;
  if (*end || end == c->name || id < 0 || id >= s->n_seq)
    return api_fail(e, 400, "invalid_request_error", "id_slot", "there are slots 0 to %lld", (long long)s->n_seq - 1),
           NULL;
  while (k < sizeof actions / sizeof *actions && (!asked || strcmp(asked, actions[k].name) != 0)) k++;
  if (k == sizeof actions / sizeof *actions)
    return api_fail(e, 400, "invalid_request_error", "action", "action must be save, restore or erase"), NULL;
  if (actions[k].file && !good_name(name))
    return api_fail(e, 400, "invalid_request_error", "filename", "filename must be a plain file name"), NULL;
  if (actions[k].file && snprintf(path, sizeof path, "%s/%s", s->o->slot_save_path, name) >= (int)sizeof path)
    return api_fail(e, 400, "invalid_request_error", "filename", "filename is too long"), NULL;
  json_t *answer = actions[k].run(s, id, path, name, e);
  if (!answer) api_fail(e, 500, "server_error", NULL, "out of memory");
  return answer;
}

void slot_action(call *c) {
  api_error e = {0};
  json_t *body = call_body(c, &e), *answer = body ? act(c, body, &e) : NULL;
  json_decref(body);
  if (answer)
    call_answer(c, 200, answer);
  else
    call_error_api(c, &e);
}
