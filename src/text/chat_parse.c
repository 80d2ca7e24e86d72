/* chat_parse.c: the incremental parser of answers. Text is kept until it is certain what it is: content and reasoning go out but for blanks and beginnings
 * of markers at their end, a call when it is complete; what is no legal call becomes content. Decisions never depend on how the text was split. */
#include "text/chat_format.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum state { AT_START, IN_REASONING, IN_CONTENT, IN_HEADER, IN_BODY };
enum { BAD = -1, MORE = 0, GOOD = 1, MAX_NAME = 256 };

struct myna_chat_parser {
  const struct myna__chat_format *f;
  myna_chat_parser_options o;
  enum state state;
  myna__buf in; /* not yet told, from pos on */
  size_t pos, tried;
  bool trim_left, after_call, last, body_reasoning, told;
  char call_name[MAX_NAME + 1]; /* harmony: recipient of the message */
  int n_calls;
  myna_delta *deltas;
  char **texts; /* [2 * n]: text and id of each delta */
  int n, cap;
  bool failed;
};

static bool blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
static size_t blanks(const char *s, size_t n) {
  size_t i = 0;
  while (i < n && blank(s[i])) i++;
  return i;
}
static size_t unblanked(const char *s, size_t n) {
  while (n && blank(s[n - 1])) n--;
  return n;
}

/* Whether s begins with mark; MORE when it is a beginning of mark. */
static int begins(const char *s, size_t n, const char *mark) {
  size_t m = strlen(mark);
  if (n >= m) return memcmp(s, mark, m) == 0 ? GOOD : BAD;
  return memcmp(s, mark, n) == 0 ? MORE : BAD;
}

static void clear(myna_chat_parser *p) {
  for (int i = 0; i < 2 * p->n; i++) myna__strfree(p->texts[i]);
  p->n = 0;
}

static bool room(myna_chat_parser *p) {
  if (p->n < p->cap) return true;
  int cap = p->cap ? 2 * p->cap : 8;
  /* Both or neither: their sizes are known by one number. */
  myna_delta *d = myna__alloc((size_t)cap * sizeof *d);
  char **t = myna__alloc(2 * (size_t)cap * sizeof *t);
  if (!d || !t) {
    myna__free(d, (size_t)cap * sizeof *d);
    myna__free(t, 2 * (size_t)cap * sizeof *t);
    return false;
  }
  if (p->n) memcpy(d, p->deltas, (size_t)p->n * sizeof *d);
  if (p->n) memcpy(t, p->texts, 2 * (size_t)p->n * sizeof *t);
  myna__free(p->deltas, (size_t)p->cap * sizeof *d);
  myna__free(p->texts, 2 * (size_t)p->cap * sizeof *t);
  p->deltas = d;
  p->texts = t;
  p->cap = cap;
  return true;
}

static void tell(myna_chat_parser *p, myna_delta_kind kind, const char *s, size_t n, const char *id) {
  if (n == 0 && kind != MYNA_DELTA_TOOL_CALL) return;
  if (p->failed || !room(p)) {
    p->failed = true;
    return;
  }
  char *text = myna__strndup(s, n), *own = id ? myna__strndup(id, strlen(id)) : NULL;
  if (!text || (id && !own)) {
    p->failed = true;
    myna__strfree(text);
    myna__strfree(own);
    return;
  }
  p->texts[2 * p->n] = text;
  p->texts[2 * p->n + 1] = own;
  bool call = kind == MYNA_DELTA_TOOL_CALL || kind == MYNA_DELTA_ARGUMENTS;
  p->deltas[p->n++] = (myna_delta){kind, call ? p->n_calls - 1 : 0, text, n, own};
}

/* Tells the next n bytes, without the blanks at their left border. */
static void tell_text(myna_chat_parser *p, myna_delta_kind kind, size_t n) {
  const char *s = p->in.data + p->pos;
  size_t skip = p->trim_left ? blanks(s, n) : 0;
  p->pos += n;
  if (skip == n) return;
  p->trim_left = p->after_call = false;
  if (kind == MYNA_DELTA_CONTENT) p->told = true;
  tell(p, kind, s + skip, n - skip, NULL);
}

static void tell_call(myna_chat_parser *p, const char *name, size_t n, const char *id, const char *args) {
  if (p->o.one_tool_call && p->n_calls) return;
  char made[32];
  p->n_calls++;
  snprintf(made, sizeof made, "call_%016llx",
           (unsigned long long)myna__hash(&p->n_calls, sizeof p->n_calls, p->o.id_seed));
  tell(p, MYNA_DELTA_TOOL_CALL, name, n, id && *id ? id : made);
  tell(p, MYNA_DELTA_ARGUMENTS, args, strlen(args), NULL);
}

/* A JSON object or array at s; *used bytes. Errors near the end may be a cut. */
static int load(const char *s, size_t n, json_t **v, size_t *used) {
  json_error_t e;
  *v = json_loadb(s, n, JSON_DISABLE_EOF_CHECK, &e);
  if (*v) {
    *used = (size_t)e.position;
    return GOOD;
  }
  return (size_t)MYNA__MAX(e.position, 0) + 8 < n ? BAD : MORE;
}

static int closed(const myna_chat_parser *p, const char *s, size_t n, size_t *used) {
  const char *close = p->f->close;
  if (!close || !*close) return GOOD;
  for (int pass = 0; pass < 2; pass++) {
    size_t skip = pass ? blanks(s + *used, n - *used) : 0;
    int rc = begins(s + *used + skip, n - *used - skip, close);
    if (rc == GOOD) *used += skip + strlen(close);
    if (rc == GOOD || (rc == MORE && !p->last)) return rc;
  }
  return GOOD; /* models leave it out */
}

static bool named(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!(s[i] >= 'a' && s[i] <= 'z') && !(s[i] >= 'A' && s[i] <= 'Z') && !(s[i] >= '0' && s[i] <= '9') &&
        !strchr("_-.:", s[i]))
      return false;
  return n > 0 && n <= MAX_NAME;
}

/* One object of JSON calls; `only_check` tells nothing. */
static bool json_call(myna_chat_parser *p, json_t *o, bool only_check) {
  const char *name = NULL, *id = NULL;
  json_t *args = NULL;
  if (!json_is_object(o)) return false;
  if (p->f->name_key) {
    name = json_string_value(json_object_get(o, p->f->name_key));
    args = json_object_get(o, p->f->args_key);
    if (!args) args = json_object_get(o, strcmp(p->f->args_key, "parameters") ? "parameters" : "arguments");
    if (p->f->id_key) id = json_string_value(json_object_get(o, p->f->id_key));
  } else if (json_object_size(o) == 1) {
    void *at = json_object_iter(o);
    name = json_object_iter_key(at);
    args = json_object_iter_value(at);
  }
  if (!name || !named(name, strlen(name)) || (args && !json_is_object(args))) return false;
  if (only_check) return true;
  char *text = args ? json_dumps(args, JSON_COMPACT) : NULL;
  if (args && !text) p->failed = true;
  tell_call(p, name, strlen(name), id, text ? text : "{}");
  free(text);
  return true;
}

static int calls_json(myna_chat_parser *p, const char *s, size_t n, size_t *used) {
  size_t at = blanks(s, n), len = 0;
  if (at == n) return MORE;
  json_t *v = NULL;
  int rc = load(s + at, n - at, &v, &len);
  if (rc != GOOD) return rc;
  *used = at + len;
  size_t count = json_is_array(v) ? json_array_size(v) : 1;
  rc = count ? closed(p, s, n, used) : BAD;
  for (int pass = 0; pass < 2 && rc == GOOD; pass++)
    for (size_t i = 0; i < count && rc == GOOD; i++)
      if (!json_call(p, json_is_array(v) ? json_array_get(v, i) : v, pass == 0)) rc = BAD;
  json_decref(v);
  return rc;
}

static int calls_named(myna_chat_parser *p, const char *s, size_t n, size_t *used) {
  const char *sep = memmem(s, n, p->f->sep, strlen(p->f->sep));
  if (!sep || sep - s > MAX_NAME) return !sep && n <= MAX_NAME + 32 ? MORE : BAD;
  char name[MAX_NAME + 1], id[MAX_NAME + 1] = "";
  size_t len = (size_t)(sep - s), at = len + strlen(p->f->sep), json_len = 0;
  memcpy(name, s, len);
  name[len] = 0;
  char *mark = strstr(name, "[CALL_ID]"), *begin = name;
  if (mark) {
    snprintf(id, sizeof id, "%s", mark + strlen("[CALL_ID]"));
    *mark = 0;
  }
  if (p->f->call_ids) {
    snprintf(id, sizeof id, "%s", name);
    if (strncmp(begin, "functions.", 10) == 0) begin += 10;
    begin[strcspn(begin, ":")] = 0;
  }
  if (!named(begin, strlen(begin))) return BAD;
  at += blanks(s + at, n - at);
  if (at == n) return MORE;
  json_t *v = NULL;
  int rc = s[at] == '{' ? load(s + at, n - at, &v, &json_len) : BAD;
  if (rc != GOOD) return rc;
  *used = at + json_len;
  rc = closed(p, s, n, used);
  char *text = rc == GOOD ? json_dumps(v, JSON_COMPACT) : NULL;
  json_decref(v);
  if (rc == GOOD && !text) p->failed = true;
  if (text) tell_call(p, begin, strlen(begin), id, text);
  free(text);
  return rc;
}

/* The value of a parameter: JSON where it is some, else a string. */
static json_t *xml_value(const char *s, size_t n, bool is_string) {
  if (n && s[0] == '\n') s++, n--;
  if (n && s[n - 1] == '\n') n--;
  json_t *v = is_string ? NULL : json_loadb(s, n, JSON_DECODE_ANY, NULL);
  return v ? v : json_stringn(s, n);
}

static int xml_param(const struct myna__chat_format *f, const char *s, size_t n, size_t *at, json_t *args) {
  const char *key = s + *at + strlen(f->param),
             *sep = memmem(key, (size_t)(s + n - key), f->param_sep, strlen(f->param_sep));
  if (!sep) return MORE;
  const char *value = sep + strlen(f->param_sep);
  const char *end = memmem(value, (size_t)(s + n - value), f->param_end, strlen(f->param_end));
  if (!end) return MORE;
  size_t len = (size_t)(sep - key), attr = len;
  for (size_t i = 0; i < len; i++) /* name" string="true */
    if (key[i] == '"' && attr == len) attr = i;
  if (strcmp(f->param, "<arg_key>") == 0) {
    value += blanks(value, (size_t)(end - value));
    if (begins(value, (size_t)(end - value), "<arg_value>") != GOOD) return BAD;
    value += strlen("<arg_value>");
  }
  bool is_string = attr < len && memmem(key + attr, len - attr, "true", 4);
  json_t *v = xml_value(value, (size_t)(end - value), is_string);
  if (!v || json_object_setn_new(args, key, attr, v) != 0) return BAD;
  *at = (size_t)(end - s) + strlen(f->param_end);
  return GOOD;
}

static int calls_xml(myna_chat_parser *p, const char *s, size_t n, size_t *used) {
  const struct myna__chat_format *f = p->f;
  size_t len = 0, at;
  while (len < n && len <= MAX_NAME && named(s + len, 1)) len++;
  if (len == n && len <= MAX_NAME) return MORE;
  if (!named(s, len)) return BAD;
  int rc = begins(s + len, n - len, f->sep);
  if (rc != GOOD) return rc;
  at = len + strlen(f->sep);
  json_t *args = json_object();
  rc = args ? GOOD : BAD;
  while (rc == GOOD) {
    at += blanks(s + at, n - at);
    int end = begins(s + at, n - at, f->close);
    if (end == GOOD) break;
    rc = begins(s + at, n - at, f->param);
    if (end == MORE) rc = MORE;
    if (rc == GOOD) rc = xml_param(f, s, n, &at, args);
  }
  char *text = rc == GOOD ? json_dumps(args, JSON_COMPACT) : NULL;
  if (rc == GOOD) {
    *used = at + strlen(f->close);
    tell_call(p, s, len, NULL, text ? text : "{}");
  }
  free(text);
  json_decref(args);
  return rc;
}

static int call_body(myna_chat_parser *p, const char *s, size_t n, size_t *used) {
  switch (p->f->scheme) {
  case MYNA__CALLS_JSON: return calls_json(p, s, n, used);
  case MYNA__CALLS_NAMED: return calls_named(p, s, n, used);
  case MYNA__CALLS_XML: return calls_xml(p, s, n, used);
  default: return BAD;
  }
}

/* A call at s: marker of the section, of the call, the call. */
static int call_at(myna_chat_parser *p, const char *s, size_t n, bool bare, size_t *used) {
  size_t at = 0, len = 0;
  const char *marks[2] = {p->f->section_open, p->f->open};
  for (int i = 0; i < 2 && !bare; i++) {
    if (!marks[i]) continue;
    size_t skip = i && at ? blanks(s + at, n - at) : 0;
    int rc = begins(s + at + skip, n - at - skip, marks[i]);
    if (rc == MORE) return MORE;
    if (rc == GOOD)
      at += skip + strlen(marks[i]);
    else if (i)
      return BAD;
  }
  int rc = call_body(p, s + at, n - at, &len);
  *used = at + len;
  return rc;
}

/* Where the first of the call's markers starts, or may start: n when nowhere. */
static size_t find_mark(const myna_chat_parser *p, const char *s, size_t n) {
  const char *marks[2] = {p->f->section_open, p->f->open};
  if (!p->o.tools || p->f->scheme == MYNA__CALLS_NONE || p->f->scheme == MYNA__CALLS_HARMONY) return n;
  for (size_t i = 0; i < n; i++)
    for (int k = 0; k < 2; k++)
      if (marks[k] && *marks[k] && s[i] == marks[k][0]) {
        int rc = begins(s + i, n - i, marks[k]);
        if (rc == GOOD || (rc == MORE && !p->last)) return i;
      }
  return n;
}

/* Each step takes something from the text (true) or waits for more. */
static bool step_start(myna_chat_parser *p, const char *s, size_t n) {
  size_t skip = blanks(s, n), tag = unblanked(p->f->think_start, strlen(p->f->think_start));
  p->state = IN_CONTENT;
  if (!tag || p->o.keep_reasoning) return true;
  size_t got = MYNA__MIN(tag, n - skip);
  if (memcmp(s + skip, p->f->think_start, got) != 0) return true;
  if (got < tag) {
    if (!p->last) p->state = AT_START;
    return p->last;
  }
  p->pos += skip + tag;
  p->state = IN_REASONING;
  p->trim_left = true;
  return true;
}

static bool step_reasoning(myna_chat_parser *p, const char *s, size_t n) {
  const char *end = memmem(s, n, p->f->think_end, strlen(p->f->think_end));
  size_t safe = end ? (size_t)(end - s) : n;
  for (size_t i = n - MYNA__MIN(n, strlen(p->f->think_end)); !end && !p->last && i < safe; i++)
    if (begins(s + i, n - i, p->f->think_end) == MORE) safe = i;
  safe = unblanked(s, safe);
  if (safe) tell_text(p, MYNA_DELTA_REASONING, safe);
  if (end) {
    p->pos = (size_t)(end - p->in.data) + strlen(p->f->think_end);
    p->state = IN_CONTENT;
    p->trim_left = true;
  } else if (p->last)
    p->pos = p->in.len;
  return end != NULL;
}

static bool after_call(myna_chat_parser *p, const char *s, size_t n, bool *wait) {
  size_t skip = blanks(s, n);
  const char *end = p->f->section_close;
  int rc = p->after_call && end ? begins(s + skip, n - skip, end) : BAD;
  *wait = rc == MORE && !p->last;
  if (rc == GOOD) p->pos += skip + strlen(end);
  return rc == GOOD;
}

static bool step_content(myna_chat_parser *p, const char *s, size_t n) {
  bool wait, bare = false;
  if (after_call(p, s, n, &wait)) return true;
  if (wait) return false;
  size_t mark = find_mark(p, s, n), skip = blanks(s, n), used = 0;
  if (p->f->bare && p->o.tools && !p->told && mark >= skip) {
    if (skip == n && !p->last) return false;
    bare = skip < n && mark != skip && (p->f->scheme == MYNA__CALLS_JSON ? s[skip] == '{' : named(s + skip, 1));
    if (bare) mark = skip;
  }
  size_t text = unblanked(s, mark);
  if (text == 0 && mark == n && p->last) text = n;
  if (text) {
    if (mark == n && p->last) text = n;
    tell_text(p, MYNA_DELTA_CONTENT, text);
    return true;
  }
  if (mark == n) return false;
  /* Retried only after it grew by an eighth: a long call is not read again for every byte. */
  if (!p->last && n > 4096 && n - MYNA__MIN(n, p->tried) < n / 8) return false;
  p->tried = n;
  int rc = call_at(p, s + mark, n - mark, bare, &used);
  if (rc == MORE && !p->last) return false;
  p->tried = 0;
  if (rc == GOOD) {
    p->pos += mark + used;
    p->after_call = p->trim_left = true;
  } else {
    p->told = true;
    tell_text(p, MYNA_DELTA_CONTENT, mark + 1);
  }
  return true;
}

/* Harmony: the header up to <|message|> says what the body is. */
static bool step_header(myna_chat_parser *p, const char *s, size_t n) {
  const char *end = memmem(s, n, "<|message|>", 11), *to;
  if (!end && n <= 1024 && !p->last) return false;
  p->state = IN_BODY;
  p->body_reasoning = false;
  p->call_name[0] = 0;
  if (!end) return true;
  size_t len = (size_t)(end - s);
  p->body_reasoning = memmem(s, len, "analysis", 8) != NULL;
  if (p->o.tools && (to = memmem(s, len, "to=functions.", 13))) {
    size_t k = 0;
    for (to += 13; to + k < end && k < MAX_NAME && named(to + k, 1); k++) p->call_name[k] = to[k];
    p->call_name[k] = 0;
  }
  p->pos += len + 11;
  return true;
}

static bool step_body(myna_chat_parser *p, const char *s, size_t n) {
  static const char *const ends[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>"};
  size_t at = n, skip = 0;
  for (size_t i = 0; i < n && at == n; i++)
    for (int k = 0; s[i] == '<' && k < 4; k++) {
      int rc = begins(s + i, n - i, ends[k]);
      if (rc == GOOD) skip = strlen(ends[k]);
      if (rc == GOOD || (rc == MORE && !p->last)) at = i;
    }
  bool ended = skip || p->last;
  size_t used = 0;
  json_t *v = NULL;
  if (p->call_name[0] && !ended) return false;
  if (p->call_name[0] && load(s, at, &v, &used) == GOOD && json_is_object(v)) {
    char *text = json_dumps(v, JSON_COMPACT);
    tell_call(p, p->call_name, strlen(p->call_name), NULL, text ? text : "{}");
    free(text);
  } else if (at)
    tell(p, p->body_reasoning && !p->o.keep_reasoning ? MYNA_DELTA_REASONING : MYNA_DELTA_CONTENT, s, at, NULL);
  json_decref(v);
  p->pos += at + skip;
  if (skip) p->state = IN_HEADER;
  return skip != 0;
}

static bool step(myna_chat_parser *p) {
  const char *s = p->in.data + p->pos;
  size_t n = p->in.len - p->pos;
  if (!n) return false;
  switch (p->state) {
  case AT_START: return step_start(p, s, n);
  case IN_REASONING: return step_reasoning(p, s, n);
  case IN_CONTENT: return step_content(p, s, n);
  case IN_HEADER: return step_header(p, s, n);
  default: return step_body(p, s, n);
  }
}

int myna_chat_parser_push(myna_chat_parser *p, const char *text, size_t n, bool last, const myna_delta **deltas,
                          myna_err *err) {
  clear(p);
  *deltas = NULL;
  myna__buf_add(&p->in, text, n);
  p->last = last;
  while (!p->failed && !p->in.failed && step(p)) {}
  if (p->failed || p->in.failed) return myna__err(err, MYNA_E_NOMEM, "no memory for an answer's parts");
  if (p->pos) { /* what was told is not needed any more */
    memmove(p->in.data, p->in.data + p->pos, p->in.len - p->pos);
    p->in.len -= p->pos;
    p->pos = 0;
  }
  *deltas = p->deltas;
  return p->n;
}

int myna__chat_parser_new(myna_chat_parser **out, const struct myna__chat_format *f, const myna_chat_prompt *prompt,
                          const myna_chat_parser_options *o, myna_err *err) {
  myna_chat_parser *p = myna__calloc(sizeof *p);
  *out = p;
  if (!p) return myna__err(err, MYNA_E_NOMEM, "no memory for a parser");
  p->f = f;
  if (o) p->o = *o;
  if (f->scheme == MYNA__CALLS_HARMONY)
    p->state = IN_HEADER;
  else if (prompt && prompt->thinking_open && !p->o.keep_reasoning) {
    p->state = IN_REASONING;
    p->trim_left = true;
  }
  return 0;
}

void myna_chat_parser_free(myna_chat_parser *p) {
  if (!p) return;
  clear(p);
  myna__free(p->deltas, (size_t)p->cap * sizeof *p->deltas);
  myna__free(p->texts, 2 * (size_t)p->cap * sizeof *p->texts);
  myna__buf_free(&p->in);
  myna__free(p, sizeof *p);
}
