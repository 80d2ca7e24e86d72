/* chat_format.h: how models write reasoning and tool calls: one row per family, found by markers in the template's text, and the incremental parser of
 * answers that a row drives. */
#ifndef MYNA__CHAT_FORMAT_H
#define MYNA__CHAT_FORMAT_H

#include "base/base.h"
#include "myna_chat.h"

/* How a call is spelled; the row's strings say the rest. */
typedef enum myna__chat_scheme {
  MYNA__CALLS_NONE,
  MYNA__CALLS_JSON,   /* open {"name":..,"arguments":{..}} close, or an array of such objects */
  MYNA__CALLS_NAMED,  /* open name sep {arguments} close */
  MYNA__CALLS_XML,    /* open name name_end (param key key_end value value_end)* close: values are text */
  MYNA__CALLS_PYTHON, /* open [f(a=1, b='x'), ...] close */
  MYNA__CALLS_GEMMA,  /* open call:name{key:value,..} close, strings between <|"|> */
  MYNA__CALLS_HARMONY /* messages with channels and recipients */
} myna__chat_scheme;

typedef struct myna__chat_format {
  const char *name;
  const char *marks[3]; /* all of them in the template's text; the first row that fits counts */
  myna__chat_scheme scheme;
  const char *think_start, *think_end;      /* NULL: decided by the template's text, "" none */
  const char *section_open, *section_close; /* around all calls; either may be missing in answers, NULL: none */
  const char *open, *close; /* of one call; NULL open: none, the call stands at the start of the content */
  const char *name_key, *args_key, *id_key;  /* JSON; name_key NULL: {"f": {arguments}} */
  const char *sep;                           /* NAMED: between name and arguments; XML: after the name */
  const char *param, *param_sep, *param_end; /* XML */
  bool bare;                                 /* a call may also stand at the content's start without open */
  bool call_ids;                             /* NAMED: the name is functions.NAME:N, the whole is the id */
} myna__chat_format;

/* The row whose markers template_source holds; the plain one for NULL. Static. */
const struct myna__chat_format *myna__chat_format_find(const char *template_source);

/* Row i of the list, NULL behind its end. */
const struct myna__chat_format *myna__chat_format_row(int i);

/* Fills what of out follows from the format: grammar, grammar_lazy, triggers, stop, think_start, think_end, thinking_open (from out->text). The lists are
 * allocated so that myna__chat_prompt_lists_free frees them. */
int myna__chat_format_prompt(const struct myna__chat_format *f, const myna_chat_input *in, myna_chat_prompt *out,
                             myna_err *err);
/* Frees and clears grammar, triggers and stop of p; not its text or answer_prefix. */
void myna__chat_prompt_lists_free(myna_chat_prompt *p);

/* The parser by its format; o may be NULL. thinking_open: the prompt ends inside of the reasoning. */
int myna__chat_parser_new(myna_chat_parser **out, const struct myna__chat_format *f, bool thinking_open,
                          const myna_chat_parser_options *o, myna_err *err);

#endif
