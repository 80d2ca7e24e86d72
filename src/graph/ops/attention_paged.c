/* attention_paged.c: cache writes and attention over the pages of one layer. Below the engine the cache is a pool of
 * bytes (a state) and I32 page tables; what a page looks like belongs to the kernels. */
#include "graph/graph.h"
#include "kernels/attn_blocks.h"
#include <math.h>

typedef struct paged_params {
  myna_kv_layout l;
  myna_attention_options o;
} paged_params;

static int check_layout(const myna_kv_layout *l, myna_err *err) {
  const myna_dtype types[] = {l->type_k, l->type_v};
  for (int i = 0; i < 2; i++)
    if (myna__kv_page_bytes(types[i], types[i], 1, 1, 1) == 0)
      return myna__err(err, MYNA_E_DTYPE, "no page layout for type %s", myna_dtype_name(types[i]));
  if (l->n_kv_head < 1 || l->dim_k < 1 || l->dim_v < 1 || l->layer_offset < 0 ||
      l->page_stride < l->layer_offset + myna_kv_page_bytes(l))
    return myna__err(err, MYNA_E_ARG, "bad layout of pages");
  return 0;
}

static int check_tables(const myna__node *n, int table, const myna__spec *x, myna_err *err) {
  const myna__spec *t = &n->in[table]->spec, *seq = &n->in[table + 1]->spec, *pos = &n->in[table + 2]->spec;
  if (t->type != MYNA_I32 || seq->type != MYNA_I32 || pos->type != MYNA_I32)
    return myna__err(err, MYNA_E_DTYPE, "table, seq and pos must be I32");
  if (t->n_dims != 2 || seq->n_dims != 1 || pos->n_dims != 1 || seq->dims[0] != x->dims[0] ||
      pos->dims[0] != x->dims[0])
    return myna__err(err, MYNA_E_SHAPE, "table must be [n_seq, table_len], seq and pos [n_tok]");
  return 0;
}

static bool is_heads(const myna__spec *x, int64_t heads, int64_t dim) {
  return x->type == MYNA_F32 && x->n_dims == 3 && (heads <= 0 || x->dims[1] == heads) && x->dims[2] == dim;
}

/* pool, k, v, table, seq, pos */
static int shape_write(const myna__node *n, myna__spec *out, myna_err *err) {
  const paged_params *p = n->params;
  TRY(check_layout(&p->l, err));
  if (n->in[0]->spec.type != MYNA_U8 || n->in[0]->spec.n_dims != 1)
    return myna__err(err, MYNA_E_DTYPE, "the pool must be U8 [bytes]");
  if (!is_heads(&n->in[1]->spec, p->l.n_kv_head, p->l.dim_k) || !is_heads(&n->in[2]->spec, p->l.n_kv_head, p->l.dim_v))
    return myna__err(err, MYNA_E_SHAPE, "k and v must be F32 [n_tok, n_kv_head, dim]");
  TRY(check_tables(n, 3, &n->in[1]->spec, err));
  out[0] = n->in[0]->spec;
  return 0;
}

static myna__kv_view view_of(const paged_params *p, const myna__tensor *pool, const myna__tensor *table) {
  myna__kv_view v = {.pool = pool->data + p->l.layer_offset,
                     .page_stride = p->l.page_stride,
                     .type_k = p->l.type_k,
                     .type_v = p->l.type_v,
                     .n_kv_head = p->l.n_kv_head,
                     .dim_k = p->l.dim_k,
                     .dim_v = p->l.dim_v,
                     .n_page = pool->shape[0] / p->l.page_stride,
                     .table = (const int32_t *)(const void *)table->data,
                     .table_len = table->shape[1]};
  return v;
}

static void run_write(const myna__run *r) {
  myna__kv_view v = view_of(r->params, &r->in[0], &r->in[3]);
  const myna__tensor *k = &r->in[1], *val = &r->in[2];
  myna__kv_write(&v, (const float *)(const void *)k->data, k->stride[0] / 4, (const float *)(const void *)val->data,
                 val->stride[0] / 4, (const int32_t *)(const void *)r->in[4].data,
                 (const int32_t *)(const void *)r->in[5].data, k->shape[0], r->pool);
}

/* q, pool, table, seq, pos, sinks */
static int shape_attn(const myna__node *n, myna__spec *out, myna_err *err) {
  const paged_params *p = n->params;
  const myna__spec *q = &n->in[0]->spec;
  TRY(check_layout(&p->l, err));
  if (!is_heads(q, 0, p->l.dim_k) || q->dims[1] < 1 || q->dims[1] % p->l.n_kv_head)
    return myna__err(err, MYNA_E_SHAPE, "q must be F32 [n_tok, n_head, dim_k]");
  TRY(check_tables(n, 2, q, err));
  const myna_array *sinks = n->in[5];
  if (sinks && (sinks->spec.type != MYNA_F32 || sinks->spec.n_dims != 1 || sinks->spec.dims[0] != q->dims[1]))
    return myna__err(err, MYNA_E_SHAPE, "sinks must be F32 [n_head]");
  out[0] = *q;
  out[0].dims[2] = p->l.dim_v;
  return 0;
}

static void fill(const myna__run *r, myna__attn_args *a) {
  const paged_params *p = r->params;
  const myna__tensor *q = &r->in[0];
  *a = (myna__attn_args){.kv = view_of(p, &r->in[1], &r->in[2]),
                         .n_tok = q->shape[0],
                         .n_head = q->shape[1],
                         .softcap = (float)p->o.softcap,
                         .window = p->o.window};
  a->q = (const float *)(const void *)q->data;
  a->ldq = q->stride[0] / 4;
  a->out = (float *)(void *)r->out[0].data;
  a->ldo = q->shape[1] * p->l.dim_v;
  a->seq = (const int32_t *)(const void *)r->in[3].data;
  a->pos = (const int32_t *)(const void *)r->in[4].data;
  a->scale = p->o.scale != 0 ? (float)p->o.scale : 1.0f / sqrtf((float)p->l.dim_k);
  a->sinks = (const float *)(const void *)r->in[5].data;
}

static void run_attn(const myna__run *r) {
  myna__attn_args a;
  fill(r, &a);
  (((const paged_params *)r->params)->o.apart ? myna__attn_apart : myna__attn)(&a, r->scratch, r->pool);
}

static size_t scratch_attn(const myna__run *r, int n_threads) {
  myna__attn_args a;
  fill(r, &a);
  return myna__attn_scratch(&a, a.n_tok, n_threads);
}

static void print(const void *params, myna__buf *b) {
  const paged_params *p = params;
  myna__buf_printf(b, " %s", myna_dtype_name(p->l.type_k));
  if (p->l.type_v != p->l.type_k) myna__buf_printf(b, "/%s", myna_dtype_name(p->l.type_v));
  if (p->o.window > 0) myna__buf_printf(b, " window=%lld", (long long)p->o.window);
  if (p->o.softcap > 0) myna__buf_printf(b, " softcap=%g", p->o.softcap);
}

const myna__op myna__op_kv_write = {.name = "kv_write",
                                    .flags = MYNA__OP_EFFECT | MYNA__OP_OUTER,
                                    .shape = shape_write,
                                    .run = run_write,
                                    .print = print};
const myna__op myna__op_attention_paged = {.name = "attention_paged",
                                           .flags = MYNA__OP_OUTER,
                                           .shape = shape_attn,
                                           .run = run_attn,
                                           .scratch = scratch_attn,
                                           .print = print};

int64_t myna_kv_page_bytes(const myna_kv_layout *l) {
  return (int64_t)myna__kv_page_bytes(l->type_k, l->type_v, l->n_kv_head, l->dim_k, l->dim_v);
}

myna_array *myna_kv_write(myna_ctx *c, myna_array *pool, myna_array *k, myna_array *v, myna_array *table,
                          myna_array *seq, myna_array *pos, const myna_kv_layout *l) {
  paged_params p = {.l = *l};
  return myna__apply1(c, &myna__op_kv_write, (myna_array *[]){pool, k, v, table, seq, pos}, 6, &p, sizeof p);
}

myna_array *myna_attention_paged(myna_ctx *c, myna_array *q, myna_array *pool, myna_array *table, myna_array *seq,
                                 myna_array *pos, myna_array *sinks, const myna_kv_layout *l,
                                 const myna_attention_options *o) {
  paged_params p = {.l = *l, .o = o ? *o : (myna_attention_options){0}};
  myna_array *out;
  myna__apply(c, &myna__op_attention_paged, (myna_array *[]){q, pool, table, seq, pos, sinks}, 6, 1u << 5, &p, sizeof p,
              &out, 1);
  return out;
}
