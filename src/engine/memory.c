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
  if (o->disk_max < 0) return myna__err(err, MYNA_E_ARG, "disk_max is %lld", (long long)o->disk_max);
  if (o->grammar_bytes < 0) return myna__err(err, MYNA_E_ARG, "grammar_bytes is %lld", (long long)o->grammar_bytes);
  if (o->disk_max == 0) o->disk_max = (int64_t)1 << 30;
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

/* Bytes of a plan, and of a page of every group. */
typedef struct sizes {
  int64_t compute, stride;
} sizes;

static int measure(myna_model *m, const myna__lm_options *o, int n_threads, sizes *s, myna_err *err) {
  myna__lm *probe;
  myna__lm_options lo = *o;
  TRY(myna__pool_new(&lo.pool, n_threads, false, err)); /* scratch depends on the number of threads */
  int rc = myna__lm_new(&probe, m, &lo, err);
  if (rc == 0) {
    *s = (sizes){.compute = myna_plan_bytes(probe->plan)};
    for (int g = 0; g < probe->n_groups; g++) s->stride += probe->group[g].page_stride;
    myna__lm_free(probe);
  }
  myna__pool_free(lo.pool);
  return rc;
}

/* Tokens, samplers and indexes of running requests. */
static int64_t of_requests(const myna_model *m, const myna_engine_options *o) {
  int64_t each = o->n_ctx * 16 + m->cfg.n_vocab * 16;
  if ((unsigned)o->speculation & MYNA_SPECULATION_NGRAM) each += myna__spec_bytes(o->n_ctx + 1);
  return o->n_seq * each + (2 << 20);
}

/* Beside what grammars hold: masks of running requests, and the vocabulary's trie. */
static int64_t of_grammars(const myna_model *m, const myna_engine_options *o) {
  enum { PER_SEQUENCE = 5, TRIE = 64 }; /* bytes per token of the vocabulary */
  return m->cfg.n_vocab * (o->n_seq * PER_SEQUENCE + TRIE);
}

int myna__engine_plan(myna_model *m, myna_engine_options *o, myna__lm_options *lo, myna__lm_options *draft,
                      myna_memory *out, myna_err *err) {
  myna_model *dm = o->draft_model;
  if (!m->bound) return myna__err(err, MYNA_E_UNSUPPORTED, "%s: opened for its header only", m->path);
  if (dm && !dm->bound) return myna__err(err, MYNA_E_UNSUPPORTED, "%s: opened for its header only", dm->path);
  TRY(defaults(m, o, err));
  int64_t rows = (16 << 20) / MYNA__MAX(m->cfg.n_vocab, 1); /* 64 MB of logits at most */
  *lo = (myna__lm_options){.kv_type = o->kv_type,
                           .kv_type_v = o->kv_type_v,
                           .exact = o->exact,
                           .no_cascade = o->no_cascade,
                           .n_ctx = o->n_ctx,
                           .n_tok = o->n_batch,
                           .n_seq = o->n_seq};
  for (int g = 0; g < MYNA__MAX_GROUPS; g++) lo->n_pages[g] = 1;
  *draft = *lo;
  lo->n_out = MYNA__MIN(o->n_batch, MYNA__MAX(rows, o->n_seq));
  draft->n_out = o->n_seq;
  sizes s = {0}, d = {0};
  TRY(measure(m, lo, o->n_threads, &s, err));
  if (dm && !o->exact) draft->kv_type = draft->kv_type_v = myna__lm_default_kv(dm, false);
  if (dm) TRY(measure(dm, draft, o->n_threads, &d, err));
  int64_t per_seq = pages_of(o->n_ctx), stride = s.stride + d.stride;
  *out = (myna_memory){.weights = m->file_bytes, .compute = s.compute, .limit = o->mem_limit};
  out->tokenizer = m->cfg.n_vocab * 96;
  out->other = of_requests(m, o);
  if (o->grammar_bytes > 0) out->other += o->grammar_bytes + of_grammars(m, o);
  if (o->disk_dir) out->other += myna__disk_memory(o->disk_max, s.stride);
  int64_t draft_file = dm ? dm->file_bytes : 0, mapped = o->mem_weights_cached ? 0 : out->weights + draft_file;
  int64_t pages = (o->kv_tokens > 0 ? pages_of(o->kv_tokens) : per_seq * o->n_seq) + SPARE;
  int64_t fixed = mapped + out->compute + d.compute + out->tokenizer + out->other;
  if (o->mem_limit > 0 && o->kv_tokens <= 0) pages = MYNA__MIN(pages, MYNA__MAX((o->mem_limit - fixed) / stride, 0));
  out->kv = pages * stride;
  out->draft = draft_file + d.compute;
  out->total = fixed + out->kv;
  if (o->mem_limit > 0 && (pages < per_seq + SPARE || out->total > o->mem_limit))
    return myna__err(err, MYNA_E_LIMIT,
                     "the memory limit of %.1f MB is too small: weights %.1f MB%s, compute %.1f MB, other %.1f MB, "
                     "cache of one context of %lld %.1f MB",
                     (double)o->mem_limit / 1e6, (double)(out->weights + draft_file) / 1e6,
                     o->mem_weights_cached ? " (not counted)" : "", (double)(out->compute + d.compute) / 1e6,
                     (double)(out->other + out->tokenizer) / 1e6, (long long)o->n_ctx,
                     (double)((per_seq + SPARE) * stride) / 1e6);
  if (pages < per_seq + SPARE)
    return myna__err(err, MYNA_E_ARG, "kv_tokens %lld holds less than one context of %lld", (long long)o->kv_tokens,
                     (long long)o->n_ctx);
  for (int g = 0; g < MYNA__MAX_GROUPS; g++) lo->n_pages[g] = draft->n_pages[g] = pages;
  return 0;
}

int myna_memory_plan(myna_model *m, const myna_engine_options *o, myna_memory *out, myna_err *err) {
  myna_engine_options opt = o ? *o : (myna_engine_options){0};
  myna__lm_options lo, draft;
  return myna__engine_plan(m, &opt, &lo, &draft, out, err);
}
