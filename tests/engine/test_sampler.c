/* test_sampler.c: the sampler chain against llama.cpp's own test cases, against a naive chain in double, and its promises: reproducible draws, exact
 * rollback, no allocation, errors that name the field. */
#include "engine/sampler_state.h"
#include "test.h"
#include <jansson.h>
#include <math.h>

enum { MAX = 4096 };

/* Everything off, so that a test turns on what it is about. */
static myna_sampling off(const char *order) {
  myna_sampling s;
  myna_sampling_default(&s);
  s.order = order;
  s.temperature = 1;
  s.top_k = 0;
  s.top_p = 1;
  s.min_p = 0;
  return s;
}

static myna__sampler *make(const myna_sampling *s, int64_t n_vocab) {
  myna__sampler *p = NULL;
  myna_err err = {0};
  ASSERT_OK_ERR(myna__sampler_new(&p, s, NULL, n_vocab, 256, &err), &err);
  return p;
}

/* ---- llama.cpp's cases ---- */

static int descending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x < y) - (x > y);
}

/* Candidates of p = probabilities `want` up to order and to candidates of probability 0. */
static void check_probs(myna__sampler *p, const float *probs, int n, const float *want, int n_want, float tolerance) {
  float logits[64], sorted[64] = {0};
  myna__cand got[64];
  myna_err err = {0};
  for (int i = 0; i < n; i++) logits[i] = logf(probs[i]);
  memcpy(sorted, want, (size_t)n_want * sizeof *want);
  qsort(sorted, (size_t)n_want, sizeof *sorted, descending);
  int64_t have = myna__sampler_probs(p, logits, got, 64, &err);
  if (have < 0) fail_msg("%s", err.msg);
  for (int i = 0; i < 64; i++) {
    float x = i < have ? got[i].p : 0;
    if (fabsf(x - sorted[i]) > tolerance)
      fail_msg("candidate %d of %lld has %g, not %g", i, (long long)have, (double)x, (double)sorted[i]);
  }
}

static double number(json_t *o, const char *key, double missing) {
  json_t *v = json_object_get(o, key);
  return v ? json_number_value(v) : missing;
}

static int numbers(json_t *a, float *out) {
  int n = (int)json_array_size(a);
  for (int i = 0; i < n; i++) out[i] = (float)json_number_value(json_array_get(a, (size_t)i));
  return n;
}

static void run_case(json_t *c) {
  static const char *const names[][2] = {{"temp", "t"},  {"temp_ext", "t"},   {"top_k", "k"},   {"top_p", "p"},
                                         {"min_p", "m"}, {"xtc", "x"},        {"typical", "y"}, {"penalties", "e"},
                                         {"dry", "d"},   {"top_n_sigma", "s"}};
  const char *name = json_string_value(json_object_get(c, "sampler")), *letter = NULL;
  for (size_t i = 0; i < MYNA__COUNT(names); i++)
    if (strcmp(names[i][0], name) == 0) letter = names[i][1];
  if (!letter) fail_msg("unknown sampler %s", name);
  json_t *q = json_object_get(c, "params"), *last = json_object_get(c, "last_tokens"),
         *breakers = json_object_get(q, "sequence_breakers(token ids)");
  float probs[64], want[64];
  int n = numbers(json_object_get(c, "probs"), probs), n_want = numbers(json_object_get(c, "expected"), want);
  float sum = 0; /* llama.cpp leaves what survives xtc and typical as it was; we look after the last softmax */
  for (int i = 0; i < n_want; i++) sum += want[i];
  for (int i = 0; i < n_want; i++) want[i] /= sum;
  myna_sampling s = off(letter);
  s.temperature = (float)number(q, "temp", 1);
  s.dynatemp_range = (float)number(q, "dynatemp_range(delta)", 0);
  s.dynatemp_exponent = (float)number(q, "dynatemp_exponent", 1);
  s.top_k = (int32_t)number(q, "k", 0);
  s.top_n_sigma = (float)number(q, "n", -1);
  if (*letter == 'p') s.top_p = (float)number(q, "p", 1);
  if (*letter == 'm') s.min_p = (float)number(q, "p", 0);
  if (*letter == 'y') s.typical_p = (float)number(q, "p", 1);
  s.xtc_probability = (float)number(q, "probability", 0);
  s.xtc_threshold = (float)number(q, "threshold", 0);
  s.repeat_last_n = 64;
  s.repeat_penalty = (float)number(q, "repeat_penalty", 1);
  s.frequency_penalty = (float)number(q, "frequency", 0);
  s.presence_penalty = (float)number(q, "presence", 0);
  s.dry_multiplier = (float)number(q, "multiplier", 0);
  s.dry_base = (float)number(q, "base", 0);
  s.dry_allowed_length = (int32_t)number(q, "allowed_length", 0);
  s.dry_penalty_last_n = (int32_t)number(q, "penalty_last_n", 0);
  myna__sampler *p = make(&s, n);
  for (size_t i = 0; i < json_array_size(last); i++)
    ASSERT_OK(myna__sampler_accept(p, (int32_t)json_integer_value(json_array_get(last, i)), false));
  for (size_t i = 0; i < json_array_size(breakers); i++) {
    json_t *b = json_array_get(breakers, i);
    ASSERT_OK(myna__dry_add(p, (int32_t)json_integer_value(json_array_get(b, 0)), NULL, 0, NULL));
  }
  myna__dry_sort(p);
  check_probs(p, probs, n, want, n_want, 1e-5f);
  myna__sampler_free(p);
}

static void test_llamacpp_cases(void **state) {
  char path[512];
  const char *file = test_path(path, "../shared/data/sampling/llamacpp-sampling-cases.json");
  json_t *all = json_load_file(file, 0, NULL), *cases = json_object_get(all, "cases");
  if (!all) {
    print_message("41 cases skipped: %s is absent\n", file);
    skip();
  }
  for (size_t i = 0; i < json_array_size(cases); i++) run_case(json_array_get(cases, i));
  json_decref(all);
}

/* ---- cases of our own: worked by hand ---- */

#define P(...) (const float[]){__VA_ARGS__}, (int)(sizeof((const float[]){__VA_ARGS__}) / sizeof(float))

static void check(const myna_sampling *s, const int32_t *past, int n_past, const float *probs, int n, const float *want,
                  int n_want) {
  myna__sampler *p = make(s, n);
  for (int i = 0; i < n_past; i++) ASSERT_OK(myna__sampler_accept(p, past[i], i >= n_past / 2));
  check_probs(p, probs, n, want, n_want, 1e-5f);
  check_probs(p, probs, n, want, n_want, 1e-5f); /* again: nothing was used up */
  myna__sampler_free(p);
}

static void test_cuts(void **state) {
  myna_sampling s = off("k");
  s.top_k = 2;
  check(&s, NULL, 0, P(0.125f, 0.25f, 0.125f, 0.5f), P(2 / 3.f, 1 / 3.f));
  s = off("p");
  s.top_p = 0.6f;
  check(&s, NULL, 0, P(0.125f, 0.25f, 0.125f, 0.5f), P(2 / 3.f, 1 / 3.f));
  s.min_keep = 3;
  check(&s, NULL, 0, P(0.125f, 0.25f, 0.0625f, 0.5625f), P(0.6f, 0.25f / 0.9375f, 0.125f / 0.9375f));
  s = off("m");
  s.min_p = 0.4f;
  check(&s, NULL, 0, P(0.125f, 0.25f, 0.125f, 0.5f), P(2 / 3.f, 1 / 3.f));
  s.min_keep = 3; /* too few pass: the best three */
  check(&s, NULL, 0, P(0.1f, 0.25f, 0.15f, 0.5f), P(0.5f / 0.9f, 0.25f / 0.9f, 0.15f / 0.9f));
  s = off("y"); /* entropy 1.75 bits: 0.25 (2 bits) is nearest, then 0.5 (1 bit), then 0.125 (3 bits) */
  s.typical_p = 0.6f;
  check(&s, NULL, 0, P(0.125f, 0.25f, 0.125f, 0.5f), P(2 / 3.f, 1 / 3.f));
  s.typical_p = 0.2f;
  check(&s, NULL, 0, P(0.125f, 0.25f, 0.125f, 0.5f), P(1));
  s.min_keep = 2;
  check(&s, NULL, 0, P(0.125f, 0.25f, 0.125f, 0.5f), P(2 / 3.f, 1 / 3.f));
  s = off("s"); /* logits 0, 1, 2, 5: mean 2, deviation sqrt(14/4) = 1.87 */
  s.top_n_sigma = 1.7f;
  check(&s, NULL, 0, P(1, expf(1), expf(2), expf(5)), P(expf(3) / (1 + expf(3)), 1 / (1 + expf(3))));
  s = off("x");
  s.xtc_probability = 1;
  s.xtc_threshold = 0.15f;
  check(&s, NULL, 0, P(0.4f, 0.1f, 0.3f, 0.2f), P(2 / 3.f, 1 / 3.f));
  s.min_keep = 3; /* would leave two: does nothing */
  check(&s, NULL, 0, P(0.4f, 0.1f, 0.3f, 0.2f), P(0.4f, 0.1f, 0.3f, 0.2f));
  s.xtc_threshold = 0.51f;
  s.min_keep = 0;
  check(&s, NULL, 0, P(0.6f, 0.4f), P(0.6f, 0.4f));
}

static void test_temperature(void **state) {
  myna_sampling s = off("t");
  s.temperature = 0.5f;
  check(&s, NULL, 0, P(0.2f, 0.4f), P(0.2f, 0.8f));
  s.temperature = 0;
  check(&s, NULL, 0, P(0.3f, 0.4f, 0.3f), P(1));
  s.temperature = -3;
  check(&s, NULL, 0, P(0.3f, 0.4f, 0.3f), P(1));
  s.temperature = 1e-38f; /* logits overflow */
  check(&s, NULL, 0, P(3, 4, 3), P(1));
  s.temperature = 1;
  s.dynatemp_range = 0.5f; /* even: most entropy, temperature 1.5; one certain: 0.5 */
  check(&s, NULL, 0, P(0.5f, 0.5f), P(0.5f, 0.5f));
  float h = (0.8f * logf(0.8f) + 0.2f * logf(0.2f)) / -logf(2), t = 0.5f + h, a = powf(0.8f, 1 / t),
        b = powf(0.2f, 1 / t);
  check(&s, NULL, 0, P(0.8f, 0.2f), P(a / (a + b), b / (a + b)));
}

static void test_penalties(void **state) {
  myna_sampling s = off("e");
  s.repeat_penalty = 2;
  const int32_t past[] = {2, 0, 1, 1};
  /* probabilities below 1 have negative logits: times 2 squares them; above 1: the root */
  check(&s, past, 4, P(0.5f, 0.25f, 4, 3), P(0.25f / 5.3125f, 0.0625f / 5.3125f, 2 / 5.3125f, 3 / 5.3125f));
  s.repeat_last_n = 3; /* the 2 is forgotten */
  check(&s, past, 4, P(0.5f, 0.25f, 4, 3), P(0.25f / 7.3125f, 0.0625f / 7.3125f, 4 / 7.3125f, 3 / 7.3125f));
  s.repeat_last_n = 0;
  check(&s, past, 4, P(0.5f, 0.5f, 1, 2), P(0.125f, 0.125f, 0.25f, 0.5f));
  s.repeat_last_n = -1;
  s.repeat_penalty = 1;
  s.frequency_penalty = logf(2);
  s.presence_penalty = logf(3); /* counts 1, 2, 1, 0: divided by 6, 12, 6, 1 */
  check(&s, past, 4, P(6, 12, 6, 1), P(0.25f, 0.25f, 0.25f, 0.25f));
  s.order = "ke"; /* the same behind a cut */
  s.top_k = 3;
  check(&s, past, 4, P(6, 12, 6, 1), P(1 / 3.f, 1 / 3.f, 1 / 3.f));
}

static void test_dry(void **state) {
  myna_sampling s = off("d");
  s.dry_multiplier = logf(2);
  s.dry_base = 2;
  s.dry_allowed_length = 2;
  s.dry_penalty_last_n = -1;
  /* "a b c d a b c": d continues three: logit - log 2 * 2^(3-2), a quarter. */
  const int32_t past[] = {0, 1, 2, 3, 0, 1, 2};
  check(&s, past, 7, P(1, 1, 1, 4), P(0.25f, 0.25f, 0.25f, 0.25f));
  s.order = "kd";
  s.top_k = 2;
  check(&s, past, 7, P(1, 0.5f, 0.5f, 4), P(0.5f, 0.5f));
  s.order = "d";
  s.dry_allowed_length = 3;
  check(&s, past, 7, P(1, 1, 1, 2), P(0.25f, 0.25f, 0.25f, 0.25f));
  s.dry_allowed_length = 4;
  check(&s, past, 7, P(1, 1, 1, 1), P(0.25f, 0.25f, 0.25f, 0.25f));
  s.dry_allowed_length = 2;
  s.dry_penalty_last_n = 6; /* sees "b c d a b c": two are repeated */
  check(&s, past, 7, P(1, 1, 1, 2), P(0.25f, 0.25f, 0.25f, 0.25f));
  s.dry_penalty_last_n = 4;
  check(&s, past, 7, P(1, 1, 1, 1), P(0.25f, 0.25f, 0.25f, 0.25f));
}

/* A breaker of two tokens, 0 1: what is repeated before it does not count. */
static void test_dry_breakers(void **state) {
  myna_sampling s = off("d");
  s.dry_multiplier = logf(2);
  s.dry_base = 2;
  s.dry_allowed_length = 1;
  s.dry_penalty_last_n = -1;
  const int32_t past[] = {0, 1, 2, 3, 0, 1, 2}, tail[] = {1}, wrong[] = {3};
  float logits[4] = {0, 0, 0, logf(2)};
  myna__cand c[4];
  myna__sampler *p = make(&s, 4);
  for (int i = 0; i < 7; i++) ASSERT_OK(myna__sampler_accept(p, past[i], false));
  ASSERT_OK(myna__dry_add(p, 0, wrong, 1, NULL));
  ASSERT_OK(myna__dry_add(p, 0, tail, 1, NULL));
  myna__dry_sort(p);
  assert_int_equal(myna__sampler_probs(p, logits, c, 4, NULL), 4); /* only "2" is repeated: log 2 * 2^0 */
  for (int i = 0; i < 4; i++) assert_float_equal(c[i].p, 0.25f, 1e-5f);
  ASSERT_OK(myna__dry_add(p, 3, NULL, 0, NULL)); /* a token that is a breaker itself is never punished */
  myna__dry_sort(p);
  myna__sampler_probs(p, logits, c, 4, NULL);
  assert_float_equal(c[0].p, 0.4f, 1e-5f);
  myna__sampler_free(p);
}

/* Repeats by the definition, for random texts of few letters. */
static void test_dry_random(void **state) {
  test_rng r = test_rng_new(11);
  for (int round = 0; round < 300; round++) {
    int n_vocab = 2 + (int)test_int(&r, 4), n = 2 + (int)test_int(&r, 120), window = 2 + (int)test_int(&r, 140);
    int32_t text[128], best[8] = {0};
    myna_sampling s = off("d");
    s.dry_multiplier = 1;
    s.dry_base = 1.001f;
    s.dry_allowed_length = 1 + (int32_t)test_int(&r, 3);
    s.dry_penalty_last_n = window;
    int32_t breaker = test_int(&r, 2) ? (int32_t)test_int(&r, n_vocab) : -1;
    myna__sampler *p = make(&s, n_vocab);
    for (int i = 0; i < n; i++) ASSERT_OK(myna__sampler_accept(p, text[i] = (int32_t)test_int(&r, n_vocab), false));
    if (breaker >= 0) ASSERT_OK(myna__dry_add(p, breaker, NULL, 0, NULL));
    int first = n > window ? n - window : 0, limit = 0;
    while (limit < n - first && text[n - 1 - limit] != breaker) limit++;
    for (int at = first + 1; at < n; at++) { /* text before `at` against the end of the text */
      int len = 0;
      while (at - 1 - len >= first && len < limit && text[at - 1 - len] == text[n - 1 - len]) len++;
      if (len >= s.dry_allowed_length && len - s.dry_allowed_length + 1 > best[text[at]])
        best[text[at]] = len - s.dry_allowed_length + 1;
    }
    float logits[8] = {0}, sum = 0;
    myna__cand c[8];
    for (int i = 0; i < n_vocab; i++) sum += best[i] && i != breaker ? expf(-powf(1.001f, (float)(best[i] - 1))) : 1;
    assert_int_equal(myna__sampler_probs(p, logits, c, 8, NULL), n_vocab);
    for (int i = 0; i < n_vocab; i++) {
      int id = c[i].id;
      float want = (best[id] && id != breaker ? expf(-powf(1.001f, (float)(best[id] - 1))) : 1) / sum;
      if (fabsf(want - c[i].p) > 1e-5f)
        fail_msg("round %d: token %d has %g, not %g", round, id, (double)c[i].p, (double)want);
    }
    myna__sampler_free(p);
  }
}

static void test_bias(void **state) {
  myna_logit_bias bias[] = {{0, logf(3)}, {2, -INFINITY}, {0, logf(2)}};
  myna_sampling s = off("t");
  s.bias = bias;
  s.n_bias = 3;
  check(&s, NULL, 0, P(1, 2, 5, 2), P(0.6f, 0.2f, 0.2f));
  s.temperature = 0;
  check(&s, NULL, 0, P(0.1f, 0.2f, 5, 0.2f), P(1));
}

/* Dry changes what is best after a cut; xtc drops the best: greedy takes what the order leaves. */
static void test_greedy(void **state) {
  float logits[4] = {1, 3, 3, 2};
  myna_sampling s = off("edskypmxt");
  s.temperature = 0;
  s.top_k = 2;
  myna__sampler *p = make(&s, 4);
  assert_int_equal(myna__sampler_sample(p, logits, NULL), 1); /* the lower id */
  myna__sampler_free(p);
  s.xtc_probability = 1;
  s.xtc_threshold = 0.3f;
  p = make(&s, 4);
  assert_int_equal(myna__sampler_sample(p, logits, NULL), 2);
  myna__sampler_free(p);
  s.xtc_probability = 0;
  s.order = "kte";
  s.presence_penalty = 100;
  p = make(&s, 4);
  ASSERT_OK(myna__sampler_accept(p, 1, false));
  assert_int_equal(myna__sampler_sample(p, logits, NULL), 1); /* t left it alone before e */
  myna__sampler_free(p);
  s.order = "ke";
  p = make(&s, 4);
  ASSERT_OK(myna__sampler_accept(p, 1, false));
  assert_int_equal(myna__sampler_sample(p, logits, NULL), 2);
  myna__sampler_free(p);
}

/* ---- a naive chain in double ---- */

typedef struct item {
  int id;
  double x, p, score;
} item;

static int by_logit(const void *a, const void *b) {
  const item *x = a, *y = b;
  if (x->x != y->x) return x->x < y->x ? 1 : -1;
  return x->id - y->id;
}
static int by_score(const void *a, const void *b) {
  const item *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? 1 : -1;
  return by_logit(a, b);
}

static void normalise(item *v, int n) {
  double sum = 0;
  qsort(v, (size_t)n, sizeof *v, by_logit);
  for (int i = 0; i < n; i++) sum += v[i].p = exp(v[i].x - v[0].x);
  for (int i = 0; i < n; i++) v[i].p /= sum;
}

static int naive(const myna_sampling *s, item *v, int n, const int *counts) {
  for (const char *c = s->order; *c; c++) {
    normalise(v, n);
    double sum = 0, entropy = 0;
    int k = 0;
    for (int i = 0; i < n; i++) entropy -= v[i].p > 0 ? v[i].p * log(v[i].p) : 0;
    switch (*c) {
    case 'e':
      for (int i = 0; i < n; i++)
        if (counts[v[i].id])
          v[i].x = (v[i].x <= 0 ? v[i].x * (double)s->repeat_penalty : v[i].x / (double)s->repeat_penalty) -
                   counts[v[i].id] * (double)s->frequency_penalty - (double)s->presence_penalty;
      break;
    case 'k': n = s->top_k > 0 && s->top_k < n ? s->top_k : n; break;
    case 'p':
      if (s->top_p >= 1) break;
      while (k < n && (sum < (double)s->top_p || k < s->min_keep)) sum += v[k++].p;
      n = k;
      break;
    case 'm':
      while (k < n && (v[k].p >= (double)s->min_p * v[0].p || k < s->min_keep)) k++;
      if (s->min_p > 0) n = k;
      break;
    case 't':
      for (int i = 0; i < n; i++) v[i].x /= (double)s->temperature;
      break;
    case 'y':
      if (s->typical_p >= 1) break;
      for (int i = 0; i < n; i++) v[i].score = fabs(-log(v[i].p) - entropy);
      qsort(v, (size_t)n, sizeof *v, by_score);
      do sum += v[k++].p;
      while (k < n && (sum <= (double)s->typical_p || k < s->min_keep));
      n = k;
      break;
    }
  }
  normalise(v, n);
  return n;
}

static void test_naive(void **state) {
  test_rng r = test_rng_new(7);
  static float logits[MAX];
  static item v[MAX];
  static myna__cand got[MAX];
  static int counts[MAX];
  int parted = 0;
  for (int round = 0; round < 400; round++) {
    int n = round < 200 ? 1 + (int)test_int(&r, 60) : 1 + (int)test_int(&r, MAX);
    char order[8] = {0};
    for (int i = 0; i < 6; i++) order[i] = "kpmyte"[test_int(&r, 6)];
    myna_sampling s = off(order);
    s.top_k = (int32_t)test_int(&r, n + 20);
    s.top_p = 0.5f + 0.5f * fabsf(test_float(&r));
    s.min_p = test_int(&r, 3) ? 0.1f * fabsf(test_float(&r)) : 0;
    s.typical_p = 0.5f + 0.5f * fabsf(test_float(&r));
    s.temperature = 0.3f + fabsf(test_float(&r));
    s.min_keep = (int32_t)test_int(&r, 4);
    s.frequency_penalty = test_float(&r);
    s.presence_penalty = test_float(&r);
    s.repeat_penalty = 1.1f;
    float spread = 0.2f + 4 * fabsf(test_float(&r));
    bool coarse = test_int(&r, 4) == 0; /* many equal logits */
    myna__sampler *p = make(&s, n);
    memset(counts, 0, sizeof counts);
    for (int i = 0; i < 100; i++) {
      int32_t id = (int32_t)test_int(&r, n);
      ASSERT_OK(myna__sampler_accept(p, id, false));
      if (i >= 36) counts[id]++;
    }
    for (int i = 0; i < n; i++) {
      logits[i] = spread * test_normal(&r);
      if (coarse) logits[i] = rintf(logits[i]);
      v[i] = (item){.id = i, .x = (double)logits[i]};
    }
    int want = naive(&s, v, n, counts);
    int64_t have = myna__sampler_probs(p, logits, got, MAX, NULL);
    bool same = have == want;
    for (int i = 0; i < want && same; i++) same = got[i].id == v[i].id;
    parted += !same; /* where a sum or a distance meets a limit, float and double may part; what follows then differs */
    for (int i = 0; i < want && same; i++)
      if (fabs((double)got[i].p - v[i].p) > 1e-5)
        fail_msg("round %d order %s: candidate %d has %g, not %g", round, order, i, (double)got[i].p, v[i].p);
    myna__sampler_free(p);
  }
  print_message("%d of 400 rounds parted at a limit\n", parted);
  assert_true(parted <= 20);
}

/* ---- mirostat ---- */

static void test_mirostat(void **state) {
  float logits[4] = {logf(0.5f), logf(0.25f), logf(0.125f), logf(0.125f)};
  myna__cand c[4];
  myna_sampling s = off("k");
  s.top_k = 1; /* ignored */
  s.mirostat = 2;
  s.mirostat_tau = 1; /* mu starts at 2: surprises of 1 and 2 bits stay */
  s.mirostat_eta = 0.5f;
  myna__sampler *p = make(&s, 4);
  assert_int_equal(myna__sampler_probs(p, logits, c, 4, NULL), 2);
  assert_float_equal(c[0].p, 2 / 3.f, 1e-5f);
  ASSERT_OK(myna__sampler_accept(p, 1, true)); /* surprise log2 3 = 1.585: mu = 2 - 0.5 * 0.585 */
  assert_float_equal(p->mu[1], 2 - 0.5f * (log2f(3) - 1), 1e-5f);
  float learnt = p->mu[1];
  myna__sampler_rollback(p, 1);
  ASSERT_OK(myna__sampler_accept(p, 1, true)); /* no draw since: nothing to learn from */
  assert_float_equal(p->mu[1], p->mu[0], 0);
  myna__sampler_rollback(p, 1);
  myna__sampler_probs(p, logits, c, 4, NULL);
  ASSERT_OK(myna__sampler_accept(p, 1, true));
  assert_float_equal(p->mu[1], learnt, 0);
  assert_int_equal(myna__sampler_probs(p, logits, c, 4, NULL), 1);
  assert_int_equal(c[0].id, 0);
  ASSERT_OK(myna__sampler_accept(p, 3, true)); /* no candidate: nothing is learnt */
  assert_float_equal(p->mu[2], p->mu[1], 0);
  myna__sampler_rollback(p, 2);
  assert_int_equal(myna__sampler_probs(p, logits, c, 4, NULL), 2);
  myna__sampler_free(p);
  s.mirostat = 1;
  s.mirostat_tau = 3;
  p = make(&s, 4); /* the formula of the paper for these four: s from slopes, k = 3.5 */
  double ti_bi = log(2) * log(2) + log(1.5) * log(2),
         ti_sq = log(2) * log(2) + log(1.5) * log(1.5) + log(4 / 3.) * log(4 / 3.);
  double sh = ti_bi / ti_sq, k = pow((sh - 1) * exp2(6) / (1 - pow(4, 1 - sh)), 1 / sh);
  assert_int_equal(myna__sampler_probs(p, logits, c, 4, NULL), k > 4 ? 4 : (int)k);
  myna__sampler_free(p);
}

/* ---- randomness ---- */

static void test_philox(void **state) {
  /* Known answers of the authors' library (kat_vectors, philox4x32 10). */
  uint32_t zero[4] = {0}, k0[2] = {0}, pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
           k1[2] = {0xa4093822, 0x299f31d0};
  myna__philox(k0, zero);
  assert_memory_equal(zero, ((uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}), 16);
  myna__philox(k1, pi);
  assert_memory_equal(pi, ((uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}), 16);
  for (uint64_t i = 0; i < 1000; i++) {
    double u = myna__random(i * 77, i, 3);
    assert_true(u >= 0 && u < 1);
  }
  assert_true(myna__random(1, 2, 0) != myna__random(1, 3, 0) && myna__random(1, 2, 0) != myna__random(2, 2, 0) &&
              myna__random(1, 2, 0) != myna__random(1, 2, 1));
}

/* Chi-squared of 20000 draws over seeds, and over token indices of one seed, with 7 degrees of freedom: 29.9 has probability 1e-4. */
static void test_distribution(void **state) {
  enum { N = 20000, V = 8 };
  float logits[V], sum = 0;
  for (int i = 0; i < V; i++) sum += expf(logits[i] = 0.4f * (float)((i * 5) % V));
  for (int mode = 0; mode < 2; mode++) {
    int64_t seen[V] = {0};
    myna_sampling s = off(mode ? "t" : "kt");
    s.top_k = V;
    myna__sampler *p = make(&s, V);
    for (int i = 0; i < N; i++) {
      if (mode) p->s.seed = (uint64_t)i;
      int32_t id = myna__sampler_sample(p, logits, NULL);
      assert_in_range(id, 0, V - 1);
      seen[id]++;
      if (!mode) ASSERT_OK(myna__sampler_accept(p, id, true));
    }
    double chi = 0;
    for (int i = 0; i < V; i++) {
      double want = N * (double)(expf(logits[i]) / sum), d = (double)seen[i] - want;
      chi += d * d / want;
    }
    if (chi > 29.9) fail_msg("chi squared is %g", chi);
    myna__sampler_free(p);
  }
}

/* XTC happens as often as asked. */
static void test_xtc_frequency(void **state) {
  float logits[2] = {1, 1.1f};
  myna_sampling s = off("x");
  s.xtc_probability = 0.3f;
  myna__sampler *p = make(&s, 2);
  int hits = 0;
  myna__cand c[2];
  for (int i = 0; i < 10000; i++) {
    hits += myna__sampler_probs(p, logits, c, 2, NULL) == 1;
    ASSERT_OK(myna__sampler_accept(p, 0, true));
  }
  assert_in_range(hits, 2800, 3200);
  myna__sampler_free(p);
}

/* What is never possible is never drawn, whatever the number. */
static void test_impossible(void **state) {
  float logits[5] = {-INFINITY, 0, -INFINITY, 0, -INFINITY};
  myna_sampling s = off("t");
  myna__sampler *p = make(&s, 5);
  for (int i = 0; i < 2000; i++) {
    p->s.seed = (uint64_t)i;
    int32_t id = myna__sampler_sample(p, logits, NULL);
    assert_true(id == 1 || id == 3);
  }
  myna__sampler_free(p);
}

/* ---- state ---- */

static void rich(myna_sampling *s) {
  myna_sampling_default(s);
  s->seed = 5;
  s->repeat_penalty = 1.3f;
  s->frequency_penalty = 0.2f;
  s->dry_multiplier = 0.8f;
  s->dry_penalty_last_n = -1;
  s->xtc_probability = 0.5f;
  s->typical_p = 0.9f;
  s->top_n_sigma = 2;
  s->dynatemp_range = 0.3f;
}

/* Rolled back and replayed, a sampler draws what a fresh one draws that never saw the detour. */
static void test_rollback(void **state) {
  enum { V = 50, N = 400 };
  test_rng r = test_rng_new(3);
  static float logits[N][V];
  for (int i = 0; i < N; i++)
    for (int k = 0; k < V; k++) logits[i][k] = 2 * test_normal(&r);
  for (int mirostat = 0; mirostat < 3; mirostat++) {
    myna_sampling s;
    rich(&s);
    s.mirostat = mirostat;
    myna__sampler *a = make(&s, V), *b = make(&s, V);
    for (int i = 0; i < 20; i++) {
      ASSERT_OK(myna__sampler_accept(a, i % V, false));
      ASSERT_OK(myna__sampler_accept(b, i % V, false));
    }
    for (int i = 0; i < N; i++) {
      int detour = (int)test_int(&r, 5);
      for (int k = 0; k < detour; k++) {
        int32_t id = myna__sampler_sample(b, logits[test_int(&r, N)], NULL);
        ASSERT_OK(myna__sampler_accept(b, id, true));
      }
      myna__sampler_rollback(b, detour);
      int32_t x = myna__sampler_sample(a, logits[i], NULL), y = myna__sampler_sample(b, logits[i], NULL);
      assert_int_equal(x, y);
      ASSERT_OK(myna__sampler_accept(a, x, true));
      ASSERT_OK(myna__sampler_accept(b, x, true));
    }
    myna__sampler_free(a);
    myna__sampler_free(b);
  }
}

static void test_no_allocation(void **state) {
  enum { V = 3000 };
  static float logits[V];
  test_rng r = test_rng_new(4);
  for (int k = 0; k < V; k++) logits[k] = 2 * test_normal(&r);
  for (int mirostat = 0; mirostat < 3; mirostat++) {
    myna_sampling s;
    rich(&s);
    s.mirostat = mirostat;
    s.top_k = 0;
    myna__sampler *p = make(&s, V);
    float lp, lps[20];
    int32_t ids[20];
    myna__guard_begin();
    for (int i = 0; i < 300; i++) {
      int32_t id = myna__sampler_sample(p, logits, NULL);
      myna__sampler_accept(p, id, true);
      if (i % 7 == 0) myna__sampler_rollback(p, 1);
      myna__logprobs(logits, V, id, &lp, 20, ids, lps);
    }
    assert_int_equal(myna__guard_end(), 0);
    myna__sampler_free(p);
  }
}

static void test_out_of_memory(void **state) {
  myna_sampling s;
  rich(&s);
  for (int n = 1;; n++) {
    test_failing f;
    test_fail_at(&f, n);
    myna__sampler *p = NULL;
    myna_err err = {0};
    int rc = myna__sampler_new(&p, &s, NULL, 100, 64, &err);
    if (f.failed) assert_int_equal(rc, MYNA_E_NOMEM);
    myna__sampler_free(p);
    test_fail_off();
    assert_int_equal(f.live, 0);
    if (!f.failed) break;
  }
}

static void test_logprobs(void **state) {
  float logits[5] = {logf(0.1f) + 7, logf(0.4f) + 7, logf(0.2f) + 7, logf(0.2f) + 7, logf(0.1f) + 7}, lp, lps[6];
  int32_t ids[6];
  myna__logprobs(logits, 5, 3, &lp, 3, ids, lps);
  assert_float_equal(lp, logf(0.2f), 1e-5f);
  assert_memory_equal(ids, ((int32_t[]){1, 2, 3}), 12);
  assert_float_equal(lps[0], logf(0.4f), 1e-5f);
  myna__logprobs(logits, 5, 0, &lp, 6, ids, lps);
  assert_int_equal(ids[5], -1);
  assert_float_equal(lp, logf(0.1f), 1e-5f);
  ids[5] = 77;
  assert_int_equal(myna_logprobs(logits, 5, 2, &lp, 6, ids, lps, NULL), 5); /* no more than there are */
  assert_memory_equal(ids, ((int32_t[]){1, 2, 3, 0, 4, 77}), 24);
  assert_float_equal(lp, logf(0.2f), 1e-5f);
  assert_float_equal(lps[4], logf(0.1f), 1e-5f);
  myna_err err = {0};
  assert_int_equal(myna_logprobs(logits, 5, 5, &lp, 1, ids, lps, &err), MYNA_E_ARG);
  assert_non_null(strstr(err.msg, "token 5"));
  assert_int_equal(myna_logprobs(logits, 5, 0, &lp, -1, ids, lps, NULL), MYNA_E_ARG);
}

/* The k best of many, also with few different values: by value, then id. */
static void test_top_logits(void **state) {
  enum { N = 1000 };
  test_rng r = test_rng_new(9);
  float x[N];
  item v[N];
  myna__cand got[N];
  for (int round = 0; round < 400; round++) {
    int n = 1 + (int)test_int(&r, N), k = 1 + (int)test_int(&r, round % 4 ? MYNA__MIN(n, 8) : n);
    for (int i = 0; i < n; i++)
      v[i] = (item){.id = i, .x = (double)(x[i] = (float)test_int(&r, round % 2 ? 30 : 1 << 20))};
    qsort(v, (size_t)n, sizeof *v, by_logit);
    assert_int_equal(myna__top_logits(x, n, k, got), k);
    for (int i = 0; i < k; i++) assert_int_equal(got[i].id, v[i].id);
  }
}

/* ---- errors ---- */

static void refused(myna_sampling s, const char *part) {
  myna__sampler *p = NULL;
  myna_err err = {0};
  ASSERT_FAILS(myna__sampler_new(&p, &s, NULL, 10, 64, &err), MYNA_E_ARG, &err, part);
  assert_null(p);
}

static void test_errors(void **state) {
#define REFUSED(field, value, part) \
  do {                              \
    myna_sampling bad_;             \
    myna_sampling_default(&bad_);   \
    bad_.field = value;             \
    refused(bad_, part);            \
  } while (0)
  REFUSED(temperature, NAN, "temperature is nan");
  REFUSED(dynatemp_range, -1, "dynatemp_range is -1");
  REFUSED(dynatemp_exponent, INFINITY, "dynatemp_exponent is inf");
  REFUSED(top_p, 1.5f, "top_p is 1.5");
  REFUSED(top_p, -0.5f, "top_p is -0.5");
  REFUSED(min_p, -1, "min_p is -1");
  REFUSED(typical_p, NAN, "typical_p is nan");
  REFUSED(top_n_sigma, NAN, "top_n_sigma");
  REFUSED(xtc_probability, 2, "xtc_probability is 2");
  REFUSED(xtc_threshold, -1, "xtc_threshold is -1");
  REFUSED(min_keep, -1, "min_keep is -1");
  REFUSED(repeat_last_n, -2, "repeat_last_n is -2");
  REFUSED(repeat_penalty, 0, "repeat_penalty is 0");
  REFUSED(frequency_penalty, NAN, "frequency_penalty");
  REFUSED(presence_penalty, INFINITY, "presence_penalty");
  REFUSED(dry_multiplier, -1, "dry_multiplier");
  REFUSED(dry_base, NAN, "dry_base");
  REFUSED(dry_allowed_length, -1, "dry_allowed_length is -1");
  REFUSED(dry_penalty_last_n, -2, "dry_penalty_last_n is -2");
  REFUSED(mirostat, 3, "mirostat is 3");
  REFUSED(mirostat_tau, -1, "mirostat_tau is -1");
  REFUSED(mirostat_eta, NAN, "mirostat_eta");
  REFUSED(order, "kq", "letter 'q'");
  REFUSED(order, "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", "31");
  myna_sampling s;
  myna_sampling_default(&s);
  s.n_bias = 1;
  refused(s, "bias is NULL");
  myna_logit_bias bias = {10, 1};
  s.bias = &bias;
  refused(s, "bias[0].id is 10");
  bias = (myna_logit_bias){1, NAN};
  refused(s, "bias[0].bias is nan");
  myna_sampling_default(&s);
  const char *const empty[] = {"a", ""};
  s.dry_breakers = empty;
  s.n_dry_breakers = 2;
  refused(s, "dry_breakers[1]");
  myna__sampler *p = make(&(myna_sampling){.temperature = NAN}, 10); /* not set: ignored */
  assert_int_equal(p->s.top_k, 40);
  assert_int_equal(myna__sampler_accept(p, 10, true), MYNA_E_ARG);
  assert_int_equal(myna__sampler_accept(p, -1, true), MYNA_E_ARG);
  myna__sampler_free(p);
}

static void test_bad_logits(void **state) {
  float logits[100] = {0};
  myna_sampling s;
  for (int mode = 0; mode < 4; mode++) {
    rich(&s);
    s.mirostat = mode % 3;
    if (mode == 3) s.temperature = 0;
    myna__sampler *p = make(&s, 100);
    myna_err err = {0};
    logits[37] = NAN;
    ASSERT_FAILS(myna__sampler_sample(p, logits, &err), MYNA_E_INTERNAL, &err, "token 37 is NaN");
    for (int i = 0; i < 100; i++) logits[i] = -INFINITY;
    err = (myna_err){0};
    ASSERT_FAILS(myna__sampler_sample(p, logits, &err), MYNA_E_INTERNAL, &err, "-inf");
    logits[12] = INFINITY;
    logits[7] = 3;
    assert_int_equal(myna__sampler_sample(p, logits, NULL), 12);
    for (int i = 0; i < 100; i++) logits[i] = 0;
    assert_true(myna__sampler_sample(p, logits, NULL) >= 0);
    myna__sampler_free(p);
  }
}

/* ---- with a tokenizer ---- */

static void test_tokenizer(void **state) {
  char path[512];
  myna_model *m = NULL;
  myna_err err = {0};
  ASSERT_OK_ERR(myna_model_open(&m, test_path(path, "tests/fixtures/models/llama.gguf"),
                                &(myna_model_options){.header_only = true}, &err),
                &err);
  const myna__tokenizer *tk;
  ASSERT_OK_ERR(myna__model_tokenizer(m, &tk, &err), &err);
  const myna__tokdata *t = myna__tokenizer_data(tk);
  myna_sampling s = off("dt");
  s.ignore_eos = true;
  s.dry_multiplier = 1;
  static const char *const breakers[] = {"ab", "\n"};
  s.dry_breakers = breakers;
  s.n_dry_breakers = 2;
  myna__sampler *p = NULL;
  ASSERT_OK_ERR(myna__sampler_new(&p, &s, m, t->n_tokens, 64, &err), &err);
  assert_true(t->n_eog > 0);
  assert_int_equal(p->n_bias, t->n_eog);
  /* Every breaker begins with a token whose text holds a breaker, or ends with "a" and goes on with a tokenization of "b". */
  bool whole = false, split = false;
  for (int64_t i = 0; i < p->n_breakers; i++) {
    const myna__breaker *b = &p->breakers[i];
    char word[256];
    int64_t n = myna__token_bytes(tk, b->head, true, word, sizeof word - 1);
    assert_in_range(n, 1, 255);
    word[n] = 0;
    if (b->n_tail == 0) {
      assert_true(strstr(word, "ab") || strchr(word, '\n'));
      whole = true;
    } else {
      assert_int_equal(word[n - 1], 'a');
      split = true;
    }
  }
  assert_true(whole && split);
  float *logits = calloc((size_t)t->n_tokens, sizeof *logits);
  for (int i = 0; i < t->n_eog; i++) logits[t->eog[i]] = 100;
  for (int i = 0; i < 200; i++) {
    int32_t id = myna__sampler_sample(p, logits, NULL);
    assert_false(myna__token_is_eog(tk, id));
    ASSERT_OK(myna__sampler_accept(p, id, true));
  }
  free(logits);
  myna__sampler_free(p);
  myna_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_llamacpp_cases), cmocka_unit_test(test_cuts),          cmocka_unit_test(test_temperature),
      cmocka_unit_test(test_penalties),      cmocka_unit_test(test_dry),           cmocka_unit_test(test_dry_breakers),
      cmocka_unit_test(test_dry_random),     cmocka_unit_test(test_bias),          cmocka_unit_test(test_greedy),
      cmocka_unit_test(test_naive),          cmocka_unit_test(test_mirostat),      cmocka_unit_test(test_philox),
      cmocka_unit_test(test_distribution),   cmocka_unit_test(test_xtc_frequency), cmocka_unit_test(test_impossible),
      cmocka_unit_test(test_rollback),       cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_out_of_memory),
      cmocka_unit_test(test_logprobs),       cmocka_unit_test(test_top_logits),    cmocka_unit_test(test_errors),
      cmocka_unit_test(test_bad_logits),     cmocka_unit_test(test_tokenizer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
