/* model.c: opens a model file: header, family, config, and weights bound to their roles, all checked against the shapes that the family
 * states. Matrices stay where they lie; vectors become F32 copies (a few kilobytes). */
#include "engine/model.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- config ---- */

static int read_key(myna_model *m, const myna__key *k, myna_err *err) {
  char key[128];
  snprintf(key, sizeof key, k->gguf, m->arch);
  char *at = (char *)&m->cfg + k->offset;
  int rc = 0;
  if (k->type == MYNA__KEY_I64) rc = myna__gguf_at_i64(&m->gguf, key, 0, (int64_t *)(void *)at, err);
  if (k->type == MYNA__KEY_F64) {
    double *x = (double *)(void *)at;
    rc = myna__gguf_at_f64(&m->gguf, key, 0, x, err);
    if (rc > 0 && !isfinite(*x)) return myna__err_at(err, MYNA_E_FORMAT, m->path, -1, "%s is %g", key, *x);
  }
  if (k->type == MYNA__KEY_STR16) {
    myna__str s;
    rc = myna__gguf_str(&m->gguf, key, &s, err);
    if (rc > 0) snprintf(at, 16, "%.*s", (int)MYNA__MIN(s.n, 15), s.p);
  }
  if (rc == 0 && k->required) return myna__err_at(err, MYNA_E_FORMAT, m->path, -1, "key %s is missing", key);
  return rc < 0 ? rc : 0;
}

/* A key that must be one number for all layers although files may give a list. */
static int check_uniform(myna_model *m, const char *what, myna_err *err) {
  char key[128];
  snprintf(key, sizeof key, what, m->arch);
  const myna__gguf_kv *kv = myna__gguf_find(&m->gguf, key);
  int64_t first = 0, x = 0;
  if (!kv || kv->type != MYNA__GGUF_ARR) return 0;
  for (uint64_t i = 0; i < kv->count; i++) {
    TRY_N(myna__gguf_at_i64(&m->gguf, key, i, i ? &x : &first, err));
    if (i && x != first) return myna__err_at(err, MYNA_E_UNSUPPORTED, m->path, -1, "%s differs between layers", key);
  }
  return 0;
}

static int limit(myna_model *m, const char *what, int64_t x, int64_t lo, int64_t hi, myna_err *err) {
  if (x >= lo && x <= hi) return 0;
  return myna__err_at(err, MYNA_E_FORMAT, m->path, -1, "%s is %lld, it must be %lld to %lld", what, (long long)x,
                      (long long)lo, (long long)hi);
}

static int check_rope(myna_model *m, myna_err *err) {
  const myna__config *g = &m->cfg;
  static const char *const types[] = {"", "none", "linear", "yarn", "longrope"};
  bool known = false;
  for (size_t i = 0; i < MYNA__COUNT(types); i++) known = known || strcmp(g->rope_type, types[i]) == 0;
  if (!known)
    return myna__err_at(err, MYNA_E_UNSUPPORTED, m->path, -1, "rope.scaling.type \"%s\" is not supported",
                        g->rope_type);
  if (g->rope_base < 0 || g->rope_base_local < 0 || g->rope_factor < 0 || g->rope_attn_factor < 0)
    return myna__err_at(err, MYNA_E_FORMAT, m->path, -1,
                        "rope.freq_base %g, rope.freq_base_swa %g, rope.scaling.factor %g, attn_factor %g: negative",
                        g->rope_base, g->rope_base_local, g->rope_factor, g->rope_attn_factor);
  return limit(m, "rope.scaling.original_context_length", g->rope_orig_ctx, 0, INT32_MAX, err);
}

static int fill_config(myna_model *m, myna_err *err) {
  myna__config *g = &m->cfg;
  for (const myna__key *k = m->family->keys; k->gguf; k++) TRY_N(read_key(m, k, err));
  static const char *const uniform[] = {"%s.attention.head_count", "%s.attention.head_count_kv",
                                        "%s.feed_forward_length"};
  for (size_t i = 0; i < MYNA__COUNT(uniform); i++) TRY(check_uniform(m, uniform[i], err));
  TRY(limit(m, "block_count", g->n_layer, 1, MYNA__MAX_LAYERS, err));
  TRY(limit(m, "embedding_length", g->n_embd, 1, 1 << 20, err));
  TRY(limit(m, "attention.head_count", g->n_head, 1, 4096, err));
  if (g->n_head_kv == 0) g->n_head_kv = g->n_head;
  TRY(limit(m, "attention.head_count_kv", g->n_head_kv, 1, g->n_head, err));
  if (g->n_head % g->n_head_kv)
    return myna__err_at(err, MYNA_E_FORMAT, m->path, -1, "head_count %lld is no multiple of head_count_kv %lld",
                        (long long)g->n_head, (long long)g->n_head_kv);
  if (g->dim_k == 0) g->dim_k = g->n_embd / g->n_head;
  if (g->dim_v == 0) g->dim_v = g->dim_k;
  TRY(limit(m, "attention.key_length", g->dim_k, 1, 4096, err));
  TRY(limit(m, "attention.value_length", g->dim_v, 1, 4096, err));
  if (g->n_rot == 0) g->n_rot = g->dim_k;
  TRY(limit(m, "rope.dimension_count", g->n_rot, 2, g->dim_k, err));
  TRY(limit(m, "feed_forward_length", g->n_ff, 0, 1 << 24, err));
  TRY(limit(m, "expert_count", g->n_expert, 0, 4096, err));
  if (g->n_expert > 0) TRY(limit(m, "expert_used_count", g->n_expert_used, 1, g->n_expert, err));
  if (g->n_ff_exp == 0) g->n_ff_exp = g->n_ff;
  TRY(limit(m, "sliding_window", g->window, 0, INT32_MAX, err));
  if (g->n_ctx_train <= 0) g->n_ctx_train = 2048;
  TRY(limit(m, "context_length", g->n_ctx_train, 1, INT32_MAX, err));
  if (g->n_rot % 2)
    return myna__err_at(err, MYNA_E_FORMAT, m->path, -1, "rope.dimension_count %lld is odd", (long long)g->n_rot);
  if (!(g->norm_eps >= 0) || g->norm_eps > 1)
    return myna__err_at(err, MYNA_E_FORMAT, m->path, -1, "layer_norm_rms_epsilon is %g", g->norm_eps);
  TRY(check_rope(m, err));
  return m->family->check ? m->family->check(g, err) : 0;
}

/* ---- shapes as letters ---- */

static int letter(const myna__config *g, char c, int64_t *out) {
  const struct {
    char c;
    int64_t v;
  } table[] = {{'E', g->n_embd}, {'V', g->n_vocab}, {'H', g->n_head},   {'G', g->n_head_kv}, {'D', g->dim_k},
               {'C', g->dim_v},  {'F', g->n_ff},    {'X', g->n_expert}, {'M', g->n_ff_exp},  {'R', g->n_rot / 2}};
  for (size_t i = 0; i < MYNA__COUNT(table); i++)
    if (table[i].c == c) return *out = table[i].v, 0;
  return -1;
}

int myna__model_shape(const myna__config *g, const char *expr, int64_t *dims, int *n_dims, myna_err *err) {
  int64_t sum = 0, product = 1, x;
  *n_dims = 0;
  for (const char *p = expr;; p++) {
    if (*p >= '0' && *p <= '9') {
      char *end;
      x = strtoll(p, &end, 10);
      p = end - 1;
    } else if (letter(g, *p, &x) < 0) {
      return myna__err(err, MYNA_E_INTERNAL, "shape %s: unknown letter %c", expr, *p);
    }
    product *= x;
    char next = p[1];
    if (next == '*') {
      p++;
      continue;
    }
    sum += product;
    product = 1;
    if (next == '+') {
      p++;
      continue;
    }
    if (*n_dims == 4) return myna__err(err, MYNA_E_INTERNAL, "shape %s: more than 4 dimensions", expr);
    dims[(*n_dims)++] = sum;
    sum = 0;
    if (!next) return 0;
    p++; /* the comma */
  }
}

/* ---- weights ---- */

static const char *shape_text(const int64_t *dims, int n, char buf[96]) {
  size_t at = 0;
  buf[0] = 0;
  for (int i = 0; i < n && at < 90; i++)
    at += (size_t)snprintf(buf + at, 96 - at, "%s%lld", i ? "," : "", (long long)dims[i]);
  return buf;
}

static int bind_vector(myna_model *m, myna__bound *b, const myna__gguf_tensor *t, myna_err *err) {
  const myna__quant *q = myna__quant_get(t->type);
  float *v = myna__arena_alloc(&m->arena, (size_t)t->dims[0] * sizeof *v);
  if (!v) return myna__err(err, MYNA_E_NOMEM, "no memory for tensor %s", b->name);
  if (!q || !q->to_f32)
    return myna__err_at(err, MYNA_E_UNSUPPORTED, m->path, (int64_t)t->offset, "tensor %s has type %s", b->name,
                        myna_dtype_name(t->type));
  q->to_f32(v, &(myna__wrow){.p = {t->data}}, t->dims[0]);
  b->n_dims = 1;
  b->vec = v;
  b->n = t->dims[0];
  return 0;
}

static void bind_matrix(myna__bound *b, const myna__gguf_tensor *t, int n_dims) {
  int64_t row = t->dims[0] / myna_dtype_block(t->type) * myna_dtype_bytes(t->type);
  b->n_dims = n_dims;
  b->w = (myna__weight){
      .type = t->type, .n_in = t->dims[0], .n_out = t->dims[1], .n_expert = n_dims == 3 ? t->dims[2] : 0};
  b->w.plane[0] = t->data;
  b->w.row_stride[0] = row;
  b->w.expert_stride[0] = row * t->dims[1];
}

static int bind_one(myna_model *m, const myna__weight_spec *s, int layer, myna_err *err) {
  myna__bound *b = &m->bound[(int64_t)(layer + 1) * MYNA__ROLE_COUNT + s->role];
  int64_t want[4];
  int n_dims;
  snprintf(b->name, sizeof b->name, s->gguf, layer);
  const myna__gguf_tensor *t = myna__gguf_tensor_find(&m->gguf, b->name);
  if (!t) return s->optional ? 0 : myna__err_at(err, MYNA_E_FORMAT, m->path, -1, "tensor %s is missing", b->name);
  TRY(myna__model_shape(&m->cfg, s->shape, want, &n_dims, err));
  bool same = t->n_dims == n_dims;
  for (int i = 0; i < n_dims; i++) same = same && t->dims[n_dims - 1 - i] == want[i];
  if (!same) {
    char a[96], c[96];
    int64_t have[4] = {0};
    for (int i = 0; i < t->n_dims; i++) have[i] = t->dims[t->n_dims - 1 - i];
    return myna__err_at(err, MYNA_E_FORMAT, m->path, (int64_t)t->offset, "tensor %s is [%s], the model needs [%s]",
                        b->name, shape_text(have, t->n_dims, a), shape_text(want, n_dims, c));
  }
  const myna__quant *q = myna__quant_get(t->type);
  if (!q || !q->dot)
    return myna__err_at(err, MYNA_E_UNSUPPORTED, m->path, (int64_t)t->offset, "tensor %s has type %s", b->name,
                        myna_dtype_name(t->type));
  b->present = true;
  if (n_dims == 1) return bind_vector(m, b, t, err);
  bind_matrix(b, t, n_dims);
  return 0;
}

static const myna__weight_spec *spec_of(const myna_model *m, myna__role role) {
  const myna__weight_spec *s = m->family->weights;
  while (s->gguf && s->role != role) s++;
  return s->gguf ? s : NULL;
}

static bool has(const myna_model *m, int layer, myna__role role) {
  return m->bound[(int64_t)(layer + 1) * MYNA__ROLE_COUNT + role].present;
}

/* A weight that is optional for the family but not beside the others of this layer. */
static int need(const myna_model *m, int layer, myna__role role, myna_err *err) {
  const myna__weight_spec *s = spec_of(m, role);
  char name[64];
  if (!s || has(m, layer, role)) return 0;
  snprintf(name, sizeof name, s->gguf, layer);
  return myna__err_at(err, MYNA_E_FORMAT, m->path, -1, "tensor %s is missing", name);
}

/* Families name both forms of a block as optional (dense or experts, fused or not): each layer must have one of them whole. */
static int check_layer(const myna_model *m, int i, myna_err *err) {
  static const myna__role experts[] = {MYNA__W_FFN_ROUTER, MYNA__W_FFN_GATE_EXPS, MYNA__W_FFN_UP_EXPS,
                                       MYNA__W_FFN_DOWN_EXPS};
  static const myna__role dense[] = {MYNA__W_FFN_UP, MYNA__W_FFN_DOWN};
  static const myna__role qkv[] = {MYNA__W_ATTN_Q, MYNA__W_ATTN_K, MYNA__W_ATTN_V};
  if (m->cfg.n_expert > 0 && spec_of(m, MYNA__W_FFN_ROUTER)) {
    for (size_t k = 0; k < MYNA__COUNT(experts); k++) TRY(need(m, i, experts[k], err));
  } else {
    for (size_t k = 0; k < MYNA__COUNT(dense); k++) TRY(need(m, i, dense[k], err));
    TRY(need(m, i, MYNA__W_FFN_GATE, err)); /* phi3, fused, has no such row */
  }
  if (has(m, i, MYNA__W_ATTN_QKV)) return 0;
  if (!has(m, i, MYNA__W_ATTN_Q)) TRY(need(m, i, MYNA__W_ATTN_QKV, err)); /* families that fuse them say so */
  for (size_t k = 0; k < MYNA__COUNT(qkv); k++) TRY(need(m, i, qkv[k], err));
  return 0;
}

/* Whether the family has no use for a tensor although files may hold it: scales of activations, tables of old converters,
 * heads of rerankers and embedding models. */
static bool ignorable(const char *name, size_t len) {
  static const char *const ends[] = {".input_scale",         "rope_freqs.weight", ".attn_rot_embd.weight",
                                     ".rotary_emb.inv_freq", "cls.output.weight", "dense_2.weight",
                                     "dense_3.weight"};
  for (size_t i = 0; i < MYNA__COUNT(ends); i++) {
    size_t n = strlen(ends[i]);
    if (len >= n && memcmp(name + len - n, ends[i], n) == 0) return true;
  }
  return false;
}

/* A tensor that nothing reads means another model than the one that would be computed (llama.cpp refuses such files too). */
static int check_unused(const myna_model *m, myna_err *err) {
  int64_t unused = 0;
  for (int64_t i = 0; i < m->gguf.n_tensors; i++)
    unused += !ignorable(m->gguf.tensors[i].name.p, m->gguf.tensors[i].name.n);
  for (int64_t i = 0; i < m->n_bound; i++)
    unused -= m->bound[i].present && !ignorable(m->bound[i].name, strlen(m->bound[i].name));
  if (unused == 0) return 0;
  for (int64_t i = 0; i < m->gguf.n_tensors; i++) {
    const myna__gguf_tensor *t = &m->gguf.tensors[i];
    bool used = ignorable(t->name.p, t->name.n);
    for (int64_t k = 0; k < m->n_bound && !used; k++)
      used = m->bound[k].present && strlen(m->bound[k].name) == t->name.n &&
             memcmp(m->bound[k].name, t->name.p, t->name.n) == 0;
    if (!used)
      return myna__err_at(err, MYNA_E_UNSUPPORTED, m->path, (int64_t)t->offset,
                          "tensor %.*s has no place in a %s model of %lld layers", (int)MYNA__MIN(t->name.n, 100),
                          t->name.p, m->arch, (long long)m->cfg.n_layer);
  }
  return 0;
}

/* The vocabulary's size when no key says it: rows of the embedding. */
static void fill_vocab(myna_model *m) {
  const myna__gguf_tensor *t = myna__gguf_tensor_find(&m->gguf, "token_embd.weight");
  if (t && t->n_dims == 2) m->cfg.n_vocab = t->dims[1];
}

static int bind_weights(myna_model *m, myna_err *err) {
  fill_vocab(m);
  m->n_bound = (m->cfg.n_layer + 1) * MYNA__ROLE_COUNT;
  m->bound = myna__calloc((size_t)m->n_bound * sizeof *m->bound);
  if (!m->bound) return myna__err(err, MYNA_E_NOMEM, "no memory for a model of %lld layers", (long long)m->cfg.n_layer);
  for (const myna__weight_spec *s = m->family->weights; s->gguf; s++) {
    bool per_layer = strstr(s->gguf, "%d") != NULL;
    for (int i = per_layer ? 0 : -1; i < (per_layer ? m->cfg.n_layer : 0); i++) TRY(bind_one(m, s, i, err));
  }
  for (int i = 0; i < m->cfg.n_layer; i++) TRY(check_layer(m, i, err));
  return check_unused(m, err);
}

/* ---- where the weights lie ---- */

void myna__model_lock(const myna_model *m, const void *p, size_t n, const char *what) {
  struct rlimit limit = {0};
  if (!m->mlock || n == 0 || myna__mem_lock(p, n)) return;
  int why = errno;
  getrlimit(RLIMIT_MEMLOCK, &limit);
  myna__log(1, "mlock: cannot keep %.1f MB of %s in memory: %s (ulimit -l is %llu KB)", (double)n / 1e6, what,
            strerror(why), (unsigned long long)limit.rlim_cur / 1024);
}

static int64_t physical_memory(void) { return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE); }

/* Starts the thread that brings the matrices in, in the order in which a step reads them: layers, then what is global. What is larger than
 * memory would only push out its own beginning. */
static int populate(myna_model *m, myna_err *err) {
  if (m->file_bytes > physical_memory() / 8 * 7) return 0;
  myna__extent *r = myna__alloc((size_t)m->n_bound * sizeof *r);
  int64_t n = 0;
  if (!r) return myna__err(err, MYNA_E_NOMEM, "no memory for a list of weights");
  for (int64_t k = 0; k < m->n_bound; k++) {
    const myna__bound *b = &m->bound[(k + MYNA__ROLE_COUNT) % m->n_bound];
    if (!b->present || b->n_dims < 2) continue;
    int64_t rows = b->w.n_out * MYNA__MAX(b->w.n_expert, 1);
    r[n++] = (myna__extent){b->w.plane[0], (size_t)(rows * b->w.row_stride[0])};
  }
  myna_err why = {0};
  int rc = myna__populate_start(&m->populate, r, n, &why);
  myna__free(r, (size_t)m->n_bound * sizeof *r);
  if (rc != MYNA_E_NOMEM) return 0; /* where no thread can be started the weights come when they are read */
  return myna__err(err, rc, "%s", why.msg);
}

/* The files on huge pages: touched to see how they are mapped; 1 when they should be read instead. */
static int needs_copy(myna_model *m) {
  for (int i = 0; i < m->gguf.n_files; i++) {
    const myna__file *f = &m->gguf.files[i];
    const uint8_t *end = f->data + f->size;
    for (const uint8_t *p = f->data; p < end; p += 4096) (void)*(const volatile uint8_t *)p;
    if (!myna__file_is_huge(f)) return 1;
  }
  return 0;
}

static int open_files(myna_model *m, const char *path, const myna_model_options *o, myna_err *err) {
  myna__gguf_options g = {.no_mmap = o->no_mmap};
  TRY(myna__gguf_open(&m->gguf, path, &g, err));
  if (o->huge_pages && !o->no_mmap && !o->header_only && needs_copy(m)) {
    myna__gguf_close(&m->gguf);
    g.no_mmap = true;
    TRY(myna__gguf_open(&m->gguf, path, &g, err));
  }
  m->mlock = o->mlock;
  for (int i = 0; i < m->gguf.n_files && !o->header_only; i++)
    myna__model_lock(m, m->gguf.files[i].data, m->gguf.files[i].size, m->gguf.files[i].path);
  return 0;
}

/* ---- open, close ---- */

static void count_tensors(myna_model *m) {
  int64_t by_type[MYNA_DTYPE_COUNT] = {0};
  for (int64_t i = 0; i < m->gguf.n_tensors; i++) {
    const myna__gguf_tensor *t = &m->gguf.tensors[i];
    m->n_params += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    m->weight_bytes += (int64_t)t->bytes;
    if (t->n_dims >= 2) by_type[t->type] += (int64_t)t->bytes;
  }
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++)
    if (by_type[i] > by_type[m->main_type]) m->main_type = (myna_dtype)i;
  for (int i = 0; i < m->gguf.n_files; i++) m->file_bytes += (int64_t)m->gguf.files[i].size;
}

static int find_family(myna_model *m, bool header_only, myna_err *err) {
  myna__str arch, name;
  int rc = myna__gguf_str(&m->gguf, "general.architecture", &arch, err);
  if (rc < 0) return rc;
  if (rc > 0) snprintf(m->arch, sizeof m->arch, "%.*s", (int)MYNA__MIN(arch.n, sizeof m->arch - 1), arch.p);
  if (myna__gguf_str(&m->gguf, "general.name", &name, NULL) > 0)
    snprintf(m->name, sizeof m->name, "%.*s", (int)MYNA__MIN(name.n, sizeof m->name - 1), name.p);
  if (rc == 0 && !header_only)
    return myna__err_at(err, MYNA_E_FORMAT, m->path, -1, "key general.architecture is missing");
  m->family = myna__family_find(m->arch);
  if (m->family || header_only) return 0;
  char known[256] = "";
  for (int i = 0; i < myna__family_count(); i++) {
    size_t at = strlen(known);
    snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", myna__family_at(i)->arch);
  }
  return myna__err_at(err, MYNA_E_UNSUPPORTED, m->path, -1, "architecture \"%s\" is not supported (supported: %s)",
                      m->arch, known);
}

static int open_model(myna_model *m, const char *path, const myna_model_options *o, myna_err *err) {
  m->path = myna__strndup(path, strlen(path));
  if (!m->path) return myna__err(err, MYNA_E_NOMEM, "no memory");
  TRY(open_files(m, path, o, err));
  TRY(find_family(m, o->header_only, err));
  count_tensors(m);
  if (o->header_only) {
    if (m->family) fill_config(m, NULL); /* as far as it goes */
    fill_vocab(m);
    return 0;
  }
  TRY(fill_config(m, err));
  TRY(bind_weights(m, err));
  bool wanted = !o->no_populate && !o->mlock && m->gguf.files[0].mapped;
  return wanted ? populate(m, err) : 0;
}

int myna_model_open(myna_model **out, const char *path, const myna_model_options *o, myna_err *err) {
  *out = NULL;
  TRY(myna__cpu_init(err));
  myna_model *m = myna__calloc(sizeof *m);
  if (!m) return myna__err(err, MYNA_E_NOMEM, "no memory");
  pthread_mutex_init(&m->lock, NULL);
  int rc = open_model(m, path, o ? o : &(myna_model_options){0}, err);
  if (rc < 0) {
    myna_model_close(m);
    return rc;
  }
  *out = m;
  return 0;
}

void myna_model_close(myna_model *m) {
  if (!m) return;
  myna__populate_stop(m->populate);
  myna__tokenizer_free(m->tok);
  myna__tokdata_free(&m->tokdata);
  myna__free(m->bound, (size_t)m->n_bound * sizeof *m->bound);
  myna__arena_free(&m->arena);
  myna__gguf_close(&m->gguf);
  myna__strfree(m->chat_template);
  myna__strfree(m->path);
  pthread_mutex_destroy(&m->lock);
  myna__free(m, sizeof *m);
}

/* ---- tokenizer ---- */

static int build_tokenizer(myna_model *m, myna_err *err) {
  TRY(myna__tokdata_from_gguf(&m->tokdata, &m->gguf, err));
  if (m->tokdata.model == MYNA__TOK_NONE)
    return myna__err_at(err, MYNA_E_NOTFOUND, m->path, -1, "the file has no tokenizer");
  if (m->bound && m->tokdata.n_tokens > m->cfg.n_vocab)
    return myna__err_at(err, MYNA_E_FORMAT, m->path, -1,
                        "tokenizer.ggml.tokens has %d tokens, token_embd.weight has %lld rows", m->tokdata.n_tokens,
                        (long long)m->cfg.n_vocab);
  myna_err e = {0};
  if (myna__tokenizer_new(&m->tok, &m->tokdata, &e) == 0) return 0;
  return myna__err_at(err, e.code, m->path, -1, "%s", e.msg);
}

int myna__model_tokenizer(myna_model *m, const myna__tokenizer **out, myna_err *err) {
  pthread_mutex_lock(&m->lock);
  if (!m->tok_tried) {
    m->tok_rc = build_tokenizer(m, &m->tok_err);
    m->tok_tried = true;
  }
  pthread_mutex_unlock(&m->lock);
  *out = m->tok;
  if (m->tok_rc < 0 && err && !err->code) *err = m->tok_err;
  return m->tok_rc;
}
