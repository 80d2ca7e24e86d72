/* schema_walk.h: texts of a grammar by a random walk, as a sampler without any sense would write them. */
#ifndef TEST_SCHEMA_WALK_H
#define TEST_SCHEMA_WALK_H
#include "engine/grammar.h"
#include "test.h"

typedef struct walker {
  myna__gmachine m;
  const myna_grammar *g;
} walker;

int walk_init(walker *w, const myna_grammar *g);
void walk_free(walker *w);
/* Appends one text of the grammar to out: bytes at random, kind of byte first, so that strings and lists end; after about `budget` bytes the
 * shortest end. *own: how many of the bytes were drawn. Negative when the grammar gives no next byte although the text is not whole. */
int walk(walker *w, test_rng *r, size_t budget, myna__buf *out, size_t *own);
#endif
