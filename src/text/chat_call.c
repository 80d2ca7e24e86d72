/* chat_call.c: calls whose arguments are written as one value (JSON objects, names before JSON, Gemma), and what all calls share. Each call is read piece by
 * piece with constant work per byte; its name is told as soon as it is known, its arguments as they come. */
#include "text/chat_parse.h"

typedef myna_chat_parser parser;

/* Phases of a JSON object, of a name before its arguments. */
enum { START, OBJECT_KEY, OBJECT_COLON, OBJECT_VALUE, OBJECT_NEXT, NAME_ARGS, ARGS };

/* ---- what all share ---- */

void myna__call_begin(parser *p, bool bare) {
  myna__call *c = &p->call;
  myna__buf args = c->args, other = c->other;
  args.len = other.len = 0;
  *c = (myna__call){.scheme = p->f->scheme, .bare = bare, .args = args, .other = other};
}

void myna__call_end(parser *p) {
  myna__buf_free(&p->call.args);
  myna__buf_free(&p->call.other);
}

void myna__call_break(parser *p) {
  myna__call *c = &p->call;
  if (c->scheme == MYNA__CALLS_XML || c->scheme == MYNA__CALLS_NESTED || c->scheme == MYNA__CALLS_PYTHON) {
    myna__params_break(p);
  } else if (!c->begun) {
    myna__buf_str(&c->args, "{}");
  } else if (!c->done) {
    myna__value_close(&c->value, &c->args);
  }
  c->done = true;
}

bool myna__call_named(parser *p, const char *name, size_t n) {
  myna__call *c = &p->call;
  if (n == 0 || n > MYNA__CALL_NAME) return false;
  for (size_t i = 0; i < n; i++)
    if (!myna__name_char(name[i])) return false;
  memcpy(c->name, name, n);
  c->name[n] = 0;
  const json_t *f = p->tools ? myna__chat_tool_find(p->tools, c->name) : NULL;
  c->schema = json_object_get(f, "parameters");
  return f || !c->bare || !p->tools;
}

/* Arguments that are written as one object of JSON or in Gemma's signs. */
static int read_args(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  if (!c->begun) {
    size_t at = myna__blanks(s, n);
    *used = at;
    if (at == n) return MORE;
    if (s[at] != '{') return BAD;
    c->begun = true;
    c->value = (myna__value){.dialect = c->scheme == MYNA__CALLS_GEMMA ? MYNA__VALUE_GEMMA : MYNA__VALUE_JSON,
                             .mark = p->f->quote};
  }
  size_t len = 0;
  int rc = myna__value_read(&c->value, s + *used, n - *used, p->last, &len, &c->args);
  *used += len;
  return rc;
}

/* ---- names before arguments ---- */

/* The name, and an id before or behind it, up to the sign where the arguments begin. */
static int read_name(parser *p, const char *s, size_t n, size_t *used) {
  const struct myna__chat_format *f = p->f;
  const char *sep = p->call.scheme == MYNA__CALLS_GEMMA ? "{" : f->sep;
  const char *marks[3] = {sep, f->id_sep, f->id_before};
  size_t from = myna__blanks(s, n), to = from, behind;
  while (to < n && to - from <= MYNA__CALL_NAME && myna__name_char(s[to])) to++;
  if (to - from > MYNA__CALL_NAME) return BAD;
  behind = to;
  if (!myna__blank(sep[0])) behind += myna__blanks(s + to, n - to);
  if (behind == n) return MORE;
  if (f->id_sep && s[behind] == '{' &&
      p->call.phase == START) { /* Mistral's sign before the arguments may be missing */
    *used = behind;
    return myna__call_named(p, s + from, to - from) ? GOOD : BAD;
  }
  for (int i = 0; i < 3; i++) {
    int rc = marks[i] ? myna__begins(s + behind, n - behind, marks[i]) : BAD;
    if (rc == BAD) continue;
    if (rc == MORE) return MORE;
    *used = behind + strlen(marks[i]);
    size_t len = to - from;
    if (i == 2 || (i == 0 && p->call.phase == NAME_ARGS)) { /* an id */
      if (len > MYNA__CALL_NAME) return BAD;
      memcpy(p->call.id, s + from, len);
      p->call.id[len] = 0;
      return i == 0 ? GOOD : MORE;
    }
    if (f->call_ids) {
      memcpy(p->call.id, s + from, len);
      p->call.id[len] = 0;
      if (len > 10 && memcmp(s + from, "functions.", 10) == 0) from += 10, len -= 10;
      const char *colon = memchr(s + from, ':', len);
      if (colon) len = (size_t)(colon - (s + from));
    }
    if (!myna__call_named(p, s + from, len)) return BAD;
    if (i == 0) return GOOD;
    p->call.phase = NAME_ARGS; /* an id follows */
    return MORE;
  }
  return BAD;
}

static int named(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  while (c->phase == START || c->phase == NAME_ARGS) {
    size_t len = 0;
    int rc = read_name(p, s + *used, n - *used, &len);
    if (rc == BAD || (rc == MORE && !len)) return rc;
    *used += len;
    if (rc == MORE) continue;
    if (c->scheme == MYNA__CALLS_GEMMA) *used -= 1; /* the brace belongs to the arguments */
    c->phase = ARGS;
  }
  size_t len = 0;
  int rc = read_args(p, s + *used, n - *used, &len);
  *used += len;
  if (!c->bare || c->begun) myna__parse_tell_call(p);
  return rc;
}

/* ---- JSON objects ---- */

static const char *key_of(const parser *p, int which) {
  const struct myna__chat_format *f = p->f;
  static const char *const usual[] = {"name", "arguments", "id"};
  const char *const own[] = {f->name_key, f->args_key, f->id_key};
  return f->scheme == MYNA__CALLS_JSON && f->name_key ? own[which] : usual[which];
}

static bool is_key(const parser *p, int which, const char *key) {
  const char *own = key_of(p, which);
  if (own && strcmp(own, key) == 0) return true;
  /* What other families say; tests of the names keep texts that are no calls apart. */
  return which == 1 && (strcmp(key, "parameters") == 0 || strcmp(key, "arguments") == 0);
}

static bool by_name_alone(const parser *p) { return p->f->scheme == MYNA__CALLS_JSON && !p->f->name_key; }

/* A member's value that is read as a whole: a name, an id, arguments as a string. */
static int whole_member(parser *p) {
  myna__call *c = &p->call;
  json_t *v = json_loadb(c->other.data, c->other.len, JSON_DECODE_ANY, NULL), *inner = NULL;
  const char *text = json_string_value(v);
  int rc = GOOD;
  if (is_key(p, 0, c->key) && !c->name[0]) {
    rc = text && myna__call_named(p, text, json_string_length(v)) ? GOOD : BAD;
  } else if (c->is_arg) {
    inner = text ? json_loadb(text, json_string_length(v), 0, NULL) : NULL;
    if (!json_is_object(inner) && !json_is_null(v)) rc = BAD;
    myna__value all = {0};
    size_t used;
    if (rc == GOOD && inner) rc = myna__value_read(&all, text, json_string_length(v), true, &used, &c->args);
    if (rc == GOOD && inner) c->begun = c->done = true;
  } else if (is_key(p, 2, c->key) && !c->id[0]) {
    size_t len = text ? json_string_length(v) : c->other.len;
    if (len <= MYNA__CALL_NAME) {
      memcpy(c->id, text ? text : c->other.data, len);
      c->id[len] = 0;
    }
  }
  json_decref(v);
  json_decref(inner);
  c->other.len = 0;
  return rc;
}

/* A call is told when its name is known: bare ones with their arguments, and where the id comes last, then. */
static void tell_json(parser *p, bool whole) {
  const myna__call *c = &p->call;
  if (c->name[0] && (whole || (!p->f->id_last && (!c->bare || c->begun)))) myna__parse_tell_call(p);
}

static int member_value(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  if (c->value.state == 0 && c->value.depth == 0) {
    size_t at = myna__blanks(s, n);
    *used = at;
    if (at == n) return MORE;
    c->is_arg = by_name_alone(p) || (is_key(p, 1, c->key) && !c->begun);
    if (by_name_alone(p) && (c->name[0] || s[at] != '{' || !myna__call_named(p, c->key, strlen(c->key)))) return BAD;
    if (c->is_arg && s[at] == '{') c->begun = true;
    if (c->is_arg && s[at] != '{' && s[at] != '"' && s[at] != 'n') return BAD;
    if (is_key(p, 0, c->key) && s[at] != '"' && !by_name_alone(p)) return BAD;
  }
  bool direct = c->is_arg && c->begun && !c->done;
  size_t len = 0;
  int rc = myna__value_read(&c->value, s + *used, n - *used, false, &len, direct ? &c->args : &c->other);
  *used += len;
  if (rc == GOOD && !direct) rc = whole_member(p);
  if (rc == GOOD && direct) c->done = true;
  if (!direct && !is_key(p, 0, c->key) && !is_key(p, 2, c->key) && !c->is_arg) c->other.len = 0;
  tell_json(p, false);
  return rc;
}

/* The members that a call has: an object with others is no call unless a marker stands before it. */
static bool is_member(const parser *p, const char *key) {
  return is_key(p, 0, key) || is_key(p, 1, key) || is_key(p, 2, key) || strcmp(key, "id") == 0 ||
         strcmp(key, "type") == 0;
}

/* One step of the object; GOOD at its end. */
static int member(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  size_t at = myna__blanks(s, n);
  if (c->phase == OBJECT_VALUE) {
    int rc = member_value(p, s, n, used);
    if (rc != GOOD) return rc;
    c->phase = OBJECT_NEXT;
    return MORE;
  }
  *used = at;
  if (at == n) return MORE;
  switch (c->phase) {
  case OBJECT_KEY:
    if (s[at] == '}') return c->name[0] ? GOOD : BAD;
    if (s[at] != '"') return BAD;
    {
      size_t to = at + 1;
      while (to < n && to - at <= MYNA__CALL_NAME && s[to] != '"' && s[to] != '\\') to++;
      if (to - at > MYNA__CALL_NAME || (to < n && s[to] == '\\')) return BAD;
      *used = at;
      if (to == n) return MORE;
      memcpy(c->key, s + at + 1, to - at - 1);
      c->key[to - at - 1] = 0;
      *used = to + 1;
    }
    c->phase = OBJECT_COLON;
    return c->bare && !is_member(p, c->key) ? BAD : MORE;
  case OBJECT_COLON:
    if (s[at] != ':') return BAD;
    *used = at + 1;
    c->phase = OBJECT_VALUE;
    c->value = (myna__value){0};
    c->is_arg = false;
    return MORE;
  default:
    *used = at + 1;
    if (s[at] == '}') return c->name[0] ? GOOD : BAD;
    c->phase = OBJECT_KEY;
    return s[at] == ',' ? MORE : BAD;
  }
}

/* Up to the brace of the first call, which may stand in a block of code and in a list. */
static int object_start(parser *p, const char *s, size_t n, size_t *used) {
  static const char *const fences[] = {"```json", "```"};
  myna__call *c = &p->call;
  size_t at = myna__blanks(s, n);
  for (int i = 0; i < 2 && !c->fenced; i++) {
    int rc = myna__begins(s + at, n - at, fences[i]);
    if (rc == MORE) return MORE;
    if (rc == BAD) continue;
    c->fenced = true;
    *used = at += strlen(fences[i]);
    at += myna__blanks(s + at, n - at);
  }
  if (at < n && s[at] == '[' && !p->in_array) {
    p->in_array = true;
    *used = ++at;
    at += myna__blanks(s + at, n - at);
  }
  if (at == n) return MORE;
  *used = at + 1;
  return s[at] == '{' ? GOOD : BAD;
}

static int object(parser *p, const char *s, size_t n, size_t *used) {
  myna__call *c = &p->call;
  if (c->phase == START) {
    int rc = object_start(p, s, n, used);
    if (rc != GOOD) return rc;
    c->phase = OBJECT_KEY;
  }
  for (;;) {
    size_t len = 0;
    int phase = c->phase, rc = member(p, s + *used, n - *used, &len);
    *used += len;
    if (rc == BAD) return rc;
    if (rc == GOOD) {
      if (c->bare && !c->begun) return BAD; /* a name alone */
      if (!c->begun) myna__buf_str(&c->args, "{}");
      c->begun = c->done = true;
      tell_json(p, true);
      return GOOD;
    }
    if (phase == c->phase) return MORE; /* no step further */
  }
}

int myna__call_read(parser *p, const char *s, size_t n, size_t *used) {
  *used = 0;
  switch (p->call.scheme) {
  case MYNA__CALLS_JSON: return object(p, s, n, used);
  case MYNA__CALLS_NAMED:
  case MYNA__CALLS_GEMMA: return named(p, s, n, used);
  case MYNA__CALLS_PYTHON: return myna__call_python(p, s, n, used);
  case MYNA__CALLS_XML:
  case MYNA__CALLS_NESTED: return myna__call_params(p, s, n, used);
  case MYNA__CALLS_HARMONY: {
    size_t len = 0;
    int rc = read_args(p, s, n, &len);
    *used = len;
    myna__parse_tell_call(p);
    return rc;
  }
  default: return BAD;
  }
}
