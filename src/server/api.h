/* api.h: what clients speak: requests of OpenAI's and llama-server's APIs to what the engine takes, its events to their answers.
 *
 * Nothing here knows of sockets: bytes of JSON come in, a request that can be submitted comes out; events come in, JSON or server-sent events go
 * out. One list of fields (api_fields.inc) says for every API what is honoured, accepted without effect, or refused. All of a request belongs to
 * one thread at a time; different requests are independent. Memory is the C library's: this is the binary, not the library. */
#ifndef MYNA_SERVER_API_H
#define MYNA_SERVER_API_H

#include "myna.h"
#include "myna_chat.h"
#include <jansson.h>

/* Bytes that grow at the end and may be taken from the front: [at, n) is not taken yet. There is always a NUL behind the last. */
typedef struct api_buf {
  char *p;
  size_t n, cap, at;
} api_buf;
bool api_buf_add(api_buf *b, const char *bytes, size_t n);

/* Sets, so that a row of the list can belong to several. */
typedef enum api_dialect { API_CHAT = 1, API_TEXT = 2, API_NATIVE = 4, API_TEMPLATE = 8 } api_dialect;

/* What the server is: the same for all requests. Borrowed by every request. */
typedef struct api_env {
  const myna_model *model;
  const myna_chat *chat;      /* NULL: messages cannot be answered */
  const char *model_name;     /* what answers call the model */
  const char *aliases, *tags; /* NULL, or lists joined by commas, told beside it */
  const char *fingerprint;
  const int32_t *eog; /* [n_eog] end tokens, told as the biases of ignore_eos */
  int n_eog;
  const int32_t *fim;     /* NULL, or api_fim_token's answers, by api_fim */
  myna_sampling sampling; /* defaults, from flags and file; set */
  bool random_seed;       /* requests without seed get one by chance */
  int64_t n_ctx;          /* positions of a sequence */
  int64_t n_predict;      /* default of max_tokens; <= 0: none */
  int64_t n_keep;
  bool context_shift;
  bool strict;     /* unknown fields are errors */
  bool verbose;    /* answers of OpenAI's API carry "__verbose" */
  bool no_prefill; /* a last message of the assistant is not continued unless the request asks for it */
  myna_reasoning reasoning;
  int64_t reasoning_budget;     /* < 0: none */
  const char *budget_message;   /* NULL, or text said when the budget is used up */
  const char *reasoning_format; /* NULL: "auto" */
  const char *chat_kwargs;      /* NULL, or JSON object */
  myna_speculation speculation;
} api_env;

/* An answer that is an error, in OpenAI's shape with llama-server's additions. */
typedef struct api_error {
  int status; /* of HTTP */
  const char *type;
  char param[96]; /* "" when no field is to blame */
  char message[600];
  int64_t n_prompt_tokens, n_ctx; /* of exceed_context_size_error, else 0 */
} api_error;
/* Fills e unless it is filled already, and returns -1. */
int api_fail(api_error *e, int status, const char *type, const char *param, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same for a field of the request: 400, invalid_request_error. */
int api_refuse(api_error *e, const char *param, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for an error of the library in what the client sent: 400; of memory: 500; param may be NULL. */
int api_fail_err(api_error *e, const char *param, const myna_err *err);
/* {"error": {...}}, a new reference; NULL without memory. */
json_t *api_error_json(const api_error *e);
/* The error of an event with FINISH_ERROR. */
void api_error_from_event(api_error *e, const myna_err *err);

/* The JSON object that a body is (nothing: an empty one), a new reference; NULL with e filled. */
json_t *api_body(const char *bytes, size_t n, api_error *e);

typedef struct api_prompt {
  int32_t *tokens; /* [n_tokens] */
  int64_t n_tokens;
} api_prompt;

typedef struct api_block api_block;

/* A request, as its JSON says. Strings and json_t without note are borrowed from body. */
typedef struct api_request {
  const api_env *env;
  api_dialect dialect;
  json_t *body;      /* owned */
  json_t *attic;     /* owned: NULL, or array of what was parsed out of strings of the body */
  api_block *blocks; /* owned: memory that goes with the request */
  char *ignored;     /* NULL, or names of unknown fields, joined by ", " */

  api_prompt *prompts; /* [n_prompts] */
  int n_prompts;
  bool prompt_list; /* the prompt was a list of prompts */
  int64_t n, best_of;
  bool echo;
  const char *suffix;
  int64_t max_tokens; /* < 0: until the end */
  int64_t n_keep, id_slot, max_ms, ping_s;
  myna_sampling sampling;
  bool has_seed;
  const char **stop; /* [n_stop] */
  int n_stop;
  bool logprobs, post_probs;
  int32_t n_probs;
  bool stream, include_usage, cache_prompt;
  bool timings_per_token, return_tokens, return_progress, verbose;
  const json_t *response_fields;

  const json_t *schema; /* of response_format or json_schema; an empty object is any JSON */
  bool json_object;     /* response_format json_object */
  const char *grammar_text, *regex;
  const json_t *choices;
  myna_grammar *grammar; /* owned: compiled */
  bool grammar_lazy;

  const json_t *prompt, *messages, *tools, *kwargs;
  myna_tool_choice tool_choice;
  const char *tool_name, *allowed_tools; /* NULL, or JSON array of names */
  bool parallel_tools, add_generation_prompt, add_generation_prompt_set, continue_final;
  const char *reasoning_effort, *reasoning_format;
  int32_t thinking; /* -1: not said; else enable_thinking */
  int64_t reasoning_budget;
  const char *budget_message;
  myna_chat_prompt chat_prompt;      /* of messages; owned */
  bool has_chat_prompt, no_thinking; /* no_thinking: a constraint holds from the start of the answer */
} api_request;

/* Reads a body of `dialect`: checks every field against the list, then makes prompts, grammar and chat prompt, so that what is left can be submitted. Takes
 * the reference to body. 0, or -1 with e filled; *out is NULL then. */
int api_request_new(api_request **out, api_dialect dialect, json_t *body, const api_env *env, api_error *e);
/* The first half alone: fields are checked and stored, nothing is tokenized. */
int api_request_parse(api_request **out, api_dialect dialect, json_t *body, const api_env *env, api_error *e);
void api_request_free(api_request *r);
/* Makes the body of /infill that of a native completion: "prompt" becomes tokens. */
int api_infill(const api_env *env, json_t *body, api_error *e);
/* Memory freed with the request; NULL when there is none. */
void *api_keep(api_request *r, size_t n);

/* ---- for the files of this module ---- */
int api_make_prompts(api_request *r, api_error *e); /* "prompt" to tokens */
int api_make_chat(api_request *r, api_error *e);    /* messages to chat_prompt and tokens */
int api_make_grammar(api_request *r, api_error *e); /* constraint to grammar */
int32_t *api_tokenize(api_request *r, const char *text, size_t n, bool add_special, bool parse_special, int64_t *n_ids,
                      api_error *e);
bool api_add_prompt(api_request *r, int32_t *tokens, int64_t n);
/* Fill-in-the-middle tokens, by the file's metadata or by the names that models give them; < 0: the model has none. */
typedef enum api_fim { API_FIM_PRE, API_FIM_SUF, API_FIM_MID, API_FIM_REPO, API_FIM_SEP, API_N_FIM } api_fim;
int32_t api_fim_token(const api_env *env, api_fim which);
/* Setters that are more than a value's copy; rows of api_fields.inc name them. */
typedef int api_setter(api_request *r, const char *name, const json_t *v, api_error *e);
api_setter api_set_seed, api_set_samplers, api_set_logit_bias, api_set_stop, api_set_breakers, api_set_logprobs,
    api_set_top_logprobs, api_set_stream_options, api_set_response_format, api_set_tool_choice, api_set_thinking,
    api_set_text_logprobs, api_set_generation_prompt, api_set_schema, api_set_choices, api_set_reasoning_format,
    api_set_best_of, api_set_messages, api_set_penalty, api_set_max_tokens;
/* What is left out is named in x-myna-ignored; with --strict it is refused. */
int api_ignore(api_request *r, const char *name, api_error *e);
/* Names of samplers and their letters in myna_sampling.order; NULL behind the last. */
const char *api_sampler_name(int i, char *letter);
/* A string of any bytes: what is no UTF-8 becomes U+FFFD. */
json_t *api_text(const char *bytes, size_t n);
json_t *api_timings(const myna_timings *t);
json_t *api_generation_settings(const api_request *r, uint64_t seed);

/* ---- answers ---- */

/* Takes bytes of the answer; a negative result ends it. */
typedef struct api_sink {
  int (*write)(void *user, const char *bytes, size_t n);
  void *user;
} api_sink;
typedef struct api_reply api_reply;
/* Answer to r, which it takes (also on failure). */
int api_reply_new(api_reply **out, api_request *r, api_error *e);
void api_reply_free(api_reply *p);
/* Sequences to submit, >= 1, and their requests; what they borrow lives as long as the reply. */
int api_reply_count(const api_reply *p);
void api_reply_request(const api_reply *p, int i, myna_request *out);
/* Whether server-sent events go out as events come in. */
bool api_reply_streams(const api_reply *p);
const api_request *api_reply_of(const api_reply *p);
/* An event of sequence i; streams write to sink (may be NULL where nothing streams). Negative: give up (memory, or the sink). */
int api_reply_event(api_reply *p, int i, const myna_event *ev, const api_sink *sink);
/* How far sequence i is, as llama-server tells of a slot; NULL without memory. */
json_t *api_reply_slot(const api_reply *p, int i);
/* All sequences told DONE. */
bool api_reply_done(const api_reply *p);
/* The first sequence that failed: e is filled, true. */
bool api_reply_failed(const api_reply *p, api_error *e);
/* The answer of what does not stream, a new reference; NULL without memory. */
json_t *api_reply_body(api_reply *p);

/* ---- small answers without the engine ---- */
/* These take body, a JSON object. NULL with e filled. */
json_t *api_answer_tokenize(const api_env *env, json_t *body, api_error *e);
json_t *api_answer_detokenize(const api_env *env, json_t *body, api_error *e);
json_t *api_answer_template(const api_env *env, json_t *body, api_error *e);
json_t *api_answer_count(const api_env *env, json_t *body, api_error *e); /* tokens of a chat request's prompt */
json_t *api_answer_models(const api_env *env, int64_t created);
json_t *api_answer_model(const api_env *env, int64_t created);
/* The model answers to this name in lists: its own or one of its aliases. */
bool api_model_is(const api_env *env, const char *name);
json_t *api_answer_props(const api_env *env, int64_t n_slots);

/* One row of the list, for tests and documents. */
typedef enum api_use { API_HONOURED, API_CLAMPED, API_ACCEPTED, API_REFUSED } api_use;
typedef struct api_field {
  const char *name;
  int dialects, kinds;
  double min, max;
  api_use use;
  int store;
  size_t offset;
  api_setter *set;
  const char *note;
} api_field;
const api_field *api_field_at(int i); /* NULL behind the last */

#endif
