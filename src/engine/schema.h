/* schema.h: what the files that turn JSON schemas into grammars share: a tree of the schema's JSON, automata over code points, decimal
 * numbers, and rules of a grammar. Everything lives in the arena of one conversion and is bounded by its fuel. */
#ifndef MYNA__SCHEMA_H
#define MYNA__SCHEMA_H

#include "formats/str.h"
#include "myna_grammar.h"

/* ---- one conversion ---- */

enum {
  MYNA__SC_TEXT = 1 << 20,   /* longest schema, bytes */
  MYNA__SC_MEMORY = 1 << 28, /* bytes of the arena */
  MYNA__SC_STATES = 20000,   /* of an automaton while it is built */
  MYNA__SC_DFA_RULES = 4096, /* of an automaton that becomes rules */
  MYNA__SC_RULES = 60000,    /* of the grammar */
  MYNA__SC_BRANCHES = 512,   /* alternatives that one place of the schema may expand to */
  MYNA__SC_CHAIN = 256,      /* depth of references and combinations at one place */
  MYNA__SC_REPEAT = 4096,    /* most repetitions written; larger upper bounds are lowered to it */
  MYNA__SC_FUEL = 400 * 1000 * 1000
};

typedef struct myna__jnode myna__jnode;
typedef struct myna__sc {
  myna__arena arena;
  int64_t fuel;
  int made;                    /* nodes that no text has; their ids go down from 0 */
  const myna__jnode *narrowed; /* a keyword of which instances may be lost, or NULL */
  const myna__jnode *at;       /* the place in the schema that is being looked at, for messages */
  bool compact;
  uint8_t *categories; /* [0x110000] of code points, NULL until needed */
  myna_err *err;
} myna__sc;

void *myna__sc_alloc(myna__sc *c, size_t n); /* zeroed; NULL on failure or where the arena is too large */
/* Takes work units; MYNA_E_LIMIT once all are used. */
int myna__sc_burn(myna__sc *c, int64_t units);
/* Fails with the JSON pointer of c->at before the message; returns the code. */
void myna__sc_say(myna__sc *c, int code, const char *fmt, ...) MYNA__PRINTF(3, 4);
/* An expression, so that analyzers see that it is negative. */
#define myna__sc_fail(c, code, ...) (myna__sc_say(c, code, __VA_ARGS__), (code))
/* Fails after an allocation that did. Here, so that who checks the code sees that it fails. */
static inline int myna__sc_nomem(myna__sc *c) {
  if (c->arena.total <= MYNA__SC_MEMORY) {
    myna__err(c->err, MYNA_E_NOMEM, "out of memory");
    return MYNA_E_NOMEM;
  }
  return myna__sc_fail(c, MYNA_E_LIMIT, "the schema is too complex");
}
/* Holds n + 1 elements of the given size in the arena. */
int myna__sc_grow(myna__sc *c, void **p, int n, int *cap, size_t elem);

/* ---- the schema's JSON (schema_json.c) ---- */

typedef enum myna__jkind {
  MYNA__J_NULL,
  MYNA__J_FALSE,
  MYNA__J_TRUE,
  MYNA__J_NUMBER,
  MYNA__J_STRING,
  MYNA__J_ARRAY,
  MYNA__J_OBJECT
} myna__jkind;
struct myna__jnode {
  myna__jkind kind;
  uint8_t color;  /* of the search for references that lead back to themselves: 0 new, 1 open, 2 done */
  myna__str text; /* STRING: decoded bytes; NUMBER: as written */
  myna__str key;  /* name in the parent, if that is an object */
  int id, index, n;
  myna__jnode *parent, *first, *last, *next;
  struct opposite *opposites;                       /* of schema_not.c */
  struct myna__jset *implied[2];                    /* of schema_imply.c, once they were made */
  int mask;                                         /* of a type that no text has: types */
  myna__jnode *no_words, *no_pattern, *no_multiple; /* what no instance is: a value of a list, ... */
  struct myna__dfa *dfa[2]; /* narrow and wide, of the pattern in text or key, once it was needed */
};
int myna__sj_parse(myna__sc *c, const char *text, size_t n, myna__jnode **out);
myna__jnode *myna__sj_get(const myna__jnode *object,
                          const char *name); /* NULL where there is none or it is no object */
myna__jnode *myna__sj_get_str(const myna__jnode *object, myna__str name);
/* A node that no text has; at: where references and messages start from. NULL: no memory. */
myna__jnode *myna__sj_new(myna__sc *c, const myna__jnode *at, myna__jkind kind);
/* Appends a shallow copy of v under this name; its children stay where they are. to and v may be NULL after a failure. */
int myna__sj_append(myna__sc *c, myna__jnode *to, myna__str key, const myna__jnode *v);
bool myna__sj_equal(const myna__jnode *a,
                    const myna__jnode *b);              /* as values: 1.0 is 1, order of members does not count */
void myna__sj_dump(myna__buf *b, const myna__jnode *v); /* compact */
void myna__sj_dump_string(myna__buf *b, myna__str s);
/* "#/a/b", cut where buf is full. */
void myna__sj_pointer(const myna__jnode *v, char *buf, size_t n);

/* Decimal number 0.d[0]d[1]...d[n-1] * 10^point; neither d[0] nor d[n-1] is zero; zero: n 0, point 0, neg false. */
enum { MYNA__DEC_DIGITS = 40 };
typedef struct myna__dec {
  bool neg;
  int n, point;
  uint8_t d[MYNA__DEC_DIGITS];
} myna__dec;
bool myna__dec_parse(myna__dec *d, myna__str s); /* false: more digits than fit, or an absurd exponent */
int myna__dec_cmp(const myna__dec *a, const myna__dec *b);
bool myna__dec_is_int(const myna__dec *a);

/* ---- automata over code points (schema_dfa.c) ---- */

/* Deterministic and complete; state 0 is the start. Class k are the code points lo[k]..lo[k+1]-1. */
typedef struct myna__dfa {
  int n, nc;
  const uint32_t *lo; /* [nc], ascending from 0 */
  int32_t *to;        /* [n, nc] */
  uint8_t *accept;    /* [n]; not zero: accepts. A product takes its second factor's */
} myna__dfa;
int myna__dfa_new(myna__sc *c, myna__dfa *d, int n, int nc);
int myna__dfa_product(myna__sc *c, const myna__dfa *a, const myna__dfa *b, myna__dfa *out); /* intersection */
int myna__dfa_complement(myna__sc *c, const myna__dfa *a, myna__dfa *out);
int myna__dfa_minimize(myna__sc *c, myna__dfa *d);
int myna__dfa_length(myna__sc *c, int min, int max, myna__dfa *out); /* max -1: none */
int myna__dfa_words(myna__sc *c, const myna__str *words, int n, myna__dfa *out);
/* Texts behind which the first of mark's first `most` code points begins, and not before: it is met neither within nor across the end. */
int myna__dfa_avoid(myna__sc *c, const char *mark, int most, myna__dfa *out);
/* d without texts in which mark occurs (or, where that needs more states than so many, a beginning of it), and with `more`, which may be NULL. */
int myna__dfa_beside(myna__sc *c, const myna__dfa *d, const char *mark, int states, const myna__dfa *more,
                     myna__dfa *out);
bool myna__dfa_accepts(const myna__dfa *d, myna__str utf8);
int myna__dfa_live(myna__sc *c, const myna__dfa *d, uint8_t **live); /* [n]: can reach an accepting state */
/* ECMAScript regular expression that is searched for (schema_regex.c): what surely matches, or with `wide` what may match. */
int myna__dfa_regex(myna__sc *c, myna__str pattern, bool wide, myna__dfa *out);

/* ---- numbers (schema_number.c) ---- */

typedef struct myna__numset {
  bool integer, has_min, has_max, ex_min, ex_max;
  myna__dec min, max;
  int64_t multiple; /* of multiple / 10^scale; 0: any */
  int scale;
  bool never;       /* nothing */
  bool fraction;    /* no integers */
  int64_t apart[4]; /* [n_apart] integers of which it is no multiple */
  int n_apart;
  int64_t must; /* beside them: of what it is one, where multiple is the common multiple of all; 0: of multiple */
} myna__numset;
int myna__num_add_min(myna__numset *s, const myna__dec *d, bool exclusive);
int myna__num_add_max(myna__numset *s, const myna__dec *d, bool exclusive);
int myna__num_add_multiple(myna__sc *c, myna__numset *s, const myna__dec *d);
int myna__num_add_apart(myna__numset *s, const myna__dec *d); /* what it cannot keep empties the set */
bool myna__num_empty(const myna__numset *s);                  /* surely */
/* A subset of the texts of its numbers, without exponents; all integers of at most 15 digits if it is of integers. */
int myna__num_dfa(myna__sc *c, const myna__numset *s, myna__dfa *out);
/* Whether d is a multiple: 1, 0, or -1 where that cannot be told. */
int myna__num_is_multiple(const myna__dec *d, const myna__dec *m);

/* ---- rules (schema_rules.c) ---- */

typedef enum myna__gkind { MYNA__G_LIT, MYNA__G_CLASS, MYNA__G_RULE } myna__gkind;
typedef struct myna__gsym {
  myna__gkind kind;
  myna__str text; /* LIT: bytes to match; CLASS: as GBNF writes it */
  int rule, min, max;
} myna__gsym;
typedef struct myna__galt {
  myna__gsym s[12];
  int n;
} myna__galt;
typedef struct myna__srule {
  myna__galt **alts;
  int n, cap;
  bool productive, reached;
} myna__srule;
typedef struct myna__rules {
  myna__sc *c;
  myna__srule *rules;
  int n, cap;
  myna__map classes;       /* set of code points -> rule */
  bool raw;                /* code points stand as they are, nothing is escaped */
  const char *hex[16][16]; /* classes of hexadecimal digits, once needed */
} myna__rules;
int myna__rule_new(myna__rules *g); /* its number, or negative */
/* The rule of one code point as a JSON string writes it, v > 0: as it is, or escaped. */
int myna__rules_point(myna__rules *g, uint32_t v);
void myna__alt_lit(myna__galt *a, const char *text);
void myna__alt_bytes(myna__galt *a, myna__str bytes);
void myna__alt_class(myna__galt *a, const char *text, int min, int max);
void myna__alt_rule(myna__galt *a, int rule, int min, int max);
int myna__rule_add(myna__rules *g, int rule, const myna__galt *a);
/* Rules for the automaton's texts, written as they are, or as JSON strings with their quotes; the first rule's number. */
int myna__rules_dfa(myna__rules *g, const myna__dfa *d, bool json_string);
/* The same for text as it is (raw): behind it ends[0] where a state's accept has bit 0, ends[1] where it has bit 1. most: states,
 * more are MYNA_E_LIMIT. */
int myna__rules_text(myna__rules *g, const myna__dfa *d, const char *const ends[2], int most);
/* Drops what has no text; MYNA_E_ARG when the root has none. */
int myna__rules_prune(myna__rules *g, int root);
int myna__rules_print(myna__rules *g, int root, const char *prefix, char **text);

/* ---- conversions (schema.c, schema_text.c) ---- */

/* As myna_schema_to_gbnf; no JSON string has `avoid` (without signs that JSON escapes) within, so that it ends what stands around. */
int myna__schema_gbnf(const char *json, size_t n, const char *prefix, const myna_schema_options *o, const char *avoid,
                      char **text, myna_err *err);

/* Strings as text without quotes, which end where their reader sees them end. */
typedef struct myna__text_end {
  const char *mark;   /* what a reader looks for: it occurs in no text */
  const char *end;    /* what stands behind each text; it begins with mark */
  const char *except; /* NULL, or a regular expression of texts that are read as something else */
  bool line;          /* one line break before the end is no part of the text */
} myna__text_end;
/* Rules of the strings of a schema as such text with its end; what else the schema allows is left out. The last rule is `prefix`root. Errors as of
 * myna_schema_to_gbnf; MYNA_E_ARG also where no string of the schema can be written so. */
int myna__schema_text_gbnf(const char *json, size_t n, const char *prefix, const myna__text_end *e, char **text,
                           myna_err *err);

/* ---- meaning (schema_valid.c, schema_format.c, schema_look.c) ---- */

typedef enum myna__type_mask {
  MYNA__T_NULL = 1,
  MYNA__T_BOOL = 2,
  MYNA__T_INT = 4,
  MYNA__T_FRAC = 8,
  MYNA__T_STRING = 16,
  MYNA__T_ARRAY = 32,
  MYNA__T_OBJECT = 64,
  MYNA__T_ALL = 127
} myna__type_mask;
/* A conjunction of schemas. */
typedef struct myna__jset {
  myna__jnode **p;
  int n, cap;
} myna__jset;
int myna__jset_add(myna__sc *c, myna__jset *s, myna__jnode *v);
/* Refuses keywords that are not supported, malformed ones, and references that lead back to themselves. */
int myna__schema_check(myna__sc *c, myna__jnode *s);
int myna__schema_resolve(myna__sc *c, const myna__jnode *ref, myna__jnode **out);
/* The automaton of a pattern or format, kept at its node. */
int myna__schema_pattern(myna__sc *c, myna__jnode *at, myna__str pattern, bool wide, const myna__dfa **out);
bool myna__schema_format_free(const myna__jnode *format); /* NULL, or one that says nothing about texts */
int myna__schema_format(myna__sc *c, myna__jnode *format, const myna__dfa **out);
/* Keeps numbers to a format that is of integers; false where it is not. */
bool myna__schema_format_numbers(const myna__jnode *format, myna__numset *out);
/* The conjunction as alternatives of conjunctions without references and combinations. With `strict` oneOf's branches must be disjoint. */
typedef struct myna__jsets {
  myna__jset *p;
  int n, cap;
} myna__jsets;
int myna__schema_expand(myna__sc *c, const myna__jset *flat, const myna__jset *todo, bool strict, myna__jsets *out);
/* A oneOf whose branches overlap in what is not understood, a keyword of whose opposite too little is known. */
int myna__schema_fail_one(myna__sc *c, const myna__jnode *keyword);
/* Adds what not, if and dependencies make of s (schema_imply.c): schemas to all, lists of alternatives to choices. Fewer instances where opposites are not
 * wholly known; without `strict` never fewer. */
int myna__schema_implied(myna__sc *c, myna__jnode *s, bool strict, myna__jset *all, myna__jset *choices);
/* Whether v is what they make of s: 1, 0, or 2: unknown. */
int myna__schema_valid_implied(myna__sc *c, myna__jnode *s, const myna__jnode *v, int depth);
int myna__schema_types(const myna__jset *s);
int myna__schema_type_of(const myna__jnode *v);
/* The first enum or const, NULL where there is none. */
const myna__jnode *myna__schema_enum(const myna__jset *s);
int myna__schema_member(myna__sc *c, const myna__jset *s, myna__str name, myna__jset *out, bool *required);
int myna__schema_element(myna__sc *c, const myna__jset *s, int index, myna__jset *out);
/* Without `formats` it is what surely holds for every reader. */
int myna__schema_numbers(myna__sc *c, const myna__jset *s, bool integer, bool formats, myna__numset *out);
typedef struct myna__bounds {
  int64_t min, max; /* max -1: none */
} myna__bounds;
int myna__schema_bounds(myna__sc *c, const myna__jset *s, const char *min, const char *max, myna__bounds *out);
/* A schema of which nothing is an instance of s, surely; a false one where nothing is known. hint: a schema whose names it may use, or NULL. */
int myna__schema_not(myna__sc *c, myna__jnode *s, const myna__jnode *hint, int depth, myna__jnode **out);
/* 1 v is an instance, 0 it is none, 2 unknown. */
int myna__schema_valid(myna__sc *c, myna__jnode *s, const myna__jnode *v, int depth);
/* 1: no value is an instance of both; 0 where that is not known. */
int myna__schema_disjoint(myna__sc *c, const myna__jset *base, const myna__jset *a, const myna__jset *b, int depth);
int myna__schema_strings(myna__sc *c, const myna__jset *s, bool formats, bool *plain, myna__bounds *length,
                         myna__dfa *out);

#endif
