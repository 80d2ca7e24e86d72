/* jinja_parse.c: tokens into the syntax tree, by recursive descent with Jinja2's precedences. Nesting is bounded; chains of operators are loops here and
 * bounded when they are evaluated. */
#include "text/jinja_node.h"

typedef struct parser {
  myna__arena *a;
  const jtok *t; /* the current token */
  int depth, max_depth, rc;
  int64_t named; /* JM_: what the macro that is read names */
  myna_err *err;
} parser;

/* The first failure stays in p->rc and moves the parser to the end, so that every loop ends. */
static jnode *bad(parser *p, const char *fmt, myna__str s) {
  char q[MYNA__QUOTE];
  if (!p->rc) {
    char msg[160];
    snprintf(msg, sizeof msg, "%s %s", fmt, myna__str_quote(q, s));
    p->rc = myna__err(p->err, MYNA_E_FORMAT, "template line %d: %s", p->t->line, msg);
  }
  while (p->t->type != JT_EOF) p->t++;
  return NULL;
}

static void no_memory(parser *p) {
  if (!p->rc) p->rc = myna__err(p->err, MYNA_E_NOMEM, "no memory for a template");
}

static void *get(parser *p, size_t n) {
  void *m = myna__arena_alloc(p->a, n);
  if (!m) no_memory(p);
  return m;
}

static jnode *node(parser *p, jnode_kind kind) {
  jnode *n = get(p, sizeof *n);
  if (!n) {
    while (p->t->type != JT_EOF) p->t++;
    return NULL;
  }
  n->kind = kind;
  n->line = p->t->line;
  return n;
}

static jnode *node2(parser *p, jnode_kind kind, jnode *a, jnode *b) {
  jnode *n = node(p, kind);
  if (n) n->a = a, n->b = b;
  return n;
}

static void kid(parser *p, jnode *n, jnode *k) {
  if (!n || p->rc) return;
  jnode **m = myna__jinja_room(p->a, n->kids, n->n, &n->cap, sizeof *m);
  if (!m) {
    no_memory(p);
    return;
  }
  n->kids = m;
  n->kids[n->n++] = k;
}

static void add_arg(parser *p, jnode *n, jarg a) {
  if (!n || p->rc) return;
  jarg *m = myna__jinja_room(p->a, n->args, n->n_args, &n->cap_args, sizeof *m);
  if (!m) {
    no_memory(p);
    return;
  }
  n->args = m;
  n->args[n->n_args++] = a;
}

static bool is_op(const parser *p, const char *z) { return p->t->type == JT_OP && myna__str_eq(p->t->s, z); }
static bool is_word(const parser *p, const char *z) { return p->t->type == JT_NAME && myna__str_eq(p->t->s, z); }
static bool next_word(const parser *p, const char *z) {
  return p->t->type != JT_EOF && p->t[1].type == JT_NAME && myna__str_eq(p->t[1].s, z);
}
static bool take_op(parser *p, const char *z) { return is_op(p, z) ? (p->t++, true) : false; }
static bool take_word(parser *p, const char *z) { return is_word(p, z) ? (p->t++, true) : false; }
static void want_op(parser *p, const char *z) {
  if (!take_op(p, z)) bad(p, "expected", (myna__str){z, strlen(z)});
}
static myna__str want_name(parser *p) {
  if (p->t->type != JT_NAME) {
    bad(p, "expected a name, not", p->t->s);
    return (myna__str){"", 0};
  }
  return (p->t++)->s;
}

static bool enter(parser *p) {
  if (p->rc) return false;
  if (++p->depth <= p->max_depth) return true;
  p->rc = myna__err(p->err, MYNA_E_LIMIT, "template line %d: nested deeper than %d", p->t->line, p->max_depth);
  while (p->t->type != JT_EOF) p->t++;
  return false;
}

static jnode *expression(parser *p);
static jnode *unary(parser *p, bool filters);
static jnode *condition(parser *p, bool ternary);

static jnode *constant(parser *p, char op) {
  jnode *n = node(p, JN_CONST);
  if (!n) return NULL; /* the parser is at the end then */
  n->op = op, n->s = p->t->s, n->i = p->t->i, n->f = p->t->f;
  p->t++;
  return n;
}

static jnode *string(parser *p) {
  jnode *n = constant(p, 's');
  while (n && p->t->type == JT_STRING) { /* adjacent ones are one */
    char *m = get(p, n->s.n + p->t->s.n + 1);
    if (!m) return n;
    memcpy(m, n->s.p, n->s.n);
    memcpy(m + n->s.n, p->t->s.p, p->t->s.n);
    n->s = (myna__str){m, n->s.n + p->t->s.n};
    p->t++;
  }
  return n;
}

static jnode *name(parser *p) {
  static const struct {
    const char *word;
    char op;
  } words[] = {{"true", 't'}, {"True", 't'}, {"false", 'F'}, {"False", 'F'}, {"none", 'n'}, {"None", 'n'}};
  for (size_t i = 0; i < MYNA__COUNT(words); i++)
    if (is_word(p, words[i].word)) return constant(p, words[i].op);
  static const char *const given[] = {"varargs", "kwargs", "caller"};
  for (int i = 0; i < 3; i++)
    if (is_word(p, given[i])) p->named |= 1 << i;
  jnode *n = node(p, JN_NAME);
  if (n) n->s = (p->t++)->s;
  return n;
}

/* Items up to `close`, into a list or tuple; *comma says whether there was one. */
static void items(parser *p, jnode *n, const char *close, bool *comma) {
  while (!p->rc && !is_op(p, close)) {
    kid(p, n, expression(p));
    if (!take_op(p, ",")) break;
    *comma = true;
  }
  want_op(p, close);
}

static jnode *primary(parser *p) {
  bool comma = false;
  if (!enter(p)) return NULL;
  jnode *n = NULL;
  if (p->t->type == JT_NAME) {
    n = name(p);
  } else if (p->t->type == JT_STRING) {
    n = string(p);
  } else if (p->t->type == JT_INT || p->t->type == JT_FLOAT) {
    n = constant(p, p->t->type == JT_INT ? 'i' : 'f');
  } else if (take_op(p, "(")) {
    n = node(p, JN_TUPLE);
    items(p, n, ")", &comma);
    if (n && n->n == 1 && !comma) n = n->kids[0];
  } else if (take_op(p, "[")) {
    n = node(p, JN_LIST);
    items(p, n, "]", &comma);
  } else if (take_op(p, "{")) {
    n = node(p, JN_DICT);
    while (!p->rc && !is_op(p, "}")) {
      kid(p, n, expression(p));
      want_op(p, ":");
      kid(p, n, expression(p));
      if (!take_op(p, ",")) break;
    }
    want_op(p, "}");
  } else {
    bad(p, "unexpected", p->t->s);
  }
  p->depth--;
  return n;
}

/* Call arguments behind "(". */
static void call_args(parser *p, jnode *n) {
  while (!p->rc && !is_op(p, ")")) {
    jarg a = {0};
    if (take_op(p, "**"))
      a.star = 2;
    else if (take_op(p, "*"))
      a.star = 1;
    else if (p->t->type == JT_NAME && p->t[1].type == JT_OP && myna__str_eq(p->t[1].s, "="))
      a.name = p->t->s, p->t += 2;
    a.value = expression(p);
    add_arg(p, n, a);
    if (!take_op(p, ",")) break;
  }
  want_op(p, ")");
}

static jnode *subscript(parser *p, jnode *a) {
  jnode *part[3] = {0};
  int k = 0;
  bool comma = false;
  if (take_op(p, "]")) return node2(p, JN_ITEM, a, node(p, JN_TUPLE));
  if (!is_op(p, ":")) part[0] = expression(p);
  while (k < 2 && take_op(p, ":")) {
    k++;
    if (!is_op(p, ":") && !is_op(p, "]")) part[k] = expression(p);
  }
  jnode *n = node2(p, k ? JN_SLICE : JN_ITEM, a, part[0]);
  if (k) {
    for (int i = 0; i < 3; i++) kid(p, n, part[i]);
  } else if (is_op(p, ",")) {
    jnode *t = node(p, JN_TUPLE);
    kid(p, t, part[0]);
    p->t++;
    items(p, t, "]", &comma);
    if (n) n->b = t;
    return n;
  }
  want_op(p, "]");
  return n;
}

static jnode *postfix(parser *p, jnode *n) {
  while (!p->rc) {
    if (take_op(p, ".")) {
      if (p->t->type == JT_INT) {
        n = node2(p, JN_ITEM, n, NULL);
        jnode *k = constant(p, 'i');
        if (n) n->b = k;
      } else {
        n = node2(p, JN_ATTR, n, NULL);
        myna__str s = want_name(p);
        if (n) n->s = s;
      }
    } else if (take_op(p, "[")) {
      n = subscript(p, n);
    } else if (take_op(p, "(")) {
      n = node2(p, JN_CALL, n, NULL);
      call_args(p, n);
    } else {
      break;
    }
  }
  return n;
}

static jnode *filter(parser *p, jnode *a) {
  jnode *n = node2(p, JN_FILTER, a, NULL);
  myna__str s = want_name(p);
  if (!n || p->rc) return NULL;
  n->s = s;
  n->row = myna__jinja_filter(s);
  if (take_op(p, "(")) call_args(p, n);
  return n;
}

static jnode *test(parser *p, jnode *a) {
  bool negate = take_word(p, "not");
  jnode *n = node2(p, JN_TEST, a, NULL);
  myna__str s = p->t->s;
  if (p->t->type != JT_NAME) return bad(p, "expected a test, not", s);
  p->t++;
  if (!n || p->rc) return NULL;
  n->s = s;
  n->row = myna__jinja_test(s);
  bool operand = p->t->type == JT_STRING || p->t->type == JT_INT || p->t->type == JT_FLOAT || is_op(p, "[") ||
                 is_op(p, "{") ||
                 (p->t->type == JT_NAME && !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and") &&
                  !is_word(p, "is") && !is_word(p, "if") && !is_word(p, "in") && !is_word(p, "not"));
  if (take_op(p, "("))
    call_args(p, n);
  else if (operand)
    add_arg(p, n, (jarg){.value = postfix(p, primary(p))});
  if (is_word(p, "is")) return bad(p, "tests cannot be chained:", p->t->s);
  return negate ? node2(p, JN_NOT, n, NULL) : n;
}

static jnode *filters(parser *p, jnode *n) {
  while (!p->rc) {
    if (take_op(p, "|")) {
      n = filter(p, n);
    } else if (take_word(p, "is")) {
      n = test(p, n);
    } else if (take_op(p, "(")) {
      n = node2(p, JN_CALL, n, NULL);
      call_args(p, n);
    } else {
      break;
    }
  }
  return n;
}

static jnode *unary(parser *p, bool with_filters) {
  jnode *n;
  if (!enter(p)) return NULL;
  if (take_op(p, "-"))
    n = node2(p, JN_NEG, unary(p, false), NULL);
  else if (take_op(p, "+"))
    n = node2(p, JN_POS, unary(p, false), NULL);
  else
    n = primary(p);
  n = postfix(p, n);
  if (with_filters) n = filters(p, n);
  p->depth--;
  return n;
}

/* Levels of left-associative operators, loosest first; `op` as in the tree ('/' '/' is 'D', '**' is 'P'). */
static const struct {
  const char *text[4];
  char op[4];
} levels[] = {{{"+", "-"}, {'+', '-'}}, {{"~"}, {'~'}}, {{"*", "/", "//", "%"}, {'*', '/', 'D', '%'}}, {{"**"}, {'P'}}};

static jnode *binary(parser *p, size_t level) {
  if (level == MYNA__COUNT(levels)) return unary(p, true);
  jnode *n = binary(p, level + 1);
  for (bool more = true; more && !p->rc;) {
    more = false;
    for (int i = 0; i < 4 && levels[level].text[i] && !more; i++) {
      if (!take_op(p, levels[level].text[i])) continue;
      n = node2(p, JN_BIN, n, NULL);
      jnode *b = binary(p, level + 1);
      if (n) n->b = b, n->op = levels[level].op[i];
      more = true;
    }
  }
  return n;
}

static char compare_op(parser *p) {
  static const struct {
    const char *text;
    char op;
  } ops[] = {{"==", '='}, {"!=", '!'}, {"<=", 'l'}, {">=", 'g'}, {"<", '<'}, {">", '>'}};
  for (size_t i = 0; i < MYNA__COUNT(ops); i++)
    if (take_op(p, ops[i].text)) return ops[i].op;
  if (take_word(p, "in")) return 'i';
  if (is_word(p, "not") && next_word(p, "in")) {
    p->t += 2;
    return 'n';
  }
  return 0;
}

static jnode *compare(parser *p) {
  jnode *first = binary(p, 0), *n = NULL;
  for (char op; !p->rc && (op = compare_op(p));) {
    if (!n) n = node2(p, JN_COMPARE, first, NULL);
    jnode *k = node2(p, JN_COMPARE, binary(p, 0), NULL);
    if (k) k->op = op;
    kid(p, n, k);
  }
  return n ? n : first;
}

static jnode *negation(parser *p) {
  if (!is_word(p, "not") || next_word(p, "in")) return compare(p);
  p->t++;
  if (!enter(p)) return NULL;
  jnode *n = node2(p, JN_NOT, negation(p), NULL);
  p->depth--;
  return n;
}

static jnode *conjunction(parser *p) {
  jnode *n = negation(p);
  while (!p->rc && take_word(p, "and")) {
    n = node2(p, JN_AND, n, NULL);
    jnode *b = negation(p);
    if (n) n->b = b;
  }
  return n;
}

static jnode *disjunction(parser *p) {
  jnode *n = conjunction(p);
  while (!p->rc && take_word(p, "or")) {
    n = node2(p, JN_OR, n, NULL);
    jnode *b = conjunction(p);
    if (n) n->b = b;
  }
  return n;
}

static jnode *condition(parser *p, bool ternary) {
  if (!enter(p)) return NULL;
  jnode *n = disjunction(p);
  while (!p->rc && ternary && take_word(p, "if")) {
    n = node2(p, JN_COND, n, NULL);
    jnode *b = disjunction(p), *c = take_word(p, "else") ? condition(p, true) : NULL;
    if (n) n->b = b, n->c = c;
  }
  p->depth--;
  return n;
}

static jnode *expression(parser *p) { return condition(p, true); }

/* An expression or, where commas follow, a tuple. */
static jnode *tuple(parser *p, bool ternary) {
  jnode *n = condition(p, ternary);
  if (!is_op(p, ",")) return n;
  jnode *t = node(p, JN_TUPLE);
  kid(p, t, n);
  while (!p->rc && take_op(p, ",")) {
    if (p->t->type == JT_BLOCK_END || p->t->type == JT_VAR_END || is_op(p, "=")) break;
    kid(p, t, condition(p, ternary));
  }
  return t;
}

/* What is assigned to: a name, a namespace's attribute, or a tuple of them. */
static jnode *target(parser *p) {
  bool paren = take_op(p, "(");
  jnode *first = NULL, *t = NULL;
  do {
    if (is_op(p, ")") || is_op(p, "=") || p->t->type == JT_BLOCK_END || (first && is_word(p, "in"))) break;
    jnode *n;
    if (is_op(p, "(")) {
      if (!enter(p)) return NULL;
      n = target(p);
      p->depth--;
    } else {
      n = node(p, JN_NAME);
      myna__str s = want_name(p);
      if (n) n->s = s;
      if (take_op(p, ".")) {
        n = node2(p, JN_ATTR, n, NULL);
        s = want_name(p);
        if (n) n->s = s;
      }
    }
    if (!first) {
      first = n;
      if (is_op(p, ",")) kid(p, t = node(p, JN_TUPLE), n);
    } else {
      kid(p, t, n);
    }
  } while (!p->rc && take_op(p, ","));
  if (paren) want_op(p, ")");
  if (!first) bad(p, "expected a name, not", p->t->s);
  return t ? t : first;
}

static void block_end(parser *p) {
  if (p->t->type != JT_BLOCK_END) {
    bad(p, "unexpected in a tag:", p->t->s);
    return;
  }
  p->t++;
}

static jnode *statement(parser *p);

/* The body up to a block tag whose word is one of `ends` (a list ending in NULL); the word is then current. */
static jnode *body(parser *p, const char *const *ends) {
  jnode *n = node(p, JN_BLOCK);
  if (!enter(p)) return NULL;
  while (!p->rc) {
    if (p->t->type == JT_EOF) {
      if (ends) bad(p, "missing", (myna__str){ends[0], strlen(ends[0])});
      break;
    }
    if (p->t->type == JT_DATA) {
      jnode *t = node(p, JN_TEXT);
      if (t) t->s = (p->t++)->s;
      kid(p, n, t);
      continue;
    }
    bool print = p->t->type == JT_VAR_BEGIN;
    p->t++;
    if (print) {
      kid(p, n, node2(p, JN_PRINT, tuple(p, true), NULL));
      if (p->t->type != JT_VAR_END) bad(p, "unexpected in a tag:", p->t->s);
      if (!p->rc) p->t++;
      continue;
    }
    bool end = false;
    for (int i = 0; ends && ends[i]; i++) end = end || is_word(p, ends[i]);
    if (end) break;
    kid(p, n, statement(p));
  }
  p->depth--;
  return n;
}

/* A body and its end tag, all of it. */
static jnode *body_to(parser *p, const char *end) {
  block_end(p);
  jnode *b = body(p, (const char *const[]){end, NULL});
  if (!p->rc) p->t++;
  if (!p->rc && p->t->type == JT_NAME) p->t++; /* endmacro NAME */
  block_end(p);
  return b;
}

static jnode *parse_if(parser *p) {
  jnode *n = node(p, JN_IF);
  static const char *const ends[] = {"endif", "elif", "else", NULL};
  for (bool more = true; more && !p->rc;) {
    kid(p, n, tuple(p, true));
    block_end(p);
    kid(p, n, body(p, ends));
    if (p->rc) break;
    more = take_word(p, "elif");
    if (!more && take_word(p, "else")) {
      block_end(p);
      kid(p, n, NULL);
      kid(p, n, body(p, (const char *const[]){"endif", NULL}));
    }
  }
  if (!p->rc) p->t++;
  block_end(p);
  return n;
}

static jnode *parse_for(parser *p) {
  jnode *n = node2(p, JN_FOR, target(p), NULL);
  if (!take_word(p, "in")) return bad(p, "expected 'in', not", p->t->s);
  jnode *b = tuple(p, false), *c = take_word(p, "if") ? expression(p) : NULL;
  if (!n) return NULL;
  n->b = b;
  n->c = c;
  n->flag = take_word(p, "recursive");
  block_end(p);
  kid(p, n, body(p, (const char *const[]){"endfor", "else", NULL}));
  if (take_word(p, "else")) {
    block_end(p);
    kid(p, n, body(p, (const char *const[]){"endfor", NULL}));
  }
  if (!p->rc) p->t++;
  block_end(p);
  return n;
}

static jnode *parse_set(parser *p) {
  jnode *n = node2(p, JN_SET, target(p), NULL);
  if (!n || p->rc) return NULL;
  if (take_op(p, "=")) {
    n->b = tuple(p, true);
    block_end(p);
    return n;
  }
  n->kind = JN_SETBLOCK;
  while (!p->rc && take_op(p, "|")) n->c = filter(p, n->c);
  n->b = body_to(p, "endset");
  return n;
}

static void parameters(parser *p, jnode *n) {
  want_op(p, "(");
  while (!p->rc && !is_op(p, ")")) {
    jarg a = {.name = want_name(p)};
    if (take_op(p, "=")) a.value = expression(p);
    add_arg(p, n, a);
    if (!take_op(p, ",")) break;
  }
  want_op(p, ")");
}

/* The body of a macro or caller, and what of its arguments that names. */
static void macro_body(parser *p, jnode *n, const char *end) {
  int64_t outer = p->named;
  p->named = 0;
  n->b = body_to(p, end);
  n->i = p->named;
  p->named |= outer;
}

static jnode *parse_macro(parser *p) {
  jnode *n = node(p, JN_MACRO);
  myna__str s = want_name(p);
  if (!n) return NULL;
  n->s = s;
  parameters(p, n);
  macro_body(p, n, "endmacro");
  return n;
}

static jnode *parse_call(parser *p) {
  jnode *n = node(p, JN_CALLER);
  if (!n) return NULL;
  n->s = (myna__str){"caller", 6};
  if (is_op(p, "(")) parameters(p, n);
  n->a = expression(p);
  if (!p->rc && (!n->a || n->a->kind != JN_CALL)) return bad(p, "expected a call, not", p->t->s);
  macro_body(p, n, "endcall");
  return n;
}

static jnode *parse_filter(parser *p) {
  jnode *n = node(p, JN_FILTERBLOCK);
  if (!n) return NULL;
  n->a = filter(p, NULL);
  while (!p->rc && take_op(p, "|")) n->a = filter(p, n->a);
  n->b = body_to(p, "endfilter");
  return n;
}

static jnode *parse_with(parser *p) {
  jnode *n = node(p, JN_WITH);
  if (!n) return NULL;
  while (!p->rc && p->t->type != JT_BLOCK_END) {
    kid(p, n, target(p));
    want_op(p, "=");
    kid(p, n, expression(p));
    if (!take_op(p, ",")) break;
  }
  n->b = body_to(p, "endwith");
  return n;
}

static jnode *parse_generation(parser *p) { return body_to(p, "endgeneration"); }
/* Nothing extends a chat template: a block is its body. */
static jnode *parse_block(parser *p) {
  want_name(p);
  take_word(p, "scoped");
  take_word(p, "required");
  jnode *n = node(p, JN_WITH);
  if (n) n->b = body_to(p, "endblock");
  return n;
}
static jnode *parse_autoescape(parser *p) {
  expression(p);
  return body_to(p, "endautoescape");
}

static jnode *parse_do(parser *p) {
  jnode *n = node2(p, JN_SET, NULL, expression(p));
  block_end(p);
  return n;
}

static jnode *parse_break(parser *p) {
  jnode *n = node(p, JN_BREAK);
  block_end(p);
  return n;
}

static jnode *parse_continue(parser *p) {
  jnode *n = node(p, JN_CONTINUE);
  block_end(p);
  return n;
}

static const struct {
  const char *word;
  jnode *(*parse)(parser *p);
} statements[] = {{"if", parse_if},
                  {"for", parse_for},
                  {"set", parse_set},
                  {"macro", parse_macro},
                  {"call", parse_call},
                  {"filter", parse_filter},
                  {"with", parse_with},
                  {"do", parse_do},
                  {"generation", parse_generation},
                  {"block", parse_block},
                  {"break", parse_break},
                  {"continue", parse_continue},
                  {"autoescape", parse_autoescape}};

static jnode *statement(parser *p) {
  for (size_t i = 0; i < MYNA__COUNT(statements); i++)
    if (is_word(p, statements[i].word)) {
      p->t++;
      return statements[i].parse(p);
    }
  return bad(p, "no statement named", p->t->s);
}

int myna__jinja_parse(myna__arena *a, const jtok *toks, int64_t n, int max_depth, jnode **out, myna_err *err) {
  (void)n;
  parser p = {.a = a, .t = toks, .max_depth = max_depth, .err = err};
  *out = body(&p, NULL);
  if (!p.rc && !*out) p.rc = myna__err(err, MYNA_E_NOMEM, "no memory for a template");
  return p.rc;
}
