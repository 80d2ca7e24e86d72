/* unicode.c: UTF-8 decoding in the two flavours tokenizers need: strict (what is shown, Unicode 3.9) and lenient
 * (what byte-level BPE has always made of broken input), and the byte alphabet of GPT-2. */
#include "text/unicode.h"

int myna__utf8_put(uint32_t c, char *out) {
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = (char)(0xE0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 0x3F));
    out[2] = (char)(0x80 | (c & 0x3F));
    return 3;
  }
  out[0] = (char)(0xF0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 0x3F));
  out[2] = (char)(0x80 | (c >> 6 & 0x3F));
  out[3] = (char)(0x80 | (c & 0x3F));
  return 4;
}

int myna__utf8_step(const char *p, size_t n) {
  const uint8_t *u = (const uint8_t *)p;
  if (u[0] < 0x80) return 1;
  if (u[0] < 0xC2 || u[0] > 0xF4) return -1;
  int len = myna__utf8_lead(u[0]);
  /* Only the second byte has a range of its own: no overlong forms, surrogates or code points past U+10FFFF. */
  uint8_t lo = u[0] == 0xE0 ? 0xA0 : u[0] == 0xF0 ? 0x90 : 0x80;
  uint8_t hi = u[0] == 0xED ? 0x9F : u[0] == 0xF4 ? 0x8F : 0xBF;
  for (int i = 1; i < len; i++) {
    if ((size_t)i >= n) return 0;
    if (u[i] < lo || u[i] > hi) return -i;
    lo = 0x80;
    hi = 0xBF;
  }
  return len;
}

bool myna__utf8_valid(const char *p, size_t n) {
  size_t i = 0;
  while (i < n) {
    uint64_t w;
    if (n - i >= 8 && (memcpy(&w, p + i, 8), !(w & 0x8080808080808080u))) {
      i += 8;
      continue;
    }
    int len = myna__utf8_step(p + i, n - i);
    if (len <= 0) return false;
    i += (size_t)len;
  }
  return true;
}

/* Code point at p[0..n) by lead byte and continuation bits alone; *len bytes are consumed. */
static uint32_t lenient(const uint8_t *p, size_t n, size_t *len) {
  *len = 1;
  if (p[0] < 0x80) return p[0];
  if (p[0] < 0xC0 || p[0] >= 0xF8) return MYNA__CPT_BAD;
  size_t want = (size_t)myna__utf8_lead(p[0]);
  if (want > n) return MYNA__CPT_BAD;
  uint32_t c = p[0] & (0x7Fu >> want);
  for (size_t i = 1; i < want; i++) {
    if ((p[i] & 0xC0) != 0x80) return MYNA__CPT_BAD;
    c = c << 6 | (p[i] & 0x3F);
  }
  *len = want;
  return c > 0x10FFFF ? MYNA__CPT_BAD : c;
}

size_t myna__utf8_clean(const char *p, size_t n, char *out, char *match) {
  size_t o = 0;
  for (size_t i = 0, len; i < n; i += len) {
    uint32_t c = lenient((const uint8_t *)p + i, n - i, &len);
    bool surrogate = c >= 0xD800 && c < 0xE000;
    int k = myna__utf8_put(c, out + o);
    myna__utf8_put(surrogate ? 0xE000 : c, match + o);
    o += (size_t)k;
  }
  return o;
}

int myna__byte_of_char(uint32_t c) {
  if ((c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xFF && c != 0xAD)) return (int)c;
  /* The other 68 bytes follow in order from U+0100 on. */
  if (c >= 0x100 && c <= 0x120) return (int)(c - 0x100);
  if (c >= 0x121 && c <= 0x142) return (int)(c - 0x121 + 0x7F);
  return c == 0x143 ? 0xAD : -1;
}

/* Bytes 0x00-0x20, 0x7F-0xA0 and 0xAD are not printable and stand for U+0100 to U+0143; the rest for themselves. */
#define ONE(b) \
  { {(char)(b), 0}, 1 }
#define TWO(b) \
  { {(char)(0xC0 | (b) >> 6), (char)(0x80 | ((b)&0x3F))}, 2 }
#define ROW(M, b) M(b), M((b) + 1), M((b) + 2), M((b) + 3), M((b) + 4), M((b) + 5), M((b) + 6), M((b) + 7)
const myna__byte_char myna__byte_alphabet[256] = {
    ROW(TWO, 0x100), ROW(TWO, 0x108), ROW(TWO, 0x110), ROW(TWO, 0x118), /* 00-1F */
    TWO(0x120),      ONE(0x21),       ONE(0x22),       ONE(0x23),       ONE(0x24),      ONE(0x25),
    ONE(0x26),       ONE(0x27),                                                                         /* 20-27 */
    ROW(ONE, 0x28),  ROW(ONE, 0x30),  ROW(ONE, 0x38),  ROW(ONE, 0x40),  ROW(ONE, 0x48), ROW(ONE, 0x50), /* 28-57 */
    ROW(ONE, 0x58),  ROW(ONE, 0x60),  ROW(ONE, 0x68),  ROW(ONE, 0x70),                                  /* 58-77 */
    ONE(0x78),       ONE(0x79),       ONE(0x7A),       ONE(0x7B),       ONE(0x7C),      ONE(0x7D),
    ONE(0x7E),       TWO(0x121),                                        /* 78-7F */
    ROW(TWO, 0x122), ROW(TWO, 0x12A), ROW(TWO, 0x132), ROW(TWO, 0x13A), /* 80-9F */
    TWO(0x142),      TWO(0xA1),       TWO(0xA2),       TWO(0xA3),       TWO(0xA4),      TWO(0xA5),
    TWO(0xA6),       TWO(0xA7), /* A0-A7 */
    TWO(0xA8),       TWO(0xA9),       TWO(0xAA),       TWO(0xAB),       TWO(0xAC),      TWO(0x143),
    TWO(0xAE),       TWO(0xAF),                                                                         /* A8-AF */
    ROW(TWO, 0xB0),  ROW(TWO, 0xB8),  ROW(TWO, 0xC0),  ROW(TWO, 0xC8),  ROW(TWO, 0xD0), ROW(TWO, 0xD8), /* B0-DF */
    ROW(TWO, 0xE0),  ROW(TWO, 0xE8),  ROW(TWO, 0xF0),  ROW(TWO, 0xF8),                                  /* E0-FF */
};
