/* jinja_case.c: letters and blanks of texts as Python's str has them: upper, lower, title and folded case of whole texts, what a blank is, where a line ends.
 * Source: Unicode's SpecialCasing for what becomes several characters; utf8proc knows the rest. */
#include "text/jinja_value.h"
#include <utf8proc.h>

/* A character and its upper case of several; Greek with iota below (U+1F80 to U+1FAF) is regular and not here. */
static const uint16_t several[][4] = {
    {0x00DF, 0x0053, 0x0053},         {0x0149, 0x02BC, 0x004E},         {0x01F0, 0x004A, 0x030C},
    {0x0390, 0x0399, 0x0308, 0x0301}, {0x03B0, 0x03A5, 0x0308, 0x0301}, {0x0587, 0x0535, 0x0552},
    {0x1E96, 0x0048, 0x0331},         {0x1E97, 0x0054, 0x0308},         {0x1E98, 0x0057, 0x030A},
    {0x1E99, 0x0059, 0x030A},         {0x1E9A, 0x0041, 0x02BE},         {0x1F50, 0x03A5, 0x0313},
    {0x1F52, 0x03A5, 0x0313, 0x0300}, {0x1F54, 0x03A5, 0x0313, 0x0301}, {0x1F56, 0x03A5, 0x0313, 0x0342},
    {0x1FB2, 0x1FBA, 0x0399},         {0x1FB3, 0x0391, 0x0399},         {0x1FB4, 0x0386, 0x0399},
    {0x1FB6, 0x0391, 0x0342},         {0x1FB7, 0x0391, 0x0342, 0x0399}, {0x1FBC, 0x0391, 0x0399},
    {0x1FC2, 0x1FCA, 0x0399},         {0x1FC3, 0x0397, 0x0399},         {0x1FC4, 0x0389, 0x0399},
    {0x1FC6, 0x0397, 0x0342},         {0x1FC7, 0x0397, 0x0342, 0x0399}, {0x1FCC, 0x0397, 0x0399},
    {0x1FD2, 0x0399, 0x0308, 0x0300}, {0x1FD3, 0x0399, 0x0308, 0x0301}, {0x1FD6, 0x0399, 0x0342},
    {0x1FD7, 0x0399, 0x0308, 0x0342}, {0x1FE2, 0x03A5, 0x0308, 0x0300}, {0x1FE3, 0x03A5, 0x0308, 0x0301},
    {0x1FE4, 0x03A1, 0x0313},         {0x1FE6, 0x03A5, 0x0342},         {0x1FE7, 0x03A5, 0x0308, 0x0342},
    {0x1FF2, 0x1FFA, 0x0399},         {0x1FF3, 0x03A9, 0x0399},         {0x1FF4, 0x038F, 0x0399},
    {0x1FF6, 0x03A9, 0x0342},         {0x1FF7, 0x03A9, 0x0342, 0x0399}, {0x1FFC, 0x03A9, 0x0399},
    {0xFB00, 0x0046, 0x0046},         {0xFB01, 0x0046, 0x0049},         {0xFB02, 0x0046, 0x004C},
    {0xFB03, 0x0046, 0x0046, 0x0049}, {0xFB04, 0x0046, 0x0046, 0x004C}, {0xFB05, 0x0053, 0x0054},
    {0xFB06, 0x0053, 0x0054},         {0xFB13, 0x0544, 0x0546},         {0xFB14, 0x0544, 0x0535},
    {0xFB15, 0x0544, 0x053B},         {0xFB16, 0x054E, 0x0546},         {0xFB17, 0x0544, 0x053D}};

typedef struct mapped {
  uint32_t c[4];
  int n;
} mapped;

static mapped one(utf8proc_int32_t c) { return (mapped){{(uint32_t)c}, 1}; }
static uint32_t low(uint32_t c) { return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c); }

static mapped upper(uint32_t c) {
  static const uint16_t rows[] = {0x1F08, 0x1F28, 0x1F68};
  if (c >= 0x1F80 && c <= 0x1FAF) return (mapped){{rows[(c - 0x1F80) / 16] + (c & 7), 0x399}, 2};
  size_t from = 0, to = c < 0xDF || c > 0xFB17 ? 0 : MYNA__COUNT(several);
  while (from < to) {
    size_t mid = (from + to) / 2;
    const uint16_t *r = several[mid];
    if (r[0] == c) return (mapped){{r[1], r[2], r[3]}, r[3] ? 3 : 2};
    if (r[0] < c)
      from = mid + 1;
    else
      to = mid;
  }
  return one(utf8proc_toupper((utf8proc_int32_t)c));
}

static mapped title(uint32_t c) {
  utf8proc_int32_t t = utf8proc_totitle((utf8proc_int32_t)c);
  mapped m = upper(c);
  if (utf8proc_category(t) == UTF8PROC_CATEGORY_LT) return one(t);
  if (m.n == 1) return one(t);
  for (int i = 1; i < m.n && m.c[0] != 0x2BC; i++) m.c[i] = m.c[i] == 0x399 ? 0x345 : low(m.c[i]);
  return m;
}

static mapped folded(uint32_t c) {
  utf8proc_int32_t out[4];
  int last = 0;
  utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, out, 4, UTF8PROC_CASEFOLD, &last);
  if (n < 1 || n > 4) return one((utf8proc_int32_t)c);
  mapped m = {.n = (int)n};
  for (int i = 0; i < m.n; i++) m.c[i] = (uint32_t)out[i];
  return m;
}

char myna__ju_case(uint32_t c) {
  utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
  if (k == UTF8PROC_CATEGORY_LT) return 't';
  if (k == UTF8PROC_CATEGORY_LU || (c >= 0x2160 && c <= 0x216F) || (c >= 0x24B6 && c <= 0x24CF)) return 'u';
  bool low_one = c == 0xAA || c == 0xBA || c == 0x345 || (c >= 0x2170 && c <= 0x217F) || (c >= 0x24D0 && c <= 0x24E9);
  return k == UTF8PROC_CATEGORY_LL || low_one ? 'l' : 0;
}

/* Characters that words' ends look through. */
static bool ignored(uint32_t c) {
  utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
  return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
         k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK || (c < 0x80 && c && strchr("'.:^`", (int)c)) ||
         c == 0xB7 || c == 0x2019;
}

/* Does a cased letter follow at p[n)? */
static bool word_goes_on(const char *p, size_t n) {
  for (size_t i = 0; i < n;) {
    size_t k = myna__ju_len(p + i, n - i);
    uint32_t c = myna__ju_get(p + i, k);
    if (!ignored(c)) return myna__ju_case(c) != 0;
    i += k;
  }
  return false;
}

static mapped lower(uint32_t c, bool in_word, const char *rest, size_t n) {
  if (c == 0x130) return (mapped){{'i', 0x307}, 2};
  if (c == 0x3A3) return one(in_word && !word_goes_on(rest, n) ? 0x3C2 : 0x3C3);
  return one((utf8proc_int32_t)low(c));
}

jv myna__jv_case(jx *x, jv s, char how) {
  jbuf b = {0};
  bool start = true, in_word = false;
  for (size_t i = 0; i < s.n && !x->rc;) {
    size_t k = myna__ju_len(s.u.s + i, s.n - i);
    if (k == 1 && (unsigned char)s.u.s[i] >= 0x80) { /* not UTF-8: as it is */
      myna__jbuf_add(x, &b, s.u.s + i, 1);
      i++;
      continue;
    }
    uint32_t c = myna__ju_get(s.u.s + i, k);
    i += k;
    if (c == 0x3A3) myna__jx_tick(x, (s.n - i) / 16); /* looks ahead */
    char now = how == 's' ? myna__ju_case(c) : 0;
    bool up = how == 'u' || (how == 'T' && start) || now == 'l';
    mapped m = how == 'f'                            ? folded(c)
               : up                                  ? upper(c)
               : (how == 'c' || how == 't') && start ? title(c)
               : how == 's' && now != 'u'            ? one((utf8proc_int32_t)c)
                                                     : lower(c, in_word, s.u.s + i, s.n - i);
    for (int d = 0; d < m.n; d++) {
      char out[4];
      myna__jbuf_add(x, &b, out, myna__ju_put(out, m.c[d]));
    }
    if (how == 'T')
      start = (c < 0x80 && c && strchr("-({[<", (int)c)) || myna__ju_blank(c);
    else
      start = how == 't' && !myna__ju_case(c);
    if (!ignored(c)) in_word = myna__ju_case(c) != 0;
  }
  return myna__jbuf_take(x, &b);
}

bool myna__ju_blank(uint32_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t myna__ju_break(const char *p, size_t n) {
  unsigned char c = (unsigned char)p[0];
  if (c == '\r') return n > 1 && p[1] == '\n' ? 2 : 1;
  if ((c >= '\n' && c <= '\f') || (c >= 0x1C && c <= 0x1E)) return 1;
  if (c < 0x80) return 0;
  size_t k = myna__ju_len(p, n);
  uint32_t u = myna__ju_get(p, k);
  return k > 1 && (u == 0x85 || u == 0x2028 || u == 0x2029) ? k : 0;
}
