/* .npy: files by NumPy, our own read back, hostile headers, writing in pieces, failing memory and disk. */
#include "gguf_writer.h"
#include "formats/npy.h"

static void test_numpy(void **state) {
  char path[512];
  myna__npy a;
  myna_err err = {0};
  ASSERT_OK_ERR(myna__npy_open(&a, test_path(path, "tests/fixtures/formats/f4.npy"), &err), &err);
  assert_true(a.type == MYNA_F32 && a.n_dims == 3 && a.n == 24);
  assert_true(a.shape[0] == 2 && a.shape[1] == 3 && a.shape[2] == 4);
  assert_int_equal((uintptr_t)a.data % 64, 0);
  for (int i = 0; i < 24; i++) assert_true(((const float *)a.data)[i] == (float)i / 8 - 1);
  myna__npy_close(&a);
  ASSERT_OK_ERR(myna__npy_open(&a, test_path(path, "tests/fixtures/formats/i4.npy"), &err), &err);
  assert_true(a.type == MYNA_I32 && a.n_dims == 1 && a.n == 7 && a.shape[0] == 7);
  for (int i = 0; i < 7; i++) assert_int_equal(((const int32_t *)a.data)[i], i - 3);
  myna__npy_close(&a);
  ASSERT_OK_ERR(myna__npy_open(&a, test_path(path, "tests/fixtures/formats/scalar.npy"), &err), &err);
  assert_true(a.type == MYNA_F32 && a.n_dims == 0 && a.n == 1);
  assert_true(*(const float *)a.data == 7.25f);
  myna__npy_close(&a);
}

/* What we write is byte for byte what NumPy writes. */
static void test_same_as_numpy(void **state) {
  char path[64], numpy[512];
  float f[24];
  int32_t v[7];
  for (int i = 0; i < 24; i++) f[i] = (float)i / 8 - 1;
  for (int i = 0; i < 7; i++) v[i] = i - 3;
  static const char *const files[] = {"tests/fixtures/formats/f4.npy", "tests/fixtures/formats/i4.npy",
                                      "tests/fixtures/formats/scalar.npy"};
  test_tmpfile(path, "old content that is longer than nothing", 39);
  for (int k = 0; k < 3; k++) {
    myna_err err = {0};
    if (k == 0) ASSERT_OK_ERR(myna__npy_write(path, MYNA_F32, 3, (int64_t[]){2, 3, 4}, f, &err), &err);
    if (k == 1) ASSERT_OK_ERR(myna__npy_write(path, MYNA_I32, 1, (int64_t[]){7}, v, &err), &err);
    if (k == 2) ASSERT_OK_ERR(myna__npy_write(path, MYNA_F32, 0, NULL, &(float){7.25f}, &err), &err);
    gw_bytes ours = read_whole(path), theirs = read_whole(test_path(numpy, files[k]));
    assert_int_equal(ours.n, theirs.n);
    assert_memory_equal(ours.p, theirs.p, ours.n);
    free(ours.p);
    free(theirs.p);
  }
  unlink(path);
}

static void test_round_trip(void **state) {
  static const int64_t shapes[][4] = {{0, 1, 1, 1},         {1, 1, 1, 1}, {5, 3, 0, 2},
                                      {100000000, 0, 7, 7}, {2, 3, 4, 5}, {1, 1, 1, 1000}};
  float data[1000];
  char path[64];
  for (int i = 0; i < 1000; i++) data[i] = (float)i * 0.5f;
  test_tmpfile(path, "", 0);
  for (size_t s = 0; s < MYNA__COUNT(shapes); s++)
    for (int n_dims = 0; n_dims <= 4; n_dims++) {
      int64_t n = 1;
      for (int i = 0; i < n_dims; i++) n *= shapes[s][i];
      if (n > 1000) continue;
      myna_err err = {0};
      myna__npy a;
      ASSERT_OK_ERR(myna__npy_write(path, MYNA_F32, n_dims, shapes[s], data, &err), &err);
      ASSERT_OK_ERR(myna__npy_open(&a, path, &err), &err);
      assert_true(a.n == n && a.n_dims == n_dims);
      for (int i = 0; i < n_dims; i++) assert_int_equal(a.shape[i], shapes[s][i]);
      assert_memory_equal(a.data, data, (size_t)n * 4);
      assert_int_equal((a.file.size - (size_t)n * 4) % 64, 0);
      myna__npy_close(&a);
    }
  unlink(path);
}

/* Preamble, the header's length, the header, data. */
static gw_bytes make(const char *header, size_t data) {
  gw_bytes b = {0};
  gw_add(&b, "\x93NUMPY\x01\x00", 8);
  gw_int(&b, 2, strlen(header));
  gw_add(&b, header, strlen(header));
  for (size_t i = 0; i < data; i++) gw_int(&b, 1, i);
  return b;
}

static int parse(const uint8_t *p, size_t n, myna_err *err) {
  uint8_t *copy = exact_copy(p, n);
  myna__npy a;
  int rc = myna__npy_parse(&a, copy, n, "test.npy", err);
  assert_true(rc <= 0);
  if (rc == 0) {
    assert_ptr_equal((const uint8_t *)a.data + 4 * a.n, copy + n);
    myna__npy_close(&a);
  } else
    assert_true(a.data == NULL && a.file.path == NULL);
  free(copy);
  return rc;
}

#define DICT(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }\n"

static void test_refused(void **state) {
  static const struct {
    const char *header;
    size_t data;
    const char *message;
    int at; /* in the header, -1 not checked */
  } cases[] = {
      {"", 0, "not a dict", 0},
      {"[]", 0, "not a dict", 0},
      {"{", 0, "missing key", 1},
      {"{}", 4, "missing key", 2},
      {"{'descr': '<f4'}", 4, "missing key", -1},
      {"{'descr': '<f4', 'fortran_order': False}", 4, "missing key", -1},
      {"{'descr': '<f4', 'shape': ()}", 4, "missing key", -1},
      {"{'fortran_order': False, 'shape': ()}", 4, "missing key", -1},
      {"{'shape': ()}", 4, "missing key", -1},
      {DICT("<f8", "False", "(1,)"), 8, "only little-endian float32", 10},
      {DICT(">f4", "False", "(1,)"), 4, "only little-endian", 10},
      {DICT("|O", "False", "(1,)"), 8, "only little-endian", 10},
      {DICT("<f4", "True", "(1,)"), 4, "only C order", 34},
      {DICT("<f4", "false", "(1,)"), 4, "only C order", 34},
      {DICT("<f4", "False", "1"), 4, "not a tuple", 50},
      {DICT("<f4", "False", "(1)"), 4, "not a tuple", 52},
      {DICT("<f4", "False", "(1, 2"), 8, "dimension is not a number", -1},
      {DICT("<f4", "False", "(,)"), 4, "dimension is not a number", 51},
      {DICT("<f4", "False", "(-1,)"), 4, "dimension is not a number", 51},
      {DICT("<f4", "False", "(1L,)"), 4, "not a tuple", -1},
      {DICT("<f4", "False", "(1, 1, 1, 1, 1)"), 4, "more than 4 dimensions", -1},
      {DICT("<f4", "False", "(9223372036854775808,)"), 4, "too large", -1},
      {DICT("<f4", "False", "(99999999999999999999,)"), 4, "too large", -1},
      {DICT("<f4", "False", "(4294967296, 4294967296)"), 0, "the shape's size overflows", 0},
      {DICT("<f4", "False", "(4611686018427387904,)"), 0, "the shape's size overflows", 0},
      {DICT("<f4", "False", "(2305843009213693952,)"), 0, "the shape's size overflows", 0},
      {DICT("<f4", "False", "(3,)"), 11, "does not have the size of the shape", 58},
      {DICT("<f4", "False", "(3,)"), 13, "does not have the size of the shape", -1},
      {DICT("<f4", "False", "(3,)") "x", 12, "bytes after the header's dict", -1},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4, "repeated", 17},
      {"{'fortran_order': False, 'fortran_order': False, 'descr': '<f4', 'shape': (1,)}", 4, "repeated", -1},
      {"{'shape': (1,), 'shape': (1,), 'fortran_order': False, 'descr': '<f4'}", 4, "repeated", -1},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}", 4, "unknown", -1},
      {"{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", 4, "not a dict", 16},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", 4, "not a dict", -1},
  };
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    gw_bytes b = make(cases[i].header, cases[i].data);
    myna_err err = {0};
    int rc = parse(b.p, b.n, &err);
    if (rc != MYNA_E_FORMAT) fail_msg("%s: %d", cases[i].header, rc);
    if (!strstr(err.msg, cases[i].message))
      fail_msg("%s: \"%s\" without \"%s\"", cases[i].header, err.msg, cases[i].message);
    if (cases[i].at >= 0 && err.offset != 10 + cases[i].at)
      fail_msg("%s: offset %lld", cases[i].header, (long long)err.offset - 10);
    assert_string_equal(err.file, "test.npy");
    free(b.p);
  }
}

static void test_accepted(void **state) {
  static const char *const headers[] = {
      DICT("<f4", "False", "(2, 3)"),
      "{'shape': (2,3), 'fortran_order': False, 'descr': '<i4'}",
      "  { 'descr': '<f4' , 'fortran_order': False , 'shape': ( 6, ) , } \n\n",
      "{'descr':'<f4','fortran_order':False,'shape':(1,6,1,1)}",
      "{'descr':'<f4','fortran_order':False,'shape':(1,6,)}",
  };
  for (size_t i = 0; i < MYNA__COUNT(headers); i++) {
    gw_bytes b = make(headers[i], 24);
    myna_err err = {0};
    ASSERT_OK_ERR(parse(b.p, b.n, &err), &err);
    for (size_t n = 0; n < b.n; n++) assert_int_equal(parse(b.p, n, NULL), MYNA_E_FORMAT); /* every prefix */
    free(b.p);
  }
  gw_bytes b = make(headers[0], 24);
  b.p[6] = 2;
  myna_err err = {0};
  ASSERT_FAILS(parse(b.p, b.n, &err), MYNA_E_FORMAT, &err, "version 1.0");
  assert_int_equal(err.offset, 6);
  b.p[0] = 'x';
  err.code = 0;
  ASSERT_FAILS(parse(b.p, b.n, &err), MYNA_E_FORMAT, &err, "not a .npy file");
  char path[64];
  test_tmpfile(path, b.p, b.n);
  myna__npy a;
  err.code = 0;
  ASSERT_FAILS(myna__npy_open(&a, path, &err), MYNA_E_FORMAT, &err, "not a .npy file");
  assert_true(strcmp(err.file, path) == 0 && a.file.data == NULL);
  unlink(path);
  free(b.p);
}

static void test_pieces(void **state) {
  char path[64];
  test_tmpfile(path, "", 0);
  myna__npy_writer w;
  myna_err err = {0};
  assert_int_equal(myna__npy_begin(&w, path, MYNA_F32, 2, (int64_t[]){3, 2}, &err), 0);
  for (int i = 0; i < 3; i++) assert_int_equal(myna__npy_append(&w, (float[]){(float)i, (float)-i}, 8, &err), 0);
  ASSERT_OK(myna__npy_append(&w, NULL, 0, &err));
  assert_int_equal(myna__npy_end(&w, &err), 0);
  myna__npy a;
  ASSERT_OK_ERR(myna__npy_open(&a, path, &err), &err);
  assert_true(((const float *)a.data)[4] == 2.0f && ((const float *)a.data)[5] == -2.0f);
  myna__npy_close(&a);

  /* too few, too many, given up: nothing stays behind */
  ASSERT_OK(myna__npy_begin(&w, path, MYNA_F32, 1, (int64_t[]){3}, &err));
  ASSERT_OK(myna__npy_append(&w, (float[]){1}, 4, &err));
  ASSERT_FAILS(myna__npy_end(&w, &err), MYNA_E_ARG, &err, "8 bytes are missing");
  assert_true(err.offset == -1 && strcmp(err.file, path) == 0);
  assert_int_equal(access(path, F_OK), -1);
  err.code = 0;
  ASSERT_OK(myna__npy_begin(&w, path, MYNA_F32, 1, (int64_t[]){1}, &err));
  ASSERT_FAILS(myna__npy_append(&w, (float[]){1, 2}, 8, &err), MYNA_E_ARG, &err, "8 bytes where 4 are left");
  assert_int_equal(err.offset, -1);
  assert_int_equal(access(path, F_OK), -1);
  assert_int_equal(myna__npy_append(&w, (float[]){1}, 4, NULL), MYNA_E_ARG);
  assert_int_equal(myna__npy_end(&w, NULL), MYNA_E_ARG);
  ASSERT_OK(myna__npy_begin(&w, path, MYNA_F32, 1, (int64_t[]){1}, &err));
  assert_int_equal(myna__npy_append(&w, (float[]){1}, -4, NULL), MYNA_E_ARG);
  ASSERT_OK(myna__npy_begin(&w, path, MYNA_F32, 1, (int64_t[]){1}, &err));
  myna__npy_abort(&w);
  assert_int_equal(access(path, F_OK), -1);
  myna__npy_abort(&w); /* twice is fine */
}

static void test_cannot_write(void **state) {
  myna_err err = {0};
  float x = 1;
  ASSERT_FAILS(myna__npy_write("/nonexistent/x.npy", MYNA_F32, 1, (int64_t[]){1}, &x, &err), MYNA_E_IO, &err,
               "cannot write");
  assert_string_equal(err.file, "/nonexistent/x.npy");
  static const struct {
    myna_dtype type;
    int n_dims;
    int64_t shape[5];
  } bad[] = {{MYNA_F16, 1, {1}},  {MYNA_F32, 5, {1, 1, 1, 1, 1}}, {MYNA_F32, -1, {1}},
             {MYNA_F32, 1, {-1}}, {MYNA_I32, 2, {INT64_MAX, 2}},  {MYNA_I32, 1, {INT64_MAX / 2}}};
  for (size_t i = 0; i < MYNA__COUNT(bad); i++) {
    err.code = 0;
    /* place: the file as a whole */
    ASSERT_FAILS(myna__npy_write("/tmp/never.npy", bad[i].type, bad[i].n_dims, bad[i].shape, &x, &err), MYNA_E_ARG,
                 &err, "only float32 and int32");
    assert_int_equal(err.offset, -1);
  }
  if (access("/dev/full", W_OK) != 0) skip();
  static float many[100000];
  err.code = 0;
  ASSERT_FAILS(myna__npy_write("/dev/full", MYNA_F32, 1, (int64_t[]){100000}, many, &err), MYNA_E_IO, &err,
               "No space left");
  err.code = 0;
  ASSERT_FAILS(myna__npy_write("/dev/full", MYNA_F32, 1, (int64_t[]){1}, many, &err), MYNA_E_IO, &err, "No space left");
  assert_int_equal(access("/dev/full", W_OK), 0); /* not removed */
}

static void test_no_memory(void **state) {
  char path[64];
  gw_bytes b = make(DICT("<f4", "False", "(1,)"), 4);
  test_tmpfile(path, "", 0);
  test_failing failing;
  test_fail_at(&failing, 1);
  myna_err err = {0};
  ASSERT_FAILS(parse(b.p, b.n, &err), MYNA_E_NOMEM, &err, "no memory");
  test_fail_at(&failing, 1);
  err.code = 0;
  ASSERT_FAILS(myna__npy_write(path, MYNA_F32, 0, NULL, &(float){1}, &err), MYNA_E_NOMEM, &err, "no memory");
  test_fail_at(&failing, 0);
  ASSERT_OK(myna__npy_write(path, MYNA_F32, 0, NULL, &(float){1}, NULL));
  assert_int_equal(failing.live, 0);
  test_fail_off();
  unlink(path);
  free(b.p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numpy),        cmocka_unit_test(test_same_as_numpy), cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_refused),      cmocka_unit_test(test_accepted),      cmocka_unit_test(test_pieces),
      cmocka_unit_test(test_cannot_write), cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
