/* pretok.c: runs the steps of pretok.inc over a text with PCRE2: compiled once per tokenizer, JIT where the system
 * allows it, with limits, matching well-formed UTF-8 under Unicode properties. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pretok.h"
#include <pcre2.h>

enum { MAX_STEPS = 6 };
enum step_mode { STEP_CUT, STEP_THREES, STEP_BEFORE3, STEP_POWERS, STEP_KEEP };

struct step_row {
  enum step_mode mode;
  const char *re; /* NULL: no more steps */
};
struct row {
  const char *names;
  int flags;
  struct step_row steps[MAX_STEPS];
};

/* clang-format off */
#define CUT(re) \
  { STEP_CUT, re }
#define THREES(re) \
  { STEP_THREES, re }
#define BEFORE3(re) {STEP_BEFORE3, re}
#define POWERS(re) {STEP_POWERS, re}
#define KEEP(re) \
  { STEP_KEEP, re }
#define PRETOK(names, flags, ...) {names, flags, {__VA_ARGS__}},
/* clang-format on */
static const struct row rows[] = {
#include "text/pretok.inc"
};
#undef PRETOK
#undef CUT
#undef THREES
#undef BEFORE3
#undef POWERS
#undef KEEP

struct myna__pretok {
  const struct row *row;
  pcre2_general_context *memory;
  pcre2_code *code[MAX_STEPS];
  bool jit[MAX_STEPS];
};

/* ---- PCRE2's memory comes from our allocator, which wants sizes back: a 16-byte header keeps them ---- */

static void *pcre_malloc(PCRE2_SIZE n, void *user) {
  (void)user;
  size_t *p = n < PTRDIFF_MAX ? myna__alloc(n + 16) : NULL;
  if (!p) return NULL;
  *p = n + 16;
  return (char *)p + 16;
}

static void pcre_free(void *p, void *user) {
  (void)user;
  if (!p) return;
  size_t *head = (size_t *)((char *)p - 16);
  myna__free(head, *head);
}

/* ---- creation ---- */

static bool has_name(const char *names, const char *name, size_t n) {
  for (const char *p = names; p; p = strchr(p, ' ')) {
    p += *p == ' ';
    if (strncmp(p, name, n) == 0 && (p[n] == ' ' || p[n] == 0)) return true;
  }
  return false;
}

static const struct row *find_row(const char *name) {
  if (!*name) name = "default";
  if (strchr(name, ' ')) return NULL;
  for (size_t i = 0; i < MYNA__COUNT(rows); i++)
    if (has_name(rows[i].names, name, strlen(name))) return &rows[i];
  return NULL;
}

const char *myna__pretok_names(int i) { return i >= 0 && (size_t)i < MYNA__COUNT(rows) ? rows[i].names : NULL; }

static int compile(myna__pretok *p, int i, pcre2_compile_context *cc, myna_err *err) {
  int code;
  PCRE2_SIZE where;
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK;
  p->code[i] = pcre2_compile((PCRE2_SPTR)p->row->steps[i].re, PCRE2_ZERO_TERMINATED, options, &code, &where, cc);
  if (!p->code[i]) {
    PCRE2_UCHAR text[128];
    if (code == PCRE2_ERROR_HEAP_FAILED) return myna__err(err, MYNA_E_NOMEM, "no memory for the pre-tokenizer");
    pcre2_get_error_message(code, text, sizeof text);
    return myna__err(err, MYNA_E_INTERNAL, "pre-tokenizer \"%s\", step %d, offset %zu: %s", p->row->names, i,
                     (size_t)where, (const char *)text);
  }
  /* Where memory may not be made executable the interpreter does the same, slower. */
  p->jit[i] = pcre2_jit_compile(p->code[i], PCRE2_JIT_COMPLETE) == 0;
  return 0;
}

int myna__pretok_new(myna__pretok **out, const char *name, myna_err *err) {
  *out = NULL;
  const struct row *row = find_row(name);
  if (!row) return myna__err(err, MYNA_E_UNSUPPORTED, "unknown pre-tokenizer \"%s\" (tokenizer.ggml.pre)", name);
  myna__pretok *p = myna__calloc(sizeof *p);
  if (!p) return myna__err(err, MYNA_E_NOMEM, "no memory for the pre-tokenizer");
  p->row = row;
  int rc = MYNA_E_NOMEM;
  pcre2_compile_context *cc = NULL;
  p->memory = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
  if (p->memory) cc = pcre2_compile_context_create(p->memory);
  if (cc) rc = 0;
  for (int i = 0; rc == 0 && i < MAX_STEPS && row->steps[i].re; i++) rc = compile(p, i, cc, err);
  pcre2_compile_context_free(cc);
  if (rc == 0) {
    *out = p;
    return 0;
  }
  myna__pretok_free(p);
  return myna__err(err, rc, "no memory for the pre-tokenizer");
}

void myna__pretok_free(myna__pretok *p) {
  if (!p) return;
  for (int i = 0; i < MAX_STEPS; i++) pcre2_code_free(p->code[i]);
  pcre2_general_context_free(p->memory);
  myna__free(p, sizeof *p);
}

int myna__pretok_flags(const myna__pretok *p) { return p->row->flags; }

/* ---- splitting ---- */

/* One text being cut: words of the last step in s->words, those of the running step go to s->next. */
struct cutter {
  const myna__pretok *p;
  myna__pretok_scratch *s;
  const char *text;
  size_t n_next;
  int rc;
};

static void add(struct cutter *c, size_t start, size_t end) {
  if (start == end || c->rc) return;
  myna__pretok_scratch *s = c->s;
  if (c->n_next == s->cap_next) {
    size_t cap = s->cap_next ? s->cap_next * 2 : 64;
    myna__word *next = myna__realloc(s->next, s->cap_next * sizeof *next, cap * sizeof *next);
    if (!next) {
      c->rc = MYNA_E_NOMEM;
      return;
    }
    s->next = next;
    s->cap_next = cap;
  }
  s->next[c->n_next++] = (myna__word){(uint32_t)start, (uint32_t)end};
}

/* Byte after `chars` characters from `at` on. */
static size_t skip_chars(const char *text, size_t at, size_t end, size_t chars) {
  for (; chars > 0 && at < end; chars--) do
      at++;
    while (at < end && ((uint8_t)text[at] & 0xC0) == 0x80);
  return at;
}

static size_t count_chars(const char *text, size_t at, size_t end) {
  size_t n = 0;
  for (; at < end; at++) n += ((uint8_t)text[at] & 0xC0) != 0x80;
  return n;
}

static void add_groups(struct cutter *c, enum step_mode mode, size_t at, size_t end) {
  size_t left = count_chars(c->text, at, end);
  size_t power = 512;
  while (left > 0) {
    size_t take = 3;
    if (mode == STEP_THREES) {
      if (left % 3) take = left % 3;
    } else {
      while (power > left) power /= 2;
      take = power;
    }
    size_t next = skip_chars(c->text, at, end, take);
    add(c, at, next);
    at = next;
    left -= take;
  }
}

/* Cuts in front of each group of three in [from, to), not around the whole. Returns where the open word starts. */
static size_t cut_before(struct cutter *c, size_t open, size_t from, size_t to) {
  size_t at = skip_chars(c->text, from, to, count_chars(c->text, from, to) % 3);
  for (; at < to; at = skip_chars(c->text, at, to, 3)) {
    add(c, open, at);
    open = at;
  }
  return open;
}

/* One match in text[0..n) from `at` on: 1 found, 0 none, negative failure. */
static int match(struct cutter *c, int step, const char *text, size_t n, size_t at) {
  const myna__pretok *p = c->p;
  myna__pretok_scratch *s = c->s;
  PCRE2_SPTR subject = (PCRE2_SPTR)text;
  int rc = PCRE2_ERROR_JIT_STACKLIMIT; /* compiled code has 32 KiB of stack, the interpreter the heap */
  if (p->jit[step]) rc = pcre2_jit_match(p->code[step], subject, n, at, 0, s->match, s->context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
    rc = pcre2_match(p->code[step], subject, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match, s->context);
  if (rc > 0) return 1;
  if (rc == PCRE2_ERROR_NOMATCH) return 0;
  return rc == PCRE2_ERROR_NOMEMORY ? MYNA_E_NOMEM : MYNA_E_LIMIT;
}

/* Cuts one piece of the text. */
static void cut(struct cutter *c, int step, myna__word w) {
  const char *piece = c->text + w.start;
  size_t n = w.end - w.start, at = 0, done = 0;
  enum step_mode mode = c->p->row->steps[step].mode;
  const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(c->s->match);
  while (at < n && c->rc == 0) {
    int rc = match(c, step, piece, n, at);
    if (rc <= 0) {
      c->rc = rc;
      break;
    }
    size_t from = ov[0], to = ov[1];
    assert(to > at); /* no expression of ours matches nothing */
    at = to;
    if (mode == STEP_BEFORE3) {
      done = cut_before(c, w.start + done, w.start + from, w.start + to) - w.start;
      continue;
    }
    if (mode != STEP_KEEP) add(c, w.start + done, w.start + from);
    if (mode == STEP_CUT || mode == STEP_KEEP)
      add(c, w.start + from, w.start + to);
    else
      add_groups(c, mode, w.start + from, w.start + to);
    done = to;
  }
  if (mode != STEP_KEEP) add(c, w.start + done, w.end);
}

/* The words of a step become those that the next one cuts. */
static void take_next(struct cutter *c) {
  myna__pretok_scratch *s = c->s;
  myna__word *words = s->words;
  size_t cap = s->cap_words;
  s->words = s->next;
  s->cap_words = s->cap_next;
  s->n_words = c->n_next;
  s->next = words;
  s->cap_next = cap;
  c->n_next = 0;
}

static int prepare(const myna__pretok *p, myna__pretok_scratch *s, size_t n) {
  if (!s->match) s->match = pcre2_match_data_create(1, p->memory);
  if (!s->context) s->context = pcre2_match_context_create(p->memory);
  if (!s->match || !s->context) return MYNA_E_NOMEM;
  /* Backtracking is linear in the text for every expression; the limits are a net, not a budget. */
  pcre2_set_match_limit(s->context, (uint32_t)MYNA__MIN(10000000 + 16 * (uint64_t)n, UINT32_MAX));
  pcre2_set_heap_limit(s->context, 256 << 10); /* KiB */
  return 0;
}

int myna__pretok_split(const myna__pretok *p, myna__pretok_scratch *s, const char *text, size_t n, myna_err *err) {
  struct cutter c = {.p = p, .s = s, .text = text};
  c.rc = prepare(p, s, n);
  add(&c, 0, n);
  for (int step = 0; c.rc == 0 && step < MAX_STEPS && p->row->steps[step].re; step++) {
    take_next(&c);
    for (size_t i = 0; i < s->n_words && c.rc == 0; i++) cut(&c, step, s->words[i]);
  }
  take_next(&c);
  if (c.rc == MYNA_E_NOMEM) return myna__err(err, c.rc, "no memory to split text into words");
  if (c.rc) return myna__err(err, c.rc, "splitting %zu bytes of text exceeds the limits", n);
  return 0;
}

void myna__pretok_scratch_free(myna__pretok_scratch *s) {
  myna__free(s->words, s->cap_words * sizeof *s->words);
  myna__free(s->next, s->cap_next * sizeof *s->next);
  pcre2_match_data_free(s->match);
  pcre2_match_context_free(s->context);
  *s = (myna__pretok_scratch){0};
}
