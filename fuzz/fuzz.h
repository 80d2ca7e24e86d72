/* fuzz.h: what the fuzz targets share. */
#ifndef MYNA__FUZZ_H
#define MYNA__FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Also in builds without asserts. */
#define CHECK(x)                                              \
  do {                                                        \
    if (!(x)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
      abort();                                                \
    }                                                         \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
