/* grids.c: codebooks of the IQ types.
 *
 * A codebook is a set of small vectors in ascending order of the number their levels spell, so grids.inc holds
 * it as a bitmap over those numbers (about 4 KiB for all six instead of 35); counting through the set bits
 * gives the entries back.
 * Source: the constants are facts of the GGUF formats, taken from the `gguf` Python package by
 * tools/make_grids.py. */
#include "kernels/quants/grids.h"
#include "base/base.h"
#include <pthread.h>

const int8_t myna__levels_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t myna__levels_e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

#define BOOK(name, levels, digits, entries, ...) static const uint64_t bits_##name[] = {__VA_ARGS__};
#include "kernels/quants/grids.inc"
#undef BOOK

/* What a level stands for. */
static const int8_t value_iq1[3] = {-1, 0, 1};
static const int8_t value_iq2[3] = {8, 25, 43};
static const int8_t value_iq3_xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62};
static const int8_t value_iq3_s[8] = {1, 3, 5, 7, 9, 11, 13, 15};

/* out [entries, digits], `size` bytes */
static void unpack(void *out, size_t size, const uint64_t *bits, size_t words, const int8_t *value, int levels,
                   int digits) {
  int8_t *p = out;
  (void)size;
  for (size_t w = 0; w < words; w++) {
    for (uint64_t left = bits[w]; left; left &= left - 1) {
      int number = (int)(64 * w) + __builtin_ctzll(left);
      for (int j = 0; j < digits; j++, number /= levels) *p++ = value[number % levels];
    }
  }
  assert(p == (int8_t *)out + size);
}

static myna__grids grids;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* planes[j][i] = byte j of entry i plus offset, n entries of `size` bytes. */
static void split(uint8_t *planes, const void *entries, int n, int size, int offset) {
  const uint8_t *from = entries;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < size; j++) planes[j * n + i] = (uint8_t)(from[i * size + j] + offset);
}

static void init(void) {
  unpack(grids.iq2_xxs, sizeof grids.iq2_xxs, bits_iq2_xxs, MYNA__COUNT(bits_iq2_xxs), value_iq2, 3, 8);
  unpack(grids.iq2_xs, sizeof grids.iq2_xs, bits_iq2_xs, MYNA__COUNT(bits_iq2_xs), value_iq2, 3, 8);
  unpack(grids.iq2_s, sizeof grids.iq2_s, bits_iq2_s, MYNA__COUNT(bits_iq2_s), value_iq2, 3, 8);
  unpack(grids.iq1, sizeof grids.iq1, bits_iq1, MYNA__COUNT(bits_iq1), value_iq1, 3, 8);
  unpack(grids.iq3_xxs, sizeof grids.iq3_xxs, bits_iq3_xxs, MYNA__COUNT(bits_iq3_xxs), value_iq3_xxs, 8, 4);
  unpack(grids.iq3_s, sizeof grids.iq3_s, bits_iq3_s, MYNA__COUNT(bits_iq3_s), value_iq3_s, 8, 4);
  split(grids.iq2_xxs_planes[0], grids.iq2_xxs, 256, 8, 64);
  split(grids.iq2_xs_planes[0], grids.iq2_xs, 512, 8, 64);
  split(grids.iq3_xxs_planes[0], grids.iq3_xxs, 256, 4, 64);
  split(grids.iq3_s_planes[0], grids.iq3_s, 512, 4, 16);
}

const myna__grids *myna__grids_get(void) {
  pthread_once(&once, init);
  return &grids;
}
