/* jinja_globals.c: functions that every template sees, one row each. */
#include "text/jinja_filter.h"
#include <time.h>

static jv g_range(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  int64_t v[3] = {0, 0, 1};
  if (a->n_pos < 1 || a->n_pos > 3) return myna__jx_fail(x, MYNA_E_ARG, "range takes one to three integers");
  for (int i = 0; i < a->n_pos; i++) {
    if (a->pos[i].t != J_INT && a->pos[i].t != J_BOOL) return bad_type(x, a->pos[i], "range");
    v[a->n_pos == 1 ? 1 : i] = a->pos[i].t == J_INT ? a->pos[i].u.i : a->pos[i].u.b;
  }
  if (v[2] == 0) return myna__jx_fail(x, MYNA_E_ARG, "range by steps of zero");
  jv out = myna__jv_new(x, J_LIST);
  enum { MAX = 100000 }; /* as Jinja's sandbox */
  for (int64_t i = v[0]; !x->rc && (v[2] > 0 ? i < v[1] : i > v[1]);) {
    if (out.u.l->n == MAX) return myna__jx_fail(x, MYNA_E_LIMIT, "a range of more than %d", MAX);
    myna__jlist_add(x, out.u.l, jv_int(i));
    if (__builtin_add_overflow(i, v[2], &i)) break;
  }
  return out;
}

static jv make_dict(jx *x, const jargs *a, jtype t) {
  jv d = myna__jv_new(x, t);
  jv from = arg(a, 0, NULL, jv_none());
  if (jv_is_dict(from)) {
    for (int64_t i = 0; !x->rc && i < from.u.d->n; i++) myna__jdict_put(x, d.u.d, from.u.d->e[i].k, from.u.d->e[i].v);
  } else if (from.t != J_NONE) {
    jv l = myna__jv_iter(x, from);
    for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
      jv p = l.u.l->v[i];
      if (!jv_is_seq(p) || p.u.l->n != 2) return myna__jx_fail(x, MYNA_E_ARG, "dict of what are no pairs");
      myna__jdict_put(x, d.u.d, p.u.l->v[0], p.u.l->v[1]);
    }
  }
  for (int i = 0; !x->rc && i < a->n_kw; i++)
    myna__jdict_put(x, d.u.d, jv_str(a->names[i].p, a->names[i].n), a->values[i]);
  return d;
}
static jv g_dict(jx *x, jfunc *f, const jargs *a) { return (void)f, make_dict(x, a, J_DICT); }
static jv g_namespace(jx *x, jfunc *f, const jargs *a) { return (void)f, make_dict(x, a, J_NAMESPACE); }

static jv g_raise(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  jv s = text_of(x, arg(a, 0, "message", jv_z("")));
  char msg[240]; /* longer than a quoted one: the message is for people */
  size_t n = x->rc ? 0 : MYNA__MIN(s.n, sizeof msg - 1), w = 0;
  for (size_t i = 0; i < n; i++) msg[w++] = (unsigned char)s.u.s[i] < 32 ? ' ' : s.u.s[i];
  msg[w] = 0;
  return myna__jx_fail(x, MYNA_E_ARG, "%s", msg);
}

static jv g_strftime(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  jv fmt = arg(a, 0, "format", jv_z(""));
  time_t t = (time_t)x->now;
  struct tm tm;
  char z[256], out[1024];
  if (fmt.t != J_STR || fmt.n >= sizeof z) return bad_type(x, fmt, "strftime_now");
  memcpy(z, fmt.u.s, fmt.n);
  z[fmt.n] = 0;
  size_t n = localtime_r(&t, &tm) ? strftime(out, sizeof out, z, &tm) : 0;
  char *copy = myna__jx_alloc(x, n + 1);
  if (!copy) return jv_undef();
  memcpy(copy, out, n);
  return jv_str(copy, n);
}

static jv joiner_call(jx *x, jfunc *f, const jargs *a) {
  (void)x, (void)a;
  return f->i++ ? f->self : jv_z("");
}
static jv g_joiner(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  return myna__jv_func(x, joiner_call, "joiner", arg(a, 0, "sep", jv_z(", ")));
}

/* A cycler is a dict of its functions, which share the state in the first one. */
static void cycler_show(jx *x, jfunc *f) {
  jv d = f->self.u.l->v[1], items = f->self.u.l->v[0];
  myna__jdict_put(x, d.u.d, jv_z("current"), items.u.l->v[d.u.d->e[0].v.u.i % items.u.l->n]);
}
static jv cycler_next(jx *x, jfunc *f, const jargs *a) {
  (void)a;
  jdict *d = f->self.u.l->v[1].u.d;
  jlist *l = f->self.u.l->v[0].u.l;
  jv v = l->v[d->e[0].v.u.i % l->n];
  d->e[0].v.u.i++;
  cycler_show(x, f);
  return v;
}
static jv cycler_reset(jx *x, jfunc *f, const jargs *a) {
  (void)a;
  f->self.u.l->v[1].u.d->e[0].v.u.i = 0;
  cycler_show(x, f);
  return jv_none();
}
static jv g_cycler(jx *x, jfunc *f, const jargs *a) {
  (void)f;
  if (!a->n_pos) return myna__jx_fail(x, MYNA_E_ARG, "a cycler of nothing");
  jv d = myna__jv_new(x, J_NAMESPACE), items = myna__jv_new(x, J_LIST), both = myna__jv_new(x, J_LIST);
  for (int i = 0; !x->rc && i < a->n_pos; i++) myna__jlist_add(x, items.u.l, a->pos[i]);
  if (x->rc) return d;
  myna__jlist_add(x, both.u.l, items);
  myna__jlist_add(x, both.u.l, d);
  myna__jdict_put(x, d.u.d, jv_z("pos"), jv_int(0));
  myna__jdict_put(x, d.u.d, jv_z("next"), myna__jv_func(x, cycler_next, "next", both));
  jv reset = myna__jv_func(x, cycler_reset, "reset", both);
  myna__jdict_put(x, d.u.d, jv_z("reset"), reset);
  if (!x->rc) cycler_show(x, reset.u.fn);
  return d;
}

void myna__jx_globals(jx *x) {
  static const struct {
    const char *name;
    jv (*fn)(jx *, jfunc *, const jargs *);
  } rows[] = {{"range", g_range},   {"dict", g_dict},     {"namespace", g_namespace},  {"raise_exception", g_raise},
              {"joiner", g_joiner}, {"cycler", g_cycler}, {"strftime_now", g_strftime}};
  for (size_t i = 0; i < MYNA__COUNT(rows) && !x->rc; i++)
    myna__jdict_put(x, &x->scope->vars, jv_z(rows[i].name), myna__jv_func(x, rows[i].fn, rows[i].name, jv_undef()));
}
