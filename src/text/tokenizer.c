/* tokenizer.c: builds a tokenizer from plain data and runs it: special tokens first, then the algorithm of the
 * vocabulary on what lies between them. */
#include "text/tok.h"
#include "formats/str.h"

/* A text longer than this would overflow 32-bit offsets once bytes are spelled out (6 bytes each at worst). */
enum { MAX_TEXT = 256 << 20 };

/* ---- what a token is ---- */

/* Which special tokens swallow the white space beside them. GGUF does not say; the vocabularies do: all but three of
 * Phi-3, known by its placeholders, and the masks of some encoders. */
static void init_strips(myna__tokenizer *tk) {
  const myna__tokdata *t = tk->t;
  bool phi3 = false;
  for (int32_t id = 0; id < t->n_tokens && t->model == MYNA__TOK_SPM && !phi3; id++)
    phi3 = myna__str_eq(t->tokens[id], "<|placeholder1|>");
  bool mask = t->model == MYNA__TOK_UNIGRAM || strncmp(t->pre, "jina-v2-", 8) == 0;
  bool modern = strcmp(t->pre, "modern-bert") == 0;
  for (int32_t id = 0; id < t->n_tokens && (phi3 || mask || modern); id++) {
    int type = tk->kind[id];
    myna__str s = t->tokens[id];
    if (type != MYNA__TOKTYPE_CONTROL && type != MYNA__TOKTYPE_USER && type != MYNA__TOKTYPE_UNKNOWN) continue;
    if (phi3 && !myna__str_eq(s, "<unk>") && !myna__str_eq(s, "<s>") && !myna__str_eq(s, "<|endoftext|>"))
      tk->kind[id] |= MYNA__KIND_RSTRIP;
    if ((mask && myna__str_eq(s, "<mask>")) || (modern && myna__str_eq(s, "[MASK]"))) tk->kind[id] |= MYNA__KIND_LSTRIP;
  }
}

static int init_kinds(myna__tokenizer *tk, myna_err *err) {
  const myna__tokdata *t = tk->t;
  tk->kind = myna__alloc((size_t)t->n_tokens);
  if (!tk->kind) return myna__err(err, MYNA_E_NOMEM, "no memory for %d tokens", t->n_tokens);
  for (int32_t id = 0; id < t->n_tokens; id++) {
    int type = t->types ? t->types[id] : MYNA__TOKTYPE_NORMAL;
    tk->kind[id] = (uint8_t)(type > MYNA__TOKTYPE_BYTE ? MYNA__TOKTYPE_UNDEFINED : type);
  }
  init_strips(tk);
  return 0;
}

/* ---- creation ---- */

/* Tokens that stand for single bytes: <0x0A> first, else the byte itself. A file without token types has them as
 * normal ones. */
static void init_bytes(myna__tokenizer *tk) {
  const myna__tokdata *t = tk->t;
  bool named[256] = {false};
  for (int i = 0; i < 256; i++) tk->byte_id[i] = -1;
  for (int32_t id = 0; id < t->n_tokens; id++) {
    int type = myna__tok_type_of(tk, id), byte;
    myna__str s = t->tokens[id];
    if (type != MYNA__TOKTYPE_BYTE && type != MYNA__TOKTYPE_NORMAL) continue;
    if (s.n == 6 && (byte = myna__byte_of_name(s)) >= 0) {
      tk->byte_id[byte] = id;
      named[byte] = true;
      tk->kind[id] = MYNA__TOKTYPE_BYTE;
    } else if (s.n == 1 && !named[(uint8_t)s.p[0]] && t->model != MYNA__TOK_UNIGRAM) {
      tk->byte_id[(uint8_t)s.p[0]] = id;
    }
  }
}

/* Merging makes no control tokens, bytes or "unknown". */
static uint8_t *mergeable(const myna__tokenizer *tk) {
  uint8_t *keep = myna__alloc((size_t)tk->t->n_tokens);
  for (int32_t id = 0; keep && id < tk->t->n_tokens; id++) {
    int type = myna__tok_type_of(tk, id);
    keep[id] = type != MYNA__TOKTYPE_CONTROL && type != MYNA__TOKTYPE_UNKNOWN && type != MYNA__TOKTYPE_BYTE;
  }
  return keep;
}

/* U+2581 after anything else than U+2581. */
static bool mark_inside(const char *p, size_t n) {
  for (size_t i = 1; i + 3 <= n; i++) {
    if (memcmp(p + i, MYNA__MARK, 3) != 0) continue;
    if (i < 3 || memcmp(p + i - 3, MYNA__MARK, 3) != 0) return true;
  }
  return false;
}

static void init_cut(myna__tokenizer *tk, const uint8_t *keep) {
  const myna__tokdata *t = tk->t;
  tk->cut_at_mark = true;
  if (t->model == MYNA__TOK_BPE && !t->escape_whitespaces) return;
  for (int32_t id = 0; id < t->n_tokens && tk->cut_at_mark && t->model == MYNA__TOK_SPM; id++)
    if (keep[id] && mark_inside(t->tokens[id].p, t->tokens[id].n)) tk->cut_at_mark = false;
  for (int64_t r = 0; r < t->n_merges && tk->cut_at_mark && t->merges && t->model == MYNA__TOK_BPE; r++) {
    myna__str m = t->merges[r];
    for (size_t i = 1; i + 3 <= m.n && tk->cut_at_mark; i++) {
      if (memcmp(m.p + i, MYNA__MARK, 3) != 0) continue;
      size_t before = m.p[i - 1] == ' ' ? i - 1 : i; /* the space between the two parts */
      if (before < 3 || memcmp(m.p + before - 3, MYNA__MARK, 3) != 0) tk->cut_at_mark = false;
    }
  }
}

static int init_merging(myna__tokenizer *tk, myna_err *err) {
  uint8_t *keep = mergeable(tk);
  if (!keep) return myna__err(err, MYNA_E_NOMEM, "no memory for %d tokens", tk->t->n_tokens);
  init_cut(tk, keep);
  tk->max_order = tk->t->model == MYNA__TOK_BPE ? (uint32_t)tk->t->n_merges : UINT32_MAX;
  int rc = myna__vocab_init(&tk->vocab, tk->t, keep, err);
  myna__free(keep, (size_t)tk->t->n_tokens);
  return rc;
}

static int init_bpe(myna__tokenizer *tk, myna_err *err) {
  TRY(myna__pretok_new(&tk->pretok, tk->t->pre, err));
  tk->pre_flags = myna__pretok_flags(tk->pretok);
  if (!tk->t->pre[0])
    myna__log(1, "the file names no pre-tokenizer (tokenizer.ggml.pre): using \"default\", which may not be what the "
                 "model was trained with");
  if (tk->pre_flags & MYNA__PRE_RAW) init_bytes(tk);
  return init_merging(tk, err);
}

static int init_model(myna__tokenizer *tk, myna_err *err) {
  const myna__tokdata *t = tk->t;
  switch (t->model) {
  case MYNA__TOK_BPE: return init_bpe(tk, err);
  case MYNA__TOK_SPM:
    init_bytes(tk);
    TRY(myna__charsmap_init(&tk->charsmap, t->charsmap, t->charsmap_len, err));
    return init_merging(tk, err);
  case MYNA__TOK_UNIGRAM:
    init_bytes(tk);
    TRY(myna__charsmap_init(&tk->charsmap, t->charsmap, t->charsmap_len, err));
    return myna__unigram_init(tk, err);
  case MYNA__TOK_WORDPIECE:
    return myna__err(err, MYNA_E_UNSUPPORTED, "WordPiece vocabularies (BERT) are not supported");
  default: return myna__err(err, MYNA_E_UNSUPPORTED, "the file has no tokenizer");
  }
}

static int32_t id_in_range(const myna__tokdata *t, int32_t id) { return id >= 0 && id < t->n_tokens ? id : -1; }

int myna__tokenizer_new(myna__tokenizer **out, const myna__tokdata *t, myna_err *err) {
  *out = NULL;
  bool vocabulary = t->model != MYNA__TOK_NONE && t->model != MYNA__TOK_WORDPIECE;
  if (vocabulary && (t->n_tokens <= 0 || !t->tokens))
    return myna__err(err, MYNA_E_FORMAT, "the vocabulary has no tokens");
  myna__tokenizer *tk = myna__calloc(sizeof *tk);
  static atomic_uint_fast64_t last_id;
  if (!tk) return myna__err(err, MYNA_E_NOMEM, "no memory for the tokenizer");
  tk->t = t;
  tk->id = (uint64_t)atomic_fetch_add(&last_id, 1) + 1;
  pthread_mutex_init(&tk->lock, NULL);
  tk->bos = id_in_range(t, t->bos);
  tk->eos = id_in_range(t, t->eos);
  tk->unk = id_in_range(t, t->unk);
  int rc = vocabulary ? init_kinds(tk, err) : 0;
  if (rc == 0) rc = init_model(tk, err);
  if (rc == 0) rc = myna__special_init(tk, err);
  if (rc != 0) {
    myna__tokenizer_free(tk);
    return rc;
  }
  *out = tk;
  return 0;
}

void myna__tokenizer_free(myna__tokenizer *tk) {
  if (!tk) return;
  if (tk->extra) tk->drop_extra(tk->extra);
  pthread_mutex_destroy(&tk->lock);
  if (tk->kind) myna__free(tk->kind, (size_t)tk->t->n_tokens);
  myna__vocab_free(&tk->vocab);
  myna__pretok_free(tk->pretok);
  myna__special_free(&tk->special);
  myna__trie_free(&tk->words);
  myna__free(tk, sizeof *tk);
}

const myna__tokdata *myna__tokenizer_data(const myna__tokenizer *tk) { return tk->t; }
uint64_t myna__tokenizer_id(const myna__tokenizer *tk) { return tk->id; }

void *myna__tokenizer_extra(const myna__tokenizer *tk, void *(*make)(const myna__tokenizer *tk),
                            void (*drop)(void *p)) {
  myna__tokenizer *t = (myna__tokenizer *)(uintptr_t)tk; /* to its users it is immutable */
  pthread_mutex_lock(&t->lock);
  if (!t->extra && (t->extra = make(tk))) t->drop_extra = drop;
  void *extra = t->extra;
  pthread_mutex_unlock(&t->lock);
  return extra;
}

bool myna__token_is_eog(const myna__tokenizer *tk, int32_t id) {
  const myna__tokdata *t = tk->t;
  if (id < 0 || id >= t->n_tokens) return false;
  if (id == t->eos || id == t->eot) return true;
  for (int i = 0; i < t->n_eog && i < (int)MYNA__COUNT(t->eog); i++)
    if (t->eog[i] == id) return true;
  return false;
}

/* ---- tokenizing ---- */

void *myna__vec_need(myna__tokcall *c, myna__vec *v, size_t n) {
  if (c->rc) return NULL;
  if (n <= v->cap && v->p) return v->p;
  size_t cap = MYNA__MAX(MYNA__MAX(n, v->cap + v->cap / 2), (size_t)256);
  void *p = myna__realloc(v->p, v->cap, cap);
  if (!p) {
    c->rc = myna__err(c->err, MYNA_E_NOMEM, "no memory to tokenize (%zu bytes)", cap);
    return NULL;
  }
  v->p = p;
  v->cap = cap;
  return p;
}

static void call_free(myna__tokcall *c) {
  myna__vec *all[] = {&c->clean, &c->match, &c->text, &c->symbols, &c->heap, &c->pool, &c->path, &c->parts};
  for (size_t i = 0; i < MYNA__COUNT(all); i++) myna__free(all[i]->p, all[i]->cap);
  myna__pretok_scratch_free(&c->pretok);
}

int64_t myna__tokenize(const myna__tokenizer *tk, const char *text, size_t n, const myna__tokenize_options *o,
                       int32_t *ids, int64_t cap, myna_err *err) {
  myna__tokenize_options opt = o ? *o : (myna__tokenize_options){0};
  if (n > MAX_TEXT) return myna__err(err, MYNA_E_LIMIT, "text of %zu bytes is longer than %d", n, MAX_TEXT);
  myna__tokcall c = {.tk = tk, .ids = ids, .cap = ids ? cap : 0, .err = err};
  if (opt.add_special && tk->t->add_bos && tk->bos >= 0) myna__push_id(&c, tk->bos);
  size_t n_parts = n ? myna__special_split(&c, text, n, opt.parse_special) : 0;
  /* SentencePiece BPE puts its space in front of the text and after each special token. */
  bool prefix = tk->t->add_space_prefix;
  for (size_t i = 0; i < n_parts && c.rc == 0; i++) {
    myna__part part = ((const myna__part *)c.parts.p)[i];
    const char *p = text + part.start;
    if (part.id >= 0)
      myna__push_id(&c, part.id);
    else if (tk->t->model == MYNA__TOK_BPE)
      myna__bpe_text(&c, p, part.len);
    else if (tk->t->model == MYNA__TOK_SPM)
      myna__spm_text(&c, p, part.len, prefix);
    else
      myna__unigram_text(&c, p, part.len);
    prefix = tk->t->add_space_prefix && part.id >= 0;
  }
  if (opt.add_special && tk->t->add_eos && tk->eos >= 0) myna__push_id(&c, tk->eos);
  call_free(&c);
  return c.rc ? c.rc : c.n;
}
