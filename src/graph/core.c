/* core.c: contexts, scopes, arrays and nodes: making and freeing them, and the sticky error.
 *
 * Invariants: an array holds one reference on nothing; a node holds one reference on each input; a node lives
 * while one of its outputs does. Freeing uses an explicit worklist: graphs may be deep. */
#include "graph/graph.h"
#include <math.h>
#include <stdio.h>

/* ---- lists ---- */

static bool list_push(myna__array_list *l, myna_array *a) {
  if (l->n == l->cap) {
    int64_t cap = l->cap ? 2 * l->cap : 64;
    void *p = myna__realloc(l->items, (size_t)l->cap * sizeof *l->items, (size_t)cap * sizeof *l->items);
    if (!p) return false;
    l->items = p;
    l->cap = cap;
  }
  l->items[l->n++] = a;
  return true;
}

static void list_free(myna__array_list *l) {
  myna__free(l->items, (size_t)l->cap * sizeof *l->items);
  *l = (myna__array_list){0};
}

/* ---- sticky error ---- */

myna_array *myna__fail(myna_ctx *c, int code, const char *op, const char *fmt, ...) {
  char text[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  myna__err(&c->err, code, "%s: %s", op, text);
  return NULL;
}

int myna_ctx_error(const myna_ctx *c, myna_err *err) {
  if (c->err.code && err && !err->code) *err = c->err;
  return c->err.code;
}

void myna_ctx_clear(myna_ctx *c) { c->err = (myna_err){0}; }

/* ---- freeing ---- */

static void array_delete(myna_ctx *c, myna_array *a) {
  myna_array *last = c->all.items[--c->all.n];
  c->all.items[a->slot] = last;
  last->slot = a->slot;
  myna__free(a->owned, a->owned_bytes);
  myna__free(a->weight, sizeof *a->weight);
  myna__free(a, sizeof *a);
}

static void node_delete(myna__node *n) {
  myna__free(n->params, n->params_bytes);
  myna__free(n->in, (size_t)n->n_in * sizeof *n->in);
  myna__free(n, sizeof *n);
}

/* Links arrays whose count fell to zero through their `data` pointer: no allocation while freeing. */
static void drop(myna_array *a, myna_array **work) {
  if (!a || --a->refs > 0) return;
  a->data = (uint8_t *)*work;
  *work = a;
}

void myna__array_unref(myna_array *a) {
  myna_array *work = NULL;
  drop(a, &work);
  while (work) {
    a = work;
    work = (myna_array *)a->data;
    myna__node *n = a->node;
    if (n) {
      n->out[a->index] = NULL;
      if (--n->live == 0) {
        for (int i = 0; i < n->n_in; i++) drop(n->in[i], &work);
        node_delete(n);
      }
    }
    array_delete(a->ctx, a);
  }
}

/* Cuts an evaluated array off its graph: it is a leaf from now on. */
void myna__array_detach(myna_array *a) {
  myna__node *n = a->node;
  if (!n) return;
  a->node = NULL;
  n->out[a->index] = NULL;
  if (--n->live > 0) return;
  for (int i = 0; i < n->n_in; i++) myna__array_unref(n->in[i]);
  node_delete(n);
}

void myna__array_ref(myna_array *a) {
  if (a) a->refs++;
}

myna_array *myna_keep(myna_array *a) {
  myna__array_ref(a);
  return a;
}

void myna_release(myna_array *a) { myna__array_unref(a); }

/* ---- context and scopes ---- */

int myna__ctx_new_pool(myna_ctx **out, myna__pool *pool, uint64_t seed, myna_err *err) {
  myna_ctx *c = myna__calloc(sizeof *c);
  if (!c) return myna__err(err, MYNA_E_NOMEM, "no memory for a graph context");
  c->pool = pool;
  c->seed = seed;
  *out = c;
  return 0;
}

int myna_ctx_new(myna_ctx **out, const myna_ctx_options *o, myna_err *err) {
  myna__pool *pool = NULL;
  *out = NULL;
  TRY(myna__cpu_init(err));
  TRY(myna__pool_new(&pool, o ? o->n_threads : 0, false, err));
  int rc = myna__ctx_new_pool(out, pool, o ? o->seed : 0, err);
  if (*out)
    (*out)->own_pool = true;
  else
    myna__pool_free(pool);
  return rc;
}

void myna_ctx_free(myna_ctx *c) {
  if (!c) return;
  while (c->all.n > 0) { /* all at once: references no longer matter */
    myna_array *a = c->all.items[c->all.n - 1];
    if (a->node && --a->node->live == 0) node_delete(a->node);
    array_delete(c, a);
  }
  list_free(&c->all);
  list_free(&c->scope);
  myna__free(c->marks, (size_t)c->cap_marks * sizeof *c->marks);
  if (c->own_pool) myna__pool_free(c->pool);
  myna__free(c, sizeof *c);
}

void myna_scope_begin(myna_ctx *c) {
  if (c->n_marks == c->cap_marks) {
    int cap = c->cap_marks ? 2 * c->cap_marks : 8;
    void *p = myna__realloc(c->marks, (size_t)c->cap_marks * sizeof *c->marks, (size_t)cap * sizeof *c->marks);
    if (!p) {
      myna__fail(c, MYNA_E_NOMEM, "scope_begin", "no memory");
      return;
    }
    c->marks = p;
    c->cap_marks = cap;
  }
  c->marks[c->n_marks++] = c->scope.n;
}

void myna_scope_end(myna_ctx *c) {
  if (c->n_marks == 0) {
    myna__fail(c, MYNA_E_STATE, "scope_end", "no scope is open");
    return;
  }
  int64_t from = c->marks[--c->n_marks];
  while (c->scope.n > from) myna__array_unref(c->scope.items[--c->scope.n]);
}

/* ---- arrays ---- */

/* A new array with one reference held by the current scope. */
static myna_array *array_new(myna_ctx *c, const myna__spec *spec) {
  myna_array *a = myna__calloc(sizeof *a);
  if (!a) return NULL;
  a->ctx = c;
  a->spec = *spec;
  a->id = c->next_id++;
  a->slot = c->all.n;
  if (!list_push(&c->all, a)) {
    myna__free(a, sizeof *a);
    return NULL;
  }
  if (!list_push(&c->scope, a)) {
    c->all.n--;
    myna__free(a, sizeof *a);
    return NULL;
  }
  a->refs = 1;
  return a;
}

bool myna__check_shape(myna_ctx *c, const char *op, myna_dtype t, const int64_t *shape, int n_dims, bool symbols,
                       myna__spec *out) {
  if (n_dims < 0 || n_dims > MYNA__MAX_DIMS || (n_dims && !shape))
    return myna__fail(c, MYNA_E_SHAPE, op, "%d dimensions, at most %d are allowed", n_dims, MYNA__MAX_DIMS), false;
  if ((unsigned)t >= MYNA_DTYPE_COUNT) return myna__fail(c, MYNA_E_DTYPE, op, "unknown type %d", (int)t), false;
  *out = (myna__spec){.type = t, .n_dims = n_dims};
  int64_t n = 1;
  for (int i = 0; i < n_dims; i++) {
    bool sym = shape[i] < 0 && shape[i] >= MYNA_SYM(7) && symbols;
    if (shape[i] < 0 && !sym)
      return myna__fail(c, MYNA_E_SHAPE, op, "dimension %d is %lld", i, (long long)shape[i]), false;
    if (sym && i > 0) return myna__fail(c, MYNA_E_SHAPE, op, "symbolic dimension %d is not the outermost", i), false;
    if (!sym && !myna__mul_ok(n, MYNA__MAX(shape[i], 1), &n)) /* strides must fit of nothing, too */
      return myna__fail(c, MYNA_E_SHAPE, op, "too many elements"), false;
    out->dims[i] = shape[i];
  }
  if (n > INT64_MAX / 64) return myna__fail(c, MYNA_E_SHAPE, op, "too many elements"), false;
  return true;
}

/* A leaf over `data`; owned (taken) when owned_bytes > 0. */
static myna_array *leaf(myna_ctx *c, const char *op, const myna__spec *s, void *data, size_t owned_bytes) {
  myna_array *a = array_new(c, s);
  if (!a) {
    if (owned_bytes) myna__free(data, owned_bytes); /* else borrowed */
    return myna__fail(c, MYNA_E_NOMEM, op, "no memory");
  }
  a->data = data;
  a->owned = owned_bytes ? data : NULL;
  a->owned_bytes = owned_bytes;
  myna__shape_strides(s->dims, s->n_dims, myna_dtype_bytes(s->type), a->stride);
  return a;
}

myna_array *myna_from(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims, const void *data) {
  myna__spec s;
  if (!myna__check_shape(c, "from", t, shape, n_dims, false, &s)) return NULL;
  if (myna_dtype_block(t) != 1)
    return myna__fail(c, MYNA_E_DTYPE, "from", "%s is packed: use myna_weight", myna_dtype_name(t));
  size_t bytes = (size_t)(myna__shape_size(s.dims, n_dims) * myna_dtype_bytes(t));
  size_t held = bytes ? bytes : 1;
  void *copy = myna__alloc(held);
  if (!copy) return myna__fail(c, MYNA_E_NOMEM, "from", "no memory for %zu bytes", bytes);
  if (bytes) memcpy(copy, data, bytes);
  return leaf(c, "from", &s, copy, held);
}

myna_array *myna_view(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims, const void *data) {
  myna__spec s;
  if (!myna__check_shape(c, "view", t, shape, n_dims, false, &s)) return NULL;
  if (myna_dtype_block(t) != 1)
    return myna__fail(c, MYNA_E_DTYPE, "view", "%s is packed: use myna_weight", myna_dtype_name(t));
  return leaf(c, "view", &s, (void *)(uintptr_t)data, 0);
}

static myna_array *placeholder(myna_ctx *c, const char *op, const char *name, myna_dtype t, const int64_t *shape,
                               int n_dims, bool state) {
  myna__spec s;
  if (!myna__check_shape(c, op, t, shape, n_dims, true, &s)) return NULL;
  if (myna__dtype_is_packed(t)) return myna__fail(c, MYNA_E_DTYPE, op, "packed type %s", myna_dtype_name(t));
  myna_array *a = leaf(c, op, &s, NULL, 0);
  if (!a) return NULL;
  snprintf(a->name, sizeof a->name, "%s", name);
  a->is_input = true;
  a->is_state = state;
  return a;
}

myna_array *myna_input(myna_ctx *c, const char *name, myna_dtype t, const int64_t *shape, int n_dims) {
  return placeholder(c, "input", name, t, shape, n_dims, false);
}

myna_array *myna_state(myna_ctx *c, const char *name, myna_dtype t, const int64_t *shape, int n_dims) {
  return placeholder(c, "state", name, t, shape, n_dims, true);
}

myna_array *myna__array_weight(myna_ctx *c, const myna__weight *w) {
  myna__spec s = {.type = w->type, .n_dims = w->n_expert > 0 ? 3 : 2};
  int64_t dims[3] = {w->n_expert, w->n_out, w->n_in};
  memcpy(s.dims, dims + (3 - s.n_dims), sizeof(int64_t) * (size_t)s.n_dims);
  myna__weight *copy = myna__alloc(sizeof *copy);
  if (!copy) return myna__fail(c, MYNA_E_NOMEM, "weight", "no memory");
  *copy = *w;
  myna_array *a = array_new(c, &s);
  if (!a) {
    myna__free(copy, sizeof *copy);
    return myna__fail(c, MYNA_E_NOMEM, "weight", "no memory");
  }
  a->weight = copy;
  if (myna__dtype_is_float(w->type) && !w->expert_plane0) { /* plain numbers: an array like any other, too */
    a->data = (uint8_t *)(uintptr_t)w->plane[0];
    int64_t stride[3] = {w->expert_stride[0], w->row_stride[0], myna_dtype_bytes(w->type)};
    memcpy(a->stride, stride + (3 - s.n_dims), sizeof(int64_t) * (size_t)s.n_dims);
  }
  return a;
}

/* Bytes of one row of a plane: codes, or one scale or bias per group. */
static int64_t plane_row_bytes(myna_dtype t, int plane, int64_t n_in, int group, myna_dtype scale_type) {
  if (plane == 0) return n_in / myna_dtype_block(t) * myna_dtype_bytes(t);
  return group > 0 ? n_in / group * myna_dtype_bytes(scale_type) : 0;
}

myna_array *myna_weight(myna_ctx *c, myna_dtype t, const int64_t *shape, int n_dims, const myna_planes *p) {
  myna__spec s;
  if (!myna__check_shape(c, "weight", t, shape, n_dims, false, &s)) return NULL;
  if (n_dims != 2 && n_dims != 3)
    return myna__fail(c, MYNA_E_SHAPE, "weight", "%d dimensions, 2 or 3 are needed", n_dims);
  if (shape[n_dims - 1] % myna_dtype_block(t))
    return myna__fail(c, MYNA_E_SHAPE, "weight", "rows of %lld are no multiple of the block of %s",
                      (long long)shape[n_dims - 1], myna_dtype_name(t));
  if (!p || (!p->plane[0] && !p->expert_plane0)) return myna__fail(c, MYNA_E_ARG, "weight", "no data");
  myna__weight w = {
      .type = t, .n_in = shape[n_dims - 1], .n_out = shape[n_dims - 2], .n_expert = n_dims == 3 ? shape[0] : 0};
  w.group = p->group;
  w.scale_type = p->scale_type;
  w.expert_plane0 = (const uint8_t *const *)p->expert_plane0;
  for (int i = 0; i < 4; i++) {
    w.plane[i] = p->plane[i];
    w.row_stride[i] = p->row_stride[i] ? p->row_stride[i] : plane_row_bytes(t, i, w.n_in, p->group, p->scale_type);
    w.expert_stride[i] = p->expert_stride[i] ? p->expert_stride[i] : w.row_stride[i] * w.n_out;
  }
  return myna__array_weight(c, &w);
}

myna_array *myna_weight_rows(myna_ctx *c, myna_array *a, int64_t start, int64_t stop) {
  if (!a || c->err.code) return a ? NULL : myna__fail(c, MYNA_E_ARG, "weight_rows", "the weight is NULL");
  if (!a->weight) return myna_slice_axis(c, a, 0, start, stop);
  if (a->weight->n_expert > 0 || start < 0 || stop > a->weight->n_out || start > stop)
    return myna__fail(c, MYNA_E_SHAPE, "weight_rows", "rows %lld to %lld of %lld", (long long)start, (long long)stop,
                      (long long)a->weight->n_out);
  myna__weight w = *a->weight;
  w.n_out = stop - start;
  for (int i = 0; i < 4; i++)
    if (w.plane[i]) w.plane[i] += start * w.row_stride[i];
  return myna__array_weight(c, &w);
}

int myna_ndim(const myna_array *a) { return a ? a->spec.n_dims : 0; }

int64_t myna_dim(const myna_array *a, int axis) {
  if (!a) return 0;
  if (axis < 0) axis += a->spec.n_dims;
  return axis >= 0 && axis < a->spec.n_dims ? a->spec.dims[axis] : 0;
}

int64_t myna_size(const myna_array *a) { return a ? myna__shape_size(a->spec.dims, a->spec.n_dims) : 0; }

myna_dtype myna_type(const myna_array *a) { return a ? a->spec.type : MYNA_F32; }

/* ---- applying ops ---- */

/* What is stored may be symbolic only in its outermost dimension, and its size must fit. */
static int check_output(const myna__op *op, const myna__spec *s, myna_err *err) {
  char t[128];
  int64_t n = 1;
  for (int d = 0; d < s->n_dims; d++) {
    if (s->dims[d] < 0 && d > 0 && !(op->flags & MYNA__OP_VIEW))
      return myna__err(err, MYNA_E_SHAPE, "the result %s has a symbolic dimension that is not the outermost",
                       myna__spec_text(s, t, sizeof t));
    if (s->dims[d] >= 0 && !myna__mul_ok(n, MYNA__MAX(s->dims[d], 1), &n)) n = INT64_MAX;
    if (n > INT64_MAX / 64)
      return myna__err(err, MYNA_E_LIMIT, "the result %s has too many elements", myna__spec_text(s, t, sizeof t));
  }
  return 0;
}

/* 0 when the inputs may be used; effects take the newest version of a state. */
static int check_inputs(myna_ctx *c, const myna__op *op, myna_array *const *in, int n_in, uint32_t optional) {
  for (int i = 0; i < n_in; i++) {
    if (!in[i]) {
      if (optional >> i & 1) continue;
      return myna__fail(c, MYNA_E_ARG, op->name, "operand %d is NULL", i), MYNA_E_ARG;
    }
    if (in[i]->ctx != c)
      return myna__fail(c, MYNA_E_ARG, op->name, "operand %d belongs to another context", i), MYNA_E_ARG;
    if (!(op->flags & MYNA__OP_WEIGHTS) && (myna__dtype_is_packed(in[i]->spec.type) || (in[i]->weight && !in[i]->data)))
      return myna__fail(c, MYNA_E_DTYPE, op->name,
                        "operand %d is a weight of type %s: myna_dequantize makes an array of it", i,
                        myna_dtype_name(in[i]->spec.type)),
             MYNA_E_DTYPE;
    if (in[i]->is_state && in[i]->consumed)
      return myna__fail(c, MYNA_E_STATE, op->name, "operand %d is an old version of state %s", i, in[i]->name),
             MYNA_E_STATE;
  }
  if (op->flags & MYNA__OP_EFFECT && !in[0]->is_state)
    return myna__fail(c, MYNA_E_STATE, op->name, "operand 0 is not a state"), MYNA_E_STATE;
  return 0;
}

static myna__node *node_new(myna_ctx *c, const myna__op *op, myna_array *const *in, int n_in, const void *params,
                            size_t bytes, int n_out) {
  myna__node *n = myna__calloc(sizeof *n);
  if (!n) return NULL;
  *n = (myna__node){.op = op, .params_bytes = bytes, .n_in = n_in, .n_out = n_out, .id = c->next_id++};
  n->params = bytes ? myna__alloc(bytes) : NULL;
  n->in = n_in ? myna__alloc((size_t)n_in * sizeof *n->in) : NULL;
  if ((bytes && !n->params) || (n_in && !n->in)) {
    node_delete(n);
    return NULL;
  }
  if (bytes) memcpy(n->params, params, bytes);
  for (int i = 0; i < n_in; i++) n->in[i] = in[i];
  return n;
}

int myna__apply(myna_ctx *c, const myna__op *op, myna_array *const *in, int n_in, uint32_t optional, const void *params,
                size_t bytes, myna_array **out, int n_out) {
  for (int i = 0; i < n_out; i++) out[i] = NULL;
  if (c->err.code) return c->err.code;
  TRY(check_inputs(c, op, in, n_in, optional));
  myna__node *n = node_new(c, op, in, n_in, params, bytes, n_out);
  if (!n) return myna__fail(c, MYNA_E_NOMEM, op->name, "no memory"), MYNA_E_NOMEM;
  myna__spec spec[MYNA__MAX_OUT] = {0};
  myna_err err = {0};
  int rc = op->shape(n, spec, &err);
  for (int i = 0; i < n_out && rc == 0; i++) rc = check_output(op, &spec[i], &err);
  if (rc < 0) {
    node_delete(n);
    return myna__fail(c, rc, op->name, "%s", err.msg), rc;
  }
  assert(rc == 0);
  for (int i = 0; i < n_out; i++) {
    out[i] = array_new(c, &spec[i]);
    if (!out[i]) { /* those made so far stay in the scope, without a node */
      for (int j = 0; j < i; j++) out[j]->node = NULL, out[j] = NULL;
      node_delete(n);
      return myna__fail(c, MYNA_E_NOMEM, op->name, "no memory"), MYNA_E_NOMEM;
    }
    out[i]->node = n;
    out[i]->index = i;
    n->out[i] = out[i];
  }
  n->live = n_out;
  for (int i = 0; i < n_in; i++) myna__array_ref(in[i]);
  if (op->flags & MYNA__OP_EFFECT) {
    in[0]->consumed = true;
    out[0]->is_state = true;
    snprintf(out[0]->name, sizeof out[0]->name, "%s", in[0]->name);
  }
  return 0;
}

myna_array *myna__apply1(myna_ctx *c, const myna__op *op, myna_array *const *in, int n_in, const void *params,
                         size_t bytes) {
  myna_array *out;
  myna__apply(c, op, in, n_in, 0, params, bytes, &out, 1);
  return out;
}

const myna__op *myna__op_at(int i) {
  static const myna__op *const ops[] = {
#define OP(name) &myna__op_##name,
#include "graph/ops.inc"
#undef OP
  };
  return i >= 0 && i < (int)MYNA__COUNT(ops) ? ops[i] : NULL;
}
