/* chat_tools.h: the grammar of a model's tool calls, in the spelling of its family. */
#ifndef MYNA__CHAT_TOOLS_H
#define MYNA__CHAT_TOOLS_H

#include "text/chat_format.h"

/* Sets of out: grammar, grammar_lazy, triggers, n_triggers (nothing for MYNA_TOOLS_NONE, no tools, or AUTO with a format that has no calls). tools: JSON
 * array. AUTO: the grammar begins with a trigger and holds from there on; REQUIRED, NAMED (the function tool_name): it holds from the start of the answer,
 * behind its reasoning. one_call: one call only; NAMED has always one. Arguments are instances of each tool's schema; a keyword of it that is not
 * supported is MYNA_E_UNSUPPORTED with its place for tools with "strict": true, for others the arguments become any object. MYNA_E_ARG: malformed
 * tools, an unknown tool_name, MYNA_E_UNSUPPORTED: REQUIRED or NAMED where the format has no calls. Ownership: grammar and each trigger are strings of
 * myna__strndup, the list is one myna__alloc of n_triggers pointers, as myna__chat_prompt_lists_free frees them; out keeps none of them on error. */
int myna__chat_tools_grammar(const struct myna__chat_format *f, const json_t *tools, myna_tool_choice choice,
                             const char *tool_name, bool one_call, myna_chat_prompt *out, myna_err *err);

#endif
