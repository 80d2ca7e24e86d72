/* jinja_eval.c: walks the tree: expressions, statements, scopes and macros, and the entry points. Scopes are Jinja's: a loop, a macro, a block
 * that is captured and `with` have their own; `if` has none. */
#include "text/jinja_value.h"
#include <math.h>
#include <time.h>

static jv eval(jx *x, const jnode *n);
static void exec(jx *x, const jnode *n);

/* ---- scopes ---- */

static jv lookup(jx *x, myna__str name) {
  jv k = jv_str(name.p, name.n);
  for (const jscope *s = x->scope; s && !x->rc; s = s->parent) {
    bool found;
    jv v = myna__jdict_get(x, &s->vars, k, &found);
    if (found) return v;
  }
  return (jv){.t = J_UNDEF, .n = (uint32_t)name.n, .u.s = name.p};
}

static jscope *push_scope(jx *x, jscope *parent) {
  jscope *s = myna__jx_alloc(x, sizeof *s), *old = x->scope;
  if (s) {
    s->parent = parent;
    x->scope = s;
  }
  return old;
}

static void define(jx *x, myna__str name, jv v) { myna__jdict_put(x, &x->scope->vars, jv_str(name.p, name.n), v); }

jv myna__jv_undefined(jx *x, jv v, const char *what) {
  char q[MYNA__QUOTE];
  return myna__jx_fail(x, MYNA_E_ARG, "%s: %s is undefined", what,
                       v.n ? myna__str_quote(q, (myna__str){v.u.s, v.n}) : "a value");
}

static void assign(jx *x, const jnode *t, jv v) {
  if (x->rc || !t) return;
  if (t->kind == JN_NAME) {
    define(x, t->s, v);
  } else if (t->kind == JN_ATTR) {
    jv ns = lookup(x, t->a->s);
    if (ns.t != J_NAMESPACE)
      myna__jx_fail(x, MYNA_E_ARG, "only attributes of namespaces can be set");
    else
      myna__jdict_put(x, ns.u.d, jv_str(t->s.p, t->s.n), v);
  } else {
    jv l = myna__jv_iter(x, v);
    if (!x->rc && l.u.l->n != t->n)
      myna__jx_fail(x, MYNA_E_ARG, "%lld values for %lld names", (long long)l.u.l->n, (long long)t->n);
    for (int64_t i = 0; i < t->n && !x->rc; i++) assign(x, t->kids[i], l.u.l->v[i]);
  }
}

/* ---- calls ---- */

enum { MAX_ARGS = 64 };
typedef struct argbuf {
  jargs a;
  jv pos[MAX_ARGS], values[MAX_ARGS];
  myna__str names[MAX_ARGS];
} argbuf;

static void add_keyword(jx *x, argbuf *b, myna__str name, jv v) {
  if (b->a.n_kw == MAX_ARGS) {
    myna__jx_fail(x, MYNA_E_LIMIT, "more than %d arguments", MAX_ARGS);
    return;
  }
  b->names[b->a.n_kw] = name;
  b->values[b->a.n_kw++] = v;
}

static void add_position(jx *x, argbuf *b, jv v) {
  if (b->a.n_pos == MAX_ARGS)
    myna__jx_fail(x, MYNA_E_LIMIT, "more than %d arguments", MAX_ARGS);
  else
    b->pos[b->a.n_pos++] = v;
}

/* Arguments of a call, in memory of the render (a frame with them would be large, and calls nest). */
static const jargs *arguments(jx *x, const jnode *n) {
  static const jargs none = {0};
  if (!n->n_args) return &none;
  argbuf *b = myna__jx_alloc(x, sizeof *b);
  if (!b) return &none;
  b->a = (jargs){b->pos, 0, b->names, b->values, 0};
  for (int64_t i = 0; i < n->n_args && !x->rc; i++) {
    jv v = eval(x, n->args[i].value);
    if (n->args[i].star == 1) {
      jv l = myna__jv_iter(x, v);
      for (int64_t k = 0; !x->rc && k < l.u.l->n; k++) add_position(x, b, l.u.l->v[k]);
    } else if (n->args[i].star == 2) {
      if (!jv_is_dict(v)) myna__jx_fail(x, MYNA_E_ARG, "argument after ** must be a mapping");
      for (int64_t k = 0; !x->rc && k < v.u.d->n; k++)
        if (v.u.d->e[k].k.t == J_STR) add_keyword(x, b, jv_text(v.u.d->e[k].k), v.u.d->e[k].v);
    } else if (n->args[i].name.p) {
      add_keyword(x, b, n->args[i].name, v);
    } else {
      add_position(x, b, v);
    }
  }
  return &b->a;
}

jv myna__jx_arg(const jargs *a, int i, const char *name, jv missing) {
  if (i >= 0 && i < a->n_pos) return a->pos[i];
  for (int k = 0; name && k < a->n_kw; k++)
    if (myna__str_eq(a->names[k], name)) return a->values[k];
  return missing;
}

jv myna__jv_call(jx *x, jv f, const jargs *a) {
  if (x->rc) return jv_undef();
  if (f.t == J_UNDEF) return myna__jv_undefined(x, f, "a call");
  bool found = false;
  if (f.t == J_DICT) f = myna__jdict_get(x, f.u.d, jv_z("__call__"), &found); /* loop(...) of recursive loops */
  if (f.t != J_FUNC) return myna__jx_fail(x, MYNA_E_ARG, "'%s' object is not callable", myna__jv_type(f));
  if (!myna__jx_enter(x)) return jv_undef();
  jv v = f.u.fn->call(x, f.u.fn, a);
  x->depth--;
  return x->rc ? jv_undef() : v;
}

/* Runs body with its output caught. */
static jv capture(jx *x, const jnode *body) {
  jbuf b = {0}, *out = x->out;
  x->out = &b;
  exec(x, body);
  x->out = out;
  return myna__jbuf_take(x, &b);
}

static jv caller_of(const jargs *a) { return myna__jx_arg(a, -1, "caller", jv_undef()); }

/* The keyword argument for parameter i of m, -1 without one. */
static int keyword_of(const jnode *m, int64_t i, const jargs *a) {
  myna__str name = m->args[i].name;
  for (int k = 0; k < a->n_kw; k++)
    if (a->names[k].n == name.n && memcmp(a->names[k].p, name.p, name.n) == 0) return k;
  return -1;
}

/* What is given beyond the parameters; a macro that asks for none of it takes none. */
static void bind_rest(jx *x, const jnode *m, const jargs *a, const bool *used) {
  char q[MYNA__QUOTE];
  jv rest = myna__jv_new(x, J_TUPLE), kw = myna__jv_new(x, J_DICT);
  for (int i = (int)m->n_args; !x->rc && i < a->n_pos; i++) {
    if (!(m->i & JM_VARARGS)) myna__jx_fail(x, MYNA_E_ARG, "a macro takes not more than %d arguments", (int)m->n_args);
    if (!x->rc) myna__jlist_add(x, rest.u.l, a->pos[i]);
  }
  for (int i = 0; !x->rc && i < a->n_kw; i++) {
    bool caller = myna__str_eq(a->names[i], "caller") && (m->i & JM_CALLER);
    if (used[i] || caller) continue;
    if (!(m->i & JM_KWARGS))
      myna__jx_fail(x, MYNA_E_ARG, "a macro takes no keyword argument %s", myna__str_quote(q, a->names[i]));
    else
      myna__jdict_put(x, kw.u.d, jv_str(a->names[i].p, a->names[i].n), a->values[i]);
  }
  define(x, (myna__str){"varargs", 7}, rest);
  define(x, (myna__str){"kwargs", 6}, kw);
}

static void bind(jx *x, const jnode *m, const jargs *a) {
  bool used[MAX_ARGS] = {false};
  for (int64_t i = 0; i < m->n_args && !x->rc; i++) {
    const jarg *p = &m->args[i];
    jv v = {.t = J_UNDEF, .n = (uint32_t)p->name.n, .u.s = p->name.p};
    int k = i < a->n_pos ? -1 : keyword_of(m, i, a);
    if (i < a->n_pos)
      v = a->pos[i];
    else if (k >= 0)
      v = a->values[k], used[k] = true;
    else if (p->value)
      v = eval(x, p->value);
    define(x, p->name, v);
  }
  if (!x->rc) bind_rest(x, m, a, used);
}

static jv call_macro(jx *x, jfunc *f, const jargs *a) {
  jscope *old = push_scope(x, f->scope);
  int flow = x->flow;
  bind(x, f->node, a);
  jv caller = caller_of(a);
  if (caller.t == J_FUNC && f->node->kind == JN_MACRO) define(x, (myna__str){"caller", 6}, caller);
  jv v = x->rc ? jv_undef() : capture(x, f->node->b);
  x->scope = old;
  x->flow = flow;
  return v;
}

static jv macro(jx *x, const jnode *n) {
  jv f = myna__jv_func(x, call_macro, "macro", jv_str(n->s.p, n->s.n));
  if (!x->rc) f.u.fn->node = n, f.u.fn->scope = x->scope;
  return f;
}

static void exec_caller(jx *x, const jnode *n) {
  jv fn = eval(x, n->a->a), caller = macro(x, n);
  const jargs *given = arguments(x, n->a);
  argbuf *b = x->rc ? NULL : myna__jx_alloc(x, sizeof *b);
  if (!b) return;
  b->a = (jargs){given->pos, given->n_pos, b->names, b->values, 0};
  for (int i = 0; i < given->n_kw; i++) add_keyword(x, b, given->names[i], given->values[i]);
  add_keyword(x, b, (myna__str){"caller", 6}, caller);
  jv v = myna__jv_call(x, fn, &b->a);
  myna__jv_print(x, x->out, v);
}

/* ---- operators ---- */

static jv repeat(jx *x, jv a, int64_t n) {
  if (a.t == J_STR) {
    jbuf b = {0};
    for (int64_t i = 0; a.n && i < n && !x->rc; i++) myna__jbuf_add(x, &b, a.u.s, a.n);
    jv v = myna__jbuf_take(x, &b);
    v.safe = a.safe;
    return v;
  }
  jv l = myna__jv_new(x, a.t);
  for (int64_t i = 0; a.u.l->n && i < n && !x->rc; i++)
    for (int64_t k = 0; k < a.u.l->n && !x->rc; k++) myna__jlist_add(x, l.u.l, a.u.l->v[k]);
  return l;
}

/* A text that templates build up piece by piece grows in place: what lies behind a's end is nobody's yet. */
static jv concat_text(jx *x, jv a, jv b) {
  enum { LONG = 4096 };
  jbuf s = {0};
  bool grows = a.n && a.u.s == x->tail.p && a.n == x->tail.n;
  if (!grows) myna__jbuf_add(x, &s, a.u.s, a.n);
  jbuf *to = grows ? &x->tail : &s;
  myna__jbuf_add(x, to, b.u.s, b.n);
  if (!grows && s.n >= LONG) x->tail = s;
  return myna__jbuf_take(x, to);
}

/* Of two texts of which one is safe in HTML the other becomes so. */
static jv concat_safe(jx *x, jv a, jv b) {
  jv v = concat_text(x, a.safe ? a : myna__jv_escape(x, a), b.safe ? b : myna__jv_escape(x, b));
  v.safe = 1;
  return v;
}

static jv concat(jx *x, jv a, jv b) {
  if (a.t == J_STR) return a.safe || b.safe ? concat_safe(x, a, b) : concat_text(x, a, b);
  jv l = myna__jv_new(x, a.t);
  for (int64_t i = 0; i < a.u.l->n && !x->rc; i++) myna__jlist_add(x, l.u.l, a.u.l->v[i]);
  for (int64_t i = 0; i < b.u.l->n && !x->rc; i++) myna__jlist_add(x, l.u.l, b.u.l->v[i]);
  return l;
}

static jv int_power(jx *x, int64_t a, int64_t b) {
  int64_t r = 1;
  bool ok = true;
  while (b > 0 && ok) {
    if (b & 1) ok = myna__mul_ok(r, a, &r);
    b >>= 1;
    if (b) ok = ok && myna__mul_ok(a, a, &a);
  }
  return ok ? jv_int(r) : myna__jx_fail(x, MYNA_E_LIMIT, "an integer is too large");
}

static jv int_op(jx *x, char op, int64_t a, int64_t b) {
  int64_t r = 0;
  bool ok = true;
  if ((op == 'D' || op == '%') && b == 0) return myna__jx_fail(x, MYNA_E_ARG, "division by zero");
  if (b == -1 && (op == 'D' || op == '%')) return op == '%' ? jv_int(0) : int_op(x, '-', 0, a);
  switch (op) {
  case '+': ok = myna__add_ok(a, b, &r); break;
  case '-': ok = !__builtin_sub_overflow(a, b, &r); break;
  case '*': ok = myna__mul_ok(a, b, &r); break;
  case 'D': r = a / b - (a % b != 0 && (a < 0) != (b < 0)); break;
  case '%': r = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0); break;
  default: return int_power(x, a, b);
  }
  return ok ? jv_int(r) : myna__jx_fail(x, MYNA_E_LIMIT, "an integer is too large");
}

/* Python's % and // of floats: the rest has the divisor's sign, also a zero. */
static double rest_of(double p, double q) {
  double r = fmod(p, q);
  if (r == 0) return copysign(0, q);
  return (r < 0) != (q < 0) ? r + q : r;
}

static double floor_of(double p, double q) {
  double r = fmod(p, q), d = (p - r) / q;
  if (r != 0 && (r < 0) != (q < 0)) d -= 1;
  if (d == 0) return copysign(0, p / q);
  return floor(d) + (d - floor(d) > 0.5);
}

static jv power(jx *x, double p, double q) {
  double r = pow(p, q);
  if (p == 0 && q < 0) return myna__jx_fail(x, MYNA_E_ARG, "0.0 cannot be raised to a negative power");
  if (isnan(r) && !isnan(p) && !isnan(q)) return myna__jx_fail(x, MYNA_E_ARG, "a power is not real");
  if (isinf(r) && isfinite(p) && isfinite(q)) return myna__jx_fail(x, MYNA_E_LIMIT, "a power is too large");
  return jv_float(r);
}

static jv number_op(jx *x, char op, jv a, jv b) {
  bool ints = a.t != J_FLOAT && b.t != J_FLOAT;
  if (ints && op != '/' && !(op == 'P' && jv_whole(b) < 0)) return int_op(x, op, jv_whole(a), jv_whole(b));
  double p = myna__jv_num(a), q = myna__jv_num(b);
  if ((op == '/' || op == 'D' || op == '%') && q == 0) return myna__jx_fail(x, MYNA_E_ARG, "division by zero");
  switch (op) {
  case '+': return jv_float(p + q);
  case '-': return jv_float(p - q);
  case '*': return jv_float(p * q);
  case '/': return jv_float(p / q);
  case 'D': return jv_float(floor_of(p, q));
  case '%': return jv_float(rest_of(p, q));
  default: return power(x, p, q);
  }
}

jv myna__jv_binary(jx *x, char op, jv a, jv b) {
  if (x->rc) return jv_undef();
  if (op == '~') return concat_text(x, myna__jv_to_str(x, a), myna__jv_to_str(x, b));
  bool form = op == '%' && a.t == J_STR;
  if (a.t == J_UNDEF || (b.t == J_UNDEF && !form)) return myna__jv_undefined(x, a.t == J_UNDEF ? a : b, "an operator");
  if (jv_is_num(a) && jv_is_num(b)) return number_op(x, op, a, b);
  bool seq = a.t == J_STR || a.t == J_LIST || a.t == J_TUPLE, rev = b.t == J_STR || b.t == J_LIST || b.t == J_TUPLE;
  if (op == '+' && seq && a.t == b.t) return concat(x, a, b);
  if (op == '*' && seq && (b.t == J_INT || b.t == J_BOOL)) return repeat(x, a, jv_whole(b));
  if (op == '*' && rev && (a.t == J_INT || a.t == J_BOOL)) return repeat(x, b, jv_whole(a));
  if (form) {
    jargs one = {.pos = b.t == J_TUPLE ? b.u.l->v : &b, .n_pos = b.t == J_TUPLE ? (int)MYNA__MIN(b.u.l->n, 1000) : 1};
    return myna__jv_format(x, a, &one);
  }
  return myna__jx_fail(x, MYNA_E_ARG, "unsupported operands: '%s' and '%s'", myna__jv_type(a), myna__jv_type(b));
}

bool myna__jv_in(jx *x, jv a, jv b) {
  if (x->rc || b.t == J_UNDEF) return false;
  if (b.t == J_STR) {
    myna__jx_tick(x, b.n / 64);
    if (a.t == J_STR) return a.n == 0 || memmem(b.u.s, b.n, a.u.s, a.n) != NULL;
    myna__jx_fail(x, MYNA_E_ARG, "'in <string>' requires string as left operand, not %s", myna__jv_type(a));
    return false;
  }
  if (b.t == J_DICT) {
    bool found = false;
    if (a.t != J_LIST && a.t != J_DICT) myna__jdict_get(x, b.u.d, a, &found);
    return found;
  }
  jv l = myna__jv_iter(x, b);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++)
    if (myna__jv_equal(x, l.u.l->v[i], a)) return true;
  return false;
}

bool myna__jv_compare(jx *x, char op, jv a, jv b) {
  switch (op) {
  case '=': return myna__jv_equal(x, a, b);
  case '!': return !myna__jv_equal(x, a, b);
  case 'i': return myna__jv_in(x, a, b);
  case 'n': return !myna__jv_in(x, a, b);
  default: break;
  }
  int c = myna__jv_order(x, a, b);
  bool unordered = jv_is_num(a) && jv_is_num(b) && (isnan(myna__jv_num(a)) || isnan(myna__jv_num(b)));
  if (unordered) return false;
  return op == '<' ? c < 0 : op == '>' ? c > 0 : op == 'l' ? c <= 0 : c >= 0;
}

static jv compare_chain(jx *x, const jnode *n) {
  jv a = eval(x, n->a);
  for (int64_t i = 0; i < n->n && !x->rc; i++) {
    jv b = eval(x, n->kids[i]->a);
    if (x->rc || !myna__jv_compare(x, n->kids[i]->op, a, b)) return jv_bool(false);
    a = b;
  }
  return jv_bool(true);
}

/* ---- access ---- */

/* The pairs of groupby have names, too. */
static jv of_group(jv v, myna__str name, bool *found) {
  int i = v.t != J_TUPLE || !v.safe ? -1 : myna__str_eq(name, "grouper") ? 0 : myna__str_eq(name, "list") ? 1 : -1;
  *found = i >= 0 && i < v.u.l->n;
  return *found ? v.u.l->v[i] : jv_undef();
}

jv myna__jv_attr(jx *x, jv v, myna__str name) {
  if (x->rc) return jv_undef();
  if (v.t == J_UNDEF) return myna__jv_undefined(x, v, "an attribute");
  bool found = false;
  jv r = v.t == J_NAMESPACE ? jv_undef() : myna__jv_method(x, v, name, &found);
  if (!found && jv_is_dict(v)) r = myna__jdict_get(x, v.u.d, jv_str(name.p, name.n), &found);
  if (!found && v.t == J_FUNC && v.u.fn->node && myna__str_eq(name, "name")) return v.u.fn->self;
  if (!found) r = of_group(v, name, &found);
  return found ? r : (jv){.t = J_UNDEF, .n = (uint32_t)name.n, .u.s = name.p};
}

jv myna__jv_item(jx *x, jv v, jv k) {
  if (x->rc) return jv_undef();
  if (v.t == J_UNDEF) return myna__jv_undefined(x, v, "an item");
  bool found = false;
  if (jv_is_dict(v)) {
    if (k.t == J_LIST || jv_is_dict(k)) return jv_undef();
    jv r = myna__jdict_get(x, v.u.d, k, &found);
    if (found || v.t == J_NAMESPACE) return r;
  } else if (v.t == J_GEN) {
    return myna__jx_fail(x, MYNA_E_ARG, "'generator' object is not subscriptable");
  } else if (k.t == J_INT && (v.t == J_LIST || v.t == J_TUPLE)) {
    int64_t i = k.u.i < 0 ? k.u.i + v.u.l->n : k.u.i;
    return i >= 0 && i < v.u.l->n ? v.u.l->v[i] : jv_undef();
  } else if (k.t == J_INT && v.t == J_STR) {
    int64_t n = myna__ju_count(jv_text(v)), i = k.u.i < 0 ? k.u.i + n : k.u.i;
    myna__jx_tick(x, 1 + v.n / 16);
    if (i < 0 || i >= n) return jv_undef();
    size_t at = myna__ju_at(jv_text(v), i);
    return jv_str(v.u.s + at, myna__ju_len(v.u.s + at, v.n - at));
  }
  if (k.t == J_STR) {
    jv m = myna__jv_method(x, v, jv_text(k), &found);
    if (!found) m = of_group(v, jv_text(k), &found);
    if (found) return m;
  }
  return k.t == J_STR ? (jv){.t = J_UNDEF, .n = k.n, .u.s = k.u.s} : jv_undef();
}

static int64_t bound(jv v, int64_t n, int64_t missing, bool down) {
  if (v.t != J_INT && v.t != J_BOOL) return missing;
  int64_t i = jv_whole(v), low = down ? -1 : 0, high = down ? n - 1 : n;
  if (i < 0) i += n;
  return MYNA__MAX(low, MYNA__MIN(i, high));
}

/* Characters that follow one another lie so: nothing is copied. */
static jv text_slice(jx *x, jv v, jv from, jv to) {
  int64_t n = myna__ju_count(jv_text(v)), a = bound(from, n, 0, false), b = bound(to, n, n, false);
  myna__jx_tick(x, 1 + v.n / 16);
  if (b <= a) return jv_str("", 0);
  size_t at = myna__ju_at(jv_text(v), a), len = myna__ju_at((myna__str){v.u.s + at, v.n - at}, b - a);
  return jv_str(v.u.s + at, len);
}

jv myna__jx_slice(jx *x, jv v, jv from, jv to, jv step) {
  if (x->rc) return jv_undef();
  if (v.t == J_UNDEF) return jv_undef();
  if (v.t != J_STR && v.t != J_LIST && v.t != J_TUPLE)
    return myna__jx_fail(x, MYNA_E_ARG, "'%s' object is not subscriptable", myna__jv_type(v));
  int64_t d = step.t == J_INT ? step.u.i : 1;
  if (d == 0) return myna__jx_fail(x, MYNA_E_ARG, "slice step cannot be zero");
  if (d == 1 && v.t == J_STR) return text_slice(x, v, from, to);
  jv l = myna__jv_iter(x, v), out = myna__jv_new(x, v.t == J_TUPLE ? J_TUPLE : J_LIST);
  if (x->rc) return out;
  int64_t n = l.u.l->n;
  d = MYNA__MAX(-n - 1, MYNA__MIN(d, n + 1));
  int64_t a = bound(from, n, d > 0 ? 0 : n - 1, d < 0), b = bound(to, n, d > 0 ? n : -1, d < 0);
  jbuf s = {0};
  for (int64_t i = a; (d > 0 ? i < b : i > b) && !x->rc; i += d)
    if (v.t == J_STR)
      myna__jbuf_add(x, &s, l.u.l->v[i].u.s, l.u.l->v[i].n);
    else
      myna__jlist_add(x, out.u.l, l.u.l->v[i]);
  return v.t == J_STR ? myna__jbuf_take(x, &s) : out;
}

/* ---- expressions ---- */

static jv constant(const jnode *n) {
  switch (n->op) {
  case 's': return jv_str(n->s.p, n->s.n);
  case 'i': return jv_int(n->i);
  case 'f': return jv_float(n->f);
  case 'n': return jv_none();
  default: return jv_bool(n->op == 't');
  }
}

static jv collection(jx *x, const jnode *n) {
  jv v = myna__jv_new(x, n->kind == JN_LIST ? J_LIST : n->kind == JN_TUPLE ? J_TUPLE : J_DICT);
  for (int64_t i = 0; i < n->n && !x->rc; i++) {
    jv k = eval(x, n->kids[i]);
    if (n->kind == JN_DICT) {
      jv e = eval(x, n->kids[++i]);
      if (!x->rc) myna__jdict_put(x, v.u.d, k, e);
    } else {
      myna__jlist_add(x, v.u.l, k);
    }
  }
  return v;
}

static jv slice(jx *x, const jnode *n) {
  jv v = eval(x, n->a), part[3] = {jv_none(), jv_none(), jv_none()};
  for (int i = 0; i < 3; i++)
    if (n->kids[i]) part[i] = eval(x, n->kids[i]);
  return myna__jx_slice(x, v, part[0], part[1], part[2]);
}

static jv sign(jx *x, const jnode *n) {
  jv v = eval(x, n->a);
  if (x->rc) return v;
  if (!jv_is_num(v)) return myna__jx_fail(x, MYNA_E_ARG, "bad operand for a sign: '%s'", myna__jv_type(v));
  if (v.t == J_FLOAT) return jv_float(n->kind == JN_NEG ? -v.u.f : v.u.f);
  return myna__jv_binary(x, n->kind == JN_NEG ? '-' : '+', jv_int(0), v);
}

/* Templates for several engines name filters that one of them lacks in branches that are not for it. */
static jv unknown(jx *x, const char *what, myna__str name) {
  char q[MYNA__QUOTE];
  return myna__jx_fail(x, MYNA_E_ARG, "no %s named %s", what, myna__str_quote(q, name));
}

static jv eval_inner(jx *x, const jnode *n) {
  switch (n->kind) {
  case JN_CONST: return constant(n);
  case JN_NAME: return lookup(x, n->s);
  case JN_LIST:
  case JN_TUPLE:
  case JN_DICT: return collection(x, n);
  case JN_ATTR: return myna__jv_attr(x, eval(x, n->a), n->s);
  case JN_ITEM: {
    jv a = eval(x, n->a), k = eval(x, n->b);
    return myna__jv_item(x, a, k);
  }
  case JN_SLICE: return slice(x, n);
  case JN_CALL: {
    jv f = eval(x, n->a);
    return myna__jv_call(x, f, arguments(x, n));
  }
  case JN_FILTER: {
    jv v = eval(x, n->a);
    const jargs *a = arguments(x, n);
    return x->rc ? jv_undef() : n->row ? myna__jx_filter(x, n->row, v, a) : unknown(x, "filter", n->s);
  }
  case JN_TEST: {
    jv v = eval(x, n->a);
    const jargs *a = arguments(x, n);
    if (!x->rc && !n->row) return unknown(x, "test", n->s);
    return jv_bool(!x->rc && myna__jx_test(x, n->row, v, a));
  }
  case JN_NOT: return jv_bool(!myna__jv_true(eval(x, n->a)));
  case JN_NEG:
  case JN_POS: return sign(x, n);
  case JN_AND:
  case JN_OR: {
    jv v = eval(x, n->a);
    return myna__jv_true(v) == (n->kind == JN_AND) ? eval(x, n->b) : v;
  }
  case JN_BIN: {
    jv a = eval(x, n->a), b = eval(x, n->b);
    return myna__jv_binary(x, n->op, a, b);
  }
  case JN_COMPARE: return compare_chain(x, n);
  case JN_COND: return myna__jv_true(eval(x, n->b)) ? eval(x, n->a) : n->c ? eval(x, n->c) : jv_undef();
  default: return jv_undef();
  }
}

static jv eval(jx *x, const jnode *n) {
  if (!n || !myna__jx_tick(x, 1) || !myna__jx_enter(x)) return jv_undef();
  x->line = n->line;
  jv v = eval_inner(x, n);
  x->depth--;
  return x->rc ? jv_undef() : v;
}

/* ---- loops ---- */

static jv loop_cycle(jx *x, jfunc *f, const jargs *a) {
  return a->n_pos ? a->pos[f->i % a->n_pos] : myna__jx_fail(x, MYNA_E_ARG, "a cycle of nothing");
}

static jv loop_changed(jx *x, jfunc *f, const jargs *a) {
  jv now = myna__jv_new(x, J_TUPLE);
  for (int i = 0; i < a->n_pos && !x->rc; i++) myna__jlist_add(x, now.u.l, a->pos[i]);
  bool changed = f->self.t == J_UNDEF || !myna__jv_equal(x, f->self, now);
  f->self = now;
  return jv_bool(changed);
}

static void run_loop(jx *x, const jnode *n, jv iterable, int64_t depth);

static jv loop_recurse(jx *x, jfunc *f, const jargs *a) {
  jbuf b = {0}, *out = x->out;
  jscope *old = x->scope;
  x->out = &b;
  x->scope = f->scope;
  run_loop(x, f->node, myna__jx_arg(a, 0, NULL, jv_undef()), f->i + 1);
  x->out = out;
  x->scope = old;
  return myna__jbuf_take(x, &b);
}

static void loop_set(jx *x, jdict *d, const char *name, jv v) { myna__jdict_put(x, d, jv_z(name), v); }

/* The items that pass the loop's filter. */
static jv filtered(jx *x, const jnode *n, jv l) {
  jv out = myna__jv_new(x, J_LIST);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jscope *old = push_scope(x, x->scope);
    assign(x, n->a, l.u.l->v[i]);
    if (!x->rc && myna__jv_true(eval(x, n->c))) myna__jlist_add(x, out.u.l, l.u.l->v[i]);
    x->scope = old;
  }
  return out;
}

static void loop_facts(jx *x, jdict *d, const jlist *l, int64_t i, int64_t depth) {
  loop_set(x, d, "index", jv_int(i + 1));
  loop_set(x, d, "index0", jv_int(i));
  loop_set(x, d, "revindex", jv_int(l->n - i));
  loop_set(x, d, "revindex0", jv_int(l->n - i - 1));
  loop_set(x, d, "first", jv_bool(i == 0));
  loop_set(x, d, "last", jv_bool(i == l->n - 1));
  loop_set(x, d, "length", jv_int(l->n));
  loop_set(x, d, "depth", jv_int(depth + 1));
  loop_set(x, d, "depth0", jv_int(depth));
  loop_set(x, d, "previtem", i > 0 ? l->v[i - 1] : jv_undef());
  loop_set(x, d, "nextitem", i + 1 < l->n ? l->v[i + 1] : jv_undef());
}

static void run_loop(jx *x, const jnode *n, jv iterable, int64_t depth) {
  jv l = myna__jv_iter(x, iterable);
  if (!x->rc && n->c) l = filtered(x, n, l);
  if (x->rc) return;
  if (l.u.l->n == 0) {
    if (n->n > 1) exec(x, n->kids[1]);
    return;
  }
  jscope *outer = push_scope(x, x->scope), *mine = x->scope;
  jv loop = myna__jv_new(x, J_DICT), cycle = myna__jv_func(x, loop_cycle, "cycle", jv_undef());
  if (!x->rc) loop_facts(x, loop.u.d, l.u.l, 0, depth); /* methods behind, so that these stay first */
  if (!x->rc) loop_set(x, loop.u.d, "cycle", cycle);
  if (!x->rc) loop_set(x, loop.u.d, "changed", myna__jv_func(x, loop_changed, "changed", jv_undef()));
  if (n->flag && !x->rc) {
    jv again = myna__jv_func(x, loop_recurse, "loop", jv_undef());
    if (!x->rc) again.u.fn->node = n, again.u.fn->scope = outer, again.u.fn->i = depth;
    loop_set(x, loop.u.d, "__call__", again);
  }
  jlist items = x->rc ? (jlist){0} : *l.u.l; /* as it is now: the body may append */
  bool whole = false;                        /* one that no break or continue left: Jinja's else is for loops without */
  for (int64_t i = 0; i < items.n && !x->rc && x->flow != 'b'; i++) {
    x->flow = 0;
    x->scope = mine;
    mine->vars.n = 0; /* a fresh scope each time, in the same memory */
    if (mine->vars.slot) memset(mine->vars.slot, 0, (size_t)(mine->vars.mask + 1) * sizeof *mine->vars.slot);
    cycle.u.fn->i = i;
    loop_facts(x, loop.u.d, &items, i, depth);
    define(x, (myna__str){"loop", 4}, loop);
    assign(x, n->a, items.v[i]);
    exec(x, n->kids[0]);
    whole |= !x->flow;
  }
  x->flow = 0;
  x->scope = outer;
  if (!whole && n->n > 1 && !x->rc) exec(x, n->kids[1]);
}

/* ---- statements ---- */

static void exec_if(jx *x, const jnode *n) {
  for (int64_t i = 0; i + 1 < n->n && !x->rc; i += 2)
    if (!n->kids[i] || myna__jv_true(eval(x, n->kids[i]))) {
      exec(x, n->kids[i + 1]);
      return;
    }
}

/* c: chain of filters that ends in NULL, applied to v. */
static jv chain(jx *x, const jnode *c, jv v) {
  if (!c || !myna__jx_enter(x)) return v;
  v = chain(x, c->a, v);
  const jargs *a = arguments(x, c);
  if (!x->rc) v = c->row ? myna__jx_filter(x, c->row, v, a) : unknown(x, "filter", c->s);
  x->depth--;
  return v;
}

static jv scoped_capture(jx *x, const jnode *body, const jnode *filters) {
  jscope *old = push_scope(x, x->scope);
  jv v = x->rc ? jv_undef() : capture(x, body);
  x->scope = old;
  return x->rc ? v : chain(x, filters, v);
}

static void exec_with(jx *x, const jnode *n) {
  jscope *old = push_scope(x, x->scope), *mine = x->scope;
  for (int64_t i = 0; i + 1 < n->n && !x->rc; i += 2) {
    x->scope = old; /* values see the outer scope */
    jv v = eval(x, n->kids[i + 1]);
    x->scope = mine;
    assign(x, n->kids[i], v);
  }
  if (!x->rc) exec(x, n->b);
  x->scope = old;
}

static void exec_inner(jx *x, const jnode *n) {
  switch (n->kind) {
  case JN_BLOCK:
    for (int64_t i = 0; i < n->n && !x->rc && !x->flow; i++) exec(x, n->kids[i]);
    return;
  case JN_TEXT: myna__jbuf_add(x, x->out, n->s.p, n->s.n); return;
  case JN_PRINT: {
    jv v = eval(x, n->a);
    myna__jv_print(x, x->out, v);
    return;
  }
  case JN_IF: exec_if(x, n); return;
  case JN_FOR: {
    jv v = eval(x, n->b);
    if (!x->rc) run_loop(x, n, v, 0);
    return;
  }
  case JN_SET: {
    jv v = eval(x, n->b);
    assign(x, n->a, v);
    return;
  }
  case JN_SETBLOCK: {
    jv v = scoped_capture(x, n->b, n->c);
    assign(x, n->a, v);
    return;
  }
  case JN_MACRO: {
    jv f = macro(x, n);
    if (!x->rc) define(x, n->s, f);
    return;
  }
  case JN_CALLER: exec_caller(x, n); return;
  case JN_FILTERBLOCK: {
    jv v = scoped_capture(x, n->b, n->a);
    myna__jv_print(x, x->out, v);
    return;
  }
  case JN_WITH: exec_with(x, n); return;
  case JN_BREAK: x->flow = 'b'; return;
  case JN_CONTINUE: x->flow = 'c'; return;
  default: return;
  }
}

static void exec(jx *x, const jnode *n) {
  if (!n || !myna__jx_tick(x, 1) || !myna__jx_enter(x)) return;
  x->line = n->line;
  exec_inner(x, n);
  x->depth--;
}

/* ---- entry points ---- */

static int max_depth(const myna_template_limits *l) {
  int d = l && l->max_depth > 0 ? l->max_depth : 200;
  return MYNA__MIN(d, 1000);
}

/* A copy with newlines of one kind; *n its length. */
static char *copy_source(myna__arena *a, const char *source, size_t *n) {
  char *copy = myna__arena_alloc(a, *n + 1);
  size_t w = 0;
  if (!copy) return NULL;
  for (size_t i = 0; i < *n; i++)
    if (source[i] != '\r')
      copy[w++] = source[i];
    else if (i + 1 >= *n || source[i + 1] != '\n')
      copy[w++] = '\n';
  *n = w;
  return copy;
}

static int compile(myna__jinja *t, const char *source, size_t n, const myna_template_limits *limits, myna_err *err) {
  size_t max = limits && limits->max_bytes > 0 ? (size_t)limits->max_bytes : (size_t)64 << 20;
  if (n > max / 4 || n > UINT32_MAX / 4) return myna__err(err, MYNA_E_LIMIT, "a template of %zu bytes is too large", n);
  t->source = copy_source(&t->arena, source, &n);
  if (!t->source) return myna__err(err, MYNA_E_NOMEM, "no memory for a template");
  jtok *toks;
  int64_t n_toks;
  TRY(myna__jinja_lex(&t->arena, (myna__str){t->source, n}, &toks, &n_toks, err));
  return myna__jinja_parse(&t->arena, toks, n_toks, max_depth(limits), &t->root, err);
}

int myna__jinja_compile(myna__jinja **out, const char *source, size_t n, const myna_template_limits *limits,
                        myna_err *err) {
  myna__jinja *t = myna__calloc(sizeof *t);
  if (!t) return myna__err(err, MYNA_E_NOMEM, "no memory for a template");
  int rc = compile(t, n ? source : "", n, limits, err);
  if (rc < 0) {
    myna__jinja_free(t);
    return rc;
  }
  *out = t;
  return 0;
}

void myna__jinja_free(myna__jinja *t) {
  if (!t) return;
  myna__arena_free(&t->arena);
  myna__free(t, sizeof *t);
}

enum { TEXT_HEAD = 16 }; /* before a text that was handed out: its block's size, as it may hold NULs */

char *myna__jinja_text(const char *p, size_t n) {
  char *block = myna__alloc(TEXT_HEAD + n + 1);
  if (!block) return NULL;
  size_t size = TEXT_HEAD + n + 1;
  memcpy(block, &size, sizeof size);
  if (n) memcpy(block + TEXT_HEAD, p, n);
  block[TEXT_HEAD + n] = 0;
  return block + TEXT_HEAD;
}

void myna_chat_free_text(char *text) {
  if (!text) return;
  size_t size;
  memcpy(&size, text - TEXT_HEAD, sizeof size);
  myna__free(text - TEXT_HEAD, size);
}

static int render(jx *x, const myna__jinja *t, const json_t *context, char **text, size_t *text_len) {
  jbuf out = {0};
  x->out = &out;
  push_scope(x, NULL);
  x->globals = x->scope;
  if (!x->rc) myna__jx_globals(x);
  if (!x->rc) push_scope(x, x->globals);
  jv vars = x->rc || !context ? jv_undef() : myna__jv_json(x, context);
  if (!x->rc && vars.t == J_DICT) x->scope->vars = *vars.u.d;
  if (!x->rc) exec(x, t->root);
  if (x->rc) return x->rc;
  *text = myna__jinja_text(out.p, out.n);
  if (!*text) return myna__err(x->err, MYNA_E_NOMEM, "no memory for a text");
  *text_len = out.n;
  return 0;
}

int myna__jinja_render(const myna__jinja *t, const json_t *context, double now, const myna_template_limits *limits,
                       char **text, size_t *text_len, myna_err *err) {
  int64_t ms = limits && limits->max_ms > 0 ? MYNA__MIN(limits->max_ms, 86400000) : 1000;
  int64_t bytes = limits && limits->max_bytes > 0 ? limits->max_bytes : (int64_t)64 << 20;
  jx x = {.max_bytes = (size_t)bytes,
          .max_depth = max_depth(limits) * 5, /* a level of the language is a few of the tree */
          .deadline = myna__now() + (double)ms / 1000,
          .now = now > 0 ? now : (double)time(NULL),
          .seed = myna__hash_seed(),
          .err = err};
  x.docs = json_array();
  int rc = x.docs ? render(&x, t, context, text, text_len) : myna__err(err, MYNA_E_NOMEM, "no memory for a render");
  json_decref(x.docs);
  myna__arena_free(&x.arena);
  return rc;
}

int myna_template_render(const char *source, size_t n, const char *context, size_t context_len,
                         const myna_template_limits *limits, char **text, size_t *text_len, myna_err *err) {
  myna__jinja *t = NULL;
  json_error_t e;
  if (!text || !text_len || (n && !source)) return myna__err(err, MYNA_E_ARG, "a template without source or result");
  json_t *j = context_len ? json_loadb(context, context_len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e) : json_object();
  if (!j) return myna__err(err, MYNA_E_ARG, "the context is no JSON: %s", context_len ? e.text : "no memory");
  int rc = json_is_object(j) ? 0 : myna__err(err, MYNA_E_ARG, "the context is no JSON object");
  if (!rc) rc = myna__jinja_compile(&t, source, n, limits, err);
  if (!rc && t) rc = myna__jinja_render(t, j, 0, limits, text, text_len, err);
  myna__jinja_free(t);
  json_decref(j);
  return rc;
}
