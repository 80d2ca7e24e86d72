/* fuzz_safetensors.c: any bytes as a .safetensors file, as JSON for the pull reader, and as a .npy file. Beyond what
 * the sanitizers see it checks that a failure has code, place and reason, that everything is given back, that accepted
 * tensors tile the data, and that JSON's tokens are balanced. */
#include "formats/jsonread.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>

static volatile uint64_t sink;

static void check_err(int rc, const myna_err *err, size_t size) {
  CHECK(rc < 0 && err->code == rc);
  CHECK(err->msg[0] && strcmp(err->file, "fuzz") == 0);
  CHECK(err->offset >= 0 && err->offset <= (int64_t)size);
}

static void as_safetensors(const uint8_t *data, size_t size) {
  myna__safetensors s;
  myna_err err = {0};
  int rc = myna__st_parse(&s, data, size, "fuzz", &err);
  if (rc < 0) {
    check_err(rc, &err, size);
    return;
  }
  uint64_t covered = 0, header;
  memcpy(&header, data, 8);
  for (int64_t i = 0; i < s.n_tensors; i++) {
    const myna__st_tensor *t = &s.tensors[i];
    covered += t->bytes;
    CHECK(t->n_dims <= MYNA__ST_DIMS && memchr(t->dtype, 0, sizeof t->dtype));
    CHECK(t->data == data + t->offset && t->offset + t->bytes <= size);
    if (t->bytes) sink += t->data[0] + t->data[t->bytes - 1];
    for (size_t k = 0; k < t->name.n; k++) sink += (uint8_t)t->name.p[k];
    int64_t found = myna__map_get(&s.map, t->name.p, t->name.n, -1);
    CHECK(found == i);
  }
  CHECK(covered == size - 8 - header);
  for (int64_t i = 0; i < 2 * s.n_meta; i++)
    for (size_t k = 0; k < s.meta[i].n; k++) sink += (uint8_t)s.meta[i].p[k];
  myna__st_close(&s);
}

static void as_json(const uint8_t *data, size_t size) {
  myna__json j;
  myna_err err = {0};
  int rc, depth = 0;
  myna__json_init(&j, data, size, "fuzz", 0, &err);
  while ((rc = myna__json_next(&j)) > 0) {
    depth += rc == MYNA__JSON_OBJECT || rc == MYNA__JSON_ARRAY;
    depth -= rc == MYNA__JSON_OBJECT_END || rc == MYNA__JSON_ARRAY_END;
    CHECK(depth == j.depth && depth >= 0 && j.at < size);
    if (rc == MYNA__JSON_KEY || rc == MYNA__JSON_STRING) {
      for (size_t k = 0; k < j.str.n;) { /* whatever comes out is UTF-8 */
        int n = (uint8_t)j.str.p[k] < 0x80 ? 1 : myna__utf8_len((const uint8_t *)j.str.p + k, j.str.n - k);
        CHECK(n > 0);
        k += (size_t)n;
      }
    }
    if (rc == MYNA__JSON_NUMBER) {
      myna__json copy = j; /* a refused conversion ends the reader: try on a copy */
      myna_err ignored = {0};
      int64_t i;
      double d;
      copy.err = &ignored;
      if (myna__json_i64(&copy, &i) == 0 && myna__json_f64(&copy, &d) == 0) CHECK(d == (double)i);
    }
  }
  if (rc < 0) check_err(rc, &err, size);
  CHECK(rc < 0 || depth == 0);
  myna__json_free(&j);

  /* skipping the first value ends where reading it ended */
  myna_err again = {0};
  myna__json k;
  myna__json_init(&k, data, size, "fuzz", 0, &again);
  int skipped = myna__json_next(&k);
  if (skipped >= 0) skipped = myna__json_skip(&k);
  if (skipped >= 0) skipped = myna__json_expect(&k, MYNA__JSON_END);
  CHECK(skipped == rc && (rc == 0 || again.offset == err.offset));
  myna__json_free(&k);
}

static void as_npy(const uint8_t *data, size_t size) {
  myna__npy a;
  myna_err err = {0};
  int rc = myna__npy_parse(&a, data, size, "fuzz", &err);
  if (rc < 0) {
    check_err(rc, &err, size);
    return;
  }
  CHECK(a.n >= 0 && (uint64_t)a.n * 4 <= size && a.n_dims <= MYNA__NPY_DIMS);
  for (int64_t i = 0; i < a.n * 4; i++) sink += ((const uint8_t *)a.data)[i];
  myna__npy_close(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  int64_t before = myna__mem_in_use();
  myna__mem_peak(true);
  as_safetensors(data, size);
  as_json(data, size);
  as_npy(data, size);
  CHECK(myna__mem_in_use() == before);
  CHECK(myna__mem_peak(false) - before < 64 * (int64_t)size + 65536);
  return 0;
}
