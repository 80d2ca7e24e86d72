/* chat.h: what run and chat share (messages become a request, its answer becomes content and reasoning again), and the parts of chat. */
#ifndef MYNA_CLI_CHAT_H
#define MYNA_CLI_CHAT_H

#include "myna_chat.h"
#include "cli.h"
#include <jansson.h>
#include <limits.h>

/* ---- chat_ask.c ---- */

typedef struct talk {
  const options *o;
  const myna_model *m;
  myna_chat *chat;       /* NULL: text is completed as it is */
  myna_grammar *grammar; /* NULL, or what every answer must be */
} talk;
/* The template (unless --raw) and the grammar that the flags name. Returns 0, or an exit status after telling what is wrong. */
int talk_open(talk *t, const options *o, const myna_model *m);
void talk_close(talk *t);
/* What --chat-template (NAME, FILE or TEXT) or --chat-template-file give: source or name, NULL without them; *own is to be freed. Returns 0, or an exit
 * status after telling what is wrong. */
int template_option(const options *o, const char **source, char **own);
/* What the flags say of answers, wrong whatever the model is; also after a setting was changed. */
int check_answer(const options *o);
/* A message of the API; bytes that are not UTF-8 become U+FFFD. NULL without memory. */
json_t *new_message(const char *role, const char *text, size_t n);
/* Appends the message that --system or --system-prompt-file give, if any. */
int add_system(const options *o, json_t *messages);

/* One request: the prompt of the messages, tokenized, and the parser of its answer. */
typedef struct ask {
  myna_request r;
  myna_chat_prompt prompt;
  myna_chat_parser *parser;
  int32_t *ids;
  const char *stop[96];
} ask;
/* r is ready to submit but for speculation. prefill: the last message is the assistant's, to be continued. Free with ask_free, also after a failure. */
int ask_new(ask *a, const talk *t, const json_t *messages, bool prefill);
void ask_free(ask *a);
/* Writes to standard output at once. On a terminal control characters become '?': what a model says must not drive it. */
bool write_answer(const char *text, size_t n);

/* A text that grows. */
typedef struct growing {
  char *s; /* [n], NULL while empty */
  size_t n;
} growing;
bool text_add(growing *t, const char *s, size_t n);
/* Room for `more` items of `size` bytes behind the n that p holds; NULL, and p as it was, without memory. */
void *room(void *p, size_t n, size_t more, size_t size);

extern const char *const finish_names[];

/* ---- chat_edit.c: lines of a terminal or a pipe become messages ---- */

typedef struct editor editor;
typedef enum input { INPUT_TEXT, INPUT_LINE, INPUT_CLEARED, INPUT_END } input;
/* NULL after telling why. */
editor *editor_new(const options *o);
void editor_free(editor *ed);
/* The next message, malloced: of one line (which may be a command) or of several. CLEARED: Ctrl-C took it back (twice in a row, or in a pipe once: END). */
input editor_read(editor *ed, char **text, size_t *n);
bool editor_is_terminal(const editor *ed);

/* ---- chat_file.c: files of conversations and of the history ---- */

/* Opens a new file in the folder of path, to be renamed to it when it is whole; -1 with errno set. */
int open_beside(const char *path, char beside[PATH_MAX + 32], int mode);
int save_messages(const char *path, const json_t *messages);
/* NULL after telling why; the messages are checked. */
json_t *load_messages(const char *path);
/* Path of the file of earlier input, its folder made; NULL when there is none. Free it. */
char *history_path(void);

/* ---- chat.c, chat_commands.c ---- */

typedef struct chat {
  options *o;
  myna_model *m;
  myna_engine *engine;
  talk talk;
  myna_speculation speculation;
  editor *ed;
  json_t *messages; /* all of them, the system's first */
  size_t dropped;   /* of them, after the system's, are not sent any more: the context is full */
  int64_t n_ctx, used;
  int64_t again; /* how often the last answer was asked for again: it moves the seed */
  bool colours, shows_reasoning, answered;
  myna_timings timings; /* of the last answer */
  myna_finish finish;
  int status;
} chat;
/* Asks for an answer to the messages, shows it and appends it. After a failure the last message, the user's, is gone. */
void chat_answer(chat *c);
/* Number of messages in front that are the system's: 0 or 1. */
size_t n_system(const chat *c);
const char *role_of(const json_t *message);
/* Removes messages from `first` on. */
void cut_messages(chat *c, size_t first);
void print_usage(const chat *c);

typedef enum command_result { COMMAND_DONE, COMMAND_ANSWER, COMMAND_LEAVE } command_result;
/* Name of /command i, NULL behind the last one. */
const char *chat_command_name(int i);
/* line begins with a slash. */
command_result chat_command(chat *c, char *line);

#endif
