/* api_score.c: log-probabilities of a prompt's own tokens (echo with logprobs): from rows of logits that one more sequence of the request asks for.
 *
 * On the thread of events: an event has at most 64 MB of logits (memory.c), which are read in a few milliseconds, where computing them took the step a second. */
#include "api_reply.h"
#include <stdlib.h>

/* The row before a token tells how likely it was. ids, logprobs: room for what is told. */
static int add_row(api_reply *p, api_seq *s, const float *logits, int64_t n_vocab, int32_t id, int32_t *ids,
                   float *logprobs) {
  float logprob;
  int n = myna_logprobs(logits, n_vocab, id, &logprob, p->r->n_probs, ids, logprobs, NULL);
  if (n < 0) return n;
  const myna_event top = {.n_top = n, .top_ids = ids, .top_logprobs = logprobs};
  json_t *row = api_prob_row(p->r, id, (double)logprob, &top);
  return json_array_append_new(s->probs, row) < 0 ? MYNA_E_NOMEM : 0;
}

int api_score_event(api_reply *p, api_seq *s, const myna_event *ev) {
  const api_prompt *q = &p->r->prompts[s->prompt];
  int rc = s->probs || (s->probs = json_array()) ? 0 : MYNA_E_NOMEM;
  if (rc == 0 && json_array_size(s->probs) == 0) { /* nothing is before the first token */
    json_t *first = api_prob_row(p->r, q->tokens[0], 0, NULL);
    json_object_set_new(first, "logprob", json_null());
    rc = json_array_append_new(s->probs, first) < 0 ? MYNA_E_NOMEM : 0;
  }
  int n = p->r->n_probs < ev->n_vocab ? p->r->n_probs : (int)ev->n_vocab;
  if (n < 1) return rc;
  if (!s->top) s->top = malloc((size_t)n * (sizeof(int32_t) + sizeof(float)));
  if (!s->top) rc = MYNA_E_NOMEM;
  for (int64_t i = 0; i < ev->n_rows && rc == 0; i++) {
    int64_t token = ev->first_row + i + 1;
    if (token < q->n_tokens)
      rc = add_row(p, s, ev->logits + i * ev->n_vocab, ev->n_vocab, q->tokens[token], s->top, (float *)(s->top + n));
  }
  return rc;
}
