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
} myna__chat_caps;

struct myna_chat {
  char *source;       /* "" without a template */
  myna__jinja *jinja; /* NULL without one */
  const struct myna__chat_format *format;
  char *bos, *eos;
  myna__chat_caps caps;
};

/* A conversation as the template gets it. */
typedef struct myna__chat_turn {
  json_t *messages, *tools, *kwargs; /* tools, kwargs: NULL where there are none */
  json_t *final;                     /* of messages: the answer to be continued, or NULL */
} myna__chat_turn;

/* Checks and rewrites what a client sent so that c's template shows it. Free with myna__chat_turn_free, also after a failure. */
int myna__chat_turn_read(const myna_chat *c, const myna_chat_input *in, myna__chat_turn *t, myna_err *err);
void myna__chat_turn_free(myna__chat_turn *t);
/* The text of a message, its parts joined by glue; "" for null. A new reference; NULL: no memory. */
json_t *myna__chat_content(const json_t *message, const char *glue);

/* Renders the template with messages, tools and the variables `more` (both may be NULL), which win. */
int myna__chat_render(const myna_chat *c, const json_t *messages, const json_t *tools, const json_t *more, bool ask,
                      double now, char **text, size_t *text_len, myna_err *err);
/* Fills c->caps. */
void myna__chat_probe(myna_chat *c);

#endif
