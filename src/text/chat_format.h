/* chat_format.h: how models write reasoning and tool calls: one row per family, found by markers in the template's text, and the incremental parser of
 * answers that a row drives. */
#ifndef MYNA__CHAT_FORMAT_H
#define MYNA__CHAT_FORMAT_H

#include "base/base.h"
#include "myna_chat.h"
#include <jansson.h>

/* How a call is spelled; the row's strings say the rest. */
typedef enum myna__chat_scheme {
  MYNA__CALLS_NONE,
  MYNA__CALLS_JSON,   /* open {"name":..,"arguments":{..}} close, or an array of such objects */
  MYNA__CALLS_NAMED,  /* open [id before] name [id_sep id] sep {arguments} close */
  MYNA__CALLS_XML,    /* open name sep (param key param_sep value param_end)* close: values are text */
  MYNA__CALLS_NESTED, /* open name sep (ns<key>value ns</key>)* close: objects and arrays are elements too */
  MYNA__CALLS_PYTHON, /* open [f(a=1, b='x'), ...] close */
  MYNA__CALLS_GEMMA,  /* open name{key:value,..} close, strings between <|"|> */
  MYNA__CALLS_HARMONY /* messages with channels and recipients */
} myna__chat_scheme;

typedef struct myna__chat_format {
  const char *name;
  const char *marks[3]; /* all of them in the template's text; the first row that fits counts */
  myna__chat_scheme scheme;
  const char *think_start, *think_end;      /* "" where there is none */
  const char *section_open, *section_close; /* around calls; either may be missing in answers, NULL: none */
  const char *open, *close;                 /* of one call; NULL open: the call stands at the start of the content */
  const char *also;                         /* another spelling of open, of older members of the family; NULL: none */
  const char *answer;                       /* a call of this function says that the answer follows: it is none */
  const char *name_key, *args_key, *id_key; /* JSON; name_key NULL: {"f": {arguments}} */
  const char *sep;                          /* NAMED: between name and arguments; XML: after the name */
  const char *id_before, *id_sep;           /* NAMED: what stands between an id before the name and it, and behind it */
  const char *param, *param_sep, *value_open, *param_end; /* XML; NESTED: param is what stands before every tag */
  const char *quote;                                      /* GEMMA: around strings; NULL: <|"|> */
  const char *twin;     /* the row of another spelling of the family, which its models fall back to */
  const char *drop[4];  /* frames of the content that are no part of it */
  bool bare;            /* a call may also stand without open; the name must be a tool's */
  bool array;           /* JSON: the model writes its calls as an array in one open..close */
  bool call_ids;        /* NAMED: the name is functions.NAME:N, the whole is the id */
  bool id_last;         /* JSON: the id stands behind the arguments, so that a call is told when it is whole */
  bool unwrap;          /* XML: a lone parameter `arguments` or `input` may hold all of them as an object */
  bool lines;           /* XML: values stand on lines of their own; PYTHON: calls do, without brackets */
  bool cdata;           /* XML: the model writes some values as CDATA sections */
  bool attr;            /* XML: string="true" or "false" behind the name of a parameter tells its type */
  bool call_ends_think; /* a call within the reasoning ends it */
  bool reopens;         /* the model writes the tag of its reasoning even where the prompt ends with it */
  bool rethink;         /* reasoning may begin anywhere */
} myna__chat_format;

/* The row whose markers template_source holds; the plain one for NULL. Static. */
const struct myna__chat_format *myna__chat_format_find(const char *template_source);

/* Row i of the list, NULL behind its end. */
const struct myna__chat_format *myna__chat_format_row(int i);

enum { MYNA__CALL_NAME = 256 }; /* longest name of a function */

/* ---- tools (chat_type.c) ---- */

/* The function of a tool, which may also stand there without {"type": "function", "function": ..} around it. */
const json_t *myna__chat_tool_function(const json_t *tool);
/* The function of this name, NULL where there is none. */
const json_t *myna__chat_tool_find(const json_t *tools, const char *name);

enum {
  MYNA__TYPE_STRING = 1,
  MYNA__TYPE_OBJECT = 2,
  MYNA__TYPE_ARRAY = 4,
  MYNA__TYPE_NULL = 8,
  MYNA__TYPE_PLAIN = 16 /* numbers and booleans */
};
/* The types that schema allows as a mask, as far as they are easily seen; 0: any. References lead into root. */
unsigned myna__chat_types(const json_t *schema, const json_t *root);
/* What the reference "#/a/b" names within root, NULL where there is nothing; other references are not followed. */
const json_t *myna__chat_follow(const json_t *root, const char *ref);
/* The schema of the property key[0..n) of schema, NULL where it has none. */
const json_t *myna__chat_sub(const json_t *schema, const json_t *root, const char *key, size_t n);

/* ---- prompts ---- */

/* Fills what of out follows from the format: grammar, grammar_lazy, triggers, stop (none), think_start, think_end, thinking_open (from out->text), markers, tools
 * (a copy of in->tools unless the choice is NONE). myna__chat_prompt_lists_free frees them. */
int myna__chat_format_prompt(const struct myna__chat_format *f, const myna_chat_input *in, myna_chat_prompt *out,
                             myna_err *err);
/* Frees and clears grammar, triggers, stop, markers and tools of p; not its text or answer_prefix. */
void myna__chat_prompt_lists_free(myna_chat_prompt *p);

/* ---- answers (chat_parse.c) ---- */

/* The parser of answers to p by its format; p and o may be NULL. Of p it uses thinking_open, text, tools and answer_prefix, and copies what it keeps. */
int myna__chat_parser_new(myna_chat_parser **out, const struct myna__chat_format *f, const myna_chat_prompt *p,
                          const myna_chat_parser_options *o, myna_err *err);

#endif
