/* chat.h: what a conversation's files share: the compiled template and what it can do; private to chat*.c. */
#ifndef MYNA__CHAT_H
#define MYNA__CHAT_H

#include "text/chat_format.h"
#include "text/jinja.h"

/* What a template makes of messages, found by rendering small ones. */
typedef struct myna__chat_caps {
  bool system_role;      /* a system message is shown */
  bool typed_content;    /* parts of content are shown like their text */
  bool only_typed;       /* text that is no list of parts is not shown */
  bool object_arguments; /* arguments of calls as objects */
  bool string_arguments; /* as JSON text; neither: calls are not shown */
  bool null_content;     /* a call is shown only if the content is null */
  bool tools;            /* tools are shown */
  bool results;          /* messages of tools are shown */
  bool absent_tools;     /* where there are no tools the variable must not be there: none is not taken */
} myna__chat_caps;

struct myna_chat {
  char *source;       /* "" without a template */
  myna__jinja *jinja; /* NULL without one */
  const struct myna__chat_format *format;
  const struct myna__chat_format *plain_calls; /* the format of calls that the template cannot show */
  char *bos, *eos;
  myna__chat_caps caps;
  struct myna_chat *with_tools; /* the file's other template, for requests with tools, or NULL */
};
static inline bool myna__chat_shows_calls(const myna_chat *c) {
  return c->caps.object_arguments || c->caps.string_arguments;
}

/* A conversation as the template gets it. */
typedef struct myna__chat_turn {
  json_t *messages, *tools, *kwargs; /* tools, kwargs: NULL where there are none */
  json_t *final;                     /* of messages: the answer to be continued, or NULL */
} myna__chat_turn;

/* Checks and rewrites what a client sent so that c's template shows it. Free with myna__chat_turn_free, also after a failure. */
int myna__chat_turn_read(const myna_chat *c, const myna_chat_input *in, myna__chat_turn *t, myna_err *err);
void myna__chat_turn_free(myna__chat_turn *t);
/* A copy of tools with what templates take for granted: descriptions, parameters, what objects and lists hold. NULL: no memory. */
json_t *myna__chat_tools_filled(const json_t *tools);
/* Leaves of t's tools those that may be called. For when the template has shown all. */
int myna__chat_turn_allow(const myna_chat_input *in, myna__chat_turn *t, myna_err *err);
/* The text of a message, its parts joined by glue; "" for null. A new reference; NULL: no memory. */
json_t *myna__chat_content(const json_t *message, const char *glue);

/* Renders the template with messages, tools and the variables `more` (both may be NULL), which win. */
int myna__chat_render(const myna_chat *c, const json_t *messages, const json_t *tools, const json_t *more, bool ask,
                      double now, char **text, size_t *text_len, myna_err *err);
/* Whether calls are written as plain_calls has them: the template neither shows nor describes any. */
static inline bool myna__chat_is_plain(const myna_chat *c) {
  return c->jinja && !myna__chat_shows_calls(c) && c->format->scheme == MYNA__CALLS_NONE;
}

/* What a template cannot show of tools becomes text: their list in the system's message, calls in the assistant's, results in the user's. */
int myna__chat_tools_as_text(const myna_chat *c, myna__chat_turn *t, myna_err *err);
/* How calls are written in that case. */
const struct myna__chat_format *myna__chat_plain_calls(const struct myna__chat_format *own);
/* Fills c->caps. */
void myna__chat_probe(myna_chat *c);

#endif
