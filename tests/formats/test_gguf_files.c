/* GGUF files of others: one by the Python gguf package with its reader's dump, the shared malformed files with their
 * verdicts; and sets of splits on disk. */
#include "gguf_writer.h"
#include "formats/gguf.h"
#include <sys/stat.h>

/* ---- the Python package (tests/fixtures/formats/make_formats.py) ---- */

static void dump_kv(FILE *out, const myna__gguf *g, const myna__gguf_kv *kv) {
  bool array = kv->type == MYNA__GGUF_ARR;
  myna__gguf_type type = array ? kv->elem : kv->type;
  char key[200];
  snprintf(key, sizeof key, "%.*s", (int)kv->key.n, kv->key.p);
  fprintf(out, "kv\t%s\t%s%s\t%llu\t", key, array ? "arr " : "", myna__gguf_type_name(type),
          (unsigned long long)kv->count);
  const uint8_t *p = kv->data;
  for (uint64_t i = 0; i < kv->count; i++) {
    int64_t v = 0;
    double d = 0;
    if (i) fputc(' ', out);
    if (type == MYNA__GGUF_STR) {
      myna__str s = myna__gguf_next_str(&p);
      dump_str(out, s.p, s.n);
    } else if (type == MYNA__GGUF_F32 || type == MYNA__GGUF_F64) {
      assert_int_equal(myna__gguf_at_f64(g, key, i, &d, NULL), 1);
      fprintf(out, "%.17g", d);
    } else {
      assert_int_equal(myna__gguf_at_i64(g, key, i, &v, NULL), 1);
      fprintf(out, "%lld", (long long)v);
    }
  }
  fputc('\n', out);
}

/* The same lines as the script writes. */
static void dump(FILE *out, const myna__gguf *g) {
  fprintf(out, "gguf\tversion %u\talignment %u\n", g->version, g->alignment);
  for (int64_t i = 0; i < g->n_kv; i++) dump_kv(out, g, &g->kvs[i]);
  for (int64_t i = 0; i < g->n_tensors; i++) {
    const myna__gguf_tensor *t = &g->tensors[i];
    fprintf(out, "tensor\t%.*s\t%s\t", (int)t->name.n, t->name.p, myna_dtype_name(t->type));
    for (int d = 0; d < t->n_dims; d++) fprintf(out, "%s%lld", d ? "x" : "", (long long)t->dims[d]);
    fprintf(out, "\t%llu\t%llu\t%016llx\n", (unsigned long long)t->bytes, (unsigned long long)t->offset,
            (unsigned long long)fnv(t->data, t->bytes));
  }
}

static void test_python(void **state) {
  char path[512], text[512];
  char *got = NULL;
  size_t n = 0;
  myna__gguf g;
  myna_err err = {0};
  ASSERT_OK_ERR(myna__gguf_open(&g, test_path(path, "tests/fixtures/formats/mixed.gguf"), NULL, &err), &err);
  FILE *out = open_memstream(&got, &n);
  dump(out, &g);
  fclose(out);
  gw_bytes want = read_whole(test_path(text, "tests/fixtures/formats/mixed.gguf.tsv"));
  gw_add(&want, "", 1);
  assert_string_equal(got, (char *)want.p);
  assert_true(g.n_tensors > 30 && g.n_kv > 25);
  myna__gguf_close(&g);
  free(got);
  free(want.p);
}

/* The package's splits: three files, metadata in the first. */
static void test_python_splits(void **state) {
  char path[512];
  static const char *const files[] = {"split-00001-of-00003.gguf", "split-00002-of-00003.gguf",
                                      "split-00003-of-00003.gguf"};
  for (int given = 0; given < 3; given++) {
    snprintf(path, sizeof path, "%s/tests/fixtures/formats/%s", MYNA_ROOT, files[given]);
    myna__gguf g;
    myna_err err = {0};
    ASSERT_OK_ERR(myna__gguf_open(&g, path, NULL, &err), &err);
    assert_int_equal(g.n_files, 3);
    assert_int_equal(g.n_tensors, 5);
    int64_t v;
    assert_int_equal(myna__gguf_i64(&g, "llama.block_count", &v, NULL), 1);
    for (int i = 0; i < 5; i++) {
      char name[16];
      snprintf(name, sizeof name, "t%d", i);
      const myna__gguf_tensor *t = myna__gguf_tensor_find(&g, name);
      assert_ptr_equal(t, &g.tensors[i]);
      assert_int_equal(t->file, i / 2);
      float f;
      memcpy(&f, t->data, 4);
      assert_true(f == (float)i + 0.5f);
    }
    myna__gguf_close(&g);
  }
}

/* ---- shared data ---- */

static void test_malformed(void **state) {
  char path[512], verdicts[512];
  if (!shared_path(verdicts, "malformed/gguf-handcrafted/expected.tsv")) skip();
  gw_bytes tsv = read_whole(verdicts);
  gw_add(&tsv, "", 1);
  int n = 0;
  for (char *line = strtok((char *)tsv.p, "\n"); line; line = strtok(NULL, "\n")) {
    char file[200], expect[50], level[50];
    if (sscanf(line, "%199[^\t]\t%49[^\t]\t%49[^\t]", file, expect, level) != 3 || strcmp(file, "file") == 0) continue;
    snprintf(path, sizeof path, "%s/../shared/data/malformed/gguf-handcrafted/%s", MYNA_ROOT, file);
    myna__gguf g;
    myna_err err = {0};
    bool metadata = strcmp(level, "metadata only") == 0;
    int rc = myna__gguf_open(&g, path, &(myna__gguf_options){.header_only = metadata}, &err);
    if (strcmp(expect, "load-ok") == 0) {
      if (rc < 0) fail_msg("%s: %s", file, err.msg);
      myna__gguf_close(&g);
    } else {
      if (rc >= 0) fail_msg("%s was accepted", file);
      assert_string_equal(err.file, path + (strlen(path) > 255 ? strlen(path) - 255 : 0));
      assert_true(err.offset >= 0 && strlen(err.msg) > 10);
    }
    n++;
  }
  free(tsv.p);
  assert_true(n >= 31);
}

/* ---- splits ---- */

typedef struct folder {
  char path[64];
} folder;

static folder make_folder(void) {
  folder f;
  snprintf(f.path, sizeof f.path, "/tmp/myna-split-XXXXXX");
  if (!mkdtemp(f.path)) fail_msg("no temporary folder");
  return f;
}

static const char *in_folder(char buf[256], const folder *f, const char *name) {
  snprintf(buf, 256, "%s/%s", f->path, name);
  return buf;
}

static void put_file(const folder *f, const char *name, gw *w) {
  char path[256];
  gw_bytes b = gw_finish(w);
  FILE *out = fopen(in_folder(path, f, name), "wb");
  if (!out || fwrite(b.p, 1, b.n, out) != b.n || fclose(out) != 0) fail_msg("cannot write %s", path);
  free(b.p);
}

/* One split with `n` tensors called PREFIX0... */
static gw split(int no, int count, const char *prefix, int n) {
  gw w = gw_new(3);
  if (count >= 0) gw_num(&w, "split.count", GW_U16, (uint64_t)count);
  if (no >= 0) gw_num(&w, "split.no", GW_U16, (uint64_t)no);
  for (int i = 0; i < n; i++) {
    char name[32];
    snprintf(name, sizeof name, "%s%d", prefix, i);
    gw_tensor(&w, name, 0, (int64_t[]){8}, 1, NULL, 32);
  }
  return w;
}

/* A right set of three: m-0000?-of-00003.gguf with 2, 0 and 3 tensors. */
static folder good_set(void) {
  folder f = make_folder();
  gw w = split(0, 3, "a", 2);
  gw_num(&w, "split.tensors.count", GW_I32, 5);
  gw_str(&w, "general.architecture", "test");
  put_file(&f, "m-00001-of-00003.gguf", &w);
  w = split(1, 3, "b", 0);
  gw_u32(&w, "general.alignment", 64);
  put_file(&f, "m-00002-of-00003.gguf", &w);
  w = split(2, 3, "c", 3);
  put_file(&f, "m-00003-of-00003.gguf", &w);
  return f;
}

static void remove_folder(folder *f) {
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", f->path);
  if (system(command) != 0) fail_msg("cannot remove %s", f->path);
}

static char log_line[1024];
static void keep_log(void *user, int level, const char *line) {
  assert_int_equal(level, 2);
  snprintf(log_line, sizeof log_line, "%s", line);
}

static void test_splits(void **state) {
  folder f = good_set();
  char path[256];
  myna_set_log(keep_log, NULL);
  for (int given = 1; given <= 3; given++)
    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
      char name[64];
      snprintf(name, sizeof name, "m-%05d-of-00003.gguf", given);
      myna__gguf g;
      myna_err err = {0};
      log_line[0] = 0;
      ASSERT_OK_ERR(myna__gguf_open(&g, in_folder(path, &f, name), &(myna__gguf_options){.no_mmap = no_mmap}, &err),
                    &err);
      char want[64];
      snprintf(want, sizeof want, " is split %d of 3: opening the set from its first file", given);
      assert_int_equal(strstr(log_line, want) != NULL, given != 1);
      assert_int_equal(log_line[0] != 0, given != 1);
      assert_int_equal(g.n_files, 3);
      assert_int_equal(g.n_tensors, 5);
      assert_int_equal(g.alignment, 32); /* of the first */
      assert_non_null(myna__gguf_find(&g, "general.architecture"));
      assert_non_null(strstr(g.files[0].path, "00001-of"));
      assert_non_null(strstr(g.files[2].path, "00003-of"));
      const myna__gguf_tensor *t = myna__gguf_tensor_find(&g, "c2");
      assert_ptr_equal(t, &g.tensors[4]);
      assert_int_equal(t->file, 2);
      assert_ptr_equal(t->data, g.files[2].data + t->offset);
      assert_int_equal(t->data[1], (2 * 37 + 1) & 0xFF);
      myna__gguf_close(&g);
      /* one file alone */
      ASSERT_OK_ERR(myna__gguf_open(&g, path, &(myna__gguf_options){.header_only = true}, &err), &err);
      assert_int_equal(g.n_files, 1);
      myna__gguf_close(&g);
    }
  myna_set_log(NULL, NULL);
  remove_folder(&f);
}

/* Opens split `given` of a set; it must fail with these words about this place in this file. */
static void must_fail_at(folder *f, int given, int code, const char *message, const char *file, int64_t offset) {
  char path[256], name[64];
  int64_t before = myna__mem_in_use();
  snprintf(name, sizeof name, "m-%05d-of-00003.gguf", given);
  myna__gguf g;
  myna_err err = {0};
  ASSERT_FAILS(myna__gguf_open(&g, in_folder(path, f, name), NULL, &err), code, &err, message);
  if (!strstr(err.file, file)) fail_msg("\"%s\" is blamed on %s, not on %s", err.msg, err.file, file);
  assert_true(g.files == NULL);
  if (offset != INT64_MIN) assert_int_equal(err.offset, offset);
  assert_int_equal(myna__mem_in_use(), before);
  assert_int_equal(myna__gguf_open(&g, path, NULL, NULL), code);
  remove_folder(f);
}

static void must_fail(folder *f, int given, int code, const char *message, const char *file) {
  must_fail_at(f, given, code, message, file, INT64_MIN);
}

static void test_bad_splits(void **state) {
  char path[256], other[256];
  folder f = good_set();
  unlink(in_folder(path, &f, "m-00002-of-00003.gguf"));
  must_fail_at(&f, 1, MYNA_E_NOTFOUND, "split 2 of 3 is missing", "m-00002-of", -1);

  f = good_set();
  unlink(in_folder(path, &f, "m-00001-of-00003.gguf"));
  must_fail_at(&f, 3, MYNA_E_NOTFOUND, "split 1 of 3 is missing", "m-00001-of", -1);

  f = good_set(); /* a copy of another split under this name */
  in_folder(path, &f, "m-00003-of-00003.gguf");
  unlink(path);
  assert_int_equal(link(in_folder(other, &f, "m-00002-of-00003.gguf"), path), 0);
  must_fail(&f, 1, MYNA_E_FORMAT, "the file says it is split 1, its name says 2", "m-00003-of");

  f = good_set(); /* the first one again: would be a cycle */
  in_folder(path, &f, "m-00002-of-00003.gguf");
  unlink(path);
  assert_int_equal(symlink("m-00001-of-00003.gguf", path), 0);
  must_fail_at(&f, 1, MYNA_E_FORMAT, "says it is split 0, its name says 1", "m-00002-of", 24 + 25 + 8 + 8 + 4);

  f = good_set(); /* a link to itself */
  in_folder(path, &f, "m-00002-of-00003.gguf");
  unlink(path);
  assert_int_equal(symlink("m-00002-of-00003.gguf", path), 0);
  must_fail(&f, 1, MYNA_E_IO, "cannot open", "m-00002-of");

  f = good_set();
  gw w = split(1, 4, "b", 1);
  put_file(&f, "m-00002-of-00003.gguf", &w);
  must_fail_at(&f, 1, MYNA_E_FORMAT, "one of 4 splits, the first one says 3", "m-00002-of", 24 + 8 + 11 + 4);

  f = good_set();
  w = split(-1, -1, "b", 1);
  put_file(&f, "m-00002-of-00003.gguf", &w);
  must_fail_at(&f, 1, MYNA_E_FORMAT, "not a split: split.count is missing, expected 3", "m-00002-of", -1);

  f = good_set();
  w = split(2, 3, "a", 1);
  put_file(&f, "m-00003-of-00003.gguf", &w);
  must_fail_at(&f, 1, MYNA_E_FORMAT, "tensor 'a0' is in an earlier split too", "m-00003-of", 24 + 25 + 22);

  f = good_set(); /* fewer tensors than announced */
  w = split(2, 3, "c", 2);
  put_file(&f, "m-00003-of-00003.gguf", &w);
  must_fail(&f, 1, MYNA_E_FORMAT, "5 tensors are announced, the splits hold 4", "m-00001-of");

  f = good_set();
  w = split(0, 3, "a", 2);
  put_file(&f, "m-00001-of-00003.gguf", &w);
  must_fail_at(&f, 1, MYNA_E_FORMAT, "split.tensors.count is missing", "m-00001-of", -1);

  f = good_set();
  w = split(0, 3, "a", 2);
  gw_num(&w, "split.tensors.count", GW_I32, (uint64_t)-1);
  put_file(&f, "m-00001-of-00003.gguf", &w);
  must_fail(&f, 1, MYNA_E_FORMAT, "-1 is out of range", "m-00001-of");

  f = good_set(); /* a broken split */
  assert_int_equal(truncate(in_folder(path, &f, "m-00003-of-00003.gguf"), 100), 0);
  must_fail(&f, 1, MYNA_E_FORMAT, "the file ends inside", "m-00003-of");

  f = good_set(); /* the name counts from 1 */
  w = split(1, 3, "a", 2);
  put_file(&f, "m-00001-of-00003.gguf", &w);
  must_fail_at(&f, 1, MYNA_E_FORMAT, "split 2 of 3, but its name does not end in -00002-of-00003.gguf", "m-00001-of",
               -1);
}

/* Names that do not say which split they are; and a set of one. */
static void test_split_names(void **state) {
  folder f = make_folder();
  char path[256];
  static const char *const names[] = {"model.gguf", "-00001-of-00002.gguf", "m-00001-of-00003.gguf", "m-1-of-2.gguf"};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    gw w = split(0, 2, "a", 1);
    put_file(&f, names[i], &w);
    myna__gguf g;
    myna_err err = {0};
    int rc = myna__gguf_open(&g, in_folder(path, &f, names[i]), NULL, &err);
    assert_int_equal(rc, i == 1 ? MYNA_E_NOTFOUND : MYNA_E_FORMAT);
    assert_non_null(
        strstr(err.msg, i == 1 ? "split 2 of 2 is missing" : "its name does not end in -00001-of-00002.gguf"));
    /* and the shortest possible name, relative */
    if (i != 1) continue;
    char old[512];
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir(f.path), 0);
    err.code = 0;
    assert_int_equal(myna__gguf_open(&g, names[i], NULL, &err), MYNA_E_FORMAT); /* nothing before the pattern */
    assert_int_equal(chdir(old), 0);
  }
  gw w = split(0, 1, "a", 1);
  put_file(&f, "whole.gguf", &w);
  myna__gguf g;
  ASSERT_OK(myna__gguf_open(&g, in_folder(path, &f, "whole.gguf"), NULL, NULL));
  assert_int_equal(g.n_tensors, 1);
  myna__gguf_close(&g);
  remove_folder(&f);
}

/* More splits than the table of files starts with. */
static void test_many_splits(void **state) {
  enum { N = 100 };
  folder f = make_folder();
  char path[256], name[64];
  for (int i = 0; i < N; i++) {
    char prefix[16];
    snprintf(prefix, sizeof prefix, "s%d.", i);
    gw w = split(i, N, prefix, 2);
    if (i == 0) gw_num(&w, "split.tensors.count", GW_I32, 2 * N);
    snprintf(name, sizeof name, "m-%05d-of-%05d.gguf", i + 1, N);
    put_file(&f, name, &w);
  }
  myna__gguf g;
  myna_err err = {0};
  ASSERT_OK_ERR(myna__gguf_open(&g, in_folder(path, &f, "m-00050-of-00100.gguf"), NULL, &err), &err);
  assert_int_equal(g.n_files, N);
  assert_int_equal(g.n_tensors, 2 * N);
  const myna__gguf_tensor *t = myna__gguf_tensor_find(&g, "s99.1");
  assert_true(t && t->file == 99 && t->data == g.files[99].data + t->offset);
  myna__gguf_close(&g);
  remove_folder(&f);
}

static void test_no_memory(void **state) {
  folder f = good_set();
  char path[256];
  gw w = split(1, 3, "b", 40); /* tables and maps must grow while the parts are put together */
  put_file(&f, "m-00002-of-00003.gguf", &w);
  w = split(0, 3, "a", 2);
  gw_num(&w, "split.tensors.count", GW_I32, 45);
  put_file(&f, "m-00001-of-00003.gguf", &w);
  in_folder(path, &f, "m-00002-of-00003.gguf");
  for (int n = 1;; n++) {
    test_failing failing;
    myna_err err = {0};
    test_fail_at(&failing, n);
    myna__gguf g;
    int rc = myna__gguf_open(&g, path, NULL, &err);
    if (rc == 0) myna__gguf_close(&g);
    test_fail_off();
    assert_int_equal(failing.live, 0);
    assert_int_equal(rc, failing.failed ? MYNA_E_NOMEM : 0);
    assert_int_equal(err.code, rc);
    if (!failing.failed) break;
  }
  remove_folder(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_python),      cmocka_unit_test(test_python_splits), cmocka_unit_test(test_malformed),
      cmocka_unit_test(test_splits),      cmocka_unit_test(test_bad_splits),    cmocka_unit_test(test_split_names),
      cmocka_unit_test(test_many_splits), cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
