/* Tokenizer data from GGUF: every model kind with its defaults, arrays against each other, ids, special tokens by key
 * and by text, hostile files, the shared vocabularies, failing memory. */
#include "gguf_writer.h"
#include "formats/tokdata.h"

#define KEY(name) "tokenizer.ggml." name

static myna__gguf open_gguf;
static gw_bytes open_bytes;

/* Parses what was written and reads the tokenizer; close_tok ends both. */
static int read_tok(gw *w, myna__tokdata *t, myna_err *err) {
  open_bytes = gw_finish(w);
  *err = (myna_err){0};
  ASSERT_OK_ERR(myna__gguf_parse(&open_gguf, open_bytes.p, open_bytes.n, "tok", err), err);
  int rc = myna__tokdata_from_gguf(t, &open_gguf, err);
  assert_true(rc <= 0);
  return rc;
}

static void close_tok(myna__tokdata *t) {
  myna__tokdata_free(t);
  assert_true(t->tokens == NULL && t->n_tokens == 0);
  myna__gguf_close(&open_gguf);
  free(open_bytes.p);
}

/* A vocabulary of these texts; types NULL leaves the key out. */
static gw vocab(const char *model, const char *const *texts, const int32_t *types, size_t n) {
  gw w = gw_new(3);
  float scores[64] = {0};
  for (size_t i = 0; i < n; i++) scores[i] = -(float)i;
  gw_str(&w, KEY("model"), model);
  gw_strs(&w, KEY("tokens"), texts, n);
  if (types) gw_arr(&w, KEY("token_type"), GW_I32, n, types, 4 * n);
  if (strcmp(model, "llama") == 0 || strcmp(model, "t5") == 0) gw_arr(&w, KEY("scores"), GW_F32, n, scores, 4 * n);
  if (strcmp(model, "gpt2") == 0 || strcmp(model, "gemma4") == 0)
    gw_strs(&w, KEY("merges"), (const char *[]){"a b", "ab c"}, 2);
  return w;
}

static const char *const plain[] = {"<unk>", "<s>", "</s>", "a", "b"};
static gw plain_vocab(const char *model) { return vocab(model, plain, NULL, 5); }

static void test_none(void **state) {
  myna__tokdata t;
  myna_err err;
  for (int k = 0; k < 3; k++) {
    gw w = gw_new(3);
    if (k) gw_str(&w, KEY("model"), k == 1 ? "none" : "no_vocab");
    gw_str(&w, "tokenizer.chat_template", "hello");
    ASSERT_OK(read_tok(&w, &t, &err));
    assert_int_equal(t.model, MYNA__TOK_NONE);
    assert_true(t.eom == -1 && t.fim_pre == -1 && t.fim_suf == -1 && t.fim_mid == -1 && t.fim_pad == -1 &&
                t.fim_rep == -1);
    assert_true(t.eot == -1 && t.sep == -1 && t.cls == -1 && t.mask == -1 && t.tokens == NULL);
    assert_true(t.n_tokens == 0 && t.bos == -1 && t.eos == -1 && t.unk == -1 && t.pad == -1 && t.fim_sep == -1 &&
                t.n_eog == 0);
    assert_true(myna__str_eq(t.chat_template, "hello"));
    close_tok(&t);
  }
  static const char *const others[] = {"rwkv", "plamo2", "", "gpt", "gpt22"};
  for (size_t k = 0; k < MYNA__COUNT(others); k++) {
    gw w = plain_vocab(others[k]);
    char want[64];
    snprintf(want, sizeof want, "tokenizer '%s' is not supported", others[k]);
    ASSERT_FAILS(read_tok(&w, &t, &err), MYNA_E_UNSUPPORTED, &err, want);
    assert_true(err.offset > 24 && strcmp(err.file, "tok") == 0);
    close_tok(&t);
  }
}

static void test_spm(void **state) {
  static const int32_t types[] = {2, 3, 3, 1, 6};
  gw w = vocab("llama", plain, types, 5);
  myna__tokdata t;
  myna_err err;
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_int_equal(t.model, MYNA__TOK_SPM);
  assert_int_equal(t.n_tokens, 5);
  for (int i = 0; i < 5; i++) {
    assert_true(myna__str_eq(t.tokens[i], plain[i]));
    assert_true(t.scores[i] == -(float)i);
    assert_int_equal(t.types[i], types[i]);
  }
  assert_true(t.bos == 1 && t.eos == 2 && t.unk == 0 && t.pad == -1 && t.eot == -1 && t.cls == -1);
  assert_true(t.n_eog == 1 && t.eog[0] == 2);
  assert_true(t.add_bos && !t.add_bos_set && !t.add_eos && !t.add_sep && t.add_space_prefix && t.escape_whitespaces);
  assert_false(t.remove_extra_whitespaces);
  assert_true(t.merges == NULL && t.charsmap == NULL && t.pre[0] == 0 && t.chat_template.n == 0);
  close_tok(&t);
}

static void test_bpe(void **state) {
  gw w = plain_vocab("gpt2");
  gw_str(&w, KEY("pre"), "qwen2");
  myna__tokdata t;
  myna_err err;
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_int_equal(t.model, MYNA__TOK_BPE);
  assert_string_equal(t.pre, "qwen2");
  assert_int_equal(t.n_merges, 2);
  assert_true(myna__str_eq(t.merges[0], "a b") && myna__str_eq(t.merges[1], "ab c"));
  assert_true(t.bos == -1 && t.eos == -1 && t.unk == -1 && t.n_eog == 0 && t.scores == NULL);
  for (int i = 0; i < 5; i++) assert_int_equal(t.types[i], MYNA__TOKTYPE_NORMAL);
  assert_true(!t.add_bos && !t.add_eos && !t.add_space_prefix && !t.escape_whitespaces);
  close_tok(&t);

  static const struct {
    const char *pre;
    bool add_bos, add_sep, escape;
  } pres[] = {{"llama3", true, false, false},
              {"llama-v3", true, false, false},
              {"llama-bpe", true, false, false},
              {"falcon3", true, false, false},
              {"falcon-h1", true, false, false},
              {"pixtral", true, false, false},
              {"midm-2.0", true, false, false},
              {"lfm2", true, false, false},
              {"jina-v5-nano", true, false, false},
              {"tekken", true, false, false},
              {"chameleon", true, false, false},
              {"jina-v1-en", false, true, false},
              {"jina-v2-code", false, true, false},
              {"roberta-bpe", false, true, false},
              {"sarvam-moe", false, false, true},
              {"gemma4", true, false, true},
              {"granite-embed-multi-311m", true, false, true},
              {"gpt-2", false, false, false},
              {"falcon", false, false, false},
              {"llama4", false, false, false}};
  for (size_t i = 0; i < MYNA__COUNT(pres); i++) {
    w = plain_vocab("gpt2");
    gw_str(&w, KEY("pre"), pres[i].pre);
    ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
    assert_true(t.add_bos == pres[i].add_bos && t.add_sep == pres[i].add_sep && t.escape_whitespaces == pres[i].escape);
    close_tok(&t);
  }
  /* the file's word is the last, except where such files are known to be wrong */
  w = plain_vocab("gpt2");
  gw_str(&w, KEY("pre"), "llama3");
  gw_bool(&w, KEY("add_bos_token"), 0);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_true(!t.add_bos && t.add_bos_set == 1);
  close_tok(&t);
  w = plain_vocab("gemma4");
  gw_bool(&w, KEY("add_bos_token"), 0);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_string_equal(t.pre, "gemma4");
  assert_true(t.model == MYNA__TOK_BPE && t.add_bos && t.add_bos_set && t.escape_whitespaces);
  close_tok(&t);
}

static void test_unigram_and_wordpiece(void **state) {
  myna__tokdata t;
  myna_err err;
  gw w = plain_vocab("t5");
  uint8_t map[] = {4, 0, 0, 0, 1, 2, 3, 4, 'x', 0};
  gw_arr(&w, KEY("precompiled_charsmap"), GW_U8, sizeof map, map, sizeof map);
  gw_bool(&w, KEY("add_space_prefix"), 1);
  gw_bool(&w, KEY("remove_extra_whitespaces"), 1);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_true(t.model == MYNA__TOK_UNIGRAM && t.bos == -1 && t.eos == 1 && t.unk == 2 && t.pad == 0);
  assert_true(!t.add_bos && t.add_eos && t.add_space_prefix && t.remove_extra_whitespaces && t.escape_whitespaces);
  assert_int_equal(t.charsmap_len, sizeof map);
  assert_memory_equal(t.charsmap, map, sizeof map);
  close_tok(&t);

  w = plain_vocab("bert"); /* too small for the default ids */
  gw_u32(&w, KEY("seperator_token_id"), 3);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_true(t.model == MYNA__TOK_WORDPIECE && t.bos == -1 && t.unk == -1 && t.sep == 3 && t.pad == 0 &&
              t.mask == -1 && t.cls == -1);
  assert_true(t.add_bos && t.add_sep && !t.add_eos && t.lowercase && t.strip_accents);
  close_tok(&t);
  w = plain_vocab("bert");
  gw_u32(&w, KEY("bos_token_id"), 4);
  gw_bool(&w, KEY("normalizer.lowercase"), 0);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_true(t.cls == 4 && !t.lowercase && !t.strip_accents);
  close_tok(&t);
  w = plain_vocab("bert");
  gw_u32(&w, KEY("bos_token_id"), 4);
  gw_u32(&w, KEY("cls_token_id"), 2);
  gw_bool(&w, KEY("normalizer.strip_accents"), 0);
  gw_bool(&w, KEY("add_sep_token"), 0);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_true(t.cls == 2 && t.lowercase && !t.strip_accents && !t.add_sep);
  close_tok(&t);
}

static int n_warnings;
static void count_warning(void *user, int level, const char *line) {
  if (level == 1 && strstr(line, "token_id")) n_warnings++;
}

static void test_ids(void **state) {
  static const char *const keys[] = {"bos",  "eos",     "eot",     "eom",     "unknown", "padding", "seperator", "cls",
                                     "mask", "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep"};
  myna__tokdata t;
  myna_err err;
  for (size_t k = 0; k < MYNA__COUNT(keys); k++)
    for (int kind = 0; kind < 5; kind++) {
      /* in range; none, two ways; first one out of range; far out of range */
      static const int64_t values[] = {4, -1, UINT32_MAX, 5, 1 << 30};
      gw w = plain_vocab("gpt2");
      char key[64];
      snprintf(key, sizeof key, KEY("%s_token_id"), keys[k]);
      gw_num(&w, key, GW_I64, (uint64_t)values[kind]);
      n_warnings = 0;
      myna_set_log(count_warning, NULL);
      int rc = read_tok(&w, &t, &err);
      myna_set_log(NULL, NULL);
      if (kind >= 3 && k < 2) {
        assert_int_equal(rc, MYNA_E_FORMAT);
        snprintf(key, sizeof key, "key '" KEY("%s_token_id") "': token %lld of 5", keys[k], (long long)values[kind]);
        assert_string_equal(err.msg, key);
      } else {
        const int32_t *ids[] = {&t.bos,  &t.eos,     &t.eot,     &t.eom,     &t.unk,     &t.pad,     &t.sep,    &t.cls,
                                &t.mask, &t.fim_pre, &t.fim_suf, &t.fim_mid, &t.fim_pad, &t.fim_rep, &t.fim_sep};
        ASSERT_OK_ERR(rc, &err);
        for (size_t i = 0; i < MYNA__COUNT(keys); i++) assert_int_equal(*ids[i], i == k && kind == 0 ? 4 : -1);
        /* eos, eot, eom and the fim tokens that end a part end generation */
        bool ends = k == 1 || k == 2 || k == 3 || k >= 12;
        assert_int_equal(t.n_eog, kind == 0 && ends);
        if (t.n_eog) assert_int_equal(t.eog[0], 4);
        assert_int_equal(n_warnings, kind >= 3);
      }
      close_tok(&t);
    }
  /* the old names of fim, and the right spelling of separator */
  gw w = plain_vocab("gpt2");
  gw_u32(&w, KEY("prefix_token_id"), 1);
  gw_u32(&w, KEY("suffix_token_id"), 2);
  gw_u32(&w, KEY("middle_token_id"), 3);
  gw_u32(&w, KEY("separator_token_id"), 4);
  gw_bool(&w, KEY("add_eos_token"), 1);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_true(t.fim_pre == 1 && t.fim_suf == 2 && t.fim_mid == 3 && t.sep == 4 && t.add_eos);
  close_tok(&t);
  /* a default is given up by "none" */
  w = plain_vocab("llama");
  gw_num(&w, KEY("bos_token_id"), GW_I32, (uint64_t)-1);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_int_equal(t.bos, -1);
  close_tok(&t);
  /* and by a vocabulary that is too small for it */
  w = vocab("llama", plain, NULL, 2);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_true(t.unk == 0 && t.bos == 1 && t.eos == -1);
  close_tok(&t);
}

/* ---- special tokens by text ---- */

static void check_eog(const myna__tokdata *t, const int *want) {
  int n = 0;
  for (; want[n] >= 0; n++)
    if (n >= t->n_eog || t->eog[n] != want[n])
      fail_msg("eog %d is %d, not %d", n, n < t->n_eog ? t->eog[n] : -1, want[n]);
  assert_int_equal(t->n_eog, n);
}

static void test_texts(void **state) {
  /* the type does not matter for the unmistakable ones and becomes CONTROL; the first row's text is the eot */
  static const char *const chat[] = {"a",
                                     "<|endoftext|>",
                                     "<|im_end|>",
                                     "<|im_end|",
                                     "x<|im_end|>",
                                     "<|eom_id|>",
                                     "<|fim_prefix|>",
                                     "<|fim_suffix|>",
                                     "<|fim_middle|>",
                                     "<|fim_pad|>",
                                     "<|repo_name|>",
                                     "<|file_sep|>"};
  static const int32_t types[] = {1, 3, 4, 3, 3, 1, 3, 3, 3, 3, 3, 3};
  gw w = vocab("gpt2", chat, types, MYNA__COUNT(chat));
  gw_u32(&w, KEY("eos_token_id"), 0);
  myna__tokdata t;
  myna_err err;
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){0, 1, 2, 5, 9, 10, 11, -1});
  assert_true(t.eot == 2 && t.eom == 5);
  assert_true(t.fim_pre == 6 && t.fim_suf == 7 && t.fim_mid == 8 && t.fim_pad == 9 && t.fim_rep == 10 &&
              t.fim_sep == 11);
  assert_true(t.types[2] == MYNA__TOKTYPE_CONTROL && t.types[5] == MYNA__TOKTYPE_CONTROL &&
              t.types[0] == MYNA__TOKTYPE_NORMAL);
  close_tok(&t);

  /* a key goes before a text */
  w = vocab("gpt2", chat, types, MYNA__COUNT(chat));
  gw_u32(&w, KEY("eot_token_id"), 3);
  gw_u32(&w, KEY("fim_pad_token_id"), 4);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){1, 2, 3, 4, 5, 10, 11, -1});
  assert_true(t.eot == 3 && t.fim_pad == 4);
  close_tok(&t);

  /* these could be text: only as CONTROL. Texts that occur twice count once */
  static const char *const doubtful[] = {"</s>", "[EOT]", "<EOT>", "<PAD>", "▁<EOT>",
                                         "[e~[", "</s>",  "<eos>", "[EOS]", "_<EOT>"};
  static const int32_t kinds[] = {1, 4, 1, 4, 1, 5, 1, 4, 1, 1}, control[] = {3, 3, 3, 3, 3, 3, 3, 3, 3, 3};
  w = vocab("gpt2", doubtful, kinds, MYNA__COUNT(doubtful));
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){-1});
  assert_true(t.eot == -1 && t.fim_pad == -1 && t.types[0] == 1 && t.types[1] == 4);
  close_tok(&t);
  w = vocab("gpt2", doubtful, control, MYNA__COUNT(doubtful));
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){0, 1, 2, 3, 4, 5, 7, 8, 9, -1});
  assert_true(t.eot == 2 && t.fim_pad == 3);
  close_tok(&t);

  static const char *const deepseek[] = {"<｜end▁of▁sentence｜>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>",
                                         "<end_of_turn>",         "<|end_of_text|>", "<|eot_id|>",     "<turn|>"};
  w = vocab("gpt2", deepseek, NULL, MYNA__COUNT(deepseek));
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){0, 4, 5, 6, 7, -1});
  assert_true(t.fim_pre == 1 && t.fim_suf == 2 && t.fim_mid == 3 && t.eot == 6);
  close_tok(&t);
}

/* Every text alone, as CONTROL, as NORMAL, and where keys have given the roles away. Written down a second time on purpose. */
static void test_each_text(void **state) {
  enum { TEXT, ENDS, EOT, EOM, PRE_, SUF, MID, PAD, REP, SEP, SHOWN };
  static const struct {
    const char *text;
    int role;
    bool any_type;
  } rows[] = {
      {"<|eot_id|>", EOT, true},
      {"<|im_end|>", EOT, true},
      {"<|end|>", EOT, true},
      {"<end_of_turn>", EOT, true},
      {"<|end_of_text|>", EOT, true},
      {"<|endoftext|>", EOT, true},
      {"<end_of_utterance>", EOT, true},
      {"<｜end▁of▁sentence｜>", EOT, true},
      {"<EOT>", EOT, false},
      {"_<EOT>", EOT, false},
      {"▁<EOT>", EOT, false},
      {"[EOT]", EOT, false},
      {"<|eom_id|>", EOM, true},
      {"<|return|>", ENDS, true},
      {"<|call|>", ENDS, true},
      {"<|calls|>", ENDS, true},
      {"<|flush|>", ENDS, true},
      {"<turn|>", ENDS, true},
      {"<|tool_response>", ENDS, true},
      {"</s>", ENDS, false},
      {"<eos>", ENDS, false},
      {"[EOS]", ENDS, false},
      {"[e~[", ENDS, false},
      {"<|fim_prefix|>", PRE_, true},
      {"<fim-prefix>", PRE_, true},
      {"<fim_prefix>", PRE_, true},
      {"<｜fim▁begin｜>", PRE_, true},
      {"<|code_prefix|>", PRE_, true},
      {"<|prefix|>", PRE_, true},
      {"▁<PRE>", PRE_, false},
      {"<PRE>", PRE_, false},
      {"<|fim_suffix|>", SUF, true},
      {"<fim-suffix>", SUF, true},
      {"<fim_suffix>", SUF, true},
      {"<｜fim▁hole｜>", SUF, true},
      {"<|code_suffix|>", SUF, true},
      {"<|suffix|>", SUF, true},
      {"▁<SUF>", SUF, false},
      {"<SUF>", SUF, false},
      {"<|fim_middle|>", MID, true},
      {"<fim-middle>", MID, true},
      {"<fim_middle>", MID, true},
      {"<｜fim▁end｜>", MID, true},
      {"<|code_middle|>", MID, true},
      {"<|middle|>", MID, true},
      {"▁<MID>", MID, false},
      {"<MID>", MID, false},
      {"<|fim_pad|>", PAD, true},
      {"<fim-pad>", PAD, true},
      {"<fim_pad>", PAD, true},
      {"<PAD>", PAD, false},
      {"[PAD]", PAD, false},
      {"<|fim_repo|>", REP, true},
      {"<|repo_name|>", REP, true},
      {"<fim-repo>", REP, true},
      {"<REPO>", REP, false},
      {"<reponame>", REP, false},
      {"<|file_sep|>", SEP, true},
      {"<|channel|>", SHOWN, true},
      {"<|message|>", SHOWN, true},
      {"<|start|>", SHOWN, true},
      {"<|constrain|>", SHOWN, true},
      {"<unk>", TEXT, false},
      {"<s>", TEXT, false},
      {"<b>", TEXT, false},
      {"<|x|>", TEXT, false},
      {"<|im_end|>>", TEXT, false},
      {"<|im_start|>", TEXT, false},
      {"[CLS]", TEXT, false},
      {"<|reserved_special_token_123456|>", TEXT, false},
  };
  for (size_t i = 0; i < MYNA__COUNT(rows); i++)
    for (int kind = 0; kind < 3; kind++) {
      bool control = kind > 0, keys = kind == 2;
      gw w = vocab("gpt2", (const char *[]){"a", rows[i].text}, (int32_t[]){1, control ? 3 : 1}, 2);
      for (int k = 0; keys && k < 8; k++) {
        static const char *const names[] = {"eot",     "eom",     "fim_pre", "fim_suf",
                                            "fim_mid", "fim_pad", "fim_rep", "fim_sep"};
        char key[64];
        snprintf(key, sizeof key, KEY("%s_token_id"), names[k]);
        gw_u32(&w, key, 0);
      }
      myna__tokdata t;
      myna_err err;
      ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
      int role = control || rows[i].any_type ? rows[i].role : TEXT;
      const int32_t ids[] = {t.eot, t.eom, t.fim_pre, t.fim_suf, t.fim_mid, t.fim_pad, t.fim_rep, t.fim_sep};
      for (int k = 0; k < 8; k++)
        if (ids[k] != (keys ? 0 : role == EOT + k ? 1 : -1)) fail_msg("%s: role %d is %d", rows[i].text, k, ids[k]);
      bool ends = role == ENDS || role == EOT || role == EOM || (!keys && (role == PAD || role == REP || role == SEP));
      if (t.n_eog != keys + ends) fail_msg("%s: %d ends", rows[i].text, t.n_eog);
      if (ends) assert_int_equal(t.eog[t.n_eog - 1], 1);
      assert_int_equal(t.types[1], role == SHOWN             ? MYNA__TOKTYPE_USER
                                   : role != TEXT || control ? MYNA__TOKTYPE_CONTROL
                                                             : MYNA__TOKTYPE_NORMAL);
      close_tok(&t);
    }
}

static void test_harmony(void **state) {
  static const char *const texts[] = {"<|start|>", "<|channel|>", "<|message|>", "<|constrain|>",
                                      "<|end|>",   "<|return|>",  "<|call|>",    "<|endoftext|>"};
  static const int32_t types[] = {3, 3, 3, 3, 3, 3, 3, 3};
  myna__tokdata t;
  myna_err err;
  gw w = vocab("gpt2", texts, types, 8);
  gw_u32(&w, KEY("eos_token_id"), 5);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){5, 6, 7, -1});
  for (int i = 0; i < 5; i++) assert_int_equal(t.types[i], MYNA__TOKTYPE_USER);
  for (int i = 5; i < 8; i++) assert_int_equal(t.types[i], MYNA__TOKTYPE_CONTROL);
  assert_int_equal(t.eot, -1);
  close_tok(&t);
  /* <|end|> ends everywhere else */
  w = vocab("gpt2", texts, types, 6);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){4, 5, -1});
  assert_int_equal(t.eot, 4);
  close_tok(&t);
  static const char *const solar[] = {"<|end|>", "<|calls|>", "<|flush|>"};
  w = vocab("gpt2", solar, types, 3);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){1, 2, -1});
  close_tok(&t);
  static const char *const gemma4[] = {"</s>", "<eos>", "<|tool_response>", "<turn|>"};
  w = vocab("gemma4", gemma4, types, 4);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){1, 2, 3, -1});
  assert_int_equal(t.types[0], MYNA__TOKTYPE_NORMAL);
  close_tok(&t);
}

/* ---- hostile ---- */

enum { REPLACE_NONE, TOKENS, SCORES, TYPES, MERGES, MODEL, PRE, CHARSMAP, TEMPLATE, BOS, ADD_BOS };

/* An SPM (or BPE) vocabulary of 3 tokens in which one key is wrong. */
static gw wrong_vocab(const char *model, int which, int elem, uint64_t count, const void *data, size_t bytes) {
  static const char *const texts[] = {"a", "b", "c"};
  static const char *const keys[] = {"",
                                     KEY("tokens"),
                                     KEY("scores"),
                                     KEY("token_type"),
                                     KEY("merges"),
                                     KEY("model"),
                                     KEY("pre"),
                                     KEY("precompiled_charsmap"),
                                     "tokenizer.chat_template",
                                     KEY("bos_token_id"),
                                     KEY("add_bos_token")};
  gw w = gw_new(3);
  if (which != MODEL) gw_str(&w, KEY("model"), model);
  if (which != TOKENS) gw_strs(&w, KEY("tokens"), texts, 3);
  if (which != SCORES) gw_arr(&w, KEY("scores"), GW_F32, 3, (float[]){0, 1, 2}, 12);
  if (which != TYPES) gw_arr(&w, KEY("token_type"), GW_I32, 3, (int32_t[]){1, 1, 1}, 12);
  if (which != MERGES) gw_strs(&w, KEY("merges"), texts, 3);
  if (elem >= 0) gw_arr(&w, keys[which], elem, count, data, bytes);
  return w;
}

static void test_hostile(void **state) {
  static const struct {
    const char *name, *model;
    int which, elem;
    uint64_t count;
    const void *data;
    size_t bytes;
    const char *message;
  } cases[] = {
      {"no tokens", "llama", TOKENS, -1, 0, NULL, 0, "key 'tokenizer.ggml.tokens' is missing"},
      {"zero tokens", "llama", TOKENS, GW_STR, 0, NULL, 0, "a vocabulary of 0 tokens"},
      {"tokens are numbers", "llama", TOKENS, GW_U32, 3, "aaaabbbbcccc", 12,
       "key 'tokenizer.ggml.tokens': expected an array of str, found an array of u32"},
      {"no scores", "llama", SCORES, -1, 0, NULL, 0, "key 'tokenizer.ggml.scores' is missing"},
      {"no scores, unigram", "t5", SCORES, -1, 0, NULL, 0, "key 'tokenizer.ggml.scores' is missing"},
      {"fewer scores", "llama", SCORES, GW_F32, 2, "\0\0\0\0\0\0\0\0", 8,
       "key 'tokenizer.ggml.scores': 2 elements for 3 tokens"},
      {"more scores", "llama", SCORES, GW_F32, 4, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16, "4 elements for 3 tokens"},
      {"scores are f64", "llama", SCORES, GW_F64, 3, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24,
       "expected an array of f32, found an array of f64"},
      {"a score is NaN", "llama", SCORES, GW_F32, 3, "\0\0\0\0\0\0\300\177\0\0\0\0", 12, "score 1 is not a number"},
      {"fewer types", "gpt2", TYPES, GW_I32, 2, "\1\0\0\0\1\0\0\0", 8,
       "key 'tokenizer.ggml.token_type': 2 elements for 3 tokens"},
      {"types are strings", "gpt2", TYPES, GW_STR, 0, NULL, 0, "expected an array of i32, found an array of str"},
      {"types are bytes", "gpt2", TYPES, GW_U8, 3, "\1\1\1", 3, "expected an array of i32, found an array of u8"},
      {"no merges", "gpt2", MERGES, -1, 0, NULL, 0, "key 'tokenizer.ggml.merges' is missing"},
      {"merges are numbers", "gpt2", MERGES, GW_I32, 1, "\1\0\0\0", 4,
       "expected an array of str, found an array of i32"},
      {"model is an array", "gpt2", MODEL, GW_STR, 0, NULL, 0,
       "key 'tokenizer.ggml.model': expected a string, found an array of str"},
      {"pre is an array", "gpt2", PRE, GW_STR, 0, NULL, 0, "key 'tokenizer.ggml.pre': expected a string"},
      {"charsmap of 3 bytes", "t5", CHARSMAP, GW_U8, 3, "\0\0\0", 3, "3 bytes are too few"},
      {"charsmap without strings", "t5", CHARSMAP, GW_U8, 8, "\4\0\0\0abcd", 8, "a trie of 4 bytes in a map of 8"},
      {"charsmap's trie too long", "t5", CHARSMAP, GW_I8, 9, "\374\377\377\377abcde", 9,
       "a trie of 4294967292 bytes in a map of 9"},
      {"charsmap's trie not whole", "t5", CHARSMAP, GW_U8, 9, "\3\0\0\0abcde", 9, "a trie of 3 bytes"},
      {"charsmap of numbers", "t5", CHARSMAP, GW_U32, 2, "\4\0\0\0abcd", 8,
       "expected an array of u8, found an array of u32"},
      {"template is an array", "gpt2", TEMPLATE, GW_U8, 2, "ab", 2, "key 'tokenizer.chat_template': expected a string"},
      {"bos is an array", "gpt2", BOS, GW_U32, 1, "\1\0\0\0", 4,
       "key 'tokenizer.ggml.bos_token_id': expected an integer"},
      {"add_bos is an array", "gpt2", ADD_BOS, GW_BOOL, 1, "\1", 1,
       "key 'tokenizer.ggml.add_bos_token': expected a bool"},
  };
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    myna__tokdata t;
    myna_err err;
    gw w = wrong_vocab(cases[i].model, cases[i].which, cases[i].elem, cases[i].count, cases[i].data, cases[i].bytes);
    int rc = read_tok(&w, &t, &err);
    if (rc != MYNA_E_FORMAT) fail_msg("%s: %d", cases[i].name, rc);
    if (!strstr(err.msg, cases[i].message))
      fail_msg("%s: \"%s\" without \"%s\"", cases[i].name, err.msg, cases[i].message);
    assert_string_equal(err.file, "tok");
    assert_true(t.tokens == NULL && t.types == NULL);
    close_tok(&t);
  }
}

static void test_hostile_scalars(void **state) {
  myna__tokdata t;
  myna_err err;
  gw w = plain_vocab("gpt2");
  gw_bool(&w, KEY("add_bos_token"), 7);
  ASSERT_FAILS(read_tok(&w, &t, &err), MYNA_E_FORMAT, &err, "a bool is 7");
  close_tok(&t);
  w = plain_vocab("gpt2");
  gw_str(&w, KEY("tokens.x"), "");
  gw_str(&w, KEY("pre"), "a name that is much longer than any kind of pre-tokenizer that was ever known");
  ASSERT_FAILS(read_tok(&w, &t, &err), MYNA_E_FORMAT, &err, "no pre-tokenizer name");
  close_tok(&t);
  w = plain_vocab("gpt2");
  gw_key(&w, KEY("pre"), GW_STR);
  gw_text(&w.kv, "qw\0en", 5);
  ASSERT_FAILS(read_tok(&w, &t, &err), MYNA_E_FORMAT, &err, "no pre-tokenizer name");
  close_tok(&t);
  w = gw_new(3);
  gw_str(&w, KEY("model"), "gpt2");
  gw_str(&w, KEY("tokens"), "gpt2");
  ASSERT_FAILS(read_tok(&w, &t, &err), MYNA_E_FORMAT, &err, "expected an array of str, found str");
  close_tok(&t);
  /* a token of a megabyte is none */
  size_t big = ((size_t)1 << 20) + 1;
  char *text = malloc(big + 1);
  memset(text, 'x', big);
  text[big] = 0;
  w = vocab("gpt2", (const char *[]){"a", text}, NULL, 2);
  ASSERT_FAILS(read_tok(&w, &t, &err), MYNA_E_FORMAT, &err, "an element of 1048577 bytes");
  close_tok(&t);
  text[big - 1] = 0;
  w = vocab("gpt2", (const char *[]){"a", text}, NULL, 2);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  close_tok(&t);
  free(text);
}

/* Unusual but fine: kimi without merges, u32 types, types out of range, infinite scores, empty and repeated tokens. */
static void test_unusual(void **state) {
  static const char *const texts[] = {"a", "", "a"};
  myna__tokdata t;
  myna_err err;
  gw w = gw_new(3);
  gw_str(&w, KEY("model"), "gpt2");
  gw_str(&w, KEY("pre"), "kimi-k2");
  gw_strs(&w, KEY("tokens"), texts, 3);
  gw_arr(&w, KEY("token_type"), GW_U32, 3, (uint32_t[]){6, 7, UINT32_MAX}, 12);
  gw_arr(&w, KEY("scores"), GW_F32, 3, (uint32_t[]){0x7F800000u, 0xFF800000u, 0}, 12);
  gw_arr(&w, KEY("precompiled_charsmap"), GW_U8, 0, NULL, 0);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  assert_true(t.types[0] == MYNA__TOKTYPE_BYTE && t.types[1] == MYNA__TOKTYPE_UNDEFINED &&
              t.types[2] == MYNA__TOKTYPE_UNDEFINED);
  assert_true(t.scores[0] > 1e38f && t.tokens[1].n == 0 && t.n_merges == 0 && t.charsmap == NULL);
  close_tok(&t);
  /* more texts that end than there is room for: no overflow */
  static const char *many[60];
  for (int i = 0; i < 60; i++) many[i] = "<|im_end|>";
  w = vocab("gpt2", many, NULL, 60);
  ASSERT_OK_ERR(read_tok(&w, &t, &err), &err);
  check_eog(&t, (int[]){0, -1});
  close_tok(&t);
}

static void test_no_memory(void **state) {
  for (int n = 1;; n++) {
    gw w = vocab("gpt2", plain, (int32_t[]){2, 3, 3, 1, 1}, 5);
    gw_arr(&w, KEY("scores"), GW_F32, 5, (float[]){0, 1, 2, 3, 4}, 20);
    gw_bytes f = gw_finish(&w);
    myna__gguf g;
    ASSERT_OK(myna__gguf_parse(&g, f.p, f.n, "tok", NULL));
    test_failing failing;
    myna_err err = {0};
    myna__tokdata t;
    test_fail_at(&failing, n);
    int rc = myna__tokdata_from_gguf(&t, &g, &err);
    assert_int_equal(rc, failing.failed ? MYNA_E_NOMEM : 0);
    assert_int_equal(err.code, rc);
    if (rc == 0) myna__tokdata_free(&t);
    assert_int_equal(failing.live, 0);
    test_fail_off();
    myna__gguf_close(&g);
    free(f.p);
    if (!failing.failed) {
      assert_int_equal(n, 5); /* tokens, scores, types, merges */
      break;
    }
  }
}

/* The shared vocabularies: ids that llama.cpp finds. */
static void test_shared(void **state) {
  static const struct {
    const char *name;
    myna__tok_model model;
    const char *pre;
    int32_t n_tokens, bos, eos, eot;
    int64_t n_merges;
    bool add_bos, add_space_prefix;
    int eog[4];
  } files[] = {
      {"bert-bge", MYNA__TOK_WORDPIECE, "bert-bge", 30522, 101, -1, -1, 0, true, false, {0, -1}},
      {"deepseek-coder", MYNA__TOK_BPE, "deepseek-coder", 32256, 32013, 32014, 32014, 31757, true, false, {32014, -1}},
      {"deepseek-llm", MYNA__TOK_BPE, "deepseek-llm", 102400, 100000, 100001, 100001, 99757, true, false, {100001, -1}},
      {"falcon", MYNA__TOK_BPE, "falcon", 65024, 11, 11, 11, 64784, false, false, {11, -1}},
      {"gpt-2", MYNA__TOK_BPE, "gpt-2", 50257, 50256, 50256, 50256, 50000, false, false, {50256, -1}},
      {"llama-bpe",
       MYNA__TOK_BPE,
       "llama-bpe",
       128256,
       128000,
       128009,
       128009,
       280147,
       true,
       false,
       {128001, 128008, 128009, -1}},
      {"llama-spm", MYNA__TOK_SPM, "default", 32000, 1, 2, -1, 0, true, true, {2, -1}},
      {"mpt", MYNA__TOK_BPE, "mpt", 50432, 0, 0, 0, 50009, false, false, {0, -1}},
      {"phi-3", MYNA__TOK_SPM, "default", 32064, 1, 32000, 32007, 0, true, true, {32000, 32007, -1}},
      {"qwen2", MYNA__TOK_BPE, "qwen2", 151936, 151643, 151643, 151645, 151387, false, false, {151643, 151645, -1}},
      {"starcoder", MYNA__TOK_BPE, "starcoder", 49152, 0, 0, 0, 48872, false, false, {0, 4, -1}},
  };
  for (size_t i = 0; i < MYNA__COUNT(files); i++) {
    char path[512], rel[128];
    snprintf(rel, sizeof rel, "tokenizers/gguf/ggml-vocab-%s.gguf", files[i].name);
    if (!shared_path(path, rel)) continue;
    myna__gguf g;
    myna__tokdata t;
    myna_err err = {0};
    ASSERT_OK_ERR(myna__gguf_open(&g, path, NULL, &err), &err);
    ASSERT_OK_ERR(myna__tokdata_from_gguf(&t, &g, &err), &err);
    assert_int_equal(t.model, files[i].model);
    assert_string_equal(t.pre, files[i].pre);
    assert_int_equal(t.n_tokens, files[i].n_tokens);
    assert_int_equal(t.n_merges, files[i].n_merges);
    assert_true(t.bos == files[i].bos && t.eos == files[i].eos && t.eot == files[i].eot);
    assert_true(t.add_bos == files[i].add_bos && t.add_space_prefix == files[i].add_space_prefix);
    check_eog(&t, files[i].eog);
    myna__tokdata_free(&t);
    myna__gguf_close(&g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_none),
      cmocka_unit_test(test_spm),
      cmocka_unit_test(test_bpe),
      cmocka_unit_test(test_unigram_and_wordpiece),
      cmocka_unit_test(test_ids),
      cmocka_unit_test(test_texts),
      cmocka_unit_test(test_harmony),
      cmocka_unit_test(test_each_text),
      cmocka_unit_test(test_hostile),
      cmocka_unit_test(test_unusual),
      cmocka_unit_test(test_hostile_scalars),
      cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_shared),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
