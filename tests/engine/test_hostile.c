/* test_hostile.c: model files from strangers, at the level of the model: keys and tensors that are missing, absurd or of the wrong shape. Each is an
 * error that names the key or tensor, never a crash. Made by rewriting a fixture key by key and tensor by tensor. */
#include "fixture.h"
#include "formats/gguf.h"
#include <math.h>

/* What is changed in a copy. A key is replaced by a u32 or f32, or left out; a tensor is left out, gets other dims, or another type. */
typedef struct change {
  const char *key;
  enum { DROP, SET_U32, SET_F32, SET_STR, SET_ARRAY } how;
  double value;
  const char *tensor;
  enum { T_DROP, T_DIMS, T_TYPE, T_RENAME } t_how;
  int64_t dims[4]; /* ggml order; 0 ends */
  int type;
} change;

typedef struct out {
  uint8_t *p;
  size_t n, cap;
} out;

static void add(out *o, const void *p, size_t n) {
  if (o->n + n > o->cap) {
    o->cap = (o->n + n) * 2;
    o->p = realloc(o->p, o->cap);
  }
  if (n) memcpy(o->p + o->n, p, n);
  o->n += n;
}
static void u32(out *o, uint32_t v) { add(o, &v, 4); }
static void u64(out *o, uint64_t v) { add(o, &v, 8); }
static void str(out *o, const char *s, size_t n) {
  u64(o, n);
  add(o, s, n);
}

/* Bytes of a value as they lie in the file: up to the next key, or to the tensor table. */
static void copy_keys(out *o, const myna__gguf *g, const change *c) {
  const uint8_t *end = NULL;
  for (int64_t i = 0; i < g->n_kv; i++) {
    const myna__gguf_kv *kv = &g->kvs[i];
    bool it = c->key && kv->key.n == strlen(c->key) && memcmp(kv->key.p, c->key, kv->key.n) == 0;
    if (it && c->how == DROP) continue;
    str(o, kv->key.p, kv->key.n);
    if (it) {
      u32(o, c->how == SET_U32   ? MYNA__GGUF_U32
             : c->how == SET_F32 ? MYNA__GGUF_F32
             : c->how == SET_STR ? MYNA__GGUF_STR
                                 : MYNA__GGUF_ARR);
      float f = (float)c->value;
      if (c->how == SET_U32) u32(o, (uint32_t)(int64_t)c->value);
      if (c->how == SET_F32) add(o, &f, 4);
      if (c->how == SET_STR) str(o, "wrong", 5);
      if (c->how == SET_ARRAY) {
        u32(o, MYNA__GGUF_U32);
        u64(o, 2);
        u32(o, 4);
        u32(o, 8);
      }
      continue;
    }
    u32(o, (uint32_t)kv->type);
    if (kv->type == MYNA__GGUF_ARR) {
      u32(o, (uint32_t)kv->elem);
      u64(o, kv->count);
    }
    static const int sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    myna__gguf_type t = kv->type == MYNA__GGUF_ARR ? kv->elem : kv->type;
    end = kv->data;
    if (t == MYNA__GGUF_STR)
      for (uint64_t k = 0; k < kv->count; k++) myna__gguf_next_str(&end);
    else
      end += kv->count * (uint64_t)sizes[t];
    add(o, kv->data, (size_t)(end - kv->data));
  }
}

static bool is_it(const myna__gguf_tensor *t, const change *c) {
  return c->tensor && t->name.n == strlen(c->tensor) && memcmp(t->name.p, c->tensor, t->name.n) == 0;
}

/* The fixture with changes applied. */
static out rewrite(const char *name, const change *c) {
  char path[512];
  myna__gguf g;
  myna_err err = {0};
  snprintf(path, sizeof path, "%s/tests/fixtures/models/%s.gguf", MYNA_ROOT, name);
  ASSERT_OK_ERR(myna__gguf_open(&g, path, NULL, &err), &err);
  out keys = {0}, info = {0}, data = {0}, file = {0};
  uint64_t n_kv = (uint64_t)g.n_kv, n_tensors = 0;
  if (c->key && c->how == DROP && myna__gguf_find(&g, c->key)) n_kv--;
  copy_keys(&keys, &g, c);
  for (int64_t i = 0; i < g.n_tensors; i++) {
    const myna__gguf_tensor *t = &g.tensors[i];
    bool it = is_it(t, c);
    if (it && c->t_how == T_DROP) continue;
    n_tensors++;
    if (it && c->t_how == T_RENAME)
      str(&info, "other", 5);
    else
      str(&info, t->name.p, t->name.n);
    int n_dims = it && c->t_how == T_DIMS ? 0 : t->n_dims;
    const int64_t *dims = it && c->t_how == T_DIMS ? c->dims : t->dims;
    if (it && c->t_how == T_DIMS)
      while (n_dims < 4 && c->dims[n_dims]) n_dims++;
    u32(&info, (uint32_t)n_dims);
    for (int k = 0; k < n_dims; k++) u64(&info, (uint64_t)dims[k]);
    static const int ggml_id[MYNA_DTYPE_COUNT] = {
#define DTYPE(name, str, id, block, bytes, kind) id,
#include "myna_dtypes.inc"
#undef DTYPE
    };
    u32(&info, (uint32_t)(it && c->t_how == T_TYPE ? c->type : ggml_id[t->type]));
    while (data.n % 32) add(&data, "", 1);
    u64(&info, data.n);
    uint64_t bytes = t->bytes;
    add(&data, t->data, bytes);
    if (it && c->t_how != T_RENAME)
      for (int k = 0; k < 4096; k++) add(&data, "\0\0\0\0\0\0\0\0", 8); /* room for what the change claims */
  }
  add(&file, "GGUF", 4);
  u32(&file, 3);
  u64(&file, n_tensors);
  u64(&file, n_kv);
  add(&file, keys.p, keys.n);
  add(&file, info.p, info.n);
  while (file.n % 32) add(&file, "", 1);
  add(&file, data.p, data.n);
  free(keys.p);
  free(info.p);
  free(data.p);
  myna__gguf_close(&g);
  return file;
}

/* Opens the changed file; whatever opens must also make an engine and answer, or refuse with a message. */
static int try_it(const out *file, myna_err *err) {
  char path[64];
  test_tmpfile(path, file->p, file->n);
  myna_model *m = NULL;
  myna_engine *e = NULL;
  int rc = myna_model_open(&m, path, NULL, err);
  if (rc == 0)
    rc = myna_engine_new(&e, m, &(myna_engine_options){.n_threads = 1, .n_ctx = 64, .n_seq = 1, .n_batch = 16}, err);
  if (rc == 0) {
    static fx_result r;
    int32_t tokens[] = {0, 1, 2, 3, 4};
    myna_request q = fx_greedy(tokens, MYNA__MIN(5, m->cfg.n_vocab), 3);
    tokens[4] = 0;
    fx_run(e, &q, &r);
  }
  myna_engine_free(e);
  myna_model_close(m);
  unlink(path);
  return rc;
}

static void refused(const char *name, const change *c, const char *part) {
  out f = rewrite(name, c);
  myna_err err = {0};
  int rc = try_it(&f, &err);
  if (rc == 0) fail_msg("%s: key %s tensor %s: accepted", name, c->key ? c->key : "-", c->tensor ? c->tensor : "-");
  if (!strstr(err.msg, part))
    fail_msg("%s: key %s tensor %s: \"%s\" does not name \"%s\"", name, c->key ? c->key : "-",
             c->tensor ? c->tensor : "-", err.msg, part);
  free(f.p);
}

/* ---- keys ---- */

static void test_unchanged(void **state) {
  static char names[FX_MAX][48];
  int n = fx_names(names);
  for (int i = 0; i < n; i++) {
    out f = rewrite(names[i], &(change){0});
    myna_err err = {0};
    ASSERT_OK_ERR(try_it(&f, &err), &err);
    free(f.p);
  }
}

static void test_missing_keys(void **state) {
  static const char *const keys[] = {"llama.block_count", "llama.embedding_length", "llama.attention.head_count",
                                     "llama.attention.layer_norm_rms_epsilon", "general.architecture"};
  for (size_t i = 0; i < MYNA__COUNT(keys); i++)
    refused("llama", &(change){.key = keys[i], .how = DROP}, strchr(keys[i], '.') + 1);
}

static void test_absurd_keys(void **state) {
  static const struct {
    const char *key;
    double value;
  } cases[] = {
      {"llama.block_count", 0},
      {"llama.block_count", 1},
      {"llama.block_count", 3},
      {"llama.block_count", 100000},
      {"llama.block_count", 4294967295.0},
      {"llama.embedding_length", 0},
      {"llama.embedding_length", 7},
      {"llama.embedding_length", 4294967295.0},
      {"llama.feed_forward_length", 0},
      {"llama.feed_forward_length", 1},
      {"llama.feed_forward_length", 4294967295.0},
      {"llama.attention.head_count", 0},
      {"llama.attention.head_count", 3},
      {"llama.attention.head_count", 100000},
      {"llama.attention.head_count", 4294967295.0},
      {"llama.attention.head_count_kv", 3},
      {"llama.attention.head_count_kv", 1000},
      {"llama.rope.dimension_count", 1},
      {"llama.rope.dimension_count", 7},
      {"llama.rope.dimension_count", 100000},
      {"llama.context_length", 4294967295.0},
  };
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    out f = rewrite("llama", &(change){.key = cases[i].key, .how = SET_U32, .value = cases[i].value});
    myna_err err = {0};
    int rc = try_it(&f, &err);
    if (rc == 0 && !(strstr(cases[i].key, "block_count") && cases[i].value == 1))
      fail_msg("%s = %g was accepted", cases[i].key, cases[i].value);
    if (rc < 0 && !err.msg[0]) fail_msg("%s = %g: no message", cases[i].key, cases[i].value);
    free(f.p);
  }
  refused("llama", &(change){.key = "llama.block_count", .how = SET_U32, .value = 100000}, "block_count is 100000");
  refused("llama", &(change){.key = "llama.block_count", .how = SET_U32, .value = 3}, "blk.2.");
  refused("llama", &(change){.key = "llama.embedding_length", .how = SET_U32, .value = 0}, "embedding_length is 0");
  refused("llama", &(change){.key = "llama.attention.head_count", .how = SET_U32, .value = 0}, "head_count is 0");
  refused("llama", &(change){.key = "llama.attention.layer_norm_rms_epsilon", .how = SET_F32, .value = NAN}, "epsilon");
  refused("llama", &(change){.key = "llama.attention.layer_norm_rms_epsilon", .how = SET_F32, .value = -1}, "epsilon");
  refused("llama", &(change){.key = "llama.block_count", .how = SET_STR}, "block_count");
  refused("llama", &(change){.key = "llama.attention.head_count", .how = SET_ARRAY}, "head_count differs");
  refused("llama", &(change){.key = "general.architecture", .how = SET_STR}, "\"wrong\" is not supported");
  refused("qwen3moe", &(change){.key = "qwen3moe.expert_used_count", .how = SET_U32, .value = 7},
          "expert_used_count is 7");
  refused("qwen3moe", &(change){.key = "qwen3moe.expert_used_count", .how = SET_U32, .value = 0},
          "expert_used_count is 0");
  refused("qwen3moe", &(change){.key = "qwen3moe.expert_count", .how = SET_U32, .value = 70000},
          "expert_count is 70000");
  refused("qwen3moe", &(change){.key = "qwen3moe.expert_count", .how = DROP}, "");
}

/* Frequencies and scales that are no numbers: an error or an answer, never a crash. */
static void test_odd_numbers(void **state) {
  static const char *const keys[] = {"llama.rope.freq_base", "llama.rope.scaling.factor",
                                     "llama.rope.scaling.original_context_length"};
  static const double values[] = {0, -1, NAN, INFINITY, 1e38, 1e-38};
  for (size_t i = 0; i < MYNA__COUNT(keys); i++)
    for (size_t k = 0; k < MYNA__COUNT(values); k++) {
      out f = rewrite("llama-yarn", &(change){.key = keys[i], .how = SET_F32, .value = values[k]});
      myna_err err = {0};
      int rc = try_it(&f, &err);
      if (rc < 0 && !err.msg[0]) fail_msg("%s = %g: no message", keys[i], values[k]);
      free(f.p);
    }
}

/* ---- tensors ---- */

/* Without any one of its tensors a model is refused by that tensor's name, or is another valid model. */
static void test_missing_tensors(void **state) {
  static const char *const names[] = {"llama", "llama-bias", "qwen2",    "qwen3",      "gemma3",
                                      "phi3",  "mixtral",    "qwen3moe", "llama-rope3"};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    myna_model *m = fx_open(names[i]);
    for (int64_t t = 0; t < m->gguf.n_tensors; t++) {
      char name[128];
      snprintf(name, sizeof name, "%.*s", (int)m->gguf.tensors[t].name.n, m->gguf.tensors[t].name.p);
      bool optional =
          strcmp(name, "output.weight") == 0 || strcmp(name, "rope_freqs.weight") == 0 || strstr(name, ".bias");
      out f = rewrite(names[i], &(change){.tensor = name, .t_how = T_DROP});
      myna_err err = {0};
      int rc = try_it(&f, &err);
      if (optional && rc < 0) fail_msg("%s without %s: %s", names[i], name, err.msg);
      if (!optional && rc == 0) fail_msg("%s without %s was accepted", names[i], name);
      if (!optional && !strstr(err.msg, name)) fail_msg("%s without %s: \"%s\"", names[i], name, err.msg);
      free(f.p);
    }
    myna_model_close(m);
  }
}

static void test_wrong_tensors(void **state) {
  static const char *const tensors[] = {"blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.0.attn_norm.weight",
                                        "output_norm.weight",  "output.weight",         "blk.0.attn_output.weight"};
  static const int64_t dims[][4] = {{1},
                                    {32},
                                    {64},
                                    {1, 1},
                                    {32, 1},
                                    {1, 32},
                                    {48, 48},
                                    {32, 32, 2},
                                    {32, 32, 2, 2},
                                    {31, 64},
                                    {64, 31},
                                    {65536, 65536},
                                    {INT64_MAX, 1},
                                    {INT64_MAX, INT64_MAX},
                                    {1LL << 32, 1LL << 32}};
  for (size_t i = 0; i < MYNA__COUNT(tensors); i++)
    for (size_t k = 0; k < MYNA__COUNT(dims); k++) {
      change c = {.tensor = tensors[i], .t_how = T_DIMS};
      memcpy(c.dims, dims[k], sizeof c.dims);
      myna_model *m = fx_open("llama");
      const myna__gguf_tensor *t = myna__gguf_tensor_find(&m->gguf, tensors[i]);
      bool same = t->dims[0] == c.dims[0] && t->dims[1] == MYNA__MAX(c.dims[1], 1) && c.dims[2] == 0;
      myna_model_close(m);
      if (!same) refused("llama", &c, tensors[i]);
    }
  for (size_t i = 0; i < MYNA__COUNT(tensors); i++) {
    refused("llama", &(change){.tensor = tensors[i], .t_how = T_TYPE, .type = 26}, tensors[i]); /* I32 */
    refused("llama", &(change){.tensor = tensors[i], .t_how = T_TYPE, .type = 9999}, "");
  }
  refused("llama", &(change){.tensor = "blk.0.ffn_up.weight", .t_how = T_DIMS, .dims = {32, 32}},
          "blk.0.ffn_up.weight");
  refused("qwen3moe", &(change){.tensor = "blk.0.ffn_up_exps.weight", .t_how = T_DIMS, .dims = {32, 16, 5}},
          "blk.0.ffn_up_exps.weight");
  refused("llama", &(change){.tensor = "token_embd.weight", .t_how = T_DIMS, .dims = {32, 1}}, "");
  refused("llama", &(change){.tensor = "token_embd.weight", .t_how = T_DIMS, .dims = {4096}}, "token_embd.weight");
}

/* A tensor that the model does not use makes it another model: refused by the tensor's name. */
static void test_unused_tensors(void **state) {
  refused("llama", &(change){.key = "llama.block_count", .how = SET_U32, .value = 1}, "blk.1.");
  refused("gemma3", &(change){.key = "gemma3.block_count", .how = SET_U32, .value = 1}, "blk.1.");
  refused("llama", &(change){.tensor = "output.weight", .t_how = T_RENAME}, "tensor other");
  refused("llama-bias", &(change){.tensor = "blk.0.attn_q.bias", .t_how = T_RENAME}, "tensor other");
}

/* Numbers that would turn into NaN or into other angles than the file means. */
static void test_rope_keys(void **state) {
  static const char *const keys[] = {"llama.rope.freq_base", "llama.rope.scaling.factor"};
  for (size_t i = 0; i < MYNA__COUNT(keys); i++) {
    refused("llama-yarn", &(change){.key = keys[i], .how = SET_F32, .value = (double)NAN}, keys[i]);
    refused("llama-yarn", &(change){.key = keys[i], .how = SET_F32, .value = (double)INFINITY}, keys[i]);
  }
  refused("llama-yarn", &(change){.key = keys[0], .how = SET_F32, .value = -1}, "rope.freq_base -1");
  refused("llama-yarn", &(change){.key = keys[1], .how = SET_F32, .value = -4}, "rope.scaling.factor -4");
  refused("llama-yarn", &(change){.key = "llama.rope.scaling.type", .how = SET_STR}, "\"wrong\"");
}

/* Random bytes in the header of a valid file. */
static void test_random_bytes(void **state) {
  test_rng r = test_rng_new(13);
  static const char *const names[] = {"llama-tied", "qwen3moe", "gemma3-linear", "phi3-longrope"};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    out f = rewrite(names[i], &(change){0});
    uint8_t *good = malloc(f.n);
    memcpy(good, f.p, f.n);
    size_t head = MYNA__MIN(f.n, 12000);
    for (int round = 0; round < 300; round++) {
      for (int k = 1 + (int)test_int(&r, 3); k > 0; k--)
        f.p[test_int(&r, (int64_t)head)] = (uint8_t)(test_int(&r, 3) ? test_int(&r, 256) : 0);
      myna_err err = {0};
      int rc = try_it(&f, &err);
      if (rc < 0 && !err.msg[0]) fail_msg("round %d: no message", round);
      memcpy(f.p, good, f.n);
    }
    free(good);
    free(f.p);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unchanged),    cmocka_unit_test(test_missing_keys),    cmocka_unit_test(test_absurd_keys),
      cmocka_unit_test(test_odd_numbers),  cmocka_unit_test(test_missing_tensors), cmocka_unit_test(test_wrong_tensors),
      cmocka_unit_test(test_random_bytes), cmocka_unit_test(test_unused_tensors),  cmocka_unit_test(test_rope_keys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
