/* chat_edit.c: input of a conversation. On a terminal lines are edited by libedit, with a history; from a pipe they are read as they are. A line that
 * ends in a backslash goes on, """ opens and closes a block, and what is pasted between the marks of a terminal is one text.
 *
 * Characters are read here and not by libedit: only so Ctrl-C, a changed window and pasted newlines can be told apart. */
#define _GNU_SOURCE
#include "chat.h"
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY = 1000, MAX_PASTE = 64 << 20 };

struct editor {
  bool terminal;
  FILE *screen;
  EditLine *el;
  History *history;
  char *path;         /* of the history's file, NULL: none */
  const char *prompt; /* of the line that is edited */
  char in[4096];      /* read and not used yet: [at, end) */
  size_t at, end;
  bool warned;  /* Ctrl-C was the last that was pressed at a prompt */
  char *line;   /* getline's, from a pipe */
  size_t space; /* of line */
};

static volatile sig_atomic_t resized, continued;
static void on_resize(int sig) { resized = sig; }
static void on_continue(int sig) { continued = sig; }

/* ---- characters of a terminal ---- */

/* Waits for input: 1 there is some, 0 none within ms, -1 Ctrl-C or the end. -1 for ms: any time. */
static int wait_input(editor *ed, int ms) {
  if (ed->at < ed->end) return 1;
  for (;;) {
    if (interrupted) return -1;
    if (continued) { /* the shell's modes are in force after a stop */
      continued = 0;
      el_set(ed->el, EL_PREP_TERM, 1);
      el_set(ed->el, EL_REFRESH);
    }
    if (resized) {
      resized = 0;
      el_resize(ed->el);
      el_set(ed->el, EL_REFRESH);
    }
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    int rc =
        poll(&p, 1, ms < 0 ? 200 : ms); /* a signal between the look at its flag and here waits for 200 ms at most */
    if (rc == 0 && ms >= 0) return 0;
    if (rc < 0 && errno != EINTR) return -1;
    if (rc <= 0) continue;
    ssize_t n = read(STDIN_FILENO, ed->in, sizeof ed->in);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return -1;
    ed->at = 0;
    ed->end = (size_t)n;
    return 1;
  }
}

/* The bytes of `mark` come next: takes them. What is no mark stays. They may arrive one by one, within ms of each other. */
static bool take_mark(editor *ed, const char *mark, int ms) {
  size_t n = strlen(mark);
  for (;;) {
    size_t have = ed->end - ed->at, k = have < n ? have : n;
    if (memcmp(ed->in + ed->at, mark, k) != 0) return false;
    if (k == n) return ed->at += n, true;
    if (ed->at > 0) memmove(ed->in, ed->in + ed->at, have);
    ed->at = 0;
    ed->end = have;
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&p, 1, ms) <= 0) return false;
    ssize_t got = read(STDIN_FILENO, ed->in + have, sizeof ed->in - have);
    if (got <= 0) return false;
    ed->end += (size_t)got;
  }
}

/* Up to the closing mark. Newlines stay, other control characters go. */
static void take_paste(editor *ed) {
  growing pasted = {0};
  bool fits = true, was_return = false;
  while (wait_input(ed, 2000) > 0) {
    char c = ed->in[ed->at++];
    if (c == '\033' && take_mark(ed, "[201~", 1000)) break;
    bool newline = c == '\r' || (c == '\n' && !was_return);
    was_return = c == '\r';
    if (newline) c = '\n';
    if ((unsigned char)c < 0x20 && !newline && c != '\t') continue;
    fits = fits && pasted.n < MAX_PASTE && text_add(&pasted, &c, 1);
  }
  if (text_add(&pasted, "", 1) && pasted.n > 1) el_insertstr(ed->el, pasted.s);
  free(pasted.s);
  el_set(ed->el, EL_REFRESH);
}

/* libedit's reader: 1 with a character, 0 at the end, -1 after Ctrl-C. */
static int next_character(EditLine *el, wchar_t *out) {
  editor *ed;
  mbstate_t state = {0};
  el_get(el, EL_CLIENTDATA, &ed);
  for (;;) {
    int rc = wait_input(ed, -1);
    if (rc < 0) return interrupted ? -1 : 0;
    char c = ed->in[ed->at++];
    ed->warned = false;
    if (c == '\033' && mbsinit(&state) && take_mark(ed, "[200~", 50)) {
      take_paste(ed);
      continue;
    }
    size_t n = mbrtowc(out, &c, 1, &state);
    if (n == (size_t)-1) memset(&state, 0, sizeof state); /* no character: dropped */
    if (n == 0) *out = 0;
    if (n <= 1) return 1;
  }
}

static char *prompt_of(EditLine *el) {
  static char shown[8];
  editor *ed;
  el_get(el, EL_CLIENTDATA, &ed);
  snprintf(shown, sizeof shown, "%s", ed->prompt);
  return shown;
}

/* The tabulator completes names of commands and of their files; elsewhere it is a character. */
static unsigned char complete(EditLine *el, int ch) {
  const LineInfo *li = el_line(el);
  size_t n = (size_t)(li->cursor - li->buffer);
  const char *found = NULL;
  if (n == 0 || li->buffer[0] != '/') return el_insertstr(el, "\t") == 0 ? CC_REFRESH : CC_ERROR;
  if (memchr(li->buffer, ' ', n)) return _el_fn_complete(el, ch);
  for (int i = 0; chat_command_name(i); i++) {
    const char *name = chat_command_name(i);
    if (strncmp(name, li->buffer + 1, n - 1) != 0) continue;
    if (found) return CC_REFRESH_BEEP; /* several */
    found = name;
  }
  if (!found) return CC_ERROR;
  return el_insertstr(el, found + n - 1) == 0 && el_insertstr(el, " ") == 0 ? CC_REFRESH : CC_ERROR;
}

/* ---- making one ---- */

static void open_history(editor *ed, const options *o) {
  HistEvent ev;
  ed->history = history_init();
  if (!ed->history) return;
  history(ed->history, &ev, H_SETSIZE, HISTORY);
  history(ed->history, &ev, H_SETUNIQUE, 1);
  el_set(ed->el, EL_HIST, history, ed->history);
  if (o->no_history) return;
  ed->path = history_path();
  if (ed->path && access(ed->path, R_OK) == 0 && history(ed->history, &ev, H_LOAD, ed->path) < 0)
    note(o, "%s: is no history of this program; it is left as it is", ed->path), free(ed->path), ed->path = NULL;
}

static bool open_terminal(editor *ed, const options *o) {
  const struct sigaction size = {.sa_handler = on_resize}, go_on = {.sa_handler = on_continue};
  setlocale(LC_CTYPE, "");
  if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8"); /* texts are UTF-8 everywhere here */
  ed->el = el_init("myna", stdin, ed->screen, stderr);
  if (!ed->el) return false;
  sigaction(SIGWINCH, &size, NULL);
  sigaction(SIGCONT, &go_on, NULL);
  el_set(ed->el, EL_CLIENTDATA, ed);
  el_set(ed->el, EL_PROMPT, prompt_of);
  el_set(ed->el, EL_EDITOR, "emacs");
  el_set(ed->el, EL_SIGNAL, 0);
  el_set(ed->el, EL_GETCFN, next_character);
  el_set(ed->el, EL_ADDFN, "myna-complete", "completes commands and files", complete);
  el_set(ed->el, EL_BIND, "^I", "myna-complete", NULL);
  el_set(ed->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
  open_history(ed, o);
  el_source(ed->el, NULL); /* ~/.editrc goes before what is set here */
  return true;
}

editor *editor_new(const options *o) {
  editor *ed = calloc(1, sizeof *ed);
  if (ed) {
    ed->screen = isatty(STDOUT_FILENO) ? stdout : stderr;
    ed->terminal = isatty(STDIN_FILENO) && isatty(fileno(ed->screen));
  }
  if (ed && (!ed->terminal || open_terminal(ed, o))) return ed;
  free(ed);
  failed("the terminal cannot be used for input");
  return NULL;
}

void editor_free(editor *ed) {
  if (!ed) return;
  if (ed->el) el_end(ed->el);
  if (ed->history) history_end(ed->history);
  free(ed->path);
  free(ed->line);
  free(ed);
}

bool editor_is_terminal(const editor *ed) { return ed->terminal; }

/* Kept at once, not at the end: a window may be closed at any time. libedit wants a file to write to; it takes the place of the old one when it is whole. */
static void remember(editor *ed, const char *s) {
  HistEvent ev;
  char beside[PATH_MAX + 32];
  if (!ed->history || history(ed->history, &ev, H_ENTER, s) < 0 || !ed->path) return;
  int fd = open_beside(ed->path, beside, 0600);
  FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
  bool ok = f && history(ed->history, &ev, H_SAVE_FP, f) >= 0;
  if (f && fclose(f) != 0) ok = false;
  if (fd >= 0 && !f) close(fd);
  if (fd >= 0 && !(ok && rename(beside, ed->path) == 0)) unlink(beside);
}

/* ---- lines ---- */

/* A line without its newline, borrowed until the next one. */
static input edit_line(editor *ed, const char *prompt, const char **s, size_t *n) {
  int count = 0;
  ed->prompt = prompt;
  fputs("\033[?2004h", ed->screen);
  fflush(ed->screen);
  const char *got = el_gets(ed->el, &count);
  fputs("\033[?2004l", ed->screen);
  if (!got && interrupted != SIGINT) fputs("\n", ed->screen);
  fflush(ed->screen);
  *s = got ? got : "";
  *n = got && count > 0 ? (size_t)count : 0;
  if (*n > 0 && got[*n - 1] == '\n') --*n;
  if (got && count > 0) return ed->warned = false, INPUT_LINE;
  if (interrupted != SIGINT) return INPUT_END;
  const LineInfo *li = el_line(ed->el);
  bool empty = li->lastchar == li->buffer && prompt[0] == '>';
  interrupted = 0;
  fprintf(ed->screen, "^C\n");
  if (empty && ed->warned) return INPUT_END;
  if (empty) fprintf(stderr, "(Ctrl-C again or Ctrl-D leaves)\n");
  ed->warned = true;
  return INPUT_CLEARED;
}

static input read_line(editor *ed, const char *prompt, const char **s, size_t *n) {
  if (ed->terminal) return edit_line(ed, prompt, s, n);
  ssize_t got = getline(&ed->line, &ed->space, stdin);
  if (got < 0) return INPUT_END;
  *s = ed->line;
  *n = (size_t)got;
  if (*n > 0 && (*s)[*n - 1] == '\n') --*n;
  if (*n > 0 && (*s)[*n - 1] == '\r') --*n;
  return INPUT_LINE;
}

/* Takes one line into the message; true when more lines belong to it. */
static bool take_line(growing *t, const char *s, size_t n, bool first, bool *block, bool *ok) {
  static const char quotes[] = "\"\"\"";
  if (first && n >= 3 && memcmp(s, quotes, 3) == 0) {
    *block = true;
    s += 3;
    n -= 3;
    if (n == 0) return true; /* a newline right behind the opening is not meant */
  }
  bool end = *block ? n >= 3 && memcmp(s + n - 3, quotes, 3) == 0 : n == 0 || s[n - 1] != '\\';
  if (*block && end) n -= 3;
  if (!*block && !end) n--;
  *ok = *ok && text_add(t, s, n) && (end || text_add(t, "\n", 1));
  return !end;
}

input editor_read(editor *ed, char **out, size_t *n) {
  growing t = {0};
  const char *s;
  size_t len = 0;
  bool ok = true, block = false, more = true, first = true, several = false;
  input got = INPUT_LINE;
  for (; more; first = false) {
    got = read_line(ed, first ? "> " : ". ", &s, &len);
    if (got != INPUT_LINE) break;
    several |= !first || memchr(s, '\n', len) != NULL;
    more = take_line(&t, s, len, first, &block, &ok);
  }
  if (block && t.n > 0 && t.s[t.n - 1] == '\n') t.n--;                /* nor is one right before the closing */
  bool ended = got == INPUT_END && !first && !interrupted && t.n > 0; /* of what was begun: it is taken as it is */
  ok = ok && text_add(&t, "", 1);
  if (!ok) failed("no memory for the message");
  if (!ok || (got != INPUT_LINE && !ended)) {
    free(t.s);
    return ok ? got : INPUT_END;
  }
  *out = t.s;
  *n = t.n - 1;
  if (ed->terminal && *n > 0) remember(ed, t.s);
  return several || block ? INPUT_TEXT : INPUT_LINE;
}
