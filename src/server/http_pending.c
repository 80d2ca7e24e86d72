/* http_pending.c: stands in, weakly, for conversations until the library has them. Goes when it does. */
#include "http.h"
#include <string.h>

__attribute__((weak)) int myna_chat_new(myna_chat **out, const myna_model *m, const myna_chat_options *o,
                                        myna_err *err) {
  *err = (myna_err){.code = MYNA_E_UNSUPPORTED, .offset = -1, .line = -1};
  strcpy(err->msg, "not supported yet");
  return MYNA_E_UNSUPPORTED;
}
__attribute__((weak)) void myna_chat_free(myna_chat *c) {}
