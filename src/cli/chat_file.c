/* chat_file.c: files that chat reads and writes: conversations as JSON in the shape of the API, and where the history lies. A file is replaced as a
 * whole or not at all. */
#define _GNU_SOURCE
#include "chat.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const char *data, size_t n) {
  for (ssize_t w; n > 0; data += w, n -= (size_t)w) {
    w = write(fd, data, n);
    if (w < 0 && errno == EINTR) w = 0;
    if (w < 0) return false;
  }
  return fsync(fd) == 0 || errno == EINVAL;
}

int open_beside(const char *path, char beside[PATH_MAX + 32], int mode) {
  snprintf(beside, PATH_MAX + 32, "%s.%ld.new", path, (long)getpid());
  return open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
}

/* By way of a new file, so that what was there survives a failure. False with errno set. */
static bool write_whole(const char *path, const char *data, size_t n, int mode) {
  char real[PATH_MAX], beside[PATH_MAX + 32];
  struct stat st;
  if (!realpath(path, real)) snprintf(real, sizeof real, "%s", path); /* a link stays, its target is replaced */
  if (stat(real, &st) == 0) {
    if (!S_ISREG(st.st_mode)) return errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL, false;
    mode = (int)(st.st_mode & 0777);
  }
  int fd = open_beside(real, beside, mode);
  if (fd < 0) return false;
  bool ok = write_all(fd, data, n);
  if (close(fd) != 0) ok = false;
  if (ok && rename(beside, real) == 0) return true;
  int why = errno;
  unlink(beside);
  errno = why;
  return false;
}

/* ---- conversations ---- */

int save_messages(const char *path, const json_t *messages) {
  char *data = json_dumps(messages, JSON_INDENT(2));
  size_t n = data ? strlen(data) : 0;
  if (data) data[n] = '\n'; /* in place of the NUL: n + 1 bytes are written */
  bool ok = data && write_whole(path, data, n + 1, 0666);
  int why = data ? errno : ENOMEM;
  free(data);
  return ok ? 0 : failed("%s: %s", path, strerror(why));
}

/* Roles that templates know, and a content they can show. */
static int check_message(const char *path, size_t i, const json_t *message) {
  static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
  const char *role = json_string_value(json_object_get(message, "role"));
  const json_t *content = json_object_get(message, "content");
  if (!json_is_object(message)) return failed("%s: message %zu is no object", path, i);
  for (size_t k = 0; role && k < sizeof roles / sizeof *roles; k++)
    if (strcmp(role, roles[k]) == 0) {
      bool calls = json_is_array(json_object_get(message, "tool_calls"));
      if (json_is_string(content) || json_is_array(content) || calls) return 0;
      return failed("%s: message %zu has no content", path, i);
    }
  return failed("%s: message %zu: role must be system, developer, user, assistant or tool", path, i);
}

json_t *load_messages(const char *path) {
  json_error_t e;
  size_t n;
  char *data = read_text(path, &n);
  if (!data) return NULL;
  json_t *root = json_loadb(data, n, JSON_ALLOW_NUL, &e);
  free(data);
  if (!root) {
    failed("%s: line %d, column %d: %s", path, e.line, e.column, e.text);
    return NULL;
  }
  json_t *messages = json_is_object(root) ? json_object_get(root, "messages") : root; /* or the body of a request */
  json_incref(messages);
  json_decref(root);
  int rc = json_is_array(messages) ? 0 : failed("%s: an array of messages is wanted", path);
  for (size_t i = 0; rc == 0 && i < json_array_size(messages); i++)
    rc = check_message(path, i, json_array_get(messages, i));
  if (rc == 0) return messages;
  json_decref(messages);
  return NULL;
}

/* ---- the history ---- */

/* Makes the folders of a path, for the owner alone. */
static bool make_folders(char *path) {
  for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
    *p = 0;
    int rc = mkdir(path, 0700);
    bool there = rc == 0 || errno == EEXIST;
    *p = '/';
    if (!there) return false;
  }
  return true;
}

char *history_path(void) {
  const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
  char *path = NULL;
  int n = -1;
  if (state && *state == '/') /* the specification ignores relative ones */
    n = asprintf(&path, "%s/myna/history", state);
  else if (home && *home == '/')
    n = asprintf(&path, "%s/.local/state/myna/history", home);
  if (n < 0) return NULL;
  if (make_folders(path)) return path;
  free(path);
  return NULL;
}
