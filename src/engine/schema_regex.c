/* schema_regex.c: ECMAScript regular expressions (the regular part) to automata. The expression is searched for, as JSON schema says: it may
 * match anywhere unless anchored. Parsing writes a nondeterministic automaton at once; counted repeats parse their atom again.
 *
 * Validators in the wild do not agree on what \\d, \\w, \\s, a dot and $ are beyond ASCII. So there are two automata of an expression: the narrow
 * one has what matches for all of them, the wide one what matches for some; texts must be in the first, or out of the second.
 * Source: ECMA-262, section 22.2, with code points as characters (the u flag); Python's re, which differs as above. */
#include "engine/schema_regex.h"
#include <stdlib.h>
#include <utf8proc.h>

enum { MAX_LOOKS = 32 };

typedef struct frag {
  int start, end;
} frag;

static int bad(myna__regex *r, const char *what) {
  myna__sc_say(r->c, MYNA_E_FORMAT, "regular expression: %s", what);
  return MYNA_E_FORMAT;
}
static int unsupported(myna__regex *r, const char *what) {
  myna__sc_say(r->c, MYNA_E_UNSUPPORTED, "regular expression: %s are not supported", what);
  return MYNA_E_UNSUPPORTED;
}

static int new_node(myna__regex *r, myna__rkind kind, int out) {
  if (r->n >= MYNA__R_NODES) return myna__sc_fail(r->c, MYNA_E_LIMIT, "the regular expression is too large");
  TRY(myna__sc_grow(r->c, (void **)&r->nodes, r->n, &r->cap, sizeof *r->nodes));
  r->nodes[r->n] = (myna__rnode){kind, out, -1, r->n_ranges, 0};
  return r->n++;
}

static int add_range(myna__regex *r, uint32_t lo, uint32_t hi) {
  if (r->n_ranges >= MYNA__R_NODES * 4) return myna__sc_fail(r->c, MYNA_E_LIMIT, "the regular expression is too large");
  TRY(myna__sc_grow(r->c, (void **)&r->ranges, r->n_ranges, &r->cap_ranges, sizeof *r->ranges));
  r->ranges[r->n_ranges++] = (myna__rrange){lo, hi};
  return 0;
}

static int compare_ranges(const void *a, const void *b) {
  const myna__rrange *x = a, *y = b;
  return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* ranges[from..] becomes its complement. */
static int negate(myna__regex *r, int from) {
  int n = r->n_ranges - from;
  uint32_t at = 0;
  myna__rrange *copy = myna__sc_alloc(r->c, (size_t)(n + 1) * sizeof *copy);
  if (!copy) return myna__sc_nomem(r->c);
  if (n) memcpy(copy, r->ranges + from, (size_t)n * sizeof *copy);
  qsort(copy, (size_t)n, sizeof *copy, compare_ranges);
  r->n_ranges = from;
  for (int i = 0; i < n; i++) {
    if (copy[i].lo > at) TRY(add_range(r, at, copy[i].lo - 1));
    if (copy[i].hi + 1 > at) at = copy[i].hi + 1;
  }
  return at <= 0x10FFFF ? add_range(r, at, 0x10FFFF) : 0;
}

/* Sets that escapes name: where all agree, and what some add: ranges, and general categories as bits. */
enum {
  LETTERS = 1 << UTF8PROC_CATEGORY_LU | 1 << UTF8PROC_CATEGORY_LL | 1 << UTF8PROC_CATEGORY_LT |
            1 << UTF8PROC_CATEGORY_LM | 1 << UTF8PROC_CATEGORY_LO,
  MARKS = 1 << UTF8PROC_CATEGORY_MN | 1 << UTF8PROC_CATEGORY_MC | 1 << UTF8PROC_CATEGORY_ME,
  NUMBERS = 1 << UTF8PROC_CATEGORY_ND | 1 << UTF8PROC_CATEGORY_NL | 1 << UTF8PROC_CATEGORY_NO,
  UNASSIGNED = 1 << UTF8PROC_CATEGORY_CN /* who has another version of Unicode may think otherwise */
};
typedef struct named_set {
  char letter;
  myna__rrange all[8], some[4];
  int categories; /* some */
} named_set;
static const named_set named_sets[] = {
    {'d', {{'0', '9'}}, {{0}}, 1 << UTF8PROC_CATEGORY_ND},
    {'w',
     {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
     {{0}},
     (int)LETTERS | (int)MARKS | (int)NUMBERS | 1 << UTF8PROC_CATEGORY_PC},
    {'s',
     {{9, 13},
      {32, 32},
      {0xA0, 0xA0},
      {0x1680, 0x1680},
      {0x2000, 0x200A},
      {0x2028, 0x2029},
      {0x202F, 0x202F},
      {0x205F, 0x205F}},
     {{28, 31}, {0x85, 0x85}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}},
     0},
    {'.', {{10, 10}}, {{13, 13}, {0x85, 0x85}, {0x2028, 0x2029}}, 0}, /* what a dot is not */
};

/* Code points of some categories, as ranges. */
static int add_categories(myna__regex *r, int categories) {
  uint8_t *of = r->c->categories;
  if (!of) {
    TRY(myna__sc_burn(r->c, 0x110000));
    of = r->c->categories = myna__sc_alloc(r->c, 0x110000);
    if (!of) return myna__sc_nomem(r->c);
    for (int v = 0; v < 0x110000; v++) of[v] = (uint8_t)utf8proc_category(v);
  }
  TRY(myna__sc_burn(r->c, 0x110000 / 16));
  for (int v = 0, from = -1; v <= 0x110000; v++) {
    bool in = v < 0x110000 && (categories >> of[v] & 1);
    if (in && from < 0) from = v;
    if (in || from < 0) continue;
    TRY(add_range(r, (uint32_t)from, (uint32_t)v - 1));
    from = -1;
  }
  return 0;
}

static int add_named(myna__regex *r, char letter, bool negative) {
  int from = r->n_ranges;
  bool wide = r->wide != negative;
  const named_set *s = named_sets;
  while (s->letter != letter) s++;
  for (size_t i = 0; i < MYNA__COUNT(s->all) && s->all[i].hi; i++) TRY(add_range(r, s->all[i].lo, s->all[i].hi));
  for (size_t i = 0; i < MYNA__COUNT(s->some) && s->some[i].hi && wide; i++)
    TRY(add_range(r, s->some[i].lo, s->some[i].hi));
  if (wide && s->categories) TRY(add_categories(r, s->categories | (int)UNASSIGNED));
  return negative ? negate(r, from) : 0;
}

/* General categories by the names that \p{} takes. */
static const struct {
  const char *brief, *name;
  int bits;
} categories[] = {
#define ROW(brief, name, c) \
  { #brief, #name, 1 << UTF8PROC_CATEGORY_##c }
    ROW(Lu, Uppercase_Letter, LU),
    ROW(Ll, Lowercase_Letter, LL),
    ROW(Lt, Titlecase_Letter, LT),
    ROW(Lm, Modifier_Letter, LM),
    ROW(Lo, Other_Letter, LO),
    ROW(Mn, Nonspacing_Mark, MN),
    ROW(Mc, Spacing_Mark, MC),
    ROW(Me, Enclosing_Mark, ME),
    ROW(Nd, Decimal_Number, ND),
    ROW(Nl, Letter_Number, NL),
    ROW(No, Other_Number, NO),
    ROW(Pc, Connector_Punctuation, PC),
    ROW(Pd, Dash_Punctuation, PD),
    ROW(Ps, Open_Punctuation, PS),
    ROW(Pe, Close_Punctuation, PE),
    ROW(Pi, Initial_Punctuation, PI),
    ROW(Pf, Final_Punctuation, PF),
    ROW(Po, Other_Punctuation, PO),
    ROW(Sm, Math_Symbol, SM),
    ROW(Sc, Currency_Symbol, SC),
    ROW(Sk, Modifier_Symbol, SK),
    ROW(So, Other_Symbol, SO),
    ROW(Zs, Space_Separator, ZS),
    ROW(Zl, Line_Separator, ZL),
    ROW(Zp, Paragraph_Separator, ZP),
    ROW(Cc, Control, CC),
    ROW(Cf, Format, CF),
    ROW(Co, Private_Use, CO),
#undef ROW
    {"L", "Letter", LETTERS},
    {"M", "Mark", MARKS},
    {"N", "Number", NUMBERS},
    {"P", "Punctuation",
     1 << UTF8PROC_CATEGORY_PC | 1 << UTF8PROC_CATEGORY_PD | 1 << UTF8PROC_CATEGORY_PS | 1 << UTF8PROC_CATEGORY_PE |
         1 << UTF8PROC_CATEGORY_PI | 1 << UTF8PROC_CATEGORY_PF | 1 << UTF8PROC_CATEGORY_PO},
    {"S", "Symbol",
     1 << UTF8PROC_CATEGORY_SM | 1 << UTF8PROC_CATEGORY_SC | 1 << UTF8PROC_CATEGORY_SK | 1 << UTF8PROC_CATEGORY_SO},
    {"Z", "Separator", 1 << UTF8PROC_CATEGORY_ZS | 1 << UTF8PROC_CATEGORY_ZL | 1 << UTF8PROC_CATEGORY_ZP},
};

static uint32_t take_point(myna__regex *r) {
  uint8_t a = (uint8_t)*r->p++;
  int more = a < 0x80 ? 0 : a < 0xE0 ? 1 : a < 0xF0 ? 2 : 3;
  uint32_t v = more ? a & (0x3Fu >> more) : a;
  while (more-- > 0 && r->p < r->end) v = v << 6 | ((uint8_t)*r->p++ & 0x3F);
  return v;
}

static bool take(myna__regex *r, char ch) {
  if (r->p >= r->end || *r->p != ch) return false;
  r->p++;
  return true;
}

static int hex_digits(myna__regex *r, int n, uint32_t *v) {
  *v = 0;
  for (int i = 0; i < n; i++) {
    char ch = r->p < r->end ? *r->p++ : 0;
    int d = ch >= '0' && ch <= '9' ? ch - '0' : (ch | 32) >= 'a' && (ch | 32) <= 'f' ? (ch | 32) - 'a' + 10 : -1;
    if (d < 0) return bad(r, "malformed escape");
    *v = *v << 4 | (uint32_t)d;
  }
  return 0;
}

/* After \u: four digits, a pair of surrogates, or {digits}. */
static int unicode_escape(myna__regex *r, uint32_t *v) {
  uint32_t low;
  if (take(r, '{')) {
    int n = 0;
    while (r->p + n < r->end && r->p[n] != '}') n++;
    if (n < 1 || n > 6) return bad(r, "malformed escape");
    TRY(hex_digits(r, n, v));
    r->p++;
    return *v > 0x10FFFF ? bad(r, "malformed escape") : 0;
  }
  TRY(hex_digits(r, 4, v));
  if (*v >= 0xD800 && *v < 0xDC00 && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u') {
    r->p += 2;
    TRY(hex_digits(r, 4, &low));
    if (low < 0xDC00 || low > 0xDFFF) return bad(r, "lone surrogate");
    *v = 0x10000 + ((*v - 0xD800) << 10) + (low - 0xDC00);
  }
  return 0;
}

/* After \p: {L}, {Letter}, {gc=L}, {General_Category=Letter}. */
static int property(myna__regex *r, bool negative) {
  static const char *const keys[] = {"gc=", "General_Category="};
  if (!take(r, '{')) return bad(r, "malformed escape");
  myna__str s = {r->p, 0};
  while (r->p < r->end && *r->p != '}') r->p++, s.n++;
  if (!take(r, '}')) return bad(r, "malformed escape");
  for (size_t i = 0; i < MYNA__COUNT(keys); i++) {
    size_t n = strlen(keys[i]);
    if (s.n > n && memcmp(s.p, keys[i], n) == 0) s = (myna__str){s.p + n, s.n - n};
  }
  for (size_t i = 0; i < MYNA__COUNT(categories); i++) {
    if (!myna__str_eq(s, categories[i].brief) && !myna__str_eq(s, categories[i].name)) continue;
    int from = r->n_ranges;
    TRY(add_categories(r, categories[i].bits | (r->wide != negative ? (int)UNASSIGNED : 0)));
    return negative ? negate(r, from) : 0;
  }
  return unsupported(r, "Unicode properties but general categories");
}

/* After a backslash: a code point in *v, or a set that was added (*is_set). */
static int escape(myna__regex *r, bool in_class, uint32_t *v, bool *is_set) {
  static const char controls[] = "t\tn\nr\rf\fv\v";
  *is_set = false;
  if (r->p >= r->end) return bad(r, "ends in a backslash");
  uint32_t ch = take_point(r);
  if (ch && ch < 0x80 && strchr("dDwWsSpP", (int)ch)) {
    *is_set = true;
    return (ch | 32) == 'p' ? property(r, ch < 'a') : add_named(r, (char)(ch | 32), ch < 'a');
  }
  for (int i = 0; i < 10; i += 2)
    if (ch == (uint32_t)controls[i]) {
      *v = (uint32_t)controls[i + 1];
      return 0;
    }
  *v = ch;
  if (ch == 'b' && in_class)
    *v = 8;
  else if (ch == '0' && !(r->p < r->end && *r->p >= '0' && *r->p <= '9'))
    *v = 0;
  else if (ch == 'x')
    return hex_digits(r, 2, v);
  else if (ch == 'u')
    return unicode_escape(r, v);
  else if (ch == 'c') {
    char letter = r->p < r->end ? *r->p++ : 0;
    if ((letter | 32) < 'a' || (letter | 32) > 'z') return bad(r, "malformed escape");
    *v = (uint32_t)letter & 31;
  } else if (ch == 'b' || ch == 'B')
    return unsupported(r, "word boundaries");
  else if ((ch >= '0' && ch <= '9') || ch == 'k')
    return unsupported(r, "backreferences");
  else if ((ch | 32) >= 'a' && (ch | 32) <= 'z')
    return bad(r, "unknown escape");
  return 0;
}

static int class_atom(myna__regex *r, uint32_t *v, bool *is_set) {
  *is_set = false;
  if (take(r, '\\')) return escape(r, true, v, is_set);
  *v = take_point(r);
  return 0;
}

static int parse_class(myna__regex *r) {
  int from = r->n_ranges;
  bool negative = take(r, '^'), is_set, hi_is_set, wide = r->wide;
  r->wide = wide != negative; /* what is not in the wide set is surely not in it */
  for (;;) {
    uint32_t lo = 0, hi = 0;
    if (r->p >= r->end) return bad(r, "[ without ]");
    if (take(r, ']')) break;
    TRY(class_atom(r, &lo, &is_set));
    if (r->end - r->p >= 2 && r->p[0] == '-' && r->p[1] != ']') {
      r->p++;
      if (is_set) return bad(r, "range from a class");
      TRY(class_atom(r, &hi, &hi_is_set));
      if (hi_is_set || hi < lo) return bad(r, "range out of order");
      TRY(add_range(r, lo, hi));
    } else if (!is_set)
      TRY(add_range(r, lo, lo));
  }
  r->wide = wide;
  return negative ? negate(r, from) : 0;
}

static int parse_alternatives(myna__regex *r, frag *out);

static int chars_frag(myna__regex *r, int from, frag *out) {
  int end = new_node(r, MYNA__R_EMPTY, -1);
  TRY_N(end);
  int start = new_node(r, MYNA__R_CHARS, end);
  TRY_N(start);
  r->nodes[start].set = from;
  r->nodes[start].n_set = r->n_ranges - from;
  *out = (frag){start, end};
  return 0;
}

/* After (?= or (?!: what it says is made of its own text when it is met. */
static int parse_look(myna__regex *r, bool negative, frag *out) {
  const char *from = r->p;
  int kept = r->n_looks; /* those within are its own */
  frag f;
  TRY(parse_alternatives(r, &f));
  const myna__str body = {from, (size_t)(r->p - from)};
  r->n_looks = kept;
  int end = new_node(r, MYNA__R_EMPTY, -1), i = 0;
  TRY_N(end);
  int at = new_node(r, MYNA__R_LOOK, end);
  TRY_N(at);
  while (i < r->n_looks && (r->looks[i].body.p != from || r->looks[i].negative != negative)) i++;
  if (i == r->n_looks) { /* else a repeat reads it again */
    if (i == MAX_LOOKS) return myna__sc_fail(r->c, MYNA_E_LIMIT, "the regular expression has too many lookaheads");
    TRY(myna__sc_grow(r->c, (void **)&r->looks, i, &r->cap_looks, sizeof *r->looks));
    r->looks[r->n_looks++] = (myna__rlook){.body = body, .negative = negative};
  }
  r->nodes[at].set = i;
  *out = (frag){at, end};
  return 0;
}

static int parse_group(myna__regex *r, frag *out) {
  if (++r->depth > MYNA__R_DEPTH)
    return myna__sc_fail(r->c, MYNA_E_LIMIT, "the regular expression is nested too deeply");
  if (!take(r, '?') || take(r, ':'))
    TRY(parse_alternatives(r, out));
  else if (take(r, '=') || take(r, '!'))
    TRY(parse_look(r, r->p[-1] == '!', out));
  else if (r->end - r->p > 1 && r->p[0] == '<' && r->p[1] != '=' && r->p[1] != '!') {
    while (r->p < r->end && *r->p != '>') r->p++;
    if (!take(r, '>')) return bad(r, "malformed group name");
    TRY(parse_alternatives(r, out));
  } else
    return unsupported(r, "lookbehind and flags");
  r->depth--;
  return take(r, ')') ? 0 : bad(r, "( without )");
}

/* {m}, {m,}, {m,n}; leaves r->p where it is none of them. */
static bool parse_counts(myna__regex *r, int *min, int *max) {
  const char *p = r->p;
  int v[2] = {-1, -1}, k = 0;
  if (p >= r->end || *p != '{') return false;
  for (p++; p < r->end && *p != '}'; p++) {
    if (*p == ',' && k == 0 && v[0] >= 0)
      k = 1;
    else if (*p >= '0' && *p <= '9') {
      v[k] = v[k] < 0 ? 0 : v[k];
      v[k] = v[k] > MYNA__R_NODES ? v[k] : v[k] * 10 + (*p - '0');
    } else
      return false;
  }
  if (p >= r->end || v[0] < 0) return false;
  *min = v[0];
  *max = k ? v[1] : v[0];
  r->p = p + 1;
  return true;
}

/* Some let $ match before a line's end that ends the text. */
static int parse_anchor(myna__regex *r, bool begin, frag *out) {
  int from = r->n_ranges, end = new_node(r, MYNA__R_EMPTY, -1);
  TRY_N(end);
  int at = new_node(r, begin ? MYNA__R_BEGIN : MYNA__R_END, end);
  TRY_N(at);
  *out = (frag){at, end};
  if (begin || !r->wide) return 0;
  TRY(add_range(r, '\n', '\n'));
  int line = new_node(r, MYNA__R_CHARS, at), start = new_node(r, MYNA__R_EMPTY, at);
  TRY_N(line);
  TRY_N(start);
  r->nodes[line].set = from;
  r->nodes[line].n_set = 1;
  r->nodes[start].out2 = line;
  *out = (frag){start, end};
  return 0;
}

static int parse_atom(myna__regex *r, frag *out) {
  int from = r->n_ranges;
  bool is_set = false;
  uint32_t v;
  if (take(r, '(')) return parse_group(r, out);
  if (*r->p == '^' || *r->p == '$') return parse_anchor(r, *r->p++ == '^', out);
  if (take(r, '[')) {
    TRY(parse_class(r));
    return chars_frag(r, from, out);
  }
  if (take(r, '.')) {
    TRY(add_named(r, '.', true));
    return chars_frag(r, from, out);
  }
  if (take(r, '\\'))
    TRY(escape(r, false, &v, &is_set));
  else {
    int min, max;
    if ((strchr("*+?)", *r->p) && *r->p) || parse_counts(r, &min, &max))
      return bad(r, "nothing to repeat, or ) without (");
    if (*r->p == '{' && r->end - r->p > 1 && r->p[1] == ',') return unsupported(r, "counts without a minimum");
    v = take_point(r);
  }
  if (!is_set) TRY(add_range(r, v, v));
  return chars_frag(r, from, out);
}

static bool parse_repeat(myna__regex *r, int *min, int *max) {
  if (take(r, '*'))
    *min = 0, *max = -1;
  else if (take(r, '+'))
    *min = 1, *max = -1;
  else if (take(r, '?'))
    *min = 0, *max = 1;
  else if (!parse_counts(r, min, max))
    return false;
  take(r, '?'); /* lazy: the same language */
  return true;
}

/* One copy of the atom in text[from..to), optional, or as a loop. */
static int copy_atom(myna__regex *r, const char *from, bool optional, bool loop, frag *out) {
  frag f;
  r->p = from;
  TRY(parse_atom(r, &f));
  int start = new_node(r, MYNA__R_EMPTY, f.start), end = new_node(r, MYNA__R_EMPTY, -1);
  TRY_N(start);
  TRY_N(end);
  if (optional || loop) r->nodes[start].out2 = end;
  r->nodes[f.end].out = loop ? start : end;
  *out = (frag){start, end};
  return 0;
}

static int parse_term(myna__regex *r, frag *out) {
  const char *from = r->p;
  frag f;
  int min, max;
  TRY(parse_atom(r, out));
  if (!parse_repeat(r, &min, &max)) return 0;
  if (max >= 0 && max < min) return bad(r, "repeat out of order");
  const char *after = r->p;
  int start = new_node(r, MYNA__R_EMPTY, -1), end = start;
  TRY_N(start);
  for (int i = 0; i < (max < 0 ? min + 1 : max); i++) {
    TRY(copy_atom(r, from, i >= min, max < 0 && i == min, &f));
    r->nodes[end].out = f.start;
    end = f.end;
  }
  r->p = after;
  *out = (frag){start, end};
  return 0;
}

static int parse_alternatives(myna__regex *r, frag *out) {
  int all = new_node(r, MYNA__R_EMPTY, -1), end = new_node(r, MYNA__R_EMPTY, -1), fork = all;
  TRY_N(all);
  TRY_N(end);
  for (;;) {
    int at = new_node(r, MYNA__R_EMPTY, -1);
    TRY_N(at);
    r->nodes[fork].out = at;
    while (r->p < r->end && *r->p != '|' && *r->p != ')') {
      frag f = {0};
      TRY(parse_term(r, &f));
      r->nodes[at].out = f.start;
      at = f.end;
    }
    r->nodes[at].out = end;
    if (!take(r, '|')) break;
    int next = new_node(r, MYNA__R_EMPTY, -1);
    TRY_N(next);
    r->nodes[fork].out2 = next;
    fork = next;
  }
  *out = (frag){all, end};
  return 0;
}

int myna__regex_nodes(myna__regex *r, bool here) {
  frag f = {0};
  int from = r->n_ranges;
  TRY(add_range(r, 0, 0x10FFFF));
  int start = new_node(r, MYNA__R_EMPTY, -1), before = new_node(r, MYNA__R_CHARS, -1),
      end = new_node(r, MYNA__R_EMPTY, -1), after = new_node(r, MYNA__R_CHARS, -1);
  int mark = new_node(r, MYNA__R_BEGIN, -1), again = new_node(r, MYNA__R_EMPTY, -1);
  TRY_N(start);
  TRY_N(before);
  TRY_N(end);
  TRY_N(after);
  TRY_N(mark);
  TRY_N(again);
  r->nodes[before].set = r->nodes[after].set = from;
  r->nodes[before].n_set = r->nodes[after].n_set = 1;
  TRY(parse_alternatives(r, &f));
  if (r->p < r->end) return bad(r, ") without (");
  r->nodes[start] = (myna__rnode){MYNA__R_EMPTY, again, mark, 0, 0};
  r->nodes[mark].out = again; /* distinguishes the first set: no later closure starts here */
  r->nodes[again] = (myna__rnode){MYNA__R_EMPTY, f.start, here ? -1 : before, 0, 0};
  r->nodes[before].out = again;
  r->start = start;
  r->after = after;
  r->final = new_node(r, MYNA__R_EMPTY, -1);
  TRY_N(r->final);
  r->nodes[f.end].out = end;
  r->nodes[end] = (myna__rnode){MYNA__R_EMPTY, r->final, after, 0, 0};
  r->nodes[after].out = end;
  return 0;
}

int myna__dfa_regex(myna__sc *c, myna__str pattern, bool wide, myna__dfa *out) {
  myna__regex r = {.c = c, .p = pattern.p, .end = pattern.p + pattern.n, .wide = wide};
  TRY(myna__regex_nodes(&r, false));
  return myna__regex_dfa(&r, true, out);
}
