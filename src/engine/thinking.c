/* thinking.c: the phases of a constrained answer, told apart by the text of its tokens: it may begin with reasoning (BEGIN), is inside of it
 * (INSIDE), is free until a trigger (FREE), or held by the grammar (HELD). */
#include "engine/thinking.h"
#include <math.h>

typedef enum phase { BEGIN, INSIDE, FREE, HELD } phase;

struct myna__constraint {
  myna__grun *run; /* NULL: no grammar */
  const myna__tokenizer *tk;
  phase phase;
  char **triggers;
  int n_triggers;
  bool leave_open, limited;
  char *start, *end;
  int64_t left;   /* of the budget */
  int32_t *force; /* [n_force] what ends the reasoning */
  int64_t n_force, forced;
  bool forcing, branches;
  int n_branch;
  int32_t branch_ids[20];
  float branch_logprobs[20];
  float *masked;     /* [n_vocab] for branches; NULL */
  uint64_t *allowed; /* [(n_vocab + 63) / 64]; NULL until needed */
  myna__buf text;    /* of this phase; the last bytes that may matter */
};

static const char *copy(const char *s, bool *failed) {
  char *p = s && s[0] ? myna__strndup(s, strlen(s)) : NULL;
  *failed |= s && s[0] && !p;
  return p;
}

/* Tokens of the message and the end tag. */
static int find_forced(myna__constraint *c, const myna_thinking *t, const myna_model *m, myna_err *err) {
  myna__buf b = {0};
  myna_tokenize_options o = {.no_special = true, .parse_special = true};
  if (t->message) myna__buf_str(&b, t->message);
  myna__buf_str(&b, t->end);
  int64_t n = b.failed ? MYNA_E_NOMEM : myna_tokenize(m, b.data, b.len, &o, NULL, 0, err);
  if (n > 0 && !(c->force = myna__alloc((size_t)n * sizeof *c->force))) n = MYNA_E_NOMEM;
  if (n > 0) {
    c->n_force = n;
    n = myna_tokenize(m, b.data, b.len, &o, c->force, n, err);
  }
  myna__buf_free(&b);
  return n < 0 ? myna__err(err, (int)n, "no memory for the end of the reasoning") : 0;
}

static int init(myna__constraint *c, const myna_request *r, const myna_model *m, myna_err *err) {
  bool failed = false;
  const myna_thinking *t = &r->thinking;
  c->start = (char *)(uintptr_t)copy(t->start, &failed);
  c->end = (char *)(uintptr_t)copy(t->end, &failed);
  c->limited = t->limited && c->end;
  c->left = t->budget;
  c->leave_open = r->leave_open;
  c->branches = r->branches;
  if (r->grammar && r->n_triggers > 0) {
    c->triggers = myna__calloc((size_t)r->n_triggers * sizeof *c->triggers);
    c->n_triggers = c->triggers ? r->n_triggers : 0;
    failed |= !c->triggers;
    for (int i = 0; i < c->n_triggers; i++) c->triggers[i] = (char *)(uintptr_t)copy(r->triggers[i], &failed);
  }
  if (failed) return myna__err(err, MYNA_E_NOMEM, "no memory for a request");
  if (c->limited) TRY(find_forced(c, t, m, err));
  if (r->grammar) TRY(myna__grun_new(&c->run, r->grammar, c->tk, m->cfg.n_vocab, err));
  if (c->run) TRY(myna__grun_show(c->run, r->shown, err));
  phase after = c->run && !c->n_triggers ? HELD : FREE;
  c->phase = c->end && t->open ? INSIDE : c->end && c->start ? BEGIN : after;
  return 0;
}

int myna__constraint_new(myna__constraint **out, const myna_request *r, const myna_model *m, const myna__tokenizer *tk,
                         myna_err *err) {
  *out = NULL;
  if (!r->grammar && !r->thinking.limited) return 0;
  if (!tk) return myna__err(err, MYNA_E_NOTFOUND, "a grammar and a budget of reasoning need a tokenizer");
  if (r->n_triggers < 0 || (r->n_triggers > 0 && !r->triggers))
    return myna__err(err, MYNA_E_ARG, "n_triggers is %d", r->n_triggers);
  for (int i = 0; i < r->n_triggers; i++)
    if (!r->triggers[i] || !r->triggers[i][0]) return myna__err(err, MYNA_E_ARG, "trigger %d is empty", i);
  myna__constraint *c = myna__calloc(sizeof *c);
  if (!c) return myna__err(err, MYNA_E_NOMEM, "no memory for a request");
  c->tk = tk;
  int rc = init(c, r, m, err);
  if (rc < 0) {
    myna__constraint_free(c);
    return rc;
  }
  *out = c;
  return 0;
}

void myna__constraint_free(myna__constraint *c) {
  if (!c) return;
  if (c->run) {
    size_t n = (size_t)myna__grun_n_vocab(c->run);
    myna__free(c->masked, n * sizeof *c->masked);
    myna__free(c->allowed, (n + 63) / 64 * sizeof *c->allowed);
  }
  myna__grun_free(c->run);
  for (int i = 0; i < c->n_triggers; i++) myna__strfree(c->triggers[i]);
  myna__free(c->triggers, (size_t)c->n_triggers * sizeof *c->triggers);
  myna__strfree(c->start);
  myna__strfree(c->end);
  myna__free(c->force, (size_t)c->n_force * sizeof *c->force);
  myna__buf_free(&c->text);
  myna__free(c, sizeof *c);
}

/* Adds a token's text, special ones as they are written: tags may be tokens of their own. */
static bool add_text(myna__constraint *c, int32_t id) {
  char piece[1024];
  int64_t n = myna__token_bytes(c->tk, id, true, piece, sizeof piece);
  if (n > 0) myna__buf_add(&c->text, piece, (size_t)MYNA__MIN(n, (int64_t)sizeof piece));
  return !c->text.failed;
}

static const char *find_in(const char *p, size_t n, const char *s) {
  return s && n ? memmem(p, n, s, strlen(s)) : NULL;
}
static const char *find(const myna__constraint *c, const char *s) { return find_in(c->text.data, c->text.len, s); }

/* Drops what no longer matters: all but the last n bytes. */
static void keep_last(myna__constraint *c, size_t n) {
  if (c->text.len <= n) return;
  memmove(c->text.data, c->text.data + (c->text.len - n), n);
  c->text.len = n;
}

static size_t spaces(const myna__constraint *c) {
  size_t i = 0;
  while (i < c->text.len && c->text.data[i] && strchr(" \n\t\r", c->text.data[i])) i++;
  return i;
}

/* Whether text, spaces before it apart, begins the start tag or goes on behind it. */
static bool may_think(const myna__constraint *c) {
  size_t i = spaces(c), n = MYNA__MIN(c->text.len - i, strlen(c->start));
  return n == 0 || memcmp(c->text.data + i, c->start, n) == 0;
}

/* The first trigger in p[0..n); NULL. */
static const char *first_trigger(const myna__constraint *c, const char *p, size_t n) {
  const char *first = NULL;
  for (int i = 0; i < c->n_triggers; i++) {
    const char *at = find_in(p, n, c->triggers[i]);
    if (at && (!first || at < first)) first = at;
  }
  return first;
}

/* ---- what may come ---- */

/* Whether the answer may begin with p[0..n): what the grammar holds of it. */
static bool answer_fits(myna__constraint *c, const char *p, size_t n) {
  if (c->n_triggers > 0) {
    const char *at = first_trigger(c, p, n);
    return !at || myna__grun_takes(c->run, at, n - (size_t)(at - p));
  }
  return n == 0 || myna__grun_takes(c->run, p, n);
}

/* Whether the text, with the new token at its end, leaves a way to an answer that the grammar takes. Before the grammar holds, a token may end the
 * reasoning, or a trigger, and go on with what the grammar does not take. */
static bool text_fits(myna__constraint *c) {
  const char *at;
  size_t n = c->text.len;
  if (c->phase == BEGIN && may_think(c)) {
    if (!find(c, c->start)) return spaces(c) < n || answer_fits(c, c->text.data, n);
    at = find(c, c->end);
  } else if (c->phase == INSIDE) {
    at = find(c, c->end);
  } else {
    return answer_fits(c, c->text.data, n);
  }
  if (!at) return true;
  at += strlen(c->end);
  return answer_fits(c, at, n - (size_t)(at - c->text.data));
}

static bool fits(myna__constraint *c, int32_t id) {
  if (!c->run) return true;
  if (myna__token_is_eog(c->tk,
                         id)) /* the reasoning may be left there; else nothing was said, which the grammar must like */
    return c->phase != BEGIN || c->n_triggers > 0 || (c->text.len == 0 && myna__grun_whole(c->run));
  size_t before = c->text.len;
  bool ok = add_text(c, id) && text_fits(c);
  c->text.len = before;
  return ok;
}

/* ---- what came ---- */

/* The answer itself begins: what was read behind `at` is part of it. */
static int begin_answer(myna__constraint *c, size_t at) {
  c->phase = c->run && !c->n_triggers ? HELD : FREE;
  keep_last(c, c->text.len - at);
  return c->phase == HELD ? myna__grun_feed(c->run, c->text.data, c->text.len) : 0;
}

static int look_for_trigger(myna__constraint *c) {
  if (!c->run) return 0;
  const char *first = first_trigger(c, c->text.data, c->text.len);
  if (first) {
    c->phase = HELD;
    return myna__grun_feed(c->run, first, c->text.len - (size_t)(first - c->text.data));
  }
  size_t longest = 1;
  for (int i = 0; i < c->n_triggers; i++) longest = MYNA__MAX(longest, strlen(c->triggers[i]));
  keep_last(c, longest - 1);
  return 0;
}

static int read_token(myna__constraint *c, int32_t id) {
  if (c->phase == HELD) return myna__grun_accept(c->run, id);
  if (c->phase == FREE && !c->run) return 0;
  if (!add_text(c, id)) return MYNA_E_NOMEM;
  if (c->phase == BEGIN) {
    if (!may_think(c)) {
      TRY(begin_answer(c, 0));
      return c->phase == FREE ? look_for_trigger(c) : 0;
    }
    if (!find(c, c->start)) return 0;
    c->phase = INSIDE;
  } else if (c->phase == INSIDE) {
    c->left--;
  }
  if (c->phase == INSIDE) {
    const char *at = find(c, c->end);
    if (!at) {
      keep_last(c, strlen(c->end) - 1);
      return 0;
    }
    c->forcing = false;
    c->limited = false;
    TRY(begin_answer(c, (size_t)(at - c->text.data) + strlen(c->end)));
  }
  return c->phase == FREE ? look_for_trigger(c) : 0;
}

int myna__constraint_accept(myna__constraint *c, int32_t id, myna_err *err) {
  if (c->forcing && c->forced < c->n_force && c->force[c->forced] == id) c->forced++;
  int rc = read_token(c, id);
  if (rc < 0) return myna__err(err, rc, "the grammar's state is too large");
  /* Sampled tokens are legal, so this one was forced: the request is told, rather than an answer that is none. */
  if (c->phase == HELD && !myna__grun_alive(c->run))
    return myna__err(err, MYNA_E_ARG, "token %d, which was forced, is not what the grammar allows", id);
  return 0;
}

/* ---- sampling ---- */

static int tell_branches(myna__constraint *c, const uint64_t *bits, int64_t n_legal, const float *logits) {
  int64_t v = myna__grun_n_vocab(c->run);
  int n = (int)MYNA__MIN(n_legal, (int64_t)MYNA__COUNT(c->branch_ids));
  if (n < 2) return 0;
  if (!c->masked && !(c->masked = myna__alloc((size_t)v * sizeof *c->masked))) return MYNA_E_NOMEM;
  for (int64_t i = 0; i < v; i++) c->masked[i] = bits[i >> 6] >> (i & 63) & 1 ? logits[i] : -INFINITY;
  myna__logprobs(c->masked, v, -1, NULL, n, c->branch_ids, c->branch_logprobs);
  c->n_branch = n;
  return 0;
}

/* The likeliest of the tokens with bits, or the only one. */
static int32_t best_of(const uint64_t *bits, int64_t n_vocab, const float *logits) {
  int32_t best = -1;
  for (int64_t w = 0; w < (n_vocab + 63) / 64; w++)
    for (uint64_t x = bits[w]; x; x &= x - 1) {
      int32_t id = (int32_t)(w * 64 + __builtin_ctzll(x));
      if (best < 0 || logits[id] > logits[best]) best = id;
    }
  return best;
}

static int32_t held(myna__constraint *c, myna__sampler *s, const float *logits, myna_err *err) {
  myna_err none = {0};
  int64_t n_legal;
  if (!c->branches && myna__sampler_is_greedy(s) && !myna__grun_knows(c->run)) {
    /* The best of all is the best of those that are legal, if it is one of them: most often there is no need to know the others. */
    int32_t id = myna__sampler_sample(s, logits, &none);
    if (id >= 0 && myna__grun_legal(c->run, id)) return id;
    none = (myna_err){0};
  }
  const uint64_t *bits = myna__grun_mask(c->run, &n_legal, err);
  if (!bits) return err && err->code ? err->code : MYNA_E_INTERNAL;
  if (c->branches && tell_branches(c, bits, n_legal, logits) < 0)
    return myna__err(err, MYNA_E_NOMEM, "no memory for the alternatives of a token");
  int32_t id = n_legal > 1 ? myna__sampler_sample_allowed(s, logits, bits, n_legal, &none) : -1;
  return id >= 0 ? id : best_of(bits, myna__grun_n_vocab(c->run), logits);
}

/* A token that fits, where the first one drawn does not. Drawing again without it is drawing from those that fit; when that takes too often,
 * all are tried. */
static int32_t draw_fitting(myna__constraint *c, myna__sampler *s, const float *logits, int32_t id, myna_err *err) {
  enum { TRIES = 16 };
  int64_t v = myna__grun_n_vocab(c->run), left = v;
  size_t bytes = (size_t)(v + 63) / 64 * sizeof *c->allowed;
  if (!c->allowed && !(c->allowed = myna__alloc(bytes)))
    return myna__err(err, MYNA_E_NOMEM, "no memory to choose a token");
  memset(c->allowed, 0xFF, bytes);
  if (v & 63) c->allowed[v >> 6] = ((uint64_t)1 << (v & 63)) - 1;
  for (int i = 0; i <= TRIES && left > 0; i++) {
    c->allowed[id >> 6] &= ~((uint64_t)1 << (id & 63));
    left--;
    for (int32_t k = 0; k < v && i == TRIES; k++) {
      if (!(c->allowed[k >> 6] >> (k & 63) & 1) || fits(c, k)) continue;
      c->allowed[k >> 6] &= ~((uint64_t)1 << (k & 63));
      left--;
    }
    if (left == 0) break;
    id = myna__sampler_sample_allowed(s, logits, c->allowed, left, err);
    if (id < 0 || fits(c, id)) return id;
  }
  return myna__err(err, MYNA_E_INTERNAL, "the grammar allows no token of the vocabulary");
}

int myna__constraint_branches(const myna__constraint *c, const int32_t **ids, const float **logprobs) {
  *ids = c->branch_ids;
  *logprobs = c->branch_logprobs;
  return c->n_branch;
}

int32_t myna__constraint_sample(myna__constraint *c, myna__sampler *s, const float *logits, myna_err *err) {
  c->n_branch = 0;
  if (c->phase == HELD) return held(c, s, logits, err);
  c->forcing |= c->phase == INSIDE && c->limited && c->left <= 0;
  if (c->forcing && c->forced < c->n_force) return c->force[c->forced];
  int32_t id = myna__sampler_sample(s, logits, err);
  return id < 0 || fits(c, id) ? id : draw_fitting(c, s, logits, id, err);
}

void myna__constraint_close(const myna__constraint *c, myna__buf *out) {
  if (c->run && c->phase == HELD && !c->leave_open) myna__grun_close(c->run, out);
}
