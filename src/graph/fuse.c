/* fuse.c: rewrites a plan's steps into fewer, larger ones. Each rule is a function that looks at one step and the
 * producers of its operands; results keep their bits, because the kernels define fused and separate forms alike.
 *
 *   gated(linear.0, linear.1)     -> linear with a gate          (also expert_linear)
 *   linear(rms_norm(x, w), ...)   -> linear that normalises x
 *   add(linear(...), r)           -> linear that adds r last
 *
 * A value may only be folded away when nothing else reads it. */
#include "graph/gated.h"
#include "graph/linear.h"
#include "graph/plan.h"

/* The live step that makes value v, when v is read exactly once and is no view. */
static myna__step *sole_producer(myna_plan *p, int v) {
  if (v < 0) return NULL;
  const myna__value *x = &p->values[v];
  if (x->kind != MYNA__VAL_BUFFER || x->uses != 1 || x->producer < 0) return NULL;
  myna__step *st = &p->steps[x->producer];
  return st->dead ? NULL : st;
}

static myna__linear_params *own_params(myna_plan *p, myna__step *st, myna_err *err) {
  myna__linear_params *q = myna__arena_alloc(&p->arena, sizeof *q);
  if (!q) {
    myna__err(err, MYNA_E_NOMEM, "plan: no memory");
    return NULL;
  }
  *q = *(const myna__linear_params *)st->params;
  st->params = q;
  return q;
}

/* `keep` takes over the single output of `gone`. */
static void take_output(myna_plan *p, myna__step *keep, myna__step *gone) {
  keep->out[0] = gone->out[0];
  keep->n_out = 1;
  p->values[keep->out[0]].producer = (int)(keep - p->steps);
  gone->dead = true;
}

static int fuse_gate(myna_plan *p, myna__step *st, myna_err *err) {
  if (st->op != &myna__op_gated) return 0;
  myna__step *lin = sole_producer(p, st->in[0]);
  if (!lin || lin != sole_producer(p, st->in[1])) return 0;
  if (lin->op != &myna__op_linear && lin->op != &myna__op_expert_linear) return 0;
  if (lin->n_out != 2 || lin->out[0] != st->in[0] || lin->out[1] != st->in[1]) return 0;
  myna__linear_params *q = own_params(p, lin, err);
  if (!q) return MYNA_E_NOMEM;
  q->gate = myna__gate_of(((const myna__gated_params *)st->params)->act);
  take_output(p, lin, st);
  return 0;
}

static int fuse_norm(myna_plan *p, myna__step *st, myna_err *err) {
  if (st->op != &myna__op_linear || p->values[st->in[0]].spec.n_dims != 2) return 0;
  myna__step *norm = sole_producer(p, st->in[0]);
  if (!norm || norm->op != &myna__op_rms_norm || norm->in[1] < 0) return 0;
  myna__linear_params *q = own_params(p, st, err);
  if (!q) return MYNA_E_NOMEM;
  q->norm = true;
  q->norm_eps = ((const myna__norm_params *)norm->params)->eps;
  st->in[0] = norm->in[0];
  st->in[myna__linear_norm(q)] = norm->in[1];
  norm->dead = true;
  return 0;
}

/* r must exist before the linear runs and be stored like its output. */
static bool is_residual(const myna_plan *p, int r, const myna__step *lin) {
  const myna__value *x = &p->values[r], *y = &p->values[lin->out[0]];
  if (x->kind == MYNA__VAL_ALIAS || x->producer >= (int)(lin - p->steps)) return false;
  return x->spec.type == MYNA_F32 && myna__spec_same_dims(&x->spec, &y->spec);
}

static int fuse_residual(myna_plan *p, myna__step *st, myna_err *err) {
  (void)err;
  if (st->op != &myna__op_add) return 0;
  for (int i = 0; i < 2; i++) {
    myna__step *lin = sole_producer(p, st->in[i]);
    if (!lin || lin->op != &myna__op_linear) continue;
    const myna__linear_params *q = lin->params;
    int slot = myna__linear_residual(q);
    if (q->n_w != 1 || lin->in[slot] >= 0 || !is_residual(p, st->in[1 - i], lin)) continue;
    lin->in[slot] = st->in[1 - i];
    take_output(p, lin, st);
    return 0;
  }
  return 0;
}

int myna__plan_fuse(myna_plan *p, myna_err *err) {
  static int (*const rules[])(myna_plan *, myna__step *, myna_err *) = {fuse_gate, fuse_norm, fuse_residual};
  int rc = 0;
  for (size_t k = 0; k < MYNA__COUNT(rules) && rc == 0; k++)
    for (int s = 0; s < p->n_steps && rc == 0; s++)
      if (!p->steps[s].dead) rc = rules[k](p, &p->steps[s], err);
  return rc;
}
