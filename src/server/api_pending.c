/* api_pending.c: stands in, weakly, for what the library declares and does not have yet. Goes when it does. */
#include "api.h"
#include <string.h>
#define WEAK __attribute__((weak))
static int none(myna_err *err) {
  if (err) {
    *err = (myna_err){.code = MYNA_E_UNSUPPORTED, .offset = -1, .line = -1};
    strcpy(err->msg, "not supported yet");
  }
  return MYNA_E_UNSUPPORTED;
}
WEAK int myna_chat_parser_new(myna_chat_parser **o, const myna_chat *c, const myna_chat_prompt *p,
                              const myna_chat_parser_options *q, myna_err *e) {
  return none(e);
}
WEAK void myna_chat_parser_free(myna_chat_parser *p) {}
WEAK int myna_chat_parser_push(myna_chat_parser *p, const char *t, size_t n, bool l, const myna_delta **d,
                               myna_err *e) {
  return none(e);
}
WEAK void myna_chat_prompt_free(myna_chat_prompt *p) {}
WEAK const char *myna_chat_source(const myna_chat *c) { return ""; }
WEAK const char *myna_chat_format(const myna_chat *c) { return ""; }
WEAK int myna_chat_apply(const myna_chat *c, const myna_chat_input *i, myna_chat_prompt *o, myna_err *e) {
  return none(e);
}
