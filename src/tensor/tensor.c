/* tensor.c: shapes, strides, walks and the CPU device. */
#include "tensor/tensor.h"

int64_t myna__shape_size(const int64_t *shape, int n_dims) {
  int64_t n = 1;
  for (int i = 0; i < n_dims; i++)
    if (!myna__mul_ok(n, shape[i], &n)) return -1;
  return n;
}

void myna__shape_strides(const int64_t *shape, int n_dims, int64_t bytes, int64_t *stride) {
  int64_t s = bytes;
  for (int i = n_dims - 1; i >= 0; i--) {
    stride[i] = s;
    if (i > 0) s *= shape[i]; /* the outermost size may be anything */
  }
}

int64_t myna__tensor_size(const myna__tensor *t) { return myna__shape_size(t->shape, t->n_dims); }

bool myna__tensor_contiguous(const myna__tensor *t) {
  int64_t s = myna_dtype_bytes(t->type);
  for (int i = t->n_dims - 1; i >= 0; i--) {
    if (t->shape[i] != 1 && t->stride[i] != s) return false;
    s *= t->shape[i];
  }
  return true;
}

bool myna__tensor_rows(const myna__tensor *t, int64_t *rows, int64_t *n, int64_t *row_stride) {
  int64_t bytes = myna_dtype_bytes(t->type);
  *rows = 1;
  *n = t->n_dims > 0 ? t->shape[t->n_dims - 1] : 1;
  *row_stride = *n * bytes;
  if (t->n_dims == 0) return true;
  if (*n != 1 && t->stride[t->n_dims - 1] != bytes) return false;
  bool first = true;
  int64_t expect = 0; /* stride that the next outer axis must have */
  for (int i = t->n_dims - 2; i >= 0; i--) {
    if (t->shape[i] == 1) continue;
    if (first)
      *row_stride = t->stride[i];
    else if (t->stride[i] != expect)
      return false;
    first = false;
    expect = t->stride[i] * t->shape[i];
    *rows *= t->shape[i];
  }
  return true;
}

void myna__tensor_walk(const myna__tensor *const *t, int n_t, myna__walk_fn fn, void *arg) {
  const myna__tensor *a = t[0];
  myna__walk w = {.n = a->n_dims ? a->shape[a->n_dims - 1] : 1};
  int outer = a->n_dims - 1;
  int64_t index[MYNA__MAX_DIMS] = {0};
  if (myna__tensor_size(a) <= 0) return;
  for (int k = 0; k < n_t; k++) {
    w.ptr[k] = t[k]->data;
    w.step[k] = a->n_dims ? t[k]->stride[outer] : 0;
  }
  for (;;) {
    fn(arg, &w);
    int d = outer - 1;
    for (; d >= 0; d--) { /* odometer over the outer axes */
      for (int k = 0; k < n_t; k++) w.ptr[k] += t[k]->stride[d];
      if (++index[d] < a->shape[d]) break;
      for (int k = 0; k < n_t; k++) w.ptr[k] -= t[k]->stride[d] * a->shape[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

typedef struct copy_arg {
  uint8_t *dst;
  int64_t bytes;
} copy_arg;

static void copy_run(void *arg, const myna__walk *w) {
  copy_arg *c = arg;
  if (w->step[0] == c->bytes) {
    memcpy(c->dst, w->ptr[0], (size_t)(w->n * c->bytes));
  } else {
    for (int64_t i = 0; i < w->n; i++) memcpy(c->dst + i * c->bytes, w->ptr[0] + i * w->step[0], (size_t)c->bytes);
  }
  c->dst += w->n * c->bytes;
}

void myna__tensor_copy(uint8_t *dst, const myna__tensor *src) {
  int64_t bytes = myna_dtype_bytes(src->type);
  if (myna__tensor_contiguous(src)) {
    int64_t n = myna__tensor_size(src);
    if (n > 0) memcpy(dst, src->data, (size_t)(n * bytes));
    return;
  }
  copy_arg c = {dst, bytes};
  myna__tensor_walk(&src, 1, copy_run, &c);
}

static void *cpu_alloc(const myna__device *d, size_t n) {
  (void)d;
  return myna__alloc(n);
}

static void cpu_free(const myna__device *d, void *p, size_t n) {
  (void)d;
  myna__free(p, n);
}

static int cpu_copy(const myna__device *d, void *dst, const void *src, size_t n) {
  (void)d;
  memcpy(dst, src, n);
  return 0;
}

const myna__device *myna__device_cpu(void) {
  static const myna__device cpu = {"cpu", cpu_alloc, cpu_free, cpu_copy};
  return &cpu;
}
