/* grad.c: reverse-mode gradients: walks the recorded graph backwards and records the gradient as new nodes.
 *
 * A node's gradient is its op's vjp; a fused op without one is differentiated through its composition. Packed
 * weights and effects have no gradient: asking for one is an error that names the tensor. */
#include "graph/build.h"
#include <stdlib.h>

typedef struct tape {
  myna_ctx *c;
  myna__node **nodes; /* reachable, ascending id once sorted */
  int64_t n, cap;
  myna__map seen;  /* node id -> 1 */
  myna__map needs; /* array id -> 1: depends on a wanted array; 0: does not, and the walk ends there */
  myna__map cots;  /* array id -> index in cot */
  myna_array **cot;
  int64_t n_cot, cap_cot;
} tape;

static int64_t get(const myna__map *m, const int64_t *id) { return myna__map_get(m, (const char *)id, sizeof *id, -1); }

static int put(tape *t, myna__map *m, const int64_t *id, int64_t v) {
  int rc = myna__map_put(m, (const char *)id, sizeof *id, v, &t->c->err);
  return rc < 0 ? rc : 0;
}

static int push(tape *t, void ***items, int64_t *n, int64_t *cap, void *x) {
  if (*n == *cap) {
    int64_t want = *cap ? 2 * *cap : 256;
    void *q = myna__realloc(*items, (size_t)*cap * sizeof(void *), (size_t)want * sizeof(void *));
    if (!q) return myna__err(&t->c->err, MYNA_E_NOMEM, "grad: no memory");
    *items = q;
    *cap = want;
  }
  (*items)[(*n)++] = x;
  return 0;
}

/* The nodes between the outputs and the leaves; wanted arrays and those known not to matter stop the walk. */
static int collect(tape *t, myna_array *const *outs, int n_outs) {
  void **work = NULL;
  int64_t n_work = 0, cap = 0;
  int rc = 0;
  for (int i = 0; i < n_outs && rc == 0; i++)
    if (outs[i]) rc = push(t, &work, &n_work, &cap, outs[i]);
  while (n_work > 0 && rc == 0) {
    myna_array *a = work[--n_work];
    myna__node *n = a->node;
    if (!n || get(&t->needs, &a->id) >= 0 || get(&t->seen, &n->id) == 1) continue;
    rc = put(t, &t->seen, &n->id, 1);
    if (rc == 0) rc = push(t, (void ***)&t->nodes, &t->n, &t->cap, n);
    for (int i = 0; i < n->n_in && rc == 0; i++)
      if (n->in[i]) rc = push(t, &work, &n_work, &cap, n->in[i]);
  }
  myna__free(work, (size_t)cap * sizeof(void *));
  return rc;
}

static int by_id(const void *a, const void *b) {
  int64_t x = (*(myna__node *const *)a)->id, y = (*(myna__node *const *)b)->id;
  return (x > y) - (x < y);
}

static int mark_needs(tape *t) {
  for (int64_t k = 0; k < t->n; k++) {
    myna__node *n = t->nodes[k];
    bool need = false;
    for (int i = 0; i < n->n_in; i++) need |= n->in[i] && get(&t->needs, &n->in[i]->id) == 1;
    if (need &&
        n->op->flags & MYNA__OP_EFFECT) { /* here, because the bytes of a state are no floats that need a gradient */
      myna__fail(t->c, MYNA_E_UNSUPPORTED, "grad", "%s changes state %s: it has no gradient", n->op->name,
                 n->in[0]->name);
      return MYNA_E_UNSUPPORTED;
    }
    for (int i = 0; i < n->n_out && need; i++)
      if (n->out[i]) TRY(put(t, &t->needs, &n->out[i]->id, 1));
  }
  return 0;
}

static int add_cot(tape *t, myna_array *a, myna_array *g) {
  if (!g) return t->c->err.code;
  if (!myna__spec_same_dims(&a->spec, &g->spec)) {
    char x[128], y[128];
    myna__fail(t->c, MYNA_E_INTERNAL, "grad", "gradient %s of %s", myna__spec_text(&g->spec, x, sizeof x),
               myna__spec_text(&a->spec, y, sizeof y));
    return MYNA_E_INTERNAL;
  }
  int64_t i = get(&t->cots, &a->id);
  if (i >= 0) {
    t->cot[i] = myna_add(t->c, t->cot[i], g);
    return t->cot[i] ? 0 : t->c->err.code;
  }
  TRY(push(t, (void ***)&t->cot, &t->n_cot, &t->cap_cot, g));
  return put(t, &t->cots, &a->id, t->n_cot - 1);
}

/* stop [n_stop]: arrays (or NULL) behind which no wanted array lies; may repeat those of wrt. */
static int backward(myna_ctx *c, myna_array *const *outs, myna_array *const *cots, int n_outs, myna_array *const *stop,
                    int n_stop, myna_array *const *wrt, int n_wrt, myna_array **grads);

/* Gradient of a fused op: that of its composition. */
int myna__grad_composed(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want,
                        myna_array **grads) {
  myna_array *outs[MYNA__MAX_OUT] = {0}, *wrt[MYNA__MAX_IN] = {0}, *got[MYNA__MAX_IN] = {0};
  int index[MYNA__MAX_IN], m = 0;
  TRY(n->op->compose(c, n, outs));
  for (int i = 0; i < n->n_in; i++) {
    bool again = false; /* an array given twice gets its whole gradient once */
    for (int j = 0; j < m; j++) again |= wrt[j] == n->in[i];
    if (want[i] && !again) {
      index[m] = i;
      wrt[m++] = n->in[i];
    }
  }
  TRY(backward(c, outs, cot, n->n_out, n->in, n->n_in, wrt, m, got));
  for (int i = 0; i < m; i++) grads[index[i]] = got[i];
  return 0;
}

static int node_backward(tape *t, const myna__node *n) {
  myna_array *cot[MYNA__MAX_OUT] = {0}, *grads[MYNA__MAX_IN] = {0};
  bool want[MYNA__MAX_IN] = {0}, any = false, any_want = false;
  for (int i = 0; i < n->n_out; i++) {
    int64_t k = n->out[i] ? get(&t->cots, &n->out[i]->id) : -1;
    if (k >= 0) cot[i] = t->cot[k], any = true;
  }
  for (int i = 0; i < n->n_in; i++) {
    want[i] = n->in[i] && get(&t->needs, &n->in[i]->id) == 1 && myna__dtype_is_float(n->in[i]->spec.type);
    any_want |= want[i];
  }
  if (!any || !any_want || n->op->flags & MYNA__OP_NOGRAD) return 0;
  int rc;
  if (n->op->vjp)
    rc = n->op->vjp(t->c, n, cot, want, grads);
  else if (n->op->compose)
    rc = myna__grad_composed(t->c, n, cot, want, grads);
  else {
    myna__fail(t->c, MYNA_E_UNSUPPORTED, "grad", "%s has no gradient", n->op->name);
    return MYNA_E_UNSUPPORTED;
  }
  TRY(rc);
  assert(rc == 0);
  for (int i = 0; i < n->n_in; i++)
    if (want[i] && grads[i]) TRY(add_cot(t, n->in[i], grads[i]));
  return t->c->err.code;
}

static void tape_free(tape *t) {
  myna__free(t->nodes, (size_t)t->cap * sizeof *t->nodes);
  myna__free(t->cot, (size_t)t->cap_cot * sizeof *t->cot);
  myna__map_free(&t->seen);
  myna__map_free(&t->needs);
  myna__map_free(&t->cots);
}

static int run_tape(tape *t, myna_array *const *outs, myna_array *const *cots, int n_outs, myna_array *const *stop,
                    int n_stop, myna_array *const *wrt, int n_wrt) {
  for (int i = 0; i < n_stop; i++)
    if (stop[i]) TRY(put(t, &t->needs, &stop[i]->id, 0));
  for (int i = 0; i < n_wrt; i++) TRY(put(t, &t->needs, &wrt[i]->id, 1));
  TRY(collect(t, outs, n_outs));
  if (t->n) qsort(t->nodes, (size_t)t->n, sizeof *t->nodes, by_id);
  TRY(mark_needs(t));
  for (int i = 0; i < n_outs; i++)
    if (outs[i] && cots[i]) TRY(add_cot(t, outs[i], cots[i]));
  for (int64_t k = t->n - 1; k >= 0; k--) TRY(node_backward(t, t->nodes[k]));
  return 0;
}

static int backward(myna_ctx *c, myna_array *const *outs, myna_array *const *cots, int n_outs, myna_array *const *stop,
                    int n_stop, myna_array *const *wrt, int n_wrt, myna_array **grads) {
  tape t = {.c = c};
  int rc = run_tape(&t, outs, cots, n_outs, stop, n_stop, wrt, n_wrt);
  for (int i = 0; i < n_wrt && rc == 0; i++) {
    int64_t k = get(&t.cots, &wrt[i]->id);
    grads[i] = k >= 0 ? t.cot[k] : NULL;
  }
  tape_free(&t);
  return rc;
}

int myna_grad(myna_ctx *c, myna_array *value, myna_array *const *wrt, int n, myna_array **grads) {
  for (int i = 0; i < n; i++) grads[i] = NULL;
  if (c->err.code) return c->err.code;
  if (!value || myna_size(value) != 1)
    return myna__fail(c, MYNA_E_SHAPE, "grad", "the value is not a scalar"), MYNA_E_SHAPE;
  for (int i = 0; i < n; i++) {
    if (!wrt[i]) return myna__fail(c, MYNA_E_ARG, "grad", "argument %d is NULL", i), MYNA_E_ARG;
    if (myna__dtype_is_packed(wrt[i]->spec.type) || !myna__dtype_is_float(wrt[i]->spec.type)) {
      myna__fail(c, MYNA_E_DTYPE, "grad", "argument %d (%s) has type %s: no gradient", i, wrt[i]->name,
                 myna_dtype_name(wrt[i]->spec.type));
      return MYNA_E_DTYPE;
    }
  }
  if (!value->node && value->data) {
    bool is_wrt = false;
    for (int i = 0; i < n; i++) is_wrt |= wrt[i] == value;
    if (!is_wrt) return myna__fail(c, MYNA_E_STATE, "grad", "the value was already evaluated"), MYNA_E_STATE;
  }
  myna_array *one = myna_full(c, value->spec.type, value->spec.dims, value->spec.n_dims, 1.0);
  if (!one) return c->err.code;
  TRY(backward(c, &value, &one, 1, NULL, 0, wrt, n, grads));
  for (int i = 0; i < n; i++)
    if (!grads[i]) grads[i] = myna_zeros(c, wrt[i]->spec.type, wrt[i]->spec.dims, wrt[i]->spec.n_dims);
  return c->err.code;
}

myna_array *myna_value_and_grad(myna_ctx *c, myna_fn fn, void *user, myna_array *const *args, int n,
                                myna_array **grads) {
  c->tracing++;
  myna_array *value = fn(c, user, args, n);
  int rc = value ? myna_grad(c, value, args, n, grads) : -1;
  c->tracing--;
  return rc == 0 ? value : NULL;
}
