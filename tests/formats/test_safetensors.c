/* The safetensors reader: valid files, every prefix, hostile headers with the place of the fault, a file by the
 * Python package, the shared malformed files, failing memory. */
#include "gguf_writer.h"
#include "formats/safetensors.h"

/* u64 length | header | n bytes of data 0, 1, 2... */
static gw_bytes make(const char *header, size_t n) {
  gw_bytes b = {0};
  gw_text(&b, header, strlen(header));
  for (size_t i = 0; i < n; i++) gw_int(&b, 1, i & 0xFF);
  return b;
}

static int parse(const uint8_t *p, size_t n, myna_err *err) {
  uint8_t *copy = exact_copy(p, n);
  myna__safetensors s;
  int rc = myna__st_parse(&s, copy, n, "test.st", err);
  assert_true(rc <= 0);
  if (rc == 0)
    myna__st_close(&s);
  else
    assert_true(s.file.data == NULL && s.tensors == NULL && s.meta == NULL);
  free(copy);
  return rc;
}

#define INFO(dtype, shape, begin, end) \
  "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"
static const char sample[] = " {\"__metadata__\":{\"format\":\"pt\",\"k\\u00e9y\":\"\\tv\\\"\"}, \"a.weight\":" INFO(
    "F16", "2,3", 0,
    12) ",\n"
        "\"b\\n\": {\"data_offsets\":[12,16],\"other\":[{\"x\":null}],\"shape\":[ ],\"dtype\":\"I32\"},"
        "\"e\":" INFO("U8", "0,5", 16, 16) ",\"f4\":" INFO("F4", "4", 16, 18) "}   ";

static void test_valid(void **state) {
  gw_bytes b = make(sample, 18);
  uint8_t *copy = exact_copy(b.p, b.n);
  myna__safetensors s;
  myna_err err = {0};
  int64_t before = myna__mem_in_use();
  ASSERT_OK_ERR(myna__st_parse(&s, copy, b.n, "sample", &err), &err);
  assert_int_equal(s.n_tensors, 4);
  assert_int_equal(s.n_meta, 2);
  assert_true(myna__str_eq(myna__st_meta(&s, "format"), "pt"));
  assert_true(myna__str_eq(myna__st_meta(&s, "k\xc3\xa9y"), "\tv\""));
  assert_null(myna__st_meta(&s, "form").p);
  const myna__st_tensor *t = myna__st_find(&s, "a.weight");
  assert_ptr_equal(t, &s.tensors[0]);
  assert_string_equal(t->dtype, "F16");
  assert_int_equal(t->type, MYNA_F16);
  assert_true(t->n_dims == 2 && t->shape[0] == 2 && t->shape[1] == 3);
  assert_int_equal(t->bytes, 12);
  assert_int_equal(t->offset, 8 + sizeof sample - 1);
  assert_ptr_equal(t->data, copy + t->offset);
  t = myna__st_find(&s, "b\n");
  assert_true(t && t->type == MYNA_I32 && t->n_dims == 0 && t->bytes == 4 && t->data[0] == 12);
  t = myna__st_find(&s, "e");
  assert_true(t && t->type == MYNA_U8 && t->n_dims == 2 && t->bytes == 0);
  t = myna__st_find(&s, "f4");
  assert_true(t && t->type == -1 && t->bytes == 2 && t->data[1] == 17);
  assert_string_equal(t->dtype, "F4");
  assert_null(myna__st_find(&s, "__metadata__"));
  assert_null(myna__st_find(&s, "a.weigh"));
  myna__st_close(&s);
  assert_int_equal(myna__mem_in_use(), before);
  free(copy);
  free(b.p);
}

static void test_open(void **state) {
  gw_bytes b = make(sample, 18);
  char path[64];
  test_tmpfile(path, b.p, b.n);
  for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
    myna__safetensors s;
    myna_err err = {0};
    ASSERT_OK_ERR(myna__st_open(&s, path, no_mmap, &err), &err);
    assert_int_equal(s.file.mapped, !no_mmap);
    assert_int_equal(myna__st_find(&s, "a.weight")->data[11], 11);
    myna__st_close(&s);
  }
  assert_int_equal(truncate(path, (off_t)b.n - 1), 0);
  myna__safetensors s;
  myna_err err = {0};
  ASSERT_FAILS(myna__st_open(&s, path, false, &err), MYNA_E_FORMAT, &err, "tensor 'f4': data ends at byte 18 of 17");
  assert_string_equal(err.file, path);
  unlink(path);
  err.code = 0;
  ASSERT_FAILS(myna__st_open(&s, path, false, &err), MYNA_E_NOTFOUND, &err, "cannot open");
  free(b.p);
}

/* Every prefix fails with a place inside it, and one byte more does too: data is covered exactly. */
static void test_prefixes(void **state) {
  gw_bytes b = make(sample, 18);
  for (size_t n = 0; n < b.n; n++) {
    myna_err err = {0};
    if (parse(b.p, n, &err) != MYNA_E_FORMAT) fail_msg("prefix of %zu bytes of %zu", n, b.n);
    assert_string_equal(err.file, "test.st");
    assert_true(err.offset >= 0 && err.offset <= (int64_t)n && strlen(err.msg) > 10);
  }
  gw_int(&b, 1, 0);
  myna_err err = {0};
  ASSERT_FAILS(parse(b.p, b.n, &err), MYNA_E_FORMAT, &err, "the tensors cover 18 bytes of data, the file has 19");
  assert_int_equal(err.offset, b.n - 1);
  free(b.p);
}

static void test_flipped_bytes(void **state) {
  gw_bytes b = make(sample, 18);
  for (size_t i = 0; i < b.n; i++)
    for (int flip = 1; flip < 256; flip += 9) {
      b.p[i] ^= (uint8_t)flip;
      myna_err err = {0};
      if (parse(b.p, b.n, &err) < 0) assert_true(err.code != 0 && err.msg[0] && err.offset >= 0);
      b.p[i] ^= (uint8_t)flip;
    }
  free(b.p);
}

static const struct hostile {
  const char *name, *header;
  size_t data;
  int code;
  const char *message;
  int at; /* offset in the header, -1 not checked */
} hostile[] = {
    {"empty header", "", 0, MYNA_E_FORMAT, "ends where a value must follow", 0},
    {"only spaces", "    ", 0, MYNA_E_FORMAT, "ends where a value must follow", 4},
    {"array", "[]", 0, MYNA_E_FORMAT, "expected an object, found an array", 0},
    {"string", "\"a\"", 0, MYNA_E_FORMAT, "expected an object, found a string", 0},
    {"not JSON", "{\"a\":}", 0, MYNA_E_FORMAT, "expected a value", 5},
    {"not UTF-8", "{\"\xff\":1}", 0, MYNA_E_FORMAT, "UTF-8", 2},
    {"two documents", "{}{}", 0, MYNA_E_FORMAT, "nothing after the end", 2},
    {"tensor is a number", "{\"a\":1}", 0, MYNA_E_FORMAT, "expected an object, found a number", 5},
    {"tensor is null", "{\"a\":null}", 0, MYNA_E_FORMAT, "expected an object, found null", 5},
    {"tensor is an array", "{\"a\":[\"U8\",[1],[0,1]]}", 1, MYNA_E_FORMAT, "expected an object, found an array", 5},
    {"name twice", "{\"a\":" INFO("U8", "1", 0, 1) ",\"a\":" INFO("U8", "1", 1, 2) "}", 2, MYNA_E_FORMAT,
     "tensor 'a' occurs twice", 53},
    {"name twice, escaped", "{\"a\":" INFO("U8", "1", 0, 1) ",\"\\u0061\":" INFO("U8", "1", 1, 2) "}", 2, MYNA_E_FORMAT,
     "tensor 'a' occurs twice", 53},
    {"metadata is a number", "{\"__metadata__\":1}", 0, MYNA_E_FORMAT, "expected an object, found a number", 16},
    {"metadata value is a number", "{\"__metadata__\":{\"a\":1}}", 0, MYNA_E_FORMAT,
     "expected a string, found a number", 21},
    {"metadata value is an object", "{\"__metadata__\":{\"a\":{}}}", 0, MYNA_E_FORMAT,
     "expected a string, found an object", 21},
    {"metadata is a tensor", "{\"__metadata__\":" INFO("U8", "1", 0, 1) "}", 1, MYNA_E_FORMAT,
     "expected a string, found an array", -1},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, MYNA_E_FORMAT, "__metadata__ occurs twice", 19},
    {"metadata twice, null first", "{\"__metadata__\":null,\"__metadata__\":{}}", 0, MYNA_E_FORMAT,
     "__metadata__ occurs twice", 21},
    {"metadata key twice", "{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}", 0, MYNA_E_FORMAT,
     "a key of __metadata__ occurs twice", 25},
    {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MYNA_E_FORMAT, "dtype is missing", 38},
    {"no shape", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, MYNA_E_FORMAT, "shape is missing", -1},
    {"no offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, MYNA_E_FORMAT, "data_offsets is missing", -1},
    {"nothing", "{\"a\":{}}", 0, MYNA_E_FORMAT, "dtype is missing", 6},
    {"dtype twice", "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     MYNA_E_FORMAT, "a field occurs twice", 19},
    {"shape twice", "{\"a\":{\"shape\":[2],\"shape\":[1],\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, MYNA_E_FORMAT,
     "a field occurs twice", 18},
    {"offsets twice", "{\"a\":{\"data_offsets\":[0,1],\"data_offsets\":[0,1],\"shape\":[1],\"dtype\":\"U8\"}}", 1,
     MYNA_E_FORMAT, "a field occurs twice", -1},
    {"unknown dtype", "{\"a\":" INFO("F128", "1", 0, 16) "}", 16, MYNA_E_FORMAT, "unknown dtype 'F128'", 14},
    {"dtype in lower case", "{\"a\":" INFO("f32", "1", 0, 4) "}", 4, MYNA_E_FORMAT, "unknown dtype 'f32'", 14},
    {"dtype of ours only", "{\"a\":" INFO("Q4_0", "32", 0, 18) "}", 18, MYNA_E_FORMAT, "unknown dtype 'Q4_0'", 14},
    {"dtype is a number", "{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, MYNA_E_FORMAT,
     "expected a string, found a number", 14},
    {"long dtype", "{\"a\":" INFO("F8_E4M3FNUZF8_E4M3FNUZ", "1", 0, 1) "}", 1, MYNA_E_FORMAT, "unknown dtype", 14},
    {"shape is a number", "{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", 1, MYNA_E_FORMAT,
     "expected an array, found a number", 27},
    {"negative dimension", "{\"a\":" INFO("U8", "-1", 0, 1) "}", 1, MYNA_E_FORMAT, "expected a number >= 0, found -1",
     28},
    {"dimension with fraction", "{\"a\":" INFO("U8", "1.0", 0, 1) "}", 1, MYNA_E_FORMAT, "1.0 is not an integer", 28},
    {"dimension is a string", "{\"a\":" INFO("U8", "\"1\"", 0, 1) "}", 1, MYNA_E_FORMAT,
     "expected a number, found a string", 28},
    {"dimension of 2^63", "{\"a\":" INFO("U8", "9223372036854775808", 0, 1) "}", 1, MYNA_E_FORMAT,
     "a dimension of 9223372036854775808", 28},
    {"dimension of 2^64", "{\"a\":" INFO("U8", "18446744073709551616", 0, 1) "}", 1, MYNA_E_FORMAT, "out of range", 28},
    {"9 dimensions", "{\"a\":" INFO("U8", "1,1,1,1,1,1,1,1,1", 0, 1) "}", 1, MYNA_E_UNSUPPORTED,
     "more than 8 dimensions", 44},
    {"elements overflow", "{\"a\":" INFO("U8", "4294967296,4294967296", 0, 0) "}", 0, MYNA_E_FORMAT,
     "the shape's size overflows", -1},
    {"elements overflow before a 0", "{\"a\":" INFO("U8", "4294967296,4294967296,0", 0, 0) "}", 0, MYNA_E_FORMAT,
     "overflows", -1},
    {"bits overflow", "{\"a\":" INFO("F64", "4611686018427387904", 0, 0) "}", 0, MYNA_E_FORMAT, "overflows", -1},
    {"half a byte", "{\"a\":" INFO("F4", "3", 0, 2) "}", 2, MYNA_E_FORMAT,
     "F4: the shape is not a whole number of bytes", -1},
    {"offsets are a number", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":1}}", 1, MYNA_E_FORMAT,
     "expected an array, found a number", 46},
    {"one offset", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1]}}", 1, MYNA_E_FORMAT,
     "data_offsets needs two numbers, has 1", -1},
    {"no offset", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[]}}", 1, MYNA_E_FORMAT,
     "data_offsets needs two numbers, has 0", -1},
    {"three offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1, MYNA_E_FORMAT,
     "more than two numbers", 51},
    {"offset is a string", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,\"1\"]}}", 1, MYNA_E_FORMAT,
     "expected a number, found a string", 49},
    {"negative offset", "{\"a\":" INFO("U8", "1", -1, 0) "}", 1, MYNA_E_FORMAT, "expected a number >= 0", 47},
    {"offsets inverted", "{\"a\":" INFO("U8", "1", 1, 0) "}", 1, MYNA_E_FORMAT,
     "data_offsets end at 0 before they begin at 1", -1},
    {"range larger than the shape", "{\"a\":" INFO("F32", "2", 0, 12) "}", 12, MYNA_E_FORMAT,
     "tensor 'a': data_offsets span 12 bytes, F32 and the shape need 8", -1},
    {"range smaller than the shape", "{\"a\":" INFO("F32", "2", 0, 4) "}", 4, MYNA_E_FORMAT,
     "span 4 bytes, F32 and the shape need 8", -1},
    {"data behind the file", "{\"a\":" INFO("U8", "4", 0, 4) "}", 3, MYNA_E_FORMAT,
     "tensor 'a': data ends at byte 4 of 3", -1},
    {"offsets near 2^64", "{\"a\":" INFO("U8", "1", 18446744073709551614, 18446744073709551615) "}", 1, MYNA_E_FORMAT,
     "data ends at byte 18446744073709551615 of 1", -1},
    {"data not covered at the end", "{\"a\":" INFO("U8", "4", 0, 4) "}", 5, MYNA_E_FORMAT,
     "the tensors cover 4 bytes of data, the file has 5", -1},
    {"data without tensors", "{}", 1, MYNA_E_FORMAT, "the tensors cover 0 bytes of data, the file has 1", -1},
    {"data not covered at the start", "{\"a\":" INFO("U8", "4", 1, 5) "}", 5, MYNA_E_FORMAT, "tensor 'a' leaves a hole",
     -1},
    {"hole", "{\"a\":" INFO("U8", "1", 0, 1) ",\"b\":" INFO("U8", "1", 2, 3) "}", 3, MYNA_E_FORMAT,
     "tensor 'b' leaves a hole: the data before it ends at byte", -1},
    {"hole in another order", "{\"b\":" INFO("U8", "1", 2, 3) ",\"a\":" INFO("U8", "1", 0, 1) "}", 3, MYNA_E_FORMAT,
     "tensor 'b' leaves a hole", -1},
    {"overlap", "{\"a\":" INFO("U8", "2", 0, 2) ",\"b\":" INFO("U8", "2", 1, 3) "}", 3, MYNA_E_FORMAT,
     "tensor 'b' overlaps another", -1},
    {"same range", "{\"a\":" INFO("U8", "2", 0, 2) ",\"b\":" INFO("U8", "2", 0, 2) "}", 2, MYNA_E_FORMAT,
     "overlaps another", -1},
    {"empty tensor inside another", "{\"a\":" INFO("U8", "4", 0, 4) ",\"e\":" INFO("U8", "0", 2, 2) "}", 4,
     MYNA_E_FORMAT, "tensor 'e' overlaps another", -1},
    {"empty tensor behind the data", "{\"a\":" INFO("U8", "4", 0, 4) ",\"e\":" INFO("U8", "0", 5, 5) "}", 4,
     MYNA_E_FORMAT, "data ends at byte 5 of 4", -1},
    {"deep extra field", "{\"a\":{\"x\":[[[[[1]]]}}", 0, MYNA_E_FORMAT, "expected ',' or ']', found '}'", 19},
    {"lone surrogate in a name", "{\"\\ud800\":{}}", 0, MYNA_E_FORMAT, "surrogate", 2},
};

static void test_hostile(void **state) {
  for (size_t i = 0; i < MYNA__COUNT(hostile); i++) {
    const struct hostile *h = &hostile[i];
    int64_t before = myna__mem_in_use();
    gw_bytes b = make(h->header, h->data);
    myna_err err = {0};
    int rc = parse(b.p, b.n, &err);
    if (rc != h->code || err.code != rc) fail_msg("%s: returned %d (%s)", h->name, rc, err.msg);
    if (!strstr(err.msg, h->message)) fail_msg("%s: \"%s\" without \"%s\"", h->name, err.msg, h->message);
    if (h->at >= 0 && err.offset != 8 + h->at)
      fail_msg("%s: offset %lld instead of %d (%s)", h->name, (long long)err.offset - 8, h->at, err.msg);
    assert_true(err.offset >= 8 && err.offset <= (int64_t)b.n);
    assert_string_equal(err.file, "test.st");
    assert_int_equal(myna__mem_in_use(), before);
    assert_int_equal(parse(b.p, b.n, NULL), h->code);
    free(b.p);
  }
}

/* The length in front of the header. */
static void test_length(void **state) {
  static const struct {
    const char *bytes, *message;
  } cases[] = {{"", "0 bytes, the header length alone needs 8"},
               {"8:0", "ends where a value must follow"},
               {"8:3 '{}'", "the header has 3 bytes, the file ends after 2"},
               {"8:100000001 '{}'", "a header of 100000001 bytes, at most 100000000"},
               {"8:100000000 '{}'", "the header has 100000000 bytes, the file ends after 2"},
               {"8:-1 '{}'", "a header of 18446744073709551615 bytes"},
               {"8:1 '{}'", "ends where a key"}};
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    int64_t at;
    gw_bytes b = assemble(cases[i].bytes, &at);
    myna_err err = {0};
    ASSERT_FAILS(parse(b.p, b.n, &err), MYNA_E_FORMAT, &err, cases[i].message);
    assert_int_equal(err.offset, i == 1 ? 8 : i == 6 ? 9 : 0);
    free(b.p);
  }
}

static void test_accepted(void **state) {
  static const struct {
    const char *header;
    size_t data;
    int tensors;
  } cases[] = {
      {"{}", 0, 0},
      {"\t\n {} \n ", 0, 0},
      {"{\"__metadata__\":null}", 0, 0}, /* MLX without metadata */
      {"{\"__metadata__\":{}}", 0, 0},
      {"{\"\":" INFO("U8", "1", 0, 1) "}", 1, 1},
      {"{\"e\":" INFO("U8", "0", 0, 0) ",\"f\":" INFO("F64", "3,0,9223372036854775807", 0, 0) "}", 0, 2},
      {"{\"a\":" INFO("U8", "4", 0, 4) ",\"e\":" INFO("U8", "0", 4, 4) ",\"d\":" INFO("U8", "0", 0, 0) "}", 4, 3},
      {"{\"e\":" INFO("U8", "0", 2, 2) ",\"b\":" INFO("U8", "2", 2, 4) ",\"a\":" INFO("I16", "1", 0, 2) ",\"f\":" INFO(
           "U8", "0", 2, 2) "}",
       4, 4},
      {"{\"a\":" INFO("F6_E2M3", "4", 0, 3) ",\"b\":" INFO("F6_E3M2", "8", 3, 9) "}", 9, 2},
      {"{\"a\":" INFO("F8_E4M3FNUZ", "4", 0, 4) ",\"b\":" INFO("F8_E5M2FNUZ", "1", 4, 5) "}", 5, 2},
      {"{\"a\":" INFO("U8", "1,1,1,1,1,1,1,2", 0, 2) "}", 2, 1},
  };
  for (size_t i = 0; i < MYNA__COUNT(cases); i++) {
    gw_bytes b = make(cases[i].header, cases[i].data);
    myna__safetensors s;
    myna_err err = {0};
    ASSERT_OK_ERR(myna__st_parse(&s, b.p, b.n, "x", &err), &err);
    assert_int_equal(s.n_tensors, cases[i].tensors);
    assert_int_equal(s.n_meta, 0);
    myna__st_close(&s);
    free(b.p);
  }
}

/* Unescaped names are copies with room of their own. */
static void test_long_names(void **state) {
  gw_bytes h = {0};
  char line[200], name[64];
  gw_add(&h, "{", 1);
  for (int i = 0; i < 40; i++) /* lengths around multiples of 16 */
    gw_add(&h, line,
           (size_t)snprintf(line, sizeof line,
                            "%s\"\\u0041%0*d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "",
                            i + 2, i));
  gw_add(&h, "}", 2);
  gw_bytes b = make((char *)h.p, 0);
  myna__safetensors s;
  myna_err err = {0};
  ASSERT_OK_ERR(myna__st_parse(&s, b.p, b.n, "names", &err), &err);
  assert_int_equal(s.n_tensors, 40);
  for (int i = 0; i < 40; i++) {
    snprintf(name, sizeof name, "A%0*d", i + 2, i);
    assert_true(myna__str_eq(s.tensors[i].name, name));
    assert_ptr_equal(myna__st_find(&s, name), &s.tensors[i]);
  }
  myna__st_close(&s);
  free(b.p);
  free(h.p);
}

static void test_many(void **state) {
  enum { N = 5000 };
  gw_bytes h = {0};
  gw_add(&h, "{", 1);
  for (int i = 0; i < N; i++) { /* in a mixed-up order of data */
    char line[160];
    int k = (int)((int64_t)i * 1237 % N);
    gw_add(&h, line,
           (size_t)snprintf(line, sizeof line,
                            "%s\"layers.%d.w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}", i ? "," : "",
                            k, k, k + 1));
  }
  gw_add(&h, "}", 2);
  gw_bytes b = make((char *)h.p, N);
  myna__safetensors s;
  ASSERT_OK(myna__st_parse(&s, b.p, b.n, "many", NULL));
  for (int i = 0; i < N; i++) {
    char name[32];
    snprintf(name, sizeof name, "layers.%d.w", i);
    const myna__st_tensor *t = myna__st_find(&s, name);
    assert_true(t && t->data[0] == (i & 0xFF));
  }
  myna__st_close(&s);
  free(b.p);
  free(h.p);
}

static void test_no_memory(void **state) {
  gw_bytes b = make(sample, 18);
  for (int n = 1;; n++) {
    test_failing failing;
    myna_err err = {0};
    test_fail_at(&failing, n);
    int rc = parse(b.p, b.n, &err);
    test_fail_off();
    assert_int_equal(failing.live, 0);
    assert_int_equal(rc, failing.failed ? MYNA_E_NOMEM : 0);
    assert_int_equal(err.code, rc);
    if (!failing.failed) break;
  }
  free(b.p);
}

/* ---- files by others ---- */

static int by_name(const void *a, const void *b) {
  const myna__str *x = &((const myna__st_tensor *)a)->name, *y = &((const myna__st_tensor *)b)->name;
  int c = memcmp(x->p, y->p, MYNA__MIN(x->n, y->n));
  return c ? c : (x->n > y->n) - (x->n < y->n);
}

static void test_python(void **state) {
  char path[512];
  char *got = NULL;
  size_t n = 0;
  myna__safetensors s;
  myna_err err = {0};
  ASSERT_OK_ERR(myna__st_open(&s, test_path(path, "tests/fixtures/formats/mixed.safetensors"), false, &err), &err);
  FILE *out = open_memstream(&got, &n);
  for (int64_t i = 0; i < s.n_meta; i++) {
    fprintf(out, "meta\t");
    dump_str(out, s.meta[2 * i].p, s.meta[2 * i].n);
    fputc('\t', out);
    dump_str(out, s.meta[2 * i + 1].p, s.meta[2 * i + 1].n);
    fputc('\n', out);
  }
  myna__st_tensor *sorted = malloc((size_t)s.n_tensors * sizeof *sorted);
  memcpy(sorted, s.tensors, (size_t)s.n_tensors * sizeof *sorted);
  qsort(sorted, (size_t)s.n_tensors, sizeof *sorted, by_name);
  for (int64_t i = 0; i < s.n_tensors; i++) {
    const myna__st_tensor *t = &sorted[i];
    fprintf(out, "tensor\t");
    dump_str(out, t->name.p, t->name.n);
    fprintf(out, "\t%s\t", t->dtype);
    for (int d = 0; d < t->n_dims; d++) fprintf(out, "%s%lld", d ? "x" : "", (long long)t->shape[d]);
    fprintf(out, "\t%llu\t%016llx\n", (unsigned long long)t->bytes, (unsigned long long)fnv(t->data, t->bytes));
    int type = myna_dtype_from_name(t->dtype);
    assert_int_equal(t->type, type);
  }
  fclose(out);
  gw_bytes want = read_whole(test_path(path, "tests/fixtures/formats/mixed.st.tsv"));
  gw_add(&want, "", 1);
  assert_string_equal(got, (char *)want.p);
  assert_true(s.n_tensors > 20);
  free(sorted);
  free(got);
  free(want.p);
  myna__st_close(&s);
}

static void test_malformed(void **state) {
  char path[512], verdicts[512];
  if (!shared_path(verdicts, "malformed/safetensors/expected.tsv")) skip();
  gw_bytes tsv = read_whole(verdicts);
  gw_add(&tsv, "", 1);
  int n = 0;
  for (char *line = strtok((char *)tsv.p, "\n"); line; line = strtok(NULL, "\n")) {
    char file[200], expect[200];
    if (sscanf(line, "%199[^\t]\t%199[^\t]", file, expect) != 2 || strcmp(file, "file") == 0) continue;
    snprintf(path, sizeof path, "%s/../shared/data/malformed/safetensors/%s", MYNA_ROOT, file);
    myna__safetensors s;
    myna_err err = {0};
    int rc = myna__st_open(&s, path, false, &err);
    if (strcmp(expect, "load-ok") == 0) {
      if (rc < 0) fail_msg("%s: %s", file, err.msg);
      myna__st_close(&s);
    } else {
      if (rc >= 0) fail_msg("%s was accepted", file);
      assert_true(err.offset >= 0 && strlen(err.msg) > 10 && strstr(err.file, file) != NULL);
    }
    n++;
  }
  free(tsv.p);
  assert_true(n >= 25);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_valid),         cmocka_unit_test(test_open),    cmocka_unit_test(test_prefixes),
      cmocka_unit_test(test_flipped_bytes), cmocka_unit_test(test_hostile), cmocka_unit_test(test_length),
      cmocka_unit_test(test_accepted),      cmocka_unit_test(test_many),    cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_long_names),    cmocka_unit_test(test_python),  cmocka_unit_test(test_malformed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
