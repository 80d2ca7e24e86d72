/* lm.c: lowers a family's build() to a plan over paged KV and runs steps of it.
 *
 * Symbols: 0 tokens of the step, 1 rows with logits. Inputs in binding order: tokens, pos, seq, rows, then per group the
 * pool and the table. */
#include "engine/lm.h"
#include <stdio.h>

enum { SYM_TOK = 0, SYM_OUT = 1, IN_FIXED = 4 };

myna_dtype myna__lm_default_kv(const myna_model *m, bool exact) {
  bool fine = true, packed = false; /* every matrix in 8 bits and more; any not in F32 */
  for (int64_t i = 0; i < m->n_bound && !exact; i++) {
    if (!m->bound[i].present || m->bound[i].n_dims < 2) continue;
    myna_dtype t = m->bound[i].w.type;
    packed |= t != MYNA_F32;
    fine &= t == MYNA_F32 || t == MYNA_F16 || t == MYNA_BF16 || t == MYNA_Q8_0;
  }
  return !packed ? MYNA_F32 : fine ? MYNA_F16 : MYNA_BF16;
}

int myna__lm_groups(const myna__config *cfg, const myna__family *f, myna_dtype kv_type, myna_dtype kv_type_v,
                    myna__lm *lm, myna_err *err) {
  size_t page = myna__kv_page_bytes(kv_type, kv_type_v, cfg->n_head_kv, cfg->dim_k, cfg->dim_v);
  if (page == 0) {
    bool keys = myna__kv_page_bytes(kv_type, kv_type, 1, 1, 1) == 0;
    return myna__err(err, MYNA_E_UNSUPPORTED,
                     "no cache layout for %s of type %s: F32, F16, BF16, Q8_0 and Q4_0 are possible",
                     keys ? "keys" : "values", myna_dtype_name(keys ? kv_type : kv_type_v));
  }
  lm->n_groups = 0;
  for (int i = 0; i < cfg->n_layer; i++) {
    int64_t window = f->window_of ? f->window_of(cfg, i) : 0;
    int g = 0;
    while (g < lm->n_groups && lm->group[g].window != window) g++;
    if (g == MYNA__MAX_GROUPS)
      return myna__err(err, MYNA_E_UNSUPPORTED, "layers have more than %d different windows", MYNA__MAX_GROUPS);
    if (g == lm->n_groups) lm->group[lm->n_groups++] = (myna__lm_group){.window = window};
    lm->layer_group[i] = g;
    lm->layer_slot[i] = lm->group[g].n_layers++;
    lm->group[g].page_stride += (int64_t)page;
  }
  return 0;
}

/* ---- building ---- */

static myna_array *attend(myna__build *b, int layer, myna_array *q, myna_array *k, myna_array *v,
                          const myna__attend_options *o) {
  myna__lm *lm = b->user;
  myna__lm_group *g = &lm->group[lm->layer_group[layer]];
  myna_kv_layout l = {.type_k = lm->opt.kv_type,
                      .type_v = lm->opt.kv_type_v,
                      .n_kv_head = lm->cfg.n_head_kv,
                      .dim_k = lm->cfg.dim_k,
                      .dim_v = lm->cfg.dim_v,
                      .page_stride = g->page_stride};
  l.layer_offset = lm->layer_slot[layer] * myna_kv_page_bytes(&l);
  g->state = myna_kv_write(b->c, g->state, k, v, g->table_in, lm->seq_in, b->pos, &l);
  myna_attention_options a = {
      .scale = o->scale, .causal = true, .window = o->window, .softcap = o->softcap, .apart = lm->opt.no_cascade};
  return myna_attention_paged(b->c, q, g->state, g->table_in, lm->seq_in, b->pos, nn_w(b, layer, MYNA__W_ATTN_SINKS),
                              &l, &a);
}

/* Arrays over the model's weights, in the same order; vectors are plain F32 views. */
static int weight_arrays(myna__lm *lm, myna_array **w, myna_err *err) {
  for (int64_t i = 0; i < lm->model->n_bound; i++) {
    const myna__bound *b = &lm->model->bound[i];
    if (!b->present) continue;
    w[i] = b->n_dims == 1 ? myna_view(lm->ctx, MYNA_F32, &b->n, 1, b->vec) : myna__array_weight(lm->ctx, &b->w);
    if (!w[i]) return myna_ctx_error(lm->ctx, err);
    snprintf(w[i]->name, sizeof w[i]->name, "%s", b->name);
  }
  return 0;
}

static int make_inputs(myna__lm *lm, myna_array **in) {
  int64_t tok = MYNA_SYM(SYM_TOK), out = MYNA_SYM(SYM_OUT);
  static const char *const names[] = {"tokens", "pos", "seq"};
  for (int i = 0; i < 3; i++) in[i] = myna_input(lm->ctx, names[i], MYNA_I32, &tok, 1);
  in[3] = myna_input(lm->ctx, "rows", MYNA_I32, &out, 1);
  for (int g = 0; g < lm->n_groups; g++) {
    char name[16];
    int64_t bytes = lm->group[g].n_pages * lm->group[g].page_stride, table[2] = {lm->opt.n_seq, lm->group[g].table_len};
    snprintf(name, sizeof name, "kv%d", g);
    lm->group[g].state = in[IN_FIXED + 2 * g] = myna_state(lm->ctx, name, MYNA_U8, &bytes, 1);
    snprintf(name, sizeof name, "table%d", g);
    lm->group[g].table_in = in[IN_FIXED + 2 * g + 1] = myna_input(lm->ctx, name, MYNA_I32, table, 2);
  }
  return IN_FIXED + 2 * lm->n_groups;
}

static int build_plan(myna__lm *lm, myna_err *err) {
  myna_array *in[IN_FIXED + 2 * MYNA__MAX_GROUPS] = {0}, *out[1 + MYNA__MAX_GROUPS];
  myna_array **w = myna__calloc((size_t)lm->model->n_bound * sizeof *w);
  if (!w) return myna__err(err, MYNA_E_NOMEM, "no memory");
  int rc = weight_arrays(lm, w, err);
  if (rc == 0) {
    int n_in = make_inputs(lm, in);
    myna__build b = {.c = lm->ctx,
                     .cfg = &lm->cfg,
                     .weights = w,
                     .tokens = in[0],
                     .pos = in[1],
                     .rows = in[3],
                     .attend = attend,
                     .adapt = lm->opt.adapt,
                     .user = lm};
    lm->seq_in = in[2];
    out[0] = lm->model->family->build(&b);
    for (int g = 0; g < lm->n_groups; g++) out[1 + g] = lm->group[g].state; /* the writes must run */
    myna_plan_options o = {.sym_max = {lm->opt.n_tok, lm->opt.n_out}, .exact = lm->opt.exact};
    rc = myna_ctx_error(lm->ctx, err);
    if (rc == 0) rc = myna_plan_new(&lm->plan, lm->ctx, in, n_in, out, 1 + lm->n_groups, &o, err);
  }
  myna__free(w, (size_t)lm->model->n_bound * sizeof *w);
  return rc;
}

static int alloc_pools(myna__lm *lm, myna_err *err) {
  int64_t len = (lm->opt.n_ctx + MYNA__PAGE - 1) / MYNA__PAGE;
  for (int g = 0; g < lm->n_groups; g++) {
    myna__lm_group *p = &lm->group[g];
    p->table_len = len;
    p->n_pages = lm->opt.n_pages[g] ? lm->opt.n_pages[g] : len * lm->opt.n_seq;
    p->pool = myna__calloc((size_t)(p->n_pages * p->page_stride));
    p->table = myna__alloc((size_t)(lm->opt.n_seq * len) * sizeof *p->table);
    if (!p->pool || !p->table)
      return myna__err(err, MYNA_E_NOMEM, "no memory for %lld cache pages of %lld bytes", (long long)p->n_pages,
                       (long long)p->page_stride);
    if (p->n_pages > 1) myna__model_lock(lm->model, p->pool, (size_t)(p->n_pages * p->page_stride), "the cache");
    for (int64_t i = 0; i < lm->opt.n_seq * len; i++) p->table[i] = -1;
    lm->kv_bytes += p->n_pages * p->page_stride;
  }
  return 0;
}

int myna__lm_new(myna__lm **out, myna_model *m, const myna__lm_options *o, myna_err *err) {
  *out = NULL;
  if (!m->family || !m->bound) return myna__err(err, MYNA_E_UNSUPPORTED, "%s: opened for its header only", m->path);
  myna__lm *lm = myna__calloc(sizeof *lm);
  if (!lm) return myna__err(err, MYNA_E_NOMEM, "no memory");
  lm->model = m;
  lm->opt = *o;
  lm->cfg = m->cfg;
  lm->cfg.n_ctx = o->n_ctx;
  if (lm->opt.n_out <= 0) lm->opt.n_out = lm->opt.n_tok;
  int rc = myna__lm_groups(&lm->cfg, m->family, o->kv_type, o->kv_type_v, lm, err);
  if (rc == 0) rc = alloc_pools(lm, err);
  if (rc == 0) rc = myna__ctx_new_pool(&lm->ctx, o->pool, 0, err);
  if (rc == 0) rc = build_plan(lm, err);
  if (rc < 0) {
    myna__lm_free(lm);
    return rc;
  }
  *out = lm;
  return 0;
}

void myna__lm_free(myna__lm *lm) {
  if (!lm) return;
  myna_plan_free(lm->plan);
  myna_ctx_free(lm->ctx);
  for (int g = 0; g < lm->n_groups; g++) {
    myna__lm_group *p = &lm->group[g];
    if (lm->model->mlock && p->pool) myna__mem_unlock(p->pool, (size_t)(p->n_pages * p->page_stride));
    myna__free(p->pool, (size_t)(p->n_pages * p->page_stride));
    myna__free(p->table, (size_t)(lm->opt.n_seq * p->table_len) * sizeof *p->table);
  }
  myna__free(lm, sizeof *lm);
}

/* ---- running ---- */

int myna__lm_step_run(myna__lm *lm, const myna__lm_step *s, const float **logits, myna_err *err) {
  void *data[IN_FIXED + 2 * MYNA__MAX_GROUPS] = {(void *)(uintptr_t)s->tokens, (void *)(uintptr_t)s->pos,
                                                 (void *)(uintptr_t)s->seq, (void *)(uintptr_t)s->rows};
  for (int g = 0; g < lm->n_groups; g++) {
    data[IN_FIXED + 2 * g] = lm->group[g].pool;
    data[IN_FIXED + 2 * g + 1] = lm->group[g].table;
  }
  int64_t sym[8] = {[SYM_TOK] = s->n_tok, [SYM_OUT] = s->n_out};
  TRY(myna_plan_run(lm->plan, data, sym, err));
  *logits = myna_plan_output(lm->plan, 0);
  return 0;
}
