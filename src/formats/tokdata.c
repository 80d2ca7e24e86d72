/* tokdata.c: the tokenizer of a GGUF as plain data: arrays checked against each other, ids against the vocabulary,
 * defaults of each kind, special tokens by key.
 * Defaults follow llama.cpp (src/llama-vocab.cpp, August 2026), since files were made to be read by it; deviations:
 * a BPE file without bos or eos key has none (not token 11), and an out-of-range bos or eos is an error. */
#include "formats/tokdata.h"
#include <math.h>

enum { MAX_TOKEN = 1 << 20 /* bytes */ };

/* ---- kinds and their defaults ---- */

typedef struct kind {
  const char *name; /* tokenizer.ggml.model */
  myna__tok_model model;
  int32_t bos, eos, unk, sep, pad, mask;
  bool add_bos, add_eos, add_sep, add_space_prefix, escape_whitespaces;
} kind;

static const kind kinds[] = {
    {"llama", MYNA__TOK_SPM, 1, 2, 0, -1, -1, -1, true, false, false, true, true},
    {"gpt2", MYNA__TOK_BPE, -1, -1, -1, -1, -1, -1, false, false, false, false, false},
    {"gemma4", MYNA__TOK_BPE, -1, -1, -1, -1, -1, -1, false, false, false, false, false},
    {"t5", MYNA__TOK_UNIGRAM, -1, 1, 2, -1, 0, -1, false, true, false, false, true},
    {"bert", MYNA__TOK_WORDPIECE, 101, -1, 100, 102, 0, 103, true, false, true, false, true},
};

/* What tokenizer.ggml.pre changes. */
static const struct {
  const char *pre;
  bool add_bos, force_bos, add_sep, escape_whitespaces;
} pres[] = {
    {"llama3", .add_bos = true},
    {"llama-v3", .add_bos = true},
    {"llama-bpe", .add_bos = true},
    {"falcon3", .add_bos = true},
    {"falcon-h1", .add_bos = true},
    {"pixtral", .add_bos = true},
    {"midm-2.0", .add_bos = true},
    {"lfm2", .add_bos = true},
    {"jina-v5-nano", .add_bos = true},
    {"tekken", .add_bos = true},
    {"chameleon", .add_bos = true},
    {"jina-v1-en", .add_sep = true},
    {"jina-v2-code", .add_sep = true},
    {"roberta-bpe", .add_sep = true},
    {"sarvam-moe", .escape_whitespaces = true},
    /* files whose add_bos_token says false are known to be wrong */
    {"gemma4", .force_bos = true, .escape_whitespaces = true},
    {"granite-embed-multi-311m", .force_bos = true, .escape_whitespaces = true},
};

#define KEY(name) "tokenizer.ggml." name

static const kind *find_kind(myna__str model) {
  for (size_t i = 0; i < MYNA__COUNT(kinds); i++)
    if (myna__str_eq(model, kinds[i].name)) return &kinds[i];
  return NULL;
}

static int read_pre(myna__tokdata *t, const myna__gguf *g, const kind *k, myna_err *err) {
  myna__str pre = {0};
  TRY_N(myna__gguf_str(g, KEY("pre"), &pre, err));
  if (strcmp(k->name, "gemma4") == 0) pre = (myna__str){"gemma4", 6};
  if (pre.n >= sizeof t->pre || (pre.n && memchr(pre.p, 0, pre.n)))
    return myna__gguf_kv_fail(g, myna__gguf_find(g, KEY("pre")), err, "%zu bytes are no pre-tokenizer name", pre.n);
  if (pre.n) memcpy(t->pre, pre.p, pre.n);
  return 0;
}

static void set_defaults(myna__tokdata *t, const kind *k) {
  t->model = k->model;
  t->bos = k->bos, t->eos = k->eos, t->unk = k->unk, t->sep = k->sep, t->pad = k->pad, t->mask = k->mask;
  t->add_bos = k->add_bos, t->add_eos = k->add_eos, t->add_sep = k->add_sep;
  t->add_space_prefix = k->add_space_prefix;
  t->escape_whitespaces = k->escape_whitespaces;
  t->lowercase = k->model == MYNA__TOK_WORDPIECE;
  for (size_t i = 0; i < MYNA__COUNT(pres) && k->model == MYNA__TOK_BPE; i++) {
    if (strcmp(t->pre, pres[i].pre) != 0) continue;
    t->add_bos = pres[i].add_bos;
    t->add_sep = pres[i].add_sep;
    t->escape_whitespaces = pres[i].escape_whitespaces;
  }
}

/* ---- arrays ---- */

/* The array under key, NULL when absent; its elements must be of one of the two types. */
static int find_array(const myna__gguf *g, const char *key, myna__gguf_type type, myna__gguf_type or_type,
                      const myna__gguf_kv **out, myna_err *err) {
  const myna__gguf_kv *kv = *out = myna__gguf_find(g, key);
  if (!kv || (kv->type == MYNA__GGUF_ARR && (kv->elem == type || kv->elem == or_type))) return 0;
  bool array = kv->type == MYNA__GGUF_ARR;
  return myna__gguf_kv_fail(g, kv, err, "expected an array of %s, found %s%s", myna__gguf_type_name(type),
                            array ? "an array of " : "", myna__gguf_type_name(array ? kv->elem : kv->type));
}

static int no_memory(const char *what, myna_err *err) {
  return myna__err(err, MYNA_E_NOMEM, "no memory for the %s", what);
}

static int read_strings(const myna__gguf *g, const myna__gguf_kv *kv, const char *what, myna__str **out,
                        myna_err *err) {
  if (kv->count == 0) return 0;
  myna__str *s = *out = myna__alloc((size_t)kv->count * sizeof *s);
  if (!s) return no_memory(what, err);
  const uint8_t *p = kv->data;
  size_t longest = 0;
  for (uint64_t i = 0; i < kv->count; i++) {
    s[i] = myna__gguf_next_str(&p);
    longest = MYNA__MAX(longest, s[i].n);
  }
  if (longest > MAX_TOKEN) return myna__gguf_kv_fail(g, kv, err, "an element of %zu bytes is no token", longest);
  return 0;
}

static int read_tokens(myna__tokdata *t, const myna__gguf *g, myna_err *err) {
  const myna__gguf_kv *kv;
  TRY_N(find_array(g, KEY("tokens"), MYNA__GGUF_STR, MYNA__GGUF_STR, &kv, err));
  if (!kv) return myna__err_at(err, MYNA_E_FORMAT, g->files[0].path, -1, "key 'tokenizer.ggml.tokens' is missing");
  if (kv->count == 0 || kv->count > INT32_MAX)
    return myna__gguf_kv_fail(g, kv, err, "a vocabulary of %llu tokens", (unsigned long long)kv->count);
  t->n_tokens = (int32_t)kv->count; /* before the allocation: free needs it */
  return read_strings(g, kv, "tokens", &t->tokens, err);
}

static int check_count(const myna__tokdata *t, const myna__gguf *g, const myna__gguf_kv *kv, myna_err *err) {
  if (kv->count == (uint64_t)t->n_tokens) return 0;
  return myna__gguf_kv_fail(g, kv, err, "%llu elements for %d tokens", (unsigned long long)kv->count, t->n_tokens);
}

static int read_scores(myna__tokdata *t, const myna__gguf *g, myna_err *err) {
  const myna__gguf_kv *kv;
  TRY_N(find_array(g, KEY("scores"), MYNA__GGUF_F32, MYNA__GGUF_F32, &kv, err));
  bool needed = t->model == MYNA__TOK_SPM || t->model == MYNA__TOK_UNIGRAM;
  if (!kv && needed)
    return myna__err_at(err, MYNA_E_FORMAT, g->files[0].path, -1, "key 'tokenizer.ggml.scores' is missing");
  if (!kv) return 0;
  TRY(check_count(t, g, kv, err));
  t->scores = myna__alloc((size_t)t->n_tokens * sizeof *t->scores);
  if (!t->scores) return no_memory("scores", err);
  memcpy(t->scores, kv->data, (size_t)t->n_tokens * sizeof *t->scores);
  for (int32_t i = 0; i < t->n_tokens; i++)
    if (isnan(t->scores[i])) return myna__gguf_kv_fail(g, kv, err, "score %d is not a number", i);
  return 0;
}

static int read_types(myna__tokdata *t, const myna__gguf *g, myna_err *err) {
  const myna__gguf_kv *kv;
  TRY_N(find_array(g, KEY("token_type"), MYNA__GGUF_I32, MYNA__GGUF_U32, &kv, err));
  if (kv) TRY(check_count(t, g, kv, err));
  t->types = myna__alloc((size_t)t->n_tokens);
  if (!t->types) return no_memory("token types", err);
  memset(t->types, MYNA__TOKTYPE_NORMAL, (size_t)t->n_tokens);
  for (int32_t i = 0; kv && i < t->n_tokens; i++) {
    uint32_t type;
    memcpy(&type, kv->data + 4 * (size_t)i, 4);
    t->types[i] = type <= MYNA__TOKTYPE_BYTE ? (uint8_t)type : MYNA__TOKTYPE_UNDEFINED;
  }
  return 0;
}

static int read_merges(myna__tokdata *t, const myna__gguf *g, myna_err *err) {
  const myna__gguf_kv *kv;
  TRY_N(find_array(g, KEY("merges"), MYNA__GGUF_STR, MYNA__GGUF_STR, &kv, err));
  if (kv) {
    t->n_merges = (int64_t)kv->count;
    return read_strings(g, kv, "merges", &t->merges, err);
  }
  /* Kimi K2's pre-tokenizer works without */
  if (t->model != MYNA__TOK_BPE || strcmp(t->pre, "kimi-k2") == 0) return 0;
  return myna__err_at(err, MYNA_E_FORMAT, g->files[0].path, -1, "key 'tokenizer.ggml.merges' is missing");
}

/* u32 trie bytes | trie | replacement strings */
static int read_charsmap(myna__tokdata *t, const myna__gguf *g, myna_err *err) {
  const myna__gguf_kv *kv;
  uint32_t trie;
  TRY_N(find_array(g, KEY("precompiled_charsmap"), MYNA__GGUF_U8, MYNA__GGUF_I8, &kv, err));
  if (!kv || kv->count == 0) return 0;
  if (kv->count < sizeof trie)
    return myna__gguf_kv_fail(g, kv, err, "%llu bytes are too few", (unsigned long long)kv->count);
  memcpy(&trie, kv->data, sizeof trie);
  if (trie % 4 || trie >= kv->count - sizeof trie)
    return myna__gguf_kv_fail(g, kv, err, "a trie of %u bytes in a map of %llu", trie, (unsigned long long)kv->count);
  t->charsmap = kv->data;
  t->charsmap_len = (size_t)kv->count;
  return 0;
}

/* ---- special tokens and flags by key ---- */

/* A default that the vocabulary is too small for is none. A file's "none" is -1 or 2^32 - 1; other ids out of range
 * are an error where they matter for every text, else the role stays empty, as in llama.cpp. */
static int read_id(const myna__tokdata *t, const myna__gguf *g, const char *key, bool essential, int32_t *id,
                   myna_err *err) {
  int64_t v;
  if (*id >= t->n_tokens) *id = -1;
  int found = myna__gguf_i64(g, key, &v, err);
  if (found <= 0) return found;
  if (v == -1 || v == UINT32_MAX) {
    *id = -1;
  } else if (v >= 0 && v < t->n_tokens) {
    *id = (int32_t)v;
  } else if (essential) {
    return myna__gguf_kv_fail(g, myna__gguf_find(g, key), err, "token %lld of %d", (long long)v, t->n_tokens);
  } else {
    myna__log(1, "%s: key '%s': token %lld of %d, ignored", g->files[0].path, key, (long long)v, t->n_tokens);
  }
  return 0;
}

static int read_ids(myna__tokdata *t, const myna__gguf *g, myna_err *err) {
  const struct {
    const char *key;
    int32_t *id;
  } ids[] = {
      {KEY("bos_token_id"), &t->bos},         {KEY("eos_token_id"), &t->eos},
      {KEY("eot_token_id"), &t->eot},         {KEY("eom_token_id"), &t->eom},
      {KEY("unknown_token_id"), &t->unk},     {KEY("padding_token_id"), &t->pad},
      {KEY("seperator_token_id"), &t->sep}, /* spelt so in files */
      {KEY("separator_token_id"), &t->sep},   {KEY("cls_token_id"), &t->cls},
      {KEY("mask_token_id"), &t->mask},       {KEY("prefix_token_id"), &t->fim_pre},
      {KEY("suffix_token_id"), &t->fim_suf},  {KEY("middle_token_id"), &t->fim_mid},
      {KEY("fim_pre_token_id"), &t->fim_pre}, {KEY("fim_suf_token_id"), &t->fim_suf},
      {KEY("fim_mid_token_id"), &t->fim_mid}, {KEY("fim_pad_token_id"), &t->fim_pad},
      {KEY("fim_rep_token_id"), &t->fim_rep}, {KEY("fim_sep_token_id"), &t->fim_sep},
  };
  for (size_t i = 0; i < MYNA__COUNT(ids); i++) TRY(read_id(t, g, ids[i].key, i < 2, ids[i].id, err));
  if (t->model == MYNA__TOK_WORDPIECE && t->cls < 0) t->cls = t->bos;
  return 0;
}

static int read_flags(myna__tokdata *t, const myna__gguf *g, myna_err *err) {
  int found = myna__gguf_bool(g, KEY("add_bos_token"), &t->add_bos, err);
  if (found < 0) return found;
  t->add_bos_set = found;
  TRY_N(myna__gguf_bool(g, KEY("add_eos_token"), &t->add_eos, err));
  TRY_N(myna__gguf_bool(g, KEY("add_sep_token"), &t->add_sep, err));
  TRY_N(myna__gguf_bool(g, KEY("add_space_prefix"), &t->add_space_prefix, err));
  TRY_N(myna__gguf_bool(g, KEY("remove_extra_whitespaces"), &t->remove_extra_whitespaces, err));
  TRY_N(myna__gguf_bool(g, KEY("normalizer.lowercase"), &t->lowercase, err));
  t->strip_accents = t->lowercase;
  TRY_N(myna__gguf_bool(g, KEY("normalizer.strip_accents"), &t->strip_accents, err));
  for (size_t i = 0; i < MYNA__COUNT(pres) && t->model == MYNA__TOK_BPE; i++)
    if (pres[i].force_bos && strcmp(t->pre, pres[i].pre) == 0) t->add_bos = true;
  return 0;
}

/* ---- special tokens by text ---- */

enum { NO_ROLE, EOT, EOM, FIM_PRE, FIM_SUF, FIM_MID, FIM_PAD, FIM_REP, FIM_SEP, SHOWN };

/* Converters often leave the keys out, so engines know the texts. `sure`: no ordinary token looks like this, it counts
 * whatever type the file gives it; the others only as CONTROL. Within a role the first row wins. */
#define T(text) text, sizeof text - 1
static const struct {
  const char *text;
  uint8_t n, role;
  bool ends, sure;
} specials[] = {
    {T("<|eot_id|>"), EOT, true, true},
    {T("<|im_end|>"), EOT, true, true},
    {T("<|end|>"), EOT, true, true},
    {T("<end_of_turn>"), EOT, true, true},
    {T("<|end_of_text|>"), EOT, true, true},
    {T("<|endoftext|>"), EOT, true, true},
    {T("<end_of_utterance>"), EOT, true, true},
    {T("<｜end▁of▁sentence｜>"), EOT, true, true},
    {T("<EOT>"), EOT, true, false},
    {T("_<EOT>"), EOT, true, false},
    {T("▁<EOT>"), EOT, true, false},
    {T("[EOT]"), EOT, true, false},
    {T("<|eom_id|>"), EOM, true, true},
    {T("<|return|>"), NO_ROLE, true, true},
    {T("<|call|>"), NO_ROLE, true, true},
    {T("<|calls|>"), NO_ROLE, true, true},
    {T("<|flush|>"), NO_ROLE, true, true},
    {T("<turn|>"), NO_ROLE, true, true},
    {T("<|tool_response>"), NO_ROLE, true, true},
    {T("</s>"), NO_ROLE, true, false},
    {T("<eos>"), NO_ROLE, true, false},
    {T("[EOS]"), NO_ROLE, true, false},
    {T("[e~["), NO_ROLE, true, false},
    {T("<|fim_prefix|>"), FIM_PRE, false, true},
    {T("<fim-prefix>"), FIM_PRE, false, true},
    {T("<fim_prefix>"), FIM_PRE, false, true},
    {T("<｜fim▁begin｜>"), FIM_PRE, false, true},
    {T("<|code_prefix|>"), FIM_PRE, false, true},
    {T("<|prefix|>"), FIM_PRE, false, true},
    {T("▁<PRE>"), FIM_PRE, false, false},
    {T("<PRE>"), FIM_PRE, false, false},
    {T("<|fim_suffix|>"), FIM_SUF, false, true},
    {T("<fim-suffix>"), FIM_SUF, false, true},
    {T("<fim_suffix>"), FIM_SUF, false, true},
    {T("<｜fim▁hole｜>"), FIM_SUF, false, true},
    {T("<|code_suffix|>"), FIM_SUF, false, true},
    {T("<|suffix|>"), FIM_SUF, false, true},
    {T("▁<SUF>"), FIM_SUF, false, false},
    {T("<SUF>"), FIM_SUF, false, false},
    {T("<|fim_middle|>"), FIM_MID, false, true},
    {T("<fim-middle>"), FIM_MID, false, true},
    {T("<fim_middle>"), FIM_MID, false, true},
    {T("<｜fim▁end｜>"), FIM_MID, false, true},
    {T("<|code_middle|>"), FIM_MID, false, true},
    {T("<|middle|>"), FIM_MID, false, true},
    {T("▁<MID>"), FIM_MID, false, false},
    {T("<MID>"), FIM_MID, false, false},
    {T("<|fim_pad|>"), FIM_PAD, false, true},
    {T("<fim-pad>"), FIM_PAD, false, true},
    {T("<fim_pad>"), FIM_PAD, false, true},
    {T("<PAD>"), FIM_PAD, false, false},
    {T("[PAD]"), FIM_PAD, false, false},
    {T("<|fim_repo|>"), FIM_REP, false, true},
    {T("<|repo_name|>"), FIM_REP, false, true},
    {T("<fim-repo>"), FIM_REP, false, true},
    {T("<REPO>"), FIM_REP, false, false},
    {T("<reponame>"), FIM_REP, false, false},
    {T("<|file_sep|>"), FIM_SEP, false, true},
    /* markers of harmony messages (gpt-oss): parsers need to see them, so they are not CONTROL */
    {T("<|channel|>"), SHOWN, false, true},
    {T("<|message|>"), SHOWN, false, true},
    {T("<|start|>"), SHOWN, false, true},
    {T("<|constrain|>"), SHOWN, false, true},
};
#undef T

enum { N_SPECIALS = MYNA__COUNT(specials), MIN_SPECIAL = 4, MAX_SPECIAL = 32 };

_Static_assert(N_SPECIALS <= 64, "a bit per row");

/* The row of a text, -1 for nearly all of them: looked at are only those that start and end like one; rows of each length are a bit mask. */
static int find_special_text(myna__str s, const uint64_t rows[MAX_SPECIAL + 1]) {
  if (s.n < MIN_SPECIAL || s.n > MAX_SPECIAL) return -1;
  char first = s.p[0], last = s.p[s.n - 1];
  if ((last != '>' && last != ']' && last != '[') || (first != '<' && first != '[' && first != '_' && first != "▁"[0]))
    return -1;
  for (uint64_t rest = rows[s.n]; rest; rest &= rest - 1) {
    int row = __builtin_ctzll(rest);
    if (s.p[1] == specials[row].text[1] && memcmp(s.p, specials[row].text, s.n) == 0) return row;
  }
  return -1;
}

static void add_eog(myna__tokdata *t, int32_t id) {
  int i = 0;
  if (id < 0 || t->n_eog == MYNA__TOK_MAX_EOG) return;
  while (i < t->n_eog && t->eog[i] < id) i++;
  if (i < t->n_eog && t->eog[i] == id) return;
  memmove(t->eog + i + 1, t->eog + i, (size_t)(t->n_eog++ - i) * sizeof *t->eog);
  t->eog[i] = id;
}

static void remove_eog(myna__tokdata *t, int32_t id, myna__tok_type type) {
  for (int i = 0; i < t->n_eog; i++)
    if (t->eog[i] == id) {
      memmove(t->eog + i, t->eog + i + 1, (size_t)(--t->n_eog - i) * sizeof *t->eog);
      t->types[id] = (uint8_t)type;
      return;
    }
}

static int32_t id_of(const int32_t found[N_SPECIALS], const char *text) {
  for (int row = 0; row < N_SPECIALS; row++)
    if (strcmp(specials[row].text, text) == 0) return found[row];
  return -1;
}

/* Ids of the rows by text; types of what was found become what they should be. */
static void find_texts(myna__tokdata *t, int32_t found[N_SPECIALS]) {
  uint64_t rows[MAX_SPECIAL + 1] = {0};
  memset(found, -1, N_SPECIALS * sizeof *found);
  for (int row = 0; row < N_SPECIALS; row++) rows[specials[row].n] |= 1ull << row;
  for (int32_t id = 0; id < t->n_tokens; id++) {
    int row = find_special_text(t->tokens[id], rows);
    if (row < 0 || found[row] >= 0 || !(specials[row].sure || t->types[id] == MYNA__TOKTYPE_CONTROL)) continue;
    found[row] = id;
    t->types[id] = specials[row].role == SHOWN ? MYNA__TOKTYPE_USER : MYNA__TOKTYPE_CONTROL;
  }
}

void myna__tokdata_find_special(myna__tokdata *t) {
  int32_t found[N_SPECIALS], none;
  int32_t *roles[] = {
      [NO_ROLE] = &none,       [EOT] = &t->eot,         [EOM] = &t->eom,         [FIM_PRE] = &t->fim_pre,
      [FIM_SUF] = &t->fim_suf, [FIM_MID] = &t->fim_mid, [FIM_PAD] = &t->fim_pad, [FIM_REP] = &t->fim_rep,
      [FIM_SEP] = &t->fim_sep, [SHOWN] = &none};
  find_texts(t, found);
  t->n_eog = 0;
  for (int row = 0; row < N_SPECIALS; row++) {
    int32_t *role = roles[specials[row].role];
    if (role != &none && *role < 0) *role = found[row];
    if (specials[row].ends) add_eog(t, found[row]);
  }
  const int32_t by_role[] = {t->eos, t->eot, t->eom, t->fim_pad, t->fim_rep, t->fim_sep};
  for (size_t i = 0; i < MYNA__COUNT(by_role); i++) add_eog(t, by_role[i]);
  /* harmony and solar-open end a message with <|end|>, the turn goes on; in Gemma 4 </s> is text */
  bool call = id_of(found, "<|call|>") >= 0 || id_of(found, "<|calls|>") >= 0;
  if (call && (id_of(found, "<|return|>") >= 0 || id_of(found, "<|flush|>") >= 0)) {
    int32_t end = id_of(found, "<|end|>");
    remove_eog(t, end, MYNA__TOKTYPE_USER);
    if (t->eot == end) t->eot = -1;
  }
  if (id_of(found, "<|tool_response>") >= 0) remove_eog(t, id_of(found, "</s>"), MYNA__TOKTYPE_NORMAL);
}

/* ---- all together ---- */

static int read_all(myna__tokdata *t, const myna__gguf *g, const kind *k, myna_err *err) {
  TRY(read_pre(t, g, k, err));
  set_defaults(t, k);
  TRY(read_tokens(t, g, err));
  TRY(read_scores(t, g, err));
  TRY(read_types(t, g, err));
  TRY(read_merges(t, g, err));
  TRY(read_charsmap(t, g, err));
  TRY(read_ids(t, g, err));
  TRY(read_flags(t, g, err));
  myna__tokdata_find_special(t);
  return 0;
}

int myna__tokdata_from_gguf(myna__tokdata *t, const myna__gguf *g, myna_err *err) {
  *t = (myna__tokdata){.bos = -1,
                       .eos = -1,
                       .eot = -1,
                       .unk = -1,
                       .pad = -1,
                       .sep = -1,
                       .cls = -1,
                       .mask = -1,
                       .eom = -1,
                       .fim_pre = -1,
                       .fim_suf = -1,
                       .fim_mid = -1,
                       .fim_pad = -1,
                       .fim_rep = -1,
                       .fim_sep = -1};
  myna__str model;
  TRY_N(myna__gguf_str(g, "tokenizer.chat_template", &t->chat_template, err));
  int found = myna__gguf_str(g, KEY("model"), &model, err);
  if (found <= 0) return found;
  if (myna__str_eq(model, "none") || myna__str_eq(model, "no_vocab")) return 0;
  const kind *k = find_kind(model);
  if (!k) {
    char quote[MYNA__QUOTE];
    return myna__err_at(err, MYNA_E_UNSUPPORTED, g->files[0].path,
                        myna__gguf_find(g, KEY("model"))->data - g->files[0].data,
                        "key '" KEY("model") "': tokenizer '%s' is not supported", myna__str_quote(quote, model));
  }
  int rc = read_all(t, g, k, err);
  if (rc < 0) myna__tokdata_free(t);
  return rc;
}

void myna__tokdata_free(myna__tokdata *t) {
  myna__free(t->tokens, (size_t)t->n_tokens * sizeof *t->tokens);
  myna__free(t->scores, (size_t)t->n_tokens * sizeof *t->scores);
  myna__free(t->types, (size_t)t->n_tokens);
  myna__free(t->merges, (size_t)t->n_merges * sizeof *t->merges);
  *t = (myna__tokdata){0};
}
