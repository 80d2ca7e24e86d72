/* myna_chat.h: conversations as text: chat templates, and what models write back (reasoning, tool calls).
 *
 * JSON goes in and out as text in the shapes of OpenAI's chat API. Everything here is immutable after it was made or belongs to one thread, takes
 * untrusted input, and is bounded in time, depth and memory. */
#ifndef MYNA_CHAT_H
#define MYNA_CHAT_H

#include "myna.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct myna_chat myna_chat;
typedef struct myna_chat_parser myna_chat_parser;

/* ---- templates: Jinja as jinja2 renders it for transformers (trim_blocks, lstrip_blocks, loop controls) ---- */

typedef struct myna_template_limits {
  int64_t max_ms;    /* 0: 1000 */
  int64_t max_bytes; /* of memory in use, text included; 0: 64 MiB */
  int max_depth;     /* of nested calls, loops and expressions; 0: 200 */
} myna_template_limits;

/* Renders template source[0..n) with the variables of the JSON object context[0..context_len). *text is NUL-terminated, *text_len bytes without it;
 * the caller frees it with myna_chat_free_text. Errors: MYNA_E_FORMAT (syntax, with line), MYNA_E_ARG (raise_exception, wrong types, undefined
 * values, with line), MYNA_E_LIMIT. Thread-safe. */
MYNA_API int myna_template_render(const char *source, size_t n, const char *context, size_t context_len,
                                  const myna_template_limits *limits, char **text, size_t *text_len, myna_err *err);
MYNA_API void myna_chat_free_text(char *text);

/* ---- a model's way of conversing ---- */

typedef struct myna_chat_options {
  const char
      *template_source;  /* NULL: the model's; Jinja source, or the name of a built-in one (chatml, llama2, ...) */
  const char *bos, *eos; /* NULL: the model's, as text */
} myna_chat_options;
/* The template, compiled, and how a model with it writes reasoning and tool calls, found from its text. m may be NULL when template_source is given.
 * Without any template messages are joined (myna_chat_has_template tells). Immutable, thread-safe; free with myna_chat_free. */
MYNA_API int myna_chat_new(myna_chat **out, const myna_model *m, const myna_chat_options *o, myna_err *err);
MYNA_API void myna_chat_free(myna_chat *c);
MYNA_API bool myna_chat_has_template(const myna_chat *c);
MYNA_API const char *myna_chat_source(const myna_chat *c); /* "" without one; borrowed */
MYNA_API const char *myna_chat_format(const myna_chat *c); /* name of the answer format's row ("hermes"); static */
/* Names of the built-in templates, then NULL. */
MYNA_API const char *myna_chat_builtin(int i);

typedef enum myna_reasoning { MYNA_REASONING_AUTO, MYNA_REASONING_ON, MYNA_REASONING_OFF } myna_reasoning;
typedef enum myna_tool_choice {
  MYNA_TOOLS_AUTO,
  MYNA_TOOLS_NONE,
  MYNA_TOOLS_REQUIRED,
  MYNA_TOOLS_NAMED
} myna_tool_choice;

typedef struct myna_chat_input {
  const char *
      messages; /* JSON array of messages (OpenAI: role, content text or parts, tool_calls, tool_call_id, reasoning_content) */
  const char *tools;            /* NULL, or JSON array of tools */
  const char *kwargs;           /* NULL, or JSON object of further template variables (chat_template_kwargs) */
  myna_tool_choice tool_choice; /* what it means for the answer; also whether tools are shown to the template */
  const char *tool_name;        /* NAMED: the function */
  bool one_tool_call;           /* parallel_tool_calls is false */
  bool no_generation_prompt;
  bool continue_final;          /* the last message is the assistant's and is to be continued (prefill) */
  myna_reasoning reasoning;     /* sets enable_thinking and its like; AUTO leaves the template's default */
  const char *reasoning_effort; /* NULL, "low", "medium", "high", ... */
  double now;                   /* seconds since 1970 for strftime_now; 0: the clock */
  const char *allowed_tools; /* NULL, or JSON array of names: only these may be called, the template still sees all */
} myna_chat_input;

typedef struct myna_chat_prompt {
  char *text; /* the prompt, NUL-terminated; tokenize it with parse_special. Owns: free with myna_chat_prompt_free */
  size_t text_len;
  bool starts_with_bos; /* the text has it: tokenize with no_special */
  /* Constraint of the answer by its tools, or NULL: GBNF text. Lazy: it holds only from the first trigger on (tool_choice auto). */
  char *grammar;
  bool grammar_lazy;
  char **triggers; /* [n_triggers] strings of the answer that start a lazy grammar, which begins with the trigger */
  int n_triggers;
  char **stop; /* [n_stop] further stop strings */
  int n_stop;
  /* Reasoning: "" where the format has none. thinking_open: the prompt already ends inside of it. */
  const char *think_start, *think_end; /* borrowed from the chat */
  bool thinking_open;
  char *
      markers; /* all signs of the format's calls and reasoning: for the request's field `shown`, so that the parser sees them */
  char *tools; /* NULL, or the tools as given, JSON: parsers read values by their schemas */
  char *
      answer_prefix; /* what of the assistant's turn the prompt already holds (prefill), "" if nothing: the parser is told */
} myna_chat_prompt;
/* Errors as of myna_template_render; MYNA_E_ARG also for malformed messages, tools or kwargs, naming the field ("messages[2].role"). Thread-safe. */
MYNA_API int myna_chat_apply(const myna_chat *c, const myna_chat_input *in, myna_chat_prompt *out, myna_err *err);
MYNA_API void myna_chat_prompt_free(myna_chat_prompt *p);

/* ---- answers ---- */

typedef enum myna_delta_kind {
  MYNA_DELTA_CONTENT,
  MYNA_DELTA_REASONING,
  MYNA_DELTA_TOOL_CALL, /* a call begins: name, id */
  MYNA_DELTA_ARGUMENTS  /* more of call `index`'s arguments, JSON text */
} myna_delta_kind;
typedef struct myna_delta {
  myna_delta_kind kind;
  int index;        /* of the call */
  const char *text; /* [len]; content, reasoning, arguments; of TOOL_CALL the name. NUL-terminated */
  size_t len;
  const char *id; /* TOOL_CALL: the id, the model's own where it writes one, else made up */
} myna_delta;

typedef struct myna_chat_parser_options {
  bool tools;          /* tool calls are looked for; else they are content */
  bool keep_reasoning; /* reasoning stays in the content with its tags (reasoning_format none) */
  bool one_tool_call;
  uint64_t id_seed; /* ids of calls are made from it */
} myna_chat_parser_options;
/* Parser of one answer to the prompt p (borrowed only during the call; NULL: an answer from its very start). Belongs to one thread. */
MYNA_API int myna_chat_parser_new(myna_chat_parser **out, const myna_chat *c, const myna_chat_prompt *p,
                                  const myna_chat_parser_options *o, myna_err *err);
MYNA_API void myna_chat_parser_free(myna_chat_parser *p);
/* Adds text of the answer; `last` says that nothing follows. *deltas, [n], are borrowed until the next call. What is certain is told at once; text
 * that is no legal call in the end becomes content: never an error but MYNA_E_NOMEM. Returns n >= 0. All deltas of a call joined are valid JSON
 * when the call was closed. */
MYNA_API int myna_chat_parser_push(myna_chat_parser *p, const char *text, size_t n, bool last,
                                   const myna_delta **deltas, myna_err *err);

#ifdef __cplusplus
}
#endif
#endif
