/* gguf_get.c: typed reads of metadata. Structure was checked by gguf_read.c; types and ranges are checked here, where
 * it is known what a key must be. */
#include "formats/gguf.h"
#include <stdio.h>

int myna__gguf_kv_fail(const myna__gguf *g, const myna__gguf_kv *kv, myna_err *err, const char *fmt, ...) {
  char reason[320], quote[MYNA__QUOTE];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(reason, sizeof reason, fmt, ap);
  va_end(ap);
  return myna__err_at(err, MYNA_E_FORMAT, g->files[0].path, kv->data - g->files[0].data, "key '%s': %s",
                      myna__str_quote(quote, kv->key), reason);
}

static uint64_t load(const uint8_t *p, int bytes) {
  uint64_t v = 0;
  memcpy(&v, p, (size_t)bytes);
  return v;
}

/* Element i as an integer; false when the type is no integer (or bool). Unsigned results keep their bits. */
static bool load_int(const uint8_t *p, myna__gguf_type type, uint64_t i, uint64_t *out, bool *is_signed) {
  *is_signed = false;
  switch (type) {
  case MYNA__GGUF_U8:
  case MYNA__GGUF_BOOL: *out = p[i]; return true;
  case MYNA__GGUF_U16: *out = load(p + 2 * i, 2); return true;
  case MYNA__GGUF_U32: *out = load(p + 4 * i, 4); return true;
  case MYNA__GGUF_U64: *out = load(p + 8 * i, 8); return true;
  default: break;
  }
  *is_signed = true;
  switch (type) {
  case MYNA__GGUF_I8: *out = (uint64_t)(int64_t)(int8_t)p[i]; return true;
  case MYNA__GGUF_I16: *out = (uint64_t)(int64_t)(int16_t)load(p + 2 * i, 2); return true;
  case MYNA__GGUF_I32: *out = (uint64_t)(int64_t)(int32_t)load(p + 4 * i, 4); return true;
  case MYNA__GGUF_I64: *out = load(p + 8 * i, 8); return true;
  default: return false;
  }
}

static int wrong_type(const myna__gguf *g, const myna__gguf_kv *kv, const char *wanted, myna_err *err) {
  bool array = kv->type == MYNA__GGUF_ARR;
  return myna__gguf_kv_fail(g, kv, err, "expected %s, found %s%s", wanted, array ? "an array of " : "",
                            myna__gguf_type_name(array ? kv->elem : kv->type));
}

/* A bool is 0 or 1; files with other bytes load as long as nobody asks. */
static int check_bool(const myna__gguf *g, const myna__gguf_kv *kv, uint64_t v, myna_err *err) {
  return v <= 1 ? 0 : myna__gguf_kv_fail(g, kv, err, "a bool is %llu instead of 0 or 1", (unsigned long long)v);
}

static int read_i64(const myna__gguf *g, const myna__gguf_kv *kv, myna__gguf_type type, uint64_t i, int64_t *out,
                    myna_err *err) {
  uint64_t v;
  bool is_signed;
  if (!load_int(kv->data, type, i, &v, &is_signed)) return wrong_type(g, kv, "an integer", err);
  if (type == MYNA__GGUF_BOOL) TRY(check_bool(g, kv, v, err));
  if (!is_signed && v > INT64_MAX) return myna__gguf_kv_fail(g, kv, err, "%llu does not fit", (unsigned long long)v);
  *out = (int64_t)v;
  return 1;
}

static int read_f64(const myna__gguf *g, const myna__gguf_kv *kv, myna__gguf_type type, uint64_t i, double *out,
                    myna_err *err) {
  if (type == MYNA__GGUF_F32) {
    float f;
    memcpy(&f, kv->data + 4 * i, 4);
    *out = (double)f;
    return 1;
  }
  if (type == MYNA__GGUF_F64) {
    memcpy(out, kv->data + 8 * i, 8);
    return 1;
  }
  uint64_t v;
  bool is_signed;
  if (type == MYNA__GGUF_BOOL || !load_int(kv->data, type, i, &v, &is_signed))
    return wrong_type(g, kv, "a number", err);
  *out = is_signed ? (double)(int64_t)v : (double)v;
  return 1;
}

/* The type of the scalar or of element i; negative when i is not there. */
static int element_type(const myna__gguf *g, const myna__gguf_kv *kv, uint64_t i, uint64_t *index, myna_err *err) {
  *index = 0;
  if (kv->type != MYNA__GGUF_ARR) return (int)kv->type;
  *index = i;
  if (i < kv->count) return (int)kv->elem;
  return myna__gguf_kv_fail(g, kv, err, "element %llu is wanted, there are %llu", (unsigned long long)i,
                            (unsigned long long)kv->count);
}

int myna__gguf_i64(const myna__gguf *g, const char *key, int64_t *out, myna_err *err) {
  const myna__gguf_kv *kv = myna__gguf_find(g, key);
  if (!kv) return 0;
  if (kv->type == MYNA__GGUF_BOOL) return wrong_type(g, kv, "an integer", err);
  return read_i64(g, kv, kv->type, 0, out, err);
}

int myna__gguf_f64(const myna__gguf *g, const char *key, double *out, myna_err *err) {
  const myna__gguf_kv *kv = myna__gguf_find(g, key);
  return kv ? read_f64(g, kv, kv->type, 0, out, err) : 0;
}

int myna__gguf_bool(const myna__gguf *g, const char *key, bool *out, myna_err *err) {
  const myna__gguf_kv *kv = myna__gguf_find(g, key);
  if (!kv) return 0;
  if (kv->type != MYNA__GGUF_BOOL) return wrong_type(g, kv, "a bool", err);
  TRY(check_bool(g, kv, kv->data[0], err));
  *out = kv->data[0];
  return 1;
}

int myna__gguf_str(const myna__gguf *g, const char *key, myna__str *out, myna_err *err) {
  const myna__gguf_kv *kv = myna__gguf_find(g, key);
  if (!kv) return 0;
  if (kv->type != MYNA__GGUF_STR) return wrong_type(g, kv, "a string", err);
  const uint8_t *p = kv->data;
  *out = myna__gguf_next_str(&p);
  return 1;
}

int myna__gguf_at_i64(const myna__gguf *g, const char *key, uint64_t i, int64_t *out, myna_err *err) {
  const myna__gguf_kv *kv = myna__gguf_find(g, key);
  if (!kv) return 0;
  int type = element_type(g, kv, i, &i, err);
  return type < 0 ? type : read_i64(g, kv, (myna__gguf_type)type, i, out, err);
}

int myna__gguf_at_f64(const myna__gguf *g, const char *key, uint64_t i, double *out, myna_err *err) {
  const myna__gguf_kv *kv = myna__gguf_find(g, key);
  if (!kv) return 0;
  int type = element_type(g, kv, i, &i, err);
  return type < 0 ? type : read_f64(g, kv, (myna__gguf_type)type, i, out, err);
}

myna__str myna__gguf_next_str(const uint8_t **pos) {
  myna__str s = {(const char *)*pos + 8, (size_t)load(*pos, 8)};
  *pos += 8 + s.n;
  return s;
}
