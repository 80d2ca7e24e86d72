/* gguf.h: reads GGUF v2/v3 (little endian, also split over several files) into plain structs.
 * Nothing is copied from the file but the small tables below; names, strings and tensor data point into the
 * mapping and live until myna__gguf_close. Safe on untrusted input: every malformed file gives
 * MYNA_E_FORMAT with file, byte offset and reason. Source: the GGUF specification (ggml docs). */
#ifndef MYNA__GGUF_H
#define MYNA__GGUF_H

#include "formats/str.h"

typedef enum myna__gguf_type { /* value types as numbered in the file */
                               MYNA__GGUF_U8,
                               MYNA__GGUF_I8,
                               MYNA__GGUF_U16,
                               MYNA__GGUF_I16,
                               MYNA__GGUF_U32,
                               MYNA__GGUF_I32,
                               MYNA__GGUF_F32,
                               MYNA__GGUF_BOOL,
                               MYNA__GGUF_STR,
                               MYNA__GGUF_ARR,
                               MYNA__GGUF_U64,
                               MYNA__GGUF_I64,
                               MYNA__GGUF_F64,
                               MYNA__GGUF_TYPES
} myna__gguf_type;

typedef struct myna__gguf_kv {
  myna__str key;
  myna__gguf_type type, elem; /* elem: element type when type is ARR */
  uint64_t count;             /* elements when ARR, else 1 */
  const uint8_t *data;        /* unaligned little-endian bytes; strings: u64 length + bytes, packed; an array
                                 of arrays: u32 type, u64 count, elements each (one level, never read by us) */
  uint64_t offset;            /* of the key in its file */
} myna__gguf_kv;

typedef struct myna__gguf_tensor {
  myna__str name;
  myna_dtype type;
  int n_dims;
  int64_t dims[4];        /* ggml order: dims[0] is the contiguous one; 1 beyond n_dims */
  const uint8_t *data;    /* NULL where the file ends before it (header_only) */
  uint64_t bytes, offset; /* offset: of data in its file */
  int file;               /* index of the split it lies in */
} myna__gguf_tensor;

typedef struct myna__gguf {
  myna__file *files; /* splits in order, n_files of them */
  int n_files;
  uint32_t version; /* these two of the first file */
  uint32_t alignment;
  myna__gguf_kv *kvs; /* of the first file */
  int64_t n_kv;
  myna__gguf_tensor *tensors; /* of all files */
  int64_t n_tensors;
  myna__map kv_map, tensor_map;
  int64_t cap_files, cap_kv, cap_tensors; /* private, to the end */
  bool borrowed;
} myna__gguf;

typedef struct myna__gguf_options {
  bool no_mmap;
  bool header_only; /* this one file, tensor data may be missing (vocabulary-only or prefix inspection) */
} myna__gguf_options;

/* Opens a file; of a split model any of its files may be given, the others are found by the name pattern
 * NAME-00001-of-00003.gguf beside it. Walks the headers once and touches no tensor data. o may be NULL. On failure
 * nothing is held. */
int myna__gguf_open(myna__gguf *g, const char *path, const myna__gguf_options *o, myna_err *err);
/* The same from memory (fuzzing, tests); bytes are borrowed, name is copied. One file only. */
int myna__gguf_parse(myna__gguf *g, const uint8_t *bytes, size_t n, const char *name, myna_err *err);
void myna__gguf_close(myna__gguf *g);

const myna__gguf_kv *myna__gguf_find(const myna__gguf *g, const char *key); /* NULL */
const myna__gguf_tensor *myna__gguf_tensor_find(const myna__gguf *g, const char *name);

/* Typed reads. Return 1 found, 0 absent (out untouched), negative when the type is wrong or the value does
 * not fit (err names key, place and reason). Integers of any width convert when the value fits. */
int myna__gguf_i64(const myna__gguf *g, const char *key, int64_t *out, myna_err *err);
int myna__gguf_f64(const myna__gguf *g, const char *key, double *out, myna_err *err);
int myna__gguf_bool(const myna__gguf *g, const char *key, bool *out, myna_err *err);
int myna__gguf_str(const myna__gguf *g, const char *key, myna__str *out, myna_err *err);
/* Element i of a numeric or bool array, or the scalar itself for any i (keys that may be per layer). */
int myna__gguf_at_i64(const myna__gguf *g, const char *key, uint64_t i, int64_t *out, myna_err *err);
int myna__gguf_at_f64(const myna__gguf *g, const char *key, uint64_t i, double *out, myna_err *err);
/* Walks an array of strings: *pos starts as kv->data. The count was validated at open. */
myna__str myna__gguf_next_str(const uint8_t **pos);

/* "u8", "str", ... of a type in range. */
const char *myna__gguf_type_name(myna__gguf_type t);
/* Fails with MYNA_E_FORMAT at a key's value: "key 'x': reason". */
int myna__gguf_kv_fail(const myna__gguf *g, const myna__gguf_kv *kv, myna_err *err, const char *fmt, ...)
    MYNA__PRINTF(4, 5);

/* ---- between the parts of this reader ---- */

/* Reads one file's header into a zeroed g (kvs, tensors, maps; files untouched). Tensors get file index `file`. The
 * caller closes g also on failure. */
int myna__gguf_read(myna__gguf *g, const myna__file *f, int file, bool header_only, myna_err *err);

#endif
