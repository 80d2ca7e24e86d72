/* chat_harmony.c: answers that are messages: a header up to <|message|> says what the body is, up to the next sign. */
#include "text/chat_parse.h"

typedef myna_chat_parser parser;
enum { MAX_HEADER = 1024 };
static const char message[] = "<|message|>", channel[] = "<|channel|>", recipient[] = "to=", functions[] = "functions.";

/* The last occurrence of mark in s[0..n), behind it. */
static const char *behind_last(const char *s, size_t n, const char *mark) {
  const char *found = NULL, *end = s + n;
  for (size_t m = strlen(mark); s && (s = memmem(s, (size_t)(end - s), mark, m)); s += m) found = s + m;
  return found;
}

/* Whether a header may begin like that: else the text is content without one. */
static bool may_begin(const char *s, size_t n) {
  static const char *const starts[] = {"<|start|>", channel, message, "<|constrain|>", recipient, "assistant"};
  size_t at = myna__blanks(s, n);
  for (size_t i = 0; i < MYNA__COUNT(starts); i++)
    if (myna__begins(s + at, n - at, starts[i]) != BAD) return true;
  return false;
}

static bool is_function(parser *p, const char *header, size_t n) {
  const char *to = behind_last(header, n, recipient);
  if (!to) return false;
  size_t left = (size_t)(header + n - to), k = 0;
  if (myna__begins(to, left, "assistant") == GOOD) return false;
  /* What is sent to others than our functions is told to nobody. */
  p->body_dropped = p->o.tools || myna__begins(to, left, functions) != GOOD;
  if (!p->o.tools || myna__begins(to, left, functions) != GOOD) return false;
  to += strlen(functions);
  left -= strlen(functions);
  while (k < left && myna__name_char(to[k])) k++;
  myna__call_begin(p, false);
  return myna__call_named(p, to, k);
}

bool myna__parse_header(parser *p, const char *s, size_t n) {
  const char *end = memmem(s, n, message, strlen(message));
  bool header = may_begin(s, n);
  if (!end && header && n <= MAX_HEADER) {
    if (!p->last) return false;
    size_t at = myna__blanks(s, n);
    if (at < n && s[at] == '<') { /* signs alone at the end are no content */
      p->pos += n;
      return false;
    }
  }
  p->body_reasoning = p->body_dropped = false;
  p->state = IN_BODY;
  if (!end || !header || end - s > MAX_HEADER) { /* no header: text, whatever its first byte looks like */
    myna__parse_tell(p, MYNA_DELTA_CONTENT, s, 1);
    p->pos++;
    return true;
  }
  size_t len = (size_t)(end - s);
  if (is_function(p, s, len)) {
    p->state = IN_CALL;
    p->mark = p->pos;
    p->pos += len + strlen(message);
    myna__parse_tell_call(p);
    return true;
  }
  const char *name = behind_last(s, len, channel);
  p->body_reasoning = name && myna__begins(name, (size_t)(end - name), "analysis") == GOOD && !p->body_dropped;
  p->pos += len + strlen(message);
  if (p->body_reasoning && p->o.keep_reasoning)
    myna__parse_tell(p, MYNA_DELTA_CONTENT, p->f->think_start, strlen(p->f->think_start));
  return true;
}

bool myna__parse_body(parser *p, const char *s, size_t n) {
  static const char *const ends[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>", channel};
  size_t at = n;
  int found = -1;
  for (size_t i = 0; i < n && at == n; i++)
    for (int k = 0; s[i] == '<' && k < 5; k++) {
      int rc = myna__begins(s + i, n - i, ends[k]);
      if (rc == GOOD) found = k;
      if (rc == GOOD || (rc == MORE && !p->last)) at = i;
    }
  bool keep = p->body_reasoning && p->o.keep_reasoning;
  if (!p->body_dropped)
    myna__parse_tell(p, p->body_reasoning && !keep ? MYNA_DELTA_REASONING : MYNA_DELTA_CONTENT, s, at);
  p->pos += at;
  if (found < 0) return false;
  if (found < 3) p->pos += strlen(ends[found]);
  if (keep) myna__parse_tell(p, MYNA_DELTA_CONTENT, p->f->think_end, strlen(p->f->think_end));
  p->state = IN_HEADER;
  return true;
}
