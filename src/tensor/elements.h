/* elements.h: storage types read and written as computing types, and one loop over strided arrays of one shape.
 *
 * Element-wise ops see plain C arrays of their computing type in chunks; what lies in memory (type, strides,
 * broadcasting) and how the work is split over threads is decided here. */
#ifndef MYNA__ELEMENTS_H
#define MYNA__ELEMENTS_H

#include "tensor/tensor.h"

/* float, double, int64_t, uint8_t (0 or not). F16 and BF16 compute as F32 and are rounded once, when stored. U64 is
 * computed as int64_t: the same bits, but order and division are those of signed numbers. */
typedef enum myna__class { MYNA__CLASS_F32, MYNA__CLASS_F64, MYNA__CLASS_I64, MYNA__CLASS_BOOL } myna__class;

/* The computing type of a storage type of kind FLOAT, INT or BOOL. */
myna__class myna__class_of(myna_dtype t);

/* y[n] of class k from n elements of type t, `step` bytes apart (0: one element n times). x may be unaligned. */
void myna__load(myna__class k, void *y, const uint8_t *x, int64_t step, myna_dtype t, int64_t n);
/* The reverse. Floats stored as integers are cut towards zero and limited to the type's range, NaN gives 0; integers
 * stored in a narrower type keep their low bits. */
void myna__store(uint8_t *y, int64_t step, myna_dtype t, myna__class k, const void *x, int64_t n);

enum {
  MYNA__EACH_MAX = 3,
  MYNA__CHUNK = 512,
  MYNA__FEW = 64 * 1024 /* elements cheaper on the caller alone than over a pool */
};

/* y[n] = f(x[0][n], x[1][n], ...), each an array of its class; y may be one of the x. n <= MYNA__CHUNK. */
typedef void (*myna__each_fn)(const void *params, void *y, const void *const *x, int64_t n);
typedef struct myna__each {
  const myna__tensor *out, *in[MYNA__EACH_MAX]; /* inputs broadcast to the shape of out */
  int n_in;
  myna__class out_class, in_class[MYNA__EACH_MAX];
  myna__each_fn fn;
  const void *params;
} myna__each;
/* Applies fn to all elements; parallel over the pool when there are many. */
void myna__each_run(const myna__each *e, myna__pool *pool);
/* to = from: equal types and shapes (from may be broadcast), any strides, no overlap. */
void myna__elements_copy(const myna__tensor *to, const myna__tensor *from, myna__pool *pool);

#endif
