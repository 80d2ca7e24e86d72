/* table.c: builds the kernel table of every supported CPU level, and the rows of panel forms. */
#include "kernels/table.h"
#include <pthread.h>

static myna__ktable tables[MYNA__CPU_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Is `low` a level that `high` builds on? AVX-512 machines need not have AVX-VNNI. */
static bool builds_on(myna__cpu_level high, myna__cpu_level low) {
  if (low == high || low == MYNA__CPU_REF) return true;
  bool same_arch = (high >= MYNA__CPU_NEON) == (low >= MYNA__CPU_NEON);
  return same_arch && low < high && low != MYNA__CPU_AVX2VNNI;
}

static void build(myna__cpu_level level, bool fast_bf16) {
  myna__ktable *t = &tables[level];
  *t = (myna__ktable){.bf16_dot = fast_bf16 && level == MYNA__CPU_AVX512BF16};
#define FILL(l, name) \
  if (builds_on(level, MYNA__CPU_##l)) myna__fill_##name(t);
#if defined(MYNA_LEVELS_AVX2)
#define FILL_X86(l, name) FILL_X86_##l(name)
#define FILL_X86_AVX2(name) FILL(AVX2, name)
#define FILL_X86_AVX2VNNI(name)
#define FILL_X86_AVX512(name)
#define FILL_X86_AVX512BF16(name)
#elif defined(__x86_64__)
#define FILL_X86(l, name) FILL(l, name)
#elif defined(__aarch64__)
#define FILL_ARM(l, name) FILL(l, name)
#endif
#include "kernels/kernels.inc"
}

static void build_all(void) {
  bool fast_bf16 = myna__cpu_fast_bf16();
  for (int l = 0; l < MYNA__CPU_COUNT; l++)
    if (myna__cpu_supported((myna__cpu_level)l)) build((myna__cpu_level)l, fast_bf16);
}

const myna__ktable *myna__kernels(void) {
  pthread_once(&once, build_all);
  return &tables[myna__cpu()];
}

bool myna__bf16_dot(void) { return myna__kernels()->bf16_dot; }

void myna__force_bf16_dot(bool use) {
  pthread_once(&once, build_all);
  if (myna__cpu_supported(MYNA__CPU_AVX512BF16)) build(MYNA__CPU_AVX512BF16, use);
}

/* ---- panel forms ---- */

static const struct {
  myna__ptype p;
  bool has;
} rows[MYNA_DTYPE_COUNT] = {
#define PANEL(type, form, shift, groups, min, narrow) \
  [MYNA_##type] = {{MYNA_##type, MYNA__FORM_##form, shift, groups, min, narrow}, true},
#include "kernels/panels.inc"
#undef PANEL
};

enum { KIND_FLOAT, KIND_INT, KIND_BOOL, KIND_QUANT, KIND_PLANES };
static const struct {
  myna__ptype p;
  int kind;
} types[MYNA_DTYPE_COUNT] = {
#define DTYPE(name, str, ggml_id, block, bytes, kind) \
  [MYNA_##name] = {{MYNA_##name, MYNA__FORM_F32, -1, 0, false, 0}, KIND_##kind},
#include "myna_dtypes.inc"
#undef DTYPE
};

const myna__ptype *myna__ptype_of(myna_dtype t, bool exact) {
  const myna__quant *q = myna__quant_get(t);
  if (!q) return NULL;
  if (exact || q->act == MYNA__ACT_F32) return &types[t].p;
  return rows[t].has ? &rows[t].p : NULL;
}

myna__wrow myna__wrow_at(const myna__wrow *w, myna_dtype t, int64_t k) {
  myna__wrow r = *w;
  r.p[0] += k / myna_dtype_block(t) * myna_dtype_bytes(t);
  if (types[t].kind == KIND_PLANES) {
    int64_t offset = k / w->group * myna_dtype_bytes(w->scale_type);
    r.p[1] += offset;
    r.p[2] += offset;
  }
  return r;
}
