/* api_reply.h: an answer being made: what api_reply.c keeps and api_answer.c writes. */
#ifndef MYNA_SERVER_API_REPLY_H
#define MYNA_SERVER_API_REPLY_H

#include "api.h"

/* One sequence: the answer to prompt / best_of with seed + its number; or behind those, what the prompt's own probabilities are read from. */
typedef struct api_seq {
  int prompt, number;
  uint64_t seed;
  api_buf text;    /* all of the answer */
  api_buf content; /* chat: what is left of it besides reasoning and calls */
  api_buf reasoning;
  json_t *calls;   /* array of tool calls, NULL without */
  int32_t *tokens; /* [n_tokens] */
  int64_t n_tokens, cap_tokens;
  int64_t n_told; /* of them in a chunk already */
  json_t *probs;  /* NULL, or array of llama-server's rows; in a stream of those that no chunk told yet */
  int32_t *top;   /* NULL, or room for alternatives of a prompt's tokens: ids, behind them as many log-probabilities */
  int64_t n_echo; /* bytes of the prompt before it in a stream */
  double sum_logprob;
  myna_chat_parser *parser;
  bool began, done, scores, prompt_told;
  int64_t n_cached; /* by the first event; -1 before */
  double t_begin, t_first;
  myna_finish finish;
  myna_timings timings;
  myna_err err;
  const char *stopping_word;
} api_seq;

struct api_reply {
  api_request *r;
  api_seq *seqs; /* [n_seqs] */
  int n_seqs, n_done;
  int n_answers; /* of n_seqs; the rest scores the prompts */
  char id[48];
  int64_t created;
};

/* Chunks of a stream; each writes one event or more. */
int api_chunk_text(api_reply *p, api_seq *s, const char *text, size_t n, const api_sink *sink);
int api_chunk_delta(api_reply *p, api_seq *s, const myna_delta *d, const api_sink *sink);
int api_chunk_begin(api_reply *p, api_seq *s, const api_sink *sink);
int api_chunk_progress(api_reply *p, api_seq *s, int64_t done, int64_t total, const api_sink *sink);
int api_chunk_end(api_reply *p, api_seq *s, const api_sink *sink);
int api_chunk_last(api_reply *p, const api_sink *sink);
int api_chunk_error(const api_error *e, const api_sink *sink);
double api_now(void);
/* llama-server's row of a token, and with `top` its alternatives. */
json_t *api_prob_row(const api_request *r, int32_t id, double logprob, const myna_event *top);
/* Rows of logits of a sequence that scores its prompt: s->probs gets a row per token. */
int api_score_event(api_reply *p, api_seq *s, const myna_event *ev);

#endif
