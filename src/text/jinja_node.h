/* jinja_node.h: tokens and the syntax tree of a template; private to jinja*.c. */
#ifndef MYNA__JINJA_NODE_H
#define MYNA__JINJA_NODE_H

#include "formats/str.h"
#include "text/jinja.h"

typedef enum jtok_type {
  JT_EOF,
  JT_DATA,
  JT_VAR_BEGIN,
  JT_VAR_END,
  JT_BLOCK_BEGIN,
  JT_BLOCK_END,
  JT_NAME,
  JT_STRING,
  JT_INT,
  JT_FLOAT,
  JT_OP
} jtok_type;

typedef struct jtok {
  jtok_type type;
  int line;
  myna__str s; /* text; of strings the decoded one */
  int64_t i;
  double f;
} jtok;

typedef enum jnode_kind {
  /* expressions */
  JN_CONST,   /* value by `op`: 's' string, 'i', 'f', 'n' none, 't', 'F' */
  JN_NAME,    /* s */
  JN_LIST,    /* kids */
  JN_TUPLE,   /* kids */
  JN_DICT,    /* kids: key, value, ... */
  JN_ATTR,    /* a.s */
  JN_ITEM,    /* a[b] */
  JN_SLICE,   /* a[kids 0:1:2], NULL where absent */
  JN_CALL,    /* a(args) */
  JN_FILTER,  /* a|s(args); a NULL: the text of a filter block */
  JN_TEST,    /* a is s(args) */
  JN_NOT,     /* a */
  JN_NEG,     /* a */
  JN_POS,     /* a */
  JN_AND,     /* a, b */
  JN_OR,      /* a, b */
  JN_BIN,     /* a op b */
  JN_COMPARE, /* a, then kids[i] compared by its op with kids[i].a */
  JN_COND,    /* a if b else c */
  /* statements */
  JN_TEXT,        /* s */
  JN_PRINT,       /* a */
  JN_BLOCK,       /* kids */
  JN_IF,          /* kids: condition, body, condition, body ..., else body with a NULL condition */
  JN_FOR,         /* a target, b iterable, c filter, kids: body, else; flag: recursive */
  JN_SET,         /* a target, b value */
  JN_SETBLOCK,    /* a target, b body, c filter or NULL */
  JN_MACRO,       /* s name, args: names with defaults, b body */
  JN_CALLER,      /* a call, args: parameters, b body */
  JN_FILTERBLOCK, /* a filter, b body */
  JN_WITH,        /* kids: target, value, ...; b body */
  JN_BREAK,
  JN_CONTINUE
} jnode_kind;

/* One argument or parameter: star 1 is *value, 2 is **value. */
typedef struct jarg {
  myna__str name; /* p NULL: positional */
  struct jnode *value;
  int star;
} jarg;

/* What of a call a macro's body names, in i of JN_MACRO and JN_CALLER. */
enum { JM_VARARGS = 1, JM_KWARGS = 2, JM_CALLER = 4 };

typedef struct jnode {
  jnode_kind kind;
  int line;
  char op;
  bool flag;
  myna__str s;
  int64_t i;
  double f;
  struct jnode *a, *b, *c;
  struct jnode **kids;
  int64_t n, cap;
  jarg *args;
  int64_t n_args, cap_args;
  const void *row; /* of FILTER and TEST: the list's row, NULL where there is none of this name */
} jnode;

struct myna__jinja {
  myna__arena arena;
  char *source;
  jnode *root;
};

/* Room in the arena for one more of n elements at p: p, or where they are now; NULL when there is no memory. */
void *myna__jinja_room(myna__arena *a, void *p, int64_t n, int64_t *cap, size_t elem);
/* Splits the template into tokens in the arena. */
int myna__jinja_lex(myna__arena *a, myna__str src, jtok **out, int64_t *n, myna_err *err);
int myna__jinja_parse(myna__arena *a, const jtok *toks, int64_t n, int max_depth, jnode **out, myna_err *err);
/* Rows of filters and tests, NULL for an unknown name. */
const void *myna__jinja_filter(myna__str name);
const void *myna__jinja_test(myna__str name);

#endif
