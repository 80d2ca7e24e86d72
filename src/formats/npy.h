/* npy.h: .npy files (NumPy format version 1.0): little-endian float32 and int32 in C order, up to 4 dimensions.
 * Safe on untrusted input. Source: numpy.lib.format. */
#ifndef MYNA__NPY_H
#define MYNA__NPY_H

#include "base/base.h"
#include <stdio.h>

enum { MYNA__NPY_DIMS = 4 };

typedef struct myna__npy {
  myna_dtype type;                  /* F32 or I32 */
  int n_dims;                       /* 0: one number */
  int64_t shape[MYNA__NPY_DIMS], n; /* n: elements */
  const void *data;                 /* [n], lives until close; aligned as NumPy writes it (64 bytes), else not */
  myna__file file;
  bool borrowed;
} myna__npy;

int myna__npy_open(myna__npy *a, const char *path, myna_err *err);
/* The same from memory; bytes are borrowed. */
int myna__npy_parse(myna__npy *a, const uint8_t *bytes, size_t n, const char *name, myna_err *err);
void myna__npy_close(myna__npy *a);

/* A file written in pieces: begin, append in order, end (which fails when bytes are missing). After a failure of
 * append or end the file is closed and removed; abort does that too. Overwrites path. */
typedef struct myna__npy_writer {
  FILE *f;
  char *path;
  int64_t left; /* bytes */
} myna__npy_writer;
int myna__npy_begin(myna__npy_writer *w, const char *path, myna_dtype type, int n_dims, const int64_t *shape,
                    myna_err *err);
int myna__npy_append(myna__npy_writer *w, const void *data, int64_t bytes, myna_err *err);
int myna__npy_end(myna__npy_writer *w, myna_err *err);
void myna__npy_abort(myna__npy_writer *w);
/* All at once. */
int myna__npy_write(const char *path, myna_dtype type, int n_dims, const int64_t *shape, const void *data,
                    myna_err *err);

#endif
