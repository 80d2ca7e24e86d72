/* api.c: the parts of myna.h that look at a model: facts, metadata, text, plan. */
#include "engine/lm.h"
#include <math.h>
#include <stdio.h>

void myna_model_get_info(const myna_model *m, myna_model_info *o) {
  const myna__config *g = &m->cfg;
  *o = (myna_model_info){.arch = m->arch,
                         .name = m->name,
                         .file = m->path,
                         .n_layer = g->n_layer,
                         .n_embd = g->n_embd,
                         .n_vocab = g->n_vocab,
                         .n_ctx_train = g->n_ctx_train,
                         .n_head = g->n_head,
                         .n_head_kv = g->n_head_kv,
                         .n_params = m->n_params,
                         .weight_bytes = m->weight_bytes,
                         .file_bytes = m->file_bytes,
                         .n_tensors = m->gguf.n_tensors,
                         .n_meta = m->gguf.n_kv,
                         .weight_type = myna_dtype_name(m->main_type)};
  o->has_tokenizer = myna__gguf_find(&m->gguf, "tokenizer.ggml.tokens") != NULL;
  o->has_template = myna__gguf_find(&m->gguf, "tokenizer.chat_template") != NULL;
}

int myna_model_get_tensor(const myna_model *m, int64_t i, myna_tensor_info *o) {
  if (i < 0 || i >= m->gguf.n_tensors) return MYNA_E_NOTFOUND;
  const myna__gguf_tensor *t = &m->gguf.tensors[i];
  static _Thread_local char name[256]; /* names in the file are not terminated */
  snprintf(name, sizeof name, "%.*s", (int)MYNA__MIN(t->name.n, sizeof name - 1), t->name.p);
  *o = (myna_tensor_info){.name = name,
                          .type = t->type,
                          .n_dims = t->n_dims,
                          .bytes = (int64_t)t->bytes,
                          .offset = (int64_t)t->offset,
                          .file = t->file};
  for (int k = 0; k < t->n_dims; k++) o->dims[k] = t->dims[t->n_dims - 1 - k];
  return 0;
}

/* ---- metadata as text ---- */

static const char *const type_names[] = {"u8",   "i8",  "u16", "i16", "u32", "i32", "f32",
                                         "bool", "str", "arr", "u64", "i64", "f64"};
static const int type_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static void print_number(myna__buf *b, myna__gguf_type t, const uint8_t *p) {
  union {
    uint64_t u;
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    float f;
    double d;
  } x = {0};
  memcpy(&x, p, (size_t)type_bytes[t]);
  switch (t) {
  case MYNA__GGUF_BOOL: myna__buf_str(b, x.u ? "true" : "false"); break;
  case MYNA__GGUF_I8: myna__buf_printf(b, "%d", x.i8); break;
  case MYNA__GGUF_I16: myna__buf_printf(b, "%d", x.i16); break;
  case MYNA__GGUF_I32: myna__buf_printf(b, "%d", x.i32); break;
  case MYNA__GGUF_I64: myna__buf_printf(b, "%lld", (long long)x.i64); break;
  case MYNA__GGUF_F32: myna__buf_printf(b, "%.9g", (double)x.f); break;
  case MYNA__GGUF_F64: myna__buf_printf(b, "%.17g", x.d); break;
  default: myna__buf_printf(b, "%llu", (unsigned long long)x.u);
  }
}

static void print_array(myna__buf *b, const myna__gguf_kv *kv, int max_items) {
  const uint8_t *p = kv->data;
  uint64_t n = MYNA__MIN(kv->count, (uint64_t)MYNA__MAX(max_items, 0));
  myna__buf_str(b, "[");
  for (uint64_t i = 0; i < n; i++) {
    if (i) myna__buf_str(b, ", ");
    if (kv->elem == MYNA__GGUF_STR) {
      myna__str s = myna__gguf_next_str(&p);
      myna__buf_add(b, s.p, s.n);
    } else if (kv->elem != MYNA__GGUF_ARR) {
      print_number(b, kv->elem, p);
      p += type_bytes[kv->elem];
    }
  }
  myna__buf_str(b, n < kv->count ? (n ? ", ...]" : "...]") : "]");
}

int64_t myna_model_get_meta(const myna_model *m, int64_t i, const char **key, char type[24], char *value, size_t n,
                            int max_items) {
  if (i < 0 || i >= m->gguf.n_kv) return MYNA_E_NOTFOUND;
  const myna__gguf_kv *kv = &m->gguf.kvs[i];
  static _Thread_local char name[256];
  snprintf(name, sizeof name, "%.*s", (int)MYNA__MIN(kv->key.n, sizeof name - 1), kv->key.p);
  *key = name;
  if (kv->type == MYNA__GGUF_ARR)
    snprintf(type, 24, "arr[%s,%llu]", type_names[kv->elem], (unsigned long long)kv->count);
  else
    snprintf(type, 24, "%s", type_names[kv->type]);
  myna__buf b = {0};
  if (kv->type == MYNA__GGUF_ARR) {
    print_array(&b, kv, max_items);
  } else if (kv->type == MYNA__GGUF_STR) {
    const uint8_t *p = kv->data;
    myna__str s = myna__gguf_next_str(&p);
    myna__buf_add(&b, s.p, s.n);
  } else {
    print_number(&b, kv->type, kv->data);
  }
  if (n > 0) {
    size_t take = MYNA__MIN(b.len, n - 1);
    if (take) memcpy(value, b.data, take);
    value[take] = 0;
  }
  int64_t len = (int64_t)b.len;
  myna__buf_free(&b);
  return len;
}

const char *myna_model_get_template(const myna_model *cm) {
  myna_model *m = (myna_model *)(uintptr_t)cm;
  myna__str s;
  pthread_mutex_lock(&m->lock);
  if (!m->chat_template && myna__gguf_str(&m->gguf, "tokenizer.chat_template", &s, NULL) > 0)
    m->chat_template = myna__strndup(s.p, s.n);
  pthread_mutex_unlock(&m->lock);
  return m->chat_template;
}

/* ---- text ---- */

int64_t myna_tokenize(const myna_model *m, const char *text, size_t n, const myna_tokenize_options *o, int32_t *ids,
                      int64_t cap, myna_err *err) {
  const myna__tokenizer *tk;
  TRY(myna__model_tokenizer((myna_model *)(uintptr_t)m, &tk, err));
  myna__tokenize_options opt = {.add_special = !o || !o->no_special, .parse_special = o && o->parse_special};
  return myna__tokenize(tk, text, n, &opt, ids, cap, err);
}

int64_t myna_detokenize(const myna_model *m, const int32_t *ids, int64_t n, bool special, char *buf, int64_t cap,
                        myna_err *err) {
  const myna__tokenizer *tk;
  TRY(myna__model_tokenizer((myna_model *)(uintptr_t)m, &tk, err));
  myna__detok d = {0};
  myna__buf out = {0};
  int rc = 0;
  for (int64_t i = 0; i < n && rc >= 0; i++) {
    rc = myna__detok_push(tk, &d, ids[i], special, &out);
    if (rc < 0) myna__err(err, rc, "token %lld is %d, out of range", (long long)i, ids[i]);
  }
  myna__detok_finish(&d, &out);
  int64_t len = rc < 0 ? rc : out.failed ? myna__err(err, MYNA_E_NOMEM, "no memory") : (int64_t)out.len;
  if (len > 0 && cap > 0) memcpy(buf, out.data, (size_t)MYNA__MIN(len, cap));
  myna__buf_free(&out);
  return len;
}

int64_t myna_token_text(const myna_model *m, int32_t id, char *buf, int64_t cap) {
  const myna__tokenizer *tk;
  TRY(myna__model_tokenizer((myna_model *)(uintptr_t)m, &tk, NULL));
  return myna__token_bytes(tk, id, true, buf, (size_t)MYNA__MAX(cap, 0));
}

static const myna__tokdata *tokdata_of(const myna_model *m) {
  const myna__tokenizer *tk;
  return myna__model_tokenizer((myna_model *)(uintptr_t)m, &tk, NULL) < 0 ? NULL : myna__tokenizer_data(tk);
}

int32_t myna_token_bos(const myna_model *m) {
  const myna__tokdata *t = tokdata_of(m);
  return t ? t->bos : -1;
}

int32_t myna_token_eos(const myna_model *m) {
  const myna__tokdata *t = tokdata_of(m);
  return t ? t->eos : -1;
}

bool myna_token_is_eog(const myna_model *m, int32_t id) {
  const myna__tokenizer *tk;
  return myna__model_tokenizer((myna_model *)(uintptr_t)m, &tk, NULL) == 0 && myna__token_is_eog(tk, id);
}

/* ---- plan and process ---- */

int64_t myna_model_print_plan(myna_model *m, char *buf, int64_t n, myna_err *err) {
  myna__lm *lm;
  myna__lm_options o = {.kv_type = myna__lm_default_kv(m, false),
                        .kv_type_v = myna__lm_default_kv(m, false),
                        .n_ctx = MYNA__MIN(m->cfg.n_ctx_train, 4096),
                        .n_tok = 512,
                        .n_seq = 1,
                        .n_out = 1,
                        .n_pages = {1, 1, 1, 1}};
  TRY(myna__lm_new(&lm, m, &o, err));
  int64_t len = myna_plan_print(lm->plan, buf, n);
  myna__lm_free(lm);
  return len;
}

bool myna_mapped_file_at(const void *addr, const char **path, size_t *offset) {
  return myna__file_of_address(addr, path, offset);
}

const char *myna_cpu_level(myna_err *err) { return myna__cpu_init(err) < 0 ? NULL : myna__cpu_name(myna__cpu()); }
