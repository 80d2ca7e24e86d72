/* chat_builtin.h: chat templates that are known by name. */
#ifndef MYNA__CHAT_BUILTIN_H
#define MYNA__CHAT_BUILTIN_H

/* Name of row i, NULL behind the end; Jinja source of a name, NULL for an unknown one. Static. */
const char *myna__chat_builtin_name(int i);
const char *myna__chat_builtin_source(const char *name);

#endif
