/* grammar.h: what the files of constrained generation share: a grammar as it is written (a tree), compiled (a network of nodes), and run (sets of
 * configurations).
 *
 * The tree (grammar_tree.c, filled by grammar_gbnf.c and grammar_regex.c) has expressions over code points. grammar_compile.c turns it into nodes over
 * bytes of UTF-8: a rule is a small automaton whose edges are bytes, calls of rules, or nothing. grammar_machine.c runs it: a configuration is a node
 * and a frame; a frame is the set of (node to go on at, frame there) of all who called a rule at one position. Frames and states are interned, so that
 * ambiguity does not multiply them, and equal situations are one number. */
#ifndef MYNA__GRAMMAR_H
#define MYNA__GRAMMAR_H

#include "base/base.h"
#include "myna.h"

/* ---- growing arrays ---- */

/* Room for `need` items of `size` bytes at *p, which has *cap. MYNA_E_NOMEM, and MYNA_E_LIMIT above `max`. */
int myna__gram_grow(void **p, int64_t *cap, int64_t need, size_t size, int64_t max, myna_err *err);

/* ---- the tree ---- */

typedef enum myna__tree_kind {
  MYNA__TREE_SET, /* one of ranges[a, a + b); no range: nothing */
  MYNA__TREE_LIT, /* bytes[a, a + b), which may be empty */
  MYNA__TREE_SEQ, /* children from a on, the last first */
  MYNA__TREE_ALT,
  MYNA__TREE_REP,  /* a, min to max times; max -1: without end */
  MYNA__TREE_REF,  /* rule a */
  MYNA__TREE_TOKEN /* token a of the list, b: any but that */
} myna__tree_kind;

typedef struct myna__tree_node {
  uint8_t kind;
  int32_t a, b, next, min, max;
} myna__tree_node;

typedef struct myna__range {
  uint32_t lo, hi;
} myna__range;

typedef struct myna__tree_rule {
  int32_t body; /* -1: not defined yet */
  int32_t line; /* first seen */
  const char *name;
} myna__tree_rule;

/* A token that a grammar names: <text> is the token of that text, <[12]> the one of this number. */
typedef struct myna__gtoken {
  char *text; /* [n], or NULL: id */
  int32_t n, id;
} myna__gtoken;

typedef struct myna__tree {
  myna__tree_node *nodes;
  myna__range *ranges;
  char *bytes;
  myna__tree_rule *rules;
  myna__gtoken *tokens; /* texts lie in the arena */
  int64_t n_nodes, cap_nodes, n_ranges, cap_ranges, n_bytes, cap_bytes, n_rules, cap_rules, n_tokens, cap_tokens;
  myna__map names;
  myna__arena arena;
} myna__tree;

enum { MYNA__REP_MAX = 100000, MYNA__TREE_DEPTH = 200 };

/* Each returns the number of a new node, or a negative code. */
int32_t myna__tree_add(myna__tree *t, myna__tree_node n, myna_err *err);
int32_t myna__tree_lit(myna__tree *t, const char *bytes, size_t n, myna_err *err);
/* Ranges from `first` on are the set, in any order; they are put in order, negated when asked for, and cleared of surrogates. */
int32_t myna__tree_set(myna__tree *t, int64_t first, bool negate, myna_err *err);
int32_t myna__tree_rep(myna__tree *t, int32_t child, int32_t min, int32_t max, myna_err *err);
int32_t myna__tree_ref(myna__tree *t, int32_t rule, myna_err *err);
int32_t myna__tree_token(myna__tree *t, const char *text, size_t n, int32_t id, bool negate, myna_err *err);
/* Appends a child to a SEQ or ALT. */
void myna__tree_append(myna__tree *t, int32_t parent, int32_t child);
int myna__tree_range(myna__tree *t, uint32_t lo, uint32_t hi, myna_err *err);
/* The rule of this name, new where there is none. */
int32_t myna__tree_rule_of(myna__tree *t, const char *name, size_t n, int32_t line, myna_err *err);
void myna__tree_free(myna__tree *t);

/* One code point of s[0..n), well-formed UTF-8; its length, or 0. */
int myna__gram_decode(const char *s, size_t n, uint32_t *c);
int myna__gram_encode(uint32_t c, char out[4]);

/* Reads up to `digits` hexadecimal digits from p, which ends at `end`; how many there were. */
int myna__gram_hex(const char *p, const char *end, int digits, uint32_t *c);
/* Reads a number of repetitions; bytes read, 0 when there is none, MYNA_E_LIMIT above MYNA__REP_MAX. */
int myna__gram_count(const char *p, const char *end, int32_t *x);

/* An error in the grammar's text, with its line. */
int myna__gram_err(myna_err *err, int code, int64_t line, const char *fmt, ...) MYNA__PRINTF(4, 5);

int myna__gbnf_parse(myna__tree *t, const char *text, size_t n, myna_err *err);
/* Into rule 0. */
int myna__regex_parse(myna__tree *t, const char *text, size_t n, myna_err *err);
int myna__choices_parse(myna__tree *t, const char *const *texts, int n, myna_err *err);

/* ---- compiled ---- */

typedef enum myna__gnode_kind {
  MYNA__GNODE_ACCEPT, /* node 0: the text is whole */
  MYNA__GNODE_ESCAPE, /* node 1: behind a frame that is not known */
  MYNA__GNODE_RET,    /* node 2: the end of every rule */
  MYNA__GNODE_FAIL,   /* node 3 */
  MYNA__GNODE_BYTE,   /* lo..hi to a, and also what b (BYTE, or -1) does */
  MYNA__GNODE_TOKEN,  /* token b, lo: any but that; to a. Bytes do not match it */
  MYNA__GNODE_SPLIT,  /* a or b */
  MYNA__GNODE_CALL    /* rule a, then node b */
} myna__gnode_kind;

typedef struct myna__gnode {
  uint8_t kind, lo, hi;
  int32_t a, b;
  int32_t closure; /* -1: none needed */
  int64_t dist;    /* fewest bytes to the end of the rule; MYNA__GRAM_NEVER */
  int32_t best;    /* where the shortest way goes: a or b */
} myna__gnode;

#define MYNA__GRAM_NEVER ((int64_t)1 << 50)

/* What a node reaches without a byte: BYTE nodes [n_terms] (and ACCEPT, ESCAPE), calls [n_calls, 2] of rule and node behind, the rule's end. */
typedef struct myna__gclosure {
  int64_t first;
  int32_t n_terms, n_calls;
  bool ret;
} myna__gclosure;

typedef struct myna__grule {
  int32_t start; /* -1: was taken into its callers */
  int32_t order; /* callers at the same position come first */
} myna__grule;

struct myna__gmasks;
struct myna__grun;
struct myna__gmachine;

struct myna_grammar {
  atomic_int refs;
  myna__gnode *nodes;
  myna__gclosure *closures;
  int32_t *items; /* of closures */
  myna__grule *rules;
  int32_t *by_order;    /* [n_rules] */
  myna__gtoken *tokens; /* [n_tokens] */
  int64_t n_nodes, cap_nodes, n_closures, cap_closures, n_items, cap_items, n_rules, n_tokens;
  int32_t root;
  /* Of all requests, behind the lock (grammar_mask.c, grammar_run.c): one machine, so that what one request met the others know, ... */
  pthread_mutex_t lock;
  struct myna__gmachine *machine; /* NULL until the first request */
  struct myna__grun *runs;
  struct myna__gmasks *masks; /* ... and the masks, per vocabulary */
  /* Nodes of one class take the same texts of up to class_depth bytes (grammar_class.c). */
  int32_t *classes; /* [n_nodes], NULL until the first request */
  int32_t n_classes, class_depth;
  int64_t least;                  /* bytes of the machine when it was made new */
  int64_t counted, counted_fixed; /* of grammar_room.c, behind the lock */
};

/* Takes nothing of t. */
int myna__gram_compile(myna_grammar **out, const myna__tree *t, int32_t root, myna_err *err);

/* ---- running ---- */

typedef struct myna__gpair {
  int32_t node, frame;
} myna__gpair;

typedef struct myna__gframe {
  int64_t min; /* fewest bytes from here to the end of the text */
  int64_t first;
  int32_t n;
  uint32_t hash;
} myna__gframe;

typedef struct myna__gstate {
  int64_t first;
  int32_t n;
  uint32_t hash;
  int32_t *row;               /* [256] next states, -1 not known yet; NULL */
  bool whole, escape, tokens; /* has ACCEPT, ESCAPE, TOKEN nodes */
} myna__gstate;

enum { MYNA__GFRAME_BOTTOM, MYNA__GFRAME_ROOT, MYNA__GFRAME_UNKNOWN, MYNA__GSTATE_DEAD = 0 };

typedef struct myna__gmachine {
  const myna_grammar *g;
  myna__gframe *frames;
  myna__gpair *members; /* of frames */
  myna__gstate *states;
  myna__gpair *pairs; /* of states */
  int32_t *frame_slots, *state_slots;
  int64_t n_frames, cap_frames, n_members, cap_members, n_states, cap_states, n_pairs, cap_pairs, n_frame_slots,
      n_state_slots;
  int64_t n_rows, fuel; /* fuel: configurations that may still be looked at */
  /* scratch of one step */
  myna__gpair *work, *out, *callers;
  int64_t n_work, cap_work, n_out, cap_out, n_callers, cap_callers;
  int32_t *caller_next;
  int64_t cap_caller_next;
  int32_t *caller_of; /* [n_rules] last caller, -1 */
  uint64_t *pending;  /* bits by order of rules */
  uint64_t *seen;     /* [n_seen] keys + 1 of work */
  int64_t n_seen;
  myna__gpair *last; /* [n_nodes] step and frame in which a node was last met */
  int32_t step;
  int32_t *stack; /* [2 * n_nodes + 2] */
  int32_t start;
} myna__gmachine;

int myna__gmachine_init(myna__gmachine *m, const myna_grammar *g, myna_err *err);
void myna__gmachine_free(myna__gmachine *m);
/* The state after one more byte; DEAD (0) when there is none, negative: MYNA_E_NOMEM, MYNA_E_LIMIT. */
int32_t myna__gmachine_step(myna__gmachine *m, int32_t state, uint8_t byte);
/* The state after one token as a whole: of the TOKEN nodes that mean it; ids [n_tokens of the grammar]. DEAD where there are none. */
int32_t myna__gmachine_token(myna__gmachine *m, int32_t state, const int32_t *ids, int32_t id);
/* All configurations of both. */
int32_t myna__gmachine_both(myna__gmachine *m, int32_t a, int32_t b);
/* As step, remembering it: for states that are met often. */
int32_t myna__gmachine_next(myna__gmachine *m, int32_t state, uint8_t byte);
/* The state of configurations [n], sorted; of nodes that consume. */
int32_t myna__gmachine_intern(myna__gmachine *m, const myna__gpair *p, int64_t n);
int64_t myna__gmachine_bytes(const myna__gmachine *m);
int64_t myna__gmachine_held(const myna__gmachine *m); /* with its scratch, which follows from the grammar */
/* Appends a shortest text to the end of the language. */
int myna__gmachine_close(const myna__gmachine *m, int32_t state, myna__buf *out, myna_err *err);
/* Makes *m new, with the n states that are alive as its only ones; *states[i] become their new numbers. Changes nothing when it fails. */
int myna__gmachine_compact(myna__gmachine *m, int32_t *const *states, int64_t n);

/* grammar_class.c: fills classes. */
int myna__gram_classify(myna_grammar *g, myna_err *err);

/* grammar_mask.c */
void myna__gmasks_free_all(myna_grammar *g);
int64_t myna__gmasks_bytes(const myna_grammar *g);

/* grammar_room.c: under a limit of memory. So many bytes, or that part of the limit when it is less. */
int64_t myna__gram_part(int64_t bytes, int part);
int64_t myna__gram_bytes(const myna_grammar *g);
/* What g holds is counted anew, or not any more; with its lock held, or alone. */
void myna__gram_report(myna_grammar *g);
void myna__gram_unreport(myna_grammar *g);
/* Bytes beyond the limit, with what g has grown since it was counted (NULL: nothing); 0: none. */
int64_t myna__gram_over(const myna_grammar *g);
/* Whether what all grammars need leaves room for masks: MYNA_E_LIMIT with the numbers else. */
int myna__gram_admit(myna_err *err);
/* grammar_cache.c: grammars that nobody uses go while there is too much; without any grammar's lock. */
void myna__gram_trim(void);

/* grammar_cache.c: a grammar that was compiled from this text before, with a reference; NULL. And keeping one. */
myna_grammar *myna__gram_cached(char kind, const char *root, const char *text, size_t n);
void myna__gram_keep(char kind, const char *root, const char *text, size_t n, myna_grammar *g);

#endif
