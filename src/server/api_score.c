/* api_score.c: log-probabilities of a prompt's own tokens (echo with logprobs): from rows of logits that one more sequence of the request asks for. */
#include "api_reply.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A token that is less likely, or as likely with a higher id. */
static bool is_below(const float *x, int32_t a, int32_t b) { return x[a] < x[b] || (x[a] == x[b] && a > b); }

/* Lets id sink into the hole at the top of a heap whose parents are below their children. */
static void sink_down(int32_t *heap, int n, int at, int32_t id, const float *x) {
  for (int child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && is_below(x, heap[child + 1], heap[child])) child++;
    if (!is_below(x, heap[child], id)) break;
    heap[at] = heap[child];
  }
  heap[at] = id;
}

/* The n most likely, best first. */
static void find_best(const float *x, int32_t n_vocab, int n, int32_t *ids) {
  for (int i = 0; i < n; i++) ids[i] = i;
  for (int i = n / 2 - 1; i >= 0; i--) sink_down(ids, n, i, ids[i], x);
  for (int32_t i = n; i < n_vocab; i++)
    if (is_below(x, ids[0], i)) sink_down(ids, n, 0, i, x);
  while (n > 1) {
    int32_t lowest = ids[0], last = ids[--n];
    sink_down(ids, n, 0, last, x);
    ids[n] = lowest;
  }
}

/* The row before a token tells how likely it was. top: room for what is told. */
static int add_row(api_reply *p, api_seq *s, const float *logits, myna_event *top, int32_t id) {
  int32_t *ids = (int32_t *)(uintptr_t)top->top_ids;
  float *logprobs = (float *)(uintptr_t)top->top_logprobs;
  find_best(logits, (int32_t)top->n_vocab, top->n_top, ids);
  double max = (double)logits[ids[0]], sum = 0;
  for (int64_t i = 0; i < top->n_vocab; i++) sum += exp((double)logits[i] - max);
  double log_sum = max + log(sum);
  for (int i = 0; i < top->n_top; i++) logprobs[i] = (float)((double)logits[ids[i]] - log_sum);
  json_t *row = api_prob_row(p->r, id, (double)logits[id] - log_sum, top);
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
  int32_t *ids = malloc((size_t)n * sizeof *ids);
  float *logprobs = malloc((size_t)n * sizeof *logprobs);
  myna_event top = {.n_top = n, .n_vocab = ev->n_vocab, .top_ids = ids, .top_logprobs = logprobs};
  if (!ids || !logprobs) rc = MYNA_E_NOMEM;
  for (int64_t i = 0; i < ev->n_rows && rc == 0; i++) {
    int64_t token = ev->first_row + i + 1;
    if (token < q->n_tokens) rc = add_row(p, s, ev->logits + i * ev->n_vocab, &top, q->tokens[token]);
  }
  free(ids);
  free(logprobs);
  return rc;
}
