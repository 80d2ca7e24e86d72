/* jinja_value.h: values of a render and what acts on them; private to jinja*.c. A failure is sticky (x->rc) and values are then undefined. */
#ifndef MYNA__JINJA_VALUE_H
#define MYNA__JINJA_VALUE_H

#include "text/jinja_node.h"

typedef enum jtype {
  J_UNDEF,
  J_NONE,
  J_BOOL,
  J_INT,
  J_FLOAT,
  J_STR,
  J_LIST,
  J_TUPLE,
  J_GEN, /* of map, select, ...: a list without length and items, as Python's generators */
  J_DICT,
  J_NAMESPACE, /* a dict that {% set ns.x %} may change */
  J_FUNC
} jtype;

typedef struct jv {
  jtype t : 8;
  unsigned safe : 1; /* of STR: went through safe or escape; of TUPLE: a pair of groupby, with names */
  uint32_t n;        /* bytes of a STR; of LIST what of a dict it shows: JV_KEYS.., 0 a list of its own */
  union {
    bool b;
    int64_t i;
    double f;
    const char *s; /* not terminated; of UNDEF the name, n its length */
    struct jlist *l;
    struct jdict *d;
    struct jfunc *fn;
  } u;
} jv;

typedef struct jlist {
  jv *v;
  int64_t n, cap;
} jlist;

typedef struct jentry {
  jv k, v;
} jentry;

/* Insertion-ordered; removed entries close up. */
typedef struct jdict {
  jentry *e;
  int64_t n, cap;
  int32_t *slot; /* [mask + 1] entry + 1, 0 free; NULL while small */
  int64_t mask;
} jdict;

typedef struct jscope {
  jdict vars;
  struct jscope *parent;
} jscope;

struct jx;
/* Arguments of a call. */
typedef struct jargs {
  const jv *pos;
  int n_pos;
  const myna__str *names; /* [n_kw] */
  const jv *values;       /* [n_kw] */
  int n_kw;
} jargs;

typedef struct jfunc {
  jv (*call)(struct jx *x, struct jfunc *f, const jargs *a);
  jv self;           /* of methods; state of cyclers */
  const jnode *node; /* of macros and callers */
  jscope *scope;
  int64_t i;
  const char *name;
} jfunc;

typedef struct jbuf {
  char *p;
  size_t n, cap;
} jbuf;

typedef struct jx {
  myna__arena arena;
  size_t used, max_bytes;
  int depth, max_depth, flow; /* flow: 0, or 'b' break, 'c' continue */
  int rc, line;
  uint64_t steps;
  double deadline, now;
  jbuf *out, tail; /* tail: the long text that was put together last */
  jscope *scope, *globals;
  uint64_t seed;
  json_t *docs; /* array: what from_json read */
  myna_err *err;
} jx;

/* core (jinja_value.c) */
jv myna__jx_fail(jx *x, int code, const char *fmt, ...) MYNA__PRINTF(3, 4);
void *myna__jx_alloc(jx *x, size_t n);
bool myna__jx_tick(jx *x, uint64_t n); /* n units of work; false when it is over */
bool myna__jx_enter(jx *x);            /* one level deeper; pair with x->depth-- when true */
void myna__jbuf_add(jx *x, jbuf *b, const char *p, size_t n);
void myna__jbuf_z(jx *x, jbuf *b, const char *z);
jv myna__jbuf_take(jx *x, jbuf *b); /* as a string */

enum { JV_KEYS = 1, JV_VALUES, JV_ITEMS };

static inline jv jv_undef(void) { return (jv){.t = J_UNDEF}; }
static inline jv jv_none(void) { return (jv){.t = J_NONE}; }
static inline jv jv_bool(bool b) { return (jv){.t = J_BOOL, .u.b = b}; }
static inline jv jv_int(int64_t i) { return (jv){.t = J_INT, .u.i = i}; }
static inline jv jv_float(double f) { return (jv){.t = J_FLOAT, .u.f = f}; }
static inline jv jv_str(const char *p, size_t n) { return (jv){.t = J_STR, .n = (uint32_t)n, .u.s = p}; }
static inline jv jv_z(const char *z) { return jv_str(z, strlen(z)); }
static inline myna__str jv_text(jv v) { return (myna__str){v.u.s, v.n}; }
static inline bool jv_is_seq(jv v) { return v.t == J_LIST || v.t == J_TUPLE || v.t == J_GEN; }
static inline bool jv_is_dict(jv v) { return v.t == J_DICT || v.t == J_NAMESPACE; }
static inline bool jv_is_num(jv v) { return v.t == J_INT || v.t == J_FLOAT || v.t == J_BOOL; }
static inline int64_t jv_whole(jv v) { return v.t == J_INT ? v.u.i : v.t == J_BOOL && v.u.b; } /* of INT and BOOL */

jv myna__jv_new(jx *x, jtype t); /* empty list, tuple, dict */
void myna__jlist_add(jx *x, jlist *l, jv v);
jv myna__jdict_get(jx *x, const jdict *d, jv k, bool *found);
void myna__jdict_put(jx *x, jdict *d, jv k, jv v);
bool myna__jdict_del(jx *x, jdict *d, jv k);
jv myna__jv_func(jx *x, jv (*call)(jx *, jfunc *, const jargs *), const char *name, jv self);
jv myna__jv_json(jx *x, const json_t *j);
const char *myna__jv_type(jv v); /* Python's name */
bool myna__jv_true(jv v);
double myna__jv_num(jv v);
bool myna__jv_equal(jx *x, jv a, jv b);
int myna__jv_order(jx *x, jv a, jv b); /* <0, 0, >0; fails for what has no order */
jv myna__jv_iter(jx *x, jv v);         /* a list of what iterating gives */
/* Python's str() and repr(). */
void myna__jv_print(jx *x, jbuf *b, jv v);
void myna__jv_repr(jx *x, jbuf *b, jv v);
jv myna__jv_to_str(jx *x, jv v);
void myna__jv_float_text(char out[40], double f);
/* UTF-8: bytes of the character at p; characters of s; byte offset of character k (clamped). */
size_t myna__ju_len(const char *p, size_t left);
int64_t myna__ju_count(myna__str s);
size_t myna__ju_at(myna__str s, int64_t k);
uint32_t myna__ju_get(const char *p, size_t n);
size_t myna__ju_put(char out[4], uint32_t c);
char myna__ju_case(uint32_t c);                 /* 'u' upper, 'l' lower, 't' title, 0 none */
bool myna__ju_blank(uint32_t c);                /* Python's isspace() */
bool myna__ju_hidden(uint32_t c);               /* repr() escapes it */
size_t myna__ju_break(const char *p, size_t n); /* bytes of the line break at p, 0 for none; n > 0 */
/* 'u' upper, 'l' lower, 'c' capitalize, 't' title by words of letters, 'T' jinja's title, 's' swapcase, 'f' casefold */
jv myna__jv_case(jx *x, jv s, char how);

/* calls */
jv myna__jv_call(jx *x, jv f, const jargs *a);
jv myna__jx_arg(const jargs *a, int i, const char *name, jv missing);
jv myna__jv_undefined(jx *x, jv v, const char *what); /* fails: v, which is undefined, was used by what */
jv myna__jv_escape(jx *x, jv v);                      /* as text that is safe in HTML */
jv myna__jv_attr(jx *x, jv v, myna__str name);        /* v.name */
jv myna__jv_item(jx *x, jv v, jv k);                  /* v[k] */
jv myna__jv_method(jx *x, jv v, myna__str name, bool *found);
jv myna__jx_filter(jx *x, const void *row, jv v, const jargs *a);
bool myna__jx_test(jx *x, const void *row, jv v, const jargs *a);
void myna__jv_tojson(jx *x, jbuf *b, jv v, const jargs *a);
void myna__jx_globals(jx *x);
jv myna__jv_format(jx *x, jv s, const jargs *a);           /* "%s" % args */
jv myna__jv_format_fields(jx *x, jv s, const jargs *a);    /* "{}".format(args) */
void myna__jf_fill(jx *x, jbuf *b, uint32_t c, int64_t n); /* n times the character */
jv myna__jv_binary(jx *x, char op, jv a, jv b);
bool myna__jv_in(jx *x, jv a, jv b);
bool myna__jv_compare(jx *x, char op, jv a, jv b);
jv myna__js_replace(jx *x, myna__str s, myna__str from, myna__str to, int64_t count);
jv myna__js_strip(jx *x, jv s, jv chars, int sides); /* 1 left, 2 right */
jv myna__jx_slice(jx *x, jv v, jv from, jv to, jv step);

#endif
