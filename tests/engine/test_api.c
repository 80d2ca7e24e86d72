/* What myna.h says of a model beside running it: facts, metadata as text, tensors, text and tokens, the plan, sessions. */
#include "fixture.h"
#include "formats/gguf_writer.h"
#include <math.h>

/* Opens a file of these bytes for its header only. */
static myna_model *open_bytes(gw_bytes f, char path[64]) {
  myna_model *m = NULL;
  myna_err err = {0};
  test_tmpfile(path, f.p, f.n);
  ASSERT_OK_ERR(myna_model_open(&m, path, &(myna_model_options){.header_only = true}, &err), &err);
  free(f.p);
  return m;
}

static void close_file(myna_model *m, const char *path) {
  myna_model_close(m);
  unlink(path);
}

/* ---- metadata ---- */

static const char *meta(const myna_model *m, const char *key, char type[24], char *text, size_t n, int max_items) {
  myna_model_info info;
  const char *name;
  myna_model_get_info(m, &info);
  for (int64_t i = 0; i < info.n_meta; i++) {
    int64_t len = myna_model_get_meta(m, i, &name, type, text, n, max_items);
    assert_true(len >= 0);
    if (strcmp(name, key) != 0) continue;
    if ((size_t)len < n) assert_int_equal(strlen(text), len);
    return text;
  }
  fail_msg("no key %s", key);
  return NULL;
}

static void test_meta(void **state) {
  (void)state;
  char path[64], type[24], text[512];
  gw w = gw_new(3);
  double d = 0.1;
  uint64_t bits;
  memcpy(&bits, &d, 8);
  gw_str(&w, "general.architecture", "none");
  gw_num(&w, "u8", GW_U8, 200);
  gw_num(&w, "i8", GW_I8, (uint64_t)-100);
  gw_num(&w, "u16", GW_U16, 60000);
  gw_num(&w, "i16", GW_I16, (uint64_t)-30000);
  gw_num(&w, "u32", GW_U32, 4000000000u);
  gw_num(&w, "i32", GW_I32, (uint64_t)-2000000000);
  gw_f32(&w, "f32", 0.1f);
  gw_bool(&w, "yes", 1);
  gw_bool(&w, "no", 0);
  gw_str(&w, "str", "a text");
  gw_str(&w, "empty", "");
  gw_num(&w, "u64", GW_U64, UINT64_MAX);
  gw_num(&w, "i64", GW_I64, (uint64_t)INT64_MIN);
  gw_num(&w, "f64", GW_F64, bits);
  gw_arr(&w, "list", GW_I16, 5, (int16_t[]){1, -2, 3, -4, 5}, 10);
  gw_arr(&w, "none", GW_U32, 0, NULL, 0);
  gw_strs(&w, "words", (const char *[]){"one", "two", "three"}, 3);
  gw_arr(&w, "doubles", GW_F64, 2, (double[]){0.5, -1e300}, 16);
  myna_model *m = open_bytes(gw_finish(&w), path);
  static const struct {
    const char *key, *type, *text;
  } rows[] = {{"u8", "u8", "200"},
              {"i8", "i8", "-100"},
              {"u16", "u16", "60000"},
              {"i16", "i16", "-30000"},
              {"u32", "u32", "4000000000"},
              {"i32", "i32", "-2000000000"},
              {"f32", "f32", "0.100000001"},
              {"yes", "bool", "true"},
              {"no", "bool", "false"},
              {"str", "str", "a text"},
              {"empty", "str", ""},
              {"u64", "u64", "18446744073709551615"},
              {"i64", "i64", "-9223372036854775808"},
              {"f64", "f64", "0.10000000000000001"},
              {"list", "arr[i16,5]", "[1, -2, 3, ...]"},
              {"none", "arr[u32,0]", "[]"},
              {"words", "arr[str,3]", "[one, two, three]"},
              {"doubles", "arr[f64,2]", "[0.5, -1.0000000000000001e+300]"}};
  for (size_t i = 0; i < MYNA__COUNT(rows); i++) {
    assert_string_equal(meta(m, rows[i].key, type, text, sizeof text, 3), rows[i].text);
    assert_string_equal(type, rows[i].type);
  }
  /* arrays are shortened to any number of items; the text is cut where the buffer ends, its length is told */
  assert_string_equal(meta(m, "list", type, text, sizeof text, 0), "[...]");
  assert_string_equal(meta(m, "list", type, text, sizeof text, -1), "[...]");
  assert_string_equal(meta(m, "none", type, text, sizeof text, 0), "[]");
  assert_string_equal(meta(m, "list", type, text, sizeof text, 1), "[1, ...]");
  assert_string_equal(meta(m, "list", type, text, sizeof text, 4), "[1, -2, 3, -4, ...]");
  assert_string_equal(meta(m, "list", type, text, sizeof text, 5), "[1, -2, 3, -4, 5]");
  assert_string_equal(meta(m, "list", type, text, sizeof text, 99), "[1, -2, 3, -4, 5]");
  assert_string_equal(meta(m, "str", type, text, 4, 0), "a t");
  assert_string_equal(meta(m, "str", type, text, 1, 0), "");
  memset(text, 'x', sizeof text);
  meta(m, "str", type, text, 0, 0);
  assert_int_equal(text[0], 'x');
  const char *key;
  myna_model_info info;
  myna_model_get_info(m, &info);
  assert_int_equal(info.n_meta, 19);
  assert_int_equal(myna_model_get_meta(m, 0, &key, type, text, sizeof text, 3), 4);
  assert_string_equal(key, "general.architecture");
  assert_int_equal(myna_model_get_meta(m, -1, &key, type, text, sizeof text, 3), MYNA_E_NOTFOUND);
  assert_int_equal(myna_model_get_meta(m, 19, &key, type, text, sizeof text, 3), MYNA_E_NOTFOUND);
  assert_true(myna_model_get_meta(m, 18, &key, type, text, sizeof text, 3) > 0);
  assert_false(info.has_tokenizer || info.has_template);
  assert_null(myna_model_get_template(m));
  close_file(m, path);
}

/* Names longer than fit are cut, never overrun. */
static void test_long_names(void **state) {
  (void)state;
  char path[64], type[24], text[8], name[301];
  const char *key;
  memset(name, 'k', 300);
  name[300] = 0;
  gw w = gw_new(3);
  gw_u32(&w, name, 1);
  gw_str(&w, "general.architecture", name);
  gw_str(&w, "general.name", name);
  gw_str(&w, "tokenizer.chat_template", "{{ bos }}");
  myna_model *m = open_bytes(gw_finish(&w), path);
  assert_int_equal(myna_model_get_meta(m, 0, &key, type, text, sizeof text, 1), 1);
  assert_int_equal(strlen(key), 255);
  assert_memory_equal(key, name, 255);
  myna_model_info info;
  myna_model_get_info(m, &info);
  assert_memory_equal(info.arch, name, strlen(info.arch));
  assert_int_equal(strlen(info.arch), sizeof m->arch - 1);
  assert_int_equal(strlen(info.name), sizeof m->name - 1);
  assert_string_equal(info.file, path);
  assert_true(info.has_template);
  const char *template = myna_model_get_template(m);
  assert_string_equal(template, "{{ bos }}");
  assert_ptr_equal(myna_model_get_template(m), template);
  close_file(m, path);
}

/* ---- tensors ---- */

static void test_tensors(void **state) {
  (void)state;
  char path[64];
  gw w = gw_new(3);
  gw_str(&w, "general.architecture", "none");
  gw_tensor(&w, "vector", 0, (int64_t[]){100}, 1, NULL, 400);   /* F32: most bytes of one tensor, but no matrix */
  gw_tensor(&w, "half", 1, (int64_t[]){4, 10}, 2, NULL, 80);    /* F16 */
  gw_tensor(&w, "packed", 8, (int64_t[]){32, 3}, 2, NULL, 102); /* Q8_0: most bytes in matrices */
  gw_tensor(&w, "four", 1, (int64_t[]){1, 2, 3, 4}, 4, NULL, 48 / 2 * 2); /* 24 elements */
  gw_bytes f = gw_finish(&w);
  int64_t size = (int64_t)f.n;
  myna_model *m = open_bytes(f, path);
  myna_model_info info;
  myna_model_get_info(m, &info);
  assert_int_equal(info.n_tensors, 4);
  assert_int_equal(info.n_params, 100 + 40 + 96 + 24);
  assert_int_equal(info.weight_bytes, 400 + 80 + 102 + 48);
  assert_int_equal(info.file_bytes, size);
  assert_string_equal(info.weight_type, "F16"); /* 80 + 48 against 102 */
  myna_tensor_info t;
  assert_int_equal(myna_model_get_tensor(m, -1, &t), MYNA_E_NOTFOUND);
  assert_int_equal(myna_model_get_tensor(m, 4, &t), MYNA_E_NOTFOUND);
  assert_int_equal(myna_model_get_tensor(m, 3, &t), 0);
  assert_string_equal(t.name, "four");
  assert_memory_equal(t.dims, ((int64_t[]){4, 3, 2, 1}), sizeof t.dims);
  assert_true(t.n_dims == 4 && t.type == MYNA_F16 && t.bytes == 48 && t.file == 0);
  int64_t end = t.offset + t.bytes;
  assert_int_equal(myna_model_get_tensor(m, 2, &t), 0);
  assert_true(t.n_dims == 2 && t.dims[0] == 3 && t.dims[1] == 32 && t.type == MYNA_Q8_0 && t.bytes == 102);
  assert_true(t.offset + t.bytes < end && end <= size);
  close_file(m, path);
}

/* ---- what a crash handler asks ---- */

static void test_mapped(void **state) {
  (void)state;
  myna_model *m = fx_open("llama");
  const myna__gguf_tensor *t = &m->gguf.tensors[1];
  const char *path;
  size_t offset;
  assert_true(myna_mapped_file_at(t->data + 3, &path, &offset));
  assert_non_null(strstr(path, "llama.gguf"));
  assert_int_equal(offset, t->offset + 3);
  assert_false(myna_mapped_file_at(&offset, &path, &offset));
  myna_model_close(m);
}

/* ---- text ---- */

static myna_model *stories(void) {
  char path[512];
  return fx_open(test_path(path, "models/myna-stories.gguf"));
}

static void test_text(void **state) {
  (void)state;
  myna_model *m = stories();
  myna_err err = {0};
  static const char text[] = "Once upon a time, there was a little girl. She said: \"Hello\" \xF0\x9F\x98\x80";
  int32_t ids[200], cut[200];
  char buf[400];
  const myna_tokenize_options plain = {.no_special = true};
  int64_t n = myna_tokenize(m, text, sizeof text - 1, &plain, ids, 200, &err), len;
  assert_true(n > 3 && n < 200);
  assert_int_equal(myna_tokenize(m, text, sizeof text - 1, &plain, cut, 2, &err), n);
  assert_memory_equal(cut, ids, 8);
  /* whole, in pieces of the buffer, and nothing at all */
  len = myna_detokenize(m, ids, n, false, buf, sizeof buf, &err);
  assert_int_equal(len, sizeof text - 1);
  assert_memory_equal(buf, text, sizeof text - 1);
  memset(buf, 'x', sizeof buf);
  assert_int_equal(myna_detokenize(m, ids, n, false, buf, 5, &err), len);
  assert_memory_equal(buf, text, 5);
  assert_int_equal(buf[5], 'x');
  assert_int_equal(myna_detokenize(m, ids, n, false, NULL, 0, &err), len);
  assert_int_equal(myna_detokenize(m, ids, 0, false, buf, sizeof buf, &err), 0);
  /* the texts of the tokens, one after the other, are the text (SentencePiece puts a space before it) */
  char all[400];
  size_t at = 0;
  for (int64_t i = 0; i < n; i++) {
    int64_t k = myna_token_text(m, ids[i], all + at, (int64_t)(sizeof all - at));
    assert_true(k > 0 && k < 64);
    at += (size_t)k;
  }
  all[at] = 0;
  assert_string_equal(all + (all[0] == ' '), text);
  memset(buf, 'x', sizeof buf);
  assert_true(myna_token_text(m, ids[0], buf, 0) > 0);
  assert_int_equal(buf[0], 'x');
  assert_true(myna_token_text(m, -1, buf, sizeof buf) < 0);
  /* ids that are none */
  int32_t bad[3] = {ids[0], ids[1], 1 << 30};
  ASSERT_FAILS((int)myna_detokenize(m, bad, 3, false, buf, sizeof buf, &err), MYNA_E_ARG, &err,
               "token 2 is 1073741824");
  /* special tokens */
  int32_t bos = myna_token_bos(m), eos = myna_token_eos(m);
  assert_true(eos >= 0 && myna_token_is_eog(m, eos) && !myna_token_is_eog(m, ids[0]) && !myna_token_is_eog(m, -1));
  assert_int_equal(myna_detokenize(m, &eos, 1, false, buf, sizeof buf, NULL), 0);
  assert_true(myna_detokenize(m, &eos, 1, true, buf, sizeof buf, NULL) > 0);
  int64_t with = myna_tokenize(m, text, sizeof text - 1, NULL, cut, 200, &err);
  assert_true(with == n || (with == n + 1 && cut[0] == bos));
  myna_model_close(m);
}

/* A file without tokenizer has no text and no special tokens; everything says so. */
static void test_no_text(void **state) {
  (void)state;
  char path[64];
  gw w = gw_new(3);
  gw_str(&w, "general.architecture", "none");
  myna_model *m = open_bytes(gw_finish(&w), path);
  myna_err err = {0};
  int32_t id = 1;
  char buf[8];
  ASSERT_FAILS((int)myna_tokenize(m, "a", 1, NULL, &id, 1, &err), MYNA_E_NOTFOUND, &err, "no tokenizer");
  err = (myna_err){0};
  ASSERT_FAILS((int)myna_detokenize(m, &id, 1, false, buf, 8, &err), MYNA_E_NOTFOUND, &err, "no tokenizer");
  assert_int_equal(myna_token_text(m, 1, buf, 8), MYNA_E_NOTFOUND);
  assert_int_equal(myna_token_bos(m), -1);
  assert_int_equal(myna_token_eos(m), -1);
  assert_false(myna_token_is_eog(m, 1));
  close_file(m, path);
}

/* ---- plan ---- */

static void test_plan(void **state) {
  (void)state;
  myna_model *m = fx_open("llama");
  myna_err err = {0};
  static char text[1 << 16], part[40];
  int64_t len = myna_model_print_plan(m, text, sizeof text, &err);
  assert_true(len > 200 && len < (int64_t)sizeof text);
  text[len] = 0;
  assert_non_null(strstr(text, "attention_paged F32")); /* weights are F32, so is the cache */
  assert_non_null(strstr(text, "linear norm+"));
  assert_non_null(strstr(text, "kv_write"));
  assert_int_equal(myna_model_print_plan(m, part, sizeof part, &err), len);
  assert_memory_equal(part, text, sizeof part);
  assert_int_equal(myna_model_print_plan(m, NULL, 0, &err), len);
  myna_model_close(m);
}

/* ---- sessions ---- */

typedef struct seen {
  int tokens, done, stop_after;
} seen;

static bool watch(void *user, const myna_event *ev) {
  seen *s = user;
  s->tokens += ev->kind == MYNA_EVENT_TOKEN;
  s->done += ev->kind == MYNA_EVENT_DONE;
  return s->stop_after == 0 || s->tokens < s->stop_after;
}

static void test_session(void **state) {
  (void)state;
  myna_model *m = fx_open("llama");
  myna_err err = {0};
  myna_session *s = NULL;
  ASSERT_OK_ERR(myna_session_new(&s, m, &(myna_engine_options){.n_threads = 1, .n_ctx = 2048}, &err), &err);
  int32_t prompt[] = {1, 2, 3};
  myna_request r = fx_greedy(prompt, 3, 20);
  myna_timings t = {0};
  myna_finish finish = MYNA_FINISH_NONE;
  seen all = {0};
  ASSERT_OK_ERR(myna_session_run(s, &r, watch, &all, &t, &finish, &err), &err);
  assert_true(all.tokens == 20 && all.done == 1 && t.n_gen == 20 && t.n_prompt == 3);
  assert_int_equal(finish, MYNA_FINISH_LENGTH);
  ASSERT_OK_ERR(myna_session_run(s, &r, NULL, NULL, NULL, NULL, &err), &err); /* nobody looks */
  /* a callback that has enough */
  r.max_tokens = 1900;
  seen some = {.stop_after = 4};
  ASSERT_OK_ERR(myna_session_run(s, &r, watch, &some, &t, &finish, &err), &err);
  assert_int_equal(finish, MYNA_FINISH_CANCELLED);
  assert_true(some.done == 1 && some.tokens >= 4 && some.tokens < 1900);
  /* what can never run */
  r.n_tokens = 0;
  assert_true(myna_session_run(s, &r, watch, &some, &t, &finish, &err) < 0);
  assert_true(err.code < 0 && err.msg[0]);
  myna_session_free(s);
  myna_session_free(NULL);
  /* options: one sequence unless asked; what the engine refuses, no session has */
  err = (myna_err){0};
  ASSERT_OK_ERR(myna_session_new(&s, m, NULL, &err), &err);
  myna_session_free(s);
  assert_true(myna_session_new(&s, m, &(myna_engine_options){.n_ctx = -1}, &err) < 0);
  assert_null(s);
  myna_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_meta),   cmocka_unit_test(test_long_names), cmocka_unit_test(test_tensors),
      cmocka_unit_test(test_mapped), cmocka_unit_test(test_text),       cmocka_unit_test(test_no_text),
      cmocka_unit_test(test_plan),   cmocka_unit_test(test_session),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
