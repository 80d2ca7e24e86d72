/* The GGUF reader: what a valid file gives, every prefix of it, hostile headers with the place of the fault, typed
 * reads, all tensor types, failing memory. Files made by others: test_gguf_files.c. */
#include "gguf_writer.h"
#include "formats/gguf.h"

/* Parses an exact copy of the bytes and throws the result away. */
static int parse(const uint8_t *p, size_t n, myna_err *err) {
  uint8_t *copy = exact_copy(p, n);
  myna__gguf g;
  int rc = myna__gguf_parse(&g, copy, n, "test.gguf", err);
  assert_true(rc <= 0);
  if (rc == 0)
    myna__gguf_close(&g);
  else
    assert_true(g.files == NULL && g.kvs == NULL && g.tensors == NULL);
  free(copy);
  return rc;
}

/* Every kind of value, arrays of each, strings, three tensors of different types. */
static gw_bytes sample(uint32_t version, uint32_t alignment) {
  static const char *const words[] = {"alpha", "", "gamma \xff\x00"};
  gw w = gw_new(version);
  if (alignment) gw_u32(&w, "general.alignment", alignment);
  gw_num(&w, "u8", GW_U8, 200);
  gw_num(&w, "i8", GW_I8, (uint64_t)-5);
  gw_num(&w, "u16", GW_U16, 60000);
  gw_num(&w, "i16", GW_I16, (uint64_t)-20000);
  gw_u32(&w, "u32", 4000000000u);
  gw_num(&w, "i32", GW_I32, (uint64_t)-2000000000);
  gw_f32(&w, "f32", -1.5f);
  gw_bool(&w, "yes", 1);
  gw_bool(&w, "no", 0);
  gw_bool(&w, "neither", 2);
  gw_str(&w, "str", "text");
  gw_str(&w, "empty", "");
  gw_num(&w, "u64", GW_U64, UINT64_MAX);
  gw_num(&w, "i64", GW_I64, (uint64_t)INT64_MIN);
  gw_num(&w, "f64", GW_F64, 0x3FF4000000000000u); /* 1.25 */
  gw_strs(&w, "words", words, 3);
  gw_arr(&w, "a.i32", GW_I32, 3, (int32_t[]){-1, 0, 7}, 12);
  gw_arr(&w, "a.u8", GW_U8, 2, (uint8_t[]){1, 255}, 2);
  gw_arr(&w, "a.i8", GW_I8, 2, (int8_t[]){-1, 5}, 2);
  gw_arr(&w, "a.u16", GW_U16, 2, (uint16_t[]){1, 65535}, 4);
  gw_arr(&w, "a.i16", GW_I16, 2, (int16_t[]){1, -3}, 4);
  gw_arr(&w, "a.u32", GW_U32, 2, (uint32_t[]){1, UINT32_MAX}, 8);
  gw_arr(&w, "a.u64", GW_U64, 2, (uint64_t[]){5, UINT64_MAX}, 16);
  gw_arr(&w, "a.i64", GW_I64, 2, (int64_t[]){5, -6}, 16);
  gw_arr(&w, "a.f32", GW_F32, 2, (float[]){0.5f, 2}, 8);
  gw_arr(&w, "a.f64", GW_F64, 2, (double[]){0.25, 8}, 16);
  gw_arr(&w, "a.bool", GW_BOOL, 3, (uint8_t[]){0, 1, 3}, 3);
  gw_arr(&w, "none", GW_STR, 0, NULL, 0);
  gw_arr(&w, "nested", GW_ARR, 2, "\4\0\0\0\1\0\0\0\0\0\0\0zzzz\10\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0ab",
         12 + 4 + 12 + 10);
  gw_tensor(&w, "token_embd.weight", 0, (int64_t[]){3, 5}, 2, NULL, 60);
  gw_tensor(&w, "blk.0.attn_q.weight", 12, (int64_t[]){256, 2}, 2, NULL, 288);
  gw_tensor(&w, "scalar", 26, NULL, 0, NULL, 4);
  gw_tensor(&w, "four", 1, (int64_t[]){2, 1, 3, 2}, 4, NULL, 24);
  return gw_finish(&w);
}

static void check_sample(const myna__gguf *g, const gw_bytes *f, uint32_t version, uint32_t alignment) {
  assert_int_equal(g->version, version);
  assert_int_equal(g->alignment, alignment ? alignment : 32);
  assert_int_equal(g->n_kv, 29 + (alignment != 0));
  assert_int_equal(g->n_tensors, 4);
  assert_int_equal(g->n_files, 1);
  for (int64_t i = 0; i < g->n_kv; i++) { /* offset is that of the key's length */
    uint64_t n;
    memcpy(&n, f->p + g->kvs[i].offset, 8);
    assert_int_equal(n, g->kvs[i].key.n);
    assert_memory_equal(f->p + g->kvs[i].offset + 8, g->kvs[i].key.p, n);
  }
  static const struct {
    const char *name;
    myna_dtype type;
    int n_dims;
    int64_t dims[4];
    uint64_t bytes;
  } want[] = {{"token_embd.weight", MYNA_F32, 2, {3, 5, 1, 1}, 60},
              {"blk.0.attn_q.weight", MYNA_Q4_K, 2, {256, 2, 1, 1}, 288},
              {"scalar", MYNA_I32, 0, {1, 1, 1, 1}, 4},
              {"four", MYNA_F16, 4, {2, 1, 3, 2}, 24}};
  for (int i = 0; i < 4; i++) {
    const myna__gguf_tensor *t = myna__gguf_tensor_find(g, want[i].name);
    assert_ptr_equal(t, &g->tensors[i]);
    assert_true(myna__str_eq(t->name, want[i].name));
    assert_int_equal(t->type, want[i].type);
    assert_int_equal(t->n_dims, want[i].n_dims);
    assert_memory_equal(t->dims, want[i].dims, sizeof t->dims);
    assert_int_equal(t->bytes, want[i].bytes);
    assert_int_equal(t->file, 0);
    assert_int_equal(t->offset % g->alignment, 0);
    assert_ptr_equal(t->data, g->files[0].data + t->offset);
    for (uint64_t k = 0; k < t->bytes; k++) assert_int_equal(t->data[k], ((uint64_t)i * 37 + k) & 0xFF);
  }
  assert_null(myna__gguf_tensor_find(g, "token_embd.weigh"));
  assert_null(myna__gguf_find(g, "u"));
}

static void test_valid(void **state) {
  static const uint32_t alignments[] = {0, 1, 8, 64, 4096};
  for (uint32_t version = 2; version <= 3; version++)
    for (size_t a = 0; a < MYNA__COUNT(alignments); a++) {
      gw_bytes f = sample(version, alignments[a]);
      uint8_t *copy = exact_copy(f.p, f.n);
      int64_t before = myna__mem_in_use();
      myna__gguf g;
      myna_err err = {0};
      ASSERT_OK_ERR(myna__gguf_parse(&g, copy, f.n, "sample", &err), &err);
      assert_ptr_equal(g.files[0].data, copy);
      check_sample(&g, &f, version, alignments[a]);
      myna__gguf_close(&g);
      assert_int_equal(myna__mem_in_use(), before);
      free(copy);
      free(f.p);
    }
}

/* From a file, mapped and read; the name is in the errors. */
static void test_open(void **state) {
  gw_bytes f = sample(3, 0);
  char path[64];
  test_tmpfile(path, f.p, f.n);
  for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
    myna__gguf g;
    myna_err err = {0};
    ASSERT_OK_ERR(myna__gguf_open(&g, path, &(myna__gguf_options){.no_mmap = no_mmap}, &err), &err);
    assert_int_equal(g.files[0].mapped, !no_mmap);
    check_sample(&g, &f, 3, 0);
    int64_t v;
    ASSERT_FAILS(myna__gguf_i64(&g, "str", &v, &err), MYNA_E_FORMAT, &err, "key 'str': expected an integer, found str");
    assert_string_equal(err.file, path);
    myna__gguf_close(&g);
  }
  myna__gguf g;
  myna_err err = {0};
  assert_int_equal(myna__gguf_open(&g, path, NULL, &err), 0); /* defaults */
  assert_true(g.files[0].mapped && g.tensors[3].data != NULL);
  myna__gguf_close(&g);
  assert_int_equal(truncate(path, (off_t)f.n - 1), 0);
  ASSERT_FAILS(myna__gguf_open(&g, path, NULL, &err), MYNA_E_FORMAT, &err, "truncated");
  assert_string_equal(err.file, path);
  assert_int_equal(truncate(path, 0), 0);
  err.code = 0;
  ASSERT_FAILS(myna__gguf_open(&g, path, NULL, &err), MYNA_E_FORMAT, &err,
               "the file ends inside the magic: 4 bytes needed, 0 left");
  unlink(path);
  err.code = 0;
  ASSERT_FAILS(myna__gguf_open(&g, path, NULL, &err), MYNA_E_NOTFOUND, &err, "cannot open");
  assert_string_equal(err.file, path);
  free(f.p);
}

/* Every prefix fails with a place inside it and a reason; only the padding of the last tensor may be missing. */
static void test_prefixes(void **state) {
  for (uint32_t version = 2; version <= 3; version++) {
    gw_bytes f = sample(version, 0);
    size_t data_end = f.n - 8; /* 24 bytes in 32 */
    for (size_t n = 0; n < f.n; n++) {
      myna_err err = {0};
      int rc = parse(f.p, n, &err);
      if (n == data_end) {
        ASSERT_OK_ERR(rc, &err);
        continue;
      }
      if (rc != MYNA_E_FORMAT) fail_msg("prefix of %zu bytes of %zu: %d", n, f.n, rc);
      assert_string_equal(err.file, "test.gguf");
      assert_true(err.offset >= 0 && err.offset <= (int64_t)n);
      assert_true(strlen(err.msg) > 10);
    }
    ASSERT_OK(parse(f.p, f.n, NULL));
    free(f.p);
  }
}

/* Every single byte changed in several ways: no crash, and what is accepted can be used. */
static void test_flipped_bytes(void **state) {
  gw_bytes f = sample(3, 0);
  for (size_t i = 0; i < f.n; i++) {
    uint8_t old = f.p[i];
    static const uint8_t flips[] = {1, 0x80, 0xFF, 0x20};
    for (size_t k = 0; k < sizeof flips; k++) {
      f.p[i] = old ^ flips[k];
      myna__gguf g;
      uint8_t *copy = exact_copy(f.p, f.n);
      myna_err err = {0};
      if (myna__gguf_parse(&g, copy, f.n, "x", &err) >= 0) {
        for (int64_t t = 0; t < g.n_tensors; t++)
          for (uint64_t b = 0; b < g.tensors[t].bytes; b += 7) assert_in_range(g.tensors[t].data[b], 0, 255);
        myna__gguf_close(&g);
      } else {
        assert_true(err.code != 0 && err.msg[0] && err.offset >= 0);
      }
      free(copy);
    }
    f.p[i] = old;
  }
  free(f.p);
}

#define V3(tensors, kvs) "'GGUF' 4:3 8:" #tensors " 8:" #kvs " "
#define T(name, dims, type, offset) "s'" name "' " dims " 4:" #type " 8:" #offset " "

static const struct hostile {
  const char *name, *bytes;
  int code;
  const char *message;
} hostile[] = {
    {"wrong magic", "@ 'GGUX' 4:3 8:0 8:0", MYNA_E_FORMAT, "not a GGUF file: it starts with 'GGUX'"},
    {"old format", "@ 'tjgg' 4:3 z:40", MYNA_E_FORMAT, "from before GGUF"},
    {"zip", "@ 'PK' 1:3 1:4 z:40", MYNA_E_FORMAT, "zip archive"},
    {"lfs pointer", "@ 'version https://git-lfs.github.com/spec/v1'", MYNA_E_FORMAT, "Git LFS pointer"},
    {"html", "@ '<!DOCTYPE html>'", MYNA_E_FORMAT, "HTML"},
    {"control bytes in the magic", "@ 1:0x1b '[2J' z:20", MYNA_E_FORMAT, "\\x1b[2J"},
    {"version 0", "'GGUF' @ 4:0 8:0 8:0", MYNA_E_FORMAT, "version 0"},
    {"version 1", "'GGUF' @ 4:1 4:0 4:0", MYNA_E_UNSUPPORTED, "version 1 is not supported"},
    {"version 4", "'GGUF' @ 4:4 8:0 8:0", MYNA_E_UNSUPPORTED, "version 4 is unknown"},
    {"big endian", "'GGUF' @ 4:0x03000000 z:16", MYNA_E_UNSUPPORTED, "big-endian"},
    {"cut after the version", "'GGUF' 4:3 @", MYNA_E_FORMAT,
     "header: the file ends inside the number of tensors: 8 bytes needed, 0 left"},
    {"cut in the version", "'GGUF' @ 1:3 1:0", MYNA_E_FORMAT, "inside the version: 4 bytes needed, 2 left"},
    {"cut in the magic", "@ 'GGU'", MYNA_E_FORMAT, "inside the magic: 4 bytes needed, 3 left"},
    {"cut after the tensor count", "'GGUF' 4:3 8:0 @ z:7", MYNA_E_FORMAT,
     "inside the number of keys: 8 bytes needed, 7 left"},
    {"negative tensor count", "'GGUF' 4:3 @ 8:-1 8:0", MYNA_E_FORMAT, "the number of tensors is 18446744073709551615"},
    {"tensor count of 2^61", "'GGUF' 4:3 @ 8:0x2000000000000000 8:0 z:64", MYNA_E_FORMAT, "the number of tensors"},
    {"one tensor too many for the bytes", "'GGUF' 4:3 @ 8:3 8:0 z:66", MYNA_E_FORMAT,
     "more than fit into the 74 bytes left"},
    {"negative key count", "'GGUF' 4:3 8:0 @ 8:-1", MYNA_E_FORMAT, "the number of keys is 18446744073709551615"},
    {"one key too many for the bytes", "'GGUF' 4:3 8:0 @ 8:3 z:41", MYNA_E_FORMAT,
     "more than fit into the 41 bytes left"},
    {"key length of 2^64 - 1", V3(0, 1) "@ 8:-1 'a' 4:4 4:0", MYNA_E_FORMAT,
     "key 0: the key has 18446744073709551615 bytes, at most 65535"},
    {"key length of 2^63", V3(0, 1) "@ 8:0x8000000000000000 'a' 4:4 4:0", MYNA_E_FORMAT, "at most 65535"},
    {"key of 65536 bytes", V3(0, 1) "@ 8:65536 r:65536:61 4:4 4:0", MYNA_E_FORMAT, "the key has 65536 bytes"},
    {"key longer than the file", V3(0, 2) "s'a' 4:0 1:0 8:90 @ 'abc' z:50", MYNA_E_FORMAT,
     "key 1: the file ends inside the key: 90 bytes needed, 53 left"},
    {"empty key", V3(0, 1) "@ 8:0 4:4 4:0 z:16", MYNA_E_FORMAT, "key 0: the key is empty"},
    {"NUL in a key", V3(0, 1) "8:3 'a' @ 1:0 'b' 4:0 1:0", MYNA_E_FORMAT, "byte 0x00 is not allowed in a key"},
    {"escape in a key", V3(0, 1) "8:3 'a' @ 1:27 'b' 4:0 1:0", MYNA_E_FORMAT, "key 'a\\x1bb': byte 0x1b"},
    {"delete in a key", V3(0, 1) "8:2 'a' @ 1:127 4:0 1:0", MYNA_E_FORMAT, "byte 0x7f"},
    {"key not in ASCII", V3(0, 1) "8:3 'a' @ 1:0xc3 1:0xa9 4:0 1:0", MYNA_E_FORMAT, "byte 0xc3"},
    {"key twice", V3(0, 3) "s'k' 4:0 1:1 s'j' 4:0 1:1 @ s'k' 4:4 4:1", MYNA_E_FORMAT, "key 'k': the key occurs twice"},
    {"value type 13", V3(0, 1) "s'k' @ 4:13 z:16", MYNA_E_FORMAT, "key 'k': value type 13 is unknown"},
    {"value type -1", V3(0, 1) "s'k' @ 4:-1 z:16", MYNA_E_FORMAT, "value type 4294967295 is unknown"},
    {"value cut", V3(0, 1) "s'kkkk' 4:10 @ z:7", MYNA_E_FORMAT,
     "key 'kkkk': the file ends inside the value: 8 bytes needed, 7 left"},
    {"string length of 2^64 - 1", V3(0, 1) "s'k' 4:8 8:-1 @ z:20", MYNA_E_FORMAT,
     "inside a string: 18446744073709551615 bytes needed, 20 left"},
    {"string length that wraps", V3(0, 1) "s'k' 4:8 8:-40 @ z:20", MYNA_E_FORMAT, "inside a string"},
    {"string one byte too long", V3(0, 1) "s'k' 4:8 8:6 @ 'abcde'", MYNA_E_FORMAT,
     "inside a string: 6 bytes needed, 5 left"},
    {"array element type 13", V3(0, 1) "s'k' 4:9 @ 4:13 8:0", MYNA_E_FORMAT, "element type 13 is unknown"},
    {"array count of 2^64 - 1", V3(0, 1) "s'k' 4:9 4:4 @ 8:-1 z:64", MYNA_E_FORMAT,
     "18446744073709551615 elements of type u32 do not fit into the 64 bytes left"},
    {"array size that wraps to 0", V3(0, 1) "s'k' 4:9 4:10 @ 8:0x2000000000000000 z:64", MYNA_E_FORMAT, "do not fit"},
    {"array one element too long", V3(0, 1) "s'k' 4:9 4:3 @ 8:9 z:17", MYNA_E_FORMAT,
     "9 elements of type i16 do not fit into the 17"},
    {"string array count", V3(0, 1) "s'k' 4:9 4:8 @ 8:9 z:71", MYNA_E_FORMAT,
     "9 elements of type str do not fit into the 71"},
    {"string in an array too long", V3(0, 1) "s'k' 4:9 4:8 8:3 s'ab' 8:100 @ 'abc' z:20", MYNA_E_FORMAT,
     "inside a string: 100 bytes needed, 23 left"},
    {"string in an array cut at its length", V3(0, 1) "s'k' 4:9 4:8 8:2 s'abcdefgh' @ z:5", MYNA_E_FORMAT,
     "inside a string's length: 8 bytes needed, 5 left"},
    {"string in an array that wraps", V3(0, 1) "s'k' 4:9 4:8 8:2 8:-8 @ z:20", MYNA_E_FORMAT, "inside a string"},
    {"array of arrays count", V3(0, 1) "s'k' 4:9 4:9 @ 8:3 z:35", MYNA_E_FORMAT,
     "3 elements of type arr do not fit into the 35"},
    {"inner array count", V3(0, 1) "s'k' 4:9 4:9 8:1 4:0 @ 8:9 z:8", MYNA_E_FORMAT,
     "9 elements of type u8 do not fit into the 8"},
    {"inner array type", V3(0, 1) "s'k' 4:9 4:9 8:1 @ 4:13 8:0 z:8", MYNA_E_FORMAT, "element type 13"},
    {"array nested three deep", V3(0, 1) "s'k' 4:9 4:9 8:1 4:9 8:1 @ 4:0 8:0 z:8", MYNA_E_UNSUPPORTED,
     "nested more than 2 deep"},
    {"alignment 0", V3(0, 1) "s'general.alignment' 4:4 @ 4:0", MYNA_E_FORMAT,
     "general.alignment 0 is not a power of two"},
    {"alignment 24", V3(0, 1) "s'general.alignment' 4:4 @ 4:24", MYNA_E_FORMAT,
     "general.alignment 24 is not a power of two"},
    {"alignment as u64", V3(0, 1) "s'general.alignment' 4:10 @ 8:32", MYNA_E_FORMAT,
     "general.alignment has type u64 instead of u32"},
    {"alignment as array", V3(0, 1) "s'general.alignment' 4:9 4:4 8:1 @ 4:32", MYNA_E_FORMAT,
     "has type arr instead of u32"},
    {"alignment as string", V3(0, 1) "s'general.alignment' 4:8 @ s'32'", MYNA_E_FORMAT, "has type str"},
    {"alignment of 2^31", V3(1, 1) "s'general.alignment' 4:4 4:0x80000000 @ " T("t", "4:0", 24, 0) "z:99",
     MYNA_E_FORMAT, "tensor 't': data ends at byte 2147483649, the file has"},
    {"tensor name length of 2^64 - 1", V3(1, 0) "@ 8:-1 z:64", MYNA_E_FORMAT,
     "tensor 0: the name has 18446744073709551615 bytes, at most 64"},
    {"tensor name of 65 bytes", V3(1, 0) "@ 8:65 r:65:61 4:1 8:1 4:0 8:0 z:64", MYNA_E_FORMAT, "the name has 65 bytes"},
    {"empty tensor name", V3(1, 0) "@ 8:0 4:1 8:1 4:0 8:0 z:64", MYNA_E_FORMAT, "the name is empty"},
    {"NUL in a tensor name", V3(1, 0) "8:2 'a' @ 1:0 4:1 8:1 4:0 8:0 z:64", MYNA_E_FORMAT,
     "byte 0x00 is not allowed in a name"},
    {"tensor name not in UTF-8", V3(1, 0) "8:3 'a' @ 1:0xc0 1:0xaf 4:1 8:1 4:0 8:0 z:64", MYNA_E_FORMAT, "byte 0xc0"},
    {"tensor twice", V3(2, 0) T("t", "4:1 8:8", 0, 0) "@ " T("t", "4:1 8:8", 0, 32) "p:32 z:64", MYNA_E_FORMAT,
     "tensor 't': the name occurs twice"},
    {"5 dimensions", V3(1, 0) "s't' @ 4:5 8:1 8:1 8:1 8:1 8:1 4:0 8:0 z:64", MYNA_E_FORMAT, "tensor 't': 5 dimensions"},
    {"2^32 - 1 dimensions", V3(1, 0) "s't' @ 4:-1 z:64", MYNA_E_FORMAT, "4294967295 dimensions"},
    {"dimension 0", V3(1, 0) "s't' 4:2 8:8 @ 8:0 4:0 8:0 z:64", MYNA_E_FORMAT, "dimension 1 is 0, it must be positive"},
    {"dimension -1", V3(1, 0) "s't' 4:1 @ 8:-1 4:0 8:0 z:64", MYNA_E_FORMAT, "dimension 0 is -1"},
    {"dimensions cut", V3(1, 0) "s'tttttt' 4:4 8:1 8:1 @ z:4", MYNA_E_FORMAT,
     "tensor 'tttttt': the file ends inside the dimensions"},
    {"elements overflow", V3(1, 0) "s't' 4:2 8:0x100000000 8:0x80000000 @ 4:24 8:0 z:64", MYNA_E_FORMAT,
     "the number of elements overflows"},
    {"elements overflow to a small number", V3(1, 0) "s't' 4:2 8:0x100000001 8:0x100000000 @ 4:24 8:0 z:64",
     MYNA_E_FORMAT, "elements overflows"},
    {"bytes overflow", V3(1, 0) "s't' 4:2 8:0x40000000 8:0x80000000 @ 4:28 8:0 z:64", MYNA_E_FORMAT,
     "the size in bytes overflows"},
    {"rows of partial blocks", V3(1, 0) "s't' 4:2 8:40 8:32 @ 4:2 8:0 z:99", MYNA_E_FORMAT,
     "rows of 40 elements are not whole blocks of 32 (Q4_0)"},
    {"scalar of a block type", V3(1, 0) "s't' 4:0 @ 4:12 8:0 z:999", MYNA_E_FORMAT,
     "rows of 1 elements are not whole blocks of 256 (Q4_K)"},
    {"removed type Q4_2", V3(1, 0) "s't' 4:1 8:32 @ 4:4 8:0 z:64", MYNA_E_UNSUPPORTED, "type Q4_2 (id 4) was removed"},
    {"removed type Q4_3", V3(1, 0) "s't' 4:1 8:32 @ 4:5 8:0 z:64", MYNA_E_UNSUPPORTED, "type Q4_3 (id 5) was removed"},
    {"removed type Q4_0_4_4", V3(1, 0) "s't' 4:1 8:32 @ 4:31 8:0 z:64", MYNA_E_UNSUPPORTED, "Q4_0_4_4"},
    {"removed type Q4_0_4_8", V3(1, 0) "s't' 4:1 8:32 @ 4:32 8:0 z:64", MYNA_E_UNSUPPORTED, "Q4_0_4_8"},
    {"removed type Q4_0_8_8", V3(1, 0) "s't' 4:1 8:32 @ 4:33 8:0 z:64", MYNA_E_UNSUPPORTED, "Q4_0_8_8"},
    {"removed type IQ4_NL_4_4", V3(1, 0) "s't' 4:1 8:32 @ 4:36 8:0 z:64", MYNA_E_UNSUPPORTED, "IQ4_NL_4_4"},
    {"removed type IQ4_NL_4_8", V3(1, 0) "s't' 4:1 8:32 @ 4:37 8:0 z:64", MYNA_E_UNSUPPORTED, "IQ4_NL_4_8"},
    {"removed type IQ4_NL_8_8", V3(1, 0) "s't' 4:1 8:32 @ 4:38 8:0 z:64", MYNA_E_UNSUPPORTED, "IQ4_NL_8_8"},
    {"type id 43", V3(1, 0) "s't' 4:1 8:32 @ 4:43 8:0 z:64", MYNA_E_FORMAT, "type id 43 is unknown"},
    {"type id -1", V3(1, 0) "s't' 4:1 8:32 @ 4:-1 8:0 z:64", MYNA_E_FORMAT, "type id 4294967295 is unknown"},
    {"offset not aligned", V3(1, 0) "s't' 4:1 8:8 4:0 @ 8:16 p:32 z:96", MYNA_E_FORMAT,
     "data offset 16 is not a multiple of the alignment 32"},
    {"offset not aligned to the key", V3(1, 1) "s'general.alignment' 4:4 4:64 s't' 4:1 8:8 4:0 @ 8:32 z:200",
     MYNA_E_FORMAT, "data offset 32 is not a multiple of the alignment 64"},
    {"offset behind the file", V3(1, 0) "@ " T("t", "4:1 8:8", 0, 64) "p:32 z:64", MYNA_E_FORMAT,
     "data ends at byte 160, the file has 128"},
    {"offset of 2^64 - 32", V3(1, 0) "@ " T("t", "4:1 8:8", 0, -32) "p:32 z:64", MYNA_E_FORMAT,
     "data offset 18446744073709551584 overflows"},
    {"offset whose end overflows", V3(1, 0) "@ " T("t", "4:1 8:0x7fffffffffffff80", 24, 0x8000000000000040) "p:32 z:64",
     MYNA_E_FORMAT, "overflows"},
    {"size of 2^63 - 64", V3(1, 0) "@ " T("t", "4:1 8:0x7fffffffffffffc0", 24, 0) "p:32 z:64", MYNA_E_FORMAT,
     "truncated or wrong offset"},
    {"one byte short", V3(1, 0) "@ " T("t", "4:1 8:33", 24, 0) "p:32 z:32", MYNA_E_FORMAT,
     "data ends at byte 97, the file has 96"},
    {"no data at all", V3(1, 0) "@ " T("t", "4:1 8:32", 24, 0), MYNA_E_FORMAT, "truncated"},
    {"padding cut", V3(1, 0) "@ " T("t", "4:1 8:33", 24, 0) "p:32 z:63", MYNA_E_FORMAT,
     "ends inside the padding after this last tensor"},
    {"tensors on the same bytes", V3(2, 0) T("a", "4:1 8:8", 0, 0) "@ " T("b", "4:1 8:8", 0, 0) "p:32 z:64",
     MYNA_E_FORMAT, "tensor 'b': data overlaps that of tensor 'a'"},
    {"tensors that overlap", V3(2, 0) T("a", "4:1 8:16", 0, 0) "@ " T("b", "4:1 8:8", 0, 32) "p:32 z:96", MYNA_E_FORMAT,
     "tensor 'b': data overlaps that of tensor 'a'"},
    {"overlap in another order",
     V3(3, 0) T("c", "4:1 8:8", 0, 96) "@ " T("b", "4:1 8:8", 0, 32) T("a", "4:1 8:16", 0, 0) "p:32 z:160",
     MYNA_E_FORMAT, "tensor 'b': data overlaps that of tensor 'a'"},
    {"a tensor inside a large one",
     V3(3, 0) T("a", "4:1 8:8", 0, 0) T("big", "4:1 8:64", 0, 32) "@ " T("in", "4:1 8:8", 0, 64) "p:32 z:288",
     MYNA_E_FORMAT, "tensor 'in': data overlaps that of tensor 'big'"},
    {"split number beyond the count", V3(0, 2) "s'split.no' 4:2 @ 2:3 s'split.count' 4:2 2:3", MYNA_E_FORMAT,
     "split 3 of 3"},
    {"split number negative", V3(0, 2) "s'split.count' 4:2 2:3 s'split.no' 4:5 @ 4:-1", MYNA_E_FORMAT,
     "key 'split.no': -1 is out of range"},
    {"split count of 65536", V3(0, 1) "s'split.count' 4:4 @ 4:65536", MYNA_E_FORMAT, "65536 is out of range"},
    {"split count as string", V3(0, 1) "s'split.count' 4:8 @ s'3'", MYNA_E_FORMAT,
     "key 'split.count': expected an integer, found str"},
    {"split number without count", V3(0, 1) "s'split.no' 4:2 @ 2:1", MYNA_E_FORMAT, "split 1 of 0"},
    {"split without number", V3(0, 1) "s'split.count' 4:2 2:3", MYNA_E_FORMAT,
     "split.count is 3 but split.no is missing"},
    {"split from memory", V3(0, 2) "s'split.count' 4:2 2:3 s'split.no' 4:2 2:0", MYNA_E_UNSUPPORTED,
     "split 1 of 3 cannot be read from memory"},
};

static void test_hostile(void **state) {
  for (size_t i = 0; i < MYNA__COUNT(hostile); i++) {
    const struct hostile *h = &hostile[i];
    int64_t at, before = myna__mem_in_use();
    gw_bytes b = assemble(h->bytes, &at);
    myna_err err = {0};
    int rc = parse(b.p, b.n, &err);
    if (rc != h->code || err.code != rc) fail_msg("%s: returned %d (%s)", h->name, rc, err.msg);
    if (!strstr(err.msg, h->message)) fail_msg("%s: \"%s\" without \"%s\"", h->name, err.msg, h->message);
    if (err.offset != at)
      fail_msg("%s: offset %lld instead of %lld (%s)", h->name, (long long)err.offset, (long long)at, err.msg);
    assert_string_equal(err.file, "test.gguf");
    assert_int_equal(myna__mem_in_use(), before);
    assert_int_equal(parse(b.p, b.n, NULL), h->code); /* err may be NULL */
    free(b.p);
  }
}

/* What is at the limit of a rule, but within it. */
static void test_accepted(void **state) {
  static const char *const files[] = {
      V3(0, 0),
      V3(0, 0) "z:100",
      V3(0, 1) "8:65535 r:65535:61 4:0 1:0",
      V3(0, 1) "s'a b~!' 4:0 1:0",
      V3(0, 3) "s'a' 4:0 1:0 s'b' 4:0 1:0 s'c' 4:0 1:0", /* the least bytes that three keys can have */
      V3(0, 1) "s'k' 4:9 4:9 8:2 4:8 8:1 s'x' 4:0 8:3 z:3",
      V3(0, 1) "s'k' 4:9 4:9 8:0",
      V3(0, 1) "s'k' 4:9 4:8 8:3 8:0 8:0 8:0",
      V3(0, 1) "s'k' 4:9 4:9 8:2 4:0 8:0 4:8 8:0",
      V3(0, 1) "s'k' 4:9 4:10 8:0",
      V3(0, 2) "s'split.count' 4:2 2:1 s'split.no' 4:2 2:0",
      V3(0, 1) "s'split.count' 4:2 2:0",
      V3(1, 0) "8:64 r:64:61 4:1 8:8 4:0 8:0 p:32 z:32",
      V3(1, 0) "8:2 1:0xc3 1:0xa9 4:1 8:8 4:0 8:0 p:32 z:32",
      V3(1, 0) "8:9 'ab' 1:0xe2 1:0x82 1:0xac 1:0xf0 1:0x9f 1:0x98 1:0x80 4:1 8:8 4:0 8:0 p:32 z:32",
      V3(1, 0) T("t", "4:1 8:33", 24, 0) "p:32 z:33",                            /* last one not padded */
      V3(1, 0) T("t", "4:1 8:33", 24, 0) "p:32 z:64",                            /* padded */
      V3(1, 0) T("t", "4:1 8:33", 24, 0) "p:32 z:165",                           /* and something behind */
      V3(1, 0) T("t", "4:1 8:32", 24, 64) "p:32 z:96",                           /* a gap before */
      V3(2, 0) T("b", "4:1 8:32", 24, 64) T("a", "4:1 8:32", 24, 0) "p:32 z:96", /* any order, gaps */
      V3(3, 0) T("c", "4:1 8:32", 24, 64) T("a", "4:1 8:32", 24, 0) T("b", "4:1 8:32", 24, 32) "p:32 z:96",
      V3(1, 1) "s'general.alignment' 4:4 4:1 " T("t", "4:1 8:3", 24, 5) "z:8",
  };
  for (size_t i = 0; i < MYNA__COUNT(files); i++) {
    int64_t at;
    gw_bytes b = assemble(files[i], &at);
    myna_err err = {0};
    ASSERT_OK_ERR(parse(b.p, b.n, &err), &err);
    free(b.p);
  }
}

static void test_header_only(void **state) {
  gw_bytes f = sample(3, 0);
  char path[64];
  test_tmpfile(path, f.p, f.n);
  size_t first = 0;
  for (size_t n = f.n + 1; n-- > 0;) {
    assert_int_equal(truncate(path, (off_t)n), 0);
    myna__gguf g;
    myna_err err = {0};
    int rc = myna__gguf_open(&g, path, &(myna__gguf_options){.header_only = true}, &err);
    if (rc < 0) break;
    first = n;
    assert_int_equal(g.n_tensors, 4);
    for (int i = 0; i < 4; i++)
      assert_int_equal(g.tensors[i].data != NULL, g.tensors[i].offset + g.tensors[i].bytes <= n);
    myna__gguf_close(&g);
  }
  /* the last info ends with its offset, 96 + 288 + 32 after the first */
  uint64_t last;
  memcpy(&last, f.p + first - 8, 8);
  assert_int_equal(last, 64 + 288 + 32);
  unlink(path);
  free(f.p);

  int64_t at;
  gw_bytes b = assemble(V3(1, 0) T("t", "4:1 8:8", 0, -32), &at);
  test_tmpfile(path, b.p, b.n);
  myna__gguf g;
  myna_err err = {0};
  ASSERT_FAILS(myna__gguf_open(&g, path, &(myna__gguf_options){.header_only = true}, &err), MYNA_E_FORMAT, &err,
               "overflows");
  unlink(path);
  free(b.p);
}

/* ---- typed reads ---- */

static void test_integers(void **state) {
  gw_bytes f = sample(3, 0);
  myna__gguf g;
  ASSERT_OK(myna__gguf_parse(&g, f.p, f.n, "sample", NULL));
  static const struct {
    const char *key;
    int64_t v;
  } good[] = {{"u8", 200},         {"i8", -5},           {"u16", 60000},    {"i16", -20000},
              {"u32", 4000000000}, {"i32", -2000000000}, {"i64", INT64_MIN}};
  for (size_t i = 0; i < MYNA__COUNT(good); i++) {
    int64_t v = 0, w = 0;
    double d = 0;
    assert_int_equal(myna__gguf_i64(&g, good[i].key, &v, NULL), 1);
    assert_true(v == good[i].v);
    assert_int_equal(myna__gguf_at_i64(&g, good[i].key, 99, &w, NULL), 1); /* a scalar stands for every element */
    assert_true(w == good[i].v);
    assert_int_equal(myna__gguf_f64(&g, good[i].key, &d, NULL), 1);
    assert_true(d == (double)good[i].v);
  }
  int64_t v = 77;
  assert_int_equal(myna__gguf_i64(&g, "absent", &v, NULL), 0);
  assert_int_equal(myna__gguf_at_i64(&g, "absent", 0, &v, NULL), 0);
  static const struct {
    const char *key, *message;
  } wrong[] = {{"u64", "18446744073709551615 does not fit"},
               {"f32", "expected an integer, found f32"},
               {"f64", "found f64"},
               {"yes", "found bool"},
               {"str", "found str"},
               {"words", "found an array of str"},
               {"a.i32", "found an array of i32"},
               {"nested", "found an array of arr"}};
  for (size_t i = 0; i < MYNA__COUNT(wrong); i++) {
    myna_err err = {0};
    ASSERT_FAILS(myna__gguf_i64(&g, wrong[i].key, &v, &err), MYNA_E_FORMAT, &err, wrong[i].message);
    assert_int_equal(err.offset, myna__gguf_find(&g, wrong[i].key)->data - f.p);
    assert_string_equal(err.file, "sample");
  }
  assert_int_equal(v, 77);
  myna__gguf_close(&g);
  free(f.p);
}

static void test_elements(void **state) {
  gw_bytes f = sample(3, 0);
  myna__gguf g;
  ASSERT_OK(myna__gguf_parse(&g, f.p, f.n, "sample", NULL));
  static const struct {
    const char *key;
    uint64_t i;
    int64_t v;
  } ints[] = {{"a.i32", 0, -1}, {"a.i32", 2, 7},     {"a.u8", 1, 255}, {"a.i8", 0, -1},
              {"a.i8", 1, 5},   {"a.u16", 1, 65535}, {"a.i16", 1, -3}, {"a.u32", 1, UINT32_MAX},
              {"a.u64", 0, 5},  {"a.i64", 1, -6},    {"a.bool", 0, 0}, {"a.bool", 1, 1},
              {"yes", 3, 1}};
  for (size_t i = 0; i < MYNA__COUNT(ints); i++) {
    int64_t v = 77;
    assert_int_equal(myna__gguf_at_i64(&g, ints[i].key, ints[i].i, &v, NULL), 1);
    assert_int_equal(v, ints[i].v);
  }
  static const struct {
    const char *key;
    uint64_t i;
    double v;
  } doubles[] = {{"a.f32", 0, 0.5},   {"a.u8", 1, 255}, {"u8", 0, 200},     {"a.i64", 1, -6},
                 {"a.u16", 1, 65535}, {"a.f32", 1, 2},  {"a.f64", 0, 0.25}, {"a.f64", 1, 8},
                 {"a.i32", 0, -1},    {"f32", 9, -1.5}, {"f64", 0, 1.25},   {"a.u64", 1, 18446744073709551615.0}};
  for (size_t i = 0; i < MYNA__COUNT(doubles); i++) {
    double v = 77;
    assert_int_equal(myna__gguf_at_f64(&g, doubles[i].key, doubles[i].i, &v, NULL), 1);
    assert_true(v == doubles[i].v);
  }
  int64_t v;
  double d;
  myna_err err = {0};
  ASSERT_FAILS(myna__gguf_at_i64(&g, "a.i32", 3, &v, &err), MYNA_E_FORMAT, &err, "element 3 is wanted, there are 3");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_at_f64(&g, "a.f32", UINT64_MAX, &d, &err), MYNA_E_FORMAT, &err,
               "element 18446744073709551615");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_at_i64(&g, "none", 0, &v, &err), MYNA_E_FORMAT, &err, "there are 0");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_at_i64(&g, "a.u64", 1, &v, &err), MYNA_E_FORMAT, &err, "does not fit");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_at_i64(&g, "a.bool", 2, &v, &err), MYNA_E_FORMAT, &err, "a bool is 3 instead of 0 or 1");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_at_i64(&g, "a.f32", 0, &v, &err), MYNA_E_FORMAT, &err, "found an array of f32");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_at_i64(&g, "words", 0, &v, &err), MYNA_E_FORMAT, &err, "found an array of str");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_at_f64(&g, "a.bool", 0, &d, &err), MYNA_E_FORMAT, &err,
               "expected a number, found an array of bool");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_at_f64(&g, "nested", 0, &d, &err), MYNA_E_FORMAT, &err, "expected a number");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_f64(&g, "words", &d, &err), MYNA_E_FORMAT, &err, "expected a number");
  assert_int_equal(myna__gguf_at_f64(&g, "absent", 0, &d, &err), 0);
  assert_int_equal(myna__gguf_f64(&g, "absent", &d, &err), 0);
  myna__gguf_close(&g);
  free(f.p);
}

static void test_bools_and_strings(void **state) {
  gw_bytes f = sample(3, 0);
  myna__gguf g;
  ASSERT_OK(myna__gguf_parse(&g, f.p, f.n, "sample", NULL));
  bool b = false;
  assert_int_equal(myna__gguf_bool(&g, "yes", &b, NULL), 1);
  assert_true(b);
  assert_int_equal(myna__gguf_bool(&g, "no", &b, NULL), 1);
  assert_false(b);
  assert_int_equal(myna__gguf_bool(&g, "absent", &b, NULL), 0);
  myna_err err = {0};
  ASSERT_FAILS(myna__gguf_bool(&g, "neither", &b, &err), MYNA_E_FORMAT, &err,
               "key 'neither': a bool is 2 instead of 0 or 1");
  err.code = 0;
  ASSERT_FAILS(myna__gguf_bool(&g, "u8", &b, &err), MYNA_E_FORMAT, &err, "expected a bool, found u8");
  myna__str s = {0};
  assert_int_equal(myna__gguf_str(&g, "str", &s, NULL), 1);
  assert_true(myna__str_eq(s, "text"));
  assert_int_equal(myna__gguf_str(&g, "empty", &s, NULL), 1);
  assert_int_equal(s.n, 0);
  assert_int_equal(myna__gguf_str(&g, "absent", &s, NULL), 0);
  err.code = 0;
  ASSERT_FAILS(myna__gguf_str(&g, "words", &s, &err), MYNA_E_FORMAT, &err, "expected a string, found an array of str");
  const myna__gguf_kv *kv = myna__gguf_find(&g, "words");
  assert_true(kv->type == MYNA__GGUF_ARR && kv->elem == MYNA__GGUF_STR && kv->count == 3);
  const uint8_t *p = kv->data;
  assert_true(myna__str_eq(myna__gguf_next_str(&p), "alpha"));
  assert_true(myna__str_eq(myna__gguf_next_str(&p), ""));
  assert_true(myna__str_eq(myna__gguf_next_str(&p), "gamma \xff"));
  kv = myna__gguf_find(&g, "nested");
  assert_true(kv->type == MYNA__GGUF_ARR && kv->elem == MYNA__GGUF_ARR && kv->count == 2);
  for (int t = 0; t < MYNA__GGUF_TYPES; t++) assert_true(strlen(myna__gguf_type_name((myna__gguf_type)t)) >= 2);
  assert_string_equal(myna__gguf_type_name(MYNA__GGUF_F64), "f64");
  myna__gguf_close(&g);
  free(f.p);
}

/* ---- tensor types ---- */

/* Ids, block sizes and bytes as in ggml (August 2026). Written down a second time on purpose. */
static const struct {
  uint32_t id;
  const char *name;
  int block, bytes;
} ggml_types[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},      {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},      {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},
    {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},   {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},   {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18},    {42, "Q2_0", 64, 18},
};

static void test_all_types(void **state) {
  gw w = gw_new(3);
  for (size_t i = 0; i < MYNA__COUNT(ggml_types); i++) {
    int64_t dims[2] = {2 * ggml_types[i].block, 3};
    gw_tensor(&w, ggml_types[i].name, ggml_types[i].id, dims, 2, NULL, (size_t)(6 * ggml_types[i].bytes));
  }
  gw_bytes f = gw_finish(&w);
  myna__gguf g;
  myna_err err = {0};
  ASSERT_OK_ERR(myna__gguf_parse(&g, f.p, f.n, "types", &err), &err);
  for (size_t i = 0; i < MYNA__COUNT(ggml_types); i++) {
    const myna__gguf_tensor *t = &g.tensors[i];
    assert_string_equal(myna_dtype_name(t->type), ggml_types[i].name);
    assert_int_equal(t->bytes, 6 * ggml_types[i].bytes);
    assert_int_equal(t->data[0], (i * 37) & 0xFF);
  }
  myna__gguf_close(&g);
  free(f.p);
}

/* Many keys and tensors: tables and maps grow. */
static void test_many(void **state) {
  enum { N = 3000 };
  gw w = gw_new(2);
  char name[64];
  for (int i = 0; i < N; i++) {
    snprintf(name, sizeof name, "key.%d", i);
    gw_u32(&w, name, (uint32_t)i);
    snprintf(name, sizeof name, "blk.%d.weight", i);
    gw_tensor(&w, name, 24, (int64_t[]){1 + i % 40}, 1, NULL, (size_t)(1 + i % 40));
  }
  gw_bytes f = gw_finish(&w);
  myna__gguf g;
  test_failing counter;
  test_fail_at(&counter, 0);
  ASSERT_OK(myna__gguf_parse(&g, f.p, f.n, "many", NULL));
  assert_true(counter.live < 6 * (int64_t)f.n); /* a small multiple of the file */
  for (int i = 0; i < N; i += 7) {
    int64_t v;
    snprintf(name, sizeof name, "key.%d", i);
    assert_int_equal(myna__gguf_i64(&g, name, &v, NULL), 1);
    assert_int_equal(v, i);
    snprintf(name, sizeof name, "blk.%d.weight", i);
    assert_ptr_equal(myna__gguf_tensor_find(&g, name), &g.tensors[i]);
  }
  myna__gguf_close(&g);
  assert_int_equal(counter.live, 0);
  test_fail_off();
  free(f.p);
}

/* A count that the file cannot hold costs no memory. */
static void test_counts_cost_nothing(void **state) {
  int64_t at;
  gw_bytes b = assemble("'GGUF' 4:3 8:0 8:70000 s'k' 4:9 4:0 8:1000000 z:1000000", &at);
  test_failing counter;
  test_fail_at(&counter, 0);
  myna__mem_peak(true);
  int64_t before = myna__mem_in_use();
  assert_int_equal(parse(b.p, b.n, NULL), MYNA_E_FORMAT);
  assert_true(myna__mem_peak(false) - before < 20000);
  assert_int_equal(counter.live, 0);
  test_fail_off();
  free(b.p);
}

static void test_no_memory(void **state) {
  gw_bytes f = sample(3, 0);
  for (int stay = 0; stay < 2; stay++)
    for (int n = 1;; n++) {
      test_failing failing;
      myna_err err = {0};
      test_fail_at(&failing, n);
      failing.stay = stay;
      int rc = parse(f.p, f.n, &err);
      test_fail_off();
      assert_int_equal(failing.live, 0);
      assert_int_equal(rc, failing.failed ? MYNA_E_NOMEM : 0);
      assert_int_equal(err.code, rc);
      if (!failing.failed) break;
    }
  free(f.p);
}

/* An unsorted file sorts, which needs memory too. */
static void test_no_memory_for_sort(void **state) {
  int64_t at;
  gw_bytes b = assemble(V3(2, 0) T("b", "4:1 8:32", 24, 64) T("a", "4:1 8:32", 24, 0) "p:32 z:96", &at);
  int failures = 0;
  for (int n = 1;; n++, failures++) {
    test_failing failing;
    test_fail_at(&failing, n);
    int rc = parse(b.p, b.n, NULL);
    test_fail_off();
    assert_int_equal(failing.live, 0);
    assert_int_equal(rc, failing.failed ? MYNA_E_NOMEM : 0);
    if (!failing.failed) break;
  }
  assert_true(failures >= 5);
  free(b.p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_valid),
      cmocka_unit_test(test_open),
      cmocka_unit_test(test_prefixes),
      cmocka_unit_test(test_flipped_bytes),
      cmocka_unit_test(test_hostile),
      cmocka_unit_test(test_accepted),
      cmocka_unit_test(test_header_only),
      cmocka_unit_test(test_integers),
      cmocka_unit_test(test_elements),
      cmocka_unit_test(test_bools_and_strings),
      cmocka_unit_test(test_all_types),
      cmocka_unit_test(test_many),
      cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_no_memory_for_sort),
      cmocka_unit_test(test_counts_cost_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
