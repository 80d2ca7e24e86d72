/* chat_commands.c: what can be typed behind a slash: one row each. What they tell goes to standard error: standard output is for answers. */
#include "chat.h"
#include <stdlib.h>
#include <string.h>

typedef struct row {
  const char *name, *args, *help;
  command_result (*run)(chat *c, char *args);
} row;

/* ---- the conversation ---- */

static command_result set_system(chat *c, char *args) {
  size_t n = n_system(c);
  const char *now_is = json_string_value(json_object_get(json_array_get(c->messages, 0), "content"));
  bool nothing = strcmp(args, "\"\"") == 0;
  if (!*args) {
    fprintf(stderr, n && now_is ? "%s\n" : "there is no system prompt\n", now_is);
    return COMMAND_DONE;
  }
  json_t *m = nothing ? NULL : new_message("system", args, strlen(args));
  if (!m && !nothing) return failed("no memory for the message"), COMMAND_DONE;
  if (n) json_array_remove(c->messages, 0);
  if (m) json_array_insert_new(c->messages, 0, m);
  fprintf(stderr, "(the system prompt is %s)\n", nothing ? "gone" : "set");
  return COMMAND_DONE;
}

static command_result save(chat *c, char *args) {
  if (!*args)
    usage("/save wants a file");
  else if (save_messages(args, c->messages) == 0)
    fprintf(stderr, "(%zu messages in %s)\n", json_array_size(c->messages), args);
  else
    c->status = EXIT_FAIL;
  return COMMAND_DONE;
}

/* A conversation that cannot be read, or that the template refuses, leaves the one that is there. */
static command_result load(chat *c, char *args) {
  if (!*args) return usage("/load wants a file"), COMMAND_DONE;
  json_t *messages = load_messages(args);
  ask trial = {0};
  if (messages && json_array_size(messages) > 0) {
    if (ask_new(&trial, &c->talk, messages, false)) json_decref(messages), messages = NULL;
    ask_free(&trial);
  }
  if (!messages) return c->status = EXIT_FAIL, COMMAND_DONE;
  json_decref(c->messages);
  c->messages = messages;
  c->dropped = 0;
  c->again = 0;
  fprintf(stderr, "(%zu messages from %s)\n", json_array_size(messages), args);
  return COMMAND_DONE;
}

/* Index behind the last message of the user; 0 when there is none. */
static size_t behind_last_user(const chat *c) {
  size_t i = json_array_size(c->messages);
  while (i > 0 && strcmp(role_of(json_array_get(c->messages, i - 1)), "user") != 0) i--;
  return i;
}

static command_result regenerate(chat *c, char *args) {
  size_t n = behind_last_user(c);
  if (n == 0) return usage("there is no message to answer again"), COMMAND_DONE;
  cut_messages(c, n);
  c->again++;
  return COMMAND_ANSWER;
}

static command_result undo(chat *c, char *args) {
  size_t n = behind_last_user(c);
  if (n == 0) return usage("there is nothing to undo"), COMMAND_DONE;
  const char *s = json_string_value(json_object_get(json_array_get(c->messages, n - 1), "content"));
  char shown[64];
  snprintf(shown, sizeof shown, "%s", s ? s : "");
  fprintf(stderr, "(taken back, with its answer: %s%s)\n", printable(shown),
          s && strlen(s) >= sizeof shown ? "..." : "");
  cut_messages(c, n - 1);
  c->again = 0;
  return COMMAND_DONE;
}

static command_result clear(chat *c, char *args) {
  cut_messages(c, n_system(c));
  c->dropped = 0;
  c->used = 0;
  fprintf(stderr, "(a new conversation%s)\n", n_system(c) ? "; the system prompt stays" : "");
  return COMMAND_DONE;
}

/* ---- settings ---- */

static command_result show(chat *c, char *args) {
  myna_model_info info;
  myna_model_get_info(c->m, &info);
  size_t n = json_array_size(c->messages);
  const char *system =
      n_system(c) ? json_string_value(json_object_get(json_array_get(c->messages, 0), "content")) : NULL;
  fprintf(stderr, "model     %s\ntemplate  %s, answers as of %s\n", info.file,
          !myna_chat_has_template(c->talk.chat)             ? "none: messages are joined"
          : c->o->chat_template || c->o->chat_template_file ? "by flag"
                                                            : "the model's",
          myna_chat_format(c->talk.chat));
  fprintf(stderr, "messages  %zu", n);
  if (c->dropped) fprintf(stderr, ", %zu of them not seen any more", c->dropped);
  fprintf(stderr, "\ncontext   %lld tokens, the last turn took %lld\n", (long long)c->n_ctx, (long long)c->used);
  if (system) fprintf(stderr, "system    %s\n", system);
  fprintf(stderr, "settings  (others have the model's values or the defaults)\n");
  print_settings(stderr, c->o, "chat");
  if (c->answered) print_usage(c);
  return COMMAND_DONE;
}

/* The engine refuses values out of range when a request comes with them: now, not with the next message. */
static int try_sampling(chat *c, const myna_sampling *s) {
  myna_err err = {0};
  myna_event ev = {0};
  const int32_t token = 0;
  int64_t id;
  const myna_request r = {.tokens = &token, .n_tokens = 1, .max_tokens = 1, .sampling = *s};
  if (myna_submit(c->engine, &r, &id, &err) < 0) return fail(&err);
  myna_cancel(c->engine, id);
  while (ev.kind != MYNA_EVENT_DONE) myna_next_event(c->engine, -1, &ev);
  return 0;
}

static command_result set(chat *c, char *args) {
  options before = *c->o;
  myna_sampling s;
  size_t n = strcspn(args, " \t=");
  char *value = args + n + (args[n] != 0);
  if (!*args) return print_settings(stderr, c->o, "chat"), COMMAND_DONE;
  args[n] = 0;
  value += strspn(value, " \t=");
  if (c->o->escape && strcmp(args, "stop") == 0) unescape(value);
  int rc = set_later(c->o, "chat", args, *value ? value : NULL);
  if (rc == 0) rc = check_answer(c->o);
  if (rc == 0) rc = sampling_options(c->o, c->m, &s);
  if (rc == 0 && c->o->n_predict == 0) rc = usage("n_predict 0: there would be no answers");
  if (rc == 0) rc = try_sampling(c, &s);
  if (rc)
    *c->o = before;
  else
    fprintf(stderr, "(%s is %s)\n", args, *value ? printable(value) : "as it is by default");
  return COMMAND_DONE;
}

/* ---- the list ---- */

static command_result help(chat *c, char *args);
static command_result quit(chat *c, char *args) { return COMMAND_LEAVE; }

static const row rows[] = {
    {"help", "", "this list", help},
    {"system", "TEXT", "what the model is told before everything else; alone: show it; \"\": none", set_system},
    {"regenerate", "", "answer the last message again", regenerate},
    {"undo", "", "take back the last message and its answer", undo},
    {"clear", "", "begin a new conversation; system prompt and settings stay", clear},
    {"save", "FILE", "write the messages as JSON", save},
    {"load", "FILE", "go on from a file of messages", load},
    {"set", "NAME VALUE",
     "temperature, top_p, seed, reasoning, n_predict, ...: the flags under Generation and Sampling "
     "of myna chat --help; without VALUE the default",
     set},
    {"show", "", "model, context, settings, speed of the last answer", show},
    {"quit", "", "leave", quit},
    {"exit", "", "leave", quit},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const char *chat_command_name(int i) { return i < N_ROWS ? rows[i].name : NULL; }

static command_result help(chat *c, char *args) {
  for (int i = 0; i < N_ROWS; i++) {
    char left[40];
    snprintf(left, sizeof left, "/%s %s", rows[i].name, rows[i].args);
    fprintf(stderr, "  %-18s %s\n", left, rows[i].help);
  }
  fprintf(stderr, "A line that ends in a backslash goes on in the next one; \"\"\" opens and closes a block of lines; "
                  "// begins a message "
                  "with a slash.\nCtrl-C stops an answer or clears the line, twice leaves, as Ctrl-D does; arrows and "
                  "Ctrl-R find earlier input.\n");
  return COMMAND_DONE;
}

command_result chat_command(chat *c, char *line) {
  const char *names[N_ROWS];
  char *name = line + 1;
  size_t n = strcspn(name, " \t");
  char *args = name + n + strspn(name + n, " \t");
  const row *found = NULL;
  name[n] = 0;
  for (size_t end = strlen(args); end > 0 && (args[end - 1] == ' ' || args[end - 1] == '\t');) args[--end] = 0;
  int n_found = 0;
  for (int i = 0; i < N_ROWS; i++) { /* a beginning is enough where it is one command's alone */
    names[i] = rows[i].name;
    if (n == 0 || strncmp(rows[i].name, name, n) != 0) continue;
    found = &rows[i];
    n_found = rows[i].name[n] == 0 ? 1 : n_found + 1;
    if (rows[i].name[n] == 0) break;
  }
  if (n_found == 1) return found->run(c, args);
  const char *near = closest(name, names, N_ROWS);
  if (n_found > 1)
    usage("/%s is the beginning of several commands; /help lists them", name);
  else if (near)
    usage("there is no /%s; did you mean /%s?", name, near);
  else
    usage("there is no /%s; /help lists commands, // begins a message with a slash", name);
  c->status = EXIT_FAIL;
  return COMMAND_DONE;
}
