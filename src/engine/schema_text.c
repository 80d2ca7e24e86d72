/* schema_text.c: the strings of a JSON schema as text without quotes, as it stands between the tags of calls: every text is an instance of the schema as its
 * reader reads it, which looks for the mark that ends it and takes some texts for no strings. The same automata as for JSON strings, nothing escaped. */
#include "engine/schema.h"

typedef struct maker {
  myna__sc c;
  myna__rules g;
  const myna__text_end *e;
  const char *ends[2]; /* behind a text: as it is, and where a line break comes before */
  myna__dfa written;   /* texts that are read as strings, but for the mark; bits of accept say with which ends */
} maker;

/* Whether a text ends with a line break: its reader would take that for the one before the end. */
static int make_written(maker *m) {
  static const uint32_t lo[] = {0, '\n', '\n' + 1};
  myna__dfa other;
  TRY(myna__dfa_new(&m->c, &m->written, 2, 3));
  m->written.lo = lo;
  for (int i = 0; i < 2; i++) {
    m->written.to[i * 3 + 1] = 1;
    m->written.accept[i] = !m->e->line ? 1 : i ? 2 : 3;
  }
  if (!m->e->except) return myna__dfa_minimize(&m->c, &m->written);
  TRY(myna__dfa_regex(&m->c, (myna__str){m->e->except, strlen(m->e->except)}, true, &other));
  TRY(myna__dfa_complement(&m->c, &other, &other));
  return myna__dfa_product(&m->c, &other, &m->written, &m->written);
}

/* How many states are still made into a grammar in no time: each has its ends behind it. */
static int most_states(const maker *m) {
  enum { NODES = 300000, CLASSES = 40 };
  return NODES / (CLASSES + (int)strlen(m->e->end) * (m->e->line ? 2 : 1));
}

static int add_texts(maker *m, int rule, const myna__dfa *d) {
  myna__dfa kept;
  myna__galt a = {0};
  TRY(myna__dfa_beside(&m->c, d, m->e->mark, most_states(m), &m->written, &kept));
  int first = myna__rules_text(&m->g, &kept, m->ends, most_states(m) * 2);
  TRY_N(first);
  myna__alt_rule(&a, first, 1, 1);
  return myna__rule_add(&m->g, rule, &a);
}

/* The values of an enum that are strings, as an automaton of their own each: those that cannot be written fall away. */
static int add_enum(maker *m, int rule, const myna__jset *s, const myna__jnode *e) {
  bool list = myna__str_eq(e->key, "enum");
  for (const myna__jnode *v = list ? e->first : e; v; v = list ? v->next : NULL) {
    myna__dfa one;
    int valid = v->kind == MYNA__J_STRING;
    for (int i = 0; i < s->n && valid == 1; i++) valid = myna__schema_valid(&m->c, s->p[i], v, 0);
    TRY_N(valid);
    if (valid != 1) continue;
    TRY(myna__dfa_words(&m->c, &v->text, 1, &one));
    TRY(add_texts(m, rule, &one));
  }
  return 0;
}

static int add_strings(maker *m, int rule, const myna__jset *s) {
  enum { FEW = 3 }; /* so much of the mark is told from text at least: where it is more, longer texts may be written */
  bool plain;
  myna__bounds n;
  myna__dfa d;
  const myna__jnode *e = myna__schema_enum(s);
  if (!(myna__schema_types(s) & MYNA__T_STRING)) return 0;
  if (e) return add_enum(m, rule, s, e);
  TRY(myna__schema_strings(&m->c, s, true, &plain, &n, &d));
  if (plain) {
    if (n.max >= 0 && n.max < n.min) return 0;
    int64_t most = most_states(m) / FEW; /* a lower maximum is sound */
    if (n.min > most) return myna__sc_fail(&m->c, MYNA_E_LIMIT, "minLength is too large for text in tags");
    TRY(myna__dfa_length(&m->c, (int)n.min, n.max < 0 ? -1 : (int)MYNA__MIN(n.max, most), &d));
  }
  return add_texts(m, rule, &d);
}

static int compile(maker *m, const char *json, size_t n, const char *prefix, char **text) {
  myna__jnode *schema;
  myna__jset set = {0};
  myna__jsets sets = {0};
  TRY(myna__sj_parse(&m->c, json, n, &schema));
  TRY(myna__schema_check(&m->c, schema));
  TRY(myna__jset_add(&m->c, &set, schema));
  TRY(make_written(m));
  int root = myna__rule_new(&m->g);
  TRY_N(root);
  TRY(myna__schema_expand(&m->c, NULL, &set, true, &sets));
  for (int i = 0; i < sets.n; i++) TRY(add_strings(m, root, &sets.p[i]));
  int rc = myna__rules_prune(&m->g, root);
  if (rc == MYNA_E_ARG) {
    *m->c.err = (myna_err){0};
    return myna__err(m->c.err, rc, "#: no string of the schema can be written as text up to %.60s", m->e->end);
  }
  return rc < 0 ? rc : myna__rules_print(&m->g, root, prefix, text);
}

int myna__schema_text_gbnf(const char *json, size_t n, const char *prefix, const myna__text_end *e, char **text,
                           myna_err *err) {
  myna_err own = {0};
  myna__buf line = {0};
  maker m = {.c = {.fuel = MYNA__SC_FUEL, .err = &own}, .g = {.raw = true}, .e = e};
  *text = NULL;
  m.g.c = &m.c;
  myna__buf_printf(&line, "\n%s", e->end);
  m.ends[0] = e->end;
  m.ends[1] = line.data;
  int rc = line.failed ? myna__err(&own, MYNA_E_NOMEM, "out of memory") : compile(&m, json, n, prefix, text);
  if (rc < 0 && err) *err = own;
  myna__buf_free(&line);
  myna__map_free(&m.g.classes);
  myna__arena_free(&m.c.arena);
  return rc;
}
