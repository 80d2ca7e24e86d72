/* gguf_writer.h: builds GGUF files in memory for tests, with no code of the library: what it writes is what the
 * specification says. Header only; a failed allocation ends the test program.
 *
 *   gw w = gw_new(3);
 *   gw_u32(&w, "general.alignment", 64);
 *   gw_tensor(&w, "a", 0, (int64_t[]){4, 2}, 2, data, 32);
 *   gw_bytes file = gw_finish(&w);          file.p, file.n, free(file.p)
 *
 * Also `assemble`: bytes from a line of text, for hostile files. */
#ifndef MYNA__TEST_GGUF_WRITER_H
#define MYNA__TEST_GGUF_WRITER_H

#include "test.h"

enum { GW_U8, GW_I8, GW_U16, GW_I16, GW_U32, GW_I32, GW_F32, GW_BOOL, GW_STR, GW_ARR, GW_U64, GW_I64, GW_F64 };

typedef struct gw_bytes {
  uint8_t *p;
  size_t n, cap;
} gw_bytes;

static inline void gw_add(gw_bytes *b, const void *p, size_t n) {
  if (b->n + n > b->cap) {
    b->cap = (b->n + n) * 2 + 64;
    b->p = realloc(b->p, b->cap);
    if (!b->p) abort();
  }
  if (n) memcpy(b->p + b->n, p, n);
  b->n += n;
}
/* Little-endian integer of `bytes` bytes. */
static inline void gw_int(gw_bytes *b, int bytes, uint64_t v) {
  for (int i = 0; i < bytes; i++) gw_add(b, &(uint8_t){(uint8_t)(v >> (8 * i))}, 1);
}
static inline void gw_text(gw_bytes *b, const char *s, size_t n) {
  gw_int(b, 8, n);
  gw_add(b, s, n);
}
static inline void gw_pad(gw_bytes *b, size_t alignment) {
  while (b->n % alignment) gw_int(b, 1, 0);
}

typedef struct gw {
  uint32_t version;
  size_t alignment; /* follows general.alignment */
  uint64_t n_kv, n_tensors;
  gw_bytes kv, info, data;
} gw;

static inline gw gw_new(uint32_t version) { return (gw){.version = version, .alignment = 32}; }

static inline void gw_key(gw *w, const char *key, int type) {
  gw_text(&w->kv, key, strlen(key));
  gw_int(&w->kv, 4, (uint64_t)type);
  w->n_kv++;
}
/* A number of the type as its bits. */
static inline void gw_num(gw *w, const char *key, int type, uint64_t bits) {
  static const int sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  gw_key(w, key, type);
  gw_int(&w->kv, sizes[type], bits);
}
static inline void gw_u32(gw *w, const char *key, uint32_t v) {
  gw_num(w, key, GW_U32, v);
  if (strcmp(key, "general.alignment") == 0) w->alignment = v;
}
static inline void gw_bool(gw *w, const char *key, int v) { gw_num(w, key, GW_BOOL, (uint64_t)v); }
static inline void gw_f32(gw *w, const char *key, float v) {
  uint32_t bits;
  memcpy(&bits, &v, 4);
  gw_num(w, key, GW_F32, bits);
}
static inline void gw_str(gw *w, const char *key, const char *v) {
  gw_key(w, key, GW_STR);
  gw_text(&w->kv, v, strlen(v));
}
/* elements: count numbers as they lie in memory, bytes in all. */
static inline void gw_arr(gw *w, const char *key, int elem, uint64_t count, const void *elements, size_t bytes) {
  gw_key(w, key, GW_ARR);
  gw_int(&w->kv, 4, (uint64_t)elem);
  gw_int(&w->kv, 8, count);
  gw_add(&w->kv, elements, bytes);
}
static inline void gw_strs(gw *w, const char *key, const char *const *v, size_t n) {
  gw_arr(w, key, GW_STR, n, NULL, 0);
  for (size_t i = 0; i < n; i++) gw_text(&w->kv, v[i], strlen(v[i]));
}
/* Adds the info; data NULL writes a pattern. Every tensor is padded, also the last. */
static inline void gw_tensor(gw *w, const char *name, uint32_t type, const int64_t *dims, uint32_t n_dims,
                             const void *data, size_t bytes) {
  gw_text(&w->info, name, strlen(name));
  gw_int(&w->info, 4, n_dims);
  for (uint32_t i = 0; i < n_dims; i++) gw_int(&w->info, 8, (uint64_t)dims[i]);
  gw_int(&w->info, 4, type);
  gw_int(&w->info, 8, w->data.n);
  for (size_t i = 0; i < bytes; i++)
    gw_int(&w->data, 1, data ? ((const uint8_t *)data)[i] : (w->n_tensors * 37 + i) & 0xFF);
  gw_pad(&w->data, w->alignment);
  w->n_tensors++;
}

/* The file; w is used up. */
static inline gw_bytes gw_finish(gw *w) {
  gw_bytes f = {0};
  gw_add(&f, "GGUF", 4);
  gw_int(&f, 4, w->version);
  gw_int(&f, 8, w->n_tensors);
  gw_int(&f, 8, w->n_kv);
  gw_add(&f, w->kv.p, w->kv.n);
  gw_add(&f, w->info.p, w->info.n);
  if (w->n_tensors) gw_pad(&f, w->alignment);
  gw_add(&f, w->data.p, w->data.n);
  free(w->kv.p);
  free(w->info.p);
  free(w->data.p);
  *w = (gw){0};
  return f;
}

/* Bytes from text, items separated by spaces:
 *   'abc' raw bytes   s'abc' u64 length and bytes   4:-1 integer of 1, 2, 4 or 8 bytes (decimal or 0x)
 *   z:10 zero bytes   p:32 zeros to a multiple      r:300:61 a byte repeated      @ marks an offset, stored in *mark */
static inline gw_bytes assemble(const char *s, int64_t *mark) {
  gw_bytes b = {0};
  gw_add(&b, "", 0);
  *mark = -1;
  for (; *s; s++) {
    if (*s == ' ') continue;
    if (*s == '@') {
      *mark = (int64_t)b.n;
    } else if (*s == '\'' || (*s == 's' && s[1] == '\'')) {
      int text = *s == 's';
      const char *start = s + text + 1, *end = strchr(start, '\'');
      if (text) gw_int(&b, 8, (uint64_t)(end - start));
      gw_add(&b, start, (size_t)(end - start));
      s = end;
    } else {
      char *end;
      char kind = *s;
      if (s[1] != ':') fail_msg("cannot assemble \"%s\"", s);
      unsigned long long v = strtoull(s + 2, &end, 0);
      if (kind == 'z') {
        for (; v > 0; v--) gw_int(&b, 1, 0);
      } else if (kind == 'p') {
        gw_pad(&b, (size_t)v);
      } else if (kind == 'r') {
        unsigned long long byte = strtoull(end + 1, &end, 16);
        for (; v > 0; v--) gw_int(&b, 1, byte);
      } else {
        gw_int(&b, kind - '0', v);
      }
      s = end - 1;
    }
  }
  return b;
}

/* A copy of exactly n bytes, so that a sanitizer sees a read behind it; free() it. */
static inline uint8_t *exact_copy(const void *p, size_t n) {
  uint8_t *copy = malloc(n ? n : 1);
  if (!copy) abort();
  if (n) memcpy(copy, p, n);
  return copy;
}

/* A file of the shared test data beside the checkout; NULL (and a line that says so) when it is not there. */
static inline const char *shared_path(char buf[512], const char *rel) {
  snprintf(buf, 512, "%s/../shared/data/%s", MYNA_ROOT, rel);
  if (access(buf, R_OK) == 0) return buf;
  print_message("skipped: %s is not there\n", buf);
  return NULL;
}

/* How the scripts' dumps write bytes: a hash of data, and text in quotes. */
static inline uint64_t fnv(const uint8_t *p, uint64_t n) {
  uint64_t h = 0xCBF29CE484222325u;
  for (uint64_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001B3u;
  return h;
}
static inline void dump_str(FILE *out, const char *p, size_t n) {
  fputc('"', out);
  for (size_t i = 0; i < n; i++) {
    uint8_t c = (uint8_t)p[i];
    if (c >= 0x20 && c < 0x7F && c != '\\' && c != '"')
      fputc(c, out);
    else
      fprintf(out, "\\x%02x", c);
  }
  fputc('"', out);
}

/* A whole file in memory; the test fails when it cannot be read. */
static inline gw_bytes read_whole(const char *path) {
  gw_bytes b = {0};
  FILE *f = fopen(path, "rb");
  if (!f) fail_msg("cannot open %s", path);
  uint8_t chunk[4096];
  gw_add(&b, "", 0);
  for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;) gw_add(&b, chunk, n);
  fclose(f);
  return b;
}

#endif
