/* grammar_room.c: what all grammars of the process hold, and a limit for it.
 *
 * Every grammar tells what it holds whenever its lock is left. Masks and what they are made of can be found again, so near the limit a grammar drops its own
 * and goes on slower; what cannot be dropped (nodes, states that are in use) decides whether another one may begin. */
#include "engine/grammar.h"

enum { MASK_PART = 4 }; /* so much of the limit is left to masks */

static _Atomic int64_t most, total, fixed; /* fixed: of total, without masks */

int64_t myna_grammar_limit(int64_t bytes) {
  int64_t before = bytes < 0 ? atomic_load(&most) : atomic_exchange(&most, bytes);
  myna__gram_trim();
  return before;
}

int64_t myna_grammar_held(void) { return atomic_load(&total); }

int64_t myna__gram_part(int64_t bytes, int part) {
  int64_t limit = atomic_load(&most);
  return limit > 0 ? MYNA__MIN(bytes, limit / part) : bytes;
}

static int64_t own(const myna_grammar *g) {
  return (int64_t)sizeof *g + g->cap_nodes * (int64_t)sizeof *g->nodes + g->cap_items * (int64_t)sizeof *g->items +
         g->cap_closures * (int64_t)sizeof *g->closures +
         g->n_rules * (int64_t)(sizeof *g->rules + sizeof *g->by_order) + g->n_tokens * (int64_t)sizeof *g->tokens +
         (g->classes ? g->n_nodes * (int64_t)sizeof *g->classes : 0) +
         (g->machine ? myna__gmachine_held(g->machine) : 0);
}

int64_t myna__gram_bytes(const myna_grammar *g) { return own(g) + myna__gmasks_bytes(g); }

void myna__gram_report(myna_grammar *g) {
  int64_t n = own(g), all = n + myna__gmasks_bytes(g);
  if (n != g->counted_fixed) atomic_fetch_add(&fixed, n - g->counted_fixed);
  if (all != g->counted) atomic_fetch_add(&total, all - g->counted);
  g->counted_fixed = n;
  g->counted = all;
}

void myna__gram_unreport(myna_grammar *g) {
  atomic_fetch_sub(&fixed, g->counted_fixed);
  atomic_fetch_sub(&total, g->counted);
  g->counted = g->counted_fixed = 0;
}

int64_t myna__gram_over(const myna_grammar *g) {
  int64_t limit = atomic_load(&most);
  if (limit <= 0) return 0;
  return MYNA__MAX(0, atomic_load(&total) + (g ? myna__gram_bytes(g) - g->counted : 0) - limit);
}

int myna__gram_admit(myna_err *err) {
  int64_t limit = atomic_load(&most), room = limit - limit / MASK_PART, n = atomic_load(&fixed);
  if (limit <= 0 || n <= room) return 0;
  return myna__err(err, MYNA_E_LIMIT, "the memory limit leaves %.1f MB for grammars; with this one they take %.1f MB",
                   (double)room / 1e6, (double)n / 1e6);
}
