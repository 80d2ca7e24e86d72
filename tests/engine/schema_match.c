/* schema_match.c: a backtracking matcher of the GBNF that schemas become; every rule starts a line, no groups, no comments. */
#include "schema_match.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct rest {
  const char *p; /* symbols that follow, to the end of the alternative */
  int min, max;  /* repetitions of the symbol at p that are left; -1: read them after it */
  const struct rest *next;
} rest;

typedef struct matcher {
  const char **rules; /* by number */
  int n, depth;
  const char *end;
} matcher;

static const char *skip_symbol(const char *p) {
  if (*p == '"' || *p == '[') {
    char close = *p == '"' ? '"' : ']';
    for (p++; *p != close; p++)
      if (*p == '\\') p++;
    return p + 1;
  }
  while ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')) p++;
  return p;
}

static const char *repeats(const char *p, int *min, int *max) {
  *min = *max = 1;
  if (*p == '*')
    *min = 0, *max = 1 << 30;
  else if (*p == '+')
    *max = 1 << 30;
  else if (*p == '?')
    *min = 0;
  else if (*p == '{') {
    char *q;
    *min = *max = (int)strtol(p + 1, &q, 10);
    if (*q == ',') *max = q[1] == '}' ? 1 << 30 : (int)strtol(q + 1, &q, 10);
    return strchr(p, '}') + 1;
  } else
    return p;
  return p + 1;
}

static uint32_t point(const char **p, bool escapes) {
  if (escapes && **p == '\\') {
    char kind = (*p)[1], hex[9] = {0};
    int n = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    *p += 2;
    if (!n) return (uint8_t)kind;
    memcpy(hex, *p, (size_t)n);
    *p += n;
    return (uint32_t)strtoul(hex, NULL, 16);
  }
  uint8_t a = (uint8_t) * (*p)++;
  int more = a < 0x80 ? 0 : a < 0xE0 ? 1 : a < 0xF0 ? 2 : 3;
  uint32_t v = more ? a & (0x3Fu >> more) : a;
  while (more--) v = v << 6 | ((uint8_t) * (*p)++ & 0x3F);
  return v;
}

static bool in_class(const char *p, uint32_t v) {
  bool negative = *++p == '^', found = false;
  p += negative;
  while (*p != ']') {
    uint32_t lo = point(&p, true), hi = lo;
    if (*p == '-' && p[1] != ']') {
      p++;
      hi = point(&p, true);
    }
    found |= v >= lo && v <= hi;
  }
  return found != negative;
}

static bool match(matcher *m, const rest *r, const char *t);

static bool match_rule(matcher *m, const char *p, const rest *after, const char *t) {
  if (!p) return false;
  for (;;) {
    rest alt = {p, -1, 0, after};
    if (match(m, &alt, t)) return true;
    while (*p != '|' && *p != '\n') p = *p == '"' || *p == '[' ? skip_symbol(p) : p + 1;
    if (*p++ == '\n') return false;
  }
}

/* The symbol of r once, then `after`. */
static bool match_symbol(matcher *m, const rest *r, const rest *after, const char *t) {
  const char *p = r->p;
  if (*p == '"') {
    for (p++; *p != '"';) {
      if (t >= m->end || point(&p, true) != point(&t, false)) return false;
    }
    return match(m, after, t);
  }
  if (*p == '[') return t < m->end && in_class(p, point(&t, false)) && match(m, after, t);
  return match_rule(m, m->rules[atoi(p + 1)], after, t);
}

static bool match(matcher *m, const rest *r, const char *t) {
  while (r && r->min < 0) {
    const char *p = r->p;
    while (*p == ' ') p++;
    if (*p == '|' || *p == '\n') {
      r = r->next;
      continue;
    }
    int min, max;
    repeats(skip_symbol(p), &min, &max);
    rest one = {p, min, max, r->next};
    return match(m, &one, t);
  }
  if (!r) return t == m->end;
  if (m->depth > 20000) return false;
  m->depth++;
  int min, max;
  rest follow = {repeats(skip_symbol(r->p), &min, &max), -1, 0, r->next};
  rest again = {r->p, r->min ? r->min - 1 : 0, r->max - 1, r->next};
  bool found =
      (r->max > 0 && match_symbol(m, r, r->max > 1 ? &again : &follow, t)) || (r->min == 0 && match(m, &follow, t));
  m->depth--;
  return found;
}

bool schema_match(const char *gbnf, const char *text, size_t n) {
  matcher m = {.end = text + n};
  const char *root = NULL;
  m.n = 0;
  for (const char *p = gbnf; *p; p = strchr(p, '\n') + 1)
    if (*p == 'r' && p[1] != 'o' && atoi(p + 1) >= m.n) m.n = atoi(p + 1) + 1;
  m.rules = calloc((size_t)m.n + 1, sizeof *m.rules);
  for (const char *p = gbnf; *p; p = strchr(p, '\n') + 1) {
    const char *body = strstr(p, "::=") + 3;
    if (p[1] == 'o')
      root = body;
    else
      m.rules[atoi(p + 1)] = body;
  }
  bool found = match_rule(&m, root, NULL, text);
  free(m.rules);
  return found;
}
