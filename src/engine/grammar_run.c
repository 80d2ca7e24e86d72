/* grammar_run.c: a grammar in one request: its state, and the last mask it asked for. The machine and the masks are shared by all
 * requests with the grammar, behind its lock; when the machine has met too much, it is made new with the states of all that run. */
#include "engine/grammar_run.h"
#include "engine/grammar_mask.h"

enum { MACHINE_BYTES = 1 << 26, LEAST_BYTES = 1 << 16, MAX_SIGNS = 32, SIGN_BYTES = 64 };

/* A control token that stands for its text. */
typedef struct sign {
  int32_t id, n;
  char text[SIGN_BYTES];
} sign;

struct myna__grun {
  struct myna__grun *next, **link; /* in the grammar's list */
  myna_grammar *g;
  myna__gmasks *masks;
  const myna__tokenizer *tk;
  sign *signs; /* [n_signs] of MAX_SIGNS */
  int n_signs;
  int64_t n_vocab;
  int32_t state;      /* 0: dead, negative: an error */
  int32_t mask_state; /* bits are of this state; 0: none */
  uint64_t *bits;     /* [n_words] */
  int64_t n_legal;
};

static size_t bits_bytes(const myna__grun *r) { return (size_t)(r->n_vocab + 63) / 64 * sizeof(uint64_t); }

static void enlist(myna__grun *r) {
  myna_grammar *g = r->g;
  r->next = g->runs;
  r->link = &g->runs;
  if (r->next) r->next->link = &r->next;
  g->runs = r;
}

int myna__grun_new(myna__grun **out, myna_grammar *g, const myna__tokenizer *tk, int64_t n_vocab, myna_err *err) {
  *out = NULL;
  myna__grun *r = myna__calloc(sizeof *r);
  if (!r) return myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
  bool first = false;
  r->n_vocab = n_vocab;
  r->tk = tk;
  r->bits = myna__alloc(bits_bytes(r));
  int rc = r->bits ? 0 : myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
  if (rc == 0) {
    pthread_mutex_lock(&g->lock);
    rc = myna__gmasks_of(g, tk, n_vocab, &r->masks, err);
    myna__gram_report(g);
    first = !g->runs;
    if (rc == 0) {
      r->g = myna_grammar_ref(g);
      r->state = g->machine->start;
      enlist(r);
    }
    pthread_mutex_unlock(&g->lock);
    myna__gram_trim();
    if (rc == 0 && first) rc = myna__gram_admit(err); /* more requests with the same grammar need nothing more */
  }
  if (rc < 0)
    myna__grun_free(r);
  else
    *out = r;
  return rc;
}

void myna__grun_free(myna__grun *r) {
  if (!r) return;
  if (r->g) {
    pthread_mutex_lock(&r->g->lock);
    *r->link = r->next;
    if (r->next) r->next->link = r->link;
    pthread_mutex_unlock(&r->g->lock);
  }
  myna__free(r->bits, bits_bytes(r));
  myna__free(r->signs, MAX_SIGNS * sizeof *r->signs);
  myna_grammar_free(r->g);
  myna__free(r, sizeof *r);
}

/* ---- reading ---- */

static int64_t most(void) { return myna__gram_part(MACHINE_BYTES, 2); }

/* Whether the machine is to be made new: it is too large, or has doubled where there is no room. */
static bool much(const myna_grammar *g) {
  int64_t n = myna__gmachine_bytes(g->machine);
  return n > most() || (n > 2 * MYNA__MAX(g->least, LEAST_BYTES) && myna__gram_over(g) > 0);
}

/* Makes the machine new with the states of all runs. */
static int compact(myna_grammar *g) {
  int64_t n = 0, k = 0;
  for (myna__grun *r = g->runs; r; r = r->next) n++;
  size_t bytes = (size_t)(n + 1) * sizeof(int32_t *);
  int32_t **states = myna__alloc(bytes);
  if (!states) return MYNA_E_NOMEM;
  for (myna__grun *r = g->runs; r; r = r->next) states[k++] = &r->state;
  int rc = myna__gmachine_compact(g->machine, states, n);
  myna__free(states, bytes);
  if (rc < 0) return rc;
  for (myna__grun *r = g->runs; r; r = r->next) r->mask_state = 0;
  myna__gmasks_forget(g);
  g->least = myna__gmachine_bytes(g->machine);
  return g->least > most() ? MYNA_E_LIMIT : 0;
}

/* Enters the machine: room in it, and an error when there is none. */
static int enter(myna__grun *r) {
  pthread_mutex_lock(&r->g->lock);
  int rc = r->state < 0 ? r->state : 0;
  if (rc == 0 && much(r->g)) rc = compact(r->g);
  if (rc < 0) r->state = rc;
  return rc;
}

static void leave(myna__grun *r) {
  myna__gram_report(r->g);
  pthread_mutex_unlock(&r->g->lock);
  myna__gram_trim();
}

static int32_t read_text(myna_grammar *g, int32_t s, const char *text, size_t n) {
  enum { FUEL = 1 << 28 };
  g->machine->fuel = FUEL;
  for (size_t i = 0; i < n && s > 0; i++) s = myna__gmachine_next(g->machine, s, (uint8_t)text[i]);
  return s;
}

int myna__grun_feed(myna__grun *r, const char *text, size_t n) {
  if (enter(r) == 0) r->state = read_text(r->g, r->state, text, n);
  leave(r);
  return MYNA__MIN(r->state, 0);
}

bool myna__grun_takes(myna__grun *r, const char *text, size_t n) {
  bool ok = enter(r) == 0 && r->state > 0 && read_text(r->g, r->state, text, n) > 0;
  leave(r);
  return ok;
}

/* ---- signs ---- */

static const sign *find_sign(const myna__grun *r, int32_t id) {
  for (int i = 0; i < r->n_signs; i++)
    if (r->signs[i].id == id) return &r->signs[i];
  return NULL;
}

int myna__grun_show(myna__grun *r, const char *shown, myna_err *err) {
  char text[SIGN_BYTES];
  if (!shown || !*shown) return 0;
  if (!(r->signs = myna__calloc(MAX_SIGNS * sizeof *r->signs)))
    return myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
  int64_t n_tokens = MYNA__MIN(myna__tokenizer_data(r->tk)->n_tokens, r->n_vocab);
  for (int32_t id = 0; id < n_tokens && r->n_signs < MAX_SIGNS; id++) {
    if (myna__token_is_eog(r->tk, id) || myna__token_bytes(r->tk, id, false, text, sizeof text) != 0) continue;
    int64_t n = myna__token_bytes(r->tk, id, true, text, sizeof text);
    if (n < 2 || n > SIGN_BYTES || !memmem(shown, strlen(shown), text, (size_t)n)) continue;
    sign *s = &r->signs[r->n_signs++];
    *s = (sign){.id = id, .n = (int32_t)n};
    memcpy(s->text, text, (size_t)n);
  }
  return 0;
}

/* The state behind a sign, with the lock held. A text that goes on as before is no place for one: within a string it would be a part of the string. */
static int32_t read_sign(const myna__grun *r, const sign *s) {
  int32_t next = read_text(r->g, r->state, s->text, (size_t)s->n);
  return next == r->state ? 0 : next;
}

int myna__grun_accept(myna__grun *r, int32_t id) {
  const sign *s = find_sign(r, id);
  if (enter(r) == 0 && r->state > 0) {
    int32_t next = myna__gmasks_step(r->masks, r->state, id);
    r->state = next == 0 && s ? read_sign(r, s) : next;
  }
  leave(r);
  return MYNA__MIN(r->state, 0);
}

bool myna__grun_alive(const myna__grun *r) { return r->state > 0; }

bool myna__grun_whole(const myna__grun *r) {
  if (r->state <= 0) return false;
  pthread_mutex_lock(&r->g->lock);
  bool whole = r->g->machine->states[r->state].whole;
  pthread_mutex_unlock(&r->g->lock);
  return whole;
}

/* ---- masks ---- */

/* Fills bits; they are copied, for another request may need the place of the shared ones. */
static int update(myna__grun *r) {
  int rc = enter(r);
  if (rc == 0 && r->state > 0 && r->mask_state != r->state) {
    const uint64_t *bits;
    rc = myna__gmasks_get(r->masks, r->state, &bits, &r->n_legal);
    if (rc == 0) memcpy(r->bits, bits, bits_bytes(r));
    for (int i = 0; i < r->n_signs && rc == 0; i++) {
      uint64_t *word = &r->bits[r->signs[i].id >> 6], bit = (uint64_t)1 << (r->signs[i].id & 63);
      if (*word & bit || read_sign(r, &r->signs[i]) <= 0) continue;
      *word |= bit;
      r->n_legal++;
    }
    r->mask_state = rc == 0 ? r->state : 0;
  }
  leave(r);
  return rc;
}

const uint64_t *myna__grun_mask(myna__grun *r, int64_t *n_legal, myna_err *err) {
  int rc = update(r);
  *n_legal = rc == 0 && r->state > 0 ? r->n_legal : 0;
  if (*n_legal > 0) return r->bits;
  if (rc == MYNA_E_LIMIT)
    myna__err(err, rc, "the grammar is too ambiguous here");
  else if (rc < 0)
    myna__err(err, rc, "no memory for the masks of a grammar");
  else
    myna__err(err, MYNA_E_INTERNAL, "the grammar allows no token of the vocabulary");
  return NULL;
}

/* A token is tried by its bytes where the mask is not there yet. */
bool myna__grun_legal(myna__grun *r, int32_t id) {
  if (id < 0 || id >= r->n_vocab) return false;
  if (r->state > 0 && r->mask_state == r->state) return r->bits[id >> 6] >> (id & 63) & 1;
  const sign *s = find_sign(r, id);
  bool ok = false;
  if (enter(r) == 0 && r->state > 0) {
    const uint64_t *bits;
    int64_t n;
    if (s && read_sign(r, s) > 0)
      ok = true;
    else if (myna__gmasks_has(r->masks, r->state))
      ok = myna__gmasks_get(r->masks, r->state, &bits, &n) == 0 && (bits[id >> 6] >> (id & 63) & 1);
    else if (myna__gmasks_is_end(r->masks, id))
      ok = r->g->machine->states[r->state].whole;
    else
      ok = myna__gmasks_step(r->masks, r->state, id) > 0;
  }
  leave(r);
  return ok;
}

bool myna__grun_knows(myna__grun *r) {
  bool known = r->state > 0 && r->mask_state == r->state;
  if (known || r->state <= 0) return known;
  if (enter(r) == 0 && r->state > 0) known = myna__gmasks_has(r->masks, r->state);
  leave(r);
  return known;
}

int64_t myna__grun_n_vocab(const myna__grun *r) { return r->n_vocab; }

int myna__grun_close(myna__grun *r, myna__buf *out) {
  if (r->state <= 0 || myna__grun_whole(r)) return 0;
  pthread_mutex_lock(&r->g->lock);
  int rc = myna__gmachine_close(r->g->machine, r->state, out, NULL);
  pthread_mutex_unlock(&r->g->lock);
  return rc;
}

int myna_grammar_prepare(myna_grammar *g, const struct myna_model *m, myna_err *err) {
  const myna__tokenizer *tk;
  myna__gmasks *k;
  myna_model *model = (myna_model *)(uintptr_t)m;
  TRY(myna__model_tokenizer(model, &tk, err));
  pthread_mutex_lock(&g->lock);
  int rc = myna__gmasks_of(g, tk, model->cfg.n_vocab, &k, err);
  myna__gram_report(g);
  pthread_mutex_unlock(&g->lock);
  return rc;
}
