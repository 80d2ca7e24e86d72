/* shape.c: rules of shapes and types that ops share. */
#include "graph/build.h"
#include <stdio.h>

enum kind { KIND_FLOAT, KIND_INT, KIND_BOOL, KIND_QUANT, KIND_PLANES };

static enum kind kind_of(myna_dtype t) {
  static const uint8_t kinds[] = {
#define DTYPE(name, str, id, block, bytes, kind) KIND_##kind,
#include "myna_dtypes.inc"
#undef DTYPE
  };
  return (enum kind)kinds[t];
}

bool myna__dtype_is_float(myna_dtype t) { return kind_of(t) == KIND_FLOAT; }
bool myna__dtype_is_int(myna_dtype t) { return kind_of(t) == KIND_INT; }
bool myna__dtype_is_packed(myna_dtype t) { return kind_of(t) == KIND_QUANT || kind_of(t) == KIND_PLANES; }

/* bool < int < float; wider wins inside a kind; F16 with BF16 gives F32. */
myna_dtype myna__dtype_promote(myna_dtype a, myna_dtype b) {
  if (a == b) return a;
  enum kind ka = kind_of(a), kb = kind_of(b);
  if (ka != kb) {
    if (ka == KIND_FLOAT || kb == KIND_BOOL) return a;
    return b;
  }
  int ba = myna_dtype_bytes(a), bb = myna_dtype_bytes(b);
  if (ka == KIND_FLOAT) return ba == bb ? MYNA_F32 : ba > bb ? a : b;
  if (ba != bb) return ba > bb ? a : b;
  static const myna_dtype next_signed[] = {[1] = MYNA_I16, [2] = MYNA_I32, [4] = MYNA_I64, [8] = MYNA_I64};
  return next_signed[ba]; /* signed with unsigned of one width */
}

bool myna__spec_same_dims(const myna__spec *a, const myna__spec *b) {
  if (a->n_dims != b->n_dims) return false;
  for (int i = 0; i < a->n_dims; i++)
    if (a->dims[i] != b->dims[i]) return false;
  return true;
}

char *myna__spec_text(const myna__spec *s, char *buf, size_t n) {
  size_t at = (size_t)snprintf(buf, n, "%s[", myna_dtype_name(s->type));
  for (int i = 0; i < s->n_dims && at < n; i++) {
    const char *sep = i ? "," : "";
    if (s->dims[i] < 0)
      at += (size_t)snprintf(buf + at, n - at, "%sSYM%d", sep, (int)(-1 - s->dims[i]));
    else
      at += (size_t)snprintf(buf + at, n - at, "%s%lld", sep, (long long)s->dims[i]);
  }
  if (at < n) snprintf(buf + at, n - at, "]");
  return buf;
}

int myna__spec_broadcast(const myna__spec *a, const myna__spec *b, myna__spec *out, myna_err *err) {
  int n = MYNA__MAX(a->n_dims, b->n_dims);
  out->n_dims = n;
  for (int i = 0; i < n; i++) {
    int ia = i - (n - a->n_dims), ib = i - (n - b->n_dims);
    int64_t da = ia >= 0 ? a->dims[ia] : 1, db = ib >= 0 ? b->dims[ib] : 1;
    if (da != db && da != 1 && db != 1) {
      char ta[128], tb[128];
      return myna__err(err, MYNA_E_SHAPE, "%s and %s do not broadcast", myna__spec_text(a, ta, sizeof ta),
                       myna__spec_text(b, tb, sizeof tb));
    }
    out->dims[i] = da == 1 ? db : da;
  }
  return 0;
}

int myna__axis(int axis, int n_dims, myna_err *err) {
  int a = axis < 0 ? axis + n_dims : axis;
  if (a < 0 || a >= n_dims) return myna__err(err, MYNA_E_SHAPE, "axis %d of an array of %d dimensions", axis, n_dims);
  return a;
}

int myna__axis_fixed(const myna__spec *s, int axis, myna_err *err) {
  axis = myna__axis(axis, s->n_dims, err);
  if (axis >= 0 && s->dims[axis] < 0) return myna__err(err, MYNA_E_SHAPE, "axis %d is symbolic", axis);
  return axis;
}

myna_dtype myna__dtype_number(myna_dtype t) { return t == MYNA_BOOL ? MYNA_I32 : t; }
myna_dtype myna__dtype_floating(myna_dtype t) { return myna__dtype_is_float(t) ? t : MYNA_F32; }
