/* sort.c: argsort and the indices of the k largest, over the last axis; sort and topk take what these point at, so
 * they have gradients.
 *
 * Keys are doubles or int64 (exact for every type but U64 above 2^63). NaN comes last in either order. */
#include "graph/build.h"

/* ---- keys ---- */

typedef union key {
  double f;
  int64_t i;
} key;

static void load_keys(key *k, const uint8_t *x, myna_dtype t, int64_t n) {
  myna__class cls = myna__dtype_is_float(t) ? MYNA__CLASS_F64 : MYNA__CLASS_I64;
  myna__load(cls, k, x, myna_dtype_bytes(t), t, n);
}

/* a stands before b. */
static bool less_f(key a, key b) { return a.f < b.f || (b.f != b.f && a.f == a.f); }
static bool less_i(key a, key b) { return a.i < b.i; }
static bool more_f(key a, key b) { return a.f > b.f || (b.f != b.f && a.f == a.f); }
static bool more_i(key a, key b) { return a.i > b.i; }
typedef bool before_fn(key a, key b);

/* Merge sort from runs of one; tmp [n]. Stable. */
static void sort_indices(int32_t *index, int32_t *tmp, const key *k, int64_t n, before_fn *before) {
  int32_t *from = index, *to = tmp;
  for (int64_t i = 0; i < n; i++) index[i] = (int32_t)i;
  for (int64_t width = 1; width < n; width *= 2) {
    for (int64_t lo = 0; lo < n; lo += 2 * width) {
      int64_t a = lo, mid = MYNA__MIN(lo + width, n), b = mid, hi = MYNA__MIN(lo + 2 * width, n);
      for (int64_t i = lo; i < hi; i++) {
        bool take_b = a >= mid || (b < hi && before(k[from[b]], k[from[a]]));
        to[i] = take_b ? from[b++] : from[a++];
      }
    }
    int32_t *swap = from;
    from = to;
    to = swap;
  }
  if (from != index) memcpy(index, from, (size_t)n * sizeof *index);
}

/* ---- the k best: a heap with the worst of them on top ---- */

/* Candidate a is worse than b: later in the order of (key, index). */
static bool worse(const key *k, int32_t a, int32_t b, before_fn *before) {
  if (before(k[b], k[a])) return true;
  return !before(k[a], k[b]) && a > b;
}

static void sift_down(int32_t *heap, int64_t n, const key *k, before_fn *before) {
  for (int64_t i = 0;;) {
    int64_t child = 2 * i + 1;
    if (child >= n) return;
    if (child + 1 < n && worse(k, heap[child + 1], heap[child], before)) child++;
    if (!worse(k, heap[child], heap[i], before)) return;
    int32_t swap = heap[i];
    heap[i] = heap[child];
    heap[child] = swap;
    i = child;
  }
}

static void sift_up(int32_t *heap, int64_t i, const key *k, before_fn *before) {
  while (i > 0 && worse(k, heap[i], heap[(i - 1) / 2], before)) {
    int32_t swap = heap[i];
    heap[i] = heap[(i - 1) / 2];
    heap[(i - 1) / 2] = swap;
    i = (i - 1) / 2;
  }
}

static void best_indices(int32_t *heap, const key *keys, int64_t n, int64_t k, before_fn *before) {
  for (int64_t i = 0; i < n; i++) {
    if (i < k) {
      heap[i] = (int32_t)i;
      sift_up(heap, i, keys, before);
    } else if (worse(keys, heap[0], (int32_t)i, before)) {
      heap[0] = (int32_t)i;
      sift_down(heap, k, keys, before);
    }
  }
  for (int64_t left = k; left > 1; left--) { /* the worst goes to the end */
    int32_t swap = heap[0];
    heap[0] = heap[left - 1];
    heap[left - 1] = swap;
    sift_down(heap, left - 1, keys, before);
  }
}

/* ---- ops ---- */

typedef struct topk_params {
  int64_t k;
} topk_params;

static int argsort_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *a = &n->in[0]->spec;
  TRY_N(myna__axis_fixed(a, -1, err));
  if (a->dims[a->n_dims - 1] > INT32_MAX)
    return myna__err(err, MYNA_E_LIMIT, "more than 2^31 - 1 elements along the axis");
  out[0] = *a;
  out[0].type = MYNA_I32;
  return 0;
}

static int topk_shape(const myna__node *n, myna__spec *out, myna_err *err) {
  int64_t k = ((const topk_params *)n->params)->k;
  TRY(argsort_shape(n, out, err));
  int64_t *last = &out[0].dims[out[0].n_dims - 1];
  if (k < 0 || k > *last) return myna__err(err, MYNA_E_SHAPE, "%lld of %lld elements", (long long)k, (long long)*last);
  *last = k;
  return 0;
}

typedef struct job {
  const myna__run *r;
  int64_t n, stride, k; /* k < 0: sort all */
} job;

/* Per worker: keys [n], then n indices. */
static size_t worker_bytes(int64_t n) { return ((size_t)n * (sizeof(key) + sizeof(int32_t)) + 63) & ~(size_t)63; }

static size_t scratch(const myna__run *r, int n_threads) {
  return worker_bytes(r->in[0].shape[r->in[0].n_dims - 1]) * (size_t)n_threads;
}

static void unit(void *arg, int64_t row, int worker) {
  const job *j = arg;
  const myna__tensor *a = &j->r->in[0];
  bool floats = myna__dtype_is_float(a->type);
  key *keys = (key *)(void *)((uint8_t *)j->r->scratch + worker_bytes(j->n) * (size_t)worker);
  int32_t *out = (int32_t *)(void *)j->r->out[0].data;
  load_keys(keys, a->data + row * j->stride, a->type, j->n);
  if (j->k < 0)
    sort_indices(out + row * j->n, (int32_t *)(void *)(keys + j->n), keys, j->n, floats ? less_f : less_i);
  else
    best_indices(out + row * j->k, keys, j->n, j->k, floats ? more_f : more_i);
}

static void run(const myna__run *r, int64_t k) {
  enum { FEW = 4 * 1024 };
  job j = {.r = r, .k = k};
  int64_t rows;
  myna__tensor_rows(&r->in[0], &rows, &j.n, &j.stride);
  myna__pool_run(rows * j.n <= FEW ? NULL : r->pool, rows, unit, &j);
}

static void argsort_run(const myna__run *r) { run(r, -1); }
static void topk_run(const myna__run *r) { run(r, ((const topk_params *)r->params)->k); }

static void topk_print(const void *params, myna__buf *b) {
  myna__buf_printf(b, " k=%lld", (long long)((const topk_params *)params)->k);
}

const myna__op myna__op_argsort = {
    .name = "argsort", .flags = MYNA__OP_NOGRAD, .shape = argsort_shape, .run = argsort_run, .scratch = scratch};
const myna__op myna__op_topk = {.name = "topk",
                                .flags = MYNA__OP_NOGRAD,
                                .shape = topk_shape,
                                .run = topk_run,
                                .scratch = scratch,
                                .print = topk_print};

myna_array *myna_argsort(myna_ctx *c, myna_array *a, int axis) {
  myna_err err = {0};
  if (!a) return myna__apply1(c, &myna__op_argsort, &a, 1, NULL, 0);
  axis = myna__axis_fixed(&a->spec, axis, &err);
  if (axis < 0) return myna__fail(c, axis, "argsort", "%s", err.msg);
  bool last = axis == a->spec.n_dims - 1;
  if (!last) a = myna_swapaxes(c, a, axis, -1);
  a = myna__apply1(c, &myna__op_argsort, &a, 1, NULL, 0);
  return last ? a : myna_swapaxes(c, a, axis, -1);
}

myna_array *myna_sort(myna_ctx *c, myna_array *a, int axis) {
  return myna_take_along_axis(c, a, myna_argsort(c, a, axis), axis);
}

int myna_topk(myna_ctx *c, myna_array *a, int64_t k, myna_array **values, myna_array **indices) {
  topk_params p = {k};
  myna_array *index = myna__apply1(c, &myna__op_topk, &a, 1, &p, sizeof p);
  if (values) *values = index ? myna_take_along_axis(c, a, index, -1) : NULL;
  if (indices) *indices = index;
  return c->err.code;
}
