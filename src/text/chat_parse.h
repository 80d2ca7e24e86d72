/* chat_parse.h: what the files of the parser of answers share. */
#ifndef MYNA__CHAT_PARSE_H
#define MYNA__CHAT_PARSE_H

#include "text/chat_format.h"
#include "text/chat_value.h"

enum { BAD = MYNA__BAD, MORE = MYNA__MORE, GOOD = MYNA__GOOD };

/* The call that is being read. */
typedef struct myna__call {
  myna__chat_scheme scheme; /* the format's, or JSON where a model of another one writes it */
  int phase;
  bool bare;                /* it stands without its marker: only a call of a known function counts */
  bool told;                /* its name went out */
  bool begun, done, is_arg; /* arguments were begun, are whole; the value that is read is them */
  bool fenced;              /* it stands in a block of code */
  bool wrapped;             /* `other` holds a parameter that may be all arguments */
  char name[MYNA__CALL_NAME + 1], id[MYNA__CALL_NAME + 1];
  char key[MYNA__CALL_NAME + 1]; /* of the member that is read */
  const json_t *schema;          /* of the function's parameters; NULL: not known */
  const json_t *type;            /* of the parameter that is read */
  unsigned types;
  size_t seen; /* bytes of a value that were searched for its end */
  int n_params;
  myna__buf args;  /* JSON that was not told yet */
  myna__buf other; /* a member that is no argument */
  myna__value value;
} myna__call;

enum myna__parse_state { AT_START, IN_REASONING, IN_CONTENT, IN_OPEN, IN_CALL, AFTER_CALL, IN_HEADER, IN_BODY };

struct myna_chat_parser {
  const struct myna__chat_format *f;
  myna_chat_parser_options o;
  json_t *tools; /* NULL: not known */
  enum myna__parse_state state;
  myna__buf in;        /* the answer from the first byte that may still be told as content */
  size_t pos;          /* of the first byte that was not read */
  size_t mark;         /* where the call that is being read begins: until it is told it may turn out to be content */
  size_t mark_len;     /* what of it is content at least, if it is none */
  bool marked;         /* mark is set */
  int n_failed;        /* calls that got somewhere and were none */
  bool trim_left;      /* blanks at the start are no content */
  bool long_blank;     /* more blanks than are held back */
  bool told;           /* content went out: no call without marker can follow */
  bool in_array;       /* calls follow each other with commas */
  bool closed;         /* the closing sign of the last call was read */
  bool from_reasoning; /* the call that is being read began within the reasoning */
  bool reopen;         /* reasoning is open, and its tag may come again */
  bool fresh;          /* deltas are from before the first push */
  bool last, failed;
  bool body_reasoning, body_dropped; /* harmony: what the message is */
  int n_calls;
  bool mute; /* the call is not told: one_tool_call */
  myna__call call;
  myna_delta *deltas;
  char **texts; /* [2 * n]: text and id of each delta */
  int n, cap;
};

/* ---- chat_delta.c ---- */

/* Tells s[0..n) as text of this kind; nothing for n 0. */
void myna__parse_tell(myna_chat_parser *p, myna_delta_kind kind, const char *s, size_t n);
/* Tells the call's name, once, and the arguments so far. */
void myna__parse_tell_call(myna_chat_parser *p);
void myna__parse_clear(myna_chat_parser *p);

/* ---- chat_call.c, chat_params.c, chat_nested.c ---- */

/* A call begins: what is at pos follows its marker. */
void myna__call_begin(myna_chat_parser *p, bool bare);
/* Reads of s[0..n) what belongs to the call: GOOD at its end, MORE, or BAD where it is none or goes on with something else. */
int myna__call_read(myna_chat_parser *p, const char *s, size_t n, size_t *used);
/* The call ends where it should not: its arguments become whole JSON. */
void myna__call_break(myna_chat_parser *p);
void myna__call_end(myna_chat_parser *p); /* frees */
/* The name is known: false where no such call counts. */
bool myna__call_named(myna_chat_parser *p, const char *name, size_t n);
int myna__call_params(myna_chat_parser *p, const char *s, size_t n, size_t *used); /* XML and NESTED */
void myna__params_break(myna_chat_parser *p);                                      /* of myna__call_break */
int myna__call_python(myna_chat_parser *p, const char *s, size_t n, size_t *used);
/* Appends the value that text stands for by its schema, as JSON. */
void myna__call_typed(myna__buf *out, const char *text, size_t n, unsigned types);
/* The elements text as JSON. */
void myna__call_nested(myna_chat_parser *p, const char *text, size_t n, const json_t *schema, myna__buf *out);

/* ---- chat_harmony.c ---- */

bool myna__parse_header(myna_chat_parser *p, const char *s, size_t n);
bool myna__parse_body(myna_chat_parser *p, const char *s, size_t n);

/* ---- bytes ---- */

static inline bool myna__blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
static inline size_t myna__blanks(const char *s, size_t n) {
  size_t i = 0;
  while (i < n && myna__blank(s[i])) i++;
  return i;
}
static inline size_t myna__unblanked(const char *s, size_t n) {
  while (n && myna__blank(s[n - 1])) n--;
  return n;
}
/* Whether s begins with mark; MORE when it is a beginning of mark. */
static inline int myna__begins(const char *s, size_t n, const char *mark) {
  size_t m = strlen(mark);
  if (n >= m) return memcmp(s, mark, m) == 0 ? GOOD : BAD;
  return memcmp(s, mark, n) == 0 ? MORE : BAD;
}
/* Characters of names of functions. */
static inline bool myna__name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == ':' || c == '/';
}

#endif
