/* grammar.c: myna_grammar.h but for schemas and masks: grammars from texts, and what a text is to them. */
#include "engine/grammar.h"

enum { RUN_BYTES = 1 << 25 };

static int from_tree(myna_grammar **out, myna__tree *t, int rc, int32_t root, myna_err *err) {
  if (rc == 0) rc = myna__gram_compile(out, t, root, err);
  myna__tree_free(t);
  return rc;
}

int myna_grammar_from_gbnf(myna_grammar **out, const char *text, size_t n, const char *root, myna_err *err) {
  myna__tree t = {0};
  if (!root) root = "root";
  if ((*out = myna__gram_cached('g', root, text, n))) return 0;
  int rc = myna__gbnf_parse(&t, text, n, err);
  int64_t k = rc < 0 ? -1 : myna__map_get(&t.names, root, strlen(root), -1);
  if (rc == 0 && k < 0) rc = myna__gram_err(err, MYNA_E_FORMAT, 1, "there is no rule \"%.60s\"", root);
  rc = from_tree(out, &t, rc, (int32_t)k, err);
  if (rc == 0) myna__gram_keep('g', root, text, n, *out);
  return rc;
}

int myna_grammar_from_regex(myna_grammar **out, const char *text, size_t n, myna_err *err) {
  myna__tree t = {0};
  if ((*out = myna__gram_cached('r', "", text, n))) return 0;
  int rc = from_tree(out, &t, myna__regex_parse(&t, text, n, err), 0, err);
  if (rc == 0) myna__gram_keep('r', "", text, n, *out);
  return rc;
}

int myna_grammar_from_choices(myna_grammar **out, const char *const *texts, int n, myna_err *err) {
  myna__tree t = {0};
  *out = NULL;
  return from_tree(out, &t, myna__choices_parse(&t, texts, n, err), 0, err);
}

void myna_grammar_free_text(char *text) { myna__strfree(text); }

myna_grammar *myna_grammar_ref(myna_grammar *g) {
  if (g) atomic_fetch_add(&g->refs, 1);
  return g;
}

void myna_grammar_free(myna_grammar *g) {
  if (!g || atomic_fetch_sub(&g->refs, 1) > 1) return;
  myna__gram_unreport(g);
  myna__gmasks_free_all(g);
  if (g->machine) myna__gmachine_free(g->machine);
  myna__free(g->machine, sizeof *g->machine);
  myna__free(g->classes, (size_t)g->n_nodes * sizeof *g->classes);
  for (int64_t i = 0; i < g->n_tokens; i++) myna__strfree(g->tokens[i].text);
  myna__free(g->tokens, (size_t)g->n_tokens * sizeof *g->tokens);
  myna__free(g->nodes, (size_t)g->cap_nodes * sizeof *g->nodes);
  myna__free(g->closures, (size_t)g->cap_closures * sizeof *g->closures);
  myna__free(g->items, (size_t)g->cap_items * sizeof *g->items);
  myna__free(g->rules, (size_t)g->n_rules * sizeof *g->rules);
  myna__free(g->by_order, (size_t)g->n_rules * sizeof *g->by_order);
  pthread_mutex_destroy(&g->lock);
  myna__free(g, sizeof *g);
}

/* The state after a text; what was met on the way is dropped where it becomes much. */
static int32_t run(myna__gmachine *m, const char *text, size_t n) {
  int32_t s = m->start;
  for (size_t i = 0; i < n && s > 0; i++) {
    if (myna__gmachine_bytes(m) > RUN_BYTES) {
      TRY(myna__gmachine_compact(m, &(int32_t *){&s}, 1));
      if (myna__gmachine_bytes(m) > RUN_BYTES / 2) return MYNA_E_LIMIT;
    }
    if (s > 0) s = myna__gmachine_next(m, s, (uint8_t)text[i]);
  }
  return s;
}

myna_match myna_grammar_match(const myna_grammar *g, const char *text, size_t n) {
  myna__gmachine m;
  if (myna__gmachine_init(&m, g, NULL) < 0) return MYNA_MATCH_DEAD;
  int32_t s = run(&m, text, n);
  myna_match what = s <= 0 ? MYNA_MATCH_DEAD : m.states[s].whole ? MYNA_MATCH_WHOLE : MYNA_MATCH_PREFIX;
  myna__gmachine_free(&m);
  return what;
}

int myna_grammar_close(const myna_grammar *g, const char *text, size_t n, char **tail, myna_err *err) {
  myna__gmachine m;
  myna__buf out = {0};
  *tail = NULL;
  TRY(myna__gmachine_init(&m, g, err));
  int32_t s = run(&m, text, n);
  int rc = s < 0 ? myna__err(err, s, "the text is too large for the grammar") : myna__gmachine_close(&m, s, &out, err);
  if (rc == 0 && !(*tail = myna__strndup(out.data ? out.data : "", out.len)))
    rc = myna__err(err, MYNA_E_NOMEM, "no memory for the end of a text");
  myna__buf_free(&out);
  myna__gmachine_free(&m);
  return rc;
}
