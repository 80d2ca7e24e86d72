/* unigram.c: SentencePiece unigram: of all ways to write the normalized text as tokens, the one with the highest sum of
 * scores (Viterbi over byte positions). A character that no token stands for costs the lowest score less 10; runs of
 * them become one "unknown", or their bytes where the vocabulary has byte tokens.
 *
 * Sums are floats in the order in which SentencePiece 0.2.3 adds them, with its shift back to zero every 100,000: that
 * decides ties, which are common ("!!!" as "!!" "!" or "!" "!!"). llama.cpp and Hugging Face's tokenizers sum in double
 * and differ from it there. */
#include "text/tok.h"

static const float UNKNOWN_PENALTY = 10.0f;
static const float SCORE_LIMIT = 100000.0f;
static const uint32_t UNREACHED = UINT32_MAX;

static float score_of(const myna__tokenizer *tk, int32_t id, size_t len) {
  if (myna__tok_type_of(tk, id) == MYNA__TOKTYPE_USER) return (float)(0.1 * (double)(len - 1)); /* before any others */
  float s = tk->t->scores ? tk->t->scores[id] : 0.0f;
  return s == s ? MYNA__MAX(MYNA__MIN(s, 1e20f), -1e20f) : -1e20f; /* NaN and infinities have no order or sum */
}

int myna__unigram_init(myna__tokenizer *tk, myna_err *err) {
  const myna__tokdata *t = tk->t;
  float lowest = 0.0f;
  bool any = false;
  for (int32_t id = 0; id < t->n_tokens; id++) {
    int type = myna__tok_type_of(tk, id);
    myna__str s = t->tokens[id];
    if (type == MYNA__TOKTYPE_NORMAL) {
      float score = score_of(tk, id, s.n);
      lowest = any ? MYNA__MIN(lowest, score) : score;
      any = true;
    }
    if ((type != MYNA__TOKTYPE_NORMAL && type != MYNA__TOKTYPE_USER) || s.n == 0 || s.n > MYNA__MAX_TOKEN) continue;
    TRY(myna__trie_add(&tk->words, s.p, s.n, id, err));
  }
  tk->unk_score = lowest - UNKNOWN_PENALTY;
  return 0;
}

/* The best way to reach a position. */
struct node {
  float score;
  uint32_t from; /* UNREACHED: none yet */
  int32_t id;    /* -1: a character that is no token */
};

static void reach(struct node *to, float score, size_t from, int32_t id) {
  if (to->from == UNREACHED || score > to->score) *to = (struct node){score, (uint32_t)from, id};
}

/* Keeps sums small enough to tell scores apart: what is reached from i on moves by the same amount. */
static void shift_scores(struct node *best, size_t i, size_t last) {
  float offset = best[i].score;
  for (size_t k = i; k <= last; k++)
    if (k == i || best[k].from != UNREACHED) best[k].score -= offset;
}

static void forward(const myna__tokenizer *tk, const char *p, size_t n, struct node *best) {
  const myna__trie *words = &tk->words;
  for (size_t i = 0; i <= n; i++) best[i] = (struct node){0, UNREACHED, -1};
  for (size_t i = 0, step; i < n; i += step) {
    step = MYNA__MIN((size_t)myna__utf8_lead((uint8_t)p[i]), n - i);
    /* nothing further on is reached yet */
    if (best[i].score < -SCORE_LIMIT || best[i].score > SCORE_LIMIT)
      shift_scores(best, i, MYNA__MIN(n, i + MYNA__MAX_TOKEN));
    bool whole = false; /* some token is exactly this character */
    uint32_t node = 0;
    for (size_t k = i; k < n && (node = myna__trie_step(words, node, (uint8_t)p[k])) != 0; k++) {
      int32_t id = words->value[node];
      if (id < 0) continue;
      whole = whole || k + 1 - i == step;
      reach(&best[k + 1], score_of(tk, id, k + 1 - i) + best[i].score, i, id);
    }
    if (!whole) reach(&best[i + step], tk->unk_score + best[i].score, i, -1);
  }
}

static bool has_bytes(const myna__tokenizer *tk, const char *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (tk->byte_id[(uint8_t)p[i]] < 0) return false;
  return true;
}

void myna__unigram_text(myna__tokcall *c, const char *p, size_t n) {
  const myna__tokenizer *tk = c->tk;
  n = myna__normalize(c, p, n, tk->t->add_space_prefix);
  if (c->rc || n == 0) return;
  p = c->text.p;
  struct node *best = myna__vec_need(c, &c->path, (n + 1) * sizeof *best);
  if (!best) return;
  forward(tk, p, n, best);

  /* Turn the path around in place: `from` of the visited nodes becomes where the next token ends. */
  uint32_t next = 0;
  for (uint32_t i = (uint32_t)n; i > 0;) {
    uint32_t from = best[i].from;
    best[i].from = next;
    next = i;
    i = from;
  }
  bool unknown = false;
  for (uint32_t i = 0, end = next; end > 0; i = end, end = best[end].from) {
    int32_t id = best[end].id;
    if (id >= 0) {
      myna__push_id(c, id);
      unknown = false;
    } else if (has_bytes(tk, p + i, end - i)) {
      for (uint32_t k = i; k < end; k++) myna__push_id(c, tk->byte_id[(uint8_t)p[k]]);
      unknown = false;
    } else {
      if (tk->unk >= 0 && !unknown) myna__push_id(c, tk->unk);
      unknown = true;
    }
  }
}
