/* Quantizing is part of the numerics: the same floats give the same bytes on every machine and with every compiler. A hash
 * of the blocks of each type, from rows that exercise the searches, with and without an importance matrix. Whoever
 * changes a quantizer on purpose takes over the table that the test prints. */
#include "test.h"
#include "kernels/quants.h"

enum { KINDS = 8, N = 2048 };

static uint64_t fnv(uint64_t h, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001B3u;
  return h;
}

static void fill(test_rng *r, int kind, float *x) {
  for (int i = 0; i < N; i++) {
    float v = test_normal(r), u = test_float(r);
    switch (kind) {
    case 0: x[i] = v; break;
    case 1: x[i] = v * v * v; break;                             /* heavy tails */
    case 2: x[i] = u + 2; break;                                 /* all positive */
    case 3: x[i] = -(u + 1) / 4096; break;                       /* all negative, small */
    case 4: x[i] = (float)test_int(r, 15) - 7; break;            /* on a grid */
    case 5: x[i] = i % 32 == 3 ? 100 * v : v / 64; break;        /* one large value a block */
    case 6: x[i] = i / 64 % 2 ? 0 : v; break;                    /* blocks of zeros */
    default: x[i] = i % 256 < 128 ? 0.5f : u * (float)(i % 256); /* constant halves */
    }
  }
}

static uint64_t hash_of(const myna__quant *q, myna_dtype t, bool weighed) {
  static float x[N], w[N];
  static uint8_t blocks[N * 8];
  test_rng r = {t == MYNA_F32 ? 1 : 77};
  uint64_t h = 0xCBF29CE484222325u;
  size_t bytes = (size_t)(N / myna_dtype_block(t) * myna_dtype_bytes(t));
  for (int kind = 0; kind < KINDS; kind++) {
    fill(&r, kind, x);
    for (int i = 0; i < N; i++) w[i] = kind == 7 && i < 512 ? 0 : (1 + test_float(&r)) * (i % 5 ? 1.0f : 20.0f);
    memset(blocks, 0, bytes);
    q->from_f32(blocks, x, weighed ? w : NULL, N);
    h = fnv(h, blocks, bytes);
  }
  return h;
}

static const struct {
  myna_dtype type;
  uint64_t plain, weighed;
} want[] = {
#include "quant_bits.inc"
};

static void test_bits(void **state) {
  (void)state;
  bool same = true;
  int n = 0;
  static char table[MYNA_DTYPE_COUNT * 96];
  size_t at = 0;
  for (int t = 0; t < MYNA_DTYPE_COUNT; t++) {
    const myna__quant *q = myna__quant_get((myna_dtype)t);
    if (!q || !q->from_f32 || myna_dtype_block((myna_dtype)t) == 1) continue;
    uint64_t plain = hash_of(q, (myna_dtype)t, false), weighed = hash_of(q, (myna_dtype)t, true);
    at += (size_t)snprintf(table + at, sizeof table - at, "{MYNA_%s, 0x%016llXu, 0x%016llXu},\n",
                           myna_dtype_name((myna_dtype)t), (unsigned long long)plain, (unsigned long long)weighed);
    bool found = false;
    for (size_t i = 0; i < MYNA__COUNT(want); i++)
      found |= want[i].type == (myna_dtype)t && want[i].plain == plain && want[i].weighed == weighed;
    same &= found;
    n++;
  }
  if (same && n == (int)MYNA__COUNT(want)) return;
  fputs(table, stderr); /* longer than cmocka's messages */
  fail_msg("quantized bytes have changed: tests/kernels/quant_bits.inc should be as printed");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_bits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
