/* gguf_read.c: walks the header of one GGUF file. The only code that looks at raw GGUF bytes of unknown quality;
 * what it accepts, gguf.c and gguf_get.c may trust.
 *
 *   "GGUF" | u32 version | u64 n_tensors | u64 n_kv | kv... | tensor info... | zeros to alignment | data
 *   kv:          str key | u32 type | value            str: u64 n | n bytes
 *   array value: u32 type | u64 count | elements
 *   tensor info: str name | u32 n_dims | u64 dims[n_dims] | u32 type | u64 offset in data
 *
 * Invariants: pos <= size; nothing is read before `need` said it is there; tables grow with what was really read, so
 * memory stays a small multiple of the bytes seen whatever the counts claim; every key and name is unique.
 * Source: the GGUF specification (ggml, docs/gguf.md) versions 2 and 3. */
#include "formats/gguf.h"
#include <stdio.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are used as they lie in the file");

enum {
  MAX_KEY = 65535, /* specification: 2^16 - 1 bytes */
  MAX_NAME = 64,   /* specification: 64 bytes; ggml takes 63 */
  MAX_NESTING = 2, /* array of arrays; ggml takes none */
  DEFAULT_ALIGNMENT = 32,
  MIN_KV = 8 + 1 + 4 + 1, /* least bytes of a kv and of a tensor info */
  MIN_INFO = 8 + 1 + 4 + 4 + 8,
};

typedef struct cursor {
  const uint8_t *p;
  size_t size, pos;
  const char *file;
  myna_err *err;
  /* what is being read, for messages: "key 'x'", or "key 3" while its name is unknown */
  const char *what;
  myna__str subject;
  int64_t index;
} cursor;

static const struct {
  char name[5];
  uint8_t size; /* 0: not fixed */
} types[MYNA__GGUF_TYPES] = {
    [MYNA__GGUF_U8] = {"u8", 1},   [MYNA__GGUF_I8] = {"i8", 1},     [MYNA__GGUF_U16] = {"u16", 2},
    [MYNA__GGUF_I16] = {"i16", 2}, [MYNA__GGUF_U32] = {"u32", 4},   [MYNA__GGUF_I32] = {"i32", 4},
    [MYNA__GGUF_F32] = {"f32", 4}, [MYNA__GGUF_BOOL] = {"bool", 1}, [MYNA__GGUF_STR] = {"str", 0},
    [MYNA__GGUF_ARR] = {"arr", 0}, [MYNA__GGUF_U64] = {"u64", 8},   [MYNA__GGUF_I64] = {"i64", 8},
    [MYNA__GGUF_F64] = {"f64", 8},
};

const char *myna__gguf_type_name(myna__gguf_type t) { return types[t].name; }

/* ---- reading ---- */

static int bad(const cursor *c, int code, size_t at, const char *fmt, ...) MYNA__PRINTF(4, 5);
static int bad(const cursor *c, int code, size_t at, const char *fmt, ...) {
  char reason[320], quote[MYNA__QUOTE];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(reason, sizeof reason, fmt, ap);
  va_end(ap);
  if (c->subject.n)
    return myna__err_at(c->err, code, c->file, (int64_t)at, "%s '%s': %s", c->what, myna__str_quote(quote, c->subject),
                        reason);
  if (c->index >= 0)
    return myna__err_at(c->err, code, c->file, (int64_t)at, "%s %lld: %s", c->what, (long long)c->index, reason);
  return myna__err_at(c->err, code, c->file, (int64_t)at, "%s: %s", c->what, reason);
}

static int need(const cursor *c, uint64_t n, const char *what) {
  if (n <= c->size - c->pos) return 0;
  return bad(c, MYNA_E_FORMAT, c->pos, "the file ends inside %s: %llu bytes needed, %llu left", what,
             (unsigned long long)n, (unsigned long long)(c->size - c->pos));
}

static int get_u32(cursor *c, const char *what, uint32_t *out) {
  TRY(need(c, 4, what));
  memcpy(out, c->p + c->pos, 4);
  c->pos += 4;
  return 0;
}

static int get_u64(cursor *c, const char *what, uint64_t *out) {
  TRY(need(c, 8, what));
  memcpy(out, c->p + c->pos, 8);
  c->pos += 8;
  return 0;
}

/* A non-empty string of at most max bytes. */
static int get_name(cursor *c, const char *what, uint64_t max, myna__str *out) {
  uint64_t n;
  size_t at = c->pos;
  TRY(get_u64(c, what, &n));
  if (n == 0) return bad(c, MYNA_E_FORMAT, at, "%s is empty", what);
  if (n > max)
    return bad(c, MYNA_E_FORMAT, at, "%s has %llu bytes, at most %llu are allowed", what, (unsigned long long)n,
               (unsigned long long)max);
  TRY(need(c, n, what));
  *out = (myna__str){(const char *)c->p + c->pos, (size_t)n};
  c->pos += (size_t)n;
  return 0;
}

/* Printable, and (not for keys, which are ASCII) well-formed UTF-8: a NUL would show two names as one. */
static int check_text(const cursor *c, const char *what, bool ascii) {
  const uint8_t *p = (const uint8_t *)c->subject.p;
  size_t n = c->subject.n;
  for (size_t i = 0; i < n;) {
    int len = p[i] < 0x80 ? p[i] >= 0x20 && p[i] != 0x7F : ascii ? 0 : myna__utf8_len(p + i, n - i);
    if (len == 0) return bad(c, MYNA_E_FORMAT, (size_t)(p - c->p) + i, "byte 0x%02x is not allowed in %s", p[i], what);
    i += (size_t)len;
  }
  return 0;
}

/* ---- metadata ---- */

static int get_type(cursor *c, const char *what, myna__gguf_type *out) {
  uint32_t t;
  size_t at = c->pos;
  TRY(get_u32(c, what, &t));
  if (t >= MYNA__GGUF_TYPES) return bad(c, MYNA_E_FORMAT, at, "%s %u is unknown, types are 0 to 12", what, t);
  *out = (myna__gguf_type)t;
  return 0;
}

static int skip_string(cursor *c) {
  uint64_t n;
  TRY(get_u64(c, "a string's length", &n));
  TRY(need(c, n, "a string"));
  c->pos += (size_t)n;
  return 0;
}

/* 150,000 tokens go through here: no call per string. */
static int skip_strings(cursor *c, uint64_t count) {
  const uint8_t *p = c->p;
  size_t pos = c->pos, size = c->size;
  for (; count > 0; count--) {
    uint64_t n;
    if (size - pos < 8) break;
    memcpy(&n, p + pos, 8);
    if (n > size - pos - 8) break;
    pos += 8 + (size_t)n;
  }
  c->pos = pos;
  return count > 0 ? skip_string(c) : 0; /* which then says what is wrong */
}

static int get_array_head(cursor *c, myna__gguf_type *elem, uint64_t *count) {
  TRY(get_type(c, "element type", elem));
  size_t at = c->pos;
  TRY(get_u64(c, "the element count", count));
  uint64_t least = *elem == MYNA__GGUF_STR ? 8 : *elem == MYNA__GGUF_ARR ? 12 : types[*elem].size;
  if (*count > (c->size - c->pos) / least)
    return bad(c, MYNA_E_FORMAT, at, "%llu elements of type %s do not fit into the %llu bytes left",
               (unsigned long long)*count, types[*elem].name, (unsigned long long)(c->size - c->pos));
  return 0;
}

static int skip_array(cursor *c, myna__gguf_type elem, uint64_t count, int nesting) {
  if (elem == MYNA__GGUF_STR) return skip_strings(c, count);
  if (elem != MYNA__GGUF_ARR) {
    c->pos += (size_t)count * types[elem].size;
    return 0;
  }
  if (nesting >= MAX_NESTING)
    return bad(c, MYNA_E_UNSUPPORTED, c->pos, "arrays are nested more than %d deep", MAX_NESTING);
  for (uint64_t i = 0; i < count; i++) {
    myna__gguf_type inner;
    uint64_t n;
    TRY(get_array_head(c, &inner, &n));
    TRY(skip_array(c, inner, n, nesting + 1));
  }
  return 0;
}

static int read_value(cursor *c, myna__gguf_kv *kv) {
  TRY(get_type(c, "value type", &kv->type));
  kv->count = 1;
  if (kv->type == MYNA__GGUF_ARR) TRY(get_array_head(c, &kv->elem, &kv->count));
  kv->data = c->p + c->pos;
  if (kv->type == MYNA__GGUF_ARR) return skip_array(c, kv->elem, kv->count, 1);
  if (kv->type == MYNA__GGUF_STR) return skip_string(c);
  TRY(need(c, types[kv->type].size, "the value"));
  c->pos += types[kv->type].size;
  return 0;
}

static int read_kv(cursor *c, myna__gguf *g) {
  myna__gguf_kv kv = {.offset = c->pos};
  TRY(get_name(c, "the key", MAX_KEY, &kv.key));
  c->subject = kv.key;
  TRY(check_text(c, "a key", true));
  int fresh = myna__map_put(&g->kv_map, kv.key.p, kv.key.n, g->n_kv, c->err);
  if (fresh <= 0) return fresh ? fresh : bad(c, MYNA_E_FORMAT, (size_t)kv.offset, "the key occurs twice");
  TRY(read_value(c, &kv));
  TRY(myna__grow((void **)&g->kvs, g->n_kv, &g->cap_kv, sizeof kv, c->err));
  g->kvs[g->n_kv++] = kv;
  return 0;
}

static int read_alignment(const cursor *c, myna__gguf *g) {
  g->alignment = DEFAULT_ALIGNMENT;
  const myna__gguf_kv *kv = myna__gguf_find(g, "general.alignment");
  if (!kv) return 0;
  size_t at = (size_t)(kv->data - c->p);
  if (kv->type != MYNA__GGUF_U32)
    return bad(c, MYNA_E_FORMAT, at, "general.alignment has type %s instead of u32", types[kv->type].name);
  memcpy(&g->alignment, kv->data, 4);
  if (g->alignment == 0 || (g->alignment & (g->alignment - 1)))
    return bad(c, MYNA_E_FORMAT, at, "general.alignment %u is not a power of two", g->alignment);
  return 0;
}

/* ---- tensors ---- */

/* Type ids in files, from the list; -1 marks types that GGUF does not have. */
static const int16_t id_of_type[MYNA_DTYPE_COUNT] = {
#define DTYPE(name, str, ggml_id, block, bytes, kind) [MYNA_##name] = ggml_id,
#include "myna_dtypes.inc"
#undef DTYPE
};

/* Ids that older tools wrote and that ggml took back. */
static const struct {
  uint8_t id;
  char name[12];
} removed_types[] = {{4, "Q4_2"},      {5, "Q4_3"},        {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},
                     {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}};

static int read_tensor_type(cursor *c, myna__gguf_tensor *t) {
  uint32_t id;
  size_t at = c->pos;
  TRY(get_u32(c, "the type", &id));
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) {
    if (id_of_type[i] < 0 || (uint32_t)id_of_type[i] != id) continue;
    t->type = (myna_dtype)i;
    return 0;
  }
  for (size_t i = 0; i < MYNA__COUNT(removed_types); i++)
    if (removed_types[i].id == id)
      return bad(c, MYNA_E_UNSUPPORTED, at, "type %s (id %u) was removed from GGUF: quantize the model again",
                 removed_types[i].name, id);
  return bad(c, MYNA_E_FORMAT, at, "type id %u is unknown", id);
}

static int read_dims(cursor *c, myna__gguf_tensor *t) {
  uint32_t n;
  size_t at = c->pos;
  TRY(get_u32(c, "the number of dimensions", &n));
  if (n > 4) return bad(c, MYNA_E_FORMAT, at, "%u dimensions, at most 4 are allowed", n);
  t->n_dims = (int)n;
  for (uint32_t i = 0; i < 4; i++) {
    t->dims[i] = 1;
    if (i >= n) continue;
    at = c->pos;
    TRY(get_u64(c, "the dimensions", (uint64_t *)&t->dims[i]));
    if (t->dims[i] <= 0)
      return bad(c, MYNA_E_FORMAT, at, "dimension %u is %lld, it must be positive", i, (long long)t->dims[i]);
  }
  return 0;
}

static int tensor_bytes(const cursor *c, size_t at, myna__gguf_tensor *t) {
  int block = myna_dtype_block(t->type);
  if (t->dims[0] % block)
    return bad(c, MYNA_E_FORMAT, at, "rows of %lld elements are not whole blocks of %d (%s)", (long long)t->dims[0],
               block, myna_dtype_name(t->type));
  int64_t elements = 1, bytes;
  for (int i = 0; i < 4; i++)
    if (!myna__mul_ok(elements, t->dims[i], &elements))
      return bad(c, MYNA_E_FORMAT, at, "the number of elements overflows");
  if (!myna__mul_ok(elements / block, myna_dtype_bytes(t->type), &bytes))
    return bad(c, MYNA_E_FORMAT, at, "the size in bytes overflows");
  t->bytes = (uint64_t)bytes;
  return 0;
}

/* Leaves the offset relative to the data section, which is not known yet. */
static int read_tensor(cursor *c, myna__gguf *g, int file) {
  myna__gguf_tensor t = {.file = file};
  size_t at = c->pos;
  TRY(get_name(c, "the name", MAX_NAME, &t.name));
  c->subject = t.name;
  TRY(check_text(c, "a name", false));
  int fresh = myna__map_put(&g->tensor_map, t.name.p, t.name.n, g->n_tensors, c->err);
  if (fresh <= 0) return fresh ? fresh : bad(c, MYNA_E_FORMAT, at, "the name occurs twice");
  TRY(read_dims(c, &t));
  at = c->pos;
  TRY(read_tensor_type(c, &t));
  TRY(tensor_bytes(c, at, &t));
  at = c->pos;
  TRY(get_u64(c, "the data offset", &t.offset));
  if (t.offset % g->alignment)
    return bad(c, MYNA_E_FORMAT, at, "data offset %llu is not a multiple of the alignment %u",
               (unsigned long long)t.offset, g->alignment);
  TRY(myna__grow((void **)&g->tensors, g->n_tensors, &g->cap_tensors, sizeof t, c->err));
  g->tensors[g->n_tensors++] = t;
  return 0;
}

/* ---- tensor data ---- */

static bool align_up(uint64_t n, uint64_t alignment, uint64_t *out) {
  return !__builtin_add_overflow(n, (alignment - n % alignment) % alignment, out);
}

/* The subject becomes tensor t; its info starts 8 bytes before its name. */
static size_t blame(cursor *c, const myna__gguf_tensor *t) {
  c->what = "tensor";
  c->subject = t->name;
  return (size_t)((const uint8_t *)t->name.p - c->p) - 8;
}

/* Turns the relative offset into one in the file and checks that the data is there. */
static int place_tensor(cursor *c, myna__gguf_tensor *t, uint64_t start, bool header_only) {
  uint64_t relative = t->offset, end;
  if (__builtin_add_overflow(relative, start, &t->offset) || __builtin_add_overflow(t->offset, t->bytes, &end))
    return bad(c, MYNA_E_FORMAT, blame(c, t), "data offset %llu overflows", (unsigned long long)relative);
  if (end <= c->size)
    t->data = c->p + t->offset;
  else if (!header_only)
    return bad(c, MYNA_E_FORMAT, blame(c, t), "data ends at byte %llu, the file has %llu: truncated or wrong offset",
               (unsigned long long)end, (unsigned long long)c->size);
  return 0;
}

static uint64_t tensor_offset(const void *tensors, int64_t i) { return ((const myna__gguf_tensor *)tensors)[i].offset; }

static int check_overlap(cursor *c, const myna__gguf_tensor *before, const myna__gguf_tensor *t) {
  if (before->offset + before->bytes <= t->offset) return 0;
  char quote[MYNA__QUOTE];
  return bad(c, MYNA_E_FORMAT, blame(c, t), "data overlaps that of tensor '%s'", myna__str_quote(quote, before->name));
}

/* Writers put tensors in the order of their data; only other files pay for a sort. */
static int check_overlaps(cursor *c, const myna__gguf *g) {
  int64_t n = g->n_tensors, ascending = 1;
  int rc = 0;
  for (; ascending < n && g->tensors[ascending - 1].offset <= g->tensors[ascending].offset; ascending++)
    TRY(check_overlap(c, &g->tensors[ascending - 1], &g->tensors[ascending]));
  if (ascending >= n) return 0;
  int64_t *order = myna__alloc((size_t)n * sizeof *order);
  if (!order) return myna__err(c->err, MYNA_E_NOMEM, "no memory for %lld tensors", (long long)n);
  for (int64_t i = 0; i < n; i++) order[i] = i;
  myna__sort_index(order, n, tensor_offset, g->tensors);
  for (int64_t i = 1; i < n && rc == 0; i++) rc = check_overlap(c, &g->tensors[order[i - 1]], &g->tensors[order[i]]);
  myna__free(order, (size_t)n * sizeof *order);
  return rc;
}

/* Some writers pad the last tensor and some do not, so both ends are whole files; an end in between is a cut. */
static int check_end(cursor *c, const myna__gguf *g) {
  const myna__gguf_tensor *last = &g->tensors[0];
  for (int64_t i = 1; i < g->n_tensors; i++)
    if (g->tensors[i].offset > last->offset) last = &g->tensors[i];
  uint64_t end = last->offset + last->bytes, padded;
  if (end == c->size || (align_up(end, g->alignment, &padded) && padded <= c->size)) return 0;
  return bad(c, MYNA_E_FORMAT, blame(c, last), "the file ends inside the padding after this last tensor: truncated");
}

static int place_tensors(cursor *c, myna__gguf *g, bool header_only) {
  uint64_t start;
  if (!align_up(c->pos, g->alignment, &start)) return bad(c, MYNA_E_FORMAT, c->pos, "the header is too long");
  for (int64_t i = 0; i < g->n_tensors; i++) TRY(place_tensor(c, &g->tensors[i], start, header_only));
  TRY(check_overlaps(c, g));
  return header_only ? 0 : check_end(c, g);
}

/* ---- the file ---- */

/* Files that people try to open as GGUF: say what they are. */
static const char *other_format(const uint8_t *p, size_t n) {
  static const struct {
    const char *magic, *is;
  } others[] = {
      {"lmgg", "a GGML file from before GGUF: convert it again"},
      {"fmgg", "a GGML file from before GGUF: convert it again"},
      {"tjgg", "a GGML file from before GGUF: convert it again"},
      {"PK\x03\x04", "a zip archive (PyTorch?)"},
      {"version https://git-lfs", "a Git LFS pointer: fetch the real file"},
      {"<!DO", "an HTML page"},
      {"<htm", "an HTML page"},
  };
  for (size_t i = 0; i < MYNA__COUNT(others); i++) {
    size_t len = strlen(others[i].magic);
    if (n >= len && memcmp(p, others[i].magic, len) == 0) return others[i].is;
  }
  return NULL;
}

static int read_version(cursor *c, myna__gguf *g) {
  TRY(need(c, 4, "the magic"));
  if (memcmp(c->p, "GGUF", 4) != 0) {
    char quote[MYNA__QUOTE];
    const char *is = other_format(c->p, c->size);
    if (is) return bad(c, MYNA_E_FORMAT, 0, "not a GGUF file but %s", is);
    return bad(c, MYNA_E_FORMAT, 0, "not a GGUF file: it starts with '%s'",
               myna__str_quote(quote, (myna__str){(const char *)c->p, 4}));
  }
  c->pos = 4;
  TRY(get_u32(c, "the version", &g->version));
  if (g->version == 2 || g->version == 3) return 0;
  if (g->version == 1)
    return bad(c, MYNA_E_UNSUPPORTED, 4, "GGUF version 1 is not supported, only 2 and 3: convert the model again");
  if (g->version && (g->version & 0xFFFF) == 0)
    return bad(c, MYNA_E_UNSUPPORTED, 4, "big-endian GGUF is not supported");
  return bad(c, g->version ? MYNA_E_UNSUPPORTED : MYNA_E_FORMAT, 4, "GGUF version %u is unknown, only 2 and 3 are",
             g->version);
}

static int read_count(cursor *c, const char *what, uint64_t least, uint64_t *out) {
  size_t at = c->pos;
  TRY(get_u64(c, what, out));
  if (*out <= (c->size - c->pos) / least) return 0;
  return bad(c, MYNA_E_FORMAT, at, "%s is %llu, more than fit into the %llu bytes left", what, (unsigned long long)*out,
             (unsigned long long)(c->size - c->pos));
}

int myna__gguf_read(myna__gguf *g, const myna__file *f, int file, bool header_only, myna_err *err) {
  cursor c = {.p = f->data, .size = f->size, .file = f->path, .err = err, .what = "header", .index = -1};
  uint64_t n_tensors, n_kv;
  TRY(read_version(&c, g));
  TRY(read_count(&c, "the number of tensors", MIN_INFO, &n_tensors));
  TRY(read_count(&c, "the number of keys", MIN_KV, &n_kv));
  c.what = "key";
  for (c.index = 0; c.index < (int64_t)n_kv; c.index++) {
    c.subject.n = 0;
    TRY(read_kv(&c, g));
  }
  c = (cursor){.p = c.p, .size = c.size, .pos = c.pos, .file = c.file, .err = err, .what = "metadata", .index = -1};
  TRY(read_alignment(&c, g));
  c.what = "tensor";
  for (c.index = 0; c.index < (int64_t)n_tensors; c.index++) {
    c.subject.n = 0;
    TRY(read_tensor(&c, g, file));
  }
  return n_tensors ? place_tensors(&c, g, header_only) : 0;
}
