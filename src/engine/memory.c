/* memory.c: where every byte goes, computed before anything large is taken. */
#include "engine/job.h"

/* One page more than the positions need: copy-on-write takes it before it gives back the shared page. */
enum { SPARE = 1 };

static int64_t pages_of(int64_t positions) { return (positions + MYNA__PAGE - 1) / MYNA__PAGE; }

/* Fills defaults of options: context, sequences, batch, cache type. */
static int defaults(const myna_model *m, myna_engine_options *o, myna_err *err) {
  if (o->n_ctx < 0 || o->n_ctx > INT32_MAX) return myna__err(err, MYNA_E_ARG, "n_ctx is %lld", (long long)o->n_ctx);
  if (o->n_batch < 0 || o->n_batch > 1 << 20)
    return myna__err(err, MYNA_E_ARG, "n_batch is %lld", (long long)o->n_batch);
  if (o->n_seq < 0 || o->n_seq > 1 << 16) return myna__err(err, MYNA_E_ARG, "n_seq is %lld", (long long)o->n_seq);
  if (o->n_ctx == 0) o->n_ctx = MYNA__MIN(m->cfg.n_ctx_train, 4096);
  if (o->n_seq == 0) o->n_seq = 8;
  if (o->n_batch == 0) o->n_batch = 512;
  o->n_batch = MYNA__MAX(o->n_batch, o->n_seq); /* every sequence decodes in every step */
  if (o->exact) o->kv_type = o->kv_type_v = MYNA_F32, o->kv_type_set = o->kv_type_v_set = true;
  myna_dtype by_weights = myna__lm_default_kv(m, false);
  if (!o->kv_type_set) o->kv_type = by_weights;
  if (!o->kv_type_v_set) o->kv_type_v = o->kv_type_set ? o->kv_type : by_weights;
  return 0;
}

int myna__engine_plan(myna_model *m, myna_engine_options *o, myna__lm_options *lo, myna_memory *out, myna_err *err) {
  if (!m->bound) return myna__err(err, MYNA_E_UNSUPPORTED, "%s: opened for its header only", m->path);
  TRY(defaults(m, o, err));
  int64_t rows = (16 << 20) / MYNA__MAX(m->cfg.n_vocab, 1); /* 64 MB of logits at most */
  *lo = (myna__lm_options){.kv_type = o->kv_type,
                           .kv_type_v = o->kv_type_v,
                           .exact = o->exact,
                           .n_ctx = o->n_ctx,
                           .n_tok = o->n_batch,
                           .n_seq = o->n_seq};
  lo->n_out = MYNA__MIN(o->n_batch, MYNA__MAX(rows, o->n_seq));
  for (int g = 0; g < MYNA__MAX_GROUPS; g++) lo->n_pages[g] = 1;
  myna__lm *probe;
  myna__pool *pool = NULL; /* scratch depends on the number of threads */
  TRY(myna__pool_new(&pool, o->n_threads, false, err));
  lo->pool = pool;
  int rc = myna__lm_new(&probe, m, lo, err);
  lo->pool = NULL;
  if (rc == 0)
    *out = (myna_memory){.weights = m->file_bytes, .compute = myna_plan_bytes(probe->plan), .limit = o->mem_limit};
  int64_t stride = 0, per_seq = pages_of(o->n_ctx);
  int n_groups = rc == 0 ? probe->n_groups : 0;
  for (int g = 0; g < n_groups; g++) stride += probe->group[g].page_stride;
  if (rc == 0) myna__lm_free(probe);
  myna__pool_free(pool);
  if (rc < 0) return rc;
  out->tokenizer = m->cfg.n_vocab * 96;
  out->other = o->n_seq * (o->n_ctx * 16 + m->cfg.n_vocab * 16 + myna__spec_bytes(o->n_ctx + 1)) +
               (2 << 20); /* tokens, samplers and indexes of running requests */
  int64_t pages = (o->kv_tokens > 0 ? pages_of(o->kv_tokens) : per_seq * o->n_seq) + SPARE;
  int64_t fixed = (o->mem_weights_cached ? 0 : out->weights) + out->compute + out->tokenizer + out->other;
  if (o->mem_limit > 0 && o->kv_tokens <= 0) pages = MYNA__MIN(pages, MYNA__MAX((o->mem_limit - fixed) / stride, 0));
  out->kv = pages * stride;
  out->total = fixed + out->kv;
  if (o->mem_limit > 0 && (pages < per_seq + SPARE || out->total > o->mem_limit))
    return myna__err(err, MYNA_E_LIMIT,
                     "the memory limit of %.1f MB is too small: weights %.1f MB%s, compute %.1f MB, other %.1f MB, "
                     "cache of one context of %lld %.1f MB",
                     (double)o->mem_limit / 1e6, (double)out->weights / 1e6,
                     o->mem_weights_cached ? " (not counted)" : "", (double)out->compute / 1e6,
                     (double)(out->other + out->tokenizer) / 1e6, (long long)o->n_ctx,
                     (double)((per_seq + SPARE) * stride) / 1e6);
  if (pages < per_seq + SPARE)
    return myna__err(err, MYNA_E_ARG, "kv_tokens %lld holds less than one context of %lld", (long long)o->kv_tokens,
                     (long long)o->n_ctx);
  for (int g = 0; g < MYNA__MAX_GROUPS; g++) lo->n_pages[g] = pages;
  return 0;
}

int myna_memory_plan(myna_model *m, const myna_engine_options *o, myna_memory *out, myna_err *err) {
  myna_engine_options opt = o ? *o : (myna_engine_options){0};
  myna__lm_options lo;
  return myna__engine_plan(m, &opt, &lo, out, err);
}
