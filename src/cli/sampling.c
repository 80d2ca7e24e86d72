/* sampling.c: from flags to the engine's sampling and speculation options. */
#include "cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* "penalties;top_k" to letters. */
static int sampler_letters(const char *names, char *out, size_t n) {
  static const struct {
    const char *name;
    char letter;
  } table[] = {{"penalties", 'e'}, {"dry", 'd'},       {"top_n_sigma", 's'}, {"top_k", 'k'},
               {"typ_p", 'y'},     {"typical_p", 'y'}, {"typical", 'y'},     {"top_p", 'p'},
               {"min_p", 'm'},     {"xtc", 'x'},       {"temperature", 't'}, {"temp", 't'}};
  size_t at = 0;
  for (const char *p = names; *p && at + 1 < n;) {
    size_t len = strcspn(p, ";,"), i = 0;
    while (i < sizeof table / sizeof *table && (strlen(table[i].name) != len || memcmp(table[i].name, p, len) != 0))
      i++;
    if (i == sizeof table / sizeof *table) return usage("--samplers: \"%.*s\" is no sampler", (int)len, p);
    out[at++] = table[i].letter;
    p += len + (p[len] != 0);
  }
  out[at] = 0;
  return 0;
}

static int logit_bias(const options *o, myna_sampling *s) {
  static myna_logit_bias bias[64];
  for (int i = 0; i < o->logit_bias.n; i++) {
    char *end;
    const char *text = o->logit_bias.items[i];
    long id = strtol(text, &end, 10);
    if (end == text || (*end != '+' && *end != '-')) return usage("--logit-bias %s: write ID+X or ID-X", text);
    double x = strtod(end, &end); /* understands inf */
    if (*end || isnan(x) || id < 0 || id > INT32_MAX) return usage("--logit-bias %s: write ID+X or ID-X", text);
    bias[i] = (myna_logit_bias){(int32_t)id, (float)x};
  }
  s->bias = bias;
  s->n_bias = o->logit_bias.n;
  return 0;
}

static void set_f(float *to, double given) {
  if (!isnan(given)) *to = (float)given;
}
static void set_i(int32_t *to, int64_t given) {
  if (given != INT64_MIN) *to = (int32_t)given;
}

int sampling_options(const options *o, const myna_model *m, myna_sampling *s) {
  static char order[32];
  myna_model_sampling(m, s);
  s->seed = o->seed < 0 ? (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid() : (uint64_t)o->seed;
  set_f(&s->temperature, o->temp);
  set_i(&s->top_k, o->top_k);
  set_f(&s->top_p, o->top_p);
  set_f(&s->min_p, o->min_p);
  s->typical_p = (float)o->typical;
  s->top_n_sigma = (float)o->top_n_sigma;
  set_f(&s->xtc_probability, o->xtc_probability);
  set_f(&s->xtc_threshold, o->xtc_threshold);
  s->dynatemp_range = (float)o->dynatemp_range;
  s->dynatemp_exponent = (float)o->dynatemp_exp;
  s->min_keep = (int32_t)o->min_keep;
  set_i(&s->repeat_last_n, o->repeat_last_n);
  set_f(&s->repeat_penalty, o->repeat_penalty);
  s->frequency_penalty = (float)o->frequency_penalty;
  s->presence_penalty = (float)o->presence_penalty;
  s->dry_multiplier = (float)o->dry_multiplier;
  s->dry_base = (float)o->dry_base;
  s->dry_allowed_length = (int32_t)o->dry_allowed_length;
  s->dry_penalty_last_n = (int32_t)o->dry_penalty_last_n;
  if (o->dry_breakers.n) {
    s->dry_breakers = o->dry_breakers.items;
    s->n_dry_breakers = o->dry_breakers.n;
  }
  set_i(&s->mirostat, o->mirostat);
  set_f(&s->mirostat_eta, o->mirostat_lr);
  set_f(&s->mirostat_tau, o->mirostat_ent);
  s->ignore_eos = o->ignore_eos;
  if (o->sampling_seq)
    s->order = o->sampling_seq;
  else if (o->samplers) {
    if (sampler_letters(o->samplers, order, sizeof order)) return EXIT_USAGE;
    s->order = order;
  }
  return logit_bias(o, s);
}

/* 0: not given. */
static int draft_number(const char *name, int64_t given_n, int most, int32_t *out) {
  if (given_n < 0 || given_n > most) return usage("%s %lld: 1 to %d", name, (long long)given_n, most);
  *out = (int32_t)given_n;
  return 0;
}

/* Names with commas between; also llama.cpp's ngram-simple, ngram-mod, ..., which here are one, and draft-simple. */
static int speculation_kinds(const char *names, int *kind) {
  *kind = MYNA_SPECULATION_NONE;
  for (const char *p = names; *p;) {
    size_t n = strcspn(p, ",");
    if ((n == 5 && strncmp(p, "ngram", 5) == 0) || strncmp(p, "ngram-", 6) == 0)
      *kind |= MYNA_SPECULATION_NGRAM;
    else if ((n == 5 && strncmp(p, "draft", 5) == 0) || (n == 12 && strncmp(p, "draft-simple", 12) == 0))
      *kind |= MYNA_SPECULATION_DRAFT;
    else if (n != 4 || strncmp(p, "none", 4) != 0)
      return usage("--spec-type %.*s: none, ngram, draft or ngram,draft", (int)n, p);
    p += n + (p[n] != 0);
  }
  return 0;
}

int speculation_options(const options *o, myna_speculation *s) {
  *s = (myna_speculation){.always = o->spec_always, .p_min = (float)o->draft_p_min};
  if (speculation_kinds(o->spec_type ? o->spec_type : o->draft_model ? "draft" : "none", &s->kind)) return EXIT_USAGE;
  if (draft_number("--draft-max", o->draft_max, 31, &s->n_max) ||
      draft_number("--draft-min", o->draft_min, s->n_max ? s->n_max : 31, &s->n_min) ||
      draft_number("--spec-ngram-size-n", o->spec_ngram_min, 8, &s->ngram_min))
    return EXIT_USAGE;
  if (!(o->draft_p_min >= 0 && o->draft_p_min <= 1)) return usage("--draft-p-min %g: 0 to 1", o->draft_p_min);
  bool draft = (s->kind & MYNA_SPECULATION_DRAFT) != 0;
  if (draft && !o->draft_model) return usage("--spec-type draft: which model? --model-draft FILE");
  if (!draft && o->draft_model) note(o, "--model-draft is not used without --spec-type draft");
  bool set = s->n_max || s->n_min || s->ngram_min || s->always;
  if (set && s->kind == MYNA_SPECULATION_NONE) note(o, "nothing is guessed without --spec-type or --model-draft");
  return 0;
}

int open_draft(const options *o, const myna_speculation *s, myna_engine_options *e) {
  e->speculation = s->kind;
  if (!(s->kind & MYNA_SPECULATION_DRAFT)) return 0;
  options of_draft = *o;
  of_draft.model = o->draft_model;
  of_draft.bare_model = false;
  return open_model(&of_draft, false, &e->draft_model);
}
