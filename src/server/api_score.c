/* api_score.c: log-probabilities of a prompt's own tokens (echo with logprobs): from rows of logits that one more sequence of the request asks for. */
#include "api_reply.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOP = 20 };

typedef struct best {
  int32_t ids[MAX_TOP];
  float logprobs[MAX_TOP];
  int n;
} best;

/* The n most likely, best first; of equals the lower id. They hold logits so far. */
static void find_best(const float *logits, int64_t n_vocab, int n, best *b) {
  *b = (best){.n = 0};
  if (n < 1 || n > MAX_TOP) n = MAX_TOP;
  for (int64_t i = 0; i < n_vocab; i++) {
    if (b->n == n && !(logits[i] > b->logprobs[n - 1])) continue;
    int at = b->n < n ? b->n++ : n - 1;
    for (; at > 0 && logits[i] > b->logprobs[at - 1]; at--) {
      b->ids[at] = b->ids[at - 1];
      b->logprobs[at] = b->logprobs[at - 1];
    }
    b->ids[at] = (int32_t)i;
    b->logprobs[at] = logits[i];
  }
}

/* The row before a token tells how likely it was. */
static int add_row(api_reply *p, api_seq *s, const float *logits, int64_t n_vocab, int32_t id) {
  best b;
  find_best(logits, n_vocab, p->r->n_probs, &b);
  double max = b.n ? (double)b.logprobs[0] : 0, sum = 0;
  for (int64_t i = 0; i < n_vocab; i++) sum += exp((double)logits[i] - max);
  float log_sum = (float)(max + log(sum));
  for (int i = 0; i < b.n; i++) b.logprobs[i] -= log_sum;
  const myna_event top = {.n_top = b.n, .top_ids = b.ids, .top_logprobs = b.logprobs};
  json_t *row = api_prob_row(p->r, id, (double)(logits[id] - log_sum), &top);
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
  for (int64_t i = 0; i < ev->n_rows && rc == 0; i++) {
    int64_t token = ev->first_row + i + 1;
    if (token < q->n_tokens) rc = add_row(p, s, ev->logits + i * ev->n_vocab, ev->n_vocab, q->tokens[token]);
  }
  return rc;
}
