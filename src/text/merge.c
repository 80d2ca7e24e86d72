/* merge.c: the loop that byte-level BPE and SentencePiece BPE share: join the best pair of neighbours until none is
 * left. Short words scan for the best pair; long ones, up to a whole text of one letter, keep pairs in a heap,
 * O(n log n).
 *
 * The priority of a pair is 32 bits, smaller first: the rank of its merge, or its token's score turned around. */
#include "text/tok.h"

enum { SCAN_MAX = 24 }; /* up to here scanning beats the heap */
enum { NO_PAIR = 0xFFFFFFFF };

/* Floats in descending order as ascending integers; -0 equals 0, NaN comes last. */
static uint32_t score_order(float score) {
  if (!(score == score)) return NO_PAIR - 1;
  score += 0.0f;
  uint32_t u;
  memcpy(&u, &score, sizeof u);
  uint32_t ascending = u & 0x80000000u ? ~u : u | 0x80000000u;
  return MYNA__MIN(~ascending, (uint32_t)NO_PAIR - 1);
}

static uint32_t pair_order(const myna__tokenizer *tk, const char *text, const myna__symbol *l, const myna__symbol *r) {
  if (tk->t->model == MYNA__TOK_BPE) {
    int32_t rank = myna__vocab_rank(&tk->vocab, l->hash, r->hash, text + l->start, l->len, r->len);
    return rank < 0 ? (uint32_t)NO_PAIR : (uint32_t)rank;
  }
  size_t len = (size_t)l->len + r->len;
  if (len > tk->vocab.max_len) return NO_PAIR;
  int32_t id =
      myna__vocab_find(&tk->vocab, myna__hash_join(&tk->vocab, l->hash, r->hash, r->len), text + l->start, len);
  if (id < 0) return NO_PAIR;
  return score_order(tk->t->scores ? tk->t->scores[id] : 0.0f);
}

static void join(const myna__tokenizer *tk, myna__symbol *s, int32_t left) {
  int32_t right = s[left].next;
  s[left].hash = myna__hash_join(&tk->vocab, s[left].hash, s[right].hash, s[right].len);
  s[left].len += s[right].len;
  s[right].len = 0;
  s[left].next = s[right].next;
  if (s[left].next >= 0) s[s[left].next].prev = left;
}

/* Finds out what joining symbol i and its right neighbour is worth. */
static uint32_t look(const myna__tokenizer *tk, const char *text, myna__symbol *s, int32_t i) {
  s[i].order = s[i].next < 0 ? (uint32_t)NO_PAIR : pair_order(tk, text, &s[i], &s[s[i].next]);
  return s[i].order;
}

static void merge_by_scan(const myna__tokenizer *tk, const char *text, myna__symbol *s, int32_t n) {
  for (int32_t i = 0; i < n; i++) look(tk, text, s, i);
  for (;;) {
    int32_t best = 0;
    for (int32_t i = s[0].next; i >= 0; i = s[i].next)
      if (s[i].order < s[best].order) best = i;
    if (s[best].order == NO_PAIR) return;
    join(tk, s, best);
    look(tk, text, s, best);
    if (s[best].prev >= 0) look(tk, text, s, s[best].prev);
  }
}

/* A queue of pairs, order << 32 | left symbol. A pair is stale, and skipped, when its symbol is worth something else by
 * now. For long words orders are cut into ranges: pairs of the range that is being served, and earlier ones that turn
 * up, are in a heap that fits the cache; the others wait in chunks, a list of them per range. One heap for all spends
 * its time on cache misses. */
enum { RANGES = 4096, CHUNK = 31, SMALL = 4096 };

struct chunk {
  int32_t next; /* -1: the last */
  uint32_t n;
  uint64_t pair[CHUNK];
};

struct queue {
  uint64_t *heap; /* [n] */
  size_t n;
  struct chunk *pool;
  int32_t free, used;    /* list of free chunks; how many were ever used */
  uint32_t range, shift; /* range being served; order >> shift is a range */
  int32_t list[RANGES];
};

/* Four children per node: half the levels of a binary heap, and they share a cache line. */
static void sift_down(uint64_t *h, size_t n, size_t i) {
  uint64_t x = h[i];
  for (size_t child; (child = 4 * i + 1) < n; i = child) {
    size_t end = MYNA__MIN(child + 4, n);
    for (size_t k = child + 1; k < end; k++)
      if (h[k] < h[child]) child = k;
    if (x <= h[child]) break;
    h[i] = h[child];
  }
  h[i] = x;
}

static void heap_add(struct queue *q, uint64_t x) {
  size_t i = q->n++;
  for (; i > 0 && x < q->heap[(i - 1) / 4]; i = (i - 1) / 4) q->heap[i] = q->heap[(i - 1) / 4];
  q->heap[i] = x;
}

static void queue_add(struct queue *q, uint32_t order, int32_t left) {
  if (order == NO_PAIR) return;
  uint64_t pair = (uint64_t)order << 32 | (uint32_t)left;
  uint32_t range = order >> q->shift;
  if (range <= q->range) {
    heap_add(q, pair);
    return;
  }
  int32_t i = q->list[range];
  if (i < 0 || q->pool[i].n == CHUNK) { // NOLINT(clang-analyzer-core.NullDereference): pool and list are set together
    i = q->free;                        // NOLINT(clang-analyzer-core.uninitialized.Assign)
    if (i >= 0)
      q->free = q->pool[i].next;
    else
      i = q->used++;
    q->pool[i].next = q->list[range];
    q->pool[i].n = 0;
    q->list[range] = i;
  }
  q->pool[i].pair[q->pool[i].n++] = pair;
}

/* Moves the next range that has pairs into the heap. False when none is left. */
static bool queue_refill(struct queue *q) {
  while (q->n == 0) {
    if (++q->range >= RANGES) return false;
    for (int32_t i = q->list[q->range], next; i >= 0; i = next) {
      struct chunk *c = &q->pool[i];
      memcpy(q->heap + q->n, c->pair, c->n * sizeof *c->pair);
      q->n += c->n;
      next = c->next;
      c->next = q->free;
      q->free = i;
    }
  }
  for (size_t i = q->n / 4 + 1; i-- > 0;)
    if (i < q->n) sift_down(q->heap, q->n, i);
  return true;
}

static void merge_by_queue(const myna__tokenizer *tk, const char *text, myna__symbol *s, int32_t n, struct queue *q) {
  for (int32_t i = 0; i < n; i++) queue_add(q, look(tk, text, s, i), i);
  while (q->n > 0 || queue_refill(q)) {
    uint32_t order = (uint32_t)(q->heap[0] >> 32);
    int32_t left = (int32_t)(uint32_t)q->heap[0];
    q->heap[0] = q->heap[--q->n];
    if (q->n) sift_down(q->heap, q->n, 0);
    if (s[left].len == 0 || s[left].order != order) continue;
    join(tk, s, left);
    int32_t prev = s[left].prev;
    queue_add(q, look(tk, text, s, left), left);
    if (prev >= 0) queue_add(q, look(tk, text, s, prev), prev);
  }
}

void myna__merge(myna__tokcall *c, const char *text, size_t n) {
  if (n < 2 || c->rc) return;
  if (n <= SCAN_MAX) {
    merge_by_scan(c->tk, text, c->symbols.p, (int32_t)n);
    return;
  }
  /* n - 1 pairs at the start; each of at most n - 1 joins takes one out and puts two in. */
  struct queue q;
  q.heap = myna__vec_need(c, &c->heap, 2 * n * sizeof *q.heap);
  q.n = 0;
  q.range = RANGES - 1; /* all in the heap */
  q.shift = 20;
  if (n > SMALL) {
    q.pool = myna__vec_need(c, &c->pool, (2 * n / CHUNK + RANGES) * sizeof *q.pool);
    q.free = -1;
    q.used = 0;
    q.range = 0;
    for (q.shift = 0; c->tk->max_order >> q.shift >= RANGES;) q.shift++;
    memset(q.list, 0xFF, sizeof q.list);
  }
  if (c->rc == 0) merge_by_queue(c->tk, text, c->symbols.p, (int32_t)n, &q);
}
