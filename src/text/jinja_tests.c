/* jinja_tests.c: what may stand behind `is`, one row each. */
#include "text/jinja_filter.h"

static bool t_defined(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t != J_UNDEF; }
static bool t_undefined(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_UNDEF; }
static bool t_none(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_NONE; }
static bool t_string(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_STR; }
static bool t_mapping(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_DICT; }
static bool t_number(jx *x, jv v, const jargs *a) { return (void)x, (void)a, jv_is_num(v); }
static bool t_integer(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_INT; }
static bool t_float(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_FLOAT; }
static bool t_boolean(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_BOOL; }
static bool t_true(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_BOOL && v.u.b; }
static bool t_false(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_BOOL && !v.u.b; }
static bool t_callable(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_FUNC || v.t == J_UNDEF; }
static bool t_escaped(jx *x, jv v, const jargs *a) { return (void)x, (void)a, v.t == J_STR && v.safe; }
static bool t_iterable(jx *x, jv v, const jargs *a) {
  return (void)x, (void)a, v.t == J_UNDEF || v.t == J_STR || jv_is_seq(v) || v.t == J_DICT;
}
static bool t_sequence(jx *x, jv v, const jargs *a) {
  return (void)x, (void)a, v.t == J_UNDEF || v.t == J_STR || (v.t == J_LIST && !v.n) || v.t == J_TUPLE || v.t == J_DICT;
}
static int64_t remainder_of(jx *x, jv v, jv by) {
  jv r = myna__jv_binary(x, '%', v, by);
  return r.t == J_INT ? r.u.i : r.t == J_FLOAT && r.u.f == 0 ? 0 : -1;
}
static bool t_odd(jx *x, jv v, const jargs *a) { return (void)a, remainder_of(x, v, jv_int(2)) == 1; }
static bool t_even(jx *x, jv v, const jargs *a) { return (void)a, remainder_of(x, v, jv_int(2)) == 0; }
static bool t_divisibleby(jx *x, jv v, const jargs *a) { return remainder_of(x, v, arg(a, 0, "num", jv_none())) == 0; }
static bool case_is(jx *x, jv v, const char *method) {
  bool found = false;
  jv s = text_of(x, v), f = x->rc ? s : myna__jv_method(x, s, (myna__str){method, strlen(method)}, &found);
  return found && myna__jv_true(myna__jv_call(x, f, &(jargs){0}));
}
static bool t_lower(jx *x, jv v, const jargs *a) { return (void)a, case_is(x, v, "islower"); }
static bool t_upper(jx *x, jv v, const jargs *a) { return (void)a, case_is(x, v, "isupper"); }
static jv other(const jargs *a) { return arg(a, 0, "other", jv_undef()); }
static bool t_eq(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, '=', v, other(a)); }
static bool t_ne(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, '!', v, other(a)); }
static bool t_lt(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, '<', v, other(a)); }
static bool t_le(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, 'l', v, other(a)); }
static bool t_gt(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, '>', v, other(a)); }
static bool t_ge(jx *x, jv v, const jargs *a) { return myna__jv_compare(x, 'g', v, other(a)); }
static bool t_in(jx *x, jv v, const jargs *a) { return myna__jv_in(x, v, arg(a, 0, "seq", jv_undef())); }
static bool t_sameas(jx *x, jv v, const jargs *a) {
  jv o = other(a);
  if (v.t != o.t) return false;
  if (jv_is_seq(v)) return v.u.l == o.u.l;
  return jv_is_dict(v) ? v.u.d == o.u.d : myna__jv_equal(x, v, o);
}
static bool t_filter(jx *x, jv v, const jargs *a) {
  return (void)x, (void)a, v.t == J_STR && myna__jinja_filter(jv_text(v));
}
static bool t_test(jx *x, jv v, const jargs *a) {
  return (void)x, (void)a, v.t == J_STR && myna__jinja_test(jv_text(v));
}

const jtest_row myna__jt_rows[] = {{"boolean", t_boolean},
                                   {"callable", t_callable},
                                   {"defined", t_defined},
                                   {"divisibleby", t_divisibleby},
                                   {"eq", t_eq},
                                   {"equalto", t_eq},
                                   {"escaped", t_escaped},
                                   {"even", t_even},
                                   {"false", t_false},
                                   {"filter", t_filter},
                                   {"float", t_float},
                                   {"ge", t_ge},
                                   {"greaterthan", t_gt},
                                   {"gt", t_gt},
                                   {"in", t_in},
                                   {"integer", t_integer},
                                   {"iterable", t_iterable},
                                   {"le", t_le},
                                   {"lessthan", t_lt},
                                   {"lower", t_lower},
                                   {"lt", t_lt},
                                   {"mapping", t_mapping},
                                   {"ne", t_ne},
                                   {"none", t_none},
                                   {"number", t_number},
                                   {"odd", t_odd},
                                   {"sameas", t_sameas},
                                   {"sequence", t_sequence},
                                   {"string", t_string},
                                   {"test", t_test},
                                   {"true", t_true},
                                   {"undefined", t_undefined},
                                   {"upper", t_upper},
                                   {"==", t_eq},
                                   {"!=", t_ne},
                                   {"<", t_lt},
                                   {"<=", t_le},
                                   {">", t_gt},
                                   {">=", t_ge},
                                   {NULL, NULL}};
