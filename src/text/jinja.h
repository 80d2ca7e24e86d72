/* jinja.h: the Jinja engine: templates compiled once, rendered any number of times, on any threads.
 * Source: the template designer documentation of Jinja2 3.1 and transformers' chat template environment (trim_blocks, lstrip_blocks, loop controls,
 * tojson that escapes no HTML). Safe on untrusted templates and contexts: bounded in time, memory and depth. */
#ifndef MYNA__JINJA_H
#define MYNA__JINJA_H

#include "base/base.h"
#include "myna_chat.h"
#include <jansson.h>

typedef struct myna__jinja myna__jinja;

/* MYNA_E_FORMAT with the line where the template is malformed. Immutable then. */
int myna__jinja_compile(myna__jinja **out, const char *source, size_t n, const myna_template_limits *limits,
                        myna_err *err);
void myna__jinja_free(myna__jinja *t);
/* *text as of myna_template_render. `now` is what strftime_now shows (seconds since 1970; 0: the clock). */
int myna__jinja_render(const myna__jinja *t, const json_t *context, double now, const myna_template_limits *limits,
                       char **text, size_t *text_len, myna_err *err);
/* A copy of p[n] that myna_chat_free_text frees, NUL-terminated; NULL on failure. */
char *myna__jinja_text(const char *p, size_t n);

#endif
