/* safetensors.c: u64 header length | JSON header | data
 *
 *   {"__metadata__": {"key": "value"}, "name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}, ...}
 *
 * Invariants of an accepted file: names are unique; each tensor's range is exactly its shape times its type; the
 * ranges cover the data section from its first to its last byte without hole or overlap. */
#include "formats/safetensors.h"
#include "formats/jsonread.h"

#define MAX_HEADER 100000000u /* as the reference reader */

/* Bits of one element. */
static const struct {
  const char *name;
  int bits;
} dtypes[] = {
    {"F32", 32},    {"F16", 16},    {"BF16", 16},       {"U32", 32},        {"U8", 8},   {"I8", 8},
    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8},     {"F4", 4},          {"I64", 64}, {"I32", 32},
    {"I16", 16},    {"U16", 16},    {"U64", 64},        {"F64", 64},        {"BOOL", 8}, {"C64", 64},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
};

/* ---- the JSON header ---- */

/* The current string for as long as s lives. */
static int keep(myna__safetensors *s, const myna__json *j, myna__str *out, myna_err *err) {
  *out = j->str;
  if (j->borrowed) return 0;
  char *copy = myna__arena_alloc(&s->arena, j->str.n + 1);
  if (!copy) return myna__err(err, MYNA_E_NOMEM, "no memory for a name");
  memcpy(copy, j->str.p, j->str.n);
  out->p = copy;
  return 0;
}

static int read_meta_pair(myna__safetensors *s, myna__json *j, myna_err *err) {
  TRY(myna__grow((void **)&s->meta, s->n_meta, &s->cap_meta, 2 * sizeof *s->meta, err));
  myna__str *pair = &s->meta[2 * s->n_meta];
  TRY(keep(s, j, &pair[0], err));
  int fresh = myna__map_put(&s->meta_map, pair[0].p, pair[0].n, s->n_meta, err);
  if (fresh < 0) return fresh;
  if (fresh == 0) return myna__json_fail(j, MYNA_E_FORMAT, "a key of __metadata__ occurs twice");
  TRY(myna__json_expect(j, MYNA__JSON_STRING));
  TRY(keep(s, j, &pair[1], err));
  s->n_meta++;
  return 0;
}

/* MLX writes null where it has no metadata. */
static int read_metadata(myna__safetensors *s, myna__json *j, myna_err *err) {
  int rc;
  TRY_N(myna__json_next(j));
  if (j->token == MYNA__JSON_NULL) return 0;
  TRY(myna__json_is(j, MYNA__JSON_OBJECT));
  while ((rc = myna__json_key(j)) > 0) TRY(read_meta_pair(s, j, err));
  return rc;
}

static int read_dtype(myna__st_tensor *t, myna__json *j, int *bits) {
  char quote[MYNA__QUOTE];
  TRY(myna__json_expect(j, MYNA__JSON_STRING));
  for (size_t i = 0; i < MYNA__COUNT(dtypes); i++) {
    if (!myna__str_eq(j->str, dtypes[i].name)) continue;
    memcpy(t->dtype, j->str.p, j->str.n); /* zeroed, every name is shorter */
    t->type = myna_dtype_from_name(t->dtype);
    *bits = dtypes[i].bits;
    return 0;
  }
  return myna__json_fail(j, MYNA_E_FORMAT, "unknown dtype '%s'", myna__str_quote(quote, j->str));
}

static int read_shape(myna__st_tensor *t, myna__json *j) {
  int rc;
  TRY(myna__json_expect(j, MYNA__JSON_ARRAY));
  while ((rc = myna__json_item(j)) > 0) {
    uint64_t dim;
    TRY(myna__json_u64(j, &dim));
    if (dim > INT64_MAX) return myna__json_fail(j, MYNA_E_FORMAT, "a dimension of %llu", (unsigned long long)dim);
    if (t->n_dims == MYNA__ST_DIMS)
      return myna__json_fail(j, MYNA_E_UNSUPPORTED, "more than %d dimensions are not supported", MYNA__ST_DIMS);
    t->shape[t->n_dims++] = (int64_t)dim;
  }
  return rc;
}

/* [begin, end) in the data section; end goes to t->bytes for now. */
static int read_offsets(myna__st_tensor *t, myna__json *j) {
  uint64_t v[2];
  int n = 0, rc;
  TRY(myna__json_expect(j, MYNA__JSON_ARRAY));
  while ((rc = myna__json_item(j)) > 0) {
    if (n == 2) return myna__json_fail(j, MYNA_E_FORMAT, "data_offsets has more than two numbers");
    TRY(myna__json_u64(j, &v[n++]));
  }
  if (rc < 0) return rc;
  if (n != 2) return myna__json_fail(j, MYNA_E_FORMAT, "data_offsets needs two numbers, has %d", n);
  if (v[0] > v[1])
    return myna__json_fail(j, MYNA_E_FORMAT, "data_offsets end at %llu before they begin at %llu",
                           (unsigned long long)v[1], (unsigned long long)v[0]);
  t->offset = v[0];
  t->bytes = v[1];
  return 0;
}

/* Bytes of the shape; negative when they overflow or are not whole. A zero dimension does not excuse an overflow
 * before it (the reference reader multiplies in this order too). */
static int shape_bytes(const myna__st_tensor *t, int bits, myna__json *j, uint64_t *bytes) {
  uint64_t n = 1, total;
  for (int i = 0; i < t->n_dims; i++)
    if (__builtin_mul_overflow(n, (uint64_t)t->shape[i], &n))
      return myna__json_fail(j, MYNA_E_FORMAT, "the shape's size overflows");
  if (__builtin_mul_overflow(n, (uint64_t)bits, &total))
    return myna__json_fail(j, MYNA_E_FORMAT, "the shape's size overflows");
  if (total % 8) return myna__json_fail(j, MYNA_E_FORMAT, "%s: the shape is not a whole number of bytes", t->dtype);
  *bytes = total / 8;
  return 0;
}

enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };

static int read_info(myna__st_tensor *t, myna__json *j, int *bits) {
  int seen = 0, rc;
  TRY(myna__json_expect(j, MYNA__JSON_OBJECT));
  while ((rc = myna__json_key(j)) > 0) {
    int field = myna__str_eq(j->str, "dtype")          ? DTYPE
                : myna__str_eq(j->str, "shape")        ? SHAPE
                : myna__str_eq(j->str, "data_offsets") ? OFFSETS
                                                       : 0;
    if (field & seen) return myna__json_fail(j, MYNA_E_FORMAT, "a field occurs twice");
    seen |= field;
    if (field == DTYPE)
      TRY(read_dtype(t, j, bits));
    else if (field == SHAPE)
      TRY(read_shape(t, j));
    else if (field == OFFSETS)
      TRY(read_offsets(t, j));
    else
      TRY(myna__json_skip(j));
  }
  if (rc < 0) return rc;
  if (seen == (DTYPE | SHAPE | OFFSETS)) return 0;
  return myna__json_fail(j, MYNA_E_FORMAT, "%s is missing",
                         !(seen & DTYPE)   ? "dtype"
                         : !(seen & SHAPE) ? "shape"
                                           : "data_offsets");
}

/* data_start, n: the data section. */
static int read_tensor(myna__safetensors *s, myna__json *j, uint64_t data_start, uint64_t n, myna_err *err) {
  myna__st_tensor t = {.type = -1};
  char quote[MYNA__QUOTE];
  int bits = 0;
  uint64_t wanted = 0;
  TRY(keep(s, j, &t.name, err));
  int fresh = myna__map_put(&s->map, t.name.p, t.name.n, s->n_tensors, err);
  if (fresh < 0) return fresh;
  if (fresh == 0) return myna__json_fail(j, MYNA_E_FORMAT, "tensor '%s' occurs twice", myna__str_quote(quote, t.name));
  TRY(read_info(&t, j, &bits));
  TRY(shape_bytes(&t, bits, j, &wanted));
  uint64_t end = t.bytes;
  t.bytes = end - t.offset;
  if (t.bytes != wanted)
    return myna__json_fail(j, MYNA_E_FORMAT, "tensor '%s': data_offsets span %llu bytes, %s and the shape need %llu",
                           myna__str_quote(quote, t.name), (unsigned long long)t.bytes, t.dtype,
                           (unsigned long long)wanted);
  if (end > n)
    return myna__json_fail(j, MYNA_E_FORMAT, "tensor '%s': data ends at byte %llu of %llu: truncated or wrong offset",
                           myna__str_quote(quote, t.name), (unsigned long long)end, (unsigned long long)n);
  t.offset += data_start;
  t.data = s->file.data + t.offset;
  TRY(myna__grow((void **)&s->tensors, s->n_tensors, &s->cap_tensors, sizeof t, err));
  s->tensors[s->n_tensors++] = t;
  return 0;
}

/* ---- the data section ---- */

/* Empty tensors sort before the one that starts at the same byte. Offsets are below 2^63. */
static uint64_t place_of(const void *tensors, int64_t i) {
  const myna__st_tensor *t = (const myna__st_tensor *)tensors + i;
  return t->offset << 1 | (t->bytes > 0);
}

/* Each tensor starts where the part covered so far ends, and the last one ends with the file. */
static int check_cover(const myna__safetensors *s, const int64_t *order, uint64_t data_start, myna_err *err) {
  char quote[MYNA__QUOTE];
  uint64_t covered = data_start;
  for (int64_t i = 0; i < s->n_tensors; i++) {
    const myna__st_tensor *t = &s->tensors[order[i]];
    if (t->offset != covered)
      return myna__err_at(err, MYNA_E_FORMAT, s->file.path, (int64_t)t->offset,
                          "tensor '%s' %s: the data before it ends at byte %llu", myna__str_quote(quote, t->name),
                          t->offset < covered ? "overlaps another" : "leaves a hole", (unsigned long long)covered);
    covered += t->bytes;
  }
  if (covered == s->file.size) return 0;
  return myna__err_at(err, MYNA_E_FORMAT, s->file.path, (int64_t)covered,
                      "the tensors cover %llu bytes of data, the file has %llu",
                      (unsigned long long)(covered - data_start), (unsigned long long)(s->file.size - data_start));
}

static int check_data(const myna__safetensors *s, uint64_t data_start, myna_err *err) {
  size_t bytes = (size_t)s->n_tensors * sizeof(int64_t);
  int64_t *order = myna__alloc(bytes + sizeof *order);
  if (!order) return myna__err(err, MYNA_E_NOMEM, "no memory for %lld tensors", (long long)s->n_tensors);
  bool sorted = true;
  for (int64_t i = 0; i < s->n_tensors; i++) {
    order[i] = i;
    if (i > 0 && place_of(s->tensors, i) < place_of(s->tensors, i - 1)) sorted = false;
  }
  if (!sorted) myna__sort_index(order, s->n_tensors, place_of, s->tensors);
  int rc = check_cover(s, order, data_start, err);
  myna__free(order, bytes + sizeof *order);
  return rc;
}

/* ---- the file ---- */

static int read_header(myna__safetensors *s, myna__json *j, uint64_t data_start, myna_err *err) {
  bool meta_seen = false;
  int rc;
  TRY(myna__json_expect(j, MYNA__JSON_OBJECT));
  while ((rc = myna__json_key(j)) > 0) {
    bool is_meta = myna__str_eq(j->str, "__metadata__");
    if (is_meta && meta_seen) return myna__json_fail(j, MYNA_E_FORMAT, "__metadata__ occurs twice");
    meta_seen |= is_meta;
    if (is_meta)
      TRY(read_metadata(s, j, err));
    else
      TRY(read_tensor(s, j, data_start, s->file.size - data_start, err));
  }
  if (rc < 0) return rc;
  return myna__json_expect(j, MYNA__JSON_END);
}

static int read_file(myna__safetensors *s, myna_err *err) {
  const char *path = s->file.path;
  uint64_t n, size = s->file.size;
  if (size < sizeof n)
    return myna__err_at(err, MYNA_E_FORMAT, path, 0,
                        "not a safetensors file: %llu bytes, the header length alone needs 8",
                        (unsigned long long)size);
  memcpy(&n, s->file.data, sizeof n);
  if (n > MAX_HEADER)
    return myna__err_at(err, MYNA_E_FORMAT, path, 0,
                        "not a safetensors file: a header of %llu bytes, at most %u are allowed", (unsigned long long)n,
                        MAX_HEADER);
  if (n > size - sizeof n)
    return myna__err_at(err, MYNA_E_FORMAT, path, 0, "the header has %llu bytes, the file ends after %llu",
                        (unsigned long long)n, (unsigned long long)(size - sizeof n));
  myna__json j;
  myna__json_init(&j, s->file.data + sizeof n, (size_t)n, path, sizeof n, err);
  int rc = read_header(s, &j, sizeof n + n, err);
  myna__json_free(&j);
  return rc < 0 ? rc : check_data(s, sizeof n + n, err);
}

int myna__st_open(myna__safetensors *s, const char *path, bool no_mmap, myna_err *err) {
  *s = (myna__safetensors){0};
  TRY(myna__file_open(&s->file, path, no_mmap, err));
  int rc = read_file(s, err);
  if (rc < 0) myna__st_close(s);
  return rc;
}

int myna__st_parse(myna__safetensors *s, const uint8_t *bytes, size_t n, const char *name, myna_err *err) {
  *s = (myna__safetensors){.borrowed = true};
  s->file = (myna__file){.data = bytes, .size = n, .path = myna__strndup(name, strlen(name))};
  int rc = s->file.path ? read_file(s, err) : myna__err(err, MYNA_E_NOMEM, "no memory for a name");
  if (rc < 0) myna__st_close(s);
  return rc;
}

void myna__st_close(myna__safetensors *s) {
  if (s->borrowed)
    myna__strfree(s->file.path);
  else
    myna__file_close(&s->file);
  myna__free(s->tensors, (size_t)s->cap_tensors * sizeof *s->tensors);
  myna__free(s->meta, (size_t)s->cap_meta * 2 * sizeof *s->meta);
  myna__map_free(&s->map);
  myna__map_free(&s->meta_map);
  myna__arena_free(&s->arena);
  *s = (myna__safetensors){0};
}

const myna__st_tensor *myna__st_find(const myna__safetensors *s, const char *name) {
  int64_t i = myna__map_get(&s->map, name, strlen(name), -1);
  return i < 0 ? NULL : &s->tensors[i];
}

myna__str myna__st_meta(const myna__safetensors *s, const char *key) {
  int64_t i = myna__map_get(&s->meta_map, key, strlen(key), -1);
  return i < 0 ? (myna__str){0} : s->meta[2 * i + 1];
}
