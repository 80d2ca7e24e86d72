/* schema_walk.c: see schema_walk.h. */
#include "schema_walk.h"

enum { KINDS = 20, MUCH = 1 << 24 };

int walk_init(walker *w, const myna_grammar *g) {
  w->g = g;
  return myna__gmachine_init(&w->m, g, NULL);
}
void walk_free(walker *w) { myna__gmachine_free(&w->m); }

static int kind_of(int byte) {
  static const char marks[] = "\"\\}],:{[-.";
  const char *at = byte ? strchr(marks, byte) : NULL;
  if (at) return (int)(at - marks);
  if (byte >= '0' && byte <= '9') return 10;
  if ((byte | 32) >= 'a' && (byte | 32) <= 'z') return byte & 32 ? 11 : 12;
  if (byte == ' ' || byte == '\n') return 13;
  return byte < 0x80 ? 14 : byte < 0xC0 ? 15 : byte < 0xE0 ? 16 : byte < 0xF0 ? 17 : 18;
}

/* One of the bytes that may come next; -1 none. */
static int draw(walker *w, test_rng *r, int32_t state) {
  uint8_t bytes[KINDS][256];
  int n[KINDS] = {0}, kinds = 0;
  for (int b = 0; b < 256; b++) {
    int32_t next = myna__gmachine_next(&w->m, state, (uint8_t)b);
    if (next < 0) return next - 1;
    if (next == MYNA__GSTATE_DEAD) continue;
    int k = kind_of(b);
    kinds += n[k] == 0;
    bytes[k][n[k]++] = (uint8_t)b;
  }
  if (!kinds) return -1;
  int pick = (int)test_int(r, kinds), k = 0;
  for (;; k++)
    if (n[k] && pick-- == 0) break;
  return bytes[k][test_int(r, n[k])];
}

int walk(walker *w, test_rng *r, size_t budget, myna__buf *out, size_t *own) {
  if (myna__gmachine_bytes(&w->m) > MUCH) { /* what was met on the way is dropped */
    walk_free(w);
    TRY(walk_init(w, w->g));
  }
  int32_t state = w->m.start;
  size_t from = out->len;
  while (out->len - from < budget) {
    if (w->m.states[state].whole && test_int(r, 4) == 0) break;
    int byte = draw(w, r, state);
    if (byte == -1 && w->m.states[state].whole) break;
    if (byte < 0) return MYNA_E_INTERNAL;
    char ch = (char)byte;
    myna__buf_add(out, &ch, 1);
    state = myna__gmachine_next(&w->m, state, (uint8_t)byte);
  }
  *own = out->len - from;
  return w->m.states[state].whole ? 0 : myna__gmachine_close(&w->m, state, out, NULL);
}
