/* gguf.c: opening and closing GGUF models: one file, or a set of splits put together into one list of tensors.
 * Invariants of an open g: files[0] is the first split and owns the metadata; every tensor name is unique over all
 * splits; files never move (names, strings and data point into their mappings).
 * Splits (llama.cpp's gguf-split): every file has split.no (from 0) and split.count, the first has
 * split.tensors.count; names end in -00001-of-00003.gguf, counted from 1. */
#include "formats/gguf.h"
#include <stdio.h>

enum { MAX_SPLITS = 65535 /* split.count is a u16 */ };

/* ---- splits ---- */

/* Reads an optional integer key of a split in [0, max]; `missing` when it is absent. */
static int split_key(const myna__gguf *g, const char *key, int64_t missing, int64_t max, int64_t *out, myna_err *err) {
  *out = missing;
  int found = myna__gguf_i64(g, key, out, err);
  if (found <= 0) return found;
  if (*out < 0 || *out > max)
    return myna__gguf_kv_fail(g, myna__gguf_find(g, key), err, "%lld is out of range", (long long)*out);
  return 0;
}

static int split_keys(const myna__gguf *g, int64_t *no, int64_t *count, myna_err *err) {
  TRY_N(split_key(g, "split.count", 0, MAX_SPLITS, count, err));
  TRY_N(split_key(g, "split.no", *count > 1 ? -1 : 0, MAX_SPLITS, no, err));
  if (*no < 0)
    return myna__err_at(err, MYNA_E_FORMAT, g->files[0].path, -1, "split.count is %lld but split.no is missing",
                        (long long)*count);
  if (*no > 0 && *no >= *count)
    return myna__gguf_kv_fail(g, myna__gguf_find(g, "split.no"), err, "split %lld of %lld", (long long)*no,
                              (long long)*count);
  return 0;
}

/* "DIR/NAME-00002-of-00003.gguf" -> the length of "DIR/NAME"; 0 when the name does not end so. */
static size_t split_prefix(const char *path, int64_t no, int64_t count) {
  char suffix[64];
  int n = snprintf(suffix, sizeof suffix, "-%05lld-of-%05lld.gguf", (long long)no + 1, (long long)count);
  size_t len = strlen(path);
  if (len <= (size_t)n || strcmp(path + len - (size_t)n, suffix) != 0) return 0;
  return len - (size_t)n;
}

/* Opens and reads one file into a fresh g. On failure nothing is held. */
static int open_part(myna__gguf *g, const char *path, int index, const myna__gguf_options *o, myna_err *err) {
  *g = (myna__gguf){0};
  int rc = myna__grow((void **)&g->files, 0, &g->cap_files, sizeof *g->files, err);
  if (rc == 0) rc = myna__file_open(g->files, path, o->no_mmap, err);
  if (rc < 0) goto fail;
  g->n_files = 1;
  rc = myna__gguf_read(g, g->files, index, o->header_only, err);
  if (rc == 0) return 0;
fail:
  myna__gguf_close(g);
  return rc;
}

/* Moves a part's file and tensors to the end of g's. The caller closes the part in any case. */
static int take_part(myna__gguf *g, myna__gguf *part, myna_err *err) {
  for (int64_t i = 0; i < part->n_tensors; i++) {
    const myna__gguf_tensor *t = &part->tensors[i];
    int fresh = myna__map_put(&g->tensor_map, t->name.p, t->name.n, g->n_tensors, err);
    if (fresh < 0) return fresh;
    if (fresh == 0) {
      char quote[MYNA__QUOTE];
      return myna__err_at(err, MYNA_E_FORMAT, part->files[0].path, t->name.p - 8 - (const char *)part->files[0].data,
                          "tensor '%s' is in an earlier split too", myna__str_quote(quote, t->name));
    }
    TRY(myna__grow((void **)&g->tensors, g->n_tensors, &g->cap_tensors, sizeof *t, err));
    g->tensors[g->n_tensors++] = *t;
  }
  TRY(myna__grow((void **)&g->files, g->n_files, &g->cap_files, sizeof *g->files, err));
  g->files[g->n_files++] = part->files[0];
  part->files[0] = (myna__file){0};
  return 0;
}

/* What split `index` of `count` says about itself. */
static int check_part(const myna__gguf *part, int64_t index, int64_t count, myna_err *err) {
  int64_t no, its_count;
  TRY(split_keys(part, &no, &its_count, err));
  const myna__gguf_kv *kv = myna__gguf_find(part, its_count != count ? "split.count" : "split.no");
  if (!kv)
    return myna__err_at(err, MYNA_E_FORMAT, part->files[0].path, -1,
                        "not a split: split.count is missing, expected %lld", (long long)count);
  if (its_count != count)
    return myna__gguf_kv_fail(part, kv, err, "the file says it is one of %lld splits, the first one says %lld",
                              (long long)its_count, (long long)count);
  if (no != index)
    return myna__gguf_kv_fail(part, kv, err, "the file says it is split %lld, its name says %lld", (long long)no,
                              (long long)index);
  return 0;
}

/* A set of splits on its way: the path of split `index` is written behind the prefix. */
typedef struct split_set {
  char *path;
  size_t prefix, cap;
  int64_t count;
  const myna__gguf_options *options;
} split_set;

/* Opens split `index` and adds it to g; split 0 becomes g. */
static int open_split(myna__gguf *g, const split_set *s, int64_t index, myna_err *err) {
  myna__gguf part;
  myna_err why = {0};
  snprintf(s->path + s->prefix, s->cap - s->prefix, "-%05lld-of-%05lld.gguf", (long long)index + 1,
           (long long)s->count);
  int rc = open_part(&part, s->path, (int)index, s->options, &why);
  if (rc == MYNA_E_NOTFOUND)
    return myna__err_at(err, rc, s->path, -1, "split %lld of %lld is missing", (long long)index + 1,
                        (long long)s->count);
  if (rc == 0) rc = check_part(&part, index, s->count, &why);
  if (rc == 0 && index == 0) {
    *g = part;
    return 0;
  }
  if (rc == 0) rc = take_part(g, &part, &why);
  if (rc < 0 && err && !err->code) *err = why;
  myna__gguf_close(&part);
  return rc;
}

/* The first split says how many tensors there are together: a set that was cut short shows here. */
static int check_total(const myna__gguf *g, myna_err *err) {
  int64_t total;
  TRY_N(split_key(g, "split.tensors.count", -1, INT64_MAX, &total, err));
  if (total == g->n_tensors) return 0;
  if (total < 0) return myna__err_at(err, MYNA_E_FORMAT, g->files[0].path, -1, "split.tensors.count is missing");
  return myna__gguf_kv_fail(g, myna__gguf_find(g, "split.tensors.count"), err,
                            "%lld tensors are announced, the splits hold %lld", (long long)total,
                            (long long)g->n_tensors);
}

/* g holds the split that was given: finds the others beside it. */
static int open_splits(myna__gguf *g, int64_t no, int64_t count, const myna__gguf_options *o, myna_err *err) {
  const char *given = g->files[0].path;
  split_set s = {.prefix = split_prefix(given, no, count), .count = count, .options = o};
  if (s.prefix == 0)
    return myna__err_at(err, MYNA_E_FORMAT, given, -1,
                        "split %lld of %lld, but its name does not end in -%05lld-of-%05lld.gguf", (long long)no + 1,
                        (long long)count, (long long)no + 1, (long long)count);
  s.cap = s.prefix + 64;
  s.path = myna__alloc(s.cap);
  if (!s.path) return myna__err(err, MYNA_E_NOMEM, "no memory for a path");
  memcpy(s.path, given, s.prefix);
  int rc = 0;
  if (no != 0) {
    myna__log(2, "%s is split %lld of %lld: opening the set from its first file", given, (long long)no + 1,
              (long long)count);
    myna__gguf_close(g);
    rc = open_split(g, &s, 0, err);
  }
  for (int64_t i = 1; i < count && rc == 0; i++) rc = open_split(g, &s, i, err);
  if (rc == 0) rc = check_total(g, err);
  myna__free(s.path, s.cap);
  return rc;
}

/* ---- open and close ---- */

int myna__gguf_open(myna__gguf *g, const char *path, const myna__gguf_options *o, myna_err *err) {
  static const myna__gguf_options defaults = {0};
  int64_t no, count;
  if (!o) o = &defaults;
  TRY(open_part(g, path, 0, o, err));
  int rc = split_keys(g, &no, &count, err);
  if (rc == 0 && count > 1 && !o->header_only) rc = open_splits(g, no, count, o, err);
  if (rc < 0) myna__gguf_close(g);
  return rc;
}

int myna__gguf_parse(myna__gguf *g, const uint8_t *bytes, size_t n, const char *name, myna_err *err) {
  int64_t no, count;
  *g = (myna__gguf){.borrowed = true};
  TRY(myna__grow((void **)&g->files, 0, &g->cap_files, sizeof *g->files, err));
  g->n_files = 1;
  g->files[0] = (myna__file){.data = bytes, .size = n, .path = myna__strndup(name, strlen(name))};
  int rc = g->files[0].path ? 0 : myna__err(err, MYNA_E_NOMEM, "no memory for a name");
  if (rc == 0) rc = myna__gguf_read(g, g->files, 0, false, err);
  if (rc == 0) rc = split_keys(g, &no, &count, err);
  if (rc == 0 && count > 1)
    rc = myna__err_at(err, MYNA_E_UNSUPPORTED, name, -1, "split %lld of %lld cannot be read from memory",
                      (long long)no + 1, (long long)count);
  if (rc < 0) myna__gguf_close(g);
  return rc;
}

void myna__gguf_close(myna__gguf *g) {
  for (int i = 0; i < g->n_files; i++) {
    if (g->borrowed)
      myna__strfree(g->files[i].path);
    else
      myna__file_close(&g->files[i]);
  }
  myna__free(g->files, (size_t)g->cap_files * sizeof *g->files);
  myna__free(g->kvs, (size_t)g->cap_kv * sizeof *g->kvs);
  myna__free(g->tensors, (size_t)g->cap_tensors * sizeof *g->tensors);
  myna__map_free(&g->kv_map);
  myna__map_free(&g->tensor_map);
  *g = (myna__gguf){0};
}

const myna__gguf_kv *myna__gguf_find(const myna__gguf *g, const char *key) {
  int64_t i = myna__map_get(&g->kv_map, key, strlen(key), -1);
  return i < 0 ? NULL : &g->kvs[i];
}

const myna__gguf_tensor *myna__gguf_tensor_find(const myna__gguf *g, const char *name) {
  int64_t i = myna__map_get(&g->tensor_map, name, strlen(name), -1);
  return i < 0 ? NULL : &g->tensors[i];
}
