/* chat_delta.c: the list of deltas that one push gives. */
#include "text/chat_parse.h"
#include <stdio.h>

void myna__parse_clear(myna_chat_parser *p) {
  for (int i = 0; i < p->n; i++) {
    myna__free(p->texts[2 * i], p->deltas[i].len + 1);
    myna__strfree(p->texts[2 * i + 1]);
  }
  p->n = 0;
}

static bool room(myna_chat_parser *p) {
  if (p->n < p->cap) return true;
  int cap = p->cap ? 2 * p->cap : 8;
  /* Both or neither: their sizes are known by one number. */
  myna_delta *d = myna__alloc((size_t)cap * sizeof *d);
  char **t = myna__alloc(2 * (size_t)cap * sizeof *t);
  if (!d || !t) {
    myna__free(d, (size_t)cap * sizeof *d);
    myna__free(t, 2 * (size_t)cap * sizeof *t);
    return false;
  }
  if (p->n) memcpy(d, p->deltas, (size_t)p->n * sizeof *d);
  if (p->n) memcpy(t, p->texts, 2 * (size_t)p->n * sizeof *t);
  myna__free(p->deltas, (size_t)p->cap * sizeof *d);
  myna__free(p->texts, 2 * (size_t)p->cap * sizeof *t);
  p->deltas = d;
  p->texts = t;
  p->cap = cap;
  return true;
}

static void add(myna_chat_parser *p, myna_delta_kind kind, const char *s, size_t n, const char *id) {
  if (p->failed || !room(p)) {
    p->failed = true;
    return;
  }
  char *text = myna__alloc(n + 1), *own = id ? myna__strndup(id, strlen(id)) : NULL; /* text may hold NULs */
  if (!text || (id && !own)) {
    p->failed = true;
    myna__free(text, n + 1);
    myna__strfree(own);
    return;
  }
  memcpy(text, s, n);
  text[n] = 0;
  p->texts[2 * p->n] = text;
  p->texts[2 * p->n + 1] = own;
  bool call = kind == MYNA_DELTA_TOOL_CALL || kind == MYNA_DELTA_ARGUMENTS;
  p->deltas[p->n++] = (myna_delta){kind, call ? p->n_calls - 1 : 0, text, n, own};
}

void myna__parse_tell(myna_chat_parser *p, myna_delta_kind kind, const char *s, size_t n) {
  if (n) add(p, kind, s, n, NULL);
}

void myna__parse_tell_call(myna_chat_parser *p) {
  myna__call *c = &p->call;
  if (!c->told) {
    c->told = true;
    bool none = p->f->answer && strcmp(c->name, p->f->answer) == 0 && !myna__chat_tool_find(p->tools, c->name);
    p->mute = none || (p->o.one_tool_call && p->n_calls > 0);
    if (!p->mute) {
      char made[32];
      p->n_calls++;
      snprintf(made, sizeof made, "call_%016llx",
               (unsigned long long)myna__hash(&p->n_calls, sizeof p->n_calls, p->o.id_seed));
      add(p, MYNA_DELTA_TOOL_CALL, c->name, strlen(c->name), c->id[0] ? c->id : made);
    }
  }
  p->failed |= c->args.failed;
  if (!p->mute && c->args.len) add(p, MYNA_DELTA_ARGUMENTS, c->args.data, c->args.len, NULL);
  c->args.len = 0;
}
