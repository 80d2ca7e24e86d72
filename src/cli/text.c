/* text.c: text in and out: files, escapes, JSON strings, near names, tokens. */
#define _GNU_SOURCE
#include "cli.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- in ---- */

/* All that f has, with room for a NUL; NULL with errno set. */
static char *read_all(FILE *f, size_t *n) {
  size_t cap = 1 << 16, got;
  char *data = malloc(cap);
  *n = 0;
  while (data && (got = fread(data + *n, 1, cap - *n - 1, f)) > 0) {
    *n += got;
    if (*n + 1 < cap) continue;
    char *grown = realloc(data, cap *= 2);
    if (!grown) free(data);
    data = grown;
  }
  if (!data || ferror(f)) {
    free(data);
    return NULL;
  }
  data[*n] = 0;
  return data;
}

char *read_text(const char *path, size_t *n) {
  bool standard = strcmp(path, "-") == 0;
  FILE *f = standard ? stdin : fopen(path, "rb");
  char *data = f ? read_all(f, n) : NULL;
  if (!data && !interrupted) failed("%s: %s", standard ? "standard input" : path, strerror(errno));
  if (f && !standard) fclose(f);
  return data;
}

size_t unescape(char *s) {
  static const char from[] = "nrt'\"\\", to[] = "\n\r\t'\"\\";
  char *out = s;
  for (const char *p = s; *p; p++) {
    const char *at = p[0] == '\\' && p[1] ? strchr(from, p[1]) : NULL;
    if (at) {
      *out++ = to[at - from];
      p++;
    } else if (p[0] == '\\' && p[1] == 'x' && isxdigit((unsigned char)p[2]) && isxdigit((unsigned char)p[3])) {
      char hex[3] = {p[2], p[3], 0};
      *out++ = (char)strtol(hex, NULL, 16);
      p += 3;
    } else {
      *out++ = *p;
    }
  }
  *out = 0;
  return (size_t)(out - s);
}

void unescape_list(list *l) {
  for (int i = 0; i < l->n; i++) {
    char *copy = strdup(l->items[i]); /* needed until exit */
    if (!copy) continue;
    unescape(copy);
    l->items[i] = copy;
  }
}

char *input_text(const options *o, size_t *n) {
  bool dash = o->prompt && strcmp(o->prompt, "-") == 0;
  const char *path = o->from_stdin || dash ? "-" : o->file;
  *n = 0;
  if (path) return read_text(path, n);
  char *text = strdup(o->prompt ? o->prompt : "");
  if (!text)
    failed("no memory for the prompt");
  else
    *n = o->escape && !o->no_escape ? unescape(text) : strlen(text);
  return text;
}

int32_t *tokenize_all(const myna_model *m, const char *text, size_t n, const myna_tokenize_options *to,
                      int64_t *count) {
  myna_err err = {0};
  int64_t cap = (int64_t)n + 8;
  int32_t *ids = malloc((size_t)cap * sizeof *ids);
  *count = ids ? myna_tokenize(m, text, n, to, ids, cap, &err) : -1;
  if (ids && *count > cap) { /* more ids than bytes: normalization grew the text */
    int32_t *more = realloc(ids, (size_t)*count * sizeof *ids);
    if (more) ids = more;
    *count = more ? myna_tokenize(m, text, n, to, ids, *count, &err) : -1;
  }
  if (ids && *count >= 0) return ids;
  if (err.code)
    fail(&err);
  else
    failed("no memory for the tokens of %zu bytes", n);
  free(ids);
  return NULL;
}

/* ---- out ---- */

/* Length of the UTF-8 character at s, 0 when there is none. Shortest forms only, no surrogates (Unicode 15, table 3-7). */
static size_t utf8_length(const unsigned char *s, size_t n) {
  if (s[0] < 0x80) return 1;
  size_t len = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
  if (len == 0 || len > n) return 0;
  for (size_t i = 1; i < len; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
             (s[0] == 0xf4 && s[1] > 0x8f);
  return bad ? 0 : len;
}

bool is_utf8(const char *s, size_t n) {
  for (size_t i = 0, len; i < n; i += len)
    if ((len = utf8_length((const unsigned char *)s + i, n - i)) == 0) return false;
  return true;
}

void write_json_string(FILE *f, const char *s, size_t n) {
  static const char plain[] = "\"\\\n\r\t", escaped[] = "\"\\nrt";
  fputc('"', f);
  for (size_t i = 0, len; i < n; i += len) {
    unsigned char c = (unsigned char)s[i];
    const char *at = c ? strchr(plain, c) : NULL;
    len = utf8_length((const unsigned char *)s + i, n - i);
    if (at)
      fprintf(f, "\\%c", escaped[at - plain]);
    else if (c < 0x20 || c == 0x7f)
      fprintf(f, "\\u%04x", c);
    else if (len)
      fwrite(s + i, 1, len, f);
    else
      fputs("\xef\xbf\xbd", f), len = 1;
  }
  fputc('"', f);
}

char *printable(char *s) {
  for (size_t i = 0, n = strlen(s), len; i < n; i += len) {
    len = utf8_length((unsigned char *)s + i, n - i);
    bool control = (unsigned char)s[i] < 0x20 || s[i] == 0x7f ||
                   (len == 2 && (unsigned char)s[i] == 0xc2 && (unsigned char)s[i + 1] < 0xa0);
    if (len && !control) continue;
    if (!len) len = 1;
    memset(s + i, s[i] == '\n' || s[i] == '\t' ? ' ' : '?', len);
  }
  return s;
}

const char *human_bytes(int64_t n, char buf[32]) {
  static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
  double x = (double)n;
  int u = 0;
  while (x >= 1000 && u < 4) x /= 1000, u++;
  snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", x, units[u]);
  return buf;
}

/* ---- near names ---- */

/* Edits (insert, delete, replace, swap) between two short words; 99 when they are long. */
static int distance(const char *a, const char *b) {
  enum { MAX = 60 };
  int n = (int)strlen(a), m = (int)strlen(b);
  int d[MAX + 1][MAX + 1];
  if (n > MAX || m > MAX) return 99;
  for (int i = 0; i <= n; i++)
    for (int j = 0; j <= m; j++) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      int best = d[i - 1][j - 1] + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
      if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
        best = d[i - 2][j - 2] + 1;
      d[i][j] = best;
    }
  return d[n][m];
}

const char *closest(const char *word, const char *const *names, int n) {
  const char *best = NULL, *w = word + strspn(word, "-");
  int len = (int)strlen(w),
      best_d = len < 3 ? 1 : len / 3 + 1; /* a word of one or two letters must differ in case or dashes only */
  for (int i = 0; i < n; i++) {
    int d = distance(w, names[i] + strspn(names[i], "-"));
    if (d < best_d) best_d = d, best = names[i];
  }
  for (int i = 0; i < n && !best && len >= 4; i++)
    if (strncasecmp(w, names[i] + strspn(names[i], "-"), (size_t)len) == 0) best = names[i];
  return best;
}
