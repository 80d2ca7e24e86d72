/* fuzz_gguf.c: any bytes as a GGUF file: the reader, every typed read of every key, tokenizer data. Beyond what the
 * sanitizers see it checks that a failure has code, place and reason, that everything is given back, and that memory
 * stays a small multiple of the input. */
#include "formats/tokdata.h"
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>

static volatile uint64_t sink;

static void check_err(int rc, const myna_err *err, size_t size) {
  CHECK(rc < 0 && err->code == rc);
  CHECK(err->msg[0] && strcmp(err->file, "fuzz") == 0);
  CHECK(err->offset >= -1 && err->offset <= (int64_t)size);
}

/* A typed read either finds, fails with a message, or the key is absent. */
static void check_read(int rc, const myna_err *err, size_t size) {
  if (rc < 0) check_err(rc, err, size);
  CHECK(rc == 1 || rc < 0);
}

static void read_key(const myna__gguf *g, const char *key, size_t size) {
  int64_t i;
  double d;
  bool b;
  myna__str s;
  static const uint64_t elements[] = {0, 1, 7, UINT64_MAX};
  myna_err err = {0};
  check_read(myna__gguf_i64(g, key, &i, &err), &err, size);
  err.code = 0;
  check_read(myna__gguf_f64(g, key, &d, &err), &err, size);
  err.code = 0;
  check_read(myna__gguf_bool(g, key, &b, &err), &err, size);
  err.code = 0;
  int rc = myna__gguf_str(g, key, &s, &err);
  check_read(rc, &err, size);
  for (size_t k = 0; rc == 1 && k < s.n; k++) sink += (uint8_t)s.p[k];
  for (size_t e = 0; e < MYNA__COUNT(elements); e++) {
    err.code = 0;
    check_read(myna__gguf_at_i64(g, key, elements[e], &i, &err), &err, size);
    err.code = 0;
    check_read(myna__gguf_at_f64(g, key, elements[e], &d, &err), &err, size);
  }
}

static void read_all(const myna__gguf *g, size_t size) {
  for (int64_t i = 0; i < g->n_kv; i++) {
    const myna__gguf_kv *kv = &g->kvs[i];
    char *key = myna__strndup(kv->key.p, kv->key.n);
    CHECK(myna__gguf_find(g, key) == kv);
    read_key(g, key, size);
    myna__strfree(key);
    const uint8_t *p = kv->data;
    for (uint64_t k = 0; kv->type == MYNA__GGUF_ARR && kv->elem == MYNA__GGUF_STR && k < kv->count; k++) {
      myna__str s = myna__gguf_next_str(&p);
      if (s.n) sink += (uint8_t)s.p[0] + (uint8_t)s.p[s.n - 1];
    }
  }
  for (int64_t i = 0; i < g->n_tensors; i++) {
    const myna__gguf_tensor *t = &g->tensors[i];
    CHECK(t->bytes > 0 && t->offset % g->alignment == 0);
    sink += t->data[0] + t->data[t->bytes - 1];
  }
}

static void read_tokenizer(const myna__gguf *g, size_t size) {
  myna__tokdata t;
  myna_err err = {0};
  int rc = myna__tokdata_from_gguf(&t, g, &err);
  if (rc < 0) {
    check_err(rc, &err, size);
    return;
  }
  const int32_t ids[] = {t.bos,  t.eos,     t.eot,     t.eom,     t.unk,     t.pad,     t.sep,    t.cls,
                         t.mask, t.fim_pre, t.fim_suf, t.fim_mid, t.fim_pad, t.fim_rep, t.fim_sep};
  for (size_t i = 0; i < MYNA__COUNT(ids); i++) CHECK(ids[i] >= -1 && ids[i] < MYNA__MAX(t.n_tokens, 1));
  for (int i = 0; i < t.n_eog; i++)
    CHECK(t.eog[i] >= 0 && t.eog[i] < t.n_tokens && (i == 0 || t.eog[i - 1] < t.eog[i]));
  for (int32_t i = 0; i < t.n_tokens; i++) CHECK(t.types[i] <= MYNA__TOKTYPE_BYTE);
  for (size_t i = 0; i < t.charsmap_len; i++) sink += t.charsmap[i];
  CHECK(memchr(t.pre, 0, sizeof t.pre));
  myna__tokdata_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  myna__gguf g;
  myna_err err = {0};
  int64_t before = myna__mem_in_use();
  myna__mem_peak(true);
  int rc = myna__gguf_parse(&g, data, size, "fuzz", &err);
  if (rc < 0) {
    check_err(rc, &err, size);
  } else {
    read_all(&g, size);
    read_tokenizer(&g, size);
    myna__gguf_close(&g);
  }
  CHECK(myna__mem_in_use() == before);
  CHECK(myna__mem_peak(false) - before < 32 * (int64_t)size + 65536);
  return 0;
}
