/* chat_parse.c: the incremental parser of answers. What is certain is told at once; blanks and beginnings of markers at the end are held back. A call may turn out
 * to be none until its name is told: up to there the text is kept, and becomes content. Decisions never depend on how the text was split, the work
 * per byte is bounded: held text is short, calls are read in one pass, and after MAX_FAILED texts that began like calls no more are looked for. */
#include "text/chat_parse.h"

typedef myna_chat_parser parser;
enum { MAX_BLANKS = 256, MAX_FAILED = 1000 };

/* ---- text ---- */

/* Tells the next n bytes, without the blanks at their left border where those are trimmed. */
static void tell_text(parser *p, myna_delta_kind kind, size_t n) {
  const char *s = p->in.data + p->pos;
  size_t skip = p->trim_left ? myna__blanks(s, n) : 0;
  p->pos += n;
  if (skip == n) return;
  p->trim_left = false;
  if (kind == MYNA_DELTA_CONTENT) p->told = true;
  myna__parse_tell(p, kind, s + skip, n - skip);
}

/* How much of s[0..n), behind which something other than text follows or may follow, is told now: blanks at its end wait, unless there are too many. */
static size_t ripe(parser *p, const char *s, size_t n) {
  size_t text = myna__unblanked(s, n);
  if (text) p->long_blank = false;
  if (n - text > MAX_BLANKS) p->long_blank = true;
  return p->long_blank ? n : text;
}

/* ---- reasoning ---- */

static bool has_tools(const parser *p) {
  return p->o.tools && p->f->scheme != MYNA__CALLS_NONE && p->n_failed < MAX_FAILED;
}

static bool step_start(parser *p, const char *s, size_t n) {
  const char *start = p->f->think_start, *end = p->f->think_end;
  size_t skip = myna__blanks(s, n), tag = myna__unblanked(start, strlen(start));
  if (skip == n && !p->last && n <= MAX_BLANKS) return false;
  if (tag && skip < n) {
    size_t got = MYNA__MIN(tag, n - skip);
    bool begun = memcmp(s + skip, start, got) == 0;
    int closes = p->o.keep_reasoning ? BAD : myna__begins(s + skip, n - skip, end);
    if (((begun && got < tag) || closes == MORE) && !p->last) return false;
    if (begun && got == tag) {
      p->state = IN_REASONING;
      if (p->o.keep_reasoning) return true;
      p->pos += skip + tag;
      p->trim_left = true;
      return true;
    }
    if (closes == GOOD) {
      p->reopen = false;
      p->pos += skip + strlen(end);
      p->trim_left = true;
    }
  }
  p->state = p->reopen ? IN_REASONING : IN_CONTENT;
  p->reopen = false;
  return true;
}

/* Where the first of marks[0..n_marks) starts in s[from..n), or may start: n when nowhere. *which of them (the longest), -1 when it only may. */
static size_t find(const parser *p, const char *s, size_t n, const char *const *marks, int n_marks, int *which) {
  bool first[256] = {false};
  for (int k = 0; k < n_marks; k++) first[(uint8_t)marks[k][0]] = true;
  *which = -1;
  for (size_t i = 0; i < n; i++) {
    if (!first[(uint8_t)s[i]]) continue;
    bool may = false;
    for (int k = 0; k < n_marks; k++) {
      int rc = myna__begins(s + i, n - i, marks[k]);
      if (rc == GOOD && (*which < 0 || strlen(marks[k]) > strlen(marks[*which]))) *which = k;
      may |= rc == MORE && !p->last;
    }
    if (may) *which = -1; /* a longer one may follow */
    if (may || *which >= 0) return i;
  }
  return n;
}

/* A call begins at s + at, behind `blank` bytes that are content should it be none. */
static void begin_candidate(parser *p, size_t blanks, size_t mark_len, bool section) {
  p->mark = p->pos;
  p->mark_len = blanks + mark_len;
  p->marked = true;
  p->pos += blanks + mark_len;
  p->in_array = p->closed = false;
  p->from_reasoning = p->state == IN_REASONING;
  p->state = section ? IN_OPEN : IN_CALL;
  myna__call_begin(p, false);
}

static bool step_reasoning(parser *p, const char *s, size_t n) {
  const char *marks[3];
  int n_marks = 0, which;
  bool keep = p->o.keep_reasoning;
  marks[n_marks++] = p->f->think_end;
  if (p->f->call_ends_think && has_tools(p)) {
    if (p->f->section_open) marks[n_marks++] = p->f->section_open;
    if (p->f->open) marks[n_marks++] = p->f->open;
  }
  size_t at = find(p, s, n, marks, n_marks, &which), text = keep ? at : ripe(p, s, at);
  if (which < 0 && p->last) text = keep ? n : myna__unblanked(s, n);
  if (text) tell_text(p, keep ? MYNA_DELTA_CONTENT : MYNA_DELTA_REASONING, text);
  if (which < 0) {
    if (p->last) p->pos = p->in.len;
    return false;
  }
  if (which > 0) {
    begin_candidate(p, at - text, strlen(marks[which]), p->f->section_open && which == 1);
    return true;
  }
  p->pos += at - text + (keep ? 0 : strlen(p->f->think_end));
  if (keep) tell_text(p, MYNA_DELTA_CONTENT, strlen(p->f->think_end));
  p->trim_left = !keep;
  p->state = IN_CONTENT;
  return true;
}

/* ---- content ---- */

/* Marks of the content: calls first, then reasoning, then frames. */
enum { SECTION, OPEN, ALSO, BARE, BARE_LIST, BARE_CODE, THINK, DROP, N_MARKS = DROP + 4 };

static int content_marks(const parser *p, const char *marks[N_MARKS], int kinds[N_MARKS]) {
  const struct myna__chat_format *f = p->f;
  int n = 0;
  bool calls = has_tools(p) && f->scheme != MYNA__CALLS_HARMONY;
  if (calls && f->section_open) kinds[n] = SECTION, marks[n++] = f->section_open;
  if (calls && f->open && f->open[0]) kinds[n] = OPEN, marks[n++] = f->open;
  if (calls && f->also) kinds[n] = ALSO, marks[n++] = f->also;
  /* Behind text a call without marker is one if its name is a tool's. */
  bool bare = calls && f->bare && p->tools;
  if (bare && f->scheme == MYNA__CALLS_JSON) kinds[n] = BARE, marks[n++] = "{";
  if (bare && f->scheme == MYNA__CALLS_JSON) kinds[n] = BARE_CODE, marks[n++] = "```json";
  if (bare && f->scheme != MYNA__CALLS_NAMED) kinds[n] = BARE_LIST, marks[n++] = "[";
  static const char gemma_think[] = "<|channel>thought";
  if (f->rethink && !p->o.keep_reasoning) kinds[n] = THINK, marks[n++] = gemma_think;
  for (size_t i = 0; i < MYNA__COUNT(f->drop) && f->drop[i]; i++) {
    bool tag = strcmp(f->drop[i], f->think_end) == 0 || strncmp(f->think_start, f->drop[i], strlen(f->drop[i])) == 0;
    if (!(tag && p->o.keep_reasoning)) kinds[n] = DROP, marks[n++] = f->drop[i];
  }
  return n;
}

/* What stands behind `blanks` bytes may be a call without marker. */
static void begin_bare(parser *p, size_t blanks) {
  begin_candidate(p, blanks, 0, false);
  p->mark_len = blanks + 1;
  p->call.bare = true;
}

/* A call without marker at the start of the content: whether s[0..n) may be one. */
static int bare_at(parser *p, const char *s, size_t n) {
  if (!p->f->bare || p->told) return BAD;
  size_t skip = myna__blanks(s, n);
  if (skip == n) return p->last ? BAD : MORE;
  const char *frame = p->f->drop[0]; /* functionary: ">>>all\n", of which the prompt holds the first part */
  if (p->f->scheme == MYNA__CALLS_NAMED && frame) {
    int rc = myna__begins(s, n, frame + strlen(p->f->open));
    if (rc == GOOD) {
      p->pos += strlen(frame) - strlen(p->f->open);
      p->told = true;
      return GOOD;
    }
    if (rc == MORE) return p->last ? BAD : MORE;
  }
  if (!has_tools(p)) return BAD;
  char c = s[skip];
  bool may = p->f->scheme == MYNA__CALLS_JSON     ? c == '{' || c == '['
             : p->f->scheme == MYNA__CALLS_PYTHON ? c == '['
                                                  : myna__name_char(c);
  if (!may) return BAD;
  begin_bare(p, skip);
  return GOOD;
}

static bool step_content(parser *p, const char *s, size_t n) {
  const char *marks[N_MARKS];
  int kinds[N_MARKS], which, n_marks = content_marks(p, marks, kinds);
  int bare = bare_at(p, s, n);
  if (bare != BAD) return bare == GOOD;
  size_t at = find(p, s, n, marks, n_marks, &which);
  bool end = which < 0 && p->last;
  size_t text = end ? n : ripe(p, s, at);
  /* Blanks before a frame are told with what follows it. */
  if (which >= 0 && kinds[which] == DROP) text = at;
  if (text) tell_text(p, MYNA_DELTA_CONTENT, text);
  if (which < 0) return false;
  size_t len = strlen(marks[which]);
  switch (kinds[which]) {
  case BARE:
  case BARE_LIST:
  case BARE_CODE: begin_bare(p, at - text); return true;
  case SECTION:
  case OPEN:
  case ALSO: begin_candidate(p, at - text, len, kinds[which] == SECTION); return true;
  case THINK:
    p->state = IN_REASONING;
    p->trim_left = true;
    p->pos += at - text + len;
    return true;
  default: p->pos += len; return true;
  }
}

/* ---- calls ---- */

/* What was read of a call is content. */
static bool no_call(parser *p) {
  if (p->call.phase > (p->call.bare ? 1 : 0)) p->n_failed++;
  p->marked = false;
  p->pos = p->mark;
  p->in_array = false;
  p->state = p->from_reasoning ? IN_REASONING : IN_CONTENT;
  if (!p->from_reasoning) p->told = true;
  tell_text(p, p->from_reasoning ? MYNA_DELTA_REASONING : MYNA_DELTA_CONTENT, p->mark_len);
  return true;
}

static bool wait_or_fail(parser *p) { return p->last ? no_call(p) : false; }

static const struct myna__chat_format *twin_of(const parser *p) {
  const struct myna__chat_format *f = NULL;
  for (int i = 0; p->f->twin && (f = myna__chat_format_row(i)) && strcmp(f->name, p->f->twin) != 0; i++) {}
  return f && !myna__chat_tool_find(p->tools, "function") ? f : NULL;
}

/* Whether s begins with a call's sign, the family's other one too: the answer goes on in that spelling. The longer one counts. */
static int opened(parser *p, const char *s, size_t n) {
  const struct myna__chat_format *twin = twin_of(p);
  int own = myna__begins(s, n, p->f->open), other = twin ? myna__begins(s, n, twin->open) : BAD;
  bool longer = twin && strlen(twin->open) > strlen(p->f->open);
  if (p->last && own == MORE) own = BAD;
  if (p->last && other == MORE) other = BAD;
  if (other == GOOD && (longer || own == BAD)) {
    p->f = twin;
    return GOOD;
  }
  if (own == GOOD && !(longer && other == MORE)) return GOOD;
  return own == BAD && other == BAD ? BAD : MORE;
}

/* Behind the marker of a section: that of a call, or a call in JSON where a model falls back to it. */
static bool step_open(parser *p, const char *s, size_t n) {
  size_t skip = myna__blanks(s, n);
  if (skip == n) return wait_or_fail(p);
  int rc = opened(p, s + skip, n - skip);
  if (rc == MORE) return wait_or_fail(p);
  if (rc == GOOD)
    p->pos += skip + strlen(p->f->open);
  else if (s[skip] == '{')
    p->call.scheme = MYNA__CALLS_JSON;
  else
    return no_call(p);
  p->state = IN_CALL;
  return true;
}

/* Spellings of other families that some models fall back to. */
static bool other_scheme(parser *p, const char *s, size_t n) {
  const struct myna__chat_format *f = p->f;
  size_t skip = myna__blanks(s, n);
  if (p->call.phase || p->call.bare || p->call.scheme != f->scheme) return true;
  if (skip == n) return false;
  char c = s[skip];
  bool tags = f->scheme == MYNA__CALLS_XML && strcmp(f->open, "<tool_call>") == 0;
  if ((c == '{' && tags) || ((c == '{' || c == '[') && f->scheme == MYNA__CALLS_NAMED && f->id_sep))
    p->call.scheme = MYNA__CALLS_JSON;
  if (f->scheme == MYNA__CALLS_JSON && f->id_sep && myna__name_char(c)) p->call.scheme = MYNA__CALLS_NAMED;
  if (f->scheme == MYNA__CALLS_JSON && f->bare && c != '{' && c != '[') p->call.scheme = MYNA__CALLS_PYTHON;
  if (f->scheme == MYNA__CALLS_PYTHON && !p->in_array) {
    size_t next = skip + (c == '[');
    next += myna__blanks(s + next, n - next);
    if (next == n) return false;
    if (s[next] == '{') p->call.scheme = MYNA__CALLS_JSON;
  }
  return true;
}

static bool step_call(parser *p, const char *s, size_t n) {
  bool harmony = p->f->scheme == MYNA__CALLS_HARMONY;
  size_t used = 0;
  int rc = other_scheme(p, s, n) ? myna__call_read(p, s, n, &used) : MORE;
  p->pos += used;
  if (p->call.told) p->marked = false;
  if (rc == MORE) return p->last && !p->call.told ? no_call(p) : false;
  if (rc == BAD && !p->call.told) return no_call(p);
  const char *word;
  size_t n_word = rc == BAD ? myna__value_word(&p->call.value, &word) : 0;
  if (rc == BAD) {
    myna__call_break(p);
    p->in_array = false;
  }
  myna__parse_tell_call(p);
  if (n_word) myna__parse_tell(p, MYNA_DELTA_CONTENT, word, n_word);
  p->marked = false;
  p->state = harmony ? IN_BODY : AFTER_CALL;
  p->body_reasoning = p->body_dropped = false;
  p->trim_left = !n_word;
  return true;
}

/* What may follow a call: more of the list, closing signs, or anything else. */
static bool step_after(parser *p, const char *s, size_t n) {
  const struct myna__chat_format *f = p->f;
  size_t skip = myna__blanks(s, n);
  if (skip == n) {
    if (p->last) p->pos = p->in.len;
    return false;
  }
  char c = s[skip];
  bool line = p->in_array && p->call.scheme == MYNA__CALLS_PYTHON && f->lines && myna__name_char(c);
  /* Objects that follow one another between one pair of signs. */
  bool more = c == '{' && p->call.scheme == MYNA__CALLS_JSON && !p->call.bare && f->close && *f->close && !p->closed;
  line |= more;
  if (more || (p->in_array && (c == ',' || c == ']' || line))) {
    p->in_array &= c != ']';
    p->pos += skip + !line;
    if (c == ']') return true;
    p->mark = p->pos - !line;
    p->mark_len = 1;
    p->marked = true;
    p->state = IN_CALL;
    bool bare = p->call.bare, fenced = p->call.fenced;
    myna__chat_scheme scheme = p->call.scheme;
    myna__call_begin(p, bare);
    p->call.scheme = scheme;
    p->call.fenced = fenced;
    return true;
  }
  const char *ends[3] = {f->close, f->section_close, p->call.fenced ? "```" : NULL};
  bool wait = false;
  for (int i = 0; i < 3; i++) {
    const char *end = ends[i] ? ends[i] + myna__blanks(ends[i], strlen(ends[i])) : "";
    int rc = *end ? myna__begins(s + skip, n - skip, end) : BAD;
    wait |= rc == MORE && !p->last;
    if (rc != GOOD) continue;
    p->pos += skip + strlen(end);
    p->in_array = false;
    p->closed = true;
    return true;
  }
  if (wait) return false;
  bool listed = p->call.bare || p->call.scheme == MYNA__CALLS_JSON;
  if (f->bare && listed && (c == ';' || c == ',')) {
    p->pos += skip + 1;
    return true;
  }
  p->in_array = false;
  p->state = IN_CONTENT;
  if (p->call.bare || (f->bare && listed)) p->told = false;
  return true;
}

/* ---- the whole ---- */

/* Each step takes something from the text (true) or waits for more. */
static bool step(parser *p) {
  const char *s = p->in.data + p->pos;
  size_t n = p->in.len - p->pos;
  if (!n && !(p->last && p->marked)) return false;
  switch (p->state) {
  case AT_START: return step_start(p, s, n);
  case IN_REASONING: return step_reasoning(p, s, n);
  case IN_CONTENT: return step_content(p, s, n);
  case IN_OPEN: return step_open(p, s, n);
  case IN_CALL: return step_call(p, s, n);
  case AFTER_CALL: return step_after(p, s, n);
  case IN_HEADER: return myna__parse_header(p, s, n);
  default: return myna__parse_body(p, s, n);
  }
}

int myna_chat_parser_push(myna_chat_parser *p, const char *text, size_t n, bool last, const myna_delta **deltas,
                          myna_err *err) {
  if (!p->fresh) myna__parse_clear(p);
  p->fresh = false;
  *deltas = NULL;
  myna__buf_add(&p->in, text, n);
  p->last = last;
  while (!p->failed && !p->in.failed && step(p)) {}
  p->failed |= p->in.failed || p->call.args.failed || p->call.other.failed;
  if (p->failed) return myna__err(err, MYNA_E_NOMEM, "no memory for an answer's parts");
  size_t done = p->marked ? p->mark : p->pos; /* what was told is not needed any more */
  if (done) {
    memmove(p->in.data, p->in.data + done, p->in.len - done);
    p->in.len -= done;
    p->pos -= done;
    p->mark -= p->marked ? done : p->mark;
  }
  *deltas = p->deltas;
  return p->n;
}

/* The tag that the prompt ends with, as it stands there, belongs to a content that keeps its reasoning. */
static void tell_open_tag(parser *p, const myna_chat_prompt *prompt) {
  if (!prompt->text || !prompt->text_len) return;
  size_t n = prompt->text_len, tag = strlen(p->f->think_start), end = myna__unblanked(prompt->text, n);
  tag = myna__unblanked(p->f->think_start, tag);
  if (end < tag || memcmp(prompt->text + end - tag, p->f->think_start, tag) != 0) return;
  myna_delta_kind kind = p->o.keep_reasoning ? MYNA_DELTA_CONTENT : MYNA_DELTA_REASONING;
  myna__parse_tell(p, kind, prompt->text + end - tag, n - (end - tag));
  p->fresh = true;
}

int myna__chat_parser_new(myna_chat_parser **out, const struct myna__chat_format *f, const myna_chat_prompt *prompt,
                          const myna_chat_parser_options *o, myna_err *err) {
  parser *p = myna__calloc(sizeof *p);
  *out = p;
  if (!p) return myna__err(err, MYNA_E_NOMEM, "no memory for a parser");
  p->f = f;
  if (o) p->o = *o;
  if (p->o.tools && prompt && prompt->tools) p->tools = json_loads(prompt->tools, 0, NULL);
  if (f->scheme == MYNA__CALLS_HARMONY) {
    p->state = IN_HEADER;
  } else if (prompt && prompt->thinking_open) {
    p->state = f->reopens && !p->o.keep_reasoning ? AT_START : IN_REASONING;
    p->reopen = p->state == AT_START;
    p->trim_left = !p->o.keep_reasoning;
    /* A phrase that leads the reasoning in is part of it, unlike a tag. */
    bool phrase = f->think_start[0] != '<' && f->think_start[0] != '[';
    if (p->o.keep_reasoning || phrase) tell_open_tag(p, prompt);
  }
  return 0;
}

void myna_chat_parser_free(myna_chat_parser *p) {
  if (!p) return;
  myna__parse_clear(p);
  myna__free(p->deltas, (size_t)p->cap * sizeof *p->deltas);
  myna__free(p->texts, 2 * (size_t)p->cap * sizeof *p->texts);
  myna__call_end(p);
  json_decref(p->tools);
  myna__buf_free(&p->in);
  myna__free(p, sizeof *p);
}
