/* tensor.h: a strided view of typed memory, buffers, and the device that holds them.
 * The graph hands these to the run function of an op. Strides are in bytes. */
#ifndef MYNA__TENSOR_H
#define MYNA__TENSOR_H

#include "kernels/kernels.h"

enum { MYNA__MAX_DIMS = 8 };

typedef struct myna__tensor {
  uint8_t *data;
  myna_dtype type;
  int n_dims;
  int64_t shape[MYNA__MAX_DIMS];
  int64_t stride[MYNA__MAX_DIMS]; /* bytes; 0 broadcasts */
  const myna__weight *weight;     /* storage arrays: planes instead of data */
} myna__tensor;

/* Elements of a shape; -1 when the product overflows. */
int64_t myna__shape_size(const int64_t *shape, int n_dims);
/* Row-major strides in bytes for element size `bytes`. */
void myna__shape_strides(const int64_t *shape, int n_dims, int64_t bytes, int64_t *stride);
int64_t myna__tensor_size(const myna__tensor *t);
bool myna__tensor_contiguous(const myna__tensor *t);
/* True when the last axis is contiguous and all before it collapse to rows of one stride (elements of `type`):
 * fills rows, n (last axis) and the row stride in bytes. n_dims 0 counts as one row of one. */
bool myna__tensor_rows(const myna__tensor *t, int64_t *rows, int64_t *n, int64_t *row_stride);
/* dst (contiguous, same type and shape) = src. */
void myna__tensor_copy(uint8_t *dst, const myna__tensor *src);

/* Walks the outer dimensions of up to 4 equally shaped tensors: calls fn for each run along the last axis. */
typedef struct myna__walk {
  int64_t n;       /* length of the last axis */
  uint8_t *ptr[4]; /* start of this run per tensor */
  int64_t step[4]; /* byte stride along the last axis */
} myna__walk;
typedef void (*myna__walk_fn)(void *arg, const myna__walk *w);
void myna__tensor_walk(const myna__tensor *const *t, int n_t, myna__walk_fn fn, void *arg);

/* One device vtable. The CPU is the only one built at present; a device that is not built is a stub whose
 * functions return MYNA_E_UNSUPPORTED. */
typedef struct myna__device {
  const char *name;
  void *(*alloc)(const struct myna__device *d, size_t n);
  void (*free)(const struct myna__device *d, void *p, size_t n);
  int (*copy)(const struct myna__device *d, void *dst, const void *src, size_t n);
} myna__device;
const myna__device *myna__device_cpu(void);

#endif
