/* safetensors.h: reads one .safetensors file: header JSON and mapped data. Safe on untrusted input: every malformed
 * file gives MYNA_E_FORMAT with file, byte offset and reason.
 * Source: the format description of huggingface/safetensors, and what its reader refuses. */
#ifndef MYNA__SAFETENSORS_H
#define MYNA__SAFETENSORS_H

#include "formats/str.h"

enum { MYNA__ST_DIMS = 8 };

typedef struct myna__st_tensor {
  myna__str name; /* unescaped */
  char dtype[12]; /* as in the file: "BF16", "U32", "F8_E4M3" ... */
  int type;       /* myna_dtype, -1 where we have no row for it */
  int n_dims;
  int64_t shape[MYNA__ST_DIMS]; /* C order: shape[0] outermost; a dimension may be 0 */
  const uint8_t *data;          /* no alignment */
  uint64_t bytes, offset;       /* offset in the file */
} myna__st_tensor;

typedef struct myna__safetensors {
  myna__file file;
  myna__st_tensor *tensors; /* in the order of the header */
  int64_t n_tensors;
  myna__str *meta; /* [2 * n_meta] key, value */
  int64_t n_meta;
  myna__map map, meta_map;
  myna__arena arena;
  int64_t cap_tensors, cap_meta; /* private, to the end */
  bool borrowed;
} myna__safetensors;

/* Opens a file; touches its header only. On failure nothing is held. */
int myna__st_open(myna__safetensors *s, const char *path, bool no_mmap, myna_err *err);
/* The same from memory (fuzzing, tests); bytes are borrowed, name is copied. */
int myna__st_parse(myna__safetensors *s, const uint8_t *bytes, size_t n, const char *name, myna_err *err);
void myna__st_close(myna__safetensors *s);
const myna__st_tensor *myna__st_find(const myna__safetensors *s, const char *name); /* NULL */
/* The value of a key of __metadata__; p NULL when absent. */
myna__str myna__st_meta(const myna__safetensors *s, const char *key);

#endif
