/* thinking.c: the phases of a constrained answer, told apart by the text of its tokens: it may begin with reasoning (BEGIN), is inside of it
 * (INSIDE), is free until a trigger (FREE), or held by the grammar (HELD). */
#include "engine/thinking.h"

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
  myna__buf text; /* of this phase; the last bytes that may matter */
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

static const char *find(const myna__constraint *c, const char *s) {
  return s && c->text.len ? memmem(c->text.data, c->text.len, s, strlen(s)) : NULL;
}

/* Whether text, spaces before it apart, begins the start tag or goes on behind it. */
static bool may_think(const myna__constraint *c) {
  size_t i = 0;
  while (i < c->text.len && strchr(" \n\t\r", c->text.data[i]) && c->text.data[i]) i++;
  size_t n = MYNA__MIN(c->text.len - i, strlen(c->start));
  return n == 0 || memcmp(c->text.data + i, c->start, n) == 0;
}

/* The answer itself begins: what was read behind `at` is part of it. */
static int begin_answer(myna__constraint *c, size_t at) {
  c->phase = c->run && !c->n_triggers ? HELD : FREE;
  memmove(c->text.data, c->text.data + at, c->text.len - at);
  c->text.len -= at;
  return c->phase == HELD ? myna__grun_feed(c->run, c->text.data, c->text.len) : 0;
}

static int look_for_trigger(myna__constraint *c) {
  const char *first = NULL;
  for (int i = 0; i < c->n_triggers; i++) {
    const char *at = find(c, c->triggers[i]);
    if (at && (!first || at < first)) first = at;
  }
  if (!c->run || !first) return 0;
  c->phase = HELD;
  return myna__grun_feed(c->run, first, c->text.len - (size_t)(first - c->text.data));
}

static int read_token(myna__constraint *c, int32_t id) {
  if (c->phase == HELD) return myna__grun_accept(c->run, id);
  if (c->phase == FREE && !c->run) return 0;
  if (!add_text(c, id)) return MYNA_E_NOMEM;
  if (c->phase == BEGIN) {
    if (!may_think(c)) return begin_answer(c, 0);
    if (!find(c, c->start)) return 0;
    c->phase = INSIDE;
  } else if (c->phase == INSIDE) {
    c->left--;
  }
  if (c->phase == INSIDE) {
    const char *at = find(c, c->end);
    if (!at) return 0;
    c->forcing = false;
    c->limited = false;
    TRY(begin_answer(c, (size_t)(at - c->text.data) + strlen(c->end)));
  }
  return c->phase == FREE ? look_for_trigger(c) : 0;
}

int myna__constraint_accept(myna__constraint *c, int32_t id, myna_err *err) {
  if (c->forcing && c->forced < c->n_force && c->force[c->forced] == id) c->forced++;
  int rc = read_token(c, id);
  return rc < 0 ? myna__err(err, rc, "the grammar's state is too large") : 0;
}

static int32_t held(myna__constraint *c, myna__sampler *s, const float *logits, myna_err *err) {
  const float *masked = myna__grun_mask(c->run, logits, err);
  if (!masked) return err && err->code ? err->code : MYNA_E_INTERNAL;
  if (c->branches) {
    int n = (int)MYNA__MIN(myna__grun_n_legal(c->run), 20);
    c->n_branch = n > 1 ? n : 0;
    if (n > 1) myna__logprobs(masked, myna__grun_n_vocab(c->run), -1, NULL, n, c->branch_ids, c->branch_logprobs);
  }
  myna_err none = {0};
  int32_t id = myna__sampler_sample(s, masked, &none);
  if (id < 0 || !myna__grun_legal(c->run, id)) id = myna__grun_best(c->run, logits);
  return id < 0 ? myna__err(err, MYNA_E_INTERNAL, "no token that the grammar allows is possible") : id;
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
  if (c->phase != BEGIN || id < 0) return id;
  size_t before = c->text.len;
  bool thinks = add_text(c, id) && !myna__token_is_eog(c->tk, id) && may_think(c);
  c->text.len = before;
  if (thinks || !c->run || c->n_triggers) return id;
  if (begin_answer(c, 0) < 0) return myna__err(err, MYNA_E_LIMIT, "the grammar's state is too large");
  return held(c, s, logits, err);
}

void myna__constraint_close(const myna__constraint *c, myna__buf *out) {
  if (c->run && c->phase == HELD && !c->leave_open) myna__grun_close(c->run, out);
}
