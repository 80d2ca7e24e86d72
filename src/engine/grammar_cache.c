/* grammar_cache.c: grammars compiled before, by their texts: a server meets the same schema in every request, and with the grammar its masks are
 * there. Off until somebody gives it room. */
#include "engine/grammar.h"

enum { ENTRIES = 128 };

typedef struct entry {
  char kind, *root, *text; /* kind 0: free */
  size_t n;
  uint64_t hash, used;
  myna_grammar *g;
} entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static entry entries[ENTRIES];
static int64_t room;
static uint64_t ticks;

static void drop(entry *e) {
  if (e->kind) {
    myna__strfree(e->root);
    myna__free(e->text, e->n + 1);
    myna_grammar_free(e->g);
  }
  *e = (entry){0};
}

static int64_t bytes_of(entry *e) {
  myna_grammar *g = e->g;
  pthread_mutex_lock(&g->lock);
  int64_t n = (int64_t)e->n + myna__gram_bytes(g);
  pthread_mutex_unlock(&g->lock);
  return n;
}

static entry *oldest(void) {
  entry *e = &entries[0];
  for (int i = 1; i < ENTRIES; i++)
    if (entries[i].kind && (!e->kind || entries[i].used < e->used)) e = &entries[i];
  return e;
}

/* The oldest go until the rest has room. What requests hold lives on with them. */
static void limit(void) {
  for (;;) {
    int64_t n = 0;
    for (int i = 0; i < ENTRIES; i++)
      if (entries[i].kind) n += bytes_of(&entries[i]);
    entry *e = oldest();
    if (!e->kind || n <= room) return;
    drop(e);
  }
}

void myna__gram_trim(void) {
  if (myna__gram_over(NULL) == 0) return;
  pthread_mutex_lock(&lock);
  while (myna__gram_over(NULL) > 0) {
    entry *e = NULL;
    for (int i = 0; i < ENTRIES; i++)
      if (entries[i].kind && atomic_load(&entries[i].g->refs) == 1 && (!e || entries[i].used < e->used))
        e = &entries[i];
    if (!e) break;
    drop(e);
  }
  pthread_mutex_unlock(&lock);
}

int64_t myna_grammar_cache(int64_t bytes) {
  pthread_mutex_lock(&lock);
  int64_t before = room;
  if (bytes >= 0) room = bytes;
  for (int i = 0; i < ENTRIES && room == 0; i++) drop(&entries[i]);
  limit();
  pthread_mutex_unlock(&lock);
  return before;
}

myna_grammar *myna__gram_cached(char kind, const char *root, const char *text, size_t n) {
  myna_grammar *g = NULL;
  pthread_mutex_lock(&lock);
  uint64_t hash = room > 0 ? myna__hash(text, n, 1) : 0;
  for (int i = 0; i < ENTRIES && room > 0 && !g; i++) {
    entry *e = &entries[i];
    if (e->kind != kind || e->hash != hash || e->n != n || strcmp(e->root, root) != 0 ||
        (n && memcmp(e->text, text, n) != 0))
      continue;
    e->used = ++ticks;
    g = myna_grammar_ref(e->g);
  }
  pthread_mutex_unlock(&lock);
  return g;
}

void myna__gram_keep(char kind, const char *root, const char *text, size_t n, myna_grammar *g) {
  pthread_mutex_lock(&lock);
  if (room > 0) {
    entry *e = &entries[0];
    for (int i = 0; i < ENTRIES && e->kind; i++) e = &entries[i];
    if (e->kind) drop(e = oldest());
    *e = (entry){.kind = kind, .n = n, .hash = myna__hash(text, n, 1), .used = ++ticks};
    e->root = myna__strndup(root, strlen(root));
    e->text = myna__alloc(n + 1); /* may hold any bytes */
    if (e->text && n) memcpy(e->text, text, n);
    e->g = myna_grammar_ref(g);
    if (!e->root || !e->text) drop(e);
    limit();
  }
  pthread_mutex_unlock(&lock);
}
