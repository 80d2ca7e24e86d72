/* chat_tools.c: the grammar (GBNF) of tool calls: a format's row says what stands around names and arguments, each tool's schema what its arguments are.
 * Rules of tool i start with "tI-". */
#include "engine/chat_tools.h"
#include "engine/chat_args.h"
#include <stdio.h>
#include <stdlib.h>

#define PUT(m, ...) myna__buf_printf(&(m)->b, __VA_ARGS__)

typedef struct myna__args_maker maker;

void myna__args_lit(myna__buf *b, const char *s) {
  myna__buf_str(b, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\')
      myna__buf_printf(b, "\\%c", c);
    else if (c == '\n')
      myna__buf_str(b, "\\n");
    else if (c < ' ' || c == 127)
      myna__buf_printf(b, "\\x%02X", c);
    else
      myna__buf_add(b, s, 1);
  }
  myna__buf_str(b, "\" ");
}
static void lit(maker *m, const char *s) { myna__args_lit(&m->b, s); }

/* A JSON string as its text stands in the answer. */
static int quoted(maker *m, const char *s) {
  json_t *v = json_string(s);
  char *text = v ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
  json_decref(v);
  if (!text) return myna__err(m->err, MYNA_E_NOMEM, "no memory for a grammar");
  lit(m, text);
  free(text);
  return 0;
}

/* ---- one call ---- */

/* How calls of a scheme are written: one row per scheme. */
struct spelling {
  int (*call)(maker *m, int i, const char *name); /* the rule of one call: its name, then rule tI-args */
  const char *marks[2]; /* around the arguments; NULL: the format's sep before them, nothing behind */
  bool loose;           /* newlines may stand between its signs */
  bool list;            /* calls always stand in one list */
};
static const struct spelling spellings[MYNA__CALLS_HARMONY + 1];

static int json_call(maker *m, int i, const char *name) {
  const struct myna__chat_format *f = m->f;
  if (!f->name_key) {
    PUT(m, "\"{\" ");
    TRY(quoted(m, name));
    PUT(m, "\":\" sp t%d-args \"}\"\n", i);
    return 0;
  }
  PUT(m, "\"{\" ");
  if (f->id_key && f->array && !f->id_last && strcmp(f->id_key, "id") != 0) {
    TRY(quoted(m, f->id_key));
    PUT(m, "\":\" sp \"\\\"\" [0-9]+ \"\\\",\" sp ");
  }
  TRY(quoted(m, f->name_key));
  PUT(m, "\":\" sp ");
  TRY(quoted(m, name));
  PUT(m, "\",\" sp ");
  TRY(quoted(m, f->args_key));
  PUT(m, "\":\" sp t%d-args ", i);
  if (f->id_last) {
    PUT(m, "\",\" sp ");
    TRY(quoted(m, f->id_key));
    PUT(m, "\":\" sp \"\\\"\" [a-zA-Z0-9]{9} \"\\\"\" ");
  }
  PUT(m, "\"}\"\n");
  return 0;
}

static int named_call(maker *m, int i, const char *name) {
  const struct myna__chat_format *f = m->f;
  if (f->id_before) {
    PUT(m, "[a-zA-Z0-9_-]{1,64} ");
    lit(m, f->id_before);
  }
  if (f->call_ids) lit(m, "functions.");
  lit(m, name);
  if (f->call_ids) PUT(m, "\":\" [0-9]{1,4} ");
  if (f->id_sep) {
    PUT(m, "(");
    lit(m, f->id_sep);
    PUT(m, "[a-zA-Z0-9]{9})? ");
  }
  lit(m, f->sep);
  PUT(m, "t%d-args\n", i);
  return 0;
}

static int harmony_call(maker *m, int i, const char *name) {
  lit(m, name);
  PUT(m,
      "(\"<|channel|>\" (\"analysis\" | \"commentary\"))? (\" \"? \"<|constrain|>json\")? \"<|message|>\" t%d-args\n",
      i);
  return 0;
}

static int other_call(maker *m, int i, const char *name) {
  const char *const *marks = spellings[m->f->scheme].marks;
  lit(m, name);
  lit(m, marks[0] ? marks[0] : m->f->sep);
  PUT(m, "t%d-args ", i);
  if (marks[1]) lit(m, marks[1]);
  PUT(m, "\n");
  return 0;
}

static const struct spelling spellings[MYNA__CALLS_HARMONY + 1] = {
    [MYNA__CALLS_JSON] = {json_call, .loose = true},
    [MYNA__CALLS_NAMED] = {named_call},
    [MYNA__CALLS_XML] = {other_call},
    [MYNA__CALLS_NESTED] = {other_call},
    [MYNA__CALLS_PYTHON] = {other_call, {"(", ")"}, .loose = true, .list = true},
    [MYNA__CALLS_GEMMA] = {other_call, {"{", "}"}},
    [MYNA__CALLS_HARMONY] = {harmony_call, .loose = true},
};

static int one_tool(maker *m, int i, const json_t *function) {
  const char *name = json_string_value(json_object_get(function, "name"));
  PUT(m, "t%d ::= ", i);
  TRY(spellings[m->f->scheme].call(m, i, name));
  return myna__args_rules(m, i, function);
}

/* ---- all calls ---- */

/* Rule `list`: calls of which `item` is one, joined by what sep spells. */
static void list(maker *m, const char *item, const char *sep, bool one) {
  PUT(m, one ? "%s" : "%s (%s %s)*", item, sep, item);
}

static void around(maker *m, const char *open, const char *body, const char *close) {
  if (open) lit(m, open);
  PUT(m, "nl %s nl ", body);
  if (close && *close) lit(m, close);
}

/* Rule `calls`, whose texts begin with a trigger unless the call may stand bare. */
static void calls(maker *m, bool one) {
  const struct myna__chat_format *f = m->f;
  bool strip = f->close && f->close[0] == '\n';
  if (f->scheme == MYNA__CALLS_HARMONY) {
    /* The recipient may stand before the channel or behind it. */
    PUT(m, "calls ::= \"to=functions.\" any\n");
    return;
  }
  if (spellings[f->scheme].list || (f->scheme == MYNA__CALLS_JSON && f->array)) {
    bool marks = !f->bare, lines = f->scheme == MYNA__CALLS_PYTHON && f->lines;
    PUT(m, "calls ::= ");
    if (f->open && marks) lit(m, f->open);
    PUT(m, lines ? "nl " : "nl \"[\" ws ");
    list(m, "any", lines ? "\"\\n\"" : "\",\" ws", one);
    PUT(m, lines ? " nl " : " ws \"]\" nl ");
    if (f->close && *f->close && marks) lit(m, f->close);
    PUT(m, "\n");
    return;
  }
  PUT(m, "call ::= ");
  if (!spellings[f->scheme].loose) {
    lit(m, f->open);
    PUT(m, "any ");
    if (strip) PUT(m, "nl ");
    if (f->close && *f->close) lit(m, f->close + strip);
    PUT(m, "\n");
  } else {
    around(m, f->bare ? NULL : f->open, "any", f->bare ? NULL : f->close);
    PUT(m, "\n");
  }
  if (f->bare && f->scheme == MYNA__CALLS_NAMED) {
    PUT(m, "calls ::= any%s\n", one ? "" : " call*");
  } else if (f->bare) {
    PUT(m, "calls ::= any\n");
  } else if (f->section_open) {
    PUT(m, "section ::= ");
    lit(m, f->section_open);
    PUT(m, "nl ");
    list(m, "call", "nl", one);
    PUT(m, " nl ");
    if (f->section_close) lit(m, f->section_close);
    /* Models leave the section's sign out at the start. */
    PUT(m, "\nfree ::= ");
    list(m, "call", "nl", one);
    if (f->section_close) {
      PUT(m, " (nl ");
      lit(m, f->section_close);
      PUT(m, ")?");
    }
    PUT(m, one ? "\ncalls ::= section | free\n" : "\ncalls ::= (section | free) (nl section)*\n");
  } else {
    PUT(m, "calls ::= ");
    list(m, "call", "nl", one);
    PUT(m, "\n");
  }
}

/* ---- triggers ---- */

static int add_trigger(maker *m, myna_chat_prompt *out, const char *text, size_t n) {
  char *copy = myna__strndup(text, n);
  size_t size = (size_t)out->n_triggers * sizeof *out->triggers;
  char **list = copy ? myna__realloc(out->triggers, size, size + sizeof *list) : NULL;
  if (!list) {
    myna__strfree(copy);
    return myna__err(m->err, MYNA_E_NOMEM, "no memory for a grammar");
  }
  out->triggers = list;
  out->triggers[out->n_triggers++] = copy;
  return 0;
}

/* What a bare call of this function begins with. */
static int bare_trigger(maker *m, myna_chat_prompt *out, const char *name) {
  myna__buf b = {0};
  const struct myna__chat_format *f = m->f;
  if (f->scheme == MYNA__CALLS_JSON)
    myna__buf_printf(&b, "%s{\"%s\": \"%s\"", f->array ? "[" : "", f->name_key, name);
  else if (f->scheme == MYNA__CALLS_PYTHON)
    myna__buf_printf(&b, "[%s(", name);
  else
    myna__buf_printf(&b, "%s%s{", name, f->sep);
  int rc = b.failed ? myna__err(m->err, MYNA_E_NOMEM, "no memory for a grammar") : add_trigger(m, out, b.data, b.len);
  myna__buf_free(&b);
  return rc;
}

static int set_triggers(maker *m, const json_t *tools, myna_chat_prompt *out) {
  const struct myna__chat_format *f = m->f;
  const char *open = f->scheme == MYNA__CALLS_HARMONY ? "to=functions." : f->open;
  out->grammar_lazy = true;
  if (!f->bare && f->section_open) TRY(add_trigger(m, out, f->section_open, strlen(f->section_open)));
  if (!f->bare) return add_trigger(m, out, open, strlen(open));
  for (size_t i = 0; i < json_array_size(tools); i++) {
    const json_t *fn = myna__chat_tool_function(json_array_get(tools, i));
    TRY(bare_trigger(m, out, json_string_value(json_object_get(fn, "name"))));
  }
  return 0;
}

/* ---- the whole ---- */

static int check_tools(const json_t *tools, myna_err *err) {
  for (size_t i = 0; i < json_array_size(tools); i++) {
    const json_t *fn = myna__chat_tool_function(json_array_get(tools, i)), *p = json_object_get(fn, "parameters");
    const json_t *name = json_object_get(fn, "name");
    if (!json_is_string(name) || !json_string_length(name) || json_string_length(name) > MYNA__CALL_NAME ||
        strlen(json_string_value(name)) != json_string_length(name))
      return myna__err(err, MYNA_E_ARG, "tools[%zu].function.name must be a string of 1 to %d bytes", i,
                       MYNA__CALL_NAME);
    if (p && !json_is_object(p) && !json_is_null(p))
      return myna__err(err, MYNA_E_ARG, "tools[%zu].function.parameters must be an object", i);
  }
  return 0;
}

static int build(maker *m, const json_t *tools, const char *only, bool one, bool lazy) {
  int n = 0;
  for (size_t i = 0; i < json_array_size(tools); i++) {
    const json_t *fn = myna__chat_tool_function(json_array_get(tools, i));
    if (only && strcmp(only, json_string_value(json_object_get(fn, "name"))) != 0) continue;
    m->tool = (int)i;
    TRY(one_tool(m, n, fn));
    n++;
    if (only) break;
  }
  if (n == 0) return myna__err(m->err, MYNA_E_ARG, "tool_choice: no tool has the name %.60s", only ? only : "");
  PUT(m, "any ::= t0");
  for (int i = 1; i < n; i++) PUT(m, " | t%d", i);
  PUT(m, "\nsp ::= \" \"?\nws ::= [ \\n]{0,16}\nnl ::= \"\\n\"?\n");
  calls(m, one);
  /* Reasoning is followed by blank lines. */
  if (!lazy && m->f->scheme == MYNA__CALLS_HARMONY)
    PUT(m, "root ::= \"<|start|>assistant\"? (\" \" | \"<|channel|>commentary \")? calls\n");
  else
    PUT(m, lazy || !m->f->think_end[0] ? "root ::= calls\n" : "root ::= \"\\n\"{0,2} calls\n");
  return m->b.failed ? myna__err(m->err, MYNA_E_NOMEM, "no memory for a grammar") : 0;
}

static void drop_triggers(myna_chat_prompt *out) {
  for (int i = 0; i < out->n_triggers; i++) myna__strfree(out->triggers[i]);
  myna__free(out->triggers, (size_t)out->n_triggers * sizeof *out->triggers);
  out->triggers = NULL;
  out->n_triggers = 0;
  out->grammar_lazy = false;
}

int myna__chat_tools_grammar(const struct myna__chat_format *f, const json_t *tools, myna_tool_choice choice,
                             const char *tool_name, bool one_call, myna_chat_prompt *out, myna_err *err) {
  if (choice == MYNA_TOOLS_NONE || (choice == MYNA_TOOLS_AUTO && json_array_size(tools) == 0)) return 0;
  TRY(check_tools(tools, err));
  bool lazy = choice == MYNA_TOOLS_AUTO;
  if (f->scheme == MYNA__CALLS_NONE) {
    if (lazy) return 0;
    return myna__err(err, MYNA_E_UNSUPPORTED, "tool_choice: the model's template has no tool calls");
  }
  maker m = {.f = f, .err = err};
  const char *only = choice == MYNA_TOOLS_NAMED ? (tool_name ? tool_name : "") : NULL;
  int rc = build(&m, tools, only, one_call || only, lazy);
  if (rc == 0 && lazy) rc = set_triggers(&m, tools, out);
  if (rc == 0 && !(out->grammar = myna__strndup(m.b.data, m.b.len)))
    rc = myna__err(err, MYNA_E_NOMEM, "no memory for a grammar");
  if (rc < 0) drop_triggers(out);
  myna__buf_free(&m.b);
  return rc;
}
