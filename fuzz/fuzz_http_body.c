/* fuzz_http_body.c: a body from any bytes, through the fields of every API to a request that could be submitted, and an answer to it: what is no JSON, has
 * wrong fields or asks too much is refused with a status; everything else can be answered, streamed or not, whatever tokens come.
 *
 * Input: the API and switches (1 byte), tokens of the answer (1 byte each, 0 ends them), then the body. Run from the root of the tree. */
#include "server/api.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ANSWER = 16 };

static myna_model *model;
static myna_chat *chat;
static int64_t n_vocab;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  const myna_model_options o = {.header_only = true};
  static char source[8192];
  myna_err err = {0};
  myna_model_info info;
  FILE *f = fopen("tests/server/chat.jinja", "r");
  size_t n = f ? fread(source, 1, sizeof source - 1, f) : 0;
  if (f) fclose(f);
  const myna_chat_options co = {.template_source = source};
  if (n == 0 || myna_model_open(&model, "models/myna-stories.gguf", &o, &err) < 0 ||
      myna_chat_new(&chat, model, &co, &err) < 0) {
    fprintf(stderr, "run it from the root of the tree: %s\n", err.msg);
    exit(1);
  }
  myna_model_get_info(model, &info);
  n_vocab = info.n_vocab;
  return 0;
}

static int count(void *user, const char *bytes, size_t n) {
  *(size_t *)user += n;
  return bytes && n ? 0 : -1;
}

static void refused(const api_error *e) {
  if (e->status < 400 || e->status > 599 || !e->message[0]) abort();
  json_t *o = api_error_json(e);
  if (!json_object_get(o, "error")) abort();
  json_decref(o);
}

/* Events as the engine would send them. */
static void play(api_reply *p, int seq, const uint8_t *answer, size_t n, const api_sink *sink) {
  static const char *const texts[] = {
      "<think>",        "</think>", "<tool_call>\n", "{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
      "\n</tool_call>", "Tom",      " \xc3\xa9",     ""};
  const int32_t top[2] = {1, 2};
  const float logprobs[2] = {-0.5f, -1};
  for (size_t i = 0; i < n; i++) {
    const char *text = texts[answer[i] % (sizeof texts / sizeof *texts)];
    const myna_event ev = {.kind = MYNA_EVENT_TOKEN,
                           .token = answer[i] % (int32_t)n_vocab,
                           .text = text,
                           .text_len = (int64_t)strlen(text),
                           .logprob = -0.5f,
                           .n_top = 2,
                           .top_ids = top,
                           .top_logprobs = logprobs};
    if (api_reply_event(p, seq, &ev, sink) < 0) abort();
  }
  const myna_event done = {.kind = MYNA_EVENT_DONE,
                           .finish = n % 3 == 0   ? MYNA_FINISH_STOP
                                     : n % 3 == 1 ? MYNA_FINISH_LENGTH
                                                  : MYNA_FINISH_STRING,
                           .timings = {.n_prompt = 5, .n_gen = (int64_t)n}};
  if (api_reply_event(p, seq, &done, sink) < 0) abort();
}

static void answer_it(api_request *r, const uint8_t *answer, size_t n) {
  api_reply *p;
  api_error e = {0};
  size_t written = 0;
  const api_sink sink = {count, &written};
  if (api_reply_new(&p, r, &e) < 0) {
    refused(&e);
    return;
  }
  bool streams = api_reply_streams(p);
  for (int i = 0; i < api_reply_count(p); i++) {
    myna_request q;
    api_reply_request(p, i, &q);
    if (q.n_tokens < 1 || q.max_tokens < 0) abort();
    play(p, i, answer, n, streams ? &sink : NULL);
  }
  if (!api_reply_done(p) || (streams && !written)) abort();
  json_t *o = streams ? NULL : api_reply_body(p);
  char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
  if (!streams && !text) abort();
  free(text);
  json_decref(o);
  api_reply_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  uint8_t how = data[0];
  size_t n = 0;
  while (n < MAX_ANSWER && 1 + n < size && data[1 + n]) n++;
  size_t at = 1 + n < size ? 2 + n : size;
  api_env env = {.model = model,
                 .chat = how & 8 ? NULL : chat,
                 .model_name = "m",
                 .fingerprint = "b",
                 .n_ctx = 512,
                 .strict = how & 16,
                 .verbose = how & 32,
                 .reasoning_budget = how & 64 ? 4 : -1};
  myna_sampling_default(&env.sampling);
  static const int32_t fim[API_N_FIM] = {300, 301, 302, 303, -1};
  env.fim = fim;
  api_error e = {0};
  json_t *body = api_body((const char *)data + at, size - at, &e);
  if (!body) {
    refused(&e);
    return 0;
  }
  static const api_dialect dialects[] = {API_CHAT, API_TEXT, API_NATIVE};
  typedef json_t *small(const api_env *env, json_t *body, api_error *e);
  static small *const smalls[] = {api_answer_template, api_answer_tokenize, api_answer_detokenize, api_answer_count};
  if ((how & 7) >= 3) {
    json_t *o = smalls[(how & 7) % 4](&env, body, &e);
    if (!o) refused(&e);
    json_decref(o);
    return 0;
  }
  if (how & 128 && (how & 7) == 2 && api_infill(&env, body, &e) < 0) {
    refused(&e);
    json_decref(body);
    return 0;
  }
  api_request *r;
  if (api_request_new(&r, dialects[how & 7], body, &env, &e) < 0)
    refused(&e);
  else
    answer_it(r, data + 1, n);
  return 0;
}
