/* dtype.c: the facts of myna_dtypes.inc as tables. */
#include "base/base.h"
#include <strings.h>

static const struct {
  const char *name;
  short block, bytes;
} dtypes[MYNA_DTYPE_COUNT] = {
#define DTYPE(name, str, ggml_id, block, bytes, kind) [MYNA_##name] = {str, block, bytes},
#include "myna_dtypes.inc"
#undef DTYPE
};

static bool known(myna_dtype t) { return (unsigned)t < MYNA_DTYPE_COUNT; }

const char *myna_dtype_name(myna_dtype t) { return known(t) ? dtypes[t].name : NULL; }
int myna_dtype_block(myna_dtype t) { return known(t) ? dtypes[t].block : 0; }
int myna_dtype_bytes(myna_dtype t) { return known(t) ? dtypes[t].bytes : 0; }

int myna_dtype_from_name(const char *name) {
  for (int t = 0; name && t < MYNA_DTYPE_COUNT; t++)
    if (strcasecmp(name, dtypes[t].name) == 0) return t;
  return -1;
}
