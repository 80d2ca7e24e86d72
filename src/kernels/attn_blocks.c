/* attn_blocks.c: which tokens of a batch walk the cache together.
 *
 * A run is some consecutive tokens of one sequence. Runs that fill no block by themselves (generation, drafts, the ends of prompts) are put in the order of their page tables,
 * so that sequences whose prompts begin alike lie side by side, as the branches of a tree do; neighbours that share pages become one block. Over a page that its
 * tokens share a block is one tile of many rows, which reads K and V once; where tables part it goes on in as many tiles. A row does the same arithmetic in the same order
 * either way (docs/NUMERICS.md), so any grouping gives the same bits.
 *
 * The cost of this is that of sorting a few hundred tables by memcmp; nothing is allocated. */
#include "kernels/attn_blocks.h"

/* The cost rule (figures: docs/SPEED.md, "Prefixes attended once"). Sharing saves what a page costs beyond its arithmetic, and costs units of work: a block is one unit per KV
 * head. So neighbours need SHARED_PAGES in common, and blocks stay so small that every thread has UNITS of them. */
enum { SHARED_PAGES = 2, UNITS = 2 };

typedef myna__attn_block block;

enum { SEGMENT_PAGES = MYNA__SEGMENT / MYNA__PAGE };

/* The first page that a block sees, and the one behind its last. */
static int64_t first_page(const myna__attn_args *a, const block *b) {
  return myna__attn_first_visible(a, b->lo_pos) / MYNA__PAGE;
}
static int64_t end_page(const block *b) { return (int64_t)b->hi_pos / MYNA__PAGE + 1; }

static const int32_t *table_of(const myna__attn_args *a, const block *b) {
  return a->kv.table + a->seq[b->first] * a->kv.table_len;
}

static void make_run(const myna__attn_args *a, block *b, int64_t t, int64_t most) {
  int64_t e = t + 1;
  while (e < a->n_tok && e - t < most && a->seq[e] == a->seq[t] && a->pos[e] == (int64_t)a->pos[e - 1] + 1) e++;
  *b = (block){(int32_t)t, (int32_t)(e - t), a->pos[t], a->pos[e - 1], false};
}

/* May it be joined with others: it leaves room for them, and everything that it sees has a place in the table. */
static bool is_short(const myna__attn_args *a, const block *b, int64_t most) {
  return 2 * b->n <= most && a->seq[b->first] >= 0 && b->lo_pos >= 0 && end_page(b) <= a->kv.table_len;
}

/* Order of runs: tables compared from a segment's border on, for windows begin anywhere. Any order of bytes puts equal beginnings together. */
static int compare(const myna__attn_args *a, const block *x, const block *y) {
  int64_t from = (first_page(a, x) + SEGMENT_PAGES - 1) / SEGMENT_PAGES,
          from_y = (first_page(a, y) + SEGMENT_PAGES - 1) / SEGMENT_PAGES;
  if (from != from_y) return from < from_y ? -1 : 1;
  from *= SEGMENT_PAGES;
  int64_t n = MYNA__MIN(end_page(x), end_page(y)) - from;
  int c = n > 0 ? memcmp(table_of(a, x) + from, table_of(a, y) + from, (size_t)n * sizeof(int32_t)) : 0;
  if (c) return c;
  if (end_page(x) != end_page(y)) return end_page(x) < end_page(y) ? -1 : 1;
  return x->first < y->first ? -1 : 1;
}

/* Heap sort: no memory, no bad case. */
static void sift(const myna__attn_args *a, block *b, int64_t i, int64_t n) {
  block x = b[i];
  for (int64_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && compare(a, &b[child + 1], &b[child]) > 0) child++;
    if (compare(a, &b[child], &x) <= 0) break;
    b[i] = b[child];
  }
  b[i] = x;
}
static void sort(const myna__attn_args *a, block *b, int64_t n) {
  for (int64_t i = n / 2; i-- > 0;) sift(a, b, i, n);
  for (int64_t end = n - 1; end > 0; end--) {
    block x = b[0];
    b[0] = b[end];
    b[end] = x;
    sift(a, b, 0, end);
  }
}

/* Pages that both see and that are the same, from the first that both see on. */
static int64_t shared_pages(const myna__attn_args *a, const block *x, const block *y) {
  const int32_t *s = table_of(a, x), *t = table_of(a, y);
  int64_t from = MYNA__MAX(first_page(a, x), first_page(a, y)), end = MYNA__MIN(end_page(x), end_page(y)), i = from;
  while (i < end && s[i] == t[i] && s[i] >= 0) i++;
  return i - from;
}

/* Tokens of a block of several sequences, so that there is work for all threads. */
static int64_t most_together(const myna__attn_args *a, int64_t n_tok, int64_t most, int n_threads) {
  int64_t units = n_tok * a->kv.n_kv_head / ((int64_t)UNITS * n_threads);
  return MYNA__MIN(most, units);
}

/* Joins neighbours among the n sorted runs; their tokens go to order. Returns the number of blocks. */
static int64_t join(const myna__attn_args *a, block *run, int64_t n, int32_t *order, int32_t at, int64_t most) {
  int64_t n_block = 0;
  block last = {0};
  for (int64_t i = 0; i < n; i++) {
    block r = run[i], *b = n_block > 0 ? &run[n_block - 1] : NULL;
    bool with = b && b->n + r.n <= most && shared_pages(a, &last, &r) >= SHARED_PAGES;
    last = r;
    for (int32_t k = 0; k < r.n; k++) order[at + k] = r.first + k;
    if (with) {
      b->n += r.n;
      b->lo_pos = MYNA__MIN(b->lo_pos, r.lo_pos);
      b->hi_pos = MYNA__MAX(b->hi_pos, r.hi_pos);
      b->mixed = true;
    } else {
      run[n_block++] = (block){at, r.n, r.lo_pos, r.hi_pos, false};
    }
    at += r.n;
  }
  return n_block;
}

int64_t myna__attn_blocks(const myna__attn_args *a, block *b, int32_t *order, int64_t most, int n_threads, bool apart) {
  int64_t n = 0, n_short = 0, tokens = 0;
  for (int64_t t = 0; t < a->n_tok; t += b[n++].n) make_run(a, &b[n], t, most);
  for (int64_t i = 0; i < n; i++) { /* short ones to the front */
    if (apart || !is_short(a, &b[i], most)) continue;
    block x = b[i];
    b[i] = b[n_short];
    b[n_short++] = x;
    tokens += x.n;
  }
  int64_t together = most_together(a, tokens, most, n_threads), joined = n_short;
  if (n_short > 1 && together > 1) {
    sort(a, b, n_short);
    joined = join(a, b, n_short, order, 0, together);
  } else {
    n_short = joined = tokens = 0;
  }
  for (int64_t i = n_short, at = tokens; i < n; i++, joined++) {
    block x = b[i];
    for (int64_t k = 0; k < x.n; k++) order[at + k] = x.first + (int32_t)k;
    x.first = (int32_t)at;
    at += x.n;
    b[joined] = x;
  }
  return joined;
}
