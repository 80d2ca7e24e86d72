/* metrics.c: counters as Prometheus reads them: llama-server's names, and distributions under our own. */
#include "http.h"
#include <stdio.h>
#include <stdlib.h>

static const double bounds[N_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60};

static void observe(histogram *h, double x) {
  int i = 0;
  while (i < N_BUCKETS && x > bounds[i]) i++;
  h->counts[i]++;
  h->sum += x;
}

void metrics_done(metrics *m, const myna_event *ev) {
  const myna_timings *t = &ev->timings;
  pthread_mutex_lock(&m->lock);
  m->n_requests++;
  m->n_cancelled += ev->finish == MYNA_FINISH_CANCELLED;
  m->n_prompt += t->n_prompt - t->n_cached;
  m->n_gen += t->n_gen;
  m->prompt_s += t->prompt_s;
  m->gen_s += t->gen_s;
  if (t->n_prompt + t->n_gen > m->most_tokens) m->most_tokens = t->n_prompt + t->n_gen;
  observe(&m->queue, t->queue_s);
  if (t->n_gen > 0) observe(&m->first_token, t->first_token_s);
  if (t->n_gen > 1) observe(&m->inter_token, t->gen_s / (double)(t->n_gen - 1));
  pthread_mutex_unlock(&m->lock);
}

void metrics_refused(metrics *m) {
  pthread_mutex_lock(&m->lock);
  m->n_refused++;
  pthread_mutex_unlock(&m->lock);
}

static void value(FILE *f, const char *name, const char *type, const char *help, double v) {
  fprintf(f, "# HELP %s %s\n# TYPE %s %s\n%s %.10g\n", name, help, name, type, name, v);
}

static void distribution(FILE *f, const char *name, const char *help, const histogram *h) {
  int64_t sum = 0;
  fprintf(f, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
  for (int i = 0; i < N_BUCKETS; i++)
    fprintf(f, "%s_bucket{le=\"%g\"} %lld\n", name, bounds[i], (long long)(sum += h->counts[i]));
  sum += h->counts[N_BUCKETS];
  fprintf(f, "%s_bucket{le=\"+Inf\"} %lld\n%s_sum %.10g\n%s_count %lld\n", name, (long long)sum, name, h->sum, name,
          (long long)sum);
}

/* Pages on disk; nothing where there is no disk. */
static void disk_values(FILE *f, const myna_disk_stats *d) {
  const struct {
    const char *name, *type, *help;
    int64_t v;
  } rows[] = {{"bytes", "gauge", "Pages held on disk", d->bytes},
              {"max_bytes", "gauge", "Most that may be held there", d->max_bytes},
              {"pages_written_total", "counter", "Pages written", d->pages_written},
              {"pages_skipped_total", "counter", "Pages not written: the disk was busy", d->pages_skipped},
              {"pages_fetched_total", "counter", "Pages read back", d->pages_read},
              {"failures_total", "counter", "Pages that could not be read or written", d->n_failed},
              {"checksum_failures_total", "counter", "Pages that came back damaged", d->n_damaged},
              {"hit_tokens_total", "counter", "Prompt tokens found on disk", d->tokens}};
  for (size_t i = 0; d->max_bytes > 0 && i < sizeof rows / sizeof *rows; i++) {
    char name[64];
    snprintf(name, sizeof name, "myna_cache_disk_%s", rows[i].name);
    value(f, name, rows[i].type, rows[i].help, (double)rows[i].v);
  }
}

static double rate(int64_t n, double s) { return s > 0 ? (double)n / s : 0; }

char *metrics_text(server *s) {
  char *text = NULL;
  size_t n = 0;
  myna_engine_stats e;
  metrics *m = &s->metrics;
  FILE *f = open_memstream(&text, &n);
  if (!f) return NULL;
  myna_engine_get_stats(s->o->engine, &e);
  double busy = e.n_steps ? (double)(e.n_gen_tokens) / (double)e.n_steps : 0;
  pthread_mutex_lock(&m->lock);
  value(f, "llamacpp:prompt_tokens_total", "counter", "Prompt tokens computed", (double)m->n_prompt);
  value(f, "llamacpp:prompt_seconds_total", "counter", "Time spent on prompts", m->prompt_s);
  value(f, "llamacpp:tokens_predicted_total", "counter", "Tokens generated", (double)m->n_gen);
  value(f, "llamacpp:tokens_predicted_seconds_total", "counter", "Time spent on generation", m->gen_s);
  value(f, "llamacpp:n_decode_total", "counter", "Steps of the engine", (double)e.n_steps);
  value(f, "llamacpp:n_tokens_max", "counter", "Most tokens of a request", (double)m->most_tokens);
  value(f, "llamacpp:n_busy_slots_per_decode", "gauge", "Generated tokens per step", busy);
  value(f, "llamacpp:prompt_tokens_seconds", "gauge", "Prompt tokens per second", rate(m->n_prompt, m->prompt_s));
  value(f, "llamacpp:predicted_tokens_seconds", "gauge", "Generated tokens per second", rate(m->n_gen, m->gen_s));
  value(f, "llamacpp:requests_processing", "gauge", "Requests that run", (double)e.n_running);
  value(f, "llamacpp:requests_deferred", "gauge", "Requests that wait", (double)e.n_queued);
  value(f, "llamacpp:kv_cache_usage_ratio", "gauge", "Pages in use", rate(e.pages_used, (double)e.pages_total));
  value(f, "myna_requests_total", "counter", "Requests that ended", (double)m->n_requests);
  value(f, "myna_requests_cancelled_total", "counter", "Of them cancelled", (double)m->n_cancelled);
  value(f, "myna_requests_refused_total", "counter", "Requests refused by limits", (double)m->n_refused);
  value(f, "myna_tokens_reused_total", "counter", "Prompt tokens found computed", (double)e.tokens_reused);
  value(f, "llamacpp:spec_decode_num_draft_tokens_total", "counter", "Tokens guessed", (double)e.n_drafted);
  value(f, "llamacpp:spec_decode_num_accepted_tokens_total", "counter", "Guesses that were right",
        (double)e.n_accepted);
  value(f, "myna_tokens_drafted_total", "counter", "Tokens guessed", (double)e.n_drafted);
  value(f, "myna_tokens_accepted_total", "counter", "Guesses that were right", (double)e.n_accepted);
  value(f, "myna_grammar_bytes", "gauge", "What grammars hold", (double)myna_grammar_held());
  disk_values(f, &e.disk);
  distribution(f, "myna_first_token_seconds", "From submission to the first token", &m->first_token);
  distribution(f, "myna_inter_token_seconds", "Mean time between tokens of a request", &m->inter_token);
  distribution(f, "myna_queue_seconds", "Time in the queue", &m->queue);
  pthread_mutex_unlock(&m->lock);
  if (fclose(f) != 0) {
    free(text);
    return NULL;
  }
  return text;
}
