/* elements.c: one row per storage type, chunks in and out, the parallel element loop. */
#include "tensor/elements.h"
#include <math.h>

/* ---- one row per type: single elements, unaligned ---- */

typedef struct element {
  myna__class cls;
  double (*get_f)(const uint8_t *p);    /* NULL: from get_i */
  int64_t (*get_i)(const uint8_t *p);   /* NULL: from get_f */
  void (*set_f)(uint8_t *p, double v);  /* NULL: limited to [lo, hi], then set_i */
  void (*set_i)(uint8_t *p, int64_t v); /* NULL: through set_f */
  double lo, hi;
} element;

static double f32_get(const uint8_t *p) {
  float v;
  memcpy(&v, p, sizeof v);
  return (double)v;
}

static void f32_set(uint8_t *p, double v) {
  float f = (float)v;
  memcpy(p, &f, sizeof f);
}

static double f64_get(const uint8_t *p) {
  double v;
  memcpy(&v, p, sizeof v);
  return v;
}

static void f64_set(uint8_t *p, double v) { memcpy(p, &v, sizeof v); }

static uint16_t half_bits(const uint8_t *p) {
  uint16_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

static double f16_get(const uint8_t *p) { return (double)myna__f16_to_f32(half_bits(p)); }
static double bf16_get(const uint8_t *p) { return (double)myna__bf16_to_f32(half_bits(p)); }

static void f16_set(uint8_t *p, double v) {
  uint16_t h = myna__f32_to_f16((float)v);
  memcpy(p, &h, sizeof h);
}

static void bf16_set(uint8_t *p, double v) {
  uint16_t h = myna__f32_to_bf16((float)v);
  memcpy(p, &h, sizeof h);
}

static uint64_t load_bytes(const uint8_t *p, size_t n) { /* zero-extended, native byte order */
  uint8_t u8 = *p;
  uint16_t u16;
  uint32_t u32;
  uint64_t u64;
  if (n == 1) return u8;
  if (n == 2) return memcpy(&u16, p, sizeof u16), u16;
  if (n == 4) return memcpy(&u32, p, sizeof u32), u32;
  return memcpy(&u64, p, sizeof u64), u64;
}

static int64_t i8_get(const uint8_t *p) { return (int8_t)*p; }
static int64_t i16_get(const uint8_t *p) { return (int16_t)load_bytes(p, 2); }
static int64_t i32_get(const uint8_t *p) { return (int32_t)load_bytes(p, 4); }
static int64_t i64_get(const uint8_t *p) { return (int64_t)load_bytes(p, 8); }
static int64_t u8_get(const uint8_t *p) { return *p; }
static int64_t u16_get(const uint8_t *p) { return (int64_t)load_bytes(p, 2); }
static int64_t u32_get(const uint8_t *p) { return (int64_t)load_bytes(p, 4); }
static int64_t bool_get(const uint8_t *p) { return *p != 0; }
static double u64_get_f(const uint8_t *p) { return (double)load_bytes(p, 8); }

static void set_8(uint8_t *p, int64_t v) { *p = (uint8_t)v; }
static void set_16(uint8_t *p, int64_t v) {
  uint16_t u = (uint16_t)v;
  memcpy(p, &u, sizeof u);
}
static void set_32(uint8_t *p, int64_t v) {
  uint32_t u = (uint32_t)v;
  memcpy(p, &u, sizeof u);
}
static void set_64(uint8_t *p, int64_t v) { memcpy(p, &v, sizeof v); }
static void bool_set(uint8_t *p, int64_t v) { *p = v != 0; }
static void bool_set_f(uint8_t *p, double v) { *p = v != 0; }
static void u64_set_f(uint8_t *p, double v) {
  uint64_t u = !(v > 0) ? 0 : v >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)v;
  memcpy(p, &u, sizeof u);
}

/* 2^63 itself does not fit: the largest double below it is the limit. */
static const double I64_MAX = 9223372036854774784.0;

static const element elements[MYNA_DTYPE_COUNT] = {
    [MYNA_F32] = {MYNA__CLASS_F32, .get_f = f32_get, .set_f = f32_set},
    [MYNA_F16] = {MYNA__CLASS_F32, .get_f = f16_get, .set_f = f16_set},
    [MYNA_BF16] = {MYNA__CLASS_F32, .get_f = bf16_get, .set_f = bf16_set},
    [MYNA_F64] = {MYNA__CLASS_F64, .get_f = f64_get, .set_f = f64_set},
    [MYNA_I8] = {MYNA__CLASS_I64, .get_i = i8_get, .set_i = set_8, .lo = -128, .hi = 127},
    [MYNA_I16] = {MYNA__CLASS_I64, .get_i = i16_get, .set_i = set_16, .lo = -32768, .hi = 32767},
    [MYNA_I32] = {MYNA__CLASS_I64, .get_i = i32_get, .set_i = set_32, .lo = -2147483648.0, .hi = 2147483647.0},
    [MYNA_I64] = {MYNA__CLASS_I64, .get_i = i64_get, .set_i = set_64, .lo = -9223372036854775808.0, .hi = I64_MAX},
    [MYNA_U8] = {MYNA__CLASS_I64, .get_i = u8_get, .set_i = set_8, .lo = 0, .hi = 255},
    [MYNA_U16] = {MYNA__CLASS_I64, .get_i = u16_get, .set_i = set_16, .lo = 0, .hi = 65535},
    [MYNA_U32] = {MYNA__CLASS_I64, .get_i = u32_get, .set_i = set_32, .lo = 0, .hi = 4294967295.0},
    [MYNA_U64] = {MYNA__CLASS_I64, .get_f = u64_get_f, .get_i = i64_get, .set_f = u64_set_f, .set_i = set_64},
    [MYNA_BOOL] = {MYNA__CLASS_BOOL, .get_i = bool_get, .set_f = bool_set_f, .set_i = bool_set},
};

static int64_t to_int(double v, double lo, double hi) {
  if (v != v) return 0;
  return (int64_t)(v < lo ? lo : v > hi ? hi : v);
}

static double get_f64(const element *e, const uint8_t *p) { return e->get_f ? e->get_f(p) : (double)e->get_i(p); }

static int64_t get_i64(const element *e, const uint8_t *p) {
  return e->get_i ? e->get_i(p) : to_int(e->get_f(p), elements[MYNA_I64].lo, elements[MYNA_I64].hi);
}

static void set_f64(const element *e, uint8_t *p, double v) {
  if (e->set_f)
    e->set_f(p, v);
  else
    e->set_i(p, to_int(v, e->lo, e->hi));
}

static void set_i64(const element *e, uint8_t *p, int64_t v) {
  if (e->set_i)
    e->set_i(p, v);
  else
    e->set_f(p, (double)v);
}

myna__class myna__class_of(myna_dtype t) { return elements[t].cls; }

/* ---- chunks ---- */

static int64_t class_bytes(myna__class k) {
  static const uint8_t bytes[] = {sizeof(float), sizeof(double), sizeof(int64_t), 1};
  return bytes[k];
}

/* The type whose elements are what class k computes with. */
static myna_dtype native(myna__class k) {
  static const myna_dtype types[] = {MYNA_F32, MYNA_F64, MYNA_I64, MYNA_BOOL};
  return types[k];
}

/* Adjacent elements without a call per element; false when there is no such path. */
static bool load_fast(myna__class k, void *y, const uint8_t *x, myna_dtype t, int64_t n) {
  if (t == native(k)) return memcpy(y, x, (size_t)(n * class_bytes(k))), true;
  if (k == MYNA__CLASS_F32 && (t == MYNA_F16 || t == MYNA_BF16)) return myna__to_f32(y, x, t, n), true;
  if (k == MYNA__CLASS_F64 && t == MYNA_F32) {
    double *to = y;
    for (int64_t i = 0; i < n; i++) to[i] = f32_get(x + 4 * i);
    return true;
  }
  if (k == MYNA__CLASS_I64 && t == MYNA_I32) {
    int64_t *to = y;
    for (int64_t i = 0; i < n; i++) to[i] = i32_get(x + 4 * i);
    return true;
  }
  return false;
}

static bool store_fast(uint8_t *y, myna_dtype t, myna__class k, const void *x, int64_t n) {
  if (t == native(k) && k != MYNA__CLASS_BOOL) return memcpy(y, x, (size_t)(n * class_bytes(k))), true;
  if (k == MYNA__CLASS_F32 && (t == MYNA_F16 || t == MYNA_BF16)) return myna__from_f32(y, t, x, n), true;
  if (k == MYNA__CLASS_F64 && t == MYNA_F32) {
    const double *from = x;
    for (int64_t i = 0; i < n; i++) f32_set(y + 4 * i, from[i]);
    return true;
  }
  return false;
}

static void load_each(myna__class k, void *y, const uint8_t *x, int64_t step, myna_dtype t, int64_t n) {
  const element *e = &elements[t];
  float *f = y;
  double *d = y;
  int64_t *l = y;
  uint8_t *b = y;
  switch (k) {
  case MYNA__CLASS_F32:
    for (int64_t i = 0; i < n; i++) f[i] = e->get_f ? (float)e->get_f(x + i * step) : (float)e->get_i(x + i * step);
    break;
  case MYNA__CLASS_F64:
    for (int64_t i = 0; i < n; i++) d[i] = get_f64(e, x + i * step);
    break;
  case MYNA__CLASS_I64:
    for (int64_t i = 0; i < n; i++) l[i] = get_i64(e, x + i * step);
    break;
  case MYNA__CLASS_BOOL:
    for (int64_t i = 0; i < n; i++) b[i] = get_f64(e, x + i * step) != 0;
    break;
  }
}

void myna__load(myna__class k, void *y, const uint8_t *x, int64_t step, myna_dtype t, int64_t n) {
  if (n <= 0) return;
  if (step == myna_dtype_bytes(t) && load_fast(k, y, x, t, n)) return;
  if (step == 0) { /* one element n times: by doubling */
    int64_t bytes = class_bytes(k);
    load_each(k, y, x, 0, t, 1);
    for (int64_t have = 1; have < n; have *= 2)
      memcpy((uint8_t *)y + have * bytes, y, (size_t)(MYNA__MIN(have, n - have) * bytes));
    return;
  }
  if (k == MYNA__CLASS_F32 && t == MYNA_F32) {
    for (int64_t i = 0; i < n; i++) memcpy((float *)y + i, x + i * step, sizeof(float));
    return;
  }
  load_each(k, y, x, step, t, n);
}

void myna__store(uint8_t *y, int64_t step, myna_dtype t, myna__class k, const void *x, int64_t n) {
  const element *e = &elements[t];
  if (n <= 0 || (step == myna_dtype_bytes(t) && store_fast(y, t, k, x, n))) return;
  switch (k) {
  case MYNA__CLASS_F32:
    for (int64_t i = 0; i < n; i++) set_f64(e, y + i * step, (double)((const float *)x)[i]);
    break;
  case MYNA__CLASS_F64:
    for (int64_t i = 0; i < n; i++) set_f64(e, y + i * step, ((const double *)x)[i]);
    break;
  case MYNA__CLASS_I64:
    for (int64_t i = 0; i < n; i++) set_i64(e, y + i * step, ((const int64_t *)x)[i]);
    break;
  case MYNA__CLASS_BOOL:
    for (int64_t i = 0; i < n; i++) set_i64(e, y + i * step, ((const uint8_t *)x)[i] != 0);
    break;
  }
}

/* ---- the loop ---- */

enum { UNIT = 16 * 1024 }; /* elements of a unit */

typedef struct loop {
  const myna__each *e;
  int n_t, n_dims; /* tensor 0 is the output */
  int64_t shape[MYNA__MAX_DIMS], stride[1 + MYNA__EACH_MAX][MYNA__MAX_DIMS];
  int64_t total;
} loop;

/* Byte stride of t along axis d of out's shape: 0 where t is broadcast. */
static int64_t broadcast_stride(const myna__tensor *t, const myna__tensor *out, int d) {
  int i = d - (out->n_dims - t->n_dims);
  if (i < 0 || (t->shape[i] == 1 && out->shape[d] != 1)) return 0;
  return t->stride[i];
}

/* True when axis d, just outside of the loop's outermost axis, continues it for every tensor. */
static bool continues(const loop *l, const int64_t *stride) {
  for (int k = 0; k < l->n_t; k++)
    if (stride[k] != l->stride[k][l->n_dims - 1] * l->shape[l->n_dims - 1]) return false;
  return true;
}

/* Axes innermost first, those of size 1 left out, neighbours merged where all strides allow it. */
static void make_loop(loop *l, const myna__each *e) {
  *l = (loop){.e = e, .n_t = 1 + e->n_in, .total = 1};
  for (int d = e->out->n_dims - 1; d >= 0; d--) {
    int64_t n = e->out->shape[d], stride[1 + MYNA__EACH_MAX] = {e->out->stride[d]};
    l->total *= n;
    if (n == 1) continue;
    for (int k = 0; k < e->n_in; k++) stride[1 + k] = broadcast_stride(e->in[k], e->out, d);
    if (l->n_dims > 0 && continues(l, stride)) {
      l->shape[l->n_dims - 1] *= n;
      continue;
    }
    l->shape[l->n_dims] = n;
    for (int k = 0; k < l->n_t; k++) l->stride[k][l->n_dims] = stride[k];
    l->n_dims++;
  }
  if (l->n_dims == 0) { /* one element */
    l->shape[0] = 1;
    l->n_dims = 1;
  }
}

/* Memory can be used as it lies: the class's own type, adjacent, aligned. */
static bool direct(const myna__tensor *t, myna__class k, const uint8_t *p, int64_t step) {
  int64_t bytes = class_bytes(k);
  return t->type == native(k) && step == bytes && (uintptr_t)p % (uintptr_t)bytes == 0;
}

static void copy_run(uint8_t *y, int64_t y_step, const uint8_t *x, int64_t x_step, int64_t bytes, int64_t n) {
  if (y_step == bytes && x_step == bytes)
    memcpy(y, x, (size_t)(n * bytes));
  else if (bytes == 4)
    for (int64_t i = 0; i < n; i++) memcpy(y + i * y_step, x + i * x_step, 4);
  else
    for (int64_t i = 0; i < n; i++) memcpy(y + i * y_step, x + i * x_step, (size_t)bytes);
}

/* n elements along the innermost axis. */
static void one_run(const loop *l, uint8_t *const *ptr, int64_t n) {
  const myna__each *e = l->e;
  if (!e->fn) { /* a copy */
    if (ptr[1]) copy_run(ptr[0], l->stride[0][0], ptr[1], l->stride[1][0], myna_dtype_bytes(e->out->type), n);
    return;
  }
  _Alignas(64) uint8_t buf[1 + MYNA__EACH_MAX][MYNA__CHUNK * sizeof(double)];
  bool plain[1 + MYNA__EACH_MAX];
  plain[0] = direct(e->out, e->out_class, ptr[0], l->stride[0][0]);
  for (int k = 0; k < e->n_in; k++) plain[1 + k] = direct(e->in[k], e->in_class[k], ptr[1 + k], l->stride[1 + k][0]);
  for (int64_t at = 0, m; at < n; at += m) {
    const void *x[MYNA__EACH_MAX] = {NULL};
    m = MYNA__MIN(n - at, (int64_t)MYNA__CHUNK);
    for (int k = 0; k < e->n_in; k++) {
      int64_t step = l->stride[1 + k][0];
      x[k] = plain[1 + k] ? ptr[1 + k] + at * step : buf[1 + k];
      if (!plain[1 + k] && (step != 0 || at == 0)) /* what is broadcast stays from the first chunk, the longest */
        myna__load(e->in_class[k], buf[1 + k], ptr[1 + k] + at * step, step, e->in[k]->type, m);
    }
    uint8_t *y = ptr[0] + at * l->stride[0][0];
    e->fn(e->params, plain[0] ? y : buf[0], x, m);
    if (!plain[0]) myna__store(y, l->stride[0][0], e->out->type, e->out_class, buf[0], m);
  }
}

/* Elements [from, to) in row-major order. */
static void run_range(const loop *l, int64_t from, int64_t to) {
  uint8_t *ptr[1 + MYNA__EACH_MAX] = {NULL};
  int64_t index[MYNA__MAX_DIMS] = {0}, rest = from;
  ptr[0] = l->e->out->data;
  for (int k = 0; k < l->e->n_in; k++) ptr[1 + k] = l->e->in[k]->data;
  for (int d = 0; d < l->n_dims; d++) {
    index[d] = rest % l->shape[d];
    rest /= l->shape[d];
    for (int k = 0; k < l->n_t; k++) ptr[k] += index[d] * l->stride[k][d];
  }
  while (from < to) {
    int64_t n = MYNA__MIN(l->shape[0] - index[0], to - from);
    one_run(l, ptr, n);
    from += n;
    for (int k = 0; k < l->n_t; k++) ptr[k] -= index[0] * l->stride[k][0];
    index[0] = 0;
    for (int d = 1; d < l->n_dims; d++) { /* odometer */
      for (int k = 0; k < l->n_t; k++) ptr[k] += l->stride[k][d];
      if (++index[d] < l->shape[d]) break;
      for (int k = 0; k < l->n_t; k++) ptr[k] -= l->stride[k][d] * l->shape[d];
      index[d] = 0;
    }
  }
}

static void run_unit(void *arg, int64_t unit, int worker) {
  const loop *l = arg;
  (void)worker;
  run_range(l, unit * UNIT, MYNA__MIN((unit + 1) * UNIT, l->total));
}

void myna__each_run(const myna__each *e, myna__pool *pool) {
  loop l;
  make_loop(&l, e);
  if (l.total <= 0) return;
  if (l.total <= MYNA__FEW)
    run_range(&l, 0, l.total);
  else
    myna__pool_run(pool, (l.total + UNIT - 1) / UNIT, run_unit, &l);
}

void myna__elements_copy(const myna__tensor *to, const myna__tensor *from, myna__pool *pool) {
  myna__each e = {.out = to, .in = {from}, .n_in = 1};
  myna__each_run(&e, pool);
}
