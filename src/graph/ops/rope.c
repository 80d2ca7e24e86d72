/* rope.c: rotary position embedding (Su et al. 2021) with linear and YaRN scaling and per-pair factors.
 * The gradient is the inverse rotation with the same magnitude. */
#include "graph/build.h"
#include <math.h>

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna_rope_options *o = n->params;
  const myna__spec *x = &n->in[0]->spec, *pos = &n->in[1]->spec;
  if (x->type != MYNA_F32 || pos->type != MYNA_I32) return myna__err(err, MYNA_E_DTYPE, "x must be F32 and pos I32");
  if (x->n_dims != 3 || pos->n_dims != 1 || pos->dims[0] != x->dims[0])
    return myna__err(err, MYNA_E_SHAPE, "x must be [n_tok, n_head, dim] and pos [n_tok]");
  int64_t n_rot = o->n_rot ? o->n_rot : x->dims[2];
  if (n_rot < 0 || n_rot % 2 || n_rot > x->dims[2])
    return myna__err(err, MYNA_E_ARG, "%lld of %lld dimensions cannot rotate", (long long)n_rot, (long long)x->dims[2]);
  const myna_array *f = n->in[2];
  if (f && (f->spec.type != MYNA_F32 || f->spec.n_dims != 1 || f->spec.dims[0] != n_rot / 2))
    return myna__err(err, MYNA_E_SHAPE, "factors must be F32 [%lld]", (long long)(n_rot / 2));
  out[0] = *x;
  return 0;
}

static void run(const myna__run *r) {
  const myna_rope_options *o = r->params;
  const myna__tensor *x = &r->in[0];
  myna__rope_args a = {.interleaved = o->interleaved,
                       .ext_factor = (float)o->ext_factor,
                       .attn_factor = (float)o->attn_factor,
                       .beta_fast = (float)o->beta_fast,
                       .beta_slow = (float)o->beta_slow,
                       .orig_ctx = o->orig_ctx,
                       .inverse = o->inverse};
  a.n_tok = x->shape[0];
  a.n_head = x->shape[1];
  a.dim = x->shape[2];
  a.n_rot = o->n_rot ? o->n_rot : a.dim;
  a.base = o->base != 0 ? (float)o->base : 10000.0f;
  a.freq_scale = o->freq_scale != 0 ? (float)o->freq_scale : 1.0f;
  a.x = (const float *)(const void *)x->data;
  a.ldx = x->stride[0] / 4;
  a.y = (float *)(void *)r->out[0].data;
  a.ldy = a.n_head * a.dim;
  a.pos = (const int32_t *)(const void *)r->in[1].data;
  a.factors = (const float *)(const void *)r->in[2].data;
  myna__rope(&a, r->pool);
}

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  myna_rope_options o = *(const myna_rope_options *)n->params;
  if (want[2]) return myna__grad_composed(c, n, cot, want, grads);
  o.inverse = !o.inverse;
  if (want[0]) grads[0] = myna_rope(c, cot[0], n->in[1], n->in[2], &o);
  return c->err.code;
}

/* YaRN's ramp between extrapolated and interpolated frequencies (Peng et al. 2023), as llama.cpp rounds it. */
static double yarn_ramp(const myna_rope_options *o, int64_t n_rot, int64_t i) {
  double base = o->base != 0 ? o->base : 10000.0, two_pi = 6.283185307179586;
  double lo = (double)n_rot * log((double)o->orig_ctx / (o->beta_fast * two_pi)) / (2 * log(base));
  double hi = (double)n_rot * log((double)o->orig_ctx / (o->beta_slow * two_pi)) / (2 * log(base));
  lo = fmax(0, floor(lo));
  hi = fmin((double)(n_rot - 1), ceil(hi));
  double y = ((double)i - lo) / fmax(0.001, hi - lo);
  return 1 - fmin(1, fmax(0, y));
}

/* cos and sin [n_tok, 1, n_rot/2] from primitives. */
static void tables(myna_ctx *c, const myna__node *n, int64_t n_rot, myna_array **cosines, myna_array **sines) {
  const myna_rope_options *o = n->params;
  double base = o->base != 0 ? o->base : 10000.0, fs = o->freq_scale != 0 ? o->freq_scale : 1.0;
  double m = o->attn_factor != 0 ? o->attn_factor : 1.0;
  int64_t half = n_rot / 2;
  float freq[4096];
  if (half > 4096) {
    myna__fail(c, MYNA_E_LIMIT, "rope", "more than 8192 rotated dimensions");
    return;
  }
  for (int64_t i = 0; i < half; i++) {
    double extra = pow(base, -2.0 * (double)i / (double)n_rot),
           mix = o->ext_factor != 0 ? yarn_ramp(o, n_rot, i) * o->ext_factor : 0;
    freq[i] = (float)(extra * (fs * (1 - mix) + mix));
  }
  if (o->ext_factor != 0) m *= 1.0 + 0.1 * log(1.0 / fs);
  myna_array *f = myna_from(c, MYNA_F32, &half, 1, freq);
  if (n->in[2]) f = myna_div(c, f, n->in[2]);
  myna_array *angle =
      myna_mul(c, myna_expand_dims(c, myna_expand_dims(c, myna_astype(c, n->in[1], MYNA_F32), -1), -1), f);
  *cosines = myna_scale(c, myna_cos(c, angle), m);
  *sines = myna_scale(c, myna_sin(c, angle), o->inverse ? -m : m);
}

static int compose(myna_ctx *c, const myna__node *n, myna_array **out) {
  const myna_rope_options *o = n->params;
  myna_array *x = n->in[0], *cosines = NULL, *sines = NULL, *a, *b;
  int64_t tok = myna_dim(x, 0), head = myna_dim(x, 1), dim = myna_dim(x, 2), n_rot = o->n_rot ? o->n_rot : dim,
          half = n_rot / 2;
  tables(c, n, n_rot, &cosines, &sines);
  myna_array *rot = myna_slice_axis(c, x, 2, 0, n_rot);
  int axis = o->interleaved ? 3 : 2;
  rot = o->interleaved ? myna_reshape(c, rot, (int64_t[]){tok, head, half, 2}, 4)
                       : myna_reshape(c, rot, (int64_t[]){tok, head, 2, half}, 4);
  a = myna_squeeze(c, myna_slice_axis(c, rot, axis, 0, 1), axis);
  b = myna_squeeze(c, myna_slice_axis(c, rot, axis, 1, 2), axis);
  myna_array *y[2] = {myna_sub(c, myna_mul(c, a, cosines), myna_mul(c, b, sines)),
                      myna_add(c, myna_mul(c, a, sines), myna_mul(c, b, cosines))};
  rot = myna_reshape(c, myna_stack(c, y, 2, axis), (int64_t[]){tok, head, n_rot}, 3);
  myna_array *parts[2] = {rot, myna_slice_axis(c, x, 2, n_rot, dim)};
  out[0] = n_rot < dim ? myna_concat(c, parts, 2, 2) : rot;
  return c->err.code;
}

static void print(const void *params, myna__buf *b) {
  myna__buf_str(b, ((const myna_rope_options *)params)->interleaved ? " interleaved" : " neox");
}

const myna__op myna__op_rope = {.name = "rope",
                                .flags = MYNA__OP_INPLACE | MYNA__OP_OUTER,
                                .shape = shape,
                                .run = run,
                                .vjp = vjp,
                                .compose = compose,
                                .print = print};

myna_array *myna_rope(myna_ctx *c, myna_array *x, myna_array *pos, myna_array *factors, const myna_rope_options *o) {
  myna_rope_options p = o ? *o : (myna_rope_options){0};
  myna_array *out;
  myna__apply(c, &myna__op_rope, (myna_array *[]){x, pos, factors}, 3, 4, &p, sizeof p, &out, 1);
  return out;
}
