/* special.c: tokens that are found in the text as they stand, before anything else: user-defined ones always, control
 * tokens (and "unknown") when asked for.
 *
 * The order is llama.cpp's: the longest token takes all its occurrences from left to right, then the next longest what
 * is left: of "ab" and "bcd", the text "abcd" is "a" and "bcd". Here each position of the text waits in the queue of
 * the longest token that matches there, and moves to the queue of the next shorter one when it could not be taken:
 * linear in the text however many tokens there are. */
#include "text/tok.h"

/* Text of a special token as it is looked for: SentencePiece files write user-defined runs of spaces as U+2581. */
static size_t special_text(const myna__tokenizer *tk, int32_t id, const char **text, char spaces[64]) {
  myna__str s = tk->t->tokens[id];
  *text = s.p;
  bool user = tk->t->escape_whitespaces && myna__tok_type_of(tk, id) == MYNA__TOKTYPE_USER;
  if (!user || s.n > 3 * 64 || !myna__only_marks(s)) return s.n;
  memset(spaces, ' ', 64);
  *text = spaces;
  return s.n / 3;
}

static bool is_special(const myna__tokenizer *tk, int32_t id) {
  int type = myna__tok_type_of(tk, id);
  size_t n = tk->t->tokens[id].n;
  return n > 0 && n <= MYNA__MAX_TOKEN &&
         (type == MYNA__TOKTYPE_CONTROL || type == MYNA__TOKTYPE_USER || type == MYNA__TOKTYPE_UNKNOWN);
}

/* Puts the special tokens in order: longest first, then by id (counting sort by length). */
static int sort_tokens(myna__tokenizer *tk, myna_err *err) {
  myna__special *s = &tk->special;
  char spaces[64];
  const char *text;
  size_t n_counts = MYNA__MAX_TOKEN + 2;
  uint32_t *at = myna__calloc(n_counts * sizeof *at); /* at[MAX - len + 1]: first place for that length */
  if (!at) return myna__err(err, MYNA_E_NOMEM, "no memory for %d special tokens", s->n);
  for (int32_t id = 0; id < tk->t->n_tokens; id++)
    if (is_special(tk, id)) at[MYNA__MAX_TOKEN - special_text(tk, id, &text, spaces) + 1]++;
  for (size_t i = 1; i < n_counts; i++) at[i] += at[i - 1];
  for (int32_t id = 0; id < tk->t->n_tokens; id++) {
    if (!is_special(tk, id)) continue;
    size_t n = special_text(tk, id, &text, spaces);
    s->tokens[at[MYNA__MAX_TOKEN - n]++] = (struct myna__special_token){id, (uint32_t)n, -1};
  }
  myna__free(at, n_counts * sizeof *at);
  return 0;
}

int myna__special_init(myna__tokenizer *tk, myna_err *err) {
  myna__special *s = &tk->special;
  char spaces[64];
  const char *text;
  for (int32_t id = 0; id < tk->t->n_tokens; id++) s->n += is_special(tk, id);
  if (s->n == 0) return 0;
  s->tokens = myna__alloc((size_t)s->n * sizeof *s->tokens);
  if (!s->tokens) return myna__err(err, MYNA_E_NOMEM, "no memory for %d special tokens", s->n);
  TRY(sort_tokens(tk, err));
  for (int32_t i = 0; i < s->n; i++) {
    size_t n = special_text(tk, s->tokens[i].id, &text, spaces);
    s->first[(uint8_t)text[0]] = true;
    TRY(myna__trie_add(&s->trie, text, n, i, err));
  }
  for (int32_t i = 0; i < s->n; i++) {
    size_t n = special_text(tk, s->tokens[i].id, &text, spaces);
    uint32_t node = 0;
    for (size_t k = 0; k + 1 < n; k++) {
      node = myna__trie_step(&s->trie, node, (uint8_t)text[k]);
      if (s->trie.value[node] >= 0) s->tokens[i].shorter = s->trie.value[node];
    }
  }
  return 0;
}

void myna__special_free(myna__special *s) {
  myna__trie_free(&s->trie);
  myna__free(s->tokens, (size_t)s->n * sizeof *s->tokens);
  *s = (myna__special){0};
}

/* ---- splitting ---- */

/* A position of the text where some special token matches. */
struct candidate {
  uint32_t pos;
  int32_t order; /* of the token it waits for, or that it got */
  int32_t next;  /* in that token's queue */
};

struct splitter {
  const myna__tokenizer *tk;
  const char *text;
  size_t n;
  bool parse_special;
  struct candidate *cand;
  int32_t n_cand;
  int32_t *queue; /* [special.n] first candidate, -1 */
  uint8_t *taken; /* [n] 1: of a token, 2: white space that a token swallowed */
};

/* The first of `order` and its shorter ones that may be used, or -1. */
static int32_t usable(const struct splitter *sp, int32_t order) {
  const myna__special *s = &sp->tk->special;
  while (order >= 0 && !sp->parse_special && myna__tok_type_of(sp->tk, s->tokens[order].id) != MYNA__TOKTYPE_USER)
    order = s->tokens[order].shorter;
  return order;
}

static int32_t longest_at(const struct splitter *sp, size_t pos) {
  const myna__special *s = &sp->tk->special;
  int32_t order = -1;
  uint32_t node = 0;
  for (size_t i = pos; i < sp->n && (node = myna__trie_step(&s->trie, node, (uint8_t)sp->text[i])) != 0; i++)
    if (s->trie.value[node] >= 0) order = s->trie.value[node];
  return usable(sp, order);
}

static bool find_candidates(myna__tokcall *c, struct splitter *sp) {
  for (size_t i = 0; i < sp->n; i++) {
    if (!sp->tk->special.first[(uint8_t)sp->text[i]]) continue;
    int32_t order = longest_at(sp, i);
    if (order < 0) continue;
    size_t need = ((size_t)sp->n_cand + 1) * sizeof *sp->cand;
    if (c->path.cap < need && !myna__vec_need(c, &c->path, need)) return false;
    sp->cand = c->path.p;
    sp->cand[sp->n_cand++] = (struct candidate){(uint32_t)i, order, -1};
  }
  return sp->n_cand > 0;
}

static void sift_down(int32_t *v, size_t n, size_t i) {
  int32_t x = v[i];
  for (size_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && v[child + 1] > v[child]) child++;
    if (x >= v[child]) break;
    v[i] = v[child];
  }
  v[i] = x;
}

static void sort_ascending(int32_t *v, size_t n) {
  size_t sorted = 1;
  while (sorted < n && v[sorted - 1] < v[sorted]) sorted++;
  if (sorted >= n) return;
  for (size_t i = n / 2; i-- > 0;) sift_down(v, n, i);
  for (size_t end = n; end-- > 1;) {
    int32_t x = v[0];
    v[0] = v[end];
    v[end] = x;
    sift_down(v, end, 0);
  }
}

static bool is_space(char ch) { return ch == ' ' || (ch >= '\t' && ch <= '\r'); }

static void take(struct splitter *sp, struct candidate *c, const struct myna__special_token *t) {
  size_t end = c->pos + t->len;
  uint8_t kind = sp->tk->kind[t->id];
  memset(sp->taken + c->pos, 1, t->len);
  if (kind & MYNA__KIND_LSTRIP)
    for (size_t i = c->pos; i > 0 && !sp->taken[i - 1] && is_space(sp->text[i - 1]); i--) sp->taken[i - 1] = 2;
  if (kind & MYNA__KIND_RSTRIP)
    for (size_t i = end; i < sp->n && !sp->taken[i] && is_space(sp->text[i]); i++) sp->taken[i] = 2;
  c->next = -2; /* got it */
}

/* Gives the token of this order to its candidates from left to right. What is taken already is at least as long, so
 * looking at both ends is enough; one whose beginning is gone has no further chance. */
static void serve(struct splitter *sp, int32_t order, int32_t *waiting) {
  const struct myna__special_token *t = &sp->tk->special.tokens[order];
  size_t n = 0;
  for (int32_t i = sp->queue[order]; i >= 0; i = sp->cand[i].next) waiting[n++] = i;
  sort_ascending(waiting, n);
  for (size_t k = 0; k < n; k++) {
    struct candidate *c = &sp->cand[waiting[k]];
    c->next = -1;
    if (sp->taken[c->pos]) continue;
    if (!sp->taken[c->pos + t->len - 1]) {
      take(sp, c, t);
      continue;
    }
    c->order = usable(sp, t->shorter);
    if (c->order < 0) continue;
    c->next = sp->queue[c->order];
    sp->queue[c->order] = waiting[k];
  }
}

static size_t add_part(myna__tokcall *c, size_t n_parts, size_t start, size_t len, int32_t id) {
  size_t need = (n_parts + 1) * sizeof(myna__part);
  if (c->parts.cap < need && !myna__vec_need(c, &c->parts, need)) return n_parts;
  ((myna__part *)c->parts.p)[n_parts] = (myna__part){(uint32_t)start, (uint32_t)len, id};
  return n_parts + 1;
}

static size_t add_text(myna__tokcall *c, const struct splitter *sp, size_t n_parts, size_t start, size_t end) {
  while (start < end && sp->taken && sp->taken[start] == 2) start++;
  while (start < end && sp->taken && sp->taken[end - 1] == 2) end--;
  return start < end ? add_part(c, n_parts, start, end - start, -1) : n_parts;
}

size_t myna__special_split(myna__tokcall *c, const char *text, size_t n, bool parse_special) {
  const myna__special *s = &c->tk->special;
  struct splitter sp = {.tk = c->tk, .text = text, .n = n, .parse_special = parse_special};
  if (!find_candidates(c, &sp)) return c->rc ? 0 : add_text(c, &sp, 0, 0, n);
  sp.taken = myna__vec_need(c, &c->text, n);
  sp.queue = myna__vec_need(c, &c->heap, (size_t)s->n * sizeof *sp.queue);
  int32_t *waiting = myna__vec_need(c, &c->symbols, (size_t)sp.n_cand * sizeof *waiting);
  if (c->rc) return 0;
  memset(sp.taken, 0, n);
  memset(sp.queue, 0xFF, (size_t)s->n * sizeof *sp.queue);
  for (int32_t i = sp.n_cand; i-- > 0;) {
    sp.cand[i].next = sp.queue[sp.cand[i].order];
    sp.queue[sp.cand[i].order] = i;
  }
  for (int32_t order = 0; order < s->n; order++)
    if (sp.queue[order] >= 0) serve(&sp, order, waiting);

  size_t n_parts = 0, at = 0;
  for (int32_t i = 0; i < sp.n_cand && c->rc == 0; i++) {
    if (sp.cand[i].next != -2) continue;
    const struct myna__special_token *t = &s->tokens[sp.cand[i].order];
    n_parts = add_text(c, &sp, n_parts, at, sp.cand[i].pos);
    n_parts = add_part(c, n_parts, sp.cand[i].pos, t->len, t->id);
    at = sp.cand[i].pos + t->len;
  }
  if (c->rc == 0) n_parts = add_text(c, &sp, n_parts, at, n);
  return n_parts;
}
