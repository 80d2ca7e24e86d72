/* schema_rules.c: the rules of a grammar while it grows, and their text. Rules without any text are dropped with the alternatives that need
 * them, so that an optional property that can have no value is simply left out. */
#include "engine/schema.h"

int myna__rule_new(myna__rules *g) {
  if (g->n >= MYNA__SC_RULES) return myna__sc_fail(g->c, MYNA_E_LIMIT, "the schema needs too many rules");
  TRY(myna__sc_grow(g->c, (void **)&g->rules, g->n, &g->cap, sizeof *g->rules));
  g->rules[g->n] = (myna__srule){0};
  return g->n++;
}

static void alt_add(myna__galt *a, myna__gsym s) {
  assert(a->n < (int)MYNA__COUNT(a->s));
  a->s[a->n++] = s;
}
void myna__alt_bytes(myna__galt *a, myna__str bytes) { alt_add(a, (myna__gsym){MYNA__G_LIT, bytes, 0, 1, 1}); }
void myna__alt_lit(myna__galt *a, const char *text) { myna__alt_bytes(a, (myna__str){text, strlen(text)}); }
void myna__alt_class(myna__galt *a, const char *text, int min, int max) {
  alt_add(a, (myna__gsym){MYNA__G_CLASS, {text, strlen(text)}, 0, min, max});
}
void myna__alt_rule(myna__galt *a, int rule, int min, int max) {
  alt_add(a, (myna__gsym){MYNA__G_RULE, {0}, rule, min, max});
}

int myna__rule_add(myna__rules *g, int rule, const myna__galt *a) {
  myna__galt *kept = myna__sc_alloc(g->c, sizeof *kept);
  if (!kept) return myna__sc_nomem(g->c);
  *kept = *a;
  myna__srule *r = &g->rules[rule];
  TRY(myna__sc_grow(g->c, (void **)&r->alts, r->n, &r->cap, sizeof *r->alts));
  r->alts[r->n++] = kept;
  return 0;
}

/* ---- automata as rules ---- */

static void class_point(myna__buf *b, uint32_t v) {
  if ((v >= '0' && v <= '9') || (v >= 'A' && v <= 'Z') || (v >= 'a' && v <= 'z'))
    myna__buf_printf(b, "%c", (char)v);
  else
    myna__buf_printf(b, v < 0x100 ? "\\x%02X" : v < 0x10000 ? "\\u%04X" : "\\U%08X", v);
}

/* What of lo..hi may be written as it is, to the text of a class. */
static void class_range(const myna__rules *g, myna__buf *b, uint32_t lo, uint32_t hi) {
  static const uint32_t json[][2] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0xD7FF}, {0xE000, 0x10FFFF}};
  static const uint32_t raw[][2] = {{0x01, 0xD7FF}, {0xE000, 0x10FFFF}};
  const uint32_t(*ranges)[2] = g->raw ? raw : json;
  for (size_t i = 0; i < (g->raw ? MYNA__COUNT(raw) : MYNA__COUNT(json)); i++) {
    uint32_t x = MYNA__MAX(lo, ranges[i][0]), y = MYNA__MIN(hi, ranges[i][1]);
    if (x > y) continue;
    class_point(b, x);
    if (y > x) {
      if (y > x + 1) myna__buf_str(b, "-");
      class_point(b, y);
    }
  }
}

/* ---- escapes ---- */

/* One hexadecimal digit lo..hi, in either case. */
static int hex_class(myna__rules *g, int lo, int hi, const char **out) {
  static const char digits[] = "0123456789abcdef0123456789ABCDEF";
  char text[40] = "[";
  int n = 1;
  for (int upper = 0; upper < 2; upper++)
    for (int v = lo; v <= hi; v++)
      if (!upper || v > 9) text[n++] = digits[16 * upper + v];
  text[n++] = ']';
  if (!g->hex[lo][hi] && !(g->hex[lo][hi] = myna__arena_strndup(&g->c->arena, text, (size_t)n)))
    return myna__sc_nomem(g->c);
  *out = g->hex[lo][hi];
  return 0;
}

/* Four digits, each of its range. */
static int add_digits(myna__rules *g, myna__galt *a, uint32_t lo, uint32_t hi) {
  for (int shift = 12; shift >= 0; shift -= 4) {
    const char *text = NULL;
    TRY(hex_class(g, (int)(lo >> shift & 15), (int)(hi >> shift & 15), &text));
    myna__alt_class(a, text, 1, 1);
  }
  return 0;
}

/* Calls for the parts of lo..hi whose digits are independent of each other: all behind the first different one are full. */
typedef int each_part(myna__rules *g, int rule, const myna__galt *before, uint32_t lo, uint32_t hi);
static int parts(myna__rules *g, int rule, const myna__galt *before, uint32_t lo, uint32_t hi, each_part *each) {
  for (int bits = 4; bits < 16; bits += 4) {
    uint32_t m = (1u << bits) - 1;
    if ((lo & ~m) == (hi & ~m)) break;
    if (lo & m) {
      TRY(each(g, rule, before, lo, lo | m)); /* within what was cut by fewer bits it is one part */
      lo = (lo | m) + 1;
    }
    if ((hi & m) != m) {
      TRY(each(g, rule, before, hi & ~m, hi));
      hi = (hi & ~m) - 1;
    }
    if (lo > hi) return 0;
  }
  return each(g, rule, before, lo, hi);
}

static int add_unit(myna__rules *g, int rule, const myna__galt *before, uint32_t lo, uint32_t hi) {
  myna__galt a = *before;
  myna__alt_lit(&a, "u");
  TRY(add_digits(g, &a, lo, hi));
  return myna__rule_add(g, rule, &a);
}

/* Surrogates high[0]..high[1], each before low[0]..low[1]. */
static int add_pairs(myna__rules *g, int rule, const uint32_t high[2], const uint32_t low[2]) {
  const myna__galt none = {0};
  int first = myna__rule_new(g), second = myna__rule_new(g);
  TRY_N(first);
  TRY_N(second);
  myna__galt a = {0}, mark = {0};
  myna__alt_lit(&mark, "\\");
  TRY(parts(g, first, &none, high[0], high[1], add_unit));
  TRY(parts(g, second, &mark, low[0], low[1], add_unit));
  myna__alt_rule(&a, first, 1, 1);
  myna__alt_rule(&a, second, 1, 1);
  return myna__rule_add(g, rule, &a);
}

/* What lo..hi beyond the first plane are as two escapes: a first and a last high surrogate whose low ones are cut, and those between. */
static int add_astral(myna__rules *g, int rule, uint32_t lo, uint32_t hi) {
  enum { HIGH = 0xD800, LOW = 0xDC00, LAST = 0xDFFF };
  lo -= 0x10000;
  hi -= 0x10000;
  while (lo <= hi) {
    uint32_t from = lo >> 10, to = hi >> 10;
    if (from < to && (lo & 1023)) to = from; /* the rest of one */
    if (from < to && (hi & 1023) != 1023) to--;
    uint32_t end = from == to && to == hi >> 10 ? hi & 1023 : 1023;
    const uint32_t high[2] = {HIGH + from, HIGH + to}, low[2] = {LOW + (lo & 1023), LOW + end};
    TRY(add_pairs(g, rule, high, low));
    lo = (to << 10) + end + 1;
  }
  return 0;
}

/* What code points lo..hi are behind a backslash. */
static int add_escapes(myna__rules *g, int rule, uint32_t lo, uint32_t hi, bool all) {
  static const uint32_t planes[][2] = {{0, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}};
  static const char brief[] = "\"\\/\b\f\n\r\t", *const names[] = {"\"", "\\", "/", "b", "f", "n", "r", "t"};
  const myna__galt none = {0};
  for (size_t i = 0; i < MYNA__COUNT(names); i++) {
    myna__galt a = {0};
    if ((uint8_t)brief[i] < lo || (uint8_t)brief[i] > hi) continue;
    myna__alt_lit(&a, names[i]);
    TRY(myna__rule_add(g, rule, &a));
  }
  for (size_t i = 0; i < MYNA__COUNT(planes); i++) {
    uint32_t x = MYNA__MAX(lo, planes[i][0]), y = MYNA__MIN(hi, all ? planes[i][1] : 0x1F);
    if (x > y) continue;
    TRY(i < 2 ? parts(g, rule, &none, x, y, add_unit) : add_astral(g, rule, x, y));
  }
  return 0;
}

/* ---- classes ---- */

/* The last of a run of classes that begins with k. */
static int run_end(const myna__dfa *d, const uint8_t *in, int k) {
  while (k + 1 < d->nc && in[k + 1]) k++;
  return k;
}

static uint32_t class_end(const myna__dfa *d, int k) { return k + 1 < d->nc ? d->lo[k + 1] - 1 : 0x10FFFF; }

/* Escapes stand in a rule of their own, behind the backslash: so a character is small. Where there are many ranges, only what needs one has one. */
static int add_escaped(myna__rules *g, int rule, const myna__dfa *d, const uint8_t *in) {
  enum { MANY = 40 };
  int runs = 0;
  for (int k = 0; k < d->nc; k++)
    if (in[k]) runs++, k = run_end(d, in, k);
  myna__galt a = {0};
  int escapes = myna__rule_new(g);
  TRY_N(escapes);
  for (int k = 0; k < d->nc; k++) {
    if (!in[k]) continue;
    int last = run_end(d, in, k);
    TRY(add_escapes(g, escapes, d->lo[k], class_end(d, last), runs <= MANY));
    k = last;
  }
  myna__alt_lit(&a, "\\");
  myna__alt_rule(&a, escapes, 1, 1);
  return myna__rule_add(g, rule, &a);
}

/* The rule of one code point of the classes of d whose bits are set, as a JSON string writes it. */
static int class_rule(myna__rules *g, const myna__dfa *d, const uint8_t *in) {
  myna__buf b = {0};
  myna__buf_str(&b, "[");
  for (int k = 0; k < d->nc; k++) {
    if (!in[k]) continue;
    int last = run_end(d, in, k);
    class_range(g, &b, d->lo[k], class_end(d, last));
    k = last;
  }
  bool some = b.len > 1;
  myna__buf_str(&b, "]");
  for (int k = 0; k < d->nc; k++) /* makes the key whole */
    if (in[k] && !g->raw && d->lo[k] <= '\\') myna__buf_printf(&b, "%x,%x;", d->lo[k], class_end(d, k));
  if (g->raw) myna__buf_str(&b, "raw");
  char *key = b.failed ? NULL : myna__arena_strndup(&g->c->arena, b.data, b.len);
  size_t n = b.len;
  myna__buf_free(&b);
  if (!key) return myna__sc_nomem(g->c);
  int64_t rule = myna__map_get(&g->classes, key, n, -1);
  if (rule >= 0) return (int)rule;
  rule = myna__rule_new(g);
  TRY_N((int)rule);
  TRY_N(myna__map_put(&g->classes, key, n, rule, g->c->err));
  if (some) {
    char *text = myna__arena_strndup(&g->c->arena, key, (size_t)(strrchr(key, ']') - key) + 1);
    if (!text) return myna__sc_nomem(g->c);
    myna__galt a = {0};
    myna__alt_class(&a, text, 1, 1);
    TRY(myna__rule_add(g, (int)rule, &a));
  }
  if (!g->raw) TRY(add_escaped(g, (int)rule, d, in));
  return (int)rule;
}

int myna__rules_point(myna__rules *g, uint32_t v) {
  const uint32_t lo[] = {0, v, v + 1};
  const uint8_t in[] = {0, 1, 0};
  const myna__dfa d = {.n = 1, .nc = 3, .lo = lo};
  return class_rule(g, &d, in);
}

static int state_rule(myna__rules *g, const myna__dfa *d, int i, const int32_t *rule_of, const char *const ends[2],
                      uint8_t *in) {
  for (int k = 0; k < d->nc; k++) {
    int to = d->to[i * d->nc + k];
    bool seen = false;
    for (int j = 0; j < k && !seen; j++) seen = d->to[i * d->nc + j] == to;
    if (seen || rule_of[to] < 0) continue;
    for (int j = 0; j < d->nc; j++) in[j] = d->to[i * d->nc + j] == to;
    int set = class_rule(g, d, in);
    TRY_N(set);
    myna__galt a = {0};
    myna__alt_rule(&a, set, 1, 1);
    myna__alt_rule(&a, rule_of[to], 1, 1);
    TRY(myna__rule_add(g, rule_of[i], &a));
  }
  for (int k = 0; k < 2; k++) {
    if (!(d->accept[i] >> k & 1)) continue;
    myna__galt a = {0};
    if (*ends[k]) myna__alt_lit(&a, ends[k]);
    TRY(myna__rule_add(g, rule_of[i], &a));
  }
  return 0;
}

static int automaton(myna__rules *g, const myna__dfa *d, const char *open, const char *const ends[2], int most) {
  uint8_t *live, *in = myna__sc_alloc(g->c, (size_t)d->nc);
  int32_t *rule_of = myna__sc_alloc(g->c, (size_t)d->n * sizeof *rule_of);
  if (!in || !rule_of) return myna__sc_nomem(g->c);
  TRY(myna__dfa_live(g->c, d, &live));
  int n = 0, first = myna__rule_new(g);
  TRY_N(first);
  for (int i = 0; i < d->n; i++) {
    rule_of[i] = -1;
    if (!live[i]) continue;
    if (++n > most) return myna__sc_fail(g->c, MYNA_E_LIMIT, "the automaton has too many states");
    rule_of[i] = myna__rule_new(g);
    TRY_N(rule_of[i]);
  }
  for (int i = 0; i < d->n; i++)
    if (live[i]) {
      TRY(myna__sc_burn(g->c, (int64_t)d->nc * 8));
      TRY(state_rule(g, d, i, rule_of, ends, in));
    }
  if (rule_of[0] < 0) return first; /* no text */
  myna__galt a = {0};
  if (*open) myna__alt_lit(&a, open);
  myna__alt_rule(&a, rule_of[0], 1, 1);
  TRY(myna__rule_add(g, first, &a));
  return first;
}

int myna__rules_dfa(myna__rules *g, const myna__dfa *d, bool json_string) {
  const char *quote = json_string ? "\"" : "", *const ends[2] = {quote, ""};
  bool raw = g->raw;
  g->raw = !json_string;
  int first = automaton(g, d, quote, ends, MYNA__SC_DFA_RULES);
  g->raw = raw;
  return first;
}

int myna__rules_text(myna__rules *g, const myna__dfa *d, const char *const ends[2], int most) {
  return automaton(g, d, "", ends, most);
}

/* ---- the end ---- */

static bool alt_productive(const myna__rules *g, const myna__galt *a) {
  for (int i = 0; i < a->n; i++)
    if (a->s[i].kind == MYNA__G_RULE && a->s[i].min > 0 && !g->rules[a->s[i].rule].productive) return false;
  return true;
}

static bool mark_productive(myna__rules *g, int i) {
  myna__srule *r = &g->rules[i];
  for (int k = 0; k < r->n && !r->productive; k++) r->productive = alt_productive(g, r->alts[k]);
  return r->productive;
}

static int mark_reached(myna__rules *g, int root) {
  int *stack = myna__sc_alloc(g->c, (size_t)g->n * sizeof *stack), top = 0;
  if (!stack) return myna__sc_nomem(g->c);
  g->rules[root].reached = true;
  stack[top++] = root;
  while (top) {
    const myna__srule *r = &g->rules[stack[--top]];
    for (int k = 0; k < r->n; k++)
      for (int j = 0; j < r->alts[k]->n; j++) {
        const myna__gsym *s = &r->alts[k]->s[j];
        if (s->kind != MYNA__G_RULE || g->rules[s->rule].reached) continue;
        g->rules[s->rule].reached = true;
        stack[top++] = s->rule;
      }
  }
  return 0;
}

int myna__rules_prune(myna__rules *g, int root) {
  for (bool more = true; more;) {
    more = false;
    TRY(myna__sc_burn(g->c, (int64_t)g->n * 4));
    for (int k = 0; k < 2 * g->n; k++) { /* down and up: chains of states run in either direction */
      int i = k < g->n ? g->n - 1 - k : k - g->n;
      if (!g->rules[i].productive && mark_productive(g, i)) more = true;
    }
  }
  if (!g->rules[root].productive) {
    g->c->at = NULL;
    if (g->c->narrowed) return myna__schema_fail_one(g->c, g->c->narrowed);
    return myna__sc_fail(g->c, MYNA_E_ARG, "the schema has no instance");
  }
  for (int i = 0; i < g->n; i++) {
    myna__srule *r = &g->rules[i];
    int kept = 0;
    for (int k = 0; k < r->n; k++) {
      if (!alt_productive(g, r->alts[k])) continue;
      myna__galt *a = r->alts[kept++] = r->alts[k];
      int n = 0; /* what may be absent and has no text is absent */
      for (int j = 0; j < a->n; j++)
        if (a->s[j].kind != MYNA__G_RULE || g->rules[a->s[j].rule].productive) a->s[n++] = a->s[j];
      a->n = n;
    }
    r->n = kept;
  }
  return mark_reached(g, root);
}

static void print_literal(myna__buf *b, myna__str s) {
  myna__buf_str(b, "\"");
  for (size_t i = 0; i < s.n; i++) {
    uint8_t ch = (uint8_t)s.p[i];
    if (ch == '"' || ch == '\\')
      myna__buf_printf(b, "\\%c", ch);
    else if (ch < 0x20 || ch == 0x7F)
      myna__buf_printf(b, "\\x%02X", ch);
    else
      myna__buf_add(b, s.p + i, 1);
  }
  myna__buf_str(b, "\"");
}

static void print_symbol(myna__buf *b, const myna__gsym *s, const char *prefix) {
  if (s->kind == MYNA__G_LIT)
    print_literal(b, s->text);
  else if (s->kind == MYNA__G_CLASS)
    myna__buf_add(b, s->text.p, s->text.n);
  else
    myna__buf_printf(b, "%sr%d", prefix, s->rule);
  if (s->min == 1 && s->max == 1) return;
  if (s->max < 0 && s->min < 2)
    myna__buf_str(b, s->min ? "+" : "*");
  else if (s->max < 0)
    myna__buf_printf(b, "{%d,}", s->min);
  else if (s->min == 0 && s->max == 1)
    myna__buf_str(b, "?");
  else
    myna__buf_printf(b, "{%d,%d}", s->min, s->max);
}

static void print_rule(myna__buf *b, const myna__srule *r, const char *prefix) {
  for (int k = 0; k < r->n; k++) {
    if (k) myna__buf_str(b, " |");
    for (int j = 0; j < r->alts[k]->n; j++) {
      myna__buf_str(b, " ");
      print_symbol(b, &r->alts[k]->s[j], prefix);
    }
    if (!r->alts[k]->n) myna__buf_str(b, " \"\"");
  }
  myna__buf_str(b, "\n");
}

int myna__rules_print(myna__rules *g, int root, const char *prefix, char **text) {
  myna__buf b = {0};
  for (int i = 0; i < g->n; i++) {
    if (!g->rules[i].reached) continue;
    myna__buf_printf(&b, "%sr%d ::=", prefix, i);
    print_rule(&b, &g->rules[i], prefix);
  }
  myna__buf_printf(&b, "%sroot ::= %sr%d\n", prefix, prefix, root);
  char *out = b.failed ? NULL : myna__strndup(b.data, b.len);
  myna__buf_free(&b);
  if (!out) return myna__err(g->c->err, MYNA_E_NOMEM, "out of memory");
  *text = out;
  return 0;
}
