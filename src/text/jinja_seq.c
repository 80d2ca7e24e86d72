/* jinja_seq.c: filters of sequences and mappings: order, choice, grouping. */
#include "text/jinja_filter.h"
#include <stdlib.h>

jv myna__jf_pairs(jx *x, jv d) {
  jv out = myna__jv_new(x, J_LIST);
  for (int64_t i = 0; !x->rc && i < d.u.d->n; i++) {
    jv p = myna__jv_new(x, J_TUPLE);
    if (x->rc) break;
    myna__jlist_add(x, p.u.l, d.u.d->e[i].k);
    myna__jlist_add(x, p.u.l, d.u.d->e[i].v);
    myna__jlist_add(x, out.u.l, p);
  }
  return out;
}

/* ---- order ---- */

static jv fold(jx *x, jv v) { return v.t == J_STR ? myna__jv_case(x, v, 'l') : v; }

/* Stable merge sort of l[n] by keys k[n], through scratch. */
static void merge_sort(jx *x, jv *l, jv *k, jv *sl, jv *sk, int64_t n, bool reverse) {
  if (n < 2 || x->rc) return;
  int64_t h = n / 2, i = 0, j = h, w = 0;
  merge_sort(x, l, k, sl, sk, h, reverse);
  merge_sort(x, l + h, k + h, sl, sk, n - h, reverse);
  while (i < h && j < n) {
    int c = myna__jv_order(x, k[i], k[j]);
    bool left = reverse ? c >= 0 : c <= 0;
    sl[w] = left ? l[i] : l[j];
    sk[w++] = left ? k[i++] : k[j++];
  }
  for (; i < h; i++) sl[w] = l[i], sk[w++] = k[i];
  for (; j < n; j++) sl[w] = l[j], sk[w++] = k[j];
  memcpy(l, sl, (size_t)n * sizeof *l);
  memcpy(k, sk, (size_t)n * sizeof *k);
}

jv myna__jf_sorted(jx *x, jv l, jv (*key)(jx *, jv, const jargs *), const jargs *a, bool reverse, bool cases) {
  jv out = myna__jv_new(x, J_LIST);
  if (x->rc) return out;
  int64_t n = l.u.l->n;
  jv *m = myna__jx_alloc(x, (size_t)(n ? n : 1) * 4 * sizeof *m);
  if (!m) return out;
  for (int64_t i = 0; i < n && !x->rc; i++) {
    jv k = key ? key(x, l.u.l->v[i], a) : l.u.l->v[i];
    m[i] = l.u.l->v[i];
    m[n + i] = cases ? k : fold(x, k);
  }
  merge_sort(x, m, m + n, m + 2 * n, m + 3 * n, n, reverse);
  *out.u.l = (jlist){m, n, n};
  return out;
}

/* v's attribute by a dotted path or an index. */
static jv path(jx *x, jv v, jv attr) {
  if (attr.t == J_INT) return myna__jv_item(x, v, attr);
  if (attr.t != J_STR) return v;
  myna__str s = jv_text(attr);
  while (!x->rc) {
    const char *dot = memchr(s.p, '.', s.n);
    size_t n = dot ? (size_t)(dot - s.p) : s.n;
    char num[12] = {0};
    if (n > 0 && n < 10 && s.p[0] >= '0' && s.p[0] <= '9') memcpy(num, s.p, n);
    v = myna__jv_item(x, v, num[0] ? jv_int(atoi(num)) : jv_str(s.p, n));
    if (!dot) break;
    s = (myna__str){dot + 1, s.n - n - 1};
  }
  return v;
}

static jv by_attr(jx *x, jv v, const jargs *a) { return path(x, v, a->pos[0]); }

/* By several paths, "a,b.c": a list; a.pos[1]: is case told apart? */
static jv by_attrs(jx *x, jv v, const jargs *a) {
  jv l = myna__jv_new(x, J_LIST);
  myna__str s = jv_text(a->pos[0]);
  while (!x->rc) {
    const char *comma = memchr(s.p, ',', s.n);
    size_t n = comma ? (size_t)(comma - s.p) : s.n;
    jv k = path(x, v, jv_str(s.p, n));
    myna__jlist_add(x, l.u.l, a->pos[1].u.b ? k : fold(x, k));
    if (!comma) break;
    s = (myna__str){comma + 1, s.n - n - 1};
  }
  return l;
}

static jv f_sort(jx *x, jv v, const jargs *a) {
  jv attr = arg(a, 2, "attribute", jv_none());
  bool cases = bool_arg(a, 1, "case_sensitive", false), several = attr.t == J_STR && memchr(attr.u.s, ',', attr.n);
  jv by[2] = {attr, jv_bool(cases)};
  jargs key = {.pos = by, .n_pos = 2};
  jv l = myna__jv_iter(x, v);
  if (x->rc) return l;
  return myna__jf_sorted(x, l, several ? by_attrs : by_attr, &key, bool_arg(a, 0, "reverse", false), cases);
}

static jv f_dictsort(jx *x, jv v, const jargs *a) {
  if (!jv_is_dict(v)) return bad_type(x, v, "dictsort");
  jv by = arg(a, 1, "by", jv_z("key"));
  if (by.t != J_STR || (!myna__str_eq(jv_text(by), "key") && !myna__str_eq(jv_text(by), "value")))
    return myna__jx_fail(x, MYNA_E_ARG, "dictsort is by key or by value");
  jv at = jv_int(by.t == J_STR && myna__str_eq(jv_text(by), "value"));
  jargs key = {.pos = &at, .n_pos = 1};
  jv l = myna__jf_pairs(x, v);
  if (x->rc) return l;
  return myna__jf_sorted(x, l, by_attr, &key, bool_arg(a, 2, "reverse", false),
                         bool_arg(a, 0, "case_sensitive", false));
}

static jv extreme(jx *x, jv v, const jargs *a, int sign) {
  jv l = myna__jv_iter(x, v), attr = arg(a, 1, "attribute", jv_none()), best = jv_undef(), best_key = best;
  bool cases = bool_arg(a, 0, "case_sensitive", false);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jv k = path(x, l.u.l->v[i], attr);
    if (!cases) k = fold(x, k);
    if (i == 0 || myna__jv_order(x, k, best_key) * sign > 0) best = l.u.l->v[i], best_key = k;
  }
  return best;
}
static jv f_min(jx *x, jv v, const jargs *a) { return extreme(x, v, a, -1); }
static jv f_max(jx *x, jv v, const jargs *a) { return extreme(x, v, a, 1); }

static jv f_unique(jx *x, jv v, const jargs *a) {
  jv l = myna__jv_iter(x, v), attr = arg(a, 1, "attribute", jv_none());
  jv seen = myna__jv_new(x, J_DICT), out = myna__jv_new(x, J_GEN);
  bool cases = bool_arg(a, 0, "case_sensitive", false);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    bool found;
    jv k = path(x, l.u.l->v[i], attr);
    if (!cases) k = fold(x, k);
    myna__jdict_get(x, seen.u.d, k, &found);
    if (found) continue;
    myna__jdict_put(x, seen.u.d, k, jv_none());
    myna__jlist_add(x, out.u.l, l.u.l->v[i]);
  }
  return out;
}

static jv f_groupby(jx *x, jv v, const jargs *a) {
  jv attr = arg(a, 0, "attribute", jv_none()), missing = arg(a, 1, "default", jv_undef());
  jargs key = {.pos = &attr, .n_pos = 1};
  bool cases = bool_arg(a, 2, "case_sensitive", false);
  jv l = myna__jv_iter(x, v);
  if (!x->rc) l = myna__jf_sorted(x, l, by_attr, &key, false, cases);
  jv out = myna__jv_new(x, J_LIST), group = jv_undef(), last = jv_undef();
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jv k = path(x, l.u.l->v[i], attr);
    if (k.t == J_UNDEF) k = missing;
    if (i == 0 || !myna__jv_equal(x, cases ? k : fold(x, k), last)) {
      jv pair = myna__jv_new(x, J_TUPLE);
      pair.safe = 1; /* its parts have names */
      group = myna__jv_new(x, J_LIST);
      if (x->rc) break;
      myna__jlist_add(x, pair.u.l, k);
      myna__jlist_add(x, pair.u.l, group);
      myna__jlist_add(x, out.u.l, pair);
    }
    last = cases ? k : fold(x, k);
    myna__jlist_add(x, group.u.l, l.u.l->v[i]);
  }
  return out;
}

/* ---- map and select ---- */

static jargs behind(const jargs *a, int n) {
  jargs r = *a;
  r.n_pos = MYNA__MAX(0, a->n_pos - n);
  r.pos = a->pos ? a->pos + MYNA__MIN(n, a->n_pos) : NULL;
  return r;
}

/* Of none, too, there is nothing to choose. */
static jv members(jx *x, jv v) { return v.t == J_NONE ? myna__jv_new(x, J_LIST) : myna__jv_iter(x, v); }

static jv f_map(jx *x, jv v, const jargs *a) {
  jv l = members(x, v), out = myna__jv_new(x, J_GEN), attr = arg(a, -1, "attribute", jv_none());
  jv missing = arg(a, -1, "default", jv_undef()), name = arg(a, 0, NULL, jv_none());
  const void *row = name.t == J_STR && attr.t == J_NONE ? myna__jinja_filter(jv_text(name)) : NULL;
  if (!row && attr.t == J_NONE) return myna__jx_fail(x, MYNA_E_ARG, "map requires a filter or an attribute");
  for (int i = 0; attr.t != J_NONE && i < a->n_kw; i++)
    if (!myna__str_eq(a->names[i], "attribute") && !myna__str_eq(a->names[i], "default"))
      return myna__jx_fail(x, MYNA_E_ARG, "map by an attribute takes no other argument than default");
  jargs rest = behind(a, 1);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jv e = row ? myna__jx_filter(x, row, l.u.l->v[i], &rest) : path(x, l.u.l->v[i], attr);
    myna__jlist_add(x, out.u.l, e.t == J_UNDEF && !row ? missing : e);
  }
  return out;
}

static jv choose(jx *x, jv v, const jargs *a, bool by_attribute, bool want) {
  int at = by_attribute;
  jv l = members(x, v), out = myna__jv_new(x, J_GEN),
     attr = by_attribute ? arg(a, 0, "attribute", jv_undef()) : jv_none();
  if (attr.t == J_UNDEF) return myna__jx_fail(x, MYNA_E_ARG, "selectattr requires an attribute");
  jv name = arg(a, at, NULL, jv_none());
  const void *row = name.t == J_STR ? myna__jinja_test(jv_text(name)) : NULL;
  if (name.t != J_NONE && !row) return myna__jx_fail(x, MYNA_E_ARG, "no such test");
  jargs rest = behind(a, at + 1);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    jv e = path(x, l.u.l->v[i], attr);
    bool is = row ? myna__jx_test(x, row, e, &rest) : myna__jv_true(e);
    if (is == want) myna__jlist_add(x, out.u.l, l.u.l->v[i]);
  }
  return out;
}
static jv f_select(jx *x, jv v, const jargs *a) { return choose(x, v, a, false, true); }
static jv f_reject(jx *x, jv v, const jargs *a) { return choose(x, v, a, false, false); }
static jv f_selectattr(jx *x, jv v, const jargs *a) { return choose(x, v, a, true, true); }
static jv f_rejectattr(jx *x, jv v, const jargs *a) { return choose(x, v, a, true, false); }

/* ---- sequences ---- */

static jv f_length(jx *x, jv v, const jargs *a) {
  (void)a;
  if (v.t == J_STR) myna__jx_tick(x, v.n / 16);
  if (v.t == J_STR) return jv_int(myna__ju_count(jv_text(v)));
  if (v.t == J_LIST || v.t == J_TUPLE) return jv_int(v.u.l->n);
  if (v.t == J_DICT) return jv_int(v.u.d->n);
  if (v.t == J_UNDEF) return jv_int(0);
  return bad_type(x, v, "no length");
}

static jv f_first(jx *x, jv v, const jargs *a) {
  (void)a;
  jv l = myna__jv_iter(x, v);
  return !x->rc && l.u.l->n ? l.u.l->v[0] : jv_undef();
}

static jv f_last(jx *x, jv v, const jargs *a) {
  (void)a;
  jv l = myna__jv_iter(x, v);
  return !x->rc && l.u.l->n ? l.u.l->v[l.u.l->n - 1] : jv_undef();
}

static jv f_list(jx *x, jv v, const jargs *a) {
  (void)a;
  jv l = myna__jv_iter(x, v), out = myna__jv_new(x, J_LIST);
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) myna__jlist_add(x, out.u.l, l.u.l->v[i]);
  return out;
}

static jv f_reverse(jx *x, jv v, const jargs *a) {
  (void)a;
  if (v.t == J_STR) return myna__jx_slice(x, v, jv_none(), jv_none(), jv_int(-1));
  jv l = myna__jv_iter(x, v), out = myna__jv_new(x, J_GEN);
  for (int64_t i = x->rc ? 0 : l.u.l->n; !x->rc && i > 0; i--) myna__jlist_add(x, out.u.l, l.u.l->v[i - 1]);
  return out;
}

static jv f_join(jx *x, jv v, const jargs *a) {
  jv l = myna__jv_iter(x, v), sep = text_of(x, arg(a, 0, "d", jv_z(""))), attr = arg(a, 1, "attribute", jv_none());
  jbuf b = {0};
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    if (i) myna__jbuf_add(x, &b, sep.u.s, sep.n);
    myna__jv_print(x, &b, path(x, l.u.l->v[i], attr));
  }
  return myna__jbuf_take(x, &b);
}

static jv f_items(jx *x, jv v, const jargs *a) {
  (void)a;
  if (v.t == J_UNDEF) return myna__jv_new(x, J_GEN);
  if (!jv_is_dict(v)) return bad_type(x, v, "items");
  jv l = myna__jf_pairs(x, v);
  l.t = x->rc ? l.t : J_GEN;
  return l;
}

static jv f_sum(jx *x, jv v, const jargs *a) {
  jv l = myna__jv_iter(x, v), attr = arg(a, 0, "attribute", jv_none()), r = arg(a, 1, "start", jv_int(0));
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) r = myna__jv_binary(x, '+', r, path(x, l.u.l->v[i], attr));
  return r;
}

static jv f_batch(jx *x, jv v, const jargs *a) {
  int64_t n = int_arg(x, a, 0, "linecount", 1);
  jv fill = arg(a, 1, "fill_with", jv_none()), l = myna__jv_iter(x, v), out = myna__jv_new(x, J_GEN), row = jv_undef();
  if (n < 1) return myna__jx_fail(x, MYNA_E_ARG, "batch of less than one");
  for (int64_t i = 0; !x->rc && i < l.u.l->n; i++) {
    if (i % n == 0) {
      row = myna__jv_new(x, J_LIST);
      myna__jlist_add(x, out.u.l, row);
    }
    if (!x->rc) myna__jlist_add(x, row.u.l, l.u.l->v[i]);
  }
  while (!x->rc && fill.t != J_NONE && row.t == J_LIST && row.u.l->n < n) myna__jlist_add(x, row.u.l, fill);
  return out;
}

static jv f_slice(jx *x, jv v, const jargs *a) {
  int64_t n = int_arg(x, a, 0, "slices", 1);
  jv fill = arg(a, 1, "fill_with", jv_none()), l = myna__jv_iter(x, v), out = myna__jv_new(x, J_GEN);
  if (n < 1) return myna__jx_fail(x, MYNA_E_ARG, "slice into less than one");
  int64_t per = x->rc ? 0 : l.u.l->n / n, more = x->rc ? 0 : l.u.l->n % n, at = 0;
  for (int64_t i = 0; !x->rc && i < n; i++) {
    jv row = myna__jv_new(x, J_LIST);
    for (int64_t k = 0; !x->rc && k < per + (i < more); k++) myna__jlist_add(x, row.u.l, l.u.l->v[at++]);
    if (!x->rc && fill.t != J_NONE && i >= more) myna__jlist_add(x, row.u.l, fill);
    myna__jlist_add(x, out.u.l, row);
  }
  return out;
}

const jfilter_row myna__jf_seq[] = {{"batch", f_batch},
                                    {"count", f_length},
                                    {"dictsort", f_dictsort},
                                    {"first", f_first},
                                    {"groupby", f_groupby},
                                    {"items", f_items},
                                    {"join", f_join},
                                    {"last", f_last},
                                    {"length", f_length},
                                    {"list", f_list},
                                    {"map", f_map},
                                    {"max", f_max},
                                    {"min", f_min},
                                    {"reject", f_reject},
                                    {"rejectattr", f_rejectattr},
                                    {"reverse", f_reverse},
                                    {"select", f_select},
                                    {"selectattr", f_selectattr},
                                    {"slice", f_slice},
                                    {"sort", f_sort},
                                    {"sum", f_sum},
                                    {"unique", f_unique},
                                    {NULL, NULL}};
