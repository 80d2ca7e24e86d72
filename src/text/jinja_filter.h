/* jinja_filter.h: what the files of filters, tests and globals share; private to jinja*.c. */
#ifndef MYNA__JINJA_FILTER_H
#define MYNA__JINJA_FILTER_H

#include "text/jinja_value.h"

typedef struct jfilter_row {
  const char *name;
  jv (*fn)(jx *x, jv v, const jargs *a);
} jfilter_row;
typedef struct jtest_row {
  const char *name;
  bool (*fn)(jx *x, jv v, const jargs *a);
} jtest_row;

/* Each list ends in a row without a name. */
extern const jfilter_row myna__jf_text[], myna__jf_html[], myna__jf_seq[], myna__jf_json[];
extern const jtest_row myna__jt_rows[];

/* Pairs of a dict as a list of tuples; l in the order of its items' keys (NULL: the items), texts without regard to case unless `cases`. */
jv myna__jf_pairs(jx *x, jv d);
jv myna__jf_sorted(jx *x, jv l, jv (*key)(jx *, jv, const jargs *), const jargs *a, bool reverse, bool cases);

static inline jv arg(const jargs *a, int i, const char *name, jv missing) { return myna__jx_arg(a, i, name, missing); }
static inline int64_t int_arg(jx *x, const jargs *a, int i, const char *name, int64_t missing) {
  jv v = arg(a, i, name, jv_int(missing));
  if (v.t == J_INT) return v.u.i;
  if (v.t == J_BOOL) return v.u.b;
  if (v.t != J_NONE) myna__jx_fail(x, MYNA_E_ARG, "argument %s must be an integer", name);
  return missing;
}
static inline bool bool_arg(const jargs *a, int i, const char *name, bool missing) {
  return myna__jv_true(arg(a, i, name, jv_bool(missing)));
}
static inline jv bad_type(jx *x, jv v, const char *what) {
  return myna__jx_fail(x, MYNA_E_ARG, "%s of '%s' object", what, myna__jv_type(v));
}
static inline jv text_of(jx *x, jv v) { return myna__jv_to_str(x, v); }

#endif
