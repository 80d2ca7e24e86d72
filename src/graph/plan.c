/* plan.c: lowers a graph to steps, places their buffers, replays them; myna_eval is a plan that runs once.
 *
 * Order: steps stand in creation order of their nodes, so a read of a state comes before the effect that was
 * recorded after it. Placement: a buffer lives from its first to its last step; buffers whose lives overlap do not
 * share bytes. A symbolic dimension is the outermost one of every stored value, so strides never depend on it. */
#include "graph/plan.h"
#include "tensor/elements.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- growing tables in the plan's arena ---- */

static void *grow(myna_plan *p, void *items, int n, int *cap, size_t size) {
  if (n < *cap) return items;
  int want = *cap ? 2 * *cap : 64;
  void *q = myna__arena_alloc(&p->arena, (size_t)want * size);
  if (!q) return NULL;
  if (n) memcpy(q, items, (size_t)n * size);
  *cap = want;
  return q;
}

static int new_value(myna_plan *p, const myna__spec *spec, myna__value_kind kind) {
  void *v = grow(p, p->values, p->n_values, &p->cap_values, sizeof *p->values);
  if (!v) return -1;
  p->values = v;
  int i = p->n_values++;
  p->values[i] = (myna__value){.kind = kind, .spec = *spec, .root = i, .producer = -1, .first = -1, .last = -1};
  return i;
}

static myna__step *new_step(myna_plan *p) {
  void *s = grow(p, p->steps, p->n_steps, &p->cap_steps, sizeof *p->steps);
  if (!s) return NULL;
  p->steps = s;
  myna__step *st = &p->steps[p->n_steps++];
  *st = (myna__step){0};
  return st;
}

static int add_patch(myna_plan *p, int kind, void *where, int index, int64_t rel) {
  void *q = grow(p, p->patches, p->n_patches, &p->cap_patches, sizeof *p->patches);
  if (!q) return MYNA_E_NOMEM;
  p->patches = q;
  p->patches[p->n_patches++] = (myna__patch){kind, where, index, rel};
  return 0;
}

void myna__plan_max_dims(const myna_plan *p, const myna__spec *s, int64_t *dims) {
  for (int i = 0; i < s->n_dims; i++) dims[i] = s->dims[i] < 0 ? p->opt.sym_max[-1 - s->dims[i]] : s->dims[i];
}

/* ---- collecting the graph ---- */

typedef struct lowering {
  myna_plan *plan;
  myna__map values; /* array pointer -> value */
  myna__node **nodes;
  int64_t n_nodes, cap_nodes;
  bool once; /* for myna_eval */
  myna_err *err;
} lowering;

static int push_ptr(void ***items, int64_t *n, int64_t *cap, void *x) {
  if (*n == *cap) {
    int64_t want = *cap ? 2 * *cap : 256;
    void *q = myna__realloc(*items, (size_t)*cap * sizeof(void *), (size_t)want * sizeof(void *));
    if (!q) return MYNA_E_NOMEM;
    *items = q;
    *cap = want;
  }
  (*items)[(*n)++] = x;
  return 0;
}

/* Keys are array ids; they are stored in the plan's arena because the map borrows them. */
static int map_array(lowering *l, const myna_array *a, int value) {
  int64_t *key = myna__arena_alloc(&l->plan->arena, sizeof *key);
  if (!key) return myna__err(l->err, MYNA_E_NOMEM, "plan: no memory");
  *key = a->id;
  int rc = myna__map_put(&l->values, (const char *)key, sizeof *key, value, l->err);
  return rc < 0 ? rc : 0;
}

static int value_of(const lowering *l, const myna_array *a) {
  return (int)myna__map_get(&l->values, (const char *)&a->id, sizeof a->id, -1);
}

static int hold(myna_plan *p, myna_array *a) {
  void *q = grow(p, p->held, p->n_held, &p->cap_held, sizeof *p->held);
  if (!q) return MYNA_E_NOMEM;
  p->held = q;
  p->held[p->n_held++] = myna_keep(a);
  return 0;
}

static int add_leaf(lowering *l, myna_array *a) {
  if (a->is_input) return myna__err(l->err, MYNA_E_ARG, "input %s is not among the plan's inputs", a->name);
  int v = new_value(l->plan, &a->spec, MYNA__VAL_LEAF);
  if (v < 0 || hold(l->plan, a) < 0) return myna__err(l->err, MYNA_E_NOMEM, "plan: no memory");
  l->plan->values[v].leaf = a;
  memcpy(l->plan->values[v].stride, a->stride, sizeof a->stride);
  return map_array(l, a, v);
}

/* Marks every array and node that the outputs need (worklist), leaves become values at once. */
static int collect(lowering *l, myna_array *const *outputs, int n) {
  void **work = NULL;
  int64_t n_work = 0, cap = 0;
  int rc = 0;
  for (int i = 0; i < n && rc == 0; i++) rc = push_ptr(&work, &n_work, &cap, outputs[i]);
  while (n_work > 0 && rc == 0) {
    myna_array *a = work[--n_work];
    if (!a || value_of(l, a) != -1) continue;
    if (!a->node || a->data) {
      rc = add_leaf(l, a);
      continue;
    }
    myna__node *node = a->node;
    rc = push_ptr((void ***)&l->nodes, &l->n_nodes, &l->cap_nodes, node);
    for (int i = 0; i < node->n_out && rc == 0; i++)
      if (node->out[i]) rc = map_array(l, node->out[i], -2); /* seen, no value yet */
    for (int i = 0; i < node->n_in && rc == 0; i++) rc = push_ptr(&work, &n_work, &cap, node->in[i]);
  }
  myna__free(work, (size_t)cap * sizeof(void *));
  return rc == MYNA_E_NOMEM ? myna__err(l->err, rc, "plan: no memory") : rc;
}

static int by_id(const void *a, const void *b) {
  int64_t x = (*(myna__node *const *)a)->id, y = (*(myna__node *const *)b)->id;
  return (x > y) - (x < y);
}

/* ---- lowering nodes to steps ---- */

/* A stored value may be symbolic only in its outermost dimension. */
static int check_stored(const myna__spec *s, const char *op, myna_err *err) {
  for (int i = 1; i < s->n_dims; i++)
    if (s->dims[i] < 0) {
      char t[128];
      return myna__err(err, MYNA_E_SHAPE, "%s: %s would be stored with a symbolic dimension that is not the outermost",
                       op, myna__spec_text(s, t, sizeof t));
    }
  return 0;
}

static int new_buffer(myna_plan *p, const myna__spec *spec, const char *op, myna_err *err) {
  TRY(check_stored(spec, op, err));
  int v = new_value(p, spec, MYNA__VAL_BUFFER);
  if (v < 0) return myna__err(err, MYNA_E_NOMEM, "plan: no memory");
  int64_t dims[MYNA__MAX_DIMS];
  myna__plan_max_dims(p, spec, dims);
  myna__shape_strides(dims, spec->n_dims, myna_dtype_bytes(spec->type), p->values[v].stride);
  int64_t n = myna__shape_size(dims, spec->n_dims);
  if (n < 0 || !myna__mul_ok(n, myna_dtype_bytes(spec->type), &p->values[v].bytes) ||
      p->values[v].bytes > INT64_MAX / 4)
    return myna__err(err, MYNA_E_LIMIT, "%s: result too large", op);
  return v;
}

/* A tensor of a value at maximal sizes, with data as an offset from a base that is not NULL. */
static myna__tensor value_tensor(const myna_plan *p, int v, uint8_t *base) {
  const myna__value *x = &p->values[v];
  myna__tensor t = {.data = base + x->rel, .type = x->spec.type, .n_dims = x->spec.n_dims};
  if (x->kind == MYNA__VAL_LEAF) t.weight = x->leaf->weight;
  myna__plan_max_dims(p, &x->spec, t.shape);
  memcpy(t.stride, x->stride, sizeof t.stride);
  return t;
}

/* Adds a step that copies v to a contiguous buffer; returns the new value. */
static int add_copy(myna_plan *p, int v, myna_err *err) {
  int out = new_buffer(p, &p->values[v].spec, "contiguous", err);
  if (out < 0) return out;
  myna__step *st = new_step(p);
  if (!st) return myna__err(err, MYNA_E_NOMEM, "plan: no memory");
  st->op = &myna__op_contiguous;
  st->n_in = st->n_out = 1;
  st->in[0] = v;
  st->out[0] = out;
  return out;
}

enum { BASE = 1 << 12 }; /* stands for a root's address while strides are worked out */

/* The value of operand i, an error when it is a view of a state that was written since. */
static int operand(lowering *l, const myna__node *n, int i) {
  int v = value_of(l, n->in[i]);
  const myna__value *x = &l->plan->values[v];
  if (x->version == l->plan->values[x->root].changed) return v;
  return myna__err(l->err, MYNA_E_STATE, "%s: operand %d is a view of an old version of state %s", n->op->name, i,
                   l->plan->held[l->plan->values[x->root].input]->name);
}

static int lower_view(lowering *l, const myna__node *n) {
  myna_plan *p = l->plan;
  int in = operand(l, n, 0);
  if (in < 0) return in;
  for (int attempt = 0; attempt < 2; attempt++) {
    uint8_t *base = (uint8_t *)(uintptr_t)BASE;
    myna__tensor a = value_tensor(p, in, base), b = {.type = n->out[0]->spec.type, .n_dims = n->out[0]->spec.n_dims};
    myna__plan_max_dims(p, &n->out[0]->spec, b.shape);
    if (n->op->view(n->params, &a, &b)) {
      int v = new_value(p, &n->out[0]->spec, MYNA__VAL_ALIAS);
      if (v < 0) return myna__err(l->err, MYNA_E_NOMEM, "plan: no memory");
      p->values[v].root = p->values[in].root;
      p->values[v].rel = b.data - base;
      p->values[v].version = p->values[in].version;
      memcpy(p->values[v].stride, b.stride, sizeof b.stride);
      return map_array(l, n->out[0], v);
    }
    in = add_copy(p, in, l->err);
    if (in < 0) return in;
  }
  return myna__err(l->err, MYNA_E_INTERNAL, "%s: no view of a contiguous array", n->op->name);
}

/* Whether run() can read t as it lies. Small operands (indices, vectors) are simply contiguous. */
static bool strides_fit(const myna__op *op, const myna__tensor *t) {
  int64_t rows, cols, stride;
  if (op->flags & MYNA__OP_STRIDED || t->n_dims == 0) return true;
  if (op->flags & MYNA__OP_DENSE || !myna__dtype_is_float(t->type) || t->n_dims == 1) return myna__tensor_contiguous(t);
  if (!(op->flags & MYNA__OP_OUTER)) return myna__tensor_rows(t, &rows, &cols, &stride);
  myna__tensor inner = *t;
  inner.shape[0] = 1;
  return myna__tensor_contiguous(&inner);
}

/* The same, in a form that run() of the op can read. */
static int lower_operand(lowering *l, const myna__node *n, int i) {
  myna_plan *p = l->plan;
  int v = operand(l, n, i);
  if (v < 0) return v;
  const myna__value *x = &p->values[v];
  if (n->op->flags & MYNA__OP_WEIGHTS && x->kind == MYNA__VAL_LEAF && x->leaf->weight) return v;
  myna__tensor t = value_tensor(p, v, (uint8_t *)(uintptr_t)BASE);
  return strides_fit(n->op, &t) ? v : add_copy(p, v, l->err);
}

static int lower_step(lowering *l, const myna__node *n) {
  myna_plan *p = l->plan;
  int in[MYNA__MAX_IN] = {0};
  for (int i = 0; i < n->n_in; i++) {
    in[i] = -1;
    if (n->in[i]) TRY_N(in[i] = lower_operand(l, n, i));
  }
  int out[MYNA__MAX_OUT] = {0};
  for (int i = 0; i < n->n_out; i++) {
    myna__spec spec = {.type = MYNA_F32}; /* an output that nobody holds */
    if (n->out[i])
      spec = n->out[i]->spec;
    else {
      myna__spec all[MYNA__MAX_OUT] = {0};
      TRY(n->op->shape(n, all, l->err));
      spec = all[i];
    }
    if (n->op->flags & MYNA__OP_EFFECT && i == 0) { /* the next version is the same memory */
      out[i] = new_value(p, &spec, MYNA__VAL_ALIAS);
      if (out[i] < 0) return myna__err(l->err, MYNA_E_NOMEM, "plan: no memory");
      myna__value *v = &p->values[out[i]], *s = &p->values[in[0]];
      v->root = s->root;
      v->rel = s->rel;
      memcpy(v->stride, s->stride, sizeof v->stride);
      v->version = p->values[v->root].changed = n->id;
    } else {
      TRY_N(out[i] = new_buffer(p, &spec, n->op->name, l->err));
    }
    if (n->out[i]) TRY(map_array(l, n->out[i], out[i]));
  }
  void *params = NULL; /* a copy: evaluating an array frees its node */
  if (n->params_bytes && !(params = myna__arena_alloc(&p->arena, n->params_bytes)))
    return myna__err(l->err, MYNA_E_NOMEM, "plan: no memory");
  if (params) memcpy(params, n->params, n->params_bytes);
  myna__step *st = new_step(p);
  if (!st) return myna__err(l->err, MYNA_E_NOMEM, "plan: no memory");
  st->op = n->op;
  st->params = params;
  st->n_in = n->n_in;
  st->n_out = n->n_out;
  memcpy(st->in, in, sizeof(int) * (size_t)n->n_in);
  memcpy(st->out, out, sizeof(int) * (size_t)n->n_out);
  return 0;
}

/* What a caller of myna_plan_output sees is contiguous; eval copies anyway. */
static int lower_output(lowering *l, const myna_array *a, int i) {
  myna_plan *p = l->plan;
  int v = value_of(l, a);
  const myna__value *x = &p->values[v];
  if (x->version != p->values[x->root].changed)
    return myna__err(l->err, MYNA_E_STATE, "plan output %d is an old version of state %s", i,
                     p->held[p->values[x->root].input]->name);
  myna__tensor t = value_tensor(p, v, (uint8_t *)(uintptr_t)BASE);
  if (!l->once && !t.weight && !myna__tensor_contiguous(&t)) TRY_N(v = add_copy(p, v, l->err));
  p->outputs[p->n_outputs++] = v;
  return 0;
}

static int lower_graph(lowering *l, myna_array *const *inputs, int n_inputs, myna_array *const *outputs,
                       int n_outputs) {
  myna_plan *p = l->plan;
  p->inputs = myna__arena_alloc(&p->arena, sizeof(int) * (size_t)(n_inputs + 1));
  p->outputs = myna__arena_alloc(&p->arena, sizeof(int) * (size_t)(n_outputs + 1));
  if (!p->inputs || !p->outputs) return myna__err(l->err, MYNA_E_NOMEM, "plan: no memory");
  for (int i = 0; i < n_inputs; i++) {
    if (!inputs[i] || !inputs[i]->is_input)
      return myna__err(l->err, MYNA_E_ARG, "plan input %d is not a placeholder", i);
    int v = new_value(p, &inputs[i]->spec, MYNA__VAL_INPUT);
    if (v < 0 || hold(p, inputs[i]) < 0) return myna__err(l->err, MYNA_E_NOMEM, "plan: no memory");
    p->values[v].input = i;
    int64_t dims[MYNA__MAX_DIMS];
    myna__plan_max_dims(p, &inputs[i]->spec, dims);
    myna__shape_strides(dims, inputs[i]->spec.n_dims, myna_dtype_bytes(inputs[i]->spec.type), p->values[v].stride);
    p->inputs[p->n_inputs++] = v;
    TRY(map_array(l, inputs[i], v));
  }
  TRY(collect(l, outputs, n_outputs));
  if (l->n_nodes) qsort(l->nodes, (size_t)l->n_nodes, sizeof *l->nodes, by_id);
  for (int64_t i = 0; i < l->n_nodes; i++) {
    const myna__node *n = l->nodes[i];
    TRY(n->op->flags & MYNA__OP_VIEW ? lower_view(l, n) : lower_step(l, n));
  }
  for (int i = 0; i < n_outputs; i++) TRY(lower_output(l, outputs[i], i));
  return 0;
}

/* ---- uses, placement ---- */

/* A read through a view counts for the view and for the value whose memory it is. */
static void use(myna_plan *p, int v) {
  p->values[v].uses++;
  if (p->values[v].root != v) p->values[p->values[v].root].uses++;
}

static void count_uses(myna_plan *p) {
  for (int i = 0; i < p->n_values; i++) p->values[i].uses = 0;
  for (int s = 0; s < p->n_steps; s++) {
    const myna__step *st = &p->steps[s];
    for (int i = 0; i < st->n_in && !st->dead; i++)
      if (st->in[i] >= 0) use(p, st->in[i]);
    for (int i = 0; i < st->n_out && !st->dead; i++) p->values[st->out[i]].producer = s;
  }
  for (int i = 0; i < p->n_outputs; i++) use(p, p->outputs[i]);
}

static void touch(myna_plan *p, int v, int step) {
  myna__value *r = &p->values[p->values[v].root];
  if (r->first < 0) r->first = step;
  r->last = MYNA__MAX(r->last, step);
}

static void lifetimes(myna_plan *p) {
  int n = 0;
  for (int s = 0; s < p->n_steps; s++) /* drop dead steps */
    if (!p->steps[s].dead) p->steps[n++] = p->steps[s];
  p->n_steps = n;
  for (int s = 0; s < n; s++) {
    for (int i = 0; i < p->steps[s].n_in; i++)
      if (p->steps[s].in[i] >= 0) touch(p, p->steps[s].in[i], s);
    for (int i = 0; i < p->steps[s].n_out; i++) touch(p, p->steps[s].out[i], s);
  }
  for (int i = 0; i < p->n_outputs; i++) touch(p, p->outputs[i], n);
}

/* Roots change while steps share memory; a value's root may have become an alias itself. */
static int root_of(const myna_plan *p, int v) {
  while (p->values[v].root != v) v = p->values[v].root;
  return v;
}

/* True when another input of the step reads the same memory through a different view. */
static bool read_otherwise(const myna_plan *p, const myna__step *st, int input) {
  int v = st->in[input];
  for (int i = 0; i < st->n_in; i++)
    if (st->in[i] >= 0 && st->in[i] != v && root_of(p, st->in[i]) == root_of(p, v)) return true;
  return false;
}

/* v is all of its root's memory, lying as `like`, and nothing reads it after `step`. */
static bool can_take_over(const myna_plan *p, int v, const myna__value *like, int step) {
  const myna__value *x = &p->values[v], *r = &p->values[root_of(p, v)];
  if (r->kind != MYNA__VAL_BUFFER || r->last != step || r->bytes != like->bytes || x->rel != 0) return false;
  if (x->spec.type != like->spec.type || !myna__spec_same_dims(&x->spec, &like->spec)) return false;
  return memcmp(x->stride, like->stride, sizeof *x->stride * (size_t)x->spec.n_dims) == 0;
}

/* An element-wise step may write over an input that dies with it. */
static void share_in_place(myna_plan *p) {
  for (int s = 0; s < p->n_steps; s++) {
    myna__step *st = &p->steps[s];
    myna__value *o = &p->values[st->out[0]];
    if (!(st->op->flags & MYNA__OP_INPLACE) || o->kind != MYNA__VAL_BUFFER) continue;
    for (int i = 0; i < st->n_in; i++) {
      if (st->in[i] < 0 || !can_take_over(p, st->in[i], o, s) || read_otherwise(p, st, i)) continue;
      int root = root_of(p, st->in[i]);
      p->values[root].last = o->last;
      o->root = root;
      o->kind = MYNA__VAL_ALIAS;
      break;
    }
  }
  for (int v = 0; v < p->n_values; v++) p->values[v].root = root_of(p, v);
}

static int64_t padded(const myna__value *v) { return (v->bytes + 63) / 64 * 64; }

static int by_size(const void *a, const void *b) {
  const myna__value *x = *(myna__value *const *)a, *y = *(myna__value *const *)b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  return (x > y) - (x < y);
}

static int by_offset(const void *a, const void *b) {
  const myna__value *x = *(myna__value *const *)a, *y = *(myna__value *const *)b;
  return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Largest first, each at the lowest offset that is free during its life. Quadratic; the least memory. */
static void place_by_size(myna_plan *p, myna__value **list, myna__value **busy, int n) {
  qsort(list, (size_t)n, sizeof *list, by_size);
  for (int i = 0; i < n; i++) {
    int n_busy = 0;
    for (int j = 0; j < i; j++)
      if (list[j]->first <= list[i]->last && list[i]->first <= list[j]->last) busy[n_busy++] = list[j];
    qsort(busy, (size_t)n_busy, sizeof *busy, by_offset);
    int64_t at = 0, size = padded(list[i]);
    for (int j = 0; j < n_busy; j++) {
      if (busy[j]->offset >= at + size) break;
      at = MYNA__MAX(at, busy[j]->offset + padded(busy[j]));
    }
    list[i]->offset = at;
    p->memory_bytes = MYNA__MAX(p->memory_bytes, at + size);
  }
}

static int by_first(const void *a, const void *b) {
  const myna__value *x = *(myna__value *const *)a, *y = *(myna__value *const *)b;
  if (x->first != y->first) return x->first < y->first ? -1 : 1;
  return (x > y) - (x < y);
}

typedef struct gap {
  int64_t at, size;
} gap;

/* Gives [at, at + size) back; gaps[n] are sorted and never touch. Returns the new n. */
static int add_gap(gap *gaps, int n, int64_t at, int64_t size) {
  int lo = 0, hi = n;
  while (lo < hi) {
    int mid = (lo + hi) / 2;
    if (gaps[mid].at < at)
      lo = mid + 1;
    else
      hi = mid;
  }
  bool joins_left = lo > 0 && gaps[lo - 1].at + gaps[lo - 1].size == at,
       joins_right = lo < n && at + size == gaps[lo].at;
  if (joins_left) gaps[lo - 1].size += size;
  if (joins_right && !joins_left) gaps[lo] = (gap){at, size + gaps[lo].size};
  if (joins_left && joins_right) {
    gaps[lo - 1].size += gaps[lo].size;
    memmove(gaps + lo, gaps + lo + 1, (size_t)(n - lo - 1) * sizeof *gaps);
  }
  if (joins_left || joins_right) return n - (joins_left && joins_right);
  memmove(gaps + lo + 1, gaps + lo, (size_t)(n - lo) * sizeof *gaps);
  gaps[lo] = (gap){at, size};
  return n + 1;
}

/* In the order of their lives, each in the smallest gap that fits: for graphs too large for place_by_size. `dying`
 * [n_steps + 1] and `next` [n] list the buffers by the step they die at. */
static void place_by_time(myna_plan *p, myna__value **list, gap *gaps, int *dying, int *next, int n) {
  int n_gaps = 0, done = 0; /* buffers that died before step `done` are gaps */
  qsort(list, (size_t)n, sizeof *list, by_first);
  for (int s = 0; s <= p->n_steps; s++) dying[s] = -1;
  for (int i = 0; i < n; i++) {
    for (; done < list[i]->first; done++)
      for (int k = dying[done]; k >= 0; k = next[k]) n_gaps = add_gap(gaps, n_gaps, list[k]->offset, padded(list[k]));
    int64_t size = padded(list[i]);
    int best = -1;
    for (int g = 0; g < n_gaps; g++)
      if (gaps[g].size >= size && (best < 0 || gaps[g].size < gaps[best].size)) best = g;
    if (best >= 0) {
      list[i]->offset = gaps[best].at;
      gaps[best].at += size;
      gaps[best].size -= size;
      if (gaps[best].size == 0) memmove(gaps + best, gaps + best + 1, (size_t)(--n_gaps - best) * sizeof *gaps);
    } else {
      list[i]->offset = p->memory_bytes;
      p->memory_bytes += size;
    }
    next[i] = dying[list[i]->last];
    dying[list[i]->last] = i;
  }
}

static int place(myna_plan *p, myna_err *err) {
  enum { MANY = 512 };
  size_t max = (size_t)p->n_values + 1;
  myna__value **list = myna__arena_alloc(&p->arena, 2 * sizeof *list * max);
  int n = 0;
  if (!list) return myna__err(err, MYNA_E_NOMEM, "plan: no memory");
  for (int i = 0; i < p->n_values; i++)
    if (p->values[i].kind == MYNA__VAL_BUFFER && p->values[i].first >= 0) list[n++] = &p->values[i];
  if (n <= MANY) {
    place_by_size(p, list, list + max, n);
    return 0;
  }
  gap *gaps = myna__arena_alloc(&p->arena, sizeof *gaps * max);
  int *dying = myna__arena_alloc(&p->arena, sizeof *dying * ((size_t)p->n_steps + 1)),
      *next = myna__arena_alloc(&p->arena, sizeof *next * max);
  if (!gaps || !dying || !next) return myna__err(err, MYNA_E_NOMEM, "plan: no memory");
  place_by_time(p, list, gaps, dying, next, n);
  return 0;
}

/* ---- binding: tensors, patches, scratch ---- */

static uint8_t *static_data(const myna_plan *p, const myna__value *v) {
  const myna__value *r = &p->values[v->root];
  if (r->kind == MYNA__VAL_BUFFER) return p->memory + r->offset + v->rel;
  return r->kind == MYNA__VAL_LEAF && r->leaf->data ? r->leaf->data + v->rel : NULL;
}

static int bind_tensor(myna_plan *p, int v, myna__tensor *t, myna_err *err) {
  *t = (myna__tensor){0};
  if (v < 0) return 0;
  const myna__value *x = &p->values[v], *root = &p->values[x->root];
  *t = value_tensor(p, v, (uint8_t *)(uintptr_t)BASE);
  t->data = static_data(p, x);
  int rc = 0;
  if (root->kind == MYNA__VAL_INPUT) rc = add_patch(p, MYNA__PATCH_DATA, &t->data, root->input, x->rel);
  for (int i = 0; i < x->spec.n_dims && rc == 0; i++)
    if (x->spec.dims[i] < 0) {
      rc = add_patch(p, MYNA__PATCH_DIM, &t->shape[i], (int)(-1 - x->spec.dims[i]), 0);
      p->n_syms = MYNA__MAX(p->n_syms, -x->spec.dims[i]);
    }
  return rc < 0 ? myna__err(err, rc, "plan: no memory") : 0;
}

static int bind(myna_plan *p, myna_err *err) {
  int threads = myna__pool_size(p->ctx->pool);
  size_t scratch = 0;
  p->out_tensors = myna__arena_alloc(&p->arena, sizeof(myna__tensor) * (size_t)(p->n_outputs + 1));
  if (!p->out_tensors) return myna__err(err, MYNA_E_NOMEM, "plan: no memory");
  for (int s = 0; s < p->n_steps; s++) {
    myna__step *st = &p->steps[s];
    st->tensors = myna__arena_alloc(&p->arena, sizeof(myna__tensor) * (size_t)(st->n_in + st->n_out + 1));
    if (!st->tensors) return myna__err(err, MYNA_E_NOMEM, "plan: no memory");
    st->run = (myna__run){.params = st->params,
                          .n_in = st->n_in,
                          .n_out = st->n_out,
                          .in = st->tensors,
                          .out = st->tensors + st->n_in,
                          .pool = p->ctx->pool,
                          .exact = p->opt.exact};
    for (int i = 0; i < st->n_in; i++)
      st->tensors[i] = st->in[i] >= 0 ? value_tensor(p, st->in[i], (uint8_t *)(uintptr_t)BASE) : (myna__tensor){0};
    for (int i = 0; i < st->n_out; i++)
      st->tensors[st->n_in + i] = value_tensor(p, st->out[i], (uint8_t *)(uintptr_t)BASE);
    if (st->op->scratch) scratch = MYNA__MAX(scratch, st->op->scratch(&st->run, threads));
  }
  p->scratch_offset = p->memory_bytes;
  p->memory_bytes += (int64_t)scratch + 64; /* never nothing: pointers into it are valid */
  if (!(p->memory = myna__alloc((size_t)p->memory_bytes)))
    return myna__err(err, MYNA_E_NOMEM, "no memory for a plan of %lld bytes", (long long)p->memory_bytes);
  for (int s = 0; s < p->n_steps; s++) {
    myna__step *st = &p->steps[s];
    st->run.scratch = p->memory + p->scratch_offset;
    for (int i = 0; i < st->n_in; i++) TRY(bind_tensor(p, st->in[i], &st->tensors[i], err));
    for (int i = 0; i < st->n_out; i++) TRY(bind_tensor(p, st->out[i], &st->tensors[st->n_in + i], err));
  }
  for (int i = 0; i < p->n_outputs; i++) TRY(bind_tensor(p, p->outputs[i], &p->out_tensors[i], err));
  return 0;
}

/* ---- making and running ---- */

static int build(myna_plan *p, myna_array *const *inputs, int n_inputs, myna_array *const *outputs, int n_outputs,
                 bool once, myna_err *err) {
  lowering l = {.plan = p, .once = once, .err = err};
  int rc = lower_graph(&l, inputs, n_inputs, outputs, n_outputs);
  myna__map_free(&l.values);
  myna__free(l.nodes, (size_t)l.cap_nodes * sizeof *l.nodes);
  TRY(rc);
  count_uses(p);
  if (!p->opt.no_fuse) {
    rc = myna__plan_fuse(p, err);
    if (rc != 0) return rc;
    count_uses(p);
  }
  lifetimes(p);
  share_in_place(p);
  TRY(place(p, err));
  return bind(p, err);
}

static int plan_new(myna_plan **out, myna_ctx *c, myna_array *const *inputs, int n_inputs, myna_array *const *outputs,
                    int n_outputs, const myna_plan_options *o, bool once, myna_err *err) {
  *out = NULL;
  if (c->err.code) return myna_ctx_error(c, err);
  for (int i = 0; i < n_outputs; i++)
    if (!outputs[i]) return myna__err(err, MYNA_E_ARG, "plan output %d is NULL", i);
  myna_plan *p = myna__calloc(sizeof *p);
  if (!p) return myna__err(err, MYNA_E_NOMEM, "plan: no memory");
  p->ctx = c;
  if (o) p->opt = *o;
  for (int i = 0; i < 8; i++)
    if (p->opt.sym_max[i] < 0) p->opt.sym_max[i] = 0;
  int rc = build(p, inputs, n_inputs, outputs, n_outputs, once, err);
  if (rc != 0) {
    myna_plan_free(p);
    return rc;
  }
  *out = p;
  return 0;
}

int myna_plan_new(myna_plan **out, myna_ctx *c, myna_array *const *inputs, int n_inputs, myna_array *const *outputs,
                  int n_outputs, const myna_plan_options *o, myna_err *err) {
  return plan_new(out, c, inputs, n_inputs, outputs, n_outputs, o, false, err);
}

void myna_plan_free(myna_plan *p) {
  if (!p) return;
  for (int i = 0; i < p->n_held; i++) myna_release(p->held[i]);
  myna__free(p->memory, (size_t)p->memory_bytes);
  myna__arena_free(&p->arena);
  myna__free(p, sizeof *p);
}

int myna_plan_run(myna_plan *p, void *const *data, const int64_t *sym, myna_err *err) {
  static const int64_t no_sym[8];
  static void *const no_data[1];
  if (p->n_syms > 0 && !sym)
    return myna__err(err, MYNA_E_ARG, "the plan has %lld symbols, no values are given", (long long)p->n_syms);
  if (p->n_inputs > 0 && !data)
    return myna__err(err, MYNA_E_ARG, "the plan has %d inputs, none are given", p->n_inputs);
  if (!sym) sym = no_sym;
  if (!data) data = no_data;
  for (int i = 0; i < p->n_syms; i++)
    if (sym[i] < 0 || sym[i] > p->opt.sym_max[i])
      return myna__err(err, MYNA_E_SHAPE, "symbol %d is %lld, the plan's maximum is %lld", i, (long long)sym[i],
                       (long long)p->opt.sym_max[i]);
  for (int i = 0; i < p->n_patches; i++) {
    const myna__patch *q = &p->patches[i];
    if (q->kind == MYNA__PATCH_DIM)
      *(int64_t *)q->where = sym[q->index];
    else
      *(uint8_t **)q->where = (uint8_t *)((uintptr_t)data[q->index] + (uintptr_t)q->rel); /* NULL for what is empty */
  }
  int64_t before = myna__pool_regions(p->ctx->pool);
  for (int s = 0; s < p->n_steps; s++) {
    const myna__step *st = &p->steps[s];
    if (!(st->op->flags & MYNA__OP_EFFECT) && myna__tensor_size(&st->run.out[0]) == 0) continue;
    st->op->run(&st->run);
  }
  p->regions = myna__pool_regions(p->ctx->pool) - before;
  return 0;
}

const float *myna_plan_output(const myna_plan *p, int i) {
  return i >= 0 && i < p->n_outputs ? (const float *)(const void *)p->out_tensors[i].data : NULL;
}

int64_t myna_plan_bytes(const myna_plan *p) { return p->memory_bytes + (int64_t)p->arena.total; }
int64_t myna_plan_regions(const myna_plan *p) { return p->regions; }

/* A buffer is named by the last step so far that wrote it, and which of its outputs it is when there are several. */
static void print_value(const myna_plan *p, int v, myna__buf *b) {
  int root = p->values[v].root;
  const myna__value *r = &p->values[root];
  char t[128];
  if (r->kind == MYNA__VAL_INPUT) {
    myna__buf_printf(b, "%s", p->held[r->input]->name);
  } else if (r->kind == MYNA__VAL_LEAF) {
    myna__buf_printf(b, "%s", r->leaf->name[0] ? r->leaf->name : myna__spec_text(&r->spec, t, sizeof t));
  } else {
    const myna__step *st = &p->steps[r->producer];
    myna__buf_printf(b, "%%%d", r->producer);
    for (int i = 0; i < st->n_out && st->n_out > 1; i++)
      if (p->values[st->out[i]].root == root) myna__buf_printf(b, ".%d", i);
  }
}

int64_t myna_plan_print(const myna_plan *p, char *buf, int64_t n) {
  myna__buf b = {0};
  char t[128];
  for (int s = 0; s < p->n_steps; s++) {
    const myna__step *st = &p->steps[s];
    myna__buf_printf(&b, "%%%-4d %s", s, st->op->name);
    if (st->op->print) st->op->print(st->params, &b);
    for (int i = 0, printed = 0; i < st->n_in; i++) {
      if (st->in[i] < 0) continue;
      myna__buf_str(&b, printed++ ? ", " : "  ");
      print_value(p, st->in[i], &b);
    }
    myna__buf_str(&b, " ->");
    for (int i = 0; i < st->n_out; i++) {
      myna__buf_printf(&b, " %s", myna__spec_text(&p->values[st->out[i]].spec, t, sizeof t));
      p->values[p->values[st->out[i]].root].producer = s;
    }
    myna__buf_str(&b, "\n");
  }
  int64_t len = (int64_t)b.len;
  if (n > 0 && b.data) memcpy(buf, b.data, (size_t)MYNA__MIN(len, n));
  myna__buf_free(&b);
  return len;
}

/* ---- eval ---- */

static int take_result(myna_array *a, const myna__tensor *t, myna_err *err) {
  size_t bytes = (size_t)(myna__tensor_size(t) * myna_dtype_bytes(t->type));
  size_t held = bytes ? bytes : 1;
  uint8_t *data = myna__alloc(held);
  if (!data) return myna__err(err, MYNA_E_NOMEM, "eval: no memory for %zu bytes", bytes);
  myna__tensor_copy(data, t);
  a->data = data;
  a->owned = data;
  a->owned_bytes = held;
  myna__shape_strides(a->spec.dims, a->spec.n_dims, myna_dtype_bytes(a->spec.type), a->stride);
  return 0;
}

int myna_eval(myna_ctx *c, myna_array *const *arrays, int n, myna_err *err) {
  if (c->err.code) return myna_ctx_error(c, err);
  myna_array **todo = myna__alloc(sizeof *todo * (size_t)(n + 1));
  if (!todo) return myna__err(err, MYNA_E_NOMEM, "eval: no memory");
  int m = 0, rc = 0;
  for (int i = 0; i < n && rc == 0; i++) {
    if (!arrays[i])
      rc = myna__err(err, MYNA_E_ARG, "eval: array %d is NULL", i);
    else if (arrays[i]->node && !arrays[i]->data)
      todo[m++] = arrays[i];
  }
  myna_plan *p = NULL;
  if (rc == 0 && m > 0) {
    rc = plan_new(&p, c, NULL, 0, todo, m, &(myna_plan_options){.exact = true, .no_fuse = true}, true, err);
    if (p) rc = myna_plan_run(p, NULL, NULL, err);
    for (int i = 0; i < m && rc == 0 && p; i++)
      if (!todo[i]->data) rc = take_result(todo[i], &p->out_tensors[i], err);
    myna_plan_free(p);
    for (int i = 0; i < m && rc == 0 && c->tracing == 0; i++) myna__array_detach(todo[i]);
  }
  myna__free(todo, sizeof *todo * (size_t)(n + 1));
  return rc;
}

const void *myna_data(myna_array *a, myna_err *err) {
  if (!a) {
    myna__err(err, MYNA_E_ARG, "data: array is NULL");
    return NULL;
  }
  if (a->weight || a->is_input) {
    myna__err(err, MYNA_E_DTYPE, "data: %s has no elements of its own", a->weight ? "a packed weight" : "an input");
    return NULL;
  }
  if (a->node && !a->data && myna_eval(a->ctx, &a, 1, err) < 0) return NULL;
  return a->data;
}

double myna_item(myna_array *a, myna_err *err) {
  const void *p = myna_data(a, err);
  double x = NAN;
  if (p && myna_size(a) > 0) myna__load(MYNA__CLASS_F64, &x, p, 0, a->spec.type, 1);
  return x;
}
