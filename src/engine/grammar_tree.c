/* grammar_tree.c: a grammar as it is written: expressions over code points, whatever syntax they came from. */
#include "engine/grammar.h"
#include <stdlib.h>
#include <stdio.h>

enum { MAX_NODES = 1 << 20, MAX_BYTES = 1 << 24, MAX_RULES = 1 << 16, MAX_TOKENS = 1 << 10 };

int myna__gram_grow(void **p, int64_t *cap, int64_t need, size_t size, int64_t max, myna_err *err) {
  if (need <= *cap) return 0;
  int64_t room = myna__gram_part(INT64_MAX, 2) / (int64_t)size;
  if (need > max) return myna__err(err, MYNA_E_LIMIT, "the grammar is too large");
  if (need > room) return myna__err(err, MYNA_E_LIMIT, "the grammar is too large for the memory limit");
  max = MYNA__MIN(max, room);
  int64_t n = MYNA__MIN(MYNA__MAX(need, *cap ? 2 * *cap : 16), max);
  void *q = myna__realloc(*p, (size_t)*cap * size, (size_t)n * size);
  if (!q) return myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
  *p = q;
  *cap = n;
  return 0;
}

int myna__gram_err(myna_err *err, int code, int64_t line, const char *fmt, ...) {
  char msg[256];
  va_list args;
  va_start(args, fmt);
  vsnprintf(msg, sizeof msg, fmt, args);
  va_end(args);
  if (!err || err->code) return code;
  myna__err(err, code, "line %lld: %s", (long long)line, msg);
  err->line = line;
  return code;
}

int32_t myna__tree_add(myna__tree *t, myna__tree_node n, myna_err *err) {
  TRY(myna__gram_grow((void **)&t->nodes, &t->cap_nodes, t->n_nodes + 1, sizeof n, MAX_NODES, err));
  n.next = -1;
  t->nodes[t->n_nodes] = n;
  return (int32_t)t->n_nodes++;
}

int32_t myna__tree_lit(myna__tree *t, const char *bytes, size_t n, myna_err *err) {
  TRY(myna__gram_grow((void **)&t->bytes, &t->cap_bytes, t->n_bytes + (int64_t)n, 1, MAX_BYTES, err));
  if (n) memcpy(t->bytes + t->n_bytes, bytes, n);
  int32_t at = (int32_t)t->n_bytes;
  t->n_bytes += (int64_t)n;
  return myna__tree_add(t, (myna__tree_node){.kind = MYNA__TREE_LIT, .a = at, .b = (int32_t)n}, err);
}

int myna__tree_range(myna__tree *t, uint32_t lo, uint32_t hi, myna_err *err) {
  TRY(myna__gram_grow((void **)&t->ranges, &t->cap_ranges, t->n_ranges + 1, sizeof *t->ranges, MAX_NODES, err));
  t->ranges[t->n_ranges++] = (myna__range){lo, hi};
  return 0;
}

static int by_low(const void *a, const void *b) {
  const myna__range *x = a, *y = b;
  return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Sorted and without overlap. */
static void merge(myna__tree *t, int64_t first) {
  int64_t n = t->n_ranges - first, k = 0;
  if (n == 0) return; /* and there may be no array at all */
  myna__range *r = t->ranges + first;
  qsort(r, (size_t)n, sizeof *r, by_low);
  for (int64_t i = 1; i < n; i++) {
    if (r[i].lo <= r[k].hi || r[i].lo == r[k].hi + 1)
      r[k].hi = MYNA__MAX(r[k].hi, r[i].hi);
    else
      r[++k] = r[i];
  }
  t->n_ranges = first + k + 1;
}

/* What lies between the ranges, added behind them and moved to their place. */
static int complement(myna__tree *t, int64_t first, myna_err *err) {
  int64_t end = t->n_ranges;
  uint32_t from = 0;
  for (int64_t i = first; i < end; i++) {
    if (t->ranges[i].lo > from) TRY(myna__tree_range(t, from, t->ranges[i].lo - 1, err));
    from = t->ranges[i].hi + 1;
  }
  if (from <= 0x10FFFF) TRY(myna__tree_range(t, from, 0x10FFFF, err));
  int64_t n = t->n_ranges - end;
  if (n) memmove(t->ranges + first, t->ranges + end, (size_t)n * sizeof *t->ranges);
  t->n_ranges = first + n;
  return 0;
}

int32_t myna__tree_set(myna__tree *t, int64_t first, bool negate, myna_err *err) {
  /* without surrogates: the complement of the complement with them */
  merge(t, first);
  if (!negate) TRY(complement(t, first, err));
  TRY(myna__tree_range(t, 0xD800, 0xDFFF, err));
  merge(t, first);
  TRY(complement(t, first, err));
  return myna__tree_add(
      t, (myna__tree_node){.kind = MYNA__TREE_SET, .a = (int32_t)first, .b = (int32_t)(t->n_ranges - first)}, err);
}

int32_t myna__tree_rep(myna__tree *t, int32_t child, int32_t min, int32_t max, myna_err *err) {
  return myna__tree_add(t, (myna__tree_node){.kind = MYNA__TREE_REP, .a = child, .min = min, .max = max}, err);
}

int32_t myna__tree_ref(myna__tree *t, int32_t rule, myna_err *err) {
  return myna__tree_add(t, (myna__tree_node){.kind = MYNA__TREE_REF, .a = rule}, err);
}

int32_t myna__tree_token(myna__tree *t, const char *text, size_t n, int32_t id, bool negate, myna_err *err) {
  int64_t k = 0;
  for (; k < t->n_tokens; k++) {
    const myna__gtoken *o = &t->tokens[k];
    if (text ? o->text && (size_t)o->n == n && memcmp(o->text, text, n) == 0 : !o->text && o->id == id) break;
  }
  if (k == t->n_tokens) {
    char *copy = text ? myna__arena_strndup(&t->arena, text, n) : NULL;
    if (text && !copy) return myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
    TRY(myna__gram_grow((void **)&t->tokens, &t->cap_tokens, k + 1, sizeof *t->tokens, MAX_TOKENS, err));
    t->tokens[t->n_tokens++] = (myna__gtoken){copy, (int32_t)n, id};
  }
  return myna__tree_add(t, (myna__tree_node){.kind = MYNA__TREE_TOKEN, .a = (int32_t)k, .b = negate}, err);
}

void myna__tree_append(myna__tree *t, int32_t parent, int32_t child) {
  t->nodes[child].next = t->nodes[parent].a;
  t->nodes[parent].a = child;
}

int32_t myna__tree_rule_of(myna__tree *t, const char *name, size_t n, int32_t line, myna_err *err) {
  int64_t i = myna__map_get(&t->names, name, n, -1);
  if (i >= 0) return (int32_t)i;
  TRY(myna__gram_grow((void **)&t->rules, &t->cap_rules, t->n_rules + 1, sizeof *t->rules, MAX_RULES, err));
  char *copy = myna__arena_strndup(&t->arena, name, n);
  if (!copy) return myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
  TRY_N(myna__map_put(&t->names, copy, n, t->n_rules, err));
  t->rules[t->n_rules] = (myna__tree_rule){.body = -1, .line = line, .name = copy};
  return (int32_t)t->n_rules++;
}

void myna__tree_free(myna__tree *t) {
  myna__free(t->nodes, (size_t)t->cap_nodes * sizeof *t->nodes);
  myna__free(t->ranges, (size_t)t->cap_ranges * sizeof *t->ranges);
  myna__free(t->bytes, (size_t)t->cap_bytes);
  myna__free(t->rules, (size_t)t->cap_rules * sizeof *t->rules);
  myna__free(t->tokens, (size_t)t->cap_tokens * sizeof *t->tokens);
  myna__map_free(&t->names);
  myna__arena_free(&t->arena);
  *t = (myna__tree){0};
}

/* ---- UTF-8 ---- */

int myna__gram_decode(const char *s, size_t n, uint32_t *c) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (n == 0) return 0;
  uint8_t b = (uint8_t)s[0];
  int len = b < 0x80 ? 1 : b < 0xC0 ? 0 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : b < 0xF8 ? 4 : 0;
  if (len == 0 || (size_t)len > n) return 0;
  uint32_t x = len == 1 ? b : b & (0x7Fu >> len);
  for (int i = 1; i < len; i++) {
    if (((uint8_t)s[i] & 0xC0) != 0x80) return 0;
    x = x << 6 | ((uint8_t)s[i] & 0x3Fu);
  }
  if (x < least[len] || x > 0x10FFFF || (x >= 0xD800 && x <= 0xDFFF)) return 0;
  *c = x;
  return len;
}

int myna__gram_encode(uint32_t c, char out[4]) {
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  int len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = len - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
  out[0] = (char)(uint8_t)(c | (0xF00u >> len & 0xFFu));
  return len;
}

/* ---- numbers ---- */

int myna__gram_hex(const char *p, const char *end, int digits, uint32_t *c) {
  int i = 0;
  for (*c = 0; i < digits && p + i < end; i++) {
    char h = p[i];
    int v = h >= '0' && h <= '9'   ? h - '0'
            : h >= 'a' && h <= 'f' ? h - 'a' + 10
            : h >= 'A' && h <= 'F' ? h - 'A' + 10
                                   : -1;
    if (v < 0) break;
    *c = *c << 4 | (uint32_t)v;
  }
  return i;
}

int myna__gram_count(const char *p, const char *end, int32_t *x) {
  const char *from = p;
  for (*x = 0; p < end && *p >= '0' && *p <= '9' && p - from < 64; p++) {
    *x = *x * 10 + (*p - '0');
    if (*x > MYNA__REP_MAX) return MYNA_E_LIMIT;
  }
  return (int)(p - from);
}
